"""Ages at their edges."""

from __future__ import annotations

import pytest

from connector.core.freshness import EARLIEST_PLAUSIBLE_MS, Freshness, FreshnessPolicy
from tests.core.builders import DAY_MS, NOW_MS

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
