"""What writing a letter or an entry raises is its failure, and not the process's end."""

from __future__ import annotations

from typing import Any, cast

from connector.core import commands, inputs
from connector.model import Facts, Flaw, Manner, Reason, TopicPartition
from connector.runtime import Runtime
from connector.telemetry import Telemetry, configure_logging

_PLACE = TopicPartition("conversions", 3)


class _Raising:
    cluster_id = "cluster"

    def topic_for(self, source: str) -> str:
        return f"{source}.dead-letter"

    def write(self, *_: object) -> None:
        raise UnicodeEncodeError("utf-8", "x", 0, 1, "jo@example.com")

    def append(self, *_: object) -> None:
        raise OverflowError("jo@example.com")


async def test_what_a_write_raises_is_reported_as_its_failure(capsys: Any) -> None:
    configure_logging("info", "json")  # another test's may be in force
    raising = cast("Any", _Raising())
    runtime = Runtime(raising, raising, raising, raising, Telemetry(), raising, lambda: 0.5)

    runtime._write_letter(commands.WriteLetter(_PLACE, 1, "topic-id", 7, object(), Flaw(Reason.REJECTED, ""), Manner()))
    runtime._append(commands.AppendFacts(_PLACE, 1, "topic-id", Facts()))

    assert [await runtime._inbox.get(), await runtime._inbox.get()] == [
        inputs.LetterFailed(1, 7, "UnicodeEncodeError"),
        inputs.FactsFailed(1),
    ]
    said = "".join(capsys.readouterr())
    assert "conversions.dead-letter" in said
    assert "OverflowError" in said
    assert "jo@example.com" not in said
