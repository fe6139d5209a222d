"""A process is killed at every point of a batch's life, under either group protocol, and an account from outside closes.

The points are `failpoints.POINTS`. Each case kills ``connector run`` by a wrapper around the point, starts it again as it
is, and hands all evidence to the oracle: nothing lost, nothing sent twice but what was under way, each fact and letter true.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

import pytest

from tests.integration.accounts import account_of, assert_account_closes, produce_all
from tests.integration.failpoints import POINTS
from tests.integration.oracle import Interruption, Source, second_acceptances
from tests.integration.traffic import REFUSED_NAME, Traffic
from tests.integration.world import World, eventually, now_ms, set_group

_PARTITIONS = 3
_WAVE = 130
_BATCH = 8
_IN_FLIGHT = 4
_FLUSH_MS = 50
_UNWRITTEN_MS = _FLUSH_MS + 1000
"""An acknowledgement so shortly before a death may not be in the ledger yet: a flush, and an append on a loaded machine."""
_SESSION_MS = 2000
"""After which a killed member's partitions are given to another: most of a case's time, were it the default."""

_PROTOCOLS = ("classic", "consumer")


class _Case:
    """One topic, its traffic, and the process that is killed."""

    def __init__(self, world: World, protocol: str, seed: int = 5) -> None:
        self.world = world
        self.sandbox = world.sandbox
        self.process = world.unstarted()
        self.interruptions: list[Interruption] = []
        self.records: list[Source] = []
        self.scrapes: list[Mapping[str, float]] = []
        self._traffic = Traffic(world, _PARTITIONS, seed)
        classic = protocol == "classic"
        self._settings = world.settings(
            KAFKA_GROUP_PROTOCOL=protocol,
            KAFKA_SESSION_TIMEOUT_MS=str(_SESSION_MS) if classic else None,
            KAFKA_HEARTBEAT_INTERVAL_MS=str(_SESSION_MS // 5) if classic else None,
            BATCH_MAX_EVENTS=str(_BATCH),
            MAX_IN_FLIGHT=str(_IN_FLIGHT),
            LEDGER_FLUSH_INTERVAL=f"{_FLUSH_MS}ms",
            DRAIN_TIMEOUT="3s",
        )
        world.create_topic(_PARTITIONS)
        if not classic:
            set_group(
                world.servers, world.group, consumer_session_timeout_ms=_SESSION_MS, consumer_heartbeat_interval_ms=400
            )
        self.sandbox.set_faults(
            latency_ms=40, reject_names=[REFUSED_NAME], next=[{"fault": "none", "times": 3}, {"fault": "withhold"}]
        )

    def produce(self) -> None:
        """Produce the next wave; its copies are of earlier ones too."""
        self.records += produce_all(self.world, self._traffic.wave(_WAVE))

    def start(self, point: str | None = None, nth: int | None = None) -> None:
        """Start the program, to die at a point if one is named."""
        set_to = ["--nth", str(nth)] if nth is not None else []
        program = ["connector", "run"] if point is None else ["tests.integration.failpoints", point, *set_to, "--", "run"]
        self.process.start(self._settings, program)

    def until_received(self, events: int) -> None:
        """Wait until the sandbox has so many events, or the process is dead."""
        eventually(
            lambda: not self.process.running or self.sandbox.status()["events"] >= events, f"{events} events received"
        )

    def until_dead_at(self, point: str) -> None:
        """Wait for the death, and see that it was this one."""
        assert self.process.wait() == -signal.SIGKILL, self.process.output[-3000:]
        died = re.findall(r"^failpoint (\S+) (\d+)$", self.process.output, re.MULTILINE)
        assert len(died) == len(self.interruptions) + 1
        assert died[-1][0] == point
        self.interrupted(int(died[-1][1]))

    def kill(self) -> None:
        """Kill it from outside."""
        began = now_ms()
        self.process.kill()
        self.interrupted(began)

    def interrupted(self, began_ms: int) -> None:
        self.interruptions.append(Interruption(began_ms, now_ms(), at_most=_IN_FLIGHT * _BATCH, unwritten_ms=_UNWRITTEN_MS))

    def until_done(self) -> None:
        """Let a process finish, stop it, and settle the account."""
        eventually(self._scraped_done, "everything is committed and counted")
        last = self.process.metrics()
        assert self.process.stop() == 0
        account = account_of(
            self.world,
            self.records,
            scrapes=self.scrapes,
            last_scrapes=[last],
            interruptions=self.interruptions,
        )
        assert_account_closes(account)
        print("again:", second_acceptances(account))

    def _scraped_done(self) -> bool:
        self.scrapes.append(self.process.metrics())
        assert self.process.running, self.process.output[-3000:]
        ends: dict[int, int] = {}
        for record in self.records:
            ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
        return self.world.committed() == ends


@pytest.mark.parametrize("protocol", _PROTOCOLS)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, protocol: str, world: World) -> None:
    case = _Case(world, protocol)
    case.produce()
    if 14 in POINTS[point].faults:
        case.start("facts-unconfirmed")
        case.until_dead_at("facts-unconfirmed")
        case.start(point)
        case.until_dead_at(point)
    case.start(point)
    case.until_received(40)
    case.produce()
    if POINTS[point].draining:
        case.process.terminate()
    case.until_dead_at(point)
    case.start()
    case.until_done()
