"""The offsets to commit: queued by partition, sent one request at a time.

Only one commit is ever in flight. While the client knows no coordinator, it holds commits back and
later sends them in any order. So with several, the committed offset could go back (seen with
librdkafka 2.16). Offsets that wait for their turn are merged: the next request has the newest
offset of each partition.

A commit is also how this member learns that it still is one. A coordinator that takes an offset
vouches for the member as of the moment the commit was *made*; `CommitQueue.vouched` says when that
was. Nothing is sent to Amazon by a member that nobody vouches for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.core import commands
from connector.kafka.host import Host
from connector.kafka.membership import NEVER
from connector.kafka.positions import kafka_place
from connector.model import TopicPartition

__all__ = ["CommitQueue"]

Report = Callable[[KafkaError | None, list[KafkaTopicPartition]], None]

_ANSWER_SECONDS = 600.0
"""How long a commit may stay unanswered before the next one is sent anyway. It is longer than a
coordinator is ever away, because the client could send the older of two commits last. The client
answers every commit (librdkafka 2.16, its source)."""
_SOON_SECONDS = 5.0
"""How long a partition that is to begin anew waits for the answer to a commit."""
_NO_MEMBER = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID, KafkaError.FENCED_MEMBER_EPOCH})
"""Answers to a commit that say that this process is no member any more. A member whose group is
just changing gets other codes."""


class CommitQueue:
    """Commits offsets of partitions that are still ours; ``report`` is told every answer."""

    def __init__(self, client: Consumer, host: Host, is_mine: Callable[[TopicPartition, int], bool], report: Report) -> None:
        self._client = client
        self._host = host
        self._is_mine = is_mine
        self._report = report
        self._queued: dict[TopicPartition, commands.CommitPoint] = {}
        self._sent: frozenset[TopicPartition] = frozenset()
        """The partitions of the commit in flight."""
        self._waiting_until: float | None = None
        """When the commit in flight is given up; None while there is none."""
        self._made = NEVER
        """Monotonic second at which the commit was made whose answer is expected next."""
        self.vouched = NEVER
        """Monotonic second at which the last commit was made that the coordinator took. Read by
        other threads."""

    @property
    def in_flight(self) -> bool:
        """Whether a commit has not been answered yet."""
        return self._waiting_until is not None

    def is_pending(self, partition: TopicPartition) -> bool:
        """Whether an offset of this partition will be committed soon.

        A commit that has not been answered for some seconds is not counted, because the coordinator
        is away then.
        """
        if self._waiting_until is None or self._host.monotonic() >= self._waiting_until - _ANSWER_SECONDS + _SOON_SECONDS:
            return False
        return partition in self._queued or partition in self._sent

    def queue(self, points: Iterable[commands.CommitPoint]) -> None:
        """Queue offsets; a newer one replaces an older one of the same partition."""
        self._queued |= {point.partition: point for point in points}

    def send(self) -> None:
        """Send what is queued, unless a commit is in flight."""
        now = self._host.monotonic()  # before the call: the answer may be served within it
        if self._waiting_until is not None and now < self._waiting_until:
            return
        places = self._take_queued()
        if not places:
            return
        if self._waiting_until is None:  # else the next answer may belong to the older commit
            self._made = now
        self._waiting_until = now + _ANSWER_SECONDS
        self._sent = frozenset(TopicPartition(place.topic, place.partition) for place in places)
        try:
            self._client.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            self.answered(error.args[0], places)

    def answered(self, error: KafkaError | None, places: list[KafkaTopicPartition]) -> None:
        """Take the answer to a commit. The client calls this from within `Consumer.consume`."""
        self._waiting_until = None
        errors = [error or place.error for place in places]
        codes = {each.code() if each is not None else None for each in errors}
        if None in codes:
            self.vouched = max(self.vouched, self._made)
        elif codes & _NO_MEMBER:
            self.vouched = NEVER
        self._report(error, places)

    def membership_lost(self) -> None:
        """Forget that anybody vouched for this member.

        The answer to a commit made before the loss may come after the member was let in again. It
        must not vouch for the new membership.
        """
        self.vouched = self._made = NEVER

    def _take_queued(self) -> list[KafkaTopicPartition]:
        points, self._queued = self._queued, {}
        mine = [point for point in points.values() if self._is_mine(point.partition, point.generation)]
        return [kafka_place(point.partition, point.next_offset, point.epoch, point.metadata) for point in mine]
