"""``python -m tests.simulation --seeds 1-1000 [--trace]``: play seeds; print for each that fails how to play it again."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.world import run


def main() -> int:
    """Play the seeds; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Play the whole connector from seeds.")
    parser.add_argument("--seeds", default="1-1000", help="the first and the last seed, as 1-1000")
    parser.add_argument("--trace", action="store_true", help="tell every input, command and line of the log")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    failed, seconds, counts, faults = 0, 0.0, Counter[str](), Counter[str]()
    began = time.monotonic()
    for seed in range(int(first), int(last or first) + 1):
        try:
            result = run(seed, print if arguments.trace else None)
        except Exception as failure:
            failed += 1
            print(f"seed {seed}: {type(failure).__name__}: {failure}\n    {failure.__notes__[0]}", flush=True)
            continue
        seconds += result.seconds
        counts.update(seeds=1, records=result.records, inputs=result.inputs, checks=result.checks)
        faults += result.faults
    took = time.monotonic() - began
    print(f"{counts['seeds'] + failed:,} seeds in {took:.0f} s, {failed} failed: {seconds / 3600:,.1f} virtual hours,")
    print(f"{counts['records']:,} records, {counts['inputs']:,} inputs handled, {counts['checks']:,} checks,")
    print(f"{faults.total():,} faults: " + ", ".join(f"{what} {count:,}" for what, count in sorted(faults.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
