"""Access tokens: gives them out as Login with Amazon does, and checks who may send events.

See docs/amazon-contract.md#login-with-amazon. Pure: the time is an argument.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from connector.sandbox.contract import RequestRefusal, SandboxContract

__all__ = ["IssuedTokens", "SandboxCredentials", "bearer", "fingerprint"]

_MAX_TOKENS = 1000
"""Maximum access tokens that are remembered; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxCredentials:
    """The credentials that the sandbox accepts: invented ones, which open nothing but a sandbox."""

    client_id: str = "amzn1.application-oa2-client.sandbox"
    client_secret: str = field(default="sandbox-secret", repr=False)
    refresh_token: str = field(default="Atzr|sandbox", repr=False)
    access_token: str = field(default="Atza|sandbox", repr=False)
    """A token that never expires, for a client without Login with Amazon."""
    account_id: str = "5850000000001"
    more_accounts: tuple[str, ...] = ()
    """Further accounts to which the same user may send, in either form of an id
    (docs/amazon-contract.md#account-id)."""


class IssuedTokens:
    """The access tokens that were given out, with the time at which each expires."""

    def __init__(self, credentials: SandboxCredentials, life_ms: int) -> None:
        self._credentials = credentials
        self._life_ms = life_ms
        self._given = 0
        self._expiries: dict[str, int] = {}

    def refresh(
        self, form: Mapping[str, str], *, authorized: bool, revoked: bool, now_ms: int
    ) -> dict[str, object] | RequestRefusal:
        """Answer a token request.

        ``authorized`` says that the request had an ``Authorization`` header, with which the real
        endpoint fails. ``revoked`` says that the user withdrew the consent.
        """
        known = self._credentials
        if authorized:
            return RequestRefusal(400, "invalid_request", "A token request must not have an Authorization header.")
        if form.get("grant_type") != "refresh_token":
            return RequestRefusal(400, "unsupported_grant_type", "The grant type must be refresh_token.")
        if form.get("client_id") != known.client_id or not _same(form.get("client_secret", ""), known.client_secret):
            return RequestRefusal(401, "invalid_client", "Client authentication failed.")
        if revoked or not _same(form.get("refresh_token", ""), known.refresh_token):
            return RequestRefusal(400, "invalid_grant", "The refresh token is invalid, revoked or expired.")
        return {
            "access_token": self._give(now_ms),
            "token_type": "bearer",
            "expires_in": self._life_ms // 1000,
            "refresh_token": known.refresh_token,
        }

    def secrets(self) -> tuple[str, ...]:
        """Return every secret that must not reach another host."""
        known = self._credentials
        return (known.access_token, known.refresh_token, known.client_secret)

    def expire(self) -> None:
        """Expire every access token that was given out."""
        self._expiries.clear()

    def refuse(
        self, contract: SandboxContract, headers: Mapping[str, str], now_ms: int, *, revoked: bool = False
    ) -> RequestRefusal | None:
        """Return why a request may not send events; None if it may.

        ``headers`` must find a name in any case. See docs/amazon-contract.md#endpoint-and-account
        and docs/amazon-contract.md#login-with-amazon.
        """
        if refused := self.refuse_client(contract.client_header, headers, now_ms, revoked=revoked):
            return refused
        account = headers.get("Amazon-Ads-AccountId")
        if account is None:
            return RequestRefusal(401, "UNAUTHORIZED", "Amazon-Ads-AccountId is missing")
        if self.account_of(headers) is None:
            return RequestRefusal(403, "FORBIDDEN", "no right to send events to this account")
        return None

    def refuse_client(
        self, client_header: str, headers: Mapping[str, str], now_ms: int, *, revoked: bool = False
    ) -> RequestRefusal | None:
        """Return why a request may ask for nothing, whatever the account; None if it may."""
        token = bearer(headers)
        if token is None or revoked or not self._holds(token, now_ms):
            return RequestRefusal(401, "UNAUTHORIZED", "the access token is missing, unknown or expired")
        if headers.get(client_header) != self._credentials.client_id:
            return RequestRefusal(401, "UNAUTHORIZED", f"{client_header} is missing or names another client")
        return None

    def profiles(self) -> list[dict[str, object]]:
        """Return the profiles of the user: one for each account, each with an invented id."""
        accounts = (self._credentials.account_id, *self._credentials.more_accounts)
        return [
            {
                "profileId": 1_000_000_000_000_001 + number,
                "countryCode": "DE",
                "currencyCode": "EUR",
                "timezone": "Europe/Berlin",
                "accountInfo": {"id": account, "type": "agency", "name": "Sandbox"},
            }
            for number, account in enumerate(accounts)
        ]

    def account_of(self, headers: Mapping[str, str]) -> str | None:
        """Return the account that a request names; None if it names none that is known here."""
        account = headers.get("Amazon-Ads-AccountId")
        return account if account in (self._credentials.account_id, *self._credentials.more_accounts) else None

    def _give(self, now_ms: int) -> str:
        self._given += 1
        token = f"{self._credentials.access_token}-{self._given}"
        self._expiries[token] = now_ms + self._life_ms
        if len(self._expiries) > _MAX_TOKENS:
            del self._expiries[next(iter(self._expiries))]
        return token

    def _holds(self, token: str, now_ms: int) -> bool:
        return _same(token, self._credentials.access_token) or now_ms < self._expiries.get(token, now_ms)


def bearer(headers: Mapping[str, str]) -> str | None:
    """Return the access token of a request; None without one."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" and token else None


def fingerprint(token: str | None) -> str | None:
    """Return a short digest that tells tokens apart without revealing them."""
    return None if token is None else blake2b(token.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def _same(given: str, known: str) -> bool:
    # surrogateescape: a header may hold bytes that are not valid text.
    return hmac.compare_digest(given.encode(errors="surrogateescape"), known.encode())
