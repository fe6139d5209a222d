"""How much of a hard limit is used once the pace is learnt: ``python -m tests.benchmarks.limits`` (some minutes).

The pipeline plays in virtual time, with a full topic and answers after 0.2 s. The vendor takes so many requests within any
second (0.5: two within any four seconds), and answers 429 to all others. What is counted begins half a minute after the
start. Nothing fails by a number; `tests/core/test_pace.py` has bounds.
"""

from __future__ import annotations

import sys
from statistics import mean

from rich.console import Console
from rich.table import Table

from tests.core.play import Play
from tests.core.test_pace import Limited, always

_LEARNT, _END = 30.0, 330.0
"""Virtual seconds between which requests are counted."""
_STEPS = 100
"""Steps a second in which members take turns."""
_SEEDS = (1, 2, 3, 4)

CASES = (
    (0.5, None, 1),
    (0.5, 1.0, 1),
    (2, None, 1),
    (2, 1.0, 1),
    (2, None, 2),
    (10, None, 1),
    (10, 1.0, 1),
    (10, None, 2),
    (50, None, 1),
    (50, 1.0, 1),
)
"""Requests a second, seconds of ``Retry-After``, members."""


def shares(limit: float, retry_after: float | None, members: int, seed: int, end: float = _END) -> tuple[float, float]:
    """Return the share of the limit that is used, and the requests refused for each that is taken."""
    vendor = Limited(always(limit), retry_after, within=4.0 if limit < 1 else 1.0)
    plays = [Play(vendor, max_in_flight=16, seed=100 * member + seed) for member in range(members)]
    for step in range(1, int(end * _STEPS) + 1):
        for play in plays:
            play.until(step / _STEPS)
    taken, refused = vendor.between(_LEARNT, end)
    return taken / (limit * (end - _LEARNT)), refused / taken


def main() -> int:
    """Print the table."""
    table = Table("limit, requests/s", "Retry-After", "members", "share used", "refused for each taken")
    for limit, retry_after, members in CASES:
        found = [shares(limit, retry_after, members, seed) for seed in _SEEDS]
        share, refused = (mean(column) for column in zip(*found, strict=True))
        wait = "none" if retry_after is None else f"{retry_after:g} s"
        table.add_row(f"{limit:g}", wait, str(members), f"{share:.0%}", f"{refused:.2f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
