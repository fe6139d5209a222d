"""Two Kafkas for the same tests: a real one, and the simulation's. Only the clients differ; the parts are the connector's.

Everything is awaited with a deadline (`until`), which on the fake is virtual.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, Protocol, TypeVar, cast

from confluent_kafka import Message, Producer

from connector import assembly
from connector.config import Settings
from connector.core import inputs
from connector.errors import SchemaUnavailable
from connector.intake import Intake, Origin
from connector.kafka import clients
from connector.kafka import cluster as kafka_cluster
from connector.kafka.consumer import PollPolicy, SourceConsumer
from connector.kafka.dead_letters import DeadLetters
from connector.kafka.ledger import KafkaLedger
from connector.kafka.producer import ConfirmingProducer
from connector.model import UNKNOWN_EPOCH, Poll, TopicPartition
from connector.ports import Record
from tests.integration.brokers import commit, committed, create_topic, delete_records, end_offsets, read_topic
from tests.patience import eventually
from tests.simulation.cluster import (
    AdminClient,
    Cluster,
    Commit,
    MemberClient,
    Odds,
    ProducerClient,
    ReaderClient,
    Stored,
    read,
)
from tests.simulation.virtual_time import HOST, PROCESS, Process, VirtualLoop

__all__ = ["FakeStage", "KafkaStage", "Member", "RealStage"]

T = TypeVar("T")
_SECONDS = 60.0


class Offsets(Intake):
    """Makes polls of offsets and epochs alone."""

    def __init__(self) -> None:
        self.down = False

    def read(
        self, origin: Origin, records: Any, waited: float = 0.0, is_enough: Callable[[], bool] = lambda: False
    ) -> tuple[Poll, SchemaUnavailable | None]:
        if self.down:
            return Poll(origin.partition, origin.generation), SchemaUnavailable("the registry does not answer")
        epochs = [UNKNOWN_EPOCH if record.leader_epoch() is None else record.leader_epoch() for record in records]
        offsets = [record.offset() for record in records]
        return Poll(origin.partition, origin.generation, offsets, epochs, records=list(records)), None


class _Silent:
    """Takes note of nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Member:
    """A source with what it posted."""

    def __init__(self) -> None:
        self.posted: list[inputs.Input | Exception] = []
        self.intake = Offsets()
        self.source: SourceConsumer = cast("Any", None)

    def of(self, kind: type[T]) -> list[T]:
        """Return what it posted of one kind, in order."""
        return [told for told in list(self.posted) if isinstance(told, kind)]

    def offsets(self, generation: int) -> list[int]:
        """Return the offsets it polled under one assignment."""
        polls = [poll for told in self.of(inputs.Polled) for poll in told.polls if poll.generation == generation]
        return [offset for poll in polls for offset in poll.offsets]

    def reached(self, generation: int) -> int:
        """Return the last end of its log that it told of under one assignment."""
        self.source.polled_handled()
        polls = [poll for told in self.of(inputs.Polled) for poll in told.polls if poll.generation == generation]
        return max((poll.read_end for poll in polls), default=0)

    def records(self, generation: int) -> list[Record]:
        """Return the records it polled under one assignment."""
        polls = [poll for told in self.of(inputs.Polled) for poll in told.polls if poll.generation == generation]
        return [cast("Record", record) for poll in polls for record in poll.records]


