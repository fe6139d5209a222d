"""From the bytes of a record to the inputs of ``schemas/conversion_event.avsc``.

Records are decoded by their writer's schema, never resolved against ours (that costs fastavro 60 %), and mapped by
field name (design: Shape). The rules of the mapping, in order: a writer's field of our name is that input; else a field
of a name that our schema gives as an alias; else a field whose own aliases hold one of these names. Names are
case-sensitive; record names, namespaces and field order mean nothing. Fields we do not know stay in the event, where
nothing reads them.

What must be done to a decoded event is worked out once for each writer's schema. A schema with our names needs nothing,
and the dict is handed on as fastavro made it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from connector.avro.framing import Framing, schema_id
from connector.avro.schemas import WriterSchemas, packaged
from connector.avro.writer_schema import RECORDS, Json, WriterSchema, logical_type, parse
from connector.errors import Oversized, Undecodable

__all__ = ["EventDecoder"]

_MAX_PLANS = 512
"""Writer's schemas known at once. A topic has a handful; the bound is for damaged ids that happen to exist."""

_UNITS_PER_MILLISECOND = {
    "timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-micros": 1_000,
    "local-timestamp-nanos": 1_000_000,
}
"""Other integers are milliseconds (Apache Avro 1.12, specification, Logical Types; ours is timestamp-millis). A local
timestamp is taken for UTC."""

_INTEGERS = ("int", "long")

_MAX_DECIMAL_BYTES = 16
"""38 digits. Python's decimals take time by the square of their length; a longer one stays bytes, which break a rule."""
_EXACT = Context(prec=40)

_UNMETERED_BYTES = 16_384
_MOST_READS = 40_000
"""One or two a part of a value (a field, an item, an entry). fastavro has no bound of its own, and of an item of two bytes
it makes a dict of a hundred and more: a megabyte of such items takes a second and 100 MB. Nearly all values are so small
that they can be read without counting."""


class _Metered(BytesIO):
    """A stream that ends a read of too many parts: fastavro asks it for every number and text by itself."""

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self._left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Oversized("it has more parts than could ever be sent")
        return super().read(size)


_Mend = Callable[[Any], Any]
"""Makes a decoded value one of ours: in place where it is a record, and returned."""


class EventDecoder:
    """Decodes records of one topic; a `connector.ports.Decoder`. For one thread."""

    def __init__(self, framing: Framing, schemas: WriterSchemas) -> None:
        self._framing = framing
        self._prefix = framing.value
        self._schemas = schemas
        ours = parse([packaged("conversion_event.avsc")])
        self._inputs = _target(ours, ours.event)
        self._plans: dict[bytes, _Plan | str] = {}

    def decode(self, value: bytes) -> dict[str, object]:
        """Decode by the writer's schema and map to our input names.

        ``timestamp`` is whole milliseconds since 1970 UTC where the writer has an integer; a decimal is a `Decimal`.

        Raises:
            Undecodable: the bytes do not parse, or the schema does not, or it has no record.
            Oversized: it has more parts than could ever be sent.
            UnknownSchema: the registry does not have the schema.
            SchemaUnavailable: the schema cannot be had for now.
        """
        plan = self._plans.get(value[: self._prefix])
        if plan is None:
            plan = self._plan_for(value)
        if isinstance(plan, str):
            raise Undecodable(plan)
        stream = BytesIO(value) if len(value) <= _UNMETERED_BYTES else _Metered(value)
        stream.seek(self._prefix)
        try:
            event: Any = schemaless_reader(stream, plan.schema, None)
        except Oversized:
            raise
        except Exception as error:  # noqa: BLE001 - damaged bytes lead fastavro into whatever error they lead to
            # None: the cause may hold bytes of the event.
            raise Undecodable(f"its bytes do not follow its writer's schema ({type(error).__name__})") from None
        if stream.tell() != len(value):
            raise Undecodable("bytes are left over after its last field")
        decoded: dict[str, object] = event if plan.mend is None else plan.mend(event)
        return decoded

    def _plan_for(self, value: bytes) -> _Plan | str:
        identity = schema_id(value, self._framing)
        plan: _Plan | str
        try:
            plan = _plan(parse(self._schemas.definitions(identity)), self._inputs)
        except Undecodable as refused:
            plan = str(refused)
        if len(self._plans) >= _MAX_PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[value[: self._prefix]] = plan
        return plan


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do with values of one writer's schema."""

    schema: Json
    mend: _Mend | None
    """None where the decoded dict is the event as it is."""


def _plan(writer: WriterSchema, inputs: _Target) -> _Plan:
    mend = _mend(writer, writer.event, inputs)
    if writer.field is not None:
        mend = _unwrapping(writer.field, mend)
    return _Plan(writer.schema, mend)


