"""Decodes the bytes of a record, and maps them to the inputs of ``schemas/conversion_event.avsc``.

A record is decoded by its writer's schema, and mapped by field name (docs/how-it-works.md#shape).
It is never resolved against our schema, because that costs fastavro 60 %. `connector.avro.inputs`
says which field is which input. Unknown fields stay in the event, where nothing reads them.

What a decoded event needs is worked out once for each writer's schema. A schema with our names
needs nothing: the dict is passed on as fastavro made it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

from fastavro import schemaless_reader

from connector.avro.framing import Framing, Located, SchemaId, hint, locator, named, schema_id
from connector.avro.inputs import Target, branches_of, fields_by_input, target_of
from connector.avro.layout import Layout, layout_of, mapped_layout
from connector.avro.logical import Conversion, bytes_conversion, time_units
from connector.avro.registry import NoGuids
from connector.avro.schema_file import packaged
from connector.avro.varint import signed, unpacked
from connector.avro.writer_schema import RECORDS, Json, WriterSchema, parse
from connector.errors import Oversized, Undecodable, UnknownSchema
from connector.mapping.plan import Filtered, Mapper, Plan
from connector.model import Flaw
from connector.ports import Record

__all__ = ["EventDecoder", "WriterSchemas"]

_MAX_PLANS = 512
"""Maximum number of plans kept. A topic has a handful of schemas. The limit is for damaged ids that
happen to exist."""

_HALVES = re.compile("[\ud800-\udfff]")
"""Characters that Python puts in place of bytes that are not UTF-8."""

_UNMETERED_BYTES = 16_384
"""Values up to this size are decoded without counting reads; nearly all values are smaller."""
_MOST_READS = 40_000
"""Maximum reads per value. A part of a value (a field, an item, an entry) takes one or two.

