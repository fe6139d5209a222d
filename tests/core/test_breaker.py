"""Open after too many refusals in a row, one probe at a time, closed by one delivery."""

from __future__ import annotations

from connector.core.breaker import Breaker, BreakerPolicy


def _breaker() -> Breaker:
    return Breaker(BreakerPolicy(max_consecutive=10, probe_seconds=60.0))


def test_closed_it_limits_nothing() -> None:
    breaker = _breaker()
    breaker.answered(0, 9, 5.0)
    assert not breaker.open
    assert breaker.allows(5.0) is None
    assert breaker.due() is None


def test_it_opens_at_the_limit_and_lets_one_event_through_after_a_while() -> None:
    breaker = _breaker()
    breaker.answered(0, 6, 1.0)
    breaker.answered(0, 4, 5.0)
    assert breaker.open
    assert breaker.allows(64.9) == 0
    assert breaker.allows(65.0) == 1
    assert breaker.due() == 65.0


def test_a_probe_under_way_makes_the_next_one_wait_its_turn() -> None:
    breaker = _breaker()
    breaker.answered(0, 10, 0.0)
    breaker.probing(70.0)
    assert breaker.allows(129.9) == 0
    assert breaker.allows(130.0) == 1


def test_one_delivery_closes_it_and_ends_the_row() -> None:
    breaker = _breaker()
    breaker.answered(0, 10, 0.0)
    breaker.answered(1, 499, 60.0)
    assert not breaker.open
    breaker.answered(0, 9, 61.0)
    assert not breaker.open


def test_an_answer_without_any_final_verdict_changes_nothing() -> None:
    breaker = _breaker()
    breaker.answered(0, 10, 0.0)
    breaker.answered(0, 0, 50.0)
    assert breaker.due() == 60.0
