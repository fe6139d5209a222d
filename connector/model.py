"""The nouns of the connector (docs/how-it-works.md#words). Values without behaviour; a leaf that imports nothing of ours.

What crosses into ``core/`` per poll is a `Poll`: columns, one entry a record. A payload is the event as it will stand in
the request, encoded once to bytes when it is decoded: the core never looks inside, a batch is a join, its size is known
exactly, and a re-send is byte for byte the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple

__all__ = [
    "DELIVERED",
    "NO_VERDICT",
    "UNKNOWN_EPOCH",
    "Answer",
    "Event",
    "Facts",
    "Failure",
    "Flaw",
    "LedgerIdentity",
    "Manner",
    "Moment",
    "Outcome",
    "Poll",
    "Reason",
    "RequestFailed",
    "TopicDescription",
    "TopicPartition",
    "Verdict",
    "VerdictKind",
    "Verdicts",
    "missing",
]

UNKNOWN_EPOCH = -1
"""The leader epoch of a record whose broker did not say; it equals only itself
(docs/how-it-works.md#a-fact-names-its-record)."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        """Write it as Kafka's tools do."""
        return f"{self.topic}-{self.partition}"


class Moment(NamedTuple):
    """The clocks and a draw of chance, taken once by the shell and handed to the core with every input."""

    wall_ms: int
    """Milliseconds since 1970 UTC: for ages of events, never for durations."""
    monotonic: float
    """Seconds since some fixed point: for durations."""
    last_poll: float
    """The monotonic second at which the consumer thread last polled."""
    vouched: float
    """The monotonic second at which the last question was asked that the group's coordinator has answered to us as a member
    of its group; minus infinity before the first, and once it has said that we are none."""
    chance: float
    """Drawn from [0, 1) for this moment: the jitter of back-offs."""


class Outcome(IntEnum):
    """What became of a resolved record. The numbers stand in the ledger: never reuse one."""

    DELIVERED = 1
    DUPLICATE = 2
    STALE = 3
    IGNORED = 4
    DEAD_LETTERED = 5


class Reason(StrEnum):
    """Why a record became a dead letter: the header ``connector.reason``, a label of a metric."""

    UNDECODABLE = "undecodable"
    UNKNOWN_SCHEMA = "unknown-schema"
    IMPLAUSIBLE_TIME = "implausible-time"
    MISSING_FIELD = "missing-field"
    INVALID_FIELD = "invalid-field"
    NO_MATCH_KEY = "no-match-key"
    MISSING_CONSENT = "missing-consent"
    TOO_LARGE = "too-large"
    REJECTED = "rejected"
    NO_VERDICT = "no-verdict"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A broken rule, in the place of a payload."""

    reason: Reason
    """Of the first rule broken."""
    detail: str
    """Every field and rule broken; never a value of the event."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a dead letter is written: as its record is, or, where its topic refuses that, in another way."""

    alone: bool = False
    """In a batch of its own. Brokers take or refuse a batch as a whole, so only of such a letter
    is it known that the refusal is its own."""
    now: bool = False
    """With the time of now."""
    left_out: int = 0
    """Without so many of its value, headers and key, the largest first."""


@dataclass(slots=True)
class Poll:
    """Records of one partition, as columns of equal length, in offset order."""

    partition: TopicPartition
    generation: int
    """The assignment they were polled under."""
    offsets: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    """Leader epochs, or `UNKNOWN_EPOCH`."""
    times: list[int | None] = field(default_factory=list)
    """Event times in milliseconds since 1970 UTC; None where the record has none that can be read."""
    keys: list[bytes | None] = field(default_factory=list)
    """16-byte digests of the dedupe key; None for an event without one."""
    payloads: list[bytes | Flaw | None] = field(default_factory=list)
    """The event as it will stand in the request; a flaw; None for a record without a value."""
    sizes: list[int] = field(default_factory=list)
    """Bytes each record holds in memory while it is unresolved: payload, and key and value as polled."""
    records: list[object] = field(default_factory=list)
    """The records as polled, opaque: they travel to the dead-letter topic byte for byte."""
    reached: int = 0
    """Where the log ended after them for a reader of committed records: below it stands no other record. 0 where unknown."""


@dataclass(slots=True, eq=False)
class Event:
    """A decoded record on its way: buffered, waiting or in flight. The one object per record that the core holds."""

    generation: int
    """Names the assignment it was polled under; unique among all assignments of all partitions of the process."""
    offset: int
    epoch: int
    time_ms: int
    key: bytes | None
    payload: bytes
    size: int
    """Bytes it holds in memory while unresolved."""
    record: object
    since: float
    """Monotonic second at which it was buffered."""
    tries: int = 0
    """Answers so far that gave it no final verdict."""


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """Owner of the facts in a ledger entry: the fields of the same names in ``schemas/ledger_entry.avsc``."""

    cluster_id: str
    source_topic: str
    source_topic_id: str
    partition: int
    group: str
    destination: bytes
    """Fingerprint of contract, base URL, account and data set."""
    dedupe_key: bytes
    """Fingerprint of the fields that make the dedupe key."""


@dataclass(slots=True)
class Facts:
    """Facts of one partition, as columns of equal length: what became of which offset."""

    offsets: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    """16-byte digests, for delivered events that have a dedupe key; else None."""
    times: list[int] = field(default_factory=list)
    """Event times in milliseconds, for delivered events; else 0."""
    start: int | None = field(default=None, compare=False, kw_only=True)
    """Where the assignment begins that these facts open; said in an entry without facts only."""

    def __len__(self) -> int:
        """Count the facts."""
        return len(self.offsets)

    def add(self, offset: int, epoch: int, outcome: Outcome, key: bytes | None = None, time_ms: int = 0) -> None:
        """Append one fact."""
        self.offsets.append(offset)
        self.epochs.append(epoch)
        self.outcomes.append(outcome)
        self.keys.append(key)
        self.times.append(time_ms)

    def extend(self, more: Facts) -> None:
        """Append the facts of another."""
        for mine, theirs in zip(self._columns(), more._columns(), strict=True):
            mine.extend(theirs)

    def split(self, count: int) -> tuple[Facts, Facts]:
        """Return the first ``count`` facts, and the rest."""
        if count >= len(self):
            return self, Facts()
        return Facts(*(c[:count] for c in self._columns())), Facts(*(c[count:] for c in self._columns()))

    def _columns(self) -> tuple[list[Any], ...]:
        return self.offsets, self.epochs, self.outcomes, self.keys, self.times


class VerdictKind(Enum):
    """Of Amazon, on one event."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    RETRY = "retry"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Amazon said of one event."""

    kind: VerdictKind
    detail: str = ""
    """Amazon's codes and field locations, safe to write down: never a value of the event."""
    account: str = ""
    """Of a retry: what to tell an operator, where it was refused for the account and not for what it holds."""


DELIVERED = Verdict(VerdictKind.DELIVERED)
NO_VERDICT = Verdict(VerdictKind.NONE)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A request answered per event."""

    verdicts: list[Verdict]
    """One an event, in the order of the request."""
    status: int = 207
    anomalies: tuple[str, ...] = ()
    """Oddities of the answer, as labels of ``connector_response_anomalies_total{kind}``."""


class Failure(Enum):
    """Whose fault it is that a request failed as a whole, and so what is done (docs/how-it-works.md#shared-failures)."""

    NOT_SENT = "not-sent"
    """We did not start it after all: a matter of our own, and no sign of anything."""
    TRANSIENT = "transient"
    """The vendor or the network: send again after a backoff."""
    TIMEOUT = "timeout"
    """The same, and a sign of congestion."""
    UNREADABLE = "unreadable"
    """Something answered, and not in HTTP or not to its end: send again, and several in a row need an operator."""
    THROTTLED = "throttled"
    """Every request of the process waits."""
    TOO_LARGE = "too-large"
    """Split the batch."""
    REFUSED = "refused"
    """One event may be the cause, or a setting: split the batch to find out."""
    OPERATOR = "operator"
    """Credentials, account or settings: pause, say so, turn unready, and go on trying."""


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request without verdicts on its events; never a reason to dead-letter one."""

    failure: Failure
    reason: str
    """A short code for logs and metrics, as ``http-503``, ``timeout``, ``connect``, ``invalid_grant``."""
    retry_after: float | None = None
    """Seconds the vendor asked to wait."""
    status: int | None = None
    detail: str = ""
    """A sentence for the operator; never a value of an event, never a token."""
    anomalies: tuple[str, ...] = ()
    account: str = ""
    """What to tell an operator where every event was refused for itself, but for the account: while others pass, these alone
    have to wait."""


Answer = Verdicts | RequestFailed


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as the brokers describe it."""

    name: str
    topic_id: str
    partitions: int
    replication: int
    may: frozenset[str]
    """Operations this client is authorised for, in Kafka's names; empty if the broker did not say."""

    def lacks(self, *operations: str) -> list[str]:
        """Return which of these operations this client may not do."""
        return missing(self.may, operations)


def missing(may: Collection[str], operations: Iterable[str]) -> list[str]:
    """Return which operations a client may not do; none if nothing is known of what it ``may`` do."""
    return [] if not may or "ALL" in may else [operation for operation in operations if operation not in may]
