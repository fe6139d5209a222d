"""Match keys, tokens and events leave the process only in requests and in dead letters."""

from __future__ import annotations

import json

import pytest

from connector.avro.framing import framed
from tests.integration.brokers import Produced, headers_of, read_topic
from tests.integration.events import DAY_MS, event, hashed, now_ms
from tests.integration.program import World
from tests.operations.documents import document, same_form
from tests.patience import eventually

_PERSON = "canary-person"
_EMAIL = "canary@example.com"
_TOKENS = ("Atza|sandbox", "Atzr|sandbox", "sandbox-secret")
_SECRETS = (
    _PERSON,
    _EMAIL,
    "canary",
    hashed(_EMAIL),
    hashed(_PERSON),
    hashed(_PERSON).upper(),
    hashed("canaryperson"),
    "203.0.113.77",
    *_TOKENS,
)

_PERSONAL = ("EMAIL", "PHONE", "FIRST_NAME", "LAST_NAME", "ADDRESS", "CITY", "STATE", "POSTAL")
_IN_CLEAR = {
    "matchKeys": [{"type": kind, "value": _PERSON} for kind in _PERSONAL],
    "customData": [{"name": "no name of an attribute", "value": "canary"}],
    "userAgent": "canary" * 100,
    "arefMeasurementTokens": "canary",
    "amazonAdEventKey": "canary",
    "partner": "canary",
}


@pytest.mark.parametrize("api", ["ads-v1", "events-v1"])
def test_no_match_key_token_or_event_body_shows_in_logs_pages_metrics_headers_or_ledger(world: World, api: str) -> None:
    world.create_topic()
    world.produce(*_telling(world))
    refused = [{"fault": "status", "status": 401}, {"fault": "status", "status": 403, "times": 1000}]
    world.sandbox.set_faults(reject_names=["refused"], next=refused)

    connector = world.connector(AMAZON_API=api, LOG_LEVEL="debug")
    eventually(lambda: connector.page("/readyz")[1].startswith("Amazon"), "an operator is needed")
    pages = "".join(connector.page(path)[1] for path in ("/", "/status.json", "/readyz", "/livez"))
    world.sandbox.set_faults(reject_names=["refused"], next=[{"fault": "html"}, {"fault": "withhold"}])
    connector.until_resolved(delivered=3, duplicate=1, stale=1, dead_lettered=6)
    pages += "".join(connector.page(path)[1] for path in ("/", "/metrics", "/readyz", "/livez"))
    pages += (shown := connector.page("/status.json")[1])
    assert connector.stop() == 0

    status = json.loads(shown)
    assert len(status["dead_letters"]["newest"]) == 6  # their details are on the page, and hold no value
    assert status["settings"]["AMAZON_CLIENT_SECRET"] not in ("", *_TOKENS)
    assert same_form(status, document()) == []

    letters = read_topic(world.servers, world.dead_letters)
    headers = b"".join(name.encode() + b"=" + (value or b"") for letter in letters for name, value in headers_of(letter))
    ledger = b"".join(
        (entry.value() or b"") + (entry.key() or b"") + repr(entry.headers()).encode()
        for entry in read_topic(world.servers, world.ledger)
    )
    assert len(letters) == 6
    assert any(hashed(_PERSON).encode() in (letter.value() or b"") for letter in letters)  # the letters themselves tell all
    for door, text in (("log", connector.output), ("page", pages), ("header", headers.decode()), ("ledger", repr(ledger))):
        assert text
        assert [secret for secret in _SECRETS if secret in text] == [], door


def _telling(world: World) -> list[Produced]:
    """Return records with values of a person in every place that an error could quote."""
    told = {
        "matchKeys": [{"type": "EMAIL", "value": hashed(_PERSON)}, {"type": "EMAIL", "value": _EMAIL}],
        "consent": {"ipAddress": "203.0.113.77", "amznAdStorage": None, "amznUserData": None, "tcf": None, "gpp": None},
        "customAttributes": {"note": "canary"},
    }
    events = [
        event("1", **told),
        event("1", **told),
        event(None, **told),
        event("2", **told | {"timestamp": now_ms() - 8 * DAY_MS}),
        event("3", **told | {"name": "refused"}),
        event("4", **told | _IN_CLEAR),
        event("5", **told | {"matchKeys": [{"type": "canary", "value": _PERSON}], "countryCode": "canary"}),
        event(
            "6",
            **told
            | dict.fromkeys(("eventType", "currencyCode", "eventActionSource"), "canary")
            | {"dataSetName": "canary !"},
        ),
        event("7", **told | {"timestamp": now_ms() // 1000}),
    ]
    whole = world.value(events[0])
    return [
        *(Produced(world.value(each), _PERSON.encode()) for each in events),
        Produced(whole[:-3], _PERSON.encode()),
        Produced(framed(999_999, whole[5:]), _PERSON.encode()),
    ]
