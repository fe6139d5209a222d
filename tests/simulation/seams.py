"""Where the simulation meets the connector: the names of the world outside that the connector's modules imported.

While `simulated` lasts, the Kafka room's modules have fakes where they imported Kafka's clients, ``threading``,
``queue`` and ``time``; the code between is the connector's own, unchanged. What a shell must be given anyway (clock,
dice, admin client, transport, registry) it is given (`tests.simulation.member`). ``test_seams.py`` sees to it that no
module is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from connector.kafka import consumer, managed_topics, producer, reader
from tests.simulation.cluster import MemberClient, ProducerClient, ReaderClient
from tests.simulation.virtual_time import Queues, Threading, Time

__all__ = ["SEAMS", "simulated"]

SEAMS: tuple[tuple[ModuleType, str, Any], ...] = (
    (consumer, "Consumer", MemberClient),
    (consumer, "threading", Threading),
    (consumer, "queue", Queues),
    (consumer, "time", Time),
    (producer, "Producer", ProducerClient),
    (producer, "threading", Threading),
    (reader, "Consumer", ReaderClient),
    (reader, "time", Time),
    (managed_topics, "time", Time),
)


@contextmanager
def simulated() -> Iterator[None]:
    """Put the fakes in place, and afterwards back what was there."""
    before = [(module, name, getattr(module, name)) for module, name, _ in SEAMS]
    try:
        for module, name, fake in SEAMS:
            setattr(module, name, fake)
        yield
    finally:
        for module, name, real in before:
            setattr(module, name, real)
