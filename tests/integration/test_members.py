"""Members come and go, stop and wake, and lose the way to the brokers, under load: what they had in hand is nobody's loss.

A group of each protocol meets the same faults; each is judged by the oracle. `chaos` has the faults, and runs them for
longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.events import event, now_ms
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.link import Link
from tests.integration.ordeals import chaos, driver
from tests.integration.ordeals.group import PROTOCOLS
from tests.integration.program import ConnectorProcess, World
from tests.patience import eventually, patience

pytestmark = pytest.mark.kafka

_RESTART_MS = 240_000
"""A restart takes less, on whatever machine."""
_BOTH = pytest.mark.parametrize("protocol", list(PROTOCOLS))


@pytest.fixture
def link(three_nodes: Cluster) -> Iterator[Link]:
    """A way to the nodes that can be cut."""
    with three_nodes.link() as link:
        yield link


def test_members_come_and_go_every_few_seconds(three_nodes: Cluster, tmp_path: Path) -> None:
    with driver.groups(three_nodes, tmp_path, PROTOCOLS) as groups:
        driver.begin(groups)

        chaos.churn(groups, seconds=20.0, most=4, seed=4)

        for group in groups:
            driver.settle(group)


def test_member_that_slept_while_another_took_over_sends_and_commits_nothing_of_what_it_lost(
    three_nodes: Cluster, tmp_path: Path
) -> None:
    with driver.groups(three_nodes, tmp_path, PROTOCOLS, settings=chaos.SLEEPERS, held=True) as groups:
        driver.begin(groups)

        zombies = chaos.freeze(groups)

        for group, zombie in zip(groups, zombies, strict=True):
            woke_ms = group.faults[-1][1]
            eventually(lambda zombie=zombie: zombie.metrics().get("connector_late_answers_total"), "answers come late", 60)  # type: ignore[misc]
            group.until_shared()
            account = driver.settle(group).account
            again = [lines for lines in account.accepted.values() if len(lines) > 1]
            assert again, "what it had in flight was sent again by its successor"
            late = [line for lines in again for line in lines[1:] if line["arrival"] >= woke_ms]
            assert late == [], f"awake since {woke_ms}, the zombie sent what it had lost"
            # Facts about what it had sent are true, and are written down also by whoever has lost the partition.
            sent = {line["id"] for lines in again for line in lines}
            records = [record for event_id in sent for record in account.by_id[event_id]]
            assert any(len(account.facts[record.place]) > 1 for record in records), "late answers are written down"


@pytest.mark.parametrize("reset", [False, True], ids=["silent", "reset"])
def test_member_without_a_way_to_the_brokers_stops_sending_and_another_takes_over(
    three_nodes: Cluster, link: Link, tmp_path: Path, reset: bool
) -> None:
    with driver.groups(three_nodes, tmp_path, PROTOCOLS) as groups:
        driver.begin(groups, link)

        chaos.cut_off(link, groups, seconds=15.0, reset=reset)

        for group in groups:
            driver.settle(group)


@_BOTH
def test_sigterm_ends_a_member_in_time_that_has_no_way_to_the_brokers(
    three_nodes: Cluster, link: Link, tmp_path: Path, protocol: str
) -> None:
    with driver.groups(three_nodes, tmp_path, [protocol], settings={"DRAIN_TIMEOUT": "3s"}) as (group,):
        member = group.join(KAFKA_BOOTSTRAP_SERVERS=link.bootstrap_servers)
        group.begin()
        link.cut()
        group.struck("cut")
        began = now_ms()

        member.terminate()
        code = member.wait(60)

        assert code == 0
        assert now_ms() - began < patience(30) * 1000
        link.restore()
        group.interrupted(began, now_ms())
        group.join()
        driver.settle(group)


@_BOTH
def test_static_member_that_restarts_within_its_session_keeps_its_partitions(world: World, protocol: str) -> None:
    world.create_topic(4)
    settings = PROTOCOLS[protocol] | ({"KAFKA_SESSION_TIMEOUT_MS": str(_RESTART_MS)} if protocol == "classic" else {})
    if protocol == "consumer":
        chaos.set_session(world, _RESTART_MS)
    one = world.connector(**settings, KAFKA_GROUP_INSTANCE_ID="one")
    other = world.connector(**settings, KAFKA_GROUP_INSTANCE_ID="other")
    eventually(lambda: (len(one.works_on()), len(other.works_on())) == (2, 2), "they share the partitions", 60)
    held, said = one.works_on(), len(other.log())

    assert one.stop() == 0
    one.start(world.settings(**settings, KAFKA_GROUP_INSTANCE_ID="one"))

    eventually(lambda: one.works_on() == held, "it has its partitions again", 60)
    moved = [line for line in other.log()[said:] if line["event"].startswith("partition_")]
    assert moved == []


@_BOTH
def test_of_two_processes_with_one_static_id_one_works_and_the_other_ends_and_says_why(world: World, protocol: str) -> None:
    world.create_topic(2)
    settings = PROTOCOLS[protocol] | {"KAFKA_GROUP_INSTANCE_ID": "one"}
    older = world.connector(**settings)
    eventually(lambda: len(older.works_on()) == 2, "it has the partitions", 60)

    younger = world.connector(**settings)

    # Classic: the younger takes the id over. KIP-848: the older keeps it for as long as it lives.
    works, ends = (younger, older) if protocol == "classic" else (older, younger)
    assert ends.wait(60) == 1
    assert "KAFKA_GROUP_INSTANCE_ID" in ends.log("failed")[0]["message"]
    eventually(lambda: len(works.works_on()) == 2, "the other has the partitions", 60)
    world.produce(event("bought"))
    works.until_resolved(delivered=1)
    assert works.stop() == 0


def test_member_that_its_coordinator_alone_does_not_hear_stops_sending_and_another_takes_over(
    three_nodes: Cluster, link: Link, tmp_path: Path
) -> None:
    with driver.groups(three_nodes, tmp_path, PROTOCOLS) as groups:
        driver.begin(groups, link)

        chaos.cut_off_from_coordinators(link, groups)

        for group in groups:
            driver.settle(group)


def test_coordinator_that_hangs_stops_all_sending_which_goes_on_by_itself(three_nodes: Cluster, tmp_path: Path) -> None:
    with driver.groups(three_nodes, tmp_path, PROTOCOLS) as groups:
        driver.begin(groups)
        for group in groups:
            node = chaos.coordinator_of(group)
            chaos.strike(groups, f"SIGSTOP node {node}")
            began = now_ms()
            three_nodes.pause(node)
            try:
                eventually(
                    lambda group=group: all(_unheard(member) for member in group.running),  # type: ignore[misc]
                    "every member knows that its coordinator is silent",
                    30,
                )
            finally:
                three_nodes.resume(node)
            three_nodes.wait_until_complete()
            chaos.until_in_sync(three_nodes)
            for each in groups:
                each.flows(150)
                each.until_shared()
                each.interrupted(began, now_ms())

        for group in groups:
            driver.settle(group)


def _unheard(member: ConnectorProcess) -> bool:
    metrics = member.metrics()
    return member.page("/readyz")[0] == 503 and (
        metrics.get('connector_paused{reason="coordinator"}', 0) > 0
        or metrics.get('connector_paused{reason="restoring"}', 0) > 0
    )
