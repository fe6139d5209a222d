"""Consent: what a person agreed to, as Amazon wants to be told (contract, section 3.4).

No text of ours makes a consent out of something that is none, and a denial stands whatever is beside it:

* a TCF or GPP text that has not its form (a macro that nobody filled in, "undefined") is none, and counted;
* Amazon's own signal is read in every spelling that Amazon's own templates take; "undefined" and its like are none, and what
  can be read as neither granted nor denied is a broken rule, for it may be a denial;
* flat and nested fields are both read, and one that denies outweighs one that grants;
* where Amazon's own signal denies, it is sent without the TCF and GPP texts, for beside a TCF text Amazon ignores it; where
  it grants, it is left out beside a TCF text.
"""

from __future__ import annotations

import re
from typing import Any, Final

from connector.amazon.addresses import is_public_address
from connector.amazon.findings import Adjustment, Findings
from connector.amazon.vocabulary import CONSENT_STATUSES, MAX_TEXT
from connector.nothing import said, trimmed

__all__ = ["consent"]

_SIGNALS: Final = ("amznUserData", "amznAdStorage")

_LONGEST: Final = 16_384
"""Characters: many times what any vendor list and country makes of such a text."""

_WORDS: Final = "C(?:[A-Z]+|[a-z]+)(?:[_-](?:[A-Z]+|[A-Z]?[a-z]+))+"
_TCF: Final = re.compile(rf"(?!{_WORDS}\Z)C[A-Za-z0-9_-]{{19,}}(?:\.[A-Za-z0-9_-]+)*").fullmatch
"""Segments in base64url. The first begins with version 2 in six bits, which is "C"; IAB's fields need some 40 characters.
CONSENT_STRING_PLACEHOLDER has the form, and is none."""

_GPP: Final = re.compile(r"D[A-Za-z0-9_-]*(?:~[A-Za-z0-9_.-]+)+").fullmatch
"""A header that begins with type 3 in six bits, which is "D", and its sections (IAB)."""


_FORMS: Final = (("tcf", _TCF), ("gpp", _GPP))


def consent(given: object, needs_pair: bool, found: Findings) -> dict[str, object] | None:
    """Return the consent in the shape both contracts share; fields are taken flat or nested as on the wire.

    ``needs_pair``: ``amznUserData`` alone is not enough for this contract.
    """
    if not isinstance(given, dict):
        if not _says_nothing(given):
            found.invalid("consent", "not a record")
        return None
    get = given.get
    told: dict[str, object] = {}
    texts: dict[str, str] = {}
    signal: dict[str, str] = {}
    if (get("ipAddress") is not None or get("geo") is not None) and (address := _address(given, found)):
        told["geo"] = {"ipAddress": address}
    if get("amznUserData") is not None or get("amznAdStorage") is not None or get("amazonConsent") is not None:
        signal = _signal(given, needs_pair, found)
    for name, form in _FORMS:
        if get(name) is not None and (text := _text(given, name, form, found)):
            texts[name] = text
    if "DENIED" in signal.values():
        found.adjustments += [Adjustment.CONSENT_LEFT_OUT] * len(texts)
        return told | {"amazonConsent": signal}
    if signal and "tcf" in texts:
        found.adjustments.append(Adjustment.CONSENT_LEFT_OUT)
    elif signal:
        told["amazonConsent"] = signal
    return told | texts or None


def _address(given: dict[str, Any], found: Findings) -> str:
    nobodys = False
    for part in _parts(given, "geo", found):
        if text := _stripped(part, "ipAddress", found):
            if is_public_address(text):
                return text
            nobodys = True
    if nobodys:
        found.adjustments.append(Adjustment.CONSENT_LEFT_OUT)
    return ""


def _text(given: dict[str, Any], name: str, form: Any, found: Findings) -> str:
    text = _stripped(given, name, found)
    if text and not (len(text) <= _LONGEST and form(text)):
        found.adjustments.append(Adjustment.CONSENT_LEFT_OUT)
        return ""
    return text


def _stripped(part: dict[str, Any], name: str, found: Findings) -> str:
    text = part.get(name)
    if isinstance(text, str):
        return trimmed(text)
    if text is not None:
        found.invalid(f"consent.{name}", "not a string")
    return ""


def _parts(given: dict[str, Any], name: str, found: Findings) -> tuple[dict[str, Any], ...]:
    """Return where the fields of a part may stand: nested in it, and flat."""
    part = given.get(name)
    if isinstance(part, dict):
        return part, given
    if not _says_nothing(part):
        found.invalid(f"consent.{name}", "not a record")
    return (given,)


def _signal(given: dict[str, Any], needs_pair: bool, found: Findings) -> dict[str, str]:
    """Return Amazon's own consent signal, empty where it is not whole (OAS: amznUserData is required; SEG-OLD: both are)."""
    parts = _parts(given, "amazonConsent", found)
    signal: dict[str, str] = {}
    for name in _SIGNALS:
        statuses = [_status(part.get(name)) for part in parts]
        if "DENIED" in statuses:
            signal[name] = "DENIED"
        elif None in statuses:
            found.invalid(f"consent.{name}", "neither GRANTED nor DENIED")
        elif "GRANTED" in statuses:
            signal[name] = "GRANTED"
    if not signal or len(signal) == len(_SIGNALS) or ("amznUserData" in signal and not needs_pair):
        return signal
    if "DENIED" in signal.values():  # a denial is never dropped
        found.invalid("consent", "amznUserData and amznAdStorage are needed together to say DENIED")
    else:
        found.adjustments.append(Adjustment.CONSENT_LEFT_OUT)
    return {}


def _status(value: object) -> str | None:
    """Return GRANTED or DENIED, nothing where nothing is said, and None for what says neither."""
    if value is None:
        return ""
    if type(value) is str:
        if status := CONSENT_STATUSES.get(value) or CONSENT_STATUSES.get(_spelt(value)):
            return status
        # Of a longer one that says nothing no character is a letter.
        return "" if _says_nothing(value) and not (len(value) <= MAX_TEXT and _DENIES(value)) else None
    if isinstance(value, bool | int | float):
        return "GRANTED" if value == 1 else "DENIED" if value == 0 else None
    return None


_DENIES: Final = re.compile(
    r"[^A-Za-z0-9]*(?:denied|false|no|off|disabled|opt(?:ed)?[_ -]?out)[^A-Za-z0-9]*|0+(?:\.0+)?", re.IGNORECASE
).fullmatch
"""What may be a denial though it looks like nothing: in the brackets of a list as in a template's, or as a number."""


def _spelt(text: str) -> str:
    """Return a spelling without case, quotes and other gaps than "_"; not by letters alone, or "-1" would be 1."""
    return trimmed(text).strip(_AROUND).upper().replace("-", "_").replace(" ", "_") if len(text) <= MAX_TEXT else ""


_AROUND: Final = " \t\r\n\"'"
_NOBODY_ANSWERED: Final = frozenset({"NONE", "NIL", "NAN", "NA", "N/A"})


def _says_nothing(value: object) -> bool:
    # As a name, for of an id "false" and "no" are nothing, too.
    return value is None or (isinstance(value, str) and (_spelt(value) in _NOBODY_ANSWERED or not said(value, name=True)))
