"""The closed sets of values in Amazon's two wire contracts: the sandbox refuses any other value.

They are those of docs/amazon-contract.md#request-of-events-v1 and
docs/amazon-contract.md#request-of-ads-v1. Where these only give a number (countries, currencies),
the set is that of the OpenAPI text (OAS). ``connector/amazon`` has the same sets, on purpose:
shared sets could not reveal a mistake.
"""

from __future__ import annotations

__all__ = [
    "ADS_COUNTRIES",
    "ADS_CURRENCIES",
    "ADS_MATCH_KEY_TYPES",
    "ADS_SOURCES",
    "CONSENT_STATES",
    "CUSTOM_TYPES",
    "EVENTS_COUNTRIES",
    "EVENTS_CURRENCIES",
    "EVENTS_MATCH_KEY_TYPES",
    "EVENTS_SOURCES",
    "EVENT_TYPES",
    "HASHED_TYPES",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EVENT_TYPES = _words(
    """
    ADD_TO_SHOPPING_CART APPLICATION CHECKOUT CONTACT LEAD OFF_AMAZON_PURCHASES MOBILE_APP_FIRST_START PAGE_VIEW SEARCH
    SIGN_UP SUBSCRIBE OTHER
    """,
)
"""``eventType`` in docs/amazon-contract.md#request-of-events-v1; adsApi/v1 has the same twelve as
``conversionType``."""

EVENTS_SOURCES = _words("ANDROID FIRE_TV IOS OFFLINE WEBSITE")
"""``eventActionSource`` in docs/amazon-contract.md#request-of-events-v1. The ancestor, which is
deprecated, has FIRE_TABLET as well."""

ADS_SOURCES = EVENTS_SOURCES | {"MEASUREMENT_ATTRIBUTION_PARTNER"}
"""``eventSource``, in Amazon's own spelling and not in the vendors'
(docs/amazon-contract.md#measurement-partner)."""

HASHED_TYPES = _words("EMAIL PHONE FIRST_NAME LAST_NAME ADDRESS CITY STATE POSTAL")
"""Types that identify a person, sent as SHA-256 only (docs/amazon-contract.md#match-keys)."""

EVENTS_MATCH_KEY_TYPES = HASHED_TYPES | {"MAID", "RAMP_ID", "MATCH_ID"}
"""The eleven types of docs/amazon-contract.md#request-of-events-v1. An event may have as many
keys."""

ADS_MATCH_KEY_TYPES = EVENTS_MATCH_KEY_TYPES | {"REAL_ID", "MERKLE_ID", "KANTAR_ID", "FIP"}
"""The fifteen types of docs/amazon-contract.md#request-of-ads-v1. An event may have as many
keys."""

CONSENT_STATES = frozenset({"GRANTED", "DENIED"})
"""Values of ``consent.amazonConsent`` (docs/amazon-contract.md#request-of-ads-v1)."""

CUSTOM_TYPES = frozenset({"STRING", "INTEGER", "TIMESTAMP"})
"""``customData[].dataType`` in docs/amazon-contract.md#request-of-ads-v1."""

EVENTS_COUNTRIES = _words(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
    CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
    GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
    KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
    MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
    SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
    UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """,
)
"""``countryCode`` in docs/amazon-contract.md#request-of-events-v1: the 249 codes of ISO 3166-1
alpha-2, with GB and without UK."""

ADS_COUNTRIES = EVENTS_COUNTRIES | {"ZZ", "OTHER", "OTHER_EEA"}
"""OAS ``CountryCode``: the 252 codes of docs/amazon-contract.md#request-of-ads-v1."""

EVENTS_CURRENCIES = _words("AED AUD BRL CAD CNY EUR GBP INR JPY MXN SAR SEK SGD TRY USD DKK NOK NZD")
"""``currencyCode`` in docs/amazon-contract.md#request-of-events-v1: eighteen codes."""

ADS_CURRENCIES = _words(
    """
    AED ARS AUD AZN BBD BGN BHD BMD BND BOB BRL BSD CAD CHF CLP CNY COP CRC CZK DKK DOP DZD EGP EUR GBP GHS GTQ HKD HNL
    HRK HUF IDR ILS INR JMD JOD JPY KES KRW KWD KYD KZT LBP LKR MAD MUR MXN MXP MYR NAD NGN NOK NZD PAB PEN PHP PKR PLN
    PYG QAR RON RSD RUB SAR SEK SGD THB TND TRY TTD TWD TZS UAH USD UYU VND XAF XCD XOF XPF ZAR
    """,
)
"""OAS ``CurrencyCode``: 81 codes."""
