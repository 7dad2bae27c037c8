"""The single private exit: records of one area and window in, one draw of noisy cells out, into the release log.

Nothing else in analytics hands anything outward that is made of people's data. What is withheld has one shape and one
reason, and costs the same budget: the noisy count decides, and the exact one is looked at by nobody.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.figures import SD_PEOPLE as SD_PEOPLE
from analytics.figures import Z_95 as Z_95
from analytics.figures import blocks_of
from analytics.figures import cells_of as cells_of
from analytics.figures import counts_of as counts_of
from analytics.figures import margin_of as margin_of
from analytics.figures import value_of as value_of
from analytics.leaf import Leaf
from analytics.mechanism import Draw, draw, draw_profile, draw_reasons, noise, profile_noise, reason_noise
from analytics.profile import Deviations
from analytics.records import Scores
from analytics.release_log import Figure, ReleaseLog
from contracts.release import METHOD_VERSION, Area, Cadence, Cell, Window


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

    def figures() -> tuple[Figure, ...]:
        drawn = noisy(scores, area.cadence)
        cells = cells_of(drawn, constants, area=area, window=window)
        kept = Leaf(
            area=area.code,
            districts=area.districts,
            cadence=area.cadence,
            window=window.name,
            start=window.start,
            end=window.end,
            method=METHOD_VERSION,
            status=cells[0].status,
            participants=drawn.participants,
            safe=drawn.sums[0],
            calm=drawn.sums[1],
            happy=drawn.sums[2],
        )
        bins = () if reasons is None else counts_of(draw_reasons(reasons), area=area, window=window)
        return *cells, kept, *bins

    rho = constants.rho + (0 if reasons is None else reason_noise().rho)
    released = log.publish(area=area, window=window, rho=rho, draw=figures)
    return tuple(figure for figure in released if isinstance(figure, Cell))


def release_week(log: ReleaseLog, *, area: Area, week: Window, reasons: NDArray[np.int64], profile: Deviations) -> None:
    """Draw, charge and keep a week's reasons and profile of a daily area, once. Raises as `release` does."""

    def figures() -> tuple[Figure, ...]:
        bins = counts_of(draw_reasons(reasons), area=area, window=week)
        return *bins, *blocks_of(draw_profile(profile), area=area, window=week)

    log.publish(area=area, window=week, rho=reason_noise().rho + profile_noise().rho, draw=figures)
