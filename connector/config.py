"""Settings from the environment: parsed once into a frozen tree, or refused with every variable at fault (docs/settings.md).

`SETTINGS` is the list: what a variable is called, its default and its meaning stand there and nowhere else in the code;
the table of docs/settings.md is made from it and ``--help`` prints it. Rules:

* An empty variable is one that is not set.
* All problems come in one `SettingsError`, each beginning with the variable it is about and saying what to do.
* ``KAFKA_…`` and ``SCHEMA_REGISTRY_…`` beyond the list are properties of the two libraries. Which of them exist and what
  they take is asked of the rooms that own the libraries, so this module imports neither.
* What leaves here in words (`Settings.describe`, ``repr``, notes, problems) has no secret in it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from connector.amazon.ads_v1 import DATASET_NAME
from connector.amazon.regions import REGIONS
from connector.amazon.rules import WithoutConsent
from connector.core.batching import BatchPolicy
from connector.core.breaker import DeadLetterPolicy
from connector.core.dedupe import DedupePolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.pipeline import BufferPolicy
from connector.errors import SettingsError

__all__ = [
    "DEDUPE_FIELDS",
    "SETTINGS",
    "Amazon",
    "DeadLetters",
    "Kafka",
    "Ledger",
    "Listen",
    "Log",
    "Registry",
    "Secret",
    "Sending",
    "Setting",
    "Settings",
    "is_secret",
]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table of settings."""

    name: str
    default: str
    """As it would be given; in angle brackets what it is made from; empty if there is none."""
    meaning: str
    required: bool = False
    secret: bool = False
    """May come from the file that ``<name>_FILE`` names; never shown."""


