"""How long to wait on this machine: what a test allows is for one that is idle, and grows with how slow this one is now."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["eventually", "patience"]

T = TypeVar("T")

_SECONDS = 30.0
"""Within which whatever a test waits for must have come true."""
_LOOK_SECONDS = 0.05
"""Between two looks; one that takes longer is followed by a pause as long as itself, for whoever is looked at works too."""
_LONGEST_PAUSE_SECONDS = 2.0

_LOOP = 100_000
_LOOP_SECONDS = 0.006
"""Duration of one loop on the machine that the tests' patience was measured on, while it did nothing else."""
_MOST = 12.0
"""Beyond it a test is better told that it failed."""
_BELIEVED_SECONDS = 2.0


def patience(seconds: float) -> float:
    """Return how long to wait for what takes no longer than ``seconds`` on an idle machine; never less than that."""
    return seconds * min(_MOST, max(1.0, _slowness(int(time.monotonic() / _BELIEVED_SECONDS))))


def eventually(looked_at: Callable[[], T], what: str, seconds: float = _SECONDS) -> T:
    """Look until something is there (true), and return it; fail with ``what`` was awaited and the last thing seen.

    A machine that has other things to do is given more than ``seconds``.
    """
    began = time.monotonic()
    while True:
        looked = time.monotonic()
        found = looked_at()
        if found:
            return found
        now = time.monotonic()
        waited = now - began
        if waited >= seconds and waited >= (allowed := patience(seconds)):
            slow = f"the machine is {allowed / seconds:.1f} times slower than an idle one"
            raise AssertionError(f"not within {waited:.0f} s ({slow}): {what}; last seen: {found!r}")
        time.sleep(min(_LONGEST_PAUSE_SECONDS, max(_LOOK_SECONDS, now - looked)))


@functools.lru_cache(maxsize=1)
def _slowness(_when: int) -> float:
    """Return how much slower it is than an idle one: by a loop, which waits for its turn, and by who waits with it."""
    began = time.perf_counter()
    for _ in range(_LOOP):
        pass
    looped = (time.perf_counter() - began) / _LOOP_SECONDS
    return max(looped, os.getloadavg()[0] / (os.cpu_count() or 1))
