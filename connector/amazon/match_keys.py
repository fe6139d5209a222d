"""Match keys: who the customer was, as Amazon wants to be told.

Each input key ends in one of four ways:

* **as it came**, trimmed: the types that Amazon takes raw, and 64 hexadecimal digits, which are a hash already (lower-cased,
  because Amazon's own code knows lower-case ones only: AWS-AMC);
* **normalised and hashed** with SHA-256: the personal types that have an entry in `_NORMALISERS`;
* **left out**, counted: it normalises to nothing, this contract has no such type, or Amazon would refuse it;
* **a broken rule**: not readable, or personal and in clear with no normaliser here. It is never sent, not even hashed as it
  stands, because a hash of another spelling matches nobody and looks as if it worked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final
from unicodedata import normalize

from connector.amazon.findings import Adjustment, Findings
from connector.amazon.vocabulary import MATCH_KEYS, constant
from connector.model import Reason

__all__ = ["is_ip_address", "match_keys", "normalised_email"]

_RAW: Final = frozenset({"MAID", "RAMP_ID", "MATCH_ID", "REAL_ID", "MERKLE_ID", "KANTAR_ID", "FIP"})
"""OAS EventCreate.matchKeys, the fuller of its two lists (contract, section 4.1)."""

_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}").fullmatch
"""SHA-256 in any case (SEG-HASH)."""

_MATCH_ID: Final = re.compile(r"[A-Za-z0-9]{1,100}").fullmatch
"""AMZ-GTM: alphanumeric, at most 100 characters."""


def match_keys(keys: object, types: frozenset[str], most: int, found: Findings) -> list[dict[str, object]]:
    """Return the keys as both contracts write them: ``{"type", "values": [one]}``.

    ``types`` are those of the contract, ``most`` is how many keys it takes; the rest is left out.
    """
    if keys is None or keys == []:
        found.broken.append((Reason.NO_MATCH_KEY, "matchKeys: at least one is required"))
        return []
    if not isinstance(keys, list):
        found.invalid("matchKeys", "not an array")
        return []
    broken_before = len(found.broken)
    sent: list[dict[str, object]] = []
    for position, key in enumerate(keys):
        kind, value = _parts(key, position, found)
        if kind is None:
            continue
        if kind not in types:
            cleaned: str | None = ""
        elif kind in _RAW or not _HASH(value):
            cleaned = _cleaned(kind, value.strip(), position, found)
        else:  # what nearly every key is, without another call
            cleaned = value.lower()
        if cleaned and len(sent) < most:
            sent.append({"type": kind, "values": [cleaned]})
        elif cleaned is not None:
            found.adjustments.append(Adjustment.MATCH_KEY_LEFT_OUT)
    if not sent and len(found.broken) == broken_before:
        found.broken.append((Reason.NO_MATCH_KEY, "matchKeys: none is left that Amazon could match by"))
    return sent


def normalised_email(text: str) -> str:
    """Return an e-mail address as Amazon hashes it, empty where nothing is left that is one.

    OAS CreateMatchKey: lower case, then only ``a-z 0-9 . @ -``. So "+" and "_" go, where Segment keeps the one and AWS' code
    the other (contract, section 8, number 4). NFC first, or one address would have two hashes (section 4.2).
    """
    email = _NOT_EMAIL.sub("", normalize("NFC", text).lower())
    return email if _EMAIL(email) else ""


_NOT_EMAIL: Final = re.compile(r"[^a-z0-9.@-]")
_EMAIL: Final = re.compile(r"[.-]*[a-z0-9][a-z0-9.-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)+").fullmatch
"""One "@", a letter or digit before it and a domain with a dot behind it: 'иван@example.ru' has no local part left."""

_NORMALISERS: Final[Mapping[str, Callable[[str], str]]] = {"EMAIL": normalised_email}
"""The personal types that may come in clear; the empty text means there is nothing to match by."""


@lru_cache(maxsize=1024)
def is_ip_address(text: str) -> bool:
    """Say whether Amazon could read it as a full IPv4 or IPv6 address, without a zone."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _parts(key: Any, position: int, found: Findings) -> tuple[str | None, str]:
    """Return the type and the value of one key; no type where a rule is broken."""
    if not isinstance(key, dict):
        found.invalid(f"matchKeys[{position}]", "not a record of type and value")
        return None, ""
    kind, value = key.get("type"), key.get("value")
    if value is None:
        # The wire contracts' own shape, for a topic that was written with Amazon's documentation in hand.
        values = key.get("values")
        value = values[0] if isinstance(values, list) and len(values) == 1 else values
    if not isinstance(kind, str) or not (kind := MATCH_KEYS.get(kind) or constant(kind, MATCH_KEYS)):
        found.invalid(f"matchKeys[{position}].type", "not one of Amazon's match key types")
        return None, ""
    if value is None or isinstance(value, str):
        return kind, value or ""
    found.invalid(f"matchKeys[{position}].value", "not a string")
    return None, ""


def _cleaned(kind: str, value: str, position: int, found: Findings) -> str | None:
    """Return the value to send of a trimmed one, empty to leave the key out, None where a rule is broken."""
    if kind in _RAW:
        return _raw(kind, value)
    if _HASH(value):
        return value.lower()
    if normaliser := _NORMALISERS.get(kind):
        clear = normaliser(value)
        return sha256(clear.encode()).hexdigest() if clear else ""
    if not any(map(str.isalnum, value)):
        return ""  # every published rule drops all but letters and digits
    found.broken.append(
        (Reason.CLEAR_MATCH_KEY, f"matchKeys[{position}]: {kind} in clear is not yet normalised here: hash it first")
    )
    return None


def _raw(kind: str, value: str) -> str:
    if kind == "MATCH_ID":
        return value if _MATCH_ID(value) else ""
    if kind == "FIP":
        return value if is_ip_address(value) else ""
    return value
