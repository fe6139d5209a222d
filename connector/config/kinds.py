"""The kinds of values that settings have: what each accepts, and how it refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from hashlib import sha256
from typing import TypeVar
from urllib.parse import urlsplit

from connector.amazon.proxy import proxy_problem, proxy_shown
from connector.amazon.rules import DATASET_NAME
from connector.config.declaration import Kind, Refuse
from connector.config.secret import SecretValue
from connector.model import DEDUPE_INPUTS

T = TypeVar("T")

_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {"B": 1, "KB": 1_000, "MB": 1_000_000}
"""Decimal, like the limits that services document: 1 MiB would exceed a limit of 1 MB."""

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
"""Kafka's own rule (org.apache.kafka.common.internals.Topic)."""
_SERVER = re.compile(r"(\w+://)?([^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


def optional(kind: Kind[T]) -> Kind[T | None]:
    """Return the kind of a setting that may be left out; its value is then None."""
    return Kind(kind.type, lambda text, refuse: kind.parse(text, refuse) if text else None, kind.secret, kind.shown)


def properties(library: str) -> Kind[Mapping[str, str]]:
    """Return the kind of a family of variables that are properties of a library."""
    return Kind(f"properties of {library}", lambda *_: {})  # they have no text: `Environment.family` reads them


def secret(problem: Callable[[str], str | None] = lambda _: None) -> Kind[SecretValue]:
    """Return the kind of a secret. ``problem`` must not quote it."""
    kind = text("secret", problem).then(SecretValue)
    return replace(kind, secret=True)


def text(words: str, problem: Callable[[str], str | None] = lambda _: None) -> Kind[str]:
    """Return the kind of a text. ``problem`` returns what is wrong with one; None if nothing is."""

    def parse(text: str, refuse: Refuse) -> str:
        if found := problem(text):
            refuse(found)
        return text

    return Kind(words, parse)


def texts(words: str, problem: Callable[[str], str | None], *, once: bool = False) -> Kind[tuple[str, ...]]:
    """Return the kind of a list of texts, separated by commas.

    With ``once``, no text may come twice.
    """
    words += ", separated by commas"

    def parse(text: str, refuse: Refuse) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        if text and not parts:
            refuse(f"must be {words}, not {text!r}")
        for found in dict.fromkeys(problem(part) for part in parts):
            if found:
                refuse(found)
        if once and len(set(parts)) < len(parts):
            refuse("names one of them twice")
        return parts

    return Kind(words, parse)


def choice(options: Mapping[str, T]) -> Kind[T]:
    """Return the kind that accepts one of several words, in any case, and maps it to a value."""
    *first, last = options
    words = f"{', '.join(first)} or {last}"
    values = {word.lower(): value for word, value in options.items()}
    return _converted(words, lambda text: values.get(text.lower()), next(iter(values.values())), words)


def word(*options: str) -> Kind[str]:
    """Return the kind that accepts one of several words in any case."""
    return choice({option: option for option in options})


def boolean() -> Kind[bool]:
    """Return the kind that accepts true or false."""
    return choice({"true": True, "false": False})


def whole(low: int = 1, high: int = 1_000_000_000) -> Kind[int]:
    """Return the kind of a whole number within limits."""

    def convert(text: str) -> int | None:
        return int(text) if re.fullmatch(r"[0-9]{1,10}", text) and low <= int(text) <= high else None

    return _converted(f"whole number from {low} to {high}", convert, low)


def number(words: str, high: float, *, above_zero: bool = False) -> Kind[float]:
    """Return the kind of a decimal number from 0 to ``high``."""

    def convert(text: str) -> float | None:
        value = float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) else -1
        return value if 0 <= value <= high and (value or not above_zero) else None

    return _converted(words, convert, 1.0)


def milliseconds(low: int = 1, because: str = "") -> Kind[int]:
    """Return the kind of a duration, in milliseconds.

    ``because`` explains an unusual lower limit.
    """
    words = {0: "duration", 1: "duration above zero"}.get(low, f"duration of {low // 1_000}s or more")
    example = f"such as 5m ({because})" if because else "such as 500ms, 30s, 5m, 12h or 7d"
    return _converted(words, lambda text: _measured(text, _MS, low), 1, f"a {words}, {example}")


