"""Heart and skin above their own level of the last minutes: what calm is made of, causal and free of slow drifts.

Skin conductance drifts over an hour by more than a fright moves it, and a heart beats faster for a whole afternoon of
coffee. Both are therefore told as rises: the logarithm of EDA above its own exponential mean, and the heart rate above
its own resting level. Only what lies before a minute is used for it. Rows are in order of person, then minute, each
pair once. Measured against other formulae in `docs/adr/0006-rises-above-the-last-minutes.md`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.reading import MINUTE_S

Column = NDArray[np.float64]
Rows = NDArray[np.bool_]

#: The memory of the skin's level, in minutes: after so long 1/e of it is left.
SKIN_MEMORY_MINUTES: Final = 15.0
#: Below this a conductance (µS) is that of electrodes without contact.
EDA_MIN: Final = 0.03
#: One heart rate is made of the beats of this minute and the one before, of so many at least.
BEATS_MIN: Final = 10
#: hr·rr_coverage gives the beats back to a part of one: both are rounded, and the first beat began a minute earlier.
_BEATS_SLACK: Final = 0.5
#: A resting level is this quantile of the heart rates of the last 20 minutes, this one included.
REST_MINUTES: Final = 20
REST_QUANTILE: Final = 0.05
#: Levels older than 2^9 - 1 still minutes weigh less than a double resolves.
_DOUBLINGS: Final = 9


def skin_rise(person: NDArray[np.int32], minute: NDArray[np.int64], eda: Column, still: Rows) -> Column:
    """Log EDA less its exponential mean over the still minutes up to and with this one. [n]; NaN where not still.

    b += (1 − e^(−Δt/15 min))·(ln EDA − b), rise = ln EDA − b; b begins at the first still minute of a person.
    """
    rise = np.full(len(eda), np.nan)
    rows = np.flatnonzero(still & (eda >= EDA_MIN) & np.isfinite(eda))  # no value may reach the next person
    if not rows.size:
        return rise
    level = np.log(eda[rows])
    since = np.maximum(np.diff(minute[rows], prepend=minute[rows[0]]), 0)  # below 0 where another person begins
    kept = np.exp(-since / (SKIN_MEMORY_MINUTES * MINUTE_S))
    kept[np.diff(person[rows], prepend=-1) != 0] = 0.0
    rise[rows] = level - _exponential_mean(level, kept)
    return rise


def _exponential_mean(level: Column, kept: Column) -> Column:
    """b[i] = kept[i]·b[i−1] + (1 − kept[i])·level[i], for all i at once; `kept` is 0 where a run begins.

    Two steps in a row are again such a step, so spans of 1, 2, 4, … are joined (Hillis & Steele 1986).
    """
    mean, kept = (1 - kept) * level, kept.copy()
    for doubling in range(_DOUBLINGS):
        back = 1 << doubling
        if back >= len(level):
            break
        mean[back:] += kept[back:] * mean[:-back]
        kept[back:] *= kept[:-back]
    return mean


def heart_rise(person: NDArray[np.int32], minute: NDArray[np.int64], hr: Column, rr_coverage: Column) -> Column:
    """Heart rate of two minutes' beats less its 5 % quantile over the last 20 minutes. [n], beats/min; NaN if unknown.

    hr·rr_coverage is the number of beats behind a rate, by which the two minutes are weighted. A band that tells no
    beats at all has no coverage (NaN); its rates are taken as whole minutes.
    """
    span = np.where(np.isfinite(hr), np.where(np.isnan(rr_coverage), 1.0, rr_coverage), 0.0)  # minutes with beats
    beats = np.where(np.isfinite(hr), hr, 0.0) * span
    before = _follows(person, minute, 1)
    beats[1:] += np.where(before[1:], beats[:-1], 0.0)
    span[1:] += np.where(before[1:], span[:-1], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(beats >= BEATS_MIN - _BEATS_SLACK, beats / span, np.nan)
    return rate - _resting(person, minute, rate)


def _resting(person: NDArray[np.int32], minute: NDArray[np.int64], rate: Column) -> Column:
    """The lower quantile over the last minutes, interpolated linearly (Hyndman & Fan's type 7, numpy's default).

    At most 20 rates: the 5 % quantile lies between the two lowest.
    """
    lowest = np.full(len(rate), np.inf)
    second = np.full(len(rate), np.inf)
    count = np.zeros(len(rate), np.int64)
    for back in range(REST_MINUTES):
        if back >= len(rate):
            break
        there = slice(back, None)
        recent = rate[: len(rate) - back]
        near = (person[there] == person[: len(rate) - back]) & (
            minute[there] - minute[: len(rate) - back] < REST_MINUTES * MINUTE_S
        )
        recent = np.where(near & np.isfinite(recent), recent, np.inf)
        count[there] += recent < np.inf
        second[there] = np.minimum(second[there], np.maximum(lowest[there], recent))
        lowest[there] = np.minimum(lowest[there], recent)
    at = REST_QUANTILE * (count - 1)
    with np.errstate(invalid="ignore"):
        resting: Column = lowest + np.where(count > 1, at * (second - lowest), 0.0)
    return resting


def _follows(person: NDArray[np.int32], minute: NDArray[np.int64], back: int) -> Rows:
    """Whether the row `back` rows before is the minute just before, of the same person."""
    follows = np.zeros(len(person), np.bool_)
    follows[back:] = (person[back:] == person[:-back]) & (minute[back:] - minute[:-back] == back * MINUTE_S)
    return follows
