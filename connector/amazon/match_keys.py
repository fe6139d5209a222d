"""Match keys: the identifiers by which Amazon attributes an event to a person.

Each key of the input ends in one of four ways:

* **as it came**, without blanks and quotes: the types that Amazon takes raw, and values that are
  SHA-256 already, in any notation (sent as lower-case hexadecimal digits, because Amazon's own code
  knows no others: AWS-AMC);
* **normalised and hashed** with SHA-256: the personal types, spelt as
  `connector.amazon.normalisation` does;
* **left out** and counted: the key identifies nobody (`connector.nothing`), is another digest,
  normalises to nothing, equals another key, has a type that this contract lacks, or would be
  refused by Amazon;
* **a broken rule**: the key cannot be read, or there are more keys than anybody could mean.

No source says whether Amazon reads a second key of the same type. It is sent while there is room,
and gives way to the first key of another type.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

from connector.amazon.addresses import is_public_address
from connector.amazon.digests import sha256_digits
from connector.amazon.findings import Adjustment, Findings
from connector.amazon.normalisation import LONGEST, international, normalised
from connector.amazon.vocabulary import MATCH_KEYS, constant
from connector.model import Reason
from connector.nothing import DISGUISED, said, trimmed

__all__ = ["hashed", "match_keys"]

_RAW: Final = frozenset({"MAID", "RAMP_ID", "MATCH_ID", "REAL_ID", "MERKLE_ID", "KANTAR_ID", "FIP"})
"""Types sent without a hash: OAS EventCreate.matchKeys, the fuller of its two lists
(docs/amazon-contract.md#raw-keys)."""

_NAMES: Final = frozenset({"FIRST_NAME", "LAST_NAME", "ADDRESS", "CITY", "STATE"})

_MOST_LOOKED_AT: Final = 100
"""Keys of an event that are read; at most 15 are sent. Far above any real event, the limit bounds
the time that one record takes."""

_HASH: Final = re.compile(r"(?=[^1-9]*[1-9])[0-9A-Fa-f]{64}").fullmatch
"""SHA-256 in any case (SEG-HASH). Without a digit but zero it would need a closer look."""

_MASKED: Final = re.compile(r"[*\u2022\u25a0\u25cf\u2217\uff0a\u2588]{2}|\ufffd").search
"""Signs that stand for letters, as logs and support tools write them ("J****"), and the sign for
bytes that are not UTF-8. What is left of such a text may be somebody else's."""

_CUT: Final = re.compile(r"[^\W\d_](?:\?[^\W\d_]|__|\.{3}|\u2026)").search
"""A name that lost letters: "M?ller", "J____", "Maxim..."."""

_AROUND_RAW: Final = " \"'`{}\u2018\u2019\u201c\u201d"

_EMAIL_IN_CLEAR: Final = re.compile(r"@[^\s@.]+\.[^\s@.]").search
_PHONE_IN_CLEAR: Final = re.compile(r"\+[0-9][0-9 ().-]{6,}").fullmatch
"""What Amazon takes hashed only, and so no identifier of a type that goes as it came."""

_MATCH_ID: Final = re.compile(r"[A-Za-z0-9]{1,100}").fullmatch
"""Alphanumeric, at most 100 characters (AMZ-GTM)."""


def match_keys(keys: object, country: str, types: frozenset[str], most: int, found: Findings) -> list[dict[str, object]]:
    """Return the keys as both contracts write them: ``{"type", "values": [one]}``.

    ``country`` is the event's country. ``types`` and ``most`` are the contract's: which types of
    keys it has, and how many keys it takes.
    """
    if keys is None or keys == []:
        found.broken.append((Reason.NO_MATCH_KEY, "matchKeys: at least one is required"))
        return []
    if not isinstance(keys, list):
        found.invalid("matchKeys", "not an array")
        return []
    if len(keys) > _MOST_LOOKED_AT:
        found.invalid("matchKeys", f"more than {_MOST_LOOKED_AT}")
        return []
    broken_before = len(found.broken)
    sent: list[tuple[str, str]] = []
    for position, key in enumerate(keys):
        kind, value = _parts(key, position, found)
        if kind is None:
            continue
        kinds = [each for each, _ in sent] if len(sent) == most else []
        if kind not in types or kind in kinds:
            cleaned = ""
        else:
            cleaned = _raw(kind, said(value)) if kind in _RAW else hashed(kind, value, country)
        wanted = kind, cleaned
        if not cleaned or wanted in sent:
            found.adjustments.append(Adjustment.MATCH_KEY_LEFT_OUT)
            continue
        if kinds:
            # Some type has a second key, because no contract takes fewer keys than it has types.
            del sent[max(at for at, before in enumerate(kinds) if kinds.index(before) < at)]
            found.adjustments.append(Adjustment.MATCH_KEY_LEFT_OUT)
        sent.append(wanted)
    if not sent and len(found.broken) == broken_before:
        found.broken.append((Reason.NO_MATCH_KEY, "matchKeys: none is left that Amazon could match by"))
    return [{"type": kind, "values": [value]} for kind, value in sent]


def _parts(key: Any, position: int, found: Findings) -> tuple[str | None, str]:
    """Return the type and the value of one key; no type where a rule is broken."""
    if not isinstance(key, dict):
        found.invalid(f"matchKeys[{position}]", "not a record of type and value")
        return None, ""
    kind, value = key.get("type"), key.get("value")
    if value is None:
        # The shape of the wire contracts: a producer may have followed Amazon's documentation.
        values = key.get("values")
        value = values[0] if isinstance(values, list) and len(values) == 1 else values
    if not isinstance(kind, str) or not (kind := MATCH_KEYS.get(kind) or constant(kind, MATCH_KEYS)):
        found.invalid(f"matchKeys[{position}].type", "not one of Amazon's match key types")
        return None, ""
    if value is None or isinstance(value, str):
        return kind, value or ""
    found.invalid(f"matchKeys[{position}].value", "not a string")
    return None, ""


def hashed(kind: str, value: str, country: str) -> str:
    """Return the hash to send for a personal identifier, which may be in clear or hashed already.

    Empty if the key is to be left out.
    """
    if _HASH(value) and (digits := value.lower()) not in DISGUISED:  # nearly every key
        return digits
    if kind == "PHONE" and (digits := international(value)) and digits not in DISGUISED:
        return sha256(digits.encode()).hexdigest()
    if len(value) > LONGEST or _MASKED(value):
        return ""
    if (found := sha256_digits(trimmed(value))) is not None:
        return said(found, name=kind in _NAMES)
    if kind in _NAMES and _CUT(value):
        return ""
    clear = normalised(kind, said(value, name=kind in _NAMES or kind == "EMAIL"), country)
    # "ignore": UTF-8 has no bytes for a lone surrogate, but Avro never yields one.
    return sha256(clear.encode("utf-8", "ignore")).hexdigest() if clear else ""


def _raw(kind: str, value: str) -> str:
    """Return an identifier of a type that is not hashed, without quotes and braces around it.

    Empty if it is to be left out.
    """
    value = value.strip(_AROUND_RAW)
    if _MASKED(value) or _EMAIL_IN_CLEAR(value) or _PHONE_IN_CLEAR(value):
        return ""
    if kind == "MATCH_ID":
        return value if _MATCH_ID(value) else ""
    if kind == "FIP":
        return value if is_public_address(value) else ""
    return value
