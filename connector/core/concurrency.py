"""How many requests may be out at once: additive increase, multiplicative decrease (as in TCP's congestion control).

Signs of congestion are a 429, a time-out, and an answer that took much longer than answers lately did (Vector's adaptive
concurrency, and Netflix' concurrency-limits, compare latency with its own past in the same way). If all of them have become
slow, slow is the new past, and the limit rises again: fewer requests would not make them faster.

What is out at once is one sign of congestion, not eight, however long its answers take (as in TCP's recovery): a request
that was sent before the last decrease tells nothing of what came of it.
"""

from __future__ import annotations

__all__ = ["ConcurrencyLimit"]

_SLOW_TIMES = 4.0
"""An answer that took so many times the usual is a sign of congestion."""
_SLOW_SECONDS = 2.0
"""Nothing below this is: at 40 ms a usual answer, 160 ms are a hiccup."""
_USUAL_WEIGHT = 0.1
"""Of one answer in the moving average of what is usual."""


class ConcurrencyLimit:
    """A limit between 1 and ``maximum``: one more per round of answers, half as many at a sign of congestion."""

    __slots__ = ("_decreased_at", "_maximum", "_usual_seconds", "_value")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._value = float(maximum)
        self._decreased_at = float("-inf")
        self._usual_seconds: float | None = None

    @property
    def value(self) -> int:
        """The requests that may be out at once."""
        return int(self._value)

    def answered(self, started: float, now: float) -> None:
        """Note a request that was answered, by the monotonic seconds at which it was sent and was answered."""
        seconds = now - started
        usual = seconds if self._usual_seconds is None else self._usual_seconds
        self._usual_seconds = usual + _USUAL_WEIGHT * (seconds - usual)
        if seconds > max(_SLOW_SECONDS, _SLOW_TIMES * usual):
            self.congested(started, now)
        else:
            self._value = min(self._maximum, self._value + 1 / self._value)

    def congested(self, started: float, now: float) -> None:
        """Note a sign of congestion: what came of a request, by the same two seconds."""
        if started > self._decreased_at:
            self._value = max(1.0, self._value / 2)
            self._decreased_at = now

    def restart(self) -> None:
        """Begin at one again, after an outage: what comes back is not met with everything at once."""
        self._value = 1.0
