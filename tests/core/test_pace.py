"""The pace learnt from refusals: by itself, and in virtual time before vendors that take so many requests a second."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from connector.core.pace import Pace
from connector.model import Failure, RequestFailed
from tests.core.play import Play

_LATENCY = 0.2
_WELL = 1_000_000.0
"""Requests a second of a vendor that refuses nothing."""
_FULL_SPEED = 8 / _LATENCY


@dataclass
class Limited:
    """A vendor that takes so many requests a second, within any second, or that has tokens for so many at once."""

    per_second: Callable[[float], float]
    retry_after: float | None = None
    tokens_at_most: float = 0.0
    within: float = 1.0
    """Seconds within which they are counted, without tokens."""
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _latest: deque[float] = field(default_factory=deque)
    _tokens: float = 0.0
    _at: float = 0.0

    def __call__(self, now: float) -> tuple[float, RequestFailed | None]:
        allowed = self._has_token(now) if self.tokens_at_most else self._has_room(now)
        (self.taken if allowed else self.refused).append(now)
        failed = RequestFailed(Failure.THROTTLED, "http-429", retry_after=self.retry_after, status=429)
        return _LATENCY, None if allowed else failed

    def _has_token(self, now: float) -> bool:
        self._tokens = min(self.tokens_at_most, self._tokens + (now - self._at) * self.per_second(now))
        self._at = now
        allowed = self._tokens >= 1
        self._tokens -= allowed
        return allowed

    def _has_room(self, now: float) -> bool:
        while self._latest and now - self._latest[0] >= self.within:
            self._latest.popleft()
        allowed = len(self._latest) < self.per_second(now) * self.within
        if allowed:
            self._latest.append(now)
        return allowed

    def between(self, begins: float, ends: float) -> tuple[int, int]:
        """Return how many were taken and refused in that time."""
        taken, refused = ([bisect_left(times, end) for end in (begins, ends)] for times in (self.taken, self.refused))
        return taken[1] - taken[0], refused[1] - refused[0]


def always(per_second: float) -> Callable[[float], float]:
    return until(0.0, per_second, per_second)


def until(change: float, before: float, after: float) -> Callable[[float], float]:
    return lambda now: before if now < change else after


# ---- in virtual time


@pytest.mark.parametrize(
    ("limit", "retry_after", "share", "refused"),
    [(2, None, 0.85, 0.15), (2, 1.0, 0.83, 0.15), (10, None, 0.9, 0.05), (10, 1.0, 0.85, 0.05), (50, None, 0.9, 0.05)],
)
@pytest.mark.parametrize("tokens_at_most", [0.0, 20.0], ids=["by the second", "tokens"])
def test_most_of_a_hard_limit_is_used_and_few_requests_are_refused(
    limit: float, retry_after: float | None, share: float, refused: float, tokens_at_most: float
) -> None:
    vendor = Limited(always(limit), retry_after, tokens_at_most)
    Play(vendor, max_in_flight=16).until(70.0)
    taken, turned_away = vendor.between(30.0, 70.0)
    assert taken >= share * limit * 40
    assert turned_away <= refused * taken


def test_below_a_request_a_second_most_of_the_limit_is_used_too() -> None:
    vendor = Limited(always(0.5), tokens_at_most=2.0)
    Play(vendor).until(180.0)
    taken, turned_away = vendor.between(60.0, 180.0)
    assert taken >= 0.8 * 60
    assert turned_away <= 0.8 * taken


def test_two_members_share_a_limit() -> None:
    vendor = Limited(always(10))
    plays = [Play(vendor, seed=seed) for seed in (1, 2)]
    for step in range(1, 60 * 200):
        for play in plays:
            play.until(step / 200)
    taken, turned_away = vendor.between(20.0, 60.0)
    assert taken >= 0.8 * 10 * 40
    assert turned_away <= 0.25 * taken
    assert all(play.rate(20.0, 60.0) >= 1.0 for play in plays)


@pytest.mark.parametrize("retry_after", [None, 1.0])
def test_a_limit_that_falls_is_found(retry_after: float | None) -> None:
    vendor = Limited(until(20.0, _WELL, 2.0), retry_after)
    Play(vendor).until(80.0)
    assert vendor.between(20.0, 40.0)[1] <= 60
    taken, turned_away = vendor.between(40.0, 80.0)
    assert taken >= 0.6 * 2 * 40
    assert turned_away <= 0.4 * taken


@pytest.mark.parametrize("limit", [2.0, 10.0])
def test_it_is_at_full_speed_soon_after_a_limit_is_lifted(limit: float) -> None:
    for seed in range(3):
        play = Play(Limited(until(60.0, limit, _WELL)), seed=seed).until(75.0)
        assert play.full_speed_after(60.0, _FULL_SPEED) < 10.0, f"seed {seed}"


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("max_in_flight", [8, 32])
def test_it_is_at_full_speed_within_ten_seconds_after_a_storm(retry_after: float | None, max_in_flight: int) -> None:
    for seed in range(3):
        vendor = Limited(until(3.0, _WELL, 0.0), retry_after)
        play = Play(vendor, max_in_flight=max_in_flight, seed=seed).until(303.0)
        assert len(vendor.refused) < 150, "every 2 to 4 seconds one request asks"
        vendor.per_second = always(_WELL)
        play.until(315.0)
        assert play.full_speed_after(303.0, max_in_flight / _LATENCY) < 10.0, f"seed {seed}"


def test_one_429_costs_no_more_than_a_few_requests() -> None:
    def vendor(now: float) -> tuple[float, RequestFailed | None]:
        refused = not play.refused and now >= 5.0
        return _LATENCY, RequestFailed(Failure.THROTTLED, "http-429", status=429) if refused else None

    play = Play(vendor)
    play.until(20.0)
    assert len(play.refused) == 1
    assert play.rate(5.0, 8.0) >= 0.75 * _FULL_SPEED
    assert play.rate(10.0, 15.0) >= 0.95 * _FULL_SPEED


# ---- by itself


def test_until_something_is_refused_nothing_waits() -> None:
    pace = Pace(None)
    for number in range(100):
        pace.started(number / 100, 0.0)
        pace.taken(number / 100, number / 100 + _LATENCY)
    assert pace.per_second is None
    assert pace.due == 0.0


def test_the_first_429_sets_the_pace_to_what_was_taken_of_late() -> None:
    pace = Pace(None)
    for number in range(300):
        pace.taken(number / 100, number / 100)
    pace.refused(3.0, 3.05, None, 0.0)
    assert pace.per_second == pytest.approx(93, rel=0.1)


def test_what_was_taken_long_ago_does_not_count() -> None:
    pace = Pace(None)
    for number in range(300):
        pace.taken(number / 100, number / 100)
    pace.taken(60.0, 60.0)
    pace.refused(60.4, 60.5, None, 0.0)
    assert pace.per_second == 0.93
    fresh = Pace(None)
    for number in range(300):
        fresh.taken(number / 100, number / 100)
    fresh.refused(60.4, 60.5, None, 0.0)
    assert fresh.per_second == pytest.approx(1.6, abs=0.8)


def test_a_maximum_holds_whatever_is_learnt() -> None:
    pace = Pace(2.0)
    assert pace.per_second == 2.0
    pace.started(10.0, 0.0)
    assert pace.due == 10.5
    for number in range(100):
        pace.taken(10 + number / 10, 10 + number / 10)
    pace.refused(20.0, 20.1, None, 0.0)
    assert pace.per_second == 2.0
    pace.started(21.0, 0.0)
    assert pace.due == 21.5


def test_a_minute_after_the_last_429_the_pace_is_forgotten() -> None:
    pace = Pace(None)
    pace.refused(0.0, 0.1, None, 0.0)
    pace.taken(60.0, 60.05)
    assert pace.per_second is not None
    pace.taken(60.2, 60.3)
    assert pace.per_second is None


def test_a_pace_that_was_forgotten_leaves_no_row_behind() -> None:
    pace = Pace(None)
    for second in range(6):
        pace.refused(second, second + 0.1, None, 0.0)
    pace.taken(70.0, 70.1)
    assert pace.refused(71.0, 71.1, None, 0.0) < 0.5


def test_a_request_that_was_out_while_another_was_refused_ends_no_row() -> None:
    pace = Pace(None)
    for second in range(6):
        pace.refused(second, second + 0.1, None, 1.0)
    pace.taken(5.0, 5.2)
    assert pace.refused(9.0, 9.1, None, 1.0) == 4.0


def test_refusals_in_a_row_wait_longer_up_to_a_bound_and_what_was_out_together_is_one() -> None:
    pace, now, waits = Pace(None), 0.0, list[float]()
    for _ in range(8):
        wait = pace.refused(now, now + 0.1, None, 1.0)
        assert pace.refused(now, now + 0.1, None, 1.0) == 0.0
        waits.append(wait)
        now += 0.1 + wait
    assert waits == sorted(waits)
    assert waits[0] < 1.0
    assert waits[4:] == [4.0] * 4


def test_retry_after_is_the_least_wait() -> None:
    pace = Pace(None)
    assert pace.refused(0.0, 0.1, 20.0, 0.0) == 20.0
    assert pace.due == 20.1


def test_a_request_that_fails_otherwise_after_a_long_retry_after_holds_the_next_one_for_seconds_only() -> None:
    pace = Pace(None)
    pace.refused(0.0, 0.1, 3600.0, 0.0)
    pace.started(3601.0, 0.5)
    assert pace.due == pytest.approx(3605.0, abs=0.1)


def test_a_pace_that_is_not_used_does_not_grow() -> None:
    pace = Pace(None)
    pace.refused(0.0, 0.1, None, 0.0)
    before = pace.per_second
    for second in range(5, 55, 5):
        pace.started(second, 0.5)
        pace.taken(second, second + 0.1)
    assert pace.per_second == before
