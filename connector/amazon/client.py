"""The HTTP client: sends one batch of events to Amazon, and turns whatever happens into an answer.

The problem. Everything between this process and Amazon may fail: a name, a connection, a
certificate, a proxy, an answer that never ends. The pipeline needs a value for each case, within a
bounded time, and it needs to know whether Amazon may have taken the events. No failure may end the
process, and no token may reach another host.

The picture. `AmazonSink.send` takes one request through these steps:

    token ──▶ may it still start? ──▶ POST ──▶ 401: new token, POST again ──▶ contract.read
      │               │                │                  │                         │
      └───────────────┴────────────────┴──────────────────┴─▶ RequestFailed ◀───────┴─▶ Verdicts

The token. `_FreshTokens` holds one access token and at most one refresh, which any number of
requests share. A refresh begins before the token expires, and requests go on with the old token
meanwhile. After 401 the token is refreshed and the request sent once more. After 403 it is not,
because 403 says that the token is good. A token is dropped when the secrets that it was made from
have been replaced. `_FixedTokens` holds a token that somebody else renews, and reads it again for
each request.

The request. One deadline covers everything from connect to the last byte, so a server that drips
cannot hold us. No redirect is followed and no cookie is kept. Proxy variables of the environment
are not used, because a variable meant for another program must not route customers' data; the proxy
of ``AMAZON_PROXY`` is. HTTPS passes through it by CONNECT, so the certificate that is checked is
still Amazon's. Connections are kept for 30 seconds, so a host name that moved
is followed within a minute, even while its old address still answers. While a name cannot be
resolved, its last known addresses are used, because they may well answer. A look-up that hangs
counts as failed after five seconds; nothing can end it, so its thread is left behind, at most one
for each name.

Reading an answer. A body is read up to 4 MB, or three times its request if that is more, before and
after decompression. The rest is cut off, and such a body then fails to parse like any other cut
one. A header may have 64 KB, and an answer 512 headers, because a proxy in between adds more than a
server would. The body of an answer with status 300 or above is not needed: such an answer counts
even if the connection breaks off within it.

What counts as not HTTP. Two cases are `Failure.UNREADABLE`: an answer that does not parse as HTTP,
and one that begins and then breaks off. Several of them in a row need an operator, because
something other than Amazon may be answering. A certificate that is not valid needs an operator at
once: time alone fixes neither trust, nor a clock, nor a name. Every other failure of the network is
transient; a time-out among them also tells the pipeline to send fewer requests at once.

Laws. `AmazonSink.send` never raises. aiohttp's errors become a `RequestFailed` by their type (see
`_REASONS`); their texts are not quoted, because they may hold values of an event.

What must change together. A new row of `_REASONS` needs its class in `_FAILURES` unless it is
transient, a place in the list of ``connector_requests_total`` in docs/operating.md, and a text in
`_DETAILS` if an operator can do something about it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import ResolveResult

from connector.amazon import profiles
from connector.amazon.answers import header
from connector.amazon.proxy import Proxy
from connector.amazon.tokens import (
    AccessToken,
    Credentials,
    FixedToken,
    Secret,
    postponed,
    read_fixed,
    read_token,
    refresh_form,
)
from connector.daemon import in_daemon
from connector.model import Answer, Failure, RequestFailed
from connector.ports import WireContract

__all__ = ["AmazonSink", "RawAnswer", "Transport"]

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
_LOOKUP_SECONDS: Final = 5.0
"""How long a request waits for the look-up of a name, which has no time-out of its own."""
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
        """Post a body, or ask by GET if there is none; return the answer, whatever its status, or why there is none.

        A failure of the network is returned, not raised. So is a request that takes too long. May
        be called for several requests at a time.
        """

    async def close(self) -> None:
        """Close all connections. Called once, when no request is in flight."""


class AmazonSink:
    """``ports.Sink`` over HTTP, for one wire contract, one base URL and its credentials.

    ``timeout_seconds`` covers one request from connect to last byte. ``max_connections`` should be
    at least the number of requests in flight; otherwise they wait for each other within their
    deadline. ``proxy`` returns the URL
    of a proxy, for each request anew. ``transport`` is aiohttp unless another is given. Must be used in one event loop.
    """

    def __init__(
        self,
        contract: WireContract,
        base_url: str,
        credentials: Credentials | FixedToken,
        *,
        timeout_seconds: float,
        max_connections: int,
        transport: Transport | None = None,
        proxy: Secret | None = None,
    ) -> None:
        self._contract = contract
        self._base_url = base_url.rstrip("/")
        self._url = self._base_url + contract.path
        self._http = transport or _Http(timeout_seconds, max_connections, proxy)
        self._tokens = (
            _FixedTokens(credentials) if isinstance(credentials, FixedToken) else _FreshTokens(credentials, self._http)
        )

    async def send(self, body: bytes, count: int, *, may_start: Callable[[], bool]) -> Answer:
        """Send a request body of ``count`` events, and return what became of them."""
        try:
            return await self._send(body, count, may_start)
        except Exception as error:  # noqa: BLE001 - one answer must not end the process: its events are sent again
            # Only the type is quoted: the text may hold values of an event.
            detail = f"An unforeseen error came up ({type(error).__name__})"
            return RequestFailed(Failure.TRANSIENT, "unforeseen", detail=detail)

    async def _send(self, body: bytes, count: int, may_start: Callable[[], bool]) -> Answer:
        token = await self._tokens.current()
        if isinstance(token, RequestFailed):
            return token
        answer = await self._post(token, body, may_start)
        if isinstance(answer, RawAnswer) and answer.status == _UNAUTHORIZED:
            answer = await self._again(token, body, may_start) or answer
        if isinstance(answer, RequestFailed):
            return answer
        read = self._contract.read(answer.status, answer.headers, answer.body, count)
        return _with_doubt(read) if isinstance(read, RequestFailed) else read

    async def check_token(self) -> RequestFailed | None:
        """Return why no access token can be had; None if there is one.

        A fixed token is not checked: only a request to Amazon could tell whether it is good.
        """
        token = await self._tokens.current()
        return token if isinstance(token, RequestFailed) else None

    async def profiles(self, client_id: str) -> RawAnswer | RequestFailed:
        """Ask for the profiles that the token reaches. It changes nothing."""
        token = await self._tokens.current()
        if isinstance(token, RequestFailed):
            return token
        return await self._http.post(self._base_url + profiles.PATH, profiles.headers(client_id, token), None)

    async def close(self) -> None:
        """Cancel a refresh in progress and close all connections."""
        await self._tokens.close()
        await self._http.close()

    async def _again(self, refused: str, body: bytes, may_start: Callable[[], bool]) -> RawAnswer | RequestFailed | None:
        """Send a request once more with another token; None if no other token can be had."""
        token = await self._tokens.instead_of(refused)
        return await self._post(token, body, may_start) if isinstance(token, str) else token

    async def _post(self, token: str, body: bytes, may_start: Callable[[], bool]) -> RawAnswer | RequestFailed:
        if not may_start():
            return _NOT_SENT
        answer = await self._http.post(self._url, self._contract.headers(token), body)
        return _with_doubt(answer) if isinstance(answer, RequestFailed) else answer


def _with_doubt(failed: RequestFailed) -> RequestFailed:
    """Add to an unreadable answer of the events' endpoint that Amazon may have taken the events."""
    if failed.failure is not Failure.UNREADABLE:
        return failed
    doubt = "The events may have been accepted; they are sent again, with the same ids"
    return replace(failed, detail=f"{failed.detail}. {doubt}")


