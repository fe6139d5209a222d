"""`connector demo`: the whole pipeline on simulators, with a reconciliation at the end.

The simulators are librdkafka's embedded broker and the sandbox. The pipeline is the one that
`connector run` runs. The reconciliation is made from outside: from what was produced, what the
sandbox recorded, what is in the ledger and the dead-letter topic, and what the group committed. The
environment's settings are ignored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from connector import sandbox
from connector.app import Connector
from connector.assembly import cluster_for, read_settings
from connector.avro import ledger_entry
from connector.avro.encoding import EventEncoder
from connector.cli import times
from connector.cli.produce_samples import Produced, encoded
from connector.cli.progress import columns
from connector.cli.samples import REFUSED_NAME, Fate, SampleRecord, samples
from connector.config import Settings
from connector.kafka import clients
from connector.kafka.dead_letters import reason
from connector.kafka.embedded import EmbeddedBroker, EmbeddedLedgerTopics
from connector.kafka.producer import ConfirmingProducer
from connector.kafka.reader import read
from connector.model import Outcome, TopicPartition
from connector.telemetry import configure_logging

__all__ = ["run", "set_up"]

_TOPIC, _GROUP = "conversions", "demo"
_PARTITIONS = 6
_SECONDS = 55.0
"""Time after which the demo gives up."""
_LOOK_SECONDS = 0.1

_FAULTS = sandbox.Faults(seed=7, chances={"fail_503": 0.05, "withhold": 0.03}, latency_ms=40, reject_names=(REFUSED_NAME,))
_INTRODUCTION = """[bold]connector demo[/bold]: the pipeline of `connector run`, on simulators

  broker   librdkafka's embedded broker: a simulator in memory, not Apache Kafka
  Amazon   the sandbox, a strict stand-in on loopback: it fails 5 % of the
           requests, and accepts 3 % without answering
  events   {count:,} samples: copies (some while the first is in flight), stale,
           undecodable, rejected by Amazon

