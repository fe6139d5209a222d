"""What never works, by the schema: arguments, comparisons and results of a wrong type."""

from __future__ import annotations

from typing import Any

import pytest

from connector.avro.writer_schema import parse
from connector.cli.findings import State, schema_findings
from connector.mapping.file import MappingFile
from connector.mapping.plan import problems_in
from tests.mapping.support import read_file

ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "number", "type": "long"},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["PLACED", "PAID"]}},
        {"name": "test", "type": ["null", "boolean"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "seconds", "type": "long"},
        {"name": "iso", "type": "string"},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "clock", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "wall", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "rate", "type": "double"},
        {"name": "id", "type": {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}},
        {"name": "hash", "type": "bytes"},
        {"name": "email", "type": ["null", "string"]},
        {"name": "either", "type": ["string", "long"]},
        {"name": "items", "type": {"type": "array", "items": ITEM}},
        {"name": "emails", "type": {"type": "array", "items": "string"}},
        {"name": "properties", "type": {"type": "map", "values": "string"}},
    ],
}

FITTING = {
    "when": "status == 'PAID' && !(test)",
    "clientDedupeId": "to_string(number)",
    "timestamp": "at",
    "value": "amount",
    "EMAIL": "email",
    "amznUserData": "granted(test)",
    "brand": "items[0].sku",
}


def file(**changes: str) -> MappingFile:
    """Return a mapping file in which some expressions are changed."""
    given = {name: f"'''{text}'''" for name, text in (FITTING | changes).items()}
    return read_file(f"""
version = 1
[[mapping]]
when = {given["when"]}
[mapping.constants]
name = "Order"
eventType = "OFF_AMAZON_PURCHASES"
eventActionSource = "WEBSITE"
countryCode = "DE"
[mapping.fields]
clientDedupeId = {given["clientDedupeId"]}
timestamp = {given["timestamp"]}
value = {given["value"]}
[mapping.matchKeys]
EMAIL = {given["EMAIL"]}
[mapping.consent]
amznUserData = {given["amznUserData"]}
[mapping.customAttributes]
brand = {given["brand"]}
[tables.none]
""")


