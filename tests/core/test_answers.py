"""What an answer of Amazon means for the events of its request, and for everybody else."""

from __future__ import annotations

from dataclasses import replace
from weakref import ref

import pytest

from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy
from connector.core.breaker import OutagePolicy
from connector.core.retry import RetryPolicy
from connector.model import (
    DELIVERED,
    NO_VERDICT,
    Failure,
    Flaw,
    Outcome,
    Reason,
    RequestFailed,
    Verdict,
    VerdictKind,
)
from tests.core.builders import poll_of
from tests.core.conversation import (
    POLICY,
    RETRY,
    TOO_LARGE,
    WEEK_MS,
    Conversation,
    good,
    kinds,
    letters,
    sending,
    sends,
)

# ---- verdicts


def test_an_event_without_a_final_verdict_is_tried_again_until_it_is_given_up_as_a_dead_letter() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1), good(2))
    talk.verdicts(b"[0,1,2]", RETRY, NO_VERDICT, DELIVERED)
    assert sends(talk.wait(0.5)) == [b"[0,1]"]
    talk.deliver(3)
    talk.verdicts(b"[0,1]", RETRY, NO_VERDICT)
    assert sends(talk.wait(0.5)) == []
    assert sends(talk.wait(0.5)) == [b"[0,1]"]
    talk.deliver(4)
    out = talk.verdicts(b"[0,1]", RETRY, NO_VERDICT)
    assert [command.flaw for command in out if isinstance(command, commands.WriteLetter)] == [
        Flaw(Reason.NO_VERDICT, "INTERNAL"),
        Flaw(Reason.NO_VERDICT, "no verdict on this event"),
    ]
    assert talk.pipeline.statistics.retries == {"no-verdict": 4}


@pytest.mark.parametrize("count", [1, 3])
def test_an_answer_has_a_verdict_for_each_event_and_no_more(count: int) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    with pytest.raises(ValueError, match=f"{count} verdicts on 2 events"):
        talk.verdicts(b"[0,1]", *[DELIVERED] * count)


def test_an_event_that_is_tried_again_keeps_no_other_record_in_memory() -> None:
    talk, records = Conversation(), [_Record() for _ in range(3)]
    left = [ref(record) for record in records]
    talk.start()
    poll = poll_of(good(0, "a"), good(1, "b"), good(2, "c"))
    poll.records = list(records)
    records.clear()
    talk.tell(inputs.Polled((poll,)))
    del poll
    talk.verdicts(b"[0,1,2]", DELIVERED, NO_VERDICT, DELIVERED)
    assert [record() is not None for record in left] == [False, True, False]


class _Record:
    pass


def test_a_request_that_fails_as_a_whole_is_tried_without_bound_and_dead_letters_nothing() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    for attempt in range(1, 40):
        assert talk.answer(b"[0]", RequestFailed(Failure.TRANSIENT, "http-503")) == []
        wake = talk.pipeline.wake_at(talk.moment)
        full = min(60, 2 ** (attempt - 1))
        (send,) = talk.wait(full / 2)
        assert isinstance(send, commands.Send)
        assert send.attempt == attempt
        assert wake is not None
        assert wake <= talk.now
    assert talk.pipeline.statistics.retries == {"http-503": 39}


def test_the_wait_the_vendor_asked_for_is_kept() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.TRANSIENT, "http-503", retry_after=20.0))
    talk.poll(good(1))
    assert sends(talk.wait(19.9)) == []
    assert sends(talk.wait(0.1)) == [b"[0]", b"[1]"]


def test_throttled_every_request_of_the_process_waits_and_they_go_out_one_after_the_other() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.THROTTLED, "http-429", retry_after=5.0))
    assert talk.pipeline.dispatch.limit == 4, "the rate is too high, not their number"
    assert talk.pipeline.dispatch.pace.per_second == 0.93
    assert talk.poll(good(1)) == []
    assert talk.pipeline.wake_at(talk.moment) == 5.0
    assert sends(talk.wait(4.9)) == []
    assert sends(talk.wait(0.1)) == [b"[0]"]
    assert sends(talk.wait(3.9)) == [], "one asks whether it is taken"
    assert sends(talk.verdicts(b"[0]", DELIVERED)) == []
    assert sends(talk.wait(0.2)) == [b"[1]"]


