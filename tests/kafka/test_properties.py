from __future__ import annotations

import logging
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from connector.config import Kafka
from connector.kafka import clients, properties
from connector.kafka.properties import (
    admin_properties,
    consumer_properties,
    problems,
    producer_properties,
    session_timeout_seconds,
)

_DRAIN_SECONDS = 40.0


def _kafka(**given: str) -> Kafka:
    return Kafka("broker:9092", ("conversions",), "group", {name.replace("_", "."): value for name, value in given.items()})


def _problem(name: str, value: str) -> str:
    found = problems({name: value}, _DRAIN_SECONDS)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "true"),
        ("acks", "all"),
        ("request.required.acks", "1"),
        ("enable.idempotence", "false"),
        ("message.timeout.ms", "1000"),
        ("transactional.id", "x"),
        ("delivery.report.only.error", "true"),
        ("allow.auto.create.topics", "true"),
        ("test.mock.num.brokers", "3"),
        ("plugin.library.paths", "x"),
        ("metadata.broker.list", "x"),
        ("isolation.level", "read_uncommitted"),
        ("isolation.level", "READ_UNCOMMITTED"),
        ("isolation.level", " Read_Uncommitted"),
        ("api.version.request", "false"),
        ("api.version.fallback.ms", "1000"),
        ("default.topic.config", "x"),
        ("logger", "x"),
        ("auto.offset.reset", "latest"),
        ("auto.offset.reset", " Latest"),
        ("auto.offset.reset", "error"),
        *(("check.crcs", value) for value in ("false", "FALSE", "f", "F", "0", " false ", "no", "")),
    ],
)
def test_what_would_break_the_guarantee_is_refused_by_name(name: str, value: str) -> None:
    assert _problem(name, value).startswith(f"KAFKA_{name.upper().replace('.', '_')} is refused: ")


def test_start_from_now_is_refused_with_the_way_to_have_it() -> None:
    assert "set the group's offsets with Kafka's own tool" in _problem("auto.offset.reset", "latest")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto.offset.reset", "earliest"),
        *(("check.crcs", value) for value in ("true", "True", "t", "1")),
        ("auto.offset.reset", "Earliest"),
        ("isolation.level", "Read_Committed"),
        ("group.protocol", "CONSUMER"),
        ("partition.assignment.strategy", "Cooperative-Sticky , "),
        ("group.instance.id", "member-1"),
        ("group.protocol", "consumer"),
        ("partition.assignment.strategy", "range"),
        ("isolation.level", "read_committed"),
        ("fetch.min.bytes", "1000"),
        ("compression.type", "lz4"),
        ("max.in.flight", "5"),
        ("log_level", "3"),
    ],
)
def test_what_keeps_the_guarantee_is_taken(name: str, value: str) -> None:
    assert problems({name: value}, _DRAIN_SECONDS) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fetch.min.bytes", "many"),
        ("fetch.min.bytes", "0"),
        ("group.protocol", "new"),
        ("compression.type", "zip"),
        ("socket.keepalive.enable", "maybe"),
        ("ssl_key", "x"),
    ],
)
def test_value_that_librdkafka_does_not_take_is_refused_by_its_variable(name: str, value: str) -> None:
    assert _problem(name, value).startswith(f"KAFKA_{name.upper().replace('.', '_')} is refused by the Kafka client: ")


def test_every_property_at_fault_is_named_and_not_only_the_first() -> None:
    found = problems({"a.b": "1", "acks": "1", "c.d": "1", "linger.ms": "x"}, _DRAIN_SECONDS)

    assert sorted(problem.split()[0] for problem in found) == ["KAFKA_ACKS", "KAFKA_A_B", "KAFKA_C_D", "KAFKA_LINGER_MS"]


