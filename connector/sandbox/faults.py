"""The fault plan: decides which request fails in which way.

Pure and without state. A request is known by its ordinal: how many event requests came before it
since the plan was set. Every random choice depends on the seed and the ordinal alone, so the same
plan gives the same faults, in whatever order answers go out. The package docstring documents the
plan as JSON; `catalogue` lists the faults.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import NormalDist
from typing import Any, NamedTuple

from connector.sandbox.catalogue import EVENT_FAULTS, REQUEST_FAULTS, TOKEN_FAULTS

__all__ = ["NO_FAULTS", "EventFault", "Faults", "FaultsRefused", "Planned", "RequestFault", "wait_ms"]

RetryAfter = int | str | None
"""The ``Retry-After`` header: seconds, any text (a date, garbage), or None to leave it out. All of
these occur (docs/amazon-contract.md#rate-limits)."""

_LISTED_ONLY = ("status", "delay", "none")
"""Names that only an entry of a list may have. They are not in the catalogue, so none comes by
chance: any status, a wait, no fault."""

_OF_EVENT_REQUESTS = frozenset({*REQUEST_FAULTS, *EVENT_FAULTS, *_LISTED_ONLY})
_OF_TOKEN_REQUESTS = frozenset({*TOKEN_FAULTS, *_LISTED_ONLY})
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_WAIT_MS = 600_000
_MAX_TIMES = 1_000_000
_NINETY_NINTH = NormalDist().inv_cdf(0.99)


class FaultsRefused(ValueError):
    """A document is not a valid plan; the text names the field."""


class RequestFault(NamedTuple):
    """What goes wrong with one request, for events or for a token."""

    name: str
    status: int | None = None
    """The status to answer, if an entry named one."""
    retry_after: RetryAfter = None
    ms: int | None = None
    code: str | None = None
    only: int | None = None
    """For a fault of an event: the position, from 0, of the only event that it hits; None for
    all."""


class EventFault(NamedTuple):
    """What goes wrong with one event."""

    name: str
    code: str | None = None
    """The ErrorCode to answer, if the plan named one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fault for ``times`` requests: the next ones, or those from number ``request`` on."""

    fault: str
    """A name from the catalogue, ``status`` (refuse with ``status``), ``delay`` (answer after
    ``ms``) or ``none``."""
    times: int = 1
    request: int | None = None
    """The first request that it hits; the plan's first request is 1."""
    status: int | None = None
    retry_after: RetryAfter = None
    ms: int | None = None
    code: str | None = None
    index: int | None = None
    """For a fault of an event: its position in the request, from 0; None for all events of the
    request."""

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        _whole("times", self.times, 1, _MAX_TIMES)
        for name, value, lowest, highest in (
            ("request", self.request, 1, 2**63),
            ("status", self.status, 300, 599),
            ("ms", self.ms, 0, _MAX_WAIT_MS),
            ("index", self.index, 0, 499),
        ):
            if value is not None:
                _whole(name, value, lowest, highest)
        if self.fault in ("redirect", "token_redirect") and self.status is not None:
            _require(self.status in _REDIRECTS, "status", "one of " + ", ".join(map(str, _REDIRECTS)))
        _code("code", self.code)
        _retry_after("retry_after", self.retry_after)

    @property
    def request_fault(self) -> RequestFault:
        """Return the fault as it hits a request."""
        return RequestFault(self.fault, self.status, self.retry_after, self.ms, self.code, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """A fault plan; the default plan has no faults.

    Raises:
        FaultsRefused: a field is out of its range.
    """

    seed: int = 0
    chances: Mapping[str, float] = field(default_factory=dict)
    """The probability of each fault of the catalogue; in JSON they stand beside the other fields.
    Those for requests add up to at most 1, and so do those for token requests."""
    next: tuple[Planned, ...] = ()
    """Faults for the next event requests, one after the other; afterwards probabilities hold
    again."""
    at: tuple[Planned, ...] = ()
    """Faults for event requests by number. They take precedence over all others."""
    token_next: tuple[Planned, ...] = ()
    token_at: tuple[Planned, ...] = ()
    """The same two lists for token requests."""
    flapping: int = 0
    """N event requests pass and N are answered 503, in turn; 0 switches it off."""
    latency_ms: int = 0
    """Every answer to an event request waits this long."""
    latency_p50_ms: int = 0
    latency_p99_ms: int = 0
    """A brown-out: answers wait a further time, log-normally distributed with this median and 99th
    percentile."""
    delay: float = 0.0
    """Probability that an answer waits between ``delay_min_ms`` and ``delay_max_ms`` more."""
    delay_min_ms: int = 0
    delay_max_ms: int = 0
    max_requests_per_second: int = 0
    """Further event requests within a second are answered 429; 0 for no limit. The server counts
    them, because it has a clock."""
    retry_after: RetryAfter = 1
    """The header of 429s by chance and of those by ``max_requests_per_second``."""
    reject_code: str | None = None
    """The ErrorCode for events that are rejected by chance or by name."""
    reject_names: tuple[str, ...] = ()
    poison_names: tuple[str, ...] = ()
    """Names of events. An event with a name in ``reject_names`` is rejected; one with a name in
    ``poison_names`` sinks its request."""
    max_body_bytes: int | None = None
    """Larger requests are answered 413. Without effect above the limit of the options."""
    refresh_token_revoked: bool = False
    """Token requests are answered 400 invalid_grant, and access tokens given out before are
    refused."""
    registry_down: bool = False
    registry_latency_ms: int = 0
    """Every answer of the registry waits this long."""

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        _whole("seed", self.seed, -(2**63), 2**63 - 1)
        for name in (
            "latency_ms",
            "latency_p50_ms",
            "latency_p99_ms",
            "delay_min_ms",
            "delay_max_ms",
            "registry_latency_ms",
        ):
            _whole(name, getattr(self, name), 0, _MAX_WAIT_MS)
        _whole("flapping", self.flapping, 0, _MAX_TIMES)
        _whole("max_requests_per_second", self.max_requests_per_second, 0, _MAX_TIMES)
        if self.max_body_bytes is not None:
            _whole("max_body_bytes", self.max_body_bytes, 1, 2**63)
        _probability("delay", self.delay)
        for name, chance in self.chances.items():
            _require(name in _NAMES, name, "a fault of the catalogue")
            _probability(name, chance)
        for name, group in (("faults of a request", REQUEST_FAULTS), ("faults of a token request", TOKEN_FAULTS)):
            _require(sum(self.chances.get(one, 0) for one in group) <= 1 + 1e-9, name, "together at most 1")
        _require(self.delay_min_ms <= self.delay_max_ms, "delay_min_ms", "at most delay_max_ms")
        _require(self.latency_p50_ms <= self.latency_p99_ms, "latency_p50_ms", "at most latency_p99_ms")
        _require(not self.latency_p99_ms or self.latency_p50_ms > 0, "latency_p50_ms", "above 0 with latency_p99_ms")
        _retry_after("retry_after", self.retry_after)
        _code("reject_code", self.reject_code)
        for name in ("reject_names", "poison_names"):
            _require(all(type(one) is str for one in getattr(self, name)), name, "an array of strings")
        for name in ("refresh_token_revoked", "registry_down"):
            _require(type(getattr(self, name)) is bool, name, "true or false")
        self._require_known_entries()

    def _require_known_entries(self) -> None:
        for name, known in (
            ("next", _OF_EVENT_REQUESTS),
            ("at", _OF_EVENT_REQUESTS),
            ("token_next", _OF_TOKEN_REQUESTS),
            ("token_at", _OF_TOKEN_REQUESTS),
        ):
            for entry in getattr(self, name):
                _require(entry.fault in known, f"{name}.fault", "one of " + ", ".join(sorted(known)))
                numbered = name.endswith("at")
                _require((entry.request is not None) == numbered, f"{name}.request", "given" if numbered else "left out")

    @classmethod
    def parse(cls, document: object) -> Faults:
        """Read a plan from JSON as the package docstring documents it.

        Raises:
            FaultsRefused: a field is unknown, of the wrong type or out of range.
        """
        if not isinstance(document, Mapping):
            raise FaultsRefused("the plan: must be an object")
        chances = {name: document[name] for name in _NAMES if name in document}
        fields = _fields_of(cls, {n: value for n, value in document.items() if n not in chances}, "the plan")
        for name in ("next", "at", "token_next", "token_at"):
            if name in fields:
                fields[name] = tuple(_planned_of(entry, name) for entry in _array(name, fields[name]))
        for name in ("reject_names", "poison_names"):
            if name in fields:
                fields[name] = tuple(_array(name, fields[name]))
        return cls(**fields, chances=chances)

    def as_json(self) -> dict[str, object]:
        """Return the plan as `parse` reads it: every field, and every probability above 0."""
        fields = dataclasses.asdict(self)
        chances = {name: chance for name, chance in fields.pop("chances").items() if chance}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()} | chances

    def of_request(self, ordinal: int) -> RequestFault | None:
        """Return what goes wrong with the event request of this ordinal, from 0."""
        fault = _listed(self.at, self.next, ordinal)
        if fault is not None:
            return None if fault.name == "none" else fault
        if self.flapping and ordinal // self.flapping % 2:
            return RequestFault("fail_503")
        return self._drawn(REQUEST_FAULTS, "request", ordinal)

    def of_token_request(self, ordinal: int) -> RequestFault | None:
        """Return what goes wrong with the token request of this ordinal, from 0."""
        fault = _listed(self.token_at, self.token_next, ordinal)
        if fault is not None:
            return None if fault.name == "none" else fault
        return self._drawn(TOKEN_FAULTS, "token", ordinal)

    def _drawn(self, names: tuple[str, ...], kind: str, ordinal: int) -> RequestFault | None:
        if not self.chances:
            return None
        draw = _chance(self.seed, kind, ordinal)
        for name in names:
            draw -= self.chances.get(name, 0.0)
            if draw < 0:
                return RequestFault(name, retry_after=self.retry_after if "429" in name else None)
        return None

    @property
    def of_events(self) -> bool:
        """Whether a fault may hit single events."""
        return bool(self.chances or self.reject_names or self.poison_names)

    def of_event(
        self, ordinal: int, index: int, identity: bytes, name: str | None, request: RequestFault | None = None
    ) -> EventFault | None:
        """Return what goes wrong with one event of a request.

        ``identity`` is the digest of its content; ``request`` is the fault of its request.
        """
        if request is not None and request.name in EVENT_FAULTS and request.only in (None, index):
            return EventFault(request.name, request.code)
        if name is not None and name in self.reject_names:
            return EventFault("reject", self.reject_code)
        if name is not None and name in self.poison_names:
            return EventFault("poison")
        # A fault of the event itself recurs each time the event comes; any other is drawn anew.
        for one in EVENT_FAULTS:
            chance = self.chances.get(one, 0.0)
            drawn_by = (identity,) if one in ("reject", "poison") else (ordinal, index)
            if chance and _chance(self.seed, one, *drawn_by) < chance:
                return EventFault(one, self.reject_code if one == "reject" else None)
        return None


_NAMES = frozenset({*REQUEST_FAULTS, *EVENT_FAULTS, *TOKEN_FAULTS})


def _listed(at: tuple[Planned, ...], following: tuple[Planned, ...], ordinal: int) -> RequestFault | None:
    """Return the fault that the lists have for an ordinal: by number first, then in turn."""
    for entry in at:
        if entry.request is not None and entry.request <= ordinal + 1 < entry.request + entry.times:
            return entry.request_fault
    for entry in following:
        if ordinal < entry.times:
            return entry.request_fault
        ordinal -= entry.times
    return None


def wait_ms(faults: Faults, ordinal: int) -> int:
    """Return how many milliseconds the answer to an event request waits, besides its own fault."""
    wait = faults.latency_ms
    if faults.latency_p99_ms:
        spread = math.log(faults.latency_p99_ms / faults.latency_p50_ms) / _NINETY_NINTH
        # inv_cdf accepts neither 0 nor 1.
        normal = NormalDist().inv_cdf(min(max(_chance(faults.seed, "latency", ordinal), 2**-53), 1 - 2**-53))
        wait += min(round(faults.latency_p50_ms * math.exp(spread * normal)), _MAX_WAIT_MS)
    if faults.delay and _chance(faults.seed, "delay", ordinal) < faults.delay:
        between = faults.delay_max_ms - faults.delay_min_ms
        wait += faults.delay_min_ms + round(between * _chance(faults.seed, "wait", ordinal))
    return wait


def _chance(seed: int, *what: object) -> float:
    """Return a number in [0, 1) that looks random and depends on the arguments alone."""
    drawn = blake2b(repr((seed, what)).encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") / 2**64


def _planned_of(entry: object, name: str) -> Planned:
    try:
        return Planned(**{"fault": "", **_fields_of(Planned, entry, "an entry")})
    except FaultsRefused as refused:
        raise FaultsRefused(f"{name}.{refused}") from None


def _require(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise FaultsRefused(f"{name}: must be {wanted}")


def _whole(name: str, value: object, lowest: int, highest: int) -> None:
    _require(type(value) is int and lowest <= value <= highest, name, f"a whole number from {lowest} to {highest}")


def _probability(name: str, value: object) -> None:
    # A bool is an int to isinstance, but not a number in a plan.
    number = isinstance(value, int | float) and type(value) is not bool
    _require(number and 0 <= value <= 1, name, "a probability between 0 and 1")  # type: ignore[operator]  # see above


def _retry_after(name: str, value: object) -> None:
    # A line break would add further headers.
    sound = value is None or type(value) is int or (type(value) is str and value.isprintable())
    _require(sound, name, "a number, a printable text or null")


def _code(name: str, value: object) -> None:
    _require(value is None or (type(value) is str and value.isprintable()), name, "a printable text")


def _array(name: str, value: object) -> list[object]:
    if type(value) is not list:
        raise FaultsRefused(f"{name}: must be an array")
    return value


def _fields_of(kind: type[Faults | Planned], document: object, name: str) -> dict[str, Any]:
    if not isinstance(document, Mapping):
        raise FaultsRefused(f"{name}: must be an object")
    known = {one.name for one in dataclasses.fields(kind)} - {"chances"}
    for one in document:
        if one not in known:
            raise FaultsRefused(f"{name}: has no field {one}; GET /sandbox/faults/names lists the faults")
    return dict(document)


NO_FAULTS = Faults()
