"""Features equal NeuroKit2's, given the beat times: within half of the last digit that a reading keeps.

0.01 beats/min, 0.01 ms, and 0.001 of the minute are kept; the tolerance is 0.6 of these.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt, sosfilt_zi

from firmware_sim.recording import Recording
from gateway.epochs import Signals, minute_table
from gateway.skin import HIGH_PASS_HZ, RISE_MIN_US, RISE_S_MAX, skin_responses
from tests.analytics_parts.neurokit import Heart, heart, phasic_of, responses_per_minute

START = 1_762_502_940
TOLERANCE = Heart(hr=0.006, rmssd=0.006, sdnn=0.006, rr_coverage=0.0006)


def assert_same(beat_t: np.ndarray, rr: np.ndarray, *, start: int, minutes: int) -> int:
    """Every minute's heart against NeuroKit2's; returns how many minutes have variability."""
    fields = minute_table(Signals(start=start, minutes=minutes, beat_t=beat_t, rr=rr))[0].fields
    for i in range(minutes):
        expected = heart(start + 60 * i, beat_t, rr)
        got = Heart(*(float(fields[name][i]) for name in Heart._fields))
        if 0.4995 <= expected.rr_coverage <= 0.5005:
            continue  # within a rounding of the limit either may be null
        for name in Heart._fields:
            assert getattr(got, name) == pytest.approx(
                getattr(expected, name), abs=getattr(TOLERANCE, name), nan_ok=True
            ), f"{name} of minute {i}"
    return int(np.isfinite(fields["rmssd"]).sum())


@pytest.mark.parametrize("name", ["S12", "S24"])
def test_features_of_real_recordings_equal_neurokits(shared_data: Path, name: str):
    samples = Recording.load(shared_data / "stress_predict" / f"{name}.npz").whole
    start = -(-samples.start // 60) * 60
    inside = samples.beat_t >= start
    minutes = (samples.end - start) // 60
    with_variability = assert_same(
        samples.beat_t[inside], samples.rr[inside].astype(np.float64), start=start, minutes=minutes
    )
    assert with_variability >= 5


@pytest.mark.parametrize("name", ["S02", "S12", "S16", "S22"])
def test_skin_responses_of_real_recordings_equal_neurokits(shared_data: Path, name: str):
    """On the same filtered signal 2 of 1,000 in all, one in a minute; with its own filter 13 %, correlation .93."""
    samples = Recording.load(shared_data / "stress_predict" / f"{name}.npz").whole
    eda = np.asarray(samples.eda, float)[(-samples.start) % 60 * 4 :]
    eda = eda[: len(eda) // 240 * 240]
    counts, _ = skin_responses(eda.reshape(-1, 240))
    sos = butter(2, HIGH_PASS_HZ, "highpass", fs=4, output="sos")
    causal = sosfilt(sos, eda, zi=sosfilt_zi(sos) * eda[0])[0]
    told = {"hertz": 4, "rise_us": RISE_MIN_US, "rise_s": RISE_S_MAX}
    same = responses_per_minute(causal, **told)
    assert counts.sum() > 100
    assert counts.sum() == pytest.approx(same.sum(), rel=0.002)
    assert np.abs(counts - same).max() <= 1  # a peak at the turn of a minute
    assert np.mean(counts == same) > 0.85
    other = responses_per_minute(phasic_of(eda, hertz=4), **told)
    assert other.sum() == pytest.approx(counts.sum(), rel=0.14)
    assert np.corrcoef(counts, other)[0, 1] > 0.93


@st.composite
def beats(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two minutes of beats on a grid of 1/64 or 1/1024 s, with gaps and ectopic beats (one early, the next late)."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = draw(st.sampled_from([64, 1024]))
    mean = draw(st.floats(0.4, 1.3))
    ectopic, gap = draw(st.sampled_from([0.0, 0.02, 0.1])), draw(st.sampled_from([0.0, 0.02, 0.1]))
    at, beat_t, rr = START * grid, [], []
    shift = 0.0
    while at < (START + 120) * grid:
        interval = mean * (1 + 0.05 * random.standard_normal()) + shift
        shift = 0.0
        if random.random() < ectopic:
            early = random.uniform(0.1, 0.5) * interval
            interval, shift = interval - early, early
        ticks = max(1, round(interval * grid))
        if random.random() < gap:
            at += int(random.uniform(0.3, 8.0) * grid)
        at += ticks
        beat_t.append(at / grid)
        rr.append(ticks / grid)
    inside = np.array(beat_t) < START + 120
    return np.array(beat_t)[inside], np.array(rr)[inside]


@settings(max_examples=15, deadline=None)
@given(beats())
def test_features_of_made_series_equal_neurokits(made: tuple[np.ndarray, np.ndarray]):
    assert_same(*made, start=START, minutes=2)
