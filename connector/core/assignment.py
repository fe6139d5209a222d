"""One partition while it is ours: its offsets, window, facts not yet confirmed, and letters not yet written.

    RESTORING ──▶ OPENING ──▶ RUNNING ──▶ DRAINING ──▶ ENDED
        └────────────┴───────────┴───(lost)──────────────▲

RESTORING reads the ledger; OPENING waits for an empty entry of our own to be confirmed, which proves that the ledger can be
written and tells the brokers' time; DRAINING finishes what is in flight. After ENDED nothing is committed or sent, but facts
about what was sent are still written down (docs/how-it-works.md#several-facts).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from connector.core.dedupe import DedupeWindow, SeenKeys
from connector.core.landmarks import Landmarks
from connector.core.offsets import OffsetTracker, ResolvedOffsets
from connector.core.recovery import LedgerPosition, Recovery
from connector.model import Event, Facts, Flaw, Manner, TopicPartition

__all__ = ["TOO_LARGE", "Assignment", "Letter", "Phase"]

TOO_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG_SIZE"})
"""Kafka's codes for what is larger than client, topic (``max.message.bytes``) or segments take."""
_TIME = "INVALID_TIMESTAMP"
_OF_A_BATCH = TOO_LARGE | {_TIME, "INVALID_RECORD", "_INVALID_DIFFERENT_RECORD", "UNKNOWN"}
"""Codes that another letter of the same batch may have caused. With several untimely ones in it
librdkafka 2.16 says INVALID_RECORD of each, and _INVALID_DIFFERENT_RECORD of the others; UNKNOWN is
what brokers say when they fail themselves."""
_PARTS = 3
"""Value, headers and key."""


class Phase(Enum):
    """Where an assignment is in its life."""

    RESTORING = "restoring"
    OPENING = "opening"
    RUNNING = "running"
    DRAINING = "draining"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Letter:
    """A dead letter on its way."""

    offset: int
    epoch: int
    flaw: Flaw
    record: object
    size: int
    manner: Manner = field(default_factory=Manner)

    def refused(self, code: str) -> bool:
        """Choose the next manner after a refusal; False if none is left, or none would help."""
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
class Assignment:
    """The state of one assignment of one partition; rules live in `pipeline`."""

    partition: TopicPartition
    generation: int
    truncated: bool = False
    """Whether its committed offset is of a log that was cut since."""
    phase: Phase = Phase.RESTORING
    tracker: OffsetTracker = field(default_factory=lambda: OffsetTracker(0))
    resolved: ResolvedOffsets = field(default_factory=ResolvedOffsets)
    window: DedupeWindow = field(default_factory=lambda: DedupeWindow(SeenKeys()))
    topic_id: str = ""
    position: LedgerPosition = field(default_factory=lambda: LedgerPosition("", 0))
    """The ledger holds every fact that the frontier rests on, up to here."""
    landmarks: Landmarks = field(default_factory=Landmarks)
    """What the ledger must still hold, for whoever has the partition next."""
    start: tuple[int, int] = (0, -1)
    """Offset and epoch to start at."""

    facts: Facts = field(default_factory=Facts)
    """Known, not yet on their way to the ledger."""
    flushing: Facts | None = None
    """On their way, not confirmed."""
    unconfirmed_since: float | None = None
    """Monotonic second of the first attempt to write what is on its way; None with nothing on its way."""
    flush_due: float | None = None
    """Monotonic second of the next flush; None with nothing to flush."""
    failures: int = 0
    """Of flushes or restores, in a row."""

    letters: dict[int, Letter] = field(default_factory=dict)
    """On their way to the dead-letter topic, by offset."""
    unwritten: dict[int, Letter] = field(default_factory=dict)
    """Failed to be written, and to be written again."""
    parked: dict[int, Letter] = field(default_factory=dict)
    """Held back while there are too many of them; a drain gives them back."""
    letter_failures: int = 0
    """Since a letter was last written; while there are any, nothing more is taken in."""
    letter_failure: str = ""
    """The code of the last of them."""
    letters_due: float | None = None
    """Monotonic second at which the unwritten are tried again."""
    held: int = 0
    """Records received and neither resolved nor released; after the end, those still under way."""
    held_bytes: int = 0
    in_flight: int = 0
    """Events in requests."""

    unreadable: str = ""
    """Kafka's name of the error that what follows in the log leads to; empty once something was read again."""
    read_tries: int = 0
    """How often it could not be read, in a row."""
    read_due: float | None = None
    """Monotonic second at which it is tried again; None while it is."""
    unreadable_at: int = 0
    """The offset where that begins."""

    fetching: bool = False
    commit_due: float = 0.0
    """Monotonic second before which no further commit is made, but after a flush."""
    asked_to_commit: int = 0
    """The next offset of the last commit asked for."""
    committed: bool = False
    """Whether the group has a commit of it that this assignment goes on from, or that it made."""
    running_since: float = 0.0
    """Monotonic second at which it was started, or was last found to have outlived its session."""
    restore_due: float | None = None
    """Monotonic second of the next attempt to restore; None while one is under way."""
    waits_until: float = 0.0
    """Monotonic second until which that waits for the facts of older assignments of the same partition."""
    refusal: str | None = None
    """Why the last restore failed, when an operator is needed."""
    drain_by: float = 0.0
    """Monotonic second at which a drain gives up."""

    def restored(self, recovery: Recovery) -> None:
        """Take over what the ledger says."""
        self.phase = Phase.OPENING
        self.tracker = OffsetTracker(recovery.offset, recovery.epoch)
        self.asked_to_commit, self.committed = recovery.offset, recovery.committed
        self.start = (recovery.offset, recovery.epoch)
        self.resolved, self.window = recovery.resolved, DedupeWindow(recovery.seen)
        self.topic_id, self.position = recovery.topic_id, recovery.position
        self.landmarks = recovery.landmarks
        self.failures, self.restore_due, self.refusal = 0, None, None

    def let_go(self, held: Event | Letter) -> None:
        """Hold one record less."""
        self.held -= 1
        self.held_bytes -= held.size

    @property
    def live(self) -> bool:
        """Whether it may still commit."""
        return self.phase is not Phase.ENDED

    @property
    def commits(self) -> bool:
        """Whether there is something new to commit."""
        return self.phase in {Phase.RUNNING, Phase.DRAINING} and self.tracker.next_offset > self.asked_to_commit

    @property
    def idle(self) -> bool:
        """Whether nothing is under way for it, and every fact known is confirmed."""
        return not (self.in_flight or self.letters or self.unwritten or self.facts or self.flushing is not None)
