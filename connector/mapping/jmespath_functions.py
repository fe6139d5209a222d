"""The functions of JMESPath that need more than one call of Python.

`functions` has the others, says where ours differ from the specification, and checks the types of
all arguments before the call.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import reduce
from typing import Any

from connector.mapping.values import DECIMALS, KINDS, NUMBERS, TEXTS, Wrong, exact, has_no_order, kind

__all__ = ["average", "contains", "merge", "most_by", "not_null", "ordered", "sort_by", "sum_of", "to_number", "type_name"]


def sum_of(numbers: list[Any]) -> Any:
    """Return the sum, exact if a decimal is among the numbers; null for an empty array."""
    if not numbers:
        return None
    if Decimal in {*map(type, numbers)}:
        return reduce(DECIMALS.add, map(exact, numbers))
    return sum(numbers)


def average(numbers: list[Any]) -> Any:
    """Return the average, exact if a decimal is among the numbers; null for an empty array."""
    total = sum_of(numbers)
    if total is None:
        return None
    return DECIMALS.divide(total, Decimal(len(numbers))) if type(total) is Decimal else total / len(numbers)


def to_number(value: Any) -> Any:
    """Return a number as it is, and the number in a text; null for anything else."""
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


def not_null(*values: Any) -> Any:
    """Return the first value that is not null; null if there is none."""
    for value in values:
        if value is not None:
            return value
    return None


def ordered(items: list[Any]) -> list[Any]:
    """Return an array of numbers or texts that can be put in order.

    Raises:
        Wrong: NaN is in it.
    """
    if any(map(has_no_order, items)):
        raise Wrong("got an array with NaN in it")
    return items


def merge(*objects: dict[str, Any]) -> dict[str, Any]:
    """Return one object; of values with the same name the last counts."""
    return {name: value for each in objects for name, value in each.items()}


def contains(subject: Any, searched: Any) -> bool:
    """Return whether an array has an item, or a text has a part.

    Raises:
        Wrong: something other than a text is searched in a text.
    """
    if type(subject) is str and type(searched) is not str:
        raise Wrong(f"got {kind(searched)} to find in a text")
    return searched in subject


def type_name(value: Any) -> str:
    """Return the type of a value by JMESPath's name, such as "string"; "bytes" for bytes."""
    name = KINDS[type(value)].rpartition(" ")[2]
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


def sort_by(items: list[Any], by: Callable[[Any], Any]) -> list[Any]:
    """Return the items in the order of what ``by`` gives for each.

    Raises:
        Wrong: ``by`` gives something else than numbers alone, or texts alone.
    """
    if not items:
        return items
    first = by(items[0])
    if type(first) not in NUMBERS | TEXTS:
        raise Wrong(f"got {kind(first)} to sort by")
    return sorted(items, key=_keyed(by, TEXTS if type(first) is str else NUMBERS))


def most_by(choose: Callable[..., Any], items: list[Any], by: Callable[[Any], Any]) -> Any:
    """Return the item that ``choose``, min or max, takes by what ``by`` gives; null if none is."""
    return choose(items, key=_keyed(by, NUMBERS | TEXTS)) if items else None
