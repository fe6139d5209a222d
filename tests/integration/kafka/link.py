"""A way to the brokers that can be cut: one forwarder a node, which the nodes advertise to whoever comes by it.

with Cluster(nodes=3) as cluster, cluster.link() as link:
    link.bootstrap_servers      # a client that is given these speaks to every node through the link, others do not
    link.cut()                  # nothing passes and nobody is told: bytes wait, as in TCP's retransmissions
    link.cut(reset=True)        # connections are reset, and new ones as soon as they are made
    link.cut(node=2)            # only the way to one node, counted from 1
    link.hold()                 # one answer that a client waits for stays on its way
    link.restore()              # what waits arrives, late

With an address and certificates of its own it is a way to any other server, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from tests.patience import patience

__all__ = ["Link"]

_LOOPBACK = "127.0.0.1"
_CHUNK_BYTES = 65_536
_ANSWER_SECONDS = 10.0
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Connection:
    port: int
    """The client's."""
    asked: bool = False
    """Whether the last bytes that passed were the client's."""
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while they pass."""


class Link:
    """Forwards each of its ports to a port of a node; for as long as the context lasts."""

    def __init__(
        self, ports: Sequence[tuple[int, int]], *, address: str = _LOOPBACK, tls: ssl.SSLContext | None = None
    ) -> None:
        self._ports = ports
        self._address, self._tls = address, tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._whole = {node: asyncio.Event() for _, node in ports}
        self._resets: set[int] = set()
        self._servers: list[asyncio.Server] = []
        self._writers: set[tuple[int, asyncio.StreamWriter]] = set()
        self._connections: set[_Connection] = set()

    @property
    def bootstrap_servers(self) -> str:
        """Its own addresses, comma-separated."""
        return ",".join(f"{self._address}:{port}" for port, _ in self._ports)

    def cut(self, *, reset: bool = False, node: int | None = None) -> None:
        """Let nothing pass, to all nodes or to one: silently, or with a reset of every connection."""
        ways = [there for _, there in self._ports] if node is None else [self._ports[node - 1][1]]
        self._do(self._cut(ways, reset=reset))

    def hold(self) -> int:
        """Hold the answer that a client waits for, on one of its connections; return the client's port, 0 if none waits."""
        return self._do(self._hold())

    def restore(self) -> None:
        """Let everything pass again."""
        self._do(self._restore())

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        """Reset what is open and stop."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, asked: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(patience(_ANSWER_SECONDS))

    async def _listen(self) -> None:
        for port, node in self._ports:
            self._whole[node].set()
            self._servers.append(await asyncio.start_server(self._forwarder(node), self._address, port, ssl=self._tls))

    async def _cut(self, ways: Sequence[int], *, reset: bool) -> None:
        for node in ways:
            self._whole[node].clear()
        if reset:
            self._resets.update(ways)
            self._reset_all(ways)

    async def _hold(self) -> int:
        for connection in self._connections:
            if connection.asked:
                connection.answers.clear()
                return connection.port
        return 0

    async def _restore(self) -> None:
        for connection in self._connections:
            connection.answers.set()
        self._resets.clear()
        for whole in self._whole.values():
            whole.set()

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        self._reset_all(list(self._whole))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _reset_all(self, ways: Sequence[int]) -> None:
        struck = {(node, writer) for node, writer in self._writers if node in ways}
        for _, writer in struck:
            _reset(writer)
        self._writers -= struck

    def _forwarder(self, node: int) -> Any:
        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if node in self._resets:
                _reset(writer)
                return
            self._writers.add((node, writer))
            try:
                await self._whole[node].wait()
                there, back = await asyncio.open_connection(_LOOPBACK, node)
            except OSError:  # the node is down: its clients see what they would see without us
                _reset(writer)
                return
            self._writers.add((node, back))
            whole, connection = self._whole[node], _Connection(writer.get_extra_info("peername")[1])
            connection.answers.set()
            self._connections.add(connection)
            await asyncio.gather(
                self._pass_on(reader, back, whole, connection), self._pass_on(there, writer, whole, connection, answers=True)
            )
            self._connections.discard(connection)
            self._writers -= {(node, writer), (node, back)}

        return forward

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        whole: asyncio.Event,
        connection: _Connection,
        *,
        answers: bool = False,
    ) -> None:
        """Pass bytes on while the link is whole; an end or a reset passes as well."""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await whole.wait()
                if answers:
                    await connection.answers.wait()
                connection.asked = not answers
                writer.write(chunk)
                await writer.drain()
        await whole.wait()
        if answers:
            await connection.answers.wait()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    found: socket.socket | None = None
    with contextlib.suppress(AttributeError):  # of a TLS connection that is gone (CPython 3.11)
        found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):  # it is closed
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()
