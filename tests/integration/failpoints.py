"""Runs the real program, and kills it at a named point of a batch's life: the program has no hooks, this wraps its seams.

    python -m tests.integration.failpoints unread --nth 3 -- run

`POINTS` has every point. At the N-th passage the process writes one line, ``failpoint <name> <wall clock ms>``, to standard
error, unbuffered, and sends itself SIGKILL: nothing after the point happens, no exit handler runs.

A wrapper sits on a class or function of the program and counts passages; everything else is what `connector` is. If a seam
is renamed the wrapper fails at start, so that no point is passed by silently.
"""

from __future__ import annotations

import argparse
import contextvars
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp.http_writer import StreamWriter

from connector.__main__ import main as connector_main
from connector.amazon import client, transport
from connector.core import answers, dedupe, expiry, inputs, outcomes, pipeline, runs
from connector.core.assignment import Assignment, Phase
from connector.intake import Intake
from connector.kafka import commits, consumer, dead_letters, ledger
from connector.model import Outcome

__all__ = ["POINTS", "Point", "main"]

_EXPIRY_SECONDS = 0.1
"""In place of a minute, for the point that is in an expiry."""


class _Trap:
    """Counts passages of a point, on any thread, and ends the process at the N-th."""

    def __init__(self, name: str, nth: int) -> None:
        self._name = name
        self._left = nth
        self._lock = threading.Lock()

    def is_due(self) -> bool:
        """Count a passage; tell whether it is the one."""
        with self._lock:
            self._left -= 1
            return self._left == 0

    def spring(self) -> None:
        """End the process here, and say so."""
        os.write(2, f"failpoint {self._name} {time.time_ns() // 1_000_000}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # the signal may find another thread first

    def __call__(self) -> None:
        """Count a passage, and end the process if it is the one."""
        if self.is_due():
            self.spring()


Installer = Callable[[_Trap], None]


@dataclass(frozen=True, slots=True)
class Point:
    """A moment at which a process may die."""

    faults: tuple[int, ...]
    """Numbers, from 1 to 15, of the kinds of crash that a death here plays; `where` says what each is."""
    where: str
    afterwards: str
    """What must hold after a restart, beside every invariant of the oracle."""
    install: Installer = field(repr=False)
    nth: int = 2
    """The passage at which the matrix kills: one in the middle of its traffic."""
    draining: bool = False
    """Whether it is passed only after SIGTERM."""
    shows: str = ""
    """What a death there cannot but leave to be seen from outside: ``broken off``, ``sent again``, ``already resolved`` or
    ``second letter``; nothing where it depends."""


# ---- ways to wrap


def _replace(owner: Any, **wrappers: Callable[..., Any]) -> None:
    """Put wrappers in the place of what has their names."""
    for name, wrapped in wrappers.items():
        setattr(owner, name, functools.wraps(getattr(owner, name))(wrapped))


def _before(owner: Any, name: str, where: Callable[..., bool] = lambda *_, **__: True) -> Installer:
    """Die before a call, of those for which ``where`` holds."""

    def install(trap: _Trap) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if where(*arguments, **named):
                trap()
            return original(*arguments, **named)

        _replace(owner, **{name: wrapped})

    return install


def _after(owner: Any, name: str, where: Callable[..., bool] = lambda *_, **__: True) -> Installer:
    """Die after a call has returned, or the coroutine it made has ended."""

    def install(trap: _Trap) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            found = original(*arguments, **named)
            if hasattr(found, "__await__"):
                return _awaited(found, trap)
            if where(*arguments, **named):
                trap()
            return found

        _replace(owner, **{name: wrapped})

    return install


async def _awaited(coroutine: Any, trap: _Trap) -> Any:
    found = await coroutine
    trap()
    return found


def _in_report(owner: Any, name: str, at: int, where: Callable[..., bool] = lambda *_: True) -> Installer:
    """Die when the brokers' confirmation is in, before the program hears of it: ``report`` is argument ``at``."""

    def install(trap: _Trap) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any) -> None:
            def report(confirmation: Any) -> None:
                if confirmation.error is None and where(*arguments):
                    trap()
                arguments[at](confirmation)

            original(*arguments[:at], report, *arguments[at + 1 :])

        _replace(owner, **{name: wrapped})

    return install


# ---- points that a wrapper around one call does not reach


