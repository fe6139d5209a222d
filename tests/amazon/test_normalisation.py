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

from connector.amazon.normalisation import PERSONAL, normalised
from connector.amazon.vocabulary import ADS_COUNTRIES

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


MARKETPLACES = "US CA MX BR GB FR IT ES DE NL AE PL TR EG SA SE BE IN ZA JP AU SG".split()  # noqa: SIM905 - docs/amazon-contract.md#endpoint-and-account


@pytest.mark.parametrize("country", MARKETPLACES)
def test_there_are_telephone_numbers_of_every_marketplace_with_a_calling_code_and_no_plus(country: str) -> None:
    given = [vector["given"] for vector in VECTORS if (vector["type"], vector["country"]) == ("PHONE", country)]
    code = str(phonenumbers.country_code_for_region(country))
    assert any(text.isdigit() and text.startswith(code) for text in given)
    assert any(text.startswith(f"{code} ") for text in given)


COUNTRIES = st.sampled_from(["", *REFERENCE, "NL", "BR", "ZZ"]) | st.sampled_from(sorted(ADS_COUNTRIES))
TEXTS = st.text() | st.text("#-/.,!()[]{} c/oAPT12é½ßİ", max_size=30) | st.text("+0123456789() -x", max_size=20)


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
