"""What names the schema of a value. The values are each vendor's own, made by the programs in ``framings/``.

Made anew so, in ``framings/``::

    mvn dependency:copy-dependencies && java -cp 'target/dependency/*' Framings.java > java.json

and for Confluent's as ``confluent.py`` says.
"""

import json
import zlib
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing, SchemaId, framed, hint, locator, named, schema_id
from connector.errors import RecordError, Undecodable, UnknownSchema
from tests.avro.framings.confluent import EVENT, SCHEMA
from tests.avro.samples import Known
from tests.records import PolledRecord

HERE = Path(__file__).parent / "framings"
JAVA = json.loads((HERE / "java.json").read_text("utf-8"))
CONFLUENT = json.loads((HERE / "confluent.json").read_text("utf-8"))
FRAMINGS = {
    "glue": Framing.GLUE,
    "apicurio": Framing.APICURIO,
    "azure": Framing.AZURE,
    "single-object": Framing.SINGLE_OBJECT,
}
UNREAD = "apicurio header, JSON"


class OneSchema:
    """Has the golden events' schema under whatever name, and remembers the name."""

    def __init__(self) -> None:
        self.asked: list[SchemaId] = []

    def definitions(self, schema_id: SchemaId, waited: float) -> list[Any]:
        self.asked.append(schema_id)
        return [SCHEMA]

    def check(self) -> None: ...


class NoSchema(OneSchema):
    def definitions(self, schema_id: SchemaId, waited: float) -> list[Any]:
        raise UnknownSchema(f"there is no {named(schema_id)}")


def framing_of(made: Any) -> Framing:
    return FRAMINGS.get(made["framing"].partition(" ")[0], Framing.CONFLUENT)


def polled(made: Any) -> PolledRecord:
    return PolledRecord(
        bytes.fromhex(made["value"]), headers_=[(name, bytes.fromhex(content)) for name, content in made["headers"]]
    )


def decoded(made: Any, framing: Framing, schemas: OneSchema) -> Any:
    return EventDecoder(framing, schemas).decode(polled(made))


def id_of(made: Any) -> SchemaId:
    match framing_of(made):
        case Framing.GLUE:
            return UUID(made["id"])
        case Framing.SINGLE_OBJECT:
            return bytes.fromhex(made["value"])[2:10]
        case Framing.APICURIO:
            return f"{'globalId' if 'globalId' in made['framing'] else 'contentId'} {made['id']}"
        case Framing.AZURE:
            return str(made["id"])
        case _:
            return UUID(made["guid"]) if "GUID" in made["framing"] else int(made["id"])


@pytest.mark.parametrize(
    "made",
    [each for each in [*JAVA, *CONFLUENT] if each["framing"] != UNREAD],
    ids=lambda made: made["framing"],
)
def test_what_each_vendor_wrote_is_read(made: Any) -> None:
    schemas = OneSchema()
    assert decoded(made, framing_of(made), schemas) == EVENT
    assert schemas.asked == [id_of(made)]


LOOKS = {
    "glue": r"this looks like AWS Glue's framing \(SCHEMA_REGISTRY_TYPE=glue\)$",
    "apicurio header": r"this looks like Apicurio's headers \(SCHEMA_REGISTRY_TYPE=apicurio\)$",
    "apicurio prefix, 8": r"this looks like an 8-byte id of Apicurio \(SCHEMA_REGISTRY_TYPE=apicurio\)$",
    "azure": r"this looks like a value of Azure Schema Registry \(SCHEMA_REGISTRY_TYPE=azure\)$",
    "single-object": r"this looks like single-object encoding \(AVRO_SCHEMA_DIR\)$",
    "header, GUID": r"this looks like Confluent's header \(SCHEMA_REGISTRY_TYPE=confluent\)$",
    "prefix, id": r"this looks like Confluent's framing \(SCHEMA_REGISTRY_TYPE=confluent\)$",
}


@pytest.mark.parametrize("made", [*JAVA, *CONFLUENT], ids=lambda made: made["framing"])
@pytest.mark.parametrize("framing", Framing)
def test_a_value_in_another_framing_says_which_and_the_setting(made: Any, framing: Framing) -> None:
    looks = next((text for start, text in LOOKS.items() if made["framing"].startswith(start)), LOOKS["prefix, id"])
    prefixes = ("prefix, id", "apicurio prefix, contentId")  # of the same form, for two registries
    if made["framing"] == UNREAD and framing is Framing.APICURIO:
        looks = "^header apicurio.value.encoding is not BINARY, the only encoding that is read$"
    elif framing is framing_of(made) or (made["framing"] in prefixes and framing in (Framing.CONFLUENT, Framing.APICURIO)):
        looks = "^there is no schema [^;]+$"
    elif made["framing"] == "apicurio prefix, contentId":  # its id is so large that the value might be anything
        looks = "^[^;]+$" if framing is Framing.PLAIN else r"; it may be plain Avro \(AVRO_SCHEMA_FILE\)$"
    with pytest.raises(RecordError, match=looks):
        decoded(made, framing, NoSchema())


