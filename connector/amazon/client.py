"""The one file of its room that does I/O: one request out, one raw answer in.

Rules it keeps:

* `AmazonSink.send` never raises for what Amazon or the network does: aiohttp's errors become a `RequestFailed`, by type.
* One deadline over everything, from connect to last byte, so a server that drips has no hold on us.
* An answer is at most 4 MB, or three times its request where that is more, before and after decompression; what is beyond
  is cut off, and then reads as what it is.
* A header is at most 64 KB, and an answer has at most 512 of them: what stands between adds more than servers of its own
  would. What answers in another form, or begins to accept and breaks off, is unreadable: several in a row need an operator.
* No redirect is followed and no cookie kept: the token goes to the configured host or nowhere.
* A certificate that does not hold needs an operator: time alone fixes neither trust, nor a clock, nor a name. All else that
  happens on the way passes.
* One refresh for any number of requests. On 401 the token is refreshed once, and the request sent once more; not on 403,
  which says that the token is good. A token is not used when the secrets that it was made from were replaced.
* A name that moved is followed within a minute, also while its old address answers: connections are kept for half of one. A
  name that cannot be resolved for now has the addresses it had last, for they may well answer.
* Proxies of the environment are not used: a variable meant for another program must not route customers' data.
  ``AMAZON_BASE_URL`` is the way to name one.
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
from io import BytesIO
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import ResolveResult

from connector.amazon.answers import header
from connector.amazon.tokens import AccessToken, Credentials, FixedToken, postponed, read_fixed, read_token, refresh_form
from connector.model import Answer, Failure, RequestFailed
from connector.ports import WireContract

__all__ = ["AmazonSink", "RawAnswer", "Transport"]

_LEAST_CAP_BYTES: Final = 4 * 1024 * 1024
"""500 events echoed at 8 KB each; a real answer is some hundred KB."""
_ECHO_TIMES: Final = 3
"""adsApi/v1 repeats each event that it took (OAS): so many times as long with every letter written as ``\\u00fc``."""
_MOST_HEADER_BYTES: Final = 65_536 + 256
"""Of one, with its name. aiohttp's own limit is 8,190, and a request that is answered with more is answered in vain."""
_MOST_HEADERS: Final = 512
_SESSION_SECONDS: Final = 30.0
"""A connection that is used all the time would never end, and so never learn of another address (aiohttp issue 4948)."""


class RawAnswer(NamedTuple):
    """An answer as it came: status, headers and body, unread."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Carries one request to a URL and one answer back."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes | aiohttp.FormData) -> RawAnswer | RequestFailed:
        """Post a body; return the answer whatever its status, or why there is none. Raises for no failure of the network.

        Called for several requests at a time. Bounded in time: what takes too long is a failure.
        """

    async def close(self) -> None:
        """Give back connections. Called once, with no request out."""


class AmazonSink:
    """``ports.Sink`` over HTTP: a wire contract, a base URL (without trailing slash) and credentials.

    ``timeout_seconds`` is for one request from connect to last byte. ``max_connections`` should not be below the number of
    requests in flight, or they wait for each other within their deadline. ``transport`` is aiohttp unless another is given.
    Must be used in one event loop.
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
    ) -> None:
        self._contract = contract
        self._url = base_url.rstrip("/") + contract.path
        self._http = transport or _Http(timeout_seconds, max_connections)
        self._tokens = (
            _FixedTokens(credentials) if isinstance(credentials, FixedToken) else _FreshTokens(credentials, self._http)
        )

    async def send(self, body: bytes, count: int, *, may_start: Callable[[], bool]) -> Answer:
        """Send a request body of ``count`` events, and read what became of them."""
        try:
            return await self._send(body, count, may_start)
        except Exception as error:  # noqa: BLE001 - one answer must not end the process: its events are sent again
            # Its type alone: the text may hold values of an event.
            detail = f"It failed in a way that nobody foresaw ({type(error).__name__})"
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
        """Say why no access token can be had, None if one can. A fixed one is taken on trust: only a request could tell."""
        token = await self._tokens.current()
        return token if isinstance(token, RequestFailed) else None

    async def close(self) -> None:
        """Give back connections."""
        await self._tokens.close()
        await self._http.close()

    async def _again(self, refused: str, body: bytes, may_start: Callable[[], bool]) -> RawAnswer | RequestFailed | None:
        """Send once more with another token; None if there cannot be another."""
        token = await self._tokens.instead_of(refused)
        return await self._post(token, body, may_start) if isinstance(token, str) else token

    async def _post(self, token: str, body: bytes, may_start: Callable[[], bool]) -> RawAnswer | RequestFailed:
        if not may_start():
            return _NOT_SENT
        answer = await self._http.post(self._url, self._contract.headers(token), body)
        return _with_doubt(answer) if isinstance(answer, RequestFailed) else answer


def _with_doubt(failed: RequestFailed) -> RequestFailed:
    """Say of an answer of the events' endpoint that cannot be read what became of the events."""
    if failed.failure is not Failure.UNREADABLE:
        return failed
    doubt = "The events may have been accepted; they are sent again, with the same ids"
    return replace(failed, detail=f"{failed.detail}. {doubt}")


