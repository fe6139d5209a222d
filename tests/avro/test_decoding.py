"""Decoding: differences between schemas that must not matter, and damage that must not escape."""

import copy
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.avro.decoding import EventDecoder
from connector.avro.encoding import EventEncoder
from connector.avro.framing import Framing, framed
from connector.errors import ConnectorError, SchemaUnavailable, Undecodable, UnknownSchema
from tests.avro.samples import EVENT, Known, ours, with_field, written
from tests.records import AT_MS, PolledRecord


def decoded(schema: Any, event: dict[str, Any]) -> dict[str, Any]:
    return read(EventDecoder(Framing.CONFLUENT, Known(id1=schema)), written(schema, event))


def read(decoder: EventDecoder, value: bytes) -> dict[str, Any]:
    """Decode what is an event."""
    event = decoder.decode(PolledRecord(value))
    assert isinstance(event, dict)
    return event


def expected(**changes: Any) -> dict[str, Any]:
    return EVENT | changes


def test_our_schema_comes_back_as_it_was_written() -> None:
    assert decoded(ours(), EVENT) == EVENT


def test_plain_avro_is_read_by_the_one_schema() -> None:
    decoder = EventDecoder(Framing.PLAIN, Known(id0=ours()))
    assert decoder.decode(PolledRecord(EventEncoder().encode(EVENT))) == EVENT


def test_absent_optional_inputs_are_none() -> None:
    required = {
        name: EVENT[name] for name in ("name", "eventType", "eventActionSource", "timestamp", "matchKeys", "countryCode")
    }
    event = decoded(ours(), required)
    assert {name: value for name, value in event.items() if value is not None} == required


def test_record_names_and_namespaces_mean_nothing() -> None:
    schema = copy.deepcopy(ours()) | {"name": "Purchase", "namespace": "com.example.shop"}
    schema["fields"][5]["type"]["items"]["name"] = "Identifier"
    assert decoded(schema, EVENT) == EVENT


def test_field_order_means_nothing() -> None:
    schema = copy.deepcopy(ours())
    schema["fields"].reverse()
    assert decoded(schema, EVENT) == EVENT


_DATUM = {
    "type": "record",
    "name": "Attribute",
    "fields": [
        {
            "name": "kind",
            "aliases": ["dataType"],
            "type": {"type": "enum", "name": "Kind", "symbols": ["STRING", "INTEGER"]},
        },
        {"name": "value", "type": ["string", "long"]},
        {"name": "name", "type": "string"},
    ],
}
_DATA_OF_ANOTHER = {"type": "array", "items": ["null", _DATUM]}
_DATA = [{"name": "a", "value": 3, "dataType": "INTEGER"}, None]
"""As another company writes them: other order and names, an enum for a string, a number for a text, holes."""


@pytest.mark.parametrize(
    ("field", "type_", "value", "result"),
    [
        ("unitsSold", "int", 2, 2),
        ("unitsSold", ["null", "int"], None, None),
        ("value", "float", 0.5, 0.5),
        ("value", ["null", "long"], 5, 5),
        (
            "value",
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            Decimal("19.99"),
            Decimal("19.99"),
        ),
        ("value", ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9}], Decimal(-5), Decimal(-5)),
        (
            "value",
            ["null", {"type": "fixed", "name": "Money", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 4}],
            Decimal("-0.9900"),
            Decimal("-0.9900"),
        ),
        ("eventType", {"type": "enum", "name": "EventType", "symbols": ["LEAD", "SIGN_UP"]}, "SIGN_UP", "SIGN_UP"),
        ("clientDedupeId", {"type": "string", "logicalType": "uuid"}, "d9a0", "d9a0"),
        ("countryCode", ["string", "null"], "DE", "DE"),
        ("customAttributes", {"type": "map", "values": ["null", "string"]}, {"brand": None}, {"brand": None}),
        ("customAttributes", {"type": "map", "values": ["string", "long"]}, {"items": 3, "b": "x"}, {"items": 3, "b": "x"}),
        ("customData", _DATA_OF_ANOTHER, [{"name": "a", "value": 3, "kind": "INTEGER"}, None], _DATA),
        ("customData", ["null", {"type": "array", "items": _DATUM}], None, None),
        ("customData", {"type": "map", "values": "string"}, {"brand": "x"}, {"brand": "x"}),
        ("userAgent", ["string", "null"], "Example/1", "Example/1"),
        ("arefMeasurementTokens", "string", "ABCDEFGHIJ.1755712000000", "ABCDEFGHIJ.1755712000000"),
        ("amazonAdEventKey", {"type": "string", "logicalType": "uuid"}, "d9a0", "d9a0"),
        ("partner", ["null", {"type": "enum", "name": "Partner", "symbols": ["ONE", "TWO"]}], "TWO", "TWO"),
    ],
)
def test_other_types_of_the_same_meaning_work(field: str, type_: Any, value: Any, result: Any) -> None:
    event = decoded(with_field(field, type=type_), expected(**{field: value}))
    assert event == expected(**{field: result})
    assert type(event[field]) is type(result)


