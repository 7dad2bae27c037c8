"""From drawn numbers to figures: arithmetic on what is private already. Pure functions of public constants."""

from __future__ import annotations

import math
from typing import Final

from analytics.mechanism import BOUNDS, Draw, Noise, reason_noise
from analytics.records import CENTI
from contracts.reading import Reason
from contracts.release import (
    MEASURED,
    METHOD_VERSION,
    WITHHELD_REASON,
    Area,
    Cell,
    Metric,
    ReasonCount,
    Window,
)

#: The spread between people that a margin assumes, in points: a public constant, not taken from the data.
SD_PEOPLE: Final = 15.0
Z_95: Final = 1.96


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
