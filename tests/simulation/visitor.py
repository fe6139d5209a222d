"""A consumer of another kind in our group, as ``kafka-console-consumer --group``: it reads, commits, and leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from connector.model import TopicPartition
from tests.simulation.cluster import Cluster, Commit
from tests.simulation.virtual_time import Process

__all__ = ["Visitor"]


class Visitor:
    """A member of the group that commits to the end of whatever it is given, and says nothing of what that rests on."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.member_id = ""
        self._cluster = cluster
        self._topic = topic
        self._mine: set[TopicPartition] = set()

    def come(self, seconds: float) -> None:
        """Join, and leave after so long."""
        self._cluster.group.join(self)
        self._cluster.loop.call_later(seconds, self.leave)

    def leave(self) -> None:
        """Commit what is its own, and go."""
        self._commit(self._mine)
        self._mine = set()
        if self.member_id:
            self._cluster.group.leave(self)

    def _commit(self, places: set[TopicPartition]) -> None:
        for place in sorted(places):
            visible = self._cluster.visible(place)
            if self.member_id and visible:
                last = visible[-1]
                self._cluster.commit(place, Commit(last.at + 1, -1 if last.under is None else last.under, ""))
                self._cluster.journal.happened("a visitor committed")

    # ---- what the coordinator says, and asks

    def wants(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in range(len(self._cluster.topics[self._topic].partitions))]

    def hear(self, what: Callable[[], None]) -> None:
        self._cluster.loop.call_later(self._cluster.delay(0.5), self._heard, self.member_id, what)

    def _heard(self, member_id: str, what: Callable[[], None]) -> None:
        if self.member_id == member_id:
            what()

    def assign_new(self, given: list[TopicPartition]) -> None:
        self._mine.update(given)
        self._cluster.loop.call_later(
            self._cluster.delay(1.0), self._heard, self.member_id, partial(self._commit, set(given))
        )

    def revoke(self, wanted: list[TopicPartition]) -> None:
        self._commit(self._mine & set(wanted))
        self._mine.difference_update(wanted)
        self._cluster.group.given_up(self, wanted)

    def hear_of_eviction(self) -> None:
        self._mine = set()

    def journal_loss(self, place: TopicPartition) -> None:
        """It has nothing that could be lost."""

    def answered_by_now(self) -> None:
        """Its heartbeats do not matter."""

    def out_of_reach(self, process: Process) -> None:
        """It is no process of ours."""
