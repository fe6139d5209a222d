"""Headers of the same names: which are the letter's, a replay's, or the producer's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.dedupe import derived_id
from connector.core.letters import (
    DEDUPE_ID_HEADER,
    HEADERS,
    KEY,
    LEFT_OUT_HEADER,
    LETTER_HEADERS,
    REPLAY_HEADERS,
    UNREADABLE,
    VALUE,
    Letter,
    kept,
    largest,
    marked,
    replay_of,
    replayed,
    replayed_without_value,
    size,
)
from connector.model import TopicPartition

_Header = tuple[str, bytes | None]
_ID = derived_id("cluster", "topic-id", 3, 41, 1_000)


def _letter_headers(*record: _Header, dedupe_id: str = _ID, **changes: str) -> list[_Header]:
    values = {"reason": "rejected", "detail": "why", "topic": "conversions", "partition": "3", "offset": "41"}
    values |= {"timestamp": "1000", "group": "group", "dedupe-id": dedupe_id} | changes
    return [*record, *((f"connector.{name}", text.encode()) for name, text in values.items())]


def _read(headers: list[_Header]) -> Letter:
    letter = Letter.read(headers)
    assert letter is not None
    return letter


def test_letter_says_what_its_last_headers_say() -> None:
    letter = _read(_letter_headers(("connector.reason", b"a producer's own"), ("connector.group", b"another")))

    assert letter == Letter("rejected", TopicPartition("conversions", 3), 41, 1_000, "group", _ID, 0, id_derived=True)
    assert letter.record == "conversions-3@41"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        _letter_headers()[1:],
        [*_letter_headers(), ("more", b"")],
        _letter_headers(partition="x"),
        _letter_headers(offset=""),
        _letter_headers(timestamp="never"),
        _letter_headers(offset="9" * 5_000),
        _letter_headers(partition="9" * 21),
        _letter_headers(timestamp=str(2**63)),
        _letter_headers(offset=str(2**63)),
        _letter_headers(timestamp="-" + "9" * 5_000),
        _letter_headers()[::-1],
    ],
)
def test_what_a_connector_did_not_write_is_no_letter(headers: list[_Header]) -> None:
    assert Letter.read(headers) is None


def test_header_without_a_value_is_an_empty_one() -> None:
    headers = [(name, None if name.endswith(("detail", "group")) else value) for name, value in _letter_headers()]
    assert _read(headers).group == ""


def test_record_without_a_timestamp_has_a_letter_too() -> None:
    assert _read(_letter_headers(timestamp="-1")).timestamp_ms == -1


def test_derived_id_tells_of_which_topic_of_the_name_the_record_was() -> None:
    letter = _read(_letter_headers())
    assert letter.may_stand_in("cluster", "topic-id")
    assert not letter.may_stand_in("cluster", "topic of the same name, deleted")
    assert not letter.may_stand_in("another cluster", "topic-id")


def test_id_that_was_brought_along_tells_nothing() -> None:
    brought = _read(_letter_headers((DEDUPE_ID_HEADER, b"mine"), dedupe_id="mine"))
    assert brought.may_stand_in("cluster", "any")
    assert _read(_letter_headers((DEDUPE_ID_HEADER, b""))).id_derived


_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["trace", "Ünïcode", *LETTER_HEADERS, *REPLAY_HEADERS]), st.one_of(st.none(), st.binary(max_size=8))
    ),
    max_size=12,
)


@settings(deadline=None)
@given(_HEADERS)
def test_replayed_record_has_its_own_headers_as_they_were_then_id_origin_and_count(record: list[_Header]) -> None:
    if [name for name, _ in record[-3:]] == list(REPLAY_HEADERS):
        record.pop()  # it looks like a replayed one: the test below
    headers = _letter_headers(*record)

    written = replayed(_read(headers), headers)

    assert written[: len(record)] == record
    assert written[len(record) :] == [
        ("connector.dedupe-id", _ID.encode()),
        ("connector.replay-of", b"conversions-3@41"),
        ("connector.replays", b"1"),
    ]
    assert replay_of(written) == (_ID, "conversions-3@41")


@settings(deadline=None)
@given(_HEADERS)
def test_replayed_twice_the_marks_do_not_pile_up_and_the_id_stays(record: list[_Header]) -> None:
    if [name for name, _ in record[-3:]] == list(REPLAY_HEADERS):
        record.pop()
    first = _letter_headers(*record)
    once = replayed(_read(first), first)
    second = _letter_headers(*once, offset="57")

    letter = _read(second)
    twice = replayed(letter, second)

    assert (letter.replays, letter.dedupe_id, letter.id_derived) == (1, _ID, False)
    assert twice[: len(record)] == record
    assert dict(twice[len(record) :]) == {
        "connector.dedupe-id": _ID.encode(),
        "connector.replay-of": b"conversions-3@57",
        "connector.replays": b"2",
    }
    assert len(twice) == len(record) + 3


def test_record_that_was_not_replayed_is_no_copy_of_another() -> None:
    assert replay_of([]) is None
    assert replay_of([("connector.dedupe-id", b"1"), ("connector.replays", b"1")]) is None


def test_count_that_is_no_number_counts_as_none() -> None:
    marks: list[_Header] = [(DEDUPE_ID_HEADER, b"1"), ("connector.replay-of", b"a-0@1"), ("connector.replays", b"many")]
    assert _read(_letter_headers(*marks)).replays == 0


# ---- letters that lack a part of their record


def _cut(*record: _Header, lacks: bytes = b"value, headers") -> list[_Header]:
    return _letter_headers(*record, (LEFT_OUT_HEADER, lacks))


def test_letter_says_what_it_lacks_and_the_word_is_no_header_of_its_record() -> None:
    headers = _cut(("trace", b"1"))
    letter = _read(headers)

    assert letter.left_out == letter.lacks == {VALUE, HEADERS}
    assert replayed(letter, headers)[0] == ("trace", b"1")
    assert LEFT_OUT_HEADER not in dict(replayed(letter, headers))
    assert headers[-len(LETTER_HEADERS) :] == _letter_headers(), "as a connector of before reads it"
    assert _read(_letter_headers(("trace", b"1"))).left_out == frozenset()


def test_headers_that_nobody_can_read_are_not_looked_for_in_the_source() -> None:
    letter = _read(_cut(lacks=f"{KEY}, {UNREADABLE}".encode()))
    assert letter.left_out == {KEY, UNREADABLE}
    assert letter.lacks == {KEY}


@pytest.mark.parametrize("value", [None, b"", b"value,headers", b"the best part", b"\xff"])
def test_a_producers_own_header_of_that_name_is_its_records(value: bytes | None) -> None:
    headers = _letter_headers((LEFT_OUT_HEADER, value))
    letter = _read(headers)
    assert letter.left_out == frozenset()
    assert replayed(letter, headers)[0] == (LEFT_OUT_HEADER, value)


def test_the_largest_parts_go_first_and_empty_ones_never() -> None:
    sizes = {VALUE: 10, HEADERS: 30, KEY: 10}
    assert [largest(count, sizes) for count in range(4)] == [
        (),
        (HEADERS,),
        (HEADERS, VALUE),
        (HEADERS, VALUE, KEY),
    ]
    assert largest(3, {VALUE: 5, HEADERS: 0, KEY: 0}) == (VALUE,)


def test_of_headers_left_out_stays_what_ties_a_replayed_record_to_its_first() -> None:
    first = _letter_headers(("trace", b"1" * 9_000), offset="41")
    record = replayed(_read(first), first)

    assert list(kept(record)) == record[-3:]
    again = _cut(*kept(record))
    assert (_read(again).replays, _read(again).dedupe_id, _read(again).id_derived) == (1, _ID, False)


def test_of_headers_left_out_stays_the_id_that_was_brought_along_unless_it_is_large_itself() -> None:
    brought: list[_Header] = [(DEDUPE_ID_HEADER, None), ("trace", b"1"), (DEDUPE_ID_HEADER, b"a"), (DEDUPE_ID_HEADER, b"b")]
    assert list(kept(brought)) == [(DEDUPE_ID_HEADER, b"a")]
    assert list(kept([(DEDUPE_ID_HEADER, b"a" * 5_000)])) == []
    assert list(kept([("trace", b"1")])) == []


def test_record_read_from_the_source_is_marked_as_one_of_a_letter_is() -> None:
    whole: list[_Header] = [("trace", b"1"), ("none", None)]
    headers = _letter_headers(*whole)
    assert marked(_read(_cut()), whole) == replayed(_read(headers), headers)


def test_size_of_headers_is_that_of_names_and_values() -> None:
    assert size([("trace", b"1"), ("none", None)]) == len("trace1none")


def _replayed_by_an_older_version(*left_in_place: _Header) -> list[_Header]:
    return [*left_in_place, *((name, b"conversions-3@41") for name in REPLAY_HEADERS)]


def test_a_record_that_an_older_version_replayed_without_its_value_names_its_original() -> None:
    assert replayed_without_value(_replayed_by_an_older_version((LEFT_OUT_HEADER, b"headers, value"))) == "conversions-3@41"
    for other in (
        _replayed_by_an_older_version((LEFT_OUT_HEADER, b"headers")),
        _replayed_by_an_older_version(),
        [(LEFT_OUT_HEADER, b"value")],
        [],
    ):
        assert replayed_without_value(other) is None
