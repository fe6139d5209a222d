"""The last hour in samples: rates, quantiles, and bounded memory."""

from __future__ import annotations

import pytest

from connector.telemetry.history import (
    EVERY_SECONDS,
    LATENCY_BOUNDS,
    MOST,
    AnswerCounts,
    Frontiers,
    History,
    Sample,
    latencies_since,
    quantile,
)


def _hour(samples: int, each: int = 50, began: float = 100.0) -> History:
    history = History(began)
    for number in range(1, samples + 1):
        history.take(Sample(began + number * EVERY_SECONDS, {"fate.delivered": each * number}, (), lag=number))
    return history


def test_history_keeps_an_hour_and_no_more() -> None:
    history = _hour(2_000)

    assert len(history.samples) == MOST
    assert history.samples[-1].at - history.samples[0].at == 3_600
    assert len(history.series({"delivered": ["fate.delivered"]})["delivered"]) == 120


def test_rates_are_per_second_in_each_point() -> None:
    series = _hour(9).series({"delivered": ["fate.delivered"], "other": ["none"]})

    assert series["delivered"] == pytest.approx([5.0, 5.0, 5.0])
    assert series["other"] == [0, 0, 0]
    assert series["lag"] == [3, 6, 9]
    assert series["p50"] == [None, None, None]


def test_point_that_took_longer_counts_its_own_seconds() -> None:
    history = History(0.0)
    history.take(Sample(90.0, {"n": 90}, ()))

    assert history.series({"n": ["n"]})["n"] == [1.0]


@pytest.mark.parametrize(("samples", "since"), [(1, 100.0), (29, 100.0), (30, 100.0), (31, 110.0), (100, 800.0)])
def test_recent_time_begins_five_minutes_ago_or_at_the_start(samples: int, since: float) -> None:
    history = _hour(samples)

    assert history.before(100.0 + samples * EVERY_SECONDS, 300.0).at == since


def test_quantiles_are_those_of_the_answers_since_a_sample() -> None:
    answers = AnswerCounts()
    for _ in range(100):
        answers.note("207", 9.0, now=1.0, success=True)
    before = Sample(2.0, {}, tuple(answers.latencies))
    for number in range(100):
        answers.note("207" if number else "timeout", 0.1 if number < 98 else 3.0, now=3.0, success=number < 50)
    recent = latencies_since(before, answers.latencies)

    p50, p98, p99 = (quantile(recent, share) or 0 for share in (0.5, 0.98, 0.99))
    assert 0.1 <= p50 <= 0.13
    assert 0.1 <= p98 <= 0.13
    assert 3.0 <= p99 <= 3.9
    assert (quantile(answers.latencies, 0.99) or 0) >= 9.0
    assert answers.statuses == {"207": 199, "timeout": 1}
    assert answers.last_success == 3.0


def test_quantile_of_nothing_is_unknown_and_of_what_is_beyond_all_bounds_the_last() -> None:
    assert quantile([0] * (len(LATENCY_BOUNDS) + 1), 0.5) is None
    assert quantile([0] * len(LATENCY_BOUNDS) + [3], 0.5) == LATENCY_BOUNDS[-1]
    assert LATENCY_BOUNDS[-1] > 60, "a time-out is told apart"


def test_frontier_stands_since_it_was_first_seen_there() -> None:
    frontiers = Frontiers()

    assert frontiers.look(0.0, {1: 5, 2: None}) == {1: 0.0}
    assert frontiers.look(10.0, {1: 5, 2: 7}) == {1: 10.0, 2: 0.0}
    assert frontiers.look(20.0, {1: 6, 2: 7}) == {1: 0.0, 2: 10.0}
    assert frontiers.look(30.0, {2: None}) == {}
    assert frontiers.look(40.0, {2: 7}) == {2: 0.0}
