"""The headers of a dead letter, and of a record that was replayed from one.

A letter is its record byte for byte, with `LETTER_HEADERS` appended: a producer may have headers of the same names, and a
replayed record may become a letter again, so what was appended *last* is ours, and all before it is the record's. A
replayed record is the record with `REPLAY_HEADERS` appended: the id it keeps, the record it is a copy of, and how often that
was replayed. Replayed again it gets them anew, so that they never pile up.

A letter that lacks a part of its record says so in `LEFT_OUT_HEADER`, right before its
`LETTER_HEADERS`: so a connector of before, which does not know it, reads that letter as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connector.core.dedupe import derived_id
from connector.model import TopicPartition

__all__ = [
    "DEDUPE_ID_HEADER",
    "HEADERS",
    "KEY",
    "LEFT_OUT_HEADER",
    "LETTER_HEADERS",
    "REASON_HEADER",
    "REPLAY_HEADERS",
    "UNREADABLE",
    "VALUE",
    "Headers",
    "Letter",
    "kept",
    "largest",
    "marked",
    "replay_of",
    "replayed",
    "replayed_without_value",
    "size",
]

Headers = Sequence[tuple[str, bytes | None]]

DEDUPE_ID_HEADER = "connector.dedupe-id"
"""On a dead letter, the derived id of its record; on a replayed one, the id it keeps (docs/how-it-works.md#derived-ids)."""
REASON_HEADER = "connector.reason"

LETTER_HEADERS = (
    REASON_HEADER,
    "connector.detail",
    "connector.topic",
    "connector.partition",
    "connector.offset",
    "connector.timestamp",
    "connector.group",
    DEDUPE_ID_HEADER,
)
REPLAY_HEADERS = (DEDUPE_ID_HEADER, "connector.replay-of", "connector.replays")

LEFT_OUT_HEADER = "connector.left-out"
"""On a letter that lacks a part of its record: which, with commas."""
VALUE, HEADERS, KEY = "value", "headers", "key"
"""What a letter may lack because its topic takes no larger one; the record in the source has it."""
UNREADABLE = "unreadable headers"
"""What it lacks because our Kafka client cannot read them, wherever they stand."""
_PARTS = frozenset({VALUE, HEADERS, KEY, UNREADABLE})

_MOST_KEPT_BYTES = 4096
"""Of a header of ours that stays when a record's headers are left out."""
_MOST_DIGITS = 20
"""Of a number of Kafka's. Python refuses to read some thousand digits."""
_BEYOND = 2**63
"""No offset or time of Kafka's is so large; its client fails on one that is."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What the headers of a dead letter say."""

    reason: str
    source: TopicPartition
    offset: int
    timestamp_ms: int
    """Of the record, as its producer or its broker set it."""
    group: str
    dedupe_id: str
    replays: int
    """How often its record had been replayed before."""
    id_derived: bool
    """Whether the id was derived from where the record stood, and not brought along."""
    left_out: frozenset[str] = frozenset()
    """What of its record it lacks, by the words above."""

    @classmethod
    def read(cls, headers: Headers) -> Letter | None:
        """Read a record of the dead-letter topic; None if it is no letter of a connector."""
        values = _tail(headers, LETTER_HEADERS)
        if values is None:
            return None
        reason, _, topic, partition, offset, timestamp, group, dedupe_id = values
        if not (_is_number(partition) and _is_number(offset) and _is_number(timestamp.removeprefix("-"))):
            return None
        record, left_out = _own(headers)
        source = TopicPartition(topic, int(partition))
        derived = not any(name == DEDUPE_ID_HEADER and value for name, value in record)
        return cls(reason, source, int(offset), int(timestamp), group, dedupe_id, _replays(record), derived, left_out)

    @property
    def record(self) -> str:
        """Name the record it is a copy of, as ``connector.replay-of`` does."""
        return f"{self.source}@{self.offset}"

    @property
    def lacks(self) -> frozenset[str]:
        """What it lacks and the record in the source topic has."""
        return self.left_out - {UNREADABLE}

    def may_stand_in(self, cluster_id: str, topic_id: str) -> bool:
        """Tell whether its record may be one of this topic, and not of one of the same name that was deleted.

        A derived id is made of the topic's id, so it tells; an id that was brought along does not.
        """
        source = self.source.partition
        return not self.id_derived or self.dedupe_id == derived_id(
            cluster_id, topic_id, source, self.offset, self.timestamp_ms
        )


def size(headers: Headers) -> int:
    """Return how many bytes headers take on the wire, near enough."""
    return sum(len(name) + len(value or b"") for name, value in headers)


def largest(count: int, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Choose so many parts of a record, the largest first; of those that are empty none."""
    return tuple(sorted(filter(sizes.get, sizes), key=sizes.__getitem__, reverse=True)[:count])


def kept(record: Headers) -> Headers:
    """Return what stays when a record's headers are left out: what a replay wrote, or the id that was brought along."""
    ours = [one for one in record if one[0] in REPLAY_HEADERS and len(one[1] or b"") <= _MOST_KEPT_BYTES]
    if _tail(ours, REPLAY_HEADERS) is not None:
        return ours[-len(REPLAY_HEADERS) :]
    return [one for one in ours if one[0] == DEDUPE_ID_HEADER and one[1]][:1]


def replayed(letter: Letter, headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers with which a letter's record is replayed: its own as they were, and `REPLAY_HEADERS`."""
    record, _ = _own(headers)
    return marked(letter, record)


def marked(letter: Letter, record: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers with which a record is replayed that a letter lacks: ``record``, and `REPLAY_HEADERS`."""
    if _tail(record, REPLAY_HEADERS) is not None:
        record = record[: -len(REPLAY_HEADERS)]
    ours = (letter.dedupe_id, letter.record, str(letter.replays + 1))
    return [*record, *((name, text.encode()) for name, text in zip(REPLAY_HEADERS, ours, strict=True))]


def replay_of(headers: Headers) -> tuple[str, str] | None:
    """Return the id of a replayed record and which record it is a copy of; None for a record that was not replayed."""
    values = _tail(headers, REPLAY_HEADERS)
    return None if values is None else (values[0], values[1])


def replayed_without_value(headers: Headers) -> str | None:
    """Return which record it is a copy of, for a record that was replayed from a letter without a value; else None.

    A version that did not know `LEFT_OUT_HEADER` took it for the record's, and so left it where it stands.
    """
    said = _tail(headers[: -len(REPLAY_HEADERS)], (LEFT_OUT_HEADER,))
    of = replay_of(headers)
    return of[1] if of is not None and said is not None and VALUE in said[0].split(", ") else None


def _own(headers: Headers) -> tuple[Headers, frozenset[str]]:
    """Return the headers of a letter that are its record's, and what it lacks."""
    record = headers[: -len(LETTER_HEADERS)]
    said = _tail(record, (LEFT_OUT_HEADER,))
    left_out = frozenset[str]() if said is None else frozenset(said[0].split(", "))
    return (record[:-1], left_out) if left_out and left_out <= _PARTS else (record, frozenset())


def _replays(record: Headers) -> int:
    values = _tail(record, REPLAY_HEADERS)
    return int(values[2]) if values is not None and _is_number(values[2]) else 0


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) < _BEYOND


def _tail(headers: Headers, names: tuple[str, ...]) -> list[str] | None:
    """Return the values of the last headers if they have these names, in this order."""
    last = headers[-len(names) :]
    if tuple(name for name, _ in last) != names:
        return None
    return [(value or b"").decode("utf-8", "replace") for _, value in last]
