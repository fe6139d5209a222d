from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.amazon.vocabulary import CONSENT_STATUSES
from connector.mapping.closures import closure
from connector.mapping.evaluation import Failed
from connector.mapping.syntax import parse
from tests.mapping.support import Record
from tests.records import AT_MS

TABLES = {"shops": {"17": "DE", "1.50": "x", "true": "yes", "big": 5}}


def value(text: str, x: Any = None, record: Record | None = None) -> Any:
    return closure(parse(text).tree, TABLES)({"x": x}, record or Record())


def failure(text: str, x: Any = None, record: Record | None = None) -> str:
    with pytest.raises(Failed) as failed:
        value(text, x, record)
    return str(failed.value)


@pytest.mark.parametrize(
    "function",
    [
        "time(x)", "time(x, 's')", "number(x)", "multiply(x, `2`)", "divide(x, `2`)", "upper(x)", "lower(x)", "trim(x)",
        "from_minor_units(x, 'EUR')",
        "split(x, '-')", "hex(x)", "text(x)", "json(x)", "granted(x)", "lookup('shops', x)", "to_string(x)",
    ],
)  # fmt: skip
def test_ours_return_null_for_null(function: str) -> None:
    assert value(function) is None


@pytest.mark.parametrize(
    ("call", "given_", "milliseconds"),
    [
        ("time(x)", AT_MS, AT_MS),
        ("time(x, 'ms')", AT_MS, AT_MS),
        ("time(x, 's')", AT_MS // 1000, AT_MS // 1000 * 1000),
        ("time(x, 's')", AT_MS / 1000, AT_MS),
        ("time(x, 's')", Decimal(AT_MS) / 1000, AT_MS),
        ("time(x, 's')", str(AT_MS // 1000), AT_MS // 1000 * 1000),
        ("time(x, 'us')", AT_MS * 1000 + 999, AT_MS),
        ("time(x, 'ns')", AT_MS * 1_000_000 + 999_999, AT_MS),
        ("time(x, 's')", -1, -1000),
        ("time(x)", "2026-11-05T14:03:07.250+01:00", 1_793_883_787_250),
        ("time(x)", "2026-11-05T13:03:07Z", 1_793_883_787_000),
        ("time(x)", " 2026-11-05 13:03:07.2509999Z ", 1_793_883_787_250),
        ("time(x, '%d.%m.%Y %H:%M:%S %z')", "05.11.2026 14:03:07 +0100", 1_793_883_787_000),
        ("time(x, '%Y%m%d%H%M%S UTC')", "20261105130307 UTC", 1_793_883_787_000),
        ("time(x, '%Y-%m-%dT%H:%M:%SZ')", "2026-11-05T13:03:07Z", 1_793_883_787_000),
        ("time(x)", "", None),
    ],
)
def test_time(call: str, given_: Any, milliseconds: int | None) -> None:
    assert value(call, given_) == milliseconds


@pytest.mark.parametrize(
    ("call", "given_", "says"),
    [
        ("time(x)", "2026-11-05T14:03:07", "time() got a time without an offset from UTC"),
        ("time(x)", "yesterday", "time() got a text that is not a time of ISO 8601"),
        ("time(x, '%d.%m.%Y %z')", "yesterday", "time() got a text that is not a time of its format"),
        ("time(x, '%d.%m.%Y %z')", 5, "time() got a number, but has a format for texts"),
        ("time(x, 's')", float("inf"), "time() got a number that is not a time"),
        ("time(x, 's')", float("nan"), "time() got a number that is not a time"),
        ("time(x, 's')", "soon", "time() got a text that is not a number"),
        ("time(x)", True, "time() got a boolean"),
        ("time(x)", b"1", "time() got bytes"),
    ],
)
def test_no_time(call: str, given_: Any, says: str) -> None:
    assert failure(call, given_) == says


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - bounds have none
def test_any_time_as_text_is_the_time_it_says(when: datetime) -> None:
    if when.utcoffset() is not None:
        since = when.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        assert (
            value("time(x)", when.isoformat()) == (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
        )


@pytest.mark.parametrize(
    ("call", "given_", "result"),
    [
        ("number(x)", "19.99", Decimal("19.99")),
        ("number(x)", " -1e3 ", Decimal(-1000)),
        ("number(x)", " ", None),
        ("number(x)", 5, 5),
        ("multiply(x, `0.1`)", 3, Decimal("0.3")),
        ("multiply(x, x)", 0.1, Decimal("0.01")),
        ("divide(x, `100`)", 1999, Decimal("19.99")),
        ("to_string(divide(x, `100`))", 2000, "20"),
        ("from_minor_units(x, 'EUR')", 1999, Decimal("19.99")),
        ("from_minor_units(x, 'JPY')", 1999, Decimal(1999)),
        ("from_minor_units(x, 'KWD')", 1999, Decimal("1.999")),
        ("from_minor_units(x, 'CLF')", 1999, Decimal("0.1999")),
        ("from_minor_units(x, ' eur ')", 1999.0, Decimal("19.99")),
        ("from_minor_units(x, 'EUR')", -5, Decimal("-0.05")),
        ("from_minor_units(number(x), 'USD')", "1999", Decimal("19.99")),
        ("upper(x)", "de", "DE"),
        ("lower(x)", "DE", "de"),
        ("trim(x)", " a ", "a"),
        ("split(x, '-')", "de-DE", ["de", "DE"]),
        ("hex(x)", b"\x00\xff", "00ff"),
        ("text(x)", "ä".encode(), "ä"),
        ("json(x).a[0]", '{"a": [19.99]}', Decimal("19.99")),
        ("json(x)", "1e3", 1000.0),
        ("json(x).a", '{"a": null}', None),
        ("lookup('shops', x)", 17, "DE"),
        ("lookup('shops', x)", "17", "DE"),
        ("lookup('shops', x)", Decimal("1.50"), "x"),
        ("lookup('shops', x)", True, "yes"),
        ("lookup('shops', x)", "none", None),
        ("lookup('shops', x, 'FR')", "none", "FR"),
        ("lookup('shops', x, 'FR')", None, "FR"),
        ("lookup('shops', x, abs('x'))", 17, "DE"),
    ],
)
def test_functions_of_the_trade(call: str, given_: Any, result: Any) -> None:
    found = value(call, given_)
    assert (type(found), found) == (type(result), result)


@pytest.mark.parametrize(
    ("call", "given_", "says"),
    [
        ("number(x)", "1,5", "number() got a text that is not a number"),
        ("number(x)", "9" * 39, "number() got a text that is not a number"),
        ("number(x)", "1e999999999", "number() got a text that is not a number"),
        ("number(x)", True, "number() got a boolean"),
        ("divide(x, `0`)", 1, "divide() by zero"),
        (
            "from_minor_units(x, 'EUR')",
            19.99,
            "from_minor_units() got a number with a fraction, which is not in minor units",
        ),
        (
            "from_minor_units(x, 'EUR')",
            Decimal("NaN"),
            "from_minor_units() got a number with a fraction, which is not in minor units",
        ),
        ("from_minor_units(x, 'EUR')", "1999", "from_minor_units() got a text"),
        ("from_minor_units(x, 'XAU')", 1999, "from_minor_units() got a text that is not a currency of ISO 4217"),
        ("from_minor_units(x, 'Euro')", 1999, "from_minor_units() got a text that is not a currency of ISO 4217"),
        ("from_minor_units(x, missing)", 1999, "from_minor_units() got null"),
        ("split(x, '')", "a", "split() got an empty text to split by"),
        ("hex(x)", "a", "hex() got a text"),
        ("text(x)", b"\xff", "text() got bytes that are not UTF-8"),
        ("json(x)", "{", "json() got a text that is not JSON"),
        ("json(x)", "NaN", "json() got a text that is not JSON"),
        ("json(x)", '{"total": 1e400}', "json() got JSON with a number that is too large"),
        ("max(x)", [1.5, float("nan")], "max() got an array with NaN in it"),
        ("min(x)", [float("nan"), Decimal("1.5")], "min() got an array with NaN in it"),
        ("sort(x)", [2, float("nan"), 1], "sort() got an array with NaN in it"),
        ("sort_by(x, &@)", [2, float("nan"), 1], "sort_by() got NaN to sort by"),
        ("max_by(x, &@)", [2, float("nan"), 1], "max_by() got NaN to sort by"),
        ("join('-', ['store', to_string(x)])", None, "join() got an array with null in it"),
        ("json(x)", "[" * 33 + "]" * 33, "json() got JSON nested deeper than 32"),
        ("json(x)", "[" * 30_000, "json() got a text that is not JSON"),
        ("json(x)", "[" * 100_000, "json() got JSON of more than 40000 values"),
        ("json(x)", f"[{'{},' * 39_999}[]]", "json() got JSON of more than 40000 values"),
        ("json(x)", '\\"' * 500_000 + "," * 50_000, "json() got a text that is not JSON"),
        ("split(x, ',')", "," * 40_000, "split() got a text of more than 40000 parts"),
        ("json(x)", "9" * 5_000, "json() got a text that is not JSON"),
        ("lookup('shops', x)", ["17"], "lookup() got an array"),
        ("lookup('shops', x)", b"17", "lookup() got bytes: write hex(…) or text(…)"),
    ],
)
def test_functions_of_the_trade_that_cannot(call: str, given_: Any, says: str) -> None:
    assert failure(call, given_) == says


def test_json_and_texts_of_as_many_parts_as_there_may_be() -> None:
    assert len(value("json(x)", f"[{'0,' * 39_998}0]")) == 39_999
    commas = r"\",[{" * 50_000
    assert value("json(x)", f'{{"a": "{commas}"}}') == {"a": '",[{' * 50_000}
    assert len(value("split(x, ',')", "," * 39_999)) == 40_000


def test_json_as_deep_as_it_may_be() -> None:
    assert value("json(x)", "[" * 32 + "]" * 32) is not None


@pytest.mark.parametrize("spelling", CONSENT_STATUSES)
def test_consent_is_read_in_every_spelling_that_amazon_takes(spelling: str) -> None:
    for text in (spelling, spelling.lower(), f" {spelling.title()} ", spelling.replace("_", "-"), f'"{spelling}"\u200b'):
        assert value("granted(x)", text) == CONSENT_STATUSES[spelling]


@pytest.mark.parametrize(
    ("given_", "result"),
    [
        (True, "GRANTED"),
        (False, "DENIED"),
        (1, "GRANTED"),
        (0, "DENIED"),
        (Decimal(0), "DENIED"),
        (1.0, "GRANTED"),
        ("", None),
        ("\u200b", None),
    ],
)
def test_consent_of_other_kinds(given_: Any, result: str | None) -> None:
    assert value("granted(x)", given_) == result


@pytest.mark.parametrize("given_", ["maybe", "undefined", 2, -1, float("nan"), "x" * 1000])
def test_what_is_neither_granted_nor_denied_is_wrong(given_: Any) -> None:
    assert failure("granted(x)", given_).endswith("that is neither granted nor denied")


def test_of_the_record() -> None:
    record = Record(key_=b"k-1", headers_=[("a", b"1"), ("b", None), ("a", b"2")])
    assert value("[header('a'), header('b'), header('c'), key(), topic(), record_time()]", record=record) == [
        "2",
        None,
        None,
        "k-1",
        "orders",
        AT_MS,
    ]
    assert value("[header('a'), key()]", record=Record(headers_=None)) == [None, None]
    assert failure("key()", record=Record(key_=b"\xff")) == "key() got bytes that are not UTF-8"
    assert failure("header('a')", record=Record(headers_=[("a", b"\xff")])) == "header() got bytes that are not UTF-8"


def test_a_record_without_a_time_has_none() -> None:
    class Timeless(Record):
        def timestamp(self) -> tuple[int, int]:
            return 0, -1

    assert value("record_time()", record=Timeless()) is None
