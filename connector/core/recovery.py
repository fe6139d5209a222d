"""Where an assignment starts, what it already knows, and when it must not start at all.

*A ledger that knows too little costs a second send; a ledger that knows too much loses events*
(docs/how-it-works.md#the-guarantee). So every fact is checked for whose it is, and a commit says
what it rests on: its metadata is

    v1 <source topic id> <ledger topic id>:<next offset of the ledger> [<offset behind the last record>] [kept <landmarks>]

where the offset stands only if markers of transactions follow that record, and `landmarks` says what the last part is. A
version without landmarks takes a commit that has them for an operator's: it starts at the same offset, knows the same facts,
and its own next commit is as before. So a group may be updated, or put back, one member at a time.

A commit without that metadata is an operator's, and is used, unless it skips what was never judged: an operator may start
from now before the first start, and go back at any time; but whatever else commits in our group (a consumer with the same
group id does, by itself) must not make us lose what lies below its commit. What was judged is known from the ledger: the
entry that opens an assignment says where it begins, all below being judged then or skipped by an operator's will, and a
record from there on is judged if it has a fact. Where no such entry is left, or none was written yet by that version, it is
from the lowest fact on; with neither, the ledger never had this partition of this topic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from connector.core.dedupe import SeenKeys
from connector.core.landmarks import Landmarks
from connector.core.offsets import ResolvedOffsets
from connector.model import UNKNOWN_EPOCH, Outcome

__all__ = [
    "CommittedOffset",
    "Identity",
    "LedgerPosition",
    "OutOfRange",
    "PartitionState",
    "Recovery",
    "Refusal",
    "Restoration",
    "RestsOn",
    "Written",
    "accept_value",
    "commit_metadata",
    "parse_metadata",
]

_VERSION = "v1"
_KEPT = " kept "
_NEWER = re.compile(r"v([2-9]|\d\d+) ")
"""Metadata of this connector, in a format that this version does not know; an operator's tool leaves it empty."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose facts these are: it stands in the header of every ledger entry."""

    cluster_id: str
    topic: str
    topic_id: str
    group: str
    destination: bytes
    """Fingerprint of contract, base URL, account and data set."""
    dedupe_key: bytes
    """Fingerprint of the fields that make the key."""


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """A place in a ledger partition."""

    topic_id: str
    next_offset: int


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """What the group has committed for a partition."""

    next_offset: int
    epoch: int
    metadata: str


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What the brokers say of a partition and its ledger, as of the assignment."""

    first_offset: int
    end_offset: int
    committed: CommittedOffset | None
    ledger: LedgerPosition
    """The ledger partition's end."""
    ledger_first: int = 0
    """The ledger partition's beginning."""
    partition: int = 0
    now_ms: int = 0
    """The wall clock."""


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """What to do with a committed offset outside the log: ``OFFSET_OUT_OF_RANGE``."""

    to_earliest: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a partition is not started, and the value of ``ACCEPT`` that goes on all the same."""

    sentence: str
    accept: str | None = None


@dataclass(slots=True)
class Recovery:
    """What an assignment starts with."""

    offset: int
    epoch: int
    position: LedgerPosition
    """The ledger was read to here."""
    topic_id: str
    seen: SeenKeys
    resolved: ResolvedOffsets
    note: str
    """Why it starts there, for one log line."""
    committed: bool = True
    """Whether that is what the group has committed."""
    landmarks: Landmarks = field(default_factory=Landmarks)
    """What the ledger holds, for the commits to come."""


class RestsOn(NamedTuple):
    """What a commit rests on, as its metadata has it."""

    topic_id: str
    """Of the source topic."""
    ledger: LedgerPosition
    """The facts below it."""
    behind: int | None
    """The offset behind the last record below the committed offset, where markers of transactions stand between the two."""
    landmarks: Landmarks
    """What the ledger held then."""


class Written(NamedTuple):
    """An entry as it stands in the ledger, beside its facts."""

    offset: int = 0
    append_ms: int = 0
    """When it was appended, by the brokers' clock; 0 where they have none."""
    start: int | None = None
    """Where the assignment that it opened begins, if it says so."""


class _Start(NamedTuple):
    offset: int
    epoch: int
    note: str
    ours: bool = False
    """Whether it is a commit of ours, whose epoch vouches for the record before it."""


