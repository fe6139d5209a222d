from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from itertools import groupby
from pathlib import Path

import orjson
import pytest

from connector.amazon.rules import WithoutConsent
from connector.amazon.tokens import Credentials, FixedToken
from connector.config import SETTINGS, Setting, Settings
from connector.errors import SettingsError
from connector.kafka import properties
from connector.model import SINGLE_INPUTS

_CHECKOUT = Path(__file__).parents[1]

_LEAST = {
    "KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
    "KAFKA_TOPIC": "conversions",
    "SCHEMA_REGISTRY_URL": "https://registry:8081",
    "AMAZON_ACCOUNT_ID": "ENTITY1",
    "AMAZON_CLIENT_ID": "amzn1.application-oa2-client.example",
    "AMAZON_ACCESS_TOKEN": "Atza|a-secret-token",
}
_LOGIN = {"AMAZON_ACCESS_TOKEN": "", "AMAZON_CLIENT_SECRET": "a-secret", "AMAZON_REFRESH_TOKEN": "Atzr|another-secret"}


def _settings(**variables: str) -> Settings:
    return Settings.from_environment(_LEAST | variables, kafka_problems=properties.problems)


def _problems(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        _settings(**variables)
    return refusal.value.problems


def _refused(variables: Mapping[str, str]) -> list[str]:
    try:
        _settings(**variables)
    except SettingsError as refusal:
        return refusal.problems
    return []


def _problem(**variables: str) -> str:
    problems = _problems(**variables)
    assert len(problems) == 1, problems
    return problems[0]


def test_least_that_can_be_given_is_enough() -> None:
    settings = _settings()

    assert settings.kafka.topics == ("conversions",)
    assert settings.kafka.group_id == "amazon-conversions-ENTITY1"
    assert settings.registry
    assert settings.registry.properties == {"url": "https://registry:8081"}
    assert settings.schema_file is None
    assert settings.amazon.api == "ads-v1"
    assert settings.amazon.base_url == "https://advertising-api.amazon.com"
    assert settings.amazon.token_url == "https://api.amazon.com/auth/o2/token"
    assert settings.amazon.timeout_seconds == 35.0
    assert (settings.freshness.max_age_ms, settings.freshness.max_skew_ms) == (7 * 86_400_000, 300_000)
    assert settings.dedupe.window_ms == 7 * 86_400_000
    assert settings.dedupe.key_fields == ("clientDedupeId",)
    assert (settings.batch.max_events, settings.batch.max_bytes, settings.batch.linger_seconds) == (500, 1_000_000, 1.0)
    assert settings.sending.max_in_flight == 8
    assert (settings.buffer.max_events, settings.buffer.max_bytes) == (20_000, 64_000_000)
    assert settings.ledger.topic_for("conversions") == "conversions.amazon-conversions-ENTITY1.ledger"
    assert (settings.ledger.flush_interval_seconds, settings.ledger.auto_create) == (1.0, True)
    assert settings.dead_letters.topic_for("conversions") == "conversions.dead-letter"
    assert settings.drain_timeout_seconds == 40.0
    assert (settings.offset_out_of_range, settings.accept, settings.on_verdict) == ("wait", None, "wait")
    assert (settings.listen.host, settings.listen.port) == ("0.0.0.0", 8080)
    assert (settings.log.level, settings.log.format) == ("info", "json")
    assert settings.notes == ()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        _settings().on_verdict = "stop"  # type: ignore[misc] # that is the point


def test_empty_environment_names_everything_that_is_missing_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({})

    assert {problem.split()[0] for problem in refusal.value.problems} == {
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_TOPIC",
        "SCHEMA_REGISTRY_URL",
        "AMAZON_ACCOUNT_ID",
        "AMAZON_CLIENT_ID",
        "AMAZON_CLIENT_SECRET",
        "AMAZON_REFRESH_TOKEN",
    }
    assert all(problem in str(refusal.value) for problem in refusal.value.problems)


def test_empty_variable_is_one_that_is_not_set() -> None:
    assert _settings(KAFKA_GROUP_ID="", AMAZON_BASE_URL=" ", KAFKA_SASL_MECHANISM="", AMAZON_NONSENSE="") == _settings()


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1000ms", 1_000),
        ("1500ms", 1_500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("12h", 43_200_000),
        ("7d", 604_800_000),
        ("2 h", 7_200_000),
    ],
)
def test_duration_takes_units_from_milliseconds_to_days(text: str, milliseconds: int) -> None:
    assert _settings(MAX_CLOCK_SKEW=text).freshness.max_skew_ms == milliseconds


