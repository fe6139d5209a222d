"""Finds what names the schema of a value, and where its Avro bytes begin.

Each vendor's serialiser writes its own framing: a prefix before the Avro bytes, or a header of the
record beside bare Avro. The function that `locator` returns finds the bytes that name the schema,
and the Avro bytes. `schema_id` reads the name, once for each schema. `hint` says what a value that
could not be read looks like.

==================  ========================================================================
`Framing.PLAIN`     bare Avro; one schema for the whole topic
`CONFLUENT`         ``00 | id, 4 bytes``, or ``01 | GUID, 16 bytes``: a prefix, or a header
`GLUE`              ``03 | 00 or 05 for zlib | id of the schema version, a UUID of 16 bytes``
`APICURIO`          ``00 | contentId, 4 bytes``, or ``00 | globalId, 8 bytes``: a prefix; or a
                    header for either, of 8 bytes
`AZURE`             the header ``content-type: avro/binary+`` and an id of 32 hexadecimal digits
`SINGLE_OBJECT`     ``C3 01 | fingerprint CRC-64-AVRO, 8 bytes, little-endian``
==================  ========================================================================

Confluent's header is ``__value_schema_id``, and Apicurio's are ``apicurio.value.contentId`` and
``apicurio.value.globalId``. Numbers are big-endian unless the table says otherwise.

Sources: Confluent's SchemaId.java; AWSSchemaRegistryConstants.java; Apicurio's
OptimisticFallbackIdHandler.java, DefaultHeadersHandler.java and KafkaSerdeHeaders.java; Azure's
KafkaAvroSerializer.java; the Avro specification, "Single-object encoding".
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from enum import Enum
from uuid import UUID

from connector.errors import Undecodable
from connector.headers import headers_of
from connector.ports import Record

__all__ = ["Framing", "Located", "SchemaId", "framed", "hint", "locator", "named", "schema_id"]

_ID, _GUID = 0, 1
_ID_BYTES, _GUID_BYTES = 5, 17
CONFLUENT_HEADER = "__value_schema_id"

_GLUE = 3
_GLUE_PLAIN, _GLUE_ZLIB = 0, 5
_GLUE_BYTES = 18
_MOST_UNPACKED = 16 * 1024 * 1024

_APICURIO_HEADERS = {"apicurio.value.globalId": "globalId", "apicurio.value.contentId": "contentId"}
_APICURIO_ENCODING = "apicurio.value.encoding"
_APICURIO_BYTES = 9
_LARGEST_LONG = 2**63 - 1

_SINGLE_OBJECT = b"\xc3\x01"
_SINGLE_OBJECT_BYTES = 10

_AZURE_HEADER = "content-type"
_AZURE = b"avro/binary+"
_AZURE_ID = re.compile(rb"[0-9A-Fa-f]{32}").fullmatch
_CONTAINER = b"Obj\x01"


class Framing(Enum):
    """The framing of values. Each member's value is the setting that chooses it."""

    PLAIN = "AVRO_SCHEMA_FILE"
    CONFLUENT = "SCHEMA_REGISTRY_TYPE=confluent"
    GLUE = "SCHEMA_REGISTRY_TYPE=glue"
    APICURIO = "SCHEMA_REGISTRY_TYPE=apicurio"
    AZURE = "SCHEMA_REGISTRY_TYPE=azure"
    SINGLE_OBJECT = "AVRO_SCHEMA_DIR"


SchemaId = int | UUID | bytes | str
"""What names a schema.

A number or a GUID (Confluent), a UUID (Glue), a text such as "globalId 5" (Apicurio) or of
hexadecimal digits (Azure), a fingerprint (single-object encoding), or 0 if there is only one
schema.
"""

Located = tuple[bytes, bytes, int]
"""The bytes that name the schema, the bytes that hold the event, and where in those it begins."""


def locator(framing: Framing) -> Callable[[Record, bytes], Located]:
    """Return the function that finds the schema's name and the event in a record and its value.

    The function raises `Undecodable` if the value does not have this framing.
    """
    return _LOCATORS[framing]


def schema_id(name: bytes, framing: Framing) -> SchemaId:
    """Return the id in the bytes that name a schema.

    Raises:
        Undecodable: the bytes cannot name a schema.
    """
    match framing:
        case Framing.PLAIN:
            return 0
        case Framing.CONFLUENT:
            return _confluent_id(name)
        case Framing.GLUE:
            return UUID(bytes=name)
        case Framing.APICURIO | Framing.AZURE:
            return name.decode("ascii")
        case Framing.SINGLE_OBJECT:
            return name


