"""Judges a run of the program from outside, by an account that shares no code with it.

    account = Account(records=…, received=…, ledger=…, letters=…, commits=…, …)
    assert judge(account) == []

Everything is evidence that somebody else wrote down: the producer its records, the sandbox what it received, the brokers the
ledger, the dead letters and every commit, the processes their metrics. What it all must add up to:

I1   Every valid record was accepted, or lies in the dead letters with a reason; both only where an answer was not read.
I2   Every record below a committed offset had its fact in the ledger when it was committed, and below the position that the
     commit says it rests on. Commits of a partition never go back, unless an operator set them, or a broker failed: what it
     finds on a connection that the client gave up meanwhile is carried out late, and a client cannot take that back.
I3   An id is accepted again only because its answer was not read, or because a process was interrupted while it was in
     flight (so many can be) or before its fact was in the ledger, and with the same payload. A clean stop excuses nothing.
I4   A *delivered* fact is about a record that was accepted before, and names its event's key and time.
I5   A *duplicate* fact is about a record of whose id another record was accepted before.
I9   Records taken in are resolved, already resolved, released, buffered or in flight, at every scrape.
I12  A dead letter is its record byte for byte, then our headers; letters and *dead-lettered* facts match.
end  Every record has a fact, of the fate it was made for, and no second one that need not be; everything is committed.

Nothing here imports the program under test (`tests/test_architecture.py` sees to it): formats are read by this file's own
readers, from their documentation.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from fastavro import parse_schema, schemaless_reader

__all__ = [
    "Account",
    "Breach",
    "Commit",
    "Entry",
    "Fact",
    "Fate",
    "Interruption",
    "Letter",
    "Source",
    "derived_id",
    "facts_in",
    "judge",
    "key_digest",
    "second_acceptances",
]

_SCHEMA = Path(__file__).parents[2] / "schemas" / "ledger_entry.avsc"
_FORMAT = 1
_KEY_BYTES = 16
_NO_KEY = bytes(_KEY_BYTES)

_CLOCK_MS = 5
"""Between a broker's clock and ours: all run on one host, and write down whole milliseconds."""
_SHOWN = 20

_LETTER_HEADERS = (
    "connector.reason",
    "connector.detail",
    "connector.topic",
    "connector.partition",
    "connector.offset",
    "connector.timestamp",
    "connector.group",
    "connector.dedupe-id",
)

Headers = tuple[tuple[str, bytes | None], ...]
Place = tuple[int, int]
"""Partition and offset of a source record."""


class Fate(StrEnum):
    """What became of a record, as the ledger says it, or what it was made for."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    STALE = "stale"
    IGNORED = "ignored"
    DEAD_LETTERED = "dead_lettered"


_OUTCOMES = {1: Fate.DELIVERED, 2: Fate.DUPLICATE, 3: Fate.STALE, 4: Fate.IGNORED, 5: Fate.DEAD_LETTERED}


# ---- evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A record of the producer's own list: where it lies, what it is, and what it was made for."""

    wanted: Fate
    """`Fate.DELIVERED` for every valid event, copies too: which of them is a duplicate is judged by what was accepted."""
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    event_id: str | None = None
    """The event's own dedupe id; None for one that has none or a blank one, and then it is sent under a derived one."""
    event_time_ms: int | None = None
    """None where nobody can know it."""
    reason: str | None = None
    """The code that its dead letter must give; None takes any."""
    also: frozenset[Fate] = frozenset()
    """Fates that are right too, as where the sandbox rejects by chance."""
    partition: int = 0
    offset: int = -1
    """Below zero until it is produced, as is ``timestamp_ms``."""
    timestamp_ms: int = -1

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self.partition, self.offset


class Entry(NamedTuple):
    """A record of the ledger topic as it lies there."""

    partition: int
    offset: int
    append_ms: int
    value: bytes


class Fact(NamedTuple):
    """One fact of an entry."""

    place: Place
    fate: Fate
    epoch: int
    key: bytes | None
    """The digest of a delivered event's dedupe key; None for an event without one."""
    time_ms: int | None
    ledger_offset: int
    append_ms: int


