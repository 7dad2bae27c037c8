"""The single private exit: records of one area and window in, one draw of noisy cells out, into the release log.

Nothing else in analytics hands anything outward that is made of people's data. What is withheld has one shape and one
reason, and costs the same budget: the noisy count decides, and the exact one is looked at by nobody.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from analytics.mechanism import BOUNDS, Draw, Noise, draw, noise
from analytics.records import CENTI, Scores
from analytics.release_log import ReleaseLog
from contracts.release import MEASURED, METHOD_VERSION, WITHHELD_REASON, Area, Cadence, Cell, Metric, Window

#: The spread between people that a margin assumes, in points: a public constant, not taken from the data.
SD_PEOPLE: Final = 15.0
Z_95: Final = 1.96


class Mechanism(Protocol):
    """Records [n, 3] in, noise in what comes out. There is one (`mechanism.draw`); `attacks` puts broken ones here."""

    def __call__(self, scores: Scores, cadence: Cadence, /) -> Draw:
        """A new draw."""


def release(
    log: ReleaseLog, *, area: Area, window: Window, scores: Scores, mechanism: Mechanism | None = None
) -> tuple[Cell, ...]:
    """Draw, charge and keep the three cells of an area and window, once.

    Raises `release_log.AlreadyReleased` or `budget.InsufficientBudget`; nothing was drawn then.
    """
    constants, noisy = noise(area.cadence), mechanism or draw
    return log.publish(
        area=area,
        window=window,
        rho=constants.rho,
        draw=lambda: cells_of(noisy(scores, area.cadence), constants, area=area, window=window),
    )


def cells_of(drawn: Draw, constants: Noise, *, area: Area, window: Window) -> tuple[Cell, ...]:
    """The cells of a draw: arithmetic on what is private already."""
    shown = drawn.participants >= constants.threshold
    values = [(m, value_of(total, drawn.participants, m)) for m, total in zip(MEASURED, drawn.sums, strict=True)]
    return tuple(
        Cell(
            area=area.code,
            districts=area.districts,
            metric=metric,
            window=window.name,
            start=window.start,
            end=window.end,
            method=METHOD_VERSION,
            status="published" if shown else "withheld",
            value=value if shown else None,
            margin=margin_of(value, drawn.participants, constants, metric) if shown else None,
            participants=float(drawn.participants) if shown else None,
            reason=None if shown else WITHHELD_REASON,
        )
        for metric, value in values
    )


def value_of(total: int, count: int, metric: Metric) -> float:
    """The mean in points: noisy sum / max(noisy count, 1) + centre, clamped to the metric's public bounds."""
    bounds = BOUNDS[metric]
    return round(min(max(total / max(count, 1) + bounds.centre, bounds.low), bounds.high) / CENTI, 2)


def margin_of(value: float, count: int, constants: Noise, metric: Metric) -> float:
    """Half the width of the 95 % interval, in points: 1.96·sqrt(σ²/n̂² + 15²/n̂).

    σ² is the noise in the numerator: the sum's own, and the count's, which enters by how far the value lies from
    the centre (the first-order variance of a quotient). It leaves out who chose to take part.
    """
    n = max(count, 1)
    sum_part = constants.sigma_sum / CENTI
    count_part = (value - BOUNDS[metric].centre / CENTI) * constants.sigma_count
    return round(Z_95 * math.sqrt((sum_part**2 + count_part**2) / n**2 + SD_PEOPLE**2 / n), 2)
