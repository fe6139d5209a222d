"""Compiles a parsed expression to a Python function: one closure for each node, made once.

The library's own interpreter walks the tree for every value. For 14 inputs that costs as much as
everything else that is done with an event. A closure knows its children beforehand: a path is a
chain of look-ups, and a comparison with a constant is a single comparison.

A closure returns what the library returns, with the exceptions that `functions` lists and these:

1. Numbers may be decimals.
2. Ordering a text against a number, or NaN against anything, fails instead of giving null.
3. A call that is wrong whatever its arguments is refused before any record is read (`syntax`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

from connector.mapping.functions import (
    EXPRESSION,
    FUNCTIONS,
    NUMBERS,
    RECORD_FUNCTIONS,
    Function,
    Takes,
    Wrong,
    exact,
    has_no_order,
    kind,
    looked_up,
    time_of,
)
from connector.mapping.syntax import Tree

__all__ = ["Evaluate", "Failed", "Tables", "closure", "is_false"]

Evaluate = Callable[[Any, Any], Any]
"""Evaluates an expression for a value of a record, which is given too.

Raises:
    Failed: the expression has no result.
"""

Tables = Mapping[str, Mapping[str, Any]]


class Failed(Exception):
    """An expression has no result for this record.

    The text names a function and a kind of value, never a value.
    """


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
    parts = _flat(tree)
    if all(part["type"] == "field" for part in parts):
        return _path([part["value"] for part in parts])
    return _sequence([closure(part, tables) for part in parts])


def _flat(tree: Tree) -> list[Tree]:
    if tree["type"] != "subexpression":
        return [tree]
    return [part for child in tree["children"] for part in _flat(child)]


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


# ---- logic

_MAY_BE_FALSE: Final = frozenset({type(None), bool, str, list, dict})


def is_false(value: Any) -> bool:
    """Return whether JMESPath takes a value for false.

    False are null, false, and an empty text, array or object. 0 is true.
    """
    return not value and type(value) in _MAY_BE_FALSE


def _or(tree: Tree, tables: Tables) -> Evaluate:
    first, second = _children(tree, tables)

    def evaluate(value: Any, record: Any) -> Any:
        found = first(value, record)
        return second(value, record) if is_false(found) else found

    return evaluate


def _and(tree: Tree, tables: Tables) -> Evaluate:
    first, second = _children(tree, tables)

    def evaluate(value: Any, record: Any) -> Any:
        found = first(value, record)
        return second(value, record) if found is True or not is_false(found) else found

    return evaluate


def _not(tree: Tree, tables: Tables) -> Evaluate:
    (negated,) = _children(tree, tables)
    return lambda value, record: is_false(negated(value, record))


def _comparator(tree: Tree, tables: Tables) -> Evaluate:
    left, right = _children(tree, tables)
    name = tree["value"]
    if name in _ORDERS:
        return _order(_ORDERS[name], left, right)
    constant = tree["children"][1]
    if constant["type"] == "literal" and type(constant["value"]) is str:  # nearly every comparison there is
        text = constant["value"]
        if name == "eq":
            return lambda value, record: left(value, record) == text
        return lambda value, record: left(value, record) != text
    if name == "eq":
        return lambda value, record: _equal(left(value, record), right(value, record))
    return lambda value, record: not _equal(left(value, record), right(value, record))


_ORDERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal.

    1 does not equal true, nor 0 false. A float equals the decimal with the same digits.

    Raises:
        Failed: bytes meet a number. They are a decimal that cannot be read, so it may be either.
    """
    if type(one) is bool or type(other) is bool:
        return one is other
    if type(one) is float and type(other) is Decimal:
        return exact(one) == other
    if type(one) is Decimal and type(other) is float:
        return one == exact(other)
    if (type(one) is bytes and type(other) in NUMBERS) or (type(other) is bytes and type(one) in NUMBERS):
        raise Failed(f"a comparison got {kind(one)} and {kind(other)}")
    return bool(one == other)


