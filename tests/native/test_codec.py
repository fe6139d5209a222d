"""That native code declines a record, or makes of it what Python makes, byte for byte."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from connector_native import Codec
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.avro.decoding import EventDecoder
from connector.avro.encoding import EventEncoder
from connector.avro.framing import Framing, framed
from connector.cli.samples import samples
from connector.codec import BatchCodec
from connector.core.letters import DEDUPE_ID_HEADER
from connector.intake import Accepted, Intake, Origin
from connector.model import Flaw, TopicPartition
from connector.nothing import DISGUISED
from connector.ports import Record
from tests import fuzz
from tests.avro.samples import EVENT, Known, ours, with_field, written
from tests.native.events import CONTRACTS, KEYS, Beside, values
from tests.records import AT_MS, PolledRecord

_GOOD = (
    EVENT
    | dict.fromkeys(("customData", "dataSetName", "userAgent", "arefMeasurementTokens", "amazonAdEventKey", "partner"))
    | {"matchKeys": [{"type": "EMAIL", "value": "1a" * 32}, {"type": "PHONE", "value": "2b" * 32}]}
)
_ORIGIN = Origin(TopicPartition("conversions", 3), 1, "cluster", "topic-id")


def _beside(contract: str = "ads NA", keys: tuple[str, ...] = ("clientDedupeId",), writer: Any = None) -> Beside:
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours() if writer is None else writer))
    return Beside(decoder, CONTRACTS[contract](), CONTRACTS[contract](), keys)


def _read(beside: Beside, *events: dict[str, Any], writer: Any = None) -> int:
    """Read events both ways; return how many native code took."""
    before = beside.accepted
    given = [written(ours() if writer is None else writer, each) for each in events]
    beside.read([PolledRecord(value, number) for number, value in enumerate(given)])
    return beside.accepted - before


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), contract=st.sampled_from(sorted(CONTRACTS)), keys=st.sampled_from(KEYS))
def test_of_any_schema_and_any_event(seed: int, contract: str, keys: tuple[str, ...]) -> None:
    writer, made = values(Random(seed), 25)
    _beside(contract, keys, writer).read([PolledRecord(value, number) for number, value in enumerate(made)])


def _every_bit_and_cut(value: bytes) -> list[bytes]:
    cuts = [value[:at] for at in range(len(value))]
    bits = [value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :] for at in range(5, len(value)) for bit in range(8)]
    return [*cuts, *bits, value + b"\x00"]


@pytest.mark.parametrize("contract", ["ads NA", "events EU"])
def test_of_every_damaged_bit(contract: str) -> None:
    beside = _beside(contract)
    damaged = _every_bit_and_cut(written(ours(), _GOOD | {"customAttributes": {"brand": "acme"}}))
    beside.read([PolledRecord(value, number) for number, value in enumerate(damaged)])
    assert 0 < beside.accepted < len(damaged)


@pytest.mark.parametrize("contract", sorted(CONTRACTS))
def test_plain_samples_are_all_taken(contract: str) -> None:
    beside, encoder = _beside(contract), EventEncoder()
    plain = [framed(1, encoder.encode(sample.event or {})) for sample in samples(500, AT_MS, odd=False)]
    beside.read([PolledRecord(value, number) for number, value in enumerate(plain)])
    assert beside.accepted == 500
    assert not beside.codec.declined


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"clientDedupeId": None},
        {"clientDedupeId": "1" * 256},
        {"name": 'a "quoted" näme'},
        {"eventType": "page view", "value": -3.25, "currencyCode": None, "unitsSold": None},
        {"currencyCode": " "},
        {"value": 9_999_999_999_999.99},
        {"value": None},
        {"matchKeys": [{"type": "MATCH_ID", "value": "a1"}, {"type": "maid", "value": "A-1:b_2"}]},
        {"matchKeys": [{"type": "EMAIL", "value": " Jo@Example.com"}, {"type": "EMAIL", "value": "jo+1@example.com"}]},
        {"matchKeys": [{"type": "CITY", "value": "Köln"}, {"type": "MATCH_ID", "value": "a1"}]},
        {"dataProcessingOptions": None},
        {"consent": None},
        {"consent": dict.fromkeys(_GOOD["consent"]) | {"tcf": "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAA1.YA"}},
        {"consent": dict.fromkeys(_GOOD["consent"]) | {"ipAddress": "8.8.8.8", "gpp": "DBACNYA~1YNN"}},
        {"consent": dict.fromkeys(_GOOD["consent"]) | {"ipAddress": "2a00:1450:4001:82a::200e"}},
        {"customAttributes": {f"attr{number}": "1" for number in range(13)}},
        {"customData": [{"name": "items", "value": "2147483647", "dataType": "integer"}]},
        {
            "customData": [
                {"name": "day", "value": "1", "dataType": "TIMESTAMP"},
                {"name": "a", "value": "1", "dataType": None},
            ]
        },
        {"userAgent": "Browser/1.0", "amazonAdEventKey": "key", "partner": "a partner"},
        {"userAgent": "x" * 512, "arefMeasurementTokens": "ABCDEFGHIJ.1755712000000|0123456789.1755712000000"},
    ],
    ids=lambda change: "-".join(change) or "nothing",
)
def test_what_is_taken(change: dict[str, Any]) -> None:
    assert _read(_beside(), _GOOD | change) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clientDedupeId": "undefined"}, "id"),
        ({"clientDedupeId": " 1"}, "id"),
        ({"clientDedupeId": "d41d8cd98f00b204e9800998ecf8427e"}, "id"),
        ({"name": "x" * 300}, "rule"),
        ({"countryCode": "UK"}, "rule"),
        ({"timestamp": -1}, "time"),
        ({"value": 12.345}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": -1.0}, "value"),
        ({"unitsSold": 2**31}, "units"),
        ({"matchKeys": []}, "match-keys"),
        ({"matchKeys": [{"type": "EMAIL", "value": "nobody"}]}, "match-keys"),
        ({"matchKeys": [{"type": "EMAIL", "value": each} for each in ("Jo@Example.com", "jo@example.com")]}, "match-keys"),
        (
            {"matchKeys": [{"type": "POSTAL", "value": each} for each in ("10001", sha256(b"10001").hexdigest())]},
            "match-keys",
        ),
        ({"matchKeys": _GOOD["matchKeys"] * 2}, "match-keys"),
        (
            {"matchKeys": [{"type": "EMAIL", "value": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"}]},
            "match-keys",
        ),
        ({"consent": _GOOD["consent"] | {"ipAddress": "10.0.0.1"}}, "consent"),
        ({"consent": _GOOD["consent"] | {"tcf": "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAA1"}}, "consent"),
        ({"customAttributes": {"b r": "1"}}, "attributes"),
        ({"customAttributes": {f"attr{number}": "1" for number in range(14)}}, "attributes"),
        ({"userAgent": "x" * 513}, "rare"),
        ({"userAgent": "Browser/1.0 "}, "rare"),
        ({"arefMeasurementTokens": "ABCDEFGHIJ.1755712000000|ABCDEFGHIJ"}, "rare"),
        ({"customData": [{"name": "items", "value": "2147483648", "dataType": "INTEGER"}]}, "attributes"),
        ({"customData": [{"name": "items", "value": "1", "dataType": "FLOAT"}]}, "rule"),
        ({"customData": [{"name": "brand", "value": "1", "dataType": None}]}, "attributes"),
        ({"dataSetName": "shop"}, "rare"),
    ],
    ids=lambda told: told if isinstance(told, str) else "-".join(told),
)
def test_what_is_left_to_python_and_why(change: dict[str, Any], reason: str) -> None:
    beside = _beside()
    assert _read(beside, _GOOD | change, _GOOD) == 1
    assert set(beside.codec.declined) == {reason}


def _hashing(asked: list[tuple[str, str, bytes]]) -> Callable[[dict[str, Any]], Codec]:
    def make(terms: dict[str, Any]) -> Codec:
        hashes = terms["hash"]

        def noted(keys: Sequence[tuple[str, str, bytes]]) -> Any:
            asked.extend(keys)
            return hashes(keys)

        return Codec(terms | {"hash": noted})

    return make


def _hashes(keys: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the texts of which Python made the hashes, and the hashes that are sent: of one event for each key."""
    asked: list[tuple[str, str, bytes]] = []
    decoder, contract = EventDecoder(Framing.CONFLUENT, Known(id1=ours())), CONTRACTS["ads NA"]()
    codec = BatchCodec(_hashing(asked), decoder, contract, ("clientDedupeId",))
    intake = Intake(decoder, contract, ("clientDedupeId",), batches=codec, compared=1 << 60)
    events = [_GOOD, _GOOD, *(_GOOD | {"matchKeys": [{"type": kind, "value": value}]} for kind, value in keys)]
    intake.read(_ORIGIN, [PolledRecord(written(ours(), _GOOD))])
    poll, _ = intake.read(_ORIGIN, [PolledRecord(written(ours(), each)) for each in events])
    payloads = [json.loads(payload) for payload in poll.payloads if isinstance(payload, bytes)]
    assert not codec.declined
    return [text for _, text, _ in asked], [each["matchKeys"][0]["values"][0] for each in payloads[2:]]


