"""Bias of the clip beside the noise, for several public bounds: which lose least, at which true mean.

    python bench/clip.py

Scores spread by 15 points around a district's mean and end at 0 and 100, as answers do. Loss is the root of the summed
squares of the clip's bias and the noise's standard deviation (the sum's, and the count's through the quotient), in
points, for a number of people in a window. Computed, not simulated.
"""

from __future__ import annotations

import math

import numpy as np

from analytics.mechanism import COUNT_SHARE, RHO
from contracts.release import Cadence

SPREAD = 15.0
MEANS = (40, 50, 60, 70, 75, 80, 85)
BOUNDS = ((20, 90), (20, 100), (30, 90), (30, 100), (40, 100), (0, 100))
#: Where the mean of a district may lie: mostly 60 to 85 for marks that people give their own safety and happiness.
LIKELY = {"marks (60-85)": range(60, 86), "calm (40-60)": range(40, 61), "anything (40-85)": range(40, 86)}


def scores_around(mean: float) -> np.ndarray:
    """Ten thousand quantiles of the scores around a mean."""
    from statistics import NormalDist

    normal = NormalDist(mean, SPREAD)
    return np.clip([normal.inv_cdf((i + 0.5) / 10_000) for i in range(10_000)], 0, 100)


def loss(mean: float, bounds: tuple[int, int], cadence: Cadence, people: int) -> tuple[float, float]:
    """Bias and noise, in points."""
    low, high = bounds
    centre, reach = (low + high) / 2, (high - low) / 2
    scores = scores_around(mean)
    clipped = float(np.clip(scores, low, high).mean())
    rho = RHO[cadence]
    sigma_count = 1 / math.sqrt(2 * COUNT_SHARE * rho)
    sigma_sum = reach / math.sqrt(2 * (1 - COUNT_SHARE) * rho / 3)
    noise = math.hypot(sigma_sum, (clipped - centre) * sigma_count) / people
    return clipped - float(scores.mean()), noise


def main() -> None:
    for cadence, people in ((Cadence.WEEKLY, 50), (Cadence.WEEKLY, 100), (Cadence.DAILY, 100), (Cadence.DAILY, 300)):
        print(f"\n{cadence}, {people} people: bias / noise / both, by the true mean")
        print("bounds      " + "".join(f"{mean:>20}" for mean in MEANS) + "".join(f"{name:>18}" for name in LIKELY))
        for bounds in BOUNDS:
            row = [loss(mean, bounds, cadence, people) for mean in MEANS]
            cells = "".join(f"{bias:>8.2f} {noise:5.2f} {math.hypot(bias, noise):5.2f}" for bias, noise in row)
            over = [
                math.sqrt(np.mean([sum(x**2 for x in loss(mean, bounds, cadence, people)) for mean in span]))
                for span in LIKELY.values()
            ]
            print(f"[{bounds[0]:>2}, {bounds[1]:>3}]   {cells}" + "".join(f"{value:>18.2f}" for value in over))


if __name__ == "__main__":
    main()
