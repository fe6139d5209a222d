"""Records that were polled and are not decoded yet.

Two things keep a record from being decoded at once. Its schema may be unavailable for now; then it
is tried again every second. Or decoding has taken `_SLICE_SECONDS` already: records made to be
costly could take seconds a poll, and a member that does not poll counts as dead for the group
(``max.poll.interval.ms``) and stops sending (after half the session). Then it is decoded after the
next poll of the client.

The time that a record has waited for its schema counts from when it was known to be in the log.
That is when it was polled. A record may lie below the end of the log that was known when an earlier
one began to wait; then its time counts from there. Its schema was registered before it was written.
So a log full of ids that no registry knows holds its partition up once, and not once for each id.

Order holds within a partition: a record after one that waits also waits. A partition whose records
wait is not fetched meanwhile. Once a poll's worth of bytes waits, nothing is fetched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from confluent_kafka import Message

from connector.core import inputs
from connector.core.letters import size as headers_size
from connector.headers import all_headers_of
from connector.intake import Intake, Origin
from connector.kafka.host import Host, Semaphore
from connector.kafka.positions import Positions
from connector.model import Poll, TopicPartition
from connector.ports import ConsumerEvents, Record

__all__ = ["Backlog", "PartitionBatch", "sizes_of"]

_EVENT_BYTES = 1_000
"""Estimated JSON overhead per event: field names and punctuation."""
_SCHEMA_AGAIN_SECONDS = 1.0
_SLICE_SECONDS = 1.0
"""Longest time between two polls of the client that is spent on decoding, unless a single record
takes longer, or on waiting for the pipeline to handle a poll."""


@dataclass(slots=True)
class PartitionBatch:
    """What one poll yielded of one partition."""

    origin: Origin
    messages: list[Message]
    since: float
    """Monotonic second of the poll."""
    read_end: int = 0
    """End of the log if these records reach it; otherwise 0."""


class Backlog:
    """Decodes records and keeps those that cannot be decoded yet.

    ``slots`` has one for each poll that may be posted and not handled yet. ``poll_bytes`` is how
    much may wait before nothing is fetched.
    """

    def __init__(
        self,
        intake: Intake,
        positions: Positions,
        events: ConsumerEvents,
        slots: Semaphore,
        post: Callable[[inputs.Input | Exception], None],
        host: Host,
        poll_bytes: int,
    ) -> None:
        self._intake = intake
        self._positions = positions
        self._events = events
        self._slots = slots
        self._post = post
        self._host = host
        self._poll_bytes = poll_bytes
        self._waiting: list[PartitionBatch] = []
        self._due = 0.0
        """Monotonic second at which to decode again."""
        self._lacks_schema = False
        self._seen: dict[TopicPartition, tuple[int, float]] = {}
        """The end of the log when a record began to wait for its schema, and the monotonic second
        of that."""

    def decode(self, batches: list[PartitionBatch]) -> None:
        """Decode what can be decoded now and post it; keep the rest."""
        if not batches:
            return
        if not self._slots.acquire(timeout=_SLICE_SECONDS):
            # Nothing is decoded or fetched until the pipeline has handled a poll; the client is
            # polled meanwhile.
            for batch in batches:
                self._keep(batch, 0.0, everything=True)
            return
        polls: list[Poll] = []
        now = self._host.monotonic
        until = now() + _SLICE_SECONDS
        for batch in itertools.chain.from_iterable(map(self._dated, batches)):
            late = bool(polls) and now() >= until
            if late or batch.origin.partition in {each.origin.partition for each in self._waiting}:
                self._keep(batch, 0.0 if late else _SCHEMA_AGAIN_SECONDS)
                continue
            waited = now() - batch.since
            records = cast("list[Record]", batch.messages)  # its stub types headers wider
            poll, lacking = self._intake.read(batch.origin, records, waited, lambda: now() >= until)
            rest = replace(batch, messages=batch.messages[len(poll.offsets) :])
            if lacking is not None:
                self._note_end(rest)
                self._keep(rest, _SCHEMA_AGAIN_SECONDS)
                self._lacks_schema = True
                self._events.schema_unavailable(lacking, len(self._positions.held()))
            elif rest.messages:
                self._keep(rest, 0.0)
            else:
                poll.read_end = batch.read_end
            if poll.offsets or poll.read_end:
                polls.append(poll)
        if polls:
            self._post(inputs.Polled(tuple(polls)))
        else:
            self._slots.release()

    def decode_again(self) -> list[TopicPartition]:
        """Decode what waits, once it is time; return the partitions that were held for it.

        Those that are to be fetched now must be resumed.
        """
        nothing_waits = not (self._positions.held() or self._lacks_schema)
        if nothing_waits or self._host.monotonic() < self._due:
            return []
        waiting, self._waiting = self._waiting, []
        lacked, self._lacks_schema = self._lacks_schema, False
        held = self._positions.stop_holding()
        self.decode(waiting)
        if lacked and not self._lacks_schema:  # also if the partitions that waited were revoked meanwhile
            if self._waiting:
                self._lacks_schema = True  # the record that lacked one may not have had its turn
            else:
                self._events.schema_unavailable(None, 0)
        return held

    def _note_end(self, lacking: PartitionBatch) -> None:
        """Note what is in the log now that a record begins to wait for its schema."""
        partition, offset = lacking.origin.partition, lacking.messages[0].offset() or 0
        if offset >= self._seen.get(partition, (0, 0.0))[0]:
            self._seen[partition] = self._positions.fetched_end(partition), self._host.monotonic()

    def _dated(self, batch: PartitionBatch) -> list[PartitionBatch]:
        """Date back the records that were in the log already when an earlier one began to wait."""
        if batch.origin.partition not in self._seen:
            return [batch]
        end, since = self._seen[batch.origin.partition]
        older = sum((message.offset() or 0) < end for message in batch.messages)
        if not older or since >= batch.since:
            return [batch]
        dated = replace(batch, messages=batch.messages[:older], since=since, read_end=0)
        rest = replace(batch, messages=batch.messages[older:])
        return [dated, rest] if rest.messages else [replace(dated, read_end=batch.read_end)]

    def drop(self, partition: TopicPartition) -> None:
        """Forget the records of an assignment that ends. Its next owner reads them again."""
        self._seen.pop(partition, None)
        self._waiting = [each for each in self._waiting if each.origin.partition != partition]

    def _keep(self, batch: PartitionBatch, seconds: float, *, everything: bool = False) -> None:
        """Keep records; `decode_again` goes on with them after ``seconds`` at the latest."""
        due = self._host.monotonic() + seconds
        self._due = min(due, self._due) if self._waiting else due
        self._waiting.append(batch)
        size = sum(sum(sizes_of(each.messages)) for each in self._waiting)
        self._positions.hold(batch.origin.partition, everything=everything or size >= self._poll_bytes)


def sizes_of(messages: Sequence[Message]) -> list[int]:
    """Return what each record takes. Key and headers may be as large as a value."""
    sizes = [_EVENT_BYTES + len(message) + len(message.key() or b"") for message in messages]
    found = all_headers_of(cast("Sequence[Record]", messages))  # its stub types headers wider
    if any(found):
        return [held + headers_size(headers or ()) for held, headers in zip(sizes, found, strict=True)]
    return sizes