@pytest.mark.parametrize(
    ("kind", "text", "hashed"),
    [
        ("EMAIL", "Jo.Doe-2@Example.co.uk", "jo.doe-2@example.co.uk"),
        ("FIRST_NAME", "Mary-Ann", "maryann"),
        ("LAST_NAME", "Doe Jr.X", "doejrx"),
        ("CITY", "New York", "newyork"),
        ("EMAIL", f"{'a1' * 60}@example.com", f"{'a1' * 60}@example.com"),
    ],
)
def test_a_plain_address_or_name_is_hashed_without_python(kind: str, text: str, hashed: str) -> None:
    assert _hashes([(kind, text)]) == ([], [sha256(hashed.encode()).hexdigest()])


@pytest.mark.parametrize("size", [*range(50, 70), *range(110, 135)])
def test_a_text_of_any_length_has_the_hash_that_python_makes(size: int) -> None:
    text = ("b1" * 100)[:size] + "@example.com"
    assert _hashes([("EMAIL", text)]) == ([], [sha256(text.encode()).hexdigest()])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("EMAIL", "jo+shop@example.com"),
        ("EMAIL", "nancy@example.com"),
        ("EMAIL", "jo@localhost"),
        ("EMAIL", "sha-3-jo@example.com"),
        ("EMAIL", f"{'a1' * 123}@example.com"),
        ("LAST_NAME", "O'Brien"),
        ("LAST_NAME", "X"),
        ("CITY", "Köln"),
        ("CITY", "Kirkby in Ashfield And So On"),
        ("PHONE", "+12025550123"),
        ("POSTAL", "10001"),
    ],
)
def test_of_any_other_python_makes_the_hash(kind: str, text: str) -> None:
    asked, sent = _hashes([(kind, text)])
    assert asked == [text]
    assert len(sent) == 1


