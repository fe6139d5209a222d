"""Answers to whole requests: refusals in Amazon's words, and what a fault makes of a good answer. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from connector.sandbox.contract import Contract, Refusal
from connector.sandbox.faults import RequestFault

__all__ = ["Reply", "asked_refusal", "refusing", "retry_header", "spoiled"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is yet to leave."""

    status: int
    body: bytes
    label: str
    """The record's word for it."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def asked_refusal(fault: RequestFault | None) -> Refusal | None:
    """Return the refusal that a fault asks for, before anything is looked at."""
    if fault is None or fault.status is None:
        return None
    code = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 413: "CONTENT_TOO_LARGE", 429: "TOO_MANY_REQUESTS"}.get(
        fault.status, "BAD_REQUEST" if fault.status < 500 else "INTERNAL_ERROR"
    )
    return Refusal(fault.status, code, "on request of the sandbox's faults")


def retry_header(fault: RequestFault | None) -> dict[str, str]:
    """Return the header a throttling fault carries, or none."""
    return {} if fault is None or fault.retry_after is None else {"Retry-After": str(fault.retry_after)}


def refusing(contract: Contract, refusal: Refusal, number: int, fault: RequestFault | None) -> Reply:
    """Word a refusal of the whole request in the form seen for that contract (sections 2 and 5.5)."""
    body: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.status == 429:
        body = {"message": "Too Many Requests"}
    elif contract.first_index == 1:
        body = {"code": str(refusal.status), "details": refusal.message, "requestId": f"sandbox-{number}"}
    return Reply(refusal.status, orjson.dumps(body), f"failed:{refusal.status}", headers=retry_header(fault))


def spoiled(reply: Reply, fault: RequestFault | None) -> Reply:
    """Return the answer that leaves in place of a good one: all has happened, only the answer is wrong."""
    match fault.name if fault is not None else None:
        case "withhold":
            return dataclasses.replace(reply, label="withheld")
        case "truncated":
            return dataclasses.replace(reply, label="truncated", body=reply.body[: len(reply.body) // 2])
        case "empty":
            return dataclasses.replace(reply, label="empty", body=b"")
        case "html":
            page = b"<html><body><h1>The sandbox is a proxy now</h1></body></html>"
            return dataclasses.replace(reply, label="html", body=page, content_type="text/html")
        case "fail_500_after_accept":
            body = orjson.dumps({"code": "INTERNAL_ERROR", "message": "after everything was accepted"})
            return dataclasses.replace(reply, label="failed:500", status=500, body=body)
        case _:
            return reply
