"""What the pipeline asks the shell to do.

Each command is named in the imperative. `inputs` is the other direction.

A handful per poll, batch or flush; nothing per event. The shell carries them out in order.
"""

from __future__ import annotations

from dataclasses import dataclass

from connector.model import Facts, Flaw, Manner, TopicPartition

__all__ = [
    "AppendFacts",
    "Command",
    "Commit",
    "CommitPoint",
    "Pause",
    "Release",
    "Restore",
    "Resume",
    "Send",
    "Start",
    "StartOver",
    "Stop",
    "WriteLetter",
]


@dataclass(frozen=True, slots=True)
class Restore:
    """Read the committed offset and the ledger of a partition.

    The answer is `Restored` or `RestoreFailed`.
    """

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
    """Leader epoch of the record before that offset, so that the brokers notice a truncated log."""
    topic_id: str


@dataclass(frozen=True, slots=True)
class StartOver:
    """End an assignment (`Lost`) and begin it anew (`Assigned`): what it rests on is gone."""

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
    """The assignments of its events; it may start only while `Pipeline.may_start` agrees."""


@dataclass(frozen=True, slots=True)
class WriteLetter:
    """Write a record to the dead-letter topic; answer with `LettersWritten` or `LetterFailed`."""

    partition: TopicPartition
    generation: int
    topic_id: str
    """Id of the source topic that the record is of."""
    offset: int
    record: object
    flaw: Flaw
    manner: Manner = Manner()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class AppendFacts:
    """Append facts to the ledger. An entry may be empty.

    The answer is `FactsAppended` or `FactsFailed`.

    Serialise them at once: the core goes on adding to the columns of facts that failed.
    """

    partition: TopicPartition
    generation: int
    topic_id: str
    """Id of the source topic that the facts are about."""
    facts: Facts


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """Offset to commit for one partition."""

    partition: TopicPartition
    generation: int
    next_offset: int
    epoch: int
    """Leader epoch of the last record below it."""
    metadata: str
    """What the commit rests on (see `commit_metadata`)."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit next offsets; answer with `CommitFailed` for each that failed."""

    points: tuple[CommitPoint, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Give up a revoked partition, after every command before this one."""

    partition: TopicPartition
    generation: int
    unresolved: int
    """Records given back: received, without an outcome."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process: everything is drained."""

    verdict: str | None = None
    """What an operator must know and do (``ON_VERDICT=stop``); None after a requested shutdown."""


Command = Restore | Start | StartOver | Pause | Resume | Send | WriteLetter | AppendFacts | Commit | Release | Stop
