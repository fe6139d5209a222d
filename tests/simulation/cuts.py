"""Which process cannot reach which broker, and what waits until it can again.

A broker is named by what it is in charge of: the group (`COORDINATOR`), or a partition. So that one of them alone may be out
of reach, as behind a rule of a firewall or a broker that hangs, while all others answer.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from connector.model import TopicPartition
from tests.simulation.virtual_time import Process, VirtualLoop

__all__ = ["COORDINATOR", "Cuts", "Target"]

COORDINATOR = "coordinator"
Target = TopicPartition | str


class Cuts:
    """The cuts of a run."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._until: dict[tuple[Process, Target], float] = {}
        self._waiting: dict[tuple[Process, Target], deque[Callable[[], None]]] = defaultdict(deque)

    def cut(self, process: Process, targets: Iterable[Target], seconds: float) -> None:
        """Keep a process from some brokers for a while."""
        for target in targets:
            key = process, target
            self._until[key] = max(self._until.get(key, 0.0), self._loop.time() + seconds)
            self._loop.call_at(self._until[key], self._restored, key)

    def reaches(self, process: Process, target: Target) -> bool:
        """Tell whether the process can reach that broker."""
        return self._until.get((process, target), 0.0) <= self._loop.time()

    def when_reached(self, process: Process, target: Target, do: Callable[[], None]) -> None:
        """Do it once that broker can be reached, after what waits already."""
        if self.reaches(process, target):
            do()
        else:
            self._waiting[process, target].append(do)

    def restore(self) -> None:
        """End all cuts."""
        cut, self._until = self._until, {}
        for key in cut:
            self._restored(key)

    def _restored(self, key: tuple[Process, Target]) -> None:
        while self.reaches(*key) and self._waiting[key]:
            self._waiting[key].popleft()()
