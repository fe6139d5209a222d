"""Numbers as a person reads them, on the page and in ``connector top``."""

from __future__ import annotations

__all__ = ["ago", "amount", "duration", "number", "rate", "seconds", "seconds_pair", "size"]


def number(value: int | None) -> str:
    """Return a number as a person reads it; a dash if it is not known."""
    return "-" if value is None else f"{value:,}"


def amount(value: float) -> str:
    """Return a number with no more digits than are useful."""
    return f"{value:,.0f}" if value >= 100 or not value else f"{value:,.1f}" if value >= 0.1 else f"{value:.2g}"


def rate(count: int, span: float) -> str:
    """Return a count in a span as a number per second."""
    return amount(count / span) if span >= 1 else "-"


def size(value: int | None) -> str:
    """Return a number of bytes in its unit."""
    if value is None:
        return "-"
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= bytes_:
            return f"{value / bytes_:.3g} {unit}"
    return f"{value} B"


def seconds(value: float) -> str:
    """Return a short time, in milliseconds below a second."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def duration(value: float) -> str:
    """Return a time in the largest unit that says enough."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:.0f} {unit}"
    return f"{value:.0f} s"


def seconds_pair(first: float | None, second: float | None) -> str:
    """Return two short times side by side; a dash if one is not known."""
    return "-" if first is None or second is None else f"{seconds(first)} / {seconds(second)}"


def ago(value: float | None) -> str:
    """Return how long ago something was."""
    return "never" if value is None else f"{duration(value)} ago"
