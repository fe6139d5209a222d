"""Match keys: what is sent as it came, hashed, left out, or refused."""

from __future__ import annotations

from base64 import b32encode, b64encode, urlsafe_b64encode
from hashlib import md5, sha1, sha224, sha384, sha512
from urllib.parse import quote

import orjson
import pytest

from connector.amazon import ads_v1, events_v1
from connector.amazon.ads_v1 import AdsV1
from connector.amazon.digests import sha256_digits
from connector.amazon.events_v1 import EventsV1
from connector.amazon.findings import Adjustment
from connector.amazon.normalisation import PERSONAL
from connector.amazon.rules import Limits
from connector.amazon.vocabulary import ADS_MATCH_KEYS, EVENTS_MATCH_KEYS
from connector.model import Flaw, Reason
from tests.amazon.inputs import a_purchase, digest

HASH = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"


def keys(*given: object, contract: AdsV1 | EventsV1 | None = None) -> list[tuple[str, str]] | Flaw:
    """Return types and values sent for the keys given, or the flaw."""
    payload = (contract or AdsV1("585", "client", "NA")).encode(a_purchase(matchKeys=list(given)), "id")
    if isinstance(payload, Flaw):
        return payload
    return [(key["type"], *key["values"]) for key in orjson.loads(payload)["matchKeys"]]


def key(kind: object, value: object) -> dict[str, object]:
    return {"type": kind, "value": value}


@pytest.mark.parametrize(
    ("hexadecimal", "is_sent"), [("ab" * 32, True), ("AB" * 32, True), ("0" * 64, False), ("a" * 64, False)]
)
def test_a_hash_without_a_digit_but_zero_is_looked_at_closely(hexadecimal: str, is_sent: bool) -> None:
    expected = [("EMAIL", hexadecimal.lower()), ("PHONE", HASH)] if is_sent else [("PHONE", HASH)]
    assert keys(key("EMAIL", hexadecimal), key("PHONE", HASH)) == expected


def test_a_clear_email_address_is_normalised_and_hashed() -> None:
    # printf %s jodoe@example.com | sha256sum
    assert keys(key("EMAIL", " Jo_Doe@Example.com ")) == [("EMAIL", digest("jodoe@example.com"))]
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def test_a_hash_goes_as_it_came_in_small_letters_and_without_blanks() -> None:
    assert keys(key("EMAIL", HASH.upper()), key("PHONE", f" {HASH}\n")) == [("EMAIL", HASH), ("PHONE", HASH)]


def test_what_is_not_quite_a_hash_is_not_taken_for_one() -> None:
    almost = HASH[:-1] + "g"
    assert keys(key("CITY", almost)) == [("CITY", digest(almost))]


def test_every_personal_type_in_clear_is_normalised_for_the_events_country_and_hashed() -> None:
    clear = {
        "EMAIL": ("Jo_Doe@Example.com", "jodoe@example.com"),
        "PHONE": ("030 1234567", "49301234567"),
        "FIRST_NAME": ("Jörg", "joerg"),
        "LAST_NAME": ("O'Neil-Weiß", "oneilweiss"),
        "ADDRESS": ("Lange Str. 12-a", "langest12a"),
        "CITY": ("Köln", "kln"),
        "STATE": ("Bavaria", "by"),
        "POSTAL": ("D-50667", "50667"),
    }
    sent = keys(*(key(kind, f" {given} ") for kind, (given, _) in clear.items()))
    assert sent == [(kind, digest(normal)) for kind, (_, normal) in clear.items()]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("MAID", "1F7C2c1e-7f0a-4f55-9a43-0f2d8a6b9e10"),
        ("RAMP_ID", "XY1001x_-Z"),
        ("MATCH_ID", "loyalty4711"),
        ("REAL_ID", "Re/al=="),
        ("MERKLE_ID", "m 1"),
        ("KANTAR_ID", "k.1"),
        ("FIP", "203.0.113.9"),
        ("FIP", "2001:db8::1"),
    ],
)
def test_raw_types_go_as_they_came(kind: str, value: str) -> None:
    assert keys(key(kind, value)) == [(kind, value)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("EMAIL", "+++"),
        ("EMAIL", None),
        ("PHONE", " "),
        ("PHONE", "+++"),
        ("PHONE", "12"),
        ("FIRST_NAME", "..."),
        ("LAST_NAME", "山田"),
        ("ADDRESS", "-"),
        ("CITY", "東京"),
        ("STATE", "42"),
        ("POSTAL", "1234"),
        ("ADDRESS", "x" * 1025),
        ("MAID", " "),
        ("MATCH_ID", "has blank"),
        ("MATCH_ID", "x" * 101),
        ("FIP", "10.0.0"),
        ("FIP", "fe80::1%eth0"),
    ],
)
def test_a_key_that_is_nothing_to_match_by_is_left_out_and_an_event_without_one_is_refused(kind: str, value: object) -> None:
    contract = AdsV1("585", "client", "NA")
    assert keys(key("EMAIL", HASH), key(kind, value), contract=contract) == [("EMAIL", HASH)]
    assert contract.adjustments[Adjustment.MATCH_KEY_LEFT_OUT] == 1
    assert keys(key(kind, value)) == Flaw(Reason.NO_MATCH_KEY, "matchKeys: none is left that Amazon could match by")


