"""Applies a mapping file to decoded records of one writer's schema; returns the inputs of an event.

A plan is made once for each schema. It knows which mappings are for the schema's records, and which
paths the schema does not have. A record costs only the conditions of these mappings, and the
expressions of the mapping that is taken.

If an expression has no result, its input decides what happens. The record becomes a dead letter if
Amazon would book something else without the input, or if a denial would be dropped: this holds for
the required inputs, the id, money, units and consent. The id never falls back to one derived from
the record's place in Kafka, because the order would count twice. Any other input is left out and
counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from connector.avro.logical import Conversion, conversion
from connector.avro.writer_schema import Json, WriterSchema
from connector.mapping.closures import closure
from connector.mapping.conditions import is_false
from connector.mapping.evaluation import Evaluate, Failed
from connector.mapping.file import Input, MappingFile, Route
from connector.mapping.native_terms import NativeMappings, native_mappings
from connector.mapping.paths import look
from connector.mapping.syntax import walk
from connector.model import Flaw, Reason
from connector.ports import Record

__all__ = ["Filtered", "Lacking", "Mapper", "Plan", "problems_in"]

_OTHERWISE = "otherwise"


@dataclass(frozen=True, slots=True)
class Filtered:
    """Returned instead of inputs: the record is not an event for Amazon."""

    mapping: str
    """The label of the mapping whose condition failed, or "otherwise" if no mapping is for it."""


class Mapper:
    """Makes the plans of a mapping file, and counts what they leave out. For one thread.

    ``note`` is called once for a schema that lacks paths of optional inputs.
    """

    def __init__(self, file: MappingFile, note: Callable[[str], None] = lambda _message: None) -> None:
        self._file = file
        self._note = note
        self.taken: str | None = None
        """The label of the mapping that the latest record took. `connector preview` shows it."""
        # Every label is there from the start, so another thread can read while this one counts.
        self.left_out: Counter[str] = Counter(
            {_label(each): 0 for route in file.routes for each in route.inputs if not each.must}
        )
        self.filtered: Counter[str] = Counter({route.label: 0 for route in file.routes} | {_OTHERWISE: 0})

    def plan(self, writer: WriterSchema, record: Json, name: str, place: str, by_name: Conversion | None = None) -> Plan:
        """Return the plan for records of one type.

        ``name`` is the full name of the type, and ``place`` what to call its schema in a sentence.
        ``by_name`` makes inputs of a record by our field names, for mappings that inherit them.

        Raises:
            Undecodable: an expression reads a value whose meaning the schema leaves open.
        """
        within = f"{place} ({name})"
        routes = [route for route in self._file.routes if route.is_for(name)]
        lacking = [list(_lacking(route, writer, record, within)) for route in routes]
        if absent := [each.text for all_of in lacking for each in all_of if not each.must]:
            self._note("; ".join(absent))
        compiled = [_compiled(route, self._file, all_of) for route, all_of in zip(routes, lacking, strict=True)]
        names, whole_below = _fields_asked_for(routes)
        convert = conversion(writer, record, names, whole_below=whole_below)
        lacking_places = [
            (route, [each.place for each in all_of if each.must], [each.place for each in all_of if not each.must])
            for route, all_of in zip(routes, lacking, strict=True)
        ]
        otherwise = _OTHERWISE if self._file.ignores_others else None
        return Plan(
            compiled,
            convert,
            by_name,
            Flaw(Reason.UNMAPPED, f"no mapping is for {within}"),
            self,
            self._file.ignores_others,
            partial(native_mappings, lacking_places, writer, record, self._file.tables, otherwise),
        )


def _label(each: Input) -> str:
    return f"mapping_{each.name}"


@dataclass(frozen=True, slots=True)
class Lacking:
    """Something that an expression needs and a schema does not have."""

    place: str
    must: bool
    """Whether every record of the schema becomes a dead letter because of it."""
    reason: Reason
    text: str


def _lacking(route: Route, writer: WriterSchema, record: Json, within: str) -> Iterator[Lacking]:
    if route.when is not None:
        found = look(route.when.tree, writer, record, is_condition=True)
        for missing in found.missing:
            yield Lacking("when", True, Reason.MISSING_FIELD, f"{route.label}.when: {missing.within(within)}")
        for path in found.no_conditions:
            text = f"{route.label}.when: {path} is not a boolean in {within}: compare it with a value"
            yield Lacking("when", True, Reason.INVALID_FIELD, text)
    for each in route.inputs:
        for missing in look(each.expression.tree, writer, record).missing:
            yield Lacking(each.place, each.must, Reason.MISSING_FIELD, f"{each.name}: {missing.within(within)}")


def _unworkable(route: Route, writer: WriterSchema, record: Json, within: str) -> Iterator[Lacking]:
    """Yield what the schema has, but of a type with which an expression never works.

    A record could still have null there. So only `check` and `lint` report this, and `run` judges
    each record.
    """
    conditions = () if route.when is None else ((f"{route.label}.when", "when", True, route.when),)
    inputs = ((each.name, each.place, each.must, each.expression) for each in route.inputs)
    for name, place, must, expression in (*conditions, *inputs):
        found = look(expression.tree, writer, record, gives="" if place == "when" else place)
        for what in found.never_work:
            yield Lacking(place, must, Reason.INVALID_FIELD, f"{name}: in {within}, {what}")
        for what in found.doubtful:
            yield Lacking(place, False, Reason.INVALID_FIELD, f"{name}: in {within}, {what}")
        if found.misfit:
            left_out = place.startswith("custom")
            yield Lacking(place, not left_out, Reason.INVALID_FIELD, f"{name}: in {within}, {found.misfit}")


def problems_in(
    file: MappingFile, writer: WriterSchema, record: Json, name: str, place: str, topic: str | None = None
) -> list[Lacking]:
    """Return everything that the mappings for a record type need and its schema does not have.

    With ``topic``, only of mappings that are for it.
    """
    within = f"{place} ({name})"
    found: list[Lacking] = []
    for route in file.routes:
        if not route.is_for(name, topic):
            continue
        lacking = list(_lacking(route, writer, record, within))
        if not route.inherit and {each.place for each in route.match_keys} <= {each.place for each in lacking}:
            # Every event needs one match key.
            lacking = [replace(each, must=True) if each.place.startswith("matchKeys.") else each for each in lacking]
        found += lacking
        found += _unworkable(route, writer, record, within)
    return found


_SEES_WHOLE = {"to_string", "values"}
"""Functions that see every part of an object, named or not."""


def _fields_asked_for(routes: Sequence[Route]) -> tuple[set[str] | None, bool]:
    """Return the names that expressions read, and whether they may see all fields within those.

    The names are None if expressions may read any.
    """
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


@dataclass(frozen=True, slots=True)
class _Part:
    """The inputs of one table of a mapping."""

    named: tuple[str, ...]
    """All names of the table, in its order, also those that the schema lacks."""
    is_used: bool
    """Whether the schema has any of them."""
    expressions: tuple[tuple[str, Evaluate, Input], ...]
    """Names, each with the function of its expression and the input itself."""
    copies: tuple[tuple[Input, Input], ...]
    """Inputs, each with the one before it that has the same expression."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A mapping whose expressions are functions."""

    label: str
    topics: frozenset[str] | None
    when: Evaluate | None
    unfit: Flaw | None
    """What the inputs need and the schema does not have; None if nothing is missing."""
    unfit_when: Flaw | None
    """What the condition needs and the schema does not have; None if nothing is missing."""
    inherit: bool
    constants: Mapping[str, object]
    fields: _Part
    match_keys: _Part
    consent: _Part
    custom_attributes: _Part
    custom_data: _Part
    data_types: Mapping[str, str | None]
    """The type of each attribute of ``customData``."""


