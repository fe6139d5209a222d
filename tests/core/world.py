"""A small world around the pipeline, on virtual time, from a seed: log, group, ledger, vendor, dead-letter topic, crashes.

The first part of a run is chaos, the second is calm: in the calm everything must drain. `Oracle` objects when a law breaks.
``python -m tests.core.world --seeds 1-1000`` looks for a failing seed; ``--trace`` tells one seed's story.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy, Envelope
from connector.core.breaker import DeadLetterPolicy, OutagePolicy
from connector.core.dedupe import DedupePolicy
from connector.core.dispatch import DispatchPolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.pipeline import Pipeline
from connector.core.policy import BufferPolicy, FlushPolicy, Policy
from connector.core.recovery import (
    CommittedOffset,
    Identity,
    LedgerPosition,
    OutOfRange,
    PartitionState,
    Refusal,
    Restoration,
)
from connector.core.retry import RetryPolicy
from connector.errors import OutOfOrder
from connector.model import (
    DELIVERED,
    NO_VERDICT,
    Answer,
    Facts,
    Failure,
    Flaw,
    Moment,
    Outcome,
    Poll,
    Reason,
    RequestFailed,
    TopicPartition,
    Verdict,
    VerdictKind,
    Verdicts,
)
from tests.core.oracle import MAX_AGE_MS, MAX_SKEW_MS, Acceptance, Nature, Oracle, Row, Violation

__all__ = ["World", "run"]

_START_MS = 1_800_000_000_000
_TOPIC = "conversions"
_IDENTITY = Identity("cluster-1", _TOPIC, "topic-1", "group-1", b"destination", b"dedupe key")
_MAX_BYTES = 400
_POLL_EVENTS = 8
_POLLS_AHEAD = 2
_GATE_SECONDS = 3.0
_CHAOS_SECONDS = 60.0
_CALM_SECONDS = 1500.0
_HEARTBEATS = 20
_HEARTBEAT_SECONDS = 25.0
"""In the calm a good event comes once in a while: what fails alone is judged by whether others pass."""
_LETTER_CODES = ("_MSG_TIMED_OUT", "MSG_SIZE_TOO_LARGE", "INVALID_TIMESTAMP")
"""One that says nothing of the letter, and two that the letter or another of its batch is the cause of."""
_HEAVY_BODY = 260
"""The vendor takes no body above this: it answers 413."""


@dataclass(frozen=True, slots=True)
class _Odds:
    """How often things go wrong, drawn once a seed."""

    request: float
    withheld: float
    no_verdict: float
    append: float
    letter: float
    commit: float
    rebalance: float
    crash: float
    clock: float
    refused: float


@dataclass(slots=True, eq=False)
class _Member:
    """A process of the connector and its consumer thread."""

    pipeline: Pipeline
    name: int
    alive: bool = True
    stopping: bool = False
    skew_ms: int = 0
    last_poll: float = 0.0
    vouched: float = float("-inf")
    polls_ahead: int = 0
    polled_by: float = 0.0
    woken_at: float = -1.0
    idle_turns: int = 0
    """Wake-ups in a row at one instant that led to nothing."""
    asked_to_stop_at: float = 0.0
    generations: dict[int, int] = field(default_factory=dict)
    """By partition."""
    all_generations: list[int] = field(default_factory=list)
    positions: dict[int, int] = field(default_factory=dict)
    """By generation."""
    fetching: dict[int, bool] = field(default_factory=dict)
    went_back: set[int] = field(default_factory=set)
    """Generations whose records were once polled again."""


class World:
    """One run; `play` it."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self._dice = Random(seed)
        self._trace = trace
        self._now = 0.0
        self._calm = False
        self._finished = False
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._generation = 0
        self._joined = 0
        self._policy = _policy(self._dice)
        self._odds = _odds(self._dice)
        self._log = [_rows(self._dice, partition) for partition in range(self._dice.randint(1, 3))]
        self._ledger: list[list[Facts]] = [[] for _ in self._log]
        self._committed: list[CommittedOffset | None] = [None for _ in self._log]
        self._owner: list[tuple[_Member, int] | None] = [None for _ in self._log]
        self._tries: dict[tuple[int, int], int] = {}
        self._members: list[_Member] = []
        self.oracle = Oracle(
            self._log, drain_seconds=self._policy.drain_seconds, max_tries=self._policy.dispatch.retry.max_tries
        )

    # ---- time

    def play(self) -> None:
        """Run to the end; raise `Violation` when a law is broken."""
        for _ in range(self._dice.randint(1, 2)):
            self._join()
        for partition in range(len(self._log)):
            self._after(0.0, lambda p=partition: self._give(p))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        self._after(self._dice.uniform(0.5, 4), self._mischief)
        self._after(_CHAOS_SECONDS, self._calm_down)
        while not self._finished:
            if self._now > _CHAOS_SECONDS + _CALM_SECONDS:
                raise Violation(f"a dead end: {self._state()}")
            self._turn()
        self.oracle.finished()

    def _turn(self) -> None:
        """Jump to the next thing that happens: a timer of a member, or an event of the world."""
        wakes = [(due, member) for member in self._members if (due := self._wake_at(member)) is not None]
        due, member = min(wakes, key=lambda wake: wake[0], default=(float("inf"), None))
        if member is not None and due <= self._events[0][0]:
            self._now = max(self._now, due)
            again, member.woken_at = member.woken_at == self._now, self._now
            told = self._tell(member, inputs.TimePassed())
            member.idle_turns = member.idle_turns + 1 if again and not told else 0
            if member.idle_turns > 2:
                raise Violation(f"a busy loop: woken at {due:.3f}, nothing done: {self._state()}")
        else:
            self._now, _, happens = heappop(self._events)
            happens()

    def _wake_at(self, member: _Member) -> float | None:
        return member.pipeline.wake_at(self._moment(member))

    def _after(self, seconds: float, happens: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._events, (self._now + seconds, self._number, happens))

    def _chance(self, odds: float) -> bool:
        return not self._calm and self._dice.random() < odds

    def _delay(self, most: float = 1.0) -> float:
        return self._dice.random() ** 3 * most

    def _true_ms(self) -> int:
        return _START_MS + round(self._now * 1000)

    def _moment(self, member: _Member) -> Moment:
        return Moment(self._true_ms() + member.skew_ms, self._now, member.last_poll, member.vouched, self._dice.random())

    # ---- telling the core, and doing what it asks

    def _tell(self, member: _Member, told: inputs.Input) -> bool:
        """Hand an input to a member; return whether it commanded anything."""
        if not member.alive:
            return False
        if self._trace:
            print(f"{self._now:9.3f} m{member.name} < {told}")
        try:
            out = member.pipeline.handle(told, self._moment(member))
        except OutOfOrder:
            if not member.went_back:
                raise
            self._crash(member)
            return False
        for command in out:
            if self._trace:
                print(f"{self._now:9.3f} m{member.name} > {command}")
            self._carry_out(member, command)
        self._check_counts(member)
        return bool(out)

    def _tell_later(self, member: _Member, told: inputs.Input, seconds: float) -> None:
        def tell() -> None:
            self._tell(member, told)

        self._after(seconds, tell)

    def _check_counts(self, member: _Member) -> None:
        pipeline, counted = member.pipeline, member.pipeline.statistics
        accounted = (
            counted.resolved + counted.released + status.buffered_events(pipeline) + status.in_flight_events(pipeline)
        )
        if counted.records != accounted:
            raise Violation(f"conservation: {counted.records} records, {accounted} accounted for")
        if status.buffered_events(pipeline) + status.in_flight_events(pipeline) > self._policy.buffer.max_events:
            raise Violation(
                f"L5: {status.buffered_events(pipeline)} buffered, {status.in_flight_events(pipeline)} in flight"
            )
        if pipeline.dispatch.requests > self._policy.dispatch.max_in_flight:
            raise Violation(f"L5: {pipeline.dispatch.requests} requests at once")

    def _carry_out(self, member: _Member, command: commands.Command) -> None:
        match command:
            case commands.Restore(_, generation):
                self.oracle.commanded(generation, "restore")
                self._after(self._delay(), lambda: self._restore(member, command))
            case commands.Start(generation=generation, offset=offset):
                self.oracle.started(generation, offset)
                member.positions[generation] = offset
            case commands.Pause(_, generation) | commands.Resume(_, generation):
                self.oracle.commanded(generation, "pause or resume")
                member.fetching[generation] = isinstance(command, commands.Resume)
            case commands.Send():
                self._send(member, command)
            case commands.WriteLetter():
                self._write_letter(member, command)
            case commands.AppendFacts():
                self._append(member, command)
            case commands.Commit(points):
                for point in points:
                    self._commit(member, point)
            case commands.Release(partition, generation, unresolved):
                self.oracle.released(generation, unresolved, self._now)
                self._forget(member, partition.partition, generation)
                self._after(self._delay(), lambda: self._give(partition.partition))
            case commands.Stop():
                self._stopped(member)

    # ---- the group

    def _join(self) -> None:
        self._joined += 1
        member = _Member(Pipeline(self._policy), self._joined)
        self._members.append(member)
        self._after(0.0, lambda: self._poll(member))

    def _give(self, partition: int) -> None:
        """Assign a partition that nobody owns."""
        able = [member for member in self._members if not member.stopping and partition not in member.generations]
        if self._owner[partition] is not None:
            return
        if not able:
            self._after(1.0, lambda: self._give(partition))
            return
        member = self._dice.choice(able)
        if self._generation and self._chance(0.05):  # a shutdown that crosses an assignment
            self._shut_down(member)
            if not member.alive:
                self._after(1.0, lambda: self._give(partition))
                return
        self._generation += 1
        generation = self._generation
        self._owner[partition] = member, generation
        member.generations[partition] = generation
        member.all_generations.append(generation)
        self.oracle.assigned(generation, partition)
        if member.stopping:
            self.oracle.revoked(generation, self._now)
        self._tell(member, inputs.Assigned(TopicPartition(_TOPIC, partition), generation))

    def _forget(self, member: _Member, partition: int, generation: int) -> None:
        member.fetching.pop(generation, None)
        if member.generations.get(partition) == generation:
            del member.generations[partition]
        if self._owner[partition] == (member, generation):
            self._owner[partition] = None

    def _mischief(self) -> None:
        """Once in a while: a rebalance, a crash, a clock that jumps, a shutdown."""
        if self._calm:
            return
        self._after(self._dice.uniform(0.5, 6), self._mischief)
        if not self._members:
            return
        if self._chance(self._odds.clock):
            self._dice.choice(self._members).skew_ms = self._dice.choice((0, 60_000, -60_000, 600_000, -600_000, 7_200_000))
        if self._chance(self._odds.rebalance):
            partition = self._dice.randrange(len(self._log))
            self._dice.choice((self._revoke, self._lose))(partition)
        if self._chance(self._odds.crash):
            self._crash(self._dice.choice(self._members))
        if self._members and self._chance(self._odds.crash / 2):
            self._shut_down(self._dice.choice(self._members))

    def _revoke(self, partition: int) -> None:
        owner = self._owner[partition]
        if owner is not None:
            member, generation = owner
            self.oracle.revoked(generation, self._now)
            self._tell(member, inputs.Revoked((generation,)))

    def _lose(self, partition: int) -> None:
        """Take a partition away behind the owner's back: until it is told, it is a zombie."""
        owner = self._owner[partition]
        if owner is None:
            return
        member, generation = owner
        self.oracle.taken_away(generation)
        self._owner[partition] = None
        if self._dice.random() < 0.5 and any(not other.stopping for other in self._members if other is not member):
            self._give(partition)
            self._after(self._delay(6.0), lambda: self._hear_of_loss(member, partition, generation))
        else:
            self._hear_of_loss(member, partition, generation)
            self._after(self._delay(), lambda: self._give(partition))

    def _hear_of_loss(self, member: _Member, partition: int, generation: int) -> None:
        self.oracle.lost(generation)
        self._tell(member, inputs.Lost((generation,)))
        self._forget(member, partition, generation)

    def _crash(self, member: _Member) -> None:
        """Everything in memory is gone; what is under way at vendor and brokers goes on."""
        if self._trace:
            print(f"{self._now:9.3f} m{member.name} crashes")
        for generation in member.all_generations:
            self.oracle.forgotten(generation)
        self._leave(member)
        self._after(self._delay(3.0), self._join)

    def _shut_down(self, member: _Member) -> None:
        if not member.stopping:
            member.stopping, member.asked_to_stop_at = True, self._now
        for generation in member.generations.values():
            self.oracle.revoked(generation, self._now)
        self._tell(member, inputs.ShutdownRequested())
        self._after(self._policy.drain_seconds + 0.01, lambda: self._insist_on_stop(member))

    def _insist_on_stop(self, member: _Member) -> None:
        if member.alive:
            raise Violation(f"asked to stop, and did not: {self._state()}")

    def _stopped(self, member: _Member) -> None:
        if not member.stopping:
            raise Violation("stopped unasked")
        self.oracle.stopped(
            member.all_generations, in_time=self._now - member.asked_to_stop_at < self._policy.drain_seconds - 0.001
        )
        self._leave(member)
        if not self._finished and self._now < _CHAOS_SECONDS + _CALM_SECONDS:
            self._after(0.5, self._join)

    def _leave(self, member: _Member) -> None:
        member.alive = False
        self._members.remove(member)
        for partition, owner in enumerate(self._owner):
            if owner is not None and owner[0] is member:
                self.oracle.taken_away(owner[1])
                self._owner[partition] = None
                self._after(1.0, lambda p=partition: self._give(p))  # type: ignore[misc]  # as above

    # ---- the calm

    def _calm_down(self) -> None:
        self._calm = True
        for member in self._members:
            member.skew_ms = 0
        self._after(1.0, self._look_whether_done)

    def _look_whether_done(self) -> None:
        ends = [rows[-1].offset + 1 for rows in self._log]
        done = [committed.next_offset if committed else 0 for committed in self._committed] == ends
        if done and all(member.pipeline.dispatch.requests == 0 for member in self._members):
            self._after(5.0, self._close)
        else:
            self._after(1.0, self._look_whether_done)

    def _close(self) -> None:
        for member in self._members[:]:
            if not member.stopping:
                self._shut_down(member)
        self._after(self._policy.drain_seconds + 1, self._finish)

    def _finish(self) -> None:
        self._finished = True

    # ---- the log

    def _poll(self, member: _Member) -> None:
        if not member.alive:
            return
        member.last_poll = self._now
        stall = self._dice.uniform(2.0, 6.0) if self._chance(0.01) else 0.0
        self._after(self._dice.uniform(0.05, 0.4) + stall, lambda: self._poll(member))
        polls = []
        room = _POLL_EVENTS
        if member.polls_ahead < _POLLS_AHEAD:
            for generation, fetches in list(member.fetching.items()):
                if fetches and room:
                    rows = self._fetch(member, generation, room)
                    room -= len(rows)
                    if rows:
                        polls.append((generation, rows))
        if polls:
            member.polls_ahead += 1
            member.polled_by = max(member.polled_by, self._now + self._delay(0.3))
            self._after(member.polled_by - self._now, lambda: self._hand_over(member, polls))

    def _fetch(self, member: _Member, generation: int, room: int) -> list[Row]:
        position = member.positions[generation]
        if self._chance(0.002):  # a client that goes back, as librdkafka's did (issue 4686)
            position = max(0, position - 3)
            member.went_back.add(generation)
        log = self._log[self.oracle.assignments[generation].partition]
        rows = [row for row in log if row.offset >= position and row.born <= self._now][: self._dice.randint(1, room)]
        if rows:
            member.positions[generation] = max(member.positions[generation], rows[-1].offset + 1)
        return rows

    def _hand_over(self, member: _Member, polls: list[tuple[int, list[Row]]]) -> None:
        if not member.alive:
            return
        member.polls_ahead -= 1
        for generation, rows in polls:
            self.oracle.polled(generation, rows)
        self._tell(member, inputs.Polled(tuple(_columns(generation, rows) for generation, rows in polls)))

    # ---- the ledger

    def _restore(self, member: _Member, command: commands.Restore) -> None:
        if not member.alive:
            return
        if self._chance(self._odds.refused):
            operator = self._dice.random() < 0.5
            self._tell(member, inputs.RestoreFailed(command.generation, "the ledger is away", operator))
            return
        partition = command.partition.partition
        restoration = Restoration(_IDENTITY)
        for facts in self._ledger[partition]:
            restoration.take(_IDENTITY, *_packed(facts))
        end = self._log[partition][-1].offset + 1
        position = LedgerPosition("ledger", len(self._ledger[partition]))
        committed = self._committed[partition]
        state = PartitionState(0, end, committed, position)
        recovery = restoration.finish(state, OutOfRange(to_earliest=False))
        if isinstance(recovery, Refusal):
            raise Violation(f"refused to start: {recovery.sentence}")
        self.oracle.restored(command.generation, committed.next_offset if committed else 0)
        self._tell(member, inputs.Restored(command.generation, recovery))

    def _append(self, member: _Member, command: commands.AppendFacts) -> None:
        generation, partition = command.generation, command.partition.partition
        facts = Facts()
        facts.extend(command.facts)  # as it is now: a late append writes what was asked for then
        self.oracle.facts(generation, facts, self._true_ms())

        def arrive() -> None:
            self._ledger[partition].append(facts)
            self.oracle.appended(partition, facts)

        def confirm() -> None:
            arrive()
            told = inputs.FactsAppended(generation, len(self._ledger[partition]), self._true_ms())
            self._tell_later(member, told, self._delay(0.5))

        if self._chance(self._odds.append):
            self._tell_later(member, inputs.FactsFailed(generation), self._delay(2.0))
            if self._dice.random() < 0.5:
                self._after(self._delay(8.0), arrive)
        else:
            self._after(self._delay(2.0), confirm)

    def _commit(self, member: _Member, point: commands.CommitPoint) -> None:
        self.oracle.commit(point.generation, point.next_offset, point.epoch, point.metadata)
        partition = point.partition.partition
        if self._owner[partition] != (member, point.generation) or self._chance(self._odds.commit):
            self._tell_later(member, inputs.CommitFailed(point.generation), self._delay())
        else:
            self._committed[partition] = CommittedOffset(point.next_offset, point.epoch, point.metadata)
            asked = self._now
            self._after(self._delay(), lambda: self._vouch(member, asked))

    def _vouch(self, member: _Member, asked: float) -> None:
        """The coordinator has answered; it says nothing of its own accord."""
        member.vouched = max(member.vouched, asked)

    # ---- the dead-letter topic

    def _write_letter(self, member: _Member, command: commands.WriteLetter) -> None:
        row = command.record
        if not isinstance(row, Row):
            raise Violation(f"a letter without its record: {command}")
        self.oracle.letter(command.generation, row, command.flaw, command.offset)
        fails = self._chance(self._odds.letter)

        def arrive() -> None:
            if not fails or self._dice.random() < 0.5:
                self.oracle.letter_written(row, command.flaw.reason)
            if fails:
                code = self._dice.choice(_LETTER_CODES)
                self._tell(member, inputs.LetterFailed(command.generation, command.offset, code))
            elif member.alive:
                self.oracle.letter_confirmed(command.generation, row)
                self._tell(member, inputs.LetterWritten(command.generation, command.offset))

        self._after(self._delay(), arrive)

    # ---- the vendor

    def _send(self, member: _Member, command: commands.Send) -> None:
        body = command.body
        if len(body) > _MAX_BYTES or not body.startswith(b"[") or not body.endswith(b"]"):
            raise Violation(f"a body of {len(body)} bytes: {body!r}")
        rows = []
        for payload in body[1:-1].split(b","):
            partition, offset = payload.split()[:2]
            rows.append(next(row for row in self._log[int(partition)] if row.offset == int(offset)))
        if [row.payload for row in rows] != body[1:-1].split(b",") or not 1 <= len(
            rows
        ) <= self._policy.dispatch.batch.max_events:
            raise Violation(f"{command.count} events in {body!r}")
        moment = self._moment(member)
        if self._now - member.last_poll > _GATE_SECONDS:
            raise Violation("sent although the consumer thread stands still")
        if self._now - member.vouched > _GATE_SECONDS:
            raise Violation("sent although the coordinator has not answered")
        missing = [row for row in rows if row.partition not in member.generations]
        if missing:
            raise Violation(f"L4: {missing} sent without an assignment")
        generations = [member.generations[row.partition] for row in rows]
        self.oracle.sent(member.generations, rows, moment.wall_ms, self._true_ms())
        self._after(self._delay(2.0), lambda: self._arrived(member, command.request, generations, rows, len(body)))

    def _arrived(self, member: _Member, request: int, generations: list[int], rows: list[Row], size: int) -> None:
        """The request reaches the vendor; the answer takes its time."""
        accepted: list[Acceptance | None] = [None] * len(rows)
        answer: Answer
        if (len(rows) > 1 and size > _HEAVY_BODY) or any(row.nature is Nature.HEAVY for row in rows):
            answer = RequestFailed(Failure.TOO_LARGE, "http-413", status=413)
        elif any(row.nature is Nature.POISON for row in rows):
            answer = RequestFailed(Failure.REFUSED, "http-400", status=400)
        elif self._chance(self._odds.request):
            failure = self._dice.choice((Failure.TRANSIENT, Failure.TIMEOUT, Failure.THROTTLED, Failure.OPERATOR))
            retry_after = self._dice.choice((None, 0.5, 2.0))
            answer = RequestFailed(failure, self._dice.choice(("timeout", "http-5xx")), retry_after)
        else:
            answer = Verdicts(
                [
                    self._judge(generation, row, accepted, at)
                    for at, (generation, row) in enumerate(zip(generations, rows, strict=True))
                ]
            )
            if all(verdict.account for verdict in answer.verdicts):
                answer = RequestFailed(Failure.OPERATOR, "account", None, 207, account="the account")
            if self._chance(self._odds.withheld):
                answer = RequestFailed(Failure.TIMEOUT, "timeout")

        def come_back() -> None:
            if not member.alive:
                return
            for at, row in enumerate(rows):
                verdict = answer.verdicts[at] if isinstance(answer, Verdicts) else None
                kind = None if verdict is None or verdict.account else verdict.kind
                self.oracle.answered(generations[at], row, kind, accepted[at])
            self._tell(member, inputs.RequestFinished(request, answer))

        self._after(self._delay(3.0), come_back)

    def _judge(self, generation: int, row: Row, accepted: list[Acceptance | None], at: int) -> Verdict:
        tries = self._tries[row.partition, row.offset] = self._tries.get((row.partition, row.offset), 0) + 1
        if row.nature is Nature.REJECTED:
            return Verdict(VerdictKind.REJECTED, "INVALID")
        if row.nature is Nature.UNPAID and tries < 6:
            return Verdict(VerdictKind.RETRY, "PAYMENT_ISSUE", "the account")
        if row.nature is Nature.NEVER:
            return Verdict(VerdictKind.RETRY, "INTERNAL")
        if row.nature is Nature.PATIENT and tries < 3:
            return Verdict(VerdictKind.RETRY, "INTERNAL")
        accepted[at] = self.oracle.accepted(generation, row)
        return NO_VERDICT if self._chance(self._odds.no_verdict) else DELIVERED

    def _state(self) -> str:
        members = [
            (
                member.name,
                status.buffered_events(member.pipeline),
                status.in_flight_events(member.pipeline),
                status.paused(member.pipeline),
            )
            for member in self._members
        ]
        return f"at {self._now:.3f}, committed {self._committed}, members {members}"


