"""Additive increase, multiplicative decrease."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.concurrency import ConcurrencyLimit


def test_it_starts_at_the_maximum_and_successes_do_not_raise_it_further() -> None:
    limit = ConcurrencyLimit(8)
    limit.answered(0.0, 0.04)
    assert limit.value == 8


def test_congestion_halves_it_and_what_was_out_at_once_counts_once() -> None:
    limit = ConcurrencyLimit(8)
    for answered in (10.0, 10.1, 31.0):
        limit.congested(9.9, answered)
    assert limit.value == 4
    limit.congested(10.1, 31.1)
    assert limit.value == 2


def test_slow_answers_of_one_round_are_one_sign_however_far_apart_they_come() -> None:
    limit = ConcurrencyLimit(8)
    for _ in range(8):
        limit.answered(0.0, 0.1)
    for answered in (13.0, 20.0, 34.0):
        limit.answered(1.0, answered)
    assert limit.value == 4


def test_it_never_falls_below_one() -> None:
    limit = ConcurrencyLimit(3)
    for second in range(10):
        limit.congested(second, second + 0.5)
    assert limit.value == 1


def test_a_round_of_successes_raises_it_by_about_one() -> None:
    limit = ConcurrencyLimit(8)
    limit.congested(0.0, 0.0)
    for _ in range(5):  # one more than 4: each success is worth a little less than a quarter
        limit.answered(0.0, 0.04)
    assert limit.value == 5


def test_an_answer_much_slower_than_usual_is_a_sign_of_congestion() -> None:
    limit = ConcurrencyLimit(8)
    for second in range(10):
        limit.answered(second, second + 1.0)
    limit.answered(10.0, 13.9)
    assert limit.value == 8
    limit.answered(20.0, 28.0)
    assert limit.value == 4


def test_below_two_seconds_nothing_is_slow() -> None:
    limit = ConcurrencyLimit(8)
    for second in range(10):
        limit.answered(second, second + 0.01)
    limit.answered(10.0, 12.0)
    assert limit.value == 8


def test_if_all_answers_have_become_slow_the_limit_rises_again() -> None:
    limit = ConcurrencyLimit(4)
    for second in range(10):
        limit.answered(second, second + 1.0)
    seen = []
    for number in range(60):
        limit.answered(20.0 * (number + 1), 20.0 * (number + 2))
        seen.append(limit.value)
    assert min(seen) == 1
    assert seen[-1] == 4


def test_after_an_outage_it_begins_at_one() -> None:
    limit = ConcurrencyLimit(8)
    limit.restart()
    assert limit.value == 1
    limit.answered(0.0, 0.04)
    assert limit.value == 2


def test_after_an_outage_it_doubles_with_each_round_until_a_sign_of_congestion() -> None:
    limit, seen = ConcurrencyLimit(32), []
    limit.restart()
    for _ in range(4):
        for _ in range(limit.value):
            limit.answered(0.0, 0.04)
        seen.append(limit.value)
    assert seen == [2, 4, 8, 16]
    limit.congested(1.0, 1.04)
    for _ in range(9):
        limit.answered(2.0, 2.04)
    assert limit.value == 9


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 100)), max_size=60), st.integers(1, 20))
def test_it_stays_between_one_and_the_maximum(signs: list[tuple[bool, float, float]], maximum: int) -> None:
    limit, now = ConcurrencyLimit(maximum), 0.0
    for congested, passed, took in signs:
        now += passed
        if congested:
            limit.congested(now - took, now)
        else:
            limit.answered(now - took, now)
        assert 1 <= limit.value <= maximum
