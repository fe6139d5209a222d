"""The worked examples from bytes of Avro to what Amazon receives, by the code that runs."""

from __future__ import annotations

import contextlib
import copy
import json
from decimal import Decimal
from typing import Any

import pytest

from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing, framed
from connector.errors import Undecodable
from connector.intake import Intake, Origin
from connector.mapping.plan import Mapper
from connector.model import Flaw, Reason, TopicPartition
from tests.avro.samples import Known, written
from tests.mapping.support import (
    ACCOUNT,
    CHARGE,
    CLOUD_EVENT,
    COMMERCE,
    CONTRACT,
    ORDER,
    SIGN_UP,
    TILL,
    Record,
    example,
    read_file,
)

EVENTS = {
    "order": ORDER,
    "envelope": SIGN_UP,
    "till": TILL,
    "charge": CHARGE,
    "cloudevent": CLOUD_EVENT,
    "commerce": COMMERCE,
    "account": ACCOUNT,
}
ORIGIN = Origin(TopicPartition("orders", 0), 1, "cluster", "topic-id")


def decoder(name: str, **schemas: Any) -> EventDecoder:
    text, schema = example(name)
    return EventDecoder(Framing.CONFLUENT, Known(**(schemas or {"id17": schema})), Mapper(read_file(text)))


def value_of(name: str, event: Any = None) -> bytes:
    """Write an event as a producer does, logical types as they are stored."""
    return written(example(name)[1], copy.deepcopy(event or EVENTS[name]), 17)


@pytest.mark.parametrize("name", EVENTS)
def test_what_amazon_receives_of_each_example(name: str) -> None:
    intake = Intake(decoder(name), CONTRACT, ("clientDedupeId",))
    poll, _ = intake.read(ORIGIN, [Record(value_=value_of(name), headers_=[("ce_id", b"ce-1")])])
    (payload,) = poll.payloads
    assert isinstance(payload, bytes), payload
    sent = json.loads(payload)
    expected = {
        "order": ("00010203-0405-0607-0809-0a0b0c0d0e0f", "OFF_AMAZON_PURCHASES", "IOS", "DE", 49.98),
        "envelope": ("ce-1", "SIGN_UP", "WEBSITE", "DE", None),
        "till": ("pos-17-3-990", "OFF_AMAZON_PURCHASES", "OFFLINE", "DE", 19.99),
        "charge": ("pi_1", "OFF_AMAZON_PURCHASES", "WEBSITE", "DE", 4999.0),
        "cloudevent": ("order-77", "OFF_AMAZON_PURCHASES", "WEBSITE", "DE", 12.3),
        "commerce": ("order-6e5c", "OFF_AMAZON_PURCHASES", "WEBSITE", "JP", 1999.0),
        "account": ("account-4711", "SIGN_UP", "WEBSITE", "DE", None),
    }
    description = sent["eventDescription"]
    assert (
        sent["eventId"],
        description["conversionType"],
        description["eventSource"],
        sent["countryCode"],
        sent.get("value"),
    ) == expected[name]
    assert poll.keys != [None]


@pytest.mark.parametrize(("currency", "value"), [("eur", 49.99), ("jpy", 4999.0), ("kwd", 5.0)])
def test_minor_units_of_a_charge_are_those_of_its_currency(currency: str, value: float) -> None:
    intake = Intake(decoder("charge"), CONTRACT, ("clientDedupeId",))
    poll, _ = intake.read(ORIGIN, [Record(value_=value_of("charge", CHARGE | {"currency": currency}))])
    (payload,) = poll.payloads
    assert isinstance(payload, bytes), payload
    sent = json.loads(payload)
    assert (sent["value"], sent["currencyCode"]) == (value, currency.upper())


@pytest.mark.parametrize("change", [{"status": "failed"}, {"paid": False}, {"livemode": False}])
def test_a_charge_that_is_no_sale_is_ignored(change: dict[str, object]) -> None:
    assert decoder("charge").decode(Record(value_=value_of("charge", CHARGE | change))) is None


def sent(name: str, event: Any) -> dict[str, Any] | Flaw | None:
    """Return the inputs of an example's event after a change, or what becomes of it instead."""
    found = decoder(name).decode(Record(value_=value_of(name, event)))
    assert found is None or isinstance(found, dict | Flaw)
    return found


