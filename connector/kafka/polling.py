"""Polls the client, by as many ``consume`` calls as it takes, and sorts what comes by partition.

A poll is bounded by records, by bytes and by time. The client bounds a call by records only, so a
poll asks in small steps and looks at the bytes between them; else a few large records would be more
than the buffer holds. A poll exceeds its bytes by one record at most.

A rebalance happens within ``consume``. What was read before it belongs to an assignment that may
have ended, so a poll hands out only what belongs to a current one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from confluent_kafka import Consumer, KafkaError, Message

from connector.errors import KafkaUnavailable
from connector.intake import Origin
from connector.kafka.assignments import Assignments
from connector.kafka.backlog import PartitionBatch, sizes_of
from connector.kafka.host import Host
from connector.kafka.membership import GroupAdmission, PollClock
from connector.kafka.positions import DENIED, Gone, Positions
from connector.model import TopicPartition
from connector.ports import ConsumerEvents

__all__ = ["PollPolicy", "Poller"]

_RECORDS_AT_ONCE = 250
"""Records per ``consume`` call (measured: 100 cost a tenth of the throughput, more gain nothing).
Kept small because the byte limit can only be checked between calls."""
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own codes are named so


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How the thread polls."""

    topics: tuple[str, ...]
    incremental: bool
    """Whether assignments change partition by partition: cooperative-sticky, or the KIP-848
    protocol."""
    drain_seconds: float
    sleep_seconds: float = 22.5
    """A pause between two polls that may have cost the session: half of it."""
    names_itself: bool = False
    """Whether a member has an id before the group has let it in: the KIP-848 protocol."""
    records: int = 1000
    """Most records of one poll (measured: 1,000 is the fastest, 10,000 is three times slower)."""
    size: int = 1_000_000
    """Bytes after which a poll takes no more records. Each counts with its estimated JSON
    overhead."""
    seconds: float = 0.1
    """How long a poll waits for records. A command waits as long for a poll to end."""


class Poller:
    """Polls the client, and takes in records, ends of logs, and errors."""

    def __init__(
        self,
        client: Consumer,
        policy: PollPolicy,
        assignments: Assignments,
        positions: Positions,
        admission: GroupAdmission,
        poll_clock: PollClock,
        events: ConsumerEvents,
        host: Host,
    ) -> None:
        self._client = client
        self._policy = policy
        self._assignments = assignments
        self._positions = positions
        self._admission = admission
        self._poll_clock = poll_clock
        self._events = events
        self._host = host
        self._largest = policy.size
        """Bytes of the largest record of the last call; at first, the worst case."""

    def poll(self) -> list[PartitionBatch]:
        """Poll once; return what is to be decoded, by partition."""
        batches: dict[Origin, PartitionBatch] = {}
        records, size, seconds = 0, 0, self._policy.seconds
        while records < self._policy.records and size < self._policy.size:
            # The next records are taken to be as large as the last.
            fitting = (self._policy.size - size) // self._largest
            asked = max(1, min(_RECORDS_AT_ONCE, self._policy.records - records, fitting))
            began = self._host.monotonic()
            found = self._client.consume(asked, seconds)
            self._poll_clock.polled(began)
            self._take_in(found, batches)
            if len(found) < asked:
                break
            sizes = sizes_of(found)
            self._largest = max(sizes)
            records, size, seconds = records + len(found), size + sum(sizes), 0.0
        return self._current(batches)

    def _current(self, batches: dict[Origin, PartitionBatch]) -> list[PartitionBatch]:
        return [batch for origin, batch in batches.items() if self._assignments.is_current(origin)]

    def _take_in(self, messages: Sequence[Message], batches: dict[Origin, PartitionBatch]) -> None:
        first = 0
        labels = [(message.topic(), message.partition(), message.error() is None) for message in messages]
        for (topic, number, is_record), same in groupby(labels):
            end = first + len(list(same))
            stretch, first = messages[first:end], end
            partition = TopicPartition(topic, number) if topic is not None and number is not None else None
            if is_record:
                self._take_records(partition, stretch, batches)
            else:
                for message in stretch:
                    self._take_report(partition, message, batches)
        for batch in self._current(batches):
            self._positions.advance(batch.origin.partition, batch.messages[-1] if batch.messages else None)

    def _take_records(
        self, partition: TopicPartition | None, messages: Sequence[Message], batches: dict[Origin, PartitionBatch]
    ) -> None:
        """Take in records of one partition, one after the other."""
        batch = self._batch(partition, batches)
        if batch is None:
            return
        partition = batch.origin.partition
        offsets = [message.offset() or 0 for message in messages]
        if self._positions.is_below(partition, min(offsets)):
            self._events.consumer_error("POSITION_LOST", partition)
            self._assignments.begin_anew(partition)
            return
        before = batch.messages[-1].offset() if batch.messages else None
        sound, error = self._positions.take_in_order(partition, offsets, before)
        batch.messages.extend(messages[:sound])
        if error is not None:
            self._events.consumer_error(error, partition)

    def _take_report(
        self, partition: TopicPartition | None, message: Message, batches: dict[Origin, PartitionBatch]
    ) -> None:
        """Take an error, or the end of a log, which the client hands out as one."""
        error = cast("KafkaError", message.error())
        if error.code() != _END:
            self._take_error(error, partition, message.offset())
        elif (batch := self._batch(partition, batches)) is not None:
            batch.read_end = self._positions.reached_end(batch.origin.partition, message.offset() or 0)

    def _batch(self, partition: TopicPartition | None, batches: dict[Origin, PartitionBatch]) -> PartitionBatch | None:
        """Return where records of a partition go; None if they are dropped."""
        origin = self._assignments.origin(partition) if partition is not None else None
        if origin is None or not self._positions.takes(partition):
            return None
        batch = batches.get(origin)
        if batch is None:
            batch = batches[origin] = PartitionBatch(origin, [], self._host.monotonic())
        return batch

    def _take_error(self, error: KafkaError, partition: TopicPartition | None, offset: int | None) -> None:
        """Take an error of the client, or of a partition.

        Raises:
            KafkaUnavailable: this member can never read again.
        """
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own codes are named so
            # The code is _FATAL then, whatever the brokers said; only the text has it.
            raise KafkaUnavailable(
                f"the group has permanently expelled this member: {error.name()}, {error.str()}. "
                "If KAFKA_GROUP_INSTANCE_ID is set, no other process may use the same value"
            )
        if error.code() in DENIED:
            self._admission.refuse(error.name())
        self._events.consumer_error(error.name(), partition)
        gone = self._positions.failed(partition, error, offset)
        if gone is not None and partition is not None:
            self._assignments.begin_anew(partition, truncated=gone is Gone.CUT)