_UNAUTHORIZED: Final = 401
_NOT_SENT: Final = RequestFailed(
    Failure.NOT_SENT, "not-sent", detail="In the meantime a partition was lost, or the consumer thread stopped polling"
)


class _FixedTokens:
    """A token that the connector cannot renew; its file is read again for each request."""

    def __init__(self, token: FixedToken) -> None:
        self._token = token

    async def current(self) -> str | RequestFailed:
        return read_fixed(self._token)

    async def instead_of(self, refused: str) -> str | RequestFailed | None:
        token = read_fixed(self._token)
        return token if token != refused else None

    async def close(self) -> None:
        pass


class _FreshTokens:
    """The current access token, and the one refresh that may be in progress."""

    def __init__(self, credentials: Credentials, http: Transport) -> None:
        self._credentials = credentials
        self._http = http
        self._token: AccessToken | None = None
        self._made_from: dict[str, str] = {}  # the form with which the token was requested
        self._refresh: asyncio.Task[AccessToken | RequestFailed] | None = None

    async def current(self) -> str | RequestFailed:
        """Return a token that is valid by the clock; wait for a refresh only if there is none.

        Shortly before the token expires, a refresh begins in the background.
        """
        now = asyncio.get_running_loop().time()
        token = self._token if self._made_from == refresh_form(self._credentials) else None
        if token is not None and now < token.refresh_at:
            return token.text
        refresh = self._refreshing()
        if token is not None and now < token.expires_at:
            return token.text
        return await self._outcome(refresh)

    async def instead_of(self, refused: str) -> str | RequestFailed:
        """Return a token other than one that Amazon refused.

        Several requests that were refused with the same token cause one refresh.
        """
        if self._token is not None and self._token.text != refused:
            return self._token.text
        return await self._outcome(self._refreshing())

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    def _refreshing(self) -> asyncio.Task[AccessToken | RequestFailed]:
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._refresh_once())
        return self._refresh

    async def _outcome(self, refresh: asyncio.Task[AccessToken | RequestFailed]) -> str | RequestFailed:
        # Not `await refresh`: a cancelled request would cancel the refresh that others wait for.
        await asyncio.wait({refresh})
        if refresh.cancelled():
            return RequestFailed(Failure.TRANSIENT, "closed")
        token = refresh.result()
        return token.text if isinstance(token, AccessToken) else token

    async def _refresh_once(self) -> AccessToken | RequestFailed:
        now = asyncio.get_running_loop().time()
        form = refresh_form(self._credentials)
        answer = await self._http.post(self._credentials.token_url, {}, aiohttp.FormData(form))
        token = read_token(*answer, now) if isinstance(answer, RawAnswer) else _at_the_token_url(answer)
        if isinstance(token, AccessToken):
            self._token, self._made_from = token, form
        elif self._token is not None:
            self._token = postponed(self._token, asyncio.get_running_loop().time())
        return token