def _policy(dice: Random) -> Policy:
    return Policy(
        freshness=FreshnessPolicy(MAX_AGE_MS, MAX_SKEW_MS),
        dedupe=DedupePolicy(MAX_AGE_MS),
        dispatch=DispatchPolicy(
            BatchPolicy(dice.choice((1, 3, 8)), _MAX_BYTES, dice.choice((0.0, 0.2))),
            Envelope(b"[", b"]"),
            max_in_flight=dice.choice((1, 2, 4)),
            poll_gate_seconds=_GATE_SECONDS,
            retry=RetryPolicy(0.3, 4.0, 3, max_alone=20),
            breaker=DeadLetterPolicy(dice.choice((0, 6, 30)), dice.choice((0.0, 0.5)), 20, 3.0, enough=dice.choice((1, 5))),
            outage=OutagePolicy(dice.choice((2, 5)), RetryPolicy(0.3, 4.0)),
        ),
        buffer=BufferPolicy(dice.choice((24, 40, 100)), 100_000, _POLL_EVENTS * _POLLS_AHEAD),
        drain_seconds=dice.choice((0.5, 5.0)),
        flush=FlushPolicy(dice.choice((0.1, 0.5)), dice.choice((2, 8, 100)), dice.choice((10, 40))),
    )


def _odds(dice: Random) -> _Odds:
    """Most seeds have a few kinds of trouble, some have none or all: rare combinations are not drowned by common ones."""
    most = _Odds(0.3, 0.15, 0.1, 0.3, 0.4, 0.2, 0.5, 0.2, 0.3, 0.3)
    often = dice.choice((0.0, 0.4, 0.7, 1.0))
    return _Odds(*(getattr(most, name) * (dice.random() < often) for name in _Odds.__slots__))


