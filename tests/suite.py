"""Every check of the project, in one command: ``python -m tests.suite [--fast]``, which ``make test`` calls.

Every step runs, also after one that failed, and says what it took; the exit code is 0 only if all passed. In full, one
Apache Kafka serves all of them, and what decides (the core, and the pure halves of commands) is covered by its own tests
alone. ``--fast`` is what needs no Java.
Ctrl-C and SIGTERM stop what was started.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.kafka.cluster import Cluster, ClusterFailed

__all__ = ["Step", "main", "run"]

_CHECKOUT = Path(__file__).parents[1]

_STOP_SECONDS = 30.0
"""For pytest to finish its fixtures after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command, by the name it has in the output."""

    name: str
    arguments: tuple[str, ...]
    """What follows ``python -m``."""


_CHECKS = (
    Step("format", ("ruff", "format", "--check", ".")),
    Step("rules", ("ruff", "check", ".")),
    Step("types", ("mypy",)),
)

_PURE = ("tests/core", "tests/cli/test_audit_account.py", "tests/cli/test_replay_plan.py")
"""Tests of what decides: the core, and the pure halves of `connector audit` and `connector replay`."""
_IGNORED = tuple(f"--ignore={place}" for place in _PURE)

_FAST = (*_CHECKS, Step("tests without Apache Kafka", ("pytest", "-n", "2", "-m", "not kafka")))

_FULL = (
    *_CHECKS,
    Step("tests of what decides", ("coverage", "run", "-m", "pytest", *_PURE)),
    Step("coverage of what decides", ("coverage", "report")),
    # Last, so that the last line of pytest in the output is that of the longest list. They wait more than they work; a file
    # stays with one process, because its tests share clusters of their own.
    Step("tests of all else", ("pytest", "-n", "3", "--dist", "loadfile", "--durations", "25", *_IGNORED)),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and return the exit code: 0 all passed, 1 some failed, 130 stopped from outside."""
    parser = argparse.ArgumentParser(prog="python -m tests.suite", description="Run every check of the project.")
    parser.add_argument("--fast", action="store_true", help="only what needs no Apache Kafka")
    fast = parser.parse_args(arguments).fast
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(_FAST) if fast else _with_kafka(_FULL)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 130


def run(steps: Sequence[Step]) -> int:
    """Run all steps, print their names and times, and return 1 if one failed, else 0."""
    outcomes = [(step.name, *_timed(step)) for step in steps]
    print()
    for name, passed, seconds in outcomes:
        print(f"{'passed' if passed else 'FAILED'}  {name} ({seconds:.1f} s)")
    return 0 if all(passed for _, passed, _ in outcomes) else 1


def _with_kafka(steps: Sequence[Step]) -> int:
    if os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS"):
        return run(steps)
    _announce("start Apache Kafka")
    try:
        with Cluster() as cluster:
            os.environ["TEST_KAFKA_BOOTSTRAP_SERVERS"] = cluster.bootstrap_servers
            return run(steps)
    except ClusterFailed as failure:
        print(failure, flush=True)
        run(_FAST)
        print("FAILED  start Apache Kafka: tests that need it did not run")
        return 1


def _timed(step: Step) -> tuple[bool, float]:
    """Run one step with our own output for its output; return whether it passed, and its seconds."""
    _announce(step.name)
    began = time.monotonic()
    # In a group of its own, so that it hears of Ctrl-C once, from us: a second one would cut its clean-up short.
    with subprocess.Popen([sys.executable, "-m", *step.arguments], cwd=_CHECKOUT, process_group=0) as process:
        try:
            passed = process.wait() == 0
        except KeyboardInterrupt:
            _interrupt(process)
            raise
    return passed, time.monotonic() - began


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _announce(name: str) -> None:
    print(f"\n── {name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