def _compiled(route: Route, file: MappingFile, lacking: Sequence[Lacking]) -> _Compiled:
    absent = {each.place for each in lacking if not each.must}

    def part(inputs: Sequence[Input]) -> _Part:
        return _part(inputs, absent, file)

    return _Compiled(
        label=route.label,
        topics=route.topics,
        when=None if route.when is None else closure(route.when.tree, file.tables),
        unfit_when=_flaw([each for each in lacking if each.place == "when"]),
        unfit=_flaw([each for each in lacking if each.must]),
        inherit=route.inherit,
        constants=route.constants,
        fields=part(route.fields),
        match_keys=part(route.match_keys),
        consent=part(route.consent),
        custom_attributes=part(route.custom_attributes),
        custom_data=part(route.custom_data),
        data_types={each.name: each.data_type for each in route.custom_data},
    )


def _part(inputs: Sequence[Input], absent: Collection[str], file: MappingFile) -> _Part:
    expressions: list[tuple[str, Evaluate, Input]] = []
    copies: list[tuple[Input, Input]] = []
    for each in inputs:
        if each.place in absent:
            continue
        same = next((other for _, _, other in expressions if other.expression.text == each.expression.text), None)
        if same is not None:
            copies.append((each, same))
        else:
            expressions.append((each.name, closure(each.expression.tree, file.tables), each))
    return _Part(tuple(each.name for each in inputs), bool(expressions), tuple(expressions), tuple(copies))


def _flaw(lacking: Sequence[Lacking]) -> Flaw | None:
    return Flaw(lacking[0].reason, "; ".join(each.text for each in lacking)) if lacking else None


