"""Answers to whole requests: refusals in Amazon's words, and good answers that a fault spoils.

An answer has a content and a manner in which it is sent; `delivery` carries out the manner. Pure:
no clock and no I/O.
"""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from typing import Final

import orjson

from connector.sandbox.contract import RequestRefusal, SandboxContract
from connector.sandbox.faults import RequestFault
from connector.sandbox.spoiling import misindexed

__all__ = ["Reply", "ReplyManner", "fault_refusal", "refusal_reply", "spoiled", "token_refusal", "token_spoiled"]


class ReplyManner(Enum):
    """The manner in which an answer is sent."""

    WHOLE = "whole"
    NOT_AT_ALL = "not at all"
    HEADERS_DRIP = "headers drip"
    BODY_DRIPS = "body drips"
    ENDLESS = "endless"
    HUGE = "huge"
    INFLATES = "inflates"
    RESET_AFTER_HEADERS = "reset after headers"
    RESET_AMID_BODY = "reset amid body"


_PAGE: Final = b"<html><body><h1>The sandbox is a proxy now</h1></body></html>"
_DRIP_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that has not been sent yet."""

    status: int
    body: bytes
    label: str
    """The record's word for the answer, once it is sent."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: ReplyManner = ReplyManner.WHOLE
    wait_ms: int = 0
    """The wait before the answer begins."""
    drip_ms: int = _DRIP_MS
    """The pause between two bytes, if the manner is to drip."""
    last: bool = False
    """Whether this is the last answer on its connection: the connection is kept open, and reset
    when the next request comes on it."""


_STATUSES: Final = {
    "throttle_429": 429,
    "throttle_429_html": 429,
    "fail_500": 500,
    "fail_502": 502,
    "fail_503": 503,
    "fail_504": 504,
    "unauthorized_401": 401,
    "forbidden_403": 403,
    "account_400": 400,
    "too_large_413": 413,
}
"""Faults that refuse a request before its events are judged, with the status."""

_CODES: Final = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 413: "CONTENT_TOO_LARGE", 429: "TOO_MANY_REQUESTS"}
_HTML_REFUSALS: Final = frozenset({"throttle_429_html", "fail_502"})


def fault_refusal(fault: RequestFault | None) -> RequestRefusal | None:
    """Return the refusal that a fault causes before events are judged; None for other faults."""
    if fault is None:
        return None
    status = (fault.status or 503) if fault.name == "status" else _STATUSES.get(fault.name)
    if fault.name == "redirect":
        status = fault.status or 307
    if status is None:
        return None
    code = _CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
    return RequestRefusal(status, code, "on request of the sandbox's faults")


def refusal_reply(
    contract: SandboxContract,
    refusal: RequestRefusal,
    number: int,
    fault: RequestFault | None,
    *,
    now_ms: int,
    elsewhere: str = "",
) -> Reply:
    """Return the answer to a request that is refused as a whole, in the form of the contract.

    The forms are those of docs/amazon-contract.md#login-with-amazon and
    docs/amazon-contract.md#rate-limits. ``elsewhere`` is the target of a redirect.
    """
    label = f"failed:{refusal.status}"
    headers = _retry_header(fault, now_ms)
    if fault is not None and fault.name in _HTML_REFUSALS:
        return Reply(refusal.status, _PAGE, label, "text/html", headers)
    if fault is not None and fault.name == "redirect":
        return Reply(refusal.status, b"", label, headers={"Location": elsewhere})
    body: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.status == 429:
        body = {"message": "Too Many Requests"}
    elif contract.first_index == 1:
        body = {"code": str(refusal.status), "details": refusal.message, "requestId": f"sandbox-{number}"}
    return Reply(refusal.status, orjson.dumps(body), label, headers=headers)


def _retry_header(fault: RequestFault | None, now_ms: int) -> dict[str, str]:
    """Return the ``Retry-After`` header that a fault asks for, if any."""
    if fault is None or fault.retry_after is None:
        return {}
    text = str(fault.retry_after)
    ahead = text.removeprefix("date+")
    if ahead != text and ahead.isascii() and ahead.isdigit():
        text = formatdate(now_ms / 1000 + int(ahead), usegmt=True)
    return {"Retry-After": text}


_MANNERS: Final = {
    "withhold": ReplyManner.NOT_AT_ALL,
    "token_withhold": ReplyManner.NOT_AT_ALL,
    "slow_headers": ReplyManner.HEADERS_DRIP,
    "slow_body": ReplyManner.BODY_DRIPS,
    "endless_body": ReplyManner.ENDLESS,
    "huge_body": ReplyManner.HUGE,
    "gzip_bomb": ReplyManner.INFLATES,
    "reset_after_headers": ReplyManner.RESET_AFTER_HEADERS,
    "reset_mid_answer": ReplyManner.RESET_AMID_BODY,
}
_LABELS: Final = {"withhold": "withheld", "fail_500_after_accept": "failed:500"}
"""The record's words for faults that it does not call by their names."""


