"""Writer's schemas: resolved as in Java, and none can stop the process with a few bytes."""

import threading
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader

from connector.avro.writer_schema import parse
from connector.errors import Undecodable


def record(*fields: Any, name: str = "Event") -> Any:
    return {"type": "record", "name": name, "fields": [{"name": f"f{n}", "type": type_} for n, type_ in enumerate(fields)]}


def value_of(value: bytes, *definitions: Any) -> Any:
    return schemaless_reader(BytesIO(value), parse(definitions).schema, None)


NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "label", "type": "string"}, {"name": "next", "type": ["null", "Node"]}],
}
"""A list: each value within one is two bytes and its label, and the last ends with a null."""


@pytest.mark.parametrize("depth", [0, 1, 5, 60])
def test_a_value_of_a_recursive_type_is_read(depth: int) -> None:
    value = value_of(b"\x0e" + b"\x02a\x02" * depth + b"\x02z\x00" + b"\x10", record("int", NODE, "int"))
    node = value["f1"]
    for _ in range(depth):
        assert node["label"] == "a"
        node = node["next"]
    assert (value["f0"], node, value["f2"]) == (7, {"label": "z", "next": None}, 8)


@pytest.mark.parametrize("depth", [200, 5_000, 1_000_000])
def test_a_value_that_is_nested_beyond_reason_fails_and_the_process_goes_on(depth: int) -> None:
    failed: list[Exception] = []

    def read() -> None:
        try:
            value_of(b"\x0e" + b"\x02a\x02" * depth + b"\x02z\x00" + b"\x10", record("int", NODE, "int"))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=read)  # the consumer's is one, with a stack of its own
    thread.start()
    thread.join()
    assert [type(error) for error in failed] == [KeyError]


TREE = {
    "type": "record",
    "name": "Struct",
    "fields": [
        {
            "name": "fields",
            "type": {
                "type": "map",
                "values": {
                    "type": "record",
                    "name": "Value",
                    "fields": [
                        {"name": "kind", "type": ["double", "string", {"type": "array", "items": "Value"}, "Struct"]}
                    ],
                },
            },
        }
    ],
}
"""Protocol Buffers' ``Struct``, as converters write it: two types within each other."""


def test_types_within_each_other_are_read() -> None:
    inner = b"\x02\x02k\x02\x02v\x00"
    tree = b"\x02\x02l\x04\x04\x02\x02a\x06" + inner + b"\x00\x00"
    assert value_of(tree, record(TREE)) == {
        "f0": {"fields": {"l": {"kind": [{"kind": "a"}, {"kind": {"fields": {"k": {"kind": "v"}}}}]}}}
    }


