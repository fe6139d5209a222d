from __future__ import annotations

from typing import Any

import pytest

from connector.avro.writer_schema import parse as parse_schema
from connector.mapping.paths import Look, look
from connector.mapping.plan import problems_in
from connector.mapping.syntax import parse
from tests.mapping.support import example, read_file

X = {"type": "record", "name": "X", "fields": [{"name": "x", "type": "int"}]}
ROW = {"type": "record", "name": "Row", "fields": [{"name": "text", "type": "string"}, {"name": "either", "type": X}]}
SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "flag", "type": ["null", "boolean"]},
        {"name": "text", "type": "string"},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "rows", "type": {"type": "array", "items": {"type": "array", "items": ROW}}},
        {
            "name": "either",
            "type": ["null", "X", {"type": "record", "name": "Y", "fields": [{"name": "y", "type": "Row"}]}],
        },
    ],
}


def found(text: str, schema: Any = SCHEMA, *, is_condition: bool = False) -> Look:
    writer = parse_schema([schema])
    return look(parse(text).tree, writer, writer.resolved(writer.event), is_condition=is_condition)


@pytest.mark.parametrize(
    "text",
    [
        "text",
        "tags.anything",
        "tags.*",
        "*",
        "@",
        "either.x",
        "either.y.either.x",
        "rows[0][0].text",
        "rows[][].text",
        "rows[*][*].text",
        "rows[].text",
        "rows[0:2][0].text",
        "rows[?length(@) > `1`]",
        "not_null(nowhere, text)",
        "nowhere || text",
        "text || nowhere",
        "json(text).what.ever",
        "sort_by(rows[], &text)[0].text",
        "max_by(rows[], &text).either.x",
        "map(&text, rows[])",
        "to_array(text)[0]",
        "reverse(rows)[0][0].text",
        "[text, either.x]",
        "{x: text}.x",
        "rows[] | [0].text",
        "rows[?[0].text == 'a'][].text",
    ],
)
def test_paths_that_are_in_a_schema(text: str) -> None:
    assert found(text).missing == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere", "nowhere is not in S"),
        ("text.deeper", "text.deeper is not in S"),
        ("either.z", "either.z is not in S"),
        ("either.y.z", "either.y.z is not in S"),
        ("rows.text", "rows.text is not in S: rows is an array: write rows[].text or rows[0].text"),
        ("rows[].nowhere", "rows[].nowhere is not in S"),
        ("rows[0][0].nowhere", "rows[0][0].nowhere is not in S"),
        ("text[0]", "text is not in S: it is not an array there"),
        (
            "rows[].text[0]",
            "rows[].text is not in S: it is not an array there: [0] applies to each item; write | [0] to take one of all",
        ),
        ("text.*", "text is not in S: it has no fields there"),
        ("text == PAID", "PAID is not in S: a text is written 'PAID'"),
        ("nowhere == 'PAID'", "nowhere is not in S"),
        ("not_null(nowhere, nor_here)", "nowhere is not in S"),
        ("upper(nowhere)", "nowhere is not in S"),
        ("sort_by(rows[], &nowhere)", "rows[][].nowhere is not in S"),
        ("max_by(rows[], &text).nowhere", "nowhere is not in S"),
        ("rows[] | [?nowhere == 'x']", "rows[][].nowhere is not in S"),
        ("rows[][?nowhere == 'x']", "rows[] is not in S: it is not an array there"),
        ("!(nowhere)", "nowhere is not in S"),
        ("[text, nowhere]", "nowhere is not in S"),
        ("tags.a.b", "tags.a.b is not in S"),
    ],
)
def test_paths_that_are_not(text: str, says: str) -> None:
    assert [each.within("S") for each in found(text).missing] == [says]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("flag", []),
        ("text", ["text"]),
        ("!(text) && flag", ["text"]),
        ("text == 'a' || either.x", ["either.x"]),
        ("rows", ["rows"]),
        ("json(text).flag", []),
        ("tags.a", ["tags.a"]),
    ],
)
def test_what_stands_where_a_condition_must_is_a_boolean(text: str, paths: list[str]) -> None:
    assert found(text, is_condition=True).no_conditions == paths


def test_every_path_of_the_examples_is_in_their_schemas() -> None:
    for name in ("order", "envelope", "till", "charge", "cloudevent"):
        text, schema = example(name)
        writer = parse_schema([schema])
        assert problems_in(read_file(text), writer, writer.resolved(writer.event), writer.event, name) == []
