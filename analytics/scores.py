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

from analytics.baseline import HISTORY_DAYS, Baselines, Constants, RollingBaselines, StillMinutes
from analytics.rises import heart_rise, skin_rise
from analytics.windows import Calendar, Place, local_day
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
    place = _place(chunk)
    scored = (place.day >= days.start) & (place.day < days.stop)
    heard_key, heard = _counted(
        _heard_key(chunk.person[scored], chunk.district[scored], place.day[scored]), np.ones(int(scored.sum()), int)
    )
    calm = _calm(chunk, place, days, RollingBaselines(persons=len(chunk.pseudonyms), constants=CONSTANTS))
    scorable = np.flatnonzero(np.isfinite(calm))
    values = np.zeros((len(scorable), _SUMS), dtype=np.int64)
    values[:, 0] = 1
    values[:, 1] = np.rint(calm[scorable] * MICRO)
    key, sums = _counted(_key(chunk.person[scorable], place.day[scorable]), values)
    return _canonical(chunk.pseudonyms, chunk.districts, key, sums, heard_key, heard)


def minute_calm(chunk: ReadingColumns, days: range, *, baselines: Baselines | None = None) -> Minutes:
    """The calm, 0-100, of each minute of a chunk, [n]; NaN outside of the days (ordinals) and where not scorable.

    Against everybody's own usual, or against other `baselines` of the chunk's people.
    """
    if not chunk.minute.size:
        return np.empty(0)
    own = RollingBaselines(persons=len(chunk.pseudonyms), constants=CONSTANTS)
    return _calm(chunk, _place(chunk), days, own if baselines is None else baselines)


def _place(chunk: ReadingColumns) -> Place:
    first, last = local_day(int(chunk.minute.min())), local_day(int(chunk.minute.max()))
    return Calendar(first=first.toordinal(), last=last.toordinal()).place(chunk.minute)


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


def _calm(chunk: ReadingColumns, place: Place, days: range, baselines: Baselines) -> Minutes:
    """Day after day, each against what is usual for it."""
    still = _still_and_worn(chunk)
    skin = skin_rise(chunk.person, chunk.minute, chunk.fields["eda"], still)
    heart = heart_rise(chunk.person, chunk.minute, chunk.fields["hr"], chunk.fields["rr_coverage"])
    features = np.column_stack([skin, heart])
    calm = np.full(len(still), np.nan)
    rows = np.flatnonzero(still)
    rows = rows[np.argsort(place.day[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(place.day[rows], prepend=-1))
    for own in np.split(rows, starts[1:]) if rows.size else ():
        day = int(place.day[own[0]])
        today = StillMinutes(chunk.person[own], place.day[own], place.band[own], features[own])
        if day not in days:
            baselines.add(day, today)
            continue
        usual = baselines.usual(day, today)
        where = today.person, today.band
        calm[own] = calm_of(today.features, usual.centre[where], usual.scale[where])
    return calm


def _still_and_worn(chunk: ReadingColumns) -> NDArray[np.bool_]:
    """Motion must be known and small. Contact is part of the heart category: where it is absent, it is not asked."""
    worn = chunk.fields["worn"]
    still: NDArray[np.bool_] = (chunk.fields["motion"] < STILL_G_MAX) & (np.isnan(worn) | (worn >= WORN_MIN))
    return still


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
