"""Holds the access token that requests are sent with, and refreshes it.

`FreshTokens` holds one access token and at most one refresh, which any number of requests share. A
refresh begins before the token expires, and requests go on with the old token meanwhile. After 401
the token is refreshed and the request sent once more. After 403 it is not, because 403 says that
the token is good. A token is dropped when the secrets that it was made from have been replaced.

`FixedTokens` holds a token that somebody else renews, and reads it again for each request.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp

from connector.amazon.tokens import (
    AccessToken,
    Credentials,
    FixedToken,
    postponed,
    read_fixed,
    read_token,
    refresh_form,
)
from connector.amazon.transport import RawAnswer, Transport
from connector.model import Failure, RequestFailed

__all__ = ["FixedTokens", "FreshTokens"]


class FixedTokens:
    """A token that the connector cannot renew; its file is read again for each request."""

    def __init__(self, token: FixedToken) -> None:
        self._token = token

    async def current(self) -> str | RequestFailed:
        """Return the token."""
        return read_fixed(self._token)

    async def instead_of(self, refused: str) -> str | RequestFailed | None:
        """Return the token if it is another than one that Amazon refused; otherwise None."""
        token = read_fixed(self._token)
        return token if token != refused else None

    async def close(self) -> None:
        """Do nothing: there is no refresh."""


class FreshTokens:
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
        """Cancel a refresh in progress."""
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