@pytest.mark.parametrize(
    ("logical_type", "factor"),
    [
        (None, 1),
        ("timestamp-millis", 1),
        ("timestamp-micros", 1_000),
        ("timestamp-nanos", 1_000_000),
        ("local-timestamp-millis", 1),
        ("local-timestamp-micros", 1_000),
        ("local-timestamp-nanos", 1_000_000),
        ("unheard-of", 1),
    ],
)
@pytest.mark.parametrize("optional", [False, True])
def test_the_timestamp_is_milliseconds_whatever_its_unit(logical_type: str | None, factor: int, optional: bool) -> None:
    long = {"type": "long"} if logical_type is None else {"type": "long", "logicalType": logical_type}
    schema = with_field("timestamp", type=["null", long] if optional else long)
    plain = with_field("timestamp", type=["null", "long"] if optional else "long")
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    assert decoder.decode(PolledRecord(written(plain, expected(timestamp=AT_MS * factor)))) == EVENT


def test_a_fraction_of_a_millisecond_is_cut_towards_the_past() -> None:
    schema = with_field("timestamp", type={"type": "long", "logicalType": "timestamp-micros"})
    plain = with_field("timestamp", type="long")
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    assert read(decoder, written(plain, expected(timestamp=AT_MS * 1000 + 999)))["timestamp"] == AT_MS
    assert read(decoder, written(plain, expected(timestamp=-1)))["timestamp"] == -1


def test_a_timestamp_of_another_type_or_null_is_left_as_it_is() -> None:
    assert decoded(with_field("timestamp", type="string"), expected(timestamp="today"))["timestamp"] == "today"
    micros = ["null", {"type": "long", "logicalType": "timestamp-micros"}]
    assert decoded(with_field("timestamp", type=micros), expected(timestamp=None))["timestamp"] is None


def test_a_timestamp_in_one_of_two_units_is_refused_and_not_guessed() -> None:
    schema = with_field("timestamp", type=["int", {"type": "long", "logicalType": "timestamp-micros"}])
    with pytest.raises(Undecodable, match="units"):
        decoded(schema, expected(timestamp=5))


def test_a_field_named_by_an_alias_of_ours_is_that_input() -> None:
    schema = copy.deepcopy(ours())
    renamed = {"timestamp": "eventTime", "clientDedupeId": "eventId", "eventType": "conversionType"}
    for field in schema["fields"]:
        field.pop("aliases", None)
        field["name"] = renamed.get(field["name"], field["name"])
    event = {renamed.get(name, name): value for name, value in EVENT.items()}
    assert decoded(schema, event) == EVENT


def test_a_field_that_declares_our_name_as_its_alias_is_that_input() -> None:
    schema = with_field("value", name="amount", aliases=["total", "value"], type="long")
    event = {("amount" if name == "value" else name): value for name, value in EVENT.items()} | {"amount": 7}
    assert decoded(schema, event) == expected(value=7)


def test_our_own_name_goes_before_any_alias() -> None:
    schema = copy.deepcopy(ours())
    schema["fields"].insert(0, {"name": "eventTime", "type": "long"})
    schema["fields"].insert(0, {"name": "loadedAt", "aliases": ["timestamp"], "type": "long"})
    event = decoded(schema, EVENT | {"eventTime": 1, "loadedAt": 2})
    assert event == EVENT | {"eventTime": 1, "loadedAt": 2}


def test_a_field_of_our_name_is_not_taken_away_for_an_alias_it_declares() -> None:
    schema = with_field("timestamp", aliases=["clientDedupeId"])
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "clientDedupeId"]
    event = decoded(schema, EVENT)
    assert event == {name: value for name, value in EVENT.items() if name != "clientDedupeId"}


