"""The ledger's final format, byte for byte: encoding loses no fact, and decoding invents none."""

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.avro.ledger_entry import EntryDecoder, FactRun, LedgerEntry, decode, encode
from connector.errors import LedgerRefused
from connector.model import UNKNOWN_EPOCH, Facts, LedgerIdentity, Outcome
from tests.avro.ledger_facts import unpacked

HEADER = LedgerIdentity(
    cluster_id="cluster",
    source_topic="conversions",
    source_topic_id="3Yv0T5kpQ0iqTk0qbZbSGA",
    partition=3,
    group="group",
    destination=b"\x01" * 8,
    dedupe_key=b"\x02" * 8,
)
DELIVERED, DUPLICATE, STALE, IGNORED, DEAD_LETTERED = Outcome


def facts_of(*rows: tuple[Any, ...]) -> Facts:
    facts = Facts()
    for row in rows:
        facts.add(*row)
    return facts


def rows_of(facts: Facts) -> list[tuple[Any, ...]]:
    return list(zip(facts.offsets, facts.epochs, facts.outcomes, facts.keys, facts.times, strict=True))


SAMPLE = facts_of(
    (1_000, 4, DELIVERED, b"k" * 16, 1_783_900_800_123),
    (1_001, 4, DELIVERED, None, -1),
    (1_002, 5, DUPLICATE),
    (1_003, UNKNOWN_EPOCH, DUPLICATE),
    (1_200, 5, STALE),
    (1_201, 5, IGNORED),
    (1_202, 5, DEAD_LETTERED),
)


def test_the_format_is_frozen_byte_for_byte() -> None:
    expected = b"".join(
        [
            b"\x01",  # the format's number
            b"\x0ecluster",  # cluster_id
            b"\x16conversions",  # source_topic
            b"\x2c3Yv0T5kpQ0iqTk0qbZbSGA",  # source_topic_id
            b"\x06",  # partition 3, zig-zag
            b"\x0agroup",  # group
            b"\x10" + b"\x01" * 8,  # destination
            b"\x10" + b"\x02" * 8,  # dedupe_key
            b"\xd0\x0f",  # first_offset 1000, zig-zag
            b"\x0a" + b"\x01" + b"\xc5\x01" + b"\x01" + b"\x01",  # run_gaps, five bytes: 1, 197, 1, 1
            b"\x0a" + b"\x02\x02\x01\x01\x01",  # run_lengths
            b"\x0a" + b"\x01\x02\x03\x04\x05",  # run_outcomes
            b"\x10" + b"\x08\x02" + b"\x0a\x01" + b"\x01\x01" + b"\x0a\x03",  # epochs: 4 twice, 5, -1, 5 three times
            b"\x40" + b"k" * 16 + bytes(16),  # keys
            b"\x20" + bytes.fromhex("7b04c6589f010000") + b"\xff" * 8,  # times
        ]
    )
    assert encode(HEADER, SAMPLE) == expected
    assert rows_of(unpacked(decode(expected))) == rows_of(SAMPLE)


def test_a_restore_gets_runs_and_whole_columns() -> None:
    entry = decode(encode(HEADER, SAMPLE))
    assert entry.header == HEADER
    assert entry.runs == [
        FactRun(1_000, 2, DELIVERED, 4),
        FactRun(1_002, 1, DUPLICATE, 5),
        FactRun(1_003, 1, DUPLICATE, UNKNOWN_EPOCH),
        FactRun(1_200, 1, STALE, 5),
        FactRun(1_201, 1, IGNORED, 5),
        FactRun(1_202, 1, DEAD_LETTERED, 5),
    ]
    assert entry.keys == b"k" * 16 + bytes(16)
    assert list(entry.times) == [1_783_900_800_123, -1]


def test_an_entry_without_facts_is_legal() -> None:
    entry = decode(encode(HEADER, Facts()))
    assert (entry.header, entry.runs, entry.keys, len(entry.times), len(unpacked(entry))) == (HEADER, [], b"", 0, 0)


@pytest.mark.parametrize("start", [0, 1, 7_000, (1 << 63) - 1])
def test_an_entry_without_facts_says_where_its_assignment_begins(start: int) -> None:
    assert decode(encode(HEADER, Facts(start=start))).start == start


def test_an_entry_that_does_not_say_it_or_has_facts_names_no_beginning() -> None:
    """Versions before it wrote 0 there."""
    assert decode(encode(HEADER, Facts())).start is None
    facts = facts_of((7, 1, STALE))
    facts.start = 3
    assert (decode(encode(HEADER, facts)).start, decode(encode(HEADER, facts)).runs) == (None, [FactRun(7, 1, STALE, 1)])


def test_several_facts_of_one_offset_are_all_kept() -> None:
    facts = facts_of(
        (7, 1, DEAD_LETTERED),
        (7, 1, DELIVERED, b"a" * 16, 1),
        (7, 2, DELIVERED, b"b" * 16, 2),
        (8, 2, DELIVERED, b"c" * 16, 3),
        (7, 1, DELIVERED, b"a" * 16, 1),
    )
    assert sorted(map(repr, rows_of(unpacked(decode(encode(HEADER, facts)))))) == sorted(map(repr, rows_of(facts)))


def test_an_offset_of_two_epochs_before_the_next_one_does_not_make_facts_of_offsets_after_it() -> None:
    facts = facts_of((5, 0, STALE), (5, 1, STALE), (6, 1, STALE))
    assert rows_of(unpacked(decode(encode(HEADER, facts)))) == rows_of(facts)


