"""The pipeline: what the shell reports goes in, what the shell must do comes out. The one place where the parts meet.

Laws (docs/how-it-works.md#the-guarantee; the simulation checks each from outside):

L1  A next offset is committed only when every received record below it is resolved, and its fact is in the ledger.
L2  A record is resolved by exactly one of: delivered, duplicate, stale, ignored, dead-lettered. It leaves no other way than
    being given back at the end of its assignment (released).
L3  A key counts as seen only once Amazon acknowledged its event.
L4  After an assignment has ended nothing of it is committed or sent; facts about what was sent are still written down.
L5  Every buffer has a bound. At the bound the pipeline pauses, it never drops.
L6  What fails for all alike never dead-letters an event; a verdict on an event stops no other (but for the breaker).
L7  Nothing is judged by a clock that disagrees with the brokers'.

The loop over a poll and the loop over verdicts are plain and make one `Event` per record that is kept; everything else
happens a handful of times per batch, in `_settle`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from connector.core import exchange as x
from connector.core.assignment import TOO_LARGE, Assignment, Letter, Phase
from connector.core.dedupe import DedupePolicy, DedupeWindow, SeenKeys, Sighting
from connector.core.dispatch import Dispatch, DispatchPolicy, Request
from connector.core.doubts import Doubt, Kind, Repeats
from connector.core.freshness import Clock, Freshness, FreshnessPolicy
from connector.core.recovery import LedgerPosition, commit_metadata
from connector.core.statistics import Statistics
from connector.model import (
    Event,
    Facts,
    Failure,
    Flaw,
    Manner,
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

__all__ = ["BufferPolicy", "FlushPolicy", "Pipeline", "Policy"]

_MAX_AHEAD = 100_000
"""Offsets received beyond a partition's frontier: with one event stuck, the others go on this far (about 10 MB)."""
_PROBE_SECONDS = 5.0
"""While the clocks disagree, or the ledger is silent, the brokers are asked this often (by an empty ledger entry)."""
_LETTER_TRIES = 3
"""Failures to write a letter, in a row, after which it is an operator's matter: its partition stands still."""
_READ_TRIES = 3
"""Failures to read a partition, in a row, after which it is an operator's matter."""
_VOUCH_AGAIN_SECONDS = 1.0
"""How often the coordinator is asked whether we are a member still, until it has answered."""
_NO_CHANCE = 1.0
"""Of a wait that is one partition's alone: no other comes back at the same moment."""
_LOOK = "Look at the dead-letter topic, its settings, and this client's rights to it"
_TOO_SMALL = (
    "The dead-letter topic does not even take a record's headers of ours: raise its max.message.bytes, and "
    "KAFKA_MESSAGE_MAX_BYTES if that is set"
)
_EXPIRY_SECONDS = 60.0
"""How often the windows forget what is too old."""
_SWEEP_SECONDS = 0.05
"""Between two steps of a sweep over a window, so that the loop turns meanwhile."""


@dataclass(frozen=True, slots=True)
class BufferPolicy:
    """How much may be held unresolved, in all, and what polls already under way may still add when it pauses.

    With polls under way that hold no more than the headroom, the most is never exceeded.
    """

    max_events: int
    max_bytes: int
    headroom_events: int = 0
    headroom_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """When facts go to the ledger (docs/how-it-works.md#the-ledger)."""

    interval_seconds: float = 1.0
    max_facts: int = 10_000
    """Of one entry; about 0.25 MB, below any sensible ``max.message.bytes``."""
    max_unconfirmed: int = 50_000
    """With more facts than this unconfirmed nothing more is sent."""
    max_silence_seconds: float = 5.0
    """With facts under way so long, and none confirmed of any partition, nothing more is sent: whoever cannot reach the
    brokers may have lost its partitions to another member, and all it sends without writing it down is sent again."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the pipeline is told once."""

    freshness: FreshnessPolicy
    dedupe: DedupePolicy
    dispatch: DispatchPolicy
    buffer: BufferPolicy
    drain_seconds: float
    flush: FlushPolicy = field(default_factory=FlushPolicy)
    stop_on_verdict: bool = False
    """``ON_VERDICT=stop``."""
    session_seconds: float = float("inf")
    """Without an answer of the coordinator for so long, partitions count as lost and begin anew. Infinite by the classic
    protocol, whose client watches the session itself, and may wait longer for a rebalance that others hold up."""


