"""Restores from scripted answers of the brokers, with a reader that yields what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from connector.avro import ledger_entry
from connector.core.commit_metadata import LedgerPosition, commit_metadata
from connector.core.landmarks import Landmarks
from connector.core.recovery import CommittedOffset, OutOfRange, Recovery
from connector.errors import KafkaStalled, KafkaUnavailable, LedgerRefused, LedgerUnavailable, LogDamaged
from connector.kafka.host import Host
from connector.kafka.ledger import KafkaLedger, LedgerPolicy, LedgerReader
from connector.model import Facts, LedgerIdentity, Outcome, TopicDescription, TopicPartition

HOUR_MS = 3_600_000
RETENTION_MS = 8 * 24 * HOUR_MS
NOW_MS = 1_790_000_000_000
SOURCE, LEDGER = TopicPartition("orders", 0), TopicPartition("ledger", 0)
HEADER = LedgerIdentity("cluster", "orders", "orders-id", 0, "group", b"d" * 8, b"k" * 8)


class Brokers:
    """Says where partitions begin and end, and what is committed; notes which ends it was asked for."""

    def __init__(self, committed: CommittedOffset, ends: dict[TopicPartition, tuple[int, int]]) -> None:
        self._committed, self._ends = committed, ends
        self.silent: set[TopicPartition] = set()
        self.asked: list[TopicPartition] = []
        self.times: dict[TopicPartition, int] = {}
        """When the first entry of other partitions of the ledger was written."""
        self.produced: dict[int, int] = {}
        """When the records of the source were written, by offset."""

    def committed(self, _source: TopicPartition) -> CommittedOffset:
        return self._committed

    def offsets(self, place: TopicPartition, *, stable: bool = False) -> tuple[int, int]:
        self.asked.append(place)
        if place in self.silent and self.asked.count(place) > 2:
            raise KafkaUnavailable(f"{place}: no answer")
        return self._ends[place]

    def first_times(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: at for place, at in self.times.items() if place in places}

    def offset_at(self, _source: TopicPartition, time_ms: int) -> int | None:
        return min((offset for offset, at in self.produced.items() if at >= time_ms), default=None)


class AnEntry:
    """An entry of the ledger as it is read."""

    def __init__(self, offset: int, append_ms: int, facts: Facts, header: LedgerIdentity = HEADER) -> None:
        self._offset, self._append_ms, self._value = offset, append_ms, ledger_entry.encode(header, facts)

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self._append_ms


class ARecord:
    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return "conversions"

    def leader_epoch(self) -> int:
        return 3


class Logs(dict[TopicPartition, list[Any]]):
    """What is read of a partition: records, and an error last if reading it fails there."""

    def read(self, _properties: Any, place: TopicPartition, first: int, end: int, *_: Any) -> Iterator[Any]:
        for one in self[place]:
            if isinstance(one, Exception):
                raise one
            if first <= one.offset() < end:
                yield one


@pytest.fixture
def logs() -> Logs:
    return Logs()


def restored(brokers: Brokers, logs: Logs, wall_ms: Callable[[], int] = lambda: NOW_MS, partitions: int = 1) -> Recovery:
    policy = LedgerPolicy("group", b"d" * 8, b"k" * 8, frozenset(), OutOfRange(to_earliest=False), RETENTION_MS, wall_ms)
    source, ledger = (TopicDescription(name, f"{name}-id", partitions, 1, frozenset()) for name in ("orders", "ledger"))
    return LedgerReader(policy, cast("Any", brokers), {}, logs.read).recover("cluster", SOURCE, source, ledger)


def opened(start: int) -> Facts:
    return Facts(start=start)


def resolved(*offsets: int) -> Facts:
    facts = Facts()
    for offset in offsets:
        facts.add(offset, 3, Outcome.STALE)
    return facts


# ---- a host whose clock is behind


def emptied_by_retention() -> Brokers:
    """A ledger whose first entry retention deleted an hour ago, and that had another since."""
    landmarks = Landmarks(RETENTION_MS)
    landmarks.passed(0, NOW_MS - RETENTION_MS - HOUR_MS)
    metadata = commit_metadata("orders-id", LedgerPosition("ledger-id", 1), 5, str(landmarks))
    return Brokers(CommittedOffset(5, 3, metadata), {SOURCE: (0, 10), LEDGER: (1, 2)})


@pytest.mark.parametrize("behind_hours", [0, 6, 100])
def test_a_clock_that_is_behind_does_not_make_what_retention_deleted_a_loss(logs: Logs, behind_hours: int) -> None:
    logs[LEDGER] = [AnEntry(1, NOW_MS, opened(0))]

    assert restored(emptied_by_retention(), logs, lambda: NOW_MS - behind_hours * HOUR_MS).offset == 5


def test_a_ledger_that_was_emptied_is_refused_by_the_brokers_clock(logs: Logs) -> None:
    logs[LEDGER] = [AnEntry(1, NOW_MS - 3 * 24 * HOUR_MS, opened(0))]

    with pytest.raises(LedgerRefused, match=r"younger than its retention \(.* put back\)\)?: facts"):
        restored(emptied_by_retention(), logs, lambda: NOW_MS - 2 * 24 * HOUR_MS)


def test_where_no_entry_tells_the_brokers_clock_that_of_this_host_is_named_as_a_cause(
    logs: Logs,
) -> None:
    brokers = emptied_by_retention()
    brokers._ends[LEDGER] = (2, 2)
    logs[LEDGER] = []

    with pytest.raises(LedgerRefused, match="or the clock of this host"):
        restored(brokers, logs, lambda: NOW_MS - 6 * HOUR_MS)


# ---- somebody else's commit, and a source that cannot be read


def skipped_to(offset: int) -> Brokers:
    """A group in which somebody else committed; the ledger knows the records 0 to 2."""
    return Brokers(CommittedOffset(offset, 3, ""), {SOURCE: (0, 10), LEDGER: (0, 2)})


def three_judged(logs: Logs) -> None:
    logs[LEDGER] = [AnEntry(0, NOW_MS, opened(0)), AnEntry(1, NOW_MS, resolved(0, 1, 2))]


@pytest.mark.parametrize(
    "error", [KafkaStalled("nothing comes"), LogDamaged("other bytes")], ids=lambda error: type(error).__name__
)
def test_what_cannot_be_read_of_the_source_was_never_judged(logs: Logs, error: Exception) -> None:
    three_judged(logs)
    logs[SOURCE] = [ARecord(2), error]

    with pytest.raises(LedgerRefused, match="the record at offset 3 below it has no fact"):
        restored(skipped_to(7), logs)


def test_a_source_whose_leader_does_not_answer_is_read_later(logs: Logs) -> None:
    three_judged(logs)
    logs[SOURCE] = [ARecord(2), KafkaStalled("nothing comes")]
    brokers = skipped_to(7)
    brokers.silent = {SOURCE}

    with pytest.raises(KafkaUnavailable, match="no answer"):
        restored(brokers, logs)


def test_a_commit_that_skips_nothing_needs_no_operator(logs: Logs) -> None:
    three_judged(logs)
    logs[SOURCE] = [ARecord(2)]

    assert restored(skipped_to(3), logs).offset == 3


# ---- somebody else's commit, where another consumer had the partition first


def begun_elsewhere(logs: Logs, *began: tuple[int, LedgerIdentity]) -> Brokers:
    """Another consumer committed 7 in a partition that is new to us; the ledger's other partitions began at these times."""
    places = [TopicPartition("ledger", number) for number in range(1, len(began) + 1)]
    brokers = Brokers(CommittedOffset(7, 3, ""), {SOURCE: (0, 10), LEDGER: (0, 0)} | dict.fromkeys(places, (0, 1)))
    brokers.produced = {offset: NOW_MS + offset for offset in range(10)}
    logs[LEDGER] = []
    for place, (at, header) in zip(places, began, strict=True):
        brokers.times[place] = at
        logs[place] = [AnEntry(0, at, opened(0), replace(header, partition=place.partition))]
    return brokers


