"""What the tables of the two contracts are made of: checks of one value, each answering with the rules it breaks. Pure.

A check takes a value and returns its flaws, each with its place relative to that value. No flaw holds a value of the event.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from connector.sandbox import enumerations as sets

__all__ = [
    "SOUND",
    "TIME",
    "TIME_OF_SECONDS",
    "Check",
    "Flaw",
    "Flaws",
    "Rule",
    "array",
    "both",
    "choice",
    "custom_value",
    "decimal",
    "integer",
    "match_key",
    "moment_ms",
    "record",
    "text",
    "time",
]


class Rule(Enum):
    """A rule an event can break: our name of it, Amazon's ErrorCode for it (section 5.2), and what the answer says."""

    WRONG_TYPE = ("wrong-type", "BAD_REQUEST", "has the wrong JSON type")
    UNKNOWN_FIELD = ("unknown-field", "BAD_REQUEST", "is not a field of this contract")
    TIME_FORM = ("time-form", "BAD_REQUEST", "is not a valid date-time")
    MISSING = ("missing", "FIELD_VALUE_IS_NULL", "is required")
    EMPTY = ("empty", "FIELD_VALUE_IS_EMPTY", "must not be empty")
    NOT_A_CHOICE = ("not-a-choice", "FIELD_VALUE_IS_INVALID", "is not one of the contract's values")
    CHARACTERS = ("characters", "FIELD_VALUE_CONTAINS_INVALID_CHARACTERS", "holds characters that are not allowed")
    TOO_LONG = ("too-long", "FIELD_SIZE_IS_ABOVE_MAXIMUM_LIMIT", "is too long")
    TOO_MANY = ("too-many", "FIELD_SIZE_IS_ABOVE_MAXIMUM_LIMIT", "has too many items")
    TOO_FEW = ("too-few", "FIELD_SIZE_IS_BELOW_MINIMUM_LIMIT", "has too few items")
    OUT_OF_RANGE = ("out-of-range", "FIELD_VALUE_IS_OUT_OF_RANGE", "is out of range")
    TOO_OLD = ("too-old", "FIELD_VALUE_IS_OUT_OF_RANGE", "is too old to be processed")
    IN_FUTURE = ("in-future", "FIELD_VALUE_IS_OUT_OF_RANGE", "lies in the future")
    NEGATIVE = ("negative", "FIELD_VALUE_IS_BELOW_MINIMUM_LIMIT", "must not be negative for a purchase")
    DECIMALS = ("decimals", "FIELD_VALUE_IS_INVALID", "has more than two decimals")
    PURCHASES_ONLY = ("purchases-only", "FIELD_VALUE_MUST_BE_EMPTY_OR_NULL", "is for OFF_AMAZON_PURCHASES only")
    NO_CONSENT = ("no-consent", "FIELD_VALUE_IS_EMPTY", "needs one of geo, amazonConsent, tcf, gpp")
    CLEAR_MATCH_KEY = ("clear-match-key", "FIELD_VALUE_IS_INVALID", "is not hashed: a person's data in clear")
    UPPER_CASE_HASH = ("upper-case-hash", "FIELD_VALUE_IS_INVALID", "must be 64 lower-case hex digits")
    NOT_AN_ADDRESS = ("not-an-address", "FIELD_VALUE_IS_INVALID", "is not a full IPv4 or IPv6 address")

    def __init__(self, label: str, code: str, message: str) -> None:
        self.label = label
        self.code = code
        self.message = message


class Flaw(NamedTuple):
    """One broken rule."""

    place: str
    """Path within the event, as ``matchKeys[0].values[0]``."""
    rule: Rule


Flaws = tuple[Flaw, ...]
Check = Callable[[object], Flaws]
SOUND: Flaws = ()


def _broken(rule: Rule) -> Flaws:
    return (Flaw("", rule),)


_WRONG_TYPE = _broken(Rule.WRONG_TYPE)


def _within(step: str, flaws: Flaws) -> Flaws:
    """Prefix the places of flaws with the step that led to them."""
    return tuple(Flaw(step + ("." + place if place and place[0] != "[" else place), rule) for place, rule in flaws)


def text(pattern: str | None = None, longest: int | None = None) -> Check:
    """Check a string that is not empty, of allowed characters, no longer than ``longest`` characters."""
    allowed = re.compile(pattern).fullmatch if pattern is not None else None

    def check(value: object) -> Flaws:
        if type(value) is not str:
            return _WRONG_TYPE
        if not value:
            return _broken(Rule.EMPTY)
        if longest is not None and len(value) > longest:
            return _broken(Rule.TOO_LONG)
        return _broken(Rule.CHARACTERS) if allowed is not None and not allowed(value) else SOUND

    return check


def choice(values: frozenset[str]) -> Check:
    """Check one of a closed set of strings."""

    def check(value: object) -> Flaws:
        if type(value) is not str:
            return _WRONG_TYPE
        return SOUND if value in values else _broken(Rule.NOT_A_CHOICE)

    return check


