"""A sandbox by a clock that stands, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from connector.sandbox import Options, RunningSandbox, serve
from tests.sandbox.asking import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[RunningSandbox]:
    running = await serve(options=Options(clock=clock, token_life_ms=60_000, max_body_bytes=50_000))
    yield running
    await running.stop()


@pytest.fixture
async def http(sandbox: RunningSandbox) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sandbox.url, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session
