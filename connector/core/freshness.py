"""Judges whether an event is fresh; `broker_clock` judges whether the clock may be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["EARLIEST_PLAUSIBLE_MS", "Freshness", "FreshnessPolicy"]

EARLIEST_PLAUSIBLE_MS = 946_684_800_000
"""2000-01-01 UTC. Seconds mistaken for milliseconds fall before it. Such an event shows a
producer's mistake, so it becomes a dead letter and is not dropped as stale."""


class Freshness(Enum):
    """Verdict on the age of an event."""

    FRESH = "fresh"
    STALE = "stale"
    BEFORE_2000 = "before 2000"
    IN_FUTURE = "in the future"


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """Limits on the age of an event."""

    max_age_ms: int
    """Maximum age in milliseconds; an event exactly this old is still fresh."""
    max_skew_ms: int
    """Maximum milliseconds that an event may be ahead of the wall clock, and that clock off the
    brokers' clock."""

    def judge(self, time_ms: int, now_ms: int) -> Freshness:
        """Judge an event time by the wall clock; both in milliseconds since 1970 UTC."""
        if time_ms > now_ms + self.max_skew_ms:
            return Freshness.IN_FUTURE
        if time_ms < EARLIEST_PLAUSIBLE_MS:
            return Freshness.BEFORE_2000
        return Freshness.FRESH if now_ms - time_ms <= self.max_age_ms else Freshness.STALE
