"""What `preview` and `lint` say of files: no broker, no secret, and the code of `run` up to the event."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest

from connector.__main__ import main
from connector.avro.decoding import EventDecoder
from connector.avro.files import container, json_lines
from connector.avro.framing import Framing
from connector.errors import Undecodable
from connector.intake import Intake, Origin
from connector.mapping.plan import Mapper
from connector.model import TopicPartition
from tests.avro.samples import Known
from tests.mapping.support import CONTRACT, EXAMPLES, ORDER, TILL, Record, example, read_file
from tests.mapping.test_decoding import value_of
from tests.records import AT_MS

OURS = Path(__file__).parents[2] / "schemas/conversion_event.avsc"
ENVIRONMENT = {"MAPPING_FILE": str(EXAMPLES / "order.toml"), "AMAZON_REGION": "EU"}


def order(number: int, **changes: Any) -> dict[str, Any]:
    """Return an order as a producer's library has it, before it is written."""
    made = copy.deepcopy(ORDER) | {
        "orderId": UUID(int=number).bytes,
        "placedAt": datetime.fromtimestamp(AT_MS / 1000, UTC),
        "total": {"amount": Decimal("49.98"), "currency": "EUR"},
    }
    for line in made["lines"]:
        line["price"] = {"amount": Decimal("24.99"), "currency": "EUR"}
    return made | changes


def written(tmp_path: Path, *orders: dict[str, Any]) -> Path:
    file = tmp_path / "orders.avro"
    with file.open("wb") as out:
        fastavro.writer(out, example("order")[1], orders, codec="deflate")
    return file


def run(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], *arguments: str) -> int:
    for name in ("MAPPING_FILE", "MAPPING", "AVRO_SCHEMA_FILE", "AVRO_SCHEMA_DIR", "AMAZON_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return main(arguments)


def rows(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_each_record_has_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(
        tmp_path,
        order(1),
        order(2, status="NEW"),
        order(3, shipTo=ORDER["shipTo"] | {"country": "Nowhere"}),
        order(1),
        order(4, customer=ORDER["customer"] | {"phone": "none"}),
    )
    assert run(monkeypatch, ENVIRONMENT, "preview", "--file", str(file), "--json") == 1
    found = rows(capsys.readouterr().out)
    assert [(row["verdict"], row["reason"], row["detail"], row["mapping"]) for row in found] == [
        ("send", None, None, "mapping[0]"),
        ("ignored", None, "when of mapping[0]", "mapping[0]"),
        (
            "dead-letter",
            "invalid-field",
            "countryCode: not an ISO 3166-1 alpha-2 code that this contract takes",
            "mapping[0]",
        ),
        ("duplicate", None, "a copy of offset 0 above", "mapping[0]"),
        ("send", None, None, "mapping[0]"),
    ]
    assert found[0]["schema"] == {"id": None, "name": "com.shop.orders.Order"}
    assert found[0]["event"]["value"] == 49.98
    assert found[4]["adjustments"] == {"match-key-left-out": 1}
    assert set(found[0]) == {
        *("topic", "partition", "offset", "time", "schema", "mapping"),
        *("verdict", "reason", "detail", "adjustments", "event"),
    }


def test_the_event_shown_is_the_one_that_run_would_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, schema = example("order")
    (value,) = list(container(written(tmp_path, order(7)))[1])
    decoder = EventDecoder(Framing.PLAIN, Known(id0=schema), Mapper(read_file(text)))
    origin = Origin(TopicPartition("file", 0), 0, "file", "file")
    poll, _ = Intake(decoder, CONTRACT, ("clientDedupeId",)).read(origin, [Record(value_=value)])
    (sent,) = poll.payloads
    assert isinstance(sent, bytes)
    assert (
        run(monkeypatch, ENVIRONMENT, "preview", "--file", str(tmp_path / "orders.avro"), "--json", "--show-identifiers")
        == 0
    )
    assert rows(capsys.readouterr().out)[0]["event"] == json.loads(sent)


SECRETS = ("jo@example.com", "Müller", "Hauptstr", "Köln", "50667", "ExampleBrowser", "CPokAsA", "4711", "+4915112345678")


def test_nothing_in_clear_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, order(1, customer=ORDER["customer"] | {"phone": "+4915112345678"}))
    envelope = tmp_path / "sign-ups.jsonl"
    user = {
        "userId": 4711,
        "isTest": False,
        "plan": None,
        "emailSha256": {"string": "ab" * 32},
        "consents": [{"purpose": "tcf", "text": "CPokAsAPokAsABEACBENC7CgAP_AAH_AAAqIHNf_X__b3_j-_59f9_9uf"}],
    }
    row = {
        "id": "e-1",
        "type": "user.registered",
        "occurredAt": "2026-11-05T14:03:07.250+01:00",
        "context": {"locale": "de-DE", "userAgent": {"string": "ExampleBrowser/1.0"}},
        "data": user,
    }
    envelope.write_text(json.dumps(row), encoding="utf-8")
    assert run(monkeypatch, ENVIRONMENT, "preview", "--file", str(file)) == 0
    shown = capsys.readouterr()
    of_envelope = {
        "MAPPING_FILE": str(EXAMPLES / "envelope.toml"),
        "AVRO_SCHEMA_FILE": str(EXAMPLES / "envelope.avsc"),
        "AMAZON_REGION": "EU",
    }
    assert run(monkeypatch, of_envelope, "preview", "--file", str(envelope)) == 0
    more = capsys.readouterr()
    output = shown.out + shown.err + more.out + more.err
    assert [secret for secret in SECRETS if secret.lower() in output.lower()] == []
    assert output.count("…") >= 3
    assert run(monkeypatch, of_envelope, "preview", "--file", str(envelope), "--json", "--show-identifiers") == 0
    assert "ExampleBrowser/1.0" in capsys.readouterr().out


def test_a_table_for_people_ends_with_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, order(1), order(2, status="NEW"), order(3, shipTo=ORDER["shipTo"] | {"country": ""}))
    assert run(monkeypatch, ENVIRONMENT, "preview", "--file", str(file), "--only", "dead-letter") == 1
    output = capsys.readouterr().out
    assert "file-0@2" in output
    assert "file-0@0" not in output
    assert "missing-field: countryCode: required" in output
    assert "3 records: 1 would be sent, 1 ignored, 1 dead-letter (1 missing-field)." in output
    assert "ledger was not asked" in output