def test_a_type_that_only_the_other_contract_has_is_left_out() -> None:
    given = [key("EMAIL", HASH), key("FIP", "203.0.113.9")]
    assert keys(*given, contract=EventsV1("585", "client", "NA")) == [("EMAIL", HASH)]


def test_a_key_that_equals_another_once_hashed_is_left_out() -> None:
    contract = AdsV1("585", "client", "NA")
    clear = "jodoe@example.com"
    given = [key("EMAIL", clear), key("EMAIL", f" {clear.upper()}"), key("EMAIL", digest(clear)), key("EMAIL", HASH)]
    assert keys(*given, contract=contract) == [("EMAIL", digest(clear)), ("EMAIL", HASH)]
    assert contract.adjustments[Adjustment.MATCH_KEY_LEFT_OUT] == 2


@pytest.mark.parametrize(("kind", "most"), [(AdsV1, 15), (EventsV1, 11)])
def test_keys_beyond_the_contracts_limit_are_left_out_the_first_of_each_type_last(
    kind: type[AdsV1 | EventsV1], most: int
) -> None:
    contract = kind("585", "client", "NA")
    many = [key("EMAIL", digest(f"{number}")) for number in range(20)]
    sent = keys(*many, key("MAID", "m"), key("MAID", "n"), key("CITY", HASH), contract=contract)
    assert sent == [("EMAIL", digest(f"{number}")) for number in range(most - 2)] + [("MAID", "m"), ("CITY", HASH)]
    assert contract.adjustments[Adjustment.MATCH_KEY_LEFT_OUT] == 23 - most


@pytest.mark.parametrize(
    ("limits", "types"), [(ads_v1._LIMITS, ADS_MATCH_KEYS), (events_v1._LIMITS, EVENTS_MATCH_KEYS)], ids=["ads", "events"]
)
def test_there_is_room_for_one_key_of_each_type(limits: Limits, types: frozenset[str]) -> None:
    assert limits.match_key_types == types
    assert limits.most_match_keys >= len(types)


def test_types_are_taken_in_any_spelling_and_values_in_the_wires_own_shape() -> None:
    assert keys(key("first name", HASH), {"type": "Email", "values": [HASH]}) == [("FIRST_NAME", HASH), ("EMAIL", HASH)]


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ("EMAIL", "matchKeys[0]: not a record of type and value"),
        (key("E-POST", HASH), "matchKeys[0].type: not one of Amazon's match key types"),
        (key(None, HASH), "matchKeys[0].type: not one of Amazon's match key types"),
        (key(["EMAIL"], HASH), "matchKeys[0].type: not one of Amazon's match key types"),
        (key("EMAIL", 7), "matchKeys[0].value: not a string"),
        ({"type": "EMAIL", "values": [HASH, HASH]}, "matchKeys[0].value: not a string"),
    ],
)
def test_a_key_that_cannot_be_read_is_a_broken_rule(given: object, detail: str) -> None:
    assert keys(given) == Flaw(Reason.INVALID_FIELD, detail)


