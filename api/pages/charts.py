"""The course of a figure as SVG: a line with its margin as a band, and withheld windows hatched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from contracts.release import Cell

#: The size of the drawing's own units; it is stretched to the space that there is.
WIDE: Final = 1000.0
HIGH: Final = 100.0
#: Two windows this far apart (in windows) are not joined by the line.
_GAP_WINDOWS: Final = 1.5
#: So many windows of empty room on each side of one that is alone.
_AROUND_ONE: Final = 3


class Dot(NamedTuple):
    """One published window."""

    x: float  # percent of the width
    y: float  # percent of the height
    cell: Cell


class Stripe(NamedTuple):
    """One withheld window."""

    x: float  # percent of the width
    width: float  # percent of the width
    cell: Cell


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is drawn of a run of windows."""

    bands: tuple[str, ...]  # SVG path data in a box of WIDE by HIGH
    lines: tuple[str, ...]
    dots: tuple[Dot, ...]
    stripes: tuple[Stripe, ...]


def draw_course(cells: Sequence[Cell]) -> Course:
    """Draw windows of one cadence, oldest first. The height is 0 to 100, always: a zoom would lend drama."""
    if not cells:
        return Course(bands=(), lines=(), dots=(), stripes=())
    begin, end = cells[0].start, cells[-1].end
    if len(cells) == 1:  # across the whole width it would look like a course
        begin, end = begin - _AROUND_ONE * (end - begin), end + _AROUND_ONE * (end - begin)

    def across(seconds: float) -> float:
        return (seconds - begin) / (end - begin) * WIDE

    runs: list[list[Cell]] = []
    for cell in cells:
        if cell.value is None:
            continue
        if runs and cell.start - runs[-1][-1].start < _GAP_WINDOWS * (cell.end - cell.start):
            runs[-1].append(cell)
        else:
            runs.append([cell])
    bands, lines, dots = [], [], []
    for run in runs:
        xs = [across((c.start + c.end) / 2) for c in run]
        middle = [_down(c.value or 0.0) for c in run]
        upper = [_down((c.value or 0.0) + (c.margin or 0.0)) for c in run]
        lower = [_down((c.value or 0.0) - (c.margin or 0.0)) for c in run]
        edges = [across(run[0].start), *xs, across(run[-1].end)]  # a window has a width, also when it is alone
        over = list(zip(edges, _ends_repeated(upper), strict=True))
        under = list(zip(edges, _ends_repeated(lower), strict=True))
        bands.append(_path(over + under[::-1]) + "z")
        lines.append(_path(list(zip(edges, _ends_repeated(middle), strict=True))))
        dots += [Dot(x / WIDE * 100, y / HIGH * 100, c) for x, y, c in zip(xs, middle, run, strict=True)]
    stripes = [
        Stripe(across(c.start) / WIDE * 100, (c.end - c.start) / (end - begin) * 100, c)
        for c in cells
        if c.value is None
    ]
    return Course(bands=tuple(bands), lines=tuple(lines), dots=tuple(dots), stripes=tuple(stripes))


def _down(value: float) -> float:
    return HIGH - min(100.0, max(0.0, value)) / 100 * HIGH


def _ends_repeated(values: list[float]) -> list[float]:
    return [values[0], *values, values[-1]]


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
