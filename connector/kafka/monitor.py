"""Watches topics and group while the connector runs: log ends, changed topics, missing rights.

The consumer cannot tell any of this (librdkafka 2.16):

* If a partition yields nothing, because its leader is gone or a batch is cut short, the client says
  nothing at all.
* What it knows of a log's end is not updated while the partition is paused.
* A topic that was deleted and created again looks like the old one to a classic consumer, which
  reads on from its old offset.
* It reports once that a right was taken away, and never that the right was given back.

Nor does a producer learn that its topic deletes what it has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from connector.core import inputs
from connector.errors import KafkaDenied, KafkaUnavailable
from connector.kafka.cluster import Cluster
from connector.kafka.host import HOST, Host
from connector.model import TopicDescription, TopicPartition
from connector.ports import LedgerTopics, MonitoredSource, MonitorEvents

__all__ = ["LEDGER_RIGHTS", "LETTER_RIGHTS", "SOURCE_RIGHTS", "ClusterMonitor", "MonitorPolicy", "lacking_message"]

SOURCE_RIGHTS = ("READ", "DESCRIBE_CONFIGS")
LEDGER_RIGHTS = ("READ", "WRITE", "DESCRIBE_CONFIGS")
LETTER_RIGHTS = ("WRITE",)
"""The rights of docs/kafka/index.md#topics-and-rights, in the client's names. The rights to create
topics are not among them: the connector runs without."""

_SECONDS = 5.0
"""Pause between two looks. Records of a recreated topic that are read in this time are read again
once the recreation is noticed. An event with a dedupe id is a duplicate then; one without is sent
again, under the id derived from its new position."""
_TOPICS_SECONDS = 60.0
"""Pause between two looks at the settings of the ledger and of the dead-letter topic."""
_STILL_SECONDS = 60.0
"""How long a partition may yield nothing although its log goes on. A fetch takes less, and so does
the election of a leader."""


@dataclass(frozen=True, slots=True)
class MonitorPolicy:
    """What is watched."""

    sources: tuple[str, ...]
    topics: Mapping[str, tuple[str, ...]]
    """Every topic in use, and the operations that a running connector needs on it."""


class ClusterMonitor:
    """Asks the brokers on its own thread while the context lasts; leaving it waits for nothing."""

    def __init__(
        self,
        cluster: Cluster,
        own: LedgerTopics,
        policy: MonitorPolicy,
        source: MonitoredSource,
        post: Callable[[inputs.TopicSeen | Exception], None],
        events: MonitorEvents,
        host: Host = HOST,
    ) -> None:
        self._host = host
        self._cluster = cluster
        self._own = own
        self._policy = policy
        self._source = source
        self._post = post
        self._events = events
        self._ending = host.event()
        self._thread = host.thread(self._run, "cluster-monitor")
        self._moved: dict[TopicPartition, tuple[int, float]] = {}  # up to where each was read, and when it last moved
        self._topics_at = self._host.monotonic()  # when the settings of our topics were last asked for
        self.answered = self._host.monotonic()
        """Monotonic second of the last answer of the group's coordinator. Read by other threads."""

    def __enter__(self) -> None:
        """Start the thread."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Have the thread end. An answer that is still awaited is dropped."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(_SECONDS):
            try:
                self._look()
            except KafkaUnavailable:
                continue  # the consumer reports it, too
            except Exception as error:  # noqa: BLE001 - nothing else would notice a recreated topic
                self._post(error)
                return

    def _look(self) -> None:
        # The group comes first: if a topic could not be described, the coordinator would not be
        # asked at all.
        lacking = [*self._lacking_of_group(), *self._lacking_of_topics()]
        ours = self._source.partitions()
        ends = self._cluster.ends(ours) if ours else {}
        lacking += self._standing_still(ends)
        if self._ending.is_set():
            return
        self._events.lacking(lacking)
        for partition, end in ends.items():
            self._events.lag(partition, end)

    def _standing_still(self, ends: Mapping[TopicPartition, int]) -> Iterator[str]:
        now, reading = self._host.monotonic(), self._source.reading()
        self._moved = {partition: self._moved.get(partition, (at, now)) for partition, at in reading.items()}
        for partition, at in reading.items():
            before, since = self._moved[partition]
            if at != before or at >= ends.get(partition, at + 1):
                self._moved[partition] = (at, now)
            elif now - since > _STILL_SECONDS and not self._ends_stably(partition, at):
                yield (
                    f"{partition} yields nothing from offset {at} on, although its log goes on: its leader is unreachable "
                    "or cannot serve it, or a batch there is cut short. The consumer keeps asking. Check the brokers, their "
                    "logs and disks, or make another replica the leader"
                )

    def _ends_stably(self, partition: TopicPartition, at: int) -> bool:
        """Return whether only records of an open transaction follow."""
        try:
            return self._cluster.offsets(partition, stable=True)[1] <= at
        except KafkaUnavailable:
            return False

    def _lacking_of_topics(self) -> Iterator[str]:
        now = self._host.monotonic()
        topics_due = now - self._topics_at >= _TOPICS_SECONDS
        self._topics_at = now if topics_due else self._topics_at
        for name, rights in self._policy.topics.items():
            try:
                found = self._cluster.describe(name)
            except KafkaDenied as error:
                yield str(error)
                continue
            if found is None:
                continue  # the group takes a deleted source topic away; our own are created with the next assignment
            if name in self._policy.sources and not self._ending.is_set():
                self._post(inputs.TopicSeen(name, found.topic_id, kept=not topics_due or self._are_kept(found)))
            if lacking := found.lacks(*rights):
                yield lacking_message(f"topic {name}", lacking)

    def _are_kept(self, source: TopicDescription) -> bool:
        """Return whether our topics keep what is written to them, as far as known."""
        try:
            trouble = self._own.trouble(source)
        except KafkaUnavailable:
            return True  # a right that is lacking is said, and the next look may have the answer
        if trouble is not None:
            self._events.topics_changed(source.name, trouble)
        return trouble is None

    def _lacking_of_group(self) -> Iterator[str]:
        # Reading an offset needs fewer rights than joining. But only an admin client can be asked
        # for the operations on a group, and that keeps asking the coordinator it found first.
        try:
            self._cluster.committed(TopicPartition(self._policy.sources[0], 0))
        except KafkaDenied as error:
            yield str(error)
        except KafkaUnavailable:
            return  # no coordinator for now; what was seen of the topics counts nevertheless
        self.answered = self._host.monotonic()


def lacking_message(what: str, operations: Iterable[str]) -> str:
    """Return the message that names the rights this client lacks."""
    return f"{what}: this client may not {', '.join(operations)}; grant it the rights that docs/kafka/index.md lists"
