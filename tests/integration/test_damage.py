"""A ledger that a broker's disk damaged: refused, reported, never guessed; other partitions go on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from connector.avro import ledger_entry
from tests.avro.ledger_facts import unpacked
from tests.integration.brokers import create_topic, delete_records, ledger_entries
from tests.integration.events import event
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.segments import Batch, batches
from tests.integration.program import World
from tests.patience import eventually


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kafka(cluster: Cluster) -> str:
    return cluster.bootstrap_servers


def _batches(cluster: Cluster, topic: str) -> list[Batch]:
    return batches(cluster.segment(1, topic, 0))


def _stopped(world: World, **ledger: str) -> None:
    """Deliver two events of partition 0 and one of the other; stop, and produce more to each."""
    world.create_topic(2)
    create_topic(world.servers, world.ledger, 2, retention_ms="-1", message_timestamp_type="LogAppendTime", **ledger)
    connector = world.connector()
    for number in range(2):
        world.produce(event(f"old-{number}"))
        connector.until_resolved(delivered=number + 1)
    world.produce(event("elsewhere-1"), partition=1)
    connector.until_resolved(delivered=3)
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    world.produce(*(event(f"new-{number}") for number in range(4)))
    world.produce(event("elsewhere-2"), partition=1)


_BEFORE = {"old-0": 1, "old-1": 1, "elsewhere-1": 1}


def _is_refused_and_the_other_goes_on(world: World, sentence: str) -> None:
    connector = world.connector()
    connector.until_said("operator_needed", message=sentence)
    connector.until_resolved(delivered=1)
    assert connector.page("/readyz")[0] == 503
    assert connector.stop() == 0
    assert world.sandbox.accepted() == _BEFORE | {"elsewhere-2": 1}
    assert world.committed() == {0: 2, 1: 2}
    checked = world.command("check")
    assert (checked.returncode, sentence in checked.stdout) == (1, True)
    audited = world.command("audit")
    assert (audited.returncode, audited.stdout, sentence in audited.stderr) == (1, "", True)
    assert "Traceback" not in audited.stderr


def test_a_bit_of_an_offset_that_has_flipped_resolves_no_record(world: World, cluster: Cluster) -> None:
    """The fact about offset 0 would be one about another, which nobody has judged."""
    _stopped(world, compression_type="uncompressed")
    entry = next(entry for entry in ledger_entries(world.servers, world.ledger) if entry.keys and not entry.header.partition)
    value = ledger_entry.encode(entry.header, unpacked(entry))
    batch = next(batch for batch in _batches(cluster, world.ledger) if value in batch.content)
    first_offset = value.index(entry.header.dedupe_key) + len(entry.header.dedupe_key)
    batch.flip(batch.content.index(value) + first_offset, 0x08)

    _is_refused_and_the_other_goes_on(world, f"{world.ledger}-0 is damaged at offset")


@pytest.mark.parametrize("compression", ["uncompressed", "zstd", "gzip", "lz4", "snappy"])
def test_damage_in_the_midst_of_a_ledger_is_an_operators_matter(world: World, cluster: Cluster, compression: str) -> None:
    _stopped(world, compression_type=compression)
    batch = _batches(cluster, world.ledger)[1]
    batch.flip(batch.length - 20, 0x10)

    _is_refused_and_the_other_goes_on(world, f"{world.ledger}-0 is damaged at offset 1 or after it (_BAD_MSG)")


@pytest.mark.parametrize(
    ("byte", "sentence"),
    [
        (3, "offset 1: the entry there is missing"),
        (7, "offset 1: the entry there is missing"),
        (16, "is damaged at offset 1 or after it (_NOT_IMPLEMENTED)"),
        (10, "yields nothing at offset 1"),
    ],
    ids=["far ahead", "a little ahead", "format", "length"],
)
def test_damage_where_no_checksum_reaches_is_noticed(world: World, cluster: Cluster, byte: int, sentence: str) -> None:
    _stopped(world)
    _batches(cluster, world.ledger)[1].flip(byte, 0x08)

    connector = world.connector()
    connector.until_resolved(delivered=1)
    eventually(lambda: any(sentence in line["message"] for line in connector.log("operator_needed")), "it says so", 120)
    assert connector.page("/readyz")[0] == 503
    assert world.sandbox.accepted() == _BEFORE | {"elsewhere-2": 1}


def test_from_damage_that_nothing_fixes_an_operator_goes_on_as_the_sentence_says(world: World, cluster: Cluster) -> None:
    _stopped(world)
    batch = _batches(cluster, world.ledger)[0]
    batch.flip(batch.length - 20, 0x10)
    assert "delete the ledger's records up to there (kafka-delete-records.sh)" in world.command("check").stdout
    delete_records(world.servers, world.ledger, 1)

    found = re.search(r"begins at 1, but its entry 0 is younger.*ACCEPT=(\S+)", world.command("check").stdout)
    assert found is not None
    connector = world.connector(ACCEPT=found[1])
    connector.until_resolved(delivered=5)
    assert set(world.sandbox.accepted().values()) == {1}
