"""The ledger topic and the commits that rest on it: created, checked, fixed, refused, accepted."""

from __future__ import annotations

import re

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from connector.model import Outcome
from tests.integration.brokers import (
    Produced,
    add_partitions,
    alter_topic,
    commit,
    committed,
    create_topic,
    delete_records,
    delete_topic,
    describe_topic,
    end_offsets,
    produce,
    read_topic,
    topic_settings,
)
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.program import Transactions, World
from tests.patience import eventually


def test_ledger_is_made_with_as_many_partitions_and_settings_that_lose_no_fact(world: World) -> None:
    world.create_topic(3)

    world.connector(DEDUPE_WINDOW="10d").until_ready()

    assert describe_topic(world.servers, world.ledger)[1] == 3
    settings = topic_settings(world.servers, world.ledger)
    wanted = {
        "cleanup.policy": "delete",
        "retention.ms": str(11 * DAY_MS),
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": "1",
    }
    assert {name: settings[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("wrong", "fixed"),
    [("retention.ms", ("60000", str(8 * DAY_MS))), ("cleanup.policy", ("compact", "delete"))],
)
def test_ledger_that_would_lose_facts_is_refused_until_it_is_fixed(world: World, wrong: str, fixed: tuple[str, str]) -> None:
    world.create_topic()
    good = {"retention.ms": str(8 * DAY_MS), "message.timestamp.type": "LogAppendTime"}
    create_topic(world.servers, world.ledger, 1, **good | {wrong: fixed[0]})
    world.produce(event("1"))

    connector = world.connector()
    alter = f"kafka-configs.sh --bootstrap-server {world.servers} --alter --entity-type topics --entity-name {world.ledger}"
    command = f"{alter} --add-config {wrong}={fixed[1]}"
    connector.until_said("operator_needed", message=command)
    status, why = connector.page("/readyz")
    assert status == 503
    assert command in why
    assert connector.metrics()['connector_paused{reason="refused"}'] == 1
    assert world.sandbox.record() == []

    alter_topic(world.servers, world.ledger, **{wrong: fixed[1]})
    connector.until_resolved(delivered=1)
    connector.until_ready()


def test_ledger_that_nobody_made_is_refused_where_none_may_be_made(world: World) -> None:
    world.create_topic(2)
    connector = world.connector(LEDGER_AUTO_CREATE="false")
    said = connector.until_said("operator_needed", message=f"topic {world.ledger} does not exist, 2 partitions are needed")

    create_topic(world.servers, world.ledger, 2, retention_ms="-1", message_timestamp_type="LogAppendTime")

    connector.until_said("operator_needed", message=f"topic {world.dead_letters} does not exist")
    create_topic(world.servers, world.dead_letters, 2, retention_ms="-1")
    connector.until_ready()
    assert f"--create --topic {world.ledger} --partitions 2" in said["message"]


def test_partition_added_while_it_runs_gets_a_ledger_and_is_read_from_its_beginning(world: World) -> None:
    world.create_topic()
    connector = world.connector(KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS="500", KAFKA_METADATA_MAX_AGE_MS="1000")
    world.produce(event("1"))
    connector.until_resolved(delivered=1)

    add_partitions(world.servers, world.topic, 3)
    world.produce(event("2"), event("3"), partition=2)

    connector.until_resolved(delivered=3)
    assert describe_topic(world.servers, world.ledger)[1] == 3
    eventually(lambda: world.fates().get((2, 1)) == [Outcome.DELIVERED], "its facts are in the ledger")
    assert world.fates()[2, 0] == [Outcome.DELIVERED]


def test_ledger_recreated_while_it_was_stopped_is_refused_and_accept_goes_on_once(world: World) -> None:
    connector = world.deliver_and_stop(2)
    entries = [Produced(entry.value()) for entry in read_topic(world.servers, world.ledger)]
    delete_topic(world.servers, world.ledger)
    create_topic(world.servers, world.ledger, retention_ms="-1", message_timestamp_type="LogAppendTime")
    produce(world.servers, world.ledger, entries)  # as long as before: only its id tells
    world.produce(event("3"))

    connector.start(world.settings())
    said = connector.until_said("operator_needed", message="the ledger was recreated, but the commit rests on its offset")
    assert connector.page("/readyz")[0] == 503
    assert connector.stop() == 0
    assert world.committed() == {0: 2}

    connector.start(world.settings(ACCEPT=_printed(said["message"])))
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    connector.start(world.settings())
    connector.until_ready()
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "3": 1}


