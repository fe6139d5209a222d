"""Classic bugs, one at a time: what the simulation is worth is whether it finds them, how soon, and by which check.

``python -m tests.simulation.bugs`` prints the table. Each bug replaces one behaviour of the connector while a seed is
played; ``test_bugs.py`` demands that each is found within so many seeds, and that the right kind of check finds it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Place

from connector.amazon.client import AmazonSink
from connector.core import exchange as x
from connector.core.assignment import Assignment, Letter, Phase
from connector.core.dedupe import DedupeWindow, Sighting
from connector.core.dispatch import Dispatch
from connector.core.freshness import Clock
from connector.core.offsets import OffsetTracker, ResolvedOffsets
from connector.core.pipeline import Pipeline
from connector.core.recovery import Restoration
from connector.errors import KafkaUnavailable, SchemaUnavailable
from connector.intake import Origin
from connector.kafka import consumer, reader
from connector.kafka.consumer import SourceConsumer
from connector.kafka.topics import Topics
from connector.model import DELIVERED, Answer, Event, Moment, Outcome, RequestFailed, TopicPartition, Verdicts
from connector.ports import Confirmation, Record
from connector.runtime import Runtime
from tests.simulation.records import START_MS
from tests.simulation.world import run

__all__ = ["BUGS", "Bug", "Found", "hunt", "present"]

Patch = tuple[Any, str, Any]
"""What is replaced: where, its name, by what."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug."""

    name: str
    caught_by: str
    """How the complaints begin, any of which shows that it was understood; divided by a bar."""
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What found a bug."""

    seed: int
    tried: int
    complaint: str


@contextmanager
def present(bug: Bug) -> Iterator[None]:
    """Put a bug in for a while."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in bug.patches]
    try:
        for owner, name, wrong in bug.patches:
            setattr(owner, name, wrong)
        yield
    finally:
        for owner, name, right in before:
            setattr(owner, name, right)


def hunt(bug: Bug, seeds: Iterable[int]) -> Found | None:
    """Play seeds with a bug until one fails; None if none does."""
    for tried, seed in enumerate(seeds, start=1):
        try:
            with present(bug):
                run(seed)
        except Exception as violation:
            return Found(seed, tried, str(violation).partition(": ")[2] or repr(violation))
    return None


# ---- what is committed


_resolve = Pipeline._resolve
_advance = OffsetTracker._advance


def _send_due_and_forget(self: Pipeline, now: Moment) -> None:
    before = set(self._dispatch._requests)
    _send_due(self, now)
    for number, request in self._dispatch._requests.items():
        if number not in before:
            for event in request.events:
                self._assignments[event.generation].tracker.resolve([event.offset])


_send_due = Pipeline._send_due


def _resolve_at_once(self: Pipeline, part: Assignment, held: Event | Letter, *rest: Any) -> None:
    _resolve(self, part, held, *rest)
    part.tracker.resolve([held.offset])


def _advance_to_the_last(self: OffsetTracker, last: int) -> None:
    _advance(self, last - 1)


def _advance_by_two(self: OffsetTracker, last: int) -> None:
    _advance(self, last + 1)


def _resolve_the_highest(self: OffsetTracker, offsets: Iterable[int]) -> None:
    resolved = set(offsets)
    last = max(resolved, default=-1)
    while self._received and self._received[0] <= last:
        self._received.popleft()
    if resolved and last >= self.next_offset:
        self._advance(last)


def _write_letter_and_hope(self: Pipeline, part: Assignment, letter: Letter, now: Moment) -> None:
    _write_letter(self, part, letter, now)
    _letter_written(self, x.LetterWritten(part.generation, letter.offset))


def _letter_written_already(self: Pipeline, told: x.LetterWritten) -> None:
    """It counted as written before."""


def _letter_failed_anyway(self: Pipeline, told: x.LetterFailed, now: Moment) -> None:
    """It counted as written before."""


_write_letter = Pipeline._write_letter
_letter_written = Pipeline._letter_written


def _append_and_hope(self: Runtime, command: x.AppendFacts) -> None:
    def report(confirmation: Confirmation) -> None:
        self.post(x.FactsAppended(command.generation, max(confirmation.offset, 0) + 1, confirmation.append_ms))

    self._ledger.append(command.partition, command.topic_id, command.facts, report)


def _commit_whatever_it_was(self: SourceConsumer, command: Any) -> None:
    if isinstance(command, x.Commit):
        places = [consumer._place(each.partition, each.next_offset, each.epoch, each.metadata) for each in command.points]
        self._consumer.commit(offsets=places, asynchronous=True)
    else:
        _carry_out(self, command)


_carry_out = SourceConsumer._carry_out


# ---- what counts as seen


def _sight_and_mark(self: DedupeWindow, key: bytes, event: Event) -> Sighting:
    sighting = _sight(self, key, event)
    if sighting is Sighting.FIRST:
        self.seen.add(key, START_MS)
    return sighting


_sight = DedupeWindow.sight


