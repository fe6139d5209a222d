"""A mapping file for one writer's schema: from a decoded record to the inputs of an event.

Made once for each schema. What the schema tells is known then: which mappings are for its records, which paths are not in
it. A record costs the conditions of these mappings, and the expressions of the one that is taken.

What becomes of an expression without a result depends on its input. Where Amazon would book something else without it, or a
denial would be dropped, the record is a dead letter: required inputs, the id (it never falls back to one of its place in
Kafka, or the order would count twice), money, units, consent. Any other input is left out, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connector.avro.logical import Mend, conversion
from connector.avro.writer_schema import Json, WriterSchema
from connector.mapping.closures import Evaluate, Failed, closure, is_false
from connector.mapping.file import Input, MappingFile, Route
from connector.mapping.paths import look
from connector.mapping.syntax import walk
from connector.model import Flaw, Reason
from connector.ports import Record

__all__ = ["Filtered", "Lacking", "Mapper", "Plan", "problems_in"]

_OTHERWISE = "otherwise"


@dataclass(frozen=True, slots=True)
class Filtered:
    """In the place of inputs: the record is no event for Amazon."""

    mapping: str
    """Whose condition it did not meet, as `Route.label`; or what the file says of records without a mapping."""


class Mapper:
    """A mapping file at work: plans by schema, and the counts of what it did. For one thread.

    ``note`` is told, once a schema, of optional inputs whose paths are not in it.
    """

    def __init__(self, file: MappingFile, note: Callable[[str], None] = lambda _message: None) -> None:
        self._file = file
        self._note = note
        self.taken: str | None = None
        """The mapping that the latest record took, for whoever shows one record at a time."""
        # Every label from the start: the reader, in another thread, never sees a table grow.
        self.left_out: Counter[str] = Counter(
            {_label(each): 0 for route in file.routes for each in route.inputs if not each.must}
        )
        self.filtered: Counter[str] = Counter({route.label: 0 for route in file.routes} | {_OTHERWISE: 0})

    def plan(self, writer: WriterSchema, record: Json, name: str, place: str, by_name: Mend | None = None) -> Plan:
        """Return the plan for records of one type.

        ``name`` is its full name, ``place`` how people call its schema. ``by_name`` makes inputs of a record whose fields
        have our names, for mappings that inherit them.

        Raises:
            Undecodable: the schema leaves open what a value that is asked for means.
        """
        within = f"{place} ({name})"
        routes = [route for route in self._file.routes if route.is_for(name)]
        if absent := [found.text for route in routes for found in _lacking(route, writer, record, within) if not found.must]:
            self._note("; ".join(absent))
        compiled = [_compiled(route, self._file, writer, record, within) for route in routes]
        names, whole_below = _fields_asked_for(routes)
        convert = conversion(writer, record, names, whole_below=whole_below)
        return Plan(
            compiled, convert, by_name, Flaw(Reason.UNMAPPED, f"no mapping is for {within}"), self, self._file.ignores_others
        )


def _label(each: Input) -> str:
    return f"mapping_{each.name}"


@dataclass(frozen=True, slots=True)
class Lacking:
    """Something that an expression needs and a schema has not."""

    place: str
    must: bool
    """Whether every record of the schema is a dead letter for it."""
    reason: Reason
    text: str


def _lacking(route: Route, writer: WriterSchema, record: Json, within: str) -> Iterator[Lacking]:
    if route.when is not None:
        found = look(route.when.tree, writer, record, is_condition=True)
        for missing in found.missing:
            yield Lacking("when", True, Reason.MISSING_FIELD, f"{route.label}.when: {missing.within(within)}")
        for path in found.no_conditions:
            text = f"{route.label}.when: {path} is no boolean in {within}: compare it with a value"
            yield Lacking("when", True, Reason.INVALID_FIELD, text)
    for each in route.inputs:
        for missing in look(each.expression.tree, writer, record).missing:
            yield Lacking(each.place, each.must, Reason.MISSING_FIELD, f"{each.name}: {missing.within(within)}")


def problems_in(file: MappingFile, writer: WriterSchema, record: Json, name: str, place: str) -> list[Lacking]:
    """Return what the mappings for a record type need and its schema has not; each is a problem to tell an operator."""
    return [
        found
        for route in file.routes
        if route.is_for(name)
        for found in _lacking(route, writer, record, f"{place} ({name})")
    ]


_SEES_WHOLE = {"to_string", "values"}
"""Functions that see every part of an object, named or not."""


def _fields_asked_for(routes: Sequence[Route]) -> tuple[set[str] | None, bool]:
    """Return the names that expressions ask for, None where they ask for any; and whether they see what is within whole."""
    names: set[str] = set()
    whole_below = False
    for route in routes:
        if route.inherit:
            return None, True
        for expression in (*([route.when] if route.when else []), *(each.expression for each in route.inputs)):
            for node in walk(expression.tree):
                if node["type"] in {"current", "value_projection"}:
                    return None, True
                if node["type"] == "field":
                    names.add(node["value"])
                whole_below |= node["type"] == "function_expression" and node["value"] in _SEES_WHOLE
    return names, whole_below


_Functions = Sequence[tuple[str, Evaluate, Input]]
"""Inputs by name, each with the function of its expression."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A mapping whose expressions are functions."""

    label: str
    topics: frozenset[str] | None
    when: Evaluate | None
    unfit: Flaw | None
    """What the schema lacks that its inputs need; None where it has everything."""
    unfit_when: Flaw | None
    """The same of its condition."""
    inherit: bool
    constants: Mapping[str, object]
    fields: _Functions
    match_keys: _Functions
    consent: _Functions
    custom_attributes: _Functions
    custom_data: _Functions


