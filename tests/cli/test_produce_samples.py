"""Samples at a steady rate, and the counts that are printed at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from connector.cli import produce_samples
from connector.cli.samples import Fate, SampleRecord
from connector.ports import Confirmation


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
    def four() -> Iterator[SampleRecord]:
        for number in range(4):
            yield SampleRecord(f"{number}", None, Fate.IGNORED)
        raise error

    for name, value in {"register": lambda *_: 1, "ConfirmingProducer": Answering, "_endless_samples": four}.items():
        monkeypatch.setattr(produce_samples, name, value)
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "h:1", "KAFKA_TOPIC": "orders", "SCHEMA_REGISTRY_URL": "http://h"}
    try:
        code = produce_samples.run(argparse.Namespace(rate=1_000.0, count=None), environ)
    except RuntimeError:
        code = None

    assert code == (0 if isinstance(error, KeyboardInterrupt) else None)
    assert capsys.readouterr().out.splitlines()[-1] == "produced 3 samples to orders, 0 failed, 1 without an answer yet"
