"""What the shell reports to the pipeline.

Each input is named in the past tense. `commands` is the other direction.

A handful per poll, batch or flush; nothing per event.
"""

from __future__ import annotations

from dataclasses import dataclass

from connector.core.recovery import Recovery
from connector.model import Answer, Poll, TopicPartition

__all__ = [
    "Assigned",
    "CommitFailed",
    "FactsAppended",
    "FactsFailed",
    "Input",
    "LetterFailed",
    "LettersWritten",
    "Lost",
    "Polled",
    "RequestFinished",
    "RestoreFailed",
    "Restored",
    "Revoked",
    "ShutdownRequested",
    "TimePassed",
    "TopicSeen",
    "Unreadable",
]


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group assigned us a partition; it is paused until `Start`."""

    partition: TopicPartition
    generation: int
    truncated: bool = False
    """Whether the log lacks what our position rests on, so that the committed offset cannot be
    trusted."""
    anew: bool = False
    """Whether it was ours before and begins anew, for a reason that may persist."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The ledger of a partition was read."""

    generation: int
    recovery: Recovery


@dataclass(frozen=True, slots=True)
class RestoreFailed:
    """The ledger could not be read, or must not be trusted.

    The partition stays paused and the restore is tried again.
    """

    generation: int
    message: str
    needs_operator: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """The group takes partitions back; they are ours until `Release`."""

    generations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Partitions are no longer ours, and may be another member's already."""

    generations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Polled:
    """Records came in: one poll for each partition."""

    polls: tuple[Poll, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What follows in the log cannot be read.

    The partition is paused, and read again when it is resumed.
    """

    generation: int
    offset: int
    """Next offset to read. Every record below it was read."""
    code: str
    """Kafka's name of the error."""


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A request came to an end."""

    request: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class LettersWritten:
    """The brokers have confirmed dead letters, as many as became known together."""

    letters: tuple[tuple[int, int], ...]
    """The generation and the offset of each."""


@dataclass(frozen=True, slots=True)
class LetterFailed:
    """A dead letter could not be written; ``code`` is Kafka's name of the error."""

    generation: int
    offset: int
    code: str


@dataclass(frozen=True, slots=True)
class FactsAppended:
    """The facts of an `AppendFacts` are confirmed by the brokers (acks=all)."""

    generation: int
    next_offset: int
    """Offset of the ledger partition after the entry."""
    append_ms: int | None
    """Milliseconds by the brokers' clock when they appended it; None from a simulator, which has no
    such clock."""


@dataclass(frozen=True, slots=True)
class FactsFailed:
    """The facts of an `AppendFacts` were not written, or it is not known whether they were.

    ``topic`` is the ledger, and ``code`` Kafka's name of the error, empty if there is none.
    """

    generation: int
    topic: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The brokers refused a commit, which does no harm: the facts are in the ledger."""

    generation: int


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """The brokers described a source topic; an id other than before means that it was recreated."""

    topic: str
    topic_id: str
    kept: bool = True
    """Whether its ledger and its dead-letter topic are there, and keep what is written to them. If
    not, the restore says what is to be done."""


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """The process was asked to end: finish what is in flight, then `Stop`."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """A time that `Pipeline.wake_at` named has come."""


Input = (
    Assigned
    | Restored
    | RestoreFailed
    | Revoked
    | Lost
    | Polled
    | Unreadable
    | RequestFinished
    | LettersWritten
    | LetterFailed
    | FactsAppended
    | FactsFailed
    | CommitFailed
    | TopicSeen
    | ShutdownRequested
    | TimePassed
)
