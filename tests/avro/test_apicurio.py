"""Apicurio's own API, against a server that answers as its documentation and its source say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from connector.avro.apicurio import Apicurio
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.avro.registry import Registry
from connector.avro.registry_client import registry_client
from connector.avro.writer_schema import parse
from connector.errors import SchemaDenied, SchemaUnavailable, Undecodable, UnknownSchema
from tests.avro.framings.confluent import EVENT, SCHEMA
from tests.avro.test_registry import Server
from tests.records import PolledRecord

MADE = json.loads((Path(__file__).parent / "framings" / "java.json").read_text("utf-8"))
V3 = "/apis/registry/v3"
NOT_FOUND = 404, {"detail": "…", "title": "No content with id/hash 'contentId-5' was found.", "status": 404}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


RegistryAt = Callable[..., Registry]


@pytest.fixture
def registry_at() -> Iterator[RegistryAt]:
    with ExitStack() as clients:

        def made(*urls: str, **properties: str) -> Registry:
            client, deadline = registry_client({"url": ",".join(urls), "max.retries": "0", **properties})
            clients.callback(client.close)
            return Registry({}, api=Apicurio(client, deadline))

        yield made


@pytest.fixture
def registry(server: Server, registry_at: RegistryAt) -> Registry:
    return registry_at(server.url + V3)


def test_what_apicurios_serialiser_wrote_is_read_by_the_id_that_it_wrote(server: Server, registry: Registry) -> None:
    for path in ("contentIds/16909060", "globalIds/16909061"):
        server.answers[f"{V3}/ids/{path}"] = 200, SCHEMA
        server.answers[f"{V3}/ids/{path}/references"] = 200, []
    decoder = EventDecoder(Framing.APICURIO, registry)
    made = [each for each in MADE if each["framing"].startswith("apicurio") and "JSON" not in each["framing"]]
    assert len(made) == 4
    for each in made:
        headers: Any = [(name, bytes.fromhex(content)) for name, content in each["headers"]]
        assert decoder.decode(PolledRecord(bytes.fromhex(each["value"]), headers_=headers)) == EVENT
    assert server.asked == [
        f"{V3}/ids/{path}{more}" for path in ("contentIds/16909060", "globalIds/16909061") for more in ("", "/references")
    ]


@pytest.mark.parametrize(("base", "content"), [(V3, "/content"), ("/apis/registry/v2", "")])
def test_types_of_other_artifacts_come_first_and_once(
    server: Server, registry_at: RegistryAt, base: str, content: str
) -> None:
    place = {"type": "record", "name": "Place", "namespace": "shop", "fields": [{"name": "zip", "type": "string"}]}
    person = {"type": "record", "name": "Person", "namespace": "shop", "fields": [{"name": "at", "type": "Place"}]}
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "by", "type": "Person"}, {"name": "to", "type": "Place"}],
    }
    to_place = {"groupId": None, "artifactId": "shop.Place", "version": "1", "name": "shop.Place"}
    to_person = {"groupId": "shop/eu", "artifactId": "shop.Person", "version": "1.2", "name": "shop.Person"}
    paths = {
        "ids/globalIds/5": (order, [to_person, to_place]),
        "groups/shop%2Feu/artifacts/shop.Person/versions/1.2": (person, [to_place]),
        "groups/default/artifacts/shop.Place/versions/1": (place, []),
    }
    for path, (schema, references) in paths.items():
        server.answers[f"{base}/{path}{content if path.startswith('groups') else ''}"] = 200, schema
        server.answers[f"{base}/{path}/references"] = 200, references
    definitions = registry_at(server.url + base).definitions("globalId 5")
    assert [definition["name"] for definition in definitions] == ["Place", "Person", "Order"]
    assert parse(definitions).types.keys() == {"shop.Place", "shop.Person", "shop.Order"}
    assert len(server.asked) == 6


@pytest.mark.parametrize("name", ["ContentNotFoundException", "ArtifactNotFoundException", "VersionNotFoundException"])
def test_only_apicurios_own_answer_says_that_there_is_no_such_schema(server: Server, registry: Registry, name: str) -> None:
    status, body = NOT_FOUND
    server.answers[f"{V3}/ids/contentIds/5"] = status, {**body, "name": name}
    with pytest.raises(UnknownSchema, match=r"^the schema registry has no schema contentId 5$"):
        registry.definitions("contentId 5")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", {"name": "NotFoundException"}, {"error_code": 40403}])
def test_another_404_is_an_address_that_an_operator_has_to_correct(server: Server, registry: Registry, body: object) -> None:
    server.answers[f"{V3}/ids/contentIds/5"] = 404, body
    with pytest.raises(SchemaDenied, match="HTTP 404"):
        registry.definitions("contentId 5")


@pytest.mark.parametrize(("status", "error"), [(401, SchemaDenied), (403, SchemaDenied), (500, SchemaUnavailable)])
def test_other_refusals(server: Server, registry: Registry, status: int, error: type[Exception]) -> None:
    server.answers[f"{V3}/ids/contentIds/5"] = status, {"name": "ForbiddenException"}
    with pytest.raises(error, match=f"HTTP {status}") as caught:
        registry.definitions("contentId 5")
    assert type(caught.value) is error


def test_what_is_no_avro_is_undecodable(server: Server, registry: Registry) -> None:
    server.answers[f"{V3}/ids/contentIds/5"] = 200, b'syntax = "proto3";'
    server.answers[f"{V3}/ids/contentIds/5/references"] = 200, []
    with pytest.raises(Undecodable, match="its schema is not JSON"):
        registry.definitions("contentId 5")


def test_the_next_address_is_asked_when_one_does_not_answer(server: Server, registry_at: RegistryAt) -> None:
    down = Server()
    down.answers = {"/ids/contentIds/5": (503, b""), "/ids/contentIds/5/references": (429, b"")}
    server.answers["/ids/contentIds/5"] = 200, SCHEMA
    server.answers["/ids/contentIds/5/references"] = 200, []
    try:
        registry = registry_at("http://127.0.0.1:1", down.url, server.url, **{"basic.auth.user.info": "user:password"})
        assert registry.definitions("contentId 5") == [SCHEMA]
    finally:
        down.stop()
    assert down.asked == ["/ids/contentIds/5", "/ids/contentIds/5/references"]
    assert server.authorization == ["Basic dXNlcjpwYXNzd29yZA=="] * 2


def test_check_asks_for_an_id(server: Server, registry: Registry) -> None:
    with pytest.raises(SchemaDenied):
        registry.check()
    server.answers[f"{V3}/ids/globalIds/1"] = 404, {"name": "ArtifactNotFoundException"}
    registry.check()


@pytest.mark.parametrize(
    ("base", "place"),
    [
        (V3, "groups/default/artifacts/shop%2Forders-value/versions/branch=latest"),
        ("/apis/registry/v2", "groups/default/artifacts/shop%2Forders-value/meta"),
    ],
)
def test_the_newest_schema_of_a_topic_is_that_of_the_default_artifact(
    server: Server, registry_at: RegistryAt, base: str, place: str
) -> None:
    server.answers[f"{base}/{place}"] = 200, {"contentId": 9, "globalId": 4, "version": "2"}
    server.answers[f"{base}/ids/contentIds/9"] = 200, SCHEMA
    server.answers[f"{base}/ids/contentIds/9/references"] = 200, []

    assert registry_at(server.url + base).newest_of_topic("shop/orders") == [SCHEMA]
    assert registry_at(server.url + base).newest_of_topic("others") is None