_UNAUTHORIZED: Final = 401
_NOT_SENT: Final = RequestFailed(
    Failure.NOT_SENT, "not-sent", detail="Meanwhile a partition was lost, or the consumer's thread polled no more"
)


class _FixedTokens:
    """A token that cannot be renewed from here; whoever renews it may have changed the file it stands in."""

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
    """The current access token, and the one refresh that may be under way."""

    def __init__(self, credentials: Credentials, http: Transport) -> None:
        self._credentials = credentials
        self._http = http
        self._token: AccessToken | None = None
        self._made_from: dict[str, str] = {}  # the form that the token was asked for with
        self._refresh: asyncio.Task[AccessToken | RequestFailed] | None = None

    async def current(self) -> str | RequestFailed:
        """Return a token that is valid by the clock. Ahead of its end a refresh goes on beside, and nobody waits."""
        now = asyncio.get_running_loop().time()
        token = self._token if self._made_from == refresh_form(self._credentials) else None
        if token is not None and now < token.refresh_at:
            return token.text
        refresh = self._refreshing()
        if token is not None and now < token.expires_at:
            return token.text
        return await self._outcome(refresh)

    async def instead_of(self, refused: str) -> str | RequestFailed:
        """Return another token than one that Amazon refused; several requests with it cause one refresh."""
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
        await asyncio.wait({refresh})  # and not the task itself: a cancelled request would cancel the others' refresh
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
    """Say where it failed: the other endpoint's time-out is no sign that this one has too much to do."""
    failure = Failure.TRANSIENT if failed.failure is Failure.TIMEOUT else failed.failure
    return replace(failed, failure=failure, reason=f"token-{failed.reason}")


class _Http:
    """aiohttp, as we want it: bounded in time and size, without memory, its errors as values."""

    def __init__(self, timeout_seconds: float, max_connections: int) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._max_connections = max_connections
        self._resolver: _Resolver | None = None
        self._session: aiohttp.ClientSession | None = None
        self._renew_at = 0.0
        self._out: Counter[aiohttp.ClientSession] = Counter()
        """Requests out by each session that is open."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes | aiohttp.FormData) -> RawAnswer | RequestFailed:
        status = 0
        answered: Mapping[str, str] = {}
        most = max(_LEAST_CAP_BYTES, _ECHO_TIMES * len(body)) if isinstance(body, bytes) else _LEAST_CAP_BYTES
        try:
            # A stream, or aiohttp writes megabytes in one go, and warns of it.
            data = BytesIO(body) if isinstance(body, bytes) else body
            async with (
                self._lent() as session,
                session.post(
                    url, data=data, headers={**headers, "Accept-Encoding": "identity"}, allow_redirects=False
                ) as response,
            ):
                status, answered = response.status, response.headers
                return RawAnswer(status, answered, await _read(response, most))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if status >= 300:
                # The status says all that we need; it must not be lost with a body that we do not.
                return RawAnswer(status, answered, b"")
            return _failed(error, status, url)

    async def close(self) -> None:
        for session in list(self._out):
            await session.close()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Lend the session; one that is old is replaced, and closed once its last request has ended."""
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
        if self._resolver is None:  # aiohttp wants a running loop, which a constructor has no right to
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


class _Resolver(aiohttp.ThreadedResolver):
    """Asks the host's resolver; while that has no answer, a name has the addresses it had last (as in RFC 8767)."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int, socket.AddressFamily], list[ResolveResult]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        asked = (host, port, family)
        try:
            self._last[asked] = await super().resolve(host, port, family)
        except OSError:
            if asked not in self._last:
                raise
        return self._last[asked]


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            response.close()  # the rest is not worth a connection
            break
    answer = bytes(body[:most])
    return _inflated(answer, most) if header(response.headers, "content-encoding").lower() in _DEFLATED else answer


_DEFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})
"""We ask for none; a proxy may not listen."""


def _inflated(body: bytes, most: int) -> bytes:
    """Decompress up to the cap; what does not decompress stays as it is, and will not parse."""
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
"""The first that fits, so the narrower stand before the wider."""


_FAILURES: Final = {
    "timeout": Failure.TIMEOUT,
    "certificate": Failure.OPERATOR,
    "not-http": Failure.UNREADABLE,
}
"""All others pass."""

_SENTENCES: Final = {
    "certificate": "The certificate of {host} does not hold ({why}); check the clock, the certificates that are trusted "
    "(SSL_CERT_FILE), the URL, and what stands between",
    "connect": "Nothing at {host}:{port} takes a connection; check the URL, the firewall, and what stands between",
    "dns": "The name {host} cannot be resolved; check the URL and the name servers",
    "tls": "There is no TLS with {host}:{port}; check the URL, and what stands between",
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
            what = "began to answer and broke off within the head"
        else:
            what = f"began to answer {status} and broke off" if status else "answers what cannot be read as HTTP"
        detail = f"{host} {what}; check the URL, and what stands between"
    return RequestFailed(failure, reason, status=status or None, detail=detail)


def _reason(error: Exception) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "network")


def _detail(error: Exception, reason: str) -> str:
    """Say what an operator can look at, where that is not Amazon."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return ""
    cause = error.os_error
    why = cause.verify_message.rstrip(".") if isinstance(cause, ssl.SSLCertVerificationError) else ""
    return _SENTENCES.get(reason, "").format(host=error.host, port=error.port, why=why)
