"""The wire contract ``adsApi/v1``, "Events API": the current one, known from Amazon's OpenAPI text.

docs/amazon-contract.md#request-of-ads-v1 lists its fields. OAS in comments is the OpenAPI text.
"""

from __future__ import annotations

import re
from typing import Final

from connector.amazon.contract import Contract, optional_fields
from connector.amazon.custom_attributes import CustomLimits
from connector.amazon.rules import Fields, Limits, WithoutConsent
from connector.amazon.vocabulary import ADS_COUNTRIES, ADS_CURRENCIES, ADS_MATCH_KEYS, ADS_SOURCES

__all__ = ["AdsV1"]

_LIMITS: Final = Limits(
    sources=ADS_SOURCES,
    countries=ADS_COUNTRIES,
    currencies=ADS_CURRENCIES,
    match_key_types=ADS_MATCH_KEYS,
    most_match_keys=15,  # OAS EventCreate.matchKeys
    custom=CustomLimits(
        most=13,  # OAS EventCreate.customData
        # OAS CreateCustomData.value; the length is from SEGDOC. Amazon's samples show "49.99",
        # which this form excludes: if Amazon refused such a value, it would cost the whole event,
        # and leaving it out costs one attribute (docs/amazon-contract.md#custom-attribute-values).
        value=re.compile(r"[A-Za-z0-9_]{1,256}").fullmatch,
        is_typed=True,
    ),
    amazon_consent_is_a_pair=False,
    takes_traffic=True,
    data_sets=True,
)


class AdsV1(Contract):
    """The contract for one advertiser account.

    ``dataset_name`` is the data set that receives events which name none. ``dedupe_id`` becomes
    ``eventId``.
    """

    path = "/adsApi/v1/create/events"
    prefix = b'{"events":['
    limits = _LIMITS
    first_index = 0
    """Source: OAS EventMultiStatusResponse."""

    def __init__(
        self,
        account_id: str,
        client_id: str,
        region: str,
        dataset_name: str | None = None,
        without_consent: WithoutConsent = WithoutConsent.DEAD_LETTER,
    ) -> None:
        super().__init__(account_id, client_id, region, without_consent)
        self._dataset = dataset_name

    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request (OAS parameters; Accept as in AMZ-INTRO)."""
        return {
            "Authorization": f"Bearer {access_token}",
            "Amazon-Ads-ClientId": self._client_id,
            "Amazon-Ads-AccountId": self._account_id,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def shaped(self, fields: Fields, dedupe_id: str) -> dict[str, object]:
        """Arrange the fields of an event (OAS EventCreate)."""
        description = {
            "name": fields.name,
            "conversionType": fields.event_type,
            "eventSource": fields.source,
            "eventIngestionMethod": "SERVER_TO_SERVER",
        }
        if data_set := fields.data_set or self._dataset:
            description["dataSetName"] = data_set
        event: dict[str, object] = {
            "eventDescription": description,
            "eventTime": fields.time,
            "eventId": dedupe_id,
            "countryCode": fields.country,
            "matchKeys": fields.match_keys,
        }
        event |= optional_fields(fields, {"options": "LIMITED_DATA_USE"})
        if fields.custom:
            event["customData"] = [{"name": name, "dataType": kind, "value": value} for name, kind, value in fields.custom]
        if fields.traffic:
            event |= fields.traffic
            if user_agent := event.pop("userAgent", None):
                event["deviceInfo"] = {"userAgent": user_agent}
        return event
