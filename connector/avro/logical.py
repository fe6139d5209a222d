"""Logical types: what the bytes and numbers of a decoded value mean by their writer's schema.

fastavro is shown no logical types (`writer_schema` says why). So a decimal and a UUID of 16 bytes
come as bytes, and a time comes in the unit that the writer chose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Context, Decimal
from typing import Any, Final

from connector.avro.writer_schema import RECORDS, Json, WriterSchema, logical_type
from connector.errors import Undecodable

__all__ = ["Conversion", "bytes_conversion", "conversion", "decimal_scale", "is_binary_uuid", "time_units"]

Conversion = Callable[[Any], Any]
"""Converts a decoded value to what it means, and returns it. A record is changed in place."""

_UNITS_PER_MILLISECOND: Final[Mapping[str, int]] = {
    "timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-micros": 1_000,
    "local-timestamp-nanos": 1_000_000,
}
"""How many units of a time make a millisecond. A local timestamp is taken for UTC.

Any other integer is milliseconds, because our own type is timestamp-millis. (Apache Avro 1.12,
specification, "Logical Types".)
"""

_INTEGERS: Final = ("int", "long")

_MAX_DECIMAL_BYTES: Final = 64
"""Length of a decimal of 154 digits. A longer decimal stays bytes, which no field rule accepts: the
time that Python's decimals take grows with the square of their length. Kafka Connect writes an
Oracle NUMBER without a scale with 127 decimals (JDBC source, numeric.mapping=none)."""
_EXACT: Final = Context(prec=160)
_UUID_BYTES: Final = 16


def decimal_scale(branch: Json) -> int | None:
    """Return the scale of a decimal type; None for other types, and for an impossible scale."""
    scale = branch.get("scale", 0) if logical_type(branch) == "decimal" else None
    return scale if isinstance(scale, int) and 0 <= scale <= _EXACT.prec else None


def is_binary_uuid(branch: Json) -> bool:
    """Return whether a type is a UUID of bytes. A UUID of text is a text like any other."""
    return branch["type"] == "fixed" and logical_type(branch) == "uuid"


def _decimals(scale: int) -> Conversion:
    """Return the conversion of bytes to the decimal that they stand for.

    Too many bytes stay as they are. So do no bytes at all, which are no number for Java either.
    """
    unit, read, multiply = Decimal((0, (1,), -scale)), int.from_bytes, _EXACT.multiply
    return lambda value: multiply(read(value, "big", signed=True), unit) if 0 < len(value) <= _MAX_DECIMAL_BYTES else value


def _uuid(value: bytes) -> bytes | str:
    """Return the text of a UUID of bytes, or the bytes themselves if they are not 16."""
    if len(value) != _UUID_BYTES:
        return value
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def conversion(
    writer: WriterSchema, record: Json, names: Collection[str] | None, *, whole_below: bool = True
) -> Conversion | None:
    """Return the conversion of a decoded record, at any depth; None if none is needed.

    ``names`` are the fields of the record that are converted; None for all. The fields within those
    are converted too: all of them with ``whole_below``, otherwise only those with such a name.

    Raises:
        Undecodable: the schema leaves open what a value of such a field means.
    """
    fields = [field for field in record["fields"] if names is None or field["name"] in names]
    return _Conversions(writer, None if whole_below else names).of_fields(fields)


class _Conversions:
    """Makes conversions, one for each type. The conversion of a recursive type calls itself."""

    def __init__(self, writer: WriterSchema, names: Collection[str] | None) -> None:
        self._writer = writer
        self._names = names
        self._by_records: dict[tuple[int, ...], list[Conversion | None]] = {}

    def of_fields(self, fields: list[Json]) -> Conversion | None:
        """Return the conversion of a record with these fields; None if none is needed.

        Two fields of one name belong to two record types that a decoded value does not tell apart.
        """
        types: dict[str, list[Json]] = {}
        for field in fields:
            if self._names is None or field["name"] in self._names:
                types.setdefault(field["name"], []).append(field["type"])
        needed = [(name, convert) for name, of in types.items() if (convert := self._of(of)) is not None]
        return _in_place(needed) if needed else None

    def _of(self, types: list[Json]) -> Conversion | None:
        """Return the conversion of a value of any of these types."""
        branches = [branch for schema in types for branch in self._branches(schema)]
        records = [branch for branch in branches if branch["type"] in RECORDS]
        items = [branch["items"] for branch in branches if branch["type"] == "array"]
        values = [branch["values"] for branch in branches if branch["type"] == "map"]
        of_record = self._of_records(records) if records else None
        of_item = self._of(items) if items else None
        of_value = self._of(values) if values else None
        if (of_value is not None and records) or (of_record is not None and values):
            raise Undecodable("its writer's schema leaves open whether a value is a map or a record")
        of_object = of_record or (_of_each_value(of_value) if of_value is not None else None)
        return _by_kind(of_object, of_item, bytes_conversion(branches), time_units(branches))

    def _branches(self, schema: Json) -> list[Json]:
        if isinstance(schema, list):
            return [each for branch in schema for each in self._branches(branch)]
        return [self._writer.resolved(schema)]

    def _of_records(self, records: list[Json]) -> Conversion | None:
        key = tuple(sorted({id(record) for record in records}))
        if key in self._by_records:
            known = self._by_records[key]
            # An empty list is a type within itself: its conversion is being made.
            return known[0] if known else lambda value: value if (convert := known[0]) is None else convert(value)
        made: list[Conversion | None] = []
        self._by_records[key] = made
        made.append(self.of_fields([field for record in records for field in record["fields"]]))
        return made[0]


def _in_place(needed: list[tuple[str, Conversion]]) -> Conversion:
    def convert(record: Any) -> Any:
        for name, convert_value in needed:
            value = record.get(name)
            if value is not None:
                record[name] = convert_value(value)
        return record

    return convert


def _of_each_value(convert: Conversion) -> Conversion:
    return lambda value: {name: None if part is None else convert(part) for name, part in value.items()}


def _by_kind(
    of_object: Conversion | None, of_item: Conversion | None, of_bytes: Conversion | None, units: int
) -> Conversion | None:
    if of_object is None and of_item is None and of_bytes is None and units == 1:
        return None

    def convert(value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            return value if of_object is None else of_object(value)
        if kind is list:
            return value if of_item is None else [None if item is None else of_item(item) for item in value]
        if kind is bytes:
            return value if of_bytes is None else of_bytes(value)
        return value // units if kind is int else value

    return convert


def time_units(branches: list[Json]) -> int:
    """Return how many units of a time make a millisecond, for a value of any of these types.

    Raises:
        Undecodable: the types have several units.
    """
    units = {_UNITS_PER_MILLISECOND.get(logical_type(branch) or "", 1) for branch in branches if branch["type"] in _INTEGERS}
    if len(units) > 1:
        raise Undecodable("its writer's schema allows several units for a time, and the value does not say which")
    return max(units, default=1)


def bytes_conversion(branches: list[Json]) -> Conversion | None:
    """Return the conversion of bytes of any of these types to a decimal or a UUID.

    Return None if none is needed.

    Raises:
        Undecodable: the types leave open which of them it is.
    """
    scales = {scale for branch in branches if (scale := decimal_scale(branch)) is not None}
    uuids = any(map(is_binary_uuid, branches))
    if not scales and not uuids:
        return None
    plain = any(
        branch["type"] in ("bytes", "fixed") and decimal_scale(branch) is None and not is_binary_uuid(branch)
        for branch in branches
    )
    if len(scales) + uuids + plain > 1:
        raise Undecodable(
            "its writer's schema allows bytes to be a UUID, a decimal or neither, or a decimal to have several scales, and "
            "the value does not say which"
        )
    scale = max(scales, default=None)
    return _uuid if scale is None else _decimals(scale)