def test_expectations_make_it_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, order(1), order(2, status="NEW"), order(3, shipTo=ORDER["shipTo"] | {"country": ""}))
    expected = tmp_path / "expected.jsonl"
    expected.write_text(
        '{"verdict": "send", "mapping": "mapping[0]"}\n{"verdict": "ignored"}\n{"reason": "missing-field"}\n',
        encoding="utf-8",
    )
    given = ("preview", "--file", str(file), "--json", "--expect", str(expected))
    assert run(monkeypatch, ENVIRONMENT, *given) == 0
    assert capsys.readouterr().err == ""
    expected.write_text('{"verdict": "send"}\n{"verdict": "send"}\n', encoding="utf-8")
    assert run(monkeypatch, ENVIRONMENT, *given) == 1
    lines = capsys.readouterr().err.splitlines()
    assert '- "verdict": "send"' in lines
    assert '+ "verdict": "ignored"' in lines


def test_json_lines_are_the_bytes_that_a_producer_writes(tmp_path: Path) -> None:
    _, schema = example("till")
    value = {"postcode": {"string": "10115"}, "ads_opt_in": {"boolean": False}}
    after = TILL["after"] | {
        "email_sha256": {"bytes": "\u00ab" * 32},
        "loyalty": {"pos.public.receipts.Loyalty": value},
    }
    file = tmp_path / "tills.jsonl"
    line = json.dumps({**TILL, "after": {"pos.public.receipts.Value": after}, "ts_ms": {"long": AT_MS}})
    file.write_text(f"{line}\n\n{line}\n", encoding="utf-8")
    assert list(json_lines(file, schema)) == [value_of("till")[5:]] * 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"number": 1e39}', r"line 1: number is too large for a float$"),
        (b'{"number": 1%s}' % (b"0" * 400), r"line 1: number is too large for a float$"),
        (b'{"number": 1}\n{"n\xfcmber": 1}', r"line 2: it is not JSON$"),
        (b'\xef\xbb\xbf\r\n{"number": null}', r"line 2: number is not a number$"),
    ],
)
def test_numbers_and_bytes_that_do_not_fit_are_refused_by_their_line(tmp_path: Path, line: bytes, says: str) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(line)
    schema = {"type": "record", "name": "R", "fields": [{"name": "number", "type": "float"}]}
    with pytest.raises(Undecodable, match=says):
        list(json_lines(file, schema))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1: it is not JSON"),
        ("[]", "line 1: the line is not an object"),
        ('{"flag": true}', "line 1: number is missing"),
        ('{"flag": 1, "number": 1, "of": null}', "line 1: flag is not true or false"),
        ('{"flag": true, "number": "secret", "of": null}', "line 1: number is not a whole number"),
        ('{"flag": true, "number": 9223372036854775808, "of": null}', "line 1: number has more than 64 bits"),
        (
            '{"flag": true, "number": 1, "of": "secret"}',
            'line 1: of is of a union: write null, or the type\'s name with the value, as {"string": …}',
        ),
    ],
)
def test_a_line_that_is_not_of_the_schema_is_refused_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "flag", "type": "boolean"},
            {"name": "number", "type": "long"},
            {"name": "of", "type": ["null", "string"]},
        ],
    }
    file, schema_file = tmp_path / "r.jsonl", tmp_path / "r.avsc"
    file.write_text(line, encoding="utf-8")
    schema_file.write_text(json.dumps(schema), encoding="utf-8")
    assert run(monkeypatch, {}, "preview", "--file", str(file), "--schema", str(schema_file)) == 2
    output = capsys.readouterr().err
    assert says in output
    assert "secret" not in output


