"""The value of a ledger record: facts of one partition, packed (docs/how-it-works.md#the-ledger).

A value is one byte with the number of the format, then one Avro record of
``schemas/ledger_entry.avsc``. The ``doc`` texts of that schema describe the format. **The format is
final**: ledgers outlive versions, so every change gets a new number, which older versions refuse,
and a number is never used again.

The cost of an entry does not grow by an object per fact. A restore takes facts as runs, and digests
and times as whole buffers.

An entry that cannot be read exactly is refused and never skipped: a missing fact sends an event
again, and an invented fact loses one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from itertools import chain, compress, groupby, islice
from operator import ge, is_, itemgetter
from typing import NamedTuple

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from connector.avro.schema_file import packaged
from connector.avro.varint import packed, signed, unpacked, zigzag
from connector.avro.writer_schema import Json
from connector.errors import LedgerRefused
from connector.model import UNKNOWN_EPOCH, Facts, LedgerIdentity, Outcome

__all__ = ["FORMAT", "KEY_BYTES", "EntryDecoder", "FactRun", "LedgerEntry", "decode", "encode"]

FORMAT = 1
"""Number of the format: the first byte of a value."""
KEY_BYTES = 16
"""Length of the digest of a dedupe key."""

_NO_KEY = bytes(KEY_BYTES)
_LAST_OFFSET = 2**63 - 1
_LAST_EPOCH = 2 * (2**31 - 1)
"""Highest leader epoch, as `zigzag` encodes it."""
_TIME_BYTES = 8
_PAIR = 2
_MOST_BITS = 63
"""Bits of the longest number that is read here: nine bytes."""
_OUTCOMES = {int(outcome): outcome for outcome in Outcome}


class FactRun(NamedTuple):
    """Facts about consecutive offsets that have the same outcome and leader epoch."""

    first_offset: int
    length: int
    outcome: Outcome
    epoch: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A decoded entry, as columns. Facts are in order of offset, leader epoch, outcome."""

    header: LedgerIdentity
    runs: list[FactRun]
    keys: bytes
    """Digests of delivered facts, `KEY_BYTES` each; all zero for an event without a dedupe key."""
    times: array[int]
    """Event times of delivered facts, in milliseconds since 1970 UTC; type code ``q``."""
    start: int | None = None
    """First offset of the assignment that this entry opened; None in an entry with facts, or of an
    older version."""


def encode(header: LedgerIdentity, facts: Facts) -> bytes:
    """Encode facts, in any order, as the value of a ledger record.

    Keys and times are encoded for delivered facts only. A key is None or `KEY_BYTES` long.
    """
    offsets = facts.offsets
    if any(map(ge, offsets, islice(offsets, 1, None))):
        facts = _in_order(facts)
    offsets, outcomes, keys, times = facts.offsets, facts.outcomes, facts.keys, facts.times
    starts = _starts(offsets, outcomes) if offsets else []
    epochs = [(epoch, len(list(same))) for epoch, same in groupby(facts.epochs)]
    if outcomes.count(Outcome.DELIVERED) < len(outcomes):
        are_delivered = list(map(partial(is_, Outcome.DELIVERED), outcomes))
        keys, times = list(compress(keys, are_delivered)), list(compress(times, are_delivered))
    columns = _Columns(
        first_offset=offsets[0] if offsets else _opened_at(facts.start),
        run_gaps=packed(offsets[start] - offsets[start - 1] for start in starts[1:]),
        run_lengths=packed(end - start for start, end in zip(starts, [*starts[1:], len(offsets)], strict=False)),
        run_outcomes=bytes(outcomes[start] for start in starts),
        epochs=packed(chain.from_iterable((zigzag(epoch), count) for epoch, count in epochs)),
        keys=b"".join([key or _NO_KEY for key in keys]),
        times=_little_endian(array("q", times)).tobytes(),
    )
    return _encoded(header, columns)


def _in_order(facts: Facts) -> Facts:
    """Return facts in order of offset, leader epoch, outcome.

    Facts that are equal in all three keep their order.
    """
    offsets, epochs, outcomes = facts.offsets, facts.epochs, facts.outcomes
    if len(set(offsets)) == len(offsets):
        order = sorted(range(len(offsets)), key=offsets.__getitem__)
    else:
        order = sorted(range(len(offsets)), key=lambda fact: (offsets[fact], epochs[fact], outcomes[fact]))
    in_order = itemgetter(*order)  # at least two, or they were in order
    columns = (offsets, epochs, outcomes, facts.keys, facts.times)
    return Facts(*(list(in_order(column)) for column in columns), start=facts.start)


