"""Everything the pipeline is told once, before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.core.dedupe import DedupePolicy
from connector.core.dispatch import DispatchPolicy
from connector.core.freshness import FreshnessPolicy

__all__ = ["BufferPolicy", "FlushPolicy", "Policy"]


@dataclass(frozen=True, slots=True)
class BufferPolicy:
    """Maximum number of unresolved records, and the headroom in it for polls in progress.

    The maximum holds as long as polls in progress fit into the headroom when the pipeline pauses.
    """

    max_events: int
    max_bytes: int
    headroom_events: int = 0
    headroom_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """When facts go to the ledger (docs/how-it-works.md#the-ledger)."""

    interval_seconds: float = 1.0
    max_facts: int = 10_000
    """Facts per entry: about 0.25 MB, below any sensible ``max.message.bytes``."""
    max_unconfirmed: int = 50_000
    """Maximum number of unconfirmed facts of all partitions. At the maximum, sending stops.

    Facts are written before their interval ends once half the maximum is waiting. Otherwise the
    interval would limit throughput to this many events.
    """
    max_silence_seconds: float = 5.0
    """Time without any confirmed fact, while facts are being written, after which sending stops.

    A process that cannot reach the brokers may have lost its partitions to another member. That
    member sends every event again whose fact is not in the ledger.
    """


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of the pipeline and of its parts."""

    freshness: FreshnessPolicy
    dedupe: DedupePolicy
    dispatch: DispatchPolicy
    buffer: BufferPolicy
    drain_seconds: float
    """How long a revoke or a shutdown waits for events in flight."""
    flush: FlushPolicy = field(default_factory=FlushPolicy)
    stop_on_verdict: bool = False
    """``ON_VERDICT=stop``."""
    session_seconds: float = float("inf")
    """How long the coordinator may be silent before partitions count as lost and begin anew.

    Infinite with the classic protocol: its client watches the session itself, and may wait longer
    for a rebalance that other members hold up.
    """
