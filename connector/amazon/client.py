"""The HTTP client: sends one batch of events to Amazon, and turns whatever happens into an answer.

The problem. Everything between this process and Amazon may fail: a name, a connection, a
certificate, a proxy, an answer that never ends. The pipeline needs a value for each case, within a
bounded time, and it needs to know whether Amazon may have taken the events. No failure may end the
process, and no token may reach another host.

The picture. `AmazonSink.send` takes one request through these steps:

    token ──▶ may it still start? ──▶ POST ──▶ 401: new token, POST again ──▶ contract.read
      │               │                │                  │                         │
      └───────────────┴────────────────┴──────────────────┴─▶ RequestFailed ◀───────┴─▶ Verdicts

`access_tokens` holds the token, `transport` carries requests and answers, `resolver` looks names
up, and `network_failures` says what an error of the network means.

Laws. `AmazonSink.send` never raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from connector.amazon import profiles
from connector.amazon.access_tokens import FixedTokens, FreshTokens
from connector.amazon.tokens import Credentials, FixedToken, Secret
from connector.amazon.transport import HttpTransport, RawAnswer, Transport
from connector.model import Answer, Failure, RequestFailed
from connector.ports import WireContract

__all__ = ["AmazonSink"]


class AmazonSink:
    """``ports.Sink`` over HTTP, for one wire contract, one base URL and its credentials.

    ``timeout_seconds`` covers one request from connect to last byte. ``max_connections`` should be
    at least the number of requests in flight; otherwise they wait for each other within their
    deadline. ``proxy`` returns the URL of a proxy, for each request anew. ``transport`` is aiohttp
    unless another is given. Must be used in one event loop.
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
        self._http = transport or HttpTransport(timeout_seconds, max_connections, proxy)
        self._tokens = (
            FixedTokens(credentials) if isinstance(credentials, FixedToken) else FreshTokens(credentials, self._http)
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
