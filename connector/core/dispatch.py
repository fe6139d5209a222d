"""What is sent next, and when: new batches, what is sent again, and everything that may hold a request back.

A request starts only when the consumer's thread has polled lately, no throttle or operator's matter holds it, fewer requests
are out than the limit, and the breaker is closed (or lets one event through to see). What failed goes before what is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from connector.core.batching import Batcher, BatchPolicy, Envelope
from connector.core.breaker import Breaker, BreakerPolicy
from connector.core.concurrency import ConcurrencyLimit
from connector.core.retry import RetryPolicy, RetryQueue
from connector.model import Event, Failure, Moment, RequestFailed

__all__ = ["Dispatch", "DispatchPolicy", "Request"]

_POLL_GRACE_SECONDS = 0.1
"""How soon to look again whether the consumer thread has polled."""


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """How events become requests, and how often one is tried."""

    batch: BatchPolicy
    envelope: Envelope
    max_in_flight: int
    """Requests at once."""
    poll_gate_seconds: float
    """Half the session time-out: no request starts unless the consumer thread polled within it (design: point 7)."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)


@dataclass(frozen=True, slots=True)
class Request:
    """Events that were sent together."""

    number: int
    events: list[Event]
    attempt: int
    """Failures of these events before, as a request."""


class Dispatch:
    """Buffered events, events to be sent again, and the requests out."""

    def __init__(self, policy: DispatchPolicy) -> None:
        self._policy = policy
        self._batcher = Batcher(policy.batch, policy.envelope)
        self._retries = RetryQueue()
        self._limit = ConcurrencyLimit(policy.max_in_flight)
        self._breaker = Breaker(policy.breaker)
        self._requests: dict[int, Request] = {}
        self._number = 0
        self._hold_until = 0.0  # monotonic second before which no request starts
        self._failures = 0  # requests that failed for the operator's reasons, in a row
        self.verdict: str | None = None
        """The sentence that needs an operator: a request failed for a reason that no waiting mends."""
        self.fits = self._batcher.fits
        self.buffer = self._batcher.add

    @property
    def requests(self) -> int:
        """Requests out."""
        return len(self._requests)

    @property
    def limit(self) -> int:
        """Requests that may be out at once."""
        return self._limit.value

    @property
    def broken(self) -> bool:
        """Whether too many events in a row were refused."""
        return self._breaker.open

    def give_back(self, generation: int) -> None:
        """Forget what was not sent of an assignment that ends."""
        self._batcher.drop(generation)
        self._retries.drop(generation)

    def take(self, now: Moment) -> tuple[list[Event], int] | None:
        """Take the events of the next request and their failures so far; None if nothing may be sent now."""
        held = now.monotonic < self._hold_until or now.monotonic - now.last_poll > self._policy.poll_gate_seconds
        if held or len(self._requests) >= self._limit.value:
            return None
        allowed = self._breaker.allows(now.monotonic)
        if allowed == 0:
            return None
        while (again := self._retries.take(now.monotonic)) is not None:
            if allowed is not None and len(again.events) > allowed:
                self._retries.add(now.monotonic, again.attempt, again.events[allowed:])
            if again.events:
                return again.events[:allowed], again.attempt
        due = self._batcher.due()
        if due is None or not (self._batcher.full or due <= now.monotonic):
            return None
        return self._batcher.take(allowed), 0

    def start(self, events: list[Event], attempt: int, now: Moment) -> tuple[Request, bytes]:
        """Note that these events are sent; return the request and its body."""
        self._number += 1
        request = self._requests[self._number] = Request(self._number, events, attempt)
        if self._breaker.open:
            self._breaker.probing(now.monotonic)
        return request, self._policy.envelope.wrap(events)

    def finish(self, number: int) -> Request:
        """Note that a request came to an end."""
        return self._requests.pop(number)

    def answered(self, delivered: int, refused: int, now: Moment) -> None:
        """Note an answer with verdicts: how many events were delivered and refused by it."""
        self._breaker.answered(delivered, refused, now.monotonic)
        if delivered or refused:
            self.verdict, self._failures = None, 0
            self._limit.succeeded()

    def again(self, events: list[Event], chance: float, now: Moment) -> None:
        """Send events again that got no final verdict."""
        tries = max(event.tries for event in events)
        self._retries.add(now.monotonic + self._policy.retry.delay(tries, chance), 0, events)

    def failed(self, events: list[Event], attempt: int, failure: RequestFailed, chance: float, now: Moment) -> None:
        """Send events again whose request failed as a whole, for the ``attempt``-th time; hold others where it says so."""
        wait = max(failure.retry_after or 0.0, self._policy.retry.delay(attempt, chance))
        match failure.failure:
            case Failure.TRANSIENT:
                if failure.reason == "timeout":
                    self._limit.congested(now.monotonic)
            case Failure.THROTTLED:
                self._limit.congested(now.monotonic)
                self._hold(wait, now)
            case Failure.OPERATOR:
                self._failures += 1
                wait = max(wait, self._policy.retry.delay(self._failures, chance))
                self._hold(wait, now)
                self.verdict = failure.detail or failure.reason
            case Failure.TOO_LARGE:
                self._halve(events, now)
                return
            case _:
                assert_never(failure.failure)
        if events:
            self._retries.add(now.monotonic + wait, attempt, events)

    def due(self, now: Moment) -> float | None:
        """Return when something can be sent that cannot be sent now for no other reason than time; None for never."""
        new = 0.0 if self._batcher.full else self._batcher.due()
        times = [time for time in (new, self._retries.due()) if time is not None]
        if not times or len(self._requests) >= self._limit.value:
            return None
        soonest = max(min(times), self._hold_until, self._breaker.due() or 0.0)
        if now.monotonic - now.last_poll > self._policy.poll_gate_seconds:
            soonest = max(soonest, now.monotonic + _POLL_GRACE_SECONDS)
        return soonest

    def _hold(self, seconds: float, now: Moment) -> None:
        self._hold_until = max(self._hold_until, now.monotonic + seconds)

    def _halve(self, events: list[Event], now: Moment) -> None:
        middle = len(events) // 2
        for half in (events[:middle], events[middle:]):
            if half:
                self._retries.add(now.monotonic, 0, half)