def integer(lowest: int, highest: int) -> Check:
    """Check a whole number between two bounds, both allowed."""

    def check(value: object) -> Flaws:
        # bool is a subclass of int, and not a number of the contract.
        if type(value) is not int:
            return _WRONG_TYPE
        return SOUND if lowest <= value <= highest else _broken(Rule.OUT_OF_RANGE)

    return check


def decimal(value: object) -> Flaws:
    """Check a number of at most two decimals.

    ``round`` is correctly rounded, so it gives back exactly the doubles that are nearest to a number of two decimals.
    """
    if type(value) is int:
        return SOUND
    if type(value) is not float:
        return _WRONG_TYPE
    if not math.isfinite(value):
        return _broken(Rule.OUT_OF_RANGE)
    return SOUND if round(value, 2) == value else _broken(Rule.DECIMALS)


def array(item: Check, fewest: int, most: int | None = None) -> Check:
    """Check an array of ``fewest`` to ``most`` items, and each item."""

    def check(value: object) -> Flaws:
        if type(value) is not list:
            return _WRONG_TYPE
        if len(value) < fewest:
            return _broken(Rule.TOO_FEW)
        if most is not None and len(value) > most:
            return _broken(Rule.TOO_MANY)
        flaws = SOUND
        for index, entry in enumerate(value):
            found = item(entry)
            if found:
                flaws += _within(f"[{index}]", found)
        return flaws

    return check


_SPEAKABLE = re.compile(r"[A-Za-z_]{1,40}").fullmatch
"""An unknown field is named only where its name looks like a field's: a body gone wrong may hold a person's data there."""


def record(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """Check an object: every required field, nothing but these fields, each by its own check."""
    fields = {**required, **optional}
    names = frozenset(required)

    def check(value: object) -> Flaws:
        if type(value) is not dict:
            return _WRONG_TYPE
        flaws = SOUND
        for name, entry in value.items():
            known = fields.get(name)
            if known is None:
                flaws += (Flaw(name if _SPEAKABLE(name) else "?", Rule.UNKNOWN_FIELD),)
            elif found := known(entry):
                flaws += _within(name, found)
        if not names <= value.keys():
            flaws += tuple(Flaw(name, Rule.MISSING) for name in required if name not in value)
        return flaws

    return check


_HASH = re.compile(r"[0-9a-f]{64}").fullmatch
_HASH_OF_ANY_CASE = re.compile(r"[0-9A-Fa-f]{64}").fullmatch
_MATCH_ID = text(r"[A-Za-z0-9]+", longest=100)  # section 4.1, [AMZ-GTM]


def _hashed(value: object) -> Flaws:
    """Check a SHA-256 in hex. Lower-case: whether Amazon takes capitals is unknown (section 9), so they are refused."""
    if type(value) is not str:
        return _WRONG_TYPE
    if _HASH(value):
        return SOUND
    return _broken(Rule.UPPER_CASE_HASH if _HASH_OF_ANY_CASE(value) else Rule.CLEAR_MATCH_KEY)


def _internet_address(value: object) -> Flaws:
    if type(value) is not str:
        return _WRONG_TYPE
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return _broken(Rule.NOT_AN_ADDRESS)
    return SOUND


def match_key(types: frozenset[str]) -> Check:
    """Check one match key: hashed where it identifies a person, raw where Amazon wants it raw (section 4.1)."""
    shape = record({"type": choice(types), "values": array(text(), 1, 1)}, {})
    by_type = dict.fromkeys(sets.HASHED_TYPES, _hashed) | {"MATCH_ID": _MATCH_ID, "FIP": _internet_address}

    def check(key: object) -> Flaws:
        flaws = shape(key)
        if flaws or type(key) is not dict:
            return flaws
        by_value = by_type.get(key["type"])
        return _within("values[0]", by_value(key["values"][0])) if by_value else SOUND

    return check


TIME_OF_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", re.ASCII).fullmatch
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII).fullmatch


def moment_ms(text: str) -> int | None:
    """Return the milliseconds since 1970 of a text that has a time's form, None where the calendar has no such time."""
    try:
        return math.floor(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def time(form: Callable[[str], object]) -> Check:
    """Check a text that has this form and names a moment of the calendar."""

    def check(value: object) -> Flaws:
        if type(value) is not str:
            return _WRONG_TYPE
        return SOUND if form(value) and moment_ms(value) is not None else _broken(Rule.TIME_FORM)

    return check


def custom_value(attribute: object) -> Flaws:
    """Check that an INTEGER is one: 32 bits, signed (OAS ``DataType``); the allowed characters leave it no sign."""
    if type(attribute) is not dict or attribute.get("dataType") != "INTEGER" or type(attribute.get("value")) is not str:
        return SOUND
    digits = attribute["value"]
    if not (digits.isascii() and digits.isdigit()):
        return (Flaw("value", Rule.CHARACTERS),)
    return SOUND if len(digits) <= 10 and int(digits) < 2**31 else (Flaw("value", Rule.OUT_OF_RANGE),)


def both(first: Check, second: Check) -> Check:
    """Check by the second what pleases the first."""

    def check(value: object) -> Flaws:
        return first(value) or second(value)

    return check
