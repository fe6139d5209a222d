"""The producer of `run`, for ledger and letters: every record is confirmed by all in-sync replicas, or reported as failed.

Not idempotent on purpose: facts form a set and letters may be written twice, so ordering and exactly-once sequences would
buy nothing and add errors that are fatal to the client (docs/evidence.md#the-model).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from connector.ports import Confirmation

__all__ = ["ConfirmingProducer", "time_kept"]

Failed = Callable[[Exception], None]

_POLL_SECONDS = 0.1
_DELIVERY_TIMEOUT_MS = 30_000
"""After which an unconfirmed record counts as failed and is written again; below the default of ``DRAIN_TIMEOUT``."""


def time_kept(timestamp_ms: int) -> int:
    """Return the time nearest to a record's that can be written.

    librdkafka takes 0 for "now" (2.16), so the first millisecond of 1970 becomes the second. Of the
    times before it Kafka knows -1, a record without a time. Of another its brokers store the record
    or fail, and with it the whole batch (tried with 4.4).
    """
    return timestamp_ms if timestamp_ms > 0 else 1 if timestamp_ms == 0 else -1


class ConfirmingProducer:
    """Writes records and reports, on its own thread, what became of each.

    ``last_seconds`` is how long its end waits for what is on its way; ``failed`` is told what ended the reporting thread.
    """

    def __init__(
        self, properties: dict[str, Any], *, last_seconds: float = _DELIVERY_TIMEOUT_MS / 1000, failed: Failed | None = None
    ) -> None:
        fixed = {"acks": "all", "enable.idempotence": False, "delivery.timeout.ms": _DELIVERY_TIMEOUT_MS, "linger.ms": 5}
        self._properties = properties | fixed
        self._producer = Producer(self._properties)
        self._of_one: ConfirmingProducer | None = None
        self._last_seconds = last_seconds
        self._failed = failed
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="producer-reports", daemon=True)

    def __enter__(self) -> Self:
        """Start reporting."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait for what is on its way, then stop reporting."""
        self._closing.set()
        if self._of_one is not None:
            self._of_one.__exit__(kind, error, trace)
        self._thread.join()

    def write(
        self,
        topic: str,
        partition: int | None,
        value: bytes | None,
        report: Callable[[Confirmation], None],
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        timestamp_ms: int | None = None,
        alone: bool = False,
    ) -> None:
        """Write a record; ``report`` is called exactly once, on the reporting thread or at once.

        A ``partition`` of None lets the key decide; a ``timestamp_ms`` of None lets the clock. One
        written ``alone`` shares its batch with none, for brokers take or refuse a batch as a whole.
        """
        if alone:
            self._single().write(topic, partition, value, report, key=key, headers=headers, timestamp_ms=timestamp_ms)
            return
        try:
            self._producer.produce(
                topic,
                value=value,
                key=key,
                partition=-1 if partition is None else partition,
                headers=list(headers),
                timestamp=timestamp_ms or 0,
                on_delivery=lambda error, message: report(_confirmation(error, message)),
            )
        except BufferError:
            # An empty queue that is full will never take it (KAFKA_QUEUE_BUFFERING_MAX_KBYTES).
            report(Confirmation("_QUEUE_FULL" if len(self._producer) else "MSG_SIZE_TOO_LARGE", -1, None))
        except KafkaException as error:
            report(Confirmation(error.args[0].name(), -1, None))
        except Exception as error:  # noqa: BLE001 - of this record alone; it is tried again, and an operator told
            report(Confirmation(type(error).__name__, -1, None))

    def _single(self) -> ConfirmingProducer:
        """Return the producer whose batches have one record each. Most connectors never need it."""
        if self._of_one is None:
            one = self._properties | {"batch.num.messages": 1}
            self._of_one = ConfirmingProducer(one, last_seconds=self._last_seconds, failed=self._failed).__enter__()
        return self._of_one

    def _serve(self) -> None:
        try:
            while not self._closing.is_set():
                self._producer.poll(_POLL_SECONDS)
            self._producer.flush(self._last_seconds)
        except Exception as error:
            if self._failed is None:
                raise
            self._failed(error)  # without reports nothing would ever be confirmed again


def _confirmation(error: KafkaError | None, message: Message) -> Confirmation:
    if error is not None:
        return Confirmation(error.name(), -1, None)
    kind, timestamp = message.timestamp()
    offset = message.offset()
    return Confirmation(None, -1 if offset is None else offset, timestamp if kind == TIMESTAMP_LOG_APPEND_TIME else None)
