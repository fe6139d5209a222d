"""Findings of `check` and `lint`, and what both find in a mapping file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from connector.avro.inputs import fields_by_input, target_of
from connector.avro.schema_directory import SchemaDirectory
from connector.avro.schema_file import SchemaFile, packaged
from connector.avro.writer_schema import Json, WriterSchema, parse
from connector.errors import Undecodable
from connector.mapping.file import MappingFile
from connector.mapping.plan import problems_in

__all__ = ["Finding", "State", "is_for_none", "schema_findings", "schemas_in_files"]


class State(Enum):
    """The state of one thing that was checked."""

    RIGHT = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: a line of output."""

    state: State
    what: str
    message: str


def schema_findings(
    mapping: MappingFile | None, definitions: list[Json], place: str, topic: str | None = None
) -> Iterator[Finding]:
    """Check whether records of a schema, which is that of one topic or of any, can become events.

    With a mapping file, its expressions must fit the schema. Without one, the schema must have the
    inputs by name.
    """
    what = "schema" if mapping is None else "mapping"
    try:
        writer = parse(definitions)
    except Undecodable as error:
        yield Finding(State.WRONG, what, f"{place}: {error}")
        return
    yield from _by_name(writer, place) if mapping is None else _by_mapping(mapping, writer, place, topic)


def _by_name(writer: WriterSchema, place: str) -> Iterator[Finding]:
    schema = packaged("conversion_event.avsc")
    ours = parse([schema])
    target = target_of(ours, ours.event)
    required = [field["name"] for field in schema["fields"] if "default" not in field]
    absent = {
        f"{place} ({name})": [each for each in required if each not in fields_by_input(record["fields"], target)]
        for name, record in writer.named_records()
    }
    state = State.WRONG if all(absent.values()) else State.NOTE
    for within, names in absent.items():
        if names:
            message = f"{within} has no {', '.join(names)}: each of its records is a dead letter (missing-field)"
            yield Finding(state, "schema", f"{message} unless a mapping file says where they are; set MAPPING_FILE")
        else:
            yield Finding(State.RIGHT, "schema", f"{within} has every required input")


def _by_mapping(mapping: MappingFile, writer: WriterSchema, place: str, topic: str | None) -> Iterator[Finding]:
    found = [(name, problems_in(mapping, writer, record, name, place, topic)) for name, record in writer.named_records()]
    for lacking in (each for _, all_of in found for each in all_of):
        yield Finding(State.WRONG if lacking.must else State.NOTE, "mapping", lacking.text)
    unmapped = [name for name, _ in found if not any(route.is_for(name, topic) for route in mapping.routes)]
    for name in unmapped:
        fate = "ignored" if mapping.ignores_others else "a dead letter (unmapped)"
        yield Finding(State.NOTE, "mapping", f"no mapping is for {place} ({name}): each of its records is {fate}")
    if not unmapped and not any(all_of for _, all_of in found):
        yield Finding(State.RIGHT, "mapping", f"every path is in {place}")


def is_for_none(mapping: MappingFile, schemas: Iterable[list[Json]]) -> bool:
    """Return whether no mapping is for any of these schemas, so all records are dead letters."""
    names = [name for definitions in schemas for name, _ in parse(definitions).named_records()]
    return not mapping.ignores_others and not any(route.is_for(name) for route in mapping.routes for name in names)


def schemas_in_files(
    file: Path | None, directory: Path | None, option: Path | None = None
) -> Iterator[tuple[str, list[Json]]]:
    """Yield the schema of a file, or those of ``directory``, each with its name in messages.

    The option ``--schema`` comes before ``file``, which is the setting's.

    Raises:
        SettingsError: a file cannot be read, or is not a schema.
    """
    if option is not None:
        yield str(option), SchemaFile(option, "--schema").definitions()
    elif file is not None:
        yield str(file), SchemaFile(file).definitions()
    elif directory is not None:
        for definitions in SchemaDirectory(directory).every():
            yield f"{definitions[-1].get('name')} of {directory}", definitions
