"""Which letters are replayed, and why the others are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.cli.replay_plan import Planner, ReplayPlan, Selection, Skipped
from connector.core.dedupe import derived_id
from connector.core.letters import Letter
from connector.model import Outcome, TopicPartition
from tests.core.builders import NOW_MS

DELIVERED, DUPLICATE, STALE, IGNORED, DEAD_LETTERED = Outcome
_LETTERS = TopicPartition("conversions.dead-letter", 5)
_EVERYTHING_COMMITTED = {0: 1_000_000, 1: 1_000_000}


def _letter(offset: int, *, topic_id: str = "topic-id", at: int = NOW_MS, replays: int = 0, **changes: Any) -> Letter:
    partition = changes.get("partition", 0)
    return Letter(
        changes.get("reason", "rejected"),
        TopicPartition(changes.get("topic", "conversions"), partition),
        offset,
        at,
        changes.get("group", "group"),
        changes.get("dedupe_id", derived_id("cluster", topic_id, partition, offset, at)),
        replays,
        id_derived=not replays and "dedupe_id" not in changes,
    )


def _planner(*letters: Letter | None, **asked: Any) -> Planner:
    planner = Planner(Selection("group", "conversions", **asked), "cluster")
    for offset, letter in enumerate(letters):
        planner.take_letter(_LETTERS, offset, letter)
    return planner


def _fact(planner: Planner, offset: int, outcome: Outcome, epoch: int = 0, length: int = 1, **more: Any) -> None:
    ours, topic_id, at = more.get("ours", True), more.get("topic_id", "topic-id"), more.get("at", NOW_MS)
    planner.take_facts(more.get("partition", 0), topic_id, (offset, length, outcome, epoch), at, ours=ours)


def _planned(planner: Planner, open_from: dict[int, int] | None = None, oldest_ms: int | None = None) -> ReplayPlan:
    return planner.plan("topic-id", _EVERYTHING_COMMITTED if open_from is None else open_from, oldest_ms)


def _offsets(plan: ReplayPlan) -> list[int]:
    return [candidate.letter.offset for candidate in plan.chosen]


def _why(plan: ReplayPlan) -> dict[Skipped, int]:
    return dict(+plan.skipped)


def test_letters_of_this_group_and_topic_are_replayed_in_order_of_their_records() -> None:
    plan = _planned(_planner(_letter(7), _letter(3), _letter(5, partition=1)))

    assert _offsets(plan) == [3, 7, 5]
    assert [(candidate.place, candidate.offset) for candidate in plan.chosen] == [
        (_LETTERS, 1),
        (_LETTERS, 0),
        (_LETTERS, 2),
    ]
    assert _why(plan) == {}


def test_what_is_not_of_this_group_or_no_letter_is_left_out() -> None:
    plan = _planned(_planner(None, _letter(1, group="another"), _letter(2, topic="another"), _letter(3)))
    assert _offsets(plan) == [3]
    assert _why(plan) == {Skipped.NO_LETTER: 1, Skipped.OTHER_GROUP: 2}


def test_reasons_asked_for_are_the_only_ones() -> None:
    letters = [_letter(1), _letter(2, reason="undecodable"), _letter(3, reason="no-verdict")]
    plan = _planned(_planner(*letters, reasons=frozenset({"rejected", "no-verdict"})))
    assert (_offsets(plan), _why(plan)) == ([1, 3], {Skipped.OTHER_REASON: 1})


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [1, 2, 3, 4]),
        (200, None, [2, 3]),
        (None, 300, [1, 2, 4]),
        (200, 300, [2]),
        (301, None, []),
    ],
)
def test_time_is_when_it_was_dead_lettered_and_one_unknown_to_the_ledger_is_older_than_it(
    since: int | None, until: int | None, expected: list[int]
) -> None:
    planner = _planner(*(_letter(offset) for offset in (1, 2, 3, 4)), since_ms=since, until_ms=until)
    for offset in (1, 2, 3):
        _fact(planner, offset, DEAD_LETTERED, at=100 * offset)
    plan = _planned(planner)
    assert _offsets(plan) == expected
    assert plan.skipped[Skipped.OTHER_TIME] == 4 - len(expected)


def test_of_two_letters_of_one_record_only_the_first_is_replayed() -> None:
    plan = _planned(_planner(_letter(1), _letter(1, reason="no-verdict"), _letter(1, topic_id="deleted")))
    assert ([candidate.offset for candidate in plan.chosen], _why(plan)) == ([0, 2], {Skipped.SAME_RECORD: 1})


# ---- delivered after all


def test_record_with_a_delivered_fact_is_not_replayed() -> None:
    planner = _planner(_letter(1), _letter(2), _letter(3), _letter(9))
    _fact(planner, 1, DEAD_LETTERED, length=2)
    _fact(planner, 0, DELIVERED, length=3)
    _fact(planner, 9, DELIVERED, partition=1)
    plan = _planned(planner)
    assert (_offsets(plan), _why(plan)) == ([3, 9], {Skipped.DELIVERED: 2})


@pytest.mark.parametrize(
    "fact", [{"ours": False}, {"topic_id": "deleted"}, {"epoch": 4}], ids=["another destination", "another topic", "epoch"]
)
def test_delivered_fact_about_something_else_does_not_count(fact: dict[str, Any]) -> None:
    planner = _planner(_letter(1))
    _fact(planner, 1, DEAD_LETTERED, epoch=3)
    _fact(planner, 1, DELIVERED, **{"epoch": 3} | fact)
    assert _offsets(_planned(planner)) == [1]


def test_delivered_fact_of_an_unknown_epoch_counts_where_the_letter_has_no_fact() -> None:
    planner = _planner(_letter(1))
    _fact(planner, 1, DELIVERED, epoch=7)
    assert _why(_planned(planner)) == {Skipped.DELIVERED: 1}


def test_letter_of_a_deleted_topic_is_judged_by_that_topics_facts() -> None:
    planner = _planner(_letter(1, topic_id="deleted"), _letter(2, topic_id="deleted"))
    _fact(planner, 1, DELIVERED, topic_id="deleted")
    _fact(planner, 2, DELIVERED)
    assert _offsets(_planned(planner)) == [2]


# ---- replayed before


def test_replayed_record_is_known_by_its_id_and_the_record_it_copies() -> None:
    one, two, three = _letter(1), _letter(2), _letter(3)
    planner = _planner(one, two, three)
    planner.take_replay(one.dedupe_id, "conversions-0@1")
    planner.take_replay(two.dedupe_id, "conversions-0@77")
    planner.take_replay("another", "conversions-0@3")
    plan = _planned(planner)
    assert (_offsets(plan), _why(plan)) == ([2, 3], {Skipped.REPLAYED: 1})


def test_copy_that_became_a_letter_again_waits_for_max_replays() -> None:
    original, copy = _letter(1), _letter(9, replays=1, dedupe_id=_letter(1).dedupe_id)
    for most, expected, why in ((1, [], {Skipped.REPLAYED: 1, Skipped.LOOP: 1}), (2, [9], {Skipped.REPLAYED: 1})):
        planner = _planner(original, copy, max_replays=most)
        planner.take_replay(original.dedupe_id, original.record)
        plan = _planned(planner)
        assert (_offsets(plan), _why(plan)) == (expected, why)


# ---- pending, too old, too many


def test_record_that_is_not_committed_and_has_no_fact_is_judged_again_by_the_connector() -> None:
    planner = _planner(*(_letter(offset) for offset in (4, 5, 6)), _letter(6, topic_id="deleted"), _letter(9, partition=1))
    _fact(planner, 6, DEAD_LETTERED)
    plan = _planned(planner, open_from={0: 5})
    assert _why(plan) == {Skipped.PENDING: 1}
    assert [candidate.offset for candidate in plan.chosen] == [0, 2, 3, 4]  # partition 1 is none of the topic's any more


def test_what_the_brokers_would_delete_is_not_replayed() -> None:
    letters = [_letter(1, at=999), _letter(2, at=1000), _letter(3, at=-1)]
    plan = _planned(_planner(*letters), oldest_ms=1000)
    assert (_offsets(plan), _why(plan)) == ([2, 3], {Skipped.TOO_OLD: 1})


def test_limit_counts_what_is_replayed() -> None:
    planner = _planner(*(_letter(offset) for offset in range(5)), limit=2)
    _fact(planner, 0, DELIVERED)
    plan = _planned(planner)
    assert (_offsets(plan), _why(plan)) == ([1, 2], {Skipped.DELIVERED: 1, Skipped.LIMIT: 2})


def test_every_reason_is_a_phrase_of_its_own() -> None:
    assert len({why.value for why in Skipped}) == len(Skipped)


_FACTS = st.tuples(st.integers(0, 9), st.integers(1, 4), st.sampled_from(list(Outcome)), st.integers(0, 1))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["group", "another"])), max_size=15),
    st.lists(_FACTS, max_size=6),
    st.sets(st.integers(0, 9)),
    st.integers(0, 12),
)
def test_every_record_is_replayed_at_most_once_and_every_letter_is_chosen_or_skipped(
    letters: list[tuple[int, str]], facts: list[tuple[int, int, Outcome, int]], replays: set[int], open_from: int
) -> None:
    planner = _planner(*(_letter(offset, group=group) for offset, group in letters))
    for run in facts:
        planner.take_facts(0, "topic-id", run, NOW_MS, ours=True)
    for offset in replays:
        planner.take_replay(_letter(offset).dedupe_id, f"conversions-0@{offset}")

    plan = _planned(planner, open_from={0: open_from})

    assert len(plan.chosen) + plan.skipped.total() == len(letters)
    assert max(Counter(_offsets(plan)).values(), default=1) == 1
    assert replays.isdisjoint(_offsets(plan))
    told: dict[int, set[tuple[Outcome, int]]] = {}
    for first, length, outcome, epoch in facts:
        for offset in range(first, first + length):
            told.setdefault(offset, set()).add((outcome, epoch))
    for offset in {offset for offset, group in letters if group == "group"} - replays:
        known = told.get(offset, set())
        dead = {epoch for outcome, epoch in known if outcome is DEAD_LETTERED}
        delivered = {epoch for outcome, epoch in known if outcome is DELIVERED}
        fit = not (delivered & dead if dead else delivered) and (bool(known) or offset < open_from)
        assert (offset in _offsets(plan)) == fit


def test_letter_that_lacks_a_part_is_replayed_only_while_the_source_has_its_record() -> None:
    cut = [replace(_letter(offset, partition=partition), left_out=frozenset({"value"})) for offset, partition in _PLACES]
    unreadable = replace(_letter(1), left_out=frozenset({"unreadable headers"}))
    of_another_topic = replace(_letter(9, topic_id="deleted"), left_out=frozenset({"value"}))
    planner = _planner(*cut, unreadable, of_another_topic)

    plan = planner.plan("topic-id", _EVERYTHING_COMMITTED, None, {0: 5})

    assert _offsets(plan) == [1, 5, 7]
    assert _why(plan) == {Skipped.GONE: 3}


_PLACES = [(4, 0), (5, 0), (7, 0), (7, 1)]
