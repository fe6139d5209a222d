"""What the pipeline does as a member of a group: while its coordinator is silent, and when a partition begins anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core import commands, inputs, status
from connector.core.assignment import Phase
from connector.model import DELIVERED, Failure, Outcome, Poll, RequestFailed, TopicPartition
from tests.core.builders import PLACE
from tests.core.conversation import POLICY, Conversation, a_recovery, commits, good, kinds, sends, written

NEVER = float("-inf")
OTHER = TopicPartition(PLACE.topic, 1)


# ---- the coordinator's word


def test_nothing_is_sent_before_the_coordinator_has_vouched_for_this_member() -> None:
    talk = Conversation()
    talk.vouched = NEVER
    assert commits(talk.start()) == [0], "it is asked by a commit of what is committed"
    assert sends(talk.poll(good(0))) == []
    assert status.paused(talk.pipeline)["coordinator"] == 1
    assert talk.pipeline.wake_at(talk.moment) == 0.1

    talk.vouched = 0.0
    assert sends(talk.wait(0.1)) == [b"[0]"]
    assert status.paused(talk.pipeline)["coordinator"] == 0


def test_a_session_s_half_without_the_coordinator_s_word_stops_all_sending_though_polls_go_on() -> None:
    talk = Conversation()
    talk.vouched = 0.0
    talk.start()
    assert sends(talk.tell(inputs.Polled(()), after=22.5)) == []
    assert sends(talk.poll(good(0))) == [b"[0]"]
    assert talk.pipeline.may_start(frozenset({1}), talk.moment)

    talk.wait(0.1)
    assert sends(talk.poll(good(1))) == []
    assert not talk.pipeline.may_start(frozenset({1}), talk.moment)


def test_an_idle_member_asks_by_what_is_committed_already_and_goes_on_asking_until_it_is_answered() -> None:
    talk = Conversation()
    talk.vouched = 0.0
    talk.start(recovery=a_recovery(30))
    assert commits(talk.wait(11.0)) == []
    assert talk.pipeline.wake_at(talk.moment) == 11.25
    assert commits(talk.wait(0.25)) == [30]
    assert talk.pipeline.wake_at(talk.moment) == 12.25
    assert commits(talk.wait(0.5)) == []
    assert commits(talk.wait(0.5)) == [30]

    talk.vouched = 11.25
    assert talk.pipeline.wake_at(talk.moment) == 22.5


def test_a_commit_with_something_new_asks_as_well() -> None:
    talk = Conversation()
    talk.vouched = 0.0
    talk.start()
    talk.deliver(0)
    talk.wait(10.5)
    assert commits(talk.appended()) == [1]
    assert commits(talk.wait(0.75)) == [1]  # a quarter of the session is over, and that was not answered


def test_the_beginning_is_committed_only_where_nothing_else_could_be() -> None:
    talk = Conversation()
    uncommitted = replace(a_recovery(5), committed=False)
    talk.start(1, recovery=uncommitted)
    talk.start(2, place=OTHER, recovery=replace(a_recovery(6), committed=False))
    talk.vouched = NEVER
    assert commits(talk.wait(0.0)) == [5]
    talk.start(3, place=TopicPartition(PLACE.topic, 2), recovery=a_recovery(7))

    assert commits(talk.wait(1.0)) == [5, 7], "what it has committed itself counts"


def test_a_member_that_runs_nothing_asks_nothing() -> None:
    talk = Conversation()
    talk.vouched = NEVER
    talk.tell(inputs.Assigned(PLACE, 1))
    assert kinds(talk.wait(60.0)) == []
    assert status.paused(talk.pipeline)["coordinator"] == 0


def test_without_an_answer_for_a_session_partitions_begin_anew_once_a_session() -> None:
    talk = Conversation(replace(POLICY, session_seconds=45.0))
    talk.vouched = 0.0
    talk.start()
    talk.poll(good(0))
    assert commands.StartOver(PLACE, 1) not in talk.wait(45.0)
    assert commands.StartOver(PLACE, 1) in talk.wait(0.1)
    assert commands.StartOver(PLACE, 1) not in talk.wait(44.0)
    assert commands.StartOver(PLACE, 1) in talk.wait(2.0)


def test_by_the_classic_protocol_it_is_for_the_client_to_say_that_the_session_is_over() -> None:
    talk = Conversation()
    talk.vouched = 0.0
    talk.start()
    assert commands.StartOver not in kinds(talk.wait(10_000.0))


# ---- older assignments of the same partition


def _begun_anew_with_a_request_out() -> Conversation:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.tell(inputs.Lost((1,)))
    assert kinds(talk.tell(inputs.Assigned(PLACE, 2))) == []
    return talk


def test_a_partition_that_begins_anew_is_restored_once_what_it_had_sent_is_answered_and_written_down() -> None:
    talk = _begun_anew_with_a_request_out()
    assert status.paused(talk.pipeline)["restoring"] == 1

    answered = talk.verdicts(b"[0]", DELIVERED)
    assert written(answered) == [(0, Outcome.DELIVERED)]
    assert commands.Restore not in kinds(answered)
    talk.appended(1)
    assert talk.pipeline.wake_at(talk.moment) == 0.0

    assert talk.wait(0.0) == [commands.Restore(PLACE, 2)]


def test_what_failed_meanwhile_is_waited_for_no_longer() -> None:
    talk = _begun_anew_with_a_request_out()
    talk.answer(b"[0]", RequestFailed(Failure.TIMEOUT, "timeout"))
    assert talk.wait(0.0) == [commands.Restore(PLACE, 2)]


def test_facts_that_cannot_be_written_hold_a_restore_back_no_longer_than_a_drain() -> None:
    talk = _begun_anew_with_a_request_out()
    talk.verdicts(b"[0]", DELIVERED)
    assert commands.Restore(PLACE, 2) not in talk.wait(39.0)
    assert talk.pipeline.wake_at(talk.moment) == 40.0
    assert commands.Restore(PLACE, 2) in talk.wait(1.0)


def test_facts_have_a_drain_s_time_from_an_answer_that_comes_late() -> None:
    """DRAIN_TIMEOUT may be shorter than a request takes."""
    talk = _begun_anew_with_a_request_out()
    talk.wait(50.0)

    assert commands.Restore not in kinds(talk.verdicts(b"[0]", DELIVERED))
    assert commands.Restore(PLACE, 2) not in talk.wait(39.0)
    assert commands.Restore(PLACE, 2) in talk.wait(1.0)


def test_another_partition_s_requests_hold_nothing_back() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.tell(inputs.Lost((1,)))
    assert talk.tell(inputs.Assigned(OTHER, 2)) == [commands.Restore(OTHER, 2)]


def test_a_partition_that_begins_anew_and_is_revoked_is_given_back_once_what_it_had_sent_is_written_down() -> None:
    talk = _begun_anew_with_a_request_out()
    assert commands.Release not in kinds(talk.tell(inputs.Revoked((2,)))), "its next owner would send it again"
    assert commands.Release not in kinds(talk.verdicts(b"[0]", DELIVERED))
    assert commands.Release(PLACE, 2, 0) in talk.appended(1)


def test_a_partition_that_begins_anew_and_is_revoked_waits_for_what_it_had_sent_no_longer_than_a_drain() -> None:
    talk = _begun_anew_with_a_request_out()
    talk.tell(inputs.Revoked((2,)))
    assert commands.Restore not in kinds(talk.wait(39.0))
    assert talk.pipeline.wake_at(talk.moment) == 40.0
    assert talk.wait(1.0) == [commands.Release(PLACE, 2, 0)]


# ---- beginning anew, again and again


def _begin_anew(talk: Conversation, generation: int) -> float:
    """Begin anew, and return how long it is until the restore."""
    talk.tell(inputs.Lost((generation - 1,)))
    began = talk.now
    if talk.tell(inputs.Assigned(PLACE, generation, anew=True)):
        return 0.0
    due = talk.pipeline.wake_at(talk.moment)
    assert due is not None
    talk.now = due
    assert talk.wait(0.0) == [commands.Restore(PLACE, generation)]
    return due - began


def _run(talk: Conversation, generation: int) -> None:
    talk.tell(inputs.Restored(generation, a_recovery()))
    talk.appended(generation)


def test_a_partition_that_begins_anew_and_comes_to_nothing_does_so_later_and_later() -> None:
    talk = Conversation()
    talk.start()
    waits = []
    for generation in range(2, 10):
        waits.append(_begin_anew(talk, generation))
        _run(talk, generation)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@pytest.mark.parametrize("how", ["progress", "time", "the group"])
def test_a_partition_that_came_to_something_begins_anew_at_once(how: str) -> None:
    talk = Conversation()
    talk.start()
    assert _begin_anew(talk, 2) == 1.0
    _run(talk, 2)
    match how:
        case "progress":
            talk.poll((0, None, None, None), generation=2)
            talk.wait(1.0)
            talk.appended(2)
        case "time":
            talk.wait(61.0)
        case _:
            talk.tell(inputs.Lost((2,)))
            assert talk.tell(inputs.Assigned(PLACE, 3)) == [commands.Restore(PLACE, 3)]
            return

    assert _begin_anew(talk, 3) == 0.0


# ---- what cannot be read


def test_a_partition_that_cannot_be_read_is_asked_for_later_and_later_and_then_aloud() -> None:
    talk = Conversation()
    talk.start()
    talk.start(2, place=OTHER)
    waits = []
    for _ in range(3):
        began = talk.now
        assert commands.Resume(PLACE, 1) not in talk.tell(inputs.Unreadable(1, 5, "_BAD_MSG"))
        assert status.paused(talk.pipeline)["unreadable"] == 1
        due = talk.pipeline.wake_at(talk.moment)
        assert due is not None
        assert commands.Resume(PLACE, 1) in talk.wait(due - began)
        waits.append(due - began)
    assert waits == [1.0, 2.0, 4.0]
    (sentence,) = status.needs_operator(talk.pipeline)
    assert sentence.startswith("conversions-0 cannot be read from offset 5 on (_BAD_MSG)")
    assert sends(talk.poll(good(0), generation=2, place=OTHER)) == [b"[0]"], "others go on"

    talk.poll(good(5))
    assert status.needs_operator(talk.pipeline) == []
    assert status.paused(talk.pipeline)["unreadable"] == 0


def test_what_was_read_before_it_is_sent_and_committed_and_does_not_pass_for_it() -> None:
    talk = Conversation()
    talk.start()
    talk.tell(inputs.Unreadable(1, 1, "_BAD_MSG"))
    assert sends(talk.poll(good(0))) == [b"[0]"]
    talk.verdicts(b"[0]", DELIVERED)
    talk.wait(0.9)
    assert written(talk.wait(0.1)) == [(0, Outcome.DELIVERED)]
    assert commits(talk.appended()) == [1]
    assert status.paused(talk.pipeline)["unreadable"] == 1


def test_the_end_of_the_log_shows_as_well_that_it_can_be_read() -> None:
    talk = Conversation()
    talk.start()
    talk.tell(inputs.Unreadable(1, 5, "KAFKA_STORAGE_ERROR"))
    talk.tell(inputs.Polled((Poll(PLACE, 1, read_end=6),)))
    assert status.paused(talk.pipeline)["unreadable"] == 0


def test_what_could_not_be_read_of_an_assignment_that_ended_wakes_nobody() -> None:
    talk = Conversation()
    talk.start()
    assert sends(talk.poll(good(0))) == [b"[0]"]
    talk.tell(inputs.Unreadable(1, 1, "_BAD_MSG"))
    talk.tell(inputs.Lost((1,)))
    talk.wait(2.0)
    due = talk.pipeline.wake_at(talk.moment)
    assert due is None or due > talk.now


def test_news_of_what_cannot_be_read_of_an_assignment_that_ended_changes_nothing() -> None:
    talk = Conversation()
    assert talk.tell(inputs.Unreadable(1, 0, "_BAD_MSG")) == []
    talk.start()
    talk.poll(good(0))
    talk.tell(inputs.Revoked((1,)))
    assert talk.pipeline.assignments[0].phase is Phase.DRAINING
    talk.tell(inputs.Unreadable(1, 0, "_BAD_MSG"))
    assert status.paused(talk.pipeline)["unreadable"] == 0
