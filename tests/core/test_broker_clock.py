"""Whether the wall clock is believed, whether the ledger is silent, and when the brokers are asked."""

from __future__ import annotations

import pytest

from connector.core.broker_clock import PROBE_SECONDS, BrokerClock
from connector.model import Moment
from tests.core.builders import DAY_MS, NOW_MS, at


def _agrees(clock: BrokerClock, now: Moment) -> bool:
    clock.look(now)
    return clock.agrees


def _silent(clock: BrokerClock, second: float, *unconfirmed_since: float | None) -> bool:
    clock.listen(unconfirmed_since, at(second))
    return clock.silent


def test_before_any_append_there_is_nothing_to_disagree_with() -> None:
    assert _agrees(BrokerClock(300_000, 5.0), at(0, skew_ms=10 * DAY_MS))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_wall_clock_agrees_up_to_the_skew_in_both_directions(sign: int) -> None:
    clock = BrokerClock(300_000, 5.0)
    clock.appended(NOW_MS, at(0))
    assert _agrees(clock, at(50, skew_ms=sign * 300_000))
    assert not _agrees(clock, at(50, skew_ms=sign * 300_001))
    assert clock.disagreement_ms == sign * 300_001


def test_time_that_passed_on_the_monotonic_clock_is_expected_on_the_wall() -> None:
    clock = BrokerClock(1_000, 5.0)
    clock.appended(NOW_MS + 10_000, at(10))
    assert _agrees(clock, at(100_000))
    assert not _agrees(clock, at(100_000, skew_ms=-2_000))


def test_the_last_append_counts_at_once() -> None:
    clock = BrokerClock(1_000, 5.0)
    clock.appended(NOW_MS + 60_000, at(0))
    assert not clock.agrees
    clock.appended(NOW_MS + 2_000, at(2))
    assert clock.agrees


def test_an_append_without_a_time_says_that_the_brokers_answer_and_nothing_of_the_clock() -> None:
    clock = BrokerClock(1_000, 5.0)
    clock.appended(NOW_MS + 60_000, at(0))
    clock.appended(None, at(20))
    assert not clock.agrees
    clock.listen([0.0], at(25.0))
    assert not clock.silent


def test_the_ledger_is_silent_when_the_longest_wait_is_too_long_and_no_append_came_since() -> None:
    clock = BrokerClock(1_000, 5.0)
    assert not _silent(clock, 15.0, None, 10.0, 12.0)
    assert _silent(clock, 15.1, None, 10.0, 12.0)
    clock.appended(NOW_MS, at(15.2))
    assert not _silent(clock, 20.2, None, 10.0), "another partition was answered"
    assert _silent(clock, 20.3, None, 10.0)
    assert not _silent(clock, 99.0, None, None), "nobody waits"


def test_the_brokers_are_asked_now_and_then_only_while_nothing_else_would_ask_them() -> None:
    clock = BrokerClock(1_000, 5.0)
    assert not clock.probe(at(10.0))
    clock.listen([0.0], at(10.0))
    asked = [second for second in range(10, 22) if clock.probe(at(second))]
    assert asked == [10, 10 + PROBE_SECONDS, 10 + 2 * PROBE_SECONDS]
