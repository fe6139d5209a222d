"""Judges each record once, in order.

A record is resolved, held back as a letter, or buffered to be sent.

The order of the checks is part of the contract (docs/how-it-works.md#order-of-the-checks): already
resolved; no value; undecodable; time implausible; stale; breaks a rule; duplicate; too large. A
record that cannot be decoded has no time, so the checks of the time do not apply to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, cast

from connector.core.assignment import Assignment
from connector.core.dedupe import Sighting
from connector.core.dispatch import Dispatch
from connector.core.freshness import Freshness, FreshnessPolicy
from connector.core.letter_box import PendingLetter
from connector.core.outcomes import Outcomes
from connector.core.runs import Run
from connector.core.statistics import Statistics
from connector.model import Flaw, Moment, Outcome, Poll, Reason

__all__ = ["Admission"]


class Admission:
    """Takes the records of a poll into their assignment."""

    def __init__(self, freshness: FreshnessPolicy, outcomes: Outcomes, dispatch: Dispatch, statistics: Statistics) -> None:
        self._freshness = freshness
        self._outcomes = outcomes
        self._dispatch = dispatch
        self._statistics = statistics

    def admit(self, assignment: Assignment, poll: Poll, now: Moment) -> None:
        """Judge the records of a poll. The wall clock must agree with the brokers'."""
        end = len(poll.offsets)
        assignment.read_to(max(poll.read_end, poll.offsets[-1] + 1 if end else 0))
        first = assignment.tracker.track(poll.offsets, poll.epochs)
        odd = self._odd(assignment, poll, first, now)
        if len(odd) < end - first:
            run = _plain(poll, first, odd, now)
            assignment.hold(len(run), run.size)
            assignment.window.claim(run)
            self._dispatch.buffer(run)
        for at in odd:
            self._judge(assignment, poll, at, now)
        self._statistics.records += end - first
        assignment.tracker.passed_end(poll.read_end)

    def _odd(self, assignment: Assignment, poll: Poll, first: int, now: Moment) -> list[int]:
        """Return the positions, from ``first`` on, of the records that must be judged one by one.

        Each column is looked at as a whole first: that a record is odd is rare. One too many does
        no harm, for it is judged by itself. All others have a key of their own, or none: whichever
        repeats the key of a record before it is odd. So it is the same whether they are taken in
        before the odd ones or between them.
        """
        if first == len(poll.offsets):
            return []
        odd = set(assignment.window.known(poll.keys))
        sound, fits = cast("list[bytes]", poll.payloads), self._dispatch.fits
        if set(map(type, poll.payloads)) != {bytes}:
            odd.update([at for at, payload in enumerate(poll.payloads) if type(payload) is not bytes])
            sound = [payload for payload in poll.payloads if type(payload) is bytes]
        if not fits(max(map(len, sound), default=0)):
            sizes = [len(payload) if isinstance(payload, bytes) else 0 for payload in poll.payloads]
            odd.update([at for at, size in enumerate(sizes) if not fits(size)])
        times, (oldest, newest) = poll.times, self._timely(now)
        # A time of 0 looks like None here; the second test tells them apart.
        if not all(times) or not oldest <= min(known := cast("list[int]", times)) <= max(known) <= newest:
            odd.update([at for at, time_ms in enumerate(times) if time_ms is None or not oldest <= time_ms <= newest])
        resolved = assignment.resolved
        if poll.offsets[first] < resolved.end:
            places = enumerate(zip(poll.offsets, poll.epochs, strict=True))
            odd.update([at for at, (offset, epoch) in places if resolved.covers(offset, epoch)])
        return sorted([at for at in odd if at >= first])

    def _timely(self, now: Moment) -> tuple[int, int]:
        return now.wall_ms - self._freshness.max_age_ms, now.wall_ms + self._freshness.max_skew_ms

    def _judge(self, assignment: Assignment, poll: Poll, at: int, now: Moment) -> None:
        """Judge one record."""
        offset, epoch, key, payload, time_ms = (
            poll.offsets[at],
            poll.epochs[at],
            poll.keys[at],
            poll.payloads[at],
            poll.times[at],
        )
        if assignment.resolved.covers(offset, epoch):
            assignment.tracker.resolve([offset])
            self._statistics.already_resolved += 1
            return
        if payload is None:
            self._drop(assignment, offset, epoch, Outcome.IGNORED)
            return
        oldest, newest = self._timely(now)
        if time_ms is not None and not oldest <= time_ms <= newest:
            untimely = self._freshness.judge(time_ms, now.wall_ms)
            if untimely is Freshness.STALE:
                self._drop(assignment, offset, epoch, Outcome.STALE)
                return
            payload = Flaw(Reason.IMPLAUSIBLE_TIME, f"timestamp: {untimely.value}")
        if isinstance(payload, Flaw) or time_ms is None:
            flaw = payload if isinstance(payload, Flaw) else Flaw(Reason.MISSING_FIELD, "timestamp: missing")
            assignment.hold(1, poll.sizes[at])
            letter = PendingLetter(offset, epoch, flaw, poll.records[at], poll.sizes[at])
            self._outcomes.write_letter(assignment, letter, now)
            return
        sighting = Sighting.FIRST if key is None else assignment.window.sight(key)
        if key is not None and sighting is Sighting.DUPLICATE:
            self._drop(assignment, offset, epoch, Outcome.DUPLICATE)
            self._outcomes.repeated(assignment, key, offset)
            return
        self._take(assignment, _run(poll, lambda column: column[at : at + 1], now), key, sighting, now)

    def _take(self, assignment: Assignment, run: Run, key: bytes | None, sighting: Sighting, now: Moment) -> None:
        """Accept an event that is no duplicate: to be sent, to wait, or as too large."""
        assignment.hold(1, run.size)
        if key is not None and sighting is Sighting.IN_FLIGHT:
            self._outcomes.compare(assignment, assignment.window.wait(key, run), run)
            return
        assignment.window.claim(run)
        if self._dispatch.fits(len(run.payloads[0])):
            self._dispatch.buffer(run)
        else:
            self._outcomes.too_large(assignment, run, now)

    def _drop(self, assignment: Assignment, offset: int, epoch: int, outcome: Outcome) -> None:
        assignment.facts.waiting.add(offset, epoch, outcome)
        self._statistics.outcomes[outcome] += 1


def _plain(poll: Poll, first: int, odd: Sequence[int], now: Moment) -> Run:
    """Return the events from a position on without the odd records among them, as one run."""
    if not odd:
        return _run(poll, lambda column: column[first:], now)
    chosen = bytearray(first) + bytearray(b"\1") * (len(poll.offsets) - first)
    for at in odd:
        chosen[at] = 0
    return _run(poll, lambda column: list(compress(column, chosen)), now)


def _run(poll: Poll, of: Callable[[list[Any]], list[Any]], now: Moment) -> Run:
    """Return events of a poll, each with a payload and a time; ``of`` takes them from a column."""
    return Run(
        poll.generation,
        now.monotonic,
        of(poll.offsets),
        of(poll.epochs),
        of(poll.times),
        of(poll.keys),
        of(poll.payloads),
        of(poll.sizes),
        of(poll.records),
    )
