"""The rules of the pipeline one at a time, as conversations: what it is told, what it asks for.

The laws under every interleaving are shown in ``test_pipeline_simulation.py``; here stands the example that explains each.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from connector.core import exchange as x
from connector.core.assignment import Phase
from connector.core.batching import BatchPolicy, Envelope
from connector.core.breaker import DeadLetterPolicy, OutagePolicy
from connector.core.dedupe import DedupePolicy, SeenKeys
from connector.core.dispatch import DispatchPolicy
from connector.core.doubts import Doubt, Kind
from connector.core.freshness import FreshnessPolicy
from connector.core.landmarks import Landmarks
from connector.core.offsets import ResolvedOffsets
from connector.core.pipeline import _MAX_AHEAD, BufferPolicy, FlushPolicy, Pipeline, Policy
from connector.core.recovery import LedgerPosition, Recovery
from connector.core.retry import RetryPolicy
from connector.errors import OutOfOrder
from connector.model import (
    DELIVERED,
    NO_VERDICT,
    Answer,
    Facts,
    Failure,
    Flaw,
    Manner,
    Moment,
    Outcome,
    Reason,
    RequestFailed,
    TopicPartition,
    Verdict,
    VerdictKind,
    Verdicts,
)
from tests.core.builders import DAY_MS, NOW_MS, PLACE, Shape, at, key_of, poll_of

WEEK_MS = 7 * DAY_MS
POLICY = Policy(
    freshness=FreshnessPolicy(WEEK_MS, 300_000),
    dedupe=DedupePolicy(WEEK_MS),
    dispatch=DispatchPolicy(
        BatchPolicy(10, 100, 0.0),
        Envelope(b"[", b"]"),
        max_in_flight=4,
        poll_gate_seconds=22.5,
        retry=RetryPolicy(1.0, 60.0, 3),
        breaker=DeadLetterPolicy(5, 0.0, 1000, 60.0, enough=1),
        outage=OutagePolicy(1000),
    ),
    buffer=BufferPolicy(100, 10_000, 20, 2_000),
    drain_seconds=40.0,
    flush=FlushPolicy(1.0, 100, 500, max_silence_seconds=600.0),
)


def sending(**changes: Any) -> Policy:
    """Return the policy with another way to send."""
    return replace(POLICY, dispatch=replace(POLICY.dispatch, **changes))


REJECTED = Verdict(VerdictKind.REJECTED, "INVALID at matchKeys")
RETRY = Verdict(VerdictKind.RETRY, "INTERNAL")
FLAW = Flaw(Reason.INVALID_FIELD, "countryCode: not two letters")


class Conversation:
    """A pipeline, the clock it is told, and the requests it has out."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.pipeline = Pipeline(policy)
        self.now = 0.0
        self.skew_ms = 0
        self.last_poll: float | None = None
        self.vouched: float | None = None
        self.ledger_end = 0
        self.requests: dict[bytes, int] = {}

    @property
    def moment(self) -> Moment:
        return at(self.now, skew_ms=self.skew_ms, polled=self.last_poll, vouched=self.vouched)

    def tell(self, told: x.Input, *, after: float = 0.0) -> list[x.Command]:
        self.now += after
        commands = self.pipeline.handle(told, self.moment)
        self.requests |= {command.body: command.request for command in commands if isinstance(command, x.Send)}
        counted = self.pipeline.statistics
        accounted = counted.resolved + counted.released + self.pipeline.buffered_events + self.pipeline.in_flight_events
        assert counted.records == accounted
        return commands

    def wait(self, seconds: float) -> list[x.Command]:
        return self.tell(x.TimePassed(), after=seconds)

    def start(
        self, generation: int = 1, *, place: TopicPartition = PLACE, recovery: Recovery | None = None
    ) -> list[x.Command]:
        self.tell(x.Assigned(place, generation))
        self.tell(x.Restored(generation, recovery or a_recovery()))
        return self.appended(generation)

    def appended(self, generation: int = 1) -> list[x.Command]:
        self.ledger_end += 10  # another member wrote in between
        return self.tell(x.FactsAppended(generation, self.ledger_end, NOW_MS + round(self.now * 1000)))

    def poll(self, *shapes: Shape, generation: int = 1, epoch: int = 0, place: TopicPartition = PLACE) -> list[x.Command]:
        return self.tell(x.Polled((poll_of(*shapes, generation=generation, epoch=epoch, place=place),)))

    def poll_two_partitions(self) -> None:
        """Have event 0 of one partition and event 7 of another polled, so that they share the next request."""
        other = TopicPartition(PLACE.topic, 1)
        self.start(1)
        self.start(2, place=other)
        self.last_poll = -100.0
        self.poll(good(0))
        self.poll(good(7), generation=2, place=other)
        self.last_poll = None

    def answer(self, body: bytes, answer: Answer, *, chance: float = 0.0) -> list[x.Command]:
        return self.tell(x.RequestFinished(self.requests[body], answer, chance))

    def verdicts(self, body: bytes, *verdicts: Verdict) -> list[x.Command]:
        return self.answer(body, Verdicts(list(verdicts)))

    def deliver(self, offset: int) -> None:
        """Have another event polled, sent and taken."""
        self.poll(good(offset))
        self.verdicts(b"[%d]" % offset, DELIVERED)

    @property
    def outcomes(self) -> dict[Outcome, int]:
        return {outcome: count for outcome, count in self.pipeline.statistics.outcomes.items() if count}


def a_recovery(offset: int = 0, *, seen: tuple[str, ...] = (), resolved: tuple[int, ...] = (), epoch: int = 0) -> Recovery:
    keys, offsets = SeenKeys(), ResolvedOffsets()
    for name in seen:
        keys.add(key_of(name), NOW_MS)
    for resolved_offset in resolved:
        offsets.add(resolved_offset, 1, epoch)
    return Recovery(offset, -1, LedgerPosition("ledger-id", 0), "topic-id", keys, offsets, "note")


def good(offset: int, key: str | None = None, *, age_ms: int = 0, payload: bytes | None = None) -> Shape:
    return offset, key, payload or b"%d" % offset, NOW_MS - age_ms


def sends(commands: list[x.Command]) -> list[bytes]:
    return [command.body for command in commands if isinstance(command, x.Send)]


def letters(commands: list[x.Command]) -> list[tuple[int, Reason]]:
    return [(command.offset, command.flaw.reason) for command in commands if isinstance(command, x.WriteLetter)]


def commits(commands: list[x.Command]) -> list[int]:
    return [point.next_offset for command in commands if isinstance(command, x.Commit) for point in command.points]


def written(commands: list[x.Command]) -> list[tuple[int, Outcome]]:
    facts = [command.facts for command in commands if isinstance(command, x.AppendFacts)]
    return [fact for entry in facts for fact in zip(entry.offsets, entry.outcomes, strict=True)]


def kinds(commands: list[x.Command]) -> list[type]:
    return [type(command) for command in commands]


# ---- from the assignment to the start


def test_an_assignment_is_restored_then_proves_the_ledger_writable_then_starts() -> None:
    talk = Conversation()
    assert talk.tell(x.Assigned(PLACE, 7)) == [x.Restore(PLACE, 7)]
    assert talk.pipeline.paused()["restoring"] == 1
    assert talk.tell(x.Restored(7, a_recovery(30))) == [x.AppendFacts(PLACE, 7, "topic-id", Facts())]
    assert talk.pipeline.paused()["restoring"] == 1
    assert talk.appended(7) == [x.Start(PLACE, 7, 30, -1, "topic-id"), x.Resume(PLACE, 7)]
    assert set(talk.pipeline.paused().values()) == {0}
    assert talk.pipeline.needs_operator() == []


def test_a_ledger_that_cannot_be_read_is_tried_again_with_backoff() -> None:
    talk = Conversation()
    talk.tell(x.Assigned(PLACE, 1))
    assert talk.tell(x.RestoreFailed(1, "no answer", needs_operator=False, chance=0.0)) == []
    assert talk.pipeline.needs_operator() == []
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert talk.wait(0.5) == [x.Restore(PLACE, 1)]
    talk.tell(x.RestoreFailed(1, "no answer", needs_operator=False, chance=0.0))
    assert talk.pipeline.wake_at(talk.moment) == 1.5


