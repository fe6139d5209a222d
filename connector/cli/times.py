"""Points in time on the command line: ``2026-11-22T10:00Z``, or ``2h`` for two hours ago."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime

__all__ = ["now_ms", "time_ms"]

_AGO_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def time_ms(text: str) -> int:
    """Parse a point in time: ISO 8601, in UTC unless it names a zone, or a duration before now."""
    if ago := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return now_ms() - int(ago[1]) * _AGO_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a time (2026-11-22T10:00Z) nor a duration (2h)") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def now_ms() -> int:
    """Return the milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000