def test_what_is_skipped_is_younger_than_the_earliest_entry_of_all_other_partitions(logs: Logs) -> None:
    brokers = begun_elsewhere(logs, (NOW_MS + 6, HEADER), (NOW_MS + 4, HEADER))

    with pytest.raises(LedgerRefused, match="the record at offset 4 below it has no fact"):
        restored(brokers, logs, partitions=3)


def test_an_entry_of_another_destination_does_not_say_when_we_began(logs: Logs) -> None:
    another = replace(HEADER, destination=b"e" * 8)
    brokers = begun_elsewhere(logs, (NOW_MS + 2, another), (NOW_MS + 6, HEADER))

    with pytest.raises(LedgerRefused, match="the record at offset 6 below it has no fact"):
        restored(brokers, logs, partitions=3)


@pytest.mark.parametrize("began", [[], [NOW_MS + 7], [NOW_MS + 10]], ids=["nowhere", "at the commit", "later"])
def test_a_start_from_now_skips_what_is_older_than_us(logs: Logs, began: list[int]) -> None:
    brokers = begun_elsewhere(logs, *((at, HEADER) for at in began))

    assert restored(brokers, logs, partitions=1 + len(began)).offset == 7


# ---- bursts of assignments


class Burst(Brokers, Host):
    """Empty partitions of one topic, brokers that count how often they describe it, and a clock that is set."""

    def __init__(self, partitions: int) -> None:
        super().__init__(cast("Any", None), {})
        self.partitions, self.seconds, self.described, self.problem = partitions, 100.0, 0, ""
        self.while_asked: Callable[[], object] = lambda: None
        policy = LedgerPolicy(
            "group", b"d" * 8, b"k" * 8, frozenset(), OutOfRange(to_earliest=False), RETENTION_MS, lambda: 0
        )
        self.ledger = KafkaLedger(
            policy,
            cast("Any", self),
            self,
            cast("Any", None),
            {},
            "{}.ledger".format,
            cluster_id="cluster",
            read=lambda *_: iter(()),
            host=self,
        )

    def monotonic(self) -> float:
        return self.seconds

    @contextmanager
    def asked_while(self, _wanted: object) -> Iterator[None]:
        yield

    def offsets(self, place: TopicPartition, *, stable: bool = False) -> tuple[int, int]:
        return 0, 0

    def describe(self, topic: str) -> TopicDescription | None:
        self.described += 1
        self.seconds += 0.01
        self.while_asked()
        return None if self.problem == "gone" else TopicDescription(topic, "orders-id", self.partitions, 1, frozenset())

    def ensure(self, source: TopicDescription) -> TopicDescription:
        if self.problem:
            raise LedgerRefused(self.problem)
        return TopicDescription("ledger", "ledger-id", source.partitions, 1, frozenset())

    def trouble(self, _source: TopicDescription) -> str | None:
        return self.problem or None

    def restore(self, partition: int, since: float, wanted: Callable[[], bool] = lambda: True) -> Recovery:
        return self.ledger.restore(TopicPartition("orders", partition), since=since, wanted=wanted)


