"""Which client is asked, with fakes for answers; `test_asking` asks real brokers."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException

from connector.errors import KafkaDenied, KafkaUnavailable
from connector.kafka import cluster
from connector.kafka.cluster import Cluster, unavailable
from connector.kafka.host import Host
from connector.kafka.managed_topics import ManagedTopics, forgets, letter_problems, letter_settings
from connector.model import TopicDescription, TopicPartition


class _Host(Host):
    """This machine, but for its sleep."""

    def __init__(self, sleep: Callable[[float], None] = lambda _: None) -> None:
        self._sleep = sleep

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)


class _Asked:
    """Makes clients, and notes how many; every question ends with the next of the answers."""

    def __init__(self, *answers: KafkaError | str, sleep: Callable[[float], None] = lambda _: None) -> None:
        self.made = 0
        self._answers = list(answers)
        self.topics = Cluster(cast("Any", self._make), cast("Any", None), _Host(sleep))

    def _make(self) -> SimpleNamespace:
        self.made += 1
        return SimpleNamespace(describe_cluster=self._describe)

    def _describe(self, **_asked: object) -> Future[SimpleNamespace]:
        answer, future = self._answers.pop(0), Future[SimpleNamespace]()
        if isinstance(answer, str):
            future.set_result(SimpleNamespace(cluster_id=answer))
        else:
            future.set_exception(KafkaException(answer))
        return future


def test_a_client_that_is_answered_is_asked_again() -> None:
    asked = _Asked("id", "id", KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED), "id")
    assert [asked.topics.cluster_id() for _ in range(2)] == ["id", "id"]
    with pytest.raises(KafkaUnavailable):
        asked.topics.cluster_id()
    assert asked.topics.cluster_id() == "id"
    assert asked.made == 1


@pytest.mark.parametrize("code", [KafkaError.NOT_CONTROLLER, KafkaError.NOT_LEADER_FOR_PARTITION])
def test_a_question_whose_error_passes_is_asked_again_after_growing_pauses_and_of_another_client(code: int) -> None:
    pauses: list[float] = []
    asked = _Asked(*[KafkaError(code)] * 3, "id", sleep=pauses.append)
    assert asked.topics.cluster_id() == "id"
    assert sum(pauses) == pytest.approx(0.1 + 0.2 + 0.4)
    assert asked.made == 4


def test_a_question_whose_error_does_not_pass_is_given_up_after_some_seconds() -> None:
    pauses: list[float] = []
    asked = _Asked(*[KafkaError(KafkaError.NOT_CONTROLLER)] * 20, sleep=pauses.append)
    with pytest.raises(KafkaUnavailable, match="NOT_CONTROLLER"):
        asked.topics.cluster_id()
    assert 5 < sum(pauses) < 10


def test_a_pause_ends_once_nobody_waits_for_the_answer_any_more() -> None:
    """Else a restore would hold its thread for seconds at a shutdown."""
    pauses: list[float] = []
    asked = _Asked(*[KafkaError(KafkaError.NOT_CONTROLLER)] * 20, sleep=pauses.append)
    with asked.topics.asked_while(lambda: len(pauses) < 4), pytest.raises(KafkaUnavailable):
        asked.topics.cluster_id()
    assert len(pauses) == 4
    with asked.topics.asked_while(lambda: False), pytest.raises(KafkaUnavailable):
        asked.topics.cluster_id()
    assert len(pauses) == 4


def test_brokers_that_are_gone_are_not_asked_again_once_nobody_waits_for_the_answer() -> None:
    asked = _Silent(0)
    with asked.topics.asked_while(lambda: len(asked.seconds) < 2), pytest.raises(KafkaUnavailable):
        asked.topics.describe("topic")
    assert asked.seconds == [2.0, 3.0]


def test_what_one_thread_waits_for_is_no_matter_of_another() -> None:
    asked = _Asked(KafkaError(KafkaError.NOT_CONTROLLER), "id")
    found: list[str] = []
    with asked.topics.asked_while(lambda: False):
        other = threading.Thread(target=lambda: found.append(asked.topics.cluster_id()))
        other.start()
        other.join()
    assert found == ["id"]


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._TRANSPORT])
def test_after_a_question_without_an_answer_another_client_is_asked(code: int) -> None:
    asked = _Asked(KafkaError(code), "id")
    with pytest.raises(KafkaUnavailable):
        asked.topics.cluster_id()
    assert asked.topics.cluster_id() == "id"
    assert asked.made == 2


class _Groups:
    """A client whose brokers answer the question for a group's settings so."""

    def __init__(self, *answers: KafkaError | str) -> None:
        self._answers = list(answers)
        self.topics = Cluster(cast("Any", lambda: self), cast("Any", None), _Host())

    def describe_configs(self, resources: list[Any], **_: object) -> dict[Any, Future[Any]]:
        answer, future = self._answers.pop(0), Future[Any]()
        if isinstance(answer, str):
            future.set_result({"consumer.session.timeout.ms": SimpleNamespace(value=answer)})
        else:
            future.set_exception(KafkaException(answer))
        return {resources[0]: future}


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.NOT_COORDINATOR])
def test_a_session_that_nobody_tells_is_asked_for_again_and_not_guessed(code: int) -> None:
    tries = len(cluster._PASSING_SECONDS) + 1 if code == KafkaError.NOT_COORDINATOR else len(cluster._TRIES_SECONDS)
    groups = _Groups(*[KafkaError(code)] * tries, "6000")
    with pytest.raises(KafkaUnavailable):
        groups.topics.session_seconds("group")
    assert groups.topics.session_seconds("group") == 6.0


