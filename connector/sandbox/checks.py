"""Checks made of a JSON Schema, which answer with every rule a value breaks, and where. Pure.

`compiled` knows the keywords that `connector.sandbox.schemas` uses and no others. Each means what JSON Schema says, so that
any validator judges alike (tests/sandbox/test_agreement.py); these take a fortieth of the time that the package jsonschema
does. ``x-rule`` names the `Rule` that a keyword beside it stands for. A check takes a value and returns its
flaws, each with its place relative to that value. No flaw holds a value of the event.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

__all__ = ["SOUND", "TIME", "Check", "Flaw", "Flaws", "Rule", "Schema", "compiled", "moment_ms"]


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
Check = Callable[[Any], Flaws]
Schema = dict[str, Any]
SOUND: Flaws = ()


def _broken(rule: Rule) -> Flaws:
    return (Flaw("", rule),)


_WRONG_TYPE = _broken(Rule.WRONG_TYPE)


def _within(step: str, flaws: Flaws) -> Flaws:
    """Prefix the places of flaws with the step that led to them."""
    return tuple(Flaw(step + ("." + place if place and place[0] != "[" else place), rule) for place, rule in flaws)


def compiled(schema: Schema) -> Check:
    """Make the check of a schema.

    Of the keywords on one value the first that is broken is told; of fields and items, all. What ``allOf`` breaks is told
    where nothing else is wrong; ``if`` and ``then`` are known within it only.
    """
    if unknown := schema.keys() - _KNOWN:
        raise ValueError(f"keywords not known here: {sorted(unknown)}")
    types = _TYPES[schema["type"]] if "type" in schema else _ALL
    made = [(kinds, make(schema)) for keyword, (kinds, make) in _KEYWORDS.items() if keyword in schema]
    check = _first_of(types, made) if len(made) != 1 else _only(types, *made[0])
    if "type" in schema:
        check = _typed(types, check)
    more = [_condition(each) if "if" in each else compiled(each) for each in schema.get("allOf", ())]
    return _all_of(check, more) if more else check


def _typed(types: frozenset[type], check: Check) -> Check:
    return lambda value: check(value) if type(value) in types else _WRONG_TYPE


def _only(types: frozenset[type], kinds: frozenset[type], check: Check) -> Check:
    return check if types <= kinds else lambda value: check(value) if type(value) in kinds else SOUND


def _first_of(types: frozenset[type], made: list[tuple[frozenset[type], Check]]) -> Check:
    checks = [_only(types, *each) for each in made]

    def check(value: Any) -> Flaws:
        for each in checks:
            if flaws := each(value):
                return flaws
        return SOUND

    return check


def _all_of(first: Check, more: list[Check]) -> Check:
    def check(value: Any) -> Flaws:
        flaws = first(value)
        for each in more:
            if found := each(value):
                told = {flaw.place for flaw in flaws}
                flaws += tuple(flaw for flaw in found if flaw.place not in told)
        return flaws

    return check


def _condition(schema: Schema) -> Check:
    holds, then = _holds(schema["if"]), compiled(schema["then"])
    return lambda value: then(value) if holds(value) else SOUND


def _holds(schema: Schema) -> Callable[[Any], bool]:
    """Make the test of a condition: an object that has a field, with one of these values or of which again it holds."""
    (name,) = schema["required"]
    field = schema["properties"][name]
    if "enum" not in field:
        within = _holds(field)
        return lambda value: type(value) is dict and within(value.get(name))
    values = frozenset(field["enum"])
    return lambda value: type(value) is dict and type(one := value.get(name)) is str and one in values


def _rule(schema: Schema, rule: Rule) -> Flaws:
    """Return the flaw of a broken keyword: the schema's own rule, or the keyword's."""
    label = schema.get("x-rule", rule.label)
    return _broken(next(each for each in Rule if each.label == label))


def _nothing(schema: Schema) -> Check:
    broken = _rule(schema, Rule.UNKNOWN_FIELD)
    return lambda _: broken


def _choice(values: frozenset[str]) -> Check:
    return lambda value: SOUND if value in values else _broken(Rule.NOT_A_CHOICE)


_SPEAKABLE = re.compile(r"[A-Za-z_]{1,40}").fullmatch
"""An unknown field is named only where its name looks like a field's: a body gone wrong may hold a person's data there."""


def _object(schema: Schema) -> Check:
    fields = {name: compiled(field) for name, field in schema["properties"].items()}
    required, closed = schema.get("required", []), schema.get("additionalProperties") is False
    if required and not closed:
        raise ValueError("required fields of an open object are known in conditions only")
    names = frozenset(required)

    def check_open(value: dict[str, Any]) -> Flaws:
        flaws = SOUND
        for name, known in fields.items():
            if name in value and (found := known(value[name])):
                flaws += _within(name, found)
        return flaws

    def check_closed(value: dict[str, Any]) -> Flaws:
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

    return check_closed if closed else check_open


def _array(schema: Schema) -> Check:
    item, fewest, most = compiled(schema["items"]), schema.get("minItems", 0), schema.get("maxItems", math.inf)

    def check(value: list[Any]) -> Flaws:
        if len(value) < fewest:
            return _broken(Rule.TOO_FEW)
        if len(value) > most:
            return _broken(Rule.TOO_MANY)
        flaws = SOUND
        for index, entry in enumerate(value):
            if found := item(entry):
                flaws += _within(f"[{index}]", found)
        return flaws

    return check


def _length(schema: Schema) -> Check:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", math.inf)

    def check(value: str) -> Flaws:
        if len(value) < shortest:
            return _broken(Rule.EMPTY)
        return _broken(Rule.TOO_LONG) if len(value) > longest else SOUND

    return check


def _pattern(schema: Schema) -> Check:
    # JSON Schema's "$" is the very end, where Python's may stand before a line break; fullmatch lets it be the end only.
    matches, broken = re.compile(schema["pattern"], re.ASCII).fullmatch, _rule(schema, Rule.CHARACTERS)
    return lambda value: SOUND if matches(value) else broken


def _format(schema: Schema) -> Check:
    return _FORMATS[schema["format"]]


def _date_time(value: str) -> Flaws:
    return SOUND if TIME(value) and moment_ms(value) is not None else _broken(Rule.TIME_FORM)


def _internet_address(value: str) -> Flaws:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return _broken(Rule.NOT_AN_ADDRESS)
    return SOUND


_FORMATS: dict[str, Check] = {"date-time": _date_time, "ip": _internet_address}
""""ip" is not one of JSON Schema's: either of its ipv4 and ipv6."""


