"""A real Kafka as tests look at it: topics, records, offsets and ledgers, by clients that are not the connector's."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
)
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from connector.avro import ledger_entry
from connector.model import Outcome
from tests.avro.ledger_facts import unpacked
from tests.patience import eventually, patience

__all__ = [
    "Produced",
    "add_partitions",
    "alter_topic",
    "commit",
    "committed",
    "committed_if_said",
    "create_topic",
    "delete_records",
    "delete_topic",
    "describe_topic",
    "end_offsets",
    "groups",
    "headers_of",
    "ledger_entries",
    "ledger_fates",
    "produce",
    "read_topic",
    "set_group",
    "topic_settings",
    "topics",
]

_SECONDS = 30.0
_ASK_SECONDS = 30.0
_UNSAID = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_COORD,
        KafkaError._ALL_BROKERS_DOWN,
    }
)
"""Errors of a coordinator that moves, is being started or has died."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Produced:
    """A record to produce."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int = 0
    """Milliseconds since 1970 UTC; 0 is now."""
    partition: int = 0


@functools.cache
def _admin(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


def _only(asked: Mapping[Any, Future[T]]) -> T:
    """Wait for the one thing that was asked for."""
    (future,) = asked.values()
    return future.result(patience(_ASK_SECONDS))


def create_topic(servers: str, topic: str, partitions: int = 1, **settings: str) -> None:
    """Create a topic, and wait until it can be written; setting names have underscores for dots."""
    config = {name.replace("_", "."): value for name, value in settings.items()}

    def created() -> bool:
        try:
            _only(_admin(servers).create_topics([NewTopic(topic, partitions, -1, config=config)]))
        except KafkaException as error:
            # One that was deleted a moment ago is still there.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            return False
        return True

    eventually(created, f"topic {topic} can be created")
    eventually(lambda: end_offsets(servers, topic).keys() == set(range(partitions)), f"topic {topic} has leaders")


def delete_topic(servers: str, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    _only(_admin(servers).delete_topics([topic]))
    eventually(lambda: topic not in topics(servers), f"topic {topic} is gone")


def topics(servers: str) -> set[str]:
    """Return the names of all topics."""
    return set(_admin(servers).list_topics(timeout=patience(_ASK_SECONDS)).topics)


def groups(servers: str) -> set[str]:
    """Return the names of all groups."""
    found = _admin(servers).list_consumer_groups().result()
    return {group.group_id for group in found.valid}


def describe_topic(servers: str, topic: str) -> tuple[str, int]:
    """Return a topic's id and its number of partitions."""
    found = _only(_admin(servers).describe_topics(TopicCollection([topic])))
    return str(found.topic_id), len(found.partitions)


def topic_settings(servers: str, topic: str) -> dict[str, str]:
    """Return a topic's effective settings."""
    entries = _only(_admin(servers).describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))
    return {name: str(entry.value) for name, entry in entries.items()}


def alter_topic(servers: str, topic: str, **settings: str) -> None:
    """Set a topic's settings; names have underscores for dots."""
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    _only(_admin(servers).incremental_alter_configs([resource]))


def set_group(servers: str, group: str, **settings: int) -> None:
    """Set a KIP-848 group's settings; names have underscores for dots."""
    entries = [
        ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=entries)
    _only(_admin(servers).incremental_alter_configs([resource]))


def add_partitions(servers: str, topic: str, partitions: int) -> None:
    """Give a topic so many partitions in all."""
    _only(_admin(servers).create_partitions([NewPartitions(topic, partitions)]))
    eventually(lambda: len(end_offsets(servers, topic)) == partitions, f"topic {topic} has {partitions} partitions")


def delete_records(servers: str, topic: str, before: int, partition: int = 0) -> None:
    """Delete the records of a partition below an offset."""
    _only(_admin(servers).delete_records([KafkaTopicPartition(topic, partition, before)]))


def end_offsets(servers: str, topic: str) -> dict[int, int]:
    """Return the end offset of every partition that has a leader; empty while the topic is not known everywhere."""
    return _ends_if_said(servers, topic, IsolationLevel.READ_UNCOMMITTED) or {}


def _ends_if_said(servers: str, topic: str, isolation: IsolationLevel) -> dict[int, int] | None:
    """Return the end of every partition, as readers of this kind see it; none of a topic that does not exist, None where the
    brokers do not say for now."""
    admin = _admin(servers)
    described = admin.list_topics(timeout=patience(_ASK_SECONDS)).topics.get(topic)
    if described is None or not described.partitions:
        return {}
    places = {KafkaTopicPartition(topic, number): OffsetSpec.latest() for number in described.partitions}
    asked = admin.list_offsets(places, isolation_level=isolation)
    try:
        return {place.partition: found.result(patience(_ASK_SECONDS)).offset for place, found in asked.items()}
    except KafkaException:
        return None


