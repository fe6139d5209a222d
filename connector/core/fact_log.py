"""The facts of one assignment on their way to the ledger: waiting, under way, confirmed.

    add ──▶ waiting ──take──▶ under way ──confirmed──▶ the caller resolves their offsets
                ▲                 │
                └────failed───────┘

One entry is under way at a time, so an entry that failed can be written again without knowing
whether it was written all the same: facts are a set.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.core.policy import FlushPolicy
from connector.core.retry import RetryPolicy
from connector.model import Facts, Moment

__all__ = ["FactLog"]

_REFUSED_SECONDS = 5.0
"""A topic that was only just created or changed may refuse entries for a moment."""


@dataclass(slots=True)
class FactLog:
    """Holds the facts of one assignment until the brokers have confirmed them."""

    waiting: Facts = field(default_factory=Facts)
    """Known, in no entry yet."""
    under_way: Facts | None = None
    """Facts of the entry being written; None while no entry is."""
    unconfirmed_since: float | None = None
    """Monotonic second of the first attempt to write the entry under way."""
    _due: float | None = None
    """Monotonic second of the next entry; None with nothing to write."""
    complaint: str | None = None
    """What an operator must know and do; None while no operator is needed."""
    _failures: int = 0
    """Entries that failed, in a row."""

    def __len__(self) -> int:
        """Count the facts that are not confirmed."""
        return len(self.waiting) + len(self.under_way or ())

    @property
    def idle(self) -> bool:
        """Whether every fact is confirmed."""
        return self.under_way is None and not self.waiting

    @property
    def due(self) -> float | None:
        """Return the monotonic second at which `take` may have an entry.

        Return None while one is under way, or none waits.
        """
        return None if self.under_way is not None else self._due

    @property
    def writable(self) -> int:
        """Return how many facts an entry written now could hold.

        Return 0 while one is under way, or has failed.
        """
        return 0 if self.under_way is not None or self._failures else len(self.waiting)

    @property
    def failing(self) -> bool:
        """Whether the latest entry failed. A restore now would miss its facts."""
        return self._failures > 0

    def ask_for_entry(self, at: float) -> None:
        """Have an entry written at this monotonic second, even an empty one."""
        self._due = at

    def is_to_be_asked(self) -> bool:
        """Whether no entry is under way or planned, so that nothing else will ask the brokers."""
        return self._due is None and self.under_way is None

    def begin(self, facts: Facts, now: float) -> Facts:
        """Note that these facts are being written; return them."""
        self.under_way, self._due = facts, None
        if self.unconfirmed_since is None:
            self.unconfirmed_since = now
        return facts

    def take(self, policy: FlushPolicy, now: float, *, at_once: bool) -> Facts | None:
        """Return the facts of an entry to write now; None if none is due.

        An entry is due after the interval, when it is full, or ``at_once``: nothing more can be
        learnt that could go into it, or many facts wait. After a failure the back-off alone
        decides.
        """
        if self.under_way is not None:
            return None
        if self.waiting and self._due is None:
            self._due = now + policy.interval_seconds
        early = not self._failures and (len(self.waiting) >= policy.max_facts or (bool(self.waiting) and at_once))
        if not early and (self._due is None or now < self._due):
            return None
        entry, self.waiting = self.waiting.split(policy.max_facts)
        return self.begin(entry, now)

    def confirmed(self) -> Facts | None:
        """Note that the entry under way is in the ledger; return its facts."""
        facts, self.under_way = self.under_way, None
        self._failures, self.unconfirmed_since, self.complaint = 0, None, None
        return facts

    def failed(self, retry: RetryPolicy, now: Moment, refusal: str | None = None, *, draining: bool) -> None:
        """Write the entry again after a back-off.

        A drain cannot wait for a long one: what is not written down by its end may be sent again. A
        ``refusal`` needs an operator once entries have failed for `_REFUSED_SECONDS`.
        """
        if refusal and self.unconfirmed_since is not None and now.monotonic - self.unconfirmed_since > _REFUSED_SECONDS:
            self.complaint = refusal
        facts = Facts() if self.under_way is None else self.under_way  # an empty one may say where the assignment begins
        facts.extend(self.waiting)
        self.waiting, self.under_way = facts, None
        self._failures += 1
        self._due = now.monotonic + retry.delay(1 if draining else self._failures, now.chance)