def _order(compare: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(value: Any, record: Any) -> Any:
        one, other = left(value, record), right(value, record)
        first, second = type(one), type(other)
        if first in NUMBERS and second in NUMBERS:
            if has_no_order(one) or has_no_order(other):
                raise Failed("a comparison got NaN")
            if first is not second and (first is float or second is float):
                return compare(exact(one), exact(other))
            return compare(one, other)
        if first is str and second is str:
            return compare(one, other)
        if first in _COMPARABLE and second in _COMPARABLE:
            # With null, a condition would leave such records out for ever, and nobody would notice.
            raise Failed(f"a comparison got {kind(one)} and {kind(other)}")
        return None

    return evaluate


_COMPARABLE: Final = NUMBERS | {str, bytes}

# ---- functions


_CANNOT: Final = (ArithmeticError, ValueError, TypeError, RecursionError)


def _failed(name: str, error: Exception) -> Failed:
    """Return the error that names the function. Texts of Python's own errors may quote a value."""
    return Failed(f"{name}() {error if isinstance(error, Wrong) else 'got a value that it cannot take'}")


def _function(tree: Tree, tables: Tables) -> Evaluate:
    name, arguments = tree["value"], tree["children"]
    if name in RECORD_FUNCTIONS:
        return _asking_the_record(name, arguments)
    if name == "lookup":
        return _lookup(arguments, tables)
    if name == "time":
        unit = arguments[1]["value"] if len(arguments) > 1 else None
        return _call(name, replace(FUNCTIONS[name], run=partial(time_of, unit=unit)), arguments[:1], tables)
    if name == "not_null":
        return _not_null(_children(tree, tables))
    function = FUNCTIONS[name]
    if any(takes is EXPRESSION for takes in function.takes):
        return _call_with_expression(name, function, arguments, tables)
    return _call(name, function, arguments, tables)


def _asking_the_record(name: str, arguments: list[Tree]) -> Evaluate:
    ask = RECORD_FUNCTIONS[name]
    literals = [argument["value"] for argument in arguments]

    def evaluate(_value: Any, record: Any) -> Any:
        try:
            return ask(record, *literals)
        except Wrong as wrong:
            raise _failed(name, wrong) from None

    return evaluate


def _lookup(arguments: list[Tree], tables: Tables) -> Evaluate:
    table = tables[arguments[0]["value"]]
    key = closure(arguments[1], tables)
    default = closure(arguments[2], tables) if len(arguments) > 2 else None

    def evaluate(value: Any, record: Any) -> Any:
        wanted = key(value, record)
        try:
            found = table.get(wanted) if type(wanted) is str else looked_up(table, wanted)
        except Wrong as wrong:
            raise _failed("lookup", wrong) from None
        return default(value, record) if found is None and default is not None else found

    return evaluate


def _not_null(parts: list[Evaluate]) -> Evaluate:
    if len(parts) == 2:
        first, second = parts

        def of_two(value: Any, record: Any) -> Any:
            one, other = first(value, record), second(value, record)
            return other if one is None else one

        return of_two
    choose = FUNCTIONS["not_null"].run
    return lambda value, record: choose(*[part(value, record) for part in parts])


def _call(name: str, function: Function, arguments: list[Tree], tables: Tables) -> Evaluate:
    parts = [closure(argument, tables) for argument in arguments]
    takes = [function.takes[min(position, len(function.takes) - 1)] for position in range(len(parts))]
    run, ours = function.run, function.ours
    if len(parts) == 1:
        (only,), (allowed,) = parts, takes
        types, has_items = allowed.types, bool(allowed.items)

        def one(value: Any, record: Any) -> Any:
            given = only(value, record)
            if given is None and ours:
                return None
            if (has_items or type(given) not in types) and (problem := allowed.refuse(given)):
                raise _failed(name, Wrong(problem))
            try:
                return run(given)
            except (Wrong, *_CANNOT) as wrong:
                raise _failed(name, wrong) from None

        return one

    if len(parts) == 2:
        return _call_of_two(name, function, parts, takes)

    def many(value: Any, record: Any) -> Any:
        given = [part(value, record) for part in parts]
        for argument, allowed in zip(given, takes, strict=True):
            if problem := allowed.refuse(argument):
                raise _failed(name, Wrong(problem))
        try:
            return run(*given)
        except (Wrong, *_CANNOT) as wrong:
            raise _failed(name, wrong) from None

    return many


def _call_of_two(name: str, function: Function, parts: list[Evaluate], takes: list[Takes]) -> Evaluate:
    first, second = parts
    of_first, of_second = takes
    types, has_items = of_first.types, bool(of_first.items)
    other_types, has_other_items = of_second.types, bool(of_second.items)
    run, ours = function.run, function.ours

    def two(value: Any, record: Any) -> Any:
        one, other = first(value, record), second(value, record)
        if one is None and ours:
            return None
        if ((has_items or type(one) not in types) and (problem := of_first.refuse(one))) or (
            (has_other_items or type(other) not in other_types) and (problem := of_second.refuse(other))
        ):
            raise _failed(name, Wrong(problem))
        try:
            return run(one, other)
        except (Wrong, *_CANNOT) as wrong:
            raise _failed(name, wrong) from None

    return two


def _call_with_expression(name: str, function: Function, arguments: list[Tree], tables: Tables) -> Evaluate:
    by_expression = [takes is EXPRESSION for takes in function.takes]
    parts = [
        closure(argument["children"][0] if each else argument, tables)
        for argument, each in zip(arguments, by_expression, strict=True)
    ]

    def evaluate(value: Any, record: Any) -> Any:
        given: list[Any] = []
        for part, each, allowed in zip(parts, by_expression, function.takes, strict=True):
            if each:
                given.append(partial(_item, part, record))
                continue
            given.append(part(value, record))
            if problem := allowed.refuse(given[-1]):
                raise _failed(name, Wrong(problem))
        try:
            return function.run(*given)
        except (Wrong, *_CANNOT) as wrong:
            raise _failed(name, wrong) from None

    return evaluate


def _item(part: Evaluate, record: Any, item: Any) -> Any:
    return part(item, record)


_MAKERS: Final[Mapping[str, Callable[[Tree, Tables], Evaluate]]] = {
    "and_expression": _and,
    "comparator": _comparator,
    "current": _identity,
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
    "not_expression": _not,
    "or_expression": _or,
    "pipe": _in_turn,
    "projection": _projection,
    "slice": _slice,
    "subexpression": _subexpression,
    "value_projection": _value_projection,
}
"""What makes the closure of each type of node.

``expref`` and ``key_val_pair`` are made by the node that holds them.
"""
