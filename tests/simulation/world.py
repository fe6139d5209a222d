"""The whole connector on virtual time, from a seed: real shell, consumer thread, ledger, sink; fake cluster, vendor, clocks.

    rows ──▶ Cluster ◀──────────── kafka/consumer, ledger, reader, producer, dead_letters, topics (real)
               │  journal                        │
               ▼                        intake, avro, runtime, core (real)
             Oracle ◀── handled ─────────────────│
               ▲  witness                        │
               └───── Vendor ◀──── Transport ◀── amazon/client, ads_v1, answers, tokens (real)

The first part of a run is chaos, the second is calm: in the calm everything must drain, and every process must end when it
is asked to. `Oracle` objects when a law breaks. Everything is drawn from one generator, and one thread runs at a time, so
that a seed tells the same story every time (``test_simulation.py`` compares whole traces).

``python -m tests.simulation --seeds 1-1000`` looks for a failing seed; ``--trace`` tells one seed's story.
"""

from __future__ import annotations

import asyncio
import gc
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any, TypeVar

from connector.avro import ledger_entry
from connector.core import status
from connector.core.batching import BatchPolicy, Envelope
from connector.core.breaker import DeadLetterPolicy, OutagePolicy
from connector.core.dedupe import DedupePolicy
from connector.core.dispatch import DispatchPolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.policy import BufferPolicy, FlushPolicy, Policy
from connector.core.retry import RetryPolicy
from connector.kafka.consumer import PollPolicy
from connector.model import Facts, LedgerIdentity, Outcome, TopicPartition
from tests.simulation.cluster import SESSION_SECONDS, Cluster, Commit, Odds, Stored
from tests.simulation.cuts import COORDINATOR, Target
from tests.simulation.member import (
    DEDUPE_KEY,
    DESTINATION,
    GROUP,
    LEDGER,
    LEDGER_SETTINGS,
    LETTERS,
    MOST_LATE_SECONDS,
    SOURCE,
    TO_EARLIEST,
    Member,
    Plan,
    SimulatedRegistry,
)
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.records import MAX_AGE_MS, MAX_SKEW_MS, Calendar, Nature, Row, a_row, rows
from tests.simulation.vendor import HEAVY_BODY, Vendor, VendorOdds
from tests.simulation.virtual_time import Killed, VirtualLoop
from tests.simulation.visitor import Visitor

__all__ = ["Result", "World", "run"]

_CHAOS_SECONDS = (10.0, 10.0, 20.0)
_CALM_SECONDS = 400.0
_BEAT_SECONDS = 10.0
_GATE_SECONDS = SESSION_SECONDS / 2
_MAX_BYTES = 3_000
_MOST_DAYS = 6.5
_RECORDS = 20
"""At most, of one partition."""
_GROWN = 8
"""At most, where a log was cut."""
_POLL_RECORDS = 6
_END_SECONDS = 20.0
"""Beyond the drain: for the producer's last reports, and leaving the group."""


@dataclass(slots=True)
class Result:
    """What one seed came to."""

    seed: int
    seconds: float = 0.0
    """Virtual."""
    records: int = 0
    inputs: int = 0
    checks: int = 0
    faults: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Mischief:
    """How often the world itself does harm, each from 0 to 1, at every look."""

    rebalance: float
    evict: float
    crash: float
    crash_at_step: float
    shutdown: float
    clock: float
    registry: float
    truncate: float
    expire: float
    join: float
    cut: float
    sleep: float
    visitor: float
    ledger: float
    damage: float
    rewind: float


