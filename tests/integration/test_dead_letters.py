"""A dead letter is the record byte for byte, with headers that say why and where it stood."""

from __future__ import annotations

import re

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME

from tests.integration.world import (
    DAY_MS,
    Produced,
    World,
    alter_topic,
    create_topic,
    event,
    eventually,
    headers_of,
    now_ms,
    produce,
    read_topic,
    topic_settings,
)

_HEADERS: list[tuple[str, bytes | None]] = [
    ("trace", b"\x00\xff"),
    ("none", None),
    ("trace", b""),
    ("connector.reason", b"a producer's own"),
    ("Ünïcode", "ключ".encode()),
]


def test_letter_is_the_record_byte_for_byte_and_says_why_and_where_it_stood(world: World) -> None:
    world.create_topic(2)
    at = now_ms() - 123_456
    records = [
        Produced(b"\x01\x00not Avro\xff", b"k\x00\xfe", _HEADERS, at, partition=1),
        Produced(b"", None, (), at + 1, partition=1),
    ]
    produce(world.servers, world.topic, records)

    connector = world.connector()
    connector.until_resolved(dead_lettered=2)
    letters = {
        dict(headers_of(letter))["connector.offset"]: letter for letter in read_topic(world.servers, world.dead_letters)
    }

    assert letters.keys() == {b"0", b"1"}
    for offset, record in enumerate(records):
        letter = letters[str(offset).encode()]
        assert (letter.value() or b"", letter.key()) == (record.value, record.key)
        assert letter.timestamp() == (TIMESTAMP_CREATE_TIME, record.timestamp_ms)
        assert headers_of(letter)[: len(record.headers)] == list(record.headers)
        added = dict(headers_of(letter)[len(record.headers) :])
        detail, dedupe_id = added.pop("connector.detail"), added.pop("connector.dedupe-id")
        assert added == {
            "connector.reason": b"undecodable",
            "connector.topic": world.topic.encode(),
            "connector.partition": b"1",
            "connector.offset": str(offset).encode(),
            "connector.timestamp": str(record.timestamp_ms).encode(),
            "connector.group": world.group.encode(),
        }
        assert detail
        assert dedupe_id


_ANY_TIME = str(2**63 - 1)


def test_letter_of_any_time_keeps_it(world: World) -> None:
    world.create_topic(message_timestamp_after_max_ms=_ANY_TIME, retention_ms="-1")
    times = [now_ms() + 2 * 3_600_000, now_ms() - 400 * DAY_MS]
    ahead = world.value(event("from tomorrow", timestamp=times[0]))
    world.produce(Produced(ahead, b"k", timestamp_ms=times[0]), Produced(b"\x01", b"k", timestamp_ms=times[1]))

    world.connector().until_resolved(dead_lettered=2)

    letters = read_topic(world.servers, world.dead_letters)
    assert [letter.timestamp() for letter in letters] == [(TIMESTAMP_CREATE_TIME, at) for at in times]
    assert [dict(headers_of(letter))["connector.reason"] for letter in letters] == [b"implausible-time", b"undecodable"]
    settings = topic_settings(world.servers, world.dead_letters)
    assert settings["message.timestamp.before.max.ms"] == settings["message.timestamp.after.max.ms"] == _ANY_TIME


def test_letter_whose_time_an_older_topic_does_not_take_is_written_with_the_time_of_now(world: World) -> None:
    world.create_topic(message_timestamp_after_max_ms=_ANY_TIME)
    create_topic(world.servers, world.dead_letters, retention_ms="-1", message_timestamp_after_max_ms="3600000")
    began, at = now_ms(), now_ms() + 2 * 3_600_000
    world.produce(Produced(b"\x01", b"k", timestamp_ms=at))

    world.connector().until_resolved(dead_lettered=1)

    (letter,) = read_topic(world.servers, world.dead_letters)
    assert began <= letter.timestamp()[1] < at
    assert dict(headers_of(letter))["connector.timestamp"] == str(at).encode()


def test_compacted_dead_letter_topic_is_refused_with_the_command_that_mends_it(world: World) -> None:
    world.create_topic()
    create_topic(world.servers, world.dead_letters, cleanup_policy="compact", retention_ms="-1")
    world.produce(Produced(b"\x01", b"k"))

    connector = world.connector()
    connector.until_said("partition_refused")
    assert f"--entity-name {world.dead_letters} --add-config cleanup.policy=delete" in connector.output
    assert f"dead-letter topic {world.dead_letters} would lose letters" in world.command("check").stdout
    alter_topic(world.servers, world.dead_letters, cleanup_policy="delete")

    connector.until_resolved(dead_lettered=1)


