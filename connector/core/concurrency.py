"""How many requests may be out at once.

The limit increases additively and decreases multiplicatively, as in TCP's congestion control.

Signs of congestion are a time-out, and an answer that took much longer than recent answers. A 429
is a matter of the rate (see `pace`). Vector's adaptive concurrency and Netflix' concurrency-limits
compare latency with its own past in the same way. When all answers have become slow, slow is the
new normal and the limit rises again: fewer requests would not make them faster.

After an outage nothing is known of what the vendor can take. The limit begins at one and doubles
with each round of answers until the first sign of congestion (as in TCP's slow start).

Requests that are out together are one sign of congestion, however many of them fail (as in TCP's
fast recovery). A request sent before the last decrease says nothing about the effect of that
decrease.
"""

from __future__ import annotations

__all__ = ["ConcurrencyLimit"]

_SLOW_TIMES = 4.0
"""How many times the usual an answer must take to be a sign of congestion."""
_SLOW_SECONDS = 2.0
"""An answer faster than this is never a sign: where 40 ms are usual, 160 ms are a hiccup."""
_USUAL_WEIGHT = 0.1
"""Weight of one answer in the moving average of the usual time."""


class ConcurrencyLimit:
    """A limit from 1 to ``maximum``: one more per round of answers, half after congestion."""

    __slots__ = ("_decreased_at", "_doubles", "_maximum", "_usual_seconds", "_value")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._value = float(maximum)
        self._decreased_at = float("-inf")
        self._doubles = False  # since an outage, without a sign of congestion
        self._usual_seconds: float | None = None

    @property
    def value(self) -> int:
        """How many requests may be out at once."""
        return int(self._value)

    def answered(self, started: float, now: float) -> None:
        """Note an answered request, by the monotonic seconds at which it was sent and answered."""
        seconds = now - started
        usual = seconds if self._usual_seconds is None else self._usual_seconds
        self._usual_seconds = usual + _USUAL_WEIGHT * (seconds - usual)
        if seconds > max(_SLOW_SECONDS, _SLOW_TIMES * usual):
            self.congested(started, now)
        else:
            self._value = min(self._maximum, self._value + (1 if self._doubles else 1 / self._value))

    def congested(self, started: float, now: float) -> None:
        """Note congestion, by the monotonic seconds at which its request was sent and ended."""
        if started > self._decreased_at:
            self._value = max(1.0, self._value / 2)
            self._decreased_at = now
            self._doubles = False

    def restart(self) -> None:
        """Start at one again after an outage, to spare the vendor everything at once."""
        self._value = 1.0
        self._doubles = True
