"""What stands for nothing in every form that producers use, and what must not be taken for it."""

from __future__ import annotations

import sys
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from hashlib import md5, sha1, sha256, sha512
from itertools import product
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.nothing import said

WORDS = [
    "null",
    "undefined",
    "none",
    "nil",
    "NaN",
    "n/a",
    "NA",
    "undef",
    "unknown",
    "not set",
    "true",
    "false",
    "Array",
    "string",
]
SERIALISERS = [
    "[object Object]",
    "[object Promise]",
    "(null)",
    "<null>",
    "<nil>",
    "%!s(<nil>)",
    "\\N",
    "b''",
    "{}",
    "[]",
    "()",
    "Invalid Date",
    "function () {}",
    "%!s(MISSING)",
    "System.DBNull",
    "Optional.empty",
    "nothing",
    "unspecified",
    "no value",
    "NoneType",
    "<class 'NoneType'>",
    "<NA>",
    "pd.NA",
    "1.#QNAN",
    "-1.#IND",
    "System.Guid",
    "Guid.Empty",
    "NullPointerException: null",
    "#SPILL!",
    "#GETTING_DATA",
    "#N/A N/A",
    "&ZeroWidthSpace;",
]
TEMPLATES = [
    "{{order_id}}",
    "{{ order.id }}",
    "{{{order_id}}}",
    "{{dlv - Transaction 1}}",
    "${order_id}",
    "${GDPR_CONSENT_755}",
    "$ORDER_ID",
    "$order->id",
    "#{order_id}",
    "##ORDER_ID##",
    "#ORDER_ID#",
    "%%ORDER_ID%%",
    "%ORDER_ID%",
    "%s",
    "%1$s",
    "<%= order.id %>",
    "<?= $id ?>",
    "{% order %}",
    "{!Order.Id}",
    "{$order.id}",
    "{order_id}",
    "{0}",
    "[ORDERID]",
    "[[order_id]]",
    "<order_id>",
    "__ORDER_ID__",
    "@ORDER_ID@",
    "@{order_id}",
    "*|ORDER_ID|*",
    "$(order_id)",
    'google_tag_manager["GTM-ABCD123"].macro(15)',
    "order_id",
    "transactionId",
    "%7B%7Border_id%7D%7D",
    "%257B%257Border_id%257D%257D",
    "&lt;null&gt;",
    "&nbsp;",
    "\\u0000",
    "\\u200b",
    "%E2%80%8B",
    "&amp;nbsp;",
    "\\x00",
    "%(order_id)s",
    "YOUR_ORDER_ID",
    "ORDER_ID_HERE",
    "REPLACE-ME",
    "INSERT_ID_HERE",
    "no_order_id",
    "noOrderId",
    "unknown-user",
    "nullId",
    "ERR_NO_ID",
    "unbekannt",
]
NUMBERS = [
    "0",
    "000000",
    "0.00",
    "0x0",
    "-1",
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
    "00000000000000000000000000000000",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    "00000000-0000-4000-8000-000000000000",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
    "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
    "#REF!",
    "-1.0",
    "11111111-1111-1111-1111-111111111111",
    "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx",
    "idfa:00000000-0000-0000-0000-000000000000",
    "order-00000000-0000-0000-0000-000000000000",
    "AAAAAAAAAAAAAAAAAAAAAA==",
]
COMPOSED = [
    "undefined-undefined",
    "nullnull",
    "null,null",
    "order-undefined",
    "order_null",
    "orderundefined",
    "order-{{id}}",
    "web_[ID]",
]
SENTINELS = [
    "-999",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "18446744073709551615",
    "0e0",
    "0E+00",
]
OTHER_TONGUES = [
    "keine Angabe",
    "non renseigné",
    "sin valor",
    "n/d",
    "s/d",
    "неизвестно",
    "нет",
    "未定义",
    "なし",
    "없음",
    "k.A.",
    "n.v.t.",
    "nicht verfügbar",
    "kein Wert",
    "aucun",
    "no especificado",
    "não informado",
    "non specificato",
    "brak danych",
    "нет данных",
    "tanimsiz",
    "不详",
    "該当なし",
    "okänd",
    "не определено",
    "δεν ορίστηκε",
    "غير محدد",
    "अपरिभाषित",
    "ไม่ระบุ",
    "알 수 없음",
    "määrittelemätön",
    "không xác định",
    "undefiniert",
    "sin definir",
    "ikke angivet",
    "tidak ada",
    "n.v.t.",
    "brak danych",
]
PROGRAMS = [
    "java.util.Optional.empty",
    "java.lang.NullPointerException",
    "void 0",
    "%ld",
    "dataLayer.orderId",
    "window.order_id",
    "@ViewBag.OrderId",
    "event.detail.id",
    "external_id",
    "(other)",
    "[redacted]",
    "***REDACTED***",
    "TBA",
    "without id",
    "[B@6d06d69c",
    "[Ljava.lang.String;@1b6d3586",
    "java.lang.Object@15db9742",
    "<__main__.Order object at 0x7f8b1a0d3c48>",
    "#<Order:0x00007f8b1a0d3c48>",
    "System.Nullable`1[System.Int32]",
    "-- Select --",
    "Please select",
    "utag_data.order_id",
    "digitalData.transaction.id",
    "_satellite.getVar('orderId')",
    "12345678-1234-1234-1234-123456789012",
]
NOTHINGS = ["", *SENTINELS, *OTHER_TONGUES, *PROGRAMS, "-", "...", *WORDS, *SERIALISERS, *TEMPLATES, *NUMBERS, *COMPOSED]

