"""Drives one ordeal: groups of members under load, a fault that strikes them, and a row of what came of it for each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.link import Link
from tests.integration.ordeals.group import Group, Outcome
from tests.integration.program import Sandbox, World

__all__ = ["COLUMNS", "Ordeal", "begin", "groups", "play", "settle"]

_MOST_LINES_A_MINUTE = 300
"""A line that repeats is written every ten seconds (docs/operating.md#log-lines);
libraries' own lines, of six clients, are in it too."""


@dataclass(frozen=True, slots=True)
class Ordeal:
    """A fault at length, and the groups it strikes."""

    strike: Callable[[Cluster, Link, Sequence[Group], int], object]
    """Takes the seed last."""
    settings: Mapping[str, str | None] = field(default_factory=dict)
    rate: float = 40.0
    members: int = 2
    """In each group."""
    linked: bool = False
    """Whether the last member of each group comes by the link."""
    static: bool = False
    """Whether each member has an instance id."""
    held: bool = False
    """Whether the sandbox's answers come by a link, on which one can be held."""
    may_repeat: bool = True
    """Whether anything may be accepted twice, with an excuse."""

    def closes(self, outcome: Outcome) -> bool:
        """Tell whether an account is as it must be."""
        return not outcome.breaches and not outcome.lost and (self.may_repeat or not outcome.twice.total())


@contextmanager
def groups(cluster: Cluster, directory: Path, protocols: Collection[str], **fields: Any) -> Iterator[list[Group]]:
    """Make a group of each protocol; end what they started."""
    worlds = [World(cluster.bootstrap_servers, Sandbox(directory), directory) for _ in protocols]
    made = [Group(world, protocol, **fields) for world, protocol in zip(worlds, protocols, strict=True)]
    try:
        yield made
    finally:
        for group in made:
            group.close()
            group.sandbox.kill()


def settle(group: Group) -> Outcome:
    """End the load, and hold the group to everything that must be true then."""
    outcome = group.finish()
    outcome.check()
    assert outcome.lost == 0
    for metrics in outcome.account.last_scrapes:
        assert metrics["connector_operator_needed"] == 0
    assert outcome.lines < _MOST_LINES_A_MINUTE, "a member floods its log"
    return outcome


def begin(groups: Sequence[Group], link: Link | None = None, *, members: int = 2, static: bool = False) -> None:
    """Have members join each group, the last by a link if there is one, and start the load."""
    for group in groups:
        for number in range(members):
            by_link = link if number == members - 1 else None
            group.join(
                KAFKA_BOOTSTRAP_SERVERS=by_link.bootstrap_servers if by_link else group.world.servers,
                KAFKA_GROUP_INSTANCE_ID=f"member-{number}" if static else None,
            )
    for group in groups:
        group.begin()


def play(name: str, ordeal: Ordeal, cluster: Cluster, protocols: Collection[str], seed: int) -> bool:
    """Run one ordeal, with a row for each protocol; return whether all accounts close."""
    directory = Path(tempfile.mkdtemp(prefix="ordeal-"))
    fields = {"settings": dict(ordeal.settings), "rate": ordeal.rate, "seed": seed, "held": ordeal.held}
    with cluster.link() as link, groups(cluster, directory, protocols, **fields) as struck:
        begin(struck, link if ordeal.linked else None, members=ordeal.members, static=ordeal.static)
        ordeal.strike(cluster, link, struck, seed)
        outcomes = [group.finish() for group in struck]
        for group, outcome in zip(struck, outcomes, strict=True):
            print(_row(name, group, outcome), flush=True)
            for breach in outcome.breaches:
                print(f"    {breach.invariant}: {breach.what}")
    if all_close := all(map(ordeal.closes, outcomes)):
        shutil.rmtree(directory)  # else the members' logs are wanted
    return all_close


COLUMNS = (
    f"{'ordeal':<16} {'protocol':<9} {'faults':>6} {'events':>7} {'lost':>5} {'twice':>6} {'of these unexcused':>18} "
    f"{'moved':>6} {'p50 s':>6} {'p99 s':>6}  refused commits"
)


def _row(name: str, group: Group, outcome: Outcome) -> str:
    waits = sorted(outcome.recoveries) or [0.0]
    p50, p99 = waits[len(waits) // 2], waits[min(len(waits) - 1, len(waits) * 99 // 100)]
    refused = ", ".join(f"{code} {count}" for code, count in sorted(outcome.refused.items()))
    return (
        f"{name:<16} {group.protocol:<9} {len(group.faults):>6} {len(group.load.records):>7} {outcome.lost:>5} "
        f"{outcome.twice.total():>6} {outcome.twice['no excuse']:>18} {outcome.moved:>6} {p50:>6.1f} {p99:>6.1f}  {refused}"
    )
