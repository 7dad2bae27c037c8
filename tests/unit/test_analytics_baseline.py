"""Rolling baselines equal medians and MADs that are taken anew each day, and forget what is 29 days old."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.baseline import (
    BIN_LOW,
    BIN_WIDTH,
    BINS,
    HISTORY_DAYS,
    Constants,
    RollingBaselines,
    StillMinutes,
    median_mad,
)

UNIT = Constants(centre=(0.0,), scale=(1.0,))


def of_one(values: list[float], *, band: int = 1, day: int = 0) -> StillMinutes:
    n = len(values)
    return StillMinutes(
        np.zeros(n, np.int32), np.full(n, day, np.int32), np.full(n, band, np.int8), np.array(values).reshape(n, 1)
    )


NOTHING = of_one([])


@given(st.lists(st.lists(st.integers(0, BINS - 1), max_size=40), min_size=1, max_size=5))
def test_medians_and_mads_of_binned_values_are_exact(rows: list[list[int]]):
    counts = np.array([np.bincount(np.array(row, np.int64), minlength=BINS) for row in rows], np.uint16)
    got = median_mad(counts)
    for row, centre, spread, count in zip(rows, *got, strict=True):
        values = BIN_LOW + BIN_WIDTH * np.array(row, np.float64)
        assert count == len(row)
        if not row:
            assert np.isnan(centre)
            assert np.isnan(spread)
            continue
        assert centre == pytest.approx(np.median(values), abs=1e-9)
        assert spread == pytest.approx(1.4826 * np.median(np.abs(values - np.median(values))), abs=1e-9)


def made_day(random: np.random.Generator, day: int) -> StillMinutes:
    n = int(random.integers(1, 40))
    return StillMinutes(
        random.integers(0, 3, n, np.int32), np.full(n, day, np.int32), random.integers(0, 2, n).astype(np.int8),
        np.where(random.random((n, 1)) < 0.1, np.nan, random.normal(0, 4, (n, 1))),
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 70))
def test_adding_and_taking_off_equals_counting_anew(seed: int, days: int):
    random = np.random.default_rng(seed)
    kept: dict[int, StillMinutes] = {}
    rolling = RollingBaselines(persons=3, constants=UNIT)
    for day in range(days):
        if random.random() < 0.3:
            continue
        kept[day] = made_day(random, day)
        rolling.add(day, kept[day])
    anew = RollingBaselines(persons=3, constants=UNIT)
    for day, minutes in kept.items():
        if day >= days - HISTORY_DAYS:
            anew.add(day, minutes)
    today = made_day(random, days)
    for one, other in zip(rolling.usual(days, today), anew.usual(days, today), strict=True):
        assert np.array_equal(one, other)


def test_a_baseline_uses_the_28_days_before_and_not_the_29th():
    def centre(age: int) -> float:
        rolling = RollingBaselines(persons=1, constants=UNIT)
        for day, value, n in ((100 - age, 1.0, 30), (97, 2.0, 1), (98, 2.0, 1), (99, 2.0, 1)):
            rolling.add(day, of_one([value] * n))
        return float(rolling.usual(100, NOTHING).centre[0, 1, 0])

    assert centre(28) == pytest.approx(1.0)
    assert centre(29) == 0.0  # three days with three minutes: the public centre


def test_who_has_fewer_than_three_days_of_history_is_compared_with_the_day_too():
    rolling = RollingBaselines(persons=1, constants=Constants(centre=(5.0,), scale=(6.0,)))
    centres = [rolling.usual(day, of_one([6.0 * (day + 1)] * 40)).centre[0, 1, 0] for day in range(4)]
    assert centres == pytest.approx([6.0, 9.0, 12.0, 12.0], abs=0.08)


def test_few_minutes_are_compared_with_the_constants():
    rolling = RollingBaselines(persons=2, constants=Constants(centre=(5.0,), scale=(6.0,)))
    usual = rolling.usual(0, of_one([11.0] * 29))
    assert (usual.centre == 5.0).all()
    assert (usual.scale == 6.0).all()


def test_a_scale_is_never_below_half_of_the_constant():
    rolling = RollingBaselines(persons=1, constants=Constants(centre=(5.0,), scale=(6.0,)))
    assert rolling.usual(0, of_one([11.0] * 40)).scale[0, 1, 0] == 3.0


def test_an_hour_band_with_few_minutes_uses_all_hours():
    rolling = RollingBaselines(persons=1, constants=UNIT)
    for day in range(4):
        rolling.add(day, of_one([1.0] * 20, band=1))
    for day in range(4, 12):
        rolling.add(day, of_one([2.0] * 5, band=2))
    assert rolling.usual(20, NOTHING).centre[0, :, 0].tolist() == pytest.approx([1.0, 1.0, 2.0, 1.0])


def test_what_is_held_does_not_grow_with_the_history():
    rolling = RollingBaselines(persons=1, constants=UNIT)
    held = set()
    for day in range(300):
        rolling.add(day, of_one([0.1] * 50))
        if day >= 30:
            held.add(sum(len(kept.cells) for kept in rolling._days))
    assert held == {HISTORY_DAYS * 50}


def test_days_out_of_order_are_refused():
    rolling = RollingBaselines(persons=1, constants=UNIT)
    rolling.add(2, of_one([1.0]))
    with pytest.raises(ValueError, match="order"):
        rolling.add(2, of_one([1.0]))
