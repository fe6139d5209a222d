"""Bytewax: a dataflow with a state for each id, batches by `collect`, and a sink that posts.

What it remembers, offsets and ids alike, is in its recovery store: SQLite on disk, written at the end of each epoch. It
commits nothing to Kafka.
"""

from __future__ import annotations

import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from tests.benchmarks.peers.report import report
from tests.benchmarks.work import ACCEPT_PATH, CONSUMER, EVENTS, JSON, OLDEST_SECONDS, Measured, Reader, Task, Watch, body


class _Posting(StatelessSinkPartition[Any]):
    def __init__(self, url: str, watch: Watch) -> None:
        self._url, self._watch = url, watch
        self._session = requests.Session()

    def write_batch(self, items: list[Any]) -> None:
        for _, events in items:
            self._session.post(self._url + ACCEPT_PATH, data=body(events), headers=JSON).raise_for_status()
        self._watch.all_acknowledged()


class _Amazon(DynamicSink[Any]):
    def __init__(self, url: str, watch: Watch) -> None:
        self._url, self._watch = url, watch

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Posting:
        return _Posting(self._url, self._watch)


def bytewax(task: Task) -> Measured:
    """Run until everything is in the recovery store."""
    with tempfile.TemporaryDirectory() as directory:
        init_db_dir(Path(directory), 1)
        watch = Watch()
        cli_main(_flow(task, watch), recovery_config=RecoveryConfig(Path(directory)))
        return watch.all_committed()


def _flow(task: Task, watch: Watch) -> Dataflow:
    reader = Reader(task.traffic)
    oldest = datetime.now(UTC) - timedelta(seconds=OLDEST_SECONDS)

    def read(message: Any) -> Any:
        watch.start()
        return reader.read_if_sound(message.value)

    def once(seen: bool | None, event: Any) -> tuple[bool, list[Any]]:
        return True, [] if seen else [event]

    flow = Dataflow("conversions")
    properties = {name: str(value) for name, value in CONSUMER.items()}
    source = KafkaSource([task.bootstrap_servers], [task.topic], tail=False, add_config=properties)
    records = op.input("records", flow, source)
    events = op.filter_map("read", records, read)
    fresh = op.filter("fresh", events, lambda event: event["eventTime"] >= oldest)
    by_id = op.key_on("by id", fresh, lambda event: event["eventId"] or uuid.uuid4().hex)
    new = op.stateful_flat_map("once", by_id, once)
    together = op.key_on("together", op.key_rm("without id", new), lambda _: "all")
    batches = op.collect("batch", together, timeout=timedelta(seconds=1), max_size=EVENTS)
    op.output("post", batches, _Amazon(task.url, watch))
    return flow


if __name__ == "__main__":
    report(bytewax)