def test_changed_destination_is_refused_and_accept_goes_on_from_there(world: World) -> None:
    connector = world.deliver_and_stop(2)
    world.produce(event("3"), event("1"))
    elsewhere = {"AMAZON_BASE_URL": world.sandbox.url.replace("127.0.0.1", "localhost")}

    connector.start(world.settings(**elsewhere))
    said = connector.until_said("operator_needed", message="delivered to another destination")
    assert "KAFKA_GROUP_ID" in said["message"]
    assert connector.page("/readyz")[0] == 503
    assert connector.stop() == 0

    connector.start(world.settings(ACCEPT=_printed(said["message"]), **elsewhere))
    connector.until_resolved(delivered=2)  # at the new destination "1" was never delivered, so it is no duplicate
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    connector.start(world.settings(**elsewhere))
    connector.until_ready()


def test_another_account_is_another_destination(world: World) -> None:
    connector = world.deliver_and_stop(1)
    connector.start(world.settings(AMAZON_ACCOUNT_ID="5850000000002", ON_VERDICT="stop"))
    assert connector.wait() == 3
    assert "another destination" in connector.log("stopped")[0]["verdict"]


def test_ledger_with_facts_of_another_group_is_refused(world: World) -> None:
    connector = world.deliver_and_stop(1)
    other_group = f"{world.group}-other"
    connector.start(world.settings(KAFKA_GROUP_ID=other_group, LEDGER_TOPIC=world.ledger))
    connector.until_said("operator_needed", message="set LEDGER_TOPIC")
    assert connector.page("/readyz")[0] == 503
    assert committed(world.servers, other_group, world.topic) == {}
    assert world.sandbox.accepted() == {"1": 1}


def test_source_topic_recreated_while_it_was_stopped_is_read_from_its_beginning(world: World) -> None:
    connector = world.deliver_and_stop(2)
    (before,) = committed(world.servers, world.group, world.topic).values()
    delete_topic(world.servers, world.topic)
    world.create_topic()
    world.produce(event("new-1"), event("new-2"), event("new-3"), event("1"))
    # A member that was slow to notice may still commit where it stood: the broker takes it.
    commit(world.servers, world.group, world.topic, {0: before.offset}, before.metadata or "")

    connector.start(world.settings())

    connector.until_resolved(delivered=3, duplicate=1)
    connector.until_said("partition_restored", offset=0, why="the topic was recreated since the last commit")
    assert world.sandbox.accepted() == dict.fromkeys(("1", "2", "new-1", "new-2", "new-3"), 1)
    world.until_committed_to_the_end()


def test_offset_that_an_operator_set_is_used_and_a_rewound_group_sends_nothing_again(world: World) -> None:
    world.create_topic()
    world.produce(*(event(f"order-{number}") for number in range(5)))
    commit(world.servers, world.group, world.topic, {0: 3})

    connector = world.connector()
    connector.until_resolved(delivered=2)
    connector.until_said("partition_restored", offset=3, why="from an offset that an operator set")
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    commit(world.servers, world.group, world.topic, {0: 1})

    connector.start(world.settings())
    connector.until_resolved(delivered=2, already_resolved=2)
    connector.until_said("partition_restored", offset=1, why="2 records are resolved in the ledger and not sent again")
    assert world.sandbox.accepted() == {f"order-{number}": 1 for number in range(1, 5)}


