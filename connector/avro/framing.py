"""What stands before the Avro bytes of a value, and so by which schema they were written.

Confluent's wire format is a zero byte and the schema's id in four bytes, big-endian; plain Avro has nothing before it
and one schema for the whole topic. (Confluent documentation, Schema Registry, "Wire format".)
"""

from __future__ import annotations

from enum import Enum

from connector.errors import Undecodable

__all__ = ["Framing", "framed", "schema_id"]

_MAGIC = 0
_CONFLUENT_BYTES = 5


class Framing(Enum):
    """How values are framed; the number is how many bytes stand before the Avro bytes."""

    PLAIN = 0
    CONFLUENT = _CONFLUENT_BYTES


def schema_id(value: bytes, framing: Framing) -> int:
    """Return the id of the schema the value was written by; 0 for plain Avro, whose schema has none.

    Raises:
        Undecodable: the value is not framed so.
    """
    if framing is Framing.PLAIN:
        return 0
    if len(value) < _CONFLUENT_BYTES:
        raise Undecodable(f"{len(value)} bytes are too few for a magic byte and a schema id")
    if value[0] != _MAGIC:
        raise Undecodable("the first byte is not the magic byte 0 of Confluent's wire format")
    return int.from_bytes(value[1:_CONFLUENT_BYTES], "big")


def framed(schema_id: int, body: bytes) -> bytes:
    """Put Confluent's frame before Avro bytes."""
    return bytes([_MAGIC]) + schema_id.to_bytes(_CONFLUENT_BYTES - 1, "big") + body