def test_names_are_case_sensitive() -> None:
    schema = with_field("countryCode", name="CountryCode")
    event = {("CountryCode" if name == "countryCode" else name): value for name, value in EVENT.items()}
    assert "countryCode" not in decoded(schema, event)


def test_names_within_match_keys_and_consent_are_mapped_too() -> None:
    schema = copy.deepcopy(ours())
    key = next(field for field in schema["fields"] if field["name"] == "matchKeys")
    key["type"] = ["null", {"type": "array", "items": ["null", key["type"]["items"]]}]
    key["type"][1]["items"][1]["fields"][1] |= {"name": "hash", "aliases": ["value"]}
    consent = next(field for field in schema["fields"] if field["name"] == "consent")["type"][1]
    consent["fields"][0] |= {"name": "ip", "aliases": ["ipAddress"]}
    event = copy.deepcopy(EVENT)
    event["matchKeys"] = [{"type": "EMAIL", "hash": "a" * 64}, None]
    event["consent"] = {"ip": "192.0.2.1", "tcf": "C"}
    read = decoded(schema, event)
    assert read["matchKeys"] == [{"type": "EMAIL", "value": "a" * 64}, None]
    assert {name: value for name, value in read["consent"].items() if value} == {"ipAddress": "192.0.2.1", "tcf": "C"}
    assert decoded(schema, event | {"consent": None})["consent"] is None


def test_extra_fields_of_any_type_do_no_harm_and_missing_inputs_are_absent() -> None:
    schema = copy.deepcopy(ours())
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in ("value", "countryCode", "consent")]
    schema["fields"] += [
        {"name": "loaded", "type": {"type": "int", "logicalType": "date"}, "default": "not an int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "nested", "type": {"type": "record", "name": "value", "fields": [{"name": "value", "type": "string"}]}},
    ]
    fields = [field | {"default": 0} if field["name"] == "loaded" else field for field in schema["fields"]]
    extra = {"loaded": 20_000, "at": 5, "nested": {"value": "x"}}
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    event = decoder.decode(PolledRecord(written(schema | {"fields": fields}, EVENT | extra)))
    assert event == {name: value for name, value in EVENT.items() if name not in ("value", "countryCode", "consent")} | extra


def test_a_topic_of_several_event_types_is_mapped_record_by_record() -> None:
    lead = {
        "type": "record",
        "name": "Lead",
        "fields": [{"name": "eventTime", "type": "long"}, {"name": "kind", "type": "int"}],
    }
    purchase = {
        "type": "record",
        "name": "Sale",
        "fields": [{"name": "timestamp", "type": "long"}, {"name": "name", "type": "string"}],
    }
    assert decoded([lead, purchase], {"eventTime": AT_MS, "kind": 1}) == {"timestamp": AT_MS, "kind": 1}
    assert decoded([lead, purchase], {"timestamp": AT_MS, "name": "n"}) == {"timestamp": AT_MS, "name": "n"}


def test_a_null_in_the_place_of_the_whole_event_is_no_event() -> None:
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=["null", ours(), "string"]))
    assert decoder.decode(PolledRecord(framed(1, b"\x02" + EventEncoder().encode(EVENT)))) == EVENT
    assert decoder.decode(PolledRecord(framed(1, b"\x00"))) is None
    with pytest.raises(Undecodable, match="it is not a record"):
        decoder.decode(PolledRecord(framed(1, b"\x04\x02a")))
    with pytest.raises(Undecodable, match="left over"):
        decoder.decode(PolledRecord(framed(1, b"\x00\x00")))


UUID_FIXED = {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}
UUID = "12345678-9abc-def0-1234-56789abcdef0"


def test_a_uuid_of_sixteen_bytes_is_its_text() -> None:
    schema = with_field("clientDedupeId", type=["null", UUID_FIXED])
    items = next(field for field in schema["fields"] if field["name"] == "matchKeys")["type"]["items"]
    items["fields"][1]["type"] = ["string", "Uuid"]
    attributes = next(field for field in schema["fields"] if field["name"] == "customAttributes")
    del attributes["default"]
    attributes["type"] = {"type": "map", "values": ["null", "Uuid", {"type": "array", "items": "Uuid"}]}
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    raw = bytes.fromhex(UUID.replace("-", ""))
    plain = json.loads(json.dumps(schema).replace('"logicalType": "uuid"', '"of": "uuid"'))
    keys = [{"type": "MAID", "value": raw}, {"type": "EMAIL", "value": "a" * 64}]
    event = expected(clientDedupeId=raw, matchKeys=keys, customAttributes={"a": raw, "b": None, "c": [raw]})
    assert decoder.decode(PolledRecord(written(plain, event))) == expected(
        clientDedupeId=UUID,
        matchKeys=[{"type": "MAID", "value": UUID}, {"type": "EMAIL", "value": "a" * 64}],
        customAttributes={"a": UUID, "b": None, "c": [UUID]},
    )


