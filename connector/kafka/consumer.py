"""The member of the group: one thread that owns the client, polls it, and carries out commands.

The problem
-----------

librdkafka's consumer is one object with four jobs: it is a member of a group, it fetches, it
commits, and it keeps positions. All four meet in one call, ``consume``: records, errors, ends of
logs, rebalances and the answers to commits come out of it, in whatever order the client likes. No
other thread may be in a call of the client at the same time. And a member that does not call it for
``max.poll.interval.ms`` is taken for dead. The pipeline, on the other side, runs on the event loop.
It wants to hear of all this in order, as values, and must never wait.

The picture
-----------

::

      event loop              │                    this thread
                              │
      Pipeline ◀── inputs ────┼── post() ◀─┬── Assignments ◀── rebalance callbacks ─┐
         │                    │            ├── Backlog ◀── records ── Poller ◀──────┤
         │                    │            └── CommitQueue ◀── answers ─────────────┤
         │                    │                                                     │
         └────── commands ────┼─▶ queue ─▶ a turn: commands, decode, poll ─▶ client.consume()
                              │

A turn of the loop carries out all commands, goes on with records that waited to be decoded, tries
refused seeks again, polls once and decodes, looks whether the group has let us in, and sends the
commits that are queued. Every piece of state has one owner:

================  ================================================================================
`Assignments`     which partitions are ours, and under which generation
`Positions`       where each partition is read, whether it is fetched, every seek and its reason
`Poller`          how much is asked for at a time, and what a poll brings
`Backlog`         records that cannot be decoded yet
`CommitQueue`     offsets to commit, and since when the coordinator vouches for us
`GroupAdmission`  whether the group has let us in
`PollClock`       when we last polled, and whether this process slept
this file         the thread, the commands, and the callbacks of a rebalance
================  ================================================================================

The laws
--------

1. Only this thread touches the client. Other threads submit commands and read a few values, each of
   which is replaced as a whole.
2. Both directions are bounded. At most `_POLLS_UNDER_WAY` polls wait for the pipeline, and the
   thread holds one more. Commands are few: one for each decision about a partition.
3. The thread always polls, even while every partition is paused, and while the polls it posted are
   not handled. A slow vendor must not look like a dead member.
4. An assignment starts paused. The pipeline restores the ledger and says where to start.
5. Commands name a generation. A command for an assignment that has ended is dropped, and so are
   records that were read before a partition began anew.
6. A revoke waits, inside its callback, until the pipeline has released each partition, because only
   until the callback returns are commits for it accepted. The wait is bounded: the group waits too.
   Other commands that arrive meanwhile are put off, because assignments do not change in a
   callback.
7. One commit at a time, with the newest offset of each partition. A partition begins anew only
   after the answer to its last commit, or a few seconds without one, because it begins by asking
   for the committed offset. Commits that come for it meanwhile are dropped. A drain does not wait
   for the answer to its last commit: the client joins again only after that answer, and the ledger
   has what the commit would have said.

What may be forgotten: everything but the generation numbers. A record that was polled but not
decoded is read again by the next owner of its partition. An offset that was not committed is found
in the ledger. A position that was lost is asked for again, by ending the assignment and beginning
another one.

What must change together
-------------------------

A new command: `connector.ports.SourceCommand`, `SourceConsumer._carry_out`, and the choice whether
a drain puts it off. A new kind of event from the client: `Poller._take_in`. A new reason to begin
anew: the list at the top of `positions`. The simulation's client (``tests/simulation/cluster.py``)
does what librdkafka was seen to do. What is learnt about librdkafka goes there too, and the
contract suite holds it against a real broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.core import commands, inputs
from connector.intake import Intake
from connector.kafka import clients
from connector.kafka.assignments import Assignments
from connector.kafka.backlog import Backlog
from connector.kafka.commits import CommitQueue
from connector.kafka.host import HOST, Host
from connector.kafka.logins import LOGIN, Following
from connector.kafka.membership import GroupAdmission, PollClock
from connector.kafka.polling import Poller, PollPolicy
from connector.kafka.positions import Positions
from connector.model import TopicPartition
from connector.ports import ConsumerEvents, SourceCommand

__all__ = ["MOST_POLLS_AFTER_A_PAUSE", "PollPolicy", "SourceConsumer"]

_POLLS_UNDER_WAY = 2
MOST_POLLS_AFTER_A_PAUSE = _POLLS_UNDER_WAY + 1
"""Upper bound on polls handled once the buffer is full, counting the poll that filled it: those
already queued plus the one the thread is holding."""
_LEAVE_SECONDS = 10.0
"""How long leaving the group may take. Together with the default ``DRAIN_TIMEOUT`` before it, and
the producer's last seconds after it, it fits into a grace period of a minute."""
_LAST_COMMIT_SECONDS = 5.0
"""Share of `_LEAVE_SECONDS` reserved for the final commits. Offsets not committed in time are
recovered from the ledger."""
_DRAIN_GRACE_SECONDS = 5.0
"""How long a revoke waits beyond the pipeline's own deadline: if the loop hangs, the group must not
wait for it."""


