"""Whose facts count, where an assignment starts, and when it must not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from connector.core.commit_metadata import LedgerPosition, commit_metadata, parse_metadata
from connector.core.landmarks import Landmarks
from connector.core.recovery import CommittedOffset, OutOfRange, PartitionState, Recovery, Refusal, Restoration, Written
from connector.model import UNKNOWN_EPOCH, LedgerIdentity, Outcome
from tests.core.builders import DAY_MS, NOW_MS, key_of

MINE = LedgerIdentity("cluster", "conversions", "topic-id", 0, "group", b"destination", b"dedupe key")
KEY = key_of("a")
WAIT, EARLIEST = OutOfRange(to_earliest=False), OutOfRange(to_earliest=True)


def _restoration(*headers: LedgerIdentity, accept: frozenset[str] = frozenset(), first: int = 12) -> Restoration:
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


def _accept(refusal: Refusal) -> str:
    """The value of ``ACCEPT`` that the refusal prints."""
    found = re.search(r"ACCEPT=(\S+)", refusal.message)
    assert found is not None, refusal.message
    return found[1]


# ---- markers of transactions behind the last record


def _behind(offset: int, behind: int) -> CommittedOffset:
    return CommittedOffset(offset, 3, commit_metadata("topic-id", LedgerPosition("ledger-id", 40), behind))


def test_it_reads_on_behind_the_last_record_which_its_epoch_vouches_for() -> None:
    """The epoch says nothing of the markers up to the commit: a leader that changed before them is no truncated log."""
    found = _recovered(_restoration(MINE).finish(_state(_behind(14, 10)), WAIT))
    assert (found.offset, found.epoch, found.committed) == (10, 3, False)


@pytest.mark.parametrize("offset", [3, 9, 11, 14, 19])
def test_a_tool_that_keeps_the_metadata_of_a_commit_and_changes_its_offset_skips_nothing(offset: int) -> None:
    assert _recovered(_restoration(MINE).finish(_state(_behind(offset, 10)), WAIT)).offset == 10


def test_a_commit_of_an_older_version_whose_offset_a_tool_moved_forward_skips_nothing_unless_accepted() -> None:
    """e0780c9 leaves out the offset that a commit was made for: the ledger has to tell whether it was moved."""
    honest, moved = _state(_commit(16)), _state(_commit(20))
    assert _restoration(MINE).in_doubt(moved) == (15, 20)
    assert _recovered(_restoration(MINE).finish(honest, WAIT)).offset == 16
    refusal = _refused(_restoration(MINE).finish(moved, WAIT, skipped=16))
    assert "the record at offset 16 below it has no fact" in refusal.message
    accepted = _restoration(MINE, accept=frozenset({_accept(refusal)}))
    assert _recovered(accepted.finish(moved, WAIT, skipped=16)).offset == 20


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
    found = _recovered(_restoration(replace(MINE, source_topic_id="recreated")).finish(_state(), WAIT))
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


@pytest.mark.parametrize(
    "foreign", [replace(MINE, cluster_id="x"), replace(MINE, source_topic="x"), replace(MINE, group="x")]
)
def test_a_ledger_of_another_source_is_refused(foreign: LedgerIdentity) -> None:
    refusal = Restoration(MINE).take(foreign, [], b"", [])
    assert refusal is not None
    assert "LEDGER_TOPIC" in refusal.message
    assert "ACCEPT" not in refusal.message


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
    assert (found.offset, found.epoch) == (5, 9)
    assert "operator" in found.note
    assert "4 records are resolved" in found.note


def test_a_committed_offset_of_a_log_that_was_cut_is_handled_like_one_out_of_range() -> None:
    committed = CommittedOffset(5, 9, commit_metadata(MINE.source_topic_id, LedgerPosition("ledger-id", 0)))

    refused = _restoration(MINE).finish(_state(committed), WAIT, truncated=True)
    anew = _restoration(MINE).finish(_state(committed), OutOfRange(to_earliest=True), truncated=True)

    assert isinstance(refused, Refusal)
    assert "offset 5 has leader epoch 9, under which the log does not reach it: the log was truncated" in refused.message
    assert "outside the log" not in refused.message
    assert "has leader epoch 9" in _recovered(anew).note
    assert _recovered(anew).offset == _state(committed).first_offset


_ID = "3Yv0T5kpQ0iqTk0qbZbSGA"


@pytest.mark.parametrize("topic_id", [_ID, "9Pbdkh3rT/CsKHWyvDfW+w", "9Pbdkh3rT_CsKHWyvDfW-w"])
@pytest.mark.parametrize("version", ["v2", "v9", "v10"])
def test_a_commit_of_a_newer_version_is_refused_and_never_guessed(version: str, topic_id: str) -> None:
    found = _restoration(MINE).finish(_state(CommittedOffset(5, 9, f"{version} {topic_id} {_ID}:4 more")), WAIT)

    assert isinstance(found, Refusal)
    assert "upgrade this member first" in found.message


@pytest.mark.parametrize("metadata", ["v2 of the importer", "v2 ", f"v0 {_ID} {_ID}:4", f"v2{_ID}", f"v2 {_ID}{_ID}", "v21"])
def test_what_begins_like_a_newer_version_is_somebody_elses(metadata: str) -> None:
    found = _recovered(_restoration(MINE).finish(_state(CommittedOffset(5, 9, metadata)), WAIT))
    assert "an operator set" in found.note


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
    assert "OFFSET_OUT_OF_RANGE" in refusal.message
    assert "ACCEPT" not in refusal.message
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
    assert word in refusal.message
    accepted = Restoration(MINE, frozenset({_accept(refusal)})).finish(state, WAIT)
    assert _recovered(accepted).offset == 10


def test_what_was_accepted_for_one_lost_ledger_is_not_accepted_for_the_next() -> None:
    first = _refused(Restoration(MINE).finish(_state(_commit(ledger_id="one"), ledger=LedgerPosition("two", 0)), WAIT))
    state = _state(_commit(ledger_id="two"), ledger=LedgerPosition("three", 0))
    second = _refused(Restoration(MINE, frozenset({_accept(first)})).finish(state, WAIT))
    assert _accept(second) != _accept(first)


def test_a_commit_that_rests_on_the_beginning_of_a_ledger_starts_on_any() -> None:
    state = _state(_commit(position=0), ledger=LedgerPosition("another-id", 0))
    assert _recovered(Restoration(MINE).finish(state, WAIT)).offset == 10


def test_a_changed_destination_is_refused_unless_accepted_and_without_effect_afterwards() -> None:
    old = replace(MINE, destination=b"old")
    refusal = _refused(_restoration(old).finish(_state(_commit()), WAIT))
    assert "KAFKA_GROUP_ID" in refusal.message
    accept = frozenset({_accept(refusal)})
    assert _recovered(_restoration(old, accept=accept).finish(_state(_commit()), WAIT)).offset == 10
    other_case = _refused(_restoration(replace(MINE, destination=b"older"), accept=accept).finish(_state(_commit()), WAIT))
    assert _accept(other_case) != _accept(refusal)
    assert _recovered(_restoration(old, MINE).finish(_state(_commit()), WAIT)).offset == 10


def test_a_changed_destination_without_a_committed_offset_just_starts() -> None:
    assert _recovered(_restoration(replace(MINE, destination=b"old")).finish(_state(), WAIT)).offset == 0


def test_an_accepted_lost_ledger_does_not_accept_a_changed_destination() -> None:
    state = _state(_commit(), ledger=LedgerPosition("another-id", 40))
    old = replace(MINE, destination=b"old")
    lost = _refused(_restoration(old).finish(state, WAIT))
    changed = _refused(_restoration(old, accept=frozenset({_accept(lost)})).finish(state, WAIT))
    assert "destination" in changed.message


# ---- a commit that is not ours

OTHERS = "", "set by hand", "v1 topic-id ledger-id", "v1 topic-id ledger-id:40 x", "v0 topic-id ledger-id:40"


def _opened(start: int, *, header: LedgerIdentity = MINE) -> Restoration:
    """A ledger whose only entry opened an assignment."""
    restoration = Restoration(MINE)
    assert restoration.take(header, [], b"", [], Written(0, NOW_MS, start)) is None
    return restoration


@pytest.mark.parametrize("metadata", OTHERS)
def test_a_commit_that_skips_what_was_never_judged_is_refused_unless_accepted(metadata: str) -> None:
    state = _state(CommittedOffset(23, 9, metadata))
    assert _restoration(MINE).in_doubt(state) == (15, 23)

    refusal = _refused(_restoration(MINE).finish(state, WAIT, skipped=16))

    assert "the committed offset 23 is not this connector's, and the record at offset 16" in refusal.message
    found = _recovered(_restoration(MINE, accept=frozenset({_accept(refusal)})).finish(state, WAIT, skipped=16))
    assert (found.offset, found.epoch, found.committed) == (23, 9, True)
    assert f"ACCEPT={_accept(refusal)}" in found.note


@pytest.mark.parametrize(
    "other",
    [{"committed": CommittedOffset(24, 9, "")}, {"partition": 1}, {"skipped": 17}],
    ids=["commit", "partition", "record"],
)
def test_what_was_accepted_of_one_commit_is_not_accepted_of_another(other: dict[str, Any]) -> None:
    state = _state(CommittedOffset(23, 9, ""))
    accept = _accept(_refused(_restoration(MINE).finish(state, WAIT, skipped=16)))
    skipped = other.pop("skipped", 16)
    restoration = _restoration(MINE, accept=frozenset({accept}))
    restoration.identity = replace(MINE, partition=other.pop("partition", 0))

    _refused(restoration.finish(replace(state, **other), WAIT, skipped=skipped))


def test_a_commit_of_somebody_else_that_skips_nothing_is_used() -> None:
    state = _state(CommittedOffset(16, 9, ""))
    assert _restoration(MINE).in_doubt(state) == (15, 16)  # the last record that was judged: is it still there?
    found = _recovered(_restoration(MINE).finish(state, WAIT))
    assert (found.offset, found.epoch, found.committed) == (16, 3, True)


def test_it_reads_on_behind_the_last_judged_record_where_only_markers_follow_up_to_somebody_elses_commit() -> None:
    """Its epoch notices a log that is cut below the commit before the first record is read."""
    found = _recovered(_restoration(MINE).finish(_state(CommittedOffset(19, 9, "")), WAIT))
    assert (found.offset, found.epoch, found.committed) == (16, 3, False)


def test_a_log_that_was_cut_below_somebody_elses_commit_is_handled_like_an_offset_out_of_range() -> None:
    state = _state(CommittedOffset(16, 9, ""), first=2)
    assert "truncated" in _refused(_restoration(MINE).finish(state, WAIT, truncated=True)).message
    assert _recovered(_restoration(MINE).finish(state, EARLIEST, truncated=True)).offset == 2


def test_of_records_that_stood_at_an_offset_the_one_that_stayed_is_of_the_highest_epoch() -> None:
    """The log was cut below 14 and grew less far than before: 14 alone is of this log, 15 was lost."""
    restoration = _restoration(MINE)
    assert restoration.take(MINE, [(14, 1, Outcome.STALE, 7)], b"", []) is None
    state = _state(CommittedOffset(18, 9, ""))
    assert restoration.in_doubt(state) == (14, 18)
    found = _recovered(restoration.finish(state, WAIT))
    assert (found.offset, found.epoch) == (15, 7)


def test_below_the_beginning_only_the_record_right_before_the_commit_is_looked_at() -> None:
    """An operator had the first start skip what stands below; its first record was not read yet."""
    restoration = _opened(16)
    assert restoration.take(MINE, [(12, 4, Outcome.STALE, 3)], b"", []) is None
    state = _state(CommittedOffset(16, 9, ""))
    assert restoration.in_doubt(state) == (15, 16)
    found = _recovered(restoration.finish(state, WAIT))
    assert (found.offset, found.epoch) == (16, 3)

    restoration = _opened(20)
    assert restoration.take(MINE, [(12, 4, Outcome.STALE, 3)], b"", []) is None
    state = _state(CommittedOffset(20, 9, ""))
    assert restoration.in_doubt(state) is None
    found = _recovered(restoration.finish(state, WAIT))
    assert (found.offset, found.epoch) == (20, 9)


def test_a_record_that_retention_deleted_vouches_for_nothing() -> None:
    found = _recovered(_restoration(MINE).finish(_state(CommittedOffset(18, UNKNOWN_EPOCH, ""), first=17), WAIT))
    assert (found.offset, found.epoch) == (18, UNKNOWN_EPOCH)


def test_where_no_judged_record_vouches_for_somebody_elses_commit_its_own_epoch_does() -> None:
    """A start from now: the log is cut below the commit, and grows past it, before the first record is read."""
    state = _state(CommittedOffset(18, 9, ""), first=2)
    found = _recovered(Restoration(MINE).finish(state, WAIT))
    assert (found.offset, found.epoch) == (18, 9)
    assert "truncated" in _refused(Restoration(MINE).finish(state, WAIT, truncated=True)).message
    assert _recovered(Restoration(MINE).finish(state, EARLIEST, truncated=True)).offset == 2

    unknown = _state(CommittedOffset(18, UNKNOWN_EPOCH, ""), first=2)
    assert _recovered(Restoration(MINE).finish(unknown, WAIT)).epoch == UNKNOWN_EPOCH


@pytest.mark.parametrize("offset", [0, 5, 12])
@pytest.mark.parametrize("epoch", [UNKNOWN_EPOCH, 3])
def test_going_back_is_an_operators_right(offset: int, epoch: int) -> None:
    assert _restoration(MINE).in_doubt(_state(CommittedOffset(offset, epoch, ""))) is None


@pytest.mark.parametrize(
    ("committed", "begun", "end"),
    [
        ((12, UNKNOWN_EPOCH), 12, 15),  # 15 was judged, and is gone
        ((12, UNKNOWN_EPOCH), 17, 16),  # all to 16 was judged, and 16 is gone
        ((12, 4), 12, 90),  # what is before the commit came after what was judged behind it
    ],
)
def test_a_log_that_lost_judged_records_may_have_new_ones_anywhere_below_somebody_elses_commit(
    committed: tuple[int, int], begun: int, end: int
) -> None:
    restoration = _opened(begun)
    assert restoration.take(MINE, [(12, 4, Outcome.STALE, 3)], b"", []) is None
    state = _state(CommittedOffset(*committed, ""), first=2, end=end)
    assert restoration.in_doubt(state) == (2, committed[0])
    assert "the record at offset 7 below it has no fact" in _refused(restoration.finish(state, WAIT, skipped=7)).message


def test_starting_from_now_before_the_first_start_is_an_operators_right() -> None:
    """A ledger without facts of this topic and destination is as good as empty, as is an old version's opening entry."""
    others = [replace(MINE, source_topic_id="gone"), replace(MINE, destination=b"old")]
    for restoration in (
        Restoration(MINE),
        _restoration(*others),
        _opened(0, header=others[0]),
        _opened(0, header=others[1]),
    ):
        assert restoration.in_doubt(_state(CommittedOffset(90, 9, ""))) is None
    old = Restoration(MINE)
    assert old.take(MINE, [], b"", [], Written(0, NOW_MS, None)) is None
    assert old.in_doubt(_state(CommittedOffset(90, 9, ""))) is None


