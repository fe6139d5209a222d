from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from connector.avro.writer_schema import parse
from connector.mapping.plan import Filtered, Mapper, problems_in
from connector.model import Flaw, Reason
from tests.mapping.support import CONTRACT, ORDER, SIGN_UP, TCF, TILL, Record, example, mapped, plan_of, read_file
from tests.records import AT_MS


def changed(event: dict[str, Any], **paths: Any) -> dict[str, Any]:
    """Return an event with other values at paths, written with __ for a dot."""
    event = copy.deepcopy(event)
    for path, value in paths.items():
        *before, last = path.split("__")
        part = event
        for name in before:
            part = part[name]
        part[last] = value
    return event


def order(text: str | None = None, **paths: Any) -> Any:
    own, schema = example("order")
    return mapped(text or own, schema, changed(ORDER, **paths))


def test_an_order_of_a_shop() -> None:
    assert order() == {
        "name": "Order",
        "eventType": "OFF_AMAZON_PURCHASES",
        "eventActionSource": "IOS",
        "clientDedupeId": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "timestamp": AT_MS,
        "value": Decimal("49.98"),
        "currencyCode": "EUR",
        "unitsSold": 3,
        "countryCode": "DE",
        "matchKeys": [
            {"type": "EMAIL", "value": "Jo@Example.com"},
            {"type": "FIRST_NAME", "value": "Jo"},
            {"type": "LAST_NAME", "value": "Müller"},
            {"type": "ADDRESS", "value": "Hauptstr. 1 2. Stock"},
            {"type": "CITY", "value": "Köln"},
            {"type": "POSTAL", "value": "50667"},
        ],
        "consent": {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"},
        "customAttributes": {"brand": "acme"},
    }
    assert isinstance(CONTRACT.encode(order(), "id"), bytes)


def test_a_sign_up_in_an_envelope() -> None:
    inputs = mapped(*example("envelope"), copy.deepcopy(SIGN_UP), Record(headers_=[("ce_id", b"first"), ("ce_id", b"ce-1")]))
    assert inputs == {
        "name": "Sign-up free",
        "eventType": "SIGN_UP",
        "eventActionSource": "WEBSITE",
        "clientDedupeId": "ce-1",
        "timestamp": 1_793_883_787_250,
        "countryCode": "DE",
        "userAgent": "ExampleBrowser/1.0",
        "matchKeys": [{"type": "EMAIL", "value": "ab" * 32}, {"type": "MATCH_ID", "value": "4711"}],
        "consent": {"tcf": TCF},
    }
    without_header = mapped(*example("envelope"), copy.deepcopy(SIGN_UP))
    assert isinstance(without_header, dict)
    assert without_header["clientDedupeId"] == "event-1"


def test_a_till_by_way_of_debezium() -> None:
    assert mapped(*example("till"), copy.deepcopy(TILL)) == {
        "name": "Store purchase",
        "eventType": "OFF_AMAZON_PURCHASES",
        "eventActionSource": "OFFLINE",
        "clientDedupeId": "pos-17-3-990",
        "timestamp": AT_MS // 1000 * 1000,
        "value": Decimal("19.99"),
        "currencyCode": "EUR",
        "countryCode": "DE",
        "unitsSold": 2,
        "matchKeys": [{"type": "EMAIL", "value": "ab" * 32}, {"type": "POSTAL", "value": "10115"}],
        "consent": {"amznUserData": "DENIED", "amznAdStorage": "DENIED"},
    }


@pytest.mark.parametrize(
    "event",
    [
        changed(ORDER, status="NEW"),
        changed(ORDER, channel="STORE"),
        changed(ORDER, total__amount=b"\x00"),
    ],
)
def test_what_does_not_meet_the_condition_is_filtered(event: Any) -> None:
    text, schema = example("order")
    mapper = Mapper(read_file(text))
    assert plan_of(mapper, schema).inputs(event, Record()) == Filtered("mapping[0]")
    assert mapper.filtered == {"mapping[0]": 1, "otherwise": 0}


def test_a_condition_of_null_filters_and_one_that_fails_is_told() -> None:
    till, schema = example("till")
    assert mapped(till, schema, {**TILL, "after": None}) == Filtered("mapping[0]")
    wrong = mapped(till.replace("op == 'c'", "op > `1`"), schema, copy.deepcopy(TILL))
    assert wrong == Flaw(Reason.INVALID_FIELD, "mapping[0].when: a comparison got a text and a number")


def test_records_of_another_type_are_letters_or_ignored_as_the_file_says() -> None:
    order_text, _ = example("order")
    envelope_text, order_schema = example("envelope")[0], example("order")[1]
    other = order_schema | {"name": "Refund"}
    assert mapped(order_text, other, copy.deepcopy(ORDER)) == Flaw(
        Reason.UNMAPPED, "no mapping is for schema 17 (com.shop.orders.Refund)"
    )
    assert mapped(envelope_text, other, copy.deepcopy(ORDER)) == Filtered("otherwise")


def test_the_first_mapping_whose_record_topic_and_condition_hold_is_taken() -> None:
    text, schema = example("order")
    head, _, rest = text.partition("[[mapping]]")
    body, _, tables = rest.partition("[tables.source]")
    other = f"[[mapping]]{body}".replace('name = "Order"', 'name = "Elsewhere"').replace(
        "record =", 'topic = "shop"\nrecord ='
    )
    cancelled = f"[[mapping]]{body}".replace('name = "Order"', 'name = "Cancelled"').replace("'PAID'", "'CANCELLED'")
    text = f"{head}{other}[[mapping]]{body}{cancelled}[tables.source]{tables}"
    plan = plan_of(Mapper(read_file(text)), schema)

    def name_of(event: Any, topic: str) -> Any:
        found = plan.inputs(copy.deepcopy(event), Record(topic_=topic))
        return found["name"] if isinstance(found, dict) else found

    assert name_of(ORDER, "shop") == "Elsewhere"
    assert name_of(ORDER, "orders") == "Order"
    assert name_of(changed(ORDER, status="CANCELLED"), "orders") == "Cancelled"
    assert name_of(changed(ORDER, status="NEW"), "orders") == Filtered("mapping[2]")


MUST_HAVE = {
    "eventActionSource": "lookup('source', shipTo.lines)",
    "clientDedupeId": "join('-', lines)",
    "timestamp": "time(status)",
    "value": "divide(total.amount, `0`)",
    "currencyCode": "upper(total.amount)",
    "unitsSold": "sum(lines[].sku)",
    "countryCode": "upper(lines)",
}


@pytest.mark.parametrize("name", MUST_HAVE)
def test_an_expression_without_a_result_makes_a_letter_where_amazon_would_book_something_else(name: str) -> None:
    text, _ = example("order")
    line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
    flaw = order(text.replace(line, f'{name} = "{MUST_HAVE[name]}"'))
    assert isinstance(flaw, Flaw)
    assert flaw.reason is Reason.INVALID_FIELD
    assert flaw.detail.startswith(f"{name}: {MUST_HAVE[name].partition('(')[0]}() ")
    for value in ("APP_IOS", "PAID", "49.98", "Hauptstr"):
        assert value not in flaw.detail


def test_a_consent_that_cannot_be_read_makes_a_letter() -> None:
    text, _ = example("order")
    flaw = order(text.replace("granted(customer.marketingConsent)", "granted(customer.guestEmail)"))
    assert flaw == Flaw(
        Reason.INVALID_FIELD,
        "amznUserData: granted() got a text that is neither granted nor denied; "
        "amznAdStorage: granted() got a text that is neither granted nor denied",
    )


def test_an_expression_without_a_result_for_anything_else_is_left_out_and_counted() -> None:
    text, schema = example("order")
    text = text.replace('PHONE = "customer.phone"', 'PHONE = "upper(lines)"')
    text = text.replace('brand = "lines[0].brand"', 'brand = "join(lines, lines)"')
    mapper = Mapper(read_file(text))
    inputs = plan_of(mapper, schema).inputs(copy.deepcopy(ORDER), Record())
    assert isinstance(inputs, dict)
    assert inputs["customAttributes"] == {}
    assert {name: count for name, count in mapper.left_out.items() if count} == {"mapping_PHONE": 1, "mapping_brand": 1}


def test_nothing_is_counted_for_a_letter() -> None:
    text, schema = example("order")
    text = text.replace('PHONE = "customer.phone"', 'PHONE = "upper(lines)"').replace("'source', channel", "'source', lines")
    mapper = Mapper(read_file(text))
    assert isinstance(plan_of(mapper, schema).inputs(copy.deepcopy(ORDER), Record()), Flaw)
    assert not any(mapper.left_out.values())


def without(schema: Any, *path: str) -> Any:
    """Return a schema without a field."""
    schema = copy.deepcopy(schema)
    fields = schema["fields"]
    for name in path[:-1]:
        fields = next(field for field in fields if field["name"] == name)["type"]["fields"]
    fields[:] = [field for field in fields if field["name"] != path[-1]]
    return schema


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        (("orderId",), "clientDedupeId: orderId is not in schema 17 (com.shop.orders.Order)"),
        (("total", "currency"), "currencyCode: total.currency is not in schema 17 (com.shop.orders.Order)"),
        (("channel",), "mapping[0].when: channel is not in schema 17 (com.shop.orders.Order)"),
        (
            ("customer", "marketingConsent"),
            (
                "amznUserData: customer.marketingConsent is not in schema 17 (com.shop.orders.Order); "
                "amznAdStorage: customer.marketingConsent is not in schema 17 (com.shop.orders.Order)"
            ),
        ),
    ],
)
def test_a_schema_without_a_path_that_is_needed_makes_letters_of_its_records(path: tuple[str, ...], detail: str) -> None:
    text, schema = example("order")
    assert mapped(text, without(schema, *path), copy.deepcopy(ORDER)) == Flaw(Reason.MISSING_FIELD, detail)


