"""Turns records as polled into the columns that the core takes.

Each record is decoded, identified and encoded once:

    value ──Decoder──▶ inputs ──▶ dedupe key and id ──WireContract──▶ payload, or broken rules

Nothing here does I/O, except that the decoder may ask its schema registry. Where the registry has
no answer, the consumer thread keeps the records and calls again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from connector.core.dedupe import derived_id, digest, key_id
from connector.core.letters import DEDUPE_ID_HEADER, Headers, kept, replayed_without_value, size
from connector.errors import ConnectorError, Oversized, RecordError, SchemaUnavailable, UnknownSchema
from connector.headers import Shortened, headers_of
from connector.model import UNKNOWN_EPOCH, Flaw, Poll, Reason, TopicPartition
from connector.nothing import said
from connector.ports import Decoder, Record, WireContract

__all__ = ["Intake", "Origin"]

_REQUESTS = 4
"""Maximum size of a value, in requests (``BATCH_MAX_BYTES``). It is more than one because a value
may have fields that the connector does not read. A larger value is not decoded: decoding takes many
times its size in memory, and so long that the group would consider the process dead. Nothing else
limits what a compressed batch contains. The same limit holds for headers. Larger headers are not
kept in memory while the event is on its way, and a dead letter of it lacks them."""


class Origin:
    """Place in Kafka of the records of one assignment."""

    __slots__ = ("_cluster_id", "_topic_id", "generation", "partition")

    def __init__(self, partition: TopicPartition, generation: int, cluster_id: str, topic_id: str) -> None:
        self.partition = partition
        self.generation = generation
        self._cluster_id = cluster_id
        self._topic_id = topic_id

    def derived_id(self, record: Record) -> str:
        """Return the dedupe id for a record without its own: from its replay or its place."""
        for name, value in headers_of(record) or ():
            if name == DEDUPE_ID_HEADER and value:
                return value.decode("utf-8", "replace")
        _, timestamp = record.timestamp()
        return derived_id(self._cluster_id, self._topic_id, self.partition.partition, record.offset(), timestamp)


class Intake:
    """Decodes records and encodes events.

    ``unforeseen`` is called for a record whose decoding failed in an unforeseen way, with its place
    and the type of the exception. The exception's text is left out, because it may hold values of
    the event.
    """

    def __init__(
        self,
        decoder: Decoder,
        contract: WireContract,
        key_fields: tuple[str, ...],
        unforeseen: Callable[[TopicPartition, int, str], None] = lambda _partition, _offset, _kind: None,
        request_bytes: int = 1_000_000,
    ) -> None:
        self._decode = decoder.decode
        self._encode = contract.encode
        self._most_bytes = _REQUESTS * request_bytes
        self._key_fields = key_fields
        self._id_fields = sorted(key_fields)  # sorted: the same names in another order make the same id
        self._own_id_is_key = self._id_fields == ["clientDedupeId"]
        self._unforeseen = unforeseen

    def read(
        self,
        origin: Origin,
        records: Sequence[Record],
        waited: float = 0.0,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> tuple[Poll, SchemaUnavailable | None]:
        """Turn records of one partition into columns.

        ``waited`` is the number of seconds that the records have waited for their schema. The
        columns hold the first record, and then more until ``is_enough`` returns True. If a schema
        cannot be fetched for now, they end before its record, and the second value is the reason.
        Call again later with the records that are left.
        """
        poll = Poll(origin.partition, origin.generation)
        for record in records:
            if poll.offsets and is_enough():
                break
            value = record.value()
            time_ms: int | None = None
            key: bytes | None = None
            payload: bytes | Flaw | None = None
            if value is None:
                payload = _valueless(headers_of(record))
            else:
                try:
                    inputs = self._inputs(record, value, waited)
                    if isinstance(inputs, Flaw):
                        payload = inputs
                    elif inputs is not None:
                        time_ms, key, payload = self._read_inputs(origin, record, inputs)
                except SchemaUnavailable as error:
                    return poll, error
                except UnknownSchema as error:
                    payload = Flaw(Reason.UNKNOWN_SCHEMA, str(error))
                except Oversized as error:
                    payload = Flaw(Reason.TOO_LARGE, str(error))
                except RecordError as error:
                    payload = Flaw(Reason.UNDECODABLE, str(error))
                except ConnectorError:
                    raise  # not the fault of this record
                except Exception as error:  # noqa: BLE001 - one record must not end the process, nor delay the next ones
                    kind = type(error).__name__
                    self._unforeseen(origin.partition, record.offset(), kind)
                    payload = Flaw(Reason.UNDECODABLE, f"decoding it failed in an unforeseen way ({kind})")
            epoch = record.leader_epoch()
            poll.offsets.append(record.offset())
            poll.epochs.append(UNKNOWN_EPOCH if epoch is None else epoch)
            poll.times.append(time_ms)
            poll.keys.append(key)
            poll.payloads.append(payload)
            held = len(value or b"") + len(record.key() or b"") + (len(payload) if type(payload) is bytes else 0)
            headers = headers_of(record)
            poll.sizes.append(held + self._header_bytes(record, headers) if headers else held)
            poll.records.append(record)
        return poll, None

    def _header_bytes(self, record: Record, headers: Headers) -> int:
        """Return the bytes that headers take in memory; shorten headers that are too large."""
        held = size(headers)
        if held > self._most_bytes:
            shortened = Shortened(kept(headers))
            cast("Any", record).set_headers(shortened)
            held = size(shortened)
        return held

    def _inputs(self, record: Record, value: bytes, waited: float) -> dict[str, object] | Flaw | None:
        if len(value) > self._most_bytes:
            raise Oversized(f"value: more than {self._most_bytes} bytes, {_REQUESTS} times a request (BATCH_MAX_BYTES)")
        return self._decode(record, waited)

    def _read_inputs(
        self, origin: Origin, record: Record, inputs: dict[str, object]
    ) -> tuple[int | None, bytes | None, bytes | Flaw]:
        time_ms = inputs.get("timestamp")
        values = {name: _identity(name, inputs.get(name)) for name in self._key_fields}
        key = digest(list(values.values()))
        payload = self._encode(inputs, self._id(origin, record, values, key))
        if type(payload) is not bytes:
            key = None
        return time_ms if type(time_ms) is int else None, key, payload

    def _id(self, origin: Origin, record: Record, values: dict[str, object], key: bytes | None) -> str:
        """Return the id on the wire: one id per dedupe key, and one per event without a key."""
        if key is None or (self._own_id_is_key and type(values["clientDedupeId"]) is not str):
            return origin.derived_id(record)
        return str(values["clientDedupeId"]) if self._own_id_is_key else key_id([values[name] for name in self._id_fields])


def _valueless(headers: Headers | None) -> Flaw | None:
    """Return a flaw if a record lost its value in a replay; None if it never had one."""
    if headers and (of := replayed_without_value(headers)):
        what = f"it has no value: an older version replayed the dead letter of {of}, which lacks the value"
        return Flaw(Reason.UNDECODABLE, f"{what}. The record at that place has it")
    return None


def _identity(name: str, value: object) -> object:
    """Return the value of a key field, without blanks around a text: "1" and "1 " are one order."""
    return said(value, name=name != "clientDedupeId") if type(value) is str else value
