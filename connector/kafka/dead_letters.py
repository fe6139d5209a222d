"""Dead letters: the record byte for byte, and why it was set aside (design: Words, dead letter)."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, Message

from connector.core.letters import LETTER_HEADERS, REASON_HEADER
from connector.intake import Origin
from connector.kafka.producer import ConfirmingProducer
from connector.model import Flaw, TopicPartition
from connector.ports import Confirmation, Record

__all__ = ["DeadLetters", "reason"]

_MAX_DETAIL_BYTES = 4096
"""Of the header ``connector.detail``; the letter topic takes 64 KB more than the source's records."""


_TIME_REFUSED = KafkaError(KafkaError.INVALID_TIMESTAMP).name()


class DeadLetters:
    """Writes dead letters of one connector."""

    def __init__(self, producer: ConfirmingProducer, group: str, topic_for: Callable[[str], str]) -> None:
        self._producer = producer
        self._group = group
        self._topic_for = topic_for

    def write(self, origin: Origin, record: Record, flaw: Flaw, report: Callable[[Confirmation], None]) -> None:
        """Write a letter; ``report`` is called once it is confirmed, or has failed.

        One whose topic does not take its record's time is written with the time of now; a header has the record's.
        """
        _, timestamp = record.timestamp()
        topic = self._topic_for(origin.partition.topic)
        headers = [
            *(record.headers() or ()),
            *_headers(origin.partition, self._group, origin.derived_id(record), record, flaw),
        ]

        def write(timestamp_ms: int, told: Callable[[Confirmation], None]) -> None:
            value, key = record.value(), record.key()
            self._producer.write(topic, None, value, told, key=key, headers=headers, timestamp_ms=timestamp_ms)

        write(timestamp, lambda told: write(0, report) if told.error == _TIME_REFUSED else report(told))


def _headers(source: TopicPartition, group: str, dedupe_id: str, record: Record, flaw: Flaw) -> list[tuple[str, bytes]]:
    _, timestamp = record.timestamp()
    ours = (
        flaw.reason.value,
        flaw.detail,
        source.topic,
        str(source.partition),
        str(record.offset()),
        str(timestamp),
        group,
        dedupe_id,
    )
    return [(name, text.encode()[:_MAX_DETAIL_BYTES]) for name, text in zip(LETTER_HEADERS, ours, strict=True)]


def reason(letter: Message) -> str:
    """Return the reason code of a dead letter; the last one, if a replayed record became a letter again."""
    headers = letter.headers()
    codes = [value for name, value in headers if name == REASON_HEADER] if isinstance(headers, list) else []
    last = codes[-1] if codes else None
    return last.decode() if isinstance(last, bytes) else "none"