def test_an_identifier_that_occurs_several_times_in_a_poll_is_hashed_once_and_never_remembered() -> None:
    one, other = "+12025550123", "+12025550124"
    asked, sent = _hashes([("PHONE", one), ("PHONE", other), ("PHONE", one), ("ADDRESS", one)])
    assert asked == [one, other, one]
    assert sent == [sha256(text.encode()).hexdigest() for text in (one[1:], other[1:], one[1:], one)]


def test_a_value_of_more_than_16_kb_is_left_to_python() -> None:
    writer = with_field("partner", name="partner", type="string")
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=writer))
    beside = Beside(decoder, CONTRACTS["ads NA"](), CONTRACTS["ads NA"](), ("clientDedupeId",))
    beside.read([PolledRecord(written(writer, _GOOD | {"partner": "x" * 17_000}))])
    assert beside.accepted == 0


def test_a_value_of_more_than_16_kb_is_counted_by_its_size() -> None:
    writer = with_field("partner", name="partner", type="string")
    decoder, contract = EventDecoder(Framing.CONFLUENT, Known(id1=writer)), CONTRACTS["ads NA"]()
    codec = BatchCodec(Codec, decoder, contract, ("clientDedupeId",))
    intake = Intake(decoder, contract, ("clientDedupeId",), batches=codec)
    for partner in ("x", "x" * 17_000):
        intake.read(_ORIGIN, [PolledRecord(written(writer, _GOOD | {"partner": partner}))])
    assert codec.declined == {"size": 1}


