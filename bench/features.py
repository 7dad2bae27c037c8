"""Windows a second: heart rate, RMSSD, SDNN and coverage by `gateway.epochs`, beside NeuroKit2's hrv_time.

    python bench/features.py [WINDOWS]        (10,000 minutes of 72 beats; NeuroKit2 is given the first 300)

The same windows for both, whole and without ectopic beats, so that both give the same RMSSD and SDNN (checked).
NeuroKit2 computes some twenty more indices per window than we keep, and takes one window at a time.
"""

from __future__ import annotations

import argparse
import time
import warnings

import neurokit2 as nk
import numpy as np

from gateway.epochs import MINUTE_S, Signals, minute_table

START = 1_800_000_000
BEATS = 72
SLOW = 300


def made(windows: int) -> tuple[np.ndarray, np.ndarray]:
    """[windows, 72] intervals on the grid of 1/1024 s that fill a little less than each minute; and when they end."""
    random = np.random.default_rng(1)
    rr = np.round(np.clip(0.82 + 0.02 * random.standard_normal((windows, BEATS)), 0.76, 0.88) * 1024) / 1024
    rr *= np.minimum(1.0, 59.0 / rr.sum(axis=1, keepdims=True))
    return rr, START + MINUTE_S * np.arange(windows)[:, None] + np.cumsum(rr, axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windows", type=int, nargs="?", default=10_000)
    windows = parser.parse_args().windows
    rr, beat_t = made(windows)
    signals = Signals(start=START, minutes=windows, beat_t=beat_t.ravel(), rr=rr.ravel())
    ours_s = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        fields = minute_table(signals)[0].fields
        ours_s = min(ours_s, time.perf_counter() - began)
    slow = min(SLOW, windows)
    theirs = np.empty((slow, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        for i in range(slow):
            found = nk.hrv_time({"RRI": 1000 * rr[i], "RRI_Time": beat_t[i]})
            theirs[i] = found["HRV_RMSSD"].iloc[0], found["HRV_SDNN"].iloc[0]
        theirs_s = time.perf_counter() - began
    assert np.allclose(theirs[:, 0], fields["rmssd"][:slow], atol=0.006)
    assert np.allclose(theirs[:, 1], fields["sdnn"][:slow], atol=0.006)
    ours, other = windows / ours_s, slow / theirs_s
    print(f"gateway.epochs        {ours:>12,.0f} windows/s   ({windows:,} at once, the whole reading, best of 5)")
    print(f"NeuroKit2 {nk.__version__:<8} {other:>15,.0f} windows/s   (hrv_time, {slow} one by one)")
    print(f"times                 {ours / other:>12,.0f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
