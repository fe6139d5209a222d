"""A writer's schema: read as Apache Avro for Java reads it, and made into one that fastavro reads values by.

A registry keeps what Java's parser takes, and fastavro's takes less: names and symbols of other letters, types of the null
namespace used within another, types used before they are defined, defaults that do not fit. None of this changes a byte of
a value. So schemas are resolved here, by Java's rules (org.apache.avro.Schema 1.11 and 1.12: what `_Names` says), and
fastavro gets what is left when every name is resolved: the shape of the bytes.

What could stop the process is kept from fastavro too. It builds objects for logical types (a decimal of a megabyte costs
it two minutes), so it sees none, and `decoding` converts the few inputs that need it. Its reader is compiled C that
recurses with the value (five thousand bytes of nesting end the process by a stack overflow, tried with 1.13.1), so a
recursive type is unrolled: `_MOST_NESTED` times, then a type that no value has. It counts a negative index of a union or an
enum from the end, where Java fails: such an index finds nothing here. One shape is refused: parts that take no bytes where
they can be repeated, for six bytes claim 2^40 items. Lengths beyond the end of a value are safe: it reads what is there.

Schemas are taken to be written by somebody trusted; values are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastavro import parse_schema

from connector.errors import Undecodable

__all__ = ["RECORDS", "Json", "WriterSchema", "logical_type", "parse"]

Json = Any
"""A JSON document, or a part of one, as `json.loads` returns it."""

RECORDS = ("record", "error")
"""The kinds of type that have fields; the second is of Avro's protocols."""

_NAMED = (*RECORDS, "enum", "fixed")
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_KEPT = ("logicalType", "scale")
"""Attributes that `decoding` reads."""
_WRAPPED = "connector_wrapped"
_MOST_NESTED = 64
"""How deep a value of a recursive type may be nested. Trees and lists within an event are a few deep."""
_MOST_EMPTY = 8
"""How many parts without bytes may come with each byte of what comes again and again."""
_MOST_EMPTY_ONCE = 10_000
"""How many an event may have beside: records of records multiply, with no byte."""
_NOTHING: Json = {"type": "enum", "symbols": {}}
"""A type that no value has: reading one fails."""
_NO_BRANCHES = ["logicalType"] * 64
"""At the end of a union, where a negative index of one byte would find a branch: names of a type that is not there. By this
name because fastavro looks for it in every list, and would go through all of another (1.13.1: 18 µs an event)."""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """What fastavro reads by, and what is known of it."""

    schema: Json
    """For fastavro; always a record. A schema that is a union is the only field of a record made for it, which is the same
    bytes in Avro binary."""
    field: str | None
    """The field that holds the event, where the record was made for it."""
    event: Json
    """The type of an event: every named type in it is a name."""
    types: dict[str, Json]
    """Every named type, by full name; the types within it likewise."""

    def records(self, schema: Json) -> list[Json]:
        """Return the record types that a value of this type may be of: itself, or branches of a union."""
        if isinstance(schema, list):
            return [record for branch in schema for record in self.records(branch)]
        resolved = self.resolved(schema)
        return [resolved] if resolved["type"] in RECORDS else []

    def resolved(self, schema: Json) -> Json:
        """Return a type that is no union as an object, whether it was given by name or as one."""
        return (self.types.get(schema) or {"type": schema}) if isinstance(schema, str) else schema


def logical_type(schema: Json) -> str | None:
    """Return the logical type of a type as `WriterSchema.resolved` returns it."""
    name = schema.get("logicalType")
    return name if isinstance(name, str) else None


def parse(definitions: Sequence[Json]) -> WriterSchema:
    """Parse a schema that stands last, after the types it refers to.

    Raises:
        Undecodable: it does not parse, has no record, or is of the shape refused above.
    """
    names = _Names()
    try:
        for definition in definitions:
            names.expect(definition, "")
        event = [names.read(definition, "") for definition in definitions][-1]
        within = {name: _reachable(name, names.types) for name in names.types}
        _refuse_unbounded(event, names.types, within)
        fields = _Unrolled(names.types, within).fields(event)
    except Undecodable:
        raise
    except Exception as error:  # noqa: BLE001 - a malformed schema leads to whatever error it leads to
        raise Undecodable(f"its writer's schema does not parse ({type(error).__name__})") from None
    schema: Json = parse_schema({"type": "record", "name": _WRAPPED, "fields": []})
    schema["fields"] = fields
    parsed = WriterSchema(schema, _WRAPPED if isinstance(event, list) else None, event, names.types)
    if not parsed.records(event):
        raise Undecodable("its writer's schema is not a record")
    return parsed


