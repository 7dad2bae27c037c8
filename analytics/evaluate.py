"""How well calm tells labelled stress from labelled rest: areas under the ROC curve per person, then over people.

Nothing is fitted here. A window is one UTC minute that lies wholly inside one labelled segment, with the calm that
`analytics.scores` gives that minute. An area is the chance that the calm of a stress window is below that of a rest
window, ties counted half (Mann-Whitney): .5 is chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.reading import MINUTE_S

Floats = NDArray[np.float64]

#: Permutations of a person's labels, and rotations by so many windows at least; the seed makes a table repeatable.
PERMUTATIONS: Final = 200
ROTATION_MIN: Final = 5
_SEED: Final = 1


class Segment(NamedTuple):
    """A labelled span of one recording, [start, end), unix seconds."""

    start: float
    end: float
    stress: bool


class Windows(NamedTuple):
    """One person's labelled windows in order of time: arrays of one length."""

    calm: Floats  # 0-100, NaN where not scored
    stress: NDArray[np.bool_]
    later: NDArray[np.bool_]  # after the first stress segment began


class Person(NamedTuple):
    """One person's areas (NaN where they cannot be told) and coverage."""

    stress_vs_rest: float
    stress_vs_later_rest: float
    placebo: float  # later rest against first rest
    shuffled: float  # labels permuted over the windows: the mean of many
    rolled: float  # labels moved round in time, their lengths kept: the mean over all shifts
    covered_stress: float  # share of windows scored
    covered_rest: float


class Spread(NamedTuple):
    """A figure over people, of those who have it."""

    median: float
    q1: float
    q3: float
    people: int


AREAS: Final = ("stress_vs_rest", "stress_vs_later_rest", "placebo", "shuffled", "rolled")


def label(minute: NDArray[np.int64], calm: Floats, segments: Sequence[Segment]) -> Windows:
    """The windows of a recording: of its minutes [n] (unix seconds, rising) those wholly inside one segment."""
    first_stress = min((s.start for s in segments if s.stress), default=math.inf)
    inside = np.zeros(len(minute), np.bool_)
    stress = np.zeros(len(minute), np.bool_)
    for segment in segments:
        own = (minute >= segment.start) & (minute + MINUTE_S <= segment.end)
        inside |= own
        stress |= own & segment.stress
    return Windows(calm[inside], stress[inside], minute[inside] >= first_stress)


def auc(lower: Floats, higher: Floats) -> float:
    """The chance that a value of `lower` is below one of `higher`, ties half; NaN when either has no finite value."""
    lower, higher = lower[np.isfinite(lower)], np.sort(higher[np.isfinite(higher)])
    if not lower.size or not higher.size:
        return math.nan
    at_most = np.searchsorted(higher, lower, "left") + np.searchsorted(higher, lower, "right")
    return 1.0 - float(at_most.mean()) / (2 * higher.size)


def measure(windows: Windows) -> Person:
    """One person's figures."""
    calm, stress, later = windows
    rest = ~stress
    return Person(
        stress_vs_rest=auc(calm[stress], calm[rest]),
        stress_vs_later_rest=auc(calm[stress], calm[rest & later]),
        placebo=auc(calm[rest & later], calm[rest & ~later]),
        shuffled=_mean(_permuted(windows)),
        rolled=_mean(
            auc(calm[turned], calm[~turned])
            for turned in (np.roll(stress, shift) for shift in range(ROTATION_MIN, len(stress) - ROTATION_MIN + 1))
        ),
        covered_stress=_share(calm[stress]),
        covered_rest=_share(calm[rest]),
    )


def over_people(people: Sequence[Person]) -> dict[str, Spread]:
    """Name -> median and quartiles, of each of AREAS."""
    return {name: _spread([getattr(person, name) for person in people]) for name in AREAS}


def coverage(people: Sequence[Person]) -> dict[str, float]:
    """Share of the windows that were scored, in stress and in rest: the mean over people."""
    return {
        "stress": _mean(person.covered_stress for person in people),
        "rest": _mean(person.covered_rest for person in people),
    }


def bootstrap(people: Sequence[Person], figure: Callable[[Person], float], *, draws: int = 4000) -> tuple[float, float]:
    """The 95 % interval of the median over people, from drawing the people anew."""
    values = np.array([figure(person) for person in people])
    values = values[np.isfinite(values)]
    if not values.size:
        return math.nan, math.nan
    drawn = np.random.default_rng(_SEED).choice(values, (draws, values.size))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(low), float(high)


def _permuted(windows: Windows) -> Iterable[float]:
    random = np.random.default_rng(_SEED)
    for _ in range(PERMUTATIONS):
        stress = random.permutation(windows.stress)
        yield auc(windows.calm[stress], windows.calm[~stress])


def _spread(values: Sequence[float]) -> Spread:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return Spread(math.nan, math.nan, math.nan, 0)
    q1, median, q3 = np.quantile(known, (0.25, 0.5, 0.75))
    return Spread(float(median), float(q1), float(q3), len(known))


def _share(calm: Floats) -> float:
    return float(np.isfinite(calm).mean()) if calm.size else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
