"""The base of the two wire contracts: turns the inputs of an event into the bytes to send.

A contract says where requests go, what it accepts (`Contract.limits`) and how it lays out the
fields of an event (`Contract.shaped`). Everything else is the same for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

import orjson

from connector.amazon.answers import read_answer
from connector.amazon.findings import Findings
from connector.amazon.regions import EU
from connector.amazon.rules import FieldRules, Fields, Limits, WithoutConsent
from connector.model import Answer, Flaw

__all__ = ["Contract", "optional_fields"]


class Contract(ABC):
    """A ``ports.WireContract`` for one advertiser account.

    ``region`` is a key of ``regions.REGIONS``. ``without_consent`` decides about events without
    consent if the region requires one. ``adjustments`` counts, by `Adjustment`, what was left out
    or changed.
    """

    path: ClassVar[str]
    prefix: ClassVar[bytes]
    suffix: ClassVar[bytes] = b"]}"
    limits: ClassVar[Limits]
    first_index: ClassVar[int]
    """The number that an answer gives to the first event of a request."""

    def __init__(
        self,
        account_id: str,
        client_id: str,
        region: str,
        without_consent: WithoutConsent = WithoutConsent.DEAD_LETTER,
    ) -> None:
        self._account_id = account_id
        self._client_id = client_id
        self._rules = FieldRules(self.limits, without_consent if region == EU else None)
        self.adjustments = self._rules.adjustments

    @property
    def requires_consent(self) -> bool:
        """Whether an event without consent is a dead letter, or is sent as denied."""
        return self._rules.requires_consent

    @abstractmethod
    def headers(self, access_token: str) -> dict[str, str]:
        """Return the headers of a request."""

    @abstractmethod
    def shaped(self, fields: Fields, dedupe_id: str) -> dict[str, object]:
        """Return the fields of an event in the layout of the contract."""

    def encode(self, inputs: Mapping[str, object], dedupe_id: str) -> bytes | Flaw:
        """Encode one event, or name every rule that it breaks."""
        fields = self._rules.clean(inputs, dedupe_id)
        if isinstance(fields, Flaw):
            return fields
        event = self.shaped(fields, dedupe_id)
        try:
            return orjson.dumps(event)
        except TypeError:
            return _not_unicode(inputs, dedupe_id)

    def read(self, status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        """Read the answer to a request of ``count`` events."""
        return read_answer(status, headers, body, count, first_index=self.first_index)


def optional_fields(fields: Fields, limited_data_use: object) -> dict[str, object]:
    """Return the optional fields of an event that have the same name in both contracts."""
    found: dict[str, object] = {}
    if fields.value is not None:
        found["value"] = fields.value
    if fields.currency is not None:
        found["currencyCode"] = fields.currency
    if fields.units is not None:
        found["unitsSold"] = fields.units
    if fields.limited_data_use:
        found["dataProcessingOptions"] = limited_data_use
    if fields.consent:
        found["consent"] = fields.consent
    return found


_FREE_TEXTS: Final = (
    "name",
    "matchKeys",
    "consent",
    "customAttributes",
    "customData",
    "userAgent",
    "amazonAdEventKey",
    "partner",
)
"""The inputs whose text reaches the request. Every other input becomes a constant, number or
time."""


def _not_unicode(inputs: Mapping[str, object], dedupe_id: str) -> Flaw:
    """Name the inputs with a lone surrogate, which is not Unicode and which JSON cannot hold."""
    found = Findings()
    for name, value in {"clientDedupeId": dedupe_id, **{name: inputs.get(name) for name in _FREE_TEXTS}}.items():
        try:
            orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:
            found.invalid(name, "not Unicode text")
    return found.flaw()
