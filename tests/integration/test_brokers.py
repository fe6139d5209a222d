"""Brokers restart, die and hand over, under load: nothing is lost, and nothing is delivered twice without need.

A group of each protocol meets the same faults, on three nodes with every topic replicated three times; each is judged by
the oracle. `chaos` has the faults, and runs them for longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka.admin import AdminClient

from connector.errors import KafkaUnavailable
from connector.kafka.cluster import Cluster as KafkaCluster
from connector.model import TopicPartition
from tests.integration.brokers import Produced, create_topic, produce, topic_settings
from tests.integration.kafka.cluster import Cluster
from tests.integration.ordeals import chaos, driver
from tests.integration.ordeals.group import PROTOCOLS, Group
from tests.patience import eventually

pytestmark = pytest.mark.kafka


@pytest.fixture
def groups(three_nodes: Cluster, tmp_path: Path) -> Iterator[list[Group]]:
    """A group of each protocol, two members each, under load."""
    with driver.groups(three_nodes, tmp_path, PROTOCOLS) as groups:
        driver.begin(groups)
        yield groups


def test_rolling_restart_loses_nothing_and_delivers_nothing_twice(three_nodes: Cluster, groups: list[Group]) -> None:
    for group in groups:
        assert topic_settings(group.world.servers, group.world.ledger)["min.insync.replicas"] == "2"

    chaos.rolling_restart(three_nodes, groups, ["clean", "kill", "clean"])

    for group in groups:
        driver.settle(group)


def test_coordinator_and_leaders_that_die_are_followed_to_their_successors(
    three_nodes: Cluster, groups: list[Group]
) -> None:
    chaos.kill_coordinators(three_nodes, groups)
    chaos.kill_leaders(three_nodes, groups[:1])

    for group in groups:
        driver.settle(group)


def test_a_leader_that_hangs_is_not_taken_for_a_log_without_a_record_from_that_time_on(three_nodes: Cluster) -> None:
    """The client knows the leader, and says of a question that it did not answer in time neither a record nor an error."""
    servers, topic = three_nodes.bootstrap_servers, "asked-by-time"
    create_topic(servers, topic)
    produce(servers, topic, [Produced(b"value")])
    place = TopicPartition(topic, 0)
    asked = KafkaCluster(lambda: AdminClient({"bootstrap.servers": servers, "log_level": 0}), cast("Any", None))

    def found() -> tuple[int | None, dict[TopicPartition, int]] | None:
        try:
            return asked.offset_at(place, 1), asked.first_times([place])
        except KafkaUnavailable:
            return None

    before = eventually(found, "the leader answers")
    assert before is not None
    assert before[0] == 0
    assert place in before[1]

    leader = AdminClient({"bootstrap.servers": servers}).list_topics(topic, timeout=10).topics[topic].partitions[0].leader
    three_nodes.pause(leader)
    try:
        assert eventually(found, "a leader answers", 60) == before
    finally:
        three_nodes.resume(leader)
    three_nodes.wait_until_complete()
    chaos.until_in_sync(three_nodes)
