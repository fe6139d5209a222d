"""What a commit of ours says it rests on: the metadata of the commit, written and read.

The metadata of a commit is

    v1 <source topic id> <ledger topic id>:<next offset> [<after last record>] [kept <landmarks>]

The offset after the last record is lower than the committed offset if markers of transactions
follow that record, and otherwise equal. It names the record that the rest was written about: a tool
that keeps the metadata of a commit and changes its offset skips nothing. Earlier versions left it
out if it was equal; such a commit is checked against the ledger like a foreign one. They read it
either way.

`landmarks` describes the last part. Versions that do not know landmarks take such a commit for an
operator's: they start at the same offset, know the same facts, and commit as before. So a group may
be updated, or put back, one member at a time.

What must change together: writing, reading, and the versions before. What they cannot read they
take for foreign, so a format that they would misread needs a new version number, which they refuse.
After that number stands the id of the source topic, in every version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from connector.core.landmarks import Landmarks

__all__ = ["LedgerPosition", "RestsOn", "commit_metadata", "is_newer", "names_its_offset", "parse_metadata"]

_VERSION = "v1"
_KEPT = " kept "
_NEWER = re.compile(r"v([2-9]|[1-9]\d+) [\w+/-]{22} ", re.ASCII)
"""A topic id is 16 bytes in base64, so no tool's own words are of this form."""


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """Position in a ledger partition: all entries below ``next_offset``."""

    topic_id: str
    next_offset: int


class RestsOn(NamedTuple):
    """Parsed metadata of a commit of ours."""

    topic_id: str
    """Id of the source topic."""
    ledger: LedgerPosition
    """Position below which the ledger held all facts that the commit needs."""
    after_last_record: int | None
    """Offset after the last record below the committed offset; None in a commit of an earlier
    version, unless markers of transactions stand between the two."""
    landmarks: Landmarks
    """Entries that the ledger held at the commit."""


def commit_metadata(
    topic_id: str, position: LedgerPosition, after_last_record: int | None = None, landmarks: str = ""
) -> str:
    """Return the metadata of a commit, which says what the commit rests on."""
    rests_on = f"{_VERSION} {topic_id} {position.topic_id}:{position.next_offset}"
    last = f" {after_last_record}" if after_last_record is not None else ""
    return rests_on + last + (f"{_KEPT}{landmarks}" if landmarks else "")


def parse_metadata(metadata: str) -> RestsOn | None:
    """Parse the metadata of a commit; None for a foreign commit."""
    rests_on, _, kept = metadata.partition(_KEPT)
    match rests_on.split(" "):
        case [version, topic_id, position, *last] if version == _VERSION and len(last) <= 1:
            ledger_id, colon, next_offset = position.rpartition(":")
            if colon and all(map(str.isdecimal, [next_offset, *last])):
                place = LedgerPosition(ledger_id, int(next_offset))
                return RestsOn(topic_id, place, int(last[0]) if last else None, Landmarks.read(kept))
    return None


def is_newer(metadata: str) -> bool:
    """Return whether the metadata of a commit is of a newer version of this connector."""
    return _NEWER.match(metadata) is not None


def names_its_offset(metadata: str) -> bool:
    """Return whether the metadata of a commit tells which offset it was written for.

    That of a foreign commit does not, nor that of an earlier version.
    """
    rests_on = parse_metadata(metadata)
    return rests_on is not None and rests_on.after_last_record is not None
