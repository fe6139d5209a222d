"""Fetches writer's schemas: from a Confluent-compatible registry, a file, or this package.

Only this module imports the registry's client. It is called on the consumer's thread, so it waits
for seconds at most. It tells three cases apart, because they end differently:

    the registry                              raises                 then
    ---------------------------------------   --------------------   -------------------------------
    has no such schema                        `UnknownSchema`        the record is a dead letter
    does not answer, or not with a schema     `SchemaUnavailable`    the partition waits
    answers with a schema that cannot be used `Undecodable`          the record is a dead letter

A schema does not exist only if the registry answers HTTP 404 with an error code of its own; the 404
of a proxy proves nothing. (Confluent documentation, Schema Registry API reference, "Schemas".) Even
then it is asked again for a while: a replica of the registry learns of a schema later than the
producer.

Only bad answers are cached here. `decoding` caches what it made from a schema.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.deadline import Deadline
from connector.avro.framing import SchemaId, named
from connector.avro.writer_schema import Json, parse
from connector.config import Login
from connector.errors import SchemaDenied, SchemaUnavailable, SettingsError, Undecodable, UnknownSchema

__all__ = [
    "PROPERTIES",
    "Api",
    "NoGuids",
    "Registry",
    "SchemaFile",
    "WriterSchemas",
    "packaged",
    "problems",
    "register",
    "registry_client",
]

_NOT_FOUND = 404
_UNKNOWN = frozenset({(404, 40401), (404, 40402), (404, 40403)})
"""Answers that say: no such subject, version, schema. The first two come for a schema that is
referred to."""
_GUIDS = "schemas/guids/"
_UNKNOWN_GUID = frozenset({(404, 40403)})
"""The one answer that says that a GUID is unknown. Any other 404 says that there is no such route:
the registry is not Confluent's, or older than 8.0, or a proxy answers in its place."""
_OPERATORS = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 407})
"""Statuses that an operator has to fix; 404 only without an error code of the registry."""
_LARGEST_ID = 2**31 - 1
"""Maximum id: a Java int. For a larger one the registry answers as for a path that does not
exist."""
_PROBED_ID = 1
"""Id for asking whether the registry answers. Any id would do; the first one is the likeliest to
exist."""

UNKNOWN_SECONDS = 10.0, 60.0
"""First and longest pause before an unknown id is asked for again; the pause doubles. A schema that
is registered late is found soon, and damaged ids do not cause requests all the time."""
_ABSENT_SECONDS = 0.5
"""Pause before an id is asked for again while the record still waits for it, so that several
partitions ask once."""
UNAVAILABLE_SECONDS = 2.0
"""Pause after the registry failed, so that many partitions of one poll wait for it once."""
_MAX_UNKNOWN = 1_000
ASKING_SECONDS = 3.0
"""Maximum time for questions in a row, before the thread must poll: hundreds of ids may be new at
once."""
_PAUSE_SECONDS = 0.25
"""Gap between two questions after which they no longer count as in a row."""
QUESTION_SECONDS = 15.0
"""Deadline of one question, with its retries and at all addresses, some of which may not answer.
Together with `ASKING_SECONDS` it stays below half a session time-out
(docs/how-it-works.md#what-may-be-sent-twice)."""

_USER_INFO = "basic.auth.user.info"
_NUMBERS: dict[str, Callable[[str], float]] = {
    "timeout": float,
    "max.retries": int,
    "retries.wait.ms": int,
    "retries.max.wait.ms": int,
    "cache.capacity": int,
    "cache.latest.ttl.sec": float,
}
_DEFAULTS = {"timeout": 3.0, "max.retries": 1, "retries.wait.ms": 200, "retries.max.wait.ms": 1000}
"""Our defaults: at most seven seconds in all with one address. Here the time-out is that of a whole
request. The client's own defaults are no time limit, and three retries a second and more apart."""

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
"""Properties of the client that are text (confluent-kafka 2.16.0)."""


class NoGuids(Undecodable):
    """The registry has no GUIDs, so what looks like one is not: any bytes may begin with 1.

    Not a reason to wait. A record that does have a GUID becomes a dead letter, which can be replayed.
    """


class _NoRoute(Exception):
    """HTTP 404 for a GUID, without the registry's error code for an unknown one."""


