"""A wall clock that is off: nothing is judged stale or future by it, nothing is sent, and it goes on once it is right.

A process whose clock is shifted, on brokers whose clock is not (`tests.integration.skewed`).
"""

from __future__ import annotations

import pytest

from connector.model import Outcome
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.program import World
from tests.patience import eventually

_DAY = 86_400


class _Clock:
    """The wall clock of one process: seconds that it is ahead of the right one."""

    def __init__(self, world: World, seconds: float) -> None:
        self._file = world.directory / "seconds-ahead"
        self.set(seconds)
        self.connector = world.unstarted().start(world.settings(), ("tests.integration.skewed", str(self._file), "run"))

    def set(self, seconds: float) -> None:
        """Set it between two looks of the process."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds), "utf-8")
        new.replace(self._file)


@pytest.mark.parametrize("seconds", [8 * _DAY, -3600], ids=["8 days ahead", "an hour behind"])
def test_with_a_clock_that_is_off_nothing_is_judged_or_sent_until_it_is_right(world: World, seconds: int) -> None:
    world.create_topic()
    # By a clock 8 days ahead the first is stale; by one an hour behind the second is in the future.
    world.produce(event("an hour old"), event("of now", timestamp=now_ms()))
    clock = _Clock(world, seconds)
    connector = clock.connector

    connector.until_said("operator_needed", message=f"the wall clock is {seconds:+d} s off the brokers'")
    assert connector.page("/readyz")[0] == 503
    assert connector.metrics()['connector_paused{reason="clock"}'] == 1
    assert world.sandbox.record() == []
    assert world.has_committed_nothing()
    assert world.fates() == {}

    clock.set(0)
    connector.until_resolved(delivered=2)
    connector.until_ready()
    assert world.sandbox.accepted() == {"an hour old": 1, "of now": 1}


def test_clock_that_jumps_while_it_runs_pauses_it_and_what_came_meanwhile_is_judged_by_the_right_one(world: World) -> None:
    world.create_topic()
    clock = _Clock(world, 0)
    connector = clock.connector
    world.produce(event("before"))
    connector.until_resolved(delivered=1)

    clock.set(8 * _DAY)
    world.produce(event("meanwhile"), event("old", timestamp=now_ms() - 8 * DAY_MS))
    connector.until_said("operator_needed", message="the wall clock is")
    assert connector.outcomes() == {"delivered": 1}
    clock.set(0)

    connector.until_resolved(delivered=2, stale=1)
    world.until_committed_to_the_end()
    assert world.fates() == {(0, 0): [Outcome.DELIVERED], (0, 1): [Outcome.DELIVERED], (0, 2): [Outcome.STALE]}


def test_clock_that_is_off_by_less_than_the_skew_allowed_is_taken(world: World) -> None:
    world.create_topic()
    world.produce(event("1"))
    connector = _Clock(world, -240).connector
    connector.until_resolved(delivered=1)
    eventually(lambda: connector.page("/readyz")[0] == 200, "it is ready")