def _ended_for_all(self: DedupeWindow, key: bytes) -> Event | None:
    self._claims.pop(key, None)
    self._waiting.pop(key, None)
    return None


def _ended_and_still_there(self: DedupeWindow, key: bytes) -> Event | None:
    waiting = self._waiting.get(key)
    return waiting[0] if waiting else _ended(self, key)


_ended = DedupeWindow.ended


def _dead_letter_and_mark(self: Pipeline, part: Assignment, event: Event, *rest: Any) -> None:
    if event.key is not None:
        part.window.seen.add(event.key, event.time_ms)
    _dead_letter(self, part, event, *rest)


_dead_letter = Pipeline._dead_letter


def _no_wait(self: DedupeWindow, key: bytes, _event: Event) -> Sighting:
    return Sighting.DUPLICATE if key in self.seen else Sighting.FIRST


# ---- what a restore believes


def _offsets_or_empty(self: Topics, partition: TopicPartition) -> tuple[int, int]:
    try:
        return _offsets(self, partition)
    except KafkaUnavailable:
        if partition.topic.endswith(".ledger"):
            return 0, 0
        raise


_offsets = Topics.offsets


def _read_or_less(*arguments: Any) -> Iterator[Any]:
    try:
        yield from _read(*arguments)
    except KafkaUnavailable:
        return


_read = reader.read


def _covers_any_epoch(self: ResolvedOffsets, offset: int, epoch: int) -> bool:
    return any(_covers(self, offset, known) for known in {*self._open, *self._starts})


_covers = ResolvedOffsets.covers


def _take_any_topic(self: Restoration, header: Any, *entry: Any) -> Any:
    return _take(self, replace(header, topic_id=self.identity.topic_id), *entry)


def _take_any_destination(self: Restoration, header: Any, *entry: Any) -> Any:
    return _take(self, replace(header, destination=self.identity.destination), *entry)


_take = Restoration.take


# ---- what an answer means


def _delivered_to_whoever_has_it(self: Pipeline, part: Assignment, event: Event, now: Moment) -> None:
    now_ours = [other for other in self._assignments.values() if other.live and other.partition == part.partition]
    if not part.live and now_ours:
        now_ours[0].facts.add(event.offset, event.epoch, Outcome.DELIVERED, event.key, event.time_ms)
    else:
        _delivered(self, part, event, now)


_delivered = Pipeline._delivered


async def _send_and_assume(self: AmazonSink, body: bytes, count: int, *, may_start: Callable[[], bool]) -> Answer:
    answer = await _send(self, body, count, may_start=may_start)
    if isinstance(answer, RequestFailed) and answer.reason == "timeout":
        return Verdicts([DELIVERED] * count)
    return answer


_send = AmazonSink.send


def _derived_from_the_assignment(self: Origin, record: Record) -> str:
    return f"{self.generation:04d}{_derived_id(self, record)[4:]}"


_derived_id = Origin.derived_id


def _failed_and_hurried(self: Dispatch, request: Any, events: Any, failure: RequestFailed, *rest: Any) -> None:
    _failed(self, request, events, replace(failure, retry_after=None), *rest)


_failed = Dispatch.failed


# ---- clocks, bounds, ends


def _believes(self: Clock, now: Moment) -> bool:
    return True


def _drop_when_full(self: Pipeline, poll: Any, now: Moment) -> None:
    if sum(part.held for part in self._assignments.values()) < self._policy.buffer.max_events // 4:
        _polled(self, poll, now)


_polled = Pipeline._polled


def _release_at_once(self: Pipeline, generation: int, now: Moment) -> None:
    part = self._assignments.get(generation)
    if part is not None and part.live:
        unresolved = part.held
        self._end(generation, now)
        self._out.append(x.Release(part.partition, generation, unresolved))


def _take_without_looking(self: Dispatch, now: Moment) -> Any:
    return _take_batch(self, now._replace(last_poll=now.monotonic, vouched=now.monotonic))


_take_batch = Dispatch.take


def _start_whatever_became(self: Pipeline, generations: frozenset[int], now: Moment) -> bool:
    return True


def _decode_or_skip(self: SourceConsumer, columns: Any) -> None:
    for column in columns:
        try:
            self._intake.read(column.origin, column.messages)
        except SchemaUnavailable:
            continue
        _decode(self, [column])


_decode = SourceConsumer._decode


def _end_and_stay_silent(self: SourceConsumer, consumer: Any, places: Any) -> None:
    self._give_up(consumer, places)


def _seek_and_resume(self: SourceConsumer, partition: TopicPartition) -> None:
    try:
        self._consumer.seek(self._positions[partition])
    except KafkaException:
        self._restart(partition)
    else:
        self._consumer.resume([Place(*partition)])


def _take_in_what_comes(self: SourceConsumer, messages: Any, columns: Any) -> None:
    for message in messages:
        where = TopicPartition(message.topic(), message.partition())
        if message.error() is None and where in self._positions:
            offset = min(message.offset(), self._positions[where].offset)
            self._positions[where] = consumer._place(where, offset, -1)
    _take_in(self, messages, columns)


