"""From records as polled to the columns the core takes: decode, name, encode, once per record.

Pure: the decoder and the wire contract are given, nothing here waits or asks anybody (but for the decoder's registry; where
that has no answer the consumer thread keeps the records and asks again).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, cast

from connector.core.dedupe import derived_id, digest
from connector.core.letters import DEDUPE_ID_HEADER, Headers, size
from connector.errors import ConnectorError, RecordError, SchemaUnavailable, UnknownSchema
from connector.model import UNKNOWN_EPOCH, Flaw, Poll, Reason, TopicPartition
from connector.ports import Decoder, Record, WireContract

__all__ = ["Intake", "Origin", "headers_of"]

_headers: Callable[[Any], Headers | None] = methodcaller("headers")
_UNREADABLE: Headers = []
"""Stands in a record instead of headers that cannot be read, and is known by its identity."""


def headers_of(record: Record) -> Headers | None:
    """Return the headers of a record, in order; None where they cannot be read.

    No other place asks a record for its headers. Where a name is not UTF-8, confluent-kafka 2.16
    returns a list with a hole in it, and sets an exception beside. Called through C, as here, that
    is an error. Called as ``record.headers()`` it is none once the call is warm: CPython's
    specialised call does not look, and to touch the hole is a segmentation fault. A second call
    returns the same list without an exception, so the list is replaced here.
    """
    try:
        found = _headers(record)
    except Exception:  # noqa: BLE001 - a SystemError; whatever it is, they cannot be read
        cast("Any", record).set_headers(_UNREADABLE)
        return None
    return None if found is _UNREADABLE else found or ()


class Origin:
    """Where records of one assignment stand in Kafka."""

    __slots__ = ("_cluster_id", "_topic_id", "generation", "partition")

    def __init__(self, partition: TopicPartition, generation: int, cluster_id: str, topic_id: str) -> None:
        self.partition = partition
        self.generation = generation
        self._cluster_id = cluster_id
        self._topic_id = topic_id

    def derived_id(self, record: Record) -> str:
        """Return the id of a record that has none of its own: what it was replayed with, or where it stands."""
        for name, value in headers_of(record) or ():
            if name == DEDUPE_ID_HEADER and value:
                return value.decode("utf-8", "replace")
        _, timestamp = record.timestamp()
        return derived_id(self._cluster_id, self._topic_id, self.partition.partition, record.offset(), timestamp)


class Intake:
    """Decodes records and encodes events.

    ``unforeseen`` is told of a record whose reading failed in a way that nobody foresaw: where it
    stands, and the type of the exception. Its text may hold values of the event.
    """

    def __init__(
        self,
        decoder: Decoder,
        contract: WireContract,
        key_fields: tuple[str, ...],
        unforeseen: Callable[[TopicPartition, int, str], None] = lambda _partition, _offset, _kind: None,
    ) -> None:
        self._decode = decoder.decode
        self._encode = contract.encode
        self._key_fields = key_fields
        self._unforeseen = unforeseen

    def read(self, origin: Origin, records: Sequence[Record], waited: float = 0.0) -> tuple[Poll, SchemaUnavailable | None]:
        """Turn records of one partition, which have waited for so many seconds, into columns.

        Where a schema cannot be had for now, the columns end before its record, and the second value says why: call again
        later with that record and those after it.
        """
        poll = Poll(origin.partition, origin.generation)
        for record in records:
            value = record.value()
            time_ms: int | None = None
            key: bytes | None = None
            payload: bytes | Flaw | None = None
            if value is not None:
                try:
                    inputs = self._decode(value, waited)
                    if inputs is not None:
                        time_ms, key, payload = self._read_inputs(origin, record, inputs)
                except SchemaUnavailable as error:
                    return poll, error
                except UnknownSchema as error:
                    payload = Flaw(Reason.UNKNOWN_SCHEMA, str(error))
                except RecordError as error:
                    payload = Flaw(Reason.UNDECODABLE, str(error))
                except ConnectorError:
                    raise  # of the surroundings, not of this record
                except Exception as error:  # noqa: BLE001 - one record must not end the process, nor hold up what follows it
                    kind = type(error).__name__
                    self._unforeseen(origin.partition, record.offset(), kind)
                    payload = Flaw(Reason.UNDECODABLE, f"reading it failed in a way that nobody foresaw ({kind})")
            epoch = record.leader_epoch()
            poll.offsets.append(record.offset())
            poll.epochs.append(UNKNOWN_EPOCH if epoch is None else epoch)
            poll.times.append(time_ms)
            poll.keys.append(key)
            poll.payloads.append(payload)
            held = len(value or b"") + len(record.key() or b"") + (len(payload) if type(payload) is bytes else 0)
            headers = headers_of(record)
            poll.sizes.append(held + size(headers) if headers else held)
            poll.records.append(record)
        return poll, None

    def _read_inputs(
        self, origin: Origin, record: Record, inputs: dict[str, object]
    ) -> tuple[int | None, bytes | None, bytes | Flaw]:
        time_ms = inputs.get("timestamp")
        own_id = inputs.get("clientDedupeId")
        payload = self._encode(inputs, own_id if type(own_id) is str and own_id.strip() else origin.derived_id(record))
        if type(payload) is not bytes:
            return time_ms if type(time_ms) is int else None, None, payload
        key = digest([inputs.get(name) for name in self._key_fields])
        return time_ms if type(time_ms) is int else None, key, payload
