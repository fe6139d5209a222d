"""Reports dedupe keys that may identify nothing: no list holds everything that stands for "no id".

A duplicate is dropped and leaves no copy, so a constant in place of an id would silently lose every
event but one. Two signs give such a key away: far more copies than the few that a producer's retry
makes, and a copy whose content differs from the event in flight with the same key. A report names
the place in Kafka, never the key.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from connector.model import TopicPartition

__all__ = ["Doubt", "DoubtKind", "Doubts", "Repeats"]

_MOST_KEYS = 1024
"""Maximum number of keys counted at once; they take a third of a megabyte."""
_MANY = 100
"""Number of duplicates of one key that no producer's retry makes."""
_FEW, _SHARE = 10, 20
"""A key with ``_FEW`` duplicates is doubted too, if they make up one in ``_SHARE`` records or
more."""


class DoubtKind(StrEnum):
    """Sign that gave a key away; a label of a metric."""

    REPEATED = "repeated"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Report to an operator about one key."""

    kind: DoubtKind
    first: str
    """Place of the first copy counted, or of the event in flight, as ``topic-partition@offset``."""
    last: str
    """Place of the latest copy."""
    copies: int


@dataclass(slots=True)
class _Count:
    partition: TopicPartition
    offset: int
    copies: int = 0
    report_at: int = _FEW


class Repeats:
    """Counts the duplicates of each key, in bounded memory (Misra and Gries, 1982).

    Law: a count is never too high, and at most too low by one in ``_MOST_KEYS`` of all duplicates.
    So no key is doubted without reason, and a key that makes up a share of the traffic is found
    among any number of other keys.
    """

    __slots__ = ("_counts", "doubtful")

    def __init__(self) -> None:
        self._counts: dict[bytes, _Count] = {}
        self.doubtful = 0
        """Duplicates of doubted keys."""

    def note(self, key: bytes, partition: TopicPartition, offset: int, records: int) -> Doubt | None:
        """Count a duplicate; return a report if one is due.

        A key is reported again when its count has doubled. ``records`` is the number of records
        received so far.
        """
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) == _MOST_KEYS:
                self._forget_one_of_each()
                return None
            count = self._counts[key] = _Count(partition, offset)
        count.copies += 1
        doubted_before = count.report_at > _FEW
        self.doubtful += doubted_before
        if count.copies < count.report_at or not (count.copies >= _MANY or count.copies * _SHARE >= records):
            return None
        count.report_at = 2 * count.copies
        self.doubtful += 0 if doubted_before else count.copies
        first = f"{count.partition}@{count.offset}"
        return Doubt(DoubtKind.REPEATED, first, f"{partition}@{offset}", count.copies)

    def _forget_one_of_each(self) -> None:
        for count in self._counts.values():
            count.copies -= 1
        self._counts = {key: count for key, count in self._counts.items() if count.copies}


class Doubts:
    """Collects the reports for an operator, the latest of each kind.

    ``doubtful`` is kept up to date: how many duplicates of each kind there were.
    """

    __slots__ = ("_doubtful", "_latest", "_repeats")

    def __init__(self, doubtful: Counter[DoubtKind]) -> None:
        self._doubtful = doubtful
        self._latest: dict[DoubtKind, Doubt] = {}
        self._repeats = Repeats()

    def repeated(self, key: bytes, partition: TopicPartition, offset: int, records: int) -> None:
        """Note a duplicate; ``records`` is the number of records received so far."""
        before = self._repeats.doubtful
        doubt = self._repeats.note(key, partition, offset, records)
        if self._repeats.doubtful > before:
            self._doubtful[DoubtKind.REPEATED] = self._repeats.doubtful
        if doubt is not None:
            self._latest[doubt.kind] = doubt

    def differs(self, partition: TopicPartition, first: int, copy: int) -> None:
        """Note a copy with the key of the event in flight at ``first``, but other content."""
        self._doubtful[DoubtKind.DIFFERENT] += 1
        here, there = f"{partition}@{first}", f"{partition}@{copy}"
        self._latest[DoubtKind.DIFFERENT] = Doubt(DoubtKind.DIFFERENT, here, there, self._doubtful[DoubtKind.DIFFERENT])

    def take(self) -> list[Doubt]:
        """Return the reports that are new since the last call."""
        doubts = list(self._latest.values())
        self._latest.clear()
        return doubts
