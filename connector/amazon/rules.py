"""The field rules of both wire contracts: inputs of an event in, clean fields or a flaw out.

A field that is not right has one of three consequences:

- The event is a **dead letter** in three cases: a required field is missing or not acceptable to
  Amazon; any field has the wrong type, so that we cannot read what the producer means; or leaving
  out an optional field would do harm, because Amazon would book something else (value, currency and
  units of a purchase, or a data set) or a person's denial would be dropped (consent, limited data
  use).
- The field is **left out** and counted if it is optional and Amazon would refuse it, so that the
  conversion still counts. Bad custom attributes of any type and consent strings without the right
  form are left out, too.
- Nothing happens if an optional field is blank: it counts as absent.

`FieldRules.clean` is total and runs once for each event. A good event takes a few microseconds;
texts are made only for findings. Caches are bounded by the number and the length of their entries.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import lru_cache
from math import isfinite
from typing import Any, Final

import orjson

from connector.amazon.consent import consent
from connector.amazon.custom_attributes import CustomLimits, custom_attributes
from connector.amazon.findings import Adjustment, Findings
from connector.amazon.match_keys import match_keys
from connector.amazon.vocabulary import (
    EVENT_TYPES,
    MAX_TEXT,
    NOT_ISO,
    PROCESSING_OPTIONS,
    PURCHASE,
    constant,
    country_code,
)
from connector.model import Flaw, Reason
from connector.nothing import said, trimmed

__all__ = ["DATASET_NAME", "FieldRules", "Fields", "Limits", "WithoutConsent", "differ"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one contract, where the two contracts differ."""

    sources: Mapping[str, str]
    countries: frozenset[str]
    currencies: frozenset[str]
    match_key_types: frozenset[str]
    most_match_keys: int
    custom: CustomLimits
    amazon_consent_is_a_pair: bool
    """Whether ``amznUserData`` needs ``amznAdStorage`` beside it."""
    takes_traffic: bool
    """Whether there are fields for user agent, measurement tokens, ad event key and partner."""
    data_sets: bool
    """Whether an event may name its data set."""


@dataclass(slots=True)
class Fields:
    """The fields of one event as Amazon takes them, before they get a contract's layout.

    A field that is None is not sent.
    """

    name: str
    event_type: str
    source: str
    time: str
    """The time in ISO 8601, in whole seconds, UTC."""
    match_keys: list[dict[str, object]]
    value: float | None
    currency: str | None
    units: int | None
    country: str
    limited_data_use: bool
    consent: dict[str, object] | None
    custom: list[tuple[str, str, str]]
    """Name, type and value of each custom attribute."""
    traffic: dict[str, str] | None
    """User agent, measurement tokens, ad event key and partner, by the name of their input."""
    data_set: str | None


class WithoutConsent(StrEnum):
    """What becomes of an event without any signal of consent, if one is required."""

    DEAD_LETTER = "dead-letter"
    """The event is a dead letter: somebody must find out whether the person was asked."""
    DENIED = "denied"
    """The event is sent as denied, as Amperity does. Amazon takes such an event and does not use it
    (AMZ-GTM validation)."""
    SEND = "send"
    """The event is sent without consent, for accounts from which Amazon is known to take such
    events (docs/amazon-contract.md#consent)."""


