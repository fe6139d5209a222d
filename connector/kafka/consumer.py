"""The thread that owns the consumer: it polls, decodes and carries out commands, and nobody else touches the client.

It talks to the event loop by two bounded ways: inputs are posted (at most `_POLLS_UNDER_WAY` polls at a time), commands come
in by a queue that is emptied between two polls. It keeps polling while everything is paused, so that the group never takes a
slow vendor for a dead member.

Rebalancing: an assignment starts paused at the beginning; the pipeline restores the ledger and says where to seek. A revoke
waits, inside the callback, until the pipeline has drained and released each partition; commits are made right there, while
they are still accepted. A generation number names one assignment of one partition: whatever is addressed to an older one is
not carried out (docs/how-it-works.md#answers-belong-to-an-assignment).
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.core import exchange as x
from connector.errors import KafkaUnavailable, SchemaUnavailable
from connector.intake import Intake, Origin
from connector.model import UNKNOWN_EPOCH, Poll, TopicPartition
from connector.ports import Record

__all__ = ["MOST_POLLS_AFTER_A_PAUSE", "PollPolicy", "SourceConsumer", "Watcher"]

_POLLS_UNDER_WAY = 2
MOST_POLLS_AFTER_A_PAUSE = _POLLS_UNDER_WAY + 1
"""Polls that may still be handled from the one on that makes the pipeline pause: those posted, and one not posted yet."""
_RECORDS_AT_ONCE = 100
"""Asked of the client at once: as many calls for a poll as can be afforded, for what it holds is known between them only."""
_EVENT_BYTES = 1_000
"""What an event takes as encoded beyond what its values take: names, punctuation."""
_SEEK_TRIES = 50
_SEEK_AGAIN_SECONDS = 0.1
_JOIN_SECONDS = 10.0
_SCHEMA_AGAIN_SECONDS = 1.0
_SLICE_SECONDS = 1.0
"""The longest time of decoding between two polls of the client, but for one record. Records made to
be costly take seconds a poll. A member that does not poll is taken for dead by the group
(``max.poll.interval.ms``), or stops sending (half the session)."""
_WAKING_SECONDS = 1.0
"""A heartbeat is overdue when a process wakes, and is sent and answered at once."""
_LEAVE_SECONDS = 10.0
"""With the default of ``DRAIN_TIMEOUT`` and the producer's last seconds it fits into a grace period of a minute."""
_LAST_COMMIT_SECONDS = 5.0
"""Of these for the last commits; what is not committed then is found in the ledger."""
_COMMIT_SECONDS = 600.0
"""How long a commit may be without an answer before the next one is tried all the same. Longer than a coordinator is away,
for of two that the client holds back the older may be the last to be made; it answers each (librdkafka 2.16, its source)."""
_REFUSED_SECONDS = 60.0
"""After an operator's matter was last heard of, a member that waits may count as let in again."""
_DRAIN_GRACE_SECONDS = 5.0
"""Beyond the pipeline's own deadline: if the loop hangs, the group must not wait for it."""
_RESTART = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001 - librdkafka's own codes are named so
_OPERATOR = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - the same
    }
)
_OUT = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID, KafkaError.FENCED_MEMBER_EPOCH})
"""To a commit: we are no member any more. Other codes are those of a member whose group changes at that moment, too."""
_NEVER = float("-inf")
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - the same

Command = x.Start | x.StartOver | x.Pause | x.Resume | x.Commit | x.Release