NOBODY_LEFT = Flaw(Reason.NO_MATCH_KEY, "matchKeys: none is left that Amazon could match by")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("MAID", "00000000-0000-0000-0000-000000000000"),
        ("MAID", "00000000000000000000000000000000"),
        ("MAID", "%%ADVERTISING_IDENTIFIER_PLAIN%%"),
        ("MAID", digest("00000000-0000-0000-0000-000000000000")),
        ("RAMP_ID", "undefined"),
        ("RAMP_ID", "{{ramp_id}}"),
        ("MATCH_ID", "null"),
        ("REAL_ID", "[object Object]"),
        ("MERKLE_ID", "\u200b"),
        ("KANTAR_ID", "N/A"),
        ("FIP", "0.0.0.0"),
        *(
            (kind, digest(nothing))
            for kind in ("EMAIL", "PHONE", "FIRST_NAME", "CITY")
            for nothing in ("", " ", "null", "undefined")
        ),
        ("EMAIL", digest("none").upper()),
        ("EMAIL", b64encode(bytes.fromhex(digest("null"))).decode()),
        ("POSTAL", f"sha256:{digest('')}"),
        ("EMAIL", "undefined@example.com"),
        ("EMAIL", "null"),
        ("PHONE", "0000000000"),
        ("PHONE", "+1 000 000 0000"),
        ("FIRST_NAME", "undefined"),
        ("LAST_NAME", "NULL"),
        ("ADDRESS", "null, null"),
        ("CITY", "{{city}}"),
        ("STATE", "N/A"),
        ("POSTAL", "00000"),
        ("POSTAL", "00000-0000"),
        ("PHONE", "000-000-0000"),
        ("EMAIL", "j*@example.com"),
        ("EMAIL", "j***@example.com"),
        ("EMAIL", "****oe@example.com"),
        ("EMAIL", "j\u2022\u2022@example.com"),
        ("EMAIL", "j...@example.com"),
        ("EMAIL", "Jo Doe <j*e@example.com>"),
        ("EMAIL", "jo@ex***le.com"),
        ("PHONE", "+49 151 ****5678"),
        ("PHONE", "+49151XXXX5678"),
        ("PHONE", "(415) xxx-2671"),
        ("FIRST_NAME", "J***"),
        ("LAST_NAME", "D\u25cf\u25cf"),
        ("ADDRESS", "L**** Str. 12"),
        ("CITY", "M***n"),
        ("STATE", "B****"),
        ("MAID", "********-****-****-****-000102030405"),
        ("MAID", "12345678-1234-1234-1234-123456789012"),
        ("MAID", "opted_out"),
        ("RAMP_ID", "jo@example.com"),
        ("KANTAR_ID", "+49 151 12345678"),
        ("REAL_ID", "re\ufffdal"),
        ("EMAIL", "jo@undefined"),
        ("EMAIL", "null@null.null"),
        ("EMAIL", "anonymous@example.com"),
        ("EMAIL", "[B@6d06d69c"),
        ("EMAIL", "jo@example.com, ann@example.com"),
        ("EMAIL", "Jo <jo@example.com>, Ann <ann@example.com>"),
        ("EMAIL", '["jo@example.com","ann@example.com"]'),
        ("EMAIL", "https://jo:secret@example.com/path"),
        ("PHONE", "111111111"),
        ("PHONE", "123-456-7890"),
        ("PHONE", "+49 151 ...5678"),
        ("PHONE", "+49 151 ---5678"),
        ("PHONE", "+49 151 12345__"),
        ("PHONE", "+49 151 NNN5678"),
        ("FIRST_NAME", "unbekannt"),
        ("FIRST_NAME", "First Name"),
        ("LAST_NAME", "Non renseigné"),
        ("LAST_NAME", "M?ller"),
        ("LAST_NAME", "M\ufffdller"),
        ("LAST_NAME", "M%FCller"),
        ("LAST_NAME", "M____"),
        ("LAST_NAME", "Mül..."),
        ("CITY", "M\u25a0\u25a0n"),
        ("CITY", "keine Angabe"),
        ("ADDRESS", "Main Street undefined"),
        ("STATE", "None"),
        ("STATE", "NaN"),
        ("STATE", "8cdc1683"),
        ("POSTAL", "8cdc1683"),
        ("POSTAL", "12 Main St, 94105"),
        ("POSTAL", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ],
)
def test_a_key_that_stands_for_nobody_is_left_out_and_counted_and_alone_is_none(kind: str, value: str) -> None:
    contract = AdsV1("585", "client", "NA")
    assert keys(key("EMAIL", HASH), key(kind, value), contract=contract) == [("EMAIL", HASH)]
    assert contract.adjustments[Adjustment.MATCH_KEY_LEFT_OUT] == 1
    assert keys(key(kind, value)) == NOBODY_LEFT


