"""The tree of all settings, and how it is read from the environment.

`sources`, `destination` and `processing` declare the settings of their sections. The others are
declared here. `SETTINGS` lists the declarations in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from connector.config import checks, kinds
from connector.config.declaration import Setting, declared, read, section, setting
from connector.config.destination import Amazon
from connector.config.environment import Environment, is_secret_property
from connector.config.processing import (
    BatchSettings,
    BufferSettings,
    DeadLetterSettings,
    DedupeSettings,
    FreshnessSettings,
    LedgerSettings,
    Sending,
)
from connector.config.secret import Login
from connector.config.sources import Kafka, RegistrySettings, TokenSettings
from connector.core.batching import BatchPolicy
from connector.core.dedupe import DedupePolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.policy import BufferPolicy
from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.avro.decoding import WriterSchemas
    from connector.mapping.file import MappingFile

__all__ = ["SETTINGS", "Listen", "Log", "Settings", "is_secret"]


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the operations server listens."""

    host: str = setting("LISTEN_HOST", kinds.TEXT, "address of /, /metrics, /livez and /readyz", default="0.0.0.0")  # noqa: S104 - probes and scrapes come from outside
    port: int = setting(
        "LISTEN_PORT",
        kinds.whole(0, 65_535),
        "port of LISTEN_HOST; 0 takes a free one, if LISTEN_HOST is a loopback address",
        default="8080",
    )


@dataclass(frozen=True, slots=True)
class Log:
    """How the program logs."""

    level: str = setting(
        "LOG_LEVEL", kinds.word("debug", "info", "warning", "error"), "lowest level that is logged", default="info"
    )
    format: str = setting(
        "LOG_FORMAT", kinds.word("json", "console"), "format of log lines: json, or console for people", default="json"
    )


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
        "file with the writer's schema of all records, if there is no registry",
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
        "mapping file, which turns records with a schema of your own into events",
        section="Mapping",
    )
    mapping_text: str | None = setting(
        "MAPPING",
        kinds.optional(kinds.FILE_TEXT),
        "text of a mapping file, if you cannot mount a file; set this or MAPPING_FILE, not both",
        section="Mapping",
    )
    amazon: Amazon = section("Amazon", Amazon)
    freshness: FreshnessPolicy = section("Events", FreshnessSettings)
    dedupe: DedupePolicy = section("Events", DedupeSettings)
    batch: BatchPolicy = section("Sending", BatchSettings)
    buffer: BufferPolicy = section("Sending", BufferSettings)
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
        "what to do if a committed offset is outside the log: wait for an operator, or go on at the earliest record",
        default="wait",
        section="Operation",
    )
    accept: str | None = setting(
        "ACCEPT",
        kinds.optional(kinds.TEXT),
        "value that a refusal printed, to go on all the same; it holds for that case only; separate several with commas",
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
        "native code: auto uses it where it is installed, python never does, native does not start without it",
        default="auto",
        section="Operation",
    )
    listen: Listen = section("Probes and logs", Listen)
    log: Log = section("Probes and logs", Log)
    mapping: MappingFile | None = field(default=None, repr=False)
    """What the mapping file says, read once; None where records have our names."""
    schemas: WriterSchemas | None = field(default=None, repr=False, compare=False)
    """The source of writers' schemas, made once; None for a registry that is asked by its
    address."""
    notes: tuple[str, ...] = ()
    """Messages for the log at start."""
    rows: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What `describe` returns."""

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        kafka_problems: Callable[[Mapping[str, str], float, bool], list[str]] = lambda *_: [],
        registry_problems: Callable[[Mapping[str, str]], list[str]] = lambda _: [],
        read_mapping: Callable[[Settings], MappingFile | None] = lambda _: None,
    ) -> Settings:
        """Parse the environment.

        ``kafka_problems`` and ``registry_problems`` take the properties by their names in the
        library. They return one message for each problem, which begins with the variable.
        ``kafka_problems`` also takes the seconds of ``DRAIN_TIMEOUT``, during which the consumer
        does not poll, and whether clients log in with the tokens of ``KAFKA_TOKEN_SOURCE``.
        ``read_mapping`` takes the settings that the mapping file has to fit, and may raise a
        `SettingsError`.

        Raises:
            SettingsError: with every problem there is.
        """
        environment = Environment(environ, SETTINGS)
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
        unread = any(name.startswith("SCHEMA_REGISTRY_") for name in environment.unread)
        if settings.registry is not None and settings.registry.type in ("confluent", "apicurio") and not unread:
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
