"""``make bench-peers``: the connector beside a bare loop and beside other frameworks, on the same topic and endpoint.

All sides take turns, each as a fresh process. A round is one run of each, and what counts is the ratio to the bare loop
within a round, of which the median is shown, by the clock and by CPU. The round before the first is not counted. The peers
run in an environment of their own; a peer that fails is named with its reason, and the others go on. How many events a
second the endpoint takes is measured, too: it must not be what limits a side. Nothing fails by a number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

import aiohttp
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from tests.benchmarks.drawing import Bar, draw_bars
from tests.benchmarks.members import compare_members
from tests.benchmarks.sides import bare_loop, connector
from tests.benchmarks.surroundings import PARTITIONS, Topic, endpoint, filled_broker, received
from tests.benchmarks.throughput import in_a_process
from tests.benchmarks.traffic import Traffic, due, records
from tests.benchmarks.work import ACCEPT_PATH, EVENTS, JSON, Measured, Reader, Task, body

__all__ = ["BARE", "Comparison", "Run", "Side", "compare", "main", "peer", "picture", "table"]

_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venv-peers/bin/python"
_EVENTS = 100_000
_ROUNDS = 3
_TOPIC = "conversions"
_PEER_SECONDS = 600.0
_TRIES = 200
_COLUMNS = 140
"""Width of the table, also where there is no terminal."""
BARE = "bare loop"
_PEERS = {"FastStream": "with_faststream", "Quix Streams": "with_quix", "Bytewax": "with_bytewax"}


class PeerFailed(Exception):
    """A peer ended without a result; the text is the last line that it said."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that are compared."""

    name: str
    run: Callable[[Task], Measured]
    due: int
    """Events that it has to deliver."""
    codec: str = "auto"


@dataclass(frozen=True, slots=True)
class Run:
    """What a side took, and what it left."""

    measured: Measured
    committed: int
    """Records, by the offsets that the broker knows."""


@dataclass(slots=True)
class Comparison:
    """What was measured, the warm-up left out."""

    records: int
    """Records in one run."""
    ceilings: list[float] = field(default_factory=list)
    """Events a second that the endpoint took in each round, when nobody did anything but post."""
    rounds: list[dict[str, Run]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """The reasons of those that could not run, by name."""

    def runs(self, name: str) -> list[Run]:
        """Return a side's runs."""
        return [runs[name] for runs in self.rounds if name in runs]

    def ratios(self, name: str, of: Callable[[Measured], float]) -> list[float]:
        """Return how much less of something a side took than the bare loop in the same round: 2 is twice as good."""
        return [of(runs[BARE].measured) / of(runs[name].measured) for runs in self.rounds if name in runs]

    def speeds(self, name: str) -> list[float]:
        """Return a side's records a second."""
        return [self.records / run.measured.acknowledged_seconds for run in self.runs(name)]


def wall(measured: Measured) -> float:
    """Return the seconds by the clock."""
    return measured.acknowledged_seconds


def cpu(measured: Measured) -> float:
    """Return the seconds of CPU."""
    return measured.cpu_seconds


def sides(traffic: Traffic, count: int, python: Path) -> list[Side]:
    """Return all that are compared, the bare loop first."""
    to_deliver = due(traffic, count)
    return [
        Side(BARE, bare_loop, to_deliver.bare_loop),
        Side("connector", connector, to_deliver.connector, "native"),
        Side("connector, CODEC=python", connector, to_deliver.connector, "python"),
        *(Side(name, partial(peer, python, module), to_deliver.peer) for name, module in _PEERS.items()),
    ]


def peer(python: Path, module: str, task: Task) -> Measured:
    """Run a peer by the Python of its environment.

    Raises:
        PeerFailed: it ended without a result.
    """
    command = [str(python), "-m", f"tests.benchmarks.peers.{module}", json.dumps(asdict(task))]
    try:
        ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_PEER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"not done after {_PEER_SECONDS:.0f} s") from None
    except OSError as error:
        raise PeerFailed(f"{python} does not run: {error.strerror}. Install the peers with: make bench-peers") from None
    if ended.returncode:
        raise PeerFailed((ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1])
    return Measured(**json.loads(ended.stdout.splitlines()[-1]))


def compare(
    all_sides: Sequence[Side],
    traffic: Traffic,
    count: int,
    rounds: int,
    *,
    embedded: bool = True,
    warm_up: bool = True,
    say: Callable[[str], None],
) -> Comparison:
    """Run all sides in turns; raises if one delivers more or less than it should."""
    groups = {side.name: [f"group-{at}-{number}" for number in range(rounds + warm_up)] for at, side in enumerate(all_sides)}
    say(f"producing {count:,} records, {traffic}")
    topic = Topic(_TOPIC, count, traffic, tuple(group for names in groups.values() for group in names))
    with filled_broker((topic,), embedded=embedded) as servers, endpoint() as url:
        found = Comparison(count)
        task = Task(servers, url, _TOPIC, "", count, traffic=traffic.value, embedded=embedded)
        for number in range(rounds + warm_up):
            runs = {}
            for side in all_sides:
                if side.name in found.failed:
                    continue
                try:
                    run = _run(side, replace(task, group=groups[side.name][number], codec=side.codec))
                except PeerFailed as error:
                    found.failed[side.name] = str(error)
                    say(f"{side.name} cannot run: {error}")
                    received(url)
                    continue
                cost = run.measured.cpu_seconds / count * 1e6
                say(f"{side.name}: {count / run.measured.acknowledged_seconds:,.0f} records/s, {cost:.1f} µs of CPU each")
                runs[side.name] = run
            if number >= warm_up:
                found.rounds.append(runs)
                found.ceilings.append(ceiling(url, traffic))
    return found


