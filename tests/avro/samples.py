"""Sample events, and schemas like those of other companies."""

from __future__ import annotations

import copy
from typing import Any

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.avro.schema_file import packaged
from tests.records import AT_MS

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
