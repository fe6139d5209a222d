"""Decodes records to the inputs of ``schemas/conversion_event.avsc``.

Records are decoded by their writer's schema and mapped by field name (docs/how-it-works.md#shape).
They are not resolved against our schema, which would cost fastavro 60 % more.

An input is taken from the first of these fields of the writer:

1. the field with the name of the input,
2. a field whose name is an alias in our schema,
3. a field whose own aliases include one of these names.

Names are case-sensitive. Record names, namespaces and the order of fields do not matter. Unknown
fields stay in the event, where nothing reads them.

How to convert a decoded event is planned once per writer's schema. A schema with our names needs no
conversion: the dict is passed on as fastavro made it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

from fastavro import schemaless_reader

from connector.avro.framing import Framing, schema_id
from connector.avro.schemas import WriterSchemas, packaged
from connector.avro.writer_schema import RECORDS, Json, WriterSchema, logical_type, parse
from connector.errors import Oversized, Undecodable

__all__ = ["EventDecoder"]

_MAX_PLANS = 512
"""Maximum number of plans kept. A topic has a handful of schemas; the bound is for damaged ids that
happen to exist."""

_UNITS_PER_MILLISECOND = {
    "timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-micros": 1_000,
    "local-timestamp-nanos": 1_000_000,
}
"""Units of timestamps by logical type. Any other integer is milliseconds (Apache Avro 1.12,
specification, Logical Types; ours is timestamp-millis). A local timestamp counts as UTC."""

_INTEGERS = ("int", "long")

_MAX_DECIMAL_BYTES = 16
"""Maximum length of a decimal: 38 digits. Converting takes time by the square of the length, so a
longer one stays bytes, which then break a rule."""
_EXACT = Context(prec=40)
_UUID_BYTES = 16
_HALVES = re.compile("[\ud800-\udfff]")
"""Characters that Python puts in place of bytes that are not UTF-8."""

_UNMETERED_BYTES = 16_384
"""Values up to this size are decoded without counting reads; nearly all values are smaller."""
_MOST_READS = 40_000
"""Maximum reads per value; a part of it (a field, an item, an entry) takes one or two. fastavro has
no bound of its own and makes a dict of a hundred bytes and more from an item of two bytes: a
megabyte of such items takes a second and 100 MB."""


class _Metered(BytesIO):
    """A stream that stops decoding a value of too many parts.

    fastavro reads each number and each text with a call of its own.
    """

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self._left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Oversized("it has more parts than any event that can be sent")
        return super().read(size)


_Convert = Callable[[Any], Any]
"""Converts a decoded value to one of ours and returns it; a record is changed in place."""


class EventDecoder:
    """Decodes records of one topic; a `connector.ports.Decoder`. For one thread."""

    def __init__(self, framing: Framing, schemas: WriterSchemas) -> None:
        self._framing = framing
        self._prefix = framing.value
        self._schemas = schemas
        ours = parse([packaged("conversion_event.avsc")])
        self._inputs = _target(ours, ours.event)
        self._plans: dict[bytes, _Plan | str] = {}

    def decode(self, value: bytes, waited: float = 0.0) -> dict[str, object] | None:
        """Decode by the writer's schema and map to our input names.

        Returns None if the schema is a union and the value is its null. An integer ``timestamp`` is
        converted to whole milliseconds since 1970 UTC, a decimal to a `Decimal`, and a UUID to its
        text. ``waited`` is the number of seconds that the record has waited for its schema.

        Raises:
            Undecodable: the bytes or the schema do not parse, or the schema has no record.
            Oversized: the value has more parts than any event that can be sent.
            UnknownSchema: the registry does not have the schema.
            SchemaUnavailable: the schema cannot be fetched for now.
        """
        plan = self._plans.get(value[: self._prefix])
        if plan is None:
            plan = self._plan_for(value, waited)
        if isinstance(plan, str):
            raise Undecodable(plan)
        try:
            return plan.read(value, self._prefix)
        except UnicodeDecodeError as error:
            # Java accepts such a text too. It does no harm in a field that nothing reads.
            event = plan.read(value, self._prefix, "surrogateescape")
            if event is None or not _is_text(event, self._inputs):
                raise _damaged(error) from None
            return event

    def _plan_for(self, value: bytes, waited: float) -> _Plan | str:
        identity = schema_id(value, self._framing)
        plan: _Plan | str
        try:
            plan = _plan(parse(self._schemas.definitions(identity, waited)), self._inputs)
        except Undecodable as refused:
            plan = str(refused)
        if len(self._plans) >= _MAX_PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[value[: self._prefix]] = plan
        return plan


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to decode values of one writer's schema."""

    schema: Json
    convert: _Convert | None
    """Conversion of the decoded dict; None if it needs none."""

    def read(self, value: bytes, start: int, unreadable: str = "strict") -> dict[str, object] | None:
        """Return the event in a value, whose Avro bytes begin at ``start``.

        Raises:
            UnicodeDecodeError: a text is not UTF-8 and ``unreadable`` is "strict".
            Oversized: the value has more parts than any event that can be sent.
            Undecodable: anything else is wrong.
        """
        stream = BytesIO(value) if len(value) <= _UNMETERED_BYTES else _Metered(value)
        stream.seek(start)
        try:
            event: Any = schemaless_reader(stream, self.schema, None, handle_unicode_errors=unreadable)
        except (UnicodeDecodeError, Oversized):
            raise
        except Exception as error:  # noqa: BLE001 - fastavro raises anything for damaged bytes
            raise _damaged(error) from None
        if stream.tell() != len(value):
            raise Undecodable("bytes are left over after its last field")
        decoded: dict[str, object] | None = event if self.convert is None else self.convert(event)
        return decoded


