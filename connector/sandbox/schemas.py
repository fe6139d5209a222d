"""The two contracts as JSON Schemas of one event (draft 2020-12): no other field is accepted.

They are written from docs/amazon-contract.md alone, independently of ``connector/amazon``. The
schema of ``adsApi/v1`` has every field, set and limit of Amazon's OpenAPI text
(tests/sandbox/test_openapi.py compares them), and what other sources require besides. Where sources
contradict each other, the stricter reading is taken, because an event that passes it passes the
other one too. Rules that depend on the clock or the account are in `connector.sandbox.contract`.
"""

from __future__ import annotations

from connector.sandbox import enumerations as sets
from connector.sandbox.checks import Schema

__all__ = ["ADS_EVENT", "EVENTS_EVENT"]


def _record(required: Schema, optional: Schema, *conditions: Schema) -> Schema:
    schema: Schema = {
        "type": "object",
        "required": list(required),
        "properties": required | optional,
        "additionalProperties": False,
    }
    return schema | ({"allOf": list(conditions)} if conditions else {})


def _one_of(values: frozenset[str]) -> Schema:
    return {"type": "string", "enum": sorted(values)}


def _is(field: str, values: frozenset[str]) -> Schema:
    """Return the schema of an object with one of these values in a field."""
    return {"required": [field], "properties": {field: {"enum": sorted(values)}}}


def _where(condition: Schema, properties: Schema) -> Schema:
    """Return the schema of the properties of an object for which a condition holds."""
    return {"if": condition, "then": {"properties": properties}}


_TEXT: Schema = {"type": "string", "minLength": 1}
_WORD: Schema = _TEXT | {"pattern": "^[A-Za-z0-9_]+$"}
_AMOUNT: Schema = {"type": "number", "multipleOf": 0.01}
_OPTION = _one_of(frozenset({"LIMITED_DATA_USE"}))
_CONSENT_STATE = _one_of(sets.CONSENT_STATES)

_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"


def _time(fraction: str) -> Schema:
    pattern = f"^{_DATE}T{_CLOCK}:[0-5][0-9]{fraction}(Z|[+-]{_CLOCK})$"
    return {"type": "string", "format": "date-time", "pattern": pattern, "x-rule": "time-form"}


_HASH: Schema = {
    "allOf": [
        {"pattern": "^[0-9A-Fa-f]{64}$", "x-rule": "clear-match-key"},
        {"pattern": "^[^A-F]*$", "x-rule": "upper-case-hash"},
    ]
}
"""Lower-case SHA-256. Whether Amazon takes capitals is unknown (docs/amazon-contract.md#unknown),
so they are refused."""


def _match_keys(types: frozenset[str]) -> Schema:
    """Return the schema of an event's match keys: hashed if they identify a person, raw otherwise.

    There may be as many keys as there are types. See docs/amazon-contract.md#match-keys.
    """

    def values_of(types: frozenset[str], one: Schema) -> Schema:
        return _where(_is("type", types), {"values": {"items": one}})

    key = _record(
        {"type": _one_of(types), "values": {"type": "array", "minItems": 1, "maxItems": 1, "items": _TEXT}},
        {},
        values_of(sets.HASHED_TYPES, _HASH),
        values_of(frozenset({"MATCH_ID"}), {"pattern": "^[A-Za-z0-9]+$", "maxLength": 100}),  # AMZ-GTM
        *([values_of(frozenset({"FIP"}), {"format": "ip", "x-rule": "not-an-address"})] if "FIP" in types else []),
    )
    return {"type": "array", "minItems": 1, "maxItems": len(types), "items": key}


def _consent(amazon: Schema) -> Schema:
    return _record({}, {"geo": _record({"ipAddress": _TEXT}, {}), "amazonConsent": amazon, "tcf": _TEXT, "gpp": _TEXT})


_PURCHASE = frozenset({"OFF_AMAZON_PURCHASES"})
_NOT_NEGATIVE: Schema = {"value": {"minimum": 0, "x-rule": "negative"}}
_OTHER_TYPES = sets.EVENT_TYPES - _PURCHASE
_NO_MONEY: Schema = {name: {"not": {}, "x-rule": "purchases-only"} for name in ("currencyCode", "unitsSold")}
"""Fields for purchases only (docs/amazon-contract.md#request-of-events-v1). For the currency in
``adsApi/v1`` the sources are SEED and Segment. With an unknown event type the rule does not
apply."""