def test_a_schema_without_another_path_is_noted_once() -> None:
    text, schema = example("order")
    notes: list[str] = []
    mapper = Mapper(read_file(text), notes.append)
    plan = plan_of(mapper, without(schema, "customer", "phone"))
    assert isinstance(plan.inputs(copy.deepcopy(ORDER), Record()), dict)
    assert notes == ["PHONE: customer.phone is not in schema 17 (com.shop.orders.Order)"]


def test_of_paths_in_one_not_null_one_must_be_there() -> None:
    text, schema = example("order")
    notes: list[str] = []
    plan_of(Mapper(read_file(text), notes.append), without(schema, "customer", "email"))
    assert notes == []
    plan_of(Mapper(read_file(text), notes.append), without(without(schema, "customer", "email"), "customer", "guestEmail"))
    assert notes == ["EMAIL: customer.email is not in schema 17 (com.shop.orders.Order)"]


def test_what_a_schema_lacks_is_told_all_at_once() -> None:
    text, schema = example("order")
    writer = parse([without(without(schema, "orderId"), "customer", "phone")])
    found = problems_in(read_file(text), writer, writer.resolved(writer.event), writer.event, "schema 17")
    assert [(each.place, each.must) for each in found] == [("fields.clientDedupeId", True), ("matchKeys.PHONE", False)]


