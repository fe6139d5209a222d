"""Digests in the forms that they come in, so that none is taken for a name and hashed again: such a hash matches nobody.

Amazon takes SHA-256 (LEG-GO), which is read from every usual way to write its bytes. No other digest is of use.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from itertools import pairwise
from typing import Final

__all__ = ["sha256_digits"]


def sha256_digits(text: str) -> str | None:
    """Return the 64 hexadecimal digits that a text stands for, in small letters; empty for another digest, None for none."""
    if not _SHORTEST <= len(text) <= _LONGEST:
        return None
    bare = text.strip(_AROUND)
    if _SALTED(bare):
        return ""
    named = _NAMED(bare)
    bare = bare[named.end() :].strip(_AROUND) if named else bare
    digits = _BETWEEN.sub("", bare.removeprefix("0x"))
    if len(digits) in _HEXADECIMAL and _ARE_HEXADECIMAL(digits):
        return digits.lower() if len(digits) == _SHA256_DIGITS else ""
    return _from_base64(_url_safe(bare), named=named is not None)


_SHORTEST: Final = 22
_LONGEST: Final = 320
"""Characters: of MD5 in base64, and of SHA-512 in hexadecimal digits with something between them and around."""

_SHA256_DIGITS: Final = 64
_HEXADECIMAL: Final = frozenset({32, 40, 56, _SHA256_DIGITS, 96, 128})
"""Digits of MD5, SHA-1, SHA-224, SHA-256, SHA-384 and SHA-512."""

_AROUND: Final = " \t\r\n\"'`\u2018\u2019\u201c\u201d<>(){}[],;"
_NAMED: Final = re.compile(
    r"(?:(?:urn:|hash:/*)?(?:md-?5|sha-?(?:[123]-)?(?:1|2|3|224|256|384|512)?|base64|hex|digest)[\s:=$/(\[{}_-]+|[bx](?=['\"])|\\+x)+",
    re.IGNORECASE,
).match
_BETWEEN: Final = re.compile(r"\\+x|[\s:_.,-]")
_ARE_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]+").fullmatch
_SALTED: Final = re.compile(
    r"(?:\{?(?:bcrypt|scrypt|argon2\w*|pbkdf2\w*|crypt)\}?[:$]?)?\$[0-9a-z-]+\$|pbkdf2[a-z0-9_-]*[:$]"
).match
"""What crypt(3) and web frameworks write: with a salt, so that nobody else can have the same."""


def _url_safe(text: str) -> str:
    """Write base64 of any kind in its alphabet for URLs, on one line."""
    for given, written in (("%2B", "-"), ("%2F", "_"), ("%3D", "="), ("+", "-"), ("/", "_"), ("\r", ""), ("\n", "")):
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
        return None
    return digest.hex() if 2 * len(digest) == _SHA256_DIGITS else ""


_IS_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def _is_scattered(body: str) -> bool:
    """Say whether capitals, small letters and digits follow each other as by chance: 64 in 100 times they then change.

    In what people write they come in runs. Without "=" at its end nothing else tells base64 from an address without gaps.
    """
    kinds = [0 if each.islower() else 1 if each.isupper() else 2 for each in body]
    changes = sum(one != other for one, other in pairwise(kinds))
    return changes > _FEW_CHANGES * len(kinds) and {0, 1} <= set(kinds)


_FEW_CHANGES: Final = 0.4
