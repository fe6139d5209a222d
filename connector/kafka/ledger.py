"""The ledger topic: facts are appended, assignments are restored (docs/how-it-works.md#the-ledger).

A restore never guesses. If the ledger cannot be read to its end, or has an entry that no connector
writes there, the partition is refused with the text that says what an operator can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any, cast

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from connector.avro import ledger_entry
from connector.core.commit_metadata import LedgerPosition, names_its_offset
from connector.core.dedupe import Seen, SeenKeys
from connector.core.recovery import OutOfRange, PartitionState, Recovery, Refusal, Restoration, Written
from connector.errors import (
    KafkaDenied,
    KafkaStalled,
    KafkaUnavailable,
    LedgerRefused,
    LedgerUnavailable,
    LogDamaged,
)
from connector.kafka import reader
from connector.kafka.cluster import Cluster
from connector.kafka.host import HOST, Host
from connector.kafka.producer import ConfirmingProducer
from connector.kafka.reader import Read
from connector.model import UNKNOWN_EPOCH, Facts, LedgerIdentity, TopicDescription, TopicPartition
from connector.ports import Confirmation, LedgerTopics

__all__ = ["KafkaLedger", "LedgerPolicy", "LedgerReader", "entries"]

_FIX = (
    "Facts are neither guessed nor skipped: make a replica the leader that is intact. If there is none, delete the "
    "ledger's records up to there (kafka-delete-records.sh), and set the value of ACCEPT that the next start prints"
)

_REPORT_EVERY = 250
"""Entries between two reports of progress."""
_BURST_SECONDS = 5.0
"""Maximum age of a description of the topics that a restore uses."""
_LOOK_SECONDS = 0.1
"""How often a restore that waits for another's answer checks whether it is still wanted."""

Progress = Callable[[int, int], None]
"""Takes the number of entries that were read, and their total."""


