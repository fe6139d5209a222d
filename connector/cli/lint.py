"""`connector lint`: checks settings and the mapping file without any network, for use in a CI."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from connector.avro import schemas
from connector.cli.findings import State, mapping_findings
from connector.cli.partial_settings import without_account
from connector.errors import SettingsError

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
        help="the writer's schema that the mapping must fit (default: AVRO_SCHEMA_FILE)",
    )


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Check settings and mapping file, and return 0 if nothing is wrong.

    Raises:
        SettingsError: something is wrong. It holds every problem.
    """
    settings = without_account(environ, brokers=False)
    console = Console()
    mapping, schema_file = settings.mapping, arguments.schema or settings.schema_file
    if mapping is None or schema_file is None:
        what = (
            "There is no mapping file" if mapping is None else "The mapping file was held against no schema: give --schema"
        )
        console.print(f"{what}. The settings are right.", soft_wrap=True)
        return 0
    found = list(mapping_findings(mapping, schemas.SchemaFile(str(schema_file)).definitions(), str(schema_file)))
    if wrong := [each.message for each in found if each.state is State.WRONG]:
        raise SettingsError(wrong)
    for each in found:
        console.print(each.message, markup=False, highlight=False, soft_wrap=True)
    right = all(each.state is State.RIGHT for each in found)
    console.print(
        "Settings and mapping are right." if right else "No error was found; mind the notes above.", soft_wrap=True
    )
    return 0