class Letter(NamedTuple):
    """A record of the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers


class Commit(NamedTuple):
    """A committed offset, as of a moment; in the order they were made."""

    partition: int
    offset: int
    epoch: int
    metadata: str
    at_ms: int
    """By when it was committed."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """A process lost partitions without draining them, between the two moments: it was killed, fenced, or too slow."""

    began_ms: int
    ended_ms: int
    partitions: frozenset[int] | None = None
    """Those it may have had; None is any."""
    at_most: int | None = None
    """Events that could be in requests then."""
    unwritten_ms: int | None = None
    """How long an acknowledged event's fact may take to the ledger: so long before it some had none yet, so long after it
    those of the interrupted may still come. None is any time."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """All evidence on one source topic and group."""

    cluster_id: str
    topic: str
    topic_id: str
    group: str
    records: Sequence[Source]
    received: Sequence[Mapping[str, Any]]
    """Lines of the sandbox's record, in order."""
    ledger: Sequence[Entry]
    letters: Sequence[Letter]
    commits: Sequence[Commit]
    """All there were, or samples of them."""
    scrapes: Sequence[Mapping[str, float]] = ()
    """Metrics of processes at any time, samples by their names as exposed."""
    last_scrapes: Sequence[Mapping[str, float]] = ()
    """Metrics of the processes that ran to the end, when all was done."""
    interruptions: Sequence[Interruption] = ()
    writes_repeated: bool = False
    """Whether brokers failed, so that a fact or letter may have been written twice, and a commit made again late."""
    unanswered: Sequence[tuple[int, int]] = ()
    """Spans of milliseconds in which a commit may be made late that its member never had an answer to."""
    arrives_late_ms: int = 500
    """What a process had sent when it was interrupted reaches the sandbox so much later, at most."""
    complete: bool = True
    """Whether everything should have been done by now."""
    starts: Mapping[int, int] = field(default_factory=dict)
    """Offsets from which on records count, where an operator set the group to begin later than at 0."""

    @cached_property
    def counted(self) -> dict[Place, Source]:
        """The records that must be accounted for."""
        return {each.place: each for each in self.records if each.offset >= self.starts.get(each.partition, 0)}

    @cached_property
    def facts(self) -> dict[Place, list[Fact]]:
        """What the ledger says of each record of this topic, in the ledger's order."""
        found: dict[Place, list[Fact]] = defaultdict(list)
        for entry in self.ledger:
            header, facts = facts_in(entry)
            if header["source_topic_id"] == self.topic_id:
                for fact in facts:
                    found[fact.place].append(fact)
        return dict(found)

    @cached_property
    def accepted(self) -> dict[str, list[Mapping[str, Any]]]:
        """The sandbox's acceptances by id, in order of arrival."""
        found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for line in self.received:
            if line["verdict"] == "accepted":
                found[line["id"]].append(line)
        return dict(found)

    @cached_property
    def by_id(self) -> dict[str, list[Source]]:
        """The records that may be sent under an id, with their copies; those never to be sent are not in here."""
        found: dict[str, list[Source]] = defaultdict(list)
        for each in self.counted.values():
            if Fate.DELIVERED in _right(each) or each.reason in {"rejected", "no-verdict"}:
                found[self.sent_as(each)].append(each)
        return dict(found)

    def sent_as(self, record: Source) -> str:
        """Return the id an event is sent under: its own, the one it was replayed with, or one derived from its place."""
        kept = [value for name, value in record.headers if name == "connector.dedupe-id" and value]
        return record.event_id or (
            kept[0].decode("utf-8", "replace") if kept else derived_id(self.cluster_id, self.topic_id, record)
        )

    def fates(self, place: Place) -> set[Fate]:
        """Return the fates the ledger gives a record."""
        return {fact.fate for fact in self.facts.get(place, ())}


class Breach(NamedTuple):
    """An invariant that does not hold, and where."""

    invariant: str
    what: str


# ---- formats, read by their documentation


