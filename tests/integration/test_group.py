"""Processes share the partitions, and take up what one leaves by a kill or a rolling stop."""

from __future__ import annotations

import pytest

from connector.model import Outcome
from tests.integration.events import event
from tests.integration.program import World
from tests.patience import eventually

_PARTITIONS = 4
_EACH = 200
"""Events of a partition: more than two processes send while one of them ends."""
_PROTOCOLS = pytest.mark.parametrize(
    "protocol",
    [
        pytest.param({"KAFKA_GROUP_PROTOCOL": "consumer"}, id="consumer"),
        pytest.param({"KAFKA_GROUP_PROTOCOL": "classic", "KAFKA_SESSION_TIMEOUT_MS": "6000"}, id="classic"),
    ],
)


@_PROTOCOLS
def test_killed_process_leaves_its_partitions_and_their_window_to_the_other(world: World, protocol: dict[str, str]) -> None:
    world.create_topic(_PARTITIONS)
    one, other = world.connector(**protocol), world.connector(**protocol)
    eventually(lambda: (len(one.works_on()), len(other.works_on())) == (2, 2), "they share the partitions", 45)
    for partition in range(_PARTITIONS):
        world.produce(event(f"bought-{partition}"), partition=partition)
    one.until_resolved(delivered=2)
    other.until_resolved(delivered=2)
    world.until_committed_to_the_end()

    one.kill()
    for partition in range(_PARTITIONS):
        world.produce(event(f"bought-{partition}"), event(f"later-{partition}"), partition=partition)

    eventually(lambda: len(other.works_on()) == _PARTITIONS, "the other has all partitions", 45)
    other.until_resolved(delivered=2 + _PARTITIONS, duplicate=_PARTITIONS)
    world.until_committed_to_the_end()
    assert set(world.sandbox.accepted().values()) == {1}
    assert len(world.sandbox.accepted()) == 2 * _PARTITIONS


@_PROTOCOLS
def test_rolling_stop_while_requests_are_out_delivers_everything_once(world: World, protocol: dict[str, str]) -> None:
    world.create_topic(_PARTITIONS)
    world.sandbox.set_faults(latency_ms=150)
    slowly = protocol | {"BATCH_MAX_EVENTS": "5", "MAX_IN_FLIGHT": "2"}
    one, other = world.connector(**slowly), world.connector(**slowly)
    eventually(lambda: (len(one.works_on()), len(other.works_on())) == (2, 2), "they share the partitions", 45)
    expected = {f"bought-{partition}-{number}" for partition in range(_PARTITIONS) for number in range(_EACH)}
    for partition in range(_PARTITIONS):
        world.produce(*(event(f"bought-{partition}-{number}") for number in range(_EACH)), partition=partition)
    eventually(lambda: len(world.sandbox.record()) > 40, "both are sending")

    assert one.stop() == 0
    assert sum(line["unresolved"] for line in one.log("partition_released")) > 0, "it gave work back"
    one.start(world.settings(**slowly))
    eventually(lambda: len(one.works_on()) > 0, "it is back", 45)
    assert other.stop() == 0

    eventually(lambda: len(world.sandbox.accepted()) == len(expected), "everything is accepted", 45)
    world.until_committed_to_the_end()
    assert world.sandbox.accepted() == dict.fromkeys(expected, 1)
    assert one.stop() == 0
    assert {outcome for fates in world.fates().values() for outcome in fates} == {Outcome.DELIVERED}
    assert all(len(fates) == 1 for fates in world.fates().values())