For a real broker: `make test` starts Apache Kafka, and `connector run --help`
lists the settings for yours.
"""


T = TypeVar("T")


@dataclass(slots=True)
class _Expected(Produced):
    """What was produced, and the expected fate of each record."""

    fates: Counter[Fate] = field(default_factory=Counter)
    own_ids: set[str] = field(default_factory=set)
    """Ids that must be accepted."""
    without_id: int = 0
    """The number of events that must be accepted under a derived id."""

    def add(self, sample: SampleRecord) -> None:
        self.fates[sample.fate] += 1
        if sample.fate is Fate.DELIVERED:
            if sample.dedupe_id is None:
                self.without_id += 1
            else:
                self.own_ids.add(sample.dedupe_id)


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Run the same pipeline as `run` on librdkafka's embedded broker and the sandbox. Needs no Kafka and no Amazon "
        "account. Ends with a reconciliation, and exit code 0 only if all records are accounted for."
    )
    parser.add_argument(
        "--events", type=int, metavar="N", default=30_000, help="number of records to produce (default: %(default)s)"
    )


def run(arguments: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    """Run the demo; return 0 if all records are accounted for, 1 if not."""
    count: int = arguments.events
    configure_logging("error", "console")
    console = Console()
    console.print(_INTRODUCTION.format(count=count), highlight=False)
    return asyncio.run(_run(count, console))


async def _run(count: int, console: Console) -> int:
    amazon = await sandbox.serve(options=sandbox.Options())
    amazon.faults = _FAULTS
    try:
        with EmbeddedBroker() as broker:
            for topic in (_TOPIC, f"{_TOPIC}.{_GROUP}.ledger", f"{_TOPIC}.dead-letter"):
                broker.create_topic(topic, _PARTITIONS)
            settings = read_settings(_environment(broker.bootstrap_servers, amazon))
            produced = await _on_a_thread(lambda stop: _produce(settings, amazon.registry.register, count, stop))
            console.print(f"produced {produced.confirmed:,} records to {_PARTITIONS} partitions", highlight=False)
            seconds = await _forward(settings, count, console)
            found = await _on_a_thread(lambda stop: _look(settings, stop))
            return _account(produced, list(map(json.loads, amazon.record.lines())), found, console, seconds)
    finally:
        await amazon.stop()


async def _on_a_thread(work: Callable[[threading.Event], T]) -> T:
    """Run blocking work on a thread. When cancelled, tell the work to stop, and wait until it has.

    Clients must end before the broker does: without it they try to connect until they time out.
    """
    stop = threading.Event()
    working = asyncio.get_running_loop().run_in_executor(None, work, stop)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([working])
        raise


def _environment(bootstrap_servers: str, amazon: sandbox.RunningSandbox) -> Mapping[str, str]:
    credentials = amazon.options.credentials
    return {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC": _TOPIC,
        "KAFKA_GROUP_ID": _GROUP,
        "KAFKA_GROUP_PROTOCOL": "consumer",
        "KAFKA_FETCH_WAIT_MAX_MS": "20",
        "KAFKA_COMPRESSION_TYPE": "lz4",
        "SCHEMA_REGISTRY_URL": amazon.registry_url,
        "AMAZON_BASE_URL": amazon.url,
        "AMAZON_TOKEN_URL": amazon.token_url,
        "AMAZON_ACCOUNT_ID": credentials.account_id,
        "AMAZON_CLIENT_ID": credentials.client_id,
        "AMAZON_CLIENT_SECRET": credentials.client_secret,
        "AMAZON_REFRESH_TOKEN": credentials.refresh_token,
        "BATCH_LINGER": "200ms",
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
    }


def _produce(settings: Settings, registered: Callable[[str, str], int], count: int, stop: threading.Event) -> _Expected:
    encoder, produced = EventEncoder(), _Expected()
    schema_id = registered(f"{_TOPIC}-value", json.dumps(encoder.schema))
    with ConfirmingProducer(
        clients.producer_properties(settings.kafka, clients.unreported, logging.getLogger("librdkafka"))
    ) as producer:
        for sample in samples(count, times.now_ms()):
            if stop.is_set():
                break
            produced.add(sample)
            value = encoded(encoder, schema_id, sample)
            producer.write(_TOPIC, None, value, produced.report, key=sample.key.encode())
    return produced


async def _forward(settings: Settings, count: int, console: Console) -> float:
    """Run the connector until every record is resolved and committed.

    Return the seconds it took.
    """
    began = time.monotonic()
    connector = Connector(settings, lambda topics: EmbeddedLedgerTopics(topics, f"{_TOPIC}.{_GROUP}.ledger"))
    running = asyncio.create_task(connector.run())
    try:
        with Progress(*columns(), console=console) as progress:
            task = progress.add_task("forwarding", total=count)
            resolved = 0
            while resolved < count and time.monotonic() - began < _SECONDS and not running.done():
                await asyncio.sleep(_LOOK_SECONDS)
                resolved = connector.pipeline.statistics.resolved if connector.pipeline is not None else 0
                progress.update(task, completed=resolved)
        seconds = time.monotonic() - began
        connector.request_shutdown()
        await running
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running])  # its clients too must end before the broker does
        raise
    return seconds


@dataclass(slots=True)
class _Contents:
    """What Kafka contains afterwards."""

    facts: Counter[Outcome] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    behind: int = 0
    """The number of records beyond the committed offsets."""


def _look(settings: Settings, stop: threading.Event) -> _Contents:
    logger = logging.getLogger("librdkafka")
    topics = cluster_for(settings)
    reader = clients.reader_properties(settings.kafka, clients.unreported, logger)
    found = _Contents()

    def wanted() -> bool:
        return not stop.is_set()

    for number in range(_PARTITIONS):
        source = TopicPartition(_TOPIC, number)
        committed = topics.committed(source)
        found.behind += topics.offsets(source)[1] - (committed.next_offset if committed is not None else 0)
        place = TopicPartition(settings.dead_letters.topic_for(_TOPIC), number)
        for letter in read(reader, place, *topics.offsets(place), wanted):
            found.letters[reason(letter)] += 1
        place = TopicPartition(settings.ledger.topic_for(_TOPIC), number)
        for entry in read(reader, place, *topics.offsets(place), wanted):
            for run_of in ledger_entry.decode(entry.value() or b"").runs:
                found.facts[run_of.outcome] += run_of.length
    return found


def _account(
    produced: _Expected, record: list[dict[str, object]], found: _Contents, console: Console, seconds: float
) -> int:
    """Show the reconciliation; return 0 if no record is missing and none is too much."""
    accepted = Counter(str(line["id"]) for line in record if line["verdict"] == "accepted")
    unanswered = {str(line["id"]) for line in record if line["answer"] == "withheld"}
    twice = {identifier for identifier, times in accepted.items() if times > 1}
    derived = len(accepted.keys() - produced.own_ids)
    lost = len(produced.own_ids - accepted.keys()) + max(0, produced.without_id - derived)
    accounted_for = (
        lost == 0 and derived == produced.without_id and twice <= unanswered and not found.behind and not produced.failed
    )
    table = Table("outcome", "produced", "found", "where", title="reconciliation")
    for fate in Fate:
        where, seen = _seen(fate, accepted, found)
        accounted_for &= seen == produced.fates[fate]
        table.add_row(fate.value, f"{produced.fates[fate]:,}", f"{seen:,}", where)
    console.print(table, highlight=False)
    end = f"{found.behind:,} records before the end" if found.behind else "to the end of every partition"
    console.print(
        f"lost: {lost}; delivered twice: {len(twice - unanswered)}\n"
        f"sent again after a withheld answer: {len(twice):,} (of {len(unanswered):,} events in such requests)\n"
        f"committed: {end}; {produced.fates.total() / seconds:,.0f} records/s",
        highlight=False,
    )
    console.print(
        "[green]all records accounted for[/green]" if accounted_for else "[red]not all records accounted for[/red]"
    )
    return 0 if accounted_for else 1


def _seen(fate: Fate, accepted: Counter[str], found: _Contents) -> tuple[str, int]:
    match fate:
        case Fate.DELIVERED:
            return "accepted by the sandbox", len(accepted)
        case Fate.DUPLICATE:
            return "ledger", found.facts[Outcome.DUPLICATE]
        case Fate.STALE:
            return "ledger", found.facts[Outcome.STALE]
        case Fate.IGNORED:
            return "ledger", found.facts[Outcome.IGNORED]
        case _:
            return "dead-letter topic", found.letters[fate.value]
