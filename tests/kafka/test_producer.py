"""Records that the client itself refuses: each is reported with a code that says what helps."""

from __future__ import annotations

import time
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest
from confluent_kafka import Producer

from connector.errors import KafkaUnavailable
from connector.kafka import clients
from connector.kafka.producer import ConfirmingProducer, time_kept
from connector.ports import Confirmation
from tests.patience import patience

_NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


def _producer(**more: Any) -> ConfirmingProducer:
    return ConfirmingProducer(_NOWHERE | {name.replace("_", "."): value for name, value in more.items()}, last_seconds=0.0)


def _written(producer: ConfirmingProducer, value: Any, **more: Any) -> list[str | None]:
    """Return the codes reported of a record that the client refuses."""
    told: SimpleQueue[Confirmation] = SimpleQueue()
    producer.write("topic", None, value, told.put, **more)
    return [told.get(timeout=patience(30)).error]


@pytest.mark.parametrize("alone", [False, True])
def test_record_larger_than_the_clients_whole_queue_is_too_large_and_not_in_the_way_of_others(alone: bool) -> None:
    with _producer(queue_buffering_max_kbytes=20) as producer:
        # The client's own news, of brokers that are not there, stand in the same queue until they are served.
        until = time.monotonic() + patience(30)
        while (said := _written(producer, b"x" * 50_000, alone=alone)) == ["_QUEUE_FULL"] and time.monotonic() < until:
            time.sleep(0.05)
        assert said == ["MSG_SIZE_TOO_LARGE"]
        taken: list[Confirmation] = []
        producer.write("topic", None, b"x" * 15_000, taken.append, alone=alone)
        assert _written(producer, b"x" * 15_000, alone=alone) == ["_QUEUE_FULL"]
        assert taken == []


def test_writer_never_waits_for_the_client_of_records_that_go_alone() -> None:
    may_be_made, told = Event(), SimpleQueue[Confirmation]()

    def make(properties: dict[str, Any]) -> Producer:
        if "batch.num.messages" in properties and not may_be_made.wait(patience(30)):
            raise KafkaUnavailable("no token")
        return clients.producer(properties)

    with ConfirmingProducer(_NOWHERE | {"message.max.bytes": 1_000}, last_seconds=0.0, make_client=make) as producer:
        producer.write("topic", None, b"x" * 2_000, told.put, alone=True)
        may_be_made.set()
        assert told.get(timeout=patience(30)).error == "MSG_SIZE_TOO_LARGE"


def test_without_a_client_a_record_that_goes_alone_is_reported_as_failed_and_the_next_one_asks_again() -> None:
    tries: list[str] = []

    def make(properties: dict[str, Any]) -> Producer:
        if "batch.num.messages" in properties:
            tries.append("one")
            raise KafkaUnavailable("no token")
        return clients.producer(properties)

    with ConfirmingProducer(_NOWHERE, last_seconds=0.0, make_client=make) as producer:
        assert _written(producer, b"x", alone=True) == _written(producer, b"x", alone=True) == ["KafkaUnavailable"]
    assert tries == ["one", "one"]


def test_record_larger_than_the_clients_bound_is_too_large() -> None:
    with _producer(message_max_bytes=1_000) as producer:
        assert _written(producer, b"x" * 2_000) == ["MSG_SIZE_TOO_LARGE"]
        assert _written(producer, b"x", headers=[("h", b"x" * 2_000)]) == ["MSG_SIZE_TOO_LARGE"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"value": 3}, "TypeError"),
        ({"headers": [("h", 3)]}, "TypeError"),
        ({"headers": ["h"]}, "TypeError"),
        ({"timestamp_ms": 2**63}, "OverflowError"),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_what_nobody_foresaw_of_one_record_is_its_own_failure(changes: dict[str, Any], kind: str, alone: bool) -> None:
    with _producer() as producer:
        assert _written(producer, **({"value": b"x", "alone": alone} | changes)) == [kind]


def test_times_that_cannot_be_written_become_the_nearest_that_can() -> None:
    assert [time_kept(at) for at in (2, 1, 0, -1, -2, -(2**63))] == [2, 1, 1, -1, -1, -1]
