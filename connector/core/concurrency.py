"""How many requests may be out at once: additive increase, multiplicative decrease (as in TCP's congestion control)."""

from __future__ import annotations

__all__ = ["ConcurrencyLimit"]

_DECREASE_EVERY_SECONDS = 1.0
"""One burst of refusals is one sign of congestion, not eight: the requests of one round trip count once."""


class ConcurrencyLimit:
    """A limit between 1 and ``maximum``: one more per round of successes, half as many at a sign of congestion."""

    __slots__ = ("_decreased_at", "_maximum", "_value")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._value = float(maximum)
        self._decreased_at = float("-inf")

    @property
    def value(self) -> int:
        """The requests that may be out at once."""
        return int(self._value)

    def succeeded(self) -> None:
        """Note a request that was answered."""
        self._value = min(self._maximum, self._value + 1 / self._value)

    def congested(self, now: float) -> None:
        """Note a sign of congestion (throttled, timed out) at a monotonic second."""
        if now - self._decreased_at >= _DECREASE_EVERY_SECONDS:
            self._value = max(1.0, self._value / 2)
            self._decreased_at = now
