"""Ages at their edges, and whether the wall clock is believed."""

from __future__ import annotations

import pytest

from connector.core.freshness import EARLIEST_PLAUSIBLE_MS, Clock, Freshness, FreshnessPolicy
from tests.core.builders import DAY_MS, NOW_MS, at

POLICY = FreshnessPolicy(max_age_ms=7 * DAY_MS, max_skew_ms=300_000)


@pytest.mark.parametrize(
    ("age_ms", "freshness"),
    [
        (0, Freshness.FRESH),
        (7 * DAY_MS - 1, Freshness.FRESH),
        (7 * DAY_MS, Freshness.FRESH),
        (7 * DAY_MS + 1, Freshness.STALE),
        (-300_000, Freshness.FRESH),
        (-300_001, Freshness.IN_FUTURE),
        (NOW_MS - EARLIEST_PLAUSIBLE_MS, Freshness.STALE),
        (NOW_MS - EARLIEST_PLAUSIBLE_MS + 1, Freshness.BEFORE_2000),
        (NOW_MS - NOW_MS // 1000, Freshness.BEFORE_2000),
    ],
)
def test_an_age_is_judged_to_the_millisecond(age_ms: int, freshness: Freshness) -> None:
    assert POLICY.judge(NOW_MS - age_ms, NOW_MS) is freshness


def test_the_year_2000_begins_where_the_calendar_says() -> None:
    assert EARLIEST_PLAUSIBLE_MS == (30 * 365 + 7) * DAY_MS


def test_before_any_append_there_is_nothing_to_disagree_with() -> None:
    assert Clock(300_000).agrees(at(0, skew_ms=10 * DAY_MS))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_wall_clock_agrees_up_to_the_skew_in_both_directions(sign: int) -> None:
    clock = Clock(300_000)
    clock.appended(NOW_MS, at(0))
    assert clock.agrees(at(50, skew_ms=sign * 300_000))
    assert not clock.agrees(at(50, skew_ms=sign * 300_001))
    assert clock.disagreement_ms == sign * 300_001


def test_time_that_passed_on_the_monotonic_clock_is_expected_on_the_wall() -> None:
    clock = Clock(1_000)
    clock.appended(NOW_MS + 10_000, at(10))
    assert clock.agrees(at(100_000))
    assert not clock.agrees(at(100_000, skew_ms=-2_000))


def test_the_last_append_counts() -> None:
    clock = Clock(1_000)
    clock.appended(NOW_MS + 60_000, at(0))
    assert not clock.agrees(at(1))
    clock.appended(NOW_MS + 2_000, at(2))
    assert clock.agrees(at(3))
