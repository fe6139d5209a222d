"""Carries a request to Amazon and its answer back, bounded in time and size, with errors as values.

The request. One deadline covers everything from connect to the last byte, so a server that drips
cannot hold us. No redirect is followed and no cookie is kept. Proxy variables of the environment
are not used, because a variable meant for another program must not route customers' data; the proxy
of ``AMAZON_PROXY`` is. HTTPS passes through it by CONNECT, so the certificate that is checked is
still Amazon's. Connections are kept for 30 seconds, so a host name that moved is followed within a
minute, even while its old address still answers.

Reading an answer. A body is read up to 4 MB, or three times its request if that is more, before and
after decompression. The rest is cut off, and such a body then fails to parse like any other cut
one. A header may have 64 KB, and an answer 512 headers, because a proxy in between adds more than a
server would. The body of an answer with status 300 or above is not needed: such an answer counts
even if the connection breaks off within it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Final, NamedTuple, Protocol

import aiohttp

from connector.amazon.network_failures import PROXY_UNUSABLE, failure_of, failure_of_proxy
from connector.amazon.proxy import Proxy
from connector.amazon.resolver import Resolver
from connector.amazon.tokens import Secret
from connector.model import RequestFailed

__all__ = ["HttpTransport", "RawAnswer", "Transport"]

_LEAST_CAP_BYTES: Final = 4 * 1024 * 1024
"""Bytes of an answer that are always read: 500 events echoed at 8 KB each. A real answer is some
hundred KB."""
_ECHO_TIMES: Final = 3
"""How much longer than its request an answer may be. adsApi/v1 repeats each event that it took
(OAS), and may write every letter as ``\\u00fc``."""
_MOST_HEADER_BYTES: Final = 65_536 + 256
"""Bytes of one header with its name. aiohttp's default is 8,190; with it, an answer with a longer
header would be lost."""
_MOST_HEADERS: Final = 512
_MOST_AT_ONCE: Final = 1_000_000
"""Largest body, in bytes, that aiohttp is given as bytes. It warns of more than 1 MB, so a larger
body is given as a stream, which it copies."""
_SESSION_SECONDS: Final = 30.0
"""How long a session, and so its connections, is used. A connection in constant use would never
end, and never learn of a new address (aiohttp issue 4948)."""


class RawAnswer(NamedTuple):
    """An answer as it came: status, headers and body, not yet interpreted."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Carries one request to a URL and one answer back."""

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes | aiohttp.FormData | None
    ) -> RawAnswer | RequestFailed:
        """Post a body, or ask by GET if there is none.

        Return the answer, whatever its status, or why there is none. A failure of the network is
        returned, not raised; so is a time-out. May be called for several requests at a time.
        """

    async def close(self) -> None:
        """Close all connections. Called once, when no request is in flight."""


class HttpTransport:
    """A `Transport` over aiohttp: bounded in time and size, without cookies, errors as values."""

    def __init__(self, timeout_seconds: float, max_connections: int, proxy: Secret | None = None) -> None:
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._max_connections = max_connections
        self._resolver: Resolver | None = None
        self._session: aiohttp.ClientSession | None = None
        self._renew_at = 0.0
        self._out: Counter[aiohttp.ClientSession] = Counter()
        """Requests in flight, by open session."""

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes | aiohttp.FormData | None
    ) -> RawAnswer | RequestFailed:
        """Post or ask, as `Transport.post` says."""
        status = 0
        answered: Mapping[str, str] = {}
        proxy = None if self._proxy is None else Proxy.read(self._proxy())
        if proxy is None and self._proxy is not None:
            return PROXY_UNUSABLE
        if proxy is not None and url.startswith("http:"):
            headers = {**headers, **proxy.headers}  # without TLS there is no CONNECT that could carry them
        most = max(_LEAST_CAP_BYTES, _ECHO_TIMES * len(body)) if isinstance(body, bytes) else _LEAST_CAP_BYTES
        try:
            data = BytesIO(body) if isinstance(body, bytes) and len(body) > _MOST_AT_ONCE else body
            async with (
                self._lent() as session,
                session.request(
                    "GET" if body is None else "POST",
                    url,
                    data=data,
                    headers={**headers, "Accept-Encoding": "identity"},
                    allow_redirects=False,
                    proxy=proxy and proxy.url,
                    proxy_headers=proxy and proxy.headers,
                ) as response,
            ):
                status, answered = response.status, response.headers
                return RawAnswer(status, answered, await _read(response, most))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if status >= 300:
                # The status is all that is needed, and must not be lost with the body.
                return RawAnswer(status, answered, b"")
            return (proxy and failure_of_proxy(error, proxy, url)) or failure_of(error, status, url)

    async def close(self) -> None:
        """Close all connections, and give up look-ups in progress."""
        for session in list(self._out):
            await session.close()
        if self._resolver is not None:
            await self._resolver.close()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Lend the session for one request; an old one is replaced, and closed when it is idle."""
        now = asyncio.get_running_loop().time()
        if self._session is None or now >= self._renew_at:
            old, self._session, self._renew_at = self._session, self._open(), now + _SESSION_SECONDS
            self._out[self._session] = 0
            await self._close_if_done(old)
        session = self._session
        self._out[session] += 1
        try:
            yield session
        finally:
            self._out[session] -= 1
            await self._close_if_done(session)

    async def _close_if_done(self, session: aiohttp.ClientSession | None) -> None:
        if session is not None and session is not self._session and not self._out[session]:
            del self._out[session]
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._resolver is None:  # not in the constructor: aiohttp needs a running loop for it
            self._resolver = Resolver()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, resolver=self._resolver),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=_MOST_HEADER_BYTES,
            max_field_size=_MOST_HEADER_BYTES,
            max_headers=_MOST_HEADERS,
        )


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            response.close()  # reading the rest would cost more than a new connection
            break
    answer = bytes(body[:most])
    codings = ",".join(response.headers.getall("Content-Encoding", ()))
    for coding in reversed(codings.lower().split(",")[:_MOST_CODINGS]):  # the last one was applied last
        if coding.strip() in _DEFLATED:
            answer = _inflated(answer, most)
    return answer


_DEFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})
"""Content encodings that are decompressed. We ask for none, but a proxy may not comply."""
_MOST_CODINGS: Final = 4
_MOST_MEMBERS: Final = 64


def _inflated(body: bytes, most: int) -> bytes:
    """Decompress a body up to ``most`` bytes; one that is not compressed data stays as it is.

    There may be several members in a row (RFC 1952), as of a proxy that compresses piece by piece.
    """
    found, rest = bytearray(), body
    try:
        for _ in range(_MOST_MEMBERS):
            unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            found += unpacking.decompress(rest, most - len(found))
            rest = unpacking.unused_data
            if not rest or len(found) >= most:
                break
    except zlib.error:
        return bytes(found) or _inflated_bare(body, most)
    return bytes(found)


def _inflated_bare(body: bytes, most: int) -> bytes:
    """Decompress deflated data without zlib's header, which some servers call deflate."""
    unpacking = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        found = unpacking.decompress(body, most)
    except zlib.error:
        return body
    return found if unpacking.eof and not unpacking.unused_data else body
