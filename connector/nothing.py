"""Recognises texts that stand for "nothing", in dedupe ids, raw match keys and hashes alike.

Producers write something where they have no value. Serialisers write ``null`` and ``undefined``;
templates and tag managers write the name of the value that they did not fill in; devices write a
UUID of zeros; hashing code writes the hash of any of these. Taken for an id, such a text merges the
orders of different people. Taken for a match key, it matches everybody.

In doubt a text stands for nothing. An id wrongly taken for nothing costs at worst a second send of
that event; a meaningless text wrongly taken for an id loses events. But a text with digits of its
own beside a known word or a template tells orders apart, as ``undefined-1042`` does, so it is kept.

Nearly every id passes the first, cheap test. The tests after it are, in this order: odd spellings,
templates, the hashes and UUIDs of known words, and these words themselves.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import new
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote

__all__ = ["DISGUISED", "NAMELESS", "said", "trimmed"]


def trimmed(text: str) -> str:
    """Return a text without blanks and invisible characters around it."""
    text = text.strip()
    return text if text.isascii() and text.isprintable() else text.strip(_INVISIBLE)


def said(text: str, *, name: bool = False) -> str:
    """Return a text without blanks around it; empty if it stands for nothing.

    ``name``: the text names a person or a place, so fewer words stand for nothing. There are people
    called Nil and Nan, a town called None, and NA is Naples.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return trimmed(text) if _VISIBLE(text) else ""
    if _PLAIN(text) and text.lower() not in DISGUISED:  # nearly every id; takes a microsecond
        return text
    text = text.strip(_INVISIBLE)
    return "" if _is_nothing(text, name) else text


_RANGES: Final = """
    0-20 7F-A0 AD-AD 34F-34F 600-605 61C-61C 6DD-6DD 70F-70F 890-891 8E2-8E2 115F-1160 1680-1680 17B4-17B5 180B-180F
    2000-200F 2028-202F 205F-206F 2800-2800 3000-3000 3164-3164 FE00-FE0F FEFF-FEFF FFA0-FFA0 FFF0-FFFB 110BD-110BD
    110CD-110CD 13430-1343F 1BCA0-1BCA3 1D173-1D17A E0000-E0FFF
    """
"""Invisible characters: the categories Cc, Cf, Zs, Zl and Zp of Unicode, its
Default_Ignorable_Code_Point (fillers of Hangul, variation selectors, tags), and the blank of
Braille."""

_BOUNDS: Final = [(int(first, 16), int(last, 16)) for first, last in (each.split("-") for each in _RANGES.split())]
_INVISIBLE: Final = "".join(chr(each) for first, last in _BOUNDS for each in range(first, last + 1))

_PLAIN: Final = re.compile(r"(?=[^1-9]*[1-9])[A-Za-z0-9][A-Za-z0-9_.:/ -]*").fullmatch


def _is_nothing(text: str, name: bool) -> bool:
    seen = rest = text
    if not _SIMPLE(text):
        seen = _as_read(text)
        if _ODD(seen) or _UNWRITTEN(seen.strip(_QUOTES)):
            return True
        if _PLACE(seen):
            return False
        rest = _TEMPLATE.sub(" ", seen)
        if not name:
            rest = _SLOT.sub(" ", rest)
        elif rest != seen or _SLOT.fullmatch(seen):
            return True
    words = [word.lower() for word in _WORDS(rest)]
    whole = "".join(words)
    if whole.removeprefix("urn").removeprefix("uuid") in _NO_UUID or _is_word(
        DISGUISED.get(whole, "") or DISGUISED.get(seen.lower(), ""), name
    ):
        return True
    if _DIGIT(whole):
        return False
    if _is_nobody(whole) or _REPEATED(whole) or _is_word(whole, name):
        return True
    if name:
        return False
    if _FOREIGN(whole):
        return True
    if all(part.lower() in _NO_ID_OF_WORDS for run in _WORDS(rest) for part in _PARTS(run)):
        return True
    if any(whole.startswith(no) and whole[len(no) :] in _NO_ID_OF_WORDS for no in _NO):
        return True
    # Letters only: "order-" before an unfilled place, "order_null", "[object Promise]".
    return rest != seen or not _STRONG.isdisjoint(words) or "undefined" in whole


_SIMPLE: Final = re.compile(r"\+?[A-Za-z1-9][A-Za-z0-9 .,:()À-ÖØ-öø-ÿ-]*(?:@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+)?").fullmatch
"""Most names, e-mail addresses and telephone numbers. None of these characters begins an encoding,
a template or an odd spelling, so such a text is looked up as it is."""