def spoiled(reply: Reply, fault: RequestFault | None, *, first_index: int) -> Reply:
    """Return a good answer, spoiled by a fault. The events were taken; only the answer is bad."""
    if fault is None:
        return reply
    if fault.name == "delay":
        return dataclasses.replace(reply, wait_ms=fault.ms or 0)
    label = _LABELS.get(fault.name, fault.name)
    if fault.name in _MANNERS:
        return dataclasses.replace(reply, label=label, manner=_MANNERS[fault.name], drip_ms=_given_or(fault.ms, _DRIP_MS))
    if (body := misindexed(reply.body, fault.name, first_index)) is not None:
        return dataclasses.replace(reply, label=label, body=body)
    change = _CHANGES.get(fault.name)
    # A fault of single events does not change the answer as a whole.
    return reply if change is None else dataclasses.replace(change(reply), label=label)


def _page(reply: Reply) -> Reply:
    return dataclasses.replace(reply, body=_PAGE, content_type="text/html")


def _with_status(status: int, *, empty: bool = True) -> Callable[[Reply], Reply]:
    return lambda reply: dataclasses.replace(reply, status=status, body=b"" if empty else reply.body)


_AFTER_ALL: Final = orjson.dumps({"code": "INTERNAL_ERROR", "message": "after everything was accepted"})

_CHANGES: Final[dict[str, Callable[[Reply], Reply]]] = {
    "truncated": lambda reply: dataclasses.replace(reply, body=reply.body[: len(reply.body) // 2]),
    "empty": _with_status(207),
    "html": _page,
    "html_200": lambda reply: dataclasses.replace(_page(reply), status=200),
    "wrong_content_type": lambda reply: dataclasses.replace(reply, content_type="text/plain"),
    "byte_order_mark": lambda reply: dataclasses.replace(reply, body=b"\xef\xbb\xbf" + reply.body),
    "invalid_utf8": lambda reply: dataclasses.replace(reply, body=reply.body[:-1] + b',"note":"\xff"}'),
    "gzip": lambda reply: dataclasses.replace(
        reply, body=gzip.compress(reply.body, 1), headers={"Content-Encoding": "gzip"}
    ),
    "close_idle": lambda reply: dataclasses.replace(reply, last=True),
    "status_200": _with_status(200, empty=False),
    "status_200_empty": _with_status(200),
    "status_202": _with_status(202),
    "status_204": _with_status(204),
    "fail_500_after_accept": lambda reply: dataclasses.replace(reply, status=500, body=_AFTER_ALL),
}
"""Faults that change status, headers or body of the answer."""


_TOKEN_REFUSALS: Final = {
    "token_invalid_grant": (400, "invalid_grant"),
    "token_invalid_client": (401, "invalid_client"),
    "token_500": (500, "server_error"),
    "token_503": (503, "temporarily_unavailable"),
    "token_429": (429, "too_many_requests"),
}
_TOKEN_SLOW_MS: Final = 10_000


def token_refusal(fault: RequestFault | None) -> RequestRefusal | None:
    """Return the refusal of a token request that a fault causes; None for other faults."""
    if fault is None:
        return None
    status, code = _TOKEN_REFUSALS.get(fault.name, (None, ""))
    if fault.name == "status":
        status, code = fault.status or 503, "invalid_request" if (fault.status or 503) < 500 else "server_error"
    return None if status is None else RequestRefusal(status, code, "on request of the sandbox's faults")


def token_spoiled(
    answer: Mapping[str, object] | RequestRefusal, fault: RequestFault | None, *, now_ms: int, elsewhere: str
) -> Reply:
    """Return the answer to a token request, as a fault changes it.

    ``elsewhere`` is the target of a redirect.
    """
    name = fault.name if fault is not None else None
    wait_ms = (fault.ms or 0) if fault is not None and name == "delay" else 0
    if isinstance(answer, RequestRefusal):
        document = {"error": answer.code, "error_description": answer.message}
        headers = _retry_header(fault, now_ms)
        return Reply(answer.status, orjson.dumps(document), f"failed:{answer.status}", headers=headers, wait_ms=wait_ms)
    reply = Reply(200, orjson.dumps(answer), "sent", wait_ms=wait_ms)
    match name:
        case "token_slow":
            return dataclasses.replace(reply, wait_ms=_given_or(fault.ms if fault else None, _TOKEN_SLOW_MS))
        case "token_redirect":
            status = (fault.status if fault else None) or 307
            return dataclasses.replace(reply, status=status, body=b"", headers={"Location": elsewhere})
        case "token_garbage":
            return dataclasses.replace(reply, body=b"\x00\xff\xfe garbage")
        case "token_missing":
            return dataclasses.replace(reply, body=b'{"token_type":"bearer","expires_in":3600}')
        case "token_html":
            return dataclasses.replace(reply, body=_PAGE, content_type="text/html")
        case "token_withhold":
            return dataclasses.replace(reply, manner=ReplyManner.NOT_AT_ALL)
        case _:
            return reply


def _given_or(given: int | None, usual: int) -> int:
    return usual if given is None else given