def test_a_record_that_holds_itself_has_no_value() -> None:
    with pytest.raises(Undecodable):
        value_of(b"\x00" * 1000, record({"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}))


def test_a_type_used_in_many_places_costs_once() -> None:
    doubled: Any = "string"
    for level in range(60):
        doubled = record(doubled, f"T{level - 1}" if level else "string", name=f"T{level}")
    assert len(parse([doubled]).types) == 60


def named(name: str, **attributes: Any) -> Any:
    return {"type": "fixed", "name": name, "size": 1, **attributes}


@pytest.mark.parametrize(
    ("definitions", "value"),
    [
        ([named("row"), record("row") | {"namespace": "shop"}], {"f0": b"a"}),
        ([record(named("row", namespace=""), "row") | {"namespace": "shop"}], {"f0": b"a", "f1": b"b"}),
        ([record(named(".row"), "row", ".row") | {"namespace": "shop"}], {"f0": b"a", "f1": b"b", "f2": b"c"}),
        (
            [named("row"), record(named("row"), "row", "shop.row") | {"namespace": "shop"}],
            {"f0": b"a", "f1": b"b", "f2": b"c"},
        ),
        ([record(named("row", namespace=None), "shop.row") | {"namespace": "shop"}], {"f0": b"a", "f1": b"b"}),
        ([record(named("row", namespace="x.y"), "x.y.row") | {"name": "shop.Event"}], {"f0": b"a", "f1": b"b"}),
        (
            [record({"type": record(named("row"), {"type": "row"}, name="a.In")}, "a.row")],
            {"f0": {"f0": b"a", "f1": b"b"}, "f1": b"c"},
        ),
        ([record("later", named("later"))], {"f0": b"a", "f1": b"b"}),
        (
            [record("other.later"), record(named("later", namespace="other"), "Event", name="Own")],
            {"f0": b"a", "f1": {"f0": b"b"}},
        ),
        ([record(named("Twice"), named("Twice", aliases=["Once"], doc=5))], {"f0": b"a", "f1": b"b"}),
        ([record(named("2nd-type.3rd name"), "2nd-type.3rd name")], {"f0": b"a", "f1": b"b"}),
        ([record(named("record"), "record", named("array"), "array")], {"f0": b"a", "f1": b"b", "f2": b"c", "f3": b"d"}),
        ([record(named("a.string"), "a.string") | {"name": "a.Event"}], {"f0": b"a", "f1": b"b"}),
    ],
)
def test_names_are_resolved_as_java_resolves_them(definitions: list[Any], value: Any) -> None:
    assert value_of(b"abcd"[: str(value).count("b'")], *definitions) == value


@pytest.mark.parametrize(
    ("type_", "body", "value"),
    [
        (
            {"type": "enum", "name": "E", "symbols": ["ÜBERWEISUNG", "SEPA-Lastschrift", "", "1st"]},
            b"\x02",
            "SEPA-Lastschrift",
        ),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"], "default": "C"}, b"\x00", "A"),
        ({"type": {"type": "string"}}, b"\x02a", "a"),
        ({"type": ["null", "string"]}, b"\x02\x02a", "a"),
        (["null"], b"\x00", None),
        (record(name="Empty"), b"", {}),
        ({"type": "error", "name": "Oops", "fields": []}, b"", {}),
        ({"type": "array", "items": "int", "name": "items", "fields": 5, "symbols": None}, b"\x02\x08\x00", [4]),
        ({"type": "string", "avro.java.string": "String", "size": 4, "namespace": 7, "doc": ["x"]}, b"\x02a", "a"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 5}, b"\x02\x07", b"\x07"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 0}, b"\x02\x07", b"\x07"),
        ({"type": "bytes", "logicalType": "decimal", "precision": "four", "scale": -1}, b"\x02\x07", b"\x07"),
        ({"type": "bytes", "logicalType": "big-decimal"}, b"\x02\x07", b"\x07"),
        ({"type": "fixed", "name": "D", "size": 2, "logicalType": "duration"}, b"ab", b"ab"),
        ({"type": "fixed", "name": "D", "size": 1, "logicalType": "decimal", "precision": 99}, b"a", b"a"),
        ({"type": "long", "logicalType": "timestamp-nanos"}, b"\x08", 4),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, b"\x08", 4),
        ({"type": "string", "logicalType": {"name": "uuid"}}, b"\x02a", "a"),
    ],
)
def test_what_java_takes_is_read(type_: Any, body: bytes, value: Any) -> None:
    schema = record("int", type_, "int")
    schema["fields"][1] |= {
        "default": {"of": "no type"},
        "doc": 5,
        "order": "backwards",
        "name": "user-id",
        "aliases": "none",
    }
    assert value_of(b"\x02" + body + b"\x04", schema) == {"f0": 1, "user-id": value, "f2": 2}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\x01\x00", "an enum's index below zero"),
        (b"\x04\x00", "an enum's index above its symbols"),
        (b"\x00\x01", "a union's index below zero"),
        (b"\x00\x7f", "a union's index far below zero"),
        (b"\x00\x04\x08", "a union's index above its branches"),
        (b"\x00\x7e\x08", "a union's index far above its branches"),
        (b"\x00\xfe\x7f\x08", "a union's index beyond all"),
    ],
)
def test_an_index_that_java_refuses_is_none(body: bytes, what: str) -> None:
    with pytest.raises((KeyError, IndexError)):
        value_of(body, record({"type": "enum", "name": "E", "symbols": ["A", "B"]}, ["null", "long"]))


