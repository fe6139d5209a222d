"""The fast path: native code turns plain records into payloads, and declines the others.

    values ──locate──▶ by schema ──native codec──▶ payload, time and dedupe key; or declined

The law: *the codec declines a record, or makes what `connector.intake` makes in Python, byte for
byte*. Python stays the specification. It alone reads what is declined, so every flaw and every
adjustment comes from Python. `Intake` compares a sample of what was accepted.

A codec is made for each writer's schema, once Python has read a sound record of it. With a mapping
file the codec evaluates those expressions that `mapping.native_terms` can translate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol

from connector.amazon.contract import Contract
from connector.amazon.event_template import EventTemplate
from connector.avro.decoding import EventDecoder
from connector.avro.layout import PARTS, Layout, Part, Remembered
from connector.core.dedupe import packed
from connector.intake import Accepted, identity
from connector.nothing import DISGUISED, NAMELESS
from connector.ports import Record

__all__ = ["BatchCodec", "NativeCodec"]

_MOST_BYTES: Final = 16_384
"""Values up to this size are read by native code; nearly all values are smaller."""
_MOST_CODECS: Final = 64
"""Maximum number of schemas that codecs are kept for. A codec takes about a megabyte: it knows
thousands of texts that stand for nothing."""


class NativeCodec(Protocol):
    """The codec of one writer's schema (``native/src/codec.rs``)."""

    def read(
        self, values: Sequence[bytes | None], before: bytes, asked: Sequence[Sequence[object]] = (), /
    ) -> tuple[list[bytes | None], list[int | None], list[bytes | None], dict[int, int], list[int], list[int]]:
        """Return payloads, times, dedupe keys, places for ids, and indices of two kinds of values.

        The event of a value comes after the bytes ``before``. The first three lists have an entry
        for each value: None where nothing was made of it. The dict has the place for the id in each
        payload that lacks it. The mapping file ignores the values of the first list of indices;
        those of the second do not begin with ``before``. All other values without an entry are
        declined, or None themselves.

        ``asked`` has the answers of each value's Kafka record to the calls of `Layout.asks`.
        """

    def take_declined(self) -> list[tuple[str, int]]:
        """Return how many values were declined since the last call, by reason."""


