"""Both breakers: when they open, how they probe, and what closes them."""

from __future__ import annotations

import pytest

from connector.core.breaker import DeadLetterBreaker, DeadLetterPolicy, OutageBreaker, OutagePolicy
from connector.core.retry import RetryPolicy


def _breaker(**changes: float) -> DeadLetterBreaker:
    policy: dict[str, float] = {"max_consecutive": 10, "max_ratio": 0.0, "sample": 20, "probe_seconds": 60.0, "enough": 8}
    policy |= changes
    return DeadLetterBreaker(DeadLetterPolicy(**policy))  # type: ignore[arg-type]  # whole numbers are whole here


def is_open(breaker: DeadLetterBreaker | OutageBreaker) -> bool:
    """Ask; a function, for mypy takes an attribute to stay what it was."""
    return breaker.open


def _dead_letters(breaker: DeadLetterBreaker, count: int, now: float) -> None:
    for _ in range(count):
        breaker.dead_lettered(now)


def test_closed_it_limits_nothing() -> None:
    breaker = _breaker()
    _dead_letters(breaker, 9, 5.0)
    assert not is_open(breaker)
    assert breaker.allows(5.0) is None
    assert breaker.due() is None
    assert breaker.letter_due() is None


def test_a_row_opens_it_and_one_event_and_one_letter_pass_after_a_while() -> None:
    breaker = _breaker()
    _dead_letters(breaker, 6, 1.0)
    _dead_letters(breaker, 4, 5.0)
    assert is_open(breaker)
    assert breaker.why == "10 events in a row became dead letters"
    assert breaker.allows(64.9) == 0
    assert breaker.allows(65.0) == 1
    assert breaker.due() == breaker.letter_due() == 65.0
    assert not breaker.lets_a_letter_through(64.9)
    assert breaker.lets_a_letter_through(65.0)
    assert not breaker.lets_a_letter_through(65.0)
    assert breaker.letter_due() == 125.0


def test_a_probe_under_way_makes_the_next_one_wait_its_turn() -> None:
    breaker = _breaker()
    _dead_letters(breaker, 10, 0.0)
    breaker.probing(70.0)
    assert breaker.allows(129.9) == 0
    assert breaker.allows(130.0) == 1


def test_one_delivery_ends_a_row() -> None:
    breaker = _breaker()
    _dead_letters(breaker, 9, 0.0)
    breaker.delivered(1)
    _dead_letters(breaker, 9, 61.0)
    assert not is_open(breaker)


def test_probes_grow_while_they_pass_and_enough_of_them_close_it() -> None:
    breaker, sizes = _breaker(), []
    _dead_letters(breaker, 10, 0.0)
    while (size := breaker.allows(1e9)) is not None:
        sizes.append(size)
        breaker.delivered(size)
    assert sizes == [1, 2, 4, 8]
    assert breaker.why == ""
    _dead_letters(breaker, 9, 61.0)
    assert not is_open(breaker)  # what opened it is forgotten


def test_probes_that_fail_begin_with_one_event_again() -> None:
    breaker = _breaker()
    _dead_letters(breaker, 10, 0.0)
    breaker.delivered(3)
    _dead_letters(breaker, 3, 61.0)
    assert breaker.allows(1e9) == 4  # half of them pass, which is within the limit
    _dead_letters(breaker, 1, 62.0)
    assert breaker.allows(1e9) == 1
    assert breaker.why == "10 events in a row became dead letters"  # as when it opened


def test_the_share_allowed_is_that_of_probes_too() -> None:
    breaker = _breaker(max_ratio=0.2)
    _dead_letters(breaker, 10, 0.0)
    breaker.delivered(7)
    _dead_letters(breaker, 2, 61.0)
    assert breaker.allows(1e9) == 1


def test_too_large_a_share_opens_it_once_there_are_enough_to_tell() -> None:
    breaker = _breaker(max_consecutive=0, max_ratio=0.5)
    breaker.delivered(8)
    _dead_letters(breaker, 11, 0.0)
    assert not is_open(breaker)  # 11 of 19: too few to tell
    _dead_letters(breaker, 1, 7.0)
    assert is_open(breaker)
    assert breaker.why == "60 % of the latest events became dead letters"
    assert breaker.due() == 67.0


def test_what_was_long_ago_weighs_little() -> None:
    breaker = _breaker(max_consecutive=0, max_ratio=0.5)
    for _ in range(50):
        breaker.delivered(20)
    _dead_letters(breaker, 32, 0.0)
    assert is_open(breaker)


@pytest.mark.parametrize("count", [1, 1000])
def test_limits_of_zero_are_none(count: int) -> None:
    breaker = _breaker(max_consecutive=0, max_ratio=0.0)
    _dead_letters(breaker, count, 0.0)
    assert not is_open(breaker)


def _failures(outage: OutageBreaker, count: int, chance: float = 0.0) -> list[float]:
    """Let one request after the other fail, a second each, from where the last call ended."""
    begins = max(outage._failed_at, 0.0)
    return [outage.failed(begins + number + 0.5, begins + number + 1, chance) for number in range(count)]


def test_failures_in_a_row_are_an_outage_and_the_looks_come_less_and_less_often() -> None:
    outage = OutageBreaker(OutagePolicy(max_failures=3, probes=RetryPolicy(1.0, 30.0)))
    assert _failures(outage, 2) == [0.0, 0.0]
    assert not is_open(outage)
    assert _failures(outage, 3) == [0.5, 1.0, 2.0]
    assert is_open(outage)
    assert max(_failures(outage, 20, 0.999)) < 30.0


def test_requests_that_are_out_together_are_one_failure() -> None:
    outage = OutageBreaker(OutagePolicy(max_failures=2))
    assert [outage.failed(started, 2.0 + started / 10, 0.0) for started in (0.0, 1.0, 2.0)] == [0.0, 0.0, 0.0]
    assert not is_open(outage)
    assert outage.failed(2.1, 3.0, 0.0) == 0.5
    assert is_open(outage)
    assert outage.failed(2.9, 9.0, 0.0) == 0.0, "it was out with the last that counted"


def test_one_answer_ends_an_outage_and_says_so_once() -> None:
    outage = OutageBreaker(OutagePolicy(max_failures=2))
    _failures(outage, 1)
    assert not outage.answered(10.0)
    _failures(outage, 2)
    assert outage.answered(10.0)
    assert not is_open(outage)
    assert not outage.answered(10.0)


def test_requests_that_hang_while_nothing_is_answered_are_an_outage_by_their_first_round() -> None:
    outage = OutageBreaker(OutagePolicy(silent_seconds=30.0))
    assert outage.failed(0.0, 29.9, 0.0) == 0.0
    assert not is_open(outage)
    assert outage.failed(30.0, 60.0, 0.0) == 0.5
    assert is_open(outage)
    assert outage.failed(60.5, 95.5, 0.0) == 1.0

    assert outage.answered(110.0)
    assert outage.failed(96.0, 131.0, 0.0) == 0.0, "another was answered while it was out"
    assert not is_open(outage)