def test_where_the_ledger_knows_nothing_of_a_partition_a_commit_of_somebody_else_that_skips_is_doubtful() -> None:
    """It is a start from now, or the partition is new to us: the ledger's other partitions tell."""
    others = _state(CommittedOffset(90, 9, ""))
    assert Restoration(MINE).never_began(others)
    assert not Restoration(MINE).never_began(replace(others, first_offset=90))
    assert not Restoration(MINE).never_began(_state(None))
    assert not Restoration(MINE).never_began(_state(CommittedOffset(90, 9, "v1 topic-id ledger-id:40")))
    assert not _opened(0).never_began(others)
    assert not _restoration(MINE).never_began(others)


def test_an_assignment_that_began_and_judged_nothing_yet_had_the_partition_all_the_same() -> None:
    """Amazon was down from the first start on: nothing is in the ledger but that we began."""
    assert _opened(0).in_doubt(_state(CommittedOffset(5, 9, ""))) == (0, 5)
    assert _opened(5).in_doubt(_state(CommittedOffset(5, 9, ""))) is None  # begun from now: nothing came since
    assert _opened(3).in_doubt(_state(CommittedOffset(50, 9, ""), first=20)) == (20, 50)  # what retention deleted is gone


def test_records_below_the_first_fact_are_looked_at_where_the_ledger_says_that_we_began_there() -> None:
    """The first ten are in flight when the eleventh becomes a dead letter, and its fact is all that is written down."""
    restoration = _opened(0)
    assert restoration.take(MINE, [(10, 1, Outcome.DEAD_LETTERED, 3)], b"", [], Written(1, NOW_MS)) is None
    assert restoration.in_doubt(_state(CommittedOffset(11, 9, ""))) == (0, 11)
    # Without that word, as an older version left it, the lowest fact must do: facts before it may have left the ledger.
    assert _restoration(MINE, first=10).in_doubt(_state(CommittedOffset(11, 3, ""))) == (10, 11)