@pytest.mark.parametrize("code", [KafkaError.INVALID_REQUEST, KafkaError.GROUP_AUTHORIZATION_FAILED])
def test_brokers_that_do_not_tell_the_session_have_the_default(code: int) -> None:
    assert _Groups(KafkaError(code)).topics.session_seconds("group") == 45.0


def test_a_client_that_knows_no_settings_of_groups_takes_the_default() -> None:
    unsupported = [KafkaError(KafkaError._UNSUPPORTED_FEATURE)] * len(cluster._TRIES_SECONDS)
    assert _Groups(*unsupported).topics.session_seconds("group") == 45.0


def test_a_client_that_still_owes_its_answer_is_replaced_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_WAIT_SECONDS", 0.01)
    owing = SimpleNamespace(describe_cluster=lambda **_: Future[object]())
    asked = cluster.Cluster(cast("Any", lambda: owing), cast("Any", None))
    with pytest.raises(KafkaUnavailable, match="no answer within"):
        asked.cluster_id()
    assert asked._unanswered == [owing]  # to free it would end the process


class _Silent:
    """Clients of which the first ones have no answer: neither an error, where offsets are asked for, nor a topic."""

    def __init__(self, silent: int, *, answer: int = 7) -> None:
        self.seconds: list[float] = []
        self._silent = silent
        self._answer = answer
        self.topics = Cluster(cast("Any", lambda: self), cast("Any", None), _Host())

    def list_offsets(self, asked: dict[Any, object], *, request_timeout: float, **_: object) -> dict[Any, Any]:
        self.seconds.append(request_timeout)
        future = Future[SimpleNamespace]()
        silent = len(self.seconds) <= self._silent
        future.set_result(SimpleNamespace(offset=OFFSET_INVALID if silent else self._answer, timestamp=-1 if silent else 70))
        return dict.fromkeys(asked, future)

    def describe_topics(self, _: object, *, request_timeout: float, **__: object) -> dict[str, Any]:
        self.seconds.append(request_timeout)
        future = Future[object]()
        future.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        return {"topic": future}


def test_brokers_that_are_gone_are_not_asked_for_long_and_slow_ones_are_at_last() -> None:
    asked = _Silent(0)
    with pytest.raises(KafkaUnavailable, match="_TIMED_OUT"):
        asked.topics.describe("topic")
    assert asked.seconds == [2.0, 3.0, 4.0, 6.0]


def test_an_offset_that_no_broker_said_is_asked_of_another_client() -> None:
    asked = _Silent(1)
    assert asked.topics.offsets(TopicPartition("topic", 0)) == (7, 7)
    assert asked.seconds == [2.0, 3.0, 2.0]


