"""Where an assignment starts, what it already knows, and when it must not start at all.

The problem. A new assignment has a committed offset, a ledger of facts, and the ends of two logs.
Each may have changed since the last assignment: a topic was deleted and created again, a log was
truncated, a ledger was emptied, an operator or another consumer of the group set the offset. A
start too low costs a second send where facts are missing. A start too high skips records that were
never judged, and nobody notices. *A ledger that knows too little costs a second send; a ledger that
knows too much loses events* (docs/how-it-works.md#the-guarantee). So every fact is checked for
whose it is, every commit says what it rests on, and what cannot be decided safely is refused: then
a person decides.

The picture. A commit points into the source and, by its metadata, into the ledger:

    source   first_offset ────────────── next_offset of the commit ─────────── end_offset
                                                     │ rests on
                                                     ▼
    ledger   ledger_first ── landmark ── landmark ── next_offset ── later entries ── end
             └────────────────────── taken in, entry by entry ──────────────────────┘

    Restoration ─▶ finish(unread) ─▶ take, take … ─▶ in_doubt ─▶ finish(skipped) ─▶ Recovery or Refusal
                   refuses early      the entries     the source is read for
                                                      a record without a fact

A commit without our metadata (see `commit_metadata`) is *foreign*. An operator sets one to start
from now before the first start, or to go back at any time. Another consumer with the same group id
makes one too, by itself. It is used unless it skips a record that was never judged. What was judged
is known from the ledger: the entry that opens an assignment says where that assignment begins.
Everything below was judged by then, or skipped because an operator wanted it; from there on, a
record is judged if it has a fact. Where no such entry is left, or an older version wrote none,
judging begins with the lowest fact. With neither, the ledger never had this partition of this
topic.

The laws.

R1  A fact resolves a record only if cluster, topic, topic id, group, destination, offset and leader
    epoch all are the record's. A key counts as seen only for the same destination and key fields.
R2  A commit of ours is used only while the ledger holds what the commit rests on.
R3  A commit without the offset that it was made for (foreign, or of an earlier version) is used
    only if every record that it skips was judged.
R4  An offset outside the log is never replaced silently.
R5  The epoch of a start is that of the last record before it, as committed or as in the ledger;
    else it is unknown.
R6  A value of ACCEPT names one case. It never accepts the next one.

The cases, in the order in which they are decided:

    commit          what is found                                  the assignment starts
    -------------   --------------------------------------------   ---------------------------------------
    none            -                                              at the beginning
    newer version   -                                              not: upgrade this member first
    foreign         a skipped record has no fact                   not, unless ACCEPT=skipped-...
                    the last judged record is in the log           after that record, with its epoch
                    anything else                                  at the commit, with the epoch it names
    ours            the source topic was recreated                 at the beginning
                    the ledger was recreated, cut or emptied       not, unless ACCEPT=ledger-lost-...
                    the newest entry has another destination       not, unless ACCEPT=destination-changed-...
                    of an earlier version, and moved forward       not, unless ACCEPT=skipped-...
                    markers follow the last record                 after that record, with the epoch
                    markers follow; the record itself is deleted   at the commit, epoch unknown
                    anything else                                  at the commit, with the epoch
    any of these    the start is outside the log                   not, unless OFFSET_OUT_OF_RANGE=earliest:
                    the log was truncated below a start that is    then at the beginning
                    ours or has an epoch

What must change together. A check that needs entries of the ledger must wait while `unread`. A
stretch that `in_doubt` returns is read by `LedgerReader`, which alone sees the source. A new
refusal needs a row above and in docs/how-it-works.md#what-a-commit-rests-on, and, if ACCEPT can
overrule it, everything that makes its case in `accept_value`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from connector.core.commit_metadata import LedgerPosition, RestsOn, is_newer, names_its_offset, parse_metadata
from connector.core.dedupe import Seen, SeenKeys
from connector.core.landmarks import Landmarks
from connector.core.offsets import ResolvedOffsets
from connector.model import UNKNOWN_EPOCH, LedgerIdentity, Outcome

__all__ = [
    "CommittedOffset",
    "OutOfRange",
    "PartitionState",
    "Recovery",
    "Refusal",
    "Restoration",
    "Written",
    "accept_value",
]


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """Commit of the group for a partition."""

    next_offset: int
    epoch: int
    metadata: str


@dataclass(frozen=True, slots=True)
class PartitionState:
    """State of a source partition and its ledger partition, as read at the brokers."""

    first_offset: int
    end_offset: int
    committed: CommittedOffset | None
    ledger: LedgerPosition
    """End of the ledger partition."""
    ledger_first: int = 0
    """First offset of the ledger partition."""
    now_ms: int = 0
    """Wall clock in milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """Setting ``OFFSET_OUT_OF_RANGE``: what to do with a committed offset outside the log."""

    to_earliest: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why a partition is not started."""

    message: str
    """What happened and what to do; names the value of ``ACCEPT`` that goes on, if there is one."""


@dataclass(slots=True)
class Recovery:
    """Everything that an assignment starts with."""

    offset: int
    epoch: int
    position: LedgerPosition
    """Position up to which the ledger was read."""
    topic_id: str
    seen: Seen
    resolved: ResolvedOffsets
    note: str
    """Reason for the start, for one log line."""
    committed: bool = True
    """Whether ``offset`` is what the group has committed."""
    landmarks: Landmarks = field(default_factory=Landmarks)
    """Landmarks of the ledger as read, for the commits to come."""


class Written(NamedTuple):
    """Place and time of an entry in the ledger."""

    offset: int = 0
    append_ms: int = 0
    """Append time by the brokers' clock; 0 if the brokers have none."""
    start: int | None = None
    """First offset of the assignment that the entry opened; None for any other entry."""


