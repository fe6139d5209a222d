"""Finds amounts that are right for some currencies only.

19.99 EUR are 1999 minor units, but 1999 JPY are 1999, and 1.999 KWD are 1999. So an amount that is
divided by 100 whatever its currency is sent wrong by a factor of 100 or 10, and nobody notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from connector.amazon.vocabulary import PURCHASE
from connector.mapping.currencies import MINOR_DIGITS
from connector.mapping.file import Input, MappingFile, Route
from connector.mapping.syntax import Tree, walk
from connector.mapping.values import NUMBERS, exact

__all__ = ["doubtful_amounts"]

_MOST_DIGITS: Final = max(MINOR_DIGITS.values())
"""What is scaled by more digits, such as millionths, is no minor unit of any currency."""
_MOST_TOLD: Final = 3
"""Currencies that a message names."""


def doubtful_amounts(file: MappingFile) -> Iterator[str]:
    """Yield the amounts that are scaled by a power of ten, if currencies scale otherwise."""
    for route in file.routes:
        if route.constants.get("eventType", PURCHASE) != PURCHASE:
            continue  # its value is not money
        fields = {each.name: each for each in route.fields}
        value, currency = fields.get("value"), fields.get("currencyCode")
        scaled = None if value is None else _scaled(value.expression.tree)
        if scaled is None:
            continue
        amount, how, digits = scaled
        if wrong := _why_wrong(route, currency, file.tables, digits):
            written = _path(amount), "currency" if currency is None else currency.expression.text
            advice = f"if the amount is in minor units, write from_minor_units({', '.join(written)})"
            yield f"{route.label}.fields.value: {how}, {wrong}; {advice}"


def _scaled(tree: Tree) -> tuple[Tree, str, int] | None:
    """Return what an expression scales by a power of ten, how, and by how many digits."""
    for node in walk(tree):
        if node["type"] == "function_expression" and node["value"] in ("divide", "multiply"):
            x, y = node["children"]
            divides = node["value"] == "divide"
            for amount, by in ((x, y),) if divides else ((x, y), (y, x)):
                if by["type"] == "literal" and (power := _power_of_ten(by["value"])):
                    how = f"{'divides' if divides else 'multiplies'} by {by['value']}"
                    return amount, how, power if divides else -power
    return None


def _power_of_ten(number: Any) -> int:
    """Return the exponent of a power of ten that the digits of a currency may be; otherwise 0."""
    if type(number) not in NUMBERS or number <= 0:
        return 0
    _, digits, exponent = exact(number).normalize().as_tuple()
    is_power = digits == (1,) and isinstance(exponent, int) and abs(exponent) <= _MOST_DIGITS
    return int(exponent) if is_power else 0


def _why_wrong(route: Route, currency: Input | None, tables: Mapping[str, Mapping[str, object]], digits: int) -> str | None:
    if currency is not None:
        codes = _codes(currency.expression.tree, tables)
    elif "currencyCode" in route.constants:
        codes = {str(route.constants["currencyCode"])}
    else:
        codes = None if route.inherit else set()
    if codes is None:
        return "but currencies differ (1 EUR is 100 minor units, 1 JPY is 1, 1 KWD is 1000)"
    other = [(code, MINOR_DIGITS[code]) for code in sorted(codes) if MINOR_DIGITS.get(code, digits) != digits]
    units = [f"1 {code} is {Decimal(10) ** own} minor unit{'s' if own else ''}" for code, own in other]
    return "but " + ", ".join([*units[:_MOST_TOLD], *(["…"] if units[_MOST_TOLD:] else [])]) if units else None


def _codes(tree: Tree, tables: Mapping[str, Mapping[str, object]]) -> set[str] | None:
    """Return the currencies that an expression may give; None if it may give any."""
    children = tree["children"]
    if tree["type"] == "literal":
        return {str(tree["value"]).strip().upper()}
    if tree["type"] == "function_expression" and tree["value"] == "lookup":
        found = {str(each).strip().upper() for each in tables[children[0]["value"]].values()}
        rest = children[2:]
    elif tree["type"] == "or_expression" or (
        tree["type"] == "function_expression" and tree["value"] in ("lower", "not_null", "trim", "upper")
    ):
        found, rest = set(), children
    else:
        return None
    for each in rest:
        if (others := _codes(each, tables)) is None:
            return None
        found |= others
    return found


def _path(tree: Tree) -> str:
    """Return a path of names as it is written, and an ellipsis for any other expression."""
    if tree["type"] == "field":
        return str(tree["value"])
    if tree["type"] == "subexpression":
        return ".".join(map(_path, tree["children"]))
    return "…"