def test_a_ledger_that_must_not_be_trusted_is_refused_aloud_and_still_tried_again() -> None:
    talk = Conversation()
    talk.tell(x.Assigned(PLACE, 1))
    talk.tell(x.RestoreFailed(1, "the ledger was recreated", needs_operator=True, chance=0.0))
    assert talk.pipeline.needs_operator() == ["the ledger was recreated"]
    assert talk.pipeline.paused()["refused"] == 1
    assert talk.pipeline.paused()["restoring"] == 0
    assert talk.wait(0.5) == [x.Restore(PLACE, 1)]
    talk.tell(x.Restored(1, a_recovery()))
    assert talk.pipeline.needs_operator() == []


def test_an_opening_entry_that_cannot_be_written_is_tried_again() -> None:
    talk = Conversation()
    talk.tell(x.Assigned(PLACE, 1))
    talk.tell(x.Restored(1, a_recovery()))
    assert talk.tell(x.FactsFailed(1, 0.0)) == []
    assert kinds(talk.wait(0.5)) == [x.AppendFacts]
    assert kinds(talk.appended()) == [x.Start, x.Resume]


def test_news_of_a_restore_that_nobody_waits_for_changes_nothing() -> None:
    talk = Conversation()
    talk.start()
    assert talk.tell(x.Restored(1, a_recovery())) == []
    assert talk.tell(x.Restored(99, a_recovery())) == []
    assert talk.tell(x.RestoreFailed(1, "late", needs_operator=True, chance=0.0)) == []
    assert talk.tell(x.RestoreFailed(99, "late", needs_operator=True, chance=0.0)) == []
    assert talk.pipeline.needs_operator() == []


# ---- the path of an event


def test_an_event_is_sent_then_written_down_then_committed() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(5))
    assert talk.poll(good(5, "a"), epoch=3) == [x.Send(1, b"[5]", 1, 0, frozenset({1}))]
    assert talk.verdicts(b"[5]", DELIVERED) == []
    (append,) = talk.wait(1.0)
    assert append == x.AppendFacts(PLACE, 1, "topic-id", Facts([5], [3], [Outcome.DELIVERED], [key_of("a")], [NOW_MS]))
    (commit,) = talk.appended()
    assert commit == x.Commit((x.CommitPoint(PLACE, 1, 6, 3, "v1 topic-id ledger-id:20"),))


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


def test_the_ledger_position_never_goes_back() -> None:
    talk = Conversation()
    talk.start(recovery=replace(a_recovery(), position=LedgerPosition("ledger-id", 50)))
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    (commit,) = talk.appended()
    assert isinstance(commit, x.Commit)
    assert commit.points[0].metadata == "v1 topic-id ledger-id:50"


def test_the_end_of_the_log_is_committed_once_what_stands_before_it_is_written_down() -> None:
    talk = Conversation()
    talk.start()
    poll = poll_of((5, None, None, None))
    poll.reached = 7
    talk.tell(x.Polled((poll,)))
    assert commits(talk.wait(1.0)) == []
    assert commits(talk.appended()) == [7]


def test_the_end_of_the_log_is_not_taken_for_that_of_polls_that_still_wait_for_the_clock() -> None:
    talk = Conversation()
    talk.start()
    talk.skew_ms = 600_000
    end = poll_of()
    end.reached = 7
    talk.tell(x.Polled((poll_of((5, None, None, None)),)))
    assert commits(talk.tell(x.Polled((end,)))) == []
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
    assert talk.tell(x.CommitFailed(1)) == []
    assert talk.pipeline.wake_at(talk.moment) == talk.now + 6.0
    assert commits(talk.wait(6.0)) == [1]
    assert talk.tell(x.CommitFailed(99)) == []


def test_a_commit_refused_late_of_an_older_assignment_does_not_commit_the_start_of_this_one() -> None:
    """It would go without the leader epoch that notices a log cut below it."""
    talk = Conversation()
    talk.start(recovery=replace(a_recovery(5), epoch=3))
    talk.tell(x.CommitFailed(1))
    assert commits(talk.wait(6.0)) == []


def test_polls_of_an_assignment_that_is_not_running_are_ignored() -> None:
    talk = Conversation()
    assert talk.poll(good(0)) == []
    talk.tell(x.Assigned(PLACE, 1))
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


# ---- the order of the checks


def test_a_record_found_in_the_ledger_is_already_resolved_whatever_else_it_is() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("a",), resolved=(0, 1, 2, 3)))
    commands = talk.poll((0, None, None, None), (1, None, FLAW, NOW_MS), good(2, age_ms=2 * WEEK_MS), good(3, "a"))
    assert commits(commands) == [4]
    assert letters(commands) == []
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
    commands = talk.poll(shape)
    assert letters(commands) == [(0, reason)]
    assert sends(commands) == []
    talk.tell(x.LetterWritten(1, 0))
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
    assert isinstance(append, x.AppendFacts)
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
    assert talk.pipeline.buffered_events == 2
    talk.verdicts(b"[0]", DELIVERED)
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.DUPLICATE: 2}
    assert talk.poll(good(3, "a")) == []
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.DUPLICATE: 3}


def test_the_next_copy_takes_the_place_of_a_rejected_event() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"))
    commands = talk.verdicts(b"[0]", REJECTED)
    assert letters(commands) == [(0, Reason.REJECTED)]
    assert sends(commands) == [b"[1]"]


def test_a_rejected_event_does_not_make_its_key_seen() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"))
    talk.verdicts(b"[0]", REJECTED)
    talk.tell(x.LetterWritten(1, 0))
    assert sends(talk.poll(good(1, "a"))) == [b"[1]"]
    (append,) = talk.wait(1.0)
    assert append == x.AppendFacts(PLACE, 1, "topic-id", Facts([0], [0], [Outcome.DEAD_LETTERED], [None], [0]))


def test_a_copy_that_is_too_large_makes_room_for_the_one_after_it() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1, "a", payload=b"x" * 99), good(2, "a"))
    commands = talk.verdicts(b"[0]", REJECTED)
    assert letters(commands) == [(0, Reason.REJECTED), (1, Reason.TOO_LARGE)]
    assert sends(commands) == [b"[2]"]


def test_an_event_that_is_too_large_leaves_its_key_to_the_next_copy() -> None:
    talk = Conversation()
    talk.start()
    commands = talk.poll(good(0, "a", payload=b"x" * 99), good(1, "a"))
    assert letters(commands) == [(0, Reason.TOO_LARGE)]
    assert sends(commands) == [b"[1]"]


def test_an_event_that_turns_stale_before_it_is_sent_again_makes_room_for_a_fresher_copy() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(
        good(0, "a", age_ms=WEEK_MS - 100), good(1, "a", age_ms=WEEK_MS - 100), good(2, "a"), good(3, age_ms=WEEK_MS - 100)
    )
    talk.answer(b"[0,3]", RequestFailed(Failure.TRANSIENT, "connect"))
    assert sends(talk.wait(0.5)) == [b"[2]"]
    assert talk.outcomes == {Outcome.STALE: 3}


def test_only_the_stale_leave_a_group_that_is_sent_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, age_ms=WEEK_MS - 100), good(1))
    talk.answer(b"[0,1]", RequestFailed(Failure.TRANSIENT, "connect"))
    assert talk.wait(0.5) == [x.Send(2, b"[1]", 1, 1, frozenset({1}))]
    assert talk.outcomes == {Outcome.STALE: 1}


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
    commands = talk.verdicts(b"[0,1]", RETRY, NO_VERDICT)
    assert [command.flaw for command in commands if isinstance(command, x.WriteLetter)] == [
        Flaw(Reason.NO_VERDICT, "INTERNAL"),
        Flaw(Reason.NO_VERDICT, "no verdict on this event"),
    ]
    assert talk.pipeline.statistics.retries == {"no-verdict": 4}


def test_a_request_that_fails_as_a_whole_is_tried_without_bound_and_dead_letters_nothing() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    for attempt in range(1, 40):
        assert talk.answer(b"[0]", RequestFailed(Failure.TRANSIENT, "http-503")) == []
        wake = talk.pipeline.wake_at(talk.moment)
        full = min(60, 2 ** (attempt - 1))
        (send,) = talk.wait(full / 2)
        assert isinstance(send, x.Send)
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


