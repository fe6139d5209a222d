"""Schemas of a directory, found by fingerprint. The value comes from Avro's encoder for Java."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.avro.schema_directory import SchemaDirectory
from connector.errors import SettingsError, UnknownSchema
from tests.avro.framings.confluent import EVENT, SCHEMA
from tests.records import PolledRecord

MADE = json.loads((Path(__file__).parent / "framings" / "java.json").read_text("utf-8"))
VALUE = bytes.fromhex(next(made["value"] for made in MADE if made["framing"] == "single-object"))
FINGERPRINT = VALUE[2:10]


def written(path: Path, **schemas: Any) -> Path:
    for name, schema in schemas.items():
        text = schema if isinstance(schema, str) else json.dumps(schema)
        (path / f"{name}.avsc").write_text(text, "utf-8")
    return path


def test_what_java_wrote_is_read_by_the_schema_of_its_fingerprint(tmp_path: Path) -> None:
    other = {"type": "record", "name": "Other", "fields": []}
    schemas = SchemaDirectory(written(tmp_path, order=SCHEMA | {"doc": "not in the canonical form"}, other=other))
    assert EventDecoder(Framing.SINGLE_OBJECT, schemas).decode(PolledRecord(VALUE)) == EVENT
    assert len(schemas.every()) == 2


def test_a_fingerprint_of_no_file_is_unknown(tmp_path: Path) -> None:
    schemas = SchemaDirectory(written(tmp_path, order=SCHEMA | {"name": "Renamed"}))
    with pytest.raises(
        UnknownSchema, match=f"^no file of AVRO_SCHEMA_DIR has the schema of fingerprint {FINGERPRINT.hex()}$"
    ):
        schemas.definitions(FINGERPRINT)


def test_files_refer_to_each_other_by_name_and_have_the_fingerprint_of_the_whole(tmp_path: Path) -> None:
    item = {"type": "record", "name": "Item", "namespace": "shop", "fields": [{"name": "sku", "type": "string"}]}
    fields: list[Any] = [
        {"name": "first", "type": "Item"},
        {"name": "rest", "type": {"type": "array", "items": "shop.Item"}},
    ]
    order = {"type": "record", "name": "Order", "namespace": "shop", "fields": fields}
    whole = order | {"fields": [{"name": "first", "type": item}, fields[1]]}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    apart = SchemaDirectory(written(tmp_path / "a", order=order, item=item))
    together = SchemaDirectory(written(tmp_path / "b", order=whole))
    assert together.every()[0] in apart.every()
    assert together._definitions.keys() < apart._definitions.keys()


def test_all_problems_come_in_one_message(tmp_path: Path) -> None:
    broken = {"type": "record", "name": "Broken", "fields": [{"name": "a", "type": "Nowhere"}]}
    with pytest.raises(SettingsError) as caught:
        SchemaDirectory(written(tmp_path, broken=broken, json="{", order=SCHEMA))
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == ["AVRO_SCHEMA_DIR:"] * 2
    assert "json.avsc is not JSON" in str(caught.value)
    assert "Nowhere" in str(caught.value)


def test_a_directory_without_schemas_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SettingsError, match=r"has no \*\.avsc in it, or cannot be read$"):
            SchemaDirectory(path)
