"""Whose facts count, where an assignment starts, and when it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core.recovery import (
    CommittedOffset,
    Identity,
    LedgerPosition,
    OutOfRange,
    PartitionState,
    Recovery,
    Refusal,
    Restoration,
    commit_metadata,
)
from connector.model import UNKNOWN_EPOCH, Outcome
from tests.core.builders import NOW_MS, key_of

MINE = Identity("cluster", "conversions", "topic-id", "group", b"destination", b"dedupe key")
KEY = key_of("a")
WAIT, EARLIEST = OutOfRange(to_earliest=False), OutOfRange(to_earliest=True)


def _restoration(*headers: Identity, accept: frozenset[str] = frozenset(), first: int = 12) -> Restoration:
    """A ledger with one entry per header: offset 12 delivered under epoch 3, and 13 to 15 duplicates."""
    restoration = Restoration(MINE, accept)
    for header in headers:
        runs = [(first, 1, Outcome.DELIVERED, 3), (first + 1, 3, Outcome.DUPLICATE, 3)]
        assert restoration.take(header, runs, KEY, [NOW_MS]) is None
    return restoration


def _state(
    committed: CommittedOffset | None = None, *, first: int = 0, end: int = 100, ledger: LedgerPosition | None = None
) -> PartitionState:
    return PartitionState(first, end, committed, ledger or LedgerPosition("ledger-id", 40))


def _commit(
    offset: int = 10, *, topic_id: str = "topic-id", ledger_id: str = "ledger-id", position: int = 40
) -> CommittedOffset:
    return CommittedOffset(offset, 3, commit_metadata(topic_id, LedgerPosition(ledger_id, position)))


def _recovered(found: Recovery | Refusal) -> Recovery:
    assert isinstance(found, Recovery)
    return found


def _refused(found: Recovery | Refusal) -> Refusal:
    assert isinstance(found, Refusal)
    return found


# ---- markers of transactions behind the last record


def _behind(offset: int, behind: int) -> CommittedOffset:
    return CommittedOffset(offset, 3, commit_metadata("topic-id", LedgerPosition("ledger-id", 40), behind))


def test_it_reads_on_behind_the_last_record_which_its_epoch_vouches_for() -> None:
    """The epoch says nothing of the markers up to the commit: a leader that changed before them is no truncated log."""
    found = _recovered(_restoration(MINE).finish(_state(_behind(14, 10)), WAIT))
    assert (found.offset, found.epoch, found.committed) == (10, 3, False)


def test_a_log_that_lost_markers_alone_lost_nothing() -> None:
    assert _recovered(_restoration(MINE).finish(_state(_behind(14, 10), end=11), WAIT)).offset == 10


def test_where_the_last_record_is_deleted_by_now_it_reads_on_at_the_commit() -> None:
    found = _recovered(_restoration(MINE).finish(_state(_behind(14, 10), first=12), WAIT))
    assert (found.offset, found.epoch) == (14, -1)


# ---- whose facts


def test_facts_of_this_very_source_resolve_and_their_keys_count_as_seen() -> None:
    found = _recovered(_restoration(MINE).finish(_state(_commit()), WAIT))
    assert [offset for offset in range(20) if found.resolved.covers(offset, 3)] == [12, 13, 14, 15]
    assert not found.resolved.covers(12, 4)
    assert KEY in found.seen


def test_facts_about_another_topic_id_resolve_nothing_but_their_keys_count() -> None:
    found = _recovered(_restoration(replace(MINE, topic_id="recreated")).finish(_state(), WAIT))
    assert not found.resolved.covers(12, 3)
    assert KEY in found.seen


def test_keys_digested_from_other_fields_do_not_count_but_their_facts_resolve() -> None:
    found = _recovered(_restoration(replace(MINE, dedupe_key=b"other fields")).finish(_state(), WAIT))
    assert found.resolved.covers(12, 3)
    assert KEY not in found.seen


def test_facts_of_another_destination_resolve_nothing_and_their_keys_do_not_count() -> None:
    other = replace(MINE, destination=b"another")
    found = _recovered(_restoration(other, replace(MINE), first=50).finish(_state(), WAIT))
    assert found.resolved.covers(50, 3)
    found = _recovered(_restoration(other).finish(_state(), WAIT))
    assert not found.resolved.covers(12, 3)
    assert KEY not in found.seen


@pytest.mark.parametrize("foreign", [replace(MINE, cluster_id="x"), replace(MINE, topic="x"), replace(MINE, group="x")])
def test_a_ledger_of_another_source_is_refused(foreign: Identity) -> None:
    refusal = Restoration(MINE).take(foreign, [], b"", [])
    assert refusal is not None
    assert "LEDGER_TOPIC" in refusal.sentence
    assert refusal.accept is None


# ---- where to start


def test_without_a_committed_offset_it_starts_at_the_beginning_also_on_an_empty_ledger() -> None:
    state = _state(first=7, ledger=LedgerPosition("ledger-id", 0))
    found = _recovered(Restoration(MINE).finish(state, WAIT))
    assert (found.offset, found.epoch, found.position) == (7, UNKNOWN_EPOCH, LedgerPosition("ledger-id", 0))
    assert found.topic_id == "topic-id"
    assert "beginning" in found.note


def test_a_commit_of_ours_is_where_it_starts() -> None:
    found = _recovered(_restoration(MINE).finish(_state(_commit(10)), WAIT))
    assert (found.offset, found.epoch, found.position) == (10, 3, LedgerPosition("ledger-id", 40))
    assert "sent again" not in found.note


@pytest.mark.parametrize(
    "metadata",
    ["", "set by hand", "v1 topic-id ledger-id", "v1 topic-id ledger-id:x", "v1 a b c:1"],
)
def test_a_commit_without_our_metadata_is_an_operators_and_is_used(metadata: str) -> None:
    found = _recovered(_restoration(MINE).finish(_state(CommittedOffset(5, 9, metadata)), WAIT))
    assert (found.offset, found.epoch) == (5, UNKNOWN_EPOCH)
    assert "operator" in found.note
    assert "4 records are resolved" in found.note


def test_a_committed_offset_of_a_log_that_was_cut_is_handled_like_one_out_of_range() -> None:
    committed = CommittedOffset(5, 9, commit_metadata(MINE.topic_id, LedgerPosition("ledger-id", 0)))

    refused = _restoration(MINE).finish(_state(committed), WAIT, truncated=True)
    anew = _restoration(MINE).finish(_state(committed), OutOfRange(to_earliest=True), truncated=True)

    assert isinstance(refused, Refusal)
    assert "truncated" in refused.sentence
    assert _recovered(anew).offset == _state(committed).first_offset


def test_a_commit_of_a_newer_version_is_refused_and_never_guessed() -> None:
    found = _restoration(MINE).finish(_state(CommittedOffset(5, 9, "v2 topic-id ledger-id:4 more")), WAIT)

    assert isinstance(found, Refusal)
    assert "upgrade this member first" in found.sentence


def test_an_operators_offset_beyond_all_facts_needs_no_word_about_them() -> None:
    found = _recovered(_restoration(MINE).finish(_state(CommittedOffset(16, 9, "")), WAIT))
    assert "resolved" not in found.note


def test_a_committed_offset_of_a_recreated_topic_is_not_used() -> None:
    found = _recovered(_restoration().finish(_state(_commit(10, topic_id="gone"), first=2), WAIT))
    assert (found.offset, found.epoch) == (2, UNKNOWN_EPOCH)
    assert "recreated" in found.note


@pytest.mark.parametrize("offset", [10, 100])
def test_both_ends_of_the_log_are_inside_it(offset: int) -> None:
    assert _recovered(_restoration(MINE).finish(_state(_commit(offset), first=10), WAIT)).offset == offset


@pytest.mark.parametrize("offset", [9, 101])
def test_an_offset_outside_the_log_is_refused_or_starts_at_the_beginning_if_told_so(offset: int) -> None:
    state = _state(_commit(offset), first=10)
    refusal = _refused(_restoration(MINE).finish(state, WAIT))
    assert "OFFSET_OUT_OF_RANGE" in refusal.sentence
    assert refusal.accept is None
    found = _recovered(_restoration(MINE).finish(state, EARLIEST))
    assert (found.offset, found.epoch) == (10, UNKNOWN_EPOCH)
    assert "outside the log" in found.note


# ---- when it must not start


@pytest.mark.parametrize(
    ("ledger", "word"),
    [
        (LedgerPosition("ledger-id", 39), "ends at 39"),
        (LedgerPosition("ledger-id", 0), "ends at 0"),
        (LedgerPosition("another-id", 40), "recreated"),
        (LedgerPosition("another-id", 4000), "recreated"),
    ],
)
def test_a_ledger_that_lost_what_the_commit_rests_on_is_refused_unless_accepted(ledger: LedgerPosition, word: str) -> None:
    state = _state(_commit(position=40), ledger=ledger)
    refusal = _refused(Restoration(MINE).finish(state, WAIT))
    assert word in refusal.sentence
    assert refusal.accept is not None
    assert f"ACCEPT={refusal.accept}" in refusal.sentence
    accepted = Restoration(MINE, frozenset({refusal.accept})).finish(state, WAIT)
    assert _recovered(accepted).offset == 10


def test_what_was_accepted_for_one_lost_ledger_is_not_accepted_for_the_next() -> None:
    first = _refused(Restoration(MINE).finish(_state(_commit(ledger_id="one"), ledger=LedgerPosition("two", 0)), WAIT))
    state = _state(_commit(ledger_id="two"), ledger=LedgerPosition("three", 0))
    second = _refused(Restoration(MINE, frozenset({first.accept or ""})).finish(state, WAIT))
    assert second.accept != first.accept


def test_a_commit_that_rests_on_the_beginning_of_a_ledger_starts_on_any() -> None:
    state = _state(_commit(position=0), ledger=LedgerPosition("another-id", 0))
    assert _recovered(Restoration(MINE).finish(state, WAIT)).offset == 10


def test_a_changed_destination_is_refused_unless_accepted_and_without_effect_afterwards() -> None:
    old = replace(MINE, destination=b"old")
    refusal = _refused(_restoration(old).finish(_state(_commit()), WAIT))
    assert "KAFKA_GROUP_ID" in refusal.sentence
    assert refusal.accept is not None
    accept = frozenset({refusal.accept})
    assert _recovered(_restoration(old, accept=accept).finish(_state(_commit()), WAIT)).offset == 10
    other_case = _refused(_restoration(replace(MINE, destination=b"older"), accept=accept).finish(_state(_commit()), WAIT))
    assert other_case.accept != refusal.accept
    assert _recovered(_restoration(old, MINE).finish(_state(_commit()), WAIT)).offset == 10


def test_a_changed_destination_without_a_committed_offset_just_starts() -> None:
    assert _recovered(_restoration(replace(MINE, destination=b"old")).finish(_state(), WAIT)).offset == 0


def test_an_accepted_lost_ledger_does_not_accept_a_changed_destination() -> None:
    state = _state(_commit(), ledger=LedgerPosition("another-id", 40))
    old = replace(MINE, destination=b"old")
    lost = _refused(_restoration(old).finish(state, WAIT))
    changed = _refused(_restoration(old, accept=frozenset({lost.accept or ""})).finish(state, WAIT))
    assert "destination" in changed.sentence
