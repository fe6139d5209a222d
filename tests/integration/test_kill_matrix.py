"""A process is killed at every point of a batch's life, under either group protocol; every record is accounted for.

The points are `failpoints.POINTS`. Each case kills ``connector run`` by a wrapper around the point, starts it again as it
is, and hands all evidence to the oracle: nothing lost, nothing sent twice but what was under way, each fact and letter true.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.accounts import account_of, assert_account_closes, produce_all
from tests.integration.brokers import end_offsets
from tests.integration.failpoints import POINTS
from tests.integration.load import REFUSED_NAME, Traffic
from tests.integration.oracle import Account, Interruption, Source, second_acceptances
from tests.integration.ordeals.members import DRAIN_SECONDS, Member, prepare
from tests.integration.program import World
from tests.patience import eventually

_PARTITIONS = 3
_WAVE = 130
_SLOW_SECONDS = 90.0
"""For a machine on which the program takes half a minute to start."""
_PLACE = ("connector.partition", "connector.offset")
_CONNECTOR = Path(__file__).parents[2] / "connector"

_either_protocol = pytest.mark.parametrize("protocol", ["classic", "consumer"])


class _Case:
    """One topic, its traffic, and the process that is killed."""

    def __init__(self, world: World, protocol: str) -> None:
        self.world = world
        self.member = Member(world.unstarted(), prepare(world, protocol, _PARTITIONS))
        self.process = self.member.process
        self.interruptions: list[Interruption] = []
        self._records: list[Source] = []
        self._scrapes: list[Mapping[str, float]] = []
        self._account: Account
        self._traffic = Traffic(world, _PARTITIONS, seed=5)
        self.answer_after(40)

    def answer_after(self, latency_ms: int, *, withhold: bool = True) -> None:
        """Have the sandbox answer so late; one of the next answers is withheld."""
        withheld = [{"fault": "none", "times": 3}, {"fault": "withhold"}] if withhold else []
        self.world.sandbox.set_faults(latency_ms=latency_ms, reject_names=[REFUSED_NAME], next=withheld)

    def produce(self) -> None:
        """Produce the next wave; its copies are of earlier ones too."""
        self._records += produce_all(self.world, self._traffic.wave(_WAVE))

    def until_received(self, events: int) -> None:
        """Wait until the sandbox has so many events, or the process is dead."""
        received = self.world.sandbox.status
        eventually(lambda: not self.process.running or received()["events"] >= events, f"{events} events received")

    def until_requests_are_out(self) -> None:
        """Wait until the process waits for answers."""
        eventually(lambda: self.process.metrics().get("connector_in_flight_requests"), "requests are out")

    def until_committed(self) -> None:
        """Wait until all there is has been committed."""
        eventually(self._is_done, "everything is committed", _SLOW_SECONDS)

    def dies(self) -> None:
        """Wait for the death."""
        self.interruptions.append(self.member.until_dead(_SLOW_SECONDS))

    def account_closes(self) -> None:
        """Let the process finish and stop it, and look at all there is."""
        self.until_committed()
        last = self.process.metrics()
        assert self.process.stop() == 0
        self._account = account_of(
            self.world, self._records, scrapes=self._scrapes, last_scrapes=[last], interruptions=self.interruptions
        )
        assert_account_closes(self._account)

    def seen(self) -> dict[str, int]:
        """Return how much there is to be seen of what `Point.shows` may name."""
        account = self._account
        excuses = Counter(why for found in second_acceptances(account).values() for why in found)
        places = {tuple(value for name, value in letter.headers if name in _PLACE) for letter in account.letters}
        return {
            "broken off": self.world.sandbox.status()["broken_off"],
            "sent again": excuses["in flight"] + excuses["unwritten"],
            "already resolved": int(account.last_scrapes[0]['connector_events_total{outcome="already_resolved"}']),
            "second letter": len(account.letters) - len(places),
        }

    def _is_done(self) -> bool:
        assert self.process.running, self.process.output[-3000:]
        self._scrapes.append(self.process.metrics())
        return self.world.committed() == end_offsets(self.world.servers, self.world.topic)


@_either_protocol
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, protocol: str, world: World) -> None:
    case = _Case(world, protocol)
    case.produce()
    if 14 in POINTS[point].faults:  # there must be something to restore; and it dies so twice in a row
        case.member.start("facts-unconfirmed")
        case.dies()
        case.member.start(point)
        case.dies()
    case.member.start(point)
    case.until_received(40)
    if POINTS[point].draining:
        # What waits to be sent again is given back by a drain, and may be all that the next commit waits for.
        case.until_committed()
        case.answer_after(1000, withhold=False)
    case.produce()
    if POINTS[point].draining:
        case.until_requests_are_out()
        case.process.terminate()
    case.dies()

    case.answer_after(40)
    case.member.start()
    case.account_closes()
    if POINTS[point].shows:
        assert case.seen()[POINTS[point].shows], "the death left its trace"


@_either_protocol
def test_killed_in_the_second_half_of_a_drain_that_nobody_answers(protocol: str, world: World) -> None:
    case = _Case(world, protocol)
    case.produce()
    case.member.start()
    case.until_committed()  # what is out from now on waits for its answer
    case.answer_after(60_000)
    case.produce()
    case.until_requests_are_out()
    case.process.terminate()
    asked = time.monotonic()
    case.process.until_said("draining")
    eventually(lambda: time.monotonic() > asked + DRAIN_SECONDS / 2, "the drain is far gone")
    assert case.process.running, "it waits for answers"
    case.interruptions.append(case.member.kill())

    case.answer_after(40)
    case.member.start()
    case.account_closes()


def test_every_kind_of_crash_has_a_point() -> None:
    assert {fault for point in POINTS.values() for fault in point.faults} == set(range(1, 16))


def test_every_point_finds_what_it_wraps() -> None:
    install_all = "from tests.integration.failpoints import POINTS; [point.install(None) for point in POINTS.values()]"
    subprocess.run([sys.executable, "-c", install_all], cwd=_CONNECTOR.parent, check=True)


def test_the_program_knows_nothing_of_them() -> None:
    texts = {file: file.read_text("utf-8") for file in _CONNECTOR.rglob("*.py")}
    assert [file.name for file, text in texts.items() if "failpoint" in text.lower() or "import tests" in text] == []
