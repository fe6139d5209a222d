"""Two circuit breakers: one for dead letters, one for outages.

While open, each probes now and then.

Too many dead letters mean that something other than the events is wrong. Consumption pauses then,
rather than emptying the topic into the dead letters (docs/how-it-works.md#shared-failures).
Requests that fail one after the other mean that Amazon is away. One request at a time probes
whether it is back, instead of every batch finding out for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.core.retry import RetryPolicy

__all__ = ["DeadLetterBreaker", "DeadLetterPolicy", "OutageBreaker", "OutagePolicy"]

_PROBE_RATIO = 0.5
"""Share of dead letters that restarts the probes when ``DEAD_LETTER_MAX_RATIO`` is off and a row
opened the breaker."""


@dataclass(frozen=True, slots=True)
class DeadLetterPolicy:
    """How many dead letters are too many; 0 switches a limit off."""

    max_consecutive: int = 1000
    """Dead letters in a row, with no event delivered between them. Default: two full batches."""
    max_ratio: float = 0.5
    """Share of dead letters among the latest events that were delivered or dead-lettered."""
    sample: int = 1000
    """How many of the latest events count: between this and twice this."""
    probe_seconds: float = 60.0
    """How often one probe is sent, and one letter written, while open."""
    enough: int = 64
    """Events delivered by probes after which it closes: about seven probes, if there are enough
    events to fill them."""


class DeadLetterBreaker:
    """Closed: everything is sent.

    Open: a probe every ``probe_seconds``, twice as large as the last while they pass.

    Once open, only the probes count. Enough deliveries within the limit close it; more dead letters
    than the limit make the probes start at one event again.
    """

    __slots__ = ("_bad", "_good", "_letter_at", "_policy", "_probe_at", "_row", "why")

    def __init__(self, policy: DeadLetterPolicy) -> None:
        self._policy = policy
        self._row = 0
        self._good = 0.0
        self._bad = 0.0
        self._probe_at = 0.0
        self._letter_at = 0.0
        self.why = ""
        """What was too much when it opened, as the beginning of a sentence; empty while closed."""

    @property
    def open(self) -> bool:
        """Whether there were too many dead letters."""
        return bool(self.why)

    def delivered(self, events: int) -> None:
        """Note deliveries, which end a row of dead letters."""
        self._row = 0
        self._count(events, 0)
        if self.open and self._good >= self._policy.enough:
            self.why, self._good, self._bad = "", 0.0, 0.0

    @property
    def message(self) -> str:
        """Return what an operator must know and do while it is open."""
        return (
            f"{self.why}: consumption is paused; once a minute an event is tried, and more as they pass. "
            "Look at the dead letters' reasons; a setting or a producer is the usual cause. To let them all become dead "
            "letters, raise DEAD_LETTER_MAX_CONSECUTIVE and DEAD_LETTER_MAX_RATIO (0: no limit) and restart"
        )

    def dead_lettered(self, now: float) -> None:
        """Note a dead letter."""
        self._row += 1
        self._count(0, 1)
        total = self._good + self._bad
        if self.open:
            if self._bad > (self._policy.max_ratio or _PROBE_RATIO) * total:
                self._good = self._bad = 0.0
            return
        if 0 < self._policy.max_consecutive <= self._row:
            self._open(f"{self._row} events in a row became dead letters", now)
        elif total >= self._policy.sample and self._bad > (self._policy.max_ratio or 1.0) * total:
            self._open(f"{100 * self._bad / total:.0f} % of the latest events became dead letters", now)

    def _open(self, why: str, now: float) -> None:
        self.why, self._good, self._bad = why, 0.0, 0.0
        self._probe_at = self._letter_at = now + self._policy.probe_seconds

    def _count(self, good: int, bad: int) -> None:
        self._good += good
        self._bad += bad
        if self._good + self._bad >= 2 * self._policy.sample:  # so that older events weigh less and less
            self._good /= 2
            self._bad /= 2

    def allows(self, now: float) -> int | None:
        """Return how many events the next request may hold: None for no limit, 0 for none yet."""
        if not self.open:
            return None
        return int(self._good) + 1 if now >= self._probe_at else 0

    def probing(self, now: float) -> None:
        """Note that a probe is under way; the next waits its turn."""
        self._probe_at = now + self._policy.probe_seconds

    def due(self) -> float | None:
        """Return the monotonic second of the next probe; None while closed."""
        return self._probe_at if self.open else None

    def lets_a_letter_through(self, now: float) -> bool:
        """Return whether one letter that was held back may be written; the next waits its turn."""
        due = now >= self._letter_at
        if due:
            self._letter_at = now + self._policy.probe_seconds
        return due

    def letter_due(self) -> float | None:
        """Return the monotonic second at which a letter held back may be written.

        None while closed.
        """
        return self._letter_at if self.open else None


@dataclass(frozen=True, slots=True)
class OutagePolicy:
    """How many failures make an outage, and how often a probe asks whether it is over."""

    max_failures: int = 5
    """Failures in a row for passing reasons (network, time-out, 5xx). Requests that are out
    together are one."""
    probes: RetryPolicy = field(default_factory=lambda: RetryPolicy(cap_seconds=4.0))
    """Back-off between probes; recovery is noticed within its cap."""
    silent_seconds: float = 30.0
    """If a request fails after so many seconds in which nothing was answered, its failure alone
    makes an outage. Amazon promises answers within this time at p99
    (docs/amazon-contract.md#retries)."""


class OutageBreaker:
    """Closed: as many requests as the limit allows.

    Open: one at a time, at growing intervals. Any answer closes it.

    Requests that are out together fail by the same cause, so they count once: a request sent before
    the last failure that counted says nothing new. Else the intervals would grow with the number of
    requests out, and a hiccup would cost half a minute.

    A request that hung until its time-out, while nothing was answered, says as much as a row of
    failures. Such rounds take half a minute each, and each of their requests may have been taken.
    """

    __slots__ = ("_answered_at", "_failed_at", "_failures", "_policy")

    def __init__(self, policy: OutagePolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._failed_at = float("-inf")  # monotonic second of the last failure that counted
        self._answered_at = float("-inf")

    @property
    def open(self) -> bool:
        """Whether Amazon is taken to be away."""
        return self._failures >= self._policy.max_failures

    def failed(self, started: float, now: float, chance: float) -> float:
        """Note a failed request, by the monotonic seconds at which it was sent and ended.

        Return the seconds for which nothing is to be sent.
        """
        if started <= self._failed_at:
            return 0.0
        self._failed_at = now
        self._failures += 1
        if now - max(started, self._answered_at) >= self._policy.silent_seconds:
            self._failures = max(self._failures, self._policy.max_failures)
        beyond = self._failures - self._policy.max_failures
        return self._policy.probes.delay(beyond + 1, chance) if beyond >= 0 else 0.0

    def answered(self, now: float) -> bool:
        """Note a request that was answered; return whether that ended an outage."""
        self._answered_at = now
        ended, self._failures = self.open, 0
        return ended
