"""Misnumbers the items of an answer (scenario 35): a good body in, a bad body out. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

__all__ = ["misindexed"]

_Items = list[dict[str, Any]]


def misindexed(body: bytes, name: str, first_index: int) -> bytes | None:
    """Return the body as a fault misnumbers it; None if the fault does something else.

    ``first_index`` is the contract's first number. An answer without items stays as it is.
    """
    change = _CHANGES.get(name)
    if change is None:
        return None
    answer: dict[str, _Items] = orjson.loads(body)
    items = [*answer["success"], *answer["error"]]
    if items:
        change(answer, items, first_index)
    return orjson.dumps(answer)


def _missing(_answer: dict[str, _Items], items: _Items, _first_index: int) -> None:
    del items[0]["index"]


def _doubled(answer: dict[str, _Items], items: _Items, _first_index: int) -> None:
    if len(items) > 1:
        items[1]["index"] = items[0]["index"]
    else:
        for array in answer.values():
            array.extend(list(array))


def _out_of_range(_answer: dict[str, _Items], items: _Items, _first_index: int) -> None:
    items[-1]["index"] += 1000


def _negative(_answer: dict[str, _Items], items: _Items, _first_index: int) -> None:
    items[0]["index"] = -1


def _string(_answer: dict[str, _Items], items: _Items, _first_index: int) -> None:
    for item in items:
        item["index"] = str(item["index"])


def _float(_answer: dict[str, _Items], items: _Items, _first_index: int) -> None:
    for item in items:
        item["index"] = float(item["index"])


def _success_and_error(answer: dict[str, _Items], _items: _Items, first_index: int) -> None:
    for item in answer["success"][:1]:
        error: dict[str, Any] = {"index": item["index"], "errors": [{"code": "BAD_REQUEST", "message": "and yet"}]}
        if first_index == 1:
            error = {"index": item["index"], "httpStatusCode": "400", "subErrors": [{"errorCode": 400}]}
        answer["error"].append(error)


def _more_items(answer: dict[str, _Items], items: _Items, first_index: int) -> None:
    end = first_index + len(items)
    answer["success"] += [{"index": end, "event": None}, {"index": end + 1, "event": None}]


def _other_base(_answer: dict[str, _Items], items: _Items, first_index: int) -> None:
    for item in items:
        item["index"] += 1 - 2 * first_index


_CHANGES: Final[dict[str, Callable[[dict[str, _Items], _Items, int], None]]] = {
    "index_missing": _missing,
    "index_doubled": _doubled,
    "index_out_of_range": _out_of_range,
    "index_negative": _negative,
    "index_string": _string,
    "index_float": _float,
    "success_and_error": _success_and_error,
    "more_items": _more_items,
    "other_base": _other_base,
}