@pytest.mark.parametrize(
    ("asked", "wait", "first"), [(None, 0.269, b"[1]"), (0.0, 0.269, b"[1]"), (0.75, 0.75, b"[0]"), (3600.0, 3600.0, b"[0]")]
)
def test_throttled_no_request_goes_out_before_the_wait_is_over_and_one_does_then(
    asked: float | None, wait: float, first: bytes
) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.THROTTLED, "http-429", retry_after=asked))
    talk.poll(good(1))
    assert sends(talk.wait(wait - 0.001)) == []
    assert sends(talk.wait(0.001)) == [first], "what was refused waits half a second at least"


def test_requests_that_are_throttled_together_lower_the_pace_once_and_go_out_again_one_after_the_other() -> None:
    talk = Conversation(sending(batch=BatchPolicy(1, 100, 0.0)))
    talk.start()
    talk.poll(good(0), good(1), good(2))
    for body in (b"[0]", b"[1]", b"[2]"):
        talk.answer(body, RequestFailed(Failure.THROTTLED, "http-429"))
    assert talk.pipeline.dispatch.pace.per_second == 0.93
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert sends(talk.wait(0.5)) == [b"[0]"]
    talk.verdicts(b"[0]", DELIVERED)
    assert talk.pipeline.dispatch.pace.due == pytest.approx(0.5 + 0.98 * 0.98 / 0.93)
    assert sends(talk.wait(1.1)) == [b"[1]"]


def test_a_batch_is_as_large_as_before_however_often_it_is_throttled() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(9):
        talk.answer(b"[0,1]", RequestFailed(Failure.THROTTLED, "http-429"))
        assert sends(talk.wait(60.0)) == [b"[0,1]"]


def test_a_time_out_is_a_sign_of_congestion_and_a_lost_connection_is_not() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.TRANSIENT, "connect"))
    assert talk.pipeline.dispatch.limit == 4
    talk.wait(0.5)
    talk.answer(b"[0]", RequestFailed(Failure.TIMEOUT, "timeout"))
    assert talk.pipeline.dispatch.limit == 2


def test_no_more_requests_go_out_at_once_than_the_limit() -> None:
    talk = Conversation(sending(batch=BatchPolicy(1, 100, 0.0), max_in_flight=2))
    talk.start()
    assert sends(talk.poll(good(0), good(1), good(2))) == [b"[0]", b"[1]"]
    assert talk.pipeline.dispatch.requests == 2
    assert sends(talk.verdicts(b"[1]", DELIVERED)) == [b"[2]"]


def test_credentials_that_fail_pause_everything_say_so_and_are_tried_again_less_and_less_often() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    failed = RequestFailed(Failure.OPERATOR, "invalid_grant", detail="the refresh token was revoked")
    assert talk.answer(b"[0]", failed) == []
    assert status.needs_operator(talk.pipeline) == ["the refresh token was revoked"]
    assert status.paused(talk.pipeline)["operator"] == 1
    assert talk.poll(good(1)) == []
    assert sends(talk.wait(0.5)) == [b"[0]"]  # one at a time
    talk.answer(b"[0]", replace(failed, detail=""))
    assert status.needs_operator(talk.pipeline) == ["invalid_grant"]
    assert sends(talk.wait(0.9)) == []
    assert sends(talk.wait(0.1)) == [b"[1]"]  # in turns
    assert sends(talk.verdicts(b"[1]", DELIVERED)) == [b"[0]"]
    assert status.needs_operator(talk.pipeline) == []


# ---- refused for the account


