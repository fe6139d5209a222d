"""What is counted when an event is acknowledged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.statistics import AGE_BOUNDS_SECONDS, Statistics
from connector.model import Outcome
from tests.core.builders import NOW_MS


@pytest.mark.parametrize(
    ("age_ms", "place"), [(-5, 0), (0, 0), (500, 0), (501, 1), (1000, 1), (604_800_000, 13), (604_800_001, 14)]
)
def test_an_age_falls_into_the_first_bound_that_is_not_below_it(age_ms: int, place: int) -> None:
    statistics = Statistics()
    statistics.delivered(NOW_MS, [NOW_MS - age_ms])
    assert [at for at, count in enumerate(statistics.event_to_ack) if count] == [place]
    assert statistics.event_to_ack_seconds == age_ms / 1000
    assert statistics.outcomes[Outcome.DELIVERED] == 1


@given(ages=st.lists(st.integers(-10_000, 10**9) | st.sampled_from([500, 501, 1000, 60_000, 60_001]), min_size=1))
def test_many_are_counted_as_each_alone(ages: list[int]) -> None:
    together, alone = Statistics(), Statistics()
    together.delivered(NOW_MS, [NOW_MS - age_ms for age_ms in ages])
    for age_ms in ages:
        alone.delivered(NOW_MS, [NOW_MS - age_ms])
    assert together.event_to_ack == alone.event_to_ack
    assert together.event_to_ack_seconds == pytest.approx(alone.event_to_ack_seconds)
    assert together.outcomes == alone.outcomes


def test_the_last_bound_is_the_age_at_which_events_turn_stale() -> None:
    assert AGE_BOUNDS_SECONDS[-1] == 7 * 86_400


def test_resolved_counts_every_outcome_and_what_was_resolved_already() -> None:
    statistics = Statistics()
    for outcome in Outcome:
        statistics.outcomes[outcome] += 1
    statistics.already_resolved = 10
    assert statistics.resolved == 15
