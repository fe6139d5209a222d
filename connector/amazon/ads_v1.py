"""The wire contract ``adsApi/v1``, "Events API": docs/amazon-contract.md#request-of-ads-v1, Amazon's OpenAPI text (OAS)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from connector.amazon.answers import read_answer
from connector.amazon.regions import EU
from connector.amazon.rules import FieldRules, Fields, Limits, WithoutConsent, written
from connector.amazon.vocabulary import ADS_COUNTRIES, ADS_CURRENCIES, ADS_MATCH_KEYS, ADS_SOURCES
from connector.model import Answer, Flaw

__all__ = ["DATASET_NAME", "AdsV1"]

DATASET_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
"""OAS dataSetName, with the greater of the lengths that are named (TEAL; docs/amazon-contract.md#data-set-name)."""

_LIMITS: Final = Limits(
    sources=ADS_SOURCES,
    countries=ADS_COUNTRIES,
    currencies=ADS_CURRENCIES,
    match_key_types=ADS_MATCH_KEYS,
    most_match_keys=15,  # OAS EventCreate.matchKeys
    most_custom_attributes=13,  # OAS EventCreate.customData
    # OAS CreateCustomData.value; the length is SEGDOC's. Samples show "49.99": refused, it would cost the whole event
    # where leaving it out costs one attribute (docs/amazon-contract.md#custom-attribute-values).
    custom_value=re.compile(r"[A-Za-z0-9_]{1,256}").fullmatch,
    custom_is_typed=True,
    amazon_consent_is_a_pair=False,
    takes_traffic=True,
)


class AdsV1:
    """``ports.WireContract`` for one advertiser account.

    ``region`` is a key of ``regions.REGIONS``, ``without_consent`` what becomes of events without consent where that region
    requires it. ``adjustments`` counts what was left out or rounded, by ``Adjustment``.
    """

    path: Final = "/adsApi/v1/create/events"
    prefix: Final = b'{"events":['
    suffix: Final = b"]}"

    def __init__(
        self,
        account_id: str,
        client_id: str,
        region: str,
        dataset_name: str | None = None,
        without_consent: WithoutConsent = WithoutConsent.DEAD_LETTER,
    ) -> None:
        self._account_id = account_id
        self._client_id = client_id
        self._rules = FieldRules(_LIMITS, without_consent if region == EU else None)
        self._dataset = {} if dataset_name is None else {"dataSetName": dataset_name}
        self.adjustments = self._rules.adjustments

    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request (OAS parameters; Accept as in AMZ-INTRO)."""
        return {
            "Authorization": f"Bearer {access_token}",
            "Amazon-Ads-ClientId": self._client_id,
            "Amazon-Ads-AccountId": self._account_id,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def encode(self, inputs: Mapping[str, object], dedupe_id: str) -> bytes | Flaw:
        """Encode one event, or name every rule it breaks. ``dedupe_id`` becomes ``eventId``."""
        fields = self._rules.clean(inputs)
        if isinstance(fields, Flaw):
            return fields
        return written(self._shaped(fields, dedupe_id), inputs, dedupe_id)

    def read(self, status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        """Read the answer to a request of ``count`` events. Items are numbered from 0 (OAS EventMultiStatusResponse)."""
        return read_answer(status, headers, body, count, first_index=0)

    def _shaped(self, fields: Fields, dedupe_id: str) -> dict[str, object]:
        event: dict[str, object] = {
            "eventDescription": {
                "name": fields.name,
                "conversionType": fields.event_type,
                "eventSource": fields.source,
                "eventIngestionMethod": "SERVER_TO_SERVER",
                **self._dataset,
            },
            "eventTime": fields.time,
            "eventId": dedupe_id,
            "countryCode": fields.country,
            "matchKeys": fields.match_keys,
        }
        if fields.value is not None:
            event["value"] = fields.value
        if fields.currency is not None:
            event["currencyCode"] = fields.currency
        if fields.units is not None:
            event["unitsSold"] = fields.units
        if fields.limited_data_use:
            event["dataProcessingOptions"] = {"options": "LIMITED_DATA_USE"}
        if fields.consent:
            event["consent"] = fields.consent
        if fields.custom:
            event["customData"] = [{"name": name, "dataType": kind, "value": value} for name, kind, value in fields.custom]
        if fields.traffic:
            event |= fields.traffic
            if user_agent := event.pop("userAgent", None):
                event["deviceInfo"] = {"userAgent": user_agent}
        return event
