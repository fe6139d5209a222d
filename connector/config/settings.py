"""The tree of settings, in which each setting is declared once.

`SETTINGS` lists the declarations in the order in which they stand here. A class that is derived
from a policy of ``core`` declares where that policy's values come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from connector.amazon.regions import REGIONS, Region
from connector.amazon.rules import WithoutConsent
from connector.amazon.tokens import Credentials, FixedToken, refresh_token_expires
from connector.config import checks, kinds
from connector.config.declaration import Setting, Variables, declared, read, section, setting
from connector.config.environment import Environment, is_secret_property
from connector.config.secret import Login, SecretValue
from connector.core.batching import BatchPolicy
from connector.core.breaker import DeadLetterPolicy
from connector.core.dedupe import DedupePolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.policy import BufferPolicy
from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.mapping.file import MappingFile

__all__ = [
    "SETTINGS",
    "Amazon",
    "DeadLetterSettings",
    "Kafka",
    "LedgerSettings",
    "Listen",
    "Log",
    "RegistrySettings",
    "Sending",
    "Settings",
    "TokenSettings",
    "is_secret",
]

_MAX_EVENTS = 500
"""Events per request, in both wire contracts (``eventData`` and ``events``)."""
_MIN_SKEW_MS = 1_000
_MIN_SKEW_REASON = "brokers report their time in the answer to a write, so a slow write looks like a wrong clock"
_MIN_BUFFER = 12
"""Three polls of one record each may be in progress, and they may fill a quarter of the buffer."""


@dataclass(frozen=True, slots=True)
class TopicTemplate:
    """Names the topic that belongs to a source topic: the ledger, or the dead letters."""

    text: str
    """The name. ``{topic}`` stands for the source topic."""

    def __call__(self, source: str) -> str:
        """Return the name for a source topic."""
        return self.text.replace("{topic}", source)


def _region(variables: Variables) -> Region:
    return REGIONS.get(variables.text("AMAZON_REGION").upper(), REGIONS["NA"])


def _group(variables: Variables) -> str:
    host = kinds.host_of(variables.given("AMAZON_BASE_URL")).replace(":", "-")  # an IPv6 address has colons
    return f"amazon-conversions-{variables.given('AMAZON_ACCOUNT_ID')}{host and '-'}{host}"


_AWS_TOKENS = "aws-msk-iam"
_MSK = re.compile(r"\.kafka(?:-serverless)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?(?::|,|$)")
"""The region in the name of a broker of Amazon MSK. A token is good in that region only."""


def _token_region(variables: Variables) -> str:
    if variables.given("KAFKA_TOKEN_SOURCE") != _AWS_TOKENS:
        return ""
    found = _MSK.search(variables.given("KAFKA_BOOTSTRAP_SERVERS"))
    return found[1] if found else variables.given("AWS_REGION")


@dataclass(frozen=True, slots=True)
class Kafka:
    """The cluster, and the connector's place in it."""

    bootstrap_servers: str = setting(
        "KAFKA_BOOTSTRAP_SERVERS", kinds.SERVERS, "brokers, as host:port, separated by commas", required=True
    )
    topics: tuple[str, ...] = setting(
        "KAFKA_TOPIC", kinds.TOPICS, "source topic; separate several with commas", required=True
    )
    group_id: str = setting(
        "KAFKA_GROUP_ID",
        kinds.TEXT,
        "consumer group; use one for each destination",
        default="amazon-conversions-<account id>",
        derive=_group,
    )
    properties: Mapping[str, str] = setting(
        "KAFKA_…",
        kinds.properties("librdkafka"),
        "any other property of librdkafka: KAFKA_SASL_MECHANISM is sasl.mechanism",
        repr=False,
    )
    """Properties by their names in librdkafka. May contain secrets."""
    tokens: Callable[[str], tuple[str, float]] | None = field(default=None, repr=False, compare=False)
    """Gives every client the token that it logs in with; None without ``KAFKA_TOKEN_SOURCE``."""
    login: Login | None = field(default=None, repr=False, compare=False)
    """The SASL user and password, if one of them comes from a file, and may change there."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Where the tokens come from that Kafka's clients log in with."""

    source: str | None = setting(
        "KAFKA_TOKEN_SOURCE",
        kinds.optional(kinds.TOKEN_SOURCE),
        "log in with tokens: aws-msk-iam (extra aws), gcp-adc (extra gcp), or a JWT in a file, read again at each refresh",
    )
    region: str | None = setting(
        "KAFKA_TOKEN_REGION",
        kinds.optional(kinds.TEXT),
        "AWS region of aws-msk-iam",
        default="<by KAFKA_BOOTSTRAP_SERVERS or AWS_REGION>",
        derive=_token_region,
    )
    role_arn: str | None = setting("KAFKA_TOKEN_ROLE_ARN", kinds.optional(kinds.TEXT), "AWS role to assume for aws-msk-iam")


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """The schema registry."""

    type: str = setting(
        "SCHEMA_REGISTRY_TYPE",
        kinds.word("confluent", "glue", "apicurio", "azure"),
        "API of the registry: confluent; glue (AWS, needs no SCHEMA_REGISTRY_URL); apicurio (its own API); or azure",
        default="confluent",
    )
    region: str | None = setting(
        "SCHEMA_REGISTRY_REGION",
        kinds.optional(kinds.TEXT),
        "AWS region of a registry of type glue; without it, that of the AWS environment",
    )
    role_arn: str | None = setting(
        "SCHEMA_REGISTRY_ROLE_ARN", kinds.optional(kinds.TEXT), "AWS role to assume for a registry of type glue"
    )
    urls: tuple[str, ...] = setting(
        "SCHEMA_REGISTRY_URL",
        kinds.URLS,
        "schema registry; without one, set AVRO_SCHEMA_FILE or AVRO_SCHEMA_DIR",
        repr=False,
    )
    others: Mapping[str, str] = setting(
        "SCHEMA_REGISTRY_…",
        kinds.properties("the registry client"),
        "any other property of the registry client: SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO is basic.auth.user.info",
        repr=False,
    )
    patience_seconds: float = setting(
        "UNKNOWN_SCHEMA_PATIENCE",
        kinds.seconds(0),
        "how long a record waits for a schema that the registry does not have yet",
        default="30s",
    )

    login: Login | None = field(default=None, repr=False, compare=False)
    """User and password in one text, if it comes from a file, and may change there."""

    @property
    def properties(self) -> Mapping[str, str]:
        """``url`` and the rest, by their names in the registry client. May contain secrets."""
        return {"url": ",".join(self.urls), **self.others}


