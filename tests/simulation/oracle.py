"""Judges a simulated run from outside: by the log, the vendor's record, the bytes in the ledger, the letters, the commits.

It shares no decision with the connector. What is true of a record is its `Nature`, which the connector never sees. Each
complaint begins with the law or invariant that it belongs to: L1 to L7 stand in ``connector/core/pipeline.py``;

I1  nothing is lost: every record has a fate, a letter is the record byte for byte, a delivered event was accepted
I2  the committed offset never passes a record whose fate is not in the ledger, and never goes back within an assignment
I3  an event is accepted twice only where the guarantee excuses it, with the same id and the same bytes
I4  a delivered fact stands only for a record that Amazon acknowledged
I5  a duplicate fact only where another copy was acknowledged
I6  in the calm everything drains
I7  nothing is committed or sent for a partition after it is known to be given up
I9  records in = resolved + released + buffered + in flight, after every input
I13 no request before the time that Amazon asked to wait
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

import orjson

from connector.avro import ledger_entry
from connector.core import commands, inputs, status
from connector.core.policy import Policy
from connector.model import (
    UNKNOWN_EPOCH,
    Facts,
    Failure,
    Moment,
    Outcome,
    Poll,
    Reason,
    RequestFailed,
    TopicPartition,
    Verdict,
    VerdictKind,
)
from tests.simulation.cluster import SESSION_SECONDS, Cluster, Commit, Stored
from tests.simulation.member import DESTINATION, LEDGER, LETTERS, SOURCE, TO_EARLIEST, Member, Observer
from tests.simulation.records import MAX_AGE_MS, MAX_SKEW_MS, Nature, Row
from tests.simulation.vendor import Acceptance
from tests.simulation.virtual_time import Process

__all__ = ["Oracle", "Violation"]

_CONFIRM_MS = 6_000
"""An append's time may be this much older than its report, so the connector's idea of the brokers' clock is off by it."""
_INSTANT = 0.001
_LOST = -1
"""The ledger's offset of a fact that was written, and that the ledger lost since."""
_STILL_SECONDS = SESSION_SECONDS / 2
"""For which a consumer's thread may stand still, and not hear from its client that its session is over."""


class Violation(AssertionError):
    """A law was broken."""


_FATES = {
    Nature.EMPTY: {Outcome.IGNORED},
    Nature.OLD: {Outcome.STALE},
    Nature.FLAWED: {Outcome.DEAD_LETTERED, Outcome.STALE},
    Nature.GARBAGE: {Outcome.DEAD_LETTERED},
    Nature.CURSED: {Outcome.DEAD_LETTERED},
    Nature.UNKNOWN_SCHEMA: {Outcome.DEAD_LETTERED},
    Nature.ANCIENT: {Outcome.DEAD_LETTERED},
    Nature.FUTURE: {Outcome.DEAD_LETTERED},
}
_SENDABLE = {Nature.GOOD, Nature.REJECTED, Nature.PATIENT, Nature.NEVER, Nature.HEAVY, Nature.POISON}
_REASONS = {
    Nature.FLAWED: {Reason.INVALID_FIELD},
    Nature.GARBAGE: {Reason.UNDECODABLE},
    Nature.CURSED: {Reason.UNDECODABLE},
    Nature.UNKNOWN_SCHEMA: {Reason.UNKNOWN_SCHEMA},
    Nature.ANCIENT: {Reason.IMPLAUSIBLE_TIME},
    Nature.FUTURE: {Reason.IMPLAUSIBLE_TIME},
    Nature.HUGE: {Reason.TOO_LARGE},
    Nature.HEAVY: {Reason.TOO_LARGE, Reason.NO_VERDICT},
}
_FINAL = {VerdictKind.DELIVERED, VerdictKind.REJECTED}
_ALWAYS = {Reason.NO_VERDICT, Reason.REJECTED}
"""For which an answer must be found that says so."""


class End(Enum):
    """How an assignment ended."""

    GRACEFUL = "graceful"
    TIMED_OUT = "timed out"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class Part:
    """What the oracle knows of one assignment."""

    member: Member
    generation: int
    partition: int
    running: bool = False
    restoring_since: float = 0.0
    commits: list[Commit | None] = field(default_factory=list)
    """What the group had committed when its restore began, and since."""
    first: int = 0
    """The first offset of the log then."""
    draining_since: float | None = None
    end: End | None = None
    committed: int = 0
    start: int = 0
    epoch: int = UNKNOWN_EPOCH
    """Where it started, and the epoch that vouches for what is below."""
    asked: list[Commit] = field(default_factory=list)
    stored: int = 0
    """The last of these that the group took."""
    received: set[Row] = field(default_factory=set)
    resolved: set[Row] = field(default_factory=set)
    """Resolved in the ledger when its restore began, or by an answer told since."""
    known_keys: set[bytes] = field(default_factory=set)
    in_flight: list[Row] = field(default_factory=list)
    inconclusive: Counter[Row] = field(default_factory=Counter)
    refused: set[Row] = field(default_factory=set)
    unjudged_since: dict[Row, int] = field(default_factory=dict)
    """How many answers with verdicts its process had when the first without one on this row came."""
    alone_too_large: set[Row] = field(default_factory=set)
    told: list[tuple[Row, Outcome]] = field(default_factory=list)
    """Fates that the connector learnt, and must write down."""
    answered_at: float = 0.0
    """The monotonic second of the last of these that an answer told."""
    forgotten: bool = False
    """Its process ended before all of that could be written down."""
    taken_away: bool = False
    """The group gave the partition to another while this one did not know."""
    ledger_end: int = 0
    """Of the ledger as it knows it: by its restore, and by its own entries since."""
    cut_short: bool = False
    """It was told of an entry of its own below that, and has not begun anew yet."""


