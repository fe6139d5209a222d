"""Avro's numbers of varying length: seven bits a byte, the lowest first; the eighth says "more"."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["packed", "signed", "unpacked", "zigzag"]


def zigzag(number: int) -> int:
    """Return the unsigned number that stands for a signed one.

    0, 1, 2, 3 stand for 0, -1, 1, -2.
    """
    return number * 2 if number >= 0 else -number * 2 - 1


def signed(number: int) -> int:
    """Return the signed number that this one stands for; the inverse of `zigzag`."""
    return (number >> 1) ^ -(number & 1)


def packed(numbers: Iterable[int]) -> bytes:
    """Return the bytes of unsigned numbers."""
    column = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            column.append(rest & 0x7F | 0x80)
            rest >>= 7
        column.append(rest)
    return bytes(column)


def unpacked(column: bytes) -> list[int]:
    """Return the unsigned numbers in bytes. A number that does not end is left out."""
    if column.isascii():  # fast path, nearly always: every number is below 128, a byte each
        return list(column)
    numbers = []
    number = shift = 0
    for byte in column:
        number |= (byte & 0x7F) << shift
        if byte > 0x7F:
            shift += 7
        else:
            numbers.append(number)
            number = shift = 0
    return numbers
