"""Amazon at the level of HTTP: what takes the place of the transport below `connector.amazon.client.AmazonSink`.

Token, refresh after a 401, wire contract and the reading of answers are the connector's own; what they get are answers as
JSON, or as what proxies make of them. The vendor is honest in one thing: what it names as a success it has taken in.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import orjson

from connector.amazon.transport import RawAnswer
from connector.model import Failure, RequestFailed
from tests.simulation.records import Nature, Row
from tests.simulation.virtual_time import Process, VirtualLoop

__all__ = ["BASE_URL", "TOKEN_URL", "Transport", "Vendor", "VendorOdds", "Witness"]

BASE_URL = "https://vendor.invalid"
TOKEN_URL = "https://vendor.invalid/token"
HEAVY_BODY = 2_300
"""Bytes of a body above which the vendor answers 413."""
_PATIENCE = 3
_SPOILS = ("truncated", "empty", "html", "fail_500_after_accept", "from_1")


@dataclass(frozen=True, slots=True)
class VendorOdds:
    """How often an answer is bad, each from 0 to 1."""

    connect: float = 0.0
    """The request never arrives."""
    status: float = 0.0
    """It is refused as a whole: 401, 403, 429, 5xx and the like."""
    withheld: float = 0.0
    """It is taken, and the answer never comes."""
    spoiled: float = 0.0
    """It is taken, and the answer comes truncated, empty, as HTML, or as a failure."""
    missing: float = 0.0
    """An event is missing in the answer."""
    odd: float = 0.0
    """The answer names an event twice, in both lists, by a number out of range, or as text."""
    slow: float = 0.0
    token: float = 0.0
    """A token is not given, or does not last."""


@dataclass(slots=True, eq=False)
class Acceptance:
    """The vendor took an event in."""

    row: Row
    process: Process
    contradicted: bool = False
    """The answer named it in both lists."""


class Witness(Protocol):
    """Is told what the vendor sees; the oracle is one."""

    def leaving(self, process: Process, rows: list[Row]) -> None:
        """A process lets a request go: nothing takes it back."""

    def received(self, rows: list[Row], events: list[dict[str, Any]]) -> None:
        """A request is at the door."""

    def accepted(self, acceptance: Acceptance) -> None:
        """An event was taken in."""

    def happened(self, what: str) -> None:
        """Something went wrong on purpose."""


class Vendor:
    """Takes events in and remembers nothing of the past: each copy that is sent counts."""

    def __init__(
        self, loop: VirtualLoop, dice: Random, odds: VendorOdds, witness: Witness, find: Callable[[str], Row | None]
    ) -> None:
        self.loop = loop
        self.dice = dice
        self.odds = odds
        self.calm = False
        self.witness = witness
        self._find = find
        self._tries: Counter[str] = Counter()
        self._tokens: set[str] = set()
        self._given = 0
        self.planned: deque[str] = deque()
        """What goes wrong with the next requests, by the names of ``connector.sandbox``'s faults; ``none`` is one, too."""

    def rows_of(self, body: bytes) -> list[Row | None]:
        return [self._find(event["eventDescription"]["name"]) for event in orjson.loads(body)["events"]]

    def chance(self, odds: float) -> bool:
        return not self.calm and self.dice.random() < odds

    def delay(self, most: float) -> float:
        return self.dice.random() ** 3 * (0.2 if self.calm else most)

    # ---- tokens

    def grant(self) -> RawAnswer:
        if self.chance(self.odds.token):
            self.witness.happened("token refused")
            status, error = self.dice.choice(((400, "invalid_grant"), (500, "server_error"), (200, "nonsense")))
            return RawAnswer(status, {"Content-Type": "application/json"}, orjson.dumps({"error": error}))
        self._given += 1
        token = f"Atza|{self._given}"
        self._tokens.add(token)
        if self.chance(self.odds.token):
            self.loop.call_later(self.dice.uniform(0.0, 10.0), self._tokens.discard, token)
        return RawAnswer(200, {}, orjson.dumps({"access_token": token, "token_type": "bearer", "expires_in": 3600}))

    # ---- events

    def take(self, process: Process, headers: Mapping[str, str], body: bytes) -> RawAnswer | None:
        """Take a request in; None where the answer is withheld."""
        events = orjson.loads(body)["events"]
        known = [row for row in self.rows_of(body) if row is not None]
        self.witness.received(known, events)
        planned = self.planned.popleft() if self.planned else None
        if planned == "fail_503":
            return _refusal(503, "INTERNAL_ERROR")
        if planned == "throttle_429":
            return RawAnswer(429, {"Retry-After": "7"}, b'{"message":"Too Many Requests"}')
        if planned == "unauthorized" or headers["Authorization"].removeprefix("Bearer ") not in self._tokens:
            return _refusal(401, "UNAUTHORIZED")
        if self.chance(self.odds.status):
            return self._refuse()
        heavy = len(known) > 1 and len(body) > HEAVY_BODY
        if heavy or any(row.nature is Nature.HEAVY for row in known):
            return _refusal(413, "CONTENT_TOO_LARGE")
        if any(row.nature is Nature.POISON for row in known):
            return _refusal(400, "BAD_REQUEST")
        answer = self._judge(process, known)
        if planned == "withhold" or self.chance(self.odds.withheld):
            self.witness.happened("answer withheld")
            return None
        if planned is None and self.chance(self.odds.spoiled):
            self.witness.happened("answer spoiled")
            planned = self.dice.choice(_SPOILS)
        return self._spoil(answer, len(known), planned)

    def _refuse(self) -> RawAnswer:
        status = self.dice.choice((401, 403, 408, 429, 429, 429, 500, 502, 503, 503))
        self.witness.happened(f"status {status}")
        if status == 502:
            return RawAnswer(502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>")
        if status == 429:
            wait = self.dice.choice((None, "0", "3", "4", "5", "soon", "-1"))
            return RawAnswer(429, {} if wait is None else {"Retry-After": wait}, b'{"message":"Too Many Requests"}')
        return _refusal(status, "INTERNAL_ERROR" if status >= 500 else "BAD_REQUEST")

    def _judge(self, process: Process, rows: list[Row]) -> dict[str, Any]:
        success: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for index, row in enumerate(rows):
            self._tries[row.name] += 1
            missing = self.chance(self.odds.missing)
            if missing:
                self.witness.happened("event missing in the answer")
            if row.nature is Nature.REJECTED:
                item = _error(index, "400", "INVALID_ARGUMENT")
                errors += [] if missing else [item]
            elif row.nature is Nature.NEVER or (row.nature is Nature.PATIENT and self._tries[row.name] < _PATIENCE):
                item = _error(index, self.dice.choice(("500", "409", "429")), "INTERNAL_ERROR")
                errors += [] if missing else [item]
            else:
                acceptance = Acceptance(row, process)
                success += [] if missing else [{"index": index, "event": {"eventId": "…"}}]
                if self.chance(self.odds.odd):
                    self._be_odd(index, len(rows), success, errors, acceptance)
                self.witness.accepted(acceptance)
        if self.dice.random() < 0.2:
            success.reverse()
        return {"success": success, "error": errors}

    def _be_odd(
        self, index: int, count: int, success: list[dict[str, Any]], errors: list[dict[str, Any]], acceptance: Acceptance
    ) -> None:
        match self.dice.randrange(5):
            case 0:
                success.append({"index": index})
            case 1:
                acceptance.contradicted = True
                errors.append(_error(index, self.dice.choice(("400", "500")), "INVALID_ARGUMENT"))
            case 2:
                success.append({"index": count + self.dice.randint(1, 5)})
            case 3:
                success.append({"index": str(index)})
            case _:
                success.append({"index": None, "event": "?"})
        self.witness.happened("odd item in an answer")

    def _spoil(self, answer: dict[str, Any], count: int, how: str | None) -> RawAnswer:
        body, headers = orjson.dumps(answer), {"Content-Type": "application/json"}
        match how:
            case "truncated":
                return RawAnswer(207, headers, body[: self.dice.randrange(len(body))])
            case "empty":
                return RawAnswer(200, headers, b"")
            case "html":
                return RawAnswer(200, {"Content-Type": "text/html"}, b"<html>welcome</html>")
            case "fail_500_after_accept":
                return _refusal(500, "INTERNAL_ERROR")
            case "from_1":  # counted from 1, as the other contract does: to be seen only where the answer is complete
                items = (*answer["success"], *answer["error"])
                if [type(item["index"]) for item in items] == [int] * len(items):
                    complete = sorted(item["index"] for item in items) == list(range(count))
                    for item in items:
                        item["index"] += complete
                return RawAnswer(207, headers, orjson.dumps(answer))
            case _:
                return RawAnswer(207, headers, body)


def _error(index: int, status: str, code: str) -> dict[str, Any]:
    errors = [{"errorType": "ERROR", "code": code, "fieldLocation": f"events[{index}].matchKeys"}]
    return {"index": index, "httpStatusCode": status, "errors": errors}


def _refusal(status: int, code: str) -> RawAnswer:
    return RawAnswer(status, {"Content-Type": "application/json"}, orjson.dumps({"code": code, "message": "…"}))


class Transport:
    """Stands for `connector.amazon.transport.HttpTransport`: one process's connections."""

    def __init__(self, vendor: Vendor, process: Process, timeout_seconds: float) -> None:
        self._vendor = vendor
        self._process = process
        self._timeout = timeout_seconds
        self.open = 0
        """Requests of events at once."""

    async def post(self, url: str, headers: Mapping[str, str], body: Any) -> RawAnswer | RequestFailed:
        """Send a request: it travels, is judged, and its answer travels back, while we wait no longer than the time-out."""
        self._process.step()
        vendor = self._vendor
        if url == TOKEN_URL:
            await asyncio.sleep(vendor.delay(0.5))
            return vendor.grant()
        vendor.witness.leaving(self._process, [row for row in vendor.rows_of(body) if row is not None])
        if vendor.chance(vendor.odds.connect):
            vendor.witness.happened("request never arrives")
            await asyncio.sleep(vendor.delay(1.0))
            return RequestFailed(Failure.TRANSIENT, vendor.dice.choice(("connect", "dns", "tls")))
        answered: asyncio.Future[RawAnswer] = vendor.loop.create_future()
        # What is on its way arrives, whatever becomes of this process.
        vendor.loop.call_later(vendor.delay(2.0), self._arrive, headers, body, answered)
        self.open += 1
        try:
            async with asyncio.timeout(self._timeout):
                answer = await answered
        except TimeoutError:
            return RequestFailed(Failure.TIMEOUT, "timeout")
        finally:
            self.open -= 1
        self._process.step()
        return answer

    def _arrive(self, headers: Mapping[str, str], body: bytes, answered: asyncio.Future[RawAnswer]) -> None:
        answer = self._vendor.take(self._process, headers, body)
        if answer is not None:
            slow = self._vendor.delay(8.0 if self._vendor.chance(self._vendor.odds.slow) else 1.0)
            self._vendor.loop.call_later(slow, _resolve, answered, answer)

    async def close(self) -> None:
        """Nothing is open."""


def _resolve(answered: asyncio.Future[RawAnswer], answer: RawAnswer) -> None:
    if not answered.done():
        answered.set_result(answer)
