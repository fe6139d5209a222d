from __future__ import annotations

from tests.benchmarks.mapping import measure, whole
from tests.mapping.support import TILL


def test_closures_cost_a_fraction_of_the_librarys_interpreter() -> None:
    found = measure(rounds=40)
    assert found.inputs == 18
    assert found.ratio < 0.5
    assert found.mapped > found.decoded


def test_an_example_is_read_whole_both_ways() -> None:
    assert min(whole("till", TILL, rounds=2)) > 0
