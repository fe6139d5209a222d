"""A record as the client hands it out, of which a test says only what matters to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AT_MS", "PolledRecord"]

AT_MS = 1_783_900_800_123


@dataclass
class PolledRecord:
    """A `connector.ports.Record`."""

    value_: bytes | None = None
    offset_: int = 0
    headers_: Sequence[tuple[str, bytes | None]] | None = None
    key_: bytes | None = None
    topic_: str = "conversions"
    epoch: int | None = 0
    time_ms: int = AT_MS

    def value(self) -> bytes | None:
        return self.value_

    def key(self) -> bytes | None:
        return self.key_

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return self.headers_

    def offset(self) -> int:
        return self.offset_

    def topic(self) -> str:
        return self.topic_

    def leader_epoch(self) -> int | None:
        return self.epoch

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time_ms
