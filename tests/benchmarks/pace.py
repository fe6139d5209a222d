"""``make pace``: a steady load while Amazon takes few requests a second, and then while it is slow.

Requests and events a second are counted by the sandbox, the limit of requests at once is the connector's own metric. Between
the troubles Amazon is well, so that it shows how long recovery takes.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.drawing import Points, Row, Shade, draw
from tests.benchmarks.throttle import PARTITIONS, Sample, staged, watch
from tests.integration.brokers import Produced
from tests.integration.events import event, now_ms
from tests.integration.program import Sandbox, World

__all__ = ["PHASES", "Phase", "Run", "Seen", "follow", "main"]

_PER_SECOND = 300
"""Events produced."""
_BATCH = 50
"""Events of a full request: six a second when all is well."""
_WELL: Mapping[str, Any] = {"latency_ms": 400}
"""Eight at once are then 20 a second: what waits afterwards does not dwarf the rest of the picture."""
_CAUGHT_UP = 3 * _PER_SECOND
"""Events on their way when nothing holds them up, at most: linger, request, flush."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which Amazon behaves in one way."""

    seconds: float
    plan: Mapping[str, Any] = field(default_factory=dict)
    """The sandbox's fault plan, beside a latency of 400 ms."""
    title: str = ""
    """The title of the trouble in the report."""


PHASES = (
    Phase(30),
    Phase(75, {"max_requests_per_second": 2, "retry_after": None}, "429 beyond 2 requests/s"),
    Phase(45),
    Phase(90, {"latency_ms": 0, "latency_p50_ms": 2_000, "latency_p99_ms": 20_000}, "slow: p50 2 s, p99 20 s"),
    Phase(45),
)


class Seen(NamedTuple):
    """A request that the sandbox received, in seconds since the beginning."""

    arrived: float
    answered: float
    accepted: int
    """Events, where the answer left."""
    refused: bool
    """Whether with a 429."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen, in seconds since the beginning."""

    samples: list[Sample]
    begins: list[float]
    """When each phase began, and when the last one ended."""
    produced: list[tuple[float, int]]
    """How many events there were, each time that some had been produced."""
    requests: list[Seen]

    def between(self, begins: float, ends: float) -> tuple[float, float, float]:
        """Return requests, refused ones, and events accepted, each a second."""
        arrived = [one for one in self.requests if begins <= one.arrived < ends]
        accepted = sum(one.accepted for one in self.requests if begins <= one.answered < ends)
        seconds = ends - begins
        return len(arrived) / seconds, sum(one.refused for one in arrived) / seconds, accepted / seconds

    def waiting(self, seconds: float) -> int:
        """Return how many events were produced by then and not yet accepted."""
        produced = max((count for at, count in self.produced if at <= seconds), default=0)
        return produced - sum(one.accepted for one in self.requests if one.answered <= seconds)


class _Load:
    """So many events a second, in a thread, until it is stopped."""

    def __init__(self, world: World, began: float) -> None:
        self.produced: list[tuple[float, int]] = []
        self._world, self._began = world, began
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._flow)
        self._thread.start()

    def _flow(self) -> None:
        for turn in range(1, sys.maxsize):
            self._world.produce(*map(self._record, range((turn - 1) * _PER_SECOND, turn * _PER_SECOND)))
            self.produced.append((time.monotonic() - self._began, turn * _PER_SECOND))
            if self._over.wait(max(0.0, self._began + turn - time.monotonic())):
                return

    def _record(self, number: int) -> Produced:
        inputs = event(f"order-{number}", timestamp=now_ms() - 60_000)
        return Produced(self._world.value(inputs), partition=number % PARTITIONS)

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join()


def follow(world: World, sandbox: Sandbox, phases: Sequence[Phase]) -> Run:
    """Put a connector through the phases, and let it deliver what is left."""
    sandbox.set_faults(**_WELL)
    connector = world.connector(BATCH_MAX_EVENTS=str(_BATCH), BATCH_LINGER="1s", LEDGER_FLUSH_INTERVAL="1s")
    connector.until_ready()
    began, wall_ms = time.monotonic(), now_ms()
    load = _Load(world, began)
    try:
        begins, samples = [0.0], list[Sample]()
        for phase in phases:
            sandbox.set_faults(**{**_WELL, **phase.plan})
            until = begins[-1] + phase.seconds
            samples += watch(connector, began, _reached(until), phase.seconds + 30)
            begins.append(samples[-1].seconds)
    finally:
        load.stop()
    world.until_committed_to_the_end()
    print(f"outcomes by the connector: {connector.outcomes()}")
    assert connector.stop() == 0
    return Run(samples, begins, load.produced, list(_seen(sandbox.requests(), wall_ms)))