def derived_id(cluster_id: str, topic_id: str, record: Source) -> str:
    """Return the id that an event without one is sent under (docs/how-it-works.md#derived-ids)."""
    place = f"{cluster_id}/{topic_id}/{record.partition}/{record.offset}/{record.timestamp_ms}"
    return blake2b(place.encode(), digest_size=_KEY_BYTES).hexdigest()


def key_digest(event_id: str) -> bytes:
    """Return the digest of a dedupe key that is the event's id alone (docs/how-it-works.md#the-window)."""
    text = event_id.encode("utf-8", "surrogatepass")
    return blake2b(b"s%d:%b" % (len(text), text), digest_size=_KEY_BYTES).digest()


@cache
def _schema() -> Any:
    return parse_schema(json.loads(_SCHEMA.read_text("utf-8")))


def facts_in(entry: Entry) -> tuple[dict[str, Any], list[Fact]]:
    """Read a ledger entry: its header's fields, and its facts one by one (``schemas/ledger_entry.avsc``)."""
    stream = BytesIO(entry.value)
    assert stream.read(1) == bytes([_FORMAT]), f"ledger {entry[:2]}: another format"
    columns: Any = schemaless_reader(stream, _schema(), None)
    assert not stream.read(), f"ledger {entry[:2]}: bytes are left over"
    lengths, gaps = _numbers(columns["run_lengths"]), _numbers(columns["run_gaps"])
    offsets: list[tuple[int, Fate]] = []
    at = columns["first_offset"]
    for run, (length, outcome) in enumerate(zip(lengths, columns["run_outcomes"], strict=True)):
        if run:
            at += gaps[run - 1]
        offsets += [(offset, _OUTCOMES[outcome]) for offset in range(at, at + length)]
        at += length - 1
    pairs = iter(_numbers(columns["epochs"]))
    epochs = [(code >> 1) ^ -(code & 1) for code, count in zip(pairs, pairs, strict=True) for _ in range(count)]
    keys, times = BytesIO(columns["keys"]), BytesIO(columns["times"])
    facts = []
    for (offset, fate), epoch in zip(offsets, epochs, strict=True):
        key: bytes | None = None
        time_ms: int | None = None
        if fate is Fate.DELIVERED:
            key, time_ms = keys.read(_KEY_BYTES), int.from_bytes(times.read(8), "little", signed=True)
        place = (int(columns["partition"]), offset)
        facts.append(Fact(place, fate, epoch, None if key == _NO_KEY else key, time_ms, entry.offset, entry.append_ms))
    assert not keys.read(), f"ledger {entry[:2]}: keys are left over"
    assert not times.read(), f"ledger {entry[:2]}: times are left over"
    return columns, facts


def _numbers(column: bytes) -> list[int]:
    """Read unsigned LEB128 numbers."""
    numbers, number, shift = [], 0, 0
    for byte in column:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    assert shift == 0, "a column ends within a number"
    return numbers


def _position(metadata: str) -> tuple[str, str, int] | None:
    """Read a commit's metadata: source topic id, ledger topic id, next offset of the ledger; None for an operator's."""
    version, _, rest = metadata.partition(" ")
    if version != "v1":
        return None
    topic_id, position, *_ = rest.split(" ")
    ledger_id, _, offset = position.rpartition(":")
    return topic_id, ledger_id, int(offset)


# ---- the judgement


def judge(account: Account) -> list[Breach]:
    """Return every breach, those of one invariant in a row; of many of a kind the first `_SHOWN`."""
    found: list[Breach] = []
    for check in (_i1, _i2, _i3, _i4, _i5, _i9, _i12, _end):
        breaches = list(check(account))
        found += breaches[:_SHOWN]
        if len(breaches) > _SHOWN:
            found.append(Breach(breaches[0].invariant, f"and {len(breaches) - _SHOWN} more"))
    return found


def _right(record: Source) -> set[Fate]:
    return {record.wanted} | record.also | ({Fate.DUPLICATE} if record.wanted is Fate.DELIVERED else set())