def _compiled(route: Route, file: MappingFile, writer: WriterSchema, record: Json, within: str) -> _Compiled:
    lacking = list(_lacking(route, writer, record, within))
    absent = {each.place for each in lacking if not each.must}

    def functions(inputs: Sequence[Input]) -> _Functions:
        return [(each.name, closure(each.expression.tree, file.tables), each) for each in inputs if each.place not in absent]

    return _Compiled(
        label=route.label,
        topics=route.topics,
        when=None if route.when is None else closure(route.when.tree, file.tables),
        unfit_when=_flaw([each for each in lacking if each.place == "when"]),
        unfit=_flaw([each for each in lacking if each.must]),
        inherit=route.inherit,
        constants=route.constants,
        fields=functions(route.fields),
        match_keys=functions(route.match_keys),
        consent=functions(route.consent),
        custom_attributes=functions(route.custom_attributes),
        custom_data=functions(route.custom_data),
    )


def _flaw(lacking: Sequence[Lacking]) -> Flaw | None:
    return Flaw(lacking[0].reason, "; ".join(each.text for each in lacking)) if lacking else None


class Plan:
    """What to do with decoded records of one type."""

    def __init__(
        self,
        routes: Sequence[_Compiled],
        convert: Mend | None,
        by_name: Mend | None,
        unmapped: Flaw,
        mapper: Mapper,
        ignores_others: bool,
    ) -> None:
        self._routes = routes
        self._convert = convert
        self._by_name = by_name
        self._unmapped = unmapped
        self._mapper = mapper
        self._ignores_others = ignores_others
        self._by_topic: dict[str | None, list[_Compiled]] = {}

    def inputs(self, event: Any, record: Record) -> dict[str, object] | Filtered | Flaw:
        """Return the inputs of an event, or what becomes of a record without."""
        if self._convert is not None:
            event = self._convert(event)
        topic = record.topic()
        routes = self._by_topic.get(topic)
        if routes is None:
            routes = [each for each in self._routes if each.topics is None or topic in each.topics]
            self._by_topic[topic] = routes
        for route in routes:
            if route.unfit_when is not None:
                return route.unfit_when
            if route.when is not None:
                try:
                    holds = route.when(event, record)
                except Failed as failed:
                    return Flaw(Reason.INVALID_FIELD, f"{route.label}.when: {failed}")
                if is_false(holds):
                    continue
            return self._mapped(route, event, record)
        if routes:
            return self._filter(routes[-1].label)
        return self._filter(_OTHERWISE) if self._ignores_others else self._unmapped

    def _filter(self, label: str) -> Filtered:
        self._mapper.filtered[label] += 1
        return Filtered(label)

    def _mapped(self, route: _Compiled, event: Any, record: Record) -> dict[str, object] | Flaw:
        self._mapper.taken = route.label
        if route.unfit is not None:
            return route.unfit
        failed: list[tuple[Input, Failed]] = []
        inputs: dict[str, object] = dict(route.constants)
        _fill(inputs, route.fields, event, record, failed)
        when = inputs.get("timestamp")
        if type(when) is Decimal and when == when.to_integral_value():
            inputs["timestamp"] = int(when)
        if route.match_keys:
            inputs["matchKeys"] = _match_keys(route.match_keys, event, record, failed)
        if route.consent:
            inputs["consent"] = _fill({}, route.consent, event, record, failed)
        if route.custom_attributes:
            inputs["customAttributes"] = _fill({}, route.custom_attributes, event, record, failed)
        if route.custom_data:
            values = _fill({}, route.custom_data, event, record, failed)
            inputs["customData"] = [
                {"name": each.name, "value": values[each.name], "dataType": each.data_type}
                for _, _, each in route.custom_data
                if each.name in values
            ]
        if failed:
            if broken := [f"{each.name}: {why}" for each, why in failed if each.must]:
                return Flaw(Reason.INVALID_FIELD, "; ".join(broken))
            for each, _ in failed:
                self._mapper.left_out[_label(each)] += 1
        return {**self._inherited(event), **inputs} if route.inherit else inputs

    def _inherited(self, event: dict[str, object]) -> dict[str, object]:
        own = dict(event)
        inherited: dict[str, object] = own if self._by_name is None else self._by_name(own)
        return inherited


def _fill(
    values: dict[str, object], given: _Functions, event: Any, record: Record, failed: list[tuple[Input, Failed]]
) -> dict[str, object]:
    """Add what expressions give, each by its name, and return it."""
    for name, evaluate, each in given:
        try:
            value = evaluate(event, record)
        except Failed as why:
            failed.append((each, why))
        else:
            if value is not None:
                values[name] = value
    return values


def _match_keys(
    given: _Functions, event: Any, record: Record, failed: list[tuple[Input, Failed]]
) -> list[dict[str, object]]:
    keys: list[dict[str, object]] = []
    for kind, evaluate, each in given:
        try:
            value = evaluate(event, record)
        except Failed as why:
            failed.append((each, why))
            continue
        if type(value) is list:
            keys += [{"type": kind, "value": item} for item in value if item is not None]
        elif value is not None:
            keys.append({"type": kind, "value": value})
    return keys
