"""Areas under the curve against a plain count, the labels' grid, and the command on the real recordings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wijkpols
from analytics.evaluate import Segment, auc, label, measure
from api.pages.evidence import TOLD
from contracts.reading import FIELDS
from evaluation.replay import load

MARKS = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@given(MARKS, MARKS)
def test_an_area_is_the_chance_of_being_lower_with_ties_half(lower: list[float], higher: list[float]):
    plain = np.mean([(a < b) + (a == b) / 2 for a in lower for b in higher])
    assert auc(np.array([*lower, np.nan]), np.array(higher)) == pytest.approx(plain)


def test_an_area_of_nothing_is_unknown():
    assert np.isnan(auc(np.array([np.nan]), np.array([1.0])))


def test_windows_lie_wholly_inside_one_segment_and_rest_is_later_once_stress_began():
    minute = np.arange(0, 600, 60, dtype=np.int64)
    segments = [Segment(0, 130, stress=False), Segment(130, 300, stress=True), Segment(300, 479, stress=False)]
    found = label(minute, minute / 60.0, segments)
    assert found.calm.tolist() == [0, 1, 3, 4, 5, 6]
    assert found.stress.tolist() == [False, False, True, True, False, False]
    assert found.later.tolist() == [False, False, True, True, True, True]


def test_a_calm_that_only_drifts_shows_in_the_placebo():
    minute = np.arange(0, 3600, 60, dtype=np.int64)
    segments = [Segment(0, 1200, stress=False), Segment(1200, 2400, stress=True), Segment(2400, 3600, stress=False)]
    drifting = measure(label(minute, -minute.astype(float), segments))
    assert drifting.placebo == 1.0
    assert drifting.stress_vs_rest == 0.5
    assert drifting.shuffled == pytest.approx(0.5, abs=0.03)


def figures(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, dict[str, float]]:
    assert wijkpols.main(["evaluate", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_wanted_figures_are_reached_on_the_real_recordings(shared_data: Path, capsys: pytest.CaptureFixture[str]):
    found = figures(capsys, shared_data / "stress_predict")
    assert found["stress_vs_rest"]["median"] >= 0.85
    assert found["stress_vs_later_rest"]["median"] >= 0.85
    assert 0.40 <= found["placebo"]["median"] <= 0.60
    assert found["shuffled"]["median"] == pytest.approx(0.5, abs=0.02)
    assert {found[name]["people"] for name in ("stress_vs_rest", "stress_vs_later_rest", "placebo", "shuffled")} == {17}
    for name, told in zip(("stress_vs_rest", "stress_vs_later_rest", "placebo"), TOLD, strict=True):  # on the page
        assert found[name]["median"] == pytest.approx(told.middle, abs=0.0006)
        assert found[name]["q1"] == pytest.approx(told.quarter, abs=0.006)
        assert found[name]["q3"] == pytest.approx(told.three_quarters, abs=0.006)
    assert found["coverage"]["stress"] > 0.9
    assert found["coverage"]["rest"] > 0.9


def test_the_minutes_of_a_recording_know_nothing_of_later_ones(shared_data: Path, tmp_path: Path):
    """The evaluation is causal: with the recording cut short the minutes before are scored the same."""
    source = shared_data / "stress_predict" / "S02.npz"
    whole = dict(np.load(source))
    cut = whole | {name: whole[name][: 4 * 1500] for name in ("eda", "temp", "acc_mean", "acc_sd")}
    np.savez(tmp_path / "S02.npz", **cut)
    short = load(tmp_path)[0]
    (tmp_path / "S02.npz").unlink()
    shutil.copy(source, tmp_path)
    full = load(tmp_path)[0]
    n = len(short.readings.minute)
    assert 20 < n < len(full.readings.minute)
    assert np.array_equal(short.calm(), full.calm()[:n], equal_nan=True)


def test_the_text_holds_a_line_per_person(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copy(shared_data / "stress_predict" / "S12.npz", tmp_path)
    assert wijkpols.main(["evaluate", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "S12 " in out
    assert "placebo: later against first rest" in out


def test_readings_of_a_recording_hold_every_field(shared_data: Path, tmp_path: Path):
    shutil.copy(shared_data / "stress_predict" / "S12.npz", tmp_path)
    readings = load(tmp_path)[0].readings
    assert set(readings.fields) == set(FIELDS)
    assert (np.diff(readings.minute) > 0).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seg_stress": np.zeros(7, np.int8)}, "labelled as stress and as rest"),
        ({name: np.ones(100, np.float32) for name in ("eda", "temp", "acc_mean", "acc_sd")}, "no whole UTC minute"),
        ({"eda": np.ones((3, 3))}, "wrong shape"),
    ],
)
def test_a_recording_that_cannot_be_used_is_named_with_what_to_do(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, np.ndarray], told: str
):
    np.savez(tmp_path / "S02.npz", **(dict(np.load(shared_data / "stress_predict" / "S02.npz")) | change))
    assert wijkpols.main(["evaluate", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_recordings_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str):
    assert wijkpols.main(["evaluate", str(tmp_path / name)]) == 1
    assert "name one" in capsys.readouterr().err
