"""Describes the values of one writer's schema to the native codec.

A layout says which part of an event each field of a record is. It exists only for a schema that the
codec can read field by field; `connector.avro.decoding` reads the values of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader

from connector.avro.inputs import Target, branches_of, fields_by_input
from connector.avro.logical import Conversion, decimal_scale, is_binary_uuid, time_units
from connector.avro.writer_schema import RECORDS, Json, WriterSchema
from connector.mapping.native_terms import NativeInputs, NativeMappings
from connector.model import REQUIRED_INPUTS

__all__ = ["PARTS", "Layout", "Part", "Remembered", "layout_of", "mapped_layout"]


class Part:
    """Numbers of the parts of an event, as ``native/src/codec.rs`` knows them."""

    NAME, EVENT_TYPE, SOURCE, COUNTRY, CURRENCY, OPTIONS = range(1, 7)
    ID, TIME, MATCH_KEYS, VALUE, UNITS, CONSENT, ATTRIBUTES, CUSTOM_DATA = range(7, 15)
    USER_AGENT, TOKENS, AD_EVENT_KEY, PARTNER, ABSENT = range(15, 20)


class Remembered:
    """Numbers of two more texts that the codec remembers: types of match keys and custom data."""

    KEY_TYPE, DATA_TYPE = Part.OPTIONS + 1, Part.OPTIONS + 2


PARTS: Final[Mapping[str, int]] = {
    "name": Part.NAME,
    "eventType": Part.EVENT_TYPE,
    "eventActionSource": Part.SOURCE,
    "countryCode": Part.COUNTRY,
    "currencyCode": Part.CURRENCY,
    "dataProcessingOptions": Part.OPTIONS,
    "clientDedupeId": Part.ID,
    "timestamp": Part.TIME,
    "matchKeys": Part.MATCH_KEYS,
    "value": Part.VALUE,
    "unitsSold": Part.UNITS,
    "consent": Part.CONSENT,
    "customAttributes": Part.ATTRIBUTES,
    "customData": Part.CUSTOM_DATA,
    "userAgent": Part.USER_AGENT,
    "arefMeasurementTokens": Part.TOKENS,
    "amazonAdEventKey": Part.AD_EVENT_KEY,
    "partner": Part.PARTNER,
}
"""The parts by the names of their inputs. A record with any other input is left to Python."""

_WITHIN: Final[Mapping[str, Mapping[str, int]]] = {
    "matchKeys": {"type": 1, "value": 2},
    "customData": {"name": 1, "value": 2, "dataType": 3},
    "consent": {"ipAddress": 1, "amznAdStorage": 2, "amznUserData": 3, "tcf": 4, "gpp": 5},
}
_READ_BESIDES: Final[Mapping[str, Collection[str]]] = {"matchKeys": {"values"}, "consent": {"geo", "amazonConsent"}}
"""Fields that the field rules read although our schema does not have them."""
_REQUIRED: Final = {*REQUIRED_INPUTS, "matchKeys"}
"""Inputs without which every record is a dead letter."""

_MOST_TYPES: Final = 2_000
"""Maximum types in a schema, each counted where it is used. A usual schema has some dozens."""
_DEEPEST: Final = 20
"""Maximum depth of types within types."""

Node = tuple[Any, ...]
"""A type as the codec takes it: its name, then its inner types, its size or its symbols."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of the values of a schema."""

    fields: Sequence[tuple[int, Node]]
    """The part of the event that each field is, and the field's type."""
    units_per_millisecond: int
    remembered: Mapping[int, Callable[[bytes], object]]
    """For each part whose texts the codec remembers, a function that reads the bytes of that field
    alone and returns its input. It raises what fastavro raises."""
    routes: Sequence[MappedRoute] | None = None
    """The mappings of a mapping file; None without one. With mappings, no field is a part by
    itself."""
    asks: Sequence[Callable[[Any, Any], Any]] = ()
    """Calls by which the mappings read the Kafka record. The record is the second argument."""
    filtered: str | None = None
    """Label under which a record that no mapping takes is ignored; None if Python decides about
    it."""


