"""The page of each preset: its sample goes through `connector lint` and `connector preview` as the page says."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from connector.cli import lint, preview
from connector.mapping.reading import PRESETS
from connector.mapping.syntax import parse, walk

_CHECKOUT = Path(__file__).parents[2]
_PAGES = _CHECKOUT / "docs" / "presets"


def blocks(name: str, language: str) -> list[str]:
    text = (_PAGES / f"{name}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def ran(command: Any, options: list[str], environment: dict[str, str]) -> int:
    """Return the exit code of a command."""
    parser = argparse.ArgumentParser()
    command.set_up(parser)
    code: int = command.run(parser.parse_args(options), environment)
    return code


def test_every_preset_has_a_page_and_every_page_a_preset() -> None:
    assert sorted(page.stem for page in _PAGES.glob("*.md")) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_the_sample_becomes_the_event_that_the_page_shows(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mapping,) = blocks(name, "toml")
    schema, record, shown = map(json.loads, blocks(name, "json"))
    (tmp_path / "mapping.toml").write_text(mapping, "utf-8")
    (tmp_path / "schema.avsc").write_text(json.dumps(schema), "utf-8")
    (tmp_path / "record.jsonl").write_text(json.dumps(record), "utf-8")
    environment = {"AMAZON_REGION": "EU", "MAPPING_FILE": str(tmp_path / "mapping.toml")}

    assert ran(lint, ["--schema", str(tmp_path / "schema.avsc")], environment) == 0
    assert "Settings and mapping are right." in capsys.readouterr().out
    options = ["--file", str(tmp_path / "record.jsonl"), "--schema", str(tmp_path / "schema.avsc"), "--json"]
    assert ran(preview, options, environment) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert {key: row[key] for key in shown} == shown
    assert shown["verdict"] == "send"


@pytest.mark.parametrize("name", PRESETS)
def test_the_page_names_every_input_of_the_preset_and_where_it_is_found(name: str) -> None:
    page = (_PAGES / f"{name}.md").read_text("utf-8").partition("## A sample")[0]
    preset = tomllib.loads((_CHECKOUT / "connector" / "mapping" / "presets" / f"{name}.toml").read_text("utf-8"))
    (mapping,) = preset["mapping"]
    for part in ("constants", "fields", "matchKeys", "customAttributes"):
        for key, text in mapping.get(part, {}).items():
            assert re.search(rf"\b{key}\b", page), key
            words = [text] if part == "constants" else _fields(text)
            assert [word for word in words if word not in page] == []


def _fields(text: str) -> list[str]:
    return [node["value"] for node in walk(parse(text).tree) if node["type"] == "field"]
