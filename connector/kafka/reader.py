"""Reads what a group has committed, and a stretch of a partition from first to end offset; joins no group."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.core.recovery import CommittedOffset
from connector.errors import KafkaUnavailable
from connector.model import UNKNOWN_EPOCH, TopicPartition

__all__ = ["committed", "read"]

_READ_SECONDS = 0.05
"""One call waits so long for ``_READ_RECORDS``, even at the end of the partition: short, or each restore pays for it."""
_READ_RECORDS = 500
_REQUEST_SECONDS = 15.0
_STALLED_SECONDS = 30.0
"""A partition that yields nothing for so long cannot be read for now."""


def committed(properties: dict[str, Any], partition: TopicPartition) -> CommittedOffset | None:
    """Return what the group of ``properties`` has committed for a partition, None if it never has; blocks.

    Asked by a consumer and not by the admin client, whose question ends the process with a segmentation fault when the
    broker is not, or not yet, the group's coordinator (librdkafka 5040; seen with 2.16 on a cluster just started).

    Raises:
        KafkaUnavailable: the brokers do not say for now.
    """
    consumer = Consumer(properties)
    try:
        (found,) = consumer.committed([KafkaTopicPartition(*partition)], timeout=_REQUEST_SECONDS)
    except KafkaException as error:
        raise KafkaUnavailable(f"committed offset of {partition}: {error.args[0].name()}") from error
    finally:
        consumer.close()
    if found.error is not None:
        raise KafkaUnavailable(f"committed offset of {partition}: {found.error.name()}")
    if found.offset < 0:
        return None
    epoch: int | None = found.leader_epoch  # its stub says that it is never None
    return CommittedOffset(found.offset, UNKNOWN_EPOCH if epoch is None else epoch, found.metadata or "")


def read(
    properties: dict[str, Any], place: TopicPartition, first: int, end: int, abandoned: Event | None = None
) -> Iterator[Message]:
    """Yield the records of a partition from offset ``first`` to below ``end``; blocks.

    ``properties`` must enable ``enable.partition.eof``: an end behind a transaction's marker is noticed by it.
    Setting ``abandoned`` from another thread ends it, as if the partition could not be read.

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
                    raise KafkaUnavailable(f"{place}: {error.name()}")
                # At the end of the partition the error carries the offset after the last record.
                next_offset = max(next_offset, (offset or 0) + (error is None))
                progress_at = time.monotonic()
                if error is None and (offset or 0) < end:
                    yield message
            if abandoned is not None and abandoned.is_set():
                raise KafkaUnavailable(f"{place}: nobody waits for it any more")
            if time.monotonic() - progress_at > _STALLED_SECONDS:
                raise KafkaUnavailable(f"{place} yields nothing at offset {next_offset}, its end is {end}")
    except KafkaException as error:
        raise KafkaUnavailable(f"{place}: {error.args[0].name()}") from error
    finally:
        consumer.close()