def test_throttled_every_request_of_the_process_waits_and_fewer_go_out_at_once() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    assert talk.pipeline.concurrency_limit == 4
    talk.answer(b"[0]", RequestFailed(Failure.THROTTLED, "http-429", retry_after=5.0))
    assert talk.pipeline.concurrency_limit == 2
    assert talk.poll(good(1)) == []
    assert talk.pipeline.wake_at(talk.moment) == 5.0
    assert sends(talk.wait(4.9)) == []
    assert sends(talk.wait(0.1)) == [b"[0]", b"[1]"]


@pytest.mark.parametrize(("asked", "wait"), [(None, 0.5), (0.0, 0.5), (0.75, 0.75), (3600.0, 3600.0)])
def test_throttled_no_request_goes_out_before_the_wait_is_over_and_all_do_then(asked: float | None, wait: float) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.THROTTLED, "http-429", retry_after=asked))
    talk.poll(good(1))
    assert sends(talk.wait(wait - 0.001)) == []
    assert sends(talk.wait(0.001)) == [b"[0]", b"[1]"]


def test_each_round_that_is_throttled_waits_longer_and_a_round_is_all_that_was_out() -> None:
    talk = Conversation(sending(batch=BatchPolicy(1, 100, 0.0)))
    talk.start()
    throttled = RequestFailed(Failure.THROTTLED, "http-429")
    talk.poll(good(0), good(1), good(2))
    for body in (b"[0]", b"[1]", b"[2]"):
        talk.answer(body, throttled)
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert sends(talk.wait(0.5)) == [b"[0]", b"[1]"]
    talk.answer(b"[0]", throttled)
    talk.verdicts(b"[1]", DELIVERED)  # until then one is out, and no more may be
    assert talk.pipeline.wake_at(talk.moment) == 1.5
    assert sends(talk.wait(1.0)) == [b"[2]", b"[0]"]
    talk.answer(b"[2]", throttled)
    talk.verdicts(b"[0]", DELIVERED)
    assert talk.pipeline.wake_at(talk.moment) == 2.0  # one that was answered begins anew


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
    assert talk.pipeline.concurrency_limit == 4
    talk.wait(0.5)
    talk.answer(b"[0]", RequestFailed(Failure.TIMEOUT, "timeout"))
    assert talk.pipeline.concurrency_limit == 2


def test_no_more_requests_go_out_at_once_than_the_limit() -> None:
    talk = Conversation(sending(batch=BatchPolicy(1, 100, 0.0), max_in_flight=2))
    talk.start()
    assert sends(talk.poll(good(0), good(1), good(2))) == [b"[0]", b"[1]"]
    assert talk.pipeline.in_flight_requests == 2
    assert sends(talk.verdicts(b"[1]", DELIVERED)) == [b"[2]"]


def test_credentials_that_fail_pause_everything_say_so_and_are_tried_again_less_and_less_often() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    failed = RequestFailed(Failure.OPERATOR, "invalid_grant", detail="the refresh token was revoked")
    assert talk.answer(b"[0]", failed) == []
    assert talk.pipeline.needs_operator() == ["the refresh token was revoked"]
    assert talk.pipeline.paused()["operator"] == 1
    assert talk.poll(good(1)) == []
    assert sends(talk.wait(0.5)) == [b"[0]"]  # one at a time
    talk.answer(b"[0]", replace(failed, detail=""))
    assert talk.pipeline.needs_operator() == ["invalid_grant"]
    assert sends(talk.wait(0.9)) == []
    assert sends(talk.wait(0.1)) == [b"[1]"]  # in turns
    assert sends(talk.verdicts(b"[1]", DELIVERED)) == [b"[0]"]
    assert talk.pipeline.needs_operator() == []


# ---- refused for the account


UNPAID = Verdict(VerdictKind.RETRY, "PAYMENT_ISSUE", "PAYMENT_ISSUE is about the account; pay")
ALL_UNPAID = RequestFailed(Failure.OPERATOR, "account", None, 207, "Amazon takes none: PAYMENT_ISSUE", (), UNPAID.account)
WAITING = (
    "Amazon refuses some events, and takes others: PAYMENT_ISSUE is about the account; pay. They wait, and are tried again"
)


def test_events_refused_for_the_account_while_others_pass_wait_and_are_no_letters_and_go_out_once_it_is_mended() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1), good(2))
    talk.verdicts(b"[0,1,2]", DELIVERED, UNPAID, UNPAID)
    assert talk.pipeline.needs_operator() == [WAITING]
    assert talk.pipeline.paused()["operator"] == 0  # others go on
    for offset in range(10, 50):
        assert sends(talk.wait(60.0)) == [b"[1,2]"]
        assert talk.pipeline.needs_operator() == [WAITING], "also while they are out"
        assert letters(talk.answer(b"[1,2]", ALL_UNPAID)) == []
        talk.appended()
        talk.deliver(offset)
        assert talk.pipeline.needs_operator() == [WAITING]
    assert talk.outcomes == {Outcome.DELIVERED: 41}
    assert sends(talk.wait(60.0)) == [b"[1,2]"]
    talk.verdicts(b"[1,2]", DELIVERED, DELIVERED)
    assert talk.pipeline.needs_operator() == []
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
    assert talk.pipeline.needs_operator() == []
    assert talk.pipeline.buffered_events == 0


def test_refused_for_the_account_one_and_all_everything_waits_and_nothing_is_a_letter() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    talk.answer(b"[0,1]", ALL_UNPAID)
    assert talk.pipeline.needs_operator() == ["Amazon takes none: PAYMENT_ISSUE"]
    assert talk.pipeline.paused()["operator"] == 1
    for _ in range(100):
        for body in sends(talk.wait(60.0)):
            assert letters(talk.answer(body, ALL_UNPAID)) == []
    assert sends(talk.wait(60.0)) == [b"[0,1]"]
    talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)
    assert talk.pipeline.needs_operator() == []


@pytest.mark.parametrize("other", [RETRY, NO_VERDICT])
def test_refused_for_the_account_and_nothing_taken_it_is_everybodys_matter_whatever_else_is_said(other: Verdict) -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(100):
        assert letters(talk.verdicts(b"[0,1]", UNPAID, other)) == []
        assert talk.pipeline.needs_operator() == ["Amazon takes no event: PAYMENT_ISSUE is about the account; pay"]
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
    assert talk.pipeline.needs_operator() == []
    talk.verdicts(b"[0,1]", UNPAID, RETRY)
    assert talk.pipeline.needs_operator() == [WAITING]
    assert talk.pipeline.paused()["operator"] == 0
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
    assert talk.pipeline.needs_operator() == [WAITING]
    assert sends(talk.wait(0.5)) == [b"[1,3]"]
    talk.verdicts(b"[1,3]", ineligible, DELIVERED)
    assert talk.pipeline.needs_operator() == [WAITING.replace(UNPAID.account, ineligible.account)]


def test_what_waits_for_the_account_is_given_back_with_its_partition_and_grows_stale_as_any_event() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1, age_ms=WEEK_MS - 1000))
    talk.verdicts(b"[0,1]", DELIVERED, UNPAID)
    assert sends(talk.wait(2.0)) == []
    assert talk.outcomes == {Outcome.DELIVERED: 1, Outcome.STALE: 1}
    assert talk.pipeline.needs_operator() == []
    talk.poll(good(2), good(3))
    talk.verdicts(b"[2,3]", DELIVERED, UNPAID)
    talk.tell(x.Lost((1,)))
    assert talk.pipeline.needs_operator() == []
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


TOO_LARGE = RequestFailed(Failure.TOO_LARGE, "http-413", detail="Amazon answered 413")
REFUSED = RequestFailed(Failure.REFUSED, "http-400", detail="Amazon answered 400")


def test_a_body_too_large_for_the_vendor_is_halved_and_one_event_larger_than_what_is_taken_is_a_dead_letter() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1), good(22))
    assert sends(talk.answer(b"[0,1,22]", TOO_LARGE)) == [b"[0,1]", b"[22]"]
    assert letters(talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)) == []
    talk.answer(b"[22]", TOO_LARGE)  # smaller than what was taken, but others were delivered since it failed first
    assert talk.pipeline.statistics.retries == {"http-413": 3}
    assert [letter.offset for letter in talk.pipeline.assignments[0].letters.values()] == [22]


