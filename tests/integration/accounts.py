"""Gathers the oracle's evidence on a `World`: what the producer wrote, and what brokers and sandbox wrote down.

Commits are read from the brokers' own log of them, so that there is none between two samples that nobody saw.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

from confluent_kafka.admin import AdminClient

from tests.integration.brokers import Produced, describe_topic, end_offsets, headers_of, produce, read_topic
from tests.integration.events import now_ms
from tests.integration.oracle import Account, Breach, Commit, Entry, Interruption, Letter, Source, judge
from tests.integration.program import Sandbox, World
from tests.patience import patience

__all__ = ["account_of", "assert_account_closes", "commits_made", "produce_all"]

_ARRIVES_LATE_SECONDS = 0.5
"""Until a sandbox that has nothing else to do has read what a process had sent when it died."""


def produce_all(world: World, records: Iterable[Source]) -> list[Source]:
    """Produce records in order; return them with their places: the producer's list."""
    ends, stamp, placed = Counter(end_offsets(world.servers, world.topic)), now_ms(), []
    for each in records:
        placed.append(replace(each, offset=ends[each.partition], timestamp_ms=stamp))
        ends[each.partition] += 1
    produce(world.servers, world.topic, [Produced(r.value, r.key, r.headers, stamp, r.partition) for r in placed])
    return placed


def account_of(
    world: World,
    records: Sequence[Source],
    *,
    sandbox: Sandbox | None = None,
    scrapes: Sequence[Mapping[str, float]] = (),
    last_scrapes: Sequence[Mapping[str, float]] = (),
    interruptions: Sequence[Interruption] = (),
    **more: Any,
) -> Account:
    """Gather all evidence there is as of now; ``more`` are other fields of `Account`."""
    topic_id, _ = describe_topic(world.servers, world.topic)
    admin = AdminClient({"bootstrap.servers": world.servers, "log_level": 0})  # in a name: it must outlive what it is asked
    return Account(
        cluster_id=admin.describe_cluster().result().cluster_id,
        topic=world.topic,
        topic_id=topic_id,
        group=world.group,
        records=records,
        received=(sandbox or world.sandbox).record(),
        ledger=[
            Entry(message.partition() or 0, message.offset() or 0, message.timestamp()[1], message.value() or b"")
            for message in read_topic(world.servers, world.ledger)
        ],
        letters=[
            Letter(message.key(), message.value(), message.timestamp()[1], tuple(headers_of(message)))
            for message in read_topic(world.servers, world.dead_letters)
        ],
        commits=commits_made(world.servers, world.group, world.topic),
        scrapes=scrapes,
        last_scrapes=last_scrapes,
        interruptions=interruptions,
        arrives_late_ms=round(patience(_ARRIVES_LATE_SECONDS) * 1000),
        **more,
    )


def assert_account_closes(account: Account) -> None:
    """Fail with every breach that the oracle finds."""
    breaches: list[Breach] = judge(account)
    assert not breaches, "\n".join(f"{invariant}: {what}" for invariant, what in breaches)


# ---- commits, from the brokers' log of them


def commits_made(servers: str, group: str, topic: str) -> list[Commit]:
    """Return every commit the brokers took from a group on a topic, in order."""
    found = []
    for message in read_topic(servers, "__consumer_offsets"):
        key, value = message.key(), message.value()
        if not key or not value:
            continue  # a commit that was deleted, or none
        of = _key(BytesIO(key))
        if of is not None and of[:2] == (group, topic):
            offset, epoch, metadata = _value(BytesIO(value))
            # The Python client commits the NUL that ends a string in C too (seen with 2.x), and drops it where it reads.
            found.append(Commit(of[2], offset, epoch, metadata.rstrip("\0"), message.timestamp()[1]))
    return found


def _key(packed: BytesIO) -> tuple[str, str, int] | None:
    """Read ``OffsetCommitKey`` (Apache Kafka's group-coordinator): group, topic, partition; None for another kind."""
    if _number(packed, "h") > 1:
        return None
    return _text(packed), _text(packed), _number(packed, "i")


def _value(packed: BytesIO) -> tuple[int, int, str]:
    """Read ``OffsetCommitValue``: offset, leader epoch, metadata; of version 4 on its texts are compact."""
    version = _number(packed, "h")
    assert version in {3, 4}, f"a commit of version {version}"
    return _number(packed, "q"), _number(packed, "i"), _text(packed) if version == 3 else _compact_text(packed)


def _number(packed: BytesIO, code: str) -> int:
    (number,) = struct.unpack(f">{code}", packed.read(struct.calcsize(f">{code}")))
    return int(number)


def _text(packed: BytesIO) -> str:
    return packed.read(_number(packed, "h")).decode()


def _compact_text(packed: BytesIO) -> str:
    length = shift = 0
    while (byte := packed.read(1)[0]) > 0x7F:
        length |= (byte & 0x7F) << shift
        shift += 7
    return packed.read((length | byte << shift) - 1).decode()