def test_the_latest_beginning_counts_also_where_it_went_back() -> None:
    restoration = _opened(50)
    assert restoration.take(MINE, [], b"", [], Written(1, NOW_MS, 20)) is None
    assert restoration.in_doubt(_state(CommittedOffset(40, 9, ""))) == (20, 40)


def test_a_gap_between_facts_is_looked_at_for_it_may_be_a_record_or_none() -> None:
    restoration = _restoration(MINE)  # 12 to 15
    assert restoration.take(MINE, [(17, 3, Outcome.STALE, 4)], b"", []) is None
    assert restoration.in_doubt(_state(CommittedOffset(20, 9, ""))) == (15, 20)


def test_facts_of_two_epochs_are_one_stretch() -> None:
    restoration = _restoration(MINE)
    for first, epoch in ((16, 4), (20, 3), (23, 5), (14, 5)):
        assert restoration.take(MINE, [(first, 4, Outcome.STALE, epoch)], b"", []) is None
    assert restoration.in_doubt(_state(CommittedOffset(30, 9, ""))) == (26, 30)


@pytest.mark.parametrize("committed", [None, _behind(50, 50), CommittedOffset(101, 9, "")], ids=["none", "ours", "outside"])
def test_no_record_has_to_be_looked_at_where_there_is_no_such_commit(committed: CommittedOffset | None) -> None:
    assert _restoration(MINE).in_doubt(_state(committed)) is None


