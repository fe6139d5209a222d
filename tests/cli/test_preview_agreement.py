"""What `preview` says of records is what becomes of them in `run`: the same intake, and the core itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.avro.decoding import EventDecoder
from connector.avro.encoding import EventEncoder
from connector.avro.framing import Framing, framed
from connector.cli.preview_verdicts import DEAD_LETTER, DUPLICATE, IGNORED, SEND, STALE, Previewer
from connector.core import inputs
from connector.core.freshness import FreshnessPolicy
from connector.intake import Intake, Origin
from connector.mapping.plan import Mapper
from connector.model import DELIVERED, Flaw, Outcome, Verdicts
from tests.avro.samples import EVENT, Known, ours
from tests.core.builders import DAY_MS, NOW_MS, PLACE
from tests.fuzz import Bench
from tests.mapping.support import CONTRACT, Record, read_file

WEEK = FreshnessPolicy(7 * DAY_MS, 300_000)
OUTCOMES = {
    SEND: Outcome.DELIVERED,
    IGNORED: Outcome.IGNORED,
    STALE: Outcome.STALE,
    DUPLICATE: Outcome.DUPLICATE,
    DEAD_LETTER: Outcome.DEAD_LETTERED,
}
MAPPING = """
version = 1
[[mapping]]
record = "Sale"
when = "paid"
[mapping.constants]
name = "Order"
eventType = "OFF_AMAZON_PURCHASES"
eventActionSource = "WEBSITE"
[mapping.fields]
clientDedupeId = "id"
timestamp = "at"
countryCode = "country"
value = "divide(cents, `100`)"
userAgent = "trim(agent)"
[mapping.matchKeys]
EMAIL = "emails"
[mapping.consent]
amznUserData = "granted(consent)"
amznAdStorage = "granted(consent)"
"""
SALE: dict[str, Any] = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "paid", "type": "boolean"},
        {"name": "id", "type": ["null", "string"]},
        {"name": "at", "type": "long"},
        {"name": "country", "type": "string"},
        {"name": "cents", "type": ["long", "string"]},
        {"name": "agent", "type": ["null", "string", "long"]},
        {"name": "emails", "type": {"type": "array", "items": "string"}},
        {"name": "consent", "type": ["null", "boolean", "string"]},
    ],
}
OTHER: dict[str, Any] = {"type": "record", "name": "Beat", "fields": [{"name": "beat", "type": "int"}]}
AGES = st.sampled_from([0, 1, 3, 6, 8, 300]).map(lambda days: NOW_MS - days * DAY_MS) | st.sampled_from([0, NOW_MS + DAY_MS])
SALES = st.fixed_dictionaries(
    {
        "paid": st.booleans() | st.just(True),
        "id": st.sampled_from([None, "", "a", " a", "b", "c"]),
        "at": AGES,
        "country": st.sampled_from(["DE", "de", "XX", ""]),
        "cents": st.sampled_from([1999, 0, -5, "a text"]),
        "agent": st.sampled_from([None, "Browser", 5]),
        "emails": st.lists(st.sampled_from(["jo@example.com", "no address", ""]), max_size=2),
        "consent": st.sampled_from([True, True, False, None, "maybe"]),
    }
)
EVENTS = st.fixed_dictionaries(
    {
        "timestamp": AGES,
        "clientDedupeId": st.sampled_from([None, "", "a", "b"]),
        "countryCode": st.sampled_from(["DE", "Nowhere"]),
        "customAttributes": st.sampled_from([None, {"brand": "acme"}]),
    }
)


class At(Record):
    """A record at an offset."""

    at = 0

    def offset(self) -> int:
        return self.at


def polled(values: Sequence[bytes | None]) -> list[At]:
    made = []
    for at, value in enumerate(values):
        record = At(value_=value, time_ms=NOW_MS)
        record.at = at
        made.append(record)
    return made


def agree(make: Callable[[], tuple[EventDecoder, Mapper | None]], values: Sequence[bytes | None]) -> None:
    """Check that `preview` and `run` say the same of the same records."""
    origin = Origin(PLACE, 1, "cluster", "topic-id")
    records = polled(values)
    decoder, mapper = make()
    intake = Intake(decoder, CONTRACT, ("clientDedupeId",))
    previewer = Previewer(intake, decoder, CONTRACT, mapper, WEEK, NOW_MS, 1_000_000, shows_identifiers=True)
    previewed = [previewer.look(origin, record) for record in records]

    decoder, _ = make()
    poll, unavailable = Intake(decoder, CONTRACT, ("clientDedupeId",)).read(origin, records, 1e6)
    assert unavailable is None
    bench = Bench(CONTRACT)
    bench.tell(inputs.Polled((poll,)))
    while bench.out:
        bench.answer(lambda events: Verdicts([DELIVERED] * events))
    bench.drain(len(records))

    assert [OUTCOMES[each.verdict] for each in previewed] == [bench.fates[at] for at in range(len(records))]
    for each, payload in zip(previewed, poll.payloads, strict=True):
        assert each.event == (orjson.loads(payload) if isinstance(payload, bytes) else None)
        if isinstance(payload, Flaw) and each.verdict == DEAD_LETTER and each.reason != "implausible-time":
            assert (each.reason, each.detail) == (payload.reason.value, payload.detail)


@pytest.mark.parametrize("otherwise", ["dead-letter", "ignore"])
@settings(max_examples=60, deadline=None)
@given(sales=st.lists(SALES | st.just("beat") | st.none() | st.just(b"\x00\x00\x00\x00\x01\xff"), min_size=1, max_size=8))
def test_with_a_mapping_file(otherwise: str, sales: list[Any]) -> None:
    text = f'otherwise = "{otherwise}"\n{MAPPING}'
    sale, beat = EventEncoder(SALE), EventEncoder(OTHER)
    values = [
        each
        if each is None or isinstance(each, bytes)
        else framed(2, beat.encode({"beat": 1}))
        if each == "beat"
        else framed(1, sale.encode(each))
        for each in sales
    ]

    def make() -> tuple[EventDecoder, Mapper | None]:
        mapper = Mapper(read_file(text))
        return EventDecoder(Framing.CONFLUENT, Known(id1=SALE, id2=OTHER), mapper), mapper

    agree(make, values)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(EVENTS | st.none(), min_size=1, max_size=8))
def test_without_one(changes: list[Any]) -> None:
    encoder = EventEncoder(ours())
    values = [None if each is None else framed(1, encoder.encode(EVENT | each)) for each in changes]
    agree(lambda: (EventDecoder(Framing.CONFLUENT, Known(id1=ours())), None), values)


def test_a_copy_of_an_event_that_is_too_large_is_no_duplicate() -> None:
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours()))
    intake = Intake(decoder, CONTRACT, ("clientDedupeId",))
    previewer = Previewer(intake, decoder, CONTRACT, None, WEEK, NOW_MS, request_bytes=600)
    large = EVENT | {"timestamp": NOW_MS, "partner": "x" * 100, "customAttributes": {"brand": "b" * 400}}
    values = [framed(1, EventEncoder(ours()).encode(each)) for each in (large, large)]
    looked = [previewer.look(Origin(PLACE, 1, "c", "t"), record) for record in polled(values)]
    assert [(each.verdict, each.reason) for each in looked] == [(DEAD_LETTER, "too-large")] * 2
