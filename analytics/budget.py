"""The ρ accountant: what a volunteer can lose in any 30 days, and a refusal before it would be too much.

Within a cadence and window a volunteer has one record, hence is in one area: areas compose in parallel, and a window
costs the most that any of its areas does. Windows compose one after another: their ρ add up. A volunteer is in one
cadence at a time (`analytics.plan`, `analytics.coverage.in_force`), but may move from one to the other between two
windows: what counts is the costliest chain of windows, of either cadence, that do not overlap.

A window's loss is counted at its end, the first instant at which it can be released, whenever it was computed: a
clock that jumps or a late computation changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from analytics.windows import local_day
from contracts.release import Cadence

RHO_CAP: Final = 1.5
PERIOD_DAYS: Final = 30
PERIOD_S: Final = PERIOD_DAYS * 86_400
#: Local days in a window.
_DAYS: Final = {Cadence.DAILY: 1, Cadence.WEEKLY: 7}
_ROUNDING: Final = 1e-9


class Entry(NamedTuple):
    """One charge: a release of one area and window."""

    area: str
    window: str
    cadence: Cadence  # of the area
    end: int  # unix seconds: the window's end
    method: str
    rho: float


class InsufficientBudget(Exception):
    """A release that would pass the cap; nothing was drawn."""

    def __init__(self, remaining: float, requested: float) -> None:
        super().__init__(f"this release needs ρ={requested:g}, and {remaining:g} of the 30 days' budget is left")
        self.remaining = remaining
        self.requested = requested


def spent(entries: Iterable[Entry]) -> float:
    """The most that any volunteer lost in any 30 days, also one who moved between cadences."""
    return _peak(_charges(entries))


def check(entries: Iterable[Entry], request: Entry) -> None:
    """Raises InsufficientBudget when the request on top of the entries would pass the cap in some 30 days."""
    held = [entry for entry in entries if abs(entry.end - request.end) < PERIOD_S]
    after = _peak(_charges([*held, request]), around=request.end)
    if after > RHO_CAP + _ROUNDING:
        # A sibling area of the same window may have paid a part already (in parallel): what is asked for is the rest.
        before = _peak(_charges(held), around=request.end)
        raise InsufficientBudget(remaining=max(0.0, RHO_CAP - before), requested=request.rho)


class _Charge(NamedTuple):
    """What the windows that end together cost whoever is in all of them."""

    end: int  # unix seconds
    first: int  # ordinals of local days, [first, stop)
    stop: int
    rho: float


def _charges(entries: Iterable[Entry]) -> list[_Charge]:
    """Per cadence and end: of each window and method the most that any area costs, added up; in order of the ends.

    The reasons of a week of a daily area stand with its Sunday: nobody is in them but who was there all week.
    """
    worst: dict[tuple[Cadence, int], dict[tuple[str, str], float]] = {}
    for entry in entries:
        windows = worst.setdefault((entry.cadence, entry.end), {})
        key = entry.window, entry.method
        windows[key] = max(entry.rho, windows.get(key, 0.0))
    found = []
    for (cadence, end), windows in worst.items():
        stop = local_day(end).toordinal()
        found.append(_Charge(end, stop - _DAYS[cadence], stop, sum(windows.values())))
    return sorted(found)


def _peak(charges: list[_Charge], *, around: int | None = None) -> float:
    """The costliest chain within 30 days that begin at a charge; only 30 days that hold `around`, when it is given."""
    return max(
        (
            _chain([charge for charge in charges if begin <= charge.end < begin + PERIOD_S])
            for begin in sorted({charge.end for charge in charges})
            if around is None or begin <= around < begin + PERIOD_S
        ),
        default=0.0,
    )


def _chain(charges: list[_Charge]) -> float:
    """The largest sum over windows that do not overlap (weighted interval scheduling, Kleinberg & Tardos 2005, 6.1)."""
    stops: list[int] = []  # in order, for ends and stops rise together
    best = [0.0]  # best[i]: the first i charges alone
    for charge in charges:
        before = bisect_right(stops, charge.first)
        stops.append(charge.stop)
        best.append(max(best[-1], best[before] + charge.rho))
    return best[-1]
