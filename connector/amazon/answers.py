"""Reading Amazon's answers: one verdict for each event, or why the request as a whole has none.

An answer lists event numbers (``index``) in two arrays, ``success`` and ``error``. It may also be
anything else, so reading is total: any status, any headers and any bytes have a result.

One asymmetry decides every doubtful case. Taking a delivered event for undelivered costs a second
send; taking an undelivered event for delivered loses it (docs/how-it-works.md#the-guarantee).
Therefore:

* An event is *delivered* only if its number is in ``success`` and nowhere in ``error``.
* An event in both arrays is judged by the error: if it is rejected, a dead letter keeps a copy.
* An event refused because of the account, and not because of its content, is retried until an
  operator has fixed the account. If every event is refused so, the request as a whole has failed.
* An event in neither array has no verdict, and neither has any event of an answer that cannot be
  read. Amazon may have taken it; it is sent again unchanged.
* Numbers may fit only the counting of the other contract (TRACK reads ``events/v1`` from 0). If
  they are complete, they can mean only one thing, and are read that way. If they are incomplete, a
  verdict counts only where both countings agree on it.

Only Amazon's codes and field paths are quoted, and only if they have the form of one: Amazon's
messages may repeat values of the event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from connector.model import DELIVERED, NO_VERDICT, Answer, Failure, RequestFailed, Verdict, VerdictKind, Verdicts

__all__ = ["failed_request", "header", "read_answer", "retry_after_seconds"]


def read_answer(status: int, headers: Mapping[str, str], body: bytes, count: int, *, first_index: int) -> Answer:
    """Read the answer to a request of ``count`` events, numbered from ``first_index`` (0 or 1)."""
    if not 200 <= status < 300:
        return failed_request(status, headers, body)
    anomalies = dict.fromkeys(_oddities(status, headers, body))
    answer = _parsed(body)
    if not isinstance(answer, dict) or not (_ITEMS & answer.keys()):
        anomalies["body-unreadable" if body else "body-empty"] = None
        return Verdicts([NO_VERDICT] * count, status, tuple(anomalies))
    if _all_delivered_in_order(answer, count, first_index):
        return Verdicts([DELIVERED] * count, status, tuple(anomalies))
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
    """Read an answer without a 2xx status: the status decides, and for a refusal Amazon's code."""
    answer = _parsed(body)
    code = _code(answer.get("code")) if isinstance(answer, dict) else None
    failure = _FAILURES.get(status)
    of_account = _account_advice(code) if code and failure is Failure.REFUSED else None
    if of_account:
        failure = Failure.OPERATOR
    elif failure is None:
        # A 1xx as the final answer (a switch of protocols that nobody asked for) is not valid HTTP.
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
    """Return the wait that Amazon asks for in seconds, at most an hour; None if there is none.

    A date is compared with the answer's own ``Date``, so that our clock does not matter. Garbage
    and dates in the past are ignored.
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
"""Seconds. A wrong header must not stop the connector for a day, and asking once an hour harms
nobody."""

_FAILURES: Final = {
    # The answer to a wrong account id (AMZ-CA README). Whether one bad event causes it too is
    # unknown (docs/amazon-contract.md#unknown).
    400: Failure.REFUSED,
    408: Failure.TRANSIENT,
    409: Failure.TRANSIENT,  # OAS CONFLICT: "please retry"
    413: Failure.TOO_LARGE,
    422: Failure.REFUSED,
    425: Failure.TRANSIENT,
    429: Failure.THROTTLED,
}
"""Exceptions by status. Other 3xx and 4xx need an operator; everything else is transient (AMZ-DOCS
rate-limiting)."""

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
        return _parsed_leniently(body)


def _parsed_leniently(body: bytes) -> Any:
    """Parse JSON that orjson refuses: half of a surrogate pair, as in a cut message, or UTF-16."""
    try:
        return json.loads(body.decode(json.detect_encoding(body)), parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None


def _no_json(constant: str) -> Any:
    raise ValueError(constant)


def _oddities(status: int, headers: Mapping[str, str], body: bytes) -> Iterator[str]:
    if status != 207:
        yield "status"
    if body.startswith(_BYTE_ORDER_MARK):
        yield "byte-order-mark"
    if body and "json" not in header(headers, "content-type").lower():
        yield "content-type"


def _all_delivered_in_order(answer: dict[str, Any], count: int, first_index: int) -> bool:
    """Return whether an answer says that each event was taken, in order, and nothing else.

    Nearly every answer does.

    What follows in `read_answer` would come to the same verdicts, one by one.
    """
    success, error = answer.get("success"), answer.get("error")
    if not isinstance(success, list) or len(success) != count or (error is not None and error != []):
        return False
    try:
        indices = [item["index"] for item in success]
    except (TypeError, KeyError):
        return False
    return set(map(type, indices)) == {int} and indices == list(range(first_index, first_index + count))


def _items(answer: dict[str, Any], name: str, anomalies: dict[str, None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield index and item of each entry of an array whose index can be read."""
    items = answer.get(name)
    if items is not None and not isinstance(items, list):
        anomalies["item-unreadable"] = None
    for item in items if isinstance(items, list) else ():
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int:
            # A whole number as a string or a float can mean one event only. Amazon writes
            # httpStatusCode as a string, too.
            anomalies["index-not-integer" if index is not None else "item-unreadable"] = None
            if not _WHOLE(str(index)):
                continue
            index = int(float(str(index)))
        yield index, item