def test_the_size_that_was_too_large_is_not_sent_again() -> None:
    talk = Conversation()
    talk.start()
    assert talk.pipeline.batch_bytes_limit == 100
    talk.poll(*[good(offset) for offset in range(10, 16)])
    assert sends(talk.answer(b"[10,11,12,13,14,15]", TOO_LARGE)) == [b"[10,11,12]", b"[13,14,15]"]
    assert talk.pipeline.batch_bytes_limit == 9
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
    assert talk.pipeline.needs_operator() == []


def test_what_is_refused_for_all_alike_is_an_operators_matter_and_dead_letters_nothing() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    assert sends(talk.answer(b"[0,1]", REFUSED)) == [b"[0]", b"[1]"]
    assert talk.answer(b"[0]", REFUSED) == []
    assert "Amazon answered 400. A request of one event" in talk.pipeline.needs_operator()[0]
    assert talk.answer(b"[1]", REFUSED) == []
    talk.poll(good(2), good(3))
    seen = []
    for _ in range(400):
        for body in sends(talk.wait(1.0)):
            seen.append(body)
            assert talk.pipeline.in_flight_requests == 1
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
    assert talk.pipeline.needs_operator() != []


def test_the_next_event_that_is_delivered_shows_that_the_one_refused_is_at_fault() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", REFUSED)
    talk.poll(good(1), good(2))
    assert sends(talk.wait(0.5)) == [b"[1]"]
    assert sends(talk.verdicts(b"[1]", DELIVERED)) == [b"[0]", b"[2]"]
    assert talk.pipeline.needs_operator() == []
    assert letters(talk.answer(b"[0]", REFUSED)) == [(0, Reason.REJECTED)]


@pytest.mark.parametrize(("failed", "stops_after"), [(REFUSED, 3), (RequestFailed(Failure.OPERATOR, "http-403"), 1)])
def test_asked_to_stop_on_a_verdict_it_stops_once_no_further_event_can_settle_it(
    failed: RequestFailed, stops_after: int
) -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(good(0))
    for attempt in range(1, stops_after + 1):
        stopped = any(isinstance(command, x.Release) for command in talk.answer(b"[0]", failed))
        assert stopped == (attempt == stops_after)
        talk.wait(60.0)


def test_answers_without_a_verdict_on_anything_dead_letter_nothing_and_are_soon_an_operators_matter() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for attempt in range(1, 30):
        assert talk.verdicts(b"[0,1]", NO_VERDICT, NO_VERDICT) == []
        assert bool(talk.pipeline.needs_operator()) == (attempt >= 3)
        assert sends(talk.wait(60.0)) == [b"[0,1]"]
    talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)
    assert talk.pipeline.needs_operator() == []
    assert talk.outcomes == {Outcome.DELIVERED: 2}


def test_one_event_that_amazon_wants_retried_for_ever_is_given_up_at_last_though_nothing_else_is_there() -> None:
    talk = Conversation(sending(retry=RetryPolicy(1.0, 60.0, 3, max_alone=10)))
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"))
    for _ in range(9):
        assert letters(talk.verdicts(b"[0]", RETRY)) == []
        assert sends(talk.wait(60.0)) == [b"[0]"]
    commands = talk.verdicts(b"[0]", RETRY)
    assert (letters(commands), sends(commands)) == ([(0, Reason.NO_VERDICT)], [b"[1]"])


def test_answers_that_ask_to_retry_everything_are_an_outage() -> None:
    talk = Conversation(sending(outage=OutagePolicy(3)))
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(3):
        assert talk.pipeline.paused()["outage"] == 0
        talk.verdicts(b"[0,1]", RETRY, RETRY)
        talk.wait(60.0)
    assert talk.pipeline.paused()["outage"] == 1
    assert talk.pipeline.needs_operator() == []


def test_one_event_whose_answer_cannot_be_read_is_given_up_when_others_are_delivered_meanwhile() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.verdicts(b"[0]", NO_VERDICT)
    for attempt in range(3):
        talk.deliver(attempt + 1)
        assert sends(talk.wait(60.0)) == [b"[0]"]
        commands = talk.verdicts(b"[0]", NO_VERDICT)
    assert letters(commands) == [(0, Reason.NO_VERDICT)]


def test_a_batch_that_fails_again_and_again_while_others_pass_is_halved() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(4):
        talk.deliver(5 + round(talk.now))
        talk.answer(b"[0,1]", RequestFailed(Failure.TRANSIENT, "http-500"))
        bodies = sends(talk.wait(60.0))
    assert bodies == [b"[0]", b"[1]"]


# ---- an outage


def test_in_an_outage_one_request_at_a_time_asks_and_its_end_hurries_everybody() -> None:
    talk = Conversation(sending(outage=OutagePolicy(3, RetryPolicy(4.0, 30.0)), batch=BatchPolicy(1, 100, 0.0)))
    talk.start()
    failed = RequestFailed(Failure.TRANSIENT, "http-503")
    bodies = sends(talk.poll(*[good(offset) for offset in range(4)]))
    for body in bodies[:3]:
        talk.answer(body, failed)
    assert talk.pipeline.paused()["outage"] == 1
    assert talk.pipeline.concurrency_limit == 1
    assert talk.pipeline.needs_operator() == []  # Amazon being down is not unready
    talk.answer(bodies[3], failed)
    assert sends(talk.wait(3.9)) == []
    (probe,) = sends(talk.wait(0.1))
    assert sends(talk.poll(good(4))) == []
    commands = talk.verdicts(probe, DELIVERED)
    assert len(sends(commands)) == 1  # carefully: one, then two, then more
    assert talk.pipeline.paused()["outage"] == 0
    assert len(sends(talk.verdicts(sends(commands)[0], DELIVERED))) == 2


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
    talk.tell(x.Lost((1,)))
    commands = talk.answer(b"[0,7]", RequestFailed(Failure.TOO_LARGE, "http-413"))
    assert letters(commands) == []
    assert sends(commands) == [b"[7]"]


def test_what_was_given_back_does_not_keep_the_buffer_full_and_what_is_still_out_does() -> None:
    talk, other = Conversation(replace(POLICY, buffer=BufferPolicy(30, 10_000, 10, 2_000))), TopicPartition("conversions", 1)
    talk.start()
    talk.start(2, place=other)
    commands = talk.poll(*[good(offset) for offset in range(60, 90)])
    assert {x.Pause(PLACE, 1), x.Pause(other, 2)} <= set(commands)
    assert len(sends(commands)) == 3
    assert x.Resume(other, 2) not in talk.tell(x.Lost((1,)))  # 30 events are in requests
    bodies = sends(commands)
    talk.answer(bodies[0], RequestFailed(Failure.TRANSIENT, "connect"))
    assert x.Resume(other, 2) in talk.answer(bodies[1], RequestFailed(Failure.TRANSIENT, "connect"))
    talk.answer(bodies[2], RequestFailed(Failure.TRANSIENT, "connect"))
    assert [part.held for part in talk.pipeline._assignments.values()] == [0]


def test_an_assignment_that_ended_leaves_its_window_at_once_though_its_facts_are_not_written() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("a", "b")))
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    talk.tell(x.Lost((1,)))
    assert [len(part.window.seen) for part in talk.pipeline._assignments.values()] == [0]


def test_a_request_may_start_as_long_as_polls_go_on_and_all_its_events_are_ours() -> None:
    talk = Conversation()
    talk.poll_two_partitions()
    (send,) = talk.wait(0.0)
    assert isinstance(send, x.Send)
    assert send.generations == {1, 2}
    gate = POLICY.dispatch.poll_gate_seconds
    assert talk.pipeline.may_start(send.generations, at(100.0, polled=100.0 - gate))
    assert not talk.pipeline.may_start(send.generations, at(100.0, polled=99.9 - gate))
    talk.tell(x.Revoked((1,)))
    assert talk.pipeline.may_start(send.generations, talk.moment), "a drain finishes what it has begun"
    talk.tell(x.Lost((1,)))
    assert not talk.pipeline.may_start(send.generations, talk.moment)
    (again,) = talk.answer(send.body, RequestFailed(Failure.NOT_SENT, "not-sent"))
    assert isinstance(again, x.Send)
    assert (again.body, again.generations) == (b"[7]", frozenset({2}))
    assert talk.pipeline.may_start(again.generations, talk.moment)


