"""Whatever a record brings, reading it ends with an outcome of its own; and what makes a key: ids that look alike are
different, and no id is no key."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.findings import Adjustment
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.core.letters import DEDUPE_ID_HEADER, LEFT_OUT_HEADER, Letter
from connector.errors import SchemaUnavailable, SettingsError, Undecodable, UnknownSchema
from connector.headers import all_headers_of, headers_of
from connector.intake import Intake, Origin
from connector.kafka.dead_letters import DeadLetters
from connector.model import Answer, Flaw, Manner, Poll, Reason, TopicPartition
from connector.ports import Record
from tests.avro.samples import EVENT, Known, ours, written
from tests.records import AT_MS, PolledRecord

_ORIGIN = Origin(TopicPartition("conversions", 3), 1, "cluster", "topic-id")
_Header = tuple[str, bytes | None]


def a_record(offset: int, headers: Sequence[_Header] | None = ()) -> PolledRecord:
    return PolledRecord(b"%d" % offset, offset, headers, b"key", time_ms=1_000)


class Broken(PolledRecord):
    """Its headers cannot be read: asked once it raises, asked again it ends the process, as the client's list would."""

    asked = 0

    def headers(self) -> Sequence[_Header] | None:
        if self.headers_ != ():
            return self.headers_
        self.asked += 1
        assert self.asked == 1, "a segmentation fault"
        raise SystemError("returned a result with an exception set")

    def set_headers(self, headers: Sequence[_Header]) -> None:
        self.headers_ = headers


