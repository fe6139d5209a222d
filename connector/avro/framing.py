"""The frame before the Avro bytes of a value, which names the writer's schema.

Confluent's wire format is a zero byte, then the schema's id in four bytes, big-endian. Plain Avro
has no frame, and one schema for the whole topic. (Confluent documentation, Schema Registry, "Wire
format".)
"""

from __future__ import annotations

from enum import Enum

from connector.errors import Undecodable

__all__ = ["Framing", "framed", "schema_id"]

_MAGIC = 0
_CONFLUENT_BYTES = 5


class Framing(Enum):
    """Framing of values. The number is the length of the frame in bytes."""

    PLAIN = 0
    CONFLUENT = _CONFLUENT_BYTES


def schema_id(value: bytes, framing: Framing) -> int:
    """Return the id of the writer's schema; 0 for plain Avro, whose schema has no id.

    Raises:
        Undecodable: the value does not have this framing.
    """
    if framing is Framing.PLAIN:
        return 0
    if len(value) < _CONFLUENT_BYTES:
        raise Undecodable(f"{len(value)} bytes are too few for a magic byte and a schema id")
    if value[0] != _MAGIC:
        raise Undecodable("the first byte is not the magic byte 0 of Confluent's wire format")
    return int.from_bytes(value[1:_CONFLUENT_BYTES], "big")


def framed(schema_id: int, body: bytes) -> bytes:
    """Return Avro bytes with Confluent's frame before them."""
    return bytes([_MAGIC]) + schema_id.to_bytes(_CONFLUENT_BYTES - 1, "big") + body
