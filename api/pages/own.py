"""What a volunteer's own data looks like: heart rate and calm as lines, answers as points, districts by the day."""

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
from contracts.reading import MINUTE_S

_HOUR_S: Final = 3600
#: Somebody who has just begun sees each minute; a line of hours would stand still for an hour.
_BY_MINUTE_S: Final = 3 * _HOUR_S
_DAYS_SHOWN: Final = 7
#: The heart rates between which the chart is drawn, always the same, beats/min.
HR_LOW, HR_HIGH = 40.0, 160.0
CALM_LOW, CALM_HIGH = 0.0, 100.0
#: What somebody must have in a window to count in it (docs/explanation/method.md, the rule of a window).
MINUTES_MIN: Final = 30


class Step(NamedTuple):
    """The mean of one hour, or of one minute."""

    start: int  # unix seconds
    value: float
    minutes: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """Something measured by the minute, drawn between two values that are always the same."""

    low: float
    high: float
    by_minute: bool  # each step is a minute, else an hour
    steps: tuple[Step, ...]
    paths: tuple[str, ...]  # SVG path data, in a box of WIDE by HIGH


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

    heart: Line  # beats/min
    calm: Line  # 0 to 100, of the minutes in which it can be told
    marks: tuple[Mark, ...]
    days: tuple[Day, ...]


def draw_own(
    readings: Sequence[StoredReading],
    reports: Sequence[StoredReport],
    calm: Sequence[tuple[int, float]] = (),
) -> OwnCharts:
    """Draw somebody's last seven days of heart rate and calm (minute, value), and all answers that are kept."""
    rates = [(reading.minute, reading.hr) for _, reading in readings if reading.hr is not None]
    return OwnCharts(
        heart=_line(rates, HR_LOW, HR_HIGH),
        calm=_line(calm, CALM_LOW, CALM_HIGH),
        marks=_marks(reports),
        days=_days(readings, reports),
    )


def _line(values: Sequence[tuple[int, float]], low: float, high: float) -> Line:
    by_minute = bool(values) and max(values)[0] - min(values)[0] < _BY_MINUTE_S
    step_s = MINUTE_S if by_minute else _HOUR_S
    steps = _steps(values, step_s)
    return Line(low=low, high=high, by_minute=by_minute, steps=steps, paths=_paths(steps, step_s, low, high))


def _steps(values: Sequence[tuple[int, float]], step_s: int) -> tuple[Step, ...]:
    by_step: defaultdict[int, list[float]] = defaultdict(list)
    for minute, value in values:
        by_step[minute - minute % step_s].append(value)
    begin = max(by_step, default=0) - _DAYS_SHOWN * 86_400
    return tuple(Step(at, fmean(found), len(found)) for at, found in sorted(by_step.items()) if at > begin)


def _paths(steps: Sequence[Step], step_s: int, low: float, high: float) -> tuple[str, ...]:
    if not steps:
        return ()
    begin, end = steps[0].start, steps[-1].start + step_s
    runs: list[list[str]] = []
    last = None
    for step in steps:
        y = HIGH - (min(max(step.value, low), high) - low) / (high - low) * HIGH
        left, right = ((t - begin) / (end - begin) * WIDE for t in (step.start, step.start + step_s))
        if last is None or step.start - last > step_s:
            runs.append([])
        runs[-1] += [f"{left:.2f} {y:.2f}", f"{right:.2f} {y:.2f}"]
        last = step.start
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
