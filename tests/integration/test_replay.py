"""``connector replay`` puts dead letters back on the source topic: byte for byte, each record once, whatever happens."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Message

from connector.core.letters import LETTER_HEADERS, REPLAY_HEADERS
from tests.integration.brokers import Produced, create_topic, delete_records, end_offsets, headers_of, produce, read_topic
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.program import World
from tests.patience import eventually, patience

_NOTHING = b"not Avro at all"
_HEADERS: list[tuple[str, bytes | None]] = [
    ("trace", b"\x00\xff"),
    ("none", None),
    ("connector.reason", b"a producer's own"),
    ("connector.replays", b"5"),
    ("Ünïcode", "ключ".encode()),
]


_LONG = 6_000
"""Letters whose replay, with a request for each, is still under way when a busy machine has seen it begin."""


def _dead_lettered(world: World, *records: Any, partitions: int = 1, **outcomes: int) -> None:
    """Have records judged, and the connector stopped."""
    world.create_topic(partitions)
    world.produce(*records)
    connector = world.connector(DEAD_LETTER_MAX_CONSECUTIVE="0", DEAD_LETTER_MAX_RATIO="0")
    connector.until_resolved(**(outcomes or {"dead_lettered": len(records)}))
    world.until_committed_to_the_end()
    assert connector.stop() == 0


def _replay(world: World, *arguments: str, **changes: str | None) -> str:
    """Replay without being asked; return what it said."""
    done = world.command("replay", "--yes", *arguments, **changes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def _copies(world: World) -> list[Message]:
    """Return the replayed records of the source topic, as a reader of committed records sees them."""
    return [
        message
        for message in read_topic(world.servers, world.topic)
        if tuple(name for name, _ in headers_of(message)[-3:]) == REPLAY_HEADERS
    ]


def _origins(world: World) -> Counter[str]:
    """Return how often each record was replayed."""
    return Counter((headers_of(message)[-2][1] or b"").decode() for message in _copies(world))


def _id_of(message: Message) -> str:
    return dict(headers_of(message))["connector.dedupe-id"].decode()  # type: ignore[union-attr]  # it has one


def _audit(world: World) -> tuple[int, str]:
    done = world.command("audit")
    return done.returncode, done.stdout + done.stderr


def test_rejected_events_are_delivered_once_the_cause_is_fixed_with_the_ids_they_had(world: World) -> None:
    world.sandbox.set_faults(reject_names=["refused"])
    refused = [event(None, name="refused", value=1.0), event("order-2", name="refused")]
    _dead_lettered(world, event("order-1"), *refused, delivered=1, dead_lettered=2)
    ids = {line["id"] for line in world.sandbox.record() if line["verdict"] == "rejected"}
    world.sandbox.set_faults()

    said = _replay(world)

    assert f"{world.topic}: replayed 2 of 2 dead letters" in said
    originals = read_topic(world.servers, world.topic)[1:3]
    for original, copy in zip(originals, _copies(world), strict=True):
        assert (copy.value(), copy.key(), copy.timestamp()) == (original.value(), original.key(), original.timestamp())
    connector = world.connector(DEAD_LETTER_MAX_CONSECUTIVE="0", DEAD_LETTER_MAX_RATIO="0")
    connector.until_resolved(delivered=2)
    eventually(lambda: len(world.fates()) == 5, "the facts of the copies are in the ledger")
    assert connector.stop() == 0
    assert world.sandbox.accepted() == Counter([*ids, "order-1"])
    assert len(ids) == 2
    assert _audit(world)[0] == 0

    assert "nothing to replay" in _replay(world)
    assert sum(_origins(world).values()) == 2


def test_record_goes_back_byte_for_byte_to_the_partition_it_came_from(world: World) -> None:
    at = now_ms() - 123_456
    records = [
        Produced(b"\x01\x00not Avro\xff", b"k\x00\xfe", _HEADERS, at, partition=2),
        Produced(b"", None, (), at + 1, partition=1),
        Produced(b"\x01", b"", [("connector.dedupe-id", b"mine")], at + 2, partition=0),
    ]
    _dead_lettered(world, *records, partitions=3)

    _replay(world)

    copies = sorted(_copies(world), key=lambda copy: copy.timestamp())
    assert len(copies) == 3
    letters = {letter.timestamp(): letter for letter in read_topic(world.servers, world.dead_letters)}
    for record, copy in zip(records, copies, strict=True):
        assert (copy.value() or b"", copy.key() or b"") == (record.value, record.key or b"")
        assert (copy.partition(), copy.timestamp()[1]) == (record.partition, record.timestamp_ms)
        assert headers_of(copy)[:-3] == list(record.headers)
        letter = dict(headers_of(letters[copy.timestamp()])[-len(LETTER_HEADERS) :])
        assert headers_of(copy)[-3:] == [
            ("connector.dedupe-id", letter["connector.dedupe-id"]),
            ("connector.replay-of", f"{world.topic}-{record.partition}@0".encode()),
            ("connector.replays", b"1"),
        ]


def test_record_goes_back_with_its_own_time_whatever_the_letters_have(world: World) -> None:
    create_topic(world.servers, world.dead_letters, message_timestamp_type="LogAppendTime", retention_ms="-1")
    at = now_ms() - 123_456
    _dead_lettered(world, Produced(_NOTHING, b"k", timestamp_ms=at))

    _replay(world)

    assert [copy.timestamp()[1] for copy in _copies(world)] == [at]


def test_event_that_is_refused_again_is_not_replayed_in_circles(world: World) -> None:
    world.sandbox.set_faults(reject_names=["refused"])
    _dead_lettered(world, event(None, name="refused"))
    (letter,) = read_topic(world.servers, world.dead_letters)
    _replay(world)
    connector = world.connector(DEAD_LETTER_MAX_CONSECUTIVE="0", DEAD_LETTER_MAX_RATIO="0")
    connector.until_resolved(dead_lettered=1)
    eventually(lambda: len(world.fates()) == 2, "its fact is in the ledger")

    said = _replay(world)
    assert "nothing to replay" in said
    assert "raise --max-replays once the cause is fixed" in said
    assert "replayed before" in said
    assert _origins(world) == {f"{world.topic}-0@0": 1}

    world.sandbox.set_faults()
    _replay(world, "--max-replays", "2")
    connector.until_resolved(dead_lettered=1, delivered=1)
    assert world.sandbox.accepted() == Counter([_id_of(letter)])
    (_, again) = _copies(world)
    assert headers_of(again)[-1] == ("connector.replays", b"2")
    assert len(headers_of(again)) == 3
    assert "nothing to replay" in _replay(world, "--max-replays", "9")


def test_dry_run_shows_what_it_would_do_and_changes_nothing(world: World) -> None:
    _dead_lettered(world, Produced(_NOTHING), Produced(_NOTHING))
    names = (world.topic, world.ledger, world.dead_letters)
    before = [end_offsets(world.servers, name) for name in names]

    done = world.command("replay", "--dry-run")

    assert done.returncode == 0
    assert "undecodable" in done.stdout
    assert "a dry run: nothing was written" in done.stdout
    assert [end_offsets(world.servers, name) for name in names] == before


def test_what_was_not_asked_for_stays(world: World) -> None:
    world.sandbox.set_faults(reject_names=["refused"])
    _dead_lettered(world, Produced(_NOTHING), event("1", name="refused"), event("2", name="refused"))

    assert "nothing to replay" in _replay(world, "--reason", "no-verdict", "--reason", "too-large")
    assert "nothing to replay" in _replay(world, "--until", "1h")
    assert "nothing to replay" in _replay(world, "--since", "2100-01-01")
    _replay(world, "--reason", "rejected", "--since", "1h", "--limit", "1")
    assert _origins(world) == {f"{world.topic}-0@1": 1}
    _replay(world, "--reason", "rejected", "--reason", "no-verdict")
    assert _origins(world) == {f"{world.topic}-0@1": 1, f"{world.topic}-0@2": 1}


def test_letters_of_another_group_are_left_to_it(world: World) -> None:
    _dead_lettered(world, Produced(_NOTHING))
    other = world.connector(KAFKA_GROUP_ID=f"{world.group}-other")
    other.until_resolved(dead_lettered=1)
    other.stop()

    said = _replay(world)

    assert "of another group or source topic" in said
    assert _origins(world) == {f"{world.topic}-0@0": 1}
    # The other group reads the same copy, so it replays the record no second time.
    assert "replayed before" in _replay(world, KAFKA_GROUP_ID=f"{world.group}-other")
    assert _origins(world) == {f"{world.topic}-0@0": 1}


def test_what_the_ledger_says_was_delivered_is_not_replayed(world: World) -> None:
    _dead_lettered(
        world, Produced(_NOTHING, headers=[("connector.dedupe-id", b"mine")]), event("1"), dead_lettered=1, delivered=1
    )
    (letter,) = read_topic(world.servers, world.dead_letters)
    # As another member leaves one that gave up on an event for which this one then got a verdict.
    moved = [(name, b"1" if name == "connector.offset" else value) for name, value in headers_of(letter)]
    produce(world.servers, world.dead_letters, [Produced(letter.value(), letter.key(), moved), Produced(b"a stranger's")])

    said = _replay(world)

    assert "delivered after all" in said
    assert "no dead letter of a connector" in said
    assert _origins(world) == {f"{world.topic}-0@0": 1}


def test_what_the_source_topic_would_delete_at_once_is_not_replayed(world: World) -> None:
    old = now_ms() - 8 * DAY_MS
    _dead_lettered(world, Produced(_NOTHING, timestamp_ms=old), Produced(_NOTHING))
    said = _replay(world)
    assert "older than the source topic keeps its records" in said
    assert _origins(world) == {f"{world.topic}-0@1": 1}


def test_old_events_and_marks_that_may_be_gone_are_warned_of(world: World) -> None:
    _dead_lettered(world, Produced(_NOTHING, timestamp_ms=now_ms() - 2 * DAY_MS), Produced(_NOTHING), Produced(_NOTHING))
    delete_records(world.servers, world.topic, 2)
    said = _replay(world, "--dry-run", MAX_EVENT_AGE="1d")
    assert "1 of them were produced longer ago than MAX_EVENT_AGE" in said
    assert "1 of them stand before the first record" in said


def _until_written(world: World, process: subprocess.Popen[str], end: int) -> None:
    """Wait until a replay has brought the source to this end, of whatever part of it readers see; or until it has ended."""

    def written() -> bool:
        return process.poll() is not None or sum(end_offsets(world.servers, world.topic).values()) > end

    eventually(written, "it has written some")


def test_killed_half_way_and_run_again_each_record_is_there_once(world: World) -> None:
    count = 2_000
    _dead_lettered(world, *(Produced(_NOTHING, b"%d" % n, partition=n % 2) for n in range(count)), partitions=2)
    kills = 0
    for part in (0.1, 0.4, 0.7):
        process = _spawn(world, slowly=True)
        _until_written(world, process, sum(end_offsets(world.servers, world.topic).values()) + int(count * part / 2))
        kills += process.poll() is None
        process.kill()
        process.communicate()

    said = _replay(world)

    assert kills
    assert "Run it again" not in said
    assert _origins(world) == {f"{world.topic}-{n % 2}@{n // 2}": 1 for n in range(count)}
    connector = world.connector(DEAD_LETTER_MAX_CONSECUTIVE="0", DEAD_LETTER_MAX_RATIO="0")
    connector.until_resolved(dead_lettered=count)
    connector.stop()
    assert _audit(world)[0] == 0


def test_run_that_slept_while_another_did_its_work_writes_nothing_more(world: World) -> None:
    count = _LONG
    _dead_lettered(world, *(Produced(_NOTHING, b"%d" % n) for n in range(count)))
    sleeper = _spawn(world, slowly=True)
    _until_written(world, sleeper, count + 700)
    assert sleeper.poll() is None
    sleeper.send_signal(signal.SIGSTOP)

    _replay(world)
    sleeper.send_signal(signal.SIGCONT)
    out, errors = sleeper.communicate(timeout=patience(60))

    assert (sleeper.returncode, "another replay took over" in errors, len(errors.splitlines())) == (1, True, 1), errors
    assert "Run it again for the rest" in out
    assert _origins(world) == {f"{world.topic}-0@{n}": 1 for n in range(count)}


@pytest.mark.parametrize(
    ("number", "code", "last"),
    [(signal.SIGINT, 1, "Interrupted.\n"), (signal.SIGTERM, 143, "Ended by SIGTERM before it was done.\n")],
)
def test_interrupted_it_says_what_it_did_and_leaves_nothing_half_done(
    world: World, number: signal.Signals, code: int, last: str
) -> None:
    count = _LONG
    _dead_lettered(world, *(Produced(_NOTHING, b"%d" % n) for n in range(count)))
    process = _spawn(world, slowly=True)
    _until_written(world, process, count + 700)

    process.send_signal(number)
    out, errors = process.communicate(timeout=patience(60))

    assert (process.returncode, errors) == (code, last)
    written = sum(_origins(world).values())
    assert f"replayed {written:,} of {count:,} dead letters. Run it again for the rest" in out
    _replay(world)
    assert _origins(world) == {f"{world.topic}-0@{n}": 1 for n in range(count)}


def test_two_operators_at_once_replay_each_record_once(world: World) -> None:
    count = 2_000
    _dead_lettered(world, *(Produced(_NOTHING, b"%d" % n) for n in range(count)))

    both = [_spawn(world), _spawn(world)]
    said = [process.communicate(timeout=patience(120)) for process in both]

    codes = [process.returncode for process in both]
    assert 0 in codes, said
    for code, (_, errors) in zip(codes, said, strict=True):
        assert code == 0 or "another replay took over" in errors
    assert _origins(world) == {f"{world.topic}-0@{n}": 1 for n in range(count)}


def test_without_a_terminal_it_writes_nothing_unless_told_to(world: World) -> None:
    _dead_lettered(world, Produced(_NOTHING))
    done = world.command("replay")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give --yes, or --dry-run" in done.stderr
    assert _origins(world) == {}


@pytest.mark.parametrize(("answer", "code", "copies"), [("n", 1, 0), ("", 1, 0), ("\x04", 1, 0), ("y", 0, 1)])
def test_on_a_terminal_it_asks_first(world: World, answer: str, code: int, copies: int) -> None:
    _dead_lettered(world, Produced(_NOTHING))
    ours, theirs = pty.openpty()
    process = _spawn(world, yes=False, stdin=theirs)
    os.close(theirs)
    with closing(os.fdopen(ours, "w")) as terminal:
        terminal.write(f"{answer}\n" if answer != "\x04" else answer)
        terminal.flush()
        out, _ = process.communicate(timeout=patience(60))
    assert "Replay 1 dead letters? [y/N]" in out
    assert process.returncode == code
    assert sum(_origins(world).values()) == copies


def test_what_another_run_replayed_while_it_asked_is_not_replayed_again(world: World) -> None:
    _dead_lettered(world, Produced(_NOTHING), Produced(_NOTHING), Produced(_NOTHING))
    ours, theirs = pty.openpty()
    process = _spawn(world, yes=False, stdin=theirs)
    os.close(theirs)
    assert process.stdout is not None
    with closing(os.fdopen(ours, "w")) as terminal:
        said = ""
        while "[y/N]" not in said:
            said += process.stdout.read(1) or pytest.fail(said)
        _replay(world, "--limit", "2")
        terminal.write("y\n")
        terminal.flush()
        out, errors = process.communicate(timeout=patience(60))
    assert (process.returncode, errors) == (0, "")
    assert "replayed 1 of 3 dead letters; 2 were replayed by another run meanwhile" in out
    assert _origins(world) == {f"{world.topic}-0@{n}": 1 for n in range(3)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Failed: "),
        ({"KAFKA_TOPIC": "no-such-topic"}, "topic no-such-topic does not exist"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(world: World, changes: dict[str, str | None], sentence: str) -> None:
    done = world.command("replay", "--yes", **changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def _spawn(
    world: World, *, yes: bool = True, slowly: bool = False, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """Start a replay; ``slowly``, with a request for each record, it can be caught in the middle, and may sleep there."""
    arguments = ["replay", *(["--yes"] if yes else [])]
    if not slowly:
        return world.started(*arguments, stdin=stdin)
    one = {"KAFKA_BATCH_NUM_MESSAGES": "1", "KAFKA_MAX_IN_FLIGHT": "1"}
    return world.started(*arguments, stdin=stdin, program=("-c", _WITH_TIME), **one)


_WITH_TIME = """
import sys
from connector.__main__ import main
from connector.kafka import transactions
transactions._TRANSACTION_MS = 600_000  # what takes longer fails for that alone, and not for what it meets
sys.exit(main(sys.argv[1:]))
"""
