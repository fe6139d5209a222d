"""Which offsets were received, which are resolved, and which next offset may be committed.

Only received records count: a gap (compaction, a transaction's marker) is not a record, so nothing here synthesises a
range (parallel-consumer, ``PartitionState``), and only the end of the log, once read to, says that nothing else came.
``next_offset`` is offset + 1, the only thing ever committed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable

from connector.errors import OutOfOrder
from connector.model import UNKNOWN_EPOCH

__all__ = ["OffsetTracker", "ResolvedOffsets"]


class OffsetTracker:
    """Offsets of one assignment: tracked in order, resolved in any order, one frontier.

    Law: every received offset below ``next_offset`` is resolved, and ``next_offset`` never goes back.
    """

    __slots__ = ("_last", "_reached", "_received", "_resolved", "_runs", "_start", "behind", "epoch", "next_offset")

    def __init__(self, start: int, epoch: int = UNKNOWN_EPOCH) -> None:
        self.next_offset = start
        self.epoch = epoch
        """Leader epoch of the last record below ``next_offset``."""
        self.behind = start
        """The offset behind that record, which its epoch vouches for: below ``next_offset`` where markers follow."""
        self._start = start
        self._last = start - 1
        self._reached = start
        self._received: deque[int] = deque()
        self._resolved: set[int] = set()
        self._runs: deque[tuple[int, int]] = deque()  # (first offset, epoch) wherever the epoch changes

    def __len__(self) -> int:
        """Count the received offsets at or above the frontier."""
        return len(self._received)

    def track(self, offset: int, epoch: int) -> bool:
        """Take in a received offset; False below the start, where all is committed.

        Raises:
            OutOfOrder: it is not above all before it, or below an end of the log that was read to. It may have been tracked
                before, but if it lay in a gap the frontier may pass it, or have passed it. A client that reads on from one
                seek never goes back (librdkafka did until 2.4, its issue 4686, on a needless resume), so not to believe the
                harmless case costs nothing.
        """
        if offset <= self._last:
            if offset < self._start:
                return False
            raise OutOfOrder(
                f"offset {offset} was received after offset {self._last} of the same partition and assignment: the process "
                "ends, and its next start reads again from the committed offset"
            )
        self._last = offset
        self._received.append(offset)
        if not self._runs or self._runs[-1][1] != epoch:
            self._runs.append((offset, epoch))
        return True

    def resolve(self, offsets: Iterable[int]) -> None:
        """Note that nothing more will happen to these tracked offsets, and that this is written down."""
        received, resolved = self._received, self._resolved
        resolved.update(offsets)
        last = UNKNOWN_EPOCH
        while received and received[0] in resolved:
            last = received.popleft()
            resolved.discard(last)
        if last != UNKNOWN_EPOCH:
            self._advance(last)
        if not received:
            self.next_offset = max(self.next_offset, self._reached)

    def reach(self, end: int) -> None:
        """Note that the log was read to its end: behind the last record received stand only markers of transactions.

        The frontier passes them, or a lag would be shown for ever. The epoch stays that of the record before them, which may
        be older than theirs: hence ``behind``, from where the next assignment reads on.
        """
        self._reached = max(self._reached, end)
        self._last = max(self._last, end - 1)
        self.resolve(())

    def _advance(self, last: int) -> None:
        self.next_offset = self.behind = last + 1
        runs = self._runs
        while len(runs) > 1 and runs[1][0] <= last:
            runs.popleft()
        self.epoch = runs[0][1]


class ResolvedOffsets:
    """Offsets that the ledger says are resolved, each under the leader epoch it was appended under."""

    __slots__ = ("_ends", "_open", "_starts", "beyond")

    def __init__(self) -> None:
        self.beyond = 0
        """One above the highest offset in here: a record at or above it needs no look-up."""
        self._open: dict[int, list[tuple[int, int]]] = {}
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}

    def add(self, first: int, length: int, epoch: int) -> None:
        """Add a run of offsets; runs may overlap and come in any order."""
        self._open.setdefault(epoch, []).append((first, first + length))
        self.beyond = max(self.beyond, first + length)

    def covers(self, offset: int, epoch: int) -> bool:
        """Tell whether the record at this offset and epoch is resolved."""
        if epoch in self._open:
            self._merge(epoch)
        starts = self._starts.get(epoch)
        if not starts:
            return False
        at = bisect_right(starts, offset) - 1
        return at >= 0 and offset < self._ends[epoch][at]

    def reach(self, offset: int) -> int:
        """Return the first offset from this one on that no run holds, whatever its epoch."""
        for epoch in list(self._open):
            self._merge(epoch)
        reached = -1
        while reached != offset:
            reached = offset
            for epoch, starts in self._starts.items():
                at = bisect_right(starts, offset) - 1
                if at >= 0:
                    offset = max(offset, self._ends[epoch][at])
        return offset

    def last_below(self, offset: int) -> tuple[int, int] | None:
        """Return offset and epoch of the last record below this offset, of those in here; None if there is none.

        It is of the highest epoch: a log that was cut goes on under a higher one than any record that it lost.
        """
        for epoch in list(self._open):
            self._merge(epoch)
        for epoch in sorted(self._starts, reverse=True):
            at = bisect_left(self._starts[epoch], offset) - 1
            if at >= 0:
                return min(self._ends[epoch][at], offset) - 1, epoch
        return None

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
