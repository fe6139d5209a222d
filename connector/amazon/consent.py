"""Consent: what a person agreed to, in the form that Amazon wants.

docs/amazon-contract.md#consent has the sources. Two principles: nothing is read as a consent that
is not one, and a denial always stands. Therefore:

* A TCF or GPP string without the form of one (an unfilled template, "undefined") is left out and
  counted.
* Amazon's own signal is read in every spelling that Amazon's own templates take. "undefined" and
  the like are no signal. A text that is neither granted nor denied is a broken rule, because it may
  be a denial.
* Flat and nested fields are both read, and one that denies outweighs one that grants.
* Beside a TCF string Amazon ignores its own signal. So a signal that denies is sent without the TCF
  and GPP strings, and a signal that grants is left out beside a TCF string.
"""

from __future__ import annotations

import re
from typing import Any, Final

from connector.amazon.addresses import is_public_address
from connector.amazon.findings import Adjustment, Findings
from connector.amazon.vocabulary import CONSENT_STATUSES, MAX_TEXT
from connector.nothing import said, trimmed

__all__ = ["consent", "spelt"]

_SIGNALS: Final = ("amznUserData", "amznAdStorage")

_LONGEST: Final = 16_384
"""Characters of the longest TCF or GPP string that is read: many times the length that any vendor
list and country gives it."""

_PART: Final = "(?:[A-Z]+|[A-Z]?[a-z]+|[0-9]+)"
_WORDS: Final = rf"(?:{_PART}(?:[_-]{_PART})+|(?:[A-Z][a-z]+){{2,}}[0-9]*)(?=[~.]|\Z)"
"""What people and templates write: words and numbers with "_" or "-" between them, or CamelCase."""

_TCF: Final = re.compile(rf"(?!{_WORDS})C[A-Za-z0-9_-]{{19,}}(?:\.[A-Za-z0-9_-]+)*").fullmatch
"""The form of a TCF string: segments in base64url. The first begins with version 2 in six bits,
which is "C"; IAB's fields need some 40 characters. `_WORDS` excludes a text such as
CONSENT_STRING_PLACEHOLDER, which has the form as well."""

_SECTION: Final = rf"(?:1[A-Za-z-]{{3}}|(?!{_WORDS})[B-Z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)"
_GPP: Final = re.compile(rf"D[A-Z]A[A-Za-z0-9_-]+(?:~{_SECTION})+").fullmatch
"""The form of a GPP string: a header and its sections (IAB). In the header six bits each are the
type, which is 3 and so "D"; the version; and the upper half of the number of sections, so "A". A
section begins with its version, or is the older privacy string ("1YNN")."""

_FORMS: Final = (("tcf", _TCF), ("gpp", _GPP))


def consent(given: object, needs_pair: bool, found: Findings) -> dict[str, object] | None:
    """Return the consent in the layout that both contracts share; None if there is none to send.

    Fields are read flat, or nested as in the contracts. ``needs_pair`` says that ``amznUserData``
    alone is not enough for this contract.
    """
    if not isinstance(given, dict):
        if not _says_nothing(given):
            found.invalid("consent", "not a record")
        return None
    get = given.get
    sent: dict[str, object] = {}
    texts: dict[str, str] = {}
    signal: dict[str, str] = {}
    if (get("ipAddress") is not None or get("geo") is not None) and (address := _address(given, found)):
        sent["geo"] = {"ipAddress": address}
    if get("amznUserData") is not None or get("amznAdStorage") is not None or get("amazonConsent") is not None:
        signal = _signal(given, needs_pair, found)
    for name, form in _FORMS:
        if get(name) is not None and (text := _text(given, name, form, found)):
            texts[name] = text
    if "DENIED" in signal.values():
        found.adjustments += [Adjustment.CONSENT_LEFT_OUT] * len(texts)
        return sent | {"amazonConsent": signal}
    if signal and "tcf" in texts:
        found.adjustments.append(Adjustment.CONSENT_LEFT_OUT)
    elif signal:
        sent["amazonConsent"] = signal
    return sent | texts or None


