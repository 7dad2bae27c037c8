"""What the releases that somebody probably was part of cost that person: ρ for each, and the sum beside the limit.

Worked out of the volunteer's own rows and of public figures, as `pages.own` does it. Nobody else can: who counted in
which figure is kept nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from api.pages.own import MINUTES_MIN
from api.privacy_loss import epsilon_of
from api.sources import Charge
from contracts.ports import TIMEZONE, StoredReading, StoredReport
from contracts.release import Budget, Cell, ProfileBlock, ReasonCount

Figure = Cell | ReasonCount | ProfileBlock
#: Minutes in each block of a week that the profile by hours needs.
BLOCK_MIN: Final = 10
_ZONE: Final = ZoneInfo(TIMEZONE)


class Cost(NamedTuple):
    """One release that somebody probably was part of."""

    figure: Figure
    rho: float


class Spent(NamedTuple):
    """What somebody probably lost, and the limit."""

    costs: tuple[Cost, ...]  # the newest first
    rho: float  # of the windows that ended in the last `days`
    rho_cap: float
    epsilon: float  # at δ = 10⁻⁶
    days: int


def spent(
    figures: Iterable[Figure],
    charges: Iterable[Charge],
    budget: Budget,
    readings: Sequence[StoredReading],
    reports: Sequence[StoredReport],
    *,
    now: float,
) -> Spent:
    """The releases that somebody probably was part of. A charge covers all figures of its area and window: one line."""
    rho = {(charge.area, charge.window): charge.rho for charge in charges}
    costs: dict[tuple[str, str], Cost] = {}
    for figure in _complete(figures, readings):
        key = (figure.area, figure.window)
        if key in rho and key not in costs and _counted(figure, readings, reports):
            costs[key] = Cost(figure, rho[key])
    newest = tuple(sorted(costs.values(), key=lambda cost: -cost.figure.end))
    begin = now - budget.days * 86_400
    total = sum(cost.rho for cost in newest if begin < cost.figure.end <= now)
    return Spent(newest, total, budget.rho_cap, epsilon_of(total), budget.days)


def _complete(figures: Iterable[Figure], readings: Sequence[StoredReading]) -> list[Figure]:
    """All but the profiles for which a block of hours lacks minutes: who counts in a profile is in every block."""
    found = list(figures)
    lacking = set()
    for block in found:
        if isinstance(block, ProfileBlock):
            minutes = [r.reading.minute for r in readings if block.start <= r.reading.minute < block.end]
            hours = [datetime.fromtimestamp(minute, _ZONE).hour for minute in minutes]
            if sum(block.from_hour <= hour < block.to_hour for hour in hours) < BLOCK_MIN:
                lacking.add((block.area, block.window))
    return [f for f in found if not isinstance(f, ProfileBlock) or (f.area, f.window) not in lacking]


def _counted(figure: Figure, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> bool:
    """Enough minutes and an answer, most minutes in that area; for the reasons of a week an answer with one.

    For a profile by hours no answer is needed.
    """
    answers = [stored for stored in reports if figure.start <= stored.report.at < figure.end]
    if isinstance(figure, ReasonCount):
        places = Counter(stored.district for stored in answers if stored.report.reason is not None)
    else:
        places = Counter(r.district for r in readings if figure.start <= r.reading.minute < figure.end)
        if places.total() < MINUTES_MIN or not (answers or isinstance(figure, ProfileBlock)):
            return False
    return bool(places) and places.most_common(1)[0][0] in figure.districts