UNPAID = Verdict(VerdictKind.RETRY, "PAYMENT_ISSUE", "PAYMENT_ISSUE is about the account; pay")


ALL_UNPAID = RequestFailed(Failure.OPERATOR, "account", None, 207, "Amazon takes none: PAYMENT_ISSUE", (), UNPAID.account)


WAITING = (
    "Amazon refuses some events, and takes others: PAYMENT_ISSUE is about the account; pay. They wait, and are tried again"
)


def test_events_refused_for_the_account_while_others_pass_wait_and_are_no_letters_and_go_out_once_it_is_fixed() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1), good(2))
    talk.verdicts(b"[0,1,2]", DELIVERED, UNPAID, UNPAID)
    assert status.needs_operator(talk.pipeline) == [WAITING]
    assert status.paused(talk.pipeline)["operator"] == 0  # others go on
    for offset in range(10, 50):
        assert sends(talk.wait(60.0)) == [b"[1,2]"]
        assert status.needs_operator(talk.pipeline) == [WAITING], "also while they are out"
        assert letters(talk.answer(b"[1,2]", ALL_UNPAID)) == []
        talk.appended()
        talk.deliver(offset)
        assert status.needs_operator(talk.pipeline) == [WAITING]
    assert talk.outcomes == {Outcome.DELIVERED: 41}
    assert sends(talk.wait(60.0)) == [b"[1,2]"]
    talk.verdicts(b"[1,2]", DELIVERED, DELIVERED)
    assert status.needs_operator(talk.pipeline) == []
    assert talk.outcomes == {Outcome.DELIVERED: 43}
    assert talk.pipeline.statistics.retries == {"account": 82}


def test_they_are_tried_less_and_less_often_a_batch_at_a_time_and_all_at_once_when_one_passes() -> None:
    talk = Conversation(sending(batch=BatchPolicy(2, 100, 0.0)))
    talk.start()
    talk.poll(good(0), good(1), good(2), good(3), good(4), good(5))
    for body in (b"[0,1]", b"[2,3]", b"[4,5]"):
        talk.verdicts(body, DELIVERED, UNPAID)
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert sends(talk.wait(0.5)) == [b"[1,3]"]
    talk.answer(b"[1,3]", ALL_UNPAID)
    assert sends(talk.wait(0.9)) == []
    assert sends(talk.wait(0.1)) == [b"[5,1]"]
    talk.answer(b"[5,1]", ALL_UNPAID)
    assert sends(talk.wait(1.9)) == []
    assert sends(talk.wait(0.1)) == [b"[3,5]"]
    assert sends(talk.verdicts(b"[3,5]", DELIVERED, UNPAID)) == []
    assert sends(talk.wait(0.5)) == [b"[1,5]"]
    talk.verdicts(b"[1,5]", DELIVERED, DELIVERED)
    assert status.needs_operator(talk.pipeline) == []
    assert status.buffered_events(talk.pipeline) == 0


def test_refused_for_the_account_one_and_all_everything_waits_and_nothing_is_a_letter() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    talk.answer(b"[0,1]", ALL_UNPAID)
    assert status.needs_operator(talk.pipeline) == ["Amazon takes none: PAYMENT_ISSUE"]
    assert status.paused(talk.pipeline)["operator"] == 1
    for _ in range(100):
        for body in sends(talk.wait(60.0)):
            assert letters(talk.answer(body, ALL_UNPAID)) == []
    assert sends(talk.wait(60.0)) == [b"[0,1]"]
    talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)
    assert status.needs_operator(talk.pipeline) == []


@pytest.mark.parametrize("other", [RETRY, NO_VERDICT])
def test_refused_for_the_account_and_nothing_taken_it_is_everybodys_matter_whatever_else_is_said(other: Verdict) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(100):
        assert letters(talk.verdicts(b"[0,1]", UNPAID, other)) == []
        assert status.needs_operator(talk.pipeline) == ["Amazon takes no event: PAYMENT_ISSUE is about the account; pay"]
        assert sends(talk.wait(60.0)) == [b"[0,1]"]


