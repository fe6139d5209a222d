"""Judges a simulated run from outside: it sees inputs, commands and the world's truth, and shares no code with the core.

Every check raises `Violation` with the law it belongs to (`connector/core/pipeline.py` names them). What is true of a record
is known from its `nature`, which the world gave it and the core never sees.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum, auto

from connector.model import UNKNOWN_EPOCH, Facts, Flaw, Outcome, Reason, VerdictKind

__all__ = ["MAX_AGE_MS", "MAX_SKEW_MS", "Acceptance", "Assignment", "End", "Nature", "Oracle", "Row", "Violation"]

MAX_AGE_MS = 7 * 86_400_000
MAX_SKEW_MS = 300_000
_CONFIRM_MS = 6_000
"""An append's time may be this much older than its confirmation, so the core's idea of the brokers' clock is off by it."""


class Violation(AssertionError):
    """A law was broken."""


class Nature(Enum):
    """What a record is in truth."""

    GOOD = auto()
    REJECTED = auto()
    PATIENT = auto()
    """The vendor accepts it at the third try."""
    UNPAID = auto()
    """The vendor refuses it for the account, more often than an event is tried, and then accepts it."""
    NEVER = auto()
    """The vendor never gives a final verdict on it."""
    HUGE = auto()
    """Larger than a request may be."""
    POISON = auto()
    """The vendor refuses every request that holds it, as a whole."""
    HEAVY = auto()
    """Larger than the vendor takes."""
    FLAWED = auto()
    TIMELESS = auto()
    EMPTY = auto()
    OLD = auto()
    ANCIENT = auto()
    FUTURE = auto()