@pytest.mark.parametrize("text", ["5", "5 minutes", "1.5h", "-5m", "0s", "m", "5M", "1e3s", "٣s"])
def test_duration_without_unit_or_sense_is_refused(text: str) -> None:
    problem = _problem(MAX_CLOCK_SKEW=text)
    assert problem.startswith("MAX_CLOCK_SKEW must be a duration of 1s or more, such as ")
    assert problem.endswith(f", not {text!r}")


def test_clocks_that_may_differ_by_less_than_a_write_takes_are_refused() -> None:
    assert _problem(MAX_CLOCK_SKEW="999ms").startswith("MAX_CLOCK_SKEW must be a duration of 1s or more")


def test_drain_that_does_not_outlast_a_request_is_said_at_start() -> None:
    assert _settings(AMAZON_TIMEOUT="39s").notes == ()
    (note,) = _settings(AMAZON_TIMEOUT="40s").notes
    assert note.startswith("DRAIN_TIMEOUT does not exceed AMAZON_TIMEOUT: ")


def test_batch_need_not_linger() -> None:
    assert _settings(BATCH_LINGER="0ms").batch.linger_seconds == 0


@pytest.mark.parametrize(("text", "size"), [("900B", 900), ("64KB", 64_000), ("2MB", 2_000_000), ("1 MB", 1_000_000)])
def test_size_is_decimal(text: str, size: int) -> None:
    assert _settings(BATCH_MAX_BYTES=text).batch.max_bytes == size


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.7", "127.example.com"])
def test_a_free_port_that_no_probe_can_know_is_refused(host: str) -> None:
    assert _problem(LISTEN_HOST=host, LISTEN_PORT="0").startswith("LISTEN_PORT is 0, a free port that neither a probe")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_free_port_is_taken_where_only_this_host_asks(host: str) -> None:
    assert _settings(LISTEN_HOST=host, LISTEN_PORT="0").listen.port == 0


@pytest.mark.parametrize("text", ["1", "1GB", "1MiB", "0B", "1.5MB", "kB"])
def test_size_without_unit_or_sense_is_refused(text: str) -> None:
    problem = _problem(BATCH_MAX_BYTES=text)
    assert problem.startswith("BATCH_MAX_BYTES must be a size above zero, such as ")
    assert problem.endswith(f", not {text!r}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH_MAX_EVENTS", "0"),
        ("BATCH_MAX_EVENTS", "501"),
        ("BATCH_MAX_EVENTS", "many"),
        ("MAX_IN_FLIGHT", "0"),
        ("LISTEN_PORT", "65536"),
        ("AMAZON_API", "v3"),
        ("AMAZON_REGION", "US"),
        ("LEDGER_AUTO_CREATE", "yes"),
        ("OFFSET_OUT_OF_RANGE", "latest"),
        ("ON_VERDICT", "exit"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("DEDUPE_KEY", "matchKeys"),
        ("DEDUPE_KEY", "name,name"),
        ("DEDUPE_KEY", " clientDedupeId , clientDedupeId"),
        ("DEDUPE_KEY", ","),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker:port"),
        ("KAFKA_TOPIC", "conversions/eu"),
        ("KAFKA_TOPIC", "conversions,conversions"),
        ("AMAZON_BASE_URL", "advertising-api.amazon.com"),
        ("AMAZON_BASE_URL", "ftp://advertising-api.amazon.com"),
        ("AMAZON_BASE_URL", "https://user:password@advertising-api.amazon.com"),
        ("AMAZON_TOKEN_URL", "https://"),
        ("SCHEMA_REGISTRY_URL", "registry:8081"),
        ("AMAZON_ACCOUNT_ID", "ENTITY 1"),
        ("LEDGER_TOPIC", "a ledger"),
        ("LEDGER_TOPIC", "l" * 250),
        ("DEAD_LETTER_TOPIC", ".."),
    ],
)
def test_senseless_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    assert _problems(**{name: value})[0].startswith(f"{name} ")


@pytest.mark.parametrize("servers", ["broker", "a:9092,b:9093", "[::1]:9092", "SSL://a:9092", "10.0.0.1:9092 , b:1"])
def test_bootstrap_servers_are_taken_as_librdkafka_takes_them(servers: str) -> None:
    assert _settings(KAFKA_BOOTSTRAP_SERVERS=servers).kafka.bootstrap_servers == servers.replace(" ", "")


