"""Records as other programs write them: header names that are no text, times of 0 and before, headers by the thousand.

Each of them is a record like any other: it is delivered, or becomes a letter that says what it could not keep, and
`audit` and `replay` go on past it.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from confluent_kafka import Producer

from connector.core.letters import LETTER_HEADERS
from tests.integration.brokers import Produced, create_topic, headers_of, produce, read_topic
from tests.integration.events import event, now_ms
from tests.integration.kafka.raw import RawRecord, produce_raw
from tests.integration.program import World
from tests.patience import patience

_LATIN = "Kündnr".encode("latin-1")
_ANY_TIME = str(2**63 - 1)

_WARM = """
import sys
from confluent_kafka import Consumer, TopicPartition
from connector.core.letters import DEDUPE_ID_HEADER
from connector.errors import Undecodable
from connector.intake import Intake, Origin
from connector import model

class Nothing:
    def decode(self, record, waited=0.0):
        if record.value() == b"inputs":
            return {}
        raise Undecodable("no Avro")

    def encode(self, inputs, dedupe_id):
        return dedupe_id.encode()

servers, topic, count = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": servers, "group.id": "warm", "auto.offset.reset": "earliest"})
consumer.assign([TopicPartition(topic, 0, 0)])
intake, origin, records = Intake(Nothing(), Nothing(), ()), Origin(model.TopicPartition(topic, 0), 1, "c", "t"), []
while len(records) < int(count):
    records += consumer.consume(100, 1.0)
for record in records:
    intake.read(origin, [record])
    origin.derived_id(record)
