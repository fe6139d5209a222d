"""The simulation bites: each classic bug, put in on purpose, is found, by the check that is to find it."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.simulation.bugs import BUGS, Bug, hunt

_SEEDS = range(1, 1001)
"""Several times what the rarest needs: a change of the connector tells every seed another story."""

_FOUND_AT = {
    "Retry-After not kept": 43,
    "a ledger read in part taken for whole": 134,
    "a partition sought before it is resumed": 43,
    "a seek undone by a late answer believed": 34,
    "an answer resolves the next assignment": 99,
    "no pause at the bound": 619,
    "sent although the consumer stands still": 46,
}
"""The seed that found a bug last, of those that took long: where the search begins. It goes on through all the others."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_bug_is_found(bug: Bug) -> None:
    first = _FOUND_AT.get(bug.name, _SEEDS[0])
    found = hunt(bug, chain(range(first, _SEEDS.stop), range(_SEEDS.start, first)))

    assert found is not None, f"not found by {len(_SEEDS)} seeds"
    assert found.complaint.startswith(tuple(bug.caught_by.split("|"))), found.complaint


def test_the_search_begins_where_bugs_that_there_are_were_found() -> None:
    assert _FOUND_AT.keys() <= {bug.name for bug in BUGS}
    assert set(_FOUND_AT.values()) <= set(_SEEDS)
