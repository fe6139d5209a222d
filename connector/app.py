"""The composition root: the one place that names concrete source, sink, ledger and clock together."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from importlib.metadata import version

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.client import AmazonSink
from connector.amazon.events_v1 import EventsV1
from connector.amazon.rules import differ
from connector.avro import schemas
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.config import Amazon, Settings
from connector.core import inputs, status
from connector.core.batching import Envelope
from connector.core.dispatch import DispatchPolicy
from connector.core.pipeline import Pipeline
from connector.core.policy import BufferPolicy, FlushPolicy, Policy
from connector.core.recovery import OutOfRange
from connector.errors import KafkaDenied, KafkaUnavailable, SettingsError
from connector.intake import Intake
from connector.kafka import clients, properties
from connector.kafka.cluster import Cluster
from connector.kafka.consumer import MOST_POLLS_AFTER_A_PAUSE, PollPolicy, SourceConsumer
from connector.kafka.dead_letters import DeadLetters
from connector.kafka.ledger import Ledger, LedgerPolicy
from connector.kafka.managed_topics import ManagedTopics
from connector.kafka.monitor import LEDGER_RIGHTS, LETTER_RIGHTS, SOURCE_RIGHTS, ClusterMonitor, MonitorPolicy
from connector.kafka.producer import ConfirmingProducer
from connector.model import TopicPartition
from connector.operations.server import Health, Operations
from connector.ports import LedgerTopics, WireContract
from connector.runtime import Runtime
from connector.signals import SAME_SIGNAL_SECONDS
from connector.telemetry import Telemetry, configure_logging

__all__ = [
    "FAILED",
    "NEEDS_OPERATOR",
    "Connector",
    "HostClock",
    "contract_for",
    "ledger_policy",
    "own_topics",
    "pipeline_policy",
    "poll_policy",
    "read_settings",
    "run",
    "schemas_for",
    "sink_for",
]

FAILED = 1
NEEDS_OPERATOR = 3

_TOPIC_AGAIN_SECONDS = 2.0
_STILL_SECONDS = 60.0
"""Beyond a drain's time-out: a consumer thread that has not polled for so long hangs."""
_REFUSED_SECONDS = 15.0
"""After the client's last word that it is refused: it tries to connect again, and is refused again, every 10 s."""
_LEAST_SILENCE_SECONDS = 30.0
"""Of the brokers, where a session is shorter: a look at topics and group may take as long while one of them is replaced."""
_MAX_SILENCE_SECONDS = 5.0
"""A leader that fails is replaced sooner; and what is sent while nothing can be written down may be sent again."""
_LAST_SECONDS = 5.0
"""After a drain nothing should be on its way; what is, its next owner finds or writes again."""
_QUEUE_BYTES = 16_000_000
"""What librdkafka may hold fetched beside us (limits, E: 4 MB is as fast as 256 MB)."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Parse the environment; raises `SettingsError` with every problem, those of the two libraries included."""
    settings = Settings.from_environment(environ, kafka_problems=properties.problems, registry_problems=schemas.problems)
    if settings.schema_file is not None:
        schemas.SchemaFile(str(settings.schema_file))  # refused now, not when the first record comes
    return settings


def contract_for(amazon: Amazon) -> WireContract:
    """Return the wire contract that was chosen."""
    if amazon.api == "events-v1":
        return EventsV1(amazon.account_id, amazon.client_id, amazon.region, amazon.without_consent)
    return AdsV1(amazon.account_id, amazon.client_id, amazon.region, amazon.dataset_name, amazon.without_consent)


def schemas_for(settings: Settings) -> schemas.WriterSchemas:
    """Return where writers' schemas come from."""
    if settings.registry is not None:
        return schemas.Registry(settings.registry.properties, patience_seconds=settings.registry.patience_seconds)
    return schemas.SchemaFile(str(settings.schema_file))


def sink_for(settings: Settings, contract: WireContract) -> AmazonSink:
    """Return the way to Amazon."""
    amazon = settings.amazon
    return AmazonSink(
        contract,
        amazon.base_url,
        amazon.credentials,
        timeout_seconds=amazon.timeout_seconds,
        max_connections=settings.sending.max_in_flight,
    )


def _fingerprint(*parts: str) -> bytes:
    return blake2b("\x00".join(parts).encode(), digest_size=16).digest()