@pytest.mark.parametrize("region", ["EU", "eu"])
def test_region_decides_both_endpoints(region: str) -> None:
    amazon = _settings(AMAZON_REGION=region).amazon

    assert amazon.region == "EU"
    assert amazon.base_url == "https://advertising-api-eu.amazon.com"
    assert amazon.token_url == "https://api.amazon.co.uk/auth/o2/token"


def test_group_of_another_endpoint_is_another_group() -> None:
    settings = _settings(AMAZON_BASE_URL="https://proxy.example:8443/amazon/")

    assert settings.amazon.base_url == "https://proxy.example:8443/amazon"
    assert settings.kafka.group_id == "amazon-conversions-ENTITY1-proxy.example"
    assert _settings(AMAZON_BASE_URL="http://[::1]:8090").kafka.group_id == "amazon-conversions-ENTITY1---1"


def test_plain_http_off_this_machine_is_worth_a_note() -> None:
    assert "AMAZON_BASE_URL is not https" in _settings(AMAZON_BASE_URL="http://sandbox:8080").notes[0]
    assert _settings(AMAZON_BASE_URL="http://127.0.0.1:8080").notes == ()


def test_credentials_are_a_fixed_token_or_a_login_and_not_both() -> None:
    fixed, login = _settings().amazon.credentials, _settings(**_LOGIN).amazon.credentials

    assert isinstance(fixed, FixedToken)
    assert fixed.access_token() == "Atza|a-secret-token"
    assert isinstance(login, Credentials)
    assert (login.client_id, login.token_url) == (_LEAST["AMAZON_CLIENT_ID"], "https://api.amazon.com/auth/o2/token")
    assert (login.client_secret(), login.refresh_token()) == ("a-secret", "Atzr|another-secret")
    assert _problem(AMAZON_REFRESH_TOKEN="Atzr|another-secret").startswith(
        "AMAZON_ACCESS_TOKEN is set together with AMAZON_REFRESH_TOKEN"
    )
    assert _problem(**_LOGIN | {"AMAZON_CLIENT_SECRET": ""}).startswith("AMAZON_CLIENT_SECRET is missing")


def test_schemas_come_from_a_registry_or_a_file_and_not_both() -> None:
    settings = _settings(SCHEMA_REGISTRY_URL="", AVRO_SCHEMA_FILE="/schemas/event.avsc")

    assert settings.registry is None
    assert settings.schema_file == Path("/schemas/event.avsc")
    assert "both set" in _problem(AVRO_SCHEMA_FILE="/schemas/event.avsc")
    assert "both set" in _problem(AVRO_SCHEMA_DIR="/schemas")
    assert "all set" in _problem(AVRO_SCHEMA_DIR="/schemas", AVRO_SCHEMA_FILE="/schemas/event.avsc")
    assert "both set" in _problem(SCHEMA_REGISTRY_URL="", SCHEMA_REGISTRY_TYPE="glue", AVRO_SCHEMA_DIR="/schemas")
    missing = _problem(SCHEMA_REGISTRY_URL="")
    assert missing.startswith("SCHEMA_REGISTRY_URL is missing")
    for other in ("SCHEMA_REGISTRY_TYPE=glue", "AVRO_SCHEMA_FILE", "AVRO_SCHEMA_DIR"):
        assert other in missing


def test_other_registry_variables_are_properties_of_its_client() -> None:
    asked: list[object] = []

    def registry_problems(given: Mapping[str, str]) -> list[str]:
        asked.append(given)
        return []

    variables = _LEAST | {"SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO": "user:a-secret"}
    settings = Settings.from_environment(variables, registry_problems=registry_problems)

    assert settings.registry
    assert settings.registry.properties["basic.auth.user.info"] == "user:a-secret"
    assert asked == [settings.registry.properties]
    assert "SCHEMA_REGISTRY_URL is missing" in _problems(**variables | {"SCHEMA_REGISTRY_URL": ""})[1]


def test_what_the_registry_client_refuses_is_among_the_problems() -> None:
    with pytest.raises(SettingsError, match="SCHEMA_REGISTRY_X is senseless"):
        Settings.from_environment(_LEAST, registry_problems=lambda _: ["SCHEMA_REGISTRY_X is senseless"])


def test_data_set_exists_in_one_contract_only() -> None:
    assert _settings(AMAZON_DATASET_NAME="web").amazon.dataset_name == "web"
    assert _problem(AMAZON_DATASET_NAME="web", AMAZON_API="events-v1").startswith(
        "AMAZON_DATASET_NAME exists in ads-v1 only"
    )


