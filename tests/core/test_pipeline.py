"""The path of an event, facts, bounds and clocks, as conversations: what the pipeline is told, what it asks for."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from connector.core import commands, inputs, status
from connector.core.assignment import Phase
from connector.core.batching import BatchPolicy
from connector.core.commit_metadata import LedgerPosition
from connector.core.landmarks import Landmarks
from connector.core.pipeline import MAX_AHEAD
from connector.core.policy import FlushPolicy
from connector.errors import OutOfOrder
from connector.model import (
    DELIVERED,
    Facts,
    Outcome,
    TopicPartition,
)
from tests.core.builders import DAY_MS, NOW_MS, PLACE, key_of, poll_of
from tests.core.conversation import (
    POLICY,
    RETRY,
    WEEK_MS,
    Conversation,
    a_recovery,
    commits,
    good,
    kinds,
    sending,
    sends,
    written,
)

# ---- the path of an event


def test_an_event_is_sent_then_written_down_then_committed() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(5))
    assert talk.poll(good(5, "a"), epoch=3) == [commands.Send(1, b"[5]", 1, 0, frozenset({1}))]
    assert talk.verdicts(b"[5]", DELIVERED) == []
    (append,) = talk.wait(1.0)
    assert append == commands.AppendFacts(
        PLACE, 1, "topic-id", Facts([5], [3], [Outcome.DELIVERED], [key_of("a")], [NOW_MS])
    )
    (commit,) = talk.appended()
    assert commit == commands.Commit((commands.CommitPoint(PLACE, 1, 6, 3, "v1 topic-id ledger-id:20 6"),))


def test_nothing_is_committed_while_the_facts_are_unconfirmed() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, None, None))
    assert written(talk.wait(1.0)) == [(0, Outcome.IGNORED)]
    assert talk.wait(100.0) == []
    assert commits(talk.appended()) == [1]


def test_an_open_record_holds_back_the_commit_of_those_above_it() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), (1, None, None, None))
    talk.wait(1.0)
    assert commits(talk.appended()) == []
    talk.verdicts(b"[0]", DELIVERED)
    talk.wait(1.0)
    assert commits(talk.appended()) == [2]


def test_a_commit_names_the_ledgers_end_as_the_restore_found_it_and_then_the_last_entrys() -> None:
    talk = Conversation()
    talk.ledger_end = 50
    talk.start(recovery=replace(a_recovery(), position=LedgerPosition("ledger-id", 50)))
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    (commit,) = talk.appended()
    assert isinstance(commit, commands.Commit)
    assert commit.points[0].metadata == "v1 topic-id ledger-id:70 1"


def test_the_end_of_the_log_is_committed_once_what_stands_before_it_is_written_down() -> None:
    talk = Conversation()
    talk.start()
    poll = poll_of((5, None, None, None))
    poll.read_end = 7
    talk.tell(inputs.Polled((poll,)))
    assert commits(talk.wait(1.0)) == []
    assert commits(talk.appended()) == [7]


def test_the_end_of_the_log_is_not_taken_for_that_of_polls_that_still_wait_for_the_clock() -> None:
    talk = Conversation()
    talk.start()
    talk.skew_ms = 600_000
    end = poll_of()
    end.read_end = 7
    talk.tell(inputs.Polled((poll_of((5, None, None, None)),)))
    assert commits(talk.tell(inputs.Polled((end,)))) == []
    talk.skew_ms = 0
    assert commits(talk.wait(10.0)) == []
    assert commits(talk.appended()) == []  # the clock's probe
    assert commits(talk.wait(1.0)) == []
    assert commits(talk.appended()) == [7]


def test_a_refused_commit_is_made_again_later() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    talk.appended()
    assert talk.tell(inputs.CommitFailed(1)) == []
    assert talk.pipeline.wake_at(talk.moment) == talk.now + 6.0
    assert commits(talk.wait(6.0)) == [1]
    assert talk.tell(inputs.CommitFailed(99)) == []


def test_a_commit_refused_late_of_an_older_assignment_does_not_commit_the_start_of_this_one() -> None:
    """It would go without the leader epoch that notices a log cut below it."""
    talk = Conversation()
    talk.start(recovery=replace(a_recovery(5), epoch=3))
    talk.tell(inputs.CommitFailed(1))
    assert commits(talk.wait(6.0)) == []


def test_polls_of_an_assignment_that_is_not_running_are_ignored() -> None:
    talk = Conversation()
    assert talk.poll(good(0)) == []
    talk.tell(inputs.Assigned(PLACE, 1))
    assert talk.poll(good(0)) == []
    assert talk.pipeline.statistics.records == 0


def test_a_record_below_the_start_is_not_taken_in_for_all_there_is_committed() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(offset=1))
    assert sends(talk.poll(good(0), good(1))) == [b"[1]"]
    assert talk.pipeline.statistics.records == 1


def test_a_record_that_comes_after_a_later_one_ends_the_process_rather_than_being_taken_for_known() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(2))
    with pytest.raises(OutOfOrder, match="offset 1 was received after offset 2"):
        talk.poll(good(1))


# ---- facts


def test_facts_of_one_interval_share_an_entry_and_a_full_one_goes_at_once() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 3, 500)))
    talk.start()
    assert talk.poll((0, None, None, None), (1, None, None, None)) == []
    assert [offset for offset, _ in written(talk.poll((2, None, None, None), (3, None, None, None)))] == [0, 1, 2]
    assert talk.wait(5.0) == []
    assert commits(talk.appended()) == [3]
    assert written(talk.wait(1.0)) == [(3, Outcome.IGNORED)]


def test_facts_that_could_not_be_written_are_written_again_with_those_learnt_since() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 3, 500)))
    talk.start()
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    talk.poll(*[(offset, None, None, None) for offset in range(1, 6)])
    assert talk.tell(inputs.FactsFailed(1)) == []
    assert talk.pipeline.wake_at(talk.moment) == talk.now + 0.5
    assert [offset for offset, _ in written(talk.wait(0.5))] == [0, 1, 2]
    out = talk.appended()
    assert commits(out) == [3]
    assert [offset for offset, _ in written(out)] == [3, 4, 5]


def test_with_too_many_facts_unconfirmed_nothing_more_is_sent() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 100, 3)))
    talk.start()
    talk.poll(*[(offset, None, None, None) for offset in range(4)])
    talk.wait(1.0)
    assert status.paused(talk.pipeline)["ledger"] == 1
    assert talk.poll(good(4)) == []
    assert sends(talk.appended()) == [b"[4]"]
    assert status.paused(talk.pipeline)["ledger"] == 0


def test_while_no_fact_is_confirmed_for_long_nothing_more_is_sent() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 100, 500, max_silence_seconds=5.0)))
    talk.start()
    talk.poll(good(0))
    talk.verdicts(b"[0]", DELIVERED)
    assert written(talk.wait(1.0)) == [(0, Outcome.DELIVERED)]
    assert sends(talk.poll(good(1))) == [b"[1]"]  # the brokers may be slow
    talk.wait(5.1)
    assert sends(talk.poll(good(2))) == []
    assert status.paused(talk.pipeline)["ledger"] == 1
    assert talk.pipeline.wake_at(talk.moment) == talk.now + 5.0, "the brokers are asked again"
    assert written(talk.tell(inputs.FactsFailed(1), after=25.0)) == []
    assert written(talk.wait(60.0)) == [(0, Outcome.DELIVERED)]
    assert status.paused(talk.pipeline)["ledger"] == 1  # that it is tried again is no answer
    assert sends(talk.appended()) == [b"[2]"]
    assert status.paused(talk.pipeline)["ledger"] == 0


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("INVALID_RECORD", "cleanup.policy=delete"),
        ("MSG_SIZE_TOO_LARGE", "max.message.bytes"),
        ("TOPIC_AUTHORIZATION_FAILED", "grant this client Write"),
        ("UNKNOWN_TOPIC_OR_PART", "deleted"),
        ("UNSUPPORTED_FOR_MESSAGE_FORMAT", "look at its settings"),
        ("OverflowError", "look at its settings"),
    ],
)
def test_a_ledger_that_refuses_every_entry_needs_an_operator_until_it_takes_one(code: str, fix: str) -> None:
    talk, other = Conversation(), TopicPartition(PLACE.topic, 1)
    talk.start()
    talk.start(2, place=other)
    for generation in (1, 2):
        talk.poll((0, None, None, None), generation=generation)
    talk.wait(1.0)
    talk.tell(inputs.FactsFailed(1, "the-ledger", code), after=5.0)
    assert status.needs_operator(talk.pipeline) == [], "the topic may just have been changed"
    talk.wait(60.0)
    talk.tell(inputs.FactsFailed(1, "the-ledger", code))
    talk.tell(inputs.FactsFailed(2, "the-ledger", code))
    (message,) = status.needs_operator(talk.pipeline)
    assert message.startswith(f"the ledger the-ledger refuses entries ({code}): ")
    assert fix in message
    talk.wait(60.0)
    talk.tell(inputs.FactsFailed(1, "the-ledger", "_MSG_TIMED_OUT"))
    assert status.needs_operator(talk.pipeline) == [message]
    assert commits(talk.appended(2)) == [1]
    talk.wait(60.0)
    assert commits(talk.appended()) == [1]
    assert status.needs_operator(talk.pipeline) == []


@pytest.mark.parametrize("code", ["_MSG_TIMED_OUT", "NOT_ENOUGH_REPLICAS", "NOT_LEADER_FOR_PARTITION", "_TRANSPORT", ""])
def test_brokers_that_are_away_need_no_operator_for_the_ledger(code: str) -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, None, None))
    for _ in range(10):
        talk.wait(61.0)
        talk.tell(inputs.FactsFailed(1, "the-ledger", code))
    assert status.needs_operator(talk.pipeline) == []


def test_a_ledger_partition_that_does_not_answer_holds_up_nobody_while_another_does() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 100, 500, max_silence_seconds=5.0)))
    other = TopicPartition(PLACE.topic, 1)
    talk.start()
    talk.start(2, place=other)
    talk.poll((0, None, None, None))
    talk.wait(4.0)
    talk.poll((0, None, None, None), generation=2, place=other)
    talk.wait(1.0)
    talk.wait(4.0)
    talk.appended(2)
    assert sends(talk.poll(good(1), generation=2, place=other)) == [b"[1]"]


def test_a_ledger_partition_that_cannot_be_written_holds_up_nobody_though_another_has_nothing_to_write() -> None:
    """Nothing sent, nothing written, nothing confirmed: without a question it would stay so for good."""
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 100, 500, max_silence_seconds=5.0)))
    other = TopicPartition(PLACE.topic, 1)
    talk.start()
    talk.start(2, place=other)
    talk.poll((0, None, None, None))
    talk.wait(1.0)  # and no answer to the fact for as long as the test lasts
    (question,) = talk.wait(5.1)
    assert question == commands.AppendFacts(other, 2, "topic-id", Facts())
    assert sends(talk.poll(good(1), generation=2, place=other)) == []
    assert sends(talk.appended(2)) == [b"[1]"]
    talk.verdicts(b"[1]", DELIVERED)
    talk.wait(1.0)
    talk.appended(2)
    assert talk.wait(4.0) == []
    assert talk.pipeline.wake_at(talk.moment) == 60.0
    assert talk.wait(1.1)[-1:] == [commands.AppendFacts(other, 2, "topic-id", Facts())]


# ---- bounds


def test_at_the_bound_all_partitions_pause_and_at_half_of_it_they_resume() -> None:
    talk = Conversation(sending(batch=BatchPolicy(40, 1_000, 0.0)))
    talk.start()
    assert commands.Pause not in kinds(talk.poll(*[good(offset) for offset in range(79)]))
    assert commands.Pause(PLACE, 1) in talk.poll(good(79))
    assert status.paused(talk.pipeline)["buffer_full"] == 1
    bodies = list(talk.requests)
    assert [body.count(b",") + 1 for body in bodies] == [40, 39, 1]
    assert talk.verdicts(bodies[2], DELIVERED) == []
    assert commands.Resume(PLACE, 1) in talk.verdicts(bodies[1], *[DELIVERED] * 39)
    assert status.paused(talk.pipeline)["buffer_full"] == 0


def test_the_bound_holds_for_bytes_too() -> None:
    talk = Conversation()
    talk.start()
    poll = poll_of(good(0), good(1), sizes=[4_000, 4_000])
    assert commands.Pause(PLACE, 1) in talk.tell(inputs.Polled((poll,)))
    assert commands.Resume(PLACE, 1) in talk.verdicts(b"[0,1]", DELIVERED, RETRY)


def test_a_partition_too_far_ahead_of_its_open_record_pauses_alone() -> None:
    talk, other = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 10**6, 10**6))), TopicPartition("conversions", 1)
    talk.start(1)
    talk.start(2, place=other)
    out = talk.poll(good(0), *[(offset, None, None, None) for offset in range(1, MAX_AHEAD + 1)])
    assert [command for command in out if isinstance(command, commands.Pause)] == [commands.Pause(PLACE, 1)]
    assert status.paused(talk.pipeline)["ahead"] == 1
    talk.verdicts(b"[0]", DELIVERED)
    talk.wait(1.0)
    assert commands.Resume(PLACE, 1) in talk.appended()


# ---- clocks


@pytest.mark.parametrize("skew_ms", [300_001, -300_001])
def test_a_partition_does_not_start_while_the_clocks_disagree_and_the_brokers_time_is_asked_for_again(skew_ms: int) -> None:
    talk = Conversation()
    talk.skew_ms = skew_ms
    talk.tell(inputs.Assigned(PLACE, 1))
    talk.tell(inputs.Restored(1, a_recovery()))
    assert talk.appended() == []
    assert "off the brokers'" in status.needs_operator(talk.pipeline)[0]
    assert talk.pipeline.wake_at(talk.moment) == 5.0
    assert kinds(talk.wait(5.0)) == [commands.AppendFacts]
    talk.skew_ms = 0
    assert kinds(talk.appended()) == [commands.Start, commands.Resume]


def test_a_clock_that_jumps_pauses_everything_and_what_was_polled_meanwhile_is_judged_when_it_agrees_again() -> None:
    talk, other = Conversation(), TopicPartition("conversions", 1)
    talk.start(1)
    talk.start(2, place=other)
    talk.skew_ms = WEEK_MS
    assert talk.poll(good(0), good(1, age_ms=WEEK_MS + 1)) == [
        commands.AppendFacts(PLACE, 1, "topic-id", Facts()),
        commands.Pause(PLACE, 1),
        commands.Pause(other, 2),
    ]
    assert status.paused(talk.pipeline)["clock"] == 2
    assert talk.outcomes == {}
    talk.poll(good(0), generation=2, place=other)
    assert talk.tell(inputs.Revoked((2,))) == [commands.Release(other, 2, 0)]
    talk.skew_ms = 0
    out = talk.wait(1.0)
    assert sends(out) == [b"[0]"]
    assert commands.Resume(PLACE, 1) in out
    assert talk.outcomes == {Outcome.STALE: 1}


def test_while_the_clocks_disagree_the_brokers_time_is_asked_for_every_few_seconds() -> None:
    talk = Conversation()
    talk.start()
    talk.skew_ms = -WEEK_MS
    assert kinds(talk.wait(0.0)) == [commands.AppendFacts, commands.Pause]
    assert talk.wait(5.0) == []  # the last question is still open
    talk.appended()
    assert talk.pipeline.wake_at(talk.moment) == 10.0
    assert kinds(talk.wait(5.0)) == [commands.AppendFacts]


def test_an_entry_without_an_append_time_says_nothing_about_the_clock() -> None:
    talk = Conversation()
    talk.tell(inputs.Assigned(PLACE, 1))
    talk.tell(inputs.Restored(1, a_recovery()))
    talk.skew_ms = WEEK_MS
    assert kinds(talk.tell(inputs.FactsAppended(1, 1, None))) == [commands.Start, commands.Resume]


def test_the_window_forgets_what_is_too_old_for_any_copy_to_be_fresh() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("a",)))
    (part,) = talk.pipeline.assignments
    assert part.phase is Phase.RUNNING
    talk.wait(7 * 86_400.0 - 100)
    assert key_of("a") in part.window.seen
    talk.wait(2 * 86_400.0)
    assert key_of("a") not in part.window.seen


def test_a_large_window_is_swept_in_steps_and_freed_in_steps_once_its_partition_is_another_members() -> None:
    recovery, dice = a_recovery(), Random(5)
    recovery.seen.add_packed(dice.randbytes(16 * 30_000), [NOW_MS] * 30_000)
    talk = Conversation()
    talk.start(recovery=recovery)
    talk.wait(8.1 * 86_400)
    assert 0 < len(recovery.seen) < 30_000
    assert talk.pipeline.wake_at(talk.moment) == pytest.approx(talk.now + 0.05)
    left = len(recovery.seen)
    talk.tell(inputs.Lost((1,)))
    assert 0 < len(recovery.seen) < left
    while len(recovery.seen):
        assert talk.pipeline.wake_at(talk.moment) == pytest.approx(talk.now + 0.05)
        talk.wait(0.05)
    assert talk.pipeline.wake_at(talk.moment) is None


def test_a_clock_set_back_within_the_skew_finds_the_keys_of_events_that_are_fresh_again() -> None:
    midnight = NOW_MS // DAY_MS * DAY_MS
    talk = Conversation()
    talk.start()
    talk.poll((0, "a", b"0", midnight - 1))
    talk.verdicts(b"[0]", DELIVERED)
    talk.skew_ms = 300_000
    talk.wait((midnight + WEEK_MS - NOW_MS) / 1000 - 100)  # stale by the fast clock, so the window may forget
    talk.skew_ms = -300_000
    assert talk.poll((1, "a", b"1", midnight - 1)) == []
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.DUPLICATE: 1}


def _sweep(talk: Conversation, days: float) -> None:
    """Let so many days pass with no more than a ledger entry a day, so that the clock is believed."""
    for _ in range(round(days * 2)):
        talk.now += DAY_MS / 2000
        talk.appended()
    talk.wait(61.0)


def test_a_copy_is_recognised_for_the_window_from_the_acknowledgement_on() -> None:
    """An event nearly as old as the window, whose producer stamps each try anew, is not forgotten the day after."""
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a", age_ms=WEEK_MS - 3_600_000))
    talk.verdicts(b"[0]", DELIVERED)
    _sweep(talk, 6.5)
    assert talk.poll((1, "a", b"1", NOW_MS + 6 * DAY_MS)) == []
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.DUPLICATE: 1}
    _sweep(talk, 2)
    assert sends(talk.poll((2, "a", b"2", NOW_MS + 8 * DAY_MS))) == [b"[2]"]


def test_an_acknowledgement_is_timed_by_the_brokers_clock() -> None:
    """Ours was set back a week while the request was out."""
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a", age_ms=WEEK_MS - 3_600_000))
    talk.skew_ms = -WEEK_MS
    talk.verdicts(b"[0]", DELIVERED)
    talk.skew_ms = 0
    _sweep(talk, 6.5)
    assert talk.poll((1, "a", b"1", NOW_MS + 6 * DAY_MS)) == []


def test_an_event_ahead_of_the_clock_is_recognised_for_the_window_from_its_own_time_on() -> None:
    midnight = NOW_MS // DAY_MS * DAY_MS + DAY_MS
    talk = Conversation()
    talk.start()
    talk.now = (midnight - NOW_MS) / 1000 - 60
    talk.appended()
    talk.poll((0, "a", b"0", midnight + 60_000))
    talk.verdicts(b"[0]", DELIVERED)
    assert talk.pipeline.assignments[0].window.seen._days == {day: day for day in (midnight // DAY_MS,)}  # type: ignore[attr-defined]  # of `SeenKeys`


def test_a_commit_names_what_the_ledger_must_still_hold() -> None:
    talk = Conversation()
    landmarks = Landmarks(8 * DAY_MS)
    landmarks.passed(2, NOW_MS - 2 * DAY_MS)
    talk.ledger_end = 3
    talk.start(recovery=replace(a_recovery(), landmarks=landmarks))
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    (commit,) = talk.appended()
    assert isinstance(commit, commands.Commit)
    then, last = NOW_MS - 2 * DAY_MS, NOW_MS + 1_000
    assert commit.points[0].metadata == f"v1 topic-id ledger-id:23 1 kept 691200 2:{then} 12:{NOW_MS} 22:{last}"


def test_nothing_is_forgotten_by_a_clock_that_is_not_believed() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("known",)))
    talk.skew_ms = 30 * DAY_MS
    talk.wait(61.0)
    assert key_of("known") in talk.pipeline.assignments[0].window.seen