class Watcher(Protocol):
    """Is told what happens on the consumer's thread. Called from that thread."""

    def consumer_error(self, code: str, partition: TopicPartition | None) -> None:
        """Take note of an error the client reported; it goes on by itself."""

    def schema_unavailable(self, failure: SchemaUnavailable | None, partitions: int) -> None:
        """Take note that so many partitions wait for a schema; None when none does any more."""

    def committed(self, partition: TopicPartition, next_offset: int) -> None:
        """Take note of a commit that the brokers took."""

    def commit_failed(self, partition: TopicPartition, code: str) -> None:
        """Take note of a commit that the brokers refused."""


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How the thread polls."""

    topics: tuple[str, ...]
    incremental: bool
    """Whether assignments change partition by partition: cooperative-sticky, or the KIP-848 protocol."""
    drain_seconds: float
    sleep_seconds: float = 22.5
    """A pause between two polls that may have cost the session: half of it."""
    names_itself: bool = False
    """Whether a member has an id before the group has let it in: the KIP-848 protocol."""
    records: int = 1000
    """Of one poll at most (limits: consume(1000) is the fastest; 10,000 is three times slower)."""
    size: int = 1_000_000
    """Bytes after which a poll takes no further records, with `_EVENT_BYTES` counted for each beside its value."""
    seconds: float = 0.1
    """One poll waits so long for records, and a command for it."""


@dataclass(slots=True)
class _Column:
    """What one poll yielded of one partition."""

    origin: Origin
    messages: list[Message]
    since: float
    """The monotonic second of the poll."""
    reached: int = 0
    """Where the log ended after them; 0 where it goes on."""


class SourceConsumer:
    """Owns the consumer on a thread of its own."""

    def __init__(
        self,
        properties: dict[str, Any],
        policy: PollPolicy,
        intake: Intake,
        cluster_id: str,
        post: Callable[[x.Input | Exception], None],
        watcher: Watcher,
    ) -> None:
        self._consumer = Consumer(properties | {"on_commit": self._on_commit})
        self._policy = policy
        self._intake = intake
        self._cluster_id = cluster_id
        self._post = post
        self._watcher = watcher
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._slots = threading.Semaphore(_POLLS_UNDER_WAY)
        self._generations = itertools.count(1)
        self._mine: dict[TopicPartition, Origin] = {}
        self._positions: dict[TopicPartition, KafkaTopicPartition] = {}
        self._reached: dict[TopicPartition, int] = {}
        self._fetching: set[TopicPartition] = set()
        self._refused_positions: dict[TopicPartition, int] = {}
        self._unreadable: dict[TopicPartition, str] = {}  # and the name of an error not posted yet
        self._damage: dict[TopicPartition, str] = {}  # the last such error, until something is read again
        self._released: set[int] = set()
        self._put_off: list[Command] = []
        self._uncommitted: dict[TopicPartition, x.CommitPoint] = {}
        self._committing_until: float | None = None
        self._asked = _NEVER  # monotonic second at which the commit was made that is answered next
        self._undecoded: list[_Column] = []
        self._undecoded_until = 0.0
        self._held: set[TopicPartition] = set()
        self._lacks_schema = False
        self._largest = policy.size  # bytes of the largest of the records last polled; at first, the worst
        self._waiting_since = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._began = self.last_poll = time.monotonic()
        """Monotonic second at which the last poll that counts began; read by other threads."""
        self.vouched = _NEVER
        """Monotonic second at which the last commit was made that the coordinator took; read by other threads."""
        self._awake_at = 0.0
        self.joined = False
        """Whether the group has let us in."""
        self.refused: tuple[float, str] | None = None
        """The monotonic second and the code of the last error that an operator must look at."""

    # ---- called from the event loop

    def start(self) -> None:
        """Subscribe and begin to poll."""
        self._thread.start()

    def submit(self, command: Command) -> None:
        """Have a command carried out between two polls, in order."""
        self._commands.put(command)

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that are ours at this moment."""
        return list(self._mine)

    def reading(self) -> dict[TopicPartition, int]:
        """Return the partitions that are fetched at this moment, and up to where each was read."""
        places = {each: self._positions.get(each) for each in self._fetching - self._held}
        return {p: max(place.offset, self._reached.get(p, 0)) for p, place in places.items() if place is not None}

    def polled_handled(self) -> None:
        """Say that a poll posted was handled: the next may be."""
        self._slots.release()

    def close(self, seconds: float = _LEAVE_SECONDS) -> bool:
        """Leave the group; block until the thread has ended, or for so long, and tell whether it has."""
        self._closing.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # ---- the thread

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                list(self._policy.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._closing.is_set():
                self._carry_out_all()
                self._decode_again()
                self._poll()
                self.joined = self.joined or self._let_in()
                self._commit([])  # what waited for the answer to the last
            self._carry_out_all()  # the last commits were submitted before the end was asked for
            self._commit_the_last()
            self._consumer.close()
        except Exception as error:  # noqa: BLE001 - whatever ends this thread must end the process, with its reason
            self._post(error)

    def _polled(self, began: float) -> None:
        """Note a poll. One that began after a long sleep does not count yet.

        The process may have slept past its session. The first polls after that hand out what was fetched before, and only
        then does the client hear from the brokers, or see by its own clock, that its partitions are another's.
        """
        if began - self._began > self._policy.sleep_seconds:
            self._awake_at = began + _WAKING_SECONDS
        self._began = began
        if began >= self._awake_at:
            self.last_poll = began

    def _let_in(self) -> bool:
        """Tell whether the group has let us in although it assigned nothing.

        A KIP-848 member names itself and is not told of an empty assignment (seen with Apache Kafka 4.4): one that was
        neither refused nor given anything for `_JOIN_SECONDS` is taken for a spare.
        """
        if self._policy.names_itself:
            now = time.monotonic()
            refused = self.refused is not None and self.refused[0] > max(self._waiting_since, now - _REFUSED_SECONDS)
            return not refused and now - self._waiting_since > _JOIN_SECONDS
        return bool(self._consumer.memberid())

    def _carry_out_all(self) -> None:
        commands, self._put_off = self._put_off, []
        for command in commands:
            self._carry_out(command)
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case x.Commit(points):
                self._commit(points)
            case x.Release(_, generation):
                self._released.add(generation)
            case x.Start(partition, generation) if self._is_mine(partition, generation):
                self._mine[partition] = Origin(partition, generation, self._cluster_id, command.topic_id)
                self._positions[partition] = _place(partition, command.offset, command.epoch)
            case x.StartOver(partition, generation) if self._is_mine(partition, generation):
                self._restart(partition)
            case x.Resume(partition, generation) if self._is_mine(partition, generation):
                self._fetching.add(partition)
                if partition not in self._held:
                    self._resume(partition)
            case x.Pause(partition, generation) if self._is_mine(partition, generation):
                self._fetching.discard(partition)
                self._consumer.pause([KafkaTopicPartition(*partition)])
            case _:
                pass  # addressed to an assignment that has ended

    def _is_mine(self, partition: TopicPartition, generation: int) -> bool:
        origin = self._mine.get(partition)
        return origin is not None and origin.generation == generation

    def _resume(self, partition: TopicPartition) -> None:
        """Go on at the partition's position, in this order.

        The client says of a position only once that it is outside the log, or that the log was cut below it, then stands
        still; and it forgets to say so when a pause or a resume comes between (librdkafka 2.16, seen on a loaded machine).
        So every resume ends in a seek, which has the client look again.
        """
        self._unreadable.pop(partition, None)
        self._consumer.resume([KafkaTopicPartition(*partition)])
        # Without an epoch the client does not validate the offset against the log's history; with it a log truncated below
        # this offset is reported as such instead of read on from another record
        # (docs/how-it-works.md#what-a-commit-rests-on).
        place = self._positions[partition]
        for _ in range(_SEEK_TRIES):
            try:
                self._consumer.seek(place)
            except KafkaException as error:
                # Refused for a moment while an assignment settles.
                if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - librdkafka's own codes are named so
                    raise
                time.sleep(_SEEK_AGAIN_SECONDS)
            else:
                return
        self._restart(partition)

    # ---- records

    def _poll(self) -> None:
        """Poll, decode and post; a poll ends by its size too, or a few large records would be more than the buffer holds."""
        columns: dict[Origin, _Column] = {}
        records, size, seconds = 0, 0, self._policy.seconds
        while records < self._policy.records and size < self._policy.size:
            # The next records are taken to be as large as the last.
            fitting = (self._policy.size - size) // self._largest
            asked = max(1, min(_RECORDS_AT_ONCE, self._policy.records - records, fitting))
            began = time.monotonic()
            found = self._consumer.consume(asked, seconds)
            self._polled(began)
            self._take_in(found, columns)
            if len(found) < asked:
                break
            sizes = [_size(message) for message in found]
            self._largest = max(sizes)
            records, size, seconds = records + len(found), size + sum(sizes), 0.0
        # A rebalance or an error meanwhile may have ended an assignment: what was read before belongs to it.
        self._decode([column for origin, column in columns.items() if self._mine.get(origin.partition) is origin])
        self._say_unreadable()

    def _take_in(self, messages: list[Message], columns: dict[Origin, _Column]) -> None:
        for message in messages:
            error = message.error()
            topic, number = message.topic(), message.partition()
            partition = TopicPartition(topic, number) if topic is not None and number is not None else None
            if error is not None and error.code() != _END:
                self._consumer_error(error, partition, message.offset())
            # Before, it is paused; a record of it all the same would be read again.
            elif partition in self._positions and partition not in self._unreadable:
                origin, offset = self._mine[partition], message.offset() or 0
                if error is None and offset < self._positions[partition].offset:
                    # The answer to where the beginning is came after the seek: the client then believes that, reads on from
                    # there, and did not look whether the log was cut below what was sought (librdkafka 2.16, seen on a
                    # loaded machine). Assigned at an absolute offset it need not ask, but fails where the log begins later.
                    self._watcher.consumer_error("POSITION_LOST", partition)
                    self._restart(partition)
                    continue
                column = columns.setdefault(origin, _Column(origin, [], time.monotonic()))
                if error is None:
                    column.messages.append(message)
                else:
                    column.reached = self._reached[partition] = offset
        for origin, column in columns.items():
            if self._mine.get(origin.partition) is origin:  # and did not begin anew by an error after them
                self._refused_positions.pop(origin.partition, None)
                if origin.partition not in self._unreadable:
                    self._damage.pop(origin.partition, None)
                if column.messages:
                    self._positions[origin.partition] = _after(column.messages[-1], origin.partition)

    def _decode(self, columns: list[_Column]) -> None:
        """Decode and post; where a schema cannot be had for now, or it takes too long, keep the rest and go on later.

        Partitions whose records are kept are not fetched meanwhile; none is once a poll's worth is kept.
        """
        polls: list[Poll] = []
        until = time.monotonic() + _SLICE_SECONDS
        for column in columns:
            late = bool(polls) and time.monotonic() >= until
            if late or column.origin.partition in {kept.origin.partition for kept in self._undecoded}:
                self._keep(column, 0.0 if late else _SCHEMA_AGAIN_SECONDS)  # after the records of its partition that wait
                continue
            waited = time.monotonic() - column.since
            records = cast("list[Record]", column.messages)  # its stub types headers wider
            poll, lacking = self._intake.read(column.origin, records, waited, lambda: time.monotonic() >= until)
            rest = replace(column, messages=column.messages[len(poll.offsets) :])
            if lacking is not None:
                self._keep(rest, _SCHEMA_AGAIN_SECONDS)
                self._lacks_schema = True
                self._watcher.schema_unavailable(lacking, len(self._held))
            elif rest.messages:
                self._keep(rest, 0.0)
            else:
                poll.reached = column.reached
            if poll.offsets or poll.reached:
                polls.append(poll)
        while polls and not self._closing.is_set():
            if self._slots.acquire(timeout=self._policy.seconds):
                self._post(x.Polled(tuple(polls)))
                return

    def _keep(self, column: _Column, seconds: float) -> None:
        """Keep records that are not decoded yet, to go on with them after so long at the latest."""
        again = time.monotonic() + seconds
        self._undecoded_until = min(again, self._undecoded_until) if self._undecoded else again
        self._undecoded.append(column)
        self._held.add(column.origin.partition)
        if sum(_size(message) for each in self._undecoded for message in each.messages) >= self._policy.size:
            self._held |= self._fetching
        self._consumer.pause([KafkaTopicPartition(*partition) for partition in self._held])

    def _decode_again(self) -> None:
        if not (self._held or self._lacks_schema) or time.monotonic() < self._undecoded_until:
            return
        columns, self._undecoded = self._undecoded, []
        held, self._held = self._held, set()
        lacked, self._lacks_schema = self._lacks_schema, False
        self._decode(columns)
        if lacked and not self._lacks_schema:  # also where the partitions that waited were revoked meanwhile
            if self._undecoded:
                self._lacks_schema = True  # what lacked one may not have had its turn
            else:
                self._watcher.schema_unavailable(None, 0)
        for partition in held - self._held:
            if partition in self._fetching:  # a restart in between may end the others, too
                self._resume(partition)

    def _consumer_error(self, error: KafkaError, partition: TopicPartition | None, offset: int | None) -> None:
        code = error.code()
        if error.fatal() or code == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own codes are named so
            # The code is _FATAL then, whatever the brokers said; only the text has it.
            raise KafkaUnavailable(
                f"the group lets this member in no more: {error.name()}, {error.str()}. "
                "If KAFKA_GROUP_INSTANCE_ID is set, no other process may have the same"
            )
        if code in _OPERATOR:
            self.refused = (time.monotonic(), error.name())
        self._watcher.consumer_error(error.name(), partition)
        if partition not in self._mine or partition in self._unreadable:
            return
        place = self._positions.get(partition)
        if code in _RESTART:
            # What it says of an offset that it has jumped to, from a batch that it could not read, is about nothing of ours.
            if partition not in self._damage or (place is not None and place.offset == offset):
                self._restart(partition, truncated=self._was_cut(partition, code))
            elif place is not None:
                self._stand_still(partition, self._damage[partition])
        elif code not in _OPERATOR and place is not None:
            self._stand_still(partition, error.name())

    def _stand_still(self, partition: TopicPartition, code: str) -> None:
        """Take nothing more of a partition until it is resumed, which has it read on from its position.

        A batch that cannot be decompressed the client asks for again without end. After one that fails its checksum it takes
        the middle of it for the next, jumps to whatever offset stands there, and says then that this is outside the log; or
        it goes on with what follows; a seek is no way back, for it refuses one then (librdkafka 2.16, tried). So it is
        assigned anew where the partition was read to.
        """
        self._unreadable[partition] = self._damage[partition] = code
        self._fetching.discard(partition)
        if self._policy.incremental:
            self._consumer.incremental_unassign([KafkaTopicPartition(*partition)])
            self._consumer.incremental_assign([self._positions[partition]])
            self._consumer.pause([KafkaTopicPartition(*partition)])
        else:
            self._consumer.assign([self._positions.get(each) or _beginning(each) for each in self._mine])
            fetched = self._fetching - self._held
            self._consumer.pause([KafkaTopicPartition(*each) for each in self._mine.keys() - fetched])

    def _say_unreadable(self) -> None:
        """Post what stands still since this poll, after what was read before it."""
        for partition, code in self._unreadable.items():
            if code:
                self._unreadable[partition] = ""
                self._post(x.Unreadable(self._mine[partition].generation, self._positions[partition].offset, code))

    def _was_cut(self, partition: TopicPartition, code: int) -> bool:
        """Tell whether the log lacks what the partition's position rests on, other records standing there by now.

        Where it may not reset, librdkafka says that of a cut log by the code it has for an offset outside the log
        (_AUTO_OFFSET_RESET, seen with 2.16). The restore sees the second at the ends of the log; a start that it found
        inside, and that is refused again before a record came, is the first.
        """
        place = self._positions.get(partition)
        again = place is not None and self._refused_positions.get(partition) == place.offset
        if place is not None:
            self._refused_positions[partition] = place.offset
        return again or code == KafkaError._LOG_TRUNCATION  # noqa: SLF001 - librdkafka's own codes are named so

    def _restart(self, partition: TopicPartition, *, truncated: bool = False) -> None:
        """Begin a partition anew: its position is gone, and the ledger must say again where it may start."""
        # An eager assignment changes as a whole, so all of it begins anew.
        anew = [partition] if self._policy.incremental else list(self._mine)
        places = [_beginning(each) for each in anew]
        self._post(x.Lost(tuple(self._mine[each].generation for each in anew)))
        if self._policy.incremental:
            self._consumer.incremental_unassign(places)
            self._consumer.incremental_assign(places)
        else:
            self._consumer.assign(places)
        self._consumer.pause(places)
        for each in anew:
            self._begin(each, truncated=truncated and each == partition, anew=True)

    # ---- commits

    def _commit(self, points: Iterable[x.CommitPoint]) -> None:
        """Commit, one request at a time; what has to wait for its turn goes with the next.

        Those that the client puts off, while it knows no coordinator, it makes up for in any order, and the committed
        offset would go back (seen with librdkafka 2.16).
        """
        self._uncommitted |= {point.partition: point for point in points}
        waits = self._committing_until is not None and time.monotonic() < self._committing_until
        places = [] if waits else self._take_uncommitted()
        if not places:
            return
        now = time.monotonic()  # before the call: its answer may be served within
        if self._committing_until is None:  # or the next answer may be to the older one
            self._asked = now
        self._committing_until = now + _COMMIT_SECONDS
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], places)

    def _commit_the_last(self) -> None:
        """Commit before leaving, and wait for the answers; a commit of the client that waits itself has no bound."""
        deadline = time.monotonic() + _LAST_COMMIT_SECONDS
        self._commit([])
        while self._committing_until is not None and time.monotonic() < deadline:
            self._consumer.consume(1, self._policy.seconds)  # serves the answer; a record is read again by its next owner
            self._commit([])

    def _take_uncommitted(self) -> list[KafkaTopicPartition]:
        points, self._uncommitted = self._uncommitted, {}
        mine = [point for point in points.values() if self._is_mine(point.partition, point.generation)]
        return [_place(point.partition, point.next_offset, point.epoch, point.metadata) for point in mine]

    def _on_commit(self, error: KafkaError | None, places: list[KafkaTopicPartition]) -> None:
        self._committing_until = None
        codes = {failed.code() if failed is not None else None for failed in (error or place.error for place in places)}
        if None in codes:
            self.vouched = max(self.vouched, self._asked)
        elif codes & _OUT:
            self.vouched = _NEVER
        self._committed(error, places)

    def _committed(self, error: KafkaError | None, places: list[KafkaTopicPartition]) -> None:
        for place in places:
            partition = TopicPartition(place.topic, place.partition)
            failed = error or place.error
            if failed is None:
                self._watcher.committed(partition, place.offset)
            else:
                self._watcher.commit_failed(partition, failed.name())
                if partition in self._mine:
                    self._post(x.CommitFailed(self._mine[partition].generation))

    # ---- the group

    def _begin(self, partition: TopicPartition, *, truncated: bool = False, anew: bool = False) -> None:
        origin = Origin(partition, next(self._generations), self._cluster_id, "")
        self._mine[partition] = origin
        self._forget_position(partition)
        self._undecoded = [column for column in self._undecoded if column.origin.partition != partition]
        self._post(x.Assigned(partition, origin.generation, truncated, anew))

    def _forget_position(self, partition: TopicPartition) -> None:
        for known in (self._positions, self._reached, self._unreadable):
            known.pop(partition, None)
        self._fetching.discard(partition)
        self._held.discard(partition)

    def _on_assign(self, consumer: Consumer, places: list[KafkaTopicPartition]) -> None:
        self.joined = True
        for place in places:
            place.offset = OFFSET_BEGINNING  # paused at once; the pipeline says where to seek
        if self._policy.incremental:
            consumer.incremental_assign(places)
        else:
            consumer.assign(places)
        if places:
            consumer.pause(places)
        for place in places:
            self._begin(TopicPartition(place.topic, place.partition))

    def _on_revoke(self, consumer: Consumer, places: list[KafkaTopicPartition]) -> None:
        if not self._closing.is_set():
            self._drain([TopicPartition(place.topic, place.partition) for place in places])
        self._give_up(consumer, places)

    def _drain(self, partitions: list[TopicPartition]) -> None:
        waiting = {self._mine[partition].generation for partition in partitions if partition in self._mine}
        self._undecoded = [column for column in self._undecoded if column.origin.generation not in waiting]
        self._post(x.Revoked(tuple(sorted(waiting))))
        deadline = time.monotonic() + self._policy.drain_seconds + _DRAIN_GRACE_SECONDS
        while not waiting <= self._released and time.monotonic() < deadline and not self._closing.is_set():
            try:
                command = self._commands.get(timeout=self._policy.seconds)
            except queue.Empty:
                continue
            match command:
                case x.Commit(points):
                    self._uncommitted |= {point.partition: point for point in points}
                case x.Release():
                    self._carry_out(command)
                case _:
                    # Nothing else is for a partition that drains, and an assignment does not change within a callback.
                    self._put_off.append(command)
        # Not waited for: the client joins again only when it has its answer. With another still out it is left undone, and
        # whoever has the partition next finds in the ledger what it would have said.
        self._commit([])
        if late := waiting - self._released:
            self._post(x.Lost(tuple(sorted(late))))

    def _on_lost(self, consumer: Consumer, places: list[KafkaTopicPartition]) -> None:
        self.joined, self._waiting_since = False, time.monotonic()
        # Nor does the answer to a commit count that was made before: it may come after the next that we are let in.
        self.vouched = self._asked = _NEVER
        partitions = [TopicPartition(place.topic, place.partition) for place in places]
        self._post(x.Lost(tuple(self._mine[partition].generation for partition in partitions if partition in self._mine)))
        self._give_up(consumer, places)

    def _give_up(self, consumer: Consumer, places: list[KafkaTopicPartition]) -> None:
        for place in places:
            partition = TopicPartition(place.topic, place.partition)
            origin = self._mine.pop(partition, None)
            self._forget_position(partition)
            self._refused_positions.pop(partition, None)
            self._damage.pop(partition, None)
            if origin is not None:
                self._released.discard(origin.generation)
                self._undecoded = [column for column in self._undecoded if column.origin is not origin]
        if self._policy.incremental:
            consumer.incremental_unassign(places)
        else:
            consumer.unassign()


def _size(message: Message) -> int:
    """Return what a record takes, its headers apart: a key may be as large as a value."""
    return len(message) + len(message.key() or b"") + _EVENT_BYTES


def _beginning(partition: TopicPartition) -> KafkaTopicPartition:
    return KafkaTopicPartition(*partition, OFFSET_BEGINNING)


def _after(message: Message, partition: TopicPartition) -> KafkaTopicPartition:
    epoch = message.leader_epoch()
    return _place(partition, (message.offset() or 0) + 1, UNKNOWN_EPOCH if epoch is None else epoch)


def _place(partition: TopicPartition, offset: int, epoch: int, metadata: str = "") -> KafkaTopicPartition:
    if epoch == UNKNOWN_EPOCH:
        return KafkaTopicPartition(partition.topic, partition.partition, offset, metadata=metadata)
    return KafkaTopicPartition(partition.topic, partition.partition, offset, metadata=metadata, leader_epoch=epoch)
