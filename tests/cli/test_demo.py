"""The demo as a newcomer runs it, and its reconciliation, which must be able to fail."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter

import pytest
from rich.console import Console

from connector.cli.demo import _account, _Contents, _Expected, _on_a_thread
from connector.cli.samples import Fate, SampleRecord
from connector.model import Outcome
from tests.patience import patience


def test_the_demo_accounts_for_all_records_whatever_the_environment_says() -> None:
    environment = {"PATH": os.environ["PATH"], "KAFKA_TOPIC": "another", "AMAZON_REGION": "nowhere"}
    ended = subprocess.run(
        [sys.executable, "-m", "connector", "demo", "--events", "2000"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "a simulator" in ended.stdout
    assert "all records accounted for" in ended.stdout


async def test_what_is_cancelled_is_told_to_stop_and_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        begun.set()
        assert stop.wait(patience(60))
        ended.set()

    working = asyncio.create_task(_on_a_thread(work))
    await asyncio.to_thread(begun.wait)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert ended.is_set()


def produced() -> _Expected:
    found = _Expected()
    for number in range(2):
        found.add(SampleRecord(f"{number}", {"clientDedupeId": f"order-{number}"}, Fate.DELIVERED))
    found.add(SampleRecord("copy", {"clientDedupeId": "order-0"}, Fate.DUPLICATE))
    return found


def line(identifier: str, answer: str = "sent") -> dict[str, object]:
    return {"id": identifier, "verdict": "accepted", "answer": answer}


@pytest.mark.parametrize(
    ("record", "duplicates", "behind", "code"),
    [
        ([line("order-0"), line("order-1")], 1, 0, 0),
        ([line("order-0", "withheld"), line("order-0"), line("order-1")], 1, 0, 0),
        ([line("order-0")], 1, 0, 1),
        ([line("order-0"), line("order-0"), line("order-1")], 1, 0, 1),
        ([line("order-0"), line("order-1"), line("order-9")], 1, 0, 1),
        ([line("order-0"), line("order-1")], 0, 0, 1),
        ([line("order-0"), line("order-1")], 1, 1, 1),
    ],
    ids=["complete", "complete-withheld", "lost", "twice", "unexpected", "no-fact", "behind"],
)
def test_all_records_are_accounted_for_only_if_nothing_is_missing_and_nothing_is_too_much(
    record: list[dict[str, object]], duplicates: int, behind: int, code: int
) -> None:
    found = _Contents(Counter({Outcome.DUPLICATE: duplicates}), Counter(), behind)

    assert _account(produced(), record, found, Console(quiet=True), 1.0) == code