def commit_metadata(topic_id: str, position: LedgerPosition, behind: int | None = None, landmarks: str = "") -> str:
    """Write down what a commit rests on."""
    rests_on = f"{_VERSION} {topic_id} {position.topic_id}:{position.next_offset}"
    return rests_on + (f" {behind}" if behind is not None else "") + (f"{_KEPT}{landmarks}" if landmarks else "")


def parse_metadata(metadata: str) -> RestsOn | None:
    """Read what a commit rests on; None for a commit that is not this connector's."""
    rests_on, _, kept = metadata.partition(_KEPT)
    match rests_on.split(" "):
        case [version, topic_id, position, *behind] if version == _VERSION and len(behind) <= 1:
            ledger_id, colon, next_offset = position.rpartition(":")
            if colon and all(map(str.isdecimal, [next_offset, *behind])):
                place = LedgerPosition(ledger_id, int(next_offset))
                return RestsOn(topic_id, place, int(behind[0]) if behind else None, Landmarks.read(kept))
    return None


def accept_value(code: str, *case: str | bytes) -> str:
    """Name a case, so that accepting it does not accept the next one."""
    text = b"\x00".join(part if isinstance(part, bytes) else part.encode() for part in case)
    return f"{code}-{blake2b(text, digest_size=4).hexdigest()}"


