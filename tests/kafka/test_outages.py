"""An outage of the brokers costs neither threads nor descriptors, however they are away and however long.

Each client of Kafka has threads and descriptors of its own, and questions that nobody answers are asked of new ones. The
collector is off: what it alone could free counts as kept, as it is kept for long in a process that has much to collect.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from connector.app import Connector
from connector.assembly import read_settings
from connector.config import Kafka
from connector.errors import KafkaUnavailable
from connector.kafka import clients, cluster, monitor
from connector.kafka.embedded import EmbeddedLedgerTopics
from connector.model import TopicPartition
from tests.integration.ports import reserved
from tests.patience import patience
from tests.processes import ending

_TOPIC, _GROUP, _LEDGER = "conversions", "group", "conversions.group.ledger"
_PLACE = TopicPartition(_TOPIC, 0)
_WINDOWS = 10
_SEVERAL = 6
"""Threads or descriptors that may come and go: one client has four threads, and ten questions took forty."""

_BROKER = f"""
import sys
from connector.kafka.embedded import EmbeddedBroker
with EmbeddedBroker() as broker:
    for topic in ("{_TOPIC}", "{_LEDGER}", "{_TOPIC}.dead-letter"):
        broker.create_topic(topic, 1)
    print(broker.bootstrap_servers, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _hurried_and_uncollected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cluster, "_TRIES_SECONDS", (0.2, 0.2))
    monkeypatch.setattr(cluster, "_FIRST_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "_COMMITTED_SECONDS", 0.2)
    monkeypatch.setattr(monitor, "_SECONDS", 0.1)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _held() -> tuple[int, int]:
    """Return the threads and the descriptors of this process."""
    return len([*Path("/proc/self/task").iterdir()]), len([*Path("/proc/self/fd").iterdir()])


def _grown(before: tuple[int, int]) -> tuple[int, int]:
    now = _held()
    return now[0] - before[0], now[1] - before[1]


def _wait_until_given_back(before: tuple[int, int]) -> None:
    """Wait for the threads of clients that are closed: one that looks a name up ends after its look-up."""
    deadline = time.monotonic() + patience(10)
    while max(grown := _grown(before)) > _SEVERAL:
        assert time.monotonic() < deadline, grown
        time.sleep(0.05)


async def _grown_at_last() -> tuple[int, int]:
    """Return by how much this process grows in some seconds; what starts slowly is let start, what leaks never stops."""
    for _ in range(_WINDOWS):
        before = _held()
        await asyncio.sleep(6)
        if max(grown := _grown(before)) <= _SEVERAL:
            break
    return grown


@contextmanager
def _listener(answer: bytes | None) -> Iterator[str]:
    """Take connections and say nothing, or this and no more."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = server.accept()
                    with taken:
                        taken.sendall(answer or b"")

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def _nobody() -> Iterator[str]:
    (port,) = reserved(1)
    yield f"127.0.0.1:{port}"


_TLS = {"security.protocol": "ssl"}
_SASL = {
    "security.protocol": "sasl_plaintext",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "someone",
    "sasl.password": "secret",
}
_OUTAGES: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[str]], Mapping[str, str]]] = {
    "hung": (lambda: _listener(None), {}),
    "dead": (_nobody, {}),
    "without a name": (lambda: contextlib.nullcontext("broker.invalid:9092"), {}),
    "not Kafka": (lambda: _listener(b"HTTP/1.1 400 Bad Request\r\n\r\n"), {}),
    "silent to TLS": (lambda: _listener(None), _TLS),
    "without TLS": (lambda: _listener(b"HTTP/1.1 400 Bad Request\r\n\r\n"), _TLS),
    "silent to SASL": (lambda: _listener(None), _SASL),
    "without SASL": (lambda: _listener(b"HTTP/1.1 400 Bad Request\r\n\r\n"), _SASL),
}


@pytest.mark.parametrize("outage", _OUTAGES)
def test_questions_that_nobody_answers_keep_neither_threads_nor_descriptors(outage: str) -> None:
    listening, properties = _OUTAGES[outage]
    with listening() as servers:
        kafka = Kafka(servers, (_TOPIC,), _GROUP, properties)
        asked = cluster.Cluster(lambda: clients.admin(kafka), lambda: clients.offsets_reader(kafka))
        questions: list[Callable[[], object]] = [
            asked.cluster_id,
            lambda: asked.describe(_TOPIC),
            lambda: asked.settings(_TOPIC),
            lambda: asked.offsets(_PLACE),
            lambda: asked.committed(_PLACE),
            lambda: asked.group_may(_GROUP),
            lambda: asked.create(_TOPIC, 1, 1, {}),
            lambda: asked.add_partitions(_TOPIC, 2),
        ]

        def ask_all() -> None:
            for question in questions:
                with pytest.raises(KafkaUnavailable):
                    question()
            assert asked.ends([_PLACE]) == {}

        ask_all()
        before = _held()
        ask_all()
        _wait_until_given_back(before)


def test_an_error_that_somebody_keeps_keeps_no_client() -> None:
    with _listener(None) as servers:
        kafka = Kafka(servers, (_TOPIC,), _GROUP, {})
        asked = cluster.Cluster(lambda: clients.admin(kafka), lambda: clients.offsets_reader(kafka))
        before, kept = _held(), []
        for _ in range(5):
            try:
                asked.describe(_TOPIC)
            except KafkaUnavailable as error:
                kept.append(error)
        assert len(kept) == 5
        _wait_until_given_back(before)


async def test_brokers_that_were_never_there_cost_nothing() -> None:
    with _listener(None) as servers:
        connector = Connector(read_settings(_environment(servers)))
        running = asyncio.create_task(connector.run())
        await asyncio.sleep(3)
        grown = await _grown_at_last()
        connector.request_shutdown()
        assert await running is None
    assert max(grown) <= _SEVERAL


@pytest.mark.parametrize("ended_by", [signal.SIGSTOP, signal.SIGKILL], ids=["hung", "dead"])
async def test_brokers_that_go_away_from_a_running_connector_cost_nothing(ended_by: signal.Signals) -> None:
    with ending(
        subprocess.Popen([sys.executable, "-c", _BROKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ) as broker:
        assert broker.stdout is not None
        connector = Connector(
            read_settings(_environment(broker.stdout.readline().strip())), lambda asked: EmbeddedLedgerTopics(asked, _LEDGER)
        )
        running = asyncio.create_task(connector.run())
        deadline = time.monotonic() + patience(60)
        while connector.health().not_ready:
            assert time.monotonic() < deadline, connector.health()
            await asyncio.sleep(0.05)
        broker.send_signal(ended_by)
        await asyncio.sleep(3)
        grown = await _grown_at_last()
    connector.request_shutdown()
    await running
    assert max(grown) <= _SEVERAL


def _environment(servers: str) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_TOPIC": _TOPIC,
        "KAFKA_GROUP_ID": _GROUP,
        "KAFKA_GROUP_PROTOCOL": "consumer",
        "AVRO_SCHEMA_FILE": str(Path(__file__).parents[2] / "schemas" / "conversion_event.avsc"),
        "AMAZON_ACCOUNT_ID": "5850000000001",
        "AMAZON_CLIENT_ID": "amzn1.application-oa2-client.example",
        "AMAZON_ACCESS_TOKEN": "example",
        "DRAIN_TIMEOUT": "1s",
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
    }
