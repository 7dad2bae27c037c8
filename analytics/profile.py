"""When in the day people are calm: each one's deviations from their own mean, over the blocks of a week's days.

A volunteer counts with enough scorable minutes in **every** block, so that one count serves all blocks; with deviations
from one's own mean, so that people who differ in level add no spread. For daily areas alone: of fewer than 80 people
nothing but noise would come out (ADR 9). One volunteer, one record per week, in the one area heard longest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.plan import Plan
from analytics.reasons import cadence_of_home
from analytics.records import CENTI, area_of_person, window_sums
from analytics.scores import MICRO
from analytics.sums import BLOCK_CALM, BLOCK_MINUTES, PROFILE_BLOCKS, Partial
from contracts.consent import Cover
from contracts.release import Cadence, Window

#: Scorable minutes in each block of a week that a volunteer needs.
BLOCK_MIN: Final = 10

Deviations = NDArray[np.int64]  # [records, blocks] centi-points


def profile_of(partial: Partial, week: Window, *, plan: Plan, covers: Mapping[str, Cover]) -> dict[str, Deviations]:
    """Area code -> the deviations of its complete records, for every daily area of the plan.

    `covers` is the consent of now: who is not in it is left out.
    """
    areas = [area for area in plan.areas if area.cadence is Cadence.DAILY]
    sums = window_sums(partial, week)
    minutes, calm = sums[:, BLOCK_MINUTES], sums[:, BLOCK_CALM]
    home = np.array(
        [cadence_of_home(covers.get(name), week, plan) is Cadence.DAILY for name in partial.who], dtype=bool
    )
    where = area_of_person(partial, week, areas)
    taken = home & (where >= 0) & (minutes >= BLOCK_MIN).all(axis=1)
    level = calm[taken] // (minutes[taken] * (MICRO // CENTI))
    deviations = level - level.sum(axis=1, keepdims=True) // len(PROFILE_BLOCKS)
    return {area.code: deviations[where[taken] == index] for index, area in enumerate(areas)}