INVISIBLE = [
    chr(point) for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) in ("Cc", "Cf", "Zs", "Zl", "Zp")
] + list("\u3164\u115f\u1160\uffa0\u2800\u034f\ufe0e\ufe0f\U000e0100\U000e01ef\u17b4\u180b")


@pytest.mark.parametrize("nothing", NOTHINGS)
def test_what_tools_write_for_nothing_says_nothing_in_any_case_and_dress(nothing: str) -> None:
    for cased in (nothing, nothing.upper(), nothing.lower()):
        for dress in ("{}", ' "{}" ', "'{}'", "\u200b{}\ufeff\t", "\u3164{}\x00\x00", "“{}”", "[{}]"):
            if not (cased.startswith(("{", "__")) and dress == "[{}]"):
                assert said(dress.replace("{}", cased)) == "", dress


@pytest.mark.parametrize("invisible", INVISIBLE, ids=lambda character: f"U+{ord(character):04X}")
def test_invisible_characters_say_nothing_and_are_no_part_of_what_stands_between_them(invisible: str) -> None:
    assert said(invisible) == said(invisible * 3) == ""
    assert said(f"{invisible}order-1{invisible * 2}") == "order-1"
    assert said(f"unde{invisible}fined") == "" or invisible.isspace()


@pytest.mark.parametrize(
    "nothing",
    [
        "",
        " ",
        "\n",
        "undefined\n",
        "-1",
        "null",
        "NULL",
        "undefined",
        "None",
        "nan",
        "NaN",
        "00000",
        "[object Object]",
        "n/a",
        "unknown",
        "\x00",
        "null null",
        "undefined@undefined",
    ],
)
def test_a_hash_of_nothing_says_nothing(nothing: str) -> None:
    for algorithm in (md5, sha1, sha256, sha512):
        digest = algorithm(nothing.encode()).digest()
        written = [
            digest.hex(),
            digest.hex().upper(),
            b64encode(digest).decode(),
            urlsafe_b64encode(digest).decode().rstrip("="),
        ]
        assert [said(text) for text in written] == [""] * 4
        assert said(f'"{digest.hex()}"') == ""
    real = sha256(b"order-1").hexdigest()
    assert said(real) == real


