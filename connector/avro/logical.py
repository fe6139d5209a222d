"""Logical types: what bytes and numbers of a decoded value mean by their writer's schema.

fastavro is shown no logical types (`writer_schema` says why), so a decimal comes as bytes, a UUID
of sixteen bytes too, and a time in the unit that the writer chose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Context, Decimal
from typing import Any, Final

from connector.avro.writer_schema import RECORDS, Json, WriterSchema, logical_type
from connector.errors import Undecodable

__all__ = ["INTEGERS", "UNITS_PER_MILLISECOND", "Mend", "conversion", "decimal", "decimal_scale", "is_binary_uuid", "uuid"]

Mend = Callable[[Any], Any]
"""Makes a decoded value what it means: in place where it is a record, and returned."""

UNITS_PER_MILLISECOND: Final[Mapping[str, int]] = {
    "timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-micros": 1_000,
    "local-timestamp-nanos": 1_000_000,
}
"""Other integers are milliseconds (Apache Avro 1.12, specification, Logical Types; ours is timestamp-millis). A local
timestamp is taken for UTC."""

INTEGERS: Final = ("int", "long")

_MAX_DECIMAL_BYTES: Final = 16
"""38 digits. Python's decimals take time by the square of their length; a longer one stays bytes, which break a rule."""
_EXACT: Final = Context(prec=40)
_UUID_BYTES: Final = 16


def decimal_scale(branch: Json) -> int | None:
    """Return how many decimals a decimal has; None for other types, and for a scale that makes no sense."""
    scale = branch.get("scale", 0) if logical_type(branch) == "decimal" else None
    return scale if isinstance(scale, int) and 0 <= scale <= _EXACT.prec else None


def is_binary_uuid(branch: Json) -> bool:
    """Tell whether a type is a UUID of bytes. One of text is a text."""
    return branch["type"] == "fixed" and logical_type(branch) == "uuid"


def decimal(value: bytes, scale: int) -> bytes | Decimal:
    """Return the decimal that bytes are; the bytes where there are too many."""
    if len(value) > _MAX_DECIMAL_BYTES:
        return value
    return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-scale, _EXACT)


def uuid(value: bytes) -> bytes | str:
    """Return the text of a UUID of bytes."""
    if len(value) != _UUID_BYTES:
        return value
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def conversion(
    writer: WriterSchema, record: Json, names: Collection[str] | None, *, whole_below: bool = True
) -> Mend | None:
    """Return what makes a decoded record what it means, however deep; None where it is that already.

    ``names`` are the fields of the record that matter; None: all do. Those within these fields all matter too, or, without
    ``whole_below``, only those of these names.

    Raises:
        Undecodable: the schema leaves open what a value of such a field means.
    """
    fields = [field for field in record["fields"] if names is None or field["name"] in names]
    return _Conversions(writer, None if whole_below else names).of_fields(fields)


class _Conversions:
    """Conversions by type; one of a recursive type finds itself."""

    def __init__(self, writer: WriterSchema, names: Collection[str] | None) -> None:
        self._writer = writer
        self._names = names
        self._by_records: dict[tuple[int, ...], list[Mend | None]] = {}

    def of_fields(self, fields: list[Json]) -> Mend | None:
        """Return the conversion of a record with these fields; two of one name are of records that nothing tells apart."""
        types: dict[str, list[Json]] = {}
        for field in fields:
            if self._names is None or field["name"] in self._names:
                types.setdefault(field["name"], []).append(field["type"])
        needed = [(name, mend) for name, of in types.items() if (mend := self._of(of)) is not None]
        return _in_place(needed) if needed else None

    def _of(self, types: list[Json]) -> Mend | None:
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
        return _by_kind(of_object, of_item, _of_bytes(branches), _units(branches))

    def _branches(self, schema: Json) -> list[Json]:
        if isinstance(schema, list):
            return [each for branch in schema for each in self._branches(branch)]
        return [self._writer.resolved(schema)]

    def _of_records(self, records: list[Json]) -> Mend | None:
        key = tuple(sorted({id(record) for record in records}))
        if key in self._by_records:
            known = self._by_records[key]
            # None yet: the type is within itself, and its conversion is there once it is made.
            return known[0] if known else lambda value: value if (mend := known[0]) is None else mend(value)
        made: list[Mend | None] = []
        self._by_records[key] = made
        made.append(self.of_fields([field for record in records for field in record["fields"]]))
        return made[0]


def _in_place(needed: list[tuple[str, Mend]]) -> Mend:
    def convert(record: Any) -> Any:
        for name, mend in needed:
            value = record.get(name)
            if value is not None:
                record[name] = mend(value)
        return record

    return convert


def _of_each_value(mend: Mend) -> Mend:
    return lambda value: {name: None if part is None else mend(part) for name, part in value.items()}


def _by_kind(of_object: Mend | None, of_item: Mend | None, of_bytes: Mend | None, units: int) -> Mend | None:
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


def _units(branches: list[Json]) -> int:
    units = {UNITS_PER_MILLISECOND.get(logical_type(branch) or "", 1) for branch in branches if branch["type"] in INTEGERS}
    if len(units) > 1:
        raise Undecodable("its writer's schema leaves open in which of several units a time is")
    return max(units, default=1)


def _of_bytes(branches: list[Json]) -> Mend | None:
    scales = {scale for branch in branches if (scale := decimal_scale(branch)) is not None}
    uuids = any(is_binary_uuid(branch) for branch in branches)
    if not scales and not uuids:
        return None
    if len(scales) + uuids > 1:
        raise Undecodable(
            "its writer's schema leaves open whether bytes are a UUID, or which of several scales a decimal has"
        )
    scale = max(scales, default=None)
    return uuid if scale is None else lambda value: decimal(value, scale)
