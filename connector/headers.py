"""Headers of records as polled: read so that no header ends the process, and shortened where they are too large to hold."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any, cast

from connector.core.letters import Headers
from connector.ports import Record

__all__ = ["Shortened", "headers_of"]

_headers: Callable[[Any], Headers | None] = methodcaller("headers")
_UNREADABLE: Headers = []
"""Stands in a record instead of headers that cannot be read, and is known by its identity."""


def headers_of(record: Record) -> Headers | None:
    """Return the headers of a record, in order; None where they cannot be read.

    No other place asks a record for its headers. Where a name is not UTF-8, confluent-kafka 2.16
    returns a list with a hole in it, and sets an exception beside. Called through C, as here, that
    is an error. Called as ``record.headers()`` it is none once the call is warm: CPython's
    specialised call does not look, and to touch the hole is a segmentation fault. A second call
    returns the same list without an exception, so the list is replaced here.
    """
    try:
        found = _headers(record)
    except Exception:  # noqa: BLE001 - a SystemError; whatever it is, they cannot be read
        cast("Any", record).set_headers(_UNREADABLE)
        return None
    if found is None:
        return ()
    return None if found is _UNREADABLE else found


class Shortened(list[tuple[str, bytes | None]]):
    """Stands in a record instead of headers that were too large to be held: those of them that the connector reads."""