def test_a_schema_file_is_refused_by_the_option_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in (("preview", "--file", "x.jsonl", "--schema", "nowhere.avsc"), ("lint", "--schema", "nowhere.avsc")):
        assert run(monkeypatch, ENVIRONMENT, *given) == 2
        assert "--schema: nowhere.avsc cannot be read: No such file or directory" in capsys.readouterr().err


def test_records_are_shown_as_they_are_read_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, schema = tmp_path / "r.jsonl", tmp_path / "r.avsc"
    schema.write_text(json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}))
    file.write_text('{"a": 1}\nno JSON\n', encoding="utf-8")
    assert run(monkeypatch, {}, "preview", "--file", str(file), "--schema", str(schema), "--json") == 2
    output = capsys.readouterr()
    assert [row["offset"] for row in rows(output.out)] == [0]
    assert "line 2: it is not JSON" in output.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--file", "nowhere.avro"), "--file: nowhere.avro cannot be read: No such file or directory"),
        (("--file", __file__), "--schema: is needed for JSON lines (or AVRO_SCHEMA_FILE); a container file ends in .avro"),
        (("--file", "x.avro", "--expect", "nowhere"), "--expect: nowhere cannot be read: No such file or directory"),
        (("--file", "x.avro", "--expect", __file__), "is not a file of JSON objects, one a line"),
        ((), "KAFKA_BOOTSTRAP_SERVERS is missing"),
    ],
)
def test_what_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert run(monkeypatch, {}, "preview", *arguments) == 2
    assert says in capsys.readouterr().err


def test_a_schema_of_its_own_without_a_mapping_file_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, order(1), order(2), order(3))
    assert run(monkeypatch, {"AMAZON_REGION": "EU"}, "preview", "--file", str(file)) == 1
    output = capsys.readouterr().out
    assert output.count("missing-field: name:") == 1
    assert output.count("as above") == 2
    assert "There is no mapping file" in output
    assert "set MAPPING_FILE" in output
    assert run(monkeypatch, ENVIRONMENT, "preview", "--file", str(file)) == 0
    assert "mapping file" not in capsys.readouterr().out


def test_nothing_to_show_is_said_without_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ENVIRONMENT, "preview", "--file", str(written(tmp_path))) == 0
    output = capsys.readouterr().out
    assert "No record was found" in output
    assert "verdict" not in output
    assert "ledger" not in output


def test_a_file_that_is_no_container_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, order(1))
    file.write_bytes(file.read_bytes()[:-20])
    assert run(monkeypatch, ENVIRONMENT, "preview", "--file", str(file)) == 2
    assert "is damaged" in capsys.readouterr().err
    file.write_bytes(b"no Avro")
    assert run(monkeypatch, ENVIRONMENT, "preview", "--file", str(file)) == 2
    assert "is not a container file of Avro" in capsys.readouterr().err


