"""Recognising match keys that are hashed already, in whatever form the digest is written.

A digest that is not recognised would be taken for a name and hashed again, and that hash matches
nobody. Amazon takes SHA-256 (LEG-GO), which is read in every usual notation of its bytes. No other
digest is of use.
"""

from __future__ import annotations

import re
from base64 import b32decode, urlsafe_b64decode
from itertools import pairwise
from typing import Final

__all__ = ["sha256_digits"]


def sha256_digits(text: str) -> str | None:
    """Return the SHA-256 in a text as 64 lower-case hex digits.

    Empty if the text is another digest; None if it is no digest.
    """
    if len(text) > _LONGEST:
        return "" if _ENDLESS_WORD(text) else None
    if len(text) < _SHORTEST:
        return "" if _HELD(text) or _PADDED(text) else None
    bare = text.strip(_AROUND)
    named = _NAMED(bare)
    if _SALTED(bare) or _ENCRYPTED(bare) or (named and "3" in named[0]):  # SHA-3 has digests of the same lengths
        return ""
    if "@" in bare:  # an e-mail address: no notation of a digest has this sign
        return None
    bare = bare[named.end() :].strip(_AROUND) if named else bare
    digits = _BETWEEN.sub("", bare)
    if len(digits) in _HEXADECIMAL and _ARE_HEXADECIMAL(digits):
        return digits.lower() if len(digits) == _SHA256_DIGITS else ""
    read = None
    if " " not in bare:  # neither base64 nor base32 has blanks
        read = _from_base64(_url_safe(bare), named=named is not None)
        if read is None:
            read = _from_base32(bare)
    return "" if read is None and (_holds_a_digest(text) or _PADDED(bare)) else read


_SHORTEST: Final = 22
_LONGEST: Final = 320
"""Characters of the shortest and the longest text looked into: MD5 in base64, and SHA-512 in
hexadecimal digits with signs between and around them."""

_SHA256_DIGITS: Final = 64
_HEXADECIMAL: Final = frozenset({32, 40, 56, _SHA256_DIGITS, 96, 128})
"""Hexadecimal digits of MD5, SHA-1, SHA-224, SHA-256, SHA-384 and SHA-512."""

_AROUND: Final = " \t\r\n\"'`\u2018\u2019\u201c\u201d<>(){}[],;:"
_NAMED: Final = re.compile(
    r"(?:(?:urn:|hash:/*|ni:/*)?"
    r"(?:md[-_ ]?5|sha[-_ ]?(?:[123][-_])?(?:1|2|3|224|256|384|512)?|hash(?:ed)?|base64|hex|digest)"
    r"[\s:=$/|;,~(\[\]{}_-]+|[bhx](?=['\"])|\\+x)+",
    re.IGNORECASE,
).match
_BETWEEN: Final = re.compile(r"(?<!\\)\\+x|0x|[\s:_.,%-]", re.IGNORECASE)
_ARE_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]+").fullmatch
_SALTED: Final = re.compile(
    r"(?:\{?(?:bcrypt|scrypt|argon2\w*|pbkdf2\w*|crypt)\}?[:$]?)?\$[0-9a-z-]+\$|pbkdf2[a-z0-9_-]*[:$]|scrypt:[0-9:]+\$"
    r"|(?:SSHA|SMD5)[0-9]{0,3}\}",
    re.IGNORECASE,
).match
"""Salted hashes, as crypt(3) and web frameworks write them. Nobody else can have the same one."""
_ENCRYPTED: Final = re.compile(
    r"vault:v[0-9]+:|\{cipher\}|\(?ENC[(\[]|(?:enc|encrypted|cipher|ciphertext|aes|rsa|pgp|kms|tink)(?:[-_/][a-z0-9]+)*:"
    r"|arn:aws:kms|-+BEGIN PGP|U2FsdGVkX1|eyJ[A-Za-z0-9_-]+\.",
    re.IGNORECASE,
).match
"""What vaults, libraries and tokens write before encrypted text: HashiCorp Vault, Spring, Jasypt,
OpenPGP, OpenSSL (whose shortest text has as many bytes as a SHA-256), JSON Web Tokens."""
_ENDLESS_WORD: Final = re.compile(r"\S{60}").search
"""A word that long, in a text longer than any digest, is encrypted: RSA makes 344 characters."""


