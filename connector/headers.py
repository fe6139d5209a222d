"""Reads the headers of polled records, so that no header can end the process.

`Shortened` replaces headers that are too large to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, cast

from connector.core.letters import Headers
from connector.ports import Record

__all__ = ["Shortened", "all_headers_of", "headers_of"]

_headers: Callable[[Any], Headers | None] = methodcaller("headers")
_UNREADABLE: Headers = []
"""Replaces the headers of a record if they cannot be read. It is recognised by its identity."""


def headers_of(record: Record) -> Headers | None:
    """Return the headers of a record, in order; None if they cannot be read.

    No other code may ask a record for its headers. If a header's name is not UTF-8, confluent-kafka
    2.16 returns a list with a hole in it, and sets an exception as well. Called through C, as here,
    the call raises. Called as ``record.headers()`` it stops raising once the call is warm, because
    CPython's specialised call does not look for the exception. To touch the hole is a segmentation
    fault. A second call returns the same list without an exception, so the list is replaced here.
    """
    try:
        found = _headers(record)
    except Exception:  # noqa: BLE001 - a SystemError so far; any means unreadable
        cast("Any", record).set_headers(_UNREADABLE)
        return None
    if found is None:
        return ()
    return None if found is _UNREADABLE else found


def all_headers_of(records: Sequence[Record]) -> list[Headers | None]:
    """Return what `headers_of` returns for each record, faster where few records have headers."""
    found: list[Headers | None] = []
    kinds = set[Any](map(type, records))
    # The method of the one class, called through C too, takes a third of the time.
    headers: Callable[[Any], Headers | None] = kinds.pop().headers if len(kinds) == 1 else _headers
    while len(found) < len(records):
        try:
            found += map(headers, records[len(found) :])
        except Exception:  # noqa: BLE001 - as above; what was found before it is in the list
            cast("Any", records[len(found)]).set_headers(_UNREADABLE)
            found.append(_UNREADABLE)
    if found.count(None) == len(found):
        return [()] * len(found)  # nearly always
    return [() if each is None else None if each is _UNREADABLE else each for each in found]


class Shortened(list[tuple[str, bytes | None]]):
    """The headers that the connector reads, in a record whose headers were too large to hold."""