SETTINGS: tuple[Setting, ...] = (
    Setting("KAFKA_BOOTSTRAP_SERVERS", "", "brokers, as host:port, comma-separated", required=True),
    Setting("KAFKA_TOPIC", "", "source topic, or several, comma-separated", required=True),
    Setting("KAFKA_GROUP_ID", "amazon-conversions-<account id>", "consumer group; one per destination"),
    Setting("KAFKA_…", "", "any other librdkafka property: KAFKA_SASL_MECHANISM is sasl.mechanism"),
    Setting("SCHEMA_REGISTRY_URL", "", "Confluent-compatible schema registry; this or AVRO_SCHEMA_FILE"),
    Setting("SCHEMA_REGISTRY_…", "", "its other properties: SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO is basic.auth.user.info"),
    Setting("UNKNOWN_SCHEMA_PATIENCE", "30s", "how long a record waits for a schema that the registry does not have (yet)"),
    Setting("AVRO_SCHEMA_FILE", "", "writer's schema when there is no registry"),
    Setting("AMAZON_API", "ads-v1", "wire contract: ads-v1 or events-v1"),
    Setting("AMAZON_REGION", "NA", "NA, EU or FE"),
    Setting("AMAZON_ACCOUNT_ID", "", "advertiser account (the Entity ID where Amazon gave one)", required=True),
    Setting("AMAZON_CLIENT_ID", "", "sent with every request", required=True),
    Setting("AMAZON_CLIENT_SECRET", "", "Login with Amazon, with AMAZON_REFRESH_TOKEN", secret=True),
    Setting("AMAZON_REFRESH_TOKEN", "", "Login with Amazon, with AMAZON_CLIENT_SECRET", secret=True),
    Setting("AMAZON_ACCESS_TOKEN", "", "a fixed token, instead of those two", secret=True),
    Setting("AMAZON_BASE_URL", "<by region>", "another endpoint (the sandbox, a proxy)"),
    Setting("AMAZON_TOKEN_URL", "<by region>", "another token endpoint"),
    Setting("AMAZON_DATASET_NAME", "", "optional, ads-v1 only"),
    Setting(
        "AMAZON_MISSING_CONSENT",
        "dead-letter",
        "or denied, or send: an event without consent in region EU is sent as denied, or as it is",
    ),
    Setting("AMAZON_TIMEOUT", "35s", "of one request, from connect to last byte (Amazon promises 30 s at p99)"),
    Setting("MAX_EVENT_AGE", "7d", "older is stale"),
    Setting("MAX_CLOCK_SKEW", "5m", "further in the future is a dead letter"),
    Setting("DEDUPE_WINDOW", "7d", "how far back duplicates are recognised; not below MAX_EVENT_AGE"),
    Setting(
        "DEDUPE_KEY",
        "clientDedupeId",
        "fields that make the key, comma-separated; unless it is clientDedupeId alone, the id sent is made of them too",
    ),
    Setting("BATCH_MAX_EVENTS", "500", "events at which a batch is sent"),
    Setting("BATCH_MAX_BYTES", "1MB", "size of a request that a batch stays below"),
    Setting("BATCH_LINGER", "1s", "how long a batch waits for more events"),
    Setting("MAX_IN_FLIGHT", "8", "requests at once; the adaptive limit stays at or below it"),
    Setting("BUFFER_MAX_EVENTS", "20000", "most events held unresolved; fetching pauses before"),
    Setting("BUFFER_MAX_BYTES", "64MB", "most bytes of them; the same"),
    Setting(
        "AMAZON_MAX_REQUESTS_PER_SECOND", "", "optional: of this process; Amazon's own limit is unknown, and is adapted to"
    ),
    Setting("LEDGER_TOPIC", "<topic>.<group>.ledger", "several source topics need {topic} in the name"),
    Setting("LEDGER_FLUSH_INTERVAL", "1s", "how long a fact waits for others before it is written"),
    Setting("LEDGER_AUTO_CREATE", "true", "create ledger and dead-letter topics that are missing"),
    Setting("DEAD_LETTER_TOPIC", "<topic>.dead-letter", "several source topics need {topic} in the name"),
    Setting("DEAD_LETTER_MAX_CONSECUTIVE", "1000", "dead letters in a row at which consumption pauses; 0: no limit"),
    Setting("DEAD_LETTER_MAX_RATIO", "0.5", "their share of the latest 1,000 to 2,000 events, likewise; 0: no limit"),
    Setting("DRAIN_TIMEOUT", "40s", "how long a revoke or SIGTERM waits for what is in flight"),
    Setting("OFFSET_OUT_OF_RANGE", "wait", "or earliest: what a committed offset outside the log leads to"),
    Setting(
        "ACCEPT",
        "",
        "optional: the value a refusal printed (several with commas), bound to that case and without effect afterwards",
    ),
    Setting("ON_VERDICT", "wait", "or stop: exit 3 when an operator is needed"),
    Setting("LISTEN_HOST", "0.0.0.0", "of /, /metrics, /livez, /readyz"),  # noqa: S104 # probes and scrapes come from outside
    Setting("LISTEN_PORT", "8080", "the same; 0 takes a free one"),
    Setting("LOG_LEVEL", "info", "debug, info, warning or error"),
    Setting("LOG_FORMAT", "json", "console for people"),
)

