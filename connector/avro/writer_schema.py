"""Parses a writer's schema as Java does, and turns it into one that fastavro can use.

The problem. A registry keeps whatever Java's parser accepts, and fastavro's parser accepts less: it
refuses names and symbols with other letters, types of the null namespace used within another one,
types used before they are defined, and defaults that do not fit. None of this changes a byte of a
value. So names are resolved here, by the rules of Java (org.apache.avro.Schema 1.11 and 1.12;
`_Names` has them). fastavro gets what is left when every name is resolved: the shape of the bytes.

What could stop the process is kept from fastavro too:

- It makes objects for logical types, and a decimal of a megabyte takes it two minutes. So it sees
  no logical types; `decoding` converts the few inputs that need it.
- Its reader is compiled C that recurses with the value. Five thousand bytes of nesting end the
  process with a stack overflow (tried with 1.13.1). So a recursive type is unrolled: `_MOST_NESTED`
  times, then a type that no value has.
- It counts a negative index of a union or an enum from the end, where Java fails. Here such an
  index finds nothing.
- Six bytes can claim 2^40 items if an item takes no bytes. So a schema is refused if too many parts
  that take no bytes can be repeated.

Lengths beyond the end of a value are safe: fastavro reads what is there.

The author of a schema is trusted; the author of a value is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastavro import parse_schema

from connector.errors import Undecodable

__all__ = ["RECORDS", "Json", "WriterSchema", "logical_type", "parse"]

Json = Any
"""JSON document, or a part of one, as `json.loads` returns it."""

RECORDS = ("record", "error")
"""Types that have fields. The second belongs to Avro's protocols."""

_NAMED = (*RECORDS, "enum", "fixed")
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_KEPT = ("logicalType", "scale")
"""Attributes that `decoding` needs."""
_WRAPPED = "connector_wrapped"
_MOST_NESTED = 64
"""Maximum nesting of a recursive type. Trees and lists within an event are a few levels deep."""
_MOST_EMPTY = 8
"""Maximum parts without bytes per byte of a part that can be repeated."""
_MOST_EMPTY_ONCE = 10_000
"""Maximum parts without bytes per event in addition: nested records multiply without a byte."""
_NOTHING: Json = {"type": "enum", "symbols": {}}
"""Type that no value has: decoding it always fails."""
_NO_BRANCHES = ["logicalType"] * 64
"""Padding at the end of a union, so that a negative index of one byte finds no branch: the name of
a type that does not exist. This very name, because fastavro searches every list for it, and would
search all of a list without it (1.13.1: 18 µs per event)."""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A parsed schema: the form that fastavro uses, and what `decoding` needs to know."""

    schema: Json
    """Schema for fastavro; always a record. A union is wrapped as the only field of a record, which
    has the same bytes in Avro binary."""
    field: str | None
    """Name of the field that holds the event in such a wrapping record; else None."""
    event: Json
    """Type of an event, with named types given by name."""
    types: dict[str, Json]
    """Named types by full name, again with named types in them given by name."""

    def records(self, schema: Json) -> list[Json]:
        """Return the record types among this type: itself, or branches of a union."""
        if isinstance(schema, list):
            return [record for branch in schema for record in self.records(branch)]
        resolved = self.resolved(schema)
        return [resolved] if resolved["type"] in RECORDS else []

    def named_records(self) -> list[tuple[str, Json]]:
        """Return the record types that an event may be of, each with its full name."""
        branches = self.event if isinstance(self.event, list) else [self.event]
        return [(branch, records[0]) for branch in branches if (records := self.records(branch))]

    def resolved(self, schema: Json) -> Json:
        """Return a type other than a union as an object, also if it is given by name."""
        return (self.types.get(schema) or {"type": schema}) if isinstance(schema, str) else schema


def logical_type(schema: Json) -> str | None:
    """Return the logical type of a type in the form of `WriterSchema.resolved`."""
    name = schema.get("logicalType")
    return name if isinstance(name, str) else None


def parse(definitions: Sequence[Json]) -> WriterSchema:
    """Parse the last of these schemas; the ones before it are those that it refers to.

    Raises:
        Undecodable: the schema does not parse, has no record, or repeats parts that take no bytes.
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
    except Exception as error:  # noqa: BLE001 - a malformed schema raises anything
        raise Undecodable(f"its writer's schema does not parse ({type(error).__name__})") from None
    schema: Json = parse_schema({"type": "record", "name": _WRAPPED, "fields": []})
    schema["fields"] = fields
    parsed = WriterSchema(schema, _WRAPPED if isinstance(event, list) else None, event, names.types)
    if not parsed.records(event):
        raise Undecodable("its writer's schema is not a record")
    return parsed


