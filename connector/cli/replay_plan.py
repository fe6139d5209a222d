"""Which dead letters are replayed, and why the others are not.

Law: of the letters of one record at most one is replayed, and no letter of a record that was delivered, that was replayed
before, or that the connector will judge again by itself.

"Replayed before" is read from the source topic, where each replayed record names the record it is a copy of and the id it
keeps. So it is known by whoever looks, whatever became of the run that wrote it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from connector.core.letters import Letter
from connector.model import Outcome, TopicPartition

__all__ = ["Candidate", "Plan", "Planner", "Selection", "Skipped"]


class Skipped(Enum):
    """Why a record of the dead-letter topic is not replayed; of several reasons the first in this order."""

    NO_LETTER = "no dead letter of a connector"
    OTHER_GROUP = "of another group or source topic"
    OTHER_REASON = "of a reason that was not asked for"
    OTHER_TIME = "dead-lettered outside the time that was asked for"
    SAME_RECORD = "another letter of the same record"
    DELIVERED = "delivered after all"
    REPLAYED = "replayed before"
    PENDING = "its record is not committed yet: the connector will judge it again by itself"
    LOOP = "replayed and dead-lettered again: raise --max-replays once the cause is fixed"
    TOO_OLD = "older than the source topic keeps its records: the brokers would delete it, perhaps unread"
    GONE = "without a part of its record, which the source topic does not have any more"
    LIMIT = "beyond --limit"


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for."""

    group: str
    topic: str
    reasons: frozenset[str] = frozenset()
    """None stands for all."""
    since_ms: int | None = None
    until_ms: int | None = None
    """When the record was dead-lettered, by the brokers' clock: the time of the ledger entry that says so."""
    max_replays: int = 1
    limit: int | None = None


@dataclass(slots=True, eq=False)
class Candidate:
    """A letter that may be replayed, and what is known of its record."""

    place: TopicPartition
    """Where the letter stands, in the dead-letter topic."""
    offset: int
    letter: Letter
    dead_lettered_ms: int | None = None
    """None where the ledger does not know it: its fact is older than the ledger, or not written yet."""
    replayed: bool = False
    resolved: bool = False
    """Whether there is any fact about the record."""
    delivered_epochs: set[int] = field(default_factory=set)
    dead_lettered_epochs: set[int] = field(default_factory=set)

    @property
    def delivered(self) -> bool:
        """Whether Amazon acknowledged the record, and not another one that stood at its offset under another epoch."""
        if self.dead_lettered_epochs:
            return not self.delivered_epochs.isdisjoint(self.dead_lettered_epochs)
        return bool(self.delivered_epochs)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be replayed, and what will not."""

    chosen: tuple[Candidate, ...]
    skipped: Counter[Skipped]


class Planner:
    """Takes in letters first, then facts and replays in any order; then decides.

    About 600 bytes a letter that was asked for.
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
        """Return the letters that were asked for, but for the time, in order of source partition and offset."""
        if not self._sorted:
            for candidates in self._by_offset.values():
                candidates.sort(key=_source_offset)
            self._sorted = True
        return [candidate for partition in sorted(self._by_offset) for candidate in self._by_offset[partition]]

    def take_facts(
        self, partition: int, topic_id: str, run: tuple[int, int, Outcome, int], append_ms: int, *, ours: bool
    ) -> None:
        """Take in a run of facts, with the time its entry was appended; ``ours``: of the present destination."""
        self.candidates()  # in order
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
        """Take in a replayed record of the source topic: which record it is a copy of, and the id it keeps."""
        candidate = self._by_record.get((record, dedupe_id))
        if candidate is not None:
            candidate.replayed = True

    def plan(
        self,
        topic_id: str,
        open_from: Mapping[int, int],
        oldest_ms: int | None,
        begins_at: Mapping[int, int] | None = None,
    ) -> Plan:
        """Decide.

        ``open_from`` is, for each partition of the source topic, the first offset that the group will judge again;
        ``oldest_ms`` the time of the oldest record that the source topic takes and keeps, if it has such a limit;
        ``begins_at`` the first offset that each partition still has.
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
        return Plan(tuple(chosen), skipped)

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
        """Tell whether what a letter lacks is in the source topic no more."""
        there = letter.offset >= begins_at.get(letter.source.partition, letter.offset + 1)
        return bool(letter.lacks) and not (there and letter.may_stand_in(self._cluster_id, topic_id))


def _source_offset(candidate: Candidate) -> int:
    return candidate.letter.offset


def _within(dead_lettered_ms: int | None, since_ms: int | None, until_ms: int | None) -> bool:
    """Tell whether a letter is of the time asked for; one that the ledger knows no more is older than all it knows."""
    if dead_lettered_ms is None:
        return since_ms is None
    return (since_ms is None or dead_lettered_ms >= since_ms) and (until_ms is None or dead_lettered_ms < until_ms)
