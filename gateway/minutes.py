"""A band's frames, as they come -> minutes: the incremental half of `epochs`, for the radio path.

Every minute from the first heard to the last heard is made, or dropped with one reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

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

#: Why a minute is dropped here, besides the reasons of `epochs`.
NOT_HEARD, CLOCK, WITHDRAWN = "not-heard", "clock", "withdrawn"
#: Why a frame is not used.
LATE, RATE, TOO_MANY = "late", "rate", "too-many-beats"


class MinuteBuilder:
    """The open minutes of one band. Bounded: about two minutes of samples, whatever the band sends.

    The feeding methods return why a frame could not be used, or None. `take` gives what was closed since.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[int, _OpenMinute] = {}
        self._first: int | None = None  # the first minute heard
        self._next = 0  # the minute to be closed next; those before are done
        self._misdated: int | None = None
        self._temperature: float | None = None
        self._scr: ScrState | None = None
        self._tables: list[MinuteTable] = []
        self._dropped: Counter[str] = Counter()

    def heart(self, placed: PlacedHeart) -> str | None:
        """A heart rate and the beats behind it."""
        fault = self._open_at(placed.time)
        if fault is not None:
            return fault
        self._open[_minute(placed.time)].heart(int(placed.time) % MINUTE_S, placed)
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
        """A temperature, which has no time of its own: that of the second before the Current Time that follows it."""
        self._temperature = celsius
        return None

    def time(self, at: float) -> str | None:
        """The band tells its time (unix seconds): it closes minutes, and opens none, since nothing was measured."""
        celsius, self._temperature = self._temperature, None
        if self._first is None:
            return None
        fault = self._misplaced(at)
        if fault is None:
            measured = at - 1  # the profile sends it when the second has ended
            if celsius is not None and (opened := self._open.get(_minute(measured))) is not None:
                opened.temperature[int(measured) % MINUTE_S] = celsius
            self._close_before(_minute(at - GRACE_S))
        return fault

    def take(self) -> tuple[list[MinuteTable], dict[str, int]]:
        """The minutes closed since the last call, and reason -> how many of the rest were dropped here."""
        tables, self._tables = self._tables, []
        dropped = dict(self._dropped)
        self._dropped.clear()
        return tables, dropped

    @property
    def closed_before(self) -> int:
        """Minutes before this one (unix seconds) are closed; 0 when none was heard yet."""
        return self._next

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

    def _samples(self, time: int, rate: int, signals: Mapping[str, Floats]) -> str | None:
        """Evenly spaced samples of one frame: signals that are measured together, of one length."""
        slots = rate * MINUTE_S
        start = _minute(time)
        length = len(next(iter(signals.values())))
        at = (time - start) * rate + np.arange(length)  # counted from the start of the first sample's minute
        for ahead in range(int(at[-1]) // slots + 1):
            fault = self._open_at(max(time, start + ahead * MINUTE_S))
            if fault is not None:
                return fault
            here = at // slots == ahead
            for signal, values in signals.items():
                grid = self._open[start + ahead * MINUTE_S].grid(signal, slots)
                if grid is None:
                    return RATE
                grid[at[here] % slots] = values[here]
        self._close_before(_minute(time + length // rate - GRACE_S))
        return None

    def _open_at(self, at: float) -> str | None:
        """Open the minute of a frame's time, or say why it cannot be."""
        fault = self._misplaced(at)
        if fault is None:
            self._open.setdefault(_minute(at), _OpenMinute())
        return fault

    def _misplaced(self, at: float) -> str | None:
        """Why a time cannot be that of a minute which is open or to come; the first one heard sets the beginning."""
        minute = _minute(at)
        now = self._clock.now()
        if not now - BEHIND_S_MAX <= at <= now + AHEAD_S_MAX or (self._first is not None and minute < self._first):
            if minute != self._misdated:
                self._misdated = minute
                self._dropped[CLOCK] += 1
            return CLOCK
        if self._first is None:
            self._first = self._next = minute
        return LATE if minute < self._next else None

    def _close_before(self, end: int) -> None:
        # A gap is one when something after it was heard; until then the band may just have ended.
        while self._open and self._next < end:
            opened = self._open.pop(self._next, None)
            if opened is None:
                heard = min((minute for minute in self._open if minute < end), default=end)
                self._dropped[NOT_HEARD] += (heard - self._next) // MINUTE_S
                self._next, self._scr = heard, None
                continue
            table, self._scr = minute_table(opened.signals(self._next), self._scr)
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

    def signals(self, start: int) -> Signals:
        beats = np.array(sorted(set(self.beats)), dtype=np.float64).reshape(-1, 2)
        beats = beats[np.diff(beats[:, 0], prepend=-np.inf) > 0]
        grids = {name: grid[None, :] for name, grid in self._grids.items()}
        return Signals(
            start=start,
            minutes=1,
            beat_t=beats[:, 0],
            rr=beats[:, 1],
            hr=self._hr[None, :],
            contact=self._contact[None, :],
            skin_temp=self.temperature[None, :],
            **grids,
        )
