"""What people are told of a running pipeline.

They are told what it holds, what is paused and why, and what needs an operator.

Functions of a pipeline that change nothing. Metrics, the health page and the log read them.
"""

from __future__ import annotations

from connector.core.assignment import Assignment, Phase
from connector.core.pipeline import MAX_AHEAD, Pipeline

__all__ = ["REASONS", "buffered_events", "held_bytes", "held_up", "in_flight_events", "needs_operator", "paused"]


def in_flight_events(pipeline: Pipeline) -> int:
    """Return the number of events in flight whose assignments are ours."""
    return sum(assignment.in_flight for assignment in pipeline.assignments)


def buffered_events(pipeline: Pipeline) -> int:
    """Return the number of records neither in flight nor resolved.

    They are to be sent, sent again, or written as letters.
    """
    return sum(assignment.held - assignment.in_flight for assignment in pipeline.assignments)


def held_bytes(pipeline: Pipeline) -> int:
    """Return the size of the records buffered and in flight."""
    return sum(assignment.held_bytes for assignment in pipeline.assignments)


def needs_operator(pipeline: Pipeline) -> list[str]:
    """Return the messages that need an operator; while there is one the connector is unready."""
    troubled, dispatch, clock = pipeline.troubled, pipeline.dispatch, pipeline.clock
    if not pipeline.has_assignments:
        return []  # a member without partitions waits for nobody
    messages = [message for message in (dispatch.verdict, dispatch.account) if message]
    if dispatch.breaker.open:
        messages.append(dispatch.breaker.message)
    if not clock.agrees:
        messages.append(
            f"the wall clock is {clock.disagreement_ms / 1000:+.0f} s off the brokers': nothing is judged or sent "
            "until they agree within MAX_CLOCK_SKEW. Correct the clock of this host, or of the brokers"
        )
    refusals = {refusal: None for each in troubled for refusal in (each.restoring.refusal, each.facts.complaint)}
    letters = [(assignment.partition, assignment.letters.complaint()) for assignment in troubled]
    unwritable = [f"dead letters of {partition} {complaint}" for partition, complaint in letters if complaint]
    unreadable = [assignment.unreadable_message() for assignment in troubled]
    return [message for message in (*messages, *refusals, *unwritable, *unreadable) if message]


def paused(pipeline: Pipeline) -> dict[str, int]:
    """Return how many partitions are paused, by reason; what holds for all counts them all."""
    counts = dict.fromkeys(REASONS, 0)
    for _, reasons in held_up(pipeline):
        for reason in reasons:
            counts[reason] += 1
    return counts


def held_up(pipeline: Pipeline) -> list[tuple[Assignment, list[str]]]:
    """Return each assignment with the reasons for which it is paused; none while it goes on."""
    dispatch = pipeline.dispatch
    everywhere = {
        "buffer_full": pipeline.full,
        "clock": not pipeline.clock.agrees,
        "operator": dispatch.verdict is not None,
        "breaker": dispatch.breaker.open,
        "outage": dispatch.away,
        "ledger": pipeline.ledger_behind,
    }
    return [
        (assignment, [reason for reason, holds in (_alone(assignment, pipeline.vouched) | everywhere).items() if holds])
        for assignment in pipeline.assignments
    ]


def _alone(each: Assignment, vouched: bool) -> dict[str, bool]:
    """Return what may hold up one assignment and not another."""
    return {
        "restoring": each.phase in {Phase.RESTORING, Phase.OPENING} and not each.restoring.refusal,
        "refused": each.restoring.refusal is not None,
        "dead_letter": each.letters.failures > 0,
        "unreadable": each.unreadable.tries > 0,
        "coordinator": each.running and not vouched,
        "ahead": len(each.tracker) > MAX_AHEAD,
        "draining": each.phase is Phase.DRAINING,
    }


REASONS = (
    "restoring",
    "refused",
    "dead_letter",
    "unreadable",
    "coordinator",
    "ahead",
    "draining",
    "buffer_full",
    "clock",
    "operator",
    "breaker",
    "outage",
    "ledger",
)
"""Every reason for which a partition may be paused. Waiting for a schema is the consumer's."""
