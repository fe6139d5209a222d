"""The catalogue of faults: the name of each, what it happens to, and what it does.

docs/sandbox.md#faults-on-request shows it as a table, and the server lists it. The numbers are
those of docs/sandbox.md#scenarios. A request, and a token request, has at most one fault by chance;
the faults of an event are drawn for each event.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["CATALOGUE", "EVENT_FAULTS", "REQUEST_FAULTS", "TOKEN_FAULTS", "Fault", "FaultTarget"]


class FaultTarget(Enum):
    """What a fault happens to."""

    REQUEST = "request"
    EVENT = "event"
    TOKEN = "token request"  # noqa: S105 - no secret, but a word in the table


class Fault(NamedTuple):
    """One line of the table."""

    name: str
    scenario: int
    of: FaultTarget
    what: str
    """What the sandbox does."""


def _faults(of: FaultTarget, scenario: int, what: dict[str, str]) -> tuple[Fault, ...]:
    return tuple(Fault(name, scenario, of, text) for name, text in what.items())


CATALOGUE = (
    *_faults(
        FaultTarget.REQUEST,
        30,
        {
            "throttle_429": '429 with `retry_after`: a number, a text, null for none, or "date+5" for the date in 5 s',
            "throttle_429_html": "the same, from a proxy: an HTML page",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        31,
        {
            "fail_500": "500",
            "fail_502": "502, an HTML page of a gateway",
            "fail_503": "503",
            "fail_504": "504",
            "fail_500_after_accept": "takes the events, then answers 500",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        32,
        {
            "slow_headers": "takes the events, then sends a header one byte every `ms` (1000) without end",
            "slow_body": "takes the events, then sends the body one byte every `ms` (1000)",
            "endless_body": "takes the events, then sends a chunked body without end",
            "huge_body": "takes the events, then sends a body of 1 GB",
            "gzip": "a good answer, compressed although the client did not ask for it",
            "gzip_bomb": "takes the events, then sends 1 MB that inflates to 1 GB",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        33,
        {
            "reset_at_head": "resets the connection when the request's head has arrived; no event is read",
            "reset_mid_request": "resets the connection when half of the request's body has arrived; no event is read",
            "withhold": "takes the events, then closes the connection without an answer",
            "reset_after_headers": "takes the events, then resets the connection after the answer's head",
            "reset_mid_answer": "takes the events, then resets the connection after half of the answer's body",
            "close_idle": "a good answer; the connection is kept, and reset when the next request comes on it",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        34,
        {
            "truncated": "takes the events, then answers 207 with half of the JSON",
            "empty": "takes the events, then answers 207 without a body",
            "html": "takes the events, then answers 207 with an HTML page",
            "html_200": "takes the events, then answers 200 with an HTML page",
            "wrong_content_type": "a good answer as text/plain",
            "byte_order_mark": "a good answer after a byte order mark",
            "invalid_utf8": "takes the events, then answers with a byte that is not UTF-8",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        35,
        {
            "index_missing": "the first item has no index",
            "index_doubled": "the second item has the index of the first; a single item appears twice",
            "index_out_of_range": "the last item's index is 1000 too high",
            "index_negative": "the first item's index is -1",
            "index_string": "every index is a string",
            "index_float": "every index is a float",
            "success_and_error": "the first accepted event is among the errors too",
            "more_items": "two more items than events",
            "other_base": "every index is counted from the other contract's first number",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        36,
        {
            "status_200": "a good answer with status 200",
            "status_200_empty": "takes the events, then answers 200 without a body",
            "status_202": "takes the events, then answers 202 without a body",
            "status_204": "takes the events, then answers 204",
            "redirect": "307 (or `status`) to another host of the sandbox, which counts the requests with a token",
        },
    ),
    *_faults(
        FaultTarget.EVENT,
        37,
        {
            "reject": "an error item with `code` (INVALID_INPUT); if by chance, the same event fails each time it comes",
            "retry": "an error item with `code` (INTERNAL_ERROR); sent again it may pass",
        },
    ),
    *_faults(
        FaultTarget.EVENT,
        35,
        {
            "omit": "the event is taken, but is in neither array of the answer",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        38,
        {
            "expire_tokens": "every access token given out so far expires when this request arrives",
            "unauthorized_401": "401, whatever the token",
        },
    ),
    *_faults(
        FaultTarget.TOKEN,
        38,
        {
            "token_invalid_grant": "400 invalid_grant, as for a revoked refresh token",
            "token_invalid_client": "401 invalid_client",
            "token_500": "500",
            "token_503": "503",
            "token_429": "429 with `retry_after`",
            "token_slow": "a good answer after `ms` (10000)",
            "token_garbage": "200 with bytes that are not text",
            "token_missing": "200 with JSON without a token",
            "token_html": "200 with an HTML page",
            "token_redirect": "307 (or `status`) to another host, as `redirect`",
            "token_withhold": "gives a token, then closes the connection without an answer",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        39,
        {
            "forbidden_403": "403, as for an account without the permission",
            "account_400": "400, as for a wrong account id or data set name",
        },
    ),
    *_faults(
        FaultTarget.EVENT,
        39,
        {
            "poison": "the whole request with this event is refused with a 400 that names no event",
        },
    ),
    *_faults(
        FaultTarget.REQUEST,
        40,
        {
            "too_large_413": "413; by size, see `max_body_bytes`",
        },
    ),
    *_faults(
        FaultTarget.EVENT,
        40,
        {
            "conflict": 'an error item with CONFLICT ("please retry"); sent again it may pass',
        },
    ),
)

REQUEST_FAULTS = tuple(fault.name for fault in CATALOGUE if fault.of is FaultTarget.REQUEST)
EVENT_FAULTS = tuple(fault.name for fault in CATALOGUE if fault.of is FaultTarget.EVENT)
TOKEN_FAULTS = tuple(fault.name for fault in CATALOGUE if fault.of is FaultTarget.TOKEN)
