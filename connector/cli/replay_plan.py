"""Which dead letters are replayed, and why the others are not.

Law: at most one letter of a record is replayed, and none if the record was delivered, was replayed
before, or will be judged again by the connector itself.

Replays of the past are read from the source topic. Each replayed record names there the record it
is a copy of, and the id it keeps. Any later run finds it, whatever became of the run that wrote it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from connector.core.letters import Letter
from connector.model import Outcome, TopicPartition

__all__ = ["Candidate", "Planner", "ReplayPlan", "Selection", "Skipped"]


class Skipped(Enum):
    """Why a record of the dead-letter topic is not replayed.

    The first reason in this order counts.
    """

    NO_LETTER = "no dead letter of a connector"
    OTHER_GROUP = "of another group or source topic"
    OTHER_REASON = "of a reason that --reason does not name"
    OTHER_TIME = "dead-lettered outside --since and --until"
    SAME_RECORD = "another letter of the same record"
    DELIVERED = "delivered after all"
    REPLAYED = "replayed before"
    PENDING = "not committed yet: the connector will judge the record again by itself"
    LOOP = "replayed and dead-lettered again: raise --max-replays once the cause is fixed"
    TOO_OLD = "older than the source topic keeps its records: the brokers would delete it, perhaps unread"
    GONE = "lacks a part of its record, and the source topic no longer has the record"
    LIMIT = "beyond --limit"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters the command line asks for."""

    group: str
    topic: str
    reasons: frozenset[str] = frozenset()
    """Empty for all reasons."""
    since_ms: int | None = None
    until_ms: int | None = None
    """The time at which the record was dead-lettered, by the brokers' clock: that of its ledger
    entry."""
    max_replays: int = 1
    limit: int | None = None


