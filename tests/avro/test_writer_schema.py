"""Schemas by which a few bytes could stop the process are refused before a value is read."""

from typing import Any

import pytest

from connector.avro.writer_schema import parse
from connector.errors import Undecodable


def record(*fields: Any, name: str = "Event") -> Any:
    return {"type": "record", "name": name, "fields": [{"name": f"f{n}", "type": type_} for n, type_ in enumerate(fields)]}


@pytest.mark.parametrize(
    "schema",
    [
        record(["null", "Event"]),
        record({"type": "array", "items": "Event"}),
        record({"type": "map", "values": ["null", record("string", ["null", "Event"], name="Inner")]}),
    ],
)
def test_a_recursive_schema_is_refused(schema: Any) -> None:
    with pytest.raises(Undecodable, match="recursive"):
        parse([schema])


@pytest.mark.parametrize(
    "items",
    [
        "null",
        record(name="Empty"),
        record("null", record("null", name="In"), name="Out"),
        {"type": "fixed", "name": "F", "size": 0},
    ],
)
def test_an_array_of_items_without_bytes_is_refused(items: Any) -> None:
    with pytest.raises(Undecodable, match="without bytes"):
        parse([record(["null", {"type": "array", "items": items}])])


def test_a_type_used_twice_is_not_recursive() -> None:
    inner = record("string", name="Inner")
    parsed = parse([record(inner, {"type": "array", "items": "Inner"}, {"type": "map", "values": "Inner"}, "null")])
    assert parsed.types.keys() == {"Event", "Inner"}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        5,
        "string",
        "nonsense",
        [],
        ["null"],
        {},
        {"type": "enum"},
        {"type": "array", "items": record("long")},
        {"type": []},
    ],
)
def test_what_is_no_record_or_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(Undecodable):
        parse([schema])


def test_a_schema_nested_beyond_reason_is_refused() -> None:
    deep: Any = "string"
    for _ in range(5_000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(Undecodable):
        parse([record(deep)])


def test_types_referred_to_are_found_by_full_name() -> None:
    shared = record("string") | {"name": "Key", "namespace": "com.shared"}
    parsed = parse([shared, record({"type": "array", "items": "com.shared.Key"})])
    assert parsed.resolved("com.shared.Key")["fields"][0]["type"] == "string"


def test_a_schema_that_is_only_a_name_is_the_type_of_that_name() -> None:
    parsed = parse([record("string") | {"namespace": "com.shared"}, "com.shared.Event"])
    assert [found["name"] for found in parsed.records(parsed.event)] == ["com.shared.Event"]
