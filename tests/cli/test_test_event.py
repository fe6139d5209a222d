"""The test event: it is marked as one, matches nobody, and every answer to it is explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.events_v1 import EventsV1
from connector.amazon.regions import REGIONS
from connector.amazon.tokens import FixedToken, read_fixed
from connector.cli.test_event import Trial, meaning_of
from connector.model import Failure, Flaw, RequestFailed
from connector.ports import WireContract
from connector.sandbox.contract import ADS_V1, EVENTS_V1, EventLimits, judge

_NOW = 1_795_384_833_381
_CONTRACTS: Mapping[str, Any] = {"ads-v1": (AdsV1, ADS_V1), "events-v1": (EventsV1, EVENTS_V1)}


def _event(contract: WireContract, trial: Trial, region: str, random: bytes = b"r") -> dict[str, Any]:
    encoded = contract.encode(trial.inputs(region, _NOW, random), trial.dedupe_id(_NOW))
    assert not isinstance(encoded, Flaw), encoded
    event: dict[str, Any] = orjson.loads(encoded)
    return event


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("api", _CONTRACTS)
def test_the_event_is_one_that_amazon_takes_in_every_region_and_contract(api: str, region: str) -> None:
    made, looked_at = _CONTRACTS[api]
    event = _event(made("1", "client", region), Trial(), region)
    assert judge(looked_at, event, _NOW, EventLimits(consent_required=region == "EU")) == ()
    assert looked_at.id_of(event) == "connector-test-20261122T220033Z"
    assert looked_at.name_of(event) == "connector_test"
    assert not {"currencyCode", "unitsSold"} & event.keys()


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("api", _CONTRACTS)
@pytest.mark.parametrize("event_type", ["PAGE_VIEW", "OFF_AMAZON_PURCHASES"])
def test_it_is_worth_nothing_for_without_a_value_amazon_books_one(event_type: str, api: str, region: str) -> None:
    made, looked_at = _CONTRACTS[api]
    event = _event(made("1", "client", region), Trial(event_type=event_type), region)
    assert event["value"] == 0
    assert judge(looked_at, event, _NOW, EventLimits(consent_required=region == "EU")) == ()


def test_its_match_key_is_new_each_time_and_nobodys() -> None:
    keys = {_event(AdsV1("1", "c", "NA"), Trial(), "NA", random)["matchKeys"][0]["values"][0] for random in (b"1", b"2")}
    assert len(keys) == 2


def test_nobody_consented_where_consent_is_asked_for() -> None:
    assert _event(AdsV1("1", "c", "EU"), Trial(), "EU")["consent"] == {
        "amazonConsent": {"amznUserData": "DENIED", "amznAdStorage": "DENIED"}
    }
    assert "consent" not in _event(AdsV1("1", "c", "NA"), Trial(), "NA")


def test_name_and_type_are_as_given_and_a_type_there_is_not_is_a_flaw() -> None:
    event = _event(AdsV1("1", "c", "NA"), Trial("newsletter", "SIGN_UP"), "NA")["eventDescription"]
    assert (event["name"], event["conversionType"]) == ("newsletter", "SIGN_UP")
    flawed = AdsV1("1", "c", "NA").encode(Trial("x", "NOT_A_TYPE").inputs("NA", _NOW, b""), "id")
    assert isinstance(flawed, Flaw)


def _error(code: str) -> bytes:
    return orjson.dumps(
        {"error": [{"index": 0, "errors": [{"code": code, "message": "m", "fieldLocation": "events[0].x"}]}]}
    )


_JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("status", "body", "taken", "words"),
    [
        (207, b'{"success":[{"index":0,"event":{}}]}', True, ["207", "took the event", "credentials"]),
        (200, b'{"success":[{"index":0,"event":{}}]}', True, ["200", "took the event", "odd (status)"]),
        (207, _error("FIELD_VALUE_IS_INVALID"), False, ["refused this event", "FIELD_VALUE_IS_INVALID", "--event-name"]),
        (207, _error("FORBIDDEN"), False, ["207", "for its credentials", "may not send for this account", "View and Edit"]),
        (207, _error("CONFLICT"), False, ["just now", "CONFLICT", "Try again"]),
        (207, b"<html>", False, ["body-unreadable", "may have taken the event or not"]),
        (204, b"", False, ["204", "may have taken the event or not"]),
        (302, b"", False, ["302", "redirect", "AMAZON_BASE_URL"]),
        (400, b'{"code":"BAD_REQUEST"}', False, ["400", "AMAZON_ACCOUNT_ID", "Entity ID"]),
        (401, b"", False, ["401", "AMAZON_CLIENT_ID", "AMAZON_REGION"]),
        (403, b"", False, ["403", "event_manager_edit", "View and Edit"]),
        (404, b"", False, ["404", "AMAZON_API"]),
        (409, b'{"code":"CONFLICT"}', False, ["409 CONFLICT", "later"]),
        (415, b"", False, ["415", "media type"]),
        (418, b"", False, ["418", "as a whole"]),
        (425, b"", False, ["425", "later"]),
        (429, b"", False, ["429", "later"]),
        (500, b"", False, ["500", "has a fault"]),
        (503, b"<html>", False, ["503", "has a fault"]),
    ],
)
def test_every_answer_has_words(status: int, body: bytes, taken: bool, words: list[str]) -> None:
    meaning = meaning_of(AdsV1("1", "client", "NA").read(status, _JSON, body, 1))
    text = "\n".join(meaning.messages)
    assert meaning.taken == taken
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        (RequestFailed(Failure.TRANSIENT, "timeout"), ["timeout", "may have been taken"]),
        (RequestFailed(Failure.TRANSIENT, "dns"), ["dns", "name resolution"]),
        (RequestFailed(Failure.OPERATOR, "certificate", detail="The certificate"), ["The certificate", "Nothing came back"]),
        (RequestFailed(Failure.OPERATOR, "invalid_grant", None, 400, "Login with Amazon answered 400"), ["consent again"]),
        (RequestFailed(Failure.TRANSIENT, "token-http-500", None, 500), ["Login with Amazon", "nothing was sent"]),
        (read_fixed(FixedToken(lambda: "two words")), ["AMAZON_ACCESS_TOKEN is not a token", "Nothing was sent", "quotes"]),
    ],
)
def test_no_answer_has_words_too(failed: RequestFailed | str, words: list[str]) -> None:
    assert isinstance(failed, RequestFailed)
    meaning = meaning_of(failed)
    assert not meaning.taken
    assert [word for word in words if word not in "\n".join(meaning.messages)] == []