def found(**changes: str) -> list[tuple[bool, str]]:
    writer = parse([SCHEMA])
    problems = problems_in(file(**changes), writer, writer.resolved(writer.event), "Order", "S")
    return [(each.must, each.text.replace("in S (Order), ", "")) for each in problems]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("when", "either == 'x'"),
        ("when", "either == `1`"),
        ("when", "amount > rate"),
        ("when", "test == `null` || test == `false`"),
        ("when", "properties.kind == 'x'"),
        ("when", "to_string(test) == 'false'"),
        ("when", "json(iso).kind == `1`"),
        ("clientDedupeId", "id"),
        ("clientDedupeId", "join('-', ['pos', to_string(number)])"),
        ("clientDedupeId", "header('id') || iso"),
        ("timestamp", "time(seconds, 's')"),
        ("timestamp", "time(at, 'ms')"),
        ("timestamp", "time(day, 'd')"),
        ("timestamp", "time(iso)"),
        ("timestamp", "multiply(seconds, `1000`)"),
        ("value", "rate"),
        ("value", "either"),
        ("value", "divide(number, `100`)"),
        ("value", "sum(items[].quantity)"),
        ("value", "max_by(items, &quantity).quantity"),
        ("value", "items[?length(tags) > `0`].quantity | [0]"),
        ("value", "lookup('none', iso)"),
        ("EMAIL", "emails"),
        ("EMAIL", "hex(hash)"),
        ("EMAIL", "not_null(email, iso)"),
        ("EMAIL", "sort(emails)[0]"),
        ("EMAIL", "split(iso, ';')"),
        ("amznUserData", "test"),
        ("amznUserData", "granted(number)"),
        ("brand", "number"),
    ],
)
def test_what_may_work_is_no_problem(name: str, text: str) -> None:
    assert found(**{name: text}) == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("when", "test == 'false'", "mapping[0].when: test is a boolean, which never equals a text, 'false'"),
        ("when", "status != `1`", "mapping[0].when: status is a text, which never equals a number, `1`"),
        ("when", "number == email", "mapping[0].when: number is a number, which never equals a text, email"),
        ("when", "amount > '0'", "mapping[0].when: amount is a number, which never has an order with a text, '0'"),
        ("value", "items[?sku == `1`].quantity | [0]", "value: items[].sku is a text, which never equals a number, `1`"),
        ("value", "divide(iso, `100`)", "value: iso is a text, which divide() does not take: write number(iso)"),
        ("value", "divide(amount, '100')", "value: '100' is a text, which divide() does not take: write number('100')"),
        ("value", "sum(items[].sku)", "value: items[].sku has a text in it, which sum() does not take"),
        ("value", "iso", "value: iso is a text, where a number is needed: write number(iso)"),
        ("value", "upper(iso)", "value: the result is a text, where a number is needed: write number(…)"),
        ("value", "items[].quantity", "value: items[].quantity is an array, where a number is needed"),
        ("value", "hash", "value: hash is bytes, where a number is needed"),
        (
            "clientDedupeId",
            "number",
            "clientDedupeId: number is a number, where a text is needed: write to_string(number)",
        ),
        (
            "clientDedupeId",
            "hash",
            "clientDedupeId: hash is bytes, where a text is needed: write hex(hash), or text(hash) if they are UTF-8",
        ),
        ("timestamp", "iso", "timestamp: iso is a text, where a whole number is needed: write time(iso)"),
        ("timestamp", "rate", "timestamp: rate is a number, where a whole number is needed: write time(rate)"),
        ("timestamp", "day", "timestamp: day is a date, which is not a point in time: write time(day, 'd')"),
        ("timestamp", "clock", "timestamp: clock is a time of day, which is not a point in time"),
        ("timestamp", "time(clock)", "timestamp: clock is a time of day, which is not a point in time"),
        ("timestamp", "time(clock, 's')", "timestamp: clock is a time of day, which is not a point in time"),
        ("timestamp", "time(test)", "timestamp: test is a boolean, which time() does not take"),
        ("timestamp", "time(day)", "timestamp: day is a date, which comes in days: write time(day, 'd')"),
        ("timestamp", "time(at, 'us')", "timestamp: at is a timestamp, which comes in milliseconds: write time(at)"),
        ("EMAIL", "number", "EMAIL: number is a number, where a text is needed: write to_string(number)"),
        ("EMAIL", "items", "EMAIL: an item of items is an object, where a text is needed"),
        ("amznUserData", "granted(items)", "amznUserData: items is an array, which granted() does not take"),
    ],
)
def test_what_never_works_is_wrong(name: str, text: str, problem: str) -> None:
    assert found(**{name: text}) == [(True, problem)]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("when", "status == 'PAYED'", "mapping[0].when: 'PAYED' is not a symbol of status: PLACED, PAID"),
        ("timestamp", "wall", "timestamp: wall is a local timestamp, which names no zone: it is read as UTC"),
        ("timestamp", "time(wall)", "timestamp: wall is a local timestamp, which names no zone: it is read as UTC"),
        ("brand", "rate", "brand: rate is a number, where a text or a whole number is needed: write to_string(rate)"),
        ("brand", "items[].sku", "brand: items[].sku is an array, where a text or a whole number is needed"),
        ("brand", "upper(number)", "brand: number is a number, which upper() does not take: write to_string(number)"),
    ],
)
def test_what_costs_no_event_is_a_note(name: str, text: str, problem: str) -> None:
    """An enum may get the symbol later, and an attribute is left out."""
    assert found(**{name: text}) == [(False, problem)]


def test_a_misspelt_field_is_told_with_what_was_meant() -> None:
    assert found(value="amuont") == [(True, "value: amuont is not in S (Order): did you mean amount?")]
    assert found(value="Amount") == [(True, "value: Amount is not in S (Order): did you mean amount?")]


def test_a_text_without_quotes_is_told_to_have_some() -> None:
    assert found(value="EUR") == [(True, "value: EUR is not in S (Order): a text is written 'EUR'")]


def test_a_mapping_whose_every_match_key_is_missing_is_wrong() -> None:
    assert found(EMAIL="e_mail") == [(True, "EMAIL: e_mail is not in S (Order): did you mean email?")]


def test_lint_and_check_show_what_never_works() -> None:
    findings: list[Any] = list(schema_findings(file(value="iso"), [SCHEMA], "order.avsc"))

    assert [(each.state, each.message) for each in findings] == [
        (State.WRONG, "value: in order.avsc (Order), iso is a text, where a number is needed: write number(iso)")
    ]
