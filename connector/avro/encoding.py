"""Encodes events as Avro, for the demo, the sample producer and tests."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from fastavro import parse_schema, schemaless_writer

from connector.avro.schema_file import packaged
from connector.avro.writer_schema import Json

__all__ = ["EventEncoder"]


class EventEncoder:
    """Encodes events as plain Avro; `connector.avro.framing.framed` adds Confluent's frame."""

    def __init__(self, schema: Json | None = None) -> None:
        self.schema = packaged("conversion_event.avsc") if schema is None else schema
        """Writer's schema as JSON, to be registered; ours by default."""
        self._parsed = parse_schema(self.schema)

    def encode(self, event: Mapping[str, object]) -> bytes:
        """Encode one event. Its ``timestamp`` is whole milliseconds, or a datetime."""
        body = BytesIO()
        schemaless_writer(body, self._parsed, event)
        return body.getvalue()
