"""A conversation with the pipeline: one clock, the requests it has out, and words for what it asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy, Envelope
from connector.core.breaker import DeadLetterPolicy, OutagePolicy
from connector.core.commit_metadata import LedgerPosition
from connector.core.dedupe import DedupePolicy, SeenKeys
from connector.core.dispatch import DispatchPolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.offsets import ResolvedOffsets
from connector.core.pipeline import Pipeline
from connector.core.policy import BufferPolicy, FlushPolicy, Policy
from connector.core.recovery import Recovery
from connector.core.retry import RetryPolicy
from connector.model import (
    DELIVERED,
    Answer,
    Failure,
    Flaw,
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
from tests.core.walking import assert_adds_up

__all__ = [
    "FLAW",
    "POLICY",
    "REJECTED",
    "RETRY",
    "TOO_LARGE",
    "WEEK_MS",
    "Conversation",
    "a_recovery",
    "accounted_for",
    "commits",
    "good",
    "kinds",
    "letters",
    "sending",
    "sends",
    "written",
]

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
REJECTED = Verdict(VerdictKind.REJECTED, "INVALID at matchKeys")
RETRY = Verdict(VerdictKind.RETRY, "INTERNAL")
FLAW = Flaw(Reason.INVALID_FIELD, "countryCode: not two letters")
TOO_LARGE = RequestFailed(Failure.TOO_LARGE, "http-413", detail="Amazon answered 413")


def sending(**changes: Any) -> Policy:
    """Return the policy with another way to send."""
    return replace(POLICY, dispatch=replace(POLICY.dispatch, **changes))


def accounted_for(pipeline: Pipeline) -> int:
    """Return how many records are resolved, released, buffered or in flight."""
    counted = pipeline.statistics
    held = status.buffered_events(pipeline) + status.in_flight_events(pipeline)
    return counted.resolved + counted.released + held


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

    def tell(self, told: inputs.Input, *, after: float = 0.0) -> list[commands.Command]:
        self.now += after
        out = self.pipeline.handle(told, self.moment)
        self.requests |= {command.body: command.request for command in out if isinstance(command, commands.Send)}
        assert self.pipeline.statistics.records == accounted_for(self.pipeline)
        assert_adds_up(self.pipeline)
        return out

    def wait(self, seconds: float) -> list[commands.Command]:
        return self.tell(inputs.TimePassed(), after=seconds)

    def start(
        self, generation: int = 1, *, place: TopicPartition = PLACE, recovery: Recovery | None = None
    ) -> list[commands.Command]:
        self.tell(inputs.Assigned(place, generation))
        self.tell(inputs.Restored(generation, recovery or a_recovery()))
        return self.appended(generation)

    def appended(self, generation: int = 1) -> list[commands.Command]:
        self.ledger_end += 10  # another member wrote in between
        return self.tell(inputs.FactsAppended(generation, self.ledger_end, NOW_MS + round(self.now * 1000)))

    def poll(
        self, *shapes: Shape, generation: int = 1, epoch: int = 0, place: TopicPartition = PLACE
    ) -> list[commands.Command]:
        return self.tell(inputs.Polled((poll_of(*shapes, generation=generation, epoch=epoch, place=place),)))

    def poll_two_partitions(self) -> None:
        """Have event 0 of one partition and event 7 of another polled, so that they share the next request."""
        other = TopicPartition(PLACE.topic, 1)
        self.start(1)
        self.start(2, place=other)
        self.last_poll = -100.0
        self.poll(good(0))
        self.poll(good(7), generation=2, place=other)
        self.last_poll = None

    def answer(self, body: bytes, answer: Answer) -> list[commands.Command]:
        return self.tell(inputs.RequestFinished(self.requests[body], answer))

    def verdicts(self, body: bytes, *verdicts: Verdict) -> list[commands.Command]:
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
    keys.add([key_of(name) for name in seen], [NOW_MS] * len(seen))
    for resolved_offset in resolved:
        offsets.add(resolved_offset, 1, epoch)
    return Recovery(offset, -1, LedgerPosition("ledger-id", 0), "topic-id", keys, offsets, "note")


def good(offset: int, key: str | None = None, *, age_ms: int = 0, payload: bytes | None = None) -> Shape:
    return offset, key, payload or b"%d" % offset, NOW_MS - age_ms


def sends(out: list[commands.Command]) -> list[bytes]:
    return [command.body for command in out if isinstance(command, commands.Send)]


def letters(out: list[commands.Command]) -> list[tuple[int, Reason]]:
    return [(command.offset, command.flaw.reason) for command in out if isinstance(command, commands.WriteLetter)]


def commits(out: list[commands.Command]) -> list[int]:
    return [point.next_offset for command in out if isinstance(command, commands.Commit) for point in command.points]


def written(out: list[commands.Command]) -> list[tuple[int, Outcome]]:
    facts = [command.facts for command in out if isinstance(command, commands.AppendFacts)]
    return [fact for entry in facts for fact in zip(entry.offsets, entry.outcomes, strict=True)]


def kinds(out: list[commands.Command]) -> list[type]:
    return [type(command) for command in out]
