"""Checks expressions against a writer's schema: a wrong path is found before any record is read.

JMESPath returns null for a path that does not exist. A misspelt field would therefore be absent
from every event, and nobody would notice. Here each expression is followed through the unions,
arrays, maps and records of the schema, by the types that its values may have. The result of a
function is known if `kinds` has it, or if the function returns its argument or an item of it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from connector.avro.writer_schema import RECORDS, Json, WriterSchema
from connector.mapping.kinds import (
    BOOLEAN,
    GIVES,
    Side,
    Types,
    argument_problem,
    comparison_problem,
    result_problem,
    types_of,
    unit_problem,
    zone_note,
)
from connector.mapping.syntax import Tree

__all__ = ["Look", "Missing", "look"]

_Shape = tuple[Json, ...] | None
"""The types that a value may have, without unions and null; None if it may be anything."""

_HAND_ON: Final = {"reverse", "sort", "sort_by"}
"""Functions that return a value of the same type as their argument."""
_TAKE_ONE: Final = {"min", "max", "min_by", "max_by"}
"""Functions that return an item of their argument."""


class Missing(NamedTuple):
    """A path that is not in a schema."""

    path: str
    hint: str = ""
    """What may have been meant."""

    def within(self, schema: str) -> str:
        """Return the sentence that the path is not in this schema."""
        return f"{self.path} is not in {schema}" + (f": {self.hint}" if self.hint else "")


@dataclass(slots=True)
class Look:
    """What an expression finds in a schema."""

    missing: list[Missing] = field(default_factory=list)
    no_conditions: list[str] = field(default_factory=list)
    """Paths that are used as a condition but are not booleans."""
    never_work: list[str] = field(default_factory=list)
    """Calls that always fail, and comparisons that never hold or always do."""
    doubtful: list[str] = field(default_factory=list)
    """Comparisons that never hold for this schema, but may hold for a later version of it."""
    misfit: str = ""
    """Why the input never takes the result."""


def look(tree: Tree, writer: WriterSchema, record: Json, *, is_condition: bool = False, gives: str = "") -> Look:
    """Follow an expression through a record type of a writer's schema.

    ``gives`` is the input that the expression gives, such as ``fields.value``.
    """
    walk = _Walk(writer)
    if is_condition:
        walk.follow(tree, (record,), "")
        walk.condition(tree, (record,))
    else:
        walk.result(tree, (record,), gives)
    return walk.found


def _written(constant: object) -> str:
    """Return a literal as it is written."""
    return f"'{constant}'" if isinstance(constant, str) else f"`{json.dumps(constant)}`"


class _Walk:
    """One walk through a schema along an expression."""

    def __init__(self, writer: WriterSchema) -> None:
        self._writer = writer
        self.found = Look()

    # ---- types

    def _shape(self, schemas: Iterable[Json]) -> _Shape:
        shape: list[Json] = []
        for schema in schemas:
            if isinstance(schema, list):
                shape += self._shape(schema) or ()
            elif (resolved := self._writer.resolved(schema))["type"] != "null":
                shape.append(resolved)
        return tuple(shape)

    def _miss(self, path: str, why: str = "") -> _Shape:
        missing = Missing(path or "@", why)
        if missing not in self.found.missing:
            self.found.missing.append(missing)
        return None

    def _items(self, shape: _Shape, path: str, why: str = "it is not an array there") -> _Shape:
        """Return the types that the items of an array may have."""
        if shape is None:
            return None
        arrays = [branch for branch in shape if branch["type"] == "array"]
        return self._shape(branch["items"] for branch in arrays) if arrays else self._miss(path, why)

    def _values(self, shape: _Shape, path: str) -> _Shape:
        """Return the types that the values of an object may have."""
        if shape is None:
            return None
        types = [branch["values"] for branch in shape if branch["type"] == "map"]
        types += [each["type"] for branch in shape if branch["type"] in RECORDS for each in branch["fields"]]
        return self._shape(types) if types else self._miss(path, "it has no fields there")

    def _field(self, name: str, shape: _Shape, path: str, before: str) -> _Shape:
        if shape is None:
            return None
        types = [branch["values"] for branch in shape if branch["type"] == "map"]
        types += [
            each["type"]
            for branch in shape
            if branch["type"] in RECORDS
            for each in branch["fields"]
            if each["name"] == name
        ]
        if types:
            return self._shape(types)
        if any(branch["type"] == "array" for branch in shape):
            return self._miss(path, f"{before} is an array: write {before}[].{name} or {before}[0].{name}")
        names = {each["name"].lower(): each["name"] for branch in shape for each in branch.get("fields", ())}
        close = difflib.get_close_matches(name.lower(), names, n=1)
        return self._miss(path, f"did you mean {names[close[0]]}?" if close else "")

    # ---- expressions

    def follow(self, tree: Tree, shape: _Shape, path: str) -> _Shape:
        """Return the types that an expression may give for a value of this shape at a path."""
        return self._follow(tree, shape, path)[0]

    def _follow(self, tree: Tree, shape: _Shape, path: str) -> tuple[_Shape, str]:
        """Return the shape, and the path that leads to it; empty if none does."""
        children = tree["children"]
        match tree["type"]:
            case "field":
                longer = f"{path}.{tree['value']}" if path else str(tree["value"])
                return self._field(tree["value"], shape, longer, path), longer
            case "subexpression" | "index_expression" | "pipe":
                for child in children:
                    shape, path = self._follow(child, shape, path)
                return shape, path
            case "index":
                index = f"[{tree['value']}]"
                of_each = f"it is not an array there: {index} applies to each item; write | {index} to take one of all"
                items = self._items(shape, path, of_each) if "[]" in path else self._items(shape, path)
                return items, f"{path}{index}"
            case "slice":
                self._items(shape, path)
                return shape, path
            case "identity" | "current":
                return shape, path
            case "flatten":
                return self._flattened(children[0], shape, path)
            case "projection" | "value_projection" | "filter_projection":
                return self._projection(tree, shape, path)
            case _:
                return self._made(tree, shape, path), ""

    def _made(self, tree: Tree, shape: _Shape, path: str) -> _Shape:
        """Return the shape of what an expression makes, instead of taking it from the record."""
        match tree["type"]:
            case "or_expression":
                return self._one_of(tree["children"], shape, path)
            case "function_expression":
                return self._function(tree, shape, path)
            case "comparator":
                return self._comparison(tree, shape, path)
            case _:
                # Every part of logic or a multi-select must be in the schema. A literal has no
                # parts.
                for child in tree["children"]:
                    self.follow(child, shape, path)
                return BOOLEAN if tree["type"] == "not_expression" else None

    def _flattened(self, base: Tree, shape: _Shape, path: str) -> tuple[_Shape, str]:
        before, path = self._follow(base, shape, path)
        items = self._items(before, path)
        if items is None:
            return None, path
        flat = self._shape(each["items"] if each["type"] == "array" else each for each in items)
        return None if flat is None else ({"type": "array", "items": list(flat)},), path

    def _comparison(self, tree: Tree, shape: _Shape, path: str) -> _Shape:
        one, other = tree["children"]
        sides = [self._side(one, other, shape, path), self._side(other, one, shape, path)]
        if (problem := comparison_problem(tree["value"], *sides)) is not None:
            self._note(self.found.never_work if problem[1] else self.found.doubtful, problem[0])
        return BOOLEAN

    def _side(self, tree: Tree, other: Tree, shape: _Shape, path: str) -> Side:
        """Return one side of a comparison, and note if it is a word that was meant to be a text."""
        if tree["type"] == "literal":
            constant = tree["value"]
            return Side(_written(constant), frozenset({type(constant)}) - {type(None)}, constant=constant)
        before = len(self.found.missing)
        found, longer = self._follow(tree, shape, path)
        if tree["type"] == "field" and len(self.found.missing) > before and other["type"] != "literal":
            self.found.missing[-1] = Missing(self.found.missing[-1].path, f"a text is written '{tree['value']}'")
        enums = [branch["symbols"] for branch in found or () if branch["type"] == "enum"]
        symbols = [symbol for each in enums for symbol in each] if len(enums) == len(found or ()) else []
        return Side(longer or "what is compared", types_of(found), symbols)

    @staticmethod
    def _note(notes: list[str], note: str) -> None:
        if note not in notes:
            notes.append(note)

    def _projection(self, tree: Tree, shape: _Shape, path: str) -> tuple[_Shape, str]:
        base, path = self._follow(tree["children"][0], shape, path)
        if tree["type"] == "value_projection":
            each, path = self._values(base, path), f"{path}.*"
        else:
            each, path = self._items(base, path), f"{path}[]"
        if tree["type"] == "filter_projection":
            self.follow(tree["children"][2], each, path)
            self.condition(tree["children"][2], each)
        found, path = self._follow(tree["children"][1], each, path)
        return None if found is None else ({"type": "array", "items": list(found)},), path

    def _one_of(self, alternatives: list[Tree], shape: _Shape, path: str) -> _Shape:
        """Follow alternatives, of which one must be in the schema.

        Schemas of a topic differ by age, so a path may be in some of them only.
        """
        before = self.found.missing
        shapes: list[_Shape] = []
        misses: list[list[Missing]] = []
        for alternative in alternatives:
            self.found.missing = []
            shapes.append(self.follow(alternative, shape, path))
            misses.append(self.found.missing)
        self.found.missing = before
        if all(misses):
            self.found.missing += [each for each in misses[0] if each not in before]
        held = [each for each, missing in zip(shapes, misses, strict=True) if not missing]
        if not held or None in held:
            return None
        return tuple(branch for each in held for branch in each or ())

    def _function(self, tree: Tree, shape: _Shape, path: str) -> _Shape:
        name, arguments = tree["value"], tree["children"]
        if name == "not_null":
            return self._one_of(arguments, shape, path)
        followed = [(each, *self._follow(each, shape, path)) for each in arguments if each["type"] != "expref"]
        if not followed:
            return GIVES.get(name)
        for argument, found, longer in followed:
            self._argument(name, arguments.index(argument), argument, found, longer)
        _, first, path = followed[0]
        if (
            name == "time"
            and first
            and path
            and (problem := unit_problem(path, first, arguments[1]["value"] if len(arguments) > 1 else None))
        ):
            self._note(self.found.never_work, problem)
        if name == "time" and first and (note := zone_note(path, first)):
            self._note(self.found.doubtful, note)
        for each in arguments:
            if each["type"] == "expref":
                self.follow(each["children"][0], self._items(first, path), f"{path}[]")
        if name in _TAKE_ONE:
            return self._items(first, path)
        return first if name in _HAND_ON else GIVES.get(name)

    def _argument(self, name: str, position: int, argument: Tree, found: _Shape, path: str) -> None:
        if argument["type"] == "literal":
            types: Types = frozenset({type(argument["value"])}) - {type(None)}
            path = _written(argument["value"])
        else:
            types = types_of(found)
        if problem := argument_problem(name, position, path or "an argument", types, self._item_types(found)):
            self._note(self.found.never_work, problem)

    def _item_types(self, shape: _Shape) -> Types:
        """Return the types that items of an array may have; None if that is not known."""
        if not shape or any(branch["type"] != "array" for branch in shape):
            return None
        return types_of(self._shape(branch["items"] for branch in shape))

    def result(self, tree: Tree, shape: _Shape, gives: str) -> None:
        """Follow an expression, and note if the input that it gives never takes its result."""
        found, path = self._follow(tree, shape, "")
        if tree["type"] == "field" and tree["value"].isupper() and self.found.missing == [Missing(tree["value"])]:
            self.found.missing = [Missing(tree["value"], f"a text is written '{tree['value']}'")]
        part, _, name = gives.partition(".")
        if found and gives == "fields.timestamp" and (note := zone_note(path, found)):
            self._note(self.found.doubtful, note)
        if found and gives:
            self.found.misfit = result_problem(part, name, path, found, self._item_types(found))

    # ---- conditions

    def condition(self, tree: Tree, shape: _Shape) -> None:
        """Note the paths that are used as a condition but are not booleans.

        JMESPath takes every text but an empty one for true, so such a condition would always hold.
        """
        match tree["type"]:
            case "or_expression" | "and_expression" | "not_expression":
                for child in tree["children"]:
                    self.condition(child, shape)
            case "field" | "subexpression" | "index_expression":
                silent = _Walk(self._writer)
                found, path = silent._follow(tree, shape, "")
                if found and not silent.found.missing and any(branch["type"] != "boolean" for branch in found):
                    self.found.no_conditions.append(path)
            case _:
                pass
