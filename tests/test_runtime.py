"""An error while a letter or an entry is written does not end the process; reports of restores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event
from typing import Any, cast

from connector.core import commands, inputs
from connector.model import Facts, Flaw, Manner, Reason, TopicPartition
from connector.runtime import _RESTORES_AT_ONCE, Runtime
from connector.telemetry import Telemetry

_PLACE = TopicPartition("conversions", 3)


class _Raising:
    cluster_id = "cluster"

    def topic_for(self, source: str) -> str:
        return f"{source}.ours"

    def write(self, *_: object) -> None:
        raise UnicodeEncodeError("utf-8", "x", 0, 1, "jo@example.com")

    def append(self, *_: object) -> None:
        raise OverflowError("jo@example.com")


async def test_what_a_write_raises_is_reported_as_its_failure(capsys: Any) -> None:
    raising = cast("Any", _Raising())
    runtime = Runtime(raising, raising, raising, raising, Telemetry(), raising, lambda: 0.5)

    runtime._write_letter(commands.WriteLetter(_PLACE, 1, "topic-id", 7, object(), Flaw(Reason.REJECTED, ""), Manner()))
    runtime._append(commands.AppendFacts(_PLACE, 1, "topic-id", Facts()))

    assert [await runtime._inbox.get(), await runtime._inbox.get()] == [
        inputs.LetterFailed(1, 7, "UnicodeEncodeError"),
        inputs.FactsFailed(1, "conversions.ours", "OverflowError"),
    ]
    said = "".join(capsys.readouterr())
    assert "conversions.ours" in said
    assert "OverflowError" in said
    assert "jo@example.com" not in said


class _Slow:
    """A ledger whose restore takes three seconds of a clock that it sets, and what is told of it."""

    cluster_id = "cluster"

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[object, ...]] = []
        self.recovery = object()

    def monotonic(self) -> float:
        return self.now

    def restore(self, *_: object, progress: Callable[[int, int], None], **__: object) -> object:
        progress(250, 1_000)
        self.now += 3.0
        return self.recovery

    def restoring(self, *told: object) -> None:
        self.told.append(told)

    def restored(self, *told: object) -> None:
        self.told.append(told)


async def test_a_restore_tells_how_far_it_is_and_how_long_it_took_without_the_wait_for_its_turn() -> None:
    slow, turn = cast("Any", _Slow()), Event()
    runtime = Runtime(slow, slow, slow, slow, slow, slow, lambda: 0.5)
    runtime._partitions[1] = _PLACE
    for _ in range(_RESTORES_AT_ONCE):
        runtime._restoring.submit(turn.wait)
    restoring = asyncio.create_task(runtime._restore(commands.Restore(_PLACE, 1)))
    await asyncio.sleep(0)
    slow.now += 50.0
    turn.set()
    await restoring
    runtime._restoring.shutdown()

    assert slow.told == [(_PLACE, 250, 1_000), (_PLACE, slow.recovery, 3.0)]
    assert await runtime._inbox.get() == inputs.Restored(1, slow.recovery)
