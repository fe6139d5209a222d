"""The producer for ledger and dead letters.

Each record is confirmed by all in-sync replicas, or reported as failed.

It is not idempotent on purpose. Facts form a set and letters may be written twice, so order and
exactly-once sequences would gain nothing, and they bring errors that are fatal to the client
(docs/evidence.md#the-model).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from connector.kafka import clients
from connector.kafka.host import HOST, Host
from connector.kafka.logins import LOGIN, Following
from connector.ports import Confirmation

__all__ = ["ConfirmingProducer", "time_kept"]

Failed = Callable[[Exception], None]

_POLL_SECONDS = 0.1
_DELIVERY_TIMEOUT_MS = 30_000
"""An unconfirmed record counts as failed after this time and is written again. Below the default of
``DRAIN_TIMEOUT``."""


def time_kept(timestamp_ms: int) -> int:
    """Return the timestamp nearest to a record's that can be written.

    librdkafka takes 0 for "now" (2.16), so the first millisecond of 1970 becomes the second. A time
    before 1970 becomes -1, which means no timestamp: with any other negative one, brokers store the
    record, or fail together with its whole batch (tried with 4.4).
    """
    return timestamp_ms if timestamp_ms > 0 else 1 if timestamp_ms == 0 else -1


class ConfirmingProducer:
    """Writes records and reports, on its own thread, what became of each.

    ``last_seconds`` is how long leaving the context waits for records in flight. ``failed`` is
    called with the error that ended the reporting thread.
    """

    def __init__(
        self,
        properties: dict[str, Any],
        *,
        last_seconds: float = _DELIVERY_TIMEOUT_MS / 1000,
        failed: Failed | None = None,
        make_client: Callable[[dict[str, Any]], Producer] = clients.producer,
        host: Host = HOST,
    ) -> None:
        fixed = {"acks": "all", "enable.idempotence": False, "delivery.timeout.ms": _DELIVERY_TIMEOUT_MS, "linger.ms": 5}
        self._properties = properties | fixed
        self._make_client, self._host = make_client, host
        self._login = Following(properties.get(LOGIN))
        self._producer = make_client(self._properties)
        self._of_one: ConfirmingProducer | None = None
        self._alone: SimpleQueue[tuple[Callable[[ConfirmingProducer], None], Callable[[Confirmation], None]]] = host.queue()
        """Records to write alone, each with its report. Making their client may take seconds, so it
        is left to the reporting thread: writers may be an event loop."""
        self._last_seconds = last_seconds
        self._failed = failed
        self._closing = host.event()
        self._thread = host.thread(self._serve, "producer-reports")

    def __enter__(self) -> Self:
        """Start the reporting thread."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait for records in flight, then end the reporting thread."""
        self.close()
        self._thread.join()

    def close(self) -> None:
        """Have the reporting thread end. Leaving the context waits for it."""
        self._closing.set()

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
        """Write a record; ``report`` is called exactly once, on the reporting thread or right away.

        Without a ``partition`` the key decides, without a ``timestamp_ms`` the clock. A record
        written ``alone`` has a batch of its own, because brokers accept or refuse a batch as a
        whole.
        """
        if alone:
            self._alone.put(
                (
                    lambda one: one.write(
                        topic, partition, value, report, key=key, headers=headers, timestamp_ms=timestamp_ms
                    ),
                    report,
                )
            )
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
            # A queue that is full while empty will never take this record
            # (KAFKA_QUEUE_BUFFERING_MAX_KBYTES).
            report(Confirmation("_QUEUE_FULL" if len(self._producer) else "MSG_SIZE_TOO_LARGE", -1, None))
        except KafkaException as error:
            report(Confirmation(error.args[0].name(), -1, None))
        except Exception as error:  # noqa: BLE001 - it concerns this record only, which is tried again; an operator is told
            report(Confirmation(type(error).__name__, -1, None))

    def _single(self) -> ConfirmingProducer:
        """Return the producer whose batches hold one record each. Most connectors never need it."""
        if self._of_one is None:
            one = ConfirmingProducer(
                self._properties | {"batch.num.messages": 1},
                last_seconds=self._last_seconds,
                failed=self._failed,
                make_client=self._make_client,
                host=self._host,
            )
            self._of_one = one.__enter__()
        return self._of_one

    def _write_alone(self) -> None:
        while True:
            try:
                write_to, report = self._alone.get_nowait()
            except Empty:
                return
            try:
                one = self._single()
            except Exception as error:  # noqa: BLE001 - such as without a token; the record is written again
                report(Confirmation(type(error).__name__, -1, None))
            else:
                write_to(one)

    def _serve(self) -> None:
        try:
            while not self._closing.is_set():
                self._login.update(self._producer)
                self._producer.poll(_POLL_SECONDS)
                self._write_alone()
            self._write_alone()
            if self._of_one is not None:
                self._of_one.close()  # so that both wait at the same time
            self._producer.flush(self._last_seconds)
            if self._of_one is not None:
                self._of_one.__exit__(None, None, None)
        except Exception as error:
            if self._failed is None:
                raise
            self._failed(error)  # without the thread nothing would be confirmed ever again


def _confirmation(error: KafkaError | None, message: Message) -> Confirmation:
    if error is not None:
        return Confirmation(error.name(), -1, None)
    kind, timestamp = message.timestamp()
    offset = message.offset()
    return Confirmation(None, -1 if offset is None else offset, timestamp if kind == TIMESTAMP_LOG_APPEND_TIME else None)
