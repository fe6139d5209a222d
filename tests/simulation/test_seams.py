"""Nothing of the world outside reaches a simulated run, and nothing of a simulated run stays behind."""

from __future__ import annotations

import ast
from pathlib import Path

from connector import runtime
from connector.kafka import cluster, consumer, dead_letters, ledger, managed_topics, producer, reader
from tests.simulation.seams import SEAMS, simulated

_OUTSIDE = {"time", "threading", "queue", "random", "Consumer", "Producer", "AdminClient"}
_GIVEN = {(cluster, "AdminClient"), (cluster, "Consumer")}
"""Annotations only: the shell hands the thing itself over."""


def test_every_name_of_the_outside_that_a_simulated_module_uses_is_replaced() -> None:
    replaced = {(module, name) for module, name, _ in SEAMS}
    for module in (cluster, consumer, dead_letters, ledger, managed_topics, producer, reader, runtime):
        tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.asname or alias.name for alias in node.names} & _OUTSIDE
                for name in names:
                    assert (module, name) in replaced | _GIVEN, f"{module.__name__} has {name} of the world outside"


def test_what_was_replaced_is_put_back() -> None:
    before = [getattr(module, name) for module, name, _ in SEAMS]
    with simulated():
        assert [getattr(module, name) for module, name, _ in SEAMS] == [fake for _, _, fake in SEAMS]
    assert [getattr(module, name) for module, name, _ in SEAMS] == before
