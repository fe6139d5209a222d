"""How a personal identifier is written before it is hashed: the same spelling on both sides, or the hash matches nobody.

Where the text of this API speaks, it is followed (OAS CreateMatchKey: e-mail). Else Amazon's own published code is, oddities
included (AWS-AMC, the uploader of Amazon Marketing Cloud, for US CA GB DE FR ES IT IN JP). For other countries nothing is
published, and the choice stands at the function. Other vendors write some types in other ways
(docs/amazon-contract.md#match-key-normalisation), and a wrong hash looks as if it worked, so there is no better evidence
than Amazon's own code.

Text is brought to Unicode's form NFC first, or one name would have two hashes; no source names a form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import unescape
from string import ascii_uppercase
from typing import Final
from unicodedata import combining, normalize
from urllib.parse import unquote

import phonenumbers

from connector.amazon.abbreviations import OTHER_STREETS, STATES, STREETS
from connector.nothing import said

__all__ = ["LONGEST", "PERSONAL", "normalised"]


def normalised(kind: str, text: str, country: str) -> str:
    """Return a value of a type in `PERSONAL` as Amazon hashes it, empty where nothing is left to match by.

    ``country``: of the event, in capitals; it says how telephone numbers, postal codes, states and addresses are read.
    """
    if len(text) > LONGEST or (not text.isascii() and sum(map(bool, map(combining, text))) > _MOST_ACCENTS):
        return ""
    return PERSONAL[kind](normalize("NFC", text.strip()), country)


LONGEST: Final = 1024
"""Characters: far above every name and address."""
_MOST_ACCENTS: Final = 256
"""Characters that combine: far above every name and address, too. NFC takes time by the square of a run of them."""


def _email(text: str, _country: str) -> str:
    """Drop all but ``a-z 0-9 . @ -`` in lower case (OAS CreateMatchKey).

    So "+" and "_" go, where Segment keeps the one and AWS-AMC the other
    (docs/amazon-contract.md#e-mail-plus-and-underscore). An address that
    would lose letters is left out: of 'müller@example.de' it would make mller@example.de, which may be somebody else's.
    """
    address = _address_alone(text).lower()
    if any(map(str.isalnum, _ASCII.sub("", address))):
        return ""
    email = _NOT_EMAIL.sub("", address)
    return email if _EMAIL(email) and said(email.partition("@")[0], name=True) else ""


def _address_alone(text: str) -> str:
    """Cut off what a mail program or a page has around it: "Jo Doe" <jo@example.com>, mailto:jo@example.com?subject=Hi.

    Empty where it is followed by words, and cannot be told from them.
    """
    if _BARE(text):
        return text
    text = _COMMENT.sub("", unescape(text))
    scheme = text.lower().rfind(_MAILTO)
    if scheme >= 0:
        text = unquote(text[scheme + len(_MAILTO) :].partition("?")[0])
    at = text.rfind("@")
    for opened, closed in _BRACKETS:
        begin, end = text.rfind(opened, 0, at), text.find(closed, at)
        if begin >= 0 and end >= 0 and closed not in text[begin:at]:
            text = text[begin + 1 : end]
            break
    text = _LABEL.sub("", text, count=1)
    whole = _FOLLOWED(text)
    return whole[1] if whole else "" if _WORDS_BEHIND(text) else text


_BARE: Final = re.compile(r"[A-Za-z0-9.+_@-]*").fullmatch
_MAILTO: Final = "mailto:"
_BRACKETS: Final = ("<>", "[]", "()", "{}", "«»")
_COMMENT: Final = re.compile(r"\([^()@]*\)")
_LABEL: Final = re.compile(r"\A(?:[^@]*[:<])?(?:\s*e-?mail\s*=)?", re.IGNORECASE)
"""Before an address: a scheme, the name of its field, a bracket that is never closed."""
_FOLLOWED: Final = re.compile(r"([^@]*@[^@\s,;|<>()]*\.[^@\s,;|<>().]+)\s*[,;|<>()]").match
_WORDS_BEHIND: Final = re.compile(r"[^@]*@[^@\s]*\.[^@\s]*[^@\s.]\s+[^@\s.]").match
_ASCII: Final = re.compile(r"[\x00-\x7f]+")
_NOT_EMAIL: Final = re.compile(r"[^a-z0-9.@-]")
_EMAIL: Final = re.compile(r"[.-]*[a-z0-9][a-z0-9.-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)*").fullmatch
"""One "@", a letter or digit before it and a domain behind it, which AWS-AMC takes without a dot too."""


def _phone(text: str, country: str) -> str:
    """Write the digits of E.164 without "+", the event's country giving the calling code where the number has none.

    So are all numbers that AWS-AMC's files expect; its later code knows no country and would read 9876543210 as one of Iran.
    A number that only its neighbours could dial (seven digits in the US), or one without a calling code in no country, gives
    nothing, as there.
    """
    text = _without_decimals(text)
    number = _possible(text, country)
    if number is None or number.national_number == 0:
        return ""
    number = _from_abroad(text, number) or number
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def _possible(text: str, country: str) -> phonenumbers.PhoneNumber | None:
    if len(text) > _LONGEST_NUMBER:
        return None
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(number)
    return number if reason == phonenumbers.ValidationResult.IS_POSSIBLE else None


def _from_abroad(text: str, number: phonenumbers.PhoneNumber) -> phonenumbers.PhoneNumber | None:
    """Return what ``text`` means with the "+" that it lacks, None where ``number``, its national reading, is what it means.

    Where numbers vary in length 4915112345678 is also a number of DE, which would get the calling code twice; and 4964721108
    of DE is one without a calling code, by AWS-AMC's files. So the first digits are taken for the calling code where they
    then lead to a mobile number, or stand alone ("49 (0) 30 1234567"); and only if a national number would begin with the
    trunk prefix "0", which this one lacks ("48 301 30 61" of PL has none: it is one of Radom).
    """
    code, first = str(number.country_code), _FIRST_DIGITS(text)
    if "+" in text or first is None or not first[0].startswith(code) or _type(number) == phonenumbers.PhoneNumberType.MOBILE:
        return None
    if not phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL).lstrip("(").startswith("0"):
        return None
    abroad = _possible("+" + text, "ZZ")
    if abroad is None or abroad.country_code != number.country_code:
        return None
    alone = first[0] == code and phonenumbers.is_valid_number(abroad)
    return abroad if alone or _type(abroad) == phonenumbers.PhoneNumberType.MOBILE else None


_LONGEST_NUMBER: Final = 64
"""Characters: four times the digits of E.164."""
_FIRST_DIGITS: Final = re.compile(r"[0-9]+").search
_type: Final = phonenumbers.number_type


def _name(text: str, _country: str) -> str:
    """Fold German and Danish letters, then drop all but letters and digits (AWS-AMC ``default_normalizer``)."""
    return _NOT_WORD.sub("", text.lower().translate(_FOLDED))


_FOLDED: Final = str.maketrans({"ß": "ss", "ä": "ae", "ö": "oe", "ü": "ue", "ø": "o", "æ": "ae"})
_NOT_WORD: Final = re.compile(r"[^a-z0-9]")


def _city(text: str, _country: str) -> str:
    """Drop all but letters and digits, without folding: München is mnchen (AWS-AMC ``city_normalizer``)."""
    return _NOT_WORD.sub("", text.lower())


def _state(text: str, country: str) -> str:
    """Abbreviate by the country's table, else cut to two letters (AWS-AMC ``state_normalizer``).

    Of other countries the whole name stands, for two letters of it would be many states'
    (docs/amazon-contract.md#match-key-normalisation).
    """
    if country not in _REFERENCE:
        return _NOT_WORD.sub("", text.lower())
    letters = _NOT_CAPITAL.sub("", text.upper())
    return STATES.get(country, _NO_TABLE).get(letters, letters[:2]).lower()


_REFERENCE: Final = frozenset({"US", "CA", "GB", "DE", "FR", "ES", "IT", "IN", "JP"})
"""The countries that AWS-AMC knows."""

_NO_TABLE: Final[Mapping[str, str]] = {}
_NOT_CAPITAL: Final = re.compile(r"[^A-Z]")


def _postal(text: str, country: str) -> str:
    """Cut to the length of the country's codes and keep what has their shape, in its case (AWS-AMC ``zip_normalizer``).

    Of other countries letters and digits stand whole: the reference's five digits would empty or cut good codes of theirs.
    """
    dropped, length, shape = _POSTAL.get(country, _OTHER_POSTAL)
    code = dropped.sub("", _without_decimals(text))[:length]
    return code if shape.fullmatch(code) and code.strip("0") else ""


def _without_decimals(text: str) -> str:
    """Return the whole number that a spreadsheet or a column of doubles made 2360.0 or 4.155552671E9 of.

    Empty where it has not every digit of it: 4.15555E+09.
    """
    if decimals := _DECIMALS(text):
        return text[: decimals.start(decimals.lastindex or 1)]
    scientific = _SCIENTIFIC(text)
    if scientific is None:
        return text
    first, others, rounded, exponent = scientific.groups()
    lacking = int(exponent) - len(others)
    return "" if lacking < 0 or (lacking and rounded) else f"{first}{others}{'0' * lacking}"


_DECIMALS: Final = re.compile(r"\+?[0-9]+([.,](?:00?|0{4,}))|\+?[0-9]{4,}([.,]000)").fullmatch
"""Three zeros behind a few digits are thousands."""
_SCIENTIFIC: Final = re.compile(r"\+?([1-9])[.,]([0-9]+)[eE](\+?)([0-9]{1,2})").fullmatch
"""A spreadsheet writes a "+", and no more digits than there is room for; Java and JavaScript write all there are."""
_NOT_ALPHANUMERIC: Final = re.compile(r"[^0-9A-Za-z]")
_NOT_DIGIT: Final = re.compile(r"[^0-9]")
_FIVE_DIGITS: Final = (_NOT_DIGIT, 5, re.compile(r"[0-9]{5}"))
_OTHER_POSTAL: Final = (_NOT_ALPHANUMERIC, None, re.compile(r"[0-9A-Za-z]*"))
_POSTAL: Final[Mapping[str, tuple[re.Pattern[str], int | None, re.Pattern[str]]]] = {
    **dict.fromkeys(("US", "DE", "FR", "ES", "IT"), _FIVE_DIGITS),
    "CA": (_NOT_ALPHANUMERIC, 6, re.compile(r"([A-Za-z][0-9]){3}")),
    "GB": (_NOT_ALPHANUMERIC, 7, re.compile(r"([A-Za-z]{1,2}[0-9]{2,3}|[A-Za-z]{1,2}[0-9][A-Za-z][0-9])[A-Za-z]{2}")),
    "IN": (re.compile(r"\D"), 6, re.compile(r"\d{6}")),
    "JP": (_NOT_DIGIT, 7, re.compile(r"[0-9]{7}")),
}


def _address(text: str, country: str) -> str:
    """Abbreviate an address word by word and join the words (AWS-AMC ``address_normalizer``).

    Accents, apostrophes, slashes and inner dashes stay. Only the street part belongs in it (AMZ-NORM).
    """
    words = [word for word in _BETWEEN_WORDS.split(text.upper()) if word]
    _split_at_dash(words)
    _split_at_pound(words)
    short = STREETS.get(country, OTHER_STREETS)
    address = "".join(short.get(word, word) for word in words).lower()
    return address if any(map(str.isalnum, address)) else ""


_BETWEEN_WORDS: Final = re.compile(r"[\s,.!()\[\]{}]+|\bC/O\b")
_BEHIND_POUND: Final = "0123456789-/" + ascii_uppercase


def _split_at_dash(words: list[str]) -> None:
    """Split "12-B" into "12" and "B"; "12-14" and "A-B" stay.

    As the reference counts, words pushed back by earlier splits beyond the number there was at first are not looked at.
    """
    for position in range(len(words)):
        before, _, behind = words[position].rpartition("-")
        if before.isnumeric() and behind and not behind.isnumeric():
            words[position : position + 1] = [before, behind]


def _split_at_pound(words: list[str]) -> None:
    """Split "APT#5" into "APT", "#" and "5", so that "#" becomes "number".

    As the reference does it: what stands before letters and "#" in a word is lost, and the limit is as for dashes.
    """
    for first in range(len(words)):
        position, word, read = first, words[first], 0
        while (pound := word.find("#", read)) >= 0:
            before = word[read:pound]
            letters = before[len(before.rstrip(ascii_uppercase)) :]
            after = word[pound + 1 :]
            behind = after[: len(after) - len(after.lstrip(_BEHIND_POUND))]
            read = pound + 1 + len(behind)
            parts = [part for part in (letters, "#", behind) if part]
            if len(parts) > 1:
                words[position : position + 1] = parts
                position += len(parts) - 1


PERSONAL: Final[Mapping[str, Callable[[str, str], str]]] = {
    "EMAIL": _email,
    "PHONE": _phone,
    "FIRST_NAME": _name,
    "LAST_NAME": _name,
    "ADDRESS": _address,
    "CITY": _city,
    "STATE": _state,
    "POSTAL": _postal,
}
"""The types that are hashed, each with its normaliser of text and country."""
