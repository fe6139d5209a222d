"""The wire contract ``events/v1``: the older one, known from Segment's connector (SEG-OLD).

docs/amazon-contract.md#request-of-events-v1 lists its fields.
"""

from __future__ import annotations

import re
from typing import Final

from connector.amazon.contract import Contract, optional_fields
from connector.amazon.custom_attributes import CustomLimits
from connector.amazon.rules import Fields, Limits
from connector.amazon.vocabulary import EVENTS_CURRENCIES, EVENTS_MATCH_KEYS, EVENTS_SOURCES, ISO_COUNTRIES

__all__ = ["EventsV1"]

_LIMITS: Final = Limits(
    sources=EVENTS_SOURCES,
    countries=ISO_COUNTRIES,
    currencies=EVENTS_CURRENCIES,
    match_key_types=EVENTS_MATCH_KEYS,
    most_match_keys=11,  # the number of types, as in SEG-OLD
    custom=CustomLimits(
        # The names that reports know: brand, category, productId, attr1 to attr10 (SEG bbce7f5369).
        most=13,
        value=re.compile(r"(?s).{1,256}").fullmatch,  # SEG-FIRST
        is_typed=False,  # SEG bbce7f5369 removed the type
    ),
    amazon_consent_is_a_pair=True,  # SEG-OLD sends it only when both values are there
    takes_traffic=False,
    data_sets=False,
)


class EventsV1(Contract):
    """The contract for one advertiser account. ``dedupe_id`` becomes ``clientDedupeId``."""

    path = "/events/v1"
    prefix = b'{"ingestionMethod":"SERVER_TO_SERVER","eventData":['
    limits = _LIMITS
    first_index = 1
    """Sources: SEG-OLD, and LEG-PY for the ancestor of this contract."""

    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request (SEG-OLD)."""
        return {
            "Authorization": f"Bearer {access_token}",
            "Amazon-Advertising-API-ClientId": self._client_id,
            "Amazon-Ads-AccountId": self._account_id,
            "Content-Type": "application/json",
        }

    def shaped(self, fields: Fields, dedupe_id: str) -> dict[str, object]:
        """Arrange the fields of an event (SEG-OLD)."""
        event: dict[str, object] = {
            "name": fields.name,
            "eventType": fields.event_type,
            "eventActionSource": fields.source,
            "countryCode": fields.country,
            "timestamp": fields.time,
            "clientDedupeId": dedupe_id,
            "matchKeys": fields.match_keys,
        }
        event |= optional_fields(fields, ["LIMITED_DATA_USE"])
        if fields.custom:
            event["customAttributes"] = [{"name": name, "value": value} for name, _, value in fields.custom]
        return event
