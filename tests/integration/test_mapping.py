"""A topic of orders with a mapping file: `preview` shows what `run` does; all is accounted for."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.integration.brokers import Produced, end_offsets, groups, headers_of, read_topic
from tests.integration.events import now_ms
from tests.integration.program import World
from tests.mapping.support import EXAMPLES, ORDER, example

pytestmark = pytest.mark.kafka

MAPPING = str(EXAMPLES / "order.toml")


def order(number: int, **changes: Any) -> dict[str, Any]:
    """Return an order of now."""
    made = copy.deepcopy(ORDER)
    made |= {"orderId": UUID(int=number).bytes, "placedAt": now_ms() * 1000}
    made["total"]["amount"] = Decimal("49.98")
    for line in made["lines"]:
        line["price"]["amount"] = Decimal("24.99")
    return made | changes


def test_orders_arrive_as_events_others_are_ignored_or_letters_and_preview_said_so(world: World) -> None:
    _, schema = example("order")
    world.create_topic()
    refund = schema | {"name": "Refund"}
    world.produce(
        Produced(world.value(order(1), schema)),
        Produced(world.value(order(2, status="CANCELLED"), schema)),
        Produced(world.value(order(3), refund)),
        Produced(world.value(order(1), schema)),
        Produced(world.value(order(4, shipTo=ORDER["shipTo"] | {"country": "Narnia"}), schema)),
    )
    before = world.topics(), end_offsets(world.servers, world.topic)
    previewed = world.command("preview", "--json", MAPPING_FILE=MAPPING, AMAZON_CLIENT_ID=None, AMAZON_ACCESS_TOKEN=None)
    assert previewed.returncode == 1, previewed.stderr
    rows = [json.loads(line) for line in previewed.stdout.splitlines()]
    assert [(row["verdict"], row["reason"]) for row in rows] == [
        ("send", None),
        ("ignored", None),
        ("dead-letter", "unmapped"),
        ("duplicate", None),
        ("dead-letter", "invalid-field"),
    ]
    assert (world.topics(), end_offsets(world.servers, world.topic)) == before
    assert world.group not in groups(world.servers)
    assert world.has_committed_nothing()

    connector = world.connector(MAPPING_FILE=MAPPING)
    connector.until_resolved(delivered=1, ignored=1, dead_lettered=2, duplicate=1)
    assert world.sandbox.accepted() == {str(UUID(int=1)): 1}
    assert connector.metrics()['connector_filtered_total{mapping="mapping[0]"}'] == 1
    letters = [dict(headers_of(letter)) for letter in read_topic(world.servers, world.dead_letters)]
    assert [letter["connector.reason"] for letter in letters] == [b"unmapped", b"invalid-field"]
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    audited = world.command("audit", "--json", MAPPING_FILE=MAPPING)
    assert audited.returncode == 0, audited.stdout


def test_keys_made_by_another_expression_do_not_count_as_seen_and_facts_stay(world: World) -> None:
    text, schema = example("order")
    world.create_topic()
    world.produce(Produced(world.value(order(1), schema)))
    connector = world.connector(MAPPING=text)
    connector.until_resolved(delivered=1)
    world.until_committed_to_the_end()
    assert connector.stop() == 0

    changed = text.replace('clientDedupeId = "orderId"', """clientDedupeId = "join('-', ['web', orderId])" """)
    world.produce(Produced(world.value(order(1), schema)))
    again = world.connector(MAPPING=changed)
    again.until_resolved(delivered=1)
    assert world.sandbox.accepted() == {str(UUID(int=1)): 1, f"web-{UUID(int=1)}": 1}


def test_check_names_every_path_that_the_newest_schema_lacks(world: World) -> None:
    text, schema = example("order")
    world.create_topic()
    world.produce(Produced(world.value(order(1), schema)))
    checked = world.command("check", MAPPING=text.replace("total.currency", "total.curency"))
    assert checked.returncode == 1
    assert "currencyCode: total.curency is not in schema" in checked.stdout
    assert "every path is in schema" in world.command("check", MAPPING=text).stdout
