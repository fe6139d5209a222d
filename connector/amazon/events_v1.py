"""The wire contract ``events/v1``: the older shape, known from SEG-OLD (docs/amazon-contract.md#request-of-events-v1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from connector.amazon.answers import read_answer
from connector.amazon.regions import EU
from connector.amazon.rules import FieldRules, Fields, Limits, WithoutConsent, written
from connector.amazon.vocabulary import EVENTS_CURRENCIES, EVENTS_MATCH_KEYS, EVENTS_SOURCES, ISO_COUNTRIES
from connector.model import Answer, Flaw

__all__ = ["EventsV1"]

_LIMITS: Final = Limits(
    sources=EVENTS_SOURCES,
    countries=ISO_COUNTRIES,
    currencies=EVENTS_CURRENCIES,
    match_key_types=EVENTS_MATCH_KEYS,
    most_match_keys=11,  # SEG-OLD trims at the number of types
    most_custom_attributes=13,  # the names that reports know: brand, category, productId, attr1..attr10 (SEG bbce7f5369)
    custom_value=re.compile(r"(?s).{1,256}").fullmatch,  # SEG-FIRST
    custom_is_typed=False,  # SEG bbce7f5369 took the type out
    amazon_consent_is_a_pair=True,  # SEG-OLD sends it only when both values are there
    takes_traffic=False,
)


class EventsV1:
    """``ports.WireContract`` for one advertiser account.

    ``region`` is a key of ``regions.REGIONS``, ``without_consent`` what becomes of events without consent where that region
    requires it. ``adjustments`` counts what was left out or rounded, by ``Adjustment``.
    """

    path: Final = "/events/v1"
    prefix: Final = b'{"ingestionMethod":"SERVER_TO_SERVER","eventData":['
    suffix: Final = b"]}"

    def __init__(
        self,
        account_id: str,
        client_id: str,
        region: str,
        without_consent: WithoutConsent = WithoutConsent.DEAD_LETTER,
    ) -> None:
        self._account_id = account_id
        self._client_id = client_id
        self._rules = FieldRules(_LIMITS, without_consent if region == EU else None)
        self.adjustments = self._rules.adjustments

    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request (SEG-OLD)."""
        return {
            "Authorization": f"Bearer {access_token}",
            "Amazon-Advertising-API-ClientId": self._client_id,
            "Amazon-Ads-AccountId": self._account_id,
            "Content-Type": "application/json",
        }

    def encode(self, inputs: Mapping[str, object], dedupe_id: str) -> bytes | Flaw:
        """Encode one event, or name every rule it breaks. ``dedupe_id`` becomes ``clientDedupeId``."""
        fields = self._rules.clean(inputs)
        if isinstance(fields, Flaw):
            return fields
        return written(self._shaped(fields, dedupe_id), inputs, dedupe_id)

    def read(self, status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        """Read the answer to a request of ``count`` events. Items are numbered from 1 (SEG-OLD; LEG-PY of the ancestor)."""
        return read_answer(status, headers, body, count, first_index=1)

    def _shaped(self, fields: Fields, dedupe_id: str) -> dict[str, object]:
        event: dict[str, object] = {
            "name": fields.name,
            "eventType": fields.event_type,
            "eventActionSource": fields.source,
            "countryCode": fields.country,
            "timestamp": fields.time,
            "clientDedupeId": dedupe_id,
            "matchKeys": fields.match_keys,
        }
        if fields.value is not None:
            event["value"] = fields.value
        if fields.currency is not None:
            event["currencyCode"] = fields.currency
        if fields.units is not None:
            event["unitsSold"] = fields.units
        if fields.limited_data_use:
            event["dataProcessingOptions"] = ["LIMITED_DATA_USE"]
        if fields.consent:
            event["consent"] = fields.consent
        if fields.custom:
            event["customAttributes"] = [{"name": name, "value": value} for name, _, value in fields.custom]
        return event
