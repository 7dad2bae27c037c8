"""Skin conductance responses (SCR) by one fixed method.

A high-pass of 0.05 Hz (Butterworth, 2nd order, causal: `scipy.signal.sosfilt`) takes the slow tonic level away. A
response is a peak of what remains that rises 0.05 µS or more above the trough before it, within 5 s: 0.05 µS is the
usual least amplitude, and responses rise in 1 to 3 s (Boucsein et al., Psychophysiology 49:1017, 2012), whereas the
filter's own swing back after a response takes longer. A response counts in the minute in which it turns down: so
nothing has to be known of the future, and a minute at a time gives the same counts as a day at once.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt, sosfilt_zi

Floats = NDArray[np.float64]

HIGH_PASS_HZ: Final = 0.05
RISE_MIN_US: Final = 0.05
RISE_S_MAX: Final = 5.0
#: Unknown samples up to this long (one lost frame) are bridged by the last known value; after a longer gap the filter
#: starts anew at rest, or the step over the gap would count as a response.
BRIDGE_S: Final = 5.0


class ScrState(NamedTuple):
    """What the next minute must know of the one before."""

    samples_per_minute: int
    last: float  # µS, the last known sample
    unknown: int  # samples since then
    zi: Floats  # [1, 2] state of the filter
    level: float  # filtered, of the last sample
    rising: bool
    trough: float  # filtered, before the rise that is going on
    risen: int  # samples from that trough to the last one


def skin_responses(eda: Floats, state: ScrState | None = None) -> tuple[Floats, ScrState | None]:
    """Responses per known minute, [minutes], of `eda` [minutes, samples] in µS with NaN for unknown; and the state.

    A count is scaled by the share of the minute that is known; NaN where nothing is known.
    """
    minutes, samples = eda.shape
    flat = eda.ravel()
    if state is not None and state.samples_per_minute != samples:
        state = None  # the band changed its rate: the filter cannot go on
    known = np.flatnonzero(~np.isnan(flat))
    counts = np.zeros(minutes)
    if known.size:
        last_before = -1 - state.unknown if state is not None else -flat.size
        bridge = int(BRIDGE_S * samples / 60)
        fresh = np.diff(known, prepend=last_before) - 1 > bridge  # a run of the filter begins here
        if state is None:
            fresh[0] = True
        firsts = np.flatnonzero(fresh).tolist()
        if not fresh[0]:
            firsts.insert(0, 0)
        for first, after in zip(firsts, [*firsts[1:], known.size], strict=True):
            run = flat[known[first] if fresh[first] else 0 : known[after - 1] + 1]
            before = None if fresh[first] else state
            turned, state = _run(run, before, samples)
            # A peak that turned in a bridged stretch counts where the signal is known again.
            turned += known[first] if before is None else -before.unknown
            counts += np.bincount(known[np.searchsorted(known, turned)] // samples, minlength=minutes)
    if state is not None:
        tail = flat.size - (int(known[-1]) + 1) if known.size else state.unknown + flat.size
        state = state._replace(unknown=tail)
    share = known_share(eda)
    return counts / np.where(share > 0, share, np.nan), state


def known_share(grid: Floats) -> Floats:
    """The share of each row that is not NaN, [rows]."""
    known: Floats = np.count_nonzero(~np.isnan(grid), axis=1) / grid.shape[1]
    return known


def _run(eda: Floats, state: ScrState | None, samples_per_minute: int) -> tuple[NDArray[np.int64], ScrState]:
    """Filter one run without long gaps. Returns where responses turn down, counted from the run's first sample.

    A run that goes on from a state begins with the state's own unknown samples.
    """
    if state is not None and state.unknown:
        eda = np.concatenate([np.full(state.unknown, np.nan), eda])
    eda = _held(eda, state.last if state is not None else np.nan)
    sos, rest = _high_pass(samples_per_minute)
    if state is None:  # as if the level had always been that of the first sample
        state = ScrState(samples_per_minute, float(eda[0]), 0, rest * eda[0], 0.0, rising=False, trough=0.0, risen=0)
    filtered, zi = sosfilt(sos, eda, zi=state.zi)

    path = np.concatenate([[state.level], filtered])
    step = np.diff(path)
    rising = step > 0
    level = step == 0
    if level.any():  # a plateau goes on as it came
        rising = _held(np.where(level, np.nan, rising), float(state.rising)) > 0
    turns = np.flatnonzero(rising != np.concatenate([[state.rising], rising[:-1]]))
    # Troughs and peaks take turns; a rise that was going on has its trough in the state.
    peaks, troughs = (turns[::2], turns[1::2]) if state.rising else (turns[1::2], turns[::2])
    low = path[troughs]
    if state.rising:
        low = np.concatenate([[state.trough], low])
        troughs = np.concatenate([[-state.risen], troughs])
    before = slice(0, len(peaks))
    steep = (path[peaks] - low[before] >= RISE_MIN_US) & (
        peaks - troughs[before] <= RISE_S_MAX * samples_per_minute / 60
    )
    goes_on = bool(rising[-1])
    after = ScrState(
        samples_per_minute=samples_per_minute,
        last=float(eda[-1]),
        unknown=0,
        zi=zi,
        level=float(filtered[-1]),
        rising=goes_on,
        trough=float(low[-1]) if goes_on else 0.0,
        risen=len(eda) - int(troughs[-1]) if goes_on else 0,
    )
    return peaks[steep], after


def _held(values: Floats, before: float) -> Floats:
    """NaN replaced by the last value before it, or by `before` at the front."""
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    source = np.where(unknown, -1, np.arange(len(values)))
    np.maximum.accumulate(source, out=source)
    return np.where(source < 0, before, values[source])


@cache
def _high_pass(samples_per_minute: int) -> tuple[Floats, Floats]:
    """The filter, and its state at rest under a level of 1."""
    sos: Floats = butter(2, HIGH_PASS_HZ, "highpass", fs=samples_per_minute / 60, output="sos")
    return sos, sosfilt_zi(sos)
