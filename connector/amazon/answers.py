"""Reading Amazon's answers: one verdict an event, or why the request as a whole has none.

Total: any status, any headers, any bytes have a reading. The rule behind every choice is the connector's one asymmetry: to
think an event undelivered costs a second send, to think it delivered that was not loses it
(docs/how-it-works.md#the-guarantee). So

* *delivered* is said only of an event whose number stands in ``success`` and nowhere in ``error``;
* an event in both is judged by the error: rejected keeps a copy, as a dead letter;
* an event refused for the account, and for nothing that it holds, is to be tried again until an operator has fixed that;
  where every event is, so is the request;
* an event in neither, or an answer that cannot be read, has no verdict: it may have been taken, and is sent again as it was;
* numbers that only the other contract's counting explains (TRACK reads ``events/v1`` from 0) are read that way when they are
  complete, and then mean one thing only; incomplete, only what both countings say alike of an event is believed.

What is quoted of an answer are Amazon's codes and field paths, by shape: its messages may repeat values of the event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from connector.model import DELIVERED, NO_VERDICT, Answer, Failure, RequestFailed, Verdict, VerdictKind, Verdicts

__all__ = ["failed_request", "header", "read_answer", "retry_after_seconds"]


def read_answer(status: int, headers: Mapping[str, str], body: bytes, count: int, *, first_index: int) -> Answer:
    """Read the answer to a request of ``count`` events that are numbered from ``first_index``, which is 0 or 1."""
    if not 200 <= status < 300:
        return failed_request(status, headers, body)
    anomalies = dict.fromkeys(_oddities(status, headers, body))
    answer = _parsed(body)
    if not isinstance(answer, dict) or not (_ITEMS & answer.keys()):
        anomalies["body-unreadable" if body else "body-empty"] = None
        return Verdicts([NO_VERDICT] * count, status, tuple(anomalies))
    delivered = [index for index, _ in _items(answer, "success", anomalies)]
    errors = list(_items(answer, "error", anomalies))
    first = _counted_from(delivered + [index for index, _ in errors], count, first_index, anomalies)
    account = [] if delivered else [_judged(item).account for _, item in errors]
    if account and all(account):
        return _all_refused(status, account, tuple(anomalies))
    if first is not None:
        return Verdicts(_verdicts(delivered, errors, count, first, anomalies), status, tuple(anomalies))
    ours, theirs = (_verdicts(delivered, errors, count, counting, {}) for counting in (first_index, 1 - first_index))
    agreed = [one if one.kind is other.kind else NO_VERDICT for one, other in zip(ours, theirs, strict=True)]
    return Verdicts(agreed, status, tuple(anomalies))


def failed_request(status: int, headers: Mapping[str, str], body: bytes) -> RequestFailed:
    """Read an answer that is not of the 2xx kind: whose fault it is, by its status alone."""
    answer = _parsed(body)
    code = _code(answer.get("code")) if isinstance(answer, dict) else None
    failure = _FAILURES.get(status)
    of_account = _account_advice(code) if code and failure is Failure.REFUSED else None
    if of_account:
        failure = Failure.OPERATOR
    elif failure is None:
        # A last answer of the 1xx kind (a switch of protocols that nobody asked for) is none of HTTP's.
        failure = Failure.UNREADABLE if status < 200 else Failure.OPERATOR if status < 500 else Failure.TRANSIENT
    detail = f"Amazon answered {status}" + (f" {code}" if code else "")
    redirect = "a redirect is never followed: check AMAZON_BASE_URL" if 300 <= status < 400 else ""
    if advice := of_account or _ADVICE.get(status, redirect):
        detail = f"{detail}; {advice}"
    return RequestFailed(failure, f"http-{status}", retry_after_seconds(headers), status, detail)


def _all_refused(status: int, account: list[str], anomalies: tuple[str, ...]) -> RequestFailed:
    if all(each.endswith(_ADVICE[403]) for each in account):
        reason, detail = "credentials", f"refused every event for its credentials; {_ADVICE[403]}"
    else:
        reason, detail = "account", f"refused every event: {account[0]}"
    said = f"Amazon answered {status} and {detail}"
    return RequestFailed(Failure.OPERATOR, reason, None, status, said, anomalies, account[0])


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header by its lower-case name, empty if there is none."""
    return next((value for key, value in headers.items() if key.lower() == name), "")


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the wait asked for, in seconds, at most an hour; None without one that can be read.

    A date is read against the answer's own ``Date``, so that no clock of ours is believed. Garbage and the past are ignored.
    """
    text = header(headers, "retry-after").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MOST_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(header(headers, "date"))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(wait.total_seconds(), MOST_RETRY_AFTER) if wait.total_seconds() >= 0 else None


MOST_RETRY_AFTER: Final = 3600.0
"""Seconds: a wrong header must not stop the connector for a day; asking once an hour harms nobody."""

_FAILURES: Final = {
    # A wrong account id does (AMZ-CA README), and one bad event may: that is unknown (docs/amazon-contract.md#unknown).
    400: Failure.REFUSED,
    408: Failure.TRANSIENT,
    409: Failure.TRANSIENT,  # OAS CONFLICT: "please retry"
    413: Failure.TOO_LARGE,
    422: Failure.REFUSED,
    425: Failure.TRANSIENT,
    429: Failure.THROTTLED,
}
"""Statuses whose class does not say it all. Other 3xx and 4xx need an operator, all else passes (AMZ-DOCS rate-limiting)."""

_ADVICE: Final = {
    400: "check AMAZON_ACCOUNT_ID and AMAZON_DATASET_NAME",  # AMZ-CA README
    401: "check AMAZON_CLIENT_ID, AMAZON_CLIENT_SECRET and AMAZON_REFRESH_TOKEN, or AMAZON_ACCESS_TOKEN",
    403: "the account needs the permission event_manager_edit, and AMAZON_ACCOUNT_ID must be the advertiser's",
    404: "check AMAZON_API, AMAZON_REGION and AMAZON_BASE_URL",
    407: "a proxy asks for credentials",
    410: "check AMAZON_API, AMAZON_REGION and AMAZON_BASE_URL",
    415: "check AMAZON_API and AMAZON_BASE_URL",
}

_ITEMS: Final = frozenset({"success", "error"})
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        return None


def _oddities(status: int, headers: Mapping[str, str], body: bytes) -> Iterator[str]:
    if status != 207:
        yield "status"
    if body.startswith(_BYTE_ORDER_MARK):
        yield "byte-order-mark"
    if body and "json" not in header(headers, "content-type").lower():
        yield "content-type"


def _items(answer: dict[str, Any], name: str, anomalies: dict[str, None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the index and the item of each entry of an array that has a readable index."""
    items = answer.get(name)
    if items is not None and not isinstance(items, list):
        anomalies["item-unreadable"] = None
    for item in items if isinstance(items, list) else ():
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int:
            # A text or a float that is a whole number can mean one event only: httpStatusCode is a text as well.
            anomalies["index-not-integer" if index is not None else "item-unreadable"] = None
            if not _WHOLE(str(index)):
                continue
            index = int(float(str(index)))
        yield index, item


