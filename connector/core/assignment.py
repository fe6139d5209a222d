"""One partition while it is ours.

An assignment has offsets, a window, facts and letters, and the rules of its life.

    RESTORING ──▶ OPENING ──▶ RUNNING ──▶ DRAINING ──▶ ENDED
        ├────────────┴────────────┼──(revoked)──▲        ▲
        └─────────────────────────┴──(lost)──────────────┘

RESTORING reads the ledger. OPENING waits until an empty entry of our own is confirmed, which proves
that the ledger can be written and tells the brokers' time. RUNNING fetches and sends. DRAINING
finishes what is in flight and gives the rest back. After ENDED nothing is committed or sent, but
facts about what was sent are still written down (docs/how-it-works.md#several-facts).

An assignment decides what concerns it alone. What concerns several, such as the order of sending or
the bound of the buffer, is decided in `pipeline`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from connector.core import commands
from connector.core.commit_metadata import LedgerPosition, commit_metadata
from connector.core.dedupe import DedupeWindow, Seen, SeenKeys
from connector.core.fact_log import FactLog
from connector.core.landmarks import Landmarks
from connector.core.letter_box import LetterBox, PendingLetter
from connector.core.offsets import OffsetTracker, ResolvedOffsets
from connector.core.recovery import Recovery
from connector.core.retry import NO_JITTER, RetryPolicy
from connector.core.runs import Run, count
from connector.model import Facts, Moment, TopicPartition

__all__ = ["TRANSITIONS", "Assignment", "Phase", "Step"]

_READ_TRIES = 3
"""Failures to read a partition, in a row, after which an operator is needed."""


class Phase(Enum):
    """Where an assignment is in its life."""

    RESTORING = "restoring"
    OPENING = "opening"
    RUNNING = "running"
    DRAINING = "draining"
    ENDED = "ended"


class Step(Enum):
    """What moves an assignment on."""

    RESTORED = "restored"
    OPENED = "opened"
    DRAIN = "drain"
    END = "end"


TRANSITIONS: dict[Phase, dict[Step, Phase]] = {
    Phase.RESTORING: {Step.RESTORED: Phase.OPENING, Step.DRAIN: Phase.DRAINING, Step.END: Phase.ENDED},
    Phase.OPENING: {Step.OPENED: Phase.RUNNING, Step.DRAIN: Phase.DRAINING, Step.END: Phase.ENDED},
    Phase.RUNNING: {Step.DRAIN: Phase.DRAINING, Step.END: Phase.ENDED},
    Phase.DRAINING: {Step.END: Phase.ENDED},
    Phase.ENDED: {},
}
"""Every legal step. An illegal one is a missing key, so it ends the process before it does harm."""


@dataclass(slots=True)
class _Restoring:
    """Attempts to restore."""

    due: float | None = None
    """Monotonic second of the next attempt; None during an attempt, and after the last."""
    waits_until: float | None = None
    """Monotonic second until which an attempt waits for the facts of older assignments of the same
    partition; None while requests of theirs are out."""
    failures: int = 0
    """Number of failed attempts in a row."""
    refusal: str | None = None
    """Why the last attempt failed, where an operator is needed."""


@dataclass(slots=True)
class _Committing:
    """Progress of the commits."""

    asked: int = 0
    """The next offset of the last commit asked for."""
    due: float = 0.0
    """Monotonic second before which no further commit is made, except after a flush."""
    made: bool = False
    """Whether the group has a commit for this partition: one to start from, or one of ours."""


@dataclass(slots=True)
class _Unreadable:
    """Failed attempts to read the log."""

    code: str = ""
    """Kafka's name of the error that reading raises; empty once a record was read again."""
    offset: int = 0
    """Offset of the first record that cannot be read."""
    tries: int = 0
    """Failures in a row."""
    due: float | None = None
    """Monotonic second of the next attempt; None during an attempt, or without a failure."""


