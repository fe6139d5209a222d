"""Processes that tests start: none outlives its test, whatever becomes of that."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import AnyStr

__all__ = ["ending"]


@contextmanager
def ending(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Kill a process at the end of the context, unless it has ended.

    A ``Popen`` alone waits there for a process that may never end. One that is forgotten fails whichever test comes next.
    """
    with process:
        try:
            yield process
        finally:
            process.kill()
