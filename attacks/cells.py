"""Attacks on cells: small ones, alike people, merges laid over each other, and figures from before a withdrawal."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from analytics.figures import blocks_of
from analytics.mechanism import PARTICIPANTS_MIN, Draw, Noise, draw, draw_profile, noise, profile_noise, reason_noise
from analytics.records import CENTI, Scores
from analytics.release import Mechanism, cells_of, margin_of, release
from analytics.release_log import AlreadyReleased, ReleaseLog, open_engine
from analytics.sums import PROFILE_BLOCKS
from analytics.totals import totals
from analytics.windows import day_window, instant, week_window
from attacks.city import DAILY, MONDAY, PEOPLE, SMALL, WEEKLY, City
from attacks.verdict import Verdict, judge
from contracts.consent import Cover, Purpose
from contracts.ports import ConsentDirectory
from contracts.release import Area, Cadence, Cell

#: A cell of ten people or fewer may be published this often.
SMALL_CELL_LIMIT: Final = 1e-5
_AREA: Final = Area(code=DAILY, districts=(DAILY,), cadence=Cadence.DAILY)
_WINDOW: Final = day_window(MONDAY)


def small_cells(draws: int) -> Verdict:
    """0, 1 and 10 people in a cell or a bin: the chance by the noise's exact distribution, the shape by drawing."""
    bin_ = noise(Cadence.WEEKLY)._replace(sigma_count=reason_noise().sigma, threshold=reason_noise().threshold)
    held = (*map(noise, Cadence), bin_, profile_noise())
    measured = max(chance_published(constants, n) for constants in held for n in (0, 1, 10))
    if _looks(draw, draws) != 1 or _profile_looks(draws) != 1:
        measured = 1.0
    bare = max(chance_published(noise(c)._replace(threshold=PARTICIPANTS_MIN), 10) for c in Cadence)
    return judge(
        "small cells",
        measured=measured,
        limit=SMALL_CELL_LIMIT,
        mutants={"published from a noisy count of 10": bare},
    )


def chance_published(constants: Noise, people: int) -> float:
    """P(noisy count >= threshold) for the discrete Gaussian (Canonne, Kamath & Steinke 2020, definition 1)."""
    reach = math.ceil(12 * constants.sigma_count) + people + math.ceil(constants.threshold)
    noises = np.arange(-reach, reach + 1)
    weight = np.exp(-(noises**2) / (2 * constants.sigma_count**2))
    return float(weight[people + noises >= constants.threshold].sum() / weight.sum())


def _looks(mechanism: Mechanism, draws: int) -> int:
    """How many different shapes the cells of 0, 1 and 10 people have."""
    shapes = set()
    for cadence in Cadence:
        for people in (0, 1, 10):
            town = np.full((people, 3), 10_000, dtype=np.int64)
            for _ in range(draws):
                cells = cells_of(mechanism(town, cadence), noise(cadence), area=_AREA, window=_WINDOW)
                shapes |= {(c.status, c.value, c.margin, c.participants, c.reason) for c in cells}
    return len(shapes)


def _profile_looks(draws: int) -> int:
    """The same for the blocks of a profile."""
    week = week_window(MONDAY)
    return len(
        {
            (block.status, block.value, block.margin, block.participants, block.reason)
            for people in (0, 1, 10)
            for _ in range(draws)
            for block in blocks_of(
                draw_profile(np.full((people, len(PROFILE_BLOCKS)), 10_000, dtype=np.int64)), area=_AREA, window=week
            )
        }
    )


def homogeneity(people: int = 200) -> Verdict:
    """Where all answer alike, does anything but the figure tell so? A margin made of their spread would."""

    def told(margin_from_data: bool) -> float:
        worst = 0.0
        for spread in (0, 1500):
            town = _town(people, spread)
            for cell in cells_of(draw(town, Cadence.WEEKLY), noise(Cadence.WEEKLY), area=_AREA, window=_WINDOW):
                if cell.value is None or cell.margin is None or cell.participants is None:
                    continue
                margin = 1.96 * float(town.std()) / CENTI / math.sqrt(people) if margin_from_data else cell.margin
                public = margin_of(cell.value, round(cell.participants), noise(Cadence.WEEKLY), cell.metric)
                worst = max(worst, abs(margin - public))
        return worst

    return judge(
        "homogeneity",
        measured=told(margin_from_data=False),
        limit=0.01,
        mutants={"the margin is made of the people's own spread": told(margin_from_data=True)},
    )


def _town(people: int, spread: int) -> Scores:
    steps = np.linspace(-1, 1, people)[:, None] * spread
    return np.rint(6000 + steps * np.ones(3)).astype(np.int64)


class _ClaimsByArea(ReleaseLog):
    """Broken: a claim is of an area's code, so that a merge is another key."""

    def publish(self, *, area, window, rho, draw):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        alone = Area(code=area.code, districts=(area.code,), cadence=area.cadence)
        return super().publish(area=alone, window=window, rho=rho, draw=draw)


