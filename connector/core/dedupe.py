"""The dedupe window of one partition: keys that Amazon acknowledged, keys in flight, and copies that wait.

Laws (design: The guarantee, points 1 and 2; The window):

- A key counts as seen only after Amazon acknowledged an event with it.
- A copy of an event in flight shares its fate: it waits. First delivered: it is a duplicate. First ended in any other way:
  the next copy takes its place.
- Exact: 128-bit digests, no filter that could drop an event that was never seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from connector.model import Event

__all__ = ["DedupePolicy", "DedupeWindow", "SeenKeys", "Sighting", "derived_id", "digest"]

_DIGEST_BYTES = 16
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class DedupePolicy:
    """How far back duplicates are recognised, and by what."""

    window_ms: int
    key_fields: tuple[str, ...] = ("clientDedupeId",)


def digest(values: Sequence[object]) -> bytes | None:
    """Digest the values of the key's fields; None if one is missing or empty, for then there is no key.

    Over length-prefixed, typed fields, so that ("ab", "c") and ("a", "bc") differ, as do 1 and "1".
    """
    packed = bytearray()
    for value in values:
        if value is None or value == "":
            return None
        text = (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")
        packed += b"%c%d:" % (b"s" if isinstance(value, str) else b"r", len(text))
        packed += text
    return blake2b(packed, digest_size=_DIGEST_BYTES).digest()


def derived_id(cluster_id: str, topic_id: str, partition: int, offset: int, timestamp_ms: int) -> str:
    """Name a record without a dedupe id by where it stands in Kafka (design: The guarantee, point 8).

    The topic's id and the record's timestamp keep it from repeating when a topic is recreated or truncated. 32 hex digits.
    """
    place = f"{cluster_id}/{topic_id}/{partition}/{offset}/{timestamp_ms}"
    return blake2b(place.encode(), digest_size=_DIGEST_BYTES).hexdigest()


class SeenKeys:
    """Digests that count as seen, by the day of their event time.

    About 110 bytes a key (limits: dict16). A day leaves when its youngest possible key is older than the window, so a key
    may be recognised for up to a day longer than asked, never shorter.
    """

    __slots__ = ("_day_of", "_days")

    # The dict holds only bytes and ints, so the garbage collector does not walk it (limits, 2.7: a set of the same digests
    # costs a second per full collection at 10 million keys).
    def __init__(self) -> None:
        self._day_of: dict[bytes, int] = {}
        self._days: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._day_of)

    def __contains__(self, key: bytes) -> bool:
        """Tell whether the key counts as seen."""
        return key in self._day_of

    @property
    def size_bytes(self) -> int:
        """Estimate the memory held: dict slot, digest object, place in its day's list."""
        return 110 * len(self._day_of)

    def add(self, key: bytes, time_ms: int) -> None:
        """Note a key with the time of its event; the youngest time of a key counts."""
        day = time_ms // _DAY_MS
        if self._day_of.get(key, day - 1) < day:
            self._day_of[key] = day
            self._days.setdefault(day, []).append(key)

    def add_many(self, keys: bytes, times: Iterable[int]) -> None:
        """Note packed 16-byte digests with their event times; an all-zero digest is an event without a key."""
        none = bytes(_DIGEST_BYTES)
        for at, time_ms in enumerate(times):
            key = keys[at * _DIGEST_BYTES : (at + 1) * _DIGEST_BYTES]
            if key != none:
                self.add(key, time_ms)

    def expire(self, oldest_ms: int) -> None:
        """Forget the days whose youngest possible key is older than this event time."""
        for day in [day for day in self._days if (day + 1) * _DAY_MS <= oldest_ms]:
            for key in self._days.pop(day):
                if self._day_of.get(key) == day:
                    del self._day_of[key]


class Sighting(Enum):
    """What the window says of a key."""

    FIRST = "first"
    DUPLICATE = "duplicate"
    IN_FLIGHT = "in flight"


class DedupeWindow:
    """Keys seen, in flight, and the copies that wait for one in flight."""

    __slots__ = ("_claims", "seen")

    def __init__(self, seen: SeenKeys) -> None:
        self.seen = seen
        self._claims: dict[bytes, deque[Event] | None] = {}  # None: nobody waits yet

    def sight(self, key: bytes) -> Sighting:
        """Tell what is known of a key; the first sighting claims it until `delivered` or `ended`."""
        if key in self.seen:
            return Sighting.DUPLICATE
        if key in self._claims:
            return Sighting.IN_FLIGHT
        self._claims[key] = None
        return Sighting.FIRST

    def wait(self, key: bytes, copy: Event) -> None:
        """Let a copy wait for the event that claimed its key."""
        waiting = self._claims[key]
        if waiting is None:
            waiting = self._claims[key] = deque()
        waiting.append(copy)

    def delivered(self, key: bytes, time_ms: int) -> Iterable[Event]:
        """Amazon acknowledged the event that claimed this key: return the copies that are duplicates now."""
        self.seen.add(key, time_ms)
        return self._claims.pop(key, None) or ()

    def ended(self, key: bytes) -> Event | None:
        """Return the next copy, which takes the place of an event that ended undelivered; None if none waits."""
        waiting = self._claims.get(key)
        if waiting:
            return waiting.popleft()
        self._claims.pop(key, None)
        return None
