"""The fault plan: what goes wrong with which request, decided from the seed alone.

Pure and without state: a request is known by its ordinal (how many event requests came before it since the plan was set), so
the same plan and the same ordinals give the same faults, in whatever order answers go out. The package docstring documents
the plan as JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

__all__ = ["NO_FAULTS", "EventFault", "Faults", "FaultsRefused", "Planned", "RequestFault", "planned", "wait_ms"]

RetryAfter = int | str | None
"""Seconds, any text (a date, garbage), or None: the header is left out. Amazon does all of it (section 5.5)."""

REQUEST_FAULTS = ("fail_503", "throttle_429", "withhold", "fail_500_after_accept", "truncated", "empty", "html")
"""Faults of a request that a probability can ask for; a plan's ``next`` may name them too."""

EVENT_FAULTS = ("reject", "retry", "omit")

EventFault = str
"""One of `EVENT_FAULTS`."""

_PLANNABLE = (*REQUEST_FAULTS, "status", "delay", "none")
_MAX_WAIT_MS = 600_000
_MAX_TIMES = 1_000_000


class FaultsRefused(ValueError):
    """The plan is not one; the text names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fault for the next ``times`` requests."""

    fault: str
    """One of `REQUEST_FAULTS`, ``status`` (refuse with ``status``), ``delay`` (answer after ``ms``) or ``none``."""
    times: int = 1
    status: int = 503
    retry_after: RetryAfter = None
    ms: int = 0

    def __post_init__(self) -> None:
        """Refuse what is not a fault."""
        _require(self.fault in _PLANNABLE, "next.fault", "one of " + ", ".join(_PLANNABLE))
        _whole("next.times", self.times, 1, _MAX_TIMES)
        _whole("next.status", self.status, 400, 599)
        _whole("next.ms", self.ms, 0, _MAX_WAIT_MS)
        _retry_after("next.retry_after", self.retry_after)


class RequestFault(NamedTuple):
    """What goes wrong with one request."""

    name: str
    status: int | None = None
    """The request is refused with it, before any event is judged."""
    retry_after: RetryAfter = None
    ms: int = 0
    """Milliseconds the answer waits because of this fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The plan. Every probability is between 0 and 1; those of a request together at most 1.

    Raises:
        FaultsRefused: a field is out of its range.
    """

    seed: int = 0
    latency_ms: int = 0
    """Every answer waits this long."""
    delay: float = 0.0
    """Probability that an answer waits between ``delay_min_ms`` and ``delay_max_ms`` more."""
    delay_min_ms: int = 0
    delay_max_ms: int = 0
    fail_503: float = 0.0
    throttle_429: float = 0.0
    retry_after: RetryAfter = 1
    """Of ``throttle_429``."""
    withhold: float = 0.0
    fail_500_after_accept: float = 0.0
    truncated: float = 0.0
    empty: float = 0.0
    html: float = 0.0
    reject: float = 0.0
    """Of an event, by its id and content: the same event is rejected each time it comes."""
    retry: float = 0.0
    """Of an event in a request: sent again, it may pass."""
    omit: float = 0.0
    """Of an event in a request: accepted, and its verdict left out of the answer."""
    reject_names: tuple[str, ...] = ()
    next: tuple[Planned, ...] = ()
    """For the next event requests, one after the other; probabilities hold again afterwards."""
    token_next: tuple[Planned, ...] = ()
    """The same for the next token requests."""
    registry_down: bool = False
    registry_latency_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        _whole("seed", self.seed, -(2**63), 2**63 - 1)
        for name in ("latency_ms", "delay_min_ms", "delay_max_ms", "registry_latency_ms"):
            _whole(name, getattr(self, name), 0, _MAX_WAIT_MS)
        for name in ("delay", *REQUEST_FAULTS, *EVENT_FAULTS):
            value = getattr(self, name)
            _require(type(value) in (int, float) and 0 <= value <= 1, name, "a probability between 0 and 1")
        _require(self.delay_min_ms <= self.delay_max_ms, "delay_min_ms", "at most delay_max_ms")
        _require(sum(getattr(self, name) for name in REQUEST_FAULTS) <= 1 + 1e-9, "fail_503 to html", "together at most 1")
        _retry_after("retry_after", self.retry_after)
        _require(all(type(name) is str for name in self.reject_names), "reject_names", "an array of strings")
        _require(type(self.registry_down) is bool, "registry_down", "true or false")

    @classmethod
    def parse(cls, document: object) -> Faults:
        """Read a plan from JSON as the package docstring documents it.

        Raises:
            FaultsRefused: a field is unknown, of the wrong type or out of range.
        """
        fields = _fields_of(cls, document, "the plan")
        for name in ("next", "token_next"):
            if name in fields:
                fields[name] = tuple(_planned_of(entry, name) for entry in _array(name, fields[name]))
        if "reject_names" in fields:
            fields["reject_names"] = tuple(_array("reject_names", fields["reject_names"]))
        return cls(**fields)

    def as_json(self) -> dict[str, object]:
        """Return the plan as `parse` reads it, every field written out."""
        fields = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    def of_request(self, ordinal: int) -> RequestFault | None:
        """Return what goes wrong with the event request of this ordinal, from 0."""
        fault = planned(self.next, ordinal)
        if fault is not None:
            return None if fault.name == "none" else fault
        draw = _chance(self.seed, "request", ordinal)
        for name in REQUEST_FAULTS:
            draw -= getattr(self, name)
            if draw < 0:
                return _fault(name, self.retry_after, status=503, ms=0)
        return None

    def of_event(self, ordinal: int, index: int, identity: bytes, name: str | None) -> EventFault | None:
        """Return what goes wrong with one event of a request; ``identity`` is the digest of its content."""
        if name is not None and name in self.reject_names:
            return "reject"
        if self.reject and _chance(self.seed, "reject", identity) < self.reject:
            return "reject"
        if self.retry and _chance(self.seed, "retry", ordinal, index) < self.retry:
            return "retry"
        if self.omit and _chance(self.seed, "omit", ordinal, index) < self.omit:
            return "omit"
        return None


