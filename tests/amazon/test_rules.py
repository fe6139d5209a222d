"""The field rules, as tables. No input makes them raise."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.events_v1 import EventsV1
from connector.amazon.findings import Adjustment
from connector.amazon.rules import WithoutConsent
from connector.model import Flaw, Reason
from tests.amazon.inputs import GPP, MARCH, TCF, a_purchase


def ads(**changes: object) -> Any:
    return outcome(AdsV1("585", "client", "NA"), changes)


def events(**changes: object) -> Any:
    return outcome(EventsV1("585", "client", "NA"), changes)


def outcome(contract: AdsV1 | EventsV1, changes: dict[str, object]) -> Any:
    """Return what is sent, or the flaw."""
    payload = contract.encode(a_purchase(**changes), "id")
    return payload if isinstance(payload, Flaw) else orjson.loads(payload)


def adjusted(contract: AdsV1 | EventsV1) -> dict[str, int]:
    return {label: count for label, count in contract.adjustments.items() if count}


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"name": None}, Reason.MISSING_FIELD, "name: required"),
        ({"name": "  "}, Reason.MISSING_FIELD, "name: required"),
        ({"name": 7}, Reason.INVALID_FIELD, "name: not a string"),
        ({"eventType": None}, Reason.MISSING_FIELD, "eventType: required"),
        ({"eventType": "Purchase"}, Reason.INVALID_FIELD, "eventType: not one of Amazon's constants"),
        ({"eventType": ["LEAD"]}, Reason.INVALID_FIELD, "eventType: not a string"),
        ({"eventActionSource": ""}, Reason.MISSING_FIELD, "eventActionSource: required"),
        ({"eventActionSource": "FIRE_TABLET"}, Reason.INVALID_FIELD, "eventActionSource: not one of Amazon's constants"),
        ({"clientDedupeId": 9}, Reason.INVALID_FIELD, "clientDedupeId: not a string"),
        ({"timestamp": None}, Reason.MISSING_FIELD, "timestamp: required"),
        ({"timestamp": True}, Reason.INVALID_FIELD, "timestamp: not whole milliseconds between 1970 and 9999"),
        ({"timestamp": -1}, Reason.INVALID_FIELD, "timestamp: not whole milliseconds between 1970 and 9999"),
        ({"timestamp": 2**70}, Reason.INVALID_FIELD, "timestamp: not whole milliseconds between 1970 and 9999"),
        ({"matchKeys": None}, Reason.NO_MATCH_KEY, "matchKeys: at least one is required"),
        ({"matchKeys": []}, Reason.NO_MATCH_KEY, "matchKeys: at least one is required"),
        ({"matchKeys": {}}, Reason.INVALID_FIELD, "matchKeys: not an array"),
        ({"value": "59.9"}, Reason.INVALID_FIELD, "value: not a number"),
        ({"value": True}, Reason.INVALID_FIELD, "value: not a number"),
        ({"value": -0.01}, Reason.INVALID_FIELD, "value: not a finite amount of at least 0, as a purchase needs"),
        ({"value": float("nan")}, Reason.INVALID_FIELD, "value: not a finite amount of at least 0, as a purchase needs"),
        ({"value": 10**400}, Reason.INVALID_FIELD, "value: not a finite amount of at least 0, as a purchase needs"),
        ({"value": Decimal("sNaN")}, Reason.INVALID_FIELD, "value: not a finite amount of at least 0, as a purchase needs"),
        ({"currencyCode": "XXX"}, Reason.INVALID_FIELD, "currencyCode: not a currency code of this contract"),
        ({"currencyCode": 978}, Reason.INVALID_FIELD, "currencyCode: not a currency code of this contract"),
        ({"unitsSold": -1}, Reason.INVALID_FIELD, "unitsSold: not a whole number between 0 and 2147483647"),
        ({"unitsSold": 1.5}, Reason.INVALID_FIELD, "unitsSold: not a whole number between 0 and 2147483647"),
        ({"unitsSold": 2**31}, Reason.INVALID_FIELD, "unitsSold: not a whole number between 0 and 2147483647"),
        ({"unitsSold": float("inf")}, Reason.INVALID_FIELD, "unitsSold: not a whole number between 0 and 2147483647"),
        ({"unitsSold": "2"}, Reason.INVALID_FIELD, "unitsSold: not a whole number between 0 and 2147483647"),
        ({"countryCode": None}, Reason.MISSING_FIELD, "countryCode: required"),
        (
            {"countryCode": "USA"},
            Reason.INVALID_FIELD,
            "countryCode: not an ISO 3166-1 alpha-2 code that this contract takes",
        ),
        (
            {"countryCode": "US-CA"},
            Reason.INVALID_FIELD,
            "countryCode: not an ISO 3166-1 alpha-2 code that this contract takes",
        ),
        ({"countryCode": 49}, Reason.INVALID_FIELD, "countryCode: not a string"),
        *(
            ({"dataProcessingOptions": given}, Reason.INVALID_FIELD, "dataProcessingOptions: only LIMITED_DATA_USE is known")
            for given in (
                ["LDU"],
                "LDU",
                ["LIMITED_DATA_USE", 7],
                {"options": ["LDU"]},
                {"option": "LIMITED_DATA_USE"},
                {},
                7,
            )
        ),
        ({"consent": "yes"}, Reason.INVALID_FIELD, "consent: not a record"),
        ({"consent": {"geo": "DE"}}, Reason.INVALID_FIELD, "consent.geo: not a record"),
        ({"consent": {"tcf": 1}}, Reason.INVALID_FIELD, "consent.tcf: not a string"),
        ({"consent": {"amznUserData": "perhaps"}}, Reason.INVALID_FIELD, "consent.amznUserData: neither GRANTED nor DENIED"),
        ({"userAgent": 7}, Reason.INVALID_FIELD, "userAgent: not a string"),
        ({"arefMeasurementTokens": ["x"]}, Reason.INVALID_FIELD, "arefMeasurementTokens: not a string"),
        ({"amazonAdEventKey": 7}, Reason.INVALID_FIELD, "amazonAdEventKey: not a string"),
        ({"partner": {"name": "x"}}, Reason.INVALID_FIELD, "partner: not a string"),
    ],
)
def test_a_broken_rule_is_a_flaw_that_names_field_and_rule(changes: dict[str, object], reason: Reason, detail: str) -> None:
    assert ads(**changes) == Flaw(reason, detail)
    assert events(**changes) == Flaw(reason, detail)


def test_the_reason_is_of_the_first_broken_rule_and_the_detail_names_all() -> None:
    assert ads(name=None, timestamp="now", countryCode="USA") == Flaw(
        Reason.MISSING_FIELD,
        "name: required; timestamp: not whole milliseconds between 1970 and 9999; "
        "countryCode: not an ISO 3166-1 alpha-2 code that this contract takes",
    )


def test_an_event_of_nothing_names_every_required_field() -> None:
    flaw = AdsV1("585", "client", "NA").encode({}, "id")
    assert isinstance(flaw, Flaw)
    assert [rule.split(":")[0] for rule in flaw.detail.split("; ")] == [
        "name",
        "eventType",
        "eventActionSource",
        "timestamp",
        "countryCode",
        "matchKeys",
    ]


def test_a_detail_is_bounded_however_much_is_broken() -> None:
    flaw = ads(matchKeys=[{"type": "TELEFON", "value": "+49 30 1234567"}] * 100)
    assert len(flaw.detail) < 2000
    assert flaw.detail.endswith("; and 80 more")


@pytest.mark.parametrize(
    "spelling", ["Add to Shopping Cart", "add-to-shopping-cart", "ADD_TO_SHOPPING_CART", " addToShoppingCart"]
)
def test_a_label_is_taken_for_its_constant(spelling: str) -> None:
    assert events(eventType=spelling)["eventType"] == "ADD_TO_SHOPPING_CART"


@pytest.mark.parametrize(("spelling", "source"), [("website", "WEBSITE"), ("Fire TV", "FIRE_TV"), ("iOS", "IOS")])
def test_a_source_is_taken_in_any_case(spelling: str, source: str) -> None:
    assert events(eventActionSource=spelling)["eventActionSource"] == source


@pytest.mark.parametrize(
    "spelling", ["MEASUREMENT_ATTRIBUTION_PARTNER", "measurement attribution partner", "MEASUREMENT_PARTNER"]
)
def test_the_source_of_measurement_partners_is_known_to_ads_v1_alone_and_sent_as_its_own_text_spells_it(
    spelling: str,
) -> None:
    assert ads(eventActionSource=spelling)["eventDescription"]["eventSource"] == "MEASUREMENT_ATTRIBUTION_PARTNER"
    assert events(eventActionSource=spelling).reason is Reason.INVALID_FIELD


@pytest.mark.parametrize(
    ("spelling", "code"), [("DE", "DE"), ("de", "DE"), (" us ", "US"), ("en-US", "US"), ("pt_BR", "BR")]
)
def test_a_country_is_taken_in_small_letters_and_out_of_a_locale(spelling: str, code: str) -> None:
    assert events(countryCode=spelling)["countryCode"] == code


@pytest.mark.parametrize("code", ["ZZ", "OTHER", "OTHER_EEA"])
def test_countries_that_are_none_are_known_to_ads_v1_alone(code: str) -> None:
    assert ads(countryCode=code)["countryCode"] == code
    assert events(countryCode=code).reason is Reason.INVALID_FIELD


def test_each_contract_has_its_own_currencies() -> None:
    assert ads(currencyCode="zar")["currencyCode"] == "ZAR"
    assert events(currencyCode="ZAR").detail == "currencyCode: not a currency code of this contract"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (MARCH, "2026-03-02T09:15:30Z"),
        (MARCH + 999, "2026-03-02T09:15:30Z"),
        (0, "1970-01-01T00:00:00Z"),
        (1_709_251_199_000, "2024-02-29T23:59:59Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_iso_8601_in_whole_seconds(milliseconds: int, text: str) -> None:
    assert ads(timestamp=milliseconds)["eventTime"] == text


@pytest.mark.parametrize(
    ("value", "sent", "rounded"),
    [
        (5, 5, False),
        (0.99, 0.99, False),
        (0, 0, False),
        (2.675, 2.68, True),
        (1.005, 1.01, True),
        (Decimal("19.90"), 19.9, False),
        (Decimal("19.995"), 20.0, True),
        (1e300, 1e300, False),
        (0.001, 0.0, True),
    ],
)
def test_a_value_has_at_most_two_decimals_and_rounding_is_counted(value: object, sent: float, rounded: bool) -> None:
    contract = AdsV1("585", "client", "NA")
    assert outcome(contract, {"value": value})["value"] == sent
    assert adjusted(contract) == ({Adjustment.VALUE_ROUNDED: 1} if rounded else {})


def test_a_value_that_is_not_money_may_be_negative_and_is_left_out_where_it_is_no_number() -> None:
    contract = AdsV1("585", "client", "NA")
    lead = {"eventType": "LEAD", "currencyCode": None, "unitsSold": None}
    assert outcome(contract, {**lead, "value": -3.5})["value"] == -3.5
    assert "value" not in outcome(contract, {**lead, "value": float("nan")})
    assert adjusted(contract) == {Adjustment.VALUE_LEFT_OUT: 1}


def test_currency_and_units_of_anything_but_a_purchase_are_left_out_and_counted() -> None:
    contract = EventsV1("585", "client", "NA")
    event = outcome(contract, {"eventType": "LEAD"})
    assert "currencyCode" not in event
    assert "unitsSold" not in event
    assert adjusted(contract) == {Adjustment.CURRENCY_LEFT_OUT: 1, Adjustment.UNITS_LEFT_OUT: 1}


def test_units_of_another_number_type_are_units() -> None:
    assert ads(unitsSold=2.0)["unitsSold"] == 2
    assert ads(unitsSold=Decimal(3))["unitsSold"] == 3


def test_the_eu_region_needs_consent_and_the_others_do_not() -> None:
    granted = {"amznUserData": "GRANTED"}
    empty = {"ipAddress": None, "amznAdStorage": "", "amznUserData": None, "tcf": " ", "gpp": None}
    for contract, needed in (
        (AdsV1("585", "client", "EU"), "amznUserData"),
        (EventsV1("585", "client", "EU"), "amznUserData together with amznAdStorage"),
    ):
        missing = Flaw(Reason.MISSING_CONSENT, f"consent: the EU region requires ipAddress, {needed}, tcf or gpp")
        assert outcome(contract, {}) == missing
        assert outcome(contract, {"consent": empty}) == missing
        assert (outcome(contract, {"consent": granted}) == missing) == isinstance(contract, EventsV1)
        assert outcome(contract, {"consent": {"tcf": TCF}})["consent"] == {"tcf": TCF}
    assert "consent" not in outcome(AdsV1("585", "client", "FE"), {})


@pytest.mark.parametrize("kind", [AdsV1, EventsV1])
def test_without_consent_an_event_may_be_sent_as_denied_or_as_it_is(kind: Any) -> None:
    denied = kind("585", "client", "EU", without_consent=WithoutConsent.DENIED)
    assert outcome(denied, {})["consent"] == {"amazonConsent": {"amznUserData": "DENIED", "amznAdStorage": "DENIED"}}
    assert adjusted(denied) == {Adjustment.CONSENT_DENIED: 1}
    assert outcome(denied, {"consent": {"tcf": TCF}})["consent"] == {"tcf": TCF}
    assert adjusted(denied) == {Adjustment.CONSENT_DENIED: 1}
    as_it_is = kind("585", "client", "EU", without_consent=WithoutConsent.SEND)
    assert "consent" not in outcome(as_it_is, {})
    assert adjusted(as_it_is) == {}
    elsewhere = kind("585", "client", "NA", without_consent=WithoutConsent.DENIED)
    assert "consent" not in outcome(elsewhere, {})


@pytest.mark.parametrize("without", list(WithoutConsent))
def test_a_consent_that_cannot_be_read_is_a_dead_letter_whatever_is_done_without_one(without: WithoutConsent) -> None:
    contract = AdsV1("585", "client", "EU", without_consent=without)
    assert outcome(contract, {"consent": {"amznUserData": "perhaps"}}) == Flaw(
        Reason.INVALID_FIELD, "consent.amznUserData: neither GRANTED nor DENIED"
    )


@pytest.mark.parametrize(
    ("given", "ads_consent", "events_consent"),
    [
        (
            {"geo": {"ipAddress": "2001:db8::1"}},
            {"geo": {"ipAddress": "2001:db8::1"}},
            {"geo": {"ipAddress": "2001:db8::1"}},
        ),
        (
            {"amazonConsent": {"amznUserData": "granted", "amznAdStorage": "Denied"}},
            {"amazonConsent": {"amznUserData": "GRANTED", "amznAdStorage": "DENIED"}},
            {"amazonConsent": {"amznUserData": "GRANTED", "amznAdStorage": "DENIED"}},
        ),
        ({"amznUserData": "GRANTED"}, {"amazonConsent": {"amznUserData": "GRANTED"}}, None),
        ({"amznAdStorage": "GRANTED"}, None, None),
        ({"tcf": TCF, "amznUserData": "GRANTED", "amznAdStorage": "GRANTED"}, {"tcf": TCF}, {"tcf": TCF}),
        ({"ipAddress": "not an address", "gpp": GPP}, {"gpp": GPP}, {"gpp": GPP}),
    ],
)
def test_consent_is_taken_flat_or_nested_and_sent_as_amazon_reads_it(
    given: object, ads_consent: object, events_consent: object
) -> None:
    assert ads(consent=given).get("consent") == ads_consent
    assert events(consent=given).get("consent") == events_consent


@pytest.mark.parametrize(
    "beside",
    [
        {"amznUserData": "GRANTED"},
        {"amznUserData": "GRANTED", "amznAdStorage": "granted"},
        {"amazonConsent": {"amznAdStorage": "GRANTED"}},
    ],
)
@pytest.mark.parametrize("kind", [AdsV1, EventsV1])
def test_beside_a_tcf_text_amazons_own_signal_is_left_out_and_counted_where_it_grants(
    kind: Any, beside: dict[str, object]
) -> None:
    contract = kind("585", "client", "EU")
    assert outcome(contract, {"consent": {"tcf": TCF, **beside}})["consent"] == {"tcf": TCF}
    assert adjusted(contract) == {Adjustment.CONSENT_LEFT_OUT: 1}


@pytest.mark.parametrize(
    "nothing",
    [
        {"amznUserData": None, "amznAdStorage": " "},
        {"amazonConsent": {"amznUserData": None}},
        {"amznUserData": "undefined", "amznAdStorage": "{{dlv - consent}}"},
        {"amazonConsent": "undefined"},
        {"amazonConsent": {}},
    ],
)
def test_nothing_beside_a_tcf_text_is_not_counted(nothing: dict[str, object]) -> None:
    contract = AdsV1("585", "client", "EU")
    assert outcome(contract, {"consent": {"tcf": TCF, **nothing}})["consent"] == {"tcf": TCF}
    assert adjusted(contract) == {}


NO_TCF = [
    "undefined",
    "null",
    "1",
    "true",
    "GRANTED",
    "${GDPR_CONSENT_755}",
    "${GDPR_CONSENT}",
    "{{TCF string}}",
    "%%GDPR_CONSENT_755%%",
    "[TCF]",
    "CQ",
    "C" + "Q" * 18,
    "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA",  # version 1
    TCF.lower(),
    TCF + ".",
    "." + TCF,
    TCF.replace(".", ".."),
    TCF.replace("A", "+", 1),
    TCF + "=",
    TCF[:20] + " " + TCF[20:],
    "CONSENT_NOT_AVAILABLE YET",
    "CONSENT_STRING_PLACEHOLDER",
    "Consent-string-undefined",
    "CookieConsentAcceptedAll",
    "ConsentStringNotFound404",
    "CONSENT_GIVEN_BY_USER_1234",
    "Cookie-Consent-2026-01-01",
    GPP,
]
NO_GPP = [
    "undefined",
    "DBAA",
    "DBABMA",
    "DBABMA~",
    "~" + TCF,
    "${GPP_STRING_755}",
    "{{GPP}}",
    "%%GPP%%",
    TCF,
    "1YNN",
    "D B~C",
    "D~undefined",
    "DBABMA~undefined",
    "DBABMA~null~null",
    "DBABMA~CONSENT_STRING_PLACEHOLDER",
    "DENIED~DENIED",
    "Default~None",
    "Data~Not~Available",
]
DENIAL = {"amznUserData": "DENIED", "amznAdStorage": "DENIED"}


@pytest.mark.parametrize("kind", [AdsV1, EventsV1])
@pytest.mark.parametrize(("name", "text"), [*(("tcf", text) for text in NO_TCF), *(("gpp", text) for text in NO_GPP)])
def test_a_text_without_the_form_of_its_framework_is_no_consent_and_a_denial_beside_it_stands(
    kind: Any, name: str, text: str
) -> None:
    contract = kind("585", "client", "EU")
    missing = outcome(contract, {"consent": {name: text}})
    assert isinstance(missing, Flaw)
    assert missing.reason is Reason.MISSING_CONSENT
    assert outcome(contract, {"consent": {name: text, **DENIAL}})["consent"] == {"amazonConsent": DENIAL}
    assert adjusted(contract) == {Adjustment.CONSENT_LEFT_OUT: 1}
    assert "consent" not in outcome(kind("585", "client", "NA"), {"consent": {name: text}})


@pytest.mark.parametrize(
    "text",
    [TCF, f" {TCF}\n", f"\ufeff{TCF}\u200b", f'"{TCF}"\n', TCF.partition(".")[0], TCF + ".YAAAAAAAAAA", "C" + "Q" * 19],
)
def test_a_tc_string_is_sent_as_it_is(text: str) -> None:
    assert ads(consent={"tcf": text})["consent"] == {"tcf": text.strip('\ufeff\u200b" \n')}


@pytest.mark.parametrize(
    "text", [GPP, "DBABTA~1YNN", "DBACNYA~CQSbk4A.IDKQ~1YNN", "DBABLA~BVQqAAAAAgA.QA", "DBABzw~1---~BVQqAAAAAAA.QA"]
)
def test_a_gpp_string_is_sent_as_it_is(text: str) -> None:
    assert ads(consent={"gpp": text})["consent"] == {"gpp": text}


GRANTS = ["GRANTED", "true", "yes", "1", "on", "enabled", "opted_in", "optin", "Opted In", "opt-in", "TRUE", True, 1, 1.0]
DENIALS = ["DENIED", "false", "no", "0", "off", "disabled", "opted_out", "optout", "Opted Out", "opt-out", "FALSE", False, 0]


@pytest.mark.parametrize("name", ["amznUserData", "amznAdStorage"])
@pytest.mark.parametrize(
    ("given", "status"), [*((given, "GRANTED") for given in GRANTS), *((given, "DENIED") for given in DENIALS)]
)
def test_both_fields_of_amazons_signal_are_read_in_every_spelling_of_its_templates(
    name: str, given: object, status: str
) -> None:
    both = {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"}
    spellings = (
        [given, f" {given}\t", f'"{given}"', given.capitalize(), given.upper()] if isinstance(given, str) else [given]
    )
    for spelt in spellings:
        for consent in (both | {name: spelt}, {"amazonConsent": both | {name: spelt}}):
            assert ads(consent=consent)["consent"] == {"amazonConsent": both | {name: status}}
            assert events(consent=consent)["consent"] == {"amazonConsent": both | {name: status}}


@pytest.mark.parametrize(
    "unread",
    [
        "perhaps",
        "not granted",
        "granted?",
        "+1",
        "1.0",
        "2",
        "01",
        "10",
        "o n",
        "n o",
        "!true",
        "no consent",
        "1 0",
        "0.0",
        "00",
        "-0",
        "+0.0",
        "0e0",
        "[DENIED]",
        "{false}",
        "<no>",
        2,
        -1,
        0.5,
        b"1",
        [],
    ],
)
@pytest.mark.parametrize("beside", [{}, {"tcf": TCF}, {"gpp": GPP}, {"ipAddress": "203.0.113.9"}])
def test_what_can_be_read_as_neither_may_be_a_denial_and_is_a_dead_letter_whatever_is_beside_it(
    unread: object, beside: dict[str, object]
) -> None:
    assert ads(consent={"amznUserData": unread, "amznAdStorage": "GRANTED", **beside}) == Flaw(
        Reason.INVALID_FIELD, "consent.amznUserData: neither GRANTED nor DENIED"
    )


@pytest.mark.parametrize(
    "nothing", ["undefined", "null", "None", "n/a", "unknown", "${CONSENT}", "{{consent}}", "%%C%%", "\u200b"]
)
def test_what_tag_managers_write_for_nothing_is_neither_granted_nor_denied(nothing: str) -> None:
    contract = AdsV1("585", "client", "EU")
    for consent in ({"amznUserData": nothing, "amznAdStorage": nothing}, {"amazonConsent": nothing}, nothing):
        missing = outcome(contract, {"consent": consent})
        assert isinstance(missing, Flaw)
        assert missing.reason is Reason.MISSING_CONSENT
    assert ads(consent={"amznUserData": "GRANTED", "amznAdStorage": nothing})["consent"] == {
        "amazonConsent": {"amznUserData": "GRANTED"}
    }


@pytest.mark.parametrize(
    "given",
    [
        {**DENIAL, "tcf": TCF},
        {**DENIAL, "gpp": GPP},
        {**DENIAL, "tcf": TCF, "gpp": GPP},
        {**DENIAL, "amazonConsent": {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"}},
        {**DENIAL, "amazonConsent": {}},
        {**DENIAL, "amazonConsent": "undefined"},
        {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED", "amazonConsent": DENIAL},
        {"amznUserData": True, "amznAdStorage": False, "amazonConsent": {"amznUserData": "no"}},
        {"amznUserData": "perhaps", "amznAdStorage": "denied", "amazonConsent": {"amznUserData": 0}},
    ],
)
def test_a_denial_stands_whatever_is_beside_it(given: dict[str, object]) -> None:
    assert ads(consent=given)["consent"] == {"amazonConsent": DENIAL}
    assert events(consent=given)["consent"] == {"amazonConsent": DENIAL}
    with_address = {"geo": {"ipAddress": "203.0.113.9"}, "amazonConsent": DENIAL}
    assert ads(consent={**given, "ipAddress": "203.0.113.9"})["consent"] == with_address


@pytest.mark.parametrize("beside", [{"tcf": TCF}, {"gpp": GPP}, {"ipAddress": "203.0.113.9"}])
def test_a_denial_that_is_not_whole_is_a_dead_letter_whatever_is_beside_it(beside: dict[str, object]) -> None:
    half = Flaw(Reason.INVALID_FIELD, "consent: amznUserData and amznAdStorage are needed together to say DENIED")
    assert ads(consent={"amznAdStorage": "DENIED", **beside}) == half
    assert events(consent={"amznUserData": "DENIED", **beside}) == half


NOBODYS = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.20",
    "169.254.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::FFFF:192.168.1.1",
    "::ffff:0.0.0.0",
    "::ffff:169.254.0.1",
    "::ffff:100.64.0.1",
    "::ffff:7f00:1",
    "::ffff:0:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:a00:1::1",
    "2002:c0a8:101::1",
    "fe80::1",
    "FE80::1",
    "febf::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "100::1",
    "100:0:0:1::1",
    "5f00::1",
    "4000::1",
    "2001:2::1",
    "2001:10::1",
    "2001:0:808:808::f5ff:fffe",  # Teredo of 10.0.0.1
    "2001:4860:4860::8888%1",
]
SOMEBODYS = [
    "8.8.8.8",
    "203.0.113.9",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2A00:1450::1",
    "2001:db8::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", [*NOBODYS, "undefined", "{{ip}}", "1.2.3", "010.1.2.3", "1.2.3.4:80", "1" * 1_000_000])
def test_an_address_of_one_machine_or_network_is_neither_consent_nor_a_match_key(address: str) -> None:
    contract = AdsV1("585", "client", "EU")
    for consent in ({"ipAddress": address}, {"geo": {"ipAddress": address}}):
        missing = outcome(contract, {"consent": consent})
        assert isinstance(missing, Flaw)
        assert missing.reason is Reason.MISSING_CONSENT
    assert ads(matchKeys=[{"type": "FIP", "value": address}]).reason is Reason.NO_MATCH_KEY


@pytest.mark.parametrize("address", SOMEBODYS)
def test_an_address_that_is_reached_from_anywhere_is_both(address: str) -> None:
    assert outcome(AdsV1("585", "client", "EU"), {"consent": {"ipAddress": f" {address} "}})["consent"] == {
        "geo": {"ipAddress": address}
    }
    assert ads(matchKeys=[{"type": "FIP", "value": address}])["matchKeys"] == [{"type": "FIP", "values": [address]}]


def test_of_two_places_for_the_address_the_one_that_holds_one_is_read() -> None:
    for consent in ({"ipAddress": "8.8.8.8", "geo": {}}, {"ipAddress": "8.8.8.8", "geo": {"ipAddress": "10.0.0.1"}}):
        assert ads(consent=consent)["consent"] == {"geo": {"ipAddress": "8.8.8.8"}}
    assert ads(consent={"ipAddress": "8.8.8.8", "geo": "undefined"})["consent"] == {"geo": {"ipAddress": "8.8.8.8"}}


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (["LIMITED_DATA_USE"], True),
        ("LIMITED_DATA_USE", True),
        ("Limited data use", True),
        ({"options": "LIMITED_DATA_USE"}, True),
        ({"options": ["LIMITED_DATA_USE"]}, True),
        ([None, "LIMITED_DATA_USE"], True),
        ([], False),
        ([None, ""], False),
        (" ", False),
        ({"options": None}, False),
        ({"options": []}, False),
    ],
)
def test_limited_data_use_is_taken_in_every_form_that_a_contract_writes_it_in(given: object, asked: bool) -> None:
    assert ads(dataProcessingOptions=given).get("dataProcessingOptions") == (
        {"options": "LIMITED_DATA_USE"} if asked else None
    )
    assert events(dataProcessingOptions=given).get("dataProcessingOptions") == (["LIMITED_DATA_USE"] if asked else None)


@pytest.mark.parametrize("blank", ["", " \t"])
@pytest.mark.parametrize("event_type", ["OFF_AMAZON_PURCHASES", "LEAD"])
def test_a_blank_amount_currency_or_number_of_units_is_as_none(event_type: str, blank: str) -> None:
    contract = AdsV1("585", "client", "NA")
    names = ("value", "currencyCode", "unitsSold")
    blanks, nulls = dict.fromkeys(names, blank), dict.fromkeys(names)
    assert outcome(contract, {"eventType": event_type, **blanks}) == ads(eventType=event_type, **nulls)
    assert adjusted(contract) == {}


def test_a_denial_is_never_dropped() -> None:
    assert ads(consent={"amznAdStorage": "DENIED"}).reason is Reason.INVALID_FIELD
    assert events(consent={"amznUserData": "DENIED"}).reason is Reason.INVALID_FIELD


def test_custom_attributes_amazon_would_refuse_are_left_out_and_counted() -> None:
    given = {"brand": "northwind", "pri ce": "1", "price": "49.99", "empty": "", "long": "x" * 257}
    contract = AdsV1("585", "client", "NA")
    assert outcome(contract, {"customAttributes": given})["customData"] == [
        {"name": "brand", "dataType": "STRING", "value": "northwind"}
    ]
    assert adjusted(contract) == {Adjustment.CUSTOM_ATTRIBUTE_LEFT_OUT: 4}
    assert [item["name"] for item in events(customAttributes=given)["customAttributes"]] == ["brand", "price"]


def test_an_attribute_without_a_value_is_none_and_a_whole_number_is_an_integer() -> None:
    contract = AdsV1("585", "client", "NA")
    sent = outcome(contract, {"customAttributes": {"brand": None, "items": 3, "price": 0.5, 7: "x"}})["customData"]
    assert sent == [{"name": "items", "dataType": "INTEGER", "value": "3"}]
    assert adjusted(contract) == {Adjustment.CUSTOM_ATTRIBUTE_LEFT_OUT: 2}


def test_at_most_thirteen_custom_attributes_are_sent() -> None:
    assert len(ads(customAttributes={f"attr{n}": "x" for n in range(20)})["customData"]) == 13


def datum(name: str, value: object, kind: str | None = None) -> dict[str, object]:
    return {"name": name, "value": value, "dataType": kind}


def test_custom_data_goes_out_with_its_type_where_the_contract_has_types() -> None:
    given = [
        datum("brand", "northwind"),
        datum("items", "3", "integer"),
        datum("size", 2147483647),
        datum("seen", 1767225600000, "TIMESTAMP"),
        datum("zip", 94105, "STRING"),
    ]
    sent = [("brand", "STRING", "northwind"), ("items", "INTEGER", "3"), ("size", "INTEGER", "2147483647")]
    sent += [("seen", "TIMESTAMP", "1767225600000"), ("zip", "STRING", "94105")]
    assert ads(customData=given)["customData"] == [{"name": n, "dataType": kind, "value": v} for n, kind, v in sent]
    assert events(customData=given)["customAttributes"] == [{"name": n, "value": v} for n, _, v in sent]


@pytest.mark.parametrize(
    "bad",
    [
        datum("price", "49.99"),
        datum("pri ce", "x"),
        datum("", "x"),
        datum("count", "ten", "INTEGER"),
        datum("count", "-1", "INTEGER"),
        datum("count", -1),
        datum("count", 2**31),
        datum("count", "1" * 5000, "INTEGER"),
        datum("price", "5", "NUMBER"),
        datum("brand", "again"),
        datum("price", 49.99),
        datum("sold", True),
        datum("size", 1 << 20_000),
        {"name": 7, "value": "x"},
        {"name": "kind", "value": "x", "dataType": 7},
        {"value": "x"},
        {"name": "none"},
        "brand",
    ],
)
def test_a_custom_datum_amazon_would_refuse_is_left_out_and_counted(bad: object) -> None:
    contract = AdsV1("585", "client", "NA")
    sent = outcome(contract, {"customData": [datum("brand", "northwind"), bad]})["customData"]
    assert sent == [{"name": "brand", "dataType": "STRING", "value": "northwind"}]
    assert adjusted(contract) == {Adjustment.CUSTOM_ATTRIBUTE_LEFT_OUT: 1}


@pytest.mark.parametrize("field", ["customAttributes", "customData"])
def test_custom_attributes_are_taken_as_a_map_and_as_an_array_of_records(field: str) -> None:
    """The array is events/v1's own form of ``customAttributes``."""
    brand = {"name": "brand", "value": "northwind"}
    for form in ({"brand": "northwind"}, [brand]):
        assert ads(**{field: form})["customData"] == [{**brand, "dataType": "STRING"}]
        assert events(**{field: form})["customAttributes"] == [brand]


