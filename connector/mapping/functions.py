"""The functions of expressions: JMESPath's, and ours.

JMESPath's functions do what its specification says, with five differences:

1. Numbers may be decimals, which stay exact.
2. The sum of an empty array is null, because zero units sold is not the same as none known.
3. `to_string` of a decimal has no quotes.
4. `to_string` of null is null. An id that has "null" in it would be the same for many orders.
5. What orders numbers fails for NaN, which has no place among them.

Our functions return null for null. No function reads a clock or draws a random number, so the same
record gives the same event after a restart.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import partial, reduce
from typing import Any, Final

from connector.amazon.vocabulary import CONSENT_STATUSES, MAX_TEXT
from connector.headers import headers_of
from connector.ports import Record

__all__ = [
    "ANY",
    "EXPRESSION",
    "FUNCTIONS",
    "NUMBERS",
    "RECORD_FUNCTIONS",
    "TIME_UNITS",
    "Function",
    "Takes",
    "Wrong",
    "exact",
    "format_problem",
    "has_no_order",
    "kind",
    "looked_up",
    "time_of",
    "to_string",
]


class Wrong(Exception):
    """A function cannot take its argument. The text names a kind of value, never a value."""


NUMBERS: Final = frozenset({int, float, Decimal})
_TEXTS: Final = frozenset({str})
_ARRAYS: Final = frozenset({list})
_OBJECTS: Final = frozenset({dict})
_BYTES: Final = frozenset({bytes})
_KINDS: Final[Mapping[type, str]] = {
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
    return _KINDS.get(type(value), "something unknown")


@dataclass(frozen=True, slots=True)
class Takes:
    """What an argument may be."""

    types: frozenset[type]
    items: tuple[frozenset[type], ...] = ()
    """For an array: all its items must be of one of these groups of types."""

    def refuse(self, value: Any) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        if type(value) not in self.types:
            return f"got {kind(value)}"
        if self.items and type(value) is list:
            found = {*map(type, value)}
            for allowed in self.items:
                if found <= allowed:
                    return ""
            allowed = next((each for each in self.items if type(value[0]) in each), self.items[0])
            return f"got an array with {kind(next(item for item in value if type(item) not in allowed))} in it"
        return ""


ANY: Final = Takes(frozenset(_KINDS))
EXPRESSION: Final = Takes(frozenset())
"""An expression after ``&``, which the function evaluates for each item."""
_TEXT: Final = Takes(_TEXTS)
_NUMBER: Final = Takes(NUMBERS)
_ARRAY: Final = Takes(_ARRAYS)
_OBJECT: Final = Takes(_OBJECTS)
_NUMBER_ARRAY: Final = Takes(_ARRAYS, (NUMBERS,))
_SORTABLE: Final = Takes(_ARRAYS, (NUMBERS, _TEXTS))


@dataclass(frozen=True, slots=True)
class Function:
    """One function: what it does and what it takes."""

    run: Callable[..., Any]
    takes: tuple[Takes, ...]
    optional: int = 0
    """How many arguments at the end may be left out."""
    variadic: bool = False
    """Whether the last argument may be repeated."""
    ours: bool = False
    """Whether null as the first argument gives null."""

    def arity_problem(self, given: int) -> str:
        """Return what is wrong with a number of arguments; empty if nothing is."""
        most = len(self.takes)
        least = most - self.optional
        if self.variadic:
            return "" if given >= most else f"takes at least {most} {_arguments(most)}"
        if least <= given <= most:
            return ""
        return f"takes {least} or {most} arguments" if least < most else f"takes {most or 'no'} {_arguments(most)}"


def _arguments(count: int) -> str:
    return "argument" if count == 1 else "arguments"


# ---- numbers


def has_no_order(value: Any) -> bool:
    """Return whether a value is NaN, which is neither less nor more than any number."""
    return bool(value != value)  # noqa: PLR0124 - only NaN differs from itself


def _ordered(items: list[Any]) -> list[Any]:
    if any(map(has_no_order, items)):
        raise Wrong("got an array with NaN in it")
    return items


_EXACT: Final = Context(prec=40)


def exact(number: Any) -> Decimal:
    """Return a number as a decimal. A float becomes the digits it is written with."""
    return number if type(number) is Decimal else Decimal(repr(number))


def _sum(numbers: list[Any]) -> Any:
    if not numbers:
        return None
    if Decimal in {*map(type, numbers)}:
        return reduce(_EXACT.add, map(exact, numbers))
    return sum(numbers)


def _average(numbers: list[Any]) -> Any:
    total = _sum(numbers)
    if total is None:
        return None
    return _EXACT.divide(total, Decimal(len(numbers))) if type(total) is Decimal else total / len(numbers)


_NUMBER_TEXT: Final = re.compile(r"[+-]?(?:[0-9]{1,38}(?:\.[0-9]{0,38})?|\.[0-9]{1,38})(?:[eE][+-]?[0-9]{1,2})?").fullmatch


def _number(value: Any) -> Any:
    """Return a number as it is, and the number in a text exactly. A blank text is null."""
    if type(value) is not str:
        return value
    text = value.strip()
    if not text:
        return None
    if not _NUMBER_TEXT(text):
        raise Wrong("got a text that is no number")
    return Decimal(text)


def _to_number(value: Any) -> Any:
    """Return what JMESPath's ``to_number`` does: null for what is not a number."""
    if type(value) in NUMBERS:
        return value
    if type(value) is not str:
        return None
    try:
        return int(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            return None


def _multiply(one: Any, other: Any) -> Decimal:
    return _EXACT.multiply(exact(one), exact(other))


def _divide(one: Any, other: Any) -> Decimal:
    if other == 0:
        raise Wrong("by zero")
    return _EXACT.divide(exact(one), exact(other))


# ---- texts


_LONGEST_DECIMAL: Final = 100


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


def _split(text: str, separator: str) -> list[str]:
    if not separator:
        raise Wrong("got an empty text to split by")
    return text.split(separator)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Wrong("got bytes that are not UTF-8") from None


_DEEPEST: Final = 32
"""Maximum nesting of JSON within a text."""
_LONGEST_NUMBER: Final = 38


def _json_float(digits: str) -> Decimal | float:
    if len(digits) <= _LONGEST_NUMBER and "e" not in digits.lower():
        return Decimal(digits)
    number = float(digits)
    if math.isinf(number):
        raise Wrong("got JSON with a number that is too large")
    return number


def _no_json(_: str) -> Any:
    raise Wrong("got a text that is no JSON")


_read_json: Final = json.JSONDecoder(parse_float=_json_float, parse_constant=_no_json).decode


def _json(text: str) -> Any:
    try:
        value = _read_json(text)
    except (ValueError, RecursionError):
        raise Wrong("got a text that is no JSON") from None
    if _is_deeper(value, _DEEPEST):
        raise Wrong(f"got JSON nested deeper than {_DEEPEST}")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    parts = value.values() if type(value) is dict else value if type(value) is list else None
    return parts is not None and (levels == 0 or any(_is_deeper(part, levels - 1) for part in parts))


# ---- time

TIME_UNITS: Final[Mapping[str, int]] = {"d": 86_400_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SAYS_UTC: Final = re.compile(r"%z|Z\Z|UTC|GMT").search
_TRIED: Final = datetime(2026, 11, 25, 17, 48, 39, tzinfo=UTC)
"""A time of which no part is another: what a format loses or mistakes, it does not give back."""


def format_problem(unit: str) -> str:
    """Return what is wrong with the second argument of ``time()``; empty if nothing is."""
    if unit in TIME_UNITS:
        return ""
    if "%" not in unit:
        return "its second argument is 'd', 's', 'ms', 'us', 'ns', or a format such as '%d.%m.%Y %H:%M:%S %z'"
    plain = unit.replace("%%", "")
    if "%Z" in plain:
        return "its format has %Z, which reads the names of this machine's zone and gives no offset: write %z"
    if not _SAYS_UTC(plain):
        return (
            "its format gives no offset: add %z, or UTC or a Z at the end where the texts have it; where they have none and "
            "are UTC, write time(join('', [x, 'Z']), '…Z')"
        )
    try:
        read = datetime.strptime(_TRIED.strftime(unit), unit)  # noqa: DTZ007 - the format is tried, no time is made
    except (ValueError, re.error):
        return (
            "its format cannot be read: it takes the directives of C's strptime, each once (%m is the month, %M the minute)"
        )
    if read.date() != _TRIED.date():
        return "its format does not give the day: it needs %d, %m (not %M) and %Y, or others that say as much"
    if read.hour not in (0, _TRIED.hour):
        return "its format gives half of the hour: write %H, or %p beside %I"
    return ""


def time_of(value: Any, unit: str | None = None) -> int | None:
    """Return a time in milliseconds since 1970 UTC.

    A number is in ``unit``, milliseconds by default. A text is in ISO 8601 with an offset, or in
    the format that ``unit`` gives.
    """
    if type(value) is str:
        return _time_of_text(value.strip(), unit)
    if type(value) in NUMBERS:
        nanoseconds = TIME_UNITS.get(unit or "ms")
        if nanoseconds is None:
            raise Wrong("got a number, but has a format for texts")
        if type(value) is int:
            return value * nanoseconds // 1_000_000
        try:
            return int(_EXACT.multiply(exact(value), Decimal(nanoseconds)) // 1_000_000)
        except (ArithmeticError, ValueError):
            raise Wrong("got a number that is no time") from None
    if value is None:
        return None
    raise Wrong(f"got {kind(value)}")


def _time_of_text(text: str, unit: str | None) -> int | None:
    if not text:
        return None
    if unit in TIME_UNITS:
        return time_of(_number(text), unit)
    try:
        read = datetime.fromisoformat(text) if unit is None else datetime.strptime(text, unit)  # noqa: DTZ007 - looked at below
    except (ValueError, OverflowError):
        raise Wrong(f"got a text that is no time of {'ISO 8601' if unit is None else 'its format'}") from None
    if read.tzinfo is None:
        if unit is None:
            raise Wrong("got a time without an offset from UTC")
        read = read.replace(tzinfo=UTC)
    return (read - _EPOCH) // _MILLISECOND


# ---- consent


def _granted(value: Any) -> str | None:
    """Return GRANTED or DENIED, or null if the value says nothing.

    Any other value is refused, because it may be a denial.
    """
    if type(value) is str:
        spelt = value.strip().upper().replace("-", "_").replace(" ", "_") if len(value) <= MAX_TEXT else value
        if status := CONSENT_STATUSES.get(spelt):
            return status
        if not spelt:
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
    if type(key) in _ARRAYS or type(key) in _OBJECTS:
        raise Wrong(f"got {kind(key)}")
    return table.get(str(to_string(key)))


# ---- of the record


def _header(record: Record, name: str) -> str | None:
    """Return the last header with a name, as Kafka's own clients do."""
    for given, value in reversed(headers_of(record) or ()):
        if given == name:
            return None if value is None else _text(value)
    return None


def _key(record: Record) -> str | None:
    key = record.key()
    return None if key is None else _text(key)


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


# ---- JMESPath's


def _not_null(*values: Any) -> Any:
    for value in values:
        if value is not None:
            return value
    return None


def _merge(*objects: dict[str, Any]) -> dict[str, Any]:
    return {name: value for each in objects for name, value in each.items()}


def _contains(subject: Any, searched: Any) -> bool:
    if type(subject) is str and type(searched) is not str:
        raise Wrong(f"got {kind(searched)} to find in a text")
    return searched in subject


def _type(value: Any) -> str | None:
    name = _KINDS[type(value)].rpartition(" ")[2]
    return {"text": "string"}.get(name, name)


def _keyed(by: Callable[[Any], Any], allowed: frozenset[type]) -> Callable[[Any], Any]:
    def key(item: Any) -> Any:
        found = by(item)
        if type(found) not in allowed:
            raise Wrong(f"got {kind(found)} to sort by")
        if has_no_order(found):
            raise Wrong("got NaN to sort by")
        return found

    return key


def _sort_by(items: list[Any], by: Callable[[Any], Any]) -> list[Any]:
    if not items:
        return items
    first = by(items[0])
    if type(first) not in NUMBERS | _TEXTS:
        raise Wrong(f"got {kind(first)} to sort by")
    return sorted(items, key=_keyed(by, _TEXTS if type(first) is str else NUMBERS))


def _most_by(choose: Callable[..., Any], items: list[Any], by: Callable[[Any], Any]) -> Any:
    return choose(items, key=_keyed(by, NUMBERS | _TEXTS)) if items else None


FUNCTIONS: Final[Mapping[str, Function]] = {
    "abs": Function(abs, (_NUMBER,)),
    "avg": Function(_average, (_NUMBER_ARRAY,)),
    "ceil": Function(math.ceil, (_NUMBER,)),
    "contains": Function(_contains, (Takes(_ARRAYS | _TEXTS), ANY)),
    "ends_with": Function(str.endswith, (_TEXT, _TEXT)),
    "floor": Function(math.floor, (_NUMBER,)),
    "join": Function(str.join, (_TEXT, Takes(_ARRAYS, (_TEXTS,)))),
    "keys": Function(list, (_OBJECT,)),
    "length": Function(len, (Takes(_TEXTS | _ARRAYS | _OBJECTS),)),
    "map": Function(lambda each, items: [each(item) for item in items], (EXPRESSION, _ARRAY)),
    "max": Function(lambda items: max(_ordered(items), default=None), (_SORTABLE,)),
    "max_by": Function(partial(_most_by, max), (_ARRAY, EXPRESSION)),
    "merge": Function(_merge, (_OBJECT,), variadic=True),
    "min": Function(lambda items: min(_ordered(items), default=None), (_SORTABLE,)),
    "min_by": Function(partial(_most_by, min), (_ARRAY, EXPRESSION)),
    "not_null": Function(_not_null, (ANY,), variadic=True),
    "reverse": Function(lambda value: value[::-1], (Takes(_ARRAYS | _TEXTS),)),
    "sort": Function(lambda items: sorted(_ordered(items)), (_SORTABLE,)),
    "sort_by": Function(_sort_by, (_ARRAY, EXPRESSION)),
    "starts_with": Function(str.startswith, (_TEXT, _TEXT)),
    "sum": Function(_sum, (_NUMBER_ARRAY,)),
    "to_array": Function(lambda value: value if type(value) is list else [value], (ANY,)),
    "to_number": Function(_to_number, (ANY,)),
    "to_string": Function(to_string, (ANY,)),
    "type": Function(_type, (ANY,)),
    "values": Function(lambda value: list(value.values()), (_OBJECT,)),
    # Ours.
    "divide": Function(_divide, (_NUMBER, _NUMBER), ours=True),
    "granted": Function(_granted, (Takes(_TEXTS | NUMBERS | {bool}),), ours=True),
    "header": Function(_header, (_TEXT,)),
    "hex": Function(bytes.hex, (Takes(_BYTES),), ours=True),
    "json": Function(_json, (_TEXT,), ours=True),
    "key": Function(_key, ()),
    "lookup": Function(looked_up, (_TEXT, ANY, ANY), optional=1),
    "lower": Function(str.lower, (_TEXT,), ours=True),
    "multiply": Function(_multiply, (_NUMBER, _NUMBER), ours=True),
    "number": Function(_number, (Takes(_TEXTS | NUMBERS),), ours=True),
    "record_time": Function(_record_time, ()),
    "split": Function(_split, (_TEXT, _TEXT), ours=True),
    "text": Function(_text, (Takes(_BYTES),), ours=True),
    "time": Function(time_of, (Takes(_TEXTS | NUMBERS), _TEXT), optional=1, ours=True),
    "topic": Function(lambda record: record.topic(), ()),
    "trim": Function(str.strip, (_TEXT,), ours=True),
    "upper": Function(str.upper, (_TEXT,), ours=True),
}
"""Every function by name.

`closures` has its own way to evaluate the functions of `RECORD_FUNCTIONS`, `lookup` and `time`,
because their names, units and formats are known before any record is read.
"""