@pytest.mark.parametrize(
    ("kind", "value", "country", "clear"),
    [
        ("STATE", "Nancy", "BR", "nancy"),
        ("CITY", "Leer", "DE", "leer"),
        ("FIRST_NAME", "J.", "DE", "j"),
        ("ADDRESS", "'s-Gravenweg 5", "NL", "'s-gravenweg5"),
        ("PHONE", "8888888888", "IN", "918888888888"),
        ("LAST_NAME", "Nil", "DE", "nil"),
        ("FIRST_NAME", "Nan", "DE", "nan"),
        ("CITY", "None", "IT", "none"),
        ("STATE", "NA", "IT", "na"),
        ("EMAIL", "nil@example.com", "DE", "nil@example.com"),
        ("ADDRESS", "[Rear] Main Street", "US", "rearmainst"),
    ],
)
def test_names_that_look_like_nothing_are_names(kind: str, value: str, country: str, clear: str) -> None:
    payload = AdsV1("585", "client", "NA").encode(a_purchase(matchKeys=[key(kind, value)], countryCode=country), "id")
    assert isinstance(payload, bytes)
    assert orjson.loads(payload)["matchKeys"] == [{"type": kind, "values": [digest(clear)]}]


BYTES = bytes.fromhex(HASH)
PAIRS = [HASH[at : at + 2] for at in range(0, 64, 2)]
SHA256_FORMS = [
    HASH.upper(),
    f'"{HASH}"',
    f"sha256:{HASH}",
    f"SHA-256 = {HASH.upper()}",
    f"sha256({HASH})",
    f"urn:sha256:{HASH}",
    f"0x{HASH}",
    f"\\x{HASH}",
    f"b'{HASH}'",
    ":".join(PAIRS),
    "-".join(PAIRS).upper(),
    " ".join(PAIRS),
    b64encode(BYTES).decode(),
    b64encode(BYTES).decode().rstrip("="),
    urlsafe_b64encode(BYTES).decode(),
    urlsafe_b64encode(BYTES).decode().rstrip("="),
    f"{{SHA256}}{b64encode(BYTES).decode()}",
    f"sha256-{b64encode(BYTES).decode()}",
    f"sha-256=:{b64encode(BYTES).decode()}:",
    f"ni:///sha-256;{urlsafe_b64encode(BYTES).decode().rstrip('=')}",
    quote(b64encode(BYTES).decode(), safe=""),
    b64encode(HASH.encode()).decode(),
    f"\ufeff{HASH}\u200b",
    f"0X{HASH}",
    f"{HASH}  -\n",
    f"hashed:{HASH}",
    f"sha_256|{HASH}",
    f"[sha256]{HASH}",
    ", ".join(f"0x{pair}" for pair in PAIRS),
    "%" + "%".join(PAIRS),
    b64encode(BYTES).decode().replace("=", "\\u003d"),
    b32encode(BYTES).decode(),
    b32encode(BYTES).decode().rstrip("=").lower(),
]
OTHER_DIGESTS = (
    [
        form
        for algorithm in (md5, sha1, sha224, sha384, sha512)
        for digest in [algorithm(b"jo@example.com")]
        for form in (
            digest.hexdigest(),
            digest.hexdigest().upper(),
            f'"{digest.hexdigest()}"',
            f"{digest.name}:{digest.hexdigest()}",
            b64encode(digest.digest()).decode(),
            urlsafe_b64encode(digest.digest()).decode().rstrip("="),
            b64encode(digest.hexdigest().encode()).decode(),
        )
    ]
    + [
        "3F2504E0-4F89-41D3-9A0C-0305E82C3301",
        "$2b$12$KIXQfE6vXl1pY0m6a3b1uO8q1Qq8f4mC6m7mQx0zq2m8o1s3b5d7e",
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
        "pbkdf2_sha256$260000$salt$aGFzaA=",
        f"scrypt:32768:8:1$salt${HASH}",
        "{SSHA}vXPTV1nXXMIVFQ0bvJTxsQeL7gFzYWx0",
        f"sha3-256:{HASH}",
        f"hmac-sha256:{HASH}",
        f"salt:{HASH}",
        f"{HASH}:salt",
        f"%22{HASH}%22",
        f"&quot;{HASH}&quot;",
        f'{{"email": "{HASH}"}}',
        b32encode(BYTES[:16]).decode(),
        str(list(BYTES)),
        HASH[:-1],  # cut
        HASH[:16],
        HASH[:20].upper(),
        b64encode("Jörg".encode()).decode(),
        f"SHA256 Fingerprint={':'.join(PAIRS).upper()}",
        f"<Buffer {' '.join(PAIRS)}>",
        "ENC[AES256_GCM,data:4Fgh,iv:x0,tag:7w,type:str]",
        HASH + "0",
        f"1220{HASH}",  # with the prefix of a multihash
        b64encode(BYTES).hex(),
        b64encode(b64encode(BYTES)).decode(),
        b64encode(sha512(b"key").digest()[:48] + BYTES[:16] + b"+").decode(),  # encrypted, as it seems
        b64encode(b"Salted__" + BYTES[:24]).decode(),  # encrypted by OpenSSL, as long as a SHA-256
        b64encode(BYTES * 8).decode(),  # encrypted by RSA
        "\n".join([b64encode(BYTES * 2).decode()] * 6),
        f"vault:v1:{b64encode(BYTES + b'+').decode()}",
        f"ENC({b64encode(BYTES[:24]).decode()})",
        f"{{cipher}}{HASH}",
        f"AES-256-GCM:{b64encode(BYTES).decode()}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqbyJ9.{urlsafe_b64encode(BYTES).decode()}",
        "-----BEGIN PGP MESSAGE-----",
        str(BYTES),
    ]
)