def _url_safe(text: str) -> str:
    """Return base64 of any kind in the alphabet for URLs, on one line."""
    for given, written in (
        ("%2B", "-"),
        ("%2F", "_"),
        ("%3D", "="),
        ("\\u003D", "="),
        ("+", "-"),
        ("/", "_"),
        ("\r", ""),
        ("\n", ""),
    ):
        text = text.replace(given, written).replace(given.lower(), written)
    return text


def _from_base64(text: str, *, named: bool) -> str | None:
    body = text.rstrip("=")
    if not _IS_BASE64(body) or len(body) % 4 == 1:
        return None
    padded = len(text) % 4 == 0 and len(text) > len(body)
    if not (named or padded or _is_scattered(body)):
        return None
    digest = urlsafe_b64decode(body + "=" * (-len(body) % 4))
    if len(digest) in _HEXADECIMAL and _ARE_HEXADECIMAL(digits := digest.decode("latin-1")):
        return digits.lower() if len(digits) == _SHA256_DIGITS else ""
    if 2 * len(digest) not in _HEXADECIMAL:
        # Encrypted, or encoded twice. Nobody is called so.
        return "" if len(digest) > _SHA256_DIGITS // 2 and _is_scattered(body) else None
    return digest.hex() if 2 * len(digest) == _SHA256_DIGITS else ""


def _from_base32(text: str) -> str | None:
    body = text.upper().rstrip("=")
    if len(body) not in _BASE32 or not _IS_BASE32(body) or not (text.endswith("=") or _NUMBER(body)):
        return None
    digest = b32decode(body + "=" * (-len(body) % 8))
    return digest.hex() if 2 * len(digest) == _SHA256_DIGITS else ""


_BASE32: Final = frozenset({26, 32, 52})
"""Base32 characters of MD5, SHA-1 and SHA-256."""
_IS_BASE32: Final = re.compile(r"[A-Z2-7]+").fullmatch
_NUMBER: Final = re.compile(r"[2-7]").search


def _holds_a_digest(text: str) -> bool:
    """Return whether a text holds a digest beside something else: a label, a salt, a file name.

    Such a text is never a person's name.
    """
    return bool(_HELD(_ESCAPED.sub(" ", text)) or _NUMBERS(text) or _LITERAL(text))


_HELD: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:(?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{16}|[0-9A-Fa-f]{32})[0-9A-Fa-f]*(?![0-9A-Za-z])"
).search
"""As many hexadecimal digits as the shortest digest has, or more. If their number is that of no
digest, one was cut short or added to. A checksum has half as many, and both letters and digits."""
_PADDED: Final = re.compile(r"[A-Za-z0-9+/_-]{6,}={1,2}").fullmatch
"""A text in base64. Nobody's name ends so."""
_ESCAPED: Final = re.compile(r"%[2-7][0-9A-Fa-f]|\\u[0-9A-Fa-f]{4}|&[#0-9A-Za-z]{2,6};")
_NUMBERS: Final = re.compile(r"(?:-?[0-9]{1,3},\s?){15}|(?:\b[0-9A-Fa-f]{2}[ :-]){15}").search
"""At least 15 bytes written as an array of numbers, or in pairs of digits behind a label."""
_LITERAL: Final = re.compile(r"(?:\\x[0-9A-Fa-f]{2}[^\\]{0,8}){8}").search
"""At least eight bytes that Python could not write as letters."""

_IS_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def _is_scattered(body: str) -> bool:
    """Return whether capitals, small letters and digits follow each other at random, as in base64.

    Random characters change their kind 64 times in 100. In what people write, kinds come in runs.
    Without "=" at the end, nothing else tells base64 from an address without gaps.
    """
    kinds = [0 if each.islower() else 1 if each.isupper() else 2 for each in body]
    changes = sum(one != other for one, other in pairwise(kinds))
    return changes > _FEW_CHANGES * len(kinds) and {0, 1} <= set(kinds)


_FEW_CHANGES: Final = 0.4
"""Share of changes up to which a text counts as written by people."""
