"""Reads a stretch of a partition from first to end offset, outside of any group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.errors import KafkaUnavailable
from connector.kafka.topics import unavailable
from connector.model import TopicPartition

__all__ = ["read"]

_READ_SECONDS = 0.05
"""One call waits so long for ``_READ_RECORDS``, even at the end of the partition: short, or each restore pays for it."""
_READ_RECORDS = 500
_STALLED_SECONDS = 30.0
"""A partition that yields nothing for so long cannot be read for now."""


def read(
    properties: dict[str, Any],
    place: TopicPartition,
    first: int,
    end: int,
    wanted: Callable[[], bool] = lambda: True,
) -> Iterator[Message]:
    """Yield the records of a partition from offset ``first`` to below ``end``; blocks.

    ``properties`` must enable ``enable.partition.eof``: an end behind a transaction's marker is noticed by it.
    Once it is not ``wanted`` any more it ends, as if the partition could not be read.

    Raises:
        KafkaUnavailable: it cannot be read to the end for now.
    """
    if first >= end:
        return
    consumer = Consumer(properties)
    try:
        consumer.assign([KafkaTopicPartition(place.topic, place.partition, first)])
        progress_at, next_offset = time.monotonic(), first
        while next_offset < end:
            for message in consumer.consume(_READ_RECORDS, _READ_SECONDS):
                error, offset = message.error(), message.offset()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes are named so
                    raise unavailable(str(place), error)
                # At the end of the partition the error carries the offset after the last record.
                next_offset = max(next_offset, (offset or 0) + (error is None))
                progress_at = time.monotonic()
                if error is None and (offset or 0) < end:
                    yield message
            if not wanted():
                raise KafkaUnavailable(f"{place}: nobody waits for it any more")
            if time.monotonic() - progress_at > _STALLED_SECONDS:
                raise KafkaUnavailable(f"{place} yields nothing at offset {next_offset}, its end is {end}")
    except KafkaException as error:
        raise unavailable(str(place), error.args[0]) from error
    finally:
        consumer.close()
