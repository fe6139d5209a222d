"""The registry's client against a server that speaks the registry's calls, and the schema file."""

import base64
import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connector.avro.apicurio import Apicurio
from connector.avro.decoding import EventDecoder
from connector.avro.encoding import EventEncoder
from connector.avro.framing import Framing
from connector.avro.registry import UNAVAILABLE_SECONDS, UNKNOWN_SECONDS, NoGuids, Registry
from connector.avro.registry_connection import ASKING_SECONDS
from connector.avro.schema_file import SchemaFile, packaged
from connector.avro.writer_schema import parse
from connector.config.secret import Login, SecretValue
from connector.errors import SchemaDenied, SchemaUnavailable, SettingsError, Undecodable, UnknownSchema
from tests.avro.samples import EVENT, ours, written
from tests.patience import patience
from tests.records import PolledRecord

PATIENCE = 30.0
NOT_FOUND = 404, {"error_code": 40403, "message": "Schema not found"}
EVENT_SCHEMA = json.dumps({"type": "record", "name": "E", "fields": [{"name": "name", "type": "string"}]})


class Server:
    """Answers by path; ``answers`` may change, ``asked`` lists the paths, ``authorization`` the headers."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, tuple[int, object]] = {}
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.delay: Callable[[], object] = lambda: None
        self.authorization: list[str | None] = []
        server = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                server.asked.append(path)
                server.delay()
                server.authorization.append(self.headers["Authorization"])
                status, content = server.answers.get(path, NOT_FOUND)
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"{'https' if tls else 'http'}://localhost:{self._http.server_address[1]}"

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(server: Server, clock: Clock) -> Iterator[Registry]:
    registry = Registry({"url": server.url, "max.retries": "0"}, clock, patience_seconds=PATIENCE)
    yield registry
    registry._connection._client.close()


def test_a_record_is_decoded_by_the_schema_of_its_id(server: Server, registry: Registry) -> None:
    server.answers["/schemas/ids/7"] = 200, {"schema": json.dumps(ours())}
    decoder = EventDecoder(Framing.CONFLUENT, registry)
    assert [decoder.decode(PolledRecord(written(ours(), EVENT, 7))) for _ in range(3)] == [EVENT] * 3
    assert server.asked == ["/schemas/ids/7"]


def test_referenced_schemas_come_first_and_once(server: Server, registry: Registry) -> None:
    key = {"type": "record", "name": "Key", "namespace": "shared", "fields": [{"name": "type", "type": "string"}]}
    keys = {"type": "record", "name": "Keys", "namespace": "shared", "fields": [{"name": "first", "type": "Key"}]}
    event = {
        "type": "record",
        "name": "E",
        "fields": [{"name": "a", "type": "shared.Key"}, {"name": "b", "type": "shared.Keys"}],
    }
    to_key = {"name": "shared.Key", "subject": "key", "version": 1}
    to_keys = {"name": "shared.Keys", "subject": "keys/all", "version": 2}
    server.answers["/schemas/ids/1"] = 200, {"schema": json.dumps(event), "references": [to_key, to_keys]}
    server.answers["/subjects/key/versions/1"] = 200, {"subject": "key", "version": 1, "id": 2, "schema": json.dumps(key)}
    server.answers["/subjects/keys%2Fall/versions/2"] = (
        200,
        {"subject": "keys/all", "version": 2, "id": 3, "schema": json.dumps(keys), "references": [to_key]},
    )
    definitions = registry.definitions(1)
    assert [definition["name"] for definition in definitions] == ["Key", "Keys", "E"]
    assert parse(definitions).types.keys() == {"shared.Key", "shared.Keys", "E"}


def test_an_id_that_the_registry_does_not_have_yet_is_waited_for(server: Server, registry: Registry, clock: Clock) -> None:
    for waited in (0.0, 1.0, 29.9):
        clock.now += 1
        with pytest.raises(SchemaUnavailable, match=r"^the schema registry has no schema 9, and is asked again for 30 s$"):
            registry.definitions(9, waited)
    assert server.asked == ["/schemas/ids/9"] * 3
    server.answers["/schemas/ids/9"] = 200, {"schema": EVENT_SCHEMA}
    clock.now += 1
    assert registry.definitions(9, 31.0)


def test_an_id_that_stays_unknown_is_believed_to_be_and_asked_for_again_only_later(
    server: Server, registry: Registry, clock: Clock
) -> None:
    for waited in (PATIENCE, 0.0, 0.0):
        with pytest.raises(UnknownSchema, match=r"^the schema registry has no schema 9$"):
            registry.definitions(9, waited)
    for question, pause in enumerate((10.0, 20.0, 40.0, 60.0, 60.0), 1):
        clock.now += pause - 0.1
        with pytest.raises(UnknownSchema):
            registry.definitions(9)
        assert server.asked == ["/schemas/ids/9"] * question
        clock.now += 0.1
        with pytest.raises(UnknownSchema):  # and no record waits for it a second time
            registry.definitions(9)
    server.answers["/schemas/ids/9"] = 200, {"schema": EVENT_SCHEMA}
    clock.now += UNKNOWN_SECONDS[1]
    assert registry.definitions(9)


def test_an_id_that_was_registered_too_late_is_found_within_seconds(
    server: Server, registry: Registry, clock: Clock
) -> None:
    with pytest.raises(UnknownSchema):
        registry.definitions(9, PATIENCE)
    server.answers["/schemas/ids/9"] = 200, {"schema": EVENT_SCHEMA}
    clock.now += 10.0
    assert registry.definitions(9)


def test_while_one_id_is_waited_for_others_are_had(server: Server, registry: Registry) -> None:
    server.answers["/schemas/ids/7"] = 200, {"schema": EVENT_SCHEMA}
    for _ in range(2):  # the second time nobody is asked
        with pytest.raises(SchemaUnavailable):
            registry.definitions(9)
    assert registry.definitions(7)
    assert server.asked == ["/schemas/ids/9", "/schemas/ids/7"]


@pytest.mark.parametrize("code", [40401, 40402, 40403])
def test_a_schema_that_is_referred_to_is_waited_for_likewise(server: Server, registry: Registry, code: int) -> None:
    to_key = {"name": "Key", "subject": "key", "version": 3}
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA, "references": [to_key]}
    server.answers["/subjects/key/versions/3"] = 404, {"error_code": code, "message": "not found"}
    with pytest.raises(SchemaUnavailable, match="has no version 3 of key, which schema 1 refers to"):
        registry.definitions(1)
    with pytest.raises(UnknownSchema, match="has no version 3 of key, which schema 1 refers to"):
        registry.definitions(1, PATIENCE)


def test_an_id_that_no_registry_can_give_is_unknown_at_once(server: Server, registry: Registry) -> None:
    for schema_id in (2**31, 2**32 - 1):
        with pytest.raises(UnknownSchema):
            registry.definitions(schema_id)
    assert server.asked == []


def test_unknown_ids_are_remembered_in_bounded_number(registry: Registry) -> None:
    for schema_id in range(1_010):
        with pytest.raises(UnknownSchema):
            registry.definitions(schema_id, PATIENCE)
    assert registry._absent.keys() == set(range(10, 1_010))


def test_many_questions_in_a_row_stop_so_that_the_thread_polls_and_go_on_after_a_pause(
    server: Server, registry: Registry, clock: Clock
) -> None:
    server.delay = lambda: setattr(clock, "now", clock.now + 0.5)
    for schema_id in range(1, int(ASKING_SECONDS / 0.5) + 2):
        with pytest.raises(UnknownSchema):
            registry.definitions(schema_id, PATIENCE)
    for _ in range(3):
        with pytest.raises(SchemaUnavailable, match=r"^the schema registry has been asked for 3 s without a pause$"):
            registry.definitions(8, PATIENCE)
    clock.now += UNAVAILABLE_SECONDS
    with pytest.raises(UnknownSchema):
        registry.definitions(8, PATIENCE)


def test_references_that_came_are_not_asked_for_again_when_others_need_a_pause(
    server: Server, registry: Registry, clock: Clock
) -> None:
    server.delay = lambda: setattr(clock, "now", clock.now + 0.5)
    names = [f"k{number}" for number in range(20)]
    references = [{"name": name, "subject": name, "version": 1} for name in names]
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA, "references": references}
    for name in names:
        schema = json.dumps({"type": "fixed", "name": name, "size": 1})
        answer = {"subject": name, "version": 1, "id": 2, "schema": schema}
        server.answers[f"/subjects/{name}/versions/1"] = 200, answer
    for _ in range(2):
        with pytest.raises(SchemaUnavailable):
            registry.definitions(1)
        clock.now += UNAVAILABLE_SECONDS
    assert [definition["name"] for definition in registry.definitions(1)] == [*names, "E"]
    assert len(server.asked) == 20 + 1
    assert registry._answers == {}


def test_references_come_though_each_answer_takes_longer_than_may_be_asked_in_a_row(
    server: Server, registry: Registry, clock: Clock
) -> None:
    """As where two addresses are set and the first is hung: the client waits for it at each question."""
    server.delay = lambda: setattr(clock, "now", clock.now + 2 * ASKING_SECONDS)
    schema = json.dumps({"type": "fixed", "name": "key", "size": 1})
    for name in ("k1", "k2"):
        answer = {"subject": name, "version": 1, "id": 2, "schema": schema.replace("key", name)}
        server.answers[f"/subjects/{name}/versions/1"] = 200, answer
    references = [{"name": name, "subject": name, "version": 1} for name in ("k1", "k2")]
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA, "references": references}
    for _ in range(2):
        with pytest.raises(SchemaUnavailable):
            registry.definitions(1)
        clock.now += UNAVAILABLE_SECONDS
    assert [definition["name"] for definition in registry.definitions(1)] == ["k1", "k2", "E"]
    assert len(server.asked) == 3


def test_an_answer_that_is_no_schema_is_asked_for_again(server: Server, registry: Registry, clock: Clock) -> None:
    server.answers["/schemas/ids/1"] = (
        200,
        {"schema": EVENT_SCHEMA, "references": [{"name": "k", "subject": "k", "version": 1}]},
    )
    server.answers["/subjects/k/versions/1"] = 200, {"captive": "portal"}
    with pytest.raises(SchemaUnavailable):
        registry.definitions(1)
    schema = json.dumps({"type": "fixed", "name": "k", "size": 1})
    server.answers["/subjects/k/versions/1"] = 200, {"subject": "k", "version": 1, "id": 2, "schema": schema}
    clock.now += UNAVAILABLE_SECONDS
    assert [definition["name"] for definition in registry.definitions(1)] == ["k", "E"]


def test_an_outage_is_no_time_in_which_a_registry_could_learn_of_a_schema(
    server: Server, registry: Registry, clock: Clock
) -> None:
    server.answers["/schemas/ids/7"] = 503, {"error_code": 50301, "message": "starting"}
    polled_at = clock.now
    while clock.now < polled_at + 2 * PATIENCE:
        with pytest.raises(SchemaUnavailable):
            registry.definitions(7, clock.now - polled_at)
        clock.now += UNAVAILABLE_SECONDS
    server.answers["/schemas/ids/7"] = NOT_FOUND
    back_at = clock.now
    while clock.now < back_at + PATIENCE - 1:
        for schema_id in (7, 8, 9):
            with pytest.raises(SchemaUnavailable):
                registry.definitions(schema_id, clock.now - polled_at)
        clock.now += 1
    clock.now = back_at + PATIENCE
    for schema_id in (7, 8, 9):  # all that wait do so together
        with pytest.raises(UnknownSchema):
            registry.definitions(schema_id, clock.now - polled_at)


ENCRYPTING = {"name": "hidePII", "kind": "TRANSFORM", "mode": "WRITEREAD", "type": "ENCRYPT", "tags": ["PII"]}
"""As Confluent's documentation has it (client-side field level encryption)."""


