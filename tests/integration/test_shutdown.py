"""How it ends: asked to, at any moment of its life, it gives up nothing and is gone in time.

What a second signal does, and the shortest drain, stand in ``test_run.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.brokers import alter_topic, end_offsets
from tests.integration.events import event
from tests.integration.kafka.cluster import Cluster
from tests.integration.ordeals import driver, rolling
from tests.integration.ordeals.group import Group
from tests.integration.program import ConnectorProcess, Sandbox, World
from tests.patience import eventually, patience

_LEAVING_SECONDS = 25.0
"""For an end that waits for nothing, on an idle machine."""
_LONG_DRAIN = "280s"
"""An end that waits for it is told from one that waits for nothing on whatever machine."""


def _ends(connector: ConnectorProcess, within: float = _LEAVING_SECONDS) -> None:
    """Ask it to end; it must do so in time and with exit code 0."""
    began, slow = time.monotonic(), patience(within)
    connector.terminate()
    assert connector.wait(within + 30) == 0
    assert time.monotonic() - began < max(slow, patience(within))


def test_a_slow_vendor_is_waited_for_and_nothing_is_sent_twice(world: World) -> None:
    names = [f"bought-{number}" for number in range(200)]
    world.create_topic()
    world.produce(*map(event, names))
    world.sandbox.set_faults(latency_ms=2_500)
    slowly = {"BATCH_MAX_EVENTS": "5", "MAX_IN_FLIGHT": "4"}
    connector = world.connector(**slowly)
    eventually(lambda: len(world.sandbox.record()) >= 20, "four requests are out", 60)

    _ends(connector)
    record = world.sandbox.record()
    assert {line["answer"] for line in record} == {"sent"}, "every request that was out was waited for"
    assert connector.log("partition_released")[0]["unresolved"] == len(names) - len(record) > 0

    world.sandbox.set_faults()
    connector.start(world.settings(**slowly))
    connector.until_resolved(delivered=len(names) - len(record))
    assert world.sandbox.accepted() == dict.fromkeys(names, 1)
    assert connector.stop() == 0


def test_an_unanswering_vendor_is_given_up_at_the_time_out_and_nothing_is_lost(world: World) -> None:
    names = [f"bought-{number}" for number in range(20)]
    world.create_topic()
    world.produce(*map(event, names))
    world.sandbox.set_faults(latency_ms=30_000)
    connector = world.connector(BATCH_MAX_EVENTS="5", MAX_IN_FLIGHT="2", DRAIN_TIMEOUT="3s")
    eventually(lambda: len(world.sandbox.record()) >= 10, "two requests are out")

    began = time.monotonic()
    _ends(connector, 3.0 + _LEAVING_SECONDS)
    assert time.monotonic() - began > 2.5, "it waited as long as it may"
    assert connector.log("partition_released")[0]["unresolved"] == 20
    assert world.has_committed_nothing()

    world.sandbox.set_faults()
    connector.start(world.settings())
    connector.until_resolved(delivered=20)
    accepted = world.sandbox.accepted()
    assert accepted.keys() == set(names)
    assert {name for name, times in accepted.items() if times > 1} <= set(names[:10]), "sent again is only what was out"
    assert connector.stop() == 0


# ---- moments at which there is nothing to drain


def _topic_missing(world: World) -> ConnectorProcess:
    connector = world.connector(DRAIN_TIMEOUT=_LONG_DRAIN)
    connector.until_said("waiting")
    return connector


def _brokers_away(world: World) -> ConnectorProcess:
    connector = world.connector(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", DRAIN_TIMEOUT=_LONG_DRAIN)
    connector.until_said("waiting")
    return connector


def _just_assigned(world: World) -> ConnectorProcess:
    world.create_topic(12)
    connector = world.connector(DRAIN_TIMEOUT=_LONG_DRAIN)
    connector.until_said("partition_assigned")
    return connector


def _ledger_refused(world: World) -> ConnectorProcess:
    world.create_topic()
    connector = world.connector()
    connector.until_said("partition_restored")
    assert connector.stop() == 0
    alter_topic(world.servers, world.ledger, retention_ms="1000")
    connector.start(world.settings(DRAIN_TIMEOUT=_LONG_DRAIN))
    connector.until_said("operator_needed")
    return connector


def _credentials_refused(world: World) -> ConnectorProcess:
    world.create_topic()
    world.produce(event("bought"))
    world.sandbox.set_faults(token_next=[{"fault": "status", "status": 401, "times": 1000}])
    connector = world.connector(DRAIN_TIMEOUT=_LONG_DRAIN)
    connector.until_said("operator_needed")
    return connector


def _registry_away(world: World) -> ConnectorProcess:
    world.create_topic()
    world.produce(event("bought"))
    world.sandbox.set_faults(registry_down=True)
    connector = world.connector(DRAIN_TIMEOUT=_LONG_DRAIN)
    connector.until_said("schema_unavailable")
    return connector


@pytest.mark.parametrize(
    "moment", [_topic_missing, _brokers_away, _just_assigned, _ledger_refused, _credentials_refused, _registry_away]
)
def test_it_ends_at_once_where_nothing_is_in_flight(world: World, moment: Callable[[World], ConnectorProcess]) -> None:
    connector = moment(world)
    try:
        _ends(connector)
    finally:
        world.sandbox.set_faults()
    assert world.has_committed_nothing()


@pytest.fixture
def world_of_its_own(tmp_path: Path) -> Iterator[tuple[World, Cluster]]:
    """A cluster that may be stopped."""
    with Cluster() as cluster:
        sandbox = Sandbox(tmp_path)
        world = World(cluster.bootstrap_servers, sandbox, tmp_path)
        yield world, cluster
        world.close()
        sandbox.kill()


@pytest.mark.kafka
def test_it_ends_though_the_brokers_are_gone(world_of_its_own: tuple[World, Cluster]) -> None:
    world, cluster = world_of_its_own
    world.create_topic()
    world.produce(event("bought-1"))
    connector = world.connector(DRAIN_TIMEOUT="3s")
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()
    world.sandbox.set_faults(latency_ms=1_000)
    world.produce(event("bought-2"))
    eventually(lambda: len(world.sandbox.record()) == 2, "a request is out")
    cluster.stop()

    _ends(connector, 3.0 + _LEAVING_SECONDS)


# ---- rolling restarts


@pytest.mark.parametrize(("protocol", "static"), [("classic", True), ("consumer", False)])
def test_a_rolling_restart_under_load_loses_nothing_and_delivers_nothing_twice(
    world: World, protocol: str, *, static: bool
) -> None:
    with closing(Group(world, protocol, rate=rolling.RATE, settings=dict(rolling.SETTINGS))) as group:
        driver.begin([group], members=3, static=static)

        rolling.roll([group], 3)

        outcome = group.finish()
    outcome.check()
    assert len(group.load.records) > 150
    assert outcome.lost == 0
    assert outcome.twice.total() == 0


def test_producing_samples_ends_well_and_says_how_many_there_are(world: World) -> None:
    world.create_topic()
    process = world.started("produce-samples", "--rate", "100")
    eventually(lambda: any(end_offsets(world.servers, world.topic).values()), "samples are written")
    process.terminate()
    said, _ = process.communicate(timeout=patience(60))
    written = sum(end_offsets(world.servers, world.topic).values())
    assert (process.returncode, said.splitlines()[-1]) == (0, f"produced {written:,} samples to {world.topic}, 0 failed")
