"""Answers probes and scrapes, and shows one page.

Live: the consumer's thread and the loop turn; answering at all shows the second. Ready: joined, everything assigned is
restored, nothing waits for an operator; Amazon being down or slow is not unready (design: Commands and exit codes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from aiohttp import web

__all__ = ["Health", "Operations"]


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes say."""

    not_live: str | None
    """Why the process should be restarted; None if it should not."""
    not_ready: tuple[str, ...]
    """Why it is not ready; empty when it is."""


class Operations:
    """The server; started and stopped with the connector."""

    def __init__(
        self,
        health: Callable[[], Health],
        metrics: Callable[[], bytes],
        rows: Callable[[], list[tuple[str, str, int | None, int | None]]],
        title: str,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._rows = rows
        self._title = title
        self._runner: web.AppRunner | None = None
        self.port = 0
        """The port bound, once started."""

    async def start(self, host: str, port: int) -> None:
        """Listen; a port of 0 takes a free one."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/metrics", self._metrics_page),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        why = self._health().not_live
        return web.Response(text=f"{why or 'live'}\n", status=503 if why else 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        why = self._health().not_ready
        return web.Response(text="".join(f"{line}\n" for line in why or ("ready",)), status=503 if why else 200)

    async def _metrics_page(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _page(self, _request: web.Request) -> web.Response:
        health = self._health()
        state = health.not_live or "; ".join(health.not_ready) or "ready"
        rows = "".join(
            f"<tr><td>{escape(name)}<td>{escape(phase)}<td>{_known(committed)}<td>{_known(lag)}"
            for name, phase, committed, lag in self._rows()
        )
        body = (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(self._title)}</title>"
            "<style>body{font:15px system-ui;margin:2em}td,th{padding:.2em 1em;text-align:left}</style>"
            f"<h1>{escape(self._title)}</h1><p>{escape(state)}</p>"
            f"<table><tr><th>partition<th>phase<th>committed<th>lag{rows}</table>"
            '<p><a href="/metrics">metrics</a> · <a href="/livez">livez</a> · <a href="/readyz">readyz</a></p></html>'
        )
        return web.Response(text=body, content_type="text/html")


def _known(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
