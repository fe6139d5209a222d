"""Normalising a personal identifier before it is hashed.

Both sides must spell an identifier the same way, or the hash matches nobody; and a wrong hash looks
as if it worked. So each rule follows the best evidence there is:

1. the text of this API, where it says something (OAS CreateMatchKey: e-mail);
2. Amazon's own published code, oddities included (AWS-AMC, the uploader of Amazon Marketing Cloud,
   for US CA GB DE FR ES IT IN JP);
3. for other countries, where nothing is published, the choice that each function states.

Other vendors normalise some types in other ways (docs/amazon-contract.md#match-key-normalisation).
Text is brought to Unicode's form NFC first, because one name would have two hashes otherwise. No
source names a form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from html import unescape
from string import ascii_uppercase
from typing import Final
from unicodedata import category, combining, decimal, normalize
from urllib.parse import unquote, unquote_plus

import phonenumbers

from connector.amazon.abbreviations import OTHER_STREETS, STATES, STREETS
from connector.nothing import said

__all__ = ["LONGEST", "PERSONAL", "international", "normalised"]


def normalised(kind: str, text: str, country: str) -> str:
    """Return a value of a type in `PERSONAL` as Amazon hashes it; empty if nothing is left of it.

    ``country`` is the event's country, in capitals. It decides how telephone numbers, postal codes,
    states and addresses are read.
    """
    if len(text) > LONGEST or (not text.isascii() and sum(map(bool, map(combining, text))) > _MOST_ACCENTS):
        return ""
    return PERSONAL[kind](normalize("NFC", text.strip()), country)


def _decoded(text: str) -> str:
    r"""Undo the encodings of web pages in a name: M%C3%BCller, M&uuml;ller, M\u00fcller.

    Empty if bytes are not UTF-8, because the name would lose letters.
    """
    if not _ENCODED.search(text):
        return text
    text = _ENTITY.sub(lambda found: unescape(found[0]), text)
    text = _ESCAPES.sub(lambda found: bytes.fromhex(found[0].replace("\\u", "")).decode("utf-16-be", "ignore"), text)
    try:
        return normalize("NFC", (unquote if " " in text else unquote_plus)(text, errors="strict").strip())
    except UnicodeDecodeError:
        return ""


_ENTITY: Final = re.compile("&#?[0-9A-Za-z]{2,8};")
_ESCAPES: Final = re.compile(r"(?:\\u[0-9A-Fa-f]{4})+")
_ENCODED: Final = re.compile(rf"%[0-9A-Fa-f]{{2}}|{_ENTITY.pattern}|\\u[0-9A-Fa-f]{{4}}")


LONGEST: Final = 1024
"""Characters of the longest value that is read: far above every name and address."""
_MOST_ACCENTS: Final = 256
"""Most combining characters in a value: far above every name and address. NFC takes time in the
square of a run of them."""


def _email(text: str, _country: str) -> str:
    """Convert to lower case and keep only ``a-z 0-9 . @ -`` (OAS CreateMatchKey).

    "+" and "_" are dropped, although Segment keeps the first and AWS-AMC the second
    (docs/amazon-contract.md#e-mail-plus-and-underscore). An address that would lose letters is left
    out: 'müller@example.de' would become mller@example.de, which may be somebody else's.
    """
    address = _address_alone(text.translate(_WIDE)).lower()
    if _MASKED(address.partition("@")[0]) or any(
        category(each)[0] in "LMN" or each == _UNREADABLE for each in _ASCII.sub("", address)
    ):
        return ""
    email = _NOT_EMAIL.sub("", address)
    local, _, domain = email.partition("@")
    is_somewhere = "." in domain or said(domain)
    return email if _EMAIL(email) and is_somewhere and said(local, name=True) else ""


def _address_alone(text: str) -> str:
    """Return an address without the text that a mail program or a page puts around it.

    Examples: "Jo Doe" <jo@example.com>, mailto:jo%2Bshop@example.com?subject=Hi. Empty if words
    stand beside the address and cannot be told from it, if its domain is none, and if there are
    two addresses, which may be of two people.
    """
    if _BARE(text):
        return text
    text = _COMMENT.sub("", unescape(unquote(text)))
    scheme = text.lower().rfind(_MAILTO)
    if scheme >= 0:
        text = text[scheme + len(_MAILTO) :].partition("?")[0]
    addresses = {part.strip(_AROUND_ADDRESS).lower() for part in _BETWEEN_ADDRESSES.split(text) if "@" in part[1:-1]}
    if len(addresses) > 1 or any("@" in each.partition("@")[2] for each in addresses) or _URL(text):
        return ""
    at = text.rfind("@")
    for opened, closed in _BRACKETS:
        begin, end = text.rfind(opened, 0, at), text.find(closed, at)
        if begin >= 0 and end >= 0 and closed not in text[begin:at]:
            text = text[begin + 1 : end]
            break
    text = _LABEL.sub("", text, count=1)
    if whole := _FOLLOWED(text):
        text = whole[1]
    return "" if _WORDS_BEHIND(text) or _words_before(text) or _NO_DOMAIN(text) else text


def _words_before(text: str) -> bool:
    before = text.rpartition("@")[0].strip()
    return _TWO_WORDS(before) is not None and not before[0] == before[-1] == '"'


_BARE: Final = re.compile(r"[A-Za-z0-9.+_@-]*").fullmatch
_MAILTO: Final = "mailto:"
_BETWEEN_ADDRESSES: Final = re.compile(r"[\s<>()\[\]{},;:|=\"]+")
_AROUND_ADDRESS: Final = ".'\u2018\u2019\u201c\u201d\u00ab\u00bb/\\"
_URL: Final = re.compile(r"[^@]*://[^\s@]*@").match
_BRACKETS: Final = ("<>", "[]", "()", "{}", "«»")
_COMMENT: Final = re.compile(r"\([^()@]*\)")
_LABEL: Final = re.compile(r"\A(?:[^@]*[:<])?(?:\s*e-?mail\s*=)?", re.IGNORECASE)
"""Text before an address: a scheme, the name of its field, a bracket that is never closed."""
_FOLLOWED: Final = re.compile(r"([^@]*@[^@\s,;|<>()?/&#\\]*\.[^@\s,;|<>()?/&#\\.]+)\s*[,;|<>()?/&#\\]").match
_WORDS_BEHIND: Final = re.compile(r"[^@]*@[^@\s]*\.[^@\s]*[^@\s.]\s+[^@\s.]").match
_TWO_WORDS: Final = re.compile(r'[^\s"]{2}\s+[^\s"]{2}').search
"""Two words. A blank beside a single letter, as in "j o@example.com", counts as a typing error."""
_NO_DOMAIN: Final = re.compile(r"[^@]*@.*[A-Za-z0-9][,;|<>()?/&#\\=+:!*_]+[A-Za-z0-9]").match
_WIDE: Final = {0xFEE0 + ascii_: ascii_ for ascii_ in range(0x21, 0x7F)} | str.maketrans("\u3002\uff61", "..")
"""Letters of full width, and full stops in a domain (RFC 3490), as keyboards of East Asia write
them."""
_MASKED: Final = re.compile(r"(?:\A|[a-z0-9])\*|\*(?:[a-z0-9*]|\Z)|[\u2022\u25cf\u2026]|\.{3}").search
"""Signs that stand for letters of a local part: "j*@example.com" is not j@example.com. A star among
other signs is one of the address."""
_UNREADABLE: Final = "\ufffd"
"""Stands for bytes that are not UTF-8."""
_ASCII: Final = re.compile(r"[\x00-\x7f]+")
_NOT_EMAIL: Final = re.compile(r"[^a-z0-9.@-]")
_EMAIL: Final = re.compile(r"[.-]*[a-z0-9][a-z0-9.-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)*").fullmatch
"""One "@", with a letter or digit before it and a domain after it. The domain needs no dot, as in
AWS-AMC."""


def _phone(text: str, country: str) -> str:
    """Return the digits of E.164 without "+"; the event's country gives a missing calling code.

    All numbers that AWS-AMC's files expect are written so. Its later code knows no country, and
    would read 9876543210 as a number of Iran. Two kinds of numbers give nothing, as in AWS-AMC: one
    that only neighbours could dial (seven digits in the US), and one without a calling code if the
    event has no country. "00" is read as "+" everywhere unless it makes a number of the country.
    """
    text = _without_decimals(text)
    number = None if _MASKED_DIGITS(text) else _possible(text, country)
    if (prefixed := _DOUBLE_ZERO(text)) and not (number and phonenumbers.is_valid_number(number)):
        number = _possible("+" + prefixed[1], "ZZ")
    if number is None or number.national_number == 0 or _is_made_up(number):
        return ""
    number = _from_abroad(text, number) or number
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def international(text: str) -> str:
    """Return what `_phone` makes of a number with "+", a calling code and a possible length.

    This takes a tenth of the time, and needs no country. Empty for a number that only `_phone` can
    read.
    """
    if not _INTERNATIONAL(text):
        return ""
    digits = _NOT_DIGIT.sub("", text)
    for size in (1, 2, 3):
        if (plan := _numbering_plan(digits[:size])) is not None:
            trunk_prefix, lengths = plan
            number = digits[size:]
            is_plain = len(number) in lengths and number[0] != "0" and not trunk_prefix(number)
            return digits if is_plain and not _is_pattern(number) else ""
    return ""


_INTERNATIONAL: Final = re.compile(r"\+[1-9][0-9]*(?:[ ()-]{1,2}[0-9]+){0,8}").fullmatch


@cache
def _numbering_plan(code: str) -> tuple[Callable[[str], object], frozenset[int]] | None:
    """Return what finds a trunk prefix, and the possible lengths of a national number.

    None if there is no such calling code.
    """
    region = phonenumbers.region_code_for_country_code(int(code))
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    if metadata is None or (numbers := metadata.general_desc) is None:
        return None
    lengths = frozenset(numbers.possible_length).difference(numbers.possible_length_local_only)
    return re.compile(metadata.national_prefix_for_parsing or "(?!)").match, lengths


_MASKED_DIGITS: Final = re.compile(r"[xX#]{2}|[._-]{3}|__|\?\?|\u2026|([A-Za-z])\1\1").search
"""Signs that stand for digits: phonenumbers would read a letter as a digit."""
_DOUBLE_ZERO: Final = re.compile(r"[\s(]*00[\s)./-]*([1-9].*)", re.DOTALL).fullmatch


def _is_made_up(number: phonenumbers.PhoneNumber) -> bool:
    """Return whether a number is of one digit or counts up or down, and no network has it."""
    return _is_pattern(str(number.national_number)) and not phonenumbers.is_valid_number(number)


def _is_pattern(digits: str) -> bool:
    return len(set(digits)) == 1 or any(digits in run for run in ("01234567890", "9876543210"))


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
    """Return the number that ``text`` means if it only lacks its "+"; None if ``number`` is right.

    ``number`` is ``text`` read as a national number. Where numbers vary in length, the two readings
    compete: 4915112345678 is also a national number of DE, which would get the calling code twice;
    but 4964721108 of DE has no calling code, by AWS-AMC's files.

    So the first digits are taken for the calling code only if the rest is a mobile number, or if
    they stand alone ("49 (0) 30 1234567"). In addition, national numbers of the country must begin
    with the trunk prefix "0", which this one lacks. (PL has no such prefix: "48 301 30 61" is a
    number of Radom.)
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
"""Characters of the longest number that is read: four times the digits of E.164."""
_FIRST_DIGITS: Final = re.compile(r"[0-9]+").search
_type: Final = phonenumbers.number_type


def _name(text: str, _country: str) -> str:
    """Fold German and Danish letters, then keep only letters and digits.

    Source: AWS-AMC ``default_normalizer``.
    """
    return _NOT_WORD.sub("", _decoded(text).lower().translate(_FOLDED))


_FOLDED: Final = str.maketrans({"ß": "ss", "ä": "ae", "ö": "oe", "ü": "ue", "ø": "o", "æ": "ae"})
_NOT_WORD: Final = re.compile(r"[^a-z0-9]")


def _city(text: str, _country: str) -> str:
    """Keep only ASCII letters and digits, without folding: München becomes mnchen.

    Source: AWS-AMC ``city_normalizer``.
    """
    return _NOT_WORD.sub("", _decoded(text).lower())


def _state(text: str, country: str) -> str:
    """Abbreviate by the country's table; without an entry, cut to two letters.

    Source: AWS-AMC ``state_normalizer``. For countries that it does not know the whole name is
    kept, because many states share two letters (docs/amazon-contract.md#match-key-normalisation).
    A checksum or a token, which has digits among its letters, and the "None" and "NaN" of Python
    give nothing: two letters of them would be another state.
    """
    text = _decoded(text)
    if _NO_STATE(text):
        return ""
    if country not in _REFERENCE:
        return _NOT_WORD.sub("", text.lower())
    letters = _NOT_CAPITAL.sub("", text.upper())
    return STATES.get(country, _NO_TABLE).get(letters, letters[:2]).lower()


_REFERENCE: Final = frozenset({"US", "CA", "GB", "DE", "FR", "ES", "IT", "IN", "JP"})
"""The countries that AWS-AMC knows."""

_NO_STATE: Final = re.compile(r"\W*(?:none|nan|nil)\W*\Z|[^\d]*(?:[^\W\d_]\d|\d[^\W\d_])", re.IGNORECASE).match
_NO_TABLE: Final[Mapping[str, str]] = {}
_NOT_CAPITAL: Final = re.compile(r"[^A-Z]")


def _postal(text: str, country: str) -> str:
    """Cut to the length of the country's codes; empty if the result does not have their form.

    Source: AWS-AMC ``zip_normalizer``; case is kept. For countries that it does not know all
    letters and digits are kept, because its default of five digits would cut or empty good codes.
    Digits of other scripts are read. Digits with letters among them, as in a checksum or a whole
    address, are no code.
    """
    if not text.isascii():
        text = "".join(str(decimal(each, each)) for each in normalize("NFKC", text.translate(_DASHES)))
    dropped, length, shape = _POSTAL.get(country, _OTHER_POSTAL)
    text = _without_decimals(text)
    if dropped is _NOT_DIGIT:
        found = _DIGITS_TOGETHER(text)
        text = found[0] if found else ""
    code = dropped.sub("", text)[:length]
    return code if shape.fullmatch(code) and code.strip("0") else ""


def _without_decimals(text: str) -> str:
    """Return the whole number that a spreadsheet or a column of doubles wrote as a decimal.

    Examples: 2360.0 and 4.155552671E9. Empty if digits are lost, as in 4.15555E+09. Any other text
    is returned as it is.
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
"""A whole number with decimals of zero. Three zeros after one to three digits are thousands
instead."""
_SCIENTIFIC: Final = re.compile(r"\+?([1-9])[.,]([0-9]+)[eE](\+?)([0-9]{1,2})").fullmatch
"""A number in scientific notation. With a "+" digits may be lost, because a spreadsheet writes only
those that fit; Java and JavaScript write all."""
_DASHES: Final = str.maketrans("\u30fc", "-")
"""A letter that keyboards of Japan write between digits."""
_DIGITS_TOGETHER: Final = re.compile(r"[0-9](?:[\W_]*[0-9])*").search
_NOT_ALPHANUMERIC: Final = re.compile(r"[^0-9A-Za-z]")
_NOT_DIGIT: Final = re.compile(r"[^0-9]")
_FIVE_DIGITS: Final = (_NOT_DIGIT, 5, re.compile(r"[0-9]{5}"))
_OTHER_POSTAL: Final = (_NOT_ALPHANUMERIC, None, re.compile(r"[0-9A-Za-z]*"))
_POSTAL: Final[Mapping[str, tuple[re.Pattern[str], int | None, re.Pattern[str]]]] = {
    **dict.fromkeys(("US", "DE", "FR", "ES", "IT"), _FIVE_DIGITS),
    "CA": (_NOT_ALPHANUMERIC, 6, re.compile(r"([A-Za-z][0-9]){3}")),
    "GB": (_NOT_ALPHANUMERIC, 7, re.compile(r"([A-Za-z]{1,2}[0-9]{2,3}|[A-Za-z]{1,2}[0-9][A-Za-z][0-9])[A-Za-z]{2}")),
    "IN": (_NOT_DIGIT, 6, re.compile(r"[0-9]{6}")),
    "JP": (_NOT_DIGIT, 7, re.compile(r"[0-9]{7}")),
}


def _address(text: str, country: str) -> str:
    """Abbreviate an address word by word and join the words.

    Source: AWS-AMC ``address_normalizer``. Accents, apostrophes, slashes and inner dashes are kept.
    The input should hold the street part only (AMZ-NORM). Quotes around it are cut off. Where a
    program wrote "undefined" for one of its parts, nothing is known of it.
    """
    text = _decoded(text)
    if quoted := _QUOTED(text):
        text = quoted[1] or quoted[2]
    words = [word for word in _BETWEEN_WORDS.split(text.upper()) if word]
    if "UNDEFINED" in words:
        return ""
    _split_at_dash(words)
    _split_at_pound(words)
    short = STREETS.get(country, OTHER_STREETS)
    address = "".join(short.get(word, word) for word in words).lower()
    return address if any(map(str.isalnum, address)) else ""


_QUOTED: Final = re.compile(
    r"""[\s=\[{(]*(?:["\u201c\u201d\u201e\u00ab]+(.*?)["\u201c\u201d\u00bb]*[\s\]})]*|'([0-9].*?|.*')'*)""", re.DOTALL
).fullmatch
"""An address as CSV, JSON or a spreadsheet writes it. A single quote may also be an apostrophe."""
_BETWEEN_WORDS: Final = re.compile(r"[\s,.!()\[\]{}]+|\bC/O\b")
_BEHIND_POUND: Final = "0123456789-/" + ascii_uppercase


def _split_at_dash(words: list[str]) -> None:
    """Split "12-B" into "12" and "B"; "12-14" and "A-B" stay.

    The loop stops at the number of words that there was at first, as in AWS-AMC: splits push later
    words beyond it, and those are not split.
    """
    for position in range(len(words)):
        before, _, behind = words[position].rpartition("-")
        if before.isnumeric() and behind and not behind.isnumeric():
            words[position : position + 1] = [before, behind]


def _split_at_pound(words: list[str]) -> None:
    """Split "APT#5" into "APT", "#" and "5", so that "#" becomes "number".

    Two oddities are those of AWS-AMC: characters before the letters and "#" of a word are lost, and
    the loop stops as in `_split_at_dash`.
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
"""The types that are hashed, each with the function that normalises its text for a country."""
