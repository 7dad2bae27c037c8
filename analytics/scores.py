"""A person's minutes and answers -> one record of three scores (safe, calm, happy) per window.

Each day is scored once, into sums per person and day (`Partial`); a week is the sum of its days. `score_readings` and
`score_reports` are pure functions of a chunk, and `merge` is associative and commutative to the bit (all sums are of
integers), so that chunks can be scored anywhere and in any order.

Arousal is not emotion: calm says how little aroused a body was against its own usual, and nothing of happiness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.baseline import HISTORY_DAYS, Baselines, SortedBaselines, StillMinutes, Usual
from analytics.windows import Calendar, local_day
from contracts.ports import ReadingColumns, ReportColumns

#: What calm is made of, and the smallest scale of each: beats/min, log µS, responses/min.
FEATURES: Final = ("hr", "eda", "scr")
FLOORS: Final = (2.0, 0.1, 1.0)
Z_MAX: Final = 3.0
#: A minute is still at this SD of acceleration (g) or less, and worn at this share of contact or more.
STILL_G_MAX: Final = 0.1
WORN_MIN: Final = 0.5
#: The slow drift of EDA: the lower quartile of the last 20 minutes, this one included.
DRIFT_MINUTES: Final = 20
DRIFT_QUANTILE: Final = 0.25
#: Below this a conductance (µS) is contact noise, and its logarithm means nothing.
EDA_MIN: Final = 0.01
_DRIFT_ROWS: Final = 1 << 16  # rows worked on at once: 20 of their values each are held
#: Calm is added up in whole millionths of a point.
MICRO: Final = 1_000_000

# Φ on a grid fine enough for 1e-7: numpy has no error function, and a call per minute would be slow.
_PHI_X: Final = np.linspace(-Z_MAX, Z_MAX, 6001)
_PHI_Y: Final = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in _PHI_X])


class Partial(NamedTuple):
    """Sums per person and day, of some people and days; rows in order of person, then day, each pair once.

    `who` [persons] and `codes` [districts] are sorted; `key` [rows] and `heard_key` [heard rows] are packed.
    """

    who: tuple[str, ...]
    codes: tuple[str, ...]
    key: NDArray[np.int64]  # person << 32 | day
    sums: NDArray[np.int64]  # [rows, 5]: scorable minutes, calm (millionths), reports, safe, happy
    heard_key: NDArray[np.int64]  # person << 44 | district << 24 | day
    heard: NDArray[np.int64]  # [heard rows] minutes


_SUMS: Final = 5
NOTHING: Final = Partial(
    (), (), np.empty(0, np.int64), np.empty((0, _SUMS), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
)


def score_readings(chunk: ReadingColumns, days: range) -> Partial:
    """Score the days (ordinals) of the persons in a chunk that also holds the 28 days before, where there are any."""
    if not chunk.minute.size or not days:
        return NOTHING
    first, last = local_day(int(chunk.minute.min())), local_day(int(chunk.minute.max()))
    place = Calendar(first=first.toordinal(), last=last.toordinal()).place(chunk.minute)
    scored = (place.day >= days.start) & (place.day < days.stop)
    heard_key, heard = _counted(
        _heard_key(chunk.person[scored], chunk.district[scored], place.day[scored]), np.ones(int(scored.sum()), int)
    )
    still = np.flatnonzero(_still_and_worn(chunk))
    minutes = StillMinutes(chunk.person[still], place.day[still], place.band[still], _features(chunk)[still])
    baselines = SortedBaselines(minutes, persons=len(chunk.pseudonyms), floors=FLOORS)
    key, sums = _score_days(minutes, baselines, days)
    return _canonical(chunk.pseudonyms, chunk.districts, key, sums, heard_key, heard)


def score_reports(reports: ReportColumns, days: range) -> Partial:
    """Add up the answers of the days (ordinals), none of them of another day."""
    if not reports.at.size or not days:
        return NOTHING
    day = Calendar(first=days.start, last=days.stop - 1).place(reports.at).day
    rows = np.zeros((len(day), _SUMS), dtype=np.int64)
    rows[:, 2], rows[:, 3], rows[:, 4] = 1, reports.safe, reports.happy
    key, sums = _counted(_key(reports.person, day), rows)
    return _canonical(reports.pseudonyms, (), key, sums, NOTHING.heard_key, NOTHING.heard)


def merge(a: Partial, b: Partial) -> Partial:
    """Both together. Associative, commutative, and exact; NOTHING is neutral."""
    who = tuple(sorted({*a.who, *b.who}))
    codes = tuple(sorted({*a.codes, *b.codes}))
    parts = [_renamed(part, who, codes) for part in (a, b)]
    key, sums = _counted(np.concatenate([p.key for p in parts]), np.concatenate([p.sums for p in parts]))
    heard_key, heard = _counted(np.concatenate([p.heard_key for p in parts]), np.concatenate([p.heard for p in parts]))
    return Partial(who, codes, key, sums, heard_key, heard)


def calm_of(features: NDArray[np.float64], centre: NDArray[np.float64], scale: NDArray[np.float64]) -> Minutes:
    """The calm of minutes, 0-100, [n]; NaN where no feature could be compared. All arguments are [n, features].

    z = clip((x - centre) / scale, ±3); A = mean of the z that are there; calm = 100·Φ(-A).
    """
    z = np.clip((features - centre) / scale, -Z_MAX, Z_MAX)
    there = np.isfinite(z)
    count = there.sum(axis=1)
    total = np.where(there, z, 0.0).sum(axis=1)
    arousal = total / np.maximum(count, 1)
    calm: Minutes = np.where(count > 0, 100 * np.interp(-arousal, _PHI_X, _PHI_Y), np.nan)
    return calm


Minutes = NDArray[np.float64]


def tonic_deviation(person: NDArray[np.int32], minute: NDArray[np.int64], eda: Minutes) -> Minutes:
    """Log EDA less its lower quartile over the last 20 minutes: what is left without the slow drift. [n], log µS.

    Rows are in order of person, then minute, each pair once; gaps shorten the 20 minutes' sample. The quartile is
    interpolated linearly (Hyndman & Fan's type 7, numpy's default).
    """
    level = np.log(np.maximum(eda, EDA_MIN))
    out = np.empty_like(level)
    for begin in range(0, len(level), _DRIFT_ROWS):
        end = min(begin + _DRIFT_ROWS, len(level))
        out[begin:end] = level[begin:end] - _lower_quartile(person, minute, level, begin, end)
    return out


def _lower_quartile(
    person: NDArray[np.int32], minute: NDArray[np.int64], level: Minutes, begin: int, end: int
) -> Minutes:
    rows = np.arange(begin, end)
    recent = np.full((end - begin, DRIFT_MINUTES), np.nan)
    for back in range(DRIFT_MINUTES):
        source = np.maximum(rows - back, 0)
        same = (rows >= back) & (person[source] == person[rows]) & (minute[rows] - minute[source] < DRIFT_MINUTES * 60)
        recent[:, back] = np.where(same, level[source], np.nan)
    recent.sort(axis=1)  # NaN last
    count = np.isfinite(recent).sum(axis=1)
    at = DRIFT_QUANTILE * np.maximum(count - 1, 0)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    row = np.arange(end - begin)
    quartile: Minutes = recent[row, low] + (at - low) * (recent[row, high] - recent[row, low])
    return quartile


def _features(chunk: ReadingColumns) -> NDArray[np.float64]:
    eda = tonic_deviation(chunk.person, chunk.minute, chunk.fields["eda"])
    return np.column_stack([chunk.fields["hr"], eda, chunk.fields["scr"]])


def _still_and_worn(chunk: ReadingColumns) -> NDArray[np.bool_]:
    """Motion must be known and small. Contact is part of the heart category: where it is absent, it is not asked."""
    worn = chunk.fields["worn"]
    still: NDArray[np.bool_] = (chunk.fields["motion"] <= STILL_G_MAX) & (np.isnan(worn) | (worn >= WORN_MIN))
    return still


def _score_days(
    minutes: StillMinutes, baselines: Baselines, days: range
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Packed keys and sums of the scorable minutes of each person and day."""
    order = np.argsort(minutes.day, kind="stable")
    bounds = np.searchsorted(minutes.day[order], np.arange(days.start, days.stop + 1))
    parts = [(np.empty(0, np.int64), np.empty((0, _SUMS), np.int64))]
    for day, begin, end in zip(days, bounds[:-1], bounds[1:], strict=True):
        if begin == end:
            continue
        rows = order[begin:end]
        person = minutes.person[rows]
        usual: Usual = baselines.before(day)
        where = person, minutes.band[rows]
        calm = calm_of(minutes.features[rows], usual.centre[where], usual.scale[where])
        scorable = np.isfinite(calm)
        values = np.zeros((int(scorable.sum()), _SUMS), dtype=np.int64)
        values[:, 0] = 1
        values[:, 1] = np.rint(calm[scorable] * MICRO)
        parts.append(_counted(_key(person[scorable], np.full(len(values), day, np.int32)), values))
    return np.concatenate([key for key, _ in parts]), np.concatenate([sums for _, sums in parts])


