"""Storms: brokers and members fail under load, and an account is made of what came of it.

    python -m tests.integration.storms [--seed N] [--only NAME] [--protocol consumer]

Each fault is a function of groups, under load, and of the cluster; `test_brokers.py` and `test_members.py` run each for
seconds, this module for minutes, with a table at the end: faults, events, lost, delivered twice, partitions moved, recovery.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.integration.group import Group
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.link import Link
from tests.integration.world import eventually, now_ms

__all__ = ["coordinator_of", "leader_of", "until_in_sync"]

_NODES = (1, 2, 3)
_TOLD_MS = 3_000
"""By then a member that hears from the brokers again knows what it lost: a heartbeat's time, on a loaded machine."""


# ---- brokers


def rolling_restart(cluster: Cluster, groups: Sequence[Group], hows: Sequence[str]) -> None:
    """Restart node after node, each as it says: ``clean`` (SIGTERM) or ``kill`` (SIGKILL)."""
    for number, how in zip(_cycle(len(hows)), hows, strict=True):
        strike(groups, f"{how} node {number}")
        (cluster.shut_down if how == "clean" else cluster.kill)(number)
        for group in groups:
            group.flows()
        bring_back(cluster, number)


def kill_coordinators(cluster: Cluster, groups: Sequence[Group]) -> None:
    """Kill each group's coordinator, while it commits."""
    for group in groups:
        node = coordinator_of(group)
        strike([group], f"kill coordinator {node}")
        cluster.kill(node)
        for each in groups:
            each.flows()
        bring_back(cluster, node)
        assert coordinator_of(group) in _NODES


def kill_leaders(cluster: Cluster, groups: Sequence[Group], partition: int = 0) -> None:
    """Kill the leader of a partition of each group's source, and then of its ledger."""
    for group in groups:
        for topic in (group.world.topic, group.world.ledger):
            node = leader_of(group, topic, partition)
            strike([group], f"kill leader {node} of {topic}")
            cluster.kill(node)
            for each in groups:
                each.flows()
            assert leader_of(group, topic, partition) != node
            bring_back(cluster, node)


# ---- members


def churn(groups: Sequence[Group], seconds: float, most: int, seed: int) -> None:
    """Add and remove members every few seconds, by SIGTERM and SIGKILL alike; at least one stays."""
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for group in groups:
            running = group.running
            if len(running) < 2 or (len(running) < most and chance.random() < 0.5):
                group.struck("join")
                group.join()
            elif chance.random() < 0.5:
                group.struck("leave")
                group.leave(chance.choice(running))
            else:
                group.struck("kill")
                group.kill(chance.choice(running))
        time.sleep(chance.uniform(1.0, 3.0))
    for group in groups:
        group.flows()


def cut_off(link: Link, groups: Sequence[Group], seconds: float, *, reset: bool) -> None:
    """Cut the way between the brokers and each group's last member, which came by the link, with Amazon in reach."""
    strike(groups, "cut, reset" if reset else "cut, silent")
    began = now_ms()
    link.cut(reset=reset)
    time.sleep(seconds)
    link.mend()
    for group in groups:
        # What it had when it was cut off, and until it is told, may have been given away meanwhile.
        group.interrupted(began, now_ms() + _TOLD_MS)
    for group in groups:
        group.flows()
        group.until_shared()


def bring_back(cluster: Cluster, number: int) -> None:
    """Start a node again, and wait until every replica has caught up."""
    cluster.restart(number)
    cluster.wait_until_complete()
    until_in_sync(cluster)


def strike(groups: Sequence[Group], name: str) -> None:
    """Note a fault that strikes all of them."""
    for group in groups:
        group.struck(name)


def until_in_sync(cluster: Cluster) -> None:
    """Wait until every replica of every partition is in sync: with another node down, writes need those that are left."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})

    def in_sync() -> bool:
        try:
            found = admin.list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        return all(len(p.isrs) == len(p.replicas) and p.leader > 0 for topic in found for p in topic.partitions.values())

    eventually(in_sync, "every replica is in sync", 60)


def coordinator_of(group: Group) -> int:
    """Return the node that coordinates a group."""
    admin = AdminClient({"bootstrap.servers": group.world.servers, "log_level": 0})

    def found() -> int:
        try:
            described = admin.describe_consumer_groups([group.world.group], request_timeout=5)[group.world.group].result()
        except KafkaException:
            return 0
        return int(described.coordinator.id) if described.coordinator else 0

    return eventually(found, "the group has a coordinator")


def leader_of(group: Group, topic: str, partition: int) -> int:
    """Return the node that leads a partition."""
    admin = AdminClient({"bootstrap.servers": group.world.servers, "log_level": 0})

    def found() -> int:
        return max(0, int(admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader))

    return eventually(found, f"{topic}/{partition} has a leader")


def _cycle(count: int) -> list[int]:
    return [_NODES[at % len(_NODES)] for at in range(count)]
