"""From ρ (zero-concentrated differential privacy) to the ε that most people know."""

from __future__ import annotations

import math
from typing import Final

#: The chance outside of the promise at which ε is stated.
DELTA: Final = 1e-6


def epsilon_of(rho: float, *, delta: float = DELTA) -> float:
    """The smallest ε for which ρ-zCDP gives (ε, δ)-differential privacy.

    The least, over α > 1, of αρ + ln(1/(αδ))/(α−1) + ln(1−1/α): Canonne, Kamath and Steinke 2020 (arXiv
    2004.00010), proposition 12 with corollary 13. It has one minimum, found by golden section on ln(α−1).
    """
    if rho <= 0:
        return 0.0

    def bound(log_above_one: float) -> float:
        above = math.exp(log_above_one)
        alpha = 1 + above
        return alpha * rho + math.log(1 / (alpha * delta)) / above + math.log1p(-1 / alpha)

    low, high = math.log(1e-3), math.log(1e6)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(100):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if bound(left) < bound(right):
            high = right
        else:
            low = left
    return max(0.0, bound((low + high) / 2))
