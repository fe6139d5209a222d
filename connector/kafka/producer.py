"""The producer of `run`, for ledger and letters: every record is confirmed by all in-sync replicas, or reported as failed.

Not idempotent on purpose: facts form a set and letters may be written twice, so ordering and exactly-once sequences would
buy nothing and add errors that are fatal to the client (model: findings, E).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from connector.ports import Confirmation

__all__ = ["ConfirmingProducer"]

Failed = Callable[[Exception], None]

_POLL_SECONDS = 0.1
_DELIVERY_TIMEOUT_MS = 30_000
"""After which an unconfirmed record counts as failed and is written again; below the default of ``DRAIN_TIMEOUT``."""


class ConfirmingProducer:
    """Writes records and reports, on its own thread, what became of each.

    ``last_seconds`` is how long its end waits for what is on its way; ``failed`` is told what ended the reporting thread.
    """

    def __init__(
        self, properties: dict[str, Any], *, last_seconds: float = _DELIVERY_TIMEOUT_MS / 1000, failed: Failed | None = None
    ) -> None:
        fixed = {"acks": "all", "enable.idempotence": False, "delivery.timeout.ms": _DELIVERY_TIMEOUT_MS, "linger.ms": 5}
        self._producer = Producer(properties | fixed)
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
        timestamp_ms: int = 0,
    ) -> None:
        """Write a record; ``report`` is called exactly once, on the reporting thread or at once.

        A ``partition`` of None lets the key decide; a ``timestamp_ms`` of 0 lets the clock.
        """
        try:
            self._producer.produce(
                topic,
                value=value,
                key=key,
                partition=-1 if partition is None else partition,
                headers=list(headers),
                timestamp=timestamp_ms,
                on_delivery=lambda error, message: report(_confirmation(error, message)),
            )
        except BufferError:
            report(Confirmation("_QUEUE_FULL", -1, None))
        except KafkaException as error:
            report(Confirmation(error.args[0].name(), -1, None))

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