@dataclass(slots=True)
class Restoration:
    """Takes in a ledger partition from its beginning, entry by entry, and then says where to start.

    Facts of another destination resolve nothing and their keys do not count as seen; keys digested from other fields do not
    count as seen, their facts still resolve; facts about another topic id or leader epoch resolve nothing, their keys still
    count (docs/how-it-works.md#a-fact-names-its-record, docs/how-it-works.md#the-ledger).
    """

    identity: Identity
    accept: frozenset[str] = frozenset()
    retention_ms: int = 0
    """How long the ledger keeps an entry at least; with 0 it is not known how long."""
    committed: CommittedOffset | None = None
    """What the group had committed when the ledger was read."""
    seen: SeenKeys = field(default_factory=SeenKeys)
    resolved: ResolvedOffsets = field(default_factory=ResolvedOffsets)
    facts: int = 0
    accepted: list[str] = field(default_factory=list)
    """The values of ``ACCEPT`` that were needed to go on."""
    _landmarks: Landmarks = field(init=False)
    _named: dict[int, int] = field(default_factory=dict)
    """When the entries were appended that the commit names, by offset."""
    _replaced: int | None = None
    """The first offset at which another entry stands than the commit names."""
    _newest_ms: int = 0
    _last_destination: bytes | None = None
    _judged_from: int | None = None
    _lowest_fact: int | None = None

    def __post_init__(self) -> None:
        """Begin with the landmarks of an empty ledger."""
        self._landmarks = Landmarks(self.retention_ms)
        rests_on = parse_metadata(self.committed.metadata) if self.committed is not None else None
        if rests_on is not None:
            self._named = dict(rests_on.landmarks.places)

    def take(
        self,
        header: Identity,
        runs: Iterable[tuple[int, int, Outcome, int]],
        keys: bytes,
        times: Iterable[int],
        written: Written = Written(),  # noqa: B008 - immutable
    ) -> Refusal | None:
        """Take in one entry: runs of (first offset, length, outcome, epoch), digests and times of its delivered events."""
        mine = self.identity
        if (header.cluster_id, header.topic, header.group) != (mine.cluster_id, mine.topic, mine.group):
            return Refusal(
                f"the ledger holds facts of topic {header.topic!r}, group {header.group!r}, cluster {header.cluster_id!r}; "
                "give this connector a ledger of its own: set LEDGER_TOPIC"
            )
        if written.append_ms:
            self._landmarks.passed(written.offset, written.append_ms)
            self._newest_ms = max(self._newest_ms, written.append_ms)
            if self._named.get(written.offset, written.append_ms) != written.append_ms and self._replaced is None:
                self._replaced = written.offset
        self._last_destination = header.destination
        if header.destination != mine.destination:
            return None
        if header.dedupe_key == mine.dedupe_key:
            self.seen.add_many(keys, times, written.append_ms)
        if header.topic_id == mine.topic_id:
            self._take_facts(runs)
            if written.start is not None:
                self._judged_from = written.start
        return None

    def _take_facts(self, runs: Iterable[tuple[int, int, Outcome, int]]) -> None:
        lowest = self._lowest_fact
        for first, length, _, epoch in runs:
            self.resolved.add(first, length, epoch)
            self.facts += length
            lowest = first if lowest is None or first < lowest else lowest
        self._lowest_fact = lowest

    def in_doubt(self, state: PartitionState) -> tuple[int, int] | None:
        """Return the stretch of the source in which a record without a fact is skipped by a commit that is not ours.

        It begins with the last record that is known to be judged: if the log has that one still, under the same leader
        epoch, it has all records before it, too. None where nothing has to be looked at.
        """
        committed, begin = state.committed, self._lowest_fact if self._judged_from is None else self._judged_from
        if committed is None or begin is None or parse_metadata(committed.metadata) is not None:
            return None
        end = committed.next_offset
        if end > state.end_offset:
            return None
        begin = min(begin, end)
        reached = min(self.resolved.reach(begin), end)
        last = self.resolved.last_below(reached)
        first = begin if last is None or last[0] < begin - 1 else last[0]
        first = max(first, state.first_offset)
        return (first, end) if first < end else None

    def never_began(self, state: PartitionState) -> bool:
        """Tell whether a commit that is not ours skips records of a partition of which the ledger knows nothing."""
        committed = state.committed
        if committed is None or self._judged_from is not None or self._lowest_fact is not None:
            return False
        return parse_metadata(committed.metadata) is None and state.first_offset < committed.next_offset

    def finish(
        self,
        state: PartitionState,
        out_of_range: OutOfRange,
        *,
        truncated: bool = False,
        skipped: int | None = None,
        unread: bool = False,
    ) -> Recovery | Refusal:
        """Say where to start, after the last entry.

        ``truncated``: the log was cut below our position and grew again, so that the committed offset names another record;
        that is handled like an offset out of range (docs/how-it-works.md#what-a-commit-rests-on).
        ``skipped``: the first record `in_doubt` that has no fact. ``unread``: no entry was taken in
        yet, so only what needs none is refused. The age of what is missing needs some: their append
        times are the brokers' clock, and that of this host may be hours behind.
        """
        found = self._start(state, skipped, unread=unread)
        if isinstance(found, Refusal):
            return found
        offset, epoch, note, ours = found
        vouched = ours or epoch != UNKNOWN_EPOCH
        if (truncated and vouched) or not state.first_offset <= offset <= state.end_offset:
            if not out_of_range.to_earliest:
                return Refusal(
                    f"the committed offset {offset} is outside the log ({state.first_offset} to {state.end_offset}): "
                    "records were deleted before they were read, or the log was truncated. "
                    f"OFFSET_OUT_OF_RANGE=earliest goes on from {state.first_offset}"
                )
            note = f"offset {offset} is outside the log: from its beginning"
            offset, epoch = state.first_offset, UNKNOWN_EPOCH
        if not ours and self.resolved.beyond > offset:
            note += f"; {self.facts} records are resolved in the ledger and not sent again (a new group id would)"
        if self.accepted:
            note += f"; ACCEPT={','.join(self.accepted)}"
        # Runs below the start are never asked for; eight days of them are 0.7 million at one flush a second.
        resolved = self.resolved if self.resolved.beyond > offset else ResolvedOffsets()
        used = state.committed is not None and state.committed.next_offset == offset
        topic_id = self.identity.topic_id
        return Recovery(offset, epoch, state.ledger, topic_id, self.seen, resolved, note, used, self._landmarks)

    def _start(self, state: PartitionState, skipped: int | None, *, unread: bool) -> _Start | Refusal:
        committed = state.committed
        if committed is None:
            return _Start(state.first_offset, UNKNOWN_EPOCH, "no committed offset: from the beginning")
        rests_on = parse_metadata(committed.metadata)
        if rests_on is None:
            return self._not_ours(committed, state, skipped)
        if rests_on.topic_id != self.identity.topic_id:
            note = "the topic was recreated since the last commit: from the beginning"
            return _Start(state.first_offset, UNKNOWN_EPOCH, note)
        refusal = self._ledger_lost(rests_on, state, unread=unread) or self._destination_changed()
        if refusal is not None:
            return refusal
        start = _Start(committed.next_offset, committed.epoch, "from the committed offset", ours=True)
        if rests_on.behind is None:
            return start
        # The epoch vouches for the offset behind its record; what follows, markers alone, may be of later ones.
        if state.first_offset <= rests_on.behind:
            return start._replace(offset=rests_on.behind)
        return start._replace(epoch=UNKNOWN_EPOCH)

    def _not_ours(self, committed: CommittedOffset, state: PartitionState, skipped: int | None) -> _Start | Refusal:
        if _NEWER.match(committed.metadata):
            return Refusal(
                "the group's commits were written by a newer version of this connector: upgrade this member first"
            )
        offset = committed.next_offset
        if skipped is not None:
            case = (self.identity.topic_id, str(state.partition), str(offset), str(skipped))
            accept = accept_value("skipped", *case)
            if not self._accepts(accept):
                return Refusal(
                    f"the committed offset {offset} is not this connector's, and the record at offset {skipped} below it "
                    "has no fact: another consumer committed in this group, or its offsets were reset, and records that "
                    "were never judged would be skipped. Give that consumer a group of its own, and set this group's "
                    f"offset to {skipped} (kafka-consumer-groups.sh --reset-offsets --to-offset {skipped}); or skip them "
                    f"with ACCEPT={accept}",
                    accept,
                )
        start = _Start(offset, committed.epoch, "from an offset that an operator set")
        last, doubt = self.resolved.last_below(offset), self.in_doubt(state)
        if skipped is None and last is not None and doubt is not None and doubt[0] <= last[0]:
            # Nothing stands between that record and the commit. Its epoch shows whether the log was cut below before the
            # first record is read; an offset alone is read on from, whatever was never judged stands below it by then.
            return start._replace(offset=last[0] + 1, epoch=last[1])
        return start

    def _accepts(self, accept: str) -> bool:
        if accept in self.accept:
            self.accepted.append(accept)
            return True
        return False

    def _ledger_lost(self, rests_on: RestsOn, state: PartitionState, *, unread: bool) -> Refusal | None:
        next_offset, then, ledger = rests_on.ledger.next_offset, rests_on.ledger.topic_id, state.ledger
        if next_offset == 0:
            return None
        same = then == ledger.topic_id
        if not same or ledger.next_offset < next_offset:
            what = f"ends at {ledger.next_offset}" if same else "was recreated"
            what += f", but the commit rests on its offset {next_offset}"
            # A ledger cut short keeps its id, so its case is named by the place that is missing.
            case = str(next_offset) if same else ""
        elif self._replaced is not None:
            what = (
                f"was cut short and grew again: at its offset {self._replaced} stands another entry than the commit rests on"
            )
            case = f"another at {self._replaced}"
        elif unread:
            return None
        else:
            now_ms = max(state.now_ms, self._newest_ms)
            missing = rests_on.landmarks.missing(state.ledger_first, self.retention_ms, now_ms)
            if missing is None:
                return None
            what = (
                f"begins at {state.ledger_first}, but its entry {missing.offset} is younger than its retention "
                "(kafka-delete-records, or a retention that was lowered and put back"
                + (
                    ")"
                    if self._newest_ms
                    else "; or the clock of this host, for no entry is left to tell the brokers', is behind)"
                )
            )
            case = f"begins at {state.ledger_first}"
        accept = accept_value("ledger-lost", then, ledger.topic_id, case)
        if self._accepts(accept):
            return None
        return Refusal(
            f"the ledger {what}: facts are missing, and events delivered before may be sent again. Restore the ledger "
            f"topic, or go on with ACCEPT={accept}",
            accept,
        )

    def _destination_changed(self) -> Refusal | None:
        last, mine = self._last_destination, self.identity.destination
        if last is None or last == mine:
            return None
        accept = accept_value("destination-changed", last, mine)
        if self._accepts(accept):
            return None
        return Refusal(
            "this group delivered to another destination so far (contract, base URL, account or data set changed). A new "
            f"KAFKA_GROUP_ID sends the backlog to the new one; ACCEPT={accept} goes on from here",
            accept,
        )
