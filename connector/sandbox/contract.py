"""The two wire contracts as tables of checks, and the judgement on one request body: pure, no clock and no I/O.

An independent reading of amazon-contract.md, sections 3 and 4. Nothing here is shared with ``connector/amazon``: this side
has to be able to catch that side's mistakes. Where the sources contradict each other the stricter reading is taken, for an
event that pleases the strict one pleases the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from connector.sandbox import enumerations as sets
from connector.sandbox.checks import (
    SOUND,
    TIME,
    TIME_OF_SECONDS,
    Check,
    Flaw,
    Flaws,
    Rule,
    array,
    both,
    choice,
    custom_value,
    decimal,
    integer,
    match_key,
    moment_ms,
    record,
    text,
    time,
)

__all__ = ["ADS_V1", "CONTRACTS", "EVENTS_V1", "Contract", "Limits", "Refusal", "judge", "open_body"]

DAY_MS = 86_400_000
MAX_EVENTS = 500
"""Section 3.2, ``events``; for ``events/v1`` Segment's batch size, the only number there is (section 3.1)."""


_WORD = r"[A-Za-z0-9_]+"
_CONSENT_STATE = choice(sets.CONSENT_STATES)
_OPTION = choice(frozenset({"LIMITED_DATA_USE"}))


def _consent(amazon: Check) -> Check:
    geo = record({"ipAddress": text()}, {})
    return record({}, {"geo": geo, "amazonConsent": amazon, "tcf": text(), "gpp": text()})


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """One wire contract: where it is served, how a body is wrapped, where an event keeps what conditions look at."""

    name: str
    path: str
    """Of the endpoint."""
    client_header: str
    """The header that carries the client id (section 1)."""
    wrapper: str
    """The body's field that holds the events."""
    constants: Mapping[str, str]
    """Further fields of the body, all required, with their only value."""
    first_index: int
    """The index of the first event in an answer (section 5)."""
    id_field: str
    """What Amazon de-duplicates by (section 6)."""
    time_field: str
    place_of_name: tuple[str, ...]
    place_of_type: tuple[str, ...]
    shape: Check
    """What an event must look like, whatever its type and the clock."""

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


EVENTS_V1 = Contract(
    name="events-v1",
    path="/events/v1",
    client_header="Amazon-Advertising-API-ClientId",
    wrapper="eventData",
    constants={"ingestionMethod": "SERVER_TO_SERVER"},
    first_index=1,
    id_field="clientDedupeId",
    time_field="timestamp",
    place_of_name=("name",),
    place_of_type=("eventType",),
    shape=record(
        {
            "name": text(),
            "eventType": choice(sets.EVENT_TYPES),
            "eventActionSource": choice(sets.EVENTS_SOURCES),
            "countryCode": choice(sets.EVENTS_COUNTRIES),
            "timestamp": time(TIME_OF_SECONDS),
            "matchKeys": array(match_key(sets.EVENTS_MATCH_KEY_TYPES), 1, 11),
        },
        {
            "value": decimal,
            "currencyCode": choice(sets.EVENTS_CURRENCIES),
            "unitsSold": integer(-(2**63), 2**63 - 1),
            "clientDedupeId": text(),
            "dataProcessingOptions": array(_OPTION, 0),
            "consent": _consent(record({"amznAdStorage": _CONSENT_STATE, "amznUserData": _CONSENT_STATE}, {})),
            "customAttributes": array(record({"name": text(_WORD), "value": text(longest=256)}, {}), 0),
        },
    ),
)
"""Section 3.1."""

ADS_V1 = Contract(
    name="ads-v1",
    path="/adsApi/v1/create/events",
    client_header="Amazon-Ads-ClientId",
    wrapper="events",
    constants={},
    first_index=0,
    id_field="eventId",
    time_field="eventTime",
    place_of_name=("eventDescription", "name"),
    place_of_type=("eventDescription", "conversionType"),
    shape=record(
        {
            "eventDescription": record(
                {
                    "name": text(),
                    "conversionType": choice(sets.EVENT_TYPES),
                    "eventSource": choice(sets.ADS_SOURCES),
                    "eventIngestionMethod": choice(frozenset({"SERVER_TO_SERVER"})),
                },
                {"dataSetName": text(r"[A-Za-z][A-Za-z0-9_-]*", longest=100)},
            ),
            "countryCode": choice(sets.ADS_COUNTRIES),
            "eventTime": time(TIME),
            "matchKeys": array(match_key(sets.ADS_MATCH_KEY_TYPES), 1, 15),
        },
        {
            "value": decimal,
            "currencyCode": choice(sets.ADS_CURRENCIES),
            "unitsSold": integer(-(2**31), 2**31 - 1),
            "eventId": text(),
            "dataProcessingOptions": record({}, {"options": _OPTION}),
            "consent": _consent(record({"amznUserData": _CONSENT_STATE}, {"amznAdStorage": _CONSENT_STATE})),
            "customData": array(
                both(
                    record({"name": text(_WORD), "value": text(_WORD)}, {"dataType": choice(sets.CUSTOM_TYPES)}),
                    custom_value,
                ),
                0,
                13,
            ),
            "deviceInfo": record({}, {"userAgent": text(longest=512)}),
            "arefMeasurementTokens": text(r"[A-Za-z0-9]{10}\.[0-9]{13}(\|[A-Za-z0-9]{10}\.[0-9]{13})*"),
            "amazonAdEventKey": text(),
            "partner": text(),
        },
    ),
)
"""Section 3.2."""

