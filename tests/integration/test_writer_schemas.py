"""Topics with others' schemas: the same event arrives, whatever the names, order and types."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from tests.avro.samples import ours, with_field
from tests.integration.brokers import Produced, headers_of, read_topic
from tests.integration.events import event
from tests.integration.program import World
from tests.patience import eventually, patience

_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
_KIND = {"type": "enum", "name": "Kind", "symbols": ["LEAD", "OFF_AMAZON_PURCHASES"]}
_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}


def _written_by_others(inputs: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Return one event as others would write it: schema and inputs, ours first."""
    reversed_fields = copy.deepcopy(ours())
    reversed_fields["fields"].reverse()
    fewer = copy.deepcopy(ours())
    absent = {"consent", "customAttributes", "dataProcessingOptions"}
    fewer["fields"] = [field for field in fewer["fields"] if field["name"] not in absent]
    more = copy.deepcopy(ours())
    more["fields"].insert(3, {"name": "warehouse", "type": {"type": "map", "values": "long"}})
    return [
        (ours(), inputs),
        (ours() | {"name": "Bestellung", "namespace": "de.example.laden"}, inputs),
        (reversed_fields, inputs),
        (with_field("unitsSold", type="int"), inputs),
        (with_field("eventType", type=_KIND), inputs),
        (with_field("value", type=["null", _DECIMAL]), inputs | {"value": Decimal("12.50")}),
        (with_field("timestamp", type=_MICROS), inputs | {"timestamp": inputs["timestamp"] * 1000 + 7}),
        (fewer, inputs),
        (more, inputs | {"warehouse": {"shelf": 4}}),
    ]


def test_one_topic_with_the_schemas_of_many_writers_arrives_as_the_same_event(world: World) -> None:
    writers = _written_by_others(event("bought"))
    world.create_topic(len(writers))  # a partition each: within one, the second would be a duplicate
    for partition, (schema, inputs) in enumerate(writers):
        world.produce(Produced(world.value(inputs, schema), partition=partition))

    connector = world.connector()
    connector.until_resolved(delivered=len(writers))

    assert world.sandbox.accepted() == {"bought": len(writers)}
    assert len({line["digest"] for line in world.sandbox.record()}) == 1


def test_ids_of_several_schemas_alternate_in_a_partition_and_an_unknown_one_stops_nothing(world: World) -> None:
    world.create_topic()
    micros = with_field("timestamp", type=_MICROS)
    late = event("2") | {"timestamp": event("2")["timestamp"] * 1000}
    world.produce(
        event("1"),
        Produced(world.value(late, micros)),
        Produced(framed(999_999, world.value(event("lost"))[5:])),
        event("3"),
        Produced(world.value(late | {"clientDedupeId": "4"}, micros)),
    )

    connector = world.connector()
    connector.until_resolved(delivered=4, dead_lettered=1)

    assert world.sandbox.accepted() == {"1": 1, "2": 1, "3": 1, "4": 1}
    (letter,) = read_topic(world.servers, world.dead_letters)
    assert dict(headers_of(letter))["connector.reason"] == b"unknown-schema"


def test_plain_avro_is_read_by_the_schema_of_a_file(world: World) -> None:
    world.create_topic()
    schema = with_field("timestamp", type=_MICROS)
    file = world.directory / "writer.avsc"
    file.write_text(json.dumps(schema))
    inputs = event("bought")
    plain = EventEncoder(schema).encode(inputs | {"timestamp": inputs["timestamp"] * 1000})
    world.produce(Produced(plain), Produced(world.value(inputs)))  # the second is framed, so it is no plain Avro

    connector = world.connector(AVRO_SCHEMA_FILE=str(file), SCHEMA_REGISTRY_URL=None)
    connector.until_resolved(delivered=1, dead_lettered=1)

    assert world.sandbox.accepted() == {"bought": 1}


def test_while_the_registry_is_down_partitions_wait_and_nothing_is_dead_lettered(world: World) -> None:
    world.create_topic(2)
    world.produce(event("1"), event("2"))
    world.produce(event("3"), partition=1)
    world.sandbox.set_faults(registry_down=True)

    connector = world.connector()
    connector.until_said("schema_unavailable", message="the schema registry answered HTTP 503")
    eventually(lambda: connector.metrics().get('connector_paused{reason="schema"}') == 2, "both partitions wait")
    assert connector.outcomes() == {}
    assert connector.page("/livez")[0] == 200

    world.sandbox.set_faults()
    connector.until_said("schema_available")
    connector.until_resolved(delivered=3)
    assert connector.metrics()['connector_paused{reason="schema"}'] == 0
    assert read_topic(world.servers, world.dead_letters) == []


