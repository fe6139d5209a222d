"""Classic bugs, one at a time: what the simulation is worth is whether it finds them, how soon, and by which check.

``python -m tests.simulation.bugs`` prints the table; with arguments, only the bugs whose names contain one. Each bug
replaces one behaviour of the connector while a seed is played; ``test_bugs.py`` demands that each is found within so many
seeds, and that the right kind of check finds it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Place

from connector import intake
from connector.amazon.client import AmazonSink
from connector.avro.ledger_entry import EntryDecoder
from connector.avro.registry import Registry
from connector.core import commands, commit_metadata, inputs, recovery
from connector.core.answers import Answers, _judged
from connector.core.assignment import Assignment
from connector.core.batching import Batcher
from connector.core.blame import Blame
from connector.core.broker_clock import BrokerClock
from connector.core.concurrency import ConcurrencyLimit
from connector.core.dedupe import DedupeWindow, SeenKeys, Sighting
from connector.core.dispatch import Dispatch, DispatchPolicy
from connector.core.fact_log import FactLog
from connector.core.freshness import Freshness, FreshnessPolicy
from connector.core.landmarks import Landmarks
from connector.core.letter_box import PendingLetter
from connector.core.offsets import OffsetTracker, ResolvedOffsets
from connector.core.outcomes import Outcomes
from connector.core.pipeline import Pipeline
from connector.core.recovery import OutOfRange, Recovery, Restoration
from connector.core.retry import RetryQueue
from connector.core.roster import Roster
from connector.core.runs import Run
from connector.errors import KafkaUnavailable, LogDamaged
from connector.intake import Origin
from connector.kafka import dead_letters, ledger, reader
from connector.kafka.backlog import Backlog
from connector.kafka.cluster import Cluster
from connector.kafka.commits import CommitQueue
from connector.kafka.consumer import SourceConsumer
from connector.kafka.ledger import LedgerReader
from connector.kafka.membership import PollClock
from connector.kafka.positions import Positions, kafka_place
from connector.model import (
    DELIVERED,
    Answer,
    Facts,
    Failure,
    Moment,
    RequestFailed,
    TopicPartition,
    VerdictKind,
    Verdicts,
)
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


_advance = OffsetTracker._advance


def _send_due_and_forget(self: Pipeline, now: Moment) -> None:
    before = set(self.dispatch._requests)
    _send_due(self, now)
    for number, request in self.dispatch._requests.items():
        if number not in before:
            for run in request.runs:
                self._all[run.generation].tracker.resolve(run.offsets)


_send_due = Pipeline._send_due


def _delivered_and_resolved(self: Outcomes, part: Assignment, run: Run, now: Moment) -> None:
    _delivered(self, part, run, now)
    part.tracker.resolve(run.offsets)


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


def _write_letter_and_hope(self: Outcomes, part: Assignment, letter: PendingLetter, now: Moment) -> None:
    _write_letter(self, part, letter, now)
    _letter_written(self, part, letter.offset)


def _letter_written_already(self: Outcomes, *rest: Any) -> None:
    """It counted as written before."""


_write_letter = Outcomes.write_letter
_letter_written = Outcomes.letter_written


def _append_and_hope(self: Runtime, command: commands.AppendFacts) -> None:
    def report(confirmation: Confirmation) -> None:
        self.post(inputs.FactsAppended(command.generation, max(confirmation.offset, 0) + 1, confirmation.append_ms))

    self._ledger.append(command.partition, command.topic_id, command.facts, report)


def _take_what_was_given_up_too(self: CommitQueue) -> list[Place]:
    points, self._queued = self._queued, {}
    return [kafka_place(each.partition, each.next_offset, each.epoch, each.metadata) for each in points.values()]


# ---- what counts as seen


def _claim_and_mark(self: DedupeWindow, run: Run) -> None:
    _claim(self, run)
    _mark(self, run)


def _mark(window: DedupeWindow, run: Run) -> None:
    window.seen.add(run.keys, [START_MS] * len(run))


_claim = DedupeWindow.claim


def _ended_for_all(self: DedupeWindow, key: bytes) -> Run | None:
    self._claims.pop(key, None)
    self._waiting.pop(key, None)
    return None


def _ended_and_still_there(self: DedupeWindow, key: bytes) -> Run | None:
    waiting = self._waiting.get(key)
    return waiting[0] if waiting else _ended(self, key)


_ended = DedupeWindow.ended


def _dead_letter_and_mark(self: Outcomes, part: Assignment, run: Run, *rest: Any) -> None:
    _mark(part.window, run)
    _dead_letter(self, part, run, *rest)


_dead_letter = Outcomes.dead_letter


def _no_wait(self: DedupeWindow, key: bytes) -> Sighting:
    return Sighting.DUPLICATE if key in self.seen else Sighting.FIRST


# ---- what a restore believes


def _offsets_or_empty(self: Cluster, partition: TopicPartition, **rest: Any) -> tuple[int, int]:
    try:
        return _offsets(self, partition, **rest)
    except KafkaUnavailable:
        if partition.topic.endswith(".ledger"):
            return 0, 0
        raise


_offsets = Cluster.offsets


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
    return _take(self, replace(header, source_topic_id=self.identity.source_topic_id), *entry)


def _take_any_destination(self: Restoration, header: Any, *entry: Any) -> Any:
    return _take(self, replace(header, destination=self.identity.destination), *entry)


_take = Restoration.take


# ---- what an answer means


def _finished_by_whoever_has_it(self: Answers, finished: inputs.RequestFinished, now: Moment) -> None:
    ours = {part.partition: part for part in self._assignments.values() if part.live}
    verdicts = finished.answer.verdicts if isinstance(finished.answer, Verdicts) else []
    for each, verdict in _judged(self._dispatch._requests[finished.request].runs, verdicts) if verdicts else ():
        part = self._assignments[each.generation]
        if verdict.kind is VerdictKind.DELIVERED and not part.live and part.partition in ours:
            ours[part.partition].facts.waiting.extend(each.delivered())
    _finished(self, finished, now)


_finished = Answers.finished
_delivered = Outcomes.delivered


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


def _believes(self: BrokerClock, now: Moment) -> None:
    self.agrees = True


def _drop_when_full(self: Pipeline, poll: Any, now: Moment) -> None:
    if sum(part.held for part in self._all.values()) < self._policy.buffer.max_events // 4:
        _polled(self, poll, now)


_polled = Pipeline._polled


def _release_at_once(self: Pipeline, generation: int, now: Moment) -> None:
    part = self._all.get(generation)
    if part is not None and part.live:
        unresolved = part.held
        self._end(generation, now)
        self._out.append(commands.Release(part.partition, generation, unresolved))


def _take_without_looking(self: Dispatch, now: Moment) -> Any:
    return _take_batch(self, now._replace(last_poll=now.monotonic, vouched=now.monotonic))


_take_batch = Dispatch.take


def _start_whatever_became(self: Pipeline, generations: frozenset[int], now: Moment) -> bool:
    return True


def _decode_or_skip(self: Backlog, batches: Any) -> None:
    for batch in batches:
        _, lacking = self._intake.read(batch.origin, batch.messages)
        if lacking is None:
            _decode(self, [batch])


_decode = Backlog.decode


def _end_and_stay_silent(self: SourceConsumer, consumer: Any, places: Any) -> None:
    self._give_up(consumer, places)


def _seek_and_resume(self: Positions, partition: TopicPartition) -> bool:
    try:
        self._client.seek(cast("Place", self._partitions[partition].position))
    except KafkaException:
        return False
    self._client.resume([Place(*partition)])
    return True


def _believe_what_comes(self: Positions, *_: Any) -> bool:
    return False


def _never_pause(self: Pipeline, now: Moment) -> None:
    for part in self._all.values():
        if part.running and (command := part.fetch(True)) is not None:
            self._out.append(command)


def _reach_and_jump(self: OffsetTracker, end: int) -> None:
    _reach(self, end)
    self.next_offset = max(self.next_offset, end)


_reach = OffsetTracker.passed_end


def _commit_at_the_end(self: Assignment, interval_seconds: float, now: Moment) -> commands.CommitPoint:
    point = _commit_point(self, interval_seconds, now)
    rests_on, kept, landmarks = point.metadata.partition(" kept ")
    return replace(point, metadata=" ".join(rests_on.split(" ")[:3]) + kept + landmarks)


_commit_point = Assignment.commit_point


def _appended_and_not_noted(self: Assignment, *rest: Any) -> None:
    before = self.position
    _appended(self, *rest)
    self.position = before


_appended = Assignment.appended


def _find_and_not_note(self: Roster, generation: int) -> Assignment | None:
    return self.get(generation)


def _failed_and_forgotten(self: FactLog, *rest: Any, **more: Any) -> None:
    self.under_way = Facts()
    _facts_failed(self, *rest, **more)


_facts_failed = FactLog.failed


def _take_late_verdict_for_none(self: Outcomes, part: Assignment, run: Run, now: Moment) -> None:
    if part.live:
        _delivered(self, part, run, now)


def _append_one_epoch(self: Assignment, facts: Facts, now: Moment) -> commands.AppendFacts:
    facts.epochs[:] = [max(facts.epochs)] * len(facts.epochs) if facts.epochs else []
    return _append(self, facts, now)


_append = Assignment.append


def _commit_without_waiting(self: CommitQueue) -> None:
    self._waiting_until = None
    _send_commits(self)


_send_commits = CommitQueue.send


def _letter_lost(self: Outcomes, part: Assignment, failed: inputs.LetterFailed, now: Moment) -> None:
    _letter_written(self, part, failed.offset)


def _let_nothing_through(self: Outcomes, part: Assignment, now: Moment) -> None:
    breaker = self._dispatch.breaker
    while part.letters.parked and (not breaker.open or breaker.lets_a_letter_through(now.monotonic)):
        part.release(1, part.letters.unpark().size)
    _write_letters_due(self, part, now)


_write_letters_due = Outcomes.write_letters_due


def _delivered_and_copies_forgotten(self: DedupeWindow, *columns: Any) -> list[tuple[bytes, Run]]:
    _keys_delivered(self, *columns)
    return []


_keys_delivered = DedupeWindow.delivered


def _ended_and_unclaimed(self: DedupeWindow, key: bytes) -> Run | None:
    self._claims.pop(key, None)
    waiting = self._waiting.get(key)
    return waiting.popleft() if waiting else None


def _nothing_resolved(self: ResolvedOffsets, offset: int, epoch: int) -> bool:
    return False


def _no_keys(self: SeenKeys, *rest: Any) -> None:
    """The keys of a ledger count for nothing."""


def _forget_all(self: SeenKeys, oldest_ms: int) -> bool:
    return _forget(self, oldest_ms + 30 * 86_400_000)


_forget = SeenKeys.expire


_add_packed = SeenKeys.add_packed


def _delivered_by_event_time(self: DedupeWindow, keys: Any, times: Any, _now_ms: int) -> list[tuple[bytes, Run]]:
    return _keys_delivered(self, keys, times, 0)


def _keys_by_event_time(self: SeenKeys, keys: bytes, times: Iterable[int], written_ms: int = 0) -> None:
    _add_packed(self, keys, times)


def _stale_and_its_copies(self: Outcomes, part: Assignment, run: Run, now: Moment) -> None:
    _went_stale(self, part, replace(run, keys=[None] * len(run)), now)


_went_stale = Outcomes.went_stale


def _send_whatever_age(self: Pipeline, now: Moment) -> None:
    _send_due(self, now._replace(wall_ms=0))


def _judge_by_age_alone(self: FreshnessPolicy, time_ms: int, now_ms: int) -> Freshness:
    judged = _judge(self, time_ms, now_ms)
    return Freshness.STALE if judged is Freshness.BEFORE_2000 else judged


_judge = FreshnessPolicy.judge


def _polled_or_dropped(self: Pipeline, poll: Any, now: Moment) -> None:
    if self.clock.agrees:
        _polled(self, poll, now)


def _forget_nothing_of_it(self: Any, generation: int) -> None:
    """What was not sent stays."""


def _blame_it(self: Blame, request: Any, failed: RequestFailed) -> bool:
    return (request.count == 1 and failed.failure is Failure.REFUSED) or _at_fault(self, request, failed)


def _blame_all(self: Blame, request: Any, failed: RequestFailed) -> bool:
    return failed.failure is Failure.TOO_LARGE or _at_fault(self, request, failed)


_at_fault = Blame.at_fault


def _try_once(self: Answers, request: Any, still_open: Any, *rest: Any) -> None:
    for each, _ in still_open:
        each.tries = self._retry.max_tries
    _own_tries(self, request, still_open, *rest)


_own_tries = Answers._own_tries


async def _send_and_take_silence_for_yes(self: AmazonSink, body: bytes, count: int, **rest: Any) -> Answer:
    answer = await _send(self, body, count, **rest)
    if isinstance(answer, Verdicts):
        verdicts = [DELIVERED if each.kind is VerdictKind.NONE else each for each in answer.verdicts]
        return replace(answer, verdicts=verdicts)
    return answer


async def _send_and_take_200_for_yes(self: AmazonSink, body: bytes, count: int, **rest: Any) -> Answer:
    answer = await _send(self, body, count, **rest)
    unread = isinstance(answer, RequestFailed) and answer.status is not None and answer.status // 100 == 2
    mute = isinstance(answer, Verdicts) and all(each.kind is VerdictKind.NONE for each in answer.verdicts)
    return Verdicts([DELIVERED] * count) if unread or mute else answer


def _take_what_fits_or_not(self: Batcher, limit: int | None = None) -> list[Run]:
    self.most_bytes = 1_000_000
    return _take_from(self, limit)


_take_from = Batcher.take


def _idle_before_it_is_confirmed(self: Assignment) -> bool:
    return not (self.in_flight or not self.letters.idle or self.facts.waiting)


def _drain_longer(self: Pipeline, generation: int, now: Moment) -> None:
    _drain(self, generation, now._replace(monotonic=now.monotonic + 3.0))


_drain = Pipeline._drain


def _finish_without_epoch(self: Restoration, *arguments: Any, **rest: Any) -> Any:
    found = _finish(self, *arguments, **rest)
    return replace(found, epoch=-1) if isinstance(found, Recovery) else found


_finish = Restoration.finish


def _finish_and_jump(self: Restoration, state: Any, out_of_range: OutOfRange, **rest: Any) -> Any:
    return _finish(self, state, OutOfRange(to_earliest=True), **rest)


def _never_cut(self: Positions, *rest: Any) -> bool:
    return False


def _never_lost(self: Restoration, *rest: Any, **options: Any) -> None:
    return None


def _nothing_missing(self: Landmarks, *rest: Any) -> None:
    return None


def _take_without_comparing(self: Restoration, *arguments: Any) -> Any:
    self._named = {}
    return _take(self, *arguments)


def _nothing_skipped(self: LedgerReader, *rest: Any) -> None:
    return None


def _no_doubt(self: Restoration, *rest: Any) -> None:
    return None


def _parse_any_topic(metadata: str) -> Any:
    found = _parse_metadata(metadata)
    return found and found._replace(topic_id="id-1-conversions")


_parse_metadata = commit_metadata.parse_metadata


def _read_without_checksums(properties: dict[str, Any], *rest: Any) -> Iterator[Any]:
    return _read(properties | {"check.crcs": False}, *rest)


def _read_over_damage(properties: dict[str, Any], place: Any, first: int, end: int, *rest: Any) -> Iterator[Any]:
    while first < end:
        try:
            for message in _read(properties, place, first, end, *rest):
                first = (message.offset() or 0) + 1
                yield message
        except LogDamaged:
            first += 1
        else:
            return


def _entries_with_gaps(messages: Any, place: Any, *_: Any) -> Iterator[Any]:
    for message in messages:
        yield message, ledger._decoded(place, message, EntryDecoder())


def _go_on_behind(self: Positions, partition: TopicPartition, code: str) -> None:
    """It is only an error."""


def _decode_all_again(self: Backlog) -> list[TopicPartition]:
    before = list(self._waiting)
    held = _decode_again(self)
    if before and not self._waiting:
        self.decode(before)
    return held


_decode_again = Backlog.decode_again


def _not_silent(self: BrokerClock, *rest: Any) -> None:
    self.silent = False


def _count_every_poll(self: PollClock, began: float) -> None:
    self._began = self.last_poll = began


_vouched_by_a_poll = property(lambda self: self.last_poll)


def _send_unvouched(self: DispatchPolicy, now: Moment) -> bool:
    return now.monotonic - now.last_poll <= self.poll_gate_seconds


def _restore_at_once(self: Assignment, older: Any) -> float | None:
    return self.restoring.due


def _shows_nothing(self: Assignment, next_offset: int) -> bool:
    return False


def _a_little_later(timestamp_ms: int) -> int:
    return timestamp_ms + 1


def _restore_the_newest(self: LedgerReader, *arguments: Any, **rest: Any) -> Any:
    return _recover(self, *arguments, **(rest | {"newest": 2}))


_recover = LedgerReader.recover


def _definitions_at_once(self: Registry, schema_id: Any, waited: float = 0.0) -> Any:
    return _definitions(self, schema_id, float("inf"))


_definitions = Registry.definitions


def _headers_as_they_come(records: Sequence[Any]) -> Any:
    return [record.headers() for record in records]


def _never_full(self: ConcurrencyLimit) -> int:
    return 99


BUGS: tuple[Bug, ...] = (
    Bug("commit before the acknowledgement", "I2", ((Pipeline, "_send_due", _send_due_and_forget),)),
    Bug("commit before the fact is in the ledger", "I2", ((Outcomes, "delivered", _delivered_and_resolved),)),
    Bug("a failed ledger write taken for written", "I2|I3", ((Runtime, "_append", _append_and_hope),)),
    Bug("the offset committed, not the next one", "I2|I6", ((OffsetTracker, "_advance", _advance_to_the_last),)),
    Bug("the next offset but one committed", "I2", ((OffsetTracker, "_advance", _advance_by_two),)),
    Bug("the highest resolved offset committed", "I2", ((OffsetTracker, "resolve", _resolve_the_highest),)),
    Bug(
        "a commit after the partition was given up",
        "I7|I2",
        ((CommitQueue, "_take_queued", _take_what_was_given_up_too),),
    ),
    Bug(
        "a letter not awaited before its fact",
        "I1",
        (
            (Outcomes, "write_letter", _write_letter_and_hope),
            (Outcomes, "letter_written", _letter_written_already),
            (Outcomes, "letter_failed", _letter_written_already),
        ),
    ),
    Bug("a key marked before the acknowledgement", "I5", ((DedupeWindow, "claim", _claim_and_mark),)),
    Bug("a rejected key marked", "I5", ((Outcomes, "dead_letter", _dead_letter_and_mark),)),
    Bug("copies dropped with the first that failed", "I1|I6", ((DedupeWindow, "ended", _ended_for_all),)),
    Bug("a waiting copy released twice", "L2|I3|I9|L3|I5|process-", ((DedupeWindow, "ended", _ended_and_still_there),)),
    Bug("a copy does not wait for one in flight", "L3|I3", ((DedupeWindow, "sight", _no_wait),)),
    Bug("a ledger without an end taken for empty", "I3|L2|I1", ((Cluster, "offsets", _offsets_or_empty),)),
    Bug("a ledger read in part taken for whole", "I3|L2|I1", ((reader, "read", _read_or_less),)),
    Bug("facts of another leader epoch resolve", "I1|I2|I6", ((ResolvedOffsets, "covers", _covers_any_epoch),)),
    Bug("facts of another topic id resolve", "I1|I2|I6", ((Restoration, "take", _take_any_topic),)),
    Bug("facts of another destination resolve", "I1|I2|I5|I6", ((Restoration, "take", _take_any_destination),)),
    Bug("an answer resolves the next assignment", "I7|I2|I3", ((Answers, "finished", _finished_by_whoever_has_it),)),
    Bug("a time-out taken for an acknowledgement", "I4", ((AmazonSink, "send", _send_and_assume),)),
    Bug("a re-send under another id", "I3", ((Origin, "derived_id", _derived_from_the_assignment),)),
    Bug("Retry-After not kept", "I13", ((Dispatch, "failed", _failed_and_hurried),)),
    Bug("a wall clock believed that is wrong", "L7|L6", ((BrokerClock, "look", _believes),)),
    Bug("records dropped at the bound", "I1|I2|I6", ((Pipeline, "_polled", _drop_when_full),)),
    Bug("a partition sought before it is resumed", "I6", ((Positions, "resume", _seek_and_resume),)),
    Bug("a seek undone by a late answer believed", "I1|I2|I6|process-", ((Positions, "is_below", _believe_what_comes),)),
    Bug("no pause at the bound", "L5", ((Pipeline, "_settle_fetching", _never_pause),)),
    Bug("no drain at a revoke", "I3|I7", ((Pipeline, "_drain", _release_at_once),)),
    Bug("a lost partition not told of", "I7|L4|I2|I3", ((SourceConsumer, "_on_lost", _end_and_stay_silent),)),
    Bug(
        "sent although the consumer stands still",
        "L4",
        ((Dispatch, "take", _take_without_looking), (Pipeline, "may_start", _start_whatever_became)),
    ),
    Bug("a request that waited for a token sent all the same", "L4|I7", ((Pipeline, "may_start", _start_whatever_became),)),
    Bug("records skipped while the registry is away", "I1|I2|I6", ((Backlog, "decode", _decode_or_skip),)),
    Bug("the ledger's silence is not noticed", "I3", ((BrokerClock, "listen", _not_silent),)),
    Bug(
        "a zombie counts its first poll",
        "I3",
        (
            (PollClock, "polled", _count_every_poll),
            (SourceConsumer, "vouched", _vouched_by_a_poll),
        ),
    ),
    Bug("the frontier jumps to an end of the log", "I2", ((OffsetTracker, "passed_end", _reach_and_jump),)),
    Bug("OFFSET_OUT_OF_RANGE=wait jumps", "I2", ((Restoration, "finish", _finish_and_jump),)),
    Bug("a ledger that lost what a commit rests on is taken", "I3", ((Restoration, "_ledger_lost", _never_lost),)),
    Bug("a ledger emptied from the front is taken", "I3", ((Landmarks, "missing", _nothing_missing),)),
    Bug("a ledger cut short that grew again is taken", "I3", ((Restoration, "take", _take_without_comparing),)),
    Bug("a ledger that was cut under its member is written on", "I3", ((Assignment, "shows_a_cut", _shows_nothing),)),
    Bug("somebody else's commit is taken", "I1", ((Restoration, "in_doubt", _no_doubt),)),
    Bug(
        "somebody else's first commit taken for a start from now",
        "I1",
        ((LedgerReader, "_skipped_since_others_began", _nothing_skipped),),
    ),
    Bug("a commit of a topic that was there before is taken", "I1|I2|I6", ((recovery, "parse_metadata", _parse_any_topic),)),
    Bug("a ledger read without checksums", "I1|I2|I3|I5|L2|process-", ((reader, "read", _read_without_checksums),)),
    Bug(
        "a damaged entry of the ledger skipped",
        "I3|I2|L2",
        ((reader, "read", _read_over_damage), (ledger, "entries", _entries_with_gaps)),
    ),
    Bug("a restore of the newest entries alone", "I3|I2|L2|I1|process-", ((LedgerReader, "recover", _restore_the_newest),)),
    Bug("a damaged batch of the source passed over", "I1|I2|I6", ((Positions, "_stand_still", _go_on_behind),)),
    Bug("sent although the coordinator does not answer", "I3", ((DispatchPolicy, "may_send", _send_unvouched),)),
    Bug("a partition begins anew while its requests are out", "I3|L3", ((Assignment, "restores_at", _restore_at_once),)),
    Bug("a commit beside another", "I2", ((CommitQueue, "send", _commit_without_waiting),)),
    Bug("a commit that does not name the markers below it", "I2|I6", ((Assignment, "commit_point", _commit_at_the_end),)),
    Bug("a commit rests on less than there is", "I2", ((Assignment, "appended", _appended_and_not_noted),)),
    Bug("a log that was cut is read on", "I1|I2|I6", ((Restoration, "finish", _finish_without_epoch),)),
    Bug("a cut log taken for one outside its bounds", "I1|I2|I6", ((Positions, "_was_cut", _never_cut),)),
    Bug("a partition that is told something is not noted", "I6|I1|I9", ((Roster, "find", _find_and_not_note),)),
    Bug("facts that failed are forgotten", "I3|I6|I2", ((FactLog, "failed", _failed_and_forgotten),)),
    Bug("a late verdict is not written down", "I3", ((Outcomes, "delivered", _take_late_verdict_for_none),)),
    Bug("facts of one entry under one leader epoch", "L2|I1|I6", ((Assignment, "append", _append_one_epoch),)),
    Bug("a letter that failed taken for written", "I1", ((Outcomes, "letter_failed", _letter_lost),)),
    Bug("letters held back are dropped", "I1|I6|I9", ((Outcomes, "write_letters_due", _let_nothing_through),)),
    Bug("a letter with another time", "I1", ((dead_letters, "time_kept", _a_little_later),)),
    Bug(
        "copies forgotten when the first is delivered",
        "I6|I1|I9",
        ((DedupeWindow, "delivered", _delivered_and_copies_forgotten),),
    ),
    Bug("a copy that takes a place does not claim it", "L3|I3|I6", ((DedupeWindow, "ended", _ended_and_unclaimed),)),
    Bug("copies of what went stale are forgotten", "I6|I1", ((Outcomes, "went_stale", _stale_and_its_copies),)),
    Bug("what the ledger resolved is done again", "I3|L2|I5", ((ResolvedOffsets, "covers", _nothing_resolved),)),
    Bug("keys in the ledger do not count", "I3", ((SeenKeys, "add_packed", _no_keys),)),
    Bug("the window forgets too soon", "I3", ((SeenKeys, "expire", _forget_all),)),
    Bug(
        "the window goes by event time alone",
        "I3",
        ((DedupeWindow, "delivered", _delivered_by_event_time), (SeenKeys, "add_packed", _keys_by_event_time)),
    ),
    Bug("sent although it went stale on the way", "L2", ((Pipeline, "_send_due", _send_whatever_age),)),
    Bug("seconds taken for an old event", "L2|L7", ((FreshnessPolicy, "judge", _judge_by_age_alone),)),
    Bug("polls dropped while the clocks disagree", "I1|I2|I6", ((Pipeline, "_polled", _polled_or_dropped),)),
    Bug("batches keep what is another's", "I7|L4|process-", ((Batcher, "drop", _forget_nothing_of_it),)),
    Bug("retries keep what is another's", "I7|L4|process-", ((RetryQueue, "drop", _forget_nothing_of_it),)),
    Bug("a refused request blamed on its event at once", "L6", ((Blame, "at_fault", _blame_it),)),
    Bug("a request too large blamed on all its events", "L6", ((Blame, "at_fault", _blame_all),)),
    Bug("an event given up after one answer without its verdict", "L6", ((Answers, "_own_tries", _try_once),)),
    Bug(
        "an event that the answer leaves out taken for delivered",
        "I4",
        ((AmazonSink, "send", _send_and_take_silence_for_yes),),
    ),
    Bug("an answer that says nothing taken for success", "I4", ((AmazonSink, "send", _send_and_take_200_for_yes),)),
    Bug("a batch larger than the policy", "L5", ((Batcher, "take", _take_what_fits_or_not),)),
    Bug("more requests at once than the policy", "L5", ((ConcurrencyLimit, "value", property(_never_full)),)),
    Bug(
        "released before its facts are confirmed",
        "I3|process-",
        ((Assignment, "idle", property(_idle_before_it_is_confirmed)),),
    ),
    Bug("a drain without its end", "L4", ((Pipeline, "_drain", _drain_longer),)),
    Bug(
        "records posted twice after the registry was away",
        "process-|I9",
        ((Backlog, "decode_again", _decode_all_again),),
    ),
    Bug("an unknown schema believed at once", "L6", ((Registry, "definitions", _definitions_at_once),)),
    Bug("headers that cannot be read end the process", "process-", ((intake, "all_headers_of", _headers_as_they_come),)),
    Bug("what one record raises ends the process", "process-", ((intake, "ConnectorError", Exception),)),
)
"""Each with the check that is to catch it."""


def main() -> int:
    """Print the table; return 1 if a bug was not found."""
    missed, wanted = 0, sys.argv[1:] or [""]
    print("| bug | seeds | caught by |\n| --- | ---: | --- |")
    for bug in BUGS:
        if not any(part in bug.name for part in wanted):
            continue
        found = hunt(bug, range(1, 1001))
        missed += found is None
        print(
            f"| {bug.name} | {found.tried} | {found.complaint} |" if found else f"| {bug.name} | NOT FOUND | |", flush=True
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
