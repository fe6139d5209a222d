"""The record: what the sandbox received, and what became of every event of every request.

A request is recorded before it is answered. So the record also has requests whose client was gone,
and requests whose answer was never sent. Each request is one object with columns for its events,
about 400 bytes for each event. At `MAX_LINES` the oldest requests are dropped, and the dropped
lines are counted. The record holds digests only: no token, no match key, no event.

It also says which events Amazon would count (docs/amazon-contract.md#amazons-own-dedupe). Several
accepted events of one account may have the same dedupe id, whatever their types. Then the event
with the earliest time counts, or the first to arrive if their times are equal. Amazon accepts the
others and filters them silently. Sources contradict each other on which event is kept; SEED,
Amazon's guides and its older interface say the first. No source knows how long an id is remembered;
the sandbox remembers it as long as the record has it. An event without an id counts. Amazon's other
filter, by user and time, is not imitated.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from connector.sandbox.checks import moment_ms

__all__ = ["ACCEPTED", "MAX_LINES", "NOT_JUDGED", "PENDING", "REJECTED", "Judgement", "Received", "RequestRecord"]

MAX_LINES = 1_000_000
"""Maximum lines that are kept: about 400 MB, and ten times what a test or the demo sends."""

_MAX_REQUESTS = 100_000
"""Maximum requests that are kept in addition to one for each line: a request that was refused
before its events could be read has no line."""

DIGEST_BYTES = 16

ACCEPTED = "accepted"
REJECTED = "rejected"
NOT_JUDGED = "not judged"

PENDING = "pending"
"""The word for the answer to a request that is not answered yet."""


class Judgement(NamedTuple):
    """What became of one event, if it differs from what became of most events of its request."""

    verdict: str
    codes: tuple[str, ...] = ()
    """Amazon's ErrorCodes."""
    flaws: tuple[str, ...] = ()
    """Place and name of every broken rule, such as ``eventTime too-old``; never a value."""
    fault: str | None = None


@dataclass(slots=True)
class Received:
    """One request, and its events as columns."""

    number: int
    """The number of the request among all event requests since the start, from 1."""
    arrival_ms: int
    """When its last byte had arrived, in milliseconds since 1970 UTC."""
    contract: str
    account: str | None = None
    """The account, if it is one of those known here; None otherwise."""
    token: str | None = None
    """A fingerprint of the access token; None without one."""
    size: int = 0
    """Bytes in its body."""
    status: int | None = None
    """The status that was answered, or would have been."""
    fault: str | None = None
    verdict: str = NOT_JUDGED
    """The verdict on every event that is not in ``judgements``."""
    ids: list[str | None] = field(default_factory=list)
    digests: bytes = b""
    """The digests of all events, `DIGEST_BYTES` each."""
    times: list[str] = field(default_factory=list)
    """The times of the events, as they give them; empty if they were not judged."""
    judgements: dict[int, Judgement] = field(default_factory=dict)
    """Judgements by the event's position, from 0."""
    answer: str = PENDING
    answered_ms: int | None = None

    def verdict_of(self, index: int) -> str:
        """Return the verdict on one event, by its position from 0."""
        found = self.judgements.get(index)
        return found.verdict if found else self.verdict

    def as_json(self) -> dict[str, object]:
        """Return the request's own line, without its events."""
        verdicts = Counter(map(self.verdict_of, range(len(self.ids))))
        return {
            "request": self.number,
            "arrival": self.arrival_ms,
            "contract": self.contract,
            "account": self.account,
            "token": self.token,
            "bytes": self.size,
            "events": len(self.ids),
            "accepted": verdicts[ACCEPTED],
            "rejected": verdicts[REJECTED],
            "fault": self.fault,
            "status": self.status,
            "answer": self.answer,
            "answered": self.answered_ms,
        }

    def lines(self, counted: Mapping[_Key, _Place]) -> Iterator[bytes]:
        """Yield the events, one JSON line each.

        ``counted`` has the place of the event that Amazon would count, by account and id.
        """
        common = {
            "request": self.number,
            "arrival": self.arrival_ms,
            "contract": self.contract,
            "account": self.account,
            "token": self.token,
            "answer": self.answer,
            "answered": self.answered_ms,
        }
        usual = Judgement(self.verdict)
        for index, event_id in enumerate(self.ids):
            judgement = self.judgements.get(index, usual)
            line = common | {
                "index": index,
                "id": event_id,
                "digest": self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES].hex(),
                "verdict": judgement.verdict,
                "codes": judgement.codes,
                "flaws": judgement.flaws,
                "fault": judgement.fault or self.fault,
                "counted": None,
            }
            if judgement.verdict == ACCEPTED:
                place = None if event_id is None else counted.get((self.account, event_id))
                line["counted"] = place is None or place[1:] == (self.number, index)
            yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


