"""What is wrong with one event: the rules that it breaks, and what was adjusted.

A broken rule makes the event a dead letter. An adjustment does not: an optional field that Amazon
would refuse is left out or changed, so that the conversion itself still counts. Neither ever holds
a value of the event.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from connector.model import Flaw, Reason

__all__ = ["Adjustment", "Findings"]

_MOST_NAMED: Final = 20
"""How many broken rules a detail names. It travels in a Kafka header, and an event may hold a
hundred bad match keys."""


class Adjustment(StrEnum):
    """A change made so that Amazon takes the event. The value is the counter's label."""

    DEDUPE_ID_LEFT_OUT = "dedupe-id-left-out"
    COUNTRY_READ = "country-read"
    VALUE_ROUNDED = "value-rounded"
    VALUE_LEFT_OUT = "value-left-out"
    CURRENCY_LEFT_OUT = "currency-left-out"
    UNITS_LEFT_OUT = "units-left-out"
    MATCH_KEY_LEFT_OUT = "match-key-left-out"
    CONSENT_LEFT_OUT = "consent-left-out"
    CONSENT_DENIED = "consent-denied"
    CUSTOM_ATTRIBUTE_LEFT_OUT = "custom-attribute-left-out"
    USER_AGENT_LEFT_OUT = "user-agent-left-out"
    MEASUREMENT_TOKENS_LEFT_OUT = "measurement-tokens-left-out"
    AD_EVENT_KEY_LEFT_OUT = "ad-event-key-left-out"
    PARTNER_LEFT_OUT = "partner-left-out"
    DATA_SET_LEFT_OUT = "data-set-left-out"


class Findings:
    """Broken rules and adjustments of one event, in the order in which they were found."""

    __slots__ = ("adjustments", "broken")

    def __init__(self) -> None:
        self.broken: list[tuple[Reason, str]] = []
        self.adjustments: list[Adjustment] = []

    def missing(self, name: str) -> None:
        """Note that a required field is not there, or blank."""
        self.broken.append((Reason.MISSING_FIELD, f"{name}: required"))

    def invalid(self, name: str, rule: str) -> None:
        """Note that a field breaks a rule, worded without its value."""
        self.broken.append((Reason.INVALID_FIELD, f"{name}: {rule}"))

    def flaw(self) -> Flaw:
        """Return the flaw: the reason of the first broken rule, the texts of all."""
        named = [rule for _, rule in self.broken[:_MOST_NAMED]]
        if more := len(self.broken) - len(named):
            named.append(f"and {more} more")
        return Flaw(self.broken[0][0], "; ".join(named))
