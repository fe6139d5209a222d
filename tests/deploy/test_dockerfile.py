"""What the Dockerfile says, read without an engine; ``make image-check`` plays it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.deploy.dockerfile import Ignore, Stage, Unsupported, stages

_CHECKOUT = Path(__file__).parents[2]
_IGNORE = Ignore((_CHECKOUT / ".dockerignore").read_text("utf-8"))


@pytest.fixture
def image() -> list[Stage]:
    return stages((_CHECKOUT / "Dockerfile").read_text("utf-8"))


def test_only_the_last_stage_has_no_name_and_stages_begin_with_what_is_known(image: list[Stage]) -> None:
    assert [stage.name for stage in image] == ["native", "build", ""]
    assert {stage.base for stage in image} == {"rust:1.90-slim-bookworm", "python:3.11-slim-bookworm"}
    assert image[1].base == image[2].base, "the interpreter that made the virtual environment is the one that runs it"


def test_every_source_is_sent_to_the_build_or_is_of_a_stage_before(image: list[Stage]) -> None:
    before: set[str] = set()
    copied = 0
    for stage in image:
        for one in (one for one in stage.instructions if one.name == "COPY"):
            *sources, _ = one.words
            copied += len(sources)
            if "from" in one.flags:
                assert one.flags["from"] in before
                continue
            assert [source for source in sources if not (_CHECKOUT / source).exists()] == []
            assert [source for source in sources if _IGNORE.leaves_out(Path(source))] == []
        before.add(stage.name)

    assert copied > 5


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        (".git/config", True),
        (".venv/bin/python", True),
        ("tests/conftest.py", True),
        ("deploy/requirements-extras.lock", False),
        ("deploy/grafana/connector.json", True),
        ("connector/__main__.py", False),
        ("connector/__pycache__/app.cpython-311.pyc", True),
        ("__pycache__/a.pyc", True),
        ("native/src/lib.rs", False),
        ("native/target/release/a.so", True),
    ],
)
def test_build_is_given_what_it_needs_and_no_more(path: str, left_out: bool) -> None:
    assert _IGNORE.leaves_out(Path(path)) is left_out


def test_image_runs_our_command_as_a_user_whose_number_is_known(image: list[Stage]) -> None:
    final = image[-1]
    project = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    user, _, group = final.last("USER").text.partition(":")

    # A name would have to be looked up, and runAsNonRoot refuses it.
    assert min(int(user), int(group)) > 0
    assert final.last("ENTRYPOINT").exec_form[-1] in project["scripts"]
    assert final.last("CMD").exec_form == ["run"]
    assert final.environment({"PATH": "/usr/bin"})["PATH"] == "/opt/connector/bin:/usr/bin"


@pytest.mark.parametrize(
    "text", ["RUN true", "FROM a\nADD b c", "FROM a\nRUN <<EOF", "FROM a\nONBUILD RUN x"], ids=lambda text: text[-8:]
)
def test_reader_says_what_it_does_not_know(text: str) -> None:
    with pytest.raises(Unsupported):
        stages(text)


def test_reader_joins_lines_and_sets_flags_apart() -> None:
    text = 'FROM a AS b\nCOPY --from=x one \\\n    # between\n    two/ \nENTRYPOINT ["c", "d e"]\nENV A=1\nENV B=$A-"2 3"\n'
    (stage,) = stages(text)

    assert (stage.base, stage.name) == ("a", "b")
    assert (stage.instructions[0].flags, stage.instructions[0].words) == ({"from": "x"}, ["one", "two/"])
    assert stage.last("ENTRYPOINT").exec_form == ["c", "d e"]
    assert stage.environment({}) == {"A": "1", "B": "1-2 3"}


def test_command_that_goes_through_a_shell_is_refused() -> None:
    (stage,) = stages("FROM a\nENTRYPOINT connector run\n")

    with pytest.raises(Unsupported, match="through a shell"):
        _ = stage.last("ENTRYPOINT").exec_form
