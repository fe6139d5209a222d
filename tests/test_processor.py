"""Edges of what makes a key, from the bytes of a record: ids that look alike are different, and no id is no key."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.core.letters import DEDUPE_ID_HEADER
from connector.intake import Intake, Origin
from connector.model import Poll, TopicPartition
from tests.avro.samples import AT_MS, EVENT, Known, ours, written

_ORIGIN = Origin(TopicPartition("conversions", 3), 1, "cluster", "topic-id")


class ARecord:
    """A record as polled."""

    def __init__(self, event: dict[str, Any], offset: int = 0, headers: Sequence[tuple[str, bytes | None]] = ()) -> None:
        self._value, self._offset, self._headers = written(ours(), EVENT | event), offset, headers

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return None

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return self._headers

    def offset(self) -> int:
        return self._offset

    def leader_epoch(self) -> int | None:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, AT_MS


def read(*events: dict[str, Any], fields: tuple[str, ...] = ("clientDedupeId",)) -> Poll:
    intake = Intake(EventDecoder(Framing.CONFLUENT, Known(id1=ours())), AdsV1("account", "client", "NA"), fields)
    poll, lacking = intake.read(_ORIGIN, [ARecord(event, offset) for offset, event in enumerate(events)])
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
        pytest.param("order-1", "order-1 ", id="space after it"),
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


def test_an_event_time_is_no_part_of_the_key() -> None:
    one, other = read({"timestamp": AT_MS}, {"timestamp": AT_MS - 86_400_000}).keys

    assert one == other


def test_a_replayed_dead_letter_without_an_id_keeps_the_one_derived_before() -> None:
    intake = Intake(
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())), AdsV1("account", "client", "NA"), ("clientDedupeId",)
    )

    poll, _ = intake.read(_ORIGIN, [ARecord({"clientDedupeId": None}, 9, [(DEDUPE_ID_HEADER, b"derived-before")])])

    assert sent_ids(poll) == ["derived-before"]
    assert poll.keys == [None]


def test_a_buffer_counts_headers_too() -> None:
    intake = Intake(
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())), AdsV1("account", "client", "NA"), ("clientDedupeId",)
    )
    headers: list[tuple[str, bytes | None]] = [("trace", b"x" * 1_000), ("none", None)]

    poll, _ = intake.read(_ORIGIN, [ARecord({}), ARecord({}, headers=headers)])
    without, with_headers = poll.sizes

    assert with_headers - without == len("trace") + 1_000 + len("none")
