"""The sandbox's checks and a validator of JSON Schema, which judge by the same schemas, agree on generated events.

So the schemas mean what JSON Schema says they mean, and not what our reading of its keywords happens to be.
"""

from __future__ import annotations

import copy
import ipaddress
import random
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import extend

from connector.sandbox.checks import Rule, compiled
from connector.sandbox.contract import ADS_V1, EVENTS_V1, Contract, Limits, judge
from connector.sandbox.schemas import ADS_EVENT, EVENTS_EVENT
from tests.sandbox.examples import ADS_LEAD, ADS_NOW, ADS_PURCHASE, EVENTS_BODY, EVENTS_NOW, HASH

BY_CLOCK = {Rule.TOO_OLD, Rule.IN_FUTURE}
"""What the schemas leave out."""

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


FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value))


@FORMATS.checks("ip", ValueError)
def _is_address(value: object) -> bool:
    return not isinstance(value, str) or bool(ipaddress.ip_address(value))


Validator = extend(  # type: ignore[no-untyped-call]  # its stubs leave it untyped
    Draft202012Validator,
    # To JSON Schema 2.0 is an integer, to a parser of int32 it is none.
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


def exact(value: Any) -> Any:
    """Take decimals by their text, as a person reads them: binary fractions are no multiple of 0.01."""
    if isinstance(value, dict):
        return {name: exact(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [exact(entry) for entry in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


@pytest.mark.parametrize(
    ("contract", "now_ms", "seeds"),
    [(EVENTS_V1, EVENTS_NOW, EVENTS_BODY["eventData"]), (ADS_V1, ADS_NOW, [ADS_PURCHASE, ADS_LEAD])],
    ids=["events-v1", "ads-v1"],
)
def test_checks_and_validator_agree(contract: Contract, now_ms: int, seeds: list[Any]) -> None:
    Draft202012Validator.check_schema(contract.schema)
    validator = Validator(exact(contract.schema), format_checker=FORMATS)
    chance = random.Random(20261122)
    seen = {True: 0, False: 0}
    for _ in range(2500):
        event = copy.deepcopy(chance.choice(seeds))
        for _ in range(chance.choice([0, 1, 1, 2])):
            mutate(event, chance)
        flaws = [flaw for flaw in judge(contract, event, now_ms, Limits()) if flaw.rule not in BY_CLOCK]
        accepted = validator.is_valid(exact(orjson.loads(orjson.dumps(event))))
        assert accepted == (not flaws), (event, flaws)
        seen[accepted] += 1
    assert min(seen.values()) > 500


def test_a_keyword_that_is_not_known_is_refused_and_not_passed_over() -> None:
    with pytest.raises(ValueError, match="uniqueItems"):
        compiled({"type": "array", "items": {"type": "string"}, "uniqueItems": True})
