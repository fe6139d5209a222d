"""The harness itself: a broker that is real, that can be hurt, and that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.integration.kafka.cluster import Cluster, ClusterFailed
from tests.patience import eventually, patience
from tests.processes import ending

_CHECKOUT = Path(__file__).parents[3]


def test_what_is_produced_is_consumed(kafka: str) -> None:
    _create_topic(kafka, "harness", replicas=1)
    _produce(kafka, "harness", b"one")

    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "harness"})
    with closing(consumer):
        consumer.assign([TopicPartition("harness", 0, 0)])
        message = consumer.poll(patience(30))

    assert message is not None
    assert message.value() == b"one"
    assert message.leader_epoch() is not None


def test_topic_that_nobody_created_is_not_made_by_asking_for_it(kafka: str) -> None:
    client = AdminClient({"bootstrap.servers": kafka})

    client.list_topics("misspelt", timeout=patience(30))

    assert "misspelt" not in client.list_topics(timeout=patience(30)).topics


@pytest.mark.kafka
def test_killed_node_is_missed_and_comes_back_with_its_log() -> None:
    with Cluster(nodes=3) as cluster:
        _create_topic(cluster.bootstrap_servers, "kept", replicas=3)
        cluster.kill(1)
        _produce(cluster.bootstrap_servers, "kept", b"while one is dead")
        cluster.restart(1)
        cluster.wait_until_complete()
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "harness"})
        with closing(consumer):
            consumer.assign([TopicPartition("kept", 0, 0)])
            message = consumer.poll(patience(30))

        assert message is not None
        assert message.value() == b"while one is dead"


@pytest.mark.kafka
def test_paused_node_takes_connections_and_answers_nothing_and_stopped_one_leaves_nothing() -> None:
    cluster = Cluster()
    with cluster:
        port = int(cluster.bootstrap_servers.rpartition(":")[2])
        client = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
        cluster.pause(1)
        assert _is_open(port)
        with pytest.raises(KafkaException):
            client.list_topics(timeout=1)
        cluster.resume(1)
        assert client.list_topics(timeout=patience(30)).brokers
        cluster.pause(1)  # and is stopped all the same

    assert not _is_open(port)
    assert not cluster._directory.exists()


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
def test_broker_does_not_outlive_the_process_that_started_it(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.kafka.cluster"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with ending(subprocess.Popen(command, cwd=_CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        process.send_signal(number)
        ended = process.wait(patience(30))

    assert ended == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    eventually(lambda: not _is_open(port), "the broker is gone")


def test_where_java_is_missing_the_failure_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cluster = Cluster()

    with pytest.raises(ClusterFailed, match=r"install a JDK .* and Maven, or name a running cluster in TEST_KAFKA_"):
        cluster.start()

    assert not cluster._directory.exists()


def _create_topic(servers: str, topic: str, replicas: int) -> None:
    client = AdminClient({"bootstrap.servers": servers})
    for created in client.create_topics([NewTopic(topic, 1, replicas)]).values():
        created.result(patience(30))


def _produce(servers: str, topic: str, value: bytes) -> None:
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "log_level": 0})
    producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(patience(60)) == 0
    assert failures == [None]


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