@pytest.mark.parametrize(
    ("value", "headers", "looks"),
    [
        (bytes(9), [], r"schema 0; this looks like an 8-byte id of Apicurio \(SCHEMA_REGISTRY_TYPE=apicurio\)$"),
        (b"Obj\x01\x04", [], r"this looks like an Avro container file, which is not a value$"),
        (b'{"name": 1}', [], r"this looks like JSON, which is not read$"),
        (b'\xef\xbb\xbf\r\n {"name": 1}', [], r"this looks like JSON, which is not read$"),
        (b"\x16Summer sale", [], r", 0 or 1; it may be plain Avro \(AVRO_SCHEMA_FILE\)$"),
        (b"\x00\x00", [], r"too few for a magic byte and a schema id; it may be plain Avro \(AVRO_SCHEMA_FILE\)$"),
        (
            b"\x16Sum",
            [("content-type", b"avro/binary+" + b"0" * 32)],
            r"Azure Schema Registry \(SCHEMA_REGISTRY_TYPE=azure\)$",
        ),
    ],
)
def test_confluents_decoder_names_what_it_cannot_read(value: bytes, headers: Any, looks: str) -> None:
    with pytest.raises(RecordError, match=looks):
        EventDecoder(Framing.CONFLUENT, NoSchema()).decode(PolledRecord(value, headers_=headers))


@pytest.mark.parametrize("framing", [each for each in Framing if each is not Framing.CONFLUENT])
def test_a_guid_before_the_value_is_told_under_every_other_setting(framing: Framing) -> None:
    value = b"\x01" + UUID("3971d175-491a-8fad-ac5a-4dd88b2e81ad").bytes + bytes.fromhex(CONFLUENT[1]["value"])
    with pytest.raises(RecordError, match=r"Confluent's framing with a GUID \(SCHEMA_REGISTRY_TYPE=confluent\)$"):
        EventDecoder(framing, NoSchema() if framing is not Framing.PLAIN else OneSchema()).decode(PolledRecord(value))


def test_a_damaged_value_of_the_framing_that_is_set_gets_no_advice() -> None:
    for made in [*JAVA, *CONFLUENT]:
        assert hint(polled(made), bytes.fromhex(made["value"])[:-1], framing_of(made)) == ""


def test_the_id_is_four_bytes_big_endian_after_a_zero() -> None:
    assert framed(0x01020304, b"body") == b"\x00\x01\x02\x03\x04body"
    assert located(b"\x00\x01\x02\x03\x04body", Framing.CONFLUENT) == 0x01020304


def test_an_id_above_two_billion_is_not_negative() -> None:
    assert located(b"\x00\xff\xff\xff\xff", Framing.CONFLUENT) == 0xFFFFFFFF


def test_a_guid_is_sixteen_bytes_after_a_one() -> None:
    guid = UUID("b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63")
    value = b"\x01" + guid.bytes + b"body"
    assert located(value, Framing.CONFLUENT) == guid
    assert locator(Framing.CONFLUENT)(PolledRecord(value), value)[2] == 17


def test_the_last_header_counts_and_the_value_beside_it_is_bare() -> None:
    headers: list[tuple[str, bytes | None]] = [("__value_schema_id", framed(1, b"")), ("__value_schema_id", framed(2, b""))]
    name, value, start = locator(Framing.CONFLUENT)(PolledRecord(b"\x16", headers_=headers), b"\x16")
    assert (schema_id(name, Framing.CONFLUENT), value, start) == (2, b"\x16", 0)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (bytes(9), r"^header __value_schema_id has 9 bytes; 5 or 17 belong there"),
        (b"", r"^header __value_schema_id has 0 bytes; 5 or 17 belong there"),
        (bytes(17), r"^header __value_schema_id begins with neither 0 and an id nor 1 and a GUID"),
        (b"\x01" * 5, r"^header __value_schema_id begins with neither"),
        (b"\x02" * 17, r"^header __value_schema_id begins with neither"),
    ],
)
def test_another_header_is_undecodable(header: bytes, what: str) -> None:
    with pytest.raises(Undecodable, match=what):
        locator(Framing.CONFLUENT)(PolledRecord(b"", headers_=[("__value_schema_id", header)]), b"")


