"""What noise, threshold and margin do: the tables of the method, the privacy statement and ADR 9.

    python bench/margins.py [TOWNS]        (4,000 towns for each number of people)

Out of the real mechanism. `safe` has a true mean of 75, people who spread by 15 points; a profile has deviations of 4
points with a spread of 5. "Covered" holds what the clip does to a figure.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date

import numpy as np

from analytics.budget import RHO_CAP
from analytics.figures import blocks_of, margin_of, value_of
from analytics.mechanism import (
    RHO,
    RHO_PROFILE,
    RHO_REASONS,
    Noise,
    draw,
    draw_profile,
    epsilon,
    noise,
    profile_noise,
    reason_noise,
)
from analytics.sums import PROFILE_BLOCKS
from analytics.windows import week_window
from attacks.verdict import advantage
from contracts.release import Area, Cadence

PEOPLE = (30, 50, 80, 100, 300)
TRUTH, SPREAD = 75.0, 15.0
DEVIATION, DEVIATION_SPREAD = 4.0, 5.0
AREA = Area(code="WK034401", districts=("WK034401",), cadence=Cadence.DAILY)
WEEK = week_window(date(2026, 11, 23))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("towns", type=int, nargs="?", default=4_000)
    towns = parser.parse_args().towns
    random = np.random.default_rng(1)
    print("constants: ρ, σ of a count, σ of a sum (points), published from")
    for name, held in (("week", noise(Cadence.WEEKLY)), ("day", noise(Cadence.DAILY)), ("hours", profile_noise())):
        print(f"  {name:<6} {held.rho:g}  {held.sigma_count:6.2f}  {held.sigma_sum / 100:7.1f}  {held.threshold:5.1f}")
    print(f"  reason {RHO_REASONS:g}  {reason_noise().sigma:6.2f}           {reason_noise().threshold:5.1f}")
    print("\nlosses: ρ, ε at δ = 1e-6, guessed right")
    for told, rho in losses().items():
        print(f"  {told:<50} {rho:7.3f}  {epsilon(rho):5.2f}  {50 * (1 + advantage((2 * rho) ** 0.5)):5.1f} %")
    for name, simulate in (("week", _safe(Cadence.WEEKLY)), ("day", _safe(Cadence.DAILY)), ("hours", _hours)):
        print(f"\n{name}: people, published, noise sd, margin, covered")
        for people in PEOPLE:
            shown, errors, margins, covered = simulate(people, towns, random)
            print(f"  {people:>4}  {100 * shown:4.0f} %" + (
                f"  {errors:5.2f}  {margins:5.1f}  {100 * covered:4.0f} %" if shown > 0.1 else "  too few to tell"
            ))  # fmt: skip
    return 0


def losses() -> dict[str, float]:
    """What somebody can lose at most, by how long and where: the rows of the privacy statement."""
    day, week = RHO[Cadence.DAILY], RHO[Cadence.WEEKLY] + RHO_REASONS
    extra = RHO_REASONS + RHO_PROFILE
    return {
        "one day of a daily area": day,
        "one week of a weekly area": week,
        "one week of a daily area": 7 * day + extra,
        "30 days, weekly area (5 windows)": 5 * week,
        "30 days, daily area (31 days, 5 weeks)": 31 * day + 5 * extra,
        "30 days, who moves (a week, 30 days, 4 weeks)": week + 30 * day + 4 * extra,
        "30 days, the cap": RHO_CAP,
        "a year, weekly area (53 weeks)": 53 * week,
        "a year, daily area (365 days, 53 weeks)": 365 * day + 53 * extra,
    }


Simulated = tuple[float, float, float, float]


def _safe(cadence: Cadence) -> Callable[[int, int, np.random.Generator], Simulated]:
    constants: Noise = noise(cadence)

    def simulate(people: int, towns: int, random: np.random.Generator) -> Simulated:
        found = []
        for _ in range(towns):
            scores = np.clip(random.normal(TRUTH, SPREAD, people), 0, 100)
            drawn = draw(np.tile(np.rint(100 * scores).astype(np.int64)[:, None], 3), cadence)
            if drawn.participants >= constants.threshold:
                value = value_of(drawn.sums[0], drawn.participants, "safe")
                clipped = np.clip(scores, 30, 100).mean()
                margin = margin_of(value, drawn.participants, constants, "safe")
                found.append((value - clipped, margin, abs(value - TRUTH) <= margin))
        return _summary(found, towns)

    return simulate


def _hours(people: int, towns: int, random: np.random.Generator) -> Simulated:
    found = []
    for _ in range(max(1, towns // len(PROFILE_BLOCKS))):
        deviations = random.normal(DEVIATION, DEVIATION_SPREAD, (people, len(PROFILE_BLOCKS)))
        rows = np.rint(100 * deviations).astype(np.int64)
        exact = np.clip(deviations, -10, 10).mean(axis=0)
        for block, mean in zip(blocks_of(draw_profile(rows), area=AREA, window=WEEK), exact, strict=True):
            if block.value is not None and block.margin is not None:
                found.append((block.value - mean, block.margin, abs(block.value - DEVIATION) <= block.margin))
    return _summary(found, max(1, towns // len(PROFILE_BLOCKS)) * len(PROFILE_BLOCKS))


def _summary(found: list[tuple[float, float, bool]], tried: int) -> Simulated:
    if not found:
        return 0.0, 0.0, 0.0, 0.0
    errors, margins, covered = np.array(found, float).T
    return len(found) / tried, float(errors.std()), float(margins.mean()), float(covered.mean())


if __name__ == "__main__":
    raise SystemExit(main())
