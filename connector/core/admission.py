"""Records come in: each is judged once, in order, and is resolved, held back as a letter, or buffered to be sent.

The order of the checks is part of the contract (docs/how-it-works.md#order-of-the-checks): already
resolved; no value; undecodable; time implausible; stale; breaks a rule; duplicate; too large. A
record that cannot be decoded has no time, so the checks of the time pass it by.
"""

from __future__ import annotations

from connector.core.assignment import Assignment
from connector.core.dedupe import Sighting
from connector.core.dispatch import Dispatch
from connector.core.freshness import Freshness, FreshnessPolicy
from connector.core.letter_box import PendingLetter
from connector.core.outcomes import Outcomes
from connector.core.statistics import Statistics
from connector.model import Event, Flaw, Moment, Outcome, Poll, Reason

__all__ = ["Admission"]


class Admission:
    """Takes the records of a poll into their assignment."""

    def __init__(self, freshness: FreshnessPolicy, outcomes: Outcomes, dispatch: Dispatch, statistics: Statistics) -> None:
        self._freshness = freshness
        self._outcomes = outcomes
        self._dispatch = dispatch
        self._statistics = statistics

    def admit(self, assignment: Assignment, poll: Poll, now: Moment) -> None:  # noqa: PLR0912, PLR0915 - a call per check costs more than the check
        """Judge the records of a poll. The wall clock must agree with the brokers'."""
        assignment.read_to(max(poll.log_end, poll.offsets[-1] + 1 if poll.offsets else 0))
        policy = self._freshness
        oldest, newest = now.wall_ms - policy.max_age_ms, now.wall_ms + policy.max_skew_ms
        tracker, facts = assignment.tracker, assignment.facts.waiting
        resolved, resolved_end = assignment.resolved, assignment.resolved.end
        window, sight = assignment.window, assignment.window.sight
        fits, buffer, outcomes = self._dispatch.fits, self._dispatch.buffer, self._outcomes
        generation, since, received, held, already, known = poll.generation, now.monotonic, 0, 0, [], len(facts)
        for offset, epoch, time_ms, key, payload, size, record in zip(
            poll.offsets, poll.epochs, poll.times, poll.keys, poll.payloads, poll.sizes, poll.records, strict=True
        ):
            if not tracker.track(offset, epoch):
                continue
            received += 1
            if offset < resolved_end and resolved.covers(offset, epoch):
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
            assignment.held_bytes += size
            if not isinstance(payload, bytes) or time_ms is None:
                flaw = payload if isinstance(payload, Flaw) else Flaw(Reason.MISSING_FIELD, "timestamp: missing")
                outcomes.write_letter(assignment, PendingLetter(offset, epoch, flaw, record, size), now)
                continue
            event = Event(generation, offset, epoch, time_ms, key, payload, size, record, since)
            if key is not None:
                sighting = sight(key, event)
                if sighting is Sighting.DUPLICATE:
                    facts.add(offset, epoch, Outcome.DUPLICATE)
                    held -= 1
                    assignment.held_bytes -= size
                    outcomes.repeated(assignment, key, offset)
                    continue
                if sighting is Sighting.IN_FLIGHT:
                    outcomes.compare(assignment, window.wait(key, event), event)
                    continue
            if fits(payload):
                buffer(event)
            else:
                outcomes.too_large(assignment, event, now)
        assignment.held += held
        tracker.resolve(already)
        tracker.passed_end(poll.log_end)
        statistics, added = self._statistics, facts.outcomes[known:]
        statistics.records += received
        statistics.already_resolved += len(already)
        for outcome in (Outcome.IGNORED, Outcome.STALE, Outcome.DUPLICATE):
            statistics.outcomes[outcome] += added.count(outcome)
