"""Records made to overload: none holds up the consumer's thread, and none fills the memory."""

from __future__ import annotations

import gc
import pkgutil
import re
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import product
from time import thread_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import connector.amazon
from connector import nothing
from connector.amazon.ads_v1 import AdsV1
from connector.amazon.events_v1 import EventsV1
from connector.amazon.normalisation import PERSONAL, _split_at_pound, normalised
from connector.amazon.vocabulary import ADS_MATCH_KEYS
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.core.dedupe import digest
from connector.intake import Intake, Origin
from connector.model import Flaw, Poll, Reason, TopicPartition
from connector.ports import Record
from tests.avro.samples import EVENT, Known, ours, written
from tests.records import PolledRecord

MB = 1_000_000
_BUDGET = 2.5
"""Yardsticks of the consumer's thread for a record of 1 MB: 0.1 s on one of two shared cores, where one takes 0.04 s."""
_SURELY_WITHIN_SECONDS = 0.02
"""Half a yardstick on that machine: what takes no longer need not be compared."""
_TRIES = 10


_ORIGIN = Origin(TopicPartition("conversions", 0), 1, "cluster", "topic-id")


def an_intake(schema: Any = None, contract: AdsV1 | EventsV1 | None = None) -> Intake:
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema or ours()))
    return Intake(decoder, contract or AdsV1("account", "client", "EU"), ("clientDedupeId",))


def read(intake: Intake, value: bytes) -> Poll:
    poll, lacking = intake.read(_ORIGIN, [PolledRecord(value)])
    assert lacking is None
    return poll


def _seconds(work: Callable[[], object]) -> float:
    """Return the processor's time of this thread."""
    began = thread_time()
    work()
    return thread_time() - began


def _ratio(work: Callable[[], object], reference: Callable[[], object], most: float) -> float:
    """Return how many times as long work takes as a reference, by the fastest of some tries; one that is enough ends them.

    Tries of both take turns, and the fastest of each counts: a core that others make slow for a while is slow for both.
    """
    taken = given = float("inf")
    for _ in range(_TRIES):
        taken, given = min(taken, _seconds(work)), min(given, _seconds(reference))
        if taken <= most * given:
            break
    return taken / given


def _yardstick() -> int:
    total = 0
    for number in range(MB):
        total += number & 7
    return total


def within_budget(intake: Intake, value: bytes) -> None:
    if _seconds(lambda: read(intake, value)) > _SURELY_WITHIN_SECONDS:
        taken = _ratio(lambda: read(intake, value), _yardstick, _BUDGET)
        assert taken <= _BUDGET, f"{taken:.1f} yardsticks"


def _key(kind: str, value: str | None) -> dict[str, str | None]:
    return {"type": kind, "value": value}


UNITS = [
    "A",
    "A#",
    "1-A ",
    "<",
    "$",
    "%7B",
    "{{",
    "e\u0301\u0316",
    "\u200b",
    "\U000e0041",
    "1",
    "@",
    "/",
    "\u0660",
    "__a",
    "\\",
    "&#x41;",
    "|",
]
TEXTS = [
    "name",
    "clientDedupeId",
    "eventType",
    "eventActionSource",
    "countryCode",
    "currencyCode",
    "userAgent",
    "arefMeasurementTokens",
    "amazonAdEventKey",
    "partner",
    "dataSetName",
]


