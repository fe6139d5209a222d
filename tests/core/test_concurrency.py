"""Additive increase, multiplicative decrease."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.concurrency import ConcurrencyLimit


def test_it_starts_at_the_maximum_and_successes_do_not_raise_it_further() -> None:
    limit = ConcurrencyLimit(8)
    limit.succeeded()
    assert limit.value == 8


def test_congestion_halves_it_and_a_burst_counts_once() -> None:
    limit = ConcurrencyLimit(8)
    for now in (10.0, 10.1, 10.999):
        limit.congested(now)
    assert limit.value == 4
    limit.congested(11.0)
    assert limit.value == 2


def test_it_never_falls_below_one() -> None:
    limit = ConcurrencyLimit(3)
    for second in range(10):
        limit.congested(float(second))
    assert limit.value == 1


def test_a_round_of_successes_raises_it_by_about_one() -> None:
    limit = ConcurrencyLimit(8)
    limit.congested(0.0)
    for _ in range(5):  # one more than 4: each success is worth a little less than a quarter
        limit.succeeded()
    assert limit.value == 5


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=60), st.integers(1, 20))
def test_it_stays_between_one_and_the_maximum(signs: list[float | None], maximum: int) -> None:
    limit, now = ConcurrencyLimit(maximum), 0.0
    for sign in signs:
        if sign is None:
            limit.succeeded()
        else:
            now += sign
            limit.congested(now)
        assert 1 <= limit.value <= maximum
