"""The noise: OpenDP's discrete Gaussian on clamped integer sums. The only module that imports opendp.

Theorem kept: for datasets that differ in one volunteer's record, `draw` satisfies ρ-zCDP (Bun & Steinke 2016) with the
ρ of its cadence. Unit: one record per volunteer and window. OpenDP proves each part and their composition; that
selecting a column is 1-stable is ours to say (row by row, one row out for one row in), and is tested.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import opendp.prelude as dp
from numpy.typing import NDArray

from analytics.sums import PROFILE_BLOCKS
from contracts.reading import Reason
from contracts.release import MEASURED, METHOD_VERSION, Cadence, Metric


class Bounds(NamedTuple):
    """Where a score is clipped, in centi-points: a public constant, never taken from the data (ADR 5)."""

    low: int
    high: int

    @property
    def centre(self) -> int:
        """What is taken off before adding up."""
        return (self.low + self.high) // 2


#: People who feel safe answer 8 to 10, calm lies around 50. The ranges are equally wide, hence so is the noise.
BOUNDS: Final[dict[Metric, Bounds]] = {
    "safe": Bounds(3_000, 10_000),
    "calm": Bounds(2_000, 9_000),
    "happy": Bounds(3_000, 10_000),
}
#: Of the measured metrics in their order, to take off a record.
CENTRES: Final = np.array([BOUNDS[metric].centre for metric in MEASURED], dtype=np.int64)
#: The most by which one record moves a centred sum.
REACH: Final = 3_500
#: ρ of one window of an area: the count takes three tenths, each of the three sums a third of the rest.
RHO: Final = {Cadence.DAILY: 0.036, Cadence.WEEKLY: 0.2}
#: Of what an earlier version of the method released, for totals over it.
_RHO_BEFORE: Final = {"2": {Cadence.DAILY: 0.04, Cadence.WEEKLY: 0.2}}
#: Versions of the method with the same bounds, hence with sums that mean the same.
METHODS_ALIKE: Final = (*_RHO_BEFORE, METHOD_VERSION)
COUNT_SHARE: Final = 0.3
#: ρ of a week's histogram of reasons, of any area, on top of what its windows cost.
RHO_REASONS: Final = 0.02
#: ρ of a week's profile of a daily area (ADR 9), on top of its days, and the most by which a block may deviate.
RHO_PROFILE: Final = 0.03
REACH_PROFILE: Final = 1_000
#: A cell is published when its noisy count reaches this plus five standard deviations of the count's noise.
PARTICIPANTS_MIN: Final = 10
SIGMAS: Final = 5
#: OpenDP's map computes ρ from the scale in floating point; the scale is widened so that it never says more than ρ.
_WIDER: Final = 1 + 1e-12


class Noise(NamedTuple):
    """The public constants of a cadence."""

    rho: float
    sigma_count: float  # participants
    sigma_sum: float  # centi-points
    threshold: float  # of the noisy count


class Draw(NamedTuple):
    """What the mechanism says of one area and window: integers with noise in them, safe to keep and to show."""

    participants: int
    sums: tuple[int, int, int]  # safe, calm, happy: centred centi-points


class ProfileDraw(NamedTuple):
    """What the mechanism says of one area's week by hours of the day: integers with noise in them."""

    participants: int
    sums: tuple[int, ...]  # of PROFILE_BLOCKS: deviations in centi-points


@cache
def noise(cadence: Cadence, method: str = METHOD_VERSION) -> Noise:
    """The scales and the threshold of a cadence, today's or those of a version in METHODS_ALIKE."""
    return _noise(_RHO_BEFORE.get(method, RHO)[cadence], reach=REACH, sums=len(MEASURED))


@cache
def profile_noise() -> Noise:
    """The scales and the threshold of a week's profile."""
    return _noise(RHO_PROFILE, reach=REACH_PROFILE, sums=len(PROFILE_BLOCKS))


def _noise(rho: float, *, reach: int, sums: int) -> Noise:
    sigma_count = _WIDER / math.sqrt(2 * COUNT_SHARE * rho)
    sigma_sum = _WIDER * reach / math.sqrt(2 * (1 - COUNT_SHARE) * rho / sums)
    return Noise(rho, sigma_count, sigma_sum, PARTICIPANTS_MIN + SIGMAS * sigma_count)


def draw(scores: NDArray[np.int64], cadence: Cadence) -> Draw:
    """Count and sums of the records [n, 3] in centi-points, with noise. The exact ones are seen by nobody.

    Each call is a new draw from the system's entropy; there is no seed.
    """
    if scores.dtype != np.int64 or scores.ndim != 2 or scores.shape[1] != len(MEASURED):
        raise TypeError("scores must be whole centi-points, one column per metric")
    count, safe, calm, happy = measurement(cadence)(scores - CENTRES)
    return Draw(int(count), (int(safe), int(calm), int(happy)))


