"""What the cluster says of topics and groups, and the two topics of ours: made, checked, or refused.

Every call asks the brokers and blocks; errors become `KafkaUnavailable` (ask again later) or `LedgerRefused`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec
from confluent_kafka.admin import ConsumerGroupDescription as GroupDescribed
from confluent_kafka.admin import TopicDescription as TopicDescribed

from connector.core.recovery import CommittedOffset, accept_value
from connector.errors import KafkaDenied, KafkaUnavailable, LedgerRefused
from connector.model import UNKNOWN_EPOCH, TopicPartition

__all__ = ["OwnTopics", "TopicDescription", "Topics", "TopicsOfOurs", "forgets", "letter_problems", "missing", "unavailable"]

_TRIES_SECONDS = (2.0, 3.0, 4.0, 6.0)
"""Of one question, each asked of another client: see `Topics._ask`. Brokers that are slow have the last."""
_WAIT_SECONDS = 30.0
"""Longer than a client waits, so that one is not replaced with its question under way: see `Topics._unanswered`."""
_COMMITTED_SECONDS = 15.0
_FIRST_ANSWER_SECONDS = 5.0
"""After which brokers that have not even said who they are count as not answering, and an operator is told so."""
_DAY_MS = 86_400_000
_LETTER_HEADROOM_BYTES = 65_536
"""What our headers may add to a record (docs/how-it-works.md#dead-letters)."""
_DEFAULT_SESSION_SECONDS = 45.0
"""Of Kafka, for both protocols; used where the brokers do not say."""

_ENTRY_BYTES = 524_288
"""Room for the largest ledger entry: 10,000 facts of at most 24 bytes and their runs, and the header."""
_ANY_TIME = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
"""A letter has the time of its record, which the source may have taken from any clock."""
_LEFT_OUT = (
    frozenset[str](),
    frozenset(_ANY_TIME),
    frozenset({*_ANY_TIME, "unclean.leader.election.enable", "min.insync.replicas"}),
)
"""Of settings that a broker refuses, one after the other: the first are not known before Kafka 3.6, the others some managed
clusters do not allow. What elections they allow is checked afterwards all the same."""
_NOT_IN_CHARGE = frozenset({KafkaError.NOT_CONTROLLER, KafkaError.NOT_COORDINATOR})
_DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
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

    def lacks(self, *operations: str) -> list[str]:
        """Return those of these operations that this client may not do."""
        return missing(self.may, operations)


def unavailable(what: str, error: KafkaError) -> KafkaUnavailable:
    """Translate an error of Kafka's client."""
    if error.code() in _DENIED:
        return KafkaDenied(
            f"{what}: this client may not ({error.name()}); grant it the rights that docs/kafka/index.md lists"
        )
    return KafkaUnavailable(f"{what}: {error.name()}")


def _wait(what: str, future: Future[T]) -> T:
    try:
        return future.result(timeout=_WAIT_SECONDS)
    except KafkaException as error:
        # The future holds the error. With a traceback the error would hold who asked, so future and client: a circle that
        # only the collector frees, and 30 threads and descriptors a question in it (seen).
        raise unavailable(what, error.args[0]) from error.with_traceback(None)
    except TimeoutError as error:
        raise KafkaUnavailable(f"{what}: no answer within {_WAIT_SECONDS:.0f} s") from error


def _code(error: KafkaUnavailable) -> int | None:
    cause = error.__cause__
    return cause.args[0].code() if isinstance(cause, KafkaException) else None


def _is_unanswered(error: KafkaUnavailable) -> bool:
    """Tell whether no broker answered, or one that is not in charge."""
    code = _code(error) or 0
    return code <= 0 or code in _NOT_IN_CHARGE


def missing(may: Collection[str], operations: Iterable[str]) -> list[str]:
    """Return the operations that are not among those a client may do; none where nothing is known of them."""
    return [] if not may or "ALL" in may else [operation for operation in operations if operation not in may]


class Topics:
    """Asks the brokers by a client it has made; of the group's offsets by a consumer of that group that never joins it."""

    def __init__(self, make: Callable[[], AdminClient], offsets: Consumer) -> None:
        self._make = make
        self._made = make()
        self._offsets = offsets
        self._unanswered: list[AdminClient] = []
        """Clients that owe an answer long after its time, which a process that was stopped for a while may find. They are
        kept: one that is freed with a question under way takes the process with it (seen with confluent-kafka 2.16)."""

    def _ask(self, question: Callable[[AdminClient, float], T], tries: tuple[float, ...] = ()) -> T:
        """Ask a question that may take so many seconds, again and of a new client where no broker answers it.

        A client may ask a broker that is not there any more, or not in charge, for minutes: it looks for a group's
        coordinator once, and for controller and leaders hardly ever (librdkafka 2.16). One that is made before the others
        have noticed that a broker is gone is sent there by them; hence several, and the first ones not for long.
        """
        *first, last = tries or _TRIES_SECONDS
        for seconds in first:
            try:
                return self._ask_once(question, seconds)
            except KafkaUnavailable as error:
                if not _is_unanswered(error):
                    raise
        return self._ask_once(question, last)

    def _ask_once(self, question: Callable[[AdminClient, float], T], seconds: float) -> T:
        client = self._made
        try:
            return question(client, seconds)
        except KafkaUnavailable as error:
            if _is_unanswered(error):
                self._replace(client, late=isinstance(error.__cause__, TimeoutError))
            # Without the frames that hold the client: it is freed here, which may take a while, and not on the thread that
            # drops the error last, which may be the loop's.
            raise error.with_traceback(None) from error.__cause__
        finally:
            del client

    def _replace(self, client: AdminClient, *, late: bool = False) -> None:
        if late:
            self._unanswered.append(client)
        if self._made is client:  # and not replaced already by another thread
            self._made = self._make()

    def cluster_id(self) -> str:
        """Return the cluster's id."""
        found = self._ask(
            lambda client, seconds: _wait("the cluster's id", client.describe_cluster(request_timeout=seconds)),
            (_FIRST_ANSWER_SECONDS,),
        ).cluster_id
        if not found:
            raise KafkaUnavailable("the brokers do not name a cluster id")
        return str(found)

    def describe(self, topic: str) -> TopicDescription | None:
        """Describe a topic; None if it does not exist."""

        def ask(client: AdminClient, seconds: float) -> TopicDescribed:
            asked = client.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=seconds
            )
            described: TopicDescribed = _wait(f"topic {topic}", asked[topic])
            return described

        try:
            found = self._ask(ask)
        except KafkaUnavailable as error:
            if _code(error) in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID}:
                return None
            raise
        may = frozenset(AclOperation(operation).name for operation in found.authorized_operations or ())
        return TopicDescription(topic, str(found.topic_id), len(found.partitions), len(found.partitions[0].replicas), may)

    def settings(self, topic: str) -> dict[str, str]:
        """Return a topic's effective settings."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        entries = self._settings(f"settings of topic {topic}", resource)
        return {name: str(entry.value) for name, entry in entries.items()}

    def _settings(self, what: str, resource: ConfigResource) -> dict[str, Any]:
        return self._ask(
            lambda client, seconds: _wait(what, client.describe_configs([resource], request_timeout=seconds)[resource])
        )

    def committed(self, partition: TopicPartition) -> CommittedOffset | None:
        """Return what the group has committed for a partition; None if it never has."""
        # Not by the admin client: it asks one coordinator for ever, also when the group has moved to another, and that one's
        # refusal (NOT_COORDINATOR) ends the process by a segmentation fault (librdkafka 2.16, seen; its issue 5040).
        try:
            (found,) = self._offsets.committed([KafkaTopicPartition(*partition)], timeout=_COMMITTED_SECONDS)
        except KafkaException as error:
            raise unavailable(f"committed offset of {partition}", error.args[0]) from error
        if found.error is not None:
            raise unavailable(f"committed offset of {partition}", found.error)
        if found.offset < 0:
            return None
        epoch = cast("int | None", found.leader_epoch)  # its stub knows no commit without one
        return CommittedOffset(found.offset, UNKNOWN_EPOCH if epoch is None else epoch, found.metadata or "")

    def offsets(self, partition: TopicPartition, *, stable: bool = False) -> tuple[int, int]:
        """Return a partition's first offset and its end offset; ``stable``: the end before the first open transaction."""
        isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        first, end = (self._offset(partition, spec, isolation) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        return first, end

    def offset_at(self, partition: TopicPartition, time_ms: int) -> int | None:
        """Return the first offset whose record is from this time or later; None if there is none."""
        isolation = IsolationLevel.READ_UNCOMMITTED
        found = self._offset(partition, OffsetSpec.for_timestamp(time_ms), isolation, may_lack=True)
        return None if found < 0 else found

    def _offset(
        self, partition: TopicPartition, spec: OffsetSpec, isolation: IsolationLevel, *, may_lack: bool = False
    ) -> int:
        place = KafkaTopicPartition(*partition)

        def ask(client: AdminClient, seconds: float) -> int:
            asked = client.list_offsets({place: spec}, isolation_level=isolation, request_timeout=seconds)
            offset: int = _wait(f"offsets of {partition}", asked[place]).offset
            if offset < 0 and not may_lack:  # where the time is over, and no error (librdkafka 2.16)
                raise KafkaUnavailable(f"offsets of {partition}: no broker says them")
            return offset

        return self._ask(ask)

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end offsets that the brokers know, as a monitor of lag asks for them."""
        client = self._made
        asked = client.list_offsets(
            {KafkaTopicPartition(*partition): OffsetSpec.latest() for partition in partitions},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_TRIES_SECONDS[-1],
        )
        found, unanswered, late = {}, False, False
        for place, future in asked.items():
            try:
                end = _wait("end offset", future).offset
            except KafkaUnavailable as error:
                unanswered = unanswered or _is_unanswered(error)
                late = late or isinstance(error.__cause__, TimeoutError)
                continue
            unanswered = unanswered or end < 0
            found[TopicPartition(place.topic, place.partition)] = end
        if unanswered:
            self._replace(client, late=late)
        return {partition: end for partition, end in found.items() if end >= 0}

    def session_seconds(self, group: str) -> float:
        """Return the session time-out of a KIP-848 group, as the brokers hold it."""
        resource = ConfigResource(ConfigResource.Type.GROUP, group)
        try:
            entry = self._settings("settings of the group", resource).get("consumer.session.timeout.ms")
        except (KafkaUnavailable, KafkaException):  # brokers before 4.0 have no settings of groups
            return _DEFAULT_SESSION_SECONDS
        return int(entry.value) / 1000 if entry is not None else _DEFAULT_SESSION_SECONDS

    def group_may(self, group: str) -> frozenset[str]:
        """Return the operations on a group that this client is authorised to; empty where the brokers do not say."""

        def ask(client: AdminClient, seconds: float) -> GroupDescribed:
            asked = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=seconds)
            described: GroupDescribed = _wait(f"group {group}", asked[group])
            return described

        found = self._ask(ask)
        return frozenset(AclOperation(operation).name for operation in found.authorized_operations or ())

    def create(
        self, topic: str, partitions: int, replication: int, settings: dict[str, str], *, rehearsal: bool = False
    ) -> None:
        """Create a topic; another member having done so meanwhile is as good. A ``rehearsal`` only asks whether it may."""
        new = NewTopic(topic, num_partitions=partitions, replication_factor=replication, config=settings)

        def ask(client: AdminClient, seconds: float) -> None:
            _wait(
                f"creating topic {topic}",
                client.create_topics([new], request_timeout=seconds, validate_only=rehearsal)[topic],
            )

        try:
            self._ask(ask)
        except KafkaUnavailable as error:
            if _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def add_partitions(self, topic: str, partitions: int, *, rehearsal: bool = False) -> None:
        """Give a topic as many partitions; another member having done so meanwhile is as good.

        A ``rehearsal`` only asks whether it may.
        """
        new = [NewPartitions(topic, partitions)]

        def ask(client: AdminClient, seconds: float) -> None:
            asked = client.create_partitions(new, request_timeout=seconds, validate_only=rehearsal)
            _wait(f"adding partitions to topic {topic}", asked[topic])

        try:
            self._ask(ask)
        except KafkaUnavailable as error:
            if _code(error) != KafkaError.INVALID_PARTITIONS:
                raise


class TopicsOfOurs(Protocol):
    """Sees to it that ledger and dead-letter topic are there and lose nothing."""

    def ensure(self, source: TopicDescription) -> TopicDescription:
        """Make or check the ledger and dead-letter topics of a source topic; return the ledger."""


class OwnTopics:
    """Ledger and dead-letter topics on a real cluster (docs/how-it-works.md#the-ledger)."""

    def __init__(
        self,
        topics: Topics,
        ledger_for: Callable[[str], str],
        letters_for: Callable[[str], str],
        *,
        servers: str,
        window_ms: int,
        auto_create: bool,
        accept: frozenset[str] = frozenset(),
    ) -> None:
        self._topics = topics
        self._servers = servers
        self._ledger_for = ledger_for
        self._letters_for = letters_for
        self._retention_ms = window_ms + _DAY_MS
        self._accept = accept
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
        self._refuse_what_loses_facts(ledger, inherited)
        letters = self._make(self._letters_for(source.name), source, letter_settings(inherited))
        self._refuse_what_loses_letters(letters, inherited)
        return ledger

    def rehearse(self, source: TopicDescription, *, letters: bool) -> TopicDescription | None:
        """Look at the ledger, or at the topic of ``letters``, and change nothing; None where it is not there yet.

        Raises:
            LedgerRefused, KafkaUnavailable: as `ensure` would.
        """
        inherited = self._topics.settings(source.name)
        topic = (self._letters_for if letters else self._ledger_for)(source.name)
        found = self._topics.describe(topic)
        if found is None or found.partitions < source.partitions:
            settings = letter_settings(inherited) if letters else self.ledger_settings(inherited)
            self._make_missing(topic, found, source, settings, rehearsal=True)
        if found is not None and letters:
            self._refuse_what_loses_letters(found, inherited)
        elif found is not None:
            self._refuse_what_loses_facts(found, inherited)
        return found

    def _refuse_what_loses_facts(self, ledger: TopicDescription, source: dict[str, str]) -> None:
        problems = self.ledger_problems(self._topics.settings(ledger.name), source, ledger.replication)
        if problems:
            raise LedgerRefused(self.mend(f"the ledger {ledger.name} would lose facts", ledger.name, problems))

    def _refuse_what_loses_letters(self, letters: TopicDescription, source: dict[str, str]) -> None:
        """Refuse a topic that forgets: its letters are all that is left of their events.

        The connector can do without the right to read its settings.
        """
        with contextlib.suppress(KafkaDenied):
            settings = self._topics.settings(letters.name)
            problems = letter_problems(settings, source, letters.replication)
            case = [f"{name}={settings.get(name)}" for name in problems]
            accept = accept_value("letters-lost", letters.topic_id, *case)
            if problems and accept not in self._accept:
                what = f"the dead-letter topic {letters.name} would lose letters"
                raise LedgerRefused(f"{self.mend(what, letters.name, problems)}; or go on with ACCEPT={accept}")

    def letters_note(self, source: TopicDescription, letters: TopicDescription) -> str | None:
        """Say what is not as it should be of a dead-letter topic that is used all the same; None if nothing."""
        inherited = self._topics.settings(source.name)
        try:
            settings = self._topics.settings(letters.name)
        except KafkaDenied:
            return "whether it keeps letters is not known without the right DescribeConfigs"
        if lost := letter_problems(settings, inherited, letters.replication):
            kept = ", ".join(f"{name} is {settings.get(name)}" for name in lost)
            return f"it may lose letters, which was accepted: {kept}"
        largest, wanted = settings.get("max.message.bytes"), letter_settings(inherited)["max.message.bytes"]
        if largest is not None and int(largest) < int(wanted):
            return f"letters of the source's largest records do not fit: set max.message.bytes={wanted}"
        return None

    def _make(self, topic: str, source: TopicDescription, settings: dict[str, str]) -> TopicDescription:
        found = self._topics.describe(topic)
        if found is not None and found.partitions >= source.partitions:
            return found
        self._make_missing(topic, found, source, settings)
        for _ in range(_VISIBLE_TRIES):
            made = self._topics.describe(topic)
            if made is not None and made.partitions >= source.partitions:
                return made
            time.sleep(_VISIBLE_AGAIN_SECONDS)  # the brokers' metadata lags behind their controller's
        raise KafkaUnavailable(f"topic {topic} was made but is not visible yet")

    def _make_missing(
        self,
        topic: str,
        found: TopicDescription | None,
        source: TopicDescription,
        settings: dict[str, str],
        *,
        rehearsal: bool = False,
    ) -> None:
        if not self.auto_create:
            state, verb = ("does not exist", "create") if found is None else (f"has {found.partitions} partitions", "alter")
            given = "".join(f" --config {name}={value}" for name, value in settings.items()) if found is None else ""
            raise LedgerRefused(
                f"topic {topic} {state}, {source.partitions} partitions are needed; LEDGER_AUTO_CREATE=true makes it, or: "
                f"kafka-topics.sh --bootstrap-server {self._servers} --{verb} --topic {topic} "
                f"--partitions {source.partitions}{given}"
            )
        if found is not None:
            self._topics.add_partitions(topic, source.partitions, rehearsal=rehearsal)
        else:
            self._create(topic, source, settings, rehearsal=rehearsal)

    def _create(self, topic: str, source: TopicDescription, settings: dict[str, str], *, rehearsal: bool) -> None:
        for left_out in _LEFT_OUT:
            fewer = {name: value for name, value in settings.items() if name not in left_out}
            try:
                self._topics.create(topic, source.partitions, source.replication, fewer, rehearsal=rehearsal)
            except KafkaUnavailable as error:
                if _code(error) not in {KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION} or left_out is _LEFT_OUT[-1]:
                    raise
            else:
                return

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

    def ledger_problems(self, settings: dict[str, str], source: dict[str, str], replication: int) -> dict[str, str]:
        """Return the settings that would lose facts, with the values that would not.

        A fact must be on as many replicas as the record it is about before its offset is committed: else the loss of a
        broker that the source survives would take facts. More than there are replicas could not be written at all.
        """
        wanted = self.ledger_settings(source)
        retention = int(settings.get("retention.ms", "0"))
        if retention < 0 or retention >= self._retention_ms:
            del wanted["retention.ms"]
        if int(settings.get("max.message.bytes", _ENTRY_BYTES)) < _ENTRY_BYTES:
            wanted["max.message.bytes"] = str(_ENTRY_BYTES)
        return _not_so(wanted, settings, replication)

    def mend(self, what: str, topic: str, problems: dict[str, str]) -> str:
        """Say which command mends a topic's settings."""
        settings = ",".join(f"{name}={value}" for name, value in problems.items())
        return (
            f"{what} by its settings; mend it with: "
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
        **_ANY_TIME,
        "max.message.bytes": str(largest),
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": source.get("min.insync.replicas", "1"),
    }


_KEEPS_LETTERS = (
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "unclean.leader.election.enable",
    "min.insync.replicas",
)


def letter_problems(settings: dict[str, str], source: dict[str, str], replication: int) -> dict[str, str]:
    """Return the settings of a dead-letter topic that would lose letters, with the values that would not."""
    wanted = letter_settings(source)
    return _not_so({name: wanted[name] for name in _KEEPS_LETTERS}, settings, replication)


def forgets(settings: dict[str, str]) -> bool:
    """Tell whether a topic with these settings may have deleted records by itself."""
    limits = (settings.get("retention.ms", "-1"), settings.get("retention.bytes", "-1"))
    return "compact" in settings.get("cleanup.policy", "") or any(int(limit) >= 0 for limit in limits)


def _not_so(wanted: dict[str, str], settings: dict[str, str], replication: int) -> dict[str, str]:
    """Return the settings that are not as wanted; more replicas in sync than there are could not be written at all."""
    in_sync = min(int(wanted["min.insync.replicas"]), replication)
    if int(settings.get("min.insync.replicas", "1")) >= in_sync:
        wanted = {name: value for name, value in wanted.items() if name != "min.insync.replicas"}
    else:
        wanted = wanted | {"min.insync.replicas": str(in_sync)}
    return {name: value for name, value in wanted.items() if settings.get(name) != value}
