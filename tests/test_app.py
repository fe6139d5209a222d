"""What the composition root writes into ledgers, which must mean the same in every version; and what it tells the parts."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from connector.app import Connector, contract_for, ledger_policy, read_settings
from connector.errors import KafkaUnavailable
from connector.model import Flaw, Reason
from tests.amazon.inputs import a_purchase

ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "KAFKA_TOPIC": "conversions",
    "SCHEMA_REGISTRY_URL": "http://localhost:8081",
    "AMAZON_ACCOUNT_ID": "5850000000001",
    "AMAZON_CLIENT_ID": "amzn1.application-oa2-client.example",
    "AMAZON_ACCESS_TOKEN": "example",
}


def test_fingerprints_are_frozen_because_ledgers_outlive_versions() -> None:
    policy = ledger_policy(read_settings(ENVIRONMENT))

    assert policy.destination.hex() == "90d4bb1b9fd6e72a5be5d1d962f125f1"
    assert policy.dedupe_key.hex() == "18fc610b2f5da797689d82e9bc88b91d"


@pytest.mark.parametrize(
    "change",
    [
        {"AMAZON_API": "events-v1"},
        {"AMAZON_BASE_URL": "https://proxy.example"},
        {"AMAZON_ACCOUNT_ID": "5850000000002"},
        {"AMAZON_DATASET_NAME": "Shop_Events"},
    ],
)
def test_contract_address_account_and_data_set_make_the_destination(change: dict[str, str]) -> None:
    assert (
        ledger_policy(read_settings(ENVIRONMENT | change)).destination
        != ledger_policy(read_settings(ENVIRONMENT)).destination
    )


def test_a_new_token_is_no_new_destination() -> None:
    renewed = ledger_policy(read_settings(ENVIRONMENT | {"AMAZON_ACCESS_TOKEN": "another"}))

    assert renewed.destination == ledger_policy(read_settings(ENVIRONMENT)).destination


@pytest.mark.parametrize("api", ["ads-v1", "events-v1"])
def test_the_wire_contract_is_told_what_becomes_of_events_without_consent(api: str) -> None:
    def encoded(**changes: str) -> bytes | Flaw:
        settings = read_settings(ENVIRONMENT | {"AMAZON_API": api} | changes)
        return contract_for(settings.amazon).encode(a_purchase(), "id")

    refused = encoded(AMAZON_REGION="EU")
    assert isinstance(refused, Flaw)
    assert refused.reason is Reason.MISSING_CONSENT
    denied = encoded(AMAZON_REGION="EU", AMAZON_MISSING_CONSENT="denied")
    assert isinstance(denied, bytes)
    assert b'"amznUserData":"DENIED"' in denied
    assert encoded(AMAZON_REGION="EU", AMAZON_MISSING_CONSENT="send") == encoded(AMAZON_REGION="NA")


@pytest.mark.parametrize(("partitions", "most"), [(["source-0"], 6.0), ([], 30.0)], ids=["member", "spare"])
@pytest.mark.parametrize("late", [False, True])
def test_member_that_its_coordinator_does_not_answer_for_a_session_is_not_ready(
    partitions: list[str], most: float, late: bool
) -> None:
    connector, now = Connector(read_settings(ENVIRONMENT)), time.monotonic()
    seconds = most + (1 if late else -1)
    connector._waiting, connector._session_seconds, connector._silence_seconds = None, 6.0, 30.0
    # A member's own commits count, and for one that has nothing to commit what else the coordinator was asked.
    heard, unheard = now - seconds, now - 1000 if late else now
    vouched, answered = (heard, now) if partitions else (unheard, heard)
    source = SimpleNamespace(last_poll=now, vouched=vouched, refused=None, joined=True, partitions=lambda: partitions)
    connector._source = cast("Any", source)
    connector._watch = cast("Any", SimpleNamespace(answered=answered))
    connector.pipeline = cast("Any", SimpleNamespace(paused=lambda: {"restoring": 0, "refused": 0}, needs_operator=list))

    why = connector.health().not_ready

    sentence = f"the group's coordinator has not answered this member for {seconds:.0f} s: nothing is sent until it does"
    assert why == ((sentence,) if late else ())


def test_member_that_its_coordinator_has_not_answered_yet_is_not_ready() -> None:
    connector, now = Connector(read_settings(ENVIRONMENT)), time.monotonic()
    connector._waiting, connector._session_seconds = None, 45.0
    source = SimpleNamespace(
        last_poll=now, vouched=float("-inf"), refused=None, joined=True, partitions=lambda: ["source-0"]
    )
    connector._source = cast("Any", source)
    connector._watch = cast("Any", SimpleNamespace(answered=now))
    connector.pipeline = cast("Any", SimpleNamespace(paused=lambda: {"restoring": 0, "refused": 0}, needs_operator=list))

    assert connector.health().not_ready == (
        "the group's coordinator has not answered this member yet: nothing is sent until it does",
    )


def test_coordinator_is_not_blamed_where_every_partition_is_refused() -> None:
    """Nothing is committed of them, so no commit is answered."""
    connector, now = Connector(read_settings(ENVIRONMENT)), time.monotonic()
    connector._waiting, connector._session_seconds, connector._silence_seconds = None, 45.0, 45.0
    source = SimpleNamespace(
        last_poll=now, vouched=float("-inf"), refused=None, joined=True, partitions=lambda: ["source-0"]
    )
    connector._source = cast("Any", source)
    connector._watch = cast("Any", SimpleNamespace(answered=now))
    pipeline = SimpleNamespace(paused=lambda: {"restoring": 0, "refused": 1}, needs_operator=lambda: ["why"])
    connector.pipeline = cast("Any", pipeline)

    assert connector.health().not_ready == ("why",)


def test_a_member_waits_for_its_groups_session_where_the_brokers_do_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = Connector(read_settings(ENVIRONMENT))
    answers: list[float | KafkaUnavailable] = [KafkaUnavailable("settings of the group: no answer"), 6.0]

    def session_seconds(_group: str) -> float:
        answer = answers.pop(0)
        if isinstance(answer, KafkaUnavailable):
            raise answer
        return answer

    asked = SimpleNamespace(describe=lambda _: object(), committed=lambda _: None, session_seconds=session_seconds)
    monkeypatch.setattr(connector, "_topics", asked)
    monkeypatch.setattr("connector.app.properties.session_timeout_seconds", lambda _: None)

    with pytest.raises(KafkaUnavailable):
        connector._missing()
    assert connector._missing() is None
    assert connector._session_seconds == 6.0