class KafkaStage(Protocol):
    """What the suites ask of a Kafka."""

    topic: str
    group: str

    def create(self, partitions: int = 1) -> None:
        """Create the source topic."""

    def produce(self, *values: bytes, partition: int = 0) -> None:
        """Write records."""

    def gap(self, partition: int = 0) -> None:
        """Write a record and, after it, what takes an offset and is none, as a transaction's marker does."""

    def cut_start(self, before: int, partition: int = 0) -> None:
        """Delete the records below an offset."""

    def member(self, *, incremental: bool = True, drain_seconds: float = 5.0) -> Member:
        """Start a source of the group."""

    def leave(self, member: Member) -> None:
        """Close a source."""

    def crash(self, member: Member) -> None:
        """Take a source's membership away, as if it were dead."""

    def committed(self, partition: int = 0) -> tuple[int, int, str] | None:
        """Return offset, epoch and metadata of the group's commit."""

    def commit(self, offset: int, metadata: str = "", partition: int = 0) -> None:
        """Commit as an operator, while nobody is in the group."""

    def ledger(self, **changes: str) -> KafkaLedger:
        """Return a ledger, of settings with these changes."""

    def letters(self) -> DeadLetters:
        """Return the dead letters."""

    def written(self, topic: str) -> list[Any]:
        """Return all records of a topic, as messages."""

    def blocking(self, call: Callable[[], T]) -> T:
        """Call something that blocks."""

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is so."""

    def turns(self, member: Member, count: int = 4) -> None:
        """Wait until a source has polled so many times more."""


def _settings(topic: str, group: str, servers: str, **changes: str) -> Settings:
    return assembly.read_settings(
        {
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "KAFKA_TOPIC": topic,
            "KAFKA_GROUP_ID": group,
            "KAFKA_SESSION_TIMEOUT_MS": "6000",
            "SCHEMA_REGISTRY_URL": "http://registry.invalid",
            "AMAZON_ACCOUNT_ID": "1",
            "AMAZON_CLIENT_ID": "client",
            "AMAZON_ACCESS_TOKEN": "token",
        }
        | changes
    )


def _policy(topic: str, *, incremental: bool, drain_seconds: float) -> PollPolicy:
    return PollPolicy((topic,), incremental=incremental, drain_seconds=drain_seconds, records=50, seconds=0.05)


class RealStage:
    """A real Apache Kafka."""

    def __init__(self, servers: str, ends: ExitStack) -> None:
        self._servers = servers
        self._ends = ends
        name = uuid.uuid4().hex[:8]
        self.topic, self.group = f"contract-{name}", f"group-{name}"
        self._members: list[Member] = []
        self._producer: ConfirmingProducer | None = None
        ends.callback(self._close)

    def _close(self) -> None:
        for member in self._members:
            member.source.close()

    def create(self, partitions: int = 1) -> None:
        create_topic(self._servers, self.topic, partitions)

    def produce(self, *values: bytes, partition: int = 0) -> None:
        self._produce(Producer({"bootstrap.servers": self._servers, "log_level": 0}), values, partition)

    def _produce(self, producer: Producer, values: tuple[bytes, ...], partition: int) -> None:
        for value in values:
            producer.produce(self.topic, value, b"key", partition=partition)
        assert producer.flush(_SECONDS) == 0

    def gap(self, partition: int = 0) -> None:
        producer = Producer({"bootstrap.servers": self._servers, "transactional.id": self.group, "log_level": 0})
        producer.init_transactions(_SECONDS)
        end = end_offsets(self._servers, self.topic)[partition]
        producer.begin_transaction()
        self._produce(producer, (b"in a transaction",), partition)
        producer.commit_transaction(_SECONDS)
        # The coordinator writes markers after it has answered.
        self.until(lambda: end_offsets(self._servers, self.topic)[partition] == end + 2, "the marker is there")

    def cut_start(self, before: int, partition: int = 0) -> None:
        delete_records(self._servers, self.topic, before, partition)

    def member(self, *, incremental: bool = True, drain_seconds: float = 5.0) -> Member:
        changes = {} if incremental else {"KAFKA_PARTITION_ASSIGNMENT_STRATEGY": "range"}
        kafka = _settings(self.topic, self.group, self._servers, **changes).kafka
        properties = clients.consumer_properties(kafka, lambda *_: None, logging.getLogger("librdkafka"), 1_000_000)
        member = Member()
        policy = _policy(self.topic, incremental=incremental, drain_seconds=drain_seconds)
        watcher = cast("Any", _Silent())
        member.source = SourceConsumer(
            properties | {"log_level": 0}, policy, member.intake, "cluster", member.posted.append, watcher
        )
        self._members.append(member)
        member.source.start()
        return member

    def leave(self, member: Member) -> None:
        self._members.remove(member)
        member.source.close()

    def committed(self, partition: int = 0) -> tuple[int, int, str] | None:
        found = committed(self._servers, self.group, self.topic).get(partition)
        if found is None:
            return None
        epoch: int | None = found.leader_epoch  # its stub says that it is never None
        return found.offset, -1 if epoch is None else epoch, found.metadata or ""

    def commit(self, offset: int, metadata: str = "", partition: int = 0) -> None:
        commit(self._servers, self.group, self.topic, {partition: offset}, metadata)

    def ledger(self, **changes: str) -> KafkaLedger:
        settings = _settings(self.topic, self.group, self._servers, **changes)
        logger = logging.getLogger("librdkafka")
        topics = kafka_cluster.Cluster(lambda: clients.admin(settings.kafka), lambda: clients.offsets_reader(settings.kafka))
        return KafkaLedger(
            assembly.ledger_policy(settings),
            topics,
            assembly.managed_topics(settings, topics),
            self._confirming(),
            clients.reader_properties(settings.kafka, lambda *_: None, logger),
            settings.ledger.topic_for,
        )

    def letters(self) -> DeadLetters:
        settings = _settings(self.topic, self.group, self._servers)
        return DeadLetters(self._confirming(), self.group, settings.dead_letters.topic_for)

    def _confirming(self) -> ConfirmingProducer:
        if self._producer is None:
            kafka = _settings(self.topic, self.group, self._servers).kafka
            properties = clients.producer_properties(kafka, lambda *_: None, logging.getLogger("librdkafka"))
            self._producer = self._ends.enter_context(ConfirmingProducer(properties))
        return self._producer

    def written(self, topic: str) -> list[Message]:
        return read_topic(self._servers, topic)

    def blocking(self, call: Callable[[], T]) -> T:
        return call()

    def until(self, condition: Callable[[], object], what: str) -> None:
        eventually(condition, what, _SECONDS)

    def turns(self, member: Member, count: int = 4) -> None:
        for _ in range(count):
            since = member.source.last_poll
            self.until(lambda since=since: member.source.last_poll > since, "it polls")  # type: ignore[misc]  # mypy cannot infer a lambda's default

    def crash(self, member: Member) -> None:
        raise NotImplementedError("a process of its own would be needed; tests/integration kills one")


class FakeStage:
    """The simulation's Kafka, where nothing goes wrong unasked."""

    topic = "conversions"
    group = "group-1"

    def __init__(self, seed: int = 1) -> None:
        self.loop = VirtualLoop()
        self.cluster = Cluster(self.loop, Random(seed), Odds(), cast("Any", _Silent()))
        self._processes: dict[int, Process] = {}
        self._clients: dict[int, MemberClient] = {}
        self._operator = Process(self.loop, "operator")
        self._producer: ConfirmingProducer | None = None
        self.loop.failed = self._note_failure
        self._failures: list[BaseException] = []

    def _note_failure(self, error: BaseException) -> None:
        self._failures.append(error)

    @contextmanager
    def open(self) -> Iterator[FakeStage]:
        try:
            yield self
        finally:
            for process in (self._operator, *self._processes.values()):
                process.kill()
            self.loop.run_until_complete(asyncio.sleep(1))
            self.loop.close()
        assert self._failures == []

    def _within(self, process: Process, call: Callable[[], T]) -> T:
        def run() -> T:
            PROCESS.set(process)
            return call()

        return contextvars.copy_context().run(run)

    def _properties(self, process: Process) -> dict[str, Any]:
        return {"simulated.process": process, "simulated.cluster": self.cluster}

    def create(self, partitions: int = 1) -> None:
        self.cluster.create(self.topic, partitions, {"max.message.bytes": "1048588", "min.insync.replicas": "1"})

    def produce(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.cluster.append(TopicPartition(self.topic, partition), Stored(None, -1, value, b"key"))

    def gap(self, partition: int = 0) -> None:
        self.produce(b"in a transaction", partition=partition)
        self.cluster.topics[self.topic].mark(partition)

    def cut_start(self, before: int, partition: int = 0) -> None:
        self.cluster.topics[self.topic].cut_start(partition, before)

    def member(self, *, incremental: bool = True, drain_seconds: float = 5.0) -> Member:
        self.cluster.incremental = incremental
        process, member = Process(self.loop, f"process-{len(self._processes) + 1}"), Member()
        policy = _policy(self.topic, incremental=incremental, drain_seconds=drain_seconds)
        kafka = _settings(self.topic, self.group, "simulated:9092").kafka
        properties = clients.consumer_properties(kafka, lambda *_: None, logging.getLogger("librdkafka"), 1_000_000)
        properties |= self._properties(process)

        def make_client(properties: dict[str, Any]) -> Any:
            self._clients[id(member)] = MemberClient(properties)
            return self._clients[id(member)]

        def begin() -> None:
            watcher = cast("Any", _Silent())
            member.source = SourceConsumer(
                properties,
                policy,
                member.intake,
                "cluster",
                member.posted.append,
                watcher,
                make_client=make_client,
                host=HOST,
            )
            member.source.start()

        self._within(process, begin)
        self._processes[id(member)] = process
        return member

    def leave(self, member: Member) -> None:
        self._blocking(self._processes[id(member)], member.source.close)

    def crash(self, member: Member) -> None:
        self.cluster.group.evict(self._clients[id(member)])

    def committed(self, partition: int = 0) -> tuple[int, int, str] | None:
        found = self.cluster.committed.get(TopicPartition(self.topic, partition))
        return None if found is None else (found.next_offset, found.epoch, found.metadata)

    def commit(self, offset: int, metadata: str = "", partition: int = 0) -> None:
        self.cluster.committed[TopicPartition(self.topic, partition)] = Commit(offset, UNKNOWN_EPOCH, metadata)

    def ledger(self, **changes: str) -> KafkaLedger:
        settings = _settings(self.topic, self.group, "simulated:9092", **changes)
        properties = self._properties(self._operator)

        def make() -> KafkaLedger:
            topics = kafka_cluster.Cluster(
                lambda: cast("Any", AdminClient(properties)), lambda: cast("Any", ReaderClient(properties)), HOST
            )
            return KafkaLedger(
                assembly.ledger_policy(settings),
                topics,
                assembly.managed_topics(settings, topics),
                self._confirming(),
                properties,
                settings.ledger.topic_for,
                cluster_id="cluster-1",
                read=read,
                host=HOST,
            )

        return self._within(self._operator, make)

    def letters(self) -> DeadLetters:
        settings = _settings(self.topic, self.group, "simulated:9092")
        return DeadLetters(self._within(self._operator, self._confirming), self.group, settings.dead_letters.topic_for)

    def _confirming(self) -> ConfirmingProducer:
        if self._producer is None:
            self._producer = ConfirmingProducer(
                self._properties(self._operator), make_client=cast("Any", ProducerClient), host=HOST
            )
            self._producer.__enter__()
        return self._producer

    def written(self, topic: str) -> list[Any]:
        return [stored for log in self.cluster.topics[topic].partitions for stored in log]

    def blocking(self, call: Callable[[], T]) -> T:
        return self._blocking(self._operator, call)

    def _blocking(self, process: Process, call: Callable[[], T]) -> T:
        async def wait() -> T:
            PROCESS.set(process)
            return await asyncio.to_thread(call)

        return self.loop.run_until_complete(wait())

    def until(self, condition: Callable[[], object], what: str) -> None:
        async def wait() -> None:
            deadline = self.loop.time() + _SECONDS
            while not condition():
                assert self.loop.time() < deadline, f"not within {_SECONDS:.0f} s: {what}"
                await asyncio.sleep(0.05)

        self.loop.run_until_complete(wait())

    def turns(self, member: Member, count: int = 4) -> None:
        for _ in range(count):
            since = member.source.last_poll
            self.until(lambda since=since: member.source.last_poll > since, "it polls")  # type: ignore[misc]  # mypy cannot infer a lambda's default
