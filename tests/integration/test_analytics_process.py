"""`wijkpols analytics schedule` as a process: it releases nothing without a plan, and SIGTERM ends it with 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "WIJKPOLS_REGISTRY_URL": f"sqlite:///{folder}/registry.sqlite",
        "WIJKPOLS_STORE_URL": f"duckdb:///{folder}/readings.duckdb",
        "WIJKPOLS_BAND_KEY": "0123456789abcdef" * 2,
    }
    command = [sys.executable, str(ROOT / "wijkpols.py"), "analytics", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_without_a_plan_it_says_what_to_do_and_ends(tmp_path: Path):
    process = start(tmp_path, "schedule")
    assert process.wait(60) == 2
    assert "plan --set" in process.communicate()[1]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, stop: signal.Signals):
    assert start(tmp_path, "plan", "--set").wait(60) == 0
    process = start(tmp_path, "schedule")
    assert process.stdout is not None
    assert "nothing to release" in process.stdout.readline()  # the first run is over
    process.send_signal(stop)
    begin = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), out
    assert time.monotonic() - begin < 30
