"""The assignments by generation, and their totals, without a walk over all at each input.

The problem. With hundreds of partitions each input concerns one or two, but what is due next, how
much is held, and whether an operator is needed depend on all.

The picture. Whoever looks up an assignment may change it, so a look-up notes it for this turn. Only
what was noted is settled, added up and given a new time:

    roster[generation] ─▶ noted ◀─ wake: its time has come, or something it waits for changed
                            │
                            ▼
                  settled, in the order of assignment ─▶ end_turn: its share of the sums, its next time

What must change together. A new sum over assignments needs its part in `_Share`. A new thing of an
assignment that waits for time needs its line in `_due_of`, or nothing wakes the pipeline for it.
What waits for something else than time or a change of its own needs `note_all` when that happens.
Whoever changes a sum of an assignment while settling it, notes it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from connector.core.assignment import Assignment, Phase
from connector.model import TopicPartition

__all__ = ["Earliest", "Roster"]

_SLACK = 64
"""Outdated times that are kept beside as many as are valid, before they are thrown away."""


class Earliest:
    """The earliest of many times, of which each belongs to a number and may change."""

    def __init__(self) -> None:
        self._times: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []  # outdated times among them

    def set(self, number: int, time: float | None) -> None:
        """Set the time of a number; None for none."""
        if time is None:
            self._times.pop(number, None)
        elif self._times.get(number) != time:
            self._times[number] = time
            heappush(self._heap, (time, number))
            if len(self._heap) > 2 * len(self._times) + _SLACK:
                self._heap = [(time, number) for number, time in self._times.items()]
                heapify(self._heap)

    @property
    def first(self) -> float | None:
        """The earliest time; None if there is none."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> list[int]:
        """Return the numbers whose time has come, and forget their times."""
        taken: list[int] = []
        while (first := self.first) is not None and first <= now:
            number = heappop(self._heap)[1]
            del self._times[number]
            taken.append(number)
        return taken


class _Share(NamedTuple):
    """What one assignment adds to what holds for all."""

    held: int = 0
    held_bytes: int = 0
    facts: int = 0
    writable: int = 0
    parked: bool = False
    running: bool = False
    troubled: bool = False
    unconfirmed_since: float | None = None


_NOTHING = _Share()


@dataclass(slots=True)
class _Sums:
    """What all assignments together hold."""

    held: int = 0
    held_bytes: int = 0
    facts: int = 0
    writable: int = 0
    parked: int = 0
    running: int = 0

    def replace(self, before: _Share, share: _Share) -> None:
        """Take in the share of an assignment that had another one before."""
        self.held += share.held - before.held
        self.held_bytes += share.held_bytes - before.held_bytes
        self.facts += share.facts - before.facts
        self.writable += share.writable - before.writable
        self.parked += share.parked - before.parked
        self.running += share.running - before.running