def test_requests_that_were_not_sent_after_all_are_no_outage() -> None:
    talk = Conversation(sending(outage=OutagePolicy(2)))
    talk.start()
    talk.poll(good(0))
    for _ in range(5):
        (send,) = talk.answer(b"[0]", RequestFailed(Failure.NOT_SENT, "not-sent"))
        assert isinstance(send, x.Send)
        assert send.attempt == 0
    assert talk.pipeline.paused()["outage"] == 0
    talk.tell(x.Lost((1,)))
    assert talk.answer(b"[0]", RequestFailed(Failure.NOT_SENT, "not-sent")) == []


def test_a_member_without_partitions_waits_for_no_operator() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.OPERATOR, "http-401", detail="the token is refused"))
    assert talk.pipeline.needs_operator() == ["the token is refused"]
    talk.tell(x.Lost((1,)))
    assert talk.pipeline.needs_operator() == []


UNREADABLE = RequestFailed(Failure.UNREADABLE, "not-http", detail="amazon.example answers what cannot be read as HTTP")


def test_answers_that_cannot_be_read_need_an_operator_when_they_are_three_in_a_row() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0), good(1))
    for _ in range(2):
        talk.answer(b"[0,1]", UNREADABLE)
        assert talk.pipeline.needs_operator() == []
        talk.wait(60.0)
    talk.answer(b"[0,1]", UNREADABLE)
    assert talk.pipeline.needs_operator() == [UNREADABLE.detail]
    assert sends(talk.wait(60.0)) == [b"[0,1]"]  # and it goes on trying
    talk.verdicts(b"[0,1]", DELIVERED, DELIVERED)
    assert talk.pipeline.needs_operator() == []


def test_an_answer_that_cannot_be_read_between_others_passes() -> None:
    talk = Conversation()
    talk.start()
    for offset in range(4):
        talk.poll(good(offset))
        talk.answer(b"[%d]" % offset, UNREADABLE)
        assert talk.pipeline.needs_operator() == []
        talk.wait(60.0)
        talk.verdicts(b"[%d]" % offset, DELIVERED)


def test_on_verdict_stop_a_moment_of_answers_that_cannot_be_read_does_not_end_the_process() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(good(0))
    for number in range(5):
        commands = talk.answer(b"[0]", UNREADABLE)
        assert (x.Stop(UNREADABLE.detail) in commands) == (number == 4)
        talk.wait(60.0)


# ---- the breaker


def test_too_many_rejections_in_a_row_leave_one_probe_a_minute_until_one_is_delivered() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(*[good(offset) for offset in range(5)])
    talk.poll(*[good(offset) for offset in range(5, 9)])
    commands = talk.verdicts(b"[0,1,2,3,4]", *[REJECTED] * 5)
    assert [offset for offset, _ in letters(commands)] == [0, 1, 2, 3]  # the fifth opens it, and is held back
    assert x.Pause(PLACE, 1) in commands
    talk.answer(b"[5,6,7,8]", RequestFailed(Failure.TRANSIENT, "connect"))
    assert talk.pipeline.paused()["breaker"] == 1
    assert "5 events in a row" in talk.pipeline.needs_operator()[0]
    assert talk.pipeline.wake_at(talk.moment) == 60.0
    assert sends(talk.wait(59.0)) == []
    commands = talk.wait(1.0)
    assert (sends(commands), letters(commands)) == ([b"[5]"], [(4, Reason.REJECTED)])
    assert sends(talk.wait(59.0)) == []
    talk.verdicts(b"[5]", REJECTED)
    commands = talk.wait(60.0)
    assert (sends(commands), letters(commands)) == ([b"[6]"], [(5, Reason.REJECTED)])
    assert sends(talk.verdicts(b"[6]", DELIVERED)) == [b"[7,8]"]
    assert talk.pipeline.needs_operator() == []


def test_too_many_records_that_cannot_be_sent_pause_consumption_instead_of_emptying_the_topic() -> None:
    talk = Conversation()
    talk.start()
    commands = talk.poll(*[(offset, None, FLAW, NOW_MS) for offset in range(8)])
    assert len(letters(commands)) == 4
    assert x.Pause(PLACE, 1) in commands
    assert talk.pipeline.buffered_events == 8
    for offset in range(4):
        talk.tell(x.LetterWritten(1, offset))
    for offset in range(4, 8):
        commands = talk.wait(60.0)
        assert letters(commands) == [(offset, Reason.INVALID_FIELD)]
        talk.tell(x.LetterWritten(1, offset))
    assert x.Resume(PLACE, 1) in commands  # with nothing left to probe by, a look at what comes next
    commands = talk.poll((8, None, FLAW, NOW_MS), good(9), good(10))
    assert x.Pause(PLACE, 1) in commands
    assert sends(commands) == [b"[9]"]
    assert x.Resume(PLACE, 1) in talk.verdicts(b"[9]", DELIVERED)


def test_letters_held_back_are_given_back_with_their_partition() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(*[(offset, None, FLAW, NOW_MS) for offset in range(7)])
    talk.tell(x.Revoked((1,)))
    for offset in range(4):
        talk.tell(x.LetterWritten(1, offset))
    assert [command.unresolved for command in talk.appended() if isinstance(command, x.Release)] == [3]


# ---- dead letters


def test_a_letter_that_cannot_be_written_pauses_its_partition_and_is_written_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS), (1, None, FLAW, NOW_MS))
    assert talk.tell(x.LetterFailed(1, 0, "_MSG_TIMED_OUT", 0.0)) == [x.Pause(PLACE, 1)]
    assert talk.pipeline.paused()["dead_letter"] == 1
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert letters(talk.wait(0.5)) == [(0, Reason.INVALID_FIELD)]
    assert talk.tell(x.LetterWritten(1, 0)) == [x.Resume(PLACE, 1)]
    assert talk.outcomes == {Outcome.DEAD_LETTERED: 1}


def test_a_letter_that_fails_again_and_again_is_an_operators_matter_until_it_is_written() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    for _ in range(3):
        assert talk.pipeline.needs_operator() == []
        talk.tell(x.LetterFailed(1, 0, "TOPIC_AUTHORIZATION_FAILED", 0.0))
        talk.wait(60.0)
    (sentence,) = talk.pipeline.needs_operator()
    assert sentence.startswith("dead letters of conversions-0 cannot be written (TOPIC_AUTHORIZATION_FAILED)")
    assert "this client's rights to it" in sentence
    talk.tell(x.LetterWritten(1, 0))
    assert talk.pipeline.needs_operator() == []


def manners(commands: list[x.Command]) -> list[Manner]:
    return [command.manner for command in commands if isinstance(command, x.WriteLetter)]


ALONE = Manner(alone=True)


@pytest.mark.parametrize("code", ["MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG_SIZE"])
def test_a_letter_that_is_too_large_is_written_alone_and_then_without_its_largest_parts(code: str) -> None:
    talk = Conversation()
    talk.start()
    assert manners(talk.poll((0, None, FLAW, NOW_MS))) == [Manner()]
    for manner in (ALONE, *(replace(ALONE, left_out=parts) for parts in (1, 2, 3))):
        assert manners(talk.tell(x.LetterFailed(1, 0, code, 0.0))) == [manner]
        assert talk.pipeline.paused()["dead_letter"] == 0, "nothing stands still while there is something to try"
    assert talk.tell(x.LetterWritten(1, 0)) == []
    assert talk.outcomes == {Outcome.DEAD_LETTERED: 1}


def test_a_letter_that_does_not_fit_in_any_way_waits_for_an_operator_and_is_tried_whole_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    for _ in range(3):
        assert talk.pipeline.needs_operator() == []
        for _ in range(5):
            talk.tell(x.LetterFailed(1, 0, "MSG_SIZE_TOO_LARGE", 0.0))
        assert talk.pipeline.paused()["dead_letter"] == 1
        assert manners(talk.wait(60.0)) == [Manner()]
    (sentence,) = talk.pipeline.needs_operator()
    assert "raise its max.message.bytes" in sentence
    talk.tell(x.LetterWritten(1, 0))
    assert talk.pipeline.needs_operator() == []


