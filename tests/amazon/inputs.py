"""Inputs of an event, as a decoder gives them."""

from __future__ import annotations

from hashlib import sha256

__all__ = ["GPP", "MARCH", "TCF", "a_purchase", "digest"]

MARCH = 1_772_442_930_000
"""2026-03-02T09:15:30Z in milliseconds."""

TCF = "CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA"
"""IAB's sample of a TC string."""
GPP = "DBABMA~CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA"
"""A GPP string with a section of TCF."""


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def a_purchase(**changes: object) -> dict[str, object]:
    """Return the inputs of a sound purchase, changed; all optional ones are there as None."""
    return {
        "name": "web_order",
        "eventType": "OFF_AMAZON_PURCHASES",
        "eventActionSource": "WEBSITE",
        "clientDedupeId": "order-700123",
        "timestamp": MARCH,
        "matchKeys": [{"type": "EMAIL", "value": digest("jo@example.com")}],
        "value": 59.9,
        "currencyCode": "EUR",
        "unitsSold": 2,
        "countryCode": "DE",
        "dataProcessingOptions": None,
        "consent": None,
        "customAttributes": None,
        "customData": None,
        "userAgent": None,
        "arefMeasurementTokens": None,
        "amazonAdEventKey": None,
        "partner": None,
        "dataSetName": None,
        **changes,
    }