@pytest.mark.parametrize(
    "schema",
    [
        record("Nowhere"),
        record({"type": "Nowhere"}),
        record(named("T"), named("T", size=2)),
        record(record(record(name="Event"), name="In")),
        record(named("T", size=-1)),
        record(named("T", size="1")),
        record(named("T", size=True)),
        record({"type": "record", "name": "NoFields"}),
        record({"type": "enum", "name": "NoSymbols"}),
        record({"type": "record", "name": "int", "fields": []}),
        record({"type": "fixed", "size": 1}),
        record({"type": "fixed", "size": 1, "name": 5}),
        record({"type": "array"}),
        record({"type": "map", "values": None}),
    ],
)
def test_what_java_refuses_does_not_parse(schema: Any) -> None:
    with pytest.raises(Undecodable, match="its writer's schema does not parse"):
        parse([schema])


@pytest.mark.parametrize(
    "items",
    [
        "null",
        record(name="Empty"),
        record("null", record("null", name="In"), name="Out"),
        {"type": "fixed", "name": "F", "size": 0},
        record("int", *["null"] * 8, name="Heavy"),
        record("int", *[record(name="Empty")], *["Empty"] * 7, name="Heavy"),
        record("int", {"type": "array", "items": "string"}, *["null"] * 16, name="Heavy"),
        ["int", record(*["null"] * 8, name="Heavy")],
        {"type": "array", "items": record("boolean", *["null"] * 8, name="Heavy")},
        {"type": "map", "values": record(*["null"] * 8, name="Heavy")},
    ],
)
def test_items_of_parts_without_bytes_are_refused(items: Any) -> None:
    for repeated in ({"type": "array", "items": items}, {"type": "map", "values": {"type": "array", "items": items}}):
        with pytest.raises(Undecodable, match="parts without bytes"):
            parse([record(["null", repeated])])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": record("int", *["null"] * 7, name="Light")},
        {"type": "array", "items": record(*["string", "null", "null"] * 200, name="Light")},
        {"type": "array", "items": ["null", "string", record(*["null"] * 7, name="Light")]},
        {"type": "array", "items": {"type": "map", "values": "null"}},
        {"type": "map", "values": record(*["null"] * 7, name="Light")},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 1}},
        record(*["null"] * 9_000, name="Once"),
        record(["null", "Node"], {"type": "array", "items": "Node"}, *["null"] * 8, name="Node"),
    ],
)
def test_a_few_parts_without_bytes_are_read(schema: Any) -> None:
    assert parse([record(schema)]).types


@pytest.mark.parametrize(
    "schema",
    [
        record(["null", "Node"], ["null", "Node"], *["null"] * 40, name="Node"),
        record({"type": "array", "items": "Node"}, *["null"] * 9, name="Node"),
        record({"type": "map", "values": record("Node", name="Between")}, *["null"] * 30, name="Node"),
    ],
)
def test_a_type_within_itself_that_has_many_parts_without_bytes_is_refused(schema: Any) -> None:
    with pytest.raises(Undecodable, match="parts without bytes"):
        parse([record(schema)])


def test_records_of_records_that_multiply_without_a_byte_are_refused() -> None:
    schema: Any = record("null", "null", name="R0")
    for depth in range(1, 41):
        schema = record(schema, f"R{depth - 1}", name=f"R{depth}")
    with pytest.raises(Undecodable, match="parts without bytes"):
        parse([schema])


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
    assert parsed.records(parsed.event) == [parsed.types["com.shared.Event"]]
