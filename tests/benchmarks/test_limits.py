"""The table of shares counts what the vendor saw."""

from __future__ import annotations

import pytest

from tests.benchmarks.limits import shares


@pytest.mark.parametrize("members", [1, 2])
def test_shares_are_of_the_limit(members: int) -> None:
    used, refused = shares(10, None, members, seed=1, end=60.0)
    assert 0.8 < used <= 1.05, "within any second no more is taken than the limit; the last one may be cut"
    assert 0 < refused < 0.3
