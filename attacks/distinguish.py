"""Membership and value change: the strongest attacker, who knows everybody else's records and the mechanism.

Both towns are drawn from many times; the attacker says "1" when the likelihood ratio is above 1. For Gaussian noise
that is a threshold on a weighted sum of the four numbers, fixed before anything is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.mechanism import (
    BOUNDS,
    CENTRES,
    REACH_PROFILE,
    Draw,
    ProfileDraw,
    draw,
    draw_profile,
    noise,
    profile_noise,
)
from analytics.records import Scores
from analytics.release import Mechanism
from analytics.sums import PROFILE_BLOCKS
from attacks.verdict import Verdict, advantage, judge, slack
from contracts.release import Cadence

Floats = NDArray[np.float64]

#: The others matter to nobody's advantage: noise is added to a sum. A few keep the draws quick.
_OTHERS: Final = 3
CADENCE: Final = Cadence.WEEKLY
#: The bounds of safe, calm and happy, [3].
LOWEST: Final = np.array([bounds.low for bounds in BOUNDS.values()], dtype=np.int64)
HIGHEST: Final = np.array([bounds.high for bounds in BOUNDS.values()], dtype=np.int64)
#: Scores that no bound allows, as a broken pipeline could hand them over.
WILD: Final = 100_000


def membership(runs: int) -> Verdict:
    """Tell whether a volunteer, whose scores are as extreme as they can be, is in the records."""
    others = _town(_OTHERS)
    with_one = np.vstack([others, _row(HIGHEST)])
    with_wild = np.vstack([others, _row(WILD)])
    best = advantage(math.sqrt(2 * noise(CADENCE).rho))
    few = max(200, runs // 100)
    return judge(
        "membership",
        measured=distinguish(draw, others, with_one, runs),
        limit=best + slack(best, runs),
        mutants={
            "scores are not bounded": distinguish(unbounded, others, with_wild, few),
            "a quarter of the noise": distinguish(quarter_of_the_noise, others, with_one, few),
        },
    )


def value_change(runs: int) -> Verdict:
    """Tell whether a volunteer answered the lowest or the highest to everything; the count tells nothing of it."""
    others = _town(_OTHERS)
    low, high = np.vstack([others, _row(LOWEST)]), np.vstack([others, _row(HIGHEST)])
    best = advantage(change_separation(CADENCE))
    few = max(200, runs // 100)
    return judge(
        "value change",
        measured=distinguish(draw, low, high, runs),
        limit=best + slack(best, runs),
        mutants={
            "scores are not bounded": distinguish(unbounded, low, np.vstack([others, _row(WILD)]), few),
            "two records of one volunteer": distinguish(
                draw, np.vstack([low, _row(LOWEST)]), np.vstack([high, _row(HIGHEST)]), max(few, 2000)
            ),
        },
    )


def change_separation(cadence: Cadence) -> float:
    """How many standard deviations one record can move the sums, each by its whole range."""
    # Written out from the public constants, not read from the mechanism's own sensitivity.
    return float(np.linalg.norm(HIGHEST - LOWEST)) / noise(cadence).sigma_sum


def distinguish(mechanism: Mechanism, one: Scores, other: Scores, runs: int) -> float:
    """The advantage of the likelihood-ratio test over `runs` draws of each town."""
    constants = noise(CADENCE)
    scale = np.array([constants.sigma_count, *[constants.sigma_sum] * 3])
    exact = [np.array([len(t), *(np.clip(t, LOWEST, HIGHEST) - CENTRES).sum(axis=0)]) for t in (one, other)]
    return _advantage(exact, scale, lambda town: _numbers(mechanism(town, CADENCE)), (one, other), runs)


def _advantage(
    exact: Sequence[Floats], scale: Floats, drawn: Callable[[Scores], Floats], towns: tuple[Scores, Scores], runs: int
) -> float:
    """Of two towns: the exact numbers of each, the noise's scales, and how numbers are drawn of a town."""
    weights = (exact[1] - exact[0]) / scale**2
    middle = weights @ (exact[0] + exact[1]) / 2
    says = [float(np.mean([weights @ drawn(town) > middle for _ in range(runs)])) for town in towns]
    return says[1] - says[0]


