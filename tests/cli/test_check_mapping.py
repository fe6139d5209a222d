"""`connector check`: the mapping file against the newest schema of a registry without Confluent's API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.framing import SchemaId
from connector.avro.registry import Registry
from connector.avro.writer_schema import Json
from connector.cli.check import _newest_of_topic, _unread_topics
from connector.cli.findings import State
from tests.mapping.support import example, read_file

TEXT, SCHEMA = example("order")
LATER = "the file's paths are checked when the first record is read; connector lint --schema FILE checks them now"


class Api:
    """Gives one answer for every topic, or raises it."""

    probed: SchemaId = 0

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def path(self, schema_id: SchemaId) -> str:
        return str(schema_id)

    def get(self, path: str) -> Json:
        raise AssertionError(path)

    def newest(self, topic: str) -> Json:
        assert topic == "orders"
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def found(answer: Any) -> list[tuple[State, str]]:
    findings = _newest_of_topic(Registry({}, api=Api(answer)), read_file(TEXT), "orders", "AWS Glue")
    return [(each.state, each.message) for each in findings]


def test_every_path_is_held_against_the_newest_schema() -> None:
    assert found({"schema": json.dumps(SCHEMA)}) == [(State.RIGHT, "every path is in the newest schema of orders")]
    without = SCHEMA | {"fields": [each for each in SCHEMA["fields"] if each["name"] != "orderId"]}
    ((state, message),) = found({"schema": json.dumps(without)})
    assert state is State.WRONG
    assert message.startswith("clientDedupeId: orderId is not in the newest schema of orders (com.shop.orders.Order)")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "AWS Glue does not tell which schema topic orders has"),
        (SchemaRegistryError(404, 40403, "x"), "AWS Glue does not tell which schema topic orders has"),
        (
            SchemaRegistryError(403, -1, "x"),
            (
                "AWS Glue, topic orders: the schema registry answered HTTP 403, code -1 to the request for the newest "
                "schema of topic orders"
            ),
        ),
        (
            ConnectionError("https://secret@host"),
            "AWS Glue, topic orders: the schema registry did not answer (ConnectionError)",
        ),
        ({"schema": "{}", "schemaType": "JSON"}, "AWS Glue, topic orders: its schema is not Avro but JSON"),
    ],
)
def test_what_cannot_be_checked_yet_is_said(answer: Any, why: str) -> None:
    assert found(answer) == [(State.NOTE, f"{why}: {LATER}")]


TWO_TOPICS = (
    TEXT.replace("[[mapping]]", '[[mapping]]\ntopic = "orders"', 1)
    + """
[[mapping]]
topic = ["refunds", "returns"]
record = "com.shop.orders.Order"
inherit = true
[mapping.fields]
value = "refund.amount"
"""
)


def test_a_schema_is_held_against_the_mappings_for_its_topic_alone() -> None:
    """Without a record of its own, the mapping of another topic would lack every path."""
    registry = Registry({}, api=Api({"schema": json.dumps(SCHEMA)}))
    (finding,) = _newest_of_topic(registry, read_file(TWO_TOPICS), "orders", "AWS Glue")

    assert (finding.state, finding.message) == (State.RIGHT, "every path is in the newest schema of orders")


def test_a_topic_that_is_not_read_is_noted() -> None:
    found = [each.message for each in _unread_topics(read_file(TWO_TOPICS), ["orders", "returns"])]

    assert found == ["mapping[1].topic: refunds not in KAFKA_TOPIC (orders, returns)"]
