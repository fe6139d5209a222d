"""Entries of a ledger partition that retention cannot have deleted yet, so that a ledger emptied from the front is noticed.

Kafka deletes from the front, a segment at a time, once the newest record of the segment is older than ``retention.ms``.
So every entry is there until it is that old by the brokers' clock; large segments, and brokers that look late, only keep it
longer. A commit names some entries that were there when it was made, each with its append time: *landmarks*. One that is
gone before its time was deleted by somebody (``kafka-delete-records``, a retention lowered and put back).

Law: retention exceeds the window by a day. Of that day `_APART_MS` lie between two landmarks at most, and `_CLOCKS_MS` are
left for clocks that disagree. So whatever was deleted while it was younger than the window takes with it a landmark that is
missed, and nothing that retention deletes is ever missed.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

__all__ = ["Landmark", "Landmarks"]

_HOUR_MS = 3_600_000
_APART_MS = 20 * _HOUR_MS
_CLOCKS_MS = 4 * _HOUR_MS - 1_000
"""How far brokers' clocks, and ours, may be apart; a second goes to rounding."""
_MOST = 100
"""Landmarks of one commit: its metadata stays below the 4,096 bytes that brokers take (``offset.metadata.max.bytes``),
wherever in a log they stand. Enough for a window of 80 days; of a longer one they are further apart, and what was deleted
may have been younger than the window by that much and take none with it."""
_WRITTEN = re.compile(r"(\d+)((?: \d+@\d+)+)", re.ASCII)


class Landmark(NamedTuple):
    """An entry, and when it was appended."""

    offset: int
    second: int
    """Since 1970 UTC, by the brokers' clock."""


class Landmarks:
    """Landmarks of one ledger partition: the first entry, and then the first one `_APART_MS` after the last.

    None without a retention, or where the brokers give no append time.
    """

    __slots__ = ("_apart", "_retention", "places")

    def __init__(self, retention_ms: int = 0) -> None:
        self._retention = retention_ms // 1000
        self._apart = max(_APART_MS // 1000, self._retention // _MOST)
        self.places: list[Landmark] = []
        """In order."""

    def passed(self, offset: int, append_ms: int) -> None:
        """Note an entry, in order of offset; forget the landmarks that retention may delete by then."""
        second = append_ms // 1000
        oldest = second - self._retention
        if self.places and self.places[0].second <= oldest:
            self.places = [place for place in self.places if place.second > oldest]
        if second > oldest and (not self.places or second >= self.places[-1].second + self._apart):
            self.places.append(Landmark(offset, second))

    def __str__(self) -> str:
        """Write them down, with the retention they rest on; empty if there is none."""
        written = "".join(f" {offset}@{second}" for offset, second in self.places)
        return f"{self._retention}{written}" if written else ""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `__str__` wrote; none from any other text, as of a version to come."""
        found = _WRITTEN.fullmatch(text)
        landmarks = cls(int(found[1]) * 1000 if found else 0)
        if found:
            landmarks.places = [Landmark(*map(int, place.split("@"))) for place in found[2].split()]
        return landmarks

    def missing(self, first: int, retention_ms: int, now_ms: int) -> Landmark | None:
        """Return the first landmark below ``first``, the beginning of the partition, that must still be there; None if none.

        Retention is the shorter one of then and now: one that was raised since had deleted more by then.
        """
        retention = min(self._retention, retention_ms // 1000)
        oldest = now_ms // 1000 - retention + _CLOCKS_MS // 1000
        return next((place for place in self.places if place.offset < first and place.second > oldest), None)