MappedRoute = tuple[Node | None, Mapping[str, Any] | None]
"""A mapping's condition and its inputs, by the numbers of their parts (``native/src/mapping.rs``).
Without inputs its records are left to Python."""


class _NoLayout(Exception):
    """The schema is not one that the codec can read."""


def layout_of(writer: WriterSchema, convert: Conversion | None, inputs: Target) -> Layout | None:
    """Return the layout of a writer's schema; None if the codec cannot read it.

    ``convert`` makes inputs of a decoded event.
    """
    if isinstance(writer.event, list):
        return None
    try:
        return _layout(writer, writer.resolved(writer.event), convert, inputs)
    except _NoLayout:
        return None


def _layout(writer: WriterSchema, record: Json, convert: Conversion | None, inputs: Target) -> Layout:
    given = fields_by_input(record["fields"], inputs)
    if not given.keys() >= _REQUIRED or _has_twice(record):
        raise _NoLayout
    input_of = {id(field): name for name, field in given.items()}
    types = _Types(writer)
    fields: list[tuple[int, Node]] = []
    remembered: dict[int, Callable[[bytes], object]] = {}
    for field, used in zip(record["fields"], writer.schema["fields"], strict=True):
        name = input_of.get(id(field))
        part = 0 if name is None else PARTS.get(name, Part.ABSENT)
        parts = _parts_within(writer, name, field["type"], inputs)
        fields.append((part, types.node(field["type"], parts)))
        if name is not None and 0 < part <= Part.OPTIONS:
            remembered[part] = _reader(used, name, convert)
        if name == "matchKeys":
            remembered[Remembered.KEY_TYPE] = _reader_within(writer, field["type"], used, "type")
        if name == "customData":
            remembered[Remembered.DATA_TYPE] = _reader_within(writer, field["type"], used, "dataType")
    units = time_units(branches_of(writer, given["timestamp"]["type"]))
    return Layout(fields, units, remembered)


def mapped_layout(writer: WriterSchema, record: Json, mappings: NativeMappings) -> Layout | None:
    """Return the layout of a writer's schema with a mapping file.

    None if the codec cannot read it.
    """
    types = _Types(writer, with_meaning=True)
    try:
        fields = [(0, types.node(field["type"], {})) for field in record["fields"]]
    except _NoLayout:
        return None
    routes = [(when, None if inputs is None else _numbered(inputs)) for when, inputs in mappings.routes]
    remembered = dict.fromkeys(range(1, Remembered.DATA_TYPE + 1), bytes.decode)
    return Layout(fields, 1, remembered, routes, mappings.asks, mappings.filtered)


def _numbered(inputs: NativeInputs) -> Mapping[str, Any]:
    consent = _WITHIN["consent"]
    return {
        "parts": [(PARTS.get(name, Part.ABSENT), term) for name, term in inputs.parts],
        "match_keys": inputs.match_keys,
        "consent": [(consent[name], term) for name, term in inputs.consent],
        "attributes": inputs.attributes,
        "custom_data": inputs.custom_data,
    }


def _has_twice(record: Json) -> bool:
    names = [field["name"] for field in record["fields"]]
    return len(set(names)) < len(names)


def _records(writer: WriterSchema, schema: Json) -> list[Json]:
    return [branch for branch in branches_of(writer, schema) if branch["type"] in RECORDS]


def _parts_within(writer: WriterSchema, name: str | None, schema: Json, inputs: Target) -> Mapping[int, int]:
    """Return the parts of the record within an input, by the identity of its fields."""
    if name is None or name not in _WITHIN:
        return {}
    records = _records(writer, schema)
    if len(records) > 1 or any(map(_has_twice, records)):
        raise _NoLayout
    fields = records[0]["fields"] if records else []
    if any(field["name"] in _READ_BESIDES.get(name, ()) for field in fields):
        raise _NoLayout
    given = fields_by_input(fields, inputs.fields[name])
    return {id(field): _WITHIN[name][ours] for ours, field in given.items()}


