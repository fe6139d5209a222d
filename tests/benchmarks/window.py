"""``make bench-window``: what a dedupe window of ten million keys costs: memory and time a key, and its longest step.

While a step lasts nothing else of the process runs, so what counts is the longest: of growing, of forgetting two days of
seven, and of being freed when the partition goes elsewhere. Each number of keys is measured in a fresh process.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

from connector.core.dedupe import DedupeWindow
from connector.native import codec_for
from tests.core.builders import DAY_MS, NOW_MS, a_run

__all__ = ["Measured", "main", "measured"]

_AT_ONCE = 500
_DAYS = 7
_MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures for a window of so many keys. Seconds are this process's processor time: the machine may be shared."""

    keys: int
    bytes_a_key: float
    peak_bytes_a_key: float
    grow_seconds_a_key: float
    """To be sighted and delivered."""
    look_up_seconds: float
    longest_batch_seconds: float
    """The slowest batch of 500 keys, sighted and delivered."""
    expired: int
    longest_expiry_seconds: float
    longest_free_seconds: float


def measured(keys: int, codec: str) -> Measured:
    """Measure in a fresh process: what a process has freed before is taken again first, and is not seen to grow."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measure, keys, codec).result()


def _measure(keys: int, codec: str) -> Measured:
    """Fill a window, look keys up, forget two days of seven, free it."""
    gc.freeze()
    window, dice = DedupeWindow(codec_for(codec).seen()), Random(1)
    before, peak, longest = _resident_bytes(), 0, 0.0
    batch: list[bytes] = []
    began = time.process_time()
    for number in range(0, keys, _AT_ONCE):
        packed = dice.randbytes(_DIGEST_BYTES * _AT_ONCE)
        batch = [packed[at : at + _DIGEST_BYTES] for at in range(0, len(packed), _DIGEST_BYTES)]
        longest = max(longest, _seconds(lambda: _deliver(window, batch, _MIDNIGHT_MS - number // _AT_ONCE % _DAYS * DAY_MS)))  # noqa: B023 - called at once
        if number % 100_000 == 0:
            peak = max(peak, _resident_bytes())
    grown = time.process_time() - began
    resident = _resident_bytes()
    looked_up = _seconds(lambda: [key in window.seen for key in batch])
    seen, count = window.seen, len(window.seen)
    expiry = _longest_step(lambda: seen.expire(_MIDNIGHT_MS - (_DAYS - 3) * DAY_MS))
    expired = count - len(seen)
    return Measured(
        keys,
        (resident - before) / keys,
        (max(peak, resident) - before) / keys,
        grown / keys,
        looked_up / len(batch),
        longest,
        expired,
        expiry,
        _longest_step(seen.free),
    )


def _deliver(window: DedupeWindow, batch: list[bytes], time_ms: int) -> None:
    run, times = a_run(batch), [time_ms] * len(batch)
    window.known(run.keys)
    window.claim(run)
    window.delivered(run.keys, times, time_ms)


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _longest_step(step: Callable[[], bool]) -> float:
    longest, more = 0.0, True
    while more:
        began = time.process_time()
        more = step()
        longest = max(longest, time.process_time() - began)
    return longest


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each number of keys, and print a line for it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.window", description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--codec", choices=("auto", "native", "python"), default="auto", help="as the setting CODEC")
    asked = parser.parse_args(arguments)
    print(codec_for(asked.codec).message)
    for keys in asked.keys:
        found = measured(keys, asked.codec)
        print(
            f"{found.keys:>11,} keys: {found.bytes_a_key:.0f} bytes a key ({found.peak_bytes_a_key:.0f} at most), "
            f"{found.grow_seconds_a_key * 1e6:.1f} µs to deliver, {found.look_up_seconds * 1e9:.0f} ns to find; "
            f"longest step: {found.longest_batch_seconds * 1e3:.0f} ms to deliver {_AT_ONCE}, "
            f"{found.longest_expiry_seconds * 1e3:.0f} ms of forgetting {found.expired:,}, "
            f"{found.longest_free_seconds * 1e3:.0f} ms of being freed",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
