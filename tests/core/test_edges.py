"""Edges of an event's age and of copies, as a list: what is just inside, what is just outside, and what becomes of it.

``test_pipeline.py`` explains each rule by one example; here every way to meet it stands by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy
from connector.core.policy import BufferPolicy, FlushPolicy
from connector.core.retry import RetryPolicy
from connector.model import DELIVERED, NO_VERDICT, Failure, Flaw, Outcome, Reason, RequestFailed, TopicPartition, Verdicts
from tests.core.builders import NOW_MS, PLACE, Shape, key_of
from tests.core.conversation import (
    FLAW,
    REJECTED,
    WEEK_MS,
    Conversation,
    a_recovery,
    good,
    letters,
    sending,
    sends,
    written,
)

SKEW_MS = 300_000
YEAR_2000_MS = 946_684_800_000
YEAR_9999_MS = 253_402_300_799_999
FOREVER = RequestFailed(Failure.TRANSIENT, "http-503")


# ---- age


@pytest.mark.parametrize(
    ("time_ms", "fate"),
    [
        pytest.param(NOW_MS, "sent", id="now"),
        pytest.param(NOW_MS - WEEK_MS + 1, "sent", id="7 days less 1 ms"),
        pytest.param(NOW_MS - WEEK_MS, "sent", id="exactly 7 days"),
        pytest.param(NOW_MS - WEEK_MS - 1, Outcome.STALE, id="7 days and 1 ms"),
        pytest.param(YEAR_2000_MS, Outcome.STALE, id="first millisecond of 2000"),
        pytest.param(YEAR_2000_MS - 1, Reason.IMPLAUSIBLE_TIME, id="last millisecond of 1999"),
        pytest.param(NOW_MS // 1000, Reason.IMPLAUSIBLE_TIME, id="seconds instead of milliseconds"),
        pytest.param(NOW_MS * 1000, Reason.IMPLAUSIBLE_TIME, id="microseconds instead of milliseconds"),
        pytest.param(0, Reason.IMPLAUSIBLE_TIME, id="1970"),
        pytest.param(-1, Reason.IMPLAUSIBLE_TIME, id="negative"),
        pytest.param(-(2**63), Reason.IMPLAUSIBLE_TIME, id="least long"),
        pytest.param(NOW_MS + 1, "sent", id="1 ms in the future"),
        pytest.param(NOW_MS + SKEW_MS, "sent", id="as far in the future as clocks may differ"),
        pytest.param(NOW_MS + SKEW_MS + 1, Reason.IMPLAUSIBLE_TIME, id="1 ms beyond that"),
        pytest.param(YEAR_9999_MS, Reason.IMPLAUSIBLE_TIME, id="year 9999"),
        pytest.param(2**63 - 1, Reason.IMPLAUSIBLE_TIME, id="largest long"),
        pytest.param(None, Reason.MISSING_FIELD, id="no time"),
    ],
)
def test_age(time_ms: int | None, fate: object) -> None:
    talk = Conversation()
    talk.start()

    out = talk.poll((0, "a", b"0", time_ms))

    assert (sends(out) == [b"[0]"]) == (fate == "sent")
    assert letters(out) == ([(0, fate)] if isinstance(fate, Reason) else [])
    assert talk.outcomes == ({fate: 1} if isinstance(fate, Outcome) else {})


@pytest.mark.parametrize(
    ("left_ms", "again"),
    [pytest.param(500, [b"[0]"], id="exactly 7 days at the retry"), pytest.param(499, [], id="1 ms older at the retry")],
)
def test_age_is_judged_again_at_each_retry(left_ms: int, again: list[bytes]) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a", age_ms=WEEK_MS - left_ms))
    talk.answer(b"[0]", FOREVER)

    assert sends(talk.wait(0.5)) == again
    assert talk.outcomes == ({} if again else {Outcome.STALE: 1})


def test_age_is_not_judged_again_by_an_answer_that_comes_late() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a", age_ms=WEEK_MS))
    talk.now += 60.0
    talk.verdicts(b"[0]", DELIVERED)

    assert talk.outcomes == {Outcome.DELIVERED: 1}


# ---- copies: how the first ends, and where its copy stands

_ELSEWHERE = TopicPartition("conversions", 1)


def _delivered(talk: Conversation) -> list[commands.Command]:
    return talk.verdicts(b"[0]", DELIVERED)


def _rejected(talk: Conversation) -> list[commands.Command]:
    return talk.verdicts(b"[0]", REJECTED)


def _another_is_delivered(talk: Conversation, offset: int) -> None:
    """Show that what fails is the event's own fault; in another partition, so that no copy comes out of order."""
    if offset == 0:
        talk.start(2, place=_ELSEWHERE)
    talk.poll(good(offset, payload=b"other"), generation=2, place=_ELSEWHERE)
    talk.verdicts(b"[other]", DELIVERED)


def _never_judged(talk: Conversation) -> list[commands.Command]:
    for offset in range(3):
        talk.verdicts(b"[0]", NO_VERDICT)
        _another_is_delivered(talk, offset)
        talk.wait(1.0)
    return talk.verdicts(b"[0]", NO_VERDICT)


