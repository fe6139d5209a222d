"""The rules for fields that both wire contracts share: from the inputs of one event to fields that Amazon takes, or a flaw.

How a field that is not right is judged:

* required, and missing or not what Amazon takes: the event is a dead letter;
* of the wrong type: a dead letter, whatever the field; the producer means something that we cannot read;
* optional and blank: as if it were not there;
* optional, and Amazon would refuse it: left out and counted, so that the conversion still counts; so are custom attributes
  that are bad, of whatever type, and consent texts that have not their form;
* optional, but Amazon would book something else without it (value, currency and units of a purchase), or we would drop a
  customer's denial (consent, limited data use): a dead letter.

`FieldRules.clean` is total and runs once an event. Its straight line costs a few microseconds; the texts of findings are
made only when there is one. Caches are bounded by count and by the length of what they hold.
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
from connector.amazon.findings import Adjustment, Findings
from connector.amazon.match_keys import match_keys
from connector.amazon.vocabulary import (
    CUSTOM_TYPES,
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

__all__ = ["FieldRules", "Fields", "Limits", "WithoutConsent", "differ"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where the two contracts differ in what they take."""

    sources: Mapping[str, str]
    countries: frozenset[str]
    currencies: frozenset[str]
    match_key_types: frozenset[str]
    most_match_keys: int
    most_custom_attributes: int
    custom_value: Callable[[str], object]
    """Says whether the value of a custom attribute is taken."""
    custom_is_typed: bool
    """Whether a custom attribute is sent with its type."""
    amazon_consent_is_a_pair: bool
    """Whether ``amznUserData`` alone is not enough."""
    takes_traffic: bool
    """Whether there are fields for user agent, measurement tokens, ad event key and partner."""


@dataclass(slots=True)
class Fields:
    """One event as Amazon takes it, before it has a contract's shape. None: not sent."""

    name: str
    event_type: str
    source: str
    time: str
    """ISO 8601, whole seconds, UTC."""
    match_keys: list[dict[str, object]]
    value: float | None
    currency: str | None
    units: int | None
    country: str
    limited_data_use: bool
    consent: dict[str, object] | None
    custom: list[tuple[str, str, str]]
    """Name, type and value."""
    traffic: dict[str, str] | None
    """User agent, measurement tokens, ad event key and partner, by input."""


class WithoutConsent(StrEnum):
    """What becomes of an event without any signal of consent where one is required."""

    DEAD_LETTER = "dead-letter"
    """It needs whoever knows whether the person was asked."""
    DENIED = "denied"
    """It is sent as denied, as Amperity does: Amazon takes such an event and leaves it out of use (AMZ-GTM validation)."""
    SEND = "send"
    """It is sent as it is, by someone who knows that Amazon takes it from this account (contract, section 3.4)."""


class FieldRules:
    """The rules with one contract's limits, and the count of adjustments made under them.

    ``without_consent`` holds for region EU; None where no consent is required.
    """

    def __init__(self, limits: Limits, without_consent: WithoutConsent | None) -> None:
        self._limits = limits
        self._without_consent = without_consent
        # Every label from the start: the reader, in another thread, never sees the table grow.
        self.adjustments: Counter[str] = Counter({label.value: 0 for label in Adjustment})

    def clean(self, inputs: Mapping[str, object]) -> Fields | Flaw:
        """Return the fields to send, or every rule broken. Total: no input raises."""
        found, get, limits = Findings(), inputs.get, self._limits
        name = _name(get("name"), found)
        event_type = _constant(get("eventType"), "eventType", EVENT_TYPES, found)
        purchase = event_type == PURCHASE
        source = _constant(get("eventActionSource"), "eventActionSource", limits.sources, found)
        if (own_id := get("clientDedupeId")) is not None:
            _look_at_id(own_id, found)
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
            [] if custom is None and typed is None else _custom(custom, typed, limits, found),
            _traffic(inputs, limits.takes_traffic, found) if any(map(get, _TRAFFIC)) else None,
        )
        if found.broken:
            return found.flaw()
        for adjustment in found.adjustments:
            self.adjustments[adjustment] += 1
        return fields

    def _consent(self, given: object, found: Findings) -> dict[str, object] | None:
        broken_before = len(found.broken)
        told = None if given is None else consent(given, self._limits.amazon_consent_is_a_pair, found)
        if told or self._without_consent is None or len(found.broken) > broken_before:
            return told
        if self._without_consent is WithoutConsent.DENIED:
            found.adjustments.append(Adjustment.CONSENT_DENIED)
            return {"amazonConsent": {"amznUserData": "DENIED", "amznAdStorage": "DENIED"}}
        if self._without_consent is WithoutConsent.DEAD_LETTER:
            own = "amznUserData together with amznAdStorage" if self._limits.amazon_consent_is_a_pair else "amznUserData"
            found.broken.append((Reason.MISSING_CONSENT, f"consent: the EU region requires ipAddress, {own}, tcf or gpp"))
        return None


