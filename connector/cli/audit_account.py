"""The account of a partition: the outcome of every offset, and keys delivered more than once.

A record may have several facts. Its outcome is then the first of these: delivered, dead-lettered,
duplicate, stale, ignored (docs/how-it-works.md#several-facts). An offset takes one byte, whatever
is known of it, so ten million offsets take 10 MB.

Law: offsets = gaps + records, and records = the five outcomes + pending + letter only + before the
start + forgotten + unaccounted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from connector.core.offsets import ResolvedOffsets
from connector.model import UNKNOWN_EPOCH, Outcome

__all__ = ["Copies", "DeliveredKeys", "PartitionAccount", "PartitionTotals"]

_GAP, _RECORD = 0, 1
_RANKS = {
    Outcome.IGNORED: 2,
    Outcome.STALE: 3,
    Outcome.DUPLICATE: 4,
    Outcome.DEAD_LETTERED: 5,
    Outcome.DELIVERED: 6,
}
"""Higher outranks lower. A rank takes three bits of an offset's byte; two more bits are flags."""
_RANK_BITS, _LETTER, _FORGOTTEN = 0b111, 0b1000, 0b10000
_CODES = 0b100000


def _outranked(rank: int) -> bytes:
    """Return the table that applies a fact of this rank to bytes of offsets. A gap stays a gap."""
    return bytes(
        code if code & _RANK_BITS == _GAP else code & ~_RANK_BITS | max(code & _RANK_BITS, rank) for code in range(256)
    )


_AFTER_FACT = {outcome: _outranked(rank) for outcome, rank in _RANKS.items()}
"""For each outcome, what a fact with it makes of every byte of an offset."""


@dataclass(frozen=True, slots=True)
class PartitionTotals:
    """The account of one partition. Counts are of records, unless stated otherwise."""

    first_offset: int
    end_offset: int
    next_offset: int | None
    """The offset committed by the group; None if there is no commit that counts."""
    gaps: int
    """Offsets without a record: compacted away, or used by a transaction."""
    fates: dict[Outcome, int]
    pending: int
    """Records at or above the committed offset, without a fact."""
    letter_only: int
    """Records below the committed offset without a fact but with a dead letter. Nothing is lost."""
    before_start: int
    """Records below the offset at which the connector began, by its ledger, without any trace of an
    outcome. An operator had the connector start there."""
    forgotten: int
    """Records below the committed offset, so old that the ledger may have deleted their facts.
    Their outcome is unknown."""
    unaccounted: int
    """Records below the committed offset without any trace of an outcome."""
    letters_missing: int
    """Records dead-lettered by a fact, without the letter. Includes records that the log
    deleted."""
    facts_again: int
    """Facts about a record that had one already."""
    facts_elsewhere: int
    """Facts about records that are not in the log: deleted from it, or of another leader epoch."""
    unaccounted_offsets: tuple[int, ...]
    """The first unaccounted offsets."""
    letters_missing_offsets: tuple[int, ...]
    """The first offsets whose letter is missing."""

    @property
    def records(self) -> int:
        """The number of records."""
        return self.end_offset - self.first_offset - self.gaps


