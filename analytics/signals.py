"""After the release: smoothing, signals of a change, and what a change is made of. Pure functions of released figures.

Everything here is arithmetic on figures that are public already, and costs no privacy. A signal opens a question to the
municipality; it is not a verdict, and nothing here ranks districts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import permutations
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.derived import safety
from contracts.release import Cadence

Floats = NDArray[np.float64]

#: CUSUM's allowance in standard errors: it is best for a drop of twice this (Page 1954; Hawkins & Olwell 1998).
ALLOWANCE: Final = 0.5
#: Windows from which a usual figure is learnt, and for which it is then held against the figures.
USUAL_WINDOWS: Final = {Cadence.DAILY: 56, Cadence.WEEKLY: 26}
WATCHED_WINDOWS: Final = {Cadence.DAILY: 90, Cadence.WEEKLY: 26}
WINDOWS_A_YEAR: Final = {Cadence.DAILY: 365.25, Cadence.WEEKLY: 52.18}
#: Districts with which smoothing begins: below four the adjusted likelihood has no maximum.
SMOOTHED_MIN: Final = 4
_POINTS: Final = 60  # of the rule; twice as many change run lengths by less than a millionth
_NODES: Final = 11  # of the mean over the error of a learnt usual; more change rates by less than 1 %
_PERCENT_95: Final = 1.959963984540054


class Smoothed(NamedTuple):
    """Values drawn towards their common mean, to be shown beside the measured ones and never in their place."""

    values: Floats  # [districts]
    weight: Floats  # [districts]: B, how much of the measured deviation is kept; in (0, 1)
    mean: float
    tau2: float  # variance between districts, above 0


def smooth(values: Floats, standard_errors: Floats) -> Smoothed:
    """θ̂ = μ + B·(y − μ), B = τ² / (τ² + SE²). Raises ValueError below four districts or without positive errors.

    τ² maximises τ²·L(τ²), L the residual likelihood: positive always, and consistent (Li & Lahiri, J. Multivariate
    Analysis 101:882, 2010). Estimators that are cut off at 0 would now and then show all districts as equal.
    """
    y, variance = np.asarray(values, np.float64), np.asarray(standard_errors, np.float64) ** 2
    if y.ndim != 1 or y.shape != variance.shape or len(y) < SMOOTHED_MIN:
        raise ValueError(f"smoothing needs {SMOOTHED_MIN} districts or more, with an error each")
    if not (np.isfinite(y).all() and np.isfinite(variance).all() and (variance > 0).all()):
        raise ValueError("smoothing needs finite values and positive errors")
    tau2 = _between(y, variance)
    precision = 1 / (tau2 + variance)
    mean = float((precision * y).sum() / precision.sum())
    weight = tau2 * precision
    return Smoothed(mean + weight * (y - mean), weight, mean, tau2)


def _between(y: Floats, variance: Floats) -> float:
    """The maximum over log τ², on a grid that is narrowed four times around the best."""
    spread = float(np.var(y))
    low, high = math.log(variance.min() * 1e-6), math.log(100 * (spread + variance.max()))
    for _ in range(4):
        grid = np.linspace(low, high, 201)
        precision = 1 / (np.exp(grid)[:, None] + variance)
        total = precision.sum(axis=1)
        deviation = y - ((precision * y).sum(axis=1) / total)[:, None]
        likelihood = grid + (np.log(precision).sum(axis=1) - np.log(total) - (precision * deviation**2).sum(axis=1)) / 2
        best = int(likelihood.argmax())
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    return math.exp((low + high) / 2)


def standard_error(margin: float) -> float:
    """Of a released figure, out of its 95 % margin."""
    return margin / _PERCENT_95


def cusum(z: Floats, *, allowance: float = ALLOWANCE) -> Floats:
    """One-sided CUSUM for a drop: S = max(0, S − z − k), of figures in standard errors from what is usual. [windows].

    A withheld window (NaN) leaves the sum as it was.
    """
    out, level = np.empty(len(z)), 0.0
    for i, value in enumerate(np.asarray(z, np.float64).tolist()):
        if math.isfinite(value):
            level = max(0.0, level - value - allowance)
        out[i] = level
    return out


@cache
def windows_to_false_alarm(threshold: float, *, allowance: float = ALLOWANCE) -> float:
    """The mean number of windows until S > threshold when nothing changes (independent, normal, known mean).

    L(u) = 1 + L(0)·Φ(k − u) + ∫₀ʰ L(y)·φ(y − u + k) dy, the run length from a sum of u (Page 1954), solved on the nodes
    of Gauss and Legendre's rule (Goel & Wu, Technometrics 13:221, 1971); as Brook & Evans (Biometrika 59:539, 1972).
    """
    node, weight = np.polynomial.legendre.leggauss(_POINTS)
    at = np.concatenate([[0.0], (node + 1) * threshold / 2])
    kernel = np.exp(-((at[None, :] - at[:, None] + allowance) ** 2) / 2) / math.sqrt(2 * math.pi)
    kernel *= np.concatenate([[0.0], weight * threshold / 2])
    kernel[:, 0] = _normal_cdf(allowance - at)
    return float(np.linalg.solve(np.eye(len(at)) - kernel, np.ones(len(at)))[0])


def false_alarms(threshold: float, *, learnt_from: int | None = None, allowance: float = ALLOWANCE) -> float:
    """The mean number of false alarms per window when nothing changes.

    `learnt_from`: the usual figure is the mean of so many windows before, and not known. It is then wrong by 1/√n
    standard errors, always in the same direction, which makes alarms several times as frequent (Jensen et al., J.
    Quality Technology 38:349, 2006). The mean over that error is taken by Gauss and Hermite's rule.
    """
    if learnt_from is None:
        return 1 / windows_to_false_alarm(threshold, allowance=allowance)
    error, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    rates = [
        1 / windows_to_false_alarm(threshold, allowance=allowance + e / math.sqrt(learnt_from)) for e in error.tolist()
    ]
    return float(np.average(rates, weights=weight))


@cache
def threshold_for(
    windows_between_false_alarms: float, *, learnt_from: int | None = None, allowance: float = ALLOWANCE
) -> float:
    """The threshold h with so many windows on average for each false alarm. Raises ValueError below 10."""
    if windows_between_false_alarms < 10:
        raise ValueError("ten windows between false alarms is the least that makes sense")

    def excess(threshold: float) -> float:
        """Nearly a straight line in the threshold, so that the secant method needs some six steps."""
        rate = false_alarms(threshold, learnt_from=learnt_from, allowance=allowance)
        return math.log(rate * windows_between_false_alarms)

    before, now = 3.0, 6.0
    above_before, above = excess(before), excess(now)
    while abs(above) > 1e-6:
        step = above * (now - before) / (above - above_before)
        before, above_before = now, above
        now = max(now - step, now / 4)
        above = excess(now)
    return now


def _normal_cdf(x: Floats) -> Floats:
    cdf: Floats = 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return cdf


def adjusted_p(p: Floats) -> Floats:
    """Benjamini & Hochberg's adjusted p-values (J. R. Stat. Soc. B 57:289, 1995), in the order given.

    Those at or below q may be claimed at once: among them a share of q at most is expected to be false. Raises
    ValueError for what is no probability.
    """
    p = np.asarray(p, np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a p-value lies between 0 and 1")
    order = np.argsort(p)[::-1]
    rank = np.arange(len(p), 0, -1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / rank), 1.0)
    return out


class Figures(NamedTuple):
    """Released means of one district and window, 0-100; or what each of them adds to a change, in points."""

    safe: float
    calm: float
    happy: float


def well_being(figures: Figures) -> float:
    """sqrt(safety · happy), the index as it is derived."""
    return math.sqrt(safety(figures.safe, figures.calm) * figures.happy)


def decompose(before: Figures, after: Figures, index: Callable[[Figures], float] = well_being) -> Figures:
    """What safe, calm and happy each add to the change of an index; they sum to it exactly, but for rounding.

    The Shapley value: a part's effect, averaged over all orders in which the parts can change. No order is preferred, a
    part that does not change adds nothing, and for a weighted sum (safety) it is weight times change.
    """
    shares = dict.fromkeys(Figures._fields, 0.0)
    orders = list(permutations(Figures._fields))
    for order in orders:
        now = before
        for name in order:
            then = now._replace(**{name: getattr(after, name)})
            shares[name] += (index(then) - index(now)) / len(orders)
            now = then
    return Figures(**shares)
