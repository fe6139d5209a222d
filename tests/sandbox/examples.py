"""The golden examples of docs/amazon-contract.md#examples, and small tools to vary them."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime
from typing import Any

from connector.sandbox.schemas import ADS_EVENT, EVENTS_EVENT

__all__ = [
    "ADS_BODY",
    "ADS_LEAD",
    "ADS_NOW",
    "ADS_PURCHASE",
    "EVENTS_BODY",
    "EVENTS_NOW",
    "EVENTS_PURCHASE",
    "HASH",
    "MISSING",
    "mutate",
    "put",
]

HASH = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"

MISSING = object()
"""In `put`: take the field away."""


def _ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type, misc]  # year to second only


EVENTS_NOW = _ms(2026, 3, 2, 9, 20, 0)
"""When the first example of events/v1 was fresh and the second was stale."""

ADS_NOW = _ms(2026, 8, 20, 18, 10, 0)

EVENTS_PURCHASE: dict[str, Any] = {
    "name": "web_order",
    "eventType": "OFF_AMAZON_PURCHASES",
    "eventActionSource": "WEBSITE",
    "countryCode": "DE",
    "timestamp": "2026-03-02T09:15:30Z",
    "clientDedupeId": "order-700123",
    "value": 59.9,
    "currencyCode": "EUR",
    "unitsSold": 2,
    "matchKeys": [{"type": "EMAIL", "values": [HASH]}],
    "consent": {"amazonConsent": {"amznAdStorage": "GRANTED", "amznUserData": "GRANTED"}},
    "customAttributes": [{"name": "brand", "value": "northwind"}],
}

EVENTS_BODY: dict[str, Any] = {
    "ingestionMethod": "SERVER_TO_SERVER",
    "eventData": [
        EVENTS_PURCHASE,
        {
            "name": "newsletter",
            "eventType": "SIGN_UP",
            "eventActionSource": "WEBSITE",
            "countryCode": "FR",
            "timestamp": "2026-01-02T09:15:31Z",
            "matchKeys": [{"type": "MATCH_ID", "values": ["loyalty4711"]}],
            "consent": {"tcf": "CQexampleTcfString"},
            "dataProcessingOptions": ["LIMITED_DATA_USE"],
        },
    ],
}

ADS_PURCHASE: dict[str, Any] = {
    "eventDescription": {
        "name": "web_order",
        "conversionType": "OFF_AMAZON_PURCHASES",
        "eventSource": "WEBSITE",
        "eventIngestionMethod": "SERVER_TO_SERVER",
        "dataSetName": "Shop_Events",
    },
    "countryCode": "US",
    "eventTime": "2026-08-20T18:04:05Z",
    "eventId": "order-700124",
    "value": 120.5,
    "currencyCode": "USD",
    "unitsSold": 1,
    "matchKeys": [
        {"type": "EMAIL", "values": [HASH]},
        {"type": "PHONE", "values": ["0000fd214ade3cd6a790d9a949f519b17b7c993625dd4782e14166523c66d415"]},
        {"type": "POSTAL", "values": ["3da7b379be1e965398d65f8b94efd69a6963b55c6f32bb04f4df105da8247707"]},
    ],
    "customData": [{"name": "brand", "dataType": "STRING", "value": "northwind"}],
    "deviceInfo": {"userAgent": "ExampleBrowser/1.0"},
}

ADS_LEAD: dict[str, Any] = {
    "eventDescription": {
        "name": "newsletter",
        "conversionType": "SIGN_UP",
        "eventSource": "WEBSITE",
        "eventIngestionMethod": "SERVER_TO_SERVER",
    },
    "countryCode": "CA",
    "eventTime": "2026-08-20T18:04:05.250-07:00",
    "matchKeys": [{"type": "MAID", "values": ["1f7c2c1e-7f0a-4f55-9a43-0f2d8a6b9e10"]}],
    "dataProcessingOptions": {"options": "LIMITED_DATA_USE"},
    "consent": {"geo": {"ipAddress": "203.0.113.9"}, "gpp": "DBexampleGppString"},
}
"""The second example of adsApi/v1 with a time that is one: seven hours later by its offset than it reads."""

ADS_BODY: dict[str, Any] = {"events": [ADS_PURCHASE, ADS_LEAD | {"eventTime": "20 August 2026"}]}


def put(event: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy of an event with one place changed; ``path`` as ``matchKeys.0.values``."""
    changed = copy.deepcopy(event)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = changed
    for step in steps:
        place = place[step]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value(place[last]) if callable(value) else value
    return changed


ODD: list[Any] = [
    *(None, True, 0, -1, 7, 2**31, 0.99, 59.999, 1e15),
    *("", "x", "a b", "x" * 600, "GRANTED", "granted", "US", "UK", "ZZ", "OTHER", "USD", "CHF", "MAID", "FIP", "STRING"),
    *("0" * 64, "A" * 64, "é", "2026-03-02T09:15:30Z", "2026-03-02T09:15:30.5+01:00", "2026-13-02T09:15:30Z"),
    *([], ["x"], [{}], {}, {"tcf": "x"}, {"options": "LIMITED_DATA_USE"}, ["LIMITED_DATA_USE"], {"ipAddress": "x"}),
    *(
        [{"name": "a", "value": "b"}],
        [{"type": "MATCH_ID", "values": ["ab1"]}],
        [{"type": "FIP", "values": ["2001:db8::1"]}],
        [{"type": "EMAIL", "values": [HASH]}],
        {"userAgent": "x"},
        "ABCDEFGHIJ.1755712000000",
        "OFF_AMAZON_PURCHASES",
        "LEAD",
        "INTEGER",
        "2147483647",
        "2147483648",
        "2001:db8::1",
        HASH.upper(),
    ),
]
FIELDS = [
    *EVENTS_EVENT["properties"],
    *ADS_EVENT["properties"],
    *(
        "amazonConsent",
        "amznAdStorage",
        "amznUserData",
        "geo",
        "dataSetName",
        "type",
        "values",
        "dataType",
        "conversionType",
        "other",
    ),
]


def places(value: Any) -> list[Any]:
    """Every object and array within an event, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(place for entry in inner for place in places(entry))] if isinstance(value, dict | list) else []


def mutate(event: Any, chance: random.Random) -> None:
    """Put something odd, doubled or missing at one place of the event."""
    place = chance.choice(places(event))
    if isinstance(place, list):
        place.append(copy.deepcopy(chance.choice([*place, *ODD])))
        place *= chance.choice([1, 1, 1, 13])
        return
    name = chance.choice([*place, *place, chance.choice(FIELDS)])
    if chance.random() < 0.15:
        place.pop(name, None)
    else:
        place[name] = copy.deepcopy(chance.choice(ODD))
