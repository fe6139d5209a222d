"""The operations port under abuse: a probe gets through, and the process keeps descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from connector.operations import server
from connector.operations.health import Health
from connector.operations.page import page
from connector.operations.server import Operations
from tests.operations.documents import document
from tests.patience import patience

_LARGE = b"# " + b"x" * 8_000_000


@pytest.fixture
async def operations() -> AsyncIterator[Operations]:
    operations = Operations(lambda: Health(None, ()), lambda accept: (_LARGE, f"text/plain; wanted={len(accept)}"), document)
    await operations.start("127.0.0.1", 0)
    yield operations
    await operations.stop()


async def _asked(operations: Operations, path: str, method: str = "GET") -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=patience(2))
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(method, f"http://127.0.0.1:{operations.port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def _connected(operations: Operations) -> socket.socket:
    return await asyncio.to_thread(socket.create_connection, ("127.0.0.1", operations.port), timeout=30)


async def test_pages_and_what_is_none(operations: Operations) -> None:
    assert await _asked(operations, "/livez") == (200, "live\n")
    assert await _asked(operations, "/readyz?verbose") == (200, "ready\n")
    assert await _asked(operations, "/livez", "HEAD") == (200, "")
    assert await _asked(operations, "/") == (200, page(document()))
    assert json.loads((await _asked(operations, "/status.json"))[1]) == document()
    assert (await _asked(operations, "/nothing"))[0] == 404
    assert (await _asked(operations, "/livez", "POST"))[0] == 405


async def test_every_address_is_also_every_address_of_ipv4() -> None:
    """Kubernetes with IPv6 needs LISTEN_HOST=::, and the image asks for its health at 127.0.0.1."""
    operations = Operations(lambda: Health(None, ()), lambda _: (b"", "text/plain"), document)
    await operations.start("::", 0)
    try:
        assert await _asked(operations, "/livez") == (200, "live\n")
    finally:
        await operations.stop()


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/livez", "/readyz", "/nothing"])
async def test_nothing_on_a_page_may_load_or_run_anything(operations: Operations, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{operations.port}{path}") as answer:
        rules = answer.headers["Content-Security-Policy"].split("; ")
        assert rules[:2] == ["default-src 'none'", "style-src 'unsafe-inline'"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_metrics_come_as_the_request_wants_them(operations: Operations) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{operations.port}/metrics", headers={"Accept": "application/x"}) as answer,
    ):
        assert answer.headers["Content-Type"] == "text/plain; wanted=13"
        assert await answer.read() == _LARGE


def _says_nothing(_stranger: socket.socket) -> None:
    pass


def _says_half(stranger: socket.socket) -> None:
    stranger.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n")


def _does_not_read(stranger: socket.socket) -> None:
    stranger.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")


def _sends_no_body(stranger: socket.socket) -> None:
    stranger.sendall(b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")


def _keeps_alive(stranger: socket.socket) -> None:
    stranger.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")


_STRANGERS = [_says_nothing, _says_half, _does_not_read, _sends_no_body, _keeps_alive]
Stranger = Callable[[socket.socket], None]


@pytest.mark.parametrize("behave", _STRANGERS)
async def test_many_strangers_use_up_no_descriptors_and_a_probe_gets_through(
    operations: Operations, behave: Stranger
) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    with ExitStack() as strangers:
        for _ in range(120):
            stranger = strangers.enter_context(await _connected(operations))
            with contextlib.suppress(ConnectionError):
                behave(stranger)
        assert await _asked(operations, "/livez") == (200, "live\n")
        assert len([*Path("/proc/self/fd").iterdir()]) - before - 120 <= server._MOST_CONNECTIONS


@pytest.mark.parametrize("behave", _STRANGERS)
async def test_a_connection_that_comes_to_nothing_is_ended(
    operations: Operations, monkeypatch: pytest.MonkeyPatch, behave: Stranger
) -> None:
    monkeypatch.setattr(server, "_CONNECTION_SECONDS", 0.3)
    with await _connected(operations) as stranger:
        behave(stranger)
        await asyncio.sleep(1.0)
        with contextlib.suppress(ConnectionError):
            while await asyncio.to_thread(stranger.recv, 1_000_000):  # what there was before the end
                pass


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xc8" + bytes(200),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\xff\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\ns3cret" + b"\xff" * 60_000 + b"\r\n\r\n",
        b"GET /" + b"s3cret" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"s3cret" * 10_000 + b" / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"s3cret" * 100_000 + b"\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\ns3cret\r\n",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\ns3cret",
    ],
    ids=["TLS", "HTTP/2", "token", "header", "address", "method", "long header", "chunk", "gzip"],
)
async def test_what_a_stranger_sends_is_not_logged(
    operations: Operations, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with await _connected(operations) as stranger:
        stranger.settimeout(patience(30))
        with contextlib.suppress(OSError):
            await asyncio.to_thread(stranger.sendall, sent)
        with contextlib.suppress(OSError):
            while await asyncio.to_thread(stranger.recv, 65_536):
                pass
    assert await _asked(operations, "/livez") == (200, "live\n")
    assert [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING] == []


async def test_a_fault_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Health:
        raise ValueError

    operations = Operations(broken, lambda _: (b"", ""), document)
    await operations.start("127.0.0.1", 0)
    try:
        assert (await _asked(operations, "/livez"))[0] == 500
    finally:
        await operations.stop()
    assert [line.exc_info and line.exc_info[0] for line in caplog.records if line.levelno >= logging.WARNING] == [ValueError]


async def test_a_process_without_descriptors_says_so_seldom(
    operations: Operations, caplog: pytest.LogCaptureFixture
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with caplog.at_level(logging.ERROR, "asyncio"), ExitStack() as strangers:
        waiting = [strangers.enter_context(socket.socket()) for _ in range(20)]
        highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard[1]))
        try:
            with contextlib.suppress(OSError):
                while True:  # what is free below
                    strangers.enter_context(Path("/dev/null").open("rb"))
            for stranger in waiting:
                stranger.connect(("127.0.0.1", operations.port))
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(3.5)
            waited = asyncio.get_running_loop().time() - began
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, hard)
    assert 1 <= len(caplog.records) <= waited + 2, "one a second, not one a connection"
    await asyncio.sleep(1.1)
    assert await _asked(operations, "/livez") == (200, "live\n")
