"""The demo, as a newcomer runs it, and its account, which must be able not to close."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from rich.console import Console

from connector import demo
from connector.demo import _account, _Found, _on_a_thread, _Produced, produce_samples
from connector.model import Outcome
from connector.ports import Confirmation
from connector.samples import Fate, Sample
from tests.patience import patience


def test_the_demo_ends_with_an_account_that_closes_whatever_the_environment_says() -> None:
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
    assert "the account closes" in ended.stdout


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


def produced() -> _Produced:
    found = _Produced()
    for number in range(2):
        found.add(Sample(f"{number}", {"clientDedupeId": f"order-{number}"}, Fate.DELIVERED))
    found.add(Sample("copy", {"clientDedupeId": "order-0"}, Fate.DUPLICATE))
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
    ids=["closes", "closes-withheld", "lost", "twice", "unexpected", "no-fact", "behind"],
)
def test_the_account_closes_only_if_nothing_is_missing_and_nothing_is_too_much(
    record: list[dict[str, object]], duplicates: int, behind: int, code: int
) -> None:
    found = _Found(Counter({Outcome.DUPLICATE: duplicates}), Counter(), behind)

    assert _account(produced(), record, found, Console(quiet=True), 1.0) == code


class Answering:
    """A producer that confirms all but the last it was given, once it ends."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._reports: list[Callable[[Confirmation], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for report in self._reports[:-1]:
            report(Confirmation(None, 1, None))

    def write(self, _topic: str, _partition: int | None, _value: Any, report: Callable[..., None], **_: Any) -> None:
        self._reports.append(report)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no more")], ids=lambda error: type(error).__name__)
def test_samples_that_were_delivered_before_an_early_end_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def four() -> Iterator[Sample]:
        for number in range(4):
            yield Sample(f"{number}", None, Fate.IGNORED)
        raise error

    for name, value in {"register": lambda *_: 1, "ConfirmingProducer": Answering, "_endless_samples": four}.items():
        monkeypatch.setattr(demo, name, value)
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "h:1", "KAFKA_TOPIC": "orders", "SCHEMA_REGISTRY_URL": "http://h"}
    try:
        code = produce_samples(environ, 1_000.0, None)
    except RuntimeError:
        code = None

    assert code == (0 if isinstance(error, KeyboardInterrupt) else None)
    assert capsys.readouterr().out.splitlines()[-1] == "produced 3 samples to orders, 0 failed, 1 without an answer yet"
