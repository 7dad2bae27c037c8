"""What the releases that somebody probably was part of cost that person: ρ for each, and the sum beside the limit.

Worked out of the volunteer's own rows and of public figures, as `pages.own` does it. Nobody else can: who counted in
which figure is kept nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from api.pages.own import MINUTES_MIN
from api.privacy_loss import epsilon_of
from api.sources import Charge
from contracts.ports import StoredReading, StoredReport
from contracts.release import Budget, Cell, ReasonCount


class Cost(NamedTuple):
    """One release that somebody probably was part of."""

    figure: Cell | ReasonCount
    rho: float


class Spent(NamedTuple):
    """What somebody probably lost, and the limit."""

    costs: tuple[Cost, ...]  # the newest first
    rho: float  # of the windows that ended in the last `days`
    rho_cap: float
    epsilon: float  # at δ = 10⁻⁶
    days: int


def spent(
    figures: Iterable[Cell | ReasonCount],
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
    for figure in figures:
        key = (figure.area, figure.window)
        if key in rho and key not in costs and _counted(figure, readings, reports):
            costs[key] = Cost(figure, rho[key])
    newest = tuple(sorted(costs.values(), key=lambda cost: -cost.figure.end))
    begin = now - budget.days * 86_400
    total = sum(cost.rho for cost in newest if begin < cost.figure.end <= now)
    return Spent(newest, total, budget.rho_cap, epsilon_of(total), budget.days)


def _counted(figure: Cell | ReasonCount, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> bool:
    """Enough minutes and an answer, most minutes in that area; for the reasons of a week an answer with one."""
    answers = [stored for stored in reports if figure.start <= stored.report.at < figure.end]
    if isinstance(figure, ReasonCount):
        places = Counter(stored.district for stored in answers if stored.report.reason is not None)
    else:
        places = Counter(r.district for r in readings if figure.start <= r.reading.minute < figure.end)
        if not answers or places.total() < MINUTES_MIN:
            return False
    return bool(places) and places.most_common(1)[0][0] in figure.districts
