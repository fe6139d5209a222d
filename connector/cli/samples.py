"""Sample events with every fate that an event can have, for the demo, compose and tests.

They are seeded, so they repeat. They are nobody's data: identifiers are hashes of numbered
addresses at a reserved domain, or made up (with a phone number that is reserved for fiction).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from random import Random  # noqa: TID251 - a seeded generator, not chance

__all__ = ["REFUSED_NAME", "Fate", "SampleRecord", "samples"]

REFUSED_NAME = "refused_by_amazon"
"""Name of the events that a sandbox can be told to reject."""

_DAY_MS = 86_400_000
_TYPES = ("OFF_AMAZON_PURCHASES", "LEAD", "SIGN_UP", "ADD_TO_SHOPPING_CART", "PAGE_VIEW", "CHECKOUT")
_COUNTRIES = (("US", "USD"), ("DE", "EUR"), ("GB", "GBP"), ("JP", "JPY"), ("CA", "CAD"))
_LOOK_BACK = 400
"""A copy repeats one of the last events, of which this many are kept. Some are in flight by then,
and some are delivered."""


class Fate(StrEnum):
    """The expected outcome of a sample; for a dead letter, its reason."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    STALE = "stale"
    IGNORED = "ignored"
    UNDECODABLE = "undecodable"
    REJECTED = "rejected"
    INVALID_FIELD = "invalid-field"
    NO_MATCH_KEY = "no-match-key"
    IMPLAUSIBLE_TIME = "implausible-time"


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One record to produce."""

    key: str
    """The record's key: the dedupe id if there is one, so that copies meet in one partition."""
    event: dict[str, object] | None
    """Inputs of ``schemas/conversion_event.avsc``; None for a record without a value."""
    fate: Fate

    @property
    def dedupe_id(self) -> str | None:
        """The event's own id."""
        found = self.event.get("clientDedupeId") if self.event is not None else None
        return found if isinstance(found, str) else None


def samples(count: int, now_ms: int, seed: int = 7, *, odd: bool = True) -> Iterator[SampleRecord]:
    """Return ``count`` samples from the six days before ``now_ms``.

    Without ``odd``, all must be delivered. Ids begin with the seed, so another seed gives other
    events.
    """
    random = Random(seed)  # noqa: S311 - sample data
    recent: list[SampleRecord] = []
    for number in range(count):
        draw = random.random() if odd else 1.0
        if draw < 0.05 and recent:
            first = random.choice(recent)
            yield SampleRecord(first.key, first.event, Fate.DUPLICATE)
            continue
        sample = _one(draw, f"{seed:x}-{number:08d}", random, now_ms)
        if sample.fate is Fate.DELIVERED and sample.dedupe_id is not None:
            recent = [*recent[-_LOOK_BACK:], sample]
        yield sample


def _one(draw: float, name: str, random: Random, now_ms: int) -> SampleRecord:
    good = _good(name, random, now_ms, rich=draw < 1.0)
    event = dict(good.event or {})
    if draw < 0.08:
        event["timestamp"] = now_ms - 8 * _DAY_MS
        return SampleRecord(good.key, event, Fate.STALE)
    if draw < 0.09:
        event["name"] = REFUSED_NAME
        return SampleRecord(good.key, event, Fate.REJECTED)
    if draw < 0.093:
        return SampleRecord(good.key, event, Fate.UNDECODABLE)
    if draw < 0.096:
        event["countryCode"] = "Narnia"
        return SampleRecord(good.key, event, Fate.INVALID_FIELD)
    if draw < 0.098:
        event["matchKeys"] = [{"type": "FIRST_NAME", "value": "***"}]
        return SampleRecord(good.key, event, Fate.NO_MATCH_KEY)
    if draw < 0.100:
        event["timestamp"] = now_ms // 1000  # seconds instead of milliseconds
        return SampleRecord(good.key, event, Fate.IMPLAUSIBLE_TIME)
    if draw < 0.102:
        return SampleRecord(good.key, None, Fate.IGNORED)
    if draw < 0.150:
        event["clientDedupeId"] = None
        return SampleRecord(good.key, event, Fate.DELIVERED)
    return good


def _good(name: str, random: Random, now_ms: int, *, rich: bool) -> SampleRecord:
    dedupe_id = f"order-{name}"
    kind = _TYPES[random.randrange(len(_TYPES))]
    country, currency = _COUNTRIES[random.randrange(len(_COUNTRIES))]
    purchase = kind == "OFF_AMAZON_PURCHASES"
    person = sha256(f"person{random.randrange(10**9)}@example.com".encode()).hexdigest()
    event: dict[str, object] = {
        "name": "web_order" if purchase else kind.lower(),
        "eventType": kind,
        "eventActionSource": "website",
        "clientDedupeId": dedupe_id,
        "timestamp": now_ms - random.randrange(6 * _DAY_MS),
        "matchKeys": [{"type": "EMAIL", "value": person}, {"type": "MATCH_ID", "value": f"loyalty{name.replace('-', '')}"}],
        "value": round(random.uniform(1, 300), 2) if purchase else None,
        "currencyCode": currency if purchase else None,
        "unitsSold": random.randrange(1, 5) if purchase else None,
        "countryCode": country,
        "dataProcessingOptions": None,
        "consent": {"ipAddress": None, "amznAdStorage": "GRANTED", "amznUserData": "GRANTED", "tcf": None, "gpp": None},
        "customAttributes": {"brand": "northwind"} if purchase else None,
    }
    if rich and name.endswith(("25", "75")):
        event |= _IN_CLEAR
    return SampleRecord(dedupe_id, event, Fate.DELIVERED)


_IN_CLEAR: dict[str, object] = {
    "matchKeys": [
        {"type": "EMAIL", "value": "Jo.Doe@example.com"},
        {"type": "PHONE", "value": "+1 202 555 0123"},
        {"type": "LAST_NAME", "value": "Doe"},
        {"type": "ADDRESS", "value": "12 Example Street, Apt. 3"},
        {"type": "CITY", "value": "Springfield"},
    ],
    "customData": [{"name": "items", "value": "3", "dataType": "INTEGER"}],
    "userAgent": "Mozilla/5.0 (example)",
}
"""Inputs of one sample in fifty: values that the connector normalises and hashes itself, and rare
inputs."""
