"""Ring 1 of the simulation: the pipeline alone, on virtual time, in a world full of faults, judged by an oracle.

More seeds: ``python -m tests.core.world --seeds 0-9999``.
"""

from __future__ import annotations

import pytest

from tests.core.world import run

_SEEDS_A_TEST = 20


@pytest.mark.parametrize("first", range(0, 100, _SEEDS_A_TEST))
def test_every_law_holds_whatever_the_world_does(first: int) -> None:
    for seed in range(first, first + _SEEDS_A_TEST):
        run(seed)
