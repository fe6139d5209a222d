"""``make throttle``: ten minutes in which Amazon throttles every request, with a full topic behind it.

Memory must stay flat, the group must not notice, and afterwards everything drains. Kafka, sandbox and connector are real
processes, looked at from outside once a second. ``tests/integration/test_bounds.py`` asserts the same of a short one; this
one prints figures and draws the curve.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.drawing import Points, Row, Shade, draw
from tests.integration.events import event, now_ms
from tests.integration.kafka.cluster import Cluster
from tests.integration.program import ConnectorProcess, Sandbox, World
from tests.patience import patience

__all__ = ["PARTITIONS", "Sample", "ThrottledRun", "fill", "main", "ride_out", "staged", "watch"]

PARTITIONS = 6
_AT_ONCE = 20_000
"""Records given to the producer in one go; its queue holds 100,000."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PERIOD_SECONDS = 1.0
_FILL_SECONDS = 120.0
_DRAIN_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    seconds: float
    """Since it was started."""
    resident_bytes: int
    files: int
    """Open file descriptors."""
    held_events: int
    """Buffered and in flight."""
    held_bytes: int
    delivered: int
    lag: int
    throttled: int
    """Requests answered 429 so far."""
    limit: int
    """Requests that may be out at once."""
    full: bool
    """Whether fetching is paused because the buffer is full."""


@dataclass(frozen=True, slots=True)
class ThrottledRun:
    """What was seen: while every request was throttled, and afterwards."""

    throttled: list[Sample]
    drained: list[Sample]
    rebalances: int
    """Partitions assigned again, lost or released before the end."""

    @property
    def full(self) -> list[Sample]:
        """Samples taken under throttling once the buffer was full."""
        return [sample for sample in self.throttled if sample.full]


def fill(world: World, events: int, **changes: object) -> None:
    """Produce so many events, all different, to `PARTITIONS` partitions."""
    stamp = now_ms() - 3_600_000
    for first in range(0, events, _AT_ONCE):
        for partition in range(PARTITIONS):
            numbers = range(first + partition, min(first + _AT_ONCE, events), PARTITIONS)
            world.produce(
                *(event(f"order-{number}", **({"timestamp": stamp} | changes)) for number in numbers), partition=partition
            )


def ride_out(world: World, sandbox: Sandbox, events: int, seconds: float, **settings: str) -> ThrottledRun:
    """Throttle a new connector for ``seconds`` once its buffer is full, then let it drain the topic."""
    sandbox.set_faults(throttle_429=1.0, retry_after=None)
    connector = world.connector(**settings)
    began = time.monotonic()
    throttled = watch(connector, began, lambda sample: sample.full, _FILL_SECONDS)
    until = throttled[-1].seconds + seconds
    throttled += watch(connector, began, lambda sample: sample.seconds >= until, seconds + _FILL_SECONDS)
    sandbox.set_faults()
    drained = watch(connector, began, lambda sample: sample.delivered == events, _DRAIN_SECONDS)
    world.until_committed_to_the_end()
    told = [line["event"] for line in connector.log()]
    assert connector.stop() == 0
    changes = {"partition_assigned": -PARTITIONS, "partition_lost": 0, "partition_released": 0}
    return ThrottledRun(throttled, drained, sum(told.count(what) + first for what, first in changes.items()))


def watch(connector: ConnectorProcess, began: float, over: Callable[[Sample], bool], seconds: float) -> list[Sample]:
    """Look at it once a second until the last sample says that it is over, for so many seconds at most."""
    samples: list[Sample] = []
    since = time.monotonic()
    while not samples or not over(samples[-1]):
        waited = time.monotonic() - since
        assert waited < seconds or waited < patience(seconds), f"not over within {waited:.0f} s: {samples[-1:]}"
        assert connector.running, connector.output[-3000:]
        if (sample := _sample(connector, began)) is not None:
            samples.append(sample)
        time.sleep(_PERIOD_SECONDS)
    return samples


