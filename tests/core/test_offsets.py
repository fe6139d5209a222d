"""The tracker against naive sets, and what the ledger resolves."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connector.core.offsets import OffsetTracker, ResolvedOffsets
from connector.errors import OutOfOrder
from connector.model import UNKNOWN_EPOCH


class _TrackerBesideNaiveSets(RuleBasedStateMachine):
    START = 5

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker(self.START)
        self.received: dict[int, int] = {}
        self.resolved: set[int] = set()
        self.highest = self.START - 1
        self.end = self.frontier = self.START
        self.before = self.START

    @rule(gap=st.integers(1, 3), epoch=st.integers(-1, 2))
    def receive(self, gap: int, epoch: int) -> None:
        self.highest += gap
        assert self.tracker.track([self.highest], [epoch]) == 0
        self.received[self.highest] = epoch

    @rule(back=st.integers(0, 8))
    def receive_again(self, back: int) -> None:
        offset = self.highest - back
        if offset < self.START:
            assert self.tracker.track([offset], [9]) == 1
        else:
            with pytest.raises(OutOfOrder, match=f"offset {offset} was received after offset {self.highest}"):
                self.tracker.track([offset], [9])

    @rule(markers=st.integers(0, 2))
    def read_to_the_end(self, markers: int) -> None:
        self.end = max(self.highest + 1 + markers, self.end)
        self.highest = self.end - 1
        self.tracker.passed_end(self.end)

    @precondition(lambda self: len(self.resolved) < len(self.received))
    @rule(data=st.data())
    def resolve(self, data: st.DataObject) -> None:
        unresolved = [offset for offset in self.received if offset not in self.resolved]
        some = data.draw(st.lists(st.sampled_from(unresolved), unique=True, max_size=3))
        self.tracker.resolve(some)
        self.resolved.update(some)

    @invariant()
    def the_frontier_is_that_of_the_sets(self) -> None:
        below = []
        for offset in self.received:
            if offset not in self.resolved:
                break
            below.append(offset)
        everything = len(below) == len(self.received)
        self.frontier = max(self.frontier, below[-1] + 1 if below else self.START, self.end if everything else self.START)
        assert self.tracker.next_offset == self.frontier
        assert self.tracker.epoch == (self.received[below[-1]] if below else UNKNOWN_EPOCH)
        assert len(self.tracker) == len(self.received) - len(below)

    @invariant()
    def it_never_goes_back(self) -> None:
        assert self.tracker.next_offset >= self.before
        self.before = self.tracker.next_offset


_TrackerBesideNaiveSets.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTrackerBesideNaiveSets = _TrackerBesideNaiveSets.TestCase


def test_every_order_of_resolving_six_records_ends_at_the_same_frontier_and_never_passes_an_open_one() -> None:
    for count in range(1, 7):
        offsets = [10 + 2 * at for at in range(count)]  # with gaps
        for order in permutations(offsets):
            tracker, open_offsets = OffsetTracker(10), set(offsets)
            for offset in offsets:
                tracker.track([offset], [0])
            for offset in order:
                tracker.resolve([offset])
                open_offsets.remove(offset)
                assert tracker.next_offset <= min(open_offsets, default=offsets[-1] + 1)
            assert tracker.next_offset == offsets[-1] + 1
            assert len(tracker) == 0


def test_a_gap_is_not_a_record() -> None:
    tracker = OffsetTracker(0)
    tracker.track([7], [0])
    tracker.resolve([7])
    assert tracker.next_offset == 8


def test_an_open_record_holds_back_the_frontier() -> None:
    tracker = OffsetTracker(0)
    for offset in (0, 1, 2):
        tracker.track([offset], [offset])
    tracker.resolve([0, 2])
    assert (tracker.next_offset, tracker.epoch, len(tracker)) == (1, 0, 2)


def test_a_record_below_the_start_is_not_tracked() -> None:
    tracker = OffsetTracker(5)
    assert tracker.track([4], [0]) == 1
    assert len(tracker) == 0


_RUNS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.integers(-1, 1)), max_size=12)


@given(early=_RUNS, late=_RUNS)
def test_resolved_offsets_are_the_union_of_their_runs_by_epoch_whenever_they_are_asked(
    early: list[tuple[int, int, int]], late: list[tuple[int, int, int]]
) -> None:
    resolved, naive = ResolvedOffsets(), set[tuple[int, int]]()
    for runs in (early, late):
        for first, length, epoch in runs:
            resolved.add(first, length, epoch)
            naive.update((offset, epoch) for offset in range(first, first + length))
        for offset in range(38):
            for epoch in (-1, 0, 1, 2):
                assert resolved.covers(offset, epoch) == ((offset, epoch) in naive)
        assert resolved.end == max((offset + 1 for offset, _ in naive), default=0)


def test_an_unknown_epoch_equals_only_an_unknown_epoch() -> None:
    resolved = ResolvedOffsets()
    resolved.add(1, 1, UNKNOWN_EPOCH)
    resolved.add(2, 1, 3)
    assert resolved.covers(1, UNKNOWN_EPOCH)
    assert not resolved.covers(1, 3)
    assert not resolved.covers(2, UNKNOWN_EPOCH)


def test_the_end_of_the_log_is_passed_once_nothing_before_it_is_open_and_keeps_the_epoch_of_the_record_before() -> None:
    tracker = OffsetTracker(4, epoch=2)
    tracker.passed_end(6)
    assert (tracker.next_offset, tracker.epoch) == (6, 2)
    tracker.track([6], [3])
    tracker.track([7], [3])
    tracker.passed_end(9)
    tracker.resolve([7])
    assert tracker.next_offset == 6
    tracker.resolve([6])
    assert (tracker.next_offset, tracker.epoch) == (9, 3)
    tracker.passed_end(8)
    assert tracker.next_offset == 9


def test_the_last_record_below_an_offset_is_of_the_highest_epoch() -> None:
    resolved = ResolvedOffsets()
    assert resolved.last_below(9) is None
    for first, length, epoch in ((2, 4, 1), (10, 5, 1), (4, 2, 3)):
        resolved.add(first, length, epoch)
    assert [resolved.last_below(offset) for offset in (2, 3, 4, 5, 6, 12)] == [None, (2, 1), (3, 1), (4, 3), (5, 3), (5, 3)]


def test_a_record_of_an_earlier_epoch_is_told_from_one_that_the_log_may_still_have() -> None:
    resolved = ResolvedOffsets()
    resolved.add(2, 3, 1)
    resolved.add(9, 1, 4)
    assert [resolved.has_older(offset, 4) for offset in (0, 4, 5)] == [True, True, False]
    assert not resolved.has_older(0, 1)
    assert not resolved.has_older(0, UNKNOWN_EPOCH)
