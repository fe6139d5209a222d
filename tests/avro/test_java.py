"""What Apache Avro for Java wrote by a schema is read by it: ``java/values.json``, made by ``java/Values.java``.

Made anew so, with the jars that ``mvn dependency:copy-dependencies`` gets for ``java/pom.xml``::

    python schemas.py | java -cp 'target/dependency/*' Values.java > values.json
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastavro import schemaless_reader

from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.avro.writer_schema import parse
from connector.errors import Undecodable
from tests.avro.java.schemas import schemas
from tests.avro.samples import Known
from tests.records import PolledRecord

_MADE = json.loads((Path(__file__).parent / "java" / "values.json").read_text("utf-8"))
_TAKEN = [(definitions, made) for definitions, made in zip(schemas(), _MADE, strict=True) if made is not None]


def _as_json(value: Any) -> Any:
    """Return a value as the other program wrote it."""
    if isinstance(value, bytes):
        return {"bytes as hex": value.hex()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return {name: _as_json(part) for name, part in value.items()} if isinstance(value, dict) else value


def _refused(definitions: list[Any]) -> bool:
    """Tell whether a schema is refused for a shape that Java takes."""
    try:
        parse(definitions)
    except Undecodable as error:
        return "parts without bytes" in str(error)
    return False


def test_there_are_many_that_java_takes() -> None:
    assert len(_TAKEN) > 150
    assert sum(len(made["written"]) for definitions, made in _TAKEN if not _refused(definitions)) > 400


@pytest.mark.parametrize(("definitions", "made"), _TAKEN)
def test_what_java_wrote_is_read(definitions: list[Any], made: dict[str, Any]) -> None:
    if _refused(definitions):
        return
    schema = parse(definitions).schema
    for written, value in zip(made["written"], made["values"], strict=True):
        stream = BytesIO(bytes.fromhex(written))
        assert _as_json(schemaless_reader(stream, schema, None)) == value
        assert stream.read() == b""


@pytest.mark.parametrize(("definitions", "made"), _TAKEN)
def test_damaged_values_are_read_or_are_undecodable(definitions: list[Any], made: dict[str, Any]) -> None:
    known = Known()
    known.definitions = lambda *_: definitions  # type: ignore[method-assign]
    decoder = EventDecoder(Framing.PLAIN, known)
    for written in made["written"]:
        value = bytes.fromhex(written)
        for place in range(len(value)):
            for damage in (b"", b"\x01", b"\x7f", b"\xff"):
                try:
                    assert isinstance(decoder.decode(PolledRecord(value[:place] + damage + value[place + 1 :])), dict)
                except Undecodable:
                    continue