class WriterSchemas(Protocol):
    """Source of writer's schemas."""

    def definitions(self, schema_id: SchemaId, waited: float) -> list[Json]:
        """Return the schemas of the types that a schema refers to, and last the schema itself.

        ``waited`` is the number of seconds that the record has waited for the schema.

        Raises:
            UnknownSchema: no schema has this id.
            SchemaUnavailable: the schema cannot be fetched for now.
            Undecodable: it is not an Avro schema.
        """

    def check(self) -> None:
        """Check that schemas can be fetched.

        Raises:
            SchemaUnavailable: they cannot be fetched for now.
        """


def packaged(name: str) -> Json:
    """Return one of our schemas by file name.

    The directory ``schemas/`` is within the package in a wheel, and next to it in a checkout.
    """
    package = Path(__file__).parents[1]
    in_wheel = package / "schemas" / name
    return json.loads((in_wheel if in_wheel.exists() else package.parent / "schemas" / name).read_text("utf-8"))


class SchemaFile:
    """The schema of a topic of plain Avro, from a file. ``named_by`` is the setting or option that names it.

    Raises:
        SettingsError: the file cannot be read, or is not the schema of a record.
    """

    def __init__(self, path: Path, named_by: str = "AVRO_SCHEMA_FILE") -> None:
        try:
            self._schema = _read(path.read_text("utf-8-sig"))
            parse([self._schema])
        except OSError as error:
            raise SettingsError([f"{named_by}: {path} cannot be read: {error.strerror}"]) from error
        except (ValueError, RecursionError) as error:
            raise SettingsError([f"{named_by}: {path} is not JSON"]) from error
        except Undecodable as error:
            raise SettingsError([f"{named_by}: {path}: {error}"]) from error

    def definitions(self, schema_id: SchemaId = 0, waited: float = 0.0) -> list[Json]:  # noqa: ARG002 - the port's; values name none
        """Return the one schema, for any id."""
        return [self._schema]

    def check(self) -> None:
        """Do nothing: the file was read when this object was made."""


@dataclass(frozen=True, slots=True)
class _Absent:
    """An id for which the registry said that it has no schema."""

    message: str
    until: float
    """Monotonic second from which the id may be asked for again."""
    pause: float = 0.0
    """Latest pause before it is asked for again; 0 while the answer is not believed yet."""


class Api(Protocol):
    """Another registry, which answers as Confluent's would."""

    probed: SchemaId
    """What to ask for to see whether it answers."""

    def path(self, schema_id: SchemaId) -> str:
        """Return what `get` takes for a schema."""

    def get(self, path: str) -> Json:
        """Return the answer that Confluent's registry would give.

        A reference may have a ``path`` of its own to pass to this method.

        Raises:
            SchemaRegistryError: the answer is no schema. Other exceptions: no answer came.
        """

    def newest(self, topic: str) -> Json:
        """Return such an answer for the newest schema of a topic's values; None if the registry cannot tell it.

        A topic has the schema that the registry's serialiser registers for it by default.

        Raises:
            SchemaRegistryError: the answer is no schema. Other exceptions: no answer came.
        """


