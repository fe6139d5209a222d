"""Whatever a record brings, reading it ends with an outcome of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from connector.core.letters import DEDUPE_ID_HEADER, LEFT_OUT_HEADER, Letter
from connector.errors import SchemaUnavailable, SettingsError, Undecodable, UnknownSchema
from connector.intake import Intake, Origin, headers_of
from connector.kafka.dead_letters import DeadLetters
from connector.model import Answer, Flaw, Manner, Reason, TopicPartition

_ORIGIN = Origin(TopicPartition("conversions", 3), 1, "cluster", "topic-id")
_Header = tuple[str, bytes | None]


class ARecord:
    """A record as polled."""

    def __init__(self, offset: int, headers: Sequence[_Header] | None = ()) -> None:
        self._offset, self._headers = offset, headers

    def value(self) -> bytes | None:
        return b"%d" % self._offset

    def key(self) -> bytes | None:
        return b"key"

    def headers(self) -> Sequence[_Header] | None:
        return self._headers

    def offset(self) -> int:
        return self._offset

    def leader_epoch(self) -> int | None:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000


class Broken(ARecord):
    """Its headers cannot be read: asked once it raises, asked again it ends the process, as the client's list would."""

    asked = 0

    def headers(self) -> Sequence[_Header] | None:
        if self._headers != ():
            return self._headers
        self.asked += 1
        assert self.asked == 1, "a segmentation fault"
        raise SystemError("returned a result with an exception set")

    def set_headers(self, headers: Sequence[_Header]) -> None:
        self._headers = headers


class Sound:
    """Decodes to nothing, and encodes to the id, but for the offsets that raise."""

    path, prefix, suffix = "", b"", b""

    def __init__(self, decode: Mapping[bytes, BaseException], encode: Mapping[bytes, BaseException]) -> None:
        self._decode, self._encode = decode, encode

    def decode(self, value: bytes, waited: float = 0.0) -> dict[str, object]:
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

    poll, _ = intake.read(_ORIGIN, [ARecord(0), ARecord(1), ARecord(2)])

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

    poll, _ = _intake(errors, unforeseen=lambda *what: told.append(what[2])).read(_ORIGIN, [ARecord(0), ARecord(1)])

    assert poll.payloads == [Flaw(Reason.UNKNOWN_SCHEMA, "unknown"), Flaw(Reason.UNDECODABLE, "no Avro")]
    assert told == []


@pytest.mark.parametrize("error", [SettingsError(["x"]), KeyboardInterrupt(), SystemExit()])
def test_what_is_not_of_a_record_is_no_records_outcome(error: BaseException) -> None:
    with pytest.raises(type(error)):
        _intake({b"0": error}).read(_ORIGIN, [ARecord(0)])


def test_a_schema_that_cannot_be_had_is_no_records_outcome() -> None:
    poll, lacking = _intake({b"1": SchemaUnavailable("down")}).read(_ORIGIN, [ARecord(0), ARecord(1)])

    assert poll.offsets == [0]
    assert isinstance(lacking, SchemaUnavailable)


def test_headers_that_cannot_be_read_count_as_absent_and_are_not_asked_for_again() -> None:
    odd, sound = Broken(1), ARecord(1)

    first, second = (_intake().read(_ORIGIN, [record])[0] for record in (odd, sound))

    assert first.payloads == second.payloads, "the id derived from its place"
    assert first.sizes == second.sizes
    assert headers_of(odd) is None
    assert headers_of(odd) is None
    assert list(odd.headers() or ()) == [], "whoever else asks comes upon nothing"
    assert list(headers_of(sound) or ("none",)) == ["none"]


def test_headers_are_read_as_they_are() -> None:
    headers: list[_Header] = [("", b"1"), ("none", None), ("empty", b""), (DEDUPE_ID_HEADER, b"mine")]
    headers += [(f"h{number}", b"x") for number in range(10_000)]

    poll, _ = _intake().read(_ORIGIN, [ARecord(0, headers), ARecord(0, None)])

    assert headers_of(ARecord(0, headers)) == headers
    assert headers_of(ARecord(0, None)) == ()
    assert poll.payloads[0] == b"mine"
    assert poll.sizes[0] > poll.sizes[1] + 20_000


class Settable(ARecord):
    def set_headers(self, headers: Sequence[_Header]) -> None:
        self._headers = headers


class Written:
    """A producer that notes the headers of what is written."""

    def __init__(self) -> None:
        self.headers: list[_Header] = []

    def write(self, *_: object, headers: list[_Header], **__: object) -> None:
        self.headers = headers


_TRACES: list[_Header] = [(f"trace-{number}", bytes(1_000)) for number in range(5_000)]


def test_headers_too_large_to_be_held_are_left_out_and_the_event_is_sent_under_its_id() -> None:
    record = Settable(0, [*_TRACES, (DEDUPE_ID_HEADER, b"mine")])

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
    record, producer = Settable(0, headers), Written()
    _intake().read(_ORIGIN, [record])

    DeadLetters(cast("Any", producer), "group", lambda topic: topic).write(
        _ORIGIN, record, Flaw(Reason.UNDECODABLE, "it is damaged"), lambda _: None
    )

    letter = Letter.read(producer.headers)
    assert letter is not None
    assert letter.lacks == ({lacks} if lacks else set())
    assert len(producer.headers) < 10 or not lacks


def test_a_letter_that_its_topic_refuses_lacks_its_short_headers_once() -> None:
    record, producer = Settable(0, [*_TRACES, (DEDUPE_ID_HEADER, bytes(1_000))]), Written()
    _intake().read(_ORIGIN, [record])

    DeadLetters(cast("Any", producer), "group", lambda topic: topic).write(
        _ORIGIN, record, Flaw(Reason.UNDECODABLE, "it is damaged"), lambda _: None, Manner(left_out=3)
    )

    assert dict(producer.headers)[LEFT_OUT_HEADER] == b"headers, key, value"


class Valueless(Settable):
    def value(self) -> bytes | None:
        return None


_REPLAY: list[_Header] = [(DEDUPE_ID_HEADER, b"id"), ("connector.replay-of", b"orders-3@17"), ("connector.replays", b"1")]


def test_a_record_that_an_older_version_replayed_without_its_value_is_a_letter_and_not_ignored() -> None:
    headers: list[_Header] = [("trace", b"1"), (LEFT_OUT_HEADER, b"value, key"), *_REPLAY]

    poll, _ = _intake().read(_ORIGIN, [Valueless(0, headers)])

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
    assert _intake().read(_ORIGIN, [Valueless(0, headers)])[0].payloads == [None]
