"""Finds out what would become of a record without sending it.

Records go one at a time through the same intake as in `run`, and the checks have the order of
`core.admission`. The ledger is not asked, so a record counts as a duplicate only of an earlier one
in the same preview.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from connector.amazon.contract import Contract
from connector.amazon.normalisation import PERSONAL
from connector.avro.decoding import EventDecoder
from connector.core.freshness import Freshness, FreshnessPolicy
from connector.intake import Intake, Origin
from connector.mapping.plan import Mapper
from connector.model import Flaw, Reason, TopicPartition
from connector.ports import Record

__all__ = ["DEAD_LETTER", "DUPLICATE", "IGNORED", "SEND", "STALE", "Previewed", "Previewer"]

SEND, IGNORED, STALE, DUPLICATE, DEAD_LETTER = "send", "ignored", "stale", "duplicate", "dead-letter"

_WAITED: Final = 1_000_000.0
"""Seconds that a record counts as having waited, so that an unknown schema is final at once."""
_DAY_MS: Final = 86_400_000

_SECONDS_TAKEN_MS: Final = 10_000_000_000
"""A time before this one, in April 1970, is probably in seconds and taken for milliseconds."""
_SECONDS_DOUBT: Final = "the event would be of 1970; is timestamp in seconds? Write time(x, 's')"

_UNHASHED: Final = frozenset({"ipAddress", "tcf", "gpp", "userAgent", "arefMeasurementTokens", "amazonAdEventKey"})
"""Fields that describe a person or a device, and are sent as they are."""
_HIDDEN: Final = "…"


@dataclass(frozen=True, slots=True)
class Previewed:
    """What would become of one record."""

    partition: TopicPartition
    offset: int
    time_ms: int | None
    """The record's timestamp; None if it has none."""
    schema_id: int | str | None
    schema_name: str
    mapping: str | None
    """The mapping that the record took, or whose condition it did not meet."""
    verdict: str
    reason: str = ""
    detail: str = ""
    adjustments: Mapping[str, int] = field(default_factory=dict)
    event: Any = None
    """The event as it would go out, with unhashed identifiers hidden; None if it breaks a rule."""

    def row(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "topic": self.partition.topic,
            "partition": self.partition.partition,
            "offset": self.offset,
            "time": self.time_ms,
            "schema": {"id": self.schema_id, "name": self.schema_name or None},
            "mapping": self.mapping,
            "verdict": self.verdict,
            "reason": self.reason or None,
            "detail": self.detail or None,
            "adjustments": dict(self.adjustments),
            "event": self.event,
        }


class Previewer:
    """Looks at records in the order of their offsets.

    ``now_ms`` is the wall clock's time, which decides whether an event is stale. With None, no
    event is stale or implausible.
    """

    def __init__(
        self,
        intake: Intake,
        decoder: EventDecoder,
        contract: Contract,
        mapper: Mapper | None,
        freshness: FreshnessPolicy,
        now_ms: int | None,
        request_bytes: int,
        shows_identifiers: bool = False,
    ) -> None:
        self._intake = intake
        self._decoder = decoder
        self._contract = contract
        self._mapper = mapper
        self._freshness = freshness
        self._now_ms = now_ms
        self._request_bytes = request_bytes
        self._shows_identifiers = shows_identifiers
        self._sent: dict[tuple[TopicPartition, bytes], int] = {}
        """Offsets of the events that would be sent, by their dedupe keys."""

    def look(self, origin: Origin, record: Record) -> Previewed:
        """Return what would become of a record.

        Raises:
            SchemaUnavailable: its schema cannot be fetched for now.
        """
        filtered_before, adjusted_before = self._filtered(), self._adjusted()
        if self._mapper is not None:
            self._mapper.taken = None
        poll, unavailable = self._intake.read(origin, [record], _WAITED)
        if unavailable is not None:
            raise unavailable
        (payload,), (time_ms,), (key,) = poll.payloads, poll.times, poll.keys
        filtered = next(iter(self._filtered() - filtered_before), None)
        adjusted = dict(self._adjusted() - adjusted_before)
        verdict, reason, detail = self._judged(origin.partition, record, payload, time_ms, key, filtered)
        schema_id, schema_name = (None, "") if record.value() is None else self._decoder.written_by(record)
        kind, milliseconds = record.timestamp()
        return Previewed(
            origin.partition,
            record.offset(),
            milliseconds if kind else None,
            schema_id,
            schema_name,
            filtered or (None if self._mapper is None else self._mapper.taken),
            verdict,
            reason,
            detail,
            adjusted,
            self._shown(payload) if isinstance(payload, bytes) else None,
        )

    def _filtered(self) -> Counter[str]:
        return Counter(self._mapper.filtered if self._mapper is not None else {})

    def _adjusted(self) -> Counter[str]:
        return Counter({**self._contract.adjustments, **(self._mapper.left_out if self._mapper is not None else {})})

    def _judged(
        self,
        partition: TopicPartition,
        record: Record,
        payload: bytes | Flaw | None,
        time_ms: int | None,
        key: bytes | None,
        filtered: str | None,
    ) -> tuple[str, str, str]:
        """Return verdict, reason and detail."""
        if payload is None:
            return IGNORED, "", _why_ignored(record, filtered)
        untimely = Freshness.FRESH
        if time_ms is not None and self._now_ms is not None:
            untimely = self._freshness.judge(time_ms, self._now_ms)
        doubt = _SECONDS_DOUBT if time_ms is not None and time_ms < _SECONDS_TAKEN_MS else ""
        if untimely is Freshness.STALE and time_ms is not None and self._now_ms is not None:
            return STALE, "", f"{(self._now_ms - time_ms) // _DAY_MS} days old{doubt and f': {doubt}'}"
        if untimely is not Freshness.FRESH:
            payload = Flaw(Reason.IMPLAUSIBLE_TIME, f"timestamp: {untimely.value}")
        if isinstance(payload, Flaw):
            return DEAD_LETTER, payload.reason.value, payload.detail
        if key is not None and (first := self._sent.get((partition, key))) is not None:
            return DUPLICATE, "", f"a copy of offset {first} above"
        if len(self._contract.prefix) + len(payload) + len(self._contract.suffix) > self._request_bytes:
            return DEAD_LETTER, Reason.TOO_LARGE.value, f"event: larger than a request may be ({self._request_bytes} bytes)"
        if key is not None:
            self._sent[partition, key] = record.offset()
        return SEND, "", doubt

    def _shown(self, payload: bytes) -> Any:
        event = orjson.loads(payload)
        return event if self._shows_identifiers else _hidden(event)


def _why_ignored(record: Record, filtered: str | None) -> str:
    if record.value() is None:
        return "it has no value"
    if filtered is None:
        return "its writer wrote null"
    return "no mapping is for its type" if filtered == "otherwise" else f"when of {filtered}"


def _hidden(part: Any) -> Any:
    """Return an event in which each identifier that is sent unhashed is replaced by a sign."""
    if isinstance(part, list):
        return [_hidden(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.keys() == {"type", "values"} and part["type"] not in PERSONAL:
        return {**part, "values": [_HIDDEN for _ in part["values"]]}
    return {name: _HIDDEN if name in _UNHASHED else _hidden(each) for name, each in part.items()}