def test_session_timeout_belongs_to_the_broker_under_the_new_protocol() -> None:
    found = problems({"group.protocol": "consumer", "session.timeout.ms": "10000"}, _DRAIN_SECONDS)

    assert found[0].startswith("KAFKA_SESSION_TIMEOUT_MS")
    assert session_timeout_seconds(_kafka(group_protocol="consumer")) is None
    assert session_timeout_seconds(_kafka()) == 45.0
    assert session_timeout_seconds(_kafka(session_timeout_ms="10000")) == 10.0


@pytest.mark.parametrize("name", ["session.timeout.ms", "max.poll.interval.ms"])
@pytest.mark.parametrize("value", ["0x10000", "060000", "60000x", "60_000", "6e4", "60000.5"])
def test_duration_that_the_client_reads_otherwise_than_it_is_written_is_refused(name: str, value: str) -> None:
    assert _problem(name, value).startswith(f"KAFKA_{name.upper().replace('.', '_')} is refused: it is '{value}'")


def test_problem_of_several_properties_is_told_without_the_secret() -> None:
    given = {"security.protocol": "ssl", "ssl.key.pem": "hidden", "ssl.key.password": "PEM"}

    found = problems(given, _DRAIN_SECONDS)

    assert len(found) == 1
    assert "hidden" not in found[0]
    said = found[0].removeprefix("KAFKA_SSL_KEY_PEM")
    assert "PEM" not in said


def test_drain_longer_than_the_poll_interval_is_refused() -> None:
    given = {"max.poll.interval.ms": "45000"}

    assert problems(given, 44.0) == []
    assert problems(given, 45.0)[0].startswith("KAFKA_MAX_POLL_INTERVAL_MS does not exceed DRAIN_TIMEOUT")
    assert problems({}, 300.0)[0].startswith("KAFKA_MAX_POLL_INTERVAL_MS does not exceed DRAIN_TIMEOUT")


def test_member_commits_nothing_by_itself_and_never_jumps() -> None:
    given = consumer_properties(_kafka(auto_offset_reset="earliest", enable_auto_commit="true", linger_ms="5"))

    assert given == {
        "bootstrap.servers": "broker:9092",
        "group.id": "group",
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "allow.auto.create.topics": False,
    }


@pytest.mark.parametrize(
    ("name", "value", "known_as"),
    [
        ("group_protocol", "CONSUMER", "consumer"),
        ("group_protocol", " Classic", "classic"),
        ("partition_assignment_strategy", " cooperative-sticky", "cooperative-sticky"),
        ("partition_assignment_strategy", "cooperative-sticky,", "cooperative-sticky"),
        ("partition_assignment_strategy", "cooperative-sticky,cooperative-sticky", "cooperative-sticky"),
    ],
)
def test_assignments_change_one_by_one_however_it_is_written(name: str, value: str, known_as: str) -> None:
    kafka = _kafka(**{name: value})

    assert consumer_properties(kafka)[name.replace("_", ".")] == known_as
    assert clients.incremental(kafka)
    assert clients.names_itself(kafka) == (known_as == "consumer")
    assert (session_timeout_seconds(kafka) is None) == (known_as == "consumer")


@pytest.mark.parametrize("value", ["range", "Range, RoundRobin"])
def test_eager_assignors_change_an_assignment_as_a_whole(value: str) -> None:
    assert not clients.incremental(_kafka(partition_assignment_strategy=value))


def test_new_protocol_has_no_assignor_of_the_client() -> None:
    assert "partition.assignment.strategy" not in consumer_properties(_kafka(group_protocol="consumer"))


def test_whoever_reads_the_ledger_checks_what_it_reads_whatever_is_given() -> None:
    given = clients.reader_properties(_kafka(check_crcs="false"), lambda *_: None, logging.getLogger("librdkafka"))

    assert given["check.crcs"] is True


def test_whoever_reads_a_whole_topic_does_not_wait_for_the_client_unless_an_operator_says_so() -> None:
    def backoff(kafka: Kafka) -> object:
        given = clients.reader_properties(kafka, lambda *_: None, logging.getLogger("librdkafka"))
        return given["fetch.queue.backoff.ms"]

    assert backoff(_kafka()) == 10
    assert backoff(_kafka(fetch_queue_backoff_ms="500")) == "500"