_WHOLE: Final = re.compile(r"-?[0-9]{1,9}(?:\.0)?", re.ASCII).fullmatch


def _counted_from(indices: list[int], count: int, first_index: int, anomalies: dict[str, None]) -> int | None:
    """Return the number that the first event has in this answer; None if that is in doubt."""
    other = 1 - first_index
    # The one number that exists in the other counting only.
    suspicious = other if other < first_index else count
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
    """Return the codes and field paths that an error item names, in the form of any contract.

    The forms are those of both contracts and of their ancestor.
    """
    codes: list[str] = []
    places: list[str] = []
    for error in (item, *_listed(item.get("error")), *_listed(item.get("errors")), *_listed(item.get("subErrors"))):
        codes += [code for name in ("code", "errorCode", "errorType") if (code := _code(error.get(name)))]
        places += [place for name in ("fieldLocation", "fieldName") if (place := _place(error.get(name)))]
    return codes, places


def _judged(item: dict[str, Any]) -> Verdict:
    """Judge one event by its error item (docs/amazon-contract.md#answers).

    The event is retried only if nothing in the item is permanent. Retrying a permanent error is
    useless, and a dead letter keeps a copy of the event. An error about the account is retried
    until an operator has fixed the account, because the event itself is good.
    """
    status = _code(item.get("httpStatusCode"))
    codes, places = _named(item)
    codes = ([status] if status else []) + codes
    account = next((code for code in sorted(codes, key=str.isdigit) if _account_advice(code)), None)
    decisive = [status] if status else codes
    if account:  # the code explains a status that says only "refused"
        decisive = [code for code in (codes if status in _REFUSED else decisive) if _letters(code) not in _REFUSED]
    passing = bool(decisive) and all(_is_transient(code) or _account_advice(code) for code in decisive)
    named = list(dict.fromkeys(codes))[:_MOST_NAMED] + list(dict.fromkeys(places))[:_MOST_NAMED]
    detail = " ".join(named) or "no code that could be read"
    if not passing:
        return Verdict(VerdictKind.REJECTED, detail)
    return Verdict(
        VerdictKind.RETRY, detail, f"{account} is about the account; {_account_advice(account)}" if account else ""
    )


_MOST_NAMED: Final = 8
"""How many codes, and how many field paths, a detail quotes. It travels in a header, and OAS allows
20 errors in one item."""


def _listed(errors: object) -> list[dict[str, Any]]:
    """Return errors that are a list, or one alone; a text is a code."""
    listed = errors if isinstance(errors, list) else [errors]
    return [error if isinstance(error, dict) else {"code": error} for error in listed]


_QUALIFIED: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9_.]{0,99}[#.])?([A-Za-z][A-Za-z _-]{0,59})(?::\S*)?", re.ASCII
).fullmatch
"""A code within the name of its service, as AWS writes types of errors, or in words."""
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,59}|[0-9]{1,3}", re.ASCII).fullmatch
_STEP: Final = r"[A-Za-z_]{1,40}(?:\[[0-9]{1,3}\])*"
_PLACE: Final = re.compile(rf"[$./]{{0,2}}{_STEP}(?:[./](?:{_STEP}|[0-9]{{1,3}})){{0,9}}", re.ASCII).fullmatch
"""The form of a field path. No address, number or hash has it, in case Amazon quotes one here."""


def _code(code: object) -> str | None:
    """Return a code that has the form of one. In any other form only a known one is quoted."""
    text = str(code).strip() if type(code) in (str, int) else ""
    if _CODE(text):
        return text
    found = _QUALIFIED(text)
    known = found[1].replace(" ", "_").replace("-", "_") if found else ""
    return known if _account_advice(known) or _is_transient(known) else None


def _place(place: object) -> str | None:
    return place if isinstance(place, str) and _PLACE(place) else None


_TRANSIENT_CODES: Final = frozenset(
    """
    408 409 429 BADGATEWAY CONFLICT GATEWAYTIMEOUT INTERNAL INTERNALFAILURE INTERNALSERVER RATELIMITEXCEEDED REQUESTTIMEOUT
    SERVICEUNAVAILABLE THROTTLED THROTTLING TIMEOUT TOOMANYREQUESTS
    """.split()  # noqa: SIM905 - a table of codes is read as a table
)
"""Codes that pass, by `_letters`. OAS says of CONFLICT: "please retry"."""
_REFUSED: Final = frozenset({"400", "404", "405", "410", "412", "422", "BADREQUEST"})
"""Statuses of an item that leave open what is at fault, and the one code that says no more than
they do."""

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
"""Codes about the account, each with advice: those of OAS ErrorCode that speak of the caller, the
account or its rights, and not of an event's content. They are never the fault of an event
(docs/how-it-works.md#shared-failures)."""


def _letters(code: str) -> str:
    """Return the letters by which codes are compared: older contracts write "PaymentIssue"."""
    return code.replace("_", "").upper().removesuffix("EXCEPTION").removesuffix("ERROR")


def _account_advice(code: str) -> str | None:
    return _ACCOUNT.get(_letters(code))


def _is_transient(code: str) -> bool:
    return _letters(code) in _TRANSIENT_CODES or (len(code) == 3 and code.startswith("5") and code.isdigit())
