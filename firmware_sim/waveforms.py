"""Shapes of physiology as plain numpy: lattices, beat trains, skin conductance responses. No randomness in here."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TICKS_PER_S: Final = 1024  # beats lie on this grid, so that a band loses nothing when it tells of them
_RISE_S: Final = 0.75  # time constants of Benedek and Kaernbach 2010 (J Neurosci Methods 190), rounded
_DECAY_S: Final = 2.0
SCR_S: Final = 12  # a response is over after so many seconds
_BACK_S: Final = 1.5  # time constant of a contact that was jolted


def between(lattice: Floats, steps: int) -> Floats:
    """Straight lines between the points of a lattice: [m + 1] -> [m * steps], each point first."""
    weight = np.arange(steps, dtype=np.float32) / np.float32(steps)
    fine = np.diff(lattice)[:, None] * weight
    fine += lattice[:-1, None]
    return np.asarray(fine, np.float32).ravel()


def oscillation(start: int, blocks: int, block_s: int, *, rate_hz: int, hz: float) -> Floats:
    """sin(2π·hz·t) on the clock (unix s), for whole blocks: [blocks * block_s * rate_hz].

    The phase of each block is taken in float64, the rest in float32: unix time does not fit the latter.
    """
    phase = (2 * np.pi * hz * (start + block_s * np.arange(blocks, dtype=np.float64))) % (2 * np.pi)
    inside = np.arange(block_s * rate_hz, dtype=np.float32) * np.float32(2 * np.pi * hz / rate_hz)
    wave = phase.astype(np.float32)[:, None] + inside
    return np.asarray(np.sin(wave, out=wave), np.float32).ravel()


def beat_ticks(rate: Floats, *, blocks: int, rate_hz: int) -> NDArray[np.int64]:
    """Beats of an integral pulse frequency modulator (Bayly 1968), in 1/1024 s after the start.

    `rate`: [blocks * m] beats/s at `rate_hz`. A beat falls where the integral of the rate passes a whole number. In
    each block the rate is scaled by less than half a beat so that its integral is whole: each block ends
    with a beat, one tick before its end, and so the trains of neighbouring blocks join without a gap whichever of
    them are asked for.
    """
    rows = rate.reshape(blocks, -1)
    phase = np.cumsum(rows, axis=1, dtype=np.float64)
    counts = np.rint(phase[:, -1] / rate_hz)
    phase *= (counts / phase[:, -1])[:, None]
    phase += np.concatenate(([0.0], np.cumsum(counts)[:-1]))[:, None]
    whole = np.arange(1.0, counts.sum() + 1)
    at = np.interp(whole, np.concatenate(([0.0], phase.ravel())), np.arange(rate.size + 1.0))
    ticks: NDArray[np.int64] = np.rint(at * (TICKS_PER_S / rate_hz)).astype(np.int64) - 1
    return ticks


@cache
def bateman(rate_hz: int) -> Floats:
    """A skin conductance response with a peak of 1: [SCR_S * rate_hz]."""
    t = np.arange(SCR_S * rate_hz) / rate_hz
    shape = np.exp(-t / _DECAY_S) - np.exp(-t / _RISE_S)
    return np.asarray(shape / shape.max(), np.float32)


@cache
def jolt(rate_hz: int) -> Floats:
    """A contact that jumps by 1 at once, as no sweat gland can, and comes back: [SCR_S * rate_hz]."""
    return np.asarray(np.exp(np.arange(SCR_S * rate_hz) / (-_BACK_S * rate_hz)), np.float32)


def summed(onset: NDArray[np.intp], height: Floats, shape: Floats, *, size: int) -> Floats:
    """Shapes with given onsets (sample numbers) and heights, added up: [size].

    Each onset lies the shape's length or more before the end.
    """
    at = onset[:, None] + np.arange(shape.size)
    weights = height[:, None] * shape
    return np.bincount(at.ravel(), weights=weights.ravel(), minlength=size).astype(np.float32)
