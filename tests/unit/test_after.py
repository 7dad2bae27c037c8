"""Which districts are named as unlike the others, and how often wrongly."""

from __future__ import annotations

from datetime import date

import numpy as np

from analytics.after import FALSE_CLAIMS_MAX, unlike
from contracts.release import Area, Cadence, Cell
from tests.api_support import cell

DAY = date(2026, 11, 21)
MARGIN = 4.0
AREAS = [Area(code=f"WK0344{n:02}", districts=(f"WK0344{n:02}",), cadence=Cadence.DAILY) for n in range(10)]


def figures(values: list[float | None]) -> list[Cell]:
    return [cell(area, "safe", DAY, value, margin=MARGIN) for area, value in zip(AREAS, values, strict=False)]


def test_the_one_that_is_far_from_the_others_is_named_and_they_are_not():
    assert unlike(figures([70.0] * 9 + [58.0])) == {AREAS[9].code}
    assert unlike(figures([70.0] * 9 + [68.0])) == frozenset()
    assert unlike(figures([70.0] * 8 + [None, 58.0])) == {AREAS[9].code}


def test_fewer_than_four_tell_nothing():
    assert unlike(figures([70.0, 70.0, 10.0])) == frozenset()


def test_where_all_are_alike_somebody_is_named_no_more_often_than_is_said():
    chance = np.random.default_rng(6)
    runs = 2_000
    named = sum(bool(unlike(figures(chance.normal(70.0, MARGIN / 1.96, 10).tolist()))) for _ in range(runs))
    assert named / runs < FALSE_CLAIMS_MAX + 3 * (FALSE_CLAIMS_MAX / runs) ** 0.5


def test_of_those_that_are_named_few_are_like_the_others():
    chance = np.random.default_rng(7)
    wrong = claims = 0
    for _ in range(1_000):
        values = chance.normal([70.0] * 7 + [60.0] * 3, MARGIN / 1.96)
        found = unlike(figures(values.tolist()))
        wrong += sum(area.code in found for area in AREAS[:7])
        claims += len(found)
    assert claims > 2_000
    assert wrong / claims < 1.5 * FALSE_CLAIMS_MAX  # the median moves a little with the three
