"""Whether an event is fresh, and whether the wall clock that says so may be believed.

Stale is the one fate that keeps no copy, so a clock is believed only while it agrees with the brokers'
(docs/how-it-works.md#clocks).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from connector.model import Moment

__all__ = ["EARLIEST_PLAUSIBLE_MS", "Clock", "Freshness", "FreshnessPolicy"]

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


class Clock:
    """Whether the wall clock agrees with the brokers'.

    A ledger append's time is the brokers' clock, and every append confirmed is a new anchor: from then on the wall clock
    must agree, within `max_skew_ms`, with the anchor plus monotonic time elapsed.
    """

    __slots__ = ("_anchor", "_max_skew_ms", "disagreement_ms")

    def __init__(self, max_skew_ms: int) -> None:
        self._max_skew_ms = max_skew_ms
        self._anchor: float | None = None  # brokers' milliseconds at monotonic second 0
        self.disagreement_ms = 0
        """How far the wall clock was ahead of the brokers' at the last look."""

    def appended(self, append_ms: int, now: Moment) -> None:
        """Take the time a broker gave an append that was confirmed just now."""
        self._anchor = append_ms - now.monotonic * 1000

    def brokers_ms(self, now: Moment) -> int:
        """Return the time by the brokers' clock; by ours, before any append was confirmed."""
        return now.wall_ms if self._anchor is None else round(self._anchor + now.monotonic * 1000)

    def agrees(self, now: Moment) -> bool:
        """Tell whether the wall clock may be believed; before any append was confirmed there is nothing to disagree with."""
        self.disagreement_ms = now.wall_ms - self.brokers_ms(now)
        return abs(self.disagreement_ms) <= self._max_skew_ms
