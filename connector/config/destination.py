"""Settings of the destination: its endpoint, and the account and credentials to use there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from connector.amazon.regions import REGIONS, Region
from connector.amazon.rules import WithoutConsent
from connector.amazon.tokens import Credentials, FixedToken, refresh_token_expires
from connector.config import kinds
from connector.config.declaration import Variables, setting
from connector.config.secret import SecretValue

__all__ = ["Amazon"]


def _region(variables: Variables) -> Region:
    return REGIONS.get(variables.text("AMAZON_REGION").upper(), REGIONS["NA"])


@dataclass(frozen=True, slots=True)
class Amazon:
    """The endpoint, and the account and credentials to use there."""

    api: str = setting(
        "AMAZON_API", kinds.word("ads-v1", "events-v1"), "wire contract: ads-v1 or events-v1", default="ads-v1"
    )
    region: str = setting("AMAZON_REGION", kinds.word(*REGIONS), "region of the account: NA, EU or FE", default="NA")
    account_id: str = setting(
        "AMAZON_ACCOUNT_ID",
        kinds.HEADER,
        "advertiser account: the DSP advertiser id, or the Entity ID where Amazon gave you one",
        required=True,
    )
    client_id: str = setting(
        "AMAZON_CLIENT_ID",
        kinds.HEADER,
        "client ID of your Login with Amazon application, sent with every request",
        required=True,
    )
    client_secret: SecretValue = setting(
        "AMAZON_CLIENT_SECRET", kinds.secret(), "client secret of Login with Amazon; needs AMAZON_REFRESH_TOKEN"
    )
    refresh_token: SecretValue = setting(
        "AMAZON_REFRESH_TOKEN", kinds.secret(), "refresh token of Login with Amazon; needs AMAZON_CLIENT_SECRET"
    )
    refresh_token_granted: date | None = setting(
        "AMAZON_REFRESH_TOKEN_GRANTED",
        kinds.optional(kinds.day()),
        "day of the consent that AMAZON_REFRESH_TOKEN comes from, such as 2026-11-05; a metric then shows when it ends",
    )
    access_token: SecretValue = setting(
        "AMAZON_ACCESS_TOKEN", kinds.secret(kinds.header_problem), "fixed access token, instead of secret and refresh token"
    )
    base_url: str = setting(
        "AMAZON_BASE_URL",
        kinds.ENDPOINT,
        "address of another endpoint, such as the sandbox",
        default="<by region>",
        derive=lambda variables: _region(variables).base_url,
    )
    token_url: str = setting(
        "AMAZON_TOKEN_URL",
        kinds.ENDPOINT,
        "address of another token endpoint",
        default="<by region>",
        derive=lambda variables: _region(variables).token_url,
    )
    proxy: SecretValue = setting(
        "AMAZON_PROXY",
        kinds.PROXY,
        "proxy for the API and the token URL: http://[user:password@]host:port; HTTPS passes through unopened (CONNECT)",
    )
    dataset_name: str | None = setting(
        "AMAZON_DATASET_NAME",
        kinds.optional(kinds.DATA_SET),
        "data set for the events that do not name one (input dataSetName); ads-v1 only",
    )
    without_consent: WithoutConsent = setting(
        "AMAZON_MISSING_CONSENT",
        kinds.choice({member.value: member for member in WithoutConsent}),
        "what becomes of an event without consent in region EU: dead-letter sets it aside, denied sends it with consent "
        "denied, send sends it as it is",
        default="dead-letter",
    )
    timeout_seconds: float = setting(
        "AMAZON_TIMEOUT",
        kinds.seconds(),
        "limit for one request, from connecting to the last byte (Amazon promises 30 s at p99)",
        default="35s",
    )

    @property
    def refresh_token_expires(self) -> float | None:
        """The second (since 1970) at which the refresh token ends; None if that is not known."""
        granted = self.refresh_token_granted
        expires = None if granted is None else refresh_token_expires(granted)
        return None if expires is None else datetime(expires.year, expires.month, expires.day, tzinfo=UTC).timestamp()

    @property
    def credentials(self) -> Credentials | FixedToken:
        """How requests are authorised. `checks` requires one complete way."""
        if self.access_token:
            return FixedToken(self.access_token)
        return Credentials(self.client_id, self.client_secret, self.refresh_token, self.token_url)