@pytest.mark.parametrize(
    "rules",
    [
        {"domainRules": [ENCRYPTING]},
        {"domainRules": [ENCRYPTING | {"mode": "WRITE"}]},
        {"domainRules": [ENCRYPTING | {"mode": "READ", "onFailure": "NONE"}]},
        {"encodingRules": [ENCRYPTING | {"type": "ENCRYPT_PAYLOAD"}], "enableAt": "CLIENT"},
        {"domainRules": [{"name": "check", "kind": "CONDITION", "mode": "WRITE", "type": "CEL"}, ENCRYPTING]},
        {"domainRules": [ENCRYPTING | {"type": "JSONATA", "mode": "READ"}]},
        {"domainRules": [ENCRYPTING | {"type": "CEL_FIELD"}]},
        {"domainRules": [{"name": "hidePII"}]},
        {"domainRules": [ENCRYPTING | {"disabled": "false"}]},
    ],
)
def test_a_schema_whose_rules_change_values_is_refused_by_the_name_of_the_rule(
    server: Server, registry: Registry, rules: Any
) -> None:
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA, "ruleSet": rules}
    with pytest.raises(Undecodable, match=r"its schema has the rule hidePII of type .*, which changes values"):
        registry.definitions(1)


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"domainRules": [ENCRYPTING | {"disabled": True}]},
        {"domainRules": [ENCRYPTING], "enableAt": "SERVER"},
        {"domainRules": [{"name": "check", "kind": "CONDITION", "mode": "WRITEREAD", "type": "CEL", "expr": "true"}]},
        {"domainRules": [{"name": "trim", "kind": "TRANSFORM", "mode": "WRITE", "type": "CEL_FIELD", "expr": "value"}]},
        {"domainRules": [{"name": "check", "kind": "CONDITION", "mode": "OF_A_LATER_YEAR", "type": "CEL"}]},
        {"migrationRules": [{"name": "move", "kind": "TRANSFORM", "mode": "UPDOWN", "type": "JSONATA", "expr": "$"}]},
    ],
)
def test_rules_that_leave_what_is_read_as_it_is_refuse_nothing(server: Server, registry: Registry, rules: Any) -> None:
    metadata = {"properties": {"owner": "shop"}, "tags": {"**.ssn": ["PII"]}, "sensitive": ["owner"]}
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA, "ruleSet": rules, "metadata": metadata}
    assert registry.definitions(1)


