"""Tells the mappings for one writer's schema as native code evaluates them.

An expression is told as a tuple: its kind, and what it is made of (``native/src/mapping.rs``). A
path is told by the positions of its fields. So it is followed through the schema here, and it must
lead through types that leave nothing open: of a union, only null and one other type.

What cannot be told is left to `connector.mapping.closures`: a mapping with such an input, or all
mappings from the first one with such a condition on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connector.amazon.vocabulary import CONSENT_STATUSES
from connector.avro.writer_schema import RECORDS, Json, WriterSchema
from connector.mapping.closures import closure
from connector.mapping.evaluation import Evaluate
from connector.mapping.file import Input, Route
from connector.mapping.own_functions import RECORD_FUNCTIONS
from connector.mapping.syntax import Tree
from connector.mapping.times import TIME_UNITS

__all__ = ["Straight", "StraightInputs", "straight"]

Told = tuple[Any, ...]

_Shape = Json | None
"""The type that a value has where it is not null; None for a value that the expression makes."""

_NULL: Final[Told] = ("literal", None)
_ALWAYS: Final[Told] = ("literal", True)
_MOST_ROWS: Final = 10_000
"""Rows of the largest table that native code gets; it keeps a copy of its own for each schema."""
_LARGEST: Final = 2**63
"""Bound of the numbers that it knows."""


@dataclass(frozen=True, slots=True)
class StraightInputs:
    """The expressions of one mapping."""

    parts: Sequence[tuple[str, Told]]
    match_keys: Sequence[tuple[str, Told]]
    consent: Sequence[tuple[str, Told]]
    attributes: Sequence[tuple[str, Told]]
    custom_data: Sequence[tuple[tuple[str, str], Told]]


@dataclass(frozen=True, slots=True)
class Straight:
    """The mappings for records of one type."""

    routes: Sequence[tuple[Told | None, StraightInputs | None]]
    """Condition and inputs of each. Without inputs its records are left to Python."""
    asks: Sequence[Evaluate]
    """The calls that read the record of Kafka, of which native code is given the results."""
    filtered: str | None
    """The label under which a record is ignored that none of them takes; None if Python has to see
    it."""


class _NeedsPython(Exception):
    """It cannot be told."""


def straight(
    routes: Sequence[tuple[Route, Sequence[str], Sequence[str]]],
    writer: WriterSchema,
    record: Json,
    tables: Mapping[str, Mapping[str, Any]],
    otherwise: str | None,
) -> Straight | None:
    """Tell the mappings for a type; None if native code could do nothing with them.

    Each route comes with the places of what the schema lacks: that must be there, and that is left
    out. ``otherwise`` is the label under which a record is ignored that no mapping is for.
    """
    if any(route.topics is not None for route, _, _ in routes) or not (routes or otherwise):
        return None
    teller = _Teller(writer, tables)
    told: list[tuple[Told | None, StraightInputs | None]] = []
    for route, broken, absent in routes:
        when, is_told = _condition(route, broken, teller, record)
        told.append((when, _inputs(route, absent, teller, record) if is_told and not broken else None))
        if when is None or when is _ALWAYS:
            filtered = None
            break
    else:
        filtered = routes[-1][0].label if routes else otherwise
    return Straight(told, teller.asks, filtered) if filtered is not None or any(inputs for _, inputs in told) else None


def _condition(route: Route, broken: Sequence[str], teller: _Teller, record: Json) -> tuple[Told | None, bool]:
    """Return the condition of a mapping, and whether it can be told.

    If not, the condition is one that always holds: records that come to it are left to Python.
    """
    if route.when is None:
        return None, True
    if "when" in broken:
        return _ALWAYS, False
    try:
        return teller.told(route.when.tree, record, True)[0], True
    except _NeedsPython:
        return _ALWAYS, False


def _inputs(route: Route, absent: Sequence[str], teller: _Teller, record: Json) -> StraightInputs | None:
    def each(inputs: Sequence[Input]) -> list[tuple[Input, Told]]:
        return [(one, teller.told(one.expression.tree, record, True)[0]) for one in inputs if one.place not in absent]

    if route.inherit:
        return None
    try:
        return StraightInputs(
            parts=[
                *((name, ("literal", _constant(value))) for name, value in route.constants.items()),
                *((one.name, told) for one, told in each(route.fields)),
            ],
            match_keys=[(one.name, told) for one, told in each(route.match_keys)],
            consent=[(one.name, told) for one, told in each(route.consent)],
            attributes=[(one.name, told) for one, told in each(_copies_last(route.custom_attributes))],
            custom_data=[((one.name, str(one.data_type)), told) for one, told in each(route.custom_data)],
        )
    except _NeedsPython:
        return None


def _copies_last(inputs: Sequence[Input]) -> list[Input]:
    """Return inputs in the order of `plan`: those with a repeated expression come last."""
    texts: set[str] = set()
    first: list[Input] = []
    copies: list[Input] = []
    for each in inputs:
        (copies if each.expression.text in texts else first).append(each)
        texts.add(each.expression.text)
    return first + copies


def _constant(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _NeedsPython
    return _literal(value)


def _literal(value: object) -> object:
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise _NeedsPython
    return value


class _Teller:
    """Tells expressions for records of one schema."""

    def __init__(self, writer: WriterSchema, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._writer = writer
        self._tables = tables
        self.asks: list[Evaluate] = []
        """The calls that read the record of Kafka."""

    def told(self, tree: Tree, shape: _Shape, is_record: bool = False) -> tuple[Told, _Shape]:
        """Return an expression for values of a shape, and the shape of what it gives.

        ``is_record`` says that it is evaluated for the whole record.
        """
        children = tree["children"]
        match tree["type"]:
            case "field" | "subexpression":
                parts = _flat(tree)
                names = [part["value"] for part in parts if part["type"] == "field"]
                return self._path(names, shape) if len(names) == len(parts) else self._in_turn(parts, shape, is_record)
            case "index_expression" | "pipe":
                return self._in_turn(children, shape, is_record)
            case "identity" | "current" if not is_record:
                return ("path", []), shape
            case "index" if not is_record:
                return ("index", tree["value"]), self._items(shape)
            case "projection" | "filter_projection":
                return self._projection(tree, shape, is_record)
            case "multi_select_list":
                return ("list", self._each(children, shape, is_record)), {"type": "array", "items": None}
        return self._made(tree, shape, is_record), None

    def _each(self, trees: Sequence[Tree], shape: _Shape, is_record: bool) -> list[Told]:
        return [self.told(tree, shape, is_record)[0] for tree in trees]

    def _made(self, tree: Tree, shape: _Shape, is_record: bool) -> Told:
        """Return an expression that makes a value of its own, which no path leads into."""
        children = tree["children"]
        match tree["type"]:
            case "literal":
                value = tree["value"]
                if not isinstance(value, str | bool | int | None):
                    raise _NeedsPython
                return "literal", _literal(value)
            case "or_expression" | "and_expression" | "not_expression":
                return tree["type"].removesuffix("_expression"), *self._each(children, shape, is_record)
            case "comparator":
                return tree["value"], *self._each(children, shape, is_record)
            case "function_expression":
                if tree["value"] in RECORD_FUNCTIONS and is_record:
                    self.asks.append(closure(tree, self._tables))
                    return "asked", len(self.asks) - 1
                return self._function(tree["value"], children, shape, is_record)
        raise _NeedsPython

    def _single(self, schema: Json) -> _Shape:
        """Return the type that a value of a type has where it is not null."""
        branches = [self._writer.resolved(each) for each in (schema if isinstance(schema, list) else [schema])]
        others = [branch for branch in branches if branch["type"] != "null"]
        if len(others) > 1:
            raise _NeedsPython
        return others[0] if others else branches[0]

    def _items(self, shape: _Shape) -> _Shape:
        if shape is None:
            return None
        if shape["type"] != "array":
            raise _NeedsPython
        return None if shape["items"] is None else self._single(shape["items"])

    def _path(self, names: Sequence[str], shape: _Shape) -> tuple[Told, _Shape]:
        steps: list[int | str] = []
        for name in names:
            if shape is None:
                raise _NeedsPython
            if shape["type"] == "map":
                steps.append(name)
                shape = self._single(shape["values"])
                continue
            fields = shape["fields"] if shape["type"] in RECORDS else []
            own = [field["name"] for field in fields]
            if len(set(own)) < len(own):
                raise _NeedsPython
            if name not in own:
                return _NULL, {"type": "null"}
            steps.append(own.index(name))
            shape = self._single(fields[own.index(name)]["type"])
        return ("path", steps), shape

    def _in_turn(self, parts: Sequence[Tree], shape: _Shape, is_record: bool) -> tuple[Told, _Shape]:
        told, shape = self.told(parts[0], shape, is_record)
        for part in parts[1:]:
            each, shape = self.told(part, shape)
            told = ("pipe", told, each)
        return told, shape

    def _projection(self, tree: Tree, shape: _Shape, is_record: bool) -> tuple[Told, _Shape]:
        base, *parts = tree["children"]
        is_flat = base["type"] == "flatten"
        told, shape = self.told(base["children"][0] if is_flat else base, shape, is_record)
        items = self._items(shape)
        if is_flat and items is not None and items["type"] == "array":
            raise _NeedsPython  # arrays within an array
        each, found = self.told(parts[0], items)
        if tree["type"] == "projection":
            return ("project", told, each), {"type": "array", "items": found}
        return ("filter", told, each, self.told(parts[1], items)[0]), {"type": "array", "items": found}

    def _function(self, name: str, arguments: Sequence[Tree], shape: _Shape, is_record: bool) -> Told:
        def told(position: int) -> Told:
            return self.told(arguments[position], shape, is_record)[0]

        if name == "not_null":
            return name, self._each(arguments, shape, is_record)
        if name == "lookup":
            return name, self._table(arguments[0]["value"]), told(1), told(2) if len(arguments) > 2 else None
        if name == "granted":
            return name, CONSENT_STATUSES, told(0)
        if name == "time":
            unit = arguments[1]["value"] if len(arguments) > 1 else None
            if unit is not None and unit not in TIME_UNITS:
                raise _NeedsPython
            return name, None if unit is None else TIME_UNITS[unit], told(0)
        if name in _ALIKE:
            return name, *self._each(arguments, shape, is_record)
        raise _NeedsPython

    def _table(self, name: str) -> Mapping[str, object]:
        table = self._tables[name]
        if len(table) > _MOST_ROWS or not all(isinstance(value, str | bool | int) for value in table.values()):
            raise _NeedsPython
        return {key: _literal(value) for key, value in table.items()}


_ALIKE: Final = {"divide", "hex", "join", "length", "lower", "multiply", "split", "sum", "to_string", "trim", "upper"}
"""Functions that are told by their arguments alone."""


def _flat(tree: Tree) -> list[Tree]:
    if tree["type"] != "subexpression":
        return [tree]
    return [part for child in tree["children"] for part in _flat(child)]
