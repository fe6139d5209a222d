"""The life of a connector: what it waits for, what it runs, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial

from connector.amazon.client import AmazonSink
from connector.assembly import (
    HostClock,
    cluster_for,
    contract_for,
    decoder_for,
    identity_of,
    ledger_policy,
    managed_topics,
    monitor_policy,
    pipeline_policy,
    poll_policy,
    read_settings,
    sink_for,
)
from connector.avro.decoding import EventDecoder
from connector.build import build
from connector.codec import BatchCodec
from connector.config import Settings
from connector.core import inputs, status
from connector.core.pipeline import Pipeline
from connector.daemon import in_daemon
from connector.errors import KafkaDenied, KafkaTokenLacking, KafkaUnavailable, SettingsError
from connector.intake import Intake
from connector.kafka import clients, properties
from connector.kafka.cluster import Cluster
from connector.kafka.consumer import SourceConsumer
from connector.kafka.dead_letters import DeadLetters
from connector.kafka.ledger import KafkaLedger
from connector.kafka.monitor import ClusterMonitor
from connector.kafka.producer import ConfirmingProducer
from connector.kafka.tokens import Tokens
from connector.model import TopicPartition
from connector.native import codec_for
from connector.operations.health import Health, Vitals
from connector.operations.server import Operations
from connector.operations.status import Status
from connector.ports import LedgerTopics
from connector.runtime import Runtime
from connector.signals import SAME_SIGNAL_SECONDS
from connector.telemetry import Telemetry, configure_logging
from connector.telemetry.history import EVERY_SECONDS

__all__ = ["FAILED", "NEEDS_OPERATOR", "Connector", "run", "settle_garbage"]

FAILED = 1
NEEDS_OPERATOR = 3

_SCHEMAS_SHOWN = 10
_TOPIC_AGAIN_SECONDS = 2.0
"""Pause between two looks for the brokers and the source topics."""
_TOPIC_LOOKS = 30
"""Looks in a row, a minute in all, after which a missing source topic needs an operator. A topic
that is created together with the connector exists by then."""
_LOGINS_SECONDS = 10.0
"""Pause between two looks at the files of users and passwords."""
_LAST_SECONDS = 5.0
"""How long the producer waits for deliveries after a drain. No record should be on its way by then.
If one is, the next owner of its partition finds it in the topic, or writes it again."""
_QUEUE_BYTES = 16_000_000
"""Fetched bytes that librdkafka may hold beside our buffer. 4 MB is as fast as 256 MB
(docs/limits.md#fetch-queue)."""


class Connector:
    """One connector, built from settings.

    ``simulated`` makes the ledger and dead-letter topics on a broker that has neither topic
    settings nor append times. The demo and fast tests give it; `run` never does.
    """

    def __init__(self, settings: Settings, simulated: Callable[[Cluster], LedgerTopics] | None = None) -> None:
        self._settings = settings
        self._simulated = simulated is not None
        self.telemetry = Telemetry()
        self.contract = contract_for(settings.amazon)
        if isinstance(settings.kafka.tokens, Tokens):
            settings.kafka.tokens.report_to(self.telemetry.login_lacks)
        self._topics = cluster_for(settings)
        self._own_topics = simulated(self._topics) if simulated else managed_topics(settings, self._topics)
        self.pipeline: Pipeline | None = None
        self._runtime: Runtime | None = None
        self._vitals: Vitals | None = None
        self._session_seconds = 0.0
        self._waiting: str | None = "not started yet"
        self._shutdown = asyncio.Event()
        self._codec = codec_for(settings.codec)
        self._build = build(clients.librdkafka_version()) | {"codec": self._codec.name}
        self.status = Status(identity_of(settings, self._build), self.health, self.telemetry.overview)
        self.telemetry.watch_health(lambda: not self.health().not_ready)
        self.operations = Operations(self.health, self.telemetry.exposition, self.status)

    def request_shutdown(self) -> None:
        """Ask the connector to drain and end. Call it from the event loop's thread."""
        self._shutdown.set()
        if self._runtime is not None:
            self._runtime.post(inputs.ShutdownRequested())

    def _ended_early(self, task: asyncio.Task[None]) -> None:
        """End the connector if reading the login files has failed; a restart reads them anew."""
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._runtime is not None:
            self._runtime.post(error)

    def health(self) -> Health:
        """Return the answers of the probes."""
        return Health(None, (self._waiting or "starting",)) if self._vitals is None else self._vitals.health()

    async def run(self) -> str | None:
        """Run until the connector is asked to end or a verdict stops it; return that verdict."""
        settings = self._settings
        self.telemetry.started(self._build, settings.describe(), (*settings.notes, self._codec.message))
        self.telemetry.refresh_token_expires(settings.amazon.refresh_token_expires)
        listen = settings.listen
        try:
            await self.operations.start(listen.host, listen.port)
        except OSError as error:
            where = f"{listen.host}:{listen.port}"
            raise SettingsError([f"LISTEN_PORT: {where} cannot be listened on: {error.strerror}"]) from error
        self.telemetry.listening(listen.host, self.operations.port)
        sink = sink_for(settings, self.contract)
        background = [asyncio.create_task(self._look_at_logins()), asyncio.create_task(self._sample())]
        background[0].add_done_callback(self._ended_early)
        try:
            cluster_id = await self._until_there()
            verdict = await self._run_pipeline(cluster_id, sink) if cluster_id is not None else None
            self.telemetry.stopped(verdict)
            return verdict
        finally:
            for task in background:
                task.cancel()
            await sink.close()
            await self.operations.stop()

    async def _look_at_logins(self) -> None:
        """Read users and passwords again from their files, every `_LOGINS_SECONDS`."""
        registry = self._settings.registry
        logins = {"kafka": self._settings.kafka.login, "registry": None if registry is None else registry.login}
        while True:
            await asyncio.sleep(_LOGINS_SECONDS)
            for whose, login in logins.items():
                # Not in the loop's executor: a file on a mount that hangs would hold up the end.
                if login is not None and await asyncio.wrap_future(in_daemon(login.look, "logins")):
                    self.telemetry.credentials_changed(whose)
            self.telemetry.look_at_logins()

    async def _sample(self) -> None:
        """Take the samples of the last hour, for as long as the connector runs."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self.telemetry.sample()

    async def _until_there(self) -> str | None:
        """Wait for cluster and topics; return the cluster id, or None if asked to end first."""
        looks = 0
        while not self._shutdown.is_set():
            try:
                cluster_id = await asyncio.to_thread(self._topics.cluster_id)
                self._waiting = await asyncio.to_thread(self._missing)
            except KafkaDenied as error:
                self._waiting = str(error)
                self.telemetry.lacking([self._waiting])
            except KafkaTokenLacking as error:
                self._waiting = str(error)  # the tokens themselves tell an operator
            except KafkaUnavailable as error:
                self._waiting = f"the brokers do not answer: {error}"
            else:
                looks = looks + 1 if self._waiting is not None else 0
                self.telemetry.lacking([self._waiting] if self._waiting and looks >= _TOPIC_LOOKS else [])
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
        """Return why the connector cannot start yet; None if it can. Blocks."""
        sources = self._settings.kafka.topics
        if missing := [topic for topic in sources if self._topics.describe(topic) is None]:
            return (
                f"source topic {', '.join(missing)} does not exist (or may not be described): create it, grant "
                "Describe on it, or correct KAFKA_TOPIC"
            )
        # Lacking the right to the group is fatal to a KIP-848 member, which would start and end for
        # ever.
        try:
            self._topics.committed(TopicPartition(sources[0], 0))
        except KafkaDenied:
            raise
        except KafkaUnavailable:
            # Without the right to find the coordinator, the question above only times out; this one
            # is refused at once.
            self._topics.group_may(self._settings.kafka.group_id)
            raise
        # The session time-out is kept for as long as the process runs, so nothing starts without
        # the answer.
        session_seconds = properties.session_timeout_seconds(self._settings.kafka)
        if session_seconds is None:
            session_seconds = self._topics.session_seconds(self._settings.kafka.group_id)
        self._session_seconds = session_seconds
        return None

    async def _run_pipeline(self, cluster_id: str, sink: AmazonSink) -> str | None:
        settings, telemetry, session_seconds = self._settings, self.telemetry, self._session_seconds
        poll = poll_policy(settings, session_seconds)
        self.pipeline = pipeline = Pipeline(pipeline_policy(settings, self.contract, poll, session_seconds))
        decoder, mapper = decoder_for(settings, telemetry.schema_lacks)
        make = self._codec.make
        batches = None if make is None else BatchCodec(make, decoder, self.contract, settings.dedupe.key_fields)
        telemetry.watch(pipeline, self.contract, mapper, partial(decoder.seen, _SCHEMAS_SHOWN), batches)
        logger = logging.getLogger("librdkafka")
        reported = clients.producer_properties(settings.kafka, telemetry.client_error, logger)
        # Clients are made off the loop, because they may have to wait for a token.
        made = partial(ConfirmingProducer, reported, last_seconds=_LAST_SECONDS, failed=self._failed)
        with await asyncio.to_thread(made) as producer:
            ledger = self._ledger(producer, logger)
            letters = DeadLetters(producer, settings.kafka.group_id, settings.dead_letters.topic_for)
            self._runtime = runtime = Runtime(pipeline, sink, ledger, letters, telemetry, HostClock(), random.random)
            source = await asyncio.to_thread(
                SourceConsumer,
                clients.consumer_properties(settings.kafka, telemetry.client_error, logger, _QUEUE_BYTES),
                poll,
                self._intake(decoder, batches),
                cluster_id,
                runtime.post,
                telemetry,
            )
            if self._shutdown.is_set():
                return None
            settle_garbage()
            watched = monitor_policy(settings)
            monitor = ClusterMonitor(self._topics, self._own_topics, watched, source, runtime.post, telemetry)
            self._vitals = self._vitals_of(pipeline, source, monitor)
            with monitor:
                return await runtime.run(source)

    def _intake(self, decoder: EventDecoder, batches: BatchCodec | None) -> Intake:
        return Intake(
            decoder,
            self.contract,
            self._settings.dedupe.key_fields,
            self.telemetry.record_unforeseen,
            self._settings.batch.max_bytes,
            batches,
            self.telemetry.codec_distrusted,
        )

    def _ledger(self, producer: ConfirmingProducer, logger: logging.Logger) -> KafkaLedger:
        settings = self._settings
        return KafkaLedger(
            ledger_policy(settings),
            self._topics,
            self._own_topics,
            producer,
            clients.reader_properties(settings.kafka, self.telemetry.client_error, logger),
            settings.ledger.topic_for,
            append_time=not self._simulated,
        )

    def _vitals_of(self, pipeline: Pipeline, source: SourceConsumer, monitor: ClusterMonitor) -> Vitals:
        return Vitals(
            partial(status.paused, pipeline),
            partial(status.needs_operator, pipeline),
            self.telemetry.restores,
            source,
            monitor,
            self.telemetry,
            group=self._settings.kafka.group_id,
            drain_seconds=self._settings.drain_timeout_seconds,
            session_seconds=self._session_seconds,
        )


def settle_garbage() -> None:
    """Exempt long-lived objects from garbage collection (docs/limits.md#garbage-collection)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def run(environ: Mapping[str, str]) -> int:
    """Run the connector until a signal; return the exit code.

    Raises:
        SettingsError: with every problem of the settings.
    """
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
            os._exit(FAILED)  # the second signal: nothing is lost, and what was in flight is sent again

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number.name)
    connector = Connector(settings)  # this takes a while, and a signal waits for it as the loop does
    try:
        verdict = await connector.run()
    except SettingsError:
        raise
    except Exception as error:  # noqa: BLE001 - the last frame: logs the reason, then exits
        connector.telemetry.failed(error)
        return FAILED
    return NEEDS_OPERATOR if verdict is not None else 0
