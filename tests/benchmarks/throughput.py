"""``make bench``: events/s of the connector beside a bare loop of the same libraries, in one run on the same data.

The sides run in turn, each as a fresh process, between a broker and an endpoint that are processes of their own. A round is
both sides, and what counts is the ratio within a round, of which the median is shown: a shared machine is slower in one
minute than in the next, for both. After a warm-up round, which is not counted. Nothing fails by a number.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.benchmarks.sides import bare_loop, connector
from tests.benchmarks.surroundings import Topic, endpoint, filled_broker, received
from tests.benchmarks.traffic import Traffic
from tests.benchmarks.work import Measured, Task

__all__ = ["Comparison", "compare", "in_a_process", "main"]

_EVENTS = 300_000
_ROUNDS = 5
_CLEAN, _MIXED = "conversions", "mixed-conversions"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured, the warm-up left out."""

    events: int
    """Records of each topic, and so of each run."""
    connector: list[Measured]
    bare_loop: list[Measured]
    mixed: list[Measured]
    """The connector on samples with odd ones among them, which the bare loop cannot read."""

    @property
    def ratios(self) -> list[float]:
        """The connector's speed over the bare loop's, of each round."""
        pairs = zip(self.connector, self.bare_loop, strict=True)
        return [bare.acknowledged_seconds / ours.acknowledged_seconds for ours, bare in pairs]


def compare(
    events: int, rounds: int, *, warm_up: bool = True, codec: str = "auto", say: Callable[[str], None]
) -> Comparison:
    """Run both sides so many times, after a round that is not counted; raises if a side does not deliver what it should."""
    numbers = range(rounds + warm_up)
    ours, bare, mixed = ([f"{side}-{number}" for number in numbers] for side in ("ours", "bare", "mixed"))
    topics = (
        Topic(_CLEAN, events, Traffic.CLEAN, groups=tuple(ours)),
        Topic(_MIXED, events, Traffic.MIXED, groups=tuple(mixed)),
    )
    say(f"producing twice {events:,} records")
    with filled_broker(topics) as bootstrap_servers, endpoint() as url:

        def measure(side: Callable[[Task], Measured], topic: str, group: str) -> Measured:
            measured = in_a_process(side, Task(bootstrap_servers, url, topic, group, events, codec))
            arrived = received(url)
            if topic == _CLEAN and arrived != events:
                raise RuntimeError(f"{group}: the endpoint received {arrived:,} events of {events:,}")
            say(f"{group}: {events / measured.acknowledged_seconds:,.0f} records/s")
            return measured

        rows = [
            (
                measure(connector, _CLEAN, ours[number]),
                measure(bare_loop, _CLEAN, bare[number]),
                measure(connector, _MIXED, mixed[number]),
            )
            for number in numbers
        ]
    counted = zip(*rows[warm_up:], strict=True)
    return Comparison(events, *map(list, counted))


def in_a_process(side: Callable[[Task], Measured], task: Task) -> Measured:
    """Run a side in a fresh interpreter."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(side, task).result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throughput", description=__doc__)
    parser.add_argument("--events", type=int, default=_EVENTS, help=f"records of a run (default: {_EVENTS})")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"after the warm-up (default: {_ROUNDS})")
    parser.add_argument("--codec", choices=("auto", "native", "python"), default="auto", help="as the setting CODEC")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    found = compare(options.events, options.rounds, codec=options.codec, say=console.print)
    console.print(_table(found))
    rounds = ", ".join(f"{ratio:.2f}" for ratio in found.ratios)
    console.print(f"ratio connector / bare loop: {median(found.ratios):.2f} (rounds: {rounds})")
    return 0


def _table(found: Comparison) -> Table:
    table = Table(
        "side",
        "records/s",
        "from",
        "to",
        "until committed",
        "CPU a record",
        "peak memory",
        "longest step",
        title="throughput",
    )
    sides = (("connector", found.connector), ("bare loop", found.bare_loop), ("connector, mixed", found.mixed))
    for name, runs in sides:
        speeds = [found.events / run.acknowledged_seconds for run in runs]
        table.add_row(
            name,
            f"{median(speeds):,.0f}",
            f"{min(speeds):,.0f}",
            f"{max(speeds):,.0f}",
            f"{found.events / median(run.committed_seconds for run in runs):,.0f}/s",
            f"{median(run.cpu_seconds for run in runs) / found.events * 1e6:.1f} µs",
            f"{median(run.peak_bytes for run in runs) / 1e6:.0f} MB",
            f"{median(run.longest_step for run in runs) * 1e3:.0f} ms" if runs[0].longest_step else "",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
