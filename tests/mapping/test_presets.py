"""Each preset on a sample of what it is for."""

from __future__ import annotations

from typing import Any

from connector.mapping.plan import Filtered
from tests.mapping.support import mapped
from tests.records import AT_MS


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": each, "type": of} for each, of in fields.items()]}


def maybe(of: Any) -> list[Any]:
    return ["null", of]


ITEM = record("Item", item_id="string", item_brand=maybe("string"), item_category=maybe("string"), quantity=maybe("int"))
GA4 = record(
    "Push",
    event="string",
    timestamp_micros="long",
    transaction_id=maybe("string"),
    value=maybe("double"),
    currency=maybe("string"),
    items=maybe({"type": "array", "items": ITEM}),
    user_data=record("UserData", email_address=maybe("string"), phone_number=maybe("string")),
)


def ga4(**changes: Any) -> Any:
    event = {
        "event": "purchase",
        "timestamp_micros": AT_MS * 1000,
        "transaction_id": "T-1",
        "value": 49.98,
        "currency": "EUR",
        "items": [
            {"item_id": "1", "item_brand": "acme", "item_category": "toys", "quantity": 2},
            {"item_id": "2", "item_brand": None, "item_category": None, "quantity": None},
            {"item_id": "3", "item_brand": None, "item_category": None, "quantity": 1},
        ],
        "user_data": {"email_address": "jo@example.com", "phone_number": None},
    }
    text = 'version = 1\n[[mapping]]\nextends = "ga4"\n[mapping.constants]\ncountryCode = "DE"\n'
    return mapped(text, GA4, event | changes)


def test_ga4_reads_a_push_as_amazons_template_does() -> None:
    assert ga4() == {
        "name": "purchase",
        "eventType": "OFF_AMAZON_PURCHASES",
        "eventActionSource": "WEBSITE",
        "countryCode": "DE",
        "clientDedupeId": "T-1",
        "timestamp": AT_MS,
        "value": 49.98,
        "currencyCode": "EUR",
        "unitsSold": 3,
        "matchKeys": [{"type": "EMAIL", "value": "jo@example.com"}],
        "customAttributes": {"brand": "acme", "category": "toys", "productId": "1"},
    }
    without_items = ga4(event="scroll", items=None)
    assert without_items["eventType"] == "OTHER"
    assert "unitsSold" not in without_items


TRAITS = record("Traits", email=maybe("string"), firstName=maybe("string"))
CONTEXT = record("Context", locale="string", userAgent=maybe("string"), traits=TRAITS)
PROPERTIES = record(
    "Properties", value=maybe("double"), currency=maybe("string"), quantity=maybe("int"), email=maybe("string")
)
SEGMENT = record(
    "Track",
    type="string",
    event="string",
    messageId="string",
    timestamp="string",
    context=CONTEXT,
    properties=PROPERTIES,
)


def segment(**changes: Any) -> Any:
    event = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m-1",
        "timestamp": "2026-11-05T13:03:07.250Z",
        "context": {"locale": "de-DE", "userAgent": None, "traits": {"email": None, "firstName": "Jo"}},
        "properties": {"value": 5.0, "currency": "EUR", "quantity": 2, "email": "jo@example.com"},
    }
    text = 'version = 1\n[[mapping]]\nextends = "segment"\n[mapping.constants]\neventType = "OFF_AMAZON_PURCHASES"\n'
    return mapped(text, SEGMENT, event | changes)


def test_segment_reads_a_track_call_as_its_destination_does() -> None:
    assert segment() == {
        "name": "Order Completed",
        "eventType": "OFF_AMAZON_PURCHASES",
        "eventActionSource": "WEBSITE",
        "clientDedupeId": "m-1",
        "timestamp": 1_793_883_787_250,
        "value": 5.0,
        "currencyCode": "EUR",
        "unitsSold": 2,
        "countryCode": "de-DE",
        "matchKeys": [{"type": "EMAIL", "value": "jo@example.com"}, {"type": "FIRST_NAME", "value": "Jo"}],
    }
    assert segment(type="identify") == Filtered("mapping[0]")


ROW = record("Value", id="long", total_cents="long", email="string")
DEBEZIUM = record(
    "Envelope",
    before=maybe(ROW),
    after=maybe("Value"),
    source=record("Source", ts_ms="long"),
    op="string",
    ts_ms=maybe("long"),
)
DEBEZIUM_TEXT = """
version = 1
[[mapping]]
extends = "debezium"
[mapping.constants]
name = "Order"
eventType = "OFF_AMAZON_PURCHASES"
eventActionSource = "WEBSITE"
countryCode = "DE"
[mapping.fields]
clientDedupeId = "to_string(after.id)"
value = "divide(after.total_cents, `100`)"
[mapping.matchKeys]
EMAIL = "after.email"
"""


def test_debezium_takes_inserted_rows_alone() -> None:
    row = {"id": 1, "total_cents": 1999, "email": "jo@example.com"}
    event = {"before": None, "after": row, "source": {"ts_ms": AT_MS}, "op": "c", "ts_ms": AT_MS + 5}
    found = mapped(DEBEZIUM_TEXT, DEBEZIUM, event)
    assert isinstance(found, dict)
    assert (found["timestamp"], str(found["value"]), found["clientDedupeId"]) == (AT_MS, "19.99", "1")
    for operation in "urd":
        assert mapped(DEBEZIUM_TEXT, DEBEZIUM, event | {"op": operation}) == Filtered("mapping[0]")
