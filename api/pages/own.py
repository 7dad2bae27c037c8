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
#: A drawing by the minute is at least so wide, so that its first minutes are a point and not a line across.
_MINUTES_WIDE: Final = 30
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
    """Something measured by the minute, drawn between two values that are always the same, `begin` to `end`."""

    low: float
    high: float
    by_minute: bool  # each step is a minute, else an hour
    begin: int  # unix seconds
    end: int  # unix seconds
    steps: tuple[Step, ...]
    paths: tuple[str, ...]  # SVG path data, in a box of WIDE by HIGH
    points: tuple[tuple[float, float], ...]  # percent of width and height: steps with no step beside them


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
    begin = steps[0].start if steps else 0
    end = max(steps[-1].start + step_s, begin + _MINUTES_WIDE * MINUTE_S) if steps else 0

    def place(step: Step, late: float) -> tuple[float, float]:
        """Shares of the width and the height, 0 to 1; `late`: how far into the step, 0 to 1."""
        level = (min(max(step.value, low), high) - low) / (high - low)
        return (step.start + late * step_s - begin) / (end - begin), 1 - level

    runs = _runs(steps, step_s)
    return Line(
        low=low,
        high=high,
        by_minute=by_minute,
        begin=begin,
        end=end,
        steps=steps,
        paths=tuple(_path([place(step, late) for step in run for late in (0, 1)]) for run in runs),
        points=tuple((100 * x, 100 * y) for run in runs if len(run) == 1 for x, y in [place(run[0], 0.5)]),
    )


def _steps(values: Sequence[tuple[int, float]], step_s: int) -> tuple[Step, ...]:
    by_step: defaultdict[int, list[float]] = defaultdict(list)
    for minute, value in values:
        by_step[minute - minute % step_s].append(value)
    begin = max(by_step, default=0) - _DAYS_SHOWN * 86_400
    return tuple(Step(at, fmean(found), len(found)) for at, found in sorted(by_step.items()) if at > begin)


def _runs(steps: Sequence[Step], step_s: int) -> list[list[Step]]:
    """The steps, parted where one is missing."""
    runs: list[list[Step]] = []
    for step in steps:
        if not runs or step.start - runs[-1][-1].start > step_s:
            runs.append([])
        runs[-1].append(step)
    return runs


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x * WIDE:.2f} {y * HIGH:.2f}" for x, y in places)


def _marks(reports: Sequence[StoredReport]) -> tuple[Mark, ...]:
    if not reports:
        return ()
    begin, end = reports[0].report.at, reports[-1].report.at
    marks = []
    for stored in reports:
        x = 1 + (stored.report.at - begin) / (end - begin) * 98 if end > begin else 50.0
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