class Registry:
    """A Confluent-compatible schema registry, or another behind an `Api`, for which ``config`` means nothing.

    ``over`` makes the `Api` of a registry that is asked by the same client.

    ``config`` has the client's properties by Confluent's names, with values as text; ``url`` is
    required. ``login`` is its user and password, if they may change. ``monotonic`` returns seconds.
    ``patience_seconds`` is how long a record waits for a schema that the registry says it does not
    have.

    Raises:
        SettingsError: a property is unknown or invalid. The text has no value: some are secrets.
    """

    def __init__(
        self,
        config: Mapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
        patience_seconds: float = 0.0,
        api: Api | None = None,
        over: Callable[[SchemaRegistryClient, Deadline], Api] | None = None,
        login: Login | None = None,
    ) -> None:
        self._api, self._over = api, over
        self._config, self._login = config, login
        self._logged_in = login.current if login is not None else ()
        if api is None:
            self._use(*registry_client(config))
        self._monotonic = monotonic
        self._patience = patience_seconds
        self._absent: dict[SchemaId, _Absent] = {}
        self._answers: dict[str, Json] = {}  # by path, kept until everything that one schema needs is there
        self._failure = SchemaUnavailable("not asked yet")
        self._failed_until = float("-inf")
        self._asking_since = self._answered_at = float("-inf")
        self._without_guids_until = float("-inf")
        self._silent_since = float("inf")  # monotonic second; infinity while the registry answers
        self._silent = float("-inf"), float("-inf")  # start and end of the last outage

    def definitions(self, schema_id: SchemaId, waited: float = 0.0) -> list[Json]:
        """Return the schemas of the types that a schema refers to, and last the schema itself.

        Raises:
            UnknownSchema: the registry answers that it has no such schema, and this record or
                another has waited long enough for it. Time in an outage does not count: the replica
                that answers first after an outage may know the least.
            SchemaUnavailable: the registry failed, now or in the last two seconds; or it has been
                asked for so long that the thread must poll; or the record has not waited long enough.
            NoGuids: it is a GUID, and the registry has none, now or in the last minute.
            Undecodable: it is not an Avro schema, or has a rule that changes values.
        """
        if isinstance(schema_id, int) and schema_id > _LARGEST_ID:
            raise UnknownSchema(_not_there(schema_id))
        if isinstance(schema_id, UUID) and self._monotonic() < self._without_guids_until:
            raise _no_guids(schema_id)
        absent = self._absent.get(schema_id)
        if absent is None or self._monotonic() >= absent.until:
            try:
                found = self._ask_for(schema_id)
            except UnknownSchema as error:
                pause = absent.pause if absent is not None else 0.0
                absent = self._note(schema_id, str(error), pause and _longer(pause))
            else:
                self._absent.pop(schema_id, None)
                return found
        if not absent.pause:
            if self._heeded(waited) < self._patience:
                raise SchemaUnavailable(f"{absent.message}, and is asked again for {self._patience:g} s")
            self._note(schema_id, absent.message, _longer(0.0))
        raise UnknownSchema(absent.message)

    def check(self) -> None:
        """Ask for a schema, as running does. An answer that there is none is good enough.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        try:
            self._asked(_PROBED_ID if self._api is None else self._api.probed)
        except (UnknownSchema, Undecodable):
            return

    def knows(self, subject: str) -> bool:
        """Return whether a schema is registered under this subject.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        return self._newest(subject) is not None

    def newest(self, subject: str) -> tuple[int, list[Json]] | None:
        """Return the newest schema of a subject: its id, the schemas it refers to, and last itself.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
            Undecodable: it is not an Avro schema.
        """
        answer = self._newest(subject)
        return None if answer is None else (int(answer["id"]), self._defined_by(answer, f"the newest schema of {subject}"))

    def newest_of_topic(self, topic: str) -> list[Json] | None:
        """Return the newest schema of a topic from a registry without Confluent's API, as `newest` does.

        None if the registry has none by the name that its serialiser gives by default, or cannot tell.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
            Undecodable: it is not an Avro schema.
        """
        asked = f"the newest schema of topic {topic}"
        try:
            answer = None if self._api is None else self._api.newest(topic)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise _refused(error, asked) from None
        except Exception as error:  # noqa: BLE001 - raised by HTTP, JSON or a vendor's library: no answer came
            raise SchemaUnavailable(f"the schema registry did not answer ({type(error).__name__})") from None
        return None if answer is None else self._defined_by(answer, asked)

    def _defined_by(self, answer: Json, asked: str) -> list[Json]:
        """Return the schemas that an answer refers to, and last its own."""
        try:
            return list(self._definitions_for(answer, asked, set()))
        except (SchemaUnavailable, Undecodable):
            raise
        except UnknownSchema as error:
            raise Undecodable(str(error)) from None
        except Exception as error:  # noqa: BLE001 - the answer is not a schema
            raise SchemaUnavailable(f"the schema registry did not answer with a schema ({type(error).__name__})") from None
        finally:
            self._answers.clear()

    def _newest(self, subject: str) -> Json:
        try:
            return self._get(f"subjects/{quote(subject, safe='')}/versions/latest")
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise _refused(error, f"the newest schema of {subject}") from None
        except Exception as error:  # noqa: BLE001 - raised by HTTP, JSON or OAuth: no answer came
            raise SchemaUnavailable(f"the schema registry did not answer ({type(error).__name__})") from None

    def _note(self, schema_id: SchemaId, message: str, pause: float) -> _Absent:
        self._absent.pop(schema_id, None)
        if len(self._absent) >= _MAX_UNKNOWN:
            del self._absent[next(iter(self._absent))]
        absent = _Absent(message, self._monotonic() + (pause or _ABSENT_SECONDS), pause)
        self._absent[schema_id] = absent
        return absent

    def _ask_for(self, schema_id: SchemaId) -> list[Json]:
        if self._monotonic() < self._failed_until:
            raise self._failure.with_traceback(None)
        try:
            return self._asked(schema_id)
        except SchemaUnavailable as failure:
            self._failure = failure
            self._failed_until = self._monotonic() + UNAVAILABLE_SECONDS
            raise

    def _asked(self, schema_id: SchemaId) -> list[Json]:
        what = named(schema_id)
        try:
            answer = self._kept(_path(schema_id) if self._api is None else self._api.path(schema_id), what)
            _refuse_rules(answer.get("ruleSet") or {})
            definitions = [*self._definitions_for(answer, what, set())]
        except SchemaUnavailable:
            raise
        except _NoRoute:
            self._check_ids()
            self._without_guids_until = self._monotonic() + UNKNOWN_SECONDS[1]
            raise _no_guids(schema_id) from None
        except (Undecodable, UnknownSchema):
            self._answers.clear()
            raise
        except Exception as error:  # noqa: BLE001 - the answer is not a schema
            self._answers.clear()
            failure = f"the schema registry did not answer with {what} ({type(error).__name__})"
            raise SchemaUnavailable(failure) from None
        self._answers.clear()
        return definitions

    def _check_ids(self) -> None:
        """Check that the registry answers about ids, so that a 404 is its own and not a proxy's.

        Raises:
            SchemaUnavailable: it does not.
        """
        with suppress(UnknownSchema):
            self._answer(_path(_PROBED_ID), named(_PROBED_ID))

    def _kept(self, path: str, asked: str) -> Json:
        """Ask once per path, and keep the answer until the schema is complete.

        So a schema whose questions are interrupted by a poll goes on where it stopped. Starting
        over might never end: of two addresses, the first may not answer.
        """
        if path not in self._answers:
            self._answers[path] = self._answer(path, asked)
        return self._answers[path]

    def _answer(self, path: str, asked: str) -> Json:
        """Ask, unless the thread has asked for so long that it must poll."""
        now = self._monotonic()
        if now - self._answered_at > _PAUSE_SECONDS:
            self._asking_since = now
        if now - self._asking_since > ASKING_SECONDS:
            raise SchemaUnavailable(f"the schema registry has been asked for {ASKING_SECONDS:g} s without a pause")
        try:
            found = self._get(path)
        except SchemaRegistryError as error:
            unknown = _UNKNOWN_GUID if path.startswith(_GUIDS) else _UNKNOWN
            if (error.http_status_code, error.error_code) in unknown:
                self._heard()
                raise UnknownSchema(f"the schema registry has no {asked}") from None
            if error.http_status_code == _NOT_FOUND and path.startswith(_GUIDS):
                raise _NoRoute from None
            self._silent_since = min(now, self._silent_since)
            raise _refused(error, asked) from None
        except Exception as error:  # noqa: BLE001 - raised by HTTP, JSON or OAuth: no answer came
            self._silent_since = min(now, self._silent_since)
            # From None: the texts may hold addresses with credentials.
            failure = f"the schema registry did not answer with {asked} ({type(error).__name__})"
            raise SchemaUnavailable(failure) from None
        finally:
            self._answered_at = self._monotonic()
        self._heard()
        return found

    def _get(self, path: str) -> Json:
        """Ask the registry.

        The client's own methods cache every answer, and fail on one with tags in its metadata
        (confluent-kafka 2.16.0).
        """
        if self._login is not None and (user := self._login.current) is not self._logged_in:
            before, made = self._client, _client(_DEFAULTS | _parsed({**self._config, _USER_INFO: user[0]}))
            self._use(*made)
            self._logged_in = user
            before.close()
        if self._api is not None:
            return self._api.get(path)
        self._deadline.begin()
        return self._client._rest_client.get(path)  # noqa: SLF001 - the client's own methods call this

    def _use(self, client: SchemaRegistryClient, deadline: Deadline) -> None:
        self._client, self._deadline = client, deadline
        if self._over is not None:
            self._api = self._over(client, deadline)

    def _heard(self) -> None:
        """Note an answer, which ends an outage."""
        if self._silent_since < float("inf"):
            self._silent, self._silent_since = (self._silent_since, self._monotonic()), float("inf")

    def _heeded(self, waited: float) -> float:
        """Return for how many of the seconds that a record has waited the registry was answering.

        Only the last outage is subtracted. What was heeded before it does not count either.
        """
        _, ended = self._silent
        return min(waited, self._monotonic() - ended)

    def _definitions_for(self, answer: Json, asked: str, seen: set[str]) -> Iterator[Json]:
        """Yield the schemas that a schema refers to, and last the schema itself."""
        kind = answer.get("schemaType") or "AVRO"
        if kind != "AVRO":
            raise Undecodable(f"its schema is not Avro but {kind}")
        for reference in answer.get("references") or []:
            subject, version = str(reference["subject"]), reference["version"]
            path = reference.get("path") or f"subjects/{quote(subject, safe='')}/versions/{int(version)}?deleted=true"
            if path not in seen:
                seen.add(path)
                what = f"version {version} of {subject}, which {asked} refers to"
                yield from self._definitions_for(self._kept(path, what), what, seen)
        text = answer["schema"]
        if not isinstance(text, str):
            raise TypeError
        try:
            yield _read(text)
        except (ValueError, RecursionError):
            raise Undecodable("its schema is not JSON") from None