def test_facts_wait_for_all_replicas_whatever_is_given() -> None:
    given = producer_properties(_kafka(acks="0", linger_ms="5", session_timeout_ms="10000"))

    assert (given["acks"], given["linger.ms"]) == ("all", "5")
    assert "session.timeout.ms" not in given


def test_admin_is_given_what_concerns_a_connection_only() -> None:
    given = admin_properties(_kafka(linger_ms="5", session_timeout_ms="10000", sasl_mechanism="PLAIN"))

    assert given == {"bootstrap.servers": "broker:9092", "sasl.mechanism": "PLAIN", "allow.auto.create.topics": False}


@pytest.mark.parametrize("name", ["compression.type", "compression.codec"])
def test_letters_are_compressed_unless_an_operator_says_otherwise(name: str) -> None:
    def given(kafka: Kafka) -> dict[str, Any]:
        return clients.producer_properties(kafka, lambda _client, _code: None, logging.getLogger("librdkafka"))

    assert given(_kafka())["compression.type"] == "zstd"
    chosen = {key: value for key, value in given(_kafka(**{name: "gzip"})).items() if key.startswith("compression")}
    assert list(chosen.values())[-1] == "gzip", "of two names of one property librdkafka takes the last"


_SASL = {"security.protocol": "sasl_ssl"}
_BY_TOKEN = _SASL | {"sasl.mechanism": "OAUTHBEARER"}
_OIDC = _BY_TOKEN | {"sasl.oauthbearer.method": "oidc"}
_AWS = {"sasl.oauthbearer.metadata.authentication.type": "aws_iam"}
_PROVIDER = {
    "sasl.oauthbearer.client.id": "client",
    "sasl.oauthbearer.client.secret": "hidden",
    "sasl.oauthbearer.token.endpoint.url": "https://provider.example/token",
}
_AZURE = {
    "sasl.oauthbearer.metadata.authentication.type": "azure_imds",
    "sasl.oauthbearer.config": "query=api-version=2025-04-07&resource=api://kafka&client_id=client",
}


