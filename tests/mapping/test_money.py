"""Amounts in minor units: the digits of every currency, and the warning about amounts that fit some currencies only."""

from __future__ import annotations

import json

import pytest

from connector.amazon.vocabulary import ADS_CURRENCIES, EVENTS_CURRENCIES
from connector.mapping.currencies import MINOR_DIGITS
from connector.mapping.money import doubtful_amounts
from connector.mapping.native_terms import NativeMappings
from connector.mapping.plan import Mapper
from tests.mapping.support import EXAMPLES, example, plan_of, read_file


def test_every_currency_that_amazon_takes_has_its_digits() -> None:
    assert MINOR_DIGITS.keys() >= ADS_CURRENCIES | EVENTS_CURRENCIES
    others = {code: MINOR_DIGITS[code] for code in ADS_CURRENCIES if MINOR_DIGITS[code] != 2}
    none = dict.fromkeys(("CLP", "JPY", "KRW", "PYG", "VND", "XAF", "XOF", "XPF"), 0)
    assert others == none | dict.fromkeys(("BHD", "JOD", "KWD", "TND"), 3)


def doubts(value: str, *, constants: str = "", fields: str = "", top: str = "") -> list[str]:
    return list(
        doubtful_amounts(
            read_file(f"""
version = 1
[[mapping]]
{top}
[mapping.constants]
name = "Order"
{constants or 'eventType = "OFF_AMAZON_PURCHASES"'}
eventActionSource = "WEBSITE"
countryCode = "DE"
[mapping.fields]
timestamp = "at"
value = {json.dumps(value)}
{fields}
[mapping.matchKeys]
EMAIL = "email"
[tables.euros]
17 = "EUR"
[tables.all]
17 = "EUR"
18 = "KWD"
19 = "JPY"
""")
        )
    )


CURRENCY = 'currencyCode = "order.currency"'
ADVICE = "; if the amount is in minor units, write from_minor_units"
DIFFER = "but currencies differ (1 EUR is 100 minor units, 1 JPY is 1, 1 KWD is 1000)"


@pytest.mark.parametrize(
    ("value", "fields", "says"),
    [
        (
            "divide(order.cents, `100`)",
            CURRENCY,
            f"divides by 100, {DIFFER}{ADVICE}(order.cents, order.currency)",
        ),
        (
            "divide(sum(lines[].cents), `100`)",
            CURRENCY,
            f"divides by 100, {DIFFER}{ADVICE}(…, order.currency)",
        ),
        (
            "not_null(multiply(cents, `0.01`), `0`)",
            CURRENCY,
            f"multiplies by 0.01, {DIFFER}{ADVICE}(cents, order.currency)",
        ),
        (
            "multiply(`0.01`, cents)",
            "currencyCode = \"lookup('all', shop)\"",
            f"multiplies by 0.01, but 1 JPY is 1 minor unit, 1 KWD is 1000 minor units{ADVICE}(cents, lookup('all', shop))",
        ),
        (
            "divide(cents, `1000`)",
            "currencyCode = \"'EUR'\"",
            f"divides by 1000, but 1 EUR is 100 minor units{ADVICE}(cents, 'EUR')",
        ),
    ],
)
def test_an_amount_that_is_scaled_alike_in_every_currency_is_told(value: str, fields: str, says: str) -> None:
    assert doubts(value, fields=fields) == [f"mapping[0].fields.value: {says}"]


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ("divide(cents, `100`)", "currencyCode = \"'EUR'\""),
        ("divide(cents, `100`)", "currencyCode = \"lookup('euros', shop)\""),
        ("divide(cents, `100`)", "currencyCode = \"upper(lookup('euros', shop, 'usd'))\""),
        ("divide(cents, `100`)", ""),  # Amazon books the currency of the event's definition
        ("divide(cents, `3`)", CURRENCY),
        ("divide(micros, `1000000`)", CURRENCY),  # millionths of any currency
        ("multiply(price, quantity)", CURRENCY),
        ("divide(cents, scale)", CURRENCY),
        ("from_minor_units(cents, order.currency)", CURRENCY),
    ],
)
def test_an_amount_that_is_right_for_its_currencies_is_not(value: str, fields: str) -> None:
    assert doubts(value, fields=fields) == []


def test_a_constant_currency_and_one_that_is_inherited() -> None:
    purchase = 'eventType = "OFF_AMAZON_PURCHASES"\n'
    assert doubts("divide(cents, `100`)", constants=purchase + 'currencyCode = "EUR"') == []
    (told,) = doubts("divide(cents, `100`)", constants=purchase + 'currencyCode = "JPY"')
    assert told.startswith("mapping[0].fields.value: divides by 100, but 1 JPY is 1 minor unit; ")
    (told,) = doubts("divide(cents, `100`)", top="inherit = true")
    assert told.endswith("write from_minor_units(cents, currency)")
    assert doubts("divide(score, `100`)", constants='eventType = "SIGN_UP"', fields=CURRENCY) == []  # no money


def test_native_code_leaves_minor_units_to_python() -> None:
    text, schema = example("charge")

    def taken(text: str) -> bool:
        plan = plan_of(Mapper(read_file(text)), schema).native_mappings()
        assert isinstance(plan, NativeMappings)
        ((_, inputs),) = plan.routes
        return inputs is not None

    assert taken(text)
    assert not taken(
        text.replace("divide(amount, lookup('minorUnits', currency, `100`))", "from_minor_units(amount, currency)")
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def test_no_example_has_a_doubtful_amount(name: str) -> None:
    assert list(doubtful_amounts(read_file(example(name)[0]))) == []
