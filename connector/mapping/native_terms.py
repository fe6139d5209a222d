"""Translates the mappings for one writer's schema into terms that native code evaluates.

A term is a tuple: the kind of an expression, and what it is made of (``native/src/mapping.rs``).
Native code finds a field by its position, not by its name. So paths are followed through the schema
here, and every type on the way must be certain: a union may have null and one other type.

An expression without a translation is left to Python (`closures`). For such an input its mapping is
left to Python; for such a condition, all mappings from that one on are.
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
from connector.mapping.syntax import Tree, steps
from connector.mapping.times import TIME_UNITS

__all__ = ["NativeInputs", "NativeMappings", "native_mappings"]

Term = tuple[Any, ...]

_Shape = Json | None
"""Type of a value where it is not null; None for a value that the expression computes."""

_NULL: Final[Term] = ("literal", None)
_ALWAYS: Final[Term] = ("literal", True)
_MOST_ROWS: Final = 10_000
"""Maximum rows of a table that is translated. Native code keeps a copy for each schema."""
_LARGEST: Final = 2**63
"""Native code has numbers of 64 bits: from minus this bound up to below it."""


@dataclass(frozen=True, slots=True)
class NativeInputs:
    """The terms of one mapping, each with the name of its input."""

    parts: Sequence[tuple[str, Term]]
    match_keys: Sequence[tuple[str, Term]]
    consent: Sequence[tuple[str, Term]]
    attributes: Sequence[tuple[str, Term]]
    custom_data: Sequence[tuple[tuple[str, str], Term]]


@dataclass(frozen=True, slots=True)
class NativeMappings:
    """The translated mappings for records of one type."""

    routes: Sequence[tuple[Term | None, NativeInputs | None]]
    """Condition and inputs of each mapping. Without inputs, its records are left to Python."""
    asks: Sequence[Evaluate]
    """Calls that read the Kafka record. They are evaluated in Python, and native code is given the
    results."""
    filtered: str | None
    """Label under which a record that no mapping takes is ignored; None if Python decides about
    it."""


class _NeedsPython(Exception):
    """There is no translation."""


def native_mappings(
    routes: Sequence[tuple[Route, Sequence[str], Sequence[str]]],
    writer: WriterSchema,
    record: Json,
    tables: Mapping[str, Mapping[str, Any]],
    otherwise: str | None,
) -> NativeMappings | None:
    """Translate the mappings for a type; None if native code could do nothing with them.

    Each route comes with two lists of places whose fields the schema lacks: those that make every
    record a dead letter, and those that are left out. ``otherwise`` is the label under which a
    record is ignored if there is no mapping for it.
    """
    if any(route.topics is not None for route, _, _ in routes) or not (routes or otherwise):
        return None
    translator = _Translator(writer, tables)
    terms: list[tuple[Term | None, NativeInputs | None]] = []
    for route, broken, absent in routes:
        when, is_translated = _condition(route, broken, translator, record)
        terms.append((when, _inputs(route, absent, translator, record) if is_translated and not broken else None))
        if when is None or when is _ALWAYS:
            filtered = None
            break
    else:
        filtered = routes[-1][0].label if routes else otherwise
    if filtered is None and not any(inputs for _, inputs in terms):
        return None
    return NativeMappings(terms, translator.asks, filtered)


def _condition(route: Route, broken: Sequence[str], translator: _Translator, record: Json) -> tuple[Term | None, bool]:
    """Return the condition of a mapping, and whether it has a translation.

    If not, the condition returned always holds: records that come to it are left to Python.
    """
    if route.when is None:
        return None, True
    if "when" in broken:
        return _ALWAYS, False
    try:
        return translator.term(route.when.tree, record, True)[0], True
    except _NeedsPython:
        return _ALWAYS, False


def _inputs(route: Route, absent: Sequence[str], translator: _Translator, record: Json) -> NativeInputs | None:
    def each(inputs: Sequence[Input]) -> list[tuple[Input, Term]]:
        return [(one, translator.term(one.expression.tree, record, True)[0]) for one in inputs if one.place not in absent]

    if route.inherit:
        return None
    try:
        return NativeInputs(
            parts=[
                *((name, ("literal", _constant(value))) for name, value in route.constants.items()),
                *((one.name, term) for one, term in each(route.fields)),
            ],
            match_keys=[(one.name, term) for one, term in each(route.match_keys)],
            consent=[(one.name, term) for one, term in each(route.consent)],
            attributes=[(one.name, term) for one, term in each(_copies_last(route.custom_attributes))],
            custom_data=[((one.name, str(one.data_type)), term) for one, term in each(route.custom_data)],
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


class _Translator:
    """Translates expressions for records of one schema."""

    def __init__(self, writer: WriterSchema, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._writer = writer
        self._tables = tables
        self.asks: list[Evaluate] = []
        """The calls that read the Kafka record, in the order of their numbers in the terms."""

    def term(self, tree: Tree, shape: _Shape, is_record: bool = False) -> tuple[Term, _Shape]:
        """Return the term of an expression for values of a shape, and the shape of its result.

        ``is_record`` says that the value is the whole record.
        """
        children = tree["children"]
        match tree["type"]:
            case "field" | "subexpression":
                parts = steps(tree)
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
        return self._computed(tree, shape, is_record), None

    def _each(self, trees: Sequence[Tree], shape: _Shape, is_record: bool) -> list[Term]:
        return [self.term(tree, shape, is_record)[0] for tree in trees]

    def _computed(self, tree: Tree, shape: _Shape, is_record: bool) -> Term:
        """Return the term of an expression that computes a value; no path leads into the value."""
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
        """Return the one type, apart from null, that a value of a schema's type may have."""
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

    def _path(self, names: Sequence[str], shape: _Shape) -> tuple[Term, _Shape]:
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

    def _in_turn(self, parts: Sequence[Tree], shape: _Shape, is_record: bool) -> tuple[Term, _Shape]:
        term, shape = self.term(parts[0], shape, is_record)
        for part in parts[1:]:
            each, shape = self.term(part, shape)
            term = ("pipe", term, each)
        return term, shape

    def _projection(self, tree: Tree, shape: _Shape, is_record: bool) -> tuple[Term, _Shape]:
        base, *parts = tree["children"]
        is_flat = base["type"] == "flatten"
        term, shape = self.term(base["children"][0] if is_flat else base, shape, is_record)
        items = self._items(shape)
        if is_flat and items is not None and items["type"] == "array":
            raise _NeedsPython  # arrays within an array
        each, found = self.term(parts[0], items)
        if tree["type"] == "projection":
            return ("project", term, each), {"type": "array", "items": found}
        return ("filter", term, each, self.term(parts[1], items)[0]), {"type": "array", "items": found}

    def _function(self, name: str, arguments: Sequence[Tree], shape: _Shape, is_record: bool) -> Term:
        def argument(position: int) -> Term:
            return self.term(arguments[position], shape, is_record)[0]

        if name == "not_null":
            return name, self._each(arguments, shape, is_record)
        if name == "lookup":
            return name, self._table(arguments[0]["value"]), argument(1), argument(2) if len(arguments) > 2 else None
        if name == "granted":
            return name, CONSENT_STATUSES, argument(0)
        if name == "time":
            unit = arguments[1]["value"] if len(arguments) > 1 else None
            if unit is not None and unit not in TIME_UNITS:
                raise _NeedsPython
            return name, None if unit is None else TIME_UNITS[unit], argument(0)
        if name in _ALIKE:
            return name, *self._each(arguments, shape, is_record)
        raise _NeedsPython

    def _table(self, name: str) -> Mapping[str, object]:
        table = self._tables[name]
        if len(table) > _MOST_ROWS or not all(isinstance(value, str | bool | int) for value in table.values()):
            raise _NeedsPython
        return {key: _literal(value) for key, value in table.items()}


_ALIKE: Final = {"divide", "hex", "join", "length", "lower", "multiply", "split", "sum", "to_string", "trim", "upper"}
"""Functions whose term is their name and the terms of their arguments."""
