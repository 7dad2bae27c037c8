"""From drawn numbers to figures: arithmetic on what is private already. Pure functions of public constants."""

from __future__ import annotations

import math
from typing import Final

from analytics.mechanism import (
    BOUNDS,
    REACH_PROFILE,
    Draw,
    Noise,
    ProfileDraw,
    profile_noise,
    reason_noise,
)
from analytics.records import CENTI
from analytics.sums import PROFILE_BLOCKS
from analytics.windows import BLOCK_HOURS
from contracts.reading import Reason
from contracts.release import (
    MEASURED,
    METHOD_VERSION,
    WITHHELD_REASON,
    Area,
    Cell,
    Metric,
    ProfileBlock,
    ReasonCount,
    Window,
)

#: The spread between people that a margin assumes, in points: a public constant, not taken from the data.
SD_PEOPLE: Final = 15.0
#: The same for the deviations of a profile, which are within a person.
SD_DEVIATIONS: Final = 7.5
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


def blocks_of(drawn: ProfileDraw, *, area: Area, window: Window) -> tuple[ProfileBlock, ...]:
    """The blocks of a drawn profile: all published, or all withheld, by the one noisy count."""
    constants, n = profile_noise(), max(drawn.participants, 1)
    shown = drawn.participants >= constants.threshold
    found = []
    for block, total in zip(PROFILE_BLOCKS, drawn.sums, strict=True):
        value = round(min(max(total / n, -REACH_PROFILE), REACH_PROFILE) / CENTI, 2)
        margin = _margin(value, n, constants, SD_DEVIATIONS)
        found.append(
            ProfileBlock(
                area=area.code,
                districts=area.districts,
                from_hour=block * BLOCK_HOURS,
                to_hour=(block + 1) * BLOCK_HOURS,
                window=window.name,
                start=window.start,
                end=window.end,
                method=METHOD_VERSION,
                status="published" if shown else "withheld",
                value=value if shown else None,
                margin=margin if shown else None,
                participants=float(drawn.participants) if shown else None,
                reason=None if shown else WITHHELD_REASON,
            )
        )
    return tuple(found)


def value_of(total: int, count: int, metric: Metric) -> float:
    """The mean in points: noisy sum / max(noisy count, 1) + centre, clamped to the metric's public bounds."""
    bounds = BOUNDS[metric]
    return round(min(max(total / max(count, 1) + bounds.centre, bounds.low), bounds.high) / CENTI, 2)


def margin_of(value: float, count: int, constants: Noise, metric: Metric) -> float:
    """Half the width of the 95 % interval, in points: 1.96·sqrt(σ²/n̂² + 15²/n̂).

    σ² is the noise in the numerator: the sum's own, and the count's, which enters by how far the value lies from
    the centre (the first-order variance of a quotient). It leaves out who chose to take part.
    """
    return _margin(value - BOUNDS[metric].centre / CENTI, max(count, 1), constants, SD_PEOPLE)


def _margin(from_centre: float, n: int, constants: Noise, spread: float) -> float:
    sum_part = constants.sigma_sum / CENTI
    count_part = from_centre * constants.sigma_count
    return round(Z_95 * math.sqrt((sum_part**2 + count_part**2) / n**2 + spread**2 / n), 2)
