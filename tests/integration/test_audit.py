"""``connector audit`` accounts for every offset: beside a live connector, after one, and where something is missing."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.integration.brokers import (
    Produced,
    alter_topic,
    commit,
    create_topic,
    delete_records,
    delete_topic,
    end_offsets,
    produce,
    read_topic,
)
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.program import Transactions, World
from tests.patience import eventually, patience

_FATES = ("delivered", "dead_lettered", "duplicate", "stale", "ignored")
_NOTHING = b"not Avro at all"


def _audit(world: World, *arguments: str, **changes: str | None) -> tuple[int, dict[Any, Any]]:
    """Return exit code and account of the one topic, with its partitions by number."""
    done = world.command("audit", "--json", *arguments, **changes)
    assert done.stdout, done.stderr
    whole = json.loads(done.stdout)
    (topic,) = whole["topics"]
    assert whole["accounted_for"] == topic["accounted_for"] == (done.returncode == 0)
    return done.returncode, topic | {each["partition"]: each for each in topic["partitions"]}


def _counts(account: dict[str, Any]) -> dict[str, int]:
    """Return what is not zero of a partition's account."""
    rows = (*_FATES, "pending", "letter_only", "before_start", "forgotten", "unaccounted", "letters_missing", "gaps")
    return {name: account[name] for name in rows if account[name]}


def _stopped_after(world: World, *records: Any, **outcomes: int) -> None:
    world.create_topic()
    world.produce(*records)
    connector = world.connector()
    connector.until_resolved(**outcomes)
    world.until_committed_to_the_end()
    assert connector.stop() == 0


def test_account_closes_after_a_run_with_every_fate(world: World) -> None:
    world.create_topic(3)
    world.sandbox.set_faults(reject_names=["refused"])
    stale = event("stale", timestamp=now_ms() - 8 * DAY_MS)
    for partition in range(2):
        world.produce(
            event(f"a{partition}"),
            event(f"a{partition}"),
            event(None),
            stale,
            Produced(None, b"key", partition=partition),
            Produced(_NOTHING, b"key", partition=partition),
            event("refused", name="refused"),
            partition=partition,
        )
    connector = world.connector()
    connector.until_resolved(delivered=4, duplicate=2, stale=2, ignored=2, dead_lettered=4)
    world.until_committed_to_the_end()

    code, account = _audit(world)

    assert code == 0
    for partition in range(2):
        counts = {"delivered": 2, "duplicate": 1, "stale": 1, "ignored": 1, "dead_lettered": 2}
        assert _counts(account[partition]) == counts
        assert (account[partition]["committed_offset"], account[partition]["records"]) == (7, 7)
    assert (_counts(account[2]), account[2]["committed_offset"]) == ({}, None)
    assert (account["copies_across_partitions"], account["copies_within_a_partition"]) == (0, 0)

    screen = world.command("audit")
    assert screen.returncode == 0
    assert screen.stderr == ""
    assert "all records accounted for" in screen.stdout
    assert f"group {world.group}" in screen.stdout


def test_copies_in_two_partitions_are_counted(world: World) -> None:
    world.create_topic(3)
    for partition in (0, 1, 2):
        world.produce(event("order-1"), partition=partition)
    world.connector().until_resolved(delivered=3)
    world.until_committed_to_the_end()

    code, account = _audit(world)

    assert (code, account["copies_across_partitions"], account["copies_within_a_partition"]) == (0, 2, 0)
    assert "2 copies were delivered from another partition" in world.command("audit").stdout


def test_topic_that_no_connector_has_touched_is_pending(world: World) -> None:
    world.create_topic(2)
    world.produce(event("1"), event("2"))
    code, account = _audit(world)
    assert (code, _counts(account[0]), _counts(account[1])) == (0, {"pending": 2}, {})


def test_records_that_an_operators_commit_skipped_are_unaccounted_and_named(world: World) -> None:
    _stopped_after(world, event("1"), event("2"), delivered=2)
    world.produce(*(event(str(number)) for number in range(3, 8)))
    commit(world.servers, world.group, world.topic, {0: 5})

    code, account = _audit(world)

    assert code == 1
    assert _counts(account[0]) == {"delivered": 2, "unaccounted": 3, "pending": 2}
    assert account[0]["unaccounted_offsets"] == [2, 3, 4]
    screen = world.command("audit")
    assert screen.returncode == 1
    assert "3 records below the committed offset have neither a fact nor a dead letter: a commit that was" in screen.stdout
    assert f"{world.topic}-0@2, {world.topic}-0@3, {world.topic}-0@4" in screen.stdout
    assert "3 records unaccounted for, 0 dead letters missing" in screen.stdout


def test_records_before_a_start_from_now_are_not_unaccounted(world: World) -> None:
    world.create_topic()
    world.produce(*(event(f"order-{number}") for number in range(3)))
    commit(world.servers, world.group, world.topic, {0: 3})
    world.produce(event("3"))
    connector = world.connector()
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()
    assert connector.stop() == 0

    code, account = _audit(world)
    assert (code, _counts(account[0])) == (0, {"delivered": 1, "before_start": 3})

    world.produce(event("4"), event("5"))
    commit(world.servers, world.group, world.topic, {0: 6})
    code, account = _audit(world)
    assert (code, _counts(account[0])) == (1, {"delivered": 1, "before_start": 3, "unaccounted": 2})


