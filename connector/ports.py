"""Protocols between the parts: what the core and the shell ask of the adapters.

Each says when it is called, on which thread, whether it may block, and what it may leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from connector.core import commands
from connector.core.recovery import Recovery
from connector.errors import SchemaUnavailable
from connector.model import Answer, Facts, Flaw, Manner, TopicDescription, TopicPartition

__all__ = [
    "Clock",
    "Confirmation",
    "ConsumerEvents",
    "Decoder",
    "Ledger",
    "LedgerTopics",
    "Letters",
    "MonitorEvents",
    "MonitoredSource",
    "Record",
    "RecordOrigin",
    "Sink",
    "Source",
    "SourceCommand",
    "WireContract",
]

SourceCommand = commands.Start | commands.StartOver | commands.Pause | commands.Resume | commands.Commit | commands.Release
"""Commands of the pipeline to the consumer."""


class Clock(Protocol):
    """The clocks of the host."""

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970 UTC."""

    def monotonic(self) -> float:
        """Return the seconds since some fixed point."""


class Record(Protocol):
    """A record as polled. ``confluent_kafka.Message`` is one."""

    def value(self) -> bytes | None:
        """Return the value."""

    def key(self) -> bytes | None:
        """Return the key."""

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        """Return the headers, in order."""

    def topic(self) -> str | None:
        """Return the topic."""

    def offset(self) -> int:
        """Return the offset."""

    def leader_epoch(self) -> int | None:
        """Return the epoch of the leader that appended it, if the broker said."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of the timestamp and its milliseconds."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Delivery report of a record written to the ledger or the dead-letter topic."""

    error: str | None
    """Name of Kafka's error code; None once all in-sync replicas have the record."""
    offset: int
    append_ms: int | None
    """Append time by the brokers' clock, on a topic with ``message.timestamp.type=LogAppendTime``;
    else None."""


class Decoder(Protocol):
    """Decodes records to the inputs of ``schemas/conversion_event.avsc``."""

    def decode(self, record: Record, waited: float = 0.0) -> dict[str, object] | Flaw | None:
        """Decode a record that has a value by the writer's schema, and map it to our input names.

        Returns None if the value is null, or the mapping says that the record is no event. Returns
        a flaw if the mapping finds one.

        ``waited`` is the number of seconds that the record has waited for its schema. ``timestamp``
        is whole milliseconds since 1970 UTC, whatever unit the writer declared. Inputs that the
        writer does not have are absent.

        Raises:
            RecordError: the record is at fault.
            SchemaUnavailable: the schema cannot be fetched for now; call again later.
        """


class WireContract(Protocol):
    """One of Amazon's two wire contracts. Pure: no I/O."""

    @property
    def prefix(self) -> bytes:
        """Bytes before the first event of a request body."""

    @property
    def suffix(self) -> bytes:
        """Bytes after the last event of a request body. A comma separates two events."""

    @property
    def path(self) -> str:
        """Path of the endpoint below the base URL."""

    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request."""

    def encode(self, inputs: Mapping[str, object], dedupe_id: str) -> bytes | Flaw:
        """Encode one event as it stands in the request, or return the rules that it breaks.

        ``dedupe_id`` is the id that Amazon de-duplicates by: the event's own, or the derived one.
        """

    def read(self, status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        """Parse the answer to a request of ``count`` events. Never raises, whatever the input."""


class Sink(Protocol):
    """Sends requests to Amazon."""

    async def send(self, body: bytes, count: int, *, may_start: Callable[[], bool]) -> Answer:
        """Send a request body of ``count`` events. Never raises because of Amazon or the network.

        ``may_start`` is called right before the body goes out, each time it does, because the
        request may have waited for a token. If it returns False, nothing is sent, and the failure
        is `Failure.NOT_SENT`.
        """

    async def close(self) -> None:
        """Close connections."""


# ---- Kafka, as the runtime sees it


class Source(Protocol):
    """The consumer, on a thread of its own: it posts inputs and takes commands.

    All methods but `close` return at once. An input may be about an assignment that has ended by
    the time the input is handled; its generation number tells.
    """

    @property
    def last_poll(self) -> float:
        """Monotonic second at which the last poll began that proves the consumer alive.

        Nothing is sent if that was long ago.
        """

    @property
    def vouched(self) -> float:
        """Monotonic second as of which the group's coordinator last confirmed our membership."""

    def start(self) -> None:
        """Start polling. Called once, before any command."""

    def submit(self, command: SourceCommand) -> None:
        """Queue a command. Commands are carried out between two polls, in order of submission.

        A command whose generation has ended is dropped silently. So is every command after `close`.
        """

    def polled_handled(self) -> None:
        """Report that a posted poll was handled. Called once per poll.

        The source posts at most two polls that are not handled yet.
        """

    def close(self) -> bool:
        """Commit what was submitted, then leave the group. Called once, at the end.

        Blocks for a limited time; returns whether the group was left. If not, the coordinator
        removes the member after the session time-out.
        """


