"""How well the scores' own code tells stress from rest on real recordings: AUC of 60-second windows, per person.

    python bench/auc.py [FOLDER]        (default: ../shared/data/stress_predict beside the project)

Features are made plainly here (the gateway has its own way); the baseline is the recording itself, as on a
volunteer's first day. Prints figures and claims nothing beyond them: seventeen people, one laboratory protocol.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytics.baseline import SortedBaselines, StillMinutes
from analytics.scores import FLOORS, STILL_G_MAX, calm_of, tonic_deviation

WINDOW_S = 60
EDA_HZ = 4
SCR_RISE_US = 0.05  # the usual criterion for a response

Column = NDArray[np.float64]


def auc(positive: Column, negative: Column) -> float:
    """The chance that a value of the first is above one of the second, ties counted half (Mann-Whitney)."""
    if not len(positive) or not len(negative):
        return float("nan")
    difference = positive[:, None] - negative[None, :]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def responses(eda: Column) -> float:
    """Skin conductance responses in a window: rises of the high-passed signal (less its mean over 20 s)."""
    kernel = np.ones(20 * EDA_HZ) / (20 * EDA_HZ)
    padded = np.pad(eda, (len(kernel) // 2, len(kernel) - 1 - len(kernel) // 2), mode="edge")
    phasic = eda - np.convolve(padded, kernel, mode="valid")
    above = phasic > SCR_RISE_US
    return float(np.count_nonzero(above[1:] & ~above[:-1]))


def windows(path: Path) -> dict[str, Column]:
    """hr, eda, scr, motion, stress (0, 1, NaN where a window is not wholly in one segment), start per window."""
    recording = np.load(path)
    t0, hr_t0 = float(recording["t0"]), float(recording["hr_t0"])
    rows = []
    for begin in np.arange(t0, t0 + len(recording["eda"]) / EDA_HZ - WINDOW_S + 1, WINDOW_S):
        slow = slice(int((begin - t0) * EDA_HZ), int((begin - t0 + WINDOW_S) * EDA_HZ))
        beats = recording["hr"][max(int(begin - hr_t0), 0) : max(int(begin - hr_t0) + WINDOW_S, 0)]
        eda = recording["eda"][slow].astype(float)
        inside = (recording["seg_start"] <= begin) & (begin + WINDOW_S <= recording["seg_end"])
        rows.append(
            (
                beats.mean() if len(beats) >= 15 else np.nan,
                np.median(eda),
                responses(eda),
                np.sqrt((recording["acc_sd"][slow].astype(float) ** 2).mean()),
                recording["seg_stress"][inside][0] if inside.any() else np.nan,
                begin,
            )
        )
    return dict(zip(("hr", "eda", "scr", "motion", "stress", "start"), np.array(rows, dtype=float).T, strict=True))


def calm(found: dict[str, Column]) -> Column:
    """Calm per window by the code of `analytics.scores`; NaN where the wearer moved."""
    n = len(found["start"])
    person, day, band = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int8)
    eda = tonic_deviation(person, found["start"].astype(np.int64), found["eda"])
    features = np.column_stack([found["hr"], eda, found["scr"]])
    still = found["motion"] <= STILL_G_MAX
    minutes = StillMinutes(person[still], day[still], band[still], features[still])
    usual = SortedBaselines(minutes, persons=1, floors=FLOORS).before(0)
    out = np.full(n, np.nan)
    out[still] = calm_of(features[still], usual.centre[person[still], 0], usual.scale[person[still], 0])
    return out


def measure(path: Path) -> tuple[float, float, float, float]:
    """AUC of stress against rest, against later rest, of the placebo; share of the windows that are still."""
    found = windows(path)
    score = calm(found)
    there = np.isfinite(score) & np.isfinite(found["stress"])
    stressed, rest = there & (found["stress"] == 1), there & (found["stress"] == 0)
    first_stress = found["start"][found["stress"] == 1].min()
    early, late = rest & (found["start"] < first_stress), rest & (found["start"] > first_stress)
    arousal = -score
    return (
        auc(arousal[stressed], arousal[rest]),
        auc(arousal[stressed], arousal[late]),
        auc(arousal[late], arousal[early]),
        float(np.isfinite(score).mean()),
    )


def main() -> int:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "stress_predict"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else beside
    paths = sorted(folder.glob("S*.npz"))
    if not paths:
        sys.stderr.write(f"no recordings in {folder}: give the folder with S*.npz as an argument\n")
        return 2
    table = np.array([measure(path) for path in paths])
    print(f"{len(paths)} people, {WINDOW_S} s windows, median over people [quartiles]")
    for name, column in zip(("stress against rest", "stress against later rest", "later against first rest (placebo)",
                             "share of windows still"), table.T, strict=True):  # fmt: skip
        low, middle, high = np.nanquantile(column, (0.25, 0.5, 0.75))
        print(f"  {name:<36} {middle:.2f} [{low:.2f} {high:.2f}]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
