"""Confluent's wire format."""

import pytest

from connector.avro.framing import Framing, framed, schema_id
from connector.errors import Undecodable


def test_the_id_is_four_bytes_big_endian_after_a_zero() -> None:
    assert framed(0x01020304, b"body") == b"\x00\x01\x02\x03\x04body"
    assert schema_id(b"\x00\x01\x02\x03\x04body", Framing.CONFLUENT) == 0x01020304


def test_an_id_above_two_billion_is_not_negative() -> None:
    assert schema_id(b"\x00\xff\xff\xff\xff", Framing.CONFLUENT) == 0xFFFFFFFF


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x01", b"\x01\x00\x00\x00\x01body", b"{"])
def test_other_values_are_undecodable(value: bytes) -> None:
    with pytest.raises(Undecodable):
        schema_id(value, Framing.CONFLUENT)


def test_plain_avro_has_no_frame() -> None:
    assert schema_id(b"", Framing.PLAIN) == 0
