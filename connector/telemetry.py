"""Everything the program can say: each thing its log line and its metric.

Levels: ``info`` what an operator wants to read a day later; ``warning`` unexpected, nothing lost, it goes on by itself;
``error`` an operator is needed. No line, label or page ever holds a match-key value, a token or an event body: what comes in
here are names, numbers, codes and sentences of our own.

Counters that change per event are the pipeline's (`core.statistics`); a scrape reads them, so the hot path says nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO, runtime_checkable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from connector.core import status
from connector.core.doubts import Doubt, Kind
from connector.core.letter_box import TOO_LARGE
from connector.core.pipeline import Pipeline
from connector.core.recovery import Recovery
from connector.core.statistics import AGE_BOUNDS_SECONDS
from connector.errors import SchemaDenied, SchemaUnavailable
from connector.model import Answer, Outcome, RequestFailed, TopicPartition

__all__ = ["Telemetry", "configure_logging"]

_REPEAT_SECONDS = 10.0
"""A line that would repeat is written this often, with the number of those left out."""
_TOO_LARGE = (
    "Dead letters are larger than {} takes: raise its max.message.bytes. One that does not fit by itself is written without "
    "its value, headers or key, and says so; the record in the source topic has them"
)
_FOREIGN_LINES = 10
"""Of one library's logger in that time: enough for a traceback or two, and what came before."""
_REQUEST_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)


_DOUBTS = {
    Kind.REPEATED: "there is copy after copy of one dedupe key: if it is no id of one event (a constant, a customer's id), "
    "all events with it but one are dropped. Look at the records at these places, and mend the producer or DEDUPE_KEY",
    Kind.DIFFERENT: "events of one dedupe key differ in more than their time, and one of them is sent. Look at the records "
    "at these places, and mend the producer or DEDUPE_KEY",
}


def configure_logging(level: str, style: str) -> None:
    """Write structured lines to standard error: ``json`` for machines, ``console`` for people."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if style == "console"
        else structlog.processors.JSONRenderer()
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Any] = [structlog.processors.add_log_level, stamp, structlog.processors.format_exc_info, _event_first]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The libraries' own lines (aiohttp, asyncio, librdkafka) in the same dress.
    lines = _Throttled(sys.stderr)
    lines.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    lines.addFilter(_Seldom())
    logging.basicConfig(level=max(logging.WARNING, getattr(logging, level.upper())), handlers=[lines], force=True)


class _Seldom(logging.Filter):
    """Lets a line of librdkafka pass every `_REPEAT_SECONDS` for each thing it says, as a warning.

    Each client says every failed attempt to connect, to each broker, for as long as there is none: two lines a second. What
    needs an operator is said by lines of our own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write it."""
        if record.name != "librdkafka":
            return True
        what = record.getMessage().partition(" ")[0]  # "FAIL", "REQTMOUT"
        if record.created - self._said_at.get(what, 0.0) < _REPEAT_SECONDS:
            return False
        self._said_at[what] = record.created
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class _Throttled(logging.StreamHandler[TextIO]):
    """Writes `_FOREIGN_LINES` of each library's logger every `_REPEAT_SECONDS`, and then how many it left out.

    What a library says of one thing that went wrong it may say for each connection, and as often as it tries.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._written: dict[str, _Written] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it as left out; called under the handler's lock."""
        written = self._written.get(record.name)
        if written is None or (not written.left_out and not 0 <= record.created - written.since < _REPEAT_SECONDS):
            written = self._written[record.name] = _Written(record.created)
        written.lines += 1
        if written.lines <= _FOREIGN_LINES:
            super().emit(record)
            return
        if not written.left_out:
            timer = threading.Timer(_REPEAT_SECONDS, self._say_left_out, [record.name])
            timer.daemon = True
            timer.start()
        written.left_out += 1

    def _say_left_out(self, name: str) -> None:
        with self.lock or threading.Lock():
            count = self._written.pop(name).left_out
            what = "%d lines of this logger were left out"
            super().emit(logging.LogRecord(name, logging.WARNING, "", 0, what, (count,), None))


@dataclass(slots=True)
class _Written:
    """What was written of one logger since some time."""

    since: float
    lines: int = 0
    left_out: int = 0


