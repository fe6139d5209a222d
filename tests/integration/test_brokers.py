"""Brokers restart, die and hand over, under load: nothing is lost, and nothing is delivered twice without need.

A group of each protocol meets the same faults, on three nodes with every topic replicated three times; each is judged by
the oracle. `chaos` has the faults, and runs them for longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.brokers import topic_settings
from tests.integration.kafka.cluster import Cluster
from tests.integration.ordeals import chaos, driver
from tests.integration.ordeals.group import PROTOCOLS, Group

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
