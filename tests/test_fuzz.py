"""A small helping of ``make fuzz``, as processes: what would crash compiled code must not end the tests with it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("what", "count", "met"),
    [
        ("records", 12_000, {"delivered", "duplicate", "stale", "ignored", "dead_lettered", "dead-lettered: undecodable"}),
        (
            "framings",
            3_000,
            {"delivered", "stale", "ignored", "dead-lettered: undecodable", "dead-lettered: unknown-schema"},
        ),
        ("mappings", 3_000, {"delivered", "stale", "ignored", "dead-lettered: undecodable", "dead-lettered: invalid-field"}),
        (
            "answers",
            1_500,
            {"delivered", "dead_lettered", "rejected", "retry", "none", "transient", "throttled", "too-large"},
        ),
    ],
)
def test_damage_never_crashes_and_leads_to_exactly_one_outcome(what: str, count: int, met: set[str]) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", what, "--count", str(count), "--seed", "3"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr[-5000:]
    found = {line.split("  ")[-1] for line in ended.stdout.splitlines()}
    assert met <= found