# ---- a ledger emptied from the front

RETENTION_MS = 8 * DAY_MS


def _commit_with(*entries: tuple[int, int], retention_ms: int = RETENTION_MS, position: int = 40) -> CommittedOffset:
    """A commit made when the ledger had entries at these offsets, so many milliseconds old."""
    landmarks = Landmarks(retention_ms)
    for offset, age_ms in entries:
        landmarks.passed(offset, NOW_MS - age_ms)
    return CommittedOffset(10, 3, commit_metadata("topic-id", LedgerPosition("ledger-id", position), None, str(landmarks)))


def _emptied(commit: CommittedOffset, first: int, *, now_ms: int = NOW_MS, **changes: Any) -> Recovery | Refusal:
    """Start on a ledger that begins at this entry by now."""
    state = replace(_state(commit), ledger_first=first, now_ms=now_ms)
    return Restoration(MINE, **{"retention_ms": RETENTION_MS} | changes).finish(state, WAIT)


def test_a_ledger_emptied_before_its_time_is_refused_unless_accepted() -> None:
    commit = _commit_with((0, DAY_MS), (30, 3_600_000))
    refusal = _refused(_emptied(commit, 40))
    assert "begins at 40, but its entry 0 is younger than its retention" in refusal.message
    accept = frozenset({_accept(refusal)})
    assert f"ACCEPT={_accept(refusal)}" in _recovered(_emptied(commit, 40, accept=accept)).note
    assert _accept(_refused(_emptied(commit, 41, accept=accept))) != _accept(refusal)


