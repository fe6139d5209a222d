"""Failures of Amazon: which wait, and which need an operator. None costs an event."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.brokers import headers_of, read_topic
from tests.integration.events import event
from tests.integration.program import World
from tests.patience import eventually


def test_contract_events_v1_works_from_end_to_end(world: World) -> None:
    world.create_topic()
    world.sandbox.set_faults(reject_names=["refused"])
    world.produce(event("1"), event("2", name="refused"), event("3"), event("3"))

    connector = world.connector(AMAZON_API="events-v1")
    connector.until_resolved(delivered=2, duplicate=1, dead_lettered=1)

    assert world.sandbox.accepted() == {"1": 1, "3": 1}
    assert {line["contract"] for line in world.sandbox.record()} == {"events-v1"}
    (letter,) = read_topic(world.servers, world.dead_letters)
    headers = dict(headers_of(letter))
    assert headers["connector.reason"] == b"rejected"
    assert headers["connector.dedupe-id"]
    assert b"INVALID_INPUT" in (headers["connector.detail"] or b"")


def test_fixed_token_sends_without_asking_for_one(world: World) -> None:
    world.create_topic()
    world.produce(event("1"))

    connector = world.connector(
        AMAZON_ACCESS_TOKEN="Atza|sandbox", AMAZON_CLIENT_SECRET=None, AMAZON_REFRESH_TOKEN=None, AMAZON_TOKEN_URL=None
    )
    connector.until_resolved(delivered=1)

    assert world.sandbox.status()["tokens"] == 0


def test_refused_token_is_refreshed_once_and_the_request_sent_again(world: World) -> None:
    world.create_topic()
    world.sandbox.set_faults(next=[{"fault": "status", "status": 401}])
    world.produce(event("1"))

    connector = world.connector()
    connector.until_resolved(delivered=1)

    assert world.sandbox.status()["tokens"] == 2
    assert [line["answer"] for line in world.sandbox.record()] == ["failed:401", "sent"]
    assert connector.log("operator_needed") == []
    assert connector.metrics()['connector_requests_total{status="207"}'] == 1


def test_request_without_a_right_turns_it_unready_until_it_is_given(world: World) -> None:
    world.create_topic()
    world.sandbox.set_faults(next=[{"fault": "status", "status": 403, "times": 1000}])
    world.produce(event("1"))

    connector = world.connector()
    said = connector.until_said("operator_needed", message="event_manager_edit")
    status, why = connector.page("/readyz")
    assert (status, why.strip()) == (503, said["message"])
    assert connector.page("/livez")[0] == 200

    world.sandbox.set_faults()
    connector.until_resolved(delivered=1)
    connector.until_said("operator_no_longer_needed")
    connector.until_ready()
    assert world.sandbox.accepted() == {"1": 1}
    assert read_topic(world.servers, world.dead_letters) == []


def test_wrong_account_ends_it_with_code_3_where_a_verdict_is_to_stop_it(world: World) -> None:
    world.create_topic()
    world.produce(event("1"))

    connector = world.connector(AMAZON_ACCOUNT_ID="5850000000999", ON_VERDICT="stop")

    assert connector.wait() == 3
    assert "AMAZON_ACCOUNT_ID" in connector.log("stopped")[0]["verdict"]
    assert world.has_committed_nothing()
    assert read_topic(world.servers, world.dead_letters) == []


def test_wrong_secret_needs_an_operator_and_sends_nothing(world: World) -> None:
    world.create_topic()
    world.produce(event("1"))

    connector = world.connector(AMAZON_CLIENT_SECRET="not the secret")
    connector.until_said("operator_needed", message="AMAZON_CLIENT_SECRET")

    assert connector.page("/readyz")[0] == 503
    assert world.sandbox.record() == []
    assert "not the secret" not in connector.output


def test_retry_after_is_waited_for_and_being_throttled_is_not_unready(world: World) -> None:
    world.create_topic()
    world.sandbox.set_faults(next=[{"fault": "throttle_429", "retry_after": 3}])
    world.produce(event("1"))

    connector = world.connector()
    eventually(world.sandbox.record, "the first request was refused")
    assert connector.page("/readyz")[0] == 200
    connector.until_resolved(delivered=1)

    first, second = world.sandbox.record()
    assert (first["answer"], second["answer"]) == ("failed:429", "sent")
    assert second["arrival"] - first["answered"] >= 3000


@pytest.mark.parametrize("fault", ["withhold", "fail_500_after_accept"])
def test_events_whose_answer_was_lost_are_sent_again_unchanged(world: World, fault: str) -> None:
    world.create_topic()
    world.sandbox.set_faults(next=[{"fault": fault}])
    world.produce(event("1"), event(None), event("2"))

    connector = world.connector()
    connector.until_resolved(delivered=3)

    record = world.sandbox.record()
    first, second = (_contents(record, request) for request in sorted({line["request"] for line in record}))
    assert len(first) == 3
    assert first == second
    assert {line["verdict"] for line in record} == {"accepted"}


def _contents(record: list[dict[str, Any]], request: int) -> set[tuple[str, str]]:
    return {(line["id"], line["digest"]) for line in record if line["request"] == request}
