"""Brokers and members fail under load.

Each ordeal is a function of groups under load, one of each protocol; `test_brokers.py` and `test_members.py` run each for
seconds, ``make chaos`` for minutes.
"""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.integration.events import now_ms
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.link import Link
from tests.integration.ordeals.driver import Ordeal
from tests.integration.ordeals.group import Group
from tests.integration.ordeals.members import lines_of, losses
from tests.integration.program import ConnectorProcess, World
from tests.patience import eventually, patience

__all__ = [
    "ORDEALS",
    "SLEEPERS",
    "bring_back",
    "churn",
    "cut_off",
    "cut_off_from_coordinators",
    "freeze",
    "kill_coordinators",
    "kill_leaders",
    "rolling_restart",
    "set_session",
]

_NODES = (1, 2, 3)
SLEEPERS = {
    "MAX_IN_FLIGHT": "2",
    "AMAZON_TIMEOUT": "1500s",
    "DRAIN_TIMEOUT": "1510s",
    "KAFKA_MAX_POLL_INTERVAL_MS": "1600000",
}
"""Settings of groups for `freeze`, whose answers are held: a late one is awaited for as long as a take-over may take."""
_BUSY_MS = 4_000
"""An answer that comes so late leaves events waiting."""
_ASK_SECONDS = 20.0


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
            # Of the ledger's leader nobody has heard yet where the source has none of its leaders there.
            eventually(lambda: leader_of(group, topic, partition) != node, f"{topic}/{partition} has another leader", 60)  # noqa: B023 - looked at here
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
    link.restore()
    for group in groups:
        group.flows()
        group.until_shared()
        # What it had when it was cut off may have been given away until it was told, which it was by now.
        group.interrupted(began, now_ms())


def cut_off_from_coordinators(link: Link, groups: Sequence[Group], times: int = 1) -> None:
    """Cut each group's last member, which came by the link, from its coordinator alone, until another has taken over.

    The other brokers answer it all the time, and so does Amazon: it must stop sending by itself.
    """
    for group in [group for _ in range(times) for group in groups]:
        node, (other, cut) = coordinator_of(group), group.members
        began = now_ms()
        strike([group], f"cut from coordinator {node} alone")
        link.cut(node=node)
        eventually(lambda group=group, other=other: len(other.works_on()) == group.partitions, "the other takes over", 60)  # type: ignore[misc]
        # A request that was out when the other took over arrives soon; what is sent in the seconds after that, too late.
        sends_no_more = now_ms() + round(patience(_IN_FLIGHT_SECONDS) * 1000)
        eventually(lambda end=sends_no_more + _SESSION_MS: now_ms() > end, "a session has passed", 60)  # type: ignore[misc]
        group.flows()
        eventually(lambda cut=cut: cut.page("/readyz")[0] == 503, "it is not ready", 30)  # type: ignore[misc]
        # Beginning anew waits some seconds for the answer to the last commit, which never comes here.
        eventually(lambda cut=cut: cut.works_on() == frozenset(), "what it had counts as lost", 20)  # type: ignore[misc]
        restored = now_ms()
        link.restore()
        group.flows()
        group.until_shared()
        group.interrupted(began, now_ms())
        twice = _accepted_twice(group, sends_no_more, restored)
        assert twice == [], f"{group.protocol}: the member that was cut off went on sending"


_IN_FLIGHT_SECONDS = 3.0
"""Until a request that was out when the other took over has arrived."""
_SESSION_MS = 6_000


def _accepted_twice(group: Group, since_ms: int, until_ms: int) -> list[str]:
    """Return the ids of which two requests arrived between the two moments, and were accepted.

    What was in flight when the other took over may go out again long after, but its first request arrived before.
    """
    arrived = Counter(
        line["id"]
        for line in group.sandbox.record()
        if line["verdict"] == "accepted" and since_ms < int(line["arrival"]) <= until_ms
    )
    return [each for each, times in arrived.items() if times > 1]


def bring_back(cluster: Cluster, number: int) -> None:
    """Start a node again, and wait until every replica has caught up."""
    cluster.restart(number)
    cluster.wait_until_complete()
    until_in_sync(cluster)