def test_restores_that_wait_at_the_same_time_share_one_check() -> None:
    burst = Burst(600)

    began = burst.seconds - 1
    for partition in range(600):
        assert burst.restore(partition, began).position.topic_id == "ledger-id"

    assert burst.described == 1


def test_a_restore_asked_for_after_the_check_has_the_topics_checked_again() -> None:
    burst = Burst(2)
    burst.restore(0, burst.seconds - 1)

    burst.problem = "the ledger would lose facts"
    with pytest.raises(LedgerRefused, match="would lose facts"):
        burst.restore(1, burst.seconds)


def test_a_restore_asked_for_in_the_same_instant_as_the_check_has_the_topics_checked_again() -> None:
    burst = Burst(2)
    at = burst.seconds
    burst.restore(0, at - 1)

    burst.restore(1, at)

    assert burst.described == 2


def test_a_check_does_not_hold_for_a_restore_that_had_to_wait_for_long() -> None:
    burst = Burst(2)
    began = burst.seconds - 1
    burst.restore(0, began)

    burst.seconds += 6
    burst.problem = "gone"
    with pytest.raises(LedgerUnavailable, match="orders does not exist"):
        burst.restore(1, began)


def test_a_refusal_holds_for_nobody_else() -> None:
    burst = Burst(2)
    began = burst.seconds - 1
    burst.problem = "the ledger would lose facts"
    with pytest.raises(LedgerRefused):
        burst.restore(0, began)

    burst.problem = ""
    burst.restore(0, began)

    assert burst.described == 2


def test_a_restore_without_a_time_goes_by_a_check_of_its_own() -> None:
    burst = Burst(1)
    for _ in range(2):
        burst.ledger.restore(TopicPartition("orders", 0))

    assert burst.described == 2


def test_a_restore_that_nobody_wants_does_not_wait_for_the_answer_to_another() -> None:
    burst, said, asked = Burst(2), threading.Event(), threading.Event()

    def answer() -> None:
        asked.set()
        said.wait(30)

    burst.while_asked = answer
    other = threading.Thread(target=burst.restore, args=(0, 0.0))
    other.start()
    assert asked.wait(30)
    try:
        with pytest.raises(LedgerUnavailable, match="orders-1: nobody waits"):
            burst.restore(1, 0.0, wanted=lambda: False)
    finally:
        said.set()
        other.join()
