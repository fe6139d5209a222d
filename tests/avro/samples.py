"""Sample events, and schemas like those of other companies."""

from __future__ import annotations

import copy
from typing import Any

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.avro.schema_file import packaged

AT_MS = 1_783_900_800_123

EVENT: dict[str, Any] = {
    "name": "Summer sale",
    "eventType": "OFF_AMAZON_PURCHASES",
    "eventActionSource": "WEBSITE",
    "clientDedupeId": "order-1",
    "timestamp": AT_MS,
    "matchKeys": [{"type": "EMAIL", "value": "a" * 64}, {"type": "PHONE", "value": "b" * 64}],
    "value": 0.99,
    "currencyCode": "EUR",
    "unitsSold": 2,
    "countryCode": "DE",
    "dataProcessingOptions": ["LIMITED_DATA_USE"],
    "consent": {"ipAddress": None, "amznAdStorage": "GRANTED", "amznUserData": "GRANTED", "tcf": None, "gpp": None},
    "customAttributes": {"brand": "acme"},
    "customData": [{"name": "items", "value": "3", "dataType": "INTEGER"}],
    "userAgent": "ExampleBrowser/1.0",
    "arefMeasurementTokens": "ABCDEFGHIJ.1755712000000",
    "amazonAdEventKey": "key",
    "partner": "a partner",
    "dataSetName": "Shop_Events",
}


class Known:
    """Schemas by id, without a registry; ``asked`` counts."""

    def __init__(self, **schemas: Any) -> None:
        self._schemas = {int(name.removeprefix("id")): schema for name, schema in schemas.items()}
        self.asked = 0

    def definitions(self, schema_id: Any, waited: float) -> list[Any]:
        self.asked += 1
        return [self._schemas[schema_id]]

    def check(self) -> None: ...


def ours() -> Any:
    return packaged("conversion_event.avsc")


def with_field(name: str, /, **changes: Any) -> Any:
    """Our schema with one field changed; a changed ``name`` renames it, and our aliases go."""
    schema = copy.deepcopy(ours())
    field = next(field for field in schema["fields"] if field["name"] == name)
    field.pop("aliases", None)
    if "type" in changes:
        field.pop("default", None)
    field.update(changes)
    return schema


def written(schema: Any, event: dict[str, Any], schema_id: int = 1) -> bytes:
    return framed(schema_id, EventEncoder(schema).encode(event))


class Polled:
    """A record of a value, as polled."""

    def __init__(self, value: bytes | None, headers: list[tuple[str, bytes | None]] | None = None) -> None:
        self._value = value
        self._headers = headers

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return None

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self._headers

    def topic(self) -> str:
        return "conversions"

    def offset(self) -> int:
        return 0

    def leader_epoch(self) -> int | None:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, AT_MS