_LONGEST: Final = 256
"""Maximum length in characters of a text that is examined: what stands for nothing is short. Bounds
the cost of NFKC too."""


def _as_read(text: str) -> str:
    """Undo encodings of brackets and quotes: full width, URL encoding (twice), HTML, JSON."""
    if not text.isascii() or not text.isprintable():
        text = _HIDDEN.sub("", normalize("NFKC", text))
    for _ in range(2):
        if "%" in text:
            text = _decoded(text)
    return _ESCAPED.sub(" ", text)


def _decoded(text: str) -> str:
    try:
        return _HIDDEN.sub("", unquote(text, errors="strict"))
    except UnicodeDecodeError:  # not UTF-8, so not an encoded text
        return text


_HIDDEN: Final = re.compile("(?! )[" + "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in _BOUNDS) + "]")
_VISIBLE: Final = re.compile(r"[^\W_\u115f\u1160\u3164\uffa0]").search
_ESCAPED: Final = re.compile(r"&(?:[Aa][Mm][Pp];)?(?:#x?[0-9A-Fa-f]{1,6}|[A-Za-z]{2,24});|\\[uU][0-9A-Fa-f]{4}")
_WORDS: Final = re.compile(r"[^\W_]+").findall
_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W_]").findall
_DIGIT: Final = re.compile(r"[^\D0]").search
_FOREIGN: Final = re.compile(r"[^\x00-\x7F]{2,}").fullmatch
"""Words of another script, whatever they say: what makes ids uses digits, or letters of ASCII."""

_TEMPLATE: Final = re.compile(
    r"""\{\{[^{}]*\}\} | [$\#@]\{[^{}]*\} | \{[!$][^{}]*\} | \{%[^%]*%\} | <[%?][^%?]*[%?]> | %%[^%]*%% | \$\([^()]*\)
    | \[\[[^\[\]]*\]\] | \*\|[^|]*\|\* | \#\#[^\#]*\#\# | google_tag_manager\[[^\[\]]*\]\.macro\([0-9]*\)""",
    re.VERBOSE | re.IGNORECASE,
)
"""Unfilled places of Mustache and tag managers, JavaScript and shells, Salesforce and Smarty,
Jinja, ERB and PHP, ad servers, Mailchimp. Each alternative stops at the first character that could
begin another one, so the search takes linear time."""

_NAME: Final = r"[A-Za-z][A-Za-z_.: -]*[0-9]{0,2}"
_SLOT: Final = re.compile(
    rf"\{{(?:{_NAME}|[0-9]{{1,2}})\}}|\[{_NAME}\]|<{_NAME}>|%{_NAME}%|\#{_NAME}\#|@{_NAME}@|__[A-Za-z]+(?:_[A-Za-z]+)*__"
    r"|\$[A-Za-z_][A-Za-z_.>-]*(?![A-Za-z0-9])"
)
"""Unfilled places whose delimiters are common in other texts: they count only around a name."""

_AROUND: Final = r"""[\s"'`\u2018-\u201f()<>\[\]]*"""
_ODD: Final = re.compile(
    rf"""{_AROUND}(?:-1(?:\.0+)?|-9{{2,}}|-inf|[+-]?1\.\#[A-Z]+0*|<class\ '[^']*'>|<NA>|\\+(?:N|x[0-9A-F]{{2}})|[bu]['"]{{2}}
    |\#?n\.?/[ad]\.?|s/[dn]|w/o|[+-]?0+(?:[.,]0+)?e[+-]?0+|\#N/A\ N/A|\#(?:[A-Z]+|DIV/0)[!?]|\#[A-Z]+_[A-Z]+
    |%(?:[0-9]\$)?l{{0,2}}[sdiu@]|%\([^()]*\)[sdr]|%![a-z]\([^()]*\)
    |(?:[BCDFIJSZ]|L[\w.$]+;|[a-z][\w$]*(?:\.[\w$]+)+)@[0-9a-f]{{5,8}}){_AROUND}""",
    re.IGNORECASE | re.VERBOSE,
).fullmatch
"""Texts that their letters alone do not give away: SQL's \\N, "n/a", literals of Python, unfilled
places of printf, errors of Excel, numbers of C that are none, objects that Java could not write."""
_QUOTES: Final = " \"'`\u2018\u2019\u201c\u201d()<>[]"
_UNWRITTEN: Final = re.compile(
    r".*[ ]at[ ]0x[0-9a-f]+|#<[\w:]+:0x[0-9a-f]+.*|[a-z.]+`[0-9]+\[.*|-{1,3}[ ]?(?:select|choose|none)\b.*",
    re.IGNORECASE | re.DOTALL,
).fullmatch
"""Objects that Python, Ruby and .NET could not write (their addresses repeat from process to
process), and the first entry of a list of choices."""