@dataclass(slots=True, eq=False)
class Candidate:
    """A letter that may be replayed, and what is known about its record."""

    place: TopicPartition
    """The letter's partition in the dead-letter topic."""
    offset: int
    letter: Letter
    dead_lettered_ms: int | None = None
    """The time of the record's fact; None if the ledger no longer has it, or does not have it
    yet."""
    replayed: bool = False
    resolved: bool = False
    """Whether the ledger has any fact about the record."""
    delivered_epochs: set[int] = field(default_factory=set)
    dead_lettered_epochs: set[int] = field(default_factory=set)

    @property
    def delivered(self) -> bool:
        """Whether Amazon acknowledged this record, and not one of another epoch at its offset."""
        if self.dead_lettered_epochs:
            return not self.delivered_epochs.isdisjoint(self.dead_lettered_epochs)
        return bool(self.delivered_epochs)


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What will be replayed, and what will not."""

    chosen: tuple[Candidate, ...]
    skipped: Counter[Skipped]


class Planner:
    """Takes in the letters, then facts and replays in any order, and decides.

    A letter that was asked for takes about 600 bytes.
    """

    def __init__(self, selection: Selection, cluster_id: str) -> None:
        self._selection = selection
        self._cluster_id = cluster_id
        self._skipped: Counter[Skipped] = Counter()
        self._by_record: dict[tuple[str, str], Candidate] = {}
        self._by_offset: dict[int, list[Candidate]] = {}
        self._sorted = True

    def take_letter(self, place: TopicPartition, offset: int, letter: Letter | None) -> None:
        """Take in a record of the dead-letter topic."""
        why = self._unasked(letter)
        if why is not None or letter is None:
            self._skipped[why or Skipped.NO_LETTER] += 1
            return
        candidate = Candidate(place, offset, letter)
        if self._by_record.setdefault((letter.record, letter.dedupe_id), candidate) is not candidate:
            self._skipped[Skipped.SAME_RECORD] += 1
            return
        self._by_offset.setdefault(letter.source.partition, []).append(candidate)
        self._sorted = False

    def _unasked(self, letter: Letter | None) -> Skipped | None:
        asked = self._selection
        if letter is None:
            return Skipped.NO_LETTER
        if (letter.group, letter.source.topic) != (asked.group, asked.topic):
            return Skipped.OTHER_GROUP
        if asked.reasons and letter.reason not in asked.reasons:
            return Skipped.OTHER_REASON
        return None

    def candidates(self) -> list[Candidate]:
        """Return the letters asked for, of any time, in order of source partition and offset."""
        if not self._sorted:
            for candidates in self._by_offset.values():
                candidates.sort(key=_source_offset)
            self._sorted = True
        return [candidate for partition in sorted(self._by_offset) for candidate in self._by_offset[partition]]

    def take_facts(
        self, partition: int, topic_id: str, run: tuple[int, int, Outcome, int], append_ms: int, *, ours: bool
    ) -> None:
        """Take in a run of facts, with its entry's append time.

        ``ours`` says that they are about the present destination.
        """
        self.candidates()  # sorts them
        first, length, outcome, epoch = run
        candidates = self._by_offset.get(partition, [])
        for at in range(bisect_left(candidates, first, key=_source_offset), len(candidates)):
            candidate = candidates[at]
            if candidate.letter.offset >= first + length:
                return
            if not candidate.letter.may_stand_in(self._cluster_id, topic_id):
                continue
            candidate.resolved = True
            if outcome is Outcome.DELIVERED and ours:
                candidate.delivered_epochs.add(epoch)
            elif outcome is Outcome.DEAD_LETTERED:
                candidate.dead_lettered_epochs.add(epoch)
                candidate.dead_lettered_ms = append_ms

    def take_replay(self, dedupe_id: str, record: str) -> None:
        """Take in a replayed record of the source topic: its id, and the record it is a copy of."""
        candidate = self._by_record.get((record, dedupe_id))
        if candidate is not None:
            candidate.replayed = True

    def plan(
        self,
        topic_id: str,
        open_from: Mapping[int, int],
        oldest_ms: int | None,
        begins_at: Mapping[int, int] | None = None,
    ) -> ReplayPlan:
        """Decide about each letter.

        ``open_from`` has, for each source partition, the first offset that the group will judge
        again. ``begins_at`` has the first offset that each source partition still contains.
        ``oldest_ms`` is the time of the oldest record that the source topic accepts and keeps; None
        without such a limit.
        """
        skipped, chosen = self._skipped.copy(), list[Candidate]()
        for candidate in self.candidates():
            why = self._unfit(candidate, topic_id, open_from, oldest_ms)
            if why is None and self._is_gone(candidate.letter, topic_id, begins_at or {}):
                why = Skipped.GONE
            if why is None and len(chosen) == self._selection.limit:
                why = Skipped.LIMIT
            if why is None:
                chosen.append(candidate)
            else:
                skipped[why] += 1
        return ReplayPlan(tuple(chosen), skipped)

    def _unfit(
        self, candidate: Candidate, topic_id: str, open_from: Mapping[int, int], oldest_ms: int | None
    ) -> Skipped | None:
        asked, letter = self._selection, candidate.letter
        if not _within(candidate.dead_lettered_ms, asked.since_ms, asked.until_ms):
            return Skipped.OTHER_TIME
        if candidate.delivered:
            return Skipped.DELIVERED
        if candidate.replayed:
            return Skipped.REPLAYED
        still_open = letter.offset >= open_from.get(letter.source.partition, letter.offset + 1)
        if not candidate.resolved and still_open and letter.may_stand_in(self._cluster_id, topic_id):
            return Skipped.PENDING
        if letter.replays >= asked.max_replays:
            return Skipped.LOOP
        if oldest_ms is not None and 0 <= letter.timestamp_ms < oldest_ms:
            return Skipped.TOO_OLD
        return None

    def _is_gone(self, letter: Letter, topic_id: str, begins_at: Mapping[int, int]) -> bool:
        """Return whether a letter lacks a part of its record that the source has deleted."""
        there = letter.offset >= begins_at.get(letter.source.partition, letter.offset + 1)
        return bool(letter.lacks) and not (there and letter.may_stand_in(self._cluster_id, topic_id))


def _source_offset(candidate: Candidate) -> int:
    return candidate.letter.offset


def _within(dead_lettered_ms: int | None, since_ms: int | None, until_ms: int | None) -> bool:
    """Return whether a letter is of the time asked for; without a time it predates the ledger."""
    if dead_lettered_ms is None:
        return since_ms is None
    return (since_ms is None or dead_lettered_ms >= since_ms) and (until_ms is None or dead_lettered_ms < until_ms)
