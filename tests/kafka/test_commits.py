"""Commits that the brokers refuse, for every reason they have: no crash, nothing lost, and in the end all is committed.

On librdkafka's embedded broker, which answers with the errors it is told; those of a rebalance or a lost session happen on a
real one in ``tests/integration/test_members.py``.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import time
from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from connector import sandbox
from connector.app import Connector
from connector.assembly import read_settings
from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.kafka.embedded import EmbeddedBroker, EmbeddedLedgerTopics
from tests.integration.events import event
from tests.patience import patience

_OFFSET_COMMIT = 8
"""The number of that request in Kafka's protocol."""
_TOPIC, _GROUP, _LEDGER = "conversions", "group", "conversions.group.ledger"
_ROUNDS, _EVENTS = 3, 20

_CLASSIC = {"KAFKA_GROUP_PROTOCOL": "classic", "KAFKA_SESSION_TIMEOUT_MS": "3000", "KAFKA_HEARTBEAT_INTERVAL_MS": "300"}
_CONSUMER = {"KAFKA_GROUP_PROTOCOL": "consumer"}

_REFUSALS = [
    (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, _CONSUMER),
    (KafkaError.COORDINATOR_NOT_AVAILABLE, _CONSUMER),
    (KafkaError.NOT_COORDINATOR, _CONSUMER),
    (KafkaError.REQUEST_TIMED_OUT, _CONSUMER),
    (KafkaError.STALE_MEMBER_EPOCH, _CONSUMER),
    (KafkaError.REBALANCE_IN_PROGRESS, _CLASSIC),
    (KafkaError.ILLEGAL_GENERATION, _CLASSIC),
    (KafkaError.UNKNOWN_MEMBER_ID, _CLASSIC),
]
"""With the protocol whose brokers give them: a client may do anything with what it cannot be told."""


@pytest.mark.parametrize(("code", "protocol"), _REFUSALS, ids=[str(KafkaError(code).name()) for code, _ in _REFUSALS])
async def test_refused_commits_lose_nothing_and_are_made_good(code: int, protocol: dict[str, str]) -> None:
    amazon = await sandbox.serve(options=sandbox.Options())
    try:
        with EmbeddedBroker() as broker:
            for topic in (_TOPIC, _LEDGER, f"{_TOPIC}.dead-letter"):
                broker.create_topic(topic, 1)
            connector = Connector(
                read_settings(_environment(broker, amazon) | protocol), lambda topics: EmbeddedLedgerTopics(topics, _LEDGER)
            )
            running = asyncio.create_task(connector.run())
            schema_id = amazon.registry.register(f"{_TOPIC}-value", json.dumps(EventEncoder().schema))
            for number in range(_ROUNDS):
                _refuse_commits(broker, code, 2)
                _produce(broker, schema_id, number)
                await _until_accepted(amazon, (number + 1) * _EVENTS, running)
            _refuse_commits(broker, code, 0)
            admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
            await _until(lambda: _committed(admin) == _ROUNDS * _EVENTS, "all is committed", running)
            connector.request_shutdown()
            assert await running is None

        assert _accepted(amazon) == {f"{number}-{each}": 1 for number in range(_ROUNDS) for each in range(_EVENTS)}
    finally:
        await amazon.stop()


def _environment(broker: EmbeddedBroker, amazon: sandbox.RunningSandbox) -> dict[str, str]:
    credentials = amazon.options.credentials
    return {
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA_TOPIC": _TOPIC,
        "KAFKA_GROUP_ID": _GROUP,
        "KAFKA_FETCH_WAIT_MAX_MS": "20",
        "SCHEMA_REGISTRY_URL": amazon.registry_url,
        "AMAZON_BASE_URL": amazon.url,
        "AMAZON_TOKEN_URL": amazon.token_url,
        "AMAZON_ACCOUNT_ID": credentials.account_id,
        "AMAZON_CLIENT_ID": credentials.client_id,
        "AMAZON_CLIENT_SECRET": credentials.client_secret,
        "AMAZON_REFRESH_TOKEN": credentials.refresh_token,
        "BATCH_LINGER": "20ms",
        "LEDGER_FLUSH_INTERVAL": "50ms",
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
    }


def _refuse_commits(broker: EmbeddedBroker, code: int, times: int) -> None:
    """Answer the next commits with an error; what was still to be answered so is forgotten."""
    cluster, key = ctypes.c_void_p(broker._cluster), ctypes.c_int16(_OFFSET_COMMIT)
    broker._call("rd_kafka_mock_clear_request_errors", None, cluster, key)
    if times:
        codes = (ctypes.c_int * times)(*[code] * times)
        broker._call("rd_kafka_mock_push_request_errors_array", None, cluster, key, ctypes.c_size_t(times), codes)


def _produce(broker: EmbeddedBroker, schema_id: int, number: int) -> None:
    encoder = EventEncoder()
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    for each in range(_EVENTS):
        producer.produce(_TOPIC, framed(schema_id, encoder.encode(event(f"{number}-{each}"))), partition=0)
    assert producer.flush(patience(30)) == 0


def _accepted(amazon: sandbox.RunningSandbox) -> Counter[str]:
    return Counter(line["id"] for line in map(json.loads, amazon.record.lines()) if line["verdict"] == "accepted")


def _committed(admin: AdminClient) -> int:
    # Without partitions the embedded broker answers nothing.
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(_GROUP, [TopicPartition(_TOPIC, 0)])])
    return int(asked[_GROUP].result(patience(10)).topic_partitions[0].offset)


async def _until_accepted(amazon: sandbox.RunningSandbox, count: int, running: asyncio.Task[str | None]) -> None:
    await _until(lambda: len(_accepted(amazon)) == count, f"{count} are accepted", running)


async def _until(holds: Callable[[], bool], what: str, running: asyncio.Task[str | None]) -> None:
    deadline = time.monotonic() + patience(60)
    while not holds():
        assert not running.done(), f"it ended: {running.exception()}"
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.05)
