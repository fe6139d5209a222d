"""The pipeline: inputs come in, commands go out. This is the one place where the parts meet.

The problem. Records come from partitions that may be taken away at any moment, and go to a vendor
that may answer late, in part, or not at all. Each must be sent, or dropped for a reason that is
written down, and neither twice; nothing held may grow without bound; no record may cost much time.

The picture. One input is one turn: route it to its part, then settle, which asks every part what is
due, and the assignments that changed or whose time has come (`roster`). Commands come out in order.

    Polled ──────────▶ Admission ──▶ Dispatch ──▶ Send
                           │             ▲
                           ▼             │ sent again
    RequestFinished ─▶ Outcomes ◀── Answers
                           │
                           ├─▶ LetterBox ──▶ WriteLetter ──▶ LettersWritten / LetterFailed
                           ▼
                       FactLog ──▶ AppendFacts ──▶ FactsAppended / FactsFailed
                           ▼
                       OffsetTracker ──▶ Commit

    Assigned ─▶ Restore ─▶ Restored ─▶ (an empty entry) ─▶ Start ─▶ Resume ... Revoked ─▶ drain ─▶ Release

A record is received, held, resolved (its fact is in the ledger), and committed, in this order. It
goes this way in a run (see `runs`): the records of a poll about which there is nothing to say.
`Admission` takes the odd ones out. `Dispatch` cuts runs where a batch is full or halved, `Answers`
where the verdict changes, a wait where records grew stale: all records of a run have one fate.

What an assignment decides alone stands in `assignment`. Here stands what concerns several of them:
the order of sending, the bound of the buffer, the clocks, the end.

The laws. They hold for each record of a run. The simulation checks each from outside.

L1  An offset is committed only when the facts of all received records below it are in the ledger.
L2  A record is in one run or letter until it is resolved by exactly one of: delivered, duplicate,
    stale, ignored, dead-lettered; or until it is released at the end of its assignment.
L3  A key counts as seen only once Amazon has acknowledged its event. One event of a key is in
    flight at a time, and the others wait.
L4  After an assignment has ended, nothing of it is committed or sent; facts are still written.
L5  Every buffer has a bound. At the bound the pipeline pauses, it never drops.
L6  A failure that affects all events dead-letters none. A verdict on one event stops no other, but
    for the breaker.
L7  Nothing is judged by a clock that disagrees with the brokers'.

What must change together. A new input or command needs its branch in `handle` and in the shell's
`Runtime`. A new thing that waits for time needs its line in `wake_at`, or nothing wakes the
pipeline for it; where each assignment has one, its line in `Roster`. A new thing that is under way
needs its part in `Assignment.idle`, or a drain ends without it. A new way for a record to end
belongs in `Outcomes`, with its number in `model.Outcome`.

What is done for each record is done by column, in `runs`, `admission` and `dedupe`; a loop with a
branch for each is left to the odd ones. All else happens some times a batch, in `_settle`.
"""

from __future__ import annotations

from typing import assert_never

from connector.core import commands, inputs
from connector.core.admission import Admission
from connector.core.answers import Answers
from connector.core.assignment import Assignment, Phase, Step
from connector.core.broker_clock import PROBE_SECONDS, BrokerClock
from connector.core.dispatch import Dispatch
from connector.core.doubts import Doubt
from connector.core.expiry import Expiry
from connector.core.outcomes import Outcomes
from connector.core.policy import Policy
from connector.core.refused_writes import refusal
from connector.core.retry import NO_JITTER
from connector.core.roster import Roster
from connector.core.statistics import Statistics
from connector.core.vouching import Vouching
from connector.model import Facts, Moment, Poll, TopicPartition

__all__ = ["MAX_AHEAD", "Pipeline"]

MAX_AHEAD = 100_000
"""Maximum number of offsets received beyond a partition's next offset, for one stuck event."""


