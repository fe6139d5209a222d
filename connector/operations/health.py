"""The answers of the probes, with their reasons.

Live: the consumer's thread polls.

Ready: the member is in its group, each assigned partition is restored, the brokers accept this
client, the group's coordinator answers, and nothing needs an operator. The connector stays ready
while Amazon is down or slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from connector.model import TopicPartition

__all__ = ["Health", "Vitals"]

_STILL_SECONDS = 60.0
"""Time without a poll, beyond a drain's time-out, after which the consumer's thread counts as
hung."""
_REFUSED_SECONDS = 15.0
"""How long a reported refusal counts. The client connects again, and is refused again, every 10
s."""
_LEAST_SILENCE_SECONDS = 30.0
"""Minimum silence before brokers count as unreachable. While a broker is being replaced, the
monitor's questions about topics and group can take this long."""


@dataclass(frozen=True, slots=True)
class Health:
    """The answers of both probes."""

    not_live: str | None
    """Why the process should be restarted; None while it is live."""
    not_ready: tuple[str, ...]
    """Why the connector is not ready; empty while it is."""


class _Member(Protocol):
    """The consumer as the probes see it. Its times are those of ``time.monotonic``."""

    @property
    def last_poll(self) -> float:
        """When the consumer last polled."""

    @property
    def vouched(self) -> float:
        """When the member made the latest commit that the coordinator took."""

    @property
    def refused(self) -> tuple[float, str] | None:
        """When the brokers last refused the client, and why; None if they never did."""

    @property
    def joined(self) -> bool:
        """Whether the member is in its group."""

    def partitions(self) -> Collection[object]:
        """Return the assigned partitions."""


class _Watch(Protocol):
    """The monitor of topics and group as the probes see it."""

    @property
    def answered(self) -> float:
        """When the coordinator last answered the monitor."""


class _Blockers(Protocol):
    """What needs an operator besides the pipeline."""

    @property
    def lacks(self) -> Sequence[str]:
        """Messages about rights that the brokers do not grant."""

    @property
    def no_login(self) -> Sequence[str]:
        """Messages about what Kafka's clients lack to log in."""

    @property
    def denied_schemas(self) -> Sequence[str]:
        """Messages about a schema registry that refuses this client."""


class Vitals:
    """Judges the health of a running connector.

    ``paused`` counts the partitions that are held up, by reason. ``needs_operator`` returns the
    pipeline's messages for an operator. ``restores`` returns, for each ledger partition that is
    being read, how many of its entries are read.
    """

    def __init__(
        self,
        paused: Callable[[], Mapping[str, int]],
        needs_operator: Callable[[], Sequence[str]],
        restores: Callable[[], Mapping[TopicPartition, tuple[int, int]]],
        member: _Member,
        watch: _Watch,
        blockers: _Blockers,
        *,
        group: str,
        drain_seconds: float,
        session_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paused = paused
        self._needs_operator = needs_operator
        self._restores = restores
        self._member = member
        self._watch = watch
        self._blockers = blockers
        self._group = group
        self._still_seconds = drain_seconds + _STILL_SECONDS
        self._session_seconds = session_seconds
        self._silence_seconds = max(session_seconds, _LEAST_SILENCE_SECONDS)
        self._clock = clock

    def health(self) -> Health:
        """Return the answers of the probes."""
        now, member, blockers = self._clock(), self._member, self._blockers
        silent = now - member.last_poll
        not_live = f"the consumer's thread has not polled for {silent:.0f} s" if silent > self._still_seconds else None
        missing = [] if member.joined else [f"has not joined group {self._group} yet"]
        restoring = self._paused()["restoring"]
        missing += [f"{restoring} partitions are not restored yet{self._progress()}"] if restoring else []
        refused = member.refused
        if refused is not None and now - refused[0] < _REFUSED_SECONDS:
            missing.append(
                f"the brokers refuse this client: {refused[1]}. Grant it the rights that docs/kafka/index.md lists"
            )
        if unheard := self._unheard(now):
            missing.append(unheard)
        return Health(
            not_live, (*missing, *blockers.no_login, *blockers.lacks, *blockers.denied_schemas, *self._needs_operator())
        )

    def _progress(self) -> str:
        read = [f"{partition} {100 * read // of} %" for partition, (read, of) in self._restores().items()]
        return f" (of the ledger is read: {', '.join(read)})" if read else ""

    def _unheard(self, now: float) -> str | None:
        """Return a message if the group's coordinator is silent; None while it answers.

        Other brokers' answers prove nothing. The commits of running partitions show whether the
        coordinator answers. A member without running partitions relies on the monitor, which has to
        find the coordinator first, and that takes longer while brokers are replaced.
        """
        paused = self._paused()
        asks = len(self._member.partitions()) > paused["restoring"] + paused["refused"]
        heard = self._member.vouched if asks else self._watch.answered
        silence = now - heard
        if silence <= (self._session_seconds if asks else self._silence_seconds):
            return None
        since = f"for {silence:.0f} s" if silence < float("inf") else "yet"
        return f"the group's coordinator has not answered this member {since}: nothing is sent until it does"
