"""What an answer of Amazon means for the events of its request.

Each event with a final verdict ends by it. What got none is sent again, and is given up only when it
is known to be at fault: others of the same time got their verdicts (see the table in `dispatch`).
Events of an assignment that has ended are not sent again; a late verdict still becomes a fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from connector.core import inputs
from connector.core.assignment import Assignment
from connector.core.dispatch import Dispatch
from connector.core.outcomes import Outcomes
from connector.core.request import Request
from connector.core.retry import RetryPolicy
from connector.core.statistics import Statistics
from connector.model import Event, Failure, Flaw, Moment, Reason, RequestFailed, Verdict, VerdictKind, Verdicts

__all__ = ["Answers"]


class Answers:
    """Hands each event of an answered request to its outcome, or back to `Dispatch`.

    ``assignments`` are all that have something under way, by generation, those that ended included.
    """

    def __init__(
        self,
        retry: RetryPolicy,
        assignments: Mapping[int, Assignment],
        dispatch: Dispatch,
        outcomes: Outcomes,
        statistics: Statistics,
    ) -> None:
        self._retry = retry
        self._assignments = assignments
        self._dispatch = dispatch
        self._outcomes = outcomes
        self._statistics = statistics

    def finished(self, finished: inputs.RequestFinished, now: Moment) -> None:
        """Take the answer to a request."""
        request = self._dispatch.finish(finished.request)
        for event in request.events:
            assignment = self._assignments[event.generation]
            assignment.in_flight -= 1
            if not assignment.live:
                assignment.release(event)
        match finished.answer:
            case Verdicts():
                self._verdicts(request, finished.answer, now)
            case RequestFailed():
                self._request_failed(request, finished.answer, now)
            case _:
                assert_never(finished.answer)

    def _verdicts(self, request: Request, answer: Verdicts, now: Moment) -> None:
        delivered, refused = 0, 0
        open_events: list[tuple[Event, Verdict]] = []
        for_account: list[Event] = []
        why = ""
        for event, verdict in zip(request.events, answer.verdicts, strict=True):
            assignment = self._assignments[event.generation]
            kind = verdict.kind
            if kind is VerdictKind.DELIVERED:
                delivered += 1
                self._outcomes.delivered(assignment, event, now)
                continue
            refused += kind is VerdictKind.REJECTED
            if not assignment.live:
                self._statistics.late_answers += 1
            elif kind is VerdictKind.REJECTED:
                self._outcomes.dead_letter(assignment, event, Flaw(Reason.REJECTED, verdict.detail), now)
            elif verdict.account:
                for_account.append(event)
                why = verdict.account
            else:
                open_events.append((event, verdict))
        alone = len(request.events) == 1
        if delivered or refused:
            self._dispatch.answered(request, delivered, now)
            self._own_tries(request, open_events, now)
            self._wait_for_account(request, for_account, why, now)
        elif for_account and self._dispatch.blame.of_these_alone(request):
            self._own_tries(request, open_events, now)
            self._wait_for_account(request, for_account, why, now)
        elif for_account:
            events = for_account + [event for event, _ in open_events]
            failed = RequestFailed(Failure.OPERATOR, "account", detail=f"Amazon takes no event: {why}")
            self._failed(request, events, failed, now)
        elif self._dispatch.blame.proven(request) and (alone or all(event.tries for event in request.events)):
            self._own_tries(request, open_events, now)  # of all that were sent, these alone get no verdict
        elif alone and open_events and self._is_hopeless(request, open_events[0][1]):
            event, verdict = open_events[0]
            flaw = Flaw(Reason.NO_VERDICT, verdict.detail)
            self._outcomes.dead_letter(self._assignments[event.generation], event, flaw, now)
        else:
            self._no_verdict_at_all(request, open_events, now)

    def _is_hopeless(self, request: Request, verdict: Verdict) -> bool:
        return verdict.kind is VerdictKind.RETRY and request.attempt + 1 >= self._retry.max_alone

    def _own_tries(self, request: Request, open_events: list[tuple[Event, Verdict]], now: Moment) -> None:
        """Send again what got no final verdict while others got theirs, a bounded number of times."""
        again: list[Event] = []
        for event, verdict in open_events:
            assignment = self._assignments[event.generation]
            event.tries += 1
            if event.tries >= self._retry.max_tries:
                flaw = Flaw(Reason.NO_VERDICT, verdict.detail or "no verdict on this event")
                self._outcomes.dead_letter(assignment, event, flaw, now)
            elif assignment.running:
                again.append(event)
        if again:
            self._dispatch.again(request, again, now)
            self._statistics.retries["no-verdict"] += len(again)

    def _no_verdict_at_all(self, request: Request, open_events: list[tuple[Event, Verdict]], now: Moment) -> None:
        """Send all again: an answer without a final verdict says nothing about any one event.

        See docs/how-it-works.md#shared-failures.
        """
        events = self._running([event for event, _ in open_events])
        if any(verdict.kind is VerdictKind.RETRY for _, verdict in open_events):
            self._dispatch.failed(request, events, RequestFailed(Failure.RETRY_ALL, "retry-all"), now)
        else:
            self._dispatch.unjudged(request, events, now)
        if events:
            self._statistics.retries["no-verdict"] += len(events)

    def _request_failed(self, request: Request, failed: RequestFailed, now: Moment) -> None:
        events = self._running(request.events)
        if self._dispatch.blame.at_fault(request, failed):
            if failed.failure is Failure.TOO_LARGE:
                flaw = Flaw(Reason.TOO_LARGE, "event: larger than Amazon takes (413)")
            else:
                flaw = Flaw(Reason.REJECTED, f"{failed.detail or failed.reason}, to a request of this event alone")
            for event in events:
                self._outcomes.dead_letter(self._assignments[event.generation], event, flaw, now)
        elif failed.account and self._dispatch.blame.of_these_alone(request):
            self._wait_for_account(request, events, failed.account, now)
        else:
            self._failed(request, events, failed, now)

    def _failed(self, request: Request, events: list[Event], failed: RequestFailed, now: Moment) -> None:
        running = self._running(events)
        self._dispatch.failed(request, running, failed, now)
        if running:
            self._statistics.retries[failed.reason] += len(running)

    def _wait_for_account(self, request: Request, events: list[Event], why: str, now: Moment) -> None:
        """Let events wait that were refused for the account while others passed (docs/how-it-works.md#shared-failures)."""
        running = self._running(events)
        if running:
            self._dispatch.wait_for_account(request, running, why, now)
            self._statistics.retries["account"] += len(running)

    def _running(self, events: list[Event]) -> list[Event]:
        return [event for event in events if self._assignments[event.generation].running]