@pytest.mark.parametrize("field", ["customAttributes", "customData"])
@pytest.mark.parametrize(("given", "counted"), [("brand", 1), (7, 1), ("", 0), (["brand", None], 2)])
def test_custom_attributes_that_cannot_be_read_are_left_out_and_counted(field: str, given: object, counted: int) -> None:
    contract = AdsV1("585", "client", "NA")
    assert "customData" not in outcome(contract, {field: given})
    assert adjusted(contract) == ({Adjustment.CUSTOM_ATTRIBUTE_LEFT_OUT: counted} if counted else {})


def test_typed_custom_data_goes_before_attributes_of_the_same_name_and_both_share_the_limit() -> None:
    contract = AdsV1("585", "client", "NA")
    attributes = {"items": "three"} | {f"attr{n}": "x" for n in range(12)}
    sent = outcome(contract, {"customData": [datum("items", 3)], "customAttributes": attributes})["customData"]
    assert sent[0] == {"name": "items", "dataType": "INTEGER", "value": "3"}
    assert len(sent) == 13
    assert adjusted(contract) == {Adjustment.CUSTOM_ATTRIBUTE_LEFT_OUT: 1}


TRAFFIC: dict[str, object] = {
    "userAgent": " ExampleBrowser/1.0 ",
    "arefMeasurementTokens": "ABCDEFGHIJ.1755712000000|0123456789.1755712000001",
    "amazonAdEventKey": "key",
    "partner": "a partner",
}


