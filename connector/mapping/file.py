"""What a mapping file says: its mappings (`Route`), the inputs that they give, and its tables.

`reading` reads a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from connector.mapping.syntax import Expression, tables_used

__all__ = ["FATES", "Input", "MappingFile", "Route"]

FATES: Final = ("dead-letter", "ignore")
"""What may become of a record that no mapping is for (the directive ``otherwise``)."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input, and the expression that gives it."""

    place: str
    """The place in the file, such as ``fields.value``."""
    name: str
    expression: Expression
    must: bool
    """Whether the record becomes a dead letter if the expression has no result."""
    data_type: str | None = None
    """The type of an attribute of ``customData``; None for other inputs."""


@dataclass(frozen=True, slots=True)
class Route:
    """One ``[[mapping]]``: which records it is for, and what it makes of them."""

    label: str
    records: frozenset[str] | None
    topics: frozenset[str] | None
    when: Expression | None
    inherit: bool
    constants: Mapping[str, object]
    fields: tuple[Input, ...]
    match_keys: tuple[Input, ...]
    consent: tuple[Input, ...]
    custom_attributes: tuple[Input, ...]
    custom_data: tuple[Input, ...]

    def is_for(self, record: str, topic: str | None = None) -> bool:
        """Return whether the mapping is for records of this full name, in this topic or any."""
        return (self.records is None or record in self.records) and (
            self.topics is None or topic is None or topic in self.topics
        )

    def takes_all_of(self, other: Route) -> bool:
        """Return whether this mapping leaves no record for another one that comes later."""
        holds = self.when is None or (other.when is not None and self.when.text == other.when.text)
        return holds and _has_all(self.records, other.records) and _has_all(self.topics, other.topics)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Every input that an expression gives."""
        return *self.fields, *self.match_keys, *self.consent, *self.custom_attributes, *self.custom_data


def _has_all(names: frozenset[str] | None, others: frozenset[str] | None) -> bool:
    """Return whether some names include others; None means all names."""
    return names is None or (others is not None and others <= names)


@dataclass(frozen=True, slots=True)
class MappingFile:
    """What a mapping file says."""

    routes: tuple[Route, ...]
    tables: Mapping[str, Mapping[str, object]]
    ignores_others: bool
    """Whether a record that no mapping is for is ignored; otherwise it is a dead letter."""

    def identity_of(self, fields: Iterable[str]) -> str:
        """Return a text of everything that decides the values of these inputs.

        While the text is the same, keys that are made of these inputs stay the same.
        """
        said = []
        for route in self.routes:
            trees = {each.name: each.expression.tree for each in route.fields if each.name in fields}
            constants = {name: route.constants[name] for name in fields if name in route.constants}
            tables = {name: _content(self.tables[name]) for tree in trees.values() for name in tables_used(tree)}
            said.append([route.inherit, trees, constants, tables])
        return json.dumps(said, sort_keys=True)


def _content(table: Mapping[str, object]) -> str:
    return blake2b(json.dumps(table, sort_keys=True).encode(), digest_size=16).hexdigest()
