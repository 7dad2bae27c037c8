"""A person's minutes and answers -> one record of three scores (safe, calm, happy) per window.

Each day is scored once, into sums per person and day (`Partial`); a week is the sum of its days. `score_readings` and
`score_reports` are pure functions of a chunk, and `merge` is associative and commutative to the bit (all sums are of
integers), so that chunks can be scored anywhere and in any order.

Arousal is not emotion: calm says how little aroused a body was against its own usual, and nothing of happiness.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.baseline import HISTORY_DAYS, Baselines, Constants, RollingBaselines, StillMinutes
from analytics.rises import heart_rise, skin_rise
from analytics.sums import (
    BLOCK_CALM,
    BLOCK_MINUTES,
    CALM,
    COLUMNS,
    HAPPY,
    MINUTES,
    NOTHING,
    PROFILE_BLOCKS,
    REPORTS,
    SAFE,
    Partial,
    counted,
    day_key,
    heard_key,
    merge,
    parts,
    run_sums,
)
from analytics.windows import BLOCKS, Calendar, Place, local_day
from contracts.ports import ReadingColumns, ReportColumns

#: What calm is made of: ln µS above the skin's own level, beats/min above the heart's own rest.
FEATURES: Final = ("eda", "hr")
#: Who has too few minutes is compared with these; chosen on recordings of 17 people (ADR 6), the same for everybody.
CONSTANTS: Final = Constants(centre=(0.0, 5.0), scale=(0.35, 6.0))
Z_MAX: Final = 3.0
#: A minute is still at this SD of acceleration (g) or less, and worn at this share of contact or more.
STILL_G_MAX: Final = 0.1
WORN_MIN: Final = 0.5
#: Calm is added up in whole millionths of a point.
MICRO: Final = 1_000_000

# Φ on a grid fine enough for 1e-7: numpy has no error function, and a call per minute would be slow.
_PHI_X: Final = np.linspace(-Z_MAX, Z_MAX, 6001)
_PHI_Y: Final = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in _PHI_X])


class Calm(NamedTuple):
    """The calm of minutes, 0-100, [n]; NaN where not scorable."""

    usual: Minutes  # against what is usual at that time of the day: what calm means everywhere
    day: Minutes  # against what is usual over the whole day: for the profile, which is about the time of day


def score_readings(chunk: ReadingColumns, days: range) -> Partial:
    """Score the days (ordinals) of the persons in a chunk that also holds the 28 days before, where there are any."""
    if not chunk.minute.size or not days:
        return NOTHING
    place = _place(chunk)
    calm = _calm(chunk, place, days, RollingBaselines(persons=len(chunk.pseudonyms), constants=CONSTANTS))
    runs = [
        _runs(chunk.person[part], chunk.district[part], place.slot[part], Calm(calm.usual[part], calm.day[part]))
        for part in parts(chunk.minute.size)
    ]
    return _partial(chunk, np.concatenate(runs), days)


def _runs(
    person: NDArray[np.int32], district: NDArray[np.int32], slot: NDArray[np.int32], calm: Calm
) -> NDArray[np.int64]:
    """[runs, 7]: person, district, slot, minutes heard, scorable ones, their calm twice, of rows that lie together."""
    scorable = np.isfinite(calm.usual)
    starts, sums = run_sums(
        (person, district, slot), (np.ones(len(person), np.bool_), scorable, _micro(calm.usual), _micro(calm.day))
    )
    return np.column_stack([person[starts], district[starts], slot[starts], sums])


def _partial(chunk: ReadingColumns, runs: NDArray[np.int64], days: range) -> Partial:
    """The sums of the days (ordinals) out of runs."""
    person, district, slot, heard, scorable, calm, day_calm = runs.T
    day, block = np.divmod(slot, BLOCKS)
    in_days = (day >= days.start) & (day < days.stop)
    heard_in, minutes_heard = counted(heard_key(person[in_days], district[in_days], day[in_days]), heard[in_days])
    scored = np.flatnonzero(scorable)  # of the days alone
    values = np.zeros((len(scored), COLUMNS), dtype=np.int64)
    values[:, MINUTES], values[:, CALM] = scorable[scored], calm[scored]
    for index, told in enumerate(PROFILE_BLOCKS):
        here = block[scored] == told
        values[here, BLOCK_MINUTES.start + index] = scorable[scored][here]
        values[here, BLOCK_CALM.start + index] = day_calm[scored][here]
    key, sums = counted(day_key(person[scored], day[scored]), values)
    return merge(Partial(tuple(chunk.pseudonyms), tuple(chunk.districts), key, sums, heard_in, minutes_heard))


def _micro(calm: Minutes) -> NDArray[np.int64]:
    """Whole millionths of a point, 0 where there is none."""
    whole: NDArray[np.int64] = np.rint(np.where(np.isnan(calm), 0.0, calm) * MICRO).astype(np.int64)
    return whole


def minute_calm(chunk: ReadingColumns, days: range, *, baselines: Baselines | None = None) -> Minutes:
    """The calm, 0-100, of each minute of a chunk, [n]; NaN outside of the days (ordinals) and where not scorable.

    Against everybody's own usual, or against other `baselines` of the chunk's people.
    """
    if not chunk.minute.size:
        return np.empty(0)
    own = RollingBaselines(persons=len(chunk.pseudonyms), constants=CONSTANTS)
    return _calm(chunk, _place(chunk), days, own if baselines is None else baselines).usual


def _place(chunk: ReadingColumns) -> Place:
    first, last = local_day(int(chunk.minute.min())), local_day(int(chunk.minute.max()))
    return Calendar(first=first.toordinal(), last=last.toordinal()).place(chunk.minute)


def score_reports(reports: ReportColumns, days: range) -> Partial:
    """Add up the answers of the days (ordinals), none of them of another day."""
    if not reports.at.size or not days:
        return NOTHING
    day = Calendar(first=days.start, last=days.stop - 1).place(reports.at).day
    rows = np.zeros((len(day), COLUMNS), dtype=np.int64)
    rows[:, REPORTS], rows[:, SAFE], rows[:, HAPPY] = 1, reports.safe, reports.happy
    key, sums = counted(day_key(reports.person, day), rows)
    return merge(NOTHING._replace(who=tuple(reports.pseudonyms), key=key, sums=sums))


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


def _calm(chunk: ReadingColumns, place: Place, days: range, baselines: Baselines) -> Calm:
    """Day after day, each against what is usual for it."""
    still = _still_and_worn(chunk)
    skin = skin_rise(chunk.person, chunk.minute, chunk.fields["eda"], still)
    heart = heart_rise(chunk.person, chunk.minute, chunk.fields["hr"], chunk.fields["rr_coverage"])
    features = np.column_stack([skin, heart])
    calm = Calm(np.full(len(still), np.nan), np.full(len(still), np.nan))
    rows, days_of, bands = np.flatnonzero(still), place.day, place.band
    rows = rows[np.argsort(days_of[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(days_of[rows], prepend=-1))
    for own in np.split(rows, starts[1:]) if rows.size else ():
        day = int(days_of[own[0]])
        today = StillMinutes(chunk.person[own], days_of[own], bands[own], features[own])
        if day not in days:
            baselines.add(day, today)
            continue
        usual = baselines.usual(day, today)
        where = today.person, today.band
        calm.usual[own] = calm_of(today.features, usual.centre[where], usual.scale[where])
        calm.day[own] = calm_of(today.features, usual.day_centre[today.person], usual.day_scale[today.person])
    return calm


def _still_and_worn(chunk: ReadingColumns) -> NDArray[np.bool_]:
    """Motion must be known and small. Contact is part of the heart category: where it is absent, it is not asked."""
    worn = chunk.fields["worn"]
    still: NDArray[np.bool_] = (chunk.fields["motion"] < STILL_G_MAX) & (np.isnan(worn) | (worn >= WORN_MIN))
    return still


def first_day_read(days: range) -> int:
    """The ordinal of the first day whose readings scoring these days needs."""
    return days.start - HISTORY_DAYS
