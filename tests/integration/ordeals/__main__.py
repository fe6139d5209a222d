"""Runs ordeals for long, with an account of each.

    python -m tests.integration.ordeals kills [--rounds N] [--deaths N] [--seed N]
    python -m tests.integration.ordeals rolling [--restarts N] [--members KIND ...] [--protocol NAME ...] [--seed N]
    python -m tests.integration.ordeals mixed [--restarts N] [--protocol NAME ...] [--seed N]
    python -m tests.integration.ordeals kubernetes [--seed N]
    python -m tests.integration.ordeals chaos [--only NAME ...] [--protocol NAME ...] [--seed N]

The exit code is 0 only if something was run and everything in every run is accounted for.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.integration.kafka.cluster import Cluster
from tests.integration.ordeals import chaos, kills, kubernetes, mixed, rolling
from tests.integration.ordeals.driver import COLUMNS, Ordeal, play
from tests.integration.ordeals.group import PROTOCOLS

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, and print its table; return the exit code."""
    found = _parser().parse_args(arguments)
    if found.kind == "kills":
        seed = Random().randrange(1 << 30) if found.seed is None else found.seed
        with _servers() as servers:
            return 0 if kills.run(servers, range(seed, seed + found.rounds), found.deaths) else 1
    if found.kind == "rolling":
        ordeals = rolling.ordeals(found.members or rolling.MEMBERS, found.restarts)
    elif found.kind == "mixed":
        with tempfile.TemporaryDirectory(prefix="earlier-") as directory:
            ordeals = mixed.ordeals(Path(directory), found.restarts)
            closed = [_all_close(ordeals, [each], found.seed, nodes=1) for each in found.protocol or PROTOCOLS]
            return 0 if all(closed) else 1
    elif found.kind == "kubernetes":
        with tempfile.TemporaryDirectory(prefix="kubernetes-") as directory:
            return 0 if _all_close(kubernetes.ordeals(Path(directory)), ["classic"], found.seed, nodes=1) else 1
    else:
        ordeals = {name: chaos.ORDEALS[name] for name in found.only or chaos.ORDEALS}
    return 0 if _all_close(ordeals, found.protocol or list(PROTOCOLS), found.seed) else 1


def _all_close(ordeals: dict[str, Ordeal], protocols: Sequence[str], seed: int, nodes: int = 3) -> bool:
    with Cluster(nodes=nodes) as cluster:
        print(COLUMNS, flush=True)
        close = [play(name, ordeal, cluster, protocols, seed) for name, ordeal in ordeals.items()]
    return all(close)


@contextmanager
def _servers() -> Iterator[str]:
    if named := os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS"):
        yield named
        return
    with Cluster() as cluster:
        yield cluster.bootstrap_servers


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.integration.ordeals", description="Break things under load.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kind = kinds.add_parser("kills", help="kill two members at random")
    kind.add_argument("--rounds", type=int, default=20, help="rounds, of a topic each (default: 20)")
    kind.add_argument("--deaths", type=int, default=8, help="deaths in a round (default: 8)")
    kind.add_argument("--seed", type=int, help="of the first round; the next has the next (default: drawn)")
    kind = kinds.add_parser("rolling", help="stop and start members in turn")
    kind.add_argument("--restarts", type=int, default=20)
    kind.add_argument("--members", choices=rolling.MEMBERS, action="append", help="default: both")
    kind.add_argument("--protocol", choices=PROTOCOLS, action="append", help="default: both")
    kind.add_argument("--seed", type=int, default=1)
    kind = kinds.add_parser(
        "mixed", help="members of e0780c9 and of this version in one group, updated and put back in turn"
    )
    kind.add_argument("--restarts", type=int, default=12)
    kind.add_argument("--protocol", choices=PROTOCOLS, action="append", help="default: both")
    kind.add_argument("--seed", type=int, default=1)
    kind = kinds.add_parser(
        "kubernetes", help="upgrade, scale, rotate, outage and deploy, with the environment of the rendered manifests"
    )
    kind.add_argument("--seed", type=int, default=1)
    kind = kinds.add_parser("chaos", help="brokers and members fail")
    kind.add_argument("--only", action="append", choices=chaos.ORDEALS, help="this ordeal, and others so named")
    kind.add_argument("--protocol", choices=PROTOCOLS, action="append", help="default: both")
    kind.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the table so far is printed all the same
    sys.exit(main())
