"""How a peer is told its task and tells what it took: as JSON, on the command line and on the last line of its output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from tests.benchmarks.work import Measured, Task

__all__ = ["report"]


def report(side: Callable[[Task], Measured]) -> None:
    """Run a peer as a program."""
    measured = side(Task(**json.loads(sys.argv[1])))
    print(json.dumps(asdict(measured)), flush=True)
