"""A dead letter is the record byte for byte, with headers that say why and where it stood."""

from __future__ import annotations

import re
from random import Random

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME

from tests.integration.brokers import (
    Produced,
    alter_topic,
    create_topic,
    delete_records,
    delete_topic,
    headers_of,
    produce,
    read_topic,
    topic_settings,
)
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.program import World
from tests.patience import eventually

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


def test_compacted_dead_letter_topic_is_refused_with_the_command_that_fixes_it(world: World) -> None:
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
    ("forgets", "fixed"),
    [
        ({"retention_ms": "604800000"}, {"retention_ms": "-1"}),
        ({"retention_ms": "-1", "retention_bytes": "1000000"}, {"retention_bytes": "-1"}),
        ({"retention_ms": "-1", "cleanup_policy": "compact,delete"}, {"cleanup_policy": "delete"}),
        ({"retention_ms": "-1", "unclean_leader_election_enable": "true"}, {"unclean_leader_election_enable": "false"}),
    ],
    ids=["by time", "by size", "by key", "by an election"],
)
def test_dead_letter_topic_that_forgets_is_refused_until_it_is_fixed_or_accepted(
    world: World, forgets: dict[str, str], fixed: dict[str, str]
) -> None:
    world.create_topic()
    create_topic(world.servers, world.dead_letters, 1, **forgets)
    world.produce(Produced(b"\x01", b"k"))
    ((setting, value),) = fixed.items()
    command = f"--entity-name {world.dead_letters} --add-config {setting.replace('_', '.')}={value}"

    connector = world.connector()
    said = connector.until_said("operator_needed", message=command)
    assert connector.page("/readyz")[0] == 503
    checked = world.command("check")
    assert (checked.returncode, command in checked.stdout) == (1, True)
    assert world.fates() == {}
    assert connector.stop() == 0

    found = re.search(r"ACCEPT=(\S+)", said["message"])
    assert found is not None
    assert "which was accepted" in world.command("check", ACCEPT=found[1]).stdout
    connector.start(world.settings(ACCEPT=found[1]))
    connector.until_resolved(dead_lettered=1)
    assert connector.stop() == 0
    # Another way to forget is another case.
    alter_topic(world.servers, world.dead_letters, retention_ms="1000000", retention_bytes="1000001")
    assert "would lose letters" in world.command("check", ACCEPT=found[1]).stdout
    alter_topic(world.servers, world.dead_letters, **{"retention_ms": "-1", "retention_bytes": "-1"} | fixed)
    assert world.command("check").returncode == 0
    connector.start(world.settings())
    connector.until_ready()


def test_topics_of_ours_that_change_under_a_running_member_are_refused_until_they_are_fixed_or_made_again(
    world: World,
) -> None:
    """The dead-letter topic would forget, then the ledger; then the dead-letter topic is deleted."""
    world.create_topic()
    connector = world.unstarted().start(world.settings(), ("tests.integration.hurried", "run"))
    world.produce(event("1"), Produced(b"\x01", b"k"))
    connector.until_resolved(delivered=1, dead_lettered=1)
    world.until_committed_to_the_end()

    changes = [
        (world.dead_letters, {"cleanup_policy": "compact"}, {"cleanup_policy": "delete"}),
        (world.ledger, {"retention_ms": "60000"}, {"retention_ms": str(8 * DAY_MS)}),
    ]
    for number, (topic, wrong, fixed) in enumerate(changes):
        alter_topic(world.servers, topic, **wrong)
        ((name, value),) = fixed.items()
        command = f"--entity-name {topic} --add-config {name.replace('_', '.')}={value}"
        connector.until_said("topics_changed", topic=world.topic, message=command)
        said = connector.until_said("operator_needed", message=command)
        assert connector.page("/readyz")[0] == 503
        world.produce(Produced(b"\x01", b"k"), event("1"))
        alter_topic(world.servers, topic, **fixed)
        connector.until_said("operator_no_longer_needed", message=said["message"])
        connector.until_resolved(delivered=1, dead_lettered=2 + number, duplicate=1 + number)

    delete_topic(world.servers, world.dead_letters)
    connector.until_said("topics_changed", message=f"topic {world.dead_letters} is gone")
    eventually(lambda: world.dead_letters in world.topics(), "it is made again")
    world.produce(Produced(b"\x01", b"k"))
    connector.until_resolved(delivered=1, dead_lettered=4, duplicate=2)
    connector.until_ready()
    assert topic_settings(world.servers, world.dead_letters)["retention.ms"] == "-1"
    assert connector.stop() == 0
    assert world.sandbox.accepted() == {"1": 1}


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
    alter_topic(world.servers, world.dead_letters, max_message_bytes="100")
    world.produce(Produced(b"\x01" + b"x" * 1000, b"large", _HEADERS))
    world.produce(event("on another partition"), partition=1)

    said = connector.until_said("dead_letter_not_written", code="MSG_SIZE_TOO_LARGE", topic=world.dead_letters)
    assert f"Dead letters are larger than {world.dead_letters} accepts: raise its max.message.bytes" in said["message"]
    eventually(lambda: connector.metrics().get('connector_paused{reason="dead_letter"}') == 1, "it says that it waits")
    connector.until_resolved(delivered=1)
    assert not world.committed().get(0), "at most the beginning"
    connector.until_said("operator_needed", message="raise its max.message.bytes")

    alter_topic(world.servers, world.dead_letters, max_message_bytes="1048588")
    connector.until_resolved(delivered=1, dead_lettered=1)
    world.until_committed_to_the_end()
    (letter,) = read_topic(world.servers, world.dead_letters)
    assert letter.value() == b"\x01" + b"x" * 1000, "whole, now that the topic takes it"
    assert headers_of(letter)[: len(_HEADERS)] == _HEADERS


