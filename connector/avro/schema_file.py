"""Schemas from files: ours, which the package contains, and that of a topic of plain Avro."""

from __future__ import annotations

import json
import re
from pathlib import Path

from connector.avro.framing import SchemaId
from connector.avro.writer_schema import Json, parse
from connector.errors import SettingsError, Undecodable

__all__ = ["SchemaFile", "json_of", "packaged"]

_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


def packaged(name: str) -> Json:
    """Return one of our schemas by file name.

    The directory ``schemas/`` is within the package in a wheel, and next to it in a checkout.
    """
    package = Path(__file__).parents[1]
    in_wheel = package / "schemas" / name
    return json.loads((in_wheel if in_wheel.exists() else package.parent / "schemas" / name).read_text("utf-8"))


class SchemaFile:
    """The schema of a topic of plain Avro, from a file.

    ``named_by`` is the setting or option that names it.

    Raises:
        SettingsError: the file cannot be read, or is not the schema of a record.
    """

    def __init__(self, path: Path, named_by: str = "AVRO_SCHEMA_FILE") -> None:
        try:
            self._schema = json_of(path.read_text("utf-8-sig"))
            parse([self._schema])
        except OSError as error:
            raise SettingsError([f"{named_by}: {path} cannot be read: {error.strerror}"]) from error
        except (ValueError, RecursionError) as error:
            raise SettingsError([f"{named_by}: {path} is not JSON"]) from error
        except Undecodable as error:
            raise SettingsError([f"{named_by}: {path}: {error}"]) from error

    def definitions(self, schema_id: SchemaId = 0, waited: float = 0.0) -> list[Json]:  # noqa: ARG002 - the port's; values name none
        """Return the one schema, for any id."""
        return [self._schema]

    def check(self) -> None:
        """Do nothing: the file was read when this object was made."""


def json_of(text: str) -> Json:
    """Parse JSON with comments, as Java does (org.apache.avro.Schema, ``ALLOW_COMMENTS``)."""
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(_COMMENT.sub(lambda found: found[1] or " ", text))