class SourceConsumer:
    """Owns the client; a ``ports.Source`` and a ``ports.MonitoredSource``."""

    def __init__(
        self,
        properties: dict[str, Any],
        policy: PollPolicy,
        intake: Intake,
        cluster_id: str,
        post: Callable[[inputs.Input | Exception], None],
        events: ConsumerEvents,
        *,
        make_client: Callable[[dict[str, Any]], Consumer] = clients.consumer,
        host: Host = HOST,
    ) -> None:
        self._login = Following(properties.get(LOGIN))
        self._client = client = make_client(properties | {"on_commit": self._on_commit})
        self._policy = policy
        self._post = post
        self._events = events
        self._host = host
        self._commands: SimpleQueue[SourceCommand] = host.queue()
        self._put_off: list[SourceCommand] = []
        self._released: set[int] = set()
        self._slots = slots = host.semaphore(_POLLS_UNDER_WAY)
        self._closing = host.event()
        self._thread = host.thread(self._run, "consumer")
        incremental = policy.incremental
        self._admission = admission = GroupAdmission(host, names_itself=policy.names_itself)
        self._poll_clock = poll_clock = PollClock(host, policy.sleep_seconds)
        self._positions = positions = Positions(client, host, incremental=incremental)
        self._backlog = backlog = Backlog(intake, positions, events, slots, post, host, policy.size)
        self._assignments = mine = Assignments(positions, backlog, cluster_id, post, incremental=incremental)
        self._commits = CommitQueue(client, host, mine.is_mine, self._report_commit)
        self._poller = Poller(client, policy, mine, positions, admission, poll_clock, events, host)

    # ---- called from other threads

    def start(self) -> None:
        """Subscribe and begin to poll."""
        self._thread.start()

    def submit(self, command: SourceCommand) -> None:
        """Have a command carried out between two polls, in order."""
        self._commands.put(command)

    def polled_handled(self) -> None:
        """Say that a poll was handled: the next one may be posted."""
        self._slots.release()

    def close(self, seconds: float = _LEAVE_SECONDS) -> bool:
        """Leave the group; wait up to ``seconds`` for the thread to end, return whether it has."""
        self._closing.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def last_poll(self) -> float:
        """Monotonic second at which the last poll that counts began."""
        return self._poll_clock.last_poll

    @property
    def vouched(self) -> float:
        """Monotonic second at which the last commit was made that the coordinator took."""
        return self._commits.vouched

    @property
    def joined(self) -> bool:
        """Whether the group has let this member in."""
        return self._admission.joined

    @property
    def refused(self) -> tuple[float, str] | None:
        """The monotonic second and the code of the last error that needs operator action."""
        return self._admission.refused

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that are ours at this moment."""
        return self._assignments.partitions()

    def reading(self) -> dict[TopicPartition, int]:
        """Return the partitions that are fetched at this moment, and up to where each was read."""
        return self._positions.reading()

    # ---- the thread

    def _run(self) -> None:
        try:
            self._client.subscribe(
                list(self._policy.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._closing.is_set():
                self._turn()
            self._carry_out_all()  # the last commits were submitted before the end was asked for
            self._send_last_commits()
            self._client.close()
        except Exception as error:  # noqa: BLE001 - whatever ends this thread must end the process, with its reason
            self._post(error)

    def _turn(self) -> None:
        self._login.update(self._client)
        self._carry_out_all()
        self._decode_again()
        self._resume(self._positions.refused_seeks())
        self._poll()
        self._admission.look(self._client.memberid)
        self._commits.send()

    def _poll(self) -> None:
        self._backlog.decode(self._poller.poll())
        # Reported after the records that were read before it.
        for partition, offset, code in self._positions.take_unreported():
            if (origin := self._assignments.origin(partition)) is not None:
                self._post(inputs.Unreadable(origin.generation, offset, code))

    def _decode_again(self) -> None:
        self._resume(self._backlog.decode_again())

    def _resume(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            if self._positions.is_fetched(partition):  # a partition that began anew may have ended the others too
                self._assignments.resume(partition)

    def _send_last_commits(self) -> None:
        """Commit before leaving, and wait for the answers.

        The client could wait itself, but without a bound.
        """
        deadline = self._host.monotonic() + _LAST_COMMIT_SECONDS
        self._commits.send()
        while self._commits.in_flight and self._host.monotonic() < deadline:
            # Serves the answer. A record that comes is read again by the next owner of its
            # partition.
            self._client.consume(1, self._policy.seconds)
            self._commits.send()

    # ---- commands

    def _carry_out_all(self) -> None:
        put_off, self._put_off = self._put_off, []
        for command in put_off:
            self._carry_out(command)
        while True:
            try:
                command = self._commands.get_nowait()
            except Empty:
                return
            self._carry_out(command)

    def _carry_out(self, command: SourceCommand) -> None:
        is_mine = self._assignments.is_mine
        match command:
            case commands.Commit(points):
                ends = {each.generation for each in self._put_off if isinstance(each, commands.StartOver)}
                self._commits.queue(point for point in points if point.generation not in ends)
                self._commits.send()
            case commands.Release(_, generation):
                self._released.add(generation)
            case commands.Start(partition, generation) if is_mine(partition, generation):
                self._assignments.start(command)
            case commands.StartOver(partition, generation) if is_mine(partition, generation):
                if not self._commits.is_pending(partition):
                    self._assignments.begin_anew(partition)
                elif command not in self._put_off:
                    self._put_off.append(command)
            case commands.Resume(partition, generation) if is_mine(partition, generation):
                if self._positions.want(partition):
                    self._assignments.resume(partition)
            case commands.Pause(partition, generation) if is_mine(partition, generation):
                self._positions.pause(partition)
            case _:
                pass  # addressed to an assignment that has ended

    # ---- answers to commits, within a poll

    def _on_commit(self, error: KafkaError | None, places: list[KafkaTopicPartition]) -> None:
        self._commits.answered(error, places)

    def _report_commit(self, error: KafkaError | None, places: list[KafkaTopicPartition]) -> None:
        for place in places:
            partition = _partition_of(place)
            failed = error or place.error
            if failed is None:
                self._events.committed(partition, place.offset)
                continue
            self._events.commit_failed(partition, failed.name())
            if (origin := self._assignments.origin(partition)) is not None:
                self._post(inputs.CommitFailed(origin.generation))

    # ---- the group, within a poll or the end

    def _on_assign(self, client: Consumer, places: list[KafkaTopicPartition]) -> None:
        self._admission.let_in()
        for place in places:
            place.offset = OFFSET_BEGINNING  # paused at once; the pipeline says where to seek
        if self._policy.incremental:
            client.incremental_assign(places)
        else:
            client.assign(places)
        if places:
            client.pause(places)
        for place in places:
            self._assignments.begin(_partition_of(place))

    def _on_revoke(self, client: Consumer, places: list[KafkaTopicPartition]) -> None:
        if not self._closing.is_set():
            self._drain([_partition_of(place) for place in places])
        self._give_up(client, places)

    def _on_lost(self, client: Consumer, places: list[KafkaTopicPartition]) -> None:
        self._admission.put_out()
        self._commits.membership_lost()
        self._post(inputs.Lost(self._assignments.generations(_partition_of(place) for place in places)))
        self._give_up(client, places)

    def _drain(self, partitions: list[TopicPartition]) -> None:
        """Wait until the pipeline has released these partitions; commit what it submits."""
        waiting = set(self._assignments.generations(partitions))
        for partition in partitions:
            self._backlog.drop(partition)
        self._post(inputs.Revoked(tuple(sorted(waiting))))
        deadline = self._host.monotonic() + self._policy.drain_seconds + _DRAIN_GRACE_SECONDS
        while not waiting <= self._released and self._host.monotonic() < deadline and not self._closing.is_set():
            try:
                command = self._commands.get(timeout=self._policy.seconds)
            except Empty:
                continue
            match command:
                case commands.Commit(points):
                    self._commits.queue(points)
                case commands.Release():
                    self._carry_out(command)
                case _:
                    self._put_off.append(command)
        self._commits.send()
        if late := waiting - self._released:
            self._post(inputs.Lost(tuple(sorted(late))))

    def _give_up(self, client: Consumer, places: list[KafkaTopicPartition]) -> None:
        for place in places:
            generation = self._assignments.give_up(_partition_of(place))
            if generation is not None:
                self._released.discard(generation)
        if self._policy.incremental:
            client.incremental_unassign(places)
        else:
            client.unassign()


def _partition_of(place: KafkaTopicPartition) -> TopicPartition:
    return TopicPartition(place.topic, place.partition)