class World:
    """One run; `play` it."""

    def __init__(self, seed: int, loop: VirtualLoop, say: Callable[[str], None] | None = None) -> None:
        self._dice = dice = Random(seed)
        self._loop = loop
        self._say = say
        self._failed: asyncio.Future[None] = loop.create_future()
        self._result = Result(seed)
        self._chaos_seconds = dice.choice(_CHAOS_SECONDS)
        self._plan = _plan(dice)
        often = dice.choice((0.0, 0.3, 0.6, 1.0))
        # Every third seed has one kind of harm alone, but often: what comes of it is not cut short by another.
        alone = dice.choice(_ALONE) if dice.random() < 1 / 3 else None
        often = 0.0 if alone else often
        self._mischief_odds = _draw(dice, _MOST_MISCHIEF, often)
        if alone:
            self._mischief_odds = replace(self._mischief_odds, **{alone: 1.5 * getattr(_MOST_MISCHIEF, alone)})
        # Drawn apart, so that a seed without it tells the story that it told before there was such a thing.
        self._more_dice = more_dice = Random(f"{seed}, and more")
        calendar = Calendar()
        if more_dice.random() < 0.15:
            calendar = Calendar(self._chaos_seconds * more_dice.uniform(0.1, 0.9), more_dice.uniform(0.5, _MOST_DAYS))
            loop.call_at(calendar.leap_at, lambda: self._happened("days pass"))
        if more_dice.random() < 0.1:
            loop.call_at(self._chaos_seconds * more_dice.uniform(0.3, 0.9), self._cut_ledger)
        strange = dice.random() < 0.2
        late = dice.random() < 0.15
        logs = [
            rows(
                dice,
                number,
                most=_RECORDS,
                heavy=HEAVY_BODY,
                huge=_MAX_BYTES,
                pace=self._chaos_seconds / 3,
                strange=strange,
                late=late,
                calendar=calendar,
            )
            for number in range(dice.randint(1, 3))
        ]
        self._oracle = Oracle(logs, self._plan.policy, _GATE_SECONDS, self._complain)
        incremental = self._plan.poll.incremental
        self._cluster = Cluster(loop, dice, _draw(dice, _MOST_ODDS, often), self._oracle, incremental=incremental)
        self._cluster.calendar = calendar
        self._cluster.create_source(SOURCE, logs)
        for number in range(len(logs)):
            self._end_in_transaction(number)
        self._oracle.watch(self._cluster)
        if dice.random() < 0.2:
            self._earlier_life(logs)
        self._vendor = Vendor(loop, dice, _draw(dice, _MOST_VENDOR_ODDS, often), self._oracle, self._oracle.find)
        self._registry = SimulatedRegistry(loop, self._oracle, dice.uniform(0.0, MOST_LATE_SECONDS))
        self._members: list[Member] = []
        self._visitors: list[Visitor] = []
        self._accepted = frozenset({TO_EARLIEST} if dice.random() < 0.5 else set())
        if self._accepted:
            self._oracle.goes_on(self._accepted)
        self._ledger_harmed = False
        self._joined = 0
        self._epochs = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat_at = self._chaos_seconds + _BEAT_SECONDS
        self._result.records = sum(map(len, logs))
        loop.failed = lambda error: self._complain(f"a thread ended: {error!r}", error)
        loop.set_exception_handler(self._not_retrieved)

    def _complain(self, complaint: str, cause: BaseException | None = None) -> None:
        if not self._failed.done():
            violation = Violation(f"at {self._loop.time():.3f}: {complaint}")
            violation.__cause__ = cause
            self._failed.set_exception(violation)

    def _not_retrieved(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error that nobody looked at is one, but for the end of a process."""
        error = context.get("exception")
        if not isinstance(error, Killed):
            self._complain(f"{context['message']}: {error!r}", error)

    def _tell(self, text: str) -> None:
        if self._say is not None:
            self._say(f"{self._loop.time():9.3f} {text}")

    # ---- a run

    async def play(self) -> Result:
        """Run to the end; raise `Violation` when a law is broken."""
        story = asyncio.create_task(self._story())
        try:
            await asyncio.wait({story, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            story.result()
        finally:
            story.cancel()
            for member in self._members:
                member.crash()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            self._failed.cancel()
        result = self._result
        result.seconds, result.inputs, result.checks = self._loop.time(), self._oracle.inputs, self._oracle.checks
        result.faults = self._oracle.faults
        return result

    async def _story(self) -> None:
        for _ in range(self._dice.randint(1, 2)):
            self._join()
        while self._loop.time() < self._chaos_seconds:
            await asyncio.sleep(self._dice.uniform(0.2, 2.5))
            self._do_harm()
        self._calm_down()
        while not self._drained():
            if self._loop.time() > self._chaos_seconds + _CALM_SECONDS:
                self._complain(f"I6: a dead end: {self._state()}")
            await asyncio.sleep(1.0)
            self._beat()
            self._accept_what_is_refused()
        for member in list(self._members):
            self._shut_down(member)
        while self._members:
            await asyncio.sleep(0.5)
        self._oracle.finished()

    def _calm_down(self) -> None:
        self._tell("calm")
        self._cluster.calm_down()
        self._vendor.calm = True
        self._registry.away = False
        for visitor in self._visitors:
            visitor.leave()
        self._reset_offsets()
        for member in self._members:
            member.clock.skew_ms = 0
            member.process.crash_at = 0
        if not any(not member.stopping for member in self._members):
            self._join()

    def _reset_offsets(self) -> None:
        """An operator sets back what a visitor committed beyond what is known."""
        for place, commit in self._cluster.committed.items():
            if not commit.metadata and not self._oracle.knows_all_below(place.partition, commit.next_offset):
                self._tell(f"offsets of {place} reset")
                self._cluster.commit(place, Commit(self._cluster.bounds(place)[0], -1, ""))

    def _accept_what_is_refused(self) -> None:
        """An operator does what the sentences say: sets offsets, or ``ACCEPT``, and restarts."""
        sentences = " ".join(sentence for member in self._members for sentence in status.needs_operator(member.pipeline))
        for refused, offset in re.findall(r"committed offset (\d+) is not this connector's.*?--to-offset (\d+)", sentences):
            for place, commit in self._cluster.committed.items():
                if not commit.metadata and commit.next_offset == int(refused):
                    self._tell(f"offset of {place} set to {offset}")
                    self._cluster.commit(place, Commit(int(offset), -1, ""))
        found = frozenset(re.findall(r"ACCEPT=((?:ledger|destination)[\w-]+)|(OFFSET_OUT_OF_RANGE=earliest)", sentences))
        found = frozenset(accept or setting for accept, setting in found) - self._accepted
        if found:
            self._tell(f"set: {','.join(sorted(found))}")
            self._accepted |= found
            self._oracle.goes_on(found)
            for member in list(self._members):
                self._shut_down(member)
            self._join()

    def _beat(self) -> None:
        """Have a good event produced once in a while: what fails alone is judged by whether others pass."""
        if self._loop.time() < self._beat_at:
            return
        self._beat_at = self._loop.time() + _BEAT_SECONDS
        place = TopicPartition(SOURCE, self._dice.randrange(len(self._cluster.topics[SOURCE].partitions)))
        log = self._cluster.topics[SOURCE].partitions[place.partition]
        if not log:
            return
        last = log[-1]
        if last.row is None or last.row.born > self._loop.time():
            return
        beat = a_row(
            self._dice,
            place.partition,
            last.at + 1,
            last.under or 0,
            self._loop.time(),
            Nature.GOOD,
            heavy=0,
            huge=0,
            copy=False,
            calendar=self._cluster.calendar,
        )
        self._cluster.truncate(place, len(log), [beat])
        self._oracle.truncated(place.partition, _records(log), [beat])
        self._result.records += 1

    def _drained(self) -> bool:
        if self._oracle.pending():
            return False
        places = [TopicPartition(SOURCE, number) for number in range(len(self._cluster.topics[SOURCE].partitions))]
        ends = {place: self._cluster.bounds(place)[1] for place in places}
        return all(
            end == 0 or (commit is not None and commit.next_offset == end)
            for place, end in ends.items()
            for commit in (self._cluster.committed.get(place),)
        )

    def _earlier_life(self, logs: list[list[Row]]) -> None:
        """The ledger has facts of a topic of this name that was deleted, or of another destination; so may the group."""
        dice, topic_id = self._dice, self._cluster.topics[SOURCE].topic_id
        ledger = self._cluster.create(LEDGER, len(logs), LEDGER_SETTINGS)
        for number, log in enumerate(logs):
            of_topic, of_destination = dice.choice((("old-id", DESTINATION), (topic_id, b"e" * 16)))
            header = LedgerIdentity("cluster-1", SOURCE, of_topic, number, GROUP, of_destination, DEDUPE_KEY)
            facts = Facts()
            for row in log[: dice.randint(1, len(log))]:
                key = row.key if of_destination != DESTINATION else b"o" * 16
                facts.add(row.offset, row.epoch, Outcome.DELIVERED, key, row.time_ms)
            value = ledger_entry.encode(header, facts)
            self._cluster.append(TopicPartition(LEDGER, number), Stored(None, -1, value))
            if of_topic == "old-id" and dice.random() < 0.5:
                commit = Commit(log[-1].offset + 1, 0, f"v1 old-id {ledger.topic_id}:1")
                self._cluster.committed[TopicPartition(SOURCE, number)] = commit
        self._happened("ledger of an earlier life")

    def _end_in_transaction(self, partition: int) -> None:
        """Let the log end in the markers of transactions: no record follows the last one's offset."""
        if self._dice.random() < 0.3:
            topic = self._cluster.topics[SOURCE]
            last = topic.partitions[partition][-1].under or 0
            for _ in range(self._dice.randint(1, 2)):
                topic.mark(partition, last + self._dice.choice((0, 0, 1)))

    # ---- harm

    def _expire(self) -> None:
        """Retention deletes the first records of a partition, mostly such as were read."""
        place = TopicPartition(SOURCE, self._dice.randrange(len(self._cluster.topics[SOURCE].partitions)))
        visible, commit = self._cluster.visible(place), self._cluster.committed.get(place)
        if len(visible) > 1:
            self._happened("records expired")
            before = self._dice.choice(visible[1:]).at
            if commit is not None and self._dice.random() < 0.7:
                before = min(before, commit.next_offset)
            self._cluster.topics[SOURCE].cut_start(place.partition, before)
            self._oracle.expired(place.partition, before)

    def _truncate(self) -> None:
        """An unclean election loses the last records of a partition; others are written in their place."""
        place = TopicPartition(SOURCE, self._dice.randrange(len(self._cluster.topics[SOURCE].partitions)))
        visible = self._cluster.visible(place)
        if not visible:
            return
        self._happened("log truncated")
        kept = max(1, len(visible) - self._dice.randint(1, 6))
        stump = visible[kept - 1]
        self._epochs += 1
        grown = rows(
            self._dice,
            place.partition,
            most=_GROWN,
            heavy=HEAVY_BODY,
            huge=_MAX_BYTES,
            offset=stump.at + 1,
            epoch=self._epochs * 100,
            born=self._loop.time() + self._dice.choice((0.0, 0.5)),
            calendar=self._cluster.calendar,
        )
        self._oracle.truncated(place.partition, _records(visible[:kept]), grown)
        self._cluster.truncate(place, kept, grown)
        self._end_in_transaction(place.partition)
        self._result.records += len(grown)

    def _do_harm(self) -> None:
        """Let each kind of harm happen by its odds."""
        for each in fields(_Mischief):
            if self._dice.random() < getattr(self._mischief_odds, each.name):
                self._harm(each.name)

    def _harm(self, kind: str) -> None:
        member = self._dice.choice(self._members) if self._members else None
        match kind:
            case "rebalance":
                self._happened("rebalance")
                self._cluster.group.rebalance()
            case "join" if len(self._members) < 3:
                self._happened("another member joins")
                self._join()
            case "truncate":
                self._truncate()
            case "expire":
                self._expire()
            case "visitor" if not self._ledger_harmed:
                self._visit()
            case "ledger" if not self._visitors and not self._ledger_harmed:
                self._harm_ledger()
            case "damage":
                self._damage_source()
            case "rewind":
                self._rewind(self._dice.randrange(len(self._cluster.topics[SOURCE].partitions)))
            case "registry":
                self._happened("registry away")
                self._registry.away = not self._registry.away
            case _ if member is not None:
                self._harm_member(kind, member)

    def _harm_member(self, kind: str, member: Member) -> None:
        dice = self._dice
        match kind:
            case "evict" if member.client is not None:
                self._happened("member taken for dead")
                self._cluster.group.evict(member.client)
            case "cut":
                self._cut(member)
            case "sleep" if member.client is not None:
                self._happened("process sleeps")
                member.client.sleep(dice.choice((2.0, 7.0, 11.0)))
            case "clock":
                self._happened("clock jumps")
                member.clock.skew_ms = dice.choice((0, 60_000, -60_000, 600_000, -600_000, 7_200_000))
            case "crash_at_step":
                member.process.crash_at = member.process.steps + dice.randint(1, 300)
            case "crash":
                self._crash(member)
            case "shutdown":
                self._happened("SIGTERM")
                self._shut_down(member)

    def _visit(self) -> None:
        """Somebody looks into the topic, in our group."""
        self._happened("visitor in the group")
        visitor = Visitor(self._cluster, SOURCE)
        self._visitors.append(visitor)
        visitor.come(self._dice.uniform(0.5, 3.0))

    def _harm_ledger(self) -> None:
        """The ledger loses a bit, its front, its end, or all of itself; once in a run."""
        topic = self._cluster.topics.get(LEDGER)
        number = self._dice.randrange(len(self._cluster.topics[SOURCE].partitions))
        if topic is None or len(topic.partitions[number]) < 3:
            return
        log = topic.partitions[number]
        self._ledger_harmed = True
        match self._dice.randrange(7):
            case 0 | 4 | 5:
                self._happened("ledger damaged")
                largest = max(log, key=lambda stored: len(stored.content or b""))
                topic.damaged.add((number, self._dice.choice((largest, self._dice.choice(log))).at))
                if self._dice.random() < 0.7:  # as by a power failure
                    self._rewind(number)
            case 1 | 6:
                self._happened("ledger emptied from the front")
                before = self._dice.randint(log[0].at + 1, log[-1].at + 1)
                topic.cut_start(number, before)
                self._oracle.ledger_lost(number, before, log[-1].at + 1)
                if self._dice.random() < 0.5:
                    self._crash_all()
            case 2:
                self._happened("ledger lost its end")
                self._crash_all()
                kept = self._dice.randint(0, len(log) - 1)
                self._oracle.ledger_lost(number, 0, log[kept].at)
                lost = len(log) - kept
                del log[kept:]
                if kept and self._dice.random() < 0.5:
                    self._happened("ledger grew again")
                    for stored in self._dice.choices(log, k=lost):  # as a client does that had not heard of its success
                        self._cluster.append(TopicPartition(LEDGER, number), Stored(None, -1, stored.content))
            case _:
                self._happened("ledger deleted")
                self._crash_all()
                del self._cluster.topics[LEDGER]
                for each in range(len(topic.partitions)):
                    self._oracle.ledger_lost(each, 0, 0)

    def _cut_ledger(self) -> None:
        """The ledger loses its end while its members go on, as by an unclean election."""
        topic = self._cluster.topics.get(LEDGER)
        if topic is None or self._ledger_harmed or self._visitors:
            return
        number = self._more_dice.randrange(len(topic.partitions))
        log = topic.partitions[number]
        if len(log) > 1:
            self._ledger_harmed = True
            self._happened("ledger lost its end under its members")
            kept = self._more_dice.randrange(len(log))
            self._oracle.ledger_lost(number, 0, log[kept].at)
            del log[kept:]

    def _rewind(self, partition: int) -> None:
        """An operator sets the group back to a partition's beginning, while nobody is in it."""
        self._happened("group rewound")
        self._crash_all()
        place = TopicPartition(SOURCE, partition)
        self._cluster.commit(place, Commit(self._cluster.bounds(place)[0], -1, ""))

    def _crash_all(self) -> None:
        for member in list(self._members):
            self._crash(member)

    def _damage_source(self) -> None:
        """A disk loses a bit of some batch that nobody has read yet."""
        topic = self._cluster.topics[SOURCE]
        number = self._dice.randrange(len(topic.partitions))
        commit = self._cluster.committed.get(TopicPartition(SOURCE, number))
        records = [stored for stored in topic.partitions[number] if stored.content and not stored.marker]
        records = [stored for stored in records if commit is None or stored.at >= commit.next_offset]
        if records:
            self._happened("source damaged")
            first = self._dice.randrange(len(records))
            topic.damaged.update((number, stored.at) for stored in records[first : first + self._dice.randint(1, 3)])

    def _cut(self, member: Member) -> None:
        """Keep a member from some of the brokers, mostly from one alone."""
        dice = self._dice
        partitions = range(len(self._cluster.topics[SOURCE].partitions))
        one = dice.choice(partitions)
        targets: list[Target] = []
        match dice.randrange(8):
            case 0 | 1 | 5 | 6:
                self._happened("cut from the coordinator alone")
                targets = [COORDINATOR]
            case 2:
                self._happened("cut from the leader of one ledger alone")
                targets = [TopicPartition(LEDGER, one)]
            case 3:
                self._happened("cut from the leaders of all ledgers")
                targets = [TopicPartition(LEDGER, number) for number in partitions]
            case 4:
                self._happened("cut from the leader of one source alone")
                targets = [TopicPartition(SOURCE, one)]
            case _:
                self._happened("cut from all brokers")
                topics = (SOURCE, LEDGER, LETTERS)
                targets = [COORDINATOR, *(TopicPartition(topic, number) for topic in topics for number in partitions)]
        self._cluster.cut(member.process, targets, dice.choice((2.0, 10.0, 20.0)))

    def _happened(self, what: str) -> None:
        self._tell(what)
        self._oracle.happened(what)

    def _join(self) -> None:
        self._joined += 1
        name = f"process-{self._joined}"
        say = None if self._say is None else lambda text: self._tell(f"{name} {text}")
        member = Member(
            name, self._plan, self._cluster, self._vendor, self._registry, self._oracle, self._dice, say, self._accepted
        )
        member.process.on_crash = lambda: self._crash(member)
        self._members.append(member)
        member.start()
        task = self._loop.create_task(self._watch(member))
        self._tasks.add(task)

    async def _watch(self, member: Member) -> None:
        """Wait for a process to end, and start another in its place."""
        try:
            await member.ended()
        except Exception as error:
            self._complain(f"{member.process.name} failed: {error!r}", error)
            return
        if member.process.alive:
            if not member.stopping:
                self._complain(f"{member.process.name} ended unasked")
            self._tell(f"{member.process.name} ended")
            self._leave(member)

    def _crash(self, member: Member) -> None:
        """Everything in memory is gone; what is under way at vendor and brokers goes on."""
        if not member.process.alive:
            return
        self._happened("crash")
        member.crash()
        self._oracle.crashed(member.process)
        if member.client is not None:
            patience = 0.5 if self._cluster.calm else self._dice.choice((0.5, 3.0, 6.0))
            self._loop.call_later(patience, self._cluster.group.evict, member.client)
        self._leave(member)

    def _leave(self, member: Member) -> None:
        self._members.remove(member)
        if not self._cluster.calm:
            self._loop.call_later(self._dice.uniform(0.0, 3.0), self._replace)

    def _replace(self) -> None:
        if not self._cluster.calm and len(self._members) < 3:
            self._join()

    def _shut_down(self, member: Member) -> None:
        if not member.stopping:
            member.request_shutdown()
            most = self._plan.policy.drain_seconds + _END_SECONDS
            self._loop.call_later(most, self._insist_on_end, member, _halted(member))

    def _insist_on_end(self, member: Member, halted_before: float) -> None:
        """Complain of a member that has not ended, but not before it had the time to."""
        if member not in self._members:
            return
        if (halted := _halted(member)) > halted_before:
            self._loop.call_later(halted - halted_before, self._insist_on_end, member, halted)
        else:
            self._complain(f"I6: {member.process.name} was asked to end, and did not: {self._state()}")

    def _state(self) -> str:
        members = [
            (
                member.process.name,
                status.buffered_events(member.pipeline),
                status.in_flight_events(member.pipeline),
                {reason: count for reason, count in status.paused(member.pipeline).items() if count},
                status.needs_operator(member.pipeline),
            )
            for member in self._members
        ]
        return f"pending {self._oracle.pending()[:5]}, committed {self._cluster.committed}, members {members}"


_MOST_ODDS = Odds(
    append=0.3,
    letter=0.4,
    twice=0.2,
    queue_full=0.1,
    commit=0.3,
    admin=0.1,
    end_unknown=0.2,
    read=0.2,
    seek=0.3,
    stall=0.03,
    error=0.05,
    slow=0.2,
)
_MOST_VENDOR_ODDS = VendorOdds(
    connect=0.2, status=0.3, withheld=0.15, spoiled=0.15, missing=0.1, odd=0.1, slow=0.3, token=0.3
)
_MOST_MISCHIEF = _Mischief(
    rebalance=0.4,
    evict=0.3,
    crash=0.2,
    crash_at_step=0.3,
    shutdown=0.15,
    clock=0.25,
    registry=0.2,
    truncate=0.2,
    expire=0.1,
    join=0.15,
    cut=0.4,
    sleep=0.15,
    visitor=0.2,
    ledger=0.4,
    damage=0.2,
    rewind=0.05,
)

_ALONE = [*(each.name for each in fields(_Mischief)), "cut", "cut", "cut", "cut"]

T = TypeVar("T", Odds, VendorOdds, _Mischief)


def _halted(member: Member) -> float:
    return 0.0 if member.client is None else member.client.halted


def _draw(dice: Random, most: T, often: float) -> T:
    """Most seeds have a few kinds of trouble, some have none or all: rare combinations are not drowned by common ones."""
    return type(most)(*(getattr(most, odd.name) * (dice.random() < often) * dice.random() for odd in fields(most)))


def _records(log: list[Stored]) -> int:
    return sum(not stored.marker for stored in log)


_PROTOCOLS = {
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "eager": {"partition.assignment.strategy": "range"},
    "KIP-848": {"group.protocol": "consumer"},
}


def _plan(dice: Random) -> Plan:
    protocol = dice.choices(list(_PROTOCOLS), (4, 2, 4))[0]
    drain_seconds = dice.choice((0.5, 5.0, 5.0))
    policy = Policy(
        freshness=FreshnessPolicy(MAX_AGE_MS, MAX_SKEW_MS),
        dedupe=DedupePolicy(MAX_AGE_MS),
        dispatch=DispatchPolicy(
            BatchPolicy(dice.choice((1, 3, 8)), _MAX_BYTES, dice.choice((0.0, 0.2))),
            Envelope(b'{"events":[', b"]}"),
            max_in_flight=dice.choice((1, 2, 4)),
            poll_gate_seconds=_GATE_SECONDS,
            retry=RetryPolicy(0.3, 4.0, 3, max_alone=20),
            breaker=DeadLetterPolicy(dice.choice((0, 6, 30)), dice.choice((0.0, 0.5)), 20, 3.0, enough=dice.choice((1, 5))),
            outage=OutagePolicy(dice.choice((2, 5)), RetryPolicy(0.3, 4.0)),
        ),
        buffer=BufferPolicy(dice.choice((28, 45, 90)), 200_000, 3 * _POLL_RECORDS),
        drain_seconds=drain_seconds,
        session_seconds=SESSION_SECONDS if protocol == "KIP-848" else float("inf"),
        flush=FlushPolicy(
            dice.choice((0.1, 0.5)), dice.choice((2, 8, 100)), dice.choice((10, 40)), max_silence_seconds=SESSION_SECONDS / 2
        ),
    )
    poll = PollPolicy(
        (SOURCE,),
        incremental=protocol != "eager",
        drain_seconds=drain_seconds,
        sleep_seconds=SESSION_SECONDS / 2,
        names_itself=protocol == "KIP-848",
        records=_POLL_RECORDS,
        seconds=dice.choice((0.1, 0.5, 1.0)),
    )
    return Plan(policy, poll, _PROTOCOLS[protocol], timeout_seconds=dice.choice((1.5, 4.0)))


def run(seed: int, say: Callable[[str], None] | None = None) -> Result:
    """Play one seed; a failure names the command that plays it again."""
    collects = gc.isenabled()
    gc.disable()  # what a seed leaves behind is found when its successor's first objects are looked at
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(World(seed, loop, say).play())
    except Exception as failure:
        failure.add_note(f"make simulate SEEDS={seed}-{seed}    (python -m tests.simulation --seeds {seed}-{seed} --trace)")
        raise
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        if collects:
            gc.enable()
