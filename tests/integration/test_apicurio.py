"""A real Apicurio Registry: by its own API and by that of Confluent's kind, what is previewed is what runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from connector.avro.encoding import EventEncoder
from tests.avro.samples import ours
from tests.integration.apicurio.registry import Apicurio, apicurio
from tests.integration.brokers import Produced, headers_of, read_topic
from tests.integration.events import event
from tests.integration.program import World
from tests.patience import eventually

pytestmark = pytest.mark.kafka

UNKNOWN = 1_000_000


@pytest.fixture(scope="module")
def registry() -> Iterator[Apicurio]:
    with apicurio() as registry:
        yield registry


def in_two() -> tuple[Any, Any]:
    """Return our schema without one of its types, and that type."""
    whole = copy.deepcopy(ours())
    (keys,) = [field for field in whole["fields"] if field["name"] == "matchKeys"]
    apart = keys["type"]["items"]
    name = f"shared.{apart['name']}"
    keys["type"]["items"] = name
    return whole, apart | {"namespace": "shared"}


def said(world: World, what: str, *arguments: str, **settings: str) -> str:
    """Return what a command says once ``what`` is in it: on a busy machine the registry may answer too late at first."""

    def whole() -> str:
        output = world.command(*arguments, **settings).stdout
        return output if what in output else ""

    return eventually(whole, f"{arguments[0]} says {what}")


def previewed_and_run(world: World, count: int, **settings: str) -> list[dict[str, Any]]:
    """Return what `preview` says of each record, after `run` has sent those of which it says so."""
    last = f'"offset": {count - 1},'
    output = said(world, last, "preview", "--json", "--records", str(count), **settings)
    rows: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    assert len(rows) == count
    sent = [row["event"]["eventId"] for row in rows if row["verdict"] == "send"]
    connector = world.connector(**settings)
    connector.until_resolved(delivered=len(sent), dead_lettered=len(rows) - len(sent))
    assert world.sandbox.accepted() == dict.fromkeys(sent, 1)
    return rows


def test_both_ids_in_prefixes_and_headers_with_types_of_other_artifacts(world: World, registry: Apicurio) -> None:
    schema, apart = in_two()
    groups = f"{world.topic} a/b", "default"
    registry.register(groups[0], "shared/MatchKey", apart)
    to_keys = [("shared.MatchKey", groups[0], "shared/MatchKey")]
    registry.register(groups[0], "the same content", schema, to_keys)
    made = registry.register(groups[1], f"{world.topic}-value", schema, to_keys)
    assert made.global_id != made.content_id

    encoder = EventEncoder(ours())
    global_id, content_id = made.global_id.to_bytes(8, "big"), made.content_id.to_bytes(8, "big")
    world.create_topic()
    world.produce(
        Produced(b"\0" + global_id + encoder.encode(event("global, prefix"))),
        Produced(b"\0" + content_id[4:] + encoder.encode(event("content, prefix"))),
        Produced(encoder.encode(event("global, header")), headers=[("apicurio.value.globalId", global_id)]),
        Produced(
            encoder.encode(event("content, header")),
            headers=[("apicurio.value.contentId", content_id), ("apicurio.value.encoding", b"BINARY")],
        ),
        Produced(b"\0" + UNKNOWN.to_bytes(8, "big") + encoder.encode(event("unknown, global"))),
        Produced(b"\0" + UNKNOWN.to_bytes(4, "big") + encoder.encode(event("unknown, content"))),
    )
    settings = {"SCHEMA_REGISTRY_TYPE": "apicurio", "SCHEMA_REGISTRY_URL": f"{registry.url}/apis/registry/v2"}
    rows = previewed_and_run(world, 6, **settings)
    ids = [f"globalId {made.global_id}", f"contentId {made.content_id}"] * 2
    assert [row["schema"]["id"] for row in rows[:4]] == ids
    assert {row["schema"]["name"] for row in rows[:4]} == {"ads.conversions.ConversionEvent"}
    assert [row["reason"] for row in rows] == [None] * 4 + ["unknown-schema"] * 2
    letters = [dict(headers_of(letter)) for letter in read_topic(world.servers, world.dead_letters)]
    assert [letter["connector.reason"] for letter in letters] == [b"unknown-schema"] * 2

    said(world, "every path is in the newest schema", "check", MAPPING=MAPPING, **settings)


MAPPING = """
version = 1
[[mapping]]
inherit = true
[mapping.matchKeys]
EMAIL = "matchKeys[0].value"
"""


def test_what_confluents_serialiser_registers_by_the_compatible_api(world: World, registry: Apicurio) -> None:
    schema, apart = in_two()
    url = f"{registry.url}/apis/ccompat/v7"
    subject = f"{world.topic}-value"
    with SchemaRegistryClient({"url": url}) as client:
        client.register_schema("shared.MatchKey", Schema(json.dumps(apart), "AVRO"))
        reference = SchemaReference("shared.MatchKey", "shared.MatchKey", 1)
        client.register_schema(subject, Schema(json.dumps(schema), "AVRO", [reference]))
        how = {"auto.register.schemas": False, "use.latest.version": True}
        serialize = AvroSerializer(client, conf=how)
        values = [serialize(event(each), SerializationContext(world.topic, MessageField.VALUE)) for each in ("1", "2")]
    world.create_topic()
    unknown = b"\0" + UNKNOWN.to_bytes(4, "big") + values[0][5:]
    world.produce(*map(Produced, [*values, unknown]))

    rows = previewed_and_run(world, 3, SCHEMA_REGISTRY_URL=url)
    assert [row["reason"] for row in rows] == [None, None, "unknown-schema"]
    said(world, "every path is in schema", "check", MAPPING=MAPPING, SCHEMA_REGISTRY_URL=url)
