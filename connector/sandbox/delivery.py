"""Sends an answer: whole, byte by byte, without end, or cut off.

An answer that HTTP does not allow is written to the transport as bytes. The connection is closed
afterwards, so aiohttp finds it gone. A long delivery ends as soon as the client leaves.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import orjson
from aiohttp import web

from connector.sandbox.replies import Reply, ReplyManner

__all__ = ["as_json", "deliver", "is_gone", "read_half", "reset"]

_HUGE_BYTES: Final = 1 << 30
_CHUNK: Final = b" " * 65_536
_MOST_BUFFERED: Final = 1 << 20
_LOOK_SECONDS: Final = 0.005


async def deliver(request: web.Request, reply: Reply) -> tuple[web.Response, str]:
    """Send an answer; return it, and the record's word for what became of it."""
    if reply.wait_ms:
        await asyncio.sleep(reply.wait_ms / 1000)
    response = web.Response(
        status=reply.status, body=reply.body, content_type=reply.content_type, headers=dict(reply.headers)
    )
    transport = request.transport
    if transport is None or is_gone(transport):
        return response, "unread"
    if reply.manner is not ReplyManner.WHOLE:
        await _MANNERS[reply.manner](transport, reply)
        return response, reply.label
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return response, "unread"
    return response, reply.label


def as_json(status: int, document: object) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


def is_gone(transport: asyncio.BaseTransport) -> bool:
    """Return whether the connection is closed or closing."""
    return transport.is_closing()


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection with RST: whatever is in transit, in either direction, is lost."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not is_gone(transport):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def read_half(request: web.Request) -> None:
    """Read half of a request's body."""
    left = (request.content_length or 0) // 2
    while left > 0 and (chunk := await request.content.read(left)):
        left -= len(chunk)


def _head(reply: Reply, *fields: str) -> bytes:
    """Return the head of an answer as bytes."""
    lines = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        f"Content-Type: {reply.content_type}",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def _drained(transport: asyncio.WriteTransport, most: int = 0) -> None:
    """Wait until the kernel has taken all but ``most`` bytes, or the client is gone."""
    while transport.get_write_buffer_size() > most and not is_gone(transport):  # noqa: ASYNC110 - the transport has no event for it
        await asyncio.sleep(_LOOK_SECONDS)


async def _drip(transport: asyncio.WriteTransport, text: bytes, ms: int) -> None:
    for at in range(len(text)):
        if is_gone(transport):
            return
        transport.write(text[at : at + 1])
        await asyncio.sleep(ms / 1000)


async def _not_at_all(transport: asyncio.WriteTransport, _reply: Reply) -> None:
    transport.abort()


async def _headers_drip(transport: asyncio.WriteTransport, reply: Reply) -> None:
    transport.write(_head(reply, f"Content-Length: {len(reply.body)}")[:-2])
    while not is_gone(transport):
        await _drip(transport, b"X-Slow: and so on\r\n", reply.drip_ms)


async def _body_drips(transport: asyncio.WriteTransport, reply: Reply) -> None:
    transport.write(_head(reply, f"Content-Length: {len(reply.body)}"))
    await _drip(transport, reply.body, reply.drip_ms)
    transport.close()


async def _endless(transport: asyncio.WriteTransport, reply: Reply) -> None:
    transport.write(_head(reply, "Transfer-Encoding: chunked"))
    chunk = f"{len(_CHUNK):x}\r\n".encode() + _CHUNK + b"\r\n"
    while not is_gone(transport):
        await _stream(transport, chunk, 1)


async def _huge(transport: asyncio.WriteTransport, reply: Reply) -> None:
    transport.write(_head(reply, f"Content-Length: {_HUGE_BYTES}"))
    await _stream(transport, _CHUNK, _HUGE_BYTES // len(_CHUNK))
    transport.close()


async def _stream(transport: asyncio.WriteTransport, chunk: bytes, times: int) -> None:
    for _ in range(times):
        if is_gone(transport):
            return
        transport.write(chunk)
        await asyncio.sleep(0)
        await _drained(transport, _MOST_BUFFERED)


async def _inflates(transport: asyncio.WriteTransport, reply: Reply) -> None:
    body = _bomb()
    transport.write(_head(reply, "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body)
    await _drained(transport)
    transport.close()


_CHECKSUM: Final = 0x5B64C2B0
"""CRC-32 of 1 GB of zeros, computed in advance, because that takes longer than a client waits."""


@functools.cache
def _bomb() -> bytes:
    """Return 1 GB of zeros as 1 MB of gzip: copies of one block that does not refer back."""
    block_bytes, times = 1 << 20, _HUGE_BYTES >> 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(block_bytes)) + packer.flush(zlib.Z_FULL_FLUSH)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return header + block * times + packer.flush() + struct.pack("<II", _CHECKSUM, _HUGE_BYTES)


async def _reset_after_headers(transport: asyncio.WriteTransport, reply: Reply) -> None:
    transport.write(_head(reply, f"Content-Length: {len(reply.body)}"))
    await _drained(transport)
    reset(transport)


async def _reset_amid_body(transport: asyncio.WriteTransport, reply: Reply) -> None:
    half = reply.body[: len(reply.body) // 2]
    transport.write(_head(reply, f"Content-Length: {len(reply.body)}") + half)
    await _drained(transport)
    reset(transport)


_MANNERS: Final[dict[ReplyManner, Callable[[asyncio.WriteTransport, Reply], Awaitable[None]]]] = {
    ReplyManner.NOT_AT_ALL: _not_at_all,
    ReplyManner.HEADERS_DRIP: _headers_drip,
    ReplyManner.BODY_DRIPS: _body_drips,
    ReplyManner.ENDLESS: _endless,
    ReplyManner.HUGE: _huge,
    ReplyManner.INFLATES: _inflates,
    ReplyManner.RESET_AFTER_HEADERS: _reset_after_headers,
    ReplyManner.RESET_AMID_BODY: _reset_amid_body,
}
