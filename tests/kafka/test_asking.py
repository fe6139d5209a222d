"""Where a partition starts is asked of the brokers, and an answer that is an error is never taken for "nothing there".

On librdkafka's embedded broker, which gives whatever errors it is told to.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.avro import ledger_entry
from connector.config import Kafka
from connector.core.commit_metadata import LedgerPosition, commit_metadata
from connector.core.recovery import OutOfRange
from connector.errors import KafkaDenied, KafkaUnavailable, LedgerUnavailable, Unavailable
from connector.kafka import clients, cluster
from connector.kafka.embedded import EmbeddedBroker
from connector.kafka.ledger import LedgerPolicy, LedgerReader
from connector.model import Facts, LedgerIdentity, Outcome, TopicDescription, TopicPartition
from tests.patience import patience

_FETCH, _LIST_OFFSETS, _OFFSET_FETCH = 1, 2, 9
"""Numbers of Kafka's requests."""
_SOURCE = TopicPartition("conversions", 0)


class _FailingBroker(EmbeddedBroker):
    """Answers requests of a kind with an error."""

    def fail(self, request: int, code: int, times: int) -> None:
        codes = (ctypes.c_int * times)(*[code] * times)
        self._call(
            "rd_kafka_mock_push_request_errors_array",
            None,
            ctypes.c_void_p(self._cluster),
            ctypes.c_int16(request),
            ctypes.c_size_t(times),
            codes,
        )


class _Scene:
    """A source topic of three records of which one was resolved and committed, its ledger, and who reads it."""

    def __init__(self, broker: _FailingBroker) -> None:
        self.broker = broker
        broker.create_topic("conversions", 1)
        broker.create_topic("ledger", 1)
        kafka = Kafka(broker.bootstrap_servers, ("conversions",), "group", {})
        self.topics = cluster.Cluster(lambda: clients.admin(kafka), lambda: clients.offsets_reader(kafka))
        wait = OutOfRange(to_earliest=False)
        policy = LedgerPolicy("group", b"destination", b"key", frozenset(), wait, 691_200_000, lambda: 0)
        properties = clients.reader_properties(kafka, lambda *_: None, logging.getLogger("librdkafka"))
        self.reader = LedgerReader(policy, self.topics, properties)
        self.cluster_id = self.topics.cluster_id()
        self.source, self.ledger = self.described("conversions"), self.described("ledger")
        self._write()

    def described(self, name: str) -> TopicDescription:
        found = self.topics.describe(name)
        assert found is not None
        return found

    def _write(self) -> None:
        facts = Facts()
        facts.add(0, 0, Outcome.IGNORED)
        header = LedgerIdentity(self.cluster_id, "conversions", self.source.topic_id, 0, "group", b"destination", b"key")
        producer = Producer({"bootstrap.servers": self.broker.bootstrap_servers, "log_level": 0})
        for _ in range(3):
            producer.produce("conversions", None, b"key", partition=0)
        producer.produce("ledger", ledger_entry.encode(header, facts), partition=0)
        assert producer.flush(10) == 0
        metadata = commit_metadata(self.source.topic_id, LedgerPosition(self.ledger.topic_id, 1))
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap_servers, "group.id": "group", "log_level": 0})
        consumer.commit(offsets=[KafkaTopicPartition("conversions", 0, 1, metadata)], asynchronous=False)
        consumer.close()

    def start(self) -> int:
        return self.reader.recover(self.cluster_id, _SOURCE, self.source, self.ledger).offset


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Scene]:
    monkeypatch.setattr(cluster, "_TRIES_SECONDS", (2.0, patience(6.0)))
    monkeypatch.setattr(cluster, "_COMMITTED_SECONDS", 2.0)
    monkeypatch.setattr(cluster, "_PASSING_SECONDS", (0.05,) * 3)
    with _FailingBroker() as broker:
        yield _Scene(broker)


@pytest.mark.parametrize(
    ("request_", "code", "error"),
    [
        (_OFFSET_FETCH, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaDenied),
        (_OFFSET_FETCH, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaUnavailable),
        (_OFFSET_FETCH, KafkaError.UNKNOWN, KafkaUnavailable),
        (_LIST_OFFSETS, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaDenied),
        (_LIST_OFFSETS, KafkaError.UNKNOWN, KafkaUnavailable),
        (_FETCH, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaDenied),
        (_FETCH, KafkaError.OFFSET_OUT_OF_RANGE, LedgerUnavailable),
    ],
)
def test_error_where_a_partition_would_start_is_an_error_and_never_a_start_somewhere(
    scene: _Scene, request_: int, code: int, error: type[Unavailable]
) -> None:
    assert scene.start() == 1
    scene.broker.fail(request_, code, 200)

    with pytest.raises(error):
        scene.start()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (_LIST_OFFSETS, KafkaError.NOT_LEADER_FOR_PARTITION),
        (_LIST_OFFSETS, KafkaError.LEADER_NOT_AVAILABLE),
        (_LIST_OFFSETS, KafkaError.UNKNOWN_TOPIC_OR_PART),
        (_OFFSET_FETCH, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
        (_OFFSET_FETCH, KafkaError.NOT_COORDINATOR),
    ],
)
def test_error_that_passes_is_waited_for(scene: _Scene, request_: int, code: int) -> None:
    scene.broker.fail(request_, code, 2)

    assert scene.start() == 1


def test_group_that_moved_to_another_coordinator_is_found_again(scene: _Scene) -> None:
    scene.broker.fail(_OFFSET_FETCH, KafkaError.NOT_COORDINATOR, 2)
    refusals = 0
    while True:  # to an admin client the first would be a segmentation fault
        try:
            assert scene.start() == 1
        except KafkaUnavailable:
            refusals += 1
        else:
            break
    assert refusals <= 2
