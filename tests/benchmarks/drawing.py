"""SVG of the benchmarks: curves over time, one row above the other, the times of trouble shaded; and pairs of bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Bar", "Points", "Row", "Shade", "draw", "draw_bars"]

Points = Sequence[tuple[float, float]]
"""Seconds since the beginning, and the value then."""

_WIDTH, _HEIGHT, _GAP = 720, 120, 30
_MOST_POINTS = 360
_TITLES, _FIGURE, _BAR_GAP = 190, 40, 38
_COLOURS = ("#1f4e79", "#c0392b")


@dataclass(frozen=True, slots=True)
class Row:
    """What is drawn above each other, on one scale that begins at zero."""

    title: str
    lines: tuple[Points, ...]
    """At most two: blue, then red."""


@dataclass(frozen=True, slots=True)
class Shade:
    """A time of trouble, in seconds since the beginning."""

    begins: float
    ends: float
    title: str = ""


def draw(rows: Sequence[Row], seconds: float, shades: Sequence[Shade], caption: str) -> str:
    """Draw so many seconds."""
    drawn = []
    for number, row in enumerate(rows):
        top = number * (_HEIGHT + _GAP) + 25
        most = max((value for line in row.lines for _, value in line), default=0.0) or 1.0
        drawn += [
            f'<rect x="{shade.begins / seconds * _WIDTH:.0f}" y="{top}" '
            f'width="{(shade.ends - shade.begins) / seconds * _WIDTH:.0f}" height="{_HEIGHT}" fill="#f3e3d3"/>'
            for shade in shades
        ]
        if number == 0:
            drawn += [
                f'<text x="{shade.begins / seconds * _WIDTH + 4:.0f}" y="{top + 14}" fill="#8a5a2b">{shade.title}</text>'
                for shade in shades
            ]
        drawn.append(f'<text y="{top - 6}">{row.title}: at most {most:,.0f}</text>')
        drawn += [
            f'<polyline points="{_points(line, seconds, top, most)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            for line, colour in zip(row.lines, _COLOURS, strict=False)
        ]
    return _picture(drawn, len(rows) * (_HEIGHT + _GAP) + 25, caption)


def _picture(drawn: Sequence[str], height: int, caption: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-5 0 {_WIDTH + 10} {height}" font-family="sans-serif" '
        f'font-size="13"><rect x="-5" width="{_WIDTH + 10}" height="{height}" fill="#fff"/>'
        f'{"".join(drawn)}<text y="{height - 10}">{caption}</text></svg>\n'
    )


def _points(line: Points, seconds: float, top: int, most: float) -> str:
    return " ".join(
        f"{line[at][0] / seconds * _WIDTH:.0f},{top + _HEIGHT - line[at][1] / most * _HEIGHT:.0f}"
        for at in range(0, len(line), max(1, len(line) // _MOST_POINTS))
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """What is compared."""

    title: str
    values: tuple[float, float]
    """Drawn one below the other, blue and red."""


def draw_bars(bars: Sequence[Bar], meanings: tuple[str, str], caption: str) -> str:
    """Draw two bars for each, on one scale, with a line at 1."""
    most = max(1.0, *(value for bar in bars for value in bar.values))
    scale = (_WIDTH - _TITLES - _FIGURE) / most
    drawn = []
    for number, (meaning, colour) in enumerate(zip(meanings, _COLOURS, strict=True)):
        drawn.append(f'<text x="{_TITLES + number * 240}" y="16" fill="{colour}">{meaning}</text>')
    for number, bar in enumerate(bars):
        top = number * _BAR_GAP + 30
        drawn.append(f'<text y="{top + 20}">{bar.title}</text>')
        for place, (value, colour) in enumerate(zip(bar.values, _COLOURS, strict=True)):
            y, width = top + place * 14, value * scale
            drawn.append(f'<rect x="{_TITLES}" y="{y}" width="{width:.0f}" height="12" fill="{colour}"/>')
            drawn.append(f'<text x="{_TITLES + width + 4:.0f}" y="{y + 11}">{value:.2f}</text>')
    bottom = len(bars) * _BAR_GAP + 30
    one = _TITLES + scale
    drawn.append(f'<line x1="{one:.0f}" x2="{one:.0f}" y1="25" y2="{bottom}" stroke="#888" stroke-dasharray="4"/>')
    return _picture(drawn, bottom + 30, caption)
