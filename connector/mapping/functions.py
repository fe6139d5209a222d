"""Every function of expressions by name: what it does, and which arguments it takes.

JMESPath's functions do what its specification says, with five differences:

1. Numbers may be decimals, which stay exact.
2. The sum of an empty array is null, because zero units sold is not the same as none known.
3. `to_string` of a decimal has no quotes.
4. `to_string` of null is null. An id that has "null" in it would be the same for many orders.
5. Functions that order numbers fail for NaN, which has no order.

Our functions return null for null. No function reads a clock or draws a random number, so the same
record gives the same event after a restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from connector.mapping import jmespath_functions as jmespath
from connector.mapping import own_functions as own
from connector.mapping.times import time_of
from connector.mapping.values import ARRAYS, BYTES, KINDS, NUMBERS, OBJECTS, TEXTS, kind, number_in, to_string

__all__ = ["EXPRESSION", "FUNCTIONS", "Function", "Takes"]


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


_ANY: Final = Takes(frozenset(KINDS))
EXPRESSION: Final = Takes(frozenset())
"""An expression after ``&``, which the function evaluates for each item."""
_TEXT: Final = Takes(TEXTS)
_NUMBER: Final = Takes(NUMBERS)
_ARRAY: Final = Takes(ARRAYS)
_OBJECT: Final = Takes(OBJECTS)
_NUMBER_ARRAY: Final = Takes(ARRAYS, (NUMBERS,))
_SORTABLE: Final = Takes(ARRAYS, (NUMBERS, TEXTS))


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


FUNCTIONS: Final[Mapping[str, Function]] = {
    "abs": Function(abs, (_NUMBER,)),
    "avg": Function(jmespath.average, (_NUMBER_ARRAY,)),
    "ceil": Function(math.ceil, (_NUMBER,)),
    "contains": Function(jmespath.contains, (Takes(ARRAYS | TEXTS), _ANY)),
    "ends_with": Function(str.endswith, (_TEXT, _TEXT)),
    "floor": Function(math.floor, (_NUMBER,)),
    "join": Function(str.join, (_TEXT, Takes(ARRAYS, (TEXTS,)))),
    "keys": Function(list, (_OBJECT,)),
    "length": Function(len, (Takes(TEXTS | ARRAYS | OBJECTS),)),
    "map": Function(lambda each, items: [each(item) for item in items], (EXPRESSION, _ARRAY)),
    "max": Function(lambda items: max(jmespath.ordered(items), default=None), (_SORTABLE,)),
    "max_by": Function(partial(jmespath.most_by, max), (_ARRAY, EXPRESSION)),
    "merge": Function(jmespath.merge, (_OBJECT,), variadic=True),
    "min": Function(lambda items: min(jmespath.ordered(items), default=None), (_SORTABLE,)),
    "min_by": Function(partial(jmespath.most_by, min), (_ARRAY, EXPRESSION)),
    "not_null": Function(jmespath.not_null, (_ANY,), variadic=True),
    "reverse": Function(lambda value: value[::-1], (Takes(ARRAYS | TEXTS),)),
    "sort": Function(lambda items: sorted(jmespath.ordered(items)), (_SORTABLE,)),
    "sort_by": Function(jmespath.sort_by, (_ARRAY, EXPRESSION)),
    "starts_with": Function(str.startswith, (_TEXT, _TEXT)),
    "sum": Function(jmespath.sum_of, (_NUMBER_ARRAY,)),
    "to_array": Function(lambda value: value if type(value) is list else [value], (_ANY,)),
    "to_number": Function(jmespath.to_number, (_ANY,)),
    "to_string": Function(to_string, (_ANY,)),
    "type": Function(jmespath.type_name, (_ANY,)),
    "values": Function(lambda value: list(value.values()), (_OBJECT,)),
    # Ours.
    "divide": Function(own.divide, (_NUMBER, _NUMBER), ours=True),
    "from_minor_units": Function(own.from_minor_units, (_NUMBER, _TEXT), ours=True),
    "granted": Function(own.granted, (Takes(TEXTS | NUMBERS | {bool}),), ours=True),
    "header": Function(own.RECORD_FUNCTIONS["header"], (_TEXT,)),
    "hex": Function(bytes.hex, (Takes(BYTES),), ours=True),
    "json": Function(own.parsed_json, (_TEXT,), ours=True),
    "key": Function(own.RECORD_FUNCTIONS["key"], ()),
    "lookup": Function(own.looked_up, (_TEXT, _ANY, _ANY), optional=1),
    "lower": Function(str.lower, (_TEXT,), ours=True),
    "multiply": Function(own.multiply, (_NUMBER, _NUMBER), ours=True),
    "number": Function(number_in, (Takes(TEXTS | NUMBERS),), ours=True),
    "record_time": Function(own.RECORD_FUNCTIONS["record_time"], ()),
    "split": Function(own.split, (_TEXT, _TEXT), ours=True),
    "text": Function(own.decoded, (Takes(BYTES),), ours=True),
    "time": Function(time_of, (Takes(TEXTS | NUMBERS), _TEXT), optional=1, ours=True),
    "topic": Function(own.RECORD_FUNCTIONS["topic"], ()),
    "trim": Function(str.strip, (_TEXT,), ours=True),
    "upper": Function(str.upper, (_TEXT,), ours=True),
}
"""Every function by name.

`calls` evaluates those of `own_functions.RECORD_FUNCTIONS`, `lookup`, `time` and `not_null` in its
own way. Names, units and formats are known before any record is read.
"""