def test_what_tells_of_ad_and_device_is_sent_by_ads_v1_and_left_out_by_events_v1() -> None:
    sent = ads(**TRAFFIC)
    assert sent["deviceInfo"] == {"userAgent": "ExampleBrowser/1.0"}
    assert {name: sent[name] for name in list(TRAFFIC)[1:]} == {name: TRAFFIC[name] for name in list(TRAFFIC)[1:]}
    contract = EventsV1("585", "client", "NA")
    assert outcome(contract, TRAFFIC) == events()
    assert adjusted(contract) == {
        Adjustment.USER_AGENT_LEFT_OUT: 1,
        Adjustment.MEASUREMENT_TOKENS_LEFT_OUT: 1,
        Adjustment.AD_EVENT_KEY_LEFT_OUT: 1,
        Adjustment.PARTNER_LEFT_OUT: 1,
    }


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_what_tells_of_ad_and_device_may_be_blank(blank: str | None) -> None:
    contract = AdsV1("585", "client", "NA")
    assert outcome(contract, dict.fromkeys(TRAFFIC, blank)) == ads()
    assert adjusted(contract) == {}


def test_a_user_agent_beyond_the_limit_is_left_out_and_counted() -> None:
    contract = AdsV1("585", "client", "NA")
    assert outcome(contract, {"userAgent": "x" * 512})["deviceInfo"] == {"userAgent": "x" * 512}
    assert "deviceInfo" not in outcome(contract, {"userAgent": "x" * 513})
    assert adjusted(contract) == {Adjustment.USER_AGENT_LEFT_OUT: 1}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("ABCDEFGHIJ.1755712000000|short.1755712000000", "ABCDEFGHIJ.1755712000000"),
        ("|ABCDEFGHIJ.1755712000000|", "ABCDEFGHIJ.1755712000000"),
        ("ABCDEFGHIJ.1755712000", None),
        ("ABCDEFGHI-.1755712000000", None),
    ],
)
def test_measurement_tokens_that_are_not_whole_are_left_out_and_counted(given: str, sent: str | None) -> None:
    contract = AdsV1("585", "client", "NA")
    assert outcome(contract, {"arefMeasurementTokens": given}).get("arefMeasurementTokens") == sent
    assert adjusted(contract) == {Adjustment.MEASUREMENT_TOKENS_LEFT_OUT: 1}


