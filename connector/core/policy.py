"""Everything the pipeline is told once, before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.core.dedupe import DedupePolicy
from connector.core.dispatch import DispatchPolicy
from connector.core.freshness import FreshnessPolicy

__all__ = ["BufferPolicy", "FlushPolicy", "Policy"]


@dataclass(frozen=True, slots=True)
class BufferPolicy:
    """How many records may be held unresolved, and how much of that is left for polls under way.

    The maximum holds as long as the polls under way when the pipeline pauses fit into the headroom.
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
    """Facts not confirmed yet, of all partitions. Beyond it nothing more is sent.

    Once half as many wait that could be written, they are, whatever the interval: else no more than
    this many events could pass in one interval.
    """
    max_silence_seconds: float = 5.0
    """How long facts may be under way, with none confirmed of any partition, before sending stops.

    A process that cannot reach the brokers may have lost its partitions to another member, which
    sends again all that is not written down.
    """


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of the pipeline and of its parts."""

    freshness: FreshnessPolicy
    dedupe: DedupePolicy
    dispatch: DispatchPolicy
    buffer: BufferPolicy
    drain_seconds: float
    """How long a partition that is taken away, or a shutdown, waits for what is in flight."""
    flush: FlushPolicy = field(default_factory=FlushPolicy)
    stop_on_verdict: bool = False
    """``ON_VERDICT=stop``."""
    session_seconds: float = float("inf")
    """How long the coordinator may be silent before partitions count as lost and begin anew.

    Infinite with the classic protocol: its client watches the session itself, and may wait longer
    for a rebalance that other members hold up.
    """
