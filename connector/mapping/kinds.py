"""Kinds of values: finds by a writer's schema what would never work, before any record is read.

A value of a schema's type has a certain type of Python once it is decoded and converted
(`avro.logical`). So the schema tells of a call whose argument the function never takes, of a
comparison that never holds, and of a result that an input never takes. A value of unknown type is
passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from connector.avro.logical import bytes_conversion
from connector.avro.writer_schema import Json, logical_type
from connector.errors import Undecodable
from connector.mapping.functions import FUNCTIONS
from connector.mapping.times import TIME_UNITS
from connector.mapping.values import NUMBERS, kind

__all__ = [
    "BOOLEAN",
    "GIVES",
    "NUMBER",
    "TEXT",
    "Side",
    "argument_problem",
    "comparison_problem",
    "result_problem",
    "types_of",
    "unit_problem",
    "zone_note",
]

Types = frozenset[type] | None
"""The types that a value other than null may have; None if it may be anything."""

TEXT: Final[tuple[Json, ...]] = ({"type": "string"},)
NUMBER: Final[tuple[Json, ...]] = ({"type": "long"}, {"type": "double"})
BOOLEAN: Final[tuple[Json, ...]] = ({"type": "boolean"},)
_TEXTS: Final[tuple[Json, ...]] = ({"type": "array", "items": "string"},)

GIVES: Final[dict[str, tuple[Json, ...]]] = {
    **dict.fromkeys(("contains", "ends_with", "starts_with"), BOOLEAN),
    **dict.fromkeys(("granted", "header", "hex", "join", "key", "lower", "text"), TEXT),
    **dict.fromkeys(("to_string", "topic", "trim", "type", "upper"), TEXT),
    **dict.fromkeys(("abs", "avg", "ceil", "divide", "floor", "from_minor_units", "length"), NUMBER),
    **dict.fromkeys(("multiply", "number", "record_time", "sum", "time", "to_number"), NUMBER),
    **dict.fromkeys(("keys", "split"), _TEXTS),
}
"""What a function gives, whatever its arguments, as types of Avro."""

_TYPES: Final[dict[str, type]] = {
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
    "enum": str,
    "array": list,
    "map": dict,
    "record": dict,
    "error": dict,
}


def types_of(branches: Iterable[Json] | None) -> Types:
    """Return the types that a value of any of these types of Avro may have."""
    return None if branches is None else frozenset(_type_of(branch) for branch in branches)


def _type_of(branch: Json) -> type:
    if branch["type"] not in ("bytes", "fixed"):
        return _TYPES[branch["type"]]
    try:
        converted = bytes_conversion([branch]) is not None
    except Undecodable:
        converted = False
    return bytes if not converted else str if logical_type(branch) == "uuid" else Decimal


def _called(types: Iterable[type]) -> str:
    """Return what to call a value of these types, such as "a number or a text"."""
    return " or ".join(sorted({kind(each()) for each in types}))


def _rewritten(path: str, types: frozenset[type], wanted: frozenset[type]) -> str:
    """Return the advice to write an expression so that its result has a type that is wanted.

    Empty if there is none.
    """
    if types <= {str} and wanted <= NUMBERS:
        return f": write number({path})"
    if types <= NUMBERS | {bool} and str in wanted and not wanted >= NUMBERS:
        return f": write to_string({path})"
    if types <= {bytes} and str in wanted:
        return f": write hex({path}), or text({path}) if they are UTF-8"
    return ""


def argument_problem(name: str, position: int, path: str, types: Types, items: Types) -> str:
    """Return why a function never takes what is in a place of its arguments; empty if it may.

    ``items`` are the types of the argument's items, if it is an array.
    """
    if not types:
        return ""
    all_takes = FUNCTIONS[name].takes
    takes = all_takes[min(position, len(all_takes) - 1)]
    if types.isdisjoint(takes.types):
        return f"{path} is {_called(types)}, which {name}() does not take{_rewritten(path, types, takes.types)}"
    if takes.items and types == {list} and items and all(items.isdisjoint(allowed) for allowed in takes.items):
        return f"{path} has {_called(items)} in it, which {name}() does not take"
    return ""


def unit_problem(path: str, branches: Sequence[Json], unit: str | None) -> str:
    """Return why ``time()`` would read a logical type wrongly; empty if it would not."""
    logical = {logical_type(branch) or "" for branch in branches}
    if unit in TIME_UNITS and unit != "ms" and any("timestamp-" in each for each in logical):
        return f"{path} is a timestamp, which comes in milliseconds: write time({path})"
    if logical == {"date"} and unit != "d":
        return f"{path} is a date, which comes in days: write time({path}, 'd')"
    if logical and logical <= _NO_INSTANTS.keys() - {"date"}:
        return f"{path} is {_NO_INSTANTS[min(logical)]}, which is not a point in time"
    return ""


def zone_note(path: str, branches: Sequence[Json]) -> str:
    """Return what to mind about a timestamp without a zone; empty if a path is none."""
    if path and any((logical_type(branch) or "").startswith("local-timestamp-") for branch in branches):
        return f"{path} is a local timestamp, which names no zone: it is read as UTC"
    return ""


# ---- comparisons


class Side(NamedTuple):
    """One side of a comparison."""

    text: str
    """The path, or the literal as it is written."""
    types: Types
    symbols: Sequence[str] = ()
    """For an enum, its symbols."""
    constant: object = None
    """For a literal, its value."""


def comparison_problem(operation: str, one: Side, other: Side) -> tuple[str, bool] | None:
    """Return why a comparison never holds, or always does; None if that depends on the record.

    The second value is True if the types decide that. It is False if the symbols of an enum do: a
    later version of the schema may have the symbol.
    """
    if not one.types or not other.types:
        return None
    if {_group(each) for each in one.types}.isdisjoint(map(_group, other.types)):
        never = "equals" if operation in ("eq", "ne") else "has an order with"
        return f"{one.text} is {_called(one.types)}, which never {never} {_called(other.types)}, {other.text}", True
    for enum, word in ((one, other), (other, one)):
        if enum.symbols and isinstance(word.constant, str) and word.constant not in enum.symbols:
            symbols = ", ".join(enum.symbols[:_MOST_SYMBOLS]) + (", …" if len(enum.symbols) > _MOST_SYMBOLS else "")
            return f"{word.text} is not a symbol of {enum.text}: {symbols}", False
    return None


_MOST_SYMBOLS: Final = 20
"""Symbols of an enum that a message lists."""


def _group(one: type) -> object:
    return "number" if one in NUMBERS else one


# ---- results

_A_TEXT: Final = frozenset({str})
_ANSWER: Final = frozenset({str, bool, int, float, Decimal})
_WHOLE: Final = frozenset({int, Decimal})
_WANTED: Final[dict[str, frozenset[type]]] = {
    "timestamp": _WHOLE,
    "value": NUMBERS,
    "unitsSold": NUMBERS,
    "amznUserData": _ANSWER,
    "amznAdStorage": _ANSWER,
    "dataProcessingOptions": frozenset({str, list, dict}),
}
"""What an input takes; an input that is not named takes a text."""
_OF_ATTRIBUTES: Final = frozenset({str, int})
_NEEDED: Final = {_WHOLE: "a whole number", _OF_ATTRIBUTES: "a text or a whole number"}
_NO_INSTANTS: Final = {"date": "a date", "time-millis": "a time of day", "time-micros": "a time of day"}


def result_problem(part: str, name: str, path: str, branches: Sequence[Json], items: Types) -> str:
    """Return why an input never takes the result of its expression; empty if it may.

    ``part`` is the table of the mapping file that the input is in, ``path`` the path that the
    expression is, and ``items`` are the types of the result's items, if it is an array.
    """
    types = types_of(branches)
    what, written = (path, path) if path else ("the result", "…")
    if (
        name == "timestamp"
        and branches
        and (logical := {logical_type(each) or "" for each in branches}) <= _NO_INSTANTS.keys()
    ):
        hint = f": write time({written}, 'd')" if logical == {"date"} else ""
        return f"{what} is {_NO_INSTANTS[min(logical)]}, which is not a point in time{hint}"
    if part == "matchKeys" and types == frozenset({list}):
        types, what = items, f"an item of {what}"
    wanted = _OF_ATTRIBUTES if part.startswith("custom") else _WANTED.get(name, _A_TEXT)
    if not types or not types.isdisjoint(wanted):
        return ""
    hint = (
        f": write time({written})" if name == "timestamp" and types <= {str, float} else _rewritten(written, types, wanted)
    )
    return f"{what} is {_called(types)}, where {_NEEDED.get(wanted) or _called(wanted)} is needed{hint}"