_FATES = {
    Nature.EMPTY: {Outcome.IGNORED},
    Nature.OLD: {Outcome.STALE},
    Nature.FLAWED: {Outcome.DEAD_LETTERED, Outcome.STALE},
    Nature.TIMELESS: {Outcome.DEAD_LETTERED},
    Nature.ANCIENT: {Outcome.DEAD_LETTERED},
    Nature.FUTURE: {Outcome.DEAD_LETTERED},
}
_SENDABLE = {
    Nature.GOOD,
    Nature.REJECTED,
    Nature.PATIENT,
    Nature.UNPAID,
    Nature.NEVER,
    Nature.HEAVY,
    Nature.POISON,
}
_REASONS = {
    Nature.FLAWED: {Reason.UNDECODABLE},
    Nature.TIMELESS: {Reason.MISSING_FIELD},
    Nature.ANCIENT: {Reason.IMPLAUSIBLE_TIME},
    Nature.FUTURE: {Reason.IMPLAUSIBLE_TIME},
    Nature.HUGE: {Reason.TOO_LARGE},
    Nature.HEAVY: {Reason.TOO_LARGE, Reason.NO_VERDICT},
    Nature.REJECTED: {Reason.REJECTED, Reason.NO_VERDICT},
    Nature.POISON: {Reason.REJECTED, Reason.NO_VERDICT},
}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One record of the log."""

    partition: int
    offset: int
    epoch: int
    born: float
    """Second at which it is produced."""
    nature: Nature
    time_ms: int | None
    key: bytes | None
    payload: bytes | Flaw | None

    def __repr__(self) -> str:
        return f"{self.partition}/{self.offset}:{self.nature.name}:{'-' if self.key is None else self.key[:1].hex()}"


class End(Enum):
    """How an assignment ended."""

    GRACEFUL = "graceful"
    TIMED_OUT = "timed out"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class Assignment:
    """What the oracle knows of one assignment."""

    generation: int
    partition: int
    running: bool = False
    draining_since: float | None = None
    end: End | None = None
    received: set[int] = field(default_factory=set)
    known_keys: set[bytes] = field(default_factory=set)
    """Delivered according to the ledger at the restore, or to an answer told since."""
    resolved: set[int] = field(default_factory=set)
    in_flight: list[Row] = field(default_factory=list)
    committed: int = 0
    inconclusive: Counter[int] = field(default_factory=Counter)
    refused: set[int] = field(default_factory=set)
    told: list[tuple[int, Outcome]] = field(default_factory=list)
    """Fates that the core learnt, and must write down."""
    forgotten: bool = False
    """Its process ended before all of that could be written down."""
    taken_away: bool = False


@dataclass(slots=True)
class Acceptance:
    """The vendor took an event in."""

    generation: int
    told: bool = False
    """Whether the core was told."""


class Oracle:
    """Collects what happened and objects."""

    def __init__(self, log: list[list[Row]], *, drain_seconds: float, max_tries: int) -> None:
        self._log = log
        self._rows = {(row.partition, row.offset): row for rows in log for row in rows}
        self._drain_seconds = drain_seconds
        self._max_tries = max_tries
        self.assignments: dict[int, Assignment] = {}
        self._accepted: dict[tuple[int, int], list[Acceptance]] = defaultdict(list)
        self._acknowledged: dict[tuple[int, bytes | None], set[int]] = defaultdict(set)
        self._facts: list[dict[int, list[tuple[int, Outcome, int]]]] = [defaultdict(list) for _ in log]
        self._ledger_end = [0] * len(log)
        self._letters: dict[tuple[int, int], set[Reason]] = defaultdict(set)

    # ---- the life of an assignment

    def assigned(self, generation: int, partition: int) -> None:
        self.assignments[generation] = Assignment(generation, partition)

    def restored(self, generation: int, committed: int) -> None:
        """The core was told the ledger and the committed next offset as they are now."""
        part = self.assignments[generation]
        part.committed = committed
        for offset, facts in self._facts[part.partition].items():
            if facts:
                part.resolved.add(offset)
            key = self._rows[part.partition, offset].key
            if key is not None and any(outcome is Outcome.DELIVERED for _, outcome, _ in facts):
                part.known_keys.add(key)

    def started(self, generation: int, offset: int) -> None:
        part = self._owned(generation, "started")
        _check(not part.running, f"generation {generation} started twice")
        _check(offset == part.committed, f"started at {offset}, committed was {part.committed}")
        part.running = True

    def revoked(self, generation: int, now: float) -> None:
        part = self.assignments[generation]
        if part.draining_since is None:
            part.draining_since = now

    def taken_away(self, generation: int) -> None:
        """The group gave the partition to another; the member has not heard of it."""
        self.assignments[generation].taken_away = True

    def lost(self, generation: int) -> None:
        part = self.assignments[generation]
        if part.end is None:
            part.end = End.LOST

    def released(self, generation: int, unresolved: int, now: float) -> None:
        part = self._owned(generation, "released")
        _check(part.draining_since is not None, f"generation {generation} released unasked")
        began = part.draining_since or 0.0
        _check(now - began <= self._drain_seconds + 0.001, f"L4: the drain of {generation} took {now - began:.1f} s")
        part.end = End.TIMED_OUT if now - began >= self._drain_seconds - 0.001 else End.GRACEFUL
        if part.end is End.GRACEFUL:
            _check(not part.in_flight, f"generation {generation} released with {part.in_flight} in flight")
            for offset, outcome in part.told:
                _check(
                    self._has_fact(part.partition, offset, outcome), f"released before {outcome!r} of {offset} was written"
                )
        open_records = len(part.received - part.resolved - {offset for offset, _ in part.told})
        if not part.running:
            _check(unresolved == 0, "released what was never received")
        _check(unresolved <= open_records, f"released {unresolved} of {open_records} open records")

    def stopped(self, generations: list[int], *, in_time: bool) -> None:
        """A process ends by itself: it gave up all its assignments and, unless its time was up, wrote down all it knew."""
        for generation in generations:
            _check(self.assignments[generation].end is not None, f"stopped without a release of {generation}")
            if not in_time:
                self.forgotten(generation)

    def forgotten(self, generation: int) -> None:
        """Its process is gone, and what it knew."""
        part = self.assignments[generation]
        part.forgotten = True
        part.end = part.end or End.LOST

    def commanded(self, generation: int, what: str) -> None:
        """A command that only an assignment that is ours may get."""
        self._owned(generation, what)

    def _owned(self, generation: int, what: str) -> Assignment:
        part = self.assignments[generation]
        _check(part.end is None, f"L4: {what} after generation {generation} ended ({part.end})")
        return part

    # ---- records, requests, answers

    def polled(self, generation: int, rows: list[Row]) -> None:
        part = self.assignments[generation]
        if part.running and part.draining_since is None and part.end is None:
            part.received.update(row.offset for row in rows)

    def sent(self, generations: dict[int, int], rows: list[Row], wall_ms: int, true_ms: int) -> None:
        """A request was started; ``generations`` are the member's own, by partition."""
        _check(abs(wall_ms - true_ms) <= MAX_SKEW_MS + _CONFIRM_MS, "L7: sent by a clock that disagrees")
        for row in rows:
            part = self._owned(generations[row.partition], "sent")
            _check(part.draining_since is None, f"L4: {row} sent after its revoke")
            _check(row.offset in part.received, f"{row} sent but never received by {part.generation}")
            _check(row.offset not in part.resolved, f"{row} sent although resolved")
            _check(row.nature in _SENDABLE and row.time_ms is not None, f"{row} sent")
            _check(wall_ms - (row.time_ms or 0) <= MAX_AGE_MS, f"{row} sent stale")
            if row.key is not None:
                _check(row.key not in part.known_keys, f"{row} sent although its key was delivered")
                _check(all(other.key != row.key for other in part.in_flight), f"{row} sent while a copy is in flight")
            _check(row not in part.in_flight, f"{row} sent twice at once")
            part.in_flight.append(row)

    def accepted(self, generation: int, row: Row) -> Acceptance:
        acceptance = Acceptance(generation)
        self._accepted[row.partition, row.offset].append(acceptance)
        return acceptance

    def answered(self, generation: int, row: Row, kind: VerdictKind | None, acceptance: Acceptance | None) -> None:
        """The core is told what became of one event of a request; None for what says nothing about the event."""
        part = self.assignments[generation]
        part.in_flight.remove(row)
        if kind is VerdictKind.DELIVERED and acceptance is not None:
            acceptance.told = True
            self._acknowledged[row.partition, row.key].add(row.offset)
            part.told.append((row.offset, Outcome.DELIVERED))
            part.resolved.add(row.offset)
            if row.key is not None:
                part.known_keys.add(row.key)
        elif kind is VerdictKind.REJECTED:
            part.refused.add(row.offset)
        elif kind is not None:
            part.inconclusive[row.offset] += 1

    # ---- dead letters, facts, commits

    def letter(self, generation: int, row: Row, flaw: Flaw, offset: int) -> None:
        part = self._owned(generation, "letter")
        _check(row.offset == offset, f"the letter of {offset} carries {row}")
        _check(offset in part.received and offset not in part.resolved, f"letter of {row}: not open")
        allowed = _REASONS.get(row.nature, {Reason.NO_VERDICT})
        _check(flaw.reason in allowed, f"L6: {row} dead-lettered as {flaw.reason}")
        if flaw.reason is Reason.REJECTED:
            _check(row.nature is Nature.POISON or offset in part.refused, f"L6: {row} was not rejected")
        if flaw.reason is Reason.NO_VERDICT:
            _check(
                part.inconclusive[offset] >= self._max_tries, f"L6: {row} given up after {part.inconclusive[offset]} tries"
            )

    def letter_written(self, row: Row, reason: Reason) -> None:
        self._letters[row.partition, row.offset].add(reason)

    def letter_confirmed(self, generation: int, row: Row) -> None:
        part = self.assignments[generation]
        part.told.append((row.offset, Outcome.DEAD_LETTERED))
        part.resolved.add(row.offset)

    def facts(self, generation: int, facts: Facts, true_ms: int) -> None:
        """Facts are on their way to the ledger: each must be true."""
        part = self.assignments[generation]
        for offset, epoch, outcome, key, time_ms in zip(*_columns(facts), strict=True):
            row = self._rows[part.partition, offset]
            _check(offset in part.received, f"fact about {row}, never received by {generation}")
            _check(epoch == row.epoch, f"fact about {row} under epoch {epoch}")
            fates = _FATES.get(row.nature, set(Outcome) - {Outcome.IGNORED})
            _check(outcome in fates, f"{row} cannot be {outcome!r}")
            self._check_truth(row, outcome, true_ms)
            if outcome is Outcome.DELIVERED:
                _check(key == row.key and time_ms == row.time_ms, f"{row} delivered with another's key or time")
            else:
                _check(key is None and time_ms == 0, f"L3: a key is marked by {outcome!r} of {row}")

    def _check_truth(self, row: Row, outcome: Outcome, true_ms: int) -> None:
        acknowledged = self._acknowledged[row.partition, row.key]
        if outcome is Outcome.DELIVERED:
            _check(row.offset in acknowledged, f"L3: {row} said to be delivered")
        elif outcome is Outcome.DUPLICATE:
            _check(row.key is not None and bool(acknowledged - {row.offset}), f"L3: {row} said to be a duplicate")
        elif outcome is Outcome.STALE:
            age = true_ms - (row.time_ms or true_ms)
            _check(age > MAX_AGE_MS - MAX_SKEW_MS - _CONFIRM_MS, f"L7: {row} said to be stale at {age} ms")
        elif outcome is Outcome.DEAD_LETTERED:
            _check(bool(self._letters[row.partition, row.offset]), f"L1: {row} said to be dead-lettered")

    def appended(self, partition: int, facts: Facts) -> None:
        """An entry is in the ledger."""
        position = self._ledger_end[partition]
        self._ledger_end[partition] += 1
        for offset, outcome, epoch in zip(facts.offsets, facts.outcomes, facts.epochs, strict=True):
            self._facts[partition][offset].append((position, outcome, epoch))

    def commit(self, generation: int, next_offset: int, epoch: int, metadata: str) -> None:
        """A commit was asked for: it must rest on facts below the ledger position it names."""
        part = self._owned(generation, "commit")
        _check(part.running, f"L4: commit of {generation} before its start")
        _check(next_offset >= part.committed, f"commit went back from {part.committed} to {next_offset}")
        part.committed = next_offset
        version, topic_id, position, *_ = metadata.split(" ")
        _check((version, topic_id, position[:7]) == ("v1", "topic-1", "ledger:"), f"metadata {metadata!r}")
        below = [row for row in self._log[part.partition] if row.offset < next_offset]
        if not below and epoch == UNKNOWN_EPOCH:
            return  # the beginning, which says only that we are there
        _check(bool(below) and below[-1].offset == next_offset - 1, f"{next_offset} is not the next offset of a record")
        _check(below[-1].epoch == epoch, f"commit under epoch {epoch} after {below[-1]}")
        for row in below:
            written = self._facts[part.partition][row.offset]
            _check(bool(written), f"L1: commit of {next_offset} passes {row}, which is not in the ledger")
            _check(written[0][0] < int(position[7:]), f"L1: commit rests on {position}, the fact of {row} stands above")

    def _has_fact(self, partition: int, offset: int, outcome: Outcome) -> bool:
        return any(written is outcome for _, written, _ in self._facts[partition][offset])

    # ---- the end

    def finished(self) -> None:
        """Everything has drained: nothing is lost, and nothing accepted twice without an excuse."""
        for (partition, offset), row in self._rows.items():
            _check(bool(self._facts[partition][offset]), f"lost: {row}")
        for part in self.assignments.values():
            for offset, outcome in part.told:
                written = self._has_fact(part.partition, offset, outcome)
                _check(part.forgotten or written, f"{outcome!r} of {part.partition}/{offset} was never written down")
        unexcused: Counter[tuple[int, bytes | int]] = Counter()
        for (partition, offset), acceptances in self._accepted.items():
            key = self._rows[partition, offset].key
            for acceptance in acceptances:
                part = self.assignments[acceptance.generation]
                if acceptance.told and not part.taken_away and part.end is not End.TIMED_OUT:
                    unexcused[partition, offset if key is None else key] += 1
        for identity, count in unexcused.items():
            _check(count == 1, f"accepted {count} times without an excuse: {identity}")


def _columns(facts: Facts) -> tuple[list[int], list[int], list[Outcome], list[bytes | None], list[int]]:
    return facts.offsets, facts.epochs, facts.outcomes, facts.keys, facts.times


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise Violation(complaint)
