"""Nothing is lost and nothing is counted twice: two processes, one of them killed mid-way, a vendor that fails.

Everything is judged from outside: what was produced, what the sandbox recorded, what lies in the dead-letter and ledger
topics, what the group committed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from zlib import crc32

import pytest
from confluent_kafka.admin import AdminClient

from connector.model import Outcome
from connector.samples import REFUSED_NAME, Fate, Sample, samples
from tests.integration.world import (
    ConnectorProcess,
    Produced,
    World,
    describe_topic,
    eventually,
    now_ms,
    produce,
    read_topic,
)

_EVENTS = 20_000
_PARTITIONS = 6
_KILL_AFTER = 6_000
"""Events received by the sandbox when one process is killed."""
_FLUSH_SECONDS = 0.1
_UNWRITTEN_SECONDS = _FLUSH_SECONDS + 1.0
"""What was acknowledged so shortly before the kill may not have been in the ledger yet (design: point 7). A flush is due
every `_FLUSH_SECONDS`; the rest is for an append, on a loaded machine."""

_LETTERS = {Fate.UNDECODABLE, Fate.REJECTED, Fate.INVALID_FIELD, Fate.NO_MATCH_KEY, Fate.IMPLAUSIBLE_TIME}
_OUTCOMES = {
    Fate.DELIVERED: Outcome.DELIVERED,
    Fate.DUPLICATE: Outcome.DUPLICATE,
    Fate.STALE: Outcome.STALE,
    Fate.IGNORED: Outcome.IGNORED,
} | dict.fromkeys(_LETTERS, Outcome.DEAD_LETTERED)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A sample and where it lies."""

    sample: Sample
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class _Kill:
    """When a process was killed: it ran until some moment between the two."""

    began_ms: int
    ended_ms: int


def _kill(process: ConnectorProcess) -> _Kill:
    began = now_ms()
    process.kill()
    return _Kill(began, now_ms())


def _place_all(world: World) -> list[_Placed]:
    """Produce all samples; return the producer's own list."""
    ends = Counter[int]()
    placed, records, stamp = [], [], now_ms()
    for sample in samples(_EVENTS, stamp, seed=11):
        partition = crc32(sample.key.encode()) % _PARTITIONS
        placed.append(_Placed(sample, partition, ends[partition], stamp))
        ends[partition] += 1
        records.append(Produced(_value(world, sample), sample.key.encode(), timestamp_ms=stamp, partition=partition))
    produce(world.servers, world.topic, records)
    return placed


def _value(world: World, sample: Sample) -> bytes | None:
    if sample.fate is Fate.UNDECODABLE:
        return b"not Avro"
    return None if sample.event is None else world.value(sample.event)


def _expected_ids(world: World, placed: list[_Placed]) -> dict[str, int]:
    """Return the ids that must be accepted, with their partitions; derived from the place where an event has none."""
    admin = AdminClient({"bootstrap.servers": world.servers})
    cluster = admin.describe_cluster().result().cluster_id
    topic_id, _ = describe_topic(world.servers, world.topic)
    ids = {}
    for each in placed:
        if each.sample.fate is Fate.DELIVERED:
            place = f"{cluster}/{topic_id}/{each.partition}/{each.offset}/{each.timestamp_ms}"
            ids[each.sample.dedupe_id or blake2b(place.encode(), digest_size=16).hexdigest()] = each.partition
    return ids


