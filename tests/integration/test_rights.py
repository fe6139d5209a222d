"""TLS, SASL and rights: the table of rights is enough and nothing of it is too much, and `check` names what lacks.

The table is docs/kafka/index.md#topics-and-rights.

Every test has a topic and a group of its own on one secured cluster, and may do there what it was granted.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.brokers import end_offsets, groups, read_topic
from tests.integration.events import event
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.security import PASSWORD, USER, Right, grant, revoke
from tests.integration.program import Sandbox, World

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(secured=True) as cluster:
        yield cluster


class Secured(World):
    """A world whose connectors come by TLS and SASL, and may do what they were granted."""

    def __init__(self, cluster: Cluster, sandbox: Sandbox, directory: Path) -> None:
        super().__init__(cluster.bootstrap_servers, sandbox, directory)
        self.cluster = cluster

    def settings(self, **changes: str | None) -> dict[str, str]:
        secured: dict[str, str | None] = {
            "KAFKA_BOOTSTRAP_SERVERS": self.cluster.secured_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SSL_CA_LOCATION": str(self.cluster.certificate),
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            # Whoever may not see a topic is told so when metadata are refreshed.
            "KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS": "500",
        }
        return super().settings(**(secured | changes))

    def rights(self, *, makes: bool = True, protocol: str = "consumer") -> set[Right]:
        """Return the rights of the table."""
        names = {"source": self.topic, "ledger": self.ledger, "letters": self.dead_letters, "group": self.group}
        table = {
            ("topic", "source"): "Read DescribeConfigs",
            ("topic", "ledger"): "Read Write DescribeConfigs" + " Create Alter" * makes,
            ("topic", "letters"): "Write" + " Create Alter" * makes,
            ("group", "group"): "Read" + " DescribeConfigs" * (protocol == "consumer"),
        }
        return {Right(kind, names[what], one) for (kind, what), several in table.items() for one in several.split()}


@pytest.fixture
def secured(cluster: Cluster, _one_sandbox: Sandbox, tmp_path: Path) -> Iterator[Secured]:
    _one_sandbox.clear()
    world = Secured(cluster, _one_sandbox, tmp_path)
    yield world
    world.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_with_the_rights_of_the_readme_it_makes_its_topics_and_delivers(secured: Secured, protocol: str) -> None:
    secured.create_topic(2)
    grant(secured.servers, secured.rights(protocol=protocol))
    secured.produce(event("1"), event("bad", countryCode="Narnia"))

    checked = secured.command("check", KAFKA_GROUP_PROTOCOL=protocol)
    assert checked.returncode == 0, checked.stdout
    connector = secured.connector(KAFKA_GROUP_PROTOCOL=protocol)

    connector.until_resolved(delivered=1, dead_lettered=1)
    secured.until_committed_to_the_end()
    assert connector.stop() == 0
    assert PASSWORD not in connector.output + checked.stdout + checked.stderr


def test_without_any_right_it_waits_says_so_and_starts_once_it_has_them(secured: Secured) -> None:
    secured.create_topic()
    secured.produce(event("1"))
    checked = secured.command("check")
    assert checked.returncode == 1
    assert f"topic {secured.topic}: this client may not" in checked.stdout

    connector = secured.connector()
    connector.until_said("waiting", message=f"topic {secured.topic}: this client may not")
    assert connector.page("/readyz")[0] == 503
    grant(secured.servers, secured.rights())
    connector.until_resolved(delivered=1)
    connector.until_ready()


def test_preview_needs_to_read_the_topic_and_leaves_nothing_behind(secured: Secured) -> None:
    secured.create_topic(2)
    secured.produce(event("1"), event("2"))
    grant(secured.servers, [Right("topic", secured.topic, "Read")])
    before = secured.topics(), end_offsets(secured.servers, secured.topic)

    previewed = secured.command("preview", AMAZON_ACCOUNT_ID=None, AMAZON_CLIENT_ID=None, AMAZON_ACCESS_TOKEN=None)

    assert previewed.returncode == 0, previewed.stderr
    assert "2 records: 2 would be sent." in previewed.stdout
    assert (secured.topics(), end_offsets(secured.servers, secured.topic)) == before
    assert secured.group not in groups(secured.servers)


def test_check_names_every_right_that_lacks_before_and_after_the_topics_are_there(secured: Secured) -> None:
    secured.create_topic()
    rights = secured.rights()
    makes = {right for right in rights if right.operation in {"Create", "Alter"}}
    grant(secured.servers, rights - makes)
    checked = secured.command("check")
    assert checked.returncode == 1
    assert _wrong(checked.stdout) == {"ledger", "dead letters"}
    assert f"{secured.ledger}: this client may not (TOPIC_AUTHORIZATION_FAILED)" in checked.stdout

    grant(secured.servers, makes)
    connector = secured.connector()
    connector.until_ready()
    assert connector.stop() == 0
    revoke(secured.servers, makes)
    assert secured.command("check").returncode == 0  # they were needed to make the topics only

    taken = {Right("topic", secured.ledger, "Write"), Right("topic", secured.dead_letters, "Write")}
    # Without any right on the group not even its offsets may be read.
    taken |= {Right("group", secured.group, "Read"), Right("group", secured.group, "DescribeConfigs")}
    grant(secured.servers, [Right("topic", secured.dead_letters, "Describe")])  # which Write implied
    revoke(secured.servers, taken)
    checked = secured.command("check")
    assert _wrong(checked.stdout) == {"ledger", "dead letters", "group"}
    assert f"topic {secured.ledger}: this client may not WRITE" in checked.stdout
    assert f"topic {secured.dead_letters}: this client may not WRITE" in checked.stdout
    assert f"group {secured.group}: this client may not" in checked.stdout


def test_right_taken_away_while_it_runs_is_named_and_given_back_it_goes_on(secured: Secured) -> None:
    secured.create_topic()
    grant(secured.servers, secured.rights())
    connector = secured.connector()
    secured.produce(event("order-0"))
    connector.until_resolved(delivered=1)
    lost = [
        Right("topic", secured.topic, "Read"),
        Right("topic", secured.ledger, "Write"),
        Right("topic", secured.dead_letters, "Write"),
    ]
    grant(secured.servers, [Right("topic", secured.dead_letters, "Describe")])
    for number, right in enumerate(lost, start=1):
        revoke(secured.servers, [right])
        named = f"{right.kind} {right.name}: this client may not"
        connector.until_said("operator_needed", message=named)
        secured.produce(event(f"order-{number}"), event(f"bad-{number}", countryCode="Narnia"))
        status, why = connector.page("/readyz")
        assert status == 503
        assert named in why
        assert connector.metrics()["connector_operator_needed"] >= 1

        grant(secured.servers, [right])
        connector.eventually(functools.partial(_accepted, secured, number), f"it goes on after {right}", 45)
        secured.until_committed_to_the_end()
        connector.until_ready()
    assert len(read_topic(secured.servers, secured.dead_letters)) == len(lost)
    assert connector.stop() == 0


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_group_taken_away_is_named_and_given_back_it_goes_on(secured: Secured, protocol: str) -> None:
    secured.create_topic()
    grant(secured.servers, secured.rights())
    connector = secured.connector(KAFKA_GROUP_PROTOCOL=protocol)
    secured.produce(event("order-0"))
    connector.until_resolved(delivered=1)

    rights = [Right("group", secured.group, "Read"), Right("group", secured.group, "DescribeConfigs")]
    revoke(secured.servers, rights)
    if protocol == "consumer":  # to whose client this is fatal: a supervisor starts it again
        assert connector.wait() == 1
        assert "Group authorization failed" in connector.log("failed")[0]["exception"]
        connector.start(secured.settings(KAFKA_GROUP_PROTOCOL=protocol))
        connector.until_said("waiting", message="this client may not (GROUP_AUTHORIZATION_FAILED)")
        connector.eventually(
            lambda: connector.metrics()["connector_operator_needed"] == 1, "an operator is told at the start"
        )
    else:
        connector.until_said("operator_needed", message="this client may not (GROUP_AUTHORIZATION_FAILED)")
    assert connector.page("/readyz")[0] == 503
    secured.produce(event("order-1"))

    grant(secured.servers, rights)
    connector.eventually(functools.partial(_accepted, secured, 1), "it goes on", 45)
    secured.until_committed_to_the_end()
    connector.until_ready()


def _accepted(secured: Secured, last: int) -> bool:
    """Tell whether every event up to this one was accepted once."""
    return secured.sandbox.accepted() == {f"order-{number}": 1 for number in range(last + 1)}


def _wrong(screen: str) -> set[str]:
    return {found[1].strip() for found in re.finditer(r"^ *WRONG  (.{14}) ", screen, re.MULTILINE)}