def test_a_letter_of_a_time_that_its_topic_does_not_take_is_written_with_the_time_of_now() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    assert manners(talk.tell(x.LetterFailed(1, 0, "INVALID_TIMESTAMP", 0.0))) == [ALONE]
    untimely = replace(ALONE, now=True)
    assert manners(talk.tell(x.LetterFailed(1, 0, "INVALID_TIMESTAMP", 0.0))) == [untimely]
    assert manners(talk.tell(x.LetterFailed(1, 0, "MSG_SIZE_TOO_LARGE", 0.0))) == [replace(untimely, left_out=1)]
    assert manners(talk.tell(x.LetterFailed(1, 0, "INVALID_TIMESTAMP", 0.0))) == []
    assert talk.pipeline.paused()["dead_letter"] == 1


@pytest.mark.parametrize("code", ["INVALID_RECORD", "_INVALID_DIFFERENT_RECORD", "UNKNOWN"])
def test_a_letter_refused_for_another_of_its_batch_is_written_alone_once(code: str) -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    assert manners(talk.tell(x.LetterFailed(1, 0, code, 0.0))) == [ALONE]
    assert manners(talk.tell(x.LetterFailed(1, 0, code, 0.0))) == []
    assert talk.pipeline.paused()["dead_letter"] == 1


def test_a_letter_refused_after_its_assignment_ended_is_not_written_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    talk.tell(x.Lost((1,)))
    assert talk.tell(x.LetterFailed(1, 0, "MSG_SIZE_TOO_LARGE", 0.0)) == []


def test_a_letter_carries_the_record_as_it_was_polled() -> None:
    talk = Conversation()
    talk.start()
    assert talk.poll((4, None, FLAW, NOW_MS)) == [x.WriteLetter(PLACE, 1, 4, "record 4", FLAW)]


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
    assert talk.tell(x.FactsFailed(1, 0.0)) == []
    assert talk.pipeline.wake_at(talk.moment) == talk.now + 0.5
    assert [offset for offset, _ in written(talk.wait(0.5))] == [0, 1, 2]
    commands = talk.appended()
    assert commits(commands) == [3]
    assert [offset for offset, _ in written(commands)] == [3, 4, 5]


def test_with_too_many_facts_unconfirmed_nothing_more_is_sent() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 100, 3)))
    talk.start()
    talk.poll(*[(offset, None, None, None) for offset in range(4)])
    talk.wait(1.0)
    assert talk.pipeline.paused()["ledger"] == 1
    assert talk.poll(good(4)) == []
    assert sends(talk.appended()) == [b"[4]"]
    assert talk.pipeline.paused()["ledger"] == 0


def test_while_no_fact_is_confirmed_for_long_nothing_more_is_sent() -> None:
    talk = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 100, 500, max_silence_seconds=5.0)))
    talk.start()
    talk.poll(good(0))
    talk.verdicts(b"[0]", DELIVERED)
    assert written(talk.wait(1.0)) == [(0, Outcome.DELIVERED)]
    assert sends(talk.poll(good(1))) == [b"[1]"]  # the brokers may be slow
    talk.wait(5.1)
    assert sends(talk.poll(good(2))) == []
    assert talk.pipeline.paused()["ledger"] == 1
    assert written(talk.tell(x.FactsFailed(1, 0.0), after=25.0)) == []
    assert written(talk.wait(60.0)) == [(0, Outcome.DELIVERED)]
    assert talk.pipeline.paused()["ledger"] == 1  # that it is tried again is no answer
    assert sends(talk.appended()) == [b"[2]"]
    assert talk.pipeline.paused()["ledger"] == 0


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
    assert question == x.AppendFacts(other, 2, "topic-id", Facts())
    assert sends(talk.poll(good(1), generation=2, place=other)) == []
    assert sends(talk.appended(2)) == [b"[1]"]
    talk.verdicts(b"[1]", DELIVERED)
    talk.wait(1.0)
    talk.appended(2)
    assert talk.wait(4.0) == []
    assert talk.pipeline.wake_at(talk.moment) == 60.0
    assert talk.wait(1.1)[-1:] == [x.AppendFacts(other, 2, "topic-id", Facts())]


# ---- giving partitions back


def test_a_revoked_partition_finishes_what_is_in_flight_commits_and_is_released() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"))
    talk.last_poll = -100.0
    talk.poll(good(2))
    assert talk.tell(x.Revoked((1,))) == [x.Pause(PLACE, 1)]
    assert talk.pipeline.paused()["draining"] == 1
    assert talk.tell(x.Revoked((1,))) == []
    assert talk.pipeline.wake_at(talk.moment) == 40.0
    assert talk.poll(good(3)) == []
    assert written(talk.verdicts(b"[0]", DELIVERED)) == [(0, Outcome.DELIVERED), (1, Outcome.DUPLICATE)]
    assert kinds(talk.appended()) == [x.Commit, x.Release]
    assert talk.pipeline.statistics.released == 1
    assert talk.pipeline.assignments == []


def test_what_was_not_sent_is_released_at_once() -> None:
    talk = Conversation()
    talk.start()
    talk.last_poll = -100.0
    talk.poll(good(0), good(1))
    assert talk.tell(x.Revoked((1,))) == [x.Release(PLACE, 1, 2)]
    assert talk.pipeline.wake_at(talk.moment) is None


def test_a_drain_waits_no_longer_than_it_may_and_what_comes_later_is_still_written_down_but_not_committed() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "a"), good(1))
    talk.tell(x.Revoked((1,)))
    assert talk.wait(39.9) == []
    assert talk.wait(0.1) == [x.Release(PLACE, 1, 2)]
    assert talk.pipeline.in_flight_events == 0
    assert written(talk.verdicts(b"[0,1]", DELIVERED, REJECTED)) == [(0, Outcome.DELIVERED)]
    assert talk.pipeline.statistics.late_answers == 2
    assert talk.outcomes == {}
    assert talk.appended() == []


def test_while_draining_nothing_is_sent_again() -> None:
    talk = Conversation(sending(batch=BatchPolicy(3, 100, 0.0)))
    talk.start()
    talk.poll(good(0, "a"), good(1, "a"), good(2), good(3), good(4))
    assert sorted(talk.requests) == [b"[0,2,3]", b"[4]"]
    talk.tell(x.Revoked((1,)))
    assert talk.answer(b"[4]", RequestFailed(Failure.TIMEOUT, "timeout")) == []
    commands = talk.verdicts(b"[0,2,3]", REJECTED, RETRY, DELIVERED)
    assert letters(commands) == [(0, Reason.REJECTED)]
    assert sends(commands) == []
    commands = talk.wait(1.0)
    assert sends(commands) == []
    assert written(commands) == [(3, Outcome.DELIVERED)]
    assert talk.appended() == []
    assert written(talk.tell(x.LetterWritten(1, 0))) == [(0, Outcome.DEAD_LETTERED)]
    assert talk.appended()[-1] == x.Release(PLACE, 1, 3)  # the copy that waited, and the two without a verdict


def test_what_waits_to_be_sent_again_is_not_sent_once_its_partition_is_lost() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0))
    talk.answer(b"[0]", RequestFailed(Failure.TRANSIENT, "connect"))
    talk.tell(x.Lost((1,)))
    assert talk.wait(10.0) == []
    assert talk.pipeline.wake_at(talk.moment) is None


def test_a_letter_that_fails_while_draining_is_written_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    talk.tell(x.Revoked((1,)))
    assert talk.tell(x.LetterFailed(1, 0, "_MSG_TIMED_OUT", 0.0)) == []
    assert letters(talk.wait(0.5)) == [(0, Reason.INVALID_FIELD)]