def test_an_event_without_its_own_id_gets_the_one_of_its_place_or_of_its_replay() -> None:
    beside, value = _beside(), written(ours(), _GOOD | {"clientDedupeId": None})
    beside.read([PolledRecord(value)])
    poll = beside.read([PolledRecord(value, 7), PolledRecord(value, 8, [(DEDUPE_ID_HEADER, b'of "another" place\xff')])])
    ids = [json.loads(payload)["eventId"] for payload in poll.payloads if isinstance(payload, bytes)]
    assert len(ids[0]) == 32
    assert ids[1] == 'of "another" place\ufffd'
    assert beside.accepted == 3


def test_a_second_block_and_a_block_with_its_size_are_left_to_python() -> None:
    writer = {
        "type": "record",
        "name": "Event",
        "fields": [
            *({"name": name, "type": "string"} for name in ("name", "eventType", "eventActionSource", "countryCode")),
            {"name": "timestamp", "type": "long"},
            {"name": "matchKeys", "type": ours()["fields"][5]["type"]},
        ],
    }
    assert ours()["fields"][5]["name"] == "matchKeys"
    beside, whole = _beside(writer=writer), written(writer, _GOOD)
    keys = [b"\x0aEMAIL\x80\x01" + b"1a" * 32, b"\x0aPHONE\x80\x01" + b"2b" * 32]
    start = whole.removesuffix(b"\x04" + b"".join(keys) + b"\x00")
    assert len(start) < len(whole)
    forms = [
        whole,
        start + b"\x02" + keys[0] + b"\x02" + keys[1] + b"\x00",
        start + b"\x03" + b"\x90\x01" + b"".join(keys) + b"\x00",
    ]
    poll = beside.read([PolledRecord(form) for form in forms])
    assert len(set(map(str, poll.payloads))) == 1
    assert beside.accepted == 1


@pytest.mark.parametrize("fields", [1, 5_000])
def test_a_schema_that_is_not_straight_has_no_codec(fields: int) -> None:
    tree: Any = {"type": "record", "name": "Tree", "fields": [{"name": "below", "type": ["null", "Tree"]}]}
    many = [{"name": f"field{number}", "type": "int"} for number in range(5_000)]
    writer = ours()
    writer["fields"] += [{"name": "tree", "type": tree}] if fields == 1 else many
    beside = _beside(writer=writer)
    own = {"tree": {"below": None}} if fields == 1 else {each["name"]: 1 for each in many}
    assert _read(beside, _GOOD | own, writer=writer) == 0
    assert not beside.codec.declined


@pytest.mark.parametrize(
    ("framing", "prefix"), [(Framing.GLUE, b"\x03\x00"), (Framing.SINGLE_OBJECT, b"\xc3\x01"), (Framing.PLAIN, b"")]
)
def test_other_framings_are_read_and_compressed_values_are_left_to_python(framing: Framing, prefix: bytes) -> None:
    name = {Framing.GLUE: bytes(16), Framing.SINGLE_OBJECT: bytes(8), Framing.PLAIN: b""}[framing]

    class _OneSchema:
        def definitions(self, schema_id: object, waited: float) -> list[Any]:
            return [ours()]

        def check(self) -> None: ...

    beside = Beside(EventDecoder(framing, _OneSchema()), CONTRACTS["ads NA"](), CONTRACTS["ads NA"](), ("clientDedupeId",))
    body = EventEncoder().encode(_GOOD)
    packed = b"\x03\x05" + name + zlib.compress(body)
    poll = beside.read(
        [PolledRecord(prefix + name + body), PolledRecord(packed if framing is Framing.GLUE else prefix + name + body)]
    )
    assert len(set(map(str, poll.payloads))) == 1
    assert beside.accepted == (1 if framing is Framing.GLUE else 2)


