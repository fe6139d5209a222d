"""A run: records of one poll that go on together, as columns with one entry a record.

The problem. An object for each record, and a loop over such objects, cost more than what is done
with the record. Nearly always all records of a poll are admitted, sent and acknowledged alike.

The picture. The records of a poll about which there is something to say are taken out, each a run
of its own. All others are one run. From there on everything that is decided about events is decided
about runs:

    poll ──odd records taken out──▶ runs ──▶ batch ──▶ request ──cut where the verdict changes──▶ facts
                                      ▲                                  │
                                      └───────── cut, halved, again ─────┘

One record is a run of one, so there is one way for all. A run that is cut becomes several, each
with columns of its own: the records of a part that has ended are not kept in memory by the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from connector.model import Facts, Outcome

__all__ = ["Run", "count", "divide"]

Label = TypeVar("Label")


@dataclass(slots=True, eq=False)
class Run:
    """Decoded records of one assignment in offset order, at least one.

    They are buffered, waiting or in flight.
    """

    generation: int
    """Number of the assignment that the records were polled under; unique in the process, across
    partitions."""
    since: float
    """Monotonic second at which the records were buffered."""
    offsets: list[int]
    epochs: list[int]
    times: list[int]
    keys: list[bytes | None]
    payloads: list[bytes]
    sizes: list[int]
    """Bytes that each record takes in memory until it is resolved."""
    records: list[object]
    tries: int = 0
    """Number of answers that gave these events no final verdict."""

    def __len__(self) -> int:
        """Count the records."""
        return len(self.offsets)

    @property
    def size(self) -> int:
        """Bytes that the records take in memory until they are resolved."""
        return sum(self.sizes)

    @property
    def length(self) -> int:
        """Bytes of the payloads in a body, each with a comma."""
        return sum(map(len, self.payloads)) + len(self.payloads)

    def delivered(self) -> Facts:
        """Return the facts of delivered events. Their columns are those of the run: copy them."""
        return Facts(self.offsets, self.epochs, [Outcome.DELIVERED] * len(self), self.keys, self.times)

    def part(self, first: int, end: int) -> Run:
        """Return the records from one position to before another, as a run of their own."""
        if first == 0 and end >= len(self):
            return self
        cut = slice(first, end)
        return Run(
            self.generation,
            self.since,
            self.offsets[cut],
            self.epochs[cut],
            self.times[cut],
            self.keys[cut],
            self.payloads[cut],
            self.sizes[cut],
            self.records[cut],
            self.tries,
        )

    def stretches(self, labels: Sequence[Label]) -> Iterator[tuple[Run, Label]]:
        """Cut between records with different labels. Each record has a label."""
        if labels.count(labels[0]) == len(labels):  # nearly always
            yield self, labels[0]
            return
        first = 0
        for label, same in groupby(labels):
            end = first + len(list(same))
            yield self.part(first, end), label
            first = end


def count(runs: Iterable[Run]) -> int:
    """Count the records of runs."""
    return sum(map(len, runs))


def divide(runs: Sequence[Run], at: int) -> tuple[list[Run], list[Run]]:
    """Divide runs into the first ``at`` records and the rest."""
    first: list[Run] = []
    rest: list[Run] = []
    for run in runs:
        if at > 0:
            first.append(run.part(0, at))
        if at < len(run):
            rest.append(run.part(max(at, 0), len(run)))
        at -= len(run)
    return first, rest
