"""Counters of the pipeline; telemetry reads them.

Conservation holds after every input: records = resolved (all outcomes) + released + buffered + in
flight.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from connector.core.doubts import DoubtKind
from connector.model import Outcome, Reason

__all__ = ["AGE_BOUNDS_SECONDS", "Statistics"]

AGE_BOUNDS_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400, 259_200, 604_800)
"""Upper bounds of the histogram's buckets, up to seven days, the age at which events turn stale."""


@dataclass(slots=True)
class Statistics:
    """Counters since the start of the process."""

    records: int = 0
    """Records received, each counted once per assignment."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    already_resolved: int = 0
    """Records polled again whose fact was already in the ledger."""
    released: int = 0
    """Records given back unresolved at the end of their assignment."""
    late_answers: int = 0
    """Verdicts that came after the assignment of their event had ended."""
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    """Events sent again, by reason."""
    doubtful_duplicates: Counter[DoubtKind] = field(default_factory=lambda: Counter(dict.fromkeys(DoubtKind, 0)))
    """Duplicates whose key may identify nothing, by the sign that gave the key away."""
    event_to_ack: list[int] = field(default_factory=lambda: [0] * (len(AGE_BOUNDS_SECONDS) + 1))
    """Delivered events by age at the acknowledgement, one count per bucket; the last bucket has no
    upper bound."""
    event_to_ack_seconds: float = 0.0
    """Sum of these ages."""

    @property
    def resolved(self) -> int:
        """Number of records that are resolved."""
        return sum(self.outcomes.values()) + self.already_resolved

    def delivered(self, wall_ms: int, times: Sequence[int]) -> None:
        """Count delivered events, at least one, by their ages at the acknowledgement."""
        ordered = sorted(times)  # nearly always in order already
        oldest, youngest = ordered[0], ordered[-1]
        first, last = (bisect_left(AGE_BOUNDS_SECONDS, (wall_ms - time_ms) / 1000) for time_ms in (youngest, oldest))
        left = len(times)
        for place in range(first, last):
            older = bisect_left(ordered, wall_ms - AGE_BOUNDS_SECONDS[place] * 1000)
            self.event_to_ack[place] += left - older
            left = older
        self.event_to_ack[last] += left
        self.event_to_ack_seconds += (wall_ms * len(times) - sum(times)) / 1000
        self.outcomes[Outcome.DELIVERED] += len(times)