def named(schema_id: SchemaId) -> str:
    """Return how to name a schema in a sentence."""
    return f"schema of fingerprint {schema_id.hex()}" if isinstance(schema_id, bytes) else f"schema {schema_id}"


def framed(schema_id: int, body: bytes) -> bytes:
    """Return Avro bytes after Confluent's prefix."""
    return bytes([_ID]) + schema_id.to_bytes(_ID_BYTES - 1, "big") + body


def hint(record: Record, value: bytes, framing: Framing) -> str:
    """Return what a value that could not be read looks like, and which setting would read it.

    Empty if the value looks like nothing known, or like the framing that is set.
    """
    for seen, what, *read_by in _signs(record, value):
        if seen:
            if framing in read_by:
                return ""
            return f"; this looks like {what}" + (f" ({read_by[0].value})" if read_by else "")
    return "" if _has(framing, record, value) else f"; it may be plain Avro ({Framing.PLAIN.value})"


def _has(framing: Framing, record: Record, value: bytes) -> bool:
    """Return whether a value has this framing."""
    try:
        schema_id(locator(framing)(record, value)[0], framing)
    except Undecodable:
        return False
    return True


def _signs(record: Record, value: bytes) -> tuple[tuple[bool, str, *tuple[Framing, ...]], ...]:
    """Return all signs, the surest first: whether it is there, what it means, what reads it."""
    names = {name: content or b"" for name, content in headers_of(record) or ()}
    first, size = value[:1], len(value)
    return (
        (len(names.get(CONFLUENT_HEADER, b"")) in _CONFLUENT_BYTES, "Confluent's header", Framing.CONFLUENT),
        (not names.keys().isdisjoint(_APICURIO_HEADERS), "Apicurio's headers", Framing.APICURIO),
        (names.get(_AZURE_HEADER, b"").startswith(_AZURE), "a value of Azure Schema Registry", Framing.AZURE),
        (value[:4] == _CONTAINER, "an Avro container file, which is not a value"),
        (value[:2] == _SINGLE_OBJECT and size >= _SINGLE_OBJECT_BYTES, "single-object encoding", Framing.SINGLE_OBJECT),
        (value[:2] in (b"\x03\x00", b"\x03\x05") and size >= _GLUE_BYTES, "AWS Glue's framing", Framing.GLUE),
        (value[:5] == bytes(5) and size >= _APICURIO_BYTES, "an 8-byte id of Apicurio", Framing.APICURIO),
        (value[:2] == bytes(2) and size >= _ID_BYTES, "Confluent's framing", Framing.CONFLUENT, Framing.APICURIO),
        (first == b"\x01" and size >= _GUID_BYTES, "Confluent's framing with a GUID", Framing.CONFLUENT),
        (value[:_JSON_BYTES].lstrip(_BEFORE_JSON)[:1] in (b"{", b"["), "JSON, which is not read"),
    )


_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"
"""A byte order mark and blanks, which may stand before JSON."""
_JSON_BYTES = 16


def _header(record: Record, name: str) -> bytes | None:
    """Return the last header with a name."""
    found = None
    for each, content in headers_of(record) or ():
        if each == name:
            found = content or b""
    return found


def _plain(_: Record, value: bytes) -> Located:
    return b"", value, 0


_CONFLUENT_BYTES = (_ID_BYTES, _GUID_BYTES)


def _confluent(record: Record, value: bytes) -> Located:
    """Look at the header, then at the prefix, as Confluent's "dual" deserialiser does."""
    if (name := _header(record, CONFLUENT_HEADER)) is not None:
        if len(name) not in _CONFLUENT_BYTES:
            raise Undecodable(f"header {CONFLUENT_HEADER} has {len(name)} bytes; 5 or 17 belong there")
        if name[0] != _CONFLUENT_BYTES.index(len(name)):
            raise Undecodable(f"header {CONFLUENT_HEADER} begins with neither 0 and an id nor 1 and a GUID")
        return name, value, 0
    size = _GUID_BYTES if value[:1] == b"\x01" else _ID_BYTES
    return value[:size], value, size


