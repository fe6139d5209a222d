"""A pipeline that settles and sums up all assignments, and what `Roster` must come to as well."""

from __future__ import annotations

from typing import Any

from connector.core.assignment import Assignment, Phase
from connector.core.pipeline import Pipeline
from connector.core.policy import Policy
from connector.core.roster import Roster
from connector.model import Moment

__all__ = ["WalkingPipeline", "assert_adds_up"]


class _WalkingRoster(Roster):
    """Sums up all assignments whenever a sum is read, whether anybody noted them or not."""

    @property
    def sums(self) -> Any:
        self.note_all()
        return super().sums

    @property
    def unconfirmed_since(self) -> float | None:
        self.note_all()
        return super().unconfirmed_since


class WalkingPipeline(Pipeline):
    """Settles and sums up all assignments at each input, changed or not."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self._all.__class__ = _WalkingRoster

    def _settle(self, now: Moment) -> None:
        self._all.note_all()
        super()._settle(now)


def assert_adds_up(pipeline: Pipeline) -> None:
    """Compare what the roster says of all assignments with what a walk over them finds."""
    roster = pipeline._all
    everyone = list(roster.values())
    assert roster.sums.held == sum(each.held for each in everyone)
    assert roster.sums.held_bytes == sum(each.held_bytes for each in everyone)
    assert roster.sums.facts == sum(len(each.facts) for each in everyone)
    assert roster.sums.writable == sum(each.facts.writable for each in everyone)
    assert roster.sums.parked == sum(bool(each.letters.parked) for each in everyone)
    assert roster.sums.running == sum(each.running for each in everyone)
    unconfirmed = [each.facts.unconfirmed_since for each in everyone]
    assert roster.unconfirmed_since == min((time for time in unconfirmed if time is not None), default=None)
    assert roster.due == min((time for each in everyone for time in _times(everyone, each)), default=None)
    assert {each.generation for each in roster.troubled} == {each.generation for each in everyone if _is_troubled(each)}
    assert roster.any_live == any(each.live for each in everyone)


def _times(everyone: list[Assignment], each: Assignment) -> list[float]:
    older = [other for other in everyone if other.partition == each.partition and not other.live]
    times = [each.restores_at(older), each.letters.due, each.unreadable.due, each.facts.due]
    times += [each.drain_by] if each.phase is Phase.DRAINING else []
    times += [each.committing.due] if each.commits else []
    return [time for time in times if time is not None]


def _is_troubled(each: Assignment) -> bool:
    complains = each.restoring.refusal or each.facts.complaint or each.letters.complaint() or each.unreadable_message()
    return each.live and bool(complains or each.letters.failures or each.unreadable.tries)
