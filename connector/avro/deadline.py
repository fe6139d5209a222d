"""Deadlines for the registry's HTTP client, and a bound for its answers.

The client's own time-outs apply to each read, so a server that sends a byte now and then never hits
one. Here each request has a deadline. So has each question, which may take several requests:
retries, further addresses, a token. At the deadline the connection is closed.

A connection is opened in a thread of its own: it begins with a look-up of the name, which has no
time-out and cannot be interrupted. While one hangs, no other is begun to the same place.

The client collects an answer as long as it comes, and decompresses it; so what it has collected is
counted, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

from connector.daemon import in_daemon

__all__ = ["Deadline"]

_MOST_BYTES = 16_000_000
"""Bytes of an answer that are read, decompressed: many times the largest schema."""
_Left = Callable[[float | None], float]


class Deadline:
    """Remaining time to wait, for all connections of one thread."""

    def __init__(self, request_seconds: float, question_seconds: float) -> None:
        self._request_seconds = request_seconds
        self._question_seconds = question_seconds
        self._question_until = self._until = float("inf")

    def hold(self, client: Any) -> None:
        """Make an httpx client obey these deadlines, where it opens its connections."""
        client.event_hooks = {"request": [self._begin_request], "response": [_bound]}
        for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - httpx accepts no network backend
            pool = transport._pool  # noqa: SLF001 - the same
            pool._network_backend = _Backend(pool._network_backend, self._left)  # noqa: SLF001 - the same

    def begin(self) -> None:
        """Start the deadline of a question."""
        self._question_until = time.monotonic() + self._question_seconds

    def _begin_request(self, _request: object) -> None:
        self._until = min(time.monotonic() + self._request_seconds, self._question_until)

    def _left(self, timeout: float | None) -> float:
        """Return the seconds that one call may wait.

        Raises:
            TimeoutError: the deadline has passed. The registry's client then does not retry the
                same address.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(timeout, left)


def _bound(response: Any) -> None:
    """Have an httpx response give up on a body larger than any schema, before it collects it."""
    decoded = response.iter_bytes

    def iter_bytes(chunk_size: int | None = None) -> Iterator[bytes]:
        left = _MOST_BYTES
        for chunk in decoded(chunk_size):
            left -= len(chunk)
            if left < 0:
                raise OverflowError
            yield chunk

    response.iter_bytes = iter_bytes


class _Backend:
    """Opens connections; a ``NetworkBackend`` of httpcore."""

    def __init__(self, backend: Any, left: _Left) -> None:
        self._backend = backend
        self._left = left
        self._hanging: dict[tuple[str, int], Future[Any]] = {}

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **how: Any) -> _Stream:
        seconds, place = self._left(timeout), (host, port)
        if place in self._hanging and not self._hanging[place].done():
            raise TimeoutError
        self._hanging.pop(place, None)
        opened = in_daemon(partial(self._backend.connect_tcp, host, port, timeout=seconds, **how), f"connect-{host}")
        try:
            return _Stream(opened.result(seconds), self._left)
        except TimeoutError:
            self._hanging[place] = opened
            opened.add_done_callback(_close)
            raise


def _close(opened: Future[Any]) -> None:
    """Close a connection that came too late."""
    if opened.exception() is None:
        opened.result().close()


class _Stream:
    """A connection; a ``NetworkStream`` of httpcore."""

    def __init__(self, stream: Any, left: _Left) -> None:
        self._stream = stream
        self._left = left
        self.close = stream.close
        self.get_extra_info = stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        received: bytes = self._stream.read(max_bytes, self._left(timeout))
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout))

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._left(timeout)), self._left)