@dataclass(frozen=True, slots=True)
class Amazon:
    """The destination, and who the connector is there."""

    api: str = setting(
        "AMAZON_API", kinds.word("ads-v1", "events-v1"), "wire contract: ads-v1 or events-v1", default="ads-v1"
    )
    region: str = setting("AMAZON_REGION", kinds.word(*REGIONS), "region of the account: NA, EU or FE", default="NA")
    account_id: str = setting(
        "AMAZON_ACCOUNT_ID",
        kinds.HEADER,
        "advertiser account: the DSP advertiser id, or the Entity ID where Amazon gave you one",
        required=True,
    )
    client_id: str = setting(
        "AMAZON_CLIENT_ID",
        kinds.HEADER,
        "client ID of your Login with Amazon application, sent with every request",
        required=True,
    )
    client_secret: SecretValue = setting(
        "AMAZON_CLIENT_SECRET", kinds.secret(), "client secret of Login with Amazon; needs AMAZON_REFRESH_TOKEN"
    )
    refresh_token: SecretValue = setting(
        "AMAZON_REFRESH_TOKEN", kinds.secret(), "refresh token of Login with Amazon; needs AMAZON_CLIENT_SECRET"
    )
    refresh_token_granted: date | None = setting(
        "AMAZON_REFRESH_TOKEN_GRANTED",
        kinds.optional(kinds.day()),
        "day of the consent that AMAZON_REFRESH_TOKEN comes from, such as 2026-11-05: a metric then tells when it ends",
    )
    access_token: SecretValue = setting(
        "AMAZON_ACCESS_TOKEN", kinds.secret(kinds.header_problem), "fixed access token, instead of secret and refresh token"
    )
    base_url: str = setting(
        "AMAZON_BASE_URL",
        kinds.ENDPOINT,
        "another endpoint, such as the sandbox or a proxy",
        default="<by region>",
        derive=lambda variables: _region(variables).base_url,
    )
    token_url: str = setting(
        "AMAZON_TOKEN_URL",
        kinds.ENDPOINT,
        "another token endpoint",
        default="<by region>",
        derive=lambda variables: _region(variables).token_url,
    )
    proxy: SecretValue = setting(
        "AMAZON_PROXY",
        kinds.PROXY,
        "proxy for the API and the token URL: http://[user:password@]host:port; HTTPS passes through it unopened (CONNECT)",
    )
    dataset_name: str | None = setting(
        "AMAZON_DATASET_NAME",
        kinds.optional(kinds.DATA_SET),
        "data set that receives the events which name none (dataSetName); ads-v1 only",
    )
    without_consent: WithoutConsent = setting(
        "AMAZON_MISSING_CONSENT",
        kinds.choice({member.value: member for member in WithoutConsent}),
        "what becomes of an event without consent in region EU: dead-letter sets it aside, denied sends it as denied, "
        "send sends it as it is",
        default="dead-letter",
    )
    timeout_seconds: float = setting(
        "AMAZON_TIMEOUT",
        kinds.seconds(),
        "limit for one request, from connecting to the last byte (Amazon promises 30 s at p99)",
        default="35s",
    )

    @property
    def refresh_token_expires(self) -> float | None:
        """The second (since 1970) at which the refresh token is said to end; None if that is not known."""
        granted = self.refresh_token_granted
        expires = None if granted is None else refresh_token_expires(granted)
        return None if expires is None else datetime(expires.year, expires.month, expires.day, tzinfo=UTC).timestamp()

    @property
    def credentials(self) -> Credentials | FixedToken:
        """How requests are authorised. `checks` requires one complete way."""
        if self.access_token:
            return FixedToken(self.access_token)
        return Credentials(self.client_id, self.client_secret, self.refresh_token, self.token_url)