def planned(entries: tuple[Planned, ...], ordinal: int) -> RequestFault | None:
    """Return the fault that a list of planned ones holds for this ordinal; None after its end."""
    for entry in entries:
        if ordinal < entry.times:
            return _fault(entry.fault, entry.retry_after, entry.status, entry.ms)
        ordinal -= entry.times
    return None


def wait_ms(faults: Faults, ordinal: int) -> int:
    """Return how long the answer to an event request waits, in milliseconds, without what its own fault adds."""
    if not faults.delay or _chance(faults.seed, "delay", ordinal) >= faults.delay:
        return faults.latency_ms
    spread = faults.delay_max_ms - faults.delay_min_ms
    return faults.latency_ms + faults.delay_min_ms + round(spread * _chance(faults.seed, "wait", ordinal))


def _fault(name: str, retry_after: RetryAfter, status: int, ms: int) -> RequestFault:
    match name:
        case "fail_503":
            return RequestFault(name, 503)
        case "throttle_429":
            return RequestFault(name, 429, retry_after)
        case "status":
            return RequestFault(name, status, retry_after)
        case "delay":
            return RequestFault(name, ms=ms)
        case _:
            return RequestFault(name)


def _chance(seed: int, *what: object) -> float:
    """Return a number in [0, 1) that looks random and depends on nothing but its arguments."""
    drawn = blake2b(repr((seed, what)).encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") / 2**64


def _planned_of(entry: object, name: str) -> Planned:
    return Planned(**{"fault": "", **_fields_of(Planned, entry, name)})


def _require(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise FaultsRefused(f"{name}: must be {wanted}")


def _whole(name: str, value: object, lowest: int, highest: int) -> None:
    _require(type(value) is int and lowest <= value <= highest, name, f"a whole number from {lowest} to {highest}")


def _retry_after(name: str, value: object) -> None:
    # A line break in it would write further headers.
    sound = value is None or type(value) is int or (type(value) is str and value.isprintable())
    _require(sound, name, "a number, a printable text or null")


def _array(name: str, value: object) -> list[object]:
    if type(value) is not list:
        raise FaultsRefused(f"{name}: must be an array")
    return value


def _fields_of(kind: type[Faults | Planned], document: object, name: str) -> dict[str, Any]:
    if not isinstance(document, Mapping):
        raise FaultsRefused(f"{name}: must be an object")
    known = {field.name for field in dataclasses.fields(kind)}
    for field in document:
        if field not in known:
            raise FaultsRefused(f"{name}: has no field {field}")
    return dict(document)


NO_FAULTS = Faults()
