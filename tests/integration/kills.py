"""What the kill matrix and its longer sister share: a topic, a group that notices a death soon, and processes that die."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from tests.integration.brokers import set_group
from tests.integration.events import now_ms
from tests.integration.oracle import Interruption
from tests.integration.program import ConnectorProcess, World
from tests.patience import eventually

__all__ = ["IN_FLIGHT", "Mortal", "prepare"]

BATCH = 8
IN_FLIGHT = 4
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
        BATCH_MAX_EVENTS=str(BATCH),
        MAX_IN_FLIGHT=str(IN_FLIGHT),
        LEDGER_FLUSH_INTERVAL=f"{_FLUSH_MS}ms",
        DRAIN_TIMEOUT=f"{DRAIN_SECONDS}s",
    )


class Mortal:
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

    def held(self) -> frozenset[int]:
        """Return the partitions it has, by what it said since its start."""
        held = set[int]()
        for line in self.process.log():
            if line["event"] == "partition_assigned":
                held.add(_partition(line["partition"]))
            elif line["event"] in {"partition_released", "partition_lost"}:
                held.discard(_partition(line["partition"]))
        return frozenset(held)

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
        return Interruption(began_ms, ended_ms, self.held(), at_most=IN_FLIGHT * BATCH, unwritten_ms=_UNWRITTEN_MS)


def _partition(name: str) -> int:
    return int(name.rpartition("-")[2])