class _Types:
    """Describes types to the codec. It has no names for types, so recursive ones are refused."""

    def __init__(self, writer: WriterSchema, *, with_meaning: bool = False) -> None:
        self._writer = writer
        self._with_meaning = with_meaning
        self._left = _MOST_TYPES

    def node(self, schema: Json, parts: Mapping[int, int], depth: int = 0) -> Node:
        """Return the node of a type; ``parts`` has the parts of an event by their fields' ids."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise _NoLayout

        def within(other: Json) -> Node:
            return self.node(other, parts, depth + 1)

        if isinstance(schema, list):
            bytes_like = [branch for branch in schema if self._writer.resolved(branch)["type"] in ("bytes", "fixed")]
            if self._with_meaning and len(bytes_like) > 1:
                raise _NoLayout  # `logical` reads bytes of any of them alike
            return "union", [within(branch) for branch in schema]
        resolved = self._writer.resolved(schema)
        match resolved["type"]:
            case "array":
                return "array", within(resolved["items"])
            case "map":
                return "map", within(resolved["values"])
            case kind if kind in RECORDS:
                return "record", [(parts.get(id(field), 0), within(field["type"])) for field in resolved["fields"]]
            case _:
                return _meaning(resolved) if self._with_meaning else _leaf(resolved)


def _leaf(resolved: Json) -> Node:
    match resolved["type"]:
        case "enum":
            return "enum", len(resolved["symbols"])
        case "fixed":
            return "fixed", resolved["size"]
        case kind:
            return (kind,)


_UUID_BYTES: Final = 16
_MOST_DECIMALS: Final = 38
"""As many as native code counts in 128 bits."""


def _meaning(resolved: Json) -> Node:
    """Return the node of a type and of its logical type, as `logical` converts its values."""
    match resolved["type"]:
        case "enum":
            return "symbols", list(resolved["symbols"])
        case "int" | "long" if (units := time_units([resolved])) > 1:
            return "time", units, _leaf(resolved)
        case "bytes" | "fixed" if (scale := decimal_scale(resolved)) is not None:
            if scale > _MOST_DECIMALS:
                raise _NoLayout
            return "decimal", scale, _leaf(resolved)
        case "fixed" if is_binary_uuid(resolved) and resolved["size"] == _UUID_BYTES:
            return ("uuid",)
    return _leaf(resolved)


def _reader(used: Json, name: str, convert: Conversion | None) -> Callable[[bytes], object]:
    """Return a function that reads the bytes of one field and returns its input.

    ``used`` is the field as fastavro takes it.
    """
    schema: Json = parse_schema({"type": "record", "name": "alone", "fields": []})
    schema["fields"] = [used]

    def read(value: bytes) -> object:
        event: Any = schemaless_reader(BytesIO(value), schema, None)
        return (event if convert is None else convert(event)).get(name)

    return read


def _reader_within(writer: WriterSchema, schema: Json, used: Json, name: str) -> Callable[[bytes], object]:
    """Return a function that reads one field of the records in an array.

    It raises if they have no such field.
    """
    branches: Sequence[Json] = used["type"] if isinstance(used["type"], list) else [used["type"]]
    items = [each["items"] for each in branches if isinstance(each, dict) and each["type"] == "array"]
    records = [each for each in items if isinstance(each, dict) and each["type"] in RECORDS]
    names = [field["name"] for each in _records(writer, schema) for field in each["fields"]]
    if len(records) != 1 or name not in names:
        return _unreadable
    return _reader(records[0]["fields"][names.index(name)], name, None)


def _unreadable(_value: bytes) -> object:
    raise LookupError