class Plan:
    """Maps decoded records of one type."""

    def __init__(
        self,
        routes: Sequence[_Compiled],
        convert: Conversion | None,
        by_name: Conversion | None,
        unmapped: Flaw,
        mapper: Mapper,
        ignores_others: bool,
        native: Callable[[], NativeMappings | None],
    ) -> None:
        self._routes = routes
        self._convert = convert
        self._by_name = by_name
        self._unmapped = unmapped
        self._mapper = mapper
        self._ignores_others = ignores_others
        self.native_mappings = native
        """Translates the plan for native code; None if native code could do nothing with it."""
        self._by_topic: dict[str | None, list[_Compiled]] = {}

    @property
    def labels(self) -> list[str]:
        """The mappings that may be for records of this type."""
        return [route.label for route in self._routes]

    def inputs(self, event: Any, record: Record) -> dict[str, object] | Filtered | Flaw:
        """Return the inputs of an event, or what becomes of the record instead."""
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
                if holds is not True and is_false(holds):
                    continue
            return self._mapped(route, event, record)
        if routes:
            return self._filter(routes[-1].label)
        if self._ignores_others:
            return self._filter(_OTHERWISE)
        if self._routes:
            return Flaw(self._unmapped.reason, f"{self._unmapped.detail} in topic {topic}")
        return self._unmapped

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
        if route.match_keys.is_used:
            values = _fill({}, route.match_keys, event, record, failed)
            inputs["matchKeys"] = _match_keys(route.match_keys.named, values)
        if route.consent.is_used:
            inputs["consent"] = _fill({}, route.consent, event, record, failed)
        if route.custom_attributes.is_used:
            inputs["customAttributes"] = _fill({}, route.custom_attributes, event, record, failed)
        if route.custom_data.is_used:
            values = _fill({}, route.custom_data, event, record, failed)
            inputs["customData"] = [
                {"name": name, "value": values[name], "dataType": route.data_types[name]}
                for name in route.custom_data.named
                if name in values
            ]
        if failed:
            if broken := [f"{each.name}: {why}" for each, why in failed if each.must]:
                return Flaw(Reason.INVALID_FIELD, "; ".join(broken))
            for each, _ in failed:
                self._mapper.left_out[_label(each)] += 1
        return self._inherited(route, event, inputs) if route.inherit else inputs

    def _inherited(self, route: _Compiled, event: dict[str, object], inputs: dict[str, object]) -> dict[str, object]:
        """Add what a record has by name, for the inputs that a mapping does not name."""
        own = dict(event)
        by_name: dict[str, object] = own if self._by_name is None else self._by_name(own)
        inherited = {name: value for name, value in by_name.items() if name not in route.fields.named}
        for name, part in (("consent", route.consent), ("customAttributes", route.custom_attributes)):
            theirs, ours = inherited.get(name), inputs.get(name, {}) if part.named else None
            if isinstance(theirs, dict) and isinstance(ours, dict):
                inputs[name] = {key: value for key, value in theirs.items() if key not in part.named} | ours
            elif isinstance(theirs, list) and isinstance(ours, dict):
                pairs = [{"name": key, "value": value} for key, value in ours.items()]
                inputs[name] = pairs + _without(theirs, "name", part.named)
        for name, key, part in (("matchKeys", "type", route.match_keys), ("customData", "name", route.custom_data)):
            theirs, ours = inherited.get(name), inputs.get(name, []) if part.named else None
            if isinstance(theirs, list) and isinstance(ours, list):
                inputs[name] = ours + _without(theirs, key, part.named)
        return inherited | inputs


def _without(items: list[Any], key: str, named: Collection[str]) -> list[Any]:
    """Return the items of an array that do not have one of these names."""
    return [item for item in items if not (isinstance(item, dict) and item.get(key) in named)]


def _fill(
    values: dict[str, object], part: _Part, event: Any, record: Record, failed: list[tuple[Input, Failed]]
) -> dict[str, object]:
    """Add the inputs of a part to ``values`` by name, and return it."""
    for name, evaluate, each in part.expressions:
        try:
            value = evaluate(event, record)
        except Failed as why:
            failed.append((each, why))
        else:
            if value is not None:
                values[name] = value
    for each, same in part.copies:
        if same.name in values:
            values[each.name] = values[same.name]
        elif failed:
            failed += [(each, why) for other, why in failed if other is same]
    return values


def _match_keys(kinds: Sequence[str], values: Mapping[str, object]) -> list[dict[str, object]]:
    keys: list[dict[str, object]] = []
    for kind in kinds:
        value = values.get(kind)
        if type(value) is list:
            keys += [{"type": kind, "value": item} for item in value if item is not None]
        elif value is not None:
            keys.append({"type": kind, "value": value})
    return keys