_take_in = SourceConsumer._take_in


def _never_pause(self: Pipeline) -> None:
    for part in self._assignments.values():
        if part.phase is Phase.RUNNING and not part.fetching:
            part.fetching = True
            self._out.append(x.Resume(part.partition, part.generation))


BUGS: tuple[Bug, ...] = (
    Bug("commit before the acknowledgement", "I2", ((Pipeline, "_send_due", _send_due_and_forget),)),
    Bug("commit before the fact is in the ledger", "I2", ((Pipeline, "_resolve", _resolve_at_once),)),
    Bug("a failed ledger write taken for written", "I2|I3", ((Runtime, "_append", _append_and_hope),)),
    Bug("the offset committed, not the next one", "I2|I6", ((OffsetTracker, "_advance", _advance_to_the_last),)),
    Bug("the next offset but one committed", "I2", ((OffsetTracker, "_advance", _advance_by_two),)),
    Bug("the highest resolved offset committed", "I2", ((OffsetTracker, "resolve", _resolve_the_highest),)),
    Bug("a commit after the partition was given up", "I7|I2", ((SourceConsumer, "_carry_out", _commit_whatever_it_was),)),
    Bug(
        "a letter not awaited before its fact",
        "I1",
        (
            (Pipeline, "_write_letter", _write_letter_and_hope),
            (Pipeline, "_letter_written", _letter_written_already),
            (Pipeline, "_letter_failed", _letter_failed_anyway),
        ),
    ),
    Bug("a key marked before the acknowledgement", "I5", ((DedupeWindow, "sight", _sight_and_mark),)),
    Bug("a rejected key marked", "I5", ((Pipeline, "_dead_letter", _dead_letter_and_mark),)),
    Bug("copies dropped with the first that failed", "I1|I6", ((DedupeWindow, "ended", _ended_for_all),)),
    Bug("a waiting copy released twice", "L2|I3|I9|L3|I5|process-", ((DedupeWindow, "ended", _ended_and_still_there),)),
    Bug("a copy does not wait for one in flight", "L3|I3", ((DedupeWindow, "sight", _no_wait),)),
    Bug("a ledger without an end taken for empty", "I3|L2", ((Topics, "offsets", _offsets_or_empty),)),
    Bug("a ledger read in part taken for whole", "I3|L2", ((reader, "read", _read_or_less),)),
    Bug("facts of another leader epoch resolve", "I1|I2|I6", ((ResolvedOffsets, "covers", _covers_any_epoch),)),
    Bug("facts of another topic id resolve", "I1|I2|I6", ((Restoration, "take", _take_any_topic),)),
    Bug("facts of another destination resolve", "I1|I2|I5|I6", ((Restoration, "take", _take_any_destination),)),
    Bug("an answer resolves the next assignment", "I7|I2|I3", ((Pipeline, "_delivered", _delivered_to_whoever_has_it),)),
    Bug("a time-out taken for an acknowledgement", "I4", ((AmazonSink, "send", _send_and_assume),)),
    Bug("a re-send under another id", "I3", ((Origin, "derived_id", _derived_from_the_assignment),)),
    Bug("Retry-After not kept", "I13", ((Dispatch, "failed", _failed_and_hurried),)),
    Bug("a wall clock believed that is wrong", "L7|L6", ((Clock, "agrees", _believes),)),
    Bug("records dropped at the bound", "I1|I2|I6", ((Pipeline, "_polled", _drop_when_full),)),
    Bug("a partition sought before it is resumed", "I6", ((SourceConsumer, "_resume", _seek_and_resume),)),
    Bug("a seek undone by a late answer believed", "I1|I2|I6", ((SourceConsumer, "_take_in", _take_in_what_comes),)),
    Bug("no pause at the bound", "L5", ((Pipeline, "_settle_fetching", _never_pause),)),
    Bug("no drain at a revoke", "I3|I7", ((Pipeline, "_drain", _release_at_once),)),
    Bug("a lost partition not told of", "I7|L4|I2|I3", ((SourceConsumer, "_on_lost", _end_and_stay_silent),)),
    Bug(
        "sent although the consumer stands still",
        "L4",
        ((Dispatch, "take", _take_without_looking), (Pipeline, "may_start", _start_whatever_became)),
    ),
    Bug("a request that waited for a token sent all the same", "L4|I7", ((Pipeline, "may_start", _start_whatever_became),)),
    Bug("records skipped while the registry is away", "I1|I2|I6", ((SourceConsumer, "_decode", _decode_or_skip),)),
)
"""Each with the check that is to catch it."""


def main() -> int:
    """Print the table; return 1 if a bug was not found."""
    missed = 0
    print("| bug | seeds | caught by |\n| --- | ---: | --- |")
    for bug in BUGS:
        found = hunt(bug, range(1, 1001))
        missed += found is None
        print(
            f"| {bug.name} | {found.tried} | {found.complaint} |" if found else f"| {bug.name} | NOT FOUND | |", flush=True
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
