"""The types of values that expressions handle, what messages call them, and how they are converted.

A record's values arrive as types of Python (`avro.logical`). `exact`, `number_in` and `to_string`
convert between numbers and texts without loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any, Final

__all__ = [
    "ARRAYS",
    "BYTES",
    "DECIMALS",
    "KINDS",
    "NUMBERS",
    "OBJECTS",
    "TEXTS",
    "Wrong",
    "exact",
    "has_no_order",
    "kind",
    "number_in",
    "to_string",
]


class Wrong(Exception):
    """A function cannot take its argument. The text names a kind of value, never a value."""


NUMBERS: Final = frozenset({int, float, Decimal})
TEXTS: Final = frozenset({str})
ARRAYS: Final = frozenset({list})
OBJECTS: Final = frozenset({dict})
BYTES: Final = frozenset({bytes})
KINDS: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    Decimal: "a number",
    str: "a text",
    bytes: "bytes",
    list: "an array",
    dict: "an object",
}


def kind(value: object) -> str:
    """Return what to call a value in a message."""
    return KINDS.get(type(value), "something unknown")


def has_no_order(value: Any) -> bool:
    """Return whether a value is NaN, which is neither less nor more than any number."""
    return bool(value != value)  # noqa: PLR0124 - only NaN differs from itself


DECIMALS: Final = Context(prec=40)
"""Arithmetic on decimals, with 40 significant digits."""


def exact(number: Any) -> Decimal:
    """Return a number as a decimal. A float becomes the digits it is written with."""
    return number if type(number) is Decimal else Decimal(repr(number))


_LONGEST_DECIMAL: Final = 100
"""Exponent up to which a decimal is written out in digits: 1e999 would be a thousand of them."""


def to_string(value: Any) -> str | None:
    """Return a text as it is, a number in digits, null as null, and anything else as JSON."""
    if type(value) is str or value is None:
        return value
    if type(value) is int:
        return str(value)
    if type(value) is Decimal:
        digits = value.as_tuple()
        fits = isinstance(digits.exponent, int) and abs(digits.exponent) <= _LONGEST_DECIMAL
        return format(value, "f") if fits else str(value)
    if type(value) is bytes:
        raise Wrong("got bytes: write hex(…) or text(…)")
    return json.dumps(value, separators=(",", ":"), default=_in_json)


def _in_json(value: Any) -> str:
    if type(value) is bytes:
        raise Wrong("got bytes within it")
    return str(value)


_NUMBER_TEXT: Final = re.compile(r"[+-]?(?:[0-9]{1,38}(?:\.[0-9]{0,38})?|\.[0-9]{1,38})(?:[eE][+-]?[0-9]{1,2})?").fullmatch


def number_in(value: Any) -> Any:
    """Return a number as it is, and the number in a text exactly. A blank text is null."""
    if type(value) is not str:
        return value
    text = value.strip()
    if not text:
        return None
    if not _NUMBER_TEXT(text):
        raise Wrong("got a text that is not a number")
    return Decimal(text)