def test_whether_a_ledger_was_emptied_is_judged_only_once_its_entries_tell_the_brokers_time() -> None:
    commit = _commit_with((0, DAY_MS), (30, 3_600_000))
    state = replace(_state(commit), ledger_first=40, now_ms=NOW_MS)
    assert isinstance(Restoration(MINE, retention_ms=RETENTION_MS).finish(state, WAIT, unread=True), Recovery)
    assert isinstance(Restoration(MINE, retention_ms=RETENTION_MS).finish(state, WAIT), Refusal)


def test_a_ledger_that_begins_where_it_did_is_whole() -> None:
    assert _recovered(_emptied(_commit_with((7, DAY_MS)), 7)).offset == 10


def test_entries_that_retention_deleted_are_not_missed_however_long_it_was_stopped() -> None:
    commit = _commit_with((0, 7 * DAY_MS), (20, 4 * DAY_MS), (39, 0))
    for days, first in ((0, 0), (2, 20), (5, 39), (9, 40)):
        assert isinstance(_emptied(commit, first, now_ms=NOW_MS + days * DAY_MS), Recovery), days
    # And those that it cannot have deleted by then are.
    for days, first in ((0, 1), (2, 21), (5, 40)):
        assert isinstance(_emptied(commit, first, now_ms=NOW_MS + days * DAY_MS), Refusal), days


@pytest.mark.parametrize("named", [3, 39], ids=["landmark", "last"])
def test_a_ledger_that_was_cut_short_and_grew_again_is_refused_unless_accepted(named: int) -> None:
    """It reaches to where the commit rests, but another entry stands there."""
    commit = _commit_with((3, 2 * DAY_MS), (38, 2_000), (39, 1_000))

    def found(moved_ms: int, accept: frozenset[str] = frozenset()) -> Recovery | Refusal:
        restoration = Restoration(MINE, accept, RETENTION_MS, commit)
        for offset, age_ms in ((3, 2 * DAY_MS), (38, 2_000), (39, 1_000), (40, 0)):
            at = NOW_MS - age_ms + moved_ms * (offset == named)
            assert restoration.take(MINE, [], b"", [], Written(offset, at)) is None
        return restoration.finish(_state(commit), WAIT)

    assert _recovered(found(0)).offset == 10
    refusal = _refused(found(1))
    assert f"the entry at its offset {named} is not the one" in refusal.message
    assert _recovered(found(1, frozenset({_accept(refusal)}))).offset == 10


