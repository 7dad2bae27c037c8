"""What a band's sensors see of one wearer, on the band's own clock: the values that every source gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

EDA_HZ: Final = 4
MINUTE_S: Final = 60


class Answer(NamedTuple):
    """One answered prompt."""

    at: int  # unix seconds
    safe: int  # 0-10
    happy: int  # 0-10
    reason: int = 0  # place in profile.REASONS from 1, or 0 for none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Samples:
    """A span of one wearer's signals, [start, start + seconds). Arrays of wrong lengths raise ValueError.

    `n` is `seconds`. Beats lie inside the span, in order; each RR interval ends at its beat.
    """

    start: int  # unix seconds
    seconds: int
    hr: NDArray[np.float32]  # [n] beats/min, NaN where there is none
    beat_t: NDArray[np.float64]  # [b] unix s (float64: float32 resolves unix time to 128 s)
    rr: NDArray[np.float32]  # [b] s
    eda: NDArray[np.float32]  # [4n] µS, NaN where unknown
    temp: NDArray[np.float32]  # [n] °C, NaN where unknown
    acc_mean: NDArray[np.float32]  # [motion_rate * n] g
    acc_sd: NDArray[np.float32]  # [motion_rate * n] g
    motion_rate: int  # Hz
    worn: NDArray[np.bool_]  # [n]
    reports: tuple[Answer, ...] = ()

    def __post_init__(self) -> None:
        n = self.seconds
        if n <= 0:
            raise ValueError("samples need a span of a second or more")
        lengths = {"hr": n, "temp": n, "worn": n, "eda": EDA_HZ * n, "rr": len(self.beat_t)}
        lengths |= {"acc_mean": self.motion_rate * n, "acc_sd": self.motion_rate * n}
        for name, length in lengths.items():
            if getattr(self, name).shape != (length,):
                raise ValueError(f"samples: {name} has shape {getattr(self, name).shape}, not ({length},)")

    @property
    def end(self) -> int:
        """The first second after the span, unix seconds."""
        return self.start + self.seconds

    @property
    def minutes(self) -> int:
        """How many UTC minutes the span touches."""
        return minutes_touched(self.start, self.end)

    def cut(self, start: int, end: int) -> Samples:
        """The part in [start, end), which must lie inside the span; raises ValueError."""
        if not self.start <= start < end <= self.end:
            raise ValueError(f"[{start}, {end}) is not in [{self.start}, {self.end})")
        a, b, rate = start - self.start, end - self.start, self.motion_rate
        i, j = np.searchsorted(self.beat_t, (start, end))
        return Samples(
            start=start,
            seconds=end - start,
            hr=self.hr[a:b],
            beat_t=self.beat_t[i:j],
            rr=self.rr[i:j],
            eda=self.eda[EDA_HZ * a : EDA_HZ * b],
            temp=self.temp[a:b],
            acc_mean=self.acc_mean[rate * a : rate * b],
            acc_sd=self.acc_sd[rate * a : rate * b],
            motion_rate=rate,
            worn=self.worn[a:b],
            reports=tuple(r for r in self.reports if start <= r.at < end),
        )

    def shifted(self, seconds: int) -> Samples:
        """The same signals, so many seconds later."""
        return dataclasses.replace(
            self,
            start=self.start + seconds,
            beat_t=self.beat_t + seconds,
            reports=tuple(r._replace(at=r.at + seconds) for r in self.reports),
        )


class Source(Protocol):
    """Whose signals a band plays."""

    def spans(self) -> Sequence[tuple[int, int]]:
        """The spans [start, end) in which the band measures, in order, unix seconds."""

    def samples(self, start: int, end: int) -> Samples:
        """The signals of [start, end), which lies inside one span."""


def minutes_touched(start: int, end: int) -> int:
    """How many UTC minutes the seconds of [start, end) lie in."""
    return -(-end // MINUTE_S) - start // MINUTE_S
