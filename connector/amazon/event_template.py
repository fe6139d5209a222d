"""What the native codec has to know of a wire contract, found by trying the contract out.

The codec knows Avro and JSON, and nothing of Amazon. It learns the layout of an event from an event
of marks that the contract has encoded. What becomes of a field it learns from the field rules: they
clean an event in which only that field may be wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from connector.amazon.addresses import LOCAL_NETWORKS
from connector.amazon.contract import Contract
from connector.amazon.match_keys import hashed
from connector.amazon.normalisation import PERSONAL
from connector.amazon.rules import FieldRules, Fields
from connector.amazon.vocabulary import PURCHASE
from connector.model import Flaw

__all__ = ["EventTemplate"]

_DIGEST: Final = "1a" * 32
_PROBE: Final[dict[str, object]] = {
    "name": "probe",
    "eventType": PURCHASE,
    "eventActionSource": "WEBSITE",
    "timestamp": 0,
    "countryCode": "US",
    "matchKeys": [{"type": "EMAIL", "value": _DIGEST}],
}
"""An event about which no rule of either contract has anything to say."""

_ORDINARY, _PURCHASE = 0, 1
"""Kinds of event types, by the codec's numbers."""
_HASHED, _RAW, _MATCH_ID, _EMAIL, _NAME = 1, 2, 3, 4, 5
"""Kinds of match key types: how the value is sent. The last two are hashed, too, and of plain
values the codec makes the hash itself."""
_PLAIN: Final[Mapping[object, int]] = {"EMAIL": _EMAIL, "FIRST_NAME": _NAME, "LAST_NAME": _NAME, "CITY": _NAME}
"""Types whose plain values are only turned into lower case, or stripped of what is between
letters."""
_OTHER, _INTEGER = 0, 1
"""Kinds of custom data types."""

_TRAFFIC: Final = ("userAgent", "arefMeasurementTokens", "amazonAdEventKey", "partner")

_ANY_TEXT: Final = "any text: é"
"""A value of a custom attribute with more than letters, digits and underscores."""


class EventTemplate:
    """The layout of a contract's events, and its rules for single fields.

    A value that breaks a rule or is adjusted by one is left to the contract itself: the methods
    return None for it.
    """

    def __init__(self, contract: Contract) -> None:
        self._rules = FieldRules(contract.limits, None)  # its own rules, because its adjustments are nobody's
        dedupe_id = _mark("clientDedupeId")
        full: Any = contract.shaped(_marked(with_optional=True), dedupe_id)
        required = contract.shaped(_marked(with_optional=False), dedupe_id).keys()
        self._limited_data_use = orjson.dumps(full["dataProcessingOptions"])
        attribute = next(value for name, value in full.items() if name not in required and _is_list_of_dicts(value))[0]
        self.pieces, self.tail = _pieces(full, required)
        """For each input, the bytes before it, its name, and the bytes after it; then the bytes at
        the end of the event."""
        probe = self._cleaned({})
        if probe is None:
            raise ValueError("the rules have something to say about the probe")
        self.match_key = _split(probe.match_keys[0], "EMAIL", _DIGEST)
        """The bytes around a match key's type and value."""
        self.attribute = _split_attribute(attribute)
        """The bytes before a custom attribute's name, its type if that is sent, and its value, and
        those at the end."""
        limits = contract.limits
        self.most_match_keys = limits.most_match_keys
        self.most_attributes = limits.custom.most
        self.any_attribute_text = bool(limits.custom.value(_ANY_TEXT))
        self.consent_is_a_pair = limits.amazon_consent_is_a_pair
        self.consent_is_required = contract.requires_consent
        self.local_networks = [(int(each.network_address), int(each.netmask)) for each in LOCAL_NETWORKS]

    def made(self, name: str, value: object) -> tuple[bytes, int] | None:
        """Return the JSON of an input and its kind. The JSON is empty if the input is not sent."""
        fields = self._cleaned({name: value})
        if fields is None:
            return None
        match name:
            case "name":
                return orjson.dumps(fields.name), 0
            case "eventType":
                return orjson.dumps(fields.event_type), _PURCHASE if fields.event_type == PURCHASE else _ORDINARY
            case "eventActionSource":
                return orjson.dumps(fields.source), 0
            case "countryCode":
                return orjson.dumps(fields.country), 0
            case "currencyCode":
                return b"" if fields.currency is None else orjson.dumps(fields.currency), 0
            case "dataProcessingOptions":
                return self._limited_data_use if fields.limited_data_use else b"", 0
        return None

    def match_key_type(self, given: object) -> tuple[bytes, int] | None:
        """Return the JSON of a match key's type and its kind, which says how its value is sent."""
        fields = self._cleaned({"matchKeys": [{"type": given, "value": _DIGEST}]})
        if fields is None:
            return None
        kind = fields.match_keys[0]["type"]
        if kind in PERSONAL:
            return orjson.dumps(kind), _PLAIN.get(kind, _HASHED)
        return orjson.dumps(kind), _MATCH_ID if kind == "MATCH_ID" else _RAW

    @staticmethod
    def hashes(keys: Sequence[tuple[str, str, bytes]]) -> list[str]:
        """Return the hashes of personal identifiers that are not hashed yet.

        Each is given as its type, its text, and the country in JSON. The hash is empty for an
        identifier that is left out, or that a rule cannot read.
        """
        return [_hash(*key) for key in keys]

    def data_type(self, given: object) -> tuple[bytes, int] | None:
        """Return the JSON of a type of custom data and its kind: whether it takes only numbers."""
        fields = self._cleaned({"customData": [{"name": "a", "value": "1", "dataType": given}]})
        if fields is None:
            return None
        kind = fields.custom[0][1]
        return orjson.dumps(kind), _INTEGER if kind == "INTEGER" else _OTHER

    def _cleaned(self, inputs: dict[str, object]) -> Fields | None:
        before = self._rules.adjustments.total()
        fields = self._rules.clean(_PROBE | inputs)
        return None if isinstance(fields, Flaw) or self._rules.adjustments.total() > before else fields