def _path(schema_id: SchemaId) -> str:
    return f"{_GUIDS}{schema_id}" if isinstance(schema_id, UUID) else f"schemas/ids/{schema_id!r}"


def _refuse_rules(rules: Json) -> None:
    """Refuse a schema with a rule that changes values when they are written or read.

    Confluent's deserialiser does so too: it fails on a rule that it has no executor for. A rule of
    mode WRITE is accepted, because readers are meant to see its outcome, but not encryption, whose
    outcome nobody can read. Conditions change nothing, and migrations concern readers that use
    another version's schema.
    """
    if (rules.get("enableAt") or "ALL").upper() not in ("ALL", "CLIENT"):
        return
    for rule in [*(rules.get("domainRules") or []), *(rules.get("encodingRules") or [])]:
        kind, mode, type_ = (rule.get(name) or "" for name in ("kind", "mode", "type"))
        is_harmless = (
            kind == "CONDITION" or mode in _OTHERS_MODES or (mode == "WRITE" and not type_.upper().startswith("ENCRYPT"))
        )
        if not (rule.get("disabled") or is_harmless):
            what = f"the rule {rule.get('name')} of type {type_}"
            raise Undecodable(f"its schema has {what}, which changes values and is not supported")


_OTHERS_MODES = ("UPGRADE", "DOWNGRADE", "UPDOWN")
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


