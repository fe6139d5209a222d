"""The field rules agree with the sandbox, which reads the contract independently.

Whatever the rules let pass the sandbox accepts; and what the sandbox would accept as it stands, the rules let pass: they
dead-letter nothing that need not be.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.events_v1 import EventsV1
from connector.amazon.rules import WithoutConsent
from connector.amazon.vocabulary import ADS_MATCH_KEYS
from connector.model import Flaw
from connector.sandbox.contract import ADS_V1, EVENTS_V1, EventLimits, judge
from tests.amazon.inputs import GPP, MARCH, TCF, a_purchase, digest

HASH = digest("jo@example.com")
PAIR = "ABCDEFGHIJ.1755712000000"
KINDS = [*sorted(ADS_MATCH_KEYS), "first name"]
VALUES = [
    HASH,
    HASH.upper(),
    f" {HASH}",
    "jo@example.com",
    "loyalty4711",
    "has blank",
    "203.0.113.9",
    "",
    " ",
    "+++",
    "x" * 101,
    "+49 30 1234567",
    "94105",
    "12 Lange Str.",
]
NEARLY_SOUND = {
    "name": st.sampled_from(["web_order", " x ", "ß"]),
    "eventType": st.sampled_from(["OFF_AMAZON_PURCHASES", "Lead", "Sign-up", "OTHER", "Purchase"]),
    "eventActionSource": st.sampled_from(["website", "Fire TV", "MEASUREMENT_ATTRIBUTION_PARTNER"]),
    "timestamp": st.integers(MARCH - 6 * 86_400_000, MARCH),
    "matchKeys": st.lists(
        st.fixed_dictionaries({"type": st.sampled_from(KINDS), "value": st.sampled_from(VALUES)}), min_size=1, max_size=18
    ),
    "value": st.none() | st.floats() | st.decimals() | st.integers(-5, 10**20),
    "currencyCode": st.sampled_from([None, "EUR", "usd", "ZAR", "XXX"]),
    "unitsSold": st.none() | st.integers(-1, 2**31),
    "countryCode": st.sampled_from(["DE", "de", "en-US", "OTHER_EEA", "UK"]),
    "dataProcessingOptions": st.sampled_from([None, [], ["LIMITED_DATA_USE"], ["limited data use"]]),
    "consent": st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "ipAddress": st.sampled_from(["203.0.113.9", "::1", "nowhere", ""]),
            "amznUserData": st.sampled_from(["GRANTED", "denied", None]),
            "amznAdStorage": st.sampled_from(["GRANTED", "denied", None]),
            "tcf": st.sampled_from([TCF, "CQ", "", None]),
            "gpp": st.sampled_from([GPP, "DB", "", None]),
        },
    ),
    "customAttributes": st.none()
    | st.dictionaries(st.text("ab_ -", max_size=3), st.text("ab_.9 ", max_size=4) | st.just("x" * 257), max_size=15),
    "customData": st.none()
    | st.lists(
        st.fixed_dictionaries(
            {
                "name": st.text("ab_ -", max_size=2),
                "value": st.text("ab_.9 ", max_size=4) | st.integers(-2, 2**33),
                "dataType": st.sampled_from([None, "STRING", "Integer", "TIMESTAMP", "NUMBER"]),
            }
        ),
        max_size=15,
    ),
    "userAgent": st.sampled_from([None, "", "Example/1.0", "x" * 512, "x" * 513]),
    "arefMeasurementTokens": st.none() | st.lists(st.sampled_from([PAIR, "short.1", ""])).map("|".join),
    "amazonAdEventKey": st.sampled_from([None, "", " key "]),
    "partner": st.sampled_from([None, "", "a partner"]),
    "dataSetName": st.sampled_from([None, " ", "Shop_Events", "x" * 100, "x" * 101, "1shop", "a b", "é"]),
}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    changes=st.fixed_dictionaries({}, optional=NEARLY_SOUND),
    region=st.sampled_from(["NA", "EU"]),
    without=st.sampled_from([WithoutConsent.DEAD_LETTER, WithoutConsent.DENIED]),
)
def test_the_sandbox_accepts_whatever_the_rules_let_pass(
    changes: dict[str, object], region: str, without: WithoutConsent
) -> None:
    ads = AdsV1("585", "client", region, without_consent=without)
    events = EventsV1("585", "client", region, without_consent=without)
    for contract, sandbox in ((ads, ADS_V1), (events, EVENTS_V1)):
        payload = contract.encode(a_purchase(**changes), "id")
        if not isinstance(payload, Flaw):
            assert judge(sandbox, orjson.loads(payload), MARCH, EventLimits(consent_required=region == "EU")) == ()


def as_it_stands(inputs: dict[str, Any]) -> dict[str, Any]:
    """Write inputs for ads-v1 as a producer would who knows no rule."""
    described = {"name": "name", "conversionType": "eventType", "eventSource": "eventActionSource"}
    consent = inputs["consent"] or {}
    amazon = {name: consent[name] for name in ("amznUserData", "amznAdStorage") if consent.get(name) is not None}
    wire = {
        "eventDescription": {ours: inputs[theirs] for ours, theirs in described.items()}
        | {"eventIngestionMethod": "SERVER_TO_SERVER"}
        | ({"dataSetName": data_set} if (data_set := inputs["dataSetName"]) is not None else {}),
        "eventTime": datetime.fromtimestamp(inputs["timestamp"] // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventId": "id",
        "matchKeys": [{"type": key["type"], "values": [key["value"]]} for key in inputs["matchKeys"]],
        "dataProcessingOptions": {"options": option} if (option := (inputs["dataProcessingOptions"] or [None])[0]) else None,
        "consent": {name: consent[name] for name in ("tcf", "gpp") if consent.get(name) is not None}
        | ({"amazonConsent": amazon} if amazon else {})
        | ({"geo": {"ipAddress": consent["ipAddress"]}} if consent.get("ipAddress") is not None else {})
        or None,
        "deviceInfo": {"userAgent": agent} if (agent := inputs["userAgent"]) is not None else None,
        "customData": [
            {"name": name, "dataType": "STRING", "value": value}
            for name, value in (inputs["customAttributes"] or {}).items()
        ]
        or None,
    }
    same = ("countryCode", "value", "currencyCode", "unitsSold", "arefMeasurementTokens", "amazonAdEventKey", "partner")
    wire |= {name: inputs[name] for name in same}
    return {name: value for name, value in wire.items() if value is not None}


PLAIN = NEARLY_SOUND | {
    "name": st.sampled_from(["web_order", "x", "ß"]),
    "eventType": st.sampled_from(["OFF_AMAZON_PURCHASES", "LEAD", "Lead", "SIGN_UP", "PURCHASE"]),
    "eventActionSource": st.sampled_from(["WEBSITE", "OFFLINE", "website"]),
    "matchKeys": st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["EMAIL", "MAID", "FIP"]), "value": st.sampled_from([HASH, "2001:db8::1"])}
        ),
        min_size=1,
        max_size=3,
    ),
    "value": st.none() | st.sampled_from([0, 0.99, 59.9, -1.0, 1.005]),
    "unitsSold": st.none() | st.integers(0, 2**31),  # below 0 the rules refuse what Amazon's schema does not
    "countryCode": st.sampled_from(["DE", "OTHER_EEA", "UK"]),
    "customData": st.none(),
    # Of these the sandbox, which knows only the forms of JSON, takes what stands for nobody.
    "consent": st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "ipAddress": st.sampled_from(["203.0.113.9", "2001:db8::1", "nowhere", ""]),
            "amznUserData": st.sampled_from(["GRANTED", "DENIED", None]),
            "amznAdStorage": st.sampled_from(["GRANTED", "DENIED", None]),
            "tcf": st.sampled_from([TCF, "", None]),
            "gpp": st.sampled_from([GPP, "", None]),
        },
    ),
    "amazonAdEventKey": st.sampled_from([None, "", "key"]),
}


def test_the_rules_let_pass_as_it_stands_whatever_the_sandbox_accepts() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=600, deadline=None, derandomize=True)
    @given(changes=st.fixed_dictionaries({}, optional=PLAIN), region=st.sampled_from(["NA", "EU"]))
    def holds(changes: dict[str, object], region: str) -> None:
        inputs = a_purchase(**changes)
        contract, limits = AdsV1("585", "client", region), EventLimits(consent_required=region == "EU")
        wire = as_it_stands(inputs)
        payload = contract.encode(inputs, "id")
        if judge(ADS_V1, wire, MARCH, limits):
            seen["dead letter" if isinstance(payload, Flaw) else "fixed"] += 1
            assert isinstance(payload, Flaw) or orjson.loads(payload) != wire
        else:
            seen["as it stands"] += 1
            assert isinstance(payload, bytes), payload
            assert orjson.loads(payload) == wire or sum(contract.adjustments.values())

    holds()
    assert min(seen["dead letter"], seen["fixed"], seen["as it stands"]) > 30, seen


def test_units_below_0_which_amazons_schema_does_not_refuse_are_refused_by_the_rules_alone() -> None:
    inputs = a_purchase(unitsSold=-1)
    assert judge(ADS_V1, as_it_stands(inputs), MARCH, EventLimits(consent_required=False)) == ()
    assert isinstance(AdsV1("585", "client", "NA").encode(inputs, "id"), Flaw)
