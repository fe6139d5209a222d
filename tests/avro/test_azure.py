"""Azure Schema Registry: Azure's own client, against a server that answers as Azure's documentation says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.identity import CredentialUnavailableError

from connector.avro.azure import Azure, namespace_client
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.avro.registry import Registry
from connector.errors import SchemaDenied, SchemaUnavailable, SettingsError, Undecodable, UnknownSchema
from tests.avro.framings.confluent import EVENT, SCHEMA
from tests.avro.test_registry import Server, with_certificate
from tests.records import PolledRecord

(MADE,) = (
    each
    for each in json.loads((Path(__file__).parent / "framings" / "java.json").read_text("utf-8"))
    if each["framing"] == "azure"
)
ID = MADE["id"]
PATH = f"/$schemaGroups/$schemas/{ID}"
AVRO = "application/json; serialization=Avro"


class Token:
    def get_token(self, *_scopes: str, **_how: Any) -> AccessToken:
        return AccessToken("token", 2**33)


class NoToken:
    def get_token(self, *_scopes: str, **_how: Any) -> AccessToken:
        raise CredentialUnavailableError("secret")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[Server, Any]]:
    """A server, and a client that trusts its certificate."""
    server, certificate = with_certificate(tmp_path)
    server.headers = {
        "Content-Type": AVRO,
        "Schema-Id": ID,
        "Schema-Group-Name": "shop",
        "Schema-Name": "com.shop.Order",
        "Schema-Version": "1",
    }
    with namespace_client(server.url, credential=Token(), connection_verify=str(certificate), retry_total=0) as client:
        yield server, client
    server.stop()


def registry(client: Any) -> Registry:
    return Registry({}, api=Azure(client))


def test_what_azures_serialiser_wrote_is_read_and_the_schema_is_asked_for_once(made: tuple[Server, Any]) -> None:
    server, client = made
    server.answers[PATH] = 200, SCHEMA
    decoder = EventDecoder(Framing.AZURE, registry(client))
    headers: Any = [(name, bytes.fromhex(content)) for name, content in MADE["headers"]]
    assert [decoder.decode(PolledRecord(bytes.fromhex(MADE["value"]), headers_=headers)) for _ in range(2)] == [EVENT] * 2
    assert server.asked == [PATH]
    assert server.authorization == ["Bearer token"]


def test_only_azures_own_answer_says_that_there_is_no_such_schema(made: tuple[Server, Any]) -> None:
    server, client = made
    server.headers = {"Content-Type": "application/json"}
    server.answers[PATH] = 404, {"error": {"code": "ItemNotFound", "message": "…"}}
    with pytest.raises(UnknownSchema, match=f"^the schema registry has no schema {ID}$"):
        registry(client).definitions(ID)
    server.answers[PATH] = 404, {"error": {"code": "NotFound", "message": "…"}}
    with pytest.raises(SchemaDenied, match="HTTP 404"):
        registry(client).definitions(ID)


@pytest.mark.parametrize(("status", "error"), [(401, SchemaDenied), (403, SchemaDenied), (500, SchemaUnavailable)])
def test_other_refusals(made: tuple[Server, Any], status: int, error: type[Exception]) -> None:
    server, client = made
    server.headers = {"Content-Type": "application/json"}
    server.answers[PATH] = status, {"error": {"code": "Other", "message": "…"}}
    with pytest.raises(error, match=f"HTTP {status}") as caught:
        registry(client).definitions(ID)
    assert type(caught.value) is error


def test_who_has_no_credentials_is_told_so_without_their_text() -> None:
    with (
        namespace_client("https://localhost:1", credential=NoToken()) as client,
        pytest.raises(SchemaDenied, match="HTTP 401") as caught,
    ):
        registry(client).definitions(ID)
    assert "secret" not in str(caught.value)


def test_no_answer_at_all_passes() -> None:
    with (
        namespace_client("https://localhost:1", credential=Token(), retry_total=0) as client,
        pytest.raises(SchemaUnavailable, match=r"did not answer with schema .* \(ServiceRequestError\)$"),
    ):
        registry(client).definitions(ID)


def test_a_schema_of_another_kind_is_undecodable(made: tuple[Server, Any]) -> None:
    server, client = made
    server.headers["Content-Type"] = "application/json; serialization=Json"
    server.answers[PATH] = 200, {}
    with pytest.raises(Undecodable, match="not Avro but JSON"):
        registry(client).definitions(ID)


def test_check_asks_for_what_nobody_has(made: tuple[Server, Any]) -> None:
    server, client = made
    server.headers = {"Content-Type": "application/json"}
    server.answers["/$schemaGroups/$schemas/" + "0" * 32] = 404, {"error": {"code": "ItemNotFound", "message": "…"}}
    registry(client).check()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url", ["http://example.servicebus.windows.net", "https://example.net/path", "https://user@example.net"]
)
def test_another_address_than_a_namespace_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^SCHEMA_REGISTRY_URL: give the namespace"):
        namespace_client(url)


def test_credentials_come_from_where_a_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.setenv(name, "given")
    with namespace_client("https://example.servicebus.windows.net/") as client:
        used = client._generated_client._config.credential.credentials
    names = [type(each).__name__ for each in used]
    assert names == ["EnvironmentCredential", "WorkloadIdentityCredential", "ManagedIdentityCredential"]


def test_proxies_of_the_environment_are_not_used(made: tuple[Server, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = made
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.answers[PATH] = 200, SCHEMA
    assert registry(client).definitions(ID) == [SCHEMA]


def test_the_schema_of_a_topic_is_not_told(made: tuple[Server, Any]) -> None:
    server, client = made
    assert registry(client).newest_of_topic("orders") is None
    assert server.asked == []
