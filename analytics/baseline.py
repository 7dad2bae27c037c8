"""What is usual for one person at one time of day: median and 1.4826·MAD per hour band, from the last 28 days.

Kept as counts in narrow bins. A day is added once and taken off once, 28 days later: what a day costs does not grow
with the history, and a person's state has a fixed size. The medians are those of the binned values, exactly.

The factor makes the median absolute deviation consistent for a normal distribution (Rousseeuw & Croux 1993).

The state lives as long as one run and is made out of the readings that the store holds then: when those are erased,
nothing of the person is left anywhere to compute a baseline from.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.windows import BANDS

HISTORY_DAYS: Final = 28
#: With fewer days of history than this the scored day itself is added, so that a first day counts.
DAYS_MIN: Final = 3
#: Still minutes that a median needs; an hour band with fewer uses all hours, and all hours with fewer the constants.
MINUTES_MIN: Final = 30
MAD_TO_SD: Final = 1.4826
#: Bins, in units of the public scale from the public centre; what lies beyond them counts in the outermost.
BIN_WIDTH: Final = 0.025
BIN_LOW: Final = -5.0
BINS: Final = 600


class Usual(NamedTuple):
    """Centre and scale in the features' units: per hour band, [persons, BANDS, features], and of all hours together."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    day_centre: NDArray[np.float64]  # [persons, features]
    day_scale: NDArray[np.float64]


class StillMinutes(NamedTuple):
    """The still, worn minutes of some people: arrays of one length, n."""

    person: NDArray[np.int32]
    day: NDArray[np.int32]  # ordinal
    band: NDArray[np.int32]
    features: NDArray[np.float64]  # [n, features], NaN where absent


class Baselines(Protocol):
    """What is usual for a fixed group of people. Days come in order, each once."""

    def usual(self, day: int, today: StillMinutes) -> Usual:
        """The baseline with which a day (ordinal) is scored; the day is added to the history."""

    def add(self, day: int, today: StillMinutes) -> None:
        """Add a day that is not scored."""


class Constants(NamedTuple):
    """The public centre and scale of each feature, for who has too few minutes; half the scale is the least scale."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]


class PublicBaselines:
    """The public constants for everybody, whatever was or will be: nothing of a day's later minutes is used."""

    def __init__(self, *, persons: int, constants: Constants) -> None:
        self._usual = _public(persons, constants)

    def usual(self, day: int, today: StillMinutes) -> Usual:  # noqa: ARG002 - the protocol's
        """The constants."""
        return self._usual

    def add(self, day: int, today: StillMinutes) -> None:
        """Nothing is kept."""


def _public(persons: int, constants: Constants) -> Usual:
    banded, all_day = (persons, BANDS, len(constants.centre)), (persons, len(constants.centre))
    centre, scale = np.asarray(constants.centre), np.asarray(constants.scale)
    return Usual(
        np.broadcast_to(centre, banded), np.broadcast_to(scale, banded),
        np.broadcast_to(centre, all_day), np.broadcast_to(scale, all_day),
    )  # fmt: skip


class _Day(NamedTuple):
    """What a day added, to be taken off again."""

    day: int
    cells: NDArray[np.int64]  # flat indices into the counts, one per value
    people: NDArray[np.int32]  # who had a still minute, each once