def freeze(groups: Sequence[Group]) -> list[ConnectorProcess]:
    """Stop one member of each group with requests out and events waiting, until another has taken its partitions over and
    sent what waited; then let it go on, and have one answer that it awaits come once it knows what it lost. Return the
    members that slept."""
    slept: list[tuple[ConnectorProcess, frozenset[int], int]] = []
    for group in groups:
        zombie = _with_an_answer_held(group)
        had = zombie.works_on()
        strike([group], "SIGSTOP")
        group.stop(zombie)
        slept.append((zombie, had, now_ms()))
        group.sandbox.set_faults(latency_ms=20)
    for group in groups:
        group.flows()
    for group, (zombie, had, since) in zip(groups, slept, strict=True):
        began = group.faults[-1][1]
        strike([group], "SIGCONT")
        group.go_on(zombie)
        zombie.eventually(functools.partial(_has_lost, zombie, had, since), f"it knows that it lost {sorted(had)}", 60)
        assert group.answers is not None
        group.answers.restore()
        group.interrupted(began, now_ms())
    return [zombie for zombie, _, _ in slept]


def _with_an_answer_held(group: Group) -> ConnectorProcess:
    """Hold one answer on its way; return the member that waits for it, has its other slot in use, and events waiting.

    The answer comes after the zombie knows what it lost; that of its other slot is there when it wakes.
    """
    group.sandbox.set_faults(latency_ms=_BUSY_MS)

    def held() -> list[ConnectorProcess]:
        if not all(_is_loaded(member.metrics()) for member in group.members):
            return []
        assert group.answers is not None
        port = group.answers.hold()
        return [member for member in group.members if port in _ports_of(member.pid)]

    (zombie,) = eventually(held, "requests are out and events wait", 60)
    return zombie


def _has_lost(member: ConnectorProcess, partitions: frozenset[int], since_ms: int) -> bool:
    return partitions <= {partition for partition, at in losses(lines_of(member)) if at >= since_ms}


def _ports_of(pid: int) -> set[int]:
    """Return the local ports of a process's TCP connections."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            sockets.add(descriptor.readlink().name)
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in sockets}


def _is_loaded(metrics: Mapping[str, float]) -> bool:
    return metrics.get("connector_in_flight_requests") == 2 and metrics["connector_buffered_events"] >= 20


def set_session(world: World, milliseconds: int) -> None:
    """Set the session time-out of a KIP-848 group, which its brokers hold."""
    entry = ConfigEntry("consumer.session.timeout.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": world.servers, "log_level": 0})
    resource = ConfigResource(ConfigResource.Type.GROUP, world.group, incremental_configs=[entry])
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(patience(_ASK_SECONDS))


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
        try:
            return max(0, int(admin.list_topics(topic, timeout=5).topics[topic].partitions[partition].leader))
        except (KafkaException, KeyError):
            return 0

    return eventually(found, f"{topic}/{partition} has a leader")


def _cycle(count: int) -> list[int]:
    return [_NODES[at % len(_NODES)] for at in range(count)]


ORDEALS = {
    "rolling-restart": Ordeal(
        lambda cluster, _, groups, __: rolling_restart(cluster, groups, ["clean", "kill", "clean"] * 5)
    ),
    "coordinators": Ordeal(lambda cluster, _, groups, __: kill_coordinators(cluster, groups)),
    "leaders": Ordeal(lambda cluster, _, groups, __: kill_leaders(cluster, groups)),
    "churn": Ordeal(lambda _, __, groups, seed: churn(groups, seconds=300, most=6, seed=seed)),
    "sleep": Ordeal(lambda _, __, groups, ___: freeze(groups), SLEEPERS, held=True),
    "cut": Ordeal(lambda _, link, groups, __: cut_off(link, groups, seconds=60, reset=False), linked=True),
    "cut-coordinator": Ordeal(lambda _, link, groups, __: cut_off_from_coordinators(link, groups, times=3), linked=True),
    "cut-reset": Ordeal(lambda _, link, groups, __: cut_off(link, groups, seconds=60, reset=True), linked=True),
}
