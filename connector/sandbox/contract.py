"""The two wire contracts as the sandbox knows them: opens a request body, and judges each event.

`connector.sandbox.schemas` says what an event must look like. This file has the wrapper of a body,
and the rules that depend on the clock or the account. Nothing is shared with ``connector/amazon``,
so that the sandbox can catch mistakes there. Pure: no clock and no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from connector.sandbox.checks import SOUND, TIME, Check, Rule, Schema, Violation, Violations, compiled, moment_ms
from connector.sandbox.schemas import ADS_EVENT, EVENTS_EVENT

__all__ = ["ADS_V1", "CONTRACTS", "EVENTS_V1", "EventLimits", "RequestRefusal", "SandboxContract", "judge", "open_body"]

DAY_MS = 86_400_000
MAX_EVENTS = 500
"""Maximum events in a request: ``events`` in docs/amazon-contract.md#request-of-ads-v1. For
``events/v1`` it is Segment's batch size, the only number known."""


@dataclass(frozen=True, slots=True, eq=False)
class SandboxContract:
    """One wire contract: its path, its header, the wrapper of a body, and its events' fields."""

    name: str
    path: str
    """The endpoint's path."""
    client_header: str
    """The header that carries the client id (docs/amazon-contract.md#endpoint-and-account)."""
    wrapper: str
    """The body's field that holds the events."""
    constants: Mapping[str, str]
    """Further fields of the body, all required, with their only value."""
    first_index: int
    """The index of the first event in an answer (docs/amazon-contract.md#answers)."""
    id_field: str
    """The field by which Amazon de-duplicates (docs/amazon-contract.md#amazons-own-dedupe)."""
    time_field: str
    place_of_name: tuple[str, ...]
    schema: Schema
    """The rules for an event that depend on neither clock nor account."""
    shape: Check = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", compiled(self.schema))

    def id_of(self, event: object) -> str | None:
        """Return the event's dedupe id; None for an event without one."""
        found = _at(event, (self.id_field,))
        return found if isinstance(found, str) else None

    def name_of(self, event: object) -> str | None:
        """Return the event's name; None for an event without one."""
        found = _at(event, self.place_of_name)
        return found if isinstance(found, str) else None


def _at(value: object, place: tuple[str, ...]) -> object:
    for step in place:
        if type(value) is not dict:
            return None
        value = value.get(step)
    return value


EVENTS_V1 = SandboxContract(
    name="events-v1",
    path="/events/v1",
    client_header="Amazon-Advertising-API-ClientId",
    wrapper="eventData",
    constants={"ingestionMethod": "SERVER_TO_SERVER"},
    first_index=1,
    id_field="clientDedupeId",
    time_field="timestamp",
    place_of_name=("name",),
    schema=EVENTS_EVENT,
)
"""Source: docs/amazon-contract.md#request-of-events-v1."""

ADS_V1 = SandboxContract(
    name="ads-v1",
    path="/adsApi/v1/create/events",
    client_header="Amazon-Ads-ClientId",
    wrapper="events",
    constants={},
    first_index=0,
    id_field="eventId",
    time_field="eventTime",
    place_of_name=("eventDescription", "name"),
    schema=ADS_EVENT,
)
"""Source: docs/amazon-contract.md#request-of-ads-v1."""

CONTRACTS = (EVENTS_V1, ADS_V1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLimits:
    """Limits that depend on the clock or the account."""

    max_age_ms: int = 7 * DAY_MS
    """The greatest age (docs/amazon-contract.md#age-limit); for ``adsApi/v1`` the stricter of 7 and
    21 days."""
    max_future_ms: int = 300_000
    """How far ahead of the clock an event may be. Amazon's limit is unknown
    (docs/amazon-contract.md#unknown); five minutes allow for clocks that differ."""
    consent_required: bool = False
    """True for an advertiser of the EU region (docs/amazon-contract.md#consent)."""


class RequestRefusal(NamedTuple):
    """A request refused as a whole."""

    status: int
    code: str
    message: str


def open_body(contract: SandboxContract, body: bytes) -> list[object] | RequestRefusal:
    """Return the events of a request body, or why the request is refused as a whole."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return RequestRefusal(400, "BAD_REQUEST", "the body is not JSON")
    if type(document) is not dict:
        return RequestRefusal(400, "BAD_REQUEST", "the body is not an object")
    events = document.pop(contract.wrapper, None)
    if type(events) is not list:
        return RequestRefusal(400, "BAD_REQUEST", f"{contract.wrapper} must be an array")
    if document != contract.constants:
        wanted = ", ".join(f"{name}={value}" for name, value in contract.constants.items()) or "nothing"
        return RequestRefusal(400, "BAD_REQUEST", f"besides {contract.wrapper} the body must hold {wanted}")
    if not 1 <= len(events) <= MAX_EVENTS:
        return RequestRefusal(400, "BAD_REQUEST", f"{contract.wrapper} must hold 1 to {MAX_EVENTS} events")
    return events


def judge(contract: SandboxContract, event: object, now_ms: int, limits: EventLimits) -> tuple[Violation, ...]:
    """Return every rule that one event breaks. An event that breaks none is accepted.

    ``now_ms`` is the time in milliseconds since 1970 UTC.
    """
    violations = contract.shape(event)
    if type(event) is not dict:
        return violations
    return violations + _by_clock(contract, event, now_ms, limits) + _by_account(event, limits)


def _by_clock(contract: SandboxContract, event: dict[str, object], now_ms: int, limits: EventLimits) -> Violations:
    value = event.get(contract.time_field)
    time_ms = moment_ms(value) if type(value) is str and TIME(value) else None
    if time_ms is None:
        return SOUND  # the schema reports a time without the right form
    if now_ms - time_ms > limits.max_age_ms:
        return (Violation(contract.time_field, Rule.TOO_OLD),)
    if time_ms - now_ms > limits.max_future_ms:
        return (Violation(contract.time_field, Rule.IN_FUTURE),)
    return SOUND


def _by_account(event: dict[str, object], limits: EventLimits) -> Violations:
    """Check that the event has one of the four consents, if the account needs one.

    See docs/amazon-contract.md#consent.
    """
    return (Violation("consent", Rule.NO_CONSENT),) if limits.consent_required and not event.get("consent") else SOUND
