"""The city's week: a mean over the released areas, and over a "rest" of withheld ones that itself passes the threshold.

Arithmetic on numbers with noise in them that are kept with each release (`analytics.leaf`): at no further cost, and the
same whenever it is computed, for a total is made only of a complete week, which never changes. Subtracting tells
nothing: a total less its released areas is zero, or a rest that was large enough to be shown by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from analytics.figures import cells_of
from analytics.leaf import Leaf
from analytics.mechanism import METHODS_ALIKE, PARTICIPANTS_MIN, SIGMAS, Draw, Noise, noise
from analytics.plan import Plan
from analytics.windows import day_window, days_of, local_day, week_window
from contracts.release import Area, Cadence, Cell, Window

#: The code under which a total stands; of no district.
CITY: Final = "city"


class _Part(NamedTuple):
    """An area in a week: mean numbers per window, and the variances of their noise."""

    districts: tuple[str, ...]
    shown: bool
    numbers: tuple[float, float, float, float]  # participants, safe, calm, happy
    count_variance: float
    sum_variance: float
    method: str  # the newest of its draws


def totals(leaves: Iterable[Leaf], plans: Sequence[Plan], *, rest_from: float | None = None) -> list[Cell]:
    """The three measured cells of each week that is complete by its plan, oldest first.

    `rest_from`: the rest's threshold, for attacks on a broken one; the real one follows from the noise.
    """
    held: dict[tuple[str, str], Leaf] = {
        (leaf.area, leaf.window): leaf
        for leaf in leaves
        if leaf.method in METHODS_ALIKE  # centres differ by version
    }
    weeks = {window.name: window for leaf in held.values() for window in (week_window(local_day(leaf.start)),)}
    cells: list[Cell] = []
    for week in sorted(weeks.values(), key=lambda window: window.start):
        plan = next((p for p in reversed(plans) if p.holds_from.toordinal() <= days_of(week).start), None)
        parts = None if plan is None else [_part(area, week, held) for area in plan.areas]
        if parts and all(part is not None for part in parts):
            cells += _total([part for part in parts if part is not None], week, rest_from)
    return cells


def _part(area: Area, week: Window, held: dict[tuple[str, str], Leaf]) -> _Part | None:
    """None when a draw is missing. Of a daily area the mean of its published days; the others are in no total."""
    names = [week.name]
    if area.cadence is Cadence.DAILY:
        first = local_day(week.start)
        names = [day_window(first.fromordinal(day)).name for day in days_of(week)]
    drawn = [held.get((area.code, name)) for name in names]
    found = [leaf for leaf in drawn if leaf is not None]
    if len(found) < len(names):
        return None
    shown = [leaf for leaf in found if leaf.status == "published"]
    method = max((leaf.method for leaf in found), key=int)
    if area.cadence is Cadence.DAILY and not shown:
        return _Part(area.districts, shown=False, numbers=(0, 0, 0, 0), count_variance=0, sum_variance=0, method=method)
    used = shown or found
    constants = [noise(area.cadence, leaf.method) for leaf in used]
    sums = [(leaf.participants, leaf.safe, leaf.calm, leaf.happy) for leaf in used]
    count, safe, calm, happy = (sum(column) / len(used) for column in zip(*sums, strict=True))
    return _Part(
        area.districts,
        shown=bool(shown),
        numbers=(count, safe, calm, happy),
        count_variance=sum(one.sigma_count**2 for one in constants) / len(used) ** 2,
        sum_variance=sum(one.sigma_sum**2 for one in constants) / len(used) ** 2,
        method=method,
    )


def _total(parts: list[_Part], week: Window, rest_from: float | None) -> tuple[Cell, ...]:
    included = [part for part in parts if part.shown]
    rest = [part for part in parts if not part.shown and part.sum_variance]
    threshold = PARTICIPANTS_MIN + SIGMAS * math.sqrt(sum(part.count_variance for part in rest))
    if rest and sum(part.numbers[0] for part in rest) >= (threshold if rest_from is None else rest_from):
        included += rest
    count, *sums = (round(sum(part.numbers[i] for part in included)) for i in range(4))
    constants = Noise(
        rho=0.0,
        sigma_count=math.sqrt(sum(part.count_variance for part in included)),
        sigma_sum=math.sqrt(sum(part.sum_variance for part in included)),
        threshold=-math.inf if included else math.inf,
    )
    area = Area(
        code=CITY,
        districts=tuple(sorted(code for part in included for code in part.districts)),
        cadence=Cadence.WEEKLY,
    )
    cells = cells_of(Draw(count, (sums[0], sums[1], sums[2])), constants, area=area, window=week)
    method = max(
        (part.method for part in parts), key=int
    )  # that of the draws, so that a new version changes no old total
    return tuple(msgspec.structs.replace(cell, method=method) for cell in cells)
