"""AWS Glue's registry, by boto3's own stand-in for its answers, and by moto's server: no request leaves this host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.request import Request, urlopen
from uuid import UUID

import boto3
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.avro.glue import Glue, session_client
from connector.avro.registry import Registry
from connector.errors import SchemaDenied, SchemaUnavailable, SettingsError, Undecodable, UnknownSchema
from tests.avro.framings.confluent import EVENT, SCHEMA
from tests.patience import patience
from tests.records import PolledRecord

VERSION = "b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63"
ASKED = {"SchemaVersionId": VERSION}
MADE = json.loads((Path(__file__).parent / "framings" / "java.json").read_text("utf-8"))


@pytest.fixture
def stub() -> Any:
    client = boto3.client("glue", region_name="eu-central-1", aws_access_key_id="id", aws_secret_access_key="secret")
    with Stubber(client) as stub:
        yield stub


def registry(stub: Any, patience_seconds: float = 0.0) -> Registry:
    return Registry({}, patience_seconds=patience_seconds, api=Glue(stub.client))


def answer(schema: Any, kind: str = "AVRO") -> dict[str, Any]:
    return {"SchemaVersionId": VERSION, "SchemaDefinition": json.dumps(schema), "DataFormat": kind, "Status": "AVAILABLE"}


def test_what_glues_serialiser_wrote_is_read_and_the_schema_is_asked_for_once(stub: Any) -> None:
    stub.add_response("get_schema_version", answer(SCHEMA), ASKED)
    decoder = EventDecoder(Framing.GLUE, registry(stub))
    values = [bytes.fromhex(made["value"]) for made in MADE if made["framing"].startswith("glue")]
    assert [decoder.decode(PolledRecord(value)) for value in values] == [EVENT, EVENT]
    stub.assert_no_pending_responses()


def test_a_version_that_is_not_there_is_unknown_after_the_patience(stub: Any) -> None:
    waits = registry(stub, 30.0)
    for _ in range(2):
        stub.add_client_error("get_schema_version", "EntityNotFoundException", http_status_code=400, expected_params=ASKED)
    with pytest.raises(
        SchemaUnavailable, match=f"^the schema registry has no schema {VERSION}, and is asked again for 30 s$"
    ):
        waits.definitions(UUID(VERSION))
    waits._absent.clear()
    with pytest.raises(UnknownSchema):
        waits.definitions(UUID(VERSION), 30.0)


def test_who_may_not_ask_is_an_operators_business(stub: Any) -> None:
    stub.add_client_error("get_schema_version", "AccessDeniedException", http_status_code=400)
    with pytest.raises(SchemaDenied):
        registry(stub).definitions(UUID(VERSION))


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalServiceException", 500)])
def test_other_errors_pass(stub: Any, code: str, status: int) -> None:
    stub.add_client_error("get_schema_version", code, http_status_code=status)
    with pytest.raises(SchemaUnavailable) as caught:
        registry(stub).definitions(UUID(VERSION))
    assert not isinstance(caught.value, SchemaDenied)


def test_no_answer_at_all_passes() -> None:
    class Nobody:
        def get_schema_version(self, **_: object) -> None:
            raise ConnectionError("https://secret@glue")

    with pytest.raises(SchemaUnavailable, match=r"did not answer with schema .* \(ConnectionError\)$"):
        Registry({}, api=Glue(Nobody())).definitions(UUID(VERSION))


def test_a_question_that_hangs_is_waited_for_up_to_its_deadline_and_asked_once() -> None:
    class Hanging:
        asked = 0
        released = Event()

        def get_schema_version(self, **_: object) -> dict[str, Any]:
            self.asked += 1
            assert self.released.wait(patience(60))
            return answer(SCHEMA)

    client, now = Hanging(), [0.0]
    hangs = Registry({}, lambda: now[0], api=Glue(client, question_seconds=0.05))
    for _ in range(3):
        with pytest.raises(SchemaUnavailable, match=r"did not answer with schema .* \(TimeoutError\)$"):
            hangs.definitions(UUID(VERSION))
        now[0] += 60
    assert client.asked == 1

    client.released.set()
    until = monotonic() + patience(30)
    while monotonic() < until:
        with suppress(SchemaUnavailable):
            assert hangs.definitions(UUID(VERSION))
            break
        now[0] += 60
    assert client.asked == 2


def test_a_schema_of_another_kind_is_undecodable(stub: Any) -> None:
    stub.add_response("get_schema_version", answer({}, "PROTOBUF"), ASKED)
    with pytest.raises(Undecodable, match="not Avro but PROTOBUF"):
        registry(stub).definitions(UUID(VERSION))


def test_check_asks_for_what_nobody_has(stub: Any) -> None:
    nothing = {"SchemaVersionId": str(UUID(int=0))}
    stub.add_client_error("get_schema_version", "EntityNotFoundException", http_status_code=400, expected_params=nothing)
    registry(stub).check()
    stub.add_client_error("get_schema_version", "AccessDeniedException", http_status_code=400)
    with pytest.raises(SchemaDenied):
        registry(stub).check()


def test_the_client_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = session_client("eu-central-1", None)
    assert client.meta.region_name == "eu-central-1"
    bounds = client.meta.config
    assert (bounds.connect_timeout, bounds.read_timeout, bounds.retries["total_max_attempts"]) == (3.0, 3.0, 2)


@pytest.mark.usefixtures("moto")
@pytest.mark.parametrize("role", [None, "arn:aws:iam::123456789012:role/schemas"])
def test_proxies_of_the_environment_are_not_used(role: str | None) -> None:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            environment.setenv(name, "http://127.0.0.1:1")
        for name in ("NO_PROXY", "no_proxy"):
            environment.delenv(name, raising=False)
        with pytest.raises(UnknownSchema):
            Registry({}, api=Glue(session_client("eu-central-1", role))).definitions(UUID(VERSION))


def test_a_role_is_assumed_when_credentials_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = session_client("eu-central-1", "arn:aws:iam::123456789012:role/schemas")
    assert client._request_signer._credentials.method == "assume-role"


def test_without_a_region_the_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(SettingsError, match=r"^SCHEMA_REGISTRY_REGION.*boto3 refuses them \(NoRegionError\)$"):
        session_client(None, None)


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that plays AWS, to which boto3's clients are pointed, and a client of its Glue."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield boto3.client("glue", region_name="eu-central-1")
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()  # its state is the process's
    server.stop()


@pytest.mark.parametrize("role", [None, "arn:aws:iam::123456789012:role/schemas"])
def test_a_schema_that_is_registered_is_had_from_the_server(moto: Any, role: str | None) -> None:
    moto.create_registry(RegistryName="shop")
    registered = moto.create_schema(
        RegistryId={"RegistryName": "shop"},
        SchemaName="orders",
        DataFormat="AVRO",
        Compatibility="NONE",
        SchemaDefinition=json.dumps(SCHEMA),
    )
    version = UUID(registered["SchemaVersionId"])
    had = Registry({}, api=Glue(session_client("eu-central-1", role)))
    had.check()
    made = next(each for each in MADE if each["framing"] == "glue none")
    value = bytes.fromhex(made["value"].replace(made["id"].replace("-", ""), version.hex))
    assert EventDecoder(Framing.GLUE, had).decode(PolledRecord(value)) == EVENT
    with pytest.raises(UnknownSchema):
        had.definitions(UUID(VERSION))


def test_the_newest_schema_of_a_topic_is_the_one_of_its_name_in_the_default_registry(stub: Any) -> None:
    asked = {
        "SchemaId": {"RegistryName": "default-registry", "SchemaName": "orders"},
        "SchemaVersionNumber": {"LatestVersion": True},
    }
    stub.add_response("get_schema_version", answer(SCHEMA), asked)
    stub.add_client_error("get_schema_version", "EntityNotFoundException", http_status_code=400)
    assert registry(stub).newest_of_topic("orders") == [SCHEMA]
    assert registry(stub).newest_of_topic("others") is None
