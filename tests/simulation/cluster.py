"""A Kafka cluster at the level of its Python client: topics, a group, committed offsets, and the clients' calls.

`MemberClient` and `ReaderClient` stand for ``confluent_kafka.Consumer``, `ProducerClient` for ``Producer``,
`AdminClient` for the admin client, so that everything in ``connector/kafka`` runs as it is. What a real cluster may do
and does seldom, this one does often: `Odds` says how often.
``tests/contract`` holds it to what a real one does.

Where Kafka checks less than one may think, so does this: a commit is taken from every current member, whoever owns the
partition; a record that was reported as failed may be there, or turn up later; a retried one may be there twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random
from types import SimpleNamespace
from typing import Any, Protocol, cast
from zlib import crc32

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
)
from confluent_kafka import TopicPartition as Place

from connector.avro import ledger_entry
from connector.errors import LedgerRefused
from connector.kafka import reader
from connector.kafka.cluster import _TRIES_SECONDS
from connector.model import TopicPartition
from tests.simulation.cuts import COORDINATOR, Cuts
from tests.simulation.records import Calendar, Row
from tests.simulation.virtual_time import HOST, Process, VirtualLoop

__all__ = [
    "SESSION_SECONDS",
    "AdminClient",
    "Cluster",
    "Commit",
    "Journal",
    "MemberClient",
    "Odds",
    "ProducerClient",
    "ReaderClient",
    "Stored",
    "read",
]

SESSION_SECONDS = 6.0
"""After which the coordinator takes a member that it does not hear for dead, of either protocol."""
_HEARTBEAT_SECONDS = 1.0
_DELIVERY_SECONDS = 7.0
"""After which a record that cannot be sent counts as failed."""
_SOURCE_SETTINGS = {"max.message.bytes": "1048588", "min.insync.replicas": "1"}
_TRIES = len(_TRIES_SECONDS)
_DEFAULTS = {"retention.ms": "604800000", "message.timestamp.type": "CreateTime"}


@dataclass(frozen=True, slots=True)
class Odds:
    """How often things go wrong, each from 0 to 1."""

    append: float = 0.0
    """A record written to the ledger is reported as failed; half of those are there all the same, or turn up later."""
    letter: float = 0.0
    """The same of a dead letter."""
    twice: float = 0.0
    """A record is there twice: the client retried one that had arrived."""
    queue_full: float = 0.0
    commit: float = 0.0
    """A commit is refused, or its answer is lost."""
    admin: float = 0.0
    """A question to the brokers is not answered."""
    end_unknown: float = 0.0
    """The brokers do not know a partition's end offset for a moment."""
    read: float = 0.0
    """A read of the ledger ends in an error."""
    seek: float = 0.0
    """The client refuses to seek for a moment."""
    stall: float = 0.0
    """A poll takes long."""
    error: float = 0.0
    """A poll brings an error that passes."""
    slow: float = 0.0
    """An answer takes seconds."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record in a partition, as a client hands it out. An error is one, too."""

    place: TopicPartition | None
    at: int
    content: bytes | None = None
    record_key: bytes | None = None
    fields: Sequence[tuple[str, bytes | None]] = ()
    written: tuple[int, int] = (TIMESTAMP_CREATE_TIME, 0)
    under: int | None = None
    failure: KafkaError | None = None
    row: Row | None = None
    marker: bool = False
    """It has an offset and is no record: the end of a transaction."""

    def topic(self) -> str | None:
        return self.place.topic if self.place else None

    def partition(self) -> int | None:
        return self.place.partition if self.place else None

    def offset(self) -> int:
        return self.at

    def __len__(self) -> int:
        """Return the size of the value, as the client does."""
        return len(self.value() or b"")

    def value(self) -> bytes | None:
        return self.content

    def key(self) -> bytes | None:
        return self.record_key

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """As the client does: one name that is no UTF-8, and there are none to be had (confluent-kafka 2.16)."""
        if self.row is not None and self.row.unreadable_headers:
            if self.fields is self.row.headers:
                raise SystemError("<method 'headers'> returned a result with an exception set")
            return cast("list[tuple[str, bytes | None]]", self.fields)  # as they were set
        return list(self.fields) or None

    def set_headers(self, fields: Any) -> None:
        """Have other headers from now on."""
        object.__setattr__(self, "fields", fields)

    def timestamp(self) -> tuple[int, int]:
        return self.written

    def leader_epoch(self) -> int | None:
        return self.under

    def error(self) -> KafkaError | None:
        return self.failure


@dataclass(slots=True, eq=False)
class Topic:
    """A topic and its partitions."""

    name: str
    topic_id: str
    partitions: list[list[Stored]]
    settings: dict[str, str]
    first: list[int] = field(default_factory=list)
    """The first offset of each partition."""

    ends: list[int] = field(default_factory=list)
    """The offset after which nothing is yet, where all before it was deleted."""

    damaged: set[tuple[int, int]] = field(default_factory=set)
    """Partition and offset of what its broker's disk no longer has as it was written."""

    def __post_init__(self) -> None:
        self.first = [0] * len(self.partitions)
        self.ends = [0] * len(self.partitions)

    def mark(self, partition: int, epoch: int | None = None) -> None:
        """End a transaction behind the last record: a marker takes an offset."""
        log = self.partitions[partition]
        last = log[-1]
        epoch = last.under if epoch is None else epoch
        log.append(Stored(last.place, last.at + 1, under=epoch, row=last.row, marker=True))

    def cut_start(self, partition: int, before: int) -> None:
        """Delete the records below an offset."""
        self.first[partition] = before
        self.ends[partition] = max(self.ends[partition], before)
        self.partitions[partition] = [stored for stored in self.partitions[partition] if stored.at >= before]


