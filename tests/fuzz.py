"""Damaged records and damaged answers: never a crash, always exactly one outcome each. ``make fuzz`` runs a million.

``python -m tests.fuzz records`` damages records with a schema id and plain ones, of writers' schemas of many
shapes, and gives them to the real decoder, contract, keys and pipeline; ``python -m tests.fuzz framings`` does so
with records and headers in every framing, and ``python -m tests.fuzz mappings`` with records that mapping files make
events of; ``python -m tests.fuzz answers`` damages Amazon's answers of both contracts. ``python -m tests.fuzz codec``
reads damaged records in native code and in Python, and compares.
A seed makes a run the same each time. Compiled code reads the bytes: a crash of it is the end of the process.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count as counting
from itertools import islice
from random import Random
from typing import Any
from uuid import UUID

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.events_v1 import EventsV1
from connector.avro.decoding import EventDecoder
from connector.avro.encoding import EventEncoder
from connector.avro.framing import Framing, framed
from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy, Envelope
from connector.core.breaker import DeadLetterPolicy
from connector.core.commit_metadata import LedgerPosition
from connector.core.dedupe import DedupePolicy, SeenKeys
from connector.core.dispatch import DispatchPolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.offsets import ResolvedOffsets
from connector.core.pipeline import Pipeline
from connector.core.policy import BufferPolicy, Policy
from connector.core.recovery import Recovery
from connector.errors import UnknownSchema
from connector.intake import Intake, Origin
from connector.mapping.plan import Mapper
from connector.model import DELIVERED, Answer, Moment, Outcome, Poll, Verdicts
from connector.ports import WireContract
from tests.avro.samples import EVENT, ours, with_field, written
from tests.core.builders import DAY_MS, NOW_MS, PLACE, key_of
from tests.core.conversation import accounted_for
from tests.mapping.support import CHARGE, ORDER, SIGN_UP, TILL, example, read_file
from tests.records import PolledRecord

__all__ = ["Broken", "answers", "codec", "main", "records"]

_AT_ONCE = 500
_SLOWEST_SECONDS = 5.0
"""For one record; the machine may be busy with other things."""
_DRAIN_SECONDS = 6 * 3600.0
"""Time for a drain by the pipeline's clock: several times the longest wait that an answer may ask for."""
_MOST_GROWTH_BYTES = 300_000_000
"""Maximum growth of the process's memory over a run."""


class Broken(Exception):
    """A record or an answer that had no outcome, or more than one, or took too long."""


# ---- the pipeline, and everything around it that answers at once


