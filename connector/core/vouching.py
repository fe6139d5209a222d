"""Whether we are still a member of the group. The coordinator says so by taking a commit.

It takes commits from current members only, and what is committed already may be committed again.
Nothing is sent unless it has said so of late (docs/how-it-works.md#what-may-be-sent-twice).
"""

from __future__ import annotations

from collections.abc import Iterable

from connector.core.assignment import Assignment
from connector.model import Moment

__all__ = ["Vouching"]

_AGAIN_SECONDS = 1.0
"""How often the coordinator is asked, until it has answered."""


class Vouching:
    """Says what to commit again, and when. ``gate_seconds`` is for how long an answer counts."""

    __slots__ = ("_asked_until", "_gate_seconds")

    def __init__(self, gate_seconds: float) -> None:
        self._gate_seconds = gate_seconds
        self._asked_until = 0.0  # monotonic second before which the coordinator is not asked again

    def vouched(self, now: Moment) -> bool:
        """Return whether the coordinator has confirmed of late that we are a member."""
        return now.monotonic - now.vouched <= self._gate_seconds

    def due(self, now: Moment) -> float:
        """Return the monotonic second at which to ask."""
        return max(self._asked_until, now.vouched + self._gate_seconds / 2)

    def to_commit(self, assignments: Iterable[Assignment], now: Moment) -> list[Assignment]:
        """Return what to commit again to ask the coordinator; nothing while its answer counts.

        If no partition has a commit, the start of one is committed: without a commit it would begin
        there, too.
        """
        if now.monotonic < self.due(now):
            return []
        running = [assignment for assignment in assignments if assignment.running]
        if running:
            self._asked_until = now.monotonic + _AGAIN_SECONDS
        return [assignment for assignment in running if assignment.committing.made] or running[:1]
