"""Synthetic people: who they are, when they wear the band, what they answer. Invented; fitted to nobody.

Every draw comes from a generator keyed on (seed, person, what it is for, day), so that it is the same in whatever
order, and for whatever span, it is asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from firmware_sim.physiology import Answer
from firmware_sim.profile import REASONS

TIMEZONE: Final = "Europe/Amsterdam"
#: A worn block is skipped now and then: the band was charging, or forgotten.
SKIPPED: Final = 0.06
_DAY_BLOCK: Final = timedelta(hours=2)
_EVENING_BLOCK: Final = timedelta(hours=2, minutes=30)
_GIVES_REASON: Final = 0.5
_WELL: Final = tuple(1 + REASONS.index(r) for r in ("green", "people", "home", "neighbours", "events", "weather"))
_BADLY: Final = tuple(1 + REASONS.index(r) for r in ("noise", "traffic", "light", "people", "dirt", "building-works"))


class Stream(IntEnum):
    """What a generator is for."""

    TRAITS = 0
    BLOCK = 1
    DAY = 2
    ANSWERS = 3
    SESSION = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a district lives through, as a night of fireworks."""

    district: str
    start: int  # unix seconds
    end: int
    arousal: float = 1.0  # 1: about 12 beats/min, half as much again of EDA, 6 SCR/min more
    safe_delta: float = -3.0  # on the marks given meanwhile
    happy_delta: float = -1.0
    reason: int = 1 + REASONS.index("noise")

    def __post_init__(self) -> None:
        if self.end <= self.start or not 0 <= self.arousal <= 3 or not 0 <= self.reason <= len(REASONS):
            raise ValueError("an event needs an end after its start, an arousal of 0 to 3 and a reason of the list")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traits:
    """What differs from person to person, and stays."""

    rest_bpm: float
    rsa: float  # respiratory sinus arrhythmia, share of the heart rate
    breath_hz: float
    beat_noise: float  # share of the heart rate, per second
    eda_us: float
    scr_per_min: float
    temp_c: float
    sensitivity: float  # to events
    drift_phase: tuple[float, ...]  # radians
    safe: float  # mean mark
    happy: float


def generator(seed: int, number: int, stream: Stream, index: int = 0) -> np.random.Generator:
    """A generator of its own for each use; index is a day or block."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(number, stream, index))))


def district_marks(district: str) -> tuple[float, float]:
    """A district's mean safe and happy: 6.9 to 8.3 and 6.8 to 7.8, by a hash of its code."""
    digest = hashlib.sha256(district.encode()).digest()
    return 6.9 + 1.4 * digest[0] / 255, 6.8 + digest[1] / 255


def traits(seed: int, number: int, district: str) -> Traits:
    """Draw a person: resting values of adults, roughly as in the literature on wearables."""
    rng = generator(seed, number, Stream.TRAITS)
    z = np.clip(rng.standard_normal(9), -2.5, 2.5)
    safe, happy = district_marks(district)
    return Traits(
        rest_bpm=float(62 + 7 * z[0]),
        rsa=float(0.04 * np.exp(0.35 * z[1])),
        breath_hz=float(0.25 + 0.025 * z[2]),
        beat_noise=float(0.02 * np.exp(0.3 * z[3])),
        eda_us=float(1.8 * np.exp(0.6 * z[4])),
        scr_per_min=float(1.5 * np.exp(0.3 * z[5])),
        temp_c=float(32.5 + 0.9 * z[6]),
        sensitivity=float(np.exp(0.3 * z[7])),
        drift_phase=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
        safe=safe + 0.8 * float(z[8]),
        happy=happy + 0.5 * float(z[8]) + 0.5 * float(rng.standard_normal()),
    )


def worn_spans(rng: np.random.Generator, day: date, zone: ZoneInfo) -> list[tuple[int, int]]:
    """Two blocks a day at most: two hours begun between 9 and 15, two and a half begun at about 19:30 local time."""
    noon_start = timedelta(hours=9, minutes=int(rng.integers(0, 6 * 60 + 1)))
    evening_start = timedelta(hours=19, minutes=30 + int(rng.integers(-15, 16)))
    worn = rng.random(2) >= SKIPPED
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    spans = []
    for begin, length, on in ((noon_start, _DAY_BLOCK, worn[0]), (evening_start, _EVENING_BLOCK, worn[1])):
        if on:
            start = int((midnight + begin).timestamp())  # wall-clock arithmetic: summer time is minded
            spans.append((start, start + int(length.total_seconds())))
    return spans


def moments(rng: np.random.Generator, spans: list[tuple[int, int]], count: int) -> list[int]:
    """Random seconds in the spans, in order, each at most once."""
    lengths = [end - start for start, end in spans]
    picks = np.sort(rng.choice(sum(lengths), size=count, replace=False)).tolist() if spans else []
    found = []
    for pick in picks:
        for (start, _), length in zip(spans, lengths, strict=True):
            if pick < length:
                found.append(start + pick)
                break
            pick -= length
    return found


def answer(rng: np.random.Generator, person: Traits, at: int, events: tuple[Event, ...]) -> Answer:
    """What a person answers at a moment: the own means, a little noise, and what goes on in the district."""
    safe = person.safe + 0.8 * rng.standard_normal()
    happy = person.happy + 0.9 * rng.standard_normal()
    pick, gives = int(rng.integers(6)), bool(rng.random() < _GIVES_REASON)
    struck = [event for event in events if event.start <= at < event.end]
    for event in struck:
        safe += event.safe_delta * min(person.sensitivity, 1.5)
        happy += event.happy_delta * min(person.sensitivity, 1.5)
    marks = [int(np.clip(round(float(mark)), 0, 10)) for mark in (safe, happy)]
    own = (_WELL if min(marks) >= 6 else _BADLY)[pick] if gives else 0
    reason = struck[-1].reason if struck else own
    return Answer(at, marks[0], marks[1], reason)