class _Names:
    """Resolves a schema as Java does.

    A type is called by its full name: its own name where that has a dot, else the namespace it stands in, a dot, and its
    name. A name that is used means the type of the namespace it stands in, else that of none, among those defined before
    (1.11), else among those defined later (1.12).
    """

    def __init__(self) -> None:
        self.types: dict[str, Json] = {}
        self._expected: set[str] = set()

    def expect(self, schema: Json, space: str) -> None:
        """Take note of the names that a schema defines."""
        if isinstance(schema, list):
            for branch in schema:
                self.expect(branch, space)
        elif isinstance(schema, dict):
            if schema["type"] in _NAMED:
                name, space = _full_name(schema, space)
                self._expected.add(name)
            for part in _parts(schema):
                self.expect(part, space)

    def read(self, schema: Json, space: str) -> Json:
        """Return a schema in which each named type is its full name; it is defined among the types."""
        if isinstance(schema, list):
            return [self.read(branch, space) for branch in schema]
        if isinstance(schema, str):
            return self._found(schema, space)
        kind = schema["type"]
        if kind in _NAMED:
            return self._defined(schema, *_full_name(schema, space))
        attributes = {name: schema[name] for name in _KEPT if name in schema}
        if kind == "array":
            return {"type": kind, "items": self.read(schema["items"], space)}
        if kind == "map":
            return {"type": kind, "values": self.read(schema["values"], space)}
        if isinstance(kind, str) and kind in _PRIMITIVES:
            return {"type": kind, **attributes} if attributes else kind
        return self.read(kind, space)

    def _found(self, name: str, space: str) -> str:
        if name in _PRIMITIVES:
            return name
        here = _joined(space, name)
        for known in (self.types, self._expected):
            for candidate in (here, name.removeprefix(".")):
                if candidate in known:
                    return candidate
        raise Undecodable(f"its writer's schema does not parse: it has no type {name}")

    def _defined(self, schema: Json, name: str, space: str) -> str:
        if name in _PRIMITIVES:
            raise Undecodable(f"its writer's schema does not parse: it has a type called {name}")
        before = self.types.get(name)
        # There before its fields are read: they may name it.
        made = self.types[name] = {"type": schema["type"]}
        made |= {name: schema[name] for name in _KEPT if name in schema}
        if schema["type"] == "enum":
            made["symbols"] = list(schema["symbols"])
        elif schema["type"] == "fixed":
            made["size"] = _size(schema["size"])
        else:
            made["fields"] = [
                {"name": _text(field["name"]), "aliases": _aliases(field), "type": self.read(field["type"], space)}
                for field in schema["fields"]
            ]
        if before is not None and _shape(before) != _shape(made):
            raise Undecodable(f"its writer's schema does not parse: it has two types {name}")
        return name


def _joined(space: str, name: str) -> str:
    """Return the full name of what is called so in a namespace."""
    return f"{space}.{name}" if space and "." not in name else name.removeprefix(".")


def _full_name(schema: Json, space: str) -> tuple[str, str]:
    """Return the full name of a type defined in a namespace, and the namespace that types within it stand in."""
    given = schema.get("namespace")
    full = _joined(given if isinstance(given, str) else space, _text(schema["name"]))
    return full, full.rpartition(".")[0]


def _parts(schema: Json) -> Iterator[Json]:
    """Yield the types within a type that is an object, as they are written."""
    kind = schema["type"]
    if kind in RECORDS:
        for field in schema["fields"]:
            yield field["type"]
    elif kind in ("array", "map"):
        yield schema["items" if kind == "array" else "values"]
    elif not isinstance(kind, str):
        yield kind


def _text(name: Json) -> str:
    if not isinstance(name, str):
        raise TypeError
    return name


def _size(size: Json) -> int:
    if type(size) is not int or size < 0:
        raise ValueError
    return size


def _aliases(field: Json) -> list[str]:
    aliases = field.get("aliases")
    return [alias for alias in aliases if isinstance(alias, str)] if isinstance(aliases, list) else []


def _shape(schema: Json) -> Json:
    """Return what two definitions of a type must have in common: all but aliases (Java, ``Schema.equals``)."""
    if isinstance(schema, dict):
        return {name: _shape(part) for name, part in schema.items() if name != "aliases"}
    return [_shape(part) for part in schema] if isinstance(schema, list) else schema


def _used(schema: Json) -> Iterator[str]:
    """Yield the names that a type as read uses, primitives among them."""
    if isinstance(schema, str):
        yield schema
    else:
        for part in schema if isinstance(schema, list) else _parts(schema):
            yield from _used(part)


