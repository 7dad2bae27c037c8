"""How long until a district's figure shows that k of its n volunteers are under stress: replay, release, CUSUM.

Recorded rest and stress are replayed into invented volunteers; their records go through the real mechanism and become
the cells that would be published; CUSUM watches those cells alone. What a recording of an hour cannot tell, how much a
person's calm differs from day to day, is put in as a normal spread of the size that published margins assume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.mechanism import draw, noise
from analytics.release import SD_PEOPLE, cells_of
from analytics.signals import USUAL_WINDOWS, WINDOWS_A_YEAR, cusum, standard_error, threshold_for
from analytics.windows import day_window, local_day, week_window
from contracts.ports import UsageFault
from contracts.release import Area, Cadence
from evaluation.replay import Labelled

Floats = NDArray[np.float64]

_DAYS: Final = {Cadence.DAILY: 1, Cadence.WEEKLY: 7}
#: Days made of each recording, from which the volunteers' days are drawn.
_POOL: Final = 400
#: Of answers, which this simulation says nothing about.
_ANSWERS_CENTI: Final = 7_500


class Scenario(NamedTuple):
    """What is simulated."""

    volunteers: int = 100
    affected: tuple[int, ...] = (0, 10, 25, 50, 75, 100)
    cadence: Cadence = Cadence.DAILY
    minutes: int = 240  # scorable minutes a day
    stress_minutes: int = 60  # of those, of an affected volunteer
    spread: float = SD_PEOPLE  # points, of a person's calm from window to window
    districts: int = 20  # watched together, with one false alarm a year
    horizon: int = 90  # windows after the stress began
    runs: int = 20
    seed: int = 1


class Delay(NamedTuple):
    """What came out for one number of affected volunteers."""

    affected: int
    drop: float  # points, of the figure: the mean over runs
    runs: int
    detected: int  # runs with a signal within the horizon
    q1: float  # windows until the signal, inf where fewer runs than that had one
    median: float
    q3: float


class Stock(NamedTuple):
    """One recorded person's scored minutes."""

    rest: Floats
    stress: Floats


def stocks(people: Sequence[Labelled]) -> list[Stock]:
    """The calm of the labelled minutes of every recording that has both kinds. Raises UsageFault without any."""
    found = []
    for person in people:
        calm, stress, _ = person.windows()
        scored = np.isfinite(calm)
        stock = Stock(calm[scored & ~stress], calm[scored & stress])
        if stock.rest.size and stock.stress.size:
            found.append(stock)
    if not found:
        raise UsageFault("no recording of this folder has scored minutes of both stress and rest")
    return found


def check(scenario: Scenario) -> None:
    """Raises UsageFault with what to change."""
    needed = math.ceil(noise(scenario.cadence).threshold)
    if scenario.volunteers < needed:
        raise UsageFault(
            f"below {needed} volunteers most {scenario.cadence} figures are withheld: take more, or --weekly"
        )
    if not all(0 <= k <= scenario.volunteers for k in scenario.affected):
        raise UsageFault(f"the affected must be 0 to {scenario.volunteers}, the number of volunteers")
    if not 0 <= scenario.stress_minutes <= scenario.minutes:
        raise UsageFault("a volunteer cannot have more minutes of stress than scorable minutes")
    if scenario.runs < 1 or scenario.horizon < 1 or scenario.minutes < 1 or scenario.districts < 1:
        raise UsageFault("runs, horizon, minutes and districts must be 1 or more")


def threshold(scenario: Scenario) -> float:
    """CUSUM's threshold for one false alarm a year in all districts together, with a usual figure that is learnt."""
    windows = scenario.districts * WINDOWS_A_YEAR[scenario.cadence]
    return threshold_for(windows, learnt_from=USUAL_WINDOWS[scenario.cadence])


def delays(scenario: Scenario, people: Sequence[Stock]) -> Iterator[Delay]:
    """One result per number of affected volunteers, as they are ready.

    The mechanism's noise has no seed; the volunteers' days have.
    """
    check(scenario)
    limit = threshold(scenario)
    for affected in scenario.affected:
        found, drops = [], []
        for drop, after in replays(scenario, affected, people):
            above = np.flatnonzero(cusum(after) > limit)
            found.append(float(above[0]) + 1 if above.size else math.inf)
            drops.append(drop)
        q1, median, q3 = np.quantile(found, (0.25, 0.5, 0.75), method="higher").tolist()
        yield Delay(
            affected, float(np.nanmean(drops)), len(found), sum(map(math.isfinite, found)), q1, median, q3
        )  # fmt: skip


def replays(scenario: Scenario, affected: int, people: Sequence[Stock]) -> Iterator[tuple[float, Floats]]:
    """Of each run the drop in points, and the windows after the beginning in standard errors from the usual figure."""
    random = np.random.default_rng(scenario.seed)
    days = _DAYS[scenario.cadence]
    quiet = _pools(people, scenario.minutes * days, 0, random)
    tense = _pools(people, scenario.minutes * days, scenario.stress_minutes * days, random)
    for _ in range(scenario.runs):
        yield _split(_figures(scenario, affected, quiet, tense, random), scenario)


def _pools(people: Sequence[Stock], minutes: int, stress: int, random: np.random.Generator) -> Floats:
    """[recordings, pool] calm of whole windows, minutes drawn with replacement from one recording each."""
    out = np.empty((len(people), _POOL))
    for i, stock in enumerate(people):
        total = random.choice(stock.rest, (_POOL, minutes - stress)).sum(axis=1)
        out[i] = (total + random.choice(stock.stress, (_POOL, stress)).sum(axis=1)) / minutes
    return out


def _figures(scenario: Scenario, affected: int, quiet: Floats, tense: Floats, random: np.random.Generator) -> Floats:
    """[windows, 2] value and margin of calm as published, NaN where withheld."""
    n, before = scenario.volunteers, USUAL_WINDOWS[scenario.cadence]
    person = random.integers(0, len(quiet), n)
    area = Area(code="simulated", districts=("simulated",), cadence=scenario.cadence)
    make = day_window if scenario.cadence is Cadence.DAILY else week_window
    window = make(local_day(0))
    scores = np.full((n, 3), _ANSWERS_CENTI, np.int64)
    out = np.full((before + scenario.horizon, 2), np.nan)
    for i in range(len(out)):
        calm = quiet[person, random.integers(0, _POOL, n)]
        if i >= before:
            calm[:affected] = tense[person[:affected], random.integers(0, _POOL, affected)]
        calm = np.clip(calm + scenario.spread * random.standard_normal(n), 0, 100)
        scores[:, 1] = np.rint(100 * calm)
        cells = cells_of(draw(scores, scenario.cadence), noise(scenario.cadence), area=area, window=window)
        cell = next(cell for cell in cells if cell.metric == "calm")
        if cell.value is not None and cell.margin is not None:
            out[i] = cell.value, cell.margin
    return out


def _split(figures: Floats, scenario: Scenario) -> tuple[float, Floats]:
    """The drop in points, and the windows after the beginning in standard errors from the usual figure."""
    before = USUAL_WINDOWS[scenario.cadence]
    usual = float(np.nanmean(figures[:before, 0]))
    after, margins = figures[before:].T
    return usual - float(np.nanmean(after)), (after - usual) / standard_error(1.0) / margins
