"""Events of every kind, and writers' schemas of every shape, to try whether native code and Python agree.

`Beside` reads the same records both ways. Whatever native code accepts must be what Python makes, byte for byte.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from connector_native import Codec

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.contract import Contract
from connector.amazon.events_v1 import EventsV1
from connector.amazon.rules import WithoutConsent
from connector.avro.decoding import EventDecoder
from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.codec import BatchCodec
from connector.intake import Accepted, Intake, Origin
from connector.model import Poll, TopicPartition
from connector.ports import Record
from tests.avro.samples import ours
from tests.records import AT_MS, PolledRecord

__all__ = ["CONTRACTS", "KEYS", "TEXTS", "Beside", "PolledRecord", "event", "schema", "values"]

CONTRACTS: dict[str, Callable[[], Contract]] = {
    "ads NA": lambda: AdsV1("account", "client", "NA"),
    "ads EU": lambda: AdsV1("account", "client", "EU", "a-data-set"),
    "ads EU, denied": lambda: AdsV1("account", "client", "EU", None, WithoutConsent.DENIED),
    "ads FE": lambda: AdsV1("account", "client", "FE", "ds", WithoutConsent.DENIED),
    "events NA": lambda: EventsV1("account", "client", "NA"),
    "events EU": lambda: EventsV1("account", "client", "EU"),
    "events EU, sent": lambda: EventsV1("account", "client", "EU", WithoutConsent.SEND),
}
KEYS = (
    ("clientDedupeId",),
    ("clientDedupeId", "name"),
    ("name", "eventType", "countryCode"),
    ("eventActionSource", "clientDedupeId"),
    ("currencyCode", "name"),
    ("clientDedupeId", "timestamp"),
    ("value", "clientDedupeId"),
)

TEXTS = (
    "",
    " ",
    "\t",
    "\u00a0",
    "\u2003\u2003",
    "\u200b",
    "\ufeffx1",
    "é1",
    "e\u0301",
    "x" * 70,
    "1" * 256,
    "1" * 257,
    'A"b1',
    "back\\slash1",
    "tab\t1",
    "\x7f1",
    "\x001",
    "ß",
    "😀1",
    "0" * 64,
    "F" * 64,
    "1a" * 32,
    "1A" * 32,
    "1g" * 32,
    "null",
    "undefined",
    "undefined-1042",
    "order-1",
    "order-1 ",
    " order-1",
    "order 1",
    "order/1:2.3_4",
    "order-0",
    "{{order_id}}1",
    "-1",
    "00000000-0000-0000-0000-000000000001",
    "11111111-1111-1111-1111-111111111111",
    "11111111111111111111111111111111",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # SHA-256 of nothing
    "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b",  # of "null"
    "d41d8cd98f00b204e9800998ecf8427e",  # MD5 of nothing
    "US",
    "us",
    "UK",
    "en-US",
    "EMAIL",
    "LEAD",
    "GRANTED",
)
_TCF = "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAA1"
_ADDRESSES = (
    "203.0.113.7",
    "8.8.8.8",
    "10.0.0.1",
    "100.64.0.1",
    "192.168.1.1",
    "8.8.8.08",
    "8.8.8",
    "8.8.8.8 ",
    "255.255.255.255",
    "::1",
    "::ffff:8.8.8.8",
    "2001:db8::1",
    "2002:808:808::1",
    "2002:a00:1::1",
    "2a00:1450:4001:82a::200e",
    "2a00:1450:4001:82a::200e%1",
    "2a00::1450:4001:82a::1",
    "2a00:1450:4001:82a:0:0:0:0:1",
    "2001::8.8.8.8",
    "2001:0:808:808::f5ff:fffe",
    "2001:2::1",
    "2001:10::1",
    "2001:1ff:ffff::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "4000::1",
    "2A00:1450::",
    "fe80::1",
    "fd00::1",
)
_CONSENT_TEXTS = (
    _TCF,
    _TCF + ".YAAAAAAAAAA",
    _TCF + ".",
    "C" + "A" * 18 + "1",
    "C" + "A" * 19 + "1",
    "CONSENT_STRING_PLACEHOLDER",
    "CONSENT_STRING_PLACEHOLDER_1",
    "CookieConsentAcceptedAll",
    "ConsentStringNotFound404",
    "Cookie-Consent-2026-01-01",
    "D~undefined",
    "DBABMA~undefined",
    "DBABMA~null~null",
    "DBABMA~CONSENT_STRING_PLACEHOLDER",
    "DBABTA~1YNN",
    "DBABTA~1YN",
    "DBABzw~1---~BVQqAAAAAAA.QA",
    "DBABzw~BVQqAAAAAAA..QA",
    "Dbabzw~BVQqAAAAAAA",
    "Data~Not~Available",
    "C" + "a1" * 9_000,
    "DBABMA~" + _TCF,
    "DBACNYA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN",
    "DBA",
    "DBA~",
    "D~1",
    "D~.",
)
_STATUSES = ("GRANTED", "granted", "Denied", "DENIED", "true", "no", "1", "opted-out", "undefined", "maybe")
_KEY_TYPES = (
    "EMAIL",
    "PHONE",
    "Email",
    "e-mail",
    "MAID",
    "MATCH_ID",
    "match id",
    "FIP",
    "RAMP_ID",
    "REAL_ID",
    "FIRST_NAME",
    "CITY",
    "fax",
)
_VALUES = (
    0.0,
    -0.0,
    1.5,
    12.345,
    0.01,
    0.005,
    2.675,
    0.1 + 0.2,
    1e13,
    9_999_999_999_999.99,
    9_999_999_999_999.9,
    1e15,
    1e16,
    1e22,
    1e-5,
    5e-324,
    -3.25,
    float("nan"),
    float("inf"),
    float("-inf"),
    4_503_599_627_370_497.5,
    1.7976931348623157e308,
)
_TIMES = (0, -1, 1, 999, 951_782_400_000, 253_402_300_799_999, 253_402_300_800_000, -(2**63), 2**63 - 1)
_TOKENS = "ABCDEFGHIJ.1755712000000"
_COUNTRIES = ("US", "DE", "de", "en-US", "UK", "EL", "ZZ", "OTHER", "Narnia", "")
_ATTRIBUTES = ("brand", "size", "a_1", "b r", "", "é", "attr1")


_PIECES = """
    jo Doe DE LA Nancy Nil nan none null NOTSET unknown undefined urn uuid empty test sha SHA3 md5 hash hex example com
    0 00000000 1 3 384 x xxx aaaaaaaa Zzzzzzzz ab12cd34 d41d8cd98f00b204e9800998ecf8427e %20 &amp; {{x}} [x] é ß İ ﬁ
    """.split()  # noqa: SIM905 - a table of words is read as a table
_JOINTS = ("", "", " ", " ", "\t", "\u200b", "@", "@", "@", ".", ".", ".", *"-_+',():/<>;")
_IN_CLEAR = ("EMAIL", "EMAIL", "FIRST_NAME", "LAST_NAME", "CITY", "STATE", "POSTAL", "PHONE", "ADDRESS")
_PEOPLE = ("jo.doe@example.com", "A.B-c1@shop.example.co.uk", "Mary Ann", "Springfield", "O'Brien", "+12025550123", "10001")


class _Maker:
    """Makes events, of which some are odd in nothing, most in a field or two, and some in many."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._odd = dice.choice((0.0, 0.02, 0.05, 0.2))

    def _is_odd(self) -> bool:
        return self._dice.random() < self._odd

    def _any(self, usual: Sequence[Any], odd: Sequence[Any]) -> Any:
        return self._dice.choice(odd if self._is_odd() else usual)

    def _text(self, *usual: str) -> str:
        found: str = self._any(usual, TEXTS)
        return found

    def _hash(self) -> str:
        digits = f"{self._dice.getrandbits(256):064x}"
        return self._dice.choice((digits, digits.upper()))

    def _number(self) -> float:
        dice = self._dice
        if self._is_odd():
            return dice.choice((*_VALUES, dice.uniform(0, 10 ** dice.randrange(1, 16))))
        return dice.randrange(10 ** dice.randrange(1, 14)) / 100

    def _key(self) -> dict[str, object]:
        if self._dice.random() < 0.2:
            return {"type": self._dice.choice(_IN_CLEAR), "value": self._person()}
        if self._is_odd():
            return {"type": self._text(*_KEY_TYPES), "value": self._text("abc123", "1A" * 32, "jo@example.com", "8.8.8.8")}
        kind, value = self._dice.choice(
            (
                ("EMAIL", self._hash()),
                ("phone", self._hash()),
                ("MATCH_ID", f"abc{self._dice.getrandbits(30)}"),
                ("MAID", "9f-1:2"),
            )
        )
        return {"type": kind, "value": self._text(value)}

    def _person(self) -> str:
        """Return an identifier in clear, which may look like a good one and stand for nothing."""
        dice = self._dice
        if dice.random() < 0.3:
            return dice.choice(_PEOPLE)
        text = "".join(dice.choice(_PIECES) + dice.choice(_JOINTS) for _ in range(dice.randrange(1, 6)))
        text = text[:-1] if dice.random() < 0.5 else text
        text += dice.choice(("", "", "@example.com", "@a.b", "@null.null", "@x"))
        return dice.choice((text, text.upper(), text.title()))

    def _consent(self) -> dict[str, object]:
        dice, has = self._dice, self._dice.randrange(5)
        status = dice.choice(("GRANTED", "GRANTED", "denied"))
        texts: dict[str, Any] = {
            "ipAddress": self._any(_ADDRESSES[:2], _ADDRESSES) if has in (1, 4) else None,
            "amznAdStorage": self._any([status], _STATUSES) if has in (0, 1) else None,
            "amznUserData": self._any([status, status, "GRANTED"], _STATUSES) if has in (0, 1) else None,
            "tcf": self._any(_CONSENT_TEXTS[:2], _CONSENT_TEXTS) if has in (2, 4) else None,
            "gpp": self._any(_CONSENT_TEXTS[8:10], _CONSENT_TEXTS) if has in (2, 3) else None,
        }
        return {name: self._any([text], [None, *TEXTS, *_STATUSES]) for name, text in texts.items()}

    def _attributes(self) -> dict[str, str]:
        count = self._any((0, 1, 2), (13, 14, 20))
        names = [self._text(f"attr{number}", *_ATTRIBUTES[:1]) for number in range(count)]
        return {self._any([name], _ATTRIBUTES): self._text("acme", "1_5") for name in names}

    def _data(self) -> list[dict[str, Any]]:
        kinds = (("STRING", "acme"), (None, "1_5"), ("integer", "5"), ("INTEGER", "2147483647"), ("Timestamp", "1"))
        odd = (
            ("INTEGER", "2147483648"),
            ("INTEGER", "99999999999"),
            ("INTEGER", "-1"),
            ("FLOAT", "1"),
            ("", "1"),
            ("STRING", ""),
        )
        found = [self._any(kinds, odd) for _ in range(self._any((0, 1, 2), (13, 14)))]
        return [
            {"name": self._any([f"data{number}", "brand"], _ATTRIBUTES), "value": value, "dataType": kind}
            for number, (kind, value) in enumerate(found)
        ]

    def _rare(self, *usual: str, odd: Sequence[str]) -> str | None:
        if self._dice.random() < 0.85:
            return None
        found: str = self._any(usual, odd)
        return found

    def made(self) -> dict[str, Any]:
        dice = self._dice
        is_purchase = dice.random() < 0.5
        keys = self._any((1, 1, 1, 2, 2, 3), (0, 11, 12, 15, 16))
        return {
            "name": self._text("web_order", "Summer sale", "söme"),
            "eventType": self._text("OFF_AMAZON_PURCHASES") if is_purchase else self._text("LEAD", "Page View", "SIGN_UP"),
            "eventActionSource": self._text("website", "IOS", "OFFLINE"),
            "clientDedupeId": dice.choice(
                (None, *[self._text(f"order-{dice.getrandbits(40)}", f"A/{dice.getrandbits(9)}")] * 9)
            ),
            "timestamp": self._any([AT_MS - dice.getrandbits(40)], _TIMES),
            "matchKeys": [self._key() for _ in range(keys)],
            "value": self._number() if is_purchase or self._is_odd() else None,
            "currencyCode": self._text("USD", "EUR", "usd") if is_purchase or self._is_odd() else None,
            "unitsSold": self._any((0, 1, 2, 5), (-1, 2**31 - 1, 2**31, 2**40)) if is_purchase or self._is_odd() else None,
            "countryCode": self._any(("US", "DE", "en-US"), (*_COUNTRIES, *TEXTS)),
            "dataProcessingOptions": self._any((None, [], ["LIMITED_DATA_USE"], ["limited data use"]), (["x"], [" "], [""])),
            "consent": None if self._is_odd() else self._consent(),
            "customAttributes": self._attributes() if dice.random() < 0.5 else None,
            "customData": self._data() if dice.random() < 0.2 else None,
            "userAgent": self._rare("Browser/1.0", "Mozilla/5.0 (é)", odd=("", "x" * 512, "x" * 513, " x ")),
            "arefMeasurementTokens": self._rare(
                _TOKENS, f"{_TOKENS}|{_TOKENS}", odd=("", "|", f"{_TOKENS}|", f"{_TOKENS}0")
            ),
            "amazonAdEventKey": self._rare("key", odd=TEXTS),
            "partner": self._rare("a partner", odd=TEXTS),
        }