@dataclass(frozen=True, slots=True)
class _Freshness(FreshnessPolicy):
    max_age_ms: int = setting("MAX_EVENT_AGE", kinds.milliseconds(), "age beyond which an event is stale", default="7d")
    max_skew_ms: int = setting(
        "MAX_CLOCK_SKEW",
        kinds.milliseconds(_MIN_SKEW_MS, _MIN_SKEW_REASON),
        "how far ahead of the clock an event may be; beyond it, the event becomes a dead letter",
        default="5m",
    )


@dataclass(frozen=True, slots=True)
class _Dedupe(DedupePolicy):
    window_ms: int = setting(
        "DEDUPE_WINDOW", kinds.milliseconds(), "how far back duplicates are recognised; at least MAX_EVENT_AGE", default="7d"
    )
    key_fields: tuple[str, ...] = setting(
        "DEDUPE_KEY",
        kinds.FIELDS,
        "fields that identify an event, separated by commas; any choice but clientDedupeId alone also makes the id "
        "that is sent",
        default="clientDedupeId",
    )


@dataclass(frozen=True, slots=True)
class _Batch(BatchPolicy):
    max_events: int = setting("BATCH_MAX_EVENTS", kinds.whole(1, _MAX_EVENTS), "most events in one request", default="500")
    max_bytes: int = setting("BATCH_MAX_BYTES", kinds.size(), "largest request", default="1MB")
    linger_seconds: float = setting("BATCH_LINGER", kinds.seconds(0), "how long a batch waits for more events", default="1s")


@dataclass(frozen=True, slots=True)
class _Buffer(BufferPolicy):
    max_events: int = setting(
        "BUFFER_MAX_EVENTS",
        kinds.whole(_MIN_BUFFER),
        "most unresolved events held in memory; fetching pauses before",
        default="20000",
    )
    max_bytes: int = setting(
        "BUFFER_MAX_BYTES",
        kinds.size(),
        "most bytes of unresolved events held in memory; fetching pauses before",
        default="64MB",
    )