@lru_cache(1_000)
def _decoded(value: bytes) -> ledger_entry.LedgerEntry:
    """Decode an entry, to look at and not to change."""
    return ledger_entry.decode(value)


def _rests_on(commit: Commit) -> int:
    """Return the ledger's next offset that a commit of ours names."""
    return int(commit.metadata.split(" ")[2].rpartition(":")[2])


def _named(commit: Commit) -> dict[int, int]:
    """Return the entries of the ledger that a commit of ours names, by offset, each with its append time.

    None rests on what stands below the first of them. That came after its assignment had found an empty ledger: written by
    a process that had ended, or by this one, which took it for failed and wrote it again.
    """
    return {int(at): int(ms) for at, ms in re.findall(r" (\d+):(\d+)", commit.metadata.partition(" kept ")[2])}


def _behind(commit: Commit) -> int:
    """Return the offset behind the last record that a commit is about: markers of transactions may follow."""
    match commit.metadata.partition(" kept ")[0].split(" "):
        case [_, _, _, behind]:
            return int(behind)
    return commit.next_offset


class Oracle(Observer):
    """Collects what happened and objects, once: ``object`` is told the first complaint."""

    def __init__(
        self, logs: Sequence[Sequence[Row]], policy: Policy, gate_seconds: float, complain: Callable[[str], None]
    ) -> None:
        self._logs = [list(log) for log in logs]
        self._rows = {(row.partition, row.offset, row.epoch): row for log in logs for row in log}
        self._names = {row.name: row for log in logs for row in log}
        self._places: dict[tuple[int, int], list[Row]] = defaultdict(list)
        for log in logs:
            for row in log:
                self._places[row.partition, row.offset].append(row)
        self._policy = policy
        self._gate_seconds = gate_seconds
        self._complain = complain
        self.faults: Counter[str] = Counter()
        self.inputs = 0
        self.checks = 0
        self._parts: dict[tuple[str, int], Part] = {}
        self._current: dict[tuple[str, int], Part] = {}
        self._requests: dict[tuple[str, int], list[tuple[Part, Row]]] = {}
        self._hold_until: dict[str, float] = defaultdict(float)
        self._judged: Counter[str] = Counter()
        self._unconfirmed: dict[tuple[str, int], float] = {}
        """When the first of the facts was written that the brokers have not confirmed, of each assignment."""
        self._confirmed_at: dict[str, float] = defaultdict(lambda: float("-inf"))
        self._payloads: dict[Row, bytes] = {}
        self._ids: dict[str, Row] = {}
        self._accepted: dict[Row, int] = defaultdict(int)
        self._acknowledged: dict[tuple[int, bytes], set[Row]] = defaultdict(set)
        self._delivered: set[Row] = set()
        self._settled: dict[Row, list[Part]] = defaultdict(list)
        self._facts: dict[Row, list[tuple[int, Outcome]]] = defaultdict(list)
        self._asked: set[tuple[Row, Outcome]] = set()
        self._skipped: set[Row] = set()
        """Records that are older than the connector, which a start from now skips."""
        self._letters: dict[Row, set[str]] = defaultdict(set)
        self._jumps = False
        """Whether an operator lets a partition start elsewhere than at its commit, where that is outside the log."""
        self._harmed: dict[int, float] = {}
        """When the ledger of a partition lost what a commit rests on."""
        self.cluster: Cluster | None = None
        self._topic_id = ""

    def watch(self, cluster: Cluster) -> None:
        """Look at this cluster."""
        self.cluster, self._topic_id = cluster, cluster.topics[SOURCE].topic_id

    def check(self, holds: bool, complaint: str, *what: object) -> None:
        """Object unless it holds; ``what`` goes into the complaint's braces."""
        self.checks += 1
        if not holds:
            self._complain(complaint.format(*what))

    def find(self, name: str) -> Row | None:
        """Find a record by the name that travels in its payload."""
        return self._names.get(name)

    def truncated(self, partition: int, kept: int, grown: Sequence[Row]) -> None:
        """A log lost all but its first records, and others grow in their place: what is gone needs no fate."""
        self._logs[partition][kept:] = grown
        for row in grown:
            self._rows[row.partition, row.offset, row.epoch] = self._names[row.name] = row
            self._places[row.partition, row.offset].append(row)

    def knows_all_below(self, partition: int, offset: int) -> bool:
        """Tell whether every record below an offset has a fate that was written down."""
        return all(self._has_fate(row) for row in self._logs[partition] if row.offset < offset)

    def ledger_lost(self, partition: int, first: int, end: int) -> None:
        """The ledger of a partition keeps what stands from a first to an end offset: what it knew else may happen again."""
        cluster = self.cluster
        commit = cluster.committed.get(TopicPartition(SOURCE, partition)) if cluster else None
        self._facts = defaultdict(
            list,
            {
                row: [(at if row.partition != partition or first <= at < end else _LOST, fate) for at, fate in facts]
                for row, facts in self._facts.items()
            },
        )
        ours = commit is not None and commit.metadata.startswith(f"v1 {self._topic_id} ")
        if commit is not None and ours and (first > min(_named(commit), default=0) or _rests_on(commit) > end):
            self._harmed[partition] = cluster.loop.time() if cluster else 0.0
        for part in self._current.values():
            if part.partition == partition and not part.running:
                self._know_the_ledger(part)  # its restore is under way, and may find no more than that

    def goes_on(self, accepted: frozenset[str]) -> None:
        """An operator goes on without what ledgers lost, or from the first record that there is."""
        self._jumps = self._jumps or TO_EARLIEST in accepted
        if accepted - {TO_EARLIEST}:
            self._harmed.clear()

    def expired(self, partition: int, before: int) -> None:
        """Records below an offset are no more: they need no fate."""
        self._logs[partition] = [row for row in self._logs[partition] if row.offset >= before]

    def happened(self, what: str) -> None:
        self.faults[what] += 1

    # ---- what passes between shell and pipeline

    def handled(self, member: Member, told: inputs.Input, commands: list[commands.Command], now: Moment) -> None:
        self.inputs += 1
        self._take_in(member, told, now)
        for command in commands:
            self._commanded(member, command, now)
        if isinstance(told, inputs.FactsAppended):
            part = self._parts[member.process.name, told.generation]
            self.check(not part.cut_short, "I3: goes on with a ledger that went back below {}", part.ledger_end)
        self._check_counts(member)

    def _take_in(self, member: Member, told: inputs.Input, now: Moment) -> None:  # noqa: PLR0912 - one line per kind of input
        name = member.process.name
        match told:
            case inputs.Assigned(partition, generation):
                part = Part(member, generation, partition.partition)
                self._parts[name, generation] = self._current[name, partition.partition] = part
                if member.stopping:
                    part.draining_since = now.monotonic
                # One that begins a partition anew may have been taken for dead before, and not know.
                owner = self.cluster.group.owners.get(partition) if self.cluster else None
                part.taken_away = owner is not member.client
            case inputs.Revoked(generations):
                for generation in generations:
                    self._draining(self._parts[name, generation], now)
            case inputs.Lost(generations):
                for generation in generations:
                    part = self._parts[name, generation]
                    part.end = part.end or End.LOST
            case inputs.ShutdownRequested():
                for part in self._parts_of(member):
                    self._draining(part, now)
            case inputs.Polled(polls):
                for poll in polls:
                    self._polled(self._parts[name, poll.generation], poll)
            case inputs.RequestFinished():
                self._answered(self._requests.pop((name, told.request)), told, now)
            case inputs.Restored(generation, recovery):
                self._parts[name, generation].ledger_end = recovery.position.next_offset
            case inputs.FactsAppended(generation, next_offset):
                self._unconfirmed.pop((name, generation), None)
                self._confirmed_at[name] = now.monotonic
                part = self._parts[name, generation]
                part.cut_short = next_offset <= part.ledger_end and part.draining_since is None and part.end is None
                part.ledger_end = max(part.ledger_end, next_offset)
            case inputs.LettersWritten(letters):
                for generation, offset in letters:
                    part = self._parts[name, generation]
                    row = next(row for row in part.received if row.offset == offset)
                    part.told.append((row, Outcome.DEAD_LETTERED))
                    part.resolved.add(row)
            case _:
                pass

    def _parts_of(self, member: Member) -> list[Part]:
        return [part for part in self._parts.values() if part.member is member]

    @staticmethod
    def _draining(part: Part, now: Moment) -> None:
        if part.draining_since is None:
            part.draining_since = now.monotonic

    def _polled(self, part: Part, poll: Poll) -> None:
        if part.running and part.draining_since is None and part.end is None:
            for offset, epoch in zip(poll.offsets, poll.epochs, strict=True):
                row = self._rows.get((part.partition, offset, epoch))
                self.check(
                    row is not None, "I1: a record that is not in the log: {}/{} epoch {}", part.partition, offset, epoch
                )
                if row is not None:
                    part.received.add(row)

    def _answered(self, sent: list[tuple[Part, Row]], told: inputs.RequestFinished, now: Moment) -> None:
        answer = told.answer
        verdicts: Sequence[Verdict | None] = [None] * len(sent) if isinstance(answer, RequestFailed) else answer.verdicts
        if isinstance(answer, RequestFailed) and answer.failure is Failure.THROTTLED:
            name = sent[0][0].member.process.name
            self._hold_until[name] = max(self._hold_until[name], now.monotonic + (answer.retry_after or 0.0))
        judged = any(verdict is not None and verdict.kind in _FINAL for verdict in verdicts)
        self._judged[sent[0][0].member.process.name] += judged
        for (part, row), verdict in zip(sent, verdicts, strict=True):
            part.in_flight.remove(row)
            if verdict is None or verdict.kind not in _FINAL:
                part.unjudged_since.setdefault(row, self._judged[part.member.process.name])
            if verdict is None:
                if isinstance(answer, RequestFailed) and answer.failure is Failure.TOO_LARGE and len(sent) == 1:
                    part.alone_too_large.add(row)
            elif verdict.kind is VerdictKind.DELIVERED:
                part.answered_at = now.monotonic
                self.check(self._accepted[row] > 0, "I4: {} taken for delivered, and was never accepted", row)
                self._told_delivered(part, row)
            elif verdict.kind is VerdictKind.REJECTED:
                part.refused.add(row)
            else:
                part.inconclusive[row] += 1

    def _told_delivered(self, part: Part, row: Row) -> None:
        part.told.append((row, Outcome.DELIVERED))
        part.resolved.add(row)
        self._delivered.add(row)
        self._settled[row].append(part)
        if row.key is not None:
            part.known_keys.add(row.key)
            self._acknowledged[row.partition, row.key].add(row)

    def _commanded(self, member: Member, command: commands.Command, now: Moment) -> None:
        name = member.process.name
        match command:
            case commands.Restore(_, generation):
                self._restoring(self._owned(name, generation, "restore"), now)
            case commands.Start(generation=generation, offset=offset, epoch=epoch):
                self._started(self._owned(name, generation, "start"), offset, epoch)
            case commands.Pause(_, generation) | commands.Resume(_, generation):
                self._owned(name, generation, "pause or resume")
            case commands.StartOver(_, generation):
                self._owned(name, generation, "start over").cut_short = False
            case commands.Send():
                self._sent(member, command, now)
            case commands.AppendFacts():
                self._unconfirmed.setdefault((name, command.generation), now.monotonic)
                if command.facts.start is not None:  # what stands below it counts as judged from then on
                    part = self._parts[name, command.generation]
                    self._skipped.update(self._older_than_us(part, command.facts.start))
                self._facts_asked(self._parts[name, command.generation], command.facts)
            case commands.WriteLetter():
                self._letter_asked(self._owned(name, command.generation, "letter"), command)
            case commands.Release(_, generation, unresolved):
                self._released(self._owned(name, generation, "release"), unresolved, now)
            case commands.Stop():
                self._stopped(member, now)
            case commands.Commit(points):
                for point in points:
                    self._owned(name, point.generation, "commit")

    def _owned(self, name: str, generation: int, what: str) -> Part:
        part = self._parts[name, generation]
        self.check(part.end is None, "L4: {} after assignment {}/{} ended ({})", what, name, generation, part.end)
        return part

    def _check_counts(self, member: Member) -> None:
        pipeline, counted = member.pipeline, member.pipeline.statistics
        held = status.buffered_events(pipeline) + status.in_flight_events(pipeline)
        accounted = counted.resolved + counted.released + held
        self.check(counted.records == accounted, "I9: {} records, {} accounted for", counted.records, accounted)
        self.check(held <= self._policy.buffer.max_events, "L5: {} events held", held)
        most = self._policy.dispatch.max_in_flight
        self.check(pipeline.dispatch.requests <= most, "L5: {} requests at once", pipeline.dispatch.requests)
        self.check(member.transport.open <= most, "L5: {} requests at once at the vendor", member.transport.open)

    # ---- the life of an assignment

    def _restoring(self, part: Part, now: Moment) -> None:
        """What is in the ledger now, the restore that begins must find, and none that failed before it."""
        for older in self._older(part):
            told = [row for row, outcome in older.told if outcome is Outcome.DELIVERED and not self._has_fact(row, outcome)]
            if told and older.end is End.LOST and not older.forgotten:
                waited, most = now.monotonic - older.answered_at, self._policy.drain_seconds
                self.check(waited >= most - _INSTANT, "I3: restored {:.1f} s after an answer about {}", waited, told)
                older.end = End.TIMED_OUT
        part.restoring_since = self.cluster.loop.time() if self.cluster else 0.0
        if self.cluster is not None:
            place, ledger = TopicPartition(SOURCE, part.partition), TopicPartition(LEDGER, part.partition)
            commit = self.cluster.committed.get(place)
            if commit is not None and self._is_whole(commit, ledger):
                self._harmed.pop(part.partition, None)  # as far as a commit can tell
            part.commits, part.first = [self.cluster.committed.get(place)], self.cluster.bounds(place)[0]
        self._know_the_ledger(part)

    def _know_the_ledger(self, part: Part) -> None:
        """Have an assignment know what is in the ledger now, and nothing else."""
        part.resolved.clear()
        part.known_keys.clear()
        for row, facts in self._facts.items():
            there = [outcome for at, outcome in facts if at != _LOST]
            if row.partition == part.partition and there:
                part.resolved.add(row)
                if row.key is not None and Outcome.DELIVERED in there:
                    part.known_keys.add(row.key)

    def _is_whole(self, commit: Commit, ledger: TopicPartition) -> bool:
        """Tell whether a ledger begins and ends as its commit says, and has the entries that it names."""
        topics = self.cluster.topics if self.cluster else {}
        if self.cluster is None or ledger.topic not in topics or not commit.metadata:
            return False
        first, end = self.cluster.bounds(ledger)
        named = _named(commit)
        there = {stored.at: stored.written[1] for stored in topics[LEDGER].partitions[ledger.partition]}
        whole = first <= min(named, default=0) and all(there.get(at) == ms for at, ms in named.items())
        return whole and f" {topics[LEDGER].topic_id}:" in commit.metadata and _rests_on(commit) <= end

    def _started(self, part: Part, offset: int, epoch: int) -> None:
        self.check(not part.running, "L4: assignment {} started twice", part.generation)
        part.running, part.committed, part.start, part.epoch = True, offset, offset, epoch
        self.check(
            self._jumps or offset in self._starts(part), "I2: started at {}, committed is {}", offset, part.commits[-1:]
        )
        lost_at = self._harmed.get(part.partition, part.restoring_since)
        self.check(part.restoring_since <= lost_at, "I3: started on a ledger that lost what its commit rests on")
        for row in self._logs[part.partition]:
            # A log that was cut below a commit is noticed by the epoch that the seek carries.
            if row.offset < offset and (epoch < 0 or row.epoch <= epoch):
                self.check(self._has_fate(row), "I1: started at {}, beyond {}, whose fate is not known", offset, row)

    def _older_than_us(self, part: Part, offset: int) -> list[Row]:
        """Return what a start from now skips.

        Of a partition that we never had, it is what is older than our facts of others. Of one that began, but has no fact
        yet, it is what lies below its beginnings: of a log that was cut there and grew again, nothing in the ledger tells.
        """
        ledger = self.cluster.topics[LEDGER].partitions if self.cluster else []
        entries = [[stored for stored in log if self._is_of_us(stored)] for log in ledger]
        restoring_ms = self.cluster.calendar.wall_ms(part.restoring_since) if self.cluster else 0
        known = [stored for stored in entries[part.partition] if stored.written[1] < restoring_ms]
        if not any(commit is not None and not commit.metadata for commit in part.commits):
            return []
        if known:
            told = [_decoded(stored.value() or b"") for stored in known]
            begins = 0 if any(entry.runs for entry in told) else max(entry.start or 0 for entry in told)
            return [row for row in self._logs[part.partition] if row.offset < min(begins, offset)]
        begun = [log[0].written[1] for log, of_us in zip(ledger, entries, strict=True) if log and log[:1] == of_us[:1]]
        begun = [at for at in begun if at < restoring_ms]
        rows = [row for row in self._logs[part.partition] if row.offset < offset]
        return [row for row in rows if not begun or row.timestamp_ms < min(begun)]

    def _is_of_us(self, stored: Stored) -> bool:
        header = _decoded(stored.value() or b"").header
        return (header.source_topic_id, header.destination) == (self._topic_id, DESTINATION)

    def _has_fate(self, row: Row) -> bool:
        """Tell whether the fate of a record is written down, or it needs none."""
        return bool(self._facts[row]) or row in self._skipped

    def _starts(self, part: Part) -> set[int]:
        """Return where an assignment may start: at what is committed, and without a commit of ours at the beginning."""
        starts = set()
        for commit in part.commits:
            if commit is None or (commit.metadata and commit.metadata.split(" ")[1] != self._topic_id):
                starts.add(part.first)
                if self.cluster is not None:  # The beginning may have moved on several times since it was asked for.
                    now_first = self.cluster.bounds(TopicPartition(SOURCE, part.partition))[0]
                    starts.update({now_first, *range(part.first, now_first)})
            else:
                starts.update({commit.next_offset, _behind(commit)})
                if not commit.metadata:
                    starts.add(self._behind_the_last_known(part.partition, commit.next_offset))
        return starts

    def _behind_the_last_known(self, partition: int, below: int) -> int:
        """Return the offset behind the last record below an offset that has a fact: its epoch vouches for it alone."""
        known = [(row.epoch, row.offset) for row, facts in self._facts.items() if facts and row.partition == partition]
        return max((place for place in known if place[1] < below), default=(0, below - 1))[1] + 1

    def committed(self, place: TopicPartition, commit: Commit, process: Process | None) -> None:
        """The group has a commit, of a process or of somebody else."""
        mine = self._current.get((process.name, place.partition)) if process is not None else None
        if not commit.metadata:
            self._harmed.pop(place.partition, None)  # it rests on nothing
        if mine is not None and commit in mine.asked:
            self.check(commit.next_offset >= mine.stored, "I2: committed went back from {} to {}", mine.stored, commit)
            mine.stored = commit.next_offset
        for part in self._parts.values():
            if part.partition == place.partition:
                part.commits.append(commit)

    def taken_away(self, process: Process, partition: int) -> None:
        """The group gave a partition of a member to another; the member has not heard of it."""
        for (name, _), part in self._parts.items():
            # One that ended of its own accord, as for a silent coordinator, had perhaps not written down all it knew.
            if name == process.name and part.partition == partition and part.end is not End.GRACEFUL:
                part.taken_away = part.taken_away or part.end is None or self._has_under_way(part)

    def crashed(self, process: Process) -> None:
        """A process is gone, and what it knew."""
        for (name, _), part in self._parts.items():
            if name == process.name:
                part.forgotten, part.end = True, part.end or End.LOST

    def _released(self, part: Part, unresolved: int, now: Moment) -> None:
        began, drain_seconds = part.draining_since, self._policy.drain_seconds
        self.check(began is not None, "L4: assignment {} released unasked", part.generation)
        took = now.monotonic - (began or 0.0)
        # A stalled loop is late, but not by more than a turn.
        self.check(took <= drain_seconds + 0.1, "L4: the drain of {} took {:.1f} s", part.generation, took)
        part.end = End.TIMED_OUT if took >= drain_seconds - _INSTANT else End.GRACEFUL
        if part.end is End.GRACEFUL:
            self.check(not part.in_flight, "I3: released with {} in flight", part.in_flight)
            for row, outcome in part.told:
                self.check(self._has_fact(row, outcome), "I3: released before {!r} of {} was written down", outcome, row)
        else:
            # The drain waited for what older ones, which were lost, had under way: it took longer too
            # (docs/how-it-works.md#what-may-be-sent-twice).
            for older in self._older(part):
                if older.end is End.LOST and self._has_under_way(older):
                    older.end = End.TIMED_OUT
        open_rows = len(part.received - part.resolved - {row for row, _ in part.told})
        self.check(unresolved <= open_rows, "I9: released {} of {} open records", unresolved, open_rows)

    def _stopped(self, member: Member, now: Moment) -> None:
        self.check(member.stopping, "L4: stopped unasked")
        took = now.monotonic - member.asked_to_stop_at
        for part in self._parts_of(member):
            self.check(part.end is not None, "L4: stopped without a release of {}", part.generation)
            if took >= self._policy.drain_seconds - 0.1:
                part.forgotten = True

    # ---- requests

    def _sent(self, member: Member, command: commands.Send, now: Moment) -> None:
        name = member.process.name
        true_ms = self.cluster.wall_ms() if self.cluster else 0
        self.check(abs(now.wall_ms - true_ms) <= MAX_SKEW_MS + _CONFIRM_MS, "L7: sent by a clock that disagrees")
        client = member.client
        stood = now.monotonic - (client.polled_at if client else 0.0)
        self.check(stood <= self._gate_seconds + _INSTANT, "L4: sent although nothing was polled for {:.1f} s", stood)
        # An empty entry of an assignment that has ended is not written again.
        unwritten = [since for key, since in self._unconfirmed.items() if key[0] == name and self._parts[key].end is None]
        silent = now.monotonic - max(min(unwritten, default=now.monotonic), self._confirmed_at[name])
        most = self._policy.flush.max_silence_seconds
        self.check(silent <= most + _INSTANT, "I3: sent although the ledger has not answered for {:.1f} s", silent)
        self.check(now.monotonic >= self._hold_until[name] - _INSTANT, "I13: sent although Amazon asked to wait")
        batch = self._policy.dispatch.batch
        self.check(len(command.body) <= batch.max_bytes, "L5: a body of {} bytes", len(command.body))
        sent: list[tuple[Part, Row]] = []
        for event in orjson.loads(command.body)["events"]:
            row = self.find(event["eventDescription"]["name"])
            part = None if row is None else self._current.get((name, row.partition))
            if row is None or part is None:
                self.check(False, "L4: {} sent without an assignment", row)
                continue
            sent.append((part, row))
        self.check(command.count == len(sent) <= batch.max_events, "I1: {} events said, {} sent", command.count, len(sent))
        for part, row in sent:
            self._check_sent(part, row, now)
            part.in_flight.append(row)
        self._requests[name, command.request] = sent

    def _check_sent(self, part: Part, row: Row, now: Moment) -> None:
        self.check(part.end is None, "I7: {} sent after its assignment ended", row)
        self.check(part.draining_since is None, "I7: {} sent after its revoke", row)
        self.check(row in part.received, "I7: {} sent but never received by assignment {}", row, part.generation)
        self.check(row not in part.resolved, "I3: {} sent although its fate was known", row)
        self.check(row.nature in _SENDABLE, "L2: {} sent", row)
        self.check(now.wall_ms - row.time_ms <= MAX_AGE_MS, "L2: {} sent stale", row)
        self.check(row not in part.in_flight, "I3: {} sent twice at once", row)
        older = [row for each in self._older(part) for row in each.in_flight]
        self.check(row not in older, "I3: {} sent while an older assignment has it in flight", row)
        if row.key is not None:
            self.check(row.key not in part.known_keys, "I3: {} sent although its key was delivered", row)
            in_flight = [*part.in_flight, *older]
            self.check(all(other.key != row.key for other in in_flight), "L3: {} sent while a copy is in flight", row)

    def _older(self, part: Part) -> list[Part]:
        """Return the assignments that a process had of a partition before this one."""
        return [each for each in self._parts_of(part.member) if each.partition == part.partition and each is not part]

    def leaving(self, process: Process, rows: list[Row]) -> None:
        """A request goes out, perhaps long after it was asked for: nothing of an assignment that has ended since.

        Nor anything by one that cannot know any more what is its own: the bound of
        docs/how-it-works.md#what-may-be-sent-twice by a member
        that was cut off. Hence `finished` excuses all that was sent of a partition that was taken away: it was in time.
        """
        client = next(part.member.client for (name, _), part in self._parts.items() if name == process.name)
        if client is not None:
            unheard = client.since_answer
            most = SESSION_SECONDS + (_STILL_SECONDS if client.watches_session else 0.0)
            self.check(unheard <= most + _INSTANT, "I3: sent {:.1f} s after the coordinator last answered", unheard)
        ours = [part for (name, _), part in self._parts.items() if name == process.name and part.end is None]
        for row in rows:
            self.check(any(row in part.in_flight for part in ours), "L4: {} goes out after its assignment ended", row)

    def received(self, rows: list[Row], events: list[dict[str, Any]]) -> None:
        """The vendor sees a request: each event as it always was, under an id of its own."""
        self.check(len(rows) == len(events), "I1: an event at the vendor that is in no log")
        for row, event in zip(rows, events, strict=True):
            payload, event_id = orjson.dumps(event), event["eventId"]
            self.check(self._payloads.setdefault(row, payload) == payload, "I3: {} sent again with other bytes", row)
            if row.dedupe_id is not None:
                self.check(event_id == row.dedupe_id, "I3: {} sent as {!r}", row, event_id)
            else:
                self.check(self._ids.setdefault(event_id, row) is row, "I3: {} shares its derived id", row)

    def accepted(self, acceptance: Acceptance) -> None:
        """The vendor took an event in."""
        self._accepted[acceptance.row] += 1

    # ---- letters, facts, commits

    def _letter_asked(self, part: Part, command: commands.WriteLetter) -> None:
        record: Any = command.record
        row, reason = record.row, command.flaw.reason
        self.check(row in part.received, "I7: a letter of {}, never received", row)
        self.check(row not in part.resolved, "L2: a letter of {}, whose fate was known", row)
        self.check(reason in _REASONS.get(row.nature, set()) | _ALWAYS, "L6: {} dead-lettered as {}", row, reason)
        if reason is Reason.REJECTED and row.nature is not Nature.POISON:
            self.check(row in part.refused, "L6: {} was not rejected", row)
        if reason is Reason.REJECTED and row.nature is Nature.POISON:
            # Refused alone, it may be the account that is refused: that others got verdicts since is the proof.
            judged, before = self._judged[part.member.process.name], part.unjudged_since.get(row, -1)
            self.check(judged > before, "L6: {} blamed before any other had a verdict", row)
        if reason is Reason.NO_VERDICT:
            tries, most = part.inconclusive[row], self._policy.dispatch.retry.max_tries
            self.check(tries >= most, "L6: {} given up after {} tries", row, tries)
        if reason is Reason.TOO_LARGE and row.nature is Nature.HEAVY:
            self.check(row in part.alone_too_large, "L6: {} was not refused alone", row)

    def _facts_asked(self, part: Part, facts: Facts) -> None:
        """Facts are on their way to the ledger: each must be true already."""
        for offset, epoch, outcome, key, time_ms in zip(
            facts.offsets, facts.epochs, facts.outcomes, facts.keys, facts.times, strict=True
        ):
            row = self._rows.get((part.partition, offset, epoch))
            if row is None:
                self.check(False, "L2: a fact about {}/{} epoch {}, which is no record", part.partition, offset, epoch)
                continue
            self.check(row in part.received, "I7: a fact about {}, never received by assignment {}", row, part.generation)
            fates = _FATES.get(row.nature, set(Outcome) - {Outcome.IGNORED})
            self.check(outcome in fates, "L2: {} cannot be {!r}", row, outcome)
            self._check_truth(row, outcome)
            if outcome is Outcome.DELIVERED:
                self.check(key == row.key and time_ms == row.time_ms, "L3: {} delivered with another's key or time", row)
            else:
                self.check(key is None and time_ms == 0, "L3: a key is marked by {!r} of {}", outcome, row)
            self._asked.add((row, outcome))

    def _check_truth(self, row: Row, outcome: Outcome) -> None:
        if outcome is Outcome.DELIVERED:
            self.check(row in self._delivered, "I4: {} said to be delivered, and nobody acknowledged it", row)
        elif outcome is Outcome.DUPLICATE:
            others = self._acknowledged[row.partition, row.key or b""] - {row}
            self.check(bool(others), "I5: {} said to be a duplicate, and no other copy was acknowledged", row)
        elif outcome is Outcome.STALE:
            age = (self.cluster.wall_ms() if self.cluster else 0) - row.time_ms
            self.check(age > MAX_AGE_MS - MAX_SKEW_MS - _CONFIRM_MS, "L7: {} said to be stale at {} ms", row, age)
        elif outcome is Outcome.DEAD_LETTERED:
            self.check(bool(self._letters[row]), "I1: {} said to be dead-lettered, and no letter is there", row)

    def wrote(self, stored: Stored) -> None:
        """A record is in the ledger or in the dead-letter topic."""
        if stored.topic() == LEDGER:
            self._entry_written(stored)
        else:
            self.check(stored.topic() == LETTERS, "I1: a record in {}", stored.topic())
            self._letter_written(stored)

    def _entry_written(self, stored: Stored) -> None:
        entry = _decoded(stored.value() or b"")
        if entry.header.destination != DESTINATION or entry.header.source_topic_id != self._topic_id:
            return  # of an earlier life
        self.check(
            entry.header.partition == stored.partition(), "I1: an entry of partition {} elsewhere", entry.header.partition
        )
        for run in entry.runs:
            for offset in range(run.first_offset, run.first_offset + run.length):
                row = self._rows.get((entry.header.partition, offset, run.epoch))
                if row is None or (row, run.outcome) not in self._asked:
                    self.check(False, "I1: the ledger holds a fact that nobody asked for: {} {}", offset, run)
                else:
                    self._facts[row].append((stored.offset(), run.outcome))

    def _letter_written(self, stored: Stored) -> None:
        headers = stored.headers() or []
        named = dict(headers)
        place = (int(named["connector.partition"] or 0), int(named["connector.offset"] or 0))
        found = [row for row in self._places[place] if row.value == stored.value()]
        self.check(bool(found), "I1: the letter of {} is not its record", place)
        for row in found:
            theirs = [] if row.unreadable_headers else row.headers
            same = stored.key() == row.record_key and headers[: len(theirs)] == theirs
            self.check(same and stored.timestamp()[1] == row.timestamp_ms, "I1: the letter of {} is not its record", row)
            self._letters[row].add((named["connector.reason"] or b"").decode())

    def asked_to_commit(self, process: Process, place: TopicPartition, commit: Commit) -> None:
        """A commit is asked for: it must rest on facts below the ledger position it names."""
        part = self._current[process.name, place.partition]
        next_offset = commit.next_offset
        self.check(part.running, "I7: commit of {} before its assignment started", place)
        self.check(next_offset >= part.committed, "I2: commit went back from {} to {}", part.committed, next_offset)
        part.committed = next_offset
        part.asked.append(commit)
        topics = self.cluster.topics if self.cluster else {}
        version, topic_id, position, *_ = commit.metadata.split(" ")
        ledger_id, _, rests_on = position.rpartition(":")
        named = (version, topic_id, ledger_id) == ("v1", topics[SOURCE].topic_id, topics[LEDGER].topic_id)
        self.check(named, "I2: metadata {!r}", commit.metadata)
        behind = _behind(commit)
        last = self._rows.get((part.partition, behind - 1, commit.epoch))
        if last is None and (behind, commit.epoch) in {(part.start, UNKNOWN_EPOCH), (part.start, part.epoch)}:
            unread = [row for row in self._logs[part.partition] if part.start <= row.offset < next_offset]
            self.check(not unread, "I2: commit of {} passes {}, and names no record", next_offset, unread)
            return  # where it started, as it found it: which says only that we are there
        self.check(last is not None, "I2: {} is not the next offset of a record of epoch {}", behind, commit.epoch)
        # A commit from before its log was cut is about the records it had then: they are of older epochs.
        for row in [row for row in self._logs[part.partition] if row.offset < next_offset and row.epoch <= commit.epoch]:
            facts = self._facts[row]
            self.check(self._has_fate(row), "I2: commit of {} passes {}, whose fate is not in the ledger", next_offset, row)
            # What an operator skipped may get its fact later, from a member that was set back behind it.
            if facts and row.offset >= part.start:
                self.check(facts[0][0] < int(rests_on), "I2: commit rests on {}, the fact of {} stands above", position, row)

    def commits_what_it_has_not(self, process: Process, place: TopicPartition) -> None:
        """A commit of a partition that was given up."""
        self.check(False, "I7: {} commits {}, which it has given up", process.name, place)

    def _has_fact(self, row: Row, outcome: Outcome) -> bool:
        return any(written is outcome for _, written in self._facts[row])

    def _has_under_way(self, part: Part) -> bool:
        """Return whether requests of an assignment are out, or fates that it knows are not in the ledger."""
        return bool(part.in_flight) or any(not self._has_fact(row, outcome) for row, outcome in part.told)

    # ---- the end

    def pending(self) -> list[Row]:
        """Records whose fate is not in the ledger."""
        return [row for log in self._logs for row in log if not self._has_fate(row)]

    def finished(self) -> None:
        """Everything has drained: nothing is lost, and nothing accepted twice without an excuse."""
        for row in self.pending():
            self.check(False, "I1: lost: {}", row)
        for part in self._parts.values():
            for row, outcome in part.told:
                written = part.forgotten or self._has_fact(row, outcome)
                self.check(written, "I3: {!r} of {} was never written down", outcome, row)
        unexcused: Counter[tuple[int, bytes] | Row] = Counter()
        for row, parts in self._settled.items():
            for part in parts:
                lost = any(at == _LOST for at, _ in self._facts[row])
                if not part.taken_away and not part.forgotten and part.end is not End.TIMED_OUT and not lost:
                    unexcused[row if row.key is None else (row.partition, row.key)] += 1
        for identity, count in unexcused.items():
            self.check(count == 1, "I3: accepted {} times without an excuse: {}", count, identity)
