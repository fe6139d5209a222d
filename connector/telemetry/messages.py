"""Everything the program can say: each thing its log line and its metric.

Levels: ``info`` what an operator wants to read a day later; ``warning`` unexpected, nothing lost, it goes on by itself;
``error`` an operator is needed. No line, label or page ever holds a match-key value, a token or an event body: what comes in
here are names, numbers, codes and texts of our own.

Counters that change per event are the pipeline's (`core.statistics`); a scrape reads them, so the hot path says nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import structlog

from connector.core.doubts import Doubt, Kind
from connector.core.letter_box import TOO_LARGE
from connector.core.pipeline import Pipeline
from connector.core.recovery import Recovery
from connector.errors import SchemaDenied, SchemaUnavailable
from connector.model import Answer, Outcome, RequestFailed, TopicPartition
from connector.telemetry.logging import REPEAT_SECONDS
from connector.telemetry.metrics import Metrics

__all__ = ["Telemetry"]

_TOO_LARGE = (
    "Dead letters are larger than {} takes: raise its max.message.bytes. One that does not fit by itself is written without "
    "its value, headers or key, and says so; the record in the source topic has them"
)

_DOUBTS = {
    Kind.REPEATED: "there is copy after copy of one dedupe key: if it is no id of one event (a constant, a customer's id), "
    "all events with it but one are dropped. Look at the records at these places, and fix the producer or DEDUPE_KEY",
    Kind.DIFFERENT: "events of one dedupe key differ in more than their time, and one of them is sent. Look at the records "
    "at these places, and fix the producer or DEDUPE_KEY",
}


class Telemetry:
    """Speaks for one connector. Safe to call from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger()
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self.denied_schemas: list[str] = []
        """A message on the schema registry that refuses us; it waits for an operator, too."""
        self._operator: list[str] = []
        self.lacks: list[str] = []
        """Sentences on the rights that the brokers do not grant us; they wait for an operator, too."""
        self._metrics = Metrics(lambda: len(self.lacks) + len(self.denied_schemas))

    # ---- what is shown

    def watch(self, pipeline: Pipeline, contract: object) -> None:
        """Read the counters of this pipeline, and of its wire contract if it counts adjustments, at every scrape."""
        self._metrics.watch(pipeline, contract)

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return self._metrics.exposition()

    def rows(self) -> list[tuple[str, str, int | None, int | None]]:
        """Return for each partition of ours: its name, phase, committed offset and lag."""
        return self._metrics.rows()

    # ---- what happens

    def started(self, version: str, settings: Iterable[tuple[str, str]], notes: Iterable[str]) -> None:
        """Say what runs, and with which settings (secrets masked)."""
        self._log.info("started", version=version, settings=dict(settings))
        for note in notes:
            self._log.info("note", message=note)

    def listening(self, host: str, port: int) -> None:
        """Say where probes and scrapes are answered; with ``LISTEN_PORT=0`` nobody knows before."""
        self._log.info("listening", host=host, port=port)

    def waiting_for(self, message: str) -> None:
        """Say what must be there before anything can start."""
        self._seldom("warning", "waiting", message, message=message)

    def assigned(self, partition: TopicPartition) -> None:
        """Say that the group gave us a partition."""
        self._log.info("partition_assigned", partition=str(partition))

    def restored(self, partition: TopicPartition, recovery: Recovery, seconds: float) -> None:
        """Say where a partition starts, and why."""
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
        """Say that a partition cannot start."""
        level, event = ("error", "partition_refused") if needs_operator else ("warning", "partition_not_restored")
        self._seldom(level, event, str(partition), partition=str(partition), message=message)

    def released(self, partition: TopicPartition, unresolved: int) -> None:
        """Say that a partition was given up, and how many records were given back with it."""
        self._log.info("partition_released", partition=str(partition), unresolved=unresolved)
        self._metrics.forget(partition)

    def lost(self, partition: TopicPartition) -> None:
        """Say that a partition is ours no longer."""
        self._log.warning("partition_lost", partition=str(partition))
        self._metrics.forget(partition)

    def answered(self, answer: Answer, seconds: float, count: int, attempt: int) -> None:
        """Count a request; say so when it failed as a whole."""
        self._metrics.request_seconds.observe(seconds)
        for kind in answer.anomalies:
            self._metrics.anomalies.labels(kind).inc()
        if isinstance(answer, RequestFailed):
            # Of the endpoint itself the status; of all else (network, token endpoint) the reason says whose it is.
            of_endpoint = answer.reason == f"http-{answer.status}"
            self._metrics.requests.labels(str(answer.status) if of_endpoint else answer.reason).inc()
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
            self._metrics.requests.labels(str(answer.status)).inc()

    def letter_failed(self, topic: str, code: str) -> None:
        """Say that a dead letter could not be written so; it is written otherwise, or its partition waits."""
        more = {"message": _TOO_LARGE.format(topic)} if code in TOO_LARGE else {}
        self._seldom("warning", "dead_letter_not_written", code, topic=topic, code=code, **more)

    def record_unforeseen(self, partition: TopicPartition, offset: int, kind: str) -> None:
        """Say that reading a record failed in a way that nobody foresaw; it becomes a dead letter."""
        self._seldom("warning", "record_unforeseen", kind, partition=str(partition), offset=offset, kind=kind)

    def facts_failed(self, partition: TopicPartition, code: str) -> None:
        """Say that facts could not be written; they are written again."""
        self._seldom("warning", "facts_not_written", code, partition=str(partition), code=code)

    def consumer_error(self, code: str, partition: TopicPartition | None) -> None:
        """Say what the consumer reported; it goes on by itself."""
        self._metrics.consumer_errors.labels(code).inc()
        self._seldom("warning", "consumer_error", code, code=code, partition=str(partition) if partition else None)

    def client_error(self, client: str, code: str) -> None:
        """Say what a Kafka client reported of its connections; it goes on by itself."""
        self._seldom("warning", "kafka_unreachable", f"{client} {code}", client=client, code=code)

    def schema_unavailable(self, failure: SchemaUnavailable | None, partitions: int) -> None:
        """Say that so many partitions wait for a schema, whether an operator must help, and when none does any more."""
        if failure is not None:
            self._seldom("warning", "schema_unavailable", "", message=str(failure))
        elif self._metrics.lacking_schema:
            self._log.info("schema_available")
        self._metrics.lacking_schema = partitions
        denied, before = [failure.sentence] if isinstance(failure, SchemaDenied) else [], self.denied_schemas
        self.denied_schemas = denied
        self._operator_needed(before, denied)

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Take note of a partition's end offset."""
        self._metrics.lag(partition, end_offset)

    def lacking(self, messages: list[str]) -> None:
        """Say which rights the brokers do not grant us, once, and that they do again."""
        self.lacks, before = messages, self.lacks
        self._operator_needed(before, messages)

    def committed(self, partition: TopicPartition, next_offset: int) -> None:
        """Take note of a commit; the last one of a partition is made after we said that it is given up."""
        self._metrics.committed(partition, next_offset)

    def commit_failed(self, partition: TopicPartition, code: str) -> None:
        """Say that a commit was refused: no harm, for the facts are in the ledger."""
        self._metrics.commit_failures.labels(code).inc()
        self._seldom("warning", "commit_refused", code, partition=str(partition), code=code)

    def needs_operator(self, messages: list[str]) -> None:
        """Say what an operator must do, once, and that it is done."""
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
        """Say that a dedupe key may say nothing, and where in Kafka it stands."""
        places = {"first": doubt.first, "last": doubt.last, "copies": doubt.copies}
        self._seldom(
            "warning", "dedupe_key_doubtful", doubt.kind, kind=doubt.kind.value, **places, message=_DOUBTS[doubt.kind]
        )

    def draining(self, signal: str) -> None:
        """Say that the process was asked to end."""
        self._log.info("draining", signal=signal)

    def group_not_left(self) -> None:
        """Say that the brokers did not take leave of us: the group misses us when the session ends."""
        self._log.warning("group_not_left")

    def stopped(self, verdict: str | None) -> None:
        """Say that everything is drained, or why it stops."""
        pipeline = self._metrics.pipeline
        counts = pipeline.statistics if pipeline else None
        outcomes = {outcome.name.lower(): counts.outcomes[outcome] for outcome in Outcome} if counts else {}
        if verdict is None:
            self._log.info("stopped", **outcomes)
        else:
            self._log.error("stopped", verdict=verdict, **outcomes)

    def failed(self, error: BaseException) -> None:
        """Say that the process ends for a reason nobody foresaw."""
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
