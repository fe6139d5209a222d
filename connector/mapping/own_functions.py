"""The functions that JMESPath lacks: exact amounts, texts and bytes, consent, tables, the record.

A value that a function cannot take is refused with `Wrong`, never guessed at. `functions` gives
each its name and checks the types of its arguments. `times` has ``time()``, and `values.number_in`
is ``number()``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from connector.amazon.consent import spelt
from connector.amazon.vocabulary import CONSENT_STATUSES, MAX_TEXT
from connector.headers import headers_of
from connector.mapping.currencies import MINOR_DIGITS
from connector.mapping.values import ARRAYS, DECIMALS, OBJECTS, Wrong, exact, kind, to_string
from connector.nothing import trimmed
from connector.ports import Record

__all__ = [
    "RECORD_FUNCTIONS",
    "decoded",
    "divide",
    "from_minor_units",
    "granted",
    "looked_up",
    "multiply",
    "parsed_json",
    "split",
]

_MOST_PARTS: Final = 40_000
"""Maximum number of values in JSON within a text, and of parts of a split text, as in an event.
More would take the consumer's thread too long."""

# ---- amounts


def multiply(one: Any, other: Any) -> Decimal:
    """Return the product of two numbers, to 40 digits."""
    return DECIMALS.multiply(exact(one), exact(other))


def divide(one: Any, other: Any) -> Decimal:
    """Return the quotient of two numbers, to 40 digits."""
    if other == 0:
        raise Wrong("by zero")
    return DECIMALS.divide(exact(one), exact(other))


def from_minor_units(amount: Any, currency: str) -> Decimal:
    """Return an amount that is given in the minor units of a currency: 1999 is 19.99 EUR, 1999 JPY.

    An amount with a fraction is refused, because it is probably not in minor units.
    """
    digits = MINOR_DIGITS.get(currency.strip().upper())
    if digits is None:
        raise Wrong("got a text that is not a currency of ISO 4217")
    units = exact(amount)
    if not units.is_finite() or units != units.to_integral_value():
        raise Wrong("got a number with a fraction, which is not in minor units")
    return units.scaleb(-digits, DECIMALS)


# ---- texts and bytes


def split(text: str, separator: str) -> list[str]:
    """Return the parts of a text between separators."""
    if not separator:
        raise Wrong("got an empty text to split by")
    if text.count(separator) >= _MOST_PARTS:
        raise Wrong(f"got a text of more than {_MOST_PARTS} parts")
    return text.split(separator)


def decoded(value: bytes) -> str:
    """Return the text that bytes in UTF-8 are."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Wrong("got bytes that are not UTF-8") from None


_DEEPEST: Final = 32
"""Maximum nesting of JSON within a text."""
_LONGEST_NUMBER: Final = 38
_TEXTS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
"""The texts of JSON. The last one may lack its end, so that the search never starts again."""


def _json_float(digits: str) -> Decimal | float:
    if len(digits) <= _LONGEST_NUMBER and "e" not in digits.lower():
        return Decimal(digits)
    number = float(digits)
    if math.isinf(number):
        raise Wrong("got JSON with a number that is too large")
    return number


def _no_json(_: str) -> Any:
    raise Wrong("got a text that is not JSON")


_read_json: Final = json.JSONDecoder(parse_float=_json_float, parse_constant=_no_json).decode


def parsed_json(text: str) -> Any:
    """Return the value of JSON within a text. Numbers of up to 38 digits stay exact."""
    if _parts(text) > _MOST_PARTS and _parts(_TEXTS.sub("", text)) > _MOST_PARTS:
        raise Wrong(f"got JSON of more than {_MOST_PARTS} values")
    try:
        value = _read_json(text)
    except (ValueError, RecursionError):
        raise Wrong("got a text that is not JSON") from None
    if _is_deeper(value, _DEEPEST):
        raise Wrong(f"got JSON nested deeper than {_DEEPEST}")
    return value


def _parts(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _is_deeper(value: Any, levels: int) -> bool:
    parts = value.values() if type(value) is dict else value if type(value) is list else None
    return parts is not None and (levels == 0 or any(_is_deeper(part, levels - 1) for part in parts))


# ---- consent


def granted(value: Any) -> str | None:
    """Return GRANTED or DENIED, or null for a blank text, which says nothing.

    Any other value is refused, because it may be a denial.
    """
    if type(value) is str:
        if status := CONSENT_STATUSES.get(spelt(value)):
            return status
        if len(value) <= MAX_TEXT and not trimmed(value):
            return None
    elif value == 1:
        return "GRANTED"
    elif value == 0:
        return "DENIED"
    raise Wrong(f"got {kind(value)} that is neither granted nor denied")


# ---- tables


def looked_up(table: Mapping[str, Any], key: Any) -> Any:
    """Return what a table has for a key, which is compared as text; null if it has nothing."""
    if key is None:
        return None
    if type(key) in ARRAYS or type(key) in OBJECTS:
        raise Wrong(f"got {kind(key)}")
    return table.get(str(to_string(key)))


# ---- the record


def _header(record: Record, name: str) -> str | None:
    """Return the last header with a name, as Kafka's own clients do."""
    for given, value in reversed(headers_of(record) or ()):
        if given == name:
            return None if value is None else decoded(value)
    return None


def _key(record: Record) -> str | None:
    key = record.key()
    return None if key is None else decoded(key)


def _record_time(record: Record) -> int | None:
    kind_of_time, milliseconds = record.timestamp()
    return milliseconds if kind_of_time else None


RECORD_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "header": _header,
    "key": _key,
    "topic": lambda record: record.topic(),
    "record_time": _record_time,
}
"""Functions that read the Kafka record, which is their first argument."""
