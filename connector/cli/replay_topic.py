"""The replay of one source topic's dead letters, in three steps: look, show, write.

`connector.cli.replay` says what is written, what is not, and why each record is replayed once.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from connector.assembly import ledger_policy
from connector.cli.progress import ProgressBar
from connector.cli.replay_plan import Candidate, Planner, ReplayPlan, Selection, Skipped
from connector.config import Settings
from connector.core.letters import DEDUPE_ID_HEADER, UNREADABLE, Letter, marked, replay_of, replayed, size
from connector.errors import KafkaUnavailable, RecordsRefused
from connector.kafka.topic_reader import TopicReader, headers
from connector.kafka.transactions import OutgoingRecord, TransactionalProducer
from connector.model import TopicDescription, TopicPartition

__all__ = ["Asked", "TopicReplay"]

_NOT_TAKEN = "letters stay, because the source topic refuses their records with a replay's headers ({}): {}"
_WHAT_TO_DO = {
    "INVALID_RECORD": "where its cleanup.policy has compact, it takes no record without a key; set delete for the replay",
    "INVALID_TIMESTAMP": "their times are outside its message.timestamp.before.max.ms and message.timestamp.after.max.ms; "
    "raise these for the replay",
}
_TOO_LARGE = "if they are too large, raise its max.message.bytes by 1 KB"
_GONE = "letters stay, because they lack a part of their records, and the source topic no longer has the records"
_SHOWN = 5
_BATCH_RECORDS = 500
_BATCH_BYTES = 4_000_000
"""A batch ends at whichever limit comes first. A run that is killed holds up the source's readers
by one batch at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    max_replays: int = 1
    limit: int | None = None
    dry_run: bool = False
    yes: bool = False

    @classmethod
    def read(cls, arguments: argparse.Namespace) -> Self:
        """Read the options that `set_up` declares."""
        return cls(
            reasons=frozenset(arguments.reason or ()),
            since_ms=arguments.since,
            until_ms=arguments.until,
            max_replays=arguments.max_replays,
            limit=arguments.limit,
            dry_run=arguments.dry_run,
            yes=arguments.yes,
        )