def _event_first(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Order a line as people read it: when, how bad, what, and then the rest."""
    first = {name: fields.pop(name) for name in ("timestamp", "level", "event") if name in fields}
    return first | dict(fields)


@runtime_checkable
class _Adjusting(Protocol):
    """A wire contract that counts what it left out or rounded."""

    @property
    def adjustments(self) -> Mapping[str, int]:
        """How often, by what was adjusted."""


class Telemetry:
    """Speaks for one connector. Safe to call from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger()
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self._pipeline: Pipeline | None = None
        self._contract: _Adjusting | None = None
        self._starts: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._lacking_schema = 0
        self.denied_schemas: list[str] = []
        """A sentence on the schema registry that refuses us; it waits for an operator, too."""
        self._operator: list[str] = []
        self.lacks: list[str] = []
        """Sentences on the rights that the brokers do not grant us; they wait for an operator, too."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "connector_requests", "Requests by HTTP status or failure.", ["status"], registry=self._registry
        )
        self._request_seconds = Histogram(
            "connector_request_seconds",
            "One request, from connect to last byte.",
            buckets=_REQUEST_BOUNDS,
            registry=self._registry,
        )
        self._anomalies = Counter(
            "connector_response_anomalies", "Oddities of Amazon's answers.", ["kind"], registry=self._registry
        )
        self._restore_seconds = Gauge(
            "connector_ledger_restore_seconds", "The last restore of a partition from the ledger.", registry=self._registry
        )
        self._commit_failures = Counter("connector_commit_failures", "Commits refused.", ["code"], registry=self._registry)
        self._consumer_errors = Counter(
            "connector_consumer_errors", "Errors of the consumer.", ["code"], registry=self._registry
        )
        self._registry.register(self)

    # ---- what is watched

    def watch(self, pipeline: Pipeline, contract: object) -> None:
        """Read the counters of this pipeline, and of its wire contract if it counts adjustments, at every scrape."""
        self._pipeline = pipeline
        self._contract = contract if isinstance(contract, _Adjusting) else None

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    # ---- what happens

    def started(self, version: str, settings: Iterable[tuple[str, str]], notes: Iterable[str]) -> None:
        """Say what runs, and with which settings (secrets masked)."""
        self._log.info("started", version=version, settings=dict(settings))
        for note in notes:
            self._log.info("note", sentence=note)

    def listening(self, host: str, port: int) -> None:
        """Say where probes and scrapes are answered; with ``LISTEN_PORT=0`` nobody knows before."""
        self._log.info("listening", host=host, port=port)

    def waiting_for(self, sentence: str) -> None:
        """Say what must be there before anything can start."""
        self._seldom("warning", "waiting", sentence, sentence=sentence)

    def assigned(self, partition: TopicPartition) -> None:
        """Say that the group gave us a partition."""
        self._log.info("partition_assigned", partition=str(partition))

    def restored(self, partition: TopicPartition, recovery: Recovery, seconds: float) -> None:
        """Say where a partition starts, and why."""
        self._restore_seconds.set(seconds)
        self._starts[partition] = recovery.offset
        if recovery.committed:
            self._committed[partition] = recovery.offset
        self._log.info(
            "partition_restored",
            partition=str(partition),
            offset=recovery.offset,
            why=recovery.note,
            window_keys=len(recovery.seen),
            seconds=round(seconds, 3),
        )

    def restore_failed(self, partition: TopicPartition, sentence: str, needs_operator: bool) -> None:
        """Say that a partition cannot start."""
        level, event = ("error", "partition_refused") if needs_operator else ("warning", "partition_not_restored")
        self._seldom(level, event, str(partition), partition=str(partition), sentence=sentence)

    def released(self, partition: TopicPartition, unresolved: int) -> None:
        """Say that a partition was given up, and how many records were given back with it."""
        self._log.info("partition_released", partition=str(partition), unresolved=unresolved)
        self._forget(partition)

    def lost(self, partition: TopicPartition) -> None:
        """Say that a partition is ours no longer."""
        self._log.warning("partition_lost", partition=str(partition))
        self._forget(partition)

    def answered(self, answer: Answer, seconds: float, count: int, attempt: int) -> None:
        """Count a request; say so when it failed as a whole."""
        self._request_seconds.observe(seconds)
        for kind in answer.anomalies:
            self._anomalies.labels(kind).inc()
        if isinstance(answer, RequestFailed):
            # Of the endpoint itself the status; of all else (network, token endpoint) the reason says whose it is.
            of_endpoint = answer.reason == f"http-{answer.status}"
            self._requests.labels(str(answer.status) if of_endpoint else answer.reason).inc()
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
            self._requests.labels(str(answer.status)).inc()

    def letter_failed(self, topic: str, code: str) -> None:
        """Say that a dead letter could not be written so; it is written otherwise, or its partition waits."""
        more = {"sentence": _TOO_LARGE.format(topic)} if code in TOO_LARGE else {}
        self._seldom("warning", "dead_letter_not_written", code, topic=topic, code=code, **more)

    def record_unforeseen(self, partition: TopicPartition, offset: int, kind: str) -> None:
        """Say that reading a record failed in a way that nobody foresaw; it becomes a dead letter."""
        self._seldom("warning", "record_unforeseen", kind, partition=str(partition), offset=offset, kind=kind)

    def facts_failed(self, partition: TopicPartition, code: str) -> None:
        """Say that facts could not be written; they are written again."""
        self._seldom("warning", "facts_not_written", code, partition=str(partition), code=code)

    def consumer_error(self, code: str, partition: TopicPartition | None) -> None:
        """Say what the consumer reported; it goes on by itself."""
        self._consumer_errors.labels(code).inc()
        self._seldom("warning", "consumer_error", code, code=code, partition=str(partition) if partition else None)

    def client_error(self, client: str, code: str) -> None:
        """Say what a Kafka client reported of its connections; it goes on by itself."""
        self._seldom("warning", "kafka_unreachable", f"{client} {code}", client=client, code=code)

    def schema_unavailable(self, failure: SchemaUnavailable | None, partitions: int) -> None:
        """Say that so many partitions wait for a schema, whether an operator must help, and when none does any more."""
        if failure is not None:
            self._seldom("warning", "schema_unavailable", "", sentence=str(failure))
        elif self._lacking_schema:
            self._log.info("schema_available")
        self._lacking_schema = partitions
        denied, before = [failure.sentence] if isinstance(failure, SchemaDenied) else [], self.denied_schemas
        self.denied_schemas = denied
        self._operator_needed(before, denied)

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Take note of a partition's end offset."""
        with self._lock:
            if partition in self._starts:
                self._ends[partition] = end_offset

    def lacking(self, sentences: list[str]) -> None:
        """Say which rights the brokers do not grant us, once, and that they do again."""
        self.lacks, before = sentences, self.lacks
        self._operator_needed(before, sentences)

    def committed(self, partition: TopicPartition, next_offset: int) -> None:
        """Take note of a commit; the last one of a partition is made after we said that it is given up."""
        with self._lock:
            if partition in self._starts:
                self._committed[partition] = next_offset

    def commit_failed(self, partition: TopicPartition, code: str) -> None:
        """Say that a commit was refused: no harm, for the facts are in the ledger."""
        self._commit_failures.labels(code).inc()
        self._seldom("warning", "commit_refused", code, partition=str(partition), code=code)

    def needs_operator(self, sentences: list[str]) -> None:
        """Say what an operator must do, once, and that it is done."""
        self._operator, before = sentences, self._operator
        self._operator_needed(before, sentences)

    def _operator_needed(self, before: list[str], now: list[str]) -> None:
        for sentence in now:
            if sentence not in before:
                self._log.error("operator_needed", sentence=sentence)
        for sentence in before:
            if sentence not in now:
                self._log.info("operator_no_longer_needed", sentence=sentence)

    def key_doubted(self, doubt: Doubt) -> None:
        """Say that a dedupe key may say nothing, and where in Kafka it stands."""
        places = {"first": doubt.first, "last": doubt.last, "copies": doubt.copies}
        self._seldom(
            "warning", "dedupe_key_doubtful", doubt.kind, kind=doubt.kind.value, **places, sentence=_DOUBTS[doubt.kind]
        )

    def draining(self, signal: str) -> None:
        """Say that the process was asked to end."""
        self._log.info("draining", signal=signal)

    def group_not_left(self) -> None:
        """Say that the brokers did not take leave of us: the group misses us when the session ends."""
        self._log.warning("group_not_left")

    def stopped(self, verdict: str | None) -> None:
        """Say that everything is drained, or why it stops."""
        counts = self._pipeline.statistics if self._pipeline else None
        outcomes = {outcome.name.lower(): counts.outcomes[outcome] for outcome in Outcome} if counts else {}
        if verdict is None:
            self._log.info("stopped", **outcomes)
        else:
            self._log.error("stopped", verdict=verdict, **outcomes)

    def failed(self, error: BaseException) -> None:
        """Say that the process ends for a reason nobody foresaw."""
        self._log.error("failed", kind=type(error).__name__, sentence=str(error), exc_info=error)

    # ---- looking at it

    def rows(self) -> list[tuple[str, str, int | None, int | None]]:
        """Return for each partition of ours: its name, phase, committed offset and lag."""
        if self._pipeline is None:
            return []
        return [
            (str(part.partition), part.phase.value, self._committed.get(part.partition), self._lag(part.partition))
            for part in self._pipeline.assignments
        ]

    def describe(self) -> list[Metric]:
        """Name no metrics in advance: a scrape before the start must not fail."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return what is read at a scrape."""
        pipeline = self._pipeline
        if pipeline is None:
            return
        counts = pipeline.statistics
        yield _counter("connector_records", "Records taken in.", counts.records)
        outcomes = CounterMetricFamily("connector_events", "Records by what became of them.", labels=["outcome"])
        for outcome in Outcome:
            outcomes.add_metric([outcome.name.lower()], counts.outcomes[outcome])
        outcomes.add_metric(["already_resolved"], counts.already_resolved)
        yield outcomes
        yield _counters("connector_dead_letters", "Dead letters by reason.", "reason", counts.dead_letters)
        yield _counters("connector_retries", "Events sent again, by reason.", "reason", counts.retries)
        doubtful = counts.doubtful_duplicates
        yield _counters("connector_doubtful_duplicates", "Duplicates whose key may say nothing.", "kind", doubtful)
        yield _counter("connector_released", "Records given back unresolved at a revoke.", counts.released)
        yield _counter("connector_late_answers", "Verdicts on events of assignments that had ended.", counts.late_answers)
        if self._contract is not None:
            adjusted = self._contract.adjustments
            yield _counters("connector_adjustments", "Inputs left out, rounded, or read as another.", "what", adjusted)
        yield _gauge(
            "connector_buffered_events", "Records neither in flight nor resolved.", status.buffered_events(pipeline)
        )
        yield _gauge("connector_held_bytes", "Size of records buffered and in flight.", status.held_bytes(pipeline))
        yield _gauge("connector_in_flight_events", "Events in requests.", status.in_flight_events(pipeline))
        yield _gauge("connector_in_flight_requests", "Requests out.", pipeline.dispatch.requests)
        yield _gauge("connector_concurrency_limit", "Requests that may be out at once.", pipeline.dispatch.limit)
        yield _gauge("connector_batch_bytes_limit", "Size that request bodies stay below.", pipeline.dispatch.most_bytes)
        seen = [part.window.seen for part in pipeline.assignments]
        yield _gauge("connector_window_keys", "Dedupe keys that count as seen.", sum(len(keys) for keys in seen))
        yield _gauge("connector_window_bytes", "Memory of those keys.", sum(keys.size_bytes for keys in seen))
        waiting = len(self.lacks) + len(self.denied_schemas) + len(status.needs_operator(pipeline))
        yield _gauge("connector_operator_needed", "Sentences that wait for an operator.", waiting)
        paused = GaugeMetricFamily("connector_paused", "Partitions held up, by reason.", labels=["reason"])
        schema = {"schema": self._lacking_schema}
        for reason, partitions in (status.paused(pipeline) | schema).items():
            paused.add_metric([reason], partitions)
        yield paused
        yield _ages(counts.event_to_ack, counts.event_to_ack_seconds)
        yield from self._offsets()

    def _offsets(self) -> Iterable[Metric]:
        committed = GaugeMetricFamily("connector_committed_offset", "Next offset committed.", labels=["topic", "partition"])
        lag = GaugeMetricFamily("connector_lag", "Records after the committed offset.", labels=["topic", "partition"])
        for partition in list(self._starts):
            labels = [partition.topic, str(partition.partition)]
            if (offset := self._committed.get(partition)) is not None:
                committed.add_metric(labels, offset)
            if (behind := self._lag(partition)) is not None:
                lag.add_metric(labels, behind)
        return committed, lag

    def _lag(self, partition: TopicPartition) -> int | None:
        done = self._committed.get(partition, self._starts.get(partition))  # before the first commit, from where it starts
        end = self._ends.get(partition)
        return None if done is None or end is None else max(0, end - done)

    def _forget(self, partition: TopicPartition) -> None:
        with self._lock:
            self._starts.pop(partition, None)
            self._committed.pop(partition, None)
            self._ends.pop(partition, None)

    def _seldom(self, level: str, event: str, key: str, **fields: object) -> None:
        with self._lock:
            now = self._clock()
            said_at, left_out = self._said.get((event, key), (float("-inf"), 0))
            if now - said_at < _REPEAT_SECONDS:
                self._said[event, key] = (said_at, left_out + 1)
                return
            self._said[event, key] = (now, 0)
        if left_out:
            fields["left_out"] = left_out
        getattr(self._log, level)(event, **fields)


def _counter(name: str, text: str, value: float) -> Metric:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in list(values.items()):
        family.add_metric([str(value)], count)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _ages(counts: list[int], total_seconds: float) -> Metric:
    buckets, reached = [], 0
    for bound, count in zip([*map(str, AGE_BOUNDS_SECONDS), "+Inf"], counts, strict=True):
        reached += count
        buckets.append((bound, reached))
    family = HistogramMetricFamily("connector_event_to_ack_seconds", "Age of an event when Amazon acknowledged it.")
    family.add_metric([], buckets, total_seconds)
    return family
