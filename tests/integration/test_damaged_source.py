"""A source log with a batch that cannot be read: bits that flipped on the broker's disk."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.brokers import Produced, commit, create_topic, end_offsets, ledger_entries, produce, set_group
from tests.integration.brokers import committed as committed_by
from tests.integration.events import event
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.segments import batches
from tests.integration.program import World
from tests.patience import eventually

_BATCH = 5
"""Records of a partition that are produced together, three times."""
_SESSION_MS = 300_000
_WAITING_SECONDS = 5.0
"""In which what begins anew without end would do so many times."""


# Where things stand in a batch: its offset up to 7, magic at 16, checksum at 17, codec at 22, records from 61 on.
_DAMAGES: Mapping[str, tuple[str, int, int]] = {
    "plain": ("uncompressed", 90, 4),
    "zstd": ("zstd", 90, 4),
    "gzip": ("gzip", 90, 4),
    "codec": ("lz4", 22, 6),
    "magic": ("uncompressed", 16, 4),
    # Under no checksum: offset 5 becomes 13, beyond the next batch's first, or 1, below the last one's end.
    "ahead": ("uncompressed", 7, 8),
    "back": ("uncompressed", 7, 4),
}
"""Codec of the topic, and which byte of a batch loses which bits."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def kafka(cluster: Cluster) -> str:
    return cluster.bootstrap_servers


def test_batch_that_cannot_be_read_pauses_its_partition_alone_until_the_disk_is_fixed(
    cluster: Cluster, world: World
) -> None:
    topics = {f"{world.topic}-{name}": damage for name, damage in _DAMAGES.items()}
    for topic, (codec, *_) in topics.items():
        create_topic(world.servers, topic, 2, compression_type=codec)
        for partition in range(2):
            for batch in range(3):
                names = (f"{topic}-{partition}-{batch * _BATCH + at}" for at in range(_BATCH))
                produce(world.servers, topic, [_produced(world, name, partition) for name in names])
    before = _damage(cluster, topics)
    # What begins anew does so for the damage: no machine is too slow for a session of minutes.
    set_group(world.servers, world.group, consumer_session_timeout_ms=_SESSION_MS)
    connector = world.connector(KAFKA_TOPIC=",".join(topics))
    unread = {f"{topic}-0-{offset}" for topic in topics for offset in range(_BATCH, 3 * _BATCH)}
    everything = {f"{topic}-{partition}-{o}" for topic in topics for partition in range(2) for o in range(3 * _BATCH)}

    eventually(lambda: set(world.sandbox.accepted()) == everything - unread, "all that can be read is sent", 60)
    eventually(
        lambda: [_committed(world, topic) for topic in topics] == [{0: _BATCH, 1: 3 * _BATCH}] * len(topics),
        "it is committed up to there",
        60,
    )
    eventually(lambda: all(f"{topic}-0 " in connector.page("/readyz")[1] for topic in topics), "it is said of each", 60)
    assert connector.page("/readyz")[0] == 503
    assert f"cannot be read from offset {_BATCH} on (_BAD_MSG)" in connector.page("/readyz")[1]
    assert connector.metrics()['connector_paused{reason="unreadable"}'] == len(topics)
    # Nothing begins anew, and nothing is written while it waits.
    entries = _entries(world, topics)
    time.sleep(_WAITING_SECONDS)
    assert len(connector.log("partition_assigned")) == 2 * len(topics)
    assert _entries(world, topics) == entries
    assert set(world.sandbox.accepted()) == everything - unread
    assert connector.log("partition_lost") == []

    cluster.shut_down(1)
    for path, content in before.items():
        path.write_bytes(content)
    cluster.restart(1)
    cluster.wait_until_complete()

    eventually(lambda: world.sandbox.accepted() == dict.fromkeys(everything, 1), "the rest is sent, and nothing again", 150)
    eventually(
        lambda: all(_committed(world, topic) == end_offsets(world.servers, topic) for topic in topics), "all is committed"
    )
    connector.until_ready()
    assert connector.stop() == 0


def _produced(world: World, name: str, partition: int) -> Produced:
    return Produced(world.value(event(name)), name.encode(), partition=partition)


def _damage(cluster: Cluster, topics: Mapping[str, tuple[str, int, int]]) -> dict[Path, bytes]:
    """Damage on disk the batch behind the first five records of each topic; return what stood there before."""
    cluster.shut_down(1)
    before = {}
    for topic, (_, byte, bits) in topics.items():
        path = cluster.segment(1, topic, 0)
        before[path] = path.read_bytes()
        next(batch for batch in batches(path) if batch.first_offset == _BATCH).flip(byte, bits)
    cluster.restart(1)
    cluster.wait_until_complete()
    return before


def _entries(world: World, topics: Iterable[str]) -> dict[str, int]:
    """Return how many entries the ledger of each topic has."""
    return {topic: len(ledger_entries(world.servers, f"{topic}.{world.group}.ledger")) for topic in topics}


def _committed(world: World, topic: str) -> dict[int, int]:
    return {partition: place.offset for partition, place in committed_by(world.servers, world.group, topic).items()}


def test_batch_that_is_given_up_as_the_readme_says_is_skipped_with_the_value_that_the_next_start_prints(
    cluster: Cluster, world: World
) -> None:
    topics = {f"{world.topic}-{name}": _DAMAGES[name] for name in ("plain", "zstd")}
    for topic, (codec, *_) in topics.items():
        create_topic(world.servers, topic, 1, compression_type=codec)
        for batch in range(3):
            names = (f"{topic}-{batch * _BATCH + at}" for at in range(_BATCH))
            produce(world.servers, topic, [_produced(world, name, 0) for name in names])
    _damage(cluster, topics)
    settings = world.settings(KAFKA_TOPIC=",".join(topics))
    connector = world.unstarted().start(settings)
    eventually(
        lambda: [_committed(world, topic) for topic in topics] == [{0: _BATCH}] * 2, "it is committed up to there", 60
    )
    assert connector.stop() == 0
    for topic in topics:
        commit(world.servers, world.group, topic, {0: 2 * _BATCH})

    connector.start(settings)

    what = f"the committed offset {2 * _BATCH} is not this connector's, and the record at offset {_BATCH} below it has no"

    def printed() -> set[str]:
        sentences = [line["message"] for line in connector.log("operator_needed") if what in line["message"]]
        return {value for sentence in sentences for value in re.findall(r"ACCEPT=(\S+)", sentence)}

    eventually(lambda: len(printed()) == 2, "it prints a value for each", 60)
    values = ",".join(printed())
    assert connector.stop() == 0
    connector.start(settings | {"ACCEPT": values})
    unread = {f"{topic}-{offset}" for topic in topics for offset in range(_BATCH, 2 * _BATCH)}
    everything = {f"{topic}-{offset}" for topic in topics for offset in range(3 * _BATCH)}
    eventually(lambda: world.sandbox.accepted() == dict.fromkeys(everything - unread, 1), "the others are sent, once", 60)
    connector.until_ready()
