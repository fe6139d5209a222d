"""`connector audit`: the outcome of every offset of the source topics, by ledger and dead letters.

The command changes nothing. It may run beside live connectors without a false alarm, because of the
order in which it reads:

1. The committed offsets. Everything that they rest on was written before.
2. The source, from its first offset to its end at that time: which offsets have a record, and under
   which leader epoch.
3. The ledger, to its end at that later time. It contains every fact that the commits rest on.
4. The dead letters, to their end at that time. A letter is written before its fact, so each fact
   that was read has its letter here.

A record without a fact is one of these:

- *unaccounted*, below the committed offset. A commit that was not the connector's skipped the
  record, or its fact was lost.
- *pending*, at or above the committed offset.
- *before the start*, below the offset at which the connector began, by the first entry of its
  ledger. An operator had the connector start from now, or accepted a new ledger.
- *forgotten*, if the ledger's retention may have deleted its fact. It cannot be judged.

The last two are counted and reported, but raise no alarm. A missing letter does, even if the
dead-letter topic deleted it: it was all that was left of its event.

Facts of every destination count, because they say what became of the record. Copies are counted
only among facts of the present destination and dedupe key.

Memory: one byte per offset, and 28 bytes per delivered key in the ledger.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from connector.assembly import ledger_policy, read_settings
from connector.avro import ledger_entry
from connector.cli import times
from connector.cli.audit_account import Copies, DeliveredKeys, PartitionAccount, PartitionTotals
from connector.cli.progress import ProgressBar
from connector.config import Settings
from connector.errors import KafkaDenied, KafkaUnavailable
from connector.kafka.ledger import LedgerPolicy
from connector.kafka.managed_topics import forgets
from connector.kafka.topic_reader import TopicReader
from connector.model import UNKNOWN_EPOCH, Outcome, TopicDescription, TopicPartition
from connector.telemetry import configure_logging

__all__ = ["TopicAudit", "audit", "run", "set_up"]

_COMPLETE, _INCOMPLETE = 0, 1
_HOUR_MS = 3_600_000
"""Safety margin for the audit's own run time and the clock skew of producers: facts this close to
the ledger's retention may be gone before they are read."""
_PLACES = 10
"""Places named in the JSON for each partition."""
_SHOWN = 5
"""Places named in a message."""
_FATES = (Outcome.DELIVERED, Outcome.DEAD_LETTERED, Outcome.DUPLICATE, Outcome.STALE, Outcome.IGNORED)


