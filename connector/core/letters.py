"""The headers of a dead letter, and of a record that was replayed from one.

    dead letter       the record's headers  [connector.left-out]  LETTER_HEADERS
    replayed record   the record's headers                        REPLAY_HEADERS

A letter is its record byte for byte, with `LETTER_HEADERS` appended. A producer may use headers of
the same names, and a replayed record may become a letter again. So only the headers appended *last*
are ours; all before them belong to the record.

A replayed record is the record with `REPLAY_HEADERS` appended: the dedupe id that it keeps, the
record that it is a copy of, and how often that record was replayed. A second replay replaces them,
so they never pile up.

A letter that lacks a part of its record says so in `LEFT_OUT_HEADER`, right before
`LETTER_HEADERS`. There, versions that do not know this header take it for the record's and still
read the letter.
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
"""Header with the derived id of a dead letter's record, or the id that a replayed record keeps
(docs/how-it-works.md#derived-ids)."""
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
"""Names the parts of its record that a letter lacks, separated by commas."""
VALUE, HEADERS, KEY = "value", "headers", "key"
"""Parts that a letter lacks if its topic refused it as too large. The record in the source topic
has them."""
UNREADABLE = "unreadable headers"
"""Part that a letter lacks because our Kafka client cannot read it, in the source topic neither."""
_PARTS = frozenset({VALUE, HEADERS, KEY, UNREADABLE})

_MOST_KEPT_BYTES = 4096
"""Maximum size of a header of ours that stays when a record's headers are left out."""
_MOST_DIGITS = 20
"""Maximum length of a number in a header. Python refuses to parse a number of some thousand
digits."""
_END = 2**63
"""End of the range of Kafka's offsets and timestamps. Its client fails on a larger number."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Parsed headers of a dead letter."""

    reason: str
    source: TopicPartition
    offset: int
    timestamp_ms: int
    """Timestamp of the record, as its producer or broker set it."""
    group: str
    dedupe_id: str
    replays: int
    """How often the record had been replayed before it became this letter."""
    id_derived: bool
    """Whether ``dedupe_id`` was derived from the place of the record, rather than carried in a
    header of the record."""
    left_out: frozenset[str] = frozenset()
    """Parts of the record that the letter lacks: `VALUE`, `HEADERS`, `KEY`, `UNREADABLE`."""

    @classmethod
    def read(cls, headers: Headers) -> Letter | None:
        """Parse the headers of a dead letter; None if no connector wrote it."""
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
        """Name of the record that became this letter, as in ``connector.replay-of``."""
        return f"{self.source}@{self.offset}"

    @property
    def lacks(self) -> frozenset[str]:
        """Parts that the letter lacks and the record in the source topic has."""
        return self.left_out - {UNREADABLE}

    def may_stand_in(self, cluster_id: str, topic_id: str) -> bool:
        """Return whether the record may be in this topic, not in a deleted one of the same name.

        A derived id is made from the topic's id, so it tells the two apart. Any other id does not,
        and the answer is then yes.
        """
        source = self.source.partition
        return not self.id_derived or self.dedupe_id == derived_id(
            cluster_id, topic_id, source, self.offset, self.timestamp_ms
        )


def size(headers: Headers) -> int:
    """Return about how many bytes headers take on the wire."""
    return sum(len(name) + len(value or b"") for name, value in headers)


def largest(count: int, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names of the ``count`` largest parts of a record, largest first, none empty."""
    return tuple(sorted(filter(sizes.get, sizes), key=sizes.__getitem__, reverse=True)[:count])


def kept(record: Headers) -> Headers:
    """Return the headers that stay when all others go: those of a replay, or the dedupe id."""
    ours = [one for one in record if one[0] in REPLAY_HEADERS and len(one[1] or b"") <= _MOST_KEPT_BYTES]
    if _tail(ours, REPLAY_HEADERS) is not None:
        return ours[-len(REPLAY_HEADERS) :]
    return [one for one in ours if one[0] == DEDUPE_ID_HEADER and one[1]][:1]


def replayed(letter: Letter, headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers of the replayed record: its own from the letter, and `REPLAY_HEADERS`."""
    record, _ = _own(headers)
    return marked(letter, record)


def marked(letter: Letter, record: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers of the replayed record; ``record`` are those in the source topic."""
    if _tail(record, REPLAY_HEADERS) is not None:
        record = record[: -len(REPLAY_HEADERS)]
    ours = (letter.dedupe_id, letter.record, str(letter.replays + 1))
    return [*record, *((name, text.encode()) for name, text in zip(REPLAY_HEADERS, ours, strict=True))]


def replay_of(headers: Headers) -> tuple[str, str] | None:
    """Return the dedupe id of a replayed record and the name of its original, or None."""
    values = _tail(headers, REPLAY_HEADERS)
    return None if values is None else (values[0], values[1])


def replayed_without_value(headers: Headers) -> str | None:
    """Return the name of the original of a record replayed without its value; None for any other.

    Only a version that did not know `LEFT_OUT_HEADER` replayed such a letter. It took that header
    for the record's own and left it in place, which is how such a record is recognised.
    """
    said = _tail(headers[: -len(REPLAY_HEADERS)], (LEFT_OUT_HEADER,))
    of = replay_of(headers)
    return of[1] if of is not None and said is not None and VALUE in said[0].split(", ") else None


def _own(headers: Headers) -> tuple[Headers, frozenset[str]]:
    """Return the record's own headers in a letter, and the parts that the letter lacks."""
    record = headers[: -len(LETTER_HEADERS)]
    said = _tail(record, (LEFT_OUT_HEADER,))
    left_out = frozenset[str]() if said is None else frozenset(said[0].split(", "))
    return (record[:-1], left_out) if left_out and left_out <= _PARTS else (record, frozenset())


def _replays(record: Headers) -> int:
    values = _tail(record, REPLAY_HEADERS)
    return int(values[2]) if values is not None and _is_number(values[2]) else 0


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) < _END


def _tail(headers: Headers, names: tuple[str, ...]) -> list[str] | None:
    """Return the values of the last headers if they have these names in this order; else None."""
    last = headers[-len(names) :]
    if tuple(name for name, _ in last) != names:
        return None
    return [(value or b"").decode("utf-8", "replace") for _, value in last]