@cache
def measurement(cadence: Cadence) -> Any:
    """The composed OpenDP measurement; its map at 1 is at most the cadence's ρ (and at least ρ·(1 - 1e-9))."""
    if any(bounds.high - bounds.low != 2 * REACH for bounds in BOUNDS.values()):
        raise AssertionError("the bounds are wider than the noise is made for")
    return _count_and_sums(noise(cadence), reach=REACH, sums=len(MEASURED))


def draw_profile(deviations: NDArray[np.int64]) -> ProfileDraw:
    """Count and sums of deviations [n, blocks] in centi-points, with noise. Each call is a new draw."""
    if deviations.dtype != np.int64 or deviations.ndim != 2 or deviations.shape[1] != len(PROFILE_BLOCKS):
        raise TypeError("deviations must be whole centi-points, one column per block of the day")
    count, *sums = profile_measurement()(deviations)
    return ProfileDraw(int(count), tuple(int(total) for total in sums))


@cache
def profile_measurement() -> Any:
    """The profile's composed OpenDP measurement; its map at 1 is at most RHO_PROFILE."""
    return _count_and_sums(profile_noise(), reach=REACH_PROFILE, sums=len(PROFILE_BLOCKS))


def _count_and_sums(scale: Noise, *, reach: int, sums: int) -> Any:
    """A count and so many clamped sums of records [n, sums], each with noise, composed."""
    count = _column(0) >> dp.t.then_count()
    parts = [count >> dp.m.then_gaussian(scale.sigma_count)]
    parts += [clamped_sum(column, reach=reach) >> dp.m.then_gaussian(scale.sigma_sum) for column in range(sums)]
    composed = dp.c.make_composition(parts)
    spent = composed.map(1)  # type: ignore[no-untyped-call]
    if not scale.rho * (1 - 1e-9) <= spent <= scale.rho:
        raise AssertionError(f"the mechanism spends ρ={spent}, its budget is {scale.rho}")
    return composed


class ReasonNoise(NamedTuple):
    """The public constants of the histogram of reasons."""

    rho: float
    sigma: float  # volunteers
    threshold: float  # of a bin's noisy count


@cache
def reason_noise() -> ReasonNoise:
    """The scale and the threshold of a bin: one volunteer is in one bin, so one volunteer moves it by 1 (L2)."""
    sigma = _WIDER / math.sqrt(2 * RHO_REASONS)
    return ReasonNoise(RHO_REASONS, sigma, PARTICIPANTS_MIN + SIGMAS * sigma)


def draw_reasons(reasons: NDArray[np.int64]) -> tuple[int, ...]:
    """How many volunteers gave each reason, with noise; `reasons` [n] are indices of `contracts.reading.Reason`."""
    if reasons.dtype != np.int64 or reasons.ndim != 1:
        raise TypeError("reasons must be whole numbers, one per volunteer")
    return tuple(int(count) for count in reason_measurement()(reasons.tolist()))


@cache
def reason_measurement() -> Any:
    """The histogram's OpenDP measurement; its map at 1 is at most RHO_REASONS. What is no reason is in no bin."""
    dp.enable_features("contrib")
    constants = reason_noise()
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.symmetric_distance()
    counted = dp.t.make_count_by_categories(
        *space, categories=list(range(len(Reason))), MO=dp.L2Distance[dp.i64], null_category=False
    )
    measured = counted >> dp.m.then_gaussian(constants.sigma)
    spent = measured.map(1)
    if not constants.rho * (1 - 1e-9) <= spent <= constants.rho:
        raise AssertionError(f"the histogram spends ρ={spent}, its budget is {constants.rho}")
    return measured


def clamped_sum(column: int, *, reach: int = REACH) -> Any:
    """The transformation before the noise: one column of centred records -> its clamped sum. Sensitivity `reach`."""
    return _column(column) >> dp.t.then_clamp((-reach, reach)) >> dp.t.then_sum()  # type: ignore[no-untyped-call]


def _column(column: int) -> Any:
    """One column of the records: one row changes one value, so the distance stays what it is."""
    # The column of a record is picked by a function of ours, which OpenDP cannot prove: hence "honest-but-curious".
    dp.enable_features("contrib", "honest-but-curious")
    records = dp.user_domain(
        "records [n, columns] of int64", lambda rows: isinstance(rows, np.ndarray) and rows.dtype == np.int64
    )
    return dp.t.make_user_transformation(
        records,
        dp.symmetric_distance(),
        dp.vector_domain(dp.atom_domain(T="i64")),
        dp.symmetric_distance(),
        lambda rows: rows[:, column],
        lambda distance: distance,
    )


def epsilon(rho: float, *, delta: float = 1e-6) -> float:
    """The ε at this δ that ρ-zCDP implies, by OpenDP's conversion (Canonne, Kamath & Steinke 2020)."""
    dp.enable_features("contrib")
    gaussian = dp.m.make_gaussian(dp.atom_domain(T="i64"), dp.absolute_distance(T="i64"), math.sqrt(1 / (2 * rho)))
    profile = dp.c.make_zCDP_to_approxDP(gaussian).map(1)  # type: ignore[no-untyped-call]
    return float(profile.epsilon(delta))
