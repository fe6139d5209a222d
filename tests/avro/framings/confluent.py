"""Writes one event with each way of Confluent's serialiser to name its schema, to a JSON array on standard output.

The registry is franz-go's stand-in (``registry/``), whose address is the argument::

    python -m tests.avro.framings.confluent http://127.0.0.1:PORT > tests/avro/framings/confluent.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from confluent_kafka.schema_registry import (
    Schema,
    SchemaRegistryClient,
    header_schema_id_serializer,
    prefix_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SCHEMA = {
    "type": "record",
    "name": "Order",
    "namespace": "com.shop",
    "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": ["null", "double"], "default": None}],
}
EVENT = {"name": "Summer sale", "value": 0.99}


def made(url: str) -> list[dict[str, Any]]:
    """Return what is written into ``confluent.json``."""
    ways = {"prefix, id": prefix_schema_id_serializer, "header, GUID": header_schema_id_serializer}
    return [{"framing": name, **_made(url, way)} for name, way in ways.items()]


def _made(url: str, way: Any) -> dict[str, Any]:
    headers: list[tuple[str, Any]] = []
    with SchemaRegistryClient({"url": url}) as client:
        client.register_schema("conversions-value", Schema(json.dumps(SCHEMA), "AVRO"))
        # By the newest version: this registry tells the GUID of what is asked for, not of what is registered.
        how = {"schema.id.serializer": way, "auto.register.schemas": False, "use.latest.version": True}
        serialize = AvroSerializer(client, json.dumps(SCHEMA), conf=how)
        value = serialize(EVENT, SerializationContext("conversions", MessageField.VALUE, headers))
        found = client.get_latest_version("conversions-value")
    assert value is not None
    return {
        "id": found.schema_id,
        "guid": found.guid,
        "headers": [[name, content.hex()] for name, content in headers],
        "value": value.hex(),
    }


if __name__ == "__main__":
    json.dump(made(sys.argv[1]), sys.stdout, indent=2)
    sys.stdout.write("\n")