def test_comments_in_a_schema_are_passed_over(server: Server, registry: Registry, tmp_path: Path) -> None:
    text = '/* Licence, "so" */\n' + EVENT_SCHEMA.replace('"E"', '"E", // the "event"\n "doc": "http://a/*b*/"')
    server.answers["/schemas/ids/1"] = 200, {"schema": text}
    assert registry.definitions(1) == [json.loads(EVENT_SCHEMA) | {"doc": "http://a/*b*/"}]
    file = tmp_path / "event.avsc"
    file.write_text("\ufeff" + text)
    assert SchemaFile(file).definitions(0, 0.0) == registry.definitions(1)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "garbage:::", "ftp://x"])
def test_a_proxy_of_the_environment_that_the_client_cannot_use_is_not_met(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for variable in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, proxy)
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA}
    assert Registry({"url": server.url, "max.retries": "0"}, clock).definitions(1)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_proxies_of_the_environment_are_not_used(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = Server()
    monkeypatch.setenv(variable, proxy.url)
    oauth = {
        "bearer.auth.credentials.source": "OAUTHBEARER",
        "bearer.auth.client.id": "us",
        "bearer.auth.client.secret": "secret",
        "bearer.auth.scope": "schemas",
        "bearer.auth.logical.cluster": "lsrc-1",
        "bearer.auth.identity.pool.id": "pool",
        "bearer.auth.issuer.endpoint.url": f"{server.url}/token",
    }
    server.answers["/token"] = 200, {"access_token": "t", "token_type": "bearer", "expires_in": 60}
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA}
    for properties in ({}, oauth):
        registry = Registry({"url": server.url, "max.retries": "0"} | properties, clock)
        assert registry.definitions(1)
        registry._connection._client.close()
    assert server.authorization[-1] == "Bearer t"
    assert proxy.asked == []
    proxy.stop()


