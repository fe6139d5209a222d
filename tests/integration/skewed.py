"""The program with a wall clock that is off: ``python -m tests.integration.skewed SECONDS run``.

Only what it reads of the wall clock is shifted: its monotonic clock, and the clocks of all others, are right. With a file in
place of SECONDS the shift is read from it at each look, so that a test can set the clock while it runs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from connector.__main__ import main


def _shift(given: str) -> Callable[[], float]:
    file = Path(given)
    return (lambda: float(file.read_text("utf-8"))) if file.exists() else lambda: float(given)


def _skew(shift: Callable[[], float]) -> None:
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + shift()
    time.time_ns = lambda: right_ns() + round(shift() * 1e9)


if __name__ == "__main__":
    _skew(_shift(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