DEDUPE_FIELDS = (
    "name",
    "eventType",
    "eventActionSource",
    "clientDedupeId",
    "timestamp",
    "value",
    "currencyCode",
    "unitsSold",
    "countryCode",
)
"""The inputs that ``DEDUPE_KEY`` may name: those of ``schemas/conversion_event.avsc`` with a single value."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}
_PREFIXES = ("KAFKA_", "SCHEMA_REGISTRY_", "AMAZON_")
_UNDERSCORED = frozenset({"log_level"})
"""The properties of librdkafka that can be given as text and have an underscore in their name."""
_SECRET_PROPERTY = re.compile(
    r"password|passphrase|secret|\.pem$|user\.info$|bearer\.auth\.token$|oauthbearer\.config$|endpoint\.query$"
)
_USER = re.compile(r"//.*@", re.DOTALL)
"""Of one address or several: up to the last @, for a password may have any character in it, as it stands or encoded."""
_QUERY = re.compile(r"(://[^?#]*)[?#].*", re.DOTALL)
"""What follows an address may be a key or a secret as well."""


_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {"B": 1, "KB": 1_000, "MB": 1_000_000}
"""Decimal, as limits on requests are given; a power of two would be over such a limit."""

_MAX_EVENTS = 500
"""Of one request, in both wire contracts (docs/amazon-contract.md#size-of-a-batch)."""

_LEAST_SKEW_MS = 1_000
_LEAST_SKEW = (
    "a duration of 1s or more, as 5m: the brokers tell their time in the answer to a write, and clocks that agree seem to "
    "differ by how long it took"
)
_LEAST_BUFFER = 12
"""Three polls under way of one record each are a quarter of it."""
_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
"""What Kafka takes for the name of a topic (org.apache.kafka.common.internals.Topic)."""


@dataclass(frozen=True, slots=True)
class Kafka:
    """The cluster and our place in it."""

    bootstrap_servers: str
    topics: tuple[str, ...]
    group_id: str
    properties: Mapping[str, str] = field(repr=False)
    """Other librdkafka properties, by their names there. May hold secrets."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The schema registry."""

    properties: Mapping[str, str] = field(repr=False)
    """``url`` and the rest, by their names in the registry client; all text. May hold secrets."""
    patience_seconds: float
    """How long a record waits for a schema that the registry says it does not have."""


_AROUND = re.compile(r"\A[\s\ufeff\u200b\u2060]+|[\s\ufeff\u200b\u2060]+\Z")
"""What editors and clipboards put around a text, and nobody sees: blanks, ends of lines, byte order marks."""


def _trimmed(text: str) -> str:
    return _AROUND.sub("", text)


def _text_of(read: Callable[[], str]) -> str:
    """Read a secret's file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text in UTF-8. One in UTF-16 without a byte order mark decodes, and is half NULs.
    """
    text = _trimmed(read())
    if "\0" in text:
        raise ValueError("a NUL is in it")
    return text


@dataclass(slots=True)
class Secret:
    """The value of a secret; from a file, as the file has it now, so that it can be changed while the connector runs."""

    value: str = field(repr=False)
    """As it was read last."""
    read: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """Reads its file."""

    def __call__(self) -> str:
        """Return the value; the last one there was, if the file cannot be read, is no text, or is empty."""
        if self.read is not None:
            with suppress(OSError, ValueError):
                self.value = _text_of(self.read) or self.value
        return self.value


@dataclass(frozen=True, slots=True)
class Amazon:
    """The destination, and who we are there. Either `access_token` is set, or secret and refresh token are."""

    api: str
    region: str
    account_id: str
    client_id: str
    client_secret: Secret | None = field(repr=False)
    refresh_token: Secret | None = field(repr=False)
    access_token: Secret | None = field(repr=False)
    base_url: str
    """Without a slash at its end."""
    token_url: str
    dataset_name: str | None
    without_consent: WithoutConsent
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Sending:
    """How much is sent at once."""

    max_in_flight: int
    """Requests."""
    max_per_second: float | None
    """Requests."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where facts are written, and how often."""

    topic: str
    """A name, perhaps with ``{topic}`` in it."""
    flush_interval_seconds: float
    auto_create: bool
    """Also of the dead-letter topic, which is made like the ledger."""

    def topic_for(self, source: str) -> str:
        """Return the name of the ledger of a source topic."""
        return self.topic.replace("{topic}", source)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Where records are set aside."""

    topic: str
    """A name, perhaps with ``{topic}`` in it."""
    policy: DeadLetterPolicy
    """When they are too many."""

    def topic_for(self, source: str) -> str:
        """Return the name of the dead-letter topic of a source topic."""
        return self.topic.replace("{topic}", source)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the operations server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Log:
    """How the program speaks."""

    level: str
    format: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator decides, complete and free of contradictions."""

    kafka: Kafka
    registry: Registry | None
    schema_file: Path | None
    """Exactly one of these two is there."""
    amazon: Amazon
    freshness: FreshnessPolicy
    dedupe: DedupePolicy
    batch: BatchPolicy
    sending: Sending
    buffer: BufferPolicy
    ledger: Ledger
    dead_letters: DeadLetters
    drain_timeout_seconds: float
    offset_out_of_range: str
    """``wait`` or ``earliest``."""
    accept: str | None
    on_verdict: str
    """``wait`` or ``stop``."""
    listen: Listen
    log: Log
    notes: tuple[str, ...]
    """Sentences worth one log line at start."""
    rows: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        read_file: Callable[[str], str] = lambda path: Path(path).read_text(encoding="utf-8"),
        kafka_problems: Callable[[Mapping[str, str], float], list[str]] = lambda *_: [],
        registry_problems: Callable[[Mapping[str, str]], list[str]] = lambda _: [],
    ) -> Settings:
        """Parse the environment.

        ``read_file`` returns the text of a secret's file. ``kafka_problems`` and ``registry_problems`` are given the
        properties by their names in the library (the first also the seconds of ``DRAIN_TIMEOUT``, during which the
        consumer does not poll), and return one sentence a problem, each beginning with the variable.

        Raises:
            SettingsError: with every problem there is.
        """
        reader = _Reader(environ, read_file)
        settings = _read(reader)
        reader.problems += kafka_problems(settings.kafka.properties, settings.drain_timeout_seconds)
        if settings.registry:
            reader.problems += registry_problems(settings.registry.properties)
        reader.problems += _contradictions(settings)
        reader.refuse_unknown()
        if reader.problems:
            raise SettingsError(reader.problems)
        return settings

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return every effective setting as (variable, value), secrets masked: for ``check`` and a log line at start."""
        return self.rows


def _read(reader: _Reader) -> Settings:
    """Read every setting; where one is at fault the reader knows, and something of the right type stands in its place."""
    kafka = _read_kafka(reader)
    registry, schema_file = _read_schemas(reader)
    amazon = _read_amazon(reader)
    return Settings(
        kafka=kafka,
        registry=registry,
        schema_file=schema_file,
        amazon=amazon,
        freshness=FreshnessPolicy(
            reader.milliseconds("MAX_EVENT_AGE"), reader.milliseconds("MAX_CLOCK_SKEW", _LEAST_SKEW_MS, _LEAST_SKEW)
        ),
        dedupe=DedupePolicy(reader.milliseconds("DEDUPE_WINDOW"), _read_dedupe_key(reader)),
        batch=BatchPolicy(
            reader.whole("BATCH_MAX_EVENTS", 1, _MAX_EVENTS),
            reader.size("BATCH_MAX_BYTES"),
            reader.seconds("BATCH_LINGER", 0),
        ),
        sending=Sending(reader.whole("MAX_IN_FLIGHT"), reader.rate("AMAZON_MAX_REQUESTS_PER_SECOND")),
        buffer=BufferPolicy(reader.whole("BUFFER_MAX_EVENTS", _LEAST_BUFFER), reader.size("BUFFER_MAX_BYTES")),
        ledger=Ledger(
            _read_topic_template(reader, "LEDGER_TOPIC", f"{{topic}}.{kafka.group_id}.ledger", kafka),
            reader.seconds("LEDGER_FLUSH_INTERVAL"),
            reader.choice("LEDGER_AUTO_CREATE", ("true", "false")) == "true",
        ),
        dead_letters=DeadLetters(
            _read_topic_template(reader, "DEAD_LETTER_TOPIC", "{topic}.dead-letter", kafka),
            DeadLetterPolicy(
                reader.whole("DEAD_LETTER_MAX_CONSECUTIVE", 0),
                reader.decimal("DEAD_LETTER_MAX_RATIO", "a share from 0 to 1", 1),
            ),
        ),
        drain_timeout_seconds=_read_drain_timeout(reader, amazon),
        offset_out_of_range=reader.choice("OFFSET_OUT_OF_RANGE", ("wait", "earliest")),
        accept=reader.optional("ACCEPT"),
        on_verdict=reader.choice("ON_VERDICT", ("wait", "stop")),
        listen=Listen(reader.text("LISTEN_HOST"), reader.whole("LISTEN_PORT", 0, 65_535)),
        log=Log(
            reader.choice("LOG_LEVEL", ("debug", "info", "warning", "error")),
            reader.choice("LOG_FORMAT", ("json", "console")),
        ),
        notes=tuple(reader.notes),
        rows=tuple(reader.rows),
    )


def _read_kafka(reader: _Reader) -> Kafka:
    servers = reader.names("KAFKA_BOOTSTRAP_SERVERS")
    for server in servers:
        if not re.fullmatch(r"(\w+://)?([^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", server):
            reader.problem("KAFKA_BOOTSTRAP_SERVERS", "is not a list of host:port, comma-separated")
            break
    topics = reader.names("KAFKA_TOPIC")
    for topic in topics:
        if not _TOPIC.fullmatch(topic):
            reader.problem("KAFKA_TOPIC", f"names {topic!r}, which Kafka takes for no topic: letters, digits and . _ - only")
    if len(set(topics)) < len(topics):
        reader.problem("KAFKA_TOPIC", "names a topic twice")
    group = f"amazon-conversions-{reader.peek('AMAZON_ACCOUNT_ID')}"
    if host := _host(reader.peek("AMAZON_BASE_URL")):
        group += "-" + host.replace(":", "-")  # of an IPv6 address, which the name of a ledger could not have in it
    return Kafka(",".join(servers), topics, reader.text_or("KAFKA_GROUP_ID", group), reader.properties("KAFKA_"))


def _read_schemas(reader: _Reader) -> tuple[Registry | None, Path | None]:
    file = reader.optional("AVRO_SCHEMA_FILE")
    urls = reader.names("SCHEMA_REGISTRY_URL")
    others = reader.properties("SCHEMA_REGISTRY_")
    if urls and file:
        reader.problem("SCHEMA_REGISTRY_URL", "and AVRO_SCHEMA_FILE are both set: give the one the records were written by")
    elif not urls and not file:
        reader.problem("SCHEMA_REGISTRY_URL", "and AVRO_SCHEMA_FILE are both missing: set one of them")
    if others and not urls:
        reader.problem("SCHEMA_REGISTRY_URL", "is missing, but other SCHEMA_REGISTRY_… variables are set")
    for url in urls:
        reader.check_url("SCHEMA_REGISTRY_URL", url)
    patience = reader.seconds("UNKNOWN_SCHEMA_PATIENCE", 0)
    registry = Registry({"url": ",".join(urls)} | others, patience) if urls else None
    return registry, Path(file) if file else None


def _read_amazon(reader: _Reader) -> Amazon:
    region = reader.choice("AMAZON_REGION", tuple(REGIONS))
    api = reader.choice("AMAZON_API", ("ads-v1", "events-v1"))
    amazon = Amazon(
        api=api,
        region=region,
        account_id=reader.header("AMAZON_ACCOUNT_ID"),
        client_id=reader.header("AMAZON_CLIENT_ID"),
        client_secret=reader.secret("AMAZON_CLIENT_SECRET"),
        refresh_token=reader.secret("AMAZON_REFRESH_TOKEN"),
        access_token=reader.secret("AMAZON_ACCESS_TOKEN") if reader.header("AMAZON_ACCESS_TOKEN") else None,
        base_url=reader.url("AMAZON_BASE_URL", REGIONS[region].base_url),
        token_url=reader.url("AMAZON_TOKEN_URL", REGIONS[region].token_url),
        dataset_name=reader.optional("AMAZON_DATASET_NAME"),
        without_consent=WithoutConsent(reader.choice("AMAZON_MISSING_CONSENT", tuple(WithoutConsent))),
        timeout_seconds=reader.seconds("AMAZON_TIMEOUT"),
    )
    if amazon.dataset_name and api == "events-v1":
        reader.problem("AMAZON_DATASET_NAME", "exists in ads-v1 only: remove it, or AMAZON_API=events-v1")
    elif amazon.dataset_name and not DATASET_NAME.fullmatch(amazon.dataset_name):
        reader.problem(
            "AMAZON_DATASET_NAME", "is no name of a data set: a letter, then letters, digits, _ or -, 100 at most"
        )
    _check_credentials(reader, amazon)
    return amazon


def _check_credentials(reader: _Reader, amazon: Amazon) -> None:
    pair = {"AMAZON_CLIENT_SECRET": amazon.client_secret, "AMAZON_REFRESH_TOKEN": amazon.refresh_token}
    given = [name for name, value in pair.items() if value]
    if amazon.access_token and given:
        reader.problem("AMAZON_ACCESS_TOKEN", f"is set, and {' and '.join(given)} too: give a fixed token or those two")
    elif not amazon.access_token:
        for name in pair:
            if name not in given:
                reader.problem(name, "is missing (or give a fixed token: AMAZON_ACCESS_TOKEN)")


def _read_drain_timeout(reader: _Reader, amazon: Amazon) -> float:
    seconds = reader.seconds("DRAIN_TIMEOUT")
    if seconds <= amazon.timeout_seconds:
        reader.notes.append(
            "DRAIN_TIMEOUT does not exceed AMAZON_TIMEOUT: a request that is answered slowly while a member stops, or gives "
            "a partition up, is sent again by its successor (with the same ids)"
        )
    return seconds


def _read_dedupe_key(reader: _Reader) -> tuple[str, ...]:
    fields = reader.names("DEDUPE_KEY")
    if not fields:
        reader.problem("DEDUPE_KEY", f"names no field; a key is made of: {', '.join(DEDUPE_FIELDS)}")
    for name in fields:
        if name not in DEDUPE_FIELDS:
            reader.problem("DEDUPE_KEY", f"names {name!r}; a key is made of: {', '.join(DEDUPE_FIELDS)}")
    if len(set(fields)) < len(fields):
        reader.problem("DEDUPE_KEY", "names a field twice")
    return fields


def _read_topic_template(reader: _Reader, name: str, default: str, kafka: Kafka) -> str:
    template = reader.text_or(name, default)
    if len(kafka.topics) > 1 and "{topic}" not in template:
        reader.problem(name, "needs {topic} in it, because KAFKA_TOPIC names several")
    for topic in filter(_TOPIC.fullmatch, kafka.topics):
        made = template.replace("{topic}", topic)
        if not _TOPIC.fullmatch(made):
            reader.problem(name, f"makes {made!r}, which Kafka takes for no topic: up to 249 letters, digits and . _ -")
    return template


def _contradictions(settings: Settings) -> list[str]:
    """Return what is wrong between settings that are right each by itself."""
    problems = []
    if settings.dedupe.window_ms < settings.freshness.max_age_ms:
        problems.append(
            "DEDUPE_WINDOW is below MAX_EVENT_AGE: a copy could arrive that is neither recognised nor stale; "
            "raise the one or lower the other"
        )
    if settings.buffer.max_events < settings.batch.max_events or settings.buffer.max_bytes < settings.batch.max_bytes:
        problems.append("BUFFER_MAX_EVENTS and BUFFER_MAX_BYTES hold less than one batch: raise them, or lower BATCH_MAX_…")
    return problems + _shared_topics(settings)


def _shared_topics(settings: Settings) -> list[str]:
    """Return one sentence for each topic that two uses share."""
    topics = settings.kafka.topics
    uses = [(topic, "KAFKA_TOPIC") for topic in topics]
    uses += [(settings.ledger.topic_for(topic), "LEDGER_TOPIC") for topic in topics]
    uses += [(settings.dead_letters.topic_for(topic), "DEAD_LETTER_TOPIC") for topic in topics]
    first: dict[str, str] = {}
    problems = []
    for topic, name in uses:
        if first.setdefault(topic, name) != name:
            problems.append(f"{name} makes {topic!r}, which is a topic of {first[topic]} too: it needs one of its own")
    return problems


class _Reader:
    """The variables, read one by one; what is wrong with them, worth a note, or to be shown, is collected."""

    def __init__(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.rows: list[tuple[str, str]] = []
        links = [name for name in environ if _is_service_link(name, environ)]
        ours = sorted(name for name in links if name.startswith(_PREFIXES) or name in _BY_NAME)
        if ours:
            self.notes.append(f"Kubernetes service links are ignored: {', '.join(ours)}")
        given = {name: _trimmed(value) for name, value in environ.items() if name not in links}
        self._values = {name: value for name, value in given.items() if value}
        self._files: dict[str, Callable[[], str]] = {}
        self._resolve_files(read_file)
        self._unknown = {name for name in self._values if name.startswith("AMAZON_") and name not in _BY_NAME}

    def _resolve_files(self, read_file: Callable[[str], str]) -> None:
        """Put the content of each secret's file in the place of its name."""
        for variable in [name for name in self._values if name.endswith("_FILE")]:
            name = variable.removesuffix("_FILE")
            if not is_secret(name):
                continue
            path, content = self._values.pop(variable), ""
            if name in self._values:
                self.problem(variable, f"is set, and {name} too: give one of them")
                continue
            try:
                content = _text_of(partial(read_file, path))
            except OSError as error:
                self.problem(variable, f"names a file that cannot be read ({type(error).__name__}): {path}")
            except ValueError:
                self.problem(variable, f"names a file that is no text in UTF-8 (UTF-16, perhaps): save it as UTF-8: {path}")
            else:
                if not content:
                    self.problem(variable, f"names an empty file: {path}")
            self._files[name] = partial(read_file, path)
            self._values[name] = content or "-"  # given, if not readable: not to be called missing too

    def problem(self, name: str, what: str) -> None:
        self.problems.append(f"{name} {what}")

    def peek(self, name: str) -> str:
        return self._values.get(name, "")

    def optional(self, name: str) -> str | None:
        return self._show(name, self._values.get(name) or _BY_NAME[name].default) or None

    def text_or(self, name: str, default: str) -> str:
        return self._show(name, self._values.get(name, default))

    def text(self, name: str) -> str:
        value = self.optional(name)
        if value is None and _BY_NAME[name].required:
            self.problem(name, f"is missing: {_BY_NAME[name].meaning}")
        return value or ""

    def header(self, name: str) -> str:
        value = self.text(name)
        if not re.fullmatch(r"[!-~]*", value):
            self.problem(name, "has spaces or other characters that no HTTP header takes")
        return value

    def secret(self, name: str) -> Secret | None:
        value = self.optional(name)
        return Secret(value, self._files.get(name)) if value else None

    def names(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.text(name).split(",") if part.strip())

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        value = self.text(name)
        for option in options:
            if option.lower() == value.lower():
                return option
        self.problem(name, f"is {value!r}; it takes {' or '.join(options)}")
        return options[0]

    def whole(self, name: str, low: int = 1, high: int = 1_000_000_000) -> int:
        value = self.text(name)
        if re.fullmatch(r"[0-9]{1,10}", value) and low <= int(value) <= high:
            return int(value)
        self.problem(name, f"is {value!r}; it takes a whole number from {low} to {high}")
        return low

    def rate(self, name: str) -> float | None:
        if not self.peek(name):
            return None
        return self.decimal(name, "a number above 0, as 5 or 0.5", 1_000, above_zero=True)

    def decimal(self, name: str, takes: str, most: float, *, above_zero: bool = False) -> float:
        value = self.text(name)
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) and float(above_zero) * 1e-6 <= float(value) <= most:
            return float(value)
        self.problem(name, f"is {value!r}; it takes {takes}")
        return 1.0

    def milliseconds(self, name: str, low: int = 1, takes: str = "") -> int:
        usual = f"a duration{' above zero' if low else ''}, as 500ms, 30s, 5m, 12h or 7d"
        return self._measure(name, _MS, low, takes or usual)

    def seconds(self, name: str, low_ms: int = 1) -> float:
        return self.milliseconds(name, low_ms) / 1_000

    def size(self, name: str) -> int:
        return self._measure(name, _BYTES, 1, "a size above zero, as 900B, 64KB or 1MB (1,000,000 bytes)")

    def url(self, name: str, default: str) -> str:
        value = self.text_or(name, default).rstrip("/")
        if name in self._values:
            self.check_url(name, value)
        return value

    def check_url(self, name: str, value: str) -> None:
        host = _host(value)
        if not host or not re.match(r"https?://", value):
            self.problem(name, "is not a URL of the form https://host or https://host/path")
        elif name.startswith("AMAZON_") and re.search(r"[@?#]", value):
            self.problem(name, "has a user, a query or a fragment in it: give scheme, host and path only")
        elif value.startswith("http:") and host not in {"localhost", "127.0.0.1", "::1"}:
            self.notes.append(f"{name} is not https: what is sent there travels in clear")

    def properties(self, prefix: str) -> dict[str, str]:
        """Return the variables of a library by their names there: lower case, dots for underscores."""
        found = {}
        for name, value in sorted(self._values.items()):
            if name.startswith(prefix) and name not in _BY_NAME:
                found[_property(name)] = self._show(name, value)
        return found

    def refuse_unknown(self) -> None:
        known = [setting.name for setting in SETTINGS] + [f"{setting.name}_FILE" for setting in SETTINGS if setting.secret]
        ends = [name.removeprefix("AMAZON_") for name in known if name.startswith("AMAZON_")]
        for name in sorted(self._unknown):
            close = difflib.get_close_matches(name.removeprefix("AMAZON_"), ends, n=1)
            hint = f"did you mean AMAZON_{close[0]}?" if close else "remove it"
            self.problem(name, f"is not a setting: {hint}")

    def _measure(self, name: str, units: Mapping[str, int], low: int, takes: str) -> int:
        value = self.text(name)
        match = re.fullmatch(rf"([0-9]{{1,12}}) ?({'|'.join(units)})", value)
        if match and int(match[1]) * units[match[2]] >= low:
            return int(match[1]) * units[match[2]]
        self.problem(name, f"is {value!r}; it takes {takes}")
        return 1

    def _show(self, name: str, value: str) -> str:
        if value:
            self.rows.append((name, "***" if is_secret(name) else _QUERY.sub(r"\1?***", _USER.sub("//***@", value))))
        return value


def is_secret(name: str) -> bool:
    """Tell whether the value of a variable must never be shown."""
    if name in _BY_NAME:
        return _BY_NAME[name].secret
    return name.startswith(("KAFKA_", "SCHEMA_REGISTRY_")) and bool(_SECRET_PROPERTY.search(_property(name)))


def _property(name: str) -> str:
    prefix = next(prefix for prefix in _PREFIXES if name.startswith(prefix))
    words = name.removeprefix(prefix).lower()
    return words if words in _UNDERSCORED else words.replace("_", ".")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_service_link(name: str, environ: Mapping[str, str]) -> bool:
    """Tell a variable that Kubernetes sets for each service of the namespace, and no person sets."""
    if re.fullmatch(r".+_SERVICE_(HOST|PORT(_.+)?)", name):
        return True
    port = re.fullmatch(r"(.+?_PORT)(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?", name)
    return port is not None and environ.get(port[1], "").startswith(("tcp://", "udp://", "sctp://"))