_WHOLE: Final = re.compile(r"-?[0-9]{1,9}(?:\.0)?", re.ASCII).fullmatch


def _counted_from(indices: list[int], count: int, first_index: int, anomalies: dict[str, None]) -> int | None:
    """Return the number of the first event by which to read, None where that is in doubt."""
    other = 1 - first_index
    suspicious = other if other < first_index else count  # a number that exists in the other counting only
    if suspicious not in indices:
        return first_index
    anomalies["index-counting"] = None
    return other if sorted(indices) == list(range(other, other + count)) else None


def _verdicts(
    delivered: Iterable[int],
    errors: Iterable[tuple[int, dict[str, Any]]],
    count: int,
    first_index: int,
    anomalies: dict[str, None],
) -> list[Verdict]:
    verdicts: list[Verdict | None] = [None] * count
    for index in delivered:
        position = index - first_index
        if not 0 <= position < count:
            anomalies["index-out-of-range"] = None
            continue
        if verdicts[position] is not None:
            anomalies["index-doubled"] = None
        verdicts[position] = DELIVERED
    for index, item in errors:
        position = index - first_index
        if not 0 <= position < count:
            anomalies["index-out-of-range"] = None
            continue
        before, verdict = verdicts[position], _judged(item)
        if before is not None:
            anomalies["success-and-error" if before is DELIVERED else "index-doubled"] = None
        if before is None or before.kind is not VerdictKind.REJECTED:
            verdicts[position] = verdict
    if None in verdicts:
        anomalies["index-missing"] = None
    return [verdict or NO_VERDICT for verdict in verdicts]


