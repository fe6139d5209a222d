"""Members of a group that die and are started again, and what members say in their logs."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from tests.integration.brokers import set_group
from tests.integration.events import now_ms
from tests.integration.oracle import Interruption
from tests.integration.program import ConnectorProcess, World
from tests.patience import eventually

__all__ = ["DRAIN_SECONDS", "SESSION_MS", "Member", "lines_of", "losses", "prepare", "stamp_ms", "taken_over_ms"]

_BATCH = 8
_IN_FLIGHT = 4
_FLUSH_MS = 50
_UNWRITTEN_MS = _FLUSH_MS + 10_000
"""An acknowledgement so shortly before a death may not be in the ledger yet: a flush, and an append by a broker that stood
still for seconds, as one does on a loaded machine. A fact that was there before the death is never excused."""
SESSION_MS = 2000
"""After which a killed member's partitions are given to another: by default 45 s."""
DRAIN_SECONDS = 3


def prepare(world: World, protocol: str, partitions: int) -> dict[str, str]:
    """Create topic and group; return the settings of a connector that works in small steps."""
    world.create_topic(partitions)
    classic = protocol == "classic"
    if not classic:
        beat = SESSION_MS // 5
        set_group(world.servers, world.group, consumer_session_timeout_ms=SESSION_MS, consumer_heartbeat_interval_ms=beat)
    return world.settings(
        KAFKA_GROUP_PROTOCOL=protocol,
        KAFKA_SESSION_TIMEOUT_MS=str(SESSION_MS) if classic else None,
        KAFKA_HEARTBEAT_INTERVAL_MS=str(SESSION_MS // 5) if classic else None,
        BATCH_MAX_EVENTS=str(_BATCH),
        MAX_IN_FLIGHT=str(_IN_FLIGHT),
        LEDGER_FLUSH_INTERVAL=f"{_FLUSH_MS}ms",
        DRAIN_TIMEOUT=f"{DRAIN_SECONDS}s",
    )


class Member:
    """A member of the group that dies, and is started again."""

    def __init__(self, process: ConnectorProcess, settings: dict[str, str]) -> None:
        self.process = process
        self._settings = settings
        self._point: str | None = None

    def start(self, point: str | None = None, nth: int | None = None) -> None:
        """Start the program, to die at a point if one is named."""
        self._point = point
        which: Sequence[str] = () if nth is None else ("--nth", str(nth))
        program = ("tests.integration.failpoints", point, *which, "--", "run") if point else ("connector", "run")
        self.process.start(self._settings, program)

    def until_dead(self, seconds: float = 30.0) -> Interruption:
        """Wait until it has died at its point, and at no other place."""
        eventually(lambda: not self.process.running, f"it dies at {self._point}", seconds)
        assert self.process.wait() == -signal.SIGKILL, self.process.output[-3000:]
        point, at_ms = re.findall(r"^failpoint (\S+) (\d+)$", self.process.output, re.MULTILINE)[-1]
        assert point == self._point
        return self._interrupted(int(at_ms), int(at_ms))

    def kill(self) -> Interruption:
        """Kill it from outside."""
        began = now_ms()
        self.process.kill()
        return self._interrupted(began, now_ms())

    def _interrupted(self, began_ms: int, ended_ms: int) -> Interruption:
        return Interruption(
            began_ms, ended_ms, self.process.assigned(), at_most=_IN_FLIGHT * _BATCH, unwritten_ms=_UNWRITTEN_MS
        )


def lines_of(member: ConnectorProcess) -> list[dict[str, Any]]:
    """Return the log lines of all its starts."""
    return [json.loads(line) for line in member.output.splitlines() if line.startswith("{") and line.endswith("}")]


def stamp_ms(line: dict[str, Any]) -> int:
    """Return when a line was written."""
    return round(datetime.fromisoformat(line["timestamp"]).timestamp() * 1000)


def losses(lines: Iterable[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yield each partition that was lost without a drain, and when that was said."""
    for line in lines:
        if line["event"] == "partition_lost":
            yield _partition(line), stamp_ms(line)


def taken_over_ms(lost: tuple[int, int], own: Iterable[dict[str, Any]], others: Iterable[dict[str, Any]]) -> int:
    """Return when another member was given what this one lost, if that was before it knew; else when it knew."""
    partition, until = lost
    had = [stamp_ms(line) for line in own if line["event"] == "partition_assigned" and _partition(line) == partition]
    since = max((at for at in had if at <= until), default=0)
    given = [stamp_ms(line) for line in others if line["event"] == "partition_assigned" and _partition(line) == partition]
    return min((at for at in given if since < at < until), default=until)


def _partition(line: dict[str, Any]) -> int:
    return int(line["partition"].rpartition("-")[2])
