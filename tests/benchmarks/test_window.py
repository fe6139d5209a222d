"""The window's benchmark measures what it says. One figure has to hold: memory per key."""

from __future__ import annotations

import pytest

from tests.benchmarks.window import main, measured


def test_a_key_takes_no_more_memory_than_the_readme_says() -> None:
    found = measured(300_000, "python")

    assert 80 < found.bytes_a_key < 130
    assert found.expired > 0
    assert 0 < found.longest_expiry_seconds < 1
    assert 0 < found.longest_free_seconds < 1


def test_it_prints_a_line_for_each_number_of_keys(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--codec", "python", "--keys", "500", "1000"]) == 0
    which, *lines = capfd.readouterr().out.splitlines()
    assert "CODEC=python" in which
    assert [line.split()[0] for line in lines] == ["500", "1,000"]
