"""When a request goes out: batches, rates, outages, the breaker, the gate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy
from connector.core.breaker import OutagePolicy
from connector.core.policy import BufferPolicy, FlushPolicy
from connector.core.retry import RetryPolicy
from connector.model import (
    DELIVERED,
    Failure,
    Reason,
    RequestFailed,
    TopicPartition,
)
from tests.core.builders import NOW_MS, PLACE, Shape, at
from tests.core.conversation import (
    FLAW,
    POLICY,
    REJECTED,
    Conversation,
    a_recovery,
    good,
    letters,
    sending,
    sends,
    written,
)

# ---- an outage


def test_in_an_outage_one_request_at_a_time_asks_and_its_end_hurries_everybody() -> None:
    talk = Conversation(sending(outage=OutagePolicy(2, RetryPolicy(4.0, 30.0)), batch=BatchPolicy(1, 100, 0.0)))
    talk.start()
    failed = RequestFailed(Failure.TRANSIENT, "http-503")
    bodies = sends(talk.poll(*[good(offset) for offset in range(4)]))
    for body in bodies:
        talk.answer(body, failed)
    assert status.paused(talk.pipeline)["outage"] == 0, "what was out together is one failure"
    assert sends(talk.wait(0.5)) == bodies
    for body in bodies:
        talk.answer(body, failed)
    assert status.paused(talk.pipeline)["outage"] == 1
    assert talk.pipeline.dispatch.limit == 1
    assert status.needs_operator(talk.pipeline) == []  # Amazon being down is not unready
    assert sends(talk.wait(1.9)) == []
    (probe,) = sends(talk.wait(0.1))
    assert sends(talk.answer(probe, failed)) == []
    assert sends(talk.wait(3.9)) == []
    (probe,) = sends(talk.wait(0.1))
    assert sends(talk.poll(good(4))) == []
    out = talk.verdicts(probe, DELIVERED)
    assert len(sends(out)) == 1  # carefully: one, then two, then more
    assert status.paused(talk.pipeline)["outage"] == 0
    assert len(sends(talk.verdicts(sends(out)[0], DELIVERED))) == 2


def test_what_fails_in_an_outage_is_no_try_of_its_events_and_may_be_the_next_probe() -> None:
    talk = Conversation(sending(outage=OutagePolicy(2, RetryPolicy(1.0, 4.0))))
    talk.start()
    talk.poll(good(0))
    failed = RequestFailed(Failure.TIMEOUT, "timeout")
    attempts = []
    for _ in range(20):
        talk.answer(b"[0]", failed)
        (send,) = talk.wait(4.0)
        assert isinstance(send, commands.Send)
        attempts.append(send.attempt)
    assert attempts == [1] * 20


def test_no_more_requests_start_in_a_second_than_was_asked_for() -> None:
    talk = Conversation(sending(batch=BatchPolicy(1, 100, 0.0), max_per_second=2.0))
    talk.start()
    assert sends(talk.poll(good(0), good(1), good(2))) == [b"[0]"]
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert sends(talk.wait(0.49)) == []
    assert sends(talk.wait(0.01)) == [b"[1]"]


def test_the_one_event_left_of_a_body_too_large_is_no_dead_letter_for_it_was_not_alone() -> None:
    talk = Conversation()
    talk.poll_two_partitions()
    assert sends(talk.wait(0.0)) == [b"[0,7]"]
    talk.tell(inputs.Lost((1,)))
    out = talk.answer(b"[0,7]", RequestFailed(Failure.TOO_LARGE, "http-413"))
    assert letters(out) == []
    assert sends(out) == [b"[7]"]


def test_what_was_given_back_does_not_keep_the_buffer_full_and_what_is_still_out_does() -> None:
    talk, other = Conversation(replace(POLICY, buffer=BufferPolicy(30, 10_000, 10, 2_000))), TopicPartition("conversions", 1)
    talk.start()
    talk.start(2, place=other)
    out = talk.poll(*[good(offset) for offset in range(60, 90)])
    assert {commands.Pause(PLACE, 1), commands.Pause(other, 2)} <= set(out)
    assert len(sends(out)) == 3
    assert commands.Resume(other, 2) not in talk.tell(inputs.Lost((1,)))  # 30 events are in requests
    bodies = sends(out)
    talk.answer(bodies[0], RequestFailed(Failure.TRANSIENT, "connect"))
    assert commands.Resume(other, 2) in talk.answer(bodies[1], RequestFailed(Failure.TRANSIENT, "connect"))
    talk.answer(bodies[2], RequestFailed(Failure.TRANSIENT, "connect"))
    assert [part.held for part in talk.pipeline._all.values()] == [0]


def test_an_assignment_that_ended_leaves_its_window_at_once_though_its_facts_are_not_written() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("a", "b")))
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    talk.tell(inputs.Lost((1,)))
    assert [len(part.window.seen) for part in talk.pipeline._all.values()] == [0]


def test_a_request_may_start_as_long_as_polls_go_on_and_all_its_events_are_ours() -> None:
    talk = Conversation()
    talk.poll_two_partitions()
    (send,) = talk.wait(0.0)
    assert isinstance(send, commands.Send)
    assert send.generations == {1, 2}
    gate = POLICY.dispatch.poll_gate_seconds
    assert talk.pipeline.may_start(send.generations, at(100.0, polled=100.0 - gate))
    assert not talk.pipeline.may_start(send.generations, at(100.0, polled=99.9 - gate))
    talk.tell(inputs.Revoked((1,)))
    assert talk.pipeline.may_start(send.generations, talk.moment), "a drain finishes what it has begun"
    talk.tell(inputs.Lost((1,)))
    assert not talk.pipeline.may_start(send.generations, talk.moment)
    (again,) = talk.answer(send.body, RequestFailed(Failure.NOT_SENT, "not-sent"))
    assert isinstance(again, commands.Send)
    assert (again.body, again.generations) == (b"[7]", frozenset({2}))
    assert talk.pipeline.may_start(again.generations, talk.moment)


def test_requests_that_were_not_sent_after_all_are_no_outage() -> None:
    talk = Conversation(sending(outage=OutagePolicy(2)))
    talk.start()
    talk.poll(good(0))
    for _ in range(5):
        (send,) = talk.answer(b"[0]", RequestFailed(Failure.NOT_SENT, "not-sent"))
        assert isinstance(send, commands.Send)
        assert send.attempt == 0
    assert status.paused(talk.pipeline)["outage"] == 0
    talk.tell(inputs.Lost((1,)))
    assert talk.answer(b"[0]", RequestFailed(Failure.NOT_SENT, "not-sent")) == []


def test_a_member_without_partitions_waits_for_no_operator() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.OPERATOR, "http-401", detail="the token is refused"))
    assert status.needs_operator(talk.pipeline) == ["the token is refused"]
    talk.tell(inputs.Lost((1,)))
    assert status.needs_operator(talk.pipeline) == []


UNREADABLE = RequestFailed(Failure.UNREADABLE, "not-http", detail="amazon.example answers what cannot be read as HTTP")


def test_answers_that_cannot_be_read_need_an_operator_when_they_are_three_in_a_row() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(2):
        talk.answer(b"[0,1]", UNREADABLE)
        assert status.needs_operator(talk.pipeline) == []
        talk.wait(60.0)
    talk.answer(b"[0,1]", UNREADABLE)
    assert status.needs_operator(talk.pipeline) == [UNREADABLE.detail]
    assert sends(talk.wait(60.0)) == [b"[0,1]"]  # and it goes on trying
    talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)
    assert status.needs_operator(talk.pipeline) == []


def test_an_answer_that_cannot_be_read_between_others_passes() -> None:
    talk = Conversation()
    talk.start()
    for offset in range(4):
        talk.poll(good(offset))
        talk.answer(b"[%d]" % offset, UNREADABLE)
        assert status.needs_operator(talk.pipeline) == []
        talk.wait(60.0)
        talk.verdicts(b"[%d]" % offset, DELIVERED)


def test_on_verdict_stop_a_moment_of_answers_that_cannot_be_read_does_not_end_the_process() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(good(0))
    for number in range(5):
        out = talk.answer(b"[0]", UNREADABLE)
        assert (commands.Stop(UNREADABLE.detail) in out) == (number == 4)
        talk.wait(60.0)


# ---- the breaker


def test_too_many_rejections_in_a_row_leave_one_probe_a_minute_until_one_is_delivered() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(*[good(offset) for offset in range(5)])
    talk.poll(*[good(offset) for offset in range(5, 9)])
    out = talk.verdicts(b"[0,1,2,3,4]", *[REJECTED] * 5)
    assert [offset for offset, _ in letters(out)] == [0, 1, 2, 3]  # the fifth opens it, and is held back
    assert commands.Pause(PLACE, 1) in out
    talk.answer(b"[5,6,7,8]", RequestFailed(Failure.TRANSIENT, "connect"))
    assert status.paused(talk.pipeline)["breaker"] == 1
    assert "5 events in a row" in status.needs_operator(talk.pipeline)[0]
    assert talk.pipeline.wake_at(talk.moment) == 60.0
    assert sends(talk.wait(59.0)) == []
    out = talk.wait(1.0)
    assert (sends(out), letters(out)) == ([b"[5]"], [(4, Reason.REJECTED)])
    assert sends(talk.wait(59.0)) == []
    talk.verdicts(b"[5]", REJECTED)
    out = talk.wait(60.0)
    assert (sends(out), letters(out)) == ([b"[6]"], [(5, Reason.REJECTED)])
    assert sends(talk.verdicts(b"[6]", DELIVERED)) == [b"[7,8]"]
    assert status.needs_operator(talk.pipeline) == []


def test_too_many_records_that_cannot_be_sent_pause_consumption_instead_of_emptying_the_topic() -> None:
    talk = Conversation()
    talk.start()
    out = talk.poll(*[(offset, None, FLAW, NOW_MS) for offset in range(8)])
    assert len(letters(out)) == 4
    assert commands.Pause(PLACE, 1) in out
    assert status.buffered_events(talk.pipeline) == 8
    for offset in range(4):
        talk.tell(inputs.LettersWritten(((1, offset),)))
    for offset in range(4, 8):
        out = talk.wait(60.0)
        assert letters(out) == [(offset, Reason.INVALID_FIELD)]
        talk.tell(inputs.LettersWritten(((1, offset),)))
    assert commands.Resume(PLACE, 1) in out  # with nothing left to probe by, a look at what comes next
    out = talk.poll((8, None, FLAW, NOW_MS), good(9), good(10))
    assert commands.Pause(PLACE, 1) in out
    assert sends(out) == [b"[9]"]
    assert commands.Resume(PLACE, 1) in talk.verdicts(b"[9]", DELIVERED)


def test_letters_held_back_are_given_back_with_their_partition() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(*[(offset, None, FLAW, NOW_MS) for offset in range(7)])
    talk.tell(inputs.Revoked((1,)))
    for offset in range(4):
        talk.tell(inputs.LettersWritten(((1, offset),)))
    assert [command.unresolved for command in talk.appended() if isinstance(command, commands.Release)] == [3]


# ---- facts that wait

OTHER = TopicPartition(PLACE.topic, 1)


def _without_value(*offsets: int) -> list[Shape]:
    return [(offset, None, None, None) for offset in offsets]


def test_facts_are_written_early_once_half_as_many_wait_as_may_be_unconfirmed() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 100, 8)))
    talk.start(1)
    talk.start(2, place=OTHER)
    assert written(talk.poll(*_without_value(0, 1, 2))) == []
    out = talk.poll(*_without_value(7), generation=2, place=OTHER)
    assert [offset for offset, _ in written(out)] == [0, 1, 2, 7]
    talk.poll(*_without_value(3, 4, 5))
    talk.appended(2)
    assert written(talk.poll(*_without_value(8), generation=2, place=OTHER)) == [], "one slow leader hurries no other"
    assert [offset for offset, _ in written(talk.wait(1.0))] == [8]


# ---- clocks


def test_a_batch_waits_for_the_linger() -> None:
    talk = Conversation(sending(batch=BatchPolicy(2, 100, 0.5)))
    talk.start()
    assert talk.poll(good(0)) == []
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert sends(talk.wait(0.5)) == [b"[0]"]
    assert sends(talk.poll(good(1), good(2))) == [b"[1,2]"]


def test_a_full_batch_that_cannot_be_sent_yet_is_due_at_once() -> None:
    talk = Conversation(sending(batch=BatchPolicy(1, 100, 9.0)))
    talk.start()
    talk.last_poll = -100.0
    talk.poll(good(0))
    assert talk.pipeline.wake_at(talk.moment) == pytest.approx(0.1)


def test_no_request_starts_while_the_consumer_thread_stands_still() -> None:
    talk = Conversation()
    talk.start()
    talk.last_poll = -22.6
    assert talk.poll(good(0)) == []
    assert talk.pipeline.wake_at(talk.moment) == pytest.approx(0.1)
    talk.last_poll = -22.4
    assert sends(talk.wait(0.1)) == [b"[0]"]
