"""Windows are local days and ISO weeks: no instant is in none or in two, also when the clock is put back or on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.windows import BAND_HOURS, Calendar, complete_windows, day_window, days_of, instant, week_window
from contracts.release import Cadence

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))


@given(DAYS)
def test_days_and_weeks_join_without_gap_or_overlap(day: date):
    assert day_window(day).end == day_window(day + timedelta(days=1)).start
    week = week_window(day)
    assert week.start <= instant(day) < week.end == week_window(day + timedelta(days=7)).start
    assert len(days_of(week)) == 7


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 1), 24)])
def test_a_local_day_has_the_hours_of_the_clock(day: date, hours: int):
    window = day_window(day)
    assert window.end - window.start == hours * 3600
    assert window.name == day.isoformat()


def test_a_week_around_new_year_has_its_iso_name():
    assert week_window(date(2027, 1, 2)).name == "2026-W53"


@given(DAYS, st.lists(st.integers(0, 40 * 86_400), min_size=1))
def test_an_instant_falls_where_the_local_clock_says(first: date, offsets: list[int]):
    calendar = Calendar(first=first.toordinal(), last=first.toordinal() + 41)
    seconds = np.array([instant(first) + offset for offset in offsets], np.int64)
    place = calendar.place(seconds)
    for second, day, band in zip(seconds, place.day, place.band, strict=True):
        local = datetime.fromtimestamp(int(second), tz=UTC).astimezone(AMSTERDAM)
        assert local.date().toordinal() == day
        assert BAND_HOURS[band] <= local.hour < (*BAND_HOURS, 24)[band + 1]


def test_an_instant_outside_of_the_calendar_is_refused():
    calendar = Calendar(first=date(2026, 11, 2).toordinal(), last=date(2026, 11, 2).toordinal())
    with pytest.raises(ValueError, match="outside"):
        calendar.place(np.array([calendar.end], np.int64))


@given(DAYS, st.integers(0, 86_400), st.integers(0, 40 * 86_400), st.sampled_from(list(Cadence)))
def test_complete_windows_lie_within_the_span_and_leave_no_room_for_another(
    day: date, offset: int, length: int, cadence: Cadence
):
    start = instant(day) + offset
    windows = complete_windows(cadence, start, start + length)
    assert all(start <= w.start and w.end <= start + length for w in windows)
    assert all(a.end == b.start for a, b in pairwise(windows))
    longest = 25 * 3600 if cadence is Cadence.DAILY else 7 * 86_400 + 3600
    if windows:
        assert windows[0].start - start < longest
        assert start + length - windows[-1].end < longest
    else:
        assert length < 2 * longest