def test_a_commit_of_an_older_version_says_nothing_of_the_beginning() -> None:
    assert _recovered(_emptied(_commit(), 40)).offset == 10


def test_a_retention_that_was_raised_had_deleted_more_by_then() -> None:
    commit = _commit_with((0, 5 * DAY_MS), retention_ms=6 * DAY_MS)
    assert isinstance(_emptied(commit, 40), Refusal)
    assert isinstance(_emptied(commit, 40, now_ms=NOW_MS + DAY_MS, retention_ms=30 * DAY_MS), Recovery)


def test_a_retention_that_was_lowered_deletes_more_from_then_on() -> None:
    commit = _commit_with((0, 7 * DAY_MS))
    assert isinstance(_emptied(commit, 40), Refusal)
    assert isinstance(_emptied(commit, 40, retention_ms=5 * DAY_MS), Recovery)


def test_the_brokers_clock_counts_where_ours_is_behind() -> None:
    """What lies in the ledger was appended by now."""
    state = replace(_state(_commit_with((0, 7 * DAY_MS))), ledger_first=1, now_ms=NOW_MS)
    restoration = Restoration(MINE, retention_ms=RETENTION_MS)
    assert restoration.take(MINE, [], b"", [], Written(39, NOW_MS + 2 * DAY_MS)) is None
    assert isinstance(restoration.finish(state, WAIT), Recovery)


def test_a_recovery_names_the_landmarks_of_what_was_read() -> None:
    restoration = Restoration(MINE, retention_ms=RETENTION_MS)
    for offset, age_ms in ((5, 2 * DAY_MS), (6, 2 * DAY_MS - 1000), (9, 0)):
        assert restoration.take(MINE, [], b"", [], Written(offset, NOW_MS - age_ms)) is None
    found = _recovered(restoration.finish(_state(), WAIT))
    assert [place.offset for place in found.landmarks.places] == [5, 9]


def _parsed_by_the_version_before(metadata: str) -> bool:
    """Tell whether e0780c9 takes a commit for its own; otherwise it takes an operator's, and starts at its offset."""
    match metadata.split(" "):
        case ["v1", _, position, *behind] if len(behind) <= 1:
            _, colon, next_offset = position.rpartition(":")
            return bool(colon) and all(map(str.isdecimal, [next_offset, *behind]))
    return False


def test_what_a_commit_rests_on_is_read_back_also_from_versions_before_and_to_come() -> None:
    landmarks = Landmarks(RETENTION_MS)
    landmarks.passed(3, NOW_MS)
    position = LedgerPosition("ledger-id", 40)
    for behind in (None, 8):
        bare = commit_metadata("topic-id", position, behind)
        assert _parsed_by_the_version_before(bare)
        metadata = commit_metadata("topic-id", position, behind, str(landmarks))
        assert not _parsed_by_the_version_before(metadata)
        assert not metadata.startswith("v2")  # which it would refuse
        for text, places in ((bare, []), (metadata, [(3, NOW_MS)]), (f"{metadata} and more", [])):
            found = parse_metadata(text)
            assert found is not None
            assert (found.topic_id, found.ledger, found.after_last_record) == ("topic-id", position, behind)
            assert found.landmarks.places == places


# ---- the window


def test_a_key_counts_from_its_acknowledgement_or_its_event_whichever_is_later() -> None:
    """An event of 6.9 days that Amazon took just now is not forgotten tomorrow."""
    restoration, old, ahead = Restoration(MINE), key_of("old"), key_of("ahead")
    times = [NOW_MS - 6 * DAY_MS, NOW_MS + 2 * DAY_MS]
    runs = [(1, 2, Outcome.DELIVERED, 3)]
    assert restoration.take(MINE, runs, old + ahead, times, Written(0, NOW_MS)) is None
    seen = restoration.seen
    seen.expire(NOW_MS)
    assert old in seen
    seen.expire(NOW_MS + DAY_MS)
    assert old not in seen
    assert ahead in seen