def _unreported(_read: int, _of: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """Whose facts the ledger holds, how long it keeps them, and what an operator has accepted."""

    group: str
    destination: bytes
    dedupe_key: bytes
    accept: frozenset[str]
    out_of_range: OutOfRange
    retention_ms: int
    """Minimum time for which the ledger keeps an entry: `DedupePolicy.ledger_ms`."""
    wall_ms: Callable[[], int]
    """The clock that decides which entries the ledger must still hold."""
    seen: Callable[[], Seen] = SeenKeys
    """Returns an empty window, for the keys in the entries."""

    def identity(self, cluster_id: str, source: TopicPartition, topic_id: str) -> LedgerIdentity:
        """Return whose facts those about a source partition are."""
        return LedgerIdentity(
            cluster_id=cluster_id,
            source_topic=source.topic,
            source_topic_id=topic_id,
            partition=source.partition,
            group=self.group,
            destination=self.destination,
            dedupe_key=self.dedupe_key,
        )


@dataclass(frozen=True, slots=True)
class _Checked:
    """A source topic and its ledger, described and checked."""

    asked: float
    """Monotonic second at which the brokers were asked."""
    source: TopicDescription
    ledger: TopicDescription


class KafkaLedger:
    """The ledgers of one connector: one topic per source topic, one partition per source partition.

    ``append_time`` is False for brokers without a clock, as the embedded one, which reports a
    constant; the wall clock is trusted then. ``cluster_id`` is asked for once if it is not given.

    Assignments come in bursts, and a topic with many partitions takes long to describe. So restores
    that wait at the same time share one description. It is at most `_BURST_SECONDS` old, and was
    asked for after the assignment.
    """

    def __init__(
        self,
        policy: LedgerPolicy,
        cluster: Cluster,
        own: LedgerTopics,
        producer: ConfirmingProducer,
        reader_properties: dict[str, Any],
        topic_for: Callable[[str], str],
        *,
        append_time: bool = True,
        cluster_id: str | None = None,
        read: Read = reader.read,
        host: Host = HOST,
    ) -> None:
        self._host = host
        self._asking = host.semaphore(1)
        self._checked: dict[str, _Checked] = {}
        self._append_time = append_time
        self._policy = policy
        self._cluster = cluster
        self._own = own
        self._producer = producer
        self.topic_for = topic_for
        self._cluster_id = cluster_id
        self._reader = LedgerReader(policy, cluster, reader_properties, read)

    @property
    def cluster_id(self) -> str:
        """The cluster's id; blocks the first time unless it was given."""
        if self._cluster_id is None:
            self._cluster_id = self._cluster.cluster_id()
        return self._cluster_id

    def append(self, source: TopicPartition, topic_id: str, facts: Facts, report: Callable[[Confirmation], None]) -> None:
        """Append an entry; ``report`` is called once it is confirmed or has failed."""
        value = ledger_entry.encode(self._policy.identity(self.cluster_id, source, topic_id), facts)
        confirm = report if self._append_time else lambda confirmation: report(replace(confirmation, append_ms=None))
        self._producer.write(self.topic_for(source.topic), source.partition, value, confirm)

    def restore(
        self,
        source: TopicPartition,
        *,
        truncated: bool = False,
        wanted: Callable[[], bool] = lambda: True,
        progress: Progress = _unreported,
        since: float = inf,
    ) -> Recovery:
        """Return what an assignment starts with. Blocks while the ledger partition is read.

        ``since`` is the monotonic second at which the restore was requested; without one, the
        topics are checked for this restore alone. Once ``wanted`` returns False, the restore ends
        as if the ledger could not be read.

        Raises:
            LedgerRefused: an operator must decide.
            Unavailable: it cannot be read for now.
        """
        with self._cluster.asked_while(wanted):
            topics = self._topics(source, since, wanted)
            return self._reader.recover(
                self.cluster_id,
                source,
                topics.source,
                topics.ledger,
                truncated=truncated,
                wanted=wanted,
                progress=progress,
            )

    def _topics(self, source: TopicPartition, since: float, wanted: Callable[[], bool]) -> _Checked:
        """Describe and check the topics, unless a restore did so just now, after ``since``."""
        with self._turn(source, wanted):
            found, now = self._checked.get(source.topic), self._host.monotonic()
            if found is None or found.asked <= since or now - found.asked > _BURST_SECONDS:
                topic = self._cluster.describe(source.topic)
                if topic is None:
                    raise LedgerUnavailable(f"topic {source.topic} does not exist")
                self._checked[source.topic] = found = _Checked(now, topic, self._own.ensure(topic))
            return found

    @contextmanager
    def _turn(self, source: TopicPartition, wanted: Callable[[], bool]) -> Iterator[None]:
        while not self._asking.acquire(timeout=_LOOK_SECONDS):
            if not wanted():
                raise LedgerUnavailable(f"{source}: nobody waits for it any more")
        try:
            yield
        finally:
            self._asking.release()


class LedgerReader:
    """Finds out where a partition starts, and which of its records have facts. Changes nothing."""

    def __init__(self, policy: LedgerPolicy, cluster: Cluster, properties: dict[str, Any], read: Read = reader.read) -> None:
        self._read = read
        self._policy = policy
        self._cluster = cluster
        self._properties = properties

    def recover(
        self,
        cluster_id: str,
        source: TopicPartition,
        topic: TopicDescription,
        ledger: TopicDescription | None,
        *,
        truncated: bool = False,
        newest: int | None = None,
        wanted: Callable[[], bool] = lambda: True,
        progress: Progress = _unreported,
    ) -> Recovery:
        """Read a ledger partition to its end; blocks.

        With ``newest``, at most so many of the newest entries are read, to check whether the
        partition could start. A missing ``ledger``, or partition of it, counts as an empty one.

        Raises:
            LedgerRefused: an operator must decide.
            Unavailable: it cannot be read for now.
        """
        identity = self._policy.identity(cluster_id, source, topic.topic_id)
        place = TopicPartition(ledger.name if ledger is not None else "", source.partition)
        state = self._state(source, place, ledger)
        # If commit and log ends suffice for a refusal, nothing is read.
        self._finish(self._begin(identity, state), state, truncated=truncated, unread=True)
        restoration = self._begin(identity, state)
        self._take_all(restoration, place, _first_to_read(state, newest), state.ledger.next_offset, wanted, progress)
        skipped = self._skipped(restoration, source, state, wanted)
        if skipped is None and ledger is not None and restoration.never_began(state):
            skipped = self._skipped_since_others_began(identity, source, state, ledger, wanted)
        return self._finish(restoration, state, truncated=truncated, skipped=skipped)

    def _state(self, source: TopicPartition, place: TopicPartition, ledger: TopicDescription | None) -> PartitionState:
        """Ask the brokers for the commit and for the ends of both logs.

        The commit comes first: an intact ledger reaches at least as far as an earlier commit relies
        on.
        """
        committed = self._cluster.committed(source)
        first, end = self._cluster.offsets(source)
        exists = ledger is not None and source.partition < ledger.partitions
        ledger_first, ledger_end = self._cluster.offsets(place) if exists else (0, 0)
        position = LedgerPosition(ledger.topic_id if ledger is not None else "", ledger_end)
        return PartitionState(first, end, committed, position, ledger_first, self._policy.wall_ms())

    def _begin(self, identity: LedgerIdentity, state: PartitionState) -> Restoration:
        policy = self._policy
        return Restoration(identity, policy.accept, policy.retention_ms, state.committed, policy.seen())

    def _finish(
        self,
        restoration: Restoration,
        state: PartitionState,
        *,
        truncated: bool,
        skipped: int | None = None,
        unread: bool = False,
    ) -> Recovery:
        found = restoration.finish(state, self._policy.out_of_range, truncated=truncated, skipped=skipped, unread=unread)
        if isinstance(found, Refusal):
            raise LedgerRefused(found.message)
        return found

    def _take_all(
        self,
        restoration: Restoration,
        place: TopicPartition,
        first: int,
        end: int,
        wanted: Callable[[], bool],
        progress: Progress,
    ) -> None:
        """Take in the entries of a stretch of the ledger; blocks."""
        try:
            messages = self._read(self._properties, place, first, end, wanted)
            for number, (message, entry) in enumerate(entries(messages, place, first, end)):
                if number % _REPORT_EVERY == 0:
                    progress(number, end - first)
                _take(restoration, place, message, entry)
        except KafkaDenied:
            raise
        except KafkaStalled as error:
            self._cluster.offsets(place)  # raises if the leader does not answer
            raise LedgerRefused(f"{error}, although its leader answers: it is damaged there. {_FIX}") from error
        except LogDamaged as error:
            raise LedgerRefused(f"the ledger cannot be read: {error}. {_FIX}") from error
        except KafkaUnavailable as error:
            raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error

    def _skipped(
        self, restoration: Restoration, source: TopicPartition, state: PartitionState, wanted: Callable[[], bool]
    ) -> int | None:
        """Return the first record without a fact that the commit skips, if it is in doubt."""
        doubt = restoration.in_doubt(state)
        if doubt is None:
            return None
        first, end = doubt
        _, stable = self._cluster.offsets(source, stable=True)
        end_of_read = min(end, stable)
        try:
            with closing(cast("Any", self._read(self._properties, source, first, end_of_read, wanted))) as records:
                for record in records:
                    epoch, offset = record.leader_epoch(), record.offset() or 0
                    if not restoration.resolved.covers(offset, UNKNOWN_EPOCH if epoch is None else epoch):
                        return offset
                    first = offset + 1
        except KafkaStalled:
            self._cluster.offsets(source)  # raises if the leader does not answer
            return first
        except LogDamaged:
            return first  # a record that cannot be read has no fact; such a commit is made to give it up
        return stable if stable < end else None  # an open transaction: its records have no facts either

    def _skipped_since_others_began(
        self,
        identity: LedgerIdentity,
        source: TopicPartition,
        state: PartitionState,
        ledger: TopicDescription,
        wanted: Callable[[], bool],
    ) -> int | None:
        """Return the first skipped record that is younger than the facts of other partitions.

        A partition that is new, or that another consumer had first, has no facts. A commit that
        means "start from now" skips only what is older than the connector's first entry in any
        partition.
        """
        others = [TopicPartition(ledger.name, number) for number in range(ledger.partitions) if number != source.partition]
        began = self._cluster.first_times(others)
        for place in sorted(began, key=began.__getitem__):
            first, end = self._cluster.offsets(place)
            if first >= end:
                continue
            with closing(cast("Any", self._read(self._properties, place, first, first + 1, wanted))) as messages:
                _, entry = next(entries(messages, place, first, first + 1))
            owner = entry.header
            if (owner.source_topic_id, owner.destination) == (identity.source_topic_id, identity.destination):
                skipped = self._cluster.offset_at(source, began[place])
                return skipped if skipped is not None and skipped < cast("Any", state.committed).next_offset else None
        return None


def _first_to_read(state: PartitionState, newest: int | None) -> int:
    """Return the first ledger offset to read.

    Only all facts together tell whether somebody else's commit skips a record. So after such a
    commit, ``newest`` does not count.
    """
    if newest is None or (state.committed is not None and not names_its_offset(state.committed.metadata)):
        return state.ledger_first
    return max(state.ledger_first, state.ledger.next_offset - newest)


def entries(
    messages: Iterable[Message], place: TopicPartition, first: int, end: int
) -> Iterator[tuple[Message, ledger_entry.LedgerEntry]]:
    """Decode the records of a stretch of a ledger partition.

    There is one at each offset, because the ledger is written without transactions, and records
    without keys are not compacted. So a missing record was lost, or the offset of its batch, which
    no checksum covers, has changed.

    Raises:
        LedgerRefused: a record is missing, damaged or not ours; the text names the offset.
    """
    expected, decoder = first, ledger_entry.EntryDecoder()
    for message in messages:
        if message.offset() != expected:
            break
        yield message, _decoded(place, message, decoder)
        expected += 1
    if expected < end:
        raise LedgerRefused(f"{place}, offset {expected}: the entry there is missing. {_FIX}")


def _decoded(place: TopicPartition, message: Message, decoder: ledger_entry.EntryDecoder) -> ledger_entry.LedgerEntry:
    where, value = f"{place}, offset {message.offset()}", message.value()
    if value is None:
        raise LedgerRefused(f"{where}: a record without a value, which the connector never writes")
    try:
        entry = decoder.decode(value)
    except LedgerRefused as refusal:
        raise LedgerRefused(f"{where}: {refusal}") from refusal
    if entry.header.partition != place.partition:
        raise LedgerRefused(
            f"{where}: an entry of partition {entry.header.partition}, which the connector never writes there; its facts "
            "would be taken for facts about other records"
        )
    return entry


def _take(restoration: Restoration, place: TopicPartition, message: Message, entry: ledger_entry.LedgerEntry) -> None:
    kind, append_ms = message.timestamp()
    written = Written(message.offset() or 0, 0 if kind == TIMESTAMP_NOT_AVAILABLE else append_ms, entry.start)
    refusal = restoration.take(entry.header, entry.runs, entry.keys, entry.times, written)
    if refusal is not None:
        raise LedgerRefused(f"{place}: {refusal.message}")