@dataclass(slots=True)
class TopicReplay:
    """The replay of one source topic."""

    settings: Settings
    reader: TopicReader
    bar: ProgressBar
    topic: str
    asked: Asked
    now_ms: int
    plan: ReplayPlan = field(init=False)
    written: int = 0
    by_another_run: int = 0
    left: dict[str, list[str]] = field(default_factory=dict)
    """Records that could not be replayed, by the reason."""
    _source: TopicDescription = field(init=False)
    _planner: Planner = field(init=False)
    _looked_to: dict[TopicPartition, int] = field(default_factory=dict)
    """The end of the search for replayed records, for each source partition that may contain
    one."""
    _cut: int = 0
    """The number of chosen letters that may have been replayed by a record that was deleted before
    its time."""

    # ---- look

    def look(self) -> None:
        """Read letters, ledger and source, and make the plan."""
        asked, reader = self.asked, self.reader
        group = self.settings.kafka.group_id
        self._source = reader.source(self.topic)
        self._must_be_writable()
        selection = Selection(
            group, self.topic, asked.reasons, asked.since_ms, asked.until_ms, asked.max_replays, asked.limit
        )
        self._planner = planner = Planner(selection, reader.cluster_id)
        self._read_letters()
        partitions = [TopicPartition(self.topic, number) for number in range(self._source.partitions)]
        commits = {place.partition: reader.next_offset(place, self._source.topic_id) for place in partitions}
        firsts = {place: reader.cluster.offsets(place)[0] for place in partitions}
        open_from = {place.partition: max(commits[place.partition] or 0, firsts[place]) for place in partitions}
        self._read_ledger()
        for place, first in self._searched_from(firsts).items():
            self._looked_to[place] = reader.cluster.offsets(place, stable=True)[1]
            self._search(place, first, self._looked_to[place])
        begins_at = {place.partition: first for place, first in firsts.items()}
        self.plan = planner.plan(self._source.topic_id, open_from, self._oldest_ms(), begins_at)
        self._cut = sum(
            firsts[self._target(candidate.letter)] > candidate.letter.offset + 1 for candidate in self.plan.chosen
        )

    def _must_be_writable(self) -> None:
        if not self.asked.dry_run and self._source.lacks("WRITE"):
            raise KafkaUnavailable(f"topic {self.topic}: this client may not write to it; grant Write with kafka-acls.sh")

    def _read_letters(self) -> None:
        bounds = self.reader.bounds(self.settings.dead_letters.topic_for(self.topic))
        self.bar.phase(f"{self.topic}: dead letters", sum(end - first for first, end in bounds.values()))
        for place, message, letter in self.reader.letters(bounds):
            self._planner.take_letter(place, message.offset() or 0, letter)

    def _read_ledger(self) -> None:
        policy = ledger_policy(self.settings)
        bounds = self.reader.bounds(self.settings.ledger.topic_for(self.topic))
        self.bar.phase(f"{self.topic}: ledger", sum(end - first for first, end in bounds.values()))
        for place, stretch in bounds.items():
            for append_ms, entry in self.reader.entries(self.topic, policy.group, place, stretch):
                header = entry.header
                for run_of in entry.runs:
                    ours = header.destination == policy.destination
                    self._planner.take_facts(header.partition, header.source_topic_id, run_of, append_ms, ours=ours)

    def _searched_from(self, firsts: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return where to search for earlier replays: behind the record, if its place is known."""
        found: dict[TopicPartition, int] = {}
        for candidate in self._planner.candidates():
            letter, target = candidate.letter, self._target(candidate.letter)
            known = letter.id_derived and letter.may_stand_in(self.reader.cluster_id, self._source.topic_id)
            first = max(letter.offset + 1, firsts[target]) if known else firsts[target]
            found[target] = min(first, found.get(target, first))
        return found

    def _target(self, letter: Letter) -> TopicPartition:
        """Return the partition for a letter's replay: its own, or a fixed one if that is gone."""
        return TopicPartition(self.topic, letter.source.partition % self._source.partitions)

    def _search(self, place: TopicPartition, first: int, end: int) -> None:
        self.bar.phase(f"{place}: replayed before?", max(end - first, 0))
        for message in self.reader.read(place, first, end):
            if (found := replay_of(headers(message))) is not None:
                self._planner.take_replay(*found)

    def _oldest_ms(self) -> int | None:
        """Return the time of the oldest record that the source topic accepts and keeps.

        None if there is no such limit, as in a topic that goes by append times.
        """
        settings = self.reader.cluster.settings(self.topic)
        if settings.get("message.timestamp.type") != "CreateTime":
            return None
        limits = [settings.get("message.timestamp.before.max.ms")]  # KIP-937: not known before Kafka 3.6
        limits += [settings.get("retention.ms")] if "delete" in settings.get("cleanup.policy", "") else []
        ages = [int(limit) for limit in limits if limit is not None and int(limit) >= 0]
        return self.now_ms - min(ages) if ages else None

    # ---- show

    def show(self, console: Console) -> None:
        """Show what will be replayed, what will not, and why."""
        letters, group = self.settings.dead_letters.topic_for(self.topic), self.settings.kafka.group_id
        console.print(f"\n{letters}: dead letters of group {group}", style="bold", soft_wrap=True, highlight=False)
        table = Table("", "reason", box=SIMPLE)
        table.add_column("letters", justify="right")
        chosen = self.plan.chosen
        for reason, count in sorted(Counter(candidate.letter.reason for candidate in chosen).items()):
            table.add_row("replay", reason, f"{count:,}", style="green")
        for why in Skipped:
            if count := self.plan.skipped[why]:
                table.add_row("skip", why.value, f"{count:,}")
        console.print(table, highlight=False)
        max_age_ms = self.settings.freshness.max_age_ms
        if stale := sum(0 <= candidate.letter.timestamp_ms < self.now_ms - max_age_ms for candidate in chosen):
            console.print(
                f"{stale:,} of them were produced longer ago than MAX_EVENT_AGE: if their events are as old, they "
                "will be stale, and not sent",
                style="yellow",
                soft_wrap=True,
            )
        if unreadable := sum(UNREADABLE in candidate.letter.left_out for candidate in chosen):
            console.print(
                f"{unreadable:,} of them had headers with names that are not UTF-8: they will be replayed without headers",
                style="yellow",
                soft_wrap=True,
            )
        if self._cut:
            console.print(
                f"{self._cut:,} of them stand before the first record that {self.topic} still has: if they were replayed "
                "before, and that copy was deleted before its time, they will be replayed twice (with the same id)",
                style="yellow",
                soft_wrap=True,
            )

    # ---- write

    def write(self, bar: ProgressBar, end_if_asked: Callable[[], None]) -> None:
        """Take the transactional id, find what was replayed meanwhile, and write the rest."""
        if not self.plan.chosen:
            return
        producer = TransactionalProducer(self.settings.kafka, f"{self.topic}.replay")
        producer.fence()
        self.bar, self.reader.advance = bar, bar.advance
        self._look_again()
        left = [candidate for candidate in self.plan.chosen if not candidate.replayed]
        self.by_another_run = len(self.plan.chosen) - len(left)
        bar.phase(f"{self.topic}: replaying", len(left))
        records = self._records(left)
        while batch := list(_batch(records)):
            end_if_asked()
            self._write(producer, batch)
            bar.advance(len(batch))

    def _write(self, producer: TransactionalProducer, batch: list[OutgoingRecord]) -> None:
        """Write a batch.

        If it is refused, write all but the records that the brokers refuse on their own.
        """
        try:
            producer.write(batch)
        except RecordsRefused as refusal:
            half = len(batch) // 2
            if not half:
                _, record = replay_of(batch[0].headers) or ("", "")
                why = _NOT_TAKEN.format(refusal, _WHAT_TO_DO.get(str(refusal), _TOO_LARGE))
                self.left.setdefault(why, []).append(record)
                return
            self._write(producer, batch[:half])
            self._write(producer, batch[half:])
        else:
            self.written += len(batch)

    def _look_again(self) -> None:
        """Search what came to the source since `look`, to its very end.

        No other run can write after that.
        """
        for place, first in self._looked_to.items():
            _, end = self.reader.cluster.offsets(place)
            try:
                self._search(place, first, end)
            except KafkaUnavailable as error:
                raise KafkaUnavailable(
                    f"{error}. Nothing was written. If a producer has a transaction open on {self.topic}, try again once it "
                    "has ended"
                ) from error

    def _records(self, left: list[Candidate]) -> Iterator[OutgoingRecord]:
        """Read the letters again, and yield the record to write for each."""
        self.reader.advance = lambda _: None  # the bar counts what was written
        wanted: dict[TopicPartition, set[int]] = {}
        for candidate in left:
            wanted.setdefault(candidate.place, set()).add(candidate.offset)
        for place, offsets in wanted.items():
            for message in self.reader.read(place, min(offsets), max(offsets) + 1):
                letter = Letter.read(headers(message))
                if message.offset() not in offsets or letter is None:
                    continue
                if not letter.lacks:
                    own = replayed(letter, headers(message))
                    yield OutgoingRecord(self._target(letter), message.key(), message.value(), own, letter.timestamp_ms)
                elif (record := self._from_source(letter)) is not None:
                    yield record

    def _from_source(self, letter: Letter) -> OutgoingRecord | None:
        """Return the record to write, read from the source; None, and a note, if it is gone."""
        message = self.reader.record(letter.source, letter.offset)
        own = headers(message) if message is not None else ()
        brought = (DEDUPE_ID_HEADER, letter.dedupe_id.encode()) in own
        if message is None or message.timestamp()[1] != letter.timestamp_ms or not (letter.id_derived or brought):
            self.left.setdefault(_GONE, []).append(letter.record)
            return None
        marks = marked(letter, own)
        return OutgoingRecord(self._target(letter), message.key(), message.value(), marks, letter.timestamp_ms)

    def say_written(self, console: Console) -> None:
        """Show what was written, also after a run that did not finish."""
        count, left = len(self.plan.chosen), sum(map(len, self.left.values()))
        if not count:
            return
        console.print(
            f"{self.topic}: replayed {self.written:,} of {count:,} dead letters"
            + (f"; {self.by_another_run:,} were replayed by another run meanwhile" if self.by_another_run else "")
            + ("" if self.written + self.by_another_run + left == count else ". Run it again for the rest"),
            soft_wrap=True,
            highlight=False,
        )
        for why, records in self.left.items():
            shown = ", ".join(records[:_SHOWN]) + (", …" if len(records) > _SHOWN else "")
            console.print(f"{len(records):,} {why}: {shown}", style="red", soft_wrap=True, highlight=False)


def _batch(records: Iterator[OutgoingRecord]) -> Iterator[OutgoingRecord]:
    total = 0
    for record in islice(records, _BATCH_RECORDS):
        yield record
        total += len(record.value or b"") + len(record.key or b"") + size(record.headers)
        if total >= _BATCH_BYTES:
            return