def test_decimals_in_a_map_are_read() -> None:
    type_ = {"type": "map", "values": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}}
    event = expected(customAttributes={"fee": Decimal("1.25")})
    assert decoded(with_field("customAttributes", type=type_), event) == event


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_uuid_of_another_size_stays_bytes(size: int) -> None:
    schema = with_field("clientDedupeId", type=UUID_FIXED | {"size": size})
    plain = with_field("clientDedupeId", type={"type": "fixed", "name": "Uuid", "size": size})
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    read = decoder.decode(PolledRecord(written(plain, expected(clientDedupeId=b"x" * size))))
    assert read == expected(clientDedupeId=b"x" * size)


def test_bytes_that_are_a_decimal_or_a_uuid_are_refused_and_not_guessed() -> None:
    schema = with_field("value", type=[{"type": "bytes", "logicalType": "decimal", "precision": 4}, UUID_FIXED])
    with pytest.raises(Undecodable, match="does not say which"):
        decoded(schema, expected(value=Decimal(1)))


@pytest.mark.parametrize("logical", [{"logicalType": "decimal", "precision": 4}, {"logicalType": "uuid"}])
def test_bytes_that_may_be_plain_are_not_taken_for_a_decimal_or_a_uuid(logical: dict[str, Any]) -> None:
    other = {"type": "fixed", "name": "Other", "size": 16, **logical}
    with pytest.raises(Undecodable, match="does not say which"):
        decoded(with_field("value", type=["bytes", other]), expected(value=b"\x07\xce"))


NOTES: Any = {"name": "notes", "type": {"type": "map", "values": "string"}}


def test_a_text_that_is_not_utf8_does_no_harm_where_nobody_reads_it() -> None:
    schema = copy.deepcopy(ours())
    schema["fields"].insert(0, NOTES)
    key = next(field for field in schema["fields"] if field["name"] == "matchKeys")["type"]["items"]
    key["fields"].append({"name": "source", "type": "string"})
    keys = [{"type": "EMAIL", "value": "a" * 64, "source": "from SHOP, \\udc00 \ud7ff"}]
    value = written(schema, expected(notes={"by": "MUELLER"}, matchKeys=keys, name="Größe"))
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    whole = decoder.decode(PolledRecord(value))
    assert decoder.decode(PolledRecord(value.replace(b"MUELLER", b"M\xfcELLER").replace(b"SHOP", b"SH\xd6P"))) == expected(
        notes={"by": "M\udcfcELLER"},
        matchKeys=[keys[0] | {"source": keys[0]["source"].replace("SHOP", "SH\udcd6P")}],
        name="Größe",
    )
    assert decoder.decode(PolledRecord(value)) == whole
    for read in (b"Gr\xc3\xb6", b"EMAIL", b"a" * 64, b"brand", b"acme", b"WEBSITE"):
        assert read in value
        with pytest.raises(Undecodable, match=r"do not follow its writer's schema \(UnicodeDecodeError\)"):
            decoder.decode(PolledRecord(value.replace(read, b"\xff" + read[1:], 1)))


def test_a_recursive_type_does_no_harm_where_nobody_reads_it_nor_within_the_event() -> None:
    schema = copy.deepcopy(ours())
    node: Any = {"type": "record", "name": "Category", "fields": [{"name": "parent", "type": ["null", "Category"]}]}
    schema["fields"][:0] = [{"name": "category", "type": node}, {"name": "replaces", "type": ["null", ours()["name"]]}]
    schema["namespace"] = "com.shop"
    schema["fields"][1]["type"][1] = f"com.shop.{schema['name']}"
    event = expected(category={"parent": {"parent": None}}, replaces=None)
    assert decoded(schema, event) == event
    event["replaces"] = expected(category={"parent": None}, replaces=None)
    assert decoded(schema, event) == event
    deep: Any = None
    for _ in range(80):
        deep = {"parent": deep}
    with pytest.raises(Undecodable, match="do not follow"):
        decoded(schema, event | {"category": deep})


