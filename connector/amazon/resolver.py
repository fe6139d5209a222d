"""Looks up Amazon's host names, and uses the last addresses while a look-up fails.

The last known addresses may well answer. A look-up that hangs counts as failed after five seconds;
nothing can end it, so its thread is left behind, at most one for each name.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any, Final, cast

import aiohttp
from aiohttp.abc import ResolveResult

from connector.daemon import in_daemon

__all__ = ["Resolver"]

_LOOKUP_SECONDS: Final = 5.0
"""How long a request waits for the look-up of a name, which has no time-out of its own."""

_Name = tuple[str, int, socket.AddressFamily]


class Resolver(aiohttp.ThreadedResolver):
    """The host's resolver. While it fails, a name keeps its last addresses (as in RFC 8767)."""

    def __init__(self) -> None:
        super().__init__(cast("asyncio.AbstractEventLoop", _Lookups()))
        self._last: dict[_Name, list[ResolveResult]] = {}
        self._under_way: dict[_Name, asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Return the addresses of a name: found now, or before if it cannot be resolved now.

        Raises:
            OSError: it cannot be resolved, and never was.
        """
        asked = (host, port, family)
        if asked not in self._under_way:
            self._under_way[asked] = lookup = asyncio.create_task(super().resolve(host, port, family))
            lookup.add_done_callback(partial(self._looked_up, asked))
        # One that hangs goes on, and a later request gets what it finds.
        await asyncio.wait({lookup := self._under_way[asked]}, timeout=_LOOKUP_SECONDS)
        if lookup.done() and not lookup.exception():
            return lookup.result()
        if asked in self._last:
            return self._last[asked]
        raise (lookup.exception() if lookup.done() else None) or socket.gaierror(socket.EAI_AGAIN, "no answer in time")

    def _looked_up(self, asked: _Name, lookup: asyncio.Task[list[ResolveResult]]) -> None:
        del self._under_way[asked]
        if not lookup.cancelled() and lookup.exception() is None:
            self._last[asked] = lookup.result()

    async def close(self) -> None:
        """Give up look-ups in progress."""
        for lookup in self._under_way.values():
            lookup.cancel()


class _Lookups:
    """The part of an event loop that a resolver needs.

    The loop's own executor has few threads, and the process waits for them at its end.
    """

    async def getaddrinfo(self, *asked: Any, **how: Any) -> Any:
        return await asyncio.wrap_future(in_daemon(partial(socket.getaddrinfo, *asked, **how), "look-up"))

    async def getnameinfo(self, *asked: Any) -> Any:
        return await asyncio.wrap_future(in_daemon(partial(socket.getnameinfo, *asked), "look-up"))
