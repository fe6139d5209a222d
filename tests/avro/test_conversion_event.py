"""The published schemas themselves."""

from typing import Any

import pytest

from connector.avro.schema_file import packaged
from connector.avro.writer_schema import parse


def test_the_event_has_every_input_as_documented() -> None:
    optional = {
        "clientDedupeId",
        "value",
        "currencyCode",
        "unitsSold",
        "dataProcessingOptions",
        "consent",
        "customAttributes",
        "customData",
        "userAgent",
        "arefMeasurementTokens",
        "amazonAdEventKey",
        "partner",
        "dataSetName",
    }
    fields = {field["name"]: field for field in packaged("conversion_event.avsc")["fields"]}
    required = {"name", "eventType", "eventActionSource", "timestamp", "matchKeys", "countryCode"}
    assert fields.keys() == optional | required
    for name, field in fields.items():
        assert field["type"][0] == "null" and field["default"] is None if name in optional else "default" not in field


@pytest.mark.parametrize("name", ["conversion_event.avsc", "ledger_entry.avsc"])
def test_every_record_and_field_says_what_it_is(name: str) -> None:
    def undocumented(schema: Any) -> list[str]:
        if isinstance(schema, list):
            return [missing for branch in schema for missing in undocumented(branch)]
        if not isinstance(schema, dict):
            return []
        missing = [] if schema["type"] != "record" or schema.get("doc") else [schema["name"]]
        for field in schema.get("fields", []):
            missing += undocumented(field["type"]) + ([] if field.get("doc") else [field["name"]])
        return missing + undocumented(schema.get("items"))

    assert undocumented(packaged(name)) == []


def test_no_alias_means_two_inputs() -> None:
    fields = parse([packaged("conversion_event.avsc")]).schema["fields"]
    names = [name for field in fields for name in (field["name"], *field.get("aliases", ()))]
    assert len(names) == len(set(names))
