"""One reason per volunteer and week: the one given most often, in the one area where the band was heard longest.

For areas of either cadence: in a daily area the reasons of a day would be too few to tell. A volunteer counts when the
choice stood all week and the home district's area has the cadence of the area heard, as for a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.coverage import complete, in_force
from analytics.plan import Plan
from analytics.records import area_of_person
from analytics.sums import Partial
from contracts.consent import Cover
from contracts.ports import ReportColumns
from contracts.reading import Reason
from contracts.release import Cadence, Window

REASONS: Final = tuple(Reason)


def reasons_of(
    partial: Partial, reports: ReportColumns, week: Window, *, plan: Plan, covers: Mapping[str, Cover]
) -> dict[str, NDArray[np.int64]]:
    """Area code -> one index into REASONS per volunteer who gave one, for every area of the plan.

    `covers` is the consent of now: who is not in it is left out. `reports` are covered ones (`analytics.coverage`).
    """
    given = _most_given(reports, week)
    home = [cadence_of_home(covers.get(name), week, plan) for name in partial.who]
    found: dict[str, NDArray[np.int64]] = {}
    for cadence in Cadence:
        areas = [area for area in plan.areas if area.cadence is cadence]
        # Heard longest among all districts, hence in no area of this cadence when that is one of the other.
        where = area_of_person(partial, week, areas)
        for index, area in enumerate(areas):
            members = (
                given.get(name)
                for name, at, of in zip(partial.who, where, home, strict=True)
                if at == index and of is cadence
            )
            found[area.code] = np.array([reason for reason in members if reason is not None], dtype=np.int64)
    return found


def _most_given(reports: ReportColumns, week: Window) -> dict[str, int]:
    """Pseudonym -> the reason given most often in the week; of several the first of the public list."""
    index = {str(reason): i for i, reason in enumerate(REASONS)}
    counts = np.zeros((len(reports.pseudonyms), len(REASONS)), dtype=np.int64)
    rows = np.flatnonzero((reports.at >= week.start) & (reports.at < week.end))
    for row in rows:
        reason = reports.reason[row]
        if reason is not None and str(reason) in index:
            counts[reports.person[row], index[str(reason)]] += 1
    return {name: int(line.argmax()) for name, line in zip(reports.pseudonyms, counts, strict=True) if line.any()}


def cadence_of_home(cover: Cover | None, week: Window, plan: Plan) -> Cadence | None:
    """The cadence in which a volunteer counts in a week; None for who may not count, or not for the whole of it."""
    if cover is None or not complete(cover) or not in_force(cover, week):
        return None
    home = plan.area_of(cover.district)
    return None if home is None else home.cadence
