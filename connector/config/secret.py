"""A secret's value, and how its file is read."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Login", "SecretValue", "content_of", "text_of", "trimmed"]

_AROUND = re.compile(r"\A[\s\ufeff\u200b\u2060]+|[\s\ufeff\u200b\u2060]+\Z")
"""Invisible characters that editors and clipboards add: blanks, line ends, byte order marks."""


def trimmed(text: str) -> str:
    """Return the text without invisible characters at either end."""
    return _AROUND.sub("", text)


_MOST_BYTES = 1_000_000


class NotAPlainFile(OSError):
    """It is a pipe or a device, or larger than any secret: to read it might never end."""


def content_of(path: Path) -> str:
    """Return the content of a secret's file.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it is not UTF-8.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its writer
        raise NotAPlainFile
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise NotAPlainFile
    return content.decode().replace("\r\n", "\n").replace("\r", "\n")


def text_of(read: Callable[[], str]) -> str:
    """Read a secret's file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not UTF-8 text. UTF-16 without a byte order mark often decodes as
            UTF-8, but every second character is then a NUL.
    """
    text = trimmed(read())
    if "\0" in text:
        raise ValueError("the text contains a NUL")
    return text


@dataclass(slots=True)
class SecretValue:
    """A secret.

    A secret from a file can change while the connector runs. ``bool`` tells whether it is set.
    """

    value: str = field(repr=False)
    """The value when it was last read."""
    read: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """Reads the secret's file."""

    def __call__(self) -> str:
        """Return the current value, or the last good one if the file is unreadable or empty."""
        if self.read is not None:
            with suppress(OSError, ValueError):
                self.value = text_of(self.read) or self.value
        return self.value

    def __bool__(self) -> bool:
        return bool(self.value)


class Login:
    """User and password, or one text with both, as of the last reading of their files."""

    def __init__(self, *secrets: SecretValue) -> None:
        self._secrets = secrets
        self.current = tuple(secret.value for secret in secrets)
        """The secrets. A change replaces the tuple, because other threads read it."""

    def look(self) -> bool:
        """Read the files again, and return whether anything changed. Blocks.

        The files are read twice. If they differ between the two readings, they count at the next
        look, so that a new password does not come with the old user.
        """
        found = self._read()
        if found == self.current or found != self._read():
            return False
        self.current = found
        return True

    def _read(self) -> tuple[str, ...]:
        return tuple(secret() for secret in self._secrets)