@pytest.mark.parametrize(("answer", "found"), [(7, 7), (-1, None)], ids=["a record", "none"])
def test_no_answer_is_not_taken_for_no_record(answer: int, found: int | None) -> None:
    """It has no error either; a commit that skips records would pass for one that skips none."""
    asked = _Silent(1, answer=answer)
    assert asked.topics.offset_at(TopicPartition("topic", 0), 1_000) == found
    assert asked.seconds == [2.0, 3.0]

    with pytest.raises(KafkaUnavailable, match="no broker knows them"):
        _Silent(99).topics.offset_at(TopicPartition("topic", 0), 1_000)


@pytest.mark.parametrize(("answer", "found"), [(7, {TopicPartition("topic", 0): 70}), (-1, {})], ids=["a record", "none"])
def test_a_partition_whose_first_record_no_broker_said_is_not_taken_for_an_empty_one(
    answer: int, found: dict[TopicPartition, int]
) -> None:
    asked = _Silent(1, answer=answer)
    assert asked.topics.first_times([TopicPartition("topic", 0)]) == found
    assert asked.seconds == [2.0, 3.0]

    with pytest.raises(KafkaUnavailable, match="no broker knows them"):
        _Silent(99).topics.first_times([TopicPartition("topic", 0)])


def test_ends_that_no_broker_said_are_asked_of_another_client_the_next_time() -> None:
    asked = _Silent(1)
    first = asked.topics._made = cast("Any", SimpleNamespace(list_offsets=asked.list_offsets))
    assert asked.topics.ends([TopicPartition("topic", 0)]) == {}
    assert asked.topics._made is not first
    assert asked.topics.ends([TopicPartition("topic", 0)]) == {TopicPartition("topic", 0): 7}


class _Created(Cluster):
    """Refuses to make a topic with certain settings, and notes those it was made with."""

    def __init__(self, *refused: str) -> None:
        self._refused = refused
        self.settings_made: dict[str, str] = {}

    def describe(self, topic: str) -> TopicDescription | None:
        ours = topic != "source" and self.settings_made
        return TopicDescription(topic, "id", 1, 3, frozenset()) if ours or topic == "source" else None

    def settings(self, _topic: str) -> dict[str, str]:
        return self.settings_made

    def create(
        self, topic: str, partitions: int, replication: int, settings: dict[str, str], *, rehearsal: bool = False
    ) -> None:
        assert (partitions, replication, rehearsal) == (1, 3, True)
        if not settings.keys().isdisjoint(self._refused):
            error = KafkaError(KafkaError.INVALID_CONFIG)
            raise unavailable(topic, error) from KafkaException(error)
        self.settings_made = settings


@pytest.mark.parametrize(
    ("refused", "kept"),
    [
        ((), {"message.timestamp.after.max.ms", "min.insync.replicas"}),
        (("message.timestamp.after.max.ms",), {"min.insync.replicas", "unclean.leader.election.enable"}),
        (("min.insync.replicas",), {"retention.ms"}),
    ],
)
def test_settings_that_brokers_refuse_are_left_out_and_no_more(refused: tuple[str, ...], kept: set[str]) -> None:
    created = _Created(*refused)
    own = ManagedTopics(
        created, "{}.ledger".format, "{}.dead-letter".format, servers="broker:9092", window_ms=1_000, auto_create=True
    )
    own.rehearse(TopicDescription("source", "id", 1, 3, frozenset()), letters=True)
    assert kept <= created.settings_made.keys()
    assert created.settings_made.keys().isdisjoint(refused)


@pytest.mark.parametrize(("asked_ms", "made"), [(None, "-1"), (86_400_000, "86400000")])
def test_letters_are_kept_as_long_as_is_asked_for(asked_ms: int | None, made: str) -> None:
    created = _Created()
    own = ManagedTopics(
        created, "{}.ledger".format, "{}.letters".format, servers="", window_ms=1_000, letters_ms=asked_ms, auto_create=True
    )
    own.rehearse(TopicDescription("source", "id", 1, 3, frozenset()), letters=True)
    assert created.settings_made["retention.ms"] == made


