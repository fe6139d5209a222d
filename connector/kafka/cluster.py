"""Asks the brokers about topics and groups, and has them create topics.

Every call blocks until the brokers have answered, for a bounded time. Errors become
`KafkaUnavailable` (ask again later) or its child `KafkaDenied` (a right is missing).

An admin client may keep asking a broker that is gone, or not in charge any more, for minutes: it
looks for a group's coordinator once, and for controller and leaders hardly ever (librdkafka 2.16).
So a question without an answer is asked again, each time of a new client. Until the brokers have
noticed the loss, they send a new client to the same broker; hence several tries, the first ones
short. After an error that passes by itself, as while a leader moves, the question is asked again
after a pause.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    ConfigResource,
    ListOffsetsResultInfo,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)
from confluent_kafka.admin import ConsumerGroupDescription as GroupDescribed
from confluent_kafka.admin import TopicDescription as TopicDescribed

from connector.config import Login
from connector.core.recovery import CommittedOffset
from connector.errors import KafkaDenied, KafkaUnavailable
from connector.kafka.host import HOST, Host
from connector.kafka.logins import Following
from connector.model import UNKNOWN_EPOCH, TopicDescription, TopicPartition

__all__ = [
    "MAY_NOT",
    "Cluster",
    "error_code",
    "unavailable",
]

_TRIES_SECONDS = (2.0, 3.0, 4.0, 6.0)
"""Timeout per attempt; each attempt uses a new client. The last is long enough for slow brokers."""
_WAIT_SECONDS = 30.0
"""Must exceed the client's own timeout: freeing a client with a request in flight crashes the
process (confluent-kafka 2.16)."""
_COMMITTED_SECONDS = 15.0
_FIRST_ANSWER_SECONDS = 5.0
"""Timeout of the first question, after which an operator reads that the brokers do not answer."""
_DEFAULT_SESSION_SECONDS = 45.0
"""Kafka's default for both protocols; used if the brokers do not report the setting."""

_NOT_IN_CHARGE = frozenset({KafkaError.NOT_CONTROLLER, KafkaError.NOT_COORDINATOR})
_PASSING = _NOT_IN_CHARGE | {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.NETWORK_EXCEPTION,
}
"""Errors that pass by themselves: a leader or a coordinator is moving, or a topic was just created.
Admin clients hand them on instead of asking again (librdkafka 2.16)."""
_UNKNOWN_PARTITION = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID})
"""Errors that pass by themselves if the partition was described before: the broker that was asked
does not know the topic yet."""
_NO_RECORD = -1
"""The offset in the answer if there is no record from the time asked for on. A question that was
not answered in time has no error either, but `OFFSET_INVALID` (librdkafka 2.16)."""
_PASSING_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Pauses before a question is asked again whose error passes by itself."""
_LOOK_SECONDS = 0.1
"""How often a pause looks whether anybody still waits for the answer."""
MAY_NOT = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
"""Errors of a client that lacks a right."""
T = TypeVar("T")


def unavailable(what: str, error: KafkaError) -> KafkaUnavailable:
    """Translate an error of Kafka's client."""
    if error.code() in MAY_NOT:
        return KafkaDenied(
            f"{what}: this client may not ({error.name()}); grant it the rights that docs/kafka/index.md lists"
        )
    return KafkaUnavailable(f"{what}: {error.name()}")


def _wait(what: str, future: Future[T]) -> T:
    try:
        return future.result(timeout=_WAIT_SECONDS)
    except KafkaException as error:
        # The future holds the error. With its traceback the error would hold the frames that asked,
        # so future and client: a cycle that only the garbage collector frees, with 30 threads and
        # descriptors per question (seen).
        raise unavailable(what, error.args[0]) from error.with_traceback(None)
    except TimeoutError as error:
        raise KafkaUnavailable(f"{what}: no answer within {_WAIT_SECONDS:.0f} s") from error


def error_code(error: KafkaUnavailable) -> int | None:
    """Return the code of the client's error; None if there is none."""
    cause = error.__cause__
    return cause.args[0].code() if isinstance(cause, KafkaException) else None


def _is_unanswered(error: KafkaUnavailable) -> bool:
    """Return whether no broker answered, or one that is not in charge."""
    code = error_code(error) or 0
    return code <= 0 or code in _NOT_IN_CHARGE


