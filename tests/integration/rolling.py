"""``make rolling``: members of a group are stopped and started one after the other, under load; nothing is delivered twice.

``test_shutdown.py`` does three restarts; by hand it is twenty, for either protocol, and for static and dynamic members.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from tests.integration.kafka.cluster import Cluster
from tests.integration.load import PLAIN, Load, Traffic
from tests.integration.program import ConnectorProcess, Sandbox, World
from tests.patience import eventually

__all__ = ["Rolled", "main", "roll"]

_MEMBERS = 3
_PARTITIONS = 6
_SETTLED_SECONDS = 90.0
"""A static member's partitions wait for it; all else is a matter of seconds."""


class Rolled:
    """What was produced, and what the sandbox accepted."""

    def __init__(self, produced: set[str], accepted: Counter[str], codes: list[int]) -> None:
        self.produced = produced
        self.accepted = accepted
        self.codes = codes
        """Exit codes, one a stop."""

    @property
    def lost(self) -> set[str]:
        """What was produced and never accepted."""
        return self.produced - self.accepted.keys()

    @property
    def twice(self) -> dict[str, int]:
        """What was accepted more than once."""
        return {name: times for name, times in self.accepted.items() if times > 1}


def roll(world: World, sandbox: Sandbox, restarts: int, *, static: bool, rate: float = 120, **settings: str) -> Rolled:
    """Restart members in turn, so many times in all, and return the account once everything was accepted."""
    world.create_topic(_PARTITIONS)
    sandbox.set_faults(latency_ms=100, delay=0.3, delay_min_ms=100, delay_max_ms=600)
    own = [settings | ({"KAFKA_GROUP_INSTANCE_ID": f"member-{number}"} if static else {}) for number in range(_MEMBERS)]
    members = [world.connector(BATCH_MAX_EVENTS="20", MAX_IN_FLIGHT="3", **its) for its in own]
    _until_all_run(members)
    load = Load(world, Traffic(world, _PARTITIONS, seed=1, mix=PLAIN), rate)
    load.start()
    codes = []
    try:
        for number in range(restarts):
            turn = number % _MEMBERS
            before = sandbox.status()["accepted"]
            eventually(lambda before=before: sandbox.status()["accepted"] > before + 50, "events flow", _SETTLED_SECONDS)  # type: ignore[misc]  # mypy cannot infer a lambda's default
            codes.append(members[turn].stop())
            members[turn].start(world.settings(BATCH_MAX_EVENTS="20", MAX_IN_FLIGHT="3", **own[turn]))
            _until_all_run(members)
    finally:
        load.stop()
    produced = {record.event_id for record in load.records if record.event_id is not None}
    eventually(lambda: sandbox.status()["accepted"] >= len(produced), "everything is accepted", _SETTLED_SECONDS)
    world.until_committed_to_the_end()
    codes += [member.stop() for member in members]
    return Rolled(produced, sandbox.accepted(), codes)


def _until_all_run(members: list[ConnectorProcess]) -> None:
    """Wait until each member has partitions, and all partitions run."""

    def settled() -> bool:
        running = [len(re.findall(r"<td>running", member.page("/")[1])) for member in members]
        return min(running) > 0 and sum(running) == _PARTITIONS

    eventually(settled, "every member has partitions, and all of them run", _SETTLED_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Roll, and print the account."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.rolling", description=__doc__)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--protocol", choices=("classic", "consumer"), action="append", help="default: both")
    parser.add_argument("--members", choices=("dynamic", "static"), action="append", help="default: both")
    options = parser.parse_args(arguments)
    failed = False
    with ExitStack() as stack:
        servers = os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS") or stack.enter_context(Cluster()).bootstrap_servers
        for protocol in options.protocol or ("classic", "consumer"):
            for kind in options.members or ("dynamic", "static"):
                began = time.monotonic()
                rolled = _rolled(servers, options.restarts, protocol, static=kind == "static")
                wrong = bool(rolled.lost or rolled.twice or set(rolled.codes) != {0})
                failed = failed or wrong
                print(
                    f"{protocol}, {kind} members, {options.restarts} restarts: {len(rolled.produced):,} produced, "
                    f"{len(rolled.lost)} lost, {len(rolled.twice)} delivered twice, exit codes {sorted(set(rolled.codes))}, "
                    f"{time.monotonic() - began:.0f} s",
                    flush=True,
                )
    return int(failed)


def _rolled(servers: str, restarts: int, protocol: str, *, static: bool) -> Rolled:
    with tempfile.TemporaryDirectory() as directory:
        sandbox = Sandbox(Path(directory))
        try:
            with closing(World(servers, sandbox, Path(directory))) as world:
                return roll(world, sandbox, restarts, static=static, KAFKA_GROUP_PROTOCOL=protocol)
        finally:
            sandbox.kill()


if __name__ == "__main__":
    sys.exit(main())