def test_a_lost_partition_commits_nothing_more_but_its_facts_are_still_written() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, None, None), (1, None, FLAW, NOW_MS), (2, None, FLAW, NOW_MS), good(3))
    assert kinds(talk.tell(x.Lost((1,)))) == []
    assert talk.pipeline.statistics.released == 3
    assert written(talk.wait(1.0)) == [(0, Outcome.IGNORED)]
    talk.answer(b"[3]", RequestFailed(Failure.TIMEOUT, "timeout"))
    assert talk.tell(x.LetterFailed(1, 2, "_MSG_TIMED_OUT", 0.0)) == []
    talk.tell(x.LetterWritten(1, 1))
    assert written(talk.appended()) == [(1, Outcome.DEAD_LETTERED)]
    assert talk.appended() == []
    assert talk.pipeline.wake_at(talk.moment) is None
    assert talk.tell(x.CommitFailed(1)) == []
    assert talk.tell(x.Lost((1,))) == []


@pytest.mark.parametrize("restored", [False, True])
def test_a_partition_revoked_before_it_started_is_released_at_once(restored: bool) -> None:
    talk = Conversation()
    talk.tell(x.Assigned(PLACE, 1))
    if restored:
        talk.tell(x.Restored(1, a_recovery()))
    assert talk.tell(x.Revoked((1,))) == [x.Release(PLACE, 1, 0)]
    if restored:
        assert talk.appended() == []
    assert talk.tell(x.Revoked((1,))) == []


def test_an_assignment_that_ended_has_no_say_in_the_next_one_of_the_same_partition() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0, "a"))
    talk.tell(x.Lost((1,)))
    talk.start(2)
    assert sends(talk.poll(good(0, "a"), generation=2)) == [b"[0]"]
    first, second = sorted({1, *talk.requests.values()})
    talk.tell(x.RequestFinished(first, Verdicts([DELIVERED]), 0.0))
    talk.wait(1.0)
    assert commits(talk.appended(1)) == []
    talk.tell(x.RequestFinished(second, Verdicts([DELIVERED]), 0.0))
    talk.wait(1.0)
    assert commits(talk.appended(2)) == [1]


# ---- the end of the process


def test_a_shutdown_drains_every_partition_and_then_stops() -> None:
    talk, other = Conversation(), TopicPartition("conversions", 1)
    talk.start(1)
    talk.tell(x.Assigned(other, 2))
    talk.poll(good(0))
    assert talk.tell(x.ShutdownRequested()) == [x.Release(other, 2, 0), x.Pause(PLACE, 1)]
    assert talk.tell(x.ShutdownRequested()) == []
    talk.verdicts(b"[0]", DELIVERED)
    assert talk.appended()[-2:] == [x.Release(PLACE, 1, 0), x.Stop(None)]
    assert talk.pipeline.wake_at(talk.moment) is None


def test_without_assignments_a_shutdown_stops_at_once() -> None:
    assert Conversation().tell(x.ShutdownRequested()) == [x.Stop(None)]


def test_a_partition_assigned_during_a_shutdown_is_given_back_at_once() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0))
    talk.tell(x.ShutdownRequested())
    other = TopicPartition("conversions", 1)
    assert talk.tell(x.Assigned(other, 2)) == [x.Release(other, 2, 0)]


def test_a_shutdown_ends_in_time_whatever_is_still_under_way() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll((0, None, None, None), good(1))
    talk.tell(x.ShutdownRequested())
    assert x.Stop(None) not in talk.wait(39.9)
    assert talk.wait(0.1)[-2:] == [x.Release(PLACE, 1, 1), x.Stop(None)]


def test_a_shutdown_waits_for_the_answers_to_lost_partitions_but_not_for_ever() -> None:
    talk = Conversation()
    talk.start(1)
    talk.poll(good(0))
    talk.tell(x.Lost((1,)))
    assert talk.tell(x.ShutdownRequested()) == []
    assert talk.pipeline.wake_at(talk.moment) == 40.0
    assert talk.wait(40.0) == [x.Stop(None)]


def test_on_verdict_stop_a_request_that_needs_an_operator_ends_the_process_with_its_sentence() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(good(0))
    commands = talk.answer(b"[0]", RequestFailed(Failure.OPERATOR, "http-401", detail="the token is refused"))
    assert commands == [x.Release(PLACE, 1, 1), x.Stop("the token is refused")]


def test_on_verdict_stop_too_many_refusals_in_a_row_end_the_process_once_the_letters_are_written() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.start()
    talk.poll(*[good(offset) for offset in range(5)])
    talk.answer(b"[0,1,2,3,4]", Verdicts([REJECTED] * 5))
    assert [part.phase for part in talk.pipeline.assignments] == [Phase.DRAINING]
    for offset in range(4):  # the fifth is held back, and given back
        talk.tell(x.LetterWritten(1, offset))
    commands = talk.tell(x.FactsAppended(1, 2, None))
    assert kinds(commands)[-2:] == [x.Release, x.Stop]
    assert isinstance(commands[-1], x.Stop)
    assert "in a row" in (commands[-1].verdict or "")


def test_on_verdict_stop_a_ledger_that_must_not_be_trusted_ends_the_process_and_one_that_is_away_does_not() -> None:
    talk = Conversation(replace(POLICY, stop_on_verdict=True))
    talk.tell(x.Assigned(PLACE, 1))
    assert talk.tell(x.RestoreFailed(1, "no answer", needs_operator=False, chance=0.0)) == []
    talk.wait(0.5)
    commands = talk.tell(x.RestoreFailed(1, "recreated", needs_operator=True, chance=0.0))
    assert commands == [x.Release(PLACE, 1, 0), x.Stop("recreated")]


# ---- bounds


def test_at_the_bound_all_partitions_pause_and_at_half_of_it_they_resume() -> None:
    talk = Conversation(sending(batch=BatchPolicy(40, 1_000, 0.0)))
    talk.start()
    assert x.Pause not in kinds(talk.poll(*[good(offset) for offset in range(79)]))
    assert x.Pause(PLACE, 1) in talk.poll(good(79))
    assert talk.pipeline.paused()["buffer_full"] == 1
    bodies = list(talk.requests)
    assert [body.count(b",") + 1 for body in bodies] == [40, 39, 1]
    assert talk.verdicts(bodies[2], DELIVERED) == []
    assert x.Resume(PLACE, 1) in talk.verdicts(bodies[1], *[DELIVERED] * 39)
    assert talk.pipeline.paused()["buffer_full"] == 0


def test_the_bound_holds_for_bytes_too() -> None:
    talk = Conversation()
    talk.start()
    poll = poll_of(good(0), good(1), sizes=[4_000, 4_000])
    assert x.Pause(PLACE, 1) in talk.tell(x.Polled((poll,)))
    assert x.Resume(PLACE, 1) in talk.verdicts(b"[0,1]", DELIVERED, RETRY)


def test_a_partition_too_far_ahead_of_its_open_record_pauses_alone() -> None:
    talk, other = Conversation(replace(POLICY, flush=FlushPolicy(1.0, 10**6, 10**6))), TopicPartition("conversions", 1)
    talk.start(1)
    talk.start(2, place=other)
    commands = talk.poll(good(0), *[(offset, None, None, None) for offset in range(1, _MAX_AHEAD + 1)])
    assert [command for command in commands if isinstance(command, x.Pause)] == [x.Pause(PLACE, 1)]
    assert talk.pipeline.paused()["ahead"] == 1
    talk.verdicts(b"[0]", DELIVERED)
    talk.wait(1.0)
    assert x.Resume(PLACE, 1) in talk.appended()


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


@pytest.mark.parametrize("skew_ms", [300_001, -300_001])
def test_a_partition_does_not_start_while_the_clocks_disagree_and_the_brokers_time_is_asked_for_again(skew_ms: int) -> None:
    talk = Conversation()
    talk.skew_ms = skew_ms
    talk.tell(x.Assigned(PLACE, 1))
    talk.tell(x.Restored(1, a_recovery()))
    assert talk.appended() == []
    assert "off the brokers'" in talk.pipeline.needs_operator()[0]
    assert talk.pipeline.wake_at(talk.moment) == 5.0
    assert kinds(talk.wait(5.0)) == [x.AppendFacts]
    talk.skew_ms = 0
    assert kinds(talk.appended()) == [x.Start, x.Resume]