def _unread(line: Mapping[str, Any]) -> bool:
    """Tell whether whoever sent this cannot know the verdict: its answer was not sent as it should be, or left it out."""
    return bool(line["answer"] != "sent" or line["fault"] == "omit")


def _may_be_undecided(account: Account, event_id: str) -> bool:
    """Tell whether somebody may have had to send an id again without knowing its verdict."""
    return bool(account.interruptions) or any(_unread(line) for line in account.accepted.get(event_id, ()))


def _i1(account: Account) -> Iterator[Breach]:
    letters = {place for place, _ in _placed_letters(account)}
    for event_id, records in account.by_id.items():
        for record in records:
            # Copies are one event only within their partition; elsewhere each is sent.
            delivered = event_id in account.accepted
            if account.complete and not delivered and record.place not in letters:
                yield Breach("I1", f"lost: {_named(record)} was neither accepted as {event_id} nor became a letter")
            if len(records) == 1 and delivered and record.place in letters and not _may_be_undecided(account, event_id):
                yield Breach("I1", f"{_named(record)} was accepted and is a dead letter, though its answer was read")
    for event_id in {line["id"]: None for line in account.received}:
        if event_id not in account.by_id:
            yield Breach("I1", f"the sandbox received {event_id}, which no record was to be sent as")


def _i2(account: Account) -> Iterator[Breach]:
    known: dict[int, tuple[list[int], list[int], list[int]]] = {}
    by_partition: dict[int, list[int]] = defaultdict(list)
    for partition, offset in sorted(account.counted):
        by_partition[partition].append(offset)
    never = 1 << 62
    for partition, offsets in by_partition.items():
        # By record in order: the ledger offset, and the time, by which it and all before it had a fact.
        places, times, place, time_ms = [], [], -1, -1
        for offset in offsets:
            facts = account.facts.get((partition, offset), ())
            place = max(place, min((fact.ledger_offset for fact in facts), default=never))
            time_ms = max(time_ms, min((fact.append_ms for fact in facts), default=never))
            places.append(place)
            times.append(time_ms)
        known[partition] = (offsets, places, times)
    last: dict[int, Commit] = {}
    for commit in account.commits:
        rests_on = _position(commit.metadata)
        if rests_on is not None and rests_on[0] != account.topic_id:
            continue  # of a topic of the same name that is gone
        before, last[commit.partition] = last.get(commit.partition), commit
        if rests_on is None or commit.partition not in known:
            continue  # an operator's: it may be anywhere
        if before is not None and commit.offset < before.offset and not _is_late(account, commit):
            yield Breach("I2", f"committed {_at(commit)} after {_at(before)}: it went back")
        offsets, places, times = known[commit.partition]
        below = bisect_left(offsets, commit.offset)
        if not below:
            continue
        if places[below - 1] >= rests_on[2] or times[below - 1] > commit.at_ms + _CLOCK_MS:
            # The frontier's own place is searched, for the message names the record.
            first = next(
                offset
                for at, offset in enumerate(offsets)
                if places[at] >= rests_on[2] or times[at] > commit.at_ms + _CLOCK_MS
            )
            rest = f"resting on ledger offset {rests_on[2]}"
            yield Breach("I2", f"committed {_at(commit)} {rest}, when {commit.partition}/{first} had no fact")
        epochs = {fact.epoch for fact in account.facts.get((commit.partition, offsets[below - 1]), ())}
        if epochs and commit.epoch not in epochs:
            yield Breach("I2", f"committed {_at(commit)} under leader epoch {commit.epoch}, its record has {sorted(epochs)}")


def _is_late(account: Account, commit: Commit) -> bool:
    if not account.writes_repeated:
        return False
    asked = commit._replace(at_ms=0)
    repeated = any(other._replace(at_ms=0) == asked for other in account.commits if other.at_ms < commit.at_ms)
    return repeated or any(began <= commit.at_ms <= ended for began, ended in account.unanswered)