def test_adjustments_of_an_event_that_is_not_sent_are_not_counted() -> None:
    contract = AdsV1("585", "client", "NA")
    outcome(contract, {"eventType": "LEAD", "countryCode": None})
    assert adjusted(contract) == {}


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(st.characters())
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
A_MATCH_KEY = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["EMAIL", "MAID", "FIP", "PHONE"]) | ANYTHING,
        "value": st.text() | ANYTHING,
        "values": ANYTHING,
    },
)
CONSENT = st.dictionaries(
    st.sampled_from(["geo", "amazonConsent", "ipAddress", "amznUserData", "amznAdStorage", "tcf", "gpp"]),
    st.sampled_from(["GRANTED", "DENIED", "10.0.0.1"]) | ANYTHING,
)
A_DATUM = st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "value", "dataType"), ANYTHING))
LIKELY = {"matchKeys": st.lists(A_MATCH_KEY, max_size=4), "consent": CONSENT, "customData": st.lists(A_DATUM, max_size=4)}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), region=st.sampled_from(["NA", "EU"]))
def test_encode_is_total(data: st.DataObject, region: str) -> None:
    """Any values of any inputs give an event that JSON can read back, or a flaw with a reason and a text."""
    names = data.draw(st.lists(st.sampled_from(sorted(a_purchase())), max_size=3))
    changes = {name: data.draw(LIKELY.get(name, st.nothing()) | ANYTHING, label=name) for name in names}
    for contract in (AdsV1("585", "client", region), EventsV1("585", "client", region)):
        payload = contract.encode(a_purchase(**changes), data.draw(st.text(st.characters(), max_size=5)))
        if isinstance(payload, Flaw):
            assert payload.detail
        else:
            assert orjson.loads(payload)