def _too_large_for_amazon(talk: Conversation) -> list[commands.Command]:
    too_large = RequestFailed(Failure.TOO_LARGE, "http-413")
    talk.answer(b"[0]", too_large)
    talk.start(2, place=_ELSEWHERE)
    talk.poll(good(0, payload=b"other"), generation=2, place=_ELSEWHERE)
    talk.wait(0.5)
    talk.verdicts(b"[other]", DELIVERED)  # sent after the failure: it is the event's own fault
    return talk.answer(b"[0]", too_large)


def _turned_stale(talk: Conversation) -> list[commands.Command]:
    talk.answer(b"[0]", RequestFailed(Failure.TRANSIENT, "http-503", retry_after=6.0))
    return talk.wait(6.0)


_ENDS = pytest.mark.parametrize(
    ("ends", "first", "sent_next"),
    [
        pytest.param(_delivered, Outcome.DELIVERED, False, id="delivered"),
        pytest.param(_rejected, Reason.REJECTED, True, id="rejected"),
        pytest.param(_never_judged, Reason.NO_VERDICT, True, id="never judged"),
        pytest.param(_too_large_for_amazon, Reason.TOO_LARGE, True, id="too large for Amazon"),
        pytest.param(_turned_stale, Outcome.STALE, True, id="turned stale"),
    ],
)
_FIRST = good(0, "a", age_ms=WEEK_MS - 5_000)
"""Six seconds later, at its retry, it is stale."""


@_ENDS
@pytest.mark.parametrize("place", ["in the same poll", "in another poll", "after the first ended"])
def test_a_copy_is_a_duplicate_of_what_was_delivered_and_sent_in_place_of_what_was_not(
    ends: Callable[[Conversation], list[commands.Command]], first: Outcome | Reason, sent_next: bool, place: str
) -> None:
    talk = Conversation()
    talk.start()
    copy = good(1, "a")
    sent = sends(talk.poll(_FIRST, copy) if place == "in the same poll" else talk.poll(_FIRST))
    assert sent == [b"[0]"]
    if place == "in another poll":
        assert sends(talk.poll(copy)) == []

    out = ends(talk)
    if place == "after the first ended":
        out += talk.poll(copy)

    assert (sends(out)[-1:] == [b"[1]"]) == sent_next
    assert letters(out) == ([(0, first)] if isinstance(first, Reason) else [])
    assert talk.outcomes.get(Outcome.DUPLICATE, 0) == (not sent_next)
    if isinstance(first, Outcome):
        assert talk.outcomes[first] == 1


@_ENDS
def test_of_many_copies_that_wait_exactly_one_takes_its_place(
    ends: Callable[[Conversation], list[commands.Command]], first: Outcome | Reason, sent_next: bool
) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(_FIRST, *[good(offset, "a") for offset in range(1, 6)])

    assert sends(ends(talk)) == ([b"[1]"] if sent_next else [])
    assert status.buffered_events(talk.pipeline) + status.in_flight_events(talk.pipeline) >= (5 if sent_next else 0)
    if sent_next:
        talk.verdicts(b"[1]", DELIVERED)
        assert talk.outcomes[Outcome.DUPLICATE] == 4


def test_copies_never_share_a_request() -> None:
    talk = Conversation(sending(batch=BatchPolicy(10, 100, 0.5)))
    talk.start()
    talk.poll(good(0, "a"), good(1, "b"), good(2, "a"), good(3, "b"))

    assert sends(talk.wait(0.5)) == [b"[0,1]"]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        pytest.param((0, "a", FLAW, NOW_MS), FLAW.reason, id="breaks a rule"),
        pytest.param((0, None, Flaw(Reason.UNDECODABLE, ""), None), Reason.UNDECODABLE, id="is undecodable"),
        pytest.param((0, "a", b"x" * 99, NOW_MS), Reason.TOO_LARGE, id="is too large"),
        pytest.param((0, "a", b"0", NOW_MS * 1000), Reason.IMPLAUSIBLE_TIME, id="is of the future"),
        pytest.param((0, "a", b"0", NOW_MS - WEEK_MS - 1), None, id="is stale"),
        pytest.param((0, "a", None, NOW_MS), None, id="has no value"),
    ],
)
def test_a_first_that_was_never_sent_claims_nothing(first: Shape, reason: Reason | None) -> None:
    talk = Conversation()
    talk.start()

    out = talk.poll(first, good(1, "a"))

    assert sends(out) == [b"[1]"]
    assert letters(out) == ([(0, reason)] if reason else [])


