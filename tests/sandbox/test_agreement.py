"""The hand-written checks and a JSON Schema of the contracts agree on generated events.

The schemas are written here from amazon-contract.md, sections 3 and 4, and judged by ``jsonschema``: a second reading by
another machine. Age and purchases-only rules, which a schema of one event says badly, have their own tests.
"""

from __future__ import annotations

import copy
import random
from decimal import Decimal
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from connector.sandbox import enumerations as sets
from connector.sandbox.checks import Rule
from connector.sandbox.contract import ADS_V1, EVENTS_V1, Contract, Limits, judge
from tests.sandbox.examples import ADS_LEAD, ADS_NOW, ADS_PURCHASE, EVENTS_BODY, EVENTS_NOW

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
WORD: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_]+\\Z"}
STATE: Schema = {"enum": ["GRANTED", "DENIED"]}
NUMBER: Schema = {"type": "number", "multipleOf": Decimal("0.01")}
SECONDS = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
ZONE = r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\Z"
SOURCES = ["ANDROID", "FIRE_TV", "IOS", "OFFLINE", "WEBSITE"]
PEOPLE = ["EMAIL", "PHONE", "FIRST_NAME", "LAST_NAME", "ADDRESS", "CITY", "STATE", "POSTAL"]


def closed(required: Schema, optional: Schema) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