def _at_the_token_url(failed: RequestFailed) -> RequestFailed:
    """Mark a failure as one of the token URL.

    A time-out there becomes a transient failure, because it does not mean that the events' endpoint
    is overloaded.
    """
    failure = Failure.TRANSIENT if failed.failure is Failure.TIMEOUT else failed.failure
    return replace(failed, failure=failure, reason=f"token-{failed.reason}")


class _Http:
    """A `Transport` over aiohttp: bounded in time and size, without cookies, errors as values."""

    def __init__(self, timeout_seconds: float, max_connections: int, proxy: Secret | None = None) -> None:
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._max_connections = max_connections
        self._resolver: _Resolver | None = None
        self._session: aiohttp.ClientSession | None = None
        self._renew_at = 0.0
        self._out: Counter[aiohttp.ClientSession] = Counter()
        """Requests in flight, by open session."""

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes | aiohttp.FormData | None
    ) -> RawAnswer | RequestFailed:
        status = 0
        answered: Mapping[str, str] = {}
        proxy = None if self._proxy is None else Proxy.read(self._proxy())
        if proxy is None and self._proxy is not None:
            return _PROXY_UNUSABLE
        if proxy is not None and url.startswith("http:"):
            headers = {**headers, **proxy.headers}  # without TLS there is no CONNECT that could carry them
        most = max(_LEAST_CAP_BYTES, _ECHO_TIMES * len(body)) if isinstance(body, bytes) else _LEAST_CAP_BYTES
        try:
            # A stream, because aiohttp would write megabytes of plain bytes at once, and warn of
            # it.
            data = BytesIO(body) if isinstance(body, bytes) else body
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
                # The status says all that we need, and must not be lost with a body that we do not
                # need.
                return RawAnswer(status, answered, b"")
            return (proxy and _by_proxy(error, proxy, url)) or _failed(error, status, url)

    async def close(self) -> None:
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
            self._resolver = _Resolver()
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


_PROXY_UNUSABLE: Final = RequestFailed(
    Failure.OPERATOR,
    "proxy-connect",
    detail="The file of AMAZON_PROXY does not hold http://host:port or http://user:password@host:port",
)
_PROXY_WANTS_LOGIN: Final = 407
_PASSING_OF_PROXIES: Final = frozenset({408, 425, 429})


