"""Seeded, circadian physiology of invented people, fast enough to make thousands of person-days in a demo's start.

Signals are made in blocks of half an hour, each with a generator of its own (keyed on seed, person and block), and
meet at the blocks' ends without a gap; so any span gives the same samples, whatever was asked before. What goes
through a day: a resting level with a circadian course, slow drift (a sum of long sine waves), bouts of walking
(motion first, heart rate, EDA and temperature after it), arousal by events, respiratory sinus arrhythmia and Gaussian
noise on the heart rate, skin conductance responses, missed, early and rejected beats, a band off the wrist, and what
the sensors on the skin add (`sensors.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from firmware_sim import people, sensors
from firmware_sim.people import TIMEZONE, Event, Stream, Traits
from firmware_sim.physiology import EDA_HZ, MINUTE_S, Answer, Samples, minutes_touched
from firmware_sim.waveforms import TICKS_PER_S, Floats, bateman, beat_ticks, between, oscillation, summed

BLOCK_S: Final = 1800
MINUTES: Final = BLOCK_S // MINUTE_S
PULSE_HZ: Final = 2  # grid of the instantaneous heart rate
SCR_MAX: Final = 8  # per minute: so many candidates are drawn, and those that the rate allows are kept
SESSION_ANSWER_S: Final = 3600  # a band that is worn throughout asks once in so many seconds
_BOUTS: Final = 2
_GLITCHES: Final = 24  # candidates per block
_GLITCH: Final = 0.12  # share of the candidates that happen in rest
_OFF_WRIST: Final = 0.06  # per block
_RAMP_S: Final = 300.0
_DRIFT_PERIODS_S: Final = (17_300.0, 6_170.0, 2_310.0, 910.0)
_DRIFT_WEIGHTS: Final = (0.6, 0.5, 0.35, 0.25)

_NORMALS: Final = {"pulse": BLOCK_S, "scr": MINUTES * SCR_MAX}
_UNIFORMS: Final = {
    "motion": BLOCK_S,
    "scr": MINUTES * SCR_MAX,
    "onset": MINUTES * SCR_MAX,
    "bouts": _BOUTS * 4,
    "glitches": _GLITCHES * 3,
    "off": 3,
}
#: Drawn after those above, for the sensors on the skin.
_SENSOR_NORMALS: Final = {
    "eda": EDA_HZ * BLOCK_S,
    "temp": BLOCK_S,
    "drift": 2 * MINUTES,
    "jolts": MINUTES * sensors.JOLTS_MAX,
}
_SENSOR_UNIFORMS: Final = MINUTES * sensors.JOLTS_MAX * 2


def _columns(widths: dict[str, int]) -> tuple[dict[str, slice], int]:
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}, ends[-1]


_NORMAL_AT, _NORMAL_WIDTH = _columns(_NORMALS)
_UNIFORM_AT, _UNIFORM_WIDTH = _columns(_UNIFORMS)
_SENSOR_AT, _SENSOR_WIDTH = _columns(_SENSOR_NORMALS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Course:
    """What drives the signals: one value at each full minute of the blocks, and one more at their end."""

    bpm: Floats
    activity: Floats  # 0-1
    arousal: Floats  # 0 and up
    eda: Floats  # µS, tonic
    temp: Floats  # °C


class Person:
    """One invented wearer. The same (seed, number, district, events) is the same person, second by second."""

    def __init__(
        self, seed: int, number: int, district: str, events: Sequence[Event] = (), *, timezone: str = TIMEZONE
    ) -> None:
        self.number = number
        self.district = district
        self._seed = seed
        self._events = tuple(event for event in events if event.district == district)
        self._zone = ZoneInfo(timezone)
        self._traits = people.traits(seed, number, district)
        self._answers_of = lru_cache(maxsize=4)(self._draw_answers)

    @property
    def traits(self) -> Traits:
        """Who this is."""
        return self._traits

    def worn_spans(self, day_start: int, *, timezone: str | None = None) -> list[tuple[int, int]]:
        """When the band is worn on the local day of `day_start` (unix s): at most two spans of whole minutes."""
        zone = self._zone if timezone is None else ZoneInfo(timezone)
        day = datetime.fromtimestamp(day_start, zone).date()
        return people.worn_spans(people.generator(self._seed, self.number, Stream.DAY, day.toordinal()), day, zone)

    def samples(self, start: int, end: int) -> Samples:
        """The signals of [start, end), unix s; the answers are those of the days' worn spans."""
        first = start // BLOCK_S
        whole = self._blocks(first, -(-end // BLOCK_S) - first)
        return dataclasses.replace(whole.cut(start, end), reports=self._answers(start, end))

    def session_answers(self, start: int, end: int) -> tuple[Answer, ...]:
        """The answers of somebody who wears the band throughout [start, end): one in each hour begun."""
        rng = people.generator(self._seed, self.number, Stream.SESSION, start)
        hours = [(t, min(t + SESSION_ANSWER_S, end)) for t in range(start, end, SESSION_ANSWER_S)]
        return tuple(
            people.answer(rng, self._traits, at, self._events)
            for hour in hours
            for at in people.moments(rng, [hour], 1)
        )

    def _answers(self, start: int, end: int) -> tuple[Answer, ...]:
        day = datetime.fromtimestamp(start, self._zone).date()
        last = datetime.fromtimestamp(end - 1, self._zone).date()
        found: list[Answer] = []
        while day <= last:
            found += [a for a in self._answers_of(day.toordinal()) if start <= a.at < end]
            day += timedelta(days=1)
        return tuple(found)

    def _draw_answers(self, ordinal: int) -> list[Answer]:
        """One to three answers at random worn moments of a local day."""
        day = datetime.fromordinal(ordinal)
        noon = int(day.replace(hour=12, tzinfo=self._zone).timestamp())
        rng = people.generator(self._seed, self.number, Stream.ANSWERS, ordinal)
        count = int(rng.integers(1, 4))
        return [
            people.answer(rng, self._traits, at, self._events)
            for at in people.moments(rng, self.worn_spans(noon), count)
        ]

    def _blocks(self, first: int, blocks: int) -> Samples:
        """The signals of whole blocks, without answers."""
        normals = np.empty((blocks, _NORMAL_WIDTH), np.float32)
        uniforms = np.empty((blocks, _UNIFORM_WIDTH), np.float32)
        noise = np.empty((blocks, _SENSOR_WIDTH), np.float32)
        jolts = np.empty((blocks, _SENSOR_UNIFORMS), np.float32)
        for i in range(blocks):
            rng = people.generator(self._seed, self.number, Stream.BLOCK, first + i)
            rng.standard_normal(out=normals[i], dtype=np.float32)
            rng.random(out=uniforms[i], dtype=np.float32)
            rng.standard_normal(out=noise[i], dtype=np.float32)
            rng.random(out=jolts[i], dtype=np.float32)
        start, seconds = first * BLOCK_S, blocks * BLOCK_S
        course = self._course(start, blocks, uniforms[:, _UNIFORM_AT["bouts"]], noise[:, _SENSOR_AT["drift"]])
        worn, off_s = _off_wrist(uniforms[:, _UNIFORM_AT["off"]])
        activity = between(course.activity, MINUTE_S)
        fidget = np.float32(3) * uniforms[:, _UNIFORM_AT["motion"]].ravel() ** 3  # mostly little, now and then much
        acc_sd = np.where(worn, 0.006 + fidget * (0.01 + 0.16 * activity) + 0.1 * activity, 0.002).astype(np.float32)
        hr = between(course.bpm, MINUTE_S)
        beat_t, rr = self._beats(start, course, normals, uniforms, worn)
        eda = self._eda(course, normals, uniforms, acc_sd, noise, jolts)
        eda.reshape(-1, EDA_HZ)[~worn] = np.nan
        cooling = 3 * (1 - np.exp(off_s / np.float32(-90)))
        return Samples(
            start=start,
            seconds=seconds,
            hr=np.where(worn, hr, np.float32(np.nan)).astype(np.float32),
            beat_t=beat_t,
            rr=rr,
            eda=eda,
            temp=sensors.thermometer(between(course.temp, MINUTE_S) - cooling, noise[:, _SENSOR_AT["temp"]].ravel()),
            acc_mean=(1 + acc_sd * (fidget - np.float32(0.8)) * np.float32(0.15)).astype(np.float32),
            acc_sd=acc_sd,
            motion_rate=1,
            worn=worn,
        )

    def _course(self, start: int, blocks: int, bouts: Floats, drifting: Floats) -> _Course:
        who = self._traits
        t = start + MINUTE_S * np.arange(blocks * MINUTES + 1, dtype=np.float64)
        # The local hour, with each block's own offset from UTC: a span over a clock change is like its parts.
        offsets = [_utc_offset(self._zone, start + BLOCK_S * i) for i in range(blocks)]
        hour = (t + np.append(np.repeat(offsets, MINUTES), _utc_offset(self._zone, int(t[-1])))) % 86_400 / 3600
        afternoon = np.cos((hour - 16) * (2 * np.pi / 24))
        drift = sum(
            weight * np.sin(t * (2 * np.pi / period) + phase)
            for period, weight, phase in zip(_DRIFT_PERIODS_S, _DRIFT_WEIGHTS, who.drift_phase, strict=True)
        )
        activity = _activity(bouts, hour[:-1].reshape(blocks, MINUTES)[:, 0])
        warmed = np.convolve(activity, (0.2, 0.35, 0.3, 0.15))[: t.size]
        arousal = np.zeros(t.size)
        for event in self._events:
            rise, fall = (t - event.start) / _RAMP_S, 1 - (t - event.end) / (2 * _RAMP_S)
            arousal += event.arousal * who.sensitivity * np.clip(np.minimum(rise, fall), 0, 1)
        eda, temp = sensors.drift(
            drifting,
            eda=who.eda_us * np.exp(0.1 * afternoon + 0.15 * drift + 0.25 * warmed + 0.4 * arousal),
            temp=who.temp_c - 0.4 * afternoon + 0.25 * drift + 0.6 * warmed - 0.3 * arousal,
        )
        return _Course(
            bpm=(who.rest_bpm + 8 + 4 * afternoon + 2.5 * drift + 45 * warmed + 12 * arousal).astype(np.float32),
            activity=activity.astype(np.float32),
            arousal=arousal.astype(np.float32),
            eda=eda,
            temp=temp,
        )

    def _beats(
        self, start: int, course: _Course, normals: Floats, uniforms: Floats, worn: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], Floats]:
        """Times (unix s) and RR intervals (s) of the beats that the band saw."""
        who, blocks = self._traits, len(normals)
        bpm = between(course.bpm, MINUTE_S * PULSE_HZ)
        # The faster the heart, the less it varies (vagal withdrawal).
        vagal = between(np.clip(np.float32(who.rest_bpm + 12) / course.bpm, 0.3, 1.3) ** 2, MINUTE_S * PULSE_HZ)
        breath = oscillation(start, blocks, BLOCK_S, rate_hz=PULSE_HZ, hz=who.breath_hz)
        mayer = oscillation(start, blocks, BLOCK_S, rate_hz=PULSE_HZ, hz=0.1)
        mayer *= np.float32(0.5)
        wobble = np.add(breath, mayer, out=breath)
        wobble *= np.float32(who.rsa)
        noise = np.float32(who.beat_noise) * normals[:, _NORMAL_AT["pulse"]].ravel()
        wobble.reshape(-1, PULSE_HZ)[:] += noise[:, None]
        wobble *= vagal
        wobble += 1
        rate = np.clip(wobble, 0.6, 1.5, out=wobble)
        rate *= bpm
        rate /= 60
        ticks = beat_ticks(rate, blocks=blocks, rate_hz=PULSE_HZ)
        before = np.concatenate(([-1], ticks[:-1]))  # the block before ended with a beat, one tick before this one
        seen = worn[ticks >> 10] & worn[np.maximum(before, 0) >> 10]
        ticks, before, seen = _glitched(ticks, before, seen, uniforms[:, _UNIFORM_AT["glitches"]], course.activity)
        rr = (ticks - before)[seen] / np.float32(TICKS_PER_S)
        return start + ticks[seen] / float(TICKS_PER_S), rr.astype(np.float32)

    def _eda(
        self, course: _Course, normals: Floats, uniforms: Floats, acc_sd: Floats, noise: Floats, jolts: Floats
    ) -> Floats:
        """Skin conductance, µS at EDA_HZ: the skin's own, and what the electrodes make of it."""
        blocks = len(normals)
        tonic = between(course.eda, MINUTE_S * EDA_HZ)
        wanted = self._traits.scr_per_min + 6 * course.arousal[:-1] + 2 * course.activity[:-1]
        restless = sensors.JOLTS_AT_REST + sensors.JOLTS_IN_MOTION * course.activity[:-1]
        for rate in (wanted, restless):
            rate.reshape(blocks, MINUTES)[:, -1] = 0  # what begins in a block ends in it
        kept = uniforms[:, _UNIFORM_AT["scr"]].reshape(-1, SCR_MAX) * SCR_MAX < wanted[:, None]
        minute, candidate = np.nonzero(kept)
        late = uniforms[:, _UNIFORM_AT["onset"]].reshape(-1, SCR_MAX)[minute, candidate] * (MINUTE_S * EDA_HZ)
        z = normals[:, _NORMAL_AT["scr"]].reshape(-1, SCR_MAX)[minute, candidate]
        onset = minute * (MINUTE_S * EDA_HZ) + late.astype(np.intp)
        amplitude = 0.05 * tonic[onset] * np.exp(0.5 * z)
        skin = tonic + summed(onset, amplitude, bateman(EDA_HZ), size=tonic.size)
        return sensors.electrodes(
            skin,
            tonic=tonic,
            restless=restless,
            acc_sd=acc_sd,
            noise=noise[:, _SENSOR_AT["eda"]].ravel(),
            draws=(
                noise[:, _SENSOR_AT["jolts"]].reshape(-1, sensors.JOLTS_MAX),
                jolts.reshape(-1, 2 * sensors.JOLTS_MAX),
            ),
        )


class Wearing:
    """A person who wears the band without a break for so many minutes, as a Source (a live demonstration)."""

    def __init__(self, person: Person, *, start: int, minutes: int) -> None:
        self._person = person
        self._span = (start, start + MINUTE_S * minutes)
        self._answers = person.session_answers(*self._span)

    @property
    def minutes(self) -> int:
        """How many UTC minutes the span touches."""
        return minutes_touched(*self._span)

    def spans(self) -> Sequence[tuple[int, int]]:
        """One span."""
        return [self._span]

    def samples(self, start: int, end: int) -> Samples:
        """The signals of [start, end)."""
        answers = tuple(a for a in self._answers if start <= a.at < end)
        return dataclasses.replace(self._person.samples(start, end), reports=answers)


@lru_cache(maxsize=4096)
def _utc_offset(zone: ZoneInfo, at: int) -> float:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()


def _activity(bouts: Floats, hour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Walking, 0 to 1, at each minute: at most two bouts of 3 to 7 minutes a block, over before its 26th minute."""
    happens, begins, lasts, strength = bouts.reshape(-1, _BOUTS, 4).transpose(2, 0, 1)
    awake = (hour >= 8) & (hour < 22)
    on = happens < np.where(awake, 0.3, 0.01)[:, None]
    begin = 1 + np.floor(begins * 17)
    minute = np.arange(MINUTES)
    inside = (minute >= begin[..., None]) & (minute < (begin + 3 + np.floor(lasts * 5))[..., None])
    level = np.where(inside & on[..., None], (0.3 + 0.7 * strength)[..., None], 0.0).max(axis=1)
    return np.append(level.ravel(), 0.0)  # still at each block's first minute, so at the end too


def _off_wrist(draws: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Whether the band is worn, and for how many seconds it has been off: both [blocks * BLOCK_S]."""
    happens, begins, lasts = draws.T[:, :, None]
    since = np.arange(BLOCK_S, dtype=np.float32) - np.floor(120 + begins * 1200)
    off = (since >= 0) & (since < np.floor(60 + lasts * 180)) & (happens < _OFF_WRIST)
    return ~off.ravel(), np.where(off, since, np.float32(0)).ravel()


def _glitched(
    ticks: NDArray[np.int64],
    before: NDArray[np.int64],
    seen: NDArray[np.bool_],
    draws: Floats,
    activity: Floats,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Missed beats (the next interval is twice as long), early ones, and intervals that the band rejected (a gap).

    `before` is where each beat's interval begins. More happens in motion.
    """
    place, happens, kind = draws.reshape(-1, _GLITCHES, 3).transpose(2, 0, 1)
    second = BLOCK_S * np.arange(len(place))[:, None] + 5 + place * (BLOCK_S - 10)
    moving = activity[(second // MINUTE_S).astype(np.intp)]
    hit = happens < _GLITCH + 0.8 * moving
    index, pick = np.unique(np.searchsorted(ticks, second[hit] * TICKS_PER_S), return_index=True)
    kinds = kind[hit][pick]
    ticks, before, seen = ticks.copy(), before.copy(), seen.copy()
    seen[index[kinds < 0.6]] = False  # rejected
    early = index[(kinds >= 0.6) & (kinds < 0.8)]
    ticks[early] -= (ticks[early] - before[early]) // 4
    before[early + 1] = ticks[early]
    missed = index[kinds >= 0.8]
    missed = missed[seen[missed + 1] & seen[missed]]
    before[missed + 1] = before[missed]
    seen[missed] = False
    return ticks, before, seen