def test_facts_that_were_lost_with_the_ledger_are_missed(world: World) -> None:
    _stopped_after(world, event("1"), Produced(_NOTHING), Produced(None), delivered=1, dead_lettered=1, ignored=1)
    delete_topic(world.servers, world.ledger)

    code, account = _audit(world)

    assert (code, _counts(account[0])) == (1, {"unaccounted": 2, "letter_only": 1})


def test_facts_that_the_ledgers_retention_deleted_are_forgotten_and_those_it_could_not_have_are_missed(world: World) -> None:
    old = now_ms() - 9 * DAY_MS
    _stopped_after(
        world, Produced(None, timestamp_ms=old), Produced(None, timestamp_ms=old), event("1"), ignored=2, delivered=1
    )
    delete_records(world.servers, world.ledger, end_offsets(world.servers, world.ledger)[0])

    code, account = _audit(world)

    assert (code, _counts(account[0])) == (1, {"forgotten": 2, "unaccounted": 1})
    assert account[0]["unaccounted_offsets"] == [2]


def test_letter_that_is_not_there_is_missed(world: World) -> None:
    _stopped_after(world, Produced(_NOTHING, b"1"), Produced(_NOTHING, b"2"), event("1"), dead_lettered=2, delivered=1)
    (kept, _) = sorted(read_topic(world.servers, world.dead_letters), key=lambda letter: letter.key() or b"")
    delete_topic(world.servers, world.dead_letters)
    create_topic(world.servers, world.dead_letters)
    produce(world.servers, world.dead_letters, [Produced(kept.value(), kept.key(), kept.headers())])  # type: ignore[arg-type]  # its stub types headers wider

    code, account = _audit(world)

    assert (code, _counts(account[0])) == (1, {"delivered": 1, "dead_lettered": 2, "letters_missing": 1})
    assert account[0]["letters_missing_offsets"] == [1]
    screen = world.command("audit").stdout
    assert "their dead letters are missing" in screen
    assert f"{world.topic}-0@1" in screen


def test_letter_that_was_deleted_is_said_and_is_missing_all_the_same(world: World) -> None:
    _stopped_after(world, Produced(_NOTHING), dead_lettered=1)
    assert _audit(world)[0] == 0
    delete_records(world.servers, world.dead_letters, 1)

    code, account = _audit(world)

    assert (code, account["letters_deleted"], account[0]["letters_missing"]) == (1, True, 1)
    screen = world.command("audit").stdout
    assert "the dead-letter topic deleted records (by its settings, or an operator did)" in screen
    assert f"{world.topic}-0@0" in screen
    assert "every dead letter is there" not in screen


@pytest.mark.parametrize(
    "forgets",
    [{"retention_ms": "604800000"}, {"retention_bytes": "1000000000"}, {"cleanup_policy": "compact"}],
    ids=["by time", "by size", "by key"],
)
def test_letter_that_its_topic_may_have_deleted_is_said_so(world: World, forgets: dict[str, str]) -> None:
    """Compaction leaves the beginning of the log where it was."""
    _stopped_after(world, Produced(_NOTHING, b"key"), dead_lettered=1)
    delete_topic(world.servers, world.dead_letters)
    create_topic(world.servers, world.dead_letters, 1, **{"retention_ms": "-1"} | forgets)

    code, account = _audit(world)

    assert (code, account["letters_deleted"], account[0]["letters_missing"]) == (1, True, 1)


def test_letter_that_was_deleted_with_its_record_is_missing_all_the_same(world: World) -> None:
    """By Kafka's default both live seven days, and a letter has the time of its record."""
    _stopped_after(world, Produced(_NOTHING), Produced(_NOTHING), event("1"), dead_lettered=2, delivered=1)
    delete_records(world.servers, world.topic, 2)
    code, account = _audit(world)
    assert (code, account[0]["letters_missing"]) == (0, 0)

    delete_records(world.servers, world.dead_letters, 1)

    code, account = _audit(world)
    assert (code, account["letters_deleted"], account[0]["letters_missing"]) == (1, True, 1)
    assert account[0]["letters_missing_offsets"] == [0]
    assert _audit(world, "--since", "2020-01-01T00:00:00Z")[0] == 0  # of the log's own records alone


def test_another_groups_letters_are_not_this_groups(world: World) -> None:
    world.create_topic()
    world.produce(Produced(_NOTHING))
    other = f"{world.group}-other"
    for group in (world.group, other):
        connector = world.connector(KAFKA_GROUP_ID=group)
        connector.until_resolved(dead_lettered=1)
        connector.stop()
    mine = [letter for letter in read_topic(world.servers, world.dead_letters) if other.encode() not in _values(letter)]
    assert len(mine) == 1
    delete_topic(world.servers, world.dead_letters)
    create_topic(world.servers, world.dead_letters)
    produce(world.servers, world.dead_letters, [Produced(mine[0].value(), None, mine[0].headers())])  # type: ignore[arg-type]  # its stub types headers wider

    assert _audit(world)[0] == 0
    assert _audit(world, KAFKA_GROUP_ID=other)[0] == 1


