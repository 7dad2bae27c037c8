"""The public release plan: which area releases daily, which weekly, and which districts release together.

Every district is in exactly one area. The plan is made from the numbers enrolled, which the municipality knows and
may publish, never from who took part in a window; it is stored with the day from which it holds, and is public.

A volunteer counts in one cadence alone, that of the area of the district of **enrolment**. Were the district in which
the band is heard to choose the cadence, one person could be in a week's record and in seven days' records of that
same week, and the two cadences' budgets would add up. Somebody who is enrolled in a weekly area and is heard mostly in
a daily one is therefore left out of that window; within the cadence, the record goes where the band was heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import dist
from typing import Final, NamedTuple

from analytics.windows import instant
from contracts.ports import UsageFault
from contracts.release import Area, Cadence, Window

#: Enrolled volunteers from which an area releases daily, and below which it merges with a neighbour.
DAILY_FROM: Final = 80
WEEKLY_FROM: Final = 30


class Plan(NamedTuple):
    """The areas, and the local day from which they hold."""

    holds_from: date
    areas: tuple[Area, ...]

    def area_of(self, district: str) -> Area | None:
        """The area of a district; None when the plan does not know it (a district that was added later)."""
        return next((area for area in self.areas if district in area.districts), None)


def plan_of(window: Window, plans: Sequence[Plan]) -> Plan | None:
    """The plan in whose time a window ends: the newest that holds from before its end. `plans` are oldest first."""
    return next((plan for plan in reversed(plans) if instant(plan.holds_from) < window.end), None)


class _Group(NamedTuple):
    codes: tuple[str, ...]
    enrolled: int
    daily: bool


def plan(enrolled: Mapping[str, int], centres: Mapping[str, tuple[float, float]]) -> tuple[Area, ...]:
    """The areas for these districts, the same ones for the same input, in order of code.

    `enrolled`: district code -> volunteers enrolled there (absent: none). `centres`: code -> a point in any plane.

    80 or more: daily. 30 to 79: weekly. Fewer: weekly, merged with the nearest group (by the nearest two centres) of
    districts that are not daily, until 30 is reached. A daily district is joined only when no other group is left:
    otherwise the few volunteers there would wear a band for figures that can never be released, which is a reason
    not to collect at all; the daily area then carries both names. Where nobody is enrolled there is no such reason.
    """
    if not centres:
        raise UsageFault("a release plan needs at least one district: import the districts first")
    unknown = sorted(set(enrolled) - set(centres))
    if unknown:
        raise UsageFault(f"volunteers are enrolled in {unknown[0]}, which is no district here: import it first")
    groups = [
        _Group((code,), enrolled.get(code, 0), daily=enrolled.get(code, 0) >= DAILY_FROM) for code in sorted(centres)
    ]
    while True:
        small = [g for g in groups if not g.daily and g.enrolled < WEEKLY_FROM]
        merging = min(small, key=lambda g: (g.enrolled, g.codes), default=None)
        others = [g for g in groups if g is not merging]
        hosts = [g for g in others if not g.daily]
        if merging is None or not others or not (hosts or merging.enrolled):
            break
        host = _nearest(merging, hosts or others, centres)
        groups = [g for g in others if g is not host]
        groups.append(_Group(tuple(sorted(merging.codes + host.codes)), merging.enrolled + host.enrolled, host.daily))
    return tuple(
        Area(
            code="+".join(group.codes),
            districts=group.codes,
            cadence=Cadence.DAILY if group.daily else Cadence.WEEKLY,
        )
        for group in sorted(groups)
    )


def _nearest(group: _Group, others: list[_Group], centres: Mapping[str, tuple[float, float]]) -> _Group:
    def key(other: _Group) -> tuple[float, int, tuple[str, ...]]:
        near = min(dist(centres[a], centres[b]) for a in group.codes for b in other.codes)
        return near, other.enrolled, other.codes

    return min(others, key=key)
