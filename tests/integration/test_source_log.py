"""What can happen to the source topic itself: gaps, partitions added, a log that is cut, another topic of the same name.

The oracle is outside: what was produced, what the sandbox accepted, what the group committed.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.integration.brokers import (
    Produced,
    add_partitions,
    create_topic,
    delete_records,
    delete_topic,
    describe_topic,
    end_offsets,
    read_topic,
)
from tests.integration.events import event
from tests.integration.program import Transactions, World
from tests.patience import eventually, patience

_PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])
_SOON = {"KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS": "500", "KAFKA_METADATA_MAX_AGE_MS": "1000"}
"""Metadata is refreshed at once, not after minutes."""


# ---- gaps


@_PROTOCOLS
def test_only_committed_transactions_are_sent_and_the_commit_reaches_the_end_of_the_log(world: World, protocol: str) -> None:
    world.create_topic()
    transactions = Transactions(world)
    transactions.abort("aborted-1")
    transactions.commit("1", "2")
    transactions.abort("aborted-2", "aborted-3")
    connector = world.connector(KAFKA_GROUP_PROTOCOL=protocol)
    connector.until_resolved(delivered=2)
    world.until_committed_to_the_end()  # 8: behind the last record stand three aborted ones and two markers
    assert world.committed() == {0: 8}

    transactions.begin("3")
    world.produce(event("behind an open transaction"))
    eventually(lambda: connector.metrics().get(_of_partition("connector_lag", world), 0) == 2, "the lag is shown")
    assert connector.outcomes() == {"delivered": 2}
    assert world.committed() == {0: 8}
    transactions.end()

    connector.until_resolved(delivered=4)
    world.until_committed_to_the_end()
    eventually(lambda: connector.metrics().get(_of_partition("connector_lag", world)) == 0, "no lag is shown")
    assert connector.stop() == 0
    connector.start(world.settings(KAFKA_GROUP_PROTOCOL=protocol))
    transactions.commit("4")
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()
    assert world.sandbox.accepted() == dict.fromkeys(("1", "2", "3", "4", "behind an open transaction"), 1)


def test_partition_with_aborted_transactions_only_is_committed_to_its_end(world: World) -> None:
    world.create_topic()
    Transactions(world).abort("aborted-1", "aborted-2")

    connector = world.connector()

    world.until_committed_to_the_end()
    assert connector.stop() == 0
    assert connector.log("stopped")[0]["delivered"] == 0
    assert world.sandbox.record() == []


def test_holes_that_compaction_left_are_passed(world: World) -> None:
    world.create_topic(
        cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01", max_compaction_lag_ms="100"
    )
    for number in range(6):  # each overwrites the one before, but for every third
        key = b"kept" + bytes([number]) if number % 3 == 0 else b"overwritten"
        world.produce(Produced(world.value(event(f"order-{number}")), key))

    def compacted() -> list[int | None]:
        world.produce(Produced(None, b"rolls the segment"))
        left = [message.offset() for message in read_topic(world.servers, world.topic) if message.value() is not None]
        return left if len(left) == 3 else []

    assert eventually(compacted, "the log is compacted", 60) == [0, 3, 5]
    connector = world.connector()
    eventually(lambda: connector.outcomes().get("delivered") == 3, "what is left is delivered")
    world.until_committed_to_the_end()
    assert world.sandbox.accepted() == {"order-0": 1, "order-3": 1, "order-5": 1}


def _of_partition(metric: str, world: World, partition: int = 0) -> str:
    return f'{metric}{{partition="{partition}",topic="{world.topic}"}}'


# ---- partitions added


@_PROTOCOLS
def test_partitions_added_under_load_start_with_a_ledger_and_lose_nothing(world: World, protocol: str) -> None:
    world.create_topic(1)
    world.sandbox.set_faults(latency_ms=50)
    connector = world.connector(KAFKA_GROUP_PROTOCOL=protocol, BATCH_MAX_EVENTS="10", **_SOON)
    expected = [f"first-{number}" for number in range(200)]
    world.produce(*map(event, expected))

    add_partitions(world.servers, world.topic, 3)
    for partition in range(3):
        some = [f"later-{partition}-{number}" for number in range(50)]
        world.produce(*map(event, some), partition=partition)
        expected += some

    eventually(lambda: len(world.sandbox.accepted()) == len(expected), "everything is accepted", 45)
    world.until_committed_to_the_end()
    assert world.sandbox.accepted() == dict.fromkeys(expected, 1)
    assert describe_topic(world.servers, world.ledger)[1] == 3
    assert connector.stop() == 0
    assert all(len(fates) == 1 for fates in world.fates().values())


# ---- another topic of the same name


@_PROTOCOLS
@pytest.mark.parametrize("more", [2, 8], ids=["shorter", "longer"])
def test_topic_recreated_while_it_runs_is_read_from_its_beginning(world: World, protocol: str, more: int) -> None:
    world.create_topic()
    world.produce(*(event(f"old-{number}") for number in range(5)))
    connector = world.connector(KAFKA_GROUP_PROTOCOL=protocol, **_SOON)
    connector.until_resolved(delivered=5)
    world.until_committed_to_the_end()

    delete_topic(world.servers, world.topic)
    create_topic(world.servers, world.topic)
    # Where it is longer than our position, a classic consumer would read on from there and skip what comes before.
    world.produce(*(event(f"new-{number}") for number in range(more)), event("old-0"))

    expected = dict.fromkeys([f"old-{n}" for n in range(5)] + [f"new-{n}" for n in range(more)], 1)
    eventually(lambda: world.sandbox.accepted() == expected, "each is accepted once")
    # With a topic the brokers delete what was committed for it, but a late commit of ours may come after that.
    eventually(
        lambda: len(connector.log("partition_restored")) >= 2, "it started anew"
    )  # and again where the group gave it anew
    assert {line["offset"] for line in connector.log("partition_restored")} == {0}
    eventually(lambda: world.committed() == end_offsets(world.servers, world.topic), "all of the new one is committed")
    assert connector.outcomes()["delivered"] == len(expected)
    assert connector.stop() == 0
    connector.start(world.settings(KAFKA_GROUP_PROTOCOL=protocol))
    connector.until_said("partition_restored", offset=more + 1, why="from the committed offset")


@pytest.mark.parametrize(
    "settings",
    [
        {"KAFKA_GROUP_PROTOCOL": "classic", "KAFKA_PARTITION_ASSIGNMENT_STRATEGY": "range"},
        {"KAFKA_GROUP_PROTOCOL": "classic", "KAFKA_PARTITION_ASSIGNMENT_STRATEGY": "roundrobin,range"},
    ],
    ids=["range", "two eager"],
)
def test_eager_assignment_that_begins_anew_for_one_partition_sends_nothing_again_of_the_others(
    world: World, settings: dict[str, str]
) -> None:
    world.create_topic(2)
    connector = world.connector(**settings, OFFSET_OUT_OF_RANGE="earliest", AMAZON_TIMEOUT="40s")
    world.produce(event("before"))
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()
    world.sandbox.set_faults(next=[{"fault": "delay", "ms": 12_000, "times": 1}])
    world.produce(event("in flight"), partition=1)
    eventually(lambda: connector.metrics().get("connector_in_flight_requests") == 1, "a request is out")

    # While it sleeps, the log is deleted beyond where it reads on: behind the one record that its fetch waits for.
    os.kill(connector.pid, signal.SIGSTOP)
    world.produce(event("fetched"))
    time.sleep(patience(1.0))  # so that the broker answers the fetch with that one alone
    world.produce(event("deleted unread"))
    delete_records(world.servers, world.topic, 3)
    world.produce(event("after"))
    os.kill(connector.pid, signal.SIGCONT)

    eventually(lambda: world.sandbox.accepted()["after"], "it goes on", 60)
    world.until_committed_to_the_end()
    assert {line["partition"] for line in connector.log("partition_lost")} == {f"{world.topic}-0", f"{world.topic}-1"}
    assert world.sandbox.accepted()["in flight"] == 1
    assert connector.stop() == 0