def _values(letter: Any) -> list[bytes]:
    return [value for _, value in letter.headers()]


def test_topic_made_anew_owes_nothing_to_the_old_ones_facts_and_letters(world: World) -> None:
    _stopped_after(world, Produced(_NOTHING), event("1"), dead_lettered=1, delivered=1)
    delete_topic(world.servers, world.topic)
    world.create_topic()
    world.produce(event("2"))

    code, account = _audit(world)

    assert (code, _counts(account[0]), account[0]["committed_offset"]) == (0, {"pending": 1}, None)
    assert account["facts_of_another_topic"] == 2


def test_records_of_transactions_count_and_aborted_ones_are_gaps(world: World) -> None:
    world.create_topic()
    transactions = Transactions(world)
    transactions.commit("kept")
    transactions.abort("aborted")
    world.produce(event("final-1"))
    world.connector().until_resolved(delivered=2)
    eventually(lambda: world.committed() == {0: 5}, "it has committed")

    transactions.begin("still open")
    code, account = _audit(world)
    transactions.roll_back()

    assert (code, _counts(account[0])) == (0, {"delivered": 2, "gaps": 3})
    assert account[0]["end_offset"] == 5


def test_since_leaves_out_what_came_before(world: World) -> None:
    _stopped_after(world, event("1"), delivered=1)
    early, late = now_ms() - 3 * 3_600_000, now_ms()
    world.produce(*(Produced(world.value(event(str(at))), timestamp_ms=at) for at in (early, late)))
    commit(world.servers, world.group, world.topic, {0: 3})

    assert _audit(world)[1][0]["unaccounted_offsets"] == [1, 2]
    code, account = _audit(world, "--since", "2h")
    # By Kafka's index of times: from the first record that is not older, and that is the first one.
    assert (code, account[0]["first_offset"]) == (1, 0)
    future = world.command("audit", "--json", "--since", "2100-01-01T00:00Z")
    assert future.returncode == 0
    assert json.loads(future.stdout)["topics"][0]["partitions"][0]["records"] == 0


def test_beside_a_live_connector_there_is_no_false_alarm(world: World) -> None:
    world.create_topic(4)
    world.sandbox.set_faults(fail_503=0.1, reject=0.05, latency_ms=20)
    connectors = [world.connector(LEDGER_FLUSH_INTERVAL="20ms") for _ in range(2)]
    stop = threading.Event()

    def feed() -> None:
        number = 0
        while not stop.wait(patience(0.2)):
            for partition in range(4):
                batch = (event(f"order-{partition}-{number + extra}") for extra in range(40))
                world.produce(*batch, Produced(_NOTHING, partition=partition), partition=partition)
            number += 30  # some of them are copies

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        eventually(world.sandbox.accepted, "they deliver", 60)
        accounts = [_audit(world) for _ in range(4)]
        connectors[0].kill()
        accounts += [_audit(world) for _ in range(2)]
    finally:
        stop.set()
        feeding.join()
    assert [code for code, _ in accounts] == [0] * len(accounts)
    assert sum(each["delivered"] for each in accounts[-1][1]["partitions"]) > 0
    assert sum(each["dead_lettered"] for each in accounts[-1][1]["partitions"]) > 0
    assert any(each["pending"] for _, account in accounts for each in account["partitions"])


def test_many_partitions_are_one_account(world: World) -> None:
    world.create_topic(40)
    for partition in range(40):
        world.produce(event(f"order-{partition}"), partition=partition)
    world.connector().until_resolved(delivered=40)
    world.until_committed_to_the_end()
    code, account = _audit(world)
    assert (code, sum(each["delivered"] for each in account["partitions"])) == (0, 40)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Failed: "),
        ({"KAFKA_TOPIC": "no-such-topic"}, "topic no-such-topic does not exist"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(world: World, changes: dict[str, str | None], sentence: str) -> None:
    done = world.command("audit", **changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_ledger_of_another_group_is_refused(world: World) -> None:
    _stopped_after(world, event("1"), delivered=1)
    done = world.command("audit", KAFKA_GROUP_ID="another", LEDGER_TOPIC=world.ledger)
    assert done.returncode == 1
    assert f"holds facts of topic '{world.topic}', group '{world.group}'" in done.stderr


def test_it_changes_nothing(world: World) -> None:
    _stopped_after(world, event("1"), Produced(_NOTHING), delivered=1, dead_lettered=1)
    alter_topic(world.servers, world.topic, retention_ms="-1")
    names = (world.topic, world.ledger, world.dead_letters)
    before = [end_offsets(world.servers, name) for name in names], world.committed()
    assert _audit(world)[0] == 0
    assert ([end_offsets(world.servers, name) for name in names], world.committed()) == before
