"""Charts of the last hour: what is drawn where. An unknown value is not drawn."""

from __future__ import annotations

import re

from connector.operations.drawing import Line, lines, scale_top, stack


def _paths(svg: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """Return class and points of each path."""
    found = []
    for kind, drawn in re.findall(r'<path class="([^"]*)" d="([^"]*)"/>', svg):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", drawn)]
        found.append((kind, list(zip(numbers[::2], numbers[1::2], strict=True))))
    return found


def test_line_ends_at_the_right_edge_and_its_top_is_the_largest_value() -> None:
    drawn = [Line("a", 0, [0, 5, 10]), Line("b", 5, [None, 10, 5])]

    assert scale_top(drawn) == 10
    assert _paths(lines(drawn, "label", 5)) == [
        ("line c0", [(600, 200), (900, 100), (1200, 0)]),
        ("line c5", [(900, 0), (1200, 100)]),
    ]


def test_line_breaks_where_nothing_is_known() -> None:
    (first, second) = _paths(lines([Line("a", 0, [1, None, 1, 1])], "label", 4))

    assert [x for x, _ in first[1]] == [-200, 0], "one value alone is a dash that ends at it"
    assert [x for x, _ in second[1]] == [800, 1200]


def test_areas_stand_on_each_other_and_an_empty_one_is_left_out() -> None:
    drawn = [Line("a", 0, [1, 3]), Line("none", 1, [0, 0]), Line("b", 4, [1, None])]

    assert scale_top(drawn, stacked=True) == 3
    assert _paths(stack(drawn, "label", 2)) == [
        ("area c4", [(0, 66.7), (1200, 0), (1200, 200), (0, 200)]),
        ("area c0", [(0, 133.3), (1200, 0), (1200, 200), (0, 200)]),
    ]


def test_picture_of_nothing_is_a_picture_without_paths() -> None:
    empty = [Line("a", 0, []), Line("b", 1, [])]

    assert scale_top(empty) == scale_top(empty, stacked=True) == 0
    for svg in (lines(empty, "label", 120), stack(empty, "label", 120), lines([Line("a", 0, [None] * 9)], "label", 120)):
        assert _paths(svg) == []
        assert 'aria-label="label"' in svg
