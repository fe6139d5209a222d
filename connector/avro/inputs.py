"""Which field of a writer's record is which of our inputs.

For each input the first of these rules that finds a field decides:

1. A writer's field with our name.
2. A writer's field with a name that our schema gives as an alias.
3. A writer's field that has one of these names as an alias.

Names are case-sensitive. Record names, namespaces and field order mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from connector.avro.writer_schema import Json, WriterSchema, logical_type

__all__ = ["Target", "branches_of", "fields_by_input", "target_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """A type of our schema, as a target of the mapping."""

    names: dict[str, str]
    """Our field names, by name and by alias; empty if the type is not a record."""
    fields: dict[str, Target]
    is_time: bool


def target_of(ours: WriterSchema, schema: Json) -> Target:
    """Return what the mapping needs of a type of our schema."""
    branches = branches_of(ours, schema)
    fields = [field for branch in branches for field in branch.get("fields", ())]
    return Target(
        names={name: field["name"] for field in fields for name in _names(field)},
        fields={field["name"]: target_of(ours, field["type"]) for field in fields},
        is_time=any(logical_type(branch) == "timestamp-millis" for branch in branches),
    )


def branches_of(known: WriterSchema, schema: Json) -> list[Json]:
    """Return the types that a value of this type may have; for an array, those of its items."""
    if isinstance(schema, list):
        return [each for branch in schema for each in branches_of(known, branch)]
    resolved = known.resolved(schema)
    return branches_of(known, resolved["items"]) if resolved["type"] == "array" else [resolved]


def fields_by_input(fields: list[Json], target: Target) -> dict[str, Json]:
    """Return the writer's field for each of ours by the module's rules; the first of equal ones."""
    candidates = sorted(
        (2 if rank else int(name != ours), position, ours)
        for position, field in enumerate(fields)
        for rank, name in enumerate(_names(field))
        if (ours := target.names.get(name)) is not None
    )
    chosen: dict[str, int] = {}
    for _, position, ours in candidates:
        if ours not in chosen and position not in chosen.values():
            chosen[ours] = position
    return {ours: fields[position] for ours, position in chosen.items()}


def _names(field: Json) -> list[str]:
    """Return the name of a field, then its aliases."""
    return [field["name"], *field["aliases"]]
