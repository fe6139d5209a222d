"""The simulation bites: each classic bug, put in on purpose, is found, by the check that is to find it."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS, Bug, hunt

_SEEDS = range(1, 301)
"""Twice what the rarest needs: a change of the connector tells every seed another story."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_bug_is_found(bug: Bug) -> None:
    found = hunt(bug, _SEEDS)

    assert found is not None, f"not found by {len(_SEEDS)} seeds"
    assert found.complaint.startswith(tuple(bug.caught_by.split("|"))), found.complaint