def with_certificate(directory: Path) -> tuple[Server, Path]:
    """Return a server with TLS on localhost, and the file of the certificate to trust."""
    path = directory / "ca.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext"
    subprocess.run(
        [*command.split(), "subjectAltName=DNS:localhost", "-keyout", str(directory / "key.pem"), "-out", str(path)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, directory / "key.pem")
    return Server(context), path


def test_certificates_of_the_environment_are_believed_where_a_token_is_had(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    issuer, path = with_certificate(tmp_path)
    issuer.answers["/token"] = 200, {"access_token": "t", "token_type": "bearer", "expires_in": 60}
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA}
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    registry = Registry(
        {
            "url": server.url,
            "max.retries": "0",
            "bearer.auth.credentials.source": "OAUTHBEARER",
            "bearer.auth.client.id": "us",
            "bearer.auth.client.secret": "secret",
            "bearer.auth.scope": "schemas",
            "bearer.auth.logical.cluster": "lsrc-1",
            "bearer.auth.issuer.endpoint.url": f"{issuer.url}/token",
        },
        clock,
    )
    try:
        assert registry.definitions(1)
    finally:
        registry._connection._client.close()
        issuer.stop()


def test_a_proxy_that_is_set_is_used(server: Server, clock: Clock) -> None:
    server.answers["http://registry.invalid/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA}
    registry = Registry({"url": "http://registry.invalid", "proxy": server.url, "max.retries": "0"}, clock)
    assert registry.definitions(1)
    registry._connection._client.close()


@pytest.mark.parametrize(
    ("user", "sent"), [("user:secret", b"user:secret"), ("us%40er:p%2Fa:%23%40s", b"us@er:p/a:#@s"), ("a:p@ss", b"a:p@ss")]
)
def test_a_user_in_the_address_is_sent_and_never_said(
    server: Server, clock: Clock, caplog: pytest.LogCaptureFixture, user: str, sent: bytes
) -> None:
    caplog.set_level("DEBUG")
    url = server.url.replace("//", f"//{user}@")
    registry = Registry({"url": f"{url},{url}", "max.retries": "0"}, clock)
    server.answers["/schemas/ids/1"] = 401, {}
    with pytest.raises(SchemaUnavailable) as caught:
        registry.definitions(1)
    assert server.authorization == ["Basic " + base64.b64encode(sent).decode()]
    said = str(caught.value) + caplog.text
    assert "HTTP Request" in said
    assert user not in said
    assert sent.decode() not in said
    registry._connection._client.close()


@pytest.mark.parametrize(("over", "asked"), [(None, "/schemas/ids/1"), (Apicurio, "/ids/globalIds/1")])
def test_a_user_in_a_file_is_sent_as_the_file_has_it_now(
    over: type[Apicurio] | None, asked: str, server: Server, clock: Clock, tmp_path: Path
) -> None:
    place = tmp_path / "user"
    place.write_text("user:first")
    login = Login(SecretValue("user:first", place.read_text))
    properties = {"url": server.url, "max.retries": "0", "basic.auth.user.info": "user:first"}
    registry = Registry(properties, clock, over=over, login=login)
    server.answers[asked] = 401, {}
    for text in ("user:first", "user:second", "user:second"):
        place.write_text(text)
        login.look()
        clock.now += 60
        with pytest.raises(SchemaUnavailable):
            registry.definitions(1 if over is None else "globalId 1")
        assert server.authorization[-1] == "Basic " + base64.b64encode(text.encode()).decode()
    registry._connection._client.close()


@pytest.mark.parametrize(
    "properties",
    [
        {"url": "http://user:sec/ret@registry"},
        {"url": "http://user:secret?@registry"},
        {"url": "http://user:secret#@registry"},
        {"url": "http://user:secret@"},
        {"url": "http://registry/?token=secret"},
        {"url": "http://registry#secret"},
        {"url": "http://user:secret@[::1"},
        {"url": "http://user:secret@registry\u2100"},
        {"url": "http://one,http://user:secret@two"},
        {"url": "http://a:secret@one,http://b:secret@two"},
        {"url": "http://user:secret@registry", "basic.auth.user.info": "user:secret"},
    ],
)
def test_a_user_that_cannot_be_told_from_the_address_is_refused_without_being_said(properties: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^SCHEMA_REGISTRY_URL: ") as caught:
        Registry(properties)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error_code": 50001, "message": "store"}),
        (503, b"<html>"),
        (401, {"error_code": 401, "message": "who"}),
        (403, {"error_code": 40301, "message": "no"}),
        (404, b"<html>no such page of a proxy</html>"),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (302, b""),
        (200, b""),
        (200, b"<html>a login page</html>"),
        (200, {}),
        (200, []),
        (200, {"schema": None}),
        (200, {"schema": {"type": "record"}}),
        (200, {"schema": EVENT_SCHEMA, "references": [{"name": "gone", "subject": "gone", "version": 1}]}),
        (200, {"schema": EVENT_SCHEMA, "references": "nonsense"}),
        (200, {"schema": EVENT_SCHEMA, "references": [{"name": "a", "subject": "a", "version": "nonsense"}]}),
        (200, {"schema": EVENT_SCHEMA, "references": [{"name": "a"}]}),
        (200, {"schema": EVENT_SCHEMA, "ruleSet": "nonsense"}),
    ],
)
def test_any_other_answer_means_that_the_schema_cannot_be_had_for_now(
    server: Server, registry: Registry, clock: Clock, answer: Any
) -> None:
    server.answers["/schemas/ids/1"] = answer
    with pytest.raises(SchemaUnavailable):
        registry.definitions(1)
    server.answers["/schemas/ids/1"] = 200, {"schema": EVENT_SCHEMA}
    clock.now += UNAVAILABLE_SECONDS
    assert registry.definitions(1) == [json.loads(EVENT_SCHEMA)]


@pytest.mark.parametrize(
    ("answer", "denied"),
    [
        ((401, {}), True),
        ((403, {}), True),
        ((404, b"<html>"), True),
        ((302, b""), True),
        ((500, {}), False),
        ((429, {}), False),
    ],
)
def test_an_answer_that_does_not_change_by_itself_needs_an_operator(
    server: Server, registry: Registry, answer: Any, denied: bool
) -> None:
    server.answers["/schemas/ids/1"] = answer
    for _ in range(2):  # the second time from memory
        with pytest.raises(SchemaUnavailable) as caught:
            registry.definitions(1)
        assert isinstance(caught.value, SchemaDenied) is denied
    assert server.asked == ["/schemas/ids/1"]


def test_a_registry_that_failed_is_left_alone_for_a_moment(server: Server, registry: Registry, clock: Clock) -> None:
    server.answers["/schemas/ids/1"] = server.answers["/schemas/ids/2"] = 500, {}
    for schema_id in (1, 2, 1):
        with pytest.raises(SchemaUnavailable):
            registry.definitions(schema_id)
    assert server.asked == ["/schemas/ids/1"]


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"},
        {"schema": "{}", "schemaType": "JSON"},
        {"schema": "{not json"},
        {"schema": "[" * 100_000},
    ],
)
def test_a_schema_that_is_not_avro_makes_its_records_undecodable(server: Server, registry: Registry, answer: Any) -> None:
    server.answers["/schemas/ids/1"] = 200, answer
    with pytest.raises(Undecodable):
        registry.definitions(1)