fastavro has no limit of its own, and makes a dict of a hundred bytes or more from an item of two
bytes. A megabyte of such items takes a second and 100 MB.
"""


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


class EventDecoder:
    """A `connector.ports.Decoder` for the records of one topic. For one thread."""

    def __init__(self, framing: Framing, schemas: WriterSchemas, mapper: Mapper | None = None) -> None:
        self._framing = framing
        self._locate = locator(framing)
        self._schemas = schemas
        self._mapper = mapper
        ours = parse([packaged("conversion_event.avsc")])
        self._inputs = target_of(ours, ours.event)
        self._plans: dict[bytes, _Plan | str] = {}

    def decode(self, record: Record, waited: float = 0.0) -> dict[str, object] | Flaw | None:
        """Decode a record that has a value by its writer's schema, and map it to our input names.

        Returns None if the schema is a union and the value is its null, or if the mapping file says
        that the record is no event for Amazon. Returns a flaw if the mapping file finds one.

        An integer ``timestamp`` is converted to whole milliseconds since 1970 UTC, a decimal to a
        `Decimal`, and a UUID to its text. ``waited`` is the number of seconds that the record has
        waited for its schema.

        Raises:
            Undecodable: the bytes or the schema do not parse, or the schema has no record.
            Oversized: the value has more parts than any event that can be sent.
            UnknownSchema: the registry does not have the schema.
            SchemaUnavailable: the schema cannot be fetched for now.
        """
        value = record.value() or b""
        try:
            return self._decoded(record, value, waited)
        except (Undecodable, UnknownSchema) as error:
            if looks := hint(record, value, self._framing):
                raise type(error)(f"{error}{looks}") from None
            raise

    def _decoded(self, record: Record, value: bytes, waited: float) -> dict[str, object] | Flaw | None:
        name, value, start = self._locate(record, value)
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plan_for(name, waited)
        if isinstance(plan, str):
            raise Undecodable(plan)
        try:
            event = plan.read(value, start)
        except UnicodeDecodeError as error:
            # Java accepts such a text too, and it does no harm in a field that nothing reads.
            inputs = plan.inputs(plan.read(value, start, "surrogateescape"), record, value, start)
            if isinstance(inputs, dict) and not _is_text(inputs, self._inputs):
                raise _damaged(error) from None
            return inputs
        return plan.inputs(event, record, value, start)

    def located(self, record: Record, value: bytes) -> Located:
        """Return the id of a record's schema, and where in which bytes its event begins.

        Raises:
            Undecodable: the value does not have the framing.
        """
        return self._locate(record, value)

    def located_alike(self, record: Record, value: bytes) -> tuple[bytes, bytes] | None:
        """Return the id of the schema of all values that begin as this one, and how they begin.

        Their events come after those bytes. Return None if each record must be located by itself.
        Only for records without headers, because then the framing is in the bytes before the event.
        """
        if self.is_compressed(value):
            return None
        try:
            name, found, start = self.located(record, value)
        except Exception:  # noqa: BLE001 - it is met again where each record is looked at
            return None
        return (name, value[:start]) if found is value and len(value) >= start else None

    def is_compressed(self, value: bytes) -> bool:
        """Return whether a value's event is compressed, so that its bytes are not in the value."""
        return self._framing is Framing.GLUE and value[1:2] != b"\x00"

    def is_known(self, name: bytes) -> bool:
        """Return whether a record with this schema was decoded before."""
        return name in self._plans

    def layout(self, name: bytes) -> Layout | None:
        """Return the layout of a known schema; None if the native codec cannot read its values."""
        plan = self._plans.get(name)
        if plan is None or isinstance(plan, str):
            return None
        if not plan.mapped:
            return layout_of(plan.writer, plan.convert, self._inputs)
        mapped = plan.mapped[0]
        if plan.is_union or mapped is None or (mappings := mapped.native_mappings()) is None:
            return None
        return mapped_layout(plan.writer, plan.writer.resolved(plan.writer.event), mappings)

    def count_filtered(self, label: str) -> None:
        """Count a record that the mapping file ignores, and that `decode` has not seen."""
        if self._mapper is not None:
            self._mapper.filtered[label] += 1

    def written_by(self, record: Record) -> tuple[int | str | None, str]:
        """Return the schema id and the record name of a record that `decode` has seen.

        The id is None, or the name empty, if it is not known.
        """
        try:
            name, value, start = self._locate(record, record.value() or b"")
            found = None if self._framing is Framing.PLAIN else schema_id(name, self._framing)
        except Undecodable:
            return None, ""
        identity = (
            found if found is None or isinstance(found, int) else found.hex() if isinstance(found, bytes) else str(found)
        )
        plan = self._plans.get(name)
        if plan is None or isinstance(plan, str):
            return identity, ""
        index = _branch(value, start) if plan.is_union else 0
        return identity, plan.names[index] if 0 <= index < len(plan.names) else ""

    def seen(self, most: int) -> list[tuple[str, str, str]]:
        """Return the newest schemas: id, names of records, and what becomes of the records.

        May be called on any thread.
        """
        newest = list(self._plans.items())[: -most - 1 : -1]
        return [(self._named(name), *_fate_of(plan)) for name, plan in newest]

    def _named(self, name: bytes) -> str:
        return "the schema" if self._framing is Framing.PLAIN else named(schema_id(name, self._framing))

    def _plan_for(self, name: bytes, waited: float) -> _Plan | str:
        identity = schema_id(name, self._framing)
        plan: _Plan | str
        try:
            writer = parse(self._schemas.definitions(identity, waited))
            if self._mapper is None:
                plan = _plan(writer, self._inputs)
            else:
                plan = _mapped_plan(writer, self._inputs, self._mapper, self._named(name))
        except NoGuids:
            raise  # not kept: bytes that only look like a GUID are without number
        except Undecodable as refused:
            plan = str(refused)
        if len(self._plans) >= _MAX_PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[name] = plan
        return plan