@dataclass(frozen=True, slots=True)
class Commit:
    """What a group has committed."""

    next_offset: int
    epoch: int
    metadata: str


class Journal(Protocol):
    """Is told what a cluster sees; the oracle is one."""

    def wrote(self, stored: Stored) -> None:
        """A record is in a topic that is not the source."""

    def asked_to_commit(self, process: Process, place: TopicPartition, commit: Commit) -> None:
        """A member asks for a commit of a partition that is assigned to it."""

    def commits_what_it_has_not(self, process: Process, place: TopicPartition) -> None:
        """A member asks for a commit of a partition that it gave up."""

    def committed(self, place: TopicPartition, commit: Commit, process: Process | None) -> None:
        """The group has a commit, of a process or of somebody else."""

    def taken_away(self, process: Process, partition: int) -> None:
        """The group took a partition away without its owner knowing."""

    def happened(self, what: str) -> None:
        """Something went wrong on purpose."""


class Cluster:
    """Topics, committed offsets and the group of one simulated cluster."""

    def __init__(self, loop: VirtualLoop, dice: Random, odds: Odds, journal: Journal, *, incremental: bool = True) -> None:
        self.loop = loop
        self.dice = dice
        self.odds = odds
        self.calm = False
        self.journal = journal
        self.incremental = incremental
        self.topics: dict[str, Topic] = {}
        self.committed: dict[TopicPartition, Commit] = {}
        self.calendar = Calendar()
        self.group = Group(self)
        self.cuts = Cuts(loop)
        self._ids = 0
        self._silences: dict[object, int] = {}

    # ---- what the world does

    def create(self, name: str, partitions: int, settings: dict[str, str]) -> Topic:
        self._ids += 1
        topic = Topic(name, f"id-{self._ids}-{name}", [[] for _ in range(partitions)], _DEFAULTS | settings)
        self.topics[name] = topic
        return topic

    def create_source(self, name: str, logs: Sequence[Sequence[Row]]) -> None:
        topic = self.create(name, len(logs), dict(_SOURCE_SETTINGS))
        for partition, log in enumerate(logs):
            topic.partitions[partition] = [a_source_record(name, row) for row in log]
            topic.first[partition] = log[0].offset if log else 0

    def chance(self, odds: float) -> bool:
        return not self.calm and self.dice.random() < odds

    def silent(self, question: object, odds: float) -> bool:
        """Tell whether brokers have no answer: to one question, or as often as the connector asks it again."""
        left = self._silences.get(question, 0) or (self.dice.choice((1, _TRIES)) if self.chance(odds) else 0)
        self._silences[question] = 0 if self.calm else max(left - 1, 0)
        return left > 0 and not self.calm

    def delay(self, most: float = 1.0) -> float:
        """Draw a delay: most are short, and while all is well all are."""
        return self.dice.random() ** 3 * (0.1 if self.calm else most)

    def wall_ms(self) -> int:
        return self.calendar.wall_ms(self.loop.time())

    def truncate(self, place: TopicPartition, kept: int, grown: Sequence[Row]) -> None:
        """Lose all but the first ``kept`` of a log, as by an unclean election, and let others grow in their place."""
        log = self.topics[place.topic].partitions[place.partition]
        log[kept:] = [a_source_record(place.topic, row) for row in grown]

    def commit(self, place: TopicPartition, commit: Commit, process: Process | None = None) -> None:
        """Have the group's offset be this."""
        self.committed[place] = commit
        self.journal.committed(place, commit, process)

    def cut(self, process: Process, targets: Iterable[TopicPartition | str], seconds: float) -> None:
        """Keep a process from some brokers for a while."""
        self.cuts.cut(process, targets, seconds)
        for member in list(self.group.members):
            member.out_of_reach(process)

    def calm_down(self) -> None:
        """From here on nothing goes wrong any more, and what went wrong is fixed."""
        self.calm = True
        self.cuts.restore()
        for topic in self.topics.values():
            topic.damaged.clear()

    # ---- logs

    def bounds(self, place: TopicPartition) -> tuple[int, int]:
        """Return first and end offset of a partition, as of now."""
        topic = self.topics[place.topic]
        visible = self.visible(place)
        first = topic.first[place.partition]
        return first, max(visible[-1].at + 1 if visible else first, topic.ends[place.partition])

    def visible(self, place: TopicPartition) -> list[Stored]:
        """Return the records of a partition that have been produced by now."""
        log = self.topics[place.topic].partitions[place.partition]
        if log and log[-1].row is not None and log[-1].row.born > self.loop.time():
            now = self.loop.time()
            return [stored for stored in log if stored.row is not None and stored.row.born <= now]
        return log

    def append(self, place: TopicPartition, draft: Stored) -> Stored:
        """Write a record at the end of a partition."""
        topic = self.topics[place.topic]
        log = topic.partitions[place.partition]
        by_broker = topic.settings["message.timestamp.type"] == "LogAppendTime"
        kind, written = (TIMESTAMP_LOG_APPEND_TIME, self.wall_ms()) if by_broker else draft.written
        stored = Stored(
            place,
            max(log[-1].at + 1 if log else 0, topic.ends[place.partition]),
            draft.content,
            draft.record_key,
            draft.fields,
            (kind, written or self.wall_ms()),
            0,
        )
        log.append(stored)
        self.journal.wrote(stored)
        return stored


