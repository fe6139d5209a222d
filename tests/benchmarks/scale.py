"""``make bench-scale``: how the connector's cost grows, on a real Apache Kafka.

- partitions: a start on an empty ledger, idling, a trickle of an event a second in each, and a start on what that wrote
- restore: a partition's start by the keys and the entries of its ledger
- latency: events a second by Amazon's latency and the requests in flight
- first: from the start of the process to its first delivery

Each connector is a process of its own, looked at from outside; so are the broker and the endpoint, which is that of
``make bench``. Nothing fails by a number.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.avro.ledger_entry import KEY_BYTES, encode
from connector.model import Facts, LedgerIdentity, Outcome
from tests.benchmarks.surroundings import Topic, answers_after, endpoint, produce_all, received
from tests.benchmarks.traffic import SCHEMA_IDS, Traffic
from tests.integration.brokers import Produced, create_topic, ledger_entries, produce
from tests.integration.events import event, now_ms
from tests.integration.kafka.cluster import Cluster
from tests.integration.program import ConnectorProcess

__all__ = ["main"]

_LONG_SECONDS = 300.0
_IDLE_SECONDS = 10.0
_TRICKLE_SECONDS = 30.0
_PARTITIONS = (1, 50, 200, 600)
_LEDGERS = ((1_000_000, 2_000), (5_000_000, 2_000), (20_000_000, 2_000), (500_000, 10), (500_000, 1))
"""Keys, and how many an entry holds."""
_OFFSETS, _AT_ONCE, _QUEUED = 300_000, 50_000, 10_000
_LATENCIES, _IN_FLIGHT = (0.02, 0.2, 1.0, 2.0), (1, 8, 32)
_PILED_UP = 600_000
_WINDOW_SECONDS = 6.0
_STARTS = 5
_CURVES = ("partitions", "restore", "latency", "first")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stage:
    """What connectors run between."""

    servers: str
    url: str
    directory: Path

    def settings(self, topic: str, **changes: str) -> dict[str, str]:
        """Return the settings of a connector for this topic; defaults but for what names the stage, and ``changes``."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "KAFKA_TOPIC": topic,
            "KAFKA_GROUP_ID": f"group-{topic}",
            "SCHEMA_REGISTRY_URL": self.url,
            "AMAZON_BASE_URL": self.url,
            "AMAZON_ACCOUNT_ID": "ENTITY1BENCHMARK",
            "AMAZON_CLIENT_ID": "amzn1.application-oa2-client.benchmark",
            "AMAZON_ACCESS_TOKEN": "benchmark",
            **changes,
        }

    @contextmanager
    def connector(self, topic: str, **changes: str) -> Iterator[ConnectorProcess]:
        """Run a connector until the context ends."""
        connector = ConnectorProcess(self.directory).start(self.settings(topic, **changes))
        try:
            yield connector
            connector.stop()
        finally:
            connector.kill()


def _topic(stage: Stage, partitions: int) -> str:
    topic = f"scale-{uuid.uuid4().hex[:8]}"
    create_topic(stage.servers, topic, partitions)
    return topic


