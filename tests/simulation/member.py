"""One process of the connector in the simulated world: `connector.app` composes the same parts."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.client import AmazonSink
from connector.amazon.tokens import Credentials
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing, Located, schema_id
from connector.avro.registry import Registry
from connector.avro.schema_file import packaged
from connector.codec import BatchCodec, NativeCodec
from connector.config import Kafka
from connector.core import commands, inputs
from connector.core.pipeline import Pipeline
from connector.core.policy import Policy
from connector.core.recovery import OutOfRange
from connector.intake import Intake
from connector.kafka import clients
from connector.kafka import cluster as kafka_cluster
from connector.kafka.consumer import PollPolicy, SourceConsumer
from connector.kafka.dead_letters import DeadLetters
from connector.kafka.ledger import KafkaLedger, LedgerPolicy
from connector.kafka.managed_topics import ManagedTopics
from connector.kafka.producer import ConfirmingProducer
from connector.model import Flaw, Moment
from connector.native import codec_for
from connector.ports import Record
from connector.runtime import Runtime
from connector.telemetry import Telemetry
from tests.simulation.cluster import AdminClient, Cluster, Journal, MemberClient, ProducerClient, ReaderClient, read
from tests.simulation.records import CURSE, LATE_SCHEMA_ID, UNKNOWN_SCHEMA_ID
from tests.simulation.vendor import BASE_URL, TOKEN_URL, Transport, Vendor
from tests.simulation.virtual_time import HOST, PROCESS, Killed, Process, VirtualLoop

__all__ = [
    "DEDUPE_KEY",
    "DESTINATION",
    "GROUP",
    "LEDGER",
    "LEDGER_SETTINGS",
    "LETTERS",
    "MOST_LATE_SECONDS",
    "SOURCE",
    "TO_EARLIEST",
    "Member",
    "Plan",
    "SimulatedRegistry",
]

SOURCE = "conversions"
GROUP = "group-1"
DESTINATION = b"d" * 16
DEDUPE_KEY = b"k" * 16
LEDGER = "conversions.group-1.ledger"
LETTERS = "conversions.dead-letter"
LEDGER_SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "691200000",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
    "min.insync.replicas": "1",
}
TO_EARLIEST = "OFFSET_OUT_OF_RANGE=earliest"
MOST_LATE_SECONDS = 8.0
_PATIENCE_SECONDS = 10.0
"""For a schema that the registry says it does not have."""
_LAST_SECONDS = 5.0
_LOGGER = logging.getLogger("simulation")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Plan:
    """How all processes of a run are configured."""

    policy: Policy
    poll: PollPolicy
    properties: Mapping[str, str]
    """Of Kafka's client, as an operator sets them."""
    timeout_seconds: float
    """Of one request."""


def _report(client: str, code: str) -> None:
    """Say an error that a client has: nobody listens."""


