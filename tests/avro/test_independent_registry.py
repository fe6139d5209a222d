"""Registry and decoder against a registry that is not ours: franz-go's, beside the sandbox's stand-in.

Confluent's own serialiser registers the schemas and writes the values. What only the independent one knows (GUIDs, contexts)
is asked of it alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
    prefix_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.avro.registry import NoGuids, Registry
from connector.errors import SchemaUnavailable, Undecodable, UnknownSchema
from connector.sandbox import serve
from tests.avro.samples import EVENT, ours
from tests.cache import kept
from tests.fetch import done, go
from tests.processes import ending
from tests.records import PolledRecord

PATIENCE = 30.0
SOURCE = Path(__file__).parent / "framings/registry"
UNKNOWN = 1_000_000


@pytest.fixture(scope="module")
def independent() -> Iterator[str]:
    """The address of a registry from franz-go, which ends with its standard input."""
    program = kept("registry-franz-go-sr-1.8.0", _built) / "registry"
    started = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ending(started):
        assert started.stdout is not None
        yield f"http://127.0.0.1:{int(started.stdout.readline())}"


def _built(directory: Path) -> None:
    """Build the registry: about a minute of a processor, once, most of it Go's own HTTP."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    command = [go(), "build", "-ldflags=-s", "-o", str(directory / "registry"), "."]
    done(command, SOURCE, "the registry of franz-go cannot be built: install Go 1.24 or newer", environment)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    loop = asyncio.new_event_loop()
    sandbox = loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield sandbox.registry_url
    asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["independent", "stand_in"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@contextmanager
def registry_at(url: str) -> Iterator[Registry]:
    registry = Registry({"url": url, "max.retries": "0"}, patience_seconds=PATIENCE)
    yield registry
    registry._connection._client.close()


def decoded(url: str, value: bytes, headers: Any = ()) -> Any:
    with registry_at(url) as registry:
        return EventDecoder(Framing.CONFLUENT, registry).decode(PolledRecord(value, headers_=list(headers)))


def serialized(url: str, topic: str, way: Any = prefix_schema_id_serializer) -> tuple[bytes, list[tuple[str, Any]]]:
    """Return an event as Confluent's serialiser writes it, and the headers that it adds."""
    headers: list[tuple[str, Any]] = []
    with SchemaRegistryClient({"url": url}) as client:
        client.register_schema(f"{topic}-value", Schema(json.dumps(ours()), "AVRO"))
        how = {"schema.id.serializer": way, "auto.register.schemas": False, "use.latest.version": True}
        value = AvroSerializer(client, json.dumps(ours()), conf=how)(
            EVENT, SerializationContext(topic, MessageField.VALUE, headers)
        )
    assert value is not None
    return value, headers


def test_what_confluents_serialiser_wrote_and_registered_is_decoded(url: str) -> None:
    value, headers = serialized(url, "orders")
    assert (value[0], headers) == (0, [])
    assert decoded(url, value) == EVENT


def test_a_guid_in_a_header_is_looked_up(independent: str) -> None:
    value, headers = serialized(independent, "by-guid", header_schema_id_serializer)
    ((name, content),) = headers
    assert (name, content[0], len(content)) == ("__value_schema_id", 1, 17)
    assert decoded(independent, value, headers) == EVENT


def test_a_guid_before_the_value_is_looked_up(independent: str) -> None:
    value, headers = serialized(independent, "by-guid", header_schema_id_serializer)
    ((_, content),) = headers
    assert decoded(independent, content + value) == EVENT


def test_an_unknown_guid_is_unknown_and_no_missing_route(independent: str) -> None:
    with registry_at(independent) as registry:
        with pytest.raises(SchemaUnavailable, match="and is asked again"):
            registry.definitions(UUID(int=1))
        with pytest.raises(UnknownSchema):
            registry.definitions(UUID(int=1), PATIENCE)


def test_a_registry_without_guids_is_told_from_one_that_does_not_know_one(stand_in: str) -> None:
    with registry_at(stand_in) as registry, pytest.raises(NoGuids):
        registry.definitions(UUID(int=1), PATIENCE)


def test_an_unknown_id_is_waited_for_and_then_unknown(url: str) -> None:
    with registry_at(url) as registry:
        with pytest.raises(SchemaUnavailable, match="and is asked again"):
            registry.definitions(UNKNOWN)
        with pytest.raises(UnknownSchema, match=f"has no schema {UNKNOWN}$"):
            registry.definitions(UNKNOWN, PATIENCE)


def test_schemas_that_are_referred_to_come_before_it(url: str) -> None:
    money = {"type": "record", "name": "Money", "namespace": "shared", "fields": [{"name": "amount", "type": "long"}]}
    line = {"type": "record", "name": "Line", "namespace": "shared", "fields": [{"name": "price", "type": "Money"}]}
    fields = [{"name": "lines", "type": {"type": "array", "items": "shared.Line"}}]
    order = {"type": "record", "name": "Order", "fields": fields}
    with SchemaRegistryClient({"url": url}) as client:
        client.register_schema("shared/Money", Schema(json.dumps(money), "AVRO"))
        to_money = SchemaReference("shared.Money", "shared/Money", 1)
        client.register_schema("shared.Line", Schema(json.dumps(line), "AVRO", [to_money]))
        to_line = SchemaReference("shared.Line", "shared.Line", 1)
        schema_id = client.register_schema("referring-value", Schema(json.dumps(order), "AVRO", [to_line]))
    with registry_at(url) as registry:
        assert [each["name"] for each in registry.definitions(schema_id)] == ["Money", "Line", "Order"]
        found = registry.newest("referring-value")
    assert found is not None
    assert (found[0], [each["name"] for each in found[1]]) == (schema_id, ["Money", "Line", "Order"])


def test_the_newest_version_is_found_and_an_older_id_is_still_decoded(url: str) -> None:
    old, new = (ours() | {"doc": text} for text in ("old", "new"))
    with SchemaRegistryClient({"url": url}) as client:
        ids = [client.register_schema("aging-value", Schema(json.dumps(each), "AVRO")) for each in (old, new)]
    with registry_at(url) as registry:
        found = registry.newest("aging-value")
        assert found is not None
        assert (found[0], found[1][-1]["doc"]) == (ids[1], "new")
        assert registry.definitions(ids[0])[-1]["doc"] == "old"


def test_a_subject_that_nobody_registered_is_not_known(url: str) -> None:
    serialized(url, "orders")
    with registry_at(url) as registry:
        registry.check()
        assert registry.knows("orders-value")
        assert not registry.knows("never-registered-value")


def test_ids_of_a_context_are_found_at_its_address_and_at_no_others(independent: str) -> None:
    staged = '{"type": "record", "name": "Staged", "fields": []}'
    with SchemaRegistryClient({"url": independent}) as client:
        schema_id = client.register_schema(":.staging:orders-value", Schema(staged, "AVRO"))
    with registry_at(f"{independent}/contexts/.staging") as registry:
        assert [each["name"] for each in registry.definitions(schema_id)] == ["Staged"]
    with registry_at(f"{independent}/contexts/.other") as registry, pytest.raises(UnknownSchema):
        registry.definitions(schema_id, PATIENCE)


def test_a_schema_that_is_not_avro_is_called_what_it_is(independent: str) -> None:
    proto = Schema('syntax = "proto3"; message Order { string id = 1; }', "PROTOBUF")
    with SchemaRegistryClient({"url": independent}) as client:
        schema_id = client.register_schema("proto-value", proto)
    with registry_at(independent) as registry, pytest.raises(Undecodable, match="its schema is not Avro but PROTOBUF"):
        registry.definitions(schema_id)
