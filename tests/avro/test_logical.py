from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from connector.avro.logical import conversion
from connector.avro.writer_schema import parse
from connector.errors import Undecodable

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
UUID = {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}


def record(name: str = "R", **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": name, "type": of} for name, of in fields.items()]}


def converted(schema: Any, event: Any, names: set[str] | None = None, *, whole_below: bool = True) -> Any:
    writer = parse([schema])
    convert = conversion(writer, writer.resolved(writer.event), names, whole_below=whole_below)
    event = copy.deepcopy(event)
    return event if convert is None else convert(event)


def test_leaves_are_converted_however_deep() -> None:
    inner = record("Inner", price=["null", DECIMAL], at=MICROS)
    schema = record(
        id=UUID, one=["null", inner], many={"type": "array", "items": "Inner"}, by_name={"type": "map", "values": DECIMAL}
    )
    event = {
        "id": bytes(16),
        "one": {"price": b"\x01\x00", "at": 5_999},
        "many": [{"price": None, "at": 1_000}, {"price": b"\xff", "at": -1}],
        "by_name": {"a": b"\x05"},
    }
    assert converted(schema, event) == {
        "id": "00000000-0000-0000-0000-000000000000",
        "one": {"price": Decimal("2.56"), "at": 5},
        "many": [{"price": None, "at": 1}, {"price": Decimal("-0.01"), "at": -1}],
        "by_name": {"a": Decimal("0.05")},
    }


@pytest.mark.parametrize("of", [DECIMAL, DECIMAL | {"type": "fixed", "name": "F", "size": 0}])
def test_a_decimal_without_bytes_is_no_number(of: Any) -> None:
    """Java fails for it, too. As 0.00 it would be a purchase of nothing."""
    assert converted(record(price=of), {"price": b""}) == {"price": b""}


def test_a_type_within_itself_is_converted_all_the_way_down() -> None:
    schema = record(price=DECIMAL, next=["null", "R"])
    event = {"price": b"\x01", "next": {"price": b"\x02", "next": {"price": b"\x03", "next": None}}}
    found = converted(schema, event)
    assert found["next"]["next"]["price"] == Decimal("0.03")


def test_only_what_is_asked_for_is_converted() -> None:
    schema = record(a=DECIMAL, b=DECIMAL, c=record("Inner", a=DECIMAL, b=DECIMAL))
    event = {"a": b"\x01", "b": b"\x01", "c": {"a": b"\x01", "b": b"\x01"}}
    cent = Decimal("0.01")
    assert converted(schema, event, {"a", "c"}) == {"a": cent, "b": b"\x01", "c": {"a": cent, "b": cent}}
    assert converted(schema, event, {"a", "c"}, whole_below=False) == {
        "a": cent,
        "b": b"\x01",
        "c": {"a": cent, "b": b"\x01"},
    }


def test_a_schema_without_such_leaves_needs_nothing() -> None:
    writer = parse(
        [record(a="bytes", b={"type": "long", "logicalType": "timestamp-millis"}, c={"type": "array", "items": "R"})]
    )
    convert = conversion(writer, writer.resolved(writer.event), {"a", "b"})
    assert convert is None


@pytest.mark.parametrize(
    "of",
    [
        [MICROS, {"type": "int", "logicalType": "date"}],
        [DECIMAL, UUID],
        [DECIMAL, {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 5, "scale": 3}],
        [record("Inner", a=DECIMAL), {"type": "map", "values": "string"}],
        [record("Inner", a="string"), {"type": "map", "values": DECIMAL}],
    ],
)
def test_what_a_schema_leaves_open_is_not_guessed(of: Any) -> None:
    with pytest.raises(Undecodable):
        converted(record(a=of), {})
    assert converted(record(a=of, b="int"), {"b": 1}, {"b"}) == {"b": 1}