def test_of_others_that_passed_since_it_is_known_that_these_alone_are_refused_for_the_account() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    talk.answer(b"[0,1]", ALL_UNPAID)
    talk.poll(good(2))
    assert sends(talk.wait(0.5)) == [b"[0,1]"]
    talk.answer(b"[0,1]", ALL_UNPAID)
    assert sends(talk.wait(1.0)) == [b"[2]"]
    assert sends(talk.verdicts(b"[2]", DELIVERED)) == [b"[0,1]"]
    assert status.needs_operator(talk.pipeline) == []
    talk.verdicts(b"[0,1]", UNPAID, RETRY)
    assert status.needs_operator(talk.pipeline) == [WAITING]
    assert status.paused(talk.pipeline)["operator"] == 0
    assert sends(talk.wait(0.5)) == [b"[1]", b"[0]"]  # the other has its own tries


def test_a_request_of_what_waits_for_the_account_may_fail_as_any_other_and_nothing_is_lost() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1), good(2))
    talk.verdicts(b"[0,1,2]", DELIVERED, UNPAID, UNPAID)
    assert sends(talk.wait(0.5)) == [b"[1,2]"]
    assert sends(talk.answer(b"[1,2]", TOO_LARGE)) == [b"[1]", b"[2]"]
    talk.verdicts(b"[1]", DELIVERED)
    talk.answer(b"[2]", RequestFailed(Failure.TRANSIENT, "http-503"))
    assert sends(talk.wait(1.0)) == [b"[2]"]
    talk.verdicts(b"[2]", DELIVERED)
    assert talk.outcomes == {Outcome.DELIVERED: 3}


def test_a_new_cause_is_said_by_the_answer_to_what_waits_and_not_by_every_answer() -> None:
    talk = Conversation()
    talk.start()
    ineligible = Verdict(VerdictKind.RETRY, "ACCOUNT_NOT_ELIGIBLE", "ACCOUNT_NOT_ELIGIBLE is about the account; ask")
    talk.poll(good(0), good(1))
    talk.verdicts(b"[0,1]", DELIVERED, UNPAID)
    talk.poll(good(2), good(3))
    talk.verdicts(b"[2,3]", DELIVERED, ineligible)
    assert status.needs_operator(talk.pipeline) == [WAITING]
    assert sends(talk.wait(0.5)) == [b"[1,3]"]
    talk.verdicts(b"[1,3]", ineligible, DELIVERED)
    assert status.needs_operator(talk.pipeline) == [WAITING.replace(UNPAID.account, ineligible.account)]


def test_what_waits_for_the_account_is_given_back_with_its_partition_and_grows_stale_as_any_event() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1, age_ms=WEEK_MS - 1000))
    talk.verdicts(b"[0,1]", DELIVERED, UNPAID)
    assert sends(talk.wait(2.0)) == []
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.STALE: 1}
    assert status.needs_operator(talk.pipeline) == []
    talk.poll(good(2), good(3))
    talk.verdicts(b"[2,3]", DELIVERED, UNPAID)
    talk.tell(inputs.Lost((1,)))
    assert status.needs_operator(talk.pipeline) == []
    assert talk.pipeline.statistics.released == 1
    assert sends(talk.wait(60.0)) == []


def test_asked_to_stop_on_a_verdict_it_stops_when_what_waits_for_the_account_was_refused_three_times() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(good(0), good(1))
    talk.verdicts(b"[0,1]", DELIVERED, UNPAID)
    for attempt in range(2, 4):
        assert not talk.pipeline._stopping
        assert sends(talk.wait(60.0)) == [b"[1]"]
        talk.answer(b"[1]", ALL_UNPAID)
        assert talk.pipeline._stopping == (attempt == 3)


