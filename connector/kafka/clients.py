"""Makes Kafka's clients: the operator's properties, our defaults, and where they report trouble.

Where a client is polled, an ``error_cb`` is set: without one a fatal error comes out of ``poll`` as a bare ``KafkaError``
(seen with 2.16).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError
from confluent_kafka.admin import AdminClient

from connector.config import Kafka
from connector.kafka import properties

__all__ = [
    "admin",
    "consumer_properties",
    "incremental",
    "names_itself",
    "offsets_reader",
    "producer_properties",
    "reader_properties",
]

Report = Callable[[str, str], None]
"""Takes the kind of client, and the name of the error's code."""

_LARGEST_RECORD_BYTES = 1_000_000_000
"""The most librdkafka can be told."""


def _reporting(client: str, report: Report, logger: logging.Logger) -> dict[str, Any]:
    def on_error(error: KafkaError) -> None:
        report(client, error.name())

    return {"error_cb": on_error, "logger": logger}


def admin(kafka: Kafka) -> AdminClient:
    """Make the admin client.

    Nobody polls it, so reports given to callbacks would only pile up; each call says by itself what went wrong.
    """
    return AdminClient(properties.admin_properties(kafka) | {"log_level": 0})


def producer_properties(kafka: Kafka, report: Report, logger: logging.Logger) -> dict[str, Any]:
    """Return the properties of the producer."""
    # What a topic takes is its own setting, and a letter may be as large as a source allows; the client's own bound of 1 MB
    # would hold up a partition whose topic takes more.
    # And a topic counts a record as compressed: one that the source took so must not become a letter that is too large.
    ours: dict[str, Any] = {"message.max.bytes": _LARGEST_RECORD_BYTES, "compression.type": "zstd"}
    return ours | properties.producer_properties(kafka) | _reporting("producer", report, logger)


def consumer_properties(kafka: Kafka, report: Report, logger: logging.Logger, queue_bytes: int) -> dict[str, Any]:
    """Return the properties of the member of the group; ``queue_bytes`` bounds what the client holds beside us."""
    # Above 100,000 records/s the default back-off of 1 s leaves the consumer idle for almost half the time
    # (docs/limits.md#fetch-queue).
    ours = {"fetch.queue.backoff.ms": 10, "queued.max.messages.kbytes": queue_bytes // 1024}
    # Without checksums what a disk has altered is sent, or read as another record.
    given = properties.consumer_properties(kafka) | {"enable.partition.eof": True, "check.crcs": True}
    return ours | given | _reporting("consumer", report, logger)


def reader_properties(kafka: Kafka, report: Report, logger: logging.Logger) -> dict[str, Any]:
    """Return the properties of the consumer that reads a ledger: no member of any group.

    It checks what it reads: one bit of an offset that has flipped on a broker's disk would be a fact that nobody wrote.
    """
    return _of_no_member(kafka) | {"enable.partition.eof": True} | _reporting("ledger reader", report, logger)


def offsets_reader(kafka: Kafka) -> Consumer:
    """Make the consumer that reads the group's offsets; it subscribes to nothing, so it is no member.

    Nobody polls it, as the admin client.
    """
    return Consumer(_of_no_member(kafka) | {"log_level": 0})


def _of_no_member(kafka: Kafka) -> dict[str, Any]:
    dropped = {"group.instance.id", "partition.assignment.strategy", "group.remote.assignor"}
    given = {name: value for name, value in properties.consumer_properties(kafka).items() if name not in dropped}
    return given | {"group.protocol": "classic", "check.crcs": True}


def incremental(kafka: Kafka) -> bool:
    """Tell whether assignments change partition by partition."""
    given = properties.consumer_properties(kafka)
    return given["group.protocol"] == "consumer" or given.get("partition.assignment.strategy") == "cooperative-sticky"


def names_itself(kafka: Kafka) -> bool:
    """Tell whether a member has an id before the group has let it in."""
    return properties.consumer_properties(kafka)["group.protocol"] == "consumer"
