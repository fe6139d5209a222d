"""Settling only what has changed gives the same commands as settling every assignment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import commands, inputs, status
from connector.core.assignment import Phase
from connector.core.pipeline import Pipeline
from connector.core.roster import Earliest
from connector.model import (
    DELIVERED,
    NO_VERDICT,
    Answer,
    Failure,
    Moment,
    RequestFailed,
    TopicPartition,
    Verdicts,
)
from tests.core.builders import NOW_MS, PLACE, at, poll_of
from tests.core.conversation import FLAW, REJECTED, RETRY, TOO_LARGE, Conversation, a_recovery, good, sending
from tests.core.walking import WalkingPipeline, assert_adds_up

# ---- the earliest of many times


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 9)), max_size=300), st.integers(0, 9))
def test_the_earliest_is_that_of_the_times_as_last_set(changes: list[tuple[int, int | None]], now: int) -> None:
    earliest, times = Earliest(), dict[int, int]()
    for number, time in changes:
        earliest.set(number, time)
        times.pop(number, None)
        times |= {} if time is None else {number: time}
        assert earliest.first == min(times.values(), default=None)

    assert set(earliest.take(now)) == {number for number, time in times.items() if time <= now}
    assert earliest.first == min((time for time in times.values() if time > now), default=None)


def test_times_that_are_outdated_are_not_kept_for_ever() -> None:
    earliest = Earliest()
    for time in range(10_000):
        earliest.set(1, float(time))
        earliest.set(2, float(-time))
    assert len(earliest._heap) < 100
    assert earliest.first == -9_999


# ---- two pipelines that are told the same


class _Pair:
    """A pipeline and one that walks, through a life that chance decides; each is told the same and must say the same."""

    def __init__(self, seed: int) -> None:
        policy = replace(sending(max_in_flight=3), session_seconds=45.0)
        self.quick, self.walking = Pipeline(policy), WalkingPipeline(policy)
        self._dice = Random(seed)
        self._now, self._polled_at, self._vouched_at = 0.0, 0.0, 0.0
        self._skew_ms, self._silent = 0, False
        self._generation = 0
        self._ledger_end = 0
        self._offsets: dict[int, int] = {}
        self._restoring: list[int] = []
        self._sent: list[commands.Send] = []
        self.said = Counter[type]()

    def _moment(self) -> Moment:
        return at(
            self._now,
            chance=0.5,
            skew_ms=self._skew_ms,
            polled=self._polled_at,
            vouched=self._vouched_at,
        )

    def tell(self, make: Callable[[], inputs.Input]) -> None:
        """Tell both; each gets an input of its own, for it may hold what the pipeline changes."""
        said = self.quick.handle(make(), self._moment())
        assert repr(said) == repr(self.walking.handle(make(), self._moment()))
        for command in said:
            match command:
                case commands.Restore(_, generation):
                    self._restoring.append(generation)
                case commands.Send():
                    self._sent.append(command)
                case commands.StartOver(partition, generation):
                    self.tell(lambda generation=generation: inputs.Lost((generation,)))  # type: ignore[misc]  # mypy cannot infer a lambda's default
                    self._assign(partition, anew=True)
        self.said.update(map(type, said))
        assert self.quick.wake_at(self._moment()) == self.walking.wake_at(self._moment())
        assert status.needs_operator(self.quick) == status.needs_operator(self.walking)
        assert_adds_up(self.quick)

    def _assign(self, partition: TopicPartition, *, anew: bool = False) -> None:
        self._generation += 1
        generation = self._generation
        self.tell(lambda: inputs.Assigned(partition, generation, anew=anew))

    def step(self) -> None:
        """Tell something that may come next."""
        self._now += self._dice.choice([0.0, 0.0, 0.01, 0.3, 0.3, 1.0, 1.0, 7.0 if self._dice.random() < 0.8 else 70.0])
        if self._dice.random() < 0.95:
            self._polled_at = self._now
        if self._dice.random() < 0.04:
            self._silent = not self._silent
        if not self._silent:
            self._vouched_at = self._now
        if self._skew_ms or self._dice.random() < 0.01:
            self._skew_ms = self._dice.choice([0, 900_000])
        often = [self._polled, self._answered, self._written]
        now_and_then = [self._assigned, self._restored, self._restored, self._letter, self._letter]
        self._dice.choice([*often * 4, *now_and_then, self._revoked, self._lost, self._trouble, self._time])()

    def _assigned(self) -> None:
        taken = {each.partition for each in self.quick.assignments}
        free = [place for place in (TopicPartition(PLACE.topic, number) for number in range(6)) if place not in taken]
        if free:
            self._assign(self._dice.choice(free))

    def _restored(self) -> None:
        if not self._restoring:
            return
        generation = self._restoring.pop(self._dice.randrange(len(self._restoring)))
        if self._dice.random() < 0.3:
            operator = self._dice.random() < 0.5
            self.tell(lambda: inputs.RestoreFailed(generation, "no", needs_operator=operator))
        else:
            self.tell(lambda: inputs.Restored(generation, a_recovery(self._offsets.get(generation, 0))))

    def _polled(self) -> None:
        running = [each for each in self.quick.assignments if each.fetching]
        if not running:
            return
        chosen = self._dice.sample(running, self._dice.randint(1, len(running)))
        shapes: dict[int, list[Any]] = {}
        for each in chosen:
            begin = self._offsets.get(each.generation, 0)
            self._offsets[each.generation] = begin + 3
            ages = [self._dice.choice([0, 0, 0, 604_000_000, 700_000_000]) for _ in range(3)]
            keys = [self._dice.choice([None, "a", "b"]) for _ in range(3)]
            wall = round(self._now * 1000)
            shapes[each.generation] = [good(begin + number, keys[number], age_ms=ages[number] - wall) for number in range(2)]
            shapes[each.generation].append((begin + 2, None, self._dice.choice([None, FLAW, b"{}"]), NOW_MS + wall))
        places = {each.generation: each.partition for each in chosen}
        self.tell(
            lambda: inputs.Polled(
                tuple(poll_of(*rows, generation=generation, place=places[generation]) for generation, rows in shapes.items())
            )
        )

    def _answered(self) -> None:
        if not self._sent:
            return
        request = self._sent.pop(self._dice.randrange(len(self._sent)))
        answers: list[Answer] = [
            *[Verdicts([DELIVERED] * request.count)] * 4,
            Verdicts([self._dice.choice([DELIVERED, REJECTED, RETRY, NO_VERDICT]) for _ in range(request.count)]),
            RequestFailed(Failure.THROTTLED, "http-429", status=429, retry_after=self._dice.choice([None, 2.0])),
            RequestFailed(Failure.TRANSIENT, "http-503", status=503),
            TOO_LARGE,
        ]
        answer = self._dice.choice(answers)
        self.tell(lambda: inputs.RequestFinished(request.request, answer))

    def _written(self) -> None:
        waiting = [each for each in self.quick._all.values() if each.facts.under_way is not None]
        if not waiting:
            return
        generation = self._dice.choice(waiting).generation
        if self._dice.random() < 0.2:
            self.tell(lambda: inputs.FactsFailed(generation))
        else:
            self._ledger_end += self._dice.choice([*[1] * 30, -5]) if self._ledger_end > 9 else 1
            end, append_ms = self._ledger_end, NOW_MS + round(self._now * 1000)
            self.tell(lambda: inputs.FactsAppended(generation, end, append_ms))

    def _letter(self) -> None:
        places = [(each.generation, offset) for each in self.quick._all.values() for offset in each.letters.under_way]
        if not places:
            return
        generation, offset = self._dice.choice(places)
        if self._dice.random() < 0.4:
            self.tell(lambda: inputs.LetterFailed(generation, offset, "UNKNOWN"))
        else:
            self.tell(lambda: inputs.LettersWritten(((generation, offset),)))

    def _some(self) -> tuple[int, ...]:
        mine = [each.generation for each in self.quick.assignments]
        return tuple(self._dice.sample(mine, min(len(mine), self._dice.randint(0, 2))))

    def _revoked(self) -> None:
        some = self._some() if self._dice.random() < 0.4 else ()
        self.tell(lambda: inputs.Revoked(some))

    def _lost(self) -> None:
        some = self._some() if self._dice.random() < 0.4 else ()
        self.tell(lambda: inputs.Lost(some))

    def _trouble(self) -> None:
        for each in self.quick.assignments[:1]:
            generation, offset = each.generation, self._offsets.get(each.generation, 0)
            if self._dice.random() < 0.5:
                self.tell(lambda generation=generation: inputs.CommitFailed(generation))  # type: ignore[misc]  # the same
            elif each.phase is Phase.RUNNING:
                self.tell(lambda generation=generation, offset=offset: inputs.Unreadable(generation, offset, "_BAD_MSG"))  # type: ignore[misc]  # the same

    def _time(self) -> None:
        wake_at = self.quick.wake_at(self._moment())
        self._now = max(self._now, wake_at or 0.0)
        self.tell(inputs.TimePassed)

    def shut_down(self) -> None:
        self.tell(inputs.ShutdownRequested)


@pytest.mark.parametrize("seed", range(12))
def test_only_what_has_changed_is_settled_and_the_same_commands_come_out(seed: int) -> None:
    pair = _Pair(seed)
    for _ in range(250):
        pair.step()
    pair.shut_down()
    for _ in range(60):
        pair.step()
    assert pair.said.total() > 40


def test_an_input_costs_as_much_with_hundreds_of_partitions_as_with_one() -> None:
    """Counted in assignments that are looked at, for time is not the same twice."""

    talk, looked_at = Conversation(), list[Any]()
    for number in range(300):
        talk.start(number + 1, place=TopicPartition(PLACE.topic, number))
    noted = talk.pipeline._all.noted

    def count() -> list[Any]:
        found = noted()
        looked_at.extend(found)
        return found

    talk.pipeline._all.noted = count  # type: ignore[method-assign]
    talk.poll(good(0), generation=7, place=TopicPartition(PLACE.topic, 6))

    assert 1 <= len(looked_at) <= 5