class Pipeline:
    """Turns inputs into commands. One caller; not thread-safe."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._retry = policy.dispatch.retry
        self._all = Roster()
        self._restarts: dict[TopicPartition, int] = {}  # of a partition, in a row and without progress
        self._unjudged: list[Poll] = []  # polled while the clocks disagreed, not taken in; bounded, for polling is paused
        self._vouching = Vouching(policy.dispatch.poll_gate_seconds)
        self._stopping = False
        self._stop_by: float | None = None  # monotonic second at which whatever is still under way is given up
        self._stop_verdict: str | None = None
        self._may_fetch = False  # as of the last turn
        self._expiry = Expiry()
        self._out: list[commands.Command] = []
        self.statistics = Statistics()
        self.dispatch = Dispatch(policy.dispatch)
        self.clock = BrokerClock(policy.freshness.max_skew_ms, policy.flush.max_silence_seconds)
        self.full = False
        """Whether fetching is paused because the buffer is full."""
        self.vouched = False
        """Whether the coordinator has confirmed of late that we are a member of the group."""
        self._outcomes = Outcomes(policy, self.dispatch, self.clock, self.statistics, self._out)
        self._admission = Admission(policy.freshness, self._outcomes, self.dispatch, self.statistics)
        self._answers = Answers(self._retry, self._all, self.dispatch, self._outcomes, self.statistics)

    # ---- what the shell calls

    def handle(self, input_: inputs.Input, now: Moment) -> list[commands.Command]:  # noqa: PLR0912 - one line per kind of input
        """Take one input; return what to do, in order."""
        self.clock.look(now)
        self.vouched = self._vouching.vouched(now)
        match input_:
            case inputs.Polled(polls):
                for poll in polls:
                    self._polled(poll, now)
            case inputs.Unreadable():
                if (assignment := self._running(input_.generation)) is not None:
                    assignment.unread(input_.code, input_.offset, self._retry, now)
            case inputs.RequestFinished():
                self._answers.finished(input_, now)
            case inputs.FactsAppended():
                self._facts_appended(input_, now)
            case inputs.FactsFailed(generation):
                assignment = self._all[generation]
                draining = assignment.phase is Phase.DRAINING
                assignment.facts.failed(self._retry, now, refusal(input_.topic, input_.code), draining=draining)
            case inputs.LettersWritten(letters):
                for generation, offset in letters:
                    self._outcomes.letter_written(self._all[generation], offset)
            case inputs.LetterFailed(generation):
                self._outcomes.letter_failed(self._all[generation], input_, now)
            case inputs.CommitFailed(generation):
                assignment = self._all.find(generation)
                if assignment is not None and assignment.live:
                    assignment.commit_failed(now.monotonic + self._retry.cap_seconds / 10)
            case inputs.Assigned():
                self._assigned(input_, now)
            case inputs.Restored(generation, recovery):
                if (assignment := self._restoring(generation)) is not None:
                    assignment.restored(recovery)
                    self._out.append(assignment.append(Facts(start=assignment.start[0]), now))
            case inputs.RestoreFailed():
                self._restore_failed(input_, now)
            case inputs.Revoked(generations):
                for generation in generations:
                    self._drain(generation, now)
            case inputs.Lost(generations):
                for generation in generations:
                    self._end(generation, now)
            case inputs.TopicSeen():
                self._topic_seen(input_)
            case inputs.ShutdownRequested():
                self._shut_down(None, now)
            case inputs.TimePassed():
                pass
            case _:
                assert_never(input_)
        self._settle(now)
        out = self._out.copy()
        self._out.clear()
        return out

    def wake_at(self, now: Moment) -> float | None:
        """Return the monotonic second of the next `TimePassed`; None if no time is awaited."""
        times = [self.dispatch.due(now) if self._may_send() else None, self._stop_by, self._all.due]
        if self._all.sums.parked:
            times.append(self.dispatch.breaker.letter_due())
        if self._all.sums.running:
            times.append(self._vouching.due(now))
        if self._all or not self._expiry.idle:
            times.append(self._expiry.due if self.clock.agrees else self.clock.probe_at)
            if self.clock.silent:
                times.append(self.clock.probe_at)
        return min((time for time in times if time is not None), default=None)

    def may_start(self, generations: frozenset[int], now: Moment) -> bool:
        """Return whether a request may still be sent.

        The sink may have waited for a token, and a partition may have been lost in the meantime.
        Nothing of an assignment that ended is sent, nor anything while the consumer's thread does
        not poll or the group's coordinator does not answer
        (docs/how-it-works.md#what-may-be-sent-twice). Of events of several assignments, those that
        are still ours are sent again without the others.
        """
        found = [self._all.get(generation) for generation in generations]
        ours = all(assignment is not None and assignment.live for assignment in found)
        return ours and self._policy.dispatch.may_send(now)

    @property
    def assignments(self) -> list[Assignment]:
        """The assignments that are ours: to look at, not to change."""
        return [assignment for assignment in self._all.values() if assignment.live]

    @property
    def has_assignments(self) -> bool:
        """Whether any assignment is ours."""
        return self._all.any_live

    @property
    def troubled(self) -> list[Assignment]:
        """The assignments that are ours and may need an operator: to look at, not to change."""
        return self._all.troubled

    @property
    def ledger_behind(self) -> bool:
        """Whether sending waits for the ledger: it is silent, or too many facts are unconfirmed."""
        return self.clock.silent or self._all.sums.facts > self._policy.flush.max_unconfirmed

    def doubts(self) -> list[Doubt]:
        """Return the doubts about dedupe keys since the last call, the latest of each kind."""
        return self._outcomes.doubts.take()

    # ---- records and facts

    def _polled(self, poll: Poll, now: Moment) -> None:
        assignment = self._running(poll.generation)
        if assignment is None:
            return
        if not self.clock.agrees or self._unjudged:  # in order: what came before still waits
            self._unjudged.append(poll)
            return
        self._admission.admit(assignment, poll, now)

    def _facts_appended(self, appended: inputs.FactsAppended, now: Moment) -> None:
        assignment = self._all[appended.generation]
        facts = assignment.facts.confirmed()
        self.clock.appended(appended.append_ms, now)
        if not assignment.live or facts is None:
            return
        if assignment.shows_a_cut(appended.next_offset):
            self._ledger_was_cut(assignment, now)
            return
        assignment.appended(facts, appended.next_offset, appended.append_ms, now)
        if assignment.phase is Phase.OPENING:
            self._open(assignment, now)

    def _ledger_was_cut(self, assignment: Assignment, now: Moment) -> None:
        """Begin a partition anew because its ledger lost its end.

        The restore compares the ledger with the commit to see what is missing. The commit is made
        once more first, for the last one may be older than what was lost.
        """
        assignment.ledger_cut = True
        if assignment.running:
            point = assignment.commit_point(self._policy.flush.interval_seconds, now)
            self._out.append(commands.Commit((point,)))
        if assignment.phase is not Phase.DRAINING:
            self._out.append(commands.StartOver(assignment.partition, assignment.generation))

    def _open(self, assignment: Assignment, now: Moment) -> None:
        """Start if the clock may be believed; otherwise ask the brokers for the time again."""
        if self.clock.agrees:
            assignment.enter(Step.OPENED)
            assignment.fetching, assignment.running_since = False, now.monotonic
            self._out.append(
                commands.Start(assignment.partition, assignment.generation, *assignment.start, assignment.topic_id)
            )
        else:
            assignment.facts.ask_for_entry(now.monotonic + PROBE_SECONDS)

    # ---- the life of an assignment

    def _assigned(self, assigned: inputs.Assigned, now: Moment) -> None:
        """Ask for a restore, after a back-off that grows while there is no progress."""
        assignment = Assignment(assigned.partition, assigned.generation, assigned.truncated)
        if self._stopping:
            self._out.append(commands.Release(assignment.partition, assignment.generation, 0))
            return
        self._all[assignment.generation] = assignment
        restarts = self._restarts.get(assignment.partition, 0) if assigned.anew else 0
        self._restarts[assignment.partition] = restarts + 1
        assignment.restoring.due = now.monotonic + (self._retry.delay(restarts, NO_JITTER) if restarts else 0.0)

    def _running(self, generation: int) -> Assignment | None:
        assignment = self._all.find(generation)
        return assignment if assignment is not None and assignment.running else None

    def _restoring(self, generation: int) -> Assignment | None:
        assignment = self._all.find(generation)
        return assignment if assignment is not None and assignment.phase is Phase.RESTORING else None

    def _restore_failed(self, failed: inputs.RestoreFailed, now: Moment) -> None:
        assignment = self._restoring(failed.generation)
        if assignment is None:
            return
        refusal = failed.message if failed.needs_operator else None
        assignment.restore_failed(refusal, self._retry, now)
        if refusal is not None and self._policy.stop_on_verdict:
            self._shut_down(refusal, now)

    def _topic_seen(self, seen: inputs.TopicSeen) -> None:
        """Start over on a recreated topic, or where a topic of ours loses what is written."""
        for assignment in self._all.values():
            unfit = assignment.topic_id != seen.topic_id or not (seen.kept or assignment.facts.failing)
            if assignment.running and assignment.partition.topic == seen.topic and unfit:
                self._out.append(commands.StartOver(assignment.partition, assignment.generation))

    def _drain(self, generation: int, now: Moment) -> None:
        """Finish what is in flight; what was not sent is given back."""
        assignment = self._all.find(generation)
        if assignment is None or assignment.phase in {Phase.DRAINING, Phase.ENDED}:
            return
        if not assignment.running and not self._all.older(assignment):
            self._end(generation, now)
            self._out.append(commands.Release(assignment.partition, generation, 0))
            return
        assignment.enter(Step.DRAIN)
        assignment.drain_by, assignment.restoring.due = now.monotonic + self._policy.drain_seconds, None
        self._give_back(assignment)

    def _give_back(self, assignment: Assignment) -> None:
        assignment.letters.parked = {}
        self.dispatch.give_back(assignment.generation)
        self._unjudged = [poll for poll in self._unjudged if poll.generation != assignment.generation]

    def _end(self, generation: int, now: Moment) -> None:
        """End an assignment: nothing of it is committed or sent any more."""
        assignment = self._all.find(generation)
        if assignment is None or not assignment.live:
            return
        if assignment.made_progress(self._retry.cap_seconds, now):
            self._restarts[assignment.partition] = 0
        self.statistics.released += assignment.held
        self._give_back(assignment)
        self._expiry.ended(assignment.end(self.dispatch.in_flight(generation)))

    def _shut_down(self, verdict: str | None, now: Moment) -> None:
        if not self._stopping:
            self._stopping, self._stop_verdict = True, verdict
            self._stop_by = now.monotonic + self._policy.drain_seconds
            for generation in list(self._all):
                self._drain(generation, now)

    # ---- after every input

    def _settle(self, now: Moment) -> None:
        """Ask every part what is due now. The order is the order of the commands."""
        self._all.wake(now.monotonic)
        self.clock.listen((self._all.unconfirmed_since,), now)
        if self._unjudged and self.clock.agrees:
            self._unjudged, polls = [], self._unjudged
            for poll in polls:
                self._polled(poll, now)
        if self._policy.stop_on_verdict and (verdict := self.dispatch.stops) is not None:
            self._shut_down(verdict, now)
        self._send_due(now)
        if self.clock.probe(now):
            self._ask_for_an_entry(now)
        many_wait, outlived = self._many_facts_wait(), now.monotonic - now.vouched > self._policy.session_seconds
        if many_wait or (outlived and self._all.sums.running):
            self._all.note_all()
        committing: list[Assignment] = []
        for assignment in self._all.noted():
            waits = assignment.restoring.due is not None
            if waits and assignment.restores_now(self._all.older(assignment), self._policy.drain_seconds, now):
                self._out.append(commands.Restore(assignment.partition, assignment.generation, assignment.truncated))
            if assignment.letters.waiting:
                self._outcomes.write_letters_due(assignment, now)
                self._all.note((assignment.generation,))
            at_once = many_wait or assignment.entry_complete
            entry = assignment.facts.take(self._policy.flush, now.monotonic, at_once=at_once)
            if entry is not None:
                self._out.append(assignment.append(entry, now))
                self._all.note((assignment.generation,))
            if outlived and assignment.outlived(self._policy.session_seconds, now):
                self._out.append(commands.StartOver(assignment.partition, assignment.generation))
            if assignment.commits and now.monotonic >= assignment.committing.due:
                committing.append(assignment)
        if committing := committing or self._vouching.to_commit(self._all.values() if self._all.sums.running else (), now):
            interval = self._policy.flush.interval_seconds
            self._all.note(assignment.generation for assignment in committing)
            self._out.append(commands.Commit(tuple(assignment.commit_point(interval, now) for assignment in committing)))
        self._finish_drains(now)
        self._settle_fetching(now)
        self._expire(now)
        self._all.end_turn()

    def _send_due(self, now: Moment) -> None:
        oldest = now.wall_ms - self._policy.freshness.max_age_ms
        while self._may_send() and (batch := self.dispatch.take(now)) is not None:
            batch.runs = [
                run for each in batch.runs for run in self._outcomes.fresh(self._all[each.generation], each, oldest, now)
            ]
            if batch.runs:
                request, body = self.dispatch.start(batch, now)
                for run in request.runs:
                    self._all[run.generation].in_flight += len(run)
                generations = frozenset(run.generation for run in request.runs)
                self._out.append(commands.Send(request.number, body, request.count, request.attempt, generations))

    def _may_send(self) -> bool:
        """Return whether events may be judged, and facts about them be held and written down."""
        return self.clock.agrees and not self.ledger_behind

    def _many_facts_wait(self) -> bool:
        """Return whether to write facts before their interval ends, so that sending need not wait.

        What waits behind an entry under way does not count: while one leader is slow, every other
        partition would write its facts one by one.
        """
        return 2 * self._all.sums.writable >= self._policy.flush.max_unconfirmed

    def _ask_for_an_entry(self, now: Moment) -> None:
        for assignment in self._all.values():
            if assignment.running and assignment.facts.is_to_be_asked():
                assignment.facts.ask_for_entry(now.monotonic)
                self._all.note((assignment.generation,))
                return

    def _finish_drains(self, now: Moment) -> None:
        for assignment in self._all.noted():
            draining, late = assignment.phase is Phase.DRAINING, now.monotonic >= assignment.drain_by
            if draining and (late or (assignment.idle and not self._all.older(assignment))):
                unresolved = assignment.held
                self._end(assignment.generation, now)
                self._out.append(commands.Release(assignment.partition, assignment.generation, unresolved))
            if not assignment.live and assignment.idle:
                del self._all[assignment.generation]
        if self._stop_by is not None and not self.has_assignments and (not self._all or now.monotonic >= self._stop_by):
            self._stop_by = None
            self._out.append(commands.Stop(self._stop_verdict))

    def _settle_fetching(self, now: Moment) -> None:
        buffer = self._policy.buffer
        held, size = self._all.sums.held, self._all.sums.held_bytes
        high = held >= buffer.max_events - buffer.headroom_events or size >= buffer.max_bytes - buffer.headroom_bytes
        low = held <= buffer.max_events // 2 and size <= buffer.max_bytes // 2
        self.full = high or (self.full and not low)
        # With nothing left to probe by, the breaker must see what comes next in order to close.
        probes = not self.dispatch.nothing_new or self._all.sums.parked > 0
        may_fetch = not self.full and self.clock.agrees and not (self.dispatch.breaker.open and probes)
        if may_fetch != self._may_fetch:
            self._may_fetch = may_fetch
            self._all.note_all()
        for assignment in self._all.noted():
            if not assignment.began:
                continue
            readable = assignment.try_to_read(now)
            within = len(assignment.tracker) <= MAX_AHEAD and not assignment.letters.failures
            command = assignment.fetch(may_fetch and readable and within and assignment.running)
            if command is not None:
                self._out.append(command)

    def _expire(self, now: Moment) -> None:
        if self.clock.agrees:
            # The wall clock may be set back by twice the skew: what was stale is fresh again.
            oldest = now.wall_ms - self._policy.dedupe.window_ms - 2 * self._policy.freshness.max_skew_ms
            self._expiry.step((assignment.window.seen for assignment in self._all.values()), oldest, now.monotonic)
