"""A schema registry as a source of writer's schemas.

The registry is Confluent's, or another behind a `RegistryApi`.

It is called on the consumer's thread, so it waits for seconds at most. It tells three cases apart,
because they end differently:

    the registry                              raises                 then
    ---------------------------------------   --------------------   -------------------------------
    has no such schema                        `UnknownSchema`        the record is a dead letter
    does not answer, or not with a schema     `SchemaUnavailable`    the partition waits
    answers with a schema that cannot be used `Undecodable`          the record is a dead letter

An unknown schema is asked for again for a while: a replica of the registry learns of a schema later
than the producer.

Only bad answers are cached here. `decoding` caches what it made from a schema.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

from confluent_kafka.schema_registry import SchemaRegistryClient

from connector.avro.deadline import Deadline
from connector.avro.framing import SchemaId, named
from connector.avro.registry_connection import Connection, NoRoute, RegistryApi
from connector.avro.schema_file import json_of
from connector.avro.writer_schema import Json
from connector.config import Login
from connector.errors import SchemaUnavailable, Undecodable, UnknownSchema

__all__ = ["NoGuids", "Registry"]

_LARGEST_ID = 2**31 - 1
"""Maximum id: a Java int. For a larger one the registry answers as for a path that does not
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


class NoGuids(Undecodable):
    """The registry has no GUIDs, so what looks like one is not: any bytes may begin with 1.

    Not a reason to wait. A record that does have a GUID becomes a dead letter, which can be
    replayed.
    """


@dataclass(frozen=True, slots=True)
class _Absent:
    """An id for which the registry said that it has no schema."""

    message: str
    until: float
    """Monotonic second from which the id may be asked for again."""
    pause: float = 0.0
    """Latest pause before it is asked for again; 0 while the answer is not believed yet."""


class Registry:
    """A Confluent-compatible schema registry, or another behind a `RegistryApi`.

    ``config`` has the properties of Confluent's client by its names, with values as text; ``url``
    is required. ``login`` is the client's user and password, if they may change. ``over`` makes the
    `RegistryApi` of a registry with another interface that the same client can ask. ``api`` is that
    of a registry with a client of its own, which ignores ``config``.

    ``monotonic`` returns seconds. ``patience_seconds`` is how long a record waits for a schema that
    the registry says it does not have.

    Raises:
        SettingsError: a property is unknown or invalid. The text has no value: some are secrets.
    """

    def __init__(
        self,
        config: Mapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
        patience_seconds: float = 0.0,
        api: RegistryApi | None = None,
        over: Callable[[SchemaRegistryClient, Deadline], RegistryApi] | None = None,
        login: Login | None = None,
    ) -> None:
        self._connection = Connection(config, monotonic, api, over, login)
        self._monotonic = monotonic
        self._patience = patience_seconds
        self._absent: dict[SchemaId, _Absent] = {}
        self._answers: dict[str, Json] = {}  # by path, kept until everything that one schema needs is there
        self._failure = SchemaUnavailable("not asked yet")
        self._failed_until = float("-inf")
        self._without_guids_until = float("-inf")

    def definitions(self, schema_id: SchemaId, waited: float = 0.0) -> list[Json]:
        """Return the schemas of the types that a schema refers to, and last the schema itself.

        Raises:
            UnknownSchema: the registry answers that it has no such schema, and this record or
                another has waited long enough for it. Time in an outage does not count: the replica
                that answers first after an outage may know the least.
            SchemaUnavailable: the registry failed, now or in the last two seconds; or it has been
                asked for so long that the thread must poll; or the record has not waited long
                enough.
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
            if self._connection.answering_seconds(waited) < self._patience:
                raise SchemaUnavailable(f"{absent.message}, and is asked again for {self._patience:g} s")
            self._note(schema_id, absent.message, _longer(0.0))
        raise UnknownSchema(absent.message)

    def check(self) -> None:
        """Ask for a schema, as running does. An answer that there is none is good enough.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        try:
            self._asked(self._connection.probed)
        except (UnknownSchema, Undecodable):
            return

    def knows(self, subject: str) -> bool:
        """Return whether a schema is registered under this subject.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        return self._connection.newest(subject, _newest_of(subject)) is not None

    def newest(self, subject: str) -> tuple[int, list[Json]] | None:
        """Return the newest schema of a subject: its id, the schemas it refers to, and last itself.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
            Undecodable: it is not an Avro schema.
        """
        asked = _newest_of(subject)
        answer = self._connection.newest(subject, asked)
        return None if answer is None else (int(answer["id"]), self._defined_by(answer, asked))

    def newest_of_topic(self, topic: str) -> list[Json] | None:
        """Return the newest schema of a topic, from a registry without Confluent's API.

        Return None if the registry has none by the default name of its serialiser, or cannot tell.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
            Undecodable: it is not an Avro schema.
        """
        asked = _newest_of(f"topic {topic}")
        answer = self._connection.newest_of_topic(topic, asked)
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
            answer = self._kept(self._connection.path(schema_id), what)
            _refuse_rules(answer.get("ruleSet") or {})
            definitions = [*self._definitions_for(answer, what, set())]
        except SchemaUnavailable:
            raise
        except NoRoute:
            self._connection.check_ids()
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

    def _kept(self, path: str, asked: str) -> Json:
        """Ask once per path, and keep the answer until the schema is complete.

        So a schema whose questions are interrupted by a poll goes on where it stopped. Starting
        over might never end: of two addresses, the first may not answer.
        """
        if path not in self._answers:
            self._answers[path] = self._connection.ask(path, asked)
        return self._answers[path]

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
            yield json_of(text)
        except (ValueError, RecursionError):
            raise Undecodable("its schema is not JSON") from None


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
        if not (rule.get("disabled") is True or is_harmless):
            what = f"the rule {rule.get('name')} of type {type_}"
            raise Undecodable(f"its schema has {what}, which changes values and is not supported")


_OTHERS_MODES = ("UPGRADE", "DOWNGRADE", "UPDOWN")


def _newest_of(what: str) -> str:
    return f"the newest schema of {what}"


def _not_there(schema_id: SchemaId) -> str:
    return f"the schema registry has no {named(schema_id)}"


def _no_guids(schema_id: SchemaId) -> NoGuids:
    return NoGuids(f"this registry knows no GUIDs, and so not {named(schema_id)}: only Confluent's from 8.0 do")


def _longer(pause: float) -> float:
    """Return the next pause between two questions for an unknown id."""
    first, longest = UNKNOWN_SECONDS
    return min(2 * pause, longest) or first
