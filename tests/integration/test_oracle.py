"""The oracle finds each fault in a small account made by hand, and finds nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from fastavro import schemaless_writer

from tests.integration import oracle
from tests.integration.oracle import (
    Account,
    Commit,
    Entry,
    Fate,
    Interruption,
    Letter,
    Source,
    derived_id,
    facts_in,
    judge,
    key_digest,
    second_acceptances,
)

_HEADERS = (("trace", b"1"), ("trace", None))
_OUTCOMES = {Fate.DELIVERED: 1, Fate.DUPLICATE: 2, Fate.STALE: 3, Fate.IGNORED: 4, Fate.DEAD_LETTERED: 5}


class _Fact(NamedTuple):
    offset: int
    fate: Fate
    event_id: str | None = None
    time_ms: int = 7
    epoch: int = 3


def _entry(at: int, append_ms: int, *facts: _Fact, partition: int = 0, **header: Any) -> Entry:
    """Write a ledger entry with a run for each fact."""
    offsets = [fact.offset for fact in facts]
    delivered = [fact for fact in facts if fact.fate is Fate.DELIVERED]
    columns = {
        "cluster_id": "cluster",
        "source_topic": "topic",
        "source_topic_id": "topic-id",
        "partition": partition,
        "group": "group",
        "destination": b"",
        "dedupe_key": b"",
        "first_offset": offsets[0] if offsets else 0,
        "run_gaps": b"".join(_leb128(after - before) for before, after in pairwise(offsets)),
        "run_lengths": b"\x01" * len(facts),
        "run_outcomes": bytes(_OUTCOMES[fact.fate] for fact in facts),
        "epochs": b"".join(_leb128(fact.epoch * 2) + b"\x01" for fact in facts),
        "keys": b"".join(key_digest(fact.event_id) if fact.event_id else bytes(16) for fact in delivered),
        "times": b"".join(fact.time_ms.to_bytes(8, "little", signed=True) for fact in delivered),
    }
    stream = BytesIO()
    stream.write(b"\x01")
    schemaless_writer(stream, oracle._schema(), columns | header)
    return Entry(partition, at, append_ms, stream.getvalue())


def _leb128(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + _leb128(number >> 7)


def _source(offset: int, wanted: Fate, value: bytes | None = b"value", **more: Any) -> Source:
    return Source(wanted=wanted, value=value, key=b"key", offset=offset, timestamp_ms=50, **more)


def _line(event_id: str, arrival: int = 100, answer: str = "sent", verdict: str = "accepted", digest: str = "d") -> Any:
    return {
        "request": 1,
        "id": event_id,
        "arrival": arrival,
        "answer": answer,
        "verdict": verdict,
        "digest": digest,
        "answered": arrival + 5,
        "fault": None,
    }


def _letter(offset: int, reason: str, dedupe_id: str, **changes: Any) -> Letter:
    ours = {
        "connector.reason": reason,
        "connector.detail": "why",
        "connector.topic": "topic",
        "connector.partition": "0",
        "connector.offset": str(offset),
        "connector.timestamp": "50",
        "connector.group": "group",
        "connector.dedupe-id": dedupe_id,
    }
    whole = Letter(b"key", b"value", 50, (*_HEADERS, *((name, text.encode()) for name, text in ours.items())))
    return whole._replace(**changes)


_RECORDS = [
    _source(0, Fate.DELIVERED, event_id="a", event_time_ms=7),
    _source(1, Fate.DELIVERED, event_id="a", event_time_ms=7),
    _source(2, Fate.STALE, event_id="old"),
    _source(3, Fate.IGNORED, None),
    _source(4, Fate.DEAD_LETTERED, reason="undecodable", headers=_HEADERS),
    _source(5, Fate.DELIVERED, event_time_ms=7),
    _source(6, Fate.DEAD_LETTERED, event_id="refused", reason="rejected", headers=_HEADERS),
]
_DERIVED = [derived_id("cluster", "topic-id", record) for record in _RECORDS]
_RECEIVED = [_line("a"), _line(_DERIVED[5]), _line("refused", verdict="rejected")]
_FACTS = [
    _Fact(0, Fate.DELIVERED, "a"),
    _Fact(1, Fate.DUPLICATE),
    _Fact(2, Fate.STALE),
    _Fact(3, Fate.IGNORED),
    _Fact(4, Fate.DEAD_LETTERED),
    _Fact(5, Fate.DELIVERED),
    _Fact(6, Fate.DEAD_LETTERED),
]
_LETTERS = [_letter(4, "undecodable", _DERIVED[4]), _letter(6, "rejected", _DERIVED[6])]


def _commit(offset: int, rests_on: int, at_ms: int = 200, **changes: Any) -> Commit:
    return Commit(0, offset, 3, f"v1 topic-id ledger-id:{rests_on}", at_ms)._replace(**changes)


def _metrics(**changes: float) -> dict[str, float]:
    metrics: dict[str, float] = {
        "connector_records_total": 10,
        'connector_events_total{outcome="delivered"}': 4,
        'connector_events_total{outcome="already_resolved"}': 3,
        "connector_released_total": 1,
        "connector_buffered_events": 2,
        "connector_in_flight_events": 0,
    }
    return metrics | changes


_SOUND = Account(
    cluster_id="cluster",
    topic="topic",
    topic_id="topic-id",
    group="group",
    records=_RECORDS,
    received=_RECEIVED,
    ledger=[_entry(0, 90), _entry(1, 150, *_FACTS)],
    letters=_LETTERS,
    commits=[_commit(7, 2)],
    scrapes=[{}, _metrics()],
    last_scrapes=[_metrics(connector_buffered_events=0, connector_released_total=3)],
)


def _ledger(change: Callable[[_Fact], _Fact | None]) -> dict[str, Any]:
    """Return a ledger in which facts were changed, or left out."""
    facts = [changed for fact in _FACTS if (changed := change(fact)) is not None]
    return {"ledger": [_entry(0, 90), _entry(1, 150, *facts)]}


def _as(offset: int, fate: Fate, event_id: str | None = None) -> dict[str, Any]:
    return _ledger(lambda fact: _Fact(offset, fate, event_id) if fact.offset == offset else fact)


def _again(*lines: Any, **more: Any) -> dict[str, Any]:
    """Return what was received with all of id ``a`` in place of its one line."""
    return {"received": [*lines, *_RECEIVED[1:]]} | more


def _two_letters() -> dict[str, Any]:
    return {"letters": [_LETTERS[0], *_LETTERS]}


def _letter_changed(**changes: Any) -> dict[str, Any]:
    return {"letters": [_LETTERS[0]._replace(**changes), _LETTERS[1]]}


_BREACHES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a valid event vanished": ("I1", {"received": _RECEIVED[:1] + _RECEIVED[2:]}, "lost: record 0/5"),
    "a rejected one vanished": ("I1", {"letters": _LETTERS[:1]}, "lost: record 0/6"),
    "a stale one was sent": ("I1", {"received": [*_RECEIVED, _line("old")]}, "received old"),
    "a foreign one was sent": ("I1", {"received": [*_RECEIVED, _line("x", verdict="not judged")]}, "received x"),
    "an accepted one became a letter": (
        "I1",
        {"received": [*_RECEIVED[:2], _line("refused")]},
        "record 0/6 (made to be dead_lettered) was accepted and is a dead letter",
    ),
    "a commit before the fact, by its position": ("I2", {"commits": [_commit(1, 1), _commit(7, 2)]}, "when 0/0 had no fact"),
    "a commit before the fact, by the clock": ("I2", {"commits": [_commit(1, 2, 120), _commit(7, 2)]}, "when 0/0 had no"),
    "a commit over a record without a fact": ("I2", _ledger(lambda f: None if f.offset == 3 else f), "when 0/3 had no fact"),
    "a commit that went back": ("I2", {"commits": [_commit(5, 2), _commit(4, 2), _commit(7, 2)]}, "0/4 after 0/5"),
    "a commit that went back though no broker failed, and was made before": (
        "I2",
        {"commits": [_commit(4, 2), _commit(5, 2, 210), _commit(4, 2, 220), _commit(7, 2)]},
        "0/4 after 0/5",
    ),
    "a commit that went back, of another time than those without an answer": (
        "I2",
        {"commits": [_commit(5, 2), _commit(4, 2), _commit(7, 2)], "writes_repeated": True, "unanswered": [(300, 400)]},
        "0/4 after 0/5",
    ),
    "a commit under another epoch": ("I2", {"commits": [_commit(7, 2, epoch=2)]}, "under leader epoch 2"),
    "accepted again after an answer that was read": ("I3", _again(_line("a"), _line("a", 140)), "a was accepted again"),
    "accepted again after the fact": (
        "I3",
        _again(_line("a"), _line("a", 400), interruptions=[Interruption(300, 300)]),
        "a was accepted again",
    ),
    "accepted again before the interruption": (
        "I3",
        _again(_line("a"), _line("a", 110), interruptions=[Interruption(120, 120)]),
        "a was accepted again",
    ),
    "accepted again, but the one interrupted had other partitions": (
        "I3",
        _again(_line("a"), _line("a", 140), interruptions=[Interruption(120, 120, frozenset({1}))]),
        "a was accepted again",
    ),
    "more accepted again than could be under way": (
        "I3",
        _again(_line("a", 118), _line("a", 140), interruptions=[Interruption(120, 120, at_most=0)]),
        "interruption 0 let 1 events in flight",
    ),
    "accepted again though its fact should have been written": (
        "I3",
        _again(_line("a"), _line("a", 140), interruptions=[Interruption(120, 120, unwritten_ms=10)]),
        "a was accepted again",
    ),
    "accepted again with another payload": (
        "I3",
        _again(_line("a", answer="withheld"), _line("a", 140, digest="e")),
        "2 payloads of 1 records' contents",
    ),
    "a delivered fact without an acceptance": (
        "I4",
        {"received": [_line("a", verdict="not judged", answer="failed:503"), *_RECEIVED[1:]]},
        "a was not accepted before",
    ),
    "a delivered fact before the acceptance": ("I4", _again(_line("a", 180)), "a was not accepted before"),
    "a copy counted as delivered too": ("I4", _as(1, Fate.DELIVERED, "a"), "delivered from 2 places"),
    "a delivered fact with another key": ("I4", _as(0, Fate.DELIVERED, "b"), "another event's key or time"),
    "a delivered fact with another time": (
        "I4",
        _ledger(lambda fact: fact._replace(time_ms=8) if fact.offset == 5 else fact),
        "another event's key or time",
    ),
    "a duplicate of nothing": ("I5", _as(2, Fate.DUPLICATE), "no other record of old was accepted"),
    "a duplicate without an id": ("I5", _as(5, Fate.DUPLICATE), "has no id of its own"),
    "both copies duplicates": ("I5", _as(0, Fate.DUPLICATE), "no other record of a is delivered"),
    "records unaccounted for": ("I9", {"scrapes": [_metrics(connector_buffered_events=1)]}, "10 records taken in, 9"),
    "something left at the end": ("I9", {"last_scrapes": [_metrics()]}, "when all should be done"),
    "a letter with another value": ("I12", _letter_changed(value=b"other"), "another key, value or timestamp"),
    "a letter with another key": ("I12", _letter_changed(key=None), "another key, value or timestamp"),
    "a letter with another timestamp": ("I12", _letter_changed(timestamp_ms=51), "another key, value or timestamp"),
    "a letter without its record's headers": (
        "I12",
        _letter_changed(headers=_LETTERS[0].headers[1:]),
        "does not begin with its record's headers",
    ),
    "a letter with a header less": ("I12", _letter_changed(headers=_LETTERS[0].headers[:-1]), "has headers"),
    "a letter of another reason": (
        "I12",
        {"letters": [_letter(4, "rejected", _DERIVED[4]), _LETTERS[1]]},
        "wrong values of ['connector.reason']",
    ),
    "a letter with another id": (
        "I12",
        {"letters": [_letter(4, "undecodable", "x"), _LETTERS[1]]},
        "wrong values of ['connector.dedupe-id']",
    ),
    "a letter of no record": ("I12", {"letters": [*_LETTERS, _letter(9, "rejected", "x")]}, "of no record"),
    "a letter that names nothing": ("I12", {"letters": [*_LETTERS, Letter(None, None, 0, ())]}, "of no record"),
    "a letter that is not there": (
        "I12",
        {"letters": _LETTERS[1:]},
        "0/4 is dead-lettered by the ledger, but has no letter",
    ),
    "a letter without its fact": ("I12", _as(4, Fate.IGNORED), "has a letter, but its facts are ignored"),
    "two letters": ("I12", _two_letters(), "0/4 has 2 letters"),
    "a record without a fact": (
        "end",
        _ledger(lambda f: None if f.offset == 6 else f) | {"commits": [_commit(6, 2)]},
        "record 0/6 (made to be dead_lettered) has no fact",
    ),
    "the wrong fate": ("end", _as(2, Fate.IGNORED), "record 0/2 (made to be stale) ended as ignored"),
    "not committed to the end": ("end", {"commits": [_commit(6, 2)]}, "committed to 6, its end is 7"),
    "a fact of nothing": (
        "end",
        {"ledger": [_entry(0, 90), _entry(1, 150, *_FACTS, _Fact(7, Fate.STALE))]},
        "0/7 has a fact, but nobody produced it",
    ),
    "a fact twice": (
        "end",
        {"ledger": [_entry(0, 90), _entry(1, 150, *_FACTS), _entry(2, 160, _Fact(2, Fate.STALE))]},
        "record 0/2 (made to be stale) was resolved again after its fact at ledger offset 1",
    ),
    "a fact twice, though the first was there when a process died": (
        "end",
        {
            "ledger": [_entry(0, 90), _entry(1, 150, *_FACTS), _entry(2, 250, _Fact(2, Fate.STALE))],
            "interruptions": [Interruption(200, 200)],
        },
        "record 0/2 (made to be stale) was resolved again",
    ),
    "a fact twice, long after a process died": (
        "end",
        {
            "ledger": [_entry(0, 90), _entry(1, 150, *_FACTS), _entry(2, 160, _Fact(2, Fate.STALE))],
            "interruptions": [Interruption(95, 95, unwritten_ms=20)],
        },
        "record 0/2 (made to be stale) was resolved again",
    ),
    "another group's ledger": (
        "end",
        {"ledger": [_entry(0, 90, group="other"), _entry(1, 150, *_FACTS)]},
        "is about another cluster, topic, group or partition",
    ),
}


@pytest.mark.parametrize(("invariant", "change", "what"), _BREACHES.values(), ids=_BREACHES)
def test_it_names_what_broke(invariant: str, change: dict[str, Any], what: str) -> None:
    found = judge(replace(_SOUND, **change))
    assert [breach for breach in found if breach.invariant == invariant and what in breach.what], found


def test_every_invariant_can_be_broken() -> None:
    assert {invariant for invariant, _, _ in _BREACHES.values()} == {"I1", "I2", "I3", "I4", "I5", "I9", "I12", "end"}


_EXCUSED: dict[str, dict[str, Any]] = {
    "nothing is wrong": {},
    "its answer was withheld": _again(_line("a", answer="withheld"), _line("a", 140)),
    "an answer left it out": _again(_line("a") | {"fault": "omit"}, _line("a", 140)),
    "a process died before the fact was written": _again(
        _line("a"), _line("a", 140), interruptions=[Interruption(120, 120, frozenset({0}), at_most=0, unwritten_ms=20)]
    ),
    "a process died with it in flight": _again(
        _line("a", 118), _line("a", 140), interruptions=[Interruption(120, 120, at_most=1, unwritten_ms=0)]
    ),
    "a request reached the sandbox just after its process died": _again(
        _line("a", 125), _line("a", 149), interruptions=[Interruption(120, 120)]
    ),
    "a fact was written as its process died": {
        "ledger": [_entry(0, 90), _entry(1, 150, *_FACTS), _entry(2, 250, _Fact(2, Fate.STALE))],
        "interruptions": [Interruption(149, 149, unwritten_ms=20)],
    },
    "a letter was written, and its process died": _two_letters() | {"interruptions": [Interruption(120, 120)]},
    "a broker that failed made a commit again, late": {
        "commits": [_commit(4, 2), _commit(5, 2, 210), _commit(4, 2, 220), _commit(7, 2)],
        "writes_repeated": True,
    },
    "a broker that failed made a commit late that had no answer": {
        "commits": [_commit(5, 2), _commit(4, 2), _commit(7, 2)],
        "writes_repeated": True,
        "unanswered": [(100, 300)],
    },
    "an operator set the group back": {"commits": [_commit(7, 2), _commit(0, 0, metadata=""), _commit(7, 2)]},
    "an operator skipped records": {
        "starts": {0: 7},
        "ledger": [_entry(0, 90)],
        "received": [],
        "letters": [],
        "commits": [],
        "records": _RECORDS[:7],
    },
    "a commit of a topic that is gone": {"commits": [_commit(900, 9, metadata="v1 gone ledger-id:9"), _commit(7, 2)]},
    "facts of a topic that is gone": {
        "ledger": [_entry(0, 90, _Fact(0, Fate.STALE), source_topic_id="gone"), _entry(1, 150, *_FACTS)]
    },
    "not all is done yet": {
        "complete": False,
        "ledger": [_entry(0, 90), _entry(1, 150, *_FACTS[:2])],
        "received": _RECEIVED[:1],
        "commits": [_commit(2, 2)],
        "letters": [],
        "last_scrapes": [_metrics()],
    },
}


@pytest.mark.parametrize("change", _EXCUSED.values(), ids=_EXCUSED)
def test_it_objects_to_nothing_where(change: dict[str, Any]) -> None:
    assert judge(replace(_SOUND, **change)) == []


def test_copies_in_two_partitions_are_two_events() -> None:
    records = [_source(0, Fate.DELIVERED, event_id="a"), replace(_RECORDS[0], partition=1)]
    ledger = [_entry(0, 150, _Fact(0, Fate.DELIVERED, "a"), partition=partition) for partition in (0, 1)]
    commits = [_commit(1, 1), _commit(1, 1, partition=1)]
    both = replace(_SOUND, records=records, ledger=ledger, commits=commits, letters=[], received=[_line("a"), _line("a")])
    assert judge(both) == []
    assert judge(replace(both, received=[_line("a")] * 3))[0].invariant == "I3"


def test_it_says_why_each_further_acceptance_was_needed() -> None:
    lines = [_line("a", 100, "withheld"), _line("a", 110), _line("a", 130), _line("a", 145)]
    account = replace(_SOUND, **_again(*lines, interruptions=[Interruption(120, 120)]))
    assert second_acceptances(account) == {"a": ["unread", "unwritten", "no excuse"]}


def test_of_many_breaches_of_a_kind_it_shows_the_first() -> None:
    records = [_source(offset, Fate.STALE, event_id=f"{offset}") for offset in range(30)]
    found = judge(replace(_SOUND, records=records, ledger=[], received=[], letters=[], commits=[_commit(30, 0)]))
    assert _whats(found, "end")[-1] == "and 10 more"


def test_a_ledger_entry_is_read_by_its_documentation() -> None:
    columns = {
        "run_lengths": b"\x03\x02",
        "run_gaps": b"\xac\x02",
        "run_outcomes": b"\x03\x02",
        "epochs": b"\x01\x04\x08\x01",
    }
    _, facts = facts_in(_entry(4, 150, partition=0, **{"first_offset": 10} | columns))
    assert [(fact.place[1], fact.fate, fact.epoch) for fact in facts] == [
        (10, Fate.STALE, -1),
        (11, Fate.STALE, -1),
        (12, Fate.STALE, -1),
        (312, Fate.DUPLICATE, -1),
        (313, Fate.DUPLICATE, 4),
    ]


def _whats(breaches: Iterable[oracle.Breach], invariant: str) -> list[str]:
    return [breach.what for breach in breaches if breach.invariant == invariant]
