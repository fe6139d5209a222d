"""Amazon Ads' regions: the host that takes events, and the address that gives tokens.

Sources: docs/amazon-contract.md#endpoint-and-account and docs/amazon-contract.md#login-with-amazon.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["EU", "REGIONS", "Region"]


class Region(NamedTuple):
    """One region's hosts, without a trailing slash."""

    base_url: str
    token_url: str


EU: Final = "EU"
"""The region whose advertisers must send consent (OAS CreateConsent). The region decides, not the
country, as in Segment."""

REGIONS: Final = {
    "NA": Region("https://advertising-api.amazon.com", "https://api.amazon.com/auth/o2/token"),
    EU: Region("https://advertising-api-eu.amazon.com", "https://api.amazon.co.uk/auth/o2/token"),
    "FE": Region("https://advertising-api-fe.amazon.com", "https://api.amazon.co.jp/auth/o2/token"),
}
