"""Edges of what makes a key, from the bytes of a record: ids that look alike are different, and no id is no key."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.findings import Adjustment
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

    def topic(self) -> str:
        return "conversions"

    def leader_epoch(self) -> int | None:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, AT_MS


def read(*events: dict[str, Any], fields: tuple[str, ...] = ("clientDedupeId",), contract: AdsV1 | None = None) -> Poll:
    contract = contract or AdsV1("account", "client", "NA")
    intake = Intake(EventDecoder(Framing.CONFLUENT, Known(id1=ours())), contract, fields)
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

    before, _ = intake.read(_ORIGIN, [ARecord({}, 4)])
    replayed, _ = intake.read(_ORIGIN, [ARecord({}, 9, header), ARecord({"clientDedupeId": None}, 10, header)])

    assert sent_ids(replayed) == [*sent_ids(before), "derived-before"]
    assert replayed.keys == [*before.keys, None]


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