def second_acceptances(account: Account) -> dict[str, list[str]]:
    """Return for every id that was accepted more often than its partitions need why each further time was.

    ``unread``: its answer was; ``in flight`` or ``unwritten`` when a process was interrupted; ``no excuse``.
    """
    return {event_id: [why for why, _ in found] for event_id, found in _repeats(account).items()}


def _repeats(account: Account) -> dict[str, list[tuple[str, int | None]]]:
    """Return further acceptances by id, each with its excuse, and which interruption it is."""
    repeats = {}
    for event_id, lines in account.accepted.items():
        partitions = len({record.partition for record in account.by_id.get(event_id, ())}) or 1
        found: list[tuple[str, int | None]] = []
        # A chain is what one partition sent: one more is begun for each, and what continues one needs an excuse.
        chains: list[tuple[Mapping[str, Any], frozenset[int]]] = []
        for line in lines:
            excuses = [
                (at, why, interruption)
                for at, (before, used) in enumerate(chains)
                for why, interruption in _excuses(account, before, line)
                if interruption not in used  # one death is one repeat
            ]
            if excuses:
                at, why, interruption = excuses[0]
                used = chains[at][1] if interruption is None else chains[at][1] | {interruption}
                chains[at] = line, used
                found.append((why, interruption))
            elif len(chains) < partitions:
                chains.append((line, frozenset()))
            else:
                chains[-1] = line, chains[-1][1]
                found.append(("no excuse", None))
        if found:
            repeats[event_id] = found
    return repeats


