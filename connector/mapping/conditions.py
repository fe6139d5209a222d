"""Conditions of expressions: ``||``, ``&&``, ``!``, and comparisons.

Each takes its operands as closures and returns a closure (`closures`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from connector.mapping.evaluation import Evaluate, Failed
from connector.mapping.syntax import Tree
from connector.mapping.values import NUMBERS, exact, has_no_order, kind

__all__ = ["both", "comparison", "either", "is_false", "negation"]

_MAY_BE_FALSE: Final = frozenset({type(None), bool, str, list, dict})


def is_false(value: Any) -> bool:
    """Return whether JMESPath takes a value for false.

    False are null, false, and an empty text, array or object. 0 is true.
    """
    return not value and type(value) in _MAY_BE_FALSE


def either(first: Evaluate, second: Evaluate) -> Evaluate:
    """Return the closure of ``||``: the first value that is not false, or else the second."""

    def evaluate(value: Any, record: Any) -> Any:
        found = first(value, record)
        return second(value, record) if is_false(found) else found

    return evaluate


def both(first: Evaluate, second: Evaluate) -> Evaluate:
    """Return the closure of ``&&``: the first value if it is false, or else the second."""

    def evaluate(value: Any, record: Any) -> Any:
        found = first(value, record)
        return second(value, record) if found is True or not is_false(found) else found

    return evaluate


def negation(negated: Evaluate) -> Evaluate:
    """Return the closure of ``!``."""
    return lambda value, record: is_false(negated(value, record))


def comparison(name: str, left: Evaluate, right: Evaluate, right_node: Tree) -> Evaluate:
    """Return the closure of a comparison by its name in the tree, such as ``eq`` or ``lt``.

    ``right_node`` is the node that ``right`` was made of.
    """
    if name in _ORDERS:
        return _order(_ORDERS[name], left, right)
    if right_node["type"] == "literal" and type(right_node["value"]) is str:  # nearly every comparison there is
        text = right_node["value"]
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
