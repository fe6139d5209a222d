"""Checks expressions against a writer's schema: a wrong path is found before any record is read.

JMESPath returns null for a path that does not exist. A misspelt field would therefore be absent
from every event, and nobody would notice. Here each expression is followed through the unions,
arrays, maps and records of the schema, by the types that its values may have. A function may return
anything, unless it is one that returns its argument or an item of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from connector.avro.writer_schema import RECORDS, Json, WriterSchema
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


def look(tree: Tree, writer: WriterSchema, record: Json, *, is_condition: bool = False) -> Look:
    """Follow an expression through a record type of a writer's schema."""
    eye = _Eye(writer)
    eye.follow(tree, (record,), "")
    if is_condition:
        eye.condition(tree, (record,))
    return eye.found


class _Eye:
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

    def _items(self, shape: _Shape, path: str) -> _Shape:
        """Return the types that the items of an array may have."""
        if shape is None:
            return None
        arrays = [branch for branch in shape if branch["type"] == "array"]
        return self._shape(branch["items"] for branch in arrays) if arrays else self._miss(path, "it is no array there")

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
        return self._miss(path)

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
            case "index" | "slice":
                items = self._items(shape, path)
                return (items, f"{path}[{tree['value']}]") if tree["type"] == "index" else (shape, path)
            case "identity" | "current":
                return shape, path
            case "flatten":
                return self._flattened(children[0], shape, path)
            case "projection" | "value_projection" | "filter_projection":
                return self._projection(tree, shape, path)
            case "or_expression":
                return self._one_of(children, shape, path), ""
            case "function_expression":
                return self._function(tree, shape, path), ""
            case _:
                # Every part of logic, a comparison or a multi-select must be in the schema. A
                # literal has no parts.
                for position, child in enumerate(children):
                    self._part(tree, position, child, shape, path)
                return None, ""

    def _flattened(self, base: Tree, shape: _Shape, path: str) -> tuple[_Shape, str]:
        before, path = self._follow(base, shape, path)
        items = self._items(before, path)
        if items is None:
            return None, path
        flat = self._shape(each["items"] if each["type"] == "array" else each for each in items)
        return None if flat is None else ({"type": "array", "items": list(flat)},), path

    def _part(self, tree: Tree, position: int, child: Tree, shape: _Shape, path: str) -> None:
        before = len(self.found.missing)
        self.follow(child, shape, path)
        is_word = tree["type"] == "comparator" and child["type"] == "field"
        if is_word and len(self.found.missing) > before and tree["children"][1 - position]["type"] != "literal":
            self.found.missing[-1] = Missing(self.found.missing[-1].path, f"a text is written '{child['value']}'")

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
        followed = [self._follow(each, shape, path) for each in arguments if each["type"] != "expref"]
        if not followed:
            return None
        first, path = followed[0]
        for each in arguments:
            if each["type"] == "expref":
                self.follow(each["children"][0], self._items(first, path), f"{path}[]")
        if name in _TAKE_ONE:
            return self._items(first, path)
        return first if name in _HAND_ON else None

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
                silent = _Eye(self._writer)
                found, path = silent._follow(tree, shape, "")
                if found and not silent.found.missing and any(branch["type"] != "boolean" for branch in found):
                    self.found.no_conditions.append(path)
            case _:
                pass
