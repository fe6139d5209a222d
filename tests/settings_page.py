"""The table of settings in ``docs/settings.md``, made from the code: ``python -m tests.settings_page`` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from connector.config import SETTINGS, Setting

__all__ = ["PAGE", "with_table"]

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
_TABLE = re.compile(r"(<!-- generated: python -m tests.settings_page -->\n).*?(?=\n\n|\Z)", re.DOTALL)


def with_table(page: str) -> str:
    """Return the page with the table as the code has it."""
    table = "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *map(_row, SETTINGS)])
    filled, tables = _TABLE.subn(lambda found: found[1] + table, page)
    if tables != 1:
        raise ValueError(f"{PAGE.name} has {tables} places for the table of settings")
    return filled


def _row(setting: Setting) -> str:
    usual = "required" if setting.required else f"`{setting.default}`" if setting.default else "-"
    return f"| `{setting.name}` | {usual} | {setting.meaning} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
