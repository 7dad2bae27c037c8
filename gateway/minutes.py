"""A band's frames, as they come -> minutes: the incremental half of `epochs`, for the radio path.

Every minute from the first heard to the last heard is made, or dropped with one reason.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

import numpy as np

from contracts.ports import Clock
from contracts.reading import MINUTE_S, RETENTION_DAYS
from gateway.beats import PlacedHeart
from gateway.epochs import Floats, MinuteTable, Signals, minute_table
from gateway.gatt_codec import Eda, Motion
from gateway.skin import ScrState

#: A minute is closed this long after its end, by the band's clock: EDA and motion come in batches of 5 s.
GRACE_S: Final = 10
#: A band's clock may be ahead by this; what is older than the retention could not be stored.
AHEAD_S_MAX: Final = 600
BEHIND_S_MAX: Final = RETENTION_DAYS * 86_400
#: Beats kept of one minute: 9 a second, as the profile has it.
BEATS_MAX: Final = 9 * MINUTE_S

#: Minutes remembered as dropped for their clock; only a band that makes its time up has more.
MISDATED_MAX: Final = 1_000

#: Why a minute is dropped here, besides the reasons of `epochs`.
NOT_HEARD, CLOCK, WITHDRAWN = "not-heard", "clock", "withdrawn"
#: Why a frame is not used.
LATE, RATE, TOO_MANY = "late", "rate", "too-many-beats"


class Carried(NamedTuple):
    """What goes over from the minutes before `minute` (unix seconds) to those after: the skin responses' filter."""

    minute: int
    scr: ScrState | None


