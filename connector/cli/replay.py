"""`connector replay`: puts dead letters back on their source topic, each record exactly once.

What is written. The record as it was: key, value, timestamp and its own headers byte for byte, to
the partition that it came from. If the letter lacks a part of the record, which was too large for
the letter's topic, the record is read from the source topic again. It carries three of our headers:

- ``connector.dedupe-id`` stays, so that an event without an id of its own keeps the derived one, and
  Amazon can recognise a copy.
- ``connector.replay-of`` names the record that it is a copy of.
- ``connector.replays`` counts its replays.

What is not replayed (`replay_plan.Skipped` has the full list): records that were delivered after
all by the ledger, that were replayed before, that the connector has not committed and will judge
again by itself, that were replayed and dead-lettered again ``--max-replays`` times, or that the
source topic's retention would delete at once.

Exactly once, also after SIGKILL and with two operators at once. Earlier replays are read from the
source topic itself, by ``connector.replay-of``. Batches are written in transactions, under one
transactional id for each source topic. A run takes these steps:

1. It reads, shows the plan and asks.
2. It takes the transactional id. That ends any open transaction of another run, and fences that run.
3. It reads what came to the source topic since step 1.
4. It writes.

The second of two runs therefore finds what the first one wrote. A mark is missing only if the
source topic deleted it before its time (``retention.bytes``, an operator). The summary says how
many letters that may concern.

Nothing else is written. The ledger learns of the copy as of any record, and the letter stays where
it is. Every reader of the source topic gets the copy. Another group that delivered the record
judges the copy again; it has the same id.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from connector import signals
from connector.assembly import ledger_policy, read_settings
from connector.cli import times
from connector.cli.progress import ProgressBar
from connector.cli.replay_plan import Candidate, Plan, Planner, Selection, Skipped
from connector.config import Settings
from connector.core.letters import DEDUPE_ID_HEADER, UNREADABLE, Letter, marked, replay_of, replayed, size
from connector.errors import KafkaUnavailable, RecordsRefused
from connector.kafka.topic_reader import TopicReader, headers
from connector.kafka.transactions import OutgoingRecord, TransactionalProducer
from connector.model import Reason, TopicDescription, TopicPartition
from connector.telemetry import configure_logging

__all__ = ["Asked", "run", "set_up"]

_DONE, _FAILED, _REFUSED = 0, 1, 2
_NOT_TAKEN = (
    "letters stay, because the source topic refuses their records with a replay's headers ({}): if they are too large, "
    "raise its max.message.bytes by 1 KB"
)
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


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Put dead letters of this group back on the source topic: key, value, timestamp and headers as they were, with "
        "the id they had. Shows the plan and asks first. Each record is replayed once, even if the command is killed, "
        "run again, or run twice at once. Records that were delivered after all are left out. Every reader of the "
        "source topic gets the copies. Fix the cause first: events that are refused again become dead letters again. "
        "Settings come from the environment, as for `run`."
    )
    parser.epilog = (
        "TIME is 2026-11-22T10:00Z, or 2h for two hours ago. Exit codes: 0 done; 1 declined, interrupted or failed; 2 "
        "settings refused, or no terminal to ask on and no --yes."
    )
    reasons = [reason.value for reason in Reason]
    parser.add_argument(
        "--reason",
        action="append",
        choices=reasons,
        metavar="REASON",
        help=f"only letters with this reason; may be given several times ({', '.join(reasons)})",
    )
    parser.add_argument(
        "--since",
        type=times.time_ms,
        metavar="TIME",
        help="only letters from this time on, by the ledger; letters older than the ledger are left out",
    )
    parser.add_argument(
        "--until", type=times.time_ms, metavar="TIME", help="only letters from before this time, by the ledger"
    )
    parser.add_argument(
        "--limit", type=_count, metavar="N", help="replay at most N letters of each topic, to try a few first"
    )
    parser.add_argument(
        "--max-replays",
        type=_count,
        default=1,
        metavar="N",
        help="how often one event may be replayed in all (default: 1), so that none goes round in circles",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and write nothing")
    parser.add_argument("--yes", action="store_true", help="write without asking")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Replay; return 0 when done, 1 if declined or failed, 2 if there is no terminal to ask on.

    Raises:
        SettingsError: with every problem of the settings.
    """
    asked, started_ms = Asked.read(arguments), times.now_ms()
    settings = read_settings(environ)
    configure_logging("error", "console")
    if not (asked.yes or asked.dry_run or sys.stdin.isatty()):
        message = "connector replay asks before it writes, and there is no terminal to ask on: give --yes, or --dry-run"
        print(message, file=sys.stderr)
        return _REFUSED
    console = Console()
    with ProgressBar() as bar:
        reader = TopicReader(settings.kafka, bar.advance)
        replays = [_TopicReplay(settings, reader, bar, topic, asked, started_ms) for topic in settings.kafka.topics]
        for one in replays:
            one.look()
    for one in replays:
        one.show(console)
    count = sum(len(one.plan.chosen) for one in replays)
    if not count or asked.dry_run:
        console.print("a dry run: nothing was written" if count else "nothing to replay", highlight=False)
        return _DONE
    if not (asked.yes or _agreed(console, count)):
        console.print("declined: nothing was written")
        return _FAILED
    return _write(replays, console)