# ---- letters that do not fit


_RANDOM = Random(13)


def test_letter_that_the_source_took_compressed_is_compressed_too(world: World) -> None:
    world.create_topic()
    body = b"\x01" + _RANDOM.randbytes(3_000) * 1_000
    produce(world.servers, world.topic, [Produced(body, b"large")], **{"compression.type": "zstd"})

    world.connector().until_resolved(dead_lettered=1)

    (letter,) = read_topic(world.servers, world.dead_letters)
    assert letter.value() == body
    assert int(topic_settings(world.servers, world.dead_letters)["max.message.bytes"]) < len(body)


@pytest.mark.parametrize(
    ("record", "lacks"),
    [
        pytest.param(Produced(b"\x01" + _RANDOM.randbytes(50_000), b"k", _HEADERS), "value", id="value"),
        pytest.param(Produced(b"\x01", b"k", [("h", _RANDOM.randbytes(50_000)), *_HEADERS]), "headers", id="headers"),
        pytest.param(Produced(b"\x01", _RANDOM.randbytes(50_000), _HEADERS), "key", id="key"),
        pytest.param(
            Produced(b"\x01", b"k", [(f"h{number}", _RANDOM.randbytes(10)) for number in range(4_000)]), "headers", id="many"
        ),
        pytest.param(
            Produced(b"\x01" + _RANDOM.randbytes(90_000), _RANDOM.randbytes(50_000), [("h", _RANDOM.randbytes(60_000))]),
            "value, headers, key",
            id="all",
        ),
    ],
)
def test_letter_larger_than_its_topic_takes_is_written_without_its_largest_parts_and_replayed_whole(
    world: World, record: Produced, lacks: str
) -> None:
    world.create_topic()
    create_topic(world.servers, world.dead_letters, max_message_bytes="20000", retention_ms="-1")
    small = [Produced(b"\x01 small %d" % number, b"s") for number in range(200)]
    world.produce(*small[:100], record, *small[100:])

    connector = world.connector(DEAD_LETTER_MAX_RATIO="0")
    connector.until_resolved(dead_lettered=201)
    world.until_committed_to_the_end()

    letters = {
        int(dict(headers_of(letter))["connector.offset"] or b""): letter
        for letter in read_topic(world.servers, world.dead_letters)
    }
    assert letters.keys() == set(range(201))
    assert [letters[at].value() for at in letters if at != 100] != []
    assert all(
        (letters[at].value(), letters[at].key(), len(headers_of(letters[at]))) == (each.value, b"s", 8)
        for at, each in zip([*range(100), *range(101, 201)], small, strict=True)
    )
    cut = letters[100]
    assert dict(headers_of(cut))["connector.left-out"] == lacks.encode()
    assert cut.value() == (None if "value" in lacks else record.value)
    assert cut.key() == (None if "key" in lacks else record.key)
    assert len(headers_of(cut)) == (9 if "headers" in lacks else 9 + len(record.headers))
    said = connector.until_said("dead_letter_not_written", topic=world.dead_letters)
    assert "raise its max.message.bytes" in said["message"]
    assert world.command("audit").returncode == 0

    replay = world.command("replay", "--yes")
    assert "replayed 201 of 201 dead letters" in replay.stdout, replay.stdout + replay.stderr
    (copy,) = [
        each
        for each in read_topic(world.servers, world.topic)[201:]
        if dict(headers_of(each)).get("connector.replay-of") == f"{world.topic}-0@100".encode()
    ]
    assert (copy.value(), copy.key(), headers_of(copy)[:-3]) == (record.value, record.key, list(record.headers))
    connector.until_resolved(dead_lettered=402)
    again = read_topic(world.servers, world.dead_letters)[201:]
    (cut_again,) = [each for each in again if "connector.left-out" in dict(headers_of(each))]
    assert dict(headers_of(cut_again))["connector.replays"] == b"1"
    assert "replayed and dead-lettered again" in world.command("replay", "--dry-run").stdout