def test_mappings_that_inherit_take_inputs_by_name() -> None:
    schema = {
        "type": "record",
        "name": "Almost",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "eventType", "type": "string"},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "email", "type": "string"},
        ],
    }
    text = """
version = 1
[[mapping]]
inherit = true
[mapping.constants]
eventType = "LEAD"
[mapping.matchKeys]
EMAIL = "email"
"""
    event = {"name": "Visit", "eventType": "x", "timestamp": AT_MS * 1000, "email": "a@b.c"}
    assert mapped(text, schema, event) == {
        "name": "Visit",
        "eventType": "LEAD",
        "timestamp": AT_MS,
        "email": "a@b.c",
        "matchKeys": [{"type": "EMAIL", "value": "a@b.c"}],
    }


def test_the_id_decides_which_file_makes_the_same_keys() -> None:
    text, _ = example("till")
    fields = ("clientDedupeId",)
    same = read_file(text.replace("join('-', ['pos'", "join('-',  ['pos'").replace("Store purchase", "Purchase"))
    assert read_file(text).identity_of(fields) == same.identity_of(fields)
    assert read_file(text).identity_of(fields) != read_file(text.replace("'pos'", "'till'")).identity_of(fields)
    by_table = text.replace("['pos',", "['pos', lookup('country', after.store_id),")
    moved = by_table.replace('"18" = "DE"', '"18" = "CH"')
    assert read_file(by_table).identity_of(fields) != read_file(moved).identity_of(fields)
    assert read_file(text).identity_of(fields) == read_file(text.replace('"18" = "DE"', '"18" = "CH"')).identity_of(fields)
    assert read_file(text).identity_of(("name",)) != same.identity_of(("name",))


