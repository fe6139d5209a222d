"""Which offsets were received, which are resolved, and which next offset may be committed.

The picture. The log of one assignment, with its frontiers. ``R`` is a resolved record, ``o`` an
open one, ``m`` a marker of a transaction, ``-`` a gap that compaction left:

    offset   10   11   12   13   14   15   16   17   18   19
    log       R    R    -    R    o    R    -    R    m    m

    14 is open        next_offset ▲                             ▲ log_end
                after_last_record ▲

    14 is resolved                  after_last_record ▲         ▲ log_end
                                                                ▲ next_offset

``next_offset`` (offset + 1, the only thing ever committed) stops at the first open record, so 15
and 17 wait for 14. ``after_last_record`` follows the last record below ``next_offset``, the one
that the committed epoch belongs to. ``log_end`` is how far the log was read.

Only received records count. A gap or a marker is no record, and the client never reports one, so
nothing here fills in a range (parallel-consumer does, in its ``PartitionState``). Only the end of
the log, once read to, says that no record came in between.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import islice

from connector.errors import OutOfOrder
from connector.model import UNKNOWN_EPOCH

__all__ = ["OffsetTracker", "ResolvedOffsets"]


class OffsetTracker:
    """Offsets of one assignment: tracked in order, resolved in any order, one commit frontier.

    Law: every received offset below ``next_offset`` is resolved. ``next_offset`` never goes back.
    """

    __slots__ = (
        "_last",
        "_log_end",
        "_received",
        "_resolved",
        "_runs",
        "_start",
        "after_last_record",
        "epoch",
        "next_offset",
    )

    def __init__(self, start: int, epoch: int = UNKNOWN_EPOCH) -> None:
        self.next_offset = start
        self.epoch = epoch
        """Leader epoch of the last record below ``next_offset``."""
        self.after_last_record = start
        """Offset after that record. Lower than ``next_offset`` if only markers follow."""
        self._start = start
        self._last = start - 1  # the highest offset that was tracked, or lies below a log end
        self._log_end = start
        self._received: deque[int] = deque()  # at or above the frontier, in order
        self._resolved: set[int] = set()  # those of `_received` that are resolved
        self._runs: deque[tuple[int, int]] = deque()  # (first offset, epoch) wherever the epoch changes

    def __len__(self) -> int:
        """Count the received offsets at or above the frontier."""
        return len(self._received)

    def track(self, offsets: Sequence[int], epochs: Sequence[int]) -> int:
        """Take in received offsets.

        Return how many lie below the start, where everything is committed.

        Raises:
            OutOfOrder: an offset is not above all before it, or lies below a log end that was
                already passed. It may be a harmless repeat. It may also lie in a gap that the
                frontier has passed or will pass, so this stops rather than guesses. A client that
                reads on from one seek never goes back (librdkafka did until 2.4, its issue 4686, on
                a needless resume), so refusing the harmless case costs nothing.
        """
        below = bisect_left(offsets, self._start)
        last = self._last
        for offset in offsets[below:]:
            if offset <= last:
                raise OutOfOrder(
                    f"offset {offset} was received after offset {last} of the same partition and assignment: the process "
                    "ends, and its next start reads again from the committed offset"
                )
            last = offset
        self._last = last
        self._received.extend(offsets[below:])
        epoch = self._runs[-1][1] if self._runs else None
        if epochs.count(epoch) < len(epochs):
            for offset, new in zip(offsets[below:], epochs[below:], strict=True):
                if new != epoch:
                    self._runs.append((offset, new))
                    epoch = new
        return below

    def resolve(self, offsets: Sequence[int]) -> None:
        """Note that these tracked offsets are resolved, and that their facts are in the ledger."""
        received, resolved = self._received, self._resolved
        last = UNKNOWN_EPOCH
        if not resolved and [*islice(received, len(offsets))] == offsets:  # nearly always they come next
            for last in offsets:  # noqa: B007 - the last one is used below
                received.popleft()
        else:
            resolved.update(offsets)
        while received and received[0] in resolved:
            last = received.popleft()
            resolved.discard(last)
        if last != UNKNOWN_EPOCH:
            self._advance(last)
        if not received:
            self.next_offset = max(self.next_offset, self._log_end)

    def passed_end(self, log_end: int) -> None:
        """Note that the log was read to its end: only markers follow the last record received.

        The frontier passes the markers, or they would show as lag for ever. The epoch stays that of
        the last record and may be older than the markers'. Hence ``after_last_record``, where the
        next assignment starts to read.
        """
        self._log_end = max(self._log_end, log_end)
        self._last = max(self._last, log_end - 1)
        self.resolve(())

    def _advance(self, last: int) -> None:
        self.next_offset = self.after_last_record = last + 1
        runs = self._runs
        while len(runs) > 1 and runs[1][0] <= last:
            runs.popleft()
        self.epoch = runs[0][1]


class ResolvedOffsets:
    """Offsets that the ledger says are resolved, each under the leader epoch of its record."""

    __slots__ = ("_ends", "_open", "_starts", "end")

    def __init__(self) -> None:
        self.end = 0
        """One above the highest offset held: a record at or above it needs no look-up."""
        self._open: dict[int, list[tuple[int, int]]] = {}  # by epoch: runs (first, end) not merged yet
        self._starts: dict[int, list[int]] = {}  # by epoch: merged runs, in order
        self._ends: dict[int, list[int]] = {}

    def add(self, first: int, length: int, epoch: int) -> None:
        """Add a run of offsets; runs may overlap and come in any order."""
        self._open.setdefault(epoch, []).append((first, first + length))
        self.end = max(self.end, first + length)

    def covers(self, offset: int, epoch: int) -> bool:
        """Return whether the record at this offset and epoch is resolved."""
        if offset >= self.end:
            return False
        if epoch in self._open:
            self._merge(epoch)
        starts = self._starts.get(epoch)
        if not starts:
            return False
        at = bisect_right(starts, offset) - 1
        return at >= 0 and offset < self._ends[epoch][at]

    def first_missing(self, offset: int) -> int:
        """Return the first offset, from this one on, that no run of any epoch holds."""
        self._merge_all()
        before = -1
        while before != offset:
            before = offset
            for epoch, starts in self._starts.items():
                at = bisect_right(starts, offset) - 1
                if at >= 0:
                    offset = max(offset, self._ends[epoch][at])
        return offset

    def has_older(self, offset: int, epoch: int) -> bool:
        """Return whether a record from this offset on is resolved under an earlier epoch."""
        self._merge_all()
        return any(older < epoch and ends[-1] > offset for older, ends in self._ends.items())

    def last_below(self, offset: int) -> tuple[int, int] | None:
        """Return offset and epoch of the last resolved record below this offset, or None.

        The highest epoch that has such a record decides: a truncated log goes on under a higher
        epoch than that of any record that it lost.
        """
        self._merge_all()
        for epoch in sorted(self._starts, reverse=True):
            at = bisect_left(self._starts[epoch], offset) - 1
            if at >= 0:
                return min(self._ends[epoch][at], offset) - 1, epoch
        return None

    def _merge_all(self) -> None:
        for epoch in list(self._open):
            self._merge(epoch)

    def _merge(self, epoch: int) -> None:
        runs = self._open.pop(epoch)
        runs += zip(self._starts.get(epoch, ()), self._ends.get(epoch, ()), strict=True)
        runs.sort()
        starts, ends = [runs[0][0]], [runs[0][1]]
        for first, end in runs[1:]:
            if first <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(first)
                ends.append(end)
        self._starts[epoch], self._ends[epoch] = starts, ends
