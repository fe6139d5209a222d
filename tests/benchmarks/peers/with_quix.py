"""Quix Streams: a dataframe with a stateful filter, and a batching sink, which writes when a checkpoint commits.

The ids are in its state, RocksDB on disk. On Apache Kafka the state has its changelog topic, as is the default; the embedded
broker tells no settings of topics and creates none, so there the topic's are told by us and the changelog is off.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from quixstreams import Application, State
from quixstreams.models.topics import TopicAdmin, TopicConfig
from quixstreams.models.topics.manager import TopicManager
from quixstreams.sinks import BatchingSink, SinkBatch

from tests.benchmarks.peers.report import report
from tests.benchmarks.work import ACCEPT_PATH, CONSUMER, EVENTS, JSON, OLDEST_SECONDS, Measured, Reader, Task, Watch, body


class _Amazon(BatchingSink):
    """Posts a checkpoint's events, 500 at a time."""

    def __init__(self, url: str, watch: Watch) -> None:
        super().__init__()
        self._url, self._watch = url, watch
        self._session = requests.Session()

    def write(self, batch: SinkBatch) -> None:
        for items in batch.iter_chunks(n=EVENTS):
            data = body([item.value for item in items])
            self._session.post(self._url + ACCEPT_PATH, data=data, headers=JSON).raise_for_status()
        self._watch.all_acknowledged()


class _EmbeddedTopics(TopicAdmin):
    """The embedded broker does not tell a topic's settings."""

    def inspect_topics(self, topic_names: list[str], timeout: float = 30) -> dict[str, Any]:
        topics = self.list_topics(timeout=timeout)
        settings = {"retention.ms": "604800000", "retention.bytes": "-1"}  # Kafka's defaults
        return {name: TopicConfig(len(topics[name].partitions), 1, settings) for name in topic_names}


def quix(task: Task) -> Measured:
    """Run until everything is committed."""
    with tempfile.TemporaryDirectory() as directory:
        return _quix(task, directory)


def _quix(task: Task, directory: str) -> Measured:
    topics = TopicManager(_EmbeddedTopics(task.bootstrap_servers), task.group) if task.embedded else None
    app = Application(
        broker_address=task.bootstrap_servers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        consumer_extra_config=CONSUMER,
        state_dir=directory,
        use_changelog_topics=not task.embedded,
        topic_manager=topics,
        loglevel="WARNING",
    )
    reader, watch = Reader(task.traffic), Watch()
    oldest = datetime.now(UTC) - timedelta(seconds=OLDEST_SECONDS)
    received = 0

    def read(value: bytes) -> Any:
        nonlocal received
        watch.start()
        received += 1
        if received == task.count:
            app.stop()
        return reader.read_if_sound(value)

    def is_fresh(event: Any) -> bool:
        return event is not None and bool(event["eventTime"] >= oldest)

    def is_new(event: Any, state: State) -> bool:
        if event["eventId"] is None:
            return True
        if state.exists(event["eventId"]):
            return False
        state.set(event["eventId"], True)
        return True

    records = app.topic(task.topic, value_deserializer="bytes", key_deserializer="bytes")
    events = app.dataframe(records).apply(read).filter(is_fresh).filter(is_new, stateful=True)
    events.sink(_Amazon(task.url, watch))
    app.run()
    return watch.all_committed()


if __name__ == "__main__":
    report(quix)
