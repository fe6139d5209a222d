"""What is sent next, and when.

Here are new batches, batches sent again, and everything that may hold a request back.

The problem. A failed request says little about why it failed. The cause may be one event in it, the
vendor for a moment, the vendor for hours, or a setting. Sending again at once harms a vendor that
is overloaded; giving events up loses sales; waiting for one bad event holds up all others.

The picture. Events wait in one of three places, and leave in requests:

    buffer ───────▶ new batches, when full or after the linger ──┐
    retry queue ──▶ batches that failed, after their back-off ───┼──▶ gate ──▶ request ──▶ answer
    held ─────────▶ events refused for the account, now and then ┘              │
        ▲                                                                       │
        └──────────────────────── failed events come back ──────────────────────┘

The gate. A request starts only when all of these hold:

- the consumer's thread has polled, and the group's coordinator has answered, of late;
- the pace allows it, and neither Retry-After nor our own back-off holds everything back;
- fewer requests are out than the limit, which is one while there is an outage or an operator is
  needed;
- the breaker on dead letters is closed, or lets some events through as a probe.

What failed goes before what is new, but for probes: while we ask whether anything is taken at all,
failed and new events take turns, so that one bad event cannot block the rest. What a failure leads
to:

    what came back                      the request is                      all others
    ---------------------------------   ---------------------------------   --------------------------------------------
    network, 5xx, 408, 409, 425         sent again after a backoff          5 rounds in a row: an outage, one probe at a time
    time-out                            the same                            the same; half as many at once
    2xx, every event to be retried      the same                            the same
    not HTTP, or a 2xx that is cut      the same                            3 in a row: wait, an operator is needed
    429                                 sent again                          wait, Retry-After at least; a slower pace
    any, with Retry-After               the same                            wait for it
    413                                 halved; a single one is a letter*   bodies from now on stay below its size
    400, 422                            halved; a single one is a letter*   wait while everything is refused alike
    401, 403, other 3xx and 4xx,
    a certificate that does not hold    sent again after a backoff          wait, one at a time; an operator is needed
    2xx, no verdict on any event        sent again, halved after a while    3 in a row: wait, an operator is needed
    2xx, no verdict on some             those again, 8 times, then letters  -
    2xx, some refused for the account   those again, until they pass        go on; an operator is needed
    nothing: it was not sent after all  sent again                          -

* Only when it is known to be at fault (see `blame`). Until then the cause may also be a setting,
  and no event is given up for a setting (docs/how-it-works.md#shared-failures).

Laws. An event that was added leaves by a request, or by `give_back`; none is in two places. No
verdict on one event stops another. Whatever waits has a time at which `due` reports it, or an
answer that is still to come.

What must change together. A new kind of failure needs a row above, a branch in `failed`, and its
place in `model.Failure`. A new reason to wait belongs into both `take` and `due`: a reason in
`take` alone lets the event loop spin, one in `due` alone lets it sleep for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from connector.core.batching import Batcher, BatchPolicy, Envelope
from connector.core.blame import Blame
from connector.core.breaker import DeadLetterBreaker, DeadLetterPolicy, OutageBreaker, OutagePolicy
from connector.core.concurrency import ConcurrencyLimit
from connector.core.pace import Pace
from connector.core.request import PendingBatch, Request
from connector.core.retry import RetryPolicy, RetryQueue
from connector.core.runs import Run, count, divide
from connector.model import Failure, Moment, RequestFailed

__all__ = ["Dispatch", "DispatchPolicy"]

_GATE_AGAIN_SECONDS = 0.1
"""How soon the gate is looked at again while the consumer thread has not polled, or the coordinator
not answered."""
_HALVE_EVERY = 4
"""Failures after which a batch is halved while others are delivered: one of its events may be what
breaks it."""
_CERTAIN = 3
"""Requests of one event each, refused alike, after which the cause is taken to be a setting and not
the events."""
_MUTE_ANSWERS = 3
"""Answers in a row, without any verdict or not readable, after which something other than Amazon's
endpoint answers."""


_AWAY = frozenset({Failure.TRANSIENT, Failure.TIMEOUT})
"""Failures in which Amazon said nothing of the request."""


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """How events become requests, and how often one is tried."""

    batch: BatchPolicy
    envelope: Envelope
    max_in_flight: int
    """Requests at once."""
    poll_gate_seconds: float
    """Half the session time-out: within it the consumer thread must have polled, and the
    coordinator have been asked something that it answered to us as a member
    (docs/how-it-works.md#what-may-be-sent-twice).

    The other half is for heartbeats, which alone keep a session with KIP-848: the answer may
    have come an interval after the last of them."""
    max_per_second: float | None = None
    """Requests started per second; None for as many as may be out."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: DeadLetterPolicy = field(default_factory=DeadLetterPolicy)
    outage: OutagePolicy = field(default_factory=OutagePolicy)

    def may_send(self, now: Moment) -> bool:
        """Return whether it is known that the partitions are still ours."""
        return now.monotonic - min(now.last_poll, now.vouched) <= self.poll_gate_seconds


class Dispatch:
    """Buffered events, events to be sent again, and the requests out."""

    def __init__(self, policy: DispatchPolicy) -> None:
        self._policy = policy
        self._batcher = Batcher(policy.batch, policy.envelope)
        self._retries = RetryQueue()
        self._held = Batcher(policy.batch, policy.envelope)  # refused for the account, while others passed
        self._held_due = 0.0  # monotonic second
        self._held_tries = 0  # requests of these alone of which nothing was delivered, in a row
        self._account = ""  # why they were refused, by the latest answer
        self._limit = ConcurrencyLimit(policy.max_in_flight)
        self._outage = OutageBreaker(policy.outage)
        self.pace = Pace(policy.max_per_second)
        self._requests: dict[int, Request] = {}
        self._number = 0
        self._hold_until = 0.0  # monotonic second before which no request starts: the vendor's wish
        self._probe_at = 0.0  # our own back-off, in the same seconds; cleared as soon as Amazon answers
        self._failures = 0  # requests that failed for the operator's reasons, in a row
        self._sure = False  # whether an operator is needed for certain
        self._new_in_turn = (
            False  # probes alternate between failed and new events, so that one bad event cannot block the rest
        )
        self._mute = 0  # answers in a row without a verdict on any event, or that cannot be read
        self.blame = Blame()
        self.breaker = DeadLetterBreaker(policy.breaker)
        self.verdict: str | None = None
        """What an operator must know and do, after a request failed for a reason that waiting does
        not fix; else None."""
        self.fits = self._batcher.fits
        self.buffer = self._batcher.add

    @property
    def requests(self) -> int:
        """Requests out."""
        return len(self._requests)

    @property
    def limit(self) -> int:
        """Requests that may be out at once."""
        return 1 if self._asking else self._limit.value

    @property
    def _asking(self) -> bool:
        """Whether requests go out one at a time, as probes of whether anything is taken."""
        return self._outage.open or self.verdict is not None

    @property
    def _asks_by_something_new(self) -> bool:
        return self._asking and self._new_in_turn and len(self._batcher) > 0

    @property
    def stops(self) -> str | None:
        """The message for which ``ON_VERDICT=stop`` ends the process.

        No further event will settle the matter.
        """
        if self.breaker.open:
            return self.breaker.message
        if self._failures >= _CERTAIN or self._sure:
            return self.verdict
        return self.account if self._held_tries >= _CERTAIN else None

    @property
    def _asks_for_held(self) -> bool:
        """Whether a probe, of which there is one at a time, is out for events of the account."""
        return any(request.held for request in self._requests.values())

    @property
    def account(self) -> str | None:
        """What to tell an operator while events are refused for the account and others pass."""
        if self._account and (len(self._held) or self._asks_for_held):
            return f"Amazon refuses some events, and takes others: {self._account}. They wait, and are tried again"
        return None

    @property
    def away(self) -> bool:
        """Whether Amazon is taken to be away."""
        return self._outage.open

    @property
    def nothing_new(self) -> bool:
        """Whether everything that waits was sent before."""
        return len(self._batcher) == 0

    @property
    def most_bytes(self) -> int:
        """The size that bodies stay below: the policy's, or less since a 413."""
        return self._batcher.most_bytes

    def in_flight(self, generation: int) -> list[Run]:
        """Return the events of an assignment whose outcome is unknown."""
        return [run for request in self._requests.values() for run in request.runs if run.generation == generation]

    def give_back(self, generation: int) -> None:
        """Forget what was not sent of an assignment that ends."""
        self._batcher.drop(generation)
        self._retries.drop(generation)
        self._held.drop(generation)

    def take(self, now: Moment) -> PendingBatch | None:
        """Take the events of the next request; None if nothing may be sent now."""
        held = now.monotonic < max(self._hold_until, self._probe_at, self.pace.due)
        if held or not self._policy.may_send(now) or len(self._requests) >= self.limit:
            return None
        allowed = self.breaker.allows(now.monotonic)
        if allowed == 0:
            return None
        if self._asks_by_something_new:
            return self._new(now, allowed)
        while (again := self._retries.take(now.monotonic)) is not None:
            if allowed is not None and count(again.runs) > allowed:
                again.runs, rest = divide(again.runs, allowed)
                self._retries.add(now.monotonic, again.attempt, again.since, rest)
            if again.runs:
                return again
        asks_at = self._due_for_account()
        if asks_at is not None and asks_at <= now.monotonic:
            return PendingBatch(now.monotonic, 0, 0, None, self._held.take(1 if self.verdict else allowed), held=True)
        due = self._batcher.due()
        if due is None or not (self._batcher.full or due <= now.monotonic):
            return None
        return self._new(now, allowed)

    def _new(self, now: Moment, allowed: int | None) -> PendingBatch:
        if self.verdict is not None:
            allowed = 1  # enough for a probe
        return PendingBatch(now.monotonic, 0, 0, None, self._batcher.take(allowed))

    def start(self, taken: PendingBatch, now: Moment) -> tuple[Request, bytes]:
        """Note that these events are being sent; return the request and its body."""
        self._number += 1
        body = self._policy.envelope.wrap(taken.runs)
        request = Request(self._number, taken.runs, taken.attempt, taken.since, len(body), now.monotonic, taken.held)
        self._new_in_turn = taken.number > 0
        self._requests[self._number] = request
        if self.breaker.open:
            self.breaker.probing(now.monotonic)
        self.pace.started(now.monotonic, now.chance)
        return request, body

    def finish(self, number: int) -> Request:
        """Note that a request came to an end."""
        return self._requests.pop(number)

    # ---- answers

    def answered(self, request: Request, delivered: int, now: Moment) -> None:
        """Note an answer with a final verdict on some event, and how many were delivered."""
        self._limit.answered(request.started, now.monotonic)
        self._recovered(now)
        self._mute = 0
        self.pace.taken(request.started, now.monotonic)
        self.blame.judged(request)
        if delivered:
            self.breaker.delivered(delivered)
            self.blame.taken(request)
        if delivered and request.held:
            self._try_held_at(now.monotonic, 0)
        if self.verdict is not None:
            self.verdict, self._sure, self._failures, self._probe_at = None, False, 0, 0.0
            self._retries.hasten(now.monotonic)
            self._try_held_at(now.monotonic, 0)

    def again(self, request: Request, runs: list[Run], now: Moment) -> None:
        """Send events again that got no final verdict, while others did."""
        tries = max(run.tries for run in runs)
        self._retries.add(now.monotonic + self._policy.retry.delay(tries, now.chance), request.attempt, self._number, runs)

    def wait_for_account(self, request: Request, runs: list[Run], why: str, now: Moment) -> None:
        """Hold events that were refused for the account while others passed.

        They are good, and no other waits for them.
        """
        self._recovered(now)
        if request.held or self.account is None:
            self._account = why
        if request.held or not len(self._held):
            tries = self._held_tries + 1 if request.held else 1
            self._try_held_at(now.monotonic + self._policy.retry.delay(tries, now.chance), tries)
        for run in runs:
            self._held.add(run)

    def unjudged(self, request: Request, runs: list[Run], now: Moment) -> None:
        """Send events again after an answer that has no final verdict for any of them."""
        self._recovered(now)
        self._mute += 1
        if self._mute >= _MUTE_ANSWERS:
            self._ask_operator(
                "Amazon's answers hold no verdict on any event: check AMAZON_BASE_URL, and what stands between",
                now,
                sure=True,
            )
        self._back_off(request, runs, self._policy.retry.delay(request.attempt + 1, now.chance), now)

    def failed(self, request: Request, runs: list[Run], failed: RequestFailed, now: Moment) -> None:
        """Send the events of a request that failed as a whole again.

        ``runs`` are those that are still ours.
        """
        wait = max(failed.retry_after or 0.0, self._policy.retry.delay(request.attempt + 1, now.chance))
        if failed.retry_after is not None:
            self._hold(failed.retry_after, now)
        match failed.failure:
            case Failure.NOT_SENT:
                if runs:
                    self._retries.add(now.monotonic, request.attempt, request.since, runs)
            case Failure.TRANSIENT | Failure.TIMEOUT | Failure.UNREADABLE | Failure.RETRY_ALL:
                self._passing(request, runs, failed, wait, now)
            case Failure.THROTTLED:
                self._recovered(now)
                hold = self.pace.refused(request.started, now.monotonic, failed.retry_after, now.chance)
                wait = max(hold, failed.retry_after or 0.0, self._policy.retry.delay(1, now.chance))
                self._retry(request, runs, wait, now)
            case Failure.OPERATOR:
                self._recovered(now)
                wait = self._ask_operator(failed.detail or failed.reason, now, sure=True)
                self._retry(request, runs, wait, now)
            case Failure.TOO_LARGE | Failure.REFUSED:
                self._recovered(now)
                if failed.failure is Failure.TOO_LARGE and request.count > 1:
                    self._learn(max(request.size // 2, self.blame.largest_taken))
                if request.count > 1:
                    self._halve(request, runs, 0.0, now)
                else:
                    # Behind what is new by then: if something else is delivered, this one is known
                    # to be at fault.
                    wait = self._ask_operator(_alone(failed), now, sure=False)
                    self._retry(request, runs, 2 * wait, now)
            case _:
                assert_never(failed.failure)

    def _passing(self, request: Request, runs: list[Run], failed: RequestFailed, wait: float, now: Moment) -> None:
        """Send events again whose request failed for a reason that passes.

        In an outage a failure says nothing of its events. It is no try of theirs, and they are
        there for the next probe.
        """
        if failed.failure is Failure.TIMEOUT:
            self._limit.congested(request.started, now.monotonic)
        quiet = self._outage.failed(request.started, now.monotonic, now.chance)
        self._probe_at = max(self._probe_at, now.monotonic + quiet)
        if self._outage.open and failed.failure in _AWAY:
            self._again(request, runs, max(failed.retry_after or 0.0, quiet), request.attempt, now)
        else:
            self._back_off(request, runs, max(wait, self._unreadable(failed, now)), now)

    def due(self, now: Moment) -> float | None:
        """Return the monotonic second from which something may be sent; None: after an input."""
        new = 0.0 if self._batcher.full or self._asks_by_something_new else self._batcher.due()
        times = [time for time in (new, self._due_for_account(), self._retries.due()) if time is not None]
        if not times or len(self._requests) >= self.limit:
            return None
        soonest = max(min(times), self._hold_until, self._probe_at, self.pace.due, self.breaker.due() or 0.0)
        if not self._policy.may_send(now):
            soonest = max(soonest, now.monotonic + _GATE_AGAIN_SECONDS)
        return soonest

    def _unreadable(self, failed: RequestFailed, now: Moment) -> float:
        """Ask for an operator after several unreadable answers in a row.

        Return the seconds to wait, else 0.

        The first few pass for an outage, because a proxy that restarts may answer anything. More
        could go on for ever: accepted events are sent again after each answer that cannot be read.
        """
        if failed.failure is not Failure.UNREADABLE:
            return 0.0
        self._mute += 1
        if self._mute < _MUTE_ANSWERS:
            return 0.0
        return self._ask_operator(failed.detail or failed.reason, now, sure=False)

    # ---- holding and sending again

    def _learn(self, most_bytes: int) -> None:
        for batcher in (self._batcher, self._held):
            batcher.learn(most_bytes)

    def _due_for_account(self) -> float | None:
        return self._held_due if len(self._held) and not self._asks_for_held else None

    def _try_held_at(self, due: float, tries: int) -> None:
        self._held_due, self._held_tries = due, tries

    def _hold(self, seconds: float, now: Moment) -> None:
        self._hold_until = max(self._hold_until, now.monotonic + seconds)

    def _ask_operator(self, message: str, now: Moment, *, sure: bool) -> float:
        self.verdict = message
        self._sure = self._sure or sure
        self._failures += 1
        wait = self._policy.retry.delay(self._failures, now.chance)
        self._probe_at = max(self._probe_at, now.monotonic + wait)
        return wait

    def _recovered(self, now: Moment) -> None:
        """Note that Amazon answered, which ends an outage and the back-offs meant for it."""
        if self._outage.answered(now.monotonic):
            self._probe_at = 0.0
            self._limit.restart()
            self._retries.hasten(now.monotonic)

    def _back_off(self, request: Request, runs: list[Run], wait: float, now: Moment) -> None:
        if count(runs) > 1 and (request.attempt + 1) % _HALVE_EVERY == 0 and self.blame.proven(request):
            self._halve(request, runs, wait, now)
        else:
            self._retry(request, runs, wait, now)

    def _retry(self, request: Request, runs: list[Run], wait: float, now: Moment) -> None:
        self._again(request, runs, wait, request.attempt + 1, now)

    def _again(self, request: Request, runs: list[Run], wait: float, attempt: int, now: Moment) -> None:
        if runs:
            self._retries.add(now.monotonic + wait, attempt, self._since(request), runs)

    def _halve(self, request: Request, runs: list[Run], wait: float, now: Moment) -> None:
        for half in divide(runs, (count(runs) + 1) // 2):
            if half:
                self._retries.add(now.monotonic + wait, 0, self._since(request), half)

    def _since(self, request: Request) -> int:
        return self._number if request.since is None else request.since


def _alone(failed: RequestFailed) -> str:
    return (
        f"{failed.detail or failed.reason}. A request of one event was refused, and no other was answered since: it is that "
        "event, or a setting. The next event that gets its verdict decides; until then one at a time is tried"
    )