CANARY = "c4n4ry.secret@example.com"


@pytest.mark.parametrize("field", sorted(a_purchase()))
@pytest.mark.parametrize("shape", [CANARY, [CANARY], {CANARY: CANARY}, [{"type": CANARY, "value": CANARY}]])
def test_no_flaw_holds_a_value(field: str, shape: object) -> None:
    for flaw in (ads(**{field: shape}), events(**{field: shape})):
        if isinstance(flaw, Flaw):
            assert CANARY not in flaw.detail


@pytest.mark.parametrize(
    ("given", "sent"), [("UK", "GB"), (" uk ", "GB"), ("en-UK", "GB"), ("EL", "GR"), ("\ufeffDE\u200b", "DE")]
)
def test_a_country_in_the_unions_own_style_is_read_and_counted(given: str, sent: str) -> None:
    contract = AdsV1("585", "client", "NA")
    payload = contract.encode(a_purchase(countryCode=given), "id")
    assert isinstance(payload, bytes)
    assert orjson.loads(payload)["countryCode"] == sent
    assert contract.adjustments[Adjustment.COUNTRY_READ] == (sent != "DE")


def test_texts_are_sent_without_what_surrounds_them() -> None:
    around = {
        "name": "\ufeff web order\u200b\n",
        "customAttributes": {" brand\u200b": "\ufeff acme\t"},
        "partner": " p\u200b",
        "userAgent": "\u00ad",
        "dataSetName": "\ufeffshop\u200b",
    }
    sent = ads(**around)
    assert isinstance(sent, dict)
    assert sent["eventDescription"]["name"] == "web order"
    assert sent["eventDescription"]["dataSetName"] == "shop"
    assert "deviceInfo" not in sent
    assert sent["customData"] == [{"name": "brand", "dataType": "STRING", "value": "acme"}]
    assert sent["partner"] == "p"


