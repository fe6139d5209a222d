"""The value of a ledger record: facts of one partition, packed (docs/how-it-works.md#the-ledger).

A byte for the format's number, then one Avro record of ``schemas/ledger_entry.avsc``, whose ``doc`` texts are the
format's description. **The format is final**: ledgers outlive versions, so any change is a new number that older
versions refuse, and a number is never used again.

An entry costs by the flush, not by the fact: a restore takes runs, and digests and times as whole buffers, without an
object a fact. What cannot be read exactly is refused and never skipped: a fact left out sends an event again, a fact
made up loses one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from itertools import chain, groupby
from typing import NamedTuple

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from connector.avro.schemas import packaged
from connector.avro.writer_schema import Json
from connector.errors import LedgerRefused
from connector.model import UNKNOWN_EPOCH, Facts, LedgerIdentity, Outcome

__all__ = ["FORMAT", "KEY_BYTES", "LedgerEntry", "Run", "decode", "encode"]

FORMAT = 1
"""The first byte of a value."""
KEY_BYTES = 16
"""Of the digest of a dedupe key."""

_NO_KEY = bytes(KEY_BYTES)
_LAST_OFFSET = 2**63 - 1
_LAST_EPOCH = 2 * (2**31 - 1)
"""As `_zigzag` writes it."""
_TIME_BYTES = 8
_OUTCOMES = {int(outcome): outcome for outcome in Outcome}


class Run(NamedTuple):
    """Facts of the same outcome and leader epoch on consecutive offsets."""

    first_offset: int
    length: int
    outcome: Outcome
    epoch: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An entry as columns. Facts stand in order of offset, leader epoch, outcome."""

    header: LedgerIdentity
    runs: list[Run]
    keys: bytes
    """`KEY_BYTES` for each delivered fact; all zero for an event without a dedupe key."""
    times: array[int]
    """Event times in milliseconds since 1970 UTC, one for each delivered fact; type code ``q``."""
    start: int | None = None
    """Where the assignment that this entry opened began to read; None in an entry with facts, or of an older version."""


def encode(header: LedgerIdentity, facts: Facts) -> bytes:
    """Pack facts, in any order, into the value of a ledger record.

    Keys and times of facts that are not delivered are left out. A key is None or `KEY_BYTES` long.
    """
    order = sorted(range(len(facts)), key=lambda fact: (facts.offsets[fact], facts.epochs[fact], facts.outcomes[fact]))
    offsets = [facts.offsets[fact] for fact in order]
    outcomes = [facts.outcomes[fact] for fact in order]
    starts = [
        fact
        for fact in range(len(order))
        if fact == 0 or offsets[fact] != offsets[fact - 1] + 1 or outcomes[fact] != outcomes[fact - 1]
    ]
    epochs = [(epoch, len(list(same))) for epoch, same in groupby(facts.epochs[fact] for fact in order)]
    delivered = [fact for fact in order if facts.outcomes[fact] is Outcome.DELIVERED]
    record = asdict(header) | {
        "first_offset": offsets[0] if offsets else _told(facts.start),
        "run_gaps": _packed(offsets[start] - offsets[start - 1] for start in starts[1:]),
        "run_lengths": _packed(end - start for start, end in zip(starts, [*starts[1:], len(order)], strict=False)),
        "run_outcomes": bytes(outcomes[start] for start in starts),
        "epochs": _packed(chain.from_iterable((_zigzag(epoch), count) for epoch, count in epochs)),
        "keys": b"".join([facts.keys[fact] or _NO_KEY for fact in delivered]),
        "times": _little_endian(array("q", [facts.times[fact] for fact in delivered])).tobytes(),
    }
    value = BytesIO()
    value.write(bytes([FORMAT]))
    schemaless_writer(value, _schema(), record)
    return value.getvalue()