def test_what_becomes_of_events_without_consent_is_one_of_three() -> None:
    assert _settings().amazon.without_consent is WithoutConsent.DEAD_LETTER
    assert _settings(AMAZON_MISSING_CONSENT="Denied").amazon.without_consent is WithoutConsent.DENIED
    assert _settings(AMAZON_MISSING_CONSENT="send").amazon.without_consent is WithoutConsent.SEND
    assert _problem(AMAZON_MISSING_CONSENT="drop") == (
        "AMAZON_MISSING_CONSENT must be dead-letter, denied or send, not 'drop'"
    )


def test_window_below_the_age_limit_is_refused() -> None:
    assert _problem(DEDUPE_WINDOW="6d").startswith("DEDUPE_WINDOW is below MAX_EVENT_AGE")
    assert _settings(DEDUPE_WINDOW="6d", MAX_EVENT_AGE="6d").dedupe.window_ms == 6 * 86_400_000


def test_buffer_that_holds_less_than_a_batch_is_refused() -> None:
    assert _problem(BUFFER_MAX_EVENTS="499").startswith("BUFFER_MAX_EVENTS")
    assert _problem(BUFFER_MAX_BYTES="1KB").startswith("BUFFER_MAX_EVENTS and BUFFER_MAX_BYTES")


def test_several_topics_need_their_name_in_that_of_the_ledger() -> None:
    settings = _settings(KAFKA_TOPIC="web, app", LEDGER_TOPIC="facts-{topic}")

    assert settings.kafka.topics == ("web", "app")
    assert [settings.ledger.topic_for(topic) for topic in settings.kafka.topics] == ["facts-web", "facts-app"]
    assert _problems(KAFKA_TOPIC="web,app", LEDGER_TOPIC="facts")[0].startswith("LEDGER_TOPIC must contain {topic}")
    assert _problems(KAFKA_TOPIC="web,app", DEAD_LETTER_TOPIC="dead")[0].startswith("DEAD_LETTER_TOPIC must contain {topic}")


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "1001", "1e3"])
def test_a_rate_that_makes_no_sense_is_refused(rate: str) -> None:
    assert "AMAZON_MAX_REQUESTS_PER_SECOND" in _problem(AMAZON_MAX_REQUESTS_PER_SECOND=rate)


def test_limits_of_sending_and_of_dead_letters_are_read() -> None:
    assert _settings().sending.max_per_second is None
    assert _settings(AMAZON_MAX_REQUESTS_PER_SECOND="0.5").sending.max_per_second == 0.5
    policy = _settings(DEAD_LETTER_MAX_CONSECUTIVE="0", DEAD_LETTER_MAX_RATIO="0.25").dead_letters.policy
    assert (policy.max_consecutive, policy.max_ratio) == (0, 0.25)
    assert "DEAD_LETTER_MAX_RATIO" in _problem(DEAD_LETTER_MAX_RATIO="1.1")


def test_no_topic_has_two_uses() -> None:
    assert "'conversions'" in _problem(LEDGER_TOPIC="conversions")
    assert "'conversions'" in _problem(DEAD_LETTER_TOPIC="conversions")
    assert "LEDGER_TOPIC names too" in _problem(LEDGER_TOPIC="same", DEAD_LETTER_TOPIC="same")
    assert "KAFKA_TOPIC names too" in _problem(KAFKA_TOPIC="a,a.dead-letter")


def test_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("Atza|from-a-file\n")

    settings = _settings(AMAZON_ACCESS_TOKEN="", AMAZON_ACCESS_TOKEN_FILE=str(file), KAFKA_SASL_PASSWORD_FILE=str(file))

    assert settings.amazon.access_token
    assert settings.amazon.access_token() == "Atza|from-a-file"
    file.write_text("Atza|renewed\n")
    assert settings.amazon.access_token() == "Atza|renewed"
    file.write_text("")
    assert settings.amazon.access_token() == "Atza|renewed"
    file.unlink()
    assert settings.amazon.access_token() == "Atza|renewed"
    assert settings.kafka.properties == {"sasl.password": "Atza|from-a-file"}


def test_secret_given_twice_is_refused() -> None:
    problem = _problem(AMAZON_ACCESS_TOKEN_FILE="/run/secrets/token")
    assert problem.startswith("AMAZON_ACCESS_TOKEN_FILE and AMAZON_ACCESS_TOKEN are both set")


