"""Each event that the program can report, with its log line and its metric.

The levels:

- ``info``: what an operator wants to read a day later.
- ``warning``: unexpected, but nothing is lost and the connector goes on by itself.
- ``error``: an operator is needed.

No line, label or page ever contains a match-key value, a token or an event body. The arguments of
these methods are names, numbers, codes and texts of our own.

Counters that change per event belong to the pipeline (`core.statistics`). A scrape reads them, so
the hot path calls nothing here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from connector.core.doubts import Doubt, DoubtKind
from connector.core.pipeline import Pipeline
from connector.core.recovery import Recovery
from connector.core.refused_writes import TOO_LARGE
from connector.errors import SchemaDenied, SchemaUnavailable
from connector.mapping.plan import Mapper
from connector.model import Answer, Flaw, Outcome, RequestFailed, TopicPartition
from connector.telemetry.logging import REPEAT_SECONDS
from connector.telemetry.metrics import Metrics
from connector.telemetry.overview import Overview

__all__ = ["Telemetry"]

_TOO_LARGE = (
    "Dead letters are larger than {} accepts: raise its max.message.bytes. A letter that is too large by itself is written "
    "without its value, headers or key, and says so. The record in the source topic has them"
)

_DOUBTS = {
    DoubtKind.REPEATED: "very many records have the same dedupe key. If it does not identify one event (a constant, a "
    "customer's id), all events with it but one are dropped. Look at the records that `first` and `last` name, and fix "
    "the producer or DEDUPE_KEY",
    DoubtKind.DIFFERENT: "events with the same dedupe key differ in more than their time, and only one of them is sent. "
    "Look at the records that `first` and `last` name, and fix the producer or DEDUPE_KEY",
}

_DISTRUSTED = (
    "native code read a record differently from Python, or failed. The connector sends Python's result, and Python "
    "reads all records from now on. Please report it, with the version and the writer's schema"
)
_NO_AUTHENTICATION = "_AUTHENTICATION"
"""How Kafka's client reports that a broker refuses its login, each time that it connects."""
_LOGIN_REFUSED_SECONDS = 25.0
"""How long a refused login counts. The client connects again every 10 s at the latest."""
_LOGIN_REFUSED = (
    "the brokers refuse this client's login: check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD, or the claims of the token. "
    "Files of user and password are read again every 10 s"
)


