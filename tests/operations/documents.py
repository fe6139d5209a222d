"""A document as `/status.json` has it, of a connector that has seen everything; tests change what they are about."""

from __future__ import annotations

import copy
import math
from typing import Any

from connector.model import Outcome
from connector.operations.status import HELD_UP

__all__ = ["REFUSED", "document", "same_form"]

_POINTS = 120


def _wave(mean: float, swing: float, phase: float = 0.0) -> list[float]:
    return [max(0.0, mean + swing * math.sin(at / 9 + phase) + swing / 3 * math.sin(at * 1.7)) for at in range(_POINTS)]


def _both(recent: int, since_start: int) -> dict[str, int]:
    return {"recent": recent, "since_start": since_start}


REFUSED = (
    "Amazon answers every request with 401 (UNAUTHORIZED: the client has no access to account 5850000000001). "
    "Grant the application access, or set AMAZON_ACCOUNT_ID to an account that it has access to"
)
_HELD_UP: dict[str, Any] = {
    "state": {
        "word": "not ready",
        "live": True,
        "ready": False,
        "messages": [
            REFUSED,
        ],
    },
    "held_up": [{"reason": "operator", "partitions": 6, "message": HELD_UP["operator"]}],
}

_RIGHT: dict[str, Any] = {
    "build": {
        "version": "1.4.0",
        "revision": "0123456789abcdef",
        "python": "3.11.7",
        "librdkafka": "2.16.0",
        "codec": "native",
    },
    "host": "conversions-7c9d8-x2k4q",
    "group": "amazon-conversions-5850000000001",
    "destination": {
        "api": "ads-v1",
        "region": "EU",
        "account": "5850000000001",
        "dataset": None,
        "host": "advertising-api-eu.amazon.com",
        "is_amazon": True,
    },
    "settings": {
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(f"broker-{n}.kafka.eu-west-1.example.com:9092" for n in range(6)),
        "KAFKA_TOPIC": "conversions",
        "AMAZON_CLIENT_SECRET": "********",
        "MAX_EVENT_AGE": "7d",
    },
    "state": {"word": "right", "live": True, "ready": True, "messages": []},
    "held_up": [],
    "uptime_seconds": 93_784.2,
    "recent_seconds": 300.0,
    "records": _both(36_211, 11_402_118),
    "fates": {
        **{outcome.name.lower(): _both(0, 0) for outcome in Outcome},
        "delivered": _both(35_004, 11_020_611),
        "duplicate": _both(1_180, 370_012),
        "stale": _both(0, 12),
        "dead_lettered": _both(27, 1_483),
        "already_resolved": _both(0, 10_000),
    },
    "dead_letters": {
        "reasons": {"rejected": _both(20, 1_000), "missing-field": _both(7, 483)},
        "newest": [
            {
                "seconds_ago": 4.0 + 31 * at,
                "record": f"conversions-{at % 6}@1{at}804311",
                "reason": "missing-field",
                "detail": "matchKeys: the event has none that says anything, and no rampId or maid either",
            }
            for at in range(10)
        ],
    },
    "adjustments": {"value": 120, "state_left_out": 3},
    "filtered": {"order": 9_021},
    "amazon": {
        "statuses": {"207": _both(1_801, 551_020), "429": _both(12, 3_000), "timeout": _both(1, 17)},
        "p50_seconds": 0.094,
        "p99_seconds": 1.31,
        "p50_seconds_since_start": 0.09,
        "p99_seconds_since_start": 2.2,
        "last_success_seconds_ago": 0.2,
        "concurrency_limit": 8,
        "requests_per_second_limit": 1.86,
        "requests_in_flight": 3,
        "events_in_flight": 1_500,
        "request_bytes_limit": 1_000_000,
    },
    "partitions": [
        {
            "partition": f"conversions-{number}",
            "phase": "running",
            "committed": 1_904_311 + 991 * number,
            "lag": 130 * number,
            "unresolved": 12 * number,
            "oldest_unresolved_seconds": 0.4 if number else None,
            "held_up_by": [],
        }
        for number in range(6)
    ],
    "window": {"keys": 6_120_411, "bytes": 690_000_000},
    "buffer": {"events": 1_811, "bytes": 1_200_000},
    "schemas": [
        {"schema": "schema 1041", "records": "shop.Order", "mapping": "order, refund"},
        {"schema": "schema 7", "records": "ads.conversions.ConversionEvent", "mapping": "by name"},
    ],
    "history": {
        "seconds_per_point": 30.0,
        "delivered": _wave(110, 40),
        "duplicate": _wave(8, 6),
        "stale": [0.0] * _POINTS,
        "ignored": _wave(12, 4, 2),
        "dead_lettered": [6.0 if 70 <= at < 78 else 0.0 for at in range(_POINTS)],
        "answers 2xx": _wave(6, 2),
        "answers 429": [3.0 if 30 <= at < 41 else 0.0 for at in range(_POINTS)],
        "failures": [1.0 if at == 90 else 0.0 for at in range(_POINTS)],
        "lag": [None] * 5 + [max(0.0, 4_000 * math.sin(at / 20)) for at in range(5, _POINTS)],
        "p50": _wave(0.09, 0.01),
        "p99": _wave(0.9, 0.5),
    },
}


def document(*, held_up: bool = False, **changes: Any) -> dict[str, Any]:
    """Return a document of a connector that is right, or held up, with changes."""
    return copy.deepcopy({**_RIGHT, **(_HELD_UP if held_up else {}), **changes})


_OPEN = {"settings", "statuses", "reasons", "adjustments", "filtered"}
"""Keys whose value has keys of its own making."""


def same_form(given: Any, wanted: Any, place: str = "") -> list[str]:
    """Return where a document differs in form from another: in its keys, or in the keys of its rows."""
    if isinstance(given, dict) and isinstance(wanted, dict):
        name = place.rpartition(".")[2]
        different = [] if name in _OPEN else [f"{place}: {key}" for key in given.keys() ^ wanted.keys()]
        return different + [
            each for key in given.keys() & wanted.keys() for each in same_form(given[key], wanted[key], f"{place}.{key}")
        ]
    if isinstance(given, list) and isinstance(wanted, list) and given and wanted:
        return same_form(given[0], wanted[0], f"{place}[]")
    return []