EVENTS_EVENT: Schema = _record(
    {
        "name": _TEXT,
        "eventType": _one_of(sets.EVENT_TYPES),
        "eventActionSource": _one_of(sets.EVENTS_SOURCES),
        "countryCode": _one_of(sets.EVENTS_COUNTRIES),
        "timestamp": _time(""),
        "matchKeys": _match_keys(sets.EVENTS_MATCH_KEY_TYPES),
    },
    {
        "value": _AMOUNT,
        "currencyCode": _one_of(sets.EVENTS_CURRENCIES),
        "unitsSold": {"type": "integer", "x-whole": True, "minimum": -(2**63), "maximum": 2**63 - 1},
        "clientDedupeId": _TEXT,
        "dataProcessingOptions": {"type": "array", "items": _OPTION},
        "consent": _consent(_record({"amznAdStorage": _CONSENT_STATE, "amznUserData": _CONSENT_STATE}, {})),
        "customAttributes": {"type": "array", "items": _record({"name": _WORD, "value": _TEXT | {"maxLength": 256}}, {})},
    },
    _where(_is("eventType", _PURCHASE), _NOT_NEGATIVE),
    _where(_is("eventType", _OTHER_TYPES), _NO_MONEY),
)
"""Source: docs/amazon-contract.md#request-of-events-v1."""

_DIGITS: Schema = {"value": {"pattern": "^[0-9]+$"}}
"""The value of an INTEGER. It has no sign, because a value may contain only letters, digits and
underscores."""
_INT32: Schema = {
    "value": {
        "pattern": "^0*([0-9]{1,9}|1[0-9]{9}|20[0-9]{8}|21[0-3][0-9]{7}|214[0-6][0-9]{6}|2147[0-3][0-9]{5}"
        "|21474[0-7][0-9]{4}|214748[0-2][0-9]{3}|2147483[0-5][0-9]{2}|21474836[0-3][0-9]|214748364[0-7])$",
        "x-rule": "out-of-range",
    }
}
"""The maximum value of an INTEGER: 2147483647 (OAS ``DataType``: 32 bits, signed)."""
_INTEGER = frozenset({"INTEGER"})
_PAIR = "[A-Za-z0-9]{10}\\.[0-9]{13}"


def _describing(types: frozenset[str]) -> Schema:
    return {"required": ["eventDescription"], "properties": {"eventDescription": _is("conversionType", types)}}


ADS_EVENT: Schema = _record(
    {
        "eventDescription": _record(
            {
                "name": _TEXT,
                "conversionType": _one_of(sets.EVENT_TYPES),
                "eventSource": _one_of(sets.ADS_SOURCES),
                "eventIngestionMethod": _one_of(frozenset({"SERVER_TO_SERVER"})),
            },
            {"dataSetName": _TEXT | {"pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "maxLength": 100}},
        ),
        "countryCode": _one_of(sets.ADS_COUNTRIES),
        "eventTime": _time("(\\.[0-9]{1,9})?"),
        "matchKeys": _match_keys(sets.ADS_MATCH_KEY_TYPES),
    },
    {
        "value": _AMOUNT,
        "currencyCode": _one_of(sets.ADS_CURRENCIES),
        "unitsSold": {"type": "integer", "x-whole": True, "minimum": -(2**31), "maximum": 2**31 - 1},
        "eventId": _TEXT,
        "dataProcessingOptions": _record({}, {"options": _OPTION}),
        "consent": _consent(_record({"amznUserData": _CONSENT_STATE}, {"amznAdStorage": _CONSENT_STATE})),
        "customData": {
            "type": "array",
            "maxItems": 13,
            "items": _record(
                {"name": _WORD, "value": _WORD},
                {"dataType": _one_of(sets.CUSTOM_TYPES)},
                _where(_is("dataType", _INTEGER), _DIGITS),
                _where(_is("dataType", _INTEGER), _INT32),
            ),
        },
        "deviceInfo": _record({}, {"userAgent": _TEXT | {"maxLength": 512}}),
        "arefMeasurementTokens": _TEXT | {"pattern": f"^{_PAIR}(\\|{_PAIR})*$"},
        "amazonAdEventKey": _TEXT,
        "partner": _TEXT,
    },
    _where(_describing(_PURCHASE), _NOT_NEGATIVE),
    _where(_describing(_OTHER_TYPES), _NO_MONEY),
)
"""Source: docs/amazon-contract.md#request-of-ads-v1."""