def _reached(until: float) -> Callable[[Sample], bool]:
    return lambda sample: sample.seconds >= until


def _seen(requests: Iterable[Mapping[str, Any]], wall_ms: int) -> Iterable[Seen]:
    for one in requests:
        arrived, answered = ((one[name] - wall_ms) / 1000 for name in ("arrival", "answered"))
        yield Seen(arrived, answered, one["accepted"] if one["answer"] == "sent" else 0, one["status"] == 429)


# ---- by hand


def main(arguments: Sequence[str] | None = None) -> int:
    """Go through the phases, print the figures and draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pace", description=__doc__)
    parser.add_argument("--picture", type=Path, help="where to draw the curves, as SVG")
    options = parser.parse_args(arguments)
    with staged() as world:
        sandbox = world.sandbox
        print(f"{_PER_SECOND} events/s for {sum(phase.seconds for phase in PHASES):.0f} s", flush=True)
        run = follow(world, sandbox, PHASES)
        record = sandbox.record()
    print(_figures(run))
    accepted = Counter(line["id"] for line in record if line["verdict"] == "accepted")
    excused = {line["id"] for line in record if line["answer"] != "sent"}
    again = {one for one, count in accepted.items() if count > 1}
    produced = run.produced[-1][1]
    print(f"delivered {len(accepted):,} of {produced:,} events, {len(again):,} twice (in doubt: {len(again & excused):,})")
    if options.picture:
        options.picture.write_text(_picture(run), "utf-8")
    accounted_for = len(accepted) == produced and again <= excused
    lost = produced - len(accepted)
    print(
        "all events accounted for"
        if accounted_for
        else f"{lost:,} events unaccounted for; delivered twice without a reason: {sorted(again - excused)[:10]}"
    )
    return 0 if accounted_for else 1


def _figures(run: Run) -> str:
    lines = []
    for phase, (begins, ends) in zip(PHASES, pairwise(run.begins), strict=True):
        requests, refused, events = run.between(begins, ends)
        limits = [sample.limit for sample in run.samples if begins <= sample.seconds < ends]
        line = f"{begins:4.0f} to {ends:3.0f} s, {phase.title or 'well'}: {requests:.1f} requests/s"
        line += f" ({refused:.1f} refused), {events:.0f} events/s, {min(limits)} to {max(limits)} requests at once"
        line += f"; {run.waiting(ends):,} events wait at its end"
        if not phase.title and begins:
            line += f"; caught up after {_caught_up(run, begins, ends)} s"
        lines.append(line)
    return "\n".join(lines)


def _caught_up(run: Run, begins: float, ends: float) -> int | None:
    """Return the seconds since the trouble's end until no more events waited than when all is well."""
    return next((s for s in range(int(ends - begins)) if run.waiting(begins + s) <= _CAUGHT_UP), None)


def _picture(run: Run) -> str:
    seconds = run.begins[-1]
    each = [(float(second), *run.between(second, second + 1)) for second in range(int(seconds))]

    def line(place: int) -> Points:
        return [(one[0], one[place]) for one in each]

    rows = (
        Row("requests a second, those refused in red", (line(1), line(2))),
        Row("events accepted a second", (line(3),)),
        Row("requests that may be out at once", ([(one.seconds, float(one.limit)) for one in run.samples],)),
        Row("events that wait", ([(one[0], float(run.waiting(one[0]))) for one in each],)),
    )
    troubles = zip(PHASES, pairwise(run.begins), strict=True)
    shades = [Shade(begins, ends, phase.title) for phase, (begins, ends) in troubles if phase.title]
    return draw(rows, seconds, shades, f"{_PER_SECOND} events/s for {seconds:.0f} s, {_BATCH} a request")


if __name__ == "__main__":
    sys.exit(main())
