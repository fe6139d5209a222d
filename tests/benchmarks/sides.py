"""The two sides of the benchmark: the connector, and a bare loop of the same libraries.

The bare loop consumes, decodes, maps, encodes and posts, 8 requests in flight, and commits at the end. It has no rules, no
hashing, no window, no ledger and no retry: it is what is left of the connector when everything that it is for is taken out.
Both have the same properties of the consumer, the same settings of the garbage collector, and requests of 500 events.
Of mixed traffic the bare loop sends whatever can be decoded.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
from confluent_kafka import Consumer, Message

from connector.app import Connector
from connector.assembly import read_settings
from connector.core.assignment import Phase
from connector.kafka.cluster import Cluster
from connector.kafka.embedded import EmbeddedLedgerTopics
from connector.ports import LedgerTopics
from connector.telemetry import configure_logging
from tests.benchmarks.traffic import Traffic
from tests.benchmarks.work import ACCEPT_PATH, CONSUMER, EVENTS, JSON, Measured, Reader, Task, Watch, body

__all__ = ["bare_loop", "connector", "embedded_ledger", "environment", "until"]

_IN_FLIGHT = 8
_LOOK_SECONDS = 0.01
_TICK_SECONDS = 0.005
_GIVE_UP_SECONDS = 300.0
_MAPPING = Path(__file__).parents[1] / "mapping/examples/order.toml"


def connector(task: Task) -> Measured:
    """Run the connector in this process until it has forwarded and committed everything."""
    configure_logging("error", "console")
    return asyncio.run(_with_deadline(_connector, task))


def bare_loop(task: Task) -> Measured:
    """Run the bare loop in this process until it has forwarded and committed everything."""
    return asyncio.run(_with_deadline(_bare_loop, task))


async def _with_deadline(side: Callable[[Task], Coroutine[None, None, Measured]], task: Task) -> Measured:
    async with asyncio.timeout(_GIVE_UP_SECONDS):
        return await side(task)


# ---- the connector


async def _connector(task: Task) -> Measured:
    running = Connector(read_settings(environment(task)), embedded_ledger(task))
    ended = asyncio.create_task(running.run())
    watch = Watch()
    # It may fetch from here on, so the span is a little too long rather than too short.
    await until(lambda: _fetches(running), ended)
    watch.start()
    ticker = asyncio.create_task(_longest_step())
    await until(lambda: running.pipeline is not None and running.pipeline.statistics.resolved >= task.count, ended)
    watch.all_acknowledged()
    ticker.cancel()
    await until(lambda: sum(offset or 0 for offset, _ in running.telemetry.progress().values()) >= task.count, ended)
    measured = watch.all_committed()
    running.request_shutdown()
    await ended
    return replace(measured, longest_step=await ticker)


async def _longest_step() -> float:
    """Return, once cancelled, for how many seconds at most the loop did not get round to this."""
    longest = 0.0
    try:
        while True:
            slept = time.monotonic()
            await asyncio.sleep(_TICK_SECONDS)
            longest = max(longest, time.monotonic() - slept - _TICK_SECONDS)
    except asyncio.CancelledError:
        return longest


def embedded_ledger(task: Task) -> Callable[[Cluster], LedgerTopics] | None:
    """Return what finds the ledger on the embedded broker; None where the connector makes its own."""
    if not task.embedded:
        return None
    return lambda topics: EmbeddedLedgerTopics(topics, f"{task.topic}.{task.group}.ledger")


async def until(happened: Callable[[], bool], ended: asyncio.Task[str | None]) -> None:
    """Wait until this has happened to a connector that runs."""
    while not happened():
        if ended.done():
            raise RuntimeError(f"the connector ended early: {ended.result()}")
        await asyncio.sleep(_LOOK_SECONDS)


def _fetches(running: Connector) -> bool:
    return running.pipeline is not None and any(part.phase is Phase.RUNNING for part in running.pipeline.assignments)


def environment(task: Task) -> Mapping[str, str]:
    """Return the connector's settings for a task."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": task.bootstrap_servers,
        "KAFKA_TOPIC": task.topic,
        "KAFKA_GROUP_ID": task.group,
        "KAFKA_GROUP_PROTOCOL": "consumer",
        "KAFKA_FETCH_WAIT_MAX_MS": "20",
        "SCHEMA_REGISTRY_URL": task.url,
        "AMAZON_BASE_URL": task.url,
        "AMAZON_ACCOUNT_ID": "ENTITY1BENCHMARK",
        "AMAZON_CLIENT_ID": "amzn1.application-oa2-client.benchmark",
        "AMAZON_ACCESS_TOKEN": "benchmark",
        "BATCH_MAX_EVENTS": str(EVENTS),
        "MAX_IN_FLIGHT": str(_IN_FLIGHT),
        "BATCH_LINGER": "50ms",  # which concerns the last batch only: the bare loop sends its last one at once
        "CODEC": task.codec,
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
        **({"MAPPING_FILE": str(_MAPPING)} if task.traffic == Traffic.MAPPED else {}),
        **({"AMAZON_REGION": "EU"} if task.traffic == Traffic.EU else {}),
    }


# ---- the bare loop


async def _bare_loop(task: Task) -> Measured:
    reader = Reader(task.traffic)
    consumer = Consumer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "group.id": task.group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **CONSUMER,
            "queued.max.messages.kbytes": 15_625,
        }
    )
    consumer.subscribe([task.topic])
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    watch = Watch()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as posts:
        await _forward(consumer, reader, session, posts, task, watch)
    watch.all_acknowledged()
    await asyncio.to_thread(consumer.commit, asynchronous=False)
    measured = watch.all_committed()
    consumer.close()
    return measured


async def _forward(
    consumer: Consumer, reader: Reader, session: aiohttp.ClientSession, posts: asyncio.TaskGroup, task: Task, watch: Watch
) -> None:
    slots = asyncio.Semaphore(_IN_FLIGHT)
    events: list[dict[str, object]] = []
    read: Callable[[bytes], dict[str, object] | None] = reader.read
    if task.traffic == Traffic.MIXED:
        read = reader.read_if_sound
    received = 0
    while received < task.count:
        messages = await asyncio.to_thread(consumer.consume, 1000, 0.1)
        if messages and not received:
            watch.start()
        received += len(messages)
        for message in messages:
            event = read(_value(message))
            if event is not None:
                events.append(event)
            if len(events) == EVENTS:
                await slots.acquire()
                posts.create_task(_post(session, task.url, body(events), slots))
                events = []
    if events:
        await slots.acquire()
        posts.create_task(_post(session, task.url, body(events), slots))


def _value(message: Message) -> bytes:
    value = message.value()
    return value if isinstance(value, bytes) else b""


async def _post(session: aiohttp.ClientSession, url: str, body: bytes, slots: asyncio.Semaphore) -> None:
    async with session.post(url + ACCEPT_PATH, data=body, headers=JSON) as response:
        await response.read()
        if response.status != 207:
            raise RuntimeError(f"the endpoint answered {response.status}")
    slots.release()
