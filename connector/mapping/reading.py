"""Reads the text of a mapping file.

`read` returns what the file says, or raises every problem at once with its place.

Everything that needs neither a record nor a schema is checked here: directives, inputs,
expressions, tables and constants.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from connector.amazon.vocabulary import EVENT_TYPES, EVENTS_SOURCES
from connector.mapping.file import FATES, Input, MappingFile, Route
from connector.mapping.refusal import MappingRefused, Problems, close_to
from connector.mapping.syntax import Expression, Unparsable, functions_used, is_constant, parse, problems
from connector.mapping.tables import table_in
from connector.model import REQUIRED_INPUTS, SINGLE_INPUTS, Flaw

__all__ = ["PRESETS", "WireTarget", "read"]

PRESETS: Final = ("debezium", "ga4", "segment")

_MAY_FAIL: Final = frozenset({"userAgent", "arefMeasurementTokens", "amazonAdEventKey", "partner"})
"""Inputs that do not change what Amazon books. If their expression has no result, they are left out
and counted."""
_AMOUNTS: Final = frozenset({"value", "unitsSold"})
_CONSENT: Final = ("ipAddress", "amznAdStorage", "amznUserData", "tcf", "gpp")
_PER_EVENT: Final = ("clientDedupeId", "timestamp")
"""Inputs that a constant would make the same for every event."""
_CONSTANTS: Final[tuple[str, ...]] = tuple(name for name in SINGLE_INPUTS if name not in _PER_EVENT)
_CUSTOM_NAME: Final = re.compile(r"[A-Za-z0-9_]+").fullmatch

_TOP: Final = ("version", "otherwise", "mapping", "tables")
_TABLES_OF_INPUTS: Final = ("constants", "fields", "matchKeys", "consent", "customAttributes", "customData")
_DIRECTIVES: Final = ("record", "topic", "when", "inherit", "extends", *_TABLES_OF_INPUTS)
_MISPLACED: Final[Mapping[str, str]] = {
    **dict.fromkeys(_DIRECTIVES[:5], "belongs directly below [[mapping]], above any [mapping.…]"),
    **{name: f"belongs in a mapping: write [mapping.{name}]" for name in _TABLES_OF_INPUTS},
    **dict.fromkeys(("version", "otherwise"), "belongs at the top of the file, above the first [[mapping]]"),
    "tables": "belongs to no mapping: write [tables.…]",
}
"""What to do about a directive in a wrong place. In TOML a line belongs to the table above it."""
_LOST: Final = frozenset({"version", "otherwise", "when", "inherit", "extends"})
"""Directives that would be attributes if they stood below attributes."""

_SOUND: Final[Mapping[str, object]] = {
    "name": "Order",
    "eventType": "OFF_AMAZON_PURCHASES",
    "eventActionSource": "WEBSITE",
    "timestamp": 1_767_225_600_000,
    "countryCode": "DE",
    "matchKeys": [{"type": "EMAIL", "value": "jo@example.com"}],
    "consent": {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"},
}
"""An event that breaks no rule, to try constants on."""


@dataclass(frozen=True, slots=True)
class WireTarget:
    """The wire contract that the inputs are for, as far as a file can break its rules."""

    api: str
    match_keys: frozenset[str]
    encode: Callable[[Mapping[str, object], str], bytes | Flaw]

    def broken(self, constants: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """Yield the rules that constants break, each with the name of its input."""
        encoded = self.encode({**_SOUND, **constants}, "id")
        for rule in encoded.detail.split("; ") if isinstance(encoded, Flaw) else ():
            name, _, broken = rule.partition(": ")
            yield name, broken


def read(text: str, target: WireTarget, read_text: Callable[[str], str]) -> MappingFile:
    """Read the text of a mapping file. ``read_text`` returns the text of a file that it names.

    Raises:
        MappingRefused: the file has problems.
    """
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise MappingRefused([("the file", f"is not valid TOML: {error}{_toml_advice(str(error))}")]) from None
    except (RecursionError, ValueError):
        raise MappingRefused(
            [("the file", "is not valid TOML: it is nested too deeply, or has a number of too many digits")]
        ) from None
    return _Reader(document, target, read_text).file()


_TOML_ADVICE: Final[Sequence[tuple[str, str]]] = (
    ("Cannot (overwrite|declare)", "give each name and each table once"),
    ("Expected '='", 'write name = "…", and a name with blanks in quotes'),
    ("hex value|escape|Unescaped", "write a backslash twice, or put the text in single quotes"),
    (
        "Invalid value|Expected newline",
        "put expressions and texts in quotes, straight ones; 'a text' in an expression has single",
    ),
    ("Invalid statement", 'each line is name = "…", or the name of a table in brackets'),
)
"""What to do about errors of TOML."""


def _toml_advice(error: str) -> str:
    return next((f"; {advice}" for form, advice in _TOML_ADVICE if re.match(f".*({form})", error)), "")


class _Reader:
    """Reads one document and collects its problems."""

    def __init__(self, document: dict[str, Any], target: WireTarget, read_text: Callable[[str], str]) -> None:
        self._document = document
        self._target = target
        self._read_text = read_text
        self._problems = Problems(_MISPLACED)
        self._tables: dict[str, Mapping[str, object]] = {}

    def file(self) -> MappingFile:
        document = self._document
        self._problems.add_unknown("", document, _TOP, "directive")
        if document.get("version") != 1:
            what = (
                "must be the number 1, which is the only version"
                if "version" in document
                else "is missing: write version = 1"
            )
            self._problems.add("version", what)
        otherwise = document.get("otherwise", "dead-letter")
        if otherwise not in FATES:
            self._problems.add("otherwise", "takes 'dead-letter' or 'ignore'")
        extended = [self._extended(f"mapping[{at}]", each) for at, each in enumerate(self._mappings())]
        self._read_tables(document.get("tables", {}))
        routes = tuple(self._route(f"mapping[{at}]", each) for at, each in enumerate(extended))
        if not self._problems.found:
            self._look_at_order(routes)
        if self._problems.found:
            raise MappingRefused(self._problems.found)
        return MappingFile(routes, self._tables, otherwise == "ignore")

    def _mappings(self) -> list[dict[str, Any]]:
        given = self._document.get("mapping")
        if isinstance(given, list) and given and all(isinstance(each, dict) for each in given):
            return given
        if isinstance(given, dict):
            self._problems.add("mapping", "must be written [[mapping]], with double brackets")
        else:
            self._problems.add("mapping", "is missing: a file needs at least one [[mapping]]")
        return []

    def _look_at_order(self, routes: Sequence[Route]) -> None:
        for at, route in enumerate(routes):
            if (taker := next((each for each in routes[:at] if each.takes_all_of(route)), None)) is not None:
                self._problems.add(route.label, f"is never taken: {taker.label} comes first and takes every such record")

    # ---- presets

    def _extended(self, place: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return a mapping laid over the preset that it extends, name by name."""
        preset = given.get("extends")
        if preset is None:
            return given
        if preset not in PRESETS:
            self._problems.add(f"{place}.extends", f"is not a preset{close_to(str(preset), PRESETS)}")
            return given
        packaged = _preset(preset)
        self._read_tables({name: table for name, table in packaged.get("tables", {}).items() if name not in self._tables})
        return _on_top(packaged["mapping"][0], given)

    # ---- tables

    def _read_tables(self, given: Any) -> None:
        for name, table in self._problems.table("tables", given).items():
            place = f"tables.{name}"
            self._tables[name] = table_in(place, self._problems.table(place, table), self._read_text, self._problems)

    # ---- mappings

    def _route(self, place: str, given: dict[str, Any]) -> Route:
        self._problems.add_unknown(place, given, _DIRECTIVES, "directive")
        parts = {name: self._problems.table(f"{place}.{name}", given.get(name, {})) for name in _TABLES_OF_INPUTS}
        # False removes an input of a preset.
        parts = {name: {key: each for key, each in part.items() if each is not False} for name, part in parts.items()}
        inherit = given.get("inherit", False)
        if not isinstance(inherit, bool):
            self._problems.add(f"{place}.inherit", "takes true or false")
        route = Route(
            label=place,
            records=self._names(f"{place}.record", given.get("record")),
            topics=self._names(f"{place}.topic", given.get("topic")),
            when=None if given.get("when") is None else self._condition(f"{place}.when", given["when"]),
            inherit=inherit is True,
            constants=self._constants(f"{place}.constants", parts["constants"]),
            fields=self._inputs(place, "fields", parts["fields"], SINGLE_INPUTS, "input"),
            match_keys=self._inputs(
                place, "matchKeys", parts["matchKeys"], sorted(self._target.match_keys), f"match key of {self._target.api}"
            ),
            consent=self._inputs(place, "consent", parts["consent"], _CONSENT, "signal of consent"),
            custom_attributes=self._inputs(place, "customAttributes", parts["customAttributes"], None, "attribute"),
            custom_data=self._custom_data(place, parts["customData"]),
        )
        extends = given.get("extends")
        if extends is None or extends in PRESETS:  # else what is missing may be in the preset that is meant
            self._look_at_whole(place, route, parts)
        return route

    def _names(self, place: str, given: Any) -> frozenset[str] | None:
        names = [given] if isinstance(given, str) else given
        if given is not None and not (
            isinstance(names, list) and names and all(isinstance(each, str) and each.strip() for each in names)
        ):
            self._problems.add(place, "must be a name or a list of names")
            return None
        return None if given is None else frozenset(names)

    def _expression(
        self, place: str, given: Any, *, consent: bool = False, amount: bool = False, condition: bool = False
    ) -> Expression | None:
        if not isinstance(given, str):
            self._problems.add(
                place, "is not an expression: put an expression in quotes, and a fixed value in [mapping.constants]"
            )
            return None
        try:
            expression = parse(given)
        except Unparsable as error:
            self._problems.add(place, str(error))
            return None
        reported = problems(expression.tree, self._tables, consent=consent, amount=amount, condition=condition)
        found = list(dict.fromkeys(reported))
        for problem in found:
            self._problems.add(place, problem)
        return None if found else expression

    def _condition(self, place: str, given: Any) -> Expression | None:
        expression = self._expression(place, given, condition=True)
        if expression is not None and expression.tree["type"] == "literal":
            self._problems.add(place, "is the same for every record: leave it out, or compare a field with it")
        return expression

    def _inputs(
        self, place: str, part: str, given: dict[str, Any], known: Collection[str] | None, noun: str
    ) -> tuple[Input, ...]:
        if known is None:
            for name in given:
                if name in _LOST:
                    self._problems.add(f"{place}.{part}.{name}", _MISPLACED[name])
                elif not _CUSTOM_NAME(name):
                    self._problems.add(
                        f"{place}.{part}.{name}", f"is not a valid name of an {noun}: use letters, digits and _ only"
                    )
        else:
            self._problems.add_unknown(f"{place}.{part}", given, known, noun)
        inputs = []
        for name, text in given.items():
            amount = part == "fields" and name in _AMOUNTS
            expression = self._expression(f"{place}.{part}.{name}", text, consent=part == "consent", amount=amount)
            if expression is not None:
                must = part == "consent" or (part == "fields" and name not in _MAY_FAIL)
                inputs.append(Input(f"{part}.{name}", name, expression, must))
        return tuple(inputs)

    def _custom_data(self, place: str, given: dict[str, Any]) -> tuple[Input, ...]:
        inputs = []
        for name, each in given.items():
            where = f"{place}.customData.{name}"
            if not isinstance(each, dict) or not each.keys() <= {"value", "type"} or "value" not in each:
                self._problems.add(where, 'takes { value = "…", type = "STRING" }')
                continue
            data_type = each.get("type", "STRING")
            if data_type not in ("STRING", "INTEGER", "TIMESTAMP"):
                self._problems.add(f"{where}.type", "must be STRING, INTEGER or TIMESTAMP")
            if not _CUSTOM_NAME(name):
                self._problems.add(where, "is not a valid name of an attribute: use letters, digits and _ only")
            if (expression := self._expression(f"{where}.value", each["value"])) is not None:
                inputs.append(Input(f"customData.{name}", name, expression, must=False, data_type=str(data_type)))
        return tuple(inputs)

    def _constants(self, place: str, given: dict[str, Any]) -> dict[str, object]:
        for name in _PER_EVENT:
            if name in given:
                self._problems.add(f"{place}.{name}", "would be the same for every event: it takes an expression, in fields")
        self._problems.add_unknown(place, {name: 0 for name in given if name not in _PER_EVENT}, _CONSTANTS, "input")
        constants: dict[str, object] = {name: given[name] for name in _CONSTANTS if name in given}
        for name, rule in self._target.broken(constants):
            if name in constants:
                self._problems.add(f"{place}.{name}", rule + self._constant_advice(name, constants[name]))
        return constants

    def _constant_advice(self, name: str, value: object) -> str:
        """Return what to write instead of a constant that breaks a rule."""
        if isinstance(value, str) and re.search(r"\w[.(]\w", value):
            return "; a constant is sent as it stands: an expression belongs in [mapping.fields]"
        known = {"eventType": EVENT_TYPES, "eventActionSource": EVENTS_SOURCES}.get(name)
        return "" if known is None else close_to(str(value), sorted({*known.values()}))

    def _look_at_whole(self, place: str, route: Route, parts: Mapping[str, Mapping[str, Any]]) -> None:
        for name in parts["fields"]:
            if name in parts["constants"] and name in _CONSTANTS:
                self._problems.add(f"{place}.fields.{name}", "is in constants, too: give it once")
        if not route.inherit:
            for name in REQUIRED_INPUTS:
                if name not in parts["fields"] and name not in parts["constants"]:
                    self._problems.add(place, f"gives no {name}, which every event needs: name it in fields or constants")
            if not parts["matchKeys"]:
                self._problems.add(place, "gives no match key, of which every event needs one: name one in matchKeys")
        for each in route.fields:
            if each.name in _PER_EVENT and is_constant(each.expression.tree):
                self._problems.add(
                    f"{place}.{each.place}",
                    "reads nothing of the record, so it would be the same for every event: a path has no single quotes",
                )
        for each in route.fields:
            if each.name == "clientDedupeId" and "record_time" in functions_used(each.expression.tree):
                self._problems.add(
                    f"{place}.{each.place}",
                    "uses record_time(), which differs from copy to copy of a record: one order would count as two",
                )


def _on_top(preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping, completed by a preset. What the mapping itself says takes precedence."""
    merged = dict(preset) | dict(given)
    for part in _TABLES_OF_INPUTS:
        own = given.get(part, {})
        if isinstance(own, dict):
            merged[part] = dict(preset.get(part, {})) | own
    for part, other in (("constants", "fields"), ("fields", "constants")):
        own = given.get(other, {})
        if isinstance(merged[part], dict) and isinstance(own, dict):
            overridden = own.keys() - (given.get(part) or {}).keys()
            merged[part] = {name: each for name, each in merged[part].items() if name not in overridden}
    return merged


@cache
def _preset(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("connector.mapping") / "presets" / f"{name}.toml").read_text(encoding="utf-8"))