def ledger_policy(settings: Settings) -> LedgerPolicy:
    """Return whose facts they are."""
    amazon = settings.amazon
    return LedgerPolicy(
        settings.kafka.group_id,
        destination=_fingerprint(amazon.api, amazon.base_url, amazon.account_id, amazon.dataset_name or ""),
        dedupe_key=_fingerprint(*settings.dedupe.key_fields),
        accept=_accepted(settings),
        out_of_range=OutOfRange(settings.offset_out_of_range == "earliest"),
        retention_ms=settings.dedupe.ledger_ms,
        wall_ms=HostClock().wall_ms,
    )


def _accepted(settings: Settings) -> frozenset[str]:
    return frozenset((settings.accept or "").replace(" ", "").split(",")) - {""}


def pipeline_policy(settings: Settings, contract: WireContract, poll: PollPolicy, session_seconds: float) -> Policy:
    """Return what the pipeline is told."""
    buffer = settings.buffer
    return Policy(
        freshness=settings.freshness,
        dedupe=replace(settings.dedupe, differ=differ),
        dispatch=DispatchPolicy(
            settings.batch,
            Envelope(contract.prefix, contract.suffix),
            max_in_flight=settings.sending.max_in_flight,
            poll_gate_seconds=session_seconds / 2,
            max_per_second=settings.sending.max_per_second,
            breaker=settings.dead_letters.policy,
        ),
        buffer=BufferPolicy(
            buffer.max_events,
            buffer.max_bytes,
            headroom_events=MOST_POLLS_AFTER_A_PAUSE * poll.records,
            headroom_bytes=buffer.max_bytes * 3 // 8,
        ),
        drain_seconds=settings.drain_timeout_seconds,
        flush=FlushPolicy(
            settings.ledger.flush_interval_seconds, max_silence_seconds=min(_MAX_SILENCE_SECONDS, session_seconds / 2)
        ),
        stop_on_verdict=settings.on_verdict == "stop",
        session_seconds=session_seconds if poll.names_itself else float("inf"),
    )


