"""The records of a simulated topic, and what each is in truth: its `Nature`, which the connector never sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from hashlib import sha256
from random import Random
from typing import Any

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.avro.schema_file import packaged
from connector.core.dedupe import digest

__all__ = [
    "CURSE",
    "LATE_SCHEMA_ID",
    "MAX_AGE_MS",
    "MAX_SKEW_MS",
    "START_MS",
    "UNKNOWN_SCHEMA_ID",
    "WRITERS",
    "Calendar",
    "Nature",
    "Row",
    "a_row",
    "rows",
]

START_MS = 1_800_000_000_000
"""True wall clock at virtual second 0."""
_DAY_MS = 86_400_000
MAX_AGE_MS = 7 * _DAY_MS
MAX_SKEW_MS = 300_000
UNKNOWN_SCHEMA_ID = 99
LATE_SCHEMA_ID = 3
"""Of a schema that is there, and that the registry's replica hears of later."""
CURSE = b"\xffcursed"
WRITERS = (1, 2)
"""Ids of one schema, so that the registry is asked more than once."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The true wall clock, by the virtual second.

    Days may pass in one moment, for everybody: the window is counted in days, and a run takes minutes.
    """

    leap_at: float = float("inf")
    days: float = 0.0
    """How many pass then: fewer than an event may be old, so that no key that was acknowledged may be forgotten."""

    def wall_ms(self, second: float) -> int:
        """Return the milliseconds since 1970 at a virtual second."""
        leapt = self.days * _DAY_MS if second >= self.leap_at else 0
        return START_MS + round(second * 1000 + leapt)


class Nature(Enum):
    """What a record is in truth."""

    GOOD = auto()
    REJECTED = auto()
    PATIENT = auto()
    """The vendor accepts it at the third try."""
    NEVER = auto()
    """The vendor never gives a final verdict on it."""
    HUGE = auto()
    """Larger than a request may be."""
    POISON = auto()
    """The vendor refuses every request that holds it, as a whole."""
    HEAVY = auto()
    """Larger than the vendor takes."""
    FLAWED = auto()
    """It breaks a rule."""
    CURSED = auto()
    """What decodes it raises an error that nobody thought of."""
    GARBAGE = auto()
    """Its bytes are no Avro."""
    UNKNOWN_SCHEMA = auto()
    EMPTY = auto()
    """It has no value."""
    OLD = auto()
    ANCIENT = auto()
    """Seconds taken for milliseconds."""
    FUTURE = auto()


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One record of the source topic."""

    partition: int
    offset: int
    epoch: int
    born: float
    """Virtual second at which it is produced."""
    nature: Nature
    timestamp_ms: int
    """When it was produced."""
    time_ms: int
    dedupe_id: str | None
    value: bytes | None
    record_key: bytes | None
    headers: list[tuple[str, bytes | None]]
    key: bytes | None
    """The digest of its dedupe key."""
    unreadable_headers: bool = False
    """One of their names is no UTF-8."""

    @property
    def name(self) -> str:
        """The event's name: it travels in the payload, so the vendor can tell copies apart."""
        return name_of(self.partition, self.offset, self.epoch)

    def __repr__(self) -> str:
        return f"{self.partition}/{self.offset}e{self.epoch}:{self.nature.name}:{self.dedupe_id or '-'}"


def name_of(partition: int, offset: int, epoch: int) -> str:
    return f"p{partition}o{offset}e{epoch}"


_WEIGHTS = {
    Nature.GOOD: 60,
    Nature.REJECTED: 8,
    Nature.PATIENT: 5,
    Nature.NEVER: 2,
    Nature.HUGE: 2,
    Nature.HEAVY: 3,
    Nature.POISON: 2,
    Nature.FLAWED: 3,
    Nature.GARBAGE: 2,
    Nature.CURSED: 0,
    Nature.UNKNOWN_SCHEMA: 2,
    Nature.EMPTY: 4,
    Nature.OLD: 4,
    Nature.ANCIENT: 2,
    Nature.FUTURE: 2,
}


_NO_LEAP = Calendar()


@cache
def _encoder() -> EventEncoder:
    return EventEncoder(packaged("conversion_event.avsc"))


@cache
def _person(number: int) -> str:
    return sha256(f"person{number}@example.com".encode()).hexdigest()