def test_secret_that_cannot_be_read_is_the_one_problem_there_is(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("missing", "empty", "binary"):
        problem = _problem(AMAZON_ACCESS_TOKEN="", AMAZON_ACCESS_TOKEN_FILE=str(tmp_path / name))
        assert problem.startswith("AMAZON_ACCESS_TOKEN_FILE names a")


def test_a_secret_in_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 1_000_001)
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "large", "link", "directory"):
        problem = _problem(AMAZON_ACCESS_TOKEN="", AMAZON_ACCESS_TOKEN_FILE=str(tmp_path / name))
        assert problem.startswith("AMAZON_ACCESS_TOKEN_FILE names a file that cannot be read (NotAPlainFile)")


def test_a_secret_of_several_lines_is_read_as_they_are_on_any_system(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"-----BEGIN KEY-----\r\nabc\r\n-----END KEY-----\r\n")
    (tmp_path / "link").symlink_to(file)
    properties = _settings(KAFKA_SSL_KEY_PEM_FILE=str(tmp_path / "link")).kafka.properties
    assert properties == {"ssl.key.pem": "-----BEGIN KEY-----\nabc\n-----END KEY-----"}


def test_what_is_no_secret_has_no_file() -> None:
    assert _problem(AMAZON_ACCOUNT_ID_FILE="/id").startswith("AMAZON_ACCOUNT_ID_FILE is not a setting")


def test_property_of_librdkafka_may_end_in_file() -> None:
    given = _settings(KAFKA_SASL_OAUTHBEARER_ASSERTION_FILE="/assertion").kafka.properties
    assert given == {"sasl.oauthbearer.assertion.file": "/assertion"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("AMAZON_ACOUNT_ID", "AMAZON_ACCOUNT_ID"),
        ("AMAZON_REFRESH_TOKEN_FIL", "AMAZON_REFRESH_TOKEN_FILE"),
        ("KAFKA_TOPICS", "KAFKA_TOPIC"),
        ("KAFKA_SASL_MECHANSM", "KAFKA_SASL_MECHANISM"),
        ("KAFKA_SESION_TIMEOUT_MS", "KAFKA_SESSION_TIMEOUT_MS"),
    ],
)
def test_misspelt_variable_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    problem = _problem(**{name: "x"})

    assert problem.startswith(f"{name} ")
    assert problem.endswith(f"did you mean {meant}?")


def test_unknown_amazon_variable_like_no_other_is_to_be_removed() -> None:
    assert _problem(AMAZON_XYZZY="x") == "AMAZON_XYZZY is not a setting: remove it"


def test_service_links_of_kubernetes_are_ignored_with_one_note() -> None:
    links = {
        "KAFKA_SERVICE_HOST": "10.0.0.1",
        "KAFKA_SERVICE_PORT": "9092",
        "KAFKA_SERVICE_PORT_BROKER": "9092",
        "KAFKA_PORT": "tcp://10.0.0.1:9092",
        "KAFKA_PORT_9092_TCP": "tcp://10.0.0.1:9092",
        "KAFKA_PORT_9092_TCP_PROTO": "tcp",
        "KAFKA_PORT_9092_TCP_PORT": "9092",
        "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
        "SCHEMA_REGISTRY_SERVICE_HOST": "10.0.0.2",
        "LISTEN_PORT": "tcp://10.0.0.3:80",
        "LISTEN_SERVICE_HOST": "10.0.0.3",
        "OTHER_SERVICE_HOST": "10.0.0.4",
    }

    settings = _settings(**links)

    assert replace(settings, notes=()) == _settings()
    assert len(settings.notes) == 1
    assert "KAFKA_PORT_9092_TCP_ADDR" in settings.notes[0]
    assert "OTHER" not in settings.notes[0]


def test_port_that_is_no_service_link_is_a_misspelt_property() -> None:
    assert _problem(KAFKA_PORT="9092").startswith("KAFKA_PORT is refused by the Kafka client: No such")


def test_all_problems_come_at_once() -> None:
    problems = _problems(MAX_IN_FLIGHT="x", AMAZON_NONSENSE="x", KAFKA_ACKS="1", KAFKA_NONSENSE="x", DEDUPE_WINDOW="1d")

    assert [problem.split()[0] for problem in problems] == [
        "MAX_IN_FLIGHT",
        "KAFKA_ACKS",
        "KAFKA_NONSENSE",
        "DEDUPE_WINDOW",
        "AMAZON_NONSENSE",
    ]


