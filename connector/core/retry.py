"""How long to wait before sending again, and the queue of what waits."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from connector.core.request import PendingBatch
from connector.core.runs import Run

__all__ = ["NO_JITTER", "RetryPolicy", "RetryQueue"]

NO_JITTER = 1.0
"""Chance for the back-off of one partition alone: nothing else comes back at the same moment."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Capped exponential back-off with jitter.

    Amazon's guide asks for a start of 1 s, a cap of 60 s and jitter (Ads API concepts, rate
    limiting). Half of each wait is fixed and half is random, so the members of a group spread out
    and none comes back at once.
    """

    first_seconds: float = 1.0
    cap_seconds: float = 60.0
    max_tries: int = 8
    """How often one event may return without a final verdict while other events get theirs (about
    two minutes).

    After that it is dead-lettered. What fails for all events alike is tried without bound.
    """
    max_alone: int = 64
    """Maximum number of retries, about an hour's, of an event that Amazon asks to retry while no
    other event waits.

    Copies that wait for it may fill the buffer, and then no other event shows whether this one or
    Amazon is at fault.
    """

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait after the ``attempt``-th failure, from 1.

        ``chance`` is drawn from [0, 1).
        """
        full = min(self.cap_seconds, self.first_seconds * float(1 << min(attempt - 1, 30)))
        return full * (0.5 + 0.5 * chance)


class RetryQueue:
    """Groups of events that wait to be sent again, soonest first."""

    __slots__ = ("_heap", "_number")

    def __init__(self) -> None:
        self._heap: list[PendingBatch] = []
        self._number = 0

    def add(self, due: float, attempt: int, since: int | None, runs: list[Run]) -> None:
        """Let events wait until a monotonic second."""
        self._number += 1
        heappush(self._heap, PendingBatch(due, self._number, attempt, since, runs))

    def due(self) -> float | None:
        """Return the monotonic second at which the next group may be sent; None if none waits."""
        return self._heap[0].due if self._heap else None

    def take(self, now: float) -> PendingBatch | None:
        """Take the next group whose time has come."""
        if self._heap and self._heap[0].due <= now:
            return heappop(self._heap)
        return None

    def hasten(self, now: float) -> None:
        """End all waits, because what they waited for has come. The order stays."""
        for group in self._heap:
            group.due = min(group.due, now)
        heapify(self._heap)

    def drop(self, generation: int) -> None:
        """Forget the events of an assignment that ends."""
        for group in self._heap:
            group.runs = [run for run in group.runs if run.generation != generation]
