"""Looks at the source topics from time to time: where their partitions end, and whether they are still the same topics.

The consumer cannot tell either. What it knows of a log's end stands still while a partition is paused, and a topic that was
deleted and made again is to a classic consumer the old one: it reads on from its old offset and says nothing (tried).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from connector.core import exchange as x
from connector.errors import KafkaUnavailable
from connector.kafka.topics import Topics
from connector.model import TopicPartition

__all__ = ["SourceWatch"]

_SECONDS = 5.0
"""Between two looks. What is read of a recreated topic meanwhile is read again once that is seen: what has a dedupe id is a
duplicate then, what has none is sent again under the id that its new place gives it."""


class SourceWatch:
    """Asks the brokers on a thread of its own for as long as the context lasts; its end waits for nothing."""

    def __init__(
        self,
        topics: Topics,
        names: Iterable[str],
        partitions: Callable[[], list[TopicPartition]],
        post: Callable[[x.TopicSeen], None],
        ended_at: Callable[[TopicPartition, int], None],
    ) -> None:
        self._topics = topics
        self._names = tuple(names)
        self._partitions = partitions
        self._post = post
        self._ended_at = ended_at
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source-watch", daemon=True)

    def __enter__(self) -> None:
        """Begin."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End; an answer that is still awaited is dropped."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(_SECONDS):
            try:
                self._look()
            except KafkaUnavailable:
                continue  # the consumer says so, too

    def _look(self) -> None:
        for name in self._names:
            found = self._topics.describe(name)
            if found is not None and not self._ending.is_set():
                self._post(x.TopicSeen(name, found.topic_id))
        if ours := self._partitions():
            for partition, end in self._topics.ends(ours).items():
                self._ended_at(partition, end)
