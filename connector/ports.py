"""What the parts ask of each other: the Protocols that adapters keep.

Each says when it is called, on which thread, whether it may block, and what may be forgotten.
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
"""What the pipeline has the consumer do."""


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

    def offset(self) -> int:
        """Return the offset."""

    def leader_epoch(self) -> int | None:
        """Return the epoch of the leader that appended it, if the broker said."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of the timestamp and its milliseconds."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What became of a record written to the ledger or the dead letters."""

    error: str | None
    """The name of Kafka's error code; None when all in-sync replicas have it."""
    offset: int
    append_ms: int | None
    """The brokers' clock, on a topic with ``message.timestamp.type=LogAppendTime``."""


class Decoder(Protocol):
    """From bytes to the inputs of ``schemas/conversion_event.avsc``."""

    def decode(self, value: bytes, waited: float = 0.0) -> dict[str, object] | None:
        """Decode by the writer's schema and map to our input names; None for a null.

        ``waited`` is for how many seconds the record has waited for its schema. ``timestamp`` is
        whole milliseconds since 1970 UTC, whatever unit the writer declared; inputs that the writer
        does not have are absent.

        Raises:
            RecordError: the record is at fault.
            SchemaUnavailable: the schema cannot be had for now; ask again later.
        """


class WireContract(Protocol):
    """One of Amazon's two wire contracts: pure, no I/O."""

    @property
    def prefix(self) -> bytes:
        """What stands before the first event of a request body."""

    @property
    def suffix(self) -> bytes:
        """What stands after the last event of a request body; between two events stands a comma."""

    @property
    def path(self) -> str:
        """The path of the endpoint, below the base URL."""

    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request."""

    def encode(self, inputs: Mapping[str, object], dedupe_id: str) -> bytes | Flaw:
        """Encode one event as it stands in the request, or say which rules it breaks.

        ``dedupe_id`` is what Amazon de-duplicates by: the event's own id, or the derived one.
        """

    def read(self, status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        """Read the answer to a request of ``count`` events. Never raises, whatever the input."""


class Sink(Protocol):
    """Sends one request and returns what became of it."""

    async def send(self, body: bytes, count: int, *, may_start: Callable[[], bool]) -> Answer:
        """Send a request body of ``count`` events. Never raises for vendor or network.

        ``may_start`` is asked right before the body goes out, each time it does: what was decided
        on may have had to wait for a token meanwhile. If it says no, nothing is sent, and the
        reason of the failure is ``not-sent``.
        """

    async def close(self) -> None:
        """Give back connections."""


# ---- Kafka, as the runtime sees it


class Source(Protocol):
    """The consumer, on a thread of its own: it posts inputs and takes commands.

    All but `close` return at once. What is posted may be about an assignment that has ended by the
    time it is handled; generation numbers tell.
    """

    @property
    def last_poll(self) -> float:
        """When the last poll that counts began. Nothing is sent if that was long ago."""

    @property
    def vouched(self) -> float:
        """As of when the group's coordinator last took this process for a member."""

    def start(self) -> None:
        """Begin to poll. Called once, before any command."""

    def submit(self, command: SourceCommand) -> None:
        """Have a command carried out between two polls, in the order of submission.

        A command whose generation has ended is dropped without a word. So are all that come after
        `close`.
        """

    def polled_handled(self) -> None:
        """Say that a poll was handled. Called once for each: no third one is posted before that."""

    def close(self) -> bool:
        """Leave the group, having committed what was submitted. Called once, at the end.

        Blocks, but not for ever; returns whether the group was left. If not, the group notices
        after the session's time.
        """


class Ledger(Protocol):
    """The ledger: facts are appended to it, and an assignment is restored from it."""

    @property
    def cluster_id(self) -> str:
        """The cluster's id. Known before the first assignment: asking for it does not block."""

    def append(self, source: TopicPartition, topic_id: str, facts: Facts, report: Callable[[Confirmation], None]) -> None:
        """Append facts as one entry. Called on the event loop; must not block.

        ``report`` is called exactly once, on any thread, and never if this raises. Facts whose
        entry was reported as failed may be in the ledger all the same: the same facts are appended
        again, and twice counts as once.
        """

    def restore(self, source: TopicPartition, *, truncated: bool, wanted: Callable[[], bool]) -> Recovery:
        """Return where a partition starts and what is known of it. Blocks, on a worker thread.

        Asks ``wanted`` now and then, and ends with `Unavailable` once it says no. Raises `Refused`
        if an operator must decide. Knowing too little is allowed and costs a second send; knowing
        too much is not.
        """


class LedgerTopics(Protocol):
    """Makes sure that ledger and dead-letter topics exist and keep what is written to them."""

    def ensure(self, source: TopicDescription) -> TopicDescription:
        """Create or check both topics; return the ledger. Blocks, on a worker thread.

        Called before each restore.

        Raises `LedgerRefused` if a topic is missing and may not be created, or would lose what is
        written to it.
        """


class RecordOrigin(Protocol):
    """Where the records of an assignment come from."""

    @property
    def partition(self) -> TopicPartition:
        """The source partition."""

    def derived_id(self, record: Record) -> str:
        """Return the dedupe id of a record that has none of its own."""


class Letters(Protocol):
    """The dead-letter topic."""

    topic_for: Callable[[str], str]
    """Names the dead-letter topic of a source topic."""

    def write(
        self, origin: RecordOrigin, record: Record, flaw: Flaw, report: Callable[[Confirmation], None], manner: Manner
    ) -> None:
        """Write a dead letter. Called on the event loop; must not block.

        ``report`` is called exactly once, on any thread, and never if this raises. A letter that
        was reported as failed is written again, perhaps in another ``manner``, so one may be there
        twice.
        """


# ---- Kafka, as its own parts see each other


class ConsumerEvents(Protocol):
    """Is told what happens to the consumer, for logs and metrics only.

    Called on the consumer's thread; must not block.
    """

    def consumer_error(self, code: str, partition: TopicPartition | None) -> None:
        """Note an error that the client reported. The client goes on by itself."""

    def schema_unavailable(self, failure: SchemaUnavailable | None, partitions: int) -> None:
        """Note how many partitions wait for a schema; without a ``failure``, none does any more."""

    def committed(self, partition: TopicPartition, next_offset: int) -> None:
        """Note a commit that the brokers accepted."""

    def commit_failed(self, partition: TopicPartition, code: str) -> None:
        """Note a commit that the brokers refused. It is committed again with the next offset."""


class MonitoredSource(Protocol):
    """What the cluster monitor asks of the consumer, on its own thread.

    Returns at once what holds at this moment.
    """

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that are assigned to this member."""

    def reading(self) -> dict[TopicPartition, int]:
        """Return the partitions that are fetched, and the offset up to which each was read."""


class MonitorEvents(Protocol):
    """Is told what the cluster monitor sees, for metrics and probes only.

    Called on the monitor's thread; must not block.
    """

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Note the end offset of a partition."""

    def lacking(self, messages: list[str]) -> None:
        """Replace what was noted: missing rights, and partitions that yield nothing."""
