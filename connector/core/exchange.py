"""What passes between the shell and the pipeline: inputs in the past tense, commands in the imperative.

A handful per poll, batch or flush; nothing per event.
"""

from __future__ import annotations

from dataclasses import dataclass

from connector.core.recovery import Recovery
from connector.model import Answer, Facts, Flaw, Poll, TopicPartition

__all__ = [
    "AppendFacts",
    "Assigned",
    "Command",
    "Commit",
    "CommitFailed",
    "CommitPoint",
    "FactsAppended",
    "FactsFailed",
    "Input",
    "LetterFailed",
    "LetterWritten",
    "Lost",
    "Pause",
    "Polled",
    "Release",
    "RequestFinished",
    "Restore",
    "RestoreFailed",
    "Restored",
    "Resume",
    "Revoked",
    "Send",
    "ShutdownRequested",
    "Start",
    "StartOver",
    "Stop",
    "TimePassed",
    "TopicSeen",
    "Unreadable",
    "WriteLetter",
]


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group gave us a partition; it is paused until `Start`."""

    partition: TopicPartition
    generation: int
    truncated: bool = False
    """Whether the log was found to lack what our position rests on, so that the committed offset cannot be trusted."""
    anew: bool = False
    """Whether it was ours before and begins anew, for a reason that may be there still."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The ledger of a partition was read."""

    generation: int
    recovery: Recovery


@dataclass(frozen=True, slots=True)
class RestoreFailed:
    """The ledger could not be read, or must not be trusted; the partition stays paused and it is tried again."""

    generation: int
    sentence: str
    needs_operator: bool
    chance: float


@dataclass(frozen=True, slots=True)
class Revoked:
    """The group wants partitions back; they are ours until `Release`."""

    generations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Partitions are ours no longer, and may be another member's already."""

    generations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Polled:
    """Records came in: one poll a partition."""

    polls: tuple[Poll, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What follows in the log cannot be read; the partition is paused until it is resumed, and then it is asked again."""

    generation: int
    offset: int
    """Where it is read on from; what comes before it was read."""
    code: str
    """Kafka's name of the error."""


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A request came to an end."""

    request: int
    answer: Answer
    chance: float
    """Drawn from [0, 1), for the jitter of a retry."""


@dataclass(frozen=True, slots=True)
class LetterWritten:
    """A dead letter is confirmed by the brokers."""

    generation: int
    offset: int


@dataclass(frozen=True, slots=True)
class LetterFailed:
    """A dead letter could not be written, for a reason that Kafka's error code names."""

    generation: int
    offset: int
    code: str
    chance: float


@dataclass(frozen=True, slots=True)
class FactsAppended:
    """The facts of an `AppendFacts` are confirmed by the brokers (acks=all)."""

    generation: int
    next_offset: int
    """Of the ledger partition, after the entry."""
    append_ms: int | None
    """The brokers' clock when they appended it; None from a simulator, which has none."""


@dataclass(frozen=True, slots=True)
class FactsFailed:
    """The facts of an `AppendFacts` could not be written, or it is not known whether they were."""

    generation: int
    chance: float


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The brokers refused a commit: no harm, for the facts are in the ledger."""

    generation: int


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """The brokers describe a source topic; an id other than before means that it was recreated."""

    topic: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """The process is asked to end: finish what is in flight, then `Stop`."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened but time."""


Input = (
    Assigned
    | Restored
    | RestoreFailed
    | Revoked
    | Lost
    | Polled
    | Unreadable
    | RequestFinished
    | LetterWritten
    | LetterFailed
    | FactsAppended
    | FactsFailed
    | CommitFailed
    | TopicSeen
    | ShutdownRequested
    | TimePassed
)


@dataclass(frozen=True, slots=True)
class Restore:
    """Read committed offset and ledger of a partition; answer with `Restored` or `RestoreFailed`."""

    partition: TopicPartition
    generation: int
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Seek a partition to an offset; it stays paused until `Resume`."""

    partition: TopicPartition
    generation: int
    offset: int
    epoch: int
    """Leader epoch of the record before that offset, so that a truncated log is noticed."""
    topic_id: str


@dataclass(frozen=True, slots=True)
class StartOver:
    """End an assignment (`Lost`) and begin it anew (`Assigned`): what it stands on is not there any more."""

    partition: TopicPartition
    generation: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop fetching a partition."""

    partition: TopicPartition
    generation: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Fetch a partition."""

    partition: TopicPartition
    generation: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; answer with `RequestFinished`."""

    request: int
    body: bytes
    count: int
    attempt: int
    """Failures of these events before, as a request."""
    generations: frozenset[int]
    """The assignments that its events are of; it may start only as long as `Pipeline.may_start` says so."""


@dataclass(frozen=True, slots=True)
class WriteLetter:
    """Write a record to the dead-letter topic; answer with `LetterWritten` or `LetterFailed`."""

    partition: TopicPartition
    generation: int
    offset: int
    record: object
    flaw: Flaw


@dataclass(frozen=True, slots=True)
class AppendFacts:
    """Append facts to the ledger (an empty entry is legal); answer with `FactsAppended` or `FactsFailed`.

    To be serialised at once: the core goes on adding to the columns of facts that failed.
    """

    partition: TopicPartition
    generation: int
    topic_id: str
    """Of the source topic that the facts are about."""
    facts: Facts


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """Where one partition stands."""

    partition: TopicPartition
    generation: int
    next_offset: int
    epoch: int
    """Leader epoch of the last record below it."""
    metadata: str
    """What the commit rests on; see `recovery`."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit next offsets; answer with `CommitFailed` for each that failed."""

    points: tuple[CommitPoint, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Give a revoked partition up; every command before this one comes first."""

    partition: TopicPartition
    generation: int
    unresolved: int
    """Records given back: received, their fate not known."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Everything is drained: end the process."""

    verdict: str | None = None
    """The sentence that needs an operator (``ON_VERDICT=stop``); None after a requested shutdown."""


Command = Restore | Start | StartOver | Pause | Resume | Send | WriteLetter | AppendFacts | Commit | Release | Stop
