"""Beats and samples -> one-minute readings, vectorised over many minutes.

The radio path gives one minute at a time and the fast path of the demo a whole person-day; both run this code and get
the same numbers (the only state that crosses a minute is the `ScrState`). Rules: method.md section 1; Task Force of
ESC and NASPE, Circulation 93:1043 (1996), for RMSSD and SDNN; Malik et al. 1989 for the 20 % rule.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.reading import FIELDS, MINUTE_S, Reading
from gateway.skin import ScrState, known_share, skin_responses

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A heart rate needs 5 beats; without them 15 one-second values. A level needs a quarter of the minute.
BEATS_MIN: Final = 5
HR_VALUES_MIN: Final = 15
SHARE_MIN: Final = 0.25
#: RMSSD, SDNN and skin conductance responses need half of the minute.
COVERAGE_MIN: Final = 0.5
#: Skin changes slowly and is told once in ten seconds: two samples, a third of the minute.
TEMPERATURES_MIN: Final = 2
RR_LOW_S, RR_HIGH_S = 0.3, 2.0
MALIK_SHARE: Final = 0.2
#: Beats are adjacent when the interval begins at the beat before, within this. The band's clock and its intervals are
#: both rounded to 1/1024 s; the shortest gap that must be seen is one beat of 300 ms.
ADJACENT_S: Final = 0.01

#: Digits kept of each field: below the sensors' resolution, and a message of 60 minutes stays small.
_DECIMALS: Final = {
    "hr": 2, "rmssd": 2, "sdnn": 2, "rr_coverage": 3, "worn": 3, "eda": 4, "scr": 2, "skin_temp": 2, "motion": 4
}  # fmt: skip
#: What makes a minute worth keeping; `worn` and `rr_coverage` only qualify the others.
_CONTENT: Final = ("hr", "rmssd", "sdnn", "eda", "scr", "skin_temp", "motion")
#: Why a minute holds nothing storable.
NOT_WORN, NO_DATA, TOO_LITTLE, OUT_OF_RANGE = "not-worn", "no-data", "too-little-signal", "out-of-range"


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard of one wearer in `minutes` whole minutes from `start`.

    The arrays `[minutes, k]` hold k evenly spaced samples of each minute, NaN where nothing is known; k sets the rate
    (k = 240 is 4 Hz). A signal that was not listened to is None, as are the beats of a band that never tells any.
    """

    start: int  # unix seconds, a multiple of 60
    minutes: int
    beat_t: Floats | None = None  # [b] unix seconds, float64 (float32 would round to 128 s), rising: end of interval
    rr: Floats | None = None  # [b] seconds
    hr: Floats | None = None  # [minutes, 60] beats/min, one value per second
    contact: Floats | None = None  # [minutes, 60] 1 on skin, 0 not
    eda: Floats | None = None  # [minutes, k] µS
    skin_temp: Floats | None = None  # [minutes, k] °C
    acc_mean: Floats | None = None  # [minutes, k] g: mean of the acceleration's magnitude over the sample's time
    acc_sd: Floats | None = None  # [minutes, k] g: its standard deviation

    def __post_init__(self) -> None:
        if self.start % MINUTE_S or self.minutes < 1:
            raise ValueError("signals start on a whole minute and last one or more")
        for name in ("hr", "contact", "eda", "skin_temp", "acc_mean", "acc_sd"):
            grid = getattr(self, name)
            if grid is not None and (grid.ndim != 2 or len(grid) != self.minutes):
                raise ValueError(f"{name} must have the shape [minutes, samples of a minute]")
        if (self.beat_t is None) != (self.rr is None) or (self.acc_mean is None) != (self.acc_sd is None):
            raise ValueError("beat_t and rr, acc_mean and acc_sd, come in pairs")
        if self.beat_t is not None and (self.beat_t.dtype != np.float64 or np.any(np.diff(self.beat_t) <= 0)):
            raise ValueError("beat_t must be float64 and rise")


class MinuteTable(NamedTuple):
    """Minutes as columns: `fields[name]` is [n] with NaN for absent; `dropped[i]` is "" or why minute i is dropped."""

    start: int
    fields: dict[str, Floats]
    dropped: NDArray[np.str_]

    def readings(self, pseudonym: str) -> list[Reading]:
        """The minutes that were not dropped, in order of time."""
        kept = np.flatnonzero(self.dropped == "")
        minutes = (self.start + MINUTE_S * kept).tolist()
        columns = []
        for column in self.fields.values():
            values = column[kept]
            absent = np.isnan(values)
            boxed = values.astype(object)
            boxed[absent] = None
            columns.append(boxed.tolist())
        names = tuple(self.fields)
        return [
            Reading(pseudonym=pseudonym, minute=minute, **dict(zip(names, row, strict=True)))
            for minute, row in zip(minutes, zip(*columns, strict=True), strict=True)
        ]

    def drops(self) -> dict[str, int]:
        """Reason -> minutes dropped."""
        reasons, counts = np.unique(self.dropped[self.dropped != ""], return_counts=True)
        return dict(zip(reasons.tolist(), counts.tolist(), strict=True))


