"""Reads a stretch of a partition from first to end offset, outside of any group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.errors import KafkaStalled, KafkaUnavailable, LogDamaged
from connector.kafka import clients
from connector.kafka.cluster import unavailable
from connector.kafka.host import HOST, Host
from connector.model import TopicPartition

__all__ = ["Read", "read"]

Read = Callable[[dict[str, Any], TopicPartition, int, int, Callable[[], bool]], Iterator[Message]]
"""`read`, or one that stands in for it."""

_READ_SECONDS = 0.05
"""How long one call waits for `_READ_RECORDS`, also at the end of the partition. Short, because
each restore pays for it."""
_READ_RECORDS = 500
_STALLED_SECONDS = 30.0
"""Silence after which a partition counts as unreadable for now."""
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own codes are named so
_OF_THE_GROUP = KafkaError.GROUP_AUTHORIZATION_FAILED
"""librdkafka asks for the coordinator of any client's group, and reports that it may not; a read
needs none."""
_DAMAGED = frozenset(
    {
        KafkaError._BAD_MSG,  # noqa: SLF001 - the same
        KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - the same
        KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001 - the same
        KafkaError.INVALID_MSG,
    }
)
"""A wrong checksum, bytes that do not decompress, an unknown format, and the brokers' own word for
these."""


def read(
    properties: dict[str, Any],
    place: TopicPartition,
    first: int,
    end: int,
    wanted: Callable[[], bool] = lambda: True,
    make_client: Callable[[dict[str, Any]], Consumer] = clients.consumer,
    host: Host = HOST,
) -> Iterator[Message]:
    """Yield the records of a partition from offset ``first`` to below ``end``; blocks.

    ``properties`` must have ``enable.partition.eof``, or an end that follows a transaction marker
    is not noticed; and ``check.crcs``, or a record whose bytes have changed is yielded as if it
    were intact. Once ``wanted`` says no, it ends as if the partition could not be read.

    Raises:
        KafkaUnavailable: it cannot be read to the end for now; `KafkaStalled` if there is no error
        that says why.
        LogDamaged: it cannot be read to the end, and waiting will not help.
    """
    if first >= end:
        return
    consumer = make_client(properties)
    try:
        consumer.assign([KafkaTopicPartition(place.topic, place.partition, first)])
        progress_at, next_offset = host.monotonic(), first
        while next_offset < end:
            for message in consumer.consume(_READ_RECORDS, _READ_SECONDS):
                error, offset = message.error(), message.offset()
                if error is not None and error.code() == _OF_THE_GROUP:
                    continue
                if error is not None and error.code() in _DAMAGED:
                    raise _damaged(place, next_offset, error)
                if error is not None and error.code() != _END:
                    raise unavailable(str(place), error)
                # At the end of the partition the error carries the offset after the last record.
                next_offset = max(next_offset, (offset or 0) + (error is None))
                progress_at = host.monotonic()
                if error is None and (offset or 0) < end:
                    yield message
            if not wanted():
                raise KafkaUnavailable(f"{place}: nobody waits for it any more")
            if host.monotonic() - progress_at > _STALLED_SECONDS:
                raise KafkaStalled(f"{place} yields nothing at offset {next_offset}, its end is {end}")
    except KafkaException as error:
        raise unavailable(str(place), error.args[0]) from error
    finally:
        consumer.close()


def _damaged(place: TopicPartition, offset: int, error: KafkaError) -> LogDamaged:
    return LogDamaged(
        f"{place} is damaged at offset {offset} or after it ({error.name()}): its leader holds other bytes than were written"
    )