class MinuteBuilder:
    """The open minutes of one band. Bounded: about two minutes of samples, whatever the band sends.

    The feeding methods return why a frame could not be used, or None. `take` gives what was closed since.
    """

    def __init__(self, *, clock: Clock, before: Carried | None = None) -> None:
        """`before`: the state at the end of the minute before the first one, if it is known."""
        self._clock = clock
        self._before = before
        self._open: dict[int, _OpenMinute] = {}
        self._first: int | None = None  # the first minute heard
        self._next = 0  # the minute to be closed next; those before are done
        self._misdated: set[int] = set()
        self._temperature: float | None = None
        self._scr: ScrState | None = None
        self._tells_beats = False
        self._tables: list[MinuteTable] = []
        self._dropped: Counter[str] = Counter()

    def heart(self, placed: PlacedHeart) -> str | None:
        """A heart rate and the beats behind it."""
        fault = self._open_at(placed.time)
        if fault is not None:
            return fault
        self._open[_minute(placed.time)].heart(int(placed.time) % MINUTE_S, placed)
        self._tells_beats |= bool(placed.beats)
        for end, rr in placed.beats:
            opened = self._open.get(_minute(end))
            if opened is None:  # a strap's beat may end a second before or after its frame, in another minute
                continue
            if len(opened.beats) >= BEATS_MAX:
                return TOO_MANY
            opened.beats.append((end, rr))
        self._close_before(_minute(placed.time - GRACE_S))
        return None

    def eda(self, frame: Eda) -> str | None:
        """Skin conductance samples."""
        values = np.array([np.nan if s is None else s / 1000.0 for s in frame.nano_siemens])
        return self._samples(frame.time, frame.rate, {"eda": values})

    def motion(self, frame: Motion) -> str | None:
        """Acceleration samples."""
        mean, sd = np.array(frame.mean_mg) / 1000.0, np.array(frame.sd_mg) / 1000.0
        return self._samples(frame.time, frame.rate, {"acc_mean": mean, "acc_sd": sd})

    def temperature(self, celsius: float | None) -> str | None:
        """A temperature, which has no time of its own: the next frame tells it (Current Time, in the profile)."""
        self._temperature = celsius
        return None

    def time(self, at: float) -> str | None:
        """The band tells its time (unix seconds) at the end of a second: what it heard is the second before.

        A time alone begins no account: who consents to self-reports only has no minutes.
        """
        heard = at - 1
        if self._first is not None and _minute(heard) < self._first <= at:
            heard = at  # told at the start of the very first second
        if self._temperature is None and (self._first is None or heard < self._first):
            return None if self._in_time(at) else self._misdate(_minute(at))
        fault = self._open_at(heard)
        if fault is None:
            self._close_before(_minute(heard - GRACE_S))
        return fault

    def take(self) -> tuple[list[MinuteTable], dict[str, int]]:
        """The minutes closed since the last call, and reason -> how many of the rest were dropped here."""
        tables, self._tables = self._tables, []
        dropped = dict(self._dropped)
        self._dropped.clear()
        return tables, dropped

    def over(self, at: float) -> None:
        """All up to `at` (unix seconds) was told, as far as it ever will be: close what is over, and open nothing."""
        while self._open and (first := min(self._open)) < _minute(at - GRACE_S):
            self._close_before(first + MINUTE_S)

    @property
    def closed_before(self) -> int:
        """Minutes before this one (unix seconds) are closed; 0 when none was heard yet."""
        return self._next

    @property
    def carried(self) -> Carried:
        """What the minute after the closed ones must know of them."""
        return Carried(self._next, self._scr)

    def flush(self) -> None:
        """Close all open minutes: the band is gone."""
        if self._open:
            self._close_before(max(self._open) + MINUTE_S)

    def forget(self) -> None:
        """Drop all open minutes unread: the wearer withdrew."""
        self._dropped[WITHDRAWN] += len(self._open)
        if self._open:
            self._next = max(self._open) + MINUTE_S
        self._open.clear()
        self._temperature = self._scr = None

    def _samples(self, time: int, rate: int, signals: dict[str, Floats]) -> str | None:
        """Put signals of one length and rate into their minutes."""
        slots = rate * MINUTE_S
        start = _minute(time)
        length = len(next(iter(signals.values())))
        at = (time - start) * rate + np.arange(length)  # counted from the start of the first sample's minute
        for ahead in range(int(at[-1]) // slots + 1):
            fault = self._open_at(max(time, start + ahead * MINUTE_S))
            if fault is not None:
                return fault
            opened = self._open[start + ahead * MINUTE_S]
            here = at // slots == ahead
            for name, values in signals.items():
                grid = opened.grid(name, slots)
                if grid is None:
                    return RATE
                grid[at[here] % slots] = values[here]
        self._close_before(_minute(time + length // rate - GRACE_S))
        return None

    def _open_at(self, at: float) -> str | None:
        """Open the minute of a frame's time, or say why it cannot be."""
        minute = _minute(at)
        before_first = self._first is not None and minute < self._first
        if not self._in_time(at) or before_first or minute in self._misdated:
            return self._misdate(minute)
        if self._first is None:
            self._first = self._next = minute
            if self._before is not None and self._before.minute == minute:
                self._scr = self._before.scr
        if minute < self._next:
            return LATE
        opened = self._open.setdefault(minute, _OpenMinute())
        if self._temperature is not None:
            opened.temperature[int(at) % MINUTE_S] = self._temperature
            self._temperature = None
        return None

    def _in_time(self, at: float) -> bool:
        now = self._clock.now()
        return now - BEHIND_S_MAX <= at <= now + AHEAD_S_MAX

    def _misdate(self, minute: int) -> str:
        """Drop a minute for its clock, once, unless it is open or done."""
        done = self._first is not None and self._first <= minute < self._next
        if not done and minute not in self._open and minute not in self._misdated:
            if len(self._misdated) >= MISDATED_MAX:
                self._misdated.clear()
            self._misdated.add(minute)
            self._dropped[CLOCK] += 1
        return CLOCK

    def _close_before(self, end: int) -> None:
        while self._next < end:
            opened = self._open.pop(self._next, None)
            if opened is None:
                heard = min((minute for minute in self._open if minute < end), default=end)
                misdated = sum(self._next <= minute < heard for minute in self._misdated)
                if (unheard := (heard - self._next) // MINUTE_S - misdated) > 0:
                    self._dropped[NOT_HEARD] += unheard
                self._next, self._scr = heard, None
                continue
            table, self._scr = minute_table(opened.signals(self._next, beats=self._tells_beats), self._scr)
            self._tables.append(table)
            self._next += MINUTE_S


def _minute(at: float) -> int:
    return int(at) // MINUTE_S * MINUTE_S


class _OpenMinute:
    """What was heard of one minute so far."""

    def __init__(self) -> None:
        self.beats: list[tuple[float, float]] = []
        self.temperature = np.full(MINUTE_S, np.nan)
        self._hr = np.full(MINUTE_S, np.nan)
        self._contact = np.full(MINUTE_S, np.nan)
        self._grids: dict[str, Floats] = {}

    def heart(self, second: int, placed: PlacedHeart) -> None:
        self._hr[second] = placed.bpm
        if placed.contact is not None:
            self._contact[second] = placed.contact

    def grid(self, signal: str, slots: int) -> Floats | None:
        """The minute's samples of a signal; None when they come at another rate than before."""
        grid = self._grids.setdefault(signal, np.full(slots, np.nan))
        return grid if len(grid) == slots else None

    def signals(self, start: int, *, beats: bool) -> Signals:
        """`beats`: whether this band tells beats at all."""
        told = np.array(sorted(set(self.beats)), dtype=np.float64).reshape(-1, 2)
        told = told[np.diff(told[:, 0], prepend=-np.inf) > 0]
        grids = {name: grid[None, :] for name, grid in self._grids.items()}
        return Signals(
            start=start,
            minutes=1,
            beat_t=told[:, 0] if beats else None,
            rr=told[:, 1] if beats else None,
            hr=self._hr[None, :],
            contact=self._contact[None, :],
            skin_temp=self.temperature[None, :],
            **grids,
        )
