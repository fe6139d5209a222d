"""The last hour of a connector, in samples of its counters. Pure: time is an argument.

A counter only grows, so what happened in a span of time is the difference of two samples. Samples
are taken every `EVERY_SECONDS`, and the newest `MOST` are kept, whatever the load.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = [
    "EVERY_SECONDS",
    "MOST",
    "POINT_SECONDS",
    "AnswerCounts",
    "Frontiers",
    "History",
    "Sample",
    "latencies_since",
    "quantile",
]

EVERY_SECONDS = 10.0
MOST = 361
"""Maximum samples: one hour, with both its ends."""
POINT_SECONDS = 30.0
"""The span of one point of `History.series`: an hour has 120 points."""

LATENCY_BOUNDS = tuple(0.005 * 1.3**step for step in range(38))
"""Upper bounds of the latency buckets in seconds: from 5 ms to 82 s, each 30 % above the last."""


@dataclass(slots=True)
class AnswerCounts:
    """Answers to requests since the start."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Requests by HTTP status, or by failure if there was none."""
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    last_success: float | None = None
    """Monotonic second of the last answer that had verdicts."""

    def note(self, status: str, seconds: float, now: float, *, success: bool) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.latencies[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        if success:
            self.last_success = now


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one moment."""

    at: float
    """Monotonic second."""
    counts: Mapping[str, int]
    """Counters since the start, by name; one that is absent is 0."""
    latencies: Sequence[int]
    lag: int | None = None
    """Records after the committed offsets; None while it is not known."""


@dataclass(slots=True)
class History:
    """The samples of the last hour. It begins with one that counts nothing."""

    began: float
    """Monotonic second of the start."""
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=MOST))

    def __post_init__(self) -> None:
        self.samples.append(Sample(self.began, {}, ()))

    def take(self, sample: Sample) -> None:
        """Keep a sample; the oldest one goes if there are too many."""
        self.samples.append(sample)

    def before(self, now: float, seconds: float) -> Sample:
        """Return the sample that a span ending now begins with.

        It is the newest that is old enough, or else the oldest.
        """
        found = self.samples[0]
        for sample in self.samples:
            if sample.at > now - seconds + EVERY_SECONDS / 2:
                break
            found = sample
        return found

    def points(self) -> list[Sample]:
        """Return the samples at the ends of the points of `series`, oldest first."""
        ends: list[Sample] = []
        for sample in reversed(self.samples):
            if not ends or sample.at <= ends[-1].at - POINT_SECONDS + EVERY_SECONDS / 2:
                ends.append(sample)
        return ends[::-1]

    def series(self, groups: Mapping[str, Sequence[str]]) -> dict[str, list[float | None]]:
        """Return the lines of the charts, by point: counters per second, lag and latencies."""
        points = self.points()
        pairs = list(pairwise(points))
        lines: dict[str, list[float | None]] = {
            name: [
                sum(later.counts.get(each, 0) - earlier.counts.get(each, 0) for each in counters)
                / max(later.at - earlier.at, 1e-9)
                for earlier, later in pairs
            ]
            for name, counters in groups.items()
        }
        lines["lag"] = [later.lag for _, later in pairs]
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            lines[name] = [quantile(_difference(earlier.latencies, later.latencies), share) for earlier, later in pairs]
        return lines


def latencies_since(sample: Sample, now: Sequence[int]) -> list[int]:
    """Return the answers by latency since a sample."""
    return _difference(sample.latencies, now)


def _difference(earlier: Sequence[int], later: Sequence[int]) -> list[int]:
    return [count - before for count, before in zip(later, earlier or [0] * len(later), strict=True)]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the latency below which a share of answers came, in seconds; None without answers.

    It lies between two bounds, so it may be up to 30 % too high.
    """
    wanted, reached = share * sum(counts), 0
    for count, bound in zip(counts, LATENCY_BOUNDS, strict=False):
        reached += count
        if count and reached >= wanted:
            return bound
    return LATENCY_BOUNDS[-1] if any(counts) else None


class Frontiers:
    """Measures for how long each partition's oldest unresolved record has been the same."""

    def __init__(self) -> None:
        self._stands: dict[int, tuple[int, float]] = {}

    def look(self, now: float, frontiers: Mapping[int, int | None]) -> dict[int, float]:
        """Return the seconds since each frontier last moved, by generation, as seen by these calls.

        ``frontiers`` has the offset of the oldest unresolved record; None if all are resolved.
        """
        stands = {}
        for generation, offset in frontiers.items():
            if offset is not None:
                before = self._stands.get(generation)
                stands[generation] = before if before is not None and before[0] == offset else (offset, now)
        self._stands = stands
        return {generation: now - since for generation, (_, since) in stands.items()}
