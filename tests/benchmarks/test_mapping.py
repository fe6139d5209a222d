from __future__ import annotations

from tests.benchmarks.mapping import measure


def test_closures_cost_a_fraction_of_the_librarys_interpreter() -> None:
    found = measure(rounds=40)
    assert found.inputs == 18
    assert found.ratio < 0.5
    assert found.mapped > found.decoded
