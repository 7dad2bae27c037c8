"""The ρ accountant: what a volunteer can lose in any 30 days, and a refusal before it would be too much.

Within a cadence and window a volunteer has one record, hence is in one area: areas compose in parallel, and a window
costs the most that any of its areas does. Windows compose one after another: their ρ add up. A volunteer is in one
cadence at a time (`analytics.plan`, `analytics.coverage.in_force`), so cadences do not add up.

A window's loss is counted at its end, the first instant at which it can be released, whenever it was computed: a
clock that jumps or a late computation changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from contracts.release import Cadence

RHO_CAP: Final = 1.5
PERIOD_DAYS: Final = 30
_PERIOD_S: Final = PERIOD_DAYS * 86_400
_ROUNDING: Final = 1e-9


class Entry(NamedTuple):
    """One charge: a release of one area and window."""

    area: str
    window: str
    cadence: Cadence
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
    """The most that any volunteer lost in any 30 days."""
    held = tuple(entries)
    return max((_peak(_charges(held, cadence)) for cadence in Cadence), default=0.0)


def check(entries: Iterable[Entry], request: Entry) -> None:
    """Raises InsufficientBudget when the request on top of the entries would pass the cap in some 30 days."""
    held = [entry for entry in entries if abs(entry.end - request.end) < _PERIOD_S]
    after = _peak(_charges([*held, request], request.cadence), around=request.end)
    if after > RHO_CAP + _ROUNDING:
        # A sibling area of the same window may have paid a part already (in parallel): what is asked for is the rest.
        before = _peak(_charges(held, request.cadence), around=request.end)
        raise InsufficientBudget(remaining=max(0.0, RHO_CAP - before), requested=request.rho)


def _charges(entries: Iterable[Entry], cadence: Cadence) -> list[tuple[int, float]]:
    """(end, ρ) per window and method, in order of time: the most that any area of it costs."""
    worst: dict[tuple[str, str], tuple[int, float]] = {}
    for entry in entries:
        if entry.cadence is cadence:
            key = (entry.window, entry.method)
            worst[key] = (entry.end, max(entry.rho, worst.get(key, (0, 0.0))[1]))
    return sorted(worst.values())


def _peak(charges: list[tuple[int, float]], *, around: int | None = None) -> float:
    """The largest sum over 30 days that begin at a charge; only those that hold `around`, when it is given."""
    return max(
        (
            sum(rho for end, rho in charges if begin <= end < begin + _PERIOD_S)
            for begin, _ in charges
            if around is None or begin <= around < begin + _PERIOD_S
        ),
        default=0.0,
    )