def _address(given: dict[str, Any], found: Findings) -> str:
    has_private = False
    for part in _parts(given, "geo", found):
        if text := _stripped(part, "ipAddress", found):
            if is_public_address(text):
                return text
            has_private = True
    if has_private:
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
        return trimmed(trimmed(text).strip(_AROUND))
    if text is not None:
        found.invalid(f"consent.{name}", "not a string")
    return ""


def _parts(given: dict[str, Any], name: str, found: Findings) -> tuple[dict[str, Any], ...]:
    """Return the records that may hold the fields of a part: the nested one and the flat one."""
    part = given.get(name)
    if isinstance(part, dict):
        return part, given
    if not _says_nothing(part):
        found.invalid(f"consent.{name}", "not a record")
    return (given,)


def _signal(given: dict[str, Any], needs_pair: bool, found: Findings) -> dict[str, str]:
    """Return Amazon's own consent signal; empty if it is incomplete.

    OAS requires amznUserData, SEG-OLD requires both fields.
    """
    *nested, flat = _parts(given, "amazonConsent", found)
    signal: dict[str, str] = {}
    for name in _SIGNALS:
        status = _status(flat.get(name))
        for part in nested:
            status = _stronger(status, _status(part.get(name)))
        if status:
            signal[name] = status
        elif status is None:
            found.invalid(f"consent.{name}", "neither GRANTED nor DENIED")
    if not signal or len(signal) == len(_SIGNALS) or ("amznUserData" in signal and not needs_pair):
        return signal
    if "DENIED" in signal.values():  # a denial is never dropped
        found.invalid("consent", "amznUserData and amznAdStorage are needed together to say DENIED")
    else:
        found.adjustments.append(Adjustment.CONSENT_LEFT_OUT)
    return {}


def _status(value: object) -> str | None:
    """Return GRANTED or DENIED; empty if the value says nothing, None if it cannot be read."""
    if value is None:
        return ""
    if type(value) is str:
        if status := CONSENT_STATUSES.get(value) or CONSENT_STATUSES.get(spelt(value)):
            return status
        # A text longer than every constant is not searched for a denial.
        return "" if _says_nothing(value) and not (len(value) <= MAX_TEXT and _DENIES(value)) else None
    if isinstance(value, bool | int | float):
        return "GRANTED" if value == 1 else "DENIED" if value == 0 else None
    return None


def _stronger(one: str | None, other: str | None) -> str | None:
    """Return the status that counts: a denial outweighs what cannot be read, and that a consent."""
    return next(status for status in ("DENIED", None, "GRANTED", "") if status in (one, other))


_DENIES: Final = re.compile(
    r"[^A-Za-z0-9]*(?:denied|false|no|off|disabled|opt(?:ed)?[_ -]?out)[^A-Za-z0-9]*|[+-]?0+(?:[.,]0*)?(?:e[+-]?0+)?",
    re.IGNORECASE,
).fullmatch
"""Texts that may be a denial although they look like nothing: a word in brackets, which may be a
list or a template, or a zero."""


def spelt(text: str) -> str:
    """Return a text in capitals, without quotes, with "_" for every gap; empty if it is too long.

    Letters and digits alone would not do: "-1" would be "1".
    """
    return trimmed(text).strip(_AROUND).upper().replace("-", "_").replace(" ", "_") if len(text) <= MAX_TEXT else ""


_AROUND: Final = " \t\r\n\"'"
_NOBODY_ANSWERED: Final = frozenset({"NONE", "NIL", "NAN", "NA", "N/A"})


def _says_nothing(value: object) -> bool:
    # Asked as of a name: as an id, "false" and "no" would say nothing either.
    return value is None or (isinstance(value, str) and (spelt(value) in _NOBODY_ANSWERED or not said(value, name=True)))