class RollingBaselines:
    """The baselines of a fixed group of people; days are added in order."""

    def __init__(self, *, persons: int, constants: Constants) -> None:
        self._constants = constants
        self._centre = np.asarray(constants.centre)
        self._scale = np.asarray(constants.scale)
        # 28 days hold 40,320 minutes: 16 bits are enough.
        self._counts = np.zeros((persons, BANDS, len(constants.centre), BINS), np.uint16)
        self._days_seen = np.zeros(persons, np.int64)
        self._days: deque[_Day] = deque()

    def add(self, day: int, today: StillMinutes) -> None:
        """Add the minutes of one day, later than all added before. Raises ValueError for another order."""
        if self._days and day <= self._days[-1].day:
            raise ValueError("days are added in order, each once")
        self._expire(day + 1)
        rows, column = np.nonzero(np.isfinite(today.features))
        z = (today.features[rows, column] - self._centre[column]) / self._scale[column]
        place = np.ravel_multi_index(
            (today.person[rows], today.band[rows], column, binned(z)), self._counts.shape
        ).astype(np.int64)
        people = np.unique(today.person)
        np.add.at(self._counts.reshape(-1), place, np.uint16(1))
        self._days_seen[people] += 1
        self._days.append(_Day(day, place, people))

    def usual(self, day: int, today: StillMinutes) -> Usual:
        """Out of the 28 days before, of what was added of them; of who has fewer than three, out of this day too."""
        self._expire(day)
        found = Usual(*(values.copy() for values in _public(len(self._days_seen), self._constants)))
        known = self._days_seen >= DAYS_MIN
        self._own(known, found)
        self.add(day, today)
        novice = ~known
        novice[np.setdiff1d(np.flatnonzero(novice), today.person)] = False  # nobody asks
        self._own(novice, found)
        return found

    def _own(self, people: NDArray[np.bool_], found: Usual) -> None:
        """Put these people's own centre and scale where they have minutes enough."""
        if not people.any():
            return
        counts = self._counts[people]
        all_day = median_mad(counts.sum(axis=1, dtype=np.uint16))
        banded = median_mad(counts)
        # Where a band has too few minutes all hours have the word, and where those have too few, the constants.
        self._put(all_day, found.day_centre, found.day_scale, people)
        found.centre[people] = found.day_centre[people][:, None]
        found.scale[people] = found.day_scale[people][:, None]
        self._put(banded, found.centre, found.scale, people)

    def _put(
        self, middle: Middle, centre: NDArray[np.float64], scale: NDArray[np.float64], people: NDArray[np.bool_]
    ) -> None:
        enough = middle.n >= MINUTES_MIN
        centre[people] = np.where(enough, self._centre + middle.centre * self._scale, centre[people])
        scale[people] = np.where(enough, np.maximum(middle.spread, 0.5) * self._scale, scale[people])

    def _expire(self, day: int) -> None:
        """Take off the days that lie more than 28 before `day`."""
        while self._days and self._days[0].day < day - HISTORY_DAYS:
            old = self._days.popleft()
            np.subtract.at(self._counts.reshape(-1), old.cells, np.uint16(1))
            self._days_seen[old.people] -= 1


def binned(z: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bins of values in public units."""
    return np.clip(np.rint((z - BIN_LOW) / BIN_WIDTH), 0, BINS - 1).astype(np.int64)


class Middle(NamedTuple):
    """Median and 1.4826·MAD in public units, NaN of nothing; and of how many values: arrays [...]."""

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    n: NDArray[np.int64]


def median_mad(counts: NDArray[np.uint16]) -> Middle:
    """Median and 1.4826·MAD of binned values; `counts` is [..., BINS]."""
    upto = np.cumsum(counts, axis=-1, dtype=np.int32)  # [..., BINS]: values in this bin and those below
    count = upto[..., -1].astype(np.int64)
    ranks = (np.maximum(count - 1, 0) // 2, count // 2)  # the two in the middle, or one twice
    last = BINS - 1
    # Twice the median's bin: an even number of values may have it between two bins.
    one, other = (np.minimum((upto <= rank[..., None]).sum(axis=-1, dtype=np.int64), last) for rank in ranks)
    middle = one + other
    spread = sum(_distance(upto, middle, rank) for rank in ranks) / 4  # two ranks, in half bins
    empty = count == 0
    centre = np.where(empty, np.nan, BIN_LOW + BIN_WIDTH * middle / 2)
    return Middle(centre, np.where(empty, np.nan, MAD_TO_SD * BIN_WIDTH * spread), count)


def _distance(upto: NDArray[np.int32], middle: NDArray[np.int64], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distance to the middle that `rank` values do not reach, in half bins: by bisection in all rows at once."""
    low = np.zeros_like(rank)
    high = np.full_like(rank, 2 * BINS)

    def below(half_bins: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many values lie in the bins up to this place, told in half bins."""
        place = half_bins // 2
        held = np.take_along_axis(upto, np.clip(place, 0, BINS - 1)[..., None], axis=-1)[..., 0]
        return np.where(place < 0, 0, held).astype(np.int64)

    while (low < high).any():
        half = (low + high) // 2
        within = below(middle + half) - below(middle - half - 1)
        enough = within > rank
        high = np.where(enough, half, high)
        low = np.where(enough, low, np.minimum(half + 1, high))
    return low
