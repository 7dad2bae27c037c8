"""Recordings: real ones are played whole, broken ones are refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.profile import REASONS
from firmware_sim.recording import Recording, RecordingFault, load_folder

T0 = 1_644_227_574.0


def arrays(**changes: object) -> dict[str, object]:
    """A recording of 100 s, with two segments."""
    t0 = float(changes.get("t0", T0))
    fields: dict[str, object] = {
        "t0": t0,
        "hr_t0": t0 + 10,
        "eda": np.arange(400) / 100,
        "temp": np.full(400, 31.5),
        "acc_mean": np.ones(400),
        "acc_sd": np.full(400, 0.02),
        "hr": np.full(91, 70.4),
        "ibi_t": t0 + np.array([20.5, 21.25, 40.0]),
        "ibi": np.array([0.75, 0.75, 0.8]),
        "seg_start": t0 + np.array([5.0, 50.0]),
        "seg_end": t0 + np.array([50.0, 99.0]),
        "seg_stress": np.array([0, 1], np.int8),
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def written(folder: Path, **changes: object) -> Path:
    path = folder / "S99.npz"
    np.savez(path, **arrays(**changes))
    return path


def test_the_real_recordings_touch_963_minutes(shared_data: Path):
    recordings = load_folder(shared_data / "stress_predict")
    assert [recording.name for recording in recordings] == sorted(recording.name for recording in recordings)
    assert len(recordings) == 17
    assert sum(recording.minutes for recording in recordings) == 963


def test_a_real_recording_keeps_every_sample_and_beat(shared_data: Path):
    for path in sorted((shared_data / "stress_predict").glob("*.npz")):
        samples = Recording.load(path).whole
        with np.load(path) as file:
            eda, ibi_t, hr, offset = file["eda"], file["ibi_t"], file["hr"], int(file["hr_t0"] - file["t0"])
        assert np.array_equal(samples.eda[: eda.size], eda)
        assert np.isnan(samples.eda[eda.size :]).all()
        assert np.array_equal(samples.beat_t, ibi_t)
        kept = samples.hr[offset : offset + hr.size]
        assert np.array_equal(kept, hr[: kept.size])
        assert hr.size - kept.size <= 5  # the E4 gives a few values past its other signals


def test_placing_keeps_the_phase_within_the_minute(tmp_path: Path):
    recording = Recording.load(written(tmp_path))
    placed = recording.placed(1_762_502_880)
    assert placed.whole.start // 60 * 60 == 1_762_502_880
    assert (placed.whole.start - recording.whole.start) % 60 == 0
    assert np.array_equal(placed.whole.beat_t - placed.whole.start, recording.whole.beat_t - recording.whole.start)
    assert placed.minutes == recording.minutes
    with pytest.raises(ValueError, match="minute"):
        recording.placed(1_762_502_881)


@given(st.integers(0, 59_999), st.integers(1, 1000))
def test_at_any_phase_a_sample_stays_in_its_minute(milliseconds: int, n: int):
    """The minutes counted are those in which the recording's own sample times lie."""
    t0 = T0 // 60 * 60 + milliseconds / 1000
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        signals = {name: np.ones(n) for name in ("eda", "temp", "acc_mean", "acc_sd")}
        recording = Recording.load(written(Path(folder), t0=t0, **signals))
    times = t0 + np.arange(n) / 4
    assert recording.minutes == len(np.unique(times // 60))
    grid = recording.whole.start + np.flatnonzero(np.isfinite(recording.whole.eda)) / 4
    assert grid.size == n
    assert ((times - grid >= 0) & (times - grid < 0.25)).all()


def test_heart_rates_lie_at_their_second_and_not_before_the_first(tmp_path: Path):
    whole = Recording.load(written(tmp_path)).whole
    assert np.isnan(whole.hr[:10]).all()
    assert (whole.hr[10:] == np.float32(70.4)).all()


def test_each_segment_has_one_answer_lower_in_stress(tmp_path: Path):
    whole = Recording.load(written(tmp_path)).whole
    rest, stress = whole.reports
    assert T0 + 5 <= rest.at < T0 + 50 <= stress.at < T0 + 99
    assert stress.safe < rest.safe
    assert stress.happy < rest.happy
    assert rest.reason == 0
    assert REASONS[stress.reason - 1] in ("noise", "people", "traffic")
    assert Recording.load(written(tmp_path)).whole.reports == whole.reports


@pytest.mark.parametrize(
    ("changes", "array", "what"),
    [
        ({"eda": None}, "eda", "missing"),
        ({"seg_stress": None}, "seg_stress", "missing"),
        ({"temp": np.ones(399)}, "temp", "shape"),
        ({"eda": np.ones((20, 20))}, "eda", "shape"),
        ({"hr_t0": np.ones(2)}, "hr_t0", "shape"),
        ({"ibi": np.ones(2)}, "ibi", "shape"),
        ({name: np.ones(0) for name in ("eda", "temp", "acc_mean", "acc_sd")}, "eda", "shape"),
        ({"acc_sd": np.full(400, np.nan)}, "acc_sd", "finite"),
        ({"t0": np.inf}, "t0", "finite"),
        ({"t0": -5.0}, "t0", "unix time"),
        ({"ibi_t": T0 + np.array([21.0, 20.0, 22.0])}, "ibi_t", "increase"),
        ({"seg_start": T0 + np.array([50.0, 5.0]), "seg_end": T0 + np.array([60.0, 9.0])}, "seg_start", "increase"),
        ({"ibi": np.array([0.7, 0.0, 0.7])}, "ibi", "intervals"),
        ({"hr": np.full(10, 1e6)}, "hr", "rates"),
        ({"hr": np.array(["x"])}, "hr", "numbers"),
    ],
)
def test_a_broken_recording_is_refused_in_one_line(tmp_path: Path, changes: dict[str, object], array: str, what: str):
    path = written(tmp_path, **changes)
    with pytest.raises(RecordingFault, match=what) as caught:
        Recording.load(path)
    assert str(path) in str(caught.value)
    assert f"'{array}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip", b"\x93NUMPY\x01\x00v\x00{'descr'", bytes(1000)])
def test_a_file_that_is_no_recording_is_refused_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "S01.npz"
    path.write_bytes(content)
    with pytest.raises(RecordingFault, match=r"S01\.npz"):
        Recording.load(path)


def test_a_truncated_recording_is_refused(tmp_path: Path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(RecordingFault, match=r"S99\.npz"):
        Recording.load(path)


def test_a_pickle_is_not_opened(tmp_path: Path):
    path = tmp_path / "S01.npz"
    np.savez(path, **{**arrays(), "eda": np.array([object()])}, allow_pickle=True)
    with pytest.raises(RecordingFault, match=r"S01\.npz"):
        Recording.load(path)


def test_a_folder_without_recordings_says_so(tmp_path: Path):
    with pytest.raises(RecordingFault, match="no recording"):
        load_folder(tmp_path)
    with pytest.raises(RecordingFault, match="no such folder"):
        load_folder(tmp_path / "absent")
