"""What an attack says, and the arithmetic of advantages.

The advantage of an attacker who must tell two neighbouring towns apart is P(says 1 | 1) - P(says 1 | 0). For Gaussian
noise whose means lie d standard deviations apart no test has more than 2Φ(d/2) - 1 (Neyman & Pearson 1933), and ρ-zCDP
by Gaussian noise is d = √(2ρ) (Bun & Steinke 2016; Dong, Roth & Su 2022, theorem 2.7).
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

#: What the method allows an advantage to be measured above the theorem.
SLACK: Final = 0.005
#: With few runs the measurement itself is rough: a sound engine is called broken once in 2,000 times at most.
_SIGMAS: Final = 3.3


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One attack: what was measured on the real engine, its limit, and whether the broken engine was caught."""

    attack: str
    measured: float
    limit: float
    passed: bool
    mutant: str  # what is broken in it
    mutant_caught: bool


def judge(attack: str, *, measured: float, limit: float, mutants: dict[str, float]) -> Verdict:
    """Passed when the real engine stays within the limit; a mutant is caught when it does not. All must be."""
    return Verdict(
        attack=attack,
        measured=_short(measured),
        limit=_short(limit),
        passed=measured <= limit,
        mutant="; ".join(f"{told} ({_short(value):g})" for told, value in mutants.items()),
        mutant_caught=all(value > limit for value in mutants.values()),
    )


def advantage(separation: float) -> float:
    """2Φ(d/2) - 1: the best advantage when the means lie `separation` standard deviations apart."""
    return math.erf(separation / 2 / math.sqrt(2))


def slack(best: float, runs: int) -> float:
    """What may be added to the theorem's advantage when it is measured in `runs` draws on each side."""
    hit = (1 + best) / 2
    return max(SLACK, _SIGMAS * math.sqrt(2 * hit * (1 - hit) / runs))


def _short(value: float) -> float:
    return float(f"{value:.4g}")
