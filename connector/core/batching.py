"""When buffered events become a request: by count, by bytes, or after the linger.

A body is a join of payloads that are encoded already, so its size is known exactly before it is
built.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import accumulate, chain

from connector.core.runs import Run, count

__all__ = ["BatchPolicy", "Batcher", "Envelope"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around the events of a request body."""

    prefix: bytes
    suffix: bytes

    def wrap(self, runs: list[Run]) -> bytes:
        """Build the body of a request of at least one event, with one copy of each payload."""
        payloads = list(chain.from_iterable([run.payloads for run in runs]))
        payloads[0] = self.prefix + payloads[0]
        payloads[-1] += self.suffix
        return b",".join(payloads)


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

    Laws. The batches taken, one after the other, are the events added. No batch exceeds the policy,
    and none of several events exceeds the size learnt. No event waits longer than the linger if a
    batch is taken whenever one is `full` or `due`.
    """

    __slots__ = ("_bytes", "_count", "_overhead", "_policy", "_queue", "most_bytes")

    def __init__(self, policy: BatchPolicy, envelope: Envelope) -> None:
        self._policy = policy
        self._overhead = len(envelope.prefix) + len(envelope.suffix)
        self._queue: deque[Run] = deque()
        self._count = 0
        self._bytes = 0  # payloads and a comma for each
        self.most_bytes = policy.max_bytes
        """Maximum body of a batch of several events: the policy's, or less after `learn`."""

    def __len__(self) -> int:
        """Count the buffered events."""
        return self._count

    def fits(self, length: int) -> bool:
        """Return whether a payload of so many bytes can be sent at all: alone in a request."""
        return self._overhead + length <= self._policy.max_bytes

    def learn(self, most_bytes: int) -> None:
        """Keep batches of several events at or below this size from now on."""
        self.most_bytes = min(self.most_bytes, most_bytes)

    def add(self, run: Run) -> None:
        """Buffer events, each of which `fits`."""
        self._queue.append(run)
        self._count += len(run)
        self._bytes += run.length

    @property
    def full(self) -> bool:
        """Whether the next batch is complete: no further event could join it."""
        return self._count >= self._policy.max_events or self._overhead + self._bytes > self.most_bytes

    def due(self) -> float | None:
        """Return the monotonic second at which the oldest event has waited long enough, if any."""
        return self._queue[0].since + self._policy.linger_seconds if self._queue else None

    def take(self, limit: int | None = None) -> list[Run]:
        """Take the next batch: as much as one request may hold, and at most ``limit`` events."""
        batch: list[Run] = []
        left = min(limit or self._policy.max_events, self._policy.max_events)
        room = self.most_bytes - self._overhead + 1  # one comma less than events
        while self._queue and left:
            run = self._queue.popleft()
            taken, length = len(run), run.length
            if taken > left or length > room:
                lengths = list(accumulate([len(payload) + 1 for payload in run.payloads[:left]]))
                taken = bisect_right(lengths, room)
                if not batch:
                    taken = max(taken, 1)  # an event that `fits` is sent alone, whatever was learnt
                length = lengths[taken - 1] if taken else 0
                if taken < len(run):
                    self._queue.appendleft(run.part(taken, len(run)))
                if not taken:
                    break
            batch.append(run.part(0, taken))
            left, room = left - taken, room - length
            self._count, self._bytes = self._count - taken, self._bytes - length
        return batch

    def drop(self, generation: int) -> None:
        """Forget the buffered events of an assignment that ends; they were never sent."""
        self._queue = deque(run for run in self._queue if run.generation != generation)
        self._count = count(self._queue)
        self._bytes = sum(run.length for run in self._queue)
