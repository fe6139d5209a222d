"""Amazon Ads' regions: where each takes events and where it gives tokens (docs/amazon-contract.md#endpoint-and-account)."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["EU", "REGIONS", "Region"]


class Region(NamedTuple):
    """One region's hosts, without a trailing slash."""

    base_url: str
    token_url: str


EU: Final = "EU"
"""The region whose advertisers must send consent (OAS CreateConsent); by region and not by country, as in Segment."""

REGIONS: Final = {
    "NA": Region("https://advertising-api.amazon.com", "https://api.amazon.com/auth/o2/token"),
    EU: Region("https://advertising-api-eu.amazon.com", "https://api.amazon.co.uk/auth/o2/token"),
    "FE": Region("https://advertising-api-fe.amazon.com", "https://api.amazon.co.jp/auth/o2/token"),
}
