"""What is counted when an event is acknowledged."""

from __future__ import annotations

import pytest

from connector.core.statistics import AGE_BOUNDS_SECONDS, Statistics
from connector.model import Outcome


@pytest.mark.parametrize(
    ("age_ms", "place"), [(-5, 0), (0, 0), (500, 0), (501, 1), (1000, 1), (604_800_000, 13), (604_800_001, 14)]
)
def test_an_age_falls_into_the_first_bound_that_is_not_below_it(age_ms: int, place: int) -> None:
    statistics = Statistics()
    statistics.delivered(age_ms)
    assert [at for at, count in enumerate(statistics.event_to_ack) if count] == [place]
    assert statistics.event_to_ack_seconds == age_ms / 1000
    assert statistics.outcomes[Outcome.DELIVERED] == 1


def test_the_last_bound_is_the_age_at_which_events_turn_stale() -> None:
    assert AGE_BOUNDS_SECONDS[-1] == 7 * 86_400


def test_resolved_counts_every_outcome_and_what_was_resolved_already() -> None:
    statistics = Statistics()
    for outcome in Outcome:
        statistics.outcomes[outcome] += 1
    statistics.already_resolved = 10
    assert statistics.resolved == 15