@dataclass(slots=True)
class TopicAudit:
    """The account of one source topic."""

    topic: str
    topic_id: str
    partitions: dict[int, PartitionTotals]
    copies: Copies
    facts_of_another_topic: int
    """Facts about a topic of this name that was deleted."""
    letters_deleted: bool
    """Whether the dead-letter topic deleted records, or may have by its settings. A missing letter
    may be one of them."""
    not_ours: tuple[int, ...]
    """Partitions whose offset was not committed by a connector."""

    @property
    def accounted_for(self) -> bool:
        """Whether every record has its outcome, and every dead letter is there."""
        return not any(totals.unaccounted for totals in self.partitions.values()) and not self.letters_missing

    @property
    def letters_missing(self) -> int:
        """The number of dead-lettered facts without a letter."""
        return sum(totals.letters_missing for totals in self.partitions.values())


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Read source topics, ledger and dead letters, and account for every offset: delivered, dead-lettered, duplicate, "
        "stale, ignored, pending (not committed yet), or unaccounted. Changes nothing, and may run beside live connectors. "
        "Settings come from the environment, as for `run`."
    )
    parser.epilog = (
        "Exit codes: 0 all records accounted for; 1 records or dead letters are missing, or the audit failed; 2 settings "
        "refused."
    )
    parser.add_argument(
        "--since",
        type=times.time_ms,
        metavar="TIME",
        help="only records from this time on: 2026-11-22T10:00Z, or 2h for two hours ago (default: all records)",
    )
    parser.add_argument("--json", action="store_true", help="write the result as JSON, for machines")


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Audit every source topic; return 0 if all records are accounted for, 1 if not.

    Raises:
        SettingsError: with every problem of the settings.
    """
    as_of_ms = times.now_ms()
    settings = read_settings(environ)
    configure_logging("error", "console")
    with ProgressBar() as bar:
        audits = audit(settings, bar, now_ms=as_of_ms, since_ms=arguments.since)
    if arguments.json:
        print(json.dumps(_as_json(settings, audits, as_of_ms), indent=2))
    else:
        _show(settings, audits, as_of_ms)
    return _COMPLETE if all(one.accounted_for for one in audits) else _INCOMPLETE


def audit(settings: Settings, bar: ProgressBar, *, now_ms: int, since_ms: int | None = None) -> list[TopicAudit]:
    """Audit every source topic.

    Raises:
        KafkaUnavailable: a topic is missing, or cannot be read for now.
        LedgerRefused: the ledger is another connector's, damaged, or of an unknown format.
        LogDamaged: one of the topics is damaged.
    """
    reader = TopicReader(settings.kafka, bar.advance)
    return [
        _TopicAuditor(settings, reader, bar, reader.source(topic)).audit(now_ms, since_ms) for topic in settings.kafka.topics
    ]


@dataclass(slots=True)
class _TopicAuditor:
    settings: Settings
    reader: TopicReader
    bar: ProgressBar
    source: TopicDescription
    accounts: dict[int, PartitionAccount] = field(default_factory=dict)
    keys: DeliveredKeys = field(default_factory=DeliveredKeys)
    facts_of_another_topic: int = 0

    def audit(self, now_ms: int, since_ms: int | None) -> TopicAudit:
        places = [TopicPartition(self.source.name, number) for number in range(self.source.partitions)]
        commits = {place: self.reader.commit(place, self.source.topic_id) for place in places}
        bounds = {place: self._bounds(place, since_ms) for place in places}
        for place, (first, end) in bounds.items():
            self.accounts[place.partition] = PartitionAccount(first, end, commits[place][0], begins=since_ms is None)
        forgotten_before_ms = self._forgotten_before(now_ms)
        self.bar.phase(f"{self.source.name}: source", _total(bounds))
        for place, (first, end) in bounds.items():
            self._read_source(place, first, end, forgotten_before_ms.get(place.partition))
        ledger = self.reader.bounds(self.settings.ledger.topic_for(self.source.name))
        self.bar.phase(f"{self.source.name}: ledger", _total(ledger))
        policy = ledger_policy(self.settings)
        for place, stretch in ledger.items():
            self._read_ledger(place, stretch, policy)
        letters_topic = self.settings.dead_letters.topic_for(self.source.name)
        letters = self.reader.bounds(letters_topic)
        self.bar.phase(f"{self.source.name}: dead letters", _total(letters))
        self._read_letters(letters)
        return TopicAudit(
            self.source.name,
            self.source.topic_id,
            {number: account.totals(_PLACES) for number, account in self.accounts.items()},
            self.keys.copies(),
            self.facts_of_another_topic,
            any(first > 0 for first, _ in letters.values()) or (bool(letters) and self._forgets(letters_topic)),
            tuple(place.partition for place, (_, ours) in commits.items() if not ours),
        )

    def _forgets(self, topic: str) -> bool:
        try:
            return forgets(self.reader.cluster.settings(topic))
        except KafkaDenied:  # nothing else here needs that right
            return False

    def _bounds(self, place: TopicPartition, since_ms: int | None) -> tuple[int, int]:
        first, end = self.reader.cluster.offsets(place, stable=True)
        if since_ms is not None:
            found = self.reader.cluster.offset_at(place, since_ms)
            first = end if found is None else min(max(first, found), end)
        return first, end

    def _forgotten_before(self, now_ms: int) -> dict[int, int]:
        """Return the time before which a record's facts may be gone, by partition.

        Only partitions of the ledger that retention cut have such a time.
        """
        name = self.settings.ledger.topic_for(self.source.name)
        cut = [place.partition for place, (first, _) in self.reader.bounds(name).items() if first > 0]
        retention_ms = int(self.reader.cluster.settings(name).get("retention.ms", "-1")) if cut else -1
        return dict.fromkeys(cut, now_ms - retention_ms + _HOUR_MS) if retention_ms >= 0 else {}

    def _read_source(self, place: TopicPartition, first: int, end: int, forgotten_before_ms: int | None) -> None:
        account, next_offset = self.accounts[place.partition], first
        while True:
            try:
                for record in self.reader.read(place, next_offset, end):
                    epoch, offset = record.leader_epoch(), record.offset() or 0
                    forgotten = forgotten_before_ms is not None and record.timestamp()[1] < forgotten_before_ms
                    account.take_record(offset, UNKNOWN_EPOCH if epoch is None else epoch, forgotten=forgotten)
                    next_offset = offset + 1
            except KafkaUnavailable:
                begins_at, _ = self.reader.cluster.offsets(place)
                if begins_at <= next_offset:
                    raise
                account.begin_at(begins_at)  # retention deleted these records before they were read
                next_offset = begins_at
            else:
                return

    def _read_ledger(self, place: TopicPartition, bounds: tuple[int, int], policy: LedgerPolicy) -> None:
        account = self.accounts.get(place.partition)
        unopened = bounds[0] == 0  # in a ledger cut by retention, the first entry left is not the first one ever
        for _, entry in self.reader.entries(self.source.name, policy.group, place, bounds):
            header = entry.header
            if (header.destination, header.dedupe_key) == (policy.destination, policy.dedupe_key):
                self._take_keys(entry)
            if header.source_topic_id != self.source.topic_id or account is None:
                self.facts_of_another_topic += sum(run_of.length for run_of in entry.runs)
                continue
            if unopened and entry.start is not None:
                account.started_at(entry.start)
            unopened = False
            for run_of in entry.runs:
                account.take_facts(run_of.first_offset, run_of.length, run_of.outcome, run_of.epoch)

    def _take_keys(self, entry: ledger_entry.LedgerEntry) -> None:
        delivered = 0
        for first, length, outcome, _ in entry.runs:
            if outcome is not Outcome.DELIVERED:
                continue
            for offset in range(first, first + length):
                key = entry.keys[delivered : delivered + ledger_entry.KEY_BYTES]
                delivered += ledger_entry.KEY_BYTES
                if any(key):  # all zero: an event without a dedupe key
                    self.keys.add(key, entry.header.partition, offset)

    def _read_letters(self, bounds: dict[TopicPartition, tuple[int, int]]) -> None:
        name, group = self.source.name, self.settings.kafka.group_id
        for _, _, letter in self.reader.letters(bounds):
            if letter is None or (letter.group, letter.source.topic) != (group, name):
                continue
            account = self.accounts.get(letter.source.partition)
            if account is not None and letter.may_stand_in(self.reader.cluster_id, self.source.topic_id):
                account.take_letter(letter.offset)


def _total(bounds: Mapping[TopicPartition, tuple[int, int]]) -> int:
    return sum(end - first for first, end in bounds.values())


# ---- output


def _as_json(settings: Settings, audits: list[TopicAudit], now_ms: int) -> dict[str, Any]:
    return {
        "accounted_for": all(one.accounted_for for one in audits),
        "as_of": _time(now_ms),
        "group": settings.kafka.group_id,
        "topics": [_topic_as_json(one) for one in audits],
    }


def _topic_as_json(one: TopicAudit) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "topic_id": one.topic_id,
        "accounted_for": one.accounted_for,
        "copies_across_partitions": one.copies.across_partitions,
        "copies_within_a_partition": one.copies.within_a_partition,
        "facts_of_another_topic": one.facts_of_another_topic,
        "letters_deleted": one.letters_deleted,
        "commits_not_ours": one.not_ours,
        "partitions": [
            {
                "partition": number,
                "first_offset": totals.first_offset,
                "end_offset": totals.end_offset,
                "committed_offset": totals.next_offset,
                "records": totals.records,
                "gaps": totals.gaps,
                **{outcome.name.lower(): totals.fates[outcome] for outcome in _FATES},
                **{name: getattr(totals, name) for name in _COUNTS},
                "unaccounted_offsets": totals.unaccounted_offsets,
                "letters_missing_offsets": totals.letters_missing_offsets,
            }
            for number, totals in one.partitions.items()
        ],
    }


_COUNTS = (
    "pending",
    "letter_only",
    "before_start",
    "forgotten",
    "unaccounted",
    "letters_missing",
    "facts_again",
    "facts_elsewhere",
)
_ALWAYS = ("delivered", "dead-lettered", "duplicate", "stale", "ignored", "pending", "unaccounted")
"""Rows that the table always has. The others appear if they count something."""
_NOTES = {
    "letter_only": "records have a dead letter but no fact",
    "before_start": "records lie before the offset at which the connector began, by the first entry of its ledger",
    "forgotten": "records are older than the ledger's retention: their facts, if there were any, are deleted",
    "facts_again": "facts are about a record that had one already (after a crash, or from two members)",
    "facts_elsewhere": "facts are about records that the log no longer contains",
}


def _show(settings: Settings, audits: list[TopicAudit], now_ms: int) -> None:
    console = Console()
    console.print(f"group {settings.kafka.group_id}, as of {_time(now_ms)}", soft_wrap=True, highlight=False)
    for one in audits:
        console.print(f"\n{one.topic}", style="bold", soft_wrap=True, highlight=False)
        console.print(_by_partition(one), _by_fate(one), highlight=False)
        for message in _notes(one):
            console.print(message, soft_wrap=True, highlight=False)
        for message in _wrong(one):
            console.print(message, style="red", soft_wrap=True, highlight=False)
    if all(one.accounted_for for one in audits):
        message = (
            "all records accounted for: each one below the committed offsets has an outcome, and every dead letter is there"
        )
        console.print(message, style="green", soft_wrap=True)
    else:
        unaccounted = sum(totals.unaccounted for one in audits for totals in one.partitions.values())
        missing = sum(one.letters_missing for one in audits)
        console.print(
            f"{unaccounted} records unaccounted for, {missing} dead letters missing", style="bold red", highlight=False
        )


def _by_partition(one: TopicAudit) -> Table:
    """Return a table narrow enough for any terminal.

    The outcomes of each partition are in the JSON.
    """
    table = Table(box=SIMPLE)
    for name in ("partition", "first", "end", "committed", "resolved", "pending", "missing"):
        table.add_column(name, justify="right")
    for number, each in one.partitions.items():
        missing = each.unaccounted + each.letters_missing
        counts = (each.first_offset, each.end_offset, each.next_offset, sum(each.fates.values()), each.pending, missing)
        cells = ["-" if count is None else f"{count:,}" for count in counts]
        table.add_row(str(number), *cells, style="red" if missing else None)
    return table


def _by_fate(one: TopicAudit) -> Table:
    totals = one.partitions.values()
    rows = {outcome.name.lower().replace("_", "-"): sum(each.fates[outcome] for each in totals) for outcome in _FATES}
    for name in ("pending", "letter_only", "before_start", "forgotten", "unaccounted", "letters_missing", "gaps"):
        rows[name.replace("_", " ")] = sum(getattr(each, name) for each in totals)
    table = Table(box=SIMPLE)
    table.add_column("outcome")
    table.add_column("records", justify="right")
    for name, count in rows.items():
        if count or name in _ALWAYS:
            table.add_row(name, f"{count:,}")
    table.add_section()
    table.add_row("all records", f"{sum(each.records for each in totals):,}")
    return table


def _notes(one: TopicAudit) -> list[str]:
    found = []
    for name, what in _NOTES.items():
        if count := sum(getattr(each, name) for each in one.partitions.values()):
            found.append(f"{count:,} {what}")
    if one.facts_of_another_topic:
        found.append(f"{one.facts_of_another_topic:,} facts are about a topic of this name that was deleted")
    if count := one.copies.across_partitions:
        found.append(f"{count:,} {_ACROSS}")
    if count := one.copies.within_a_partition:
        found.append(f"{count:,} {_WITHIN}")
    return found


_ACROSS = "copies were delivered from another partition than the first event of their key: key the topic by the dedupe id"
_WITHIN = (
    "copies were delivered from the same partition as the first event of their key: they came further apart than "
    "DEDUPE_WINDOW, or facts were lost in between"
)
_UNACCOUNTED = (
    "records below the committed offset have neither a fact nor a dead letter: a commit that was not the connector's "
    "skipped them, or their facts were lost"
)
_LETTERS_MISSING = "records are dead-lettered according to the ledger, but their dead letters are missing"
_LETTERS_DELETED = (
    "records are dead-lettered according to the ledger, but their dead letters are missing: the dead-letter topic "
    "deleted records (by its settings, or an operator did)"
)


def _wrong(one: TopicAudit) -> list[str]:
    parts = one.partitions.items()
    found = []
    if count := sum(each.unaccounted for _, each in parts):
        places = [f"{one.topic}-{number}@{at}" for number, each in parts for at in each.unaccounted_offsets]
        found.append(_listed(count, _UNACCOUNTED, places))
        if skipping := [f"{one.topic}-{number}" for number, each in parts if number in one.not_ours and each.unaccounted]:
            found.append(f"the committed offset of {', '.join(skipping)} was set by an operator, or by another consumer")
    if one.letters_missing:
        places = [f"{one.topic}-{number}@{at}" for number, each in parts for at in each.letters_missing_offsets]
        found.append(_listed(one.letters_missing, _LETTERS_DELETED if one.letters_deleted else _LETTERS_MISSING, places))
    return found


def _listed(count: int, what: str, places: list[str]) -> str:
    return f"{count:,} {what}: {', '.join(places[:_SHOWN])}{', …' if count > _SHOWN else ''}"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
