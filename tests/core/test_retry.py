"""Backoff, and the queue of what waits for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.retry import RetryPolicy, RetryQueue
from tests.core.builders import an_event

POLICY = RetryPolicy(first_seconds=1.0, cap_seconds=60.0)


@pytest.mark.parametrize(("attempt", "full"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10**6, 60)])
def test_a_wait_doubles_up_to_the_cap_and_half_of_it_is_chance(attempt: int, full: float) -> None:
    assert POLICY.delay(attempt, 0.0) == full / 2
    assert POLICY.delay(attempt, 0.5) == full * 0.75
    assert POLICY.delay(attempt, 0.999999) < full


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_positive_bounded_and_never_shrinks_with_attempts(attempt: int, chance: float) -> None:
    wait = POLICY.delay(attempt, chance)
    assert 0.5 <= wait <= 60
    assert POLICY.delay(attempt + 1, chance) >= wait


def test_groups_come_out_when_their_time_has_come_soonest_first() -> None:
    queue, late, early = RetryQueue(), [an_event(1)], [an_event(2)]
    assert queue.due() is None
    assert queue.take(1e9) is None
    queue.add(5.0, 3, 0, late)
    queue.add(2.0, 1, 0, early)
    assert queue.due() == 2.0
    assert queue.take(1.999) is None
    group = queue.take(2.0)
    assert group is not None
    assert (group.runs, group.attempt) == (early, 1)
    assert queue.due() == 5.0


def test_groups_of_one_instant_keep_the_order_they_failed_in() -> None:
    queue = RetryQueue()
    for offset in range(5):
        queue.add(1.0, 1, 0, [an_event(offset)])
    groups = [queue.take(1.0) for _ in range(5)]
    assert [group.runs[0].offsets[0] for group in groups if group is not None] == [0, 1, 2, 3, 4]


def test_nobody_waits_longer_once_what_they_waited_for_has_come() -> None:
    queue = RetryQueue()
    queue.add(50.0, 1, 0, [an_event(0)])
    queue.add(9.0, 1, 0, [an_event(1)])
    queue.add(3.0, 1, 0, [an_event(2)])
    queue.hasten(5.0)
    groups = [queue.take(5.0) for _ in range(3)]
    assert [group.runs[0].offsets[0] for group in groups if group is not None] == [2, 0, 1]


def test_an_assignment_that_ends_leaves_the_others_in_their_groups() -> None:
    queue = RetryQueue()
    queue.add(1.0, 1, 0, [an_event(0, generation=1), an_event(1, generation=2)])
    queue.drop(1)
    group = queue.take(1.0)
    assert group is not None
    assert [run.offsets for run in group.runs] == [[1]]
