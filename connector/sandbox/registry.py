"""A stand-in for a Confluent-compatible schema registry, in memory.

It answers the calls that ``SchemaRegistryClient`` of confluent-kafka 2.16 makes to register and to
fetch Avro schemas, with Confluent's error codes. It checks no compatibility and stores nothing on
disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from aiohttp import web

from connector.sandbox.delivery import as_json
from connector.sandbox.faults import Faults

__all__ = ["RegistryRefusal", "SchemaStore", "routes"]

_Call = Callable[[Mapping[str, str], Mapping[str, str], object], object]
"""Returns the answer to a request from the variables of its path, its query and its body."""


class RegistryRefusal(Exception):
    """A refused call: its HTTP status, Confluent's error code, and the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = int(str(code)[:3])

    @property
    def body(self) -> dict[str, object]:
        """Return the answer's body."""
        return {"error_code": self.code, "message": str(self)}


class _Reference(NamedTuple):
    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class _Schema:
    text: str
    references: tuple[_Reference, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return the schema as a registry answers it; the type is left out for Avro."""
        document: dict[str, object] = {"schema": self.text}
        if self.references:
            document["references"] = [reference._asdict() for reference in self.references]
        return document


class SchemaStore:
    """Subjects with their versions. Ids count from 1, and equal schemas share one id."""

    def __init__(self) -> None:
        self._ids: dict[_Schema, int] = {}
        self._schemas: dict[int, _Schema] = {}
        self._subjects: dict[str, list[int]] = {}

    def register(self, subject: str, schema: str) -> int:
        """Register an Avro schema without references, and return its id."""
        return self._register(subject, _Schema(schema))

    def register_document(self, subject: str, document: object) -> dict[str, object]:
        """Answer ``POST /subjects/{subject}/versions``.

        Raises:
            RegistryRefusal: 42201 if it is not an Avro schema, or refers to one that is not here.
        """
        schema = _read(document)
        for reference in schema.references:
            if not 1 <= reference.version <= len(self._subjects.get(reference.subject, ())):
                raise RegistryRefusal(42201, "Invalid schema: a reference is not registered")
        return {"id": self._register(subject, schema)}

    def by_id(self, text: str, subject: str | None) -> dict[str, object]:
        """Answer ``GET /schemas/ids/{id}``, within ``subject`` unless it is None.

        Raises:
            RegistryRefusal: 40403 if there is no such schema.
        """
        schema_id = int(text) if text.isascii() and text.isdigit() else 0
        schema = self._schemas.get(schema_id)
        if schema is None or (subject is not None and schema_id not in self._subjects.get(subject, ())):
            raise RegistryRefusal(40403, "Schema not found")
        return schema.as_json()

    def by_version(self, subject: str, version: str) -> dict[str, object]:
        """Answer ``GET /subjects/{subject}/versions/{version}``.

        A version is a number from 1, or ``latest``.

        Raises:
            RegistryRefusal: 40401 for an unknown subject, 40402 for an unknown version, 42202 for
                anything else.
        """
        versions = self._versions(subject)
        if version in ("latest", "-1"):
            return self._version(subject, len(versions))
        if not (version.isascii() and version.isdigit() and int(version) >= 1):
            raise RegistryRefusal(42202, "The specified version is not a valid version id")
        if int(version) > len(versions):
            raise RegistryRefusal(40402, "Version not found")
        return self._version(subject, int(version))

    def _register(self, subject: str, schema: _Schema) -> int:
        schema_id = self._ids.setdefault(schema, len(self._ids) + 1)
        self._schemas[schema_id] = schema
        versions = self._subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    def _versions(self, subject: str) -> list[int]:
        found = self._subjects.get(subject)
        if found is None:
            raise RegistryRefusal(40401, f"Subject '{subject}' not found.")
        return found

    def _version(self, subject: str, version: int) -> dict[str, object]:
        schema_id = self._subjects[subject][version - 1]
        return {"subject": subject, "version": version, "id": schema_id} | self._schemas[schema_id].as_json()


def _read(document: object) -> _Schema:
    """Read a schema as the client sends it."""
    if not isinstance(document, dict) or document.get("schemaType", "AVRO") != "AVRO":
        raise RegistryRefusal(42201, "Invalid schema: this stand-in knows Avro only")
    text = document.get("schema")
    try:
        orjson.loads(text if isinstance(text, str) else b"")
    except orjson.JSONDecodeError:
        raise RegistryRefusal(42201, "Invalid schema: not JSON") from None
    return _Schema(str(text), tuple(_reference(entry) for entry in document.get("references") or ()))


def _reference(entry: object) -> _Reference:
    match entry:
        case {"name": str(name), "subject": str(subject), "version": int(version)}:
            return _Reference(name, subject, version)
        case _:
            raise RegistryRefusal(42201, "Invalid schema: a reference needs name, subject and version")


def routes(at: str, schemas: SchemaStore, faults: Callable[[], Faults]) -> list[web.RouteDef]:
    """Return the registry's routes below a path; each request obeys the fault plan in force."""

    def call(answer: _Call) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answered(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(faults().registry_latency_ms / 1000)
            if faults().registry_down:
                return as_json(503, {"error_code": 50301, "message": "down on request of the sandbox's faults"})
            try:
                body = orjson.loads(await request.read()) if request.method == "POST" else None
                return as_json(200, answer(request.match_info, request.query, body))
            except orjson.JSONDecodeError:
                return as_json(400, {"error_code": 400, "message": "the body is not JSON"})
            except RegistryRefusal as refusal:
                return as_json(refusal.status, refusal.body)

        return answered

    versions = at + "/subjects/{subject}/versions"
    return [
        web.get(
            versions + "/{version}", call(lambda path, _query, _body: schemas.by_version(path["subject"], path["version"]))
        ),
        web.get(at + "/schemas/ids/{id}", call(lambda path, query, _body: schemas.by_id(path["id"], query.get("subject")))),
        web.post(versions, call(lambda path, _query, body: schemas.register_document(path["subject"], body))),
    ]