@dataclass(frozen=True, slots=True)
class Sending:
    """How many requests there may be."""

    max_in_flight: int = setting(
        "MAX_IN_FLIGHT", kinds.whole(), "most requests at once; the adaptive limit stays at or below it", default="8"
    )
    max_per_second: float | None = setting(
        "AMAZON_MAX_REQUESTS_PER_SECOND",
        kinds.optional(kinds.number("number above 0, up to 1000, such as 5 or 0.5", 1_000, above_zero=True)),
        "most requests per second from this process; without it, the connector adapts to Amazon's limit, which is unknown",
    )


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where facts are written, and how often."""

    topic_for: TopicTemplate = setting(
        "LEDGER_TOPIC",
        kinds.TEXT.then(TopicTemplate),
        "ledger topic; with several source topics it must contain {topic}",
        default="<topic>.<group>.ledger",
        derive=lambda variables: f"{{topic}}.{variables.text('KAFKA_GROUP_ID')}.ledger",
    )
    flush_interval_seconds: float = setting(
        "LEDGER_FLUSH_INTERVAL", kinds.seconds(), "how long a fact waits for others before it is written", default="1s"
    )
    auto_create: bool = setting(
        "LEDGER_AUTO_CREATE", kinds.boolean(), "whether to create missing ledger and dead-letter topics", default="true"
    )


@dataclass(frozen=True, slots=True)
class _DeadLetterLimits(DeadLetterPolicy):
    max_consecutive: int = setting(
        "DEAD_LETTER_MAX_CONSECUTIVE",
        kinds.whole(0),
        "dead letters in a row that pause consumption; 0: no limit",
        default="1000",
    )
    max_ratio: float = setting(
        "DEAD_LETTER_MAX_RATIO",
        kinds.number("share from 0 to 1", 1),
        "share of dead letters in the latest 1,000 to 2,000 events that pauses consumption; 0: no limit",
        default="0.5",
    )


@dataclass(frozen=True, slots=True)
class DeadLetterSettings:
    """Where records are set aside, and when they are too many."""

    topic_for: TopicTemplate = setting(
        "DEAD_LETTER_TOPIC",
        kinds.TEXT.then(TopicTemplate),
        "dead-letter topic; with several source topics it must contain {topic}",
        default="<topic>.dead-letter",
        derive=lambda _: "{topic}.dead-letter",
    )
    retention_ms: int | None = setting(
        "DEAD_LETTER_RETENTION",
        kinds.optional(kinds.milliseconds()),
        "how long a dead-letter topic that the connector makes keeps letters; without it, for ever",
    )
    policy: DeadLetterPolicy = section("", _DeadLetterLimits)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the operations server listens."""

    host: str = setting("LISTEN_HOST", kinds.TEXT, "address that serves /, /metrics, /livez and /readyz", default="0.0.0.0")  # noqa: S104 - probes and scrapes come from outside
    port: int = setting(
        "LISTEN_PORT",
        kinds.whole(0, 65_535),
        "port of that address; 0 takes a free one, on a loopback LISTEN_HOST",
        default="8080",
    )