def test_a_poll_with_some_odd_records_is_located_at_once() -> None:
    class _Once(EventDecoder):
        alone = 0

        def located(self, record: Any, value: bytes) -> Any:
            self.alone += 1
            return super().located(record, value)

    decoder = _Once(Framing.CONFLUENT, Known(id1=ours()))
    beside = Beside(decoder, CONTRACTS["ads NA"](), CONTRACTS["ads NA"](), ("clientDedupeId",))
    beside.read([PolledRecord(written(ours(), _GOOD))])
    decoder.alone, before = 0, beside.accepted
    given = [
        None
        if at == 7
        else b"no Avro"
        if at in (0, 9)
        else written(ours(), _GOOD | {"clientDedupeId": None if at % 3 else "a1"})
        for at in range(50)
    ]
    poll = beside.read([PolledRecord(value, at) for at, value in enumerate(given)])
    assert sum(isinstance(payload, bytes) for payload in poll.payloads) == 47
    assert beside.accepted - before == 47
    assert decoder.alone <= 5


def test_records_of_several_schemas_in_one_poll_keep_their_order() -> None:
    other = with_field("value", name="value", type=["null", "float"])
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours(), id2=other))
    beside = Beside(decoder, CONTRACTS["ads NA"](), CONTRACTS["ads NA"](), ("clientDedupeId",))
    given = [
        written(ours() if at % 3 else other, _GOOD | {"clientDedupeId": f"id{at + 1}", "value": 0.5}, 1 if at % 3 else 2)
        for at in range(20)
    ]
    poll = beside.read([PolledRecord(None), *map(PolledRecord, given), PolledRecord(b"no Avro")])
    ids = [json.loads(payload)["eventId"] for payload in poll.payloads if isinstance(payload, bytes)]
    assert ids == [f"id{at + 1}" for at in range(20)]
    assert beside.accepted == 20


def test_a_text_that_stands_for_nothing_is_left_to_python_however_it_is_written() -> None:
    beside = _beside()
    written_as = [spelt for text in sorted(DISGUISED)[::9] for spelt in (text, text.upper())]
    assert _read(beside, *({**_GOOD, "clientDedupeId": spelt} for spelt in written_as)) == 0
    assert _read(beside, *({**_GOOD, "clientDedupeId": f"{spelt}7"} for spelt in written_as[:30])) > 0


def test_a_small_helping_of_the_fuzzer() -> None:
    met = fuzz.codec(3_000, 7)
    assert met["records"] == 3_000
    assert met["taken by native code"] > 100


def _fills(count: Callable[[], None]) -> Callable[[dict[str, Any]], Codec]:
    def make(terms: dict[str, Any]) -> Codec:
        fill = terms["fill"]

        def counted(*asked: Any) -> Any:
            count()
            return fill(*asked)

        return Codec(terms | {"fill": counted})

    return make


