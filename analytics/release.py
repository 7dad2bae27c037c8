"""The single private exit: records of one area and window in, one draw of noisy cells out, into the release log.

Nothing else in analytics hands anything outward that is made of people's data. What is withheld has one shape and one
reason, and costs the same budget: the noisy count decides, and the exact one is looked at by nobody.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.mechanism import BOUNDS, Draw, Noise, draw, draw_reasons, noise, reason_noise
from analytics.records import CENTI, Scores
from analytics.release_log import ReleaseLog
from contracts.reading import Reason
from contracts.release import (
    MEASURED,
    METHOD_VERSION,
    WITHHELD_REASON,
    Area,
    Cadence,
    Cell,
    Metric,
    ReasonCount,
    Window,
)

#: The spread between people that a margin assumes, in points: a public constant, not taken from the data.
SD_PEOPLE: Final = 15.0
Z_95: Final = 1.96


class Mechanism(Protocol):
    """Records [n, 3] in, noise in what comes out. There is one (`mechanism.draw`); `attacks` puts broken ones here."""

    def __call__(self, scores: Scores, cadence: Cadence, /) -> Draw:
        """A new draw."""


def release(
    log: ReleaseLog,
    *,
    area: Area,
    window: Window,
    scores: Scores,
    reasons: NDArray[np.int64] | None = None,
    mechanism: Mechanism | None = None,
) -> tuple[Cell, ...]:
    """Draw, charge and keep the three cells of an area and window, once; with `reasons` [n] their histogram too.

    Raises `release_log.AlreadyReleased` or `budget.InsufficientBudget`; nothing was drawn then.
    """
    constants, noisy = noise(area.cadence), mechanism or draw
    drawn = log.publish(
        area=area,
        window=window,
        rho=constants.rho + (0 if reasons is None else reason_noise().rho),
        draw=lambda: (
            *cells_of(noisy(scores, area.cadence), constants, area=area, window=window),
            *(() if reasons is None else counts_of(draw_reasons(reasons), area=area, window=window)),
        ),
    )
    return tuple(figure for figure in drawn if isinstance(figure, Cell))


def release_reasons(log: ReleaseLog, *, area: Area, week: Window, reasons: NDArray[np.int64]) -> None:
    """Draw, charge and keep a week's reasons of a daily area, once. Raises as `release` does."""
    log.publish(
        area=area,
        window=week,
        rho=reason_noise().rho,
        draw=lambda: counts_of(draw_reasons(reasons), area=area, window=week),
    )


def counts_of(drawn: tuple[int, ...], *, area: Area, window: Window) -> tuple[ReasonCount, ...]:
    """The bins of a drawn histogram; each is withheld by its own noisy count."""
    constants = reason_noise()
    return tuple(
        ReasonCount(
            area=area.code,
            districts=area.districts,
            reason=reason,
            window=window.name,
            start=window.start,
            end=window.end,
            method=METHOD_VERSION,
            status="published" if count >= constants.threshold else "withheld",
            people=float(count) if count >= constants.threshold else None,
            margin=round(Z_95 * constants.sigma, 1) if count >= constants.threshold else None,
        )
        for reason, count in zip(Reason, drawn, strict=True)
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
