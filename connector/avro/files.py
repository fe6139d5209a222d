"""Reads events from files: Avro's object container files, and JSON lines in Avro's JSON encoding.

Each event becomes the bytes of plain Avro that a record would hold, so a file goes through the same
code as a topic. (Apache Avro 1.12, specification, "Object Container Files" and "JSON Encoding".)
"""

from __future__ import annotations

import json
import struct
from codecs import BOM_UTF8
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from fastavro import block_reader, schemaless_reader

from connector.avro.framing import SchemaId
from connector.avro.varint import packed, zigzag
from connector.avro.writer_schema import RECORDS, Json, WriterSchema, parse
from connector.errors import Undecodable

__all__ = ["OneSchema", "container", "json_lines"]


class OneSchema:
    """A `decoding.WriterSchemas` of the one schema that all values were written with."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema

    def definitions(self, schema_id: SchemaId, waited: float) -> list[Json]:  # noqa: ARG002 - the port has them; values name no schema here
        """Return the schema."""
        return [self._schema]

    def check(self) -> None:
        """Do nothing: the schema is at hand."""


def container(path: Path) -> tuple[Json, Iterator[bytes]]:
    """Return the schema of a container file, and its values.

    Raises:
        Undecodable: the file is not a container file, or is damaged.
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as content:
            schema = json.loads(block_reader(content).metadata["avro.schema"])
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - fastavro raises anything for other files
        raise Undecodable(f"{path} is not a container file of Avro ({type(error).__name__})") from None
    return schema, _values(path, parse([schema]))


def _values(path: Path, writer: WriterSchema) -> Iterator[bytes]:
    """Yield the values of a container file. One block at a time is in memory."""
    try:
        with path.open("rb") as content:
            for block in block_reader(content):
                data = cast("Any", block).bytes_.read()  # its stub lacks the attribute
                stream = BytesIO(data)
                for _ in range(block.num_records):
                    start = stream.tell()
                    schemaless_reader(stream, writer.schema, None, handle_unicode_errors="surrogateescape")
                    yield data[start : stream.tell()]
    except Undecodable:
        raise
    except Exception as error:  # noqa: BLE001 - fastavro raises anything for damaged bytes
        raise Undecodable(f"{path} is damaged ({type(error).__name__})") from None


def json_lines(path: Path, schema: Json) -> Iterator[bytes]:
    """Yield the values of a file that has one value a line.

    Raises:
        Undecodable: a line does not fit the schema. The text names line and field, never a value.
        OSError: the file cannot be read.
    """
    writer = parse([schema])
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if text := line.removeprefix(BOM_UTF8).strip():
                out = BytesIO()
                try:
                    _write(out, writer, writer.event, json.loads(text), "")
                except _Unfit as unfit:
                    raise Undecodable(f"{path}, line {number}: {unfit}") from None
                except (ValueError, RecursionError):
                    raise Undecodable(f"{path}, line {number}: it is not JSON") from None
                yield out.getvalue()


class _Unfit(Exception):
    """A value does not have its type."""


def _write(out: BytesIO, writer: WriterSchema, schema: Json, value: Json, place: str) -> None:  # noqa: PLR0912 - a case for each type
    if isinstance(schema, list):
        _write_branch(out, writer, schema, value, place)
        return
    resolved = writer.resolved(schema)
    kind = resolved["type"]
    if kind in RECORDS:
        fields = _typed(value, dict, place, "an object")
        for field in resolved["fields"]:
            within = f"{place}.{field['name']}" if place else field["name"]
            if field["name"] not in fields:
                raise _Unfit(f"{within} is missing")
            _write(out, writer, field["type"], fields[field["name"]], within)
    elif kind == "array":
        items = _typed(value, list, place, "an array")
        if items:
            out.write(_zigzag(len(items)))
        for item in items:
            _write(out, writer, resolved["items"], item, f"{place}[]")
        out.write(b"\0")
    elif kind == "map":
        entries = _typed(value, dict, place, "an object")
        if entries:
            out.write(_zigzag(len(entries)))
        for name, entry in entries.items():
            _write_bytes(out, name.encode())
            _write(out, writer, resolved["values"], entry, f"{place}.*")
        out.write(b"\0")
    elif kind == "string":
        _write_bytes(out, _typed(value, str, place, "a text").encode("utf-8", "surrogatepass"))
    elif kind == "bytes":
        _write_bytes(out, _latin(value, place))
    elif kind == "fixed":
        content = _latin(value, place)
        if len(content) != resolved["size"]:
            raise _Unfit(f"{place} has not {resolved['size']} bytes")
        out.write(content)
    elif kind == "enum":
        if value not in resolved["symbols"]:
            raise _Unfit(f"{place} is none of its symbols")
        out.write(_zigzag(resolved["symbols"].index(value)))
    elif kind == "boolean":
        out.write(b"\1" if _typed(value, bool, place, "true or false") else b"\0")
    elif kind in ("int", "long"):
        number = _typed(value, int, place, "a whole number")
        if not -(2**63) <= number < 2**63:
            raise _Unfit(f"{place} has more than 64 bits")
        out.write(_zigzag(number))
    elif kind in ("float", "double"):
        out.write(_floating(value, kind, place))
    elif value is not None:
        raise _Unfit(f"{place} is not null")


def _write_branch(out: BytesIO, writer: WriterSchema, branches: list[Json], value: Json, place: str) -> None:
    """Write a value of a union, given as null or as an object with the branch's name and value."""
    names = [branch if isinstance(branch, str) else writer.resolved(branch)["type"] for branch in branches]
    if value is None:
        chosen, content = "null", None
    elif isinstance(value, dict) and len(value) == 1:
        ((chosen, content),) = value.items()
    else:
        chosen, content = "", None
    if chosen not in names:
        raise _Unfit(f'{place} is of a union: write null, or the type\'s name with the value, as {{"{names[-1]}": …}}')
    index = names.index(chosen)
    out.write(_zigzag(index))
    _write(out, writer, branches[index], content, place)


def _typed(value: Json, kind: type, place: str, what: str) -> Json:
    if type(value) is not kind:
        raise _Unfit(f"{place or 'the line'} is not {what}")
    return value


def _floating(value: Json, kind: str, place: str) -> bytes:
    number = value if type(value) is int else _typed(value, float, place, "a number")
    try:
        return struct.pack("<f" if kind == "float" else "<d", float(number))
    except OverflowError:
        raise _Unfit(f"{place} is too large for a {kind}") from None


def _latin(value: Json, place: str) -> bytes:
    """Return bytes. Avro's JSON encoding writes them as a text, one character for each byte."""
    try:
        return bytes(_typed(value, str, place, "a text of bytes").encode("latin-1"))
    except UnicodeEncodeError:
        raise _Unfit(f"{place} has characters that are not bytes") from None


def _zigzag(number: int) -> bytes:
    return packed([zigzag(number)])


def _write_bytes(out: BytesIO, content: bytes) -> None:
    out.write(_zigzag(len(content)))
    out.write(content)