def event(dice: Random) -> dict[str, Any]:
    """Return an event of our schema. Most are good, so that a codec that declines everything is found out."""
    return _Maker(dice).made()


_UNKNOWN: tuple[tuple[Any, Any], ...] = (
    ("int", 5),
    ("bytes", b"\xff\xfe"),
    ("boolean", True),
    ("float", 1.5),
    ({"type": "fixed", "name": "Four", "size": 4}, b"abcd"),
    ({"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}, "BLUE"),
    ({"type": "array", "items": ["null", "long", "string"]}, [None, 5, "x"]),
    ({"type": "map", "values": {"type": "map", "values": "double"}}, {"a": {"b": 1.0}, "c": {}}),
    (["null", {"type": "record", "name": "Basket", "fields": [{"name": "items", "type": "int"}]}], {"items": 3}),
)

_DATUM: dict[str, Any] = {
    "type": "record",
    "name": "Datum",
    "fields": [
        {"name": "value", "type": "string"},
        {"name": "name", "type": ["null", "string"]},
        {
            "name": "dataType",
            "type": ["null", {"type": "enum", "name": "DataType", "symbols": ["STRING", "INTEGER", "FLOAT"]}],
        },
    ],
}
_SWAPPED: dict[str, tuple[Any, ...]] = {
    "eventType": (
        ["null", "string"],
        {"type": "enum", "name": "EventType", "symbols": ["LEAD", "OFF_AMAZON_PURCHASES", "SIGN_UP"]},
    ),
    "name": (["string", "null"],),
    "clientDedupeId": ("string", ["string", "null"], ["null", "long", "string"]),
    "timestamp": (
        "long",
        ["null", {"type": "long", "logicalType": "timestamp-millis"}],
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "long", "logicalType": "timestamp-nanos"},
        {"type": "long", "logicalType": "local-timestamp-micros"},
    ),
    "value": ("double", ["double", "null"], ["null", "float"], ["null", "long"], ["null", "int", "double"]),
    "unitsSold": (["null", "int"], "long", ["null", "double"]),
    "currencyCode": ("string", ["null", {"type": "enum", "name": "Currency", "symbols": ["USD", "EUR"]}]),
    "customAttributes": (
        {"type": "map", "values": "string"},
        ["null", {"type": "map", "values": ["null", "string"]}],
        ["null", {"type": "map", "values": ["string", "long"]}],
    ),
    "customData": (
        {"type": "array", "items": _DATUM},
        ["null", {"type": "array", "items": _DATUM | {"fields": _DATUM["fields"][:2]}}],
        ["null", {"type": "map", "values": "string"}],
    ),
    "dataProcessingOptions": (["null", "string"], ["null", {"type": "array", "items": "string"}, "string"]),
}
_ALIASES = {
    "eventType": "conversionType",
    "clientDedupeId": "eventId",
    "timestamp": "eventTime",
    "eventActionSource": "eventSource",
}
_OPTIONAL = (
    "clientDedupeId",
    "value",
    "currencyCode",
    "unitsSold",
    "dataProcessingOptions",
    "consent",
    "customAttributes",
    "customData",
    "userAgent",
    "partner",
)


def schema(dice: Random) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """Return a writer's schema, what its writer puts into its own fields, and what it calls ours."""
    made = copy.deepcopy(ours())
    fields: list[dict[str, Any]] = made["fields"]
    own: dict[str, Any] = {}
    called: dict[str, str] = {}
    for field in list(fields):
        name = field["name"]
        field.pop("default", None)
        if dice.random() < 0.3:
            field.pop("aliases", None)
        if name in _SWAPPED and dice.random() < 0.3:
            field["type"] = dice.choice(_SWAPPED[name])
        if name in _OPTIONAL and dice.random() < 0.1:
            fields.remove(field)
        elif dice.random() < 0.1:
            called[name] = field["name"] = _ALIASES.get(name, f"their_{name}")
            field["aliases"] = [name]
    for number in range(dice.choice((0, 0, 0, 1, 2))):
        kind, value = dice.choice(_UNKNOWN)
        fields.insert(dice.randrange(len(fields)), {"name": f"own{number}", "type": _named_anew(kind, number)})
        own[f"own{number}"] = value
    if dice.random() < 0.3:
        dice.shuffle(fields)
    return made, own, called


def _named_anew(kind: Any, number: int) -> Any:
    if isinstance(kind, list):
        return [_named_anew(each, number) for each in kind]
    return kind | {"name": f"{kind['name']}{number}"} if isinstance(kind, dict) and "name" in kind else kind


def values(dice: Random, count: int) -> tuple[Any, list[bytes]]:
    """Return a writer's schema, and values that a writer of it makes: so many, or fewer."""
    writer, own, called = schema(dice)
    encoder = EventEncoder(writer)
    found = []
    for _ in range(count):
        made = {called.get(name, name): value for name, value in event(dice).items()} | own
        try:
            found.append(framed(1, encoder.encode(made)))
        except (ValueError, TypeError, AttributeError, OverflowError):
            continue  # this schema cannot say it
    return writer, found


class _Counting:
    """Counts what a codec accepts."""

    def __init__(self, codec: BatchCodec) -> None:
        self._codec = codec
        self.accepted = 0
        self.ignored = 0

    def read(self, records: Sequence[Record], values: Sequence[bytes | None], *, bare: bool) -> Accepted:
        accepted = self._codec.read(records, values, bare=bare)
        self.accepted += sum(payload is not None for payload in accepted.payloads)
        self.ignored += len(accepted.ignored)
        return accepted

    def count_ignored(self, label: str) -> None:
        self._codec.count_ignored(label)


class Beside:
    """Python, and native code with Python for what it declines, on the same schemas."""

    def __init__(
        self,
        decoder: EventDecoder,
        contract: Contract,
        again: Contract,
        key_fields: tuple[str, ...],
        other: EventDecoder | None = None,
    ) -> None:
        other = decoder if other is None else other
        self._contracts, self._mappers = (contract, again), (decoder._mapper, other._mapper)
        self._python = Intake(decoder, contract, key_fields)
        self.codec = BatchCodec(Codec, other, again, key_fields)
        self._counting = _Counting(self.codec)
        self._both = Intake(other, again, key_fields, batches=self._counting, distrust=self._distrusted, compared=1 << 60)
        self._origin = Origin(TopicPartition("conversions", 3), 1, "cluster", "topic-id")

    @property
    def accepted(self) -> int:
        """How many records native code took."""
        return self._counting.accepted

    @property
    def ignored(self) -> int:
        """How many records native code said the mapping file ignores."""
        return self._counting.ignored

    def _distrusted(self, reason: str) -> None:
        raise AssertionError(reason)

    def read(self, records: Sequence[PolledRecord]) -> Poll:
        """Read records both ways, and return what both made of them; raises AssertionError if they differ."""
        mine, _ = self._python.read(self._origin, records)
        both, _ = self._both.read(self._origin, records)
        assert mine.times == both.times
        assert mine.keys == both.keys
        assert mine.payloads == both.payloads
        assert mine.sizes == both.sizes
        assert mine.offsets == both.offsets
        assert self._contracts[0].adjustments == self._contracts[1].adjustments
        python, native = self._mappers
        if python is not None and native is not None and python is not native:
            assert python.filtered == native.filtered
            assert python.left_out == native.left_out
        return both