INHERITING = {
    "type": "record",
    "name": "Own",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "eventId", "type": "string"},
        {"name": "order", "type": ["null", "string"]},
        {"name": "mail", "type": ["null", "string"]},
        {"name": "tc", "type": ["null", "string"]},
        {"name": "matchKeys", "type": {"type": "array", "items": {"type": "map", "values": "string"}}},
        {"name": "consent", "type": {"type": "map", "values": "string"}},
        {"name": "customAttributes", "type": {"type": "map", "values": "string"}},
    ],
}
INHERITS = """
version = 1
[[mapping]]
inherit = true
[mapping.fields]
clientDedupeId = "order"
[mapping.matchKeys]
EMAIL = "mail"
[mapping.consent]
tcf = "tc"
[mapping.customAttributes]
brand = "name"
"""


def test_a_mapping_that_inherits_adds_to_what_the_record_has_by_name() -> None:
    """A denial that the record has by name stands beside a signal that the mapping names."""
    event: dict[str, object] = {
        "name": "Order",
        "eventId": "e-1",
        "order": None,
        "mail": "jo@example.com",
        "tc": TCF,
        "matchKeys": [{"type": "EMAIL", "value": "old@example.com"}, {"type": "PHONE", "value": "+49301234567"}],
        "consent": {"amznUserData": "DENIED", "tcf": "old"},
        "customAttributes": {"brand": "old", "shop": "1"},
    }
    inputs = mapped(INHERITS, INHERITING, event)

    assert isinstance(inputs, dict)
    assert inputs["consent"] == {"amznUserData": "DENIED", "tcf": TCF}
    assert inputs["matchKeys"] == [
        {"type": "EMAIL", "value": "jo@example.com"},
        {"type": "PHONE", "value": "+49301234567"},
    ]
    assert inputs["customAttributes"] == {"brand": "Order", "shop": "1"}


def test_an_input_that_the_mapping_names_is_not_inherited() -> None:
    """An order without its number would get the id of something else."""
    event: dict[str, object] = {"name": "Order", "eventId": "e-1", "order": None, "mail": None, "tc": None}
    event |= {"matchKeys": [{"type": "EMAIL", "value": "x"}], "consent": {"tcf": "old"}, "customAttributes": {"brand": "x"}}
    inputs = mapped(INHERITS, INHERITING, event)

    assert isinstance(inputs, dict)
    assert "clientDedupeId" not in inputs
    assert inputs["name"] == "Order"
    assert (inputs["matchKeys"], inputs["consent"], inputs["customAttributes"]) == ([], {}, {"brand": "Order"})


def test_what_two_inputs_share_is_evaluated_once_and_told_for_both() -> None:
    consent = 'amznUserData = "granted(tc)"\namznAdStorage = "granted(tc)"'
    text = INHERITS.replace('tcf = "tc"', consent)
    event: dict[str, object] = {"name": "Order", "eventId": "e-1", "order": "o-1", "mail": "x", "tc": "yes"}

    inputs = mapped(text, INHERITING, event)
    assert isinstance(inputs, dict)
    assert inputs["consent"] == {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"}
    assert mapped(text, INHERITING, event | {"tc": "perhaps"}) == Flaw(
        Reason.INVALID_FIELD,
        "amznUserData: granted() got a text that is neither granted nor denied; "
        "amznAdStorage: granted() got a text that is neither granted nor denied",
    )


def test_a_record_of_a_topic_that_no_mapping_is_for_is_told_with_its_topic() -> None:
    text, schema = example("order")
    text = text.replace("[[mapping]]", '[[mapping]]\ntopic = "orders"', 1)
    found = mapped(text, schema, copy.deepcopy(ORDER), Record(topic_="returns"))

    assert found == Flaw(Reason.UNMAPPED, "no mapping is for schema 17 (com.shop.orders.Order) in topic returns")
    assert isinstance(mapped(text, schema, copy.deepcopy(ORDER)), dict)