def match_keys(raw: list[str], most: int) -> Schema:
    def key(kinds: list[str], value: Schema) -> Schema:
        values = {"type": "array", "minItems": 1, "maxItems": 1, "items": value}
        return closed({"type": {"enum": kinds}, "values": values}, {})

    kinds = [
        key(PEOPLE, {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"}),
        key(["MATCH_ID"], {"type": "string", "pattern": r"^[A-Za-z0-9]{1,100}\Z"}),
        key(raw, TEXT),
    ]
    return {"type": "array", "minItems": 1, "maxItems": most, "items": {"anyOf": kinds}}


def consent(amazon: Schema) -> Schema:
    return closed({}, {"geo": closed({"ipAddress": TEXT}, {}), "amazonConsent": amazon, "tcf": TEXT, "gpp": TEXT})


EVENTS_SCHEMA = closed(
    {
        "name": TEXT,
        "eventType": {"enum": sorted(sets.EVENT_TYPES)},
        "eventActionSource": {"enum": SOURCES},
        "countryCode": {"enum": sorted(sets.EVENTS_COUNTRIES)},
        "timestamp": {"type": "string", "pattern": SECONDS + ZONE},
        "matchKeys": match_keys(["MAID", "RAMP_ID"], 11),
    },
    {
        "value": NUMBER,
        "currencyCode": {"enum": sorted(sets.EVENTS_CURRENCIES)},
        "unitsSold": {"type": "integer"},
        "clientDedupeId": TEXT,
        "dataProcessingOptions": {"type": "array", "items": {"enum": ["LIMITED_DATA_USE"]}},
        "consent": consent(closed({"amznAdStorage": STATE, "amznUserData": STATE}, {})),
        "customAttributes": {"type": "array", "items": closed({"name": WORD, "value": {**TEXT, "maxLength": 256}}, {})},
    },
)

ADS_SCHEMA = closed(
    {
        "eventDescription": closed(
            {
                "name": TEXT,
                "conversionType": {"enum": sorted(sets.EVENT_TYPES)},
                "eventSource": {"enum": [*SOURCES, "MEASUREMENT_ATTRIBUTION_PARTNER"]},
                "eventIngestionMethod": {"const": "SERVER_TO_SERVER"},
            },
            {"dataSetName": {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_-]{0,99}\Z"}},
        ),
        "countryCode": {"enum": sorted(sets.ADS_COUNTRIES)},
        "eventTime": {"type": "string", "pattern": SECONDS + r"(\.[0-9]{1,9})?" + ZONE},
        "matchKeys": match_keys(["MAID", "RAMP_ID", "REAL_ID", "MERKLE_ID", "KANTAR_ID"], 15),
    },
    {
        "value": NUMBER,
        "currencyCode": {"enum": sorted(sets.ADS_CURRENCIES)},
        "unitsSold": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        "eventId": TEXT,
        "dataProcessingOptions": closed({}, {"options": {"const": "LIMITED_DATA_USE"}}),
        "consent": consent(closed({"amznUserData": STATE}, {"amznAdStorage": STATE})),
        "customData": {
            "type": "array",
            "maxItems": 13,
            "items": closed({"name": WORD, "value": WORD}, {"dataType": {"enum": ["STRING", "TIMESTAMP"]}}),
        },
        "deviceInfo": closed({}, {"userAgent": {**TEXT, "maxLength": 512}}),
        "arefMeasurementTokens": {
            "type": "string",
            "pattern": r"^[A-Za-z0-9]{10}\.[0-9]{13}(\|[A-Za-z0-9]{10}\.[0-9]{13})*\Z",
        },
        "amazonAdEventKey": TEXT,
        "partner": TEXT,
    },
)

BY_CONDITION = {Rule.TOO_OLD, Rule.IN_FUTURE, Rule.PURCHASES_ONLY, Rule.NEGATIVE}
"""What the schemas leave out."""

ODD: list[Any] = [
    *(None, True, 0, -1, 7, 2**31, 0.99, 59.999, 1e15),
    *("", "x", "a b", "x" * 600, "GRANTED", "granted", "US", "UK", "ZZ", "OTHER", "USD", "CHF", "MAID", "FIP", "STRING"),
    *("0" * 64, "A" * 64, "é", "2026-03-02T09:15:30Z", "2026-03-02T09:15:30.5+01:00", "2026-13-02T09:15:30Z"),
    *([], ["x"], [{}], {}, {"tcf": "x"}, {"options": "LIMITED_DATA_USE"}, ["LIMITED_DATA_USE"], {"ipAddress": "x"}),
    *(
        [{"name": "a", "value": "b"}],
        [{"type": "MATCH_ID", "values": ["ab1"]}],
        {"userAgent": "x"},
        "ABCDEFGHIJ.1755712000000",
    ),
]
FIELDS = [
    *EVENTS_SCHEMA["properties"],
    *ADS_SCHEMA["properties"],
    *("amazonConsent", "amznAdStorage", "amznUserData", "geo", "dataSetName", "type", "values", "dataType", "other"),
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


def schema_accepts(schema: Schema, event: object) -> bool:
    # Decimals by their text, as a person reads them: binary fractions are no multiple of 0.01.
    exact = orjson.loads(orjson.dumps(event))
    if isinstance(exact, dict) and isinstance(exact.get("value"), float):
        number: float = exact["value"]
        exact["value"] = int(number) if number.is_integer() else Decimal(repr(number))
    return Draft202012Validator(schema).is_valid(exact)


@pytest.mark.parametrize(
    ("contract", "schema", "now_ms", "seeds"),
    [
        (EVENTS_V1, EVENTS_SCHEMA, EVENTS_NOW, EVENTS_BODY["eventData"]),
        (ADS_V1, ADS_SCHEMA, ADS_NOW, [ADS_PURCHASE, ADS_LEAD]),
    ],
    ids=["events-v1", "ads-v1"],
)
def test_checks_and_schema_agree(contract: Contract, schema: Schema, now_ms: int, seeds: list[Any]) -> None:
    Draft202012Validator.check_schema(schema)
    chance = random.Random(20261122)
    seen = {True: 0, False: 0}
    for _ in range(2500):
        event = copy.deepcopy(chance.choice(seeds))
        for _ in range(chance.choice([0, 1, 1, 2])):
            mutate(event, chance)
        flaws = [flaw for flaw in judge(contract, event, now_ms, Limits()) if flaw.rule not in BY_CONDITION]
        accepted = schema_accepts(schema, event)
        assert accepted == (not flaws), (event, flaws)
        seen[accepted] += 1
    assert min(seen.values()) > 500