@pytest.mark.parametrize("kind", sorted(PERSONAL))
def test_sha256_is_read_in_any_form_and_any_other_digest_is_left_out(kind: str) -> None:
    for form in SHA256_FORMS:
        assert keys(key(kind, form)) == [(kind, HASH)], form
    for form in OTHER_DIGESTS:
        contract = AdsV1("585", "client", "NA")
        assert keys(key(kind, form), contract=contract) == NOBODY_LEFT, form
        assert keys(key("MAID", "m"), key(kind, form), contract=contract) == [("MAID", "m")]
        assert contract.adjustments[Adjustment.MATCH_KEY_LEFT_OUT] == 1


@pytest.mark.parametrize(
    "name",
    [
        "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
        "Krung Thep Maha Nakhon Amon Rattanakosin Mahinthara",
        "Wolfeschlegelsteinhausenbergerdorff",
        "McDonaldMacLeodOBrienVanDerBergh",
        "123NorthMainStreetApt4B",
        "12GrandeRueDuFaubourgSt",
        "1600 Pennsylvania Avenue NW, Washington",
        "Dead Beef Cafe, Facade 4",
        "d41d8cd98f00b204e9800998ecf8427e@example.com",
        "Ada",
    ],
)
def test_no_name_is_taken_for_a_digest(name: str) -> None:
    assert sha256_digits(name) is None


def test_more_keys_than_anybody_means_are_a_broken_rule() -> None:
    assert keys(*[key("EMAIL", HASH)] * 101) == Flaw(Reason.INVALID_FIELD, "matchKeys: more than 100")
    assert keys(*[key("EMAIL", HASH)] * 100) == [("EMAIL", HASH)]