def _hash(kind: str, value: str, country: bytes) -> str:
    try:
        return hashed(kind, value, orjson.loads(country))
    except Exception:  # noqa: BLE001 - Python meets it again, and says what it is
        return ""


def _mark(name: str) -> Any:
    """Return a text that stands for an input, and that occurs nowhere else."""
    return f"\x00{name}\x00"


def _marked(*, with_optional: bool) -> Fields:
    return Fields(
        name=_mark("name"),
        event_type=_mark("eventType"),
        source=_mark("eventActionSource"),
        time=_mark("timestamp"),
        match_keys=_mark("matchKeys"),
        value=_mark("value") if with_optional else None,
        currency=_mark("currencyCode") if with_optional else None,
        units=_mark("unitsSold") if with_optional else None,
        country=_mark("countryCode"),
        limited_data_use=with_optional,
        consent=_mark("consent") if with_optional else None,
        custom=[(_mark("attribute"), _mark("type"), _mark("text"))] if with_optional else [],
        traffic={name: _mark(name) for name in _TRAFFIC} if with_optional else None,
        data_set=None,
    )


def _is_list_of_dicts(value: object) -> bool:
    return isinstance(value, list) and isinstance(value[0], dict)


def _pieces(full: dict[str, Any], required: Collection[str]) -> tuple[list[tuple[bytes, str, bytes]], bytes]:
    """Return each input with the bytes before and after it, and the bytes at the end."""
    pieces: list[tuple[bytes, str, bytes]] = []
    lead = b"{"
    for name, value in full.items():
        if pieces:
            lead += b","
        lead += orjson.dumps(name) + b":"
        *marked, (trail, _) = _split_at_marks(orjson.dumps(value))
        if name in required:
            for before, each in marked:
                pieces.append((lead + before, each, b""))
                lead = b""
            lead += trail
        else:
            if lead[:1] != b",":
                raise ValueError("an optional field follows a field that is not an input")
            if _is_list_of_dicts(value):
                pieces.append((lead, "customAttributes", b""))
            elif marked:
                pieces.append((lead + marked[0][0], marked[0][1], trail))
            else:
                pieces.append((lead, "dataProcessingOptions", b""))
            lead = b""
    return pieces, lead + b"}"


def _split_at_marks(json: bytes) -> Iterator[tuple[bytes, str]]:
    parts = json.split(_EDGE)
    for at in range(0, len(parts) - 1, 2):
        before, name = parts[at], parts[at + 1].decode()
        yield before.removesuffix(b'"') if at == 0 else before[1:].removesuffix(b'"'), name
    yield parts[-1][1:] if len(parts) > 1 else parts[-1], ""


_EDGE: Final = rb"\u0000"


def _split(value: object, *texts: str) -> tuple[bytes, ...]:
    """Return the bytes around texts in the JSON of a value."""
    rest, around = orjson.dumps(value), []
    for text in texts:
        before, found, rest = rest.partition(orjson.dumps(text))
        if not found:
            raise ValueError("a text is not where it was put")
        around.append(before)
    return (*around, rest)


def _split_attribute(attribute: object) -> tuple[bytes, bytes | None, bytes, bytes]:
    name, kind, text = (_mark(each) for each in ("attribute", "type", "text"))
    if orjson.dumps(kind) not in orjson.dumps(attribute):
        before, between, end = _split(attribute, name, text)
        return before, None, between, end
    before, before_kind, before_text, end = _split(attribute, name, kind, text)
    return before, before_kind, before_text, end
