"""Signals into frames, second by second, in the order of the profile ("Order and pace"). Pure; no I/O."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_sim import profile
from firmware_sim.physiology import EDA_HZ, Samples
from firmware_sim.profile import HEADER_BYTES, Kind

TICKS_PER_S: Final = 1024  # the profile's unit of beats and RR intervals
BLOCK_S: Final = 5  # EDA and Motion are sent once in so many seconds
SLOW_S: Final = 10  # Temperature and Current Time
#: A span may be encoded in parts that begin at multiples of this: no frame crosses them.
PART_S: Final = 10

Frame = tuple[Kind, bytes]


class FrameEncoder:
    """The frames of one span (or part of a span) of signals.

    Values that a frame cannot hold are brought to its bounds: EDA below 0 becomes 0, above 65.534 µS unknown.
    Beats beyond nine in a second (no heart does that) are left out of both of the frames that tell of them.
    """

    def __init__(self, samples: Samples) -> None:
        s = self._samples = samples
        known = np.isfinite(s.hr) & s.worn
        self._bpm = np.rint(np.where(known, np.clip(s.hr, 0, 0xFFFF), -1)).astype(int).tolist()
        self._worn = s.worn.tolist()
        # Floored, so that a beat stays in its second however the span is cut into parts.
        ticks = np.floor(s.beat_t * TICKS_PER_S).astype(np.int64)
        bounds = np.searchsorted(ticks, TICKS_PER_S * (s.start + np.arange(s.seconds + 1, dtype=np.int64)))
        self._beats = bounds.tolist()
        self._offsets = (ticks % TICKS_PER_S).tolist()
        self._rr = np.clip(np.rint(s.rr * np.float32(TICKS_PER_S)), 1, 0xFFFF).astype(int).tolist()
        self._centidegrees = np.where(
            np.isfinite(s.temp),
            np.rint(np.clip(np.nan_to_num(s.temp), -300, 300) * 100),
            profile.TEMPERATURE_UNKNOWN,
        ).astype(int)
        ns = np.rint(np.where(np.isfinite(s.eda), s.eda, profile.EDA_UNKNOWN) * 1000)
        self._eda = np.where(ns < profile.EDA_UNKNOWN, np.maximum(ns, 0), profile.EDA_UNKNOWN).astype(int).tolist()

    def at(self, tick: int, *, payload_bytes: int, final: bool = False) -> list[Frame]:
        """The frames of the tick that ends the second before it, in order.

        `tick`: unix seconds in (start, end]. `payload_bytes`: what one notification holds (MTU less 3). `final`: the
        last tick of the span, at which EDA and Motion are sent even when their five seconds are not full.
        """
        samples = self._samples
        second = tick - 1
        frames = self._heart(second)
        if tick % SLOW_S == 0:
            frames.append((Kind.TEMPERATURE, profile.temperature(int(self._centidegrees[second - samples.start]))))
            frames.append((Kind.CURRENT_TIME, profile.current_time(tick)))
        if tick % BLOCK_S == 0 or final:
            start = max(samples.start, second // BLOCK_S * BLOCK_S)
            frames += self._eda_block(start, tick, payload_bytes)
            frames += self._motion_block(start, tick, payload_bytes)
        for at, safe, happy, reason in samples.reports:
            if at == second:
                frames.append((Kind.SELF_REPORT, profile.self_report(at, safe=safe, happy=happy, reason=reason)))
        return frames

    def _heart(self, second: int) -> list[Frame]:
        i = second - self._samples.start
        first, last = self._beats[i], self._beats[i + 1]
        last = min(last, first + profile.BEATS_MAX)
        frames = [(Kind.BEAT_TIMING, profile.beat_timing(second, self._offsets[first:last]))]
        bpm, worn = self._bpm[i], self._worn[i]
        if bpm >= 0 or last > first or not worn:
            rr = self._rr[first:last]
            frames.append((Kind.HEART_RATE, profile.heart_rate_measurement(max(bpm, 0), rr=rr, contact=worn)))
        return frames

    def _eda_block(self, start: int, end: int, payload_bytes: int) -> list[Frame]:
        fits = min((payload_bytes - HEADER_BYTES) // 2, profile.EDA_SAMPLES_MAX) // EDA_HZ  # whole seconds
        base = self._samples.start
        return [
            (Kind.EDA, profile.eda(t, EDA_HZ, self._eda[EDA_HZ * (t - base) : EDA_HZ * (min(t + fits, end) - base)]))
            for t in range(start, end, fits)
        ]

    def _motion_block(self, start: int, end: int, payload_bytes: int) -> list[Frame]:
        rate, values, base = self._samples.motion_rate, self._milli_g, self._samples.start
        fits = min((payload_bytes - HEADER_BYTES) // 4, profile.MOTION_SAMPLES_MAX) // rate
        if not fits:  # a frame begins at a whole second, so a second that does not fit is told as one sample
            rate, values = 1, self._milli_g_1hz
            fits = (payload_bytes - HEADER_BYTES) // 4
        pair = 2 * rate
        return [
            (Kind.MOTION, profile.motion(t, rate, values[pair * (t - base) : pair * (min(t + fits, end) - base)]))
            for t in range(start, end, fits)
        ]

    @cached_property
    def _milli_g(self) -> list[int]:
        return _interleaved(self._samples.acc_mean, self._samples.acc_sd)

    @cached_property
    def _milli_g_1hz(self) -> list[int]:
        """Mean and SD of whole seconds, pooled from their samples (the law of total variance)."""
        mean, sd = (
            a.astype(np.float64).reshape(-1, self._samples.motion_rate)
            for a in (self._samples.acc_mean, self._samples.acc_sd)
        )
        return _interleaved(mean.mean(axis=1), np.sqrt((sd**2).mean(axis=1) + mean.var(axis=1)))


def _interleaved(mean: NDArray[np.floating], sd: NDArray[np.floating]) -> list[int]:
    milli_g: list[int] = np.rint(np.clip(np.stack((mean, sd), axis=1) * 1000, 0, 0xFFFF)).astype(int).ravel().tolist()
    return milli_g
