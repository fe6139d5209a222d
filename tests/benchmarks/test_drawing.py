"""The curves that are committed beside the benchmarks: every row is there, and stays within its frame."""

from __future__ import annotations

import re

from tests.benchmarks.drawing import Row, Shade, draw


def test_each_line_is_drawn_on_the_scale_of_its_row_and_the_trouble_is_shaded_in_every_row() -> None:
    rows = (Row("rate", ([(0, 0), (50, 20), (100, 10)], [(0, 5), (100, 5)])), Row("limit", ([(0, 8), (100, 8)],)))

    picture = draw(rows, 100, [Shade(25, 50, "slow")], "100 s")

    assert re.findall(r'<polyline points="([^"]*)"', picture) == ["0,145 360,25 720,85", "0,115 720,115", "0,175 720,175"]
    assert re.findall(r'<rect x="180" y="(\d+)" width="180"', picture) == ["25", "175"]
    assert re.findall(r">([^<]+)</text>", picture) == ["slow", "rate: at most 20", "limit: at most 8", "100 s"]


def test_a_row_of_nothing_is_a_line_on_the_ground() -> None:
    assert '<polyline points="0,145 720,145"' in draw([Row("refused", ([(0, 0), (9, 0)],))], 9, [], "")