_KEYS = st.none() | st.binary(min_size=16, max_size=16).filter(any)
_OFFSETS = st.integers(0, 40) | st.integers(0, (1 << 63) - 1)
_EPOCHS = st.integers(-1, 3) | st.integers(-1, (1 << 31) - 1)
_DELIVERED = st.tuples(_OFFSETS, _EPOCHS, st.just(DELIVERED), _KEYS, st.integers(-(1 << 63), (1 << 63) - 1))
_OTHERS = st.tuples(_OFFSETS, _EPOCHS, st.sampled_from([DUPLICATE, STALE, IGNORED, DEAD_LETTERED]), st.none(), st.just(0))


@given(st.lists(_DELIVERED | _OTHERS, max_size=60))
def test_every_fact_comes_back_whatever_the_order_it_went_in(rows: list[tuple[Any, ...]]) -> None:
    entry = decode(encode(HEADER, facts_of(*rows)))
    assert sorted(map(repr, rows_of(unpacked(entry)))) == sorted(map(repr, rows))
    assert [offset for offset, *_ in rows_of(unpacked(entry))] == sorted(offset for offset, *_ in rows)


def test_another_format_is_refused_with_the_way_out() -> None:
    with pytest.raises(LedgerRefused, match=r"format 2.*upgrade this member first"):
        decode(b"\x02" + encode(HEADER, SAMPLE)[1:])


def test_an_unknown_outcome_is_refused_with_the_way_out() -> None:
    value = encode(HEADER, SAMPLE).replace(b"\x01\x02\x03\x04\x05", b"\x01\x02\x03\x04\x06")
    with pytest.raises(LedgerRefused, match=r"outcome 6.*upgrade this member first"):
        decode(value)


WHOLE = encode(HEADER, SAMPLE)


@pytest.mark.parametrize("value", [b"", b"\x01", WHOLE + b"\x00", *(WHOLE[:length] for length in range(1, len(WHOLE)))])
def test_an_entry_that_does_not_parse_is_damaged(value: bytes) -> None:
    with pytest.raises(LedgerRefused, match="damaged"):
        decode(value)


@pytest.mark.parametrize(
    ("column", "damaged"),
    [
        (b"\x0a\x01\xc5\x01\x01\x01", b"\x0a\x01\xc5\x01\x01\x81"),  # a gap without an end
        (b"\x0a\x02\x02\x01\x01\x01", b"\x0a\x02\x02\x01\x01\x02"),  # more facts than epochs
        (b"\x0a\x02\x02\x01\x01\x01", b"\x0a\x02\x02\x01\x02\x00"),  # a run of nothing
        (b"\x0a\x02\x02\x01\x01\x01", b"\x08\x02\x02\x01\x02"),  # fewer runs than outcomes
        (b"\x0a\x01\x02\x03\x04\x05", b"\x0a\x02\x02\x03\x04\x05"),  # fewer delivered facts than keys
        (b"\x10\x08\x02\x0a\x01", b"\x0e\x08\x02\x03"),  # an epoch without a count
        (b"\x10\x08\x02\x0a\x01", b"\x10\x08\x02\x0b\x01"),  # an epoch below that of a leader nobody knows
        (b"\x10\x08\x02\x0a\x01\x01\x01", b"\x18\x08\x02\xff\xff\xff\xff\x1f\x01\x01\x01"),  # one above all
        (b"\xd0\x0f\x0a", b"\xcf\x0f\x0a"),  # a first fact about an offset below zero
        (b"\xd0\x0f\x0a", b"\xfe" + b"\xff" * 8 + b"\x01\x0a"),  # a last one beyond the largest
    ],
)
def test_columns_that_do_not_agree_are_damaged(column: bytes, damaged: bytes) -> None:
    assert WHOLE.count(column) == 1
    with pytest.raises(LedgerRefused, match="damaged"):
        decode(WHOLE.replace(column, damaged))


def _said(decode_one: Callable[[bytes], LedgerEntry], value: bytes) -> LedgerEntry | str:
    try:
        return decode_one(value)
    except LedgerRefused as refusal:
        return str(refusal)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(_DELIVERED | _OTHERS, max_size=5)), min_size=1, max_size=5))
def test_entries_one_after_the_other_are_read_as_each_alone(entries: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
    decoder = EntryDecoder()
    for group, rows in entries:
        value = encode(replace(HEADER, group=group), facts_of(*rows))
        assert decoder.decode(value) == decode(value)


def test_a_damaged_entry_after_a_sound_one_is_read_or_refused_as_alone() -> None:
    chance, decoder = random.Random(20_261_129), EntryDecoder()
    for _ in range(5_000):
        decoder.decode(WHOLE)
        value = bytearray(WHOLE)
        for _ in range(chance.randint(1, 3)):
            value[chance.randrange(len(value))] = chance.randrange(256)
        del value[chance.choice((chance.randrange(len(value)), len(value))) :]
        assert _said(decoder.decode, bytes(value)) == _said(decode, bytes(value))


@pytest.mark.parametrize(
    "number", [b"\xd0\x8f\x00", b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\x80" * 12 + b"\x00", b"\x80" * 9]
)
def test_a_number_written_in_another_way_is_read_as_alone(number: bytes) -> None:
    decoder, value = EntryDecoder(), WHOLE.replace(b"\xd0\x0f\x0a", number + b"\x0a")
    decoder.decode(WHOLE)
    assert _said(decoder.decode, value) == _said(decode, value)


def test_mutated_entries_are_read_or_refused() -> None:
    chance = random.Random(20_261_122)
    for _ in range(5_000):
        value = bytearray(WHOLE)
        for _ in range(chance.randint(1, 3)):
            value[chance.randrange(len(value))] = chance.randrange(256)
        with contextlib.suppress(LedgerRefused):
            assert isinstance(decode(bytes(value)), LedgerEntry)