def differ(one: bytes, other: bytes) -> bool:
    """Say whether two written events differ in more than their time: a producer that sends one again may stamp it anew."""
    events = [orjson.loads(event) for event in (one, other)]
    for event in events:
        for name in ("eventTime", "timestamp"):
            event.pop(name, None)
    return bool(events[0] != events[1])


def _present(given: object) -> object:
    """Return an optional input, None where it is a blank text: that says no more than null does."""
    return None if isinstance(given, str) and not given.strip() else given


def _look_at_id(own_id: object, found: Findings) -> None:
    """Count an id that says nothing: the event goes with a derived one. A blank one is none, as everywhere."""
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
    """Return the constant spelt by a required field, empty where a rule is broken."""
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
        # Without milliseconds: SEED's format has none, and whether Amazon takes a fraction is unknown (contract, section 9),
        # while a time that it cannot read costs the event (AMZ-GTM troubleshooting).
        return f"{_iso_minute(minute)}:{second:02}Z"
    if milliseconds is None:
        found.missing("timestamp")
    else:
        found.invalid("timestamp", "not whole milliseconds between 1970 and 9999")
    return ""


@lru_cache(maxsize=16_384)
def _iso_minute(minute: int) -> str:
    """Return ``YYYY-MM-DDThh:mm``. Of all times that are not stale (seven days) every minute is remembered."""
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()[:16]


def _value(value: object, purchase: bool, found: Findings) -> float | None:
    if type(value) not in _NUMBERS:
        found.invalid("value", "not a number")
        return None
    amount = _finite(value)
    if amount is None or (purchase and amount < 0):
        if purchase:  # without a value Amazon books a default
            found.invalid("value", "not a finite amount of at least 0, as a purchase needs")
        else:
            found.adjustments.append(Adjustment.VALUE_LEFT_OUT)
        return None
    if round(amount, 2) != amount:  # OAS EventCreate.value: at most two decimals
        found.adjustments.append(Adjustment.VALUE_ROUNDED)
        return float(Decimal(str(value)).quantize(_CENT, ROUND_HALF_UP))
    return amount


_NUMBERS: Final = frozenset({float, int, Decimal})
"""What Avro's number types decode to; compared by identity, for a bool is an int to isinstance."""

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
    # Without it Amazon books the definition's currency.
    found.invalid("currencyCode", "not a currency code of this contract")
    return None


_MOST_UNITS: Final = 2**31 - 1
"""OAS EventCreate.unitsSold: int32. A lower bound is not given; nobody sells less than nothing."""


def _units(units: object, purchase: bool, found: Findings) -> int | None:
    if not purchase:
        found.adjustments.append(Adjustment.UNITS_LEFT_OUT)
        return None
    # 2.0 is what a writer whose units are a double means by 2.
    amount = units if type(units) is int else _finite(units) if type(units) in _NUMBERS else None
    if amount is not None and 0 <= amount <= _MOST_UNITS and amount == int(amount):
        return int(amount)
    # Without it Amazon books one unit.
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
    """Say whether the only option there is was asked for. An unknown one may be a denial, and is not dropped.

    Taken as an array of options (events/v1), as one of them (the ancestor), or in the record that adsApi/v1 has around it.
    """
    options = given.get("options", given) if isinstance(given, dict) else given
    if isinstance(options, list) and len(options) > _MOST_LOOKED_AT:
        found.invalid("dataProcessingOptions", f"more than {_MOST_LOOKED_AT}")
        return False
    asked = [option for option in (options if isinstance(options, list) else [options]) if _present(option) is not None]
    if all(isinstance(option, str) and constant(option, PROCESSING_OPTIONS) for option in asked):
        return bool(asked)
    found.invalid("dataProcessingOptions", "only LIMITED_DATA_USE is known")
    return False


_CUSTOM_NAME: Final = re.compile(r"[A-Za-z0-9_]+").fullmatch
"""OAS CreateCustomData.name; SEG-FIRST says the same of events/v1."""

_MOST_LOOKED_AT: Final = 1_000
"""Attributes or options, of which 13 and one are sent: far more than anybody means, and a bound for what a record costs."""


