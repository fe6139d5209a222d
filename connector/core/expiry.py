"""When windows forget what is too old, and are freed once their assignment has ended.

Both take the longer, the more keys a window has. So both go in steps, and the event loop turns in
between.
"""

from __future__ import annotations

from collections.abc import Iterable

from connector.core.dedupe import Seen

__all__ = ["Expiry"]

_EXPIRY_SECONDS = 60.0
"""How often the windows forget what is too old."""
_SWEEP_SECONDS = 0.05
"""Between two steps over a window."""


class Expiry:
    """Takes one step over every window whenever it is due."""

    __slots__ = ("_ended", "due")

    def __init__(self) -> None:
        self.due = 0.0
        """Monotonic second of the next step."""
        self._ended: list[Seen] = []

    @property
    def idle(self) -> bool:
        """Whether no window of an assignment that ended is left to be freed."""
        return not self._ended

    def ended(self, seen: Seen) -> None:
        """Free a window from now on."""
        self._ended.append(seen)
        self.due = 0.0

    def step(self, windows: Iterable[Seen], oldest_ms: int, now: float) -> None:
        """Have windows forget keys older than this, and free some of what ended, if it is time."""
        if now < self.due:
            return
        more = [seen.expire(oldest_ms) for seen in windows]
        self._ended = [seen for seen in self._ended if seen.free()]
        self.due = now + (_SWEEP_SECONDS if any(more) or self._ended else _EXPIRY_SECONDS)