CONTRACTS = (EVENTS_V1, ADS_V1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What depends on the account and the clock."""

    max_age_ms: int = 7 * DAY_MS
    """Section 3.1, ``timestamp``; for ``adsApi/v1`` the stricter of 7 and 21 days (section 8, number 2)."""
    max_future_ms: int = 300_000
    """Unknown (section 9): five minutes, a clock's honest error."""
    consent_required: bool = False
    """True for an advertiser of the EU region (section 3.4)."""


class Refusal(NamedTuple):
    """A request refused as a whole."""

    status: int
    code: str
    message: str


def open_body(contract: Contract, body: bytes) -> list[object] | Refusal:
    """Return the events of a request body, or why it is refused as a whole: its wrapper is not the contract's."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal(400, "BAD_REQUEST", "the body is not JSON")
    if type(document) is not dict:
        return Refusal(400, "BAD_REQUEST", "the body is not an object")
    events = document.pop(contract.wrapper, None)
    if type(events) is not list:
        return Refusal(400, "BAD_REQUEST", f"{contract.wrapper} must be an array")
    if document != contract.constants:
        wanted = ", ".join(f"{name}={value}" for name, value in contract.constants.items()) or "nothing"
        return Refusal(400, "BAD_REQUEST", f"beside {contract.wrapper} the body must hold {wanted}")
    if not 1 <= len(events) <= MAX_EVENTS:
        return Refusal(400, "BAD_REQUEST", f"{contract.wrapper} must hold 1 to {MAX_EVENTS} events")
    return events


def judge(contract: Contract, event: object, now_ms: int, limits: Limits) -> tuple[Flaw, ...]:
    """Return every rule one event breaks; none, and Amazon accepts it.

    ``now_ms``: milliseconds since 1970 UTC.
    """
    flaws = contract.shape(event)
    if type(event) is not dict:
        return flaws
    return flaws + _by_clock(contract, event, now_ms, limits) + _by_type(contract, event) + _by_account(event, limits)


def _by_clock(contract: Contract, event: dict[str, object], now_ms: int, limits: Limits) -> Flaws:
    value = event.get(contract.time_field)
    time_ms = moment_ms(value) if type(value) is str and TIME(value) else None
    if time_ms is None:
        return SOUND  # a time without a form is the shape's flaw
    if now_ms - time_ms > limits.max_age_ms:
        return (Flaw(contract.time_field, Rule.TOO_OLD),)
    if time_ms - now_ms > limits.max_future_ms:
        return (Flaw(contract.time_field, Rule.IN_FUTURE),)
    return SOUND


def _by_type(contract: Contract, event: dict[str, object]) -> Flaws:
    """Check what holds for purchases only (section 3.1; for currency in ``adsApi/v1`` after the seed and Segment)."""
    kind = _at(event, contract.place_of_type)
    if kind == "OFF_AMAZON_PURCHASES":
        value = event.get("value")
        negative = isinstance(value, int | float) and value < 0
        return (Flaw("value", Rule.NEGATIVE),) if negative else SOUND
    if not isinstance(kind, str) or kind not in sets.EVENT_TYPES:
        return SOUND  # an unknown type is the shape's flaw, and says nothing of the rest
    return tuple(Flaw(name, Rule.PURCHASES_ONLY) for name in ("currencyCode", "unitsSold") if name in event)


def _by_account(event: dict[str, object], limits: Limits) -> Flaws:
    """Check that an EU advertiser's event carries one of the four consents (section 3.4)."""
    return (Flaw("consent", Rule.NO_CONSENT),) if limits.consent_required and not event.get("consent") else SOUND