@pytest.mark.parametrize(
    "real",
    [
        "1",
        "A",
        "abc",
        "0001",
        "#1001",
        "#1001-A",
        "order-700123",
        "order-0042",
        "order-0",
        "0-0",
        "0:0:0",
        "R$12",
        "[12]",
        "(12)",
        "Re/al==",
        "m 1",
        "订单7",
        "заказ-12",
        "F" * 31,
        "nullify",
        "nanette",
        "null-1",
        "undefined-1042",
        "null1",
        "9{{x}}",
        "00000000-0000-0000-0000-000000000001",
        "3F2504E0-4F89-41D3-9A0C-0305E82C3301",
        "{3F2504E0-4F89-41D3-9A0C-0305E82C3301}",
        "urn:uuid:3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "V1StGXR8_Z5jdHi6B-myT",
        "order\u200b-1",
        "x" * 5000,
        "%B1%C0%9F",
        "n",
        "aaa",
        "22222222-2222-2222-2222-222222222223",
        "19700101",
        "1970-01-02",
        "orderly",
        "NOTARY",
        "KEYLARGO",
        "cid",
        "bnVsbB",
        "eth:0x1b6d3586",
        "I@shop-12",
        "selected-1",
    ],
)
def test_a_real_id_is_said_as_it_is_but_for_what_surrounds_it(real: str) -> None:
    assert said(real) == real
    assert said(f"\ufeff {real}\u00a0\r\n") == real or len(real) > 1024
    assert said(f" {real}\u00a0\r\n") == real


@pytest.mark.parametrize(
    "nothing",
    [
        "bnVsbA==",
        "bnVsbA",
        "TlVMTA==",
        "dW5kZWZpbmVk",
        "1970-01-01",
        "1970-01-01T00:00:00.000Z",
        "0001-01-01T00:00:00",
        "9999-12-31",
        "9999-12-31T23:59:59.999Z",
        "01/01/1970",
        "1900-01-01T00:00:00Z",
    ],
)
def test_nothing_in_base64_and_the_first_moment_of_a_clock_say_nothing(nothing: str) -> None:
    assert said(nothing) == said(f" {nothing}\n") == ""


@pytest.mark.parametrize(
    "name", ["None", "Nan", "Nil", "NA", "Na", "True", "Blank", "Villa Null", "[Rear] Main Street", "Null Street 5"]
)
def test_names_of_people_and_places_are_names(name: str) -> None:
    assert said(name, name=True) == name


@pytest.mark.parametrize(
    "nothing", ["undefined", "NULL", "(null)", "N/A", "{{city}}", "[CITY]", "undefined undefined", "[object Object]"]
)
def test_what_no_person_or_place_is_called_is_no_name(nothing: str) -> None:
    assert said(nothing, name=True) == ""
    assert said(sha256(nothing.lower().encode()).hexdigest(), name=True) == "" or nothing[0] in "{[u(N"


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.text() | st.text("{}[]<>$%#@_!? \u200b\u3164'\"0nulaid1", max_size=40))
def test_what_is_said_is_said_again_and_never_has_a_blank_around_it(text: str) -> None:
    once = said(text)
    assert said(once) == once
    assert once == once.strip()
    assert once in text


PARTS = """
    Jo van Müller not set null xxx aaaaaaaa undefined NA n a 0 ( ) . , : - + @ @a @a.b / ' " _ __a__ # % \\ & { } [ ] < >
    """.split()  # noqa: SIM905 - a table of texts is read as a table


@pytest.mark.parametrize("name", [False, True])
def test_a_plain_spelling_says_what_an_odd_spelling_of_the_same_says(name: bool) -> None:
    for one, other in product(PARTS, repeat=2):
        for text in (f"{one} {other}", f"{one}{other} {one}"):
            assert bool(said(text, name=name)) == bool(said(text.replace(" ", "\u00a0"), name=name)), text


@pytest.mark.parametrize(
    "part", ["{{", "${", "%%", "<%", "[a", "__a", "$a", "#a", "%7B", "&", "*|", "null", "\u200b", "a\u0301", "\\u", "0"]
)
def test_no_text_takes_long(part: str) -> None:
    began = thread_time()
    for size in (1_000, 1_000_000):
        said(part * (size // len(part)) + "\n-")
    assert thread_time() - began < 1