_PLACE: Final = re.compile("0[-:/_]0(?:[-:/_]0)?").fullmatch
"""First id of a producer that makes ids from partition and offset. It tells orders apart, zeros or
not."""


_is_nobody: Final = re.compile(r"(?:urn)?(?:uuid)?(?:0x)?0*|[a-z]*0{32}|x{3,}|a{8,}|([g-z])\1{7,}").fullmatch
"""Numbers that no counter and no generator returns, with or without a prefix: zeros, or one letter
repeated."""

_NO_UUID: Final = frozenset(
    [
        *(each * 32 for each in "123456789abcdef"),
        *(f"{x * 12}{version}{x * 3}{variant}{x * 15}" for x in "0f" for version in "12345678" for variant in "89ab"),
        *(f"{'x' * 12}{version}xxx{variant}{'x' * 15}" for version in "x4m" for variant in "xyn"),
        *("12345678123412341234123456789012", "12345678123456781234567812345678", "0123456789abcdef" * 2, "deadbeef" * 4),
    ]
)
"""UUIDs that identify nothing: of one digit; of a broken generator, with all bits alike except
version and variant (RFC 9562); and the patterns and examples that document a UUID."""


def _is_word(whole: str, name: bool) -> bool:
    return whole in NAMELESS or (not name and whole in _NO_ID)


_REPEATED: Final = re.compile("(?:undefined|undef|null|none|nan|nil){2,}").fullmatch
_STRONG: Final = frozenset({"nan", "nil", "none", "null", "undef", "undefined"})
NAMELESS: Final = frozenset(
    """
    anonymised anonymized anonymous aucun aucune belirtilmemiş brakdanych changeme dbnull deleted desconhecido
    desconocida desconocido desconocidos empty firstname inconnu inconnue indéfini indefinido indisponible
    javalangstring keineangabe keineangaben lastname loremipsum nãodefinido nãodisponível nãoinformado nepodano nessuno
    nevyplněno neznámý nichtangegeben nichtbekannt nichtdefiniert nichtgesetzt nichtverfügbar nichtvorhanden niepodano
    nietvantoepassing nieznany nimetön ninguno nodefinido nodisponible noespecificado noname nondefini nondéfini
    nondefinito nondisponibile nondisponible nonrenseigne nonrenseigné nonspecificato nonspécifié notapplicable
    notavailable notdefined notfound notgiven notprovided notset notspecified novalue null objectobject okänd onbekend
    ongedefinieerd placeholder pleaseselect redacted sconosciuto semvalor sindatos sinespecificar sinnombre sinvalor
    systemstring tanimsiz tanımsız tuntematon ukendt ukjent unbekannt undef undefined undefiniert unknown unset
    unspecified неизвестно неопределено нетданных неуказано отсутствует غيرمحدد غيرمعروف 不明 不详 不适用 无数据 暂无
    未填写 未定义 未知 未設定 無し 空值 該当なし 该当なし 미정 알수없음 없음 해당없음
    """.split()  # noqa: RUF001, SIM905 - Turkish is meant; a table of words is read as a table
)
_NO_ID: Final = frozenset(
    """
    aaid absent adid advertisingid anon array asdf bar baz bilinmiyor bittewählen blank boş brak choose
    clientdedupeid dedupeid default deviceid direct dummy entfällt err error eventid example exception fail failed
    false fehler fehlt fixme foo foobar function gaid geen geenwaarde guest guid hash hidden id idfa idfv
    ikkeangivet indefinida inf infinity ingen insertorderid int invalid invaliddate invaliddatetime ismeretlen
    javalangobject ka kein keine keinedaten keinwert key khôngxácđịnh kosong leeg leer limitadtracking maid mangler
    masked matchid messageid missing määrittelemätön na nan naodefinido nat nd necunoscut nedefinit nedefinováno
    nenhum není neuvedeno nietingesteld niezdefiniowano nieznane nil nincs ninguna no noaplica nobody noid
    nonapplicable none nonimpostato nothing nul nullptr nulo nv nvt néant object odefinierad off ohne okänt on
    optedout optionalempty optout order orderid orderidhere orderno ordernumber other private qwerty rampid removed
    replaceme saknas sample sans sansobjet select selectone sindefinir some string symbol systemdbnull systemobject
    tba tbc tbd temp test text tidakada tidakdiketahui timeout tmp todo transactionid true tyhjä unassigned
    unavailable unk unkn uuid vacío valor value vazio vide void void0 vuoto yes yok yourorderid нд нет пусто לאידוע
    فارغ なし 无 没有 無 空
    """.split()  # noqa: SIM905 - a table of words is read as a table
)
"""Words that stand for nothing, without anything but letters and digits. Those in `_NO_ID` also
occur in names of people and places, those in `NAMELESS` do not."""