def _read(text: str) -> Json:
    """Parse JSON with comments, as Java does (org.apache.avro.Schema, ``ALLOW_COMMENTS``)."""
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(_COMMENT.sub(lambda found: found[1] or " ", text))


def _refused(error: SchemaRegistryError, asked: str) -> SchemaUnavailable:
    status = error.http_status_code
    answer = f"the schema registry answered HTTP {status}, code {error.error_code} to the request for {asked}"
    return SchemaDenied(answer, status) if status in _OPERATORS else SchemaUnavailable(answer)


def _not_there(schema_id: SchemaId) -> str:
    return f"the schema registry has no {named(schema_id)}"


def _no_guids(schema_id: SchemaId) -> NoGuids:
    return NoGuids(f"this registry knows no GUIDs, and so not {named(schema_id)}: only Confluent's from 8.0 do")


def _variable(name: str) -> str:
    return "SCHEMA_REGISTRY_" + name.upper().replace(".", "_")


def _longer(pause: float) -> float:
    """Return the next pause between two questions for an unknown id."""
    first, longest = UNKNOWN_SECONDS
    return min(2 * pause, longest) or first


def registry_client(config: Mapping[str, str]) -> tuple[SchemaRegistryClient, Deadline]:
    """Return the registry's client, and its deadline, which has to begin with each question.

    Raises:
        SettingsError: a property is unknown or invalid. The text has no value: some are secrets.
    """
    properties = _DEFAULTS | _parsed(config)
    try:
        return _client(properties)
    except Exception as error:  # noqa: BLE001 - of the client, its HTTP library and TLS; the texts may hold secrets
        names = ", ".join(map(_variable, sorted(config)))
        raise SettingsError([f"{names}: the registry's client refuses these settings ({type(error).__name__})"]) from None


