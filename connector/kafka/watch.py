"""Looks at topics and group from time to time: where partitions end, whether topics are the same, and what we may do.

The consumer cannot tell. Of a partition that brings nothing, for its leader is gone or a batch is cut short, it says nothing
at all (librdkafka 2.16); what it knows of a log's end stands still while a partition is paused; a topic that was deleted and
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
"""Those of docs/kafka/index.md#topics-and-rights, as Kafka's client names them; to make topics takes others."""

_SECONDS = 5.0
"""Between two looks. What is read of a recreated topic meanwhile is read again once that is seen: what has a dedupe id is a
duplicate then, what has none is sent again under the id that its new place gives it."""


_STILL_SECONDS = 60.0
"""Without a record of a partition whose log goes on. A fetch takes less, and so does the election of a leader."""


class Source(Protocol):
    """What the consumer knows. Asked from the watch's thread."""

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that are ours at this moment."""

    def reading(self) -> dict[TopicPartition, int]:
        """Return those that are fetched, and up to where each was read."""


class Watcher(Protocol):
    """Is told what is seen. Called from the watch's thread."""

    def lag(self, partition: TopicPartition, end_offset: int) -> None:
        """Take note of a partition's end offset."""

    def lacking(self, sentences: list[str]) -> None:
        """Take note of the rights that this client lacks at this moment, and of partitions that bring nothing."""


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
        source: Source,
        post: Callable[[x.TopicSeen | Exception], None],
        watcher: Watcher,
    ) -> None:
        self._topics = topics
        self._watched = watched
        self._source = source
        self._post = post
        self._watcher = watcher
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._moved: dict[TopicPartition, tuple[int, float]] = {}  # up to where each was read, and since when
        self.answered = time.monotonic()
        """Monotonic second of the last answer of the group's coordinator; read by other threads."""

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
        # The group comes first: nothing is heard of its coordinator otherwise where a topic cannot be described.
        lacking = [*self._lacking_of_group(), *self._lacking_of_topics()]
        ours = self._source.partitions()
        ends = self._topics.ends(ours) if ours else {}
        lacking += self._standing_still(ends)
        if self._ending.is_set():
            return
        self._watcher.lacking(lacking)
        for partition, end in ends.items():
            self._watcher.lag(partition, end)

    def _standing_still(self, ends: Mapping[TopicPartition, int]) -> Iterator[str]:
        now, reading = time.monotonic(), self._source.reading()
        self._moved = {partition: self._moved.get(partition, (at, now)) for partition, at in reading.items()}
        for partition, at in reading.items():
            before, since = self._moved[partition]
            if at != before or at >= ends.get(partition, at + 1):
                self._moved[partition] = (at, now)
            elif now - since > _STILL_SECONDS and not self._ends_stably(partition, at):
                yield (
                    f"{partition} brings nothing from offset {at} on, and its log does not end there: its leader cannot be "
                    "reached or cannot hand it out, or what stands there is cut short. It is asked for on and on. Look at "
                    "the brokers, their logs and disks, or have another replica lead it"
                )

    def _ends_stably(self, partition: TopicPartition, at: int) -> bool:
        """Tell whether only records of an open transaction follow."""
        try:
            return self._topics.offsets(partition, stable=True)[1] <= at
        except KafkaUnavailable:
            return False

    def _lacking_of_topics(self) -> Iterator[str]:
        for name, rights in self._watched.topics.items():
            try:
                found = self._topics.describe(name)
            except KafkaDenied as error:
                yield str(error)
                continue
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
        self.answered = time.monotonic()


def lacking_sentence(what: str, operations: Iterable[str]) -> str:
    """Say which rights this client lacks."""
    return f"{what}: this client may not {', '.join(operations)}; grant it the rights that docs/kafka/index.md lists"