@pytest.mark.parametrize(
    ("forgets", "mended"),
    [
        ({"retention_ms": "604800000"}, {"retention_ms": "-1"}),
        ({"retention_ms": "-1", "retention_bytes": "1000000"}, {"retention_bytes": "-1"}),
        ({"retention_ms": "-1", "cleanup_policy": "compact,delete"}, {"cleanup_policy": "delete"}),
        ({"retention_ms": "-1", "unclean_leader_election_enable": "true"}, {"unclean_leader_election_enable": "false"}),
    ],
    ids=["by time", "by size", "by key", "by an election"],
)
def test_dead_letter_topic_that_forgets_is_refused_until_it_is_mended_or_accepted(
    world: World, forgets: dict[str, str], mended: dict[str, str]
) -> None:
    world.create_topic()
    create_topic(world.servers, world.dead_letters, 1, **forgets)
    world.produce(Produced(b"\x01", b"k"))
    ((setting, value),) = mended.items()
    command = f"--entity-name {world.dead_letters} --add-config {setting.replace('_', '.')}={value}"

    connector = world.connector()
    said = connector.until_said("operator_needed", sentence=command)
    assert connector.page("/readyz")[0] == 503
    checked = world.command("check")
    assert (checked.returncode, command in checked.stdout) == (1, True)
    assert world.fates() == {}
    assert connector.stop() == 0

    found = re.search(r"ACCEPT=(\S+)", said["sentence"])
    assert found is not None
    assert "which was accepted" in world.command("check", ACCEPT=found[1]).stdout
    connector.start(world.settings(ACCEPT=found[1]))
    connector.until_resolved(dead_lettered=1)
    assert connector.stop() == 0
    # Another way to forget is another case.
    alter_topic(world.servers, world.dead_letters, retention_ms="1000000", retention_bytes="1000001")
    assert "would lose letters" in world.command("check", ACCEPT=found[1]).stdout
    alter_topic(world.servers, world.dead_letters, **{"retention_ms": "-1", "retention_bytes": "-1"} | mended)
    assert world.command("check").returncode == 0
    connector.start(world.settings())
    connector.until_ready()


def test_dead_letter_topic_too_small_for_the_source_is_said_by_check(world: World) -> None:
    world.create_topic(max_message_bytes="3000000")
    create_topic(world.servers, world.dead_letters, retention_ms="-1")
    checked = world.command("check")
    assert checked.returncode == 0
    assert "letters of the source's largest records do not fit: set max.message.bytes=3065536" in checked.stdout


def test_letter_as_large_as_the_source_takes_is_written_all_the_same(world: World) -> None:
    world.create_topic(max_message_bytes="3000000")
    body = b"\x01" + b"x" * 2_900_000
    world.produce(Produced(body, b"large", [("h", b"y" * 40_000)]))

    connector = world.connector()
    connector.until_resolved(dead_lettered=1)

    (letter,) = read_topic(world.servers, world.dead_letters)
    assert letter.value() == body
    settings = topic_settings(world.servers, world.dead_letters)
    assert int(settings["max.message.bytes"]) == 3_000_000 + 65_536
    assert (settings["cleanup.policy"], settings["retention.ms"], settings["retention.bytes"]) == ("delete", "-1", "-1")


def test_letter_that_cannot_be_written_pauses_its_partition_until_it_can(world: World) -> None:
    world.create_topic(2)
    connector = world.connector()
    connector.until_ready()
    alter_topic(world.servers, world.dead_letters, max_message_bytes="500")
    world.produce(Produced(b"\x01" + b"x" * 1000, b"large"))
    world.produce(event("on another partition"), partition=1)

    connector.until_said("dead_letter_not_written", code="MSG_SIZE_TOO_LARGE")
    eventually(lambda: connector.metrics()['connector_paused{reason="dead_letter"}'] == 1, "it says that it waits")
    connector.until_resolved(delivered=1)
    assert 0 not in world.committed()

    alter_topic(world.servers, world.dead_letters, max_message_bytes="1048588")
    connector.until_resolved(delivered=1, dead_lettered=1)
    world.until_committed_to_the_end()
