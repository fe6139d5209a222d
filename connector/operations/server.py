"""The HTTP server that answers probes and scrapes, and shows the state as a page and as JSON.

Any answer at all shows that the event loop runs. Everything else that the probes report comes from
`health`.

A client that reaches the port must not be able to harm the connector. A connection is for one
request, and is closed after some seconds, finished or not. At the limit of connections the oldest
is closed for the new one, so that a probe gets through.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from connector.operations.health import Health
from connector.operations.page import page

__all__ = ["Operations"]


_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_CONNECTION_SECONDS = 10.0
"""Time for a request and its answer, which is immediate. By default a scrape waits as long."""
_MOST_CONNECTIONS = 64
"""Limit of connections. Probes, scrapers and people need a few, for milliseconds each, and a
process may have 1,024 descriptors in all."""
_BACKLOG = 128
"""Connections that may wait in the kernel to be accepted."""


def _is_of_ours(line: logging.LogRecord) -> bool:
    """Return whether a line is about a fault of ours.

    A request that is not HTTP is answered with 400. aiohttp would log it as an error, and up to
    hundreds of KB of it, which may be anything, a token among them.
    """
    return not (line.exc_info and isinstance(line.exc_info[1], HttpProcessingError))


_log = logging.getLogger(__name__)
_log.addFilter(_is_of_ours)


class _Server(web.Server):
    """aiohttp's server, with limits on the number of connections and on their time."""

    def __init__(self, answer: Callable[[web.BaseRequest], web.Response]) -> None:
        async def answered(request: web.BaseRequest) -> web.Response:
            response = answer(request)
            response.headers.update(_HEADERS)
            response.force_close()
            return response

        super().__init__(answered, access_log=None, logger=_log, auto_decompress=False)
        self._open: dict[RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Accept a connection; at the limit, close the oldest one."""
        super().connection_made(handler, transport)
        if len(self._open) >= _MOST_CONNECTIONS:
            self.end(next(iter(self._open)))
        timer = asyncio.get_running_loop().call_later(_CONNECTION_SECONDS, transport.abort)
        self._open[handler] = (transport, timer)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection that was closed."""
        super().connection_lost(handler, exc)
        self.end(handler)

    def end(self, handler: RequestHandler) -> None:
        """Close a connection, unless it is closed already."""
        if (found := self._open.pop(handler, None)) is not None:
            transport, timer = found
            timer.cancel()
            transport.abort()

    def end_all(self) -> None:
        """Close every connection."""
        for handler in list(self._open):
            self.end(handler)


class Operations:
    """The operations server. It starts and stops with the connector."""

    def __init__(
        self,
        health: Callable[[], Health],
        metrics: Callable[[str], tuple[bytes, str]],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._status = status
        self._server: _Server | None = None
        self._runner: web.ServerRunner | None = None
        self.port = 0
        """The port that was bound, once started."""

    async def start(self, host: str, port: int) -> None:
        """Listen. Port 0 takes a free one."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = host == "::" and socket.has_dualstack_ipv6()  # every address, so those of IPv4 too
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        self.port = listening.getsockname()[1]
        self._server = _Server(self._answer)
        self._runner = web.ServerRunner(self._server)
        await self._runner.setup()
        # asyncio accepts as many connections at once as its backlog. Without a free descriptor each
        # of these accepts fails and schedules another round a second later (CPython 3.11):
        # thousands of log lines. With a backlog of 1 it is one line.
        await web.SockSite(self._runner, listening, backlog=1).start()
        listening.listen(_BACKLOG)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None and self._runner is not None:
            self._server.end_all()
            await self._runner.cleanup()

    def _answer(self, request: web.BaseRequest) -> web.Response:
        pages: dict[str, Callable[[], web.Response]] = {
            "/": self._page,
            "/status.json": self._status_json,
            "/metrics": partial(self._metrics_page, request.headers.get("Accept", "")),
            "/livez": self._livez,
            "/readyz": self._readyz,
        }
        if (page := pages.get(request.path)) is None:
            known = "/, /status.json, /metrics, /livez and /readyz"
            return web.Response(text=f"Not found: the pages are {known}\n", status=404)
        if request.method not in {"GET", "HEAD"}:
            return web.Response(text="Method not allowed: use GET or HEAD\n", status=405, headers={"Allow": "GET, HEAD"})
        return page()

    def _livez(self) -> web.Response:
        why = self._health().not_live
        return web.Response(text=f"{why or 'live'}\n", status=503 if why else 200)

    def _readyz(self) -> web.Response:
        why = self._health().not_ready
        return web.Response(text="".join(f"{line}\n" for line in why or ("ready",)), status=503 if why else 200)

    def _metrics_page(self, accept: str) -> web.Response:
        body, content_type = self._metrics(accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    def _page(self) -> web.Response:
        return web.Response(text=page(self._status()), content_type="text/html")

    def _status_json(self) -> web.Response:
        return web.Response(body=orjson.dumps(self._status()), content_type="application/json")