def rows(
    dice: Random,
    partition: int,
    *,
    most: int,
    heavy: int,
    huge: int,
    offset: int = 0,
    epoch: int = 0,
    born: float = 0.0,
    pace: float = 2.0,
    strange: bool = False,
    late: bool = False,
    calendar: Calendar = _NO_LEAP,
) -> list[Row]:
    """Make the records of one partition: gaps, copies, epochs that change, events that turn stale on the way.

    ``heavy`` and ``huge`` are sizes of payload that Amazon, and a request, do not take; ``pace`` is the longest span between
    two records, in seconds. Of ``strange`` ones some are such as nobody thought of, of ``late`` ones some are of a schema
    that the registry's replica does not have yet.
    """
    made: list[Row] = []
    offset += dice.randint(0, 2)
    weights = dict(_WEIGHTS) | {Nature.REJECTED: dice.choice((8, 8, 100)), Nature.CURSED: 5 * strange}
    natures = dice.choices(list(weights), list(weights.values()), k=dice.randint(5, most))
    for nature in natures:
        row = a_row(
            dice,
            partition,
            offset,
            epoch,
            born,
            nature,
            heavy=heavy,
            huge=huge,
            strange=strange,
            late=late,
            calendar=calendar,
        )
        made.append(row)
        offset += 1 if dice.random() < 0.9 else dice.randint(2, 5)
        epoch += dice.random() < 0.03
        born += dice.random() ** 2 * dice.choice((0.1, pace))
    return made


def a_row(
    dice: Random,
    partition: int,
    offset: int,
    epoch: int,
    born: float,
    nature: Nature,
    *,
    heavy: int,
    huge: int,
    copy: bool = True,
    strange: bool = False,
    late: bool = False,
    calendar: Calendar = _NO_LEAP,
) -> Row:
    """Make a record; unless it may be a ``copy``, without a dedupe id."""
    dedupe_id = f"order-{dice.randint(1, 12)}" if copy and dice.random() < 0.7 else None
    now_ms = calendar.wall_ms(born)
    time_ms = _time(dice, nature, now_ms)
    value: bytes | None = None
    if nature is Nature.CURSED:
        value = framed(WRITERS[0], CURSE + name_of(partition, offset, epoch).encode())
    elif nature is Nature.GARBAGE:
        value = framed(WRITERS[0], b"\xff" * 9 + name_of(partition, offset, epoch).encode())
    elif nature is not Nature.EMPTY:
        padding = {Nature.HEAVY: heavy, Nature.HUGE: huge}.get(nature, 0)
        event = _event(name_of(partition, offset, epoch), dedupe_id, time_ms, offset, padding)
        if nature is Nature.FLAWED:
            event["countryCode"] = "Narnia"
        writers = (*WRITERS, LATE_SCHEMA_ID) if late else WRITERS
        schema = UNKNOWN_SCHEMA_ID if nature is Nature.UNKNOWN_SCHEMA else dice.choice(writers)
        value = framed(schema, _encoder().encode(event))
    headers: list[tuple[str, bytes | None]] = [("trace", b"%d" % offset)] if dice.random() < 0.2 else []
    record_key = None if dedupe_id is None else dedupe_id.encode()
    key, unreadable = digest([dedupe_id]), strange and dice.random() < 0.1
    return Row(
        partition, offset, epoch, born, nature, now_ms, time_ms, dedupe_id, value, record_key, headers, key, unreadable
    )


def _event(name: str, dedupe_id: str | None, time_ms: int, person: int, padding: int) -> dict[str, Any]:
    return {
        "name": name,
        "eventType": "LEAD",
        "eventActionSource": "WEBSITE",
        "clientDedupeId": dedupe_id if dedupe_id or person % 2 else "  ",  # a blank one is none
        "timestamp": time_ms,
        "matchKeys": [{"type": "EMAIL", "value": _person(person)}],
        "value": None,
        "currencyCode": None,
        "unitsSold": None,
        "countryCode": "US",
        "dataProcessingOptions": None,
        "consent": None,
        "customAttributes": {f"padding{at}": "x" * 200 for at in range(-(-padding // 240))} or None,
    }


def _time(dice: Random, nature: Nature, now: int) -> int:
    match nature:
        case Nature.OLD:
            return now - MAX_AGE_MS - MAX_SKEW_MS - 30_000
        case Nature.ANCIENT:
            return now // 1000
        case Nature.FUTURE:
            return now + 30 * _DAY_MS
    old = dice.choice((0, 0, 0, 3_600_000, MAX_AGE_MS - 5_000, MAX_AGE_MS - 20_000, MAX_AGE_MS - MAX_SKEW_MS * 3 // 2))
    return now - old - dice.randrange(1000)


def by_name(logs: Sequence[Sequence[Row]]) -> dict[str, Row]:
    """Index records by the name that travels in the payload."""
    return {row.name: row for log in logs for row in log}