@pytest.mark.parametrize(
    "settings",
    [{"KAFKA_MESSAGE_MAX_BYTES": "20000"}, {"KAFKA_QUEUE_BUFFERING_MAX_KBYTES": "20"}],
    ids=["client's bound", "client's queue"],
)
def test_letter_larger_than_the_client_takes_is_written_without_its_value(world: World, settings: dict[str, str]) -> None:
    world.create_topic()
    world.produce(Produced(b"\x01" + b"x" * 50_000, b"k"), Produced(b"\x01 small", b"k"))

    world.connector(**settings).until_resolved(dead_lettered=2)

    found = read_topic(world.servers, world.dead_letters)
    assert {letter.value() for letter in found} == {None, b"\x01 small"}


def test_letter_whose_record_is_gone_is_not_replayed_and_the_others_are(world: World) -> None:
    world.create_topic()
    create_topic(world.servers, world.dead_letters, max_message_bytes="20000", retention_ms="-1")
    world.produce(Produced(b"\x01" + _RANDOM.randbytes(50_000), b"k"), Produced(b"\x01 small", b"k"))
    connector = world.connector()
    connector.until_resolved(dead_lettered=2)
    world.until_committed_to_the_end()
    delete_records(world.servers, world.topic, 1)

    replay = world.command("replay", "--yes")

    assert "the source topic no longer has the record" in replay.stdout, replay.stdout + replay.stderr
    assert "replayed 1 of 1 dead letters" in replay.stdout
    assert [each.value() for each in read_topic(world.servers, world.topic)] == [b"\x01 small"] * 2


def test_record_that_a_source_compacted_by_now_refuses_is_said_to_need_a_key(world: World) -> None:
    world.create_topic()
    world.produce(Produced(b"\x01 without", None), Produced(b"\x01 with", b"k"))
    world.connector().until_resolved(dead_lettered=2)
    world.until_committed_to_the_end()
    alter_topic(world.servers, world.topic, cleanup_policy="compact")

    replay = world.command("replay", "--yes")

    assert replay.returncode == 1, replay.stdout + replay.stderr
    assert "replayed 1 of 2 dead letters" in replay.stdout
    assert "(INVALID_RECORD): where its cleanup.policy has compact, it takes no record without a key" in replay.stdout


def test_record_that_the_source_refuses_in_a_replay_stays_and_the_others_are_replayed(world: World) -> None:
    world.create_topic()
    large = b"\x01" + _RANDOM.randbytes(50_000)
    small = [Produced(b"\x01 small %d" % number, b"s") for number in range(20)]
    world.produce(*small[:7], Produced(large, b"large"), *small[7:])
    connector = world.connector()
    connector.until_resolved(dead_lettered=21)
    world.until_committed_to_the_end()
    alter_topic(world.servers, world.topic, max_message_bytes="20000")

    replay = world.command("replay", "--yes")

    assert replay.returncode == 1, replay.stdout + replay.stderr
    assert "replayed 20 of 21 dead letters" in replay.stdout
    assert "1 letters stay, because the source topic refuses their records" in replay.stdout
    assert "MSG_SIZE_TOO_LARGE" in replay.stdout
    assert f"raise its max.message.bytes by 1 KB: {world.topic}-0@7" in replay.stdout
    assert sorted(each.value() or b"" for each in read_topic(world.servers, world.topic)[21:]) == sorted(
        each.value or b"" for each in small
    )
    alter_topic(world.servers, world.topic, max_message_bytes="1048588")
    replay = world.command("replay", "--yes")
    assert (replay.returncode, "replayed 1 of 1 dead letters" in replay.stdout) == (0, True), replay.stdout
    assert read_topic(world.servers, world.topic)[-1].value() == large


def test_letters_whose_times_their_topic_does_not_take_cost_the_others_of_their_batch_nothing(world: World) -> None:
    """Kafka's client reports INVALID_RECORD for several in one batch, and for the others that they were with them."""
    world.create_topic(message_timestamp_after_max_ms=_ANY_TIME)
    create_topic(world.servers, world.dead_letters, message_timestamp_after_max_ms="3600000", retention_ms="-1")
    began, ahead = now_ms(), now_ms() + 2 * 3_600_000
    records = [Produced(b"\x01 %d" % at, b"k", timestamp_ms=ahead if at % 3 else began - 1_000) for at in range(30)]
    world.produce(*records)

    world.connector().until_resolved(dead_lettered=30)

    for letter in read_topic(world.servers, world.dead_letters):
        record = records[int(dict(headers_of(letter))["connector.offset"] or b"")]
        assert letter.value() == record.value
        if record.timestamp_ms == ahead:
            assert began <= letter.timestamp()[1] < ahead
        else:
            assert letter.timestamp()[1] == record.timestamp_ms
        assert dict(headers_of(letter))["connector.timestamp"] == str(record.timestamp_ms).encode()