def decode(value: bytes) -> LedgerEntry:
    """Unpack the value of a ledger record.

    Raises:
        LedgerRefused: its format or an outcome is unknown, or it is damaged.
    """
    if not value:
        raise _damaged("it is empty")
    if value[0] != FORMAT:
        raise LedgerRefused(
            f"a ledger entry has format {value[0]}, this version reads format {FORMAT}: it was written by a newer version "
            "(upgrade this member first), or is no ledger entry"
        )
    stream = BytesIO(value)
    stream.seek(1)
    try:
        record: Json = schemaless_reader(stream, _schema(), None)
    except Exception as error:  # damaged bytes lead fastavro into whatever error they lead to
        raise _damaged(f"its bytes do not follow its schema ({type(error).__name__})") from error
    if stream.tell() != len(value):
        raise _damaged("bytes are left over")
    header = LedgerIdentity(**{name: record[name] for name in LedgerIdentity.__slots__})
    runs = _runs(record)
    delivered = sum([run.length for run in runs if run.outcome is Outcome.DELIVERED])
    if len(record["keys"]) != delivered * KEY_BYTES or len(record["times"]) != delivered * _TIME_BYTES:
        raise _damaged("its columns of delivered facts have the wrong length")
    times = array("q")
    times.frombytes(record["times"])
    first = record["first_offset"]
    return LedgerEntry(header, runs, record["keys"], _little_endian(times), -1 - first if not runs and first < 0 else None)


def _told(start: int | None) -> int:
    """Write where an assignment begins in the place of a first fact: below zero, where versions before it wrote 0."""
    return 0 if start is None else -1 - start


def _runs(record: Json) -> list[Run]:
    gaps, lengths, epochs = _unpacked(record["run_gaps"]), _unpacked(record["run_lengths"]), _unpacked(record["epochs"])
    outcomes = [_outcome(number) for number in record["run_outcomes"]]
    counts = epochs[1::2]
    if len(lengths) != len(outcomes) or len(gaps) != max(len(lengths) - 1, 0):
        raise _damaged("its columns of runs have different lengths")
    if len(epochs) % 2 or sum(counts) != sum(lengths) or 0 in lengths or 0 in counts:
        raise _damaged("its columns of leader epochs and runs count different facts")
    last = record["first_offset"] + sum(gaps) + sum(lengths) - len(lengths)
    if lengths and not 0 <= record["first_offset"] <= last <= _LAST_OFFSET:
        raise _damaged(f"its facts are about offsets {record['first_offset']} to {last}")
    if any(zigzag > _LAST_EPOCH or (zigzag & 1 and zigzag != _zigzag(UNKNOWN_EPOCH)) for zigzag in epochs[::2]):
        raise _damaged("its facts are of leader epochs that no leader has")
    return _split(record["first_offset"], gaps, lengths, outcomes, epochs)


def _split(first: int, gaps: list[int], lengths: list[int], outcomes: list[Outcome], epochs: list[int]) -> list[Run]:
    """Cut runs where the leader epoch changes."""
    runs: list[Run] = []
    pairs = zip(epochs[::2], epochs[1::2], strict=True)
    epoch = left = 0
    last = first
    for gap, length, outcome in zip([0, *gaps], lengths, outcomes, strict=False):  # without runs there is no first one
        offset, rest = last + gap, length
        while rest:
            if not left:
                zigzag, left = next(pairs)
                epoch = (zigzag >> 1) ^ -(zigzag & 1)
            part = min(rest, left)
            runs.append(Run(offset, part, outcome, epoch))
            offset, rest, left = offset + part, rest - part, left - part
        last = offset - 1
    return runs


def _outcome(number: int) -> Outcome:
    outcome = _OUTCOMES.get(number)
    if outcome is None:
        raise LedgerRefused(
            f"a ledger entry has a fact of outcome {number}, which this version does not know: it was written by a newer "
            "version; upgrade this member first"
        )
    return outcome


def _damaged(why: str) -> LedgerRefused:
    return LedgerRefused(f"a ledger entry is damaged: {why}")


@cache
def _schema() -> Json:
    return parse_schema(packaged("ledger_entry.avsc"))


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _packed(numbers: Iterable[int]) -> bytes:
    column = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            column.append(rest & 0x7F | 0x80)
            rest >>= 7
        column.append(rest)
    return bytes(column)


def _unpacked(column: bytes) -> list[int]:
    if column.isascii():  # every number below 128, as nearly always: a byte each
        return list(column)
    if column[-1] > 0x7F:
        raise _damaged("a column ends within a number")
    numbers = []
    number = shift = 0
    for byte in column:
        number |= (byte & 0x7F) << shift
        if byte > 0x7F:
            shift += 7
        else:
            numbers.append(number)
            number = shift = 0
    return numbers


def _little_endian(times: array[int]) -> array[int]:
    """Swap the bytes of numbers read or to be written, where the machine's order is the other one."""
    if sys.byteorder == "big":
        times.byteswap()
    return times