class Cluster:
    """Asks the brokers, with an admin client from ``make`` and a consumer for the group's offsets.

    ``offsets`` makes a consumer of the group that never joins it. Both are made at the first
    question, because without a token neither can be. ``login`` is theirs, if it may change. May be
    used by several threads.
    """

    def __init__(
        self, make: Callable[[], AdminClient], offsets: Callable[[], Consumer], host: Host = HOST, login: Login | None = None
    ) -> None:
        self._make = make
        self._made: AdminClient | None = None
        self._make_offsets = offsets
        self._offsets: Consumer | None = None
        self._login = login
        self._login_of_made = self._login_of_offsets = Following(login)
        self._sleep = host.sleep
        self._of_thread = host.local()
        """Per thread, `asked_while` sets ``wanted``: whether an answer is still of use."""
        self._unanswered: list[AdminClient] = []
        """Clients whose answer is overdue, as after the process was stopped for a while. They are
        kept: freeing a client with a request in flight crashes the process (seen with
        confluent-kafka 2.16)."""

    @contextmanager
    def asked_while(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """Retry no question of this thread once ``wanted`` returns False.

        The question then raises the error of its last try.
        """
        self._of_thread.wanted = wanted
        try:
            yield
        finally:
            del self._of_thread.wanted

    def _is_wanted(self) -> bool:
        wanted: Callable[[], bool] | None = getattr(self._of_thread, "wanted", None)
        return wanted is None or wanted()

    def _until_it_passes(self, ask: Callable[[], T], passing: Collection[int]) -> T:
        """Ask again, after pauses, while the answer is one of these errors."""
        for pause in _PASSING_SECONDS:
            try:
                return ask()
            except KafkaUnavailable as error:
                if error_code(error) not in passing or not self._pause(pause):
                    raise
        return ask()

    def _pause(self, seconds: float) -> bool:
        """Wait; return whether the answer is wanted after that. End at once when it is not."""
        while seconds > 0 and self._is_wanted():
            self._sleep(min(seconds, _LOOK_SECONDS))
            seconds -= _LOOK_SECONDS
        return self._is_wanted()

    def _ask(
        self,
        question: Callable[[AdminClient, float], T],
        tries: tuple[float, ...] = (),
        passing: Collection[int] = _PASSING,
    ) -> T:
        """Ask a question, again while the answer is an error that passes."""
        return self._until_it_passes(lambda: self._ask_until_answered(question, tries or _TRIES_SECONDS, passing), passing)

    def _ask_until_answered(
        self, question: Callable[[AdminClient, float], T], tries: tuple[float, ...], passing: Collection[int]
    ) -> T:
        """Ask a question, again and of a new client if no broker answers."""
        *first, last = tries
        for seconds in first:
            try:
                return self._ask_once(question, seconds, passing)
            except KafkaUnavailable as error:
                if not _is_unanswered(error) or error_code(error) in passing or not self._is_wanted():
                    raise
        return self._ask_once(question, last, passing)

    def _ask_once(self, question: Callable[[AdminClient, float], T], seconds: float, passing: Collection[int]) -> T:
        client = self._client()
        try:
            return question(client, seconds)
        except KafkaUnavailable as error:
            if _is_unanswered(error) or error_code(error) in passing:
                self._replace(client, late=isinstance(error.__cause__, TimeoutError))
            # Without the frames that hold the client, it is freed here, which may take a while.
            # Otherwise the thread that drops the error last would free it, which may be the event
            # loop's.
            raise error.with_traceback(None) from error.__cause__
        finally:
            del client

    def _client(self) -> AdminClient:
        client = self._made
        if client is None:
            self._login_of_made = Following(self._login)
            self._made = client = self._make()
        self._login_of_made.update(client)
        return client

    def _replace(self, client: AdminClient, *, late: bool = False) -> None:
        if late:
            self._unanswered.append(client)
        if self._made is client:  # else another thread has replaced it
            self._made = None

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
        """Return the description of a topic; None if it does not exist."""

        def ask(client: AdminClient, seconds: float) -> TopicDescribed:
            asked = client.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=seconds
            )
            described: TopicDescribed = _wait(f"topic {topic}", asked[topic])
            return described

        try:
            found = self._ask(ask)
        except KafkaUnavailable as error:
            if error_code(error) in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID}:
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
        """Return the group's commit for a partition; None if there is none."""
        # Not by the admin client: it keeps asking the coordinator it found first. If the group has
        # moved, the refusal (NOT_COORDINATOR) ends the process by a segmentation fault (librdkafka
        # 2.16, seen; its issue 5040).
        found = self._until_it_passes(lambda: self._ask_committed(partition), _PASSING)
        if found.offset < 0:
            return None
        epoch = cast("int | None", found.leader_epoch)  # its stub knows no commit without one
        return CommittedOffset(found.offset, UNKNOWN_EPOCH if epoch is None else epoch, found.metadata or "")

    def _ask_committed(self, partition: TopicPartition) -> KafkaTopicPartition:
        if self._offsets is None:
            self._login_of_offsets = Following(self._login)
            self._offsets = self._make_offsets()
        self._login_of_offsets.update(self._offsets)
        try:
            (found,) = self._offsets.committed([KafkaTopicPartition(*partition)], timeout=_COMMITTED_SECONDS)
            if found.error is not None:
                raise KafkaException(found.error)  # noqa: TRY301 - both kinds of error are translated below
        except KafkaException as error:
            raise unavailable(f"committed offset of {partition}", error.args[0]) from error
        return found

    def offsets(self, partition: TopicPartition, *, stable: bool = False) -> tuple[int, int]:
        """Return a partition's first offset and its end.

        ``stable`` asks for the end before any open transaction.
        """
        isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        first, end = (self._offset(partition, spec, isolation) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        return first, end

    def offset_at(self, partition: TopicPartition, time_ms: int) -> int | None:
        """Return the offset of the first record from this time on; None if there is none."""
        isolation = IsolationLevel.READ_UNCOMMITTED
        found = self._offset(partition, OffsetSpec.for_timestamp(time_ms), isolation, may_lack=True)
        return None if found < 0 else found

    def first_times(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the millisecond of each partition's first record; leave out empty partitions."""
        found = self._listed(partitions, OffsetSpec.for_timestamp(0), IsolationLevel.READ_UNCOMMITTED, may_lack=True)
        return {partition: first.timestamp for partition, first in found.items() if first.offset >= 0}

    def _offset(
        self, partition: TopicPartition, spec: OffsetSpec, isolation: IsolationLevel, *, may_lack: bool = False
    ) -> int:
        offset: int = self._listed([partition], spec, isolation, may_lack=may_lack)[partition].offset
        return offset

    def _listed(
        self, partitions: Iterable[TopicPartition], spec: OffsetSpec, isolation: IsolationLevel, *, may_lack: bool = False
    ) -> dict[TopicPartition, ListOffsetsResultInfo]:
        """Return the offset of each partition that a question is about, with its timestamp.

        It may be `_NO_RECORD` where it ``may_lack``.
        """
        specs = {KafkaTopicPartition(*partition): spec for partition in partitions}

        def ask(client: AdminClient, seconds: float) -> dict[TopicPartition, ListOffsetsResultInfo]:
            asked = client.list_offsets(specs, isolation_level=isolation, request_timeout=seconds)
            found = {}
            for place, future in asked.items():
                partition = TopicPartition(place.topic, place.partition)
                found[partition] = info = _wait(f"offsets of {partition}", future)
                if info.offset < 0 and not (may_lack and info.offset == _NO_RECORD):
                    raise KafkaUnavailable(f"offsets of {partition}: no broker knows them")
            return found

        return self._ask(ask, passing=_PASSING | _UNKNOWN_PARTITION)

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end offsets that the brokers know now. Asks once."""
        client = self._client()
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
        """Return the session timeout of a KIP-848 group, which is a setting of the brokers.

        It is Kafka's default if the brokers do not report it.

        Raises:
            KafkaUnavailable: they do not answer for now. The default may be many times too long.
        """
        resource = ConfigResource(ConfigResource.Type.GROUP, group)
        try:
            entry = self._settings("settings of the group", resource).get("consumer.session.timeout.ms")
        except KafkaUnavailable as error:
            # Brokers before 4.0 have no group settings, and this client may lack the right to see
            # them.
            if _is_unanswered(error) and error_code(error) != KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001 - the same
                raise
            return _DEFAULT_SESSION_SECONDS
        except KafkaException:
            return _DEFAULT_SESSION_SECONDS
        return int(entry.value) / 1000 if entry is not None else _DEFAULT_SESSION_SECONDS

    def group_may(self, group: str) -> frozenset[str]:
        """Return the group operations that this client may do; empty if the brokers do not say."""

        def ask(client: AdminClient, seconds: float) -> GroupDescribed:
            asked = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=seconds)
            described: GroupDescribed = _wait(f"group {group}", asked[group])
            return described

        found = self._ask(ask)
        return frozenset(AclOperation(operation).name for operation in found.authorized_operations or ())

    def create(
        self, topic: str, partitions: int, replication: int, settings: dict[str, str], *, rehearsal: bool = False
    ) -> None:
        """Create a topic, unless another member has done so meanwhile.

        A ``rehearsal`` only asks whether it may.
        """
        new = NewTopic(topic, num_partitions=partitions, replication_factor=replication, config=settings)

        def ask(client: AdminClient, seconds: float) -> None:
            _wait(
                f"creating topic {topic}",
                client.create_topics([new], request_timeout=seconds, validate_only=rehearsal)[topic],
            )

        try:
            self._ask(ask)
        except KafkaUnavailable as error:
            if error_code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def add_partitions(self, topic: str, partitions: int, *, rehearsal: bool = False) -> None:
        """Raise a topic to ``partitions`` partitions, unless another member has done so meanwhile.

        A ``rehearsal`` only asks whether it may.
        """
        new = [NewPartitions(topic, partitions)]

        def ask(client: AdminClient, seconds: float) -> None:
            asked = client.create_partitions(new, request_timeout=seconds, validate_only=rehearsal)
            _wait(f"adding partitions to topic {topic}", asked[topic])

        try:
            self._ask(ask)
        except KafkaUnavailable as error:
            if error_code(error) != KafkaError.INVALID_PARTITIONS:
                raise
