"""``make install`` puts the native part into this environment, or says why the connector runs in Python.

The first of these that works: a wheel of a release (``NATIVE_WHEEL``, else one in ``dist/`` that fits
this platform and is of the version of the sources here), or a build with cargo. The connector needs
neither, so this never fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

__all__ = ["main"]

_HERE = Path(__file__).parent
_WHEELS = _HERE / "target" / "wheels"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1")
_INSTALL = (*_PIP, "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall")
_PROBE = "from connector.native import codec_for; print(codec_for('auto').message); codec_for('native')"
_BUILD_SECONDS = 1_800.0
"""For a build on a machine that is busy. It takes half a minute on one that is not."""
_SAID_LINES = 15


class _Failed(Exception):
    """A step failed; the text is the end of what it said."""


def main() -> int:
    """Install it if possible; return 0 in any case, and make the file that is named if it is installed."""
    stamp = Path(sys.argv[1])
    stamp.unlink(missing_ok=True)
    for how, install in (("the wheel", _from_wheel), ("the build of native/", _from_source)):
        try:
            if install():
                _say(_run(sys.executable, "-c", _PROBE).strip())
                stamp.touch()
                return 0
        except _Failed as failed:
            _say(f"{how} failed, and the connector does without it:\n{failed}")
    _say("the connector runs in Python: the same answers, more memory (docs/development.md#the-native-part)")
    return 0


def _from_wheel() -> bool:
    named = os.environ.get("NATIVE_WHEEL")
    if named:
        _run(*_INSTALL, named)
        return True
    dist = _HERE.parent / "dist"
    versions = {wheel.name.split("-")[1] for wheel in dist.glob("connector_native-*.whl")}
    version = tomllib.loads((_HERE / "Cargo.toml").read_text("utf-8"))["package"]["version"]
    if version not in versions:
        for other in sorted(versions):
            _say(f"dist/ has a wheel of version {other}, but the sources are {version}; NATIVE_WHEEL takes it all the same")
        return False
    _run(*_INSTALL, "--find-links", str(dist), f"connector-native=={version}")
    return True


def _from_source() -> bool:
    if shutil.which("cargo") is None:
        _say("cargo is not there to build it")
        return False
    _run(*_PIP, "install", "--quiet", "--require-hashes", "--requirement", str(_HERE / "requirements.lock"))
    shutil.rmtree(_WHEELS, ignore_errors=True)  # a wheel of an earlier build
    build = ("build", "--release", "--locked", "--interpreter", sys.executable, "--out", str(_WHEELS))
    _run(sys.executable, "-m", "maturin", *build, "--manifest-path", str(_HERE / "Cargo.toml"))
    _run(*_INSTALL, *map(str, _WHEELS.glob("*.whl")))
    return True


def _run(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own commands
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _Failed(f"  not finished after {_BUILD_SECONDS:.0f} seconds") from None
    if done.returncode:
        raise _Failed("\n".join(f"  {line}" for line in done.stdout.splitlines()[-_SAID_LINES:]))
    return done.stdout


def _say(message: str) -> None:
    print(f"native: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
