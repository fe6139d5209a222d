"""What a scrape reads: our own counters, the pipeline's, and the progress by partition."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from connector.core import status
from connector.core.pipeline import Pipeline
from connector.core.recovery import Recovery
from connector.core.statistics import AGE_BOUNDS_SECONDS
from connector.mapping.plan import Mapper
from connector.model import Outcome, Reason, TopicPartition

__all__ = ["Metrics"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS_VERSIONS = frozenset({"", "1.0.0"})
"""Versions of OpenMetrics that a request may ask for. It gets the text format for any other."""

_REQUEST_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)


@runtime_checkable
class _Adjusting(Protocol):
    """A wire contract that counts what it left out or rounded."""

    @property
    def adjustments(self) -> Mapping[str, int]:
        """The number of adjustments, by what was adjusted."""


@runtime_checkable
class _Declining(Protocol):
    """A codec that counts the records that it leaves to Python."""

    @property
    def declined(self) -> Mapping[str, int]:
        """The number of such records, by reason."""


class Metrics:
    """The metrics of one connector. Safe to call from any thread.

    ``messages`` counts the messages that need an operator, apart from the pipeline's.
    """

    def __init__(self, messages: Callable[[], int]) -> None:
        self._messages = messages
        self.ready: Callable[[], bool] = lambda: False
        """Returns whether the connector is ready."""
        self._lock = threading.Lock()
        self.pipeline: Pipeline | None = None
        self._contract: _Adjusting | None = None
        self._codec: _Declining | None = None
        self.mapper: Mapper | None = None
        self.restores: dict[TopicPartition, tuple[int, int]] = {}
        """For each ledger partition that is being read, the entries read and their total."""
        self._starts: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self.refresh_token_expires: float | None = None
        """The second (since 1970) at which the refresh token ends; None if that is not known."""
        self.lacking_schema = 0
        """The number of partitions that wait for a schema."""
        self._registry = CollectorRegistry()
        self.build = Info("connector_build", "The build that runs; always 1.", registry=self._registry)
        self.requests = Counter(
            "connector_requests", "Requests by HTTP status or failure.", ["status"], registry=self._registry
        )
        self.request_seconds = Histogram(
            "connector_request_seconds",
            "Duration of a request, from connect to last byte.",
            buckets=_REQUEST_BOUNDS,
            registry=self._registry,
        )
        self.anomalies = Counter(
            "connector_response_anomalies", "Anomalies in Amazon's answers.", ["kind"], registry=self._registry
        )
        self.restore_seconds = Gauge(
            "connector_ledger_restore_seconds",
            "Duration of the last restore of a partition, without the wait for its turn.",
            registry=self._registry,
        )
        self.commit_failures = Counter(
            "connector_commit_failures", "Commits that were refused.", ["code"], registry=self._registry
        )
        self.consumer_errors = Counter(
            "connector_consumer_errors", "Errors that the consumer reported.", ["code"], registry=self._registry
        )
        self.codec_distrusted = Counter(
            "connector_codec_distrusted",
            "Times that the connector stopped using native code for records, by reason.",
            ["reason"],
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def watch(self, pipeline: Pipeline, contract: object, mapper: Mapper | None, codec: object = None) -> None:
        """Show the counters of a pipeline, its mapping, its contract and its codec."""
        self.pipeline = pipeline
        self.mapper = mapper
        self._contract = contract if isinstance(contract, _Adjusting) else None
        self._codec = codec if isinstance(codec, _Declining) else None

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their content type: OpenMetrics or Prometheus' text format.

        ``accept`` is the request's header of that name.
        """
        if _wants_openmetrics(accept):
            return openmetrics.generate_latest(self._registry), openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), _TEXT

    # ---- progress of each partition

    def restored(self, partition: TopicPartition, recovery: Recovery, seconds: float) -> None:
        """Store where a partition starts."""
        self.restores.pop(partition, None)
        self.restore_seconds.set(seconds)
        self._starts[partition] = recovery.offset
        if recovery.committed:
            self._committed[partition] = recovery.offset

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Store a partition's end offset."""
        with self._lock:
            if partition in self._starts:
                self._ends[partition] = end_offset

    def committed(self, partition: TopicPartition, next_offset: int) -> None:
        """Store a committed offset.

        A partition's last commit comes after `forget`, and is left out.
        """
        with self._lock:
            if partition in self._starts:
                self._committed[partition] = next_offset

    def forget(self, partition: TopicPartition) -> None:
        """Stop showing a partition."""
        self.restores.pop(partition, None)
        with self._lock:
            self._starts.pop(partition, None)
            self._committed.pop(partition, None)
            self._ends.pop(partition, None)

    def progress(self) -> dict[TopicPartition, tuple[int | None, int | None]]:
        """Return committed offset and lag of each assigned partition."""
        mine = self.pipeline.assignments if self.pipeline is not None else []
        return {each.partition: (self._committed.get(each.partition), self._lag(each.partition)) for each in mine}

    def adjustments(self) -> dict[str, int]:
        """Return how many inputs were left out, rounded or reinterpreted, by what was."""
        by_contract = self._contract.adjustments if self._contract is not None else {}
        return {**by_contract, **(self.mapper.left_out if self.mapper is not None else {})}

    def _lag(self, partition: TopicPartition) -> int | None:
        done = self._committed.get(partition, self._starts.get(partition))  # before the first commit: where it starts
        end = self._ends.get(partition)
        return None if done is None or end is None else max(0, end - done)

    # ---- at a scrape

    def describe(self) -> list[Metric]:
        """Return no metrics in advance: a scrape before the start must not fail."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics whose values are read at each scrape."""
        expires = GaugeMetricFamily("connector_refresh_token_expires_timestamp_seconds", "When the refresh token ends.")
        if self.refresh_token_expires is not None:
            expires.add_metric([], self.refresh_token_expires)
        yield expires
        yield _gauge("connector_ready", "1 while /readyz answers with 200, else 0.", self.ready())
        pipeline = self.pipeline
        waiting = self._messages() + (len(status.needs_operator(pipeline)) if pipeline is not None else 0)
        yield _gauge("connector_operator_needed", "Messages that need an operator.", waiting)
        if pipeline is not None:
            yield from self._counted(pipeline)
            yield from self._measured(pipeline)
            yield from self._restore_progress()
            yield _ages(pipeline.statistics.event_to_ack, pipeline.statistics.event_to_ack_seconds)
            yield from self._offsets()

    def _counted(self, pipeline: Pipeline) -> Iterable[Metric]:
        counts = pipeline.statistics
        yield _counter("connector_records", "Records that the pipeline took in.", counts.records)
        outcomes = CounterMetricFamily("connector_events", "Records by outcome.", labels=["outcome"])
        for outcome in Outcome:
            outcomes.add_metric([outcome.name.lower()], counts.outcomes[outcome])
        outcomes.add_metric(["already_resolved"], counts.already_resolved)
        yield outcomes
        # Every reason from the start: increase() does not see the first value of a series.
        letters = dict.fromkeys(Reason, 0) | counts.dead_letters
        yield _counters("connector_dead_letters", "Dead letters by reason.", "reason", letters)
        yield _counters("connector_retries", "Events sent again, by reason.", "reason", counts.retries)
        doubtful = counts.doubtful_duplicates
        yield _counters("connector_doubtful_duplicates", "Duplicates whose key may not identify an event.", "kind", doubtful)
        yield _counter("connector_released", "Records released unresolved at the end of an assignment.", counts.released)
        yield _counter("connector_late_answers", "Verdicts that came after their assignment had ended.", counts.late_answers)
        if self._contract is not None:
            adjusted = self.adjustments()
            yield _counters("connector_adjustments", "Inputs left out, rounded or reinterpreted.", "what", adjusted)
        declined = self._codec.declined if self._codec is not None else {}
        yield _counters("connector_codec_declined", "Records that native code left to Python.", "reason", declined)
        filtered = self.mapper.filtered if self.mapper is not None else {}
        yield _counters("connector_filtered", "Records that a mapping file does not select.", "mapping", filtered)

    def _measured(self, pipeline: Pipeline) -> Iterable[Metric]:
        yield _gauge(
            "connector_buffered_events",
            "Events decoded, and neither in flight nor resolved.",
            status.buffered_events(pipeline),
        )
        yield _gauge("connector_held_bytes", "Bytes of records buffered and in flight.", status.held_bytes(pipeline))
        yield _gauge(
            "connector_in_flight_events", "Events in requests without an answer yet.", status.in_flight_events(pipeline)
        )
        yield _gauge("connector_in_flight_requests", "Requests without an answer yet.", pipeline.dispatch.requests)
        yield _gauge("connector_concurrency_limit", "Most requests in flight at once, as adapted.", pipeline.dispatch.limit)
        pace = pipeline.dispatch.pace.per_second
        yield _gauge("connector_request_rate_limit", "Most requests started in a second, as learnt or set.", pace)
        yield _gauge(
            "connector_batch_bytes_limit", "Most bytes of a request body, as adapted.", pipeline.dispatch.most_bytes
        )
        seen = [each.window.seen for each in pipeline.assignments]
        yield _gauge("connector_window_keys", "Dedupe keys in memory.", sum(len(keys) for keys in seen))
        yield _gauge("connector_window_bytes", "Memory of the dedupe keys.", sum(keys.size_bytes for keys in seen))
        paused = GaugeMetricFamily("connector_paused", "Paused partitions, by reason.", labels=["reason"])
        schema = {"schema": self.lacking_schema}
        for reason, partitions in (status.paused(pipeline) | schema).items():
            paused.add_metric([reason], partitions)
        yield paused

    def _restore_progress(self) -> Iterable[Metric]:
        progress = GaugeMetricFamily(
            "connector_ledger_restore_progress",
            "Share of the ledger read so far while a partition is restored.",
            labels=["topic", "partition"],
        )
        for partition, (read, of) in list(self.restores.items()):
            progress.add_metric([partition.topic, str(partition.partition)], read / of)
        yield progress

    def _offsets(self) -> Iterable[Metric]:
        committed = GaugeMetricFamily(
            "connector_committed_offset", "Committed offset: the next one to be read.", labels=["topic", "partition"]
        )
        lag = GaugeMetricFamily("connector_lag", "Records after the committed offset.", labels=["topic", "partition"])
        for partition in list(self._starts):
            labels = [partition.topic, str(partition.partition)]
            if (offset := self._committed.get(partition)) is not None:
                committed.add_metric(labels, offset)
            if (behind := self._lag(partition)) is not None:
                lag.add_metric(labels, behind)
        return committed, lag


def _wants_openmetrics(accept: str) -> bool:
    """Return whether a request prefers OpenMetrics to the text format, by its ``Accept``."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for one in accept.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        given = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parameters)}
        if name == "text/plain" or (name in weights and given.get("version", "") in _OPENMETRICS_VERSIONS):
            weights[name] = max(weights[name], _weight(given.get("q", "1")))
    wanted, text = weights.values()
    return 0 < wanted >= text


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def _counter(name: str, text: str, value: float) -> Metric:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in list(values.items()):
        family.add_metric([str(value)], count)
    return family


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """Return a gauge; without a sample if there is no value."""
    family = GaugeMetricFamily(name, text)
    if value is not None:
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
