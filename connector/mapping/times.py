"""Reads times: what the function ``time()`` of a mapping file does.

A time is a number in a unit, a text in ISO 8601, or a text in a format of strptime. A text without
an offset from UTC is refused unless its format says UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from connector.mapping.values import DECIMALS, NUMBERS, Wrong, exact, kind, number_in

__all__ = ["TIME_UNITS", "format_problem", "time_of"]

TIME_UNITS: Final[Mapping[str, int]] = {"d": 86_400_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SAYS_UTC: Final = re.compile(r"%z|Z\Z|UTC|GMT").search
_TRIED: Final = datetime(2026, 11, 25, 17, 48, 39, tzinfo=UTC)
"""A time whose parts all differ: a format that loses or confuses a part does not give it back."""


def format_problem(unit: str) -> str:
    """Return what is wrong with the second argument of ``time()``; empty if nothing is."""
    if unit in TIME_UNITS:
        return ""
    if "%" not in unit:
        return "its second argument is 'd', 's', 'ms', 'us', 'ns', or a format such as '%d.%m.%Y %H:%M:%S %z'"
    plain = unit.replace("%%", "")
    if "%Z" in plain:
        return "its format has %Z, which reads the names of this machine's zone and gives no offset: write %z"
    if not _SAYS_UTC(plain):
        return (
            "its format gives no offset: add %z, or UTC or a Z at the end where the texts have it; where they have none and "
            "are UTC, write time(join('', [x, 'Z']), '…Z')"
        )
    try:
        read = datetime.strptime(_TRIED.strftime(unit), unit)  # noqa: DTZ007 - the format is tried, no time is made
    except (ValueError, re.error):
        return (
            "its format cannot be read: it takes the directives of C's strptime, each once (%m is the month, %M the minute)"
        )
    if read.date() != _TRIED.date():
        return "its format does not give the day: it needs %d, %m (not %M) and %Y, or others that say as much"
    if read.hour not in (0, _TRIED.hour):
        return "its format gives half of the hour: write %H, or %p beside %I"
    return ""


def time_of(value: Any, unit: str | None = None) -> int | None:
    """Return a time in milliseconds since 1970 UTC.

    A number is in ``unit``, milliseconds by default. A text is in ISO 8601 with an offset, or in
    the format that ``unit`` gives.
    """
    if type(value) is str:
        return _time_of_text(value.strip(), unit)
    if type(value) in NUMBERS:
        nanoseconds = TIME_UNITS.get(unit or "ms")
        if nanoseconds is None:
            raise Wrong("got a number, but has a format for texts")
        if type(value) is int:
            return value * nanoseconds // 1_000_000
        try:
            return int(DECIMALS.multiply(exact(value), Decimal(nanoseconds)) // 1_000_000)
        except (ArithmeticError, ValueError):
            raise Wrong("got a number that is not a time") from None
    if value is None:
        return None
    raise Wrong(f"got {kind(value)}")


def _time_of_text(text: str, unit: str | None) -> int | None:
    if not text:
        return None
    if unit in TIME_UNITS:
        return time_of(number_in(text), unit)
    try:
        read = datetime.fromisoformat(text) if unit is None else datetime.strptime(text, unit)  # noqa: DTZ007 - looked at below
    except (ValueError, OverflowError):
        raise Wrong(f"got a text that is not a time of {'ISO 8601' if unit is None else 'its format'}") from None
    if read.tzinfo is None:
        if unit is None:
            raise Wrong("got a time without an offset from UTC")
        read = read.replace(tzinfo=UTC)
    return (read - _EPOCH) // _MILLISECOND