@pytest.mark.parametrize(("currency", "value"), [("EUR", "19.99"), ("JPY", "1999"), ("KWD", "1.999"), ("usd", "19.99")])
def test_minor_units_are_those_of_iso_4217(currency: str, value: str) -> None:
    price = {"centAmount": 1999, "currencyCode": currency, "fractionDigits": 9}
    event = sent("commerce", COMMERCE | {"order": COMMERCE["order"] | {"totalPrice": price}})
    assert isinstance(event, dict)
    assert event["value"] == Decimal(value)
    assert event["consent"] == {"amznUserData": "DENIED", "amznAdStorage": "DENIED"}


def test_an_amount_in_an_unknown_currency_is_a_dead_letter() -> None:
    price = {"centAmount": 1999, "currencyCode": "points", "fractionDigits": 0}
    flaw = sent("commerce", COMMERCE | {"order": COMMERCE["order"] | {"totalPrice": price}})
    assert flaw == Flaw(Reason.INVALID_FIELD, "value: from_minor_units() got a text that is not a currency of ISO 4217")


@pytest.mark.parametrize(
    ("symbol", "consent"),
    [("DOUBLE_OPT_IN", "GRANTED"), ("SINGLE_OPT_IN", "DENIED"), ("OPTED_OUT", "DENIED"), ("UNKNOWN", None)],
)
def test_a_symbol_that_the_table_of_consents_lacks_is_none(symbol: str, consent: str | None) -> None:
    event = sent("account", ACCOUNT | {"payload": ACCOUNT["payload"] | {"adsOptIn": symbol}})
    assert isinstance(event, dict)
    signals = {"amznUserData": consent, "amznAdStorage": consent} if consent else {}
    assert {name: each for name, each in event["consent"].items() if each is not None} == signals


@pytest.mark.parametrize(
    "payload", [{"userId": 1, "verifiedAt": 1_793_883_787_250_000}, {"email": "jo@example.com", "list": "news"}]
)
def test_other_records_of_a_union_are_ignored(payload: dict[str, object]) -> None:
    assert sent("account", ACCOUNT | {"payload": payload}) is None


def test_the_types_of_a_cloudevents_topic_go_their_own_ways() -> None:
    decode = decoder("cloudevent").decode
    order = decode(Record(value_=value_of("cloudevent")))
    assert isinstance(order, dict)
    assert (order["value"], order["unitsSold"]) == (Decimal("12.30"), 3)
    registered = {
        "type": "com.example.customer.registered",
        "subject": "4711",
        "attribute": {"adsconsent": False},
        "data": b'{"email": "jo@example.com", "country": "AT"}',
    }
    sign_up = decode(Record(value_=value_of("cloudevent", CLOUD_EVENT | registered)))
    assert isinstance(sign_up, dict)
    assert (sign_up["eventType"], sign_up["clientDedupeId"]) == ("SIGN_UP", "customer-4711")
    assert sign_up["consent"] == {"amznUserData": "DENIED", "amznAdStorage": "DENIED"}
    assert decode(Record(value_=value_of("cloudevent", CLOUD_EVENT | {"type": "com.example.order.shipped"}))) is None
    flaw = decode(Record(value_=value_of("cloudevent", CLOUD_EVENT | {"data": b"\x01\xff"})))
    assert isinstance(flaw, Flaw)
    assert "value: text() got bytes that are not UTF-8" in flaw.detail


def test_filtered_records_are_ignored_and_flaws_are_letters() -> None:
    intake = Intake(decoder("order"), CONTRACT, ("clientDedupeId",))
    polled = [
        Record(value_=value_of("order", ORDER | {"status": "NEW"})),
        Record(value_=value_of("order", ORDER | {"lines": []})),
        Record(value_=value_of("order", ORDER | {"total": {"amount": b"\0", "currency": "EUR"}})),
        Record(value_=value_of("order", ORDER | {"total": {"amount": b"", "currency": "EUR"}})),
    ]
    poll, _ = intake.read(ORIGIN, polled)
    ignored, whole, filtered, flaw = poll.payloads
    assert ignored is None
    assert isinstance(whole, bytes)
    assert "unitsSold" not in json.loads(whole)
    assert filtered is None
    # Java fails for a decimal without bytes, too. As 0.00 it would be a purchase of nothing.
    assert flaw == Flaw(Reason.INVALID_FIELD, "mapping[0].when: a comparison got bytes and a number")


def test_a_failing_id_is_a_letter_and_never_becomes_a_derived_one() -> None:
    text, schema = example("till")
    text = text.replace("to_string(after.receipt)", "upper(after.receipt)")
    intake = Intake(
        EventDecoder(Framing.CONFLUENT, Known(id17=schema), Mapper(read_file(text))), CONTRACT, ("clientDedupeId",)
    )
    poll, _ = intake.read(ORIGIN, [Record(value_=value_of("till"))])
    assert poll.payloads == [Flaw(Reason.INVALID_FIELD, "clientDedupeId: upper() got a number")]