class Bench:
    """A pipeline whose ledger and dead-letter topic take everything at once; it counts what became of each offset."""

    def __init__(self, contract: WireContract) -> None:
        week = 7 * DAY_MS
        dispatch = DispatchPolicy(
            BatchPolicy(_AT_ONCE, 1_000_000, 0.0),
            Envelope(contract.prefix, contract.suffix),
            max_in_flight=4,
            poll_gate_seconds=1e9,
            breaker=DeadLetterPolicy(max_consecutive=0, max_ratio=0.0),  # nearly all are letters here
        )
        policy = Policy(FreshnessPolicy(week, 300_000), DedupePolicy(week), dispatch, BufferPolicy(10**6, 10**12), 40.0)
        self.pipeline = Pipeline(policy)
        self.now = 0.0
        self.out: dict[int, int] = {}
        """Requests out: their number of events, by their own."""
        self.fates: dict[int, Outcome] = {}
        self.committed = 0
        start = LedgerPosition("ledger-id", 0)
        self.tell(inputs.Assigned(PLACE, 1))
        self.tell(inputs.Restored(1, Recovery(0, -1, start, "topic-id", SeenKeys(), ResolvedOffsets(), "")))

    def tell(self, told: inputs.Input) -> None:
        """Hand an input over, carry out what is asked for, and check that every record is somewhere."""
        waiting: list[inputs.Input] = [told]
        while waiting:
            now = Moment(NOW_MS + round(self.now * 1000), self.now, self.now, float("inf"), 0.0)
            for command in self.pipeline.handle(waiting.pop(), now):
                match command:
                    case commands.Send(number, _, events):
                        self.out[number] = events
                    case commands.WriteLetter(_, generation, _, offset):
                        waiting.append(inputs.LettersWritten(((generation, offset),)))
                    case commands.AppendFacts(_, generation, _, facts):
                        self._write_down(facts.offsets, facts.outcomes)
                        waiting.append(inputs.FactsAppended(generation, 1, now.wall_ms))
                    case commands.Commit(points):
                        self.committed = max(self.committed, *(point.next_offset for point in points))
                    case _:
                        pass
        records, accounted = self.pipeline.statistics.records, accounted_for(self.pipeline)
        if records != accounted:
            raise Broken(f"{records} records, {accounted} accounted for")

    def answer(self, read: Callable[[int], Answer]) -> None:
        """Answer the oldest request out."""
        number = min(self.out)
        events = self.out.pop(number)
        answer = read(events)
        if isinstance(answer, Verdicts) and len(answer.verdicts) != events:
            raise Broken(f"{len(answer.verdicts)} verdicts on {events} events")
        self.tell(inputs.RequestFinished(number, answer))

    def wait(self) -> None:
        """Go on to when the pipeline wants to be woken."""
        wake = self.pipeline.wake_at(Moment(NOW_MS + round(self.now * 1000), self.now, self.now, float("inf"), 0.0))
        self.now = max(self.now + 0.001, wake or 0.0)
        self.tell(inputs.TimePassed())

    def drain(self, offsets: int) -> None:
        """Let everything be delivered that still can be; every offset must have exactly one fate then."""
        deadline = self.now + _DRAIN_SECONDS
        while self.committed < offsets and self.now < deadline:
            if self.out:
                self.answer(lambda events: Verdicts([DELIVERED] * events))
            else:
                self.wait()
        if self.fates.keys() != set(range(offsets)):
            raise Broken(f"{offsets} records, {len(self.fates)} with a fate, committed up to {self.committed}")

    def _write_down(self, offsets: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        for offset, outcome in zip(offsets, outcomes, strict=True):
            if offset in self.fates:
                raise Broken(f"offset {offset} is {self.fates[offset].name}, and {outcome.name} as well")
            self.fates[offset] = outcome


# ---- records


_Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class _Corpus:
    """A decoder, and good values that it reads."""

    decoder: EventDecoder
    values: list[bytes]
    headers: Sequence[_Headers] = ((),)
    """Good headers, of which a record has one choice."""


class _Schemas:
    """Writers' schemas by id; one that is not there is unknown, as to a registry."""

    def __init__(self, schemas: Mapping[Any, Any]) -> None:
        self._schemas = schemas

    def definitions(self, schema_id: Any, waited: float) -> list[Any]:
        if schema_id not in self._schemas:
            raise UnknownSchema(f"no schema {schema_id}")
        return [self._schemas[schema_id]]

    def check(self) -> None: ...


def _shapes() -> list[tuple[Any, dict[str, Any]]]:
    """Return writers' schemas of many shapes, each with what its writer puts into an event."""
    cents = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    fixed = {"type": "fixed", "name": "Money", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 4}
    kinds = {"type": "enum", "name": "EventType", "symbols": ["LEAD", "OFF_AMAZON_PURCHASES", "SIGN_UP"]}
    reversed_ = copy.deepcopy(ours())
    reversed_["fields"].reverse()
    extra = copy.deepcopy(ours())
    tags = {"type": "map", "values": {"type": "array", "items": ["null", "long", "bytes"]}}
    extra["fields"].insert(3, {"name": "tags", "type": tags})
    aliased = with_field("clientDedupeId", name="orderId", aliases=["clientDedupeId"])
    wrapped = [
        "null",
        {"type": "record", "name": "Heartbeat", "fields": [{"name": "beat", "type": "int"}]},
        ours(),
    ]
    return [
        (ours(), {}),
        (reversed_, {}),
        (extra, {"tags": {"a": [None, 5, b"x"], "b": []}}),
        (aliased, {"orderId": "order-7"}),
        (with_field("value", type=["null", cents]), {"value": Decimal("19.99")}),
        (with_field("value", type=["null", fixed]), {"value": Decimal("0.9900")}),
        (with_field("value", type=["null", "float", "int"]), {"value": 5}),
        (with_field("eventType", type=kinds), {}),
        (with_field("unitsSold", type=["null", "int"]), {"unitsSold": 2}),
        (with_field("timestamp", type={"type": "long", "logicalType": "timestamp-micros"}), {"timestamp": NOW_MS * 1000}),
        (with_field("timestamp", type=["null", "long", "string"]), {}),
        (with_field("customAttributes", type={"type": "map", "values": ["null", "string"]}), {}),
        (wrapped, {}),
    ]


def _corpora(dice: Random) -> list[_Corpus]:
    """Return one corpus of Confluent's framing with all schemas, and one of plain Avro for each."""
    values: list[list[bytes]] = []
    shapes = _shapes()
    for schema, more in shapes:
        encoder = EventEncoder(_plain_times(schema))
        events = []
        for number in range(8):
            inputs = EVENT | {"timestamp": NOW_MS - dice.randrange(8 * DAY_MS)} | more
            if isinstance(more.get("timestamp"), int):
                inputs["timestamp"] = more["timestamp"] - dice.randrange(8 * DAY_MS) * 1000
            if "orderId" not in more:
                inputs["clientDedupeId"] = dice.choice([None, "", "  ", f"order-{number}", f"order-{dice.randrange(9)}"])
            inputs["customAttributes"] = {"brand": "acme"} if number % 2 else {}
            events.append(encoder.encode(inputs))
        values.append(events)
    by_id = _Schemas({number: schema for number, (schema, _) in enumerate(shapes)})
    by_file = [EventDecoder(Framing.PLAIN, _Schemas({0: schema})) for schema, _ in shapes]
    everything = [framed(number, value) for number, events in enumerate(values) for value in events]
    plain = [_Corpus(decoder, events) for decoder, events in zip(by_file, values, strict=True)]
    return [_Corpus(EventDecoder(Framing.CONFLUENT, by_id), everything), *plain]


def _framings(dice: Random) -> list[_Corpus]:
    """Return a corpus for every way in which a vendor's serialiser names a schema."""
    encoder = EventEncoder(_plain_times(ours()))
    bodies = [
        encoder.encode(EVENT | {"timestamp": NOW_MS - dice.randrange(8 * DAY_MS), "clientDedupeId": f"order-{number}"})
        for number in range(8)
    ]
    guid = bytes(range(16))
    number, hexadecimal = (7).to_bytes(8, "big"), b"0" * 32
    ids = {
        Framing.CONFLUENT: UUID(bytes=guid),
        Framing.GLUE: UUID(bytes=guid),
        Framing.AZURE: hexadecimal.decode(),
        Framing.SINGLE_OBJECT: number,
    }
    ways: list[tuple[Framing, Callable[[bytes], bytes], list[tuple[str, bytes | None]]]] = [
        (Framing.CONFLUENT, lambda body: b"\x01" + guid + body, []),
        (Framing.CONFLUENT, lambda body: body, [("__value_schema_id", b"\x01" + guid)]),
        (Framing.GLUE, lambda body: b"\x03\x00" + guid + body, []),
        (Framing.GLUE, lambda body: b"\x03\x05" + guid + zlib.compress(body), []),
        (Framing.APICURIO, lambda body: b"\x00" + number[4:] + body, []),
        (Framing.APICURIO, lambda body: b"\x00" + number + body, []),
        (Framing.APICURIO, lambda body: body, [("apicurio.value.globalId", number), ("apicurio.value.encoding", b"BINARY")]),
        (Framing.APICURIO, lambda body: body, [("apicurio.value.contentId", number)]),
        (Framing.AZURE, lambda body: body, [("content-type", b"avro/binary+" + hexadecimal)]),
        (Framing.SINGLE_OBJECT, lambda body: b"\xc3\x01" + number + body, []),
    ]
    apicurio = _Schemas({"contentId 7": ours(), "globalId 7": ours()})
    return [
        _Corpus(
            EventDecoder(framing, apicurio if framing is Framing.APICURIO else _Schemas({ids[framing]: ours()})),
            [write(body) for body in bodies],
            [headers],
        )
        for framing, write, headers in ways
    ]


def _mappings(dice: Random) -> list[_Corpus]:
    """Return a corpus for each worked example of a mapping file."""

    def at(event: dict[str, Any], when_ms: int) -> dict[str, Any]:
        seconds = when_ms // 1000
        iso = datetime.fromtimestamp(seconds, UTC).isoformat()
        times = {"placedAt": when_ms * 1000, "occurredAt": iso, "created": seconds, "sold_at": seconds}
        moved = {name: at(part, when_ms) if isinstance(part, dict) else part for name, part in event.items()}
        return {name: times.get(name, part) for name, part in moved.items()}

    corpora = []
    for name, event in (("order", ORDER), ("envelope", SIGN_UP), ("till", TILL), ("charge", CHARGE)):
        text, schema = example(name)
        values = [written(schema, at(copy.deepcopy(event), NOW_MS - dice.randrange(8 * DAY_MS))) for _ in range(8)]
        decoder = EventDecoder(Framing.CONFLUENT, _Schemas({1: schema}), Mapper(read_file(text)))
        corpora.append(_Corpus(decoder, values, [(), [("ce_id", b"ce-1")], [("ce_id", b"\xff")]]))
    return corpora


def _damaged_headers(dice: Random, choices: Sequence[_Headers]) -> _Headers:
    """Choose headers, and damage their contents in one case of four."""
    headers = dice.choice(choices)
    if dice.random() < 0.75:
        return headers
    return [(name, dice.choice((None, _damaged(dice, [content or b""])))) for name, content in headers]


def _plain_times(schema: Any) -> Any:
    """Copy a schema so that a timestamp is given as a number; decimals stay what they are."""
    if isinstance(schema, list):
        return [_plain_times(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    is_time = str(schema.get("logicalType", "")).startswith("timestamp")
    return {key: _plain_times(part) for key, part in schema.items() if not (is_time and key == "logicalType")}


_BOMBS = (
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # the least long: a length of -2^63
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # the largest
    b"\xfe\xff\xff\xff\x0f",  # 2^31 - 1
    b"\x80\x80\x80\x80\x10",  # 2^31
    b"\x80\x80\x80\x80\x80\x20",  # 2^39
    b"\x80" * 40,  # a number that does not end
    b"\xff" * 12,
    b"\x01\x80\x80\x80\x80\x20",  # a block of -1 items of so many bytes
)
"""Lengths and counts far beyond what follows them."""


def _every_bit_and_cut(values: Sequence[bytes]) -> Iterator[bytes]:
    for value in values:
        for at in range(len(value)):
            yield value[:at]
            for bit in range(8):
                yield value[:at] + bytes([value[at] ^ (1 << bit)]) + value[at + 1 :]


def _damaged(dice: Random, values: Sequence[bytes]) -> bytes:
    """Damage a value, several times over in one case of four."""
    value = dice.choice(values)
    for _ in range(dice.choice((1, 1, 1, dice.randint(2, 6)))):
        at, end = sorted((dice.randint(0, len(value)), dice.randint(0, len(value))))
        match dice.randrange(9):
            case 0 if value:
                at = dice.randrange(len(value))
                value = value[:at] + bytes([value[at] ^ (1 << dice.randrange(8))]) + value[at + 1 :]
            case 1:
                value = value[:at]
            case 2:
                value = value[:at] + dice.randbytes(dice.randint(1, 16)) + value[at:]
            case 3:
                other = dice.choice(values)
                value = value[:at] + other[dice.randint(0, len(other)) :]
            case 4:
                value = value[:at] + dice.choice(_BOMBS) + value[at + dice.randint(0, 2) :]
            case 5:
                value = dice.randbytes(dice.randint(0, 5)) + value[5:]
            case 6:
                value += dice.randbytes(dice.randint(1, 9))
            case 7:
                value = value[:at] + value[end:]
            case _:
                value = value[:at] + value[at:end] * dice.randint(2, 40) + value[end:]
    return value


def records(count: int, seed: int, corpora_of: Callable[[Random], list[_Corpus]] = _corpora) -> Counter[str]:
    """Damage so many records; return how often each fate was met. Raises `Broken`, or whatever a record led to."""
    dice = Random(seed)
    contracts: tuple[WireContract, ...] = (AdsV1("account", "client", "NA"), EventsV1("account", "client", "EU"))
    benches = [(Bench(contract), contract) for contract in contracts]
    offsets = [0, 0]
    corpora = corpora_of(dice)
    readers = [
        [Intake(corpus.decoder, contract, fields) for corpus in corpora]
        for contract, fields in zip(contracts, (("clientDedupeId",), ("clientDedupeId", "name")), strict=True)
    ]
    origin = Origin(PLACE, 1, "cluster", "topic-id")
    systematic = [_every_bit_and_cut(corpus.values[:: max(1, len(corpus.values) // 26)]) for corpus in corpora]
    for number in counting():
        if sum(offsets) >= count:
            break
        which, side = number % len(corpora), number // len(corpora) % 2
        bench, size = benches[side][0], min(_AT_ONCE, count - sum(offsets))
        values: list[bytes | None] = list(islice(systematic[which], size // 2))
        values += [
            _damaged(dice, corpora[which].values) if dice.random() < 0.98 else None for _ in range(size - len(values))
        ]
        poll = Poll(PLACE, 1)
        for value in values:
            headers = _damaged_headers(dice, corpora[which].headers)
            _join(poll, _read(readers[side][which], origin, offsets[side], value, headers))
            offsets[side] += 1
        bench.tell(inputs.Polled((poll,)))
        while bench.out:
            bench.answer(lambda events: Verdicts([DELIVERED] * events))
        bench.now += 1.5
        bench.tell(inputs.TimePassed())
    fates = Counter[str]()
    for (bench, _), end in zip(benches, offsets, strict=True):
        bench.drain(end)
        fates.update(outcome.name.lower() for outcome in bench.fates.values())
        fates.update({f"dead-lettered: {reason}": n for reason, n in bench.pipeline.statistics.dead_letters.items()})
    return fates


def _read(intake: Intake, origin: Origin, offset: int, value: bytes | None, headers: _Headers) -> Poll:
    began = time.thread_time()
    try:
        poll, _ = intake.read(origin, [PolledRecord(value, offset, headers or None, time_ms=NOW_MS)])
    except Exception as error:
        raise Broken(f"{type(error).__name__} by {value!r} {headers!r}") from error
    if time.thread_time() - began > _SLOWEST_SECONDS:
        raise Broken(f"{time.thread_time() - began:.1f} s for {value!r}")
    return poll


def _join(poll: Poll, one: Poll) -> None:
    for mine, theirs in (
        (poll.offsets, one.offsets),
        (poll.epochs, one.epochs),
        (poll.times, one.times),
        (poll.keys, one.keys),
        (poll.payloads, one.payloads),
        (poll.sizes, one.sizes),
        (poll.records, one.records),
    ):
        assert len(theirs) == 1
        mine.extend(theirs)  # type: ignore[arg-type]  # columns of the same name have the same type


# ---- answers

_STATUSES = (
    207,
    207,
    207,
    207,
    207,
    207,
    200,
    202,
    204,
    301,
    400,
    401,
    403,
    404,
    408,
    413,
    418,
    425,
    429,
    500,
    503,
    599,
    99,
    999,
)
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    1e300,
    0.5,
    "",
    "0",
    "1",
    "x" * 300,
    [],
    {},
    [[]],
    {"index": 0},
    "\ud800",
)
_CODES = (
    "BAD_REQUEST",
    "INTERNAL_ERROR",
    "CONFLICT",
    "FIELD_VALUE_IS_INVALID",
    "429",
    "500",
    400,
    503,
    None,
    "é",
    "x" * 300,
)


def _good_answer(dice: Random, events: int, first: int) -> dict[str, Any]:
    """Return an answer as Amazon documents it, some events accepted and some not."""
    accepted = [number for number in range(events) if dice.random() < 0.7]
    refused = [number for number in range(events) if number not in accepted]
    success = [{"index": number + first, "event": {"eventId": f"order-{number}"}} for number in accepted]
    errors = [
        {
            "index": number + first,
            "httpStatusCode": str(dice.choice(("400", "429", "500"))),
            "errors": [{"code": dice.choice(_CODES), "message": "m", "fieldLocation": f"events[{number}].eventTime"}],
            "subErrors": [{"errorCode": 400, "errorType": dice.choice(_CODES), "errorMessage": "m"}],
        }
        for number in refused
    ]
    return {"success": success, "error": errors}


def _twisted(dice: Random, node: Any) -> Any:
    """Change one place of an answer's structure."""
    if isinstance(node, dict) and node and dice.random() < 0.85:
        name = dice.choice(list(node))
        match dice.randrange(6):
            case 0:
                return {key: part for key, part in node.items() if key != name}
            case 1:
                return node | {name: dice.choice(_ODD)}
            case 2:
                return node | {dice.choice(("index", "error", "success", "errors", "code")): dice.choice(_ODD)}
            case _:
                return node | {name: _twisted(dice, node[name])}
    if isinstance(node, list) and node and dice.random() < 0.85:
        at = dice.randrange(len(node))
        match dice.randrange(5):
            case 0:
                return node[:at] + node[at + 1 :]
            case 1:
                return node + [node[at]] * dice.randint(1, 3)
            case 2:
                return [*node[:at], dice.choice(_ODD), *node[at:]]
            case _:
                return [*node[:at], _twisted(dice, node[at]), *node[at + 1 :]]
    return dice.choice(_ODD)


def _answer(dice: Random, events: int, first: int) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer that is damaged in some way, or in none."""
    node: Any = _good_answer(dice, events, dice.choice((first, first, first, 1 - first)))
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        node = _twisted(dice, node)
    body = json.dumps(node).encode("utf-8", "surrogatepass")
    match dice.randrange(12):
        case 0:
            body = _damaged(dice, [body])
        case 1:
            body = dice.choice((b"", b"\xef\xbb\xbf" + body, b"<html>", b"[" * 100_000, b'{"error":' * 5_000, body * 2))
        case 2:
            body = b'{"success":[{"index":' + b"9" * dice.randint(1, 5_000) + b"}]}"
        case _:
            pass
    headers = {
        dice.choice(("Content-Type", "content-type", "CONTENT-TYPE")): dice.choice(("application/json", "text/html", ""))
    }
    if dice.random() < 0.3:
        waits = (
            "0",
            "1",
            "30",
            "-1",
            "1e9",
            "9" * 400,
            "",
            "Wed, 21 Oct 2099 07:28:00 GMT",
            "Wed, 99 Oct 9999",
            "\x00",
            "٣",
        )
        headers["Retry-After"] = dice.choice(waits)
        headers["Date"] = dice.choice(("Wed, 21 Oct 2099 07:28:00 GMT", "yesterday", "Thu, 01 Jan 1970 00:00:00 -9999"))
    return dice.choice(_STATUSES), headers, body


def answers(count: int, seed: int) -> Counter[str]:
    """Damage so many answers; return how often each reading and fate was met. Raises `Broken`, or what an answer led to."""
    dice = Random(seed)
    met = Counter[str]()
    for contract, first in ((AdsV1("account", "client", "NA"), 0), (EventsV1("account", "client", "NA"), 1)):
        bench, offset = Bench(contract), 0
        for _ in range(count // 2):
            while not bench.out:
                if status.buffered_events(bench.pipeline) < 4 * _AT_ONCE:
                    bench.tell(inputs.Polled((_events(dice, bench, offset),)))
                    offset = bench.pipeline.statistics.records
                bench.wait()

            def read(events: int, contract: WireContract = contract, first: int = first) -> Answer:
                status, headers, body = _answer(dice, min(events, 40), first)
                try:
                    answer = contract.read(status, headers, body, events)
                except Exception as error:
                    raise Broken(f"{type(error).__name__} by {status} {headers} {body[:2000]!r}") from error
                kinds = (
                    {verdict.kind.value for verdict in answer.verdicts}
                    if isinstance(answer, Verdicts)
                    else {answer.failure.value}
                )
                met.update(kinds)
                return answer

            bench.answer(read)
        bench.drain(offset)
        met.update(outcome.name.lower() for outcome in bench.fates.values())
    return met


def _events(dice: Random, bench: Bench, offset: int) -> Poll:
    poll = Poll(PLACE, 1)
    now_ms = NOW_MS + round(bench.now * 1000)
    for number in range(offset, offset + dice.randint(1, 30)):
        poll.offsets.append(number)
        poll.epochs.append(0)
        poll.times.append(now_ms - dice.randrange(6 * DAY_MS))
        poll.keys.append(dice.choice((None, key_of(f"{number}"), key_of(f"{number - dice.randrange(20)}"))))
        poll.payloads.append(b"%d" % number)
        poll.sizes.append(100)
        poll.records.append(None)
    return poll


# ---- the native codec

_SCHEMA_RECORDS = 1_000
"""Records of one writer's schema, one contract and one key."""


def codec(count: int, seed: int) -> Counter[str]:
    """Read so many records both ways, two thirds of them damaged; return how often each fate was met.

    Raises `Broken` if native code makes of one what Python does not make.
    """
    from tests.native.events import CONTRACTS, KEYS, Beside, values  # noqa: PLC0415 - the crate may not be there
    from tests.native.mapped import HEADERS, mapping  # noqa: PLC0415

    dice, met = Random(seed), Counter[str]()
    while met["records"] < count:
        is_mapped = dice.random() < 0.5
        text, writer, good = mapping(dice, 100) if is_mapped else ("", *values(dice, 100))
        if not good:
            continue
        make, keys = CONTRACTS[dice.choice(sorted(CONTRACTS))], dice.choice(KEYS)
        one, other = (
            EventDecoder(Framing.CONFLUENT, _Schemas({1: writer}), Mapper(read_file(text)) if is_mapped else None)
            for _ in range(2)
        )
        beside = Beside(one, make(), make(), keys, other)
        beside.read([PolledRecord(good[0])])
        given = list(islice(_every_bit_and_cut(good[:1]), dice.choice((0, 0, 0, _SCHEMA_RECORDS))))
        while len(given) < min(_SCHEMA_RECORDS, count - met["records"]):
            given.append(dice.choice(good) if dice.random() < 0.3 else _damaged(dice, good))
        try:
            poll = beside.read([PolledRecord(value, number, dice.choice(HEADERS)) for number, value in enumerate(given)])
        except AssertionError as error:
            raise Broken(f"native code and Python differ: {error}") from error
        met["records"] += len(given)
        met["events"] += sum(isinstance(payload, bytes) for payload in poll.payloads)
        met["taken by native code"] += beside.accepted
        met["of a mapping file"] += len(given) * is_mapped
        met["of a mapping file, taken"] += beside.accepted * is_mapped
        met["of a mapping file, ignored by native code"] += beside.ignored
        met.update({f"declined: {reason}": times for reason, times in beside.codec.declined.items()})
    return met


# ---- by hand


_RUNS: dict[str, Callable[[int, int], Counter[str]]] = {
    "records": records,
    "framings": lambda count, seed: records(count, seed, _framings),
    "mappings": lambda count, seed: records(count, seed, _mappings),
    "answers": answers,
    "codec": codec,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of them, and print what was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("what", choices=tuple(_RUNS))
    parser.add_argument(
        "--count", type=int, default=None, help="default: 1000000 records, and for the codec; 100000 of the others"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    count = options.count or (1_000_000 if options.what in ("records", "codec") else 100_000)
    began, before = time.monotonic(), _peak_bytes()
    met = _RUNS[options.what](count, options.seed)
    grown = _peak_bytes() - before
    for what, times in sorted(met.items()):
        print(f"{times:>12,}  {what}")
    print(f"{count:,} {options.what}, seed {options.seed}: {time.monotonic() - began:.0f} s, grown by {grown / 1e6:.0f} MB")
    if grown > _MOST_GROWTH_BYTES * max(1, count // 1_000_000):
        raise Broken(f"the process grew by {grown:,} bytes")
    return 0


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
