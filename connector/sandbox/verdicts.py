"""Judges the events of a request: verdicts for the record, and the answer in Amazon's words.

Pure: no clock and no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from connector.sandbox.checks import Rule, Violation
from connector.sandbox.contract import EventLimits, SandboxContract, judge
from connector.sandbox.faults import EventFault, Faults, RequestFault
from connector.sandbox.record import ACCEPTED, DIGEST_BYTES, REJECTED, Judgement

__all__ = ["Events", "Judged", "judge_events", "read_events"]

_MAX_ERRORS = 20
"""Maximum errors of one item (docs/amazon-contract.md#answer-of-ads-v1)."""


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one request, in their order."""

    parsed: list[object]
    canonical: list[bytes]
    """Each event as JSON with sorted keys and without blanks, so it is equal for equal content."""
    ids: list[str | None]
    digests: list[bytes]

    def times(self, contract: SandboxContract) -> list[str]:
        """Return the times of the events, as they give them; empty for an event without one."""
        texts = (event.get(contract.time_field) if type(event) is dict else None for event in self.parsed)
        return [text if type(text) is str else "" for text in texts]


@dataclass(slots=True)
class Judged:
    """Verdicts on the events of one request."""

    judgements: dict[int, Judgement] = field(default_factory=dict)
    """Judgements by position; an event that is not here was accepted."""
    sunk: bool = False
    """Whether the request is refused as a whole because of one event."""
    clear_match_keys: int = 0
    """Number of match-key values that were a person's data in clear."""
    success: list[dict[str, object]] = field(default_factory=list)
    error: list[dict[str, object]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """Return the body of the answer (docs/amazon-contract.md#answers)."""
        return orjson.dumps({"success": self.success, "error": self.error})


def read_events(contract: SandboxContract, parsed: list[object]) -> Events:
    """Return parsed events with their ids and digests."""
    canonical = [_canonical(event) for event in parsed]
    digests = [blake2b(event, digest_size=DIGEST_BYTES).digest() for event in canonical]
    return Events(parsed, canonical, [contract.id_of(event) for event in parsed], digests)


def _canonical(event: object) -> bytes:
    try:
        return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # The event is nested deeper than orjson can write, although orjson could read it. No
        # contract nests so deep, so the event is rejected and never echoed.
        return b"nested too deeply"


def judge_events(
    contract: SandboxContract,
    events: Events,
    *,
    now_ms: int,
    limits: EventLimits,
    faults: Faults,
    ordinal: int,
    fault: RequestFault | None = None,
) -> Judged:
    """Judge every event of a request.

    ``now_ms`` is the time in milliseconds since 1970 UTC. ``ordinal`` is the request's number
    within the fault plan, and ``fault`` is the request's fault.
    """
    judged = Judged()
    may_fail = faults.of_events or fault is not None
    for index, event in enumerate(events.parsed):
        violations = judge(contract, event, now_ms, limits)
        if not violations:
            of_event = None
            if may_fail:
                of_event = faults.of_event(ordinal, index, events.digests[index], contract.name_of(event), fault)
            if of_event is None:
                judged.success.append(_accepted(contract, index, events.canonical[index]))
            else:
                _apply_fault(contract, judged, index, of_event, ordinal)
            continue
        judged.clear_match_keys += sum(violation.rule is Rule.CLEAR_MATCH_KEY for violation in violations)
        errors = [(violation.rule.code, violation.rule.message, violation.place) for violation in violations]
        judged.error.append(_refused(contract, index, errors[:_MAX_ERRORS], ordinal))
        judged.judgements[index] = Judgement(REJECTED, tuple(code for code, _, _ in errors), tuple(map(_label, violations)))
    return judged


_CODES = {"reject": "INVALID_INPUT", "retry": "INTERNAL_ERROR", "conflict": "CONFLICT"}


def _apply_fault(contract: SandboxContract, judged: Judged, index: int, fault: EventFault, ordinal: int) -> None:
    """Apply a fault to an event that breaks no rule."""
    if fault.name == "omit":
        judged.judgements[index] = Judgement(ACCEPTED, fault=fault.name)
    elif fault.name == "poison":
        judged.sunk = True
        judged.judgements[index] = Judgement(REJECTED, fault=fault.name)
    else:
        code = fault.code or _CODES[fault.name]
        judged.error.append(_refused(contract, index, [(code, "on request of the sandbox's faults", "")], ordinal))
        judged.judgements[index] = Judgement(REJECTED, (code,), (f"fault-{fault.name}",), fault.name)


def _label(violation: Violation) -> str:
    return f"{violation.place} {violation.rule.label}".lstrip()


def _accepted(contract: SandboxContract, index: int, canonical: bytes) -> dict[str, object]:
    if contract.first_index == 1:
        return {"index": index + 1, "message": None}
    return {"index": index, "event": orjson.Fragment(canonical)}


_STATUSES = {"UNAUTHORIZED": 401, "FORBIDDEN": 403, "CONFLICT": 409, "TOO_MANY_REQUESTS": 429, "INTERNAL_ERROR": 500}
"""The status that ``events/v1`` gives with a code; 400 for codes that are not here."""


def _refused(contract: SandboxContract, index: int, errors: list[tuple[str, str, str]], ordinal: int) -> dict[str, object]:
    """Return an error item for an event; each error is a code, a message and a place."""
    if contract.first_index == 1:
        status = _STATUSES.get(errors[0][0], 400)
        return {
            "index": index + 1,
            "httpStatusCode": str(status),
            "itemRequestId": f"sandbox-{ordinal}-{index}",
            "subErrors": [
                {"errorCode": status, "errorType": code, "errorMessage": f"{place} {message}".lstrip()}
                for code, message, place in errors
            ],
        }
    return {"index": index, "errors": [_error(contract, index, *error) for error in errors]}


def _error(contract: SandboxContract, index: int, code: str, message: str, place: str) -> dict[str, object]:
    location = f"{contract.wrapper}[{index}]" + (f".{place}" if place else "")
    return {"code": code, "message": f"{place} {message}".lstrip(), "fieldLocation": location}
