"""The kinds of traffic of the benchmarks: what is produced, and how much of it each side has to deliver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from random import Random
from uuid import UUID

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.cli.samples import Fate, SampleRecord, samples
from tests.benchmarks.work import schema

__all__ = ["SCHEMA_IDS", "Due", "Traffic", "due", "events", "orders", "records"]


class Traffic(StrEnum):
    """What a topic holds."""

    CLEAN = "clean"
    """Events with one hashed key and an id of the advertiser's own."""
    HASHED = "hashed"
    """Events with two hashed keys."""
    MAPPED = "mapped"
    """Orders of a shop, whose inputs are found by a mapping file."""
    MIXED = "mixed"
    """Clean events, and among them copies, stale, undecodable and flawed records, and some without a value or an id."""
    EU = "eu"
    """Events of region EU, with a consent string of each person's own."""


SCHEMA_IDS = {traffic: 2 if traffic is Traffic.MAPPED else 1 for traffic in Traffic}


@dataclass(frozen=True, slots=True)
class Due:
    """Events that a side has to deliver."""

    connector: int
    peer: int
    """Events for peers that drop stale events and copies, and send whatever else can be decoded."""
    bare_loop: int


def records(traffic: Traffic, count: int, now_ms: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield keys and values."""
    schema_id = SCHEMA_IDS[traffic]
    if traffic is Traffic.MAPPED:
        encoder = EventEncoder(schema(traffic))
        for key, order in orders(count, now_ms):
            yield key.encode(), framed(schema_id, encoder.encode(order))
        return
    encoder = EventEncoder()
    for sample in events(traffic, count, now_ms):
        value = None if sample.event is None else framed(schema_id, encoder.encode(sample.event))
        if sample.fate is Fate.UNDECODABLE:
            value = b"not Avro at all"
        yield sample.key.encode(), value


def events(traffic: Traffic, count: int, now_ms: int) -> Iterator[SampleRecord]:
    """Yield samples of our own schema."""
    dice = Random(11)
    for sample in samples(count, now_ms, odd=traffic is Traffic.MIXED):
        if traffic is Traffic.HASHED:
            keys = [{"type": kind, "value": _hashed(dice)} for kind in ("EMAIL", "PHONE")]
            yield SampleRecord(sample.key, {**(sample.event or {}), "matchKeys": keys}, sample.fate)
        elif traffic is Traffic.EU:
            consent = {"ipAddress": None, "amznAdStorage": None, "amznUserData": None, "gpp": None}
            text = f"CP{dice.getrandbits(240):060x}"
            yield SampleRecord(sample.key, {**(sample.event or {}), "consent": {**consent, "tcf": text}}, sample.fate)
        elif sample.event is not None and "userAgent" in sample.event and sample.fate is not Fate.NO_MATCH_KEY:
            yield SampleRecord(sample.key, {**sample.event, "matchKeys": _in_clear(dice)}, sample.fate)
        else:
            yield sample


def _in_clear(dice: Random) -> list[dict[str, str]]:
    """Return the match keys in clear of a person of its own, for nothing that benchmarks time may be one person's alone."""
    first, last = dice.choice(("jo", "kim", "sam", "max")), f"doe{dice.getrandbits(32):x}"
    return [
        {"type": "EMAIL", "value": f"{first}.{last}@example.com"},
        {"type": "PHONE", "value": f"+1 {dice.randrange(201, 999)} 555 01{dice.randrange(100):02}"},
        {"type": "LAST_NAME", "value": last.translate(_LETTERS)},
        {"type": "ADDRESS", "value": f"{dice.randrange(1, 5000)} Example Street, Apt. {dice.randrange(1, 99)}"},
        {"type": "CITY", "value": dice.choice(("Springfield", "Riverside", "Fairview", "Georgetown"))},
    ]


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def orders(count: int, now_ms: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield orders of a shop, with their keys; personal data is hashed already, as no side but the connector would do it."""
    dice = Random(13)
    for _ in range(count):
        name, cents = UUID(int=dice.getrandbits(128)), dice.randrange(100, 30_000)
        money = {"amount": cents.to_bytes(2, "big"), "currency": "EUR"}
        lines = [
            {"sku": "1", "brand": "acme", "category": None, "quantity": dice.randrange(1, 4), "price": money},
            {"sku": "2", "brand": None, "category": "toys", "quantity": 1, "price": money},
        ]
        address = {part: _hashed(dice) for part in ("firstName", "lastName", "city", "zip")}
        yield (
            str(name),
            {
                "orderId": name.bytes,
                "status": "PAID",
                "channel": dice.choice(("WEB", "APP_IOS", "APP_ANDROID")),
                "placedAt": (now_ms - dice.randrange(6 * 86_400_000)) * 1000,
                "total": money,
                "customer": {"email": None, "guestEmail": _hashed(dice), "phone": None, "marketingConsent": True},
                "shipTo": {**address, "lines": [_hashed(dice)], "country": "DE"},
                "lines": lines,
            },
        )


def _hashed(dice: Random) -> str:
    return sha256(dice.randbytes(8)).hexdigest()


_DELIVERED = {Fate.DELIVERED, Fate.REJECTED}
"""The endpoint rejects nothing."""
_NO_EVENT = {Fate.IGNORED, Fate.UNDECODABLE}
_OLD = {Fate.STALE, Fate.IMPLAUSIBLE_TIME}
"""A time in seconds is one of 1970 to a side that takes it for milliseconds."""


def due(traffic: Traffic, count: int) -> Due:
    """Return what each side has to deliver of so many records."""
    if traffic is not Traffic.MIXED:
        return Due(count, count, count)
    fates = [sample.fate for sample in events(traffic, count, now_ms=10**12)]
    read = [fate for fate in fates if fate not in _NO_EVENT]
    fresh = [fate for fate in read if fate not in _OLD and fate is not Fate.DUPLICATE]
    return Due(sum(fate in _DELIVERED for fate in fates), len(fresh), len(read))
