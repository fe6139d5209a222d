"""The two shapes on the wire, beside docs/amazon-contract.md#examples."""

from __future__ import annotations

import orjson
import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.events_v1 import EventsV1
from connector.amazon.regions import REGIONS
from connector.amazon.rules import DATASET_NAME, differ
from connector.model import Flaw, Reason
from connector.ports import WireContract
from tests.amazon.inputs import GPP, MARCH, a_purchase, digest

FULL = a_purchase(
    dataProcessingOptions=["LIMITED_DATA_USE"],
    consent={"ipAddress": "203.0.113.9", "amznAdStorage": "GRANTED", "amznUserData": "GRANTED", "tcf": None, "gpp": GPP},
    customAttributes={"brand": "northwind"},
    customData=[{"name": "items", "value": "3", "dataType": "INTEGER"}],
    userAgent="ExampleBrowser/1.0",
    arefMeasurementTokens="ABCDEFGHIJ.1755712000000",
    amazonAdEventKey="key",
    partner="a partner",
)


def sent(contract: WireContract, inputs: dict[str, object], dedupe_id: str = "id-1") -> dict[str, object]:
    payload = contract.encode(inputs, dedupe_id)
    assert isinstance(payload, bytes), payload
    event = orjson.loads(payload)
    assert isinstance(event, dict)
    return event