@pytest.mark.parametrize(
    ("kept_ms", "asked_ms", "lacks"),
    [
        (-1, -1, None),
        (2**63 - 1, -1, None),
        (2**53 - 1, -1, "-1"),
        (2**63 - 1, 1_000, None),
        (-1, 1_000, None),
        (1_000, 1_000, None),
        (2_000, 1_000, None),
        (999, 1_000, "1000"),
        (1_000, -1, "-1"),
    ],
)
def test_a_topic_that_keeps_letters_for_less_than_is_asked_for_would_lose_them(
    kept_ms: int, asked_ms: int, lacks: str | None
) -> None:
    settings = letter_settings({}) | {"retention.ms": str(kept_ms)}
    assert letter_problems(settings, {}, 3, asked_ms).get("retention.ms") == lacks
    assert forgets(settings) == (0 <= kept_ms < 2**53)


@pytest.mark.parametrize(("kept", "lacks"), [(-1, False), (2**63 - 1, False), (1_000_000_000_000, True)])
def test_a_size_beyond_all_disks_is_no_limit(kept: int, lacks: bool) -> None:
    settings = letter_settings({}) | {"retention.bytes": str(kept)}
    assert ("retention.bytes" in letter_problems(settings, {}, 3)) == lacks
    assert forgets(settings) == lacks


class _Kept(Cluster):
    """Has topics with these settings; None is a topic that is gone."""

    def __init__(self, **topics: dict[str, str] | KafkaDenied | None) -> None:
        self.topics = topics

    def describe(self, topic: str) -> TopicDescription | None:
        return None if self.topics[topic] is None else TopicDescription(topic, "id", 1, 3, frozenset())

    def settings(self, topic: str) -> dict[str, str]:
        settings = self.topics[topic]
        if isinstance(settings, KafkaDenied):
            raise settings
        return settings or {}


_LEDGER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"} | {
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"ledger": None}, "topic ledger is gone"),
        ({"ledger": _LEDGER | {"retention.ms": "1000"}}, "the ledger ledger would lose facts .* retention.ms=86401000"),
        ({"ledger": _LEDGER | {"retention.ms": str(2**63 - 1), "retention.bytes": str(2**63 - 1)}}, None),
        ({"ledger": _LEDGER | {"cleanup.policy": "compact"}}, "add-config cleanup.policy=delete"),
        ({"letters": None}, "topic letters is gone"),
        (
            {"letters": letter_settings({}, 1_000)},
            "topic letters would lose letters .* retention.ms=-1; .*ACCEPT=letters-lost-",
        ),
        ({"letters": letter_settings({}) | {"cleanup.policy": "compact"}}, "add-config cleanup.policy=delete"),
        ({"letters": KafkaDenied("not allowed")}, None),
    ],
)
def test_what_a_restore_would_mend_or_refuse_is_found_without_one(
    changed: dict[str, dict[str, str] | KafkaDenied | None], said: str | None
) -> None:
    kept = _Kept(**{"source": {}, "ledger": _LEDGER, "letters": letter_settings({})} | changed)

    def found(*accept: str) -> str | None:
        own = ManagedTopics(
            kept,
            lambda _: "ledger",
            lambda _: "letters",
            servers="broker:9092",
            window_ms=1_000,
            auto_create=True,
            accept=frozenset(accept),
        )
        return own.trouble(TopicDescription("source", "id", 1, 3, frozenset()))

    trouble = found()
    assert (trouble is None) == (said is None)
    assert said is None or re.search(said, trouble or "")
    if trouble and "ACCEPT=" in trouble:
        assert found(trouble.rpartition("=")[2]) is None


def test_a_denied_or_silent_broker_says_nothing_about_the_ledger() -> None:
    kept = _Kept(source={}, ledger=KafkaDenied("not allowed"), letters={})
    own = ManagedTopics(kept, lambda _: "ledger", lambda _: "letters", servers="", window_ms=1_000, auto_create=True)
    with pytest.raises(KafkaDenied):
        own.trouble(TopicDescription("source", "id", 1, 3, frozenset()))