class Roster(dict[int, Assignment]):
    """Assignments by generation; those that ended too, while anything is under way.

    ``roster[generation]`` and `find` are for who may change it; the rest of a dict's methods, for
    who only looks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._of_partition: dict[TopicPartition, list[Assignment]] = {}
        self._noted: set[int] = set()  # in this turn
        self._unsummed: set[int] = set()  # noted since the sums were made
        self._shares: dict[int, _Share] = {}
        self._sums = _Sums()
        self._parked: set[int] = set()
        self._troubled: set[int] = set()
        self._due = Earliest()
        self._unconfirmed = Earliest()

    # ---- who is in it

    def __setitem__(self, generation: int, assignment: Assignment) -> None:
        """Take in an assignment."""
        super().__setitem__(generation, assignment)
        self._of_partition.setdefault(assignment.partition, []).append(assignment)
        self.note((generation,))

    def __delitem__(self, generation: int) -> None:
        """Forget an assignment, for which nothing is under way any more."""
        assignment = self[generation]
        super().__delitem__(generation)
        others = self._of_partition[assignment.partition]
        others.remove(assignment)
        if not others:
            del self._of_partition[assignment.partition]
        self.note(other.generation for other in others)

    def __getitem__(self, generation: int) -> Assignment:
        """Return an assignment, which may be changed in this turn."""
        self._unsummed.add(generation)
        return dict.__getitem__(self, generation)

    def find(self, generation: int) -> Assignment | None:
        """Return an assignment, which may be changed in this turn; None if it is gone."""
        self._unsummed.add(generation)
        return self.get(generation)

    def older(self, assignment: Assignment) -> list[Assignment]:
        """Return the ended assignments of the same partition that have something under way.

        Whoever has the partition next, this process or another, sends again what they have not
        written down.
        """
        return [each for each in self._of_partition[assignment.partition] if not each.live]

    @property
    def any_live(self) -> bool:
        """Whether any assignment is ours."""
        return any(assignment.live for assignment in self.values())

    # ---- a turn

    def note(self, generations: Iterable[int]) -> None:
        """Note assignments that are to be settled in this turn."""
        self._unsummed.update(generations)

    def note_all(self) -> None:
        """Note all: what has changed concerns each."""
        self.note(self)

    def wake(self, now: float) -> None:
        """Note the assignments to settle.

        Their time has come, they hold letters back, or they wait for an assignment that is noted.
        """
        self.note(self._due.take(now))
        self.note(self._parked)
        self._note_others_of_partitions()

    def _note_others_of_partitions(self) -> None:
        self._noted |= self._unsummed
        if len(self._of_partition) == len(self):
            return  # no partition has two
        for generation in list(self._noted):
            if (assignment := self.get(generation)) is not None:
                self.note(other.generation for other in self._of_partition[assignment.partition])

    def noted(self) -> list[Assignment]:
        """Return what is to be settled in this turn, in the order of assignment."""
        self._noted |= self._unsummed
        return [assignment for generation in sorted(self._noted) if (assignment := self.get(generation)) is not None]

    def end_turn(self) -> None:
        """Bring the sums and the times of what was noted up to date."""
        self._note_others_of_partitions()
        self._sum_up()
        for generation in self._noted:
            assignment = self.get(generation)
            self._due.set(generation, None if assignment is None else self._due_of(assignment))
        self._noted.clear()

    def _due_of(self, assignment: Assignment) -> float | None:
        times = [
            assignment.restores_at(self.older(assignment)) if assignment.restoring.due is not None else None,
            assignment.letters.due,
            assignment.unreadable.due,
            assignment.facts.due,
            assignment.drain_by if assignment.phase is Phase.DRAINING else None,
            assignment.committing.due if assignment.commits else None,
        ]
        return min([time for time in times if time is not None], default=None)

    def _sum_up(self) -> None:
        self._noted |= self._unsummed
        for generation in self._unsummed:
            assignment = self.get(generation)
            share = _NOTHING if assignment is None else _share_of(assignment)
            before = self._shares.get(generation, _NOTHING)
            if share != before:
                self._shares[generation] = share
                self._sums.replace(before, share)
                (self._parked.add if share.parked else self._parked.discard)(generation)
                (self._troubled.add if share.troubled else self._troubled.discard)(generation)
                self._unconfirmed.set(generation, share.unconfirmed_since)
            if assignment is None:
                self._shares.pop(generation, None)
        self._unsummed.clear()

    # ---- what holds for all

    @property
    def sums(self) -> _Sums:
        """What all together hold, as of now."""
        if self._unsummed:
            self._sum_up()
        return self._sums

    @property
    def troubled(self) -> list[Assignment]:
        """The assignments that are ours and may need an operator, as of the last turn."""
        return [assignment for generation in sorted(self._troubled) if (assignment := self.get(generation)) is not None]

    @property
    def unconfirmed_since(self) -> float | None:
        """Monotonic second since which an entry of the ledger is waited for; None with none."""
        if self._unsummed:
            self._sum_up()
        return self._unconfirmed.first

    @property
    def due(self) -> float | None:
        """Monotonic second at which one of them is to be settled if nothing else happens.

        It is None if no time is awaited.
        """
        return self._due.first


def _share_of(assignment: Assignment) -> _Share:
    facts, letters = assignment.facts, assignment.letters
    return _Share(
        assignment.held,
        assignment.held_bytes,
        len(facts),
        facts.writable,
        bool(letters.parked),
        assignment.running,
        assignment.live and _is_troubled(assignment),
        facts.unconfirmed_since,
    )


def _is_troubled(assignment: Assignment) -> bool:
    return bool(
        assignment.restoring.refusal
        or assignment.facts.complaint
        or assignment.letters.failures
        or assignment.unreadable.tries
    )
