"""Schemas as other companies write them, and random ones, which ``Values.java`` is given.

All are records, for an event is one.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_NAMES = ("Row", "row", "Key", "user-id", "2nd", "Größe", "array", "record", "a b", "Deep.Name", "com.other.Name", ".Bare")
_SPACES = (None, None, "", "com.shop", "de.größe", "1.2", "x")
_LOGICAL = ("decimal", "uuid", "date", "timestamp-micros", "timestamp-nanos", "big-decimal", "duration", "unheard-of", 5)


class _Schemas:
    """Makes a schema at random; most are ones that Java takes."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._defined: list[tuple[str, str]] = []

    def event(self) -> list[Any]:
        """Return an event's schema, perhaps after one that it refers to."""
        before = [self._named(0, "")] if self._dice.random() < 0.3 else []
        return [*before, self._record(0, "", f"Event{self._dice.randrange(3)}")]

    def _type(self, depth: int, space: str) -> Any:
        chance = self._dice.random()
        if depth > 4 or chance < 0.3:
            return self._primitive()
        if chance < 0.45 and self._defined:
            return self._reference(space)
        if chance < 0.55:
            return {"type": "array", "items": self._type(depth + 1, space)}
        if chance < 0.62:
            return {"type": "map", "values": self._type(depth + 1, space)}
        if chance < 0.8:
            return self._union(depth, space)
        return self._named(depth, space)

    def _primitive(self) -> Any:
        name = self._dice.choice(_PRIMITIVES)
        if self._dice.random() < 0.7:
            return name
        return {"type": name, "logicalType": self._dice.choice(_LOGICAL), "precision": 3, "scale": self._dice.randrange(6)}

    def _reference(self, space: str) -> Any:
        """Return the name of a type, mostly as it must be from here."""
        here, name = self._dice.choice(self._defined)
        short = name if here in (space, "") or self._dice.random() < 0.05 else f"{here}.{name}"
        named = short if self._dice.random() < 0.8 else {"type": short}
        return named if self._dice.random() < 0.2 else ["null", named]  # a record that holds itself has no value

    def _union(self, depth: int, space: str) -> Any:
        branches = [self._type(depth + 1, space) for _ in range(self._dice.randrange(3))]
        return ["null", *(branch for branch in branches if branch != "null" and not isinstance(branch, list))]

    def _named(self, depth: int, space: str) -> Any:
        kind = self._dice.choice(("record", "record", "enum", "fixed"))
        name = self._dice.choice(_NAMES)
        if kind == "record":
            return self._record(depth, space, name)
        schema = self._head(kind, space, name)
        if kind == "fixed":
            return schema | {"size": self._dice.randrange(20), "logicalType": self._dice.choice(_LOGICAL)}
        symbols = self._dice.sample(["A", "ÜBERWEISUNG", "SEPA-Lastschrift", "1st", "", "a b", "Z"], 3)
        return schema | {"symbols": symbols, "default": "none of them", "doc": ["not", "text"]}

    def _record(self, depth: int, space: str, name: str) -> Any:
        schema = self._head("record", space, name)
        within = self._defined[-1][0]
        names = self._dice.sample(
            ["id", "user-id", "größe", "type", "1", "items", "a.b", "name"], self._dice.randrange(1, 6)
        )
        fields: list[Any] = [{"name": field, "type": self._type(depth + 1, within)} for field in names]
        for field in fields:
            if self._dice.random() < 0.3:
                field |= {"default": self._dice.choice((None, "text", 5, {}, [])), "doc": 5, "aliases": ["other"]}
        return schema | {"fields": fields}

    def _head(self, kind: str, space: str, name: str) -> dict[str, Any]:
        given = self._dice.choice(_SPACES)
        full = name if "." in name else f"{space if given is None else given}.{name}"
        self._defined.append((full.rpartition(".")[0], full.rpartition(".")[2]))
        return {"type": kind, "name": name} | ({} if given is None and self._dice.random() < 0.8 else {"namespace": given})


def _event(*types: Any, namespace: str = "com.shop") -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": type_} for number, type_ in enumerate(types)]
    return {"type": "record", "name": "Event", "namespace": namespace, "fields": fields}


_ROW = {"type": "record", "name": "row", "namespace": "", "fields": [{"name": "op_type", "type": "string"}]}
_NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
_TREE = {"type": "record", "name": "Tree", "fields": [{"name": "leaves", "type": {"type": "array", "items": "Tree"}}]}
_PAY = {"type": "enum", "name": "Zahlart", "symbols": ["ÜBERWEISUNG", "SEPA-Lastschrift", "Rechnung"]}


def schemas() -> list[list[Any]]:
    """Return schemas, each after those it refers to."""
    by_hand: list[list[Any]] = [
        [_event(_ROW, "row", ["null", "row"])],  # Oracle GoldenGate
        [_ROW, _event("row")],
        [_event(_PAY, ["null", "Zahlart"], {"type": "map", "values": "com.shop.Zahlart"})],
        [_event(_NODE, "string")],
        [_event(_TREE, {"type": "map", "values": ["null", "Tree"]})],
        [_event(["null", "Event"], {"type": "array", "items": "com.shop.Event"})],
        [_event("Later", {"type": "fixed", "name": "Later", "size": 2})],
        [_event(_PAY, _PAY)],
        [_event(_PAY, {"type": "enum", "name": "Zahlart", "symbols": ["BAR"]})],
        [_event({"type": {"type": "string"}})],
        [_event("Nowhere")],
        [_event({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"})],
    ]
    return by_hand + [_Schemas(seed).event() for seed in range(300)]


if __name__ == "__main__":
    json.dump(schemas(), sys.stdout)