def test_a_schema_is_asked_for_once_and_ids_may_mix() -> None:
    schemas = Known(id1=ours(), id2=with_field("value", type="int"))
    decoder = EventDecoder(Framing.CONFLUENT, schemas)
    one, two = written(ours(), EVENT, 1), written(with_field("value", type="int"), expected(value=3), 2)
    assert [read(decoder, value)["value"] for value in (one, two, one, two)] == [0.99, 3, 0.99, 3]
    assert schemas.asked == 2


def test_a_schema_that_cannot_be_used_is_worked_out_once() -> None:
    schemas = Known(id1={"type": "nonsense"})
    decoder = EventDecoder(Framing.CONFLUENT, schemas)
    for _ in range(3):
        with pytest.raises(Undecodable, match="does not parse"):
            decoder.decode(PolledRecord(framed(1, b"")))
    assert schemas.asked == 1


class Failing:
    """Schemas that cannot be had until they can."""

    def __init__(self, failure: ConnectorError) -> None:
        self.failure: ConnectorError | None = failure

    def definitions(self, schema_id: Any, waited: float) -> list[Any]:
        if self.failure:
            raise self.failure
        return [ours() | {"id": schema_id}]

    def check(self) -> None: ...


@pytest.mark.parametrize("failure", [UnknownSchema("no schema"), SchemaUnavailable("down")])
def test_a_schema_that_was_not_to_be_had_is_asked_for_again(failure: Any) -> None:
    schemas = Failing(failure)
    decoder = EventDecoder(Framing.CONFLUENT, schemas)
    with pytest.raises(type(failure)):
        decoder.decode(PolledRecord(written(ours(), EVENT)))
    schemas.failure = None
    assert decoder.decode(PolledRecord(written(ours(), EVENT))) == EVENT


def test_schemas_known_at_once_are_bounded() -> None:
    schemas = Known(**{f"id{number}": "string" for number in range(600)})
    decoder = EventDecoder(Framing.CONFLUENT, schemas)
    for number in range(600):
        with pytest.raises(Undecodable):
            decoder.decode(PolledRecord(framed(number, b"")))
    assert len(decoder._plans) == 512


WHOLE = written(ours(), EVENT)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_truncated_record_is_undecodable(length: int) -> None:
    with pytest.raises(Undecodable):
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())).decode(PolledRecord(WHOLE[:length]))


def test_bytes_left_over_are_undecodable() -> None:
    with pytest.raises(Undecodable, match="left over"):
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())).decode(PolledRecord(WHOLE + b"\x00"))


@pytest.mark.parametrize("length", [1 << 40, (1 << 62) - 1, -1, -(1 << 62)])
def test_a_length_beyond_the_record_takes_no_memory(length: int) -> None:
    zigzag, claim = (length << 1) ^ (length >> 63), bytearray()
    while zigzag > 0x7F:
        claim.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    claim.append(zigzag)
    with pytest.raises(Undecodable):
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())).decode(PolledRecord(framed(1, bytes(claim) + b"abc")))


def test_a_decimal_of_a_megabyte_is_left_as_bytes() -> None:
    schema = with_field("value", type={"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2})
    plain = with_field("value", type="bytes")
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    assert read(decoder, written(plain, expected(value=b"\x7f" * 1_000_000)))["value"] == b"\x7f" * 1_000_000


def test_a_decimal_of_as_many_decimals_as_kafka_connect_writes_for_oracle_is_exact() -> None:
    schema = with_field("value", type={"type": "bytes", "logicalType": "decimal", "precision": 64, "scale": 127})
    unscaled = (1_234_567_890_12 * 10**125).to_bytes(57, "big", signed=True)
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    assert read(decoder, written(with_field("value", type="bytes"), expected(value=unscaled)))["value"] == Decimal(
        "1234567890.12"
    )


@pytest.mark.parametrize("scale", [-1, 161, 1_000_000, "2", [], None])
def test_a_decimal_whose_scale_makes_no_sense_is_left_as_bytes(scale: Any) -> None:
    schema = with_field("value", type={"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": scale})
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    assert read(decoder, written(with_field("value", type="bytes"), expected(value=b"\x05")))["value"] == b"\x05"


@pytest.mark.parametrize("attributes", [{"aliases": [5, ["value"]]}, {"order": 7}, {"fields": 5}])
def test_attributes_that_make_no_sense_do_no_harm(attributes: dict[str, Any]) -> None:
    plain = with_field("value", type="long")
    odd = with_field("value", type={"type": "long"} | attributes, **attributes)
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=odd))
    assert decoder.decode(PolledRecord(written(plain, expected(value=3)))) == expected(value=3)