def merges() -> Verdict:
    """Get a second draw of a district by asking for it alone, merged, and merged otherwise: differences would tell."""
    return judge(
        "differencing over merges",
        measured=_second_draws(ReleaseLog),
        limit=0,
        mutants={"a claim is of an area, not of its districts": _second_draws(_ClaimsByArea)},
    )


def _second_draws(kind: type[ReleaseLog]) -> int:
    areas = [(DAILY,), (DAILY, WEEKLY), (WEEKLY,), (SMALL, WEEKLY), (DAILY, SMALL, WEEKLY)]
    drawn: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="wijkpols-attack-") as folder:
        log = kind(open_engine(f"sqlite:///{folder}/registry.sqlite"))
        for districts in areas:
            area = Area(code="+".join(districts), districts=districts, cadence=Cadence.DAILY)
            with contextlib.suppress(AlreadyReleased):
                release(log, area=area, window=_WINDOW, scores=_town(60, 0))
                for district in districts:
                    drawn[district] = drawn.get(district, 0) + 1
    return sum(times - 1 for times in drawn.values())


def over_totals(cities: int) -> Verdict:
    """Subtract the released areas from the city's total: what is left must be nothing, or a rest that may be shown."""

    def left(rest_from: float | None) -> float:
        return max(_left_over(rest_from) for _ in range(cities))

    return judge(
        "differencing over totals",
        measured=left(None),
        limit=0,
        mutants={"withheld areas are in the total, however few": left(-math.inf)},
    )


def _left_over(rest_from: float | None) -> float:
    """People that a total tells of beside its released areas, in a week of one large and two small areas."""
    week = week_window(MONDAY)
    areas = tuple(Area(code=code, districts=(code,), cadence=Cadence.WEEKLY) for code in (DAILY, WEEKLY, SMALL))
    with tempfile.TemporaryDirectory(prefix="wijkpols-attack-") as folder:
        log = ReleaseLog(open_engine(f"sqlite:///{folder}/registry.sqlite"))
        log.set_plan(areas, holds_from=MONDAY)
        for area, people in zip(areas, (100, 4, 3), strict=True):
            release(log, area=area, window=week, scores=_town(people, 0))
        cells = log.cells(derived=False)
        found = totals(log.leaves(), log.plans(), rest_from=rest_from)
    shown = sum(cell.participants or 0 for cell in cells if cell.metric == "safe")
    return max(abs((cell.participants or 0) - shown) + (set(cell.districts) != {DAILY}) for cell in found)


class _StaleConsents:
    """Broken: consent is asked once and remembered."""

    def __init__(self, directory: ConsentDirectory, now: float) -> None:
        self._held = directory.covered(Purpose.DISTRICT_INDEX, now)

    def covered(self, purpose: Purpose, now: float) -> Mapping[str, Cover]:
        """What was true once."""
        del purpose, now
        return self._held


def withdrawal(city: City) -> Verdict:
    """Withdraw between two days: old bytes stay, the next day leaves the person out, nothing is computed again."""
    stale = _StaleConsents(city.registry.ledger, city.clock.now())
    before = city.log.cells()
    leaver = next(name for name, code in city.people.items() if code == DAILY)
    city.clock.time = instant(MONDAY + timedelta(days=2)) + 10 * 3600
    city.registry.ledger.withdraw(leaver, erase=False)
    # The broken engines work on registries of their own, so that they take no window from the real one.
    with tempfile.TemporaryDirectory(prefix="wijkpols-attack-") as folder:
        forgetful = ReleaseLog(open_engine(f"sqlite:///{folder}/registry.sqlite"))
        forgetful.set_plan(city.log.plan(), holds_from=MONDAY)
        counted: list[int] = []
        city.run_after(3, city.analytics(consents=stale, mechanism=_counting(counted), log=forgetful))
        still_in = sum(n >= PEOPLE[DAILY] for n in counted)
        redrawn = _changed(before, forgetful.cells())
    seen: list[int] = []
    city.run_after(3, city.analytics(mechanism=_counting(seen)))
    now = city.log.cells()
    faults = _changed(before, now) + sum(n >= PEOPLE[DAILY] for n in seen)
    return judge(
        "withdrawal",
        measured=faults if len(now) > len(before) else 1,
        limit=0,
        mutants={"consent is remembered": still_in, "a window is computed again": redrawn},
    )


def _counting(seen: list[int]) -> Mechanism:
    """The real mechanism; what it is given is counted, here in the laboratory alone."""

    def mechanism(scores: Scores, cadence: Cadence, /) -> Draw:
        seen.append(len(scores))
        return draw(scores, cadence)

    return mechanism


def _changed(before: Sequence[Cell], after: Sequence[Cell]) -> int:
    held = {(cell.area, cell.metric, cell.window): cell for cell in after}
    return sum(held.get((cell.area, cell.metric, cell.window)) != cell for cell in before)
