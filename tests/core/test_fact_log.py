"""Facts on their way to the ledger: none is lost, and one entry is under way at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.fact_log import FactLog
from connector.core.policy import FlushPolicy
from connector.core.retry import RetryPolicy
from connector.model import Outcome
from tests.core.builders import at

POLICY = FlushPolicy(interval_seconds=1.0, max_facts=3)
RETRY = RetryPolicy(first_seconds=4.0)


def _log(*offsets: int) -> FactLog:
    log = FactLog()
    for offset in offsets:
        log.waiting.add(offset, 0, Outcome.STALE)
    return log


def _taken(log: FactLog, now: float, *, at_once: bool = False) -> list[int] | None:
    entry = log.take(POLICY, now, at_once=at_once)
    return None if entry is None else entry.offsets


def test_an_entry_is_due_an_interval_after_its_first_fact() -> None:
    log = _log(1)
    assert _taken(log, 10.0) is None
    assert log.due == 11.0
    assert _taken(log, 10.9) is None
    assert _taken(log, 11.0) == [1]


def test_a_full_entry_goes_at_once_and_takes_no_more_than_it_may() -> None:
    log = _log(1, 2, 3, 4)
    assert _taken(log, 10.0) == [1, 2, 3]
    assert _taken(log, 99.0) is None, "one is under way"
    assert len(log) == 4
    assert log.due is None


def test_nothing_is_waited_for_once_nothing_more_can_be_learnt() -> None:
    log = _log(1)
    assert _taken(log, 10.0, at_once=True) == [1]
    assert _taken(FactLog(), 10.0, at_once=True) is None


def test_an_empty_entry_is_written_when_it_is_asked_for() -> None:
    log = FactLog()
    assert log.is_to_be_asked()
    log.ask_for_entry(5.0)
    assert not log.is_to_be_asked()
    assert _taken(log, 4.9) is None
    assert _taken(log, 5.0) == []
    assert not log.is_to_be_asked()


def test_an_entry_that_failed_is_written_again_after_a_back_off_with_what_came_meanwhile() -> None:
    log = _log(1)
    _taken(log, 0.0, at_once=True)
    log.waiting.add(2, 0, Outcome.STALE)
    log.failed(RETRY, at(10.0, chance=1.0), draining=False)
    assert log.unconfirmed_since == 0.0
    assert _taken(log, 13.9, at_once=True) is None, "after a failure the back-off alone decides"
    assert _taken(log, 14.0) == [1, 2]
    log.failed(RETRY, at(20.0, chance=1.0), draining=False)
    assert log.due == 28.0, "longer each time"
    _taken(log, 28.0)
    log.failed(RETRY, at(30.0, chance=1.0), draining=True)
    assert log.due == 34.0, "a drain cannot wait for long"
    _taken(log, 34.0)
    log.confirmed()
    assert log.idle
    assert FactLog() == log, "and waits for nothing"


def test_what_could_be_written_now_is_counted_and_not_what_waits_for_an_entry_or_a_back_off() -> None:
    log = _log(1, 2)
    assert log.writable == 2
    _taken(log, 0.0, at_once=True)
    log.waiting.add(3, 0, Outcome.STALE)
    assert log.writable == 0, "one is under way"
    log.failed(RETRY, at(0.0), draining=False)
    assert log.writable == 0, "the back-off alone decides"
    _taken(log, 60.0)
    log.confirmed()
    log.waiting.add(4, 0, Outcome.STALE)
    assert log.writable == 1


@given(st.lists(st.sampled_from(["add", "take", "confirm", "fail"]), max_size=60))
def test_every_fact_is_confirmed_once_or_held(steps: list[str]) -> None:
    log, now, offset, confirmed = FactLog(), 0.0, 0, list[int]()
    for step in steps:
        now += 1.0
        if step == "add":
            log.waiting.add(offset, 0, Outcome.STALE)
            offset += 1
        elif step == "take":
            log.take(POLICY, now, at_once=False)
        elif log.under_way is not None:
            if step == "confirm":
                facts = log.confirmed()
                confirmed += facts.offsets if facts is not None else []
            else:
                log.failed(RETRY, at(now), draining=False)
    held = (log.under_way.offsets if log.under_way is not None else []) + log.waiting.offsets
    assert confirmed + held == list(range(offset))
