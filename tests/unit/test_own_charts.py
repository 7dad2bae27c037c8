"""The own line: it grows by the minute for who has just begun, and is by the hour later."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analytics.own import own_calm
from analytics.scores import minute_calm
from api.pages.own import Line, Step, draw_own
from contracts.ports import ReadingColumns, StoredReading, StoredReport
from contracts.reading import FIELDS, Reading, SelfReport

BEGIN = 1_800_000_000  # a whole hour


def worn(*minutes: int, hr: float | None = 70.0) -> list[StoredReading]:
    pseudonym = "a" * 26
    return [
        StoredReading("WK034403", Reading(pseudonym=pseudonym, minute=BEGIN + 60 * m, hr=hr, eda=1.0)) for m in minutes
    ]


def test_the_first_minute_is_a_point_and_each_next_one_makes_a_line_longer() -> None:
    one = draw_own(worn(3), []).heart
    assert one.by_minute
    assert one.steps == (Step(BEGIN + 180, 70.0, 1),)
    assert (one.end - one.begin, ends(one)) == (1800, pytest.approx([0, 1000 / 30], abs=0.01))  # of half an hour
    assert one.points == (pytest.approx((100 / 60, 75.0)),)
    two = draw_own(worn(3, 4), []).heart
    assert len(two.steps) == 2
    assert two.paths[0].count("L") == 3
    assert ends(two) == pytest.approx([0, 2000 / 30], abs=0.01)
    assert two.points == ()
    broken = draw_own(worn(3, 4, 6), []).heart  # a minute is missing
    assert (len(broken.paths), len(broken.points)) == (2, 1)
    assert ends(draw_own(worn(*range(40)), []).heart) == [0, 1000]
    assert draw_own([], []).heart.paths == ()


def ends(line: Line) -> list[float]:
    """Where the first path begins and ends, of a width of 1000."""
    found = re.findall(r"[ML]([0-9.]+) ", line.paths[0])
    return [float(found[0]), float(found[-1])]


def test_one_answer_stands_in_the_middle_and_several_from_end_to_end() -> None:
    reports = [
        StoredReport("WK034403", SelfReport(pseudonym="a" * 26, at=BEGIN + 60 * m, safe=8, happy=7)) for m in (0, 1, 5)
    ]
    assert [mark.x for mark in draw_own([], reports[:1]).marks] == [50, 50]
    assert [mark.x for mark in draw_own([], reports).marks] == pytest.approx([1, 1, 20.6, 20.6, 99, 99])


def test_after_three_hours_each_step_is_an_hour() -> None:
    assert draw_own(worn(*range(180)), []).heart.by_minute
    whole = draw_own(worn(*range(181)), []).heart
    assert not whole.by_minute
    assert [step.minutes for step in whole.steps] == [60, 60, 60, 1]


def test_minutes_without_a_heart_rate_draw_nothing() -> None:
    drawn = draw_own(worn(1, 2, hr=None), [])
    assert (drawn.heart.steps, drawn.heart.paths) == ((), ())
    assert drawn.days[0].minutes == (("WK034403", 2),)


def test_calm_is_that_of_analytics_and_of_still_minutes_alone() -> None:
    chance = np.random.default_rng(4)
    rates = (65 + np.cumsum(chance.normal(0, 1.2, 600)).clip(-12, 40)).round(1).tolist()
    moving = chance.random(600) < 0.3
    readings = [
        StoredReading(
            "WK034403",
            Reading(
                pseudonym="a" * 26,
                minute=BEGIN + 60 * m,
                hr=rate,
                rr_coverage=0.9,
                worn=1.0,
                eda=2.0 + 0.01 * (m % 90),
                motion=0.4 if moving[m] else 0.02,
            ),
        )
        for m, rate in enumerate(rates)
    ]
    drawn = draw_own(readings, [], own_calm(readings)).calm
    assert not drawn.by_minute
    assert 0 < sum(step.minutes for step in drawn.steps) <= 600 - moving.sum()
    columns = columns_of(readings)
    wanted = minute_calm(columns, range(1, 10**6))
    of_first_hour = wanted[:60][np.isfinite(wanted[:60])]
    assert drawn.steps[0].value == pytest.approx(of_first_hour.mean())
    assert drawn.steps[0].minutes == len(of_first_hour)
    assert (drawn.low, drawn.high) == (0, 100)


def columns_of(readings: list[StoredReading]) -> ReadingColumns:
    nobody = np.zeros(len(readings), np.int32)
    fields = {name: np.array([getattr(one.reading, name) or np.nan for one in readings], np.float64) for name in FIELDS}
    minute = np.array([one.reading.minute for one in readings], np.int64)
    return ReadingColumns(
        pseudonyms=("p",), districts=("d",), person=nobody, district=nobody, minute=minute, fields=fields
    )


def test_who_has_nothing_has_no_calm() -> None:
    assert own_calm([]) == []
    assert own_calm(worn(1, 2)) == []  # whether they were still is not known
    assert draw_own(worn(1, 2), []).calm.steps == ()