class PartitionAccount:
    """Accounts for the offsets from ``first`` to below ``end``.

    Takes in source, ledger and dead letters, in this order. The records come first, because a fact
    counts only for a record of its leader epoch (docs/how-it-works.md#a-fact-names-its-record).

    ``begins`` says that the log begins at ``first``. Letters of records that the log deleted are
    then expected too: retention of source and dead letters may be the same, and a letter would
    leave with its record.
    """

    __slots__ = (
        "_again",
        "_base",
        "_begins",
        "_codes",
        "_delivered_below",
        "_elsewhere",
        "_end",
        "_epochs",
        "_lettered_below",
        "_letters_below",
        "_next",
        "_since",
        "_started",
        "_starts",
    )

    def __init__(self, first: int, end: int, next_offset: int | None, *, begins: bool = False) -> None:
        self._begins = begins
        self._lettered_below: set[int] = set()
        self._letters_below: set[int] = set()
        self._delivered_below = ResolvedOffsets()
        self._base = self._since = self._started = first
        self._end = max(first, end)
        self._next = next_offset
        self._codes = bytearray(self._end - first)
        self._starts: list[int] = []
        self._epochs: list[int] = []
        self._again = 0
        self._elsewhere = 0

    def take_record(self, offset: int, epoch: int, *, forgotten: bool = False) -> None:
        """Note a record, in order of offset.

        ``forgotten`` means that retention may have deleted its facts.
        """
        self._codes[offset - self._base] = _RECORD | (_FORGOTTEN if forgotten else 0)
        if not self._epochs or self._epochs[-1] != epoch:
            self._starts.append(offset)
            self._epochs.append(epoch)

    def begin_at(self, first: int) -> None:
        """Leave out the offsets that were deleted from the log while it was read."""
        self._since = min(max(first, self._since), self._end)

    def started_at(self, offset: int) -> None:
        """Note where the connector began the very first time. Lower offsets were never its own."""
        self._started = offset

    def take_facts(self, first: int, length: int, outcome: Outcome, epoch: int) -> None:
        """Take in a run of facts. Runs may overlap and come in any order."""
        known = min(first + length, self._end) - first  # offsets appended later are not part of this account
        if known <= 0:
            return
        if self._begins and first < self._base:
            self._take_facts_below(first, min(length, self._base - first), outcome)
        applied = 0
        for low, high in self._stretches(first, first + known, epoch):
            codes = self._codes[low:high]
            gaps = codes.count(_GAP)
            applied += len(codes) - gaps
            self._again += len(codes) - gaps - codes.count(_RECORD) - codes.count(_RECORD | _FORGOTTEN)
            self._codes[low:high] = codes.translate(_AFTER_FACT[outcome])
        self._elsewhere += known - applied

    def _take_facts_below(self, first: int, length: int, outcome: Outcome) -> None:
        if outcome is Outcome.DEAD_LETTERED:
            self._lettered_below.update(range(first, first + length))
        elif outcome is Outcome.DELIVERED:
            self._delivered_below.add(first, length, UNKNOWN_EPOCH)

    def _missing_below(self) -> list[int]:
        missing = sorted(self._lettered_below - self._letters_below)
        return [offset for offset in missing if not self._delivered_below.covers(offset, UNKNOWN_EPOCH)]

    def _stretches(self, first: int, end: int, epoch: int) -> Iterator[tuple[int, int]]:
        """Yield the index ranges from ``first`` to ``end`` with this leader epoch."""
        for at in range(max(bisect_right(self._starts, first) - 1, 0), len(self._starts)):
            start = self._starts[at]
            if start >= end:
                return
            if self._epochs[at] == epoch:
                stop = self._starts[at + 1] if at + 1 < len(self._starts) else self._end
                yield max(start, first) - self._base, min(stop, end) - self._base

    def take_letter(self, offset: int) -> None:
        """Note a dead letter of the record at an offset."""
        if offset < self._base:
            self._letters_below.add(offset)
        elif offset < self._end and self._codes[offset - self._base] != _GAP:
            self._codes[offset - self._base] |= _LETTER

    def totals(self, places: int = 10) -> PartitionTotals:
        """Return the totals, with the first ``places`` offsets of each problem."""
        begin = self._since - self._base
        below = begin if self._next is None else min(max(self._next - self._base, begin), len(self._codes))
        done = [self._codes.count(code, begin, below) for code in range(_CODES)]
        open_ = [self._codes.count(code, below) for code in range(_CODES)]
        every = [*map(int.__add__, done, open_)]
        started = min(max(self._started - self._base, begin), below)
        before = [self._codes.count(code, begin, started) for code in (_RECORD, _RECORD | _FORGOTTEN)]
        missing = (_RANKS[Outcome.DEAD_LETTERED], _RANKS[Outcome.DEAD_LETTERED] | _FORGOTTEN)
        missing_below = self._missing_below()
        return PartitionTotals(
            first_offset=self._since,
            end_offset=self._end,
            next_offset=self._next,
            gaps=_sum(every, _GAP),
            fates={outcome: _sum(every, rank) for outcome, rank in _RANKS.items()},
            pending=_sum(open_, _RECORD),
            letter_only=done[_RECORD | _LETTER] + done[_RECORD | _LETTER | _FORGOTTEN],
            before_start=sum(before),
            forgotten=done[_RECORD | _FORGOTTEN] - before[1],
            unaccounted=done[_RECORD] - before[0],
            letters_missing=sum(every[code] for code in missing) + len(missing_below),
            facts_again=self._again,
            facts_elsewhere=self._elsewhere,
            unaccounted_offsets=self._first((_RECORD,), started, below, places),
            letters_missing_offsets=(
                *missing_below[:places],
                *self._first(missing, begin, len(self._codes), places),
            )[:places],
        )

    def _first(self, codes: Iterable[int], begin: int, end: int, places: int) -> tuple[int, ...]:
        return tuple(
            sorted(at + self._base for code in codes for at in islice(self._found(code, begin, end), places))[:places]
        )

    def _found(self, code: int, begin: int, end: int) -> Iterator[int]:
        at = self._codes.find(code, begin, end)
        while at >= 0:
            yield at
            at = self._codes.find(code, at + 1, end)


def _sum(counts: list[int], rank: int) -> int:
    return sum(count for code, count in enumerate(counts) if code & _RANK_BITS == rank)


@dataclass(frozen=True, slots=True)
class Copies:
    """Deliveries of a key beyond its first."""

    across_partitions: int
    """Deliveries from partitions other than the first. The window of one partition does not know
    the keys of another."""
    within_a_partition: int
    """Deliveries from another offset of the same partition. The copies were further apart than the
    window, or facts were lost."""


class DeliveredKeys:
    """Digests of dedupe keys, with the places that they were delivered from.

    A key takes 28 bytes. Only the keys of one bucket in 256 are objects at a time.
    """

    __slots__ = ("_buckets",)

    _KEY_BYTES, _PARTITION_BYTES, _OFFSET_BYTES = 16, 4, 8

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(256)]

    def add(self, key: bytes, partition: int, offset: int) -> None:
        """Note a delivered fact. Several facts about one record count as one."""
        place = partition << 8 * self._OFFSET_BYTES | offset
        self._buckets[key[0]] += key + place.to_bytes(self._PARTITION_BYTES + self._OFFSET_BYTES, "big")

    def copies(self) -> Copies:
        """Count the deliveries beyond the first of each key."""
        across = within = 0
        for bucket in self._buckets:
            for places in self._repeated(bucket):
                partitions = len({place[: self._PARTITION_BYTES] for place in places})
                across += partitions - 1
                within += len(places) - partitions
        return Copies(across, within)

    def _repeated(self, bucket: bytearray) -> Iterable[set[bytes]]:
        width = self._KEY_BYTES + self._PARTITION_BYTES + self._OFFSET_BYTES
        first: dict[bytes, bytes] = {}
        repeated: dict[bytes, set[bytes]] = {}
        for at in range(0, len(bucket), width):
            key, place = bytes(bucket[at : at + self._KEY_BYTES]), bytes(bucket[at + self._KEY_BYTES : at + width])
            if first.setdefault(key, place) != place:
                repeated.setdefault(key, {first[key]}).add(place)
        return repeated.values()
