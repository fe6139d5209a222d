"""The dedupe window of one partition.

It holds keys that Amazon acknowledged, keys in flight, and copies that wait.

Laws (docs/how-it-works.md#acknowledged-then-seen, docs/how-it-works.md#copies-wait,
docs/how-it-works.md#the-window):

- A key counts as seen only after Amazon acknowledged an event with it.
- A copy of an event in flight waits for its outcome. When the first is delivered, the copy is a
  duplicate. When the first ends in any other way, the next copy takes its place.
- The window is exact: 128-bit digests, and no filter that could drop an event that was never seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from itertools import repeat
from struct import iter_unpack
from typing import Protocol

from connector.core.runs import Run

__all__ = [
    "Claim",
    "DedupePolicy",
    "DedupeWindow",
    "Seen",
    "SeenKeys",
    "Sighting",
    "derived_id",
    "digest",
    "key_id",
    "packed",
]

Claim = tuple[int, bytes]
"""Offset and payload of the event that claimed a key."""

_DIGEST_BYTES = 16
_PACKED = f"{_DIGEST_BYTES}s"
_DAY_MS = 86_400_000
_SHARDS = 256
"""One for each value of a byte."""
_KEYS_AT_ONCE = 10_000
"""Keys after which a sweep pauses, at the end of a shard. A step takes some milliseconds."""
_KEY_BYTES = 110
"""Memory per key, averaged between two growths of its dict (``make bench-window``)."""


@dataclass(frozen=True, slots=True)
class DedupePolicy:
    """How far back duplicates are recognised, and by which fields."""

    window_ms: int
    key_fields: tuple[str, ...] = ("clientDedupeId",)
    differ: Callable[[bytes, bytes], bool] = bytes.__ne__
    """Returns whether two payloads with one key are different events, rather than one that its
    producer sent twice."""

    @property
    def ledger_ms(self) -> int:
        """How long the ledger keeps an entry: a day longer than its keys count, to lose none."""
        return self.window_ms + _DAY_MS


def digest(values: Collection[object]) -> bytes | None:
    """Digest the values of the key's fields.

    None if one is missing or blank, because then there is no key.

    A blank identifies nothing, and as a key it would merge events of different people
    (docs/how-it-works.md#derived-ids). Fields are length-prefixed and typed, so ("ab", "c") and
    ("a", "bc") differ, as do 1 and "1".
    """
    for value in values:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
    return _digest(values) if values else None  # with no values at all, every event would have the same key


def key_id(values: Sequence[object]) -> str:
    """Return the id on the wire of an event whose key is more than its own id.

    Amazon counts one event per id.

    No value may be missing or blank. 32 hex digits, the same whenever and wherever they are made.
    """
    return _digest(values).hex()


def packed(value: object) -> bytes:
    """Return a value in the form in which it is a part of a key."""
    kind, text = (b"s", value) if isinstance(value, str) else (b"r", repr(value))
    encoded = text.encode("utf-8", "surrogatepass")
    return b"%b%d:%b" % (kind, len(encoded), encoded)


def _digest(values: Collection[object]) -> bytes:
    return blake2b(b"".join(map(packed, values)), digest_size=_DIGEST_BYTES).digest()


def derived_id(cluster_id: str, topic_id: str, partition: int, offset: int, timestamp_ms: int) -> str:
    """Return an id for a record without one, made from its place in Kafka.

    See docs/how-it-works.md#derived-ids.

    The topic's id and the record's timestamp keep ids from repeating when a topic is recreated or
    truncated. 32 hex digits.
    """
    place = f"{cluster_id}/{topic_id}/{partition}/{offset}/{timestamp_ms}"
    return blake2b(place.encode(), digest_size=_DIGEST_BYTES).hexdigest()


class Seen(Protocol):
    """What a window needs of the keys that count as seen.

    `SeenKeys` says what each answer means.
    """

    def __len__(self) -> int: ...

    def __contains__(self, key: bytes, /) -> bool: ...

    @property
    def size_bytes(self) -> int:
        """The memory held."""

    def find(self, keys: Sequence[bytes | None]) -> list[int]:
        """Return the positions of the keys that are held, in order."""

    def add(self, keys: Sequence[bytes | None], times: Iterable[int], acknowledged_ms: int = 0) -> None:
        """Note keys with their times in milliseconds."""

    def add_packed(self, keys: bytes, times: Iterable[int], written_ms: int = 0) -> None:
        """Note packed digests with their times."""

    def expire(self, oldest_ms: int) -> bool:
        """Forget old keys, one step per call; return whether more is left."""

    def free(self) -> bool:
        """Free some memory; return whether more is left."""


class SeenKeys:
    """Digests that count as seen, by day.

    The day is that of the event time or of the acknowledgement, whichever is later.

    The acknowledgement counts because an event may be nearly as old as the window when Amazon takes
    it, and its copy comes later. The event time counts because it may be ahead of the clock by the
    skew allowed.

    A day leaves when its youngest possible key is older than the window. So a key may be recognised
    for up to a day longer than asked, never shorter.

    Keys are in shards by the first byte of their digest. A big dict grows or is rebuilt in one
    step, and nothing else in the process runs meanwhile: at 10 million keys it took 1.7 s to grow
    and 1.5 s to drop two days of seven. With shards no step takes longer than some milliseconds
    (``make bench-window`` measures both).
    """

    __slots__ = ("_days", "_oldest_day", "_shards", "_swept")

    # The dicts hold only bytes and ints, so the garbage collector does not walk them. A set of the
    # same digests costs a second per full collection at 10 million keys
    # (docs/limits.md#garbage-collection).
    def __init__(self) -> None:
        self._shards: list[dict[bytes, int]] = [{} for _ in range(_SHARDS)]
        self._days: dict[int, int] = {}  # each to itself, so that all keys of a day share one object
        self._swept = 0  # shards that the sweep under way has finished; 0 with no sweep
        self._oldest_day = 0

    def __len__(self) -> int:
        """Count the keys."""
        return sum(map(len, self._shards))

    def __contains__(self, key: bytes) -> bool:
        """Return whether the key counts as seen."""
        return key in self._shards[key[0]]

    @property
    def size_bytes(self) -> int:
        """Estimate the memory held, in bytes: slots and digest objects."""
        return _KEY_BYTES * len(self)

    def find(self, keys: Sequence[bytes | None]) -> list[int]:
        """Return the positions of the keys that count as seen, in order; None is no key."""
        shards = self._shards
        return [at for at, key in enumerate(keys) if key is not None and key in shards[key[0]]]

    def add(self, keys: Sequence[bytes | None], times: Iterable[int], acknowledged_ms: int = 0) -> None:
        """Note keys with their event times in milliseconds; None is no key.

        The later of event time and acknowledgement counts, and of several for one key the latest.
        """
        shards, days = self._shards, self._days
        for key, time_ms in zip(keys, times, strict=True):
            if key is not None:
                day = (max(acknowledged_ms, time_ms)) // _DAY_MS
                shard = shards[key[0]]
                if shard.get(key, day - 1) < day:
                    shard[key] = days.setdefault(day, day)

    def add_packed(self, keys: bytes, times: Iterable[int], written_ms: int = 0) -> None:
        """Note packed 16-byte digests with their event times.

        An all-zero digest stands for an event without a key.

        ``written_ms`` is when the ledger appended them, which is a flush or a retry after their
        acknowledgement.
        """
        none = bytes(_DIGEST_BYTES)
        self.add([None if key == none else key for (key,) in iter_unpack(_PACKED, keys)], times, written_ms)

    def expire(self, oldest_ms: int) -> bool:
        """Forget the days whose youngest possible key is older than this, one step per call.

        Return whether more is left.
        """
        if self._swept == 0:
            self._oldest_day = oldest_ms // _DAY_MS  # for the whole sweep, even if midnight passes meanwhile
            if min(self._days, default=self._oldest_day) >= self._oldest_day:
                return False
            # Before the sweep, so that an old key that comes after it has passed is left to the
            # next one.
            self._days = {day: day for day in self._days if day >= self._oldest_day}
        looked_at = 0
        while self._swept < _SHARDS and looked_at < _KEYS_AT_ONCE:
            shard = self._shards[self._swept]
            looked_at += len(shard)
            # Rebuilt rather than emptied: a dict never gives back the memory of removed keys.
            self._shards[self._swept] = {key: day for key, day in shard.items() if day >= self._oldest_day}
            self._swept += 1
        if self._swept < _SHARDS:
            return True
        self._swept = 0
        return False

    def free(self) -> bool:
        """Free some keys of a window that is not used any more; return whether more is left."""
        # One by one: memory goes back to the system in blocks that hold keys of all shards, so
        # nearly all of it with the last one. Freed as a whole, that took 75 ms with 10 million
        # keys.
        shards = self._shards
        for _ in range(_KEYS_AT_ONCE):
            while shards and not shards[-1]:
                shards.pop()
            if not shards:
                return False
            shards[-1].popitem()
        return True


class Sighting(Enum):
    """What the window knows of a key."""

    FIRST = "first"
    DUPLICATE = "duplicate"
    IN_FLIGHT = "in flight"


class DedupeWindow:
    """Keys seen, keys in flight, and the copies that wait for an event in flight."""

    __slots__ = ("_claims", "_waiting", "seen")

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self._claims: dict[bytes | None, Claim] = {}
        self._waiting: dict[bytes, deque[Run]] = {}

    def known(self, keys: Sequence[bytes | None]) -> list[int]:
        """Return the positions of keys that are seen, in flight, or the same as one before them.

        They are in no order, and one may be there twice.
        """
        found, claimed, different = self.seen.find(keys), self._claims.keys(), set(keys)
        if not claimed.isdisjoint(different):
            claimed_now = claimed & different
            found += [at for at, key in enumerate(keys) if key in claimed_now]
        if len(different) < len(keys):
            before = set[bytes | None]()
            for at, key in enumerate(keys):
                if key is not None and key in before:
                    found.append(at)
                before.add(key)
        return found

    def sight(self, key: bytes) -> Sighting:
        """Return what is known of a key."""
        if key in self.seen:
            return Sighting.DUPLICATE
        return Sighting.IN_FLIGHT if key in self._claims else Sighting.FIRST

    def claim(self, run: Run) -> None:
        """Let events claim their keys, of which nothing is known, until `delivered` or `ended`."""
        self._claims.update(zip(run.keys, zip(run.offsets, run.payloads, strict=True), strict=True))
        self._claims.pop(None, None)  # an event without a key claims nothing

    def wait(self, key: bytes, copy: Run) -> Claim:
        """Let a copy wait for the event that claimed its key; return that event."""
        self._waiting.setdefault(key, deque()).append(copy)
        return self._claims[key]

    def delivered(self, keys: Sequence[bytes | None], times: Sequence[int], now_ms: int) -> list[tuple[bytes, Run]]:
        """Note that Amazon acknowledged events now.

        Return the copies that are duplicates, each with its key.
        """
        self.seen.add(keys, times, now_ms)
        deque(map(self._claims.pop, keys, repeat(None)), maxlen=0)  # only makes the calls
        waiting = self._waiting
        if not waiting:
            return []
        return [(key, copy) for key in keys if key is not None and key in waiting for copy in waiting.pop(key)]

    def ended(self, key: bytes) -> Run | None:
        """Return the next copy, which takes the place of an event that ended undelivered.

        None if none waits.
        """
        waiting = self._waiting.get(key)
        if waiting:
            copy = waiting.popleft()
            self.claim(copy)
            return copy
        self._claims.pop(key, None)
        self._waiting.pop(key, None)
        return None
