"""The two sides of the benchmark: the connector, and a bare loop of the same libraries.

The bare loop consumes, decodes, maps, encodes and posts, 8 requests in flight, and commits at the end. It has no rules, no
hashing, no window, no ledger and no retry: it is what is left of the connector when everything that it is for is taken out.
Both have the same properties of the consumer, the same settings of the garbage collector, and requests of 500 events.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
import orjson
from confluent_kafka import Consumer, Message
from fastavro import parse_schema, schemaless_reader

from connector.app import Connector
from connector.assembly import read_settings
from connector.avro.schema_file import packaged
from connector.core.assignment import Phase
from connector.kafka.embedded import EmbeddedLedgerTopics
from connector.telemetry import configure_logging
from tests.benchmarks.surroundings import ACCEPT_PATH

__all__ = ["Measured", "Task", "bare_loop", "body", "connector", "shaped"]

_EVENTS = 500
_IN_FLIGHT = 8
_FRAME_BYTES = 5
_LOOK_SECONDS = 0.01
_GIVE_UP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Task:
    """What one side is to do once."""

    bootstrap_servers: str
    url: str
    topic: str
    group: str
    count: int
    codec: str
    """As the setting ``CODEC``; the bare loop has none."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What it took."""

    acknowledged_seconds: float
    """From the first record to the last acknowledged event."""
    committed_seconds: float
    """From the first record until every offset is committed."""
    cpu_seconds: float
    """Of all threads of the process, from the first record to the last acknowledged event."""
    peak_bytes: int
    """Of resident memory, of the process from its start."""


@dataclass(slots=True)
class _Watch:
    began: float = 0.0
    cpu_began: float = 0.0
    acknowledged: float = 0.0
    cpu_acknowledged: float = 0.0

    def start(self) -> None:
        self.began, self.cpu_began = time.monotonic(), time.process_time()

    def all_acknowledged(self) -> None:
        self.acknowledged, self.cpu_acknowledged = time.monotonic(), time.process_time()

    def all_committed(self) -> Measured:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        cpu = self.cpu_acknowledged - self.cpu_began
        return Measured(self.acknowledged - self.began, time.monotonic() - self.began, cpu, peak)


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
    ledger = f"{task.topic}.{task.group}.ledger"
    running = Connector(read_settings(_environment(task)), lambda topics: EmbeddedLedgerTopics(topics, ledger))
    ended = asyncio.create_task(running.run())
    watch = _Watch()
    # It may fetch from here on, so the span is a little too long rather than too short.
    await _until(lambda: _fetches(running), ended)
    watch.start()
    await _until(lambda: running.pipeline is not None and running.pipeline.statistics.resolved >= task.count, ended)
    watch.all_acknowledged()
    await _until(lambda: sum(offset or 0 for offset, _ in running.telemetry.progress().values()) >= task.count, ended)
    measured = watch.all_committed()
    running.request_shutdown()
    await ended
    return measured


async def _until(happened: Callable[[], bool], ended: asyncio.Task[str | None]) -> None:
    while not happened():
        if ended.done():
            raise RuntimeError(f"the connector ended early: {ended.result()}")
        await asyncio.sleep(_LOOK_SECONDS)


def _fetches(running: Connector) -> bool:
    return running.pipeline is not None and any(part.phase is Phase.RUNNING for part in running.pipeline.assignments)


def _environment(task: Task) -> Mapping[str, str]:
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
        "BATCH_MAX_EVENTS": str(_EVENTS),
        "MAX_IN_FLIGHT": str(_IN_FLIGHT),
        "CODEC": task.codec,
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
    }


# ---- the bare loop


async def _bare_loop(task: Task) -> Measured:
    schema = parse_schema(packaged("conversion_event.avsc"))
    consumer = Consumer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "group.id": task.group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 10,
            "queued.max.messages.kbytes": 15_625,
        }
    )
    consumer.subscribe([task.topic])
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    watch = _Watch()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as posts:
        await _forward(consumer, schema, session, posts, task, watch)
    watch.all_acknowledged()
    await asyncio.to_thread(consumer.commit, asynchronous=False)
    measured = watch.all_committed()
    consumer.close()
    return measured


async def _forward(
    consumer: Consumer, schema: Any, session: aiohttp.ClientSession, posts: asyncio.TaskGroup, task: Task, watch: _Watch
) -> None:
    slots = asyncio.Semaphore(_IN_FLIGHT)
    events: list[dict[str, object]] = []
    received = 0
    while received < task.count:
        messages = await asyncio.to_thread(consumer.consume, 1000, 0.1)
        if messages and not received:
            watch.start()
        received += len(messages)
        for message in messages:
            event: Any = schemaless_reader(BytesIO(_value(message)[_FRAME_BYTES:]), schema, None)
            events.append(shaped(event))
            if len(events) == _EVENTS:
                await slots.acquire()
                posts.create_task(_post(session, task.url, body(events), slots))
                events = []
    if events:
        await slots.acquire()
        posts.create_task(_post(session, task.url, body(events), slots))


def _value(message: Message) -> bytes:
    value = message.value()
    if not isinstance(value, bytes):
        raise TypeError("the bare loop takes records with a value only")
    return value


def shaped(event: dict[str, Any]) -> dict[str, object]:
    """Map a decoded event to Amazon's shape, the fields that there are."""
    sent: dict[str, object] = {
        "eventDescription": {
            "name": event["name"],
            "conversionType": event["eventType"],
            "eventSource": event["eventActionSource"].upper(),
            "eventIngestionMethod": "SERVER_TO_SERVER",
        },
        "eventTime": event["timestamp"],
        "eventId": event["clientDedupeId"],
        "countryCode": event["countryCode"],
        "matchKeys": [{"type": key["type"], "values": [key["value"]]} for key in event["matchKeys"]],
    }
    for name in ("value", "currencyCode", "unitsSold"):
        if event[name] is not None:
            sent[name] = event[name]
    if consent := event["consent"]:
        statuses = {name: consent[name] for name in ("amznUserData", "amznAdStorage") if consent[name]}
        sent["consent"] = {"amazonConsent": statuses}
    if custom := event["customAttributes"]:
        sent["customData"] = [{"name": name, "dataType": "STRING", "value": value} for name, value in custom.items()]
    return sent


def body(events: list[dict[str, object]]) -> bytes:
    """Encode a request; a time is a datetime, as fastavro makes it."""
    return orjson.dumps({"events": events}, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


async def _post(session: aiohttp.ClientSession, url: str, body: bytes, slots: asyncio.Semaphore) -> None:
    async with session.post(url + ACCEPT_PATH, data=body, headers={"Content-Type": "application/json"}) as response:
        await response.read()
        if response.status != 207:
            raise RuntimeError(f"the endpoint answered {response.status}")
    slots.release()
