"""Members of a group are stopped and started one after the other, under load: nothing is delivered twice.

`test_shutdown.py` does three restarts; ``make rolling`` does twenty, for either protocol, and for
static and dynamic members.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tests.integration.ordeals.driver import Ordeal
from tests.integration.ordeals.group import Group
from tests.patience import eventually

__all__ = ["MEMBERS", "RATE", "SETTINGS", "ordeals", "roll", "until_events_flow"]

MEMBERS = ("dynamic", "static")
RATE = 120.0
SETTINGS: Mapping[str, str | None] = {
    "MAX_IN_FLIGHT": "3",
    "DRAIN_TIMEOUT": None,
    "KAFKA_SESSION_TIMEOUT_MS": None,
    "KAFKA_HEARTBEAT_INTERVAL_MS": None,
}
"""The program's own timeouts: a static member's partitions wait for it."""
_BETWEEN = 50
"""Events accepted between two restarts."""
_SETTLED_SECONDS = 90.0


def roll(groups: Sequence[Group], restarts: int) -> None:
    """Restart members in turn, so many times in each group."""
    for group in groups:
        group.sandbox.set_faults(latency_ms=100, delay=0.3, delay_min_ms=100, delay_max_ms=600)
    for turn in range(restarts):
        for group in groups:
            until_events_flow(group)
            member = group.members[turn % len(group.members)]
            group.struck("restart")
            group.leave(member)
            group.start_again(member)
            group.until_shared()


def ordeals(kinds: Collection[str], restarts: int) -> dict[str, Ordeal]:
    """Return an ordeal for each kind of members."""
    return {
        f"rolling, {kind}": Ordeal(
            lambda _, __, groups, ___: roll(groups, restarts),
            settings=SETTINGS,
            rate=RATE,
            members=3,
            static=kind == "static",
            may_repeat=False,
        )
        for kind in kinds
    }


def until_events_flow(group: Group) -> None:
    """Wait until a number of events was accepted from now on."""
    enough = group.sandbox.status()["accepted"] + _BETWEEN
    eventually(lambda: group.sandbox.status()["accepted"] > enough, "events flow", _SETTLED_SECONDS)
