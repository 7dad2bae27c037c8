"""What the simulated sensors on the skin add, held against recordings of real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.replay import signals_of
from firmware_sim import sensors
from firmware_sim.physiology import Samples
from firmware_sim.recording import load_folder
from firmware_sim.synthetic import BLOCK_S, Person
from firmware_sim.waveforms import between, jolt, summed
from gateway.epochs import minute_table

MORNING = 1_762_473_600 + 10 * 3600  # 2025-11-07 10:00 UTC
HOUR = 3600
SEVERAL = 30


def people(count: int = SEVERAL) -> list[Samples]:
    return [Person(1, number, "WK034403").samples(MORNING, MORNING + HOUR) for number in range(1, count + 1)]


def white(signal: np.ndarray) -> float:
    """The standard deviation of what changes from sample to sample, whatever is slow beneath it."""
    return float(np.std(np.diff(signal, 2)) / np.sqrt(6))


def quiet(samples: Samples) -> float:
    """The same of EDA while the wrist is still, and deaf to responses and artefacts (µS)."""
    sd = np.repeat(samples.acc_sd, 4 // samples.motion_rate)
    second = np.diff(samples.eda, 2)[(sd < 0.012)[1:-1]]
    second = second[~np.isnan(second)]
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / np.sqrt(6))


def responses(samples: Samples) -> tuple[float, float]:
    """What the gateway counts as responses per minute: at rest, and in motion."""
    whole = samples.cut(-(-samples.start // 60) * 60, samples.end // 60 * 60)
    table, _ = minute_table(signals_of(whole))
    found: tuple[list[float], list[float]] = ([], [])
    for reading in table.readings("a" * 26):
        if reading.scr is not None and reading.motion is not None and not 0.02 <= reading.motion < 0.05:
            found[reading.motion >= 0.05].append(reading.scr)
    return tuple(float(np.mean(part)) if part else float("nan") for part in found)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def ours() -> list[Samples]:
    return people()


@pytest.fixture
def real(shared_data: Path) -> list[Samples]:
    return [recording.whole for recording in load_folder(shared_data / "stress_predict")]


def test_the_noise_floor_is_that_of_real_sensors(ours: list[Samples], real: list[Samples]) -> None:
    of_real = np.array([quiet(samples) for samples in real])
    of_ours = np.array([quiet(samples) for samples in ours])
    assert np.percentile(of_real, 10) <= np.median(of_ours) <= np.percentile(of_real, 90)
    temperatures = [np.median([white(s.temp[s.worn]) for s in found]) for found in (real, ours)]
    assert temperatures[1] == pytest.approx(temperatures[0], rel=0.15)


def test_motion_looks_like_responses_as_often_as_in_recordings(ours: list[Samples], real: list[Samples]) -> None:
    at_rest, moving = np.nanmedian([responses(samples) for samples in ours], axis=0)
    low, high = np.nanpercentile([responses(samples) for samples in real], (10, 90), axis=0)
    assert low[0] <= at_rest <= high[0]
    assert low[1] <= moving <= high[1]
    assert moving > 3 * at_rest


def test_values_lie_on_the_converters_grid_and_stay_in_bounds(ours: list[Samples]) -> None:
    for samples in ours:
        eda = samples.eda[~np.isnan(samples.eda)].astype(float)
        for values, step in ((eda, sensors.EDA_GRID_US), (samples.temp.astype(float), sensors.TEMP_GRID_C)):
            assert np.abs(values / step - np.rint(values / step)).max() < 1e-2
        assert eda.min() > 0
        assert eda.max() < 65.5  # what a frame holds
        assert 20 < samples.temp.min() < samples.temp.max() < 40


def test_blocks_meet_without_a_step(ours: list[Samples]) -> None:
    ends = range(BLOCK_S - MORNING % BLOCK_S, HOUR, BLOCK_S)
    steps = [abs(float(s.temp[end] - s.temp[end - 1])) for s in ours for end in ends if s.worn[end - 1 : end + 1].all()]
    assert len(steps) >= SEVERAL // 2
    assert max(steps) <= 0.1  # noise, and no step of a drift that begins anew


def test_drift_is_back_at_each_blocks_end_and_moves_between() -> None:
    draws = np.ones((2, 60), np.float32) * np.repeat([100.0, -100.0], 30).astype(np.float32)
    draws[:, :15] *= -1
    level = np.full(61, 2.0)
    eda, temp = sensors.drift(draws, eda=level, temp=level + 30)
    assert eda[[0, 30, 60]] == pytest.approx([2.0, 2.0, 2.0], abs=1e-5)
    assert temp[[0, 30, 60]] == pytest.approx([32.0, 32.0, 32.0], abs=1e-5)
    assert eda[15] == pytest.approx(2 * np.exp(-0.06 * 15 * 3), rel=1e-5)  # three standard deviations a minute, at most
    assert np.array_equal(eda[:31], sensors.drift(draws[:1], eda=level[:31], temp=level[:31])[0])


def test_draws_beyond_all_bounds_move_a_signal_no_further_than_their_bound() -> None:
    minutes = 2
    size = minutes * 240
    flat = between(np.full(minutes + 1, 2.0, np.float32), 240)
    wild = sensors.electrodes(
        flat,
        tonic=flat,
        restless=np.array([10.0, 0.0], np.float32),
        acc_sd=np.zeros(minutes * 60, np.float32),
        noise=np.full(size, -1e6, np.float32),
        draws=(
            np.full((minutes, sensors.JOLTS_MAX), 1e6, np.float32),
            np.zeros((minutes, 2 * sensors.JOLTS_MAX), np.float32),
        ),
    )
    assert wild.min() == pytest.approx(8 * sensors.EDA_GRID_US, abs=1e-6)  # 0.01 µS: ten jolts down at once
    assert np.abs(wild[-60:] - 2.0).max() < 0.005
    assert np.abs(sensors.thermometer(np.full(9, 32.0, np.float32), np.full(9, 1e6, np.float32)) - 32).max() <= 0.0401


def test_a_jolt_is_at_its_height_at_once_and_over_within_seconds() -> None:
    found = summed(np.array([4]), np.array([1.0], np.float32), jolt(4), size=100)
    assert (found[3], found[4]) == (0.0, 1.0)
    assert found[4 + 4 * 8] < 0.01