def _cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int, kind: str) -> float:
    """Return a process's resident memory in MB: ``VmRSS`` as of now, ``VmHWM`` its peak."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(kind)]
    return int(line.split()[1]) / 1024


def _values(count: int) -> list[bytes]:
    encoder, at = EventEncoder(), now_ms() - 60_000
    return [
        framed(SCHEMA_IDS[Traffic.CLEAN], encoder.encode(event(f"order-{uuid.uuid4().hex}", timestamp=at)))
        for _ in range(count)
    ]


def partitions(stage: Stage, counts: Sequence[int], say: Callable[[str], None]) -> Table:
    """Measure starts, idling and a trickle by the number of partitions."""
    table = Table(
        "partitions", "first start", "CPU", "start again", "CPU", "idle", "trickle, 1/s each", "memory", title="partitions"
    )
    for count in counts:
        topic = _topic(stage, count)
        with stage.connector(topic) as connector:
            first = _start(connector, count)
            say(f"{count} partitions: ready after {first[0]:.1f} s")
            idle = _share(connector, partial(time.sleep, _IDLE_SECONDS))
            busy = _share(connector, partial(_trickle, stage, topic, count))
            memory = _memory(connector.pid, "VmRSS")
        with stage.connector(topic) as connector:
            again = _start(connector, count)
        seconds = [f"{value:.1f} s" for value in (*first, *again)]
        table.add_row(str(count), *seconds, f"{idle:.1%}", f"{busy:.1%}", f"{memory:.0f} MB")
    return table


def _start(connector: ConnectorProcess, count: int) -> tuple[float, float]:
    """Wait until so many partitions are restored; return the seconds since the start, by the clock and of CPU."""
    began = time.monotonic()
    connector.eventually(lambda: len(connector.works_on()) == count, f"all {count} partitions run", _LONG_SECONDS)
    return time.monotonic() - began, _cpu(connector.pid)


def _share(connector: ConnectorProcess, while_: Callable[[], object]) -> float:
    """Return which share of a core a connector uses meanwhile."""
    began, used = time.monotonic(), _cpu(connector.pid)
    while_()
    return (_cpu(connector.pid) - used) / (time.monotonic() - began)


def _trickle(stage: Stage, topic: str, count: int) -> None:
    """Produce an event a second to each partition, spread over the second."""
    producer = Producer({"bootstrap.servers": stage.servers, "linger.ms": 5})
    values = _values(int(count * _TRICKLE_SECONDS))
    began = time.monotonic()
    for number, value in enumerate(values):
        time.sleep(max(0.0, began + number / count - time.monotonic()))
        producer.produce(topic, value, partition=number % count)
        producer.poll(0)
    producer.flush()


# ---- a restore


def restores(stage: Stage, shapes: Sequence[tuple[int, int]], say: Callable[[str], None]) -> Table:
    """Measure a partition's restore by the keys of its ledger, and by how many an entry holds."""
    table = Table("keys", "keys an entry", "restore", "keys/s", "CPU of the process", "peak memory", title="restore")
    for keys, an_entry in shapes:
        topic = _topic(stage, 1)
        with stage.connector(topic) as connector:
            _start(connector, 1)
        ledger = f"{topic}.group-{topic}.ledger"
        header = ledger_entries(stage.servers, ledger)[-1].header
        for _ in range(_OFFSETS // _AT_ONCE):
            produce(stage.servers, topic, [Produced(None)] * _AT_ONCE)
        _write_ledger(stage.servers, ledger, header, keys, an_entry)
        with stage.connector(topic) as connector:
            restored = connector.until_said("partition_restored")
            used, peak = _cpu(connector.pid), _memory(connector.pid, "VmHWM")
        seconds, found = restored["seconds"], restored["window_keys"]
        if found != keys:
            raise RuntimeError(f"{topic}: {found:,} keys were restored of {keys:,}")
        say(f"{keys:,} keys in entries of {an_entry:,}: {seconds:.1f} s")
        rate = f"{keys / seconds / 1e6:.2f} M"
        table.add_row(f"{keys:,}", f"{an_entry:,}", f"{seconds:.1f} s", rate, f"{used:.1f} s", f"{peak:.0f} MB")
    return table


def _write_ledger(servers: str, ledger: str, header: LedgerIdentity, keys: int, an_entry: int) -> None:
    """Write facts of delivered events with random keys. They are about a few offsets, again and again, and as costly so."""
    producer, dice, now = Producer({"bootstrap.servers": servers, "linger.ms": 50}), Random(keys), now_ms()
    for first in range(0, keys, an_entry):
        offsets = [offset % _OFFSETS for offset in range(first, min(first + an_entry, keys))]
        digests: list[bytes | None] = [dice.randbytes(KEY_BYTES) for _ in offsets]
        facts = Facts(offsets, [0] * len(offsets), [Outcome.DELIVERED] * len(offsets), digests, [now] * len(offsets))
        producer.produce(ledger, encode(header, facts), partition=0)
        if len(producer) > _QUEUED:
            producer.flush()
    producer.flush()


# ---- Amazon's latency


def latencies(stage: Stage, seconds: Sequence[float], in_flight: Sequence[int], say: Callable[[str], None]) -> Table:
    """Measure events a second by how long Amazon takes, and by how many requests may be in flight."""
    table = Table("latency", *(f"{requests} in flight" for requests in in_flight), title="events/s, 500 in a request")
    topic = _topic(stage, 6)
    produce_all(stage.servers, Topic(topic, _PILED_UP, Traffic.CLEAN, groups=()))
    for latency in seconds:
        rates = []
        for requests in in_flight:
            answers_after(stage.url, latency)
            buffer = str(max(20_000, 3 * 500 * requests))
            changes = {"KAFKA_GROUP_ID": uuid.uuid4().hex, "MAX_IN_FLIGHT": str(requests), "BUFFER_MAX_EVENTS": buffer}
            with stage.connector(topic, **changes) as connector:
                _start(connector, 6)
                time.sleep(2 * latency + 1)
                received(stage.url)
                began = time.monotonic()
                time.sleep(_WINDOW_SECONDS)
                rates.append(received(stage.url) / (time.monotonic() - began))
                answers_after(stage.url, 0)
            say(f"{latency * 1000:.0f} ms, {requests} in flight: {rates[-1]:,.0f} events/s")
        table.add_row(f"{latency * 1000:.0f} ms", *(f"{rate:,.0f}" for rate in rates))
    return table


# ---- the first delivery


def first_deliveries(stage: Stage, times: int, say: Callable[[str], None]) -> Table:
    """Measure from the start of a process to the delivery of the one event that waits; the linger is a second of it."""
    table = Table("group protocol", "median", "from", "to", title="start to first delivery")
    for protocol in ("classic", "consumer"):
        took = []
        for _ in range(times):
            topic = _topic(stage, 1)
            produce(stage.servers, topic, [Produced(_values(1)[0])])
            received(stage.url)
            began = time.monotonic()
            with stage.connector(topic, KAFKA_GROUP_PROTOCOL=protocol) as connector:
                connector.eventually(partial(received, stage.url), "the event is delivered")
                took.append(time.monotonic() - began)
        say(f"{protocol}: {median(took):.1f} s")
        table.add_row(protocol, *(f"{value:.1f} s" for value in (median(took), min(took), max(took))))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument(
        "curves", nargs="*", default=_CURVES, metavar="CURVE", help=f"of {', '.join(_CURVES)}; by default all"
    )
    parser.add_argument("--partitions", nargs="*", type=int, default=_PARTITIONS, help="how many, one after the other")
    options = parser.parse_args(arguments)
    if unknown := set(options.curves).difference(_CURVES):
        parser.error(f"no such curve: {', '.join(sorted(unknown))}")
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as directory, Cluster() as cluster, endpoint() as url:
        stage = Stage(cluster.bootstrap_servers, url, Path(directory))
        say = console.print
        measure: dict[str, Callable[[], Table]] = {
            "partitions": lambda: partitions(stage, options.partitions, say),
            "restore": lambda: restores(stage, _LEDGERS, say),
            "latency": lambda: latencies(stage, _LATENCIES, _IN_FLIGHT, say),
            "first": lambda: first_deliveries(stage, _STARTS, say),
        }
        for curve in options.curves:
            console.print(measure[curve]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