def test_no_secret_is_ever_shown() -> None:
    secrets = {
        "KAFKA_SASL_PASSWORD": "hidden-1",
        "KAFKA_SSL_KEY_PASSWORD": "hidden-2",
        "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO": "user:hidden-3",
        "SCHEMA_REGISTRY_URL": "https://user:hidden-4@registry:8081",
        "AMAZON_CLIENT_SECRET": "hidden-5",
        "AMAZON_REFRESH_TOKEN": "hidden-6",
        "AMAZON_ACCESS_TOKEN": "",
    }

    settings = _settings(**secrets)
    rows = dict(settings.describe())

    assert "hidden" not in repr(settings)
    assert "hidden" not in repr(rows)
    assert rows["KAFKA_SASL_PASSWORD"] == rows["AMAZON_REFRESH_TOKEN"] == "***"
    assert rows["SCHEMA_REGISTRY_URL"] == "https://***@registry:8081"


def test_no_secret_is_shown_in_a_refusal() -> None:
    refused = " ".join(
        _problems(AMAZON_ACCESS_TOKEN="hidden token", KAFKA_SASL_PASSWORD="hidden", KAFKA_SECURITY_PROTOCOL="hidden")
    )

    assert "AMAZON_ACCESS_TOKEN" in refused
    assert "hidden token" not in refused
    assert "hidden" not in refused.replace("KAFKA_SECURITY_PROTOCOL", "")


def test_effective_values_are_described_by_variable() -> None:
    rows = dict(_settings(KAFKA_SESSION_TIMEOUT_MS="10000").describe())

    assert rows["KAFKA_TOPIC"] == "conversions"
    assert rows["KAFKA_GROUP_ID"] == "amazon-conversions-ENTITY1"
    assert rows["KAFKA_SESSION_TIMEOUT_MS"] == "10000"
    assert rows["AMAZON_BASE_URL"] == "https://advertising-api.amazon.com"
    assert rows["BATCH_MAX_BYTES"] == "1MB"
    assert "ACCEPT" not in rows


def test_each_variable_is_declared_once_and_described() -> None:
    names = [setting.name for setting in SETTINGS]

    assert len(set(names)) == len(names)
    assert all(setting.section and setting.type and setting.meaning for setting in SETTINGS)


def test_settings_of_a_section_stand_together() -> None:
    sections = [setting.section for setting in SETTINGS]

    assert len(list(groupby(sections))) == len(set(sections))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_default_is_what_a_user_would_type(setting: Setting) -> None:
    if setting.default and "<" not in setting.default:
        typed, untyped = _settings(**{setting.name: setting.default}), _settings()

        assert replace(typed, rows=()) == replace(untyped, rows=())
        assert dict(typed.describe()) == dict(untyped.describe())
        assert dict(untyped.describe())[setting.name] == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_limits_in_the_type_of_a_setting_are_those_that_are_kept(setting: Setting) -> None:
    if match := re.fullmatch(r"whole number from (\d+) to (\d+)", setting.type):
        low, high = int(match[1]), int(match[2])
        for outside in (low - 1, high + 1):
            problems = _problems(**{setting.name: str(outside)})
            assert problems[0] == f"{setting.name} must be a {setting.type}, not '{outside}'"
        assert all(
            not problem.startswith(f"{setting.name} must")
            for inside in (low, high)
            for problem in _refused({setting.name: str(inside)})
        )