_Key = tuple[str | None, str]
"""Account and dedupe id: Amazon counts one event for each."""
_Place = tuple[str, int, int]
"""Where an event is: its time as it gives it, the number of its request, and its position there."""


def _when(place: _Place) -> int:
    return moment_ms(place[0]) or 0


class RequestRecord:
    """All requests received since the start or the last `clear`."""

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._max_lines = max_lines
        self._number = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything except the numbering of requests."""
        self._requests: deque[Received] = deque()
        self._lines = 0
        self._dropped = 0
        self._tally: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._counted: dict[_Key, _Place] = {}

    def open(self, contract: str, arrival_ms: int, account: str | None = None, token: str | None = None) -> Received:
        """Add a request and return it with its number; `add` later adds its events."""
        self._number += 1
        self._tally["requests"] += 1
        received = Received(self._number, arrival_ms, contract, account, token)
        self._requests.append(received)
        while len(self._requests) > _MAX_REQUESTS + self._lines:
            self._drop_oldest()
        return received

    def add(self, received: Received) -> None:
        """Add the events of a request that was opened, judged or not. Its answer may come later."""
        self._lines += len(received.ids)
        self._tally["events"] += len(received.ids)
        for index in range(len(received.ids)):
            self._tally[received.verdict_of(index)] += 1
        if received.verdict == ACCEPTED:
            self._count(received)
        while self._lines > self._max_lines:
            self._drop_oldest()

    def _count(self, received: Received) -> None:
        """Note which of the accepted events Amazon would count."""
        for index, (event_id, time) in enumerate(zip(received.ids, received.times, strict=True)):
            if event_id is None or received.verdict_of(index) != ACCEPTED:
                continue
            key, place = (received.account, event_id), (time, received.number, index)
            before = self._counted.setdefault(key, place)
            if before is not place:
                self._tally["filtered"] += 1
                self._counted[key] = min(before, place, key=_when)  # min keeps the first of two equals

    def _drop_oldest(self) -> None:
        gone = self._requests.popleft()
        self._lines -= len(gone.ids)
        self._dropped += len(gone.ids)
        for event_id in gone.ids:
            if event_id is not None and self._counted.get((gone.account, event_id), ("", 0, 0))[1] == gone.number:
                del self._counted[gone.account, event_id]

    def close(self, received: Received, answer: str, status: int | None, answered_ms: int) -> None:
        """Note how a request was answered."""
        received.answer, received.status = answer, status
        received.answered_ms = answered_ms
        self._answers[answer] += 1

    def count(self, what: str, times: int = 1) -> None:
        """Count something other than an event."""
        self._tally[what] += times

    def requests(self) -> Iterator[bytes]:
        """Yield all requests as of now, one JSON line each, with or without readable events."""
        for received in list(self._requests):
            yield orjson.dumps(received.as_json(), option=orjson.OPT_APPEND_NEWLINE)

    def lines(self, first: int = 0) -> Iterator[bytes]:
        """Yield the record as of now, from line ``first`` on.

        Lines are counted from 0 since the last `clear`, including those that were dropped.
        """
        position = self._dropped
        for received in list(self._requests):
            if position + len(received.ids) <= first:
                position += len(received.ids)
                continue
            for line in received.lines(self._counted):
                if position >= first:
                    yield line
                position += 1

    def status(self) -> dict[str, object]:
        """Return counts of what was received.

        Takes about a second for a million lines, because it reads every id.
        """
        accepted: Counter[str] = Counter()
        for received in self._requests:
            accepted.update(
                event_id
                for index, event_id in enumerate(received.ids)
                if event_id is not None and received.verdict_of(index) == ACCEPTED
            )
        ids = {event_id for received in self._requests for event_id in received.ids if event_id is not None}
        return {
            "requests": self._tally["requests"],
            "events": self._tally["events"],
            "accepted": self._tally[ACCEPTED],
            "rejected": self._tally[REJECTED],
            "not_judged": self._tally[NOT_JUDGED],
            "counted": self._tally[ACCEPTED] - self._tally["filtered"],
            "filtered": self._tally["filtered"],
            "clear_match_keys": self._tally["clear_match_keys"],
            "broken_off": self._tally["broken_off"],
            "tokens": self._tally["tokens"],
            "tokens_refused": self._tally["tokens_refused"],
            "left_connections_reset": self._tally["left_connections_reset"],
            "elsewhere": self._tally["elsewhere"],
            "elsewhere_with_a_token": self._tally["elsewhere_with_a_token"],
            "answers": dict(sorted(self._answers.items())),
            "withheld_answers": self._answers["withheld"],
            "distinct_ids": len(ids),
            "ids_accepted": len(accepted),
            "ids_accepted_again": sum(1 for times in accepted.values() if times > 1),
            "lines": self._lines,
            "lines_dropped": self._dropped,
        }
