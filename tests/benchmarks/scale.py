"""``make bench-scale``: how the connector's cost grows with its partitions, on a real Apache Kafka.

A start on an empty ledger, idling, a trickle of an event a second in each partition, and a start on what that wrote.
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

from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from tests.benchmarks.surroundings import endpoint
from tests.benchmarks.traffic import SCHEMA_IDS, Traffic
from tests.integration.brokers import create_topic
from tests.integration.events import event, now_ms
from tests.integration.kafka.cluster import Cluster
from tests.integration.program import ConnectorProcess

__all__ = ["main"]

_LONG_SECONDS = 300.0
_IDLE_SECONDS = 10.0
_TRICKLE_SECONDS = 30.0
_PARTITIONS = (1, 50, 200, 600)
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


def _rss(pid: int) -> float:
    """Return a process's resident memory, in MB."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
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
            memory = _rss(connector.pid)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--partitions", nargs="*", type=int, default=_PARTITIONS, help="how many, one after the other")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as directory, Cluster() as cluster, endpoint() as url:
        stage = Stage(cluster.bootstrap_servers, url, Path(directory))
        console.print(partitions(stage, options.partitions, console.print))
    return 0


if __name__ == "__main__":
    sys.exit(main())