@pytest.mark.parametrize(
    ("framing", "value", "headers", "what"),
    [
        (
            Framing.APICURIO,
            b"\x16",
            [("apicurio.value.globalId", bytes(5))],
            "^header apicurio.value.globalId has 5 bytes; 8",
        ),
        (Framing.APICURIO, b"\x16", [("apicurio.value.contentId", b"\xff" * 8)], "^its contentId is negative"),
        (Framing.APICURIO, bytes(5) + b"\xff", [], "^6 bytes are too few for Apicurio's prefix of 9"),
        (Framing.APICURIO, b"\x00\x01", [], "^2 bytes are too few for Apicurio's prefix of 5"),
        (Framing.APICURIO, b"\x16", [], "^there is no header with an id of Apicurio, and the first byte is not the 0"),
        (Framing.AZURE, b"\x16", [], "^there is no header content-type with the id of a schema"),
        (Framing.AZURE, b"\x16", [("content-type", b"application/json")], "^header content-type is not avro/binary"),
        (Framing.AZURE, b"\x16", [("content-type", b"avro/binary+../groups")], "^header content-type is not avro/binary"),
        (Framing.AZURE, b"\x16", [("content-type", None)], "^header content-type is not avro/binary"),
    ],
)
def test_ids_of_other_forms_are_undecodable(framing: Framing, value: bytes, headers: Any, what: str) -> None:
    with pytest.raises(Undecodable, match=what):
        locator(framing)(PolledRecord(value, headers_=headers), value)


def located(value: bytes, framing: Framing) -> SchemaId:
    return schema_id(locator(framing)(PolledRecord(value), value)[0], framing)


_PREFIXES = {
    Framing.CONFLUENT: (framed(1, b""), framed(2, b""), b"\x01" + bytes(16)),
    Framing.GLUE: (b"\x03\x00" + bytes(16), b"\x03\x00" + bytes(15) + b"1", b"\x03\x05" + bytes(16)),
    Framing.APICURIO: (b"\x00" + bytes(7) + b"\x05", b"\x00\x00\x00\x00\x05", b"\x00\x00\x00\x01\x05"),
    Framing.SINGLE_OBJECT: (b"\xc3\x01" + bytes(8), b"\xc3\x01" + bytes(7) + b"1", b"\xc3\x02" + bytes(8)),
    Framing.PLAIN: (b"", b"1", b"22"),
}


@pytest.mark.parametrize("framing", _PREFIXES)
def test_what_begins_alike_is_located_alike(framing: Framing) -> None:
    decoder = EventDecoder(framing, Known())
    kinds = [zlib.compress(b"body") if prefix[:2] == b"\x03\x05" else b"body" for prefix in _PREFIXES[framing]]
    values = [prefix + body for prefix, body in zip(_PREFIXES[framing], kinds, strict=True)]
    alike = 0
    for one, other in product([*values, *(value + b"1" for value in values), b"", b"\x00"], repeat=2):
        found = decoder.located_alike(PolledRecord(one), one)
        if found is not None and other.startswith(found[1]):
            alike += 1
            assert decoder.located(PolledRecord(other), other) == (found[0], other, len(found[1]))
    assert alike >= 4


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x01", b"\x01\x00\x00\x00\x01body", b"\x02body", b"{"])
def test_other_values_are_undecodable(value: bytes) -> None:
    with pytest.raises(Undecodable):
        located(value, Framing.CONFLUENT)


def test_plain_avro_has_no_frame() -> None:
    assert located(b"", Framing.PLAIN) == 0


def test_compressed_bytes_are_unpacked_up_to_a_bound() -> None:
    prefix = b"\x03\x05" + bytes(16)
    packed = zlib.compress(bytes(16 * 1024 * 1024))
    value = prefix + packed
    assert len(locator(Framing.GLUE)(PolledRecord(value), value)[1]) == 16 * 1024 * 1024
    value = prefix + zlib.compress(bytes(16 * 1024 * 1024 + 1))
    with pytest.raises(Undecodable, match="more than 16777216 when unpacked"):
        locator(Framing.GLUE)(PolledRecord(value), value)
    for damaged in (packed[:-1], packed + b"\x00", b"", b"text"):
        with pytest.raises(Undecodable, match="compressed bytes are damaged"):
            locator(Framing.GLUE)(PolledRecord(prefix + damaged), prefix + damaged)


_NAMES = st.sampled_from(
    ["__value_schema_id", "apicurio.value.globalId", "apicurio.value.contentId", "apicurio.value.encoding", "content-type"]
)
_CONTENTS = st.none() | st.binary(max_size=18) | st.sampled_from([b"BINARY", b"avro/binary+" + b"0" * 32])
_HEADERS = st.none() | st.lists(st.tuples(_NAMES, _CONTENTS), max_size=3)
_STARTS = st.sampled_from([b"", b"\x00", b"\x01", b"\x03\x00", b"\x03\x05", b"\xc3\x01", bytes(5), b"Obj\x01", b"{"])


@given(start=_STARTS, rest=st.binary(max_size=40), headers=_HEADERS, framing=st.sampled_from(Framing))
def test_any_bytes_are_read_or_are_a_records_fault(start: bytes, rest: bytes, headers: Any, framing: Framing) -> None:
    record = PolledRecord(start + rest, headers_=headers)
    for schemas in (OneSchema(), NoSchema()):
        try:
            event = EventDecoder(framing, schemas).decode(record)
        except RecordError:
            continue
        assert isinstance(event, dict)