class FieldRules:
    """The rules with one contract's limits, and the count of adjustments made by them.

    ``without_consent`` is None if no consent is required, that is outside region EU.
    """

    def __init__(self, limits: Limits, without_consent: WithoutConsent | None) -> None:
        self._limits = limits
        self._without_consent = without_consent
        # Has every label from the start: a reader in another thread never sees the table grow.
        self.adjustments: Counter[str] = Counter({label.value: 0 for label in Adjustment})

    @property
    def requires_consent(self) -> bool:
        """Whether there is something to be said about an event without consent."""
        return self._without_consent not in (None, WithoutConsent.SEND)

    def clean(self, inputs: Mapping[str, object], dedupe_id: str = "") -> Fields | Flaw:
        """Return the fields to send, or every broken rule. Total: no input raises.

        ``dedupe_id`` is the id to send. If it is the event's own, that was looked at already.
        """
        found, get, limits = Findings(), inputs.get, self._limits
        name = _name(get("name"), found)
        event_type = _constant(get("eventType"), "eventType", EVENT_TYPES, found)
        purchase = event_type == PURCHASE
        source = _constant(get("eventActionSource"), "eventActionSource", limits.sources, found)
        if (own_id := get("clientDedupeId")) is not None and own_id != dedupe_id:
            _check_id(own_id, found)
        time = _time(get("timestamp"), found)
        country = _country(get("countryCode"), limits.countries, found)
        custom, typed = get("customAttributes"), get("customData")
        value, currency, units = _present(get("value")), _present(get("currencyCode")), _present(get("unitsSold"))
        fields = Fields(
            name,
            event_type,
            source,
            time,
            match_keys(get("matchKeys"), country, limits.match_key_types, limits.most_match_keys, found),
            None if value is None else _value(value, purchase, found),
            None if currency is None else _currency(currency, purchase, limits.currencies, found),
            None if units is None else _units(units, purchase, found),
            country,
            (options := get("dataProcessingOptions")) is not None and _limited_data_use(options, found),
            self._consent(get("consent"), found),
            [] if custom is None and typed is None else custom_attributes(typed, custom, limits.custom, found),
            _traffic(inputs, limits.takes_traffic, found) if any(map(get, _TRAFFIC)) else None,
            None if (data_set := _present(get("dataSetName"))) is None else _data_set(data_set, limits.data_sets, found),
        )
        if found.broken:
            return found.flaw()
        for adjustment in found.adjustments:
            self.adjustments[adjustment] += 1
        return fields

    def _consent(self, given: object, found: Findings) -> dict[str, object] | None:
        broken_before = len(found.broken)
        signal = None if given is None else consent(given, self._limits.amazon_consent_is_a_pair, found)
        if signal or self._without_consent is None or len(found.broken) > broken_before:
            return signal
        if self._without_consent is WithoutConsent.DENIED:
            found.adjustments.append(Adjustment.CONSENT_DENIED)
            return {"amazonConsent": {"amznUserData": "DENIED", "amznAdStorage": "DENIED"}}
        if self._without_consent is WithoutConsent.DEAD_LETTER:
            own = "amznUserData together with amznAdStorage" if self._limits.amazon_consent_is_a_pair else "amznUserData"
            found.broken.append((Reason.MISSING_CONSENT, f"consent: the EU region requires ipAddress, {own}, tcf or gpp"))
        return None


def differ(one: bytes, other: bytes) -> bool:
    """Return whether two encoded events differ in more than their time.

    A producer that sends an event again may give it a new time.
    """
    events = [orjson.loads(event) for event in (one, other)]
    for event in events:
        for name in ("eventTime", "timestamp"):
            event.pop(name, None)
    return bool(events[0] != events[1])


def _present(given: object) -> object:
    """Return an optional input; None if it is a blank text, which says no more than null."""
    return None if isinstance(given, str) and not trimmed(given) else given


def _check_id(own_id: object, found: Findings) -> None:
    """Check the event's own id. One that says nothing is counted, and a derived id is sent instead.

    A blank id counts as absent, like every blank input.
    """
    if not isinstance(own_id, str):
        found.invalid("clientDedupeId", "not a string")
    elif not said(own_id) and not own_id.isspace() and own_id:
        found.adjustments.append(Adjustment.DEDUPE_ID_LEFT_OUT)


def _name(name: object, found: Findings) -> str:
    if isinstance(name, str):
        if name := trimmed(name):
            return name
        found.missing("name")
    elif name is None:
        found.missing("name")
    else:
        found.invalid("name", "not a string")
    return ""


def _constant(text: object, name: str, table: Mapping[str, str], found: Findings) -> str:
    """Return the constant that a required field spells; empty if a rule is broken."""
    if isinstance(text, str):
        if spelt := constant(text, table):
            return spelt
        if text and not text.isspace():
            found.invalid(name, "not one of Amazon's constants")
        else:
            found.missing(name)
    elif text is None:
        found.missing(name)
    else:
        found.invalid(name, "not a string")
    return ""


