"""A ledger that is not writable, was cut, or is another's; `check` reports it before `run`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from connector.avro import ledger_entry
from connector.avro.ledger_entry import LedgerEntry
from connector.model import Outcome
from tests.avro.ledger_facts import unpacked
from tests.integration.brokers import (
    Produced,
    alter_topic,
    commit,
    committed,
    create_topic,
    delete_records,
    delete_topic,
    describe_topic,
    end_offsets,
    ledger_entries,
    produce,
    read_topic,
)
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.program import World
from tests.patience import eventually

_GOOD = {"retention_ms": "-1", "message_timestamp_type": "LogAppendTime"}


# ---- not writable


# Raising min.insync.replicas does not do: the brokers ask for no more replicas in sync than there are (Kafka 4).
_NO_ROOM, _ROOM = {"max_message_bytes": "60"}, {"max_message_bytes": "1048588"}


@pytest.mark.parametrize(
    ("broken", "code", "fix"),
    [
        (_NO_ROOM, "MSG_SIZE_TOO_LARGE", "raise its max.message.bytes"),
        ({"cleanup_policy": "compact"}, "INVALID_RECORD", "set cleanup.policy=delete"),
    ],
)
def test_ledger_that_refuses_every_entry_holds_back_every_commit_says_so_and_recovers(
    world: World, broken: dict[str, str], code: str, fix: str
) -> None:
    world.create_topic()
    connector = world.connector()
    world.produce(event("before"))
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()

    alter_topic(world.servers, world.ledger, **broken)
    world.produce(event("meanwhile"), event("meanwhile"))
    connector.until_said("facts_not_written", topic=world.ledger, code=code)
    eventually(lambda: world.sandbox.accepted().get("meanwhile") == 1, "it is delivered all the same")
    refusal = f"the ledger {world.ledger} refuses entries ({code}): "
    connector.until_said("operator_needed", message=refusal)
    status, text = connector.page("/readyz")
    assert status == 503
    assert refusal in text
    assert fix in text
    assert world.committed() == {0: 1}
    alter_topic(world.servers, world.ledger, cleanup_policy="delete", **_ROOM)

    connector.until_resolved(delivered=2, duplicate=1)
    eventually(lambda: world.committed() == {0: 3}, "it goes on", 60)
    connector.until_said("operator_no_longer_needed", message=refusal)
    connector.until_ready()
    assert world.sandbox.accepted() == {"before": 1, "meanwhile": 1}
    assert connector.stop() == 0


def test_facts_unconfirmed_are_bounded_and_so_are_those_of_an_entry(world: World) -> None:
    many = 60_000
    world.create_topic()
    connector = world.connector()
    connector.until_ready()
    alter_topic(world.servers, world.ledger, **_NO_ROOM)
    world.produce(*[Produced(None, b"no value")] * many, event("beyond the bound"))

    eventually(lambda: connector.outcomes() == {"ignored": many}, "all are taken in", 60)
    eventually(lambda: connector.metrics().get('connector_paused{reason="ledger"}') == 1, "it says what it waits for")
    assert world.sandbox.record() == []  # an event sent now would be one more fact
    assert world.has_committed_nothing()
    alter_topic(world.servers, world.ledger, **_ROOM)

    connector.until_resolved(ignored=many, delivered=1)
    eventually(lambda: world.committed() == {0: many + 1}, "all is committed", 60)
    lengths = [len(unpacked(entry)) for entry in ledger_entries(world.servers, world.ledger)]
    assert sum(lengths) == many + 1
    assert max(lengths) == 10_000
    assert connector.stop() == 0


# ---- cut, by an operator or by retention


@pytest.mark.parametrize("whole", [True, False], ids=["all", "the front"])
def test_facts_that_were_deleted_before_their_time_are_missed(world: World, *, whole: bool) -> None:
    connector = world.deliver_and_stop(3)
    end = end_offsets(world.servers, world.ledger)[0]
    delete_records(world.servers, world.ledger, end if whole else 1)
    world.produce(event("4"), event("1"))

    connector.start(world.settings())

    what = f"the ledger begins at {end if whole else 1}, but its entry 0 is younger than its retention"
    said = connector.until_said("operator_needed", message=what)
    assert connector.page("/readyz")[0] == 503
    assert what in _wrong(world)
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "3": 1}
    assert connector.stop() == 0

    found = re.search(r"ACCEPT=(\S+)", said["message"])
    assert found is not None
    connector.start(world.settings(ACCEPT=found[1]))
    copies = {"delivered": 2} if whole else {"delivered": 1, "duplicate": 1}
    connector.until_resolved(**copies)
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    connector.start(world.settings())
    connector.until_ready()


def test_facts_deleted_while_a_member_has_the_partition_are_missed_by_the_next(world: World) -> None:
    world.create_topic()
    world.produce(event("1"))
    connector = world.connector()
    connector.until_resolved(delivered=1)
    delete_records(world.servers, world.ledger, end_offsets(world.servers, world.ledger)[0])
    world.produce(event("2"), event("1"))
    connector.until_resolved(delivered=2, duplicate=1)
    world.until_committed_to_the_end()
    assert connector.stop() == 0

    connector.start(world.settings())
    connector.until_said("operator_needed", message="is younger than its retention")


def test_facts_that_retention_deleted_are_not_missed_and_a_commit_of_the_version_before_is_taken(world: World) -> None:
    """A ledger of nine days: its first entries are older than they have to be kept."""
    world.create_topic()
    world.produce(event("1"))
    connector = world.connector()
    connector.until_resolved(delivered=1)
    assert connector.stop() == 0
    entries = [
        Produced(found.value(), timestamp_ms=now_ms() - 9 * DAY_MS) for found in read_topic(world.servers, world.ledger)
    ]
    delete_topic(world.servers, world.ledger)
    create_topic(world.servers, world.ledger, retention_ms="-1", message_timestamp_type="CreateTime")
    produce(world.servers, world.ledger, entries)
    alter_topic(world.servers, world.ledger, retention_ms=str(8 * DAY_MS), message_timestamp_type="LogAppendTime")
    (place,) = committed(world.servers, world.group, world.topic).values()
    source_id, ledger_id = (describe_topic(world.servers, topic)[0] for topic in (world.topic, world.ledger))
    assert place.offset == 1
    commit(world.servers, world.group, world.topic, {0: 1}, f"v1 {source_id} {ledger_id}:{len(entries)}")

    connector.start(world.settings())
    world.produce(event("2"))
    connector.until_resolved(delivered=1)
    assert connector.stop() == 0
    delete_records(world.servers, world.ledger, len(entries))  # as retention does
    connector.start(world.settings())
    world.produce(event("3"))

    connector.until_resolved(delivered=1)
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "3": 1}


def test_ledger_that_is_gone_is_told_by_check_and_refused_by_run(world: World) -> None:
    connector = world.deliver_and_stop(2)
    delete_topic(world.servers, world.ledger)

    assert "the ledger that they rest on does not exist" in _wrong(world)
    connector.start(world.settings())
    connector.until_said("operator_needed", message="the ledger was recreated, but the commit rests on its offset")
    assert "the ledger was recreated, but the commit rests on its offset" in _wrong(world)
    assert world.committed() == {0: 2}


# ---- somebody else's, or of another time


def test_entry_of_a_newer_format_is_refused_and_never_skipped(world: World) -> None:
    connector = world.deliver_and_stop(1)
    produce(world.servers, world.ledger, [Produced(b"\x02what only a newer version knows")])
    world.produce(event("2"))

    connector.start(world.settings())

    connector.until_said("operator_needed", message="a ledger entry has format 2, this version reads format 1")
    assert "upgrade this member first" in _wrong(world)
    assert world.sandbox.accepted() == {"1": 1}
    assert world.committed() == {0: 1}


@pytest.mark.parametrize(
    "other",
    [{"cluster_id": "another-cluster"}, {"source_topic": "another-topic"}, {"group": "another-group"}],
    ids=["cluster", "topic", "group"],
)
def test_entry_of_another_cluster_topic_or_group_is_refused(world: World, other: dict[str, Any]) -> None:
    connector = world.deliver_and_stop(1)
    entry = ledger_entries(world.servers, world.ledger)[-1]
    _append(world, replace(entry, header=replace(entry.header, **other)))
    world.produce(event("2"))

    connector.start(world.settings())

    connector.until_said("operator_needed", message="give this connector a ledger of its own: set LEDGER_TOPIC")
    assert "give this connector a ledger of its own" in _wrong(world)
    assert world.sandbox.accepted() == {"1": 1}


def test_entry_of_another_partition_is_refused_with_its_place(world: World) -> None:
    connector = world.deliver_and_stop(1)
    entry = ledger_entries(world.servers, world.ledger)[-1]
    end = end_offsets(world.servers, world.ledger)[0]
    _append(world, replace(entry, header=replace(entry.header, partition=1)))

    connector.start(world.settings())

    connector.until_said("operator_needed", message=f"{world.ledger}-0, offset {end}: an entry of partition 1")
    assert world.command("audit").returncode == 1


def test_entry_that_does_not_parse_is_refused_with_its_place(world: World) -> None:
    connector = world.deliver_and_stop(1)
    entry = ledger_entries(world.servers, world.ledger)[-1]
    end = end_offsets(world.servers, world.ledger)[0]
    whole = ledger_entry.encode(entry.header, unpacked(entry))
    produce(world.servers, world.ledger, [Produced(whole[:-1])])

    connector.start(world.settings())

    what = f"{world.ledger}-0, offset {end}: a ledger entry is damaged"
    connector.until_said("operator_needed", message=what)
    audited = world.command("audit")
    assert (audited.returncode, what in audited.stderr) == (1, True)


def test_changed_destination_is_told_by_check(world: World) -> None:
    world.deliver_and_stop(1)
    assert _wrong(world) == ""
    assert "this group has delivered to another destination" in _wrong(world, AMAZON_ACCOUNT_ID="5850000000002")


def test_facts_of_another_log_resolve_nothing_but_their_keys_count(world: World) -> None:
    world.create_topic()
    connector = world.connector()
    world.produce(event("1"))
    connector.until_resolved(delivered=1)
    assert connector.stop() == 0
    (entry,) = [entry for entry in ledger_entries(world.servers, world.ledger) if entry.runs]
    # As if offsets 1 and 2 had been resolved in a topic of the same name, and 3 under a leader epoch that lost it.
    runs = [run._replace(first_offset=1, length=2, outcome=Outcome.IGNORED) for run in entry.runs]
    _append(world, LedgerEntry(replace(entry.header, source_topic_id="gone"), runs, b"", entry.times[:0]))
    runs = [run._replace(first_offset=3, outcome=Outcome.IGNORED, epoch=7) for run in entry.runs]
    _append(world, LedgerEntry(entry.header, runs, b"", entry.times[:0]))
    world.produce(event("2"), event("3"), event("4"), event("1"))

    connector.start(world.settings())

    connector.until_resolved(delivered=3, duplicate=1)
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "3": 1, "4": 1}


# ---- settings


def test_no_more_replicas_in_sync_are_asked_of_the_ledger_than_it_has(world: World) -> None:
    world.create_topic(min_insync_replicas="2")  # of one replica: it could not be written, but it can be read
    create_topic(world.servers, world.ledger, 1, min_insync_replicas="1", **_GOOD)
    # More replicas in sync than there are replicas cannot be asked of the ledger: one is as good as it gets.
    assert _wrong(world) == ""
    alter_topic(world.servers, world.ledger, cleanup_policy="compact")
    assert "cleanup.policy=delete" in _wrong(world)
    assert "min.insync.replicas" not in _wrong(world)


def _append(world: World, entry: LedgerEntry) -> None:
    produce(world.servers, world.ledger, [Produced(ledger_entry.encode(entry.header, unpacked(entry)))])


def _wrong(world: World, **changes: str) -> str:
    """Return what `check` finds wrong, having changed nothing."""
    before = committed(world.servers, world.group, world.topic), len(read_topic(world.servers, world.ledger))
    screen = world.command("check", **changes).stdout
    assert (committed(world.servers, world.group, world.topic), len(read_topic(world.servers, world.ledger))) == before
    return "\n".join(re.findall(r"^ *WRONG  .*", screen, re.MULTILINE))
