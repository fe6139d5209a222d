"""How a record is judged as it comes in: order of the checks, copies, doubtful keys."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy
from connector.core.breaker import DeadLetterPolicy
from connector.core.doubts import Doubt, DoubtKind
from connector.model import (
    DELIVERED,
    Facts,
    Failure,
    Flaw,
    Outcome,
    Reason,
    RequestFailed,
)
from tests.core.builders import NOW_MS, PLACE, Shape, poll_of
from tests.core.conversation import (
    FLAW,
    POLICY,
    REJECTED,
    WEEK_MS,
    Conversation,
    a_recovery,
    commits,
    good,
    letters,
    sending,
    sends,
    written,
)

# ---- a poll is cut into runs

_RECORDS = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b", "c", "d"]),
        st.sampled_from([b"1", b"22", b"x" * 99, FLAW, None]) | st.just(b"333"),
        st.sampled_from([NOW_MS, NOW_MS - 1, NOW_MS - 2 * WEEK_MS, NOW_MS + 300_001, None]) | st.just(NOW_MS),
        st.integers(1, 2),
    ),
    max_size=12,
)


@given(records=_RECORDS, resolved=st.sets(st.integers(0, 20), max_size=3), delivered=st.booleans())
def test_it_makes_no_difference_whether_records_come_in_one_poll_or_one_by_one(
    records: list[tuple[str | None, bytes | Flaw | None, int | None, int]], resolved: set[int], delivered: bool
) -> None:
    told = []
    for at_once in (True, False):
        talk = Conversation(sending(batch=BatchPolicy(10, 100, 5.0), breaker=DeadLetterPolicy(0, 0.0)))
        talk.start(recovery=a_recovery(2, seen=("a",), resolved=tuple(resolved)))
        offsets = list(accumulate((gap for *_, gap in records), initial=0))  # the first may lie below the start
        shapes = [(at, key, payload, time_ms) for at, (key, payload, time_ms, _) in zip(offsets, records, strict=False)]
        polls = [poll_of(*shapes)] if at_once else [poll_of(shape) for shape in shapes]
        out = [command for poll in polls for command in talk.tell(inputs.Polled((poll,)))]
        sent = talk.wait(5.0)
        for body in sends(sent):
            count = len(body[1:-1].split(b","))
            sent += talk.verdicts(body, *[DELIVERED if delivered else REJECTED] * count)
        sent += talk.wait(5.0)
        (part,) = talk.pipeline.assignments
        waiting = part.facts.waiting
        facts = sorted([*written(sent), *zip(waiting.offsets, waiting.outcomes, strict=True)])
        # A commit is due after each poll, facts of an entry are a set, and odd events go behind the others of their poll.
        in_any_order = commands.Commit | commands.AppendFacts | commands.Send | commands.WriteLetter
        all_else = [each for each in out + sent if not isinstance(each, in_any_order)]
        events = sorted(event for body in sends(out + sent) for event in body[1:-1].split(b","))
        given_up = sorted(letters(out + sent))
        told.append((all_else, events, given_up, facts, talk.outcomes, part.held, part.held_bytes, part.tracker.next_offset))
    assert told[0] == told[1]


# ---- the order of the checks


def test_a_record_found_in_the_ledger_is_already_resolved_whatever_else_it_is() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("a",), resolved=(0, 1, 2, 3)))
    out = talk.poll((0, None, None, None), (1, None, FLAW, NOW_MS), good(2, age_ms=2 * WEEK_MS), good(3, "a"))
    assert commits(out) == [4]
    assert letters(out) == []
    assert talk.pipeline.statistics.already_resolved == 4
    assert talk.outcomes == {}


def test_a_fact_under_another_leader_epoch_resolves_nothing() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(resolved=(0,), epoch=4))
    assert sends(talk.poll(good(0), epoch=5)) == [b"[0]"]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((0, None, Flaw(Reason.UNDECODABLE, ""), None), Reason.UNDECODABLE),
        ((0, None, b"0", None), Reason.MISSING_FIELD),
        ((0, None, b"0", NOW_MS // 1000), Reason.IMPLAUSIBLE_TIME),
        ((0, None, b"0", NOW_MS + 300_001), Reason.IMPLAUSIBLE_TIME),
        ((0, None, FLAW, NOW_MS // 1000), Reason.IMPLAUSIBLE_TIME),
        ((0, None, FLAW, NOW_MS), Reason.INVALID_FIELD),
        ((0, "seen", FLAW, NOW_MS), Reason.INVALID_FIELD),
        ((0, None, b"x" * 99, NOW_MS), Reason.TOO_LARGE),
    ],
)
def test_the_first_broken_rule_names_the_dead_letter(shape: Shape, reason: Reason) -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("seen",)))
    out = talk.poll(shape)
    assert letters(out) == [(0, reason)]
    assert sends(out) == []
    talk.tell(inputs.LettersWritten(((1, 0),)))
    assert talk.outcomes == {Outcome.DEAD_LETTERED: 1}
    assert talk.pipeline.statistics.dead_letters == {reason: 1}
    assert written(talk.wait(1.0)) == [(0, Outcome.DEAD_LETTERED)]


@pytest.mark.parametrize(
    ("shape", "outcome"),
    [
        ((0, "seen", None, NOW_MS - 2 * WEEK_MS), Outcome.IGNORED),
        ((0, None, FLAW, NOW_MS - WEEK_MS - 1), Outcome.STALE),
        ((0, "seen", b"0", NOW_MS - WEEK_MS - 1), Outcome.STALE),
        ((0, "seen", b"0", NOW_MS - WEEK_MS), Outcome.DUPLICATE),
        ((0, "seen", b"x" * 99, NOW_MS), Outcome.DUPLICATE),
    ],
)
def test_what_needs_neither_sending_nor_a_letter_is_a_fact_at_once(shape: Shape, outcome: Outcome) -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("seen",)))
    assert talk.poll(shape) == []
    assert talk.outcomes == {outcome: 1}
    (append,) = talk.wait(1.0)
    assert isinstance(append, commands.AppendFacts)
    assert append.facts == Facts([0], [0], [outcome], [None], [0])


def test_an_event_of_the_allowed_age_to_the_millisecond_is_sent() -> None:
    talk = Conversation()
    talk.start()
    assert sends(talk.poll(good(0, age_ms=WEEK_MS), good(1, age_ms=-300_000))) == [b"[0,1]"]


# ---- copies


def test_copies_of_an_event_in_flight_wait_and_are_duplicates_once_it_is_delivered() -> None:
    talk = Conversation()
    talk.start()
    assert sends(talk.poll(good(0, "a"), good(1, "a"), good(2, "a"))) == [b"[0]"]
    assert status.buffered_events(talk.pipeline) == 2
    talk.verdicts(b"[0]", DELIVERED)
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.DUPLICATE: 2}
    assert talk.poll(good(3, "a")) == []
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.DUPLICATE: 3}


def test_the_next_copy_takes_the_place_of_a_rejected_event() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"))
    out = talk.verdicts(b"[0]", REJECTED)
    assert letters(out) == [(0, Reason.REJECTED)]
    assert sends(out) == [b"[1]"]


def test_a_rejected_event_does_not_make_its_key_seen() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"))
    talk.verdicts(b"[0]", REJECTED)
    talk.tell(inputs.LettersWritten(((1, 0),)))
    assert sends(talk.poll(good(1, "a"))) == [b"[1]"]
    (append,) = talk.wait(1.0)
    assert append == commands.AppendFacts(PLACE, 1, "topic-id", Facts([0], [0], [Outcome.DEAD_LETTERED], [None], [0]))


def test_a_copy_that_is_too_large_makes_room_for_the_one_after_it() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1, "a", payload=b"x" * 99), good(2, "a"))
    out = talk.verdicts(b"[0]", REJECTED)
    assert letters(out) == [(0, Reason.REJECTED), (1, Reason.TOO_LARGE)]
    assert sends(out) == [b"[2]"]


def test_an_event_that_is_too_large_leaves_its_key_to_the_next_copy() -> None:
    talk = Conversation()
    talk.start()
    out = talk.poll(good(0, "a", payload=b"x" * 99), good(1, "a"))
    assert letters(out) == [(0, Reason.TOO_LARGE)]
    assert sends(out) == [b"[1]"]


def test_an_event_that_turns_stale_before_it_is_sent_again_makes_room_for_a_fresher_copy() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(
        good(0, "a", age_ms=WEEK_MS - 100), good(1, "a", age_ms=WEEK_MS - 100), good(2, "a"), good(3, age_ms=WEEK_MS - 100)
    )
    talk.answer(b"[0,3]", RequestFailed(Failure.TRANSIENT, "connect"))
    assert sends(talk.wait(0.5)) == [b"[2]"]
    assert talk.outcomes == {Outcome.STALE: 3}
    (assignment,) = talk.pipeline.assignments
    # A fact has a key and a time only where an event was delivered: else a copy would count as seen.
    assert assignment.facts.waiting == Facts([0, 3, 1], [0] * 3, [Outcome.STALE] * 3, [None] * 3, [0] * 3)


def test_only_the_stale_leave_a_group_that_is_sent_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, age_ms=WEEK_MS - 100), good(1))
    talk.answer(b"[0,1]", RequestFailed(Failure.TRANSIENT, "connect"))
    assert talk.wait(0.5) == [commands.Send(2, b"[1]", 1, 1, frozenset({1}))]
    assert talk.outcomes == {Outcome.STALE: 1}


# ---- clocks


def test_polls_set_aside_while_the_clocks_disagreed_are_judged_before_those_that_came_after() -> None:
    talk = Conversation()
    talk.start()
    part = talk.pipeline.assignments[0]
    skewed = talk.moment._replace(wall_ms=NOW_MS + 300_001)
    agreeing = talk.moment._replace(wall_ms=NOW_MS + 299_999)
    talk.pipeline.clock.appended(NOW_MS, talk.moment)
    talk.pipeline.handle(inputs.Polled((poll_of(good(0), good(1)),)), skewed)
    talk.pipeline.handle(inputs.Polled((poll_of(good(2), good(3)),)), agreeing)

    assert talk.pipeline.statistics.records == 4
    assert part.held == 4


# ---- keys that may say nothing


def test_copies_without_end_of_one_key_are_told_by_their_places_and_counted() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "n"))
    talk.verdicts(b"[0]", DELIVERED)
    talk.poll(*[good(offset, "n") for offset in range(1, 10)])
    assert talk.pipeline.doubts() == []
    talk.poll(good(10, "n"))
    assert talk.pipeline.doubts() == [Doubt(DoubtKind.REPEATED, "conversions-0@1", "conversions-0@10", 10)]
    assert talk.pipeline.doubts() == [], "told once"
    talk.poll(*[good(offset, "n") for offset in range(11, 32)])
    assert talk.pipeline.doubts() == [Doubt(DoubtKind.REPEATED, "conversions-0@1", "conversions-0@20", 20)]
    assert talk.pipeline.statistics.doubtful_duplicates == {DoubtKind.REPEATED: 31, DoubtKind.DIFFERENT: 0}
    assert status.needs_operator(talk.pipeline) == []


def test_copies_that_waited_are_counted_when_they_are_duplicates() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(*[good(offset, "n", payload=b"same") for offset in range(20)])
    assert talk.pipeline.doubts() == []
    talk.verdicts(b"[same]", DELIVERED)
    assert talk.pipeline.doubts() == [Doubt(DoubtKind.REPEATED, "conversions-0@1", "conversions-0@10", 10)]


def test_a_copy_that_holds_something_else_than_the_event_in_flight_is_told_by_both_their_places() -> None:
    def differ(one: bytes, other: bytes) -> bool:
        return one.lower() != other.lower()

    talk = Conversation(replace(POLICY, dedupe=replace(POLICY.dedupe, differ=differ)))
    talk.start()
    talk.poll(good(0, "n", payload=b"order"), good(1, "n", payload=b"order"), good(2, "n", payload=b"ORDER"))
    assert talk.pipeline.doubts() == []
    talk.poll(good(3, "n", payload=b"other"), good(4, "other key", payload=b"fourth"))
    assert talk.pipeline.doubts() == [Doubt(DoubtKind.DIFFERENT, "conversions-0@0", "conversions-0@3", 1)]
    talk.verdicts(b"[order]", REJECTED)
    talk.poll(good(5, "n", payload=b"order"), good(6, "n", payload=b"another"))
    assert talk.pipeline.doubts() == [Doubt(DoubtKind.DIFFERENT, "conversions-0@1", "conversions-0@6", 2)]
    assert talk.pipeline.statistics.doubtful_duplicates == {DoubtKind.REPEATED: 0, DoubtKind.DIFFERENT: 2}