@pytest.mark.parametrize("nothing", ["undefined", "null", " Unknown "])
def test_a_data_set_of_a_name_that_says_nothing_is_none_and_counted(nothing: str) -> None:
    contract = AdsV1("585", "client", "NA", "shop")
    assert outcome(contract, {"dataSetName": nothing})["eventDescription"]["dataSetName"] == "shop"
    assert adjusted(contract) == {Adjustment.DATA_SET_LEFT_OUT: 1}
    assert outcome(contract, {"dataSetName": "test"})["eventDescription"]["dataSetName"] == "test"


@pytest.mark.parametrize("nothing", ["\u200b", "\u3164", "\ufeff \u00ad"])
def test_a_name_of_invisible_characters_is_none(nothing: str) -> None:
    assert ads(name=nothing) == Flaw(Reason.MISSING_FIELD, "name: required")


@pytest.mark.parametrize("nothing", ["undefined", "null", "{{order_id}}", "\u200b", "00000000-0000-0000-0000-000000000000"])
def test_an_id_that_says_nothing_is_counted_and_a_blank_one_is_not(nothing: str) -> None:
    contract = AdsV1("585", "client", "NA")
    for own_id in (nothing, f" {nothing}", "", "  ", None, "order-1"):
        assert isinstance(contract.encode(a_purchase(clientDedupeId=own_id), "id"), bytes)
    assert contract.adjustments[Adjustment.DEDUPE_ID_LEFT_OUT] == 2


@pytest.mark.parametrize(
    ("name", "many"),
    [
        ("customAttributes", {f"a{number}": "x" for number in range(1_001)}),
        ("customAttributes", [{"name": "a", "value": "x"}] * 1_001),
        ("customData", [{"name": "a", "value": "x"}] * 1_001),
        ("dataProcessingOptions", ["LIMITED_DATA_USE"] * 1_001),
    ],
)
def test_more_than_anybody_means_is_a_broken_rule(name: str, many: object) -> None:
    assert ads(**{name: many}) == Flaw(Reason.INVALID_FIELD, f"{name}: more than 1000")
