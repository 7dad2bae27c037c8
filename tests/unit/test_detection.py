"""The detection-delay curve: what is refused, what is written, and that more stress is seen sooner."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

import wijkpols
from contracts.release import Cadence
from evaluation.detection import Delay, Scenario, Stock, delays, replays

#: One person, calm at rest and far from calm under stress.
PEOPLE = [Stock(np.linspace(40, 60, 30), np.linspace(5, 25, 20))]


def test_more_volunteers_under_stress_are_seen_sooner():
    scenario = Scenario(affected=(0, 50, 100), runs=4, horizon=25)
    nobody, half, everybody = delays(scenario, PEOPLE)
    assert abs(nobody.drop) < 2
    assert half.drop == pytest.approx(8.75 / 2, abs=1.5)  # a quarter of the day, 35 points lower, of one in two
    assert everybody.drop == pytest.approx(8.75, abs=1.5)
    assert everybody.detected == 4
    assert everybody.median <= half.median
    assert math.isinf(nobody.median)


def test_released_figures_vary_as_the_thresholds_take_for_granted():
    """In standard errors from a usual figure: of variance 1 and independent, or false alarms come at another rate."""
    ((_, after),) = replays(Scenario(horizon=900, runs=1), 0, PEOPLE)
    error = math.sqrt(2 / len(after))
    assert abs(after.mean()) < 6 / math.sqrt(len(after)) + 6 / math.sqrt(56)
    assert after.var() == pytest.approx(1, abs=4 * error)
    assert abs(np.corrcoef(after[1:], after[:-1])[0, 1]) < 6 / math.sqrt(len(after))


def test_weeks_serve_districts_that_are_too_small_for_days():
    found: list[Delay] = list(
        delays(Scenario(volunteers=30, affected=(30,), cadence=Cadence.WEEKLY, runs=2, horizon=20), PEOPLE)
    )
    assert found[0].detected == 2


def test_the_command_writes_a_curve_and_a_picture(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--affected", "0,100", "--runs", "2", "--horizon", "15", "--out", str(tmp_path / "curve")]
    assert wijkpols.main(["simulate", str(shared_data / "stress_predict"), *words]) == 0
    assert "one false alarm a year in 20 districts" in capsys.readouterr().out
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["affected"] for row in rows] == ["0", "100"]
    assert rows[1]["detected"] == "2"
    assert 1 <= float(rows[1]["delay_median"]) <= 15
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words",
    [
        ["--volunteers", "20"],
        ["--affected", "a lot"],
        ["--affected", "101"],
        ["--stress-minutes", "500"],
        ["--runs", "0"],
    ],
)
def test_what_cannot_be_simulated_is_told(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
):
    out = ["--out", str(tmp_path / "curve")]
    assert wijkpols.main(["simulate", str(shared_data / "stress_predict"), *words, *out]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