class Telemetry:
    """Reports the events of one connector. Safe to call from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger()
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self._progress_said_at: dict[TopicPartition, float] = {}
        self.denied_schemas: list[str] = []
        """Messages about a schema registry that refuses this client. They need an operator."""
        self._operator: list[str] = []
        self.lacks: list[str] = []
        """Messages about rights that the brokers do not grant. Each needs an operator."""
        self._no_token: list[str] = []
        self._login_refused: list[str] = []
        self._login_refused_at = float("-inf")
        self._metrics = Metrics(lambda: len(self.lacks) + len(self.denied_schemas) + len(self.no_login))
        self._overview = Overview(clock())

    @property
    def no_login(self) -> list[str]:
        """Messages about Kafka's clients that cannot log in. Each needs an operator."""
        return self._no_token or self._login_refused

    # ---- scrapes and pages

    def watch(
        self,
        pipeline: Pipeline,
        contract: object,
        mapper: Mapper | None = None,
        schemas: Callable[[], Sequence[tuple[str, str, str]]] = list,
        codec: object = None,
    ) -> None:
        """Show the counters of a pipeline, its mapping, its contract and its codec.

        ``schemas`` returns the newest schemas that records came with.
        """
        self._metrics.watch(pipeline, contract, mapper, codec)
        self._overview.schemas = schemas

    def watch_health(self, ready: Callable[[], bool]) -> None:
        """Show whether the connector is ready."""
        self._metrics.ready = ready

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics, as a request with this ``Accept`` wants them, and their type."""
        return self._metrics.exposition(accept)

    def progress(self) -> dict[TopicPartition, tuple[int | None, int | None]]:
        """Return committed offset and lag of each assigned partition."""
        return self._metrics.progress()

    def sample(self) -> None:
        """Take a sample for the pictures of the last hour."""
        lags = [lag for _, lag in self.progress().values() if lag is not None]
        self._overview.sample(self._metrics.pipeline, sum(lags) if lags else None, self._clock())

    def overview(self) -> dict[str, Any]:
        """Return what the page and ``connector top`` show of the pipeline, as JSON has it."""
        metrics = self._metrics
        return self._overview.document(
            metrics.pipeline, metrics.mapper, metrics.adjustments(), self.progress(), metrics.lacking_schema, self._clock()
        )

    def restores(self) -> Mapping[TopicPartition, tuple[int, int]]:
        """Return, for each ledger partition being read, the entries read and their total."""
        return self._metrics.restores

    # ---- events

    def started(self, build: Mapping[str, str], settings: Iterable[tuple[str, str]], notes: Iterable[str]) -> None:
        """Log the build, a field for each of its parts, and the settings, with secrets masked."""
        self._metrics.build.info(dict(build))
        self._log.info("started", **build, settings=dict(settings))
        for note in notes:
            self._log.info("note", message=note)

    def refresh_token_expires(self, timestamp: float | None) -> None:
        """Store the second (since 1970) at which the refresh token ends; None if unknown."""
        self._metrics.refresh_token_expires = timestamp

    def schema_lacks(self, message: str) -> None:
        """Say which inputs a schema cannot give; events go without them."""
        self._log.info("schema_lacks", message=message)

    def listening(self, host: str, port: int) -> None:
        """Log where probes and scrapes are answered.

        With ``LISTEN_PORT=0``, only this line tells the port.
        """
        self._log.info("listening", host=host, port=port)

    def waiting_for(self, message: str) -> None:
        """Log what must be there before the connector can start."""
        self._seldom("warning", "waiting", message, message=message)

    def assigned(self, partition: TopicPartition) -> None:
        """Log that the group assigned a partition to this member."""
        self._log.info("partition_assigned", partition=str(partition))

    def restoring(self, partition: TopicPartition, read: int, of: int) -> None:
        """Store how many entries of a partition's ledger are read.

        If that takes longer than ten seconds, log the progress every ten seconds.
        """
        now, restores = self._clock(), self._metrics.restores
        if partition not in restores:
            self._progress_said_at[partition] = now
        restores[partition] = read, of
        if now - self._progress_said_at[partition] >= REPEAT_SECONDS:
            self._progress_said_at[partition] = now
            self._log.info("partition_restoring", partition=str(partition), entries=read, of=of)

    def restored(self, partition: TopicPartition, recovery: Recovery, seconds: float) -> None:
        """Log where a partition starts, and why."""
        self._metrics.restored(partition, recovery, seconds)
        self._log.info(
            "partition_restored",
            partition=str(partition),
            offset=recovery.offset,
            why=recovery.note,
            window_keys=len(recovery.seen),
            seconds=round(seconds, 3),
        )

    def restore_failed(self, partition: TopicPartition, message: str, needs_operator: bool) -> None:
        """Log that a partition cannot start."""
        self._metrics.restores.pop(partition, None)
        level, event = ("error", "partition_refused") if needs_operator else ("warning", "partition_not_restored")
        self._seldom(level, event, str(partition), partition=str(partition), message=message)

    def released(self, partition: TopicPartition, unresolved: int) -> None:
        """Log that a partition was given up, and how many unresolved records went back with it."""
        self._log.info("partition_released", partition=str(partition), unresolved=unresolved)
        self._metrics.forget(partition)

    def lost(self, partition: TopicPartition) -> None:
        """Log that a partition was lost."""
        self._log.warning("partition_lost", partition=str(partition))
        self._metrics.forget(partition)

    def answered(self, answer: Answer, seconds: float, count: int, attempt: int) -> None:
        """Count a request. Log it if it failed as a whole."""
        self._metrics.request_seconds.observe(seconds)
        for kind in answer.anomalies:
            self._metrics.anomalies.labels(kind).inc()
        if isinstance(answer, RequestFailed):
            # An answer of the endpoint itself is counted by its status. Any other failure (network,
            # token endpoint) is counted by its reason, which says whose failure it is.
            of_endpoint = answer.reason == f"http-{answer.status}"
            status = str(answer.status) if of_endpoint else answer.reason
            self._seldom(
                "warning",
                "request_failed",
                answer.reason,
                reason=answer.reason,
                events=count,
                attempt=attempt + 1,
                detail=answer.detail,
                seconds=round(seconds, 3),
            )
        else:
            status = str(answer.status)
        self._metrics.requests.labels(status).inc()
        self._overview.answers.note(status, seconds, self._clock(), success=not isinstance(answer, RequestFailed))

    def letter_written(self, partition: TopicPartition, offset: int, flaw: Flaw) -> None:
        """Keep why a record became a dead letter, for the page."""
        self._overview.refused(partition, offset, flaw, self._clock())

    def letter_failed(self, topic: str, code: str) -> None:
        """Log that a dead letter could not be written as it was.

        It is written smaller, or its partition waits.
        """
        more = {"message": _TOO_LARGE.format(topic)} if code in TOO_LARGE else {}
        self._seldom("warning", "dead_letter_not_written", code, topic=topic, code=code, **more)

    def record_unforeseen(self, partition: TopicPartition, offset: int, kind: str) -> None:
        """Log that reading a record failed in an unforeseen way.

        The record becomes a dead letter.
        """
        self._seldom("warning", "record_unforeseen", kind, partition=str(partition), offset=offset, kind=kind)

    def codec_distrusted(self, reason: str) -> None:
        """Log that native code is not used for records any more.

        It failed, or read a record differently from Python.
        """
        self._metrics.codec_distrusted.labels(reason).inc()
        self._log.warning("codec_distrusted", reason=reason, message=_DISTRUSTED)

    def facts_failed(self, partition: TopicPartition, topic: str, code: str) -> None:
        """Log that facts could not be written. They are written again."""
        self._seldom("warning", "facts_not_written", code, partition=str(partition), topic=topic, code=code)

    def consumer_error(self, code: str, partition: TopicPartition | None) -> None:
        """Log an error that the consumer reported. The consumer goes on by itself."""
        self._metrics.consumer_errors.labels(code).inc()
        self._seldom("warning", "consumer_error", code, code=code, partition=str(partition) if partition else None)

    def client_error(self, client: str, code: str) -> None:
        """Log a connection error that a Kafka client reported. The client goes on by itself."""
        if code == _NO_AUTHENTICATION and not self._no_token:  # without a token it says the same
            self._login_refused_at = self._clock()
        self._seldom("warning", "kafka_unreachable", f"{client} {code}", client=client, code=code)

    def schema_unavailable(self, failure: SchemaUnavailable | None, partitions: int) -> None:
        """Log that partitions wait for a schema, and when none waits any more.

        ``failure`` is None when none waits. A registry that refuses this client needs an operator.
        """
        if failure is not None:
            self._seldom("warning", "schema_unavailable", "", message=str(failure))
        elif self._metrics.lacking_schema:
            self._log.info("schema_available")
        self._metrics.lacking_schema = partitions
        before = self.denied_schemas
        self.denied_schemas = [failure.message] if isinstance(failure, SchemaDenied) else []
        self._operator_needed(before, self.denied_schemas)

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Store a partition's end offset."""
        self._metrics.lag(partition, end_offset)

    def lacking(self, messages: list[str]) -> None:
        """Log each right that the brokers do not grant, once, and when they grant it again."""
        self.lacks, before = messages, self.lacks
        self._operator_needed(before, messages)

    def topics_changed(self, source: str, message: str) -> None:
        """Log that the ledger or the dead-letter topic is gone, or loses what is written to it."""
        self._seldom("warning", "topics_changed", message, topic=source, message=message)

    def login_lacks(self, messages: list[str]) -> None:
        """Log what Kafka's clients lack to log in, once, and when they have it again."""
        with self._lock:  # each client asks on a thread of its own
            before, self._no_token = self._no_token, messages
        self._operator_needed(before, messages)

    def credentials_changed(self, whose: str) -> None:
        """Log that user or password have changed in their files."""
        self._log.info("credentials_changed", whose=whose)

    def look_at_logins(self) -> None:
        """Report that the brokers refuse our login, or no longer do. Called every few seconds."""
        refused = self._clock() - self._login_refused_at < _LOGIN_REFUSED_SECONDS
        before, self._login_refused = self._login_refused, [_LOGIN_REFUSED] if refused else []
        self._operator_needed(before, self._login_refused)

    def committed(self, partition: TopicPartition, next_offset: int) -> None:
        """Store a committed offset. A partition's last commit comes after `released`."""
        self._metrics.committed(partition, next_offset)

    def commit_failed(self, partition: TopicPartition, code: str) -> None:
        """Log that a commit was refused. This does no harm, because the facts are in the ledger."""
        self._metrics.commit_failures.labels(code).inc()
        self._seldom("warning", "commit_refused", code, partition=str(partition), code=code)

    def needs_operator(self, messages: list[str]) -> None:
        """Log what an operator must do, once, and when it is done."""
        self._operator, before = messages, self._operator
        self._operator_needed(before, messages)

    def _operator_needed(self, before: list[str], now: list[str]) -> None:
        for message in now:
            if message not in before:
                self._log.error("operator_needed", message=message)
        for message in before:
            if message not in now:
                self._log.info("operator_no_longer_needed", message=message)

    def key_doubted(self, doubt: Doubt) -> None:
        """Log that a dedupe key may not identify an event, and which records have it."""
        places = {"first": doubt.first, "last": doubt.last, "copies": doubt.copies}
        self._seldom(
            "warning", "dedupe_key_doubtful", doubt.kind, kind=doubt.kind.value, **places, message=_DOUBTS[doubt.kind]
        )

    def draining(self, signal: str) -> None:
        """Log the signal that asked the process to end."""
        self._log.info("draining", signal=signal)

    def group_not_left(self) -> None:
        """Log that the brokers did not confirm our leaving.

        The group waits until our session ends.
        """
        self._log.warning("group_not_left")

    def stopped(self, verdict: str | None) -> None:
        """Log that everything is drained, or which verdict stops the connector."""
        pipeline = self._metrics.pipeline
        counts = pipeline.statistics if pipeline else None
        outcomes = {outcome.name.lower(): counts.outcomes[outcome] for outcome in Outcome} if counts else {}
        if verdict is None:
            self._log.info("stopped", **outcomes)
        else:
            self._log.error("stopped", verdict=verdict, **outcomes)

    def failed(self, error: BaseException) -> None:
        """Log the unforeseen error that ends the process."""
        self._log.error("failed", kind=type(error).__name__, message=str(error), exc_info=error)

    def _seldom(self, level: str, event: str, key: str, **fields: object) -> None:
        with self._lock:
            now = self._clock()
            said_at, left_out = self._said.get((event, key), (float("-inf"), 0))
            if now - said_at < REPEAT_SECONDS:
                self._said[event, key] = (said_at, left_out + 1)
                return
            self._said[event, key] = (now, 0)
        if left_out:
            fields["left_out"] = left_out
        getattr(self._log, level)(event, **fields)