def _half_a_request_out(trap: _Trap) -> None:
    is_of_events = contextvars.ContextVar("is_of_events", default=False)
    post, write = client.AmazonSink._post, StreamWriter.write

    async def posted(*arguments: Any) -> Any:
        is_of_events.set(True)
        return await post(*arguments)

    async def written(writer: StreamWriter, chunk: Any, **named: Any) -> None:
        if is_of_events.get() and trap.is_due():
            await write(writer, chunk[: len(chunk) // 2], **named)  # into an empty socket, so it is out
            trap.spring()
        await write(writer, chunk, **named)

    _replace(client.AmazonSink, _post=posted)
    _replace(StreamWriter, write=written)


def _half_of_the_verdicts(trap: _Trap) -> None:
    verdicts, delivered = answers.Answers._verdicts, outcomes.Outcomes.delivered
    left = 0

    def judged(self: answers.Answers, request: Any, answer: Any, *rest: Any) -> None:
        nonlocal left
        left = request.count // 2 if request.count > 1 and trap.is_due() else 0
        request.runs[:] = [run for half in runs.divide(request.runs, left) for run in half]
        verdicts(self, request, answer, *rest)

    def resolved(self: outcomes.Outcomes, assignment: Any, run: Any, *rest: Any) -> None:
        nonlocal left
        delivered(self, assignment, run, *rest)
        before, left = left, left - len(run)
        if before > 0 >= left:
            trap.spring()

    _replace(answers.Answers, _verdicts=judged)
    _replace(outcomes.Outcomes, delivered=resolved)


def _expiry(trap: _Trap) -> None:
    expiry._EXPIRY_SECONDS = _EXPIRY_SECONDS
    os.environ["CODEC"] = "python"  # a trap cannot be set in native code
    _after(dedupe.SeenKeys, "expire", lambda keys, _: len(keys) > 0)(trap)


def _handled(kind: type) -> Callable[..., bool]:
    return lambda _, told, __: isinstance(told, kind)


def _handled_in_a_drain(kind: type) -> Callable[..., bool]:
    return lambda self, told, _: isinstance(told, kind) and any(part.phase is Phase.DRAINING for part in self.assignments)


def _has_facts(_ledger: object, _source: object, _topic_id: object, facts: Any, _report: object) -> bool:
    return bool(len(facts))


def _has_deliveries(_ledger: object, _source: object, _topic_id: object, facts: Any, _report: object) -> bool:
    return Outcome.DELIVERED in facts.outcomes


def _has_points(_queue: object, points: Any) -> bool:
    return bool(points)


_RECORDS_AGAIN = "its records are polled again, and nothing of them was sent"
_SENT_AGAIN = "what was in flight may be accepted twice, under the same id and with the same payload"
_FROM_THE_LEDGER = "what the ledger has is already resolved, and not sent again"

POINTS = {
    "polled": Point((1,), "records polled, none decoded", _RECORDS_AGAIN, _before(Intake, "read"), nth=3),
    "decoded": Point((2,), "decoded, not taken in by the pipeline", _RECORDS_AGAIN, _after(Intake, "read"), nth=3),
    "taken-in": Point(
        (2, 3),
        "judged and batched, no command carried out",
        _RECORDS_AGAIN,
        _after(pipeline.Pipeline, "handle", _handled(inputs.Polled)),
    ),
    "unsent": Point(
        (4,), "a request is to be sent, nothing of it is out", _SENT_AGAIN, _before(client.AmazonSink, "send"), 5
    ),
    "half-sent": Point(
        (5,),
        "half a request's body is out",
        "the sandbox takes nothing of it",
        _half_a_request_out,
        nth=5,
        shows="broken off",
    ),
    "unread": Point(
        (6,), "accepted, the answer's headers are in", _SENT_AGAIN, _before(transport, "_read"), nth=8, shows="sent again"
    ),
    "unresolved": Point(
        (7,),
        "an answer was read, nothing of it is resolved",
        _SENT_AGAIN,
        _before(pipeline.Pipeline, "handle", _handled(inputs.RequestFinished)),
        nth=5,
        shows="sent again",
    ),
    "half-resolved": Point(
        (8,), "half of an answer's events are resolved", _SENT_AGAIN, _half_of_the_verdicts, nth=4, shows="sent again"
    ),
    "letter-queued": Point(
        (9,),
        "a letter is with the client, not yet with the brokers",
        "each dead-lettered record has a letter",
        _after(dead_letters.DeadLetters, "write"),
        nth=3,
    ),
    "letter-unconfirmed": Point(
        (9,),
        "a letter is with the brokers, the client does not know",
        "there may be a second letter",
        _in_report(dead_letters.DeadLetters, "write", 4),
        shows="second letter",
    ),
    "facts-unwritten": Point(
        (10,),
        "facts are to be appended, none is out",
        _SENT_AGAIN,
        _before(ledger.KafkaLedger, "append", _has_deliveries),
        nth=3,
        shows="sent again",
    ),
    "facts-queued": Point(
        (10,),
        "facts are with the client, not yet with the brokers",
        _SENT_AGAIN,
        _after(ledger.KafkaLedger, "append", _has_deliveries),
        nth=3,
    ),
    "facts-unconfirmed": Point(
        (11,),
        "facts are in the ledger, the client does not know",
        _FROM_THE_LEDGER,
        _in_report(ledger.KafkaLedger, "append", 4, _has_deliveries),
        nth=3,
        shows="already resolved",
    ),
    "uncommitted": Point(
        (11,),
        "facts are confirmed, the commit is not out",
        _FROM_THE_LEDGER,
        _before(commits.CommitQueue, "queue", _has_points),
        nth=3,
        shows="already resolved",
    ),
    "commit-queued": Point(
        (11, 12),
        "a commit is with the client, perhaps not with the brokers",
        _FROM_THE_LEDGER,
        _after(commits.CommitQueue, "send", lambda queue: queue.in_flight),
        nth=3,
    ),
    "committed": Point(
        (12,),
        "the brokers took a commit",
        "it goes on from there",
        _before(consumer.SourceConsumer, "_on_commit", lambda _, error, __: error is None),
        nth=3,
    ),
    "expiry": Point((13,), "one partition's window has expired, others' not", "the window is read again", _expiry, nth=2),
    "restore": Point((14,), "half of a ledger is read", "the next restore is whole", _before(ledger, "_take"), nth=4),
    "restored": Point(
        (14,),
        "a ledger is read, the partition not started",
        "the next restore is whole",
        _after(ledger.KafkaLedger, "restore"),
    ),
    "opened": Point(
        (14,),
        "an assignment's own empty entry is in the ledger, nothing is polled",
        "entries without facts mean nothing",
        _in_report(ledger.KafkaLedger, "append", 4, lambda *arguments: not _has_facts(*arguments)),
        nth=1,
    ),
    "drain-begins": Point(
        (15,),
        "the drain has begun, no command is carried out",
        _SENT_AGAIN,
        _after(pipeline.Pipeline, "handle", _handled(inputs.ShutdownRequested)),
        nth=1,
        draining=True,
    ),
    "drain-answered": Point(
        (15,),
        "an answer came during the drain, nothing of it is resolved",
        _SENT_AGAIN,
        _before(pipeline.Pipeline, "handle", _handled_in_a_drain(inputs.RequestFinished)),
        nth=1,
        draining=True,
        shows="sent again",
    ),
    "drain-written": Point(
        (15,),
        "the drain's facts are in the ledger, the last commit is not out",
        _FROM_THE_LEDGER,
        _before(pipeline.Pipeline, "handle", _handled_in_a_drain(inputs.FactsAppended)),
        nth=1,
        draining=True,
    ),
    "drain-commits": Point(
        (15,),
        "the last commit is to be made, the group not yet left",
        _FROM_THE_LEDGER,
        _after(Assignment, "commit_point", lambda part, *_: part.phase is Phase.DRAINING),
        nth=1,
        draining=True,
        shows="already resolved",
    ),
}
"""Every point, in the order in which a batch passes them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of the program with a point set; return its exit code, if it lives to have one."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.failpoints", description="Die at a named point.")
    parser.add_argument("point", choices=POINTS)
    parser.add_argument("--nth", type=int, default=None, help="at which passage; the default is the matrix's")
    parser.add_argument("command", nargs="+", help="of the connector, after --")
    found = parser.parse_args(arguments)
    point = POINTS[found.point]
    point.install(_Trap(found.point, found.nth or point.nth))
    return connector_main(found.command)


if __name__ == "__main__":
    sys.exit(main())
