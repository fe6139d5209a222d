"""The work that every side of the benchmarks does, and what is measured of it.

The bare loop and the peers share it. A peer runs in an environment of its own, without the connector's libraries, so this
module imports nothing of the connector.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from fastavro import parse_schema, schemaless_reader

__all__ = [
    "ACCEPT_PATH",
    "CONSUMER",
    "EVENTS",
    "JSON",
    "OLDEST_SECONDS",
    "Measured",
    "Reader",
    "Task",
    "Watch",
    "body",
    "schema",
]

ACCEPT_PATH = "/adsApi/v1/create/events"
JSON = {"Content-Type": "application/json"}
CONSUMER: dict[str, str | int] = {"fetch.wait.max.ms": 20, "fetch.queue.backoff.ms": 10}
"""Properties of every side's consumers: with librdkafka's second of back-off, all would wait more than they work."""
EVENTS = 500
"""Events in one request."""
OLDEST_SECONDS = 7 * 86_400
_FRAME_BYTES = 5
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Task:
    """What one side is to do once."""

    bootstrap_servers: str
    url: str
    topic: str
    group: str
    count: int
    """Records of the topic."""
    codec: str = "auto"
    """As the setting ``CODEC``; of the connector only."""
    traffic: str = "clean"
    """A `Traffic`."""
    embedded: bool = True
    """Whether the broker is the embedded one, which lacks some of Kafka's requests."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What it took."""

    acknowledged_seconds: float
    """From the first record to the last acknowledged event."""
    committed_seconds: float
    """From the first record until every offset is committed, if offsets are."""
    cpu_seconds: float
    """Processor time of all threads, from the first record to the last acknowledged event."""
    peak_bytes: int
    """Most resident memory of the process since its start."""
    longest_step: float = 0.0
    """Seconds for which the connector's event loop did nothing else, at most; 0 for a side that is not asked."""


@dataclass(slots=True)
class Watch:
    """Takes the times."""

    began: float = 0.0
    cpu_began: float = 0.0
    acknowledged: float = 0.0
    cpu_acknowledged: float = 0.0

    def start(self) -> None:
        """Begin, at the first record; later calls do nothing."""
        if not self.began:
            self.began, self.cpu_began = time.monotonic(), time.process_time()

    def all_acknowledged(self) -> None:
        """Note the last answer; of several calls the last one counts."""
        self.acknowledged, self.cpu_acknowledged = time.monotonic(), time.process_time()

    def all_committed(self) -> Measured:
        """End."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        cpu = self.cpu_acknowledged - self.cpu_began
        return Measured(self.acknowledged - self.began, time.monotonic() - self.began, cpu, peak)


class Reader:
    """Turns the values of records into Amazon's events."""

    def __init__(self, traffic: str) -> None:
        self._schema = parse_schema(schema(traffic))
        self._shaped: Callable[[Any], dict[str, object]] = _shaped_order if traffic == "mapped" else _shaped

    def read(self, value: bytes) -> dict[str, object]:
        """Decode and map one; raises whatever fastavro raises for bytes that are no event."""
        return self._shaped(schemaless_reader(BytesIO(value[_FRAME_BYTES:]), self._schema, None))

    def read_if_sound(self, value: bytes | None) -> dict[str, object] | None:
        """Return None for a record that is no event; mixed traffic has some."""
        if not value:
            return None
        try:
            return self.read(value)
        except Exception:  # whatever it is, the record is no event
            return None


def schema(traffic: str) -> Any:
    """Return the schema of a kind of traffic."""
    file = "tests/mapping/examples/order.avsc" if traffic == "mapped" else "schemas/conversion_event.avsc"
    return json.loads((_ROOT / file).read_text("utf-8"))


def body(events: list[dict[str, object]]) -> bytes:
    """Encode a request; a time is a datetime, as fastavro makes it."""
    return orjson.dumps({"events": events}, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


def _shaped(event: dict[str, Any]) -> dict[str, object]:
    """Map a decoded event to Amazon's shape, the fields that there are."""
    sent: dict[str, object] = {
        "eventDescription": {
            "name": event["name"],
            "conversionType": event["eventType"],
            "eventSource": event["eventActionSource"].upper(),
            "eventIngestionMethod": "SERVER_TO_SERVER",
        },
        "eventTime": event["timestamp"],
        "eventId": event["clientDedupeId"],
        "countryCode": event["countryCode"],
        "matchKeys": [{"type": key["type"], "values": [key["value"]]} for key in event["matchKeys"]],
    }
    for name in ("value", "currencyCode", "unitsSold"):
        if event[name] is not None:
            sent[name] = event[name]
    if consent := event["consent"]:
        if statuses := {name: consent[name] for name in ("amznUserData", "amznAdStorage") if consent[name]}:
            sent["consent"] = {"amazonConsent": statuses}
        elif consent["tcf"]:
            sent["consent"] = {"tcf": consent["tcf"]}
    if custom := event["customAttributes"]:
        sent["customData"] = [{"name": name, "dataType": "STRING", "value": value} for name, value in custom.items()]
    return sent


_SOURCES = {"WEB": "WEBSITE", "APP_IOS": "IOS", "APP_ANDROID": "ANDROID"}


def _shaped_order(order: dict[str, Any]) -> dict[str, object]:
    """Do by hand what ``order.toml`` says."""
    customer, address, total = order["customer"], order["shipTo"], order["total"]
    keys = {
        "EMAIL": customer["email"] or customer["guestEmail"],
        "PHONE": customer["phone"],
        "FIRST_NAME": address["firstName"],
        "LAST_NAME": address["lastName"],
        "ADDRESS": " ".join(address["lines"]),
        "CITY": address["city"],
        "POSTAL": address["zip"],
    }
    sent: dict[str, object] = {
        "eventDescription": {
            "name": "Order",
            "conversionType": "OFF_AMAZON_PURCHASES",
            "eventSource": _SOURCES[order["channel"]],
            "eventIngestionMethod": "SERVER_TO_SERVER",
        },
        "eventTime": order["placedAt"],
        "eventId": str(UUID(bytes=order["orderId"])),
        "countryCode": address["country"],
        "matchKeys": [{"type": name, "values": [value]} for name, value in keys.items() if value],
        "value": float(total["amount"]),
        "currencyCode": total["currency"],
        "unitsSold": sum(line["quantity"] for line in order["lines"]),
    }
    if (granted := customer["marketingConsent"]) is not None:
        status = "GRANTED" if granted else "DENIED"
        sent["consent"] = {"amazonConsent": {"amznUserData": status, "amznAdStorage": status}}
    first = order["lines"][0]
    if custom := [
        {"name": name, "dataType": "STRING", "value": first[name]} for name in ("brand", "category") if first[name]
    ]:
        sent["customData"] = custom
    return sent