def test_of_a_union_each_type_has_its_own_mapping() -> None:
    _, order = example("order")
    text, envelope = example("envelope")
    union = ["null", envelope, order]
    ours = decoder("envelope", id1=union)
    both = EventDecoder(Framing.CONFLUENT, Known(id1=union), Mapper(read_file(text.replace('"ignore"', '"dead-letter"'))))
    order_value = framed(1, b"\x04" + value_of("order")[5:])
    assert isinstance(ours.decode(Record(value_=framed(1, b"\x02" + value_of("envelope")[5:]))), dict)
    assert ours.decode(Record(value_=order_value)) is None
    assert ours.decode(Record(value_=framed(1, b"\x00"))) is None
    assert both.decode(Record(value_=order_value)) == Flaw(
        Reason.UNMAPPED, "no mapping is for schema 1 (com.shop.orders.Order)"
    )


def test_text_that_is_no_utf_8_does_no_harm_where_nobody_reads_it() -> None:
    ours = decoder("order")
    value = value_of("order", copy.deepcopy(ORDER) | {"lines": [ORDER["lines"][0] | {"sku": "AAAA"}]})
    unread = ours.decode(Record(value_=value.replace(b"AAAA", b"\xff\xffAA")))
    assert isinstance(unread, dict)
    with pytest.raises(Undecodable):
        ours.decode(Record(value_=value.replace(b"Hauptstr", b"\xff\xffuptstr")))


def test_a_filtered_record_is_ignored_whatever_its_texts_are() -> None:
    value = value_of("order", ORDER | {"status": "NEW"})
    assert decoder("order").decode(Record(value_=value.replace(b"Hauptstr", b"\xff\xffuptstr"))) is None


def test_mappings_that_inherit_take_aliases_and_units_as_without_a_file() -> None:
    schema = {
        "type": "record",
        "name": "Almost",
        "fields": [
            {"name": "eventId", "type": "string"},
            {"name": "eventTime", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "email", "type": "string"},
        ],
    }
    file = read_file('version = 1\n[[mapping]]\ninherit = true\n[mapping.matchKeys]\nEMAIL = "email"\n')
    ours = EventDecoder(Framing.CONFLUENT, Known(id1=schema), Mapper(file))
    found = ours.decode(Record(value_=written(schema, {"eventId": "1", "eventTime": 5_000, "email": "a@b.c"})))
    assert isinstance(found, dict)
    assert (found["clientDedupeId"], found["timestamp"]) == ("1", 5)
    assert found["matchKeys"] == [{"type": "EMAIL", "value": "a@b.c"}]


def test_the_newest_schemas_are_told_with_what_becomes_of_their_records() -> None:
    """The operator's page shows them."""
    text, order = example("order")
    others: list[Any] = [{"type": "record", "name": name, "fields": []} for name in ("Cart", "Visit")]
    known = Known(id1=order, id2=["null", *others], id3={"type": "record"}, id4=order)
    read = EventDecoder(Framing.CONFLUENT, known, Mapper(read_file(text + TWICE)))
    for schema_id in (1, 2, 3, 4):
        with contextlib.suppress(Undecodable):
            read.decode(Record(value_=framed(schema_id, b"\x00")))

    taken = "com.shop.orders.Order", "mapping[0], mapping[1]"
    refused = "", "refused: its writer's schema does not parse (KeyError)"
    assert read.seen(9) == [
        ("schema 4", *taken),
        ("schema 3", *refused),
        ("schema 2", "Cart, Visit", "no mapping"),
        ("schema 1", *taken),
    ]
    assert [each[0] for each in read.seen(2)] == ["schema 4", "schema 3"]
    assert read.seen(0) == []


TWICE = """
[[mapping]]
record = "com.shop.orders.Order"
inherit = true
"""


@pytest.mark.parametrize(("framing", "named"), [(Framing.CONFLUENT, "schema 1"), (Framing.PLAIN, "the schema")])
def test_without_a_mapping_file_records_are_read_by_name(framing: Framing, named: str) -> None:
    read = EventDecoder(framing, Known(id1=example("order")[1], id0=example("order")[1]))
    body = value_of("order")[5:]
    read.decode(Record(value_=framed(1, body) if framing is Framing.CONFLUENT else body))

    assert read.seen(5) == [(named, "com.shop.orders.Order", "by name")]