@pytest.mark.timeout(240)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_of_20000_events_none_is_lost_and_none_counted_twice_when_a_process_is_killed(world: World, protocol: str) -> None:
    world.create_topic(_PARTITIONS)
    sandbox = world.another_sandbox()
    sandbox.set_faults(seed=3, fail_503=0.10, withhold=0.02, latency_ms=60, reject_names=[REFUSED_NAME])
    settings = {
        "KAFKA_GROUP_PROTOCOL": protocol,
        "KAFKA_SESSION_TIMEOUT_MS": "6000" if protocol == "classic" else None,
        "AMAZON_BASE_URL": sandbox.url,
        "AMAZON_TOKEN_URL": sandbox.token_url,
        "BATCH_MAX_EVENTS": "25",
        "BUFFER_MAX_EVENTS": "2000",
        "LEDGER_FLUSH_INTERVAL": f"{round(_FLUSH_SECONDS * 1000)}ms",
    }

    killed, other = world.connector(**settings), world.connector(**settings)
    eventually(
        lambda: len(_partitions(killed)) == len(_partitions(other)) == _PARTITIONS // 2, "both have half of the partitions"
    )
    placed = _place_all(world)
    eventually(lambda: sandbox.status()["events"] >= _KILL_AFTER, "the sandbox has received enough", seconds=90)
    held = _partitions(killed)
    kill = _kill(killed)
    theirs = {identifier for identifier, partition in _expected_ids(world, placed).items() if partition in held}
    out_at_kill = [
        line for line in sandbox.record() if line["arrival"] <= kill.began_ms <= (line["answered"] or kill.ended_ms)
    ]
    killed.start(world.settings(**settings))
    eventually(
        lambda: world.committed() == _ends(placed), "committed offsets end at the end of every partition", seconds=150
    )
    assert killed.stop() == 0
    assert other.stop() == 0

    record = sandbox.record()
    accepted = Counter(line["id"] for line in record if line["verdict"] == "accepted")
    assert set(accepted) == _expected_ids(world, placed).keys(), "0 lost, and nothing that should not have been sent"
    withheld = {line["request"] for line in record if line["answer"] == "withheld"}
    assert len(withheld) >= 5, "the faults bit"
    assert theirs & {line["id"] for line in out_at_kill}, "a request of the killed process was out at the kill"

    _check_second_acceptances(record, kill, theirs)
    _check_fates(world, placed)


def _partitions(process: ConnectorProcess) -> set[int]:
    """Return the partitions that a process reads, from its page."""
    _, page = process.page("/")
    return {int(number) for number in re.findall(r"-(\d+)<td>running", page)}


def _ends(placed: list[_Placed]) -> dict[int, int]:
    return {partition: count for partition, count in Counter(each.partition for each in placed).items() if count}


def _check_second_acceptances(record: list[dict[str, Any]], kill: _Kill, theirs: set[str]) -> None:
    """An id is accepted again only if its answer was withheld, or it was the killed process' and in flight, or not yet in
    the ledger, at the kill."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    for line in record:
        if line["verdict"] == "accepted":
            by_id.setdefault(line["id"], []).append(line)
    for identifier, lines in by_id.items():
        assert len({line["digest"] for line in lines}) == 1, f"{identifier} was accepted with two payloads"
        for line in lines[:-1]:
            unread_from = kill.began_ms - _UNWRITTEN_SECONDS * 1000
            unread = (
                identifier in theirs
                and line["arrival"] <= kill.ended_ms
                and (line["answered"] or kill.ended_ms) >= unread_from
            )
            assert line["answer"] == "withheld" or unread, f"{identifier} was accepted again without need: {lines}"


def _check_fates(world: World, placed: list[_Placed]) -> None:
    """Every record has exactly the fate it was made for, and every letter is there."""
    facts = world.fates()
    for each in placed:
        outcomes = set(facts[each.partition, each.offset])
        assert outcomes == {_OUTCOMES[each.sample.fate]}, f"{each} ended as {outcomes}"
    assert len(facts) == len(placed)
    letters: dict[tuple[int, int], set[str]] = {}
    for message in read_topic(world.servers, world.dead_letters):
        raw = message.headers()
        headers = {name: value for name, value in raw if isinstance(value, bytes)} if isinstance(raw, list) else {}
        place = (int(headers["connector.partition"]), int(headers["connector.offset"]))
        letters.setdefault(place, set()).add(headers["connector.reason"].decode())
    wanted = {(each.partition, each.offset): {each.sample.fate.value} for each in placed if each.sample.fate in _LETTERS}
    assert letters == wanted
