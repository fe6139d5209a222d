"""Finds the browser that shows the operations page to a test: ``python -m tests.browser`` installs one if none is there.

Only Debian's package is installed, and only by root; elsewhere it says what is missing, and the test fails by it.
"""

from __future__ import annotations

import os
import shutil
import subprocess

__all__ = ["found"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found() -> str:
    """Return the path of a browser."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    assert path, f"a browser is needed, one of {', '.join(_NAMES)}: apt-get install chromium"
    return path


def _install() -> None:
    if any(map(shutil.which, _NAMES)) or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    print("installing chromium, for the test of the operations page", flush=True)
    install = ["install", "--no-install-recommends", "chromium"]
    if not _apt_get(*install):  # the list of packages may be old, or not be there yet
        _apt_get("update")
        _apt_get(*install)


def _apt_get(*arguments: str) -> bool:
    command = ["apt-get", "--yes", "--quiet", *arguments]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    _install()