@pytest.mark.parametrize(
    ("kind", "value", "country", "clear"),
    [
        ("EMAIL", "Jo Doe <Jo@Example.com>", "DE", "jo@example.com"),
        ("EMAIL", '"Doe, Jo (VIP) @ work" <jo@example.com>;', "DE", "jo@example.com"),
        ("EMAIL", "<jo@example.com>", "DE", "jo@example.com"),
        ("EMAIL", "Jörg <joerg@example.com>", "DE", "joerg@example.com"),
        ("EMAIL", "mailto:jo@example.com", "DE", "jo@example.com"),
        ("EMAIL", "MailTo: jo%2Bshop@example.com?subject=Hi%20Jo", "DE", "joshop@example.com"),
        ("EMAIL", "Jo <mailto:jo@example.com>", "DE", "jo@example.com"),
        ("EMAIL", "jo@example.com (Jo Doe)", "DE", "jo@example.com"),
        ("EMAIL", "smtp:jo@example.com", "DE", "jo@example.com"),
        ("EMAIL", "Jo Doe [mailto:jo@example.com]", "DE", "jo@example.com"),
        ("EMAIL", "Jo Doe [jo@example.com]", "DE", "jo@example.com"),
        ("EMAIL", "Jo Doe (jo@example.com)", "DE", "jo@example.com"),
        ("EMAIL", "Jo Doe &lt;jo@example.com&gt;", "DE", "jo@example.com"),
        ("EMAIL", "mailto:Jo%20%3Cjo@example.com%3E", "DE", "jo@example.com"),
        ("EMAIL", '<a href="mailto:jo@example.com">Jo Doe</a>', "DE", "jo@example.com"),
        ("EMAIL", "jo@example.com, Jo Doe", "DE", "jo@example.com"),
        ("EMAIL", "jo@example.com|Jo", "DE", "jo@example.com"),
        ("EMAIL", "jo@example.com Jo Doe", "DE", ""),
        ("EMAIL", "Jo <jo@example.com", "DE", "jo@example.com"),
        ("EMAIL", "email=jo@example.com", "DE", "jo@example.com"),
        ("EMAIL", "sip:jo@example.com", "DE", "jo@example.com"),
        ("EMAIL", "bounce-jo=example.com@list.example", "DE", "bounce-joexample.com@list.example"),
        ("EMAIL", "jo{x}@example.com", "DE", "jox@example.com"),
        ("EMAIL", "jo@[192.0.2.1]", "DE", "jo@192.0.2.1"),
        ("EMAIL", "jo @ exam ple.com", "DE", "jo@example.com"),
        ("EMAIL", "jo%40example.com", "DE", "jo@example.com"),
        ("EMAIL", "jo%2Bshop@example.com", "DE", "joshop@example.com"),
        ("EMAIL", "mailto%3Ajo@example.com", "DE", "jo@example.com"),
        ("EMAIL", "m%C3%BCller@example.de", "DE", ""),
        ("EMAIL", "m%FCller@example.de", "DE", ""),
        ("EMAIL", "m\u0304a@example.de", "DE", ""),
        ("EMAIL", "İ@example.com", "DE", ""),
        ("EMAIL", "Jo Doe jo@example.com", "DE", ""),
        ("EMAIL", '"jo doe"@example.com', "DE", "jodoe@example.com"),
        ("EMAIL", "jo@example.com?subject=Hi", "DE", "jo@example.com"),
        ("EMAIL", "jo@example.com\\n", "DE", "jo@example.com"),
        ("EMAIL", "jo@example.com/", "DE", "jo@example.com"),
        ("EMAIL", "jo@example,com", "DE", ""),
        ("EMAIL", "a@b", "DE", "a@b"),
        ("EMAIL", "jo@localhost", "DE", "jo@localhost"),
        ("EMAIL", "müller@example.de", "DE", ""),
        ("EMAIL", "иван7@example.ru", "DE", ""),  # noqa: RUF001 - Cyrillic is meant
        ("EMAIL", "用户1@example.cn", "DE", ""),
        ("EMAIL", "jo@bücher.example", "DE", ""),
        ("EMAIL", "jo@example。com", "JP", "jo@example.com"),
        ("EMAIL", "Ｊｏ＠ｅｘａｍｐｌｅ．ｃｏｍ", "JP", "jo@example.com"),  # noqa: RUF001 - full width is meant
        ("EMAIL", "Jo... <jo@example.com>", "DE", "jo@example.com"),
        ("LAST_NAME", "Künstler*in", "DE", "kuenstlerin"),
        ("POSTAL", "2360.0", "AU", "2360"),
        ("POSTAL", "2360,0", "AU", "2360"),
        ("POSTAL", "94105.00", "US", "94105"),
        ("POSTAL", "1012.5", "NL", "10125"),
        ("POSTAL", "2360.0000", "AU", "2360"),
        ("POSTAL", "2360.000", "AU", "2360"),
        ("POSTAL", "12,000", "KR", "12000"),
        ("POSTAL", "9.7201E4", "US", "97201"),
        ("POSTAL", "9.72E+04", "US", ""),
        ("POSTAL", "2.36E+03", "AU", ""),
        ("PHONE", "4.155552671E9", "US", "14155552671"),
        ("PHONE", "4.91511E+12", "DE", ""),
        ("PHONE", "4915112345678.0", "DE", "4915112345678"),
        ("CITY", "\u200bMünchen\u00a0", "DE", "mnchen"),
        ("EMAIL", "jo@example.com <JO@EXAMPLE.COM>", "DE", "jo@example.com"),
        ("EMAIL", "[jo@example.com](mailto:jo@example.com?cc=ann@example.com)", "DE", "jo@example.com"),
        ("LAST_NAME", "M%C3%BCller", "DE", "mueller"),
        ("LAST_NAME", "M&uuml;ller", "DE", "mueller"),
        ("LAST_NAME", "M\\u00fcller\\ud83d\\ude00", "DE", "mueller"),
        ("CITY", "Bad+M%C3%BCnder", "DE", "badmnder"),
        ("STATE", "Baden%2DW%C3%BCrttemberg", "AT", "badenwrttemberg"),
        ("ADDRESS", "Lange%20Stra%C3%9Fe 12", "DE", "langestrasse12"),
        ("ADDRESS", '["12 Main St"]', "US", "12mainst"),
        ("ADDRESS", '="12 Main St"', "US", "12mainst"),
        ("ADDRESS", "'12 Main St", "US", "12mainst"),
        ("POSTAL", "１００ー０００１", "JP", "1000001"),
        ("POSTAL", "१١٠००१", "IN", "110001"),
        ("POSTAL", "١٢٣٤٥", "SA", "12345"),
        ("POSTAL", "75008 CEDEX 08", "FR", "75008"),
        ("PHONE", "0061 412 345 678", "AU", "61412345678"),
        ("PHONE", "005511961234567", "BR", "5511961234567"),
        ("PHONE", "001 415 555 2671", "US", "14155552671"),
        ("PHONE", "0011 49 151 12345678", "AU", "4915112345678"),
        ("ADDRESS", "\ufeffLange Str. 12\u200b", "DE", "langest12"),
    ],
)
def test_what_tools_put_around_a_value_is_cut_off(kind: str, value: str, country: str, clear: str) -> None:
    payload = AdsV1("585", "client", "NA").encode(a_purchase(matchKeys=[key(kind, value)], countryCode=country), "id")
    if not clear:
        assert payload == NOBODY_LEFT
    else:
        assert isinstance(payload, bytes)
        assert orjson.loads(payload)["matchKeys"] == [{"type": kind, "values": [digest(clear)]}]


def test_raw_keys_go_without_what_surrounds_them() -> None:
    maid = "1f7c2c1e-7f0a-4f55-9a43-0f2d8a6b9e10"
    assert keys(key("RAMP_ID", "\ufeff XY1 \u200b")) == [("RAMP_ID", "XY1")]
    for around in ("{{{}}}", '"{}"', '"{{{}}}"', "'{}'"):
        assert keys(key("MAID", around.format(maid))) == [("MAID", maid)]
