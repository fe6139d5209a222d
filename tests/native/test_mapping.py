"""That native code evaluates a mapping file as Python does, and ignores the records that Python ignores."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from connector_native import Codec
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.codec import BatchCodec
from connector.intake import Accepted, Intake, Origin
from connector.mapping.plan import Mapper
from connector.model import Flaw, TopicPartition
from tests.avro.samples import Known, written
from tests.mapping.support import CHARGE, ORDER, SIGN_UP, TILL, example, read_file
from tests.native.events import CONTRACTS, KEYS, Beside
from tests.native.mapped import HEADERS, mapping
from tests.records import AT_MS, PolledRecord

_EXAMPLES = {"order": ORDER, "envelope": SIGN_UP, "till": TILL, "charge": CHARGE}
_ORIGIN = Origin(TopicPartition("conversions", 3), 1, "cluster", "topic-id")


def _beside(text: str, writer: Any, contract: str = "ads EU", keys: tuple[str, ...] = ("clientDedupeId",)) -> Beside:
    one, other = (EventDecoder(Framing.CONFLUENT, Known(id1=writer), Mapper(read_file(text))) for _ in range(2))
    return Beside(one, CONTRACTS[contract](), CONTRACTS[contract](), keys, other)


def _value(name: str, change: dict[str, Any] | None = None) -> bytes:
    _, writer = example(name)
    return written(writer, copy.deepcopy(_EXAMPLES[name] | (change or {})))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), contract=st.sampled_from(sorted(CONTRACTS)), keys=st.sampled_from(KEYS))
def test_of_any_mapping_and_any_record(seed: int, contract: str, keys: tuple[str, ...]) -> None:
    dice = Random(seed)
    text, writer, values = mapping(dice, 30)
    beside = _beside(text, writer, contract, keys)
    for at in (slice(0, 1), slice(1, None)):  # native code knows a schema once Python has read a record of it
        beside.read([PolledRecord(value, number, dice.choice(HEADERS)) for number, value in enumerate(values[at])])


@pytest.mark.parametrize("contract", ["ads EU", "events EU"])
@pytest.mark.parametrize("name", _EXAMPLES)
def test_the_worked_examples_are_taken(name: str, contract: str) -> None:
    beside, value = _beside(*example(name), contract), _value(name)
    beside.read([PolledRecord(value)])
    poll = beside.read([PolledRecord(value, number, HEADERS[2]) for number in range(20)])
    assert all(isinstance(payload, bytes) for payload in poll.payloads)
    # Events/v1 has no place for the user agent that the envelope gives.
    assert beside.accepted == (0 if (name, contract) == ("envelope", "events EU") else 20)


@pytest.mark.parametrize("name", _EXAMPLES)
def test_of_every_damaged_bit(name: str) -> None:
    beside, value = _beside(*example(name)), _value(name)
    beside.read([PolledRecord(value)])
    damaged = [value[:at] for at in range(len(value))]
    damaged += [
        value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :] for at in range(5, len(value)) for bit in range(8)
    ]
    damaged.append(value + b"\x00")
    beside.read([PolledRecord(each, number) for number, each in enumerate(damaged)])
    assert 0 < beside.accepted < len(damaged)
    assert beside.ignored


def _decoder(name: str) -> tuple[EventDecoder, Mapper]:
    text, writer = example(name)
    mapper = Mapper(read_file(text))
    return EventDecoder(Framing.CONFLUENT, Known(id1=writer), mapper), mapper


def test_an_ignored_record_is_counted_once_although_it_is_offered_again() -> None:
    decoder, mapper = _decoder("order")
    contract = CONTRACTS["ads EU"]()
    intake = Intake(
        decoder, contract, ("clientDedupeId",), batches=BatchCodec(Codec, decoder, contract, ("clientDedupeId",))
    )
    intake.read(_ORIGIN, [PolledRecord(_value("order"))])
    other = PolledRecord(_value("order", {"status": "NEW"}))
    poll, _ = intake.read(_ORIGIN, [other] * 3, is_enough=lambda: True)
    assert len(poll.payloads) == 1
    poll, _ = intake.read(_ORIGIN, [other] * 2)
    assert [poll.payloads, poll.times, poll.keys] == [[None] * 2] * 3
    assert mapper.filtered["mapping[0]"] == 3


class _Ignores:
    """Ignores whatever comes."""

    def __init__(self) -> None:
        self.counted = 0

    def read(self, records: Sequence[Any], values: Sequence[bytes | None], *, bare: bool) -> Accepted:
        accepted = Accepted.none(len(records))
        accepted.ignored.update(dict.fromkeys(range(len(records)), "mapping[0]"))
        return accepted

    def count_ignored(self, label: str) -> None:
        self.counted += 1


def test_one_in_so_many_ignored_records_is_compared_and_native_code_that_differs_is_given_up() -> None:
    decoder, _ = _decoder("order")
    told: list[str] = []
    wrong = _Ignores()
    intake = Intake(decoder, CONTRACTS["ads EU"](), ("clientDedupeId",), batches=wrong, distrust=told.append, compared=5)
    intake._accepted = 1
    poll, _ = intake.read(_ORIGIN, [PolledRecord(_value("order"))] * 6)
    assert poll.payloads[:4] == [None] * 4
    assert all(isinstance(payload, bytes) for payload in poll.payloads[4:])
    assert (wrong.counted, told) == (4, ["different"])


_PLAIN = """
version = 1
[[mapping]]
{more}
[mapping.constants]
name = "Order"
eventType = "OFF_AMAZON_PURCHASES"
eventActionSource = "WEBSITE"
countryCode = "DE"
[mapping.fields]
clientDedupeId = "{id}"
timestamp = "placedAt"
value = "{value}"
[mapping.matchKeys]
EMAIL = "{email}"
[mapping.consent]
amznUserData = "'GRANTED'"
amznAdStorage = "'GRANTED'"
"""
_WRITER = {
    "type": "record",
    "name": "Own",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "placedAt", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}]},
        {"name": "cents", "type": "long"},
        {"name": "email", "type": ["null", "string"]},
        {"name": "either", "type": ["string", "long"]},
        {"name": "numbers", "type": {"type": "array", "items": "double"}},
    ],
}
_OWN = {
    "id": "order-1",
    "placedAt": AT_MS,
    "amount": b"\x13\x86",
    "cents": 4_998,
    "email": "1a" * 32,
    "either": "x-1",
    "numbers": [1.0],
}


def _text(more: str = "", own_id: str = "id", value: str = "amount", email: str = "email") -> str:
    return _PLAIN.format(more=more, id=own_id, value=value, email=email)


def _taken(text: str, *changes: dict[str, Any]) -> list[bool]:
    """Return of each record whether native code took it."""
    beside = _beside(text, _WRITER)
    beside.read([PolledRecord(written(_WRITER, copy.deepcopy(_OWN)))])
    found = []
    for change in changes:
        before = beside.accepted
        beside.read([PolledRecord(written(_WRITER, copy.deepcopy(_OWN | change)))])
        found.append(beside.accepted > before)
    return found


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"amount": None},
        {"amount": b"\x00"},
        {"amount": (10**14 - 1).to_bytes(8, "big")},
        {"email": "Jo@Example.com"},
    ],
    ids=str,
)
def test_what_is_taken(change: dict[str, Any]) -> None:
    assert _taken(_text(), change) == [True]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (_text(), {"amount": b"\xff"}),
        (_text(), {"amount": b"\x01" + bytes(16)}),
        (_text(), {"amount": b""}),
        (_text(more='when = "amount == `0`"'), {"amount": b""}),
        (_text(own_id="join('-', [id, to_string(email)])", email="'jo@example.com'"), {"email": None}),
        (_text(), {"email": None}),
        (_text(), {"email": "nobody"}),
        (_text(value="multiply(cents, `0`)"), {"cents": -1}),  # of Python's decimals, a zero with a sign
        (_text(value="divide(cents, `3`)"), {}),
        (_text(value="divide(cents, `0`)"), {}),
        (_text(value="sum(numbers)"), {}),
        (_text(more='when = "id > `5`"'), {}),
        (_text(own_id="upper(id)"), {"id": "größe-1"}),
    ],
    ids=str,
)
def test_what_is_left_to_python(text: str, change: dict[str, Any]) -> None:
    assert _taken(text, change) == [False]


@pytest.mark.parametrize(
    "text",
    [
        _text(more='topic = "conversions"'),
        _text(more="inherit = true"),
        _text(own_id="either"),
        _text(own_id="sort([id])[0]"),
        _text(value="number(id)"),
        _text(more="when = \"contains(id, 'order')\""),
        _text(more='when = "cents > `1.5`"'),
    ],
)
def test_a_mapping_with_something_else_has_no_codec(text: str) -> None:
    mapper = Mapper(read_file(text))
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=_WRITER), mapper)
    record = PolledRecord(written(_WRITER, copy.deepcopy(_OWN)))
    decoder.decode(record)
    made: list[dict[str, Any]] = []

    def make(terms: dict[str, Any]) -> Codec:
        made.append(terms)
        return Codec(terms)

    codec = BatchCodec(make, decoder, CONTRACTS["ads EU"](), ("clientDedupeId",))
    assert codec.read([record], [record.value()], bare=True) == Accepted.none(1)
    assert not made


def test_a_condition_that_native_code_knows_spares_python_the_records_that_do_not_meet_it() -> None:
    beside = _beside(_text(more='when = "cents > `0`"', own_id="sort([id])[0]"), _WRITER)
    records = [PolledRecord(written(_WRITER, copy.deepcopy(_OWN | {"cents": cents}))) for cents in (1, 0, -5)]
    beside.read(records[:1])
    poll = beside.read(records)
    assert (beside.accepted, beside.ignored) == (0, 2)
    assert [type(payload) for payload in poll.payloads] == [bytes, type(None), type(None)]


def test_of_two_mappings_the_first_that_holds_is_taken_and_one_that_python_has_to_read_is_left_to_it() -> None:
    first = _text(more='when = "cents == `1`"')
    second = _text(more='when = "cents == `2`"', own_id="sort([id])[0]").partition("version = 1")[2]
    third = _text(own_id="join('-', ['other', id])").partition("version = 1")[2]
    beside = _beside(first + second + third, _WRITER)
    records = [PolledRecord(written(_WRITER, copy.deepcopy(_OWN | {"cents": cents}))) for cents in (1, 2, 3)]
    beside.read(records[:1])
    poll = beside.read(records)
    assert beside.accepted == 2
    assert [b'"other-order-1"' in payload for payload in poll.payloads if isinstance(payload, bytes)] == [False, False, True]


def test_a_record_without_an_answer_to_its_mapping_is_left_to_python() -> None:
    beside = _beside(_text(own_id="header('id')"), _WRITER)
    value = written(_WRITER, copy.deepcopy(_OWN))
    headers: list[list[tuple[str, bytes | None]]] = [
        [("id", b"a-1")],
        [("id", b"\xff")],
        [],
        [("id", b"a-1"), ("id", b"b-2")],
    ]
    beside.read([PolledRecord(value, 0, headers[0])])
    poll = beside.read([PolledRecord(value, number, each) for number, each in enumerate(headers)])
    assert beside.accepted == 3
    assert [isinstance(payload, Flaw) for payload in poll.payloads] == [False, True, False, False]
    assert isinstance(poll.payloads[3], bytes)
    assert b'"b-2"' in poll.payloads[3]


def test_a_union_of_several_types_of_bytes_has_no_codec() -> None:
    decimals = [
        {"type": "fixed", "name": "Hash", "size": 4},
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    ]
    writer = _WRITER | {"fields": [*_WRITER["fields"], {"name": "parts", "type": {"type": "array", "items": decimals}}]}
    beside = _beside(_text(own_id="hex(not_null(parts, parts)[0])"), writer)
    records = [PolledRecord(written(writer, copy.deepcopy(_OWN | {"parts": [part]}))) for part in (b"\x01", b"abcd")]
    for _ in range(2):
        beside.read(records)
    assert (beside.accepted, beside.ignored) == (0, 0)


def test_a_decimal_of_more_decimals_than_native_code_counts_has_no_codec() -> None:
    def writer(of: Any) -> Any:
        changed: Any = copy.deepcopy(_WRITER)
        next(field for field in changed["fields"] if field["name"] == "amount")["type"] = of
        return changed

    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 64, "scale": 127}
    beside = _beside(_text(value="multiply(amount, `2`)"), writer(decimal))
    value = written(writer("bytes"), copy.deepcopy(_OWN | {"amount": (625 * 10**125).to_bytes(56, "big", signed=True)}))
    payloads = [beside.read([PolledRecord(value)]).payloads[0] for _ in range(2)]
    assert all(isinstance(payload, bytes) and b'"value":12.5,' in payload for payload in payloads)
    assert (beside.accepted, beside.ignored) == (0, 0)


def test_no_value_of_a_match_key_and_no_id_is_remembered() -> None:
    asked: list[bytes] = []

    def make(terms: dict[str, Any]) -> Codec:
        fill = terms["fill"]

        def told(memo: int, value: bytes) -> object:
            asked.append(value)
            return fill(memo, value)

        return Codec(terms | {"fill": told})

    decoder, contract = (
        EventDecoder(Framing.CONFLUENT, Known(id1=_WRITER), Mapper(read_file(_text()))),
        CONTRACTS["ads EU"](),
    )
    codec = BatchCodec(make, decoder, contract, ("clientDedupeId",))
    intake = Intake(decoder, contract, ("clientDedupeId",), batches=codec)
    for number in range(5):
        own = {"id": f"order-{number}", "email": f"jo{number}@example.com"}
        intake.read(_ORIGIN, [PolledRecord(written(_WRITER, copy.deepcopy(_OWN | own)))])
    assert not codec.declined
    assert sorted(asked) == [b"DE", b"EMAIL", b"OFF_AMAZON_PURCHASES", b"Order", b"WEBSITE"]
