"""``connector check`` shows what is right and what is wrong, and changes nothing."""

from __future__ import annotations

import re

from tests.integration.brokers import commit, committed, create_topic, topic_settings
from tests.integration.events import event
from tests.integration.program import World


def test_where_all_is_right_it_says_so_sends_nothing_and_changes_nothing(world: World) -> None:
    world.create_topic(2)
    world.produce(event("1"))
    before = world.topics()

    checked = world.command("check")

    assert checked.returncode == 0, checked.stdout
    found = _findings(checked.stdout)
    assert {what for what, state in found.items() if state == "ok"} == {
        "settings",
        "brokers",
        "source",
        "ledger",
        "dead letters",
        "start",
        "group",
        "registry",
        "schema",
        "token",
        "codec",
    }
    assert "WRONG" not in found.values()
    assert found["account"] == "note"
    assert "AMAZON_ACCOUNT_ID is among the profiles of this token (1 listed)" in checked.stdout
    assert "connector run can work" in checked.stdout
    assert world.topics() == before
    assert committed(world.servers, world.group, world.topic) == {}
    assert world.sandbox.record() == []


def test_everything_that_is_wrong_is_said_at_once_with_what_fixes_it(world: World) -> None:
    world.create_topic(2)
    create_topic(world.servers, world.ledger, 2, cleanup_policy="compact")
    before = world.topics(), topic_settings(world.servers, world.ledger)
    world.sandbox.set_faults(registry_down=True)

    checked = world.command("check", AMAZON_CLIENT_SECRET="not the secret")

    assert checked.returncode == 1
    found = _findings(checked.stdout)
    assert {what for what, state in found.items() if state == "WRONG"} == {"ledger", "registry", "token"}
    assert f"kafka-configs.sh --bootstrap-server {world.servers} --alter" in checked.stdout
    assert "cleanup.policy=delete" in checked.stdout
    assert "3 of these must be fixed" in checked.stdout
    assert "not the secret" not in checked.stdout + checked.stderr
    assert (world.topics(), topic_settings(world.servers, world.ledger)) == before


def test_schema_that_no_producer_registered_is_a_note_and_committed_partitions_are_counted(world: World) -> None:
    world.create_topic(2)
    commit(world.servers, world.group, world.topic, {1: 0})
    checked = world.command("check")
    assert checked.returncode == 0
    assert f"no subject {world.topic}-value" in checked.stdout
    assert f"{world.topic}: 1 partitions start where the group committed, the others at their beginning or" in checked.stdout

    world.schema_id()
    assert "no subject" not in world.command("check").stdout


def test_ledger_that_run_would_give_more_partitions_is_right(world: World) -> None:
    world.create_topic(3)
    create_topic(world.servers, world.ledger, 1, retention_ms="-1", message_timestamp_type="LogAppendTime")
    checked = world.command("check")
    assert checked.returncode == 0
    assert f"{world.ledger}: 1 partitions, connector run adds 2, loses no fact" in checked.stdout
    assert f"{world.topic}: 0 partitions start where the group committed" in checked.stdout


def test_missing_source_topic_is_wrong(world: World) -> None:
    before = world.topics()
    checked = world.command("check")
    assert checked.returncode == 1
    assert f"topic {world.topic} does not exist" in checked.stdout
    assert world.topics() == before


def test_topics_that_may_not_be_made_and_are_not_there_or_too_small_are_wrong(world: World) -> None:
    world.create_topic(2)
    create_topic(world.servers, world.ledger, 1, retention_ms="-1", message_timestamp_type="LogAppendTime")
    checked = world.command("check", LEDGER_AUTO_CREATE="false")
    assert checked.returncode == 1
    assert f"topic {world.ledger} has 1 partitions, 2 partitions are needed" in checked.stdout
    assert f"topic {world.dead_letters} does not exist, 2 partitions are needed" in checked.stdout


def test_brokers_that_do_not_answer_are_wrong_and_the_rest_is_looked_at_all_the_same(world: World) -> None:
    checked = world.command("check", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert checked.returncode == 1
    found = _findings(checked.stdout)
    assert (found["brokers"], found["registry"], found["token"]) == ("WRONG", "ok", "ok")


def test_refused_settings_end_it_with_code_2(world: World) -> None:
    checked = world.command("check", KAFKA_TOPIC=None)
    assert checked.returncode == 2
    assert "KAFKA_TOPIC is missing" in checked.stderr


def _findings(screen: str) -> dict[str, str]:
    """Return the state of each thing looked at; of several lines about one, the last."""
    return {found[2].strip(): found[1] for found in re.finditer(r"^ *(ok|note|WRONG)  (.{14}) ", screen, re.MULTILINE)}
