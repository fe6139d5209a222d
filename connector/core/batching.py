"""When events become a request: by count, by bytes, by linger. The body is a join of payloads, its size known exactly."""

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
    """Of the body, envelope and commas included."""
    linger_seconds: float
    """How long the oldest event may wait for the batch to fill."""


class Batcher:
    """Buffered events of all partitions, first in, first out.

    Laws: the concatenation of what is taken is what was added; no batch exceeds the policy, nor, but for one event alone,
    what was learnt; nothing waits longer than the linger if a batch is taken when `full` or `due`.
    """

    __slots__ = ("_bytes", "_overhead", "_policy", "_queue", "most_bytes")

    def __init__(self, policy: BatchPolicy, envelope: Envelope) -> None:
        self._policy = policy
        self._overhead = len(envelope.prefix) + len(envelope.suffix)
        self._queue: deque[Event] = deque()
        self._bytes = 0  # payloads and a comma for each
        self.most_bytes = policy.max_bytes
        """Of the body of a batch of several events: the policy's, or less once `learn` was told."""

    def __len__(self) -> int:
        """Count the buffered events."""
        return len(self._queue)

    def fits(self, payload: bytes) -> bool:
        """Tell whether an event can be sent at all: alone in a request."""
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
        """Whether a batch is there that no further event could join for sure."""
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
            if size > self.most_bytes and batch:  # one alone that `fits` is sent, whatever was learnt
                break
            batch.append(queue.popleft())
        self._bytes -= sum(len(event.payload) + 1 for event in batch)
        return batch

    def drop(self, generation: int) -> None:
        """Forget the buffered events of an assignment that ends; they were never sent."""
        self._queue = deque(event for event in self._queue if event.generation != generation)
        self._bytes = sum(len(event.payload) + 1 for event in self._queue)