def _run(side: Side, task: Task) -> Run:
    measured = side.run(task) if isinstance(side.run, partial) else in_a_process(side.run, task)
    arrived = received(task.url)
    if arrived != side.due:
        raise RuntimeError(f"{side.name}: the endpoint received {arrived:,} events, and not {side.due:,}")
    return Run(measured, _committed(task))


def _committed(task: Task) -> int:
    consumer = Consumer({"bootstrap.servers": task.bootstrap_servers, "group.id": task.group})
    try:
        partitions = [TopicPartition(task.topic, number) for number in range(PARTITIONS)]
        return sum(max(0, found.offset) for found in consumer.committed(partitions, timeout=30))
    finally:
        consumer.close()


def ceiling(url: str, traffic: Traffic) -> float:
    """Return how many events a second the endpoint takes from a client that posts one request over and over."""
    reader = Reader(traffic)
    values = (value for _, value in records(traffic, 2 * EVENTS, time.time_ns() // 1_000_000))
    events = [event for event in map(reader.read_if_sound, values) if event is not None]
    seconds = asyncio.run(_post(url, body(list(islice(events, EVENTS)))))
    received(url)
    return _TRIES * EVENTS / seconds


async def _post(url: str, request: bytes) -> float:
    slots = asyncio.Semaphore(8)

    async def post() -> None:
        async with slots, session.post(url + ACCEPT_PATH, data=request, headers=JSON, raise_for_status=True) as answer:
            await answer.read()

    async with aiohttp.ClientSession() as session:
        await post()
        began = time.monotonic()
        await asyncio.gather(*(post() for _ in range(_TRIES)))
        return time.monotonic() - began


def table(found: Comparison, names: Iterable[str], title: str) -> Table:
    """Return a row for each side."""
    shown = Table(
        "side",
        "records/s",
        "of the bare loop's",
        "records/CPU s, of its",
        "CPU a record",
        "peak memory",
        "offsets committed",
        title=title,
    )
    for name in names:
        if name in found.failed:
            shown.add_row(name, f"cannot run: {found.failed[name]}")
            continue
        runs = found.runs(name)
        shown.add_row(
            name,
            f"{median(found.speeds(name)):,.0f}",
            _spread(found.ratios(name, wall)),
            _spread(found.ratios(name, cpu)),
            f"{median(run.measured.cpu_seconds for run in runs) / found.records * 1e6:.1f} µs",
            f"{median(run.measured.peak_bytes for run in runs) / 1e6:.0f} MB",
            f"{min(run.committed for run in runs) / found.records:.0%}",
        )
    return shown


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def picture(found: Comparison, names: Iterable[str], caption: str) -> str:
    """Draw the ratios as bars."""
    bars = [
        Bar(name, (median(found.ratios(name, wall)), median(found.ratios(name, cpu)))) for name in names if found.runs(name)
    ]
    return draw_bars(bars, ("records a second, bare loop = 1", "records a second of CPU, bare loop = 1"), caption)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, print it and draw it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.comparison", description=__doc__)
    parser.add_argument("--records", type=int, default=_EVENTS, help=f"of a run (default: {_EVENTS})")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"after the warm-up (default: {_ROUNDS})")
    parser.add_argument("--traffic", choices=list(Traffic), type=Traffic, default=Traffic.CLEAN)
    parser.add_argument("--broker", choices=("embedded", "kafka"), default="embedded", help="kafka needs Java and Maven")
    parser.add_argument("--members", type=int, default=1, help="more than 1: so many of ours in one group, beside one")
    parser.add_argument("--cores", type=float, help="with --members: hold each to so many, such as 0.3 (needs root)")
    parser.add_argument("--peers", type=Path, default=_PYTHON, help="the Python that has the peers")
    parser.add_argument("--picture", type=Path, help="where to draw the ratios, as SVG")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, width=_COLUMNS)
    if options.members > 1:
        _members(options, console)
        return 0
    all_sides = sides(options.traffic, options.records, options.peers)
    found = compare(
        all_sides,
        options.traffic,
        options.records,
        options.rounds,
        embedded=options.broker == "embedded",
        say=console.print,
    )
    names = [side.name for side in all_sides]
    what = f"{options.traffic} traffic, {options.broker} broker, {options.records:,} records, {options.rounds} rounds"
    console.print(table(found, names, what))
    least, most = min(found.ceilings), max(found.ceilings)
    console.print(f"the endpoint alone took {least:,.0f} to {most:,.0f} events/s")
    if options.picture:
        options.picture.write_text(picture(found, names, f"{what}; medians"), "utf-8")
    return 0


def _members(options: argparse.Namespace, console: Console) -> None:
    found = compare_members(
        options.traffic,
        options.records,
        options.rounds,
        options.members,
        embedded=options.broker == "embedded",
        cores=options.cores,
        say=console.print,
    )
    for name, ratios in (
        ("records/s", [one.seconds / several.seconds for one, several in found]),
        ("records a second of CPU", [one.cpu_seconds / several.cpu_seconds for one, several in found]),
    ):
        console.print(f"{options.members} members, of one member's {name}: {_spread(ratios)}")


if __name__ == "__main__":
    sys.exit(main())