def _starts(offsets: Sequence[int], outcomes: Sequence[Outcome]) -> list[int]:
    """Return where runs begin. Offsets are in order."""
    if offsets == [*range(offsets[0], offsets[0] + len(offsets))] and outcomes.count(outcomes[0]) == len(outcomes):
        return [0]  # nearly always
    before = zip(offsets, outcomes, strict=True)
    following = enumerate(zip(islice(offsets, 1, None), islice(outcomes, 1, None), before, strict=False), start=1)
    # An offset of two epochs, which is no distance, begins a run too.
    return [0, *[at for at, (offset, outcome, (last, ended)) in following if offset - last != 1 or outcome is not ended]]


def decode(value: bytes) -> LedgerEntry:
    """Decode the value of one ledger record.

    Raises:
        LedgerRefused: the format or an outcome is unknown, or the value is damaged.
    """
    return _entry(*_decoded(value))


class EntryDecoder:
    """Decodes the entries of a ledger, one after the other.

    Nearly all begin with the same header, and an entry may hold a single fact: then the header is
    most of the work. So the header of the last entry is remembered by its bytes, and the columns
    after it are cut out here. Whatever is not exactly as `encode` writes it is left to fastavro.
    """

    __slots__ = ("_begins", "_header")

    def __init__(self) -> None:
        self._begins: bytes | None = None
        self._header: LedgerIdentity | None = None

    def decode(self, value: bytes) -> LedgerEntry:
        """Decode the next value; raises as `decode`."""
        if self._begins is not None and self._header is not None and value.startswith(self._begins):
            columns = _columns_after(value, len(self._begins))
            if columns is not None:
                return _entry(self._header, columns)
        header, columns = _decoded(value)
        begins = _encoded(header, _NO_FACTS)[: -len(_NO_FACTS)]
        if value.startswith(begins):
            self._begins, self._header = begins, header
        return _entry(header, columns)


class _Columns(NamedTuple):
    """What follows the header, in the order of the schema."""

    first_offset: int
    run_gaps: bytes
    run_lengths: bytes
    run_outcomes: bytes
    epochs: bytes
    keys: bytes
    times: bytes


_NO_FACTS = _Columns(0, b"", b"", b"", b"", b"", b"")
"""Each is encoded as one byte."""


def _encoded(header: LedgerIdentity, columns: _Columns) -> bytes:
    value = BytesIO()
    value.write(bytes([FORMAT]))
    schemaless_writer(value, _schema(), _fields(header) | columns._asdict())
    return value.getvalue()


def _fields(header: LedgerIdentity) -> Json:
    return {name: getattr(header, name) for name in LedgerIdentity.__slots__}


def _decoded(value: bytes) -> tuple[LedgerIdentity, _Columns]:
    if not value:
        raise _damaged("it is empty")
    if value[0] != FORMAT:
        raise LedgerRefused(
            f"a ledger entry has format {value[0]}, this version reads format {FORMAT}: the entry was written by a newer "
            "version (upgrade this member first), or it is not a ledger entry"
        )
    stream = BytesIO(value)
    stream.seek(1)
    try:
        record: Json = schemaless_reader(stream, _schema(), None)
    except Exception as error:  # fastavro raises anything for damaged bytes
        raise _damaged(f"its bytes do not follow its schema ({type(error).__name__})") from error
    if stream.tell() != len(value):
        raise _damaged("bytes are left over")
    header = LedgerIdentity(**{name: record[name] for name in LedgerIdentity.__slots__})
    return header, _Columns(**{name: record[name] for name in _Columns._fields})


def _columns_after(value: bytes, at: int) -> _Columns | None:
    """Cut out the columns that begin at this byte and end with the value; None if they do not."""
    try:
        first_offset, at = _number(value, at)
        columns = []
        for _ in range(len(_Columns._fields) - 1):
            length, at = _number(value, at)
            if length < 0:
                return None
            columns.append(value[at : at + length])
            at += length
    except (IndexError, ValueError):  # it ends within a number, or a number is too long
        return None
    return _Columns(first_offset, *columns) if at == len(value) else None