def _agreed(console: Console, count: int) -> bool:
    try:
        return console.input(f"Replay {count:,} dead letters? \\[y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False


def _write(replays: list[_TopicReplay], console: Console) -> int:
    try:
        with (
            ProgressBar() as bar,
            signals.held() as end_if_asked,
        ):  # a signal ends it between batches, when the count is exact
            for one in replays:
                one.write(bar, end_if_asked)
    finally:  # also after an interruption or a failure: what was written stays
        for one in replays:
            one.say_written(console)
    return _FAILED if any(one.left for one in replays) else _DONE


@dataclass(slots=True)
class _TopicReplay:
    """The replay of one source topic."""

    settings: Settings
    reader: TopicReader
    bar: ProgressBar
    topic: str
    asked: Asked
    now_ms: int
    plan: Plan = field(init=False)
    written: int = 0
    by_another_run: int = 0
    left: dict[str, list[str]] = field(default_factory=dict)
    """Records that were left in the end, by the reason."""
    _source: TopicDescription = field(init=False)
    _planner: Planner = field(init=False)
    _looked_to: dict[TopicPartition, int] = field(default_factory=dict)
    """The end of the search for replayed records, for each source partition that may contain one."""
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
        """Return where the search for replayed records begins.

        It begins after the record itself, if the record's place is known.
        """
        found: dict[TopicPartition, int] = {}
        for candidate in self._planner.candidates():
            letter, target = candidate.letter, self._target(candidate.letter)
            known = letter.id_derived and letter.may_stand_in(self.reader.cluster_id, self._source.topic_id)
            first = max(letter.offset + 1, firsts[target]) if known else firsts[target]
            found[target] = min(first, found.get(target, first))
        return found

    def _target(self, letter: Letter) -> TopicPartition:
        """Return the partition for a letter's replay: its own.

        If the topic has fewer partitions now, it is always the same other one.
        """
        return TopicPartition(self.topic, letter.source.partition % self._source.partitions)

    def _search(self, place: TopicPartition, first: int, end: int) -> None:
        self.bar.phase(f"{place}: replayed before?", max(end - first, 0))
        for message in self.reader.read(place, first, end):
            if (found := replay_of(headers(message))) is not None:
                self._planner.take_replay(*found)

    def _oldest_ms(self) -> int | None:
        """Return the time of the oldest record that the source topic accepts and keeps.

        None without such a limit.

        There is none if the topic goes by append times.
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
                self.left.setdefault(_NOT_TAKEN.format(refusal), []).append(record)
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
