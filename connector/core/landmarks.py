"""Landmarks: ledger entries that retention cannot have deleted. They show a ledger emptied by hand.

Kafka deletes from the front, one segment at a time, once the newest record of the segment is older
than ``retention.ms``. So an entry is there at least until it is that old by the brokers' clock.
Large segments, and brokers that check late, only keep it longer. A commit names some entries that
existed when it was made, each with its append time: *landmarks*. If one is gone before its time,
somebody deleted it (``kafka-delete-records``, or a retention that was lowered and put back).

A commit also names the last entry. If another entry stands at its offset, the ledger was cut short
and grew again.

Law: retention exceeds the window by a day. Of that day, at most `_APART_MS` lie between two
landmarks, and `_CLOCKS_MS` are left for clocks that disagree. So deleting anything younger than the
window also deletes a landmark, which is then missing. What retention deletes never counts as
missing.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

__all__ = ["Landmark", "Landmarks"]

_HOUR_MS = 3_600_000
_APART_MS = 20 * _HOUR_MS
_CLOCKS_MS = 4 * _HOUR_MS - 1_000
"""Maximum difference between the clocks of brokers, and ours; one second covers the rounding of
retention."""
_MOST = 100
"""Maximum landmarks in one commit: keeps its metadata below the 4,096 bytes that brokers accept
(``offset.metadata.max.bytes``), however large the offsets are. Enough for a window of 80 days. With
a longer window landmarks are further apart, so a deletion of entries younger than the window by
that much may go unnoticed."""
_WRITTEN = re.compile(r"(\d+)((?: \d+:\d+)+)", re.ASCII)


class Landmark(NamedTuple):
    """An entry of the ledger, by its place and append time."""

    offset: int
    append_ms: int
    """Milliseconds since 1970 UTC, by the brokers' clock. Tells this entry from any other that
    stood at the offset."""


class Landmarks:
    """Landmarks of one ledger partition.

    They are the first entry, then each first entry that is `_APART_MS` younger than the landmark
    before it, and the last entry. Without a retention, or without append times, there are none.
    """

    __slots__ = ("_apart_ms", "_last", "_retention_ms", "places")

    def __init__(self, retention_ms: int = 0) -> None:
        self._retention_ms = retention_ms
        self._apart_ms = max(_APART_MS, retention_ms // _MOST)
        self._last: Landmark | None = None
        self.places: list[Landmark] = []
        """Landmarks in order of offset; the last entry is among them only if it is far enough from
        the one before."""

    def passed(self, offset: int, append_ms: int) -> None:
        """Note an entry, in order of offset; forget landmarks that retention may delete by now."""
        oldest = append_ms - self._retention_ms
        if self.places and self.places[0].append_ms <= oldest:
            self.places = [place for place in self.places if place.append_ms > oldest]
        if append_ms > oldest:
            self._last = Landmark(offset, append_ms)
            if not self.places or append_ms >= self.places[-1].append_ms + self._apart_ms:
                self.places.append(self._last)

    def __str__(self) -> str:
        """Return the landmarks as text, after the retention in seconds; empty without landmarks."""
        places = self.places if self._last is None or self._last in self.places else [*self.places, self._last]
        written = "".join(f" {offset}:{append_ms}" for offset, append_ms in places)
        return f"{self._retention_ms // 1000}{written}" if written else ""

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse what `__str__` returned; any other text, as of a newer version, gives none."""
        found = _WRITTEN.fullmatch(text)
        landmarks = cls(int(found[1]) * 1000 if found else 0)
        if found:
            landmarks.places = [Landmark(*map(int, place.split(":"))) for place in found[2].split()]
        return landmarks

    def missing(self, first: int, retention_ms: int, now_ms: int) -> Landmark | None:
        """Return the first landmark that should still exist but lies below ``first``, or None.

        ``first`` is the first offset of the partition. The shorter retention of then and now
        counts: before it was raised, a shorter retention had already deleted more.
        """
        oldest = now_ms - min(self._retention_ms, retention_ms) + _CLOCKS_MS
        return next((place for place in self.places if place.offset < first and place.append_ms > oldest), None)
