"""Base images by digest: a stand-in for Docker answers, because no registry can be asked here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy import pins
from tests.deploy.dockerfile import stages

_DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"
_ONE, _OTHER = (f"sha256:{digit * 64}" for digit in "12")


def _docker(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = directory / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_each_stage_begins_with_the_digest_of_its_tag_and_nothing_else_changes() -> None:
    text = _DOCKERFILE.read_text("utf-8")
    made = pins.pinned(text, lambda image: _ONE if image.startswith("rust:") else _OTHER)
    bases = [stage.base for stage in stages(made)]

    assert [base.partition("@")[2] for base in bases] == [_ONE, _OTHER, _OTHER]
    assert [base.partition("@")[0] for base in bases] == [stage.base.partition("@")[0] for stage in stages(text)]
    assert made.replace(f"@{_ONE}", "").replace(f"@{_OTHER}", "") == text


def test_digest_that_is_there_becomes_that_of_today_and_a_stage_of_the_file_has_none() -> None:
    asked: list[str] = []

    def digest(image: str) -> str:
        asked.append(image)
        return _OTHER

    made = pins.pinned(f"FROM a:1@{_ONE} AS build\nFROM build\nFROM scratch\nFROM a:1\n", digest)

    assert made == f"FROM a:1@{_OTHER} AS build\nFROM build\nFROM scratch\nFROM a:1@{_OTHER}\n"
    assert asked == ["a:1"]


def test_digest_is_the_one_that_docker_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _docker(tmp_path, monkeypatch, f'[ "$4" = a:1 ] && echo \'{{"digest": "{_ONE}"}}\'')

    assert pins.digest_of("a:1") == _ONE


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no such image >&2; exit 1", "python.*: no such image|rust.*: no such image"),
        ("echo '{}'", "docker names no digest"),
        ('echo \'{"digest": "sha256:short"}\'', "docker names no digest"),
        ("echo [", "docker names no digest"),
    ],
)
def test_image_without_a_digest_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str, why: str
) -> None:
    _docker(tmp_path, monkeypatch, script)
    file = tmp_path / "Dockerfile"
    file.write_text(_DOCKERFILE.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(pins, "_DOCKERFILE", file)

    with pytest.raises(pins.Unknown, match=why):
        pins.digest_of("python:3.11-slim-bookworm")
    assert pins.main() == 1
    assert capsys.readouterr().err
    assert file.read_text("utf-8") == _DOCKERFILE.read_text("utf-8")


def test_machine_without_docker_is_told_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(pins.Unknown, match="install it"):
        pins.digest_of("a:1")
