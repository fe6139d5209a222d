"""Turns a JSON Schema into a check, which returns every rule that an event breaks, and where.

A validator of JSON Schema (jsonschema-rs) finds the errors; this file names them. Each keyword
stands for a `Rule`; ``x-rule`` beside a keyword names another one. No violation holds a value of
the event. Pure: no clock and no I/O.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from jsonschema_rs import Draft202012Validator, ValidationError

__all__ = ["SOUND", "TIME", "Check", "Rule", "Schema", "Violation", "Violations", "compiled", "moment_ms"]


class Rule(Enum):
    """A rule that an event can break: our name for it, Amazon's ErrorCode, and the message.

    The codes are those of docs/amazon-contract.md#answer-of-ads-v1.
    """

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


class Violation(NamedTuple):
    """One broken rule."""

    place: str
    """The path within the event, such as ``matchKeys[0].values[0]``."""
    rule: Rule


Violations = tuple[Violation, ...]
Check = Callable[[Any], Violations]
Schema = dict[str, Any]
SOUND: Violations = ()

_RULES = {
    "type": Rule.WRONG_TYPE,
    "x-whole": Rule.WRONG_TYPE,
    "not": Rule.UNKNOWN_FIELD,
    "enum": Rule.NOT_A_CHOICE,
    "additionalProperties": Rule.UNKNOWN_FIELD,
    "required": Rule.MISSING,
    "minItems": Rule.TOO_FEW,
    "maxItems": Rule.TOO_MANY,
    "minLength": Rule.EMPTY,
    "maxLength": Rule.TOO_LONG,
    "format": Rule.TIME_FORM,
    "pattern": Rule.CHARACTERS,
    "minimum": Rule.OUT_OF_RANGE,
    "maximum": Rule.OUT_OF_RANGE,
    "multipleOf": Rule.DECIMALS,
}
"""The rule that each keyword stands for. If a value breaks several keywords, the answer names the
first in this order."""

_ORDER = {keyword: rank for rank, keyword in enumerate(_RULES)}
_BY_LABEL = {rule.label: rule for rule in Rule}

_QUOTABLE = re.compile(r"[A-Za-z_]{1,40}").fullmatch
"""The form of names that a violation may quote. In a garbled body, the name of an unknown field may
be a person's data."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII).fullmatch


def moment_ms(text: str) -> int | None:
    """Return a time's text as milliseconds since 1970; None if the calendar has no such time."""
    try:
        return math.floor(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class _Whole:
    """The keyword ``x-whole``: refuses 2.0, which JSON Schema takes for an integer."""

    def __init__(self, _schema: Schema, _value: object, _path: list[str | int]) -> None:
        pass

    def validate(self, instance: object) -> None:
        if type(instance) is float:
            raise ValueError


def compiled(schema: Schema) -> Check:
    """Return the check for a schema.

    The check reports one violation for each value: the first keyword, in the order of `_RULES`,
    that the value breaks. It reports every field and item, except the items of a list that is too
    long. Violations of an ``allOf`` are reported only if the value breaks nothing else. Besides
    JSON Schema's own keywords and formats, the keyword ``x-whole`` and the format ``ip`` (``ipv4``
    or ``ipv6``) are known.
    """
    validator = Draft202012Validator(
        schema,
        validate_formats=True,
        ignore_unknown_formats=False,
        formats={"date-time": lambda text: moment_ms(text) is not None, "ip": _is_address},
        keywords={"x-whole": _Whole},
    )

    def check(event: Any) -> Violations:
        try:
            return SOUND if validator.is_valid(event) else _violations(schema, validator.iter_errors(event))
        except ValueError:
            # Nested deeper than the validator reads (255 levels). No contract nests so deep.
            return (Violation("", Rule.WRONG_TYPE),)

    return check


def _violations(schema: Schema, errors: Iterator[ValidationError]) -> Violations:
    first: dict[str, tuple[tuple[int, int], Rule]] = {}
    for error in errors:
        *path, keyword = error.schema_path
        rank = (path.count("allOf"), _ORDER[str(keyword)])
        rule = _rule(schema, path, str(keyword))
        for place in _places(error):
            if place not in first or rank < first[place][0]:
                first[place] = rank, rule
    # For a list that is too long, only its length is reported: it may hold as much as a body does.
    too_long = tuple(f"{place}[" for place, (_, rule) in first.items() if rule is Rule.TOO_MANY)
    return tuple(Violation(place, rule) for place, (_, rule) in first.items() if not place.startswith(too_long))


def _rule(schema: Schema, path: list[str | int], keyword: str) -> Rule:
    within: Any = schema
    for step in path:
        within = within[step]
    named = "x-rule" in within and keyword != "type"
    return _BY_LABEL[within["x-rule"]] if named else _RULES[keyword]


def _places(error: ValidationError) -> list[str]:
    """Return the places of an error; an error about an object's fields is placed at the fields."""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path).lstrip(".")
    match error.kind.name:
        case "required":
            names = [error.kind.value]
        case "additionalProperties":
            names = [name if _QUOTABLE(name) else "?" for name in error.kind.value]
        case _:
            return [place]
    return [f"{place}.{name}".lstrip(".") for name in names]