def _damaged(error: Exception) -> Undecodable:
    """Return the error to raise, without the original's text: it may hold bytes of the event."""
    return Undecodable(f"its bytes do not follow its writer's schema ({type(error).__name__})")


def _is_text(value: Any, target: _Target) -> bool:
    """Return whether every text among our inputs was UTF-8, so that it has no lone surrogate."""
    if isinstance(value, list):
        return all(_is_text(item, target) for item in value)
    if isinstance(value, dict):
        within = target.fields
        return all(
            _is_text(name, target) and _is_text(part, within.get(name, target))
            for name, part in value.items()
            if name in within or not within
        )
    return not isinstance(value, str) or not _HALVES.search(value)


def _plan(writer: WriterSchema, inputs: _Target) -> _Plan:
    convert = _conversion(writer, writer.event, inputs)
    if writer.field is not None:
        convert = _unwrapping(writer.field, convert)
    return _Plan(writer.schema, convert)


def _unwrapping(field: str, convert: _Convert | None) -> _Convert:
    def unwrap(wrapped: Any) -> Any:
        event = wrapped[field]
        if isinstance(event, dict):
            return event if convert is None else convert(event)
        if event is not None:
            raise Undecodable("it is not a record")
        return None

    return unwrap


@dataclass(frozen=True, slots=True)
class _Target:
    """A type of our schema, as far as the mapping needs it."""

    names: dict[str, str]
    """Our field names by themselves and by their aliases; empty if the type is no record."""
    fields: dict[str, _Target]
    is_time: bool


def _target(ours: WriterSchema, schema: Json) -> _Target:
    branches = _branches(ours, schema)
    fields = [field for branch in branches for field in branch.get("fields", ())]
    return _Target(
        names={name: field["name"] for field in fields for name in _names(field)},
        fields={field["name"]: _target(ours, field["type"]) for field in fields},
        is_time=any(logical_type(branch) == "timestamp-millis" for branch in branches),
    )


def _branches(known: WriterSchema, schema: Json) -> list[Json]:
    """Return the types that a value of this type may have; for an array, those of its items."""
    if isinstance(schema, list):
        return [each for branch in schema for each in _branches(known, branch)]
    resolved = known.resolved(schema)
    return _branches(known, resolved["items"]) if resolved["type"] == "array" else [resolved]


def _leaves(known: WriterSchema, branches: list[Json]) -> list[Json]:
    """Return the branches and, for each map among them, the types of its values."""
    maps = [branch for branch in branches if branch["type"] == "map"]
    return branches + [leaf for branch in maps for leaf in _leaves(known, _branches(known, branch["values"]))]


def _names(field: Json) -> list[str]:
    """Return the name of a field, then its aliases."""
    return [field["name"], *field["aliases"]]