def test_what_repeats_is_asked_for_once_and_free_texts_never() -> None:
    asked: list[None] = []
    decoder, contract = EventDecoder(Framing.CONFLUENT, Known(id1=ours())), CONTRACTS["ads NA"]()
    codec = BatchCodec(_fills(lambda: asked.append(None)), decoder, contract, ("clientDedupeId",))
    intake = Intake(decoder, contract, ("clientDedupeId",), batches=codec, compared=1 << 60)
    intake.read(_ORIGIN, [PolledRecord(written(ours(), _GOOD))])
    dice = Random(5)
    for number in range(200):
        own = {
            "clientDedupeId": f"order-{number + 1_000}",
            "matchKeys": [
                {"type": "EMAIL", "value": f"{number + 2**200:064x}"},
                {"type": "MATCH_ID", "value": f"id{number + 1}"},
            ],
            "consent": dict.fromkeys(_GOOD["consent"])
            | {"ipAddress": f"8.8.8.{number}", "tcf": "C" + f"{dice.getrandbits(120):032x}"},
            "customAttributes": {"brand": f"acme{number}"},
        }
        poll, _ = intake.read(_ORIGIN, [PolledRecord(written(ours(), _GOOD | own))])
        assert isinstance(poll.payloads[0], bytes)
    assert not codec.declined
    assert len(asked) == 8  # six fields, two types of match keys


def test_a_memo_that_is_full_is_emptied_and_goes_on() -> None:
    asked: list[None] = []
    decoder, contract = EventDecoder(Framing.CONFLUENT, Known(id1=ours())), CONTRACTS["ads NA"]()
    codec = BatchCodec(_fills(lambda: asked.append(None)), decoder, contract, ("clientDedupeId",))
    Intake(decoder, contract, ("clientDedupeId",)).read(_ORIGIN, [PolledRecord(written(ours(), _GOOD))])
    names = [f"name{number}" for number in range(4_100)]
    encoder = EventEncoder()
    given = [framed(1, encoder.encode(_GOOD | {"name": name})) for name in (*names, *names[-4:], names[0])]
    accepted = codec.read([PolledRecord(value) for value in given], given, bare=True)
    assert [json.loads(payload or b"{}")["eventDescription"]["name"] for payload in accepted.payloads] == [
        *names,
        *names[-4:],
        names[0],
    ]
    assert len(asked) == 4_100 + 7 + 1  # the other fields; and the first name again, which was forgotten with 4,095 others


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_record_whose_header_names_another_schema_is_read_by_that_one(at: int) -> None:
    turned = ours()
    turned["fields"].sort(key=lambda field: str(field["name"]), reverse=True)
    decoder, contract = EventDecoder(Framing.CONFLUENT, Known(id1=ours(), id2=turned)), CONTRACTS["ads NA"]()
    beside = Beside(decoder, contract, CONTRACTS["ads NA"](), ("clientDedupeId",))
    plain = PolledRecord(written(ours(), _GOOD))
    body = written(turned, _GOOD).removeprefix(framed(1, b""))
    other = PolledRecord(body, headers_=[("__value_schema_id", framed(2, b""))])
    records = [plain] * 3
    records[at] = other
    for _ in range(2):  # a schema is known from the second record on
        beside.read(records)
    assert beside.accepted > len(records)