def test_a_schema_that_the_registry_has_late_holds_up_its_partition_alone_and_costs_no_letter(world: World) -> None:
    world.create_topic(2)
    late = world.another_sandbox()
    late.register("first", ours())
    world.produce(
        *(Produced(framed(2, EventEncoder(_LATE).encode(event(f"order-{number}")))) for number in range(200)),
        Produced(framed(1, EventEncoder().encode(event("other-1"))), partition=1),
    )

    connector = world.connector(SCHEMA_REGISTRY_URL=late.registry_url, UNKNOWN_SCHEMA_PATIENCE="600s")
    connector.until_said("schema_unavailable", message="the schema registry has no schema 2, and is asked again for 600 s")
    connector.until_resolved(delivered=1)
    assert connector.metrics()['connector_paused{reason="schema"}'] == 1
    assert connector.page("/livez")[0] == 200

    assert late.register("second", _LATE) == 2
    connector.until_resolved(delivered=201)
    assert read_topic(world.servers, world.dead_letters) == []


_LATE = ours() | {"doc": "another"}


def test_many_unknown_ids_of_a_slow_registry_become_letters_while_it_polls_and_others_go_on(world: World) -> None:
    world.create_topic(2)
    registry = world.another_sandbox()
    registry.register("first", ours())
    world.produce(*(Produced(framed(1_000 + number, b"")) for number in range(100)))
    slow = min(3.0, patience(1.0))  # all of them take longer than a member may go without a poll, at any pace
    registry.set_faults(registry_latency_ms=round(100 * slow))

    connector = world.connector(
        SCHEMA_REGISTRY_URL=registry.registry_url,
        KAFKA_SESSION_TIMEOUT_MS=str(round(6_000 * slow)),
        KAFKA_MAX_POLL_INTERVAL_MS=str(round(6_000 * slow)),
        DRAIN_TIMEOUT="4s",
        KAFKA_GROUP_PROTOCOL="classic",
    )
    connector.until_said("schema_unavailable")
    for number in range(5):
        world.produce(Produced(framed(1, EventEncoder().encode(event(f"order-{number}"))), partition=1))
    connector.until_resolved(dead_lettered=100, delivered=5)

    letters = read_topic(world.servers, world.dead_letters)
    assert {dict(headers_of(letter))["connector.reason"] for letter in letters} == {b"unknown-schema"}
    assert connector.metrics()["connector_released_total"] == 0


def test_what_only_java_takes_and_null_in_the_place_of_an_event_arrive(world: World) -> None:
    world.create_topic()
    schema = copy.deepcopy(ours()) | {"namespace": "com.shop"}
    row = {"type": "record", "name": "row", "namespace": "", "fields": [{"name": "op", "type": _PAID}]}
    node = {"type": "record", "name": "Category", "fields": [{"name": "parent", "type": ["null", "Category"]}]}
    schema["fields"][:0] = [{"name": "row", "type": row}, {"name": "category", "type": node}]
    again = {"name": "again", "type": ["null", "row"], "default": "none"}
    value = b"\x02" + b"\x04" + b"\x02\x02\x00" + EventEncoder().encode(event("bought")) + b"\x02\x00"
    schema_id = world.sandbox.register(f"{world.topic}-value", ["null", schema | {"fields": [*schema["fields"], again]}])
    world.produce(Produced(framed(schema_id, value)), Produced(framed(schema_id, b"\x00")))

    connector = world.connector()
    connector.until_resolved(delivered=1, ignored=1)

    assert world.sandbox.accepted() == {"bought": 1}
    assert read_topic(world.servers, world.dead_letters) == []


_PAID = {"type": "enum", "name": "Zahlart", "symbols": ["ÜBERWEISUNG", "SEPA-Lastschrift", "Rechnung"]}


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_password_in_the_registrys_address_is_never_shown(world: World, command: str) -> None:
    world.create_topic()
    address = world.sandbox.registry_url.replace("//", "//reader:p%40ss%2Fword:@canary@")
    changes = {
        "SCHEMA_REGISTRY_URL": f"{address},{address}",
        "SCHEMA_REGISTRY_PROXY": world.sandbox.url.replace("//", "//proxy:canary@"),
        "LOG_LEVEL": "debug",
    }
    if command == "check":
        checked = world.command("check", **changes)
        assert checked.returncode in (0, 1)
        said = checked.stdout + checked.stderr
    else:
        connector = world.connector(**changes)
        connector.until_said("started")
        world.produce(Produced(framed(999_999, b"")))
        connector.until_said("schema_unavailable")
        said = connector.output
    assert "//***@127.0.0.1" in said
    assert [part for part in ("canary", "p%40ss", "p@ss", "word", "reader") if part in said] == []


def test_what_is_no_registry_needs_an_operator_and_makes_no_letter(world: World) -> None:
    world.create_topic()
    world.produce(event("1"))
    connector = world.connector(SCHEMA_REGISTRY_URL=f"{world.sandbox.url}/nowhere")
    connector.until_said("operator_needed")
    status, page = connector.page("/readyz")
    assert status == 503
    assert "the schema registry refuses this client, or is not at its address (HTTP 404)" in page
    assert connector.outcomes() == {}