_WEIGHTS = {
    Nature.GOOD: 60,
    Nature.REJECTED: 8,
    Nature.PATIENT: 5,
    Nature.UNPAID: 4,
    Nature.NEVER: 2,
    Nature.HUGE: 3,
    Nature.HEAVY: 3,
    Nature.POISON: 2,
    Nature.FLAWED: 4,
    Nature.TIMELESS: 2,
    Nature.EMPTY: 4,
    Nature.OLD: 4,
    Nature.ANCIENT: 2,
    Nature.FUTURE: 3,
}


def _rows(dice: Random, partition: int) -> list[Row]:
    """The records of one partition, with gaps, copies, epochs that change, and events that turn stale on the way."""
    rows: list[Row] = []
    offset, epoch, born = dice.randint(0, 2), 0, 0.0
    weights = dict(_WEIGHTS) | {Nature.REJECTED: dice.choice((8, 100))}
    for _ in range(dice.randint(10, 70)):
        offset += 1 if dice.random() < 0.9 else dice.randint(2, 5)
        epoch += dice.random() < 0.03
        born += dice.random() ** 2 * dice.choice((0.1, 2.0))
        nature = dice.choices(list(weights), list(weights.values()))[0]
        key = dice.randint(1, 12).to_bytes(1, "big") * 16 if dice.random() < 0.7 else None
        rows.append(
            Row(
                partition,
                offset,
                epoch,
                born,
                nature,
                _time(dice, nature, born),
                key,
                _payload(dice, nature, partition, offset),
            )
        )
    for number in range(_HEARTBEATS):
        offset, born = offset + 1, _CHAOS_SECONDS + number * _HEARTBEAT_SECONDS
        payload = _payload(dice, Nature.GOOD, partition, offset)
        rows.append(Row(partition, offset, epoch, born, Nature.GOOD, _START_MS + round(born * 1000), None, payload))
    return rows


