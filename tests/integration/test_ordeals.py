"""A short run of what ``make prove`` does for long, and its table."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.integration.oracle import Account, Breach, Commit, Interruption
from tests.integration.ordeals.__main__ import main
from tests.integration.ordeals.kills import Death, Round, Tally, play
from tests.integration.ordeals.kubernetes import Secrets, container_environment
from tests.integration.program import World


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_of_two_whose_members_die_at_random_loses_nothing_and_has_an_excuse_for_all_it_sends_twice(
    world: World, protocol: str
) -> None:
    played = play(world, protocol, 2, Random(6))
    assert played.breaches == []
    assert len(played.deaths) >= 2
    assert len(played.account.records) > 100


def _account(**evidence: object) -> Account:
    nothing: dict[str, object] = dict.fromkeys(("records", "received", "ledger", "letters", "commits"), ())
    return Account(cluster_id="", topic="", topic_id="", group="", **nothing | evidence)  # type: ignore[arg-type] # by name


def test_the_time_a_partition_stood_still_ends_with_the_first_commit_beyond_the_last_before_the_death() -> None:
    commits = [Commit(partition, offset, 0, "", at) for partition, offset, at in [(0, 5, 900), (0, 5, 1500), (1, 9, 1600)]]
    account = _account(commits=[*commits, Commit(0, 6, 0, "", 4000), Commit(0, 7, 0, "", 9000)])
    death = Death("unread", Interruption(1000, 1000, frozenset({0})), restarted_ms=2000)

    tally = Tally()
    tally.add(Round("classic", account, [death], []))

    assert (tally.from_death, tally.from_restart) == ([3.0], [2.0])


def test_a_breach_is_in_the_table_and_what_was_lost_is_counted() -> None:
    tally = Tally()
    tally.add(Round("classic", _account(), [], [Breach("I1", "lost: record 0/1"), Breach("I5", "else")]))
    lines = tally.lines()
    assert "lost" + " " * 49 + "1" in lines
    assert "breaches of any invariant" + " " * 28 + "2" in lines


def test_a_run_without_a_round_proves_nothing(monkeypatch: pytest.MonkeyPatch, kafka: str) -> None:
    monkeypatch.setenv("TEST_KAFKA_BOOTSTRAP_SERVERS", kafka)
    assert main(["kills", "--rounds", "0"]) == 1


def test_pods_of_the_manifest_get_its_environment_and_secrets_that_all_change_at_once(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets")
    secrets.write({"amazon-client-secret": "one", "amazon-refresh-token": "one"})
    environment = container_environment(secrets.directory)
    files = [Path(str(environment[f"AMAZON_{name}_FILE"])) for name in ("CLIENT_SECRET", "REFRESH_TOKEN")]

    assert [file.read_text() for file in files] == ["one", "one"]
    assert environment["AMAZON_REGION"] == "EU"
    assert environment["AMAZON_CLIENT_SECRET"] is None, "it comes from the file"
    assert "KAFKA_BOOTSTRAP_SERVERS" not in environment, "that of the test stands in"

    secrets.write({"amazon-client-secret": "two", "amazon-refresh-token": "two"})
    assert [file.read_text() for file in files] == ["two", "two"]