class _Wrong:
    """Accepts whatever comes, and makes what Python would not; or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.asked = 0

    def read(self, records: Sequence[Any], values: Sequence[bytes | None], *, bare: bool) -> Accepted:
        self.asked += 1
        if self._error is not None:
            raise self._error
        count = len(records)
        return Accepted([b"wrong"] * count, [AT_MS] * count, [None] * count, {})

    def count_ignored(self, label: str) -> None:
        raise AssertionError(label)


@pytest.mark.parametrize(
    ("error", "reason"), [(None, "different"), (ValueError("order-1"), "ValueError"), (MemoryError(), "MemoryError")]
)
def test_native_code_that_differs_or_fails_is_given_up_and_what_python_makes_is_sent(
    error: Exception | None, reason: str
) -> None:
    decoder, contract, told = EventDecoder(Framing.CONFLUENT, Known(id1=ours())), CONTRACTS["ads NA"](), list[str]()
    wrong = _Wrong(error)
    intake = Intake(decoder, contract, ("clientDedupeId",), batches=wrong, distrust=told.append)
    record = PolledRecord(written(ours(), _GOOD))
    payloads = [payload for _ in range(2) for payload in intake.read(_ORIGIN, [record, record])[0].payloads]
    assert all(isinstance(payload, bytes) and b"order-1" in payload for payload in payloads)
    assert told == [reason]
    assert wrong.asked == 1


def test_one_in_so_many_that_were_taken_is_compared() -> None:
    decoder, contract, told = EventDecoder(Framing.CONFLUENT, Known(id1=ours())), CONTRACTS["ads NA"](), list[str]()
    record = PolledRecord(written(ours(), _GOOD))
    right = BatchCodec(Codec, decoder, contract, ("clientDedupeId",))
    intake = Intake(decoder, contract, ("clientDedupeId",), batches=right, distrust=told.append, compared=5)
    for _ in range(7):  # the first record of all is read in Python, because its schema is not known; then one is compared
        intake.read(_ORIGIN, [record])
    intake._batches = _Wrong()
    payloads = [intake.read(_ORIGIN, [record])[0].payloads[0] for _ in range(5)]
    assert payloads[:4] == [b"wrong"] * 4
    assert not isinstance(payloads[4], Flaw)
    assert payloads[4] != b"wrong"
    assert told == ["different"]


@pytest.mark.parametrize(
    "change",
    [
        {"record": ("string",)},
        {"record": ("record", [(0, ("unheard-of",))])},
        {"record": ("record", 5)},
        {"units_per_millisecond": 0},
        {"pieces": [(b"", 99)]},
        {"key_parts": []},
        {"key_parts": [8]},
        {"most_bytes": -1},
    ],
    ids=str,
)
def test_terms_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    made: list[dict[str, Any]] = []

    def make(terms: dict[str, Any]) -> Codec:
        made.append(terms)
        return Codec(terms)

    decoder, contract = EventDecoder(Framing.CONFLUENT, Known(id1=ours())), CONTRACTS["ads NA"]()
    record = PolledRecord(written(ours(), _GOOD))
    Intake(decoder, contract, ("clientDedupeId",)).read(_ORIGIN, [record])
    BatchCodec(make, decoder, contract, ("clientDedupeId",)).read([record], [record.value()], bare=True)
    assert made
    with pytest.raises((ValueError, TypeError, OverflowError)):
        Codec(made[0] | change)


def test_of_a_first_poll_python_reads_one_record_of_each_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = ours()
    turned["fields"].reverse()
    decoder, contract = EventDecoder(Framing.CONFLUENT, Known(id1=ours(), id2=turned)), CONTRACTS["ads NA"]()
    flawed = written(ours(), _GOOD | {"countryCode": "Narnia"})
    values = [b"no Avro", flawed, None, framed(9, b"")]  # the registry has no schema 9
    values += [written(ours(), _GOOD | {"clientDedupeId": f"order-{number}"}) for number in range(4, 8)]
    other = framed(2, written(turned, _GOOD | {"clientDedupeId": None}).removeprefix(framed(1, b"")))
    records = [
        PolledRecord(value, at) for at, value in enumerate([*values, other, framed(9, b""), other, values[4], flawed])
    ]
    in_python = Intake(decoder, contract, ("clientDedupeId",)).read(_ORIGIN, records)[0]
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours(), id2=turned))
    decoded, decode = list[int | None](), decoder.decode

    def noting(record: Record, waited: float = 0.0) -> dict[str, object] | Flaw | None:
        decoded.append(record.offset())
        return decode(record, waited)

    monkeypatch.setattr(decoder, "decode", noting)
    codec = BatchCodec(Codec, decoder, contract, ("clientDedupeId",))
    intake = Intake(decoder, contract, ("clientDedupeId",), batches=codec)
    intake._accepted = 1  # the next to be compared is far away
    poll = intake.read(_ORIGIN, records)[0]
    assert (poll.payloads, poll.times, poll.keys) == (in_python.payloads, in_python.times, in_python.keys)
    assert decoded == [0, 1, 3, 4, 8, 9, 12]  # what is flawed, and the first good record of each schema
    assert codec.declined == {"rule": 1}
