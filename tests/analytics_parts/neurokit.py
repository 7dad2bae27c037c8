"""Heart rate and its variability by NeuroKit2, out of the beats that the method accepts; the rules in a plain loop."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import neurokit2 as nk
import numpy as np


class Heart(NamedTuple):
    """beats/min, ms, ms, share of the minute; NaN where the method gives nothing."""

    hr: float
    rmssd: float
    sdnn: float
    rr_coverage: float


def hrv(intervals_s: list[float]) -> dict[str, float]:
    """NeuroKit2's time domain of intervals that follow each other."""
    rri = 1000 * np.array(intervals_s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its longer-term indices are not made for a minute
        found = nk.hrv_time({"RRI": rri, "RRI_Time": np.cumsum(rri) / 1000})
    return {name: float(found[f"HRV_{name}"].iloc[0]) for name in ("MeanNN", "RMSSD", "SDNN")}


def accepted_runs(beat_t: np.ndarray, rr: np.ndarray) -> list[list[int]]:
    """The beats of one minute in runs of accepted pairs: adjacent, 300 to 2000 ms, at most 20 % apart."""
    runs: list[list[int]] = []
    for i in range(1, len(rr)):
        a, b = float(rr[i - 1]), float(rr[i])
        adjacent = abs(float(beat_t[i] - beat_t[i - 1]) - b) <= 0.010
        if adjacent and 0.3 <= a <= 2.0 and 0.3 <= b <= 2.0 and abs(b - a) <= 0.2 * a:
            if runs and runs[-1][-1] == i - 1:
                runs[-1].append(i)
            else:
                runs.append([i - 1, i])
    return runs


def heart(minute: float, beat_t: np.ndarray, rr: np.ndarray) -> Heart:
    """One minute's heart: differences by NeuroKit2 within runs, joined by number; SDNN over all accepted beats."""
    nan = float("nan")
    own = (beat_t >= minute) & (beat_t < minute + 60)
    beat_t, rr = beat_t[own], rr[own]
    in_range = rr[(rr >= 0.3) & (rr <= 2.0)]
    hr = 60_000 / hrv(in_range.tolist())["MeanNN"] if len(in_range) >= 5 else nan
    runs = accepted_runs(beat_t, rr)
    valid = sorted({i for run in runs for i in run})
    explained = sum(min(float(rr[i]), float(beat_t[i]) - minute) for i in valid)
    coverage = explained / 60 if len(rr) else nan
    if not valid or coverage < 0.5:
        return Heart(hr, nan, nan, coverage)
    squares = sum((len(run) - 1) * hrv([float(rr[i]) for i in run])["RMSSD"] ** 2 for run in runs)
    pairs = sum(len(run) - 1 for run in runs)
    return Heart(hr, float(np.sqrt(squares / pairs)), hrv([float(rr[i]) for i in valid])["SDNN"], coverage)


def responses_per_minute(phasic: np.ndarray, *, hertz: int, rise_us: float, rise_s: float) -> np.ndarray:
    """How many peaks NeuroKit2 finds in each minute of a phasic signal, of so large and so short a rise."""
    found = nk.eda_findpeaks(phasic, sampling_rate=hertz, method="neurokit", amplitude_min=0)
    peak, onset = (np.asarray(found[name], float) for name in ("SCR_Peaks", "SCR_Onsets"))
    whole = np.isfinite(peak) & np.isfinite(onset)
    peak, onset = peak[whole].astype(int), onset[whole].astype(int)
    counts = (phasic[peak] - phasic[onset] >= rise_us) & (peak - onset <= rise_s * hertz)
    minutes: np.ndarray = np.bincount(peak[counts] // (60 * hertz), minlength=len(phasic) // (60 * hertz))
    return minutes


def phasic_of(eda: np.ndarray, *, hertz: int) -> np.ndarray:
    """NeuroKit2's own high-pass of 0.05 Hz, which runs forth and back and so knows of the future."""
    found: np.ndarray = nk.eda_phasic(eda, sampling_rate=hertz, method="highpass")["EDA_Phasic"].to_numpy()
    return found
