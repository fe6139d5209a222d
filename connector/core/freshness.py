"""Whether an event is fresh. Whether the clock that says so may be believed is `broker_clock`'s question."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["EARLIEST_PLAUSIBLE_MS", "Freshness", "FreshnessPolicy"]

EARLIEST_PLAUSIBLE_MS = 946_684_800_000
"""2000-01-01 UTC. Seconds taken for milliseconds fall before it: a mistake to be shown, not an old event to be dropped."""


class Freshness(Enum):
    """The age of an event, judged."""

    FRESH = "fresh"
    STALE = "stale"
    BEFORE_2000 = "before 2000"
    IN_FUTURE = "in the future"


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """Limits of an event's age."""

    max_age_ms: int
    """An event exactly this old is still taken."""
    max_skew_ms: int
    """How far ahead of the wall clock an event may be, and how far that clock may be off the brokers'."""

    def judge(self, time_ms: int, now_ms: int) -> Freshness:
        """Judge an event time by the wall clock; both in milliseconds since 1970 UTC."""
        if time_ms > now_ms + self.max_skew_ms:
            return Freshness.IN_FUTURE
        if time_ms < EARLIEST_PLAUSIBLE_MS:
            return Freshness.BEFORE_2000
        return Freshness.FRESH if now_ms - time_ms <= self.max_age_ms else Freshness.STALE
