"""An earlier version of the connector, taken from the repository's history."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

__all__ = ["BEFORE", "environment", "extracted"]

_CHECKOUT = Path(__file__).parents[2]

BEFORE = "e0780c94bbe579ffcbef1fb928e5d81699bf4cee"
"""The version that CHANGELOG.md's section on compatibility is about."""


def extracted(revision: str, directory: Path) -> Path:
    """Unpack the package of a revision into a directory, and return the directory."""
    command = ["git", "-C", str(_CHECKOUT), "archive", revision, "connector", "schemas"]
    archived = subprocess.run(command, capture_output=True, check=False)
    if archived.returncode:
        raise SystemExit(
            f"{revision} is not in this clone: {archived.stderr.decode().strip()}\nFetch the history: git fetch --unshallow"
        )
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


def environment(directory: Path) -> dict[str, str]:
    """Return the variables by which a Python finds that package before any other of its name."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(directory)}
