"""A group is updated from e0780c9 and put back, one member at a time, under load: each member has either version.

The first member, of the earlier version, creates ledger and dead-letter topic. After that every restart
changes the version of the member that is restarted, so that partitions go from either version to either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.compatibility.history import BEFORE, environment, extracted
from tests.integration.ordeals.driver import Ordeal
from tests.integration.ordeals.group import Group
from tests.integration.ordeals.members import lines_of
from tests.integration.ordeals.rolling import RATE, SETTINGS, until_events_flow
from tests.integration.ports import reserved

__all__ = ["ordeals"]


def ordeals(directory: Path, restarts: int) -> dict[str, Ordeal]:
    """Return the ordeal, for one group at a time; ``directory`` is where the earlier version is unpacked.

    The earlier version does not say on which port it listens, so each member is given one.
    """
    package = environment(extracted(BEFORE, directory))
    ports = [str(port) for port in reserved(2)]
    earlier = [{**package, "LISTEN_PORT": port} for port in ports]
    now: list[dict[str, str | None]] = [dict.fromkeys(earlier[0])] * 2
    return {
        "mixed": Ordeal(
            lambda _, __, groups, ___: _change(groups, [earlier, now], restarts),
            settings={**SETTINGS, **earlier[0]},
            rate=RATE,
            members=1,
            may_repeat=False,
        )
    }


def _change(groups: Sequence[Group], versions: Sequence[Sequence[Mapping[str, str | None]]], restarts: int) -> None:
    for group in groups:
        group.sandbox.set_faults(latency_ms=100, delay=0.3, delay_min_ms=100, delay_max_ms=600)
        group.join(1, **versions[1][1])
        group.until_shared()
    for turn in range(restarts):
        for group in groups:
            until_events_flow(group)
            number = turn % 2
            member = group.members[number]
            group.struck("restart")
            group.leave(member)
            # Members 0 and 1 begin with versions 0 and 1, and each turn of theirs takes the other one.
            group.start_again(member, **versions[(number + turn // 2 + 1) % 2][number])
            group.until_shared()
    for group in groups:
        until_events_flow(group)
        # The earlier version does not say its revision.
        newer = sorted(
            "revision" in line for member in group.members for line in lines_of(member) if line["event"] == "started"
        )
        assert newer.count(False) > 1 < newer.count(True), newer