class _Names:
    """Resolves the names in a schema as Java does.

    The full name of a type is its own name if that has a dot; else it is the enclosing namespace, a
    dot, and the name. A reference means the type of that name in the enclosing namespace, else in
    the null namespace. Types defined before the reference are searched first (1.11), then those
    defined later (1.12).
    """

    def __init__(self) -> None:
        self.types: dict[str, Json] = {}
        self._expected: set[str] = set()

    def expect(self, schema: Json, space: str) -> None:
        """Collect the names that a schema defines."""
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
        """Return a schema with its named types given by full name; define these in ``types``."""
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
        # Defined before its fields are read, because they may refer to it.
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
    """Return the full name for a name in a namespace."""
    return f"{space}.{name}" if space and "." not in name else name.removeprefix(".")


def _full_name(schema: Json, space: str) -> tuple[str, str]:
    """Return the full name of a type defined in a namespace, and the namespace within the type."""
    given = schema.get("namespace")
    full = _joined(given if isinstance(given, str) else space, _text(schema["name"]))
    return full, full.rpartition(".")[0]


def _parts(schema: Json) -> Iterator[Json]:
    """Yield the types within a type that is an object, as written."""
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
    """Return a definition without aliases, to compare it as Java does (``Schema.equals``)."""
    if isinstance(schema, dict):
        return {name: _shape(part) for name, part in schema.items() if name != "aliases"}
    return [_shape(part) for part in schema] if isinstance(schema, list) else schema


def _used(schema: Json) -> Iterator[str]:
    """Yield the names that a type uses, including primitives."""
    if isinstance(schema, str):
        yield schema
    else:
        for part in schema if isinstance(schema, list) else _parts(schema):
            yield from _used(part)


def _reachable(name: str, types: dict[str, Json]) -> set[str]:
    """Return the named types that a value of this type may contain."""
    found: set[str] = set()
    open_ = [name]
    while open_:
        for used in _used(types[open_.pop()]):
            if used in types and used not in found:
                found.add(used)
                open_.append(used)
    return found


class _Unrolled:
    """Makes the types for fastavro, without names.

    Each named type is made once, and every use refers to that object. A type within itself is made
    once per level, down to `_MOST_NESTED`.
    """

    def __init__(self, types: dict[str, Json], within: dict[str, set[str]]) -> None:
        self._types = types
        self._within = within
        self._made: dict[tuple[str, int], Json] = {}
        self._empty: list[tuple[str, int]] = []

    def fields(self, event: Json) -> list[Json]:
        """Return the fields of fastavro's record: those of the event, or one that wraps it."""
        top = self._type(event, "", 0)
        while self._empty:
            self._fill(*self._empty.pop())
        fields: list[Json] = [{"name": _WRAPPED, "type": top}] if isinstance(top, list) else top.get("fields", [])
        return fields

    def _type(self, schema: Json, inside: str, depth: int) -> Json:
        """Return a type as used in the named type ``inside``, ``depth`` levels within itself."""
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
                # A dict by number, because a list would count a negative index from its end.
                made["symbols"] = dict(enumerate(schema["symbols"]))
            case "fixed":
                made["size"] = schema["size"]
            case _:
                made["fields"] = [
                    {"name": field["name"], "type": self._type(field["type"], name, depth)} for field in schema["fields"]
                ]


def _refuse_unbounded(event: Json, types: dict[str, Json], within: dict[str, set[str]]) -> None:
    """Refuse a schema by which a few bytes make endless work, because parts of a value take none.

    Such parts are `null`, fixed of size 0, and records of nothing else. A part that can be repeated
    (items, values of a map, types within themselves) may have `_MOST_EMPTY` of them per byte. In
    addition an event may have `_MOST_EMPTY_ONCE`.

    The weight of a type is the largest number of such parts in a value, minus the number that its
    bytes allow. A type within itself counts as 0 while it is weighed. If its weight is then not
    above 0, it is so at every depth.
    """
    known: dict[str, int] = {}
    recursive = {name for name in types if name in within[name]}

    def weight(schema: Json) -> int:
        if isinstance(schema, list):
            return max(map(weight, schema), default=0) - _MOST_EMPTY  # the index of the branch takes a byte
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
                f"(null, fixed of size 0), more than {_MOST_EMPTY} per byte, which cannot be read safely"
            )

    for name in types:
        weight(name)
    refuse(weight(event) > _MOST_EMPTY_ONCE)