def seconds(low_ms: int = 1) -> Kind[float]:
    """Return the kind of a duration, in seconds."""
    return milliseconds(low_ms).then(lambda duration: duration / 1_000)


def size() -> Kind[int]:
    """Return the kind of a size, in bytes."""
    must = "a size above zero, such as 900B, 64KB or 1MB (1,000,000 bytes)"
    return _converted("size above zero", lambda text: _measured(text, _BYTES, 1), 1, must)


def _measured(text: str, units: Mapping[str, int], low: int) -> int | None:
    match = re.fullmatch(rf"([0-9]{{1,12}}) ?({'|'.join(units)})", text)
    value = int(match[1]) * units[match[2]] if match else -1
    return value if value >= low else None


def _converted(words: str, convert: Callable[[str], T | None], instead: T, must: str = "") -> Kind[T]:
    """Return the kind of what ``convert`` makes of a text; None refuses the text."""

    def parse(text: str, refuse: Refuse) -> T:
        value = convert(text)
        if value is None:
            refuse(f"must be {must or f'a {words}'}, not {text!r}")
            return instead
        return value

    return Kind(words, parse)


def day() -> Kind[date]:
    """Return the kind of a day."""

    def convert(text: str) -> date | None:
        with suppress(ValueError):
            return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
        return None

    return _converted("day", convert, date(2000, 1, 1), "a day such as 2026-11-05")


def header_problem(text: str) -> str | None:
    """Return why a text cannot be sent in a header of a request; None if it can."""
    if re.fullmatch(r"[!-~]*", text):
        return None
    return "contains spaces or other characters that an HTTP header cannot carry"


def url_problem(text: str) -> str | None:
    """Return why a text is not a URL; None if it is one."""
    if host_of(text) and re.match(r"https?://", text):
        return None
    return "is not a URL of the form https://host or https://host/path"


def _endpoint_problem(text: str) -> str | None:
    extra = "contains a user, a query or a fragment: give only scheme, host and path"
    return url_problem(text) or (extra if re.search(r"[@?#]", text) else None)


def _token_source_problem(text: str) -> str | None:
    if text in ("aws-msk-iam", "gcp-adc") or re.fullmatch("file:/.+", text):
        return None
    return f"must be aws-msk-iam, gcp-adc or file:/path, not {text!r}"


def _server_problem(text: str) -> str | None:
    return None if _SERVER.fullmatch(text) else "is not a list of host:port, separated by commas"


def _data_set_problem(text: str) -> str | None:
    rule = "begin with a letter, and use at most 100 letters, digits, '_' and '-'"
    return None if DATASET_NAME.fullmatch(text) else f"is not a valid data set name: {rule}"


def _field_problem(text: str) -> str | None:
    fields = ", ".join(DEDUPE_INPUTS)
    return None if text in DEDUPE_INPUTS else f"names {text!r}, which cannot identify an event: choose from {fields}"


def topic_problem(text: str) -> str | None:
    """Return why Kafka refuses the name of a topic; None if it does not."""
    rule = "use at most 249 letters, digits, '.', '_' and '-'"
    return None if _TOPIC.fullmatch(text) else f"names {text!r}, which is not a valid Kafka topic name: {rule}"


def _hash(text: str) -> str:
    return f"sha256 {sha256(text.encode()).hexdigest()[:16]}"


def host_of(url: str) -> str:
    """Return the host of a URL; empty if the URL has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


TEXT = text("text")
HEADER = text("text without spaces", header_problem)
ENDPOINT = text("URL", _endpoint_problem).then(lambda url: url.rstrip("/"))
URLS = texts("URLs", url_problem)
SERVERS = texts("host:port", _server_problem).then(",".join)
TOKEN_SOURCE = text("aws-msk-iam, gcp-adc or file:/path", _token_source_problem)
TOPICS = texts("names of topics", topic_problem, once=True)
DATA_SET = text("text", _data_set_problem)
PROXY = replace(secret(lambda text: proxy_problem(text) if text else None), type="URL, secret", shown=proxy_shown)
FILE_TEXT = replace(text("text of a file"), shown=_hash)
FIELDS = texts("names of fields", _field_problem, once=True)
