"""The life of an assignment: restored, opened, run, drained, ended; and the end of the process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core import commands, inputs, status
from connector.core.assignment import Phase
from connector.core.batching import BatchPolicy
from connector.core.commit_metadata import LedgerPosition
from connector.core.landmarks import Landmarks
from connector.model import (
    DELIVERED,
    Facts,
    Failure,
    Outcome,
    Reason,
    RequestFailed,
    TopicPartition,
    Verdicts,
)
from tests.core.builders import NOW_MS, PLACE
from tests.core.conversation import (
    FLAW,
    POLICY,
    REJECTED,
    RETRY,
    WEEK_MS,
    Conversation,
    a_recovery,
    commits,
    good,
    kinds,
    letters,
    sending,
    sends,
    written,
)

# ---- from the assignment to the start


def test_an_assignment_is_restored_then_proves_the_ledger_writable_then_starts() -> None:
    talk = Conversation()
    assert talk.tell(inputs.Assigned(PLACE, 7)) == [commands.Restore(PLACE, 7)]
    assert status.paused(talk.pipeline)["restoring"] == 1
    assert talk.tell(inputs.Restored(7, a_recovery(30))) == [commands.AppendFacts(PLACE, 7, "topic-id", Facts())]
    assert status.paused(talk.pipeline)["restoring"] == 1
    assert talk.appended(7) == [commands.Start(PLACE, 7, 30, -1, "topic-id"), commands.Resume(PLACE, 7)]
    assert set(status.paused(talk.pipeline).values()) == {0}
    assert status.needs_operator(talk.pipeline) == []


def test_a_ledger_that_cannot_be_read_is_tried_again_with_backoff() -> None:
    talk = Conversation()
    talk.tell(inputs.Assigned(PLACE, 1))
    assert talk.tell(inputs.RestoreFailed(1, "no answer", needs_operator=False)) == []
    assert status.needs_operator(talk.pipeline) == []
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert talk.wait(0.5) == [commands.Restore(PLACE, 1)]
    talk.tell(inputs.RestoreFailed(1, "no answer", needs_operator=False))
    assert talk.pipeline.wake_at(talk.moment) == 1.5


def test_a_ledger_that_must_not_be_trusted_is_refused_aloud_and_still_tried_again() -> None:
    talk = Conversation()
    talk.tell(inputs.Assigned(PLACE, 1))
    talk.tell(inputs.RestoreFailed(1, "the ledger was recreated", needs_operator=True))
    assert status.needs_operator(talk.pipeline) == ["the ledger was recreated"]
    assert status.paused(talk.pipeline)["refused"] == 1
    assert status.paused(talk.pipeline)["restoring"] == 0
    assert talk.wait(0.5) == [commands.Restore(PLACE, 1)]
    talk.tell(inputs.Restored(1, a_recovery()))
    assert status.needs_operator(talk.pipeline) == []


def test_an_opening_entry_that_cannot_be_written_is_tried_again() -> None:
    talk = Conversation()
    talk.tell(inputs.Assigned(PLACE, 1))
    talk.tell(inputs.Restored(1, a_recovery()))
    assert talk.tell(inputs.FactsFailed(1)) == []
    assert kinds(talk.wait(0.5)) == [commands.AppendFacts]
    assert kinds(talk.appended()) == [commands.Start, commands.Resume]


def test_news_of_a_restore_that_nobody_waits_for_changes_nothing() -> None:
    talk = Conversation()
    talk.start()
    assert talk.tell(inputs.Restored(1, a_recovery())) == []
    assert talk.tell(inputs.Restored(99, a_recovery())) == []
    assert talk.tell(inputs.RestoreFailed(1, "late", needs_operator=True)) == []
    assert talk.tell(inputs.RestoreFailed(99, "late", needs_operator=True)) == []
    assert status.needs_operator(talk.pipeline) == []


# ---- giving partitions back


def test_a_revoked_partition_finishes_what_is_in_flight_commits_and_is_released() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"))
    talk.last_poll = -100.0
    talk.poll(good(2))
    assert talk.tell(inputs.Revoked((1,))) == [commands.Pause(PLACE, 1)]
    assert status.paused(talk.pipeline)["draining"] == 1
    assert talk.tell(inputs.Revoked((1,))) == []
    assert talk.pipeline.wake_at(talk.moment) == 40.0
    assert talk.poll(good(3)) == []
    assert written(talk.verdicts(b"[0]", DELIVERED)) == [(0, Outcome.DELIVERED), (1, Outcome.DUPLICATE)]
    assert kinds(talk.appended()) == [commands.Commit, commands.Release]
    assert talk.pipeline.statistics.released == 1
    assert talk.pipeline.assignments == []


def test_what_was_not_sent_is_released_at_once() -> None:
    talk = Conversation()
    talk.start()
    talk.last_poll = -100.0
    talk.poll(good(0), good(1))
    assert talk.tell(inputs.Revoked((1,))) == [commands.Release(PLACE, 1, 2)]
    assert talk.pipeline.wake_at(talk.moment) is None


def test_a_drain_waits_no_longer_than_it_may_and_what_comes_later_is_still_written_down_but_not_committed() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1))
    talk.tell(inputs.Revoked((1,)))
    assert talk.wait(39.9) == []
    assert talk.wait(0.1) == [commands.Release(PLACE, 1, 2)]
    assert status.in_flight_events(talk.pipeline) == 0
    assert written(talk.verdicts(b"[0,1]", DELIVERED, REJECTED)) == [(0, Outcome.DELIVERED)]
    assert talk.pipeline.statistics.late_answers == 2
    assert talk.outcomes == {}
    assert talk.appended() == []


def test_while_draining_nothing_is_sent_again() -> None:
    talk = Conversation(sending(batch=BatchPolicy(3, 100, 0.0)))
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"), good(2), good(3), good(4))
    assert sorted(talk.requests) == [b"[0,2,3]", b"[4]"]
    talk.tell(inputs.Revoked((1,)))
    assert talk.answer(b"[4]", RequestFailed(Failure.TIMEOUT, "timeout")) == []
    out = talk.verdicts(b"[0,2,3]", REJECTED, RETRY, DELIVERED)
    assert letters(out) == [(0, Reason.REJECTED)]
    assert sends(out) == []
    out = talk.wait(1.0)
    assert sends(out) == []
    assert written(out) == [(3, Outcome.DELIVERED)]
    assert talk.appended() == []
    assert written(talk.tell(inputs.LettersWritten(((1, 0),)))) == [(0, Outcome.DEAD_LETTERED)]
    assert talk.appended()[-1] == commands.Release(PLACE, 1, 3)  # the copy that waited, and the two without a verdict


def test_what_waits_to_be_sent_again_is_not_sent_once_its_partition_is_lost() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.TRANSIENT, "connect"))
    talk.tell(inputs.Lost((1,)))
    assert talk.wait(10.0) == []
    assert talk.pipeline.wake_at(talk.moment) is None


def test_a_letter_that_fails_while_draining_is_written_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    talk.tell(inputs.Revoked((1,)))
    assert talk.tell(inputs.LetterFailed(1, 0, "_MSG_TIMED_OUT")) == []
    assert letters(talk.wait(0.5)) == [(0, Reason.INVALID_FIELD)]


def test_a_lost_partition_commits_nothing_more_but_its_facts_are_still_written() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, None, None), (1, None, FLAW, NOW_MS), (2, None, FLAW, NOW_MS), good(3))
    assert kinds(talk.tell(inputs.Lost((1,)))) == []
    assert talk.pipeline.statistics.released == 3
    assert written(talk.wait(1.0)) == [(0, Outcome.IGNORED)]
    talk.answer(b"[3]", RequestFailed(Failure.TIMEOUT, "timeout"))
    assert talk.tell(inputs.LetterFailed(1, 2, "_MSG_TIMED_OUT")) == []
    talk.tell(inputs.LettersWritten(((1, 1),)))
    assert written(talk.appended()) == [(1, Outcome.DEAD_LETTERED)]
    assert talk.appended() == []
    assert talk.pipeline.wake_at(talk.moment) is None
    assert talk.tell(inputs.CommitFailed(1)) == []
    assert talk.tell(inputs.Lost((1,))) == []


@pytest.mark.parametrize("restored", [False, True])
def test_a_partition_revoked_before_it_started_is_released_at_once(restored: bool) -> None:
    talk = Conversation()
    talk.tell(inputs.Assigned(PLACE, 1))
    if restored:
        talk.tell(inputs.Restored(1, a_recovery()))
    assert talk.tell(inputs.Revoked((1,))) == [commands.Release(PLACE, 1, 0)]
    if restored:
        assert talk.appended() == []
    assert talk.tell(inputs.Revoked((1,))) == []


def test_an_assignment_that_ended_has_no_say_in_the_next_one_of_the_same_partition() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0, "a"))
    talk.tell(inputs.Lost((1,)))
    talk.start(2)
    assert sends(talk.poll(good(0, "a"), generation=2)) == [b"[0]"]
    first, second = sorted({1, *talk.requests.values()})
    talk.tell(inputs.RequestFinished(first, Verdicts([DELIVERED])))
    talk.wait(1.0)
    assert commits(talk.appended(1)) == []
    talk.tell(inputs.RequestFinished(second, Verdicts([DELIVERED])))
    talk.wait(1.0)
    assert commits(talk.appended(2)) == [1]


# ---- the end of the process


def test_a_shutdown_drains_every_partition_and_then_stops() -> None:
    talk, other = Conversation(), TopicPartition("conversions", 1)
    talk.start(1)
    talk.tell(inputs.Assigned(other, 2))
    talk.poll(good(0))
    assert talk.tell(inputs.ShutdownRequested()) == [commands.Release(other, 2, 0), commands.Pause(PLACE, 1)]
    assert talk.tell(inputs.ShutdownRequested()) == []
    talk.verdicts(b"[0]", DELIVERED)
    assert talk.appended()[-2:] == [commands.Release(PLACE, 1, 0), commands.Stop(None)]
    assert talk.pipeline.wake_at(talk.moment) is None


def test_without_assignments_a_shutdown_stops_at_once() -> None:
    assert Conversation().tell(inputs.ShutdownRequested()) == [commands.Stop(None)]


def test_a_partition_assigned_during_a_shutdown_is_given_back_at_once() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0))
    talk.tell(inputs.ShutdownRequested())
    other = TopicPartition("conversions", 1)
    assert talk.tell(inputs.Assigned(other, 2)) == [commands.Release(other, 2, 0)]


def test_a_shutdown_ends_in_time_whatever_is_still_under_way() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll((0, None, None, None), good(1))
    talk.tell(inputs.ShutdownRequested())
    assert commands.Stop(None) not in talk.wait(39.9)
    assert talk.wait(0.1)[-2:] == [commands.Release(PLACE, 1, 1), commands.Stop(None)]


def test_a_shutdown_waits_for_the_answers_to_lost_partitions_but_not_for_ever() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0))
    talk.tell(inputs.Lost((1,)))
    assert talk.tell(inputs.ShutdownRequested()) == []
    assert talk.pipeline.wake_at(talk.moment) == 40.0
    assert talk.wait(40.0) == [commands.Stop(None)]


def test_on_verdict_stop_a_request_that_needs_an_operator_ends_the_process_with_its_sentence() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(good(0))
    out = talk.answer(b"[0]", RequestFailed(Failure.OPERATOR, "http-401", detail="the token is refused"))
    assert out == [commands.Release(PLACE, 1, 1), commands.Stop("the token is refused")]


def test_on_verdict_stop_too_many_refusals_in_a_row_end_the_process_once_the_letters_are_written() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(*[good(offset) for offset in range(5)])
    talk.answer(b"[0,1,2,3,4]", Verdicts([REJECTED] * 5))
    assert [part.phase for part in talk.pipeline.assignments] == [Phase.DRAINING]
    for offset in range(4):  # the fifth is held back, and given back
        talk.tell(inputs.LettersWritten(((1, offset),)))
    out = talk.tell(inputs.FactsAppended(1, 2, None))
    assert kinds(out)[-2:] == [commands.Release, commands.Stop]
    assert isinstance(out[-1], commands.Stop)
    assert "in a row" in (out[-1].verdict or "")


def test_on_verdict_stop_a_ledger_that_must_not_be_trusted_ends_the_process_and_one_that_is_away_does_not() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.tell(inputs.Assigned(PLACE, 1))
    assert talk.tell(inputs.RestoreFailed(1, "no answer", needs_operator=False)) == []
    talk.wait(0.5)
    out = talk.tell(inputs.RestoreFailed(1, "recreated", needs_operator=True))
    assert out == [commands.Release(PLACE, 1, 0), commands.Stop("recreated")]


# ---- clocks


def test_the_entry_that_opens_an_assignment_says_where_it_begins() -> None:
    talk = Conversation()
    talk.tell(inputs.Assigned(PLACE, 1))
    (opening,) = talk.tell(inputs.Restored(1, a_recovery(30)))
    assert isinstance(opening, commands.AppendFacts)
    assert opening.facts.start == 30
    talk.tell(inputs.FactsFailed(1))
    (again,) = talk.wait(0.5)
    assert isinstance(again, commands.AppendFacts)
    assert again.facts.start == 30
    talk.appended()
    talk.poll((30, None, None, None))
    (facts,) = [command for command in talk.wait(1.0) if isinstance(command, commands.AppendFacts)]
    assert facts.facts.start is None


def test_a_partition_whose_log_was_cut_is_restored_as_such() -> None:
    talk = Conversation()

    assert talk.tell(inputs.Assigned(PLACE, 1, truncated=True)) == [commands.Restore(PLACE, 1, truncated=True)]


def test_a_partition_of_a_topic_that_was_recreated_starts_over_and_others_go_on() -> None:
    talk = Conversation()
    other = TopicPartition("other", 0)
    talk.start(1)
    talk.start(2, place=other)
    talk.tell(inputs.Assigned(TopicPartition("conversions", 1), 3))  # its restore will find out by itself

    assert talk.tell(inputs.TopicSeen("conversions", "topic-id")) == []
    assert talk.tell(inputs.TopicSeen("conversions", "new-id")) == [commands.StartOver(PLACE, 1)]
    talk.tell(inputs.Lost((1,)))
    assert talk.tell(inputs.TopicSeen("conversions", "new-id")) == []


def test_a_partition_whose_ledger_or_letters_are_not_kept_any_more_is_restored_once_its_facts_are_written() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    talk.tell(inputs.FactsFailed(1, "ledger", "INVALID_RECORD"))

    assert talk.tell(inputs.TopicSeen("conversions", "topic-id", kept=False)) == []
    talk.wait(10.0)
    talk.appended()
    assert talk.tell(inputs.TopicSeen("conversions", "topic-id")) == []
    assert talk.tell(inputs.TopicSeen("other", "topic-id", kept=False)) == []
    assert talk.tell(inputs.TopicSeen("conversions", "topic-id", kept=False)) == [commands.StartOver(PLACE, 1)]


def cut_ledger() -> Conversation:
    """Return a conversation whose ledger had 50 entries when it was restored, and has one record to write down."""
    talk = Conversation()
    talk.ledger_end = 50
    talk.start(recovery=replace(a_recovery(), position=LedgerPosition("ledger-id", 50)))
    talk.poll(good(0), (1, None, None, None))
    return talk


@pytest.mark.parametrize("next_offset", [1, 59, 60])
def test_an_entry_below_the_ledgers_end_shows_that_the_ledger_was_cut_and_its_partition_starts_over(
    next_offset: int,
) -> None:
    talk = cut_ledger()
    talk.verdicts(b"[0]", DELIVERED)
    talk.wait(1.0)

    out = talk.tell(inputs.FactsAppended(1, next_offset, NOW_MS + 1_000))

    # The commit names what was lost, so the restore finds it missing; it passes no record whose fact was lost.
    assert kinds(out) == [commands.Commit, commands.StartOver]
    (commit,) = [command for command in out if isinstance(command, commands.Commit)]
    assert (commit.points[0].next_offset, commit.points[0].metadata) == (0, "v1 topic-id ledger-id:60 0")


def test_after_a_cut_no_entry_hides_it_again_however_far_the_ledger_has_grown() -> None:
    talk = cut_ledger()
    talk.verdicts(b"[0]", DELIVERED)
    talk.wait(1.0)
    talk.tell(inputs.FactsAppended(1, 59, NOW_MS + 1_000))
    talk.poll((2, None, None, None))
    talk.wait(1.0)

    assert kinds(talk.tell(inputs.FactsAppended(1, 75, NOW_MS + 2_000))) == [commands.Commit, commands.StartOver]
    (assignment,) = talk.pipeline.assignments
    assert assignment.position == LedgerPosition("ledger-id", 60)


def test_an_entry_at_the_ledgers_end_or_beyond_shows_no_cut() -> None:
    talk = cut_ledger()
    talk.verdicts(b"[0]", DELIVERED)
    talk.wait(1.0)

    assert commits(talk.tell(inputs.FactsAppended(1, 61, NOW_MS + 1_000))) == [2]


def test_a_commit_after_a_cut_names_the_entries_that_were_lost() -> None:
    talk = Conversation()
    landmarks = Landmarks(WEEK_MS)
    landmarks.passed(49, NOW_MS - 5_000)
    recovery = replace(a_recovery(), position=LedgerPosition("ledger-id", 50), landmarks=landmarks)
    talk.ledger_end = 50
    talk.start(recovery=recovery)
    talk.poll((0, None, None, None))
    talk.wait(1.0)

    out = talk.tell(inputs.FactsAppended(1, 60, NOW_MS + 1_000))

    (commit,) = [command for command in out if isinstance(command, commands.Commit)]
    assert commit.points[0].metadata == f"v1 topic-id ledger-id:60 0 kept 604800 49:{NOW_MS - 5_000} 59:{NOW_MS}"


def test_a_ledger_that_was_cut_before_the_opening_entry_is_restored_again_and_nothing_is_committed() -> None:
    talk = Conversation()
    talk.tell(inputs.Assigned(PLACE, 1))
    talk.tell(inputs.Restored(1, replace(a_recovery(), position=LedgerPosition("ledger-id", 50))))

    assert talk.tell(inputs.FactsAppended(1, 50, NOW_MS)) == [commands.StartOver(PLACE, 1)]


def test_a_drain_whose_ledger_was_cut_ends_without_a_commit_of_what_was_lost() -> None:
    talk = cut_ledger()
    talk.tell(inputs.Revoked((1,)))
    talk.verdicts(b"[0]", DELIVERED)

    assert talk.tell(inputs.FactsAppended(1, 7, NOW_MS)) == [commands.Release(PLACE, 1, 0)]
