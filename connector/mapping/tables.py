"""Reads the tables of a mapping file: those written in it, and those in CSV files that it names."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any, Final

from connector.mapping.file import FATES
from connector.mapping.refusal import Problems

__all__ = ["table_in"]

_CSV: Final = frozenset({"file", "key", "value"})
_MOST_ROWS: Final = 1_000_000
_MOST_TOLD: Final = 5
"""Maximum wrong rows of a table that are reported one by one."""


def table_in(place: str, given: dict[str, Any], read_text: Callable[[str], str], problems: Problems) -> dict[str, object]:
    """Return the table at a place of the file. ``read_text`` returns the text of a file by name."""
    is_csv = "file" in given and not given.keys().isdisjoint(_CSV - {"file"})
    return _csv(place, given, read_text, problems) if is_csv else _inline(place, given, problems)


def _inline(place: str, given: dict[str, Any], problems: Problems) -> dict[str, object]:
    for key, value in given.items():
        if key == "otherwise" and value in FATES:
            problems.add(f"{place}.{key}", problems.misplaced[key])
        elif not isinstance(value, str | int | float | bool):
            problems.add(f"{place}.{key}", "is neither a text, a number, true nor false")
    return given


def _csv(place: str, given: dict[str, Any], read_text: Callable[[str], str], problems: Problems) -> dict[str, object]:
    file, key, value = (given.get(name) for name in ("file", "key", "value"))
    if given.keys() != _CSV or not (isinstance(file, str) and isinstance(key, str) and isinstance(value, str)):
        problems.add(place, 'takes { file = "…", key = "…", value = "…" }: a CSV file, and the names of two columns')
        return {}
    try:
        text = read_text(file)
    except OSError as error:
        problems.add(place, f"names a file that cannot be read ({type(error).__name__}): {file}")
        return {}
    except ValueError:
        problems.add(place, f"names a file that is not UTF-8 text: {file}")
        return {}
    try:
        rows = csv.DictReader(StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
        if problem := _column_problem(rows.fieldnames or (), key, value, file):
            problems.add(place, problem)
            return {}
        table, wrong = _rows(rows, key, value, file)
    except csv.Error as error:
        problems.add(place, f"names a file that is not CSV ({error}): {file}")
        return {}
    for what in wrong[:_MOST_TOLD]:
        problems.add(place, what)
    if len(wrong) > _MOST_TOLD:
        problems.add(place, f"has {len(wrong) - _MOST_TOLD} more such rows: {file}")
    return {own: found for own, found in table.items() if found}


def _column_problem(columns: Sequence[str], key: str, value: str, file: str) -> str:
    """Return why two columns cannot be found in a CSV file; empty if they can."""
    names = tuple(dict.fromkeys((key, value)))
    if absent := [name for name in names if name not in columns]:
        has = f"it has {', '.join(columns)}" if columns else "it is empty"
        return f"names {' and '.join(absent)}, which {file} has no column for: {has}"
    if twice := [name for name in names if list(columns).count(name) > 1]:
        return f"names {' and '.join(twice)}, for which {file} has several columns"
    return ""


def _rows(rows: csv.DictReader[str], key: str, value: str, file: str) -> tuple[dict[str, str], list[str]]:
    """Return the values of one column by those of another, and what is wrong with rows."""
    table: dict[str, str] = {}
    wrong: list[str] = []
    for row in rows:
        where = f"line {rows.line_num} of {file}"
        if row[key] is None or row[value] is None:
            wrong.append(f"has a row without {key} and {value}: {where}")
        elif any(row.get(None) or ()):
            wrong.append(f"has a row with more cells than columns (put a value with a comma in quotes): {where}")
        elif not any(cell and cell.strip() for name, cell in row.items() if name is not None):
            continue
        elif (own := row[key].strip()) in table:
            wrong.append(f"has a key twice: {where}")
        elif len(table) == _MOST_ROWS:
            wrong.append(f"has more than {_MOST_ROWS} rows: {file}")
            break
        else:
            table[own] = row[value].strip()
    return table, wrong