def _range(schema: Schema) -> Check:
    lowest, highest = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    broken = _rule(schema, Rule.OUT_OF_RANGE)
    return lambda value: SOUND if lowest <= value <= highest else broken


def _decimals(_schema: Schema) -> Check:
    return _two_decimals


def _two_decimals(value: float) -> Flaws:
    """Check a number of at most two decimals.

    ``round`` is correctly rounded, so it gives back exactly the doubles that are nearest to a number of two decimals.
    """
    if type(value) is int:
        return SOUND
    if not math.isfinite(value):
        return _broken(Rule.OUT_OF_RANGE)
    return SOUND if round(value, 2) == value else _broken(Rule.DECIMALS)


_TYPES: dict[str, frozenset[type]] = {
    "object": frozenset({dict}),
    "array": frozenset({list}),
    "string": frozenset({str}),
    "integer": frozenset({int}),  # a bool is an int to isinstance, and 2.0 is none to a parser of int32
    "number": frozenset({int, float}),
}
_ALL: frozenset[type] = frozenset({dict, list, str, int, float, bool, type(None)})

_KEYWORDS: dict[str, tuple[frozenset[type], Callable[[Schema], Check]]] = {
    "not": (_ALL, _nothing),
    "enum": (_TYPES["string"], lambda schema: _choice(frozenset(schema["enum"]))),
    "properties": (_TYPES["object"], _object),
    "items": (_TYPES["array"], _array),
    "minLength": (_TYPES["string"], _length),
    "maxLength": (_TYPES["string"], _length),
    "format": (_TYPES["string"], _format),
    "pattern": (_TYPES["string"], _pattern),
    "minimum": (_TYPES["number"], _range),
    "maximum": (_TYPES["number"], _range),
    "multipleOf": (_TYPES["number"], _decimals),
}
"""In the order in which they are told: the types of value that each is about, and what makes its check."""

_KNOWN = _KEYWORDS.keys() | {"type", "required", "additionalProperties", "minItems", "maxItems", "allOf", "x-rule"}

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII).fullmatch


def moment_ms(text: str) -> int | None:
    """Return the milliseconds since 1970 of a text that has a time's form, None where the calendar has no such time."""
    try:
        return math.floor(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None
