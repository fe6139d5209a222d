"""Traffic for tests that break things while it flows: what is made, of every fate there is, and one thread that produces it.

What is made is seeded, so that it repeats. When it is produced is the machine's affair.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from zlib import crc32

from confluent_kafka import KafkaError, Message, Producer

from tests.integration.brokers import headers_of, read_topic
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.oracle import Fate, Source
from tests.integration.program import World
from tests.patience import patience

__all__ = ["EVERY_FATE", "REFUSED_NAME", "STEADY", "Load", "Mix", "Traffic"]

REFUSED_NAME = "refused_by_amazon"
"""For a sandbox that is told to reject events of this name."""
_NUMBER = "number"
_HEADERS = (("trace", b"\x00\xff"), ("trace", None), ("connector.reason", b"not ours"))
_TICK_SECONDS = 0.02
_FLUSH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Mix:
    """What is made, in shares of all."""

    shares: Mapping[str, float]
    """By kind, of what is no copy; the rest are events like any other."""
    copies: float
    reach: int
    """Copies repeat one of the last so many events, of which some are in flight and some delivered."""


EVERY_FATE = Mix(
    {
        "ignored": 0.04,
        "undecodable": 0.04,
        "stale": 0.04,
        "without an id": 0.08,
        "invalid-field": 0.03,
        "implausible-time": 0.02,
        "rejected": 0.06,
    },
    copies=0.15,
    reach=60,
)
"""For a sandbox that rejects events of `REFUSED_NAME`."""
STEADY = Mix(
    {
        "undecodable": 0.03,
        "ignored": 0.02,
        "invalid-field": 0.03,
        "stale": 0.04,
        "with a blank id": 0.02,
        "without an id": 0.03,
    },
    copies=0.07,
    reach=300,
)
"""Most is delivered, for a sandbox that rejects nothing by itself; copies reach back across a fault of some seconds."""


class Traffic:
    """An endless mix of records; copies come in later waves too, so also across a restart."""

    def __init__(self, world: World, partitions: int, seed: int, mix: Mix = EVERY_FATE) -> None:
        self._world = world
        self._partitions = partitions
        self._random = Random(seed)
        self._seed = seed
        self._mix = mix
        self._number = 0
        self._recent: list[Source] = []

    def wave(self, count: int) -> list[Source]:
        """Return the next records, not yet produced."""
        records = [self._next() for _ in range(count)]
        recent = [*self._recent, *(each for each in records if each.event_id and _may_be_copied(each))]
        self._recent = recent[max(0, len(recent) - self._mix.reach) :]
        return records

    def _next(self) -> Source:
        self._number += 1
        if self._recent and self._random.random() < self._mix.copies:
            return self._random.choice(self._recent)
        name = f"{self._seed:x}-{self._number}"
        headers = _HEADERS if self._random.random() < 0.5 else ()
        return replace(
            self._one(name), key=name.encode(), headers=headers, partition=crc32(name.encode()) % self._partitions
        )

    def _one(self, name: str) -> Source:
        rest = 1.0 - sum(self._mix.shares.values())
        (kind,) = self._random.choices([*self._mix.shares, "plain"], [*self._mix.shares.values(), rest])
        match kind:
            case "ignored":
                return Source(wanted=Fate.IGNORED, value=None)
            case "undecodable":
                return Source(wanted=Fate.DEAD_LETTERED, value=b"not Avro", reason="undecodable")
            case "stale":
                return self._event(name, Fate.STALE, timestamp=now_ms() - 8 * DAY_MS)
            case "invalid-field":
                return self._event(name, Fate.DEAD_LETTERED, "invalid-field", countryCode="Narnia")
            case "implausible-time":
                return self._event(name, Fate.DEAD_LETTERED, "implausible-time", timestamp=now_ms() // 1000)
            case "rejected":
                return self._event(name, Fate.DEAD_LETTERED, "rejected", name=REFUSED_NAME)
            case "without an id":
                return self._event(name, Fate.DELIVERED, clientDedupeId=None)
            case "with a blank id":
                return self._event(name, Fate.DELIVERED, clientDedupeId="  ")
            case "plain":
                return self._event(name, Fate.DELIVERED)
        raise AssertionError(f"there is no kind {kind!r}")

    def _event(self, name: str, wanted: Fate, reason: str | None = None, /, **changes: Any) -> Source:
        time_ms = now_ms() - self._random.randrange(3_600_000, 6 * DAY_MS)
        event_id = f"order-{name}"
        inputs = event(event_id, **{"timestamp": time_ms} | changes)
        return Source(
            wanted=wanted,
            reason=reason,
            value=self._world.value(inputs),
            event_id=event_id if inputs["clientDedupeId"] == event_id else None,
            event_time_ms=inputs["timestamp"],
        )


def _may_be_copied(record: Source) -> bool:
    return record.wanted is Fate.DELIVERED or record.reason == "rejected"


class Load:
    """A thread that produces traffic at a steady rate, whatever befalls the brokers."""

    def __init__(self, world: World, traffic: Traffic, rate: float) -> None:
        self.made: dict[bytes, Source] = {}
        """What was produced, by its number, which it has in a header."""
        self.records: list[Source] = []
        """The producer's list, with places, once it has stopped."""
        self._world = world
        self._traffic = traffic
        self._rate = rate
        self._failures: list[object] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        # Idempotent: a retry through a broker's death must not write a record twice, or the list would lack it.
        properties = {"bootstrap.servers": world.servers, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        self._producer = Producer(properties | {"error_cb": lambda _: None})

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Produce no more, and wait until everything is confirmed."""
        if self._ending.is_set():
            return
        self.abandon()
        assert self._producer.flush(patience(_FLUSH_SECONDS)) == 0, "the brokers do not confirm what was produced"
        assert self._failures == []
        # Where a broker died after it had taken a record, the producer is told that it is there, but not at which offset.
        for message in read_topic(self._world.servers, self._world.topic):
            (number,) = (value for name, value in headers_of(message) if name == _NUMBER and value)
            self.records.append(replace(self.made[number], offset=message.offset() or 0))
        # It may be there twice all the same: seen once, while nodes were restarted on a loaded machine.
        # The second is a copy, as for the connector.
        missing = self.made.keys() - {dict(record.headers)[_NUMBER] for record in self.records}
        assert not missing, f"confirmed, and missing from the topic: {missing}"

    def abandon(self) -> None:
        """Produce no more, whatever is confirmed."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def ends(self) -> dict[int, int]:
        """Return the end offset of every partition that has records."""
        return dict(sorted((record.partition, record.offset + 1) for record in sorted(self.records, key=_place)))

    def _run(self) -> None:
        began, produced = time.monotonic(), 0
        try:
            while not self._ending.is_set():
                due = int((time.monotonic() - began) * self._rate)
                for record in self._traffic.wave(due - produced):
                    self._produce(record)
                produced = due
                self._producer.poll(_TICK_SECONDS)
        except Exception as failure:  # told by `stop`
            self._failures.append(failure)

    def _produce(self, record: Source) -> None:
        def confirmed(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                self._failures.append(error.name())

        number = b"%d" % (len(self.made) + 1)
        numbered = replace(record, timestamp_ms=now_ms(), headers=(*record.headers, (_NUMBER, number)))
        self.made[number] = numbered
        self._producer.produce(
            self._world.topic,
            numbered.value,
            numbered.key,
            partition=numbered.partition,
            timestamp=numbered.timestamp_ms,
            headers=list(numbered.headers),
            on_delivery=confirmed,
        )


def _place(record: Source) -> tuple[int, int]:
    return record.partition, record.offset