def _conversion(writer: WriterSchema, schema: Json, target: _Target) -> _Convert | None:
    """Return the conversion from the writer's type to the target; None if none is needed."""
    branches = _branches(writer, schema)
    if target.fields:
        return _record_conversion(writer, [branch for branch in branches if branch["type"] in RECORDS], target)
    return _time_conversion(branches) if target.is_time else _value_conversion(_leaves(writer, branches))


def _record_conversion(writer: WriterSchema, records: list[Json], target: _Target) -> _Convert | None:
    """Return the conversion of a value that is one of these records; which is not known."""
    moves: dict[tuple[str, str], None] = {}
    types: dict[str, list[Json]] = {}
    for record in records:
        for ours, field in _mapping(record["fields"], target).items():
            types.setdefault(ours, []).append(field["type"])
            if field["name"] != ours:
                moves[field["name"], ours] = None
    conversions = [(ours, _conversion(writer, schema, target.fields[ours])) for ours, schema in types.items()]
    needed = [(ours, convert) for ours, convert in conversions if convert is not None]
    return _in_place(list(moves), needed) if moves or needed else None


def _mapping(fields: list[Json], target: _Target) -> dict[str, Json]:
    """Return the writer's field for each of ours, by the rules above; among equals, the first."""
    candidates = sorted(
        (2 if rank else int(name != ours), position, ours)
        for position, field in enumerate(fields)
        for rank, name in enumerate(_names(field))
        if (ours := target.names.get(name)) is not None
    )
    chosen: dict[str, int] = {}
    for _, position, ours in candidates:
        if ours not in chosen and position not in chosen.values():
            chosen[ours] = position
    return {ours: fields[position] for ours, position in chosen.items()}


def _in_place(moves: list[tuple[str, str]], conversions: list[tuple[str, _Convert]]) -> _Convert:
    def convert_record(value: Any) -> Any:
        if isinstance(value, list):
            for item in value:
                convert_record(item)
        elif isinstance(value, dict):
            for theirs, ours in moves:
                if theirs in value and ours not in value:
                    value[ours] = value.pop(theirs)
            for ours, convert in conversions:
                if ours in value:
                    value[ours] = convert(value[ours])
        return value

    return convert_record


def _time_conversion(branches: list[Json]) -> _Convert | None:
    units = {_UNITS_PER_MILLISECOND.get(logical_type(branch) or "", 1) for branch in branches if branch["type"] in _INTEGERS}
    if len(units) > 1:
        raise Undecodable("its writer's schema allows several units for its timestamp, and the value does not say which")
    unit = max(units, default=1)
    return None if unit == 1 else lambda value: value // unit if type(value) is int else value


def _scale(branch: Json) -> int | None:
    """Return the scale of a decimal; None for other types, and for an invalid scale."""
    scale = branch.get("scale", 0) if logical_type(branch) == "decimal" else None
    return scale if isinstance(scale, int) and 0 <= scale <= _EXACT.prec else None


def _value_conversion(branches: list[Json]) -> _Convert | None:
    """Return the conversion of bytes that are a decimal or a UUID, also in arrays and maps."""
    scales = {scale for branch in branches if (scale := _scale(branch)) is not None}
    uuids = any(branch["type"] == "fixed" and logical_type(branch) == "uuid" for branch in branches)
    if not scales and not uuids:
        return None
    if len(scales) + uuids > 1:
        raise Undecodable(
            "its writer's schema allows bytes to be a UUID or a decimal, or a decimal to have several scales, and the value "
            "does not say which"
        )
    scale = max(scales, default=None)

    def convert_value(value: Any) -> Any:
        if type(value) is bytes:
            return _uuid(value) if scale is None else _decimal(value, scale)
        if type(value) is list:
            return [convert_value(item) for item in value]
        return {name: convert_value(part) for name, part in value.items()} if type(value) is dict else value

    return convert_value


def _decimal(value: bytes, scale: int) -> bytes | Decimal:
    if len(value) > _MAX_DECIMAL_BYTES:
        return value
    return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-scale, _EXACT)


def _uuid(value: bytes) -> bytes | str:
    return str(UUID(bytes=value)) if len(value) == _UUID_BYTES else value