class Ledger(Protocol):
    """The ledger: facts are appended to it, and assignments are restored from it."""

    topic_for: Callable[[str], str]
    """Returns the name of the ledger for a source topic."""

    @property
    def cluster_id(self) -> str:
        """Id of the Kafka cluster. Known before the first assignment; does not block."""

    def append(self, source: TopicPartition, topic_id: str, facts: Facts, report: Callable[[Confirmation], None]) -> None:
        """Append facts as one entry. Called on the event loop; must not block.

        ``report`` is called exactly once, on any thread, and never if this method raises. An entry
        that was reported as failed may be in the ledger all the same. Its facts are then appended
        again, and count once.
        """

    def restore(
        self,
        source: TopicPartition,
        *,
        truncated: bool,
        wanted: Callable[[], bool],
        progress: Callable[[int, int], None],
        since: float,
    ) -> Recovery:
        """Return where a partition starts and what is known of it. Blocks, on a worker thread.

        Uses no answer to a question that was asked before the monotonic second ``since``.

        Calls ``wanted`` from time to time, and raises `Unavailable` once it returns False. Calls
        ``progress`` as often, with the number of entries read and of those to be read. Raises
        `Refused` if an operator must decide. May report too few facts, which costs a second send,
        but never too many, which would lose events.
        """


class LedgerTopics(Protocol):
    """Makes sure that ledger and dead-letter topic exist and keep what is written to them."""

    def ensure(self, source: TopicDescription) -> TopicDescription:
        """Create or check both topics; return the ledger. Blocks, on a worker thread.

        Called before each restore, or once for several that wait at the same time. Raises
        `LedgerRefused` if a topic is missing and may not be created, or would lose what is written
        to it.
        """

    def trouble(self, source: TopicDescription) -> str | None:
        """Return why `ensure` is needed again: a topic is gone, or would lose what it is given.

        Return None if it is not. Changes nothing. Blocks, on the monitor's thread. Raises
        `KafkaUnavailable` if that cannot be said for now.
        """


class RecordOrigin(Protocol):
    """Origin of the records of one assignment."""

    @property
    def partition(self) -> TopicPartition:
        """Source partition."""

    def derived_id(self, record: Record) -> str:
        """Return the dedupe id for a record that has none of its own."""


class Letters(Protocol):
    """The dead-letter topic."""

    topic_for: Callable[[str], str]
    """Returns the name of the dead-letter topic for a source topic."""

    def write(
        self, origin: RecordOrigin, record: Record, flaw: Flaw, report: Callable[[Confirmation], None], manner: Manner
    ) -> None:
        """Write a dead letter. Called on the event loop; must not block.

        ``report`` is called exactly once, on any thread, and never if this method raises. A letter
        that was reported as failed is written again, perhaps in another ``manner``. So the topic
        may hold a letter twice.
        """


# ---- Kafka, as its own parts see each other


class ConsumerEvents(Protocol):
    """Receives events of the consumer, for logs and metrics only.

    Called on the consumer's thread; must not block.
    """

    def consumer_error(self, code: str, partition: TopicPartition | None) -> None:
        """Note an error reported by the Kafka client, which recovers by itself."""

    def schema_unavailable(self, failure: SchemaUnavailable | None, partitions: int) -> None:
        """Note how many partitions wait for a schema; none does any more if ``failure`` is None."""

    def committed(self, partition: TopicPartition, next_offset: int) -> None:
        """Note a commit that the brokers accepted."""

    def commit_failed(self, partition: TopicPartition, code: str) -> None:
        """Note a commit that the brokers refused. The next commit replaces it."""


class MonitoredSource(Protocol):
    """State of the consumer, for the cluster monitor.

    Called on the monitor's thread; returns at once.
    """

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that are assigned to this member."""

    def reading(self) -> dict[TopicPartition, int]:
        """Return the partitions being fetched, and the offset up to which each was read."""


class MonitorEvents(Protocol):
    """Receives findings of the cluster monitor, for metrics and probes only.

    Called on the monitor's thread; must not block.
    """

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Note the end offset of a partition."""

    def lacking(self, messages: list[str]) -> None:
        """Replace the list of missing permissions and of partitions that yield nothing."""

    def topics_changed(self, source: str, message: str) -> None:
        """Note what has become of the ledger or the dead-letter topic of a source topic."""
