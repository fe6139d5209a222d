"""Login with Amazon: what to ask for, what the answer says, when to ask again.

An access token lives an hour (docs/amazon-contract.md#login-with-amazon). It is refreshed before it
expires, while requests go on with the old one. This file is pure; ``client`` does the sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import orjson

from connector.amazon.answers import retry_after_seconds
from connector.model import Failure, RequestFailed

__all__ = [
    "AccessToken",
    "Credentials",
    "FixedToken",
    "Secret",
    "postponed",
    "read_fixed",
    "read_token",
    "refresh_form",
    "refresh_token_expires",
]


Secret = Callable[[], str]
"""A function that returns a secret. It is called for each use, because the secret's file may have
changed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials that Login with Amazon exchanges for access tokens; ``repr`` shows no secret."""

    client_id: str
    client_secret: Secret = field(repr=False)
    refresh_token: Secret = field(repr=False)
    token_url: str


@dataclass(frozen=True, slots=True)
class FixedToken:
    """An access token that the connector cannot renew: somebody else does."""

    access_token: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token and its times, in seconds of the clock that ``read_token`` was given."""

    text: str = field(repr=False)
    refresh_at: float
    expires_at: float


def read_fixed(token: FixedToken) -> str | RequestFailed:
    """Return the token as it is now, or why it cannot be sent: its file may hold anything."""
    text = token.access_token()
    if _HEADER_TEXT(text):
        return text
    detail = "AMAZON_ACCESS_TOKEN is not a token: it is empty, or has characters that an HTTP header cannot hold"
    return RequestFailed(Failure.OPERATOR, "token-unusable", detail=detail)


def refresh_token_expires(granted: date) -> date | None:
    """Return the day on which a refresh token granted on this day ends.

    None if Amazon names no end for it. Use does not prolong its life
    (docs/amazon-contract.md#life-of-a-refresh-token).
    """
    return granted + _REFRESH_TOKEN_LIFE if granted >= _REFRESH_TOKENS_END_SINCE else None


_REFRESH_TOKENS_END_SINCE: Final = date(2026, 6, 30)
_REFRESH_TOKEN_LIFE: Final = timedelta(days=365)


def refresh_form(credentials: Credentials) -> dict[str, str]:
    """Return the fields of a refresh request, to be sent form-encoded.

    The request must not have an ``Authorization`` header: it would fail (SEG-NEW).
    """
    return {
        "grant_type": "refresh_token",
        "refresh_token": credentials.refresh_token(),
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret(),
    }


def read_token(status: int, headers: Mapping[str, str], body: bytes, now: float) -> AccessToken | RequestFailed:
    """Read the answer to a refresh that was sent at ``now``.

    Total: any answer has a result. Only its OAuth error code is ever quoted.
    """
    answer = _parsed(body)
    if status == 200:
        token = _token(answer, now)
        return token or RequestFailed(Failure.UNREADABLE, "token-unreadable", status=status, detail=_UNREADABLE)
    if status >= 500 or status < 300 or status in {408, 425, 429}:
        detail = f"Login with Amazon answered {status}"
        return RequestFailed(Failure.TRANSIENT, f"token-http-{status}", retry_after_seconds(headers), status, detail)
    error = answer.get("error")
    reason = error if isinstance(error, str) and error in _OAUTH_ERRORS else f"token-http-{status}"
    return RequestFailed(Failure.OPERATOR, reason, None, status, f"Login with Amazon answered {status}; {_ADVICE}")


def postponed(token: AccessToken, now: float) -> AccessToken:
    """Return a token that is still valid with a later refresh, after one that failed."""
    return AccessToken(token.text, now + _RETRY_SECONDS, token.expires_at)


_RETRY_SECONDS: Final = 10.0
"""Pause after a failed refresh while the token is still valid. It allows some thirty tries before
the token expires."""

_REFRESH_AHEAD_SECONDS: Final = 300.0
"""How long before a token expires it is refreshed: AMZ-GTM caches a token for 55 of its 60
minutes."""

_DEFAULT_LIFE_SECONDS: Final = 3600.0
_MOST_LIFE_SECONDS: Final = 86400.0
"""Longest lifetime that is believed: a day. Refreshing too early costs one request."""

_UNREADABLE: Final = "Login with Amazon answered 200 without a token; check AMAZON_TOKEN_URL, and any proxy in between"
_ADVICE: Final = (
    "check AMAZON_CLIENT_ID, AMAZON_CLIENT_SECRET and AMAZON_REFRESH_TOKEN, and that the user has not withdrawn consent"
)

_OAUTH_ERRORS: Final = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
)
"""Error codes that may be quoted (RFC 6749, section 5.2)."""

_HEADER_TEXT: Final = re.compile(r"[!-~]{1,8192}").fullmatch
"""Printable ASCII without blanks, so that a token cannot break out of its header."""


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _token(answer: dict[str, Any], now: float) -> AccessToken | None:
    text, life = answer.get("access_token"), answer.get("expires_in", _DEFAULT_LIFE_SECONDS)
    if not isinstance(text, str) or not _HEADER_TEXT(text):
        return None
    if type(life) not in (int, float) or life <= 0:
        life = _DEFAULT_LIFE_SECONDS
    life = min(float(life), _MOST_LIFE_SECONDS)
    return AccessToken(text, now + max(life - _REFRESH_AHEAD_SECONDS, life / 2), now + life)