def _unwrapping(field: str, mend: _Mend | None) -> _Mend:
    def unwrap(wrapped: Any) -> Any:
        event = wrapped[field]
        if not isinstance(event, dict):
            raise Undecodable("it is not a record")
        return event if mend is None else mend(event)

    return unwrap


@dataclass(frozen=True, slots=True)
class _Target:
    """A type of ours, as far as the mapping needs it."""

    names: dict[str, str]
    """Of a record: from our field names and their aliases to our field names."""
    fields: dict[str, _Target]
    is_time: bool


def _target(ours: WriterSchema, schema: Json) -> _Target:
    branches = _branches(ours, schema)
    fields = [field for branch in branches for field in branch.get("fields", ())]
    return _Target(
        names={name: field["name"] for field in fields for name in _names(field)},
        fields={field["name"]: _target(ours, field["type"]) for field in fields},
        is_time=any(logical_type(branch) == "timestamp-millis" for branch in branches),
    )


def _branches(known: WriterSchema, schema: Json) -> list[Json]:
    """Return what a value of this type, or an item where it is an array, may be."""
    if isinstance(schema, list):
        return [each for branch in schema for each in _branches(known, branch)]
    resolved = known.resolved(schema)
    return _branches(known, resolved["items"]) if resolved["type"] == "array" else [resolved]


def _names(field: Json) -> list[str]:
    """Return the field's name and then its aliases. fastavro lets a list of anything pass for aliases."""
    return [field["name"], *(alias for alias in field.get("aliases", ()) if isinstance(alias, str))]


def _mend(writer: WriterSchema, schema: Json, target: _Target) -> _Mend | None:
    """Work out what a value of the writer's type needs to become one of the target's; None: nothing."""
    branches = _branches(writer, schema)
    if target.fields:
        return _record_mend(writer, [branch for branch in branches if branch["type"] in RECORDS], target)
    return _time_mend(branches) if target.is_time else _decimal_mend(branches)


def _record_mend(writer: WriterSchema, records: list[Json], target: _Target) -> _Mend | None:
    """Work it out for a value that is any of these records: fastavro does not tell which."""
    moves: dict[tuple[str, str], None] = {}
    types: dict[str, list[Json]] = {}
    for record in records:
        for ours, field in _mapping(record["fields"], target).items():
            types.setdefault(ours, []).append(field["type"])
            if field["name"] != ours:
                moves[field["name"], ours] = None
    mends = [(ours, _mend(writer, schema, target.fields[ours])) for ours, schema in types.items()]
    needed = [(ours, mend) for ours, mend in mends if mend is not None]
    return _in_place(list(moves), needed) if moves or needed else None


def _mapping(fields: list[Json], target: _Target) -> dict[str, Json]:
    """Choose the writer's field for each of ours, by the rules above; among equals the first."""
    candidates = sorted(
        (2 if rank else int(name != ours), position, ours)
        for position, field in enumerate(fields)
        for rank, name in enumerate(_names(field))
        if (ours := target.names.get(name)) is not None
    )
    chosen: dict[str, int] = {}
    for _, position, ours in candidates:
        if ours not in chosen and position not in chosen.values():
            chosen[ours] = position
    return {ours: fields[position] for ours, position in chosen.items()}


def _in_place(moves: list[tuple[str, str]], mends: list[tuple[str, _Mend]]) -> _Mend:
    def mend_record(value: Any) -> Any:
        if isinstance(value, list):
            for item in value:
                mend_record(item)
        elif isinstance(value, dict):
            for theirs, ours in moves:
                if theirs in value and ours not in value:
                    value[ours] = value.pop(theirs)
            for ours, mend in mends:
                if ours in value:
                    value[ours] = mend(value[ours])
        return value

    return mend_record


def _time_mend(branches: list[Json]) -> _Mend | None:
    units = {_UNITS_PER_MILLISECOND.get(logical_type(branch) or "", 1) for branch in branches if branch["type"] in _INTEGERS}
    if len(units) > 1:
        raise Undecodable("its writer's schema leaves open in which of several units its timestamp is")
    unit = max(units, default=1)
    return None if unit == 1 else lambda value: value // unit if type(value) is int else value


def _scale(branch: Json) -> int | None:
    """Return how many decimals a decimal has; None for other types, and for a scale that makes no sense."""
    scale = branch.get("scale", 0) if logical_type(branch) == "decimal" else None
    return scale if isinstance(scale, int) and 0 <= scale <= _EXACT.prec else None


def _decimal_mend(branches: list[Json]) -> _Mend | None:
    scales = {scale for branch in branches if (scale := _scale(branch)) is not None}
    if not scales:
        return None
    if len(scales) > 1:
        raise Undecodable("its writer's schema leaves open which of several scales a decimal has")
    scale = max(scales)

    def decimal(value: Any) -> Any:
        if type(value) is not bytes or len(value) > _MAX_DECIMAL_BYTES:
            return value
        return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-scale, _EXACT)

    return decimal
