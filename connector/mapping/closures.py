"""Compiles a parsed expression to a Python function: one closure for each node, made once.

The library's own interpreter walks the tree for every value. For 14 inputs that costs as much as
everything else that is done with an event. A closure knows its children beforehand: a path is a
chain of look-ups, and a comparison with a constant is a single comparison.

This file has paths and projections; `conditions` and `calls` have what their names say. A closure
returns what the library returns, with the exceptions that `functions` lists and these:

1. Numbers may be decimals.
2. Ordering a text against a number, or NaN against anything, fails instead of giving null.
3. A call that is wrong whatever its arguments is refused before any record is read (`syntax`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from connector.mapping.calls import call
from connector.mapping.conditions import both, comparison, either, is_false, negation
from connector.mapping.evaluation import Evaluate, Tables
from connector.mapping.syntax import Tree, steps

__all__ = ["closure"]


def closure(tree: Tree, tables: Tables) -> Evaluate:
    """Return the function of an expression that `syntax.problems` has passed."""
    made: Evaluate = _MAKERS[tree["type"]](tree, tables)
    return made


def _children(tree: Tree, tables: Tables) -> list[Evaluate]:
    return [closure(child, tables) for child in tree["children"]]


# ---- paths


def _identity(_tree: Tree, _tables: Tables) -> Evaluate:
    return lambda value, _record: value


def _literal(tree: Tree, _tables: Tables) -> Evaluate:
    constant = tree["value"]
    return lambda _value, _record: constant


def _field(tree: Tree, _tables: Tables) -> Evaluate:
    name = tree["value"]
    return lambda value, _record: value.get(name) if type(value) is dict else None


def _subexpression(tree: Tree, tables: Tables) -> Evaluate:
    parts = steps(tree)
    if all(part["type"] == "field" for part in parts):
        return _path([part["value"] for part in parts])
    return _sequence([closure(part, tables) for part in parts])


def _path(names: list[str]) -> Evaluate:
    if len(names) == 2:
        first, second = names

        def two(value: Any, _record: Any) -> Any:
            if type(value) is dict and type(value := value.get(first)) is dict:
                return value.get(second)
            return None

        return two

    def many(value: Any, _record: Any) -> Any:
        for name in names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value

    return many


def _sequence(parts: list[Evaluate]) -> Evaluate:
    if len(parts) == 2:
        first, second = parts
        return lambda value, record: second(first(value, record), record)

    def evaluate(value: Any, record: Any) -> Any:
        for part in parts:
            value = part(value, record)
        return value

    return evaluate


def _in_turn(tree: Tree, tables: Tables) -> Evaluate:
    return _sequence(_children(tree, tables))


def _index(tree: Tree, _tables: Tables) -> Evaluate:
    at = tree["value"]

    def evaluate(value: Any, _record: Any) -> Any:
        if type(value) is not list:
            return None
        try:
            return value[at]
        except IndexError:
            return None

    return evaluate


def _slice(tree: Tree, _tables: Tables) -> Evaluate:
    part = slice(*tree["children"])
    return lambda value, _record: value[part] if type(value) is list else None


# ---- projections


def _projection(tree: Tree, tables: Tables) -> Evaluate:
    if tree["children"][0]["type"] == "flatten":
        return _flat_projection(tree, tables)
    base, each = _children(tree, tables)

    def evaluate(value: Any, record: Any) -> Any:
        items = base(value, record)
        if type(items) is not list:
            return None
        return [found for item in items if (found := each(item, record)) is not None]

    return evaluate


def _flat_projection(tree: Tree, tables: Tables) -> Evaluate:
    """Return the function of ``a[].b``, without a list of all items in between."""
    base = closure(tree["children"][0]["children"][0], tables)
    each = closure(tree["children"][1], tables)

    def evaluate(value: Any, record: Any) -> Any:
        items = base(value, record)
        if type(items) is not list:
            return None
        found: list[Any] = []
        for item in items:
            parts = item if type(item) is list else (item,)
            found += [part for one in parts if (part := each(one, record)) is not None]
        return found

    return evaluate


def _value_projection(tree: Tree, tables: Tables) -> Evaluate:
    base, each = _children(tree, tables)

    def evaluate(value: Any, record: Any) -> Any:
        items = base(value, record)
        if type(items) is not dict:
            return None
        return [found for item in items.values() if (found := each(item, record)) is not None]

    return evaluate


def _filter_projection(tree: Tree, tables: Tables) -> Evaluate:
    base, each, condition = _children(tree, tables)

    def evaluate(value: Any, record: Any) -> Any:
        items = base(value, record)
        if type(items) is not list:
            return None
        return [
            found for item in items if not is_false(condition(item, record)) and (found := each(item, record)) is not None
        ]

    return evaluate


def _flatten(tree: Tree, tables: Tables) -> Evaluate:
    (base,) = _children(tree, tables)

    def evaluate(value: Any, record: Any) -> Any:
        items = base(value, record)
        if type(items) is not list:
            return None
        flat: list[Any] = []
        for item in items:
            if type(item) is list:
                flat.extend(item)
            else:
                flat.append(item)
        return flat

    return evaluate


def _multi_select_list(tree: Tree, tables: Tables) -> Evaluate:
    parts = _children(tree, tables)
    return lambda value, record: None if value is None else [part(value, record) for part in parts]


def _multi_select_dict(tree: Tree, tables: Tables) -> Evaluate:
    parts = [(pair["value"], closure(pair["children"][0], tables)) for pair in tree["children"]]
    return lambda value, record: None if value is None else {name: part(value, record) for name, part in parts}


# ---- conditions and calls


def _of_children(make: Callable[..., Evaluate]) -> Callable[[Tree, Tables], Evaluate]:
    return lambda tree, tables: make(*_children(tree, tables))


def _comparator(tree: Tree, tables: Tables) -> Evaluate:
    left, right = _children(tree, tables)
    return comparison(tree["value"], left, right, tree["children"][1])


def _function(tree: Tree, tables: Tables) -> Evaluate:
    return call(tree["value"], tree["children"], _children(tree, tables), tables)


def _expression(tree: Tree, tables: Tables) -> Evaluate:
    (after_ampersand,) = _children(tree, tables)
    return after_ampersand


_MAKERS: Final[Mapping[str, Callable[[Tree, Tables], Evaluate]]] = {
    "and_expression": _of_children(both),
    "comparator": _comparator,
    "current": _identity,
    "expref": _expression,
    "field": _field,
    "filter_projection": _filter_projection,
    "flatten": _flatten,
    "function_expression": _function,
    "identity": _identity,
    "index": _index,
    "index_expression": _in_turn,
    "literal": _literal,
    "multi_select_dict": _multi_select_dict,
    "multi_select_list": _multi_select_list,
    "not_expression": _of_children(negation),
    "or_expression": _of_children(either),
    "pipe": _in_turn,
    "projection": _projection,
    "slice": _slice,
    "subexpression": _subexpression,
    "value_projection": _value_projection,
}
"""What makes the closure of each type of node. ``multi_select_dict`` makes its ``key_val_pair``."""