def _visit(world: World, *, group_protocol: str = "classic") -> None:
    """Read the topic as ``kafka-console-consumer --group`` does: with our group id, committing by itself, and leave."""
    properties = {
        "bootstrap.servers": world.servers,
        "group.id": world.group,
        "group.protocol": group_protocol,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "log_level": 0,
    }
    if group_protocol == "classic":
        properties |= {"partition.assignment.strategy": "cooperative-sticky"}
    visitor = Consumer(properties)
    visitor.subscribe([world.topic])
    ends, reached = end_offsets(world.servers, world.topic), set[int | None]()

    def read() -> bool:
        for message in visitor.consume(100, 0.1):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                reached.add(message.partition())
        return len(reached) == len(ends)

    eventually(read, "the visitor has read all")
    visitor.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_another_consumer_of_the_group_that_commits_skips_nothing(world: World, protocol: str) -> None:
    world.create_topic(2)
    world.produce(event("1"), event("2"))
    world.produce(event("elsewhere-1"), partition=1)
    settings = world.settings(KAFKA_GROUP_PROTOCOL=protocol)
    connector = world.unstarted().start(settings)
    connector.until_resolved(delivered=3)
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    world.produce(event("3"), event("4"))
    _visit(world, group_protocol=protocol)
    assert world.committed() == {0: 4, 1: 1}

    connector.start(settings)

    what = "the committed offset 4 is not this connector's, and the record at offset 2 below it has no fact"
    said = connector.until_said("operator_needed", message=what)
    assert connector.page("/readyz")[0] == 503
    world.produce(event("5"), partition=1)
    connector.until_resolved(delivered=1)  # the partition whose records were all judged goes on
    checked = world.command("check")
    assert (checked.returncode, what in checked.stdout) == (1, True)
    audited = world.command("audit")
    assert audited.returncode == 1
    assert f"{world.topic}-0@2, {world.topic}-0@3" in audited.stdout
    assert f"the committed offset of {world.topic}-0 was set by an operator, or by another consumer" in audited.stdout
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "elsewhere-1": 1, "5": 1}
    assert connector.stop() == 0

    # As the sentence says: back to the first record that was never judged.
    assert "--to-offset 2" in said["message"]
    commit(world.servers, world.group, world.topic, {0: 2})
    connector.start(settings)
    connector.until_resolved(delivered=2)
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "elsewhere-1": 1, "5": 1, "3": 1, "4": 1}


def test_another_consumer_that_has_a_partition_first_skips_nothing(world: World) -> None:
    """A partition that was added is given to whoever joins next, and no fact is about it."""
    world.create_topic()
    world.produce(event("1"))
    connector = world.connector()
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    add_partitions(world.servers, world.topic, 2)
    world.produce(event("2"), event("3"), partition=1)
    _visit(world, group_protocol="consumer")
    assert world.committed() == {0: 1, 1: 2}
    what = "the committed offset 2 is not this connector's, and the record at offset 0 below it has no fact"
    assert what in world.command("check").stdout

    connector.start(world.settings())

    said = connector.until_said("operator_needed", message=what)
    assert connector.page("/readyz")[0] == 503
    assert connector.stop() == 0
    found = re.search(r"ACCEPT=(\S+)", said["message"])
    assert found is not None
    connector.start(world.settings(ACCEPT=found[1]))
    connector.until_ready()
    assert world.sandbox.accepted() == {"1": 1}


def test_commit_that_skips_is_accepted_where_told_and_then_stands(world: World) -> None:
    connector = world.deliver_and_stop(2)
    world.produce(event("skipped"))
    commit(world.servers, world.group, world.topic, {0: 3}, "of a tool")
    connector.start(world.settings())
    said = connector.until_said("operator_needed", message="the record at offset 2 below it has no fact")
    assert connector.stop() == 0

    connector.start(world.settings(ACCEPT=_printed(said["message"])))
    connector.until_ready()
    assert connector.stop() == 0
    connector.start(world.settings())  # nothing was committed since, and the commit is still not ours
    connector.until_ready()
    world.produce(event("4"))
    connector.until_resolved(delivered=1)
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "4": 1}
    assert connector.stop() == 0
    # The next one that skips is another case.
    world.produce(event("5"), event("6"))
    commit(world.servers, world.group, world.topic, {0: 6})
    connector.start(world.settings(ACCEPT=_printed(said["message"])))
    connector.until_said("operator_needed", message="the record at offset 4 below it has no fact")


def test_commit_of_the_version_before_is_taken_and_skips_nothing_where_a_tool_moved_it(world: World) -> None:
    """As e0780c9 commits: its metadata does not name the offset that it was written for."""
    connector = world.deliver_and_stop(2)
    (place,) = committed(world.servers, world.group, world.topic).values()
    before = " ".join((place.metadata or "").split(" ")[:3])
    commit(world.servers, world.group, world.topic, {0: 2}, before)
    connector.start(world.settings())
    connector.until_said("partition_restored", offset=2, why="from the committed offset")
    connector.until_ready()
    assert connector.stop() == 0
    assert [line for line in connector.log() if line["level"] != "info"] == []

    world.produce(event("3"), event("4"))
    commit(world.servers, world.group, world.topic, {0: 4}, before)
    what = "the committed offset 4 is not this connector's, and the record at offset 2 below it has no fact"
    connector.start(world.settings())
    said = connector.until_said("operator_needed", message=what)
    assert connector.page("/readyz")[0] == 503
    assert what in world.command("check").stdout
    assert connector.stop() == 0
    assert world.committed() == {0: 4}

    connector.start(world.settings(ACCEPT=_printed(said["message"])))
    connector.until_ready()
    world.produce(event("5"))
    connector.until_resolved(delivered=1)
    assert world.sandbox.accepted() == {"1": 1, "2": 1, "5": 1}


