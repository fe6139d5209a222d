"""Dead letters under way: each is in one place, and is tried in every manner that may help."""

from __future__ import annotations

import pytest

from connector.core.letter_box import LetterBox, PendingLetter
from connector.core.retry import RetryPolicy
from connector.model import Flaw, Manner, Reason
from tests.core.builders import at

RETRY = RetryPolicy(first_seconds=2.0)


def _letter(offset: int = 1) -> PendingLetter:
    return PendingLetter(offset, 0, Flaw(Reason.REJECTED, ""), None, 10)


@pytest.mark.parametrize(
    ("codes", "manner"),
    [
        (["MSG_SIZE_TOO_LARGE"], Manner(alone=True)),
        (["MSG_SIZE_TOO_LARGE"] * 2, Manner(alone=True, left_out=1)),
        (["MSG_SIZE_TOO_LARGE"] * 4, Manner(alone=True, left_out=3)),
        (["INVALID_TIMESTAMP"] * 2, Manner(alone=True, now=True)),
        (["UNKNOWN", "INVALID_TIMESTAMP"], Manner(alone=True, now=True)),
    ],
)
def test_a_refused_letter_is_written_in_the_next_manner_that_may_help(codes: list[str], manner: Manner) -> None:
    letter = _letter()
    assert all(letter.refused(code) for code in codes)
    assert letter.manner == manner


@pytest.mark.parametrize(
    "codes", [["TOPIC_AUTHORIZATION_FAILED"], ["UNKNOWN"] * 2, ["INVALID_TIMESTAMP"] * 3, ["MSG_SIZE_TOO_LARGE"] * 5]
)
def test_a_letter_that_no_manner_helps_is_refused_for_good(codes: list[str]) -> None:
    letter = _letter()
    assert [letter.refused(code) for code in codes] == [*[True] * (len(codes) - 1), False]


def test_a_letter_that_failed_is_tried_again_from_the_start_after_a_back_off() -> None:
    box, letter = LetterBox(), _letter()
    letter.refused("UNKNOWN")
    box.failed(letter, "UNKNOWN", RETRY, at(10.0, chance=1.0))
    assert not box.idle
    assert box.due == 12.0
    assert box.take_due(11.9) == []
    assert box.take_due(12.0) == [letter]
    assert letter.manner == Manner()
    assert box.due is None


def test_an_operator_is_asked_for_after_three_failures_and_no_more_once_a_letter_is_written() -> None:
    box, letter = LetterBox(), _letter()
    for failure in range(3):
        assert box.complaint() is None, failure
        box.failed(letter, "TOPIC_AUTHORIZATION_FAILED", RETRY, at(0.0, chance=0.0))
    assert "cannot be written (TOPIC_AUTHORIZATION_FAILED)" in (box.complaint() or "")
    box.under_way[1] = letter
    assert box.written(1) is letter
    assert box.complaint() is None


def test_a_topic_that_is_compacted_is_named_as_the_cause_where_a_letter_has_no_key() -> None:
    box = LetterBox()
    for _ in range(3):
        box.failed(_letter(), "INVALID_RECORD", RETRY, at(0.0, chance=0.0))
    assert "set cleanup.policy=delete" in (box.complaint() or "")


def test_letters_held_back_come_out_in_order_and_do_not_keep_it_busy() -> None:
    box = LetterBox(parked={2: _letter(2), 1: _letter(1)})
    assert box.idle
    assert [box.unpark().offset, box.unpark().offset] == [2, 1]


def test_what_was_to_be_written_again_can_be_given_up() -> None:
    box = LetterBox()
    box.failed(_letter(), "UNKNOWN", RETRY, at(0.0, chance=0.0))
    box.give_up_unwritten()
    assert box.idle
    assert box.take_due(99.0) == []
