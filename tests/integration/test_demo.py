"""The demonstration as a newcomer runs it: every minute accounted for, and one clear line when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.app import open_store

WIJKPOLS = [sys.executable, "-m", "wijkpols"]


def demo(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WIJKPOLS, "demo", "--once", "--json", *words],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **(environment or {})},
    )


def summary_of(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def accounted(minutes: dict[str, Any]) -> bool:
    return minutes["recorded"] == minutes["stored"] + sum(minutes["dropped"].values())


@pytest.fixture(scope="module")
def replayed() -> dict[str, Any]:
    """The seventeen recordings over Bluetooth, once for the tests of this module."""
    recordings = Path(__file__).resolve().parents[3] / "shared" / "data" / "stress_predict"
    return summary_of(demo("--replay", str(recordings)))


def test_every_minute_of_the_recordings_is_stored_or_dropped_with_a_reason(replayed: dict[str, Any]):
    assert replayed["bands"] == 17
    assert replayed["minutes"]["recorded"] == 963  # UTC minutes that the seventeen recordings touch
    assert accounted(replayed["minutes"])
    assert replayed["minutes"]["stored"] >= 930
    assert replayed["readings"]["sent"] == replayed["readings"]["stored"]


def test_seventeen_people_are_too_few_to_publish_about(replayed: dict[str, Any]):
    assert replayed["releases"] == []
    assert {cell["reason"] for cell in replayed["suppressed"]} == {"too-few-participants"}
    assert {"safe", "calm", "happy"} <= {cell["metric"] for cell in replayed["suppressed"]}


def test_with_neighbours_the_recorded_people_are_part_of_a_released_figure(shared_data: Path, tmp_path: Path):
    one = tmp_path / "recordings"
    one.mkdir()
    shutil.copy(shared_data / "stress_predict" / "S02.npz", one)
    summary = summary_of(demo("--replay", str(one), "--volunteers", "110", "--days", "8"))
    assert accounted(summary["minutes"])
    assert {cell["district"] for cell in summary["releases"]} == {"WK034403"}


def test_one_seed_stores_the_same_readings_and_draws_other_noise(tmp_path: Path):
    first, second = (
        summary_of(demo("--volunteers", "60", "--seed", "7", "--data", str(d)))
        for d in (tmp_path / "first", tmp_path / "second")
    )
    assert first["minutes"] == second["minutes"]
    assert first["readings"] == second["readings"]
    assert held(tmp_path / "first") == held(tmp_path / "second")
    assert {cell["window"] for cell in first["releases"]}
    assert first["releases"] != second["releases"]


def held(folder: Path) -> list[tuple[Any, ...]]:
    """All readings of a demonstration's store without the pseudonyms, which are random."""
    store = open_store(f"duckdb:///{folder / 'readings.duckdb'}")
    try:
        rows = []
        for chunk in store.readings(0, 2**40):
            fields = [np.nan_to_num(values, nan=-1.0) for values in chunk.fields.values()]
            rows += list(zip(chunk.minute.tolist(), *(values.tolist() for values in fields), strict=True))
        return sorted(rows)
    finally:
        store.close()


def test_a_second_start_goes_on_with_its_data(tmp_path: Path):
    words = ("--volunteers", "6", "--data", str(tmp_path / "data"))
    first, second = summary_of(demo(*words)), summary_of(demo(*words))
    assert first["minutes"]["recorded"] > 0
    assert second["minutes"] == {"recorded": 0, "stored": 0, "dropped": {}}
    assert (second["releases"], second["suppressed"]) == (first["releases"], first["suppressed"])


def test_what_is_kept_is_for_the_eyes_of_its_user_alone(tmp_path: Path):
    data = tmp_path / "data"
    summary_of(demo("--volunteers", "3", "--data", str(data)))
    kept = [data, *data.rglob("*")]
    assert {"readings.duckdb", "registry.sqlite"} <= {path.name for path in kept}
    assert [path.name for path in kept if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize(
    ("words", "environment", "code", "told"),
    [
        (("--store", "mongodb://here"), {}, 2, "store"),
        (("--broker", "amqp://here"), {}, 2, "mqtt://"),
        ((), {"WIJKPOLS_STORE_URL": "nonsense"}, 2, "store"),
        (("--district", "WK999999"), {}, 2, "WK999999"),
        (("--volunteers", "0"), {}, 2, "--volunteers"),
        (("--days", "99"), {}, 2, "--days"),
        (("--replay", "/nowhere"), {}, 1, "/nowhere"),
    ],
)
def test_a_wrong_option_is_one_clear_line(words: tuple[str, ...], environment: dict[str, str], code: int, told: str):
    run = demo(*words, environment=environment)
    assert run.returncode == code, run.stderr
    assert told in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as held_port:
        held_port.bind(("127.0.0.1", 0))
        held_port.listen()
        run = demo("--port", str(held_port.getsockname()[1]))
    assert run.returncode == 1
    assert "in use" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_data_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").touch()
    run = demo("--data", str(tmp_path / "file"))
    assert run.returncode == 1
    assert "cannot be written" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_recording_with_a_missing_array_is_one_clear_line(shared_data: Path, tmp_path: Path):
    with np.load(shared_data / "stress_predict" / "S02.npz") as whole:
        np.savez(tmp_path / "S02.npz", **{name: whole[name] for name in whole if name != "eda"})
    run = demo("--replay", str(tmp_path))
    assert run.returncode == 1
    assert "S02.npz" in run.stderr
    assert "eda" in run.stderr
    assert "Traceback" not in run.stderr


def test_ctrl_c_ends_every_process_in_good_order(tmp_path: Path):
    """As a terminal sends it: to the whole process group."""
    process = subprocess.Popen(
        [*WIJKPOLS, "demo", "--volunteers", "5", "--days", "1", "--port", "0", "--data", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    told = []
    try:
        for line in process.stderr:
            told.append(line)
            if "Ready:" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        told += process.stderr.readlines()
        assert process.wait(60) == 0, told
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert not [line for line in told if "Traceback" in line or "connection lost" in line]
    assert gone(process.pid, seconds=10), "a process of the group is left"


def gone(group: int, *, seconds: float) -> bool:
    """Whether a process group has no member any more; the last one may still be on its way out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