def test_commit_of_another_before_anything_was_judged_skips_nothing_either(world: World) -> None:
    """Amazon is down from the first start on: all the ledger knows is that this partition was ours."""
    world.create_topic()
    world.sandbox.set_faults(fail_503=1.0)
    world.produce(event("1"), event("2"))
    connector = world.connector()
    eventually(lambda: len(world.sandbox.requests()) > 1, "it tries")
    connector.kill()
    world.sandbox.set_faults()
    eventually(lambda: _commits(world, 2), "the group is empty, so that it can be committed in", 60)

    connector.start(world.settings())
    connector.until_said("operator_needed", message="the record at offset 0 below it has no fact")
    assert world.sandbox.accepted() == {}


def _commits(world: World, offset: int) -> bool:
    try:
        commit(world.servers, world.group, world.topic, {0: offset})
    except (KafkaException, AssertionError):
        return False
    return True


def test_reset_to_the_end_of_what_was_judged_is_used_also_behind_markers_of_transactions(world: World) -> None:
    world.create_topic()
    transactions = Transactions(world)
    transactions.commit("1")
    transactions.abort("aborted")
    connector = world.connector()
    connector.until_resolved(delivered=1)
    eventually(lambda: world.committed() == {0: 4}, "it has committed")
    assert connector.stop() == 0
    commit(world.servers, world.group, world.topic, {0: 4})

    connector.start(world.settings())
    connector.until_ready()
    world.produce(event("2"))
    connector.until_resolved(delivered=1)
    assert connector.stop() == 0

    transactions.begin("3")
    commit(world.servers, world.group, world.topic, {0: 6})
    connector.start(world.settings())
    connector.until_said("operator_needed", message="the record at offset 5 below it has no fact")  # still undecided
    transactions.roll_back()
    connector.until_ready()
    assert world.sandbox.accepted() == {"1": 1, "2": 1}


def test_offset_outside_the_log_waits_for_an_operator_and_goes_on_from_the_earliest_where_told(world: World) -> None:
    connector = world.deliver_and_stop(1)
    world.produce(*(event(f"{number}") for number in range(2, 7)))
    delete_records(world.servers, world.topic, 4)

    connector.start(world.settings())
    said = connector.until_said("operator_needed", message="the committed offset 1 is outside the log (4 to 6)")
    assert "OFFSET_OUT_OF_RANGE=earliest" in said["message"]
    assert connector.page("/readyz")[0] == 503
    assert connector.stop() == 0
    assert world.committed() == {0: 1}

    connector.start(world.settings(OFFSET_OUT_OF_RANGE="earliest"))
    connector.until_resolved(delivered=2)
    assert world.sandbox.accepted() == {"1": 1, "5": 1, "6": 1}


def test_commit_rests_on_ledger_topic_and_position_that_are_there(world: World) -> None:
    began = now_ms()
    world.deliver_and_stop(2)
    (place,) = committed(world.servers, world.group, world.topic).values()
    source_id, ledger_id = (describe_topic(world.servers, topic)[0] for topic in (world.topic, world.ledger))
    found = re.fullmatch(
        rf"v1 {source_id} {ledger_id}:(\d+) {place.offset} kept {8 * 86_400} 0:(\d+) (\d+):\d+", place.metadata or ""
    )
    assert found is not None
    assert began <= int(found[2]) <= now_ms()
    assert int(found[3]) == int(found[1]) - 1
    assert 0 < int(found[1]) <= len(read_topic(world.servers, world.ledger))
    assert place.leader_epoch == 0


def _printed(sentence: str) -> str:
    """Return the value of ACCEPT that a refusal printed."""
    found = re.search(r"ACCEPT=(\S+)", sentence)
    assert found is not None
    return found[1]