REFUSED = RequestFailed(Failure.REFUSED, "http-400", detail="Amazon answered 400")


def test_a_body_too_large_for_the_vendor_is_halved_and_one_event_larger_than_what_is_taken_is_a_dead_letter() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1), good(22))
    assert sends(talk.answer(b"[0,1,22]", TOO_LARGE)) == [b"[0,1]", b"[22]"]
    assert letters(talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)) == []
    talk.answer(b"[22]", TOO_LARGE)  # smaller than what was taken, but others were delivered since it failed first
    assert talk.pipeline.statistics.retries == {"http-413": 3}
    assert [letter.offset for letter in talk.pipeline.assignments[0].letters.under_way.values()] == [22]


def test_the_size_that_was_too_large_is_not_sent_again() -> None:
    talk = Conversation()
    talk.start()
    assert talk.pipeline.dispatch.most_bytes == 100
    talk.poll(*[good(offset) for offset in range(10, 16)])
    assert sends(talk.answer(b"[10,11,12,13,14,15]", TOO_LARGE)) == [b"[10,11,12]", b"[13,14,15]"]
    assert talk.pipeline.dispatch.most_bytes == 9
    assert sends(talk.poll(*[good(offset) for offset in range(16, 20)])) == [b"[16,17]", b"[18,19]"]
    big = good(20, payload=b"x" * 50)
    talk.verdicts(b"[16,17]", DELIVERED, DELIVERED)
    assert [len(body) for body in sends(talk.poll(big))] == [52]  # alone it is tried all the same
    assert letters(talk.answer(b"[" + b"x" * 50 + b"]", TOO_LARGE)) == [(20, Reason.TOO_LARGE)]


def test_one_event_that_breaks_its_batch_is_found_by_halving_and_the_others_are_delivered() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1), good(2), good(3))
    assert sends(talk.answer(b"[0,1,2,3]", REFUSED)) == [b"[0,1]", b"[2,3]"]
    talk.verdicts(b"[2,3]", DELIVERED, DELIVERED)
    assert sends(talk.answer(b"[0,1]", REFUSED)) == [b"[0]", b"[1]"]
    assert letters(talk.answer(b"[1]", REFUSED)) == [(1, Reason.REJECTED)]
    talk.verdicts(b"[0]", DELIVERED)
    assert status.needs_operator(talk.pipeline) == []


def test_what_is_refused_for_all_alike_is_an_operators_matter_and_dead_letters_nothing() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    assert sends(talk.answer(b"[0,1]", REFUSED)) == [b"[0]", b"[1]"]
    assert talk.answer(b"[0]", REFUSED) == []
    assert "Amazon answered 400. A request of one event" in status.needs_operator(talk.pipeline)[0]
    assert talk.answer(b"[1]", REFUSED) == []
    talk.poll(good(2), good(3))
    seen = []
    for _ in range(400):
        for body in sends(talk.wait(1.0)):
            seen.append(body)
            assert talk.pipeline.dispatch.requests == 1
            assert talk.answer(body, REFUSED) == []
    assert set(seen) == {b"[0]", b"[1]", b"[2]", b"[3]"}
    assert len(seen) < 20  # less and less often
    assert talk.outcomes == {}


def test_what_was_sent_before_a_refusal_shows_nothing_of_the_time_after_it() -> None:
    """A setting that breaks while requests are out must not make letters of what is refused from then on."""
    talk = Conversation(sending(batch=BatchPolicy(1, 100, 0.0)))
    talk.start()
    talk.poll(good(0), good(1), good(2))
    talk.answer(b"[0]", REFUSED)
    assert sends(talk.verdicts(b"[1]", DELIVERED)) == [b"[0]"]
    talk.verdicts(b"[2]", DELIVERED)
    talk.wait(1.0)
    talk.appended()
    for _ in range(20):
        assert letters(talk.answer(b"[0]", REFUSED)) == []
        assert sends(talk.wait(120.0)) == [b"[0]"]
    assert status.needs_operator(talk.pipeline) != []