def minute_table(signals: Signals, scr_state: ScrState | None = None) -> tuple[MinuteTable, ScrState | None]:
    """Reduce signals to minutes. `scr_state` comes from the call for the minute before, and goes into the next one.

    Seconds without skin contact count for nothing: what a band measures on a table is nobody's.
    """
    n = signals.minutes
    fields: dict[str, Floats] = {name: np.full(n, np.nan) for name in FIELDS}
    off_skin = None
    if signals.contact is not None:
        fields["worn"] = _share(signals.contact)
        off_skin = signals.contact == 0
        off_skin = off_skin if off_skin.any() else None
    heard = np.zeros(n, dtype=np.bool_)

    _heart(signals, off_skin, fields, heard)
    if signals.eda is not None:
        eda = _on_skin(signals.eda, off_skin, heard)
        fields["eda"] = _median(eda)
        fields["scr"], scr_state = skin_responses(eda, scr_state)
        fields["scr"][known_share(eda) < COVERAGE_MIN] = np.nan
    if signals.skin_temp is not None:
        fields["skin_temp"] = _mean(_on_skin(signals.skin_temp, off_skin, heard), known_min=TEMPERATURES_MIN)
    if signals.acc_mean is not None and signals.acc_sd is not None:
        mean = _on_skin(signals.acc_mean, off_skin, heard)
        sd = _on_skin(signals.acc_sd, off_skin, heard)
        # Law of total variance: the variance within the samples and between them.
        fields["motion"] = np.sqrt(np.maximum(_mean(sd * sd) + _mean(mean * mean) - _mean(mean) ** 2, 0.0))
    return MinuteTable(signals.start, fields, _judge(fields, heard, signals.contact)), scr_state


def _heart(signals: Signals, off_skin: Bools | None, fields: dict[str, Floats], heard: Bools) -> None:
    low, high = FIELDS["hr"].low, FIELDS["hr"].high
    told = np.zeros(signals.minutes, dtype=np.bool_)
    if signals.hr is not None:
        seconds = _on_skin(signals.hr, off_skin, heard)
        seconds = np.where((seconds >= low) & (seconds <= high), seconds, np.nan)  # 0 is "unknown" to many straps
        told |= ~np.isnan(seconds).all(axis=1)
        fields["hr"] = _mean(seconds, known_min=HR_VALUES_MIN)
    if signals.beat_t is None or signals.rr is None:
        return
    beats = _beats(signals.beat_t - signals.start, signals.rr, off_skin, signals.minutes)
    heard |= beats.heard > 0
    # 0, not absent, where a rate was told and every beat refused: that rate is not to be trusted.
    fields["rr_coverage"] = np.where(told | (beats.heard > 0), np.minimum(beats.explained_s / MINUTE_S, 1.0), np.nan)
    covered = fields["rr_coverage"] >= COVERAGE_MIN
    with np.errstate(invalid="ignore", divide="ignore"):
        # Beats first: the rate that a band tells is smoothed, and wanders where it lost the beats.
        from_beats = 60.0 * beats.in_range / beats.in_range_s
        fields["hr"] = np.where(beats.in_range >= BEATS_MIN, from_beats, fields["hr"])
        fields["rmssd"] = np.where(covered & (beats.pairs > 0), 1e3 * np.sqrt(beats.diff2_s2 / beats.pairs), np.nan)
        variance = np.maximum(beats.square_s2, 0.0) / (beats.valid - 1)  # ddof = 1
        fields["sdnn"] = np.where(covered & (beats.valid > 1), 1e3 * np.sqrt(variance), np.nan)


class _Beats(NamedTuple):
    """Sums over the beats of each minute, all [n]."""

    heard: Floats  # beats of any kind
    in_range: Floats  # beats whose interval is in range, with a neighbour or without
    in_range_s: Floats  # the sum of their intervals
    valid: Floats  # valid beats
    sum_s: Floats  # of valid intervals
    square_s2: Floats  # squared deviations of valid intervals from their minute's mean
    explained_s: Floats  # of the minute, by valid intervals
    pairs: Floats  # of adjacent valid beats
    diff2_s2: Floats  # squared differences over those pairs