def _client(properties: Mapping[str, str | float]) -> tuple[SchemaRegistryClient, Deadline]:
    """Make the registry's client, with a deadline for each request and each question.

    It ignores the proxies of the environment, which the client offers no way to turn off
    (confluent-kafka 2.16.0).
    """
    client = SchemaRegistryClient(dict(properties))
    timeout = float(properties["timeout"])
    deadline = Deadline(timeout, max(timeout, QUESTION_SECONDS))
    rest = client._rest_client  # noqa: SLF001 - the only way to the HTTP clients
    rest.session.close()
    rest.session = type(rest.session)(
        verify=rest.verify, auth=rest.auth, proxy=rest.proxy, timeout=rest.timeout, trust_env=False
    )
    deadline.hold(rest.session)
    if (tokens := getattr(rest.bearer_field_provider, "client", None)) is not None:
        tokens.close()
        credentials = {
            name: getattr(tokens, name) for name in ("client_id", "client_secret", "scope") if hasattr(tokens, name)
        }
        # The certificates of the environment still apply: those set for the registry need not be
        # right for the issuer of tokens.
        rest.bearer_field_provider.client = type(tokens)(**credentials, verify=ssl.create_default_context(), trust_env=False)
        deadline.hold(rest.bearer_field_provider.client)
    return client, deadline


def _parsed(config: Mapping[str, str]) -> dict[str, str | float]:
    problems = [
        f"{_variable(name)}: the registry's client has no property {name}" for name in config if name not in PROPERTIES
    ]
    parsed: dict[str, str | float] = dict(config)
    if not config.get("url", "").startswith(("http://", "https://")):
        problems.append("SCHEMA_REGISTRY_URL: must begin with http:// or https://")
    else:
        try:
            parsed |= _addresses(config["url"], "basic.auth.user.info" in config)
        except ValueError as error:
            problems.append(f"SCHEMA_REGISTRY_URL: {error}")
    for name in config.keys() & _NUMBERS.keys():
        try:
            parsed[name] = _NUMBERS[name](config[name])
        except ValueError:
            problems.append(f"{_variable(name)}: is not a number")
    if problems:
        raise SettingsError(problems)
    return parsed


def _addresses(urls: str, has_user: bool) -> dict[str, str]:
    """Return the client's properties for addresses that may contain user and password.

    User and password are taken out of the addresses, because the HTTP library writes addresses to
    its log and its errors. The client would send those of the first address to all.

    Raises:
        ValueError: the addresses are invalid; the text says what to do.
    """
    addresses: list[str] = []
    users: set[str | None] = set()
    for url in urls.split(","):
        address, user = _split(url.strip())
        addresses.append(address)
        users.add(user)
    if len(users) > 1:
        raise ValueError("has different users in its addresses: give SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO instead")
    user_info = users.pop()
    if user_info is not None and has_user:
        raise ValueError("has a user in it, and SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO is set too: give one of them")
    return {"url": ",".join(addresses)} | ({} if user_info is None else {"basic.auth.user.info": user_info})


def _split(url: str) -> tuple[str, str | None]:
    """Return an address without user and password, and those as text."""
    parts = urlsplit("")
    with suppress(ValueError):  # the error's text would hold the address
        parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    address = parts._replace(netloc=host).geturl()
    if not host or "@" in address:
        raise ValueError("is not an address, or has a /, ? or # in its user or password: percent-encode these characters")
    if parts.query or parts.fragment:
        raise ValueError("has a query or a fragment, which is never sent to a registry: give scheme, host and path only")
    name, _, password = user.partition(":")
    return address, f"{unquote(name)}:{unquote(password)}" if at else None


def problems(config: Mapping[str, str]) -> list[str]:
    """Return the problems of the registry's properties, one message each, the variable first."""
    try:
        Registry(config)
    except SettingsError as error:
        return error.problems
    return []


def register(config: Mapping[str, str], subject: str, schema: Json) -> int:
    """Register a schema and return its id. For the producers of samples.

    Raises:
        SchemaUnavailable: the registry does not accept the schema.
    """
    try:
        client, _ = _client(_DEFAULTS | _parsed(config))
        return client.register_schema(subject, Schema(json.dumps(schema), "AVRO"))
    except Exception as error:  # noqa: BLE001 - as above: the texts may hold secrets
        raise SchemaUnavailable(f"the schema registry did not accept the schema ({type(error).__name__})") from None
