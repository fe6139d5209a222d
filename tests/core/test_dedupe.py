"""Digests, derived ids, the window and the copies that wait."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.dedupe import DedupePolicy, DedupeWindow, SeenKeys, Sighting, derived_id, digest, key_id
from connector.core.runs import Run
from tests.core.builders import DAY_MS, NOW_MS, a_run, an_event, key_of

A, B = key_of("a"), key_of("b")

_VALUES = st.lists(
    st.one_of(st.text(min_size=1, max_size=4).filter(str.strip), st.integers(-9, 99), st.booleans()), min_size=1, max_size=3
)


@given(one=_VALUES, other=_VALUES)
def test_two_keys_have_the_same_digest_only_if_they_are_the_same_values_of_the_same_types(
    one: list[object], other: list[object]
) -> None:
    same = [(type(value), value) for value in one] == [(type(value), value) for value in other]
    assert (digest(one) == digest(other)) == same


def test_a_digest_has_sixteen_bytes() -> None:
    assert len(digest(["x"]) or b"") == 16


def test_where_one_field_ends_and_the_next_begins_makes_a_difference() -> None:
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest(["a", "s1:b"]) != digest(["as1:b"])


def test_a_number_is_not_its_text() -> None:
    assert digest([1]) != digest(["1"])


def test_a_lone_surrogate_can_be_digested() -> None:
    assert digest(["\ud800"]) != digest(["\ud801"])


def test_without_all_its_fields_there_is_no_key() -> None:
    assert digest(["a", None]) is None
    assert digest(["", "a"]) is None
    assert digest(["a", " \t\u3000"]) is None
    assert digest([]) is None


def test_a_falsy_value_is_not_a_missing_one() -> None:
    assert digest([0]) is not None
    assert digest([False]) is not None


def test_the_digest_never_changes_for_it_stands_in_ledgers() -> None:
    assert (digest(["order-1"]) or b"").hex() == "36e8dfbe1dd616a436aa4a154e65d55d"
    assert derived_id("cluster", "topic", 3, 14, 1_800_000_000_000) == "d27e0ac20d5387e47b672d3a3df30d1c"


def test_an_id_made_of_a_key_is_the_same_for_ever_and_differs_with_every_value_and_its_type() -> None:
    assert key_id(["order-1", "CHECKOUT"]) == "b5eaafef2e9f66bea6052a804f3e0a25"
    keys: list[list[object]] = [["a", "b"], ["ab"], ["b", "a"], ["a", "b", "c"], ["a", 1], ["a", "1"], ["a", 1.0]]
    assert len({key_id(key) for key in keys}) == len(keys)


def test_a_derived_id_differs_with_every_part_of_the_place() -> None:
    places = [
        ("c", "t", 0, 1, 2),
        ("d", "t", 0, 1, 2),
        ("c", "u", 0, 1, 2),
        ("c", "t", 1, 1, 2),
        ("c", "t", 0, 2, 2),
        ("c", "t", 0, 1, 3),
        ("c", "t", 0, 11, 2),
    ]
    assert len({derived_id(*place) for place in places}) == len(places)


def test_the_ledger_keeps_an_entry_a_day_longer_than_its_keys_count() -> None:
    assert DedupePolicy(7 * DAY_MS).ledger_ms == 8 * DAY_MS


# ---- keys seen


def test_a_key_is_forgotten_when_the_youngest_of_its_day_is_older_than_asked_and_not_before() -> None:
    seen = SeenKeys()
    day = NOW_MS // DAY_MS
    seen.add([A], [day * DAY_MS])
    seen.expire((day + 1) * DAY_MS - 1)
    assert A in seen
    seen.expire((day + 1) * DAY_MS)
    assert A not in seen
    assert len(seen) == 0


def test_the_youngest_time_of_a_key_counts_whatever_the_order() -> None:
    for times in ((0, DAY_MS), (DAY_MS, 0)):
        seen = SeenKeys()
        for time_ms in times:
            seen.add([A], [time_ms])
        seen.expire(DAY_MS)
        assert A in seen
        seen.expire(2 * DAY_MS)
        assert A not in seen


def test_packed_keys_are_taken_in_and_an_all_zero_digest_is_no_key() -> None:
    seen = SeenKeys()
    seen.add_packed(A + bytes(16) + B, [0, 0, DAY_MS])
    assert seen.find([B, None, key_of("c"), A, bytes(16), B]) == [0, 3, 5]
    assert A in seen
    assert B in seen
    assert bytes(16) not in seen
    assert len(seen) == 2
    assert seen.size_bytes == 220
    seen.expire(DAY_MS)
    assert A not in seen
    assert B in seen


@given(
    rows=st.lists(st.tuples(st.sampled_from([A, B, bytes(16)]), st.integers(0, 5 * DAY_MS)), max_size=10),
    written_ms=st.integers(0, 5 * DAY_MS),
    oldest=st.integers(0, 6 * DAY_MS),
)
def test_many_keys_at_once_are_those_added_one_by_one(rows: list[tuple[bytes, int]], written_ms: int, oldest: int) -> None:
    at_once, one_by_one = SeenKeys(), SeenKeys()
    at_once.add_packed(b"".join(key for key, _ in rows), [time_ms for _, time_ms in rows], written_ms)
    for key, time_ms in rows:
        if any(key):
            one_by_one.add([key], [max(time_ms, written_ms)])
    for seen in (at_once, one_by_one):
        seen.expire(oldest)
    assert [(A in seen, B in seen, len(seen)) for seen in (at_once, one_by_one)] == [
        (A in at_once, B in at_once, len(at_once))
    ] * 2


@given(
    adds=st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 5 * DAY_MS)), max_size=10),
    oldest=st.integers(0, 6 * DAY_MS),
)
def test_no_key_leaves_before_its_window_is_over_and_none_stays_a_day_longer(
    adds: list[tuple[bytes, int]], oldest: int
) -> None:
    seen = SeenKeys()
    for key, time_ms in adds:
        seen.add([key], [time_ms])
    seen.expire(oldest)
    for key in (A, B):
        youngest = max((time_ms for added, time_ms in adds if added == key), default=None)
        if youngest is not None and youngest >= oldest:
            assert key in seen
        if youngest is None or youngest + DAY_MS <= oldest:
            assert key not in seen


def _many(count: int, *, day: int = 0) -> SeenKeys:
    """Return so many keys of a day, and one of the day after it."""
    seen, dice = SeenKeys(), Random(7)
    seen.add_packed(dice.randbytes(16 * count), [day * DAY_MS] * count)
    seen.add([A], [(day + 1) * DAY_MS])
    return seen


def test_many_keys_leave_in_steps_and_none_of_a_younger_day_with_them() -> None:
    seen = _many(25_000)
    left = [len(seen)]
    while seen.expire(DAY_MS):
        left.append(len(seen))
        assert A in seen
    assert 2 < len(left) < 5
    assert max(before - after for before, after in pairwise(left)) < 11_000
    assert len(seen) == 1
    assert A in seen
    assert not seen.expire(DAY_MS)


def test_a_sweep_over_midnight_goes_on_as_it_began_and_another_one_follows() -> None:
    seen = _many(25_000)
    seen.expire(DAY_MS)
    while seen.expire(2 * DAY_MS):
        pass
    assert A in seen
    while seen.expire(2 * DAY_MS):
        pass
    assert len(seen) == 0


def test_a_window_that_nobody_asks_any_more_is_freed_in_steps() -> None:
    seen, steps = _many(25_000), 1
    while seen.free():
        steps += 1
    assert 2 < steps < 5
    assert len(seen) == 0
    assert not seen.free()


# ---- the window


def _window() -> DedupeWindow:
    return DedupeWindow(SeenKeys())


def test_a_key_is_seen_only_after_its_event_was_delivered() -> None:
    window = _window()
    assert window.sight(A) is Sighting.FIRST
    window.claim(a_run([A]))
    assert window.sight(A) is Sighting.IN_FLIGHT
    assert A not in window.seen
    assert window.delivered([A], [NOW_MS], NOW_MS) == []
    assert window.sight(A) is Sighting.DUPLICATE


def test_an_event_without_a_key_claims_nothing_and_is_never_known() -> None:
    window = _window()
    window.claim(a_run([None, A, None]))
    assert window.known([None, A, B, None]) == [1]
    assert window.delivered([None, A, None], [NOW_MS] * 3, NOW_MS) == []
    assert window.known([None, None]) == []
    assert len(window.seen) == 1


@given(seen=st.sets(st.integers(0, 5)), claimed=st.sets(st.integers(0, 5)), column=st.lists(st.none() | st.integers(0, 5)))
def test_known_is_what_is_seen_or_claimed_or_stands_before(
    seen: set[int], claimed: set[int], column: list[int | None]
) -> None:
    window, keys = _window(), [None if name is None else key_of(str(name)) for name in column]
    window.seen.add([key_of(str(name)) for name in seen], [NOW_MS] * len(seen))
    window.claim(a_run([key_of(str(name)) for name in claimed]))
    expected = [at for at, name in enumerate(column) if name is not None and (name in seen | claimed or name in column[:at])]
    assert sorted(set(window.known(keys))) == expected


@pytest.mark.parametrize(("event_ms", "now_ms"), [(NOW_MS, NOW_MS - DAY_MS), (NOW_MS - DAY_MS, NOW_MS)])
def test_a_key_is_kept_by_its_event_time_or_its_acknowledgement_whichever_is_later(event_ms: int, now_ms: int) -> None:
    window = _window()
    window.claim(a_run([A]))
    window.delivered([A], [event_ms], now_ms)
    while window.seen.expire(NOW_MS):
        pass
    assert A in window.seen


def test_copies_of_delivered_events_are_duplicates_all_at_once() -> None:
    window, copies = _window(), [an_event(2), an_event(3)]
    window.claim(a_run([A, B], payloads=[b"first", b"other"]))
    for copy in copies:
        assert window.wait(A, copy) == (0, b"first")
    other = an_event(4)
    assert window.wait(B, other) == (1, b"other")
    delivered = window.delivered([A, B], [NOW_MS] * 2, NOW_MS)
    assert delivered == [(A, copies[0]), (A, copies[1]), (B, other)]
    assert window.delivered([A, B], [NOW_MS] * 2, NOW_MS) == []


def test_an_event_that_ended_undelivered_makes_room_for_the_next_copy_until_none_waits() -> None:
    window, first, second = _window(), an_event(1, payload=b"1", key="a"), an_event(2, payload=b"2", key="a")
    window.claim(an_event(key="a"))
    window.wait(A, first)
    window.wait(A, second)
    assert window.ended(A) is first
    assert window.sight(A) is Sighting.IN_FLIGHT
    third = an_event(3, key="a")
    assert window.wait(A, third) == (1, b"1"), "which has taken the place"
    assert window.ended(A) is second
    assert window.ended(A) is third
    assert window.ended(A) is None
    assert window.sight(A) is Sighting.FIRST


def test_an_event_that_ended_without_copies_leaves_nothing_behind() -> None:
    window = _window()
    window.claim(a_run([A]))
    assert window.ended(A) is None
    assert window.sight(A) is Sighting.FIRST


def test_keys_do_not_mind_each_other() -> None:
    window = _window()
    window.claim(a_run([A]))
    assert window.sight(B) is Sighting.FIRST
    window.claim(a_run([B]))
    window.delivered([A], [NOW_MS], NOW_MS)
    assert window.sight(B) is Sighting.IN_FLIGHT


@given(st.lists(st.tuples(st.sampled_from(["sight", "delivered", "ended"]), st.sampled_from(["a", "b"])), max_size=30))
def test_no_copy_is_ever_lost_or_given_twice(steps: list[tuple[str, str]]) -> None:
    window, waiting, number = _window(), {A: list[Run](), B: list[Run]()}, 0
    claimed: set[bytes] = set()
    for step, name in steps:
        key = key_of(name)
        if step == "sight":
            sighting = window.sight(key)
            expected = Sighting.DUPLICATE if key in window.seen else Sighting.IN_FLIGHT if key in claimed else Sighting.FIRST
            assert sighting is expected
            if sighting is Sighting.IN_FLIGHT:
                number += 1
                waiting[key].append(an_event(number, key=name))
                window.wait(key, waiting[key][-1])
            elif sighting is Sighting.FIRST:
                window.claim(an_event(key=name))
                claimed.add(key)
        elif key in claimed and step == "delivered":
            assert window.delivered([key], [NOW_MS], NOW_MS) == [(key, copy) for copy in waiting[key]]
            waiting[key] = []
            claimed.remove(key)
        elif key in claimed:
            copy = window.ended(key)
            assert copy is (waiting[key].pop(0) if waiting[key] else None)
            if copy is None:
                claimed.remove(key)
