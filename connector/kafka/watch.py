"""Looks at topics and group from time to time: where partitions end, whether topics are the same, and what we may do.

The consumer cannot tell. What it knows of a log's end stands still while a partition is paused; a topic that was deleted and
made again is to a classic consumer the old one, in which it reads on from its old offset; and of a right that was taken away
it speaks once, and of one that was given back not at all (tried).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from connector.core import exchange as x
from connector.errors import KafkaDenied, KafkaUnavailable
from connector.kafka.topics import Topics
from connector.model import TopicPartition

__all__ = ["LEDGER_RIGHTS", "LETTER_RIGHTS", "SOURCE_RIGHTS", "Watch", "Watched", "lacking_sentence"]

SOURCE_RIGHTS = ("READ", "DESCRIBE_CONFIGS")
LEDGER_RIGHTS = ("READ", "WRITE", "DESCRIBE_CONFIGS")
LETTER_RIGHTS = ("WRITE",)
"""What README lists, as Kafka's client names it; those to make topics are needed for that alone."""

_SECONDS = 5.0
"""Between two looks. What is read of a recreated topic meanwhile is read again once that is seen: what has a dedupe id is a
duplicate then, what has none is sent again under the id that its new place gives it."""


class Watcher(Protocol):
    """Is told what is seen. Called from the watch's thread."""

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Take note of a partition's end offset."""

    def lacking(self, sentences: list[str]) -> None:
        """Take note of the rights that this client lacks at this moment."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at."""

    sources: tuple[str, ...]
    topics: Mapping[str, tuple[str, ...]]
    """Every topic that is used, and the operations that the connector cannot do without while it runs."""


class Watch:
    """Asks the brokers on a thread of its own for as long as the context lasts; its end waits for nothing."""

    def __init__(
        self,
        topics: Topics,
        watched: Watched,
        partitions: Callable[[], list[TopicPartition]],
        post: Callable[[x.TopicSeen | Exception], None],
        watcher: Watcher,
    ) -> None:
        self._topics = topics
        self._watched = watched
        self._partitions = partitions
        self._post = post
        self._watcher = watcher
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.answered = time.monotonic()
        """Monotonic second of the last answer of a broker; read by other threads."""

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
            except Exception as error:  # noqa: BLE001 - nobody else would notice a recreated topic
                self._post(error)
                return

    def _look(self) -> None:
        lacking = [*self._lacking_of_topics(), *self._lacking_of_group()]
        if self._ending.is_set():
            return
        self._watcher.lacking(lacking)
        if ours := self._partitions():
            for partition, end in self._topics.ends(ours).items():
                self._watcher.lag(partition, end)

    def _lacking_of_topics(self) -> Iterator[str]:
        for name, rights in self._watched.topics.items():
            try:
                found = self._topics.describe(name)
            except KafkaDenied as error:
                self.answered = time.monotonic()
                yield str(error)
                continue
            self.answered = time.monotonic()
            if found is None:
                continue  # the group takes a source topic away that is gone; the others are made on the next assignment
            if name in self._watched.sources and not self._ending.is_set():
                self._post(x.TopicSeen(name, found.topic_id))
            if lacking := found.lacks(*rights):
                yield lacking_sentence(f"topic {name}", lacking)

    def _lacking_of_group(self) -> Iterator[str]:
        # Reading an offset takes less than joining does, but the group's operations can be asked of an admin client only,
        # and that asks one coordinator for ever.
        try:
            self._topics.committed(TopicPartition(self._watched.sources[0], 0))
        except KafkaDenied as error:
            yield str(error)
        except KafkaUnavailable:
            return  # a group without a coordinator for now; what was seen of the topics counts all the same


def lacking_sentence(what: str, operations: Iterable[str]) -> str:
    """Say which rights this client lacks."""
    return f"{what}: this client may not {', '.join(operations)}; grant it the rights that README lists"