@dataclass(slots=True, eq=False)
class Assignment:
    """One assignment of one partition."""

    partition: TopicPartition
    generation: int
    truncated: bool = False
    """Whether the log was cut after the offset was committed."""
    phase: Phase = Phase.RESTORING
    tracker: OffsetTracker = field(default_factory=lambda: OffsetTracker(0))
    resolved: ResolvedOffsets = field(default_factory=ResolvedOffsets)
    window: DedupeWindow = field(default_factory=lambda: DedupeWindow(SeenKeys()))
    topic_id: str = ""
    position: LedgerPosition = field(default_factory=lambda: LedgerPosition("", 0))
    """End of the ledger up to which it holds every fact behind the committed offset."""
    landmarks: Landmarks = field(default_factory=Landmarks)
    """Entries that the ledger must still hold for the next owner of the partition."""
    start: tuple[int, int] = (0, -1)
    """Offset and epoch to start at."""
    facts: FactLog = field(default_factory=FactLog)
    letters: LetterBox = field(default_factory=LetterBox)
    held: int = 0
    """Records received and not yet resolved or released. After the end: records still in flight."""
    held_bytes: int = 0
    in_flight: int = 0
    """Events in requests that are not answered yet."""
    fetching: bool = False
    running_since: float = 0.0
    """Monotonic second at which reading started, or at which the session was last found expired."""
    drain_by: float = 0.0
    """Monotonic second at which a drain gives up."""
    restoring: _Restoring = field(default_factory=_Restoring)
    committing: _Committing = field(default_factory=_Committing)
    unreadable: _Unreadable = field(default_factory=_Unreadable)
    ledger_cut: bool = False
    """Whether the ledger was found to have lost its end."""

    def enter(self, step: Step) -> None:
        """Move on to the phase this step leads to; KeyError if the step is illegal."""
        self.phase = TRANSITIONS[self.phase][step]

    @property
    def live(self) -> bool:
        """Whether it may still commit."""
        return self.phase is not Phase.ENDED

    @property
    def running(self) -> bool:
        """Whether it fetches, and sends what is new."""
        return self.phase is Phase.RUNNING

    @property
    def began(self) -> bool:
        """Whether it has started to fetch, and has not ended."""
        return self.phase is Phase.RUNNING or self.phase is Phase.DRAINING

    @property
    def idle(self) -> bool:
        """Whether nothing is under way for it, and every fact known is confirmed."""
        return not self.in_flight and self.letters.idle and self.facts.idle

    def hold(self, records: int, size: int) -> None:
        """Hold so many more records, which take so many bytes."""
        self.held += records
        self.held_bytes += size

    def release(self, records: int, size: int) -> None:
        """Hold so many records less."""
        self.hold(-records, -size)

    # ---- restoring

    def restores_at(self, older: Sequence[Assignment]) -> float | None:
        """Return the monotonic second at which a restore may be tried.

        Return None while it must wait, or is under way.

        What ``older`` assignments of the partition have in flight would be sent again if its facts
        were not in the ledger by then. An answer comes within the time-out of its request; from the
        last answer on, facts are waited for as long as by a drain.
        """
        if self.restoring.due is None or self.restoring.waits_until is None:
            return None
        return max(self.restoring.due, self.restoring.waits_until) if older else self.restoring.due

    def restores_now(self, older: Sequence[Assignment], within_seconds: float, now: Moment) -> bool:
        """Return whether a restore is tried now, which is noted.

        Facts of ``older`` assignments are waited for ``within_seconds`` at most, from the first
        turn in which none of their requests is out.
        """
        if self.restoring.waits_until is None and not any(each.in_flight for each in older):
            self.restoring.waits_until = now.monotonic + within_seconds
        due = self.restores_at(older)
        if due is None or due > now.monotonic:
            return False
        self.restoring.due = None
        return True

    def restored(self, recovery: Recovery) -> None:
        """Take over what the ledger says."""
        self.enter(Step.RESTORED)
        self.tracker = OffsetTracker(recovery.offset, recovery.epoch)
        self.committing.asked, self.committing.made = recovery.offset, recovery.committed
        self.start = (recovery.offset, recovery.epoch)
        self.resolved, self.window = recovery.resolved, DedupeWindow(recovery.seen)
        self.topic_id, self.position = recovery.topic_id, recovery.position
        self.landmarks = recovery.landmarks
        self.restoring = _Restoring()

    def restore_failed(self, refusal: str | None, retry: RetryPolicy, now: Moment) -> None:
        """Try again after a back-off; ``refusal`` is set where an operator is needed."""
        self.restoring.failures += 1
        self.restoring.due = now.monotonic + retry.delay(self.restoring.failures, now.chance)
        self.restoring.refusal = refusal

    # ---- facts, letters and commits

    def append(self, facts: Facts, now: Moment) -> commands.AppendFacts:
        """Return the command that writes these facts to the ledger."""
        return commands.AppendFacts(self.partition, self.generation, self.topic_id, self.facts.begin(facts, now.monotonic))

    @property
    def entry_complete(self) -> bool:
        """Whether nothing more can be learnt that could go into the next ledger entry."""
        ends = self.phase is Phase.DRAINING or self.phase is Phase.ENDED
        return ends and not self.in_flight and not self.letters.under_way

    def shows_a_cut(self, next_offset: int) -> bool:
        """Return whether an entry of ours stands below the ledger's end as known.

        The ledger then lost what stood there.

        Position and landmarks stay as they are then: the next commit names what was lost, and
        whoever restores the partition finds it missing. The same holds after the first such entry,
        although later entries may stand above that end.
        """
        return self.ledger_cut or next_offset <= self.position.next_offset

    def appended(self, facts: Facts, next_offset: int, append_ms: int | None, now: Moment) -> None:
        """Resolve what is in the ledger now, and have it committed."""
        self.tracker.resolve(facts.offsets)
        self.committing.due = now.monotonic
        if append_ms is not None:
            self.landmarks.passed(next_offset - 1, append_ms)
        self.position = LedgerPosition(self.position.topic_id, next_offset)

    def write(self, letter: PendingLetter) -> commands.WriteLetter:
        """Return the command that writes a letter."""
        self.letters.under_way[letter.offset] = letter
        return commands.WriteLetter(
            self.partition, self.generation, self.topic_id, letter.offset, letter.record, letter.flaw, letter.manner
        )

    @property
    def commits(self) -> bool:
        """Whether there is something new to commit."""
        return self.began and self.tracker.next_offset > self.committing.asked

    def commit_point(self, interval_seconds: float, now: Moment) -> commands.CommitPoint:
        """Return what to commit, and note that it was asked for."""
        tracker = self.tracker
        self.committing.asked, self.committing.made = tracker.next_offset, True
        self.committing.due = now.monotonic + interval_seconds
        metadata = commit_metadata(self.topic_id, self.position, tracker.after_last_record, str(self.landmarks))
        return commands.CommitPoint(self.partition, self.generation, tracker.next_offset, tracker.epoch, metadata)

    def commit_failed(self, due: float) -> None:
        """Commit again at that monotonic second.

        What was asked for falls back to the start, not below: the failed commit may be of an older
        assignment, and nothing of this one may be resolved.
        """
        self.committing.asked = self.start[0]
        self.committing.due = due

    # ---- fetching

    def unread(self, code: str, offset: int, retry: RetryPolicy, now: Moment) -> None:
        """Note that the source paused the partition because what follows cannot be read.

        It is tried again after a back-off: a sound replica may lead by then, or somebody has
        repaired this one.
        """
        self.fetching = False
        trouble = self.unreadable
        trouble.code, trouble.offset = code, offset
        trouble.tries += 1
        trouble.due = now.monotonic + retry.delay(trouble.tries, NO_JITTER)

    def read_to(self, end: int) -> None:
        """Note that records below this offset were read, which may end the trouble."""
        if self.unreadable.tries and end > self.unreadable.offset:
            self.unreadable = _Unreadable()

    def try_to_read(self, now: Moment) -> bool:
        """Return whether the log may be read, or tried again."""
        if self.unreadable.due is not None and self.unreadable.due <= now.monotonic:
            self.unreadable.due = None
        return self.unreadable.due is None

    def unreadable_message(self) -> str | None:
        """Return what an operator must know and do about a log that cannot be read.

        Return None while none is needed.
        """
        if self.unreadable.tries < _READ_TRIES:
            return None
        return (
            f"{self.partition} cannot be read from offset {self.unreadable.offset} on ({self.unreadable.code}): what stands "
            "there is damaged, or its broker cannot hand it out. What comes before is sent and committed; the partition is "
            "paused, and tried again. Have another replica lead it, or restore the log; to give up what cannot be read, "
            "stop the connector and set the group's offset behind it with kafka-consumer-groups.sh"
        )

    def fetch(self, wanted: bool) -> commands.Pause | commands.Resume | None:
        """Return the command that makes the source fetch or not; None if it does so already."""
        if wanted == self.fetching:
            return None
        self.fetching = wanted
        return (commands.Resume if wanted else commands.Pause)(self.partition, self.generation)

    # ---- the end

    def outlived(self, session_seconds: float, now: Moment) -> bool:
        """Return whether the partition may be another member's by now.

        It may be once the coordinator has been silent for a session. True once for each session.
        """
        heard = max(now.vouched, self.running_since)
        if not self.running or now.monotonic - heard <= session_seconds:
            return False
        self.running_since = now.monotonic
        return True

    def made_progress(self, seconds: float, now: Moment) -> bool:
        """Return whether it ran for so long, or resolved anything."""
        lasted = self.running and now.monotonic - self.running_since > seconds
        return lasted or self.tracker.next_offset > self.start[0]

    def end(self, under_way: list[Run]) -> Seen:
        """End it; return its window, to be freed step by step.

        What is under way still takes up memory. All else was given back, and must not keep the
        buffer full.
        """
        self.enter(Step.END)
        self.restoring.due = None
        self.unreadable = _Unreadable()
        self.letters.give_up_unwritten()
        letters = self.letters.under_way.values()
        self.held = count(under_way) + len(letters)
        self.held_bytes = sum(run.size for run in under_way) + sum(letter.size for letter in letters)
        seen, self.window = self.window.seen, DedupeWindow(SeenKeys())
        return seen
