"""Turns records as polled into the columns that the core takes.

Each record is decoded, identified and encoded once:

    value ──Decoder──▶ inputs ──▶ dedupe key and id ──WireContract──▶ payload, or broken rules

Nothing here does I/O, except that the decoder may ask its schema registry. Where the registry has
no answer, the consumer thread keeps the records and calls again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import orjson

from connector.core.dedupe import derived_id, digest, key_id
from connector.core.letters import DEDUPE_ID_HEADER, Headers, kept, replayed_without_value, size
from connector.errors import ConnectorError, Oversized, RecordError, SchemaUnavailable, UnknownSchema
from connector.headers import Shortened, all_headers_of, headers_of
from connector.model import UNKNOWN_EPOCH, Flaw, Poll, Reason, TopicPartition
from connector.nothing import said
from connector.ports import Decoder, Record, WireContract

__all__ = ["Accepted", "Batches", "Intake", "Origin", "identity"]

_REQUESTS = 4
"""Maximum size of a value, in requests (``BATCH_MAX_BYTES``). It is more than one because a value
may have fields that the connector does not read. A larger value is not decoded: decoding takes many
times its size in memory, and so long that the group would consider the process dead. Nothing else
limits what a compressed batch contains. The same limit holds for headers. Larger headers are not
kept in memory while the event is on its way, and a dead letter of it lacks them."""
_COMPARED = 10_000
"""Of this many records that native code accepted, one is read in Python too, and compared."""


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


@dataclass(slots=True)
class Accepted:
    """What native code made of some records, in columns. None stands for what is left to Python."""

    payloads: list[bytes | None]
    times: list[int | None]
    keys: list[bytes | None]
    holes: dict[int, int]
    """The place for the id in a payload that lacks it, by the index of its record."""
    ignored: dict[int, str] = field(default_factory=dict)
    """The records that the mapping file ignores, with what they are counted by."""
    unknown: set[int] = field(default_factory=set)
    """The records left to Python because their schema, if there is one, is not known yet."""

    @classmethod
    def none(cls, count: int) -> Accepted:
        """Return columns of records that are all left to Python."""
        return cls([None] * count, [None] * count, [None] * count, {})

    def put(
        self,
        positions: Sequence[int],
        payloads: list[bytes | None],
        times: list[int | None],
        keys: list[bytes | None],
    ) -> None:
        """Set what was made of the records at these positions, which are in order."""
        if len(positions) == len(self.payloads):
            self.payloads, self.times, self.keys = payloads, times, keys
            return
        for at, payload, time_ms, key in zip(positions, payloads, times, keys, strict=True):
            self.payloads[at], self.times[at], self.keys[at] = payload, time_ms, key

    def adopt(self, other: Accepted, positions: Iterable[int]) -> None:
        """Take from other columns what was made of the records at these positions."""
        for at in positions:
            self.times[at], self.keys[at], self.payloads[at] = other.at(at)
        self.ignored |= other.ignored
        self.unknown = other.unknown

    def complete(self, records: Sequence[Record], origin: Origin) -> None:
        """Put an id into each payload that lacks it."""
        for at, hole in self.holes.items():
            if (payload := self.payloads[at]) is not None:
                self.payloads[at] = payload[:hole] + orjson.dumps(origin.derived_id(records[at])) + payload[hole:]

    def at(self, index: int) -> tuple[int | None, bytes | None, bytes | None]:
        """Return time, dedupe key and payload of a record."""
        return self.times[index], self.keys[index], self.payloads[index]

    def end_of_stretch(self, first: int) -> int:
        """Return where the payloads that begin at a position end."""
        try:
            return self.payloads.index(None, first)
        except ValueError:
            return len(self.payloads)


class Batches(Protocol):
    """Native code that reads records about which there is nothing to say."""

    def read(self, records: Sequence[Record], values: Sequence[bytes | None], *, bare: bool) -> Accepted:
        """Read records with their values. ``bare`` says that none of the records has headers."""

    def count_ignored(self, label: str) -> None:
        """Count a record that the mapping file ignores."""


class Intake:
    """Decodes records and encodes events.

    ``unforeseen`` is called for a record whose decoding failed in an unforeseen way, with its place
    and the type of the exception. The exception's text is left out, because it may hold values of
    the event.

    ``batches`` reads what it can before anything is read here. Of what it accepts, every
    ``compared``-th record is read here too. Should the two ever differ, ``batches`` is not asked
    again, and ``distrust`` is called with the reason.
    """

    def __init__(
        self,
        decoder: Decoder,
        contract: WireContract,
        key_fields: tuple[str, ...],
        unforeseen: Callable[[TopicPartition, int, str], None] = lambda _partition, _offset, _kind: None,
        request_bytes: int = 1_000_000,
        batches: Batches | None = None,
        distrust: Callable[[str], None] = lambda _reason: None,
        compared: int = _COMPARED,
    ) -> None:
        self._decode = decoder.decode
        self._encode = contract.encode
        self._most_bytes = _REQUESTS * request_bytes
        self._key_fields = key_fields
        self._id_fields = sorted(key_fields)  # sorted: the same names in another order make the same id
        self._own_id_is_key = self._id_fields == ["clientDedupeId"]
        self._unforeseen = unforeseen
        self._batches = batches
        self._distrust = distrust
        self._compared = compared
        self._accepted = 0

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
        poll, lacking = Poll(origin.partition, origin.generation), None
        values = [record.value() for record in records]
        headers = all_headers_of(records)
        bare = not any(headers)
        accepted = self._read_by_batches(origin, records, values, bare=bare)
        while (at := len(poll.payloads)) < len(records) and not (at and is_enough()):
            is_accepted = accepted.payloads[at] is not None
            if is_accepted and (most := self._accepted_until_compared()):
                end = min(accepted.end_of_stretch(at), at + most)
                self._accepted += end - at
                poll.times += accepted.times[at:end]
                poll.keys += accepted.keys[at:end]
                poll.payloads += accepted.payloads[at:end]
                continue
            if self._batches is not None and at in accepted.ignored and self._accepted_until_compared():
                self._accepted += 1
                self._batches.count_ignored(accepted.ignored[at])
                poll.times.append(None)
                poll.keys.append(None)
                poll.payloads.append(None)
                continue
            record = records[at]
            try:
                judged = time_ms, key, payload = self._judged(origin, record, values[at], waited)
            except SchemaUnavailable as error:
                lacking = error
                break
            if is_accepted or at in accepted.ignored:
                self._accepted += 1
                if judged != accepted.at(at):
                    accepted = self._without_batches("different", len(records))
            elif at in accepted.unknown and type(payload) is bytes:
                accepted = self._with_known(accepted, at, origin, records, values, bare=bare)
            poll.times.append(time_ms)
            poll.keys.append(key)
            poll.payloads.append(payload)
        self._complete(poll, records[: len(poll.payloads)], values, headers)
        return poll, lacking

    def _accepted_until_compared(self) -> int:
        """Return how many records may be accepted before one is read here too.

        Return 0 if that is the next one.
        """
        return -self._accepted % self._compared

    def _complete(
        self,
        poll: Poll,
        records: Sequence[Record],
        values: Sequence[bytes | None],
        headers: Sequence[Headers | None],
    ) -> None:
        """Add the columns that do not depend on what a value says."""
        poll.offsets += [record.offset() for record in records]
        poll.epochs += [UNKNOWN_EPOCH if (epoch := record.leader_epoch()) is None else epoch for record in records]
        keys = [record.key() for record in records]
        poll.sizes += [
            len(value or b"") + len(key or b"") + (len(payload) if type(payload) is bytes else 0)
            for value, key, payload in zip(values, keys, poll.payloads, strict=False)
        ]
        if any(headers):
            for at, (record, found) in enumerate(zip(records, headers, strict=False)):
                if found:
                    poll.sizes[at] += self._header_bytes(record, found)
        poll.records += records

    def _read_by_batches(
        self, origin: Origin, records: Sequence[Record], values: Sequence[bytes | None], *, bare: bool
    ) -> Accepted:
        if self._batches is None:
            return Accepted.none(len(records))
        try:
            accepted = self._batches.read(records, values, bare=bare)
            accepted.complete(records, origin)
        except Exception as error:  # noqa: BLE001 - native code is never needed
            return self._without_batches(type(error).__name__, len(records))
        return accepted

    def _with_known(
        self,
        accepted: Accepted,
        first: int,
        origin: Origin,
        records: Sequence[Record],
        values: Sequence[bytes | None],
        *,
        bare: bool,
    ) -> Accepted:
        """Return the columns after another look at the records behind ``first`` that were unknown.

        Python has read the record at ``first``, so the schema of that one is known now.
        """
        unknown = {at for at in accepted.unknown if at > first}
        left = [value if at in unknown else None for at, value in enumerate(values)]
        more = self._read_by_batches(origin, records, left, bare=bare)
        if self._batches is None:
            return more
        accepted.adopt(more, unknown)
        return accepted

    def _without_batches(self, reason: str, count: int) -> Accepted:
        self._batches = None
        self._distrust(reason)
        return Accepted.none(count)

    def _judged(
        self, origin: Origin, record: Record, value: bytes | None, waited: float
    ) -> tuple[int | None, bytes | None, bytes | Flaw | None]:
        """Return time, dedupe key and payload of a record; instead of a payload a flaw, or None.

        Raises:
            SchemaUnavailable: the schema cannot be fetched for now.
        """
        if value is None:
            return None, None, _valueless(headers_of(record))
        try:
            inputs = self._inputs(record, value, waited)
            return self._read_inputs(origin, record, inputs) if isinstance(inputs, dict) else (None, None, inputs)
        except UnknownSchema as error:
            flaw = Flaw(Reason.UNKNOWN_SCHEMA, str(error))
        except Oversized as error:
            flaw = Flaw(Reason.TOO_LARGE, str(error))
        except RecordError as error:
            flaw = Flaw(Reason.UNDECODABLE, str(error))
        except ConnectorError:
            raise  # not the fault of this record
        except Exception as error:  # noqa: BLE001 - one record must not end the process, nor delay the next ones
            kind = type(error).__name__
            self._unforeseen(origin.partition, record.offset(), kind)
            flaw = Flaw(Reason.UNDECODABLE, f"decoding it failed in an unforeseen way ({kind})")
        return None, None, flaw

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
        values = {name: identity(name, inputs.get(name)) for name in self._key_fields}
        key = digest(values.values())
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


def identity(name: str, value: object) -> object:
    """Return the value of a key field, without blanks around a text: "1" and "1 " are one order."""
    return said(value, name=name != "clientDedupeId") if type(value) is str else value