def test_no_value_of_the_event_is_in_the_error() -> None:
    damaged = WHOLE.replace(b"a" * 64, b"a" * 63 + b"\xff")
    with pytest.raises(Undecodable) as caught:
        EventDecoder(Framing.CONFLUENT, Known(id1=ours())).decode(PolledRecord(damaged))
    assert str(caught.value) == "its bytes do not follow its writer's schema (UnicodeDecodeError)"
    assert caught.value.__suppress_context__


def survives(decoder: EventDecoder, value: bytes) -> bool:
    """Decode, or refuse as the record's fault; any other error escapes and fails the test."""
    try:
        event = decoder.decode(PolledRecord(value))
    except Undecodable:
        return False
    assert type(event) is dict
    return True


def test_a_record_with_any_one_bit_flipped_decodes_or_is_undecodable() -> None:
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours()))
    for bit in range(5 * 8, len(WHOLE) * 8):
        damaged = bytearray(WHOLE)
        damaged[bit // 8] ^= 1 << bit % 8
        survives(decoder, bytes(damaged))


def test_mutated_records_decode_or_are_undecodable() -> None:
    chance = random.Random(20_261_122)
    odd = with_field("timestamp", type=["null", {"type": "long", "logicalType": "timestamp-micros"}])
    odd["fields"][6]["type"] = ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours(), id2=odd))
    originals = [WHOLE, written(odd, expected(value=Decimal("1.25"), timestamp=None), 2)]
    decodable = 0
    for number in range(20_000):
        value = bytearray(originals[number % 2])
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(5, len(value))
            mutation = chance.randrange(4)
            if mutation == 0:
                value[place] ^= 1 << chance.randrange(8)
            elif mutation == 1:
                value[place] = chance.choice((0x00, 0x01, 0x7F, 0x80, 0xFF))
            elif mutation == 2:
                value[place:place] = chance.randbytes(chance.randint(1, 10))
            else:
                del value[place : place + chance.randint(1, 8)]
        decodable += survives(decoder, bytes(value))
    assert 0 < decodable < 20_000


@given(st.binary(max_size=300))
@example(b"\x00\x00\x00\x00\x01" + b"\xff" * 20)
@settings(max_examples=500)
def test_arbitrary_bytes_decode_or_are_undecodable(body: bytes) -> None:
    survives(EventDecoder(Framing.PLAIN, Known(id0=ours())), body)


_texts = st.text(max_size=20)
_events = st.fixed_dictionaries(
    {
        "name": _texts,
        "eventType": _texts,
        "eventActionSource": _texts,
        "clientDedupeId": st.none() | _texts,
        "timestamp": st.integers(-(1 << 63), (1 << 63) - 1),
        "matchKeys": st.lists(st.fixed_dictionaries({"type": _texts, "value": _texts}), max_size=4),
        "value": st.none() | st.floats(allow_nan=False),
        "currencyCode": st.none() | _texts,
        "unitsSold": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        "countryCode": _texts,
        "dataProcessingOptions": st.none() | st.lists(_texts, max_size=3),
        "consent": st.none()
        | st.fixed_dictionaries(
            dict.fromkeys(("ipAddress", "amznAdStorage", "amznUserData", "tcf", "gpp"), st.none() | _texts)
        ),
        "customAttributes": st.none() | st.dictionaries(_texts, _texts, max_size=3),
        "customData": st.none()
        | st.lists(st.fixed_dictionaries({"name": _texts, "value": _texts, "dataType": st.none() | _texts}), max_size=3),
        "userAgent": st.none() | _texts,
        "arefMeasurementTokens": st.none() | _texts,
        "amazonAdEventKey": st.none() | _texts,
        "partner": st.none() | _texts,
        "dataSetName": st.none() | _texts,
    }
)


@given(_events)
def test_what_was_written_is_read(event: dict[str, Any]) -> None:
    assert decoded(ours(), event) == event