def _sample(connector: ConnectorProcess, began: float) -> Sample | None:
    metrics = connector.metrics()
    if "connector_held_bytes" not in metrics:
        return None
    process = Path("/proc") / str(connector.pid)
    return Sample(
        seconds=time.monotonic() - began,
        resident_bytes=int((process / "statm").read_text().split()[1]) * _PAGE_BYTES,
        files=len(list((process / "fd").iterdir())),
        held_events=int(metrics["connector_buffered_events"] + metrics["connector_in_flight_events"]),
        held_bytes=int(metrics["connector_held_bytes"]),
        delivered=int(metrics['connector_events_total{outcome="delivered"}']),
        lag=int(sum(value for name, value in metrics.items() if name.startswith("connector_lag{"))),
        throttled=int(metrics.get('connector_requests_total{status="429"}', 0)),
        limit=int(metrics["connector_concurrency_limit"]),
        full=metrics['connector_paused{reason="buffer_full"}'] > 0,
    )


# ---- by hand


@contextmanager
def staged() -> Iterator[World]:
    """Yield a world with a topic of `PARTITIONS`, on the Apache Kafka that is named or on one of its own."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS") or stack.enter_context(Cluster()).bootstrap_servers
        sandbox = Sandbox(directory)
        stack.callback(sandbox.kill)
        world = stack.enter_context(closing(World(servers, sandbox, directory)))
        world.create_topic(PARTITIONS)
        yield world


def main(arguments: Sequence[str] | None = None) -> int:
    """Ride out the throttling, print the figures and draw the curve."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throttle", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="records in the topic (default: 300000)")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long every request is throttled (default: 600)")
    parser.add_argument("--picture", type=Path, help="where to draw the curve, as SVG")
    options = parser.parse_args(arguments)
    with staged() as world:
        sandbox = world.sandbox
        fill(world, options.events)
        print(f"produced {options.events:,} records; throttling for {options.seconds:.0f} s", flush=True)
        run = ride_out(world, sandbox, options.events, options.seconds)
        accepted = sandbox.accepted()
    print(_figures(run))
    twice = sum(count > 1 for count in accepted.values())
    print(f"delivered {len(accepted):,} of {options.events:,} events, {twice:,} of them twice")
    if options.picture:
        options.picture.write_text(_picture(run), "utf-8")
    return 0 if len(accepted) == options.events and not twice and not run.rebalances else 1


def _figures(run: ThrottledRun) -> str:
    full = run.full
    tenth = max(1, len(full) // 10)
    first, last = (median(sample.resident_bytes for sample in part) / 1e6 for part in (full[:tenth], full[-tenth:]))
    drained = run.drained[-1].seconds - run.drained[0].seconds
    most = max(sample.resident_bytes for sample in full) / 1e6
    lines = [
        f"memory with the buffer full: {first:.1f} MB at first, {last:.1f} MB at last, {most:.1f} MB at most",
        f"open files: {full[0].files} at first, {full[-1].files} at last",
        f"held: {max(s.held_events for s in full):,} events, {max(s.held_bytes for s in full) / 1e6:.1f} MB at most",
        f"requests throttled: {full[-1].throttled:,}; partitions assigned again, lost or released: {run.rebalances}",
        f"drained in {drained:.0f} s: {run.drained[-1].delivered / max(drained, 1):,.0f} events/s",
    ]
    return "\n".join(lines)


def _picture(run: ThrottledRun) -> str:
    """Draw memory, events held and lag over time."""
    samples = run.throttled + run.drained
    span, until = samples[-1].seconds, run.throttled[-1].seconds

    def line(value: Callable[[Sample], float]) -> Points:
        return [(sample.seconds, value(sample)) for sample in samples]

    rows = (
        Row("memory, MB", (line(lambda sample: sample.resident_bytes / 1e6),)),
        Row("events held", (line(lambda sample: sample.held_events),)),
        Row("lag, records", (line(lambda sample: sample.lag),)),
    )
    return draw(rows, span, [Shade(0, until)], f"every request answered 429 for {until:.0f} s (shaded), {span:.0f} s in all")


if __name__ == "__main__":
    sys.exit(main())
