"""Two breakers: one on dead letters, one on an outage. Both look once in a while whether the trouble is over.

Too many dead letters mean that something else is wrong than the events: consumption pauses rather than emptying the topic
into the dead letters (docs/how-it-works.md#shared-failures).
Requests that fail one after the other mean that Amazon is away: one request at a
time asks whether it is back, instead of every batch asking for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.core.retry import RetryPolicy

__all__ = ["DeadLetterBreaker", "DeadLetterPolicy", "OutageBreaker", "OutagePolicy"]


@dataclass(frozen=True, slots=True)
class DeadLetterPolicy:
    """When dead letters are too many; 0 switches a limit off."""

    max_consecutive: int = 1000
    """In a row, without an event delivered between them: two full batches."""
    max_ratio: float = 0.5
    """Of about the last ``sample`` to 2 x ``sample`` events that were delivered or dead-lettered."""
    sample: int = 1000
    probe_seconds: float = 60.0
    """While open, one probe is sent this often, and one letter written."""
    enough: int = 64
    """Events delivered by probes that close it: some seven probes, where there are events to fill them."""


class DeadLetterBreaker:
    """Closed: all goes on. Open: a probe every ``probe_seconds``, of twice as many events as the last while they pass.

    What opened it is forgotten then, and what comes of the probes decides alone: within the limit for long enough they close
    it, beyond it they begin with one event again.
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
        """What was too much when it opened, for a sentence; empty while closed."""

    @property
    def open(self) -> bool:
        """Whether there were too many."""
        return bool(self.why)

    def delivered(self, events: int) -> None:
        """Note deliveries: they end the row."""
        self._row = 0
        self._count(events, 0)
        if self.open and self._good >= self._policy.enough:
            self.why, self._good, self._bad = "", 0.0, 0.0

    def dead_lettered(self, now: float) -> None:
        """Note a dead letter."""
        self._row += 1
        self._count(0, 1)
        total = self._good + self._bad
        if self.open:
            if self._bad > (self._policy.max_ratio or _HALF) * total:
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
        if self._good + self._bad >= 2 * self._policy.sample:  # the older half weighs less and less
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
        """Tell whether one letter that was held back may be written; the next waits its turn."""
        due = now >= self._letter_at
        if due:
            self._letter_at = now + self._policy.probe_seconds
        return due

    def letter_due(self) -> float | None:
        """Return the monotonic second at which a letter held back may be written; None while closed."""
        return self._letter_at if self.open else None


_HALF = 0.5
"""Of a probe, where no share is a limit and a row opened it."""


@dataclass(frozen=True, slots=True)
class OutagePolicy:
    """When requests that fail are an outage, and how often it is looked whether it is over."""

    max_failures: int = 5
    """In a row, of requests that failed for reasons that pass (network, time-out, 5xx)."""
    probes: RetryPolicy = field(default_factory=lambda: RetryPolicy(cap_seconds=30.0))
    """How long until the next look: recovery is noticed within the cap."""


class OutageBreaker:
    """Closed: requests as the limit allows. Open: one at a time, at growing intervals. One that is answered closes it."""

    __slots__ = ("_failures", "_policy")

    def __init__(self, policy: OutagePolicy) -> None:
        self._policy = policy
        self._failures = 0

    @property
    def open(self) -> bool:
        """Whether Amazon is taken to be away."""
        return self._failures >= self._policy.max_failures

    def failed(self, chance: float) -> float:
        """Note a request that failed; return the seconds for which nothing is to be sent."""
        self._failures += 1
        beyond = self._failures - self._policy.max_failures
        return self._policy.probes.delay(beyond + 1, chance) if beyond >= 0 else 0.0

    def answered(self) -> bool:
        """Note a request that was answered; return whether that ended an outage."""
        ended, self._failures = self.open, 0
        return ended
