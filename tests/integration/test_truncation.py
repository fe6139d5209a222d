"""A source log that an unclean election cut below our position: two of three brokers die, and the one that lagged leads."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer, ElectionType, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.integration.brokers import Produced, committed, end_offsets, produce
from tests.integration.events import event
from tests.integration.kafka.cluster import Cluster
from tests.integration.program import ConnectorProcess, World
from tests.patience import eventually, patience

_LEADS, _LAGS = 1, 2


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3) as cluster:
        yield cluster


@pytest.fixture
def kafka(cluster: Cluster) -> str:
    return cluster.bootstrap_servers


def test_log_that_was_cut_below_the_position_stops_its_partition_and_nothing_is_skipped(
    cluster: Cluster, world: World
) -> None:
    shorter, longer = f"{world.topic}-shorter", f"{world.topic}-longer"
    for topic in (shorter, longer):
        _create(world.servers, topic)
    settings = {"KAFKA_TOPIC": f"{shorter},{longer}", "KAFKA_GROUP_PROTOCOL": "classic"}
    connector = world.connector(**settings)
    for topic in (shorter, longer):
        _produce(world, topic, "kept", 5)
    connector.until_resolved(delivered=10)
    cluster.kill(_LAGS)
    for topic in (shorter, longer):
        _produce(world, topic, "cut", 5)
    connector.until_resolved(delivered=20)
    eventually(lambda: _committed(world, shorter, longer) == [10, 10], "all is committed", 60)
    # What the leader alone has goes with it.
    cluster.kill(_LEADS)
    cluster.restart(_LAGS)
    eventually(lambda: _elected(world.servers, shorter, longer), "an unclean election was held", 150)
    eventually(lambda: _ends(world, shorter, longer) == [5, 5], "the one that lagged leads", 90)
    _produce(world, longer, "new", 8)  # ends behind our position again: other records stand there now
    cluster.restart(_LEADS)
    cluster.wait_until_complete()

    connector.until_said("operator_needed", message="the committed offset 10 is outside the log (0 to 5)")
    connector.until_said(
        "operator_needed", message="the committed offset 10 has leader epoch 0, under which the log does not"
    )
    for topic in (shorter, longer):
        eventually(functools.partial(_refused, connector, topic), f"{topic} is refused", 90)
    assert connector.page("/readyz")[0] == 503
    assert _committed(world, shorter, longer) == [10, 10]
    assert connector.stop() == 0

    connector.start(world.settings(OFFSET_OUT_OF_RANGE="earliest", **settings))
    # The kept are found in the ledger; the new are not taken for the cut ones that stood there before.
    wanted = {"delivered": 8, "already_resolved": 10}
    eventually(lambda: connector.outcomes() == wanted, "the new are delivered", 120)
    expected = [f"{topic}-kept-{n}" for topic in (shorter, longer) for n in range(5)]
    expected += [f"{topic}-cut-{n}" for topic in (shorter, longer) for n in range(5)]
    expected += [f"{longer}-new-{n}" for n in range(8)]
    assert world.sandbox.accepted() == dict.fromkeys(expected, 1)
    eventually(lambda: _committed(world, shorter, longer) == [5, 13], "all of what is left is committed", 60)


def _create(servers: str, topic: str) -> None:
    """Create a topic on the two nodes that die: neither waits for the other, and either may lead without it."""
    config = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
    new = NewTopic(topic, 1, replica_assignment=[[_LEADS, _LAGS]], config=config)
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    admin.create_topics([new])[topic].result(patience(30))
    eventually(lambda: end_offsets(servers, topic) == {0: 0}, f"topic {topic} has a leader")


def _produce(world: World, topic: str, what: str, count: int) -> None:
    produce(world.servers, topic, [Produced(world.value(event(f"{topic}-{what}-{n}"))) for n in range(count)])


def _elected(servers: str, *topics: str) -> bool:
    """Hold an unclean election, as an operator does where the controller's own is minutes away; tell whether it was held."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    places = [TopicPartition(topic, 0) for topic in topics]
    try:
        results = admin.elect_leaders(ElectionType.UNCLEAN, places).result(patience(20))  # its request_timeout is broken
    except (KafkaException, TimeoutError):
        return False
    held = (None, KafkaError.ELECTION_NOT_NEEDED)
    return all((error.code() if error is not None else None) in held for error in results.values())


def _ends(world: World, *topics: str) -> list[int | None]:
    """Return where the topics end; None where one has no leader."""
    properties = {"bootstrap.servers": world.servers, "group.id": "looks", "log_level": 0}
    ends: list[int | None] = []
    with closing(Consumer(properties)) as consumer:
        for topic in topics:
            try:
                ends.append(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=5)[1])
            except KafkaException:
                ends.append(None)
    return ends


def _committed(world: World, *topics: str) -> list[int | None]:
    """Return what is committed of each topic; None where nothing is yet."""
    found = [committed(world.servers, world.group, topic).get(0) for topic in topics]
    return [None if place is None else place.offset for place in found]


def _refused(connector: ConnectorProcess, topic: str) -> bool:
    return any(line["partition"] == f"{topic}-0" for line in connector.log("partition_refused"))