def _confluent_id(name: bytes) -> int | UUID:
    if name[:1] == b"\x01":
        if len(name) < _GUID_BYTES:
            raise Undecodable(f"{len(name)} bytes are too few for a magic byte and a GUID")
        return UUID(bytes=name[1:])
    if len(name) < _ID_BYTES:
        raise Undecodable(f"{len(name)} bytes are too few for a magic byte and a schema id")
    if name[0] != _ID:
        raise Undecodable("the first byte is not a magic byte of Confluent's wire format, 0 or 1")
    return int.from_bytes(name[1:], "big")


def _glue(_: Record, value: bytes) -> Located:
    if len(value) < _GLUE_BYTES:
        raise Undecodable(f"{len(value)} bytes are too few for AWS Glue's prefix of {_GLUE_BYTES}")
    if value[0] != _GLUE:
        raise Undecodable("the first byte is not the 3 of AWS Glue's framing")
    name = value[2:_GLUE_BYTES]
    if value[1] == _GLUE_PLAIN:
        return name, value, _GLUE_BYTES
    if value[1] != _GLUE_ZLIB:
        raise Undecodable("the second byte is neither 0 nor 5, the compressions of AWS Glue's framing")
    return name, _unpacked(value[_GLUE_BYTES:]), 0


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(packed, _MOST_UNPACKED)
    except zlib.error:
        raise Undecodable("its compressed bytes are damaged") from None
    if unpacking.unconsumed_tail:
        raise Undecodable(f"its compressed bytes are more than {_MOST_UNPACKED} when unpacked")
    if not unpacking.eof or unpacking.unused_data:
        raise Undecodable("its compressed bytes are damaged")
    return unpacked


def _apicurio(record: Record, value: bytes) -> Located:
    """Look at the headers, then at the prefix.

    An id of 4 bytes is never 0, so zeros begin one of 8.
    """
    for header, kind in _APICURIO_HEADERS.items():
        if (content := _header(record, header)) is not None:
            if len(content) != _APICURIO_BYTES - 1:
                raise Undecodable(f"header {header} has {len(content)} bytes; 8 belong there")
            if _header(record, _APICURIO_ENCODING) not in (None, b"BINARY"):
                raise Undecodable(f"header {_APICURIO_ENCODING} is not BINARY, the only encoding that is read")
            return _apicurio_name(kind, content), value, 0
    if value[:1] != b"\x00":
        raise Undecodable("there is no header with an id of Apicurio, and the first byte is not the 0 of its prefix")
    kind, size = ("globalId", _APICURIO_BYTES) if value[:_ID_BYTES] == bytes(_ID_BYTES) else ("contentId", _ID_BYTES)
    if len(value) < size:
        raise Undecodable(f"{len(value)} bytes are too few for Apicurio's prefix of {size}")
    return _apicurio_name(kind, value[1:size]), value, size


def _apicurio_name(kind: str, content: bytes) -> bytes:
    number = int.from_bytes(content, "big")
    if number > _LARGEST_LONG:
        raise Undecodable(f"its {kind} is negative")
    return f"{kind} {number}".encode("ascii")


def _azure(record: Record, value: bytes) -> Located:
    content = _header(record, _AZURE_HEADER)
    if content is None:
        raise Undecodable(f"there is no header {_AZURE_HEADER} with the id of a schema in Azure Schema Registry")
    if not content.startswith(_AZURE) or not _AZURE_ID(name := content[len(_AZURE) :]):
        raise Undecodable(f"header {_AZURE_HEADER} is not avro/binary+ and an id of 32 hexadecimal digits")
    return name, value, 0


def _single_object(_: Record, value: bytes) -> Located:
    if value[:2] != _SINGLE_OBJECT:
        raise Undecodable("the first two bytes are not the C3 01 of single-object encoding")
    if len(value) < _SINGLE_OBJECT_BYTES:
        raise Undecodable(f"{len(value)} bytes are too few for the fingerprint of single-object encoding")
    return value[2:_SINGLE_OBJECT_BYTES], value, _SINGLE_OBJECT_BYTES


_LOCATORS: dict[Framing, Callable[[Record, bytes], Located]] = {
    Framing.PLAIN: _plain,
    Framing.CONFLUENT: _confluent,
    Framing.GLUE: _glue,
    Framing.APICURIO: _apicurio,
    Framing.AZURE: _azure,
    Framing.SINGLE_OBJECT: _single_object,
}
