"""Which implementation is chosen, what is said of it, and that an install never fails for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from connector import native
from connector.core.dedupe import SeenKeys
from connector.errors import SettingsError
from connector.native import codec_for

_CHECKOUT = Path(__file__).parents[1]


def _crate(interface: int) -> ModuleType:
    crate = ModuleType("connector_native")
    crate.__dict__.update(INTERFACE=interface, SeenKeys=SimpleNamespace, Codec=SimpleNamespace)
    return crate


def test_the_crate_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "connector_native", _crate(native.INTERFACE))
    for asked in ("auto", "native"):
        found = codec_for(asked)
        assert (found.name, found.seen, found.is_second_best) == ("native", SimpleNamespace, False)
        assert found.make is not None


def test_python_switches_it_off_without_a_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "connector_native", _crate(native.INTERFACE))
    found = codec_for("python")
    assert (found.name, found.seen, found.make, found.is_second_best) == ("python", SeenKeys, None, False)
    assert "CODEC=python" in found.message


@pytest.mark.parametrize(("crate", "why"), [(None, "is not installed"), (_crate(0), "was built for another version")])
def test_without_it_python_does_the_work_and_says_why(
    crate: ModuleType | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "connector_native", crate)
    found = codec_for("auto")
    assert (found.name, found.seen, found.make, found.is_second_best) == ("python", SeenKeys, None, True)
    assert why in found.message
    with pytest.raises(SettingsError, match=f"CODEC is native, but connector_native {why}"):
        codec_for("native")


def test_a_crate_that_the_system_cannot_load_is_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "connector_native.py").write_text("raise ImportError('GLIBC_2.99 not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "connector_native", raising=False)
    found = codec_for("auto")
    assert found.name == "python"
    assert "cannot be loaded (GLIBC_2.99 not found)" in found.message


def _install(stamp: Path, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Install with a path that has no cargo but what the test puts there."""
    stamp.touch()
    script = tmp_path / "native" / "install.py"
    script.parent.mkdir(exist_ok=True)
    shutil.copy(_CHECKOUT / "native" / "install.py", script)
    shutil.copy(_CHECKOUT / "native" / "Cargo.toml", script.parent / "Cargo.toml")
    (script.parent / "requirements.lock").touch()
    return subprocess.run(
        [sys.executable, str(script), str(stamp)],
        env={**os.environ, "PATH": str(tmp_path), "NATIVE_WHEEL": "", **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )


def test_an_install_without_cargo_and_wheel_says_so_and_does_not_fail(tmp_path: Path) -> None:
    done = _install(tmp_path / "stamp", tmp_path)
    assert "cargo is not there" in done.stdout
    assert "runs in Python" in done.stdout
    assert not (tmp_path / "stamp").exists(), "or nobody would be told the next time"


def test_an_install_with_a_wheel_that_cannot_be_installed_says_so_and_does_not_fail(tmp_path: Path) -> None:
    done = _install(tmp_path / "stamp", tmp_path, NATIVE_WHEEL=str(tmp_path / "connector_native-0.1.0-cp311-abi3-any.whl"))
    assert "the wheel failed" in done.stdout
    assert "runs in Python" in done.stdout
    assert not (tmp_path / "stamp").exists()


def _wheel_in_dist(tmp_path: Path, version: str) -> None:
    """Put a wheel there that is none, so that its installation fails where it is tried."""
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / f"connector_native-{version}-cp311-abi3-any.whl").touch()


def test_a_wheel_of_another_version_than_the_sources_is_passed_over(tmp_path: Path) -> None:
    _wheel_in_dist(tmp_path, "0.0.9")
    done = _install(tmp_path / "stamp", tmp_path)
    assert "dist/ has a wheel of version 0.0.9, but the sources are " in done.stdout
    assert "the wheel failed" not in done.stdout
    assert "cargo is not there" in done.stdout


def test_a_wheel_of_the_version_of_the_sources_is_taken(tmp_path: Path) -> None:
    version = tomllib.loads((_CHECKOUT / "native" / "Cargo.toml").read_text("utf-8"))["package"]["version"]
    _wheel_in_dist(tmp_path, version)
    done = _install(tmp_path / "stamp", tmp_path)
    assert "the wheel failed" in done.stdout
    assert "but the sources are" not in done.stdout


def test_an_install_whose_build_fails_says_so_and_does_not_fail(tmp_path: Path) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text("#!/bin/sh\necho no linker >&2\nexit 1\n")
    cargo.chmod(0o755)
    done = _install(tmp_path / "stamp", tmp_path)
    assert "the build of native/ failed" in done.stdout
    assert "runs in Python" in done.stdout
    assert not (tmp_path / "stamp").exists()