class Sound:
    """Decodes to nothing, and encodes to the id, but for the offsets that raise."""

    path, prefix, suffix = "", b"", b""

    def __init__(self, decode: Mapping[bytes, BaseException], encode: Mapping[bytes, BaseException]) -> None:
        self._decode, self._encode = decode, encode

    def decode(self, record: Record, waited: float = 0.0) -> dict[str, object]:
        value = record.value() or b""
        if value in self._decode:
            raise self._decode[value]
        return {"value": value, "timestamp": 1_000, "clientDedupeId": None}

    def encode(self, inputs: Mapping[str, object], dedupe_id: str) -> bytes | Flaw:
        value: Any = inputs["value"]
        if value in self._encode:
            raise self._encode[value]
        return dedupe_id.encode()

    def headers(self, access_token: str) -> dict[str, str]:
        raise NotImplementedError

    def read(self, status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        raise NotImplementedError


def _intake(
    decode: Mapping[bytes, BaseException] | None = None,
    encode: Mapping[bytes, BaseException] | None = None,
    unforeseen: Callable[[TopicPartition, int, str], None] = lambda *_: None,
) -> Intake:
    sound = Sound(decode or {}, encode or {})
    return Intake(sound, sound, ("clientDedupeId",), unforeseen)


@pytest.mark.parametrize("where", ["decode", "encode"])
@pytest.mark.parametrize(
    "error",
    [
        RecursionError("deep"),
        MemoryError(),
        OverflowError("Python int too large to convert to C long"),
        ValueError("Exceeds the limit (4300 digits) for integer string conversion"),
        UnicodeDecodeError("utf-8", b"jo@example.com", 0, 1, "secret"),
        KeyError("jo@example.com"),
        SystemError("jo@example.com"),
        AttributeError("jo@example.com"),
        StopIteration(),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_nobody_foresaw_of_one_record_makes_it_a_letter_and_leaves_the_others(where: str, error: Exception) -> None:
    told: list[tuple[TopicPartition, int, str]] = []
    intake = _intake(**{where: {b"1": error}}, unforeseen=lambda *what: told.append(what))

    poll, _ = intake.read(_ORIGIN, [a_record(0), a_record(1), a_record(2)])

    kind = type(error).__name__
    assert poll.offsets == [0, 1, 2]
    assert [type(payload) for payload in poll.payloads] == [bytes, Flaw, bytes]
    flaw = poll.payloads[1]
    assert isinstance(flaw, Flaw)
    assert (flaw.reason, kind in flaw.detail, "jo@example.com" in flaw.detail) == (Reason.UNDECODABLE, True, False)
    assert told == [(_ORIGIN.partition, 1, kind)]


def test_records_at_fault_are_told_from_what_nobody_foresaw() -> None:
    told: list[str] = []
    errors = {b"0": UnknownSchema("unknown"), b"1": Undecodable("no Avro")}

    poll, _ = _intake(errors, unforeseen=lambda *what: told.append(what[2])).read(_ORIGIN, [a_record(0), a_record(1)])

    assert poll.payloads == [Flaw(Reason.UNKNOWN_SCHEMA, "unknown"), Flaw(Reason.UNDECODABLE, "no Avro")]
    assert told == []


@pytest.mark.parametrize("error", [SettingsError(["x"]), KeyboardInterrupt(), SystemExit()])
def test_what_is_not_of_a_record_is_no_records_outcome(error: BaseException) -> None:
    with pytest.raises(type(error)):
        _intake({b"0": error}).read(_ORIGIN, [a_record(0)])


def test_a_schema_that_cannot_be_had_is_no_records_outcome() -> None:
    poll, lacking = _intake({b"1": SchemaUnavailable("down")}).read(_ORIGIN, [a_record(0), a_record(1)])

    assert poll.offsets == [0]
    assert isinstance(lacking, SchemaUnavailable)


def test_headers_that_cannot_be_read_count_as_absent_and_are_not_asked_for_again() -> None:
    odd, sound = Broken(b"1", 1, (), b"key", time_ms=1_000), a_record(1)

    first, second = (_intake().read(_ORIGIN, [record])[0] for record in (odd, sound))

    assert first.payloads == second.payloads, "the id derived from its place"
    assert first.sizes == second.sizes
    assert headers_of(odd) is None
    assert headers_of(odd) is None
    assert list(odd.headers() or ()) == [], "whoever else asks comes upon nothing"
    assert list(headers_of(sound) or ("none",)) == ["none"]


def test_all_headers_are_what_each_record_has() -> None:
    some: list[_Header] = [("a", b"1")]
    records = [a_record(0), Broken(b"1", 1, ()), a_record(2, some), Broken(b"3", 3, ()), Broken(b"4", 4, ()), a_record(5)]

    assert all_headers_of(records) == [(), None, some, None, None, ()]
    assert all_headers_of(records) == [headers_of(record) for record in records], "no record is asked twice"
    assert all_headers_of([]) == []


def test_headers_are_read_as_they_are() -> None:
    headers: list[_Header] = [("", b"1"), ("none", None), ("empty", b""), (DEDUPE_ID_HEADER, b"mine")]
    headers += [(f"h{number}", b"x") for number in range(10_000)]

    poll, _ = _intake().read(_ORIGIN, [a_record(0, headers), a_record(0, None)])

    assert headers_of(a_record(0, headers)) == headers
    assert headers_of(a_record(0, None)) == ()
    assert poll.payloads[0] == b"mine"
    assert poll.sizes[0] > poll.sizes[1] + 20_000


class Settable(PolledRecord):
    def set_headers(self, headers: Sequence[_Header]) -> None:
        self.headers_ = headers


class Written:
    """A producer that notes the headers of what is written."""

    def __init__(self) -> None:
        self.headers: list[_Header] = []

    def write(self, *_: object, headers: list[_Header], **__: object) -> None:
        self.headers = headers


_TRACES: list[_Header] = [(f"trace-{number}", bytes(1_000)) for number in range(5_000)]


def test_headers_too_large_to_be_held_are_left_out_and_the_event_is_sent_under_its_id() -> None:
    record = Settable(b"0", 0, [*_TRACES, (DEDUPE_ID_HEADER, b"mine")], b"key")

    poll, _ = _intake().read(_ORIGIN, [record])

    assert poll.payloads[0] == b"mine"
    assert poll.sizes[0] < 1_000
    assert list(headers_of(record) or ()) == [(DEDUPE_ID_HEADER, b"mine")]
    assert Origin.derived_id(_ORIGIN, record) == "mine"


@pytest.mark.parametrize(
    ("headers", "lacks"),
    [(_TRACES, "headers"), (_TRACES[:3_000], None)],
    ids=["too large", "large"],
)
def test_a_letter_says_that_it_lacks_headers_that_were_too_large(headers: list[_Header], lacks: str | None) -> None:
    record, producer = Settable(b"0", 0, headers, b"key"), Written()
    _intake().read(_ORIGIN, [record])

    DeadLetters(cast("Any", producer), "group", lambda topic: topic).write(
        _ORIGIN, record, Flaw(Reason.UNDECODABLE, "it is damaged"), lambda _: None
    )

    letter = Letter.read(producer.headers)
    assert letter is not None
    assert letter.lacks == ({lacks} if lacks else set())
    assert len(producer.headers) < 10 or not lacks


def test_a_letter_that_its_topic_refuses_lacks_its_short_headers_once() -> None:
    record, producer = Settable(b"0", 0, [*_TRACES, (DEDUPE_ID_HEADER, bytes(1_000))], b"key"), Written()
    _intake().read(_ORIGIN, [record])

    DeadLetters(cast("Any", producer), "group", lambda topic: topic).write(
        _ORIGIN, record, Flaw(Reason.UNDECODABLE, "it is damaged"), lambda _: None, Manner(left_out=3)
    )

    assert dict(producer.headers)[LEFT_OUT_HEADER] == b"headers, key, value"


_REPLAY: list[_Header] = [(DEDUPE_ID_HEADER, b"id"), ("connector.replay-of", b"orders-3@17"), ("connector.replays", b"1")]


def test_a_record_that_an_older_version_replayed_without_its_value_is_a_letter_and_not_ignored() -> None:
    headers: list[_Header] = [("trace", b"1"), (LEFT_OUT_HEADER, b"value, key"), *_REPLAY]

    poll, _ = _intake().read(_ORIGIN, [Settable(None, 0, headers, b"key")])

    (flaw,) = poll.payloads
    assert isinstance(flaw, Flaw)
    assert flaw.reason is Reason.UNDECODABLE
    assert "orders-3@17" in flaw.detail


@pytest.mark.parametrize(
    "headers",
    [None, [], [(LEFT_OUT_HEADER, b"value")], _REPLAY, [(LEFT_OUT_HEADER, b"headers"), *_REPLAY]],
    ids=["none", "empty", "left out", "replayed", "other part"],
)
def test_any_other_record_without_a_value_is_ignored(headers: list[_Header] | None) -> None:
    assert _intake().read(_ORIGIN, [Settable(None, 0, headers, b"key")])[0].payloads == [None]


# ---- keys and ids, from the bytes of a record


def an_event(event: dict[str, Any], offset: int = 0, headers: Sequence[_Header] | None = ()) -> PolledRecord:
    """Return a record whose value is an event of our own schema."""
    return PolledRecord(written(ours(), EVENT | event), offset, headers, b"key", time_ms=1_000)


def read(*events: dict[str, Any], fields: tuple[str, ...] = ("clientDedupeId",), contract: AdsV1 | None = None) -> Poll:
    contract = contract or AdsV1("account", "client", "NA")
    intake = Intake(EventDecoder(Framing.CONFLUENT, Known(id1=ours())), contract, fields)
    poll, lacking = intake.read(_ORIGIN, [an_event(event, offset) for offset, event in enumerate(events)])
    assert lacking is None
    return poll


def sent_ids(poll: Poll) -> list[str]:
    return [json.loads(payload)["eventId"] for payload in poll.payloads if isinstance(payload, bytes)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("order-1", "Order-1", id="case"),
        pytest.param("stra\u00dfe", "STRASSE", id="case that folds to two letters"),
        pytest.param(unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"), id="Unicode form"),
        pytest.param("1", "\uff11", id="width"),
        pytest.param("order-1", "order\u200b-1", id="space without width"),
        pytest.param("1", "01", id="zero before it"),
        pytest.param("a", "\u0430", id="Latin and Cyrillic"),
    ],
)
def test_ids_that_look_alike_are_different_and_sent_as_they_are(one: str, other: str) -> None:
    poll = read({"clientDedupeId": one}, {"clientDedupeId": other}, {"clientDedupeId": one})

    first, second, again = poll.keys
    assert first is not None
    assert first != second
    assert first == again
    assert sent_ids(poll) == [one, other, one]


@pytest.mark.parametrize("same", ["order-1 ", "\torder-1\r\n", "\ufefforder-1", "order-1\u200b", "\u00a0order-1\x00\x00"])
def test_what_surrounds_an_id_is_no_part_of_it_in_the_window_and_on_the_wire(same: str) -> None:
    poll = read({"clientDedupeId": "order-1"}, {"clientDedupeId": same})

    assert poll.keys[0] is not None
    assert poll.keys[0] == poll.keys[1]
    assert sent_ids(poll) == ["order-1", "order-1"]


@pytest.mark.parametrize(
    "nothing",
    [
        "undefined",
        "NULL",
        "{{order_id}}",
        "%%ORDER%%",
        "\u200b",
        "\u3164",
        "{00000000-0000-0000-0000-000000000000}",
        "0",
        "None",
    ],
)
def test_an_id_that_says_nothing_is_none_and_five_orders_are_five(nothing: str) -> None:
    contract = AdsV1("account", "client", "NA")
    poll = read(*[{"clientDedupeId": nothing}] * 5, contract=contract)

    assert poll.keys == [None] * 5
    assert len(set(sent_ids(poll))) == 5
    assert nothing not in sent_ids(poll)
    assert contract.adjustments[Adjustment.DEDUPE_ID_LEFT_OUT] == 5


def test_a_country_is_no_nothing_in_a_key_of_several_fields() -> None:
    fields = ("clientDedupeId", "countryCode")
    namibia, nothing = read({"countryCode": "NA"}, {"countryCode": "NA", "clientDedupeId": "null"}, fields=fields).keys

    assert namibia is not None
    assert nothing is None


@pytest.mark.parametrize("nothing", [None, "", "  ", "\t\n", "\u3000"])
def test_an_event_without_an_id_has_no_key_and_an_id_of_its_place(nothing: str | None) -> None:
    poll = read({"clientDedupeId": nothing}, {"clientDedupeId": nothing})

    assert poll.keys == [None, None]
    first, second = sent_ids(poll)
    assert first != second
    assert sent_ids(read({"clientDedupeId": nothing})) == [first], "the same when it is read again"


def test_a_key_of_several_fields_needs_them_all() -> None:
    fields = ("clientDedupeId", "currencyCode")
    poll = read({}, {"currencyCode": "USD"}, {"currencyCode": None}, {"clientDedupeId": None}, fields=fields)

    both, other, *missing = poll.keys
    assert both is not None
    assert both != other
    assert missing == [None, None]


_TOLD_APART: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "clientDedupeId,eventType": ({"eventType": "CHECKOUT"}, {"eventType": "OFF_AMAZON_PURCHASES"}),
    "eventType,clientDedupeId": ({"eventType": "CHECKOUT"}, {"eventType": "OFF_AMAZON_PURCHASES"}),
    "clientDedupeId,name": ({"name": "web_order"}, {"name": "app_order"}),
    "clientDedupeId,value,currencyCode": ({"value": 1.0}, {"value": 2.0}),
    "clientDedupeId,unitsSold": ({"unitsSold": 1}, {"unitsSold": 2}),
    "name": ({"name": "web_order"}, {"name": "app_order"}),
    "timestamp,name": ({"timestamp": AT_MS}, {"timestamp": AT_MS + 1}),
}


@pytest.mark.parametrize("names", _TOLD_APART)
def test_what_a_key_of_several_fields_tells_apart_the_id_on_the_wire_tells_apart(names: str) -> None:
    base: dict[str, object] = {"value": 9.0, "currencyCode": "EUR", "unitsSold": 3, "eventType": "OFF_AMAZON_PURCHASES"}
    one, other = (base | changes for changes in _TOLD_APART[names])
    fields = tuple(names.split(","))

    poll = read(one, other, one, fields=fields)

    first, second, again = zip(poll.keys, sent_ids(poll), strict=True)
    assert first == again, "a copy has the key and the id of the first"
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert sent_ids(read(other, one, fields=fields)) == [second[1], first[1]], (
        "the same after a restart, wherever they stand"
    )


def test_the_names_of_a_key_in_another_order_make_the_same_ids() -> None:
    events = ({"eventType": "CHECKOUT"}, {"eventType": "LEAD"}, {"eventType": "LEAD", "clientDedupeId": "another"})
    names = ("clientDedupeId", "eventType")

    assert sent_ids(read(*events, fields=names)) == sent_ids(read(*events, fields=names[::-1]))


def test_without_a_field_of_the_key_the_id_is_of_the_place_for_nothing_else_tells_two_events_apart() -> None:
    missing = {"unitsSold": None, "eventType": "OFF_AMAZON_PURCHASES"}
    fields = ("clientDedupeId", "unitsSold")

    poll = read(missing, missing, fields=fields)

    assert poll.keys == [None, None]
    assert len(set(sent_ids(poll))) == 2
    assert sent_ids(poll) == sent_ids(read(missing, missing, fields=fields)), "the same when they are read again"


def test_a_replayed_dead_letter_keeps_the_id_of_its_key_and_without_a_key_the_one_that_its_letter_carries() -> None:
    fields = ("clientDedupeId", "eventType")
    header = [(DEDUPE_ID_HEADER, b"derived-before")]
    intake = Intake(EventDecoder(Framing.CONFLUENT, Known(id1=ours())), AdsV1("account", "client", "NA"), fields)

    before, _ = intake.read(_ORIGIN, [an_event({}, 4)])
    replayed, _ = intake.read(_ORIGIN, [an_event({}, 9, header), an_event({"clientDedupeId": None}, 10, header)])

    assert sent_ids(replayed) == [*sent_ids(before), "derived-before"]
    assert replayed.keys == [*before.keys, None]


def test_an_event_time_is_no_part_of_the_key() -> None:
    one, other = read({"timestamp": AT_MS}, {"timestamp": AT_MS - 86_400_000}).keys

    assert one == other


def test_a_replayed_dead_letter_without_an_id_keeps_the_one_derived_before() -> None:
    intake = Intake(
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())), AdsV1("account", "client", "NA"), ("clientDedupeId",)
    )

    poll, _ = intake.read(_ORIGIN, [an_event({"clientDedupeId": None}, 9, [(DEDUPE_ID_HEADER, b"derived-before")])])

    assert sent_ids(poll) == ["derived-before"]
    assert poll.keys == [None]


def test_a_buffer_counts_headers_too() -> None:
    intake = Intake(
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())), AdsV1("account", "client", "NA"), ("clientDedupeId",)
    )
    headers: list[tuple[str, bytes | None]] = [("trace", b"x" * 1_000), ("none", None)]

    poll, _ = intake.read(_ORIGIN, [an_event({}), an_event({}, headers=headers)])
    without, with_headers = poll.sizes

    assert with_headers - without == len("trace") + 1_000 + len("none")
