"""Dead letters: a record byte for byte, and why (docs/how-it-works.md#dead-letters)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from confluent_kafka import Message

from connector.core.letters import (
    HEADERS,
    KEY,
    LEFT_OUT_HEADER,
    LETTER_HEADERS,
    REASON_HEADER,
    UNREADABLE,
    VALUE,
    kept,
    largest,
    size,
)
from connector.headers import Shortened, headers_of
from connector.kafka.producer import ConfirmingProducer, time_kept
from connector.model import Flaw, Manner, TopicPartition
from connector.ports import Confirmation, Record, RecordOrigin

__all__ = ["DeadLetters", "reason"]

_MAX_HEADER_BYTES = 4096
"""Upper bound for each of our headers. A dead-letter topic takes records 64 KB larger than the
source's."""


class DeadLetters:
    """Writes the dead letters of one connector; a ``ports.Letters``."""

    def __init__(self, producer: ConfirmingProducer, group: str, topic_for: Callable[[str], str]) -> None:
        self._producer = producer
        self._group = group
        self.topic_for = topic_for

    def write(
        self,
        origin: RecordOrigin,
        record: Record,
        flaw: Flaw,
        report: Callable[[Confirmation], None],
        manner: Manner = Manner(),  # noqa: B008 - frozen
    ) -> None:
        """Write a letter; ``report`` is called once it is confirmed or has failed.

        Even if the letter's own timestamp is the time of writing, a header has the record's.
        """
        _, timestamp_ms = record.timestamp()
        value, key, headers = record.value(), record.key(), headers_of(record)
        sizes = {VALUE: len(value or b""), HEADERS: size(headers or ()), KEY: len(key or b"")}
        left_out = largest(manner.left_out, sizes)
        shortened = isinstance(headers, Shortened) and HEADERS not in left_out
        lacks = (*left_out, *([HEADERS] if shortened else ()), *([UNREADABLE] if headers is None else ()))
        own = kept(headers or ()) if HEADERS in left_out else headers or ()
        self._producer.write(
            self.topic_for(origin.partition.topic),
            None,
            None if VALUE in left_out else value,
            report,
            key=None if KEY in left_out else key,
            headers=[
                *own,
                *([(LEFT_OUT_HEADER, ", ".join(lacks).encode())] if lacks else ()),
                *_headers(origin.partition, self._group, origin.derived_id(record), record, flaw),
            ],
            timestamp_ms=None if manner.now else time_kept(timestamp_ms),
            alone=manner.alone,
        )


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
    texts = zip(LETTER_HEADERS, ours, strict=True)
    return [(name, text.encode("utf-8", "replace")[:_MAX_HEADER_BYTES]) for name, text in texts]


def reason(letter: Message) -> str:
    """Return the reason code of a dead letter.

    If a replayed record became a letter again, the last code counts.
    """
    codes = [value for name, value in headers_of(cast("Record", letter)) or () if name == REASON_HEADER]
    return (codes[-1] or b"").decode("utf-8", "replace") if codes else "none"
