"""What the probes say of a connector, and why.

Live: the consumer's thread polls. Ready: the member is in its group, everything assigned is restored, the brokers let it
work, its coordinator answers, and nothing waits for an operator; Amazon being down or slow is not unready.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Health", "Vitals"]

_STILL_SECONDS = 60.0
"""Beyond a drain's time-out: a consumer thread that has not polled for so long hangs."""
_REFUSED_SECONDS = 15.0
"""After the client's last word that it is refused: it tries to connect again, and is refused again, every 10 s."""
_LEAST_SILENCE_SECONDS = 30.0
"""Minimum silence before brokers count as unreachable: one look at topics and group can take this long while a broker is
being replaced."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes say."""

    not_live: str | None
    """Why the process should be restarted; None if it should not."""
    not_ready: tuple[str, ...]
    """Why it is not ready; empty when it is."""


class _Member(Protocol):
    """What is asked of the consumer; its times are those of ``time.monotonic``."""

    @property
    def last_poll(self) -> float:
        """When it last polled."""

    @property
    def vouched(self) -> float:
        """When its coordinator last answered a commit."""

    @property
    def refused(self) -> tuple[float, str] | None:
        """When the brokers last refused it, and why."""

    @property
    def joined(self) -> bool:
        """Whether it is in its group."""

    def partitions(self) -> Collection[object]:
        """Return its partitions."""


class _Watch(Protocol):
    """What is asked of the look at topics and group."""

    @property
    def answered(self) -> float:
        """When the coordinator last answered it."""


class _Blockers(Protocol):
    """What else waits for an operator."""

    @property
    def lacks(self) -> Sequence[str]:
        """Sentences on rights that the brokers do not grant."""

    @property
    def denied_schemas(self) -> Sequence[str]:
        """Sentences on a schema registry that refuses us."""


class Vitals:
    """Looks at a connector that runs.

    ``paused`` counts its partitions that are held up, by reason; ``needs_operator`` says what of the pipeline waits for an
    operator.
    """

    def __init__(
        self,
        paused: Callable[[], Mapping[str, int]],
        needs_operator: Callable[[], Sequence[str]],
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
        self._member = member
        self._watch = watch
        self._blockers = blockers
        self._group = group
        self._still_seconds = drain_seconds + _STILL_SECONDS
        self._session_seconds = session_seconds
        self._silence_seconds = max(session_seconds, _LEAST_SILENCE_SECONDS)
        self._clock = clock

    def health(self) -> Health:
        """Say what the probes say."""
        now, member, blockers = self._clock(), self._member, self._blockers
        silent = now - member.last_poll
        not_live = f"the consumer's thread has not polled for {silent:.0f} s" if silent > self._still_seconds else None
        waiting = [] if member.joined else [f"has not joined group {self._group} yet"]
        restoring = self._paused()["restoring"]
        waiting += [f"{restoring} partitions are not restored yet"] if restoring else []
        refused = member.refused
        if refused is not None and now - refused[0] < _REFUSED_SECONDS:
            waiting.append(
                f"the brokers refuse this client: {refused[1]}. Grant it the rights that docs/kafka/index.md lists"
            )
        if unheard := self._unheard(now):
            waiting.append(unheard)
        return Health(not_live, (*waiting, *blockers.lacks, *blockers.denied_schemas, *self._needs_operator()))

    def _unheard(self, now: float) -> str | None:
        """Say that the group's coordinator does not answer; what any other broker says proves nothing.

        A member asks it by the commits of the partitions that it has begun; one that has none must find it, while brokers
        are replaced.
        """
        paused = self._paused()
        asks = len(self._member.partitions()) > paused["restoring"] + paused["refused"]
        heard = self._member.vouched if asks else self._watch.answered
        silence = now - heard
        if silence <= (self._session_seconds if asks else self._silence_seconds):
            return None
        since = f"for {silence:.0f} s" if silence < float("inf") else "yet"
        return f"the group's coordinator has not answered this member {since}: nothing is sent until it does"
