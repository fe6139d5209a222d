"""A partition's log as it lies on a broker's disk, to be looked at and damaged: the record batches of a segment."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Batch", "batches"]

_HEADER = struct.Struct(">qi")
"""The first offset, and the length of what follows these twelve bytes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Where a batch stands in the file of a segment."""

    segment: Path
    begins: int
    length: int
    first_offset: int

    @property
    def content(self) -> bytes:
        """Its bytes."""
        return self.segment.read_bytes()[self.begins :][: self.length]

    def flip(self, byte: int, bits: int) -> None:
        """Flip bits of what the broker has; it reads its files as they are."""
        with self.segment.open("r+b") as file:
            file.seek(self.begins + byte)
            before = file.read(1)[0]
            file.seek(self.begins + byte)
            file.write(bytes([before ^ bits]))


def batches(segment: Path) -> list[Batch]:
    """Return all batches of a segment; what was produced together may be several."""
    content, begins, found = segment.read_bytes(), 0, list[Batch]()
    while begins < len(content):
        offset, rest = _HEADER.unpack_from(content, begins)
        found.append(Batch(segment, begins, rest + _HEADER.size, offset))
        begins += found[-1].length
    return found
