"""The dead letters of one assignment: held back, under way, or waiting to be written again.

    hold back ──▶ parked ──unpark──▶ under way ──written──▶ the caller resolves the record
                                      ▲     │
                     again, after a   │     ├──refused──▶ under way, in another manner
                     back-off         │     ▼
                                     unwritten

A letter that the topic refuses is written in another manner at once, for as long as there is one
that may help (see `PendingLetter.refused`). After that its partition stands still, and the letter
is tried again from the start: an operator may have fixed the topic meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from connector.core.refused_writes import TOO_LARGE, fix
from connector.core.retry import RetryPolicy
from connector.model import Flaw, Manner, Moment

__all__ = ["LetterBox", "PendingLetter"]

_TIME = "INVALID_TIMESTAMP"
_OF_A_BATCH = TOO_LARGE | {_TIME, "INVALID_RECORD", "_INVALID_DIFFERENT_RECORD", "UNKNOWN"}
"""Codes that another letter of the same batch may have caused.

With several untimely letters in a batch, librdkafka 2.16 reports INVALID_RECORD for each of them
and _INVALID_DIFFERENT_RECORD for the others. Brokers report UNKNOWN when they fail themselves.
"""
_PARTS = 3
"""What a letter can be written without: value, headers and key."""
_TRIES = 3
"""Failures in a row after which an operator is needed."""
_TOO_SMALL = (
    "raise its max.message.bytes, which does not even allow our own headers, and KAFKA_MESSAGE_MAX_BYTES if that is set"
)


@dataclass(slots=True, eq=False)
class PendingLetter:
    """A dead letter that is not confirmed yet."""

    offset: int
    epoch: int
    flaw: Flaw
    record: object
    size: int
    manner: Manner = field(default_factory=Manner)

    def refused(self, code: str) -> bool:
        """Choose the next manner after a refusal.

        Return False if none is left, or none would help.
        """
        manner = self.manner
        if code in _OF_A_BATCH and not manner.alone:
            self.manner = replace(manner, alone=True)
        elif code == _TIME and not manner.now:
            self.manner = replace(manner, now=True)
        elif code in TOO_LARGE and manner.left_out < _PARTS:
            self.manner = replace(manner, left_out=manner.left_out + 1)
        else:
            return False
        return True


@dataclass(slots=True, eq=False)
class LetterBox:
    """Holds the letters of one assignment until the brokers have confirmed them.

    Each letter stands in one place, by offset.
    """

    under_way: dict[int, PendingLetter] = field(default_factory=dict)
    """Handed to the producer, not confirmed."""
    unwritten: dict[int, PendingLetter] = field(default_factory=dict)
    """Failed, and to be written again once `due`."""
    parked: dict[int, PendingLetter] = field(default_factory=dict)
    """Held back while there are too many of them; a drain gives them back."""
    due: float | None = None
    """Monotonic second at which the unwritten are tried again; None with none."""
    failures: int = 0
    """Failures since a letter was last written. While there are any, nothing more is fetched."""
    _failure: str = ""
    """Kafka's code of the latest failure."""

    @property
    def idle(self) -> bool:
        """Whether no letter is under way or to be written again; those held back do not count."""
        return not (self.under_way or self.unwritten)

    @property
    def waiting(self) -> bool:
        """Whether a letter is to be written later: after a back-off, or as the breaker allows."""
        return bool(self.unwritten or self.parked)

    def written(self, offset: int) -> PendingLetter:
        """Note that a letter is confirmed; return it."""
        self.failures = 0
        return self.under_way.pop(offset)

    def failed(self, letter: PendingLetter, code: str, retry: RetryPolicy, now: Moment) -> None:
        """Keep a letter that cannot be written now, for another try after a back-off."""
        letter.manner = Manner()
        self.unwritten[letter.offset] = letter
        self.failures += 1
        self._failure = code
        self.due = now.monotonic + retry.delay(self.failures, now.chance)

    def take_due(self, now: float) -> list[PendingLetter]:
        """Return the letters whose back-off is over."""
        if self.due is None or now < self.due:
            return []
        letters, self.unwritten, self.due = self.unwritten, {}, None
        return list(letters.values())

    def unpark(self) -> PendingLetter:
        """Return the letter that was held back first."""
        return self.parked.pop(next(iter(self.parked)))

    def give_up_unwritten(self) -> None:
        """Forget the letters to be written again.

        The partition's next owner reads their records again.
        """
        self.unwritten, self.due = {}, None

    def complaint(self) -> str | None:
        """Return what an operator must know and do; None while no operator is needed."""
        if self.failures < _TRIES:
            return None
        what = _TOO_SMALL if self._failure in TOO_LARGE else fix(self._failure)
        return f"cannot be written ({self._failure}): it stands still until they can. Fix the dead-letter topic: {what}"
