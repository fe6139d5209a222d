"""Where schemas come from: a Confluent-compatible registry, a file, or this package.

The only place that imports the registry's client. It calls from the consumer's thread, so it waits for seconds at most,
and it tells three cases apart, because they end differently: the registry has no such schema (`UnknownSchema`, the
record is a dead letter), it does not answer or not with a schema (`SchemaUnavailable`, the partition waits), and it
answers with a schema that is not Avro (`Undecodable`). Only HTTP 404 with the registry's own code 40403 says that a
schema does not exist; a proxy's 404 does not. (Confluent documentation, Schema Registry API reference, "Schemas".)

Nothing is cached here but bad answers, for seconds: `decoding` keeps what it made of a schema.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.writer_schema import Json, parse
from connector.errors import SchemaUnavailable, SettingsError, Undecodable, UnknownSchema

__all__ = ["PROPERTIES", "Registry", "SchemaFile", "WriterSchemas", "packaged", "problems", "register"]

_NOT_FOUND = 404
_SCHEMA_NOT_FOUND = (404, 40403)
_PROBED_ID = 1
"""Any id will do to see whether the registry answers; the first it ever gave is the likeliest to exist."""

UNKNOWN_SECONDS = 10.0
"""How long an unknown id is not asked for again: long enough for a run of damaged records, short for a late replica."""
UNAVAILABLE_SECONDS = 2.0
"""How long a registry that failed is not asked again, so that many partitions of one poll wait for it once."""
_MAX_UNKNOWN = 1_000

_NUMBERS: dict[str, Callable[[str], float]] = {
    "timeout": float,
    "max.retries": int,
    "retries.wait.ms": int,
    "retries.max.wait.ms": int,
    "cache.capacity": int,
    "cache.latest.ttl.sec": float,
}
_DEFAULTS = {"timeout": 3.0, "max.retries": 1, "retries.wait.ms": 200}
"""The client's own: no time limit, three retries, a second and more between them. Seven seconds in all stay well below
half a session time-out (design: The guarantee, point 7)."""

PROPERTIES = frozenset(
    {
        *_NUMBERS,
        "url",
        "proxy",
        "basic.auth.user.info",
        "ssl.ca.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.certificate.location",
        "bearer.auth.credentials.source",
        "bearer.auth.token",
        "bearer.auth.logical.cluster",
        "bearer.auth.identity.pool.id",
        "bearer.auth.client.id",
        "bearer.auth.client.secret",
        "bearer.auth.scope",
        "bearer.auth.issuer.endpoint.url",
        "bearer.auth.issuer.endpoint.query",
    }
)
"""What the client can be told by text (confluent-kafka 2.16.0)."""


class WriterSchemas(Protocol):
    """Finds the schema a value was written by."""

    def definitions(self, schema_id: int) -> list[Json]:
        """Return the schema, last, after the schemas of the types it refers to.

        Raises:
            UnknownSchema: there is none of this id.
            SchemaUnavailable: it cannot be had for now.
            Undecodable: it is not an Avro schema.
        """

    def check(self) -> None:
        """Try whether schemas can be had.

        Raises:
            SchemaUnavailable: not for now.
        """


def packaged(name: str) -> Json:
    """Return a schema of ours, by file name: ``schemas/`` is in the wheel, and beside the package in a checkout."""
    package = Path(__file__).parents[1]
    in_wheel = package / "schemas" / name
    return json.loads((in_wheel if in_wheel.exists() else package.parent / "schemas" / name).read_text("utf-8"))


class SchemaFile:
    """The one schema of a topic of plain Avro.

    Raises:
        SettingsError: the file cannot be read, or is not the schema of a record.
    """

    def __init__(self, path: str) -> None:
        try:
            self._schema = json.loads(Path(path).read_text("utf-8-sig"))
            parse([self._schema])
        except OSError as error:
            raise SettingsError([f"AVRO_SCHEMA_FILE: {path} cannot be read: {error.strerror}"]) from error
        except (ValueError, RecursionError) as error:
            raise SettingsError([f"AVRO_SCHEMA_FILE: {path} is not JSON"]) from error
        except Undecodable as error:
            raise SettingsError([f"AVRO_SCHEMA_FILE: {path}: {error}"]) from error

    def definitions(self, schema_id: int) -> list[Json]:  # noqa: ARG002 - the port's; values name no schema here
        """Return the schema."""
        return [self._schema]

    def check(self) -> None:
        """Do nothing: a file that can be had was read when this was made."""


class Registry:
    """A Confluent-compatible schema registry.

    ``config`` holds the client's properties by Confluent's names, values as text; ``url`` is required. ``monotonic``
    returns seconds.

    Raises:
        SettingsError: a property is unknown or senseless. The text holds no value: some are secrets.
    """

    def __init__(self, config: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic) -> None:
        properties = _DEFAULTS | _parsed(config)
        try:
            self._client = SchemaRegistryClient(properties)
        except Exception as error:  # noqa: BLE001 - of the client, its HTTP library and TLS; the texts may hold secrets
            names = ", ".join(map(_variable, sorted(config)))
            raise SettingsError([f"{names}: the registry's client refuses them ({type(error).__name__})"]) from None
        self._monotonic = monotonic
        self._unknown: dict[int, float] = {}
        self._failure = ""
        self._failed_until = float("-inf")

    def definitions(self, schema_id: int) -> list[Json]:
        """Return the schema, last, after the schemas of the types it refers to.

        Raises:
            UnknownSchema: the registry answered that it does not have it, now or in the last ten seconds.
            SchemaUnavailable: the registry did not answer so, now or in the last two seconds.
            Undecodable: it is not an Avro schema.
        """
        now = self._monotonic()
        if now < self._failed_until:
            raise SchemaUnavailable(self._failure)
        if now < self._unknown.get(schema_id, now):
            raise UnknownSchema(_not_there(schema_id))
        try:
            return self._asked(schema_id)
        except UnknownSchema:
            if len(self._unknown) >= _MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[schema_id] = self._monotonic() + UNKNOWN_SECONDS
            raise
        except SchemaUnavailable as failure:
            self._failure = str(failure)
            self._failed_until = self._monotonic() + UNAVAILABLE_SECONDS
            raise

    def check(self) -> None:
        """Ask for a schema, the one thing that running needs; that there is none is an answer.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        try:
            self._asked(_PROBED_ID)
        except (UnknownSchema, Undecodable):
            return

    def knows(self, subject: str) -> bool:
        """Tell whether a schema is registered under this name.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        try:
            self._client.get_latest_version(subject)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return False
            raise _refused(error, f"the newest schema of {subject}") from None
        except Exception as error:  # noqa: BLE001 - as below
            raise SchemaUnavailable(f"the schema registry did not answer ({type(error).__name__})") from None
        finally:
            self._client.clear_caches()
        return True

    def _asked(self, schema_id: int) -> list[Json]:
        try:
            return self._with_references(self._client.get_schema(schema_id), set())
        except (Undecodable, SchemaUnavailable):
            raise
        except SchemaRegistryError as error:
            code = (error.http_status_code, error.error_code)
            if code == _SCHEMA_NOT_FOUND:
                raise UnknownSchema(_not_there(schema_id)) from None
            raise _refused(error, f"schema {schema_id}") from None
        except Exception as error:  # noqa: BLE001 - of the HTTP library, JSON, OAuth: whatever comes, no schema came
            # None: their texts may hold addresses with credentials.
            failure = f"the schema registry did not answer with schema {schema_id} ({type(error).__name__})"
            raise SchemaUnavailable(failure) from None
        finally:
            # The client keeps everything, without bound, also an answer without a schema.
            self._client.clear_caches()

    def _referenced(self, subject: str, version: int) -> Schema:
        """Return a schema that another refers to; that it is not there says nothing of the record."""
        try:
            return self._client.get_version(subject, version, deleted=True).schema
        except SchemaRegistryError as error:
            raise _refused(error, f"{subject}, version {version}") from None

    def _with_references(self, schema: Schema, seen: set[tuple[str, int]]) -> list[Json]:
        if (schema.schema_type or "AVRO") != "AVRO":
            raise Undecodable(f"its schema is not Avro but {schema.schema_type}")
        if not isinstance(schema.schema_str, str):
            raise SchemaUnavailable("the schema registry answered without a schema")
        definitions = []
        for reference in schema.references or []:
            subject, version = str(reference.subject), int(reference.version or 0)
            if (subject, version) not in seen:
                seen.add((subject, version))
                definitions += self._with_references(self._referenced(subject, version), seen)
        try:
            return [*definitions, json.loads(schema.schema_str)]
        except (ValueError, RecursionError):
            raise Undecodable("its schema is not JSON") from None


def _refused(error: SchemaRegistryError, asked: str) -> SchemaUnavailable:
    answer = f"HTTP {error.http_status_code}, code {error.error_code}"
    return SchemaUnavailable(f"the schema registry answered {answer} to the request for {asked}")


def _not_there(schema_id: int) -> str:
    return f"the schema registry has no schema {schema_id}"


def _variable(name: str) -> str:
    return "SCHEMA_REGISTRY_" + name.upper().replace(".", "_")


def _parsed(config: Mapping[str, str]) -> dict[str, str | float]:
    problems = [
        f"{_variable(name)}: the registry's client knows no property {name}" for name in config if name not in PROPERTIES
    ]
    if not config.get("url", "").startswith(("http://", "https://")):
        problems.append("SCHEMA_REGISTRY_URL: begins with http:// or https://")
    parsed: dict[str, str | float] = dict(config)
    for name in config.keys() & _NUMBERS.keys():
        try:
            parsed[name] = _NUMBERS[name](config[name])
        except ValueError:
            problems.append(f"{_variable(name)}: is not a number")
    if problems:
        raise SettingsError(problems)
    return parsed


def problems(config: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the registry's properties, one sentence each, that begins with the variable."""
    try:
        Registry(config)
    except SettingsError as error:
        return error.problems
    return []


def register(config: Mapping[str, str], subject: str, schema: Json) -> int:
    """Register a schema and return its id: for producers of samples, which stand where a real producer would.

    Raises:
        SchemaUnavailable: the registry does not take it.
    """
    try:
        return SchemaRegistryClient(_parsed(config)).register_schema(subject, Schema(json.dumps(schema), "AVRO"))
    except Exception as error:
        raise SchemaUnavailable(f"the schema registry did not take the schema ({type(error).__name__})") from error
