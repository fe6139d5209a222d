"""Several processes of the connector in one group, beside a single one.

Each run has a topic and a group of its own. The members share its partitions before the first record is produced, and all
records, encoded in advance, come at once.

On a small machine several members compete with the broker and with each other for its cores. To show what a member of its
own machine adds, each may be held to a part of a core, as a container is by its limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

from connector.app import Connector
from connector.assembly import read_settings
from connector.core.assignment import Phase
from connector.telemetry import configure_logging
from tests.benchmarks.sides import embedded_ledger, environment, until
from tests.benchmarks.surroundings import PARTITIONS, Topic, endpoint, filled_broker, keyed_producer, received
from tests.benchmarks.traffic import Traffic, due, records
from tests.benchmarks.work import Task

__all__ = ["Together", "compare_members", "run_members"]

_GIVE_UP_SECONDS = 300.0
_LOOK_SECONDS = 0.01
_STOP = "stop"
_READY = "ready"
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 20_000
"""In each of them a process may use its share: short beside a batch's way through Amazon."""


@dataclass(frozen=True, slots=True)
class Together:
    """What the members of one run took together."""

    seconds: float
    """From the first record produced to the last event acknowledged."""
    cpu_seconds: float
    resolved: tuple[int, ...]
    """Records, of each member."""


def compare_members(
    traffic: Traffic,
    count: int,
    rounds: int,
    members: int,
    *,
    embedded: bool = True,
    cores: float | None = None,
    say: Callable[[str], None],
) -> list[tuple[Together, Together]]:
    """Run one member and several in turns; return what each round took. The round before the first is not counted.

    A member uses so many ``cores`` at most; None for as many as it gets.
    """
    sizes = (1, members)
    values = list(records(traffic, count, time.time_ns() // 1_000_000))
    names = {(size, number): f"members-{size}-{number}" for size in sizes for number in range(rounds + 1)}
    topics = tuple(Topic(name, 0, traffic, ("group",)) for name in names.values())
    found = []
    with filled_broker(topics, embedded=embedded) as servers, endpoint() as url:
        for number in range(rounds + 1):
            each = []
            for size in sizes:
                topic = names[size, number]
                task = Task(servers, url, topic, "group", count, traffic=traffic.value, embedded=embedded)
                # On Apache Kafka a group commits to all its topics in one place; each run has a group of its own.
                each.append(run_members(task if embedded else replace(task, group=topic), size, values, cores))
                if (arrived := received(url)) != due(traffic, count).connector:
                    raise RuntimeError(f"{topic}: the endpoint received {arrived:,} events")
                say(f"{size} members: {count / each[-1].seconds:,.0f} records/s, {each[-1].resolved} of each")
            if number:
                found.append((each[0], each[1]))
    return found


def run_members(task: Task, size: int, values: Sequence[tuple[bytes, bytes | None]], cores: float | None = None) -> Together:
    """Start so many members, produce when they share the partitions, and end them when all is acknowledged."""
    with ExitStack() as stack:
        pipes = [stack.enter_context(_started(task, PARTITIONS // size, cores)) for _ in range(size)]
        for pipe in pipes:
            _received(pipe, _READY)
        began = time.monotonic()
        for pipe in pipes:
            pipe.send("go")
        _produce(task, values)
        resolved = dict.fromkeys(pipes, 0)
        while sum(resolved.values()) < task.count:
            if not wait(pipes, _GIVE_UP_SECONDS):
                raise TimeoutError(f"nothing was resolved for {_GIVE_UP_SECONDS:.0f} s")
            resolved |= {pipe: pipe.recv() for pipe in pipes if pipe.poll()}
        for pipe in pipes:
            pipe.send(_STOP)
        ends = [_last(pipe) for pipe in pipes]
    return Together(
        max(ended for ended, _ in ends) - began, sum(cpu for _, cpu in ends), tuple(resolved[pipe] for pipe in pipes)
    )


def _produce(task: Task, values: Sequence[tuple[bytes, bytes | None]]) -> None:
    producer = keyed_producer(task.bootstrap_servers)
    for number, (key, value) in enumerate(values):
        producer.produce(task.topic, value=value, key=key)
        if number % 50_000 == 49_999:
            producer.flush()  # the client's queue holds 100,000
    producer.flush()


@contextmanager
def _started(task: Task, share: int, cores: float | None) -> Iterator[Connection]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_member, args=(theirs, task, share), daemon=True)
    process.start()
    theirs.close()
    limit = None if cores is None else _limited(process.pid, cores)
    try:
        yield ours
    finally:
        ours.close()
        process.join(10)
        process.kill()
        process.join()
        if limit is not None:
            limit.rmdir()


def _limited(process: int | None, cores: float) -> Path:
    """Hold a process to so many cores, by a control group of its own (version 1 or 2); return the group's directory."""
    unified = (_CONTROL_GROUPS / "cgroup.controllers").exists()
    group = _CONTROL_GROUPS / ("" if unified else "cpu") / f"benchmark-{process}"
    group.mkdir()
    quota = int(cores * _PERIOD_US)
    if unified:
        (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    (group / "cgroup.procs").write_text(str(process))
    return group


def _received(pipe: Connection, expected: str) -> None:
    if not pipe.poll(_GIVE_UP_SECONDS) or pipe.recv() != expected:
        raise RuntimeError(f"a member did not become {expected}")


def _last(pipe: Connection) -> tuple[float, float]:
    """Return when a member saw its last event acknowledged, and the CPU that it used until then."""
    while True:
        if isinstance(said := pipe.recv(), tuple):
            return said


# ---- a member, in its own process


def _member(pipe: Connection, task: Task, share: int) -> None:
    configure_logging("error", "console")
    asyncio.run(_run(pipe, task, share))


async def _run(pipe: Connection, task: Task, share: int) -> None:
    running = Connector(read_settings(environment(task)), embedded_ledger(task))
    ended = asyncio.create_task(running.run())
    await until(lambda: _running(running) == share, ended)
    pipe.send(_READY)
    await until(pipe.poll, ended)
    pipe.recv()
    began, resolved, last = time.process_time(), 0, (time.monotonic(), 0.0)
    while not pipe.poll():
        if ended.done():
            raise RuntimeError(f"the connector ended early: {ended.result()}")
        assert running.pipeline is not None
        if running.pipeline.statistics.resolved != resolved:
            resolved = running.pipeline.statistics.resolved
            last = time.monotonic(), time.process_time() - began
            pipe.send(resolved)
        await asyncio.sleep(_LOOK_SECONDS)
    pipe.send(last)
    running.request_shutdown()
    await ended


def _running(running: Connector) -> int:
    if running.pipeline is None:
        return 0
    return sum(part.phase is Phase.RUNNING for part in running.pipeline.assignments)