def _custom(untyped: object, typed: object, limits: Limits, found: Findings) -> list[tuple[str, str, str]]:
    """Return names, types and values that Amazon takes, up to its limit: typed ones first, each name once.

    Whether Amazon takes a name twice is unknown; the one whose type was given is meant. A bad one costs itself alone.
    """
    sent: dict[str, tuple[str, str, str]] = {}
    for input_name, attributes in (("customData", typed), ("customAttributes", untyped)):
        if isinstance(attributes, list | dict) and len(attributes) > _MOST_LOOKED_AT:
            found.invalid(input_name, f"more than {_MOST_LOOKED_AT}")
            return []
    for given_name, given, value in (*_attributes(typed), *_attributes(untyped)):
        text, kind = _read(value, given, limits.custom_is_typed)
        name = given_name.strip() if isinstance(given_name, str) else ""
        if (
            kind
            and len(sent) < limits.most_custom_attributes
            and name not in sent
            and _CUSTOM_NAME(name)
            and limits.custom_value(text)
        ):
            sent[name] = (name, kind, text)
        else:
            found.adjustments.append(Adjustment.CUSTOM_ATTRIBUTE_LEFT_OUT)
    return list(sent.values())


def _attributes(given: object) -> list[tuple[object, object, object]]:
    """Return names, types and values, of a map or of an array of records; nothing in the place of what cannot be read."""
    if isinstance(given, dict):
        return [(name, None, value) for name, value in given.items() if value is not None]
    if isinstance(given, list):
        records = (each if isinstance(each, dict) else {} for each in given)
        return [(each.get("name"), each.get("dataType"), each.get("value")) for each in records]
    return [] if _present(given) is None else [(None, None, None)]


def _read(value: object, given: object, typed: bool) -> tuple[str, str]:
    """Return the text of a custom attribute's value, and its type; no type where Amazon would refuse it."""
    if type(value) is int and value.bit_length() < 64:  # a long
        given, value = given or "INTEGER", str(value)
    if not isinstance(value, str) or not isinstance(given, str | None):
        return "", ""
    value = value.strip()
    if not (typed and given):
        return value, "STRING"
    kind = constant(given, CUSTOM_TYPES)
    return value, "" if kind is None or (kind == "INTEGER" and not _is_int32(value)) else kind


def _is_int32(digits: str) -> bool:
    """Say whether it is an INTEGER of 32 bits (OAS DataType); the characters that a value may have leave it no sign."""
    return bool(_DIGITS(digits)) and int(digits) < 2**31


_DIGITS: Final = re.compile(r"[0-9]{1,10}").fullmatch


def _traffic(inputs: Mapping[str, object], taken: bool, found: Findings) -> dict[str, str]:
    """Return what tells of the ad and the device, of which only ``adsApi/v1`` has fields (OAS EventCreate)."""
    sent: dict[str, str] = {}
    for name, (cleaned, left_out) in _TRAFFIC.items():
        given = inputs.get(name)
        if given is None:
            continue
        if not isinstance(given, str):
            found.invalid(name, "not a string")
        elif text := given.strip():
            if taken and (clean := cleaned(text)):
                sent[name] = clean
            if sent.get(name) != text:
                found.adjustments.append(left_out)
    return sent


def _user_agent(text: str) -> str:
    return text if len(text) <= 512 else ""  # OAS CreateDeviceInfo; half of one would name another browser


def _measurement_tokens(text: str) -> str:
    """Keep the pairs that are whole: each stands for a click of its own (OAS EventCreate.arefMeasurementTokens)."""
    return "|".join(filter(_TOKEN_PAIR, text.split("|"))) if len(text) <= _LONGEST_TOKENS else ""


_LONGEST_TOKENS: Final = 16_384
"""Characters of more than 600 pairs: nobody clicks so often, and a bound for what one record may cost."""
_TOKEN_PAIR: Final = re.compile(r"[A-Za-z0-9]{10}\.[0-9]{13}").fullmatch

_TRAFFIC: Final[Mapping[str, tuple[Callable[[str], str], Adjustment]]] = {
    "userAgent": (_user_agent, Adjustment.USER_AGENT_LEFT_OUT),
    "arefMeasurementTokens": (_measurement_tokens, Adjustment.MEASUREMENT_TOKENS_LEFT_OUT),
    "amazonAdEventKey": (str, Adjustment.AD_EVENT_KEY_LEFT_OUT),
    "partner": (str, Adjustment.PARTNER_LEFT_OUT),
}
"""By input: what of it Amazon takes, and what is counted where that is less."""
