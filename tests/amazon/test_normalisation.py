"""Normalisation, with vectors from other code or from Amazon's texts, never from the connector."""

from __future__ import annotations

import json
import re
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any
from unicodedata import normalize

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.amazon.digests import sha256_digits
from connector.amazon.match_keys import hashed
from connector.amazon.normalisation import PERSONAL, international, normalised
from connector.amazon.vocabulary import ADS_COUNTRIES
from connector.nothing import said

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))["vectors"]
REFERENCE = ("US", "CA", "GB", "DE", "FR", "ES", "IT", "IN", "JP")


def _hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest() if text else ""


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['type']}-{vector['country']}-{vector['given']}")
def test_a_value_is_hashed_as_its_source_says(vector: dict[str, Any]) -> None:
    clear = normalised(vector["type"], vector["given"], vector["country"])
    if "normalised" in vector:  # shows more than two hashes would
        assert clear == vector["normalised"]
    assert _hashed(clear) == vector["sha256"]


def test_there_are_vectors_of_every_type_and_every_country_of_the_reference() -> None:
    counted = Counter((vector["type"], vector["country"]) for vector in VECTORS)
    assert min(counted[kind, country] for kind in PERSONAL for country in REFERENCE) >= 2
    assert {vector["source"] for vector in VECTORS} == {"AWS-AMC", "AWS-AMC code", "OAS", "numbering plan", "choice"}


COUNTRIES = st.sampled_from(["", *REFERENCE, "NL", "BR", "ZZ"]) | st.sampled_from(sorted(ADS_COUNTRIES))
TEXTS = st.text() | st.text("#-/.,!()[]{} c/oAPT12é½ßİ", max_size=30) | st.text("+0123456789() -x", max_size=20)

_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
_EXAMPLES = [
    f"+{example.country_code}{phonenumbers.national_significant_number(example)}"
    for code in _CODES
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    for kind in phonenumbers.PhoneNumberType.values()
    if (example := phonenumbers.example_number_for_type(region, kind)) is not None
]
_DIGITS = st.text("0123456789", min_size=1, max_size=14)
_NUMBERS = (
    st.sampled_from(_EXAMPLES)
    | st.builds("+{}{}".format, st.sampled_from(_CODES), _DIGITS)
    | st.builds("+{}{}{}".format, st.sampled_from(_CODES), st.sampled_from(["0", "00", "1", "8", "9", "15", "01"]), _DIGITS)
    | st.sampled_from(["+2147483647", "+2147483648", "+4294967295", "+1 222 222 2222", "+49 1234567890", "+1 1202 555 0123"])
)


@st.composite
def _written(draw: st.DrawFn) -> str:
    number = draw(_NUMBERS)
    for at in sorted(draw(st.lists(st.integers(1, len(number)), max_size=4)), reverse=True):
        number = number[:at] + draw(st.sampled_from([" ", "-", "(", ")", " (", ") ", "(0)", ".", "  "])) + number[at:]
    return number


@settings(max_examples=3_000, deadline=None)
@given(text=_written() | TEXTS, country=COUNTRIES)
def test_an_international_number_is_what_a_closer_look_makes_of_it(text: str, country: str) -> None:
    if plain := international(text):
        assert normalised("PHONE", text, country) == plain
        assert sha256_digits(text) is None
        assert hashed("PHONE", text, country) == _hashed(plain if said(text) else "")


def test_most_numbers_with_a_plus_need_no_closer_look() -> None:
    plain = [text for text in _EXAMPLES if international(text)]
    assert len(plain) > 0.8 * len(_EXAMPLES)
    assert international("+1 (202) 555-0123") == "12025550123"
    assert international("+49 (0) 30 1234567") == ""
    assert {international(v["given"]) for v in VECTORS if v["type"] == "PHONE"} > {""}


MARKETPLACES = "US CA MX BR GB FR IT ES DE NL AE PL TR EG SA SE BE IN ZA JP AU SG".split()  # noqa: SIM905 - docs/amazon-contract.md#endpoint-and-account


@pytest.mark.parametrize("country", MARKETPLACES)
def test_there_are_telephone_numbers_of_every_marketplace_with_a_calling_code_and_no_plus(country: str) -> None:
    given = [vector["given"] for vector in VECTORS if (vector["type"], vector["country"]) == ("PHONE", country)]
    code = str(phonenumbers.country_code_for_region(country))
    assert any(text.isdigit() and text.startswith(code) for text in given)
    assert any(text.startswith(f"{code} ") for text in given)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(kind=st.sampled_from(sorted(PERSONAL)), text=TEXTS, country=COUNTRIES)
def test_any_text_of_any_country_has_a_normal_form_and_no_blanks(kind: str, text: str, country: str) -> None:
    clear = normalised(kind, text, country)
    assert not re.search(r"\s", clear)
    assert not clear or any(map(str.isalnum, clear))
    assert normalised(kind, f"\t{text} ", country) == clear
    assert normalised(kind, normalize("NFD", text), country) == normalised(kind, normalize("NFC", text), country)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(kind=st.sampled_from(["EMAIL", "FIRST_NAME", "CITY", "POSTAL"]), text=TEXTS, country=COUNTRIES)
def test_a_normal_form_is_its_own(kind: str, text: str, country: str) -> None:
    clear = normalised(kind, text, country)
    assert normalised(kind, clear, country) == clear


@pytest.mark.parametrize("kind", sorted(PERSONAL))
def test_a_text_longer_than_any_identifier_is_none(kind: str) -> None:
    accents = "a" + "\u0301\u0316" * 500_000  # of which NFC would take minutes
    assert normalised(kind, accents, "US") == ""
