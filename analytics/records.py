"""Sums per person and day -> complete records of one window: one volunteer, one record, one district.

These are the rows that the release works on. Nothing here is handed outward but to `analytics.release`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.coverage import complete, in_force
from analytics.plan import Plan
from analytics.scores import MICRO
from analytics.sums import CALM, HAPPY, MINUTES, REPORTS, SAFE, Partial, heard_of
from analytics.windows import days_of
from contracts.consent import Cover
from contracts.release import Area, Window

#: A window counts for a person with this many scorable minutes and this many answered prompts.
SCORABLE_MIN: Final = 30
REPORTS_MIN: Final = 1
#: Scores in whole hundredths of a point.
CENTI: Final = 100

Scores = NDArray[np.int64]  # [records, 3]: safe, calm, happy in centi-points


def records_of(partial: Partial, window: Window, *, plan: Plan, covers: Mapping[str, Cover]) -> dict[str, Scores]:
    """Area code -> the scores of its complete records, for every area of the window's cadence.

    `covers` is the consent of now: who is not in it is left out.
    """
    areas = [area for area in plan.areas if area.cadence is window.cadence]
    enrolled = np.array([_counts_here(covers.get(name), window, plan) for name in partial.who], dtype=bool)
    sums = window_sums(partial, window)
    minutes, calm, reports, safe, happy = (sums[:, column] for column in (MINUTES, CALM, REPORTS, SAFE, HAPPY))
    area = area_of_person(partial, window, areas)
    taken = enrolled & (area >= 0) & (minutes >= SCORABLE_MIN) & (reports >= REPORTS_MIN)
    scores = np.column_stack(
        [
            _mean(10 * CENTI * safe[taken], reports[taken]),
            _mean(calm[taken], minutes[taken] * (MICRO // CENTI)),
            _mean(10 * CENTI * happy[taken], reports[taken]),
        ]
    )
    return {code.code: scores[area[taken] == index] for index, code in enumerate(areas)}


def _counts_here(cover: Cover | None, window: Window, plan: Plan) -> bool:
    """Whether a volunteer may count in this window: covered now, enough, all along, and enrolled in its cadence."""
    if cover is None or not complete(cover) or not in_force(cover, window):
        return False
    home = plan.area_of(cover.district)
    return home is not None and home.cadence is window.cadence


def window_sums(partial: Partial, window: Window) -> NDArray[np.int64]:
    """[persons, COLUMNS]: the sums of the window's days."""
    days = days_of(window)
    day = partial.key & 0xFFFFFFFF
    rows = (day >= days.start) & (day < days.stop)
    out = np.zeros((len(partial.who), partial.sums.shape[1]), dtype=np.int64)
    np.add.at(out, partial.key[rows] >> 32, partial.sums[rows])
    return out


def area_of_person(partial: Partial, window: Window, areas: list[Area]) -> NDArray[np.int64]:
    """[persons]: the index of the area where the band was heard longest, -1 where that is none of these.

    By district; of two heard equally long the lower code, so that the choice is fixed.
    """
    days = days_of(window)
    person, district, day = heard_of(partial.heard_key)
    rows = (day >= days.start) & (day < days.stop)
    longest = np.full(len(partial.who), -1, dtype=np.int64)
    if not rows.any():
        return longest
    heard = np.zeros((len(partial.who), len(partial.codes)), dtype=np.int64)
    np.add.at(heard, (person[rows], district[rows]), partial.heard[rows])
    index = {district: i for i, area in enumerate(areas) for district in area.districts}
    area_of = np.array([index.get(code, -1) for code in partial.codes], dtype=np.int64)
    return np.where(heard.any(axis=1), area_of[heard.argmax(axis=1)], -1)


def _mean(total: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rounded to whole centi-points, in integers."""
    return (2 * total + count) // (2 * count)
