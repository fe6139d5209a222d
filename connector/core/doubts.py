"""Dedupe keys that may identify nothing: no list can hold everything that producers write for "no id".

A duplicate is dropped and leaves no copy, so a constant in the place of an id would silently lose
every event but one. Two things give such a key away: copy after copy, where a producer's retry makes
a few; and a copy of an event in flight whose content differs. An operator is told of both by their
place in Kafka, never by the key.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from connector.model import TopicPartition

__all__ = ["Doubt", "Doubts", "Kind", "Repeats"]

_MOST_KEYS = 1024
"""Keys counted at a time; a third of a megabyte."""
_MANY = 100
"""More duplicates of one key than any retry makes."""
_FEW, _SHARE = 10, 20
"""Fewer are too many where they make up more than one in ``_SHARE`` records."""


class Kind(StrEnum):
    """What gives a key away: a label of a metric."""

    REPEATED = "repeated"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What an operator is told of a key."""

    kind: Kind
    first: str
    """Where its first copy stands that was counted, or the event in flight, as ``topic-partition@offset``."""
    last: str
    """Where the latest copy stands."""
    copies: int


@dataclass(slots=True)
class _Count:
    first: str
    copies: int = 0
    tell_at: int = _FEW


class Repeats:
    """Counts the duplicates of each key, in bounded memory (Misra and Gries, 1982).

    Law: no count is too high, and none is too low by more than one in ``_MOST_KEYS`` of all duplicates. So no key is doubted
    that need not be, and one whose copies are a share of the traffic is found however many others there are.
    """

    __slots__ = ("_counts", "doubtful")

    def __init__(self) -> None:
        self._counts: dict[bytes, _Count] = {}
        self.doubtful = 0
        """Duplicates of keys that were doubted."""

    def note(self, key: bytes, partition: TopicPartition, offset: int, records: int) -> Doubt | None:
        """Note a duplicate, of so many records in all; return what is to be told now. It is, each time it has doubled."""
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) == _MOST_KEYS:
                self._forget_one_of_each()
                return None
            count = self._counts[key] = _Count(f"{partition}@{offset}")
        count.copies += 1
        doubted_before = count.tell_at > _FEW
        self.doubtful += doubted_before
        if count.copies < count.tell_at or not (count.copies >= _MANY or count.copies * _SHARE >= records):
            return None
        count.tell_at = 2 * count.copies
        self.doubtful += 0 if doubted_before else count.copies
        return Doubt(Kind.REPEATED, count.first, f"{partition}@{offset}", count.copies)

    def _forget_one_of_each(self) -> None:
        for count in self._counts.values():
            count.copies -= 1
        self._counts = {key: count for key, count in self._counts.items() if count.copies}


class Doubts:
    """Collects what an operator is to be told, the latest of each kind. ``doubtful`` are the counts to keep up to date."""

    __slots__ = ("_doubtful", "_latest", "_repeats")

    def __init__(self, doubtful: Counter[Kind]) -> None:
        self._doubtful = doubtful
        self._latest: dict[Kind, Doubt] = {}
        self._repeats = Repeats()

    def repeated(self, key: bytes, partition: TopicPartition, offset: int, records: int) -> None:
        """Note a duplicate, of so many records in all."""
        doubt = self._repeats.note(key, partition, offset, records)
        self._doubtful[Kind.REPEATED] = self._repeats.doubtful
        if doubt is not None:
            self._latest[doubt.kind] = doubt

    def differs(self, partition: TopicPartition, first: int, copy: int) -> None:
        """Note that the record at offset ``copy`` has the key of the one in flight at ``first``, and another content."""
        self._doubtful[Kind.DIFFERENT] += 1
        here, there = f"{partition}@{first}", f"{partition}@{copy}"
        self._latest[Kind.DIFFERENT] = Doubt(Kind.DIFFERENT, here, there, self._doubtful[Kind.DIFFERENT])

    def take(self) -> list[Doubt]:
        """Return what is new since this was asked last."""
        doubts = list(self._latest.values())
        self._latest.clear()
        return doubts