class BatchCodec:
    """Reads the records of a poll, each by the codec of its schema. For one thread.

    ``make`` makes the codec of a schema, from the terms that ``native/src/codec.rs`` describes.
    """

    def __init__(
        self,
        make: Callable[[dict[str, Any]], NativeCodec],
        decoder: EventDecoder,
        contract: Contract,
        key_fields: Sequence[str],
    ) -> None:
        self._make = make
        self._decoder = decoder
        self._template = EventTemplate(contract)
        self._key_fields = tuple(key_fields)
        self._codecs: dict[bytes, tuple[NativeCodec, Layout] | None] = {}
        self.declined: Counter[str] = Counter()
        """Records that were left to Python, by the first reason."""

    def read(self, records: Sequence[Record], values: Sequence[bytes | None], *, bare: bool) -> Accepted:
        """Read records with their values. Total: what is not read is declined.

        ``bare`` says that none of the records has headers.
        """
        accepted = Accepted.none(len(records))
        rest = self._read_alike(records, values, accepted) if bare and records else range(len(records))
        for (name, before), (positions, events) in self._located(records, values, rest).items():
            found = self._codec_for(name)
            if found is not None:
                self._read(found, before, records, positions, events, accepted)
            elif not self._decoder.is_known(name):
                accepted.unknown.update(positions)
        return accepted

    def _read_alike(self, records: Sequence[Record], values: Sequence[bytes | None], accepted: Accepted) -> Sequence[int]:
        """Read the values that begin like one whose codec is there; return where the others are.

        Three are tried. Nearly always all values of a poll begin alike, so it does not matter which
        is taken.
        """
        everything = range(len(records))
        for at in (0, len(records) // 2, len(records) - 1):
            value = values[at]
            alike = None if value is None else self._decoder.located_alike(records[at], value)
            if alike is not None and (found := self._codec_for(alike[0])) is not None:
                return self._read(found, alike[1], records, everything, values, accepted)
        return everything

    def _read(
        self,
        by: tuple[NativeCodec, Layout],
        before: bytes,
        records: Sequence[Record],
        positions: Sequence[int],
        values: Sequence[bytes | None],
        accepted: Accepted,
    ) -> list[int]:
        """Read values that begin alike; return the positions of those among them that do not."""
        codec, layout = by
        asked = [_asked(layout, records[at]) for at in positions] if layout.asks else ()
        payloads, times, keys, holes, ignored, others = codec.read(values, before, asked)
        accepted.put(positions, payloads, times, keys)
        accepted.holes.update({positions[at]: hole for at, hole in holes.items()})
        if layout.filtered is not None:
            accepted.ignored.update({positions[at]: layout.filtered for at in ignored})
        if declined := codec.take_declined():
            self.declined = self.declined + Counter(dict(declined))  # a new one, as another thread may read it
        return [positions[at] for at in others]

    def count_ignored(self, label: str) -> None:
        """Count a record that the mapping file ignores."""
        self._decoder.count_filtered(label)

    def _located(
        self, records: Sequence[Record], values: Sequence[bytes | None], positions: Sequence[int]
    ) -> dict[tuple[bytes, bytes], tuple[list[int], list[bytes]]]:
        """Return the values at some positions by their schema and by what is before the event.

        Those without a value, compressed or without the framing are left out.
        """
        groups: dict[tuple[bytes, bytes], tuple[list[int], list[bytes]]] = {}
        for at in positions:
            value = values[at]
            if value is None or self._decoder.is_compressed(value):
                continue
            try:
                name, found, start = self._decoder.located(records[at], value)
            except Exception:  # noqa: BLE001, S112 - Python meets it again, and says what it is
                continue
            places, events = groups.setdefault((name, found[:start]), ([], []))
            places.append(at)
            events.append(found)
        return groups

    def _codec_for(self, name: bytes) -> tuple[NativeCodec, Layout] | None:
        if name not in self._codecs:
            if not self._decoder.is_known(name):
                return None
            if len(self._codecs) >= _MOST_CODECS:
                self._codecs.clear()
            layout = self._decoder.layout(name)
            codec = None if layout is None else self._made(layout)
            self._codecs[name] = None if layout is None or codec is None else (codec, layout)
        return self._codecs[name]

    def _made(self, layout: Layout) -> NativeCodec | None:
        parts = [PARTS.get(name, Part.ABSENT) for name in self._key_fields]
        if not set(parts) <= _KEY_PARTS:
            return None
        template = self._template
        pieces = [(lead, PARTS[name], trail) for lead, name, trail in template.pieces]
        known = {part for _, part, _ in pieces} | {0, Part.CUSTOM_DATA}
        mapping = None if layout.routes is None else _mapping(layout, known)
        if mapping is not None and not mapping["filters"] and not any(inputs for _, inputs in mapping["routes"]):
            return None
        terms = {
            "record": ("record", [(part if part in known else Part.ABSENT, node) for part, node in layout.fields]),
            "mapping": mapping,
            "units_per_millisecond": layout.units_per_millisecond,
            "pieces": pieces,
            "tail": template.tail,
            "match_key": template.match_key,
            "attribute": template.attribute,
            "most_match_keys": template.most_match_keys,
            "most_attributes": template.most_attributes,
            "any_attribute_text": template.any_attribute_text,
            "consent_is_required": template.consent_is_required,
            "consent_is_a_pair": template.consent_is_a_pair,
            "local": template.local_networks,
            "disguised": set(DISGUISED),
            "nameless": set(NAMELESS),
            "key_parts": parts,
            "id_parts": [] if parts == [Part.ID] else [PARTS[name] for name in sorted(self._key_fields)],
            "most_bytes": _MOST_BYTES,
            "fill": _FieldRules(self._template, layout, self._key_fields),
            "hash": template.hashes,
        }
        try:
            return self._make(terms)
        except ValueError:
            return None  # a schema of more types than are read


def _asked(layout: Layout, record: Record) -> Sequence[object]:
    """Return the answers of a Kafka record to its mapping's calls; none if one of them fails."""
    try:
        return [ask(None, record) for ask in layout.asks]
    except Exception:  # noqa: BLE001 - Python meets it again, and says what it is
        return ()


def _mapping(layout: Layout, known: AbstractSet[int]) -> dict[str, Any]:
    """Return the mappings. One with an input that the contract has no place for goes to Python."""
    routes = [
        (when, inputs if inputs is not None and {part for part, _ in inputs["parts"]} <= known else None)
        for when, inputs in layout.routes or ()
    ]
    return {"routes": routes, "filters": layout.filtered is not None}


_KEY_PARTS: Final = {Part.ID, Part.NAME, Part.EVENT_TYPE, Part.SOURCE, Part.COUNTRY, Part.CURRENCY}
"""Parts that a dedupe key may be made of if the codec is to read the event."""


class _FieldRules:
    """What the field rules make of the bytes of one field; called by the codec, which remembers."""

    def __init__(self, template: EventTemplate, layout: Layout, key_fields: Sequence[str]) -> None:
        self._template = template
        self._layout = layout
        self._names = {part: name for name, part in PARTS.items()}
        self._key_fields = frozenset(key_fields)

    def __call__(self, memo: int, value: bytes) -> tuple[bytes, int, bytes | None] | None:
        """Return the JSON of the field, its kind, and its part of the dedupe key.

        Return None if the value breaks a rule or is adjusted: then Python reads the record.
        """
        part = memo + 1
        try:
            given = self._layout.remembered[part](value)
        except Exception:  # noqa: BLE001 - what cannot be read is left to Python
            return None
        if part in (Remembered.KEY_TYPE, Remembered.DATA_TYPE):
            of = self._template.match_key_type if part == Remembered.KEY_TYPE else self._template.data_type
            made = of(given)
            return None if made is None else (*made, None)
        name = self._names[part]
        made = self._template.made(name, given)
        if made is None:
            return None
        known = identity(name, given) if name in self._key_fields else None
        return (*made, packed(known) if isinstance(known, str) and known.strip() else None)