def _reachable(name: str, types: dict[str, Json]) -> set[str]:
    """Return the types that a value of this type may hold a value of."""
    found: set[str] = set()
    open_ = [name]
    while open_:
        for used in _used(types[open_.pop()]):
            if used in types and used not in found:
                found.add(used)
                open_.append(used)
    return found


class _Unrolled:
    """Makes types that fastavro reads by. A type within itself is another one each time, until `_MOST_NESTED` deep.

    Names are put in the place of types by making each type once and pointing to it.
    """

    def __init__(self, types: dict[str, Json], within: dict[str, set[str]]) -> None:
        self._types = types
        self._within = within
        self._made: dict[tuple[str, int], Json] = {}
        self._empty: list[tuple[str, int]] = []

    def fields(self, event: Json) -> list[Json]:
        """Return the fields of the record that fastavro reads: the event's, or one that holds the event."""
        top = self._type(event, "", 0)
        while self._empty:
            self._fill(*self._empty.pop())
        fields: list[Json] = [{"name": _WRAPPED, "type": top}] if isinstance(top, list) else top.get("fields", [])
        return fields

    def _type(self, schema: Json, inside: str, depth: int) -> Json:
        """Return a type that stands in a named type, so many deep within itself."""
        if isinstance(schema, list):
            return [*(self._type(branch, inside, depth) for branch in schema), *_NO_BRANCHES]
        if isinstance(schema, str):
            return self._named(schema, inside, depth) if schema in self._types else schema
        match schema["type"]:
            case "array":
                return {"type": "array", "items": self._type(schema["items"], inside, depth)}
            case "map":
                return {"type": "map", "values": self._type(schema["values"], inside, depth)}
            case primitive:
                return primitive

    def _named(self, name: str, inside: str, depth: int) -> Json:
        depth = depth + 1 if inside in self._within[name] and name in self._within[inside] else 0
        if depth > _MOST_NESTED:
            return _NOTHING
        if (name, depth) not in self._made:
            self._made[name, depth] = {"type": self._types[name]["type"]}
            self._empty.append((name, depth))
        return self._made[name, depth]

    def _fill(self, name: str, depth: int) -> None:
        schema, made = self._types[name], self._made[name, depth]
        match schema["type"]:
            case "enum":
                # By number, for a list counts a negative one from its end.
                made["symbols"] = dict(enumerate(schema["symbols"]))
            case "fixed":
                made["size"] = schema["size"]
            case _:
                made["fields"] = [
                    {"name": field["name"], "type": self._type(field["type"], name, depth)} for field in schema["fields"]
                ]


def _refuse_unbounded(event: Json, types: dict[str, Json], within: dict[str, set[str]]) -> None:
    """Refuse a schema by which a few bytes can make endless work: by parts that take none.

    Such are `null`, fixed of size 0 and records of nothing else. What may come again and again in a
    value (items, values of a map, types within themselves) may have `_MOST_EMPTY` of them for each of
    its bytes; beside that an event may have `_MOST_EMPTY_ONCE`. What is weighed is the largest number
    of them in a value, less what its bytes allow. Of a type within itself it is taken for none while
    it is weighed; where that holds, it holds however deep a value is nested.
    """
    known: dict[str, int] = {}
    recursive = {name for name in types if name in within[name]}

    def weight(schema: Json) -> int:
        if isinstance(schema, list):
            return max(map(weight, schema), default=0) - _MOST_EMPTY  # the index of the branch
        if not isinstance(schema, str):
            return of_type(schema)
        if schema not in types:
            return of_type({"type": schema})
        if schema not in known:
            known[schema] = 0
            found = of_type(types[schema])
            if schema in recursive:
                refuse(found > 0)
            else:
                known[schema] = found
        return known[schema]

    def of_type(schema: Json) -> int:
        match schema["type"]:
            case "record" | "error":
                return 1 + sum(weight(field["type"]) for field in schema["fields"])
            case "array":
                refuse(weight(schema["items"]) > 0)
            case "map":
                refuse(weight(schema["values"]) - _MOST_EMPTY > 0)
            case "fixed":
                return 1 - _MOST_EMPTY * int(schema["size"])
            case "null":
                return 1
        return -_MOST_EMPTY

    def refuse(too_many: bool) -> None:
        if too_many:
            raise Undecodable(
                "its writer's schema has items, entries or types within themselves with too many parts without bytes "
                f"(null, fixed of size 0), more than {_MOST_EMPTY} a byte, which cannot be read safely"
            )

    for name in types:
        weight(name)
    refuse(weight(event) > _MOST_EMPTY_ONCE)
