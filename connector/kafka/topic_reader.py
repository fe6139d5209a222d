"""Reads whole topics, for the commands that look at everything, and reports progress.

Records are read with ``read_committed``, as the connector's own consumer reads them. So a record of
an aborted transaction does not appear here either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import cast

from confluent_kafka import Message

from connector.avro.ledger_entry import LedgerEntry
from connector.config import Kafka
from connector.core.commit_metadata import parse_metadata
from connector.core.letters import Headers, Letter
from connector.errors import KafkaUnavailable, LedgerRefused
from connector.headers import headers_of
from connector.kafka import clients
from connector.kafka.cluster import Cluster
from connector.kafka.ledger import entries
from connector.kafka.reader import read
from connector.model import TopicDescription, TopicPartition
from connector.ports import Record

__all__ = ["TopicReader", "headers"]

_COUNT_EVERY = 500


class TopicReader:
    """Reads source, ledger and dead-letter topics. Making one asks the brokers.

    ``advance`` is called with the number of offsets passed since its last call, every few hundred.
    """

    def __init__(self, kafka: Kafka, advance: Callable[[int], None] = lambda _: None) -> None:
        self.cluster = Cluster(lambda: clients.admin(kafka), lambda: clients.offsets_reader(kafka))
        self.advance = advance
        self.cluster_id = self.cluster.cluster_id()
        self._properties = clients.reader_properties(kafka, clients.unreported, logging.getLogger("librdkafka"))

    def source(self, topic: str) -> TopicDescription:
        """Return the description of a source topic, which must exist."""
        found = self.cluster.describe(topic)
        if found is None:
            raise KafkaUnavailable(f"topic {topic} does not exist, or this client may not describe it")
        return found

    def next_offset(self, place: TopicPartition, topic_id: str) -> int | None:
        """Return the committed offset as a connector would use it; None if there is none.

        A commit that belongs to a deleted topic of the same name is not used
        (docs/how-it-works.md#what-a-commit-rests-on).
        """
        return self.commit(place, topic_id)[0]

    def commit(self, place: TopicPartition, topic_id: str) -> tuple[int | None, bool]:
        """Return `next_offset`, and whether a connector has committed it."""
        committed = self.cluster.committed(place)
        if committed is None:
            return None, True
        rests_on = parse_metadata(committed.metadata)
        used = rests_on is None or rests_on.topic_id == topic_id
        return committed.next_offset if used else None, rests_on is not None

    def bounds(self, topic: str) -> dict[TopicPartition, tuple[int, int]]:
        """Return first and end offset of every partition; nothing if the topic does not exist."""
        found = self.cluster.describe(topic)
        places = (TopicPartition(topic, number) for number in range(found.partitions if found is not None else 0))
        return {place: self.cluster.offsets(place) for place in places}

    def read(self, place: TopicPartition, first: int, end: int) -> Iterator[Message]:
        """Yield the records from offset ``first`` to below ``end``.

        Raises:
            KafkaUnavailable: the partition cannot be read to the end for now.
        """
        reported = at = first
        for message in read(self._properties, place, first, end):
            at = (message.offset() or 0) + 1
            if at - reported >= _COUNT_EVERY:
                self.advance(at - reported)
                reported = at
            yield message
        self.advance(max(end - reported, 0))

    def record(self, place: TopicPartition, offset: int) -> Message | None:
        """Return the record at an offset; None if it is gone.

        Raises:
            KafkaUnavailable: it cannot be read for now.
        """
        try:
            return next(self.read(place, offset, offset + 1), None)
        except KafkaUnavailable:
            begins_at, end = self.cluster.offsets(place)
            if begins_at <= offset < end:
                raise
            return None

    def entries(
        self, source: str, group: str, place: TopicPartition, bounds: tuple[int, int]
    ) -> Iterator[tuple[int, LedgerEntry]]:
        """Yield the entries of a ledger partition, each with its append time.

        Raises:
            KafkaUnavailable: it cannot be read to its end for now.
            LedgerRefused: it belongs to another connector, is damaged, or has an unknown format.
        """
        for message, entry in entries(self.read(place, *bounds), place, *bounds):
            header = entry.header
            if (header.cluster_id, header.source_topic, header.group) != (self.cluster_id, source, group):
                raise LedgerRefused(
                    f"ledger {place} holds facts of topic {header.source_topic!r}, group {header.group!r}, cluster "
                    f"{header.cluster_id!r}: set LEDGER_TOPIC to the ledger of group {group!r}"
                )
            yield message.timestamp()[1], entry

    def letters(
        self, bounds: dict[TopicPartition, tuple[int, int]]
    ) -> Iterator[tuple[TopicPartition, Message, Letter | None]]:
        """Yield partition, record, and letter (if it is one) for a dead-letter topic."""
        for place, (first, end) in bounds.items():
            for message in self.read(place, first, end):
                yield place, message, Letter.read(headers(message))


def headers(message: Message) -> Headers:
    """Return the headers of a record, in order; none if they cannot be read."""
    return headers_of(cast("Record", message)) or ()  # its stub types them wider
