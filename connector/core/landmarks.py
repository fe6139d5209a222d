"""Entries of a ledger partition that retention cannot have deleted yet, so that a ledger emptied from the front is noticed.

Kafka deletes from the front, a segment at a time, once the newest record of the segment is older than ``retention.ms``.
So every entry is there until it is that old by the brokers' clock; large segments, and brokers that look late, only keep it
longer. A commit names some entries that were there when it was made, each with its append time: *landmarks*. One that is
gone before its time was deleted by somebody (``kafka-delete-records``, a retention lowered and put back).

The last entry is named, too. Where another stands at its offset, the ledger was cut short and grew again.

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
"""How far brokers' clocks, and ours, may be apart; a second goes to the rounding of retention."""
_MOST = 100
"""Landmarks of one commit: its metadata stays below the 4,096 bytes that brokers take (``offset.metadata.max.bytes``),
wherever in a log they stand. Enough for a window of 80 days; of a longer one they are further apart, and what was deleted
may have been younger than the window by that much and take none with it."""
_WRITTEN = re.compile(r"(\d+)((?: \d+:\d+)+)", re.ASCII)


class Landmark(NamedTuple):
    """An entry, and when it was appended."""

    offset: int
    append_ms: int
    """Since 1970 UTC, by the brokers' clock: of all entries that ever stood at the offset it tells this one."""


class Landmarks:
    """Landmarks of one ledger partition: the first entry, then the first one `_APART_MS` after the last, and the last entry.

    None without a retention, or where the brokers give no append time.
    """

    __slots__ = ("_apart_ms", "_last", "_retention_ms", "places")

    def __init__(self, retention_ms: int = 0) -> None:
        self._retention_ms = retention_ms
        self._apart_ms = max(_APART_MS, retention_ms // _MOST)
        self._last: Landmark | None = None
        self.places: list[Landmark] = []
        """In order, without the last entry if it is none otherwise."""

    def passed(self, offset: int, append_ms: int) -> None:
        """Note an entry, in order of offset; forget the landmarks that retention may delete by then."""
        oldest = append_ms - self._retention_ms
        if self.places and self.places[0].append_ms <= oldest:
            self.places = [place for place in self.places if place.append_ms > oldest]
        if append_ms > oldest:
            self._last = Landmark(offset, append_ms)
            if not self.places or append_ms >= self.places[-1].append_ms + self._apart_ms:
                self.places.append(self._last)

    def __str__(self) -> str:
        """Write them down, with the seconds of retention they rest on; empty if there is none."""
        places = self.places if self._last is None or self._last in self.places else [*self.places, self._last]
        written = "".join(f" {offset}:{append_ms}" for offset, append_ms in places)
        return f"{self._retention_ms // 1000}{written}" if written else ""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `__str__` wrote; none from any other text, as of a version to come."""
        found = _WRITTEN.fullmatch(text)
        landmarks = cls(int(found[1]) * 1000 if found else 0)
        if found:
            landmarks.places = [Landmark(*map(int, place.split(":"))) for place in found[2].split()]
        return landmarks

    def missing(self, first: int, retention_ms: int, now_ms: int) -> Landmark | None:
        """Return the first landmark below ``first``, the beginning of the partition, that must still be there; None if none.

        Retention is the shorter one of then and now: one that was raised since had deleted more by then.
        """
        oldest = now_ms - min(self._retention_ms, retention_ms) + _CLOCKS_MS
        return next((place for place in self.places if place.offset < first and place.append_ms > oldest), None)