def _key(person: NDArray[np.int32], day: NDArray[np.int32]) -> NDArray[np.int64]:
    return person.astype(np.int64) << 32 | day


def _heard_key(person: NDArray[np.int32], district: NDArray[np.int32], day: NDArray[np.int32]) -> NDArray[np.int64]:
    return person.astype(np.int64) << 44 | district.astype(np.int64) << 24 | day


def _counted(key: NDArray[np.int64], values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values [n] or [n, m] added up per key; keys sorted, each once."""
    if not key.size:
        return key, values
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


def _canonical(
    pseudonyms: Sequence[str],
    districts: Sequence[str],
    key: NDArray[np.int64],
    sums: NDArray[np.int64],
    heard_key: NDArray[np.int64],
    heard: NDArray[np.int64],
) -> Partial:
    """A partial in which names are sorted, as merging gives it."""
    return merge(Partial(tuple(pseudonyms), tuple(districts), key, sums, heard_key, heard), NOTHING)


def _renamed(part: Partial, who: Sequence[str], codes: Sequence[str]) -> Partial:
    person_at = {name: i for i, name in enumerate(who)}
    code_at = {code: i for i, code in enumerate(codes)}
    person = np.array([person_at[name] for name in part.who], dtype=np.int64)
    district = np.array([code_at[code] for code in part.codes], dtype=np.int64)
    heard_person, heard_district = part.heard_key >> 44, part.heard_key >> 24 & 0xFFFFF
    return part._replace(
        key=person[part.key >> 32] << 32 | part.key & 0xFFFFFFFF,
        heard_key=person[heard_person] << 44 | district[heard_district] << 24 | part.heard_key & 0xFFFFFF,
    )


def first_day_read(days: range) -> int:
    """The ordinal of the first day whose readings scoring these days needs."""
    return days.start - HISTORY_DAYS