@pytest.mark.parametrize("name", ["KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "SCHEMA_REGISTRY_URL", "DEDUPE_KEY"])
def test_list_of_commas_is_no_list(name: str) -> None:
    assert _problems(**{name: " , "})[0].startswith(f"{name} must be ")


def test_values_are_shown_in_the_order_of_the_table() -> None:
    rows = [name for name, _ in _settings(KAFKA_SESSION_TIMEOUT_MS="10000").describe()]
    order = [setting.name for setting in SETTINGS]
    order[order.index("KAFKA_…")] = "KAFKA_SESSION_TIMEOUT_MS"

    assert rows == [name for name in order if name in rows]


def test_single_inputs_are_those_of_the_schema() -> None:
    schema = orjson.loads((_CHECKOUT / "schemas" / "conversion_event.avsc").read_bytes())

    several = {"matchKeys", "consent", "customAttributes", "customData"}
    assert set(SINGLE_INPUTS) == {field["name"] for field in schema["fields"]} - several


@pytest.mark.parametrize(
    "name", ["SCHEMA_REGISTRY_URL", "SCHEMA_REGISTRY_PROXY", "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL"]
)
@pytest.mark.parametrize(
    "user",
    [
        "me:canary",
        "me%40x:canary%2F",
        "me:can/ary",
        "me:can@ary",
        "me:@canary:",
        "canary",
        ":canary",
        "me:c#anary",
        "me:c?anary/@",
    ],
)
def test_no_user_or_password_of_an_address_is_described(name: str, user: str) -> None:
    value = f"https://{user}@one.example:1/path"
    for given in (value, f"{value},https://{user}@two.example"):
        settings = Settings.from_environment(_LEAST | {name: given})
        shown = dict(settings.describe())[name]
        assert shown.startswith("https://***@")
        assert shown.endswith(("one.example:1/path", "two.example"))
        assert [part for part in ("canary", "anary", "ary", "me") if part in shown.replace("example", "")] == []


@pytest.mark.parametrize("name", ["SCHEMA_REGISTRY_URL", "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL"])
@pytest.mark.parametrize("query", ["?key=canary", "/path?a=b&key=canary", "#canary", "?a=https://x?canary"])
def test_what_follows_an_address_is_not_described(name: str, query: str) -> None:
    settings = Settings.from_environment(_LEAST | {name: f"https://one.example:1{query}"})
    shown = dict(settings.describe())[name]
    assert "nary" not in shown
    assert "?***" in shown or "//***@" in shown


def test_what_an_oauth_query_holds_is_a_secret() -> None:
    settings = _settings(SCHEMA_REGISTRY_BEARER_AUTH_ISSUER_ENDPOINT_QUERY="client_secret=canary")
    assert dict(settings.describe())["SCHEMA_REGISTRY_BEARER_AUTH_ISSUER_ENDPOINT_QUERY"] == "***"


def test_patience_with_an_unknown_schema_is_half_a_minute_or_as_given_or_none() -> None:
    for given, seconds in ((None, 30.0), ("5s", 5.0), ("0s", 0.0)):
        registry = _settings(**({} if given is None else {"UNKNOWN_SCHEMA_PATIENCE": given})).registry
        assert registry is not None
        assert registry.patience_seconds == seconds
    assert _problem(UNKNOWN_SCHEMA_PATIENCE="a while").startswith("UNKNOWN_SCHEMA_PATIENCE must be a duration, such as ")


_MARK = "\ufeff"


@pytest.mark.parametrize(
    "content",
    [
        f"{_MARK}token".encode(),
        b"token\r\n",
        f"{_MARK}\r\n token \n\n".encode(),
        f"token\n{_MARK}".encode(),
        "\u200btoken\u00a0".encode(),
    ],
)
def test_what_an_editor_puts_around_a_secret_is_not_of_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    settings = _settings(AMAZON_ACCESS_TOKEN="", AMAZON_ACCESS_TOKEN_FILE=str(file), KAFKA_SASL_PASSWORD_FILE=str(file))
    assert settings.amazon.access_token
    assert settings.amazon.access_token.value == "token"
    assert settings.amazon.access_token() == "token"  # as the file has it now
    assert settings.kafka.properties["sasl.password"] == "token"


def test_a_byte_order_mark_in_the_environment_is_of_no_setting() -> None:
    settings = _settings(AMAZON_ACCESS_TOKEN=f"{_MARK}token", AMAZON_ACCOUNT_ID=f"{_MARK}585{_MARK}")
    assert settings.amazon.access_token
    assert (settings.amazon.access_token(), settings.amazon.account_id) == ("token", "585")


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_secret_that_is_no_text_in_utf8_is_refused(tmp_path: Path, coding: str) -> None:
    file = tmp_path / "token"
    file.write_bytes("tökén".encode(coding) if coding != "utf-16-le" else "token".encode(coding))
    problem = _problem(AMAZON_ACCESS_TOKEN="", AMAZON_ACCESS_TOKEN_FILE=str(file))
    assert problem.startswith("AMAZON_ACCESS_TOKEN_FILE names a file that is not UTF-8 text")
    assert "save it as UTF-8" in problem


@pytest.mark.parametrize(
    "name",
    [
        "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO",
        "SCHEMA_REGISTRY_BEARER_AUTH_TOKEN",
        "SCHEMA_REGISTRY_SSL_KEY_PASSWORD",
        "AMAZON_PROXY",
        "KAFKA_SASL_PASSWORD",
    ],
)
@pytest.mark.parametrize("content", [b"us\0er:password", b"\xff", b"", None], ids=["a NUL", "not UTF-8", "empty", "missing"])
def test_of_a_secret_that_cannot_be_used_one_problem_is_said(tmp_path: Path, name: str, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    assert _problem(**{f"{name}_FILE": str(file)}).startswith(f"{name}_FILE names a")


def test_a_secret_that_becomes_no_text_keeps_its_last_value(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    token = _settings(AMAZON_ACCESS_TOKEN="", AMAZON_ACCESS_TOKEN_FILE=str(file)).amazon.access_token
    file.write_bytes("second".encode("utf-16-le"))
    assert token() == "first"
    file.write_bytes(f"{_MARK}third\r\n".encode())
    assert token() == "third"


def test_glue_needs_no_address_and_takes_a_region_and_a_role() -> None:
    settings = _settings(
        SCHEMA_REGISTRY_URL="",
        SCHEMA_REGISTRY_TYPE="glue",
        SCHEMA_REGISTRY_REGION="eu-central-1",
        SCHEMA_REGISTRY_ROLE_ARN="arn:aws:iam::123456789012:role/schemas",
    )
    assert settings.registry is not None
    assert (settings.registry.type, settings.registry.region) == ("glue", "eu-central-1")
    assert "neither address nor properties" in _problem(SCHEMA_REGISTRY_TYPE="glue")
    assert "neither address nor properties" in _problem(
        SCHEMA_REGISTRY_URL="", SCHEMA_REGISTRY_TYPE="glue", SCHEMA_REGISTRY_PROXY="http://proxy:3128"
    )
    for name in ("SCHEMA_REGISTRY_REGION", "SCHEMA_REGISTRY_ROLE_ARN"):
        assert f"{name} is for SCHEMA_REGISTRY_TYPE=glue" in _problem(**{name: "eu-central-1"})


@pytest.mark.parametrize("kind", ["apicurio", "azure"])
def test_other_registries_need_an_address(kind: str) -> None:
    settings = _settings(SCHEMA_REGISTRY_TYPE=kind, SCHEMA_REGISTRY_URL="https://registry")
    assert settings.registry is not None
    assert (settings.registry.type, settings.registry.urls) == (kind, ("https://registry",))
    assert "SCHEMA_REGISTRY_URL is missing" in _problem(SCHEMA_REGISTRY_TYPE=kind, SCHEMA_REGISTRY_URL="")
    assert "SCHEMA_REGISTRY_URL is missing" in _problem(
        SCHEMA_REGISTRY_TYPE=kind, SCHEMA_REGISTRY_URL="", AVRO_SCHEMA_FILE="/schemas/event.avsc"
    )


def test_apicurio_takes_the_properties_of_the_client_and_azure_takes_none() -> None:
    _settings(SCHEMA_REGISTRY_TYPE="apicurio", SCHEMA_REGISTRY_PROXY="http://proxy:3128")
    what = "SCHEMA_REGISTRY_TYPE is azure, which has one address and no properties"
    assert what in _problem(SCHEMA_REGISTRY_TYPE="azure", SCHEMA_REGISTRY_PROXY="http://proxy:3128")
    assert what in _problem(SCHEMA_REGISTRY_TYPE="azure", SCHEMA_REGISTRY_URL="https://one,https://two")


def test_a_directory_of_schemas_replaces_the_registry() -> None:
    settings = _settings(SCHEMA_REGISTRY_URL="", AVRO_SCHEMA_DIR="/schemas")
    assert settings.registry is None
    assert str(settings.schema_dir) == "/schemas"


@pytest.mark.parametrize(
    ("granted", "expires"),
    [("2026-11-05", 1_825_372_800.0), ("2026-06-30", 1_814_313_600.0), ("2026-06-29", None)],
)
def test_a_refresh_token_ends_a_year_after_its_consent_if_such_tokens_end(granted: str, expires: float | None) -> None:
    settings = _settings(**_LOGIN, AMAZON_REFRESH_TOKEN_GRANTED=granted)
    assert settings.amazon.refresh_token_expires == expires
    assert bool(settings.notes) == (expires is None)


def test_a_day_of_consent_needs_a_refresh_token_and_must_be_a_day() -> None:
    assert _settings().amazon.refresh_token_expires is None
    assert _problem(AMAZON_REFRESH_TOKEN_GRANTED="2026-11-05").startswith("AMAZON_REFRESH_TOKEN_GRANTED is set without")
    for text in ("2026-11-31", "05.11.2026", "20261105"):
        said = _problem(**_LOGIN, AMAZON_REFRESH_TOKEN_GRANTED=text)
        assert said == f"AMAZON_REFRESH_TOKEN_GRANTED must be a day such as 2026-11-05, not {text!r}"


def test_letters_are_kept_for_ever_or_as_long_as_is_asked_for() -> None:
    assert _settings().dead_letters.retention_ms is None
    assert _settings(DEAD_LETTER_RETENTION="90d").dead_letters.retention_ms == 90 * 86_400_000
    assert _problem(DEAD_LETTER_RETENTION="0d").startswith("DEAD_LETTER_RETENTION must be")