def test_the_next_event_that_is_delivered_shows_that_the_one_refused_is_at_fault() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", REFUSED)
    talk.poll(good(1), good(2))
    assert sends(talk.wait(0.5)) == [b"[1]"]
    assert sends(talk.verdicts(b"[1]", DELIVERED)) == [b"[0]", b"[2]"]
    assert status.needs_operator(talk.pipeline) == []
    assert letters(talk.answer(b"[0]", REFUSED)) == [(0, Reason.REJECTED)]


@pytest.mark.parametrize(("failed", "stops_after"), [(REFUSED, 3), (RequestFailed(Failure.OPERATOR, "http-403"), 1)])
def test_asked_to_stop_on_a_verdict_it_stops_once_no_further_event_can_settle_it(
    failed: RequestFailed, stops_after: int
) -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(good(0))
    for attempt in range(1, stops_after + 1):
        stopped = any(isinstance(command, commands.Release) for command in talk.answer(b"[0]", failed))
        assert stopped == (attempt == stops_after)
        talk.wait(60.0)


def test_answers_without_a_verdict_on_anything_dead_letter_nothing_and_are_soon_an_operators_matter() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for attempt in range(1, 30):
        assert talk.verdicts(b"[0,1]", NO_VERDICT, NO_VERDICT) == []
        assert bool(status.needs_operator(talk.pipeline)) == (attempt >= 3)
        assert sends(talk.wait(60.0)) == [b"[0,1]"]
    talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)
    assert status.needs_operator(talk.pipeline) == []
    assert talk.outcomes == {Outcome.DELIVERED: 2}


@pytest.mark.parametrize("verdict", [RETRY, NO_VERDICT])
def test_an_answer_without_a_verdict_sends_nothing_again_of_a_partition_that_is_given_back(verdict: Verdict) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    talk.tell(inputs.Revoked((1,)))
    assert kinds(talk.verdicts(b"[0,1]", verdict, verdict)) == [commands.Release]
    assert talk.pipeline.statistics.retries == {}


def test_one_event_that_amazon_wants_retried_for_ever_is_given_up_at_last_though_nothing_else_is_there() -> None:
    talk = Conversation(sending(retry=RetryPolicy(1.0, 60.0, 3, max_alone=10), outage=OutagePolicy(5)))
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"))
    for _ in range(9):
        assert letters(talk.verdicts(b"[0]", RETRY)) == []
        assert sends(talk.wait(60.0)) == [b"[0]"]
    out = talk.verdicts(b"[0]", RETRY)
    assert (letters(out), sends(out)) == ([(0, Reason.NO_VERDICT)], [b"[1]"])


def test_answers_that_ask_to_retry_everything_are_an_outage() -> None:
    talk = Conversation(sending(outage=OutagePolicy(3)))
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(3):
        assert status.paused(talk.pipeline)["outage"] == 0
        talk.verdicts(b"[0,1]", RETRY, RETRY)
        talk.wait(60.0)
    assert status.paused(talk.pipeline)["outage"] == 1
    assert status.needs_operator(talk.pipeline) == []


def test_one_event_whose_answer_cannot_be_read_is_given_up_when_others_are_delivered_meanwhile() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.verdicts(b"[0]", NO_VERDICT)
    for attempt in range(3):
        talk.deliver(attempt + 1)
        assert sends(talk.wait(60.0)) == [b"[0]"]
        out = talk.verdicts(b"[0]", NO_VERDICT)
    assert letters(out) == [(0, Reason.NO_VERDICT)]


def test_a_batch_that_fails_again_and_again_while_others_pass_is_halved() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(4):
        talk.deliver(5 + round(talk.now))
        talk.answer(b"[0,1]", RequestFailed(Failure.TRANSIENT, "http-500"))
        bodies = sends(talk.wait(60.0))
    assert bodies == [b"[0]", b"[1]"]
