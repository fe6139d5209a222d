"""Schemas of a directory, found by the fingerprint that single-object encoding writes."""

from __future__ import annotations

import json
from pathlib import Path

from fastavro.schema import fingerprint, to_parsing_canonical_form

from connector.avro.framing import SchemaId, named
from connector.avro.writer_schema import Json, parse
from connector.errors import SettingsError, Undecodable, UnknownSchema

__all__ = ["SchemaDirectory"]


class SchemaDirectory:
    """The ``*.avsc`` files of a directory, read once. They may refer to each other's types by name.

    Raises:
        SettingsError: there is no such file, or files cannot be read or are not schemas. It holds
            every problem.
    """

    def __init__(self, path: Path) -> None:
        self._definitions: dict[bytes, list[Json]] = {}
        files = sorted(path.glob("*.avsc"))
        if not files:
            raise SettingsError([f"AVRO_SCHEMA_DIR: {path} has no *.avsc in it, or cannot be read"])
        problems: list[str] = []
        schemas: dict[str, Json] = {}
        for file in files:
            try:
                schemas[file.name] = json.loads(file.read_text("utf-8-sig"))
            except OSError as error:
                problems.append(f"AVRO_SCHEMA_DIR: {file} cannot be read: {error.strerror}")
            except (ValueError, RecursionError):
                problems.append(f"AVRO_SCHEMA_DIR: {file} is not JSON")
        types = {full: schema for schema in schemas.values() if (full := _full_name(schema, "")) is not None}
        for name, schema in schemas.items():
            try:
                self._add(_whole(schema, "", types, set()))
            except (Undecodable, RecursionError) as error:
                problems.append(f"AVRO_SCHEMA_DIR: {path / name}: {error}")
        if problems:
            raise SettingsError(problems)

    def _add(self, schema: Json) -> None:
        parse([schema])
        try:
            name = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
        except Exception as error:  # noqa: BLE001 - fastavro raises anything for an odd schema
            raise Undecodable(f"it has no fingerprint ({type(error).__name__})") from None
        self._definitions[bytes.fromhex(name)] = [schema]

    def definitions(self, schema_id: SchemaId, waited: float = 0.0) -> list[Json]:  # noqa: ARG002 - the port has it; nothing is waited for
        """Return the schema with a fingerprint, as a list of one.

        Types of other files that it refers to are within it.

        Raises:
            UnknownSchema: no file has a schema with this fingerprint.
        """
        found = self._definitions.get(schema_id) if isinstance(schema_id, bytes) else None
        if found is None:
            raise UnknownSchema(f"no file of AVRO_SCHEMA_DIR has the {named(schema_id)}")
        return found

    def every(self) -> list[list[Json]]:
        """Return all schemas, each as `definitions` returns it."""
        return list(self._definitions.values())

    def check(self) -> None:
        """Do nothing: the files were read at construction."""


def _full_name(schema: Json, space: str) -> str | None:
    """Return the full name of the type that a schema defines; None if it defines none."""
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        return None
    return _joined(schema["name"], str(schema.get("namespace") or space))


def _joined(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _whole(schema: Json, space: str, types: dict[str, Json], seen: set[str]) -> Json:
    """Return a schema with each type of another file put where its name comes first.

    The fingerprint is taken of this form.
    """
    if isinstance(schema, str):
        full = next((name for name in (_joined(schema, space), schema) if name in types), None)
        return schema if full is None or full in seen else _whole(types[full], "", types, seen)
    if isinstance(schema, list):
        return [_whole(branch, space, types, seen) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    full = _full_name(schema, space)
    if full is not None:
        seen.add(full)
        space = full.rpartition(".")[0]
    whole = {part: _whole(of, space, types, seen) if part in _TYPES else of for part, of in schema.items()}
    if isinstance(fields := schema.get("fields"), list):
        whole["fields"] = [
            field | {"type": _whole(field["type"], space, types, seen)} if _has_type(field) else field for field in fields
        ]
    return whole


def _has_type(field: Json) -> bool:
    return isinstance(field, dict) and "type" in field


_TYPES = frozenset({"type", "items", "values"})
