"""Makes Kafka's clients and their properties: the operator's, ours, and the callback for errors.

A client that is polled gets an ``error_cb``. Without one, a fatal error comes out of ``poll`` as a
bare ``KafkaError`` (seen with 2.16).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, libversion
from confluent_kafka.admin import AdminClient

from connector.config import Kafka
from connector.errors import KafkaUnavailable
from connector.kafka import properties
from connector.kafka.logins import with_login
from connector.kafka.tokens import Tokens

__all__ = [
    "admin",
    "consumer",
    "consumer_properties",
    "incremental",
    "librdkafka_version",
    "names_itself",
    "offsets_reader",
    "producer",
    "producer_properties",
    "reader_properties",
    "unreported",
]

Report = Callable[[str, str], None]
"""Takes the kind of client and the name of the error code."""

_LARGEST_RECORD_BYTES = 1_000_000_000
"""The largest value that librdkafka accepts."""
_FETCH_BACKOFF_MS = 10
"""Backoff of fetches. With the default of 1 s, a fast reader waits two thirds of the time
(docs/limits.md#fetch-queue)."""


def librdkafka_version() -> str:
    """Return the version of the C library under the client."""
    return str(libversion()[0])


def _reporting(client: str, report: Report, logger: logging.Logger) -> dict[str, Any]:
    def on_error(error: KafkaError) -> None:
        report(client, error.name())

    return {"error_cb": on_error, "logger": logger}


def unreported(_client: str, _code: str) -> None:
    """Ignore an error of a client: a call that cannot go on raises what went wrong."""


C = TypeVar("C", Consumer, Producer, AdminClient)


def consumer(properties: dict[str, Any]) -> Consumer:
    """Make a consumer.

    Raises:
        KafkaUnavailable: it cannot be made for now, such as without a token.
    """
    return _made(Consumer, properties)


def producer(properties: dict[str, Any]) -> Producer:
    """Make a producer; raises as `consumer` does."""
    return _made(Producer, properties)


def _made(kind: Callable[[dict[str, Any]], C], given: dict[str, Any]) -> C:
    if isinstance(tokens := given.get("oauth_cb"), Tokens):
        tokens.require()  # else its constructor would block for 10 s, and say less
    try:
        return kind(with_login(given))
    except KafkaException as error:
        raise KafkaUnavailable(f"no client can be made: {error.args[0].str()}") from error


def admin(kafka: Kafka) -> AdminClient:
    """Make the admin client.

    It is never polled, so errors for callbacks would only pile up. Each call raises what went
    wrong.
    """
    return _made(AdminClient, properties.admin_properties(kafka) | {"log_level": 0})


def producer_properties(kafka: Kafka, report: Report, logger: logging.Logger) -> dict[str, Any]:
    """Return the properties of the producer."""
    # The topic's own setting limits a record, and a letter may be as large as the source allows.
    # The client's default limit of 1 MB would hold up a partition whose topic takes more. Topics
    # measure a record compressed. A record that the source took compressed must not become a letter
    # that is too large.
    ours: dict[str, Any] = {"message.max.bytes": _LARGEST_RECORD_BYTES, "compression.type": "zstd"}
    return ours | properties.producer_properties(kafka) | _reporting("producer", report, logger)


def consumer_properties(kafka: Kafka, report: Report, logger: logging.Logger, queue_bytes: int) -> dict[str, Any]:
    """Return the properties of the group member; ``queue_bytes`` bounds its read-ahead."""
    ours = {"fetch.queue.backoff.ms": _FETCH_BACKOFF_MS, "queued.max.messages.kbytes": queue_bytes // 1024}
    # Without checksums, what a disk has altered would be sent, or read as another record.
    given = properties.consumer_properties(kafka) | {"enable.partition.eof": True, "check.crcs": True}
    return ours | given | _reporting("consumer", report, logger)


def reader_properties(kafka: Kafka, report: Report, logger: logging.Logger) -> dict[str, Any]:
    """Return the properties of the consumer that reads a ledger. It is a member of no group.

    It verifies checksums: one flipped bit in an offset on a broker's disk would be a fact that
    nobody wrote.
    """
    ours: dict[str, Any] = {"fetch.queue.backoff.ms": _FETCH_BACKOFF_MS}
    given = _of_no_member(kafka) | {"enable.partition.eof": True}
    return ours | given | _reporting("ledger reader", report, logger)


def offsets_reader(kafka: Kafka) -> Consumer:
    """Make the consumer that reads the group's offsets. It subscribes to nothing.

    So it is no member of the group. Like the admin client, it is never polled.
    """
    return consumer(_of_no_member(kafka) | {"log_level": 0})


def _of_no_member(kafka: Kafka) -> dict[str, Any]:
    dropped = {"group.instance.id", "partition.assignment.strategy", "group.remote.assignor"}
    given = {name: value for name, value in properties.consumer_properties(kafka).items() if name not in dropped}
    return given | {"group.protocol": "classic", "check.crcs": True}


def incremental(kafka: Kafka) -> bool:
    """Return whether assignments change partition by partition."""
    given = properties.consumer_properties(kafka)
    return bool(given["group.protocol"] == "consumer" or given.get("partition.assignment.strategy") == "cooperative-sticky")


def names_itself(kafka: Kafka) -> bool:
    """Return whether a member has an id before the group has let it in."""
    return bool(properties.consumer_properties(kafka)["group.protocol"] == "consumer")
