"""Calls of functions in expressions: checks the arguments, runs the function, names it if it fails.

A call of one argument or of two has a closure of its own, because nearly every call is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from connector.mapping.evaluation import Evaluate, Failed, Tables
from connector.mapping.functions import EXPRESSION, FUNCTIONS, Function, Takes
from connector.mapping.own_functions import RECORD_FUNCTIONS, looked_up
from connector.mapping.syntax import Tree
from connector.mapping.times import time_of
from connector.mapping.values import Wrong

__all__ = ["call"]

_CANNOT: Final = (ArithmeticError, ValueError, TypeError, RecursionError)


def _failed(name: str, error: Exception) -> Failed:
    """Return the error that names the function. Texts of Python's own errors may quote a value."""
    return Failed(f"{name}() {error if isinstance(error, Wrong) else 'got a value that it cannot take'}")


def call(name: str, arguments: Sequence[Tree], parts: list[Evaluate], tables: Tables) -> Evaluate:
    """Return the closure of a call: of its arguments as nodes, and as the closures made of them."""
    if name in RECORD_FUNCTIONS:
        return _ask_the_record(name, [argument["value"] for argument in arguments])
    if name == "lookup":
        return _lookup(tables[arguments[0]["value"]], *parts[1:])
    if name == "not_null":
        return _not_null(parts)
    function = FUNCTIONS[name]
    if name == "time":
        unit = arguments[1]["value"] if len(arguments) > 1 else None
        return _run(name, replace(function, run=partial(time_of, unit=unit)), parts[:1])
    if any(takes is EXPRESSION for takes in function.takes):
        return _run_with_expression(name, function, parts)
    return _run(name, function, parts)


def _ask_the_record(name: str, literals: list[Any]) -> Evaluate:
    ask = RECORD_FUNCTIONS[name]

    def evaluate(_value: Any, record: Any) -> Any:
        try:
            return ask(record, *literals)
        except Wrong as wrong:
            raise _failed(name, wrong) from None

    return evaluate


def _lookup(table: Mapping[str, Any], key: Evaluate, default: Evaluate | None = None) -> Evaluate:
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


def _run(name: str, function: Function, parts: list[Evaluate]) -> Evaluate:
    takes = [function.takes[min(position, len(function.takes) - 1)] for position in range(len(parts))]
    if len(parts) == 1:
        return _run_with_one(name, function, parts[0], takes[0])
    if len(parts) == 2:
        return _run_with_two(name, function, parts, takes)
    run = function.run

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


def _run_with_one(name: str, function: Function, part: Evaluate, allowed: Takes) -> Evaluate:
    types, has_items = allowed.types, bool(allowed.items)
    run, ours = function.run, function.ours

    def one(value: Any, record: Any) -> Any:
        given = part(value, record)
        if given is None and ours:
            return None
        if (has_items or type(given) not in types) and (problem := allowed.refuse(given)):
            raise _failed(name, Wrong(problem))
        try:
            return run(given)
        except (Wrong, *_CANNOT) as wrong:
            raise _failed(name, wrong) from None

    return one


def _run_with_two(name: str, function: Function, parts: list[Evaluate], takes: list[Takes]) -> Evaluate:
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


def _run_with_expression(name: str, function: Function, parts: list[Evaluate]) -> Evaluate:
    by_expression = [takes is EXPRESSION for takes in function.takes]

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
