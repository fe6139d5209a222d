"""A mapping file in use: settings, the ledger's key, the lines of `check`, metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.assembly import decoder_for, ledger_policy, read_settings
from connector.cli.findings import Finding, State, schema_findings
from connector.errors import SettingsError
from tests.avro.samples import ours, with_field
from tests.mapping.support import EXAMPLES, Record, example, read_file
from tests.mapping.support import TILL as TILL_EVENT
from tests.mapping.test_decoding import value_of
from tests.mapping.test_plan import without

TILL = EXAMPLES / "till.toml"
ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "KAFKA_TOPIC": "receipts",
    "AVRO_SCHEMA_FILE": str(EXAMPLES / "till.avsc"),
    "AMAZON_ACCOUNT_ID": "1",
    "AMAZON_CLIENT_ID": "client",
    "AMAZON_ACCESS_TOKEN": "token",
}


def problems(**environment: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        read_settings({**ENVIRONMENT, **environment})
    return refused.value.problems


def test_a_mapping_file_is_named_with_its_tables_beside_it() -> None:
    settings = read_settings({**ENVIRONMENT, "MAPPING_FILE": str(TILL)})
    file = settings.mapping
    assert file is not None
    assert file.tables["currency"]["40"] == "EUR"
    assert ("MAPPING_FILE", str(TILL)) in settings.describe()


def test_a_mapping_may_stand_in_a_variable_and_is_shown_as_its_hash() -> None:
    text = example("order")[0]
    settings = read_settings({**ENVIRONMENT, "MAPPING": text})
    assert settings.mapping == read_file(text)
    shown = dict(settings.describe())["MAPPING"]
    assert shown.startswith("sha256 ")
    assert len(shown) == len("sha256 ") + 16
    assert dict(read_settings({**ENVIRONMENT, "MAPPING": text + "# more"}).describe())["MAPPING"] != shown


def test_without_a_mapping_there_is_none() -> None:
    assert read_settings(ENVIRONMENT).mapping is None


def test_a_file_that_is_replaced_while_the_connector_starts_maps_and_makes_keys_as_it_was_read(tmp_path: Path) -> None:
    text = example("order")[0]
    file = tmp_path / "mapping.toml"
    file.write_text(text, encoding="utf-8")
    settings = read_settings({**ENVIRONMENT, "MAPPING_FILE": str(file)})
    key = ledger_policy(settings).dedupe_key

    file.write_text(text.replace('clientDedupeId = "orderId"', """clientDedupeId = "join('-', ['web', orderId])" """))

    assert ledger_policy(settings).dedupe_key == key
    file.unlink()
    assert decoder_for(settings, lambda _: None)[1] is not None


def test_problems_of_the_file_come_with_those_of_other_settings(tmp_path: Path) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(example("order")[0].replace("unitsSold =", "unitSold ="), encoding="utf-8")
    found = problems(MAPPING_FILE=str(file), MAX_IN_FLIGHT="none")
    assert len(found) == 2
    assert found[1] == (
        f"MAPPING_FILE {file}: 1 problem\n  mapping[0].fields.unitSold  is not an input; did you mean unitsSold?"
    )


def test_both_ways_at_once_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    assert problems(MAPPING_FILE=str(TILL), MAPPING=example("order")[0]) == [
        "MAPPING_FILE and MAPPING are both set: remove one of them"
    ]
    nowhere = tmp_path / "nowhere.toml"
    assert problems(MAPPING_FILE=str(nowhere)) == [f"MAPPING_FILE {nowhere} cannot be read: No such file or directory"]


def test_another_expression_for_the_id_is_another_key_of_the_ledger() -> None:
    text = example("order")[0]

    def key(**environment: str) -> bytes:
        return ledger_policy(read_settings({**ENVIRONMENT, **environment})).dedupe_key

    assert key(MAPPING=text) == key(MAPPING=text.replace('name = "Order"', 'name = "Purchase"'))
    changed = text.replace('clientDedupeId = "orderId"', """clientDedupeId = "join('-', ['web', orderId])" """)
    assert len({key(), key(MAPPING=text), key(MAPPING=changed)}) == 3


def test_the_decoder_of_settings_maps_and_counts() -> None:
    decoder, mapper = decoder_for(read_settings({**ENVIRONMENT, "MAPPING_FILE": str(TILL)}), lambda _: None)
    assert mapper is not None
    plain = value_of("till")[5:]
    assert isinstance(decoder.decode(Record(value_=plain)), dict)
    assert decoder.decode(Record(value_=value_of("till", {**TILL_EVENT, "op": "u"})[5:])) is None
    assert mapper.filtered == {"mapping[0]": 1, "otherwise": 0}


def test_check_holds_the_file_against_a_schema() -> None:
    text, schema = example("order")
    file = read_file(text)
    assert list(schema_findings(file, [schema], "order.avsc")) == [
        Finding(State.RIGHT, "mapping", "every path is in order.avsc")
    ]
    lacking = without(without(schema, "orderId"), "customer", "phone")
    assert list(schema_findings(file, [lacking], "order.avsc")) == [
        Finding(State.WRONG, "mapping", "clientDedupeId: orderId is not in order.avsc (com.shop.orders.Order)"),
        Finding(State.NOTE, "mapping", "PHONE: customer.phone is not in order.avsc (com.shop.orders.Order)"),
    ]
    assert list(schema_findings(file, [schema | {"name": "Refund"}], "order.avsc")) == [
        Finding(
            State.NOTE,
            "mapping",
            "no mapping is for order.avsc (com.shop.orders.Refund): each of its records is a dead letter (unmapped)",
        )
    ]


def test_without_a_file_check_looks_for_the_required_inputs_by_name_and_by_alias() -> None:
    assert list(schema_findings(None, [ours()], "schema 1")) == [
        Finding(State.RIGHT, "schema", "schema 1 (ads.conversions.ConversionEvent) has every required input")
    ]
    by_alias = with_field("timestamp", name="eventTime")
    assert [each.state for each in schema_findings(None, [by_alias], "schema 1")] == [State.RIGHT]
    lacking = Finding(
        State.WRONG,
        "schema",
        "schema 1 (ads.conversions.ConversionEvent) has no countryCode: each of its records is a dead letter "
        "(missing-field) unless a mapping file says where they are; set MAPPING_FILE",
    )
    without_country = ours() | {"fields": [each for each in ours()["fields"] if each["name"] != "countryCode"]}
    assert list(schema_findings(None, [without_country], "schema 1")) == [lacking]
    second = {"type": "record", "name": "Refund", "fields": [{"name": "id", "type": "string"}]}
    both = list(schema_findings(None, [[second, ours()]], "schema 1"))
    assert [each.state for each in both] == [State.NOTE, State.RIGHT]