@pytest.mark.parametrize(
    ("given", "variable", "says"),
    [
        (_OIDC | _AWS, "KAFKA_SASL_OAUTHBEARER_METADATA_AUTHENTICATION_TYPE", "aws-msk-iam"),
        (_OIDC | _AWS | {"sasl.oauthbearer.config": "region=a,audience=b"}, "KAFKA_SASL_OAUTHBEARER_METADATA_", "AWS STS"),
        (_BY_TOKEN, "KAFKA_SASL_OAUTHBEARER_METHOD", "set it to oidc"),
        (_BY_TOKEN | {"enable.sasl.oauthbearer.unsecure.jwt": "true"}, "KAFKA_SASL_OAUTHBEARER_METHOD", "set it to oidc"),
        (_BY_TOKEN | {"sasl.oauthbearer.method": "default"}, "KAFKA_SASL_OAUTHBEARER_METHOD", "set it to oidc"),
        (_OIDC, "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "is missing"),
        (_SASL, "KAFKA_SASL_MECHANISM", "--no-binary confluent-kafka"),
        (_SASL | {"sasl.mechanism": "GSSAPI"}, "KAFKA_SASL_MECHANISM", "no Kerberos"),
        (_SASL | {"sasl.mechanisms": "GSSAPI"}, "KAFKA_SASL_MECHANISMS", "no Kerberos"),
        ({"sasl.mechanism": "GSSAPI"}, "KAFKA_SASL_MECHANISM", "no Kerberos"),
        (
            {"sasl.mechanism": "AWS_MSK_IAM"},
            "KAFKA_SASL_MECHANISM",
            "Java's name; remove it, and set KAFKA_TOKEN_SOURCE=aws-msk-iam",
        ),
        ({"sasl.mechanism": "PLAIN"}, "KAFKA_SASL_MECHANISM", "KAFKA_SECURITY_PROTOCOL is not set, which means PLAINTEXT"),
        ({"sasl.mechanism": "PLAIN", "security.protocol": "SSL"}, "KAFKA_SASL_MECHANISM", "set that to SASL_SSL"),
        (
            _SASL | {"sasl.mechanism": "AWS_MSK_IAM"},
            "KAFKA_SASL_MECHANISM",
            "Java's name; remove it, and set KAFKA_TOKEN_SOURCE=aws-msk-iam",
        ),
        (_SASL | {"sasl.mechanism": "plain"}, "KAFKA_SASL_MECHANISM", "it takes PLAIN, SCRAM-SHA-256"),
        (_SASL | {"sasl.mechanism": "PLAIN"}, "KAFKA_SASL_USERNAME", "is missing"),
        (_SASL | {"sasl.mechanism": "PLAIN", "sasl.username": "a"}, "KAFKA_SASL_PASSWORD", "is missing"),
        ({"security.protocol": "ssl", "ssl.ca.location": "/no/file"}, "KAFKA_SSL_CA_LOCATION", "No such file"),
        ({"security.protocol": "ssl", "ssl.key.location": "/no/file"}, "KAFKA_SSL_KEY_LOCATION", "No such file"),
        ({"security.protocol": "ssl", "ssl.key.location": __file__}, "KAFKA_SSL_KEY_LOCATION", "KAFKA_SSL_KEY_PASSWORD"),
        ({"security.protocol": "ssl", "ssl.crl.location": "/no/file"}, "KAFKA_SSL_CRL_LOCATION", "No such file"),
        ({"security.protocol": "ssl", "ssl.certificate.location": __file__}, "KAFKA_SSL_CERTIFICATE_LOCATION", "PEM"),
        ({"security.protocol": "ssl", "ssl.keystore.location": __file__}, "KAFKA_SSL_KEYSTORE_PASSWORD", "is missing"),
        ({"security.protocol": "ssl", "ssl.providers": "none-of-these"}, "KAFKA_SSL_PROVIDERS", "provider"),
        ({"security.protocol": "ssl", "ssl.engine.location": "/no/file"}, "KAFKA_SSL_ENGINE_LOCATION", "engine"),
        ({"security.protocol": "ssl", "ssl.cipher.suites": "none"}, "KAFKA_SSL_CIPHER_SUITES", "cipher"),
    ],
)
def test_what_the_client_cannot_do_or_read_is_refused_by_its_variable(
    given: dict[str, str], variable: str, says: str
) -> None:
    found = problems(given, _DRAIN_SECONDS)

    assert len(found) == 1, found
    assert found[0].startswith(variable)
    assert says in found[0]


@pytest.mark.parametrize("given", [_OIDC | _PROVIDER, _OIDC | _AZURE, _OIDC | _PROVIDER | {"sasl.oauthbearer.scope": "a"}])
def test_tokens_by_oidc_are_taken(given: dict[str, str]) -> None:
    assert problems(given, _DRAIN_SECONDS) == []


def test_clients_that_nobody_polls_ask_for_their_tokens_by_themselves() -> None:
    asked: queue.Queue[bytes] = queue.Queue()

    class Provider(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{provider.server_port}/token"
        by_token = _OIDC | _PROVIDER | {"security.protocol": "sasl_plaintext", "sasl.oauthbearer.token.endpoint.url": url}
        kafka = Kafka("127.0.0.1:9", ("conversions",), "group", by_token)
        for make in (clients.admin, clients.offsets_reader):
            client = make(kafka)
            assert b"grant_type=client_credentials" in asked.get(timeout=30)
            del client
        provider.shutdown()


def test_a_client_that_cannot_be_made_for_any_other_reason_is_settings_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_properties: object) -> None:
        raise ImportError("boto3 is not installed; it wants hidden")

    monkeypatch.setattr(properties, "Consumer", refused)
    (found,) = problems({"sasl.password": "hidden"}, _DRAIN_SECONDS)
    assert "boto3 is not installed; it wants ***" in found
