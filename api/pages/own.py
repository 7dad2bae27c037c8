"""What a volunteer's own data looks like: heart rate by the hour, answers as points, districts by the day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Final, Literal, NamedTuple

from api.pages.charts import HIGH, WIDE
from api.pages.words import local_day
from contracts.ports import StoredReading, StoredReport

_HOUR_S: Final = 3600
_DAYS_SHOWN: Final = 7
#: The heart rates between which the chart is drawn, always the same, beats/min.
HR_LOW, HR_HIGH = 40.0, 160.0
#: What somebody must have in a window to count in it (docs/explanation/method.md, the rule of a window).
MINUTES_MIN: Final = 30


class Hour(NamedTuple):
    """The mean heart rate of one hour."""

    start: int  # unix seconds
    hr: float  # beats/min
    minutes: int


class Mark(NamedTuple):
    """One answer on the drawing."""

    x: float  # percent of the width
    y: float  # percent of the height
    kind: Literal["safe", "happy"]
    report: StoredReport


class Day(NamedTuple):
    """Where a band was heard on a day, and how long."""

    day: date
    minutes: tuple[tuple[str, int], ...]  # (district, minutes), the most first
    answers: int


@dataclass(frozen=True, kw_only=True)
class OwnCharts:
    """What is drawn of one volunteer's data, and the tables behind it."""

    hours: tuple[Hour, ...]
    lines: tuple[str, ...]  # SVG path data of the heart rate, in a box of WIDE by HIGH
    marks: tuple[Mark, ...]
    days: tuple[Day, ...]


def draw_own(readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> OwnCharts:
    """Draw somebody's last seven days of heart rate, and all answers that are kept."""
    hours = _hours(readings)
    return OwnCharts(hours=hours, lines=_lines(hours), marks=_marks(reports), days=_days(readings, reports))


def _hours(readings: Sequence[StoredReading]) -> tuple[Hour, ...]:
    by_hour: defaultdict[int, list[float]] = defaultdict(list)
    for _, reading in readings:
        if reading.hr is not None:
            by_hour[reading.minute - reading.minute % _HOUR_S].append(reading.hr)
    newest = max(by_hour, default=0)
    begin = newest - _DAYS_SHOWN * 86_400
    return tuple(Hour(h, fmean(rates), len(rates)) for h, rates in sorted(by_hour.items()) if h > begin)


def _lines(hours: Sequence[Hour]) -> tuple[str, ...]:
    if not hours:
        return ()
    begin, end = hours[0].start, hours[-1].start + _HOUR_S
    runs: list[list[str]] = []
    last = None
    for hour in hours:
        y = HIGH - (min(max(hour.hr, HR_LOW), HR_HIGH) - HR_LOW) / (HR_HIGH - HR_LOW) * HIGH
        left, right = ((t - begin) / (end - begin) * WIDE for t in (hour.start, hour.start + _HOUR_S))
        if last is None or hour.start - last > _HOUR_S:
            runs.append([])
        runs[-1] += [f"{left:.2f} {y:.2f}", f"{right:.2f} {y:.2f}"]
        last = hour.start
    return tuple("M" + "L".join(run) for run in runs)


def _marks(reports: Sequence[StoredReport]) -> tuple[Mark, ...]:
    if not reports:
        return ()
    begin, end = reports[0].report.at, max(reports[-1].report.at, reports[0].report.at + 86_400)
    marks = []
    for stored in reports:
        x = 1 + (stored.report.at - begin) / (end - begin) * 98
        marks.append(Mark(x, 100 - 10 * stored.report.safe, "safe", stored))
        marks.append(Mark(x, 100 - 10 * stored.report.happy, "happy", stored))
    return tuple(marks)


def _days(readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> tuple[Day, ...]:
    minutes: defaultdict[date, Counter[str]] = defaultdict(Counter)
    for district, reading in readings:
        minutes[local_day(reading.minute)][district] += 1
    answers = Counter(local_day(stored.report.at) for stored in reports)
    return tuple(
        Day(day, tuple(minutes[day].most_common()) if day in minutes else (), answers[day])
        for day in sorted(minutes.keys() | answers.keys(), reverse=True)
    )
