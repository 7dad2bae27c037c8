"""Local days and ISO weeks of the districts' own clock, and where an instant falls in them.

A local day has 23, 24 or 25 hours; its bounds come from the time zone database, never from adding 86,400 s.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from contracts.ports import TIMEZONE
from contracts.release import Cadence, Window

ZONE: Final = ZoneInfo(TIMEZONE)
#: Local hours at which the hour bands of a personal baseline begin: night, morning, afternoon, evening.
BAND_HOURS: Final = (0, 6, 12, 18)
BANDS: Final = len(BAND_HOURS)
#: Hours of a block of the day's profile, so many of which make an hour band.
BLOCK_HOURS: Final = 3
BLOCKS: Final = 24 // BLOCK_HOURS


def instant(day: date, hour: int = 0) -> int:
    """Unix seconds at which a local day, or an hour of it, begins. No bound that we use is skipped or told twice."""
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=ZONE).timestamp())


def local_day(seconds: float) -> date:
    """The local day in which an instant (unix seconds) lies."""
    return datetime.fromtimestamp(seconds, tz=ZONE).date()


def day_window(day: date) -> Window:
    """The window of one local day."""
    return Window(
        name=day.isoformat(),
        cadence=Cadence.DAILY,
        start=instant(day),
        end=instant(day + timedelta(days=1)),
    )


def week_window(day: date) -> Window:
    """The window of the ISO week (ISO 8601) in which a local day lies."""
    year, week, _ = day.isocalendar()
    monday = date.fromisocalendar(year, week, 1)
    return Window(
        name=f"{year}-W{week:02d}",
        cadence=Cadence.WEEKLY,
        start=instant(monday),
        end=instant(monday + timedelta(days=7)),
    )


def complete_windows(cadence: Cadence, start: float, end: float) -> tuple[Window, ...]:
    """The windows of a cadence that lie wholly within [start, end) (unix seconds), oldest first."""
    make, step = (day_window, 1) if cadence is Cadence.DAILY else (week_window, 7)
    found = []
    window = make(local_day(start))
    while window.end <= end:
        if window.start >= start:
            found.append(window)
        window = make(local_day(window.start) + timedelta(days=step))
    return tuple(found)


def days_of(window: Window) -> range:
    """The proleptic ordinals (`date.toordinal`) of a window's local days."""
    return range(local_day(window.start).toordinal(), local_day(window.end - 1).toordinal() + 1)


class Place(NamedTuple):
    """Where instants fall."""

    slot: NDArray[np.int32]  # [n] blocks of BLOCK_HOURS since the first day that there is, so they rise with time

    @property
    def day(self) -> NDArray[np.int32]:
        """[n] ordinal of the local day."""
        return self.slot // BLOCKS

    @property
    def band(self) -> NDArray[np.int32]:
        """[n] index into BAND_HOURS."""
        return self.slot % BLOCKS // (BLOCKS // BANDS)


class Calendar:
    """Assigns instants of a span of local days to their day and block of hours, many at once."""

    def __init__(self, *, first: int, last: int) -> None:
        """`first` and `last` are ordinals of local days, both within."""
        self.first = first
        days = [date.fromordinal(ordinal) for ordinal in range(first, last + 1)]
        hours = range(0, 24, BLOCK_HOURS)
        self._edges = np.array([instant(day, hour) for day in days for hour in hours], dtype=np.int64)
        self.start = int(self._edges[0])
        self.end = instant(days[-1] + timedelta(days=1))

    def place(self, seconds: NDArray[np.int64]) -> Place:
        """Day and block of each instant [n]. Raises ValueError when one lies outside of the span."""
        if seconds.size and (seconds.min() < self.start or seconds.max() >= self.end):
            raise ValueError("an instant outside of the calendar's days")
        index = np.searchsorted(self._edges, seconds, side="right") - 1
        return Place((index + self.first * BLOCKS).astype(np.int32))