def poll_policy(settings: Settings, session_seconds: float) -> PollPolicy:
    """Return how the consumer polls: so little at a time that the polls under way when it pauses fit into the buffer."""
    buffer = settings.buffer
    usual = PollPolicy(
        settings.kafka.topics,
        clients.incremental(settings.kafka),
        settings.drain_timeout_seconds,
        sleep_seconds=session_seconds / 2,
        names_itself=clients.names_itself(settings.kafka),
    )
    # A quarter of the buffer for each. A record holds up to twice the bytes that a poll counts, for its event as encoded is
    # beside it, and the last one of a poll may be of any size: hence the larger headroom for bytes.
    records = min(usual.records, max(1, buffer.max_events // (4 * MOST_POLLS_AFTER_A_PAUSE)))
    return replace(usual, records=records, size=max(1, buffer.max_bytes // (8 * MOST_POLLS_AFTER_A_PAUSE)))


def own_topics(settings: Settings, topics: Cluster) -> ManagedTopics:
    """Return ledger and dead-letter topics on a real cluster."""
    return ManagedTopics(
        topics,
        settings.ledger.topic_for,
        settings.dead_letters.topic_for,
        servers=settings.kafka.bootstrap_servers,
        window_ms=settings.dedupe.window_ms,
        auto_create=settings.ledger.auto_create,
        accept=_accepted(settings),
    )


def watched(settings: Settings) -> MonitorPolicy:
    """Return what is looked at while it runs."""
    sources = settings.kafka.topics
    rights: dict[str, tuple[str, ...]] = dict.fromkeys(sources, SOURCE_RIGHTS)
    rights |= {settings.ledger.topic_for(source): LEDGER_RIGHTS for source in sources}
    rights |= {settings.dead_letters.topic_for(source): LETTER_RIGHTS for source in sources}
    return MonitorPolicy(sources, rights)


class HostClock:
    """The clocks of this host; a ``ports.Clock``."""

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return the seconds since some fixed point."""
        return time.monotonic()


class Connector:
    """One connector, put together from settings.

    ``simulated`` makes the topics of ours for a broker that has neither settings of topics nor append times: for the demo
    and fast tests, never on the path of `run`.
    """

    def __init__(self, settings: Settings, simulated: Callable[[Cluster], LedgerTopics] | None = None) -> None:
        self._settings = settings
        self._simulated = simulated is not None
        self.telemetry = Telemetry()
        self.contract = contract_for(settings.amazon)
        self._topics = Cluster(lambda: clients.admin(settings.kafka), clients.offsets_reader(settings.kafka))
        self._own_topics = simulated(self._topics) if simulated else own_topics(settings, self._topics)
        self.pipeline: Pipeline | None = None
        self._source: SourceConsumer | None = None
        self._runtime: Runtime | None = None
        self._watch: ClusterMonitor | None = None
        self._session_seconds = self._silence_seconds = 0.0
        self._waiting: str | None = "not started yet"
        self._shutdown = asyncio.Event()
        self.operations = Operations(
            self.health, self.telemetry.exposition, self.telemetry.rows, f"amazon conversions · {settings.kafka.group_id}"
        )

    def request_shutdown(self) -> None:
        """Ask it to drain and end; from the loop's thread."""
        self._shutdown.set()
        if self._runtime is not None:
            self._runtime.post(inputs.ShutdownRequested())

    def _failed(self, error: Exception) -> None:
        if self._runtime is not None:
            self._runtime.post(error)

    def health(self) -> Health:
        """Say what the probes say."""
        if self._waiting is not None or self._source is None or self.pipeline is None:
            return Health(None, (self._waiting or "starting",))
        silent = time.monotonic() - self._source.last_poll
        still = self._settings.drain_timeout_seconds + _STILL_SECONDS
        not_live = f"the consumer's thread has not polled for {silent:.0f} s" if silent > still else None
        refused = self._source.refused
        waiting = [] if self._source.joined else [f"has not joined group {self._settings.kafka.group_id} yet"]
        restoring = status.paused(self.pipeline)["restoring"]
        waiting += [f"{restoring} partitions are not restored yet"] if restoring else []
        if refused is not None and time.monotonic() - refused[0] < _REFUSED_SECONDS:
            waiting.append(f"the brokers refuse this client: {refused[1]}. Grant it the rights that README lists")
        if unheard := self._unheard(self._source):
            waiting.append(unheard)
        operators = (*self.telemetry.lacks, *self.telemetry.denied_schemas, *status.needs_operator(self.pipeline))
        return Health(not_live, (*waiting, *operators))

    def _unheard(self, source: SourceConsumer) -> str | None:
        """Say that the group's coordinator does not answer; what any other broker says proves nothing.

        A member asks it by the commits of the partitions that it has begun; one that has none must find it, while brokers
        are replaced.
        """
        if self._watch is None or self.pipeline is None:
            return None
        paused = status.paused(self.pipeline)
        asks = len(source.partitions()) > paused["restoring"] + paused["refused"]
        heard, most = (source.vouched, self._session_seconds) if asks else (self._watch.answered, self._silence_seconds)
        silence = time.monotonic() - heard
        if silence <= most:
            return None
        since = f"for {silence:.0f} s" if silence < float("inf") else "yet"
        return f"the group's coordinator has not answered this member {since}: nothing is sent until it does"

    async def run(self) -> str | None:
        """Run until it is asked to end, or a verdict stops it; return that verdict."""
        settings = self._settings
        self.telemetry.started(version("amazon-conversions-connector"), settings.describe(), settings.notes)
        listen = settings.listen
        try:
            await self.operations.start(listen.host, listen.port)
        except OSError as error:
            where = f"{listen.host}:{listen.port}"
            raise SettingsError([f"LISTEN_PORT: {where} cannot be listened on: {error.strerror}"]) from error
        self.telemetry.listening(listen.host, self.operations.port)
        sink = sink_for(settings, self.contract)
        try:
            cluster_id = await self._until_there()
            verdict = await self._run_pipeline(cluster_id, sink) if cluster_id is not None else None
            self.telemetry.stopped(verdict)
            return verdict
        finally:
            await sink.close()
            await self.operations.stop()

    async def _until_there(self) -> str | None:
        """Wait for cluster and source topics; return the cluster's id, None if asked to end meanwhile."""
        while not self._shutdown.is_set():
            try:
                cluster_id = await asyncio.to_thread(self._topics.cluster_id)
                self._waiting = await asyncio.to_thread(self._missing)
            except KafkaDenied as error:
                self._waiting = str(error)
            except KafkaUnavailable as error:
                self._waiting = f"the brokers do not answer: {error}"
            else:
                if self._waiting is None:
                    return cluster_id
            self.telemetry.waiting_for(self._waiting)
            try:
                async with asyncio.timeout(_TOPIC_AGAIN_SECONDS):
                    await self._shutdown.wait()
            except TimeoutError:
                continue
        return None

    def _missing(self) -> str | None:
        """Say what must be there and is not; blocks."""
        sources = self._settings.kafka.topics
        if missing := [topic for topic in sources if self._topics.describe(topic) is None]:
            return f"source topic {', '.join(missing)} does not exist (or may not be described)"
        # Whether the group may be used: one that may not is fatal to a KIP-848 member, which would start and end for ever.
        try:
            self._topics.committed(TopicPartition(sources[0], 0))
        except KafkaDenied:
            raise
        except KafkaUnavailable:
            # A client that may not look for the group's coordinator asks until its time is over; this one is told at once.
            self._topics.group_may(self._settings.kafka.group_id)
            raise
        # For life, so not without an answer.
        session_seconds = properties.session_timeout_seconds(self._settings.kafka)
        if session_seconds is None:
            session_seconds = self._topics.session_seconds(self._settings.kafka.group_id)
        self._session_seconds = session_seconds
        return None

    async def _run_pipeline(self, cluster_id: str, sink: AmazonSink) -> str | None:
        settings, telemetry, session_seconds = self._settings, self.telemetry, self._session_seconds
        poll = poll_policy(settings, session_seconds)
        self.pipeline = pipeline = Pipeline(pipeline_policy(settings, self.contract, poll, session_seconds))
        telemetry.watch(pipeline, self.contract)
        decoder = EventDecoder(Framing.CONFLUENT if settings.registry else Framing.PLAIN, schemas_for(settings))
        fields, most = settings.dedupe.key_fields, settings.batch.max_bytes
        intake = Intake(decoder, self.contract, fields, telemetry.record_unforeseen, request_bytes=most)
        logger = logging.getLogger("librdkafka")
        reported = clients.producer_properties(settings.kafka, telemetry.client_error, logger)
        with ConfirmingProducer(reported, last_seconds=_LAST_SECONDS, failed=self._failed) as producer:
            ledger = Ledger(
                ledger_policy(settings),
                self._topics,
                self._own_topics,
                producer,
                clients.reader_properties(settings.kafka, telemetry.client_error, logger),
                settings.ledger.topic_for,
                append_time=not self._simulated,
            )
            letters = DeadLetters(producer, settings.kafka.group_id, settings.dead_letters.topic_for)
            self._runtime = runtime = Runtime(pipeline, sink, ledger, letters, telemetry, HostClock(), random.random)
            self._source = SourceConsumer(
                clients.consumer_properties(settings.kafka, telemetry.client_error, logger, _QUEUE_BYTES),
                poll,
                intake,
                cluster_id,
                runtime.post,
                telemetry,
            )
            if self._shutdown.is_set():
                return None
            _settle_garbage()
            self._silence_seconds = max(session_seconds, _LEAST_SILENCE_SECONDS)
            self._watch = ClusterMonitor(self._topics, watched(settings), self._source, runtime.post, telemetry)
            with self._watch:
                return await runtime.run(self._source)


def _settle_garbage() -> None:
    """Keep the collector away from what never dies (limits, 2.7: up to three times the throughput on CPython 3.11)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def run(environ: Mapping[str, str]) -> int:
    """Run the connector until a signal; return the exit code. Raises `SettingsError`."""
    settings = read_settings(environ)
    configure_logging(settings.log.level, settings.log.format)
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    asked_at: float | None = None

    def stop(name: str) -> None:
        nonlocal asked_at
        if asked_at is None:
            asked_at = time.monotonic()
            connector.telemetry.draining(name)
            connector.request_shutdown()
        elif time.monotonic() - asked_at > SAME_SIGNAL_SECONDS:
            os._exit(FAILED)  # asked twice: nothing is lost, what was in flight is sent again

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number.name)
    connector = Connector(settings)  # which takes a while: a signal waits for it, as the loop does
    try:
        verdict = await connector.run()
    except SettingsError:
        raise
    except Exception as error:  # noqa: BLE001 - the last frame: said with its reason, then the exit code
        connector.telemetry.failed(error)
        return FAILED
    return NEEDS_OPERATOR if verdict is not None else 0
