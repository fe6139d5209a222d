"""Traffic of every kind there is, for tests that break things while it flows. Seeded, so that it repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from zlib import crc32

from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.oracle import Fate, Source
from tests.integration.program import World

__all__ = ["REFUSED_NAME", "Traffic"]

REFUSED_NAME = "refused_by_amazon"
"""For a sandbox that is told to reject events of this name."""
_HEADERS = (("trace", b"\x00\xff"), ("trace", None), ("connector.reason", b"not ours"))
_COPIED = 60
"""Copies repeat one of the last so many events: some are in flight by then, some delivered, some died with their process."""


class Traffic:
    """An endless mix of records; copies come in later waves too, so also across a restart."""

    def __init__(self, world: World, partitions: int, seed: int) -> None:
        self._world = world
        self._partitions = partitions
        self._random = Random(seed)
        self._seed = seed
        self._number = 0
        self._recent: list[Source] = []

    def wave(self, count: int) -> list[Source]:
        """Return the next records, not yet produced."""
        records = [next(self._records()) for _ in range(count)]
        self._recent = [each for each in [*self._recent, *records] if each.event_id and each.wanted is not Fate.STALE][
            -_COPIED:
        ]
        return records

    def _records(self) -> Iterator[Source]:
        while True:
            self._number += 1
            name = f"{self._seed:x}-{self._number}"
            if self._recent and self._random.random() < 0.15:
                yield self._random.choice(self._recent)
            else:
                yield self._one(name, f"order-{name}")

    def _one(self, name: str, event_id: str) -> Source:
        time_ms = now_ms() - self._random.randrange(3_600_000, 6 * DAY_MS)
        draw = self._random.random()
        if draw < 0.04:
            return self._source(name, Source(wanted=Fate.IGNORED, value=None))
        if draw < 0.08:
            return self._source(name, Source(wanted=Fate.DEAD_LETTERED, value=b"not Avro", reason="undecodable"))
        if draw < 0.12:
            inputs = event(event_id, timestamp=now_ms() - 8 * DAY_MS)
            return self._source(name, Source(wanted=Fate.STALE, value=self._world.value(inputs), event_id=event_id))
        if draw < 0.20:
            inputs = event(None, timestamp=time_ms)
            return self._source(name, Source(wanted=Fate.DELIVERED, value=self._world.value(inputs), event_time_ms=time_ms))
        if draw < 0.23:
            inputs = event(event_id, timestamp=time_ms, countryCode="Narnia")
            found = Source(wanted=Fate.DEAD_LETTERED, value=self._world.value(inputs), reason="invalid-field")
            return self._source(name, found)  # without an id: a copy of it would be an event of its own
        if draw < 0.25:
            inputs = event(event_id, timestamp=now_ms() // 1000)
            found = Source(wanted=Fate.DEAD_LETTERED, value=self._world.value(inputs), reason="implausible-time")
            return self._source(name, found)
        refused = draw < 0.31
        inputs = event(event_id, timestamp=time_ms, **({"name": REFUSED_NAME} if refused else {}))
        found = Source(
            wanted=Fate.DEAD_LETTERED if refused else Fate.DELIVERED,
            value=self._world.value(inputs),
            event_id=event_id,
            event_time_ms=time_ms,
            reason="rejected" if refused else None,
        )
        return self._source(name, found)

    def _source(self, name: str, found: Source) -> Source:
        headers = _HEADERS if self._random.random() < 0.5 else ()
        return replace(found, key=name.encode(), headers=headers, partition=crc32(name.encode()) % self._partitions)
