"""Keys with many copies: which of them are doubted. No count is too high."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from connector.core.doubts import _FEW, _MANY, _MOST_KEYS, Doubt, DoubtKind, Repeats
from tests.core.builders import PLACE, key_of

A = key_of("a")
ENOUGH = 1_000_000
"""Records of which a few copies are no share."""


def noted(repeats: Repeats, copies: int, *, key: bytes = A, records: int = ENOUGH, first: int = 0) -> list[Doubt]:
    doubts = [repeats.note(key, PLACE, first + at, records) for at in range(copies)]
    return [doubt for doubt in doubts if doubt is not None]


def test_a_key_with_many_duplicates_is_doubted_and_again_each_time_they_have_doubled() -> None:
    repeats = Repeats()
    assert noted(repeats, _MANY - 1, first=40) == []
    assert repeats.doubtful == 0
    doubts = noted(repeats, 400, first=40 + _MANY - 1)
    assert doubts[0] == Doubt(DoubtKind.REPEATED, "conversions-0@40", "conversions-0@139", 100)
    assert [doubt.copies for doubt in doubts] == [100, 200, 400]
    assert repeats.doubtful == 499


@pytest.mark.parametrize(
    ("copies", "records", "doubted"), [(9, 10, False), (10, 200, True), (10, 201, False), (20, 400, True)]
)
def test_few_duplicates_are_too_many_where_they_are_a_share_of_the_traffic(copies: int, records: int, doubted: bool) -> None:
    assert bool(noted(Repeats(), copies, records=records)) == doubted


def test_one_retry_of_every_event_is_no_doubt_however_many_events_there_are() -> None:
    repeats, dice = Repeats(), Random(1)
    keys = [dice.randbytes(16) for _ in range(20_000)]
    assert [doubt for key in keys for doubt in noted(repeats, 3, key=key)] == []
    assert repeats.doubtful == 0
    assert len(repeats._counts) <= _MOST_KEYS


def test_a_key_that_makes_a_share_of_the_duplicates_is_found_among_any_number_of_others() -> None:
    repeats, dice, counted = Repeats(), Random(2), Counter[bytes]()
    told: list[Doubt] = []
    for at in range(60_000):
        key = A if dice.random() < 0.01 else dice.randbytes(16)
        counted[key] += 1
        doubt = repeats.note(key, PLACE, at, ENOUGH)
        told += [doubt] if doubt else []
        assert len(repeats._counts) <= _MOST_KEYS
    assert len(told) > 1
    assert all(count.copies <= counted[key] for key, count in repeats._counts.items())
    assert counted[A] - repeats._counts[A].copies <= 60_000 // (_MOST_KEYS + 1)
    assert repeats.doubtful <= counted[A]


def test_limits_make_sense_together() -> None:
    assert _FEW < _MANY
