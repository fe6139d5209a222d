"""The part of ``/status.json`` about a running pipeline; the page and `connector top` show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.core import status
from connector.core.pipeline import Pipeline
from connector.mapping.plan import Mapper
from connector.model import Flaw, Outcome, Reason, TopicPartition, natural_order
from connector.telemetry.history import POINT_SECONDS, AnswerCounts, Frontiers, History, Sample, latencies_since, quantile

__all__ = ["NEWEST", "RECENT_SECONDS", "Overview"]

RECENT_SECONDS = 300.0
NEWEST = 10
"""Dead letters that are shown with their details."""

_FATES = [*(outcome.name.lower() for outcome in Outcome), "already_resolved"]


@dataclass(frozen=True, slots=True)
class _Refusal:
    at: float
    place: str
    flaw: Flaw


@dataclass(slots=True)
class Overview:
    """Keeps the history of one connector, and describes it. Times are monotonic seconds."""

    began: float
    answers: AnswerCounts = field(default_factory=AnswerCounts)
    schemas: Callable[[], Sequence[tuple[str, str, str]]] = field(default=list)
    """Returns the newest schemas that records came with: what names the schema, the names of its
    records, and what becomes of them."""
    _history: History = field(init=False)
    _frontiers: Frontiers = field(default_factory=Frontiers)
    _refusals: deque[_Refusal] = field(default_factory=lambda: deque(maxlen=NEWEST))

    def __post_init__(self) -> None:
        self._history = History(self.began)

    def refused(self, partition: TopicPartition, offset: int, flaw: Flaw, now: float) -> None:
        """Keep the details of a dead letter that was written. They hold no value of the event."""
        self._refusals.append(_Refusal(now, f"{partition}@{offset}", flaw))

    def sample(self, pipeline: Pipeline | None, lag: int | None, now: float) -> None:
        """Take a sample. Called every `history.EVERY_SECONDS`."""
        self._history.take(Sample(now, self._counts(pipeline), tuple(self.answers.latencies), lag))
        self._oldest_since(pipeline, now)

    def _oldest_since(self, pipeline: Pipeline | None, now: float) -> dict[int, float]:
        mine = pipeline.assignments if pipeline is not None else []
        return self._frontiers.look(
            now, {each.generation: each.tracker.next_offset if len(each.tracker) else None for each in mine}
        )

    def _counts(self, pipeline: Pipeline | None) -> dict[str, int]:
        counts = {f"status.{name}": count for name, count in self.answers.statuses.items()}
        if pipeline is not None:
            found = pipeline.statistics
            counts |= {f"fate.{outcome.name.lower()}": count for outcome, count in found.outcomes.items()}
            counts |= {f"reason.{reason.value}": count for reason, count in found.dead_letters.items()}
            counts["fate.already_resolved"] = found.already_resolved
            counts["records"] = found.records
        return {name: count for name, count in counts.items() if count}

    def document(
        self,
        pipeline: Pipeline | None,
        mapper: Mapper | None,
        adjustments: Mapping[str, int],
        lags: Mapping[TopicPartition, tuple[int | None, int | None]],
        waiting_for_schema: int,
        now: float,
    ) -> dict[str, Any]:
        """Return everything to be shown, as JSON has it. ``lags`` has committed offset and lag."""
        counts = self._counts(pipeline)
        before = self._history.before(now, RECENT_SECONDS)

        def both(kind: str, name: str) -> dict[str, int]:
            key = f"{kind}{name}"
            return {"recent": counts.get(key, 0) - before.counts.get(key, 0), "since_start": counts.get(key, 0)}

        return {
            "uptime_seconds": now - self.began,
            "recent_seconds": now - before.at,
            "held_up": self._held_up(pipeline, waiting_for_schema),
            "records": both("records", ""),
            "fates": {fate: both("fate.", fate) for fate in _FATES},
            "dead_letters": {
                "reasons": {
                    each.value: both("reason.", each.value) for each in Reason if counts.get(f"reason.{each.value}")
                },
                "newest": [
                    {
                        "seconds_ago": now - each.at,
                        "record": each.place,
                        "reason": each.flaw.reason.value,
                        "detail": each.flaw.detail,
                    }
                    for each in reversed(list(self._refusals))
                ],
            },
            "adjustments": {what: count for what, count in adjustments.items() if count},
            "filtered": {name: count for name, count in (mapper.filtered if mapper else {}).items() if count},
            "amazon": {
                "statuses": {each: both("status.", each) for each in sorted(self.answers.statuses)},
                **self._latencies(before),
                "last_success_seconds_ago": _ago(self.answers.last_success, now),
                **_pace(pipeline),
            },
            "partitions": self._partitions(pipeline, lags, now),
            **_memory(pipeline),
            "schemas": [dict(zip(("schema", "records", "mapping"), each, strict=True)) for each in self.schemas()],
            "history": {"seconds_per_point": POINT_SECONDS, **self._history.series(_groups(counts))},
        }

    def _held_up(self, pipeline: Pipeline | None, waiting_for_schema: int) -> dict[str, int]:
        counts = status.paused(pipeline) if pipeline is not None else {}
        return {reason: count for reason, count in {**counts, "schema": waiting_for_schema}.items() if count}

    def _latencies(self, before: Sample) -> dict[str, float | None]:
        recent, all_ = latencies_since(before, self.answers.latencies), self.answers.latencies
        return {
            "p50_seconds": quantile(recent, 0.5),
            "p99_seconds": quantile(recent, 0.99),
            "p50_seconds_since_start": quantile(all_, 0.5),
            "p99_seconds_since_start": quantile(all_, 0.99),
        }

    def _partitions(
        self, pipeline: Pipeline | None, lags: Mapping[TopicPartition, tuple[int | None, int | None]], now: float
    ) -> list[dict[str, Any]]:
        oldest_since = self._oldest_since(pipeline, now)
        rows = []
        for each, reasons in status.held_up(pipeline) if pipeline is not None else []:
            committed, lag = lags.get(each.partition, (None, None))
            rows.append(
                {
                    "partition": str(each.partition),
                    "phase": each.phase.value,
                    "committed": committed,
                    "lag": lag,
                    "unresolved": each.held,
                    "oldest_unresolved_seconds": oldest_since.get(each.generation),
                    "held_up_by": reasons,
                }
            )
        return sorted(rows, key=lambda row: natural_order(str(row["partition"])))


def _ago(at: float | None, now: float) -> float | None:
    return None if at is None else now - at


def _pace(pipeline: Pipeline | None) -> dict[str, float | None]:
    if pipeline is None:
        return {}
    dispatch = pipeline.dispatch
    return {
        "concurrency_limit": dispatch.limit,
        "requests_per_second_limit": dispatch.pace.per_second,
        "requests_in_flight": dispatch.requests,
        "events_in_flight": status.in_flight_events(pipeline),
        "request_bytes_limit": dispatch.most_bytes,
    }


def _memory(pipeline: Pipeline | None) -> dict[str, dict[str, int]]:
    seen = [each.window.seen for each in pipeline.assignments] if pipeline is not None else []
    events = status.buffered_events(pipeline) if pipeline is not None else 0
    held = status.held_bytes(pipeline) if pipeline is not None else 0
    return {
        "window": {"keys": sum(len(keys) for keys in seen), "bytes": sum(keys.size_bytes for keys in seen)},
        "buffer": {"events": events, "bytes": held},
    }


def _groups(counts: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the counters of each line of the pictures."""
    statuses = [name for name in counts if name.startswith("status.")]
    groups = {fate: [f"fate.{fate}"] for fate in _FATES if fate != "already_resolved"}
    groups["answers 2xx"] = [name for name in statuses if name.startswith("status.2")]
    groups["answers 429"] = [name for name in statuses if name == "status.429"]
    known = {*groups["answers 2xx"], *groups["answers 429"]}
    groups["failures"] = [name for name in statuses if name not in known]
    return groups