class Pipeline:
    """Turns inputs into commands. One caller; not thread-safe."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._assignments: dict[int, Assignment] = {}
        self._dispatch = Dispatch(policy.dispatch)
        self._retry = policy.dispatch.retry
        self._clock = Clock(policy.freshness.max_skew_ms)
        self._agrees = True
        self._confirmed_at = float("-inf")  # monotonic second at which an append to the ledger was last confirmed
        self._silent = False  # whether the ledger has not answered for longer than it may
        self._probe_at = 0.0
        self._vouched = False  # whether the coordinator has said of late that we are a member
        self._vouch_at = 0.0  # monotonic second before which it is not asked again
        self._restarts: dict[TopicPartition, int] = {}  # of a partition, in a row and without progress
        self._unjudged: list[Poll] = []  # polled while the clocks disagreed, not taken in; bounded, for polling is paused
        self._full = False
        self._stopping = False
        self._stop_by: float | None = None  # monotonic second at which it ends whatever is still under way
        self._stop_verdict: str | None = None
        self._expire_at = 0.0
        self._left: list[SeenKeys] = []  # windows of assignments that ended; freed like a sweep, for it takes as long
        self._out: list[x.Command] = []
        self._repeats = Repeats()
        self._doubts: dict[Kind, Doubt] = {}
        self.statistics = Statistics()

    # ---- what the shell calls

    def handle(self, told: x.Input, now: Moment) -> list[x.Command]:  # noqa: PLR0912 - one line per kind of input
        """Take one input; return what to do, in order."""
        self._agrees = self._clock.agrees(now)
        self._vouched = now.monotonic - now.vouched <= self._policy.dispatch.poll_gate_seconds
        match told:
            case x.Polled(polls):
                for poll in polls:
                    self._polled(poll, now)
            case x.Unreadable():
                self._unreadable(told, now)
            case x.RequestFinished():
                self._request_finished(told, now)
            case x.FactsAppended():
                self._facts_appended(told, now)
            case x.FactsFailed():
                self._facts_failed(told, now)
            case x.LetterWritten():
                self._letter_written(told)
            case x.LetterFailed():
                self._letter_failed(told, now)
            case x.CommitFailed(generation):
                self._commit_failed(generation, now)
            case x.Assigned(partition, generation, truncated, anew):
                self._assigned(Assignment(partition, generation, truncated), anew, now)
            case x.Restored():
                self._restored(told, now)
            case x.RestoreFailed():
                self._restore_failed(told, now)
            case x.Revoked(generations):
                for generation in generations:
                    self._drain(generation, now)
            case x.Lost(generations):
                for generation in generations:
                    self._end(generation, now)
            case x.TopicSeen():
                self._topic_seen(told)
            case x.ShutdownRequested():
                self._shut_down(None, now)
            case x.TimePassed():
                pass
            case _:
                assert_never(told)
        self._settle(now)
        self._out, out = [], self._out
        return out

    def wake_at(self, now: Moment) -> float | None:
        """Return the monotonic second at which `TimePassed` is to be reported if nothing else happens; None for never."""
        times = [self._dispatch.due(now) if self._may_send() else None, self._stop_by]
        for part in self._assignments.values():
            times += (self._restores_at(part), part.letters_due, part.read_due)
            if part.flushing is None:
                times.append(part.flush_due)
            if part.phase is Phase.DRAINING:
                times.append(part.drain_by)
            if part.commits:
                times.append(part.commit_due)
            if part.parked:
                times.append(self._dispatch.breaker.letter_due())
            if part.phase is Phase.RUNNING:
                times.append(self._vouch_due(now))
        if self._assignments or self._left:
            times.append(self._expire_at if self._agrees else self._probe_at)
            if self._silent:
                times.append(self._probe_at)
        return min((time for time in times if time is not None), default=None)

    def may_start(self, generations: frozenset[int], now: Moment) -> bool:
        """Tell whether a request that was asked for may still go out: its sink may have waited for a token meanwhile.

        Nothing of an assignment that ended is sent, nor anything while the consumer's thread does not poll or the group's
        coordinator does not answer (docs/how-it-works.md#what-may-be-sent-twice).
        Of events of several assignments those that are still
        ours are sent again without the others.
        """
        ours = {part.generation for part in self.assignments}
        return generations <= ours and self._policy.dispatch.may_send(now)

    @property
    def assignments(self) -> list[Assignment]:
        """The assignments that are ours: to look at, not to change."""
        return [part for part in self._assignments.values() if part.live]

    @property
    def in_flight_events(self) -> int:
        """Events handed to the sink, outcome unknown, of assignments that are ours."""
        return sum(part.in_flight for part in self.assignments)

    @property
    def buffered_events(self) -> int:
        """Records neither in flight nor resolved: waiting, in a batch to come, to be sent again, or becoming letters."""
        return sum(part.held - part.in_flight for part in self.assignments)

    @property
    def held_bytes(self) -> int:
        """Size of the records buffered and in flight."""
        return sum(part.held_bytes for part in self.assignments)

    @property
    def in_flight_requests(self) -> int:
        """Requests out."""
        return self._dispatch.requests

    @property
    def concurrency_limit(self) -> int:
        """Requests that may be out at once."""
        return self._dispatch.limit

    @property
    def batch_bytes_limit(self) -> int:
        """The size that bodies stay below: the policy's, or less since Amazon found one too large."""
        return self._dispatch.most_bytes

    def doubts(self) -> list[Doubt]:
        """Return what is to be told of dedupe keys since it was asked last; of each kind the latest."""
        told = list(self._doubts.values())
        self._doubts.clear()
        return told

    def needs_operator(self) -> list[str]:
        """Return the sentences that need an operator; while there is one the connector is unready."""
        if not self.assignments:
            return []  # a member without partitions waits for nobody
        sentences = [sentence for sentence in (self._dispatch.verdict, self._dispatch.account) if sentence]
        if self._dispatch.breaker.open:
            sentences.append(self._breaker_sentence())
        if not self._agrees:
            sentences.append(
                f"the wall clock is {self._clock.disagreement_ms / 1000:+.0f} s off the brokers': nothing is judged or sent "
                "until they agree within MAX_CLOCK_SKEW. Mend the clock of this host, or of the brokers"
            )
        refusals = {part.refusal: None for part in self.assignments if part.refusal}
        unwritable = [
            f"dead letters of {part.partition} cannot be written ({part.letter_failure}): it stands still until they can. "
            + (_TOO_SMALL if part.letter_failure in TOO_LARGE else _LOOK)
            for part in self.assignments
            if part.letter_failures >= _LETTER_TRIES
        ]
        unreadable = [_unreadable_sentence(part) for part in self.assignments if part.read_tries >= _READ_TRIES]
        return [*sentences, *refusals, *unwritable, *unreadable]

    def _breaker_sentence(self) -> str:
        return (
            f"{self._dispatch.breaker.why}: consumption is paused; once a minute an event is tried, and more as they pass. "
            "Look at the dead letters' reasons; a setting or a producer is the usual cause. To let them all become dead "
            "letters, raise DEAD_LETTER_MAX_CONSECUTIVE and DEAD_LETTER_MAX_RATIO (0: no limit) and restart"
        )

    def paused(self) -> dict[str, int]:
        """Return how many partitions are paused, by reason; what holds for all counts them all."""
        live = self.assignments
        everywhere = {
            "buffer_full": self._full,
            "clock": not self._agrees,
            "operator": self._dispatch.verdict is not None,
            "breaker": self._dispatch.breaker.open,
            "outage": self._dispatch.away,
            "ledger": self._silent or self._unconfirmed > self._policy.flush.max_unconfirmed,
        }
        return {
            "restoring": sum(part.phase in {Phase.RESTORING, Phase.OPENING} and not part.refusal for part in live),
            "refused": sum(part.refusal is not None for part in live),
            "dead_letter": sum(part.letter_failures > 0 for part in live),
            "unreadable": sum(part.read_tries > 0 for part in live),
            "coordinator": 0 if self._vouched else sum(part.phase is Phase.RUNNING for part in live),
            "ahead": sum(len(part.tracker) > _MAX_AHEAD for part in live),
            "draining": sum(part.phase is Phase.DRAINING for part in live),
        } | {reason: len(live) if holds else 0 for reason, holds in everywhere.items()}

    # ---- records come in

    def _polled(self, poll: Poll, now: Moment) -> None:  # noqa: PLR0912, PLR0915 - a call per check costs more than the check
        part = self._assignments.get(poll.generation)
        if part is None or part.phase is not Phase.RUNNING:
            return
        if not self._agrees or self._unjudged:  # in order: what came before waits still
            self._unjudged.append(poll)
            return
        if part.read_tries and max(poll.reached, poll.offsets[-1] + 1 if poll.offsets else 0) > part.unreadable_at:
            part.unreadable, part.read_tries, part.read_due = "", 0, None
        policy = self._policy.freshness
        oldest, newest = now.wall_ms - policy.max_age_ms, now.wall_ms + policy.max_skew_ms
        tracker, facts, resolved, beyond = part.tracker, part.facts, part.resolved, part.resolved.beyond
        window, sight, fits, batch = part.window, part.window.sight, self._dispatch.fits, self._dispatch.buffer
        generation, since, received, held, already, known = poll.generation, now.monotonic, 0, 0, [], len(facts)
        for offset, epoch, time_ms, key, payload, size, record in zip(
            poll.offsets, poll.epochs, poll.times, poll.keys, poll.payloads, poll.sizes, poll.records, strict=True
        ):
            if not tracker.track(offset, epoch):
                continue
            received += 1
            # In the order of docs/how-it-works.md#order-of-the-checks: already resolved; no value; undecodable;
            # time implausible; stale; breaks a rule; duplicate; too large.
            if offset < beyond and resolved.covers(offset, epoch):
                already.append(offset)
                continue
            if payload is None:
                facts.add(offset, epoch, Outcome.IGNORED)
                continue
            if time_ms is not None and not oldest <= time_ms <= newest:
                untimely = policy.judge(time_ms, now.wall_ms)
                if untimely is Freshness.STALE:
                    facts.add(offset, epoch, Outcome.STALE)
                    continue
                payload = Flaw(Reason.IMPLAUSIBLE_TIME, f"timestamp: {untimely.value}")  # noqa: PLW2901 - the flaw travels in its place
            held += 1
            part.held_bytes += size
            if not isinstance(payload, bytes) or time_ms is None:
                flaw = payload if isinstance(payload, Flaw) else Flaw(Reason.MISSING_FIELD, "timestamp: missing")
                self._write_letter(part, Letter(offset, epoch, flaw, record, size), now)
                continue
            event = Event(generation, offset, epoch, time_ms, key, payload, size, record, since)
            if key is not None:
                sighting = sight(key, event)
                if sighting is Sighting.DUPLICATE:
                    facts.add(offset, epoch, Outcome.DUPLICATE)
                    held -= 1
                    part.held_bytes -= size
                    self._repeated(part, key, offset)
                    continue
                if sighting is Sighting.IN_FLIGHT:
                    self._compare(part, window.wait(key, event), event)
                    continue
            if fits(payload):
                batch(event)
            else:
                self._write_letter(part, self._too_large(event), now)
                self._first_ended(part, key, now)
        part.held += held
        tracker.resolve(already)
        tracker.reach(poll.reached)
        statistics, outcomes = self.statistics, facts.outcomes[known:]
        statistics.records += received
        statistics.already_resolved += len(already)
        for outcome in (Outcome.IGNORED, Outcome.STALE, Outcome.DUPLICATE):
            statistics.outcomes[outcome] += outcomes.count(outcome)

    def _repeated(self, part: Assignment, key: bytes, offset: int) -> None:
        doubt = self._repeats.note(key, part.partition, offset, self.statistics.records)
        self.statistics.doubtful_duplicates[Kind.REPEATED] = self._repeats.doubtful
        if doubt is not None:
            self._doubts[doubt.kind] = doubt

    def _compare(self, part: Assignment, first: Event, copy: Event) -> None:
        """Doubt the key of a copy that holds something else than the event in flight: once that is taken it is dropped."""
        if copy.payload != first.payload and self._policy.dedupe.differ(first.payload, copy.payload):
            self.statistics.doubtful_duplicates[Kind.DIFFERENT] += 1
            copies = self.statistics.doubtful_duplicates[Kind.DIFFERENT]
            here, there = (f"{part.partition}@{event.offset}" for event in (first, copy))
            self._doubts[Kind.DIFFERENT] = Doubt(Kind.DIFFERENT, here, there, copies)

    def _unreadable(self, told: x.Unreadable, now: Moment) -> None:
        """Try again later: a replica that is sound may lead by then, or somebody has mended this one."""
        part = self._assignments.get(told.generation)
        if part is not None and part.phase is Phase.RUNNING:
            part.fetching = False  # for the source has paused it
            part.unreadable, part.unreadable_at = told.code, told.offset
            part.read_tries += 1
            part.read_due = now.monotonic + self._retry.delay(part.read_tries, _NO_CHANCE)

    # ---- fates

    def _resolve(self, part: Assignment, held: Event | Letter, outcome: Outcome, key: bytes | None, time_ms: int) -> None:
        """Note the fate of a held record."""
        part.facts.add(held.offset, held.epoch, outcome, key, time_ms)
        part.let_go(held)

    def _dead_letter(self, part: Assignment, event: Event, flaw: Flaw, now: Moment) -> None:
        self._write_letter(part, Letter(event.offset, event.epoch, flaw, event.record, event.size), now)
        self._first_ended(part, event.key, now)

    def _too_large(self, event: Event) -> Letter:
        flaw = Flaw(Reason.TOO_LARGE, f"event: larger than a request may be ({self._policy.dispatch.batch.max_bytes} bytes)")
        return Letter(event.offset, event.epoch, flaw, event.record, event.size)

    def _first_ended(self, part: Assignment, key: bytes | None, now: Moment) -> None:
        """Let the next copy of an event that ended undelivered take its place; its freshness is judged when it is sent."""
        if key is None or part.phase is not Phase.RUNNING:
            return  # after a drain began the copies are given back with the rest
        while (copy := part.window.ended(key)) is not None:
            if self._dispatch.fits(copy.payload):
                self._dispatch.buffer(copy)
                return
            self._write_letter(part, self._too_large(copy), now)

    def _went_stale(self, part: Assignment, event: Event, now: Moment) -> None:
        self._resolve(part, event, Outcome.STALE, None, 0)
        self.statistics.outcomes[Outcome.STALE] += 1
        self._first_ended(part, event.key, now)

    def _write_letter(self, part: Assignment, letter: Letter, now: Moment) -> None:
        """Write a letter, or hold it back while there are too many."""
        breaker = self._dispatch.breaker
        breaker.dead_lettered(now.monotonic)
        if breaker.open:
            part.parked[letter.offset] = letter
        else:
            self._put_letter(part, letter)

    def _put_letter(self, part: Assignment, letter: Letter) -> None:
        part.letters[letter.offset] = letter
        self._out.append(
            x.WriteLetter(part.partition, part.generation, letter.offset, letter.record, letter.flaw, letter.manner)
        )

    def _letter_written(self, told: x.LetterWritten) -> None:
        part = self._assignments[told.generation]
        letter = part.letters.pop(told.offset)
        part.letter_failures = 0
        if part.live:
            self._resolve(part, letter, Outcome.DEAD_LETTERED, None, 0)
            self.statistics.outcomes[Outcome.DEAD_LETTERED] += 1
            self.statistics.dead_letters[letter.flaw.reason] += 1
        else:
            part.facts.add(letter.offset, letter.epoch, Outcome.DEAD_LETTERED)
            part.let_go(letter)

    def _letter_failed(self, told: x.LetterFailed, now: Moment) -> None:
        part = self._assignments[told.generation]
        letter = part.letters.pop(told.offset)
        if not part.live:
            part.let_go(letter)
        elif letter.refused(told.code):
            self._put_letter(part, letter)  # at once: the manners are few, and each is tried once
        else:
            letter.manner = Manner()  # an operator may have mended the topic meanwhile
            part.unwritten[told.offset] = letter
            part.letter_failures += 1
            part.letter_failure = told.code
            part.letters_due = now.monotonic + self._retry.delay(part.letter_failures, told.chance)

    # ---- answers

    def _request_finished(self, told: x.RequestFinished, now: Moment) -> None:
        request = self._dispatch.finish(told.request)
        for event in request.events:
            part = self._assignments[event.generation]
            part.in_flight -= 1
            if not part.live:
                part.let_go(event)
        match told.answer:
            case Verdicts():
                self._verdicts(request, told.answer, told.chance, now)
            case RequestFailed():
                self._request_failed(request, told.answer, told.chance, now)
            case _:
                assert_never(told.answer)

    def _verdicts(self, request: Request, answer: Verdicts, chance: float, now: Moment) -> None:
        assignments = self._assignments
        delivered, refused = 0, 0
        open_events: list[tuple[Event, Verdict]] = []
        for_account: list[Event] = []
        why = ""
        for event, verdict in zip(request.events, answer.verdicts, strict=True):
            part = assignments[event.generation]
            kind = verdict.kind
            if kind is VerdictKind.DELIVERED:
                delivered += 1
                self._delivered(part, event, now)
                continue
            refused += kind is VerdictKind.REJECTED
            if not part.live:
                self.statistics.late_answers += 1
            elif kind is VerdictKind.REJECTED:
                self._dead_letter(part, event, Flaw(Reason.REJECTED, verdict.detail), now)
            elif verdict.account:
                for_account.append(event)
                why = verdict.account
            else:
                open_events.append((event, verdict))
        alone = len(request.events) == 1
        if delivered or refused:
            self._dispatch.answered(request, delivered, now)
            self._own_tries(request, open_events, chance, now)
            self._wait_for_account(request, for_account, why, chance, now)
        elif for_account and self._dispatch.of_these_alone(request):
            self._own_tries(request, open_events, chance, now)
            self._wait_for_account(request, for_account, why, chance, now)
        elif for_account:
            events = for_account + [event for event, _ in open_events]
            failed = RequestFailed(Failure.OPERATOR, "account", detail=f"Amazon takes no event: {why}")
            self._failed(request, events, failed, chance, now)
        elif self._dispatch.proven(request) and (alone or all(event.tries for event in request.events)):
            self._own_tries(request, open_events, chance, now)  # of all that were sent, these alone get no verdict
        elif alone and open_events and self._is_hopeless(request, open_events[0][1]):
            event, verdict = open_events[0]
            flaw = Flaw(Reason.NO_VERDICT, verdict.detail)
            self._dead_letter(self._assignments[event.generation], event, flaw, now)
        else:
            self._no_verdict_at_all(request, open_events, chance, now)

    def _is_hopeless(self, request: Request, verdict: Verdict) -> bool:
        return verdict.kind is VerdictKind.RETRY and request.attempt + 1 >= self._retry.max_alone

    def _own_tries(self, request: Request, open_events: list[tuple[Event, Verdict]], chance: float, now: Moment) -> None:
        """Send again what got no final verdict while others got theirs, a bounded number of times."""
        again: list[Event] = []
        for event, verdict in open_events:
            part = self._assignments[event.generation]
            event.tries += 1
            if event.tries >= self._retry.max_tries:
                flaw = Flaw(Reason.NO_VERDICT, verdict.detail or "no verdict on this event")
                self._dead_letter(part, event, flaw, now)
            elif part.phase is Phase.RUNNING:
                again.append(event)
        if again:
            self._dispatch.again(request, again, chance, now)
            self.statistics.retries["no-verdict"] += len(again)

    def _no_verdict_at_all(
        self, request: Request, open_events: list[tuple[Event, Verdict]], chance: float, now: Moment
    ) -> None:
        """Send all again: an answer without a final verdict says nothing about any one event.

        See docs/how-it-works.md#shared-failures.
        """
        events = [event for event, _ in open_events if self._assignments[event.generation].phase is Phase.RUNNING]
        if any(verdict.kind is VerdictKind.RETRY for _, verdict in open_events):
            passing = RequestFailed(Failure.TRANSIENT, "retry-all")
            self._dispatch.failed(request, events, passing, chance, now)
        else:
            self._dispatch.unjudged(request, events, chance, now)
        if events:
            self.statistics.retries["no-verdict"] += len(events)

    def _delivered(self, part: Assignment, event: Event, now: Moment) -> None:
        if not part.live:
            self.statistics.late_answers += 1
            part.facts.add(event.offset, event.epoch, Outcome.DELIVERED, event.key, event.time_ms)
            return
        self._resolve(part, event, Outcome.DELIVERED, event.key, event.time_ms)
        self.statistics.delivered(now.wall_ms - event.time_ms)
        if event.key is not None:
            for copy in part.window.delivered(event.key, max(event.time_ms, self._clock.brokers_ms(now))):
                self._resolve(part, copy, Outcome.DUPLICATE, None, 0)
                self.statistics.outcomes[Outcome.DUPLICATE] += 1
                self._repeated(part, event.key, copy.offset)

    def _request_failed(self, request: Request, failed: RequestFailed, chance: float, now: Moment) -> None:
        events = [event for event in request.events if self._assignments[event.generation].phase is Phase.RUNNING]
        if self._dispatch.at_fault(request, failed):
            if failed.failure is Failure.TOO_LARGE:
                flaw = Flaw(Reason.TOO_LARGE, "event: larger than Amazon takes (413)")
            else:
                flaw = Flaw(Reason.REJECTED, f"{failed.detail or failed.reason}, to a request of this event alone")
            for event in events:
                self._dead_letter(self._assignments[event.generation], event, flaw, now)
            return
        if failed.account and self._dispatch.of_these_alone(request):
            self._wait_for_account(request, events, failed.account, chance, now)
        else:
            self._failed(request, events, failed, chance, now)

    def _failed(self, request: Request, events: list[Event], failed: RequestFailed, chance: float, now: Moment) -> None:
        running = [event for event in events if self._assignments[event.generation].phase is Phase.RUNNING]
        self._dispatch.failed(request, running, failed, chance, now)
        if running:
            self.statistics.retries[failed.reason] += len(running)

    def _wait_for_account(self, request: Request, events: list[Event], why: str, chance: float, now: Moment) -> None:
        """Let those wait that were refused for the account while others passed (docs/how-it-works.md#shared-failures)."""
        running = [event for event in events if self._assignments[event.generation].phase is Phase.RUNNING]
        if running:
            self._dispatch.wait_for_account(request, running, why, chance, now)
            self.statistics.retries["account"] += len(running)

    # ---- facts and commits

    def _append(self, part: Assignment, facts: Facts, now: Moment) -> None:
        part.flushing, part.flush_due = facts, None
        if part.unconfirmed_since is None:
            part.unconfirmed_since = now.monotonic
        self._out.append(x.AppendFacts(part.partition, part.generation, part.topic_id, facts))

    @property
    def _unconfirmed(self) -> int:
        return sum(len(part.facts) + len(part.flushing or ()) for part in self._assignments.values())

    def _facts_appended(self, told: x.FactsAppended, now: Moment) -> None:
        part = self._assignments[told.generation]
        facts, part.flushing, part.failures = part.flushing, None, 0
        part.unconfirmed_since, self._confirmed_at = None, now.monotonic
        if told.append_ms is not None:
            self._clock.appended(told.append_ms, now)
            self._agrees = self._clock.agrees(now)
        if not part.live or facts is None:
            return
        part.tracker.resolve(facts.offsets)
        part.commit_due = now.monotonic
        if told.append_ms is not None:
            part.landmarks.passed(told.next_offset - 1, told.append_ms)
        if told.next_offset > part.position.next_offset:
            part.position = LedgerPosition(part.position.topic_id, told.next_offset)
        if part.phase is Phase.OPENING:
            self._open(part, now)

    def _open(self, part: Assignment, now: Moment) -> None:
        """Start, now that an entry was confirmed, if the clock may be believed; else ask the brokers for the time again."""
        if self._agrees:
            part.phase, part.fetching, part.running_since = Phase.RUNNING, False, now.monotonic
            self._out.append(x.Start(part.partition, part.generation, *part.start, part.topic_id))
        else:
            part.flush_due = now.monotonic + _PROBE_SECONDS

    def _facts_failed(self, told: x.FactsFailed, now: Moment) -> None:
        """Write them again: facts are a set, so one that was written all the same does no harm."""
        part = self._assignments[told.generation]
        facts = Facts() if part.flushing is None else part.flushing  # an empty one may say where the assignment begins
        facts.extend(part.facts)
        part.facts, part.flushing = facts, None
        part.failures += 1
        # A drain cannot wait for a long backoff: what is not written down by its end may be sent again.
        failures = 1 if part.phase is Phase.DRAINING else part.failures
        part.flush_due = now.monotonic + self._retry.delay(failures, told.chance)

    def _commit_failed(self, generation: int, now: Moment) -> None:
        part = self._assignments.get(generation)
        if part is not None and part.live:
            # Not below its start: the failure may be of an older assignment's commit, and nothing of this one is resolved.
            part.asked_to_commit = part.start[0]
            part.commit_due = now.monotonic + self._retry.cap_seconds / 10

    # ---- the life of an assignment

    def _assigned(self, part: Assignment, anew: bool, now: Moment) -> None:
        """Restore it: later and later where it begins anew again and again, and nothing comes of it in between."""
        if self._stopping:
            self._out.append(x.Release(part.partition, part.generation, 0))
            return
        self._assignments[part.generation] = part
        restarts = self._restarts.get(part.partition, 0) if anew else 0
        self._restarts[part.partition] = restarts + 1
        part.restore_due = now.monotonic + (self._retry.delay(restarts, _NO_CHANCE) if restarts else 0.0)
        part.waits_until = part.restore_due + self._policy.drain_seconds

    def _restores_at(self, part: Assignment) -> float | None:
        """Return the monotonic second at which a restore may be tried; None while one is, or older requests are out.

        What an older assignment of the partition sent would be sent again if its facts were not in the ledger by then. An
        answer comes within the time-out of its request; facts are waited for as long as by a drain.
        """
        older = self._older(part)
        if part.restore_due is None or any(each.in_flight for each in older):
            return None
        return max(part.restore_due, part.waits_until) if older else part.restore_due

    def _older(self, part: Assignment) -> list[Assignment]:
        """Return the assignments of the same partition that have ended with something still under way.

        Whoever has the partition next, this process or another, sends again what they have not written down.
        """
        return [each for each in self._assignments.values() if each.partition == part.partition and not each.live]

    def _restored(self, told: x.Restored, now: Moment) -> None:
        part = self._assignments.get(told.generation)
        if part is not None and part.phase is Phase.RESTORING:
            part.restored(told.recovery)
            self._append(part, Facts(start=part.start[0]), now)

    def _topic_seen(self, told: x.TopicSeen) -> None:
        """Start over on a recreated topic; a classic consumer reads on in it from its old offset (tried)."""
        for part in self._assignments.values():
            if part.phase is Phase.RUNNING and part.partition.topic == told.topic and part.topic_id != told.topic_id:
                self._out.append(x.StartOver(part.partition, part.generation))

    def _restore_failed(self, told: x.RestoreFailed, now: Moment) -> None:
        part = self._assignments.get(told.generation)
        if part is None or part.phase is not Phase.RESTORING:
            return
        part.failures += 1
        part.restore_due = now.monotonic + self._retry.delay(part.failures, told.chance)
        part.refusal = told.sentence if told.needs_operator else None
        if told.needs_operator and self._policy.stop_on_verdict:
            self._shut_down(told.sentence, now)

    def _drain(self, generation: int, now: Moment) -> None:
        """Finish what is in flight; what was not sent is given back."""
        part = self._assignments.get(generation)
        if part is None or part.phase in {Phase.DRAINING, Phase.ENDED}:
            return
        if part.phase is not Phase.RUNNING and not self._older(part):
            self._end(generation, now)
            self._out.append(x.Release(part.partition, generation, 0))
            return
        part.phase, part.drain_by, part.restore_due = Phase.DRAINING, now.monotonic + self._policy.drain_seconds, None
        self._give_back(part)

    def _give_back(self, part: Assignment) -> None:
        part.parked = {}
        self._dispatch.give_back(part.generation)
        self._unjudged = [poll for poll in self._unjudged if poll.generation != part.generation]

    def _end(self, generation: int, now: Moment) -> None:
        """From here on nothing of this assignment is committed or sent."""
        part = self._assignments.get(generation)
        if part is None or not part.live:
            return
        lasted = part.phase is Phase.RUNNING and now.monotonic - part.running_since > self._retry.cap_seconds
        if lasted or part.tracker.next_offset > part.start[0]:
            self._restarts[part.partition] = 0
        part.phase, part.restore_due = Phase.ENDED, None
        self.statistics.released += part.held
        self._give_back(part)
        part.unwritten, part.letters_due = {}, None
        # What is still under way takes up memory; all else was given back, and must not keep the buffer full.
        under_way: list[Event | Letter] = [*self._dispatch.in_flight(generation), *part.letters.values()]
        part.held, part.held_bytes = len(under_way), sum(each.size for each in under_way)
        self._left.append(part.window.seen)
        part.window = DedupeWindow(SeenKeys())
        self._expire_at = 0.0

    def _shut_down(self, verdict: str | None, now: Moment) -> None:
        if not self._stopping:
            self._stopping, self._stop_verdict = True, verdict
            self._stop_by = now.monotonic + self._policy.drain_seconds
            for generation in list(self._assignments):
                self._drain(generation, now)

    # ---- after every input

    def _settle(self, now: Moment) -> None:
        self._silent = self._is_silent(now)
        if self._unjudged and self._agrees:
            self._unjudged, polls = [], self._unjudged
            for poll in polls:
                self._polled(poll, now)
        if self._policy.stop_on_verdict and (verdict := self._stopping_verdict()) is not None:
            self._shut_down(verdict, now)
        self._send_due(now)
        self._probe(now)
        committing: list[Assignment] = []
        for part in self._assignments.values():
            self._try_again(part, now)
            self._flush(part, now)
            self._outlive(part, now)
            if part.commits and now.monotonic >= part.commit_due:
                committing.append(part)
        if committing := committing or self._to_vouch_by(now):
            self._out.append(x.Commit(tuple(self._commit_point(part, now) for part in committing)))
        self._finish_drains(now)
        self._settle_fetching(now)
        self._expire(now)

    def _stopping_verdict(self) -> str | None:
        return self._breaker_sentence() if self._dispatch.breaker.open else self._dispatch.stops

    def _send_due(self, now: Moment) -> None:
        oldest = now.wall_ms - self._policy.freshness.max_age_ms
        while self._may_send() and (taken := self._dispatch.take(now)) is not None:
            events = taken.events
            if min(event.time_ms for event in events) < oldest:
                for event in events:
                    if event.time_ms < oldest:
                        self._went_stale(self._assignments[event.generation], event, now)
                taken.events = [event for event in events if event.time_ms >= oldest]
            if taken.events:
                request, body = self._dispatch.start(taken, now)
                for event in request.events:
                    self._assignments[event.generation].in_flight += 1
                generations = frozenset(event.generation for event in request.events)
                self._out.append(x.Send(request.number, body, len(request.events), request.attempt, generations))

    def _may_send(self) -> bool:
        """Tell whether events may be judged, and facts about them be held and written down."""
        return self._agrees and not self._silent and self._unconfirmed <= self._policy.flush.max_unconfirmed

    def _is_silent(self, now: Moment) -> bool:
        """Tell whether the ledger has not answered for longer than it may. One partition's trouble does not silence it."""
        since = min(
            (p.unconfirmed_since for p in self._assignments.values() if p.unconfirmed_since is not None), default=None
        )
        return since is not None and now.monotonic - max(since, self._confirmed_at) > self._policy.flush.max_silence_seconds

    def _probe(self, now: Moment) -> None:
        """While nothing is sent, nothing else would ask the brokers for the time, or find out that they answer again.

        Without it one ledger partition that cannot be written would stop them all: the others have nothing to write, so none
        is ever confirmed.
        """
        if (self._agrees and not self._silent) or now.monotonic < self._probe_at:
            return
        self._probe_at = now.monotonic + _PROBE_SECONDS
        for part in self._assignments.values():
            if part.phase is Phase.RUNNING and part.flush_due is None and part.flushing is None:
                part.flush_due = now.monotonic
                return

    def _to_vouch_by(self, now: Moment) -> list[Assignment]:
        """Return what to commit again, so that the coordinator says whether we are a member still; none while it is known.

        It takes a commit from members of this moment alone, and what is committed already may be committed again. Where
        nothing is, one partition's beginning is: to have no commit is to begin there.
        """
        if now.monotonic < self._vouch_due(now):
            return []
        running = [part for part in self._assignments.values() if part.phase is Phase.RUNNING]
        if running:
            self._vouch_at = now.monotonic + _VOUCH_AGAIN_SECONDS
        return [part for part in running if part.committed] or running[:1]

    def _vouch_due(self, now: Moment) -> float:
        return max(self._vouch_at, now.vouched + self._policy.dispatch.poll_gate_seconds / 2)

    def _outlive(self, part: Assignment, now: Moment) -> None:
        """Begin anew what may be another member's, for the coordinator has not answered for longer than a session."""
        heard = max(now.vouched, part.running_since)
        if part.phase is Phase.RUNNING and now.monotonic - heard > self._policy.session_seconds:
            part.running_since = now.monotonic
            self._out.append(x.StartOver(part.partition, part.generation))

    def _try_again(self, part: Assignment, now: Moment) -> None:
        if (restores_at := self._restores_at(part)) is not None and restores_at <= now.monotonic:
            part.restore_due = None
            self._out.append(x.Restore(part.partition, part.generation, part.truncated))
        if part.letters_due is not None and part.letters_due <= now.monotonic:
            letters, part.unwritten, part.letters_due = part.unwritten, {}, None
            for letter in letters.values():
                self._put_letter(part, letter)
        self._let_through(part, now)

    def _let_through(self, part: Assignment, now: Moment) -> None:
        """Write the letters held back: all of them, or one as a probe while there are too many."""
        breaker = self._dispatch.breaker
        while part.parked and (not breaker.open or breaker.lets_a_letter_through(now.monotonic)):
            self._put_letter(part, part.parked.pop(next(iter(part.parked))))

    def _flush(self, part: Assignment, now: Moment) -> None:
        if part.flushing is not None:
            return
        if part.facts and part.flush_due is None:
            part.flush_due = now.monotonic + self._policy.flush.interval_seconds
        most = self._policy.flush.max_facts
        early = not part.failures and (len(part.facts) >= most or (bool(part.facts) and self._flushes_early(part)))
        if early or (part.flush_due is not None and now.monotonic >= part.flush_due):
            facts, part.facts = part.facts.split(most)
            self._append(part, facts, now)

    def _flushes_early(self, part: Assignment) -> bool:
        """Whether nothing more can be learnt that could go into the same entry."""
        return part.phase in {Phase.DRAINING, Phase.ENDED} and not part.in_flight and not part.letters

    def _commit_point(self, part: Assignment, now: Moment) -> x.CommitPoint:
        part.asked_to_commit, part.committed = part.tracker.next_offset, True
        part.commit_due = now.monotonic + self._policy.flush.interval_seconds
        behind = part.tracker.behind if part.tracker.behind < part.tracker.next_offset else None
        metadata = commit_metadata(part.topic_id, part.position, behind, str(part.landmarks))
        return x.CommitPoint(part.partition, part.generation, part.asked_to_commit, part.tracker.epoch, metadata)

    def _finish_drains(self, now: Moment) -> None:
        for part in list(self._assignments.values()):
            drained = part.idle and not self._older(part)
            if part.phase is Phase.DRAINING and (drained or now.monotonic >= part.drain_by):
                unresolved = part.held
                self._end(part.generation, now)
                self._out.append(x.Release(part.partition, part.generation, unresolved))
            if not part.live and part.idle:
                del self._assignments[part.generation]
        if self._stop_by is not None and not self.assignments and (not self._assignments or now.monotonic >= self._stop_by):
            self._stop_by = None
            self._out.append(x.Stop(self._stop_verdict))

    def _settle_fetching(self, now: Moment) -> None:
        buffer = self._policy.buffer
        held = sum(part.held for part in self._assignments.values())
        size = sum(part.held_bytes for part in self._assignments.values())
        high = held >= buffer.max_events - buffer.headroom_events or size >= buffer.max_bytes - buffer.headroom_bytes
        low = held <= buffer.max_events // 2 and size <= buffer.max_bytes // 2
        self._full = high or (self._full and not low)
        # With nothing left to probe by, the breaker must see what comes next, or it would never close.
        probes = not self._dispatch.nothing_new or any(part.parked for part in self._assignments.values())
        too_many_letters = self._dispatch.breaker.open and probes
        for part in self._assignments.values():
            if part.phase not in {Phase.RUNNING, Phase.DRAINING}:
                continue
            if part.read_due is not None and part.read_due <= now.monotonic:
                part.read_due = None
            fetch = (
                part.phase is Phase.RUNNING
                and not self._full
                and self._agrees
                and not too_many_letters
                and len(part.tracker) <= _MAX_AHEAD
                and not part.letter_failures > 0
                and part.read_due is None
            )
            if fetch != part.fetching:
                part.fetching = fetch
                self._out.append((x.Resume if fetch else x.Pause)(part.partition, part.generation))

    def _expire(self, now: Moment) -> None:
        if now.monotonic < self._expire_at or not self._agrees:
            return
        # The wall clock may be set back by twice the skew and agree all along: what was stale is fresh again then.
        oldest = now.wall_ms - self._policy.dedupe.window_ms - 2 * self._policy.freshness.max_skew_ms
        more = [part.window.seen.expire(oldest) for part in self._assignments.values()]
        self._left = [seen for seen in self._left if seen.free()]
        self._expire_at = now.monotonic + (_SWEEP_SECONDS if any(more) or self._left else _EXPIRY_SECONDS)


def _unreadable_sentence(part: Assignment) -> str:
    return (
        f"{part.partition} cannot be read from offset {part.unreadable_at} on ({part.unreadable}): what stands there is "
        "damaged, or its broker cannot hand it out. What comes before is sent and committed; the partition is paused, and "
        "tried again. Have another replica lead it, or restore the log; to give up what cannot be read, stop the connector "
        "and set the group's offset behind it with kafka-consumer-groups.sh"
    )
