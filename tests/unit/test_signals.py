"""What is computed from released figures: each against its definition, a published table or another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from analytics.derived import safety
from analytics.signals import (
    Figures,
    adjusted_p,
    cusum,
    decompose,
    false_alarms,
    smooth,
    standard_error,
    threshold_for,
    well_being,
    windows_to_false_alarm,
)

SCORE = st.floats(0, 100)
FIGURES = st.builds(Figures, SCORE, SCORE, SCORE)
DISTRICTS = st.lists(st.tuples(st.floats(20, 90), st.floats(0.3, 10)), min_size=4, max_size=20)


@given(DISTRICTS)
def test_smoothing_keeps_a_part_of_each_deviation_and_its_variance_is_positive(rows: list[tuple[float, float]]):
    y, se = map(np.array, zip(*rows, strict=True))
    found = smooth(y, se)
    assert found.tau2 > 0
    assert ((found.weight > 0) & (found.weight < 1)).all()
    assert min(y) - 1e-9 <= found.mean <= max(y) + 1e-9
    assert (np.abs(found.values - found.mean) <= np.abs(y - found.mean) + 1e-9).all()


@given(DISTRICTS, st.floats(-20, 20))
def test_smoothing_moves_with_the_values(rows: list[tuple[float, float]], by: float):
    y, se = map(np.array, zip(*rows, strict=True))
    assert smooth(y + by, se).values == pytest.approx(smooth(y, se).values + by, abs=1e-3)


def test_districts_that_are_equal_are_not_shown_as_exactly_equal():
    assert smooth(np.full(10, 50.0), np.full(10, 3.0)).tau2 > 0.01


@pytest.mark.parametrize("tau", [0.5, 2.0, 6.0])
def test_smoothed_values_are_nearer_to_the_truth_than_the_measured_ones(tau: float):
    random = np.random.default_rng(7)
    measured = smoothed = 0.0
    for _ in range(300):
        truth = 55 + tau * random.standard_normal(10)
        se = random.uniform(2, 4, 10)
        y = truth + se * random.standard_normal(10)
        measured += float(((y - truth) ** 2).mean())
        smoothed += float(((smooth(y, se).values - truth) ** 2).mean())
    assert smoothed < 0.9 * measured


@pytest.mark.parametrize(("y", "se"), [([1.0] * 3, [1.0] * 3), ([1.0] * 5, [0.0] * 5), ([math.nan] * 5, [1.0] * 5)])
def test_smoothing_without_enough_to_go_by_is_refused(y: list[float], se: list[float]):
    with pytest.raises(ValueError, match="smoothing"):
        smooth(np.array(y), np.array(se))


@pytest.mark.parametrize(("threshold", "windows"), [(4.0, 335.4), (5.0, 930.9)])
def test_run_lengths_are_those_of_the_published_table(threshold: float, windows: float):
    """One-sided, k = .5: Hawkins & Olwell (1998); NIST's handbook 6.3.2.3.1 has 168 and 465 for two sides."""
    assert windows_to_false_alarm(threshold) == pytest.approx(windows, rel=0.005)


def test_run_lengths_are_those_of_a_simulation():
    random = np.random.default_rng(3)
    lengths = []
    for _ in range(400):
        above = np.flatnonzero(cusum(random.standard_normal(3000)) > 3.0)
        lengths.append(int(above[0]) + 1 if above.size else 3000)
    assert np.mean(lengths) == pytest.approx(windows_to_false_alarm(3.0), rel=0.15)


def test_twenty_daily_districts_with_one_false_alarm_a_year_need_seven():
    threshold = threshold_for(20 * 365.25)
    assert threshold == pytest.approx(7.0, abs=0.1)
    assert windows_to_false_alarm(threshold) == pytest.approx(20 * 365.25, rel=1e-3)


@given(st.lists(st.one_of(st.floats(-5, 5), st.just(math.nan)), max_size=60))
def test_a_sum_never_falls_below_zero_and_a_withheld_window_changes_nothing(z: list[float]):
    level = 0.0
    for value, found in zip(z, cusum(np.array(z)), strict=True):
        level = level if math.isnan(value) else max(0.0, level - value - 0.5)
        assert found == level >= 0


def test_a_rise_is_no_signal_and_a_drop_is():
    assert cusum(np.full(50, 2.0)).max() == 0
    assert cusum(np.full(10, -2.0))[-1] == pytest.approx(15.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_scipys(p: list[float]):
    assert adjusted_p(np.array(p)) == pytest.approx(false_discovery_control(p, method="bh"), abs=1e-12)


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjusted_p(np.array([0.5, math.nan]))


@given(FIGURES, FIGURES)
def test_a_change_is_split_exactly(before: Figures, after: Figures):
    assert sum(decompose(before, after)) == pytest.approx(well_being(after) - well_being(before), abs=1e-9)


@given(FIGURES, FIGURES)
def test_a_change_of_safety_is_split_by_its_weights(before: Figures, after: Figures):
    parts = decompose(before, after, lambda f: safety(f.safe, f.calm))
    assert parts == pytest.approx((0.7 * (after.safe - before.safe), 0.3 * (after.calm - before.calm), 0), abs=1e-9)


@given(FIGURES, SCORE)
def test_a_part_that_does_not_change_adds_nothing(before: Figures, happy: float):
    parts = decompose(before, before._replace(happy=happy))
    assert parts.safe == parts.calm == 0


def test_a_margin_is_two_standard_errors():
    assert standard_error(3.92) == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize(("every", "learnt_from"), [(200, None), (200, 56), (400, 26)])
def test_false_alarms_come_as_often_as_stated_also_when_the_usual_figure_is_learnt(every: int, learnt_from: int | None):
    """Series in which nothing changes; each begins anew after an alarm. Within a tenth, 6 standard errors or more."""
    random, series, windows = np.random.default_rng(7), 4_000, 2_000
    wrong = np.zeros(series) if learnt_from is None else random.standard_normal(series) / math.sqrt(learnt_from)
    threshold = threshold_for(every, learnt_from=learnt_from)
    level, alarms = np.zeros(series), 0
    for _ in range(windows):
        level = np.maximum(0, level - (random.standard_normal(series) - wrong) - 0.5)
        above = level > threshold
        alarms += int(above.sum())
        level[above] = 0
    assert alarms * every / (series * windows) == pytest.approx(1, abs=0.1)


def test_a_usual_figure_that_is_learnt_from_56_days_would_nearly_triple_the_alarms():
    threshold = threshold_for(20 * 365.25)
    assert false_alarms(threshold, learnt_from=56) * 20 * 365.25 == pytest.approx(2.9, abs=0.1)
    assert threshold_for(20 * 365.25, learnt_from=56) == pytest.approx(8.79, abs=0.02)