class Clock:
    """A host's clocks; the wall clock may be set."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.skew_ms = 0

    def wall_ms(self) -> int:
        return self._cluster.wall_ms() + self.skew_ms

    def monotonic(self) -> float:
        return self._cluster.loop.time()


class SimulatedRegistry:
    """A schema registry at the level of its HTTP client: it may be away, and its replica behind."""

    def __init__(self, loop: VirtualLoop, journal: Journal, late_until: float) -> None:
        self.away = False
        self._loop = loop
        self._journal = journal
        self._late_until = late_until

    def get(self, path: str) -> dict[str, str]:
        """Answer as a registry does."""
        PROCESS.get().step()
        if self.away:
            raise SchemaRegistryError(503, 50301, "away")
        schema_id = int(path.rpartition("/")[2])
        late = schema_id == LATE_SCHEMA_ID and self._loop.time() < self._late_until
        if late:
            self._journal.happened("registry behind")
        if late or schema_id == UNKNOWN_SCHEMA_ID:
            raise SchemaRegistryError(404, 40403, "Schema not found")
        return {"schema": _schema()}


@cache
def _schema() -> str:
    return json.dumps(packaged("conversion_event.avsc"))


@cache
def _registry() -> Registry:
    return Registry({"url": "http://registry.invalid"}, patience_seconds=_PATIENCE_SECONDS)


class _Cursed(EventDecoder):
    """A decoder that raises what nobody thought of, at some values."""

    def decode(self, record: Record, waited: float = 0.0) -> dict[str, object] | Flaw | None:
        _raise_if_cursed(record.value())
        return super().decode(record, waited)

    def _plan_for(self, name: bytes, waited: float) -> Any:
        """Ask the registry as always, and work out what follows from its answer once for all members."""
        definitions = self._schemas.definitions(schema_id(name, self._framing), waited)
        if name not in _plans():
            knowing = copy(self)
            knowing._schemas, knowing._plans = cast("Any", SimpleNamespace(definitions=lambda *_: definitions)), _plans()
            EventDecoder._plan_for(knowing, name, waited)
        self._plans[name] = _plans()[name]
        return self._plans[name]

    def located(self, record: Record, value: bytes) -> Located:
        _raise_if_cursed(value)
        return super().located(record, value)


def _raise_if_cursed(value: bytes | None) -> None:
    if CURSE in (value or b""):
        raise ZeroDivisionError


def _distrusted(reason: str) -> None:
    raise AssertionError(f"native code: {reason}")


@cache
def _codecs() -> dict[str, NativeCodec]:
    """Native codecs by the layout of their schema: all members have one contract and one key."""
    return {}


def _codec(terms: dict[str, Any]) -> NativeCodec:
    make = codec_for("auto").make
    assert make is not None
    layout = repr(terms["record"])
    if layout not in _codecs():
        _codecs()[layout] = make(terms)
    return _codecs()[layout]


@cache
def _plans() -> dict[bytes, Any]:
    """How to read values of each schema that the registry has."""
    return {}


@cache
def _prototype() -> EventDecoder:
    return _Cursed(Framing.CONFLUENT, cast("Any", None))


class Observer:
    """Is told what passes between shell and pipeline; the oracle is one."""

    def handled(self, member: Member, told: inputs.Input, commands: list[commands.Command], now: Moment) -> None:
        """An input was handled."""


class _WatchedPipeline(Pipeline):
    """The pipeline, with somebody who looks on; where days pass, it ``sweeps`` its windows all the time."""

    def __init__(
        self, policy: Policy, look: Callable[[inputs.Input, list[commands.Command], Moment], None], *, sweeps: bool
    ) -> None:
        super().__init__(policy)
        self._look = look
        self._sweeps = sweeps

    def handle(self, told: inputs.Input, now: Moment) -> list[commands.Command]:
        if self._sweeps:
            self._expiry.due = 0.0
        commands = super().handle(told, now)
        self._look(told, commands, now)
        return commands


class _Lines:
    """Takes the lines of the log."""

    def __init__(self, write: Callable[[str], None] | None) -> None:
        self._write = write

    def info(self, event: str, **fields: object) -> None:
        if self._write is not None:
            self._write(f"{event} {fields}")

    warning = error = info


class Member:
    """A process and all that is in it."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        cluster: Cluster,
        vendor: Vendor,
        registry: SimulatedRegistry,
        observer: Observer,
        dice: Random,
        say: Callable[[str], None] | None,
        accept: frozenset[str] = frozenset(),
    ) -> None:
        self.process = Process(cluster.loop, name)
        self.clock = Clock(cluster)
        self.stopping = False
        self.asked_to_stop_at = 0.0
        self._plan = plan
        self._cluster = cluster
        self._vendor = vendor
        self._registry = registry
        self._observer = observer
        self._dice = dice
        self._say = say
        self._accept = accept
        self.pipeline = _WatchedPipeline(plan.policy, self._look, sweeps=cluster.calendar.days > 0)
        self.transport = Transport(vendor, self.process, plan.timeout_seconds)
        self._clients: list[MemberClient] = []
        self._runtime: Runtime | None = None
        self.task: asyncio.Task[str | None] | None = None

    @property
    def client(self) -> MemberClient | None:
        """Its client, once it has one."""
        return self._clients[0] if self._clients else None

    def start(self) -> asyncio.Task[str | None]:
        PROCESS.set(self.process)  # in the context of whoever starts it; the task takes a copy
        self.task = asyncio.get_running_loop().create_task(self._run(), name=self.process.name)
        return self.task

    def request_shutdown(self) -> None:
        if not self.stopping:
            self.stopping, self.asked_to_stop_at = True, self._cluster.loop.time()
            if self._runtime is not None:
                self._runtime.post(inputs.ShutdownRequested())

    def _look(self, told: inputs.Input, commands: list[commands.Command], now: Moment) -> None:
        if self._say is not None:
            for sign, said in (("<", told), *((">", command) for command in commands)):
                self._say(f"{sign} {_ADDRESS.sub('', repr(said))}")
        self._observer.handled(self, told, commands, now)
        self.process.step()

    def _make_client(self, properties: dict[str, Any]) -> Any:
        client = MemberClient(properties)
        self._clients.append(client)
        return client

    async def _run(self) -> str | None:
        properties: dict[str, Any] = {"simulated.process": self.process, "simulated.cluster": self._cluster}
        kafka = Kafka("simulated", (SOURCE,), GROUP, self._plan.properties)
        of_reader = clients.reader_properties(kafka, _report, _LOGGER) | properties
        of_member = clients.consumer_properties(kafka, _report, _LOGGER, 1_000_000) | properties
        telemetry = Telemetry(self._cluster.loop.time)
        telemetry._log = _Lines(self._say)
        topics = kafka_cluster.Cluster(
            lambda: cast("Any", AdminClient(properties)), lambda: cast("Any", ReaderClient(of_reader)), HOST
        )
        contract = AdsV1("5850000000001", "client", "NA")
        credentials = Credentials("client", lambda: "secret", lambda: "refresh", TOKEN_URL)
        sink = AmazonSink(
            contract,
            BASE_URL,
            credentials,
            timeout_seconds=self._plan.timeout_seconds,
            max_connections=8,
            transport=self.transport,
        )
        own = ManagedTopics(
            topics,
            lambda _: LEDGER,
            lambda _: LETTERS,
            servers="simulated",
            window_ms=604_800_000,
            auto_create=True,
            host=HOST,
        )
        producer = ConfirmingProducer(
            properties,
            last_seconds=_LAST_SECONDS,
            failed=self._failed,
            make_client=cast("Any", ProducerClient),
            host=HOST,
        )
        producer.__enter__()
        policy = LedgerPolicy(
            GROUP,
            DESTINATION,
            DEDUPE_KEY,
            self._accept,
            OutOfRange(to_earliest=TO_EARLIEST in self._accept),
            int(LEDGER_SETTINGS["retention.ms"]),
            self.clock.wall_ms,
        )
        ledger = KafkaLedger(
            policy, topics, own, producer, of_reader, lambda _: LEDGER, cluster_id="cluster-1", read=read, host=HOST
        )
        letters = DeadLetters(producer, GROUP, lambda _: LETTERS)
        runtime = Runtime(self.pipeline, sink, ledger, letters, telemetry, self.clock, self._dice.random)
        telemetry.watch(self.pipeline, contract)
        decoder, key = self._decoder(), ("clientDedupeId",)
        batches = None if codec_for("auto").make is None else BatchCodec(_codec, decoder, contract, key)
        intake = Intake(decoder, contract, key, telemetry.record_unforeseen, batches=batches, distrust=_distrusted)
        source = SourceConsumer(
            of_member,
            self._plan.poll,
            intake,
            "cluster-1",
            runtime.post,
            telemetry,
            make_client=self._make_client,
            host=HOST,
        )
        self._runtime = runtime
        if self.stopping:
            runtime.post(inputs.ShutdownRequested())
        try:
            verdict = await runtime.run(source)
        finally:
            if self.process.alive:
                await asyncio.to_thread(producer.__exit__, None, None, None)
                await sink.close()
        return verdict

    def _decoder(self) -> EventDecoder:
        """A decoder that knows no schema yet; what it knows of ours is worked out once for all."""
        registry = copy(_registry())
        connection = registry._connection = copy(registry._connection)
        connection._client = cast("Any", SimpleNamespace(_rest_client=self._registry))
        connection._monotonic = registry._monotonic = self.clock.monotonic
        registry._absent, registry._answers = {}, {}
        decoder = copy(_prototype())
        decoder._schemas, decoder._plans = registry, {}
        return decoder

    def _failed(self, error: Exception) -> None:
        if self._runtime is not None:
            self._runtime.post(error)

    def crash(self) -> None:
        """End it here and now: all that is in memory is gone."""
        self.process.kill()
        if self.task is not None:
            self.task.cancel()

    async def ended(self) -> str | None:
        """Wait for its end; the verdict it stopped for."""
        assert self.task is not None
        try:
            return await self.task
        except Killed:
            return None
        except asyncio.CancelledError:
            if self.process.alive:
                raise
            return None
