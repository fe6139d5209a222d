"""Where an assignment starts, what it already knows, and when it must not start at all.

*A ledger that knows too little costs a second send; a ledger that knows too much loses events* (design: The guarantee). So
every fact is checked for whose it is, and a commit says what it rests on: its metadata is

    v1 <source topic id> <ledger topic id>:<next offset of the ledger> [<offset behind the last record>]

where the last stands only if markers of transactions follow that record. A commit without that metadata is an operator's,
and is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from connector.core.dedupe import SeenKeys
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
    "commit_metadata",
    "parse_metadata",
]

_VERSION = "v1"
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


class RestsOn(NamedTuple):
    """What a commit rests on, as its metadata has it."""

    topic_id: str
    """Of the source topic."""
    ledger: LedgerPosition
    """The facts below it."""
    behind: int | None
    """The offset behind the last record below the committed offset, where markers of transactions stand between the two."""


def commit_metadata(topic_id: str, position: LedgerPosition, behind: int | None = None) -> str:
    """Write down what a commit rests on."""
    rests_on = f"{_VERSION} {topic_id} {position.topic_id}:{position.next_offset}"
    return rests_on if behind is None else f"{rests_on} {behind}"


def parse_metadata(metadata: str) -> RestsOn | None:
    """Read what a commit rests on; None for a commit that is not this connector's."""
    match metadata.split(" "):
        case [version, topic_id, position, *behind] if version == _VERSION and len(behind) <= 1:
            ledger_id, colon, next_offset = position.rpartition(":")
            if colon and all(map(str.isdecimal, [next_offset, *behind])):
                return RestsOn(topic_id, LedgerPosition(ledger_id, int(next_offset)), int(behind[0]) if behind else None)
    return None


def _accept_value(code: str, *case: str | bytes) -> str:
    """Name a case, so that accepting it does not accept the next one."""
    text = b"\x00".join(part if isinstance(part, bytes) else part.encode() for part in case)
    return f"{code}-{blake2b(text, digest_size=4).hexdigest()}"


@dataclass(slots=True)
class Restoration:
    """Takes in a ledger partition from its beginning, entry by entry, and then says where to start.

    Facts of another destination resolve nothing and their keys do not count as seen; keys digested from other fields do not
    count as seen, their facts still resolve; facts about another topic id or leader epoch resolve nothing, their keys still
    count (design: The guarantee, point 4; The ledger).
    """

    identity: Identity
    accept: frozenset[str] = frozenset()
    seen: SeenKeys = field(default_factory=SeenKeys)
    resolved: ResolvedOffsets = field(default_factory=ResolvedOffsets)
    facts: int = 0
    accepted: list[str] = field(default_factory=list)
    """The values of ``ACCEPT`` that were needed to go on."""
    _last_destination: bytes | None = None

    def take(
        self, header: Identity, runs: Iterable[tuple[int, int, Outcome, int]], keys: bytes, times: Iterable[int]
    ) -> Refusal | None:
        """Take in one entry: runs of (first offset, length, outcome, epoch), digests and times of its delivered events."""
        mine = self.identity
        if (header.cluster_id, header.topic, header.group) != (mine.cluster_id, mine.topic, mine.group):
            return Refusal(
                f"the ledger holds facts of topic {header.topic!r}, group {header.group!r}, cluster {header.cluster_id!r}; "
                "give this connector a ledger of its own: set LEDGER_TOPIC"
            )
        self._last_destination = header.destination
        if header.destination != mine.destination:
            return None
        if header.dedupe_key == mine.dedupe_key:
            self.seen.add_many(keys, times)
        if header.topic_id == mine.topic_id:
            for first, length, _, epoch in runs:
                self.resolved.add(first, length, epoch)
                self.facts += length
        return None

    def finish(self, state: PartitionState, out_of_range: OutOfRange, *, truncated: bool = False) -> Recovery | Refusal:
        """Say where to start, after the last entry.

        ``truncated``: the log was cut below our position and grew again, so that the committed offset names another record;
        that is handled like an offset out of range (design: point 6).
        """
        offset, epoch, note, ours = state.first_offset, UNKNOWN_EPOCH, "no committed offset: from the beginning", False
        committed = state.committed
        if committed is not None:
            rests_on = parse_metadata(committed.metadata)
            if rests_on is None and _NEWER.match(committed.metadata):
                return Refusal(
                    "the group's commits were written by a newer version of this connector: upgrade this member first"
                )
            if rests_on is None:
                offset, note = committed.next_offset, "from an offset that an operator set"
            elif rests_on.topic_id != self.identity.topic_id:
                note = "the topic was recreated since the last commit: from the beginning"
            else:
                refusal = self._ledger_lost(rests_on.ledger, state.ledger) or self._destination_changed()
                if refusal is not None:
                    return refusal
                offset, epoch, note, ours = committed.next_offset, committed.epoch, "from the committed offset", True
                if rests_on.behind is not None:
                    # The epoch vouches for the offset behind its record; what follows, markers alone, may be of later ones.
                    still_there = state.first_offset <= rests_on.behind
                    offset, epoch = (rests_on.behind, epoch) if still_there else (offset, UNKNOWN_EPOCH)
        if (truncated and ours) or not state.first_offset <= offset <= state.end_offset:
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
        used = committed is not None and committed.next_offset == offset
        return Recovery(offset, epoch, state.ledger, self.identity.topic_id, self.seen, resolved, note, used)

    def _ledger_lost(self, rests_on: LedgerPosition, ledger: LedgerPosition) -> Refusal | None:
        if rests_on.next_offset == 0:
            return None
        same = rests_on.topic_id == ledger.topic_id
        if same and ledger.next_offset >= rests_on.next_offset:
            return None
        # A ledger cut short keeps its id, so its case is named by the place that is missing.
        accept = _accept_value("ledger-lost", rests_on.topic_id, ledger.topic_id, str(rests_on.next_offset) if same else "")
        if accept in self.accept:
            self.accepted.append(accept)
            return None
        what = f"ends at {ledger.next_offset}" if same else "was recreated"
        return Refusal(
            f"the ledger {what}, but the commit rests on its offset {rests_on.next_offset}: facts are missing, and events "
            f"delivered before may be sent again. Restore the ledger topic, or go on with ACCEPT={accept}",
            accept,
        )

    def _destination_changed(self) -> Refusal | None:
        last, mine = self._last_destination, self.identity.destination
        if last is None or last == mine:
            return None
        accept = _accept_value("destination-changed", last, mine)
        if accept in self.accept:
            self.accepted.append(accept)
            return None
        return Refusal(
            "this group delivered to another destination so far (contract, base URL, account or data set changed). A new "
            f"KAFKA_GROUP_ID sends the backlog to the new one; ACCEPT={accept} goes on from here",
            accept,
        )