def _fate_of(plan: _Plan | str) -> tuple[str, str]:
    """Return the names of a schema's records, and what becomes of them."""
    if isinstance(plan, str):
        return "", f"refused: {plan}"
    labels = [label for each in plan.mapped if each is not None for label in each.labels]
    return ", ".join(filter(None, plan.names)), ", ".join(dict.fromkeys(labels)) or (
        "no mapping" if plan.mapped else "by name"
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to decode values of one writer's schema."""

    writer: WriterSchema
    convert: Conversion | None
    """Turns a decoded dict into the event; None if the dict is the event already."""
    names: tuple[str, ...]
    """The record name of each branch of the writer's union, or of its only type; empty for a type
    that is not a record."""
    is_union: bool
    mapped: tuple[Plan | None, ...] = ()
    """With a mapping file, the plan for each branch of the writer's union, or for its only type."""

    def inputs(self, event: Any, record: Record, value: bytes, start: int) -> dict[str, object] | Flaw | None:
        """Return the inputs of an event that `read` returned for a value."""
        if event is None or not self.mapped:
            found: dict[str, object] | None = event
            return found
        plan = self.mapped[_branch(value, start) if self.is_union else 0]
        inputs = plan.inputs(event, record) if plan is not None else None
        return None if isinstance(inputs, Filtered) else inputs

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
            event: Any = schemaless_reader(stream, self.writer.schema, None, handle_unicode_errors=unreadable)
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


def _is_text(value: Any, target: Target) -> bool:
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


def _plan(writer: WriterSchema, inputs: Target) -> _Plan:
    convert = _conversion(writer, writer.event, inputs)
    if writer.field is not None:
        convert = _unwrapping(writer.field, convert)
    return _Plan(writer, convert, _record_names(writer), isinstance(writer.event, list))


def _record_names(writer: WriterSchema) -> tuple[str, ...]:
    branches = writer.event if isinstance(writer.event, list) else [writer.event]
    return tuple(branch if writer.records(branch) else "" for branch in branches)


def _mapped_plan(writer: WriterSchema, inputs: Target, mapper: Mapper, place: str) -> _Plan:
    """Return the plan for a writer's schema with a mapping file."""
    mapped: list[Plan | None] = []
    for name in _record_names(writer):
        records = writer.records(name) if name else []
        by_name = _record_conversion(writer, records, inputs, converted=True)
        mapped.append(mapper.plan(writer, records[0], name, place, by_name) if records else None)
    unwrap = None if writer.field is None else _unwrapping(writer.field, None)
    return _Plan(writer, unwrap, _record_names(writer), isinstance(writer.event, list), tuple(mapped))


_LONGEST_NUMBER = 10
"""Maximum bytes of a number of 64 bits."""


def _branch(value: bytes, start: int) -> int:
    """Return the index of a value's branch of a union, the number before the value.

    Return -1 if there is none.
    """
    numbers = unpacked(value[start : start + _LONGEST_NUMBER])
    return signed(numbers[0]) if numbers else -1


def _unwrapping(field: str, convert: Conversion | None) -> Conversion:
    def unwrap(wrapped: Any) -> Any:
        event = wrapped[field]
        if isinstance(event, dict):
            return event if convert is None else convert(event)
        if event is not None:
            raise Undecodable("it is not a record")
        return None

    return unwrap


def _leaves(known: WriterSchema, branches: list[Json]) -> list[Json]:
    """Return the branches and, for each map among them, the types of its values."""
    maps = [branch for branch in branches if branch["type"] == "map"]
    return branches + [leaf for branch in maps for leaf in _leaves(known, branches_of(known, branch["values"]))]


def _conversion(writer: WriterSchema, schema: Json, target: Target, converted: bool = False) -> Conversion | None:
    """Return the conversion from the writer's type to the target; None if none is needed.

    ``converted`` says that values of logical types are converted already.
    """
    branches = branches_of(writer, schema)
    if target.fields:
        return _record_conversion(writer, [branch for branch in branches if branch["type"] in RECORDS], target, converted)
    if converted:
        return None
    return _time_conversion(branches) if target.is_time else _value_conversion(_leaves(writer, branches))


def _record_conversion(
    writer: WriterSchema, records: list[Json], target: Target, converted: bool = False
) -> Conversion | None:
    """Return the conversion of a value that is any one of these records; None if none is needed."""
    moves: dict[tuple[str, str], None] = {}
    types: dict[str, list[Json]] = {}
    for record in records:
        for ours, field in fields_by_input(record["fields"], target).items():
            types.setdefault(ours, []).append(field["type"])
            if field["name"] != ours:
                moves[field["name"], ours] = None
    conversions = [(ours, _conversion(writer, schema, target.fields[ours], converted)) for ours, schema in types.items()]
    needed = [(ours, convert) for ours, convert in conversions if convert is not None]
    return _in_place(list(moves), needed) if moves or needed else None


def _in_place(moves: list[tuple[str, str]], conversions: list[tuple[str, Conversion]]) -> Conversion:
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


def _time_conversion(branches: list[Json]) -> Conversion | None:
    unit = time_units(branches)
    return None if unit == 1 else lambda value: value // unit if type(value) is int else value


def _value_conversion(branches: list[Json]) -> Conversion | None:
    """Return the conversion of bytes to a decimal or a UUID, also within arrays and maps."""
    of_bytes = bytes_conversion(branches)
    if of_bytes is None:
        return None

    def convert_value(value: Any) -> Any:
        if type(value) is bytes:
            return of_bytes(value)
        if type(value) is list:
            return [convert_value(item) for item in value]
        return {name: convert_value(part) for name, part in value.items()} if type(value) is dict else value

    return convert_value
