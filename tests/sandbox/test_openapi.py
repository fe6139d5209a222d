"""The sandbox's ads-v1 beside Amazon's own OpenAPI text: it has all of it, and is nowhere more lenient."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema_rs import Draft202012Validator

from connector.amazon.ads_v1 import AdsV1
from connector.sandbox.contract import ADS_V1, EventLimits, judge
from connector.sandbox.schemas import ADS_EVENT
from tests.amazon.inputs import a_purchase
from tests.sandbox.examples import ADS_LEAD, ADS_NOW, ADS_PURCHASE, mutate


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """Write the format "int32" as bounds: a validator asks formats about texts alone."""
    return schema | {"minimum": -(2**31), "maximum": 2**31 - 1} if schema.get("format") == "int32" else schema


OPENAPI: dict[str, Any] = json.loads(
    Path(__file__).with_name("openapi_event.json").read_text(encoding="utf-8"), object_hook=_bounded
)
AMAZON = Draft202012Validator(OPENAPI)


def _compare(ours: Any, amazons: Any, place: str) -> list[str]:
    """Return where our schema has other fields, sets or sizes than Amazon's."""
    if amazons["type"] != ours["type"]:
        return [f"{place}: type"]
    differences = [
        f"{place}: {keyword}"
        for keyword in ("minItems", "maxItems")
        if amazons.get(keyword) and ours.get(keyword) != amazons[keyword]
    ]
    if set(amazons.get("enum", ())) != set(ours.get("enum", ())):
        differences.append(f"{place}: enum")
    if amazons["type"] == "array":
        return differences + _compare(ours["items"], amazons["items"], f"{place}[]")
    if amazons["type"] != "object":
        return differences
    if set(amazons.get("required", ())) != set(ours["required"]):
        differences.append(f"{place}: required")
    if amazons["properties"].keys() != ours["properties"].keys():
        return [*differences, f"{place}: properties"]
    for name, schema in amazons["properties"].items():
        differences += _compare(ours["properties"][name], schema, f"{place}.{name}")
    return differences


def test_every_field_set_and_size_is_amazons() -> None:
    assert _compare(ADS_EVENT, OPENAPI, "event") == []


def test_what_the_sandbox_accepts_amazons_text_accepts() -> None:
    chance = random.Random(20261122)
    accepted = refused = 0
    for _ in range(2500):
        event = copy.deepcopy(chance.choice([ADS_PURCHASE, ADS_LEAD]))
        for _ in range(chance.choice([0, 1, 1, 2])):
            mutate(event, chance)
        if judge(ADS_V1, event, ADS_NOW, EventLimits(max_future_ms=10**12)):
            refused += not AMAZON.is_valid(event)
        else:
            assert AMAZON.is_valid(event), event
            accepted += 1
    assert min(accepted, refused) > 300


@pytest.mark.parametrize(
    "extra", [{}, {"value": None, "eventType": "Sign-up"}, {"userAgent": "x", "customData": [{"name": "a", "value": 1}]}]
)
def test_what_the_connector_sends_amazons_text_accepts(extra: dict[str, object]) -> None:
    payload = AdsV1("585", "client", "NA", "Shop_Events").encode(a_purchase(**extra), "id")
    assert isinstance(payload, bytes)
    AMAZON.validate(orjson.loads(payload))
