"""The account of every offset, compared with an oracle that is made of sets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.cli.audit_account import Copies, DeliveredKeys, PartitionAccount, PartitionTotals
from connector.model import UNKNOWN_EPOCH, Outcome
from tests.core.builders import key_of

DELIVERED, DUPLICATE, STALE, IGNORED, DEAD_LETTERED = Outcome


def _account(records: range, next_offset: int | None, *, epoch: int = 0, end: int | None = None) -> PartitionAccount:
    account = PartitionAccount(records.start, records.stop if end is None else end, next_offset)
    for offset in records:
        account.take_record(offset, epoch)
    return account


def _fates(totals: PartitionTotals) -> dict[Outcome, int]:
    return {outcome: count for outcome, count in totals.fates.items() if count}


def test_record_without_a_fact_is_pending_above_the_commit_and_unaccounted_below() -> None:
    totals = _account(range(10, 20), 14).totals()

    assert (totals.pending, totals.unaccounted, totals.unaccounted_offsets) == (6, 4, (10, 11, 12, 13))


@pytest.mark.parametrize("next_offset", [None, 0, 10])
def test_without_a_commit_or_below_the_log_all_is_pending(next_offset: int | None) -> None:
    totals = _account(range(10, 20), next_offset).totals()
    assert (totals.pending, totals.unaccounted, totals.next_offset) == (10, 0, next_offset)


def test_commit_beyond_the_end_of_the_account_is_a_commit_of_all_of_it() -> None:
    assert _account(range(10), 50).totals().unaccounted == 10


def test_fate_is_the_fact_that_outranks_the_others_in_any_order() -> None:
    ranked = [IGNORED, STALE, DUPLICATE, DEAD_LETTERED, DELIVERED]
    for at, higher in enumerate(ranked):
        for lower in ranked[:at]:
            for pair in ((lower, higher), (higher, lower)):
                account = _account(range(1), 1)
                for outcome in pair:
                    account.take_facts(0, 1, outcome, 0)
                totals = account.totals()
                assert _fates(totals) == {higher: 1}
                assert totals.facts_again == 1


def test_fact_counts_for_a_record_of_its_leader_epoch_only() -> None:
    account = PartitionAccount(0, 6, 6)
    for offset, epoch in enumerate([3, 3, 3, 5, 5, UNKNOWN_EPOCH]):
        account.take_record(offset, epoch)

    account.take_facts(0, 6, DELIVERED, 3)
    account.take_facts(4, 1, STALE, 5)
    account.take_facts(5, 1, IGNORED, 4)

    totals = account.totals()
    assert _fates(totals) == {DELIVERED: 3, STALE: 1}
    assert (totals.unaccounted_offsets, totals.facts_elsewhere) == ((3, 5), 4)

    account.take_facts(5, 1, IGNORED, UNKNOWN_EPOCH)
    assert account.totals().unaccounted_offsets == (3,)


def test_offset_without_a_record_is_a_gap_whatever_is_said_of_it() -> None:
    account = PartitionAccount(0, 5, 5)
    for offset in (1, 3):
        account.take_record(offset, 0)
    account.take_facts(0, 5, DELIVERED, 0)
    account.take_letter(4)

    totals = account.totals()

    assert (totals.records, totals.gaps, _fates(totals), totals.facts_elsewhere) == (2, 3, {DELIVERED: 2}, 3)


def test_facts_outside_the_account_are_of_deleted_records_or_came_later() -> None:
    account = _account(range(10, 20), 20)
    account.take_facts(5, 10, DELIVERED, 0)
    account.take_facts(15, 10, STALE, 0)
    account.take_facts(25, 3, STALE, 0)
    totals = account.totals()
    assert (_fates(totals), totals.facts_elsewhere) == ({DELIVERED: 5, STALE: 5}, 5)


def test_dead_lettered_fact_without_its_letter_is_missing_unless_delivered_after_all() -> None:
    account = _account(range(4), 3)
    account.take_facts(0, 4, DEAD_LETTERED, 0)
    account.take_facts(2, 1, DELIVERED, 0)
    account.take_letter(1)

    totals = account.totals()

    assert (totals.letters_missing, totals.letters_missing_offsets) == (2, (0, 3))
    assert totals.unaccounted == 0


def test_letter_of_a_record_that_the_log_has_deleted_is_missed_where_the_log_begins_there() -> None:
    whole, since = PartitionAccount(10, 12, 11, begins=True), PartitionAccount(10, 12, 11)
    for account in (whole, since):
        account.take_record(10, 0)
        account.take_record(11, 0)
        account.take_facts(6, 6, DEAD_LETTERED, 0)
        account.take_facts(8, 1, DELIVERED, 0)
        account.take_facts(2, 1, STALE, 0)
        for offset in (7, 10):
            account.take_letter(offset)

    totals = whole.totals()
    assert (totals.letters_missing, totals.letters_missing_offsets, totals.facts_elsewhere) == (3, (6, 9, 11), 6)
    assert whole.totals(1).letters_missing_offsets == (6,)
    assert (since.totals().letters_missing, since.totals().letters_missing_offsets) == (1, (11,))


def test_letter_without_a_fact_loses_nothing_below_the_commit_and_is_pending_above() -> None:
    account = _account(range(4), 2)
    for offset in (1, 2, 99):
        account.take_letter(offset)
    totals = account.totals()
    assert (totals.letter_only, totals.unaccounted, totals.pending) == (1, 1, 2)


def test_what_the_ledger_may_have_forgotten_is_not_unaccounted() -> None:
    account = PartitionAccount(0, 4, 3)
    for offset in range(4):
        account.take_record(offset, 0, forgotten=offset != 1)
    account.take_letter(2)
    account.take_facts(0, 1, DEAD_LETTERED, 0)

    totals = account.totals()

    assert (totals.forgotten, totals.unaccounted, totals.letter_only, totals.pending) == (0, 1, 1, 1)
    assert (totals.facts_again, totals.letters_missing_offsets) == (0, (0,))


def test_what_lies_before_the_first_start_is_not_unaccounted_unless_it_has_a_fate() -> None:
    account = PartitionAccount(0, 10, 8)
    for offset in range(10):
        account.take_record(offset, 0, forgotten=offset == 1)
    account.started_at(5)
    account.take_facts(3, 1, Outcome.STALE, 0)
    account.take_facts(6, 1, Outcome.STALE, 0)
    totals = account.totals()
    assert (totals.before_start, totals.forgotten, totals.unaccounted, totals.pending) == (4, 0, 2, 2)
    assert totals.unaccounted_offsets == (5, 7)
    assert _fates(totals) == {Outcome.STALE: 2}


@pytest.mark.parametrize("start", [0, 8, 9, 100])
def test_a_start_does_not_change_what_is_pending(start: int) -> None:
    account = _account(range(10), 8)
    account.started_at(start)
    totals = account.totals()
    assert totals.before_start + totals.unaccounted == 8
    assert totals.pending == 2


def test_what_was_deleted_while_it_was_read_is_left_out() -> None:
    account = PartitionAccount(0, 10, 8)
    account.take_record(0, 0)
    account.begin_at(6)
    for offset in range(6, 10):
        account.take_record(offset, 0)
    totals = account.totals()
    assert (totals.first_offset, totals.records, totals.gaps, totals.unaccounted_offsets) == (6, 4, 0, (6, 7))


def test_empty_partition_has_an_empty_account() -> None:
    totals = PartitionAccount(7, 7, 7).totals()
    assert (totals.records, totals.gaps, totals.pending, totals.unaccounted) == (0, 0, 0, 0)


def test_only_the_first_places_are_named() -> None:
    account = PartitionAccount(0, 9, 9)
    for offset in range(9):
        account.take_record(offset, 0, forgotten=offset < 4)
    account.take_facts(0, 9, DEAD_LETTERED, 0)
    assert account.totals(places=3).letters_missing_offsets == (0, 1, 2)


@dataclass
class _World:
    """What could be told, at random: records, facts and letters of a partition."""

    first: int
    records: dict[int, int] = field(default_factory=dict)
    facts: list[tuple[int, int, Outcome, int]] = field(default_factory=list)
    letters: set[int] = field(default_factory=set)
    next_offset: int | None = None
    end: int = 0


@st.composite
def _worlds(draw: st.DrawFn) -> _World:
    first, size = draw(st.integers(0, 5)), draw(st.integers(0, 25))
    world = _World(first, end=first + size, next_offset=draw(st.one_of(st.none(), st.integers(0, 40))))
    epoch = 0
    for offset in range(first, first + size):
        epoch += draw(st.sampled_from([0, 0, 0, 1]))
        if draw(st.booleans()):
            world.records[offset] = epoch
    place = st.integers(0, 35)
    run = st.tuples(place, st.integers(1, 12), st.sampled_from(list(Outcome)), st.integers(0, 3))
    world.facts = draw(st.lists(run, max_size=10))
    world.letters = set(draw(st.lists(place, max_size=10)))
    return world


_ORDER = (DELIVERED, DEAD_LETTERED, DUPLICATE, STALE, IGNORED)


@settings(deadline=None)
@given(_worlds())
def test_every_offset_is_accounted_for_once(world: _World) -> None:
    account = PartitionAccount(world.first, world.end, world.next_offset)
    for offset, epoch in world.records.items():
        account.take_record(offset, epoch)
    for run in world.facts:
        account.take_facts(*run)
    for offset in world.letters:
        account.take_letter(offset)
    totals = account.totals(places=1000)

    told: dict[int, list[Outcome]] = {offset: [] for offset in world.records}
    elsewhere = 0
    for first, length, outcome, epoch in world.facts:
        for offset in range(first, first + length):
            if world.records.get(offset) == epoch:
                told[offset].append(outcome)
            else:
                elsewhere += offset < world.end
    fates = {offset: min(facts, key=_ORDER.index) for offset, facts in told.items() if facts}
    committed = {offset for offset in told if world.next_offset is not None and offset < world.next_offset}
    open_ = told.keys() - fates.keys()
    assert totals.records == len(told)
    assert totals.gaps == world.end - world.first - len(told)
    assert totals.fates == {outcome: [*fates.values()].count(outcome) for outcome in Outcome}
    assert totals.pending == len(open_ - committed)
    assert set(totals.unaccounted_offsets) == (open_ & committed) - world.letters
    assert totals.letter_only == len(open_ & committed & world.letters)
    assert set(totals.letters_missing_offsets) == {o for o in fates if fates[o] is DEAD_LETTERED} - world.letters
    assert totals.facts_again == sum(max(len(facts) - 1, 0) for facts in told.values())
    assert totals.facts_elsewhere == elsewhere
    whole = (
        sum(totals.fates.values())
        + totals.pending
        + totals.letter_only
        + totals.before_start
        + totals.forgotten
        + totals.unaccounted
    )
    assert whole == totals.records


# ---- keys


def test_copies_are_deliveries_of_a_key_beyond_its_first() -> None:
    keys = DeliveredKeys()
    for name, partition, offset in [
        ("once", 0, 1),
        ("told twice", 0, 2),
        ("told twice", 0, 2),
        ("across", 0, 3),
        ("across", 1, 3),
        ("across", 2**31 - 1, 2**62),
        ("within", 1, 4),
        ("within", 1, 5),
        ("both", 0, 6),
        ("both", 0, 7),
        ("both", 1, 6),
    ]:
        keys.add(key_of(name), partition, offset)

    assert keys.copies() == Copies(across_partitions=3, within_a_partition=2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 3), st.integers(0, 5))))
def test_copies_are_those_of_a_naive_count(deliveries: list[tuple[bytes, int, int]]) -> None:
    keys, places = DeliveredKeys(), dict[bytes, set[tuple[int, int]]]()
    for drawn, partition, offset in deliveries * 2:
        key = drawn[:1] * 16
        keys.add(key, partition, offset)
        places.setdefault(key, set()).add((partition, offset))
    across = sum(len({partition for partition, _ in one}) - 1 for one in places.values())
    within = sum(len(one) - len({partition for partition, _ in one}) for one in places.values())
    assert keys.copies() == Copies(across, within)
