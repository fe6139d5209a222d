"""Asking a sandbox, for its tests: requests as a client makes them, and as bytes."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from connector.sandbox import SandboxCredentials
from tests.sandbox.examples import ADS_NOW

__all__ = [
    "ADS_PATH",
    "EVENTS_PATH",
    "FORM",
    "KNOWN",
    "Clock",
    "column",
    "headers",
    "post",
    "raw",
    "record",
    "set_faults",
    "status",
]

KNOWN = SandboxCredentials()
ADS_PATH, EVENTS_PATH = "/adsApi/v1/create/events", "/events/v1"

FORM = {
    "grant_type": "refresh_token",
    "refresh_token": KNOWN.refresh_token,
    "client_id": KNOWN.client_id,
    "client_secret": KNOWN.client_secret,
}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ms = ADS_NOW

    def __call__(self) -> int:
        return self.now_ms


def headers(path: str, **changes: str | None) -> dict[str, str]:
    client = "Amazon-Ads-ClientId" if path == ADS_PATH else "Amazon-Advertising-API-ClientID"
    sent: dict[str, str | None] = {
        "Authorization": f"Bearer {KNOWN.access_token}",
        client: KNOWN.client_id,
        "Amazon-Ads-AccountId": KNOWN.account_id,
        "Content-Type": "application/json",
    }
    sent.update({name.replace("_", "-"): value for name, value in changes.items()})
    return {name: value for name, value in sent.items() if value is not None}


async def post(http: aiohttp.ClientSession, path: str, body: object, **changes: str | None) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    async with http.post(path, data=content, headers=headers(path, **changes)) as response:
        return response.status, await response.json()


async def record(http: aiohttp.ClientSession, first: int = 0) -> list[dict[str, Any]]:
    async with http.get("/sandbox/record", params={"from": first}) as response:
        assert response.status == 200
        return [orjson.loads(line) for line in (await response.read()).splitlines()]


async def status(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get("/sandbox/status") as response:
        found: dict[str, Any] = await response.json()
        return found


async def set_faults(http: aiohttp.ClientSession, plan: object) -> None:
    async with http.put("/sandbox/faults", data=orjson.dumps(plan)) as response:
        assert response.status == 200, await response.text()


def column(lines: list[dict[str, Any]], name: str) -> list[Any]:
    return [line[name] for line in lines]


def raw(body: bytes) -> bytes:
    """A request as bytes, for a client that misbehaves or looks closely."""
    lines = [f"POST {ADS_PATH} HTTP/1.1", "Host: sandbox", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers(ADS_PATH).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