def committed(servers: str, group: str, topic: str) -> dict[int, KafkaTopicPartition]:
    """Return what a group has committed, by partition, with leader epoch and metadata; without those it never committed."""

    def said() -> list[dict[int, KafkaTopicPartition]]:
        found = committed_if_said(servers, group, topic)
        return [] if found is None else [found]

    (found,) = eventually(said, "the brokers say what the group committed")
    return found


def committed_if_said(servers: str, group: str, topic: str) -> dict[int, KafkaTopicPartition] | None:
    """Return what `committed` does; None where the brokers do not say for now.

    It asks by a new client each time, because an old one goes on asking a coordinator that the group has left, and not by
    an admin client, whose question ends the process if that coordinator refuses it (librdkafka 2.16; its issue 5040).
    """
    properties = {"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False, "log_level": 0}
    with closing(Consumer(properties)) as consumer:
        try:
            partitions = consumer.list_topics(topic, timeout=patience(_ASK_SECONDS)).topics[topic].partitions
            places = [KafkaTopicPartition(topic, partition) for partition in partitions]
            asked = consumer.committed(places, timeout=patience(_ASK_SECONDS)) if places else []
        except KafkaException as error:
            if error.args[0].code() in _UNSAID:
                return None
            raise
    if any(place.error for place in asked):
        return None
    return {place.partition: place for place in asked if place.offset >= 0}


def commit(servers: str, group: str, topic: str, offsets: Mapping[int, int], metadata: str = "") -> None:
    """Commit as Kafka's own tool does: offsets of a group that nobody is in, and without metadata."""
    places = [KafkaTopicPartition(topic, partition, offset, metadata) for partition, offset in offsets.items()]
    properties = {"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False, "log_level": 0}
    with closing(Consumer(properties)) as consumer:
        done = consumer.commit(offsets=places, asynchronous=False)
        assert done is not None
        assert [place.error for place in done] == [None] * len(places)


def produce(servers: str, topic: str, records: Iterable[Produced], **more: str) -> None:
    """Produce records in order, and wait until all are confirmed; ``more`` are properties of the producer."""
    failures: list[object] = []
    # Neither retried nor idempotent: nothing is written twice or out of order, and no half second is spent on an id.
    properties = {
        "acks": "all",
        "retries": 0,
        "request.timeout.ms": 120_000,  # a replica that was killed is waited for, by brokers that are slow themselves
        "linger.ms": 5,
        "message.max.bytes": 8_000_000,
        "log_level": 0,
    }
    producer = Producer(properties | more | {"bootstrap.servers": servers})
    for record in records:
        producer.produce(
            topic,
            record.value,
            record.key,
            partition=record.partition,
            timestamp=record.timestamp_ms,
            headers=list(record.headers),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    assert producer.flush(patience(_SECONDS)) == 0
    assert failures == []


def read_topic(servers: str, topic: str) -> list[Message]:
    """Read a topic from its beginning to its end as of now; none if it does not exist."""

    def said() -> list[dict[int, int]]:
        ends = _ends_if_said(servers, topic, IsolationLevel.READ_COMMITTED)
        return [] if ends is None else [ends]

    (ends,) = eventually(said, f"the brokers say where {topic} ends")
    left = {partition: end for partition, end in ends.items() if end}
    if not left:
        return []
    found: dict[tuple[int | None, int | None], Message] = {}  # by place: what is read again is the same record
    properties = {
        "bootstrap.servers": servers,
        "group.id": "reads-a-topic",
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 20,
        "enable.auto.commit": False,
        "log_level": 0,
    }
    with closing(Consumer(properties)) as consumer:
        consumer.assign([KafkaTopicPartition(topic, partition, 0) for partition in left])
        deadline = time.monotonic() + patience(_SECONDS)
        while left:
            assert time.monotonic() < deadline, f"topic {topic} cannot be read to its ends: {left} are left"
            for message in consumer.consume(500, 0.05):
                error, partition = message.error(), message.partition()
                if error is None:
                    found[partition, message.offset()] = message
                # A leader that was elected a moment ago may not know yet how far its log is written everywhere.
                elif error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= left.get(partition or 0, 0):
                    left.pop(partition or 0, None)
    return list(found.values())


def headers_of(message: Message) -> list[tuple[str, bytes | None]]:
    """Return a record's headers, in order."""
    return cast("list[tuple[str, bytes | None]]", message.headers() or [])  # its stub types them wider


def ledger_entries(servers: str, ledger: str) -> list[ledger_entry.LedgerEntry]:
    """Return all entries of a ledger."""
    return [ledger_entry.decode(message.value() or b"") for message in read_topic(servers, ledger)]


def ledger_fates(servers: str, ledger: str) -> dict[tuple[int, int], list[Outcome]]:
    """Return what the ledger says became of each record, by partition and offset; several facts of one are all there."""
    fates: dict[tuple[int, int], list[Outcome]] = {}
    for entry in ledger_entries(servers, ledger):
        facts = unpacked(entry)
        for offset, outcome in zip(facts.offsets, facts.outcomes, strict=True):
            fates.setdefault((entry.header.partition, offset), []).append(outcome)
    return fates
