"""What is usual for one person at one time of day: median and 1.4826·MAD per hour band.

From the 28 local days before the day that is scored. The people of a chunk are handled at once: their values are
sorted a single time, and each day's medians are read off the sorted values. `Baselines` is what the scores need;
an incremental form with another inside takes this one's place.

The factor makes the median absolute deviation consistent for a normal distribution (Rousseeuw & Croux 1993).
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.windows import BANDS

HISTORY_DAYS: Final = 28
#: With fewer days of history than this the scored day itself is added, so that a first day counts.
DAYS_MIN: Final = 3
#: Still minutes that a median needs; an hour band with fewer uses all hours.
MINUTES_MIN: Final = 30
MAD_TO_SD: Final = 1.4826


class Usual(NamedTuple):
    """Centre and scale, [persons, BANDS, features]; NaN where there are too few minutes to say, or nobody asks."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]


class Baselines(Protocol):
    """What is usual before a day."""

    def before(self, day: int) -> Usual:
        """The baseline with which a day (ordinal) is scored, for the hour bands in which it has still minutes."""


class StillMinutes(NamedTuple):
    """The still, worn minutes of some people: arrays of one length, n."""

    person: NDArray[np.int32]
    day: NDArray[np.int32]  # ordinal
    band: NDArray[np.int8]
    features: NDArray[np.float64]  # [n, features], NaN where absent


class _Sorted(NamedTuple):
    value: NDArray[np.float64]
    cell: NDArray[np.int64]  # person · BANDS + band
    day: NDArray[np.int32]


class SortedBaselines:
    """Exact baselines out of all minutes of a chunk, held in memory."""

    def __init__(self, minutes: StillMinutes, *, persons: int, floors: tuple[float, ...]) -> None:
        """`floors`: the smallest scale of each feature, in its unit."""
        self._persons = persons
        self._floors = np.asarray(floors)
        self._minutes = minutes
        self._features = [_sorted(minutes, column) for column in range(len(floors))]
        seen = np.unique(minutes.person.astype(np.int64) << 32 | minutes.day)
        self._seen_person, self._seen_day = seen >> 32, seen & 0xFFFFFFFF

    def before(self, day: int) -> Usual:
        """The baseline with which a day (ordinal) is scored: O(minutes held)."""
        history = (self._seen_day >= day - HISTORY_DAYS) & (self._seen_day < day)
        days = np.bincount(self._seen_person[history], minlength=self._persons)
        novice = days < DAYS_MIN
        today = self._minutes.day == day
        asked = np.zeros(self._persons * BANDS, dtype=bool)
        asked[_cell(self._minutes.person[today], self._minutes.band[today])] = True
        usual = [self._one(column, day, novice, asked) for column in self._features]
        centre = np.stack([u.centre for u in usual], axis=-1)
        return Usual(centre, np.maximum(np.stack([u.scale for u in usual], axis=-1), self._floors))

    def _one(self, column: _Sorted, day: int, novice: NDArray[np.bool_], asked: NDArray[np.bool_]) -> Usual:
        taken = (column.day >= day - HISTORY_DAYS) & (column.day < day)
        today = np.flatnonzero(column.day == day)
        taken[today[novice[column.cell[today] // BANDS]]] = True
        value, cell = column.value[taken], column.cell[taken]
        counts = np.bincount(cell, minlength=self._persons * BANDS)
        centre, scale = median_mad(value, counts)
        short = counts < MINUTES_MIN
        centre, scale = np.where(short, np.nan, centre), np.where(short, np.nan, scale)
        short = (short & asked).reshape(-1, BANDS)
        centre, scale = centre.reshape(-1, BANDS), scale.reshape(-1, BANDS)
        if short.any():
            all_day = _all_hours(value, cell // BANDS, np.logical_or.reduce(short, axis=1))
            centre = np.where(short, all_day.centre, centre)
            scale = np.where(short, all_day.scale, scale)
        return Usual(centre, scale)


def _cell(person: NDArray[np.int32], band: NDArray[np.int8]) -> NDArray[np.int64]:
    return person.astype(np.int64) * BANDS + band


def _sorted(minutes: StillMinutes, column: int) -> _Sorted:
    value = minutes.features[:, column]
    there = np.flatnonzero(np.isfinite(value))
    cell = _cell(minutes.person[there], minutes.band[there])
    order = np.lexsort((value[there], cell))
    rows = there[order]
    return _Sorted(value[rows], cell[order], minutes.day[rows])


def _all_hours(value: NDArray[np.float64], person: NDArray[np.int64], wanted: NDArray[np.bool_]) -> Usual:
    """Over all hours, for the persons wanted only; [persons, 1], NaN with fewer than 30 minutes."""
    rows = wanted[person]
    value, person = value[rows], person[rows]
    order = np.lexsort((value, person))
    counts = np.bincount(person, minlength=len(wanted))
    centre, scale = median_mad(value[order], counts)
    few = counts < MINUTES_MIN
    return Usual(np.where(few, np.nan, centre)[:, None], np.where(few, np.nan, scale)[:, None])


def median_mad(
    value: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and 1.4826·MAD of each segment of `value`, which is sorted within segments; NaN for an empty one.

    `counts` [segments] are the lengths. Below the median the distances to it rise to the left, above it to the right:
    the MAD is the middle of two sorted runs, found by bisection in all segments at once, without another sort.
    """
    starts = np.cumsum(counts) - counts
    empty = counts == 0
    n = np.maximum(counts, 1)
    padded = np.append(value, np.nan)  # so that an empty last segment has something to point at
    centre = (padded[starts + (n - 1) // 2] + padded[starts + n // 2]) / 2
    middle = [_distance(padded, starts, n, centre, k) for k in ((n - 1) // 2, n // 2)]
    spread = MAD_TO_SD * (middle[0] + middle[1]) / 2
    return np.where(empty, np.nan, centre), np.where(empty, np.nan, spread)


def _distance(
    value: NDArray[np.float64],
    starts: NDArray[np.int64],
    n: NDArray[np.int64],
    centre: NDArray[np.float64],
    k: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The k-th smallest distance (from 0; at most half of the segment) to the centre in each segment."""
    below = n // 2
    above = n - below

    def left(i: NDArray[np.int64]) -> NDArray[np.float64]:
        distance = centre - value[starts + np.clip(below - 1 - i, 0, None)]
        return np.where(i < below, distance, np.inf)

    def right(i: NDArray[np.int64]) -> NDArray[np.float64]:
        distance = value[starts + np.clip(below + i, None, n - 1)] - centre
        return np.where(i < 0, -np.inf, np.where(i < above, distance, np.inf))

    # How many of the k nearest lie below: the smallest i with left(i) >= right(k - 1 - i).
    low, high = np.zeros_like(k), k
    while (open_ := low < high).any():
        half = (low + high) // 2
        enough = left(half) >= right(k - 1 - half)
        high = np.where(open_ & enough, half, high)
        low = np.where(open_ & ~enough, half + 1, low)
    nearest: NDArray[np.float64] = np.minimum(left(low), right(k - low))
    return nearest
