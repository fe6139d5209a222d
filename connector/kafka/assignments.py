"""Which partitions are ours, and under which generation.

A generation names one assignment of one partition. A command for an older generation is not carried
out. So what was decided about a partition before it was lost cannot touch its next assignment.

The pipeline hears of one beginning, `Assigned` (the partition is ours and paused: say where to
start), and of two ends: `Revoked` (the group wants the partition back: drain it) and `Lost` (the
partition is gone already).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from connector.core import commands, inputs
from connector.intake import Origin
from connector.kafka.backlog import Backlog
from connector.kafka.positions import Positions
from connector.model import TopicPartition

__all__ = ["Assignments"]


class Assignments:
    """The assignments of this member; ``post`` tells the pipeline."""

    def __init__(
        self,
        positions: Positions,
        backlog: Backlog,
        cluster_id: str,
        post: Callable[[inputs.Input | Exception], None],
        *,
        incremental: bool,
    ) -> None:
        self._positions = positions
        self._backlog = backlog
        self._cluster_id = cluster_id
        self._post = post
        self._incremental = incremental
        self._generations = itertools.count(1)
        self._mine: dict[TopicPartition, Origin] = {}

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that are ours at this moment. Called from any thread."""
        return list(self._mine)

    def origin(self, partition: TopicPartition) -> Origin | None:
        """Return the assignment of a partition, if it is ours."""
        return self._mine.get(partition)

    def is_current(self, origin: Origin) -> bool:
        """Return whether records of this assignment still belong to one of ours."""
        return self._mine.get(origin.partition) is origin

    def is_mine(self, partition: TopicPartition, generation: int) -> bool:
        """Return whether a generation is that of the assignment at this moment."""
        origin = self._mine.get(partition)
        return origin is not None and origin.generation == generation

    def generations(self, partitions: Iterable[TopicPartition]) -> tuple[int, ...]:
        """Return the generations of those of these partitions that are ours."""
        return tuple(self._mine[partition].generation for partition in partitions if partition in self._mine)

    def begin(self, partition: TopicPartition, *, truncated: bool = False, anew: bool = False) -> None:
        """Begin an assignment, paused; the pipeline says where to start."""
        origin = Origin(partition, next(self._generations), self._cluster_id, "")
        self._mine[partition] = origin
        self._positions.begin(partition)
        self._backlog.drop(partition)
        self._post(inputs.Assigned(partition, origin.generation, truncated, anew))

    def start(self, command: commands.Start) -> None:
        """Set where an assignment is read from, and the id of its topic."""
        partition, generation = command.partition, command.generation
        self._mine[partition] = Origin(partition, generation, self._cluster_id, command.topic_id)
        self._positions.start(partition, command.offset, command.epoch)

    def resume(self, partition: TopicPartition) -> None:
        """Fetch a partition from its position; begin it anew if the client cannot."""
        if not self._positions.resume(partition):
            self.begin_anew(partition)

    def begin_anew(self, partition: TopicPartition, *, truncated: bool = False) -> None:
        """End an assignment that has no valid position, and begin another of the same partition.

        The ledger says again where it may start. An eager assignment changes as a whole, so all of
        it begins anew.
        """
        anew = [partition] if self._incremental else list(self._mine)
        self._post(inputs.Lost(self.generations(anew)))
        self._positions.assign_anew(anew)
        for each in anew:
            self.begin(each, truncated=truncated and each == partition, anew=True)

    def give_up(self, partition: TopicPartition) -> int | None:
        """End an assignment that another member has now; return its generation, if any."""
        origin = self._mine.pop(partition, None)
        self._positions.forget(partition)
        self._backlog.drop(partition)
        return None if origin is None else origin.generation
