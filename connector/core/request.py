"""Events that are sent together: before, as a pending batch; while they are out, as a request."""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.core.runs import Run, count

__all__ = ["PendingBatch", "Request"]


@dataclass(order=True, slots=True)
class PendingBatch:
    """Events to be sent together, for the first time or again."""

    due: float
    """Monotonic second before which they must not be sent."""
    number: int
    """Orders those of the same instant by when they failed; 0 for what was never sent."""
    attempt: int = field(compare=False)
    """Failures so far."""
    since: int | None = field(compare=False)
    """Number of the latest request started before these events first failed, or were last blamed;
    None if they never did.

    A verdict on any later request proves that Amazon was answering.
    """
    runs: list[Run] = field(compare=False)
    held: bool = field(compare=False, default=False)
    """Whether they were refused for the account when they were sent last."""


@dataclass(frozen=True, slots=True)
class Request:
    """Events that were sent together."""

    number: int
    runs: list[Run]
    attempt: int
    """Failures of these events before, as a request."""
    since: int | None
    """The same as `PendingBatch.since`."""
    size: int
    """Bytes of the body."""
    started: float
    """Monotonic second."""
    held: bool = False
    """Whether these events were refused for the account when they were sent last."""

    @property
    def count(self) -> int:
        """Number of events."""
        return count(self.runs)