def _by_proxy(error: Exception, proxy: Proxy, url: str) -> RequestFailed | None:
    """Return the failure of the proxy; None if it is not the proxy that failed. Nothing has reached Amazon then."""
    where = f"{proxy.host}:{proxy.port}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        status = error.status
        transient = status >= 500 or status in _PASSING_OF_PROXIES
        if status == _PROXY_WANTS_LOGIN:
            advice = "check user and password in AMAZON_PROXY"
        else:
            advice = f"check whether it lets this host connect to {urlsplit(url).netloc}"
        detail = f"The proxy {where} answered {status}; {advice}"
        return RequestFailed(Failure.TRANSIENT if transient else Failure.OPERATOR, f"proxy-{status}", detail=detail)
    at_proxy = isinstance(error, aiohttp.ClientConnectorError) and (error.host, error.port) == (proxy.host, proxy.port)
    if at_proxy:
        detail = f"The proxy {where} cannot be reached; check AMAZON_PROXY, the name servers and the firewall"
        return RequestFailed(Failure.TRANSIENT, "proxy-connect", detail=detail)
    return None


_Name = tuple[str, int, socket.AddressFamily]


class _Resolver(aiohttp.ThreadedResolver):
    """The host's resolver; while it fails or hangs, a name keeps its last addresses (as in RFC 8767)."""

    def __init__(self) -> None:
        super().__init__(cast("asyncio.AbstractEventLoop", _Lookups()))
        self._last: dict[_Name, list[ResolveResult]] = {}
        self._under_way: dict[_Name, asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
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


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            response.close()  # reading the rest would cost more than a new connection
            break
    answer = bytes(body[:most])
    return _inflated(answer, most) if header(response.headers, "content-encoding").lower() in _DEFLATED else answer


_DEFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})
"""Content encodings that are decompressed. We ask for none, but a proxy may not comply."""


def _inflated(body: bytes, most: int) -> bytes:
    """Decompress a body up to ``most`` bytes; one that is not compressed data stays as it is."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, most)
    except zlib.error:
        return body


_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorCertificateError, "certificate"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ServerFingerprintMismatch, "tls"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientConnectorError, "connect"),
    (aiohttp.ServerDisconnectedError, "disconnected"),
    (aiohttp.ClientPayloadError, "disconnected"),
    (aiohttp.ClientOSError, "disconnected"),
    (aiohttp.ClientResponseError, "not-http"),
)
"""The reason for each type of error. The first type that fits counts, so narrower types come
first."""


_FAILURES: Final = {
    "timeout": Failure.TIMEOUT,
    "certificate": Failure.OPERATOR,
    "not-http": Failure.UNREADABLE,
}
"""What each reason means for the request. Reasons that are not here are transient."""

_DETAILS: Final = {
    "certificate": "The certificate of {host} is not valid ({why}); check the clock, the trusted certificates "
    "(SSL_CERT_FILE), the URL, and any proxy in between",
    "connect": "Nothing accepts connections at {host}:{port}; check the URL, the firewall, and any proxy in between",
    "dns": "The name {host} cannot be resolved; check the URL and the name servers",
    "tls": "No TLS connection to {host}:{port} can be made; check the URL, and any proxy in between",
}


def _failed(error: Exception, status: int, url: str) -> RequestFailed:
    reason = _reason(error)
    failure = _FAILURES.get(reason, Failure.TRANSIENT)
    detail = _detail(error, reason)
    began = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)
    if reason == "disconnected" and (status or began):
        failure = Failure.UNREADABLE
    if failure is Failure.UNREADABLE:
        host = urlsplit(url).netloc
        if began:
            what = "began to answer and broke off before the end of the headers"
        else:
            what = f"began to answer {status} and broke off" if status else "sent an answer that is not HTTP"
        detail = f"{host} {what}; check the URL, and any proxy in between"
    return RequestFailed(failure, reason, status=status or None, detail=detail)


def _reason(error: Exception) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "network")


def _detail(error: Exception, reason: str) -> str:
    """Return what an operator can check if no connection was made; empty for other errors."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return ""
    cause = error.os_error
    why = cause.verify_message.rstrip(".") if isinstance(cause, ssl.SSLCertVerificationError) else ""
    return _DETAILS.get(reason, "").format(host=error.host, port=error.port, why=why)
