"""From records as polled to the columns the core takes: decode, name, encode, once per record.

Pure: the decoder and the wire contract are given, nothing here waits or asks anybody (but for the decoder's registry; where
that has no answer the consumer thread keeps the records and asks again).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, cast

from connector.core.dedupe import derived_id, digest, key_id
from connector.core.letters import DEDUPE_ID_HEADER, Headers, kept, replayed_without_value, size
from connector.errors import ConnectorError, Oversized, RecordError, SchemaUnavailable, UnknownSchema
from connector.model import UNKNOWN_EPOCH, Flaw, Poll, Reason, TopicPartition
from connector.nothing import said
from connector.ports import Decoder, Record, WireContract

__all__ = ["Intake", "Origin", "Shortened", "headers_of"]

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
    if found is None:
        return ()
    return None if found is _UNREADABLE else found


class Shortened(list[tuple[str, bytes | None]]):
    """Stands in a record instead of headers that were too large to be held: those of them that the connector reads."""


_REQUESTS = 4
"""A value may be as large as so many requests (``BATCH_MAX_BYTES``) together, for beside the event it may hold fields that
nobody reads here. One that is larger is not decoded: that takes time and memory many times its size, and the group would
take the process for dead. Nothing else bounds what a compressed batch holds. Headers may be as large; larger ones are not
held while the event is on its way, and a letter of it lacks them."""


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
        request_bytes: int = 1_000_000,
    ) -> None:
        self._decode = decoder.decode
        self._encode = contract.encode
        self._most_bytes = _REQUESTS * request_bytes
        self._key_fields = key_fields
        self._id_fields = sorted(key_fields)  # names in another order make the same id, so that a restart with them keeps it
        self._own_id_is_key = self._id_fields == ["clientDedupeId"]
        self._unforeseen = unforeseen

    def read(
        self,
        origin: Origin,
        records: Sequence[Record],
        waited: float = 0.0,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> tuple[Poll, SchemaUnavailable | None]:
        """Turn records of one partition, which have waited for so many seconds, into columns.

        The columns hold the first record, and as many more until ``is_enough``. Where a schema cannot
        be had for now they end before its record, and the second value says why. Call again later with
        the records that are left.
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
                    inputs = self._inputs(value, waited)
                    if inputs is not None:
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
            poll.sizes.append(held + self._held_of(record, headers) if headers else held)
            poll.records.append(record)
        return poll, None

    def _held_of(self, record: Record, headers: Headers) -> int:
        """Return the bytes that headers take while the record is unresolved; shorten them if they are too many."""
        held = size(headers)
        if held > self._most_bytes:
            shortened = Shortened(kept(headers))
            cast("Any", record).set_headers(shortened)
            held = size(shortened)
        return held

    def _inputs(self, value: bytes, waited: float) -> dict[str, object] | None:
        if len(value) > self._most_bytes:
            raise Oversized(f"value: more than {self._most_bytes} bytes, {_REQUESTS} times a request (BATCH_MAX_BYTES)")
        return self._decode(value, waited)

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
        """Return the id on the wire: what the key tells apart it tells apart, and what has no key is a case of its own."""
        if key is None or (self._own_id_is_key and type(values["clientDedupeId"]) is not str):
            return origin.derived_id(record)
        return str(values["clientDedupeId"]) if self._own_id_is_key else key_id([values[name] for name in self._id_fields])


def _valueless(headers: Headers | None) -> Flaw | None:
    """Judge a record without a value: it is none of ours to send, unless it lost its value on the way."""
    if headers and (of := replayed_without_value(headers)):
        what = f"it has no value: an older version replayed the dead letter of {of}, which lacks it"
        return Flaw(Reason.UNDECODABLE, f"{what}. The record at that place has it")
    return None


def _identity(name: str, value: object) -> object:
    """Return what a field of the key says; a text without what surrounds it, or "1" and "1 " would be two orders here."""
    return said(value, name=name != "clientDedupeId") if type(value) is str else value