def test_a_registry_that_is_not_there_is_unavailable(clock: Clock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        registry = Registry({"url": f"http://127.0.0.1:{free.getsockname()[1]}", "max.retries": "0"}, clock)
        for ask in (lambda: registry.definitions(1), registry.check):
            with pytest.raises(SchemaUnavailable):
                ask()
    registry._connection._client.close()


def test_a_registry_that_does_not_answer_is_waited_for_no_longer_than_told(clock: Clock) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        registry = Registry({"url": url, "max.retries": "0", "timeout": "0.2"}, clock)
        began = time.monotonic()
        with pytest.raises(SchemaUnavailable, match="Timeout"):
            registry.definitions(1)
        assert time.monotonic() - began < patience(2)
    registry._connection._client.close()


def test_an_answer_that_unpacks_to_more_than_any_schema_is_not_collected(server: Server, registry: Registry) -> None:
    answer = {"schema": EVENT_SCHEMA}
    server.headers["Content-Encoding"] = "gzip"
    server.answers["/schemas/ids/1"] = 200, gzip.compress(b" " * 1_000_000 + json.dumps(answer).encode())
    assert registry.definitions(1)
    server.answers["/schemas/ids/2"] = 200, gzip.compress(b" " * 20_000_000 + json.dumps(answer).encode())
    with pytest.raises(SchemaUnavailable, match=r"did not answer with schema 2 \(OverflowError\)"):
        registry.definitions(2)


class Trickle:
    """Answers every request with what it is given, a byte every 20 ms; counts connections."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def connections(self) -> int:
        return len(self._threads)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._ended.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._trickle, args=(connection,)))
            self._threads[-1].start()

    def _trickle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            for byte in self._answer:
                if self._ended.wait(0.02):
                    return
                connection.sendall(bytes([byte]))

    def stop(self) -> None:
        self._ended.set()
        socket.create_connection(self._listener.getsockname()).close()
        for thread in (self._thread, *self._threads):
            thread.join()
        self._listener.close()


TRICKLES = {
    "head": b"HTTP/1.1 200 OK\r\nX: " + bytes(200_000),
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000,
    "interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000,
}


@pytest.mark.parametrize("answer", TRICKLES.values(), ids=TRICKLES)
def test_an_answer_that_trickles_in_is_waited_for_no_longer_than_told_and_leaves_nothing_open(answer: bytes) -> None:
    trickle = Trickle(answer)
    registry = Registry({"url": trickle.url, "timeout": "0.3"})
    try:
        for ask in (registry.check, lambda: registry.definitions(1), lambda: registry.knows("s")):
            threads, began = threading.active_count() - trickle.connections, time.monotonic()
            with pytest.raises(SchemaUnavailable, match="Timeout"):
                ask()
            assert time.monotonic() - began < patience(3)
            assert threading.active_count() - trickle.connections <= threads
            session: Any = registry._connection._client._rest_client.session
            assert session._transport._pool.connections == []
    finally:
        trickle.stop()
        registry._connection._client.close()


def test_a_look_up_of_the_registrys_name_that_hangs_holds_a_question_no_longer_than_told_and_only_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that asks is the one that polls Kafka."""
    goes_on, looked_up, look_up = threading.Event(), list[threading.Thread](), socket.getaddrinfo

    def hang(host: str, *more: Any, **named: Any) -> Any:
        looked_up.append(threading.current_thread())
        goes_on.wait(600)
        return look_up("localhost", *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    registry = Registry({"url": server.url.replace("localhost", "registry.example"), "timeout": "0.3", "max.retries": "0"})
    try:
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(SchemaUnavailable, match="Timeout"):
                registry.check()
            assert time.monotonic() - began < patience(5)
        assert [thread.daemon for thread in looked_up] == [True]  # nothing ends it, and it does not hold the process up
        goes_on.set()
        looked_up[0].join(patience(10))
        registry.check()
    finally:
        goes_on.set()
        registry._connection._client.close()


def test_a_question_to_many_addresses_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    question = patience(1.0)
    monkeypatch.setattr("connector.avro.registry_client.QUESTION_SECONDS", question)
    trickle = Trickle(TRICKLES["body"])
    registry = Registry({"url": ",".join([trickle.url] * 20), "timeout": str(0.4 * question)})
    try:
        began = time.monotonic()
        with pytest.raises(SchemaUnavailable, match="Timeout"):
            registry.check()
        assert time.monotonic() - began < 4 * question
        assert 2 <= trickle.connections <= 4
    finally:
        trickle.stop()
        registry._connection._client.close()


def test_a_token_that_trickles_in_is_waited_for_no_longer_than_told() -> None:
    trickle = Trickle(TRICKLES["body"])
    config = {
        "url": trickle.url,
        "timeout": "0.3",
        "max.retries": "0",
        "bearer.auth.credentials.source": "OAUTHBEARER",
        "bearer.auth.logical.cluster": "lsrc-1",
        "bearer.auth.identity.pool.id": "pool-1",
        "bearer.auth.client.id": "id",
        "bearer.auth.client.secret": "secret",
        "bearer.auth.scope": "scope",
        "bearer.auth.issuer.endpoint.url": f"{trickle.url}/token",
    }
    registry = Registry(config)
    try:
        began = time.monotonic()
        with pytest.raises(SchemaUnavailable):
            registry.check()
        assert time.monotonic() - began < patience(3)
    finally:
        trickle.stop()
        registry._connection._client.close()


def test_a_schema_that_comes_slowly_but_in_time_is_read() -> None:
    answer = json.dumps({"schema": EVENT_SCHEMA}).encode()
    trickle = Trickle(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
    registry = Registry({"url": trickle.url, "timeout": "60", "max.retries": "0"})
    try:
        assert registry.definitions(1)
    finally:
        trickle.stop()
        registry._connection._client.close()


def test_waiting_is_bounded_without_being_told(server: Server) -> None:
    registry = Registry({"url": server.url})
    assert (registry._connection._client._rest_client.timeout, registry._connection._client._rest_client.max_retries) == (
        3.0,
        1,
    )
    registry._connection._client.close()


def test_credentials_are_sent_and_never_said(server: Server, clock: Clock) -> None:
    registry = Registry({"url": server.url, "basic.auth.user.info": "user:secret", "max.retries": "0"}, clock)
    server.answers["/schemas/ids/1"] = 401, {"error_code": 40101, "message": "user:secret is wrong"}
    with pytest.raises(SchemaUnavailable) as caught:
        registry.check()
    assert server.authorization == ["Basic " + base64.b64encode(b"user:secret").decode()]
    assert str(caught.value) == "the schema registry answered HTTP 401, code 40101 to the request for schema 1"
    registry._connection._client.close()


@pytest.mark.parametrize("answer", [NOT_FOUND, (200, {"schema": EVENT_SCHEMA}), (200, {"schema": "", "schemaType": "JSON"})])
def test_a_registry_that_answers_passes_the_check(server: Server, registry: Registry, answer: Any) -> None:
    server.answers["/schemas/ids/1"] = answer
    registry.check()


@pytest.mark.parametrize(
    ("properties", "variable"),
    [
        ({}, "SCHEMA_REGISTRY_URL"),
        ({"url": "registry:8081"}, "SCHEMA_REGISTRY_URL"),
        ({"url": "http://r", "tmeout": "3"}, "SCHEMA_REGISTRY_TMEOUT"),
        ({"url": "http://r", "max.retries": "a few"}, "SCHEMA_REGISTRY_MAX_RETRIES"),
        ({"url": "http://r", "basic.auth.user.info": "secret"}, "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"),
        ({"url": "http://r", "ssl.ca.location": "no-such-file"}, "SCHEMA_REGISTRY_SSL_CA_LOCATION"),
        ({"url": "http://r", "bearer.auth.credentials.source": "secret"}, "SCHEMA_REGISTRY_BEARER_AUTH_CREDENTIALS_SOURCE"),
    ],
)
def test_a_senseless_property_is_refused_by_its_variable_without_its_value(
    properties: dict[str, str], variable: str
) -> None:
    with pytest.raises(SettingsError, match=variable) as caught:
        Registry(properties)
    assert "secret" not in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Registry({"tmeout": "3", "timeout": "soon"})
    assert len(caught.value.problems) == 3


def test_the_schema_file_is_the_schema_of_every_value(tmp_path: Path) -> None:
    path = tmp_path / "event.avsc"
    path.write_text(json.dumps(ours()))
    schemas = SchemaFile(path)
    schemas.check()
    assert EventDecoder(Framing.PLAIN, schemas).decode(PolledRecord(EventEncoder().encode(EVENT))) == EVENT


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b'"string"', b'{"type": "record"}', b"[" * 100_000])
def test_a_schema_file_that_is_none_is_refused_by_its_variable(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "event.avsc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="AVRO_SCHEMA_FILE"):
        SchemaFile(path)


def test_our_schemas_are_found_in_a_checkout() -> None:
    assert packaged("ledger_entry.avsc")["name"] == "LedgerEntry"


GUID = UUID("b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63")


def test_a_guid_is_asked_for_by_its_own_path(server: Server, registry: Registry) -> None:
    server.answers[f"/schemas/guids/{GUID}"] = 200, {"schema": EVENT_SCHEMA}
    assert registry.definitions(GUID) == [json.loads(EVENT_SCHEMA)]
    with pytest.raises(SchemaUnavailable, match="and is asked again for 30 s"):
        registry.definitions(UUID(int=1))
    with pytest.raises(UnknownSchema):
        registry.definitions(UUID(int=1), PATIENCE)


@pytest.mark.parametrize("answer", [{"error_code": 404, "message": "HTTP 404 Not Found"}, {"error_code": 40401}, {}])
def test_a_registry_without_guids_makes_no_record_wait(server: Server, registry: Registry, answer: object) -> None:
    server.answers[f"/schemas/guids/{GUID}"] = 404, answer
    with pytest.raises(NoGuids, match=rf"^this registry knows no GUIDs, and so not schema {GUID}"):
        registry.definitions(GUID, 2 * PATIENCE)


def test_a_registry_without_guids_is_asked_for_one_once_a_minute(server: Server, registry: Registry, clock: Clock) -> None:
    guids = [UUID(int=number) for number in range(100)]
    server.answers |= {f"/schemas/guids/{guid}": (404, {"error_code": 404}) for guid in guids}
    for guid in guids:
        with pytest.raises(NoGuids, match=f"and so not schema {guid}"):
            registry.definitions(guid)
    assert server.asked == [f"/schemas/guids/{guids[0]}", "/schemas/ids/1"]
    clock.now += UNKNOWN_SECONDS[1]
    server.answers[f"/schemas/guids/{GUID}"] = 200, {"schema": EVENT_SCHEMA}
    assert registry.definitions(GUID) == [json.loads(EVENT_SCHEMA)]


def test_a_proxys_404_for_a_guid_is_waited_for(server: Server, registry: Registry, clock: Clock) -> None:
    server.answers |= dict.fromkeys([f"/schemas/guids/{GUID}", "/schemas/ids/1"], (404, b"no backend"))
    with pytest.raises(SchemaDenied, match="answered HTTP 404"):
        registry.definitions(GUID, 2 * PATIENCE)
    clock.now += UNAVAILABLE_SECONDS
    server.answers[f"/schemas/guids/{GUID}"] = 200, {"schema": EVENT_SCHEMA}
    assert registry.definitions(GUID) == [json.loads(EVENT_SCHEMA)]


def test_a_registry_without_guids_ends_no_outage(server: Server, registry: Registry, clock: Clock) -> None:
    server.answers |= {"/schemas/ids/7": (500, {}), f"/schemas/guids/{GUID}": (404, {"error_code": 404})}
    with pytest.raises(SchemaUnavailable):
        registry.definitions(7)
    clock.now += 2 * PATIENCE
    del server.answers["/schemas/ids/7"]
    with pytest.raises(SchemaUnavailable, match="is asked again"):
        registry.definitions(7, 2 * PATIENCE)
    with pytest.raises(NoGuids):
        registry.definitions(GUID)
    clock.now += 1
    with pytest.raises(SchemaUnavailable, match="is asked again"):
        registry.definitions(7, 2 * PATIENCE + 1)
