"""Sixty volunteers, always the same ones, for 180 days, and an attacker who saw who took part in which window.

The attacker knows the mechanism and, of every window, which volunteers were in it (bands can be seen on wrists); each
volunteer has one secret: the lowest or the highest answer, always. Every published mean, times its count, is a linear
equation in sixty unknowns (Dinur & Nissim 2003); regularised least squares solves them. The limit is what the noise
as it is specified leaves to this attacker, computed from the equations themselves, with 3.3 standard errors of the
share of right guesses.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.mechanism import BOUNDS, draw, noise
from analytics.records import CENTI
from analytics.release import Mechanism, cells_of
from analytics.windows import day_window, week_window
from attacks.city import DAILY, MONDAY
from attacks.distinguish import quarter_of_the_noise, without_noise
from attacks.verdict import Verdict, advantage, judge
from contracts.release import Area, Cadence

PEOPLE: Final = 60
DAYS: Final = 180
#: How often a volunteer takes part in a window.
_PRESENT: Final = 0.85
_LOW, _HIGH = BOUNDS["safe"]
_CENTRE: Final = (_LOW + _HIGH) / 2 / CENTI
_REACH: Final = (_HIGH - _LOW) / 2 / CENTI


def reconstruction(cadence: Cadence, repeats: int) -> Verdict:
    """How much better than guessing the secrets are told, over `repeats` cities. 1 is all of them right."""
    told = "26 weeks" if cadence is Cadence.WEEKLY else "180 days"
    cities = [_City(cadence, seed) for seed in range(repeats)]
    best = float(np.mean([city.expected for city in cities]))
    error = 3.3 * math.sqrt((1 - best**2) / (PEOPLE * repeats))
    mutants = {"no noise": without_noise}
    if cadence is Cadence.DAILY:  # in weeks there are fewer equations than volunteers: less noise gains little
        mutants["a quarter of the noise"] = quarter_of_the_noise
    return judge(
        f"reconstruction of {PEOPLE} volunteers, {told}",
        measured=float(np.mean([city.attack(draw) for city in cities])),
        limit=best + error,
        mutants={
            broken: float(np.mean([city.attack(engine) for city in cities])) for broken, engine in mutants.items()
        },
    )


class _City:
    """Who took part when, the secrets, and the attacker's solver. Its randomness is not the noise's."""

    def __init__(self, cadence: Cadence, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._cadence = cadence
        windows = DAYS if cadence is Cadence.DAILY else DAYS // 7 + 1
        self._present = random.random((windows, PEOPLE)) < _PRESENT
        self._high = random.random(PEOPLE) < 0.5
        sigma = noise(cadence).sigma_sum / CENTI
        # The best linear estimate of independent secrets of ±REACH under this noise (ridge, or Wiener).
        rows = self._present.astype(float)
        self._solver = rows.T @ np.linalg.inv(rows @ rows.T + (sigma / _REACH) ** 2 * np.eye(windows))
        gain = self._solver @ rows
        own = np.diag(gain)
        others = (gain**2).sum(axis=1) - own**2
        spread = np.sqrt(_REACH**2 * others + sigma**2 * (self._solver**2).sum(axis=1))
        self.expected = float(np.mean([advantage(2 * _REACH * o / s) for o, s in zip(own, spread, strict=True)]))

    def attack(self, mechanism: Mechanism) -> float:
        """Share of secrets told right, from 0 (as by guessing) to 1."""
        sums = np.array([self._published_sum(mechanism, n) for n in range(len(self._present))])
        known = np.isfinite(sums)
        estimate = self._solver[:, known] @ sums[known]
        return float(2 * np.mean((estimate > 0) == self._high) - 1)

    def _published_sum(self, mechanism: Mechanism, number: int) -> float:
        """What the cell of a window says of the sum of `safe` around the centre, in points; NaN when withheld."""
        weekly = self._cadence is Cadence.WEEKLY
        day = MONDAY + timedelta(days=number * (7 if weekly else 1))
        window = week_window(day) if weekly else day_window(day)
        area = Area(code=DAILY, districts=(DAILY,), cadence=self._cadence)
        secrets: NDArray[np.int64] = np.where(self._high, _HIGH, _LOW)[self._present[number]].astype(np.int64)
        scores = np.repeat(secrets[:, None], 3, axis=1)
        cell = cells_of(mechanism(scores, self._cadence), noise(self._cadence), area=area, window=window)[0]
        if cell.value is None or cell.participants is None:
            return math.nan
        return (cell.value - _CENTRE) * cell.participants
