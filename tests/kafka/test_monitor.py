"""What the monitor reports, with fakes for answers; what it finds on real brokers is in the integration tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from connector.core import inputs
from connector.errors import KafkaDenied, KafkaUnavailable
from connector.kafka.host import Host
from connector.kafka.monitor import ClusterMonitor, MonitorPolicy
from connector.model import TopicDescription, TopicPartition

ZERO = TopicPartition("source", 0)


class _Cluster:
    """Answers what is asked of cluster, and of the group."""

    def __init__(self, topic: KafkaUnavailable | None = None, group: KafkaUnavailable | None = None) -> None:
        self._topic, self._group = topic, group
        self.end: int | None = 10
        self.stable_end: int | None = 10

    def describe(self, _topic: str) -> TopicDescription | None:
        if self._topic is not None:
            raise self._topic
        return TopicDescription("source", "id", 1, 1, frozenset())

    def committed(self, _partition: object) -> None:
        if self._group is not None:
            raise self._group

    def ends(self, _partitions: object) -> dict[TopicPartition, int]:
        return {} if self.end is None else {ZERO: self.end}

    def offsets(self, _partition: TopicPartition, *, stable: bool) -> tuple[int, int]:
        assert stable
        if self.stable_end is None:
            raise KafkaUnavailable("no leader")
        return 0, self.stable_end


class _Own:
    """Says whether ledger and dead-letter topic are as they must be."""

    def __init__(self) -> None:
        self.says: str | KafkaUnavailable | None = None
        self.asked = 0

    def trouble(self, source: TopicDescription) -> str | None:
        assert source.name == "source"
        self.asked += 1
        if isinstance(self.says, KafkaUnavailable):
            raise self.says
        return self.says


class _Source:
    def __init__(self) -> None:
        self.read_to: int | None = 10

    def partitions(self) -> list[TopicPartition]:
        return [ZERO]

    def reading(self) -> dict[TopicPartition, int]:
        return {} if self.read_to is None else {ZERO: self.read_to}


class _Events:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.changed: list[tuple[str, str]] = []

    def topics_changed(self, source: str, message: str) -> None:
        self.changed.append((source, message))

    def lacking(self, messages: list[str]) -> None:
        self.said = messages

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Take no note."""


class _Host(Host):
    """A machine whose clock the test sets."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def monotonic(self) -> float:
        return self._now()


class Scene:
    """A monitor, and the time it looks at."""

    def __init__(self, cluster: _Cluster) -> None:
        self.cluster, self.own, self.source, self.events = cluster, _Own(), _Source(), _Events()
        self.posted: list[object] = []
        self._policy = MonitorPolicy(("source",), {"source": ("READ",)})
        self.now = time.monotonic()
        host = _Host(lambda: self.now)
        self.monitor = ClusterMonitor(
            cast("Any", cluster),
            cast("Any", self.own),
            self._policy,
            self.source,
            self.posted.append,
            cast("Any", self.events),
            host,
        )

    def look(self, after: float) -> list[str]:
        """Look once more; return what waits for an operator."""
        self.now += after
        self.monitor._look()
        return self.events.said


@pytest.mark.parametrize(
    ("topic", "group", "counts"),
    [
        (None, None, True),
        (None, KafkaDenied("not allowed"), True),
        (None, KafkaUnavailable("no answer"), False),
        (KafkaUnavailable("no answer"), None, True),
    ],
    ids=["all well", "group denied", "coordinator silent", "topic's broker silent"],
)
def test_only_the_group_s_coordinator_is_heard(
    topic: KafkaUnavailable | None, group: KafkaUnavailable | None, counts: bool
) -> None:
    scene = Scene(_Cluster(topic, group))
    before = scene.monitor.answered
    scene.now += 5.0
    if topic is None:
        scene.monitor._look()
    else:
        with pytest.raises(KafkaUnavailable):
            scene.monitor._look()

    assert (scene.monitor.answered > before) == counts


@pytest.mark.parametrize(("end", "stable_end"), [(12, 12), (12, None), (None, None)], ids=["cut", "leaderless", "unknown"])
def test_partition_that_brings_nothing_for_a_minute_though_its_log_goes_on_is_said(
    end: int | None, stable_end: int | None
) -> None:
    scene = Scene(_Cluster())
    assert scene.look(0.0) == []
    assert scene.look(1000.0) == [], "it was read to its end"
    scene.cluster.end, scene.cluster.stable_end = end, stable_end
    assert scene.look(5.0) == []
    assert scene.look(55.0) == []
    (message,) = scene.look(5.0)
    assert message.startswith("source-0 yields nothing from offset 10 on")

    scene.source.read_to = 11
    assert scene.look(5.0) == []
    assert scene.look(55.0) == []


def test_partition_that_waits_for_a_transaction_or_is_paused_does_not_stand_still() -> None:
    scene = Scene(_Cluster())
    scene.cluster.end = 12  # of a transaction that is open
    assert scene.look(0.0) == []
    assert scene.look(100.0) == []
    scene.cluster.stable_end = 12
    scene.source.read_to = None
    assert scene.look(100.0) == []
    scene.source.read_to = 10
    assert scene.look(5.0) == [], "a minute from when it goes on"


def test_topics_of_ours_are_looked_at_each_minute_and_what_became_of_them_is_said() -> None:
    scene = Scene(_Cluster())
    for _ in range(30):
        scene.look(5.0)
    assert scene.own.asked == 2
    assert scene.posted == [inputs.TopicSeen("source", "id")] * 30

    scene.own.says = "the ledger would lose facts"
    scene.look(5.0)
    assert scene.events.changed == []
    scene.look(60.0)
    assert scene.events.changed == [("source", "the ledger would lose facts")]
    assert scene.posted[-2:] == [inputs.TopicSeen("source", "id"), inputs.TopicSeen("source", "id", kept=False)]


@pytest.mark.parametrize("answer", [KafkaUnavailable("no answer"), KafkaDenied("not allowed")])
def test_brokers_that_do_not_say_how_topics_are_set_change_nothing(answer: KafkaUnavailable) -> None:
    scene = Scene(_Cluster())
    scene.own.says = answer
    assert scene.look(100.0) == []
    assert (scene.own.asked, scene.events.changed, scene.posted) == (1, [], [inputs.TopicSeen("source", "id")])
