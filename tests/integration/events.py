"""Events as a careful producer writes them, and the clock their times are taken from."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any

from connector.nothing import said

__all__ = ["DAY_MS", "event", "hashed", "now_ms"]

DAY_MS = 86_400_000


def now_ms() -> int:
    """Return the wall clock, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def hashed(text: str) -> str:
    """Return a match key as a careful producer makes it."""
    return sha256(text.encode()).hexdigest()


def event(dedupe_id: str | None, **changes: Any) -> dict[str, Any]:
    """Return inputs of ``schemas/conversion_event.avsc`` that Amazon takes, an hour old, but for ``changes``."""
    assert dedupe_id is None or said(dedupe_id), f"{dedupe_id!r} stands for nothing: the event would have another id"
    return {
        "name": "web_order",
        "eventType": "OFF_AMAZON_PURCHASES",
        "eventActionSource": "WEBSITE",
        "clientDedupeId": dedupe_id,
        "timestamp": now_ms() - 3_600_000,
        "matchKeys": [{"type": "EMAIL", "value": hashed(f"{dedupe_id}@example.com")}],
        "value": 12.5,
        "currencyCode": "EUR",
        "unitsSold": 1,
        "countryCode": "DE",
        "dataProcessingOptions": None,
        "consent": None,
        "customAttributes": None,
    } | changes