def test_ads_v1_writes_every_field_in_its_place() -> None:
    assert sent(AdsV1("585", "client", "NA", "Shop_Events"), FULL) == {
        "eventDescription": {
            "name": "web_order",
            "conversionType": "OFF_AMAZON_PURCHASES",
            "eventSource": "WEBSITE",
            "eventIngestionMethod": "SERVER_TO_SERVER",
            "dataSetName": "Shop_Events",
        },
        "eventTime": "2026-03-02T09:15:30Z",
        "eventId": "id-1",
        "countryCode": "DE",
        "matchKeys": [{"type": "EMAIL", "values": [digest("jo@example.com")]}],
        "value": 59.9,
        "currencyCode": "EUR",
        "unitsSold": 2,
        "dataProcessingOptions": {"options": "LIMITED_DATA_USE"},
        "consent": {
            "geo": {"ipAddress": "203.0.113.9"},
            "amazonConsent": {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"},
            "gpp": GPP,
        },
        "customData": [
            {"name": "items", "dataType": "INTEGER", "value": "3"},
            {"name": "brand", "dataType": "STRING", "value": "northwind"},
        ],
        "deviceInfo": {"userAgent": "ExampleBrowser/1.0"},
        "arefMeasurementTokens": "ABCDEFGHIJ.1755712000000",
        "amazonAdEventKey": "key",
        "partner": "a partner",
    }


def test_events_v1_writes_every_field_in_its_place() -> None:
    assert sent(EventsV1("585", "client", "NA"), FULL) == {
        "name": "web_order",
        "eventType": "OFF_AMAZON_PURCHASES",
        "eventActionSource": "WEBSITE",
        "countryCode": "DE",
        "timestamp": "2026-03-02T09:15:30Z",
        "clientDedupeId": "id-1",
        "matchKeys": [{"type": "EMAIL", "values": [digest("jo@example.com")]}],
        "value": 59.9,
        "currencyCode": "EUR",
        "unitsSold": 2,
        "dataProcessingOptions": ["LIMITED_DATA_USE"],
        "consent": {
            "geo": {"ipAddress": "203.0.113.9"},
            "amazonConsent": {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"},
            "gpp": GPP,
        },
        "customAttributes": [{"name": "items", "value": "3"}, {"name": "brand", "value": "northwind"}],
    }


def test_absent_optional_fields_are_not_sent() -> None:
    bare = a_purchase(value=None, currencyCode=None, unitsSold=None)
    assert sent(AdsV1("585", "client", "NA"), bare).keys() == {
        "eventDescription",
        "eventTime",
        "eventId",
        "countryCode",
        "matchKeys",
    }
    assert sent(EventsV1("585", "client", "NA"), bare).keys() == {
        "name",
        "eventType",
        "eventActionSource",
        "countryCode",
        "timestamp",
        "clientDedupeId",
        "matchKeys",
    }


def test_the_dedupe_id_goes_out_whatever_the_event_says_itself() -> None:
    for own in (None, "", "order-700123"):
        assert sent(AdsV1("585", "client", "NA"), a_purchase(clientDedupeId=own), "derived")["eventId"] == "derived"


@pytest.mark.parametrize(
    ("contract", "list_name"),
    [(AdsV1("585", "client", "NA"), "events"), (EventsV1("585", "client", "NA"), "eventData")],
    ids=["ads-v1", "events-v1"],
)
def test_prefix_events_joined_by_commas_and_suffix_are_a_request(contract: WireContract, list_name: str) -> None:
    payloads = [contract.encode(a_purchase(), dedupe_id) for dedupe_id in ("a", "b")]
    request = orjson.loads(
        contract.prefix + b",".join(payload for payload in payloads if isinstance(payload, bytes)) + contract.suffix
    )
    assert len(request[list_name]) == 2


def test_headers_name_client_account_and_token_as_each_contract_spells_them() -> None:
    assert AdsV1("585", "client", "NA").headers("Atza|x") == {
        "Authorization": "Bearer Atza|x",
        "Amazon-Ads-ClientId": "client",
        "Amazon-Ads-AccountId": "585",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    assert EventsV1("585", "client", "NA").headers("Atza|x") == {
        "Authorization": "Bearer Atza|x",
        "Amazon-Advertising-API-ClientId": "client",
        "Amazon-Ads-AccountId": "585",
        "Content-Type": "application/json",
    }


@pytest.mark.parametrize("account", ["5850000000001", "ENTITY1ABC2DEF3GHI"])
def test_an_account_id_goes_out_in_either_form(account: str) -> None:
    for contract in (AdsV1(account, "client", "EU"), EventsV1(account, "client", "EU")):
        assert contract.headers("Atza|x")["Amazon-Ads-AccountId"] == account


def test_a_text_that_json_cannot_hold_is_a_flaw_that_names_its_field() -> None:
    contract = AdsV1("585", "client", "NA")
    assert "name" in str(contract.encode(a_purchase(name="\ud800"), "id"))
    assert "clientDedupeId" in str(contract.encode(a_purchase(), "\ud800"))
    raw = contract.encode(a_purchase(matchKeys=[{"type": "MAID", "value": "x\ud800"}]), "id")
    assert isinstance(raw, Flaw)
    assert raw.detail == "matchKeys: not Unicode text"
    for name in ("userAgent", "amazonAdEventKey", "partner"):
        assert contract.encode(a_purchase(**{name: "\ud800"}), "id") == Flaw(raw.reason, f"{name}: not Unicode text")


def test_every_region_has_hosts_over_tls() -> None:
    assert set(REGIONS) == {"NA", "EU", "FE"}
    assert all(url.startswith("https://") and not url.endswith("/") for region in REGIONS.values() for url in region)


@pytest.mark.parametrize(("name", "taken"), [("Shop_Events", True), ("1shop", False), ("", False), ("a b", False)])
def test_the_name_of_a_data_set_keeps_amazons_pattern(name: str, taken: bool) -> None:
    assert bool(DATASET_NAME.fullmatch(name)) is taken


@pytest.mark.parametrize(
    ("own", "setting", "sent_to"),
    [
        ("Shop_Events", None, "Shop_Events"),
        (" Shop_Events ", "Other_Events", "Shop_Events"),
        (None, "Other_Events", "Other_Events"),
        ("  ", "Other_Events", "Other_Events"),
        (None, None, None),
    ],
)
def test_an_event_may_name_its_data_set_and_then_the_setting_does_not_count(
    own: str | None, setting: str | None, sent_to: str | None
) -> None:
    description = sent(AdsV1("585", "client", "NA", setting), a_purchase(dataSetName=own))["eventDescription"]

    assert isinstance(description, dict)
    assert description.get("dataSetName") == sent_to


@pytest.mark.parametrize("name", ["1shop", "a b", "é", "x" * 101, 7])
@pytest.mark.parametrize("contract", [AdsV1("585", "client", "NA", "Shop_Events"), EventsV1("585", "client", "NA")])
def test_an_event_whose_data_set_amazon_would_refuse_goes_to_no_other(contract: WireContract, name: object) -> None:
    refused = contract.encode(a_purchase(dataSetName=name), "id")

    assert isinstance(refused, Flaw)
    assert refused.reason is Reason.INVALID_FIELD
    assert refused.detail.startswith("dataSetName: not a letter")


def test_events_v1_knows_no_data_sets_so_the_name_is_left_out_and_counted() -> None:
    contract = EventsV1("585", "client", "NA")

    assert sent(contract, a_purchase(dataSetName="Shop_Events")) == sent(contract, a_purchase())
    assert contract.adjustments["data-set-left-out"] == 1


@pytest.mark.parametrize("contract", [AdsV1("585", "client", "NA"), EventsV1("585", "client", "NA")])
def test_an_event_that_its_producer_stamped_anew_differs_in_nothing_and_another_one_does(contract: WireContract) -> None:
    def written(**changes: object) -> bytes:
        return orjson.dumps(sent(contract, a_purchase(**changes)))

    one, again, other = written(), written(timestamp=MARCH + 90_000), written(value=60.0)
    more = written(matchKeys=[{"type": "EMAIL", "value": "b" * 64}])
    assert one != again
    assert not differ(one, again)
    assert differ(one, other)
    assert differ(again, more)
