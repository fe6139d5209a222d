"""The nouns of the connector (docs/how-it-works.md#words): values without behaviour.

This module imports nothing of ours.

Each poll crosses into ``core/`` as a `Poll`: columns with one entry per record. A payload is the
event as it will stand in the request. It is encoded to bytes once, when the record is decoded, and
the core never looks inside. So a batch is a join of payloads, its size is known exactly, and a
second send has the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple

__all__ = [
    "DEDUPE_INPUTS",
    "DELIVERED",
    "NO_VERDICT",
    "REQUIRED_INPUTS",
    "SINGLE_INPUTS",
    "UNKNOWN_EPOCH",
    "Answer",
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
    "natural_order",
]

UNKNOWN_EPOCH = -1
"""Leader epoch of a record whose broker did not report one. It equals only itself
(docs/how-it-works.md#a-fact-names-its-record)."""

DEDUPE_INPUTS = (
    "name",
    "eventType",
    "eventActionSource",
    "clientDedupeId",
    "timestamp",
    "value",
    "currencyCode",
    "unitsSold",
    "countryCode",
)
"""Inputs of an event that the dedupe key may be made of: they can identify the event."""

SINGLE_INPUTS = (
    *DEDUPE_INPUTS,
    "dataProcessingOptions",
    "dataSetName",
    "userAgent",
    "arefMeasurementTokens",
    "amazonAdEventKey",
    "partner",
)
"""Inputs that are one value each, by the names of their fields in
``schemas/conversion_event.avsc``. The others are match keys, consent, custom attributes and custom
data."""

REQUIRED_INPUTS = ("name", "eventType", "eventActionSource", "timestamp", "countryCode")
"""Single inputs that every event needs. It also needs a match key."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        """Return the partition as Kafka's tools write it."""
        return f"{self.topic}-{self.partition}"


def natural_order(partition: str) -> tuple[str, int]:
    """Return the sort key that puts ``topic-10`` after ``topic-9``.

    A text without a number sorts as 0.
    """
    topic, _, number = partition.rpartition("-")
    return topic, int(number) if number.isdecimal() else 0


class Moment(NamedTuple):
    """The clocks and one draw of chance, which the shell passes to the core with each input."""

    wall_ms: int
    """Milliseconds since 1970 UTC; for ages of events, never for durations."""
    monotonic: float
    """Seconds since some fixed point; for durations."""
    last_poll: float
    """Monotonic second at which the consumer thread last polled."""
    vouched: float
    """Monotonic second at which this member made the latest commit that the group's coordinator
    took. Minus infinity before the first one, and once the coordinator has said that it is no
    member."""
    chance: float
    """Random number from [0, 1), for the jitter of back-offs."""


class Outcome(IntEnum):
    """What became of a resolved record. The ledger holds the numbers, so never reuse one."""

    DELIVERED = 1
    DUPLICATE = 2
    STALE = 3
    IGNORED = 4
    DEAD_LETTERED = 5


class Reason(StrEnum):
    """Reason for a dead letter: the header ``connector.reason`` and a label of a metric."""

    UNDECODABLE = "undecodable"
    UNKNOWN_SCHEMA = "unknown-schema"
    UNMAPPED = "unmapped"
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
    """A broken rule. It takes the place of a payload."""

    reason: Reason
    """Code of the first rule broken."""
    detail: str
    """Every field and rule broken; never a value of the event."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a dead letter is written: as its record, or otherwise if the topic refused that."""

    alone: bool = False
    """Whether the letter goes in a batch of its own. Brokers accept or refuse a batch as a whole,
    so only then is it certain which letter was refused."""
    now: bool = False
    """Whether the letter gets the current time as its timestamp."""
    left_out: int = 0
    """How many of value, headers and key are left out, the largest first."""


@dataclass(slots=True)
class Poll:
    """Records of one partition, as columns of equal length, in offset order."""

    partition: TopicPartition
    generation: int
    """Number of the assignment that the records were polled under."""
    offsets: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    """Leader epoch of each record, or `UNKNOWN_EPOCH`."""
    times: list[int | None] = field(default_factory=list)
    """Event times in milliseconds since 1970 UTC; None for a record without a readable one."""
    keys: list[bytes | None] = field(default_factory=list)
    """16-byte digests of the dedupe key; None for an event without one."""
    payloads: list[bytes | Flaw | None] = field(default_factory=list)
    """Event as it will stand in the request, or the rule it broke; None for a record without a
    value."""
    sizes: list[int] = field(default_factory=list)
    """Bytes that each record takes in memory until it is resolved: payload, and key, value and
    headers as polled."""
    records: list[object] = field(default_factory=list)
    """Records as polled, opaque to the core. A dead letter is written from them byte for byte."""
    read_end: int = 0
    """End of the log for a reader of committed records, if these records reach it; else 0. Between
    the last of them and this offset stands no other record."""


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """Owner of the facts in a ledger entry; has the fields of ``schemas/ledger_entry.avsc``."""

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
    """Facts of one partition, as columns of equal length. A fact is what became of an offset."""

    offsets: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    """16-byte digests of the dedupe keys of delivered events; None for other facts, and without a
    key."""
    times: list[int] = field(default_factory=list)
    """Event times of delivered events, in milliseconds since 1970 UTC; 0 for other facts."""
    start: int | None = field(default=None, compare=False, kw_only=True)
    """First offset of the assignment that an empty entry opens; None in any entry with facts."""

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
        """Append other facts."""
        for mine, theirs in zip(self._columns(), more._columns(), strict=True):
            mine.extend(theirs)

    def split(self, count: int) -> tuple[Facts, Facts]:
        """Split into the first ``count`` facts and the rest."""
        if count >= len(self):
            return self, Facts()
        return Facts(*(c[:count] for c in self._columns())), Facts(*(c[count:] for c in self._columns()))

    def _columns(self) -> tuple[list[Any], ...]:
        return self.offsets, self.epochs, self.outcomes, self.keys, self.times


class VerdictKind(Enum):
    """Kind of verdict by Amazon on one event."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    RETRY = "retry"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Amazon's verdict on one event."""

    kind: VerdictKind
    detail: str = ""
    """Amazon's codes and field locations; never a value of the event, so safe to log."""
    account: str = ""
    """Message for an operator if the event was refused because of the account, not its content;
    only for a retry."""


DELIVERED = Verdict(VerdictKind.DELIVERED)
NO_VERDICT = Verdict(VerdictKind.NONE)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Answer to a request, with a verdict on each event."""

    verdicts: list[Verdict]
    """One verdict per event, in the order of the request."""
    status: int = 207
    anomalies: tuple[str, ...] = ()
    """Oddities of the answer: values of the label in
    ``connector_response_anomalies_total{kind}``."""


class Failure(Enum):
    """Kind of failure of a whole request; decides what is done about it.

    docs/how-it-works.md#shared-failures describes the rules.
    """

    NOT_SENT = "not-sent"
    """The request was not started after all, for a reason of ours. Says nothing about Amazon."""
    TRANSIENT = "transient"
    """Amazon or the network failed: send again after a back-off."""
    TIMEOUT = "timeout"
    """No answer in time: as transient, and a sign of congestion."""
    UNREADABLE = "unreadable"
    """The answer was not HTTP, or was cut short: send again. Several in a row need an operator."""
    RETRY_ALL = "retry-all"
    """Amazon answered that every event is to be sent again: as transient, and a try of each
    event."""
    THROTTLED = "throttled"
    """Amazon throttles: every request of the process waits."""
    TOO_LARGE = "too-large"
    """The body is too large: split the batch."""
    REFUSED = "refused"
    """One event is the cause, or a setting: split the batch to find out."""
    OPERATOR = "operator"
    """Credentials, account or settings are wrong: pause, report it, turn unready, and keep
    trying."""


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """Failure of a whole request, without verdicts on events. Makes no dead letter by itself."""

    failure: Failure
    reason: str
    """Short code for logs and metrics, such as ``http-503``, ``timeout``, ``connect``,
    ``invalid_grant``."""
    retry_after: float | None = None
    """Seconds that Amazon asked us to wait."""
    status: int | None = None
    detail: str = ""
    """Message for the operator; never a value of an event, never a token."""
    anomalies: tuple[str, ...] = ()
    account: str = ""
    """Message for an operator if each event was refused by itself, but because of the account.
    While other events pass, only these have to wait."""


Answer = Verdicts | RequestFailed


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """Description of a topic by the brokers."""

    name: str
    topic_id: str
    partitions: int
    replication: int
    may: frozenset[str]
    """Operations that this client is authorised for, by Kafka's names; empty if the broker did not
    say."""

    def lacks(self, *operations: str) -> list[str]:
        """Return those of the operations that this client is not authorised for."""
        return missing(self.may, operations)


def missing(may: Collection[str], operations: Iterable[str]) -> list[str]:
    """Return the operations not among ``may``; none if ``may`` is empty, which means unknown."""
    return [] if not may or "ALL" in may else [operation for operation in operations if operation not in may]
