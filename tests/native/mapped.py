"""Mapping files of every kind for writers' schemas of every shape, to try whether native code and Python agree."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.mapping.refusal import MappingRefused
from tests.mapping.support import CHARGE, ORDER, SIGN_UP, TCF, TILL, example, read_file
from tests.native.events import TEXTS
from tests.records import AT_MS

__all__ = ["HEADERS", "mapping"]

HEADERS: tuple[Sequence[tuple[str, bytes | None]], ...] = (
    (),
    (),
    (("ce_id", b"ce-1"),),
    (("ce_id", b"\xff"), ("ce_id", b"ce-2")),
    (("ce_id", b"\xff"),),
    (("ce_id", None),),
)

_CLEAR = (
    "Jo@Example.com",
    "jo+shop@example.com",
    "+49 170 1234567",
    "0170 1234567",
    "Hauptstr. 1",
    "Jo",
    "Müller",
    "Köln",
    "50667",
    "50667-1234",
    "1a" * 32,
    "1A" * 32,
    "unknown",
    "\t",
)
_USUAL = (
    "PAID",
    "NEW",
    "WEB",
    "APP_IOS",
    "EUR",
    "DE",
    "de-DE",
    "US",
    "order-1",
    "A/77",
    "acme",
    "granted",
    "GRANTED",
    "no",
    "5",
)
_STRINGS = (*_USUAL, *_CLEAR)
_TIMES = (
    "2026-11-05T14:03:07.250+01:00",
    "2026-11-05T14:03:07Z",
    "2026-11-05",
    "2026-11-05T14:03:07",
    "2024-02-29 23:59:59.999999-11:30",
)
_NUMBERS = (0, 1, 2, 3, 5, 17, 18, 40, 1999, -1, 2**31 - 1)
_LONGS = (*_NUMBERS, AT_MS, AT_MS // 1000, AT_MS * 1000, 2**53 + 1, -(2**63), 2**63 - 1)

_MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}
_FIXED_MONEY = {"type": "fixed", "name": "Fixed", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 3}
_UUID = {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}
_STATUS = {"type": "enum", "name": "Status", "symbols": ["NEW", "PAID", "WEB", "DE", "EUR"]}
_LINE = {
    "type": "record",
    "name": "Line",
    "fields": [
        {"name": "brand", "type": ["null", "string"]},
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "price", "type": _MONEY},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}


def _types(dice: Random) -> dict[str, tuple[Any, Callable[[], Any]]]:
    """Return types of leaves, by what an expression can do with them, each with what makes a value."""

    def text() -> str:
        found: str = dice.choice(TEXTS if dice.random() < 0.03 else _STRINGS)
        return found

    def money(size: int | None = None) -> bytes:
        number = dice.choice((*_NUMBERS, dice.randrange(10**6), dice.randrange(10**17)))
        return number.to_bytes(size or dice.choice((8, 9, 16, 17)), "big", signed=True)

    def line() -> dict[str, Any]:
        return {
            "brand": dice.choice((None, text())),
            "sku": text(),
            "quantity": dice.choice(_NUMBERS),
            "price": money(),
            "tags": [text() for _ in range(dice.randrange(3))],
        }

    return {
        "text": ("string", text),
        "symbol": (_STATUS, lambda: dice.choice(_STATUS["symbols"])),
        "uuid": (_UUID, lambda: dice.randbytes(16)),
        "whole": (dice.choice(("int", "long")), lambda: dice.choice(_NUMBERS)),
        "long": ("long", lambda: dice.choice(_LONGS)),
        "double": (dice.choice(("float", "double")), lambda: dice.choice((0.0, -0.0, 1.5, 12.345, 49.98, float("nan")))),
        "money": dice.choice(((_MONEY, money), (_FIXED_MONEY, lambda: money(8)))),
        "placed": ({"type": "long", "logicalType": "timestamp-millis"}, lambda: AT_MS - dice.getrandbits(33)),
        "micros": ({"type": "long", "logicalType": "timestamp-micros"}, lambda: AT_MS * 1000 + dice.getrandbits(30)),
        "iso": ("string", lambda: dice.choice(TEXTS if dice.random() < 0.03 else _TIMES)),
        "is": ("boolean", lambda: dice.random() < 0.5),
        "raw": ("bytes", lambda: dice.choice((b"\xab" * 32, dice.randbytes(32), b"", b"\xff\xfe"))),
        "texts": ({"type": "array", "items": "string"}, lambda: [text() for _ in range(dice.choice((0, 1, 2, 3)))]),
        "lines": ({"type": "array", "items": _LINE}, lambda: [line() for _ in range(dice.choice((0, 1, 1, 2, 3)))]),
        "map": ({"type": "map", "values": "string"}, lambda: {key: text() for key in "abc" if dice.random() < 0.8}),
        "mixed": (["string", "long"], lambda: dice.choice((text(), 5))),
    }


class _Schema:
    """A writer's schema, the paths in it by what they lead to, and what makes a record."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._types = _types(dice)
        self._named: set[str] = set()
        self.paths: dict[str, list[str]] = {kind: [] for kind in self._types}
        fields, self._make = self._record("", 0)
        self.schema = {"type": "record", "name": "Own", "namespace": "org.example", "fields": fields}

    def _once(self, kind: Any) -> Any:
        """Return a type, of a name only where it has been before."""
        if not isinstance(kind, dict):
            return kind
        if kind.get("name") in self._named:
            return kind["name"]
        if "name" in kind:
            self._named.add(kind["name"])
        made = copy.deepcopy(kind)
        if kind["type"] == "array":
            made["items"] = self._once(kind["items"])
        return made

    def _record(self, before: str, depth: int) -> tuple[list[dict[str, Any]], Callable[[], dict[str, Any]]]:
        dice = self._dice
        fields: list[dict[str, Any]] = []
        makers: list[tuple[str, Callable[[], Any]]] = []
        kinds = list(self._types) if depth == 0 else dice.sample(list(self._types), 7)
        dice.shuffle(kinds)
        for kind in kinds:
            of, make = self._types[kind]
            path = f"{before}{kind}"
            self.paths[kind].append(path)
            is_optional = dice.random() < 0.3 and kind != "mixed"
            told = self._once(of)
            fields.append({"name": kind, "type": dice.choice((["null", told], [told, "null"])) if is_optional else told})
            makers.append((kind, self._sometimes(make) if is_optional else make))
        for number in range(dice.choice((1, 2)) if depth < 2 else 0):
            name = f"part{number}"
            within, make = self._record(f"{before}{name}.", depth + 1)
            called = f"Part{len(self._named)}"
            record = {"type": "record", "name": called, "fields": within}
            self._named.add(called)
            is_optional = dice.random() < 0.4
            fields.append({"name": name, "type": ["null", record] if is_optional else record})
            makers.append((name, self._sometimes(make) if is_optional else make))
        return fields, lambda: {name: make() for name, make in makers}

    def _sometimes(self, make: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: None if self._dice.random() < 0.15 else make()

    def made(self) -> dict[str, Any]:
        return self._make()


class _Expressions:
    """Makes expressions of paths in a schema: most of the right kind."""

    def __init__(self, dice: Random, paths: dict[str, list[str]]) -> None:
        self._dice = dice
        self._paths = paths

    def _path(self, *kinds: str) -> str:
        kind = self._dice.choice(kinds if self._dice.random() < 0.98 else list(self._paths))
        return self._dice.choice(self._paths[kind])

    def _any(self, *makers: Callable[[], str]) -> str:
        return self._dice.choice(makers)()

    def text(self, depth: int = 0) -> str:
        path = lambda: self._path("text", "symbol")  # noqa: E731
        if depth > 2 or self._dice.random() < 0.4:
            return self._any(path, path, lambda: self._path("uuid"), lambda: f"'{self._dice.choice(_USUAL)}'")
        deeper = depth + 1
        return self._any(
            lambda: f"lookup('{self._dice.choice(('source', 'rate'))}', {self.text(deeper)})",
            lambda: f"lookup('source', {self._path('whole', 'symbol', 'is')}, {self.text(deeper)})",
            lambda: f"not_null({self.text(deeper)}, {self.text(deeper)})",
            lambda: f"not_null({self.text(deeper)}, {self._path('text')}, {self.text(deeper)})",
            lambda: f"{self._path('text')} || {self.text(deeper)}",
            lambda: f"{self._path('text')} && {self._path('symbol')}",
            lambda: f"join('{self._dice.choice((' ', '-', ''))}', [{self.text(deeper)}, {self.text(deeper)}])",
            lambda: f"join(' ', {self._path('texts')})",
            lambda: f"join(', ', {self._path('lines')}[].sku)",
            lambda: f"upper({self.text(deeper)})",
            lambda: f"lower({self.text(deeper)})",
            lambda: f"to_string({self._path('whole', 'long', 'is', 'text')})",
            lambda: f"split({self.text(deeper)}, '-')[{self._dice.choice((0, 1, -1))}]",
            lambda: f"{self._path('texts')}[{self._dice.choice((0, 1, -1, -3))}]",
            lambda: f"{self._path('lines')}[{self._dice.choice((0, 1, -1))}].{self._dice.choice(('brand', 'sku'))}",
            lambda: f"{self._path('lines')}[?{self._line_condition()}].sku | [0]",
            lambda: f"{self._path('lines')}[*].tags[] | [0]",
            lambda: f"{self._path('lines')}[].tags[0] | [0]",
            lambda: f"{self._path('texts')}[?@ == 'PAID'] | [0]",
            lambda: f"{self._path('map')}.{self._dice.choice('abcd')}",
            lambda: f"hex({self._path('raw')})",
            lambda: f"header('ce_id') || {self.text(deeper)}",
            lambda: f"not_null(header('none'), {self.text(deeper)})",
            lambda: f"trim({self._path('text')})",
        )

    def _line_condition(self) -> str:
        return self._any(
            lambda: "quantity > `1`",
            lambda: "brand",
            lambda: "brand && quantity >= `1`",
            lambda: "sku == 'acme' || brand != null",
            lambda: "price > `10`",
            lambda: f"!(quantity == `{self._dice.randrange(3)}`)",
        ).replace("null", "`null`")

    def number(self) -> str:
        return self._any(
            lambda: self._path("whole"),
            lambda: self._path("money", "double", "long"),
            lambda: f"sum({self._path('lines')}[].{self._dice.choice(('quantity', 'price'))})",
            lambda: f"length({self._path('texts', 'lines', 'text')})",
            lambda: f"divide({self._path('whole', 'money')}, `{self._dice.choice((100, 1, 10, 1000, 3, 0))}`)",
            lambda: f"divide({self._path('long')}, lookup('rate', {self._path('symbol')}, `100`))",
            lambda: f"multiply({self._path('whole', 'money')}, {self._path('whole', 'money', 'double')})",
            lambda: f"not_null({self._path('whole')}, {self._path('money')})",
        )

    def whole(self) -> str:
        lines = self._path("lines")
        return self._any(
            lambda: self._path("whole"), lambda: f"sum({lines}[].quantity)", lambda: f"length({lines})", self.number
        )

    def time(self) -> str:
        return self._any(
            lambda: self._path("placed", "micros"),
            lambda: f"time({self._path('iso')})",
            lambda: f"time({self._path('long')}, '{self._dice.choice(('s', 'ms', 'us', 'ns', 'd'))}')",
            lambda: f"time({self._path('placed')})",
            lambda: self._path("long"),
        )

    def key(self) -> str:
        return self._any(
            lambda: self._path("text"),
            lambda: f"not_null({self._path('text')}, {self._path('text')})",
            lambda: f"hex({self._path('raw')})",
            lambda: self._path("texts"),
            self.text,
        )

    def consent(self) -> str:
        return self._any(
            lambda: f"granted({self._path('is')})",
            lambda: f"granted({self._path('is')})",
            lambda: f"granted({self._path('text', 'whole')})",
            lambda: self._path("text"),
        )

    def condition(self, depth: int = 0) -> str:
        if depth < 2 and self._dice.random() < 0.4:
            one, other = self.condition(depth + 1), self.condition(depth + 1)
            return self._dice.choice((f"({one}) && ({other})", f"({one}) || ({other})", f"!({one})"))
        order = self._dice.choice(("<", "<=", ">", ">=", "==", "!="))
        return self._any(
            lambda: f"{self._path('text', 'symbol')} {order} '{self._dice.choice(_USUAL)}'",
            lambda: f"{self._path('money', 'whole', 'long')} {order} `{self._dice.choice((0, 1, 17, 20))}`",
            lambda: f"{self._path('money')} {order} {self._path('money', 'whole')}",
            lambda: self._path("is"),
            lambda: f"{self._path('is')} == `{self._dice.choice(('true', 'false'))}`",
            lambda: f"{self._path('text', 'whole')} {self._dice.choice(('==', '!='))} `null`",
        )


_TABLES = """
[tables.source]
WEB = "WEBSITE"
APP_IOS = "IOS"
NEW = "DE"
PAID = "EUR"
17 = "DE"
true = "yes"
[tables.rate]
DE = 1
EUR = 100
WEB = 1000
NEW = 7
"""


def _written(name: str, lines: Sequence[tuple[str, str]]) -> list[str]:
    return [f"[mapping.{name}]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in lines)]


def _file(dice: Random, make: _Expressions) -> str:
    text = ["version = 1", f'otherwise = "{dice.choice(("ignore", "dead-letter"))}"']
    for _ in range(dice.choice((1, 1, 1, 2))):
        constants = {
            "name": ("Order", make.text),
            "eventType": (dice.choice(("OFF_AMAZON_PURCHASES", "OFF_AMAZON_PURCHASES", "LEAD")), make.text),
            "eventActionSource": ("WEBSITE", make.text),
            "countryCode": ("DE", make.text),
            "currencyCode": ("EUR", make.text),
        }
        fixed = {name for name in constants if dice.random() < 0.85}
        fields = [(name, of()) for name, (_, of) in constants.items() if name not in fixed]
        fields.append(("timestamp", make.time()))
        fields += [
            (name, of())
            for name, of, often in (
                ("clientDedupeId", make.text, 0.8),
                ("value", make.number, 0.6),
                ("unitsSold", make.whole, 0.5),
                ("userAgent", make.text, 0.1),
                ("partner", make.text, 0.1),
                ("dataProcessingOptions", make.text, 0.02),
                ("dataSetName", make.text, 0.02),
            )
            if dice.random() < often
        ]
        kinds = dice.sample(
            ("EMAIL", "PHONE", "FIRST_NAME", "LAST_NAME", "ADDRESS", "CITY", "STATE", "POSTAL", "MATCH_ID", "MAID"), 3
        )
        consent = make.consent()
        text += ["[[mapping]]"]
        if dice.random() < 0.1:
            text.append(f'record = "org.example.{dice.choice(("Own", "Other"))}"')
        if dice.random() < 0.05:
            text.append(f'topic = "{dice.choice(("conversions", "others"))}"')
        if dice.random() < 0.05:
            text.append("inherit = true")
        if dice.random() < 0.6:
            text.append(f"when = {json.dumps(make.condition())}")
        text += _written("constants", [(name, constants[name][0]) for name in sorted(fixed)])
        text += _written("fields", fields)
        text += _written("matchKeys", [(kind, make.key()) for kind in kinds[: dice.choice((1, 2, 3))]])
        if dice.random() < 0.8:
            text += _written("consent", [("amznUserData", consent), ("amznAdStorage", consent)])
        elif dice.random() < 0.5:
            text += _written("consent", [("tcf", f"'{TCF}'")])
        if dice.random() < 0.4:
            again = make.text()
            text += _written(
                "customAttributes", [("brand", again), ("size", make.text()), ("again", again)][: dice.choice((1, 3))]
            )
        if dice.random() < 0.2:
            text.append("[mapping.customData]")
            kind = dice.choice(("STRING", "INTEGER", "TIMESTAMP"))
            text.append(f"items = {{ value = {json.dumps(make.whole())}, type = '{kind}' }}")
    return "\n".join(text) + _TABLES


_EXAMPLES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("order", ORDER),
    ("envelope", SIGN_UP),
    ("till", TILL),
    ("charge", CHARGE),
)


def _changed(dice: Random, value: Any) -> Any:
    """Return a value with some of its parts changed."""
    if isinstance(value, dict):
        return {name: _changed(dice, part) for name, part in value.items()}
    if isinstance(value, list):
        return [_changed(dice, part) for part in value for _ in range(dice.choice((1, 1, 1, 1, 0, 2)))]
    if dice.random() > 0.06:
        return value
    if value is None or isinstance(value, str):
        return dice.choice((None, *_STRINGS, *TEXTS))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return dice.choice(_LONGS)
    return dice.randbytes(len(value) if len(value) == 16 else dice.choice((1, 2, 8, 16, 17, 32)))


def mapping(dice: Random, count: int) -> tuple[str, Any, list[bytes]]:
    """Return a mapping file, a writer's schema, and values that a writer of it makes: so many, or fewer."""
    if dice.random() < 0.3:
        name, event = dice.choice(_EXAMPLES)
        text, schema = example(name)
        return text, schema, _values(schema, [_changed(dice, copy.deepcopy(event)) for _ in range(count)])
    while True:
        made = _Schema(dice)
        for _ in range(20):
            text = _file(dice, _Expressions(dice, made.paths))
            try:
                read_file(text)
            except MappingRefused:
                continue
            return text, made.schema, _values(made.schema, [made.made() for _ in range(count)])


def _values(schema: Any, events: Sequence[dict[str, Any]]) -> list[bytes]:
    encoder = EventEncoder(schema)
    found = []
    for event in events:
        try:
            found.append(framed(1, encoder.encode(event)))
        except (ValueError, TypeError, AttributeError, OverflowError):
            continue  # this schema cannot say it
    return found
