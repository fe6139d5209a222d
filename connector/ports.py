"""What the parts ask of each other: the Protocols that adapters keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from connector.model import Answer, Flaw

__all__ = ["Clock", "Confirmation", "Decoder", "Record", "Sink", "WireContract"]


class Clock(Protocol):
    """The clocks of the host."""

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970 UTC."""

    def monotonic(self) -> float:
        """Return the seconds since some fixed point."""


class Record(Protocol):
    """A record as polled. ``confluent_kafka.Message`` is one."""

    def value(self) -> bytes | None:
        """Return the value."""

    def key(self) -> bytes | None:
        """Return the key."""

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        """Return the headers, in order."""

    def offset(self) -> int:
        """Return the offset."""

    def leader_epoch(self) -> int | None:
        """Return the epoch of the leader that appended it, if the broker said."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of the timestamp and its milliseconds."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What became of a record written to the ledger or the dead letters."""

    error: str | None
    """The name of Kafka's error code; None when all in-sync replicas have it."""
    offset: int
    append_ms: int | None
    """The brokers' clock, on a topic with ``message.timestamp.type=LogAppendTime``."""


class Decoder(Protocol):
    """From bytes to the inputs of ``schemas/conversion_event.avsc``."""

    def decode(self, value: bytes, waited: float = 0.0) -> dict[str, object] | None:
        """Decode by the writer's schema and map to our input names; None where the writer wrote null.

        ``waited`` is for how many seconds the record has waited for its schema. ``timestamp`` is whole milliseconds since
        1970 UTC, whatever unit the writer declared; inputs that the writer does not have are absent.

        Raises:
            RecordError: the record is at fault.
            SchemaUnavailable: the schema cannot be had for now; ask again later.
        """


class WireContract(Protocol):
    """One of Amazon's two wire contracts: pure, no I/O."""

    @property
    def prefix(self) -> bytes:
        """What stands before the first event of a request body."""

    @property
    def suffix(self) -> bytes:
        """What stands after the last event of a request body; between two events stands a comma."""

    @property
    def path(self) -> str:
        """The path of the endpoint, below the base URL."""

    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request."""

    def encode(self, inputs: Mapping[str, object], dedupe_id: str) -> bytes | Flaw:
        """Encode one event as it stands in the request, or say which rules it breaks.

        ``dedupe_id`` is what Amazon de-duplicates by: the event's own id, or the derived one.
        """

    def read(self, status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        """Read the answer to a request of ``count`` events. Total: every input has a reading, none raises."""


class Sink(Protocol):
    """Sends one request and returns what became of it."""

    async def send(self, body: bytes, count: int, *, may_start: Callable[[], bool]) -> Answer:
        """Send a request body of ``count`` events. Never raises for what the vendor or the network does.

        ``may_start`` is asked right before the body goes out, each time it does: what was decided on may have had to wait
        for a token meanwhile. If it says no, nothing is sent, and the reason of the failure is ``not-sent``.
        """

    async def close(self) -> None:
        """Give back connections."""