def a_source_record(topic: str, row: Row) -> Stored:
    return Stored(
        TopicPartition(topic, row.partition),
        row.offset,
        row.value,
        row.record_key,
        row.headers,
        (TIMESTAMP_CREATE_TIME, row.timestamp_ms),
        row.epoch,
        None,
        row,
    )


def failure(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


@cache
def _flipped(value: bytes) -> bytes:
    """Return what a disk has that lost one bit: of a ledger's entry, one that can be read, and says something else."""
    for bit in range(8 * len(value)):
        other = bytearray(value)
        other[bit // 8] ^= 1 << bit % 8
        try:
            was, found = ledger_entry.decode(value), ledger_entry.decode(bytes(other))
        except LedgerRefused:
            continue
        if found.header == was.header and found.runs != was.runs:
            return bytes(other)
    return value[:-1] + bytes([value[-1] ^ 1])


# ---- the group


class GroupMember(Protocol):
    """What the coordinator knows of a member, and what it says to it."""

    member_id: str

    def wants(self) -> list[TopicPartition]:
        """Return what it subscribed to."""

    def hear(self, what: Callable[[], None]) -> None:
        """Be told, a little later."""

    def assign_new(self, given: list[TopicPartition]) -> None:
        """Be given partitions."""

    def revoke(self, wanted: list[TopicPartition]) -> None:
        """Be asked to give partitions up."""

    def hear_of_eviction(self) -> None:
        """Count as dead."""

    def journal_loss(self, place: TopicPartition) -> None:
        """Have a partition taken away."""

    def answered_by_now(self) -> None:
        """Take note of the heartbeats that were answered until now."""

    def out_of_reach(self, process: Process) -> None:
        """The coordinator may hear this member no more."""


class Group:
    """The coordinator of one group: who has which partition.

    Incremental assignments move partition by partition; others take all back before anything is given. A member that the
    coordinator takes for dead loses everything at once, and learns of it when it next hears from the coordinator.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._names = 0
        self.members: list[GroupMember] = []
        self.owners: dict[TopicPartition, GroupMember] = {}
        self._target: dict[TopicPartition, GroupMember] = {}
        self._leaving: set[TopicPartition] = set()

    def join(self, member: GroupMember) -> None:
        self._names += 1
        member.member_id = f"member-{self._names}"
        self.members.append(member)
        self.rebalance()

    def leave(self, member: GroupMember) -> None:
        """A member said good-bye, having given up all it had."""
        self._drop(member)
        self.rebalance()

    def evict(self, member: GroupMember) -> None:
        """Take a member for dead: its partitions are free at once."""
        if member.member_id:
            member.answered_by_now()
            self._drop(member)
            member.hear_of_eviction()
            self.rebalance()

    def _drop(self, member: GroupMember) -> None:
        member.member_id = ""
        if member in self.members:
            self.members.remove(member)
        for place in [place for place, owner in self.owners.items() if owner is member]:
            member.journal_loss(place)
            del self.owners[place]
            self._leaving.discard(place)

    def rebalance(self) -> None:
        """Decide anew who is to have what."""
        places = sorted(place for member in self.members for place in member.wants())
        places = list(dict.fromkeys(places))
        self._cluster.dice.shuffle(places)
        members = list(self.members)
        self._cluster.dice.shuffle(members)
        self._target = {place: members[at % len(members)] for at, place in enumerate(places)} if members else {}
        moving = [
            place
            for place, owner in sorted(self.owners.items())
            if place not in self._leaving and (not self._cluster.incremental or self._target.get(place) is not owner)
        ]
        for member in members:
            mine = [place for place in moving if self.owners[place] is member]
            if mine:
                self._leaving.update(mine)
                member.hear(partial(member.revoke, mine))
        self.hand_out()

    def given_up(self, member: GroupMember, places: Iterable[TopicPartition]) -> None:
        """A member that still counts gave partitions up."""
        for place in places:
            if self.owners.get(place) is member:
                del self.owners[place]
                self._leaving.discard(place)
        self.hand_out()

    def hand_out(self) -> None:
        """Give free partitions to those who are to have them; all at once where assignments are not incremental."""
        if not self._cluster.incremental and self.owners:
            return
        for member in list(self.members):
            given = sorted(place for place, to in self._target.items() if to is member and place not in self.owners)
            for place in given:
                self.owners[place] = member
            if given or (self._cluster.dice.random() < 0.1 and self._cluster.incremental):
                member.hear(partial(member.assign_new, given))


class _Client:
    """What all clients have: a process that may end at each call."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._process: Process = properties["simulated.process"]
        self._cluster: Cluster = properties["simulated.cluster"]
        self._checks = bool(properties.get("check.crcs"))

    def _reaches(self, target: TopicPartition | str) -> bool:
        return self._cluster.cuts.reaches(self._process, target)

    def _when_reached(self, target: TopicPartition | str, do: Callable[[], None]) -> None:
        self._cluster.cuts.when_reached(self._process, target, do)

    def _is_damaged(self, stored: Stored) -> bool:
        place = stored.place
        return place is not None and (place.partition, stored.at) in self._cluster.topics[place.topic].damaged

    def _wait(self, seconds: float) -> None:
        """Block this thread."""
        deadline = self._cluster.loop.time() + seconds
        while self._cluster.loop.time() < deadline:
            self._process.block(deadline)

    def _take_a_while(self) -> None:
        """Block as long as a broker takes to answer: mostly no time at all."""
        if self._cluster.dice.random() < 0.3:
            self._wait(self._cluster.delay(4.0 if self._cluster.chance(self._cluster.odds.slow) else 0.2))


class MemberClient(_Client):
    """``confluent_kafka.Consumer`` as a member of the group."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self._on_commit = properties["on_commit"]
        self.member_id = ""
        self.polled_at = self._cluster.loop.time()
        """When a poll last came to an end."""
        self._topics: list[str] = []
        self._callbacks: dict[str, Callable[..., None]] = {}
        self._heard: deque[Callable[[], None]] = deque()
        self._answers: deque[Callable[[], None]] = deque()
        """To commits; unlike what was heard of the group, they outlast the membership."""
        self._hears_at = 0.0
        self._positions: dict[TopicPartition, tuple[int, int]] = {}
        self._paused: set[TopicPartition] = set()
        self._commits: deque[Callable[[], None]] = deque()
        self._errors: deque[Stored] = deque()
        self._stopped: set[TopicPartition] = set()
        """Partitions of which an error was told, or dropped: they stand still until they are sought."""
        self._astray: set[TopicPartition] = set()
        """Partitions that it reads where nothing is; it does not seek them, they must be assigned anew."""
        self._late_answers: set[TopicPartition] = set()
        """Partitions that it reads from their beginning once it has handed out records from where they were sought."""
        self._ends: dict[TopicPartition, int] = {}
        """The end of a log that was told of last."""
        self._tells_ends = bool(properties.get("enable.partition.eof"))
        self.watches_session = properties.get("group.protocol") != "consumer"
        """By its own clock; only the classic protocol of librdkafka does (2.16, ``rd_kafka_cgrp_session_timeout_check``)."""
        self._answered_at = self._cluster.loop.time()
        self._asleep_until = 0.0
        self._halted = self._halted_until = 0.0
        self._told_of_loss = True
        self._closed = False

    # ---- the coordinator speaks

    def wants(self) -> list[TopicPartition]:
        topics = self._cluster.topics
        return [
            TopicPartition(name, n) for name in self._topics if name in topics for n in range(len(topics[name].partitions))
        ]

    def hear(self, what: Callable[[], None]) -> None:
        """Be told at the next poll, or a little later."""
        member_id = self.member_id

        def arrive() -> None:
            if self.member_id == member_id:
                self._heard.append(what)

        def come_in() -> None:
            self._when_reached(COORDINATOR, arrive)

        # In order: one connection.
        self._hears_at = max(self._hears_at + 1e-6, self._cluster.loop.time() + self._cluster.delay(0.5))
        self._cluster.loop.call_at(self._hears_at, come_in)

    @property
    def since_answer(self) -> float:
        """Seconds since the coordinator last answered it as a member."""
        self.answered_by_now()
        return self._cluster.loop.time() - self._answered_at

    def answered_by_now(self) -> None:
        """Take note of the heartbeats that were answered until now."""
        now = self._cluster.loop.time()
        speaks = self._process.alive and not self._closed and now >= self._asleep_until
        if self.member_id and speaks and self._reaches(COORDINATOR):
            self._answered_at = now

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while, as a process that was stopped, or a host that was suspended: it sends no heartbeat."""
        self.answered_by_now()
        self._halt(seconds)
        self._asleep_until = self._cluster.loop.time() + seconds
        self._expect_session_end()

    def _halt(self, seconds: float) -> None:
        self._halted += seconds
        self._halted_until = max(self._cluster.loop.time() + seconds, self._halted_until)

    @property
    def halted(self) -> float:
        """For how many seconds, at most, it could do nothing until now."""
        return self._halted - max(self._halted_until - self._cluster.loop.time(), 0.0)

    def out_of_reach(self, process: Process) -> None:
        """The coordinator may hear this member no more."""
        if process is self._process and not self._reaches(COORDINATOR):
            now = self._cluster.loop.time()
            self._answered_at = max(self._answered_at, now - _HEARTBEAT_SECONDS * self._cluster.dice.random())
            self._expect_session_end()

    def _expect_session_end(self) -> None:
        self._cluster.loop.call_at(self._answered_at + SESSION_SECONDS, self._end_session, self._answered_at)

    def _end_session(self, answered_at: float) -> None:
        self.answered_by_now()
        if self.member_id and self._answered_at == answered_at:
            self._cluster.journal.happened("session ended")
            self._cluster.group.evict(self)
            if self.watches_session:
                self._cluster.loop.call_later(self._cluster.delay(0.3), self._tell_of_loss)

    def journal_loss(self, place: TopicPartition) -> None:
        self._cluster.journal.taken_away(self._process, place.partition)

    def hear_of_eviction(self) -> None:
        self._heard.clear()
        self._told_of_loss = False
        hears_at = max(self._cluster.loop.time() + self._cluster.delay(6.0), self._asleep_until)
        self._cluster.loop.call_at(hears_at, self._when_reached, COORDINATOR, self._tell_of_loss)

    def _tell_of_loss(self) -> None:
        """By the answer to a heartbeat, or by its own clock. One that wakes up has other things to do first."""
        if self._cluster.loop.time() < self._asleep_until:
            self._cluster.loop.call_at(self._asleep_until + 0.1 + self._cluster.delay(0.8), self._tell_of_loss)
        elif not self._told_of_loss:
            self._told_of_loss = True
            self._heard.append(self.lose)

    @property
    def assigned(self) -> set[TopicPartition]:
        """The partitions it was given and did not give up, by its own knowledge."""
        return set(self._positions)

    def assign_new(self, given: list[TopicPartition]) -> None:
        self._callbacks["on_assign"](self, [Place(*place) for place in given])

    def revoke(self, wanted: list[TopicPartition]) -> None:
        mine = [place for place in wanted if place in self._positions]
        member_id = self.member_id
        if mine:
            patience = 60.0 if self._cluster.calm else self._cluster.dice.choice((2.0, 60.0, 60.0))
            late = self._cluster.loop.call_later(patience, self._revoke_timed_out, member_id)
            self._callbacks["on_revoke"](self, [Place(*place) for place in mine])
            late.cancel()
        self._when_reached(COORDINATOR, lambda: self._have_given_up(wanted, member_id))

    def _have_given_up(self, wanted: list[TopicPartition], member_id: str) -> None:
        if self.member_id and self.member_id == member_id:
            self._flush_commits()
            self._cluster.group.given_up(self, wanted)

    def _revoke_timed_out(self, member_id: str) -> None:
        """The group waits for nobody for ever."""
        if self.member_id == member_id:
            self._cluster.journal.happened("revoke timed out")
            self._cluster.group.evict(self)

    def lose(self) -> None:
        """Learn that the group took everything away some time ago, and join again."""
        mine = sorted(self._positions)
        if mine:
            self._callbacks["on_lost"](self, [Place(*place) for place in mine])
        self._when_reached(COORDINATOR, self._join)

    def _join(self) -> None:
        if not self._closed and not self.member_id and self._process.alive:
            self._cluster.group.join(self)

    # ---- the client's calls

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self._process.step()
        self._topics, self._callbacks = topics, callbacks
        self._when_reached(COORDINATOR, self._join)

    def memberid(self) -> str:
        return self.member_id

    def consume(self, most: int, seconds: float) -> list[Stored]:
        self._process.step()
        loop, odds = self._cluster.loop, self._cluster.odds
        if self._cluster.chance(odds.stall):
            self._cluster.journal.happened("poll stalls")
            stalled = self._cluster.dice.choice((2.0, 4.0, 8.0))
            self._halt(stalled)
            self._wait(stalled)
        self._wait(self._asleep_until - loop.time())
        if self._cluster.chance(odds.error):
            self._errors.append(Stored(None, -1, failure=KafkaError(KafkaError._ALL_BROKERS_DOWN)))
        deadline = loop.time() + seconds
        at_once = self._cluster.dice.random() < 0.5
        while True:
            if self._answers:
                self._answers.popleft()()
            elif self._heard:
                self._heard.popleft()()
            elif (at_once or loop.time() >= deadline) and (found := self._fetch(most)):
                break
            elif loop.time() >= deadline:
                found = []
                break
            else:
                self._process.block(deadline)
        self.polled_at = loop.time()
        self._process.step()
        return found

    def _fetch(self, most: int) -> list[Stored]:
        found = list(self._errors)
        self._errors.clear()
        places = [place for place in self._positions if place not in self._paused and place not in self._stopped]
        self._cluster.dice.shuffle(places)
        for place in places:
            if len(found) < most and self._reaches(place):
                found += self._fetch_of(place, most - len(found))
        return found

    def _fetch_of(self, place: TopicPartition, room: int) -> list[Stored]:
        position, code = self._seen_from(place)
        if code is not None:
            self._stopped.add(place)
            return [Stored(place, position, failure=KafkaError(code))]
        found: list[Stored] = []
        epoch = self._positions[place][1]
        most = min(room, self._cluster.dice.randint(1, 8))
        for stored in self._cluster.visible(place):
            if stored.at < position:
                continue
            if not stored.marker and len(found) >= most:
                break
            damaged = self._is_damaged(stored)
            if damaged and self._checks:
                # What it does then depends on the bytes, and on its version: it goes on behind, or asks for the same again,
                # or takes the middle of the batch for the next, and with it an offset that is nowhere.
                found.append(Stored(place, stored.at, failure=KafkaError(KafkaError._BAD_MSG)))
                what = self._cluster.dice.random()
                if what > 0.7:
                    position, epoch = self._cluster.bounds(place)[1] + 1_000, -1
                    self._astray.add(place)
                if what > 0.2:
                    break
            elif not stored.marker:
                found.append(replace(stored, content=_flipped(stored.content or b"\0") if damaged else stored.content))
            position, epoch = stored.at + 1, stored.under or 0
        else:
            end = self._cluster.bounds(place)[1]
            ended = position == end and self._ends.get(place) != end and len(found) < room
            if ended and self._tells_ends and self._cluster.dice.random() < 0.7:
                self._ends[place] = end
                found.append(Stored(place, end, failure=KafkaError(KafkaError._PARTITION_EOF)))
        if found or position != self._positions[place][0]:
            self._positions[place] = position, epoch
        if found and place in self._late_answers:
            self._late_answers.discard(place)
            self._positions[place] = self._cluster.bounds(place)[0], -1
        return found

    def _seen_from(self, place: TopicPartition) -> tuple[int, int | None]:
        """Return the absolute position, and the code of the error that it leads to."""
        position, epoch = self._positions[place]
        first, end = self._cluster.bounds(place)
        position = first if position == OFFSET_BEGINNING else position
        if _cut(self._cluster.visible(place), position, epoch):
            return position, int(KafkaError._LOG_TRUNCATION)
        return position, None if first <= position <= end else int(KafkaError._AUTO_OFFSET_RESET)

    def pause(self, places: list[Place]) -> None:
        self._process.step()
        self._drop_errors(places)
        self._paused |= {TopicPartition(place.topic, place.partition) for place in places}

    def resume(self, places: list[Place]) -> None:
        self._process.step()
        self._drop_errors(places)
        self._paused -= {TopicPartition(place.topic, place.partition) for place in places}

    def _drop_errors(self, places: list[Place]) -> None:
        """An error that was found out before a pause or a resume is not told after it; the partition stands still."""
        for place in (TopicPartition(place.topic, place.partition) for place in places):
            self._ends.pop(place, None)  # an end is told of again
            if place in self._positions and self._seen_from(place)[1] is not None and self._cluster.dice.random() < 0.5:
                self._cluster.journal.happened("error dropped")
                self._stopped.add(place)

    def seek(self, place: Place) -> None:
        self._process.step()
        where = TopicPartition(place.topic, place.partition)
        if where in self._astray or self._cluster.chance(self._cluster.odds.seek):
            raise failure(KafkaError._STATE)
        asked = self._positions[where][0] == OFFSET_BEGINNING
        # The late answer to where that is undoes the seek.
        undone = asked and self._cluster.odds != Odds() and self._cluster.dice.random() < 0.1
        if undone:
            self._cluster.journal.happened("seek undone")
        self._positions[where] = _position(place)
        self._stopped.discard(where)
        self._late_answers.discard(where)
        if undone and self._cluster.dice.random() < 0.5:
            self._late_answers.add(where)
        elif undone:
            self._positions[where] = self._cluster.bounds(where)[0], -1
        self._ends.pop(where, None)

    def incremental_assign(self, places: list[Place]) -> None:
        self._process.step()
        assert self._cluster.incremental
        self._positions |= {TopicPartition(place.topic, place.partition): _position(place) for place in places}
        self._stopped -= {TopicPartition(place.topic, place.partition) for place in places}
        self._ends.clear()

    def incremental_unassign(self, places: list[Place]) -> None:
        self._process.step()
        for place in places:
            where = TopicPartition(place.topic, place.partition)
            del self._positions[where]
            for states in (self._astray, self._paused, self._late_answers):
                states.discard(where)

    def assign(self, places: list[Place]) -> None:
        self._process.step()
        assert not self._cluster.incremental
        self._positions = {TopicPartition(place.topic, place.partition): _position(place) for place in places}
        self._paused, self._stopped, self._astray, self._late_answers = set(), set(), set(), set()
        self._ends.clear()

    def unassign(self) -> None:
        self._process.step()
        self._positions, self._paused = {}, set()

    def get_watermark_offsets(self, place: Place, *, cached: bool) -> tuple[int, int]:
        return self._cluster.bounds(TopicPartition(place.topic, place.partition))

    # ---- commits

    def commit(self, *, offsets: list[Place], asynchronous: bool) -> list[Place]:
        assert asynchronous, "a commit that waits itself has no bound"
        self._process.step()
        member_id = self.member_id
        for place in offsets:
            where = TopicPartition(place.topic, place.partition)
            if where in self._positions:
                self._cluster.journal.asked_to_commit(self._process, where, _commit(place))
            else:
                self._cluster.journal.commits_what_it_has_not(self._process, where)
        arrival = self._cluster.loop.time() + self._cluster.delay(0.5)
        self._commits.append(partial(self._commit_and_report, offsets, member_id))
        self._cluster.loop.call_at(arrival, self._flush_commits_of, member_id)
        return offsets

    def _flush_commits_of(self, member_id: str) -> None:
        """What was sent by a process that crashed since arrives as well; what could not be sent waits."""

        def arrive() -> None:
            if self._process.alive or self._cluster.dice.random() < 0.5:
                self._flush_commits()

        if not self._reaches(COORDINATOR):
            self._cluster.dice.shuffle(
                self._commits
            )  # of what it holds back the older may be the last to be made (librdkafka 2.16)
        self._when_reached(COORDINATOR, arrive)

    def _flush_commits(self) -> None:
        waiting, self._commits = self._commits, deque()
        for done in waiting:
            done()

    def _commit_and_report(self, offsets: list[Place], member_id: str) -> None:
        error = self._take(offsets, member_id)
        self._answers.append(lambda: self._on_commit(None if error is None else KafkaError(error), offsets))

    def _take(self, offsets: list[Place], member_id: str) -> int | None:
        """Commit, if the coordinator knows this member still; return the code of the error."""
        if not member_id or member_id != self.member_id:
            return int(KafkaError.UNKNOWN_MEMBER_ID)
        fails = self._cluster.chance(self._cluster.odds.commit)
        if fails:
            self._cluster.journal.happened("commit refused")
        if not fails or self._cluster.dice.random() < 0.5:
            for place in offsets:
                self._cluster.commit(TopicPartition(place.topic, place.partition), _commit(place), self._process)
        return int(KafkaError.REQUEST_TIMED_OUT) if fails else None

    def close(self) -> None:
        self._process.step()
        self._closed = True
        mine = sorted(self._positions)
        if mine:
            callback = self._callbacks["on_revoke" if self.member_id else "on_lost"]
            callback(self, [Place(*place) for place in mine])
        if self._reaches(COORDINATOR):  # else its session ends some time
            self._flush_commits()
            if self.member_id:
                self._cluster.group.leave(self)


def _position(place: Place) -> tuple[int, int]:
    return place.offset, _epoch(place)


def _commit(place: Place) -> Commit:
    return Commit(place.offset, _epoch(place), place.metadata or "")


def _epoch(place: Place) -> int:
    epoch: int | None = place.leader_epoch  # its stub says that it is never None
    return -1 if epoch is None else epoch


def _cut(log: list[Stored], position: int, epoch: int) -> bool:
    """Tell whether the log no longer has the record that a position was reached by."""
    if epoch < 0:
        return False
    below = [stored for stored in log if stored.at < position]
    return (bool(below) and below[-1].under != epoch) or (bool(log) and position > log[-1].at + 1)


# ---- readers of the ledger


class ReaderClient(_Client):
    """``confluent_kafka.Consumer`` outside of any group."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self._place = TopicPartition("", 0)
        self._position = 0
        self._ended = False

    def assign(self, places: list[Place]) -> None:
        self._process.step()
        (place,) = places
        self._place, self._position = TopicPartition(place.topic, place.partition), place.offset

    def consume(self, most: int, seconds: float) -> list[Stored]:
        self._process.step()
        self._take_a_while()
        if self._cluster.chance(self._cluster.odds.read):
            self._cluster.journal.happened("ledger cannot be read")
            return [Stored(self._place, -1, failure=KafkaError(KafkaError._TRANSPORT))]
        if not self._reaches(self._place):
            self._wait(seconds)
            return []
        log = [stored for stored in self._cluster.visible(self._place) if not stored.marker]
        found = [stored for stored in log if stored.at >= self._position][: min(most, self._cluster.dice.randint(1, 50))]
        damaged = next((at for at, stored in enumerate(found) if self._is_damaged(stored)), None)
        if damaged == 0 and self._checks:
            return [Stored(self._place, self._position, failure=KafkaError(KafkaError._BAD_MSG))]
        if damaged is not None:
            bad = found[damaged]
            found[damaged:] = (
                [] if self._checks else [replace(bad, content=_flipped(bad.content or b"")), *found[damaged + 1 :]]
            )
        if found:
            self._position, self._ended = found[-1].at + 1, False
        elif self._ended:
            self._wait(seconds)
        else:
            self._ended, self._position = True, max(self._position, self._cluster.bounds(self._place)[1])
            found = [Stored(self._place, self._position, failure=KafkaError(KafkaError._PARTITION_EOF))]
        return found

    def committed(self, places: list[Place], timeout: float) -> list[Place]:
        """Of the one group that there is."""
        self._process.step()
        self._take_a_while()
        deadline = self._cluster.loop.time() + timeout
        while not self._reaches(COORDINATOR) and self._cluster.loop.time() < deadline:
            self._wait(0.5)
        self._process.step()
        if not self._reaches(COORDINATOR):
            raise failure(KafkaError._TIMED_OUT)
        if self._cluster.chance(self._cluster.odds.admin):
            self._cluster.journal.happened("brokers do not answer")
            raise failure(KafkaError._TIMED_OUT)
        return [self._committed(TopicPartition(place.topic, place.partition)) for place in places]

    def _committed(self, place: TopicPartition) -> Place:
        commit = self._cluster.committed.get(place)
        if commit is None:
            return Place(*place, -1001)
        if commit.epoch < 0:
            return Place(*place, commit.next_offset, metadata=commit.metadata)
        return Place(*place, commit.next_offset, metadata=commit.metadata, leader_epoch=commit.epoch)

    def close(self) -> None:
        """Nothing is open."""


def read(
    properties: dict[str, Any], place: TopicPartition, first: int, end: int, wanted: Callable[[], bool] = lambda: True
) -> Iterator[Any]:
    """Read as the connector does, from this cluster."""
    return reader.read(properties, place, first, end, wanted, cast("Any", ReaderClient), HOST)


# ---- the producer


class ProducerClient(_Client):
    """``confluent_kafka.Producer``."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self._reports: deque[Callable[[], None]] = deque()
        self._underway = 0
        self._polling = False

    def produce(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        headers: list[tuple[str, bytes | None]],
        timestamp: int,
        on_delivery: Callable[[KafkaError | None, Any], None],
    ) -> None:
        self._process.step()
        cluster, odds = self._cluster, self._cluster.odds
        if cluster.chance(odds.queue_full):
            raise BufferError
        if topic not in cluster.topics:
            self._underway += 1
            error, nothing = KafkaError(KafkaError._UNKNOWN_TOPIC), Stored(None, -1)
            cluster.loop.call_later(cluster.delay(2.0), self._report, on_delivery, error, nothing)
            return
        count = len(cluster.topics[topic].partitions)
        place = TopicPartition(topic, partition if partition >= 0 else crc32(key or b"") % count)
        draft = Stored(None, -1, value, key, headers, (TIMESTAMP_CREATE_TIME, timestamp))
        self._underway += 1
        if self._reaches(place):
            self._send(place, draft, on_delivery, odds.append if partition >= 0 else odds.letter)
        else:
            self._keep(place, draft, on_delivery)
        self._process.step()

    def _keep(self, place: TopicPartition, draft: Stored, on_delivery: Callable[..., None]) -> None:
        """Keep a record until its leader can be reached, or its time is over."""
        kept = [draft]

        def send() -> None:
            if kept:
                self._send(place, kept.pop(), on_delivery, 0.0)

        def give_up() -> None:
            if kept:
                self._report(on_delivery, KafkaError(KafkaError._MSG_TIMED_OUT), kept.pop())

        self._when_reached(place, send)
        self._cluster.loop.call_later(_DELIVERY_SECONDS, give_up)

    def _send(self, place: TopicPartition, draft: Stored, on_delivery: Callable[..., None], odds: float) -> None:
        cluster = self._cluster
        if cluster.chance(odds):
            cluster.journal.happened("write of unknown outcome")
            cluster.loop.call_later(
                cluster.delay(2.0), self._report, on_delivery, KafkaError(KafkaError._MSG_TIMED_OUT), draft
            )
            if cluster.dice.random() < 0.5:
                cluster.loop.call_later(cluster.delay(8.0), self._arrive, place, draft, None)
        else:
            cluster.loop.call_later(cluster.delay(1.0), self._arrive, place, draft, on_delivery)
            if cluster.chance(cluster.odds.twice):
                cluster.journal.happened("written twice")
                cluster.loop.call_later(cluster.delay(3.0), self._arrive, place, draft, None)

    def __len__(self) -> int:
        """Count what is with the client; asked when its queue was found full, which is not empty then."""
        return max(self._underway, 1)

    def _arrive(self, place: TopicPartition, draft: Stored, on_delivery: Callable[..., None] | None) -> None:
        """The brokers have it, unless its process ended before it left."""
        if place.topic not in self._cluster.topics or (not self._process.alive and self._cluster.dice.random() < 0.5):
            return
        stored = self._cluster.append(place, draft)
        if on_delivery is not None:
            self._cluster.loop.call_later(self._cluster.delay(0.5), self._report, on_delivery, None, stored)

    def _report(self, on_delivery: Callable[..., None], error: KafkaError | None, stored: Stored) -> None:
        self._reports.append(partial(on_delivery, error, stored))
        if self._polling:
            self._process.wake_all()

    def poll(self, seconds: float) -> int:
        """Serve reports. A poll without one, repeated, changes nothing: it is waited through, until something wakes us."""
        self._process.step()
        if not self._reports:
            self._polling = True
            self._process.block(None)
            self._polling = False
        return self._serve()

    def flush(self, seconds: float) -> int:
        deadline = self._cluster.loop.time() + seconds
        while self._underway and self._cluster.loop.time() < deadline:
            if not self._serve():
                self._polling = True
                self._process.block(deadline)
                self._polling = False
        return self._underway

    def _serve(self) -> int:
        served = len(self._reports)
        for _ in range(served):
            self._process.step()
            self._underway -= 1
            self._reports.popleft()()
        return served


# ---- the admin client


class _Answer(_Client):
    """What a question to the brokers gives: a future."""

    def __init__(self, properties: dict[str, Any], answer: Callable[[], Any]) -> None:
        super().__init__(properties)
        self._answer = answer

    def result(self, timeout: float | None = None) -> Any:
        self._process.step()
        self._take_a_while()
        self._process.step()
        if self._cluster.silent(self._process, self._cluster.odds.admin):
            self._cluster.journal.happened("brokers do not answer")
            raise self._cluster.dice.choice((TimeoutError(), failure(KafkaError._TIMED_OUT)))
        return self._answer()


class AdminClient:
    """``confluent_kafka.admin.AdminClient``."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._properties = properties
        self._cluster: Cluster = properties["simulated.cluster"]

    def _ask(self, answer: Callable[[], Any]) -> _Answer:
        return _Answer(self._properties, answer)

    def describe_cluster(self, request_timeout: float) -> _Answer:
        return self._ask(lambda: SimpleNamespace(cluster_id="cluster-1"))

    def describe_topics(
        self, asked: Any, *, include_authorized_operations: bool, request_timeout: float
    ) -> dict[str, _Answer]:
        def describe(name: str) -> SimpleNamespace:
            topic = self._cluster.topics.get(name)
            if topic is None:
                raise failure(KafkaError.UNKNOWN_TOPIC_OR_PART)
            partitions = [SimpleNamespace(replicas=[1]) for _ in topic.partitions]
            return SimpleNamespace(topic_id=topic.topic_id, partitions=partitions, authorized_operations=())

        return {name: self._ask(partial(describe, name)) for name in asked.topic_names}

    def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, _Answer]:
        def settings(name: str) -> dict[str, SimpleNamespace]:
            return {key: SimpleNamespace(value=value) for key, value in self._cluster.topics[name].settings.items()}

        return {resource: self._ask(partial(settings, resource.name)) for resource in resources}

    def list_offsets(self, asked: dict[Place, Any], *, isolation_level: Any, request_timeout: float) -> dict[Place, _Answer]:
        def offset(place: Place, spec: Any) -> SimpleNamespace:
            if not self._cluster.cuts.reaches(
                self._properties["simulated.process"], TopicPartition(place.topic, place.partition)
            ):
                return SimpleNamespace(offset=OFFSET_INVALID)
            if self._cluster.silent((place.topic, place.partition), self._cluster.odds.end_unknown):
                self._cluster.journal.happened("end offset unknown")
                return SimpleNamespace(offset=OFFSET_INVALID)
            where = TopicPartition(place.topic, place.partition)
            first, end = self._cluster.bounds(where)
            match type(spec).__name__:
                case "LatestSpec":
                    return SimpleNamespace(offset=end)
                case "EarliestSpec":
                    return SimpleNamespace(offset=first)
            for stored in self._cluster.visible(where):
                if not stored.marker and stored.written[1] >= spec._value:
                    return SimpleNamespace(offset=stored.at, timestamp=stored.written[1])
            return SimpleNamespace(offset=-1)

        return {place: self._ask(partial(offset, place, spec)) for place, spec in asked.items()}

    def create_topics(self, asked: list[Any], request_timeout: float, *, validate_only: bool) -> dict[str, _Answer]:
        def create(new: Any) -> None:
            if new.topic in self._cluster.topics:
                raise failure(KafkaError.TOPIC_ALREADY_EXISTS)
            if validate_only:
                return
            self._cluster.create(new.topic, new.num_partitions, dict(new.config))

        return {new.topic: self._ask(partial(create, new)) for new in asked}

    def create_partitions(self, asked: list[Any], request_timeout: float, *, validate_only: bool) -> dict[str, _Answer]:
        raise NotImplementedError("the ledger is made with as many partitions as the source has")
