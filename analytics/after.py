"""What arithmetic on released figures adds, at no cost in privacy.

What made a figure change, whether it fell below what is usual, and an estimate of each by all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from analytics.signals import (
    SMOOTHED_MIN,
    USUAL_WINDOWS,
    WATCHED_WINDOWS,
    WINDOWS_A_YEAR,
    Figures,
    cusum,
    decompose,
    smooth,
    standard_error,
    threshold_for,
)
from contracts.release import MEASURED, Cadence, Cell, Metric

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


class Watch(NamedTuple):
    """Whether a figure fell below what is usual, by a CUSUM with one false alarm a year in all that is watched."""

    needed: int  # windows from which the usual figure is learnt
    learnt: int  # of those that there are
    usual: float | None = None  # None until they are all there
    since: Cell | None = None  # the first window that is held against it
    fell: bool = False


def watch(windows: Sequence[Cell], cadence: Cadence, *, together: int) -> Watch:
    """Of all windows of one measured metric of an area, in one cadence, oldest first; `together`: how many are watched.

    The usual figure is the mean of so many published windows, and then held against the next ones; after these it is
    learnt anew from the last of them. It depends on nothing but the windows, whenever it is asked for.
    """
    shown = [cell for cell in windows if cell.value is not None and cell.margin]
    needed, watched = USUAL_WINDOWS[cadence], WATCHED_WINDOWS[cadence]
    begin = max(0, len(shown) - needed - 1) // watched * watched
    learnt, held = shown[begin : begin + needed], shown[begin + needed :]
    if not held:
        return Watch(needed, len(learnt))
    usual = sum(cell.value or 0.0 for cell in learnt) / needed
    z = np.array([((cell.value or 0.0) - usual) / standard_error(cell.margin or 0.0) for cell in held], np.float64)
    limit = threshold_for(together * WINDOWS_A_YEAR[cadence], learnt_from=needed)
    return Watch(needed, needed, round(usual, 1), held[0], bool((cusum(z) > limit).any()))