def _excuses(account: Account, first: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Yield why an id may be accepted again after ``first``."""
    if _unread(first):
        yield "unread", None
    records = account.by_id.get(first["id"], ())
    for number, each in enumerate(account.interruptions):
        mine = [record for record in records if each.partitions is None or record.partition in each.partitions]
        written = [
            fact.append_ms
            for record in mine
            for fact in account.facts.get(record.place, ())
            if fact.fate is Fate.DELIVERED and first["arrival"] <= fact.append_ms + _CLOCK_MS
        ]
        known = bool(written) and min(written) < each.began_ms - _CLOCK_MS
        begun = first["arrival"] <= each.ended_ms + account.arrives_late_ms
        late = each.unwritten_ms is None or not _answered_by(first, each.began_ms - each.unwritten_ms)
        if mine and begun and late and not known and again["arrival"] >= each.began_ms:
            yield "in flight" if not _answered_by(first, each.began_ms) else "unwritten", number


def _answered_by(line: Mapping[str, Any], when_ms: int) -> bool:
    return line["answered"] is not None and line["answered"] <= when_ms


def _i3(account: Account) -> Iterator[Breach]:
    by_interruption = Counter[int]()
    for event_id, found in _repeats(account).items():
        for why, interruption in found:
            if interruption is not None and why == "in flight":
                by_interruption[interruption] += 1
            if why == "no excuse":
                times = [(line["request"], line["arrival"], line["answer"]) for line in account.accepted[event_id]]
                yield Breach("I3", f"{event_id} was accepted again without need (request, arrival, answer): {times}")
    for number, count in by_interruption.items():
        bound = account.interruptions[number].at_most
        if bound is not None and count > bound:
            yield Breach(
                "I3", f"interruption {number} let {count} events in flight be accepted again, only {bound} could be"
            )
    for event_id, lines in account.accepted.items():
        contents = {record.value for record in account.by_id.get(event_id, ())}
        digests = {line["digest"] for line in lines}
        if len(digests) > max(len(contents), 1):
            yield Breach("I3", f"{event_id} was accepted with {len(digests)} payloads of {len(contents)} records' contents")


def _i4(account: Account) -> Iterator[Breach]:
    delivered: dict[str, set[Place]] = defaultdict(set)
    for place, facts in account.facts.items():
        record = account.counted.get(place)
        for fact in facts:
            if fact.fate is not Fate.DELIVERED:
                continue
            if record is None:
                yield Breach("I4", f"{_where(place)} is delivered by the ledger, but nobody produced it")
                continue
            event_id = account.sent_as(record)
            delivered[event_id].add(place)
            before = [line for line in account.accepted.get(event_id, ()) if line["arrival"] <= fact.append_ms + _CLOCK_MS]
            if not before:
                yield Breach("I4", f"{_named(record)} is delivered by the ledger, but {event_id} was not accepted before")
            key = None if record.event_id is None else key_digest(record.event_id)
            if fact.key != key or record.event_time_ms not in {None, fact.time_ms}:
                yield Breach("I4", f"the delivered fact of {_named(record)} has another event's key or time")
    for event_id, places in delivered.items():
        if len(account.accepted.get(event_id, ())) < len(places):
            yield Breach("I4", f"{event_id} is delivered from {len(places)} places, but was accepted less often")


def _i5(account: Account) -> Iterator[Breach]:
    for place, facts in account.facts.items():
        record = account.counted.get(place)
        for fact in facts:
            if fact.fate is not Fate.DUPLICATE or record is None:
                continue
            if record.event_id is None:
                yield Breach("I5", f"{_named(record)} is a duplicate, but has no id of its own")
                continue
            others = [
                other.place
                for other in account.by_id.get(record.event_id, ())
                if other.place != place and other.partition == record.partition
            ]
            before = [
                line for line in account.accepted.get(record.event_id, ()) if line["arrival"] <= fact.append_ms + _CLOCK_MS
            ]
            if not others or not before:
                yield Breach("I5", f"{_named(record)} is a duplicate, but no other record of {record.event_id} was accepted")
            elif account.complete and not any(Fate.DELIVERED in account.fates(other) for other in others):
                yield Breach("I5", f"{_named(record)} is a duplicate, but no other record of {record.event_id} is delivered")


_RESOLVED = 'connector_events_total{outcome="'
_UNRESOLVED = ("connector_buffered_events", "connector_in_flight_events")


def _i9(account: Account) -> Iterator[Breach]:
    for number, scrape in enumerate([*account.scrapes, *account.last_scrapes]):
        if "connector_records_total" not in scrape:
            continue  # the process was starting
        taken_in = scrape["connector_records_total"]
        resolved = sum(value for name, value in scrape.items() if name.startswith(_RESOLVED))
        accounted = resolved + scrape["connector_released_total"] + sum(scrape[name] for name in _UNRESOLVED)
        if taken_in != accounted:
            yield Breach("I9", f"scrape {number}: {taken_in:.0f} records taken in, {accounted:.0f} accounted for")
    for number, scrape in enumerate(account.last_scrapes):
        left = {name: scrape.get(name) for name in _UNRESOLVED if scrape.get(name)}
        if account.complete and left:
            yield Breach("I9", f"last scrape {number}: {left} when all should be done")


def _i12(account: Account) -> Iterator[Breach]:
    count = Counter[Place]()
    for place, letter in _placed_letters(account):
        record = account.counted.get(place) if place is not None else None
        if place is None or record is None:
            yield Breach("I12", f"a letter of no record that was produced: {place}")
            continue
        count[place] += 1
        if (letter.key, letter.value, letter.timestamp_ms) != (record.key, record.value, record.timestamp_ms):
            yield Breach("I12", f"the letter of {_named(record)} has another key, value or timestamp")
        originals, ours = letter.headers[: len(record.headers)], letter.headers[len(record.headers) :]
        if originals != record.headers:
            yield Breach("I12", f"the letter of {_named(record)} does not begin with its record's headers")
        yield from _wrong_headers(account, record, ours)
        # A letter may lack its fact after an interruption; the record must have ended otherwise then, which `_end` looks at.
        once = account.complete and not account.interruptions and not account.writes_repeated
        if once and Fate.DEAD_LETTERED not in account.fates(place):
            yield Breach("I12", f"{_named(record)} has a letter, but its facts are {_shown(account.fates(place))}")
    for place in account.facts:
        if Fate.DEAD_LETTERED in account.fates(place) and not count[place]:
            yield Breach("I12", f"{_where(place)} is dead-lettered by the ledger, but has no letter")
    if not account.interruptions and not account.writes_repeated:
        for place, times in count.items():
            if times > 1:
                yield Breach("I12", f"{_where(place)} has {times} letters, and nothing was interrupted")


def _wrong_headers(account: Account, record: Source, ours: Headers) -> Iterator[Breach]:
    if sorted(name for name, _ in ours) != sorted(_LETTER_HEADERS):
        yield Breach("I12", f"the letter of {_named(record)} has headers {[name for name, _ in ours]} of ours")
        return
    values = {name: (value or b"").decode("utf-8", "replace") for name, value in ours}
    expected = {
        "connector.topic": account.topic,
        "connector.partition": str(record.partition),
        "connector.offset": str(record.offset),
        "connector.timestamp": str(record.timestamp_ms),
        "connector.group": account.group,
    }
    wrong = [name for name, value in expected.items() if values[name] != value]
    if not values["connector.detail"]:
        wrong.append("connector.detail")
    if values["connector.reason"] != (record.reason or values["connector.reason"] or None):
        wrong.append("connector.reason")
    kept = [value for name, value in record.headers if name == "connector.dedupe-id" and value]
    derived = derived_id(account.cluster_id, account.topic_id, record)
    if values["connector.dedupe-id"] != (kept[0].decode("utf-8", "replace") if kept else derived):
        wrong.append("connector.dedupe-id")
    if wrong:
        yield Breach("I12", f"the letter of {_named(record)} has wrong values of {wrong}")


def _placed_letters(account: Account) -> Iterator[tuple[Place | None, Letter]]:
    """Yield letters of this topic and group with the places they name; a replayed one's last header counts."""
    for letter in account.letters:
        values = {name: value or b"" for name, value in letter.headers}
        try:
            place = int(values["connector.partition"]), int(values["connector.offset"])
        except (KeyError, ValueError):
            yield None, letter
            continue
        yield place, letter


def _end(account: Account) -> Iterator[Breach]:
    for entry in account.ledger:
        header, _ = facts_in(entry)
        mine = (account.cluster_id, account.topic, account.group, entry.partition)
        if (header["cluster_id"], header["source_topic"], header["group"], header["partition"]) != mine:
            yield Breach("end", f"ledger {entry[:2]} is about another cluster, topic, group or partition")
    for place, record in account.counted.items():
        facts = account.facts.get(place, [])
        wrong = account.fates(place) - _right(record)
        if account.complete and not facts:
            yield Breach("end", f"{_named(record)} has no fact")
        if wrong:
            yield Breach("end", f"{_named(record)} ended as {_shown(wrong)}")
        needless = [fact for fact in facts[:-1] if not _may_be_unknown(account, fact)]
        if needless:
            yield Breach(
                "end", f"{_named(record)} was resolved again after its fact at ledger offset {needless[0].ledger_offset}"
            )
    produced = {record.place for record in account.records}
    for place in account.facts:
        if place not in produced:
            yield Breach("end", f"{_where(place)} has a fact, but nobody produced it")
    if account.complete:
        last = {commit.partition: commit.offset for commit in account.commits}
        for partition, end in _ends(account.counted).items():
            if last.get(partition) != end:
                yield Breach("end", f"partition {partition} is committed to {last.get(partition)}, its end is {end}")


def _may_be_unknown(account: Account, fact: Fact) -> bool:
    """Tell whether a member may resolve a record again that has this fact: it was written while another was interrupted."""
    return account.writes_repeated or any(
        each.began_ms - _CLOCK_MS <= fact.append_ms
        and (each.unwritten_ms is None or fact.append_ms <= each.ended_ms + each.unwritten_ms)
        for each in account.interruptions
    )


def _ends(places: Iterable[Place]) -> dict[int, int]:
    return {partition: offset + 1 for partition, offset in sorted(places)}


# ---- how things are named in a breach


def _where(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


def _named(record: Source) -> str:
    return f"record {_where(record.place)} (made to be {record.wanted})"


def _at(commit: Commit) -> str:
    return f"{commit.partition}/{commit.offset}"


def _shown(fates: Iterable[Fate]) -> str:
    return ", ".join(sorted(fates)) or "none"
