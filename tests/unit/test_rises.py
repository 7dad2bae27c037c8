"""Rises of skin and heart against plain recurrences over long runs of minutes, and what they leave out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.rises import heart_rise, skin_rise

N = 1500


def rows(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Two people's minutes, mostly one after another, with some gaps."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(2, dtype=np.int32), N)
    step = np.where(random.random(2 * N) < 0.02, random.integers(2, 600, 2 * N), 1)
    return random, person, 60 * np.cumsum(step)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_the_skins_level_is_the_recurrence_of_the_method(seed: int):
    random, person, minute = rows(seed)
    eda = np.exp(np.cumsum(random.normal(0, 0.1, 2 * N)) - 0.5)
    still = random.random(2 * N) < 0.9
    expected = np.full(2 * N, np.nan)
    base, last, whose = 0.0, 0, -1
    for i in np.flatnonzero(still & (eda >= 0.03)):
        level = np.log(eda[i])
        base = level if person[i] != whose else base + (1 - np.exp(-(minute[i] - last) / 900)) * (level - base)
        last, whose = minute[i], person[i]
        expected[i] = level - base
    np.testing.assert_allclose(skin_rise(person, minute, eda, still), expected, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_the_hearts_rest_is_the_quantile_of_twenty_minutes(seed: int):
    random, person, minute = rows(seed)
    hr = np.where(random.random(2 * N) < 0.2, np.nan, random.normal(70, 8, 2 * N))
    coverage = np.ones(2 * N)
    rise = heart_rise(person, minute, hr, coverage)
    rate = np.full(2 * N, np.nan)
    for i in range(2 * N):
        near = [i - 1, i] if i and person[i - 1] == person[i] and minute[i] - minute[i - 1] == 60 else [i]
        known = hr[near][np.isfinite(hr[near])]
        rate[i] = known.sum() / known.size if known.size else np.nan
    for i in random.integers(0, 2 * N, 200):
        recent = rate[(person == person[i]) & (minute > minute[i] - 1200) & (minute <= minute[i])]
        expected = rate[i] - np.nanquantile(recent, 0.05) if np.isfinite(rate[i]) else np.nan
        assert rise[i] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def of_one(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(n, np.int32), 60 * np.arange(n, dtype=np.int64)


def test_a_slow_drift_of_the_skin_is_small_beside_a_step_of_the_same_size():
    person, minute = of_one(180)
    still = np.ones(180, np.bool_)
    drift = skin_rise(person, minute, np.exp(np.linspace(0, 1, 180)), still)
    step = skin_rise(person, minute, np.exp(np.repeat([0.0, 1.0], 90)), still)
    assert drift.max() < 0.1
    assert step.max() > 0.9


def test_a_night_without_the_band_ends_in_a_new_beginning():
    person, minute = of_one(40)
    minute[20:] += 8 * 3600
    rise = skin_rise(person, minute, np.exp(np.repeat([0.0, 2.0], 20)), np.ones(40, np.bool_))
    assert abs(rise[20]) < 1e-9


def test_electrodes_without_contact_tell_nothing_and_leave_the_level_alone():
    person, minute = of_one(3)
    rise = skin_rise(person, minute, np.array([1.0, 0.02, 1.0]), np.ones(3, np.bool_))
    assert np.isnan(rise[1])
    assert rise[2] == 0


def test_a_rate_without_beats_does_not_count_but_that_of_a_band_without_beat_timing_does():
    person, minute = of_one(2)
    hr = np.array([70.0, 90.0])
    assert np.isnan(heart_rise(person, minute, hr, np.zeros(2))).all()
    assert heart_rise(person, minute, hr, np.full(2, np.nan))[1] > 0


def test_two_minutes_weigh_by_their_beats():
    person, minute = of_one(3)
    rise = heart_rise(person, minute, np.array([60.0, 60.0, 100.0]), np.array([1.0, 1.0, 0.1]))
    assert rise[2] == pytest.approx(70 / 1.1 - 60, abs=0.5)  # 60 and 10 beats in 66 s


def test_nothing_gives_nothing():
    nothing = np.empty(0)
    assert skin_rise(np.empty(0, np.int32), np.empty(0, np.int64), nothing, np.empty(0, np.bool_)).size == 0
    assert heart_rise(np.empty(0, np.int32), np.empty(0, np.int64), nothing, nothing).size == 0


def test_a_value_that_no_band_can_give_does_not_reach_another_person():
    """Stores refuse it; were one to come through, one person's reading must not change another's record."""
    person = np.repeat(np.arange(2, dtype=np.int32), 30)
    minute = np.tile(60 * np.arange(30), 2)
    eda = np.exp(np.random.default_rng(1).normal(0, 0.3, 60))
    wild = eda.copy()
    wild[10] = np.inf
    still = np.ones(60, np.bool_)
    assert np.array_equal(skin_rise(person, minute, eda, still)[30:], skin_rise(person, minute, wild, still)[30:])
