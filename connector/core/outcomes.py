"""What becomes of each record.

This is the one place where a held record is resolved, counted and given its fact.

A record ends as delivered, duplicate, stale, ignored or dead-lettered (law L2). When an event ends
undelivered, the next copy of its key takes its place: only an acknowledged event makes its copies
duplicates (law L3).
"""

from __future__ import annotations

from collections.abc import Iterator

from connector.core import commands, inputs
from connector.core.assignment import Assignment
from connector.core.broker_clock import BrokerClock
from connector.core.dedupe import Claim
from connector.core.dispatch import Dispatch
from connector.core.doubts import Doubts
from connector.core.letter_box import PendingLetter
from connector.core.policy import Policy
from connector.core.runs import Run
from connector.core.statistics import Statistics
from connector.model import Flaw, Moment, Outcome, Reason

__all__ = ["Outcomes"]


class Outcomes:
    """Resolves records, and writes their dead letters. Commands go into ``out``."""

    def __init__(
        self, policy: Policy, dispatch: Dispatch, clock: BrokerClock, statistics: Statistics, out: list[commands.Command]
    ) -> None:
        self._policy = policy
        self._dispatch = dispatch
        self._clock = clock
        self._statistics = statistics
        self._out = out
        self.doubts = Doubts(statistics.doubtful_duplicates)

    # ---- how a held event ends

    def delivered(self, assignment: Assignment, run: Run, now: Moment) -> None:
        """Note that Amazon acknowledged events: from here on their keys count as seen."""
        assignment.facts.waiting.extend(run.delivered())
        if not assignment.live:
            self._statistics.late_answers += len(run)
            return
        assignment.release(len(run), run.size)
        self._statistics.delivered(now.wall_ms, run.times)
        for key, copy in assignment.window.delivered(run.keys, run.times, self._clock.brokers_ms(now)):
            self._resolve(assignment, copy, Outcome.DUPLICATE)
            self.repeated(assignment, key, copy.offsets[0])

    def dead_letter(self, assignment: Assignment, run: Run, flaw: Flaw, now: Moment) -> None:
        """Give events up; their records go to the dead-letter topic."""
        for letter, key in zip(_letters(run, flaw), run.keys, strict=True):
            self.write_letter(assignment, letter, now)
            self._make_way(assignment, key, now)

    def too_large(self, assignment: Assignment, run: Run, now: Moment) -> None:
        """Give up an event that fits into no request."""
        self.dead_letter(assignment, run, self._too_large(), now)

    def went_stale(self, assignment: Assignment, run: Run, now: Moment) -> None:
        """Drop events that grew too old while they waited."""
        self._resolve(assignment, run, Outcome.STALE)
        for key in run.keys:
            self._make_way(assignment, key, now)

    def fresh(self, assignment: Assignment, run: Run, oldest_ms: int, now: Moment) -> list[Run]:
        """Return what is still to be sent of a run; what is older than that ends as stale."""
        if min(run.times) >= oldest_ms:
            return [run]
        fresh: list[Run] = []
        for part, is_stale in run.stretches([time_ms < oldest_ms for time_ms in run.times]):
            if is_stale:
                self.went_stale(assignment, part, now)
            else:
                fresh.append(part)
        return fresh

    def _resolve(self, assignment: Assignment, run: Run, outcome: Outcome) -> None:
        for offset, epoch in zip(run.offsets, run.epochs, strict=True):
            assignment.facts.waiting.add(offset, epoch, outcome)
        assignment.release(len(run), run.size)
        self._statistics.outcomes[outcome] += len(run)

    def _make_way(self, assignment: Assignment, key: bytes | None, now: Moment) -> None:
        """Let the next copy take the place of an event that ended undelivered.

        Its freshness is judged when it is sent. Once a drain began, copies are given back instead.
        """
        if key is None or not assignment.running:
            return
        while (copy := assignment.window.ended(key)) is not None:
            if self._dispatch.fits(len(copy.payloads[0])):
                self._dispatch.buffer(copy)
                return
            for letter in _letters(copy, self._too_large()):
                self.write_letter(assignment, letter, now)

    def _too_large(self) -> Flaw:
        most = self._policy.dispatch.batch.max_bytes
        return Flaw(Reason.TOO_LARGE, f"event: larger than a request may be ({most} bytes)")

    # ---- dead letters

    def write_letter(self, assignment: Assignment, letter: PendingLetter, now: Moment) -> None:
        """Write a letter, or hold it back while there are too many."""
        breaker = self._dispatch.breaker
        breaker.dead_lettered(now.monotonic)
        if breaker.open:
            assignment.letters.parked[letter.offset] = letter
        else:
            self._out.append(assignment.write(letter))

    def write_letters_due(self, assignment: Assignment, now: Moment) -> None:
        """Write the letters whose back-off is over, and those held back that may pass.

        While there are too many letters, one that was held back is written now and then as a probe.
        """
        letters, breaker = assignment.letters, self._dispatch.breaker
        for letter in letters.take_due(now.monotonic):
            self._out.append(assignment.write(letter))
        while letters.parked and (not breaker.open or breaker.lets_a_letter_through(now.monotonic)):
            self._out.append(assignment.write(letters.unpark()))

    def letter_written(self, assignment: Assignment, offset: int) -> None:
        """Resolve the record of a letter that is in the dead-letter topic."""
        letter = assignment.letters.written(offset)
        assignment.facts.waiting.add(letter.offset, letter.epoch, Outcome.DEAD_LETTERED)
        assignment.release(1, letter.size)
        if assignment.live:
            self._statistics.outcomes[Outcome.DEAD_LETTERED] += 1
            self._statistics.dead_letters[letter.flaw.reason] += 1

    def letter_failed(self, assignment: Assignment, failed: inputs.LetterFailed, now: Moment) -> None:
        """Write a letter in another manner at once if one may help; else after a back-off."""
        letter = assignment.letters.under_way.pop(failed.offset)
        if not assignment.live:
            assignment.release(1, letter.size)
        elif letter.refused(failed.code):
            self._out.append(assignment.write(letter))
        else:
            assignment.letters.failed(letter, failed.code, self._policy.dispatch.retry, now)

    # ---- doubtful duplicates

    def repeated(self, assignment: Assignment, key: bytes, offset: int) -> None:
        """Note a duplicate that was dropped."""
        self.doubts.repeated(key, assignment.partition, offset, self._statistics.records)

    def compare(self, assignment: Assignment, first: Claim, copy: Run) -> None:
        """Doubt the key of a copy whose content differs from the event in flight.

        The copy is dropped once that event is accepted.
        """
        (offset, payload), (other,) = first, copy.payloads
        if other != payload and self._policy.dedupe.differ(payload, other):
            self.doubts.differs(assignment.partition, offset, copy.offsets[0])


def _letters(run: Run, flaw: Flaw) -> Iterator[PendingLetter]:
    for offset, epoch, record, size in zip(run.offsets, run.epochs, run.records, run.sizes, strict=True):
        yield PendingLetter(offset, epoch, flaw, record, size)
