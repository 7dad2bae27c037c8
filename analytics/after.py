"""What arithmetic on released figures adds at no cost in privacy: what made one change, and an estimate by all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from analytics.signals import SMOOTHED_MIN, Figures, decompose, smooth, standard_error
from contracts.release import MEASURED, Cell, Metric

_INDEX: Final[Metric] = "wellbeing"


class Change(NamedTuple):
    """How well-being changed between two windows, and what each part added; the parts sum to the points."""

    before: Cell
    after: Cell
    points: float  # one decimal
    margin: float  # half of the 95 % interval, as if the two windows' errors were independent: it is rather too wide
    parts: tuple[tuple[str, float], ...]  # (measured metric, points)

    @property
    def clear(self) -> bool:
        """Whether it is more than chance and noise would bring."""
        return abs(self.points) > self.margin


def newest_change(courses: Mapping[Metric, Sequence[Cell]]) -> Change | None:
    """Between the two newest windows of which everything was published; None when there are no two."""
    by_window = [{cell.window: cell for cell in courses.get(metric, ())} for metric in MEASURED]
    complete: list[tuple[Cell, Figures]] = []
    for index in courses.get(_INDEX, ()):
        values = [cells[index.window].value for cells in by_window if index.window in cells]
        known = [value for value in values if value is not None]
        if index.value is not None and len(known) == len(MEASURED):
            complete.append((index, Figures(*known)))
    if len(complete) < 2:
        return None
    (before, then), (after, now) = complete[-2:]
    parts = tuple((name, round(points, 1) + 0.0) for name, points in decompose(then, now)._asdict().items())
    margin = math.hypot(before.margin or 0.0, after.margin or 0.0)
    return Change(before, after, round(sum(points for _, points in parts), 1) + 0.0, round(margin, 1), parts)


def smoothed(cells: Iterable[Cell]) -> dict[str, float]:
    """Area -> its measured figure drawn towards the others' mean, by how unsure it is; none below four areas.

    One cell of each area, of one metric. To be shown beside the measured value, and never in its place.
    """
    told = {
        cell.area: (cell.value, standard_error(cell.margin))
        for cell in cells
        if cell.metric in MEASURED and cell.value is not None and cell.margin
    }
    if len(told) < SMOOTHED_MIN:
        return {}
    values, errors = np.array(list(told.values()), np.float64).T
    return {area: round(value, 1) for area, value in zip(told, smooth(values, errors).values.tolist(), strict=True)}