ProfileMechanism = Callable[[Scores], ProfileDraw]


def profile_membership(runs: int) -> Verdict:
    """Tell from a week's profile by hours whether a volunteer, as extreme as can be in every block, is in it."""
    constants, blocks = profile_noise(), len(PROFILE_BLOCKS)
    others = np.zeros((_OTHERS, blocks), dtype=np.int64)
    highest = np.full((1, blocks), REACH_PROFILE, dtype=np.int64)
    scale = np.array([constants.sigma_count, *[constants.sigma_sum] * blocks])
    exact = [np.zeros(1 + blocks), np.array([1.0, *[REACH_PROFILE] * blocks])]
    best = advantage(math.sqrt(2 * constants.rho))
    few = max(400, runs // 100)

    def told(mechanism: ProfileMechanism, row: Scores, times: int) -> float:
        def drawn(town: Scores) -> Floats:
            found = mechanism(town)
            return np.array([found.participants - _OTHERS, *found.sums], dtype=float)

        return _advantage(exact, scale, drawn, (others, np.vstack([others, row])), times)

    def unclamped(town: Scores) -> ProfileDraw:
        quiet = draw_profile(town[:0])
        return _added(quiet, town)

    def quarter(town: Scores) -> ProfileDraw:
        quiet = draw_profile(town[:0])
        return _added(ProfileDraw(quiet.participants // 4, tuple(total // 4 for total in quiet.sums)), town)

    return judge(
        "membership, by hours",
        measured=told(draw_profile, highest, runs),
        limit=best + slack(best, runs),
        mutants={
            "deviations are not bounded": told(unclamped, highest * 100, few),
            "a quarter of the noise": told(quarter, highest, few),
        },
    )


def _added(noisy: ProfileDraw, town: Scores) -> ProfileDraw:
    totals = town.sum(axis=0).tolist()
    return ProfileDraw(noisy.participants + len(town), tuple(a + b for a, b in zip(noisy.sums, totals, strict=True)))


def unbounded(scores: Scores, cadence: Cadence) -> Draw:
    """Broken: the sums are not clamped."""
    quiet = draw(scores[:0], cadence)
    total = (scores - CENTRES).sum(axis=0)
    return Draw(quiet.participants + len(scores), _plus(quiet, total))


def quarter_of_the_noise(scores: Scores, cadence: Cadence) -> Draw:
    """Broken: a quarter of the noise."""
    quiet = draw(scores[:0], cadence)
    total = (scores - CENTRES).sum(axis=0)
    small = Draw(quiet.participants // 4, (quiet.sums[0] // 4, quiet.sums[1] // 4, quiet.sums[2] // 4))
    return Draw(small.participants + len(scores), _plus(small, total))


def without_noise(scores: Scores, cadence: Cadence) -> Draw:
    """Broken: no noise at all."""
    del cadence
    return Draw(len(scores), _plus(Draw(0, (0, 0, 0)), (scores - CENTRES).sum(axis=0)))


def _plus(drawn: Draw, total: NDArray[np.int64]) -> tuple[int, int, int]:
    safe, calm, happy = (int(a + b) for a, b in zip(drawn.sums, total, strict=True))
    return safe, calm, happy


def _numbers(drawn: Draw) -> Floats:
    return np.array([drawn.participants, *drawn.sums], dtype=float)


def _row(score: int | NDArray[np.int64]) -> Scores:
    row: Scores = np.zeros((1, 3), dtype=np.int64) + score
    return row


def _town(people: int) -> Scores:
    return np.full((people, 3), 7000, dtype=np.int64)
