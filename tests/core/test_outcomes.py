"""Dead letters on their way: refused, written in another manner, given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core import commands, inputs, status
from connector.model import (
    Manner,
    Outcome,
    Reason,
)
from tests.core.builders import NOW_MS, PLACE
from tests.core.conversation import FLAW, Conversation, letters


def test_a_letter_that_cannot_be_written_pauses_its_partition_and_is_written_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS), (1, None, FLAW, NOW_MS))
    assert talk.tell(inputs.LetterFailed(1, 0, "_MSG_TIMED_OUT")) == [commands.Pause(PLACE, 1)]
    assert status.paused(talk.pipeline)["dead_letter"] == 1
    assert talk.pipeline.wake_at(talk.moment) == 0.5
    assert letters(talk.wait(0.5)) == [(0, Reason.INVALID_FIELD)]
    assert talk.tell(inputs.LettersWritten(((1, 0),))) == [commands.Resume(PLACE, 1)]
    assert talk.outcomes == {Outcome.DEAD_LETTERED: 1}


def test_a_letter_that_fails_again_and_again_is_an_operators_matter_until_it_is_written() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    for _ in range(3):
        assert status.needs_operator(talk.pipeline) == []
        talk.tell(inputs.LetterFailed(1, 0, "TOPIC_AUTHORIZATION_FAILED"))
        talk.wait(60.0)
    (sentence,) = status.needs_operator(talk.pipeline)
    assert sentence.startswith("dead letters of conversions-0 cannot be written (TOPIC_AUTHORIZATION_FAILED)")
    assert "this client's rights to it" in sentence
    talk.tell(inputs.LettersWritten(((1, 0),)))
    assert status.needs_operator(talk.pipeline) == []


def manners(out: list[commands.Command]) -> list[Manner]:
    return [command.manner for command in out if isinstance(command, commands.WriteLetter)]


ALONE = Manner(alone=True)


@pytest.mark.parametrize("code", ["MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG_SIZE"])
def test_a_letter_that_is_too_large_is_written_alone_and_then_without_its_largest_parts(code: str) -> None:
    talk = Conversation()
    talk.start()
    assert manners(talk.poll((0, None, FLAW, NOW_MS))) == [Manner()]
    for manner in (ALONE, *(replace(ALONE, left_out=parts) for parts in (1, 2, 3))):
        assert manners(talk.tell(inputs.LetterFailed(1, 0, code))) == [manner]
        assert status.paused(talk.pipeline)["dead_letter"] == 0, "nothing stands still while there is something to try"
    assert talk.tell(inputs.LettersWritten(((1, 0),))) == []
    assert talk.outcomes == {Outcome.DEAD_LETTERED: 1}


def test_a_letter_that_does_not_fit_in_any_way_waits_for_an_operator_and_is_tried_whole_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    for _ in range(3):
        assert status.needs_operator(talk.pipeline) == []
        for _ in range(5):
            talk.tell(inputs.LetterFailed(1, 0, "MSG_SIZE_TOO_LARGE"))
        assert status.paused(talk.pipeline)["dead_letter"] == 1
        assert manners(talk.wait(60.0)) == [Manner()]
    (sentence,) = status.needs_operator(talk.pipeline)
    assert "raise its max.message.bytes" in sentence
    talk.tell(inputs.LettersWritten(((1, 0),)))
    assert status.needs_operator(talk.pipeline) == []


def test_a_letter_of_a_time_that_its_topic_does_not_take_is_written_with_the_time_of_now() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    assert manners(talk.tell(inputs.LetterFailed(1, 0, "INVALID_TIMESTAMP"))) == [ALONE]
    untimely = replace(ALONE, now=True)
    assert manners(talk.tell(inputs.LetterFailed(1, 0, "INVALID_TIMESTAMP"))) == [untimely]
    assert manners(talk.tell(inputs.LetterFailed(1, 0, "MSG_SIZE_TOO_LARGE"))) == [replace(untimely, left_out=1)]
    assert manners(talk.tell(inputs.LetterFailed(1, 0, "INVALID_TIMESTAMP"))) == []
    assert status.paused(talk.pipeline)["dead_letter"] == 1


@pytest.mark.parametrize("code", ["INVALID_RECORD", "_INVALID_DIFFERENT_RECORD", "UNKNOWN"])
def test_a_letter_refused_for_another_of_its_batch_is_written_alone_once(code: str) -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    assert manners(talk.tell(inputs.LetterFailed(1, 0, code))) == [ALONE]
    assert manners(talk.tell(inputs.LetterFailed(1, 0, code))) == []
    assert status.paused(talk.pipeline)["dead_letter"] == 1


def test_a_letter_refused_after_its_assignment_ended_is_not_written_again() -> None:
    talk = Conversation()
    talk.start()
    talk.poll((0, None, FLAW, NOW_MS))
    talk.tell(inputs.Lost((1,)))
    assert talk.tell(inputs.LetterFailed(1, 0, "MSG_SIZE_TOO_LARGE")) == []


def test_a_letter_carries_the_record_as_it_was_polled() -> None:
    talk = Conversation()
    talk.start()
    assert talk.poll((4, None, FLAW, NOW_MS)) == [commands.WriteLetter(PLACE, 1, "topic-id", 4, "record 4", FLAW)]
