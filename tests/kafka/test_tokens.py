"""The tokens of Kafka's clients: one for all, renewed in time, and a message if there is none."""

from __future__ import annotations

import base64
import json
import math
import queue
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from connector.assembly import read_settings
from connector.config import Kafka, TokenSettings
from connector.errors import KafkaTokenLacking, SettingsError
from connector.kafka import clients, tokens
from connector.kafka.cluster import Cluster
from connector.kafka.properties import problems
from connector.kafka.tokens import Source, Token, TokenRefused, Tokens, source_of

_START_SECONDS = 1_800_000_000.0
_LEAST = {
    "KAFKA_TOPIC": "conversions",
    "SCHEMA_REGISTRY_URL": "http://127.0.0.1:9",
    "AMAZON_ACCOUNT_ID": "1",
    "AMAZON_CLIENT_ID": "client",
    "AMAZON_ACCESS_TOKEN": "token",
}


class _Host:
    """Threads that run at once, and a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return int((_START_SECONDS + self.now) * 1_000)

    def semaphore(self, value: int) -> threading.Semaphore:
        return threading.Semaphore(value)

    def queue(self) -> queue.SimpleQueue[Any]:
        return queue.SimpleQueue()

    def thread(self, run: Callable[[], None], name: str) -> SimpleNamespace:
        return SimpleNamespace(start=run)


class _Scene:
    """A source of tokens that live for 100 s, or refuses."""

    def __init__(self) -> None:
        self.host = _Host()
        self.fetched = 0
        self.refusal: Exception | None = None
        self.said: list[list[str]] = []
        self.tokens = Tokens(self._fetch, "KAFKA_TOKEN_SOURCE=file:/t", self.host.wall_ms, cast("Any", self.host))
        self.tokens.report_to(self.said.append)

    def _fetch(self) -> Token:
        if self.refusal is not None:
            raise self.refusal
        self.fetched += 1
        return Token(f"token-{self.fetched}", _START_SECONDS + self.host.now + 100)

    def ask(self) -> tuple[str, float]:
        text, ends = self.tokens("")
        return text, ends - _START_SECONDS


def test_all_clients_share_one_token_and_are_told_of_four_fifths_of_its_life() -> None:
    scene = _Scene()
    assert [scene.ask() for _ in range(5)] == [("token-1", 80.0)] * 5
    assert scene.fetched == 1


def test_a_client_that_asks_before_its_token_ends_gets_a_new_one() -> None:
    scene = _Scene()
    scene.ask()
    scene.host.now = 49
    assert scene.ask()[0] == "token-1"
    scene.host.now = 64  # when the client asks: 80 % of what it was told
    assert scene.ask() == ("token-2", 144.0)


def test_a_refusal_is_outlived_by_the_token_that_is_held_and_asked_again_after_ten_seconds() -> None:
    scene = _Scene()
    scene.ask()
    scene.host.now, scene.refusal = 64, TokenRefused("the file is gone")
    assert scene.ask() == ("token-1", 80.0)
    scene.refusal = None
    scene.host.now = 70
    assert scene.ask()[0] == "token-1", "too soon to ask again"
    scene.host.now = 74
    assert scene.ask()[0] == "token-2"
    assert scene.said == [[]] * 4


def test_without_a_token_every_client_is_told_why_and_so_is_the_operator_until_there_is_one() -> None:
    scene = _Scene()
    scene.ask()
    scene.host.now, scene.refusal = 81, TokenRefused("the file is gone")
    says = "no token to log in to the brokers with: KAFKA_TOKEN_SOURCE=file:/t: the file is gone"
    for ask in (scene.ask, scene.tokens.require):
        with pytest.raises(KafkaTokenLacking, match=f"^{says}$"):
            ask()
    assert scene.said[-1] == [says]
    scene.host.now, scene.refusal = 91, None
    assert scene.ask()[0] == "token-2"
    assert scene.said[-1] == []


def test_a_token_that_has_ended_is_not_given_out() -> None:
    host = _Host()
    given = Tokens(lambda: Token("old", _START_SECONDS), "file", host.wall_ms, cast("Any", host))
    with pytest.raises(KafkaTokenLacking, match="the token it gave has expired"):
        given("")


def test_a_source_that_never_answers_is_given_up_and_one_that_fails_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_LIMIT_SECONDS", 0.05)
    ended = threading.Event()

    def never() -> Token:
        ended.wait(30)
        raise TokenRefused("too late")

    host = _Host()
    monkeypatch.setattr(tokens, "_AGAIN_SECONDS", 0.0)
    given, before = Tokens(never, "file", host.wall_ms), threading.active_count()
    for _ in range(3):
        with pytest.raises(KafkaTokenLacking, match="there was no answer within"):
            given.require()
    assert threading.active_count() <= before + 1, "a source that hangs is asked once"
    ended.set()

    def fails() -> Token:
        raise RuntimeError("a secret")

    with pytest.raises(KafkaTokenLacking, match=r"it failed \(RuntimeError\)$"):
        Tokens(fails, "file", host.wall_ms).require()


def test_no_client_is_made_without_a_token_and_the_reason_is_the_answer() -> None:
    def refuses() -> Token:
        raise TokenRefused("the file is gone")

    kafka = Kafka("127.0.0.1:9", ("conversions",), "group", {}, Tokens(refuses, "file", _Host().wall_ms))
    cluster = Cluster(lambda: clients.admin(kafka), lambda: clients.offsets_reader(kafka))
    with pytest.raises(KafkaTokenLacking, match="the file is gone"):
        cluster.cluster_id()
    for make in (clients.admin, clients.offsets_reader):
        with pytest.raises(KafkaTokenLacking, match="the file is gone"):
            make(kafka)


def _jwt(expires_at: float) -> str:
    parts = ({"alg": "none"}, {"sub": "connector", "exp": expires_at})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def _source(environment: dict[str, str]) -> Source:
    settings = read_settings(_LEAST | {"KAFKA_BOOTSTRAP_SERVERS": "localhost"} | environment)
    found = source_of(settings.kafka_token, _Host().wall_ms)
    assert found is not None
    assert found[1] == f"KAFKA_TOKEN_SOURCE={environment['KAFKA_TOKEN_SOURCE']}"
    return found[0]


def test_a_token_file_is_read_again_each_time_and_says_when_its_token_ends(tmp_path: Path) -> None:
    path = tmp_path / "token"
    fetch = _source({"KAFKA_TOKEN_SOURCE": f"file:{path}"})
    with pytest.raises(TokenRefused, match="cannot be read: No such file"):
        fetch()
    for expires_at in (_START_SECONDS, _START_SECONDS + 60):
        path.write_text(_jwt(expires_at) + "\n")
        assert fetch() == Token(_jwt(expires_at), expires_at)


def test_what_an_editor_puts_around_a_token_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"\ufeff {_jwt(_START_SECONDS)}\r\n", "utf-8")
    assert _source({"KAFKA_TOKEN_SOURCE": f"file:{path}"})().text == _jwt(_START_SECONDS)


def test_a_token_that_lives_for_months_is_read_again_within_the_hour_and_outlives_a_file_that_is_gone(
    tmp_path: Path,
) -> None:
    path, host, year = tmp_path / "token", _Host(), 365 * 86_400
    fetch = _source({"KAFKA_TOKEN_SOURCE": f"file:{path}"})
    tokens = Tokens(fetch, "file", host.wall_ms, cast("Any", host))
    path.write_text(_jwt(_START_SECONDS + year))
    assert tokens("") == (_jwt(_START_SECONDS + year), _START_SECONDS + 2_880)

    path.unlink()
    host.now = 2_304  # when the client asks: 80 % of what it was told
    assert tokens("") == (_jwt(_START_SECONDS + year), _START_SECONDS + 2_304 + 2_880)
    path.write_text(_jwt(_START_SECONDS + 2 * year))
    host.now = 4_608
    assert tokens("")[0] == _jwt(_START_SECONDS + 2 * year)


@pytest.mark.parametrize(
    "text",
    [
        *("", "opaque", "a.b.c", "a.e30.c", _jwt(1).replace(".", "")),
        *(_jwt(math.inf), _jwt(math.nan), _jwt(cast("Any", "inf")), _jwt(cast("Any", "nan"))),
        *(f"{_jwt(1)}\n{_jwt(1)}", f"{_jwt(1)}ä"),
    ],
)
def test_a_file_without_a_jwt_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(TokenRefused, match=r"^the file holds no JWT with a time of expiry \(exp\)$"):
        _source({"KAFKA_TOKEN_SOURCE": f"file:{path}"})()


_AWS = {"KAFKA_TOKEN_SOURCE": "aws-msk-iam", "KAFKA_BOOTSTRAP_SERVERS": "b-1.c.a1.kafka.eu-west-1.amazonaws.com:9098"}
_KEY, _SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def test_an_aws_token_is_a_signed_request_for_the_right_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _SECRET)
    token = _source(_AWS)()

    url = base64.urlsafe_b64decode(token.text + "=" * (-len(token.text) % 4)).decode()
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert urlsplit(url).hostname == "kafka.eu-west-1.amazonaws.com"
    assert asked["Action"] == "kafka-cluster:Connect"
    assert asked["X-Amz-Expires"] == "900"
    signed_at = datetime.strptime(asked["X-Amz-Date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
    assert token.expires_at == signed_at.timestamp() + 900
    assert asked["X-Amz-Signature"] == _signature(asked)


def _signature(asked: dict[str, str]) -> str:
    """Sign the request by botocore, as AWS does to compare."""
    signer = SigV4QueryAuth(Credentials(_KEY, _SECRET), "kafka-cluster", "eu-west-1", expires=900)
    unsigned = {name: value for name, value in asked.items() if name not in {"X-Amz-Signature", "User-Agent"}}
    request = AWSRequest("GET", "https://kafka.eu-west-1.amazonaws.com/", params=unsigned)
    request.context["timestamp"] = asked["X-Amz-Date"]
    request.url = "https://kafka.eu-west-1.amazonaws.com/?" + "&".join(
        f"{name}={_quoted(value)}" for name, value in unsigned.items()
    )
    request.params = {}
    canonical = signer.canonical_request(request)
    return str(signer.signature(signer.string_to_sign(request, canonical), request))


def _quoted(text: str) -> str:
    return text.replace(":", "%3A").replace("/", "%2F")


def test_without_aws_credentials_it_says_where_boto3_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(TokenRefused, match=r"^boto3 finds no credentials in the environment, a profile, the container"):
        _source(_AWS)()
    role = _AWS | {"KAFKA_TOKEN_ROLE_ARN": "arn:aws:iam::123456789012:role/kafka"}
    with pytest.raises(TokenRefused, match=r"^boto3 finds no credentials"):
        _source(role | {"AWS_REGION": "eu-west-1"})()


def test_a_role_that_may_not_be_assumed_is_told_by_the_code_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    class _Denied(Exception):
        response: Any = {"Error": {"Code": "AccessDenied", "Message": "a secret"}}  # noqa: RUF012 - as in botocore

    asked = []

    def assume(*given: str) -> tuple[str, int]:
        asked.append(given)
        raise _Denied

    signer = SimpleNamespace(generate_auth_token_from_role_arn=assume)
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer.MSKAuthTokenProvider", cast("Any", signer))
    with pytest.raises(TokenRefused, match=r"^AWS answered AccessDenied; check KAFKA_TOKEN_ROLE_ARN"):
        _source(_AWS | {"KAFKA_TOKEN_ROLE_ARN": "role"})()
    assert asked == [("eu-west-1", "role", "amazon-conversions-connector")]


def test_a_google_token_has_the_form_that_googles_kafka_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = datetime(2027, 1, 15, 9, 0, 0)  # noqa: DTZ001 - as google-auth has it

    class _Credentials:
        service_account_email = "connector@project.iam.gserviceaccount.com"
        token: str | None = None
        expiry: datetime | None = None

        def refresh(self, _request: object) -> None:
            self.token, self.expiry = "ya29.access", ends

    monkeypatch.setattr("google.auth.default", lambda **_: (_Credentials(), "project"))
    token = _source({"KAFKA_TOKEN_SOURCE": "gcp-adc"})()

    header, claims, access = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.text.split("."))
    assert json.loads(header) == {"typ": "JWT", "alg": "GOOG_OAUTH2_TOKEN"}
    assert json.loads(claims) == {
        "exp": token.expires_at,
        "iat": _START_SECONDS,
        "iss": "Google",
        "scope": "kafka",
        "sub": "connector@project.iam.gserviceaccount.com",
    }
    assert access == b"ya29.access"
    assert token.expires_at == 1_800_003_600.0


def test_without_google_credentials_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(TokenRefused, match="bind the workload to a service account"):
        _source({"KAFKA_TOKEN_SOURCE": "gcp-adc"})()


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [
        ("aws-msk-iam", "aws_msk_iam_sasl_signer.MSKAuthTokenProvider", "aws"),
        ("gcp-adc", "google.auth", "gcp"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, source: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        SettingsError, match=rf"needs the extra {extra}: pip install 'amazon-conversions-connector\[{extra}\]'"
    ):
        source_of(TokenSettings(source, "eu-west-1", None), _Host().wall_ms)


@pytest.mark.parametrize(
    ("servers", "given", "region"),
    [
        ("b-1.c.a1.kafka.eu-west-1.amazonaws.com:9098", {"AWS_REGION": "us-east-1"}, "eu-west-1"),
        ("boot-x.c1.kafka-serverless.ap-southeast-2.amazonaws.com:9098", {}, "ap-southeast-2"),
        ("b-1.c.a1.kafka.eu-west-1.amazonaws.com:9098", {"KAFKA_TOKEN_REGION": "eu-north-1"}, "eu-north-1"),
        ("proxy:9098", {"AWS_REGION": "us-gov-west-1"}, "us-gov-west-1"),
    ],
)
def test_the_region_is_the_one_given_or_that_of_the_brokers_or_the_environments(
    servers: str, given: dict[str, str], region: str
) -> None:
    settings = read_settings(_LEAST | _AWS | given | {"KAFKA_BOOTSTRAP_SERVERS": servers})
    assert settings.kafka_token.region == region


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"KAFKA_TOKEN_SOURCE": "oidc"}, "KAFKA_TOKEN_SOURCE must be aws-msk-iam, gcp-adc or file:/path, not 'oidc'"),
        ({"KAFKA_TOKEN_SOURCE": "file:relative"}, "KAFKA_TOKEN_SOURCE must be"),
        ({"KAFKA_TOKEN_SOURCE": "aws-msk-iam"}, "KAFKA_TOKEN_REGION is missing"),
        ({"KAFKA_TOKEN_REGION": "eu-west-1"}, "KAFKA_TOKEN_REGION is for KAFKA_TOKEN_SOURCE=aws-msk-iam"),
        ({"KAFKA_TOKEN_SOURCE": "gcp-adc", "KAFKA_TOKEN_ROLE_ARN": "r"}, "KAFKA_TOKEN_ROLE_ARN is for KAFKA_TOKEN_SOURCE="),
        (
            {"KAFKA_TOKEN_SOURCE": "file:/t", "KAFKA_SASL_MECHANISM": "PLAIN"},
            "KAFKA_SASL_MECHANISM is refused: it is 'PLAIN'",
        ),
        (
            {"KAFKA_TOKEN_SOURCE": "file:/t", "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
            "KAFKA_SECURITY_PROTOCOL is refused",
        ),
        (
            {"KAFKA_TOKEN_SOURCE": "file:/t", "KAFKA_SASL_USERNAME": "u"},
            "KAFKA_SASL_USERNAME is refused: KAFKA_TOKEN_SOURCE",
        ),
        ({"KAFKA_TOKEN_SOURCE": "file:/t", "KAFKA_SSL_CA_LOCATION": "/no/file"}, "KAFKA_SSL_CA_LOCATION is refused by"),
    ],
)
def test_what_contradicts_the_source_of_tokens_is_refused_by_its_variable(given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(_LEAST | {"KAFKA_BOOTSTRAP_SERVERS": "localhost"} | given)
    assert [problem for problem in refused.value.problems if problem.startswith(says)], refused.value.problems
    assert len(refused.value.problems) == 1


def test_what_says_the_same_as_the_source_of_tokens_is_taken() -> None:
    given = {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "ssl.ca.pem": ""}
    assert problems({name: value for name, value in given.items() if value}, 40.0, by_token=True) == []