_NO_ID_OF_WORDS: Final = (
    _STRONG
    | NAMELESS
    | _NO_ID
    | set(
        """
        available bag basket call cart client code customer data datalayer defined detail digital digitaldata event
        exist external found get getvar given here insert is it item java lang last layer model most msg my new not
        nullpointerexception number of optional pd please pointer promise provided purchase reference request s satellite
        session set system the this to traceback tracker transaction type typeerror uid user utag util valid var view
        viewbag was window without your
        """.split()  # noqa: SIM905 - a table of words is read as a table
    )
)
"""Words that make no id, however many of them: "noOrderId", "INSERT_ID_HERE"."""
_NO: Final = ("no", "none", "not", "null", "empty", "missing", "invalid", "unknown")

_SPELT: Final = (
    "",
    " ",
    "\n",
    "null\n",
    "undefined\n",
    "-",
    "-1",
    "[]",
    "{}",
    "''",
    '""',
    "n/a",
    "N/A",
    "(null)",
    "<null>",
    "[object Object]",
    "\x00",
    "\t",
    "  ",
    "\r\n",
    "+",
    "@",
    "null null",
    "undefined undefined",
    "null@null",
    "undefined@undefined",
)
_NIL_UUID: Final = "00000000-0000-0000-0000-000000000000"


def _disguised() -> dict[str, str]:
    """Return the hashes and UUIDs of words for nothing, in lower case, each with its word."""
    known = dict.fromkeys(_NO_UUID, "null")
    known |= {"-".join((u[:8], u[8:12], u[12:16], u[16:20], u[20:])): "null" for u in _NO_UUID}
    known |= dict.fromkeys((*_NO_DATE, *_NO_NUMBER), "null")
    words = {spelt: word for word in sorted(NAMELESS | _NO_ID) for spelt in (word, word.upper(), word.capitalize())}
    zeros = ["0" * count for count in range(2, 16)]
    words |= {"NaN": "nan", "NaT": "nat", **dict.fromkeys((*_SPELT, *zeros, _NIL_UUID, _NIL_UUID.replace("-", "")), "null")}
    for spelt, word in words.items():
        for algorithm in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
            digest = new(algorithm, spelt.encode(), usedforsecurity=False)
            base64 = _base64(digest.digest())
            known |= dict.fromkeys((digest.hexdigest(), base64, "".join(_WORDS(base64))), word)
        if len(spelt) >= _CODED:
            known[_base64(spelt.encode())] = word
    return known


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().lower().rstrip("=")


_CODED: Final = 4
"""Letters of the shortest word that is known in base64. A shorter one would look like an id."""
_FRACTIONS: Final = ("", "z", ".000", ".000z", "+00:00", ".0000000", ".999", ".999z", ".9999999")
_NO_DATE: Final = (
    *("01/01/1970", "1/1/1970", "01.01.1970", "1970/01/01"),
    *(
        day + time
        for day in ("1970-01-01", "0001-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "9999-12-31")
        for clock in ("00:00:00", "23:59:59")
        for time in ("", *(f"{gap}{clock}{rest}" for gap in "t " for rest in _FRACTIONS))
    ),
)
"""The first moment of Unix and of .NET, and other first and last days of databases and
spreadsheets, which stand for no time."""
_NO_NUMBER: Final = (*(str(2**bits - 1) for bits in (31, 32, 63, 64)), "2147483648", "9223372036854775808")
"""The largest numbers of 32 and 64 bits, and the smallest without their sign, which overflows leave
behind."""


DISGUISED: Final = _disguised()
"""The hashes and UUIDs of words that stand for nothing, in lower case, each with its word."""
