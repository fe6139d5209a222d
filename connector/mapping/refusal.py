"""The problems of a mapping file, collected so that all of them are reported at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["MappingRefused", "Problems", "close_to"]


class MappingRefused(Exception):
    """A mapping file has problems. Each is a place in the file, and what is wrong there."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        self.problems = found
        width = max(len(place) for place, _ in found)
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        super().__init__("\n".join([count, *(f"  {place:<{width}}  {what}" for place, what in found)]))


class Problems:
    """The problems that were found so far.

    ``misplaced`` says of each directive where it belongs.
    """

    def __init__(self, misplaced: Mapping[str, str]) -> None:
        self.misplaced = misplaced
        self.found: list[tuple[str, str]] = []
        """Places in the file, each with what is wrong there. The text continues the place's
        name."""

    def add(self, place: str, what: str) -> None:
        """Add a problem."""
        self.found.append((place, what))

    def add_unknown(self, place: str, table: Mapping[str, Any], known: Collection[str], noun: str) -> None:
        """Add a problem for each name of a table that is not a known one."""
        article = "an" if noun[0] == "i" else "a"
        for name in table:
            if name not in known:
                what = self.misplaced.get(name) or f"is not {article} {noun}{close_to(name, known)}"
                self.add(f"{place}.{name}" if place else name, what)

    def table(self, place: str, given: Any) -> dict[str, Any]:
        """Return what should be a table; if it is none, add a problem and return an empty table."""
        if isinstance(given, dict):
            return given
        self.add(place, "is not a table: write it as [" + re.sub(r"\[\d+\]", "", place) + "]")
        return {}


def close_to(name: str, known: Collection[str]) -> str:
    """Return the end of a message about an unknown name: the known one that is close, or all."""
    by_fold = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_fold, n=1)
    return f"; did you mean {by_fold[close[0]]}?" if close else f": {', '.join(known)}"
