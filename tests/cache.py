"""What tests download, once, into the user's cache and never into the checkout."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["kept"]


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the directory of that name in the cache; ``make`` fills it the first time.

    It comes whole or not at all, so an interrupted download is never taken for it. Where another process was faster, its
    copy is as good as ours.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amazon-conversions-connector"
    directory = cache / name
    if not directory.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            make(made)
            with contextlib.suppress(OSError):
                made.rename(directory)
    return directory
