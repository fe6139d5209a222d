"""Too many dead letters in a row mean that something else is wrong than the events (design: The guarantee, point 12)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Breaker", "BreakerPolicy"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When the breaker opens, and how it looks whether the trouble is over."""

    max_consecutive: int = 1000
    """Events refused by Amazon in a row, without one delivered between them: two full batches."""
    probe_seconds: float = 60.0
    """While open, one single event is sent this often."""


class Breaker:
    """Closed: all may be sent. Open: one event at a time, every ``probe_seconds``. One delivery closes it."""

    __slots__ = ("_policy", "_probe_at", "_refused")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._refused = 0
        self._probe_at = 0.0

    @property
    def open(self) -> bool:
        """Whether too many were refused in a row."""
        return self._refused >= self._policy.max_consecutive

    def answered(self, delivered: int, refused: int, now: float) -> None:
        """Note one answer: events delivered and refused; a delivery anywhere in it ends the row."""
        if delivered:
            self._refused = 0
        elif refused:
            self._refused += refused
            self._probe_at = now + self._policy.probe_seconds

    def allows(self, now: float) -> int | None:
        """Return how many events the next request may hold: None for no limit, 0 for none yet."""
        if not self.open:
            return None
        return 1 if now >= self._probe_at else 0

    def probing(self, now: float) -> None:
        """Note that a probe is under way; the next waits its turn."""
        self._probe_at = now + self._policy.probe_seconds

    def due(self) -> float | None:
        """Return the monotonic second of the next probe; None while closed."""
        return self._probe_at if self.open else None
