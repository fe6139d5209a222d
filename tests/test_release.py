"""What a release is made of: its tag and notes, the workflows, and a wheel that is always the same and says what it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from connector.telemetry import Telemetry
from tests.release import Refused, main, notes

_CHECKOUT = Path(__file__).parents[1]
_WORKFLOWS = sorted((_CHECKOUT / ".github/workflows").glob("*.yml"))
_PYPROJECT = '[project]\nversion = "1.2.3"\n'
_CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n\n### Added\n\n- A thing.\n\n## [1.2.2]\n\n- Old.\n"
_REVISION = "0123456789abcdef0123456789abcdef01234567"


def _workflow(name: str) -> Any:
    return YAML(typ="safe").load(_CHECKOUT / ".github/workflows" / name)


def test_notes_of_a_release_are_its_section_of_the_changelog() -> None:
    assert notes("v1.2.3", _PYPROJECT, _CHANGELOG) == "### Added\n\n- A thing.\n"


@pytest.mark.parametrize("version", ["1.2.3rc1", "1.2.3-rc1", "1.2", "1.2.3.post1", "01.2.3"])
def test_version_that_is_none_for_wheel_image_or_chart_is_refused(version: str) -> None:
    pyproject, changelog = (text.replace("1.2.3", version) for text in (_PYPROJECT, _CHANGELOG))
    with pytest.raises(Refused, match=f"version {re.escape(version)} is not of the form 1.2.3"):
        notes(f"v{version}", pyproject, changelog)


@pytest.mark.parametrize(
    ("tag", "changelog", "why"),
    [
        ("v1.2.4", _CHANGELOG, "tag v1.2.4 differs from pyproject.toml, whose version is 1.2.3"),
        ("1.2.3", _CHANGELOG, "tag 1.2.3 differs from pyproject.toml"),
        ("v1.2.3", _CHANGELOG.replace("[1.2.3]", "[1.2.30]"), r"no section \[1.2.3\]"),
        ("v1.2.3", "## [1.2.3]\n\n## [1.2.2]\n\n- Old.\n", r"no section \[1.2.3\], or it is empty"),
    ],
)
def test_tag_that_is_not_the_version_or_has_no_notes_is_refused(tag: str, changelog: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        notes(tag, _PYPROJECT, changelog)


def test_release_of_another_tag_ends_before_anything_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["v0.0.0"]) == 1
    assert "tag v0.0.0 differs" in capsys.readouterr().err
    jobs = _workflow("release.yml")["jobs"]
    assert any("python -m tests.release" in step.get("run", "") for step in jobs["tag"]["steps"])
    assert all(_needs(jobs, name, "tag") for name in jobs if name != "tag")
    assert all(_needs(jobs, name, "test") for name in jobs if name not in {"tag", "test"})


def _needs(jobs: Any, name: str, wanted: str) -> bool:
    """Tell whether a job waits for another, itself or by one that it waits for."""
    needed = jobs[name].get("needs", [])
    needed = [needed] if isinstance(needed, str) else needed
    return wanted in needed or any(_needs(jobs, each, wanted) for each in needed)


def test_workflows_keep_their_schema() -> None:
    files = map(str, _WORKFLOWS)
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *files]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [path.stem for path in _WORKFLOWS] == ["audit", "release", "test"]


@pytest.mark.parametrize("path", _WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_may_do_what_its_jobs_say_and_no_more(path: Path) -> None:
    workflow = _workflow(path.name)

    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job or "uses" in job for job in workflow["jobs"].values())


def test_updates_of_actions_are_proposed() -> None:
    file = str(_CHECKOUT / ".github/dependabot.yml")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.dependabot", file]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", _WORKFLOWS, ids=lambda path: path.stem)
def test_action_is_named_by_its_commit_because_a_tag_may_move(path: Path) -> None:
    used = re.findall(r"uses: (\S+?)@(.+)$", path.read_text("utf-8"), re.MULTILINE)
    moving = {name for name, version in used if not re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", version)}

    assert used
    assert moving == set()


def test_chart_is_packaged_by_the_helm_that_tried_it() -> None:
    (step,) = [
        step
        for step in _workflow("release.yml")["jobs"]["chart"]["steps"]
        if step.get("uses", "").startswith("azure/setup-helm")
    ]

    assert f"Helm {step['with']['version'].removeprefix('v')} " in (_CHECKOUT / "tests/deploy/tools.py").read_text("utf-8")


def _scripts() -> list[tuple[str, str]]:
    """Return what the workflows have run, each with the file that says so."""
    jobs = [(path.name, job) for path in _WORKFLOWS for job in _workflow(path.name)["jobs"].values()]
    return [(name, step["run"]) for name, job in jobs for step in job.get("steps", []) if "run" in step]


def test_scripts_of_workflows_name_what_the_checkout_has() -> None:
    missing, seen = [], 0
    for workflow, script in _scripts():
        read = re.sub(r">\s*\S+", "", script)  # what is written is not there yet
        modules = [f"{module.replace('.', '/')}.py" for module in re.findall(r"python -m (tests\.[\w.]+)", read)]
        files = re.findall(r"(?<![\w./-])((?:\.ci|deploy|docs|native|tests)/[\w./*-]+|[\w-]+\.lock|pyproject\.toml)", read)
        seen += len(modules) + len(files)
        missing += [f"{workflow}: {name}" for name in [*modules, *files] if not list(_CHECKOUT.glob(name))]

    assert seen > 10
    assert missing == []


def test_targets_that_workflows_and_documentation_make_exist() -> None:
    made = set(re.findall(r"^([a-z-]+):", (_CHECKOUT / "Makefile").read_text("utf-8"), re.MULTILINE))
    texts = [script for _, script in _scripts()] + [(_CHECKOUT / ".ci/run").read_text("utf-8")]
    texts += [path.read_text("utf-8") for path in [_CHECKOUT / "README.md", *(_CHECKOUT / "docs").glob("*.md")]]
    wanted = {name for text in texts for name in re.findall(r"(?:`|^ *|exec )make ([a-z-]+)", text, re.MULTILINE)}

    assert "test" in wanted
    assert wanted <= made
    assert os.access(_CHECKOUT / ".ci/run", os.X_OK)


def test_image_is_for_two_architectures_with_provenance_and_sbom_and_signed() -> None:
    job = _workflow("release.yml")["jobs"]["image"]
    (build,) = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("docker/build-push-action")]

    assert (build["platforms"], build["provenance"], build["sbom"]) == ("linux/amd64,linux/arm64", "mode=max", True)
    assert any("cosign sign" in step.get("run", "") for step in job["steps"])
    assert job["permissions"]["id-token"] == "write"


def test_native_wheels_are_for_both_architectures_of_the_image_and_are_published() -> None:
    jobs = _workflow("release.yml")["jobs"]
    (built,) = [step["with"] for step in jobs["native"]["steps"] if step.get("uses", "").startswith("PyO3/maturin-action")]
    (locked,) = re.findall(r"^maturin==(\S+)", (_CHECKOUT / "native/requirements.lock").read_text("utf-8"), re.MULTILINE)

    assert {"x86_64", "aarch64"} <= {each["name"] for each in jobs["native"]["strategy"]["matrix"]["include"]}
    assert built["maturin-version"] == f"v{locked}"
    assert any("codec_for('native')" in step.get("run", "") for step in jobs["native"]["steps"]), "it is tried"
    assert "native" in jobs["release"]["needs"]
    assert any("mv native-*/*.whl dist/" in step.get("run", "") for step in jobs["release"]["steps"])


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build the wheel in two copies of the sources, which a release has stamped with its revision."""
    built: list[Path] = []
    for number in range(2):
        directory = tmp_path_factory.mktemp(f"copy{number}")
        for name in ("connector", "schemas"):
            shutil.copytree(_CHECKOUT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
            shutil.copy(_CHECKOUT / name, directory)
        (directory / "connector/REVISION").write_text(f"{_REVISION}\n", "utf-8")
        for file in directory.rglob("*"):
            os.utime(file, (1_700_000_000 + number, 1_700_000_000 + number))
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        built += (directory / "dist").glob("*.whl")
    return built


def test_wheel_built_twice_is_the_same_byte_for_byte(wheels: list[Path]) -> None:
    first, second = wheels

    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_wheel_in_a_fresh_environment_says_its_version_and_revision(wheels: list[Path], tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    venv.create(fresh)
    python = str(fresh / "bin/python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", str(wheels[0])]
    subprocess.run(install, check=True, capture_output=True)
    # Its dependencies are those of this environment, whose own copy of the package it does not see.
    (site,) = fresh.glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    command = [str(fresh / "bin/connector"), "--version"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=True)

    version = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert ended.stdout.startswith(f"connector {version} (revision {_REVISION}, Python 3.")
    assert ", librdkafka 2." in ended.stdout


def test_scrape_and_log_line_name_the_build(capsys: pytest.CaptureFixture[str]) -> None:
    telling = Telemetry()
    telling.started({"version": "1.2.3", "revision": "abc", "python": "3.11.7", "librdkafka": "2.16.0"}, [], [])

    sample = 'connector_build_info{librdkafka="2.16.0",python="3.11.7",revision="abc",version="1.2.3"} 1.0'
    assert sample in telling.exposition()[0].decode().splitlines()
    said = "".join(capsys.readouterr())
    assert "1.2.3" in said
    assert "abc" in said
