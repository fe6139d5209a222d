"""Ordinary objects for the tests of the core, with only what matters named."""

from __future__ import annotations

from collections.abc import Sequence

from connector.core.runs import Run
from connector.model import Flaw, Moment, Poll, TopicPartition

__all__ = ["DAY_MS", "NOW_MS", "PLACE", "a_run", "an_event", "at", "key_of", "poll_of"]

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
"""The wall clock at monotonic second 0."""
PLACE = TopicPartition("conversions", 0)


def key_of(name: str) -> bytes:
    """A digest that is easy to tell apart."""
    return name.encode().ljust(16, b".")


def an_event(
    offset: int = 0, *, payload: bytes = b"{}", generation: int = 1, since: float = 0.0, key: str | None = None
) -> Run:
    """A run of one."""
    name = None if key is None else key_of(key)
    return Run(generation, since, [offset], [0], [NOW_MS], [name], [payload], [len(payload)], [f"record {offset}"])


def a_run(keys: Sequence[bytes | None] = (), *, first: int = 0, payloads: Sequence[bytes] = (), generation: int = 1) -> Run:
    """A run of so many keys, or payloads."""
    count = max(len(keys), len(payloads))
    offsets = list(range(first, first + count))
    bodies, names = list(payloads) or [b"{}"] * count, list(keys) or [None] * count
    sizes, records = [len(body) for body in bodies], [f"record {offset}" for offset in offsets]
    return Run(generation, 0.0, offsets, [0] * count, [NOW_MS] * count, names, bodies, sizes, list(records))


def at(
    seconds: float, *, skew_ms: int = 0, polled: float | None = None, vouched: float | None = None, chance: float = 0.0
) -> Moment:
    """The clocks at a monotonic second; a coordinator that need not be asked vouches for ever."""
    wall_ms = NOW_MS + round(seconds * 1000) + skew_ms
    polled, vouched = seconds if polled is None else polled, float("inf") if vouched is None else vouched
    return Moment(wall_ms, seconds, polled, vouched, chance)


Shape = tuple[int, str | None, bytes | Flaw | None, int | None]
"""Offset, name of the key, payload, event time."""


def poll_of(
    *shapes: Shape, generation: int = 1, epoch: int = 0, place: TopicPartition = PLACE, sizes: Sequence[int] = ()
) -> Poll:
    return Poll(
        place,
        generation,
        [shape[0] for shape in shapes],
        [epoch] * len(shapes),
        [shape[3] for shape in shapes],
        [None if shape[1] is None else key_of(shape[1]) for shape in shapes],
        [shape[2] for shape in shapes],
        list(sizes) or [10] * len(shapes),
        [f"record {shape[0]}" for shape in shapes],
    )
