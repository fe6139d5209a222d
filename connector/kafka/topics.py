"""What the cluster says of topics and groups, and the two topics of ours: made, checked, or refused.

Every call asks the brokers and blocks; errors become `KafkaUnavailable` (ask again later) or `LedgerRefused`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec

from connector.errors import KafkaUnavailable, LedgerRefused
from connector.model import TopicPartition

__all__ = ["OwnTopics", "TopicDescription", "Topics", "TopicsOfOurs"]

_REQUEST_SECONDS = 15.0
_FIRST_ANSWER_SECONDS = 5.0
"""After which brokers that have not even said who they are count as not answering, and an operator is told so."""
_DAY_MS = 86_400_000
_LETTER_HEADROOM_BYTES = 65_536
"""What our headers may add to a record (design: Words, dead letter)."""
_DEFAULT_SESSION_SECONDS = 45.0
"""Of Kafka, for both protocols; used where the brokers do not say."""

_ENTRY_BYTES = 524_288
"""Room for the largest ledger entry: 10,000 facts of at most 24 bytes and their runs, and the header."""
_VISIBLE_TRIES = 20
_VISIBLE_AGAIN_SECONDS = 0.25

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as the brokers describe it."""

    name: str
    topic_id: str
    partitions: int
    replication: int
    may: frozenset[str]
    """Operations this client is authorised to, as Kafka names them; empty where the broker did not say."""


def _wait(what: str, future: Future[T]) -> T:
    try:
        return future.result(timeout=_REQUEST_SECONDS)
    except KafkaException as error:
        raise KafkaUnavailable(f"{what}: {error.args[0].name()}") from error
    except TimeoutError as error:
        raise KafkaUnavailable(f"{what}: no answer within {_REQUEST_SECONDS:.0f} s") from error


def _code(error: KafkaUnavailable) -> int | None:
    cause = error.__cause__
    return cause.args[0].code() if isinstance(cause, KafkaException) else None


