"""Checks a release's tag and prints its notes: ``python -m tests.release v1.2.3 > notes.md``.

Uses the standard library alone, so that the release runs it before it installs anything.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Refused", "main", "notes"]

_CHECKOUT = Path(__file__).parents[1]


class Refused(Exception):
    """Why a tag is not released."""


def notes(tag: str, pyproject: str, changelog: str) -> str:
    """Return the section of the changelog that belongs to a tag.

    Raises:
        Refused: the tag is not that of the version, the version is not of the form 1.2.3, or the changelog has no
            such section.
    """
    version = tomllib.loads(pyproject)["project"]["version"]
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        # Python's 1.2.0rc1 is no version for Helm and for the image's tags, and 1.2.0-rc1 is none for Python.
        raise Refused(f"version {version} is not of the form 1.2.3, which wheel, image and chart have in common")
    if tag != f"v{version}":
        raise Refused(f"tag {tag} differs from pyproject.toml, whose version is {version}: tag v{version}, or change it")
    sections = re.split(r"^## \[", changelog, flags=re.MULTILINE)
    section = next((text for text in sections if text.startswith(f"{version}]")), "")
    _, _, body = section.partition("\n")
    if not body.strip():
        raise Refused(f"CHANGELOG.md has no section [{version}], or it is empty: rename [Unreleased]")
    return body.strip() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Print the notes of a tag; return 1 if it is refused."""
    (tag,) = arguments
    try:
        found = notes(
            tag, (_CHECKOUT / "pyproject.toml").read_text("utf-8"), (_CHECKOUT / "CHANGELOG.md").read_text("utf-8")
        )
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    print(found, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