def _time(dice: Random, nature: Nature, born: float) -> int | None:
    now = _START_MS + round(born * 1000)
    match nature:
        case Nature.TIMELESS:
            return None
        case Nature.OLD:
            return now - MAX_AGE_MS - MAX_SKEW_MS - 30_000
        case Nature.ANCIENT:
            return now // 1000
        case Nature.FUTURE:
            return now + 2 * 86_400_000
    old = dice.choice((0, 0, 0, 3600_000, MAX_AGE_MS - 5_000, MAX_AGE_MS - 30_000, MAX_AGE_MS - MAX_SKEW_MS * 3 // 2))
    return now - old - dice.randrange(1000)


def _payload(dice: Random, nature: Nature, partition: int, offset: int) -> bytes | Flaw | None:
    match nature:
        case Nature.EMPTY:
            return None
        case Nature.FLAWED:
            return Flaw(Reason.UNDECODABLE, "bytes: not Avro")
    size = _MAX_BYTES if nature is Nature.HUGE else dice.randint(10, 120)
    return b"%d %d " % (partition, offset) + b"." * size


def _columns(generation: int, rows: Sequence[Row]) -> Poll:
    return Poll(
        TopicPartition(_TOPIC, rows[0].partition),
        generation,
        [row.offset for row in rows],
        [row.epoch for row in rows],
        [row.time_ms for row in rows],
        [row.key for row in rows],
        [row.payload for row in rows],
        [len(row.payload) if isinstance(row.payload, bytes) else 50 for row in rows],
        list(rows),
    )


def _packed(facts: Facts) -> tuple[list[tuple[int, int, Outcome, int]], bytes, list[int]]:
    """One entry as the ledger's reader hands it on."""
    runs = [
        (offset, 1, outcome, epoch)
        for offset, outcome, epoch in zip(facts.offsets, facts.outcomes, facts.epochs, strict=True)
    ]
    delivered = [at for at, outcome in enumerate(facts.outcomes) if outcome is Outcome.DELIVERED]
    keys = b"".join(facts.keys[at] or bytes(16) for at in delivered)
    return runs, keys, [facts.times[at] for at in delivered]


def run(seed: int, *, trace: bool = False) -> None:
    """Play one seed; a failure names the command that plays it again."""
    try:
        World(seed, trace=trace).play()
    except Exception as failure:
        failure.add_note(f"python -m tests.core.world --seeds {seed}-{seed} --trace")
        raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.core.world", description=__doc__)
    parser.add_argument("--seeds", default="0-999", help="the first and the last seed, as 0-999")
    parser.add_argument("--trace", action="store_true", help="tell every input and command")
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split("-"))
    failed = 0
    for seed in range(first, last + 1):
        try:
            run(seed, trace=arguments.trace)
        except Exception as failure:
            failed += 1
            print(f"{type(failure).__name__}: {failure}\n    {failure.__notes__[0]}")
    print(f"{last - first + 1} seeds, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
