"""Replay: a recording by others (`Sxx.npz`, Empatica E4, format of the Stress-Predict set) worn as a band.

What is measured is played as it was measured. What the recording does not hold is made here, and is synthetic:

- **Self-reports.** The recordings have none. One answer is given in each labelled segment, at a moment between a
  quarter and three quarters of it. A person's base marks come from a hash of the file's name: safe 7 to 9, happy
  6 to 8. In a segment labelled as stress safe is 2 to 4 lower and happy 1 to 3, and a reason is given (noise, people or
  traffic); otherwise there is no reason. All of it depends on the name and the segment's place alone.
- **Skin contact.** Taken as given for the whole recording.

Times: samples at 4 Hz go onto the quarter seconds of the clock (each to the one at or before it, so that it stays in
its minute); beats keep their time. Where the recording begins or ends inside a second, the rest of that second is
unknown EDA and repeats the nearest motion and temperature. Heart rates and beats outside of the 4 Hz signals' span are
left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_sim.physiology import EDA_HZ, MINUTE_S, Answer, Samples
from firmware_sim.profile import REASONS

_SCALARS: Final = ("t0", "hr_t0")
_SIGNALS: Final = ("eda", "temp", "acc_mean", "acc_sd")
_ARRAYS: Final = (*_SIGNALS, "hr", "ibi_t", "ibi", "seg_start", "seg_end", "seg_stress")
_SAME_LENGTH: Final = (_SIGNALS, ("ibi_t", "ibi"), ("seg_start", "seg_end", "seg_stress"))
_STRESS_REASONS: Final = tuple(1 + REASONS.index(name) for name in ("noise", "people", "traffic"))
_RR_MAX_S: Final = 0xFFFF / 1024
_HR_MAX: Final = 300.0  # beats/min
_TIME_MAX: Final = 0xFFFF_FFFF - 86_400 * 30  # unix s: what a frame holds, less the longest recording
_SECONDS_MAX: Final = 86_400 * 30


class RecordingFault(ValueError):
    """A recording that cannot be played; one line that names the file, the array and what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """One person's recording, as a Source."""

    name: str
    whole: Samples

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read an `.npz` in the format of the Stress-Predict set. Raises RecordingFault."""
        arrays = _read(path)
        return cls(name=path.stem, whole=_samples(arrays, name=path.stem))

    @property
    def minutes(self) -> int:
        """How many UTC minutes the recording has samples in."""
        return self.whole.minutes

    def placed(self, start_minute: int) -> Recording:
        """The recording moved by whole minutes, so that its first sample falls into the minute `start_minute`.

        `start_minute`: unix seconds, a multiple of 60 (ValueError otherwise). The phase within the minute is kept.
        """
        if start_minute % MINUTE_S:
            raise ValueError(f"{start_minute} is not the start of a minute")
        shift = start_minute - self.whole.start // MINUTE_S * MINUTE_S
        return dataclasses.replace(self, whole=self.whole.shifted(shift))

    def spans(self) -> Sequence[tuple[int, int]]:
        """One span: the whole recording."""
        return [(self.whole.start, self.whole.end)]

    def samples(self, start: int, end: int) -> Samples:
        """The signals of [start, end)."""
        return self.whole.cut(start, end)


def load_folder(folder: Path) -> list[Recording]:
    """Every `.npz` of a folder, by name. Raises RecordingFault, also when there is none."""
    if not folder.is_dir():
        raise RecordingFault(f"{folder}: there is no such folder; name one with recordings (.npz)")
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise RecordingFault(f"{folder}: no recording (.npz) in this folder; name one that has them")
    return [Recording.load(path) for path in paths]


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays, each of the right kind and finite."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: np.asarray(file[name]) for name in (*_SCALARS, *_ARRAYS) if name in file}
    except FileNotFoundError:
        raise RecordingFault(f"{path}: there is no such recording; check the name") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as fault:
        raise RecordingFault(
            f"{path}: not readable as .npz ({type(fault).__name__}); take it from its origin again"
        ) from None
    for name in (*_SCALARS, *_ARRAYS):
        if name not in found:
            raise _fault(path, name, "is missing")
        array = found[name]
        if array.dtype.kind not in "fiu":
            raise _fault(path, name, "holds no numbers")
        if array.ndim != (0 if name in _SCALARS else 1):
            raise _fault(path, name, f"has the wrong shape {array.shape}")
        if not np.isfinite(array).all():
            raise _fault(path, name, "is not finite everywhere")
    _check(path, found)
    return found


def _check(path: Path, a: Mapping[str, NDArray[Any]]) -> None:
    """What the arrays must be to each other."""
    for group in _SAME_LENGTH:
        for name in group[1:]:
            if a[name].shape != a[group[0]].shape:
                raise _fault(path, name, f"has the wrong shape {a[name].shape}: {group[0]} has {a[group[0]].shape}")
    if not 1 <= a["eda"].size <= _SECONDS_MAX * EDA_HZ:
        raise _fault(path, "eda", f"has the wrong shape {a['eda'].shape}: a sample or more, 30 days at most")
    for name in _SCALARS:
        if not 0 < a[name] < _TIME_MAX:
            raise _fault(path, name, "is no unix time in seconds")
    if (np.diff(a["ibi_t"]) <= 0).any():
        raise _fault(path, "ibi_t", "has times that do not increase")
    if (a["seg_end"] <= a["seg_start"]).any() or (np.diff(a["seg_start"]) <= 0).any():
        raise _fault(path, "seg_start", "and seg_end have times that do not increase")
    if not ((a["ibi"] > 0) & (a["ibi"] <= _RR_MAX_S)).all():
        raise _fault(path, "ibi", f"has intervals outside of 0 to {_RR_MAX_S:.0f} s")
    if not ((a["hr"] >= 0) & (a["hr"] <= _HR_MAX)).all():
        raise _fault(path, "hr", f"has rates outside of 0 to {_HR_MAX:.0f} beats/min")


def _fault(path: Path, array: str, what: str) -> RecordingFault:
    return RecordingFault(f"{path}: array '{array}' {what}; mend the recording or take it out of the folder")


def _samples(a: Mapping[str, NDArray[Any]], *, name: str) -> Samples:
    t0 = float(a["t0"])
    start = math.floor(t0)
    first = math.floor((t0 - start) * EDA_HZ)  # quarter second of the first sample
    filled = first + a["eda"].size
    seconds = -(-filled // EDA_HZ)
    end = start + seconds
    before, after = first, seconds * EDA_HZ - filled

    def edged(array: str) -> NDArray[np.float32]:
        return np.pad(a[array].astype(np.float32), (before, after), mode="edge")

    hr = np.full(seconds, np.nan, np.float32)
    second = math.floor(float(a["hr_t0"])) - start + np.arange(a["hr"].size)
    inside = (second >= 0) & (second < seconds)
    hr[second[inside]] = a["hr"][inside]
    beats = (a["ibi_t"] >= start) & (a["ibi_t"] < end)
    return Samples(
        start=start,
        seconds=seconds,
        hr=hr,
        beat_t=a["ibi_t"][beats].astype(np.float64),
        rr=a["ibi"][beats].astype(np.float32),
        eda=np.pad(a["eda"].astype(np.float32), (before, after), constant_values=np.nan),
        temp=edged("temp").reshape(seconds, EDA_HZ).mean(axis=1),
        acc_mean=edged("acc_mean"),
        acc_sd=edged("acc_sd"),
        motion_rate=EDA_HZ,
        worn=np.ones(seconds, np.bool_),
        reports=_answers(a, name=name, start=start, end=end),
    )


def _answers(a: Mapping[str, NDArray[Any]], *, name: str, start: int, end: int) -> tuple[Answer, ...]:
    """One answer per segment; see the module's text."""
    base = hashlib.sha256(name.encode()).digest()
    answers = []
    for place, (seg_start, seg_end, stress) in enumerate(
        zip(a["seg_start"], a["seg_end"], a["seg_stress"], strict=True)
    ):
        draw = hashlib.sha256(f"{name}/{place}".encode()).digest()
        safe, happy, reason = 7 + base[0] % 3, 6 + base[1] % 3, 0
        if stress:
            safe -= 2 + draw[1] % 3
            happy -= 1 + draw[2] % 3
            reason = _STRESS_REASONS[draw[3] % len(_STRESS_REASONS)]
        at = math.floor(seg_start + (0.25 + 0.5 * draw[0] / 255) * (seg_end - seg_start))
        if start <= at < end:
            answers.append(Answer(at, safe, happy, reason))
    return tuple(answers)