def test_a_clock_that_jumps_pauses_everything_and_what_was_polled_meanwhile_is_judged_when_it_agrees_again() -> None:
    talk, other = Conversation(), TopicPartition("conversions", 1)
    talk.start(1)
    talk.start(2, place=other)
    talk.skew_ms = WEEK_MS
    assert talk.poll(good(0), good(1, age_ms=WEEK_MS + 1)) == [
        x.AppendFacts(PLACE, 1, "topic-id", Facts()),
        x.Pause(PLACE, 1),
        x.Pause(other, 2),
    ]
    assert talk.pipeline.paused()["clock"] == 2
    assert talk.outcomes == {}
    talk.poll(good(0), generation=2, place=other)
    assert talk.tell(x.Revoked((2,))) == [x.Release(other, 2, 0)]
    talk.skew_ms = 0
    commands = talk.wait(1.0)
    assert sends(commands) == [b"[0]"]
    assert x.Resume(PLACE, 1) in commands
    assert talk.outcomes == {Outcome.STALE: 1}


def test_while_the_clocks_disagree_the_brokers_time_is_asked_for_every_few_seconds() -> None:
    talk = Conversation()
    talk.start()
    talk.skew_ms = -WEEK_MS
    assert kinds(talk.wait(0.0)) == [x.AppendFacts, x.Pause]
    assert talk.wait(5.0) == []  # the last question is still open
    talk.appended()
    assert talk.pipeline.wake_at(talk.moment) == 10.0
    assert kinds(talk.wait(5.0)) == [x.AppendFacts]


def test_an_entry_without_an_append_time_says_nothing_about_the_clock() -> None:
    talk = Conversation()
    talk.tell(x.Assigned(PLACE, 1))
    talk.tell(x.Restored(1, a_recovery()))
    talk.skew_ms = WEEK_MS
    assert kinds(talk.tell(x.FactsAppended(1, 1, None))) == [x.Start, x.Resume]


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
    recovery.seen.add_many(dice.randbytes(16 * 30_000), [NOW_MS] * 30_000)
    talk = Conversation()
    talk.start(recovery=recovery)
    talk.wait(8.1 * 86_400)
    assert 0 < len(recovery.seen) < 30_000
    assert talk.pipeline.wake_at(talk.moment) == pytest.approx(talk.now + 0.05)
    left = len(recovery.seen)
    talk.tell(x.Lost((1,)))
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
    assert talk.pipeline.assignments[0].window.seen._days == {day: day for day in (midnight // DAY_MS,)}


def test_the_entry_that_opens_an_assignment_says_where_it_begins() -> None:
    talk = Conversation()
    talk.tell(x.Assigned(PLACE, 1))
    (opening,) = talk.tell(x.Restored(1, a_recovery(30)))
    assert isinstance(opening, x.AppendFacts)
    assert opening.facts.start == 30
    talk.tell(x.FactsFailed(1, 0.0))
    (again,) = talk.wait(0.5)
    assert isinstance(again, x.AppendFacts)
    assert again.facts.start == 30
    talk.appended()
    talk.poll((30, None, None, None))
    (facts,) = [command for command in talk.wait(1.0) if isinstance(command, x.AppendFacts)]
    assert facts.facts.start is None


def test_a_commit_names_what_the_ledger_must_still_hold() -> None:
    talk = Conversation()
    landmarks = Landmarks(8 * DAY_MS)
    landmarks.passed(2, NOW_MS - 2 * DAY_MS)
    talk.ledger_end = 3
    talk.start(recovery=replace(a_recovery(), landmarks=landmarks))
    talk.poll((0, None, None, None))
    talk.wait(1.0)
    (commit,) = talk.appended()
    assert isinstance(commit, x.Commit)
    then, last = NOW_MS - 2 * DAY_MS, NOW_MS + 1_000
    assert commit.points[0].metadata == f"v1 topic-id ledger-id:23 kept 691200 2:{then} 12:{NOW_MS} 22:{last}"


def test_a_partition_whose_log_was_cut_is_restored_as_such() -> None:
    talk = Conversation()

    assert talk.tell(x.Assigned(PLACE, 1, truncated=True)) == [x.Restore(PLACE, 1, truncated=True)]


def test_polls_set_aside_while_the_clocks_disagreed_are_judged_before_those_that_came_after() -> None:
    talk = Conversation()
    talk.start()
    part = talk.pipeline.assignments[0]
    skewed = Moment(NOW_MS + 300_001, *[talk.moment.monotonic] * 3)
    agreeing = Moment(NOW_MS + 299_999, *[talk.moment.monotonic] * 3)
    talk.pipeline._clock.appended(NOW_MS, talk.moment)
    talk.pipeline.handle(x.Polled((poll_of(good(0), good(1)),)), skewed)
    talk.pipeline.handle(x.Polled((poll_of(good(2), good(3)),)), agreeing)

    assert talk.pipeline.statistics.records == 4
    assert part.held == 4


def test_nothing_is_forgotten_by_a_clock_that_is_not_believed() -> None:
    talk = Conversation()
    talk.start(recovery=a_recovery(seen=("known",)))
    talk.skew_ms = 30 * DAY_MS
    talk.wait(61.0)
    assert key_of("known") in talk.pipeline.assignments[0].window.seen


def test_a_partition_of_a_topic_that_was_recreated_starts_over_and_others_go_on() -> None:
    talk = Conversation()
    other = TopicPartition("other", 0)
    talk.start(1)
    talk.start(2, place=other)
    talk.tell(x.Assigned(TopicPartition("conversions", 1), 3))  # its restore will find out by itself

    assert talk.tell(x.TopicSeen("conversions", "topic-id")) == []
    assert talk.tell(x.TopicSeen("conversions", "new-id")) == [x.StartOver(PLACE, 1)]
    talk.tell(x.Lost((1,)))
    assert talk.tell(x.TopicSeen("conversions", "new-id")) == []


# ---- keys that may say nothing


def test_copies_without_end_of_one_key_are_told_by_their_places_and_counted() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(good(0, "n"))
    talk.verdicts(b"[0]", DELIVERED)
    talk.poll(*[good(offset, "n") for offset in range(1, 10)])
    assert talk.pipeline.doubts() == []
    talk.poll(good(10, "n"))
    assert talk.pipeline.doubts() == [Doubt(Kind.REPEATED, "conversions-0@1", "conversions-0@10", 10)]
    assert talk.pipeline.doubts() == [], "told once"
    talk.poll(*[good(offset, "n") for offset in range(11, 32)])
    assert talk.pipeline.doubts() == [Doubt(Kind.REPEATED, "conversions-0@1", "conversions-0@20", 20)]
    assert talk.pipeline.statistics.doubtful_duplicates == {Kind.REPEATED: 31, Kind.DIFFERENT: 0}
    assert talk.pipeline.needs_operator() == []


def test_copies_that_waited_are_counted_when_they_are_duplicates() -> None:
    talk = Conversation()
    talk.start()
    talk.poll(*[good(offset, "n", payload=b"same") for offset in range(20)])
    assert talk.pipeline.doubts() == []
    talk.verdicts(b"[same]", DELIVERED)
    assert talk.pipeline.doubts() == [Doubt(Kind.REPEATED, "conversions-0@1", "conversions-0@10", 10)]


def test_a_copy_that_holds_something_else_than_the_event_in_flight_is_told_by_both_their_places() -> None:
    def differ(one: bytes, other: bytes) -> bool:
        return one.lower() != other.lower()

    talk = Conversation(replace(POLICY, dedupe=replace(POLICY.dedupe, differ=differ)))
    talk.start()
    talk.poll(good(0, "n", payload=b"order"), good(1, "n", payload=b"order"), good(2, "n", payload=b"ORDER"))
    assert talk.pipeline.doubts() == []
    talk.poll(good(3, "n", payload=b"other"), good(4, "other key", payload=b"fourth"))
    assert talk.pipeline.doubts() == [Doubt(Kind.DIFFERENT, "conversions-0@0", "conversions-0@3", 1)]
    talk.verdicts(b"[order]", REJECTED)
    talk.poll(good(5, "n", payload=b"order"), good(6, "n", payload=b"another"))
    assert talk.pipeline.doubts() == [Doubt(Kind.DIFFERENT, "conversions-0@1", "conversions-0@6", 2)]
    assert talk.pipeline.statistics.doubtful_duplicates == {Kind.REPEATED: 0, Kind.DIFFERENT: 2}
