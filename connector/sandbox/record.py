"""The memory of what was received: every event of every request, from its arrival on.

A request enters before it is answered, so that one whose client is gone, or whose answer never left, is there too. Kept as
one object a request with columns for its events, about 200 bytes an event; at `MAX_LINES` the oldest requests leave, and how
many lines left is counted. Holds no token, no match key and no event, only digests.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

__all__ = ["ACCEPTED", "MAX_LINES", "NOT_JUDGED", "PENDING", "REJECTED", "Judgement", "Received", "Record"]

MAX_LINES = 1_000_000
"""About 200 MB; ten times what a test or the demo sends."""

DIGEST_BYTES = 16

ACCEPTED = "accepted"
REJECTED = "rejected"
NOT_JUDGED = "not judged"

PENDING = "pending"
"""The answer of a request that is not answered yet."""


class Judgement(NamedTuple):
    """What became of one event where it is not what became of the request's others."""

    verdict: str
    codes: tuple[str, ...] = ()
    """Amazon's ErrorCodes."""
    flaws: tuple[str, ...] = ()
    """Place and name of every broken rule, as ``eventTime too-old``; never a value."""
    fault: str | None = None


@dataclass(slots=True)
class Received:
    """One request, and its events as columns."""

    number: int
    """Counts every event request since the start, from 1."""
    arrival_ms: int
    """When its last byte was there, in milliseconds since 1970 UTC."""
    contract: str
    fault: str | None = None
    verdict: str = NOT_JUDGED
    """Of every event without a judgement of its own."""
    ids: list[str | None] = field(default_factory=list)
    digests: bytes = b""
    """`DIGEST_BYTES` for each event."""
    judgements: dict[int, Judgement] = field(default_factory=dict)
    """By position, from 0."""
    answer: str = PENDING
    answered_ms: int | None = None

    def verdict_of(self, index: int) -> str:
        """Return the verdict on one event, by its position from 0."""
        found = self.judgements.get(index)
        return found.verdict if found else self.verdict

    def lines(self) -> Iterator[bytes]:
        """Write the events, one JSON line each."""
        common = {
            "request": self.number,
            "arrival": self.arrival_ms,
            "contract": self.contract,
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
            }
            yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


class Record:
    """All that was received since the start or the last `clear`."""

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._max_lines = max_lines
        self._number = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything but the numbering of requests."""
        self._requests: deque[Received] = deque()
        self._lines = 0
        self._dropped = 0
        self._tally: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()

    def open(self, contract: str, arrival_ms: int) -> Received:
        """Count a request from now on, and return it with its number; `add` takes in its events."""
        self._number += 1
        self._tally["requests"] += 1
        return Received(self._number, arrival_ms, contract)

    def add(self, received: Received) -> None:
        """Take a request's events in, judged or not; its answer may follow."""
        self._requests.append(received)
        self._lines += len(received.ids)
        self._tally["events"] += len(received.ids)
        for index in range(len(received.ids)):
            self._tally[received.verdict_of(index)] += 1
        while self._lines > self._max_lines:
            gone = len(self._requests.popleft().ids)
            self._lines -= gone
            self._dropped += gone

    def close(self, received: Received, answer: str, answered_ms: int) -> None:
        """Write down how a request was answered."""
        received.answer = answer
        received.answered_ms = answered_ms
        self._answers[answer] += 1

    def count(self, what: str, times: int = 1) -> None:
        """Count something that is no event."""
        self._tally[what] += times

    def lines(self, first: int = 0) -> Iterator[bytes]:
        """Write the record from line ``first`` on, as of now, counted from 0 at the last clear, dropped ones included."""
        position = self._dropped
        for received in list(self._requests):
            if position + len(received.ids) <= first:
                position += len(received.ids)
                continue
            for line in received.lines():
                if position >= first:
                    yield line
                position += 1

    def status(self) -> dict[str, object]:
        """Count what was received. Reads every id: about a second for a million lines."""
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
            "clear_match_keys": self._tally["clear_match_keys"],
            "broken_off": self._tally["broken_off"],
            "tokens": self._tally["tokens"],
            "tokens_refused": self._tally["tokens_refused"],
            "answers": dict(sorted(self._answers.items())),
            "withheld_answers": self._answers["withheld"],
            "distinct_ids": len(ids),
            "ids_accepted": len(accepted),
            "ids_accepted_again": sum(1 for times in accepted.values() if times > 1),
            "lines": self._lines,
            "lines_dropped": self._dropped,
        }
