"""What sensors on a skin add to it: noise, drift, motion artefacts, and the grid of their converter.

No randomness in here: normal and uniform draws come from outside. Sizes were chosen so that rest, motion and
temperature look like seventeen recordings of an Empatica E4 (docs/reference/simulated-band.md has both); nothing is
fitted to a person. That dry electrodes on a wrist drift, and jump when they are moved or pressed: Boucsein,
Electrodermal Activity (2012); Posada-Quintero and Chon, Sensors 20 (2020), 479.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_sim.physiology import EDA_HZ, MINUTE_S
from firmware_sim.waveforms import Floats, jolt, summed

#: Steps of the converters. Found in the recordings; Empatica gives about 0.9 nS for one digit, and 0.02 °C.
EDA_GRID_US: Final = 0.00128
TEMP_GRID_C: Final = 0.02
#: So many candidates per minute are drawn, and those that rest or motion allows are kept.
JOLTS_MAX: Final = 10
_EDA_NOISE_US: Final = 0.001
_EDA_NOISE_US_PER_G: Final = 0.02  # of the acceleration's standard deviation
_TEMP_NOISE_C: Final = 0.011
_EDA_DRIFT: Final = 0.06  # of its logarithm, per square root of a minute
_TEMP_DRIFT_C: Final = 0.07  # per square root of a minute
#: How often a contact jolts, per minute: at rest, and so much more at full activity.
JOLTS_AT_REST, JOLTS_IN_MOTION = 0.1, 7.0
_JOLT: Final = 0.07  # of the tonic level, median
_JOLT_SPREAD: Final = 0.8  # of its logarithm
_Z_MAX: Final = 3.0
_EDA_LEAST_US: Final = 0.01


def drift(draws: Floats, *, eda: NDArray[np.float64], temp: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Tonic EDA (µS) and temperature (°C) at each full minute of the blocks and at their end, adrift: [blocks * n + 1].

    `draws`: [blocks, 2 * n] normals. A random walk of n minutes that is back where it began at each block's end, so
    that neighbouring blocks meet whichever of them are asked for.
    """
    blocks, minutes = len(draws), draws.shape[1] // 2
    steps = np.clip(draws, -_Z_MAX, _Z_MAX).astype(np.float64).reshape(blocks, 2, minutes)
    walk = np.cumsum(steps, axis=2)
    walk -= walk[:, :, -1:] * (np.arange(1, minutes + 1) / minutes)
    skin, warmth = (np.concatenate(([0.0], walk[:, i].ravel())) for i in range(2))
    return (
        (eda * np.exp(_EDA_DRIFT * skin)).astype(np.float32),
        (temp + _TEMP_DRIFT_C * warmth).astype(np.float32),
    )


def electrodes(
    eda: Floats, *, tonic: Floats, restless: Floats, acc_sd: Floats, noise: Floats, draws: tuple[Floats, Floats]
) -> Floats:
    """EDA (µS, [EDA_HZ * seconds]) as dry electrodes on a wrist give it.

    `tonic`: µS, as long. `restless`: jolts per minute, [minutes], 0 in the last one. `acc_sd`: g, [seconds]. `noise`:
    normals, one for each sample. `draws`: normals and uniforms, [minutes, JOLTS_MAX] and [minutes, 2 * JOLTS_MAX], for
    the jolts: the contact jumps by a share of the level, up or down, and comes back within seconds.
    """
    sizes, chances = draws
    wanted = restless / JOLTS_MAX
    minute, candidate = np.nonzero(chances[:, :JOLTS_MAX] < wanted[:, None])
    late = chances[minute, JOLTS_MAX + candidate] * (MINUTE_S * EDA_HZ)
    onset = minute * (MINUTE_S * EDA_HZ) + late.astype(np.intp)
    z = np.clip(sizes[minute, candidate], -_Z_MAX, _Z_MAX)
    # Whether up or down is in what the choice of candidates has left of the draw.
    sign = np.where(chances[minute, candidate] * 2 < wanted[minute], np.float32(-1), np.float32(1))
    height = sign * np.float32(_JOLT) * tonic[onset] * np.exp(np.float32(_JOLT_SPREAD) * z)
    found = eda + summed(onset, height, jolt(EDA_HZ), size=eda.size)
    loud = np.float32(_EDA_NOISE_US) + np.float32(_EDA_NOISE_US_PER_G) * np.repeat(acc_sd, EDA_HZ)
    found += loud * np.clip(noise, -_Z_MAX, _Z_MAX)
    return on_grid(np.maximum(found, np.float32(_EDA_LEAST_US)), EDA_GRID_US)


def thermometer(temp: Floats, noise: Floats) -> Floats:
    """Temperature (°C) as the sensor gives it; `noise`: normals, as many."""
    return on_grid(temp + np.float32(_TEMP_NOISE_C) * np.clip(noise, -_Z_MAX, _Z_MAX), TEMP_GRID_C)


def on_grid(values: Floats, step: float) -> Floats:
    """Each value at the nearest multiple of the step."""
    return np.asarray(np.rint(values / np.float32(step)) * np.float32(step), np.float32)