def _beats(since: Floats, rr: Floats, off_skin: Bools | None, n: int) -> _Beats:
    """A valid pair: adjacent, both intervals in range, within 20 % of each other, in one minute. A valid beat: in one.

    A missed beat makes an interval twice as long (Malik refuses both of its pairs) or a gap (not adjacent).
    """
    inside = (since >= 0) & (since < MINUTE_S * n)
    if off_skin is not None:
        second = np.clip(since, 0, MINUTE_S * n - 1).astype(np.int64)
        inside &= ~off_skin[second // MINUTE_S, second % MINUTE_S]
    if not inside.all():
        since, rr = since[inside], rr[inside]
    minute = since.astype(np.int64) // MINUTE_S

    in_range = (rr >= RR_LOW_S) & (rr <= RR_HIGH_S)
    diff = np.diff(rr)
    pair = (
        in_range[1:]
        & in_range[:-1]
        & (np.abs(np.diff(since) - rr[1:]) <= ADJACENT_S)
        & (np.abs(diff) <= MALIK_SHARE * rr[:-1])
        & (minute[1:] == minute[:-1])
    )
    valid = np.zeros(len(rr), dtype=np.bool_)
    valid[1:] |= pair
    valid[:-1] |= pair

    def per_minute(weight: Floats | Bools) -> Floats:
        return np.bincount(minute, weights=weight, minlength=n).astype(np.float64, copy=False)

    count = per_minute(valid)
    total = per_minute(rr * valid)
    centred = rr - (total / np.maximum(count, 1))[minute]  # two passes: a sum of squares less a square cancels
    closing = np.zeros(len(rr), dtype=np.bool_)  # the second beat of each valid pair
    closing[1:] = pair
    squared = np.zeros(len(rr))
    squared[1:] = diff * diff
    return _Beats(
        heard=np.bincount(minute, minlength=n).astype(np.float64),
        in_range=per_minute(in_range),
        in_range_s=per_minute(rr * in_range),
        valid=count,
        sum_s=total,
        square_s2=per_minute(centred * centred * valid),
        explained_s=per_minute(np.minimum(rr, since - MINUTE_S * minute) * valid),
        pairs=per_minute(closing),
        diff2_s2=per_minute(squared * closing),
    )


def _on_skin(grid: Floats, off_skin: Bools | None, heard: Bools) -> Floats:
    """The samples of seconds with skin contact, or of all where the band does not say; notes which minutes have any."""
    heard |= ~np.isnan(grid).all(axis=1)
    if off_skin is None:
        return grid
    samples = grid.shape[1]
    second = np.arange(samples) * MINUTE_S // samples
    return np.where(off_skin[:, second], np.nan, grid)


def _share(contact: Floats) -> Floats:
    """Seconds with contact over 60; NaN where no second says."""
    known = ~np.isnan(contact)
    on_skin = np.count_nonzero(known & (contact > 0), axis=1) / contact.shape[1]
    return np.where(known.any(axis=1), on_skin, np.nan)


def _mean(grid: Floats, *, known_min: int | None = None) -> Floats:
    """Mean of the known samples of each minute; NaN below `known_min` of them (a quarter of the minute)."""
    known = ~np.isnan(grid)
    count = np.count_nonzero(known, axis=1)
    needed = SHARE_MIN * grid.shape[1] if known_min is None else known_min
    total = np.sum(grid, axis=1, where=known)
    return np.where(count >= needed, total / np.maximum(count, 1), np.nan)


def _median(grid: Floats) -> Floats:
    """Median of the known samples of each minute; NaN below a quarter of the minute."""
    ordered = np.sort(grid, axis=1)  # NaN goes last; np.nanmedian is far slower
    count = np.count_nonzero(~np.isnan(grid), axis=1)
    row = np.arange(len(grid))
    middle = (ordered[row, np.maximum(count - 1, 0) // 2] + ordered[row, count // 2]) / 2
    return np.where(count >= SHARE_MIN * grid.shape[1], middle, np.nan)


def _judge(fields: dict[str, Floats], heard: Bools, contact: Floats | None) -> NDArray[np.str_]:
    """Null what no body can have, round, and give each minute that holds nothing its one reason."""
    n = len(heard)
    before = np.zeros(n, dtype=np.bool_)
    after = np.zeros(n, dtype=np.bool_)
    for name, field in FIELDS.items():
        values = fields[name]
        if name in _CONTENT:
            before |= ~np.isnan(values)
        values = np.round(values, _DECIMALS[name])
        fields[name] = np.where((values >= field.low) & (values <= field.high), values, np.nan)
        if name in _CONTENT:
            after |= ~np.isnan(fields[name])
    unworn = np.zeros(n, dtype=np.bool_) if contact is None else fields["worn"] == 0
    told = heard if contact is None else heard | ~np.isnan(contact).all(axis=1)
    return np.select([after, before, unworn, told], ["", OUT_OF_RANGE, NOT_WORN, TOO_LITTLE], default=NO_DATA).astype(
        np.str_
    )
