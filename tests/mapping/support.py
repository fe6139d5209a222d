"""What the tests of mapping share: the worked examples, records, and a wire contract to map for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.vocabulary import ADS_MATCH_KEYS
from connector.avro.writer_schema import parse
from connector.mapping.file import MappingFile
from connector.mapping.plan import Filtered, Mapper, Plan
from connector.mapping.reading import WireTarget, read
from connector.model import Flaw
from tests.records import AT_MS, PolledRecord

EXAMPLES = Path(__file__).parent / "examples"
CONTRACT = AdsV1("ENTITY1", "client", "EU")
TARGET = WireTarget("ads-v1", ADS_MATCH_KEYS, CONTRACT.encode)
TCF = "CPokAsAPokAsABEACBENC7CgAP_AAH_AAAqIHNf_X__b3_j-_59f9_9uf"


@dataclass
class Record(PolledRecord):
    """A record of the worked examples."""

    topic_: str = "orders"
    headers_: Sequence[tuple[str, bytes | None]] | None = ()


def example(name: str) -> tuple[str, Any]:
    """Return the mapping and the schema of a worked example."""
    return (
        (EXAMPLES / f"{name}.toml").read_text(encoding="utf-8"),
        json.loads((EXAMPLES / f"{name}.avsc").read_text(encoding="utf-8")),
    )


def read_file(text: str, **tables: str) -> MappingFile:
    """Read a mapping file; the tables it names are given, or stand beside the examples."""
    return read(text, TARGET, lambda name: tables.get(name) or (EXAMPLES / name).read_text(encoding="utf-8"))


def plan_of(mapper: Mapper, schema: Any) -> Plan:
    writer = parse([schema])
    return mapper.plan(writer, writer.resolved(writer.event), writer.event, "schema 17")


def mapped(text: str, schema: Any, event: Any, record: Record | None = None) -> dict[str, object] | Filtered | Flaw:
    """Return what becomes of one decoded event."""
    return plan_of(Mapper(read_file(text)), schema).inputs(event, record or Record())


ORDER: dict[str, Any] = {
    "orderId": bytes(range(16)),
    "status": "PAID",
    "channel": "APP_IOS",
    "placedAt": AT_MS * 1000 + 456,
    "total": {"amount": (4_998).to_bytes(2, "big"), "currency": "EUR"},
    "customer": {"email": None, "guestEmail": "Jo@Example.com", "phone": None, "marketingConsent": True},
    "shipTo": {
        "firstName": "Jo",
        "lastName": "Müller",
        "lines": ["Hauptstr. 1", "2. Stock"],
        "city": "Köln",
        "zip": "50667",
        "country": "DE",
    },
    "lines": [
        {"sku": "1", "brand": "acme", "category": None, "quantity": 2, "price": {"amount": b"\x09\xc3", "currency": "EUR"}},
        {"sku": "2", "brand": None, "category": "toys", "quantity": 1, "price": {"amount": b"\x09\xc3", "currency": "EUR"}},
    ],
}

SIGN_UP: dict[str, Any] = {
    "id": "event-1",
    "type": "user.registered",
    "occurredAt": "2026-11-05T14:03:07.250+01:00",
    "context": {"locale": "de-DE", "userAgent": "ExampleBrowser/1.0"},
    "data": {
        "userId": 4711,
        "isTest": False,
        "plan": None,
        "emailSha256": "ab" * 32,
        "consents": [{"purpose": "cmp", "text": "x"}, {"purpose": "tcf", "text": TCF}],
    },
}

TILL: dict[str, Any] = {
    "before": None,
    "after": {
        "store_id": 17,
        "till": 3,
        "receipt": 990,
        "sold_at": AT_MS // 1000,
        "total_cents": 1999,
        "voided": False,
        "email_sha256": b"\xab" * 32,
        "items": ["a", "b"],
        "loyalty": {"postcode": "10115", "ads_opt_in": False},
    },
    "op": "c",
    "ts_ms": AT_MS,
}

CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "created": AT_MS // 1000,
    "amount": 4_999,
    "currency": "jpy",
    "status": "succeeded",
    "paid": True,
    "livemode": True,
    "payment_intent": "pi_1",
    "billing_details": {
        "email": "Jo@Example.com",
        "name": "Jo Müller",
        "phone": None,
        "address": {"line1": "Hauptstr. 1", "city": "Köln", "state": None, "postal_code": "50667", "country": "DE"},
    },
    "metadata": {"marketing_consent": "true"},
}

CLOUD_EVENT: dict[str, Any] = {
    "id": "b2f6a5c0",
    "source": "/shop",
    "type": "com.example.order.placed",
    "datacontenttype": "application/json",
    "dataschema": None,
    "subject": "order-77",
    "time": AT_MS,
    "attribute": {"traceparent": "00-1-2-01", "adsconsent": True},
    "data": (
        b'{"total": {"amount": 12.30, "currency": "EUR"}, "items": [{"quantity": 2}, {"quantity": 1}], '
        b'"shipping": {"country": "DE", "zip": "50667"}, "customer": {"email": "Jo@Example.com"}}'
    ),
}

COMMERCE: dict[str, Any] = {
    "id": "message-1",
    "type": "OrderCreated",
    "createdAt": "2026-11-05T13:03:07.250Z",
    "order": {
        "id": "order-6e5c",
        "origin": "Customer",
        "customerEmail": "Jo@Example.com",
        "totalPrice": {"centAmount": 1999, "currencyCode": "JPY", "fractionDigits": 0},
        "country": "JP",
        "shippingAddress": {
            "streetName": "Hauptstr.",
            "streetNumber": "1",
            "postalCode": "50667",
            "city": "Köln",
            "country": None,
        },
        "lineItems": [
            {"quantity": 2, "sku": "1", "price": {"centAmount": 999, "currencyCode": "JPY", "fractionDigits": 0}},
        ],
        "custom": {"adsConsent": False, "gift": "yes"},
    },
}

ACCOUNT: dict[str, Any] = {
    "eventId": "00010203-0405-0607-0809-0a0b0c0d0e0f",
    "occurredAt": AT_MS * 1000,
    "payload": {"userId": 4711, "email": "Jo@Example.com", "country": "DE", "adsOptIn": "DOUBLE_OPT_IN"},
}
