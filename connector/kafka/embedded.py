"""librdkafka's embedded broker: an in-memory simulator for the demo and fast tests.

It is not Apache Kafka. It keeps at most 5 MiB per partition and nothing beyond its end. It has no
topic settings, no retention, no transactions and no append time. It has topic ids and leader epochs
once it has a controller. Its API is experimental. It is reached by ctypes, in the library that the
``confluent_kafka`` wheel contains.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any, Self

from confluent_kafka import cimpl

from connector.errors import KafkaUnavailable
from connector.kafka.cluster import Cluster
from connector.model import TopicDescription

__all__ = ["EmbeddedBroker", "EmbeddedLedgerTopics"]

_PRODUCER = 0
_SESSION_MS = 6000
_HEARTBEAT_MS = 500


class EmbeddedBroker:
    """One simulated broker on loopback, for as long as the context lasts."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(cimpl.__file__)
        self._handle: int | None = None
        self._cluster: int | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        """Start the broker."""
        text = ctypes.create_string_buffer(512)
        configuration = self._call("rd_kafka_conf_new", ctypes.c_void_p)
        self._call(
            "rd_kafka_conf_set",
            ctypes.c_int,
            ctypes.c_void_p(configuration),
            b"test.mock.num.brokers",
            b"1",
            text,
            ctypes.c_size_t(len(text)),
        )
        # Otherwise it writes to standard error that a mock cluster is enabled; the demo says so
        # itself.
        self._call("rd_kafka_conf_set_log_cb", None, ctypes.c_void_p(configuration), ctypes.c_void_p(None))
        self._handle = self._call(
            "rd_kafka_new",
            ctypes.c_void_p,
            ctypes.c_int(_PRODUCER),
            ctypes.c_void_p(configuration),
            text,
            ctypes.c_size_t(len(text)),
        )
        if not self._handle:
            raise KafkaUnavailable(f"the embedded broker did not start: {text.value.decode()}")
        self._cluster = self._call("rd_kafka_handle_mock_cluster", ctypes.c_void_p, ctypes.c_void_p(self._handle))
        cluster = ctypes.c_void_p(self._cluster)
        self.bootstrap_servers = self._call("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, cluster).decode()
        self._call("rd_kafka_mock_set_controller_id", ctypes.c_int, cluster, ctypes.c_int32(1))
        self._call("rd_kafka_mock_group_initial_rebalance_delay_ms", None, cluster, ctypes.c_int32(0))
        self._call("rd_kafka_mock_set_group_consumer_session_timeout_ms", None, cluster, ctypes.c_int(_SESSION_MS))
        self._call("rd_kafka_mock_set_group_consumer_heartbeat_interval_ms", None, cluster, ctypes.c_int(_HEARTBEAT_MS))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the broker. All its records are gone."""
        # The cluster belongs to the handle and ends with it. Destroying it separately aborts the
        # process.
        self._call("rd_kafka_destroy", None, ctypes.c_void_p(self._handle))

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create a topic."""
        code = self._call(
            "rd_kafka_mock_topic_create", ctypes.c_int, ctypes.c_void_p(self._cluster), topic.encode(), partitions, 1
        )
        if code:
            raise KafkaUnavailable(f"the embedded broker did not create topic {topic}: error {code}")

    def _call(self, name: str, result: Any, *arguments: Any) -> Any:
        function = getattr(self._library, name)
        function.restype = result
        return function(*arguments)


class EmbeddedLedgerTopics:
    """A ``ports.LedgerTopics`` for the embedded broker, whose topics have no settings.

    Whoever started the broker has created the topics.
    """

    def __init__(self, cluster: Cluster, ledger: str) -> None:
        self._cluster = cluster
        self._ledger = ledger

    def ensure(self, source: TopicDescription) -> TopicDescription:
        """Return the ledger."""
        ledger = self._cluster.describe(self._ledger)
        if ledger is None:
            raise KafkaUnavailable(f"the embedded broker has no ledger {self._ledger} for {source.name}")
        return ledger

    def trouble(self, _source: TopicDescription) -> str | None:
        """Return None: topics without settings keep what is written to them."""
        return None