@dataclass(frozen=True, slots=True)
class Log:
    """How the program logs."""

    level: str = setting(
        "LOG_LEVEL", kinds.word("debug", "info", "warning", "error"), "debug, info, warning or error", default="info"
    )
    format: str = setting("LOG_FORMAT", kinds.word("json", "console"), "json, or console for people", default="json")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator decides, complete and free of contradictions."""

    kafka: Kafka = section("Kafka", Kafka)
    kafka_token: TokenSettings = section("Kafka", TokenSettings)
    registry: RegistrySettings | None = section("Schemas", RegistrySettings)
    """The schema registry; None if schemas come from files."""
    schema_file: Path | None = setting(
        "AVRO_SCHEMA_FILE",
        kinds.optional(kinds.text("path of a file").then(Path)),
        "file with the schema that the records were written with, if there is no registry",
        section="Schemas",
    )
    schema_dir: Path | None = setting(
        "AVRO_SCHEMA_DIR",
        kinds.optional(kinds.text("path of a directory").then(Path)),
        "directory of *.avsc files, for values in single-object encoding, if there is no registry",
        section="Schemas",
    )
    mapping_file: Path | None = setting(
        "MAPPING_FILE",
        kinds.optional(kinds.text("path of a file").then(Path)),
        "mapping file, which makes events of records with a schema of your own",
        section="Mapping",
    )
    mapping_text: str | None = setting(
        "MAPPING",
        kinds.optional(kinds.FILE_TEXT),
        "the text of a mapping file, where there is no place for a file; set this or MAPPING_FILE",
        section="Mapping",
    )
    amazon: Amazon = section("Amazon", Amazon)
    freshness: FreshnessPolicy = section("Events", _Freshness)
    dedupe: DedupePolicy = section("Events", _Dedupe)
    batch: BatchPolicy = section("Sending", _Batch)
    buffer: BufferPolicy = section("Sending", _Buffer)
    sending: Sending = section("Sending", Sending)
    ledger: LedgerSettings = section("Ledger", LedgerSettings)
    dead_letters: DeadLetterSettings = section("Dead letters", DeadLetterSettings)
    drain_timeout_seconds: float = setting(
        "DRAIN_TIMEOUT",
        kinds.seconds(),
        "how long a revoke or SIGTERM waits for requests in flight",
        default="40s",
        section="Operation",
    )
    offset_out_of_range: str = setting(
        "OFFSET_OUT_OF_RANGE",
        kinds.word("wait", "earliest"),
        "what follows a committed offset outside the log: wait for an operator, or go on at the earliest record",
        default="wait",
        section="Operation",
    )
    accept: str | None = setting(
        "ACCEPT",
        kinds.optional(kinds.TEXT),
        "value that a refusal printed (separate several with commas); it holds for that case only",
        section="Operation",
    )
    on_verdict: str = setting(
        "ON_VERDICT",
        kinds.word("wait", "stop"),
        "what to do when an operator is needed: wait, or stop with exit code 3",
        default="wait",
        section="Operation",
    )
    codec: str = setting(
        "CODEC",
        kinds.word("auto", "native", "python"),
        "auto takes the native parts where they are installed, python never does, native does not start without them",
        default="auto",
        section="Operation",
    )
    listen: Listen = section("Probes and logs", Listen)
    log: Log = section("Probes and logs", Log)
    mapping: MappingFile | None = field(default=None, repr=False)
    """What the mapping file says, read once; None where records have our names."""
    notes: tuple[str, ...] = ()
    """Messages for the log at start."""
    rows: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        read_file: Callable[[str], str] = lambda path: Path(path).read_text(encoding="utf-8"),
        kafka_problems: Callable[[Mapping[str, str], float, bool], list[str]] = lambda *_: [],
        registry_problems: Callable[[Mapping[str, str]], list[str]] = lambda _: [],
        read_mapping: Callable[[Settings], MappingFile | None] = lambda _: None,
    ) -> Settings:
        """Parse the environment.

        ``read_file`` returns the text of a secret's file. ``kafka_problems`` and
        ``registry_problems`` take the properties by their names in the library, and return one
        message per problem that begins with the variable. The first one also takes the seconds of
        ``DRAIN_TIMEOUT``, during which the consumer does not poll, and whether clients log in with
        tokens of ours. ``read_mapping`` takes the
        settings, which the mapping file has to fit, and may raise a `SettingsError`.

        Raises:
            SettingsError: with every problem there is.
        """
        environment = Environment(environ, SETTINGS, read_file)
        settings = read(cls, environment)
        if settings.registry is not None and not settings.registry.urls and settings.registry.type != "glue":
            settings = replace(settings, registry=None)
        if user := environment.rotating("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"):
            settings = replace(settings, kafka=replace(settings.kafka, login=Login(*user)))
        if settings.registry is not None and (user := environment.rotating("SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO")):
            settings = replace(settings, registry=replace(settings.registry, login=Login(*user)))
        problems = environment.problems
        by_token = settings.kafka_token.source is not None
        problems += kafka_problems(settings.kafka.properties, settings.drain_timeout_seconds, by_token)
        if settings.registry is not None and settings.registry.type in ("confluent", "apicurio"):
            problems += registry_problems(settings.registry.properties)
        try:
            settings = replace(settings, mapping=read_mapping(settings))
        except SettingsError as error:
            problems += error.problems
        problems += checks.problems(settings, environment)
        environment.refuse_unknown()
        if problems:
            raise SettingsError(problems)
        notes = (*environment.notes, *checks.notes(settings, environment))
        return replace(settings, notes=notes, rows=tuple(environment.rows))

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return the settings in effect as (variable, value), with secrets masked."""
        return self.rows


SETTINGS: tuple[Setting, ...] = tuple(declared(Settings))
"""Every setting in order."""

_DECLARED_SECRETS = frozenset(one.name for one in SETTINGS if one.secret)


def is_secret(name: str) -> bool:
    """Return whether the value of a variable must never be shown."""
    return name in _DECLARED_SECRETS or is_secret_property(name)
