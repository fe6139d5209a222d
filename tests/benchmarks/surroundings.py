"""What the sides of the benchmarks stand between: a broker full of samples and an endpoint that takes everything.

Each is a process of its own, so that what it costs is on no side's account. The endpoint is bare on purpose: the sandbox's
checks would be the bottleneck, and the benchmark would measure them.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.connection import Connection

from aiohttp import web
from confluent_kafka import Consumer, Producer, TopicPartition

from connector.kafka.embedded import EmbeddedBroker
from tests.benchmarks.traffic import SCHEMA_IDS, Traffic, records
from tests.benchmarks.work import ACCEPT_PATH, schema
from tests.integration.brokers import create_topic
from tests.integration.kafka.cluster import Cluster

__all__ = [
    "PARTITIONS",
    "RECEIVED_PATH",
    "Topic",
    "answers_after",
    "endpoint",
    "filled_broker",
    "keyed_producer",
    "produce_all",
    "received",
]

RECEIVED_PATH = "/received"
"""``GET`` gives the number of events accepted since it was last asked."""
_LATENCY_PATH = "/latency/"
PARTITIONS = 24
"""The embedded broker keeps 5 MiB a partition, which is enough (checked after producing)."""
_START_SECONDS = 120.0
_LARGEST_BODY = 2**24


@dataclass(frozen=True, slots=True)
class Topic:
    """A source topic and what is put into it."""

    name: str
    count: int
    traffic: Traffic
    groups: tuple[str, ...]
    """Each gets a ledger."""


@contextmanager
def filled_broker(topics: tuple[Topic, ...], *, embedded: bool = True) -> Iterator[str]:
    """Run a broker that holds these topics, the embedded one or an Apache Kafka; yield its bootstrap servers."""
    with _process(_hold, topics) if embedded else _kafka(topics) as bootstrap_servers:
        with _process(_fill, bootstrap_servers, topics):
            pass
        yield bootstrap_servers


@contextmanager
def _kafka(topics: tuple[Topic, ...]) -> Iterator[str]:
    with Cluster() as cluster:
        for topic in topics:
            create_topic(cluster.bootstrap_servers, topic.name, PARTITIONS)
            create_topic(cluster.bootstrap_servers, f"{topic.name}.dead-letter", PARTITIONS, retention_ms="-1")
        yield cluster.bootstrap_servers


@contextmanager
def endpoint() -> Iterator[str]:
    """Run the endpoint, which is the schema registry as well; yield its base URL."""
    with _process(_answer) as url:
        yield url


@contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[str]:
    """Run a function in a fresh interpreter until the context ends; yield the text that it sends when it is ready."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(_START_SECONDS):
            raise TimeoutError(f"{target} was not ready in {_START_SECONDS:.0f} s")
        yield ours.recv()
    finally:
        ours.close()  # which is how it learns that it is over
        process.join()


def received(url: str) -> int:
    """Return how many events the endpoint has accepted since this was last asked."""
    with urllib.request.urlopen(url + RECEIVED_PATH) as answer:  # noqa: S310 - our own endpoint
        return int(answer.read())


def answers_after(url: str, seconds: float) -> None:
    """Have the endpoint answer each request from now on after so many seconds, at once to begin with."""
    with urllib.request.urlopen(f"{url}{_LATENCY_PATH}{seconds}") as answer:  # noqa: S310 - our own endpoint
        answer.read()


def _wait_for_the_end(pipe: Connection) -> None:
    try:
        pipe.recv()
    except EOFError:
        return


# ---- the broker


def _hold(pipe: Connection, topics: tuple[Topic, ...]) -> None:
    with EmbeddedBroker() as broker:
        for topic in topics:
            names = (topic.name, f"{topic.name}.dead-letter", *(f"{topic.name}.{group}.ledger" for group in topic.groups))
            for name in names:
                broker.create_topic(name, PARTITIONS)
        pipe.send(broker.bootstrap_servers)
        _wait_for_the_end(pipe)


def _fill(pipe: Connection, bootstrap_servers: str, topics: tuple[Topic, ...]) -> None:
    for topic in topics:
        produce_all(bootstrap_servers, topic)
        _check_nothing_evicted(bootstrap_servers, topic)
    pipe.send("filled")


def produce_all(bootstrap_servers: str, topic: Topic) -> None:
    """Put into a topic what it is to hold."""
    producer = keyed_producer(bootstrap_servers)
    for number, (key, value) in enumerate(records(topic.traffic, topic.count, time.time_ns() // 1_000_000)):
        producer.produce(topic.name, value=value, key=key)
        if number % 10_000 == 0:
            producer.flush()  # the client's queue holds 100,000
    producer.flush()


def keyed_producer(bootstrap_servers: str) -> Producer:
    """Return a producer for many records."""
    return Producer({"bootstrap.servers": bootstrap_servers, "compression.type": "lz4", "linger.ms": 200})


def _check_nothing_evicted(bootstrap_servers: str, topic: Topic) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "look"})
    try:
        marks = [consumer.get_watermark_offsets(TopicPartition(topic.name, number)) for number in range(PARTITIONS)]
    finally:
        consumer.close()
    if any(low for low, _ in marks) or sum(high for _, high in marks) != topic.count:
        raise RuntimeError(f"the broker does not hold all of {topic.name}: {marks}")


# ---- the endpoint


class _Endpoint:
    """Accepts every event, and counts them by the one name that each has once."""

    def __init__(self) -> None:
        self._received = 0
        self._latency = 0.0
        self._schemas = {
            str(number): json.dumps({"schema": json.dumps(schema(traffic))}) for traffic, number in SCHEMA_IDS.items()
        }

    def application(self) -> web.Application:
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_post(ACCEPT_PATH, self._accept)
        application.router.add_get(RECEIVED_PATH, self._tell)
        application.router.add_get(_LATENCY_PATH + "{seconds}", self._slow_down)
        application.router.add_get("/schemas/ids/{number}", self._tell_schema)
        return application

    async def _accept(self, request: web.Request) -> web.Response:
        count = (await request.read()).count(b'"eventId":')
        if self._latency:
            await asyncio.sleep(self._latency)
        self._received += count
        return web.Response(status=207, body=_accepted(count), content_type="application/json")

    async def _slow_down(self, request: web.Request) -> web.Response:
        self._latency = float(request.match_info["seconds"])
        return web.Response()

    async def _tell(self, _request: web.Request) -> web.Response:
        received, self._received = self._received, 0
        return web.json_response(received)

    async def _tell_schema(self, request: web.Request) -> web.Response:
        return web.Response(
            text=self._schemas[request.match_info["number"]], content_type="application/vnd.schemaregistry.v1+json"
        )


@lru_cache
def _accepted(count: int) -> bytes:
    """Word it as short as docs/amazon-contract.md#answer-of-ads-v1 lets it be: Segment's tests echo no event."""
    answer: Mapping[str, object] = {"success": [{"index": index, "event": None} for index in range(count)], "error": []}
    return json.dumps(answer).encode()


def _answer(pipe: Connection) -> None:
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    runner = web.AppRunner(_Endpoint().application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, port, *_ = runner.addresses[0]
    pipe.send(f"http://127.0.0.1:{port}")
    await asyncio.to_thread(_wait_for_the_end, pipe)
    await runner.cleanup()
