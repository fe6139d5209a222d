"""`connector lint`: checks settings and the mapping file without any network, for use in a CI."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from connector.avro.writer_schema import Json, parse
from connector.cli.findings import State, is_for_none, schema_findings, schemas_in_files
from connector.cli.partial_settings import without_account
from connector.errors import SettingsError
from connector.mapping.money import doubtful_amounts

__all__ = ["run", "set_up"]


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Check settings, the mapping file and a schema file without any network. Brokers, registry, account and secrets "
        "may be missing. Exit 2 if something is wrong."
    )
    parser.add_argument(
        "--schema",
        type=Path,
        metavar="FILE",
        help="the writer's schema that the mapping must fit (default: AVRO_SCHEMA_FILE or AVRO_SCHEMA_DIR)",
    )


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Check settings and mapping file, and return 0 if nothing is wrong.

    Raises:
        SettingsError: something is wrong. It holds every problem.
    """
    settings = without_account(environ, brokers=False)
    console = Console()
    mapping = settings.mapping
    notes = [] if mapping is None else list(doubtful_amounts(mapping))
    held = list(schemas_in_files(settings.schema_file, settings.schema_dir, arguments.schema))
    if not held:
        _show(console, notes)
        what = (
            "There is no mapping file" if mapping is None else "The mapping file was compared with no schema: give --schema"
        )
        console.print(f"{what}. The settings are right.", soft_wrap=True)
        return 0
    found = [each for place, definitions in held for each in schema_findings(mapping, definitions, place)]
    wrong = [each.message for each in found if each.state is State.WRONG]
    if mapping is not None and is_for_none(mapping, (definitions for _, definitions in held)):
        wrong.append(_FOR_NONE.format(", ".join(_with_names(place, definitions) for place, definitions in held)))
    if wrong:
        raise SettingsError(wrong)
    _show(console, [*notes, *(each.message for each in found)])
    right = not notes and all(each.state is State.RIGHT for each in found)
    console.print("No error was found; mind the notes above." if not right else _RIGHT[mapping is not None], soft_wrap=True)
    return 0


def _with_names(place: str, definitions: list[Json]) -> str:
    return f"{place} ({', '.join(name for name, _ in parse(definitions).named_records())})"


def _show(console: Console, messages: list[str]) -> None:
    for each in messages:
        console.print(each, markup=False, highlight=False, soft_wrap=True)


_RIGHT = ("Settings and schema are right.", "Settings and mapping are right.")
_FOR_NONE = (
    "no mapping is for any record of {}, so each would become a dead letter (unmapped): correct record in a [[mapping]], or "
    "set otherwise = 'ignore'"
)