def test_lint_needs_no_network_and_says_what_run_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = str(EXAMPLES / "order.avsc")
    assert run(monkeypatch, ENVIRONMENT, "lint", "--schema", schema) == 0
    assert "Settings and mapping are right." in capsys.readouterr().out
    union = tmp_path / "union.avsc"
    union.write_text(json.dumps([example("order")[1], example("charge")[1]]))
    assert run(monkeypatch, ENVIRONMENT, "lint", "--schema", str(union)) == 0
    output = capsys.readouterr().out
    assert "no mapping is for" in output
    assert "No error was found; mind the notes above." in output
    assert "are right" not in output
    assert run(monkeypatch, ENVIRONMENT, "lint") == 0
    assert "compared with no schema" in capsys.readouterr().out
    assert run(monkeypatch, {"AMAZON_REGION": "EU"}, "lint") == 0
    file = tmp_path / "mapping.toml"
    file.write_text(example("order")[0].replace('total.amount"', 'total.amout"').replace("customer.phone", "customer.tel"))
    assert run(monkeypatch, {"MAPPING_FILE": str(file)}, "lint", "--schema", schema) == 2
    assert "value: total.amout is not in" in capsys.readouterr().err
    file.write_text(example("order")[0].replace("unitsSold", "unitSold"))
    assert run(monkeypatch, {"MAPPING_FILE": str(file), "AMAZON_API": "ads-v3"}, "lint", "--schema", schema) == 2
    output = capsys.readouterr().err
    assert "mapping[0].fields.unitSold  is not an input; did you mean unitsSold?" in output
    assert "AMAZON_API must be ads-v1 or events-v1" in output


def test_a_time_in_seconds_that_was_taken_for_milliseconds_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(example("order")[0].replace('"placedAt"', '"floor(divide(placedAt, `1000`))"'))
    environment = {"MAPPING_FILE": str(file), "AMAZON_REGION": "EU"}
    assert run(monkeypatch, environment, "preview", "--file", str(written(tmp_path, order(1))), "--json") == 0
    (row,) = rows(capsys.readouterr().out)
    assert row["verdict"] == "send"
    assert row["detail"] == "the event would be of 1970; is timestamp in seconds? Write time(x, 's')"


def test_lint_notes_an_amount_that_is_right_for_some_currencies_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(example("order")[0].replace('"total.amount"', '"divide(total.amount, `100`)"'))
    for schema in ([], ["--schema", str(EXAMPLES / "order.avsc")]):
        assert run(monkeypatch, {"MAPPING_FILE": str(file), "AMAZON_REGION": "EU"}, "lint", *schema) == 0
        output = capsys.readouterr().out
        assert "mapping[0].fields.value: divides by 100, but currencies differ" in output
        assert "Settings and mapping are right." not in output


def test_lint_without_a_mapping_file_looks_for_the_inputs_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, {"AMAZON_REGION": "EU"}, "lint", "--schema", str(EXAMPLES / "order.avsc")) == 2
    assert "(com.shop.orders.Order) has no name, eventType, " in capsys.readouterr().err
    assert run(monkeypatch, {"AMAZON_REGION": "EU"}, "lint", "--schema", str(OURS)) == 0
    assert "has every required input\nSettings and schema are right." in capsys.readouterr().out


def test_lint_refuses_a_mapping_that_is_for_no_record_of_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = str(EXAMPLES / "charge.avsc")
    assert run(monkeypatch, ENVIRONMENT, "lint", "--schema", schema) == 2
    assert (
        f"no mapping is for any record of {schema} (com.stripe.Charge), so each would become a dead letter"
        in capsys.readouterr().err
    )
    file = tmp_path / "mapping.toml"
    file.write_text('otherwise = "ignore"\n' + (EXAMPLES / "order.toml").read_text())
    (tmp_path / "stores.csv").write_text((EXAMPLES / "stores.csv").read_text())
    assert run(monkeypatch, ENVIRONMENT | {"MAPPING_FILE": str(file)}, "lint", "--schema", schema) == 0
    assert "each of its records is ignored" in capsys.readouterr().out


def test_lint_holds_the_mapping_against_the_schemas_of_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "schemas"
    directory.mkdir()
    (directory / "charge.avsc").write_text(json.dumps(example("charge")[1]))
    environment = ENVIRONMENT | {"AVRO_SCHEMA_DIR": str(directory)}
    assert run(monkeypatch, environment, "lint") == 2
    assert "no mapping is for any record of" in capsys.readouterr().err
    (directory / "order.avsc").write_text(json.dumps(example("order")[1]))
    assert run(monkeypatch, environment, "lint") == 0
    assert "no mapping is for" in capsys.readouterr().out  # the charge: other files may hold parts of a record
    file = written(tmp_path, order(1))
    assert run(monkeypatch, environment, "preview", "--file", str(file)) == 0
    assert run(monkeypatch, ENVIRONMENT | {"SCHEMA_REGISTRY_TYPE": "confluent"}, "lint") == 0
