"""That the native window gives the same answers as `SeenKeys`, and that no step of it takes long."""

from __future__ import annotations

from array import array
from random import Random
from typing import Any

import pytest
from connector_native import SeenKeys as NativeKeys
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from connector.core.dedupe import SeenKeys
from tests.core.builders import DAY_MS, key_of

A, B = key_of("a"), key_of("b")

_DICE = Random(3)
_POOL = [
    *(_DICE.randbytes(16) for _ in range(200)),
    *(bytes([_DICE.randrange(2)]) + _DICE.randbytes(15) for _ in range(2_000)),  # two shards with much in them
    *(bytes(9) + _DICE.randbytes(7) for _ in range(50)),  # one place for all of them
    bytes(15) + b"\x01",
    b"\xff" * 16,
]
_TIMES = st.integers(-3 * DAY_MS, 12 * DAY_MS)


class _Both(RuleBasedStateMachine):
    """Does the same to both, and compares whatever can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = SeenKeys(), NativeKeys()

    @rule(rows=st.lists(st.tuples(st.none() | st.sampled_from(_POOL), _TIMES), max_size=100), acknowledged_ms=_TIMES)
    def add(self, rows: list[tuple[bytes | None, int]], acknowledged_ms: int) -> None:
        keys, times = [key for key, _ in rows], [time_ms for _, time_ms in rows]
        self.ours.add(keys, times, acknowledged_ms)
        self.theirs.add(keys, times, acknowledged_ms)

    @rule(seed=st.integers(0, 999), count=st.integers(0, 1_500), first=_TIMES, written_ms=st.one_of(st.just(0), _TIMES))
    def add_packed(self, seed: int, count: int, first: int, written_ms: int) -> None:
        dice = Random(seed)
        keys = b"".join(dice.choice(_POOL) if dice.random() < 0.95 else bytes(16) for _ in range(count))
        times = array("q", [first + dice.randrange(3 * DAY_MS) for _ in range(count)])
        self.ours.add_packed(keys, times, written_ms)
        self.theirs.add_packed(keys, times if seed % 2 else list(times), written_ms)

    @rule(oldest_ms=_TIMES)
    def expire(self, oldest_ms: int) -> None:
        for seen in (self.ours, self.theirs):
            while seen.expire(oldest_ms):
                pass

    @rule()
    def free(self) -> None:
        for seen in (self.ours, self.theirs):
            while seen.free():
                pass
        assert len(self.ours) == len(self.theirs) == 0
        self.ours, self.theirs = SeenKeys(), NativeKeys()

    @invariant()
    def agree(self) -> None:
        assert len(self.ours) == len(self.theirs)
        assert [key in self.ours for key in _POOL] == [key in self.theirs for key in _POOL]
        column = [None if at % 7 == 0 else key for at, key in enumerate(_POOL)]
        assert self.ours.find(column) == self.theirs.find(column)


class TestBoth(_Both.TestCase):  # type: ignore[misc, valid-type]  # Hypothesis makes the class
    settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


def _filled(count: int, days: int = 1) -> tuple[NativeKeys, bytes]:
    seen, packed = NativeKeys(), Random(7).randbytes(16 * count)
    seen.add_packed(packed, array("q", [number % days * DAY_MS for number in range(count)]))
    return seen, packed


def test_segments_that_grow_and_split_lose_no_key_and_invent_none() -> None:
    seen = NativeKeys()
    dice = Random(11)
    packed = b"".join(b"\x07" + dice.randbytes(15) for _ in range(100_000))  # several segments in one shard
    seen.add_packed(packed, array("q", [0]) * 100_000)
    assert len(seen) == 100_000
    assert all(packed[at : at + 16] in seen for at in range(0, len(packed), 16))
    assert not any(b"\x07" + dice.randbytes(15) in seen for _ in range(10_000))


def test_digests_that_differ_in_their_last_bytes_only_are_kept_apart() -> None:
    keys = [bytes(9) + number.to_bytes(7) for number in range(16_000)]  # more than a segment has when it splits
    seen = NativeKeys()
    for key in keys:
        seen.add([key], [0])
    assert len(seen) == len(keys)
    assert all(key in seen for key in keys)
    assert bytes(9) + (16_000).to_bytes(7) not in seen


def test_a_sweep_pauses_and_forgets_all_of_the_day_and_nothing_else() -> None:
    seen, packed = _filled(200_000, days=2)
    steps = 1
    while seen.expire(DAY_MS):
        steps += 1
    assert 4 <= steps <= 10
    assert len(seen) == 100_000
    assert [packed[at : at + 16] in seen for at in range(0, 3_200, 16)] == [False, True] * 100
    assert not seen.expire(DAY_MS)


def test_an_old_key_that_comes_behind_the_sweep_goes_with_the_next_one() -> None:
    for seen in (SeenKeys(), NativeKeys()):
        seen.add_packed(Random(7).randbytes(16 * 200_000), array("q", [0]) * 200_000)
        assert seen.expire(DAY_MS)
        seen.add([bytes(16)], [0])  # in the first shard, which has been swept
        while seen.expire(DAY_MS):
            pass
        assert bytes(16) in seen
        while seen.expire(DAY_MS):
            pass
        assert bytes(16) not in seen
        assert len(seen) == 0


def test_memory_is_freed_in_steps_and_a_freed_window_is_empty() -> None:
    seen, packed = _filled(200_000)
    full, steps = seen.size_bytes, 1
    while seen.free():
        steps += 1
    assert 4 <= steps <= 10
    assert len(seen) == 0
    assert packed[:16] not in seen
    assert seen.size_bytes < full / 100


def test_a_window_that_ends_amid_a_sweep_is_freed_from_its_first_shard_on() -> None:
    seen, packed = _filled(200_000, days=2)
    assert seen.expire(DAY_MS)
    while seen.free():
        pass
    assert len(seen) == 0
    assert packed[16:32] not in seen


def test_it_says_what_it_holds_within_24_bytes_a_key() -> None:
    seen, _ = _filled(1_000_000)
    assert 16 < seen.size_bytes / len(seen) < 24


def test_more_days_at_once_than_a_byte_can_tell_apart_make_no_key_leave_early() -> None:
    seen = NativeKeys()
    keys = [key_of(str(day)) for day in range(400)]
    for order in (range(0, 400, 2), range(399, 0, -2)):
        for day in order:
            seen.add([keys[day]], [day * DAY_MS])
    for oldest in range(0, 400, 40):
        while seen.expire(oldest * DAY_MS):
            pass
        assert all(key in seen for key in keys[oldest:])


@pytest.mark.parametrize(
    ("keys", "times"),
    [(A, []), (A[:15], [0]), (A + B, [0]), (b"", [0]), (A, [1 << 63]), (A, ["0"]), (A, 5), ("a" * 16, [0])],
)
def test_what_is_no_column_of_digests_and_times_is_refused_and_nothing_of_it_taken(keys: Any, times: Any) -> None:
    seen = NativeKeys()
    with pytest.raises((ValueError, TypeError, OverflowError)):
        seen.add_packed(keys, times)
    assert len(seen) == 0


@pytest.mark.parametrize("wrong", [b"", b"a" * 15, b"a" * 17])
def test_a_key_of_another_length_is_refused(wrong: bytes) -> None:
    seen = NativeKeys()
    with pytest.raises(ValueError, match="16 bytes"):
        seen.add([A, wrong], [0, 0])
    with pytest.raises(ValueError, match="16 bytes"):
        seen.find([A, wrong])
    with pytest.raises(ValueError, match="16 bytes"):
        _ = wrong in seen
    assert len(seen) == 0


@pytest.mark.parametrize(
    ("keys", "times"), [([A], []), ([A, B], [0]), ([A], ["0"]), ([A], [1 << 63]), (["a" * 16], [0]), ([0], [0])]
)
def test_a_column_of_keys_has_a_time_for_each_or_is_refused_and_nothing_of_it_taken(keys: Any, times: Any) -> None:
    seen = NativeKeys()
    with pytest.raises((ValueError, TypeError, OverflowError)):
        seen.add(keys, times)
    assert len(seen) == 0