def _number(value: bytes, at: int) -> tuple[int, int]:
    """Return Avro's number at this byte, and where it ends."""
    byte = value[at]
    number, shift = byte & 0x7F, 7
    while byte > 0x7F:
        at += 1
        byte = value[at]
        number |= (byte & 0x7F) << shift
        shift += 7
    if shift > _MOST_BITS:
        raise ValueError("fastavro may read it in another way")
    return signed(number), at + 1


def _entry(header: LedgerIdentity, columns: _Columns) -> LedgerEntry:
    runs = _runs(columns)
    delivered = sum([run.length for run in runs if run.outcome is Outcome.DELIVERED])
    if len(columns.keys) != delivered * KEY_BYTES or len(columns.times) != delivered * _TIME_BYTES:
        raise _damaged("its columns of delivered facts have the wrong length")
    times = array("q")
    times.frombytes(columns.times)
    first = columns.first_offset
    return LedgerEntry(header, runs, columns.keys, _little_endian(times), -1 - first if not runs and first < 0 else None)


def _opened_at(start: int | None) -> int:
    """Return the ``first_offset`` of an empty entry: the start of its assignment, below zero.

    Older versions wrote 0 there.
    """
    return 0 if start is None else -1 - start


def _runs(columns: _Columns) -> list[FactRun]:
    first = columns.first_offset
    gaps, lengths, epochs = _unpacked(columns.run_gaps), _unpacked(columns.run_lengths), _unpacked(columns.epochs)
    outcomes = [_outcome(number) for number in columns.run_outcomes]
    counts = epochs[1::2]
    if len(lengths) != len(outcomes) or len(gaps) != max(len(lengths) - 1, 0):
        raise _damaged("its columns of runs have different lengths")
    if len(epochs) % 2 or sum(counts) != sum(lengths) or 0 in lengths or 0 in counts:
        raise _damaged("its columns of leader epochs and runs count different facts")
    last = first + sum(gaps) + sum(lengths) - len(lengths)
    if lengths and not 0 <= first <= last <= _LAST_OFFSET:
        raise _damaged(f"its facts are about impossible offsets, {first} to {last}")
    if any(epoch > _LAST_EPOCH or (epoch & 1 and epoch != zigzag(UNKNOWN_EPOCH)) for epoch in epochs[::2]):
        raise _damaged("its facts have leader epochs that no leader can have")
    if len(lengths) == 1 and len(epochs) == _PAIR:  # nearly always, where little comes in
        return [FactRun(first, lengths[0], outcomes[0], signed(epochs[0]))]
    return _split(first, gaps, lengths, outcomes, epochs)


def _split(first: int, gaps: list[int], lengths: list[int], outcomes: list[Outcome], epochs: list[int]) -> list[FactRun]:
    """Split runs where the leader epoch changes."""
    runs: list[FactRun] = []
    pairs = zip(epochs[::2], epochs[1::2], strict=True)
    epoch = left = 0
    last = first
    for gap, length, outcome in zip(
        [0, *gaps], lengths, outcomes, strict=False
    ):  # not strict: the 0 is there without runs too
        offset, rest = last + gap, length
        while rest:
            if not left:
                number, left = next(pairs)
                epoch = signed(number)
            part = min(rest, left)
            runs.append(FactRun(offset, part, outcome, epoch))
            offset, rest, left = offset + part, rest - part, left - part
        last = offset - 1
    return runs


def _outcome(number: int) -> Outcome:
    outcome = _OUTCOMES.get(number)
    if outcome is None:
        raise LedgerRefused(
            f"a ledger entry has a fact with outcome {number}, which this version does not know: the entry was written by "
            "a newer version; upgrade this member first"
        )
    return outcome


def _damaged(why: str) -> LedgerRefused:
    return LedgerRefused(f"a ledger entry is damaged: {why}")


@cache
def _schema() -> Json:
    return parse_schema(packaged("ledger_entry.avsc"))


def _unpacked(column: bytes) -> list[int]:
    if column and column[-1] > 0x7F:
        raise _damaged("a column ends within a number")
    return unpacked(column)


def _little_endian(times: array[int]) -> array[int]:
    """Convert between the byte order of this machine and little-endian, in place."""
    if sys.byteorder == "big":
        times.byteswap()
    return times
