"""When buffered events become a request: by count, by bytes, or after the linger.

A body is a join of payloads that are encoded already, so its size is known exactly before it is built.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from connector.model import Event

__all__ = ["BatchPolicy", "Batcher", "Envelope"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around the events of a request body."""

    prefix: bytes
    suffix: bytes

    def wrap(self, events: list[Event]) -> bytes:
        """Build the body of a request."""
        return self.prefix + b",".join([event.payload for event in events]) + self.suffix


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Limits of one request."""

    max_events: int
    max_bytes: int
    """Size of the body, envelope and commas included."""
    linger_seconds: float
    """How long the oldest event may wait for the batch to fill."""


class Batcher:
    """Buffered events of all partitions, first in, first out.

    Laws. The batches taken, one after the other, are the events added. No batch exceeds the policy, and none of several
    events exceeds the size learnt. No event waits longer than the linger if a batch is taken whenever one is `full` or
    `due`.
    """

    __slots__ = ("_bytes", "_overhead", "_policy", "_queue", "most_bytes")

    def __init__(self, policy: BatchPolicy, envelope: Envelope) -> None:
        self._policy = policy
        self._overhead = len(envelope.prefix) + len(envelope.suffix)
        self._queue: deque[Event] = deque()
        self._bytes = 0  # payloads and a comma for each
        self.most_bytes = policy.max_bytes
        """Maximum body of a batch of several events: the policy's, or less after `learn`."""

    def __len__(self) -> int:
        """Count the buffered events."""
        return len(self._queue)

    def fits(self, payload: bytes) -> bool:
        """Return whether an event can be sent at all: alone in a request."""
        return self._overhead + len(payload) <= self._policy.max_bytes

    def learn(self, most_bytes: int) -> None:
        """Keep batches of several events at or below this size from now on."""
        self.most_bytes = min(self.most_bytes, most_bytes)

    def add(self, event: Event) -> None:
        """Buffer an event that `fits`."""
        self._queue.append(event)
        self._bytes += len(event.payload) + 1

    @property
    def full(self) -> bool:
        """Whether the next batch is complete: no further event could join it."""
        return len(self._queue) >= self._policy.max_events or self._overhead + self._bytes > self.most_bytes

    def due(self) -> float | None:
        """Return the monotonic second at which the oldest event has waited long enough; None without events."""
        return self._queue[0].since + self._policy.linger_seconds if self._queue else None

    def take(self, limit: int | None = None) -> list[Event]:
        """Take the next batch: as much as one request may hold, and at most ``limit`` events."""
        queue, most = self._queue, min(limit or self._policy.max_events, self._policy.max_events)
        batch: list[Event] = []
        size = self._overhead - 1  # one comma less than events
        while queue and len(batch) < most:
            size += len(queue[0].payload) + 1
            if size > self.most_bytes and batch:  # an event that `fits` is sent alone, whatever was learnt
                break
            batch.append(queue.popleft())
        self._bytes -= sum(len(event.payload) + 1 for event in batch)
        return batch

    def drop(self, generation: int) -> None:
        """Forget the buffered events of an assignment that ends; they were never sent."""
        self._queue = deque(event for event in self._queue if event.generation != generation)
        self._bytes = sum(len(event.payload) + 1 for event in self._queue)
