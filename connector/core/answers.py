"""What an answer of Amazon means for the events of its request.

An answer cuts the runs of its request where the verdict changes. Each event with a final verdict
ends by it. What got none is sent again, and is given up only when it is known to be at fault:
others of the same time got their verdicts (see the table in `dispatch`). Events of an assignment
that has ended are not sent again; a late verdict still becomes a fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from connector.core import inputs
from connector.core.assignment import Assignment
from connector.core.dispatch import Dispatch
from connector.core.outcomes import Outcomes
from connector.core.request import Request
from connector.core.retry import RetryPolicy
from connector.core.runs import Run, count
from connector.core.statistics import Statistics
from connector.model import Failure, Flaw, Moment, Reason, RequestFailed, Verdict, VerdictKind, Verdicts

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
        for run in request.runs:
            assignment = self._assignments[run.generation]
            assignment.in_flight -= len(run)
            if not assignment.live:
                assignment.release(len(run), run.size)
        match finished.answer:
            case Verdicts():
                self._verdicts(request, finished.answer, now)
            case RequestFailed():
                self._request_failed(request, finished.answer, now)
            case _:
                assert_never(finished.answer)

    def _verdicts(self, request: Request, answer: Verdicts, now: Moment) -> None:
        delivered, refused = 0, 0
        still_open: list[tuple[Run, Verdict]] = []
        for_account: list[Run] = []
        why = ""
        for run, verdict in _judged(request.runs, answer.verdicts):
            assignment = self._assignments[run.generation]
            kind = verdict.kind
            if kind is VerdictKind.DELIVERED:
                delivered += len(run)
                self._outcomes.delivered(assignment, run, now)
                continue
            refused += kind is VerdictKind.REJECTED
            if not assignment.live:
                self._statistics.late_answers += len(run)
            elif kind is VerdictKind.REJECTED:
                self._outcomes.dead_letter(assignment, run, Flaw(Reason.REJECTED, verdict.detail), now)
            elif verdict.account:
                for_account.append(run)
                why = verdict.account
            else:
                still_open.append((run, verdict))
        alone = request.count == 1
        if delivered or refused:
            self._dispatch.answered(request, delivered, now)
            self._own_tries(request, still_open, now)
            self._wait_for_account(request, for_account, why, now)
        elif for_account and self._dispatch.blame.of_these_alone(request):
            self._own_tries(request, still_open, now)
            self._wait_for_account(request, for_account, why, now)
        elif for_account:
            runs = for_account + [run for run, _ in still_open]
            failed = RequestFailed(Failure.OPERATOR, "account", detail=f"Amazon takes no event: {why}")
            self._failed(request, runs, failed, now)
        elif self._dispatch.blame.proven(request) and (alone or all(run.tries for run in request.runs)):
            self._own_tries(request, still_open, now)  # of all that were sent, these alone get no verdict
        elif alone and still_open and self._is_hopeless(request, still_open[0][1]):
            run, verdict = still_open[0]
            flaw = Flaw(Reason.NO_VERDICT, verdict.detail)
            self._outcomes.dead_letter(self._assignments[run.generation], run, flaw, now)
        else:
            self._no_verdict_at_all(request, still_open, now)

    def _is_hopeless(self, request: Request, verdict: Verdict) -> bool:
        return verdict.kind is VerdictKind.RETRY and request.attempt + 1 >= self._retry.max_alone

    def _own_tries(self, request: Request, still_open: list[tuple[Run, Verdict]], now: Moment) -> None:
        """Send events without a final verdict again, a bounded number of times."""
        again: list[Run] = []
        for run, verdict in still_open:
            assignment = self._assignments[run.generation]
            run.tries += 1
            if run.tries >= self._retry.max_tries:
                flaw = Flaw(Reason.NO_VERDICT, verdict.detail or "no verdict on this event")
                self._outcomes.dead_letter(assignment, run, flaw, now)
            elif assignment.running:
                again.append(run)
        if again:
            self._dispatch.again(request, again, now)
            self._statistics.retries["no-verdict"] += count(again)

    def _no_verdict_at_all(self, request: Request, still_open: list[tuple[Run, Verdict]], now: Moment) -> None:
        """Send all again: an answer without a final verdict says nothing about any one event.

        See docs/how-it-works.md#shared-failures.
        """
        runs = self._running([run for run, _ in still_open])
        if any(verdict.kind is VerdictKind.RETRY for _, verdict in still_open):
            self._dispatch.failed(request, runs, RequestFailed(Failure.RETRY_ALL, "retry-all"), now)
        else:
            self._dispatch.unjudged(request, runs, now)
        if runs:
            self._statistics.retries["no-verdict"] += count(runs)

    def _request_failed(self, request: Request, failed: RequestFailed, now: Moment) -> None:
        runs = self._running(request.runs)
        if self._dispatch.blame.at_fault(request, failed):
            if failed.failure is Failure.TOO_LARGE:
                flaw = Flaw(Reason.TOO_LARGE, "event: larger than Amazon takes (413)")
            else:
                flaw = Flaw(Reason.REJECTED, f"{failed.detail or failed.reason}, to a request of this event alone")
            for run in runs:
                self._outcomes.dead_letter(self._assignments[run.generation], run, flaw, now)
        elif failed.account and self._dispatch.blame.of_these_alone(request):
            self._wait_for_account(request, runs, failed.account, now)
        else:
            self._failed(request, runs, failed, now)

    def _failed(self, request: Request, runs: list[Run], failed: RequestFailed, now: Moment) -> None:
        running = self._running(runs)
        self._dispatch.failed(request, running, failed, now)
        if running:
            self._statistics.retries[failed.reason] += count(running)

    def _wait_for_account(self, request: Request, runs: list[Run], why: str, now: Moment) -> None:
        """Hold events back that were refused for the account while others passed.

        See docs/how-it-works.md#shared-failures.
        """
        running = self._running(runs)
        if running:
            self._dispatch.wait_for_account(request, running, why, now)
            self._statistics.retries["account"] += count(running)

    def _running(self, runs: list[Run]) -> list[Run]:
        return [run for run in runs if self._assignments[run.generation].running]


def _judged(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> Iterator[tuple[Run, Verdict]]:
    if len(verdicts) != count(runs):
        raise ValueError(f"{len(verdicts)} verdicts on {count(runs)} events")
    first = 0
    for run in runs:
        yield from run.stretches(verdicts[first : first + len(run)])
        first += len(run)
