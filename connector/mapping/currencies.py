"""The minor units of currencies: how many digits stand behind the decimal point of an amount.

Source: ISO 4217, "List one: current currency & funds code list", which SIX maintains
(https://www.six-group.com/en/products-services/financial-information/data-standards.html), as of
February 2026. Codes without a minor unit in the list, such as gold and those for tests, are not
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["MINOR_DIGITS"]

_BY_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP
    COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
    JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN
    NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL
    THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_WITHDRAWN: Final = "BGN HRK MXP"
"""Codes that the list no longer has, but Amazon still takes. Each has two digits."""

MINOR_DIGITS: Final[Mapping[str, int]] = {
    **{code: digits for digits, codes in _BY_DIGITS.items() for code in codes.split()},
    **dict.fromkeys(_WITHDRAWN.split(), 2),
}
"""Digits behind the decimal point, by the code of a currency."""