def _named(item: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the codes and the places that an error item names, of either contract's shape or the ancestor's."""
    codes: list[str] = []
    places: list[str] = []
    for error in (item, *_listed(item.get("errors")), *_listed(item.get("subErrors"))):
        codes += [code for name in ("code", "errorCode", "errorType") if (code := _code(error.get(name)))]
        places += [place for name in ("fieldLocation", "fieldName") if (place := _place(error.get(name)))]
    return codes, places


def _judged(item: dict[str, Any]) -> Verdict:
    """Judge one event by its error item (docs/amazon-contract.md#answers).

    Retry only if nothing in the item is permanent: a dead letter keeps its copy, a permanent error retried is in vain. What
    is about the account is tried again until an operator has fixed it: the event is good.
    """
    status = _code(item.get("httpStatusCode"))
    codes, places = _named(item)
    codes = ([status] if status else []) + codes
    account = next((code for code in sorted(codes, key=str.isdigit) if _account_advice(code)), None)
    decisive = [status] if status else codes
    if account:  # a status that says no more than "refused" is explained by the code
        decisive = [code for code in (codes if status in _REFUSED else decisive) if code not in _REFUSED]
    passing = bool(decisive) and all(_is_transient(code) or _account_advice(code) for code in decisive)
    named = list(dict.fromkeys(codes))[:_MOST_NAMED] + list(dict.fromkeys(places))[:_MOST_NAMED]
    detail = " ".join(named) or "no code that could be read"
    if not passing:
        return Verdict(VerdictKind.REJECTED, detail)
    return Verdict(
        VerdictKind.RETRY, detail, f"{account} is about the account; {_account_advice(account)}" if account else ""
    )


_MOST_NAMED: Final = 8
"""Codes, and places, that a detail quotes: it travels in a header. OAS allows 20 errors an item."""


def _listed(errors: object) -> list[dict[str, Any]]:
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


_CODE: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,59}|[0-9]{1,3}", re.ASCII).fullmatch
_STEP: Final = r"[A-Za-z_]{1,40}(?:\[[0-9]{1,3}\])*"
_PLACE: Final = re.compile(rf"[$./]{{0,2}}{_STEP}(?:[./](?:{_STEP}|[0-9]{{1,3}})){{0,9}}", re.ASCII).fullmatch
"""By shape: neither an address, a number nor a hash of the event has it, should Amazon quote one here."""


def _code(code: object) -> str | None:
    text = str(code) if type(code) in (str, int) else ""
    return text if _CODE(text) else None


def _place(place: object) -> str | None:
    return place if isinstance(place, str) and _PLACE(place) else None


_TRANSIENT_CODES: Final = frozenset(
    {
        "CONFLICT",  # OAS: "please retry"
        "INTERNAL_ERROR",
        "TOO_MANY_REQUESTS",
        "408",
        "409",
        "429",
    }
)
_REFUSED: Final = frozenset({"400", "404", "405", "410", "412", "422", "BAD_REQUEST"})
"""Statuses of an item, and the code that says no more, that leave open whose fault it is."""

_CREDENTIALS: Final = frozenset({"FORBIDDEN", "UNAUTHORIZED", "ACCESSDENIED", "401", "403"})
_TERMS = "the account must be a self-service DSP advertiser, its terms accepted in Events Manager"
_SETTINGS = "check AMAZON_ACCOUNT_ID, AMAZON_DATASET_NAME and AMAZON_REGION"
_API = f"{_SETTINGS}, and whether this account may use AMAZON_API"
_DATA_SETS = "look at its data sets and events in Events Manager"
_PAYMENT = "fix its payment with Amazon Ads"
_ACCOUNT: Final = dict.fromkeys(_CREDENTIALS, _ADVICE[403]) | {
    "ACCESSDENIEDFORMANAGERACCOUNT": f"AMAZON_ACCOUNT_ID must be the advertiser's, not a manager's; {_TERMS}",
    "ACCOUNTNOTELIGIBLE": _TERMS,
    "ACTIONNOTSUPPORTED": _API,
    "ACTIVERESOURCELIMITEXCEEDED": _DATA_SETS,
    "ARCHIVEDPARENTCANNOTCREATE": _DATA_SETS,
    "FEATUREDISCONTINUED": _API,
    "FEATURENOTAVAILABLE": _API,
    "NOTFOUND": _SETTINGS,
    "PAYMENTISSUE": _PAYMENT,
    "RESOURCEIDNOTFOUND": _SETTINGS,
    "TOTALRESOURCELIMITEXCEEDED": _DATA_SETS,
    "UNSUPPORTEDMARKETPLACE": _SETTINGS,
    "402": _PAYMENT,
}
"""Of OAS ErrorCode, those that say who asks, for which account, or what that may do, and nothing of what an event holds:
never its fault (docs/how-it-works.md#shared-failures). By letters alone, for the older contracts write "PaymentIssue"."""


def _account_advice(code: str) -> str | None:
    return _ACCOUNT.get(code.replace("_", "").upper().removesuffix("EXCEPTION"))


def _is_transient(code: str) -> bool:
    return code in _TRANSIENT_CODES or (len(code) == 3 and code.startswith("5") and code.isdigit())