class Topics:
    """Asks the brokers."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    def cluster_id(self) -> str:
        """Return the cluster's id."""
        found = _wait("the cluster's id", self._admin.describe_cluster(request_timeout=_FIRST_ANSWER_SECONDS)).cluster_id
        if not found:
            raise KafkaUnavailable("the brokers do not name a cluster id")
        return str(found)

    def describe(self, topic: str) -> TopicDescription | None:
        """Describe a topic; None if it does not exist."""
        asked = self._admin.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=_REQUEST_SECONDS
        )
        try:
            found = _wait(f"topic {topic}", asked[topic])
        except KafkaUnavailable as error:
            if _code(error) in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID}:
                return None
            raise
        may = frozenset(AclOperation(operation).name for operation in found.authorized_operations or ())
        return TopicDescription(topic, str(found.topic_id), len(found.partitions), len(found.partitions[0].replicas), may)

    def settings(self, topic: str) -> dict[str, str]:
        """Return a topic's effective settings."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        asked = self._admin.describe_configs([resource], request_timeout=_REQUEST_SECONDS)
        entries: dict[str, Any] = _wait(f"settings of topic {topic}", asked[resource])
        return {name: str(entry.value) for name, entry in entries.items()}

    def offsets(self, partition: TopicPartition) -> tuple[int, int]:
        """Return a partition's first offset and its end offset."""
        place = KafkaTopicPartition(*partition)
        bounds = []
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
            asked = self._admin.list_offsets(
                {place: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_REQUEST_SECONDS
            )
            offset = _wait(f"offsets of {partition}", asked[place]).offset
            if offset < 0:
                raise KafkaUnavailable(f"offsets of {partition}: the brokers do not know them")
            bounds.append(offset)
        return bounds[0], bounds[1]

    def session_seconds(self, group: str) -> float:
        """Return the session time-out of a KIP-848 group, as the brokers hold it."""
        resource = ConfigResource(ConfigResource.Type.GROUP, group)
        try:
            asked = self._admin.describe_configs([resource], request_timeout=_REQUEST_SECONDS)
            entry = _wait("settings of the group", asked[resource]).get("consumer.session.timeout.ms")
        except (KafkaUnavailable, KafkaException):  # brokers before 4.0 have no settings of groups
            return _DEFAULT_SESSION_SECONDS
        return int(entry.value) / 1000 if entry is not None else _DEFAULT_SESSION_SECONDS

    def create(self, topic: str, partitions: int, replication: int, settings: dict[str, str]) -> None:
        """Create a topic; another member having done so meanwhile is as good."""
        new = NewTopic(topic, num_partitions=partitions, replication_factor=replication, config=settings)
        try:
            _wait(f"creating topic {topic}", self._admin.create_topics([new], request_timeout=_REQUEST_SECONDS)[topic])
        except KafkaUnavailable as error:
            if _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def add_partitions(self, topic: str, partitions: int) -> None:
        """Give a topic as many partitions; another member having done so meanwhile is as good."""
        asked = self._admin.create_partitions([NewPartitions(topic, partitions)], request_timeout=_REQUEST_SECONDS)
        try:
            _wait(f"adding partitions to topic {topic}", asked[topic])
        except KafkaUnavailable as error:
            if _code(error) != KafkaError.INVALID_PARTITIONS:
                raise


class TopicsOfOurs(Protocol):
    """Sees to it that ledger and dead-letter topic are there and lose nothing."""

    def ensure(self, source: TopicDescription) -> TopicDescription:
        """Make or check the ledger and dead-letter topics of a source topic; return the ledger."""


class OwnTopics:
    """Ledger and dead-letter topics on a real cluster (design: The ledger)."""

    def __init__(
        self,
        topics: Topics,
        ledger_for: Callable[[str], str],
        letters_for: Callable[[str], str],
        *,
        servers: str,
        window_ms: int,
        auto_create: bool,
    ) -> None:
        self._topics = topics
        self._servers = servers
        self._ledger_for = ledger_for
        self._letters_for = letters_for
        self._retention_ms = window_ms + _DAY_MS
        self.auto_create = auto_create
        """Whether missing topics and partitions are made."""

    def ensure(self, source: TopicDescription) -> TopicDescription:
        """Make or check the ledger and dead-letter topics of a source topic; return the ledger.

        Raises:
            LedgerRefused: a topic is missing or would lose facts; the text has the command that mends it.
            KafkaUnavailable: the brokers do not answer.
        """
        inherited = self._topics.settings(source.name)
        ledger = self._make(self._ledger_for(source.name), source, self.ledger_settings(inherited))
        problems = self.ledger_problems(self._topics.settings(ledger.name))
        if problems:
            raise LedgerRefused(self.mend(ledger.name, problems))
        self._make(self._letters_for(source.name), source, letter_settings(inherited))
        return ledger

    def _make(self, topic: str, source: TopicDescription, settings: dict[str, str]) -> TopicDescription:
        found = self._topics.describe(topic)
        if found is not None and found.partitions >= source.partitions:
            return found
        if not self.auto_create:
            state, verb = ("does not exist", "create") if found is None else (f"has {found.partitions} partitions", "alter")
            given = "".join(f" --config {name}={value}" for name, value in settings.items()) if found is None else ""
            raise LedgerRefused(
                f"topic {topic} {state}, {source.partitions} partitions are needed; LEDGER_AUTO_CREATE=true makes it, or: "
                f"kafka-topics.sh --bootstrap-server {self._servers} --{verb} --topic {topic} "
                f"--partitions {source.partitions}{given}"
            )
        if found is not None:
            self._topics.add_partitions(topic, source.partitions)
        else:
            self._create(topic, source, settings)
        for _ in range(_VISIBLE_TRIES):
            made = self._topics.describe(topic)
            if made is not None and made.partitions >= source.partitions:
                return made
            time.sleep(_VISIBLE_AGAIN_SECONDS)  # the brokers' metadata lags behind their controller's
        raise KafkaUnavailable(f"topic {topic} was made but is not visible yet")

    def _create(self, topic: str, source: TopicDescription, settings: dict[str, str]) -> None:
        try:
            self._topics.create(topic, source.partitions, source.replication, settings)
        except KafkaUnavailable as error:
            if _code(error) not in {KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION}:
                raise
            # Some managed clusters refuse these two; what elections they allow is checked afterwards all the same.
            refused = {"unclean.leader.election.enable", "min.insync.replicas"}
            fewer = {name: value for name, value in settings.items() if name not in refused}
            self._topics.create(topic, source.partitions, source.replication, fewer)

    def ledger_settings(self, source: dict[str, str]) -> dict[str, str]:
        """Return the settings a ledger is created with."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self._retention_ms),
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
            "unclean.leader.election.enable": "false",
            "min.insync.replicas": source.get("min.insync.replicas", "1"),
        }

    def ledger_problems(self, settings: dict[str, str]) -> dict[str, str]:
        """Return the settings that would lose facts, with the values that would not."""
        wanted = self.ledger_settings(settings)
        del wanted["min.insync.replicas"]
        retention = int(settings.get("retention.ms", "0"))
        if retention < 0 or retention >= self._retention_ms:
            del wanted["retention.ms"]
        if int(settings.get("max.message.bytes", _ENTRY_BYTES)) < _ENTRY_BYTES:
            wanted["max.message.bytes"] = str(_ENTRY_BYTES)
        return {name: value for name, value in wanted.items() if settings.get(name) != value}

    def mend(self, topic: str, problems: dict[str, str]) -> str:
        """Say which command mends a ledger's settings."""
        settings = ",".join(f"{name}={value}" for name, value in problems.items())
        return (
            f"the ledger {topic} would lose facts by its settings; mend it with: "
            f"kafka-configs.sh --bootstrap-server {self._servers} --alter --entity-type topics "
            f"--entity-name {topic} --add-config {settings}"
        )


def letter_settings(source: dict[str, str]) -> dict[str, str]:
    """Return the settings a dead-letter topic is created with: nothing of it leaves by itself."""
    largest = int(source.get("max.message.bytes", "1048588")) + _LETTER_HEADROOM_BYTES
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(largest),
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": source.get("min.insync.replicas", "1"),
    }
