"""Every check of the two contracts: what just breaks a rule is refused, what just keeps it is not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connector.sandbox import enumerations as sets
from connector.sandbox.checks import Rule
from connector.sandbox.contract import (
    ADS_V1,
    CONTRACTS,
    DAY_MS,
    EVENTS_V1,
    EventLimits,
    RequestRefusal,
    SandboxContract,
    judge,
    open_body,
)
from tests.sandbox.examples import (
    ADS_BODY,
    ADS_LEAD,
    ADS_NOW,
    ADS_PURCHASE,
    EVENTS_BODY,
    EVENTS_NOW,
    EVENTS_PURCHASE,
    HASH,
    MISSING,
    put,
)

EVENTS_LEAD = {name: entry for name, entry in EVENTS_PURCHASE.items() if name not in ("currencyCode", "unitsSold")} | {
    "eventType": "LEAD"
}
PURCHASES = {EVENTS_V1: EVENTS_PURCHASE, ADS_V1: ADS_PURCHASE}
NOW = {EVENTS_V1: EVENTS_NOW, ADS_V1: ADS_NOW}


def flaws(contract: SandboxContract, event: object, limits: EventLimits | None = None) -> list[tuple[str, Rule]]:
    return [tuple(flaw) for flaw in judge(contract, event, NOW[contract], limits or EventLimits())]  # type: ignore[misc]  # a flaw is a pair


REFUSED = [
    ("name", MISSING, "name", Rule.MISSING),
    ("name", "", "name", Rule.EMPTY),
    ("name", None, "name", Rule.WRONG_TYPE),
    ("eventType", "Add to Shopping Cart", "eventType", Rule.NOT_A_CHOICE),
    ("eventActionSource", "website", "eventActionSource", Rule.NOT_A_CHOICE),
    ("eventActionSource", "FIRE_TABLET", "eventActionSource", Rule.NOT_A_CHOICE),
    ("eventActionSource", "MEASUREMENT_ATTRIBUTION_PARTNER", "eventActionSource", Rule.NOT_A_CHOICE),
    ("countryCode", "UK", "countryCode", Rule.NOT_A_CHOICE),
    ("countryCode", "de", "countryCode", Rule.NOT_A_CHOICE),
    ("countryCode", "USA", "countryCode", Rule.NOT_A_CHOICE),
    ("countryCode", "ZZ", "countryCode", Rule.NOT_A_CHOICE),
    ("timestamp", MISSING, "timestamp", Rule.MISSING),
    ("timestamp", 1772443530000, "timestamp", Rule.WRONG_TYPE),
    ("timestamp", "2026-03-02 09:15:30Z", "timestamp", Rule.TIME_FORM),
    ("timestamp", "2026-03-02T09:15:30", "timestamp", Rule.TIME_FORM),
    ("timestamp", "2026-03-02T09:15:30.000Z", "timestamp", Rule.TIME_FORM),
    ("timestamp", "2026-02-30T09:15:30Z", "timestamp", Rule.TIME_FORM),
    ("timestamp", "2026-03-02T24:00:00Z", "timestamp", Rule.TIME_FORM),
    ("timestamp", "٢026-03-02T09:15:30Z", "timestamp", Rule.TIME_FORM),
    ("timestamp", "2026-03-02T09:15:30Z\n", "timestamp", Rule.TIME_FORM),
    ("timestamp", "2026-02-23T09:19:59Z", "timestamp", Rule.TOO_OLD),
    ("timestamp", "2026-03-02T09:25:01Z", "timestamp", Rule.IN_FUTURE),
    ("matchKeys", MISSING, "matchKeys", Rule.MISSING),
    ("matchKeys", [], "matchKeys", Rule.TOO_FEW),
    ("matchKeys", lambda keys: keys * 12, "matchKeys", Rule.TOO_MANY),
    ("matchKeys.0.type", "RAMPID", "matchKeys[0].type", Rule.NOT_A_CHOICE),
    ("matchKeys.0.type", "FIP", "matchKeys[0].type", Rule.NOT_A_CHOICE),
    ("matchKeys.0.values", [], "matchKeys[0].values", Rule.TOO_FEW),
    ("matchKeys.0.values", [HASH, HASH], "matchKeys[0].values", Rule.TOO_MANY),
    ("matchKeys.0.values", HASH, "matchKeys[0].values", Rule.WRONG_TYPE),
    ("matchKeys.0.values", [""], "matchKeys[0].values[0]", Rule.EMPTY),
    ("matchKeys.0.values", ["ann@example.com"], "matchKeys[0].values[0]", Rule.CLEAR_MATCH_KEY),
    ("matchKeys.0.values", [HASH[:-1]], "matchKeys[0].values[0]", Rule.CLEAR_MATCH_KEY),
    ("matchKeys.0.values", [HASH + "\n"], "matchKeys[0].values[0]", Rule.CLEAR_MATCH_KEY),
    ("matchKeys.0.values", [HASH.upper()], "matchKeys[0].values[0]", Rule.UPPER_CASE_HASH),
    ("matchKeys.0", {"type": "EMAIL", "values": [HASH], "hashed": True}, "matchKeys[0].hashed", Rule.UNKNOWN_FIELD),
    ("matchKeys.0", {"type": "MATCH_ID", "values": ["a-b"]}, "matchKeys[0].values[0]", Rule.CHARACTERS),
    ("matchKeys.0", {"type": "MATCH_ID", "values": ["a" * 101]}, "matchKeys[0].values[0]", Rule.TOO_LONG),
    ("value", 59.999, "value", Rule.DECIMALS),
    ("value", -0.01, "value", Rule.NEGATIVE),
    ("value", -1, "value", Rule.NEGATIVE),
    ("value", "59.90", "value", Rule.WRONG_TYPE),
    ("value", True, "value", Rule.WRONG_TYPE),
    ("value", None, "value", Rule.WRONG_TYPE),
    ("currencyCode", "CHF", "currencyCode", Rule.NOT_A_CHOICE),
    ("unitsSold", 2.0, "unitsSold", Rule.WRONG_TYPE),
    ("unitsSold", True, "unitsSold", Rule.WRONG_TYPE),
    ("clientDedupeId", "", "clientDedupeId", Rule.EMPTY),
    ("clientDedupeId", 7, "clientDedupeId", Rule.WRONG_TYPE),
    ("dataProcessingOptions", "LIMITED_DATA_USE", "dataProcessingOptions", Rule.WRONG_TYPE),
    ("dataProcessingOptions", ["LDU"], "dataProcessingOptions[0]", Rule.NOT_A_CHOICE),
    ("consent.amazonConsent.amznAdStorage", MISSING, "consent.amazonConsent.amznAdStorage", Rule.MISSING),
    ("consent.amazonConsent.amznUserData", "granted", "consent.amazonConsent.amznUserData", Rule.NOT_A_CHOICE),
    ("consent", {"geo": {}}, "consent.geo.ipAddress", Rule.MISSING),
    ("consent", {"tcf": ""}, "consent.tcf", Rule.EMPTY),
    ("consent", {"usp": "1YNN"}, "consent.usp", Rule.UNKNOWN_FIELD),
    ("customAttributes.0.name", "brand name", "customAttributes[0].name", Rule.CHARACTERS),
    ("customAttributes.0.value", "x" * 257, "customAttributes[0].value", Rule.TOO_LONG),
    (
        "customAttributes.0",
        {"name": "a", "value": "b", "dataType": "STRING"},
        "customAttributes[0].dataType",
        Rule.UNKNOWN_FIELD,
    ),
    ("eventId", "order-1", "eventId", Rule.UNKNOWN_FIELD),
]

ADS_REFUSED = [
    ("eventDescription", MISSING, "eventDescription", Rule.MISSING),
    ("eventDescription.name", MISSING, "eventDescription.name", Rule.MISSING),
    ("eventDescription.conversionType", "PURCHASE", "eventDescription.conversionType", Rule.NOT_A_CHOICE),
    ("eventDescription.eventSource", "MEASUREMENT_PARTNER", "eventDescription.eventSource", Rule.NOT_A_CHOICE),
    ("eventDescription.eventIngestionMethod", MISSING, "eventDescription.eventIngestionMethod", Rule.MISSING),
    ("eventDescription.eventIngestionMethod", "PIXEL", "eventDescription.eventIngestionMethod", Rule.NOT_A_CHOICE),
    ("eventDescription.dataSetName", "1st", "eventDescription.dataSetName", Rule.CHARACTERS),
    ("eventDescription.dataSetName", "a" * 101, "eventDescription.dataSetName", Rule.TOO_LONG),
    ("countryCode", "UK", "countryCode", Rule.NOT_A_CHOICE),
    ("eventTime", MISSING, "eventTime", Rule.MISSING),
    ("eventTime", "20 August 2026", "eventTime", Rule.TIME_FORM),
    ("eventTime", "2026-08-13T18:09:59.999Z", "eventTime", Rule.TOO_OLD),
    ("eventTime", "2026-08-20T18:15:00.001Z", "eventTime", Rule.IN_FUTURE),
    ("matchKeys", lambda keys: keys * 6, "matchKeys", Rule.TOO_MANY),
    ("matchKeys.1", {"type": "PHONE", "values": ["+14155552671"]}, "matchKeys[1].values[0]", Rule.CLEAR_MATCH_KEY),
    ("matchKeys.0", {"type": "FIP", "values": ["203.0.113"]}, "matchKeys[0].values[0]", Rule.NOT_AN_ADDRESS),
    ("value", 0.001, "value", Rule.DECIMALS),
    ("value", -5, "value", Rule.NEGATIVE),
    ("currencyCode", "XXX", "currencyCode", Rule.NOT_A_CHOICE),
    ("unitsSold", 2**31, "unitsSold", Rule.OUT_OF_RANGE),
    ("eventId", "", "eventId", Rule.EMPTY),
    ("dataProcessingOptions", ["LIMITED_DATA_USE"], "dataProcessingOptions", Rule.WRONG_TYPE),
    ("consent", {"amazonConsent": {"amznAdStorage": "GRANTED"}}, "consent.amazonConsent.amznUserData", Rule.MISSING),
    ("customData", lambda entries: entries * 14, "customData", Rule.TOO_MANY),
    ("customData.0.value", "49.99", "customData[0].value", Rule.CHARACTERS),
    ("customData.0.dataType", "NUMBER", "customData[0].dataType", Rule.NOT_A_CHOICE),
    ("customData.0", {"name": "a", "dataType": "INTEGER", "value": "ten"}, "customData[0].value", Rule.CHARACTERS),
    ("customData.0", {"name": "a", "dataType": "INTEGER", "value": "2147483648"}, "customData[0].value", Rule.OUT_OF_RANGE),
    ("deviceInfo.userAgent", "x" * 513, "deviceInfo.userAgent", Rule.TOO_LONG),
    ("arefMeasurementTokens", "short.1755712000000", "arefMeasurementTokens", Rule.CHARACTERS),
    ("clientDedupeId", "order-1", "clientDedupeId", Rule.UNKNOWN_FIELD),
    ("timestamp", "2026-08-20T18:04:05Z", "timestamp", Rule.UNKNOWN_FIELD),
]

KEPT = [
    ("name", "x" * 300),
    ("countryCode", "GB"),
    ("timestamp", "2026-02-23T09:20:00Z"),
    ("timestamp", "2026-03-02T09:25:00Z"),
    ("timestamp", "2026-03-02T02:15:30-07:00"),
    ("matchKeys", lambda keys: keys * 11),
    ("matchKeys.0", {"type": "MATCH_ID", "values": ["a" * 100]}),
    ("matchKeys.0", {"type": "RAMP_ID", "values": ["any text, raw"]}),
    ("value", 0),
    ("value", 0.99),
    ("value", 1234567.89),
    ("value", 1e15 + 0.5),
    ("currencyCode", MISSING),
    ("unitsSold", 2**40),
    ("clientDedupeId", MISSING),
    ("dataProcessingOptions", []),
    ("consent", {"geo": {"ipAddress": "203.0.113.9"}}),
    ("consent", {"gpp": "DBexampleGppString"}),
    ("consent", MISSING),
    ("customAttributes.0.value", "49.99 " + "x" * 250),
]

ADS_KEPT = [
    ("eventDescription.eventSource", "MEASUREMENT_ATTRIBUTION_PARTNER"),
    ("eventDescription.dataSetName", MISSING),
    ("countryCode", "OTHER_EEA"),
    ("eventTime", "2026-08-13T18:10:00Z"),
    ("eventTime", "2026-08-20T18:15:00.000Z"),
    ("matchKeys", lambda keys: keys * 5),
    ("matchKeys.0", {"type": "FIP", "values": ["2001:db8::1"]}),
    ("matchKeys.0", {"type": "KANTAR_ID", "values": ["raw"]}),
    ("currencyCode", "ZAR"),
    ("unitsSold", 2**31 - 1),
    ("dataProcessingOptions", {"options": "LIMITED_DATA_USE"}),
    ("consent", {"amazonConsent": {"amznUserData": "DENIED"}}),
    ("customData", []),
    ("customData", lambda entries: entries * 13),
    ("customData.0", {"name": "a", "dataType": "INTEGER", "value": "2147483647"}),
    ("customData.0", {"name": "a_1", "value": "b"}),
    ("deviceInfo.userAgent", "x" * 512),
    ("arefMeasurementTokens", "ABCDEFGHIJ.1755712000000|0123456789.1755712000001"),
    ("amazonAdEventKey", "key"),
    ("partner", "a partner"),
]


@pytest.mark.parametrize(("path", "value", "place", "rule"), REFUSED)
def test_events_v1_refuses(path: str, value: object, place: str, rule: Rule) -> None:
    assert flaws(EVENTS_V1, put(EVENTS_PURCHASE, path, value)) == [(place, rule)]


@pytest.mark.parametrize(("path", "value", "place", "rule"), ADS_REFUSED)
def test_ads_v1_refuses(path: str, value: object, place: str, rule: Rule) -> None:
    assert flaws(ADS_V1, put(ADS_PURCHASE, path, value)) == [(place, rule)]


@pytest.mark.parametrize(("path", "value"), KEPT)
def test_events_v1_accepts(path: str, value: object) -> None:
    assert flaws(EVENTS_V1, put(EVENTS_PURCHASE, path, value)) == []


@pytest.mark.parametrize(("path", "value"), ADS_KEPT)
def test_ads_v1_accepts(path: str, value: object) -> None:
    assert flaws(ADS_V1, put(ADS_PURCHASE, path, value)) == []


@pytest.mark.parametrize("kind", sorted(sets.HASHED_TYPES))
@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_clear_value_of_a_type_that_identifies_a_person_is_refused(contract: SandboxContract, kind: str) -> None:
    event = put(PURCHASES[contract], "matchKeys", [{"type": kind, "values": ["berlin"]}])
    assert flaws(contract, event) == [("matchKeys[0].values[0]", Rule.CLEAR_MATCH_KEY)]


def test_currency_and_units_are_for_purchases_only() -> None:
    lead = EVENTS_LEAD | {"currencyCode": "EUR", "unitsSold": 1}
    assert flaws(EVENTS_V1, lead) == [("currencyCode", Rule.PURCHASES_ONLY), ("unitsSold", Rule.PURCHASES_ONLY)]
    assert flaws(ADS_V1, ADS_LEAD | {"eventTime": "2026-08-20T18:04:05Z", "unitsSold": 1}) == [
        ("unitsSold", Rule.PURCHASES_ONLY)
    ]


def test_a_value_that_is_no_purchase_may_be_negative() -> None:
    assert flaws(EVENTS_V1, EVENTS_LEAD | {"value": -3.25}) == []
    assert flaws(EVENTS_V1, EVENTS_LEAD | {"value": -3.255}) == [("value", Rule.DECIMALS)]


def test_the_offset_of_a_time_counts() -> None:
    later_by_seven_hours = flaws(ADS_V1, ADS_LEAD)
    assert later_by_seven_hours == [("eventTime", Rule.IN_FUTURE)]


def test_an_account_of_the_eu_region_needs_one_of_the_four_consents() -> None:
    needed = EventLimits(consent_required=True)
    assert flaws(EVENTS_V1, put(EVENTS_PURCHASE, "consent", MISSING), needed) == [("consent", Rule.NO_CONSENT)]
    assert flaws(EVENTS_V1, put(EVENTS_PURCHASE, "consent", {}), needed) == [("consent", Rule.NO_CONSENT)]
    assert flaws(EVENTS_V1, EVENTS_PURCHASE, needed) == []


def test_limits_of_age_can_be_set() -> None:
    assert flaws(ADS_V1, put(ADS_PURCHASE, "eventTime", "2026-08-01T00:00:00Z"), EventLimits(max_age_ms=21 * DAY_MS)) == []


def test_every_broken_rule_is_told() -> None:
    event = put(put(EVENTS_PURCHASE, "value", 1.234), "countryCode", "UK")
    assert flaws(EVENTS_V1, event) == [("countryCode", Rule.NOT_A_CHOICE), ("value", Rule.DECIMALS)]


@pytest.mark.parametrize("event", [None, 1, "event", [], True])
@pytest.mark.parametrize("contract", CONTRACTS)
def test_what_is_no_object_is_refused(contract: SandboxContract, event: object) -> None:
    assert flaws(contract, event) == [("", Rule.WRONG_TYPE)]


def test_a_field_whose_name_may_be_a_persons_data_is_not_named() -> None:
    assert flaws(EVENTS_V1, EVENTS_PURCHASE | {"ann@example.com": 1}) == [("?", Rule.UNKNOWN_FIELD)]


def test_the_golden_examples_are_judged_as_their_answers_say() -> None:
    assert [flaws(EVENTS_V1, event) for event in EVENTS_BODY["eventData"]] == [[], [("timestamp", Rule.TOO_OLD)]]
    assert [flaws(ADS_V1, event) for event in ADS_BODY["events"]] == [[], [("eventTime", Rule.TIME_FORM)]]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_an_event_of_the_other_contract_is_refused(contract: SandboxContract) -> None:
    (other,) = set(CONTRACTS) - {contract}
    assert Rule.UNKNOWN_FIELD in {rule for _, rule in flaws(contract, PURCHASES[other])}


def test_the_sets_have_the_sizes_the_contract_counts() -> None:
    assert (len(sets.ADS_COUNTRIES), len(sets.EVENTS_COUNTRIES)) == (252, 249)
    assert (len(sets.ADS_CURRENCIES), len(sets.EVENTS_CURRENCIES)) == (81, 18)
    assert (len(sets.ADS_MATCH_KEY_TYPES), len(sets.EVENTS_MATCH_KEY_TYPES)) == (15, 11)
    assert len(sets.EVENT_TYPES) == 12
    assert sets.ADS_CURRENCIES > sets.EVENTS_CURRENCIES


WHOLE_REFUSED: list[tuple[SandboxContract, Any]] = [
    (EVENTS_V1, []),
    (EVENTS_V1, {"eventData": [EVENTS_PURCHASE]}),
    (EVENTS_V1, {"eventData": [EVENTS_PURCHASE], "ingestionMethod": "PIXEL"}),
    (EVENTS_V1, {"eventData": [], "ingestionMethod": "SERVER_TO_SERVER"}),
    (EVENTS_V1, ADS_BODY),
    (ADS_V1, {"events": []}),
    (ADS_V1, {"events": [1] * 501}),
    (ADS_V1, {"events": {}}),
    (ADS_V1, {}),
    (ADS_V1, {"events": [1], "ingestionMethod": "SERVER_TO_SERVER"}),
    (ADS_V1, EVENTS_BODY),
]


@pytest.mark.parametrize(("contract", "body"), WHOLE_REFUSED)
def test_another_wrapper_is_refused_as_a_whole(contract: SandboxContract, body: object) -> None:
    refusal = open_body(contract, orjson.dumps(body))
    assert isinstance(refusal, RequestRefusal)
    assert (refusal.status, refusal.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"events":[{"value":NaN}]}', b'{"events":["\xff"]}', b'\xef\xbb\xbf{"events":[1]}']
)
def test_what_is_not_json_is_refused_as_a_whole(body: bytes) -> None:
    assert isinstance(open_body(ADS_V1, body), RequestRefusal)


def test_a_batch_of_one_to_five_hundred_events_is_opened() -> None:
    assert open_body(ADS_V1, orjson.dumps({"events": [1] * 500})) == [1] * 500
    assert open_body(EVENTS_V1, orjson.dumps(EVENTS_BODY)) == EVENTS_BODY["eventData"]
