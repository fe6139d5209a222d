"""Draws lines over time as inline SVG. Pure, and without text: a picture stretches to any width.

A colour is a class, ``c0`` to ``c5``, whose value for light and for dark the page's style defines.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

__all__ = ["Line", "lines", "scale_top", "stack"]

_WIDTH, _HEIGHT = 1200, 200

Values = Sequence[float | None]


class Line(NamedTuple):
    """One line of a picture."""

    name: str
    colour: int
    values: Values
    """Oldest first; None for an unknown value."""


def scale_top(drawn: Sequence[Line], *, stacked: bool = False) -> float:
    """Return the top of a picture's scale; 0 if there is nothing to draw."""
    if stacked:
        return max((sum(value or 0 for value in values) for values in _across(drawn)), default=0)
    return max((value for line in drawn for value in line.values if value is not None), default=0)


def lines(drawn: Sequence[Line], label: str, points: int) -> str:
    """Draw each line by itself. The newest of ``points`` values is at the right edge."""
    top = scale_top(drawn) or 1
    paths = [
        f'<path class="line c{line.colour}" d="{_path(run, top)}"/>' for line in drawn for run in _runs(line.values, points)
    ]
    return _svg(label, paths)


def stack(drawn: Sequence[Line], label: str, points: int) -> str:
    """Draw areas on top of each other, the first at the bottom. An unknown value counts as 0."""
    top = scale_top(drawn, stacked=True) or 1
    heights = [list(accumulate(value or 0 for value in values)) for values in _across(drawn)]
    paths = []
    for number in reversed(range(len(drawn))):
        if any(drawn[number].values):
            upper = [(_x(at, len(heights), points), column[number]) for at, column in enumerate(heights)]
            down = f"L{upper[-1][0]:g} {_HEIGHT}L{upper[0][0]:g} {_HEIGHT}Z"
            paths.append(f'<path class="area c{drawn[number].colour}" d="{_path(upper, top)}{down}"/>')
    return _svg(label, paths)


def _across(drawn: Sequence[Line]) -> list[tuple[float | None, ...]]:
    return list(zip(*(line.values for line in drawn), strict=True))


def _x(at: int, count: int, points: int) -> float:
    return round(_WIDTH * (points - count + at) / max(points - 1, 1), 1)


def _runs(values: Values, points: int) -> list[list[tuple[float, float]]]:
    """Split a line at unknown values. A single point becomes a short dash."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((_x(at, len(values), points), value))
    step = _WIDTH / max(points - 1, 1)
    return [run if len(run) > 1 else [(run[0][0] - step / 2, run[0][1]), *run] for run in runs if run]


def _path(run: Sequence[tuple[float, float]], top: float) -> str:
    return "M" + "L".join(f"{x:g} {_HEIGHT - round(_HEIGHT * y / top, 1):g}" for x, y in run)


def _svg(label: str, paths: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{''.join(paths)}</svg>"
    )