@pytest.mark.parametrize(
    ("copy", "fate"),
    [
        pytest.param(good(1, "a", age_ms=WEEK_MS), Outcome.DUPLICATE, id="older"),
        pytest.param(good(1, "a", age_ms=-SKEW_MS), Outcome.DUPLICATE, id="younger"),
        pytest.param(good(1, "a", age_ms=WEEK_MS + 1), Outcome.STALE, id="stale"),
        pytest.param((1, "a", b"1", NOW_MS * 1000), Reason.IMPLAUSIBLE_TIME, id="implausible"),
        pytest.param((1, "a", FLAW, NOW_MS), FLAW.reason, id="younger and breaks a rule"),
    ],
)
def test_a_copy_with_another_event_time_than_the_delivered_first(copy: Shape, fate: Outcome | Reason) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a", age_ms=60_000))
    talk.verdicts(b"[0]", DELIVERED)

    out = talk.poll(copy)

    assert sends(out) == []
    assert letters(out) == ([(1, fate)] if isinstance(fate, Reason) else [])
    if isinstance(fate, Outcome):
        assert talk.outcomes[fate] == 1


@pytest.mark.parametrize(
    ("waits", "letter"),
    [
        pytest.param(good(1, "a", age_ms=WEEK_MS - 499), [], id="turned stale while it waited"),
        pytest.param(good(1, "a", payload=b"x" * 99), [(1, Reason.TOO_LARGE)], id="too large"),
    ],
)
def test_a_waiting_copy_that_cannot_be_sent_leaves_its_turn_to_the_next(waits: Shape, letter: list[object]) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), waits, good(2, "a"))
    talk.now += 0.5

    out = talk.verdicts(b"[0]", REJECTED)

    assert sends(out) == [b"[2]"]
    assert letters(out) == [(0, Reason.REJECTED), *letter]


# ---- copies: over the end of an assignment


def test_a_copy_after_a_restart_is_a_duplicate_by_the_ledger() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(1, seen=("a",)))

    assert talk.poll(good(1, "a")) == []
    assert talk.outcomes == {Outcome.DUPLICATE: 1}


@pytest.mark.parametrize("answered", [True, False])
def test_a_copy_after_a_rebalance_is_a_duplicate_by_the_fact_that_was_written_down_all_the_same(answered: bool) -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0, "a"))
    if answered:
        talk.verdicts(b"[0]", DELIVERED)
    out = talk.tell(inputs.Lost((1,)))
    if not answered:
        out += talk.verdicts(b"[0]", DELIVERED)
    assert written(out + talk.wait(1.0)) == [(0, Outcome.DELIVERED)]
    talk.appended(1)

    talk.start(2, recovery=a_recovery(seen=("a",), resolved=(0,)))
    assert sends(talk.poll(good(0, "a"), good(1, "a"), generation=2)) == []
    assert talk.pipeline.statistics.already_resolved == 1
    assert talk.outcomes[Outcome.DUPLICATE] == 1


def test_copies_that_wait_when_their_partition_is_lost_are_released_with_it() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0, "a"), good(1, "a"), good(2, "a"))
    talk.tell(inputs.Lost((1,)))
    talk.verdicts(b"[0]", REJECTED)

    assert talk.pipeline.statistics.released == 3
    assert sends(talk.wait(60.0)) == []


def test_a_copy_in_another_partition_is_another_event() -> None:
    talk, other = Conversation(), TopicPartition("conversions", 1)
    talk.start(1)
    talk.start(2, place=other)

    assert sends(talk.poll(good(0, "a"))) == [b"[0]"]
    assert sends(talk.poll(good(0, "a", payload=b"1"), generation=2, place=other)) == [b"[1]"]


# ---- keys


def test_events_without_a_key_are_never_copies_of_each_other() -> None:
    talk = Conversation()
    talk.start()

    assert sends(talk.poll(good(0), good(1), good(2))) == [b"[0,1,2]"]


_ROOMY = replace(
    sending(batch=BatchPolicy(500, 100_000, 0.0), retry=RetryPolicy(1.0, 60.0, 8)),
    buffer=BufferPolicy(20_000, 10**9, 3_000, 0),
    flush=FlushPolicy(),
)


def test_a_hot_key_is_sent_once_and_its_copies_wait_within_the_bound() -> None:
    talk, copies = Conversation(_ROOMY), 16_999
    talk.start()
    talk.poll(*[good(offset, "a") for offset in range(copies)])
    assert status.in_flight_events(talk.pipeline) == 1
    assert commands.Pause(PLACE, 1) in talk.poll(good(copies, "a"))

    out = talk.verdicts(b"[0]", DELIVERED)

    assert commands.Resume(PLACE, 1) in out
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.DUPLICATE: copies}
    assert status.buffered_events(talk.pipeline) == 0


def test_fifty_thousand_distinct_keys_are_each_delivered_once_and_all_known_afterwards() -> None:
    talk, keys, step = Conversation(_ROOMY), 50_000, 500
    talk.start()
    (part,) = talk.pipeline.assignments
    for copies in (False, True):
        for first in range(0, keys, step):
            numbers = range(first, first + step)
            out = talk.poll(*[good(copies * keys + n, f"{n}", payload=b"%d" % n) for n in numbers])
            assert len(sends(out)) == (not copies)
            for body in sends(out):
                talk.answer(body, Verdicts([DELIVERED] * step))
            talk.wait(1.0)
            talk.appended()

    assert talk.outcomes == {Outcome.DELIVERED: keys, Outcome.DUPLICATE: keys}
    assert len(part.window.seen) == keys
    assert all(key_of(f"{number}") in part.window.seen for number in range(0, keys, 997))
