"""Amazon's enums as tables, and the functions that read other spellings of their constants.

A constant is recognised by its letters and digits alone: "Add to Shopping Cart",
"add-to-shopping-cart" and ``ADD_TO_SHOPPING_CART`` are the same. All constants of an enum differ in
their letters and digits, so nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from connector.nothing import trimmed

__all__ = [
    "ADS_COUNTRIES",
    "ADS_CURRENCIES",
    "ADS_MATCH_KEYS",
    "ADS_SOURCES",
    "CONSENT_STATUSES",
    "CUSTOM_TYPES",
    "EVENTS_CURRENCIES",
    "EVENTS_MATCH_KEYS",
    "EVENTS_SOURCES",
    "EVENT_TYPES",
    "ISO_COUNTRIES",
    "MATCH_KEYS",
    "MAX_TEXT",
    "NOT_ISO",
    "PROCESSING_OPTIONS",
    "PURCHASE",
    "constant",
    "country_code",
]

MAX_TEXT: Final = 64
"""Characters of the longest text that is looked up: far above every constant and label. Bounds the
memory of the caches below."""

_CACHED: Final = 1024
"""Spellings remembered by each cache; a topic has a few dozen."""


@lru_cache(maxsize=_CACHED)
def _squeeze(text: str) -> str:
    return "".join(filter(str.isalnum, text)).upper()


def _by_letters(*constants: str) -> dict[str, str]:
    return {spelling: constant for constant in constants for spelling in (constant, _squeeze(constant))}


def constant(text: str, table: Mapping[str, str]) -> str | None:
    """Return the constant of ``table`` that ``text`` spells; None if it spells none."""
    if spelt := table.get(text):
        return spelt
    return table.get(_squeeze(text)) if len(text) <= MAX_TEXT else None


_LOCALE: Final = re.compile(r"[a-z]{2,3}[-_]([A-Z]{2})")


@lru_cache(maxsize=_CACHED)
def country_code(text: str) -> str:
    """Return ``text`` in the form of a country code: trimmed and in capitals.

    A locale such as "en-US" gives its country, as in Segment (SEG-OLD). Its language must be in
    lower case, because "US-CA" would be Canada otherwise.
    """
    text = trimmed(text)
    locale = _LOCALE.fullmatch(text)
    return locale[1] if locale else text.upper()


PURCHASE: Final = "OFF_AMAZON_PURCHASES"
"""The only event type with currency and units, and the only one whose value is money."""

EVENT_TYPES: Final = _by_letters(
    "ADD_TO_SHOPPING_CART",
    "APPLICATION",
    "CHECKOUT",
    "CONTACT",
    "LEAD",
    "MOBILE_APP_FIRST_START",
    PURCHASE,
    "OTHER",
    "PAGE_VIEW",
    "SEARCH",
    "SIGN_UP",
    "SUBSCRIBE",
)

EVENTS_SOURCES: Final = _by_letters("ANDROID", "FIRE_TV", "IOS", "OFFLINE", "WEBSITE")

_PARTNER: Final = "MEASUREMENT_ATTRIBUTION_PARTNER"
ADS_SOURCES: Final = EVENTS_SOURCES | _by_letters(_PARTNER) | dict.fromkeys(_by_letters("MEASUREMENT_PARTNER"), _PARTNER)
"""Sources of ``ads-v1``. MEASUREMENT_PARTNER is how TEAL and AMP spell one of them; it is sent in
the spelling of OAS (docs/amazon-contract.md#measurement-partner)."""

EVENTS_MATCH_KEYS: Final = frozenset(
    "EMAIL PHONE FIRST_NAME LAST_NAME ADDRESS CITY STATE POSTAL MAID RAMP_ID MATCH_ID".split()  # noqa: SIM905 - a table of codes is read as a table
)

ADS_MATCH_KEYS: Final = EVENTS_MATCH_KEYS | {"REAL_ID", "MERKLE_ID", "KANTAR_ID", "FIP"}

MATCH_KEYS: Final = _by_letters(*sorted(ADS_MATCH_KEYS))

CONSENT_STATUSES: Final = dict.fromkeys(
    ("GRANTED", "TRUE", "YES", "1", "ON", "ENABLED", "OPTED_IN", "OPTEDIN", "OPT_IN", "OPTIN"), "GRANTED"
) | dict.fromkeys(("DENIED", "FALSE", "NO", "0", "OFF", "DISABLED", "OPTED_OUT", "OPTEDOUT", "OPT_OUT", "OPTOUT"), "DENIED")
"""Consent statuses by their spelling in capitals, as Amazon's own templates for tag managers read
them (AMZ-GTM, using the template; AMZ-AAT)."""

CUSTOM_TYPES: Final = _by_letters("STRING", "INTEGER", "TIMESTAMP")
"""Types of custom attributes (OAS DataType). The form of a TIMESTAMP is unknown."""

PROCESSING_OPTIONS: Final = _by_letters("LIMITED_DATA_USE")

ISO_COUNTRIES: Final = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
    CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
    GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
    KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
    MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
    SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
    UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()  # noqa: SIM905 - a table of codes is read as a table
)
"""ISO 3166-1 alpha-2 as OAS CountryCode lists it, without ``UK``."""

NOT_ISO: Final = {"UK": "GB", "EL": "GR"}
"""Codes that the European Union uses for two countries. ISO 3166-1 reserves both and assigns
neither."""

ADS_COUNTRIES: Final = ISO_COUNTRIES | {"ZZ", "OTHER", "OTHER_EEA"}

EVENTS_CURRENCIES: Final = frozenset(
    "AED AUD BRL CAD CNY DKK EUR GBP INR JPY MXN NOK NZD SAR SEK SGD TRY USD".split()  # noqa: SIM905 - a table of codes is read as a table
)

ADS_CURRENCIES: Final = frozenset(
    """
    AED ARS AUD AZN BBD BGN BHD BMD BND BOB BRL BSD CAD CHF CLP CNY COP CRC CZK DKK DOP DZD EGP EUR GBP GHS GTQ HKD HNL
    HRK HUF IDR ILS INR JMD JOD JPY KES KRW KWD KYD KZT LBP LKR MAD MUR MXN MXP MYR NAD NGN NOK NZD PAB PEN PHP PKR PLN
    PYG QAR RON RSD RUB SAR SEK SGD THB TND TRY TTD TWD TZS UAH USD UYU VND XAF XCD XOF XPF ZAR
    """.split()  # noqa: SIM905 - a table of codes is read as a table
)
"""Currencies of ``ads-v1`` (OAS CurrencyCode)."""