_SECONDS_TO_YEAR_10000: Final = 253_402_300_800


def _time(milliseconds: object, found: Findings) -> str:
    # A bool is an int to isinstance.
    if type(milliseconds) is int and 0 <= (second := milliseconds // 1000) < _SECONDS_TO_YEAR_10000:
        minute, second = divmod(second, 60)
        # Whole seconds: SEED's format has no fraction, and whether Amazon takes one is unknown
        # (docs/amazon-contract.md#unknown). A time that it cannot read costs the event (AMZ-GTM
        # troubleshooting).
        return f"{_iso_minute(minute)}:{second:02}Z"
    if milliseconds is None:
        found.missing("timestamp")
    else:
        found.invalid("timestamp", "not whole milliseconds between 1970 and 9999")
    return ""


@lru_cache(maxsize=16_384)
def _iso_minute(minute: int) -> str:
    """Return ``YYYY-MM-DDThh:mm``.

    The cache holds every minute of the seven days in which no event is stale.
    """
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()[:16]


def _value(value: object, purchase: bool, found: Findings) -> float | None:
    if type(value) not in _NUMBERS:
        found.invalid("value", "not a number")
        return None
    amount = _finite(value)
    if amount is None or (purchase and amount < 0):
        if purchase:  # not left out: Amazon would book a default
            found.invalid("value", "not a finite amount of at least 0, as a purchase needs")
        else:
            found.adjustments.append(Adjustment.VALUE_LEFT_OUT)
        return None
    if round(amount, 2) != amount:  # OAS EventCreate.value: at most two decimals
        found.adjustments.append(Adjustment.VALUE_ROUNDED)
        return float(Decimal(str(value)).quantize(_CENT, ROUND_HALF_UP))
    return amount


_NUMBERS: Final = frozenset({float, int, Decimal})
"""The types that Avro's numbers decode to. Compared with ``type``, because isinstance takes a bool
for an int."""

_CENT: Final = Decimal("0.01")


def _finite(value: Any) -> float | None:
    try:
        amount = float(value)
    except (OverflowError, ValueError):  # an int beyond a double, a signalling NaN
        return None
    return amount if isfinite(amount) else None


def _currency(code: object, purchase: bool, currencies: frozenset[str], found: Findings) -> str | None:
    if not purchase:
        found.adjustments.append(Adjustment.CURRENCY_LEFT_OUT)
        return None
    if isinstance(code, str) and (code in currencies or (code := trimmed(code[:MAX_TEXT]).upper()) in currencies):
        return code
    # Not left out: Amazon would book the currency of the event's definition.
    found.invalid("currencyCode", "not a currency code of this contract")
    return None


_MOST_UNITS: Final = 2**31 - 1
"""OAS EventCreate.unitsSold is an int32. It has no lower bound; ours is 0."""


def _units(units: object, purchase: bool, found: Findings) -> int | None:
    if not purchase:
        found.adjustments.append(Adjustment.UNITS_LEFT_OUT)
        return None
    # A writer whose units are a double writes 2.0 for 2.
    amount = units if type(units) is int else _finite(units) if type(units) in _NUMBERS else None
    if amount is not None and 0 <= amount <= _MOST_UNITS and amount == int(amount):
        return int(amount)
    # Not left out: Amazon would book one unit.
    found.invalid("unitsSold", "not a whole number between 0 and 2147483647")
    return None


def _country(code: object, countries: frozenset[str], found: Findings) -> str:
    if isinstance(code, str):
        if code in countries:
            return code
        read = country_code(code) if len(code) <= MAX_TEXT else ""
        if read in countries:
            return read
        if read in NOT_ISO:
            found.adjustments.append(Adjustment.COUNTRY_READ)
            return NOT_ISO[read]
        if code and not code.isspace():
            found.invalid("countryCode", "not an ISO 3166-1 alpha-2 code that this contract takes")
        else:
            found.missing("countryCode")
    elif code is None:
        found.missing("countryCode")
    else:
        found.invalid("countryCode", "not a string")
    return ""


def _limited_data_use(given: object, found: Findings) -> bool:
    """Return whether an event asks for LIMITED_DATA_USE, the only option there is.

    The input may be an array of options (events/v1), one option (the ancestor), or a record with
    the field ``options`` (adsApi/v1). An unknown option breaks a rule, because it may be a denial.
    """
    options = given.get("options", given) if isinstance(given, dict) else given
    if isinstance(options, list) and len(options) > _MOST_OPTIONS:
        found.invalid("dataProcessingOptions", f"more than {_MOST_OPTIONS}")
        return False
    asked = [option for option in (options if isinstance(options, list) else [options]) if _present(option) is not None]
    if all(isinstance(option, str) and constant(option, PROCESSING_OPTIONS) for option in asked):
        return bool(asked)
    found.invalid("dataProcessingOptions", "only LIMITED_DATA_USE is known")
    return False


_MOST_OPTIONS: Final = 1_000
"""Options of an event that are read. Far above any real event, the limit bounds the time that one
record takes."""


def _traffic(inputs: Mapping[str, object], taken: bool, found: Findings) -> dict[str, str]:
    """Return the inputs about the ad and the device; only ``adsApi/v1`` has fields for them.

    ``taken`` says that the contract has them. Source: OAS EventCreate.
    """
    sent: dict[str, str] = {}
    for name, (cleaned, left_out) in _TRAFFIC.items():
        given = inputs.get(name)
        if given is None:
            continue
        if not isinstance(given, str):
            found.invalid(name, "not a string")
        elif text := trimmed(given):
            if taken and (clean := cleaned(text)):
                sent[name] = clean
            if sent.get(name) != text:
                found.adjustments.append(left_out)
    return sent


DATASET_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
"""The form of OAS dataSetName, with the longest length that a source gives (TEAL;
docs/amazon-contract.md#data-set-name)."""
_LONGEST_NAME: Final = 1_000
"""Characters of the longest text that is read, with what stands around the name."""


def _data_set(given: object, taken: bool, found: Findings) -> str | None:
    if isinstance(given, str) and len(given) <= _LONGEST_NAME and DATASET_NAME.fullmatch(name := trimmed(given)):
        if taken and said(name, name=True):  # "undefined" would make a data set of its own
            return name
        found.adjustments.append(Adjustment.DATA_SET_LEFT_OUT)
    else:
        # Not left out: the event would go to another data set.
        found.invalid("dataSetName", "not a letter followed by letters, digits, '_' or '-', at most 100 characters")
    return None


def _user_agent(text: str) -> str:
    # OAS CreateDeviceInfo. A longer one is not cut: half of it would name another browser.
    return text if len(text) <= 512 else ""


def _measurement_tokens(text: str) -> str:
    """Return the complete pairs of token and time; each stands for one click.

    Source: OAS EventCreate.arefMeasurementTokens.
    """
    return "|".join(filter(_TOKEN_PAIR, text.split("|"))) if len(text) <= _LONGEST_TOKENS else ""


_LONGEST_TOKENS: Final = 16_384
"""Maximum length in characters of a text that is read: more than 600 pairs, which is more than
anybody clicks. Bounds the time that one record takes."""
_TOKEN_PAIR: Final = re.compile(r"[A-Za-z0-9]{10}\.[0-9]{13}").fullmatch

_TRAFFIC: Final[Mapping[str, tuple[Callable[[str], str], Adjustment]]] = {
    "userAgent": (_user_agent, Adjustment.USER_AGENT_LEFT_OUT),
    "arefMeasurementTokens": (_measurement_tokens, Adjustment.MEASUREMENT_TOKENS_LEFT_OUT),
    "amazonAdEventKey": (str, Adjustment.AD_EVENT_KEY_LEFT_OUT),
    "partner": (str, Adjustment.PARTNER_LEFT_OUT),
}
"""The inputs about ad and device. Each has a function that returns the part that Amazon takes, and
the adjustment to count if that is not all of it."""
