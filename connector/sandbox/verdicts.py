"""From the events of a request to the verdicts on them, as the record keeps them and as Amazon words them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from connector.sandbox.checks import Flaw, Rule
from connector.sandbox.contract import Contract, Limits, judge
from connector.sandbox.faults import Faults
from connector.sandbox.record import ACCEPTED, DIGEST_BYTES, REJECTED, Judgement

__all__ = ["Events", "Judged", "judge_events", "read_events"]

_MAX_ERRORS = 20
"""Errors of one item (section 5.2)."""


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one request, in their order."""

    parsed: list[object]
    canonical: list[bytes]
    """Each event with its keys sorted: equal for equal content, whatever the order of fields and the blanks."""
    ids: list[str | None]
    digests: list[bytes]


@dataclass(slots=True)
class Judged:
    """Verdicts on the events of one request."""

    judgements: dict[int, Judgement] = field(default_factory=dict)
    """By position; an event that is not here was accepted."""
    clear_match_keys: int = 0
    """Values of a person's data that were not hashed."""
    success: list[dict[str, object]] = field(default_factory=list)
    error: list[dict[str, object]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """Return the body of the answer (sections 5.1 and 5.2)."""
        return orjson.dumps({"success": self.success, "error": self.error})


def read_events(contract: Contract, parsed: list[object]) -> Events:
    """Take ids and digests of parsed events."""
    canonical = [_canonical(event) for event in parsed]
    digests = [blake2b(event, digest_size=DIGEST_BYTES).digest() for event in canonical]
    return Events(parsed, canonical, [contract.id_of(event) for event in parsed], digests)


def _canonical(event: object) -> bytes:
    try:
        return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # Nested deeper than orjson writes (it reads deeper). No contract nests so: the event is rejected, never echoed.
        return b"nested too deeply"


def judge_events(contract: Contract, events: Events, *, now_ms: int, limits: Limits, faults: Faults, ordinal: int) -> Judged:
    """Judge every event of a request.

    ``now_ms``: milliseconds since 1970 UTC; ``ordinal``: the request's, within the fault plan.
    """
    judged = Judged()
    for index, event in enumerate(events.parsed):
        flaws = judge(contract, event, now_ms, limits)
        fault = None if flaws else faults.of_event(ordinal, index, events.digests[index], contract.name_of(event))
        match fault:
            case "reject":
                flaws = (Flaw("", Rule.FAULT_REJECT),)
            case "retry":
                flaws = (Flaw("", Rule.FAULT_RETRY),)
            case "omit":
                judged.judgements[index] = Judgement(ACCEPTED, fault=fault)
                continue
        if not flaws:
            judged.success.append(_accepted(contract, index, events.canonical[index]))
            continue
        judged.clear_match_keys += sum(flaw.rule is Rule.CLEAR_MATCH_KEY for flaw in flaws)
        judged.error.append(_refused(contract, index, flaws[:_MAX_ERRORS], ordinal))
        codes = tuple(flaw.rule.code for flaw in flaws)
        judged.judgements[index] = Judgement(REJECTED, codes, tuple(map(_tell, flaws)), fault)
    return judged


def _tell(flaw: Flaw) -> str:
    return f"{flaw.place} {flaw.rule.label}".lstrip()


def _accepted(contract: Contract, index: int, canonical: bytes) -> dict[str, object]:
    if contract.first_index == 1:
        return {"index": index + 1, "message": None}
    return {"index": index, "event": orjson.Fragment(canonical)}


def _refused(contract: Contract, index: int, flaws: tuple[Flaw, ...], ordinal: int) -> dict[str, object]:
    if contract.first_index == 1:
        status = 500 if flaws[0].rule is Rule.FAULT_RETRY else 400
        return {
            "index": index + 1,
            "httpStatusCode": str(status),
            "itemRequestId": f"sandbox-{ordinal}-{index}",
            "subErrors": [
                {
                    "errorCode": status,
                    "errorType": flaw.rule.code,
                    "errorMessage": f"{flaw.place} {flaw.rule.message}".lstrip(),
                }
                for flaw in flaws
            ],
        }
    return {"index": index, "errors": [_error(contract, index, flaw) for flaw in flaws]}


def _error(contract: Contract, index: int, flaw: Flaw) -> dict[str, object]:
    location = f"{contract.wrapper}[{index}]" + (f".{flaw.place}" if flaw.place else "")
    return {"code": flaw.rule.code, "message": f"{flaw.place} {flaw.rule.message}".lstrip(), "fieldLocation": location}
