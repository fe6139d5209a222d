"""The state of one partition while it is ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connector.core.assignment import TRANSITIONS, Assignment, Phase, Step
from connector.core.commit_metadata import LedgerPosition
from connector.core.dedupe import SeenKeys
from connector.core.letter_box import PendingLetter
from connector.core.offsets import ResolvedOffsets
from connector.core.recovery import Recovery
from connector.model import Facts, Flaw, Outcome, Reason
from tests.core.builders import PLACE

LETTER = PendingLetter(1, 0, Flaw(Reason.REJECTED, ""), None, 1)


def _recovered() -> Assignment:
    part = Assignment(PLACE, 1)
    part.restoring.failures, part.restoring.due, part.restoring.refusal = 2, 5.0, "refused"
    position = LedgerPosition("ledger-id", 9)
    part.restored(Recovery(40, 3, position, "topic-id", SeenKeys(), ResolvedOffsets(), "note"))
    return part


def test_a_restored_assignment_opens_at_the_recovered_offset_with_its_troubles_forgotten() -> None:
    part = _recovered()
    assert part.phase is Phase.OPENING
    assert part.start == (40, 3)
    assert part.tracker.next_offset == 40
    assert (part.topic_id, part.position) == ("topic-id", LedgerPosition("ledger-id", 9))
    assert (part.restoring.failures, part.restoring.due, part.restoring.refusal) == (0, None, None)


@pytest.mark.parametrize(
    ("phase", "commits"),
    [(Phase.RESTORING, False), (Phase.OPENING, False), (Phase.RUNNING, True), (Phase.DRAINING, True), (Phase.ENDED, False)],
)
def test_it_commits_only_while_running_or_draining(phase: Phase, commits: bool) -> None:
    part = _recovered()
    part.phase = phase
    assert not part.commits
    part.tracker.track([40], [3])
    part.tracker.resolve([40])
    assert part.commits is commits


def test_it_is_live_until_it_ended() -> None:
    part = _recovered()
    lives = []
    for phase in Phase:
        part.phase = phase
        lives.append(part.live)
    assert lives == [True, True, True, True, False]


def _in_flight(part: Assignment) -> None:
    part.in_flight = 1


def _letters(part: Assignment) -> None:
    part.letters.under_way[1] = LETTER


def _unwritten(part: Assignment) -> None:
    part.letters.unwritten[1] = LETTER


def _facts(part: Assignment) -> None:
    part.facts.waiting.add(1, 0, Outcome.STALE)


def _flushing(part: Assignment) -> None:
    part.facts.under_way = Facts()


@pytest.mark.parametrize("busy", [_in_flight, _letters, _unwritten, _facts, _flushing])
def test_it_is_idle_when_nothing_is_under_way_and_every_fact_is_confirmed(busy: Callable[[Assignment], None]) -> None:
    part = _recovered()
    assert part.idle
    busy(part)
    idle = part.idle
    assert not idle


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("step", Step)
def test_a_step_that_is_not_in_the_table_is_an_error_and_changes_nothing(phase: Phase, step: Step) -> None:
    part = Assignment(PLACE, 1, phase=phase)
    if step in TRANSITIONS[phase]:
        part.enter(step)
        assert part.phase is TRANSITIONS[phase][step]
    else:
        with pytest.raises(KeyError):
            part.enter(step)
        assert part.phase is phase


def test_every_phase_is_reached_and_every_life_ends() -> None:
    reached, phases = {Phase.RESTORING}, [Phase.RESTORING]
    for phase in phases:
        new = set(TRANSITIONS[phase].values()) - reached
        phases += new
        reached |= new
        assert phase is Phase.ENDED or TRANSITIONS[phase][Step.END] is Phase.ENDED
    assert reached == set(Phase)