def _long(unit: str, size: int) -> str:
    return unit * (size // len(unit.encode()))


def _bombs() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, unit in product(TEXTS, ["A", "{{", "\u200b", "\U000e0041", "__a", " ", "|", "ABCDEFGHIJ.1755712000000|"]):
        yield f"{name} of {unit!r}", {name: _long(unit, MB)}
    for name, begins in product(("tcf", "gpp", "ipAddress", "amznUserData"), ("C" * 20, "D", "")):
        for unit in (".a", "~a", "~", "a", "1", " ", "\u200b"):
            yield f"consent.{name} of {begins[:1]}…{unit!r}", {"consent": {name: begins + _long(unit, MB)}}
    for kind, unit in product(["EMAIL", "PHONE", "FIRST_NAME", "ADDRESS", "STATE", "POSTAL", "RAMP_ID", "FIP"], UNITS):
        longest = [_key(kind, f"{_long(unit, 4_096)[:1_015]}{number:05}") for number in range(100)]
        yield f"100 of {kind} of {unit!r}", {"matchKeys": longest}
        short = [_key(kind, f"{_long(unit, 240)[:58]}{number:05}") for number in range(100)]
        yield f"100 short ones of {kind} of {unit!r}", {"matchKeys": short}
    for kind, unit in product(["CITY", "MAID", "MATCH_ID"], UNITS):
        yield f"15 long ones of {kind} of {unit!r}", {"matchKeys": [_key(kind, _long(unit, MB // 15))] * 15}
    yield "many match keys", {"matchKeys": [_key("PHONE", f"+49 30 1{number}") for number in range(45_000)]}
    yield "many small match keys", {"matchKeys": [_key("", "")] * (MB // 3)}
    yield "many attributes", {"customAttributes": {f"a{number}": "x" for number in range(100_000)}}
    yield "many typed attributes", {"customData": [{"name": "a", "value": "b", "dataType": "c"}] * 110_000}
    yield "many options", {"dataProcessingOptions": [""] * MB}
    yield "many blank options", {"dataProcessingOptions": ["  "] * (MB // 3)}
    for unit in ("a", " ", "\u200b"):
        yield f"an attribute's name of {unit!r}", {"customAttributes": {_long(unit, MB): "x"}}
        yield f"an attribute's value of {unit!r}", {"customAttributes": {"a": _long(unit, MB)}}
        yield f"an attribute's type of {unit!r}", {"customData": [{"name": "a", "value": "1", "dataType": _long(unit, MB)}]}


BOMBS = dict(_bombs())


@pytest.mark.parametrize("part", range(8))
def test_no_record_of_a_megabyte_costs_more_than_its_budget(part: int) -> None:
    for number, (name, changes) in enumerate(BOMBS.items()):
        if number % 8 == part:
            try:
                within_budget(INTAKE, written(ours(), EVENT | changes))
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None


INTAKE = an_intake()

_PIECES = st.text(st.characters(codec="utf-8"), max_size=4) | st.sampled_from(UNITS)
_A_TEXT = st.builds(
    lambda unit, begins, ends, size: begins + _long(unit, size) + ends,
    _PIECES.filter(bool),
    _PIECES,
    _PIECES,
    st.sampled_from([60, 250, 1_000, MB // 20, MB]),
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    texts=st.dictionaries(st.sampled_from(TEXTS), _A_TEXT, max_size=2),
    keys=st.lists(st.tuples(st.sampled_from(sorted(ADS_MATCH_KEYS)), _A_TEXT), max_size=4),
    copies=st.sampled_from([1, 25, 300]),
    consent=st.none() | st.dictionaries(st.sampled_from(["tcf", "gpp", "ipAddress"]), _A_TEXT, max_size=2),
    attributes=st.dictionaries(_A_TEXT, _A_TEXT, max_size=2),
)
def test_no_record_that_is_made_up_costs_more_than_its_budget(
    texts: dict[str, str],
    keys: list[tuple[str, str]],
    copies: int,
    consent: dict[str, str] | None,
    attributes: dict[str, str],
) -> None:
    given_keys = [_key(kind, f"{value}{number}") for kind, value in keys for number in range(copies)]
    value = written(ours(), EVENT | texts | {"matchKeys": given_keys, "consent": consent, "customAttributes": attributes})
    if len(value) <= MB:
        within_budget(INTAKE, value)


# ---- what is not decoded at all


def test_a_value_of_many_requests_is_too_large_before_it_is_decoded() -> None:
    class Decoder:
        def decode(self, record: Record, waited: float = 0.0) -> dict[str, object] | None:
            raise AssertionError(f"{len(record.value() or b'')} bytes decoded, after {waited} s")

    contract = AdsV1("account", "client", "NA")
    poll = read(Intake(Decoder(), contract, ("clientDedupeId",), request_bytes=1_000), bytes(4_001))

    assert poll.payloads == [Flaw(Reason.TOO_LARGE, "value: more than 4000 bytes, 4 times a request (BATCH_MAX_BYTES)")]
    assert poll.keys == [None]
    assert poll.times == [None]
    assert poll.sizes == [4_001]


def test_a_value_of_a_few_requests_is_read() -> None:
    value = written(ours(), EVENT)
    contract = AdsV1("account", "client", "NA")
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours()))
    assert isinstance(read(Intake(decoder, contract, (), request_bytes=-(-len(value) // 4)), value).payloads[0], bytes)


def _zigzag(number: int) -> bytes:
    number, written_bytes = (number << 1) ^ (number >> 63), bytearray()
    while number & ~0x7F:
        written_bytes.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written_bytes, number])


def _with_extra(items: Any, bytes_of_it: bytes) -> tuple[Any, bytes]:
    """Return our schema with an array that nobody reads, and an event whose array is these bytes."""
    schema = ours()
    schema["fields"].append({"name": "extra", "type": {"type": "array", "items": items}})
    return schema, written(schema, EVENT | {"extra": []})[:-1] + bytes_of_it


ITEM = {
    "type": "record",
    "name": "item",
    "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": ["null", "string"]}],
}
BLOCKS = {
    "one block": _zigzag(MB // 2) + bytes(MB) + b"\0",
    "a block an item": (_zigzag(1) + bytes(2)) * (MB // 3) + b"\0",
    "blocks that tell their size": (_zigzag(-1) + _zigzag(2) + bytes(2)) * (MB // 4) + b"\0",
    "a number without end": b"\x80" * MB,
}


@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS)
def test_a_million_parts_are_not_read_whatever_part_of_the_record_has_them(blocks: bytes) -> None:
    schema, value = _with_extra(ITEM, blocks)
    intake = an_intake(schema)
    tracemalloc.start()
    try:
        (payload,) = read(intake, value).payloads
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(payload, Flaw)
    assert payload.reason in (Reason.TOO_LARGE, Reason.UNDECODABLE)
    assert peak < 20 * MB
    within_budget(intake, value)


@pytest.mark.parametrize("size", [16_000, MB])
def test_items_of_as_many_parts_without_bytes_as_are_taken_stay_within_the_budget(size: int) -> None:
    nothings = [{"name": f"n{number}", "type": "null"} for number in range(7)]
    item = {"type": "record", "name": "item", "fields": [{"name": "a", "type": "boolean"}, *nothings]}
    schema, value = _with_extra(item, _zigzag(size) + bytes(size) + b"\0")
    intake = an_intake(schema)
    tracemalloc.start()
    try:
        read(intake, value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60 * MB
    within_budget(intake, value)


@pytest.mark.parametrize(
    "nothing_at_all",
    ["null", {"type": "record", "name": "empty", "fields": []}, {"type": "fixed", "name": "none", "size": 0}],
)
def test_items_without_bytes_are_refused_with_the_schema(nothing_at_all: Any) -> None:
    schema, value = _with_extra(nothing_at_all, _zigzag(2**40) + b"\0")
    (payload,) = read(an_intake(schema), value).payloads
    assert isinstance(payload, Flaw)
    assert payload.reason is Reason.UNDECODABLE


def test_a_large_record_of_few_parts_is_read_whole() -> None:
    schema = ours()
    schema["fields"].append({"name": "page", "type": "string"})
    schema["fields"].append({"name": "lines", "type": {"type": "array", "items": ITEM}})
    value = written(schema, EVENT | {"page": "x" * 2 * MB, "lines": [{"a": "sku", "b": "x"}] * 5_000})
    assert isinstance(read(an_intake(schema), value).payloads[0], bytes)


# ---- what everything is made of


def _matchers() -> Iterator[tuple[str, Callable[[str], object]]]:
    """Yield every expression of the normalisers and rules, as it is used."""
    modules = [import_module(f"connector.amazon.{each.name}") for each in pkgutil.iter_modules(connector.amazon.__path__)]
    for module in [*modules, nothing]:
        for name, value in vars(module).items():
            for found in _within(value):
                pattern = found if isinstance(found, re.Pattern) else found.__self__
                match = partial(found.sub, "") if isinstance(found, re.Pattern) else found
                yield f"{module.__name__}.{name}: {pattern.pattern[:40]}", match


def _within(value: Any) -> Iterator[Any]:
    if isinstance(value, re.Pattern) or isinstance(getattr(value, "__self__", None), re.Pattern):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _within(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _within(each)


MATCHERS = dict(_matchers())


def test_the_expressions_are_found() -> None:
    assert len(MATCHERS) > 30
    assert any("_TEMPLATE" in name for name in MATCHERS)


@pytest.mark.parametrize("name", MATCHERS)
def test_no_expression_is_worse_than_linear(name: str) -> None:
    match = MATCHERS[name]
    for unit, begins, ends in product([*UNITS, " ", "a", "a.", "_"], ("", "C", "<"), ("", "\u00df!")):
        small, large = (begins + _long(unit, size) + ends for size in (2_000, 16_000))
        if _seconds(partial(match, large)) > 0.004:
            assert _ratio(partial(match, large), partial(match, small), 24) <= 24, (unit, begins, ends)


def _split_as_the_reference_does(words: list[str]) -> None:
    pound = re.compile(r"([A-Z]*)#([0-9A-Z/-]*)")
    for first in range(len(words)):
        position = first
        for found in pound.finditer(words[first]):
            parts = [part for part in (found[1], "#", found[2]) if part]
            if len(parts) > 1:
                words[position : position + 1] = parts
                position += len(parts) - 1


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(st.text("AB#19-/é", max_size=12), max_size=4))
def test_words_are_split_at_a_pound_as_the_reference_does(words: list[str]) -> None:
    expected = list(words)
    _split_as_the_reference_does(expected)
    _split_at_pound(words)
    assert words == expected


@pytest.mark.parametrize("kind", sorted(PERSONAL))
def test_accents_without_end_are_no_name(kind: str) -> None:
    assert normalised(kind, "jo@example.com" + "\u0301\u0316" * 400, "DE") == ""


def test_what_is_remembered_of_texts_is_small() -> None:
    """A cache is bounded by what it holds: 1,024 addresses of a megabyte kept 924 MB."""
    contract = AdsV1("account", "client", "EU")
    held = set()
    tracemalloc.start()
    try:
        for number in range(60):
            text = f"{number:07}" + "1" * (MB // 2)
            event = {"consent": {"ipAddress": text}, "countryCode": text, "eventType": text, "currencyCode": text}
            contract.encode(EVENT | event | {"matchKeys": [_key("FIP", text), _key(text, text)]}, text)
            held.add(digest([number]))
        del text, event
        gc.collect()
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 3 * MB
