"""Custom attributes: further properties of an event, each with a name, a type and a value.

They come by two inputs: ``customData`` (with types) and ``customAttributes`` (without). A bad
attribute never costs the event: it is left out and counted. Only more attributes than anybody means
break a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from connector.amazon.findings import Adjustment, Findings
from connector.amazon.vocabulary import CUSTOM_TYPES, constant
from connector.nothing import trimmed

__all__ = ["CustomLimits", "custom_attributes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomLimits:
    """The custom attributes that one contract accepts."""

    most: int
    value: Callable[[str], object]
    """Returns a true value for an attribute's value that the contract takes."""
    is_typed: bool
    """Whether an attribute is sent with its type."""


_NAME: Final = re.compile(r"[A-Za-z0-9_]+").fullmatch
"""OAS CreateCustomData.name; SEG-FIRST says the same of events/v1."""

_MOST_READ: Final = 1_000
"""Attributes of an event that are read; 13 are sent. Far above any real event, the limit bounds
the time that one record takes."""


def custom_attributes(typed: object, untyped: object, limits: CustomLimits, found: Findings) -> list[tuple[str, str, str]]:
    """Return name, type and value of each attribute that Amazon takes, up to the contract's limit.

    Whether Amazon takes a name twice is unknown, so each name is sent once. Typed attributes come
    first, because an attribute whose type was given is the one that is meant.
    """
    sent: dict[str, tuple[str, str, str]] = {}
    for input_name, attributes in (("customData", typed), ("customAttributes", untyped)):
        if isinstance(attributes, list | dict) and len(attributes) > _MOST_READ:
            found.invalid(input_name, f"more than {_MOST_READ}")
            return []
    for given_name, given_type, given_value in (*_attributes(typed), *_attributes(untyped)):
        value, kind = _read(given_value, given_type, limits.is_typed)
        name = trimmed(given_name) if isinstance(given_name, str) else ""
        if kind and len(sent) < limits.most and name not in sent and _NAME(name) and limits.value(value):
            sent[name] = (name, kind, value)
        else:
            found.adjustments.append(Adjustment.CUSTOM_ATTRIBUTE_LEFT_OUT)
    return list(sent.values())


def _attributes(given: object) -> list[tuple[object, object, object]]:
    """Return name, type and value of each entry of a map or of an array of records.

    An entry that cannot be read is returned as None, so that it is counted.
    """
    if isinstance(given, dict):
        return [(name, None, value) for name, value in given.items() if value is not None]
    if isinstance(given, list):
        records = (each if isinstance(each, dict) else {} for each in given)
        return [(each.get("name"), each.get("dataType"), each.get("value")) for each in records]
    is_blank = given is None or (isinstance(given, str) and not trimmed(given))
    return [] if is_blank else [(None, None, None)]


def _read(value: object, kind: object, is_typed: bool) -> tuple[str, str]:
    """Return value and type of an attribute; no type if Amazon would refuse the attribute."""
    if type(value) is int and value.bit_length() < 64:  # a long
        kind, value = kind or "INTEGER", str(value)
    if not isinstance(value, str) or not isinstance(kind, str | None):
        return "", ""
    value = trimmed(value)
    if not (is_typed and kind):
        return value, "STRING"
    spelt = constant(kind, CUSTOM_TYPES)
    return value, "" if spelt is None or (spelt == "INTEGER" and not _is_int32(value)) else spelt


def _is_int32(digits: str) -> bool:
    """Return whether a text is an INTEGER of 32 bits (OAS DataType).

    It has no sign, because a value may have letters, digits and underscores only.
    """
    return bool(_DIGITS(digits)) and int(digits) < 2**31


_DIGITS: Final = re.compile(r"[0-9]{1,10}").fullmatch
