"""Events written by a schema: for the demo, sample producers and tests, which stand where a real producer would."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from fastavro import parse_schema, schemaless_writer

from connector.avro.schemas import packaged
from connector.avro.writer_schema import Json

__all__ = ["EventEncoder"]


class EventEncoder:
    """Writes events as plain Avro; `connector.avro.framing.framed` puts Confluent's frame before it."""

    def __init__(self, schema: Json | None = None) -> None:
        self.schema = packaged("conversion_event.avsc") if schema is None else schema
        """The writer's schema as JSON, to be registered; ours unless another is given."""
        self._parsed = parse_schema(self.schema)

    def encode(self, event: Mapping[str, object]) -> bytes:
        """Write one event; a ``timestamp`` is whole milliseconds, or a datetime."""
        body = BytesIO()
        schemaless_writer(body, self._parsed, event)
        return body.getvalue()
