"""The producer of replays: a batch is written whole or not at all, by one run at a time.

Transactions make a replay exact. `fence` ends whatever an earlier run of the same name left open.
From then on that run can write nothing any more, even if it only slept. So after `fence`, the
source topic holds everything that was ever replayed, until we write ourselves. The ledger does
without transactions because a fact may be written twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message

from connector.config import Kafka
from connector.core.letters import Headers
from connector.errors import KafkaUnavailable, RecordsRefused
from connector.kafka import clients
from connector.kafka.host import HOST
from connector.kafka.producer import time_kept
from connector.model import TopicPartition

__all__ = ["OutgoingRecord", "TransactionalProducer"]

_LOGGER = logging.getLogger("librdkafka.transactions")
_LOGGER.addFilter(lambda line: not line.getMessage().startswith(("TXNERR", "FATAL")))
"""Leaves out what a call raises in any case."""
_REQUEST_SECONDS = 30.0
_FLUSH_SECONDS = 0.2
"""Short, so that an interrupt is noticed soon."""
_CAUSE_SECONDS = 5.0
"""How long to wait for the reports of a batch that failed. The report with the cause may come after
those of the records that were given up with it (librdkafka 2.16)."""
_TRANSACTION_MS = 60_000
"""How long a run that was killed can hold up the readers of its partitions. The next run ends that
sooner."""
_UNFIT = frozenset(
    {
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "retries",
        "message.send.max.retries",
        "queuing.strategy",
        "enable.gapless.guarantee",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
    }
)
"""Properties that an operator may set for the other producer. librdkafka refuses them together with
transactions, or a batch may not fit into them."""
_REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
        KafkaError._INVALID_DIFFERENT_RECORD,  # noqa: SLF001 - librdkafka's own codes are named so
    }
)
_FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - librdkafka's own codes are named so
        KafkaError._FATAL,  # noqa: SLF001 - the same; comes after the code that says why
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    }
)


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to write."""

    partition: TopicPartition
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class TransactionalProducer:
    """Writes batches, each in its own transaction. ``name`` is its transactional id."""

    def __init__(self, kafka: Kafka, name: str) -> None:
        self._name = name
        fixed = {
            "transactional.id": name,
            "enable.idempotence": True,
            "acks": "all",
            "transaction.timeout.ms": _TRANSACTION_MS,
            "delivery.timeout.ms": _TRANSACTION_MS // 2,
            "linger.ms": 5,
        }
        properties = clients.producer_properties(kafka, clients.unreported, _LOGGER)
        given = {key: value for key, value in properties.items() if key not in _UNFIT}
        self._producer = clients.producer(given | fixed)

    def fence(self) -> None:
        """Take over the name: another run of it is aborted and can write no more."""
        try:
            self._producer.init_transactions(_REQUEST_SECONDS)
        except KafkaException as error:
            raise self._unavailable(error.args[0]) from error

    def write(self, records: Sequence[OutgoingRecord]) -> None:
        """Write a batch; when this returns, all in-sync replicas have it and readers see it.

        Raises:
            RecordsRefused: nothing was written, because the brokers refuse one of the records.
            KafkaUnavailable: nothing was written, unless it was the answer to a commit that never
            came.
        """
        for again in (True, False):
            try:
                self._producer.begin_transaction()
                self._produce(records)
                self._commit()
            except KafkaException as error:
                self._abort()
                # After refused records the client finds gaps in its sequence numbers. It gives up
                # the next transaction as a whole, and only then counts anew (librdkafka 2.16).
                if again and error.args[0].code() == KafkaError._PURGE_QUEUE:  # noqa: SLF001 - librdkafka's own codes are named so
                    continue
                raise self._unavailable(error.args[0]) from error
            except BaseException:  # above all an interrupt: no batch may be written in part
                self._abort()
                raise
            else:
                return

    def _produce(self, records: Sequence[OutgoingRecord]) -> None:
        failures: list[KafkaError] = []

        def report(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        for record in records:
            self._producer.produce(
                record.partition.topic,
                value=record.value,
                key=record.key,
                partition=record.partition.partition,
                headers=list(record.headers),
                timestamp=time_kept(record.timestamp_ms),
                on_delivery=report,
            )
            self._producer.poll(0)
            if failures:
                break  # the client takes no more in this transaction, and would raise that instead of the cause
        while not failures and self._producer.flush(_FLUSH_SECONDS):
            pass
        if failures:
            self._producer.flush(_CAUSE_SECONDS)
            raise KafkaException(next((each for each in failures if each.code() in _REFUSED), failures[0]))

    def _commit(self) -> None:
        deadline = HOST.monotonic() + _REQUEST_SECONDS
        while True:
            try:
                self._producer.commit_transaction(_REQUEST_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable() or HOST.monotonic() > deadline:
                    raise
            else:
                return

    def _abort(self) -> None:
        """Abort if possible; else the transaction's timeout does, or the next `fence`."""
        try:
            self._producer.abort_transaction(_REQUEST_SECONDS)
        except KafkaException:
            return

    def _unavailable(self, error: KafkaError) -> KafkaUnavailable:
        code = error.code()
        if code in _FENCED:
            return KafkaUnavailable(f"another replay took over ({self._name}): this one has written nothing since")
        if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return KafkaUnavailable(
                f"this client may not write as transactional id {self._name}: grant it with kafka-acls.sh"
            )
        if code in _REFUSED:
            return RecordsRefused(error.name())
        return KafkaUnavailable(f"writing to the source topic: {error.name()}")
