"""A writer's schema, parsed once, and refused if some few bytes written by it could stop the process.

What fastavro does for logical types happens out of reach of any bound and builds objects that nobody wants here
(datetime, UUID; a decimal of a megabyte costs it two minutes), so all logical types are moved to another attribute
before it sees the schema, and `decoding` converts the few inputs that need it. Two shapes are refused, because they
make fastavro's work unbounded in the size of the value: recursive types (its reader is compiled C without a limit on
depth: five thousand bytes of nesting end the process by a stack overflow, tried with 1.13.1), and arrays whose items
take no bytes (six bytes claim 2^40 items). Lengths beyond the end of a value are safe: it reads what is there.

Schemas are taken to be written by somebody trusted; values are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastavro import parse_schema

from connector.errors import Undecodable

__all__ = ["RECORDS", "Json", "WriterSchema", "logical_type", "parse"]

Json = Any
"""A JSON document, or a part of one, as `json.loads` returns it."""

RECORDS = ("record", "error")
"""The kinds of type that have fields; the second is of Avro's protocols."""

_LOGICAL_TYPE = "connector.logicalType"
_WRAPPED = "connector_wrapped"


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """What fastavro reads by, and what is known of it."""

    schema: Json
    """Parsed; always a record. A schema that is a union or a name is the only field of a record made for it, which is
    the same bytes in Avro binary."""
    field: str | None
    """The field that holds the event, where the record was made for it."""
    types: dict[str, Json]
    """Every named type, by full name."""

    def records(self, schema: Json) -> list[Json]:
        """Return the record types that a value of this type may be of: itself, or branches of a union."""
        if isinstance(schema, list):
            return [record for branch in schema for record in self.records(branch)]
        resolved = self.resolved(schema)
        return [resolved] if resolved["type"] in RECORDS else []

    def resolved(self, schema: Json) -> Json:
        """Return a type that is no union as an object, whether it was given by name or as one."""
        resolved = {"type": schema} if isinstance(schema, str) else schema
        return self.types.get(resolved["type"], resolved)

    @property
    def event(self) -> Json:
        """The type of an event."""
        return self.schema if self.field is None else self.schema["fields"][0]["type"]


def logical_type(schema: Json) -> str | None:
    """Return the logical type of a type as `WriterSchema.resolved` returns it."""
    name = schema.get(_LOGICAL_TYPE)
    return name if isinstance(name, str) else None


def parse(definitions: Sequence[Json]) -> WriterSchema:
    """Parse a schema that stands last, after the types it refers to.

    Raises:
        Undecodable: it does not parse, has no record, or is of a shape refused above.
    """
    types: dict[str, Json] = {}
    try:
        *referenced, own = [_without_logical_types(definition) for definition in definitions]
        for definition in referenced:
            parse_schema(definition, types)
        wrapped = not (isinstance(own, dict) and own.get("type") in RECORDS)
        if wrapped:
            own = {"type": "record", "name": _WRAPPED, "fields": [{"name": _WRAPPED, "type": own}]}
        schema = parse_schema(own, types)
    except Exception as error:  # noqa: BLE001 - fastavro answers malformed schemas with whatever error they lead to
        raise Undecodable(f"its writer's schema does not parse ({type(error).__name__})") from None
    parsed = WriterSchema(schema, _WRAPPED if wrapped else None, types)
    _refuse_unbounded(schema, parsed, ())
    if not parsed.records(parsed.event):
        raise Undecodable("its writer's schema is not a record")
    return parsed


def _without_logical_types(schema: Json) -> Json:
    """Copy with logical types out of fastavro's sight, and without defaults, which a writer's schema does not need.

    fastavro refuses a schema for a default of the wrong type, of which registries have plenty.
    """
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    if isinstance(schema, dict):
        return {
            _LOGICAL_TYPE if key == "logicalType" else key: _without_logical_types(part)
            for key, part in schema.items()
            if key not in ("default", "doc")
        }
    return schema


def _refuse_unbounded(schema: Json, parsed: WriterSchema, inside: tuple[str, ...]) -> bool:
    """Say whether a value of this type may take no bytes at all.

    ``inside`` names the records that this type is part of.
    """
    if isinstance(schema, list):
        for branch in schema:
            _refuse_unbounded(branch, parsed, inside)
        return False
    resolved = parsed.resolved(schema)
    match resolved["type"]:
        case "record" | "error":
            name = resolved["name"]
            if name in inside:
                raise Undecodable("its writer's schema is recursive, which cannot be read safely")
            may_be_empty = [_refuse_unbounded(field["type"], parsed, (*inside, name)) for field in resolved["fields"]]
            return all(may_be_empty)
        case "array":
            if _refuse_unbounded(resolved["items"], parsed, inside):
                raise Undecodable("its writer's schema has an array of items without bytes, which cannot be read safely")
            return False
        case "map":
            _refuse_unbounded(resolved["values"], parsed, inside)
            return False
        case "fixed":
            return bool(resolved["size"] == 0)
        case kind:
            return bool(kind == "null")
