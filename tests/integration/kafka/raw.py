"""Writes records that Kafka takes and no client library here writes: header names of any bytes, times of 0 and before.

A record batch by Kafka's own protocol (message format 2, ``Produce`` of version 7), over a socket to the partition's leader.
Other programs write such records: librdkafka takes any bytes for a header's name, and a client may set any time.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from tests.patience import patience

__all__ = ["RawRecord", "produce_raw"]

_SECONDS = 10.0
_CASTAGNOLI = 0x82F63B78


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as its bytes stand in the batch."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    timestamp_ms: int = 0
    """As given: 0 is the first millisecond of 1970."""


def produce_raw(servers: str, topic: str, records: Iterable[RawRecord], partition: int = 0) -> int:
    """Write records as one batch; return the offset of the first."""
    batch = _batch(list(records))
    topics = struct.pack(">i", 1) + _text(topic) + struct.pack(">ii", 1, partition) + struct.pack(">i", len(batch)) + batch
    request = (
        struct.pack(">hhi", 0, 7, 1) + _text("raw") + struct.pack(">hhi", -1, -1, round(patience(_SECONDS) * 1000)) + topics
    )
    with socket.create_connection(_leader(servers, topic, partition), patience(_SECONDS)) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answers:
            answer = answers.read(*struct.unpack(">i", answers.read(4)))
    error, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
    assert error == 0, f"the broker refuses the batch: error {error}"
    return int(offset)


def _leader(servers: str, topic: str, partition: int) -> tuple[str, int]:
    found = AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(topic, timeout=patience(_SECONDS))
    broker = found.brokers[found.topics[topic].partitions[partition].leader]
    return str(broker.host), broker.port


def _batch(records: list[RawRecord]) -> bytes:
    first = records[0].timestamp_ms
    written = b"".join(_record(at, record, record.timestamp_ms - first) for at, record in enumerate(records))
    newest = max(record.timestamp_ms for record in records)
    checked = struct.pack(">hiqqqhii", 0, len(records) - 1, first, newest, -1, -1, -1, len(records)) + written
    return struct.pack(">qiibI", 0, 9 + len(checked), -1, 2, _crc32c(checked)) + checked


def _record(at: int, record: RawRecord, delta_ms: int) -> bytes:
    headers = b"".join(_sized(name) + _sized(value) for name, value in record.headers)
    body = b"\x00" + _varint(delta_ms) + _varint(at) + _sized(record.key) + _sized(record.value)
    body += _varint(len(record.headers)) + headers
    return _varint(len(body)) + body


def _sized(field: bytes | None) -> bytes:
    return _varint(-1) if field is None else _varint(len(field)) + field


def _varint(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    written = bytearray()
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*written, rest])


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
