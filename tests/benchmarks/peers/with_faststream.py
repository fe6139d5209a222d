"""FastStream on confluent-kafka: a batch subscriber, which commits a batch when its handler has returned.

It has no state store. The ids are in a set in memory, which a restart empties.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage

from tests.benchmarks.peers.report import report
from tests.benchmarks.work import ACCEPT_PATH, CONSUMER, EVENTS, JSON, OLDEST_SECONDS, Measured, Reader, Task, Watch, body

_BATCH = 1_000


def faststream(task: Task) -> Measured:
    """Run until everything is committed."""
    return asyncio.run(_faststream(task))


async def _faststream(task: Task) -> Measured:
    broker = KafkaBroker(task.bootstrap_servers, config=CONSUMER, logger=None)
    app = FastStream(broker, logger=None)
    reader, watch = Reader(task.traffic), Watch()
    seen: set[object] = set()
    received = 0

    async def decode(message: KafkaMessage) -> list[dict[str, object] | None]:
        watch.start()
        return [reader.read_if_sound(value) for value in message.body]

    @broker.subscriber(
        task.topic,
        group_id=task.group,
        batch=True,
        max_records=_BATCH,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=decode,
    )
    async def forward(events: list[Any]) -> None:
        nonlocal received
        received += len(events)
        oldest = datetime.now(UTC) - timedelta(seconds=OLDEST_SECONDS)
        wanted = []
        for event in events:
            if event is None or event["eventTime"] < oldest or event["eventId"] in seen:
                continue
            if event["eventId"] is not None:
                seen.add(event["eventId"])
            wanted.append(event)
        await asyncio.gather(*(post(wanted[at : at + EVENTS]) for at in range(0, len(wanted), EVENTS)))
        watch.all_acknowledged()
        if received >= task.count:
            app.exit()

    async def post(events: list[dict[str, object]]) -> None:
        async with session.post(task.url + ACCEPT_PATH, data=body(events), headers=JSON, raise_for_status=True) as answer:
            await answer.read()

    async with aiohttp.ClientSession() as session:
        await app.run()
    return watch.all_committed()


if __name__ == "__main__":
    report(faststream)