poll, lacking = intake.read(origin, records)
assert lacking is None
print(len(poll.sizes), sum(poll.sizes))
"""


def test_header_name_that_is_no_text_is_read_safely_where_the_call_is_warm(kafka: str, world: World) -> None:
    """In a process of its own: what went wrong here was a segmentation fault, which only a parent can see."""
    world.create_topic(retention_ms="-1")
    sound = RawRecord(b"inputs", headers=[(b"trace", b"1")], timestamp_ms=1)
    broken = RawRecord(b"inputs", headers=[(b"trace", b"1"), (_LATIN, b"755")], timestamp_ms=1)
    records = [sound] * 60 + [broken, sound, broken, broken]
    produce_raw(kafka, world.topic, records)

    warm = subprocess.run(
        [sys.executable, "-c", _WARM, kafka, world.topic, str(len(records))],
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )

    assert (warm.returncode, warm.stderr) == (0, "")
    held = len(b"inputs") + 32  # the payload is the derived id
    assert warm.stdout.split() == [str(len(records)), str(len(records) * held + 61 * len("trace1"))]


def test_event_with_a_header_name_that_is_no_text_is_delivered(world: World) -> None:
    world.create_topic(2, retention_ms="-1")
    odd = RawRecord(world.value(event(None)), b"k", [(b"trace", b"1"), (_LATIN, b"755")], timestamp_ms=5)
    produce_raw(world.servers, world.topic, [odd] * 30)
    world.produce(*(event(f"sound-{number}") for number in range(40)), partition=1)

    connector = world.connector()
    connector.until_resolved(delivered=70)
    world.until_committed_to_the_end()

    assert connector.stop() == 0
    assert len(world.sandbox.accepted()) == 70


def test_letter_of_a_record_whose_headers_cannot_be_read_says_so_and_is_accounted_for_and_replayed(world: World) -> None:
    world.create_topic()
    odd = RawRecord(b"\x01 no Avro", b"k", [(b"trace", b"1"), (_LATIN, b"755")], timestamp_ms=now_ms() - 1_000)
    produce_raw(world.servers, world.topic, [odd, odd])
    connector = world.connector()
    connector.until_resolved(dead_lettered=2)
    world.until_committed_to_the_end()

    first, second = read_topic(world.servers, world.dead_letters)
    assert (first.value(), first.key(), first.timestamp()) == (odd.value, odd.key, (1, odd.timestamp_ms))
    assert [name for name, _ in headers_of(first)] == ["connector.left-out", *LETTER_HEADERS]
    assert dict(headers_of(first))["connector.left-out"] == b"unreadable headers"
    ids = [dict(headers_of(letter))["connector.dedupe-id"] for letter in (first, second)]
    assert ids[0] != ids[1]

    replay = world.command("replay", "--yes")
    assert "replayed 2 of 2 dead letters" in replay.stdout, replay.stdout + replay.stderr
    assert "2 of them had headers with names that are not UTF-8" in replay.stdout
    connector.until_resolved(dead_lettered=4)
    world.until_committed_to_the_end()
    again = read_topic(world.servers, world.topic)[-1]
    assert (again.value(), again.key()) == (odd.value, odd.key)
    assert [name for name, _ in headers_of(again)] == ["connector.dedupe-id", "connector.replay-of", "connector.replays"]
    assert dict(headers_of(again))["connector.dedupe-id"] == ids[1]
    audit = world.command("audit", "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert json.loads(audit.stdout)["accounted_for"]


def test_audit_and_replay_go_on_past_whatever_stands_in_the_dead_letter_topic(world: World) -> None:
    world.create_topic()
    world.produce(Produced(b"\x01", b"k"))
    connector = world.connector()
    connector.until_resolved(dead_lettered=1)
    world.until_committed_to_the_end()
    (letter,) = read_topic(world.servers, world.dead_letters)
    names = [(name.encode(), value) for name, value in headers_of(letter)]
    many = "9" * 5_000

    def like(**changes: bytes | None) -> list[tuple[bytes, bytes | None]]:
        return [(name, changes.get(name.decode().removeprefix("connector."), value)) for name, value in names]

    foreign = [
        RawRecord(None, headers=[(_LATIN, b"1"), *names], timestamp_ms=1),
        RawRecord(b"", headers=[*names, (b"\xff", None)], timestamp_ms=0),
        RawRecord(b"x", headers=[], timestamp_ms=-1),
        RawRecord(b"x", headers=like(offset=many.encode()), timestamp_ms=1),
        RawRecord(b"x", headers=like(partition=many.encode()), timestamp_ms=1),
        RawRecord(b"x", headers=like(partition=b"4294967297"), timestamp_ms=1),
        RawRecord(b"x", headers=like(timestamp=b"-" + many.encode()), timestamp_ms=1),
        RawRecord(b"x", headers=like(timestamp=b"%d" % 2**63, offset=b"755"), timestamp_ms=1),
        RawRecord(b"x", headers=like(reason=b"\xff\xfe", detail=None, topic=b"\xff"), timestamp_ms=1),
        RawRecord(b"x", headers=[(b"h", b"")] * 20_000, timestamp_ms=1),
        RawRecord(b"x", headers=[(b"", None), *names], timestamp_ms=1),
    ]
    for record in foreign:
        produce_raw(world.servers, world.dead_letters, [record])

    audit = world.command("audit", "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    dry = world.command("replay", "--dry-run")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    replay = world.command("replay", "--yes")
    assert replay.returncode == 0, replay.stdout + replay.stderr
    assert b"\x01" in [each.value() for each in read_topic(world.servers, world.topic)[1:]]


@pytest.mark.parametrize(("written", "kept"), [(0, 1), (-1, -1), (-5, -1), (1, 1)])
@pytest.mark.parametrize("compression", ["producer", "gzip"])
def test_letter_and_replay_keep_a_time_of_1970_as_near_as_can_be_written(
    world: World, written: int, kept: int, compression: str
) -> None:
    """librdkafka takes 0 for now; brokers that compress anew fail at times below -1, and refuse whole batches for them."""
    world.create_topic(retention_ms="-1", message_timestamp_before_max_ms=_ANY_TIME)
    create_topic(
        world.servers, world.dead_letters, message_timestamp_before_max_ms=_ANY_TIME, compression_type=compression,
        retention_ms="-1",
    )  # fmt: skip
    produce_raw(world.servers, world.topic, [RawRecord(b"\x01 odd", b"k", timestamp_ms=written)])
    produce(world.servers, world.topic, [Produced(b"\x01 sound", b"k", timestamp_ms=1_700_000_000_000)])

    connector = world.connector()
    connector.until_resolved(dead_lettered=2)
    world.until_committed_to_the_end()

    letter, _ = sorted(read_topic(world.servers, world.dead_letters), key=lambda each: each.timestamp())
    headers = dict(headers_of(letter))
    assert (letter.value(), letter.timestamp()) == (b"\x01 odd", (1, kept))
    assert headers["connector.timestamp"] == str(written).encode()
    replay = world.command("replay", "--yes")
    assert "replayed 2 of 2 dead letters" in replay.stdout, replay.stdout + replay.stderr
    connector.until_resolved(dead_lettered=4)
    again = next(each for each in read_topic(world.servers, world.topic)[2:] if each.value() == b"\x01 odd")
    assert again.timestamp() == (1, kept)
    assert dict(headers_of(again))["connector.dedupe-id"] == headers["connector.dedupe-id"]


def test_headers_by_the_thousand_empty_names_and_no_values_travel_to_the_letter(world: World) -> None:
    world.create_topic(retention_ms="-1")
    headers: list[tuple[bytes, bytes | None]] = [(b"", b"1"), (b"none", None), (b"empty", b"")]
    headers += [(b"h%d" % number, b"%d" % number) for number in range(5_000)]
    produce_raw(world.servers, world.topic, [RawRecord(b"\x01", None, headers, timestamp_ms=5)])

    world.connector().until_resolved(dead_lettered=1)

    (letter,) = read_topic(world.servers, world.dead_letters)
    assert headers_of(letter)[: len(headers)] == [(name.decode(), value) for name, value in headers]


def test_headers_larger_than_could_be_held_are_left_out_of_the_letter_and_are_in_the_replayed_record(world: World) -> None:
    """Compressed, they pass any limit of the brokers."""
    world.create_topic()
    producer = Producer({"bootstrap.servers": world.servers, "compression.type": "zstd", "message.max.bytes": 100_000_000})
    headers: list[tuple[str, str | bytes | None]] = [("trace", bytes(8_000_000)), ("after", b"1")]
    for value in (b"not Avro at all", world.value(event("1"))):
        producer.produce(world.topic, value, headers=headers, partition=0)
    assert producer.flush(patience(30)) == 0

    connector = world.connector()
    connector.until_resolved(delivered=1, dead_lettered=1)

    (letter,) = read_topic(world.servers, world.dead_letters)
    assert [name for name, _ in headers_of(letter)] == ["connector.left-out", *LETTER_HEADERS]
    assert dict(headers_of(letter))["connector.left-out"] == b"headers"
    assert world.command("replay", "--yes").returncode == 0
    again = read_topic(world.servers, world.topic)[-1]
    assert [name for name, _ in headers_of(again)][:2] == ["trace", "after"]