class _Start(NamedTuple):
    offset: int
    epoch: int
    note: str
    ours: bool = False
    """Whether the start is a commit of ours, whose epoch belongs to the record before it."""


def accept_value(code: str, *case: str | bytes) -> str:
    """Return the value of ``ACCEPT`` that accepts one case and not the next one."""
    text = b"\x00".join(part if isinstance(part, bytes) else part.encode() for part in case)
    return f"{code}-{blake2b(text, digest_size=4).hexdigest()}"


@dataclass(slots=True)
class Restoration:
    """Takes in a ledger partition entry by entry, then decides where to start.

    What an entry contributes depends on whose it is (docs/how-it-works.md#a-fact-names-its-record,
    docs/how-it-works.md#the-ledger):

        it differs in                     its facts        its keys
        -------------------------------   --------------   -------------
        cluster, topic or group           the partition is refused
        destination                       resolve nothing  do not count
        fields of the dedupe key          resolve          do not count
        topic id, or epoch of the fact    resolve nothing  count as seen
    """

    identity: LedgerIdentity
    accept: frozenset[str] = frozenset()
    retention_ms: int = 0
    """Minimum time for which the ledger keeps an entry; 0 if unknown."""
    committed: CommittedOffset | None = None
    """Commit of the group when the ledger was read."""
    seen: Seen = field(default_factory=SeenKeys)
    resolved: ResolvedOffsets = field(default_factory=ResolvedOffsets)
    facts: int = 0
    accepted: list[str] = field(default_factory=list)
    """Values of ``ACCEPT`` that were needed to go on."""
    _landmarks: Landmarks = field(init=False)
    _named: dict[int, int] = field(default_factory=dict)
    """Append times of the landmarks that the commit names, by offset."""
    _replaced: int | None = None
    """First offset at which another entry stands than the commit names."""
    _newest_ms: int = 0
    """Latest append time of an entry, by the brokers' clock."""
    _last_destination: bytes | None = None
    _judged_from: int | None = None
    """First offset of the latest assignment that an entry opened."""
    _lowest_fact: int | None = None

    def __post_init__(self) -> None:
        """Start with no landmarks of the ledger, and with those that the commit names."""
        self._landmarks = Landmarks(self.retention_ms)
        rests_on = parse_metadata(self.committed.metadata) if self.committed is not None else None
        if rests_on is not None:
            self._named = dict(rests_on.landmarks.places)

    def take(
        self,
        header: LedgerIdentity,
        runs: Iterable[tuple[int, int, Outcome, int]],
        keys: bytes,
        times: Iterable[int],
        written: Written = Written(),  # noqa: B008 - immutable
    ) -> Refusal | None:
        """Take in one entry, in order of offset; return a refusal if it is another connector's.

        A run is (first offset, length, outcome, leader epoch). ``keys`` and ``times`` are those of
        the delivered events: packed digests of dedupe keys, and event times in milliseconds.
        """
        mine = self.identity
        if (header.cluster_id, header.source_topic, header.group) != (mine.cluster_id, mine.source_topic, mine.group):
            return Refusal(
                f"the ledger holds facts of topic {header.source_topic!r}, group {header.group!r}, "
                f"cluster {header.cluster_id!r}; give this connector a ledger of its own: set LEDGER_TOPIC"
            )
        if written.append_ms:
            self._landmarks.passed(written.offset, written.append_ms)
            self._newest_ms = max(self._newest_ms, written.append_ms)
            if self._named.get(written.offset, written.append_ms) != written.append_ms and self._replaced is None:
                self._replaced = written.offset
        self._last_destination = header.destination
        if header.destination != mine.destination:
            return None
        if header.dedupe_key == mine.dedupe_key:
            self.seen.add_packed(keys, times, written.append_ms)
        if header.source_topic_id == mine.source_topic_id:
            self._take_facts(runs)
            if written.start is not None:
                self._judged_from = written.start
        return None

    def _take_facts(self, runs: Iterable[tuple[int, int, Outcome, int]]) -> None:
        lowest = self._lowest_fact
        for first, length, _, epoch in runs:
            self.resolved.add(first, length, epoch)
            self.facts += length
            lowest = first if lowest is None or first < lowest else lowest
        self._lowest_fact = lowest

    def in_doubt(self, state: PartitionState) -> tuple[int, int] | None:
        """Return the offsets, first and end, to be read before a commit of R3 is used, if any.

        A record without a fact there would be skipped unjudged. The stretch begins with the last
        record known to be judged: if the log still has it under the same leader epoch, it has all
        before it too. A log that lost judged records may have new ones anywhere: all is read.
        """
        committed, begin = state.committed, self._lowest_fact if self._judged_from is None else self._judged_from
        if committed is None or begin is None or names_its_offset(committed.metadata):
            return None
        begin, end = min(begin, committed.next_offset), committed.next_offset
        if end > state.end_offset:
            return None
        judged_to = min(self.resolved.first_missing(begin), end)
        last = self.resolved.last_below(judged_to)
        first = begin if last is None or last[0] < begin - 1 else last[0]
        first = state.first_offset if self._was_cut(state, committed) else max(first, state.first_offset)
        return (first, end) if first < end else None

    def _was_cut(self, state: PartitionState, committed: CommittedOffset) -> bool:
        """Return whether the log lost judged records, by its end or by their leader epochs."""
        judged_to = max(self._judged_from or 0, self.resolved.end)
        return judged_to > state.end_offset or self.resolved.has_older(committed.next_offset, committed.epoch)

    def never_began(self, state: PartitionState) -> bool:
        """Return whether a foreign commit skips records of a partition unknown to the ledger."""
        committed = state.committed
        if committed is None or self._judged_from is not None or self._lowest_fact is not None:
            return False
        return parse_metadata(committed.metadata) is None and state.first_offset < committed.next_offset

    def finish(
        self,
        state: PartitionState,
        out_of_range: OutOfRange,
        *,
        truncated: bool = False,
        skipped: int | None = None,
        unread: bool = False,
    ) -> Recovery | Refusal:
        """Decide where to start, after the last entry.

        ``truncated``: the log was cut below our position and grew again, so the committed offset
        now names another record. This is handled like an offset outside the log
        (docs/how-it-works.md#what-a-commit-rests-on). ``skipped``: the first record in the stretch
        of `in_doubt` that has no fact. ``unread``: no entry has been taken in yet, so only what
        needs no entry is refused. The age of a missing landmark needs entries: their append times
        are the brokers' clock, and the clock of this host may be hours behind.
        """
        found = self._start(state, skipped, unread=unread)
        if isinstance(found, Refusal):
            return found
        offset, epoch, note, ours = found
        vouched = ours or epoch != UNKNOWN_EPOCH
        outside = not state.first_offset <= offset <= state.end_offset
        if outside or (truncated and vouched):
            what = (
                f"offset {offset} is outside the log ({state.first_offset} to {state.end_offset}): "
                "records were deleted before they were read, or the log was truncated"
                if outside
                else f"offset {offset} has leader epoch {epoch}, under which the log does not reach it: the log was "
                "truncated and grew again, so that other records stand there, or an epoch was committed that is too high"
            )
            if not out_of_range.to_earliest:
                return Refusal(f"the committed {what}. OFFSET_OUT_OF_RANGE=earliest goes on from {state.first_offset}")
            note = f"{what}. From the beginning of the log"
            offset, epoch = state.first_offset, UNKNOWN_EPOCH
        if not ours and self.resolved.end > offset:
            note += f"; {self.facts} records are resolved in the ledger and not sent again (a new group id would)"
        if self.accepted:
            note += f"; ACCEPT={','.join(self.accepted)}"
        # Runs below the start are never looked up, and there may be many: eight days at one flush a
        # second make 0.7 million.
        resolved = self.resolved if self.resolved.end > offset else ResolvedOffsets()
        used = state.committed is not None and state.committed.next_offset == offset
        topic_id = self.identity.source_topic_id
        return Recovery(offset, epoch, state.ledger, topic_id, self.seen, resolved, note, used, self._landmarks)

    def _start(self, state: PartitionState, skipped: int | None, *, unread: bool) -> _Start | Refusal:
        committed = state.committed
        if committed is None:
            return _Start(state.first_offset, UNKNOWN_EPOCH, "no committed offset: from the beginning")
        rests_on = parse_metadata(committed.metadata)
        if rests_on is None:
            return self._not_ours(committed, state, skipped)
        if rests_on.topic_id != self.identity.source_topic_id:
            note = "the topic was recreated since the last commit: from the beginning"
            return _Start(state.first_offset, UNKNOWN_EPOCH, note)
        refusal = self._ledger_lost(rests_on, state, unread=unread) or self._destination_changed()
        if refusal is not None:
            return refusal
        start = _Start(committed.next_offset, committed.epoch, "from the committed offset", ours=True)
        if rests_on.after_last_record is None:
            return self._skips(committed, skipped) or start
        # A tool may have kept the metadata and changed the offset: what was judged, the metadata
        # says. The committed epoch is that of the last record. The markers after it may have later
        # epochs.
        if state.first_offset <= rests_on.after_last_record:
            return start._replace(offset=rests_on.after_last_record)
        return start._replace(epoch=UNKNOWN_EPOCH)

    def _not_ours(self, committed: CommittedOffset, state: PartitionState, skipped: int | None) -> _Start | Refusal:
        if is_newer(committed.metadata):
            return Refusal(
                "the group's commits were written by a newer version of this connector: upgrade this member first"
            )
        if (refusal := self._skips(committed, skipped)) is not None:
            return refusal
        start = _Start(committed.next_offset, committed.epoch, "from an offset that an operator set")
        last, doubt = self.resolved.last_below(committed.next_offset), self.in_doubt(state)
        if skipped is None and last is not None and doubt is not None and doubt[0] <= last[0]:
            # No record stands between the last judged record and the commit, so start after that
            # record. Its epoch shows a truncated log before the first record is read. Without an
            # epoch the client reads on from the offset, even if new unjudged records stand below it
            # by then.
            return start._replace(offset=last[0] + 1, epoch=last[1])
        return start

    def _skips(self, committed: CommittedOffset, skipped: int | None) -> Refusal | None:
        case = (self.identity.source_topic_id, str(self.identity.partition), str(committed.next_offset), str(skipped))
        accept = accept_value("skipped", *case)
        if skipped is None or self._accepts(accept):
            return None
        return Refusal(
            f"the committed offset {committed.next_offset} is not this connector's, and the record at offset {skipped} "
            "below it has no fact: another consumer committed in this group, or its offsets were reset, and records that "
            "were never judged would be skipped. Give that consumer a group of its own, and set this group's "
            f"offset to {skipped} (kafka-consumer-groups.sh --reset-offsets --to-offset {skipped}); or skip the "
            f"records with ACCEPT={accept}"
        )

    def _accepts(self, accept: str) -> bool:
        if accept in self.accept:
            self.accepted.append(accept)
            return True
        return False

    def _ledger_lost(self, rests_on: RestsOn, state: PartitionState, *, unread: bool) -> Refusal | None:
        next_offset, then, ledger = rests_on.ledger.next_offset, rests_on.ledger.topic_id, state.ledger
        if next_offset == 0:
            return None
        same = then == ledger.topic_id
        if not same or ledger.next_offset < next_offset:
            what = f"ends at {ledger.next_offset}" if same else "was recreated"
            what += f", but the commit rests on its offset {next_offset}"
            # A ledger that was cut short keeps its topic id, so the missing offset names the case.
            case = str(next_offset) if same else ""
        elif self._replaced is not None:
            what = (
                f"was cut short and grew again: the entry at its offset {self._replaced} is not the one the commit rests on"
            )
            case = f"another at {self._replaced}"
        elif unread:
            return None
        else:
            now_ms = max(state.now_ms, self._newest_ms)
            missing = rests_on.landmarks.missing(state.ledger_first, self.retention_ms, now_ms)
            if missing is None:
                return None
            what = (
                f"begins at {state.ledger_first}, but its entry {missing.offset} is younger than its retention "
                "(kafka-delete-records, or a retention that was lowered and put back"
                + (")" if self._newest_ms else "; or the clock of this host is behind: no entry is left to compare it with)")
            )
            case = f"begins at {state.ledger_first}"
        accept = accept_value("ledger-lost", then, ledger.topic_id, case)
        if self._accepts(accept):
            return None
        return Refusal(
            f"the ledger {what}: facts are missing, and events delivered before may be sent again. Restore the ledger "
            f"topic, or go on with ACCEPT={accept}"
        )

    def _destination_changed(self) -> Refusal | None:
        last, mine = self._last_destination, self.identity.destination
        if last is None or last == mine:
            return None
        accept = accept_value("destination-changed", last, mine)
        if self._accepts(accept):
            return None
        return Refusal(
            "this group has delivered to another destination (contract, base URL, account or data set changed). A new "
            f"KAFKA_GROUP_ID sends the backlog to the new destination; ACCEPT={accept} goes on from here"
        )
